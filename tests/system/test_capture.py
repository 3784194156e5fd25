# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic capture`: what NICs receive, send and drop, as files that others read; and what becomes
of NICs when the client dies, reads nothing, or a NIC is restarted."""

import json
import os
import signal
import struct
import subprocess

import pytest
from scapy.all import IP, UDP, Ether, PcapNgReader, Raw, raw

from network import P2PNIC, Network, eventually, mac, processes_of, run


@pytest.fixture(scope="module", name="network")
def two_nics(permitted):
    n = Network(2)
    try:
        yield n.start()
        n.router.check_identity(n.rings)
    finally:
        n.close()


def packet(dst="10.0.2.2", ttl=64, size=100, dport=7):
    return raw(Ether(dst=mac(1), src=mac(1, 2)) / IP(src="10.0.1.2", dst=dst, ttl=ttl, id=7) /
               UDP(sport=9, dport=dport) / Raw(bytes(size)))


class Capture:
    """A running `p2pnic capture`; its packets once it has ended."""

    def __init__(self, network, *words, file=None, first=None):
        self.network = network
        file = file or f"{network.directory}/{len(os.listdir(network.directory))}.pcapng"
        self.file = first or file
        self.process = subprocess.Popen(
            [P2PNIC, "capture", "--runtime", network.router.runtime, "-w", file, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # A section, and interfaces: NICs capture from then on.
        eventually(lambda: self.process.poll() is not None or self.has(60), what="a capture")

    def has(self, more):
        return os.path.exists(self.file) and os.path.getsize(self.file) >= more

    def wait(self, packets):
        """Until so many packets are in the file."""
        eventually(lambda: len(blocks(self.file)[1]) >= packets, what=f"{packets} packets")

    def end(self, status=0):
        self.process.send_signal(signal.SIGINT)
        self.printed, self.said = self.process.communicate(timeout=30)
        assert self.process.returncode == status, self.said
        return blocks(self.file)


def options(data):
    found = {}
    while len(data) >= 4:
        code, length = struct.unpack("<HH", data[:4])
        if code == 0:
            break
        found[code] = data[4:4 + length]
        data = data[4 + (length + 3) // 4 * 4:]
    return found


def blocks(path):
    """Reads a file the stupid way: interfaces, packets, statistics, as dicts."""
    with open(path, "rb") as file:
        data = file.read()
    interfaces, packets, statistics = [], [], []
    while len(data) >= 8:
        kind, length = struct.unpack("<II", data[:8])
        if length > len(data):  # it is being written
            break
        assert length % 4 == 0 and struct.unpack("<I", data[length - 4:length])[0] == length
        body, data = data[8:length - 4], data[length:]
        if kind == 1:
            more = options(body[8:])
            assert more[9] == b"\x09"
            interfaces.append({"name": more[2].decode(), "filter": more.get(11)})
        elif kind == 6:
            interface, high, low, captured, size = struct.unpack("<IIIII", body[:20])
            more = options(body[20 + (captured + 3) // 4 * 4:])
            packets.append({"nic": interfaces[interface]["name"], "ns": high << 32 | low,
                            "bytes": body[20:20 + captured], "length": size,
                            "direction": struct.unpack("<I", more[2])[0],
                            "comment": more.get(1, b"").decode()})
        elif kind == 5:
            more = options(body[12:])
            statistics.append({"received": struct.unpack("<Q", more[4])[0],
                               "lost": struct.unpack("<Q", more[5])[0]})
    return interfaces, packets, statistics


def test_received_and_sent(network):
    capture = Capture(network, "udp", "port", "7")
    network.wire[1].send(packet(dport=8))
    sent = packet()
    network.wire[1].send(sent)
    got = eventually(lambda: [f for f in network.wire[2].pending() if f[37] == 7])[0]
    capture.wait(2)
    interfaces, packets, statistics = capture.end()
    assert [i["name"] for i in interfaces] == ["nic1", "nic2"]
    assert interfaces[0]["filter"] == b"\0udp port 7"
    assert [(p["nic"], p["direction"], p["bytes"]) for p in packets] == \
        [("nic1", 1, sent), ("nic2", 2, got)]
    assert packets[0]["ns"] <= packets[1]["ns"]
    assert statistics == [{"received": 1, "lost": 0}] * 2
    assert "2 packets, 0 lost by the capture" in capture.said


def test_drops_say_why(network):
    capture = Capture(network, "-p", "drop", "-s", "64", "-j")
    network.wire[1].send(packet())  # is forwarded
    network.wire[1].send(packet(ttl=1))
    network.wire[1].send(packet(dst="198.51.101.9"))
    bad = bytearray(packet())
    bad[24] ^= 1
    network.wire[1].send(bytes(bad))
    capture.wait(3)
    _, packets, _ = capture.end()
    assert not capture.said and json.loads(capture.printed) == {
        "packets": 3, "lost": 0, "nics": [{"nic": "nic1", "packets": 3, "lost": 0},
                                          {"nic": "nic2", "packets": 0, "lost": 0}]}
    assert [p["comment"].split(":")[1].strip() for p in packets] == ["ttl", "no-route", "checksum"]
    assert all(p["comment"].startswith("dropped: ") and p["nic"] == "nic1" for p in packets)
    assert packets[0]["bytes"] == packet(ttl=1)[:64] and packets[0]["length"] == len(packet())

    capture = Capture(network, "-p", "drop", "-R", "ttl", "-i", "nic1", "-c", "1")
    network.wire[1].send(packet(dst="198.51.101.9"))
    network.wire[1].send(packet(ttl=1))
    assert capture.process.wait(30) == 0
    assert [p["comment"].split(":")[1] for p in blocks(capture.file)[1]] == [" ttl"]


def test_others_read_it(network):
    capture = Capture(network, "-p", "rx", "-c", "1")
    network.wire[1].send(packet())
    assert capture.process.wait(30) == 0
    done = run("tcpdump", "-n", "-r", capture.file)
    assert "10.0.1.2.9 > 10.0.2.2.7: UDP" in done.stdout, done
    with PcapNgReader(capture.file) as reader:
        assert [raw(p) for p in reader] == [packet()]


def test_to_a_pipe(network):
    with subprocess.Popen([P2PNIC, "capture", "--runtime", network.router.runtime, "-w", "-",
                           "-p", "rx"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(4) == b"\x0a\x0d\x0d\x0a"
        process.stdout.close()  # nobody reads any more
        def ended():
            network.wire[1].send(packet())
            return process.poll() is not None
        eventually(ended, what="the end of a capture that nobody reads")
        assert process.returncode == 1 and b"Broken pipe" in process.stderr.read()


def test_one_at_a_time(network):
    first = Capture(network)
    done = run(P2PNIC, "capture", "--runtime", network.router.runtime, "-w",
               f"{network.directory}/second")
    assert done.returncode == 1
    assert f"for p2pnic capture, process {first.process.pid} of user" in done.stderr
    assert not os.path.exists(f"{network.directory}/second")
    first.process.send_signal(signal.SIGKILL)
    first.process.communicate()

    # Of a client that is gone nothing stays: neither the memory nor the NICs' work.
    last = []

    def again():
        last.append(Capture(network, "-c", "1"))
        network.wire[1].send(packet())
        return last[-1].process.wait(30) == 0
    eventually(again, what="the end of a capture whose client was killed")


def test_a_file_that_exists(network):
    path = f"{network.directory}/kept"
    with open(path, "w", encoding="utf8") as file:
        file.write("mine")
    done = run(P2PNIC, "capture", "--runtime", network.router.runtime, "-w", path)
    assert done.returncode == 1 and f"{path}: File exists; -f writes it anew" in done.stderr
    with open(path, encoding="utf8") as file:
        assert file.read() == "mine"


def test_wrong_words(network):
    for words, said in [
            (["-w", "x", "host"], "filter 'host'"), (["-p", "tx"], "-w FILE"),
            (["-w", "x", "-i", "nic9"], "no NIC 'nic9'"), (["-w", "x", "-p", "mid"], "'mid'"),
            (["-w", "x", "-R", "dust"], "no drop reason 'dust'"),
            (["-w", "x", "-s", "0"], "--snap '0'"), (["-w", "x", "-W", "2"], "-W is for -C"),
            (["-w", "-", "-j"], "where -w - has the packets")]:
        done = run(P2PNIC, "capture", "--runtime", network.router.runtime, *words,
                   cwd=network.directory)
        assert done.returncode and said in done.stderr, (words, done.stderr)
        assert not os.path.exists(f"{network.directory}/x")


def test_rotation(network):
    base = f"{network.directory}/rotated"
    capture = Capture(network, "-C", "1", "-W", "2", "-p", "rx", file=base, first=f"{base}0")
    capture_files = [f"{base}0", f"{base}1"]
    big = packet(size=1400)

    def rotated():
        for _ in range(200):
            network.wire[1].send(big)
        return os.path.exists(capture_files[1])
    eventually(rotated, what="a second file")
    capture.file = capture_files[1]
    interfaces, packets, _ = capture.end()
    assert len(interfaces) == 2 and all(p["bytes"] == big for p in packets)
    interfaces, packets, statistics = blocks(capture_files[0])
    assert 0 < os.path.getsize(capture_files[0]) - 1000000 < 2000
    assert len(interfaces) == len(statistics) == 2 and len(packets) > 600


@pytest.mark.hostile("a client that dies or reads nothing")
def test_a_reader_that_sleeps(network):
    """The ring comes around: what is lost is counted, and packets are forwarded."""
    capture = Capture(network, "-p", "rx", "-i", "nic1")
    capture.process.send_signal(signal.SIGSTOP)
    small, before = packet(size=0), network.router.received()
    for sent in range(0, 6000, 250):  # not more than a socket holds on a busy machine
        for _ in range(250):
            network.wire[1].send(small)
        eventually(lambda: network.router.received() >= before + sent + 250, 60, "all received")
    capture.process.send_signal(signal.SIGCONT)
    capture.wait(1)
    _, packets, statistics = capture.end()
    assert statistics[0]["lost"] > 0
    assert statistics[0]["received"] == len(packets) + statistics[0]["lost"] == 6000
    assert f"{statistics[0]['lost']} packets lost by the capture" in capture.said


@pytest.mark.hostile("a client that dies or reads nothing")
def test_a_nic_that_is_restarted(network):
    """It captures on; the other one's is not touched."""
    network.rings = False
    capture = Capture(network, "-p", "rx")
    network.wire[1].send(packet(dport=1))
    capture.wait(1)
    restarts = network.router.nic("nic1")["restarts"]
    pid = next(p for p, line in processes_of(network.directory).items() if "nic1" in line)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: network.router.nic("nic1")["restarts"] > restarts and
               network.router.nic("nic1")["state"] == "forwarding", 30, "nic1 back")

    def seen():
        network.wire[1].send(packet(dport=2))
        return any(p["bytes"][37] == 2 for p in blocks(capture.file)[1])
    eventually(seen, what="a packet of the new NIC")
    capture.end()


@pytest.mark.hostile("a client that dies or reads nothing")
def test_a_router_that_is_killed(network):
    """The command ends, with what it has; the next router finds NICs that capture, and ends it."""
    network.rings = False
    capture = Capture(network, "-p", "rx")
    network.wire[1].send(packet())
    capture.wait(1)
    network.router.kill()
    assert capture.process.wait(30) == 0
    assert "the router has ended it" in capture.process.stderr.read()
    assert len(blocks(capture.file)[2]) == 2
    network.router.start()
    capture = Capture(network, "-p", "tx", "-c", "1")
    network.wire[1].send(packet())
    assert capture.process.wait(30) == 0
