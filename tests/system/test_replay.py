# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic replay`: captures through soft NICs, without root and without a network."""

import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import time

import pytest
from scapy.all import IP, UDP, Ether, Raw, raw, rdpcap, wrpcap

from network import P2PNIC, eventually, mac, processes_of, run

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
        "routes": [{"prefix": "203.1.113.0/24", "action": "blackhole"}],
    }
    (tmp_path / "router.yaml").write_text(json.dumps(config, indent=1))
    for k in range(1, NICS + 1):
        frames = []
        for n in range(400):
            to = rng.choice(["10.0.1.2", "10.0.2.2", "10.0.3.2", "203.1.113.9", "192.1.2.1"])
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
    return run(P2PNIC, "replay", *captures, "-c", config, "-o", output, *arguments, cwd=place,
               **options)


VERDICTS = "# p2pnic replay: NIC number time length what became of it"


def verdicts(place, output="out"):
    head, *lines = (place / output / "verdicts").read_text().splitlines()
    assert head == VERDICTS
    rows = [line.split() for line in lines]
    return {(row[0], int(row[1])): row[2:] for row in rows}


def test_each_frame_has_its_verdict_and_comes_out_there(place):
    done = replay(place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("replay: 1200 packets in, 1200 out, 0 "
                                                   "unaccounted")
    assert "data packets through the driver: 0" in done.stdout
    verdict = verdicts(place)
    wanted = {f"nic{k}": [] for k in range(1, NICS + 1)}
    for k in range(1, NICS + 1):
        for n, frame in enumerate(rdpcap(str(place / f"in{k}.pcap")), 1):
            to, ttl = frame[IP].dst, frame[IP].ttl
            fate = {"203.1.113.9": "dropped:blackhole", "192.1.2.1": "dropped:no-route"}.get(to)
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
    done = run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(program),
               "replay", "in1.pcap", "-c", "router.yaml", "-o", "out", cwd=place)
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


def pcapng(*blocks):
    """Blocks of (type, body), each framed as draft-ietf-opsawg-pcapng section 3.1 says."""
    octets = b""
    for kind, body in ((0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), *blocks):
        body += bytes(-len(body) % 4)
        octets += struct.pack("<II", kind, len(body) + 12) + body + struct.pack(
            "<I", len(body) + 12)
    return octets


def interface(link_type=1):
    return 1, struct.pack("<HHI", link_type, 0, 65535)


def packet(frame, number=0, interface_number=0):
    return 6, struct.pack("<IIIII", interface_number, 0, number, len(frame), len(frame)) + frame


def frame_to(host, number=0):
    return raw(Ether(dst=mac(1), src=mac(1, 2)) / IP(src="10.0.1.2", dst=f"10.0.{host}.2",
                                                     id=number) /
               UDP(sport=9, dport=9) / Raw(b"x" * 64))


# What is to be read: routed up to the damage, written, counted, and the command fails and says why.
DAMAGED = {
    "pcap cut in mid-record": (lambda whole: whole[:len(whole) // 2 + 3], "truncated dump file",
                               None),
    "pcap cut in a header": (lambda whole: whole + bytes(7), "truncated dump file", 400),
    "pcapng cut": (lambda _: pcapng(interface(), packet(frame_to(2)), packet(frame_to(3)))[:-20],
                   "truncated", 1),
    "two link types": (lambda _: pcapng(interface(), packet(frame_to(2)), interface(113),
                                        packet(frame_to(3), 1, 1), packet(frame_to(3))),
                       "different from the type of the first interface", 1),
    "two link types at once": (lambda _: pcapng(interface(), interface(113), packet(frame_to(2))),
                               "different from the type of the first interface", 0),
    "no such interface": (lambda _: pcapng(interface(), packet(frame_to(2)),
                                           packet(frame_to(3), 0, 7)),
                          "interface", 1),
}


@pytest.mark.hostile("captures that are damaged, files in the way")
@pytest.mark.parametrize("damage", DAMAGED)
def test_capture_that_cannot_be_read_to_its_end(place, damage):
    make, says, frames = DAMAGED[damage]
    (place / "my own, damaged.pcap").write_bytes(make((place / "in1.pcap").read_bytes()))
    done = replay(place, captures=["my own, damaged.pcap"])
    assert done.returncode == 1
    assert "my own, damaged.pcap: cannot be read further than frame" in done.stderr
    assert says in done.stderr and "p2pnic-replay-" not in done.stderr + done.stdout
    assert "it cannot be read further" in done.stdout and "0 unaccounted" in done.stdout
    frames = frames if frames is not None else len(verdicts(place))
    assert f"replay: {frames} packets in" in done.stdout
    assert len(verdicts(place)) == frames
    assert sum(len(rdpcap(str(place / "out" / f"nic{k}.pcap"))) for k in range(1, NICS + 1)) == \
        sum(row[-1].startswith("to:") for row in verdicts(place).values())
    # With --json the answer stays JSON, and the reason is beside it.
    done = replay(place, "--json", captures=["my own, damaged.pcap"])
    assert done.returncode == 1 and says in done.stderr
    assert says in json.loads(done.stdout)["input"][0]["fault"]


@pytest.mark.hostile("captures that are damaged, files in the way")
@pytest.mark.parametrize("content,says", [
    (b"", "truncated dump file"),
    (b"\xd4\xc3\xb2\xa1\x02\x00", "truncated dump file"),
    (b"text, and more than a header of it", "unknown file format"),
    (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 12345), "link type 12345"),
    (pcapng(), "no|truncated|end"),
])
def test_no_capture_at_all(place, content, says):
    (place / "bad.pcap").write_bytes(content)
    done = replay(place, captures=["in1.pcap", "bad.pcap"])
    assert done.returncode == 1
    assert re.search(f"bad.pcap: .*({says})", done.stderr), done.stderr
    assert "p2pnic-replay-" not in done.stderr
    assert os.listdir(place / "out") == [] if (place / "out").exists() else True


