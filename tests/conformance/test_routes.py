# SPDX-License-Identifier: BSD-3-Clause
"""R forwards by the routes it is told: which, by which ways, and once they change."""

import contextlib

import pytest
from scapy.all import ICMP, IP, UDP, Ether, IPv6, IPv6ExtHdrFragment, Raw, raw

from dut import far, far6, host, host6, mark, new_mark
from network import eventually, mac, run

pytestmark = pytest.mark.kernel


def to(destination, source=None, **ip):
    """A packet to the address, of either family."""
    if ":" in destination:
        return IPv6(src=source or far6(1), dst=destination, **ip) / UDP() / mark()
    return IP(src=source or far(1), dst=destination, **ip) / UDP() / mark()


def leads(r, destination, want, **ip):
    """The outcome for the destination, once it is `want`, or in the end."""
    return r.becomes(want, 1, lambda: to(destination, **ip))


# --- Prefixes -------------------------------------------------------------------------------------

LADDERS = {
    4: (["0.0.0.0/0", "50.0.0.0/8", "50.1.2.0/24", "50.1.2.128/25", "50.1.2.129/32"],
        ["60.0.0.1", "50.9.0.1", "50.1.2.1", "50.1.2.130", "50.1.2.129"], host),
    6: (["::/0", "fd50::/16", "fd50:1:2::/48", "fd50:1:2:8000::/49", "fd50:1:2:8000::9/128"],
        ["fd60::1", "fd50:9::1", "fd50:1:2::1", "fd50:1:2:8000::1", "fd50:1:2:8000::9"], host6),
}


@pytest.mark.parametrize("family", [4, 6])
def test_27_the_longest_prefix_decides(r, expect, family):
    """RFC 1812 §5.2.4.3; RFC 4632 §5.1: without a prefix the shorter one counts, at once."""
    prefixes, inside_only, gateway = LADDERS[family]
    ways = [2, 3, 4, 2, 3]
    with contextlib.ExitStack() as added:
        for prefix, way in zip(prefixes, ways):
            added.enter_context(r.routes(f"{prefix} via {gateway(way)}"))
        for destination, way in zip(inside_only, ways):
            want = f"forwarded to h{way}"
            expect(leads(r, destination, want), want)
        for k in (4, 3, 2, 1):
            r.ip(f"route del {prefixes[k]} via {gateway(ways[k])}")
            want = f"forwarded to h{ways[k - 1]}"
            for destination in inside_only[k:]:
                expect(leads(r, destination, want), want)


def test_26_both_addresses_of_a_31_are_hosts(r, expect):
    """RFC 3021 §2.1."""
    with r.changed("address add 10.9.0.0/31 dev nic2",
                   f"neigh replace 10.9.0.1 dev nic2 lladdr {mac(2, 2)} nud permanent",
                   undo=["neigh del 10.9.0.1 dev nic2", "address del 10.9.0.0/31 dev nic2"]):
        expect(leads(r, "10.9.0.1", "forwarded to h2"), "forwarded to h2")
        r.addresses.add("10.9.0.0")
        seen = r.becomes("echo reply", 1, lambda: IP(src=host(1), dst="10.9.0.0") / ICMP() / mark())
        expect(seen, "echo reply")


def test_26_an_address_of_32_bits_is_the_routers(r, expect):
    """RFC 1812 §4.2.3.1 (classless addresses)."""
    r.addresses.add("10.9.1.7")
    with r.changed("address add 10.9.1.7/32 dev nic2",
                   undo=["address del 10.9.1.7/32 dev nic2"]):
        expect(r.becomes("echo reply", 1,
                         lambda: IP(src=host(1), dst="10.9.1.7") / ICMP() / mark()), "echo reply")
        expect(leads(r, "10.9.1.8", "ICMP 3/0", source=far(1, 26)), "ICMP 3/0")


@pytest.mark.parametrize("kind, want", [("blackhole", "silence"), ("unreachable", "ICMP 3/1"),
                                        ("prohibit", "ICMP 3/13")])
def test_28_a_route_that_says_so(r, expect, kind, want):
    """RFC 1812 §5.2.7.1; ip-route(8)."""
    number = {"blackhole": 28, "unreachable": 29, "prohibit": 30}[kind]
    with r.routes(f"{kind} 50.28.0.0/16"):
        expect(leads(r, "50.28.0.1", want, source=far(1, number)), want)


@pytest.mark.parametrize("prefix, destination, gateway", [
    ("50.52.0.0/16", "50.52.0.1", host), ("fd52::/32", "fd52::1", host6)])
def test_52_the_best_metric_counts_and_the_next_one_after_it(r, expect, prefix, destination,
                                                             gateway):
    """RFC 1812 §5.2.4.3 (3): of routes of one prefix the preferred one."""
    with r.routes(f"{prefix} via {gateway(3)} metric 200"), \
            r.routes(f"{prefix} via {gateway(2)} metric 100"):
        expect(leads(r, destination, "forwarded to h2"), "forwarded to h2")
        r.ip(f"route del {prefix} via {gateway(2)} metric 100")
        expect(leads(r, destination, "forwarded to h3"), "forwarded to h3")


