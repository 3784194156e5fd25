# SPDX-License-Identifier: BSD-3-Clause
"""Numbered datagrams from one wire to another: was any lost, repeated, out of order or changed?"""

import threading
import time

from scapy.all import IP, UDP, Ether, Raw, raw

from network import eventually, mac

MARK = b"p2pnic stream "
BURST = 16  # after a delay, so many at once at most: a stream is no test of queues


class Stream:
    def __init__(self, network, ingress, egress, rate=1000, source_port=5000):
        self.network, self.ingress, self.egress, self.rate = network, ingress, egress, rate
        self.mark = MARK + bytes((ingress, egress)) + source_port.to_bytes(2, "big")
        self.head = raw(Ether(dst=mac(ingress), src=mac(ingress, 2)) /
                        IP(src=f"10.0.{ingress}.2", dst=f"10.0.{egress}.2", ttl=64) /
                        UDP(sport=source_port, dport=9, chksum=0) / Raw(
                            self.mark + b"\0" * 64))[:-64]
        self.sent = 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def payload(self, number):
        return number.to_bytes(8, "big") + (number * 0x9e3779b97f4a7c15 % (1 << 448)).to_bytes(
            56, "big")

    def _run(self):
        start = time.monotonic()
        while not self.ending.is_set():
            due = min(int((time.monotonic() - start) * self.rate), self.sent + BURST)
            for number in range(self.sent, due):
                self.network.wire[self.ingress].send(self.head + self.payload(number))
            self.sent = max(self.sent, due)
            time.sleep(0.002)

    def __enter__(self):
        self.thread.start()
        eventually(lambda: self.sent, what="the first datagram")
        return self

    def __exit__(self, *error):
        self.ending.set()
        self.thread.join()

    def arrived(self, frames):
        """The numbers of this stream among the frames."""
        numbers = []
        at = len(self.head)
        for frame in frames:
            if frame[42:at] == self.mark:
                number = int.from_bytes(frame[at:at + 8], "big")
                assert frame[at:] == self.payload(number), f"datagram {number} was changed"
                numbers.append(number)
        return numbers

    def check_whole(self):
        """After the end: all of them arrived, once each, in order."""
        frames = []

        def complete():
            frames.extend(self.network.wire[self.egress].pending())
            return len(self.arrived(frames)) >= self.sent
        try:
            eventually(complete)
        except AssertionError:
            pass
        numbers = self.arrived(frames)
        lost = sorted(set(range(self.sent)) - set(numbers))
        assert not lost, f"{len(lost)} of {self.sent} lost, from {lost[0]} to {lost[-1]}"
        assert numbers == list(range(self.sent)), "repeated or out of order"
        assert self.sent > 0
        return frames
