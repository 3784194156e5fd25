# SPDX-License-Identifier: BSD-3-Clause
"""Wrong configuration files: each mistake is told with file, line and reason, and nothing is
started."""

import os
import random
import re

import pytest

from network import P2PNIC, run

GOOD = """\
router:
  runtime: RUNTIME
  ring_slots: 256
  batch: 8
engines:
  - {name: fast, core: 0}
nics:
  - name: left
    engine: fast
    port: {type: af_packet, target: nowhere0}
    mac: 02:00:00:00:00:01
    mtu: 1500
    addresses:
      - 10.0.1.1/24
  - name: right
    port: {type: af_packet, target: nowhere1}
    addresses: [10.0.2.1/24, "fd00:2::1/64"]
neighbors:
  - {nic: left, address: 10.0.1.2, mac: 02:00:00:00:01:02}
  - nic: right
    address: 10.0.2.2
    mac: 02:00:00:00:02:02
routes:
  - {prefix: 198.51.100.0/24, via: 10.0.1.2}
  - prefix: 198.51.101.0/24
    next_hops:
      - {via: 10.0.1.2, weight: 1}
      - {via: 10.0.2.2, weight: 3}
  - prefix: 198.51.102.0/24
    action: blackhole
route_files:
  - file: /proc/self/status
    via: [10.0.1.2, "fd00:2::2"]
"""

# What is written there instead of what, the line of the mistake, and what is said of it.
MISTAKES = {
    "slots no power of two": ("ring_slots: 256", "ring_slots: 100", 3,
                              "ring_slots 100: want a power of two"),
    "slots too many": ("ring_slots: 256", "ring_slots: 2048", 3,
                       "want a power of two from 8 to 1024"),
    "slots text": ("ring_slots: 256", "ring_slots: many", 3, "."),
    "slots negative": ("ring_slots: 256", "ring_slots: -1", 3, "."),
    "slots huge": ("ring_slots: 256", "ring_slots: 99999999999999999999", 3, "."),
    "batch zero": ("batch: 8", "batch: 0", 4, "batch 0: want 1 to 64"),
    "batch large": ("batch: 8", "batch: 65", 4, "batch 65: want 1 to 64"),
    "unknown key": ("batch: 8", "batsch: 8", 4, "batsch"),
    "unknown section": ("engines:", "motors:", 5, "motors"),
    "method": ("batch: 8", "method: xy", 4, "method 'xy': want wr, rd, bn or hy"),
    "rx_buffers": ("batch: 8", "rx_buffers: 1", 4, "rx_buffers 1: want 64 to 8192"),
    "table": ("batch: 8", "table: flat", 4, "table 'flat': want"),
    "router name": ("batch: 8", "name: a/b", 4, "name 'a/b': want 1 to 31 of letters"),
    "core": ("core: 0", "core: 9999", 6, "no core 9999"),
    "core negative": ("core: 0", "core: -2", 6, "no core -2"),
    "engine": ("engine: fast", "engine: slow", 9, "no engine is named 'slow'"),
    "port without type": ("{type: af_packet, target: nowhere0}", "{target: nowhere0}", 10, "type"),
    "port a text": ("{type: af_packet, target: nowhere0}", "af_packet", 10, "."),
    "mac": ("mac: 02:00:00:00:00:01", "mac: 02:00:00:00:00", 11,
            "'02:00:00:00:00' is no MAC address"),
    "mac of a group": ("mac: 02:00:00:00:00:01", "mac: 03:00:00:00:00:01", 11,
                       "is a group address"),
    "mtu small": ("mtu: 1500", "mtu: 67", 12, "mtu 67: want 68 to 16114"),
    "mtu large": ("mtu: 1500", "mtu: 16115", 12, "mtu 16115: want 68 to 16114"),
    "address": ("- 10.0.1.1/24", "- 10.0.1/24", 14, "'10.0.1/24' is no ADDRESS/LENGTH"),
    "address length": ("- 10.0.1.1/24", "- 10.0.1.1/33", 14, "'10.0.1.1/33' is no ADDRESS/LENGTH"),
    "address without length": ("- 10.0.1.1/24", "- 10.0.1.1", 14,
                               "'10.0.1.1' is no ADDRESS/LENGTH"),
    "second address": ("\"fd00:2::1/64\"]", "\n   \"fd00:2::1/129\"]", 18,
                       "'fd00:2::1/129' is no ADDRESS"),
    "two of a name": ("name: right", "name: left", 15, "two NICs are named 'left'"),
    "nic name": ("name: right", "name: ri ght", 15, "name 'ri ght': want 1 to 31 of letters"),
    "name long": ("name: right", "name: " + "r" * 40, 15, "want 1 to 31 of letters"),
    "neighbour's nic": ("nic: left, address", "nic: middle, address", 19,
                        "no NIC or VLAN is named 'middle'"),
    "neighbour's address": ("address: 10.0.2.2", "address: 10.0.2", 21, "'10.0.2' is no address"),
    "neighbour's mac": ("mac: 02:00:00:00:02:02", "mac: 01:00:00:00:02:02", 22,
                        "is no station's MAC"),
    "prefix with host bits": ("198.51.100.0/24", "198.51.100.1/24", 24, "bits beyond it"),
    "prefix": ("198.51.100.0/24", "198.51.100.0", 24, "no PREFIX/LENGTH"),
    "gateway": ("via: 10.0.1.2}\n  - prefix", "via: ten}\n  - prefix", 24, "'ten' is no address"),
    "gateway's family": ("via: 10.0.1.2}\n  - prefix", "via: \"fd00::1\"}\n  - prefix", 24,
                         "another family"),
    "weight": ("weight: 3", "weight: 0", 28, "weight 0: want 1 to 256"),
    "weight large": ("weight: 3", "weight: 257", 28, "weight 257: want 1 to 256"),
    "next hop without via": ("{via: 10.0.2.2, weight: 3}", "{weight: 3}", 28, "via"),
    "two targets": ("    action: blackhole", "    action: blackhole\n    via: 10.0.1.2", 29,
                    "want one of via, next_hops, action"),
    "no target": ("    action: blackhole\n", "", 29, "want one of via, next_hops, action"),
    "action": ("action: blackhole", "action: swallow", 30, "action 'swallow': want blackhole"),
    "route file": ("/proc/self/status", "table.xz", 32, "table.xz: No such file or directory"),
    "route file a folder": ("/proc/self/status", "/proc", 32, "/proc is no file"),
    "route file's gateway": ("via: [10.0.1.2, ", "via: [10.0.1, ", 33, "'10.0.1' is no address"),
    "no nics": ("nics:\n", "nics: []\nx:\n", None, "."),
    "tab": ("  batch: 8", "\tbatch: 8", 4, "."),
    "unclosed": ("[10.0.2.1/24, \"fd00:2::1/64\"]", "[10.0.2.1/24", None, "."),
    "quote": ("action: blackhole", "action: \"blackhole", None, "."),
    "a list": ("router:\n", "- router:\n", None, "."),
}


