# SPDX-License-Identifier: BSD-3-Clause
"""Packets that are sent from the memory of the NIC that received them (rd, hy): by ports that can,
across deaths of NICs and routers, and beside ports that cannot."""
import os
import random
import signal
import socket
import subprocess

import pytest
from scapy.all import IP, UDP, Ether, raw

from memif_peer import Server
from network import Network, Router, eventually, inside, mac, processes_of

LEND_FROM = 400
MORE_THAN_ALL = 2200  # a NIC has 2048 own buffers


def frame(length, seed, source=1, to=2):
    return raw(Ether(dst=mac(source), src=mac(source, 2)) /
               IP(src=f"10.0.{source}.2", dst=f"10.0.{to}.2") / UDP(dport=9, chksum=0) /
               random.Random(seed).randbytes(length - 42))


def cross(network, lengths, source=1, to=2):
    for seed, length in enumerate(lengths):
        sent = frame(length, seed, source, to)
        network.wire[source].send(sent)
        assert network.wire[to].receive()[34:] == sent[34:]


def fetched(router, name):
    return next(row["fetched"] for row in router.show("counter") if row["nic"] == name)


def has_link(router, name):
    return next(row["link"] for row in router.show("port") if row["nic"] == name)


def of(port, **router):
    network = Network(3, port=port)
    network.router.config["router"].update(router)
    network.router.write()
    network.start()
    return network


@pytest.mark.parametrize("method", ["rd", "hy"])
@pytest.mark.parametrize("port", ["af_packet", "af_xdp"])
def test_packets_cross(permitted, method, port):
    """Of what is lent nothing is copied; not with the first packet either."""
    hybrid = {"lend_from": LEND_FROM} if method == "hy" else {}
    network = of(port, method=method, **hybrid)
    lengths = [60, 61, 399, 400, 401, 1000, 1514] * 5
    try:
        assert {row["method"] for row in network.router.show("nic")} == {method}
        cross(network, lengths)
        network.router.check_identity()
        assert network.router.dropped() == {}
        assert fetched(network.router, "nic2") == 0
    finally:
        network.close()


@pytest.mark.hostile("a peer that dies, and one that is not ours")
@pytest.mark.parametrize("method", ["rd", "hy"])
def test_deaths(permitted, method):
    """A NIC that dies and returns has new memory, which the others send from then; a router that
    dies leaves all as it is."""
    network = of("af_packet", method=method)
    lengths = [60, 300, 1514]
    try:
        cross(network, lengths)
        for victim in (1, 2, 1):
            os.kill(network.router.nic(f"nic{victim}")["pid"], signal.SIGKILL)
            eventually(lambda: all(row["state"] == "forwarding" and row["pid"]
                                   for row in network.router.show("nic")) and
                       network.router.nic(f"nic{victim}")["restarts"], 20, "the NIC's return")
            cross(network, lengths, 3, victim)
            cross(network, lengths, victim, 3)
            cross(network, lengths)
        network.router.kill()
        cross(network, lengths)
        network.router.start()
        cross(network, lengths)
        assert all(fetched(network.router, f"nic{k}") == 0 for k in (1, 2, 3))
        assert all(row["restarts"] <= 3 for row in network.router.show("nic"))
    finally:
        network.close()


@pytest.mark.hostile("a peer that dies")
@pytest.mark.parametrize("method", ["rd", "hy"])
def test_deaths_beside_af_xdp(permitted, method):
    """A port of type af_xdp that forwards already copies packets of a NIC that has returned, until
    its link is next set up; those of the others never."""
    network = of("af_xdp", method=method)
    length = 1514
    try:
        cross(network, [length] * 3)
        cross(network, [length] * 3, 3, 2)
        os.kill(network.router.nic("nic1")["pid"], signal.SIGKILL)
        eventually(lambda: all(row["state"] == "forwarding" and row["pid"]
                               for row in network.router.show("nic")) and
                   network.router.nic("nic1")["restarts"], 20, "the NIC's return")
        cross(network, [length] * 5)
        cross(network, [length] * 5, 3, 2)
        cross(network, [length] * 5, 2, 1)
        assert [fetched(network.router, f"nic{k}") for k in (1, 2)] == [0, 5]
        with inside(network.namespaces[2]):
            subprocess.run(["ip", "link", "set", "eth0", "down"], check=True, timeout=60)
            eventually(lambda: not has_link(network.router, "nic2"), 20, "the link's end")
            subprocess.run(["ip", "link", "set", "eth0", "up"], check=True, timeout=60)
        network.wire[2].socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # it was down
        eventually(lambda: has_link(network.router, "nic2"), 20, "the link")
        cross(network, [length] * 5)
        assert fetched(network.router, "nic2") == 5
    finally:
        network.close()


