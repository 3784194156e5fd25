# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic doctor` about a router: each finding is there when it is provoked, the command that it
names ends it, and a host that is as it should be has none."""

import contextlib
import ctypes
import json
import socket
import subprocess

import pytest

from network import P2PNIC, Network, eventually, inside, run
from routers import Topology, ip, needs, sysctl

IPT_SO_GET_INFO = 64  # linux/netfilter_ipv4/ip_tables.h


def doctor(*words):
    """All that is not ok; what it prints and its exit status agree."""
    done = run(P2PNIC, "doctor", "-j", *words)
    rows = json.loads(done.stdout)["checks"]
    assert done.returncode == any(row["level"] == "fault" for row in rows), done.stderr
    text = run(P2PNIC, "doctor", *words).stdout
    for row in rows:
        assert f"{row['subject']}: {row['text']}\n" in text
        assert not row["fix"] or f"       fix: {row['fix']}\n" in text
    return [row for row in rows if row["level"] != "ok"]


@pytest.fixture(name="router", scope="module")
def router_of_two_nics(permitted):
    net = Topology([2])
    try:
        a, = net.routers
        sysctl(a.kernel, ipv4__nexthop_compat_mode=0, ipv4__conf__all__arp_announce=2,
               ipv4__conf__default__ignore_routes_with_linkdown=1,
               ipv6__conf__default__ignore_routes_with_linkdown=1)
        net.host(a, 1, "10.1.0.2/24")
        net.host(a, 2, "10.2.0.2/24")
        a.start([["10.1.0.1/24", "fd01::1/64"], ["10.2.0.1/24"]])
        a.findings = lambda: doctor("--runtime", a.router.runtime)
        yield a
    finally:
        net.close()


def expect(router, *wanted):
    """Exactly these: (level, kind, subject, words of the text). Returns the first one's fix."""
    def match(row, want):
        level, kind, subject, *words = want
        return [row[k] for k in ("level", "kind", "subject")] == [level, kind, subject] and \
            all(word in row["text"] for word in words)

    def found():
        rows = router.findings()
        if len(rows) == len(wanted) and all(any(match(r, w) for r in rows) for w in wanted):
            return rows or True
        return None
    try:
        rows = eventually(found, what="findings")
    except AssertionError:
        raise AssertionError(f"{router.findings()} are not {wanted}") from None
    return next((r["fix"] for r in rows if match(r, wanted[0])), None) if wanted else None


def cured(router, command):
    subprocess.run(["sh", "-c", command], check=True, timeout=60, capture_output=True)
    expect(router)


def kernel(router, *names):
    shown = router.router.show("kernel")
    return [shown[name] for name in names]


def test_a_host_that_is_well(router):
    expect(router)
    assert kernel(router, "filters", "sysctls", "ports_in_the_kernel", "rules") == [0, 0, 0, 0]


@pytest.mark.parametrize("commands, level, words", [
    (["route add blackhole 10.50.0.0/16 table 100", "rule add from 10.3.0.0/16 pref 500 table 100"],
     "fault", ["IPv4 rule 500, to table 100, 1 routes"]),
    (["rule add from 10.3.0.0/16 pref 501 table 101"], "note", ["to table 101, 0 routes"]),
    (["-6 rule add from fd03::/16 pref 502 prohibit"], "fault", ["IPv6 rule 502, to no table"]),
])
def test_rules(router, commands, level, words):
    for command in commands:
        router.ip(*command.split())
    cured(router, expect(router, (level, "rule", router.kernel, *words)))


def test_enslaved_tap(router):
    with contextlib.ExitStack() as stack:
        if run("ip", "-n", router.kernel, "link", "add", "switch", "type", "bridge").returncode:
            pytest.skip("the kernel has no bridge")
        stack.callback(router.ip, "link", "delete", "switch")
        router.ip("link", "set", "nic1", "master", "switch")
        fix = expect(router, ("fault", "link", "nic1", "belongs to the bridge switch"))
        assert kernel(router, "taps_enslaved") == [1]
        cured(router, fix)


