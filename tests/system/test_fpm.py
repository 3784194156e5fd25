# SPDX-License-Identifier: BSD-3-Clause
"""Acknowledgements of routes to zebra (`kernel: {fpm: PORT}`): with a zebra of the test's own that
speaks dplane_fpm_nl, and with FRR's own, whose bgpd announces a route once the NICs have it."""
import contextlib
import os
import signal
import socket
import struct
import subprocess

import pytest

from network import P2PNIC, Router, eventually, inside, run
from routers import LATE, Topology, needs
from test_kernel import KernelNetwork

PORT = 2620
RTM_NEWROUTE, RTM_DELROUTE = 24, 25  # linux/rtnetlink.h
RTM_F_OFFLOAD, RTM_F_OFFLOAD_FAILED = 0x4000, 0x20000000
RTA_DST, RTA_PRIORITY, RTA_TABLE = 1, 6, 15
BGP = 186  # RTPROT_BGP
HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "p2pnic")


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind, prefix, protocol=BGP, table=254, metric=0):
    address, length = prefix.split("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    body = struct.pack("=BBBBBBBBI", family, int(length), 0, 0, table & 255, protocol, 0, 1, 0)
    body += attribute(RTA_DST, socket.inet_pton(family, address))
    body += attribute(RTA_TABLE, struct.pack("=I", table))
    body += attribute(RTA_PRIORITY, struct.pack("=I", metric))
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def frame(*messages):
    body = b"".join(messages)
    return struct.pack("!BBH", 1, 1, 4 + len(body)) + body


class Zebra:
    """What dplane_fpm_nl does of it: a connection, routes, and what comes back."""

    def __init__(self, network):
        with inside(network.kernel):
            self.socket = socket.create_connection(("127.0.0.1", PORT), 10)
        self.bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *messages):
        self.socket.sendall(frame(*messages))

    def add(self, *prefixes, **more):
        for prefix in prefixes:
            self.send(message(RTM_NEWROUTE, prefix, **more))

    def answer(self, seconds=20):
        """(prefix, "offload" or "failed", table, protocol); None: none within that time."""
        self.socket.settimeout(seconds)
        while len(self.bytes) < 4 or len(self.bytes) < struct.unpack("!H", self.bytes[2:4])[0]:
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                return None
            assert more, "closed"
            self.bytes += more
        version, kind, length = struct.unpack("!BBH", self.bytes[:4])
        body, self.bytes = self.bytes[4:length], self.bytes[length:]
        assert (version, kind) == (1, 1)
        size, kind, request = struct.unpack("=IHH", body[:8])
        assert (size, kind, request) == (len(body), RTM_NEWROUTE, 1)
        family, length, _, _, _, protocol, _, kind, flags = struct.unpack("=BBBBBBBBI", body[16:28])
        assert kind == 1
        found, at = {}, 28
        while at < size:
            bytes_, name = struct.unpack("=HH", body[at:at + 4])
            found[name] = body[at + 4:at + bytes_]
            at += (bytes_ + 3) & ~3
        return (f"{socket.inet_ntop(family, found[RTA_DST])}/{length}",
                {RTM_F_OFFLOAD: "offload", RTM_F_OFFLOAD_FAILED: "failed"}[flags],
                struct.unpack("=I", found[RTA_TABLE])[0], protocol)

    def closed(self):
        """The router lets it go."""
        self.socket.settimeout(30)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture(name="network", scope="module")
def fpm_network(permitted):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun: not there")
    network = KernelNetwork(2)
    try:
        network.router.config["kernel"]["fpm"] = PORT
        network.router.write()
        network.ip(network.kernel, "link", "set", "lo", "up")
        yield network.start()
    finally:
        network.close()


def route(network, verb, prefix, *words):
    network.ip(network.kernel, *(["-6"] if ":" in prefix else []), "route", verb, prefix,
               *(words or ("via", "10.0.2.2")), *([] if verb == "del" else ["proto", "bgp"]))


def has(network, prefix):
    return any(row["prefix"] == prefix for row in network.router.show("route"))


def counted(network, key):
    return network.router.show("kernel")[f"fpm_{key}"]


def test_acknowledged_after_the_nics_have_it(network):
    """Of main (which table 0 is too, as for the kernel) and of another table, by NICs or not; each
    once."""
    route(network, "add", "10.9.0.0/16")
    route(network, "add", "10.8.0.0/16", "dev", "lo")
    route(network, "add", "10.7.0.0/16", "via", "10.0.2.2", "table", "1000")
    with Zebra(network) as zebra:
        zebra.add("10.9.0.0/16", metric=20)
        assert zebra.answer() == ("10.9.0.0/16", "offload", 254, BGP)
        assert has(network, "10.9.0.0/16")
        zebra.add("10.9.0.0/16", table=0)
        assert zebra.answer() == ("10.9.0.0/16", "offload", 0, BGP)
        zebra.add("10.8.0.0/16")
        assert zebra.answer() == ("10.8.0.0/16", "offload", 254, BGP)
        zebra.add("10.7.0.0/16", table=1000)
        assert zebra.answer() == ("10.7.0.0/16", "offload", 1000, BGP)
        assert zebra.answer(0.5) is None
        assert counted(network, "connected") == 1 and counted(network, "pending") == 0
    eventually(lambda: counted(network, "connected") == 0, what="the end")