# --- Ways -----------------------------------------------------------------------------------------

def test_45_a_link_local_gateway_on_the_link(r, expect):
    """RFC 3927 §2.7 forbids forwarding to it, not a gateway there."""
    with r.changed(f"neigh replace 169.254.0.1 dev nic2 lladdr {mac(2, 2)} nud permanent",
                   undo=["neigh del 169.254.0.1 dev nic2"]), \
            r.routes("50.45.0.0/16 via 169.254.0.1 dev nic2 onlink"):
        expect(leads(r, "50.45.0.1", "forwarded to h2"), "forwarded to h2")


@pytest.mark.parametrize("gateway", [host6(2), "fe80::2"])
def test_53_ipv4_by_an_ipv6_next_hop(r, expect, gateway):
    """RFC 5549 §3 (RFC 8950): the MAC is the IPv6 neighbour's."""
    with r.changed(f"neigh replace {gateway} dev nic2 lladdr {mac(2, 2)} nud permanent"), \
            r.routes(f"50.53.0.0/16 via inet6 {gateway} dev nic2"):
        expect(leads(r, "50.53.0.1", "forwarded to h2"), "forwarded to h2")


def test_51_a_route_has_an_mtu_of_its_own(r, expect):
    """RFC 1191 §4; ip-route(8): mtu."""
    def packet():
        return IP(src=host(1), dst="50.51.0.1", flags="DF") / UDP() / mark(1300)
    with r.routes(f"50.51.0.0/16 via {host(2)} mtu 1200"):
        if expect(r.becomes("ICMP 3/4", 1, packet), "ICMP 3/4"):
            assert r.probe(1, packet())[0].ip.payload.nexthopmtu == 1200
        expect(leads(r, "50.51.0.1", "forwarded to h2"), "forwarded to h2")


def test_51_a_route_has_an_mtu_of_its_own_ipv6(r, expect):
    """RFC 8201 §4; ip-route(8): mtu."""
    def packet():
        return IPv6(src=host6(1), dst="fd51::1") / UDP() / mark(1400)
    with r.routes(f"fd51::/32 via {host6(2)} mtu 1300"):
        if expect(r.becomes("ICMPv6 2/0", 1, packet), "ICMPv6 2/0"):
            assert r.probe(1, packet())[0].ip.payload.mtu == 1300


# --- Several ways ---------------------------------------------------------------------------------

def spread(r, frames, ways):
    """Frames out by each host, all of which went by one of `ways`."""
    by = new_mark()
    count = dict.fromkeys(ways, 0)

    def take(seconds):
        for port, data in r.collect(seconds):
            if by in data:
                count[port] += 1
        r.seen.clear()
    sent = 0
    for frame in frames:
        r.wire[1].send(frame + by)
        sent += 1
        if sent % 250 == 0:
            eventually(lambda: take(0.1) or sum(count.values()) >= sent, what=f"frame {sent}")
    r.fence(1)
    for s in r.marked(by):
        count[s.port] += 1
    return count


def flows(number, destination, length=24):
    """Frames of so many flows, that differ in addresses and ports."""
    if ":" in destination:
        head = raw(IPv6(src=far6(1), dst=destination, nh=17, plen=length))
    else:
        head = raw(IP(src=far(1), dst=destination, proto=17, len=20 + length))
    ether = raw(Ether(src=mac(1, 2), dst=mac(1), type=0x86dd if ":" in destination else 0x800))
    for k in range(number):
        ports = (1024 + k * 7 % 60000).to_bytes(2, "big") + (k % 997 + 1).to_bytes(2, "big")
        yield ether + head + ports + length.to_bytes(2, "big") + b"\0\0"


MULTIPATH = {4: ("50.29.0.0/16", "50.29.0.1", host), 6: ("fd29::/32", "fd29::1", host6)}


def multipath(family, *ways):
    prefix, _, gateway = MULTIPATH[family]
    return f"{prefix} " + " ".join(f"nexthop via {gateway(k)} weight {w}" for k, w in ways)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("weight", [1, 3])
def test_29_flows_spread_by_weight(r, expect, family, weight):
    """RFC 2992 §1, RFC 2991 §2.1: within 5 % of the weights."""
    destination = MULTIPATH[family][1]
    number = 10000 * (1 if weight == 1 else 2)
    with r.routes(multipath(family, (2, 1), (3, weight))):
        r.in_force(MULTIPATH[family][0])
        count = spread(r, flows(number, destination), (2, 3))
    assert sum(count.values()) == number
    want = number / (1 + weight)
    expect("by weight" if abs(count[2] - want) <= 0.05 * want else str(count), "by weight")


@pytest.mark.parametrize("family", [4, 6])
def test_29_a_flow_keeps_its_way(r, expect, family):
    """RFC 2991 §2.1: no flow is spread over ways."""
    destination = MULTIPATH[family][1]
    with r.routes(multipath(family, (2, 1), (3, 1))):
        r.in_force(MULTIPATH[family][0])
        split = 0
        for frame in flows(40, destination):
            split += 0 not in spread(r, [frame] * 5, (2, 3)).values()
    expect("one way" if not split else f"{split} of 40 flows by two ways", "one way")


