# SPDX-License-Identifier: BSD-3-Clause
"""Carrier loss: how long, and how many packets, until the NICs by themselves send by another path.
The router is stopped (SIGSTOP) meanwhile.

    generator ─▶ NIC 1 ═▶ NIC 2 ─▶ path A     its carrier goes
                       ═▶ NIC 3 ─▶ path B

    /usr/bin/python3 bench/failover.py [--rate PACKETS] [--runs N] [--port af_packet|af_xdp]…

Two ways to take the carrier away: of a tap, by the one ioctl that does nothing else (TUNSETCARRIER;
NIC 2's port is on the tap), and of a veth, by setting its other end down, for which the kernel
takes some 10 to 40 ms, the first part of it with the carrier still there and nobody at the end. So
the clock starts where the kernel says that the carrier is lost (RTM_NEWLINK, read by a listener of
the measurement's own), and for the tap at the ioctl, too. It ends at the first packet on path B, by
the kernel's time stamp. Then the carrier comes back, and the same is measured to the first packet
on path A. Lost: numbers that came by neither path.

One engine for all NICs on processor 1; generator, listener and kernel work on processor 0. As root.
"""
import argparse
import fcntl
import json
import os
import signal
import socket
import statistics
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "system"))
from network import Network, inside, mac, not_permitted, processes_of, run  # noqa: E402

TUNSETIFF, TUNSETCARRIER, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x400454ca, 0x400454e2, 0x8913, 0x8914
SO_TIMESTAMPNS, RTMGRP_LINK, IFF_UP, IFF_RUNNING = 35, 1, 1, 0x40
ROUTES = [{"prefix": "10.9.0.0/16", "next_hops": [{"via": "10.0.2.2"}, {"via": "10.0.3.2"}]}]


