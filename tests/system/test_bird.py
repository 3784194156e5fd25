# SPDX-License-Identifier: BSD-3-Clause
"""BIRD as Debian has it, on a router of p2pnic whose peer runs FRR on another."""

from network import eventually
from routers import LATE, needs, reach_each_other, wait_for, wait_for_end

pytestmark = needs("bird", "birdc", "zebra", "bgpd", "ospfd", "ospf6d", "vtysh")

BIRD = """
router id 10.0.0.2;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; interface "nic*"; }
protocol kernel { ipv4 { import none; export where source != RTS_DEVICE; }; }
protocol kernel { ipv6 { import none; export where source != RTS_DEVICE; }; }
"""


def test_ospf(pair):
    """OSPFv2 and OSPFv3: both by multicast, which NICs punt; a network that goes is withdrawn."""
    a, b = pair.routers
    a.frr(["ospfd", "ospf6d"], """
interface nic1
 ip ospf area 0
 ip ospf passive
 ipv6 ospf6 area 0
 ipv6 ospf6 passive
interface nic2
 ip ospf area 0
 ip ospf network point-to-point
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ipv6 ospf6 area 0
 ipv6 ospf6 network point-to-point
 ipv6 ospf6 hello-interval 1
 ipv6 ospf6 dead-interval 4
router ospf
 ospf router-id 10.0.0.1
 timers throttle spf 0 50 500
router ospf6
 ospf6 router-id 10.0.0.1
 timers throttle spf 0 50 500
""")
    area = """area 0 {
  interface "nic1" { stub; };
  interface "nic2" { type ptp; hello 1; dead 4; };
};"""
    b.bird(BIRD + f"""
protocol ospf v2 {{ ipv4 {{ export none; }}; {area} }}
protocol ospf v3 {{ ipv6 {{ export none; }}; {area} }}
""")
    wait_for(a, "10.2.0.0/24", "fd02::/64")
    wait_for(b, "10.1.0.0/24", "fd01::/64")
    reach_each_other(pair)
    b.ip("link", "set", "nic1", "down")
    wait_for_end(a, "10.2.0.0/24", "fd02::/64")


def test_bgp_over_link_local(pair):
    """Both families in a session of link-local addresses: IPv4 by IPv6 next hops (RFC 8950)."""
    a, b = pair.routers
    for router in (a, b):
        router.ip("address", "flush", "scope", "global", "dev", "nic2")
    a.frr(["bgpd"], f"""
router bgp 65001
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 timers bgp 1 5
 neighbor {b.link_local(2)} remote-as external
 neighbor {b.link_local(2)} interface nic2
 neighbor {b.link_local(2)} timers connect 1
 neighbor {b.link_local(2)} capability extended-nexthop
 address-family ipv4 unicast
  redistribute connected
 exit-address-family
 address-family ipv6 unicast
  redistribute connected
  neighbor {b.link_local(2)} activate
 exit-address-family
""")
    b.bird(BIRD + f"""
protocol bgp a {{
  local {b.link_local(2)} as 65002;
  neighbor {a.link_local(2)} % 'nic2' as 65001;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 {{ import all; export all; extended next hop; }};
  ipv6 {{ import all; export all; }};
}}
""")
    wait_for(a, "10.2.0.0/24", "fd02::/64")
    wait_for(b, "10.1.0.0/24", "fd01::/64")
    reach_each_other(pair)
    assert a.route("10.2.0.0/24")["mac"] == a.route("fd02::/64")["mac"] == b.mac(2)
    assert b.route("10.1.0.0/24")["mac"] == b.route("fd01::/64")["mac"] == a.mac(2)
    b.birdc("disable", "a")
    wait_for_end(a, "10.2.0.0/24", "fd02::/64")
    wait_for_end(b, "10.1.0.0/24", "fd01::/64")
