# SPDX-License-Identifier: BSD-3-Clause
"""NICs forward by the kernel's routes: hosts that know nothing but their router, and what becomes
of a packet while `ip` changes routes, next-hop objects and neighbors.

    h1 ── NIC 1 ┐                        h2 and h3 are ways to 10.9.0.0/16, too
    h2 ── NIC 2 ┼ taps in k: 10.0.K.1/24, fd00:K::1/64
    h3 ── NIC 3 ┘
"""

import contextlib
import mmap
import os
import re
import subprocess
import threading
import time

import pytest
from scapy.all import ICMP, IP, UDP, Ether, Raw, raw

from network import P2PNIC, eventually, inside, mac, run
from test_failover import set_link, stopped
from test_kernel import KernelNetwork

FLOWS = 64
ADJACENCIES, FIB = 0x130000, 0x200000  # in BAR2: p2pnic/registers.h


@pytest.fixture(name="network")
def forwarding_network(permitted):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun: not there")
    network = KernelNetwork(3)
    try:
        yield prepare(network.start())
    finally:
        network.close()


def prepare(network):
    with inside(network.kernel), open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w",
                                      encoding="utf8") as file:
        file.write("0")
    network.forward()
    for k in (1, 2, 3):
        network.ip(network.kernel, "address", "add", f"fd00:{k}::1/64", "dev", f"nic{k}", "nodad")
        host = network.namespaces[k]
        network.ip(host, "address", "add", f"fd00:{k}::2/64", "dev", "eth0", "nodad")
        network.ip(host, "route", "add", "default", "via", f"10.0.{k}.1")
        network.ip(host, "route", "add", "default", "via", f"fd00:{k}::1")
        eventually(lambda k=k: network.answers(k), what=f"host {k}")
    return network


def ping(network, to, *words, count=1):
    """What ping says, of host 1."""
    done = run("ip", "netns", "exec", network.namespaces[1], "ping", "-n", "-c", str(count), "-i",
               "0.1", "-W", "1", *words, to)
    return done.stdout


def reaches(network, to, *words):
    return ", 0% packet loss" in ping(network, to, *words, count=3)


def spread(network, to="10.9.0.1", flows=FLOWS):
    """{host: packets}, of so many flows of host 1, as many as arrive within a second."""
    for wire in network.wire.values():
        wire.pending()
    for k in range(flows):
        network.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) /
                                 IP(src="10.0.1.2", dst=to) /
                                 UDP(sport=1000 + k, dport=53) / Raw(b"flow")))
    got = {}

    def all_there():
        for k, frames in network.pending().items():
            mine = [f for f in map(Ether, frames)
                    if UDP in f and f[IP].dst == to and f.dst == mac(k, 2) and f[IP].ttl == 63]
            got[k] = got.get(k, 0) + len(mine)
        return sum(got.values()) >= flows
    with contextlib.suppress(AssertionError):
        eventually(all_there, 1)
    return {k: n for k, n in got.items() if n}


def becomes(network, to, hosts, what):
    """All flows arrive, at those hosts."""
    def so():
        got = spread(network, to)
        return set(got) == set(hosts) and sum(got.values()) == FLOWS
    eventually(so, what=what)


def forwarded_by_nics(network):
    return sum(row["to_rings"]["packets"] for row in network.router.show("counter"))


def punted(network):
    """Packets that hosts should not have needed the kernel for."""
    return sum(row["passed"] for row in network.router.show("punt")
               if row["class"] not in ("hello", "neighbor", "link"))


# --- Hosts ----------------------------------------------------------------------------------------

def test_hosts_know_nothing_but_their_router(network):
    """Both families, by the NICs: once neighbors are known, nothing of it meets a tap."""
    for to in ("10.0.2.2", "fd00:2::2"):
        eventually(lambda to=to: reaches(network, to), what=to)
        before = forwarded_by_nics(network), punted(network)
        said = ping(network, to, count=10)
        assert ", 0% packet loss" in said and "ttl=63" in said, said
        eventually(lambda n=before[0] + 20: forwarded_by_nics(network) >= n, what="by the NICs")
        assert punted(network) == before[1]


@pytest.mark.parametrize("to, router", [("10.0.2.2", "10.0.1.1"), ("fd00:2::2", "fd00:1::1")])
def test_ttl_is_answered(network, to, router):
    eventually(lambda: reaches(network, to), what=to)
    said = ping(network, to, "-t", "1")
    assert re.search(rf"From {router}:? icmp_seq=1 (Time to live exceeded|Time exceeded)", said), \
        said


@pytest.mark.parametrize("kind, answer", [("unreachable", "Destination Host Unreachable"),
                                          ("prohibit", "Packet filtered")])
