# SPDX-License-Identifier: BSD-3-Clause
"""FRR as Debian has it, on routers of p2pnic: the kernel's routes that it makes are in the NICs."""

import os
import signal
import time

from network import eventually
from routers import LATE, Datagrams, needs, reach_each_other, wait_for, wait_for_end

BFD_MS = 300  # 100 holds too, but for a machine whose cores are all taken: bfdd itself is late then

needs("zebra", "bgpd", "bfdd", "vtysh")


def bgp(number, peer, *more):
    """Both families, everything connected; peer: an address, or an interface."""
    unnumbered = not set(".:") & set(peer)
    return f"""
router bgp 6500{number}
 bgp router-id 10.0.0.{number}
 no bgp ebgp-requires-policy
 timers bgp 1 5
 neighbor {peer} {"interface " if unnumbered else ""}remote-as external
 neighbor {peer} timers connect 1
 {"".join(f"neighbor {peer} {words}" for words in more)}
 address-family ipv4 unicast
  redistribute connected
 exit-address-family
 address-family ipv6 unicast
  redistribute connected
  neighbor {peer} activate
 exit-address-family
"""


def test_bgp(pair):
    """Routes learned are in the NICs, hosts reach each other by them; what is withdrawn goes, and
    comes again."""
    a, b = pair.routers
    a.frr(["bgpd"], bgp(1, "10.9.0.2"))
    b.frr(["bgpd"], bgp(2, "10.9.0.1"))
    wait_for(a, "10.2.0.0/24", "fd02::/64")
    wait_for(b, "10.1.0.0/24", "fd01::/64")
    reach_each_other(pair)
    for family, prefix in (("ipv4", "10.2.0.0/24"), ("ipv6", "fd02::/64")):
        words = ("configure terminal", "router bgp 65002", f"address-family {family} unicast")
        b.vtysh("bgpd", *words, "no redistribute connected")
        wait_for_end(a, prefix)
        b.vtysh("bgpd", *words, "redistribute connected")
        wait_for(a, prefix)
    reach_each_other(pair)
    b.stop_daemons()
    wait_for_end(a, "10.2.0.0/24", "fd02::/64")


def test_bgp_over_link_local(pair):
    """IPv4 by way of IPv6 link-local next hops (RFC 8950), on a link that has no others."""
    a, b = pair.routers
    for router in (a, b):
        router.ip("address", "flush", "scope", "global", "dev", "nic2")
    for number, router in enumerate((a, b), 1):
        router.frr(["bgpd"], bgp(number, "nic2", "capability extended-nexthop") +
                   "interface nic2\n ipv6 nd ra-interval 1\n")
    wait_for(a, "10.2.0.0/24", "fd02::/64")
    wait_for(b, "10.1.0.0/24", "fd01::/64")
    assert a.route("10.2.0.0/24")["mac"] == b.mac(2)
    reach_each_other(pair)


def bfd(router):
    """How long the session is up, in seconds; None: it is not."""
    peers = [p for p in router.frr_shows("bfdd", "bfd peers") if p["status"] == "up"]
    return peers[0]["uptime"] if peers else None


def bfd_counters(router):
    return router.frr_shows("bfdd", "bfd peers counters")[0]


def test_bfd_while_the_router_ends(pair):
    """Killed, stopped for seconds, replaced: no packet of a stream is lost, BFD sees nothing."""
    a, b = pair.routers
    for number, router in enumerate((a, b), 1):
        peer = f"10.9.0.{3 - number}"
        router.frr(["bgpd", "bfdd"], bgp(number, peer, "bfd profile fast") + f"""
bfd
 profile fast
  detect-multiplier 3
  transmit-interval {BFD_MS}
  receive-interval {BFD_MS}
""")
    wait_for(a, "10.2.0.0/24")
    wait_for(b, "10.1.0.0/24")
    for router in (a, b):
        eventually(lambda router=router: bfd(router) is not None, LATE, "BFD up")
    h1, h2 = pair.hosts
    eventually(lambda: h1.reaches("10.2.0.2"), LATE, "h2 over IPv4")
    before = [bfd_counters(router)["session-down"] for router in (a, b)]
    with Datagrams(h1, h2, "10.2.0.2") as stream:
        time.sleep(1)
        a.router.kill()
        time.sleep(3)
        a.start()
        time.sleep(1)
        for router in (a, b):
            os.kill(router.router.process.pid, signal.SIGSTOP)
        time.sleep(5)
        for router in (a, b):
            os.kill(router.router.process.pid, signal.SIGCONT)
        b.router.kill()
        b.start()
        wait_for(a, "10.2.0.0/24")
        wait_for(b, "10.1.0.0/24")
        time.sleep(1)
    assert [bfd_counters(router)["session-down"] for router in (a, b)] == before
    assert stream.lost() == 0, f"{stream.lost()} of {stream.sent}"
    assert bfd(a) >= 10 and bfd(b) >= 10
