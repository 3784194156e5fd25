# SPDX-License-Identifier: BSD-3-Clause
"""What a router must do with a packet in transit: RFC 1812, RFC 8200, and what they refer to.

Each frame goes in at one wire; then it is seen what came out of all of them, and which counter
moved.
"""

import os
import random
import signal

import pytest
from scapy.all import (ICMP, IP, TCP, UDP, Ether, IPOption_LSRR, IPOption_NOP, IPOption_RR,
                       IPOption_SSRR, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                       IPv6ExtHdrHopByHop, Raw, fragment, raw)

from network import Network, eventually, mac, processes_of

pytestmark = pytest.mark.hostile("frames of strangers: damaged, cut, random")

ROUTES = [
    {"prefix": "198.0.0.0/8", "via": "10.0.2.3"},
    {"prefix": "198.18.100.0/24", "via": "10.0.2.2"},
    {"prefix": "198.18.100.128/25", "via": "10.0.3.2"},
    {"prefix": "198.18.100.7/32", "via": "10.0.3.3"},
    {"prefix": "100.64.0.0/10", "next_hops": [{"via": "10.0.2.2", "weight": 1},
                                              {"via": "10.0.3.2", "weight": 3}]},
    {"prefix": "198.19.113.0/24", "action": "blackhole"},
    {"prefix": "198.20.0.0/16", "via": "169.254.9.2"},
    {"prefix": "203.0.114.0/24", "action": "unreachable"},
    {"prefix": "203.0.115.0/24", "action": "prohibit"},
    {"prefix": "fd00:db8::/32", "via": "fd00:2::2"},
    {"prefix": "fd00:db8:8000::/33", "via": "fd00:3::2"},
    {"prefix": "fd00:db8:1::/48", "action": "blackhole"},
]
NEIGHBORS = [
    {"nic": "nic2", "address": "10.0.2.3", "mac": mac(2, 3)},
    {"nic": "nic3", "address": "10.0.3.3", "mac": mac(3, 3)},
    {"nic": "nic2", "address": "198.19.2.1", "mac": mac(2, 4)},
    {"nic": "nic3", "address": "169.254.9.2", "mac": mac(3, 4)},
]


@pytest.fixture(scope="module", params=["af_packet", "af_xdp", "af_xdp, batched"])
def network(request, permitted):
    port, _, batched = request.param.partition(", ")
    n = Network(3, port=port, routes=ROUTES, neighbors=NEIGHBORS)
    n.batched = bool(batched)
    if n.batched:
        n.receive_by_napi()
    n.router.config["nics"][1]["addresses"].append("198.19.2.0/31")
    n.router.config["nics"][2]["addresses"].append("169.254.9.1/30")
    n.router.config["nics"][2]["mtu"] = 1280
    n.router.write()
    try:
        try:
            n.start()
        except AssertionError:
            if port == "af_xdp" and "XDP" in n.router.messages():
                pytest.skip("af_xdp: " + n.router.messages().strip().splitlines()[0])
            raise
        yield n
    finally:
        n.close()


@pytest.fixture(autouse=True)
def identity(network):
    network.pending()
    yield
    network.router.check_identity()


def ether(nic=1, **fields):
    return Ether(**{"dst": mac(nic), "src": mac(nic, 2), **fields})


def ip(dst="10.0.2.2", src="10.0.1.2", **fields):
    return IP(**{"dst": dst, "src": src, "ttl": 64, "id": 7, **fields})


def payload(size=64):
    return UDP(sport=1024, dport=9) / Raw(bytes(k & 255 for k in range(size)))


def forwarded(network, frame, ingress=1, egress=2):
    """The one frame that comes out, at that wire and no other."""
    network.wire[ingress].send(raw(frame))
    got = network.wire[egress].receive()
    assert got is not None, f"nothing at wire {egress}; dropped: {network.router.dropped()}"
    assert network.pending() == {}
    return got