def test_waits_for_the_kernel(network):
    """No answer while the kernel has no such route, or has it of another protocol."""
    network.ip(network.kernel, "route", "add", "10.11.0.0/16", "via", "10.0.2.2", "proto", "static")
    with Zebra(network) as zebra:
        zebra.add("10.10.0.0/16", "10.11.0.0/16", "10.12.0.0/16")
        assert zebra.answer(1) is None
        assert counted(network, "pending") == 3
        route(network, "add", "10.10.0.0/16")
        assert zebra.answer()[:2] == ("10.10.0.0/16", "offload")
        assert has(network, "10.10.0.0/16")
        zebra.send(message(RTM_DELROUTE, "10.12.0.0/16"))
        eventually(lambda: counted(network, "pending") == 1, what="it is taken back")
        route(network, "add", "10.12.0.0/16")
        assert zebra.answer(1) is None


def test_replaced_in_one_frame(network):
    """As zebra replaces a route: its end and its beginning. One answer for many of them."""
    route(network, "add", "10.13.0.0/16")
    with Zebra(network) as zebra:
        for _ in range(50):
            zebra.send(message(RTM_DELROUTE, "10.13.0.0/16"),
                       message(RTM_NEWROUTE, "10.13.0.0/16"))
        assert zebra.answer()[:2] == ("10.13.0.0/16", "offload")
        eventually(lambda: counted(network, "pending") == 0, what="no more")


@pytest.mark.hostile("a zebra that sends nonsense, reads late or comes twice")
def test_hanging_nic(network):
    """A NIC that hangs forwards by an old table: no answer until it has the new one."""
    with Zebra(network) as zebra:
        pid = network.router.nic("nic1")["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: network.router.nic("nic1")["state"] != "forwarding",
                       what="it is seen")
            route(network, "add", "10.14.0.0/16")
            zebra.add("10.14.0.0/16")
            assert zebra.answer(1) is None
        finally:
            os.kill(pid, signal.SIGCONT)
        assert zebra.answer(60)[:2] == ("10.14.0.0/16", "offload")


@pytest.mark.hostile("a zebra that sends nonsense, reads late or comes twice")
def test_thousands_and_a_slow_reader(network):
    """All are acknowledged, each once; who does not read is let go, and the router goes on."""
    prefixes = [f"10.{64 + (k >> 8)}.{k & 255}.0/24" for k in range(20000)]
    script = "".join(f"route add {prefix} via 10.0.2.2 proto bgp\n" for prefix in prefixes)
    done = subprocess.run(["ip", "-n", network.kernel, "-batch", "-"], input=script, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    sent = b"".join(frame(message(RTM_NEWROUTE, prefix)) for prefix in prefixes)
    with Zebra(network) as zebra:
        zebra.socket.sendall(sent)
        got = {zebra.answer()[:2] for _ in prefixes}
        assert got == {(prefix, "offload") for prefix in prefixes}
    broken = counted(network, "broken")
    with Zebra(network) as zebra:
        zebra.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(10):
            if counted(network, "broken") > broken:
                break
            with contextlib.suppress(TimeoutError, ConnectionError):
                zebra.socket.settimeout(2)
                zebra.socket.sendall(sent)
        eventually(lambda: counted(network, "broken") > broken, 60, "it is let go")
    eventually(lambda: "fpm: connection closed: its answers were not read" in
               network.router.messages(), what="it is said")


@pytest.mark.hostile("a zebra that sends nonsense, reads late or comes twice")
def test_garbage(network):
    """Other protocols, broken lengths, broken messages: closed or passed over, and the next is
    served."""
    route(network, "add", "10.15.0.0/16")
    good = message(RTM_NEWROUTE, "10.15.0.0/16")
    for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"\x01\x01\x00\x03",
                    b"\x02\x01\x00\x10" + bytes(12)):
        with Zebra(network) as zebra:
            zebra.socket.sendall(garbage)
            assert zebra.closed()
    with Zebra(network) as zebra:
        zebra.send(good[:-9], good)  # a length beyond its place hides what follows
        zebra.send(b"\xff" * 40, good)
        zebra.send(b"")
        for byte in frame(message(9999, "10.15.0.0/16"), good):
            zebra.socket.sendall(bytes([byte]))
        assert zebra.answer()[:2] == ("10.15.0.0/16", "offload")


@pytest.mark.hostile("a zebra that sends nonsense, reads late or comes twice")
def test_newcomer_replaces(network):
    route(network, "add", "10.16.0.0/16")
    with Zebra(network) as first, Zebra(network) as second:
        assert first.closed()
        second.add("10.16.0.0/16")
        assert second.answer()[:2] == ("10.16.0.0/16", "offload")


