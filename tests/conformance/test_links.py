# SPDX-License-Identifier: BSD-3-Clause
"""VLAN tags, and MAC addresses besides the link's own."""

import pytest
from scapy.all import ICMP, IP, UDP, Dot1Q, Ether

from dut import VLAN, far, host, mark
from network import mac, run


def tagged(vid, port=1):
    return Ether(src=mac(port, 2), dst=mac(port)) / Dot1Q(vlan=vid) / IP(
        src=far(port), dst=far(2)) / UDP() / mark()


def test_48_a_tag_of_vid_0_is_none(r, expect):
    """IEEE 802.1Q §6.8: a priority tag names no VLAN."""
    seen = r.probe(1, tagged(0))
    expect(r.words(seen), "forwarded to h2")
    assert seen[0].frame.type == 0x800


def test_48_an_unknown_vid_is_dropped(r, expect):
    """IEEE 802.1Q §6.9 (ingress filtering)."""
    expect(r.outcome(1, tagged(77)), "silence")


def test_48_a_vlan_is_an_interface(r, expect):
    """IEEE 802.1Q §9.6: the tag goes where a frame leaves, and is there where it leaves tagged."""
    with r.vlan():
        def packet():
            return IP(src=far(1), dst="50.48.0.1") / UDP() / mark()
        expect(r.becomes("forwarded to h2", 1, packet), "forwarded to h2")
        r.in_force("50.48.0.0/16")
        seen = r.probe(1, packet())
        assert seen[0].frame[Dot1Q].vlan == VLAN
        back = Ether(src=mac(2, 2), dst=mac(2)) / Dot1Q(vlan=VLAN) / IP(
            src="50.48.0.1", dst=far(1)) / UDP() / mark()
        seen = r.probe(2, back)
        expect(r.words(seen), "forwarded to h1")
        assert Dot1Q not in seen[0].frame


VIRTUAL = "00:00:5e:00:01:33"


def virtual(packet):
    return Ether(src=mac(1, 2), dst=VIRTUAL) / packet / mark()


@pytest.mark.kernel
def test_50_a_virtual_router_forwards(r, expect):
    """RFC 5798 §8.1.1, §8.1.2: frames to the virtual MAC are the master's, ARP answers by it."""
    done = run("ip", "-n", r.kernel, "link", "add", "link", "nic1", "name", "vrrp50", "address",
               VIRTUAL, "type", "macvlan", "mode", "private")
    if done.returncode:
        pytest.skip(f"the kernel has no macvlan: {done.stderr.strip()}")

    def frame():
        return virtual(IP(src=far(1), dst=far(2)) / UDP())

    def echo():
        return virtual(IP(src=host(1), dst=host(1, 50)) / ICMP())
    try:
        r.sysctl("net/ipv6/conf/vrrp50/disable_ipv6", 1)
        r.ip("link set vrrp50 up", f"address add {host(1, 50)}/32 dev vrrp50")
        r.addresses.add(host(1, 50))
        expect(r.becomes("forwarded to h2", 1, frame), "forwarded to h2")
        expect(r.becomes("echo reply", 1, echo), "echo reply")
    finally:
        r.ip("link del vrrp50")
    expect(r.becomes("silence", 1, frame), "silence")