def dropped(network, frame, reason, ingress=1):
    before, received = network.router.dropped(), network.router.received()
    network.wire[ingress].send(raw(frame))
    eventually(lambda: network.router.received() > received, what="reception")
    network.router.at_rest()
    after = network.router.dropped()
    moved = {r: n - before.get(r, 0) for r, n in after.items() if n != before.get(r, 0)}
    assert moved == {reason: 1}
    assert network.pending() == {}


def rewritten(frame, nic, end=2):
    """The frame as it must come out of that NIC: MACs and TTL, and the checksum for it, by
    scapy."""
    want = frame.copy()
    want[Ether].src, want[Ether].dst = mac(nic), mac(nic, end)
    if IP in want:
        want[IP].ttl -= 1
        if want[IP].chksum is not None:
            del want[IP].chksum
    else:
        want[IPv6].hlim -= 1
    return raw(want)


def send_in_portions(network, frames, portion=128):
    """No test of queues: never more on the way than any of them holds."""
    received = network.router.received()
    frames = list(frames)
    for start in range(0, len(frames), portion):
        for frame in frames[start:start + portion]:
            network.wire[1].send(frame)
        received += len(frames[start:start + portion])
        eventually(lambda n=received: network.router.received() >= n and
                   not any(row["held"] for row in network.router.show("counter")), what="reception")
    network.router.at_rest()


# --- What goes on: IPv4 ---------------------------------------------------------------------------

@pytest.mark.parametrize("frame", [
    pytest.param(ether() / ip() / payload(), id="udp"),
    pytest.param(ether() / ip(tos=0xb8, flags="DF", id=0xffff) / TCP(flags="S"),
                 id="tcp, dscp, df"),
    pytest.param(ether() / ip() / ICMP(), id="icmp"),
    pytest.param(ether() / ip(ttl=2) / payload(), id="ttl 2"),
    pytest.param(ether() / ip(ttl=255) / payload(), id="ttl 255"),
    pytest.param(ether() / ip(proto=253) / Raw(b"x"), id="unknown protocol"),
    pytest.param(ether() / ip(proto=253), id="header only"),
    pytest.param(ether() / ip(flags="MF", frag=0) / Raw(b"f" * 64), id="first fragment"),
    pytest.param(ether() / ip(frag=100) / Raw(b"f" * 64), id="last fragment"),
    pytest.param(ether() / ip() / payload(1472), id="mtu"),
    pytest.param(ether() / ip(options=[IPOption_NOP()] * 4) / payload(), id="nop option"),
    pytest.param(ether() / ip(options=[IPOption_RR(routers=["0.0.0.0"])]) / payload(),
                 id="record route"),
    pytest.param(ether() / ip(options=Raw(b"\x5e\x04ab")) / payload(), id="unknown option"),
])
def test_ipv4_forwarded(network, frame):
    # A frame below 60 bytes is padded by the sender: this one's total length says what is packet.
    assert forwarded(network, Ether(raw(frame))) == rewritten(frame, 2)


def test_burst(network):
    """What waits in a ring while the egress NIC stands still leaves at once then, whole and in
    order."""
    frames = [ether() / ip(id=k) / payload(k * 7 % 1400) for k in range(200)]
    egress = next(pid for pid, line in processes_of(network.directory).items()
                  if "--nic nic2 " in line)
    received = network.router.received()
    os.kill(egress, signal.SIGSTOP)
    try:
        for frame in frames:
            network.wire[1].send(raw(frame))
        eventually(lambda: network.router.received() >= received + len(frames), what="reception")
    finally:
        os.kill(egress, signal.SIGCONT)
    for frame in frames:
        assert network.wire[2].receive() == rewritten(frame, 2)
    assert network.pending() == {}

    def batched():
        return any("batched" in row["mode"] for row in network.router.show("port") if row["nic"] ==
                   "nic2")
    eventually(lambda: batched() == network.batched, what="what the port says of itself")


