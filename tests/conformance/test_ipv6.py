# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 packets that R forwards, drops and answers."""

import time

import pytest
from scapy.all import (UDP, Ether, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,
                       ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, Raw, raw)

from dut import NARROW, NARROW_MTU, far6, host6, mark, new_mark, own6
from network import mac

FORWARDED = "forwarded to h2"
kernel = pytest.mark.kernel


def udp(src=far6(1), dst=far6(2), payload=16, **ip):
    return IPv6(src=src, dst=dst, **ip) / UDP(sport=5000, dport=9) / mark(payload)


def forwarded(packet, port=2):
    copy = IPv6(raw(packet))
    copy.hlim -= 1
    return raw(Ether(src=mac(port), dst=mac(port, 2)) / copy)


def local(k):
    """R's link-local address."""
    return f"fe80::ff:fe00:{k:x}01"


def solicited(address):
    """The solicited-node group, and its MAC (RFC 4291 §2.7.1, RFC 2464 §7)."""
    tail = int(address.rsplit(":", 1)[1] or "0", 16)
    return f"ff02::1:ff00:{tail:x}", f"33:33:ff:00:{tail >> 8:02x}:{tail & 255:02x}"


# --- Forwarded ------------------------------------------------------------------------------------

def test_33_hop_limit_and_macs_change_and_nothing_else(r, expect):
    """RFC 8200 §3."""
    packet = udp(hlim=64, tc=0xb9, fl=0xabcde)
    seen = r.probe(1, packet)
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


@pytest.mark.parametrize("what, header", [
    ("hop-by-hop", IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])),
    ("destination", IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0\0\0")])),
    ("routing", IPv6ExtHdrRouting(type=3, segleft=1, addresses=["fd01:3::5"])),
    ("fragment", IPv6ExtHdrFragment(id=5, offset=0, m=1)),
    ("later fragment", IPv6ExtHdrFragment(id=5, offset=10, m=0)),
], ids=lambda v: v if isinstance(v, str) else "")
def test_39_extension_headers_in_transit_are_not_touched(r, expect, what, header):
    """RFC 8200 §4: not examined nor processed on the way, a hop-by-hop header apart (§4.3)."""
    packet = IPv6(src=far6(1), dst=far6(2)) / header / UDP(sport=5000, dport=9) / mark(40)
    seen = r.probe(1, packet)
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


def test_56_a_payload_of_length_0_is_a_packet(r, expect):
    """RFC 8200 §3, §4.7: next header 59; what follows is no part of the packet."""
    by = new_mark()
    packet = IPv6(src=far6(1, 0xbeef), dst=far6(2), nh=59, plen=0)
    r.seen.clear()
    r.wire[1].send(raw(Ether(src=mac(1, 2), dst=mac(1), type=0x86dd) / packet / Raw(by)))
    r.fence(1)
    seen = r.marked(raw(packet)[8:])
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


def test_56_a_payload_of_length_0_without_a_jumbo_option_is_dropped(r, expect):
    """RFC 2675 §3: length 0 and a hop-by-hop header without the option is an error."""
    header = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")])
    packet = IPv6(src=far6(1), dst=far6(2), plen=0) / header / UDP(sport=5000, dport=9) / mark()
    expect(r.outcome(1, packet), "silence")


# --- Malformed ------------------------------------------------------------------------------------

@pytest.mark.parametrize("what, at, value, reason, counter", [
    ("payload longer than the frame", 4, 9, "total-length", "Ip6InTruncatedPkts"),
    ("version 4", 0, 0x40, "version", "Ip6InHdrErrors")])
def test_40_a_malformed_header_is_dropped(r, expect, what, at, value, reason, counter):
    """RFC 8200 §3."""
    data = bytearray(raw(udp()))
    data[at] = value
    with r.counted(reason, counter):
        expect(r.outcome(1, Ether(src=mac(1, 2), dst=mac(1), type=0x86dd) / bytes(data)),
               "silence")


# --- ICMPv6 errors --------------------------------------------------------------------------------

