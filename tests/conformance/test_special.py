# SPDX-License-Identifier: BSD-3-Clause
"""Case 44: blocks of the IANA special-purpose address registries (RFC 6890, RFC 8190; 2025-04), and
whether a router may forward them whatever its routes are."""

import pytest
from scapy.all import IP, UDP, IPv6

from dut import far, far6, host, host6, mark

pytestmark = pytest.mark.kernel

# Block, an address in it. 127.0.0.0/8, ::1 and fe80::/10: test_20, test_21, test_36, test_37.
NOT_FORWARDABLE = [
    ("0.0.0.0/8", "0.1.2.3"),
    ("169.254.0.0/16", "169.254.9.9"),
    ("192.0.0.0/24", "192.0.0.100"),
    ("192.0.0.8/32", "192.0.0.8"),
    ("192.0.0.170/32", "192.0.0.170"),
    ("192.0.2.0/24", "192.0.2.9"),
    ("198.51.100.0/24", "198.51.100.9"),
    ("203.0.113.0/24", "203.0.113.9"),
    ("240.0.0.0/4", "241.2.3.4"),
    ("::ffff:0:0/96", "::ffff:50.1.2.3"),
    ("100:0:0:1::/64", "100:0:0:1::9"),
    ("2001::/23", "2001:100::9"),
    ("2001:db8::/32", "2001:db8::9"),
    ("3fff::/20", "3fff:123::9"),
]

FORWARDABLE = [
    ("10.0.0.0/8", "10.222.0.9"), ("100.64.0.0/10", "100.64.0.9"),
    ("172.16.0.0/12", "172.16.0.9"), ("192.0.0.0/29", "192.0.0.1"),
    ("192.0.0.9/32", "192.0.0.9"), ("192.0.0.10/32", "192.0.0.10"),
    ("192.31.196.0/24", "192.31.196.9"), ("192.52.193.0/24", "192.52.193.9"),
    ("192.168.0.0/16", "192.168.9.9"), ("192.175.48.0/24", "192.175.48.9"),
    ("198.18.0.0/15", "198.18.9.9"), ("64:ff9b::/96", "64:ff9b::3201:203"),
    ("64:ff9b:1::/48", "64:ff9b:1::9"), ("100::/64", "100::9"), ("2001::/32", "2001::9"),
    ("2001:1::1/128", "2001:1::1"), ("2001:1::2/128", "2001:1::2"),
    ("2001:1::3/128", "2001:1::3"), ("2001:2::/48", "2001:2::9"), ("2001:3::/32", "2001:3::9"),
    ("2001:4:112::/48", "2001:4:112::9"), ("2001:20::/28", "2001:20::9"),
    ("2001:30::/28", "2001:30::9"), ("2620:4f:8000::/48", "2620:4f:8000::9"),
    ("5f00::/16", "5f00::9"), ("fc00::/7", "fd99::9"),
]


@pytest.fixture(scope="module", autouse=True)
def default_routes(r):
    """Everything has a route, so that only the address itself can keep a packet."""
    if not r.answers:
        yield
        return
    with r.routes(f"0.0.0.0/0 via {host(2)}", f"::/0 via {host6(2)}"):
        for packet in (lambda: IP(src=far(1), dst="50.9.9.9") / UDP() / mark(),
                       lambda: IPv6(src=far6(1), dst="fd50::9") / UDP() / mark()):
            assert r.becomes("forwarded to h2", 1, packet) == "forwarded to h2"
        yield


def packet(source, destination, address):
    if ":" in address:
        return IPv6(src=source or far6(1), dst=destination or far6(2)) / UDP() / mark()
    return IP(src=source or far(1), dst=destination or far(2)) / UDP() / mark()


@pytest.mark.parametrize("block, address", NOT_FORWARDABLE,
                         ids=[block for block, _ in NOT_FORWARDABLE])
def test_44_a_source_that_must_not_be_forwarded(r, expect, block, address):
    """RFC 6890 §2.2.1 (Forwardable), RFC 1812 §5.3.7."""
    with r.counted("martian-source", None):
        expect(r.outcome(1, packet(address, None, address)), "silence")


@pytest.mark.parametrize("block, address", NOT_FORWARDABLE,
                         ids=[block for block, _ in NOT_FORWARDABLE])
def test_44_a_destination_that_must_not_be_forwarded(r, expect, block, address):
    """RFC 6890 §2.2.1 (Forwardable)."""
    with r.counted("martian-destination", None):
        expect(r.outcome(1, packet(None, address, address)), "silence")


@pytest.mark.parametrize("block, address", FORWARDABLE, ids=[block for block, _ in FORWARDABLE])
def test_44_what_may_be_forwarded_is(r, expect, block, address):
    """RFC 6890 §2.2.1 (Forwardable): as source and as destination."""
    expect(r.outcome(1, packet(address, None, address)), "forwarded to h2")
    expect(r.outcome(1, packet(None, address, address)), "forwarded to h2")
