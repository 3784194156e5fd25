#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""`make test-card`: a router whose NICs are cards that run the firmware bare-metal.

    tests/card/card.py build/cli/p2pnic build/card/card.elf

Hosts behind the cards are this process. Exit status 77: not run, and why.
"""

import argparse
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from machine import QEMU, Card, mac_of, memory_path, text_of  # noqa: E402

CARDS = 4
PAIRS = [(a, b) for a in range(CARDS) for b in range(CARDS) if a != b]
PER_PAIR = 700
UNDER_WAY = 256  # in all pairs together; a ring has 1024 slots
SKIPPED = 77


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def address_of(card):
    return bytes((10, 0, card, 2))


def ipv4(a, b, protocol, payload, number=0, hops=64):
    def header(check):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), number & 0xffff, 0, hops,
                           protocol, check, address_of(a), address_of(b))
    return header(checksum(header(0))) + payload


def sent(a, packet):
    """A frame as the host behind card a sends it."""
    return mac_of(a) + mac_of(a, 2) + b"\x08\x00" + packet


def arrived(b, packet):
    """As the host behind card b gets it."""
    return mac_of(b, 2) + mac_of(b) + b"\x08\x00" + packet


def udp(a, b, number, hops):
    length = 18 + number * 37 % 1454
    payload = (struct.pack("!BBI", a, b, number) * (length // 6 + 1))[:length]
    return ipv4(a, b, 17, struct.pack("!4H", 5000, 9, 8 + length, 0) + payload, number, hops)


def echo(a, b, kind, number, hops=64):
    """RFC 792: 8 request, 0 reply."""
    data = struct.pack("!HH", 77, number) + bytes(range(56))
    check = checksum(struct.pack("!BBH", kind, 0, 0) + data)
    return ipv4(a, b, 1, struct.pack("!BBH", kind, 0, check) + data, number, hops)


def configuration(folder):
    text = f"router: {{name: card, runtime: {folder}/run}}\nnics:\n"
    for n in range(CARDS):
        text += f"  - {{name: c{n}, card: {memory_path(folder, n)}, addresses: [10.0.{n}.1/24]}}\n"
    text += "neighbors:\n"
    for n in range(CARDS):
        text += f"  - {{nic: c{n}, address: 10.0.{n}.2, mac: \"{text_of(mac_of(n, 2))}\"}}\n"
    return text


def eventually(condition, what, seconds=30, detail=lambda: ""):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s: {detail()}"
        time.sleep(0.002)


def first_difference(a, b):
    return next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


class Bench:
    """Cards, the hosts behind them, and the router that drives them."""

    def __init__(self, folder, program, elf):
        self.folder, self.program, self.router = folder, program, None
        self.crossed, self.counted = 0, {}
        self.cards = [Card(folder, elf, n, CARDS) for n in range(CARDS)]
        for card in self.cards:
            card.start()
        for card in self.cards:
            card.wait_started()
        with open(f"{folder}/router.yaml", "w", encoding="utf8") as file:
            file.write(configuration(folder))

    def close(self):
        if self.router:
            self.router.send_signal(signal.SIGTERM)
            self.router.wait(20)
        for card in self.cards:
            card.kill()
            card.wire.close()

    def start_router(self):
        with open(f"{self.folder}/router.log", "ab") as log:
            self.router = subprocess.Popen(
                [self.program, "router", "-c", f"{self.folder}/router.yaml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self.forwards, "router", detail=self.log)

    def log(self):
        with open(f"{self.folder}/router.log", encoding="utf8") as file:
            return file.read()

    def forwards(self):
        assert self.router.poll() is None, self.log()
        try:
            return all(row["state"] == "forwarding" for row in self.show("nic"))
        except (subprocess.CalledProcessError, ValueError):
            return False

    def show(self, what):
        done = subprocess.run([self.program, "show", what, "-j", "--runtime",
                               f"{self.folder}/run"], check=True, capture_output=True, text=True)
        return json.loads(done.stdout)[what]

    def exchange(self, packets, meanwhile=lambda came: None):
        """packets: {(a, b): ([packet as sent], [as it has to arrive])}. Sends all, those of the
        pairs in turn; each arrives once, whole, and in the order of its pair. A sender waits when
        so many are under way that rings could be full."""
        queue = [(a, sent(a, pair[0][k]))
                 for k in range(max(len(out) for out, _ in packets.values()))
                 for (a, _), pair in packets.items() if k < len(pair[0])]
        came = {n: [] for n in range(CARDS)}
        total, gone = len(queue), 0

        def step():
            nonlocal gone
            arrivals = sum(map(len, came.values()))
            meanwhile(arrivals)
            while gone < total and gone - arrivals < UNDER_WAY and \
                    self.cards[queue[gone][0]].send(queue[gone][1]):
                gone += 1
            for n, card in enumerate(self.cards):
                while (frame := card.receive()) is not None:
                    came[n].append(frame)
            return sum(map(len, came.values())) >= total
        eventually(step, f"{total} frames", 60, lambda: f"{sum(map(len, came.values()))} came of "
                   f"{gone} sent; {self.show('counter')}")
        for (a, b), (_, want) in packets.items():
            flow = [f for f in came[b] if f[26:30] == address_of(a)]
            want = [arrived(b, packet) for packet in want]
            assert flow == want, f"c{a} to c{b}: {len(flow)} frames, the first that differs is " \
                f"{first_difference(flow, want)}"

    def stream(self, numbers, pairs=tuple(PAIRS), meanwhile=lambda came: None):
        self.exchange({(a, b): ([udp(a, b, number, 64) for number in numbers],
                                [udp(a, b, number, 63) for number in numbers])
                       for a, b in pairs}, meanwhile)

    def check_counters(self):
        """Of all cards, at rest: nothing is lost, nothing went astray."""
        for row in self.show("counter"):
            assert row["dma_faults"] == 0 and row["bad_words"] == 0, row
            assert row["unaccounted"] == 0, row

    def rings(self):
        return {(row["ingress"], row["egress"]): (row["packets"], row["taken"]["packets"])
                for row in self.show("ring") if row["ingress"] != row["egress"]}

    def count_crossed(self):
        """Packets that went from one card into another since the last time, as both count."""
        rings = self.rings()
        for key, (gone, taken) in rings.items():
            before = self.counted.get(key, (0, 0))
            assert gone - before[0] == taken - before[1], (key, before, gone, taken)
            self.crossed += gone - before[0]
        self.counted = rings


# --- What is shown --------------------------------------------------------------------------------

def ping(bench):
    """hosts ping one another: 12 pairs"""
    count = 20
    for kind, way in ((8, 1), (0, -1)):
        bench.exchange({(a, b)[::way]: (
            [echo(*(a, b)[::way], kind, number, 64) for number in range(count)],
            [echo(*(a, b)[::way], kind, number, 63) for number in range(count)])
            for a, b in PAIRS})
    bench.check_counters()


def bytes_and_order(bench):
    """every frame of 12 pairs arrives, byte for byte and in order"""
    bench.stream(range(PER_PAIR))
    bench.check_counters()


def registers(bench):
    """the same while the driver reads registers"""
    def meanwhile(came):
        nonlocal reads
        if came >= reads * 100:
            assert all(row["link"] for row in bench.show("port"))
            reads += 1
    reads = 0
    bench.stream(range(100), meanwhile=meanwhile)
    assert reads > 5
    bench.check_counters()


def restart(bench):
    """driver killed and started again while frames cross: none is lost"""
    def meanwhile(came):
        nonlocal step
        if step == 0 and came > 100:
            bench.router.kill()
            bench.router.wait()
            step = 1
        if step == 1 and came > 1000:
            bench.start_router()
            step = 2
    step = 0
    bench.stream(range(200), meanwhile=meanwhile)
    assert step == 2
    for n in range(CARDS):
        assert f"nic c{n}: adopted, it forwards on" in bench.log(), bench.log()
    bench.check_counters()


def link(bench):
    """a link goes, its peers drop what is for it, and it comes back"""
    def last_words():
        return bench.log().splitlines()[-1]

    def down_at_peers():
        bench.cards[0].send(sent(0, udp(0, 2, 1, 64)))
        return next(row["packets"] for row in bench.show("drop")
                    if row["reason"] == "link-down") > 0
    bench.cards[2].monitor("set_link wire off")
    eventually(lambda: "nic c2: link down" in last_words(), "word of the link that went")
    eventually(down_at_peers, "packet dropped for the link", detail=lambda: bench.show("drop"))
    bench.cards[2].monitor("set_link wire on")
    eventually(lambda: "nic c2: link up" in last_words(), "word of the link that came")
    eventually(lambda: bench.cards[2].receive() is None, "the wire's silence")
    bench.stream(range(100))
    bench.check_counters()
    bench.count_crossed()


def new_life(bench):
    """a card dies, the others forward on; it starts again, and nothing old leaves it"""
    others = [(a, b) for a, b in PAIRS if 2 not in (a, b)]
    bench.cards[2].kill()
    bench.stream(range(100), others)
    for number in range(50):
        frame = sent(0, udp(0, 2, number, 64))
        eventually(lambda frame=frame: bench.cards[0].send(frame), "room on the wire")
    bench.stream(range(100, 200), others)
    bench.cards[2].start()
    bench.cards[2].wait_started()
    eventually(lambda: "nic c2: back" in bench.log(), "card that is back", detail=bench.log)
    eventually(bench.forwards, "NICs that forward", detail=bench.log)
    bench.counted = bench.rings()
    bench.stream(range(200, 400))
    bench.check_counters()
    bench.count_crossed()


SCENES = [ping, bytes_and_order, registers, restart, link, new_life]


def absent():
    """Why it cannot run here, or None."""
    if not shutil.which(QEMU):
        return f"no {QEMU}: Debian's package qemu-system-misc has it"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("elf")
    parser.add_argument("--keep", help="folder for logs that stays")
    arguments = parser.parse_args()
    why = absent()
    if why:
        print(f"card: not run: {why}")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="p2pnic-card-") as temporary:
        folder = arguments.keep or temporary
        os.makedirs(folder, exist_ok=True)
        bench = Bench(folder, os.path.abspath(arguments.program), os.path.abspath(arguments.elf))
        try:
            bench.start_router()
            for scene in SCENES:
                start = time.monotonic()
                scene(bench)
                print(f"ok {scene.__doc__} ({time.monotonic() - start:.1f} s)", flush=True)
            print(f"card: {CARDS} RISC-V NICs, {bench.crossed} packets forwarded by "
                  "peer-to-peer DMA, 0 unaccounted")
        finally:
            bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
