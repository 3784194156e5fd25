# SPDX-License-Identifier: BSD-3-Clause
"""VLANs that the configuration names: frames with and without tags on real links."""

import os
import signal

import pytest
from scapy.all import IP, UDP, Dot1Q, Ether, IPv6, Raw

from network import Network, eventually, mac

VLANS = [{"id": 10, "addresses": ["10.10.0.1/24", "fd00:10::1/64"]},
         {"id": 20, "mtu": 1280, "addresses": ["10.20.0.1/24"]}]
NEIGHBORS = [
    {"nic": "nic1.10", "address": "10.10.0.2", "mac": mac(1, 10)},
    {"nic": "nic1.10", "address": "fd00:10::2", "mac": mac(1, 10)},
    {"nic": "nic1.20", "address": "10.20.0.2", "mac": mac(1, 20)},
]
ROUTES = [{"prefix": "198.18.0.0/16", "via": "10.10.0.2"},
          {"prefix": "198.19.0.0/16", "via": "10.20.0.2"},
          {"prefix": "100.64.0.0/10", "next_hops": [{"via": "10.10.0.2"}, {"via": "10.0.2.2"}]},
          {"prefix": "fd00:db8::/32", "via": "fd00:10::2"}]


@pytest.fixture(scope="module", params=["af_packet", "af_xdp", "af_packet, rd"])
def network(request, permitted):
    port, _, method = request.param.partition(", ")
    n = Network(2, port=port, routes=ROUTES, neighbors=NEIGHBORS)
    n.router.config["nics"][0]["vlans"] = VLANS
    n.router.config["router"]["method"] = method or "wr"
    n.router.write()
    try:
        try:
            n.start()
        except AssertionError:
            if port == "af_xdp" and "XDP" in n.router.messages():
                pytest.skip("af_xdp: " + n.router.messages().strip().splitlines()[0])
            raise
        yield n
        n.router.check_identity(n.rings)
    finally:
        n.close()


def frame(nic, to, vid=None, source=None, size=64):
    layer = IPv6(src=source or "fd00:99::1", dst=to) if ":" in to else IP(
        src=source or "192.168.99.1", dst=to)
    tag = Dot1Q(vlan=vid, prio=5) if vid is not None else None
    packet = Ether(src=mac(nic, 2), dst=mac(nic))
    packet = packet / tag / layer if tag else packet / layer
    return bytes(packet / UDP(sport=7, dport=9) / Raw(bytes(size)))


def passes(network, nic, sent, out):
    """The frame that leaves by NIC `out`, and nothing else does."""
    network.pending()
    network.wire[nic].send(sent)
    got = network.wire[out].receive()
    assert got is not None, network.router.dropped()
    assert not network.pending()
    return Ether(got)


def is_dropped(network, nic, sent, reason):
    before = network.router.dropped().get(reason, 0)
    network.wire[nic].send(sent)
    eventually(lambda: network.router.dropped().get(reason, 0) == before + 1, what=reason)
    assert not network.pending()


@pytest.mark.parametrize("to", ["10.10.0.2", "198.18.5.5", "fd00:10::2", "fd00:db8::5"])
@pytest.mark.parametrize("size", [0, 500, 1400])
def test_into_a_vlan(network, to, size):
    got = passes(network, 2, frame(2, to, size=size), 1)
    assert got.src == mac(1) and got.dst == mac(1, 10)
    assert got[Dot1Q].vlan == 10 and got[Dot1Q].prio == 0
    layer = got[IPv6] if ":" in to else got[IP]
    assert layer.dst == to and (layer.hlim if ":" in to else layer.ttl) == 63
    assert bytes(layer[UDP].payload)[:size] == bytes(size) and layer[UDP].len == size + 8
    if ":" not in to:
        checksum = layer.chksum
        del layer.chksum
        assert IP(bytes(layer)).chksum == checksum


@pytest.mark.parametrize("vid", [0, 10, 20])
def test_out_of_a_vlan(network, vid):
    for to in ("10.0.2.2", "fd00:2::2"):
        got = passes(network, 1, frame(1, to, vid), 2)
        assert Dot1Q not in got and got.dst == mac(2, 2)
        assert got.type == (0x86dd if ":" in to else 0x0800)


