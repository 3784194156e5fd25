# SPDX-License-Identifier: BSD-3-Clause
"""Other daemons of Debian that live on the taps, as they are: keepalived, radvd, lldpd,
dhcrelay."""

import json
import os

import pytest

from network import eventually, run
from routers import LATE, Topology, ip, needs


@pytest.fixture(name="make_topology")
def make_topology_of_routers(permitted):
    made = []

    def make(nics):
        made.append(Topology(nics))
        return made[-1]

    yield make
    for net in made:
        net.close()


# --- VRRP -----------------------------------------------------------------------------------------

VIRTUAL = {1: "00:00:5e:00:01:33", 2: "00:00:5e:00:01:34"}  # RFC 5798 §7.3: 51 and 52


def keepalived(router, priority):
    instances = "".join(f"""
vrrp_instance lan{nic} {{
    interface nic{nic}
    use_vmac vrrp{nic}
    virtual_router_id {50 + nic}
    priority {priority}
    advert_int 1
    virtual_ipaddress {{ 10.{nic}.0.254/24 }}
}}
""" for nic in (1, 2))
    path = f"{router.directory}/keepalived.conf"
    with open(path, "w", encoding="utf8") as file:
        file.write(f"vrrp_sync_group both {{ group {{ lan1\n lan2\n }} }}\n{instances}")
    return router.daemon("/usr/sbin/keepalived", "-n", "-l", "-D", "-G", "-P", "-f", path, "-p",
                         f"{router.directory}/keepalived.pid", "-r",
                         f"{router.directory}/vrrp.pid")


def masters(net):
    """Who has the virtual address of the first network."""
    return [r.name for r in net.routers if "10.1.0.254" in r.ip("address")]


@needs("keepalived")
def test_keepalived(make_topology):
    """Two routers between two networks, virtual MAC addresses (use_vmac): hosts reach each other by
    the master; then its link goes, and they do by the other one."""
    if run("unshare", "--net", "sh", "-c", "ip link add va type veth peer name vb && "
           "ip link add link va name m type macvlan && ip link add n type bridge").returncode:
        pytest.skip("the kernel has no macvlan, or no bridge")
    net = make_topology([2, 2])
    a, b = net.routers
    for nic in (1, 2):
        net.network([(a, nic), (b, nic)], f"10.{nic}.0.2/24", gateways=(f"10.{nic}.0.254",))
    h1, _ = net.hosts
    a.start([["10.1.0.11/24"], ["10.2.0.11/24"]])
    b.start([["10.1.0.12/24"], ["10.2.0.12/24"]])
    keepalived(a, 200)
    eventually(lambda: masters(net) == ["a"], LATE, "a is master")
    keepalived(b, 100)
    eventually(lambda: h1.reaches("10.2.0.2"), LATE, "h2 by a")
    assert masters(net) == ["a"]
    assert f"10.1.0.254 dev eth0 lladdr {VIRTUAL[1]}" in h1.ip("neigh")
    assert "foreign-mac" not in a.router.dropped()
    received = b.router.received()
    ip(a.ports, "link", "set", "nic1", "down")
    eventually(lambda: masters(net) == ["b"], LATE, "b is master")
    eventually(lambda: h1.reaches("10.2.0.2"), LATE, "h2 by b")
    assert b.router.received() > received
    assert f"10.1.0.254 dev eth0 lladdr {VIRTUAL[1]}" in h1.ip("neigh")
    ip(a.ports, "link", "set", "nic1", "up")
    eventually(lambda: masters(net) == ["a"], LATE, "a is master again")
    eventually(lambda: h1.reaches("10.2.0.2"), LATE, "h2 by a again")


# --- Router advertisements ------------------------------------------------------------------------

@needs("radvd", "rdisc6")
def test_radvd(make_topology):
    """A host gets its address and default route from a tap, and reaches another by them."""
    net = make_topology([2])
    a, = net.routers
    h1 = net.host(a, 1)
    net.host(a, 2, "fd02::2/64", gateways=("fd02::1",))
    a.start([["fd01::1/64"], ["fd02::1/64"]])
    path = f"{a.directory}/radvd.conf"
    with open(path, "w", encoding="utf8") as file:
        file.write("interface nic1 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; "
                   "prefix fd01::/64 { }; };\n")
    a.daemon("/usr/sbin/radvd", "-n", "-m", "stderr", "-C", path, "-p",
             f"{a.directory}/radvd.pid").check()
    eventually(lambda: "fd01::/64" in h1.run("rdisc6", "-1", "-w", "2000", "eth0").stdout, LATE,
               "an advertisement")
    eventually(lambda: "inet6 fd01:" in h1.ip("-6", "address", "show", "dynamic"), LATE,
               "an address")
    eventually(lambda: h1.reaches("fd02::2"), LATE, "h2")