def test_refusing_routes_are_answered(network, kind, answer):
    """By the kernel (RFC 1812 §5.2.7.1)."""
    network.ip(network.kernel, "route", "add", kind, "10.8.0.0/16")
    eventually(lambda: answer in ping(network, "10.8.0.1"), what=answer)
    assert "From 10.0.1.1" in ping(network, "10.8.0.2")


def test_no_route_is_answered(network):
    eventually(lambda: "Destination Net Unreachable" in ping(network, "10.77.0.1"),
               what="an answer")


def test_absent_host_is_not_asked_for_again_at_once(network):
    """The kernel answers when it has found nobody (RFC 1812 §5.2.7.1); then NICs drop for a
    while."""
    def row():
        return next((r for r in network.router.show("route") if r["prefix"] == "10.0.2.77/32"),
                    None)
    assert "Destination Host Unreachable" in ping(network, "10.0.2.77", "-W", "9")
    held = eventually(row, what="its entry")
    assert (held["kind"], held["source"]) == ("blackhole", "neighbor")
    assert network.router.show("kernel")["neighbors_failed"] == 1
    network.ip(network.namespaces[2], "address", "add", "10.0.2.77/24", "dev", "eth0")
    eventually(lambda: reaches(network, "10.0.2.77"), what="the host, which is there now")
    assert row()["kind"] == "forward"
    eventually(lambda: not network.router.show("kernel")["neighbors_failed"], what="no more of it")


# --- A backup -------------------------------------------------------------------------------------

def test_backup_without_a_host(network):
    """A route of a higher metric is in reserve of the best: NICs take it by themselves while the
    link of the best is down, and as long as that is so the router leaves it at that."""
    def route():
        return next((row for row in network.router.show("route")
                     if row["prefix"] == "10.9.0.0/16"), {})

    def lose(k):
        set_link(network, k, "down")
        with contextlib.suppress(OSError):  # the socket tells once that its link is down
            network.wire[k].pending()
    for k, metric in ((2, 10), (3, 20)):
        network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", f"10.0.{k}.2", "metric",
                   str(metric))
    backup = {"nic": "nic3", "mac": mac(3, 2)}
    eventually(lambda: route().get("backup") == backup, what="a backup")
    becomes(network, "10.9.0.1", [2], "all by the best")
    assert route()["nic"] == "nic2" and "next_hops" not in route()
    shown = run(P2PNIC, "show", "route", "--runtime", network.router.runtime).stdout
    assert re.search(r"10\.9\.0\.0/16 .*forward +nic2 .* nic3 *$", shown, re.M), shown
    with stopped(network.router.process):
        lose(2)
        becomes(network, "10.9.0.1", [3], "all by the backup")
        set_link(network, 2, "up")
        becomes(network, "10.9.0.1", [2], "all by the best again")
        lose(2)
        becomes(network, "10.9.0.1", [3], "all by the backup")
    eventually(lambda: route().get("nic") == "nic3" and not route().get("backup"),
               what="the router has heard of it")
    becomes(network, "10.9.0.1", [3], "all by the backup still")
    set_link(network, 2, "up")
    eventually(lambda: route().get("nic") == "nic2" and route().get("backup") == backup,
               what="as before")
    done = run(P2PNIC, "show", "route", "--check", "--runtime", network.router.runtime)
    assert done.returncode == 0, done.stdout
    network.ip(network.kernel, "route", "delete", "10.9.0.0/16", "metric", "10")
    eventually(lambda: route().get("nic") == "nic3" and not route().get("backup"), what="one route")


# --- Routes ---------------------------------------------------------------------------------------

def test_route_replaced(network):
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", "10.0.2.2")
    becomes(network, "10.9.0.1", [2], "the first way")
    network.ip(network.kernel, "route", "replace", "10.9.0.0/16", "via", "10.0.3.2")
    becomes(network, "10.9.0.1", [3], "the other way")
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", "10.0.2.2", "metric", "10")
    network.ip(network.kernel, "route", "add", "10.9.0.0/24", "via", "10.0.2.2")
    becomes(network, "10.9.0.1", [2], "the longer prefix")
    network.ip(network.kernel, "route", "del", "10.9.0.0/24")
    becomes(network, "10.9.0.1", [3], "the lower metric")
    network.ip(network.kernel, "route", "del", "10.9.0.0/16", "via", "10.0.3.2")
    becomes(network, "10.9.0.1", [2], "the metric that is left")
    network.ip(network.kernel, "route", "del", "10.9.0.0/16")
    eventually(lambda: not spread(network, flows=4), what="no way")


def test_ecmp(network):
    """Both ways carry flows, and one that loses its carrier none."""
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "nexthop", "via", "10.0.2.2",
               "nexthop", "via", "10.0.3.2")
    becomes(network, "10.9.0.1", [2, 3], "two ways")
    network.ip(network.namespaces[0], "link", "set", "nic3", "down")
    becomes(network, "10.9.0.1", [2], "the way that has a carrier")
    network.ip(network.namespaces[0], "link", "set", "nic3", "up")
    becomes(network, "10.9.0.1", [2, 3], "two ways again")