def fragments(family, k):
    """Two fragments of one packet; only the first has ports."""
    _, destination, _ = MULTIPATH[family]
    ports = (2000 + k).to_bytes(2, "big") + b"\0\x09" + b"\0\x38\0\0"
    body = ports + bytes(40)
    if family == 4:
        head = {"src": far(1, 1 + k), "dst": destination, "proto": 17, "id": k}
        return (raw(IP(**head, flags="MF", len=84) / Raw(body)),
                raw(IP(**head, frag=8, len=44) / Raw(bytes(8))))
    head = {"src": far6(1, 1 + k), "dst": destination}
    return (raw(IPv6(**head, plen=72) / IPv6ExtHdrFragment(nh=17, m=1, id=k) / Raw(body)),
            raw(IPv6(**head, plen=48) / IPv6ExtHdrFragment(nh=17, offset=8, id=k) / Raw(bytes(24))))


@pytest.mark.parametrize("family", [4, 6])
def test_29_fragments_of_a_packet_go_together(r, expect, family):
    """RFC 2991 §2.1; RFC 7098 §3: without ports by the addresses, for the first one too."""
    destination = MULTIPATH[family][1]
    ether = raw(Ether(src=mac(1, 2), dst=mac(1), type=0x800 if family == 4 else 0x86dd))
    apart, ways = 0, set()
    with r.routes(multipath(family, (2, 1), (3, 1))):
        r.in_force(MULTIPATH[family][0])
        for k in range(40):
            count = spread(r, [ether + f for f in fragments(family, k)], (2, 3))
            assert sum(count.values()) == 2
            apart += 0 not in count.values()
            ways |= {way for way, n in count.items() if n}
    expect("together" if not apart else f"{apart} of 40 apart", "together")
    assert ways == {2, 3}


@pytest.mark.parametrize("family", [4, 6])
def test_29_a_nexthop_object_that_is_replaced_moves_its_routes(r, expect, family):
    """ip-nexthop(8): one change for all routes that name it."""
    prefix, destination, gateway = MULTIPATH[family]
    r.ip(f"nexthop add id 29 via {gateway(2)} dev nic2")
    try:
        with r.routes(f"{prefix} nhid 29"):
            expect(leads(r, destination, "forwarded to h2"), "forwarded to h2")
            r.ip(f"nexthop replace id 29 via {gateway(3)} dev nic3")
            expect(leads(r, destination, "forwarded to h3"), "forwarded to h3")
    finally:
        r.ip("nexthop del id 29")


# --- Links that go --------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_55_a_link_that_is_down_takes_its_routes_along(r, expect, family):
    """RFC 1812 §5.3.9 (forwarding over an interface that is down); the kernel says nothing of
    IPv4 routes that it deletes."""
    destination = far(3) if family == 4 else far6(3)
    source = far(1, 55) if family == 4 else far6(1, 55)
    want = "ICMP 3/0" if family == 4 else "ICMPv6 1/0"
    r.ip("link set nic3 down")
    try:
        seen = down_outcome(r, destination, source, want)
    finally:
        r.program_link(3)
        r.becomes("forwarded to h3", 1, lambda: to(far(3)))
        r.becomes("forwarded to h3", 1, lambda: to(far6(3)))
    expect(seen, want)
    expect(leads(r, destination, "forwarded to h3"), "forwarded to h3")


def down_outcome(r, destination, source, want):
    """As `leads`, without the fence by link 3."""
    seen = set()

    def settled():
        packet = to(destination, source)
        by = raw(packet)[-16:]
        r.seen.clear()
        r.wire[1].send(raw(r.frame(1, packet)))
        frame = r.wait(lambda port, data: by in data, 1)
        seen.clear()
        seen.add(frame.word(r.addresses) if frame else "silence")
        return seen == {want}
    with contextlib.suppress(AssertionError):
        eventually(settled)
    return seen.pop()


@pytest.mark.parametrize("family", [4, 6])
def test_55_carrier_loss_takes_nexthop_objects_along(r, expect, family):
    """ip-nexthop(8): the kernel deletes them without a word, and their routes with them."""
    prefix, destination, gateway = MULTIPATH[family]
    whole = "0.0.0.0/0" if family == 4 else "::/0"
    r.ip(f"nexthop add id 55 via {gateway(3)} dev nic3")
    try:
        with r.routes(f"{whole} via {gateway(2)}", f"{prefix} nhid 55"):
            expect(leads(r, destination, "forwarded to h3"), "forwarded to h3")
            run("ip", "-n", r.namespaces[3], "link", "set", "eth0", "down")
            seen = down_outcome(r, destination, None, "forwarded to h2")
    finally:
        run("ip", "-n", r.namespaces[3], "link", "set", "eth0", "up")
        run("ip", "-n", r.kernel, "nexthop", "del", "id", "55")
        r.program_link(3)
        r.becomes("forwarded to h3", 1, lambda: to(far(3)))
        r.becomes("forwarded to h3", 1, lambda: to(far6(3)))
    expect(seen, "forwarded to h2")
