# SPDX-License-Identifier: BSD-3-Clause
"""A memif peer of the simplest kind, either role, written from the layout in ports/memif_protocol.h
alone.

It has the habits of other implementations: as server it asks each slot for 2048 bytes and cuts a
packet over several where there is less, as libmemif does; as client it owns buffers of any size,
with any headroom, and offers or takes packets in as many as they need.
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import time

ACK, HELLO, INIT, ADD_REGION, ADD_RING, CONNECT, CONNECTED, DISCONNECT = range(1, 9)
COOKIE, VERSION, NEXT, TO_SERVER = 0x3E31F20, 0x0200, 1, 1
BUFFER = 2048
PATIENCE = 20


class Refused(Exception):
    pass


class Ring:
    def __init__(self, memory, offset, log2, event):
        self.memory, self.offset, self.slots, self.event = memory, offset, 1 << log2, event
        self.flags, self.head, self.tail = (ctypes.c_uint16.from_buffer(memory, offset + at)
                                            for at in (4, 6, 64))

    def read(self, index):
        """flags, region, length, offset"""
        return struct.unpack_from("<HHII", self.memory, self.offset + 128 + 16 *
                                  (index % self.slots))

    def write(self, index, flags, region, length, offset):
        struct.pack_into("<HHIII", self.memory, self.offset + 128 + 16 * (index % self.slots),
                         flags, region, length, offset, 0)

    def kick(self):
        with contextlib.suppress(BlockingIOError):
            os.write(self.event, struct.pack("=Q", 1))


class Peer:
    def __init__(self, cut=BUFFER):
        self.cut = cut  # bytes that it puts into one slot at most
        self.channel, self.regions, self.files = None, [], []
        self.out = self.into = None

    # --- Messages

    def say(self, kind, layout="", *values, fd=None):
        message = struct.pack("<H" + layout, kind, *values).ljust(128, b"\0")
        socket.send_fds(self.channel, [message], [fd] if fd is not None else [])

    def hear(self, expected, layout=""):
        assert select.select([self.channel], [], [], PATIENCE)[0], f"no message {expected}"
        message, fds, _, _ = socket.recv_fds(self.channel, 128, 1)
        self.files += fds
        if not message:
            raise Refused("closed")
        kind, = struct.unpack_from("<H", message)
        if kind == DISCONNECT:
            raise Refused(message[6:102].split(b"\0")[0].decode())
        assert kind == expected and len(message) == 128, (kind, expected)
        return struct.unpack_from("<" + layout, message, 2)

    def close(self):
        if self.channel:
            self.channel.close()
        for file in self.files:
            os.close(file)
        self.files = []

    # --- Packets

    def data(self, region, offset, length):
        memory = self.regions[region]
        assert offset + length <= len(memory), (region, offset, length)
        return memoryview(memory)[offset:offset + length]


class Server(Peer):
    """Listens; the other owns the memory."""

    def __init__(self, path, cut=BUFFER, asks=BUFFER, rings=1):
        super().__init__(cut)
        self.asks, self.rings = asks, rings
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind("\0" + path[1:] if path[0] == "@" else path)
        self.listener.listen()

    def connect(self):
        self.listener.settimeout(PATIENCE)
        self.channel = self.listener.accept()[0]
        self.say(HELLO, "32sHHHHHB", b"peer", VERSION, VERSION, 255, self.rings - 1, self.rings - 1,
                 14)
        _, self.id, self.mode, self.secret, self.name = self.hear(INIT, "HIB24s32s")
        self.say(ACK)
        while True:
            assert select.select([self.channel], [], [], PATIENCE)[0], "client says nothing"
            kind, = struct.unpack_from("<H", self.channel.recv(2, socket.MSG_PEEK))
            if kind == ADD_REGION:
                index, size = self.hear(ADD_REGION, "HQ")
                assert index == len(self.regions)
                self.regions.append(mmap.mmap(self.files[-1], size))
            elif kind == ADD_RING:
                flags, index, region, offset, log2, private = self.hear(ADD_RING, "HHHIBH")
                assert index == 0 and private == 0
                ring = Ring(self.regions[region], offset, log2, self.files[-1])
                if flags & TO_SERVER:
                    self.into = ring
                else:
                    self.out = ring
            else:
                self.interface = self.hear(CONNECT, "32s")[0]
                break
            self.say(ACK)
        self.into.flags.value = 1
        self.say(CONNECTED, "32s", b"peer0")
        return self

    def send(self, packet):
        """As libmemif: a packet has the slots that `asks` bytes need, whatever its own length
        is."""
        ring, parts = self.out, []
        deadline = time.monotonic() + PATIENCE
        index, room = ring.tail.value, 0
        while room < max(self.asks, len(packet)):
            while (ring.head.value - index) & 0xffff == 0:
                assert time.monotonic() < deadline, "no buffers posted"
                time.sleep(0.001)
            _, region, length, offset = ring.read(index)
            parts.append((index, region, min(length, self.cut, max(self.asks, len(packet)) - room),
                          offset))
            room += parts[-1][2]
            index = (index + 1) & 0xffff
            if self.cut < BUFFER and room >= len(packet):
                break
        assert self.cut < BUFFER or len(parts) == 1, f"{self.asks} bytes do not fit into one slot"
        for k, (slot, region, length, offset) in enumerate(parts):
            part, packet = packet[:length], packet[length:]
            self.data(region, offset, len(part))[:] = part
            ring.write(slot, NEXT if k + 1 < len(parts) else 0, region, len(part), offset)
        ring.tail.value = index
        ring.kick()

    def receive(self):
        """A packet, or None."""
        ring, packet, index = self.into, b"", self.into.tail.value
        while index != ring.head.value:
            flags, region, length, offset = ring.read(index)
            packet += bytes(self.data(region, offset, length))
            index = (index + 1) & 0xffff
            if not flags & NEXT:
                ring.tail.value = index
                return packet
        return None

    def close(self):
        super().close()
        self.listener.close()


class Client(Peer):
    """Connects; the memory is its own: rings, then for each slot of both a buffer."""

    def __init__(self, path, cut=BUFFER, buffer=BUFFER, headroom=0, log2=5, secret=b"", mode=0,
                 number=0):
        super().__init__(min(cut, buffer - headroom))
        self.path, self.buffer, self.headroom, self.log2 = path, buffer, headroom, log2
        self.secret, self.mode, self.number = secret, mode, number

    def buffer_of(self, ring, index):
        return 2 * self.ring_bytes + ((ring is self.into) * ring.slots + index %
                                      ring.slots) * self.buffer

    def connect(self):
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.connect("\0" + self.path[1:] if self.path[0] == "@" else self.path)
        _, low, high, self.region_max, self.ring_max, _, self.log2_max = self.hear(
            HELLO, "32sHHHHHB")
        assert low <= VERSION <= high
        self.say(INIT, "HIB24s32s", VERSION, self.number, self.mode, self.secret, b"peer")
        self.hear(ACK)
        self.ring_bytes = 128 + (16 << self.log2)
        size = 2 * (self.ring_bytes + (self.buffer << self.log2))
        file = os.memfd_create("peer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(file, size)
        fcntl.fcntl(file, 1033, 2)  # F_ADD_SEALS, F_SEAL_SHRINK
        self.files.append(file)
        self.regions = [mmap.mmap(file, size)]
        self.say(ADD_REGION, "HQ", 0, size, fd=file)
        self.hear(ACK)
        for k in range(2):
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self.files.append(event)
            struct.pack_into("<I", self.regions[0], k * self.ring_bytes, COOKIE)
            ring = Ring(self.regions[0], k * self.ring_bytes, self.log2, event)
            self.say(ADD_RING, "HHHIBH", 0 if k else TO_SERVER, 0, 0, k * self.ring_bytes,
                     self.log2, 0, fd=event)
            self.hear(ACK)
            if k:
                self.into = ring
            else:
                self.out = ring
        self.say(CONNECT, "32s", b"peer0")
        self.interface, = self.hear(CONNECTED, "32s")
        for index in range(self.into.slots):
            self.post(index)
        self.into.head.value = self.into.slots
        self.taken = 0
        return self

    def post(self, index):
        self.into.write(index, 0, 0, self.buffer - self.headroom,
                        self.buffer_of(self.into, index) + self.headroom)

    def send(self, packet):
        ring, index = self.out, self.out.head.value
        deadline = time.monotonic() + PATIENCE
        while packet:
            while (index - ring.tail.value) & 0xffff == ring.slots:
                assert time.monotonic() < deadline, "nothing is taken"
                time.sleep(0.001)
            part, packet = packet[:self.cut], packet[self.cut:]
            offset = self.buffer_of(ring, index) + self.headroom
            self.data(0, offset, len(part))[:] = part
            ring.write(index, NEXT if packet else 0, 0, len(part), offset)
            index = (index + 1) & 0xffff
        ring.head.value = index
        ring.kick()

    def receive(self):
        ring, packet, index = self.into, b"", self.taken
        while index != ring.tail.value:
            flags, region, length, offset = ring.read(index)
            packet += bytes(self.data(region, offset, length))
            self.post(index)
            index = (index + 1) & 0xffff
            if not flags & NEXT:
                ring.head.value = (ring.head.value + index - self.taken) & 0xffff
                self.taken = index
                return packet
        return None