def now():
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def child(core, work):
    """Runs work(write) in a process of its own; what it wrote is read from the descriptor."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        work(into)
        os._exit(0)
    os.close(into)
    return pid, os.fdopen(out, encoding="utf8")


class Listener:
    """When the kernel said that the link was lost or there again: [(time, running)]."""

    def __init__(self, namespace, interface):
        with inside(namespace):
            self.index = socket.if_nametoindex(interface)
            self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            self.netlink.bind((0, RTMGRP_LINK))
        self.pid, self.out = child(0, self._listen)

    def _listen(self, into):
        before = True
        while True:
            data = self.netlink.recv(65536)
            at = now()
            index, flags = struct.unpack_from("=iI", data, 20)
            running = bool(flags & IFF_RUNNING)
            if index == self.index and running != before:
                before = running
                os.write(into, f"{at} {int(running)}\n".encode())

    def next(self):
        at, running = self.out.readline().split()
        return int(at), int(running)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.out.close()
        self.netlink.close()


class TapPath:
    """Path A behind a tap, which has room for all frames of a run; they have no time stamp."""

    def __init__(self, network):
        self.network = network
        with inside(network.namespaces[0]):
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", b"tap2", 0x1002))  # TAP, NO_PI
        run("ip", "-n", network.namespaces[0], "link", "set", "tap2", "txqueuelen", "400000")
        self.interface = "tap2"

    def carrier(self, on):
        fcntl.ioctl(self.fd, TUNSETCARRIER, struct.pack("i", on))

    def arrived(self):
        numbers = []
        while True:
            try:
                note(numbers, os.read(self.fd, 2048), 0)
            except BlockingIOError:
                return numbers

    def close(self):
        os.close(self.fd)


class VethPath:
    """Path A behind a veth; the frames wait in a packet socket."""

    def __init__(self, network):
        self.network = network
        self.socket = capture(network.namespaces[2])
        self.interface = "nic2"

    def carrier(self, on):
        pid = os.fork()
        if pid == 0:
            os.sched_setaffinity(0, {0})
            with inside(self.network.namespaces[2]):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                    name = struct.pack("16s24x", b"eth0")
                    flags = struct.unpack_from("H", fcntl.ioctl(asker, SIOCGIFFLAGS, name), 16)[0]
                    flags = flags | IFF_UP if on else flags & ~IFF_UP
                    fcntl.ioctl(asker, SIOCSIFFLAGS, struct.pack("16sH22x", b"eth0", flags))
            os._exit(0)

    def arrived(self):
        return captured(self.socket)

    def close(self):
        self.socket.close()


def note(numbers, frame, at):
    if frame[42:46] == b"fail":
        numbers.append((struct.unpack_from("=Q", frame, 46)[0], at))


def capture(namespace):
    with inside(namespace):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        end.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        end.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        end.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
        end.bind(("eth0", 3))
        end.setblocking(False)
    return end


def captured(end):
    numbers = []
    while True:
        try:
            frame, control, _, _ = end.recvmsg(2048, 128)
        except BlockingIOError:
            return numbers
        except OSError:  # told once that the link is down
            continue
        seconds, rest = struct.unpack("=qq", control[0][2][:16])
        note(numbers, frame, seconds * 10**9 + rest)


def frame_of(flow):
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 46, 0, 0, 64, 17, 0, bytes((10, 0, 1, 2)),
                     bytes((10, 9, 0, 1)))
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xffff) + ip[12:]
    ethernet = bytes.fromhex(mac(1).replace(":", "") + mac(1, 2).replace(":", "") + "0800")
    return ethernet + ip + struct.pack(">HHHH", 1024 + flow, 9, 26, 0) + b"fail"


class Generator:
    """Numbered frames of one flow at a rate."""

    def __init__(self, network):
        self.wire, self.head, self.sent = network.wire[1], b"", []

    def run(self, rate, seconds, events=()):
        """events: [(seconds, function)], in order."""
        send, step, pad = self.wire.socket.send, 10**9 / rate, b"\0" * 6
        events = list(events)
        sent = self.sent = []
        start = time.monotonic_ns()
        count, total = 0, int(rate * seconds)
        while count < total:
            behind = (time.monotonic_ns() - start) / step - count
            if behind < 0:
                os.sched_yield()
                continue
            if events and count >= events[0][0] * rate:
                events.pop(0)[1]()
            # Late, for whatever reason: not more at once than a ring takes.
            for _ in range(min(int(behind) + 1, 32)):
                sent.append(now())
                send(self.head + struct.pack("=Q", count) + pad)
                count += 1


def one_run(network, path, b, rate):
    """Times in milliseconds; None: the flow never went by path A."""
    listener = Listener(network.namespaces[0], path.interface)
    generator = Generator(network)
    at = {}
    path.arrived()

    def switch(on):
        at[on] = now()
        path.carrier(on)
    try:
        for flow in range(64):  # one that goes by path A
            generator.head = frame_of(flow)
            generator.run(1000, 0.005)
            time.sleep(0.03)
            if path.arrived():
                break
        else:
            return None
        captured(b)
        # Linux tells of a lost carrier at most once a second: wait for that to be over.
        time.sleep(1.5)
        generator.run(rate, 3, [(0.5, lambda: switch(0)), (2, lambda: switch(1))])
        time.sleep(0.3)
        lost_at, up = listener.next()
        assert not up
        back_at, up = listener.next()
        assert up
    finally:
        listener.close()
    by_a, by_b = path.arrived(), captured(b)
    first_b = min(by_b)
    again_a = min(n for n in by_a if n[0] > first_b[0])
    last_a = max(n for n in by_a if n[0] < again_a[0] and n[0] < max(by_b)[0])
    numbers = {n for n, _ in by_a} | {n for n, _ in by_b}
    sent = generator.sent
    lost = [n for n in range(len(sent)) if n not in numbers]
    split = (first_b[0] + again_a[0]) // 2
    return {
        "event_to_b_ms": (first_b[1] - lost_at) / 1e6,
        "trigger_to_event_ms": (lost_at - at[0]) / 1e6,
        "last_a_to_b_ms": (sent[first_b[0]] - sent[last_a[0]]) / 1e6,
        "lost": sum(n < split for n in lost),
        "lost_after_event": sum(n < split and sent[n] > lost_at for n in lost),
        "back_event_to_a_ms": (sent[again_a[0]] - back_at) / 1e6,
        "lost_back": sum(n >= split for n in lost),
        "sent": len(sent),
    }


def engine_first(network):
    """The engine does not give way to others."""
    for pid in processes_of(network.directory):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm", encoding="utf8") as file:
                if file.read().startswith("engine-"):
                    os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(1))


def measure(port, trigger, rate, runs):
    network = Network(3, port=port, routes=ROUTES)
    path = b = None
    try:
        path = TapPath(network) if trigger == "tap" else VethPath(network)
        config = network.router.config
        config["engines"] = [{"name": "all", "core": 1}]
        for nic in config["nics"]:
            nic["engine"] = "all"
        config["nics"][1]["port"]["target"] = path.interface
        if trigger == "tap":
            config["nics"][1]["mac"] = mac(2)
        network.router.write()
        network.start()
        engine_first(network)
        b = capture(network.namespaces[3])
        os.sched_setaffinity(0, {0})
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        os.kill(network.router.process.pid, signal.SIGSTOP)
        return [row for row in (one_run(network, path, b, rate) for _ in range(runs)) if row]
    finally:
        if network.router.process:
            os.kill(network.router.process.pid, signal.SIGCONT)
        os.sched_setaffinity(0, {0, 1})
        network.close()
        for end in (path, b):
            if end:
                end.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rate", type=int, default=20000, help="packets a second")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--port", action="append", choices=("af_packet", "af_xdp"))
    parser.add_argument("--trigger", action="append", choices=("tap", "veth"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("failover: terminated"))
    reason = not_permitted()
    if reason or os.cpu_count() < 2:
        sys.exit(f"failover: skipped: {reason or 'two processors wanted'}")
    for port in options.port or ("af_packet", "af_xdp"):
        for trigger in options.trigger or ("tap", "veth"):
            rows = measure(port, trigger, options.rate, options.runs)
            if options.json:
                print(json.dumps({"port": port, "trigger": trigger, "rate": options.rate,
                                  "runs": rows}))
                continue
            print(f"{port} on {trigger}, {options.rate} packets/s:")
            for key in rows[0]:
                values = sorted(row[key] for row in rows)
                print(f"  {key:20} median {statistics.median(values):10.3f}   "
                      f"{values[0]:.3f} to {values[-1]:.3f}")


if __name__ == "__main__":
    main()
