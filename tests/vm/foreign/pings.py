#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""pings.py ADDRESS COUNT: ICMPv6 echo requests with random flow labels, and their replies."""

import os
import select
import socket
import struct
import sys
import time

WINDOW = 64  # requests without a reply, at most
SILENCE = 2  # seconds without any reply, and what is out is lost
IPV6_FLOWINFO_SEND = 33


def main():
    address, count = sys.argv[1], int(sys.argv[2])
    pings = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    pings.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1)
    own, sent, replies, out, heard = os.getpid() & 0xffff, 0, 0, 0, time.monotonic()
    while sent < count or out:
        while sent < count and out < WINDOW:
            label = int.from_bytes(os.urandom(4), "big") % 0xfffff + 1
            pings.sendto(struct.pack("!BBHHH", 128, 0, 0, own, sent & 0xffff),
                         (address, 0, label, 0))
            sent, out = sent + 1, out + 1
        if select.select([pings], [], [], 0.1)[0]:
            kind, _, _, who, _ = struct.unpack("!BBHHH", pings.recv(2048)[:8])
            if (kind, who) == (129, own):
                replies, out, heard = replies + 1, out - 1, time.monotonic()
        elif time.monotonic() - heard > SILENCE:
            out, heard = 0, time.monotonic()
    print(f"{sent} echo requests, {replies} replies")


if __name__ == "__main__":
    main()