# --- LLDP -----------------------------------------------------------------------------------------

class Lldp:
    """An lldpd with a /run of its own, in which its privileged half wants a folder."""

    def __init__(self, run_daemon, folder, name, *interfaces):
        self.socket = f"{folder}/{name}.sock"
        with open(f"{folder}/{name}.conf", "w", encoding="utf8") as file:
            file.write(f"configure system hostname {name}\n"
                       "configure lldp tx-interval 1\n")
        run_daemon("/usr/bin/unshare", "--mount", "sh", "-c",
                   "mount -t tmpfs none /run && mkdir /run/lldpd && exec lldpd \"$@\"", "lldpd",
                   "-d", "-u", self.socket, "-I", ",".join(interfaces), "-O",
                   f"{folder}/{name}.conf")

    def neighbors(self):
        """Their names."""
        done = run("lldpcli", "-u", self.socket, "-f", "json0", "show", "neighbors")
        if done.returncode:
            return []
        return [name["value"] for lldp in json.loads(done.stdout)["lldp"]
                for interface in lldp.get("interface", [])
                for chassis in interface["chassis"] for name in chassis["name"]]


@needs("lldpd", "lldpcli")
def test_lldpd(make_topology):
    """Neighbours of a link see each other, and nobody behind the router."""
    net = make_topology([2])
    a, = net.routers
    hosts = [net.host(a, 1, "10.1.0.2/24"), net.host(a, 2, "10.2.0.2/24")]
    a.start([["10.1.0.1/24"], ["10.2.0.1/24"]])
    router = Lldp(a.daemon, net.directory, "router", "nic1", "nic2")
    first, second = [Lldp(lambda *words, h=host: net.daemon(h.namespace, *words), net.directory,
                          f"host{k}", "eth0") for k, host in enumerate(hosts, 1)]
    eventually(lambda: set(router.neighbors()) == {"host1", "host2"}, LATE, "hosts seen by router")
    for host in (first, second):
        eventually(lambda host=host: host.neighbors() == ["router"], LATE, "the router seen")


# --- DHCP -----------------------------------------------------------------------------------------

LEASE = """#!/bin/sh
case $reason in
BOUND) ip address add "$new_ip_address/24" dev "$interface"
       ip route add default via "$new_routers" ;;
esac
"""


@needs("dhcrelay", "dhclient", "dnsmasq")
def test_dhcrelay(make_topology):
    """A client gets its address and default route from a server behind another NIC, by a relay on
    the taps, and reaches the server by them."""
    net = make_topology([2])
    a, = net.routers
    client = net.host(a, 1)
    server = net.host(a, 2, "10.2.0.2/24", gateways=("10.2.0.1",))
    a.start([["10.1.0.1/24"], ["10.2.0.1/24"]])
    net.daemon(server.namespace, "/usr/sbin/dnsmasq", "-k", "-u", "root", "-p", "0", "-C",
               "/dev/null", "-x", f"{net.directory}/dnsmasq.pid", "-l",
               f"{net.directory}/dnsmasq.leases", "--log-facility=-", "--no-ping", "-i", "eth0",
               "-F", "10.1.0.100,10.1.0.110,255.255.255.0", "-O", "option:router,10.1.0.1")
    relay = a.daemon("/usr/sbin/dhcrelay", "-4", "-d", "--no-pid", "-id", "nic1", "-iu", "nic2",
                     "10.2.0.2")
    script = f"{net.directory}/lease"
    with open(script, "w", encoding="utf8") as file:
        file.write(LEASE)
    os.chmod(script, 0o755)
    net.daemon(client.namespace, "/usr/sbin/dhclient", "-4", "-d", "-1", "-cf", "/dev/null", "-lf",
               f"{net.directory}/client.leases", "-pf", f"{net.directory}/client.pid", "-sf",
               script, "eth0")
    eventually(lambda: "inet 10.1.0.1" in client.ip("-4", "address"), LATE, "a lease")
    relay.check()
    eventually(lambda: client.reaches("10.2.0.2"), LATE, "the server")
