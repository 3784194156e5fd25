#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a router must endure, longer and harder than the system tests ask for it: minutes of it,
with figures.

    make endurance [ROWS="process churn"]

    process   the router is killed, stopped for a minute and replaced, under a stream, with BFD
    churn     10,000 route changes a second for a minute
    floods    expired packets, ARP requests and scans of a /8 and a /64 as fast as a host sends them
    fragments packets above the MTU of the next link that may be fragmented, likewise

Two routers with a kernel and FRR each, a host behind each (tests/system/routers.py). A row begins
with what must hold. BFD sends every 100 ms, and three lost ones end the session: on a machine whose
processors are all taken by others, bfdd itself may be late.
"""

import argparse
import os
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from network import P2PNIC, eventually, inside, not_permitted, processes_of, run  # noqa: E402
from routers import LATE, Datagrams, two_routers, wait_for  # noqa: E402

BFD_MS = 100
BYTES = 1200  # of a datagram
RATE = 50e6 / 8 / BYTES  # 50 Mb/s


class Stream(Datagrams):
    """Datagrams that are read as they come: more than a socket holds."""
    SIZE = BYTES

    def __init__(self, source, target, address, rate=RATE):
        super().__init__(source, target, address, rate)
        self.reader = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        while not self.ending.is_set():
            try:
                self.arrived.append(int.from_bytes(self.receiver.recv(2048)[-8:], "big"))
            except TimeoutError:
                pass

    def __enter__(self):
        self.reader.start()
        return super().__enter__()

    def __exit__(self, *error):
        self.ending.set()
        self.reader.join()
        super().__exit__(*error)


def frr_with_bfd(pair):
    for number, router in enumerate(pair.routers, 1):
        router.frr(["bgpd", "bfdd"], f"""
router bgp 6500{number}
 bgp router-id 10.0.0.{number}
 no bgp ebgp-requires-policy
 timers bgp 1 5
 neighbor 10.9.0.{3 - number} remote-as external
 neighbor 10.9.0.{3 - number} timers connect 1
 neighbor 10.9.0.{3 - number} bfd profile fast
 address-family ipv4 unicast
  redistribute connected
 exit-address-family
bfd
 profile fast
  detect-multiplier 3
  transmit-interval {BFD_MS}
  receive-interval {BFD_MS}