def test_next_hop_object_replaced(network):
    for k in (2, 3):
        network.ip(network.kernel, "nexthop", "add", "id", str(k), "via", f"10.0.{k}.2", "dev",
                   f"nic{k}")
    network.ip(network.kernel, "nexthop", "add", "id", "10", "via", "10.0.2.2", "dev", "nic2")
    network.ip(network.kernel, "nexthop", "add", "id", "20", "group", "2")
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "nhid", "10")
    network.ip(network.kernel, "route", "add", "10.10.0.0/16", "nhid", "20")
    becomes(network, "10.9.0.1", [2], "the object")
    becomes(network, "10.10.0.1", [2], "the group of one")
    network.ip(network.kernel, "nexthop", "replace", "id", "10", "via", "10.0.3.2", "dev", "nic3")
    becomes(network, "10.9.0.1", [3], "the object's other gateway")
    network.ip(network.kernel, "nexthop", "replace", "id", "20", "group", "2/3")
    becomes(network, "10.10.0.1", [2, 3], "the group of two")
    network.ip(network.kernel, "nexthop", "del", "id", "2")
    becomes(network, "10.10.0.1", [3], "the member that is left")


def test_gateway_is_asked_for(network):
    """As soon as a route leads to it, before any packet does; and while it does not answer."""
    gateways = {2: "10.0.2.50", 3: "fd00:3::50"}
    network.ip(network.namespaces[2], "address", "add", "10.0.2.50/24", "dev", "eth0")
    network.ip(network.namespaces[3], "address", "add", "fd00:3::50/64", "dev", "eth0", "nodad")
    network.ip(network.kernel, "nexthop", "add", "id", "3", "via", gateways[3], "dev", "nic3")
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", gateways[2])
    network.ip(network.kernel, "route", "add", "fd00:9::/32", "nhid", "3")
    for k, prefix in ((2, "10.9.0.0/16"), (3, "fd00:9::/32")):
        eventually(lambda k=k, prefix=prefix: any(
            row["prefix"] == prefix and row.get("mac") == mac(k, 2)
            for row in network.router.show("route")), what=prefix)
    network.ip(network.kernel, "route", "add", "10.10.0.0/16", "via", "10.0.2.51")
    eventually(lambda: "FAILED" in network.ip(network.kernel, "neigh", "show", "10.0.2.51"),
               what="its failure")
    network.ip(network.namespaces[2], "address", "add", "10.0.2.51/24", "dev", "eth0")
    eventually(lambda: any(row["prefix"] == "10.10.0.0/16" and row.get("mac") == mac(2, 2)
                           for row in network.router.show("route")), 30, "the gateway's return")


def test_neighbor_gets_another_address(network):
    """Routes by it follow."""
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", "10.0.2.2")
    becomes(network, "10.9.0.1", [2], "the way")
    network.ip(network.namespaces[2], "link", "set", "eth0", "address", mac(2, 9))
    network.ip(network.namespaces[2], "route", "replace", "default", "via", "10.0.2.1")
    network.answers(2)  # the kernel hears of it

    def follows():
        network.wire[2].pending()
        network.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) /
                                 IP(src="10.0.1.2", dst="10.9.0.1") / UDP() / Raw(b"flow")))
        got = network.wire[2].receive(0.5)
        return got and Ether(got).dst == mac(2, 9)
    eventually(follows, 30, "frames to the new address")
    eventually(lambda: reaches(network, "10.0.2.2"), what="the host itself")


def test_quoted_packet_is_as_it_came(network):
    """An ICMP error quotes the packet with the TTL that it had."""
    for wire in network.wire.values():
        wire.pending()
    network.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) /
                             IP(src="10.0.1.2", dst="10.0.2.2", ttl=1, id=77) / UDP(dport=9)))

    def error():
        return next((f for f in map(Ether, network.wire[1].pending())
                     if ICMP in f and f[ICMP].type == 11), None)
    quoted = eventually(error, what="an ICMP error")[ICMP].payload
    assert quoted.ttl == 1 and quoted.id == 77


