#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""`make test-zero-copy`: a router's AF_XDP ports without a copy, in a stock Linux guest.

    tests/vm/zero_copy.py build-vm

The guest's network cards are emulated by QEMU, and their drivers can do it; the router's soft NICs
run in the guest. This process is the wire of each card; QEMU keeps what either side has not taken
yet, so that a wire loses nothing. Exit status 77: not run, and why.
"""

import contextlib
import json
import os
import socket
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm  # noqa: E402
from machine import VM, ZERO_COPY, ZERO_COPY_KERNEL, Guest, begin  # noqa: E402
from vm import LOST, NICS, PAIRS, PER_PAIR, eventually, frame, mac, text_of  # noqa: E402

MODULES = ["virtio_net"]
CARD = {"driver": "virtio-net-pci", "iommu_platform": True, "disable-legacy": "on"}
# One card looks for frames to send every 20 ms, and its port's rings are small: under load, frames
# wait in the transmit ring until the completion ring has room.
SLOW, SLOW_CARD = 1, {"tx": "timer", "x-txtimer": 20_000_000}
SLOTS = 64
FLAPS = 3
SINGLE = 24
HALT = 100
PAGE_MTU = 3840 - 26  # Linux wants room for two tags and the FCS, too (xp_assign_dev)


class Wire:
    """The other end of a card: a datagram is a frame."""

    def __init__(self):
        self.own, self.qemu = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.own.setblocking(False)
        self.out = []

    def _push(self):
        with contextlib.suppress(BlockingIOError):
            while self.out:
                self.own.send(self.out[0])
                self.out.pop(0)

    def send(self, frame):
        self.out.append(frame)
        self._push()

    def receive(self):
        self._push()
        with contextlib.suppress(BlockingIOError):
            return self.own.recv(65536)
        return None

    def close(self):
        self.own.close()


def configuration(mtu=1500, forced=True):
    """forced: the mode; but one NIC finds it by itself."""
    text = "router: {name: vm, ring_slots: 64}\n" if mtu > 1500 else "router: {name: vm}\n"
    text += "engines: [{name: e}]\nnics:\n"
    for n in range(NICS):
        options = ["mode=zero-copy"] * (forced and n > 0) + [f"transmit-ring={SLOTS}"] * (n == SLOW)
        options = f"options: '{','.join(options)}', " if options else ""
        text += f"  - {{name: n{n}, engine: e, mtu: {mtu}, addresses: [10.0.{n}.1/24], " \
                f"port: {{type: af_xdp, {options}target: eth{n}}}}}\n"
    text += "neighbors:\n"
    for n in range(NICS):
        text += f"  - {{nic: n{n}, address: 10.0.{n}.2, mac: \"{text_of(mac(n, 2))}\"}}\n"
    return text


class Bench(vm.Bench):
    full = 0  # how often a completion ring was seen full while frames waited to be sent

    def _open(self, folder, build, program):
        self.wires = [Wire() for n in range(NICS)]
        ends, devices = [wire.qemu.fileno() for wire in self.wires], []
        for n, end in enumerate(ends):
            # A hub between card and wire, with a place where nobody is: so the hub never says that
            # it can take no more, but keeps up to 10,000 frames. A virtio-net whose wire takes
            # none, and whose queue is reset then, ends QEMU 11.1 by an assertion
            # (flush_or_purge_queued_packets).
            devices += ["-netdev", f"dgram,id=d{n},local.type=fd,local.str={end}",
                        "-netdev", f"hubport,id=p{n},hubid={n},netdev=d{n}",
                        "-netdev", f"hubport,id=nobody{n},hubid={n}",
                        "-netdev", f"hubport,id=w{n},hubid={n}",
                        "-device", f"pcie-root-port,id=r{n},chassis={n + 1},slot={n + 1}",
                        "-device", json.dumps(self.card(n))]
        os.mkdir(f"{folder}/vm")
        self.machine = Guest(f"{folder}/vm", [program, f"{build}/tests/xsk"], devices,
                             f"{ZERO_COPY}/guest", MODULES, "rcupdate.rcu_expedited=1", ends)
        for wire in self.wires:
            wire.qemu.close()
        for which in "all", "default":  # the kernel says nothing of its own
            self.machine.run(f"echo 1 >/proc/sys/net/ipv6/conf/{which}/disable_ipv6")
        self.machine.put("/tmp/p2pnic.yaml", configuration())

    @staticmethod
    def card(n):
        slow = SLOW_CARD if n == SLOW else {}
        return {**CARD, **slow, "id": f"n{n}", "netdev": f"w{n}", "bus": f"r{n}",
                "mac": text_of(mac(n))}

    def ready(self):
        """All links are up, and all ports without a copy: so the router says, and the kernel."""
        def ports():
            try:
                return all(row["link"] and row["mode"].startswith("zero-copy")
                           for row in self.show("port"))
            except ValueError:
                return False
        eventually(ports, "zero-copy", 40,
                   lambda: self.machine.run("p2pnic show port --name vm; cat /tmp/router.log",
                                            fails=True))
        assert self.sockets() == ["zero-copy"] * NICS, self.sockets()

    def says(self, what):
        """From now on: others may say something after it."""
        def said():
            return self.machine.run("cat /tmp/router.log").count(what)
        before = said()
        return lambda: said() > before

    def pid(self):
        return self.show("nic")[0]["pid"]

    def dropped(self):
        return sum(sum(row["dropped"].values()) for row in self.show("counter"))

    def put_back(self):
        try:
            self.machine.monitor("device_add", **self.card(3))
            return True
        except AssertionError as why:
            assert "Duplicate" in str(why) or "in use" in str(why), why
            return False

    def sockets(self):
        said = self.machine.run(f"xsk {self.pid()}")
        return [line.split()[0] for line in said.splitlines()]

    def halt(self, pid):
        """The slow card has sent what it had, long before the process goes on."""
        said = self.machine.run(f"kill -STOP {pid}; usleep 50000; xsk {pid}; kill -CONT {pid}")
        self.full += said.count(f"zero-copy {SLOTS} {SLOTS} ")


# --- What is shown --------------------------------------------------------------------------------

def mode(bench):
    """the router starts; its ports are zero-copy, asked for or found"""
    bench.start_router()
    bench.ready()


def bytes_and_order(bench):
    """every frame of 12 pairs arrives, byte for byte and in order"""
    bench.exchange(range(PER_PAIR))
    bench.check_counters()


def one_by_one(bench):
    """frames one at a time: the engine sleeps between them, and the driver wants to be woken"""
    for number in range(SINGLE):
        bench.exchange([number], PAIRS[number % len(PAIRS):][:1])
    said = bench.machine.run(f"xsk {bench.pid()}")
    assert said.count("wakeup") == NICS, said
    bench.check_counters()


def links(bench):
    """a link goes and comes back, three times: other pairs do not notice"""
    others = [pair for pair in PAIRS if 2 not in pair]
    for _ in range(FLAPS):
        before = bench.dropped()
        went, came = (bench.says(f"nic n2: link {way}") for way in ("down", "up"))
        bench.machine.monitor("set_link", name="n2", up=False)
        eventually(went, "word of the link that went")
        for number in range(LOST):
            bench.wires[0].send(frame(0, 2, number))
        bench.exchange(range(100), others)
        eventually(lambda: bench.dropped() - before == LOST,  # noqa: B023
                   "count of what was lost", 20, lambda: bench.show("counter"))
        bench.machine.monitor("set_link", name="n2", up=True)
        eventually(came, "word of the link that came")
        bench.ready()
        bench.exchange(range(100))
    bench.check_counters()


def away(bench):
    """a card is taken out and put back: the port waits for it, and is zero-copy again"""
    others = [pair for pair in PAIRS if 3 not in pair]
    went, came = (bench.says(f"nic n3: link {way}") for way in ("down", "up"))
    bench.machine.monitor("device_del", id="n3")
    eventually(went, "word of the interface that went")
    bench.exchange(range(100), others)
    eventually(bench.put_back, "the card's place free again")
    eventually(lambda: "eth3" in bench.machine.run("ls /sys/class/net"), "the interface")
    bench.machine.run("ip link set eth3 up")
    eventually(came, "word of the interface that came")
    bench.ready()
    bench.exchange(range(100))
    bench.check_counters()


def halted(bench):
    """the NICs' process stands still in bursts larger than the rings: a completion ring is full"""
    def meanwhile():
        nonlocal steps
        steps += 1
        if steps % HALT == 0:
            bench.halt(pid)
    steps, pid = 0, bench.pid()
    bench.exchange(range(PER_PAIR), meanwhile=meanwhile)
    assert bench.full, "no completion ring was seen full"
    bench.check_counters()


