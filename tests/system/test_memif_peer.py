# SPDX-License-Identifier: BSD-3-Clause
"""NICs whose wires are memif peers of our own making (memif_peer.py), with the habits of others."""

import glob
import os
import random
import socket
import subprocess
import time

import pytest
from scapy.all import IP, UDP, Ether, raw

from memif_peer import Client, Refused, Server
from network import P2PNIC, Router, eventually, processes_of

pytestmark = pytest.mark.hostile("a memif peer with other habits")

SECRET = b"not-for-others"


def mac(nic, end):
    return f"02:00:00:00:{nic:02x}:{end:02x}"


@pytest.fixture
def make_router(tmp_path, tmp_path_factory):
    """make_router(options of NIC 0, of NIC 1) → the router, and the NICs' sockets"""
    made = []

    def make(*options):
        sockets = [str(tmp_path_factory.mktemp("m") / "s") for _ in options]
        router = Router({
            "nics": [{"name": f"nic{k}", "mac": mac(k, 1), "addresses": [f"198.18.{k}.1/24"],
                      "mtu": 1778,
                      "port": {"type": "memif", "target": sockets[k], "options": options[k]}}
                     for k in range(len(options))],
            "neighbors": [{"nic": f"nic{k}", "address": f"198.18.{k}.10", "mac": mac(k, 2)}
                          for k in range(len(options))]}, str(tmp_path))
        made.append(router)
        return router, sockets

    yield make
    for router in made:
        router.stop()
    eventually(lambda: not processes_of(str(tmp_path)), what="the router's end")


def received(peer, what="a packet"):
    return eventually(peer.receive, 20, what)


def go(peer):
    """Connects as soon as there is something to connect to."""
    if isinstance(peer, Server):
        return peer.connect()

    def attempt():
        try:
            return peer.connect()
        except OSError:
            return None
    return eventually(attempt, 20, "a server")


# Peers: a class and how it cuts. The NIC has the other role.
HABITS = [
    (Server, {}),
    (Server, {"cut": 700}),
    (Server, {"cut": 28}),
    (Server, {"cut": 300, "rings": 8}),
    (Client, {}),
    (Client, {"buffer": 512}),
    (Client, {"buffer": 320, "headroom": 64}),
    (Client, {"cut": 28, "log2": 7}),
    (Client, {"buffer": 9216, "headroom": 128, "log2": 1}),
    (Client, {"buffer": 2048, "log2": 0}),
]


