# SPDX-License-Identifier: BSD-3-Clause
"""The device under test: R, a router of four links, with hosts h1 to h4 that the tests play.

    h1 eth0 ──── nic1 ┐       R's address on link K is 10.0.K.1/24, fd00:K::1/64
    h2 eth0 ──── nic2 ├ R     host K's is 10.0.K.2, fd00:K::2; behind it are 10.10K.0.0/16 and
    h3 eth0 ──── nic3 ┤       fd01:K::/32
    h4 eth0 ──── nic4 ┘       MTU 1500, towards h4 1300

DUT=p2pnic: NICs whose ports are veths, and the kernel of namespace `kernel`, which has their taps.
DUT=linux: that kernel alone, with the veths in place of the taps. DUT=file: p2pnic by a
configuration file, without a kernel; nothing is answered, no route changes.
"""

import contextlib
import itertools
import select
import subprocess
import time

import pytest
from scapy.all import ARP, ICMP, IP, UDP, Ether, ICMPv6EchoRequest, IPv6, Raw, raw

from network import SETTLE, Network, eventually, inside, mac, run

PORTS = 4
VLAN = 48
NARROW, NARROW_MTU = 4, 1300

# Answers are limited in test_17 and test_38 only. Resolution fails in 0.3 s.
SYSCTLS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv4/icmp_ratemask": 0,
    "net/ipv4/fib_multipath_hash_policy": 1,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv6/conf/all/disable_ipv6": 0,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv6/fib_multipath_hash_policy": 1,
    "net/ipv6/icmp/ratelimit": 0,
}
LINK_SYSCTLS = {
    "net/ipv4/conf/{}/rp_filter": 0,
    "net/ipv4/neigh/{}/retrans_time_ms": 100,
    "net/ipv4/neigh/{}/locktime": 0,
    "net/ipv6/conf/{}/disable_ipv6": 0,
    "net/ipv6/conf/{}/accept_dad": 0,
    "net/ipv6/neigh/{}/retrans_time_ms": 100,
}


def own(k):
    return f"10.0.{k}.1"


def host(k, number=2):
    return f"10.0.{k}.{number}"


def far(k, number=1):
    return f"10.{100 + k}.{number >> 8}.{number & 255}"


def own6(k):
    return f"fd00:{k}::1"


def host6(k, number=2):
    return f"fd00:{k}::{number:x}"


def far6(k, number=1):
    return f"fd01:{k}::{number:x}"


_serial = itertools.count(1)
_mark = b""


def new_mark():
    return b"<p2pnic %07d>" % next(_serial)  # 16 bytes