@kernel
@pytest.mark.parametrize("limit", [1, 0])
def test_34_a_hop_limit_that_ends_in_transit_is_answered(r, expect, limit):
    """RFC 8200 §3, RFC 4443 §3.3: 3/0."""
    packet = udp(src=host6(1), hlim=limit)
    seen = r.probe(1, packet)
    if expect(r.words(seen), "ICMPv6 3/0"):
        assert seen[0].port == 1 and seen[0].ip.dst == host6(1)
        assert raw(seen[0].ip)[48:] == raw(packet)


@kernel
@pytest.mark.parametrize("limit", [1, 0])
def test_34_the_hop_limit_does_not_matter_to_what_is_for_the_router(r, expect, limit):
    """RFC 8200 §3: the destination does not discard a packet for its hop limit."""
    packet = IPv6(src=host6(1), dst=own6(1), hlim=limit) / ICMPv6EchoRequest() / mark()
    expect(r.outcome(1, packet), "echo reply")


@kernel
def test_35_over_the_mtu_is_answered_and_never_fragmented(r, expect):
    """RFC 8200 §5, RFC 4443 §3.2: 2/0 with the MTU."""
    seen = r.probe(1, udp(src=host6(1), dst=far6(NARROW), payload=1400))
    if expect(r.words(seen), "ICMPv6 2/0"):
        assert seen[0].ip.payload.mtu == NARROW_MTU


def test_35_a_packet_of_the_mtu_passes(r, expect):
    """RFC 8200 §5."""
    packet = udp(dst=far6(NARROW), payload=NARROW_MTU - 48)
    seen = r.probe(1, packet)
    expect(r.words(seen), f"forwarded to h{NARROW}")
    assert [s.data for s in seen] == [forwarded(packet, NARROW)]


@kernel
def test_36_without_a_route_is_answered(r, expect):
    """RFC 4443 §3.1: 1/0."""
    expect(r.outcome(1, udp(src=host6(1), dst="fd77::1")), "ICMPv6 1/0")


@kernel
@pytest.mark.parametrize("kind, want", [("blackhole", "silence"), ("unreachable", "ICMPv6 1/0"),
                                        ("prohibit", "ICMPv6 1/1")])
def test_36_a_route_that_says_so(r, expect, kind, want):
    """RFC 4443 §3.1; ip-route(8): unreachable and prohibit are answered, blackhole is not."""
    with r.routes(f"{kind} fd78::/32"):
        expect(r.becomes(want, 1, lambda: udp(src=host6(1), dst="fd78::1")), want)


@kernel
def test_36_a_source_beyond_its_scope_is_answered(r, expect):
    """RFC 4443 §3.1: 1/2; RFC 4291 §2.5.6: never forwarded."""
    r.ip(f"neigh replace fe80::2 dev nic1 lladdr {mac(1, 2)} nud permanent")
    expect(r.outcome(1, udp(src="fe80::2")), "ICMPv6 1/2")


@pytest.mark.parametrize("source", ["::", "::1", "ff02::1", "ff0e::1"])
def test_37_a_source_that_is_no_unicast_address_is_not_forwarded(r, expect, source):
    """RFC 4291 §2.5.2, §2.5.3, §2.7."""
    expect(r.outcome(1, udp(src=source)), "silence")


@pytest.mark.parametrize("destination", ["::1", "::", "ff01::1", "ff02::5", "fe80::1234"])
def test_37_a_destination_that_stays_on_its_link_is_not_forwarded(r, expect, destination):
    """RFC 4291 §2.5.2, §2.5.3, §2.5.6, §2.7. What R says about it is not laid down."""
    seen = r.outcome(1, udp(dst=destination))
    expect("forwarded" if "forwarded" in seen else "not forwarded", "not forwarded")


@kernel
@pytest.mark.parametrize("what", ["error", "unknown error", "multicast", "source multicast",
                                  "source ::"])
def test_38_no_icmpv6_error_about(r, expect, what):
    """RFC 4443 §2.4 (e)."""
    packet = {
        "error": lambda: IPv6(src=host6(1), dst=far6(2), hlim=1) / ICMPv6DestUnreach(code=3) / IPv6(
            src=far6(2), dst=host6(1)) / UDP() / mark(),
        "unknown error": lambda: IPv6(src=host6(1), dst=far6(2), hlim=1, nh=58) / Raw(
            b"\x64\0\0\0\0\0\0\0") / mark(),
        "multicast": lambda: udp(src=host6(1), dst="ff0e::99", hlim=1),
        "source multicast": lambda: udp(src="ff0e::99", hlim=1),
        "source ::": lambda: udp(src="::", hlim=1),
    }[what]()
    expect(r.outcome(1, packet), "silence")