def pcap(*records):
    """Records of (seconds, nanoseconds, frame)."""
    return struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1) + b"".join(
        struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame
        for seconds, fraction, frame in records)


def test_every_time_is_a_time(place):
    """Also 0, which once meant that there is none, and what signed 32 bits cannot hold."""
    stamps = [(0, 0), (0, 1), (1, 0), (2**31 - 1, 999999999), (2**31, 0), (2**32 - 1, 999999999)]
    for k in range(1, NICS + 1):
        frames = [raw(Ether(dst=mac(k), src=mac(k, 2)) /
                      IP(src=f"10.0.{k}.2", dst=f"10.0.{k % 3 + 1}.2", id=n) / UDP(
                          sport=k, dport=9))
                  for n in range(len(stamps))]
        records = [(*at, frame) for at, frame in zip(stamps, frames)]
        (place / f"in{k}.pcap").write_bytes(pcap(*records))
    for output in ("one", "two"):
        assert replay(place, output=output).returncode == 0
    for k in range(1, NICS + 1):
        octets = (place / "one" / f"nic{k}.pcap").read_bytes()
        assert octets == (place / "two" / f"nic{k}.pcap").read_bytes()
        got = [struct.unpack_from("<II", octets, 24 + n * (16 + 60 - 18))
               for n in range(len(stamps))]
        assert got == stamps
    assert (place / "one" / "verdicts").read_bytes() == (place / "two" / "verdicts").read_bytes()


def test_equal_times_are_repeatable(place):
    for k in range(1, NICS + 1):
        (place / f"in{k}.pcap").write_bytes(pcap(*(
            (0, 0, raw(Ether(dst=mac(k), src=mac(k, 2)) / IP(
                src=f"10.0.{k}.2", dst="10.0.1.2", id=n) /
                       UDP(sport=k, dport=9))) for n in range(50))))
    first = None
    for n in range(4):
        assert replay(place, output=f"out{n}").returncode == 0
        octets = (place / f"out{n}" / "nic1.pcap").read_bytes()
        first = first or octets
        assert octets == first


@pytest.mark.parametrize("name", ["verdicts", "nic2.pcap"])
@pytest.mark.parametrize("kind", ["file", "symbolic link", "dangling link", "FIFO", "directory",
                                  "input"])
def test_overwrites_nothing_but_earlier_output(place, name, kind):
    out = place / "out"
    out.mkdir()
    (place / "precious").write_text("precious")
    captures = ["in1.pcap"]
    if kind == "file":
        (out / name).write_text("precious")
    elif kind == "symbolic link":
        (out / name).symlink_to(place / "precious")
    elif kind == "dangling link":
        (out / name).symlink_to(place / "absent")
    elif kind == "FIFO":
        os.mkfifo(out / name)
    elif kind == "directory":
        (out / name).mkdir()
    else:
        os.link(place / "in1.pcap", out / name)
    before = os.lstat(out / name)
    octets = (place / "in1.pcap").read_bytes()
    done = replay(place, captures=captures)
    assert done.returncode == 1
    assert f"out/{name}" in done.stderr
    after = os.lstat(out / name)
    assert (after.st_ino, after.st_mode, after.st_size) == (
        before.st_ino, before.st_mode, before.st_size)
    assert (place / "precious").read_text() == "precious" and not (place / "absent").exists()
    assert (place / "in1.pcap").read_bytes() == octets
    assert os.listdir(out) == [name]


