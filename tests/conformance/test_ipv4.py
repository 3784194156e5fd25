# SPDX-License-Identifier: BSD-3-Clause
"""IPv4 packets that R forwards, drops, cuts and answers."""

import time

import pytest
from scapy.all import ARP, ICMP, IP, UDP, Ether, IPOption, IPv6, Raw, raw

from dut import NARROW, NARROW_MTU, far, far6, host, mark, new_mark, own
from network import SETTLE, eventually, mac

FORWARDED = "forwarded to h2"
kernel = pytest.mark.kernel


def udp(src=far(1), dst=far(2), payload=16, **ip):
    return IP(src=src, dst=dst, **ip) / UDP(sport=5000, dport=9) / mark(payload)


def echo(src, dst, payload=16, **ip):
    return IP(src=src, dst=dst, **ip) / ICMP(id=7, seq=9) / mark(payload)


def forwarded(packet, port=2):
    """As it must leave towards host `port`: all else is as it came."""
    copy = IP(raw(packet))
    copy.ttl -= 1
    del copy.chksum
    return raw(Ether(src=mac(port), dst=mac(port, 2)) / copy)


def checksum(header):
    total = sum(int.from_bytes(header[k:k + 2], "big") for k in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def changed(packet, *fields):
    """Bytes of the packet with (offset, byte) set, and a valid checksum over 20 bytes."""
    data = bytearray(raw(packet))
    for at, value in fields:
        data[at] = value
    data[10:12] = b"\0\0"
    data[10:12] = checksum(data[:20]).to_bytes(2, "big")
    return Raw(bytes(data))


def with_options(options, **ip):
    """A packet whose header has these bytes of options, padded to words."""
    options += b"\0" * (-len(options) % 4)
    return udp(options=[IPOption(options)], **ip)


def ethernet(port, packet, **ether):
    return Ether(**{"src": mac(port, 2), "dst": mac(port), "type": 0x800, **ether}) / packet


# --- Forwarded ------------------------------------------------------------------------------------

def test_01_ttl_and_macs_change_and_nothing_else(r, expect):
    """RFC 1812 §5.3.1, §5.2.2."""
    packet = udp(ttl=64, id=0x1234, tos=0xb9)
    seen = r.probe(1, packet)
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


@kernel
def test_01_no_host_forwards(r, expect):
    """That NICs forward, and not the kernel behind them. Of Linux it says nothing."""
    counters = ("Ip:ForwDatagrams", "Ip6OutForwDatagrams")
    r.fence(1)
    before = [r.kernel_count(c) for c in counters]
    for make in (udp, lambda: IPv6(src=far6(1), dst=far6(2)) / UDP() / mark()):
        expect(r.outcome(1, make()), FORWARDED)
    if r.name == "p2pnic":
        # The fences' TTL ends before the kernel counts them.
        assert [r.kernel_count(c) for c in counters] == before


@pytest.mark.parametrize("tos", [0x03, 0x01, 0xb8, 0xff])
def test_46_dscp_ecn_and_identification_are_kept(r, expect, tos):
    """RFC 2474 §3, RFC 3168 §5, RFC 791 §3.2."""
    packet = udp(tos=tos, id=0xffff, flags="DF")
    seen = r.probe(1, packet)
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


def test_06_a_frame_longer_than_its_packet_is_trimmed(r, expect):
    """RFC 1812 §5.2.2 (5): the total length is the packet's."""
    packet = udp()
    seen = r.probe(1, ethernet(1, raw(packet) + b"trailer" * 4))
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


@pytest.mark.parametrize("ident", range(0, 65536, 8192))
def test_31_the_checksum_is_right_for_every_value(r, expect, ident):
    """RFC 1624 §3, §4: 65,536 identifications give every checksum; none becomes the other zero."""
    head = bytearray(raw(IP(src=far(1), dst=far(2), proto=253, len=36)))
    good = new_mark()
    wrong, done = [], 0
    for first in range(ident, ident + 8192, 256):
        waiting = set(range(first, first + 256))
        for number in waiting:
            head[4:6] = number.to_bytes(2, "big")
            head[10:12] = b"\0\0"
            head[10:12] = checksum(head).to_bytes(2, "big")
            r.wire[1].send(raw(Ether(src=mac(1, 2), dst=mac(1), type=0x800)) + head + good)
        deadline = time.monotonic() + SETTLE
        while waiting and time.monotonic() < deadline:
            r.seen.clear()
            for _, data in r.collect(1):
                if good in data:
                    out = bytearray(data[14:34])
                    out[10:12] = b"\0\0"
                    if checksum(out).to_bytes(2, "big") != data[24:26]:
                        wrong.append(data[14:34].hex())
                    waiting.discard(int.from_bytes(data[18:20], "big"))
        assert not waiting, f"{len(waiting)} lost"
        done += 256
    expect("right" if not wrong else f"wrong: {wrong[:3]}", "right")
    assert done == 8192


# --- TTL ------------------------------------------------------------------------------------------

@kernel
@pytest.mark.parametrize("ttl", [1, 0])
def test_02_ttl_that_ends_in_transit_is_answered(r, expect, ttl):
    """RFC 1812 §5.3.1, RFC 792: 11/0 with the header as it came."""
    packet = udp(src=host(1), ttl=ttl)
    seen = r.probe(1, packet)
    if not expect(r.words(seen), "ICMP 11/0"):
        return
    error = seen[0].ip
    assert seen[0].port == 1 and error.dst == host(1)
    assert raw(error.payload)[8:28] == raw(packet)[:20]
    assert checksum(raw(error.payload)) == 0


@kernel
@pytest.mark.parametrize("ttl", [1, 0])
def test_03_ttl_does_not_matter_to_what_is_for_the_router(r, expect, ttl):
    """RFC 1812 §5.3.1: no router may discard a packet to itself for its TTL."""
    expect(r.outcome(1, echo(host(1), own(1), ttl=ttl)), "echo reply")


# --- Malformed ------------------------------------------------------------------------------------

def test_04_bad_header_checksum_is_dropped(r, expect):
    """RFC 1812 §5.2.2 (2)."""
    packet = udp()
    data = bytearray(raw(packet))
    data[10] ^= 1
    with r.counted("checksum", "IpExt:InCsumErrors"):
        expect(r.outcome(1, ethernet(1, bytes(data))), "silence")


@pytest.mark.parametrize("what, reason", [
    ("version 5", "version"), ("header of 4 words", "header-length"),
    ("total below header", "total-length"), ("total above frame", "total-length")])
def test_05_a_malformed_header_is_dropped(r, expect, what, reason):
    """RFC 1812 §5.2.2 (3), (4), (5)."""
    fields = {"version 5": [(0, 0x55)], "header of 4 words": [(0, 0x44)],
              "total below header": [(2, 0), (3, 19)], "total above frame": [(2, 1), (3, 0)]}
    counter = "IpExt:InTruncatedPkts" if what == "total above frame" else "Ip:InHdrErrors"
    with r.counted(reason, counter):
        expect(r.outcome(1, ethernet(1, changed(udp(), *fields[what]))), "silence")


# --- Options --------------------------------------------------------------------------------------

@pytest.mark.parametrize("option", [b"\1\1\1\1", b"\x5e\4\1\2", b"\x9e\6\1\2\3\4"],
                         ids=["no operation", "unknown", "unknown, copied"])
def test_07_options_without_meaning_here_pass_unchanged(r, expect, option):
    """RFC 1812 §5.2.4, RFC 791 §3.1."""
    packet = with_options(option)
    seen = r.probe(1, packet)
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


@kernel
def test_07_record_route_is_filled_in(r, expect):
    """RFC 1812 §5.3.13.5: the router adds its address."""
    seen = r.probe(1, with_options(b"\7\7\4\0\0\0\0"))
    assert r.words(seen) == FORWARDED
    option = seen[0].data[34:41]
    recorded = option[2] == 8 and ".".join(map(str, option[3:])) in r.addresses
    expect("recorded" if recorded else "not recorded", "recorded")


@kernel
def test_07_timestamp_is_filled_in(r, expect):
    """RFC 1812 §5.3.13.6: the router adds its time."""
    seen = r.probe(1, with_options(b"\x44\x08\5\0\0\0\0\0"))
    assert r.words(seen) == FORWARDED
    option = seen[0].data[34:42]
    expect("recorded" if option[2] == 9 and any(option[4:]) else "not recorded", "recorded")


def test_07_router_alert_is_forwarded(r, expect):
    """RFC 2113 §2.1, RFC 6398 §4.1: looked at, and forwarded where nobody here wants it."""
    packet = with_options(b"\x94\4\0\0")
    seen = r.probe(1, packet)
    expect(r.words(seen), FORWARDED)
    assert [s.data for s in seen] == [forwarded(packet)]


@kernel
@pytest.mark.parametrize("option", [b"\x5e\1\0\0", b"\x5e\x28\0\0"], ids=["1", "40"])
def test_08_a_bad_option_length_is_answered(r, expect, option):
    """RFC 1812 §5.2.4, RFC 792: 12/0, with a pointer to the option."""
    seen = r.probe(1, with_options(option, src=host(1)))
    if expect(r.words(seen), "ICMP 12/0"):
        assert seen[0].ip.payload.ptr in (20, 21)


@pytest.mark.parametrize("kind", [131, 137], ids=["loose", "strict"])
def test_09_source_routes_are_dropped(r, expect, kind):
    """RFC 7126 §4.3.5, §4.4.5, against RFC 1812 §5.3.13.4: off by default, and silent."""
    packet = with_options(bytes((kind, 7, 4)) + bytes(map(int, far(3).split("."))), src=host(1),
                          dst=own(1))
    expect(r.outcome(1, packet), "silence")
    packet = with_options(bytes((kind, 7, 4)) + bytes(map(int, far(3).split("."))))
    with r.counted("source-route", None):
        expect(r.outcome(1, packet), "silence")


# --- MTU ------------------------------------------------------------------------------------------

def reassembled(seen):
    """(first header's fields, the payload) of fragments; each within the MTU, at multiples of 8."""
    data, last = {}, None
    for s in seen:
        ip = s.ip
        assert ip.len <= NARROW_MTU and s.port == NARROW
        assert checksum(raw(ip)[:ip.ihl * 4]) == 0
        body = raw(ip)[ip.ihl * 4:ip.len]
        assert len(body) % 8 == 0 or not ip.flags.MF
        data[ip.frag * 8] = body
        if not ip.flags.MF:
            last = ip.frag * 8 + len(body)
    whole = b""
    while len(whole) in data and data[len(whole)]:
        whole += data[len(whole)]
    return whole, last


@kernel
def test_10_over_the_mtu_without_df_is_fragmented(r, expect):
    """RFC 791 §3.2, RFC 1812 §5.2.6."""
    packet = udp(dst=far(NARROW), payload=1472, id=77)
    seen = r.probe(1, packet)
    if not expect(r.words(seen), f"forwarded to h{NARROW}"):
        return
    assert len(seen) == 2
    assert reassembled(seen) == (raw(packet)[20:], 1480)
    assert {(s.ip.id, s.ip.ttl) for s in seen} == {(77, 63)}


@kernel
def test_11_a_middle_fragment_cut_again_keeps_more_fragments(r, expect):
    """RFC 791 §3.2: MF stays set, offsets go on from the fragment's own."""
    packet = IP(src=far(1), dst=far(NARROW), proto=17, flags="MF", frag=185, id=78) / mark(1480)
    seen = r.probe(1, packet)
    if expect(r.words(seen), f"forwarded to h{NARROW}"):
        assert all(s.ip.flags.MF for s in seen) and len(seen) == 2
        assert sorted(s.ip.frag for s in seen)[0] == 185
        parts = sorted(seen, key=lambda s: s.ip.frag)
        assert b"".join(raw(s.ip)[20:s.ip.len] for s in parts) == raw(packet)[20:]
        assert parts[1].ip.frag * 8 == 185 * 8 + parts[0].ip.len - 20


@kernel
def test_12_over_the_mtu_with_df_is_answered(r, expect):
    """RFC 1191 §4: 3/4 with the next hop's MTU."""
    seen = r.probe(1, udp(src=host(1), dst=far(NARROW), payload=1472, flags="DF"))
    if expect(r.words(seen), "ICMP 3/4"):
        assert seen[0].ip.payload.nexthopmtu == NARROW_MTU


def test_12_a_packet_of_the_mtu_passes(r, expect):
    """RFC 1191 §4: the MTU is the largest that passes."""
    packet = udp(dst=far(NARROW), payload=NARROW_MTU - 28, flags="DF")
    seen = r.probe(1, packet)
    expect(r.words(seen), f"forwarded to h{NARROW}")
    assert [s.data for s in seen] == [forwarded(packet, NARROW)]


# --- ICMP errors ----------------------------------------------------------------------------------

UNANSWERED = {
    "ICMP error": lambda: IP(src=host(1), dst=far(2), ttl=1) / ICMP(type=3, code=1) / IP(
        src=far(2), dst=host(1)) / UDP() / mark(),
    "ICMP error without a route": lambda: IP(src=host(1), dst="172.16.0.1") / ICMP(type=11) / IP(
        src="172.16.0.1", dst=host(1)) / UDP() / mark(),
    "unknown code": lambda: IP(src=host(1), dst=far(2), ttl=1) / ICMP(type=3, code=15) / mark(),
    "later fragment": lambda: IP(src=host(1), dst=far(2), ttl=1, proto=17, frag=10) / mark(),
    "multicast destination": lambda: udp(src=host(1), dst="225.1.2.3", ttl=1),
    "broadcast destination": lambda: udp(src=host(1), dst="10.0.1.255", ttl=1),
    "limited broadcast": lambda: udp(src=host(1), dst="255.255.255.255", ttl=1),
    "source 0.0.0.0": lambda: udp(src="0.0.0.0", ttl=1),
    "source loopback": lambda: udp(src="127.0.0.1", ttl=1),
    "source multicast": lambda: udp(src="224.0.0.9", ttl=1),
    "source class E": lambda: udp(src="240.0.0.1", ttl=1),
    "source broadcast": lambda: udp(src="10.0.1.255", ttl=1),
}


@kernel
@pytest.mark.parametrize("what", UNANSWERED)
def test_13_no_icmp_error_about(r, expect, what):
    """RFC 1812 §4.3.2.7."""
    expect(r.outcome(1, UNANSWERED[what]()), "silence")


@kernel
def test_13_no_icmp_error_about_a_link_layer_broadcast(r, expect):
    """RFC 1812 §4.3.2.7: a packet sent as link layer broadcast."""
    expect(r.outcome(1, udp(src=host(1), ttl=1), dst="ff:ff:ff:ff:ff:ff"), "silence")


@kernel
def test_14_an_icmp_error_quotes_what_fits_into_576_bytes(r, expect):
    """RFC 1812 §4.3.2.3."""
    packet = udp(src=host(1), ttl=1, payload=1400)
    seen = r.probe(1, packet)
    if expect(r.words(seen), "ICMP 11/0"):
        assert seen[0].ip.len == 576
        assert raw(seen[0].ip)[28:576] == raw(packet)[:548]


@kernel
def test_54_the_source_of_an_icmp_error_is_the_link_it_leaves_by(r, expect):
    """RFC 1812 §4.3.2.4: an address of the interface over which the error is sent."""
    seen = r.probe(3, udp(src=host(3), ttl=1))
    if expect(r.words(seen), "ICMP 11/0"):
        assert seen[0].port == 3 and seen[0].ip.src == own(3)


@kernel
@pytest.mark.parametrize("tos", [0x00, 0x20, 0xb8])
def test_54_the_precedence_of_an_icmp_error(r, expect, tos):
    """RFC 1812 §4.3.2.5: 6 or 7."""
    seen = r.probe(1, udp(src=host(1), ttl=1, tos=tos))
    assert r.words(seen) == "ICMP 11/0"
    expect("precedence 6 or 7" if seen[0].ip.tos >> 5 >= 6 else "precedence of the packet",
           "precedence 6 or 7")


@kernel
def test_15_without_a_route_is_answered(r, expect):
    """RFC 1812 §5.2.7.1: 3/0."""
    expect(r.outcome(1, udp(src=far(1, 15), dst="172.16.0.1")), "ICMP 3/0")


@kernel
def test_19_a_long_echo_comes_back_as_it_was(r, expect):
    """RFC 1812 §4.3.3.6, RFC 792."""
    packet = echo(host(1), own(1), payload=1400)
    seen = r.probe(1, packet)
    expect(r.words(seen), "echo reply")
    reply = seen[0].ip
    assert (reply.src, reply.dst) == (own(1), host(1))
    assert raw(reply.payload)[4:] == raw(packet)[24:]


@kernel
def test_17_answers_are_limited_and_cost_nobody_a_packet(r, expect):
    """RFC 1812 §4.3.2.8: 10,000 packets with TTL 1, and 1,000 of another flow between them."""
    expired, good = new_mark(), new_mark()
    bad = [raw(r.frame(1, IP(src=far(1, n), dst=far(2), ttl=1) / UDP() / Raw(expired)))
           for n in range(1, 11)]
    flow = raw(r.frame(1, udp(src=host(1)) / Raw(good)))
    with r.set(net__ipv4__icmp_ratemask=6168):  # the kernel's default
        r.seen.clear()
        began, arrived = time.monotonic(), 0

        def flow_arrived():
            r.collect(0.1)
            return sum(good in data for port, data in r.seen if port == 2) >= arrived
        for number in range(1000):
            for frame in bad:
                r.wire[1].send(frame)
            r.wire[1].send(flow)
            arrived += 1
            if number % 5 == 4:
                eventually(flow_arrived, what=f"packet {arrived} of the other flow")
        took = time.monotonic() - began
    r.fence(1)
    answers = len([1 for port, data in r.seen if expired in data and port == 1])
    expect("limited" if answers <= 1000 * took + 100 else f"{answers} answers", "limited")
    assert answers > 0
    assert sum(good in data for port, data in r.seen if port == 2) == 1000
    assert not any(expired in data for port, data in r.seen if port == 2)


# --- Neighbours -----------------------------------------------------------------------------------

def forget(r, address, port):
    r.ask("neigh", "replace", address, "dev", f"nic{port}", "lladdr", mac(port, 9), "nud", "stale")
    r.ask("neigh", "del", address, "dev", f"nic{port}")


@kernel
def test_15_a_next_hop_that_does_not_resolve_is_answered(r, expect):
    """RFC 1812 §5.2.7.1: 3/1 when ARP fails."""
    packet = udp(src=host(1), dst=host(2, 77))
    by = raw(packet)[-16:]
    r.seen.clear()
    r.wire[1].send(raw(r.frame(1, packet)))
    error = r.wait(lambda port, data: port == 1 and by in data, what="3/1")
    expect(error.word(r.addresses) if error else "silence", "ICMP 3/1")


@kernel
def test_15_packets_that_wait_for_a_next_hop_are_bounded(r, expect):
    """RFC 1122 §2.3.2.2: at least one waits; memory is finite."""
    by = new_mark()
    frame = raw(r.frame(1, udp(dst=host(2, 78)) / Raw(by + bytes(1000))))
    r.seen.clear()
    with r.set(net__ipv4__neigh__nic2__retrans_time_ms=3000):
        for _ in range(3000):
            r.wire[1].send(frame)
        assert r.wait(lambda port, data: port == 2 and data[12:14] == b"\x08\x06", what="ARP")
        r.arp_reply(2, host(2, 78))
        r.wait(lambda port, data: port == 2 and by in data)
    r.fence(1)
    through = len(r.marked(by))
    expect("bounded" if 1 <= through < 3000 else f"{through} of 3000", "bounded")


@kernel
def test_16_a_packet_waits_for_its_next_hop_to_resolve(r, expect):
    """RFC 1122 §2.3.2.2, RFC 826."""
    packet = udp(src=far(1, 79), dst=host(2, 79))
    by = raw(packet)[-16:]
    r.seen.clear()

    def asked_for():  # a second packet where the first one exceeded a rate
        r.wire[1].send(raw(r.frame(1, packet)))
        return r.wait(lambda port, data: port == 2 and data[12:14] == b"\x08\x06" and
                      data[38:42] == bytes((10, 0, 2, 79)), 1)
    request = eventually(asked_for, what="ARP")
    assert request.frame.dst == "ff:ff:ff:ff:ff:ff" and request.frame.src == mac(2)
    assert request.ip.op == 1 and request.ip.pdst == host(2, 79) and request.ip.psrc == own(2)
    assert request.ip.hwsrc == mac(2)
    r.arp_reply(2, host(2, 79))
    sent = r.wait(lambda port, data: port == 2 and by in data)
    expect(sent.word(r.addresses) if sent else "silence", FORWARDED)
    assert sent.data == forwarded(packet)
    forget(r, host(2, 79), 2)


def asked(r, port, address, **arp):
    """What R answers when host `port` asks for the address."""
    r.seen.clear()
    r.wire[port].send(raw(Ether(src=mac(port, 2), dst="ff:ff:ff:ff:ff:ff") / ARP(
        **{"hwsrc": mac(port, 2), "psrc": host(port), "pdst": address, **arp})))
    r.fence(port)
    replies = r.marked(b"\x08\x06\0\1\x08\0\6\4\0\2")
    return ", ".join(f"{s.ip.psrc} is at {s.ip.hwsrc}" for s in replies) or "silence"


@kernel
def test_32_arp_is_answered_for_the_own_address(r, expect):
    """RFC 826."""
    expect(asked(r, 1, own(1)), f"{own(1)} is at {mac(1)}")


@kernel
def test_32_arp_is_not_answered_for_others(r, expect):
    """RFC 826, RFC 1027 §2.4: no proxy ARP by default."""
    expect(asked(r, 1, host(1, 3)), "silence")
    expect(asked(r, 1, far(2)), "silence")


@kernel
@pytest.mark.parametrize("ignore", [0, 1])
def test_32_arp_for_the_address_of_another_link_is_as_arp_ignore_says(r, expect, ignore):
    """RFC 1122 §3.3.4: the host of the weak model answers, that of the strong does not."""
    with r.set(net__ipv4__conf__nic1__arp_ignore=ignore):
        expect(asked(r, 1, own(2)), "silence" if ignore else f"{own(2)} is at {mac(1)}")


@kernel
def test_32_gratuitous_arp_makes_no_entry(r, expect):
    """RFC 826 (merge only what is there), RFC 5227 §1.1."""
    r.wire[2].send(raw(Ether(src=mac(2, 2), dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=mac(2, 9), psrc=host(2, 90), hwdst="00:00:00:00:00:00", pdst=host(2, 90))))
    r.fence(2)
    expect("entry" if r.ask("neigh", "show", host(2, 90), "dev", "nic2") else "no entry",
           "no entry")


@kernel
def test_32_gratuitous_arp_updates_an_entry(r, expect):
    """RFC 826: a MAC that changed takes effect on forwarded packets."""
    r.ip(f"neigh replace {host(2, 91)} dev nic2 lladdr {mac(2, 8)} nud reachable")
    r.wire[2].send(raw(Ether(src=mac(2, 2), dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=mac(2, 9), psrc=host(2, 91), hwdst="00:00:00:00:00:00", pdst=host(2, 91))))

    def moved():
        seen = r.probe(1, udp(dst=host(2, 91)))
        return seen and seen[0].frame.dst == mac(2, 9)
    try:
        eventually(moved, what="the new MAC on a forwarded packet")
        expect("updated", "updated")
    finally:
        forget(r, host(2, 91), 2)


GROUP = "01:00:5e:00:00:09"


def sent_to_a_group(seen):
    group = any(int(s.frame.dst[:2], 16) & 1 for s in seen)
    return "sent to a group" if group else "not sent to a group"


@kernel
def test_32_a_multicast_sender_mac_is_ignored(r, expect):
    """RFC 1812 §3.3.2: a router must not believe an ARP reply whose MAC is a group's."""
    r.ip(f"neigh replace {host(2, 92)} dev nic2 lladdr {mac(2, 8)} nud reachable")
    r.settle()
    r.arp_reply(2, host(2, 92), sender=GROUP)
    r.fence(2)
    r.settle()
    seen = r.probe(1, udp(dst=host(2, 92)))
    forget(r, host(2, 92), 2)
    expect(sent_to_a_group(seen), "not sent to a group")


@kernel
def test_57_a_neighbour_that_the_operator_gives_a_multicast_mac_is_believed(r, expect):
    """RFC 1812 §3.3.2 speaks of replies; clusters that share a group MAC are entered by hand."""
    r.ip(f"neigh replace {host(2, 93)} dev nic2 lladdr {GROUP} nud permanent")
    try:
        r.settle()
        seen = r.probe(1, udp(dst=host(2, 93)))
    finally:
        r.ip(f"neigh del {host(2, 93)} dev nic2")
    expect(sent_to_a_group(seen), "sent to a group")


# --- Redirects ------------------------------------------------------------------------------------

def test_18_out_by_the_link_it_came_by(r, expect):
    """RFC 1812 §5.2.7.2: no redirect where the source is not on the next hop's network."""
    packet = udp(src=far(1), dst=far(1, 9))
    seen = r.probe(1, packet)
    expect(r.words(seen), "forwarded to h1")
    assert [s.data for s in seen] == [forwarded(packet, 1)]


@kernel
def test_18_a_neighbour_of_the_next_hop_is_redirected(r, expect):
    """RFC 1812 §5.2.7.2: 5/1 to a source on the network of the next hop, and forwarded."""
    want = "ICMP 5/1, forwarded to h1"
    if expect(r.becomes(want, 1, lambda: udp(src=host(1, 3), dst=far(1, 10)), src=mac(1, 3)), want):
        redirect = next(s.ip for s in r.marked() if s.word(r.addresses) == "ICMP 5/1")
        assert redirect.payload.gw == host(1) and redirect.dst == host(1, 3)


@kernel
def test_18_no_redirect_where_they_are_off(r, expect):
    """RFC 1812 §5.2.7.2: a knob."""
    with r.set(net__ipv4__conf__all__send_redirects=0, net__ipv4__conf__nic1__send_redirects=0):
        expect(r.outcome(1, udp(src=host(1, 3), dst=far(1, 11)), src=mac(1, 3)),
               "forwarded to h1")


# --- Never forwarded ------------------------------------------------------------------------------

@pytest.mark.parametrize("source", ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_20_a_martian_source_is_dropped(r, expect, source):
    """RFC 1812 §5.3.7, §4.2.2.11."""
    with r.counted("martian-source", None):
        expect(r.outcome(1, udp(src=source)), "silence")


@pytest.mark.parametrize("source", [own(1), own(2), "10.0.1.255", "10.0.2.255"])
def test_20_a_source_that_is_the_router_or_a_broadcast_is_dropped(r, expect, source):
    """RFC 1812 §5.3.7, §4.2.2.11: own addresses, directed broadcasts."""
    expect(r.outcome(1, udp(src=source)), "silence")


@pytest.mark.parametrize("destination", ["0.0.0.1", "127.0.0.1", "127.255.255.255"])
def test_21_a_martian_destination_is_dropped(r, expect, destination):
    """RFC 1812 §5.3.7, §4.2.2.11."""
    with r.counted("martian-destination", None):
        expect(r.outcome(1, udp(dst=destination)), "silence")


@kernel
@pytest.mark.parametrize("what, source, want", [
    ("strict", far(1), FORWARDED), ("strict", far(3), "silence"),
    ("loose", far(3), FORWARDED), ("loose", "172.16.0.9", "silence")])
def test_22_reverse_path(r, expect, what, source, want):
    """RFC 3704 §2.2, §2.4."""
    with r.reverse_path(1, what):
        expect(r.becomes(want, 1, lambda: udp(src=source)), want)


def test_23_a_directed_broadcast_is_dropped(r, expect):
    """RFC 2644 §2."""
    expect(r.outcome(1, udp(dst="10.0.2.255")), "silence")


def test_24_the_limited_broadcast_is_never_forwarded(r, expect):
    """RFC 1812 §5.3.5.1."""
    expect(r.outcome(1, udp(dst="255.255.255.255")), "silence")
    expect(r.outcome(1, udp(dst="255.255.255.255"), dst="ff:ff:ff:ff:ff:ff"), "silence")


@pytest.mark.parametrize("group", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_24_a_unicast_packet_in_a_group_frame_is_never_forwarded(r, expect, group):
    """RFC 1812 §5.3.4, RFC 1122 §3.3.6."""
    expect(r.outcome(1, udp(), dst=group), "silence")


def test_25_a_frame_to_another_station_is_never_forwarded(r, expect):
    """RFC 1812 §5.3.4; IEEE 802.3 §3.2.3."""
    with r.counted("foreign-mac", None):
        expect(r.outcome(1, udp(), dst="02:00:00:00:77:77"), "silence")


@pytest.mark.parametrize("group", ["224.0.0.1", "224.0.0.5", "224.0.0.255"])
@pytest.mark.parametrize("frame", ["group", "unicast"])
def test_30_the_local_network_control_block_is_never_forwarded(r, expect, group, frame):
    """RFC 5771 §4, RFC 1812 §5.3.12."""
    ether = {"dst": "01:00:5e:00:00:05"} if frame == "group" else {}
    expect(r.outcome(1, udp(dst=group, ttl=64), **ether), "silence")


@pytest.mark.parametrize("last", [0, 1, 2, 3, 14])
def test_49_frames_to_the_bridge_group_are_never_forwarded(r, expect, last):
    """IEEE 802.1Q §8.6.3: 01:80:c2:00:00:0X stays on its link."""
    expect(r.outcome(1, udp(), dst=f"01:80:c2:00:00:{last:02x}"), "silence")
