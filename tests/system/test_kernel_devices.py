# SPDX-License-Identifier: BSD-3-Clause
"""Devices on taps that not every kernel has: VRFs and VLANs. `make foreign` runs these tests in
a guest whose kernel has both."""

import time

import pytest
from scapy.all import IP, UDP, Dot1Q, Ether, IPv6, Raw, raw

from network import eventually, inside, mac, run
from test_kernel_forwarding import (  # noqa: F401
    becomes, forwarded_by_nics, forwarding_network, ping, punted, reaches)

FRAMES = 12
RATE = 0.1  # seconds between frames: below what NICs give the kernel of one source's tagged frames
VLAN = 10


def added(network, *words):  # noqa: F811
    """The device, or no test."""
    done = run("ip", "-n", network.kernel, "link", "add", *words)
    if done.returncode:
        pytest.skip(f"{words[-3]}: {done.stderr.strip()}")


def by_kernel(network):
    """Packets that NICs gave the kernel because their route leaves by something that is no NIC."""
    return sum(row["passed"] for row in network.router.show("punt") if row["class"] == "kernel")


def kinds(network, prefix):
    return [row["kind"] for row in network.router.show("route") if row["prefix"] == prefix]


def test_tap_in_a_vrf(network):  # noqa: F811
    """NICs send nothing out by it, and forward nothing that comes in: its networks are another
    table's. What main still leads there goes by the kernel. It is counted, and said once."""
    added(network, "name", "red", "type", "vrf", "table", "10")
    network.ip(network.kernel, "link", "set", "red", "up")
    # Without it what the VRF's table does not know is looked up in main after all.
    network.ip(network.kernel, "route", "add", "unreachable", "default", "metric", "4278198272",
               "table", "10")
    eventually(lambda: reaches(network, "10.0.2.2"), what="host 2")
    assert network.router.show("kernel")["taps_enslaved"] == 0
    network.ip(network.kernel, "link", "set", "nic2", "master", "red")
    eventually(lambda: network.router.show("kernel")["taps_enslaved"] == 1, what="its count")
    assert network.router.messages().count("tap nic2 is part of a bridge, bond or VRF") == 1
    eventually(lambda: not kinds(network, "10.0.2.0/24"), what="the end of its network")
    assert "Destination Net Unreachable" in ping(network, "10.0.2.2")
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", "10.0.2.2", "dev", "nic2",
               "onlink")
    eventually(lambda: kinds(network, "10.9.0.0/16") == ["kernel"], what="a route by it")
    before = forwarded_by_nics(network), by_kernel(network)
    becomes(network, "10.9.0.1", [2], "the kernel forwards")
    assert forwarded_by_nics(network) == before[0] and by_kernel(network) > before[1]
    # What comes in by it: main has a way to host 1, the VRF's table has none, then one to host 3.
    packet = IP(src="10.0.2.2", dst="10.0.1.2") / UDP(sport=1, dport=9) / Raw(b"of the VRF")
    before = forwarded_by_nics(network), by_kernel(network)
    network.pending()
    network.wire[2].send(raw(Ether(src=mac(2, 2), dst=mac(2)) / packet))
    eventually(lambda: by_kernel(network) > before[1], what="a packet for the kernel")
    network.ip(network.kernel, "route", "add", "10.0.1.0/24", "via", "10.0.3.2", "dev", "nic3",
               "table", "10")
    arrived = []

    def by_the_vrf():
        network.wire[2].send(raw(Ether(src=mac(2, 2), dst=mac(2)) / packet))
        for nic, frames in network.pending().items():
            arrived.extend(nic for frame in frames
                           if b"of the VRF" in frame and frame[23] == 17)  # no ICMP error
        return 3 in arrived
    eventually(by_the_vrf, what="the way of the VRF")
    assert set(arrived) == {3} and forwarded_by_nics(network) == before[0]
    network.ip(network.kernel, "link", "set", "nic2", "nomaster")
    eventually(lambda: network.router.show("kernel")["taps_enslaved"] == 0, what="the last of it")
    eventually(lambda: reaches(network, "10.0.2.2"), what="host 2 again")
    before = forwarded_by_nics(network)
    assert reaches(network, "10.0.2.2") and forwarded_by_nics(network) >= before + 3


def exchange(network, at, frames, arrived):  # noqa: F811
    """Host `at` sends; at the other one exactly these arrive."""
    for wire in network.wire.values():
        wire.pending()
    there, got = {1: 2, 2: 1}[at], []
    for frame in frames:
        network.wire[at].send(frame)
        time.sleep(RATE)

    def all_there():
        got.extend(f for f in network.wire[there].pending() if b"vlan test" in f[-1500:] and
                   f[6:12] == arrived[0][6:12])
        return len(got) >= len(arrived)
    eventually(all_there, what=f"{len(arrived)} frames at host {there}")
    assert got == arrived


@pytest.mark.parametrize("ip, near, far", [(IP, "10.0.1.2", "10.10.0.2"),
                                           (IPv6, "fd00:1::2", "fd00:10::2")])
def test_vlan_on_a_tap(network, ip, near, far):  # noqa: F811
    """A host behind it is reached both ways, frames are tagged there and nowhere else, byte for
    byte."""
    added(network, "link", "nic2", "name", "nic2.10", "type", "vlan", "id", str(VLAN))
    host = network.namespaces[2]
    network.ip(host, "link", "add", "link", "eth0", "name", "eth0.10", "type", "vlan", "id",
               str(VLAN))
    with inside(host), open("/proc/sys/net/ipv6/conf/eth0.10/disable_ipv6", "w",
                            encoding="utf8") as file:
        file.write("0")
    for where, device, end in ((network.kernel, "nic2.10", 1), (host, "eth0.10", 2)):
        network.ip(where, "link", "set", device, "up")
        network.ip(where, "address", "add", f"10.10.0.{end}/24", "dev", device)
        network.ip(where, "address", "add", f"fd00:10::{end}/64", "dev", device, "nodad")
    network.ip(host, "route", "add", "10.0.1.0/24", "via", "10.10.0.1")
    network.ip(host, "route", "add", "fd00:1::/64", "via", "fd00:10::1")
    eventually(lambda: reaches(network, far), what="the host behind the VLAN")
    before = by_kernel(network), forwarded_by_nics(network)

    def packets(source, to, hops):
        hop = {"ttl": hops} if ip is IP else {"hlim": hops}
        return [ip(src=source, dst=to, **hop) / UDP(sport=1000 + k, dport=9) /
                Raw((b"vlan test %d " % k) * (1 + 3 * k)) for k in range(FRAMES)]
    exchange(network, 1,
             [raw(Ether(src=mac(1, 2), dst=mac(1)) / p) for p in packets(near, far, 64)],
             [raw(Ether(src=mac(2), dst=mac(2, 2)) / Dot1Q(vlan=VLAN) / p)
              for p in packets(near, far, 63)])
    exchange(network, 2,
             [raw(Ether(src=mac(2, 2), dst=mac(2)) / Dot1Q(vlan=VLAN) / p)
              for p in packets(far, near, 64)],
             [raw(Ether(src=mac(1), dst=mac(1, 2)) / p) for p in packets(far, near, 63)])
    kernel, nics = by_kernel(network) - before[0], forwarded_by_nics(network) - before[1]
    print(f"VLAN on a tap, {ip.__name__}: {2 * FRAMES} packets and hosts' answers: NICs forwarded "
          f"{nics}, for {kernel} the way out was the kernel's")