@pytest.mark.parametrize("kind, habits", HABITS, ids=[f"{k.__name__}-{h}" for k, h in HABITS])
def test_every_length_both_ways(make_router, kind, habits):
    """From the peer to a plain one and back: what arrives is what was sent, whole, whatever it was
    cut into."""
    role = "role=client" if kind is Server else "role=server"
    router, sockets = make_router(role, "role=client")
    peer = kind(sockets[0], **habits)
    plain = Server(sockets[1])
    try:
        router.start()
        go(peer)
        go(plain)
        eventually(lambda: all(row["link"] for row in router.show("port")), 20, "links up")
        random.seed(4)
        lengths = [42, 60, 64, 255, 256, 257, 699, 700, 701, 1400, 1791, 1792]
        for number, length in enumerate(lengths * 2):
            for source, sink, nic in ((peer, plain, 0), (plain, peer, 1)):
                body = random.randbytes(length - 42)
                source.send(raw(Ether(src=mac(nic, 2), dst=mac(nic, 1)) /
                                IP(src=f"198.18.{nic}.10", dst=f"198.18.{1 - nic}.10", id=number,
                                   ttl=9) /
                                UDP(sport=1, dport=2) / body))
                frame = received(sink, f"{length} bytes into nic{nic}")
                assert len(frame) == length
                packet = Ether(frame)
                assert packet.dst == mac(1 - nic,
                                         2) and packet[IP].ttl == 8 and packet[IP].id == number
                assert frame[42:] == body
        # Above the largest frame: dropped once, and counted under its reason; the next one passes.
        for length in (1793, 2048):
            if kind is Client and -(-length // peer.cut) > 1 << peer.log2:
                continue
            peer.send(bytes(length))
            peer.send(raw(Ether(src=mac(0, 2), dst=mac(0, 1)) / IP(
                src="198.18.0.10", dst="198.18.1.10") /
                          UDP() / b"after"))
            assert received(plain).endswith(b"after")
        router.check_identity()
    finally:
        peer.close()
        plain.close()


def arguments_of(directory):
    """What ps shows of every process that names the directory."""
    shown = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                shown.append(file.read())
        except OSError:
            pass
    return [line for line in shown if directory.encode() in line]


def test_secret_of_a_configuration_is_in_no_arguments(make_router, tmp_path):
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    router, sockets = make_router(f"role=server,secret={SECRET.decode()}",
                                  f"secret-file={tmp_path}/secret,id=3")
    told = Server(sockets[1])
    peers = []
    try:
        router.start()
        told.connect()
        assert told.secret == SECRET.ljust(24, b"\0") and told.id == 3
        for secret in (b"", b"other", SECRET + b"-"):
            peers.append(Client(sockets[0], secret=secret))
            with pytest.raises(Refused, match="Incorrect secret"):
                peers[-1].connect()
        peers.append(Client(sockets[0], secret=SECRET + b"\0rubbish").connect())
        shown = arguments_of(str(tmp_path))
        assert any(b"--port-options" in line for line in shown)
        assert not any(SECRET in line for line in shown)
        assert SECRET.decode() not in router.messages()
    finally:
        told.close()
        for peer in peers:
            peer.close()


def test_secret_of_a_command_is_hidden(tmp_path):
    """Typed all the same: gone from the arguments as soon as they are read."""
    commands = [
        [P2PNIC, "nic", "--nic", "a", "--socket", f"{tmp_path}/n", "--port", f"memif:{tmp_path}/s",
         "--port-options", f"id=1,secret={SECRET.decode()},role=client"],
        [P2PNIC, "tester", "run", "-W", "30", "-p",
         f"memif:{tmp_path}/t,secret={SECRET.decode()},id=2"],
    ]
    for command, path, number in zip(commands, (f"{tmp_path}/s", f"{tmp_path}/t"), (1, 2)):
        server = Server(path)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            try:
                server.connect()
                assert server.secret == SECRET.ljust(24, b"\0") and server.id == number
                with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                    shown = file.read()
                assert b"secret=xxx" in shown and SECRET not in shown
            finally:
                process.kill()
                server.close()


def test_what_is_refused_is_told(make_router):
    """Both ways: the peer hears why, and the router says what the peer gave as its reason."""
    router, sockets = make_router("role=server,id=1", "role=client")
    router.start()
    for habits, why in (({"mode": 1, "number": 1}, "Only ethernet mode supported"),
                        ({"mode": 2, "number": 1}, "Only ethernet mode supported"),
                        ({"number": 2}, "ID not found")):
        peer = Client(sockets[0], **habits)
        with pytest.raises(Refused, match=why):
            go(peer)
        peer.close()
    server = Server(sockets[1])
    server.listener.settimeout(20)
    for _ in range(2):  # it comes again
        server.channel = server.listener.accept()[0]
        server.say(8, "I96s", 7, b"no such interface")
        server.channel.close()
    eventually(lambda: any("no such interface" in row.get("fault", "")
                           for row in router.show("port")), 10,
               "the peer's reason")
    server.connect()
    eventually(lambda: all("no such interface" not in row.get("fault", "")
                           for row in router.show("port")), 10,
               "its end")
    server.close()


def test_idle_connections_keep_nobody_out(make_router):
    router, sockets = make_router("role=server")
    router.start()
    idle = []
    for _ in range(30):
        idle.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK))
        idle[-1].connect(sockets[0])
        time.sleep(0.01)
    assert os.stat(sockets[0]).st_mode & 0o7777 == 0o600
    peer = Client(sockets[0]).connect()
    peer.close()
    for s in idle:
        s.close()