def test_padding_is_trimmed(network):
    frame = ether() / ip() / payload(4)
    padded = raw(frame) + b"\xaa" * 20
    assert forwarded(network, padded) == rewritten(frame, 2)


@pytest.mark.parametrize("destination,nic,end", [
    ("198.18.100.7", 3, 3), ("198.18.100.8", 2, 2), ("198.18.100.6", 2, 2),
    ("198.18.100.127", 2, 2),
    ("198.18.100.128", 3, 2), ("198.18.100.255", 3, 2), ("198.18.101.0", 2, 3),
    ("198.18.99.255", 2, 3),
    ("198.0.0.0", 2, 3), ("198.255.255.255", 2, 3), ("10.0.3.2", 3, 2), ("198.19.2.1", 2, 4),
    ("198.20.0.1", 3, 4),  # its gateway has a link-local address (RFC 3927)
])
def test_longest_prefix(network, destination, nic, end):
    frame = ether() / ip(destination) / payload()
    assert forwarded(network, frame, egress=nic) == rewritten(frame, nic, end)


def test_hairpin(network):
    frame = ether(2) / ip("198.0.0.1", "10.0.2.2") / payload()
    assert forwarded(network, frame, ingress=2, egress=2) == rewritten(frame, 2, 3)


def test_checksum_of_random_headers(network):
    """RFC 1624 against scapy's sum from scratch: 300 headers, each forwarded with the right one."""
    rng = random.Random(1624)
    frames = [ether() / ip(src=f"{rng.randrange(1, 120)}.{rng.randrange(256)}."
                               f"{rng.randrange(256)}.1",
                           tos=rng.randrange(256), id=rng.randrange(65536),
                           ttl=rng.randrange(2, 256), proto=253) / Raw(k.to_bytes(4, "big"))
              for k in range(300)]
    send_in_portions(network, map(raw, frames))
    assert network.pending() == {2: [rewritten(frame, 2) for frame in frames]}


def test_rfc1624_boundary(network):
    """The case of RFC 1624 §4 in which RFC 1141's equation would give FFFF: checksum 0 after the
    change."""
    header = raw(ip(proto=253, id=0))
    # The checksum falls by one when the identification grows by one; it has to be FEFF before.
    ident = (int.from_bytes(header[10:12], "big") - 0xfeff) % 0xffff
    frame = ether() / ip(proto=253, id=ident)
    assert raw(frame)[24:26] == b"\xfe\xff"
    got = forwarded(network, frame)
    assert got == rewritten(frame, 2) and got[24:26] == b"\x00\x00"


def test_equal_cost_paths(network):
    """10000 flows part by weight (1 : 3, within 5 %); a flow's packets, and a packet's fragments,
    stay together."""
    rng = random.Random(2992)
    flows = 10000
    template = raw(ether() / ip("100.64.0.1") / UDP(sport=0, dport=9) / b"flow")

    def frame(k):
        return template[:34] + k.to_bytes(2, "big") + template[36:]

    ports = rng.sample(range(1024, 65536), flows)
    send_in_portions(network, map(frame, ports))
    got = network.pending()
    path = {int.from_bytes(f[34:36], "big"): nic for nic, frames in got.items() for f in frames}
    assert len(path) == flows
    share = sum(nic == 2 for nic in path.values()) / flows
    assert abs(share - 0.25) < 0.05 * 0.25 + 0.01, share

    send_in_portions(network, map(frame, ports[:500]))
    for nic, frames in network.pending().items():
        assert all(path[int.from_bytes(f[34:36], "big")] == nic for f in frames)

    for k in range(20):
        parts = fragment(ip("100.64.0.1", id=k) / payload(1000), fragsize=200)
        send_in_portions(network, [raw(ether() / part) for part in parts])
        assert len(network.pending()) == 1


# --- What goes no further: IPv4 -------------------------------------------------------------------

