# SPDX-License-Identifier: BSD-3-Clause
"""FRR as Debian has it, on routers of p2pnic: the kernel's routes that it makes are in the NICs."""

import contextlib
import os
import signal
import socket
import time

import pytest

from network import eventually
from routers import LATE, Datagrams, Topology, ip, needs, reach_each_other, wait_for, wait_for_end

BFD_MS = 300  # 100 holds too, but for a machine whose cores are all taken: bfdd itself is late then

pytestmark = needs("zebra", "bgpd", "bfdd", "vtysh")


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
    punted = {r["class"]: r for r in a.router.show("punt") if r["nic"] == "nic2"}
    assert punted["local"]["delivered"] > 0  # the session itself, whose rate is that of any other
    reach_each_other(pair)


def bfd(router):
    """How long the session is up, in seconds; None: it is not."""
    peers = [p for p in router.frr_shows("bfdd", "bfd peers") if p["status"] == "up"]
    return peers[0]["uptime"] if peers else None


def bfd_counters(router):
    return router.frr_shows("bfdd", "bfd peers counters")[0]


@pytest.mark.alone("BFD waits for nobody")
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


# --- Leaves and spines ----------------------------------------------------------------------------

@pytest.fixture(name="fabric")
def leaves_and_spines(permitted):
    """h1 behind leaf a, h2 behind leaf b; each leaf has a link to spine c and one to spine d."""
    net = Topology([3, 3, 2, 2])
    try:
        a, b, c, d = net.routers
        for leaf, nic in ((a, 1), (b, 2)):
            net.link(leaf, 2, c, nic)
            net.link(leaf, 3, d, nic)
        net.host(a, 1, "10.1.0.2/24", "fd01::2/64", gateways=("10.1.0.1", "fd01::1"))
        net.host(b, 1, "10.2.0.2/24", "fd02::2/64", gateways=("10.2.0.1", "fd02::1"))
        a.start([["10.1.0.1/24", "fd01::1/64"], [], []])
        b.start([["10.2.0.1/24", "fd02::1/64"], [], []])
        c.start([[], []])
        d.start([[], []])
        yield net
    finally:
        net.close()


def fabric_bgp(number, nics):
    """Neighbours by interface, both families. Without next-hop objects: zebra 8.4 does not put a
    member back into a group in the kernel that lost it with its link's carrier."""
    return f"""
no zebra nexthop kernel enable
router bgp 6500{number}
 bgp router-id 10.0.0.{number}
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 timers bgp 1 5
""" + "".join(f""" neighbor nic{nic} interface remote-as external
 neighbor nic{nic} timers connect 1
""" for nic in nics) + """ address-family ipv4 unicast
  redistribute connected
 exit-address-family
 address-family ipv6 unicast
  redistribute connected
""" + "".join(f"  neighbor nic{nic} activate\n" for nic in nics) + """ exit-address-family
""" + "".join(f"interface nic{nic}\n ipv6 nd ra-interval 1\n" for nic in nics)


def flows(net, address, count=32):
    """That many flows from h1 to an address of h2; how many of their packets got lost."""
    h1, h2 = net.hosts
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(h2.socket(family, socket.SOCK_DGRAM))
        receiver.bind((address, 0))
        receiver.settimeout(1)
        senders = [stack.enter_context(h1.socket(family, socket.SOCK_DGRAM))
                   for _ in range(count)]
        for sender in senders:
            sender.connect(receiver.getsockname()[:2])
        lost = 0
        for _ in range(10):
            for sender in senders:
                sender.send(b"flow")
            with contextlib.suppress(TimeoutError):
                for lost in range(count, -1, -1):
                    if lost:
                        receiver.recv(16)
            if lost:
                return lost
    return 0


def test_spine_is_lost(fabric):
    """Leaves spread flows over both spines; when the links of one go, all flows go by the other,
    and by both when they are back; then the other one dies with all it has."""
    a, b, c, d = fabric.routers
    for number, router in enumerate(fabric.routers, 1):
        router.frr(["bgpd"], fabric_bgp(number, (2, 3) if router in (a, b) else (1, 2)))

    def ways(count):
        for leaf, prefix in ((a, "10.2.0.0/24"), (a, "fd02::/64"), (b, "10.1.0.0/24"),
                             (b, "fd01::/64")):
            eventually(lambda: (leaf.route(prefix) or {}).get("next_hops", 1) == count, LATE,
                       f"{count} ways from {leaf.name} to {prefix}")

    def by_spines():
        """How many packets of the flows each spine takes."""
        for address in ("10.2.0.2", "fd02::2"):
            eventually(lambda: flows(fabric, address) == 0, LATE, f"flows to {address}")
        before = [spine.router.received() if spine.router.process else 0 for spine in (c, d)]
        assert flows(fabric, "10.2.0.2") == 0 and flows(fabric, "fd02::2") == 0
        return [spine.router.received() - count if spine.router.process else 0
                for spine, count in zip((c, d), before)]

    ways(2)
    eventually(lambda: min(by_spines()) > 100, LATE, "flows by both")
    for nic in (1, 2):
        ip(c.ports, "link", "set", f"nic{nic}", "down")
    ways(1)
    eventually(lambda: by_spines()[1] >= 640, LATE, "all flows by d")
    for nic in (1, 2):
        ip(c.ports, "link", "set", f"nic{nic}", "up")
    ways(2)
    eventually(lambda: min(by_spines()) > 100, LATE, "flows by both")
    d.die()
    ways(1)
    eventually(lambda: by_spines()[0] >= 640, LATE, "all flows by c")
