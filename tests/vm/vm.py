#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""`make test-vm`: the driver in stock Linux guests, one with an IOMMU and one without.

    tests/vm/vm.py build-vm

The NICs are soft NICs of this machine, PCI devices of the guest behind one PCIe switch
(machine.py). Their wires are memif peers in this process. Exit status 77: not run, and why.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{os.path.dirname(HERE)}/system")
sys.path.insert(0, HERE)
from machine import VM, Machine, begin  # noqa: E402
from memif_peer import Server  # noqa: E402

NICS = 4
PAIRS = [(a, b) for a in range(NICS) for b in range(NICS) if a != b]
PER_PAIR = 700  # a ring has 1024 slots
READS = 20
LOST = 20  # frames sent to where they cannot arrive
GIVEN_UP = 8  # transfers that fail, and the pair is given up (docs/operations.md)
MASTER = 4  # bus mastering, in the command register


def mac(nic, station=1):
    return bytes((2, 0, 0, 0, nic, station))


def text_of(address):
    return ":".join(f"{octet:02x}" for octet in address)


def checksum(header):
    total = sum(struct.unpack("!10H", header))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(a, b, number, arrived=False, lengths=1400):
    """Datagram `number` from behind NIC a to behind NIC b, as sent, or as it has to arrive, of 106
    bytes and up to `lengths` more."""
    length = 64 + number * 37 % lengths
    payload = (struct.pack("!BBI", a, b, number) * (length // 6 + 1))[:length]
    udp = struct.pack("!4H", 5000, 9, 8 + length, 0) + payload

    def ip(check):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number & 0xffff, 0,
                           63 if arrived else 64, 17, check, bytes((10, 0, a, 2)),
                           bytes((10, 0, b, 2)))
    ends = mac(b, 2) + mac(b) if arrived else mac(a) + mac(a, 2)
    return ends + b"\x08\x00" + ip(checksum(ip(0))) + udp


def configuration(functions, access):
    text = "router: {name: vm}\nnics:\n"
    for n, function in enumerate(functions):
        text += f"  - {{name: n{n}, pci: \"{function}\", access: {access}, " \
                f"mac: \"{text_of(mac(n))}\", addresses: [10.0.{n}.1/24]}}\n"
    text += "neighbors:\n"
    for n in range(len(functions)):
        text += f"  - {{nic: n{n}, address: 10.0.{n}.2, mac: \"{text_of(mac(n, 2))}\"}}\n"
    return text


class Bench:
    """Soft NICs, their wires, and the machine that they are devices of."""

    def __init__(self, folder, build, guest):
        self.guest, self.nics, self.wires, self.machine, self.packets = guest, [], [], None, 0
        self.routes = False  # a router is there
        self.provoked = 0  # DMA faults
        program = f"{build}/cli/p2pnic"
        self.folder = folder
        try:
            self._open(folder, build, program)
        except BaseException:
            self.close()
            raise

    def _open(self, folder, build, program):
        sockets = [f"{folder}/n{n}.sock" for n in range(NICS)]
        self.wires = [Server(f"{folder}/w{n}.sock") for n in range(NICS)]
        for n in range(NICS):
            with open(f"{folder}/n{n}.log", "wb") as log:
                self.nics.append(subprocess.Popen(
                    [program, "nic", "--whole-bus", "--nic", f"n{n}", "--socket", sockets[n],
                     "--port", f"memif:{folder}/w{n}.sock", "--port-options", "role=client",
                     "--mac", text_of(mac(n))], stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        for wire in self.wires:
            wire.connect()
        eventually(lambda: all(map(os.path.exists, sockets)), "the soft NICs")
        os.mkdir(f"{folder}/vm")
        self.machine = Machine(f"{folder}/vm", [program, f"{build}/tests/window"], sockets,
                               self.guest.iommu)
        self.functions = self.machine.functions()
        assert len(self.functions) == NICS, (self.functions, self.machine.log())
        self.machine.put("/tmp/p2pnic.yaml", configuration(self.functions, self.guest.access))

    def close(self):
        if self.machine:
            self.machine.close()
        for nic in self.nics:
            nic.terminate()
        for nic in self.nics:
            nic.wait(20)
        for wire in self.wires:
            wire.close()

    def cut(self, n):
        self.wires[n].close()
        os.unlink(f"{self.folder}/w{n}.sock")

    def join(self, n):
        self.wires[n] = Server(f"{self.folder}/w{n}.sock").connect()
        eventually(lambda: self.show("port")[n]["link"], "link")

    # --- The router in the guest

    def start_router(self):
        self.machine.run("p2pnic router -c /tmp/p2pnic.yaml >>/tmp/router.log 2>&1 & "
                         "echo $! >/tmp/pid")
        eventually(self.forwards, "the router in the guest", 40, self.log)
        self.routes = True

    def stop_router(self):
        self.machine.run("kill $(cat /tmp/pid)")
        eventually(lambda: not self.machine.run("pidof p2pnic", fails=True), "end of the router")
        self.routes = False

    def forwards(self):
        try:
            return all(row["state"] == "forwarding" for row in self.show("nic"))
        except ValueError:
            return False

    def show(self, what):
        """Rows; ValueError: there is no router."""
        return json.loads(self.machine.run(f"p2pnic show {what} -j --name vm", fails=True))[what]

    def says(self, what):
        """For eventually: whether the router has said it."""
        return lambda: what in self.log()

    def log(self):
        return self.machine.run("cat /tmp/router.log", fails=True)

    def check_counters(self):
        for row in self.show("counter"):
            assert row["dma_faults"] == 0 and row["bad_words"] == 0, row
            assert row["unaccounted"] == 0, row

    def faults(self):
        """That no test provoked: of the NICs, as the router knows, and of the IOMMU."""
        counted = sum(row["dma_faults"] for row in self.show("counter")) if self.routes else 0
        return counted + len(self.machine.faults()) - self.provoked

    # --- Traffic

    def exchange(self, numbers, pairs=tuple(PAIRS), meanwhile=lambda: None, lengths=1400):
        """Sends to all, and checks that each arrives once, whole and in order."""
        came = {n: [] for n in range(NICS)}

        def collect():
            for n, wire in enumerate(self.wires):
                while (packet := wire.receive()) is not None:
                    came[n].append(packet)
            return sum(map(len, came.values())) >= len(numbers) * len(pairs)
        for number in numbers:
            for a, b in pairs:
                self.wires[a].send(frame(a, b, number, lengths=lengths))
            collect()
            meanwhile()
        eventually(collect, f"{len(numbers) * len(pairs)} frames", 30,
                   lambda: f"{sum(map(len, came.values()))} came; {self.show('counter')}",
                   meanwhile)
        assert sum(map(len, came.values())) == len(numbers) * len(pairs), "frames nobody sent"
        for n, packets in came.items():
            for a, b in pairs:
                if b != n:
                    continue
                flow = [p for p in packets if p[26:30] == bytes((10, 0, a, 2))]
                expected = [frame(a, b, number, True, lengths) for number in numbers]
                assert flow == expected, f"n{a} to n{b}: {len(flow)} frames, " \
                    f"the first that differs is {first_difference(flow, expected)}"
        self.packets += len(numbers) * len(pairs)


def first_difference(a, b):
    return next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def eventually(condition, what, seconds=20, detail=lambda: "", meanwhile=lambda: None):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s: {detail()}"
        meanwhile()
        time.sleep(0.01)


# --- What is shown --------------------------------------------------------------------------------

def held(bench):
    """a kernel driver has the functions: the router takes none away; who asked for it frees them"""
    said = bench.machine.run("p2pnic router -c /tmp/p2pnic.yaml 2>&1", fails=True)
    assert f"its driver is {bench.machine.driver}; access by sysfs wants none" in said, said
    assert bench.machine.functions() == bench.functions, said
    for nic in json.loads(bench.machine.run("p2pnic nic list -j"))["nics"]:
        bench.machine.run(nic["free"])
    assert bench.machine.functions() == []


def doctor(bench):
    """p2pnic doctor says what can drive the functions, and that all pairs share a switch"""
    said = bench.machine.run("p2pnic doctor", fails=True)
    for function in bench.functions:
        assert f"{function}: {bench.guest.verdict}" in said, said
    assert "peer-to-peer: 6 pairs of NICs: by a switch" in said, said


def started(bench):
    """the router forwards"""
    bench.start_router()


def bytes_and_order(bench):
    """every frame of 12 pairs arrives, byte for byte and in order"""
    bench.exchange(range(PER_PAIR))
    bench.check_counters()


def registers(bench):
    """the same while the driver reads registers"""
    bench.machine.run(": >/tmp/reads; while [ ! -e /tmp/stop ]; do p2pnic show port -j --name vm "
                      ">/tmp/port; echo >>/tmp/reads; done &")

    def traffic():
        bench.exchange(range(100))
        return int(bench.machine.run("wc -l </tmp/reads")) >= READS
    eventually(traffic, f"{READS} times all ports' registers", 60)
    bench.machine.run("touch /tmp/stop")
    bench.check_counters()


def restart(bench):
    """driver killed and started again while frames cross: none is lost"""
    def meanwhile():
        nonlocal steps
        steps += 1
        if steps == 20:
            bench.machine.run("kill -9 $(cat /tmp/pid)")
        if steps == 100:
            bench.start_router()
    steps = 0
    bench.exchange(range(200), meanwhile=meanwhile)
    said = bench.log()
    for n in range(NICS):
        assert f"nic n{n}: adopted, it forwards on" in said, said
    bench.check_counters()
    bench.exchange(range(200, 400))


def link(bench):
    """a link goes and comes back, and the router says so"""
    bench.cut(2)
    eventually(bench.says("nic n2: link down"), "word of the link that went")
    bench.join(2)
    eventually(bench.says("nic n2: link up"), "word of the link that came")
    bench.exchange(range(100))


def withdrawn(bench):
    """a window onto packet memory withdrawn: no stale frame; the pair is opened again"""
    a, b = bench.functions[0], bench.functions[1]

    def failed():
        return bench.show("counter")[1]["dropped"].get("bad-transfer", 0)
    before = failed()
    bench.machine.run(f"window $(cat /tmp/pid) {a} {b}")
    for number in range(LOST):
        bench.wires[0].send(frame(0, 1, number))
    eventually(bench.machine.faults, "DMA fault in the guest's kernel log")
    bench.exchange(range(100), [pair for pair in PAIRS if set(pair) != {0, 1}])
    eventually(bench.says("the pair is opened again"), "word of the pair that was given up", 60,
               bench.log)
    assert failed() - before >= GIVEN_UP, bench.show("counter")
    stale = bench.wires[1].receive()
    assert stale is None, f"a frame that had not arrived was sent: {stale.hex()}"
    assert {function for function, _ in bench.machine.faults()} == {a}, bench.machine.faults()
    eventually(bench.forwards, "forwarding by all NICs")
    bench.exchange(range(100))
    bench.provoked += len(bench.machine.faults())
    bench.check_counters()


def memory_space(bench):
    """memory space off at one port of the switch: no DMA to that NIC; others go on; back"""
    others = [pair for pair in PAIRS if 3 not in pair]
    before = len(bench.machine.faults())
    bench.machine.memory_space(bench.functions[3], False)
    for number in range(LOST):
        bench.wires[0].send(frame(0, 3, number))
    bench.exchange(range(100), others)
    eventually(bench.says("nic n3: its memory is out of reach"), "word of the NIC")
    bench.exchange(range(100), others)
    assert bench.wires[3].receive() is None
    bench.machine.memory_space(bench.functions[3], True)
    eventually(bench.says("nic n3: back"), "word of the NIC that is back")
    eventually(bench.forwards, "forwarding by all NICs")
    bench.cut(3)  # the NIC was reset, and its port with it
    bench.join(3)
    bench.exchange(range(100))
    # What peers posted to it may come after their windows onto it (4 << 32: driver/fabric.h) were
    # withdrawn: in QEMU an answer overtakes posted writes, which on PCIe it must not.
    bench.provoked += sum(address >> 32 == 4 for _, address in bench.machine.faults()[before:])
    bench.check_counters()


def stopped(bench):
    """the router ends: its NICs can do no DMA"""
    for function in bench.functions:
        assert bench.machine.command(function) & MASTER, function
    bench.stop_router()
    for function in bench.functions:
        assert not bench.machine.command(function) & MASTER, function


class Guest(NamedTuple):
    name: str
    iommu: bool
    access: str  # of the configuration
    verdict: str  # p2pnic doctor's of a function
    steps: list


GUESTS = [
    Guest("with an IOMMU", True, "vfio", "ready for VFIO",
          [doctor, started, bytes_and_order, registers, restart, link, withdrawn, memory_space,
           stopped]),
    Guest("without an IOMMU", False, "sysfs", "no IOMMU group",
          [held, doctor, started, bytes_and_order, registers, restart, link, memory_space,
           stopped])]


def run_all(guest, folder, build):
    """Of one guest: packets, and DMA faults that no test provoked."""
    began, bench = time.monotonic(), None
    try:
        bench = Bench(folder, build, guest)
        print(f"vm: guest {guest.name} booted: {time.monotonic() - began:.1f} s",
              *bench.machine.tree(), sep="\n", flush=True)
        for step in guest.steps:
            began = time.monotonic()
            step(bench)
            faults = bench.faults()
            assert faults == 0, (faults, bench.routes and bench.show("counter"))
            print(f"vm: {step.__doc__}: {time.monotonic() - began:.1f} s", flush=True)
        return bench.packets, faults
    except BaseException:
        if bench and bench.machine:
            print(bench.machine.log())
        for n in range(NICS):
            if not os.path.exists(f"{folder}/n{n}.log"):
                continue
            with open(f"{folder}/n{n}.log", encoding="utf8") as log:
                print(f"n{n}: {log.read()[-1500:]}")
        if bench and bench.machine:
            print(bench.log())
        raise
    finally:
        if bench:
            bench.close()


def main():
    build = begin("vm", __doc__, [VM])
    counts = []
    for guest in GUESTS:
        with tempfile.TemporaryDirectory(prefix="p2pnic-vm-") as folder:
            counts.append(run_all(guest, folder, build))
    for guest, (packets, faults) in zip(GUESTS, counts):
        print(f"vm: guest {guest.name}, access {guest.access}: {packets} packets, {faults} DMA "
              "faults")
    packets, faults = map(sum, zip(*counts))
    print(f"vm: {NICS} NICs behind one PCIe switch, {packets} packets forwarded by peer-to-peer "
          f"DMA, {faults} DMA faults")
    return 0


if __name__ == "__main__":
    sys.exit(main())