def killed(bench):
    """the NICs' process is killed: the next one's ports are zero-copy, too"""
    old = bench.pid()
    bench.machine.run(f"kill -9 {old}")
    eventually(lambda: bench.forwards() and bench.pid() != old, "the next process", 120,
               lambda: bench.machine.run("cat /tmp/router.log"))
    bench.ready()
    bench.exchange(range(PER_PAIR))
    bench.check_counters()


def start_with(bench, mtu, forced):
    """Another router, with links of that MTU."""
    bench.stop_router()
    bench.machine.run("".join(f"ip link set eth{n} mtu {mtu}; " for n in range(NICS)))
    bench.machine.put("/tmp/p2pnic.yaml", configuration(mtu, forced))


def exchange_up_to(bench, mtu):
    """Frames of all sizes, the longest too, one at a time: there are few rings and buffers."""
    lengths = mtu - 28 - 64 + 1
    longest = -pow(37, -1, lengths) % lengths
    for number in [*range(0, SINGLE * 10, 10), longest]:
        bench.exchange([number], lengths=lengths)
    assert len(frame(0, 1, longest, lengths=lengths)) == 14 + mtu
    bench.check_counters()


def page(bench):
    """frames of 3,828 bytes, in buffers of 4 KiB: still without a copy"""
    start_with(bench, PAGE_MTU, True)
    bench.start_router()
    bench.ready()
    assert {row["buffer_bytes"] for row in bench.show("nic")} == {4096}
    exchange_up_to(bench, PAGE_MTU)