def test_encapsulated_route(router):
    if run("ip", "-n", router.kernel, "-6", "route", "add", "fd60::/16", "encap", "seg6", "mode",
           "encap", "segs", "fd01::2", "dev", "nic1").returncode:
        pytest.skip("the kernel has no segment routing")
    cured(router, expect(router, ("note", "route", router.kernel, "1 routes have an encapsulation",
                                  "fd60::/16 is one")))


def nft(router, *lines):
    done = run("ip", "netns", "exec", router.kernel, "nft", "; ".join(lines))
    assert done.returncode == 0, done.stderr


@needs("nft")
@pytest.mark.parametrize("family, chain, rule, words", [
    ("inet", "type filter hook forward priority 0; policy drop;", None,
     ["inet t f, at forward, 0 rules, policy drop"]),
    ("ip", "type filter hook prerouting priority -300;", "ip ttl 7 drop",
     ["ip t f, at prerouting, 1 rules"]),
    ("ip6", "type filter hook postrouting priority 0;", "ip6 hoplimit 7 drop",
     ["ip6 t f, at postrouting, 1 rules"]),
])
def test_nftables(router, family, chain, rule, words):
    # Chains that forwarded packets do not meet, or that do nothing, are none.
    nft(router, f"add table {family} t", f"add chain {family} t f {{ {chain} }}",
        f"add chain {family} t in {{ type filter hook input priority 0; policy drop; }}",
        f"add chain {family} t idle {{ type filter hook forward priority 0; }}",
        f"add chain {family} t called", f"add rule {family} t called drop")
    try:
        if rule:
            expect(router)
            nft(router, f"add rule {family} t f {rule}")
        fix = expect(router, ("fault", "filter", router.kernel, *words))
        assert kernel(router, "filters") == [1]
        cured(router, fix)
    finally:
        nft(router, f"delete table {family} t")


@pytest.mark.parametrize("path, value, level, words", [
    ("ipv4/ip_forward", 0, "fault", []),
    ("ipv6/conf/all/forwarding", 0, "fault", []),
    ("ipv4/nexthop_compat_mode", 1, "note", []),
    ("ipv4/conf/nic2/forwarding", 0, "fault", []),
    ("ipv4/conf/nic2/rp_filter", 1, "note", ["reverse_path"]),
    ("ipv4/conf/nic1/ignore_routes_with_linkdown", 0, "note", []),
    ("ipv6/conf/nic1/ignore_routes_with_linkdown", 0, "note", []),
])
def test_sysctls(router, path, value, level, words):
    subject = path.split("/")[2] if "nic" in path else router.kernel
    wanted = [(level, "sysctl", subject, "/" + path.rsplit("/", 1)[1] + f" is {value}: ", *words)]
    sysctl(router.kernel, **{path.replace("/", "__"): value})
    if path == "ipv4/ip_forward":  # sets it of each interface, too
        wanted += [("fault", "sysctl", f"nic{k}", "/forwarding is 0: ") for k in (1, 2)]
    fix = expect(router, *wanted)
    assert kernel(router, "sysctls") == [len(wanted)]
    cured(router, fix)


def test_arp_announce(router):
    """The larger of all and the interface's counts."""
    sysctl(router.kernel, ipv4__conf__all__arp_announce=1)
    try:
        for k in (1, 2):
            subprocess.run(["sh", "-c", next(
                row["fix"] for row in router.findings() if row["subject"] == f"nic{k}" and
                "arp_announce is 1: " in row["text"])], check=True, timeout=60,
                capture_output=True)
        expect(router)
    finally:
        sysctl(router.kernel, ipv4__conf__all__arp_announce=2)


def test_port_in_a_kernel_that_forwards(router):
    """In the ports' namespace, as Docker would have it."""
    sysctl(router.ports, ipv4__ip_forward=1)
    wanted = [("fault", "port", f"nic{k}", "it forwards here", "IPv4") for k in (1, 2)]
    expect(router, *wanted)
    assert kernel(router, "ports_in_the_kernel") == [2]
    sysctl(router.ports, ipv4__conf__nic1__rp_filter=1)
    expect(router, wanted[1])
    sysctl(router.ports, ipv4__conf__nic1__rp_filter=0, ipv4__ip_forward=0)
    expect(router)
    sysctl(router.ports, ipv6__conf__all__forwarding=1)
    sysctl(router.ports, ipv6__conf__nic2__disable_ipv6=0)
    fix = expect(router, ("fault", "port", "nic2", "it forwards here", "IPv6"))
    # It names the router's own namespace as the one to be in.
    cured(router, f"ip netns exec {router.ports} {fix}")