@pytest.mark.hostile("a peer that dies, and one that is not ours")
@pytest.mark.parametrize("share", ["yes", "no"])
def test_memif_peer_has_their_memory(tmp_path, tmp_path_factory, share):
    """A memif peer of a NIC that shares gets the other NICs' packet memories as regions, once they
    are there, and packets as descriptors in them. Without `share` it gets its NIC's alone."""
    sockets = [str(tmp_path_factory.mktemp("m") / "s") for _ in range(2)]
    router = Router({
        "nics": [{"name": f"nic{k}", "mac": mac(k, 1), "addresses": [f"198.18.{k}.1/24"],
                  "port": {"type": "memif", "target": sockets[k],
                           "options": f"share={share}"}} for k in range(2)],
        "neighbors": [{"nic": f"nic{k}", "address": f"198.18.{k}.10", "mac": mac(k, 2)}
                      for k in range(2)]}, str(tmp_path))
    router.config["router"]["method"] = "rd"
    router.write()
    peers = [Server(path) for path in sockets]
    try:
        router.start()
        for peer in peers:
            peer.connect()
        eventually(lambda: all(row["link"] for row in router.show("port")), 20, "links")
        for seed in range(100):
            packet = raw(Ether(dst=mac(0, 1), src=mac(0, 2)) /
                         IP(src="198.18.0.10", dst="198.18.1.10") / UDP(dport=9, chksum=0) /
                         random.Random(seed).randbytes(18 + 14 * seed))
            peers[0].send(packet)
            assert eventually(peers[1].receive, 20, "a packet")[34:] == packet[34:]
        assert fetched(router, "nic1") == (0 if share == "yes" else 100)
    finally:
        for peer in peers:
            peer.close()
        router.stop()
    eventually(lambda: not processes_of(str(tmp_path)), what="the router's end")


class Hostile(Server):
    """A peer that has other NICs' packet memories, and gives nothing back."""

    def __init__(self, path):
        if os.path.exists(path):
            os.unlink(path)
        super().__init__(path)

    def connect(self):
        super().connect()
        self.packets = [r for r in self.regions if r is not self.into.memory and
                        r is not self.out.memory]
        return self

    def keeps(self):
        """How many descriptors it has and keeps."""
        return (self.into.head.value - self.into.tail.value) & 0xffff

    def scribble(self, seed):
        """Into all of them."""
        junk = random.Random(seed).randbytes(1 << 20)
        for region in self.packets:
            for at in range(0, len(region), len(junk)):
                region[at:at + len(junk)] = junk[:len(region) - at]


HEADERS = [raw(Ether(dst=mac(0, 1), src=mac(0, 2)) /
               IP(src="198.18.0.10", dst=f"198.18.{to}.10", len=28 + LEND_FROM) /
               UDP(dport=9, len=8 + LEND_FROM, chksum=0)) for to in range(3)]


def datagram(seed, to):
    """From behind NIC 0."""
    return HEADERS[to] + random.Random(seed).randbytes(LEND_FROM)


def arrive(peers, to, count):
    """So many packets from NIC 0, intact and in order."""
    for first in range(0, count, 50):
        packets = [datagram(seed, to) for seed in range(first, min(first + 50, count))]
        for packet in packets:
            peers[0].send(packet)
        for packet in packets:
            assert eventually(peers[to].receive, 20, "a packet")[34:] == packet[34:]


@pytest.mark.hostile("a memif peer that writes into what it was lent, gives nothing back, dies")
@pytest.mark.parametrize("method", ["rd", "hy"])
def test_hostile_memif_peer(tmp_path, tmp_path_factory, method):
    """Behind NIC 1. What NIC 0 receives goes on to NIC 2 all the while; once the peer has died, NIC
    0 has its buffers back, and the next peer behind NIC 1 gets everything."""
    sockets = [str(tmp_path_factory.mktemp("m") / "s") for _ in range(3)]
    router = Router({
        "nics": [{"name": f"nic{k}", "mac": mac(k, 1), "addresses": [f"198.18.{k}.1/24"],
                  "port": {"type": "memif", "target": sockets[k], "options": "share=yes"}}
                 for k in range(3)],
        "neighbors": [{"nic": f"nic{k}", "address": f"198.18.{k}.10", "mac": mac(k, 2)}
                      for k in range(3)]}, str(tmp_path))
    router.config["router"]["method"] = method
    if method == "hy":
        router.config["router"]["lend_from"] = LEND_FROM
    router.write()
    peers = [Server(sockets[0]), Hostile(sockets[1]), Server(sockets[2])]
    try:
        router.start()
        for peer in peers:
            peer.connect()
        eventually(lambda: all(row["link"] for row in router.show("port")), 20, "links")
        processes = [(row["pid"], row["restarts"]) for row in router.show("nic")]
        assert len(peers[1].packets) >= 3  # of all NICs
        arrive(peers, 2, 10)

        # It gives nothing back of more than all of NIC 0's buffers.
        for seed in range(MORE_THAN_ALL):
            peers[0].send(datagram(seed, 1))
        assert eventually(peers[1].keeps, 20, "what it keeps") > 100
        arrive(peers, 2, 100)
        assert set(router.dropped()) <= {"ring-full", "no-buffer"}

        # It writes everywhere: into what it was lent, and into what others receive.
        for seed in range(10):
            for k in range(8):
                peers[0].send(datagram(8 * seed + k, 2))
            peers[1].scribble(seed)
            while peers[2].receive():
                pass
        last = datagram(MORE_THAN_ALL, 2)
        peers[0].send(last)
        eventually(lambda: (peers[2].receive() or b"")[34:] == last[34:], 20, "the last of these")
        arrive(peers, 2, 100)

        # It dies.
        peers[1].close()
        eventually(lambda: not router.show("port")[1]["link"], 20, "the link's end")
        arrive(peers, 2, 100)
        router.check_identity()
        peers[1] = Hostile(sockets[1]).connect()
        eventually(lambda: router.show("port")[1]["link"], 20, "the link")
        arrive(peers, 1, MORE_THAN_ALL)
        router.check_identity()
        assert [(row["pid"], row["restarts"]) for row in router.show("nic")] == processes
        assert fetched(router, "nic2") == 0
    finally:
        for peer in peers:
            peer.close()
        router.stop()
    eventually(lambda: not processes_of(str(tmp_path)), what="the router's end")
