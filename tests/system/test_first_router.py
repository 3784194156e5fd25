# SPDX-License-Identifier: BSD-3-Clause
"""The first router of README.md and docs/operations.md: packaging/examples/minimal.yaml, its ports
and its taps in one namespace, where the kernel forwards as well; hosts that know a default route.

    h1 eth0 10.1.0.10 ─── eth1: NIC left, tap left 10.1.0.1      all of it in r, but for the hosts
    h2 eth0 10.2.0.10 ─── eth2: NIC right, tap right 10.2.0.1
"""

import json
import os
import re
import subprocess

import pytest

from network import P2PNIC, Network, eventually, inside, run

PACKAGING = f"{os.path.dirname(__file__)}/../../packaging"
EXAMPLE = f"{PACKAGING}/examples/minimal.yaml"
TAPS = {1: "left", 2: "right"}
ALL = ["10.1.0.1", "10.2.0.1", "10.2.0.10", "fd00:1::1", "fd00:2::1", "fd00:2::10"]


class FirstRouter(Network):
    def __init__(self):
        super().__init__(2)
        self.kernel = self.namespaces[0]
        try:
            for k in TAPS:
                self.ip(self.kernel, "link", "set", f"nic{k}", "name", f"eth{k}", "up")
            for key in ("all", "default"):  # as a host has it: the lab of the tests had none
                self.sysctl(f"net.ipv6.conf.{key}.disable_ipv6=0")
            self.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
            for k in TAPS:
                host = self.namespaces[k]
                with inside(host), open("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "w",
                                        encoding="utf8") as file:
                    file.write("0")
                self.ip(host, "address", "add", f"10.{k}.0.10/24", "dev", "eth0")
                self.ip(host, "address", "add", f"fd00:{k}::10/64", "dev", "eth0", "nodad")
                self.ip(host, "route", "add", "default", "via", f"10.{k}.0.1")
                self.ip(host, "route", "add", "default", "via", f"fd00:{k}::1")
            with open(EXAMPLE, encoding="utf8") as example, \
                    open(self.router.path, "w", encoding="utf8") as file:
                file.write(f"router: {{runtime: {self.router.runtime}}}\n{example.read()}")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def ip(namespace, *words):
        done = run("ip", "-n", namespace, *words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def sysctl(self, *settings):
        done = run("ip", "netns", "exec", self.kernel, "sysctl", "-qw", *settings)
        assert done.returncode == 0, done.stderr

    def start(self):
        super().start()
        for k, name in TAPS.items():
            self.ip(self.kernel, "address", "add", f"10.{k}.0.1/24", "dev", name)
            self.ip(self.kernel, "address", "add", f"fd00:{k}::1/64", "dev", name, "nodad")
            self.ip(self.kernel, "link", "set", name, "up")
        for k in TAPS:
            eventually(lambda k=k: self.ping(k, f"10.{k}.0.1", 1)[1], what="the router answers")
            eventually(lambda k=k: self.ping(k, f"fd00:{k}::1", 1)[1], what="…over IPv6")
        return self

    def ping(self, k, address, count=5):
        """Sent, answered, answered once more."""
        said = run("ip", "netns", "exec", self.namespaces[k], "ping", "-q", "-c", str(count), "-i",
                   "0.1", "-W", "2", address).stdout
        found = re.search(r"(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?",
                          said)
        return tuple(int(n or 0) for n in found.groups())

    def settled(self):
        """The NICs know both hosts, so that the kernel has nothing to forward."""
        routes = {row["prefix"]: row["kind"] for row in self.router.show("route")}
        return all(routes.get(f"{host}/{bits}") == "forward"
                   for k in TAPS for host, bits in ((f"10.{k}.0.10", 32), (f"fd00:{k}::10", 128)))

    def forwarded_by_kernel(self):
        with inside(self.kernel):
            with open("/proc/thread-self/net/snmp", encoding="utf8") as file:
                names, values = [line.split() for line in file if line.startswith("Ip:")]
            with open("/proc/thread-self/net/snmp6", encoding="utf8") as file:
                six = dict(line.split() for line in file)
        return int(values[names.index("ForwDatagrams")]) + int(six["Ip6OutForwDatagrams"])


@pytest.fixture(name="first")
def first_router(permitted):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun: not there")
    network = FirstRouter()
    try:
        yield network
    finally:
        network.close()


def test_ports_and_taps_in_one_namespace(first):
    """With the settings that the documentation names, the kernel neither forwards nor answers what
    arrives at a port: whatever is sent arrives once."""
    for k in TAPS:
        first.sysctl(f"net.ipv4.conf.eth{k}.rp_filter=1", f"net.ipv6.conf.eth{k}.disable_ipv6=1")
    first.start()
    for address in ALL:
        first.ping(1, address, 2)
    eventually(first.settled, what="neighbours of both")
    before = first.forwarded_by_kernel()
    assert {address: first.ping(1, address) for address in ALL} == dict.fromkeys(ALL, (5, 5, 0))
    # An address of the router on its far side is punted where the packet arrived.
    assert first.forwarded_by_kernel() == before
    for k, name in TAPS.items():  # nor has it learned anybody at a port
        assert not json.loads(run("ip", "-n", first.kernel, "-j", "neigh", "show", "dev",
                                  f"eth{k}").stdout or "[]")
        assert f"dev {name} lladdr" in first.ip(first.kernel, "neigh")
    assert all(row["unaccounted"] == 0 for row in first.router.at_rest())


def test_ports_that_are_left_to_the_kernel(first):
    """Without them it does both, which is why they are named."""
    first.start()
    eventually(first.settled, what="neighbours of both")
    assert first.ping(1, "10.1.0.1")[2] and first.ping(1, "10.2.0.10")[2]


def test_with_the_capabilities_of_the_unit(first):
    """Those of packaging/p2pnic@.service.in are enough for taps beside the ports."""
    with open(f"{PACKAGING}/p2pnic@.service.in", encoding="utf8") as unit:
        names = re.search(r"^CapabilityBoundingSet=(.*)$", unit.read(), re.M)[1].split()
    bounds = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])
    with open(first.router.log, "a", encoding="utf8") as log:
        first.router.process = subprocess.Popen(
            ["ip", "netns", "exec", first.kernel, "setpriv", "--inh-caps=-all",
             f"--bounding-set={bounds}", "--no-new-privs", P2PNIC, "router", "-c",
             first.router.path], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    eventually(lambda: first.router.process.poll() is not None or first.router.answers(),
               what="router up")
    assert first.router.process.poll() is None, first.router.messages()
    first.ip(first.kernel, "address", "add", "10.1.0.1/24", "dev", "left")
    first.ip(first.kernel, "link", "set", "left", "up")
    eventually(lambda: first.ping(1, "10.1.0.1", 1)[1], what="the router answers")
    first.router.stop()