def test_without_router(router, tmp_path):
    """By the configuration: a note says what was not looked at."""
    config = json.loads(json.dumps(router.router.config))
    config["router"] = {"runtime": str(tmp_path / "none")}
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config))

    def findings():
        done = run("ip", "netns", "exec", router.ports, P2PNIC, "doctor", "-j", "-c", str(path))
        return [(row["level"], row["kind"], row["text"])
                for row in json.loads(done.stdout)["checks"] if row["level"] != "ok"]
    (level, kind, text), = findings()
    assert (level, kind) == ("note", "router") and "no router runs there: so routes," in text
    sysctl(router.kernel, ipv6__conf__all__forwarding=0)
    try:
        assert [row[:2] for row in findings()] == [("note", "router"), ("fault", "sysctl")]
    finally:
        sysctl(router.kernel, ipv6__conf__all__forwarding=1)
    config["kernel"]["namespace"] = "pl-no-such"
    path.write_text(json.dumps(config))
    assert findings()[1][:2] == ("fault", "kernel") and "pl-no-such" in findings()[1][2]
    path.write_text("nics: 7")
    (level, kind, text), = findings()
    assert (level, kind) == ("fault", "router") and "c.yaml:1: nics: want a list" in text


def test_no_router(tmp_path):
    done = run(P2PNIC, "doctor", "--runtime", str(tmp_path))
    assert done.returncode == 1 and "fault  router: " in done.stdout
    assert run(P2PNIC, "doctor", "-c", "x", "--name", "y").returncode == 2


def test_asks_the_router_of_a_file(router):
    done = run(P2PNIC, "doctor", "-c", router.router.path)
    assert done.returncode == 0 and f"ok     router: runs in {router.router.runtime}" in done.stdout


class Beside(Network):
    """Taps beside the ports, in one namespace."""

    @staticmethod
    def _config(nics, port, more):
        return {"nics": [{"name": f"tap{k}", "port": {"type": port, "target": f"nic{k}"}}
                         for k in range(1, nics + 1)], "kernel": {}}


def test_ports_beside_taps(permitted):
    network = Beside(1)
    try:
        namespace = network.namespaces[0]
        sysctl(namespace, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1,
               ipv4__conf__all__rp_filter=0, ipv4__conf__nic1__rp_filter=0,
               ipv6__conf__nic1__disable_ipv6=0)
        network.start()

        def ports():
            rows = doctor("--runtime", network.router.runtime)
            return [row for row in rows if row["kind"] == "port"]
        ipv4, ipv6 = ports()
        for row in (ipv4, ipv6):
            assert row["level"] == "fault" and row["subject"] == "nic1" and \
                "answered for a second time" in row["text"]
            done = run("ip", "netns", "exec", namespace, "sh", "-c", row["fix"])
            assert done.returncode == 0, done.stderr
        assert not ports()
        sysctl(namespace, ipv4__conf__all__rp_filter=2)  # the larger counts
        (ipv4,) = ports()
        assert run("ip", "netns", "exec", namespace, "sh", "-c", ipv4["fix"]).returncode == 0
        assert not ports()
    finally:
        network.close()


def test_iptables(router):
    """A table of the older iptables; it stays as long as its namespace."""
    name = ctypes.create_string_buffer(b"filter", 84)  # struct ipt_getinfo
    length = ctypes.c_uint(84)
    with inside(router.kernel), \
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        if ctypes.CDLL(None).getsockopt(s.fileno(), socket.SOL_IP, IPT_SO_GET_INFO, name,
                                        ctypes.byref(length)):
            pytest.skip("the kernel has no iptables of the older kind")
    expect(router, ("note", "filter", router.kernel, "a table filter (ip)"))
