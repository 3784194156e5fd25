# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic trace`: each step of a packet that is forwarded, dropped, punted."""

import json
import subprocess

import pytest
from scapy.all import IP, UDP, Ether, IPv6, Raw, raw

from network import P2PNIC, Network, eventually, mac, run
from routers import needs

ROUTES = [{"prefix": "100.64.0.0/10", "next_hops": [{"via": "10.0.2.2"}, {"via": "10.0.2.3"}]}]
NEIGHBORS = [{"nic": "nic2", "address": "10.0.2.3", "mac": mac(2, 3)}]


@pytest.fixture(scope="module", name="network", params=["wr", "rd"])
def two_nics(request, permitted):
    n = Network(2, routes=ROUTES, neighbors=NEIGHBORS)
    n.router.config["router"]["method"] = request.param
    n.router.write()
    try:
        yield n.start()
        n.router.check_identity()
    finally:
        n.close()


def packet(dst="10.0.2.2", ttl=64, sport=9):
    return raw(Ether(dst=mac(1), src=mac(1, 2)) / IP(src="10.0.1.2", dst=dst, ttl=ttl, id=7) /
               UDP(sport=sport, dport=7) / Raw(bytes(100)))


def trace(network, frame, *words):
    """Traces this packet, sent again and again: a trace says nothing before its first packet."""
    with subprocess.Popen([P2PNIC, "trace", "--runtime", network.router.runtime, *words],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        def sent():
            network.wire[1].send(frame)
            return process.poll() is not None
        eventually(sent, 30, "the end of a trace")
        out, err = process.communicate()
    assert process.returncode == 0 and not err, err
    return out


def traced(network, frame, *words):
    return json.loads(trace(network, frame, "-j", *words))


def test_forwarded(network):
    seen = traced(network, packet(), "udp", "and", "dst", "host", "10.0.2.2")
    assert seen["nic"] == "nic1" and seen["outcome"] == "sent" and "verdict" not in seen
    assert seen["received"]["ttl"] == 64 and seen["received"]["source_mac"] == mac(1, 2)
    tables = seen["tables"]
    assert tables["route"]["prefix"] == "10.0.2.2/32"
    assert tables["next_hop"] == seen["lookup"]["next_hop"] > 0
    assert len(tables["path"]) > 0 and all(int(s["at"], 16) for s in tables["path"])
    assert tables["path"][0]["from_bit"] == 0
    assert tables["adjacency"]["index"] == seen["lookup"]["adjacency"]
    assert tables["adjacency"]["egress"] == "nic2" and tables["adjacency"]["source"] == mac(2)
    assert seen["ring"]["to"] == "nic2" and seen["ring"]["epoch"] > 0
    left = seen["left"]
    assert left["nic"] == "nic2" and left["after_ns"] >= 0
    assert left["packet"]["ttl"] == 63 and left["packet"]["destination_mac"] == mac(2, 2)
    assert left["packet"]["checksum"] == seen["received"]["checksum"] + 0x100


def test_group(network):
    """The bucket leads to the adjacency that the NIC took."""
    for sport in range(1, 9):
        seen = traced(network, packet("100.64.0.1", sport=sport), "udp src port", str(sport))
        group = seen["tables"]["group"]
        assert seen["tables"]["route"]["next_hops"] == 2
        assert group["bucket"] - group["first"] == \
            seen["lookup"]["flow"] & (group["buckets"] - 1)
        assert seen["tables"]["adjacency"]["destination"] == \
            seen["left"]["packet"]["destination_mac"]


def test_ipv6(network):
    frame = raw(Ether(dst=mac(1), src=mac(1, 2)) / IPv6(src="fd00:1::2", dst="fd00:2::2", hlim=9) /
                UDP())
    seen = traced(network, frame, "ip6")
    assert seen["tables"]["route"]["prefix"] == "fd00:2::2/128"
    assert seen["left"]["packet"]["ttl"] == 8


BAD = bytearray(packet())
BAD[24] ^= 1


@pytest.mark.parametrize("frame, reason, section", [
    (packet(ttl=1), "ttl", "RFC 1812 §5.3.1"), (packet("198.51.101.9"), "no-route", "§5.2.7.1"),
    (bytes(BAD), "checksum", "RFC 1812 §5.2.2 (2)"),
    (raw(Ether(dst=mac(9), src=mac(1, 2)) / IP()), "foreign-mac", "")])
def test_dropped(network, frame, reason, section):
    seen = traced(network, frame)
    assert seen["outcome"] == "dropped" and "ring" not in seen
    assert seen["verdict"]["name"] == seen["reason"]["name"] == reason
    assert section in seen["reason"]["section"]
    assert ("lookup" in seen) == (reason in ("ttl", "no-route"))


def test_text(network):
    said = trace(network, packet(), "-c", "2", "-i", "nic1")
    assert said.count("  port      142 bytes, ") == 2
    for step in ("checks    passed", "lookup    10.0.2.2: next hop ", "bits   0-", "adjacency ",
                 f"rewrite   {mac(2)} > {mac(2, 2)}, TTL 64 to 63, checksum ",
                 "ring      nic1 to nic2, descriptor ", "egress    nic2 gave it to its port "):
        assert said.count("  " + step) >= 2, (step, said)
    said = trace(network, packet(ttl=1))
    assert "  dropped   ttl: TTL or hop limit would reach 0: §5.3.1 (RFC 1812 §5.3.1" in said


def test_refused(network):
    done = run(P2PNIC, "trace", "--runtime", network.router.runtime, "-i", "nic9")
    assert done.returncode == 1 and "no NIC 'nic9'" in done.stderr
    done = run(P2PNIC, "trace", "--runtime", network.router.runtime, "port", "x y")
    assert done.returncode == 2 and "filter 'port x y'" in done.stderr


@needs("ip")
def test_punted(permitted):
    network = Network(2)
    try:
        name = f"{network.prefix}-k"
        assert run("ip", "netns", "add", name).returncode == 0
        network.namespaces.append(name)
        network.router.config["kernel"] = {"namespace": name}
        del network.router.config["neighbors"]
        for nic in network.router.config["nics"]:
            del nic["addresses"]
        network.router.write()
        network.start()
        seen = traced(network, packet(), "ip")
        assert seen["outcome"] == "punted" and seen["class"] == "exception"
        assert seen["reason"]["name"] == "no-route" and "§5.2.7.1" in seen["reason"]["section"]
        said = trace(network, packet(), "ip")
        assert "  checks    no-route: " in said
        assert "  punted    to the host, as exception\n" in said
    finally:
        network.close()