def test_from_vlan_to_vlan(network):
    got = passes(network, 1, frame(1, "198.19.1.1", 10), 1)
    assert got[Dot1Q].vlan == 20 and got.dst == mac(1, 20) and got[IP].ttl == 63


def test_what_is_dropped(network):
    is_dropped(network, 1, frame(1, "10.0.2.2", 30), "vlan")
    is_dropped(network, 2, frame(2, "10.0.1.2", 10), "vlan")
    is_dropped(network, 2, frame(2, "10.20.0.2", size=1280), "mtu")
    is_dropped(network, 1, frame(1, "10.10.0.1", 20), "local")
    is_dropped(network, 1, frame(1, "10.10.0.9", 10), "no-neighbor")
    is_dropped(network, 2, frame(2, "10.20.0.255"), "broadcast")
    is_dropped(network, 1, frame(1, "10.0.2.2", 10, source="10.10.0.1"), "martian-source")
    is_dropped(network, 1, bytes(Ether(src=mac(1, 2), dst=mac(1)) / Dot1Q(vlan=10) / Dot1Q(
        vlan=10) / IP(dst="10.0.2.2") / UDP() / Raw(bytes(50))), "ethertype")


def test_a_group_of_both(network):
    """ECMP over a VLAN and a NIC without one."""
    network.pending()
    for k in range(64):
        network.wire[2].send(frame(2, f"100.64.0.{k}"))
    seen = {1: 0, 2: 0}

    def all_seen():
        for k, frames in network.pending().items():
            for got in map(Ether, frames):
                assert (Dot1Q in got) == (k == 1)
                seen[k] += 1
        return sum(seen.values()) == 64
    eventually(all_seen, what="64 packets")
    assert min(seen.values()) > 10


def test_it_is_shown(network):
    assert [v["name"] for v in network.router.nic("nic1")["vlans"]] == ["nic1.10", "nic1.20"]
    rows = {row["prefix"]: row for row in network.router.show("route")}
    assert rows["198.18.0.0/16"]["nic"] == "nic1.10"
    assert rows["198.18.0.0/16"]["mac"] == mac(1, 10)
    assert rows["198.18.0.0/16"]["kind"] == "forward"
    assert rows["10.10.0.0/24"]["kind"] == "glean"
    assert network.router.show("check")["differences"] == 0


def test_a_reload_moves_a_vlan(network):
    """VLAN 20 becomes 21; traffic of the others passes on, before and after."""
    config = network.router.config
    vlans, neighbors = config["nics"][0]["vlans"], config["neighbors"]
    for new, old in ((21, 20), (20, 21)):
        config["nics"][0]["vlans"] = [vlans[0], {**vlans[1], "id": new}]
        config["neighbors"] = [{**n, "nic": f"nic1.{new}"} if n["address"] == "10.20.0.2" else n
                               for n in neighbors]
        network.router.write()
        assert "error" not in network.router.reload()
        assert passes(network, 2, frame(2, "10.10.0.2"), 1)[Dot1Q].vlan == 10
        assert passes(network, 2, frame(2, "198.19.1.1"), 1)[Dot1Q].vlan == new
        passes(network, 1, frame(1, "10.0.2.2", new), 2)
        is_dropped(network, 1, frame(1, "10.0.2.2", old), "vlan")


def test_a_nic_returns_with_its_vlans(network):
    """Its process is killed; the next one has the VLANs of the configuration."""
    network.router.check_identity()
    network.rings = False  # its counters begin anew
    pid = network.router.nic("nic1")["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: network.router.nic("nic1")["pid"] not in (0, pid) and
               network.router.nic("nic1")["state"] == network.router.nic("nic2")["state"], 30,
               what="NIC 1 forwards again")

    def forwarded():
        network.pending()
        network.wire[1].send(frame(1, "10.0.2.2", 10))
        return network.wire[2].receive(0.2)
    assert eventually(forwarded, 20, what="a packet")
    is_dropped(network, 1, frame(1, "10.0.2.2", 30), "vlan")