def mark(length=16):
    """Payload by which a packet, its fragments and what quotes it are known."""
    global _mark
    _mark = new_mark()
    return Raw((_mark * (length // 16 + 1))[:length])


class Seen:
    """A frame that came back to host `port`."""

    def __init__(self, port, data):
        self.port, self.data = port, data
        self.frame = Ether(data)

    @property
    def ip(self):
        return self.frame.payload

    def word(self, addresses):
        ip = self.ip
        if getattr(ip, "src", None) in addresses:
            if isinstance(ip, IP) and ip.proto == 1:
                return "echo reply" if ip.payload.type == 0 else \
                    f"ICMP {ip.payload.type}/{ip.payload.code}"
            if isinstance(ip, IPv6) and ip.nh == 58:
                return "echo reply" if ip.payload.type == 129 else \
                    f"ICMPv6 {ip.payload.type}/{ip.payload.code}"
        return f"forwarded to h{self.port}"


class Dut(Network):
    """A Network of PORTS links whose router is not only p2pnic."""

    name = "file"
    answers = False  # ICMP, ARP, neighbour discovery

    def __init__(self):
        super().__init__(PORTS)
        self.kernel = self.namespaces[0]
        self.addresses = {a for k in range(1, PORTS + 1) for a in (own(k), own6(k))} | {
            f"fe80::ff:fe00:{k:x}01" for k in range(1, PORTS + 1)}
        self.seen = []

    @staticmethod
    def _config(nics, port, more):
        config = Network._config(nics, port, more)
        config["nics"][NARROW - 1]["mtu"] = NARROW_MTU
        config["neighbors"] += [{"nic": "nic1", "address": a, "mac": mac(1, 3)}
                                for a in (host(1, 3), host6(1, 3))]
        config["routes"] = [{"prefix": prefix, "via": via} for k in range(1, nics + 1)
                            for prefix, via in ((f"10.{100 + k}.0.0/16", host(k)),
                                                (f"fd01:{k}::/32", host6(k)))]
        config["nics"][1]["vlans"] = [{"id": VLAN, "addresses": ["10.48.0.1/24"]}]
        config["neighbors"].append({"nic": f"nic2.{VLAN}", "address": "10.48.0.2",
                                    "mac": mac(2, 2)})
        config["routes"].append({"prefix": "50.48.0.0/16", "via": "10.48.0.2"})
        return config

    # --- What the router is told ------------------------------------------------------------------

    def ip(self, *lines):
        """`ip` in the namespace of R's interfaces."""
        done = subprocess.run(["ip", "-n", self.kernel, "-batch", "-"], text=True, timeout=60,
                              input="\n".join(lines) + "\n", capture_output=True)
        assert done.returncode == 0, (lines, done.stderr)

    def ask(self, *words):
        done = run("ip", "-n", self.kernel, *words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def sysctl(self, key, value):
        """The value before."""
        with inside(self.kernel):
            with open(f"/proc/sys/{key}", encoding="utf8") as file:
                before = file.read().strip()
            with open(f"/proc/sys/{key}", "w", encoding="utf8") as file:
                file.write(str(value))
        return before

    @contextlib.contextmanager
    def set(self, **sysctls):
        """sysctls while it lasts; `__` stands for a slash."""
        before = {}
        try:
            for key, value in sysctls.items():
                before[key] = self.sysctl(key.replace("__", "/"), value)
            yield
        finally:
            for key, value in before.items():
                self.sysctl(key.replace("__", "/"), value)

    @contextlib.contextmanager
    def routes(self, *routes):
        """`ip route` adds them; they are gone behind it."""
        added = []
        try:
            for route in routes:
                self.ip(f"route add {route}")
                added.append(route)
            yield
        finally:
            for route in reversed(added):
                run("ip", "-n", self.kernel, "route", "del", *route.split())

    @contextlib.contextmanager
    def changed(self, *lines, undo=()):
        """`ip` lines, and what undoes them."""
        try:
            if lines:
                self.ip(*lines)
            yield
        finally:
            for line in undo:
                run("ip", "-n", self.kernel, *line.split())

    @contextlib.contextmanager
    def vlan(self):
        """VLAN 48 on link 2, and 50.48.0.0/16 behind it. The file has it; a kernel is told, if it
        knows VLANs."""
        if not self.answers:
            yield
            return
        done = run("ip", "-n", self.kernel, "link", "add", "link", "nic2", "name", f"nic2.{VLAN}",
                   "type", "vlan", "id", f"{VLAN}")
        if done.returncode:
            pytest.skip(f"the kernel has no 802.1Q: {done.stderr.strip()}")
        with self.changed(undo=[f"link del nic2.{VLAN}"]):
            self.ip(f"link set nic2.{VLAN} up", f"address add 10.48.0.1/24 dev nic2.{VLAN}",
                    f"neigh replace 10.48.0.2 dev nic2.{VLAN} lladdr {mac(2, 2)} nud permanent")
            with self.routes("50.48.0.0/16 via 10.48.0.2"):
                yield

    @contextlib.contextmanager
    def reverse_path(self, k, check):
        """Link k takes packets only with a way back: "loose" or "strict". The NIC's business."""
        nic = self.router.config["nics"][k - 1]
        try:
            nic["reverse_path"] = check
            self.router.write()
            self.router.reload()
            yield
        finally:
            del nic["reverse_path"]
            self.router.write()
            self.router.reload()

    def program(self):
        for key, value in SYSCTLS.items():
            self.sysctl(key, value)
        for k in range(1, PORTS + 1):
            for key, value in LINK_SYSCTLS.items():
                self.sysctl(key.format(f"nic{k}"), value)
            self.program_link(k)

    def program_link(self, k):
        """What lies beyond link k. What is there already stays."""
        self.ip(f"link set nic{k} up", f"address replace {own(k)}/24 dev nic{k}",
                f"address replace {own6(k)}/64 dev nic{k} nodad")
        eventually(lambda: "LOWER_UP" in self.ask("link", "show", f"nic{k}"),
                   what=f"carrier of nic{k}")
        self.ip(*(f"neigh replace {a} dev nic{k} lladdr {mac(k, end)} nud permanent"
                  for end in ((2, 3) if k == 1 else (2,)) for a in (host(k, end), host6(k, end))),
                f"route replace 10.{100 + k}.0.0/16 via {host(k)}",
                f"route replace fd01:{k}::/32 via {host6(k)}")

    def count(self, reason, _counter):
        """Packets dropped for the reason, as p2pnic names it; `_counter`: as Linux does."""
        return self.router.dropped().get(reason, 0)

    def kernel_count(self, counter):
        """Of the kernel's own, as /proc/net/snmp, netstat and snmp6 name it."""
        total = 0
        with inside(self.kernel):
            for name in ("snmp", "netstat"):
                with open(f"/proc/thread-self/net/{name}", encoding="utf8") as file:
                    lines = [line.split() for line in file]
                for names, values in zip(lines[::2], lines[1::2]):
                    total += sum(int(v) for n, v in zip(names[1:], values[1:])
                                 if names[0] + n == counter)
            with open("/proc/thread-self/net/snmp6", encoding="utf8") as file:
                total += sum(int(line.split()[1]) for line in file if line.split()[0] == counter)
        return total

    @contextlib.contextmanager
    def counted(self, reason, counter, packets=1):
        before = self.count(reason, counter)
        yield
        eventually(lambda: self.count(reason, counter) >= before + packets,
                   what=f"{packets} counted as {reason}")

    # --- What hosts send and see ------------------------------------------------------------------

    @staticmethod
    def frame(port, packet, **ether):
        """From host `port` to R."""
        return Ether(**{"src": mac(port, 2), "dst": mac(port), **ether}) / packet

    def collect(self, seconds=0):
        """Frames that come within the time; those that are there are taken at once."""
        found = []
        files = {w.socket: k for k, w in self.wire.items()}
        for ready in select.select(list(files), [], [], seconds)[0]:
            with contextlib.suppress(OSError):  # the link is down, once each time
                found += [(files[ready], data) for data in self.wire[files[ready]].pending()]
        self.seen += found
        return found

    def wait(self, condition, seconds=SETTLE, what="frame"):
        """The first frame so far for which condition(port, data), or None."""
        at, deadline = 0, time.monotonic() + seconds
        while True:
            for port, data in self.seen[at:]:
                if condition(port, data):
                    return Seen(port, data)
            at = len(self.seen)
            left = deadline - time.monotonic()
            if left < 0:
                return None
            self.collect(min(left, 1))

    def fence(self, port):
        """Returns when all that host `port` sent before has had its effect: packets behind it went
        out by every link, and those that R itself answers were answered."""
        number = next(_serial) % 60000 + 2
        out = {}

        def awaited(mark_, at, packet):
            out[mark_] = (at, raw(self.frame(port, packet / Raw(mark_))))

        for k in range(1, PORTS + 1):
            if k != port or not self.answers:  # there the answers are enough
                awaited(new_mark(), k, IP(src=far(port, number), dst=far(k)) / UDP(dport=9))
        if self.answers:
            awaited(new_mark(), port, IP(src=far(port, number), dst=far(port), ttl=1) / UDP())
            awaited(new_mark(), port, IPv6(src=far6(port, number), dst=far6(port), hlim=1) / UDP())
            awaited(new_mark(), port, IP(src=host(port), dst=own(port)) / ICMP())
            awaited(new_mark(), port, IPv6(src=host6(port), dst=own6(port)) / ICMPv6EchoRequest())
        deadline = time.monotonic() + SETTLE
        while out:
            for _, data in out.values():  # once more: the fence itself may be policed
                self.wire[port].send(data)
            again = time.monotonic() + 1
            while out and time.monotonic() < again:
                for k, data in self.collect(again - time.monotonic()):
                    for mark_ in [m for m, (at, _) in out.items() if at == k and m in data]:
                        del out[mark_]
            assert not out or time.monotonic() < deadline, \
                f"never came back to h{port}: {[Ether(d).summary() for _, d in out.values()]}"

    def probe(self, port, packet, **ether):
        """Sends the packet (or frame) and returns what came of it, at any host."""
        frame = packet if isinstance(packet, (Ether, bytes)) else self.frame(port, packet, **ether)
        self.seen.clear()
        self.wire[port].send(raw(frame))
        self.fence(port)
        return self.marked()

    def marked(self, by=None):
        return [Seen(port, data) for port, data in self.seen if (by or _mark) in data]

    def words(self, seen):
        """What came of a packet, in words."""
        return ", ".join(sorted({s.word(self.addresses) for s in seen})) or "silence"

    def outcome(self, port, packet, **ether):
        return self.words(self.probe(port, packet, **ether))

    def becomes(self, want, port, make, seconds=SETTLE, **ether):
        """The outcome of make(), once it is `want`, or in the end: what changes R takes effect by
        and by."""
        deadline = time.monotonic() + seconds
        while (seen := self.outcome(port, make(), **ether)) != want and \
                time.monotonic() < deadline:
            time.sleep(0.05)
        return seen

    def in_force(self, prefix):
        """Returns when R itself forwards by a route that the kernel has: until then a packet may be
        the kernel's, which forwards it too, but not many in a second."""

    def settle(self):
        """Returns when what the kernel was told before is in force."""
        port = 3
        with self.routes(f"50.250.0.0/16 via {host(port)}"):
            def packet():
                return IP(src=far(1), dst="50.250.0.1") / UDP() / mark()
            assert self.becomes(f"forwarded to h{port}", 1, packet) == f"forwarded to h{port}"
            self.in_force("50.250.0.0/16")

    def arp_reply(self, port, address, sender=None, **ether):
        """Host `port` says by ARP that the address is at its MAC."""
        sender = sender or mac(port, 2)
        self.wire[port].send(raw(Ether(**{"src": mac(port, 2), "dst": mac(port), **ether}) / ARP(
            op=2, hwsrc=sender, psrc=address, hwdst=mac(port), pdst=own(port))))


class Linux(Dut):
    name = "linux"
    answers = True

    def start(self):
        self.ip(f"link set nic{NARROW} mtu {NARROW_MTU}")
        self.program()
        return self

    def reverse_path(self, k, check):
        return self.set(**{f"net__ipv4__conf__nic{k}__rp_filter": 1 if check == "strict" else 2})

    def count(self, _reason, counter):
        return float("inf") if counter is None else self.kernel_count(counter)  # None: nowhere


class P2pnic(Dut):
    name = "p2pnic"
    answers = True

    def __init__(self):
        super().__init__()
        try:
            self.kernel = f"{self.prefix}-k"
            subprocess.run(["ip", "netns", "add", self.kernel], check=True, timeout=60)
            self.namespaces.append(self.kernel)
        except BaseException:
            self.close()
            raise
        self.router.config = {"router": self.router.config["router"], "nics": [
            {k: v for k, v in nic.items() if k not in ("addresses", "vlans")} for nic in
            self.router.config["nics"]], "kernel": {"namespace": self.kernel}}
        self.router.write()

    def start(self):
        super().start()
        for k in range(1, PORTS + 1):
            eventually(lambda k=k: run("ip", "-n", self.kernel, "link", "show",
                                       f"nic{k}").returncode == 0, what=f"tap nic{k}")
        self.program()
        return self

    def in_force(self, prefix):
        eventually(lambda: any(row["prefix"] == prefix for row in self.router.show("route")),
                   what=f"{prefix} in the NICs")


DUTS = {dut.name: dut for dut in (Dut, Linux, P2pnic)}