def jumbo(bench):
    """frames of 9,014 bytes: this driver takes none without a copy: refused, or ports copy"""
    start_with(bench, 9000, True)
    said = bench.machine.run("p2pnic router -c /tmp/p2pnic.yaml 2>&1", fails=True)
    assert "(zero-copy: Operation not supported): without a copy its driver must take" in said, said
    bench.machine.put("/tmp/p2pnic.yaml", configuration(9000, False))
    bench.start_router()
    eventually(lambda: all(row["link"] for row in bench.show("port")), "links", 40)
    modes = {row["mode"] for row in bench.show("port")}
    assert all(m.startswith("copy, native, multi-buffer") for m in modes), modes
    exchange_up_to(bench, 9000)


TESTS = [mode, bytes_and_order, one_by_one, links, away, halted, killed, page, jumbo]


def run_all(folder, build):
    began, bench = time.monotonic(), None
    try:
        bench = Bench(folder, build, None)
        system = bench.machine.run("uname -r").strip()
        print(f"zero-copy: booted Linux {system}: {time.monotonic() - began:.1f} s", flush=True)
        for test in TESTS:
            began = time.monotonic()
            test(bench)
            print(f"zero-copy: {test.__doc__}: {time.monotonic() - began:.1f} s", flush=True)
        return bench.packets, bench.full, system
    except BaseException:
        if bench and bench.machine:
            print(bench.machine.run("cat /tmp/router.log; p2pnic show port --name vm", fails=True))
        raise
    finally:
        if bench:
            bench.close()


def main():
    build = begin("zero-copy", __doc__, [VM], [ZERO_COPY, ZERO_COPY_KERNEL])
    with tempfile.TemporaryDirectory(prefix="p2pnic-vm-") as folder:
        packets, full, system = run_all(folder, build)
    print(f"zero-copy: completion ring full {full} times, every frame arrived")
    print(f"zero-copy: {NICS} AF_XDP ports of virtio_net, Linux {system}, {packets} packets "
          "forwarded, 0 unaccounted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