def test_port_is_taken(network, tmp_path):
    """Said, and the router does not start."""
    other = Router({"nics": [{"name": "other1", "port": {"type": "tap", "target": "o1"}}],
                    "kernel": {"namespace": network.kernel, "fpm": PORT}}, str(tmp_path),
                   network.namespaces[0])
    done = run("ip", "netns", "exec", network.namespaces[0], P2PNIC, "router", "-c",
               other.path)
    assert done.returncode != 0
    assert f"kernel: fpm: 127.0.0.1 port {PORT}: Address already in use" in done.stderr


# --- FRR ------------------------------------------------------------------------------------------

def frr_usr(version):
    """The /usr of that FRR or a later one. Debian 12 has 8.4, of which zebra discards answers."""
    folder = f"{CACHE}/frr-{version}"
    done = subprocess.run([f"{HERE}/../vm/fetch", folder, "frr", version], check=False, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=900)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return f"{folder}/frr/usr"


def bgp(number, peers, *more):
    lines = [f"router bgp 6500{number}", f"bgp router-id 10.0.0.{number}",
             "no bgp ebgp-requires-policy", "no bgp network import-check", "timers bgp 1 5", *more]
    for peer in peers:
        lines += [f"neighbor {peer} {words}" for words in (
            "remote-as external", "timers connect 1", "advertisement-interval 0")]
    return "\n ".join(lines)


def network_of(router, number, prefix, no=""):
    family = "ipv6" if ":" in prefix else "ipv4"
    router.vtysh("bgpd", "configure terminal", f"router bgp 6500{number}",
                 f"address-family {family} unicast", f"{no}network {prefix}")


def heard(router, prefix):
    """What its bgpd says of the prefix; None: it has none."""
    paths = router.frr_shows("bgpd", f"bgp ipv4 unicast {prefix}").get("paths", [])
    return paths[0] if paths else None


@needs("zebra", "bgpd", "vtysh")
@pytest.mark.parametrize("version, more", [("10.3", ["-R", "0"]), ("10.4", [])])
def test_bgp_announces_what_nics_have(permitted, version, more):
    """b (FRR, bgp suppress-fib-pending) learns routes of a and announces to c those which its NICs
    have: none while the router does not listen, none while a NIC hangs, then all."""
    usr = frr_usr(version)
    own = [["10.1.0.2/24"], ["10.2.0.1/24"]]
    net = Topology([1, 3, 1])
    try:
        a, b, c = net.routers
        net.link(a, 1, b, 1)
        net.link(b, 2, c, 1)
        net.host(b, 3)
        a.start([["10.1.0.1/24"]])
        b.start(own)
        c.start([["10.2.0.2/24"]])
        a.frr(["bgpd"], bgp(1, ["10.1.0.2"]))
        c.frr(["bgpd"], bgp(3, ["10.2.0.1"]))
        b.frr(["bgpd"], f"fpm address 127.0.0.1 port {PORT}\n" +
              bgp(2, ["10.1.0.1", "10.2.0.2"], "bgp suppress-fib-pending"), usr,
              ["-M", "dplane_fpm_nl", "--asic-offload=notify_on_offload", *more])

        def pending(prefix, mark):
            """In b's kernel and not announced: c has what b announced after it."""
            eventually(lambda: "proto bgp" in b.ip("route", "show", prefix), LATE, "in b's kernel")
            network_of(b, 2, mark)
            eventually(lambda: heard(c, mark), LATE, f"c hears of {mark}")
            assert heard(b, prefix)["fibPending"] and heard(c, prefix) is None

        network_of(a, 1, "192.0.2.0/26")
        eventually(lambda: b.route("192.0.2.0/26"), LATE, "the route in b's NICs")
        pending("192.0.2.0/26", "198.51.100.0/26")

        b.router.stop()
        b.router.config["kernel"]["fpm"] = PORT
        b.router.config["nics"][2]["engine"] = "alone"
        b.router.write()
        b.start(own)
        eventually(lambda: heard(c, "192.0.2.0/26"), LATE, "c hears of it")
        assert b.route("192.0.2.0/26")["mac"] == a.mac(1)

        pid = b.router.nic("nic3")["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: b.router.nic("nic3")["state"] != "forwarding", what="it is seen")
            network_of(a, 1, "192.0.2.64/26")
            pending("192.0.2.64/26", "198.51.100.64/26")
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: heard(c, "192.0.2.64/26"), LATE, "c hears of another")
        assert b.route("192.0.2.64/26")["mac"] == a.mac(1)

        network_of(a, 1, "192.0.2.0/26", "no ")
        eventually(lambda: heard(c, "192.0.2.0/26") is None, LATE, "its end")
        assert b.router.show("kernel")["fpm_failed"] == 0
    finally:
        net.close()