def test_input_among_earlier_output(place):
    assert replay(place).returncode == 0
    octets = (place / "out" / "nic2.pcap").read_bytes()
    done = replay(place, captures=["out/nic2.pcap"])
    assert done.returncode == 1
    assert "out/nic2.pcap would be overwritten, and it is an input" in done.stderr
    assert (place / "out" / "nic2.pcap").read_bytes() == octets


def test_routes_of_the_kernel(place):
    """They are not in the file: refused, before anything is written."""
    config = json.loads((place / "router.yaml").read_text())
    (place / "kernel.yaml").write_text(json.dumps(
        {"nics": [{"name": n["name"], "port": n["port"]} for n in config["nics"]], "kernel": {}}))
    done = replay(place, config="kernel.yaml")
    assert done.returncode == 1 and "kernel.yaml: kernel: its routes" in done.stderr
    assert not (place / "out").exists()


def test_failed_run_leaves_earlier_output(place):
    assert replay(place).returncode == 0
    before = {name: (place / "out" / name).read_bytes() for name in os.listdir(place / "out")}
    bad = json.loads((place / "router.yaml").read_text())
    bad["nics"][0]["mac"] = "not one"
    (place / "bad.yaml").write_text(json.dumps(bad))
    assert replay(place, config="bad.yaml").returncode == 1
    process = subprocess.Popen([P2PNIC, "replay", "in1.pcap", "-c", "router.yaml", "-o", "out"],
                               cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(name.startswith(".p2pnic")
                                             for name in os.listdir(place / "out")):
        time.sleep(0.001)
    process.terminate()
    assert process.wait(30) != 0
    assert {name: (place / "out" / name).read_bytes()
            for name in os.listdir(place / "out")} == before
    assert replay(place, captures=["in2.pcap"]).returncode == 0
    assert (place / "out" / "verdicts").read_bytes() != before["verdicts"]


@pytest.mark.hostile("captures that are damaged, files in the way")
def test_disk_full(place):
    """Sent is what can be read back; the rest is counted, and said."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    (place / "out").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", place / "out"], check=True)
    try:
        done = replay(place, "--json")
        assert done.returncode == 1
        assert re.search(r"out/nic\d.pcap: \d+ frames could not be written", done.stderr)
        assert re.search(r"out/nic\d.pcap: cannot write: No space left on device", done.stderr)
        assert "p2pnic-replay-" not in done.stderr
        counters = json.loads(done.stdout)["counter"]
        for row in counters:
            frames = rdpcap(str(place / "out" / f"{row['nic']}.pcap"))
            assert len(frames) == row["sent"]["packets"]
        assert sum(row["dropped"].get("port", 0) for row in counters) > 0
        assert json.loads(done.stdout)["packets"]["unaccounted"] == 0
    finally:
        subprocess.run(["umount", place / "out"], check=True)


@contextlib.contextmanager
def small(directory, options):
    """A file system of that size there."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize("files, named", [
    (1, r"t/p2pnic-replay-\w{6}"), (2, "out"), (3, r"in1\.pcap"), (4, r"in2\.pcap"),
    (6, "messages0")])
def test_no_room_for_its_own_directory(place, files, named):
    """What could be made of it goes again."""
    with small(place / "t", f"nr_inodes={files}") as t:
        done = replay(place, env={**os.environ, "TMPDIR": "t"})
        assert done.returncode == 1 and re.search(rf"^p2pnic replay: .*{named}: No space left on "
                                                  rf"device$", done.stderr,
                                                  re.MULTILINE), done.stderr
        assert not os.listdir(t)
    assert not os.listdir(place / "out")


@pytest.mark.parametrize("files, named", [(1, "out"), (2, "out/nic1.pcap"), (5, "out/verdicts")])
def test_no_room_for_output(place, files, named):
    """Too few files for all: none of it stays."""
    with small(place / "out", f"nr_inodes={files}") as out:
        done = replay(place)
        assert done.returncode == 1 and f"{named}: " in done.stderr, done.stderr
        assert "No space left on device" in done.stderr, done.stderr
        assert not os.listdir(out)


def test_no_room_for_verdicts(place):
    with small(place / "t", "size=32k"):
        done = replay(place, env={**os.environ, "TMPDIR": "t"})
        assert done.returncode == 1
        assert "p2pnic replay: out/verdicts: not all could be written" in done.stderr, done.stderr