def test_enslaved_tap_is_said(network):
    """Once; the kernel forwards instead."""
    made = run("ip", "-n", network.kernel, "link", "add", "name", "br0", "type", "bridge")
    if made.returncode:
        pytest.skip(f"bridge: {made.stderr.strip()}")
    assert network.router.show("kernel")["taps_enslaved"] == 0
    for _ in range(2):
        network.ip(network.kernel, "link", "set", "nic2", "master", "br0")
        eventually(lambda: network.router.show("kernel")["taps_enslaved"] == 1, what="it is seen")
        assert network.router.show("kernel")["vlans_on_taps"] == 0
        network.ip(network.kernel, "link", "set", "nic2", "mtu", "1400")  # another change of it
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", "10.0.2.2")
    eventually(lambda: any(row["prefix"] == "10.9.0.0/16" and row["kind"] == "kernel"
                           for row in network.router.show("route")), what="its routes")
    assert network.router.messages().count("tap nic2 is part of a bridge, bond or VRF") == 1
    network.ip(network.kernel, "link", "set", "nic2", "nomaster")
    becomes(network, "10.9.0.1", [2], "NICs forward again")


# --- p2pnic show route --check --------------------------------------------------------------------

@contextlib.contextmanager
def table_memory(network, nic):
    """BAR2 of a NIC, as the NIC sees it."""
    row = network.router.nic(nic)
    size = row["table_memory_bytes"]
    for fd in os.listdir(f"/proc/{row['pid']}/fd"):
        path = f"/proc/{row['pid']}/fd/{fd}"
        if "memfd:" in os.readlink(path) and os.stat(path).st_size == size:
            file = os.open(path, os.O_RDWR)
            break
    memory = mmap.mmap(file, size)
    os.close(file)
    try:
        yield memory
    finally:
        memory.close()


def checked(network):
    done = run(P2PNIC, "show", "route", "--check", "--runtime", network.router.runtime)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_check(network):
    """A word of a NIC's memory that is not what it should be is found, and named."""
    for k in (2, 3):
        network.ip(network.kernel, "route", "add", f"10.{k}0.0.0/16", "via", f"10.0.{k}.2")
        network.ip(network.kernel, "route", "add", f"fd00:{k}0::/32", "via", f"fd00:{k}::2")
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "nexthop", "via", "10.0.2.2",
               "nexthop", "via", "10.0.3.2")
    network.ip(network.kernel, "route", "add", "10.9.0.0/24", "via", "10.0.2.2")
    becomes(network, "10.9.1.1", [2, 3], "the routes")
    status, said = checked(network)
    assert status == 0 and re.fullmatch(r"\d+ routes, 3 NICs, 0 differences", said[-1]), said
    assert int(said[0].split()[0]) == len(network.router.show("route")) and len(said) == 1

    def still():
        """Neighbors and what the kernel adds by itself have all come."""
        applied = network.router.show("kernel")["routes_applied"]
        time.sleep(1)
        return network.router.show("kernel")["routes_applied"] == applied
    eventually(still, 30, "no more changes")
    with table_memory(network, "nic1") as memory:
        before = memory[FIB:]
        network.ip(network.kernel, "route", "add", "10.8.0.0/16", "via", "10.0.2.2")
        eventually(lambda: any(row["prefix"] == "10.8.0.0/16"
                               for row in network.router.show("route")), what="one route more")
        after = memory[FIB:]
        written = [k for k in range(0, len(after), 4) if after[k:k + 4] != before[k:k + 4]]

        def write(image):
            for k in written:
                memory[FIB + k:FIB + k + 4] = image[k:k + 4]
        write(before)  # as if that change had not been written
        status, said = checked(network)
        assert status == 1 and f"nic1: 10.8.0.0/16: has no route, wants forward nic2 {mac(2, 2)}" \
            in said, said
        assert re.fullmatch(rf"\d+ routes, 3 NICs, {len(said) - 1} differences", said[-1]), said
        assert all(line.startswith("nic1: ") for line in said[:-1]), said
        write(after)
        assert checked(network)[0] == 0

        # The neighbor's MAC address, of which all its routes have a copy.
        address = bytes.fromhex(mac(2, 2).replace(":", ""))
        place = memory.find(address, ADJACENCIES)
        memory[place] ^= 4
        status, said = checked(network)
        assert status == 1 and any(line.startswith("nic1: 10.20.0.0/16: has ") for line in said)
        assert not any(line.startswith("nic2: ") or "10.30.0.0" in line for line in said), said
        memory[place] ^= 4
        assert checked(network)[0] == 0


def test_check_while_routes_change(network):
    """What is on its way is no difference."""
    script = "".join(f"route replace 10.{9 + k % 100}.0.0/16 via 10.0.{2 + k % 2}.2\n"
                     for k in range(20000))
    batch = subprocess.Popen(["ip", "-n", network.kernel, "-batch", "-"], stdin=subprocess.PIPE,
                             text=True)
    feed = threading.Thread(target=lambda: (batch.stdin.write(script), batch.stdin.close()))
    feed.start()
    try:
        looks = 0
        while batch.poll() is None or looks < 2:
            status, said = checked(network)
            assert status == 0, said
            looks += 1
    finally:
        batch.kill()
        feed.join()
        batch.wait()
    assert looks >= 2