@kernel
def test_38_an_icmpv6_error_quotes_what_fits_into_1280_bytes(r, expect):
    """RFC 4443 §2.4 (c)."""
    packet = udp(src=host6(1), hlim=1, payload=1400)
    seen = r.probe(1, packet)
    if expect(r.words(seen), "ICMPv6 3/0"):
        assert len(raw(seen[0].ip)) == 1280
        assert raw(seen[0].ip)[48:] == raw(packet)[:1232]


@kernel
def test_38_answers_are_limited(r, expect):
    """RFC 4443 §2.4 (f)."""
    by = new_mark()
    frame = raw(r.frame(1, IPv6(src=far6(1, 0x38), dst=far6(2), hlim=1) / UDP() / Raw(by)))
    r.seen.clear()
    with r.set(net__ipv6__icmp__ratelimit=1000):
        began = time.monotonic()
        for _ in range(1000):
            r.wire[1].send(frame)
        took = time.monotonic() - began
    r.fence(1)
    answers = len(r.marked(by))
    assert answers
    expect("limited" if answers <= 20 + took * 10 else f"{answers} answers", "limited")


@kernel
def test_43_a_neighbour_of_the_next_hop_is_redirected(r, expect):
    """RFC 4861 §8.2: 137 from the link-local address to that of the next hop, and forwarded."""
    r.ip(f"neigh replace fe80::2 dev nic1 lladdr {mac(1, 2)} nud permanent")
    want = "ICMPv6 137/0, forwarded to h1"
    with r.routes("fd43::/32 via fe80::2 dev nic1"):
        r.becomes("forwarded to h1", 1, lambda: udp(dst="fd43::1"))
        seen = r.becomes(want, 1, lambda: udp(src=host6(1, 3), dst="fd43::1"), src=mac(1, 3))
    if expect(seen, want):
        redirect = next(s.ip for s in r.marked() if s.word(r.addresses) == "ICMPv6 137/0")
        assert redirect.src == local(1) and redirect.hlim == 255
        assert redirect.payload.tgt == "fe80::2" and redirect.payload.dst == "fd43::1"


# --- Neighbour discovery --------------------------------------------------------------------------

def solicit(r, target, **ip):
    """What R answers to a neighbour solicitation."""
    group, ether = solicited(target)
    source = ip.get("src", host6(1))
    packet = IPv6(**{"src": source, "dst": group, "hlim": 255, **ip}) / ICMPv6ND_NS(tgt=target)
    if source != "::":
        packet /= ICMPv6NDOptSrcLLAddr(lladdr=mac(1, 2))
    r.seen.clear()
    r.wire[1].send(raw(Ether(src=mac(1, 2), dst=ether) / packet))
    r.fence(1)
    return [s for s in r.marked(b"\x88\0") if ICMPv6ND_NA in s.frame]


@kernel
def test_41_a_solicitation_is_answered(r, expect):
    """RFC 4861 §7.2.4, §6.2.1: router, solicited and override flags, hop limit 255."""
    seen = solicit(r, own6(1))
    expect("advertised" if seen else "silence", "advertised")
    na = seen[0].frame[ICMPv6ND_NA]
    assert (na.R, na.S, na.O, seen[0].ip.hlim) == (1, 1, 1, 255)
    assert na.tgt == own6(1) and seen[0].ip.dst == host6(1)
    assert na[ICMPv6NDOptDstLLAddr].lladdr == mac(1)


@kernel
def test_41_a_solicitation_from_elsewhere_is_ignored(r, expect):
    """RFC 4861 §7.1.1: the hop limit must be 255."""
    expect("advertised" if solicit(r, own6(1), hlim=254) else "silence", "silence")


@kernel
def test_41_a_solicitation_for_another_is_ignored(r, expect):
    """RFC 4861 §7.2.3."""
    expect("advertised" if solicit(r, host6(1, 0x99)) else "silence", "silence")


