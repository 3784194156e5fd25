# SPDX-License-Identifier: BSD-3-Clause
"""DMA by messages, "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE": a NIC at work."""

import struct

import pytest

from vfio_user_nic import (BAR0, BAR2, CONFIG, COUNTER_DMA_FAULTS, COUNTER_DMA_LOST, COUNTER_SENT,
                           PACKET_MEMORY, memory, running, well)
from vfio_user_peer import DMA_READ, access, pack

pytestmark = pytest.mark.hostile("a vfio-user client that answers wrongly, late or never")

SLOTS, BUFFER = 64, 2048
PEER = 66  # the host's ring of exceptions
MAILBOX, PACKETS = 0x1_0000_0000, 0x2_0000_0000
OPEN, CLOSE, START, RESET_NIC = 4, 5, 2, 1


def command(client, operation, argument=0):
    """Result of a command of the NIC's."""
    client.write32(BAR0, 0x10, operation | argument << 8)
    return client.read32(BAR0, 0x14)


def prepare(client):
    """Up to where the host's ring of exceptions can be opened."""
    client.region_write(CONFIG, 4, struct.pack("=H", 6))  # memory space, bus master
    assert command(client, RESET_NIC) == 0
    client.write32(BAR0, 0x38, 0)
    client.write32(BAR0, 0x3c, 512)


def open_ring(client, epoch=1, in_buffers=0):
    entry = struct.pack("=IIQQQIIQIIII", epoch, 8, MAILBOX, 0, PACKETS, SLOTS, SLOTS, in_buffers,
                        PACKET_MEMORY - SLOTS * BUFFER, SLOTS, SLOTS, 0)
    client.region_write(BAR2, 0x110000 + 128 * PEER, entry.ljust(128, b"\0"))
    client.region_write(BAR2, 16384 * PEER, bytes(16384))
    return command(client, OPEN, PEER)


def punted(client, slots=range(SLOTS)):
    """Frames announced in the host's mailbox, as they lie in its buffers."""
    frames = []
    for slot in slots:
        at = 4096 + 8 * slot
        page = max(b for b in client.memory if b <= MAILBOX + at)
        offset, length, flags = struct.unpack_from("=IHH", client.memory[page],
                                                   MAILBOX + at - page)
        if flags:
            frames.append(bytes(client.memory[PACKETS][offset:offset + length]))
    return frames


def counter(client, offset):
    """By register access; the page can be mapped as well."""
    return struct.unpack("=Q", client.region_read(BAR0, offset, 8))[0]


def test_dma_writes():
    """A region in pieces; writes posted, in windows, in order: a descriptor after its packet."""
    with running(packets=40) as one:
        client = one.connect()
        prepare(client)
        for k in range(4):
            assert client.map(MAILBOX + 0x1000 * k, 0x1000) == 0
        assert open_ring(client) == 3  # BAD_WINDOW: no packet buffers
        assert client.map(PACKETS, SLOTS * BUFFER) == 0
        assert open_ring(client) == 0
        assert command(client, START) == 0
        client.serve_until(lambda: len(punted(client)) == 40)
        frames = punted(client)
        assert [struct.unpack_from(">H", f, 18)[0] for f in frames] == list(range(40))
        assert all(len(f) == 74 for f in frames)
        seen = set()
        for address, data in client.writes:
            if address >= PACKETS:
                seen.add((address - PACKETS) // BUFFER)
            elif MAILBOX + 4096 <= address:
                for k in range(0, len(data), 8):
                    assert struct.unpack_from("=I", data, k)[0] // BUFFER in seen
        assert counter(client, COUNTER_DMA_FAULTS) == counter(client, COUNTER_DMA_LOST) == 0
        # A window goes: so does the pair, at once.
        client.writes.clear()
        assert client.unmap(MAILBOX + 0x3000, 0x1000) == 0
        assert command(client, CLOSE, PEER) == 5  # BAD_STATE: closed already
        client.close()


def test_registers_while_dma_waits():
    """A client that serves no DMA before its own command is answered, as QEMU does under its lock:
    reads and writes of registers are answered all the same, and nothing is lost by it. (This needed
    the 2 s time-out of each DMA message once.)"""
    with running("--method", "rd") as one:
        client = one.connect()
        prepare(client)
        assert client.map(MAILBOX, 0x4000) == 0
        assert client.map(PACKETS, SLOTS * BUFFER) == 0
        assert open_ring(client, in_buffers=PACKETS) == 0
        assert command(client, START) == 0
        # Inject a frame: the NIC must read it from us.
        frame = bytes(range(64)) * 2
        client.memory[PACKETS][:len(frame)] = frame
        client.region_write(BAR2, 16384 * PEER + 4096, struct.pack(
            "=IHH", 0, len(frame), 1 << 9 | 1 << 10), serve=False)
        client.write32(BAR0, 0x2000, 1, serve=False)
        read = client.hear_until(DMA_READ)
        assert struct.unpack("=QQ", read.payload) == (PACKETS, len(frame))
        for k in range(200):
            client.write32(BAR0, 0x48, k, serve=False)
            assert client.read32(BAR0, 0x4c, serve=False) == k
        # What a register's write cut short is asked for again.
        assert [m.command for m in client.unserved].count(DMA_READ) > 1
        client.serve_until(lambda: counter(client, COUNTER_SENT) == 1)
        assert counter(client, COUNTER_DMA_FAULTS) == 0
        client.close()


def test_whole_bus():
    """--whole-bus: what is in no window is a message too, and is the client's to refuse."""
    for options in ((), ("--whole-bus",)):
        with running(*options, packets=3) as one:
            client = one.connect()
            prepare(client)
            client.memory = {MAILBOX: bytearray(0x4000), PACKETS: bytearray(SLOTS * BUFFER)}
            assert open_ring(client) == (0 if options else 3)
            if options:
                assert command(client, START) == 0
                client.serve_until(lambda: len(punted(client)) == 3)
                assert counter(client, COUNTER_DMA_FAULTS) == 0
            client.close()