def test_temporary_directory(place):
    """A name too long for sockets is not used; one that is not there is named."""
    assert replay(place, env={**os.environ, "TMPDIR": "t" * 32}).returncode == 0
    done = replay(place, env={**os.environ, "TMPDIR": "t"})
    assert done.returncode == 1
    assert re.fullmatch(r"p2pnic replay: t/p2pnic-replay-\w{6}: No such file or directory\n",
                        done.stderr)


@pytest.mark.parametrize("output", ["nowhere/out", "dangling"])
def test_no_output_directory(place, output):
    (place / "dangling").symlink_to("nowhere")
    done = replay(place, output=output)
    assert (done.returncode == 1
            and f"p2pnic replay: {output}: No such file or directory" in done.stderr)


def test_over_its_own_output_with_a_gap(place):
    """The second time all is there already; one NIC has no capture."""
    for _ in range(2):
        done = replay(place, captures=["-", "in2.pcap"])
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["verdicts", "nic2.pcap"])
def test_output_that_cannot_be_replaced(place, name):
    """A mount point is not: said, and nothing else of the run stays."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    assert replay(place).returncode == 0
    before = set(os.listdir(place / "out"))
    subprocess.run(["mount", "--bind", place / "out" / name, place / "out" / name], check=True)
    try:
        done = replay(place)
    finally:
        subprocess.run(["umount", place / "out" / name], check=True)
    assert (done.returncode == 1
            and f"p2pnic replay: out/{name}: Device or resource busy" in done.stderr)
    assert set(os.listdir(place / "out")) == before


@pytest.mark.hostile("captures that are damaged, files in the way")
@pytest.mark.parametrize("whom, said", [("replay", r"interrupted after \d+ of 400000 frames"),
                                        ("nic", r"the NICs' process ended after \d+ of 400000 "
                                                r"frames")])
def test_ended_midway(place, whom, said):
    """Told to end, or its NICs killed, while frames come in: how far it was, and no output."""
    records = (place / "in1.pcap").read_bytes()
    (place / "in1.pcap").write_bytes(records + records[24:] * 999)
    (place / "t").mkdir()
    process = subprocess.Popen([P2PNIC, "replay", "in1.pcap", "-c", "router.yaml", "-o", "out"],
                               cwd=place, text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": "t"})
    try:
        eventually(lambda: any(path.stat().st_size > 1000 for path in place.glob("t/*/verdict0")),
                   30, "verdicts")
        pid = process.pid if whom == "replay" else next(
            pid for pid, line in processes_of("t/p2pnic-replay-").items() if line.split()[1] ==
            "nic" and
            os.readlink(f"/proc/{pid}/cwd") == str(place))
        os.kill(pid, signal.SIGTERM if whom == "replay" else signal.SIGKILL)
        reason = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1 and re.search(rf"^p2pnic replay: {said}$", reason,
                                                 re.MULTILINE), reason
    assert not os.listdir(place / "out") and not os.listdir(place / "t")


def test_capture_that_may_not_be_read(place, tmp_path):
    """Its name is said once."""
    words = [P2PNIC, "replay", "in1.pcap", "-c", "router.yaml", "-o", "out"]
    os.chmod(place / "in1.pcap", 0)
    if os.geteuid() == 0:
        os.chmod(tmp_path, 0o777)
        for parent in [p for p in tmp_path.parents if str(p).startswith("/tmp/pytest")]:
            os.chmod(parent, 0o755)
        words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                 shutil.copy(P2PNIC, tmp_path / "p2pnic"), *words[1:]]
    done = run(*words, cwd=place)
    assert (done.returncode == 1 and done.stderr.splitlines()[-1] ==
            "p2pnic replay: in1.pcap: Permission denied")


@pytest.mark.parametrize("words", [["in1.pcap"], ["in1.pcap", "-c", "router.yaml"],
                                   ["in1.pcap", "-o", "out"],
                                   ["-c", "router.yaml", "-o", "out"],
                                   ["in1.pcap"] * 65 + ["-c", "router.yaml", "-o", "out"]])
def test_usage(place, words):
    done = run(P2PNIC, "replay", *words, cwd=place)
    assert (done.returncode == 2 and done.stderr.startswith("usage: p2pnic replay")
            and not (place / "out").exists())


def test_output_directory_not_writable(place):
    if os.geteuid() != 0:
        (place / "out").mkdir(mode=0o500)
        done = replay(place)
    else:
        os.makedirs(place / "out")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", place / "out"], check=True)
        try:
            done = replay(place)
        finally:
            subprocess.run(["umount", place / "out"], check=True)
    assert done.returncode == 1
    assert re.search(r"^p2pnic replay: out: (Read-only file system|Permission denied)", done.stderr)


def test_size_limit_is_an_error_and_no_end(place):
    """RLIMIT_FSIZE: SIGXFSZ would kill without a word."""
    done = replay(place, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    assert done.returncode == 1
    assert "File too large" in done.stderr, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["replay", "--help"],
                                       ["show", "--help"]])
def test_answer_that_cannot_be_written(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([P2PNIC, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "standard output: No space left on device" in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([P2PNIC, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1
    assert "standard output: Broken pipe" in done.stderr


def test_summary_that_cannot_be_written(place):
    with open("/dev/full", "w") as full:
        done = subprocess.run([P2PNIC, "replay", "in1.pcap", "-c", "router.yaml", "-o", "out"],
                              cwd=place, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "standard output: No space left on device" in done.stderr


@pytest.mark.parametrize("method", ["wr", "rd", "bn"])
def test_jumbo_frames(place, method):
    """An MTU of 9,202 makes buffers of 16 KiB, whose longest frame has 16,128 bytes."""
    config = json.loads((place / "router.yaml").read_text())
    config["router"] = {"method": method}
    for nic in config["nics"]:
        nic["mtu"] = 9202
    (place / "router.yaml").write_text(json.dumps(config))
    lengths = [60, 1514, 9014, 9216, 9217, 16128, 16129]
    frames = [Ether(dst=mac(1), src=mac(1, 2)) / IP(src="10.0.1.2", dst="10.0.2.2", id=n) /
              UDP(sport=n, dport=9, chksum=0) / Raw(random.Random(n).randbytes(length - 42))
              for n, length in enumerate(lengths)]
    wrpcap(str(place / "in1.pcap"), frames)
    done = replay(place, captures=["in1.pcap"])
    assert done.returncode == 0, done.stderr
    fate = [row[-1] for row in verdicts(place).values()]
    assert fate == ["to:nic2"] * 4 + ["dropped:mtu"] * 2 + ["not-delivered:oversize"]
    came = rdpcap(str(place / "out" / "nic2.pcap"))
    assert [raw(p[Raw]) for p in came] == [raw(f[Raw]) for f in frames[:4]]


@pytest.mark.hostile("captures that are damaged, files in the way")
def test_frames_of_all_lengths(place):
    frames = [Ether(dst=mac(1), src=mac(1, 2), type=0x800) / Raw(b"E" * n) for n in range(
        0, 3000, 37)]
    wrpcap(str(place / "lengths.pcap"), [raw(f) for f in frames], linktype=1)
    done = replay(place, captures=["lengths.pcap"])
    assert done.returncode == 0, done.stderr
    long = sum(len(f) > 1792 for f in frames)
    assert f"{long} not delivered: longer than 1792 bytes" in done.stdout
    assert sum(v[-1] == "not-delivered:oversize" for v in verdicts(place).values()) == long


@pytest.mark.hostile("captures that are damaged, files in the way")
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
    captures = {"missing": ["nowhere.pcap"], "no capture": ["router.yaml"],
                "link type": ["raw.pcap"],
                "a directory": ["."], "too many": ["in1.pcap"] * 4}.get(case, ["in1.pcap"])
    done = replay(place, captures=captures, config="nowhere.yaml" if case == "no configuration" else
                  "router.yaml", env={**os.environ, "TMPDIR": str(place)})
    assert done.returncode == 1
    assert re.search(says, done.stderr), done.stderr
    assert not [name for name in os.listdir(place) if name.startswith("p2pnic-replay")]


@pytest.mark.hostile("captures that are damaged, files in the way")
@pytest.mark.parametrize("text, named", [
    ("", "verdicts"), ("a 1 2.3 4\n", "verdicts"), (VERDICTS, "verdicts"),
    (VERDICTS + "\n", "nic2.pcap")])
@pytest.mark.parametrize("mine",
                         [b"mine", struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)])
def test_captures_beside_verdicts_that_prove_nothing(place, text, named, mine):
    """Also a capture of nanoseconds, which only looks like an output."""
    (place / "out").mkdir()
    (place / "out" / "verdicts").write_text(text)
    (place / "out" / "nic2.pcap").write_bytes(mine)
    done = replay(place)
    assert done.returncode == 1 and f"out/{named} is in the way" in done.stderr
    assert (place / "out" / "verdicts").read_text() == text
    assert (place / "out" / "nic2.pcap").read_bytes() == mine
    assert sorted(os.listdir(place / "out")) == ["nic2.pcap", "verdicts"]