""")
    a, b = pair.routers
    wait_for(a, "10.2.0.0/24")
    wait_for(b, "10.1.0.0/24")
    for router in pair.routers:
        eventually(lambda router=router: sessions(router)[0], LATE, "BFD up")
    eventually(lambda: pair.hosts[0].reaches("10.2.0.2"), LATE, "h2")


def sessions(router):
    """(sessions that are up, how often one has gone down)"""
    up = [p for p in router.frr_shows("bfdd", "bfd peers") if p["status"] == "up"]
    return len(up), sum(c["session-down"] for c in
                        router.frr_shows("bfdd", "bfd peers counters"))


def losses(routers):
    """Packets that NICs lost for want of room, or of time."""
    reasons = ("ring-full", "no-buffer", "port", "stale", "no-peer", "link-down")
    return sum(row["packets"] for r in routers for row in r.router.show("drop")
               if row["reason"] in reasons) + sum(
        row["missed"] for r in routers for row in r.router.show("port")
        if (r, row["nic"]) != (routers[0], "nic1"))  # what the flood enters by


def softnet_drops():
    with open("/proc/net/softnet_stat", encoding="utf8") as stat:
        return sum(int(line.split()[1], 16) for line in stat)


def resident(router):
    """MiB of the router's process."""
    with open(f"/proc/{router.router.process.pid}/status", encoding="utf8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


class Row:
    """One row of the table; what does not hold is marked."""

    def __init__(self, name, must):
        self.name, self.must, self.seen, self.failed = name, must, [], False

    def note(self, text, holds=True):
        self.seen.append(text if holds else f"**{text}**")
        self.failed |= not holds

    def streams(self, *streams):
        lost = sum(s.lost() for s in streams)
        self.note(f"{lost} of {sum(s.sent for s in streams)} datagrams lost", not lost)

    def transit(self, stream, routers, before):
        """What is lost must be lost elsewhere: in the queue of a processor (softnet) that all links
        of this machine share."""
        lost, inside = stream.lost(), losses(routers) - before[0]
        self.note(f"{lost} of {stream.sent} datagrams lost", not lost or not inside)
        if lost:
            self.note(f"of those in the NICs {inside}; this machine's kernel dropped "
                      f"{softnet_drops() - before[1]} of all frames between links", not inside)

    def bfd(self, pair, before):
        downs = sum(sessions(r)[1] for r in pair.routers) - before
        self.note(f"BFD down {downs} times", not downs)

    def __str__(self):
        return f"| {self.name} | {self.must} | {'; '.join(self.seen)} |"


def process(pair, seconds):
    row = Row("process", f"router killed, stopped {seconds} s, replaced, 50 Mb/s, BFD {BFD_MS} ms "
              "x 3: nothing lost, no session down")
    a, b = pair.routers
    h1, h2 = pair.hosts
    frr_with_bfd(pair)
    before = sum(sessions(r)[1] for r in pair.routers)
    with Stream(h1, h2, "10.2.0.2") as stream:
        time.sleep(1)
        a.router.kill()
        time.sleep(3)
        a.start()
        time.sleep(1)
        for router in (a, b):
            os.kill(router.router.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        for router in (a, b):
            os.kill(router.router.process.pid, signal.SIGCONT)
        b.router.kill()
        b.start()
        wait_for(a, "10.2.0.0/24")
        time.sleep(1)
    row.streams(stream)
    row.bfd(pair, before)
    return row


# --- Route changes --------------------------------------------------------------------------------

RTM_NEWROUTE, NLM_F_REQUEST, NLM_F_REPLACE, NLM_F_CREATE = 24, 1, 0x100, 0x400


def route_message(prefix, gateway, index):
    """A replacement of the route to prefix/32 (rtnetlink(7))."""
    def attribute(kind, data):
        return struct.pack("=HH", 4 + len(data), kind) + data
    body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 254, 4, 0, 1, 0)  # main, static, unicast
    body += attribute(1, prefix) + attribute(5, gateway) + attribute(4, struct.pack("=I", index))
    return struct.pack("=IHHII", 16 + len(body), RTM_NEWROUTE,
                       NLM_F_REQUEST | NLM_F_REPLACE | NLM_F_CREATE, 0, 0) + body


def change_routes(router, rate, seconds):
    """By turns through either link: how many changes."""
    with inside(router.kernel):
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        index = [socket.if_nametoindex(f"nic{k}") for k in (1, 2)]
    gateway = [socket.inet_aton("10.1.0.2"), socket.inet_aton("10.9.0.2")]
    each = 100  # messages a send
    batches = [b"".join(route_message(struct.pack(">I", 0x0a320000 + at + k), gateway[way],
                                      index[way]) for k in range(each))
               for way in (0, 1) for at in range(0, 5000, each)]
    start, made = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        if made >= (time.monotonic() - start) * rate:
            time.sleep(0.002)
            continue
        netlink.send(batches[made // each % len(batches)])
        made += each
    netlink.close()
    return made


def churn(pair, seconds, rate=10000):
    row = Row("churn", f"{rate} route changes a second for {seconds} s: nothing lost where the "
              "next hop stays; NICs equal kernel at the end")
    a = pair.routers[0]
    h1, h2 = pair.hosts
    frr_with_bfd(pair)
    before = sum(sessions(r)[1] for r in pair.routers)
    with Stream(h1, h2, "10.2.0.2", RATE / 5) as stream:
        start = time.monotonic()
        made = change_routes(a, rate, seconds)
        took = time.monotonic() - start
        behind = time.monotonic()
        eventually(lambda: run(P2PNIC, "show", "route", "--check", "--runtime",
                               a.router.runtime).returncode == 0, LATE, "no drift")
        behind = time.monotonic() - behind
    row.note(f"{made / took:.0f} changes a second")
    row.streams(stream)
    row.bfd(pair, before)
    row.note(f"no difference {behind:.1f} s after the last one")
    return row


# --- Floods ---------------------------------------------------------------------------------------

def blast(host, count, frames):
    """Frames out of the host's eth0, as fast as it sends."""
    with inside(host.namespace):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("eth0", 0))
    for number in range(count):
        wire.send(frames[number % len(frames)])
    wire.close()


def floods(pair, seconds):
    from scapy.all import ARP, IP, UDP, Ether, IPv6, raw
    row = Row("floods", "10,000 packets with TTL 1 at once, ARP storm, scan of a connected /8 and "
              "/64: nothing lost, BFD up, zebra alive, neighbours below gc_thresh3, memory bounded")
    a = pair.routers[0]
    h1, h2 = pair.hosts
    frr_with_bfd(pair)
    a.ip("address", "add", "20.0.0.1/8", "dev", "nic1")
    wait_for(a, "20.0.0.0/8")
    zebra = a.daemons[0].process
    before = sum(sessions(r)[1] for r in pair.routers)
    memory, most = resident(a), 0
    lost = losses(pair.routers), softnet_drops()
    to = Ether(dst=a.mac(1), src=h1.run("cat", "/sys/class/net/eth0/address").stdout.strip())
    kinds = {
        "TTL": [raw(to / IP(src="10.1.0.2", dst="10.2.0.2", ttl=1) / UDP(sport=k, dport=9) /
                    bytes(20)) for k in range(256)],
        "ARP": [raw(Ether(dst="ff:ff:ff:ff:ff:ff", src=to.src) /
                    ARP(psrc="10.1.0.2", pdst="10.1.0.1", hwsrc=to.src) / bytes(18))],
        "/8": [raw(to / IP(src="10.1.0.2", dst=f"20.{k % 251}.{k % 241}.{k % 239}") /
                   UDP(sport=9, dport=9) / bytes(20)) for k in range(1000, 21000)],
        "/64": [raw(to / IPv6(src="fd01::2", dst=f"fd01::{k:x}:{k * 7 % 65521:x}") /
                    UDP(sport=9, dport=9) / bytes(20)) for k in range(1, 20001)]}
    # The other way: what a host sends too fast it loses itself, at the port that it enters by.
    with Stream(h2, h1, "10.1.0.2", RATE / 5) as stream:
        for name, frames in kinds.items():
            start = time.monotonic()
            while time.monotonic() - start < seconds / len(kinds):
                blast(h1, 10000, frames)
                most = max(most, len(a.ip("neigh", "show").splitlines()) +
                           len(a.ip("-6", "neigh", "show").splitlines()))
                if name == "TTL":  # "at once", then what a second holds
                    time.sleep(0.5)
        time.sleep(1)
    row.transit(stream, pair.routers, lost)
    row.bfd(pair, before)
    row.note("zebra alive" if zebra.poll() is None else "zebra dead", zebra.poll() is None)
    row.note(f"at most {most} neighbours", most < 1024)
    grown = resident(a) - memory
    row.note(f"router {memory:.0f} MiB, {grown:.1f} more at the end", grown < 16)
    return row


# --- Fragments ------------------------------------------------------------------------------------

def seconds_of(pid):
    """Of processor time that a process has taken."""
    with open(f"/proc/{pid}/stat", encoding="utf8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def punt_of(router):
    """The pid of a router's punt."""
    for pid in processes_of(router.directory):
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            if b"\0punt\0" in command.read():
                return pid
    raise AssertionError("no punt")


def fragments(pair, seconds):
    row = Row("fragments", "1500 bytes over a link of 1400 without DF, as fast as a host sends: "
              "the kernel fragments at the rate of its class, nothing else is lost")
    h1, h2 = pair.hosts
    frr_with_bfd(pair)
    for router in pair.routers:
        router.ip("link", "set", "nic2", "mtu", "1400")
    sender = h1.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
    receiver = h2.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    receiver.bind(("10.2.0.2", 0))
    receiver.settimeout(0.5)
    sender.connect(receiver.getsockname())
    punt = punt_of(pair.routers[0])
    before, sent, arrived = sum(sessions(r)[1] for r in pair.routers), 0, 0
    with Stream(h2, h1, "10.1.0.2", RATE / 5) as stream:
        start, busy = time.monotonic(), seconds_of(punt)
        while time.monotonic() - start < seconds:
            sender.send(bytes(1472))
            sent += 1
        took, busy = time.monotonic() - start, seconds_of(punt) - busy
        try:
            while receiver.recv(2048):
                arrived += 1
        except TimeoutError:
            pass
    row.note(f"{arrived / took:.0f} of {sent / took:.0f} a second arrive, whole", arrived > 0)
    row.note(f"{100 * busy / took:.1f} % of a processor for punt")
    row.streams(stream)
    row.bfd(pair, before)
    return row


ROWS = {f.__name__: f for f in (process, churn, floods, fragments)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="of each row (60)")
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="all, unless named")
    arguments = parser.parse_args()
    reason = not_permitted()
    if reason:
        print(f"endurance: not run: {reason}")
        return 0
    rows = []
    for name in arguments.rows or ROWS:
        print(f"endurance: {name}", file=sys.stderr, flush=True)
        with two_routers() as pair:
            rows.append(ROWS[name](pair, arguments.seconds))
    print("| row | must | seen |\n|---|---|---|")
    print("\n".join(map(str, rows)))
    failed = sum(r.failed for r in rows)
    print(f"endurance: {len(rows) - failed} rows hold, {failed} do not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