def broken(frame, offset, value):
    """The frame with bytes from that offset of the IP header replaced and its checksum made
    right."""
    octets = bytearray(raw(frame))
    octets[14 + offset:14 + offset + len(value)] = value
    header = max(octets[14] & 15, 5) * 4
    octets[24:26] = b"\0\0"
    total = sum(int.from_bytes(octets[14 + k:16 + k], "big") for k in range(0, header, 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    octets[24:26] = (~total & 0xffff).to_bytes(2, "big")
    return bytes(octets)


GOOD = ether() / ip() / payload()

DROPS = {
    "checksum": (ether() / ip(chksum=0x1234) / payload(), "checksum"),
    "checksum 0": (ether() / ip(chksum=0) / payload(), "checksum"),
    "checksum with options": (ether() / ip(chksum=0x1234, options=[IPOption_NOP()] * 4) / payload(),
                              "checksum"),
    "version 5": (broken(GOOD, 0, b"\x55"), "version"),
    "version 6 as IPv4": (broken(GOOD, 0, b"\x65"), "version"),
    "ihl 4": (broken(GOOD, 0, b"\x44"), "header-length"),
    "ihl 0": (broken(GOOD, 0, b"\x40"), "header-length"),
    "total length below header": (broken(GOOD, 2, b"\0\x13"), "total-length"),
    "total length 0": (broken(GOOD, 2, b"\0\0"), "total-length"),
    "total length above frame": (broken(GOOD, 2, b"\5\0"), "total-length"),
    "ihl beyond total length": (broken(ether() / ip(proto=253) / Raw(b"x" * 40), 0,
                                       b"\x4f\0\0\x20"),
                                "total-length"),
    "no IP header": (ether(type=0x800) / Raw(b"E" * 10), "runt"),
    "ttl 1": (ether() / ip(ttl=1) / payload(), "ttl"),
    "ttl 0": (ether() / ip(ttl=0) / payload(), "ttl"),
    "source 0/8": (ether() / ip(src="0.1.2.3") / payload(), "martian-source"),
    "source 127/8": (ether() / ip(src="127.0.0.1") / payload(), "martian-source"),
    "source multicast": (ether() / ip(src="224.0.0.1") / payload(), "martian-source"),
    "source broadcast": (ether() / ip(src="255.255.255.255") / payload(), "martian-source"),
    "destination 0/8": (ether() / ip("0.1.2.3") / payload(), "martian-destination"),
    "destination 127/8": (ether() / ip("127.0.0.1") / payload(), "martian-destination"),
    "destination broadcast": (ether() / ip("255.255.255.255") / payload(), "link-scope"),
    "destination local multicast": (ether() / ip("224.0.0.5") / payload(), "link-scope"),
    "destination multicast": (ether() / ip("239.1.2.3") / payload(), "link-scope"),
    "directed broadcast": (ether() / ip("10.0.2.255") / payload(), "broadcast"),
    "network address": (ether() / ip("10.0.2.0") / payload(), "broadcast"),
    "source directed broadcast": (ether() / ip(src="10.0.2.255") / payload(), "martian-source"),
    "source the router's own": (ether() / ip(src="10.0.1.1") / payload(), "martian-source"),
    "source link-local": (ether() / ip(src="169.254.7.7") / payload(), "martian-source"),
    "destination link-local": (ether() / ip("169.254.7.7") / payload(), "martian-destination"),
    "neighbour with a link-local address": (ether() / ip("169.254.9.2") / payload(),
                                            "martian-destination"),
    "from a link-local address to the router": (ether() / ip(
        "10.0.1.1", src="169.254.7.7") / ICMP(),
                                                "local"),
    "source reserved": (ether() / ip(src="240.0.0.1") / payload(), "martian-source"),
    "destination reserved": (ether() / ip("254.1.2.3") / payload(), "martian-destination"),
    "destination documentation": (ether() / ip("203.0.113.1") / payload(), "martian-destination"),
    "unicast IP in a broadcast frame": (ether(dst="ff:ff:ff:ff:ff:ff") / ip() / payload(),
                                        "link-scope"),
    "unicast IP in a multicast frame": (ether(dst="01:00:5e:00:00:01") / ip() / payload(),
                                        "link-scope"),
    "foreign MAC": (ether(dst="02:00:00:00:07:07") / ip() / payload(), "foreign-mac"),
    "MAC of another NIC": (ether(dst=mac(2)) / ip() / payload(), "foreign-mac"),
    "no route": (ether() / ip("192.0.3.1") / payload(), "no-route"),
    "blackhole": (ether() / ip("198.19.113.1") / payload(), "blackhole"),
    "unreachable": (ether() / ip("203.0.114.1") / payload(), "unreachable"),
    "prohibit": (ether() / ip("203.0.115.1") / payload(), "prohibit"),
    "no neighbour": (ether() / ip("10.0.2.77") / payload(), "no-neighbor"),
    "to the router": (ether() / ip("10.0.1.1") / ICMP(), "local"),
    "to another address of the router": (ether() / ip("198.19.2.0") / ICMP(), "local"),
    "above the MTU, DF": (ether() / ip("10.0.3.2", flags="DF") / payload(1253), "mtu"),
    "loose source route": (ether() / ip(options=[IPOption_LSRR(routers=["10.0.3.2"])]) / payload(),
                           "source-route"),
    "strict source route": (ether() / ip(options=[IPOption_SSRR(routers=["10.0.3.2"])]) / payload(),
                            "source-route"),
    "option length 0": (ether() / ip(options=Raw(b"\x07\0\0\0")) / payload(), "options"),
    "option length 1": (ether() / ip(options=Raw(b"\x07\1\0\0")) / payload(), "options"),
    "option beyond header": (ether() / ip(options=Raw(b"\x07\x05\0\0")) / payload(), "options"),
    "ARP": (ether(type=0x806) / Raw(b"\0" * 46), "ethertype"),
    "802.3 length": (ether(type=46) / Raw(b"\0" * 46), "ethertype"),
}


@pytest.mark.parametrize("case", DROPS)
def test_ipv4_dropped(network, case):
    frame, reason = DROPS[case]
    dropped(network, frame, reason)


def test_mtu_is_the_egress_links(network):
    frame = ether() / ip("10.0.3.2", flags="DF") / payload(1252)  # 1280 bytes of packet
    assert forwarded(network, frame, egress=3) == rewritten(frame, 3)


# --- IPv6 -----------------------------------------------------------------------------------------

def ip6(dst="fd00:2::2", src="fd00:1::2", **fields):
    return IPv6(**{"dst": dst, "src": src, "hlim": 64, **fields})


@pytest.mark.parametrize("frame,nic", [
    pytest.param(ether() / ip6(tc=0xb8, fl=0xabcde) / payload(), 2, id="class and flow label"),
    pytest.param(ether() / ip6(hlim=2) / payload(), 2, id="hop limit 2"),
    pytest.param(ether() / ip6("fd00:db8::1") / payload(), 2, id="/32"),
    pytest.param(ether() / ip6("fd00:db8:8000::1") / payload(), 3, id="/33"),
    pytest.param(ether() / ip6() / IPv6ExtHdrHopByHop() / payload(), 2, id="hop-by-hop"),
    pytest.param(ether() / ip6() / IPv6ExtHdrDestOpt() / payload(), 2, id="destination options"),
    pytest.param(ether() / ip6() / IPv6ExtHdrFragment(offset=10) / Raw(b"x" * 40), 2,
                 id="fragment"),
    pytest.param(ether() / ip6() / payload(1452), 2, id="mtu"),
    pytest.param(ether() / ip6(nh=59), 2, id="header only"),
])
def test_ipv6_forwarded(network, frame, nic):
    assert forwarded(network, frame, egress=nic) == rewritten(frame, nic)


def test_ipv6_padding_is_trimmed(network):
    frame = ether() / ip6() / payload(4)
    assert forwarded(network, raw(frame) + b"\xaa" * 9) == rewritten(frame, 2)


@pytest.mark.parametrize("frame,reason", [
    pytest.param(ether() / ip6(hlim=1) / payload(), "ttl", id="hop limit 1"),
    pytest.param(ether() / ip6(hlim=0) / payload(), "ttl", id="hop limit 0"),
    pytest.param(ether() / ip6("fd00:3::2") / payload(1233), "mtu", id="above the MTU"),
    pytest.param(ether() / ip6("2001:db9::1") / payload(), "no-route", id="no route"),
    pytest.param(ether() / ip6("fd00:db8:1::1") / payload(), "blackhole", id="blackhole"),
    pytest.param(ether() / ip6("fd00:2::77") / payload(), "no-neighbor", id="no neighbour"),
    pytest.param(ether() / ip6("fd00:1::1") / payload(), "local", id="to the router"),
    pytest.param(ether() / ip6(src="::") / payload(), "martian-source", id="source ::"),
    pytest.param(ether() / ip6(src="::1") / payload(), "martian-source", id="source ::1"),
    pytest.param(ether() / ip6(src="ff02::1") / payload(), "martian-source", id="source multicast"),
    pytest.param(ether() / ip6(src="fe80::1") / payload(), "link-scope", id="source link-local"),
    pytest.param(ether() / ip6("fe80::1") / payload(), "link-scope", id="destination link-local"),
    pytest.param(ether() / ip6("::1") / payload(), "martian-destination", id="destination ::1"),
    pytest.param(ether() / ip6("ff02::1") / payload(), "link-scope", id="destination ff02"),
    pytest.param(ether() / ip6("ff01::1") / payload(), "link-scope", id="destination ff01"),
    pytest.param(ether() / ip6("fd00:2::") / payload(), "local", id="subnet-router anycast"),
    pytest.param(ether() / ip6("2001:db8::1") / payload(), "martian-destination",
                 id="documentation"),
    pytest.param(ether() / ip6(src="3fff::1") / payload(), "martian-source",
                 id="source documentation"),
    pytest.param(ether() / ip6(plen=0) / IPv6ExtHdrHopByHop() / payload(), "total-length",
                 id="payload length 0"),
    pytest.param(ether() / ip6("ff0e::1") / payload(), "link-scope", id="destination ff0e"),
    pytest.param(ether() / ip6(plen=200) / payload(), "total-length", id="payload beyond frame"),
    pytest.param(ether() / ip6(version=4) / payload(), "version", id="version 4"),
    pytest.param(ether(type=0x86dd) / Raw(b"\x60" + b"\0" * 30), "runt", id="no IPv6 header"),
])
def test_ipv6_dropped(network, frame, reason):
    dropped(network, frame, reason)


# --- A stranger's frames --------------------------------------------------------------------------

def test_random_frames(network):
    """Frames of random bytes, with a head that leads far into the firmware: each is counted, none
    stops the traffic beside it."""
    rng = random.Random(1812)
    good = ether(2) / ip("10.0.3.2", "10.0.2.2") / payload()
    for k in range(2000):
        frame = bytearray(rng.randbytes(rng.choice((14, 15, 33, 34, 54, 60, 200, 1514))))
        frame[0:6] = bytes.fromhex(mac(1).replace(":", ""))
        if rng.random() < 0.9:
            frame[12:14] = rng.choice((b"\x08\0", b"\x86\xdd"))
        if len(frame) > 14 and rng.random() < 0.9:
            frame[14] = rng.choice((0x45, 0x46, 0x4f, 0x60))
        network.wire[1].send(frame)
        if k % 100 == 0:
            network.wire[2].send(raw(good))
    network.router.at_rest()
    assert network.pending().get(3, []).count(rewritten(good, 3)) == 20
