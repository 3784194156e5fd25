# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic replay`: captures through soft NICs, without root and without a network."""

import json
import os
import random
import re
import shutil

import pytest
from scapy.all import IP, UDP, Ether, Raw, raw, rdpcap, wrpcap

from network import P2PNIC, mac, run

NICS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three captures of 400 frames each and a configuration."""
    tmp_path = tmp_path_factory.mktemp("replay")
    rng = random.Random(7)
    config = {
        "nics": [{"name": f"nic{k}", "mac": mac(k), "port": {"type": "af_xdp", "target": f"eth{k}"},
                  "addresses": [f"10.0.{k}.1/24"]} for k in range(1, NICS + 1)],
        "neighbors": [{"nic": f"nic{k}", "address": f"10.0.{k}.2", "mac": mac(k, 2)}
                      for k in range(1, NICS + 1)],
        "routes": [{"prefix": "203.0.113.0/24", "action": "blackhole"}],
    }
    (tmp_path / "router.yaml").write_text(json.dumps(config, indent=1))
    for k in range(1, NICS + 1):
        frames = []
        for n in range(400):
            to = rng.choice(["10.0.1.2", "10.0.2.2", "10.0.3.2", "203.0.113.9", "192.0.2.1"])
            frame = Ether(dst=mac(k), src=mac(k, 2)) / IP(src=f"10.0.{k}.2", dst=to, id=n,
                                                          ttl=rng.choice([1, 64, 64])) / \
                UDP(sport=n, dport=9, chksum=0) / Raw(rng.randbytes(rng.randrange(1, 1400)))
            frame.time = 1700000000 + n * 0.01 + k * 0.001
            frames.append(frame)
        wrpcap(str(tmp_path / f"in{k}.pcap"), frames)
    return tmp_path


@pytest.fixture
def place(made, tmp_path):
    for name in os.listdir(made):
        shutil.copy(made / name, tmp_path)
    return tmp_path


def replay(place, *arguments, captures=None, output="out", config="router.yaml", **options):
    captures = captures or [f"in{k}.pcap" for k in range(1, NICS + 1)]
    return run(P2PNIC, "replay", *captures, "-c", config, "-o", output, *arguments, cwd=place, **options)


def verdicts(place, output="out"):
    rows = [line.split() for line in (place / output / "verdicts").read_text().splitlines()]
    return {(row[0], int(row[1])): row[2:] for row in rows}


def test_each_frame_has_its_verdict_and_comes_out_there(place):
    done = replay(place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("replay: 1200 packets in, 1200 out, 0 unaccounted")
    assert "data packets through the driver: 0" in done.stdout
    verdict = verdicts(place)
    wanted = {f"nic{k}": [] for k in range(1, NICS + 1)}
    for k in range(1, NICS + 1):
        for n, frame in enumerate(rdpcap(str(place / f"in{k}.pcap")), 1):
            to, ttl = frame[IP].dst, frame[IP].ttl
            fate = {"203.0.113.9": "dropped:blackhole", "192.0.2.1": "dropped:no-route"}.get(to)
            if not fate:
                egress = int(to.split(".")[2])
                fate = f"to:nic{egress}" if ttl > 1 else "dropped:ttl"
            got = verdict[f"nic{k}", n]
            assert got[1:] == [str(len(frame)), fate]
            assert abs(float(got[0]) - float(frame.time)) < 1e-5
            if fate.startswith("to:"):
                out = frame.copy()
                out[Ether].src, out[Ether].dst = mac(egress), mac(egress, 2)
                out[IP].ttl -= 1
                del out[IP].chksum
                wanted[f"nic{egress}"].append((float(frame.time), raw(out)))
    assert len(verdict) == 1200
    for name, frames in wanted.items():
        got = [raw(frame) for frame in rdpcap(str(place / "out" / f"{name}.pcap"))]
        assert got == [octets for _, octets in sorted(frames)]  # in the order of time, too


def test_repeatable(place):
    for output in ("one", "two"):
        assert replay(place, output=output).returncode == 0
    for name in os.listdir(place / "one"):
        assert (place / "one" / name).read_bytes() == (place / "two" / name).read_bytes()


def test_json(place):
    done = replay(place, "--json")
    result = json.loads(done.stdout)
    assert result["packets"]["in"] == result["packets"]["out"] == 1200
    assert result["packets"]["unaccounted"] == 0
    assert [row["frames"] for row in result["input"]] == [400] * 3
    assert sum(row["packets"] for row in result["ring"]) == result["packets"]["sent"]


def test_as_nobody(place, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("not root, so every other test here is this one")
    os.chmod(tmp_path, 0o777)
    for parent in [p for p in tmp_path.parents if str(p).startswith("/tmp/pytest")]:
        os.chmod(parent, 0o755)
    program = shutil.copy(P2PNIC, tmp_path / "p2pnic")  # where nobody may read it
    done = run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(program), "replay",
               "in1.pcap", "-c", "router.yaml", "-o", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "400 packets in, 400 out, 0 unaccounted" in done.stdout


def test_fewer_captures_than_nics(place):
    done = replay(place, captures=["-", "in2.pcap"])
    assert done.returncode == 0, done.stderr
    assert "400 packets in" in done.stdout
    assert len(rdpcap(str(place / "out" / "nic3.pcap"))) > 0


def test_names_with_commas_and_blanks(place):
    os.rename(place / "in1.pcap", place / "a, b=c.pcap")
    done = replay(place, captures=["a, b=c.pcap"], output="out, there")
    assert done.returncode == 0, done.stderr
    assert len(verdicts(place, "out, there")) == 400


def test_capture_cut_in_mid_record(place):
    whole = (place / "in1.pcap").read_bytes()
    (place / "cut.pcap").write_bytes(whole[:len(whole) // 2 + 3])
    done = replay(place, captures=["cut.pcap"])
    assert done.returncode == 0, done.stderr
    assert "it ends early" in done.stdout and "0 unaccounted" in done.stdout


def test_frames_of_all_lengths(place):
    frames = [Ether(dst=mac(1), src=mac(1, 2), type=0x800) / Raw(b"E" * n) for n in range(0, 3000, 37)]
    wrpcap(str(place / "lengths.pcap"), [raw(f) for f in frames], linktype=1)
    done = replay(place, captures=["lengths.pcap"])
    assert done.returncode == 0, done.stderr
    long = sum(len(f) > 1792 for f in frames)
    assert f"{long} not delivered: longer than 1792 bytes" in done.stdout
    assert sum(v[-1] == "not-delivered:oversize" for v in verdicts(place).values()) == long


@pytest.mark.parametrize("case,says", [
    ("missing", r"nowhere.pcap: No such file"),
    ("no capture", r"unknown file format"),
    ("link type", r"not Ethernet"),
    ("a directory", r"not a file"),
    ("too many", r"4 captures for the 3 NICs"),
    ("no configuration", r"nowhere.yaml: No such file"),
    ("output", r"out: (Not a directory|File exists)"),
])
def test_wrong_input(place, case, says):
    if case == "link type":
        wrpcap(str(place / "raw.pcap"), [IP(dst="10.0.2.2")], linktype=101)
    if case == "output":
        (place / "out").write_text("a file")
    captures = {"missing": ["nowhere.pcap"], "no capture": ["router.yaml"], "link type": ["raw.pcap"],
                "a directory": ["."], "too many": ["in1.pcap"] * 4}.get(case, ["in1.pcap"])
    done = replay(place, captures=captures, config="nowhere.yaml" if case == "no configuration" else
                  "router.yaml", env={**os.environ, "TMPDIR": str(place)})
    assert done.returncode == 1
    assert re.search(says, done.stderr), done.stderr
    assert not [name for name in os.listdir(place) if name.startswith("p2pnic-replay")]