def refuse(tmp_path, octets):
    """Runs a router with that file; it must end by itself, with a sentence and nothing behind
    it."""
    path = tmp_path / "router.yaml"
    path.write_bytes(octets)
    done = run(P2PNIC, "router", "-c", str(path), errors="replace")
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stderr.strip()
    assert sorted(os.listdir(tmp_path)) == ["router.yaml"]
    return done.stderr


def good(tmp_path):
    return GOOD.replace("RUNTIME", str(tmp_path / "run"))


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake(tmp_path, case):
    old, new, line, reason = MISTAKES[case]
    text = good(tmp_path)
    assert text.count(old) == 1
    said = refuse(tmp_path, text.replace(old, new).encode())
    told = re.search(r"router\.yaml:(\d+): (.+)", said)
    assert told, said
    if line:
        assert int(told[1]) == line, said
    else:
        assert int(told[1]) > 0, said
    assert re.search(reason, told[2]), said


def test_good_one_is_read(tmp_path):
    """The same file without a mistake fails at an interface, which is not there: either NIC may be
    the first to say so."""
    assert "no such interface" in refuse(tmp_path, good(tmp_path).encode())


@pytest.mark.hostile("files that are damaged")
@pytest.mark.parametrize("octets", [
    pytest.param(b"", id="empty"),
    pytest.param(b"\0" * 1000, id="zeros"),
    pytest.param(random.Random(1).randbytes(4096), id="random"),
    pytest.param(b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 10, id="binary"),
    pytest.param(b"nics:" + b"[" * 5000, id="deep list"),
    pytest.param(b"nics:\n" + b"".join(b" " * k + b"-\n" for k in range(1, 500)), id="deep block"),
    pytest.param(b"nics: &a [*a, *a]\n", id="a loop"),
    pytest.param(b"x: " + b"a" * (8 << 20) + b"\n", id="long text"),
    pytest.param(b"nics:\n" + b"  - {name: n, port: {type: x, target: y}}\n" * 20000,
                 id="many nics"),
    pytest.param(b"%YAML 9.9\n---\nnics: []\n", id="version"),
    pytest.param(b"--- 1\n--- 2\n", id="two documents"),
    pytest.param("nics: [{name: ñ, port: {type: a, target: b}}]\n".encode("latin-1"), id="latin-1"),
    pytest.param("nics: [{name: \u202e, port: {type: a, target: b}}]\n".encode(),
                 id="strange letters"),
])
def test_no_configuration_at_all(tmp_path, octets):
    assert re.search(r"router\.yaml:\d+: ", refuse(tmp_path, octets))


@pytest.mark.hostile("files that are damaged")
def test_truncated_anywhere(tmp_path):
    text = good(tmp_path).encode()
    for end in range(0, len(text), 13):
        refuse(tmp_path, text[:end])


@pytest.mark.hostile("files that are damaged")
def test_changed_anywhere(tmp_path):
    rng = random.Random(5)
    for _ in range(60):
        octets = bytearray(good(tmp_path).encode())
        for _ in range(rng.randrange(1, 4)):
            octets[rng.randrange(len(octets))] = rng.randrange(256)
        if str(tmp_path / "run").encode() in octets:  # not to make directories elsewhere
            refuse(tmp_path, bytes(octets))


def test_not_readable(tmp_path):
    done = run(P2PNIC, "router", "-c", str(tmp_path / "nowhere.yaml"))
    assert done.returncode == 1 and "nowhere.yaml: No such file or directory" in done.stderr
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    for path in (tmp_path, tmp_path / "pipe", "/dev/null", "/dev/zero"):
        done = run(P2PNIC, "router", "-c", str(path))
        assert done.returncode == 1 and done.stderr == f"p2pnic router: {path}: not a file\n"