@kernel
def test_41_detection_of_a_duplicate_is_answered_to_all_nodes(r, expect):
    """RFC 4862 §5.4.3, RFC 4861 §7.2.4: from ::, so to ff02::1, and not solicited."""
    seen = solicit(r, own6(1), src="::")
    expect("advertised" if seen else "silence", "advertised")
    assert seen[0].ip.dst == "ff02::1" and seen[0].frame[ICMPv6ND_NA].S == 0


def is_solicitation(port, target):
    wanted = raw(IPv6(dst=target))[24:40]
    return lambda at, data: at == port and data[12:14] == b"\x86\xdd" and data[54] == 135 and \
        data[62:78] == wanted


@kernel
def test_42_an_unresolved_next_hop_is_solicited_three_times_and_answered(r, expect):
    """RFC 4861 §7.2.2, §10, RFC 4443 §3.1: three solicitations, then 1/3."""
    target = host6(2, 0x77)
    packet = udp(src=host6(1), dst=target)
    by = raw(packet)[-16:]
    r.seen.clear()
    r.wire[1].send(raw(r.frame(1, packet)))
    error = r.wait(lambda port, data: port == 1 and by in data)
    expect(error.word(r.addresses) if error else "silence", "ICMPv6 1/3")
    asked = [data for port, data in r.seen if is_solicitation(2, target)(port, data)]
    assert len(asked) == 3
    assert Ether(asked[0]).dst == solicited(target)[1]
    assert Ether(asked[0]).payload.dst == solicited(target)[0]


@kernel
def test_16_a_packet_waits_for_its_next_hop_to_resolve(r, expect):
    """RFC 4861 §7.2.2: the packet is sent once the advertisement is there."""
    target = host6(2, 0x79)
    packet = udp(dst=target)
    by = raw(packet)[-16:]
    r.seen.clear()
    r.wire[1].send(raw(r.frame(1, packet)))
    asked = r.wait(is_solicitation(2, target))
    assert asked
    r.wire[2].send(raw(Ether(src=mac(2, 2), dst=mac(2)) / IPv6(
        src=target, dst=asked.ip.src, hlim=255) / ICMPv6ND_NA(tgt=target, S=1, O=1, R=0) /
        ICMPv6NDOptDstLLAddr(lladdr=mac(2, 2))))
    sent = r.wait(lambda port, data: port == 2 and by in data)
    expect(sent.word(r.addresses) if sent else "silence", FORWARDED)
    assert sent.data == forwarded(packet)
    r.ip(f"neigh del {target} dev nic2")


@kernel
def test_42_a_stale_neighbour_is_used_and_probed(r, expect):
    """RFC 4861 §7.3.3: the packet goes out at once; then a solicitation to the neighbour itself."""
    target = host6(2, 0x80)
    with r.set(net__ipv6__neigh__nic2__delay_first_probe_time=1):
        r.ip(f"neigh replace {target} dev nic2 lladdr {mac(2, 2)} nud stale")
        seen = r.probe(1, udp(dst=target))
        expect(r.words(seen), FORWARDED)
        probe = r.wait(is_solicitation(2, target))
        r.ip(f"neigh del {target} dev nic2")
    assert probe and probe.frame.dst == mac(2, 2), "no probe"


@kernel
def test_47_the_subnet_router_anycast_address_is_answered(r, expect):
    """RFC 4291 §2.6.1."""
    packet = IPv6(src=host6(1), dst="fd00:1::") / ICMPv6EchoRequest() / mark()
    expect(r.outcome(1, packet), "echo reply")


@kernel
def test_47_a_link_of_two_addresses_has_no_anycast_address(r, expect):
    """RFC 6164 §5.1: both addresses of a /127 are a host's."""
    def echo():
        return IPv6(src=far6(1), dst="fd00:47::") / ICMPv6EchoRequest() / mark()
    with r.changed("address add fd00:47::1/127 dev nic2 nodad",
                   f"neigh replace fd00:47:: dev nic2 lladdr {mac(2, 2)} nud permanent",
                   undo=["neigh del fd00:47:: dev nic2", "address del fd00:47::1/127 dev nic2"]):
        expect(r.becomes(FORWARDED, 1, echo), FORWARDED)
