# SPDX-License-Identifier: BSD-3-Clause
"""The soft NIC's vfio-user server against the specification, message by message, by a client that
knows nothing else (vfio_user_peer.py). Section names in quotes are the specification's."""

import contextlib
import errno
import json
import mmap
import os
import socket
import struct
import time

import pytest

from network import eventually
from vfio_user_nic import (BAR0, BAR2, BAR4, BOOL, CAPABILITIES, CONFIG, EVENTFD, MASK, MSG_MAX,
                           MSIX, NONE, PACKET_MEMORY, REGIONS, TRIGGER, UNMASK, close_all, events,
                           memory, running, well)
from vfio_user_peer import (DMA_MAP, DMA_READ, DMA_UNMAP, DMA_WRITE, ERROR, FEATURE, GET_INFO,
                            GET_IRQ_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, MIG_DATA_READ,
                            MIG_DATA_WRITE, NO_REPLY, READ, REGION_READ, REGION_WRITE,
                            REGION_WRITE_MULTI, REPLY, RESET, SET_IRQS, UNMAP_ALL, VERSION, WRITE,
                            Client, Gone, access, dma_map, irq_set, pack, version)

pytestmark = pytest.mark.hostile("a vfio-user client that breaks the rules")


@pytest.fixture(scope="module")
def shared():
    with running() as nic:
        # Of sockets one alone: that at which it listens.
        eventually(lambda: len([f for f in nic.fds() if f.startswith("socket:")]) == 1)
        nic.alone = nic.fds()
        yield nic


@pytest.fixture
def nic(shared):
    """The module's NIC, which holds no more descriptors afterwards than without a client."""
    yield shared
    assert shared.process.poll() is None, "the NIC is dead"
    eventually(lambda: shared.fds() == shared.alone, what="descriptors given back")


@pytest.fixture
def client(nic):
    c = nic.connect()
    yield c
    c.close()


# --- "Header" and "Message sizes" -----------------------------------------------------------------


def test_header(client):
    """Ids belong to the sender and may repeat; size 2³²−1 and 0 are no sizes."""
    info = struct.pack("=IIII", 16, 0, 0, 0)
    for ident in (0, 7, 7, 0xffff):
        client.say(GET_INFO, info, ident=ident)
    for ident in (0, 7, 7, 0xffff):
        message = client.hear()
        assert (message.id, message.command, message.flags, message.error) == \
            (ident, GET_INFO, REPLY, 0)
    # The error field of a command is reserved.
    client.say(GET_INFO, info, error=17)
    assert client.hear().flags == REPLY


@pytest.mark.parametrize("size", [0, 1, 15, MSG_MAX + 1, 2**31, 2**32 - 1])
def test_no_size(nic, size):
    """The stream cannot be followed any more: the connection ends, and the next is served."""
    c = nic.connect()
    c.say(GET_INFO, bytes(16), size=size)
    with pytest.raises(Gone):
        c.hear()
    c.close()
    c = nic.connect()
    well(c)
    c.close()


def test_longest_message(client):
    """A write of max_data_xfer_size, and one byte more ("count must not exceed")."""
    data = os.urandom(0x100000)
    client.region_write(BAR4, 0, data)
    assert client.region_read(BAR4, 0, len(data)) == data
    assert client.error(REGION_WRITE, access(BAR4, 0, len(data) + 1) + data + b"x") == errno.EINVAL
    assert client.error(REGION_READ, access(BAR4, 0, len(data) + 1)) == errno.EINVAL


@pytest.mark.parametrize("kind", range(2, 16))
def test_unknown_type(client, kind):
    assert client.error(RESET, flags=kind) == errno.EINVAL


def test_no_reply(client):
    """"Command Concurrency": done before the reply to a younger command is sent; not replied to,
    whether it succeeds or not."""
    client.say(REGION_WRITE, access(BAR4, 8, 4) + b"abcd", flags=NO_REPLY)
    client.say(REGION_WRITE, access(BAR4, 2**63, 4) + b"abcd", flags=NO_REPLY)
    client.say(99, b"", flags=NO_REPLY)
    assert client.region_read(BAR4, 8, 4) == b"abcd"
    assert client.quiet()


def test_reply_nobody_asked_for(client):
    for command in (DMA_READ, DMA_WRITE, GET_INFO, 99):
        client.say(command, bytes(80), flags=REPLY)
        client.say(command, flags=REPLY | ERROR, error=5)
    well(client)
    assert client.quiet()


@pytest.mark.parametrize("command", [0, 14, 19, 255, 0xffff, DMA_READ, DMA_WRITE, FEATURE,
                                     MIG_DATA_READ, MIG_DATA_WRITE])
def test_unknown_command(client, command):
    """Those that are the server's to send, those of migration, and those there are not."""
    for payload in (b"", bytes(8), bytes(200)):
        assert client.error(command, payload) == errno.ENOTSUP
    well(client)


SHORT = {DMA_MAP: 32, DMA_UNMAP: 24, GET_INFO: 16, GET_REGION_INFO: 32, GET_REGION_IO_FDS: 16,
         GET_IRQ_INFO: 16, SET_IRQS: 20, REGION_READ: 16, REGION_WRITE: 16, REGION_WRITE_MULTI: 8}


@pytest.mark.parametrize("command", SHORT)
def test_short_request(client, command):
    """Every length less than the structure, and every argsz less than "the fixed reply payload"."""
    for length in range(SHORT[command]):
        assert client.error(command, bytes(length)) == errno.EINVAL
    if command not in (REGION_READ, REGION_WRITE, REGION_WRITE_MULTI):
        for argsz in range(SHORT[command]):
            payload = struct.pack("=I", argsz).ljust(SHORT[command], b"\0")
            assert client.error(command, payload) == errno.EINVAL
    well(client)


def test_bytes_one_by_one(client):
    for byte in pack(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0), ident=5):
        client.raw(bytes([byte]))
    assert client.hear()[:3] == (5, GET_INFO, REPLY)


# --- "VFIO_USER_VERSION" --------------------------------------------------------------------------


def agreed(nic, payload):
    """The server's answer to a VERSION, and whether it goes on."""
    c = Client(nic.path)
    try:
        message = c.ask(VERSION, payload)
        if not message.flags & ERROR:
            well(c)
            return message
        with pytest.raises(Gone):
            c.hear()
        return message
    finally:
        c.close()


def parse(message):
    major, minor = struct.unpack_from("=HH", message.payload)
    assert message.payload[-1] == 0 or len(message.payload) == 4
    text = message.payload[4:-1]
    return major, minor, json.loads(text)["capabilities"] if text else {}


@pytest.mark.parametrize("minor", [0, 1, 2, 65535])
def test_minor(nic, minor):
    """"equal to or less than the minor version proposed"; this server knows 0.1."""
    assert parse(agreed(nic, version(CAPABILITIES, minor=minor)))[:2] == (0, min(minor, 1))


@pytest.mark.parametrize("major", [1, 65535])
def test_major(nic, major):
    assert agreed(nic, version(CAPABILITIES, major=major)).error == errno.ENOTSUP


def test_capabilities(nic):
    """"a subset of those proposed"; what is not named, with unknown ones among it, is none."""
    assert parse(agreed(nic, version()))[2] == {}
    assert parse(agreed(nic, version({})))[2] == {}
    for name in CAPABILITIES:
        assert set(parse(agreed(nic, version({name: CAPABILITIES[name]})))[2]) == {name}
    every = {**CAPABILITIES, "migration": {"pgsize": 4096}, "twin_socket": {"supported": True},
             "unheard-of": [1]}
    named = parse(agreed(nic, version(every)))[2]
    assert named["max_data_xfer_size"] == 1048576 and named["pgsizes"] & 4096
    assert named["max_msg_fds"] >= 1 and named["max_dma_maps"] >= 1
    # No twin socket: "the entire twin_socket object is absent".
    assert set(named) == set(CAPABILITIES)


@pytest.mark.parametrize("payload", [
    b"", b"\0\0\1", version() + b"{}", version() + b"{\0", version() + b"[]\0",
    version() + b"{\"capabilities\":[]}\0", version({"max_msg_fds": -1}),
    version({"max_msg_fds": "8"}), version({"max_data_xfer_size": 0}),
    version({"write_multiple": 1}), version() + b"\xff\xfe\0", version() + b"[" * 5000 + b"\0"])
def test_malformed_version(nic, payload):
    assert agreed(nic, payload).error == errno.EINVAL


def test_client_without_descriptors(nic):
    """max_msg_fds 0: nothing comes with a descriptor, and nothing claims to."""
    c = Client(nic.path)
    assert c.negotiate({"max_msg_fds": 0}).flags == REPLY
    for index in range(REGIONS):
        message, info = c.region_info(index, 4096)
        assert not message.fds and not info[1] & 4
    message = c.ask(GET_REGION_IO_FDS, struct.pack("=IIII", 4096, 0, BAR0, 0))
    assert not message.fds and struct.unpack_from("=IIII", message.payload) == (16, 0, BAR0, 0)
    c.close()


def test_commands_before_version(nic):
    """"the client must send a VFIO_USER_VERSION message" first."""
    for command in (GET_INFO, DMA_MAP, RESET, 99):
        c = Client(nic.path)
        assert c.error(command, bytes(64)) == errno.EINVAL
        with pytest.raises(Gone):
            c.hear()
        c.close()


def test_second_version(client):
    assert client.negotiate(CAPABILITIES).error == errno.EINVAL
    well(client)


def test_second_client(nic, client):
    """One client at a time; another is told so when it has said something, which may be never."""
    silent = [Client(nic.path) for _ in range(6)]
    for other in silent[:2] + [Client(nic.path)]:
        with contextlib.suppress(Gone, ConnectionError):
            assert other.negotiate(CAPABILITIES).error == errno.EBUSY
            with pytest.raises(Gone):
                other.hear()
        other.close()
    well(client)
    for other in silent:
        other.close()


def test_second_client_within_its_header(nic, client):
    """Half a header does not keep the thread awake."""
    def ticks():
        with open(f"/proc/{nic.process.pid}/stat") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))

    others = [Client(nic.path) for _ in range(3)]
    for other in others:
        other.raw(b"\0" * 7)
    well(client)
    before = ticks()
    time.sleep(1)
    assert ticks() - before < os.sysconf("SC_CLK_TCK") / 2
    for other in others:
        other.close()
    well(client)


def test_second_client_that_ends_within_its_header(nic, client):
    for said in (b"", b"\0" * 7, b"\0" * 15) * 4:  # more than wait at a time
        other = Client(nic.path)
        if said:
            other.raw(said)
        other.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(Gone):
            other.hear()
        other.close()
    well(client)


# --- "VFIO_USER_DEVICE_GET_INFO" and its like -----------------------------------------------------


@pytest.mark.parametrize("argsz", [16, 17, 4096, 2**32 - 1])
def test_device_info(client, argsz):
    payload = client.done(GET_INFO, struct.pack("=IIII", argsz, 0, 0, 0))
    # "16 bytes today"; flags RESET | PCI; PCI has nine regions and five types of interrupts.
    assert payload == struct.pack("=IIII", 16, 1 | 2, REGIONS, 5)


def test_region_info(client):
    sizes = {BAR0: 0x10000, BAR2: 16 << 20, BAR4: PACKET_MEMORY, CONFIG: 4096}
    for index in range(REGIONS):
        message, (argsz, flags, where, caps, size, _) = client.region_info(index, 4096)
        assert where == index and size == sizes.get(index, 0)
        assert argsz == len(message.payload)
        # "When this flag is set, the reply will include a file descriptor."
        assert bool(flags & 4) == bool(message.fds) == (index in (BAR0, BAR2, BAR4))
        assert bool(flags & 8) == bool(caps)
        assert flags & 3 == (3 if size else 0)
        close_all(message.fds)
    for index in (REGIONS, 255, 2**32 - 1):
        payload = struct.pack("=IIIIQQ", 4096, 0, index, 0, 0, 0)
        assert client.error(GET_REGION_INFO, payload) == errno.EINVAL


def capabilities(payload, at):
    """"VFIO region capabilities": the list that begins at that offset."""
    while at:
        assert at % 8 == 0 and 32 <= at <= len(payload) - 8
        ident, number, then = struct.unpack_from("=HHI", payload, at)
        yield ident, number, at + 8
        assert then == 0 or then > at
        at = then


def test_region_capabilities(client):
    """"Message sizes": argsz is what a whole reply needs; one that does not fit is not whole, and
    does not say that it has capabilities."""
    whole, info = client.region_info(BAR0, 4096)
    close_all(whole.fds)
    found = list(capabilities(whole.payload, info[3]))
    assert [(ident, number) for ident, number, _ in found] == [(1, 1)]  # sparse mmap
    areas, _ = struct.unpack_from("=II", whole.payload, found[0][2])
    shown = [struct.unpack_from("=QQ", whole.payload, found[0][2] + 8 + 16 * k)
             for k in range(areas)]
    assert shown == [(0x1000, 0x1000)]
    for argsz in range(32, info[0] + 1):
        message, (need, flags, index, caps, size, _) = client.region_info(BAR0, argsz)
        close_all(message.fds)
        assert len(message.payload) <= argsz
        assert (need, index, size) == (info[0], BAR0, info[4])
        if argsz < need:
            assert (flags & 8, caps, len(message.payload), message.fds) == (0, 0, 32, [])
        else:
            assert message.payload == whole.payload and len(message.fds) == 1
    # The descriptor maps at `offset`, and each area at its own behind that.
    message, info = client.region_info(BAR0, 4096)
    with mmap.mmap(message.fds[0], 0x1000, prot=mmap.PROT_READ, offset=info[5] + 0x1000) as page:
        assert page[0x50:0x58] == client.region_read(BAR0, 0x1050, 8)
    close_all(message.fds)


def test_mapped_region(client):
    """A region without capabilities is all mappable; "all of these operations must be supported …
    even if … mappable"."""
    message, info = client.region_info(BAR4, 32)
    assert info[1] == 1 | 2 | 4 and len(message.fds) == 1
    with mmap.mmap(message.fds[0], info[4], offset=info[5]) as bar:
        bar[100:104] = b"here"
        assert client.region_read(BAR4, 100, 4) == b"here"
        client.region_write(BAR4, info[4] - 4, b"last")
        assert bar[-4:] == b"last"
    close_all(message.fds)


def test_region_io_fds(client):
    request = struct.pack("=IIII", 4096, 0, BAR0, 0)
    message = client.ask(GET_REGION_IO_FDS, request)
    # "argsz is the size of the region IO FD info structure plus the total size of the sub-region
    # array"
    assert struct.unpack_from("=IIII", message.payload) == (16 + 40, 0, BAR0, 1)
    offset, size, index, kind, flags, _, match = struct.unpack_from("=QQIIIIQ", message.payload, 16)
    assert (offset, size, index, kind, flags, match) == (0x2000, 0, 0, 0, 0, 0)
    assert len(message.fds) == 1
    assert os.readlink(f"/proc/self/fd/{message.fds[0]}") == "anon_inode:[eventfd]"
    close_all(message.fds)
    for argsz in range(16, 56):
        short = client.ask(GET_REGION_IO_FDS, struct.pack("=IIII", argsz, 0, BAR0, 0))
        assert short.payload == message.payload[:16] and not short.fds
    payload = client.done(GET_REGION_IO_FDS, struct.pack("=IIII", 4096, 0, BAR4, 0))
    assert payload == struct.pack("=IIII", 16, 0, BAR4, 0)
    for argsz, flags, index in ((4096, 1, BAR0), (4096, 0, REGIONS), (4096, 0, 2**32 - 1)):
        payload = struct.pack("=IIII", argsz, flags, index, 0)
        assert client.error(GET_REGION_IO_FDS, payload) == errno.EINVAL


def test_irq_info(client):
    for index in range(5):
        payload = client.done(GET_IRQ_INFO, struct.pack("=IIII", 4096, 0, index, 0))
        expected = (16, 1 | 2, index, 5) if index == MSIX else (16, 0, index, 0)
        assert struct.unpack("=IIII", payload) == expected
    for index in (5, 2**32 - 1):
        assert client.error(GET_IRQ_INFO, struct.pack("=IIII", 16, 0, index, 0)) == errno.EINVAL


# --- "VFIO_USER_DEVICE_SET_IRQS" ------------------------------------------------------------------


def irqs(client, flags, start, count, data=b"", fds=(), index=MSIX, **fields):
    return client.error(SET_IRQS, irq_set(flags, index, start, count, data, **fields), fds=fds)


def rung(fd):
    with contextlib.suppress(BlockingIOError):
        return struct.unpack("=Q", os.read(fd, 8))[0]
    return 0


def test_interrupts(client):
    """Each type of data with each action: "the flags are mutually exclusive for both sets"."""
    with events(5) as fds:
        assert irqs(client, EVENTFD | TRIGGER, 0, 5, fds=fds) == 0
        assert irqs(client, NONE | TRIGGER, 1, 2) == 0
        assert [rung(fd) for fd in fds] == [0, 1, 1, 0, 0]
        assert irqs(client, BOOL | TRIGGER, 0, 5, b"\1\0\0\1\0") == 0
        assert [rung(fd) for fd in fds] == [1, 0, 0, 1, 0]
        # Masked, an interrupt is pending; unmasked, it comes once.
        assert irqs(client, NONE | MASK, 0, 5) == 0
        for _ in range(3):
            assert irqs(client, NONE | TRIGGER, 0, 5) == 0
        assert [rung(fd) for fd in fds] == [0] * 5
        assert irqs(client, BOOL | UNMASK, 0, 5, b"\1\1\0\0\0") == 0
        assert [rung(fd) for fd in fds] == [1, 1, 0, 0, 0]
        assert irqs(client, NONE | UNMASK, 0, 5) == 0
        assert [rung(fd) for fd in fds] == [0, 0, 1, 1, 1]
        assert irqs(client, BOOL | MASK, 0, 2, b"\0\1") == 0
        assert irqs(client, NONE | TRIGGER, 0, 2) == 0
        assert [rung(fd) for fd in fds] == [1, 0, 0, 0, 0]
        assert irqs(client, NONE | UNMASK, 0, 5) == 0
        # "If no file descriptors are provided, this de-assigns"; a part keeps the others.
        assert irqs(client, EVENTFD | TRIGGER, 0, 2) == 0
        for fd in fds:
            rung(fd)
        assert irqs(client, NONE | TRIGGER, 0, 5) == 0
        assert [rung(fd) for fd in fds] == [0, 0, 1, 1, 1]
        # One that takes the place of another.
        assert irqs(client, EVENTFD | TRIGGER, 4, 1, fds=[fds[0]]) == 0
        assert irqs(client, NONE | TRIGGER, 4, 1) == 0
        assert [rung(fd) for fd in fds] == [1, 0, 0, 0, 0]
        # "a count (and start) of 0 … disables all interrupts of the index"
        assert irqs(client, NONE | TRIGGER, 0, 0) == 0
        assert irqs(client, NONE | TRIGGER, 0, 5) == 0
        assert [rung(fd) for fd in fds] == [0] * 5
        # No vectors of that type: to disable them is all that can be asked.
        for index in (0, 1, 3, 4):
            assert irqs(client, NONE | TRIGGER, 0, 0, index=index) == 0
            assert irqs(client, NONE | TRIGGER, 0, 1, index=index) == errno.EINVAL
            assert irqs(client, EVENTFD | TRIGGER, 0, 1, fds=fds[:1], index=index) == errno.EINVAL
        well(client)


def test_interrupts_refused(client):
    with events(6) as fds, memory(4096) as no_event:
        for flags in (0, NONE, TRIGGER, NONE | BOOL | TRIGGER, NONE | MASK | TRIGGER,
                      BOOL | EVENTFD | TRIGGER, NONE | TRIGGER | 0x40, 2**32 - 1):
            assert irqs(client, flags, 0, 1, b"\1") == errno.EINVAL
        for start, count in ((0, 6), (5, 1), (4, 2), (1, 0), (0, 2**32 - 1), (2**32 - 1, 2),
                             (2**32 - 1, 2**32 - 1)):
            assert irqs(client, NONE | TRIGGER, start, count) == errno.EINVAL
        for index in (5, 2**32 - 1):
            assert irqs(client, NONE | TRIGGER, 0, 1, index=index) == errno.EINVAL
        assert irqs(client, BOOL | TRIGGER, 0, 5, b"\1\1\1\1") == errno.EINVAL
        assert irqs(client, NONE | MASK, 0, 0) == errno.EINVAL
        assert irqs(client, NONE | TRIGGER, 0, 1, argsz=19) == errno.EINVAL
        # Too few descriptors, too many, with data of another type, and what is no eventfd; then
        # none of the message is assigned.
        assert irqs(client, EVENTFD | TRIGGER, 0, 3, fds=fds[:2]) == errno.EINVAL
        assert irqs(client, EVENTFD | TRIGGER, 0, 5, fds=fds) == errno.EINVAL
        assert irqs(client, NONE | TRIGGER, 0, 1, fds=fds[:1]) == errno.EINVAL
        assert irqs(client, BOOL | TRIGGER, 0, 1, b"\1", fds=fds[:1]) == errno.EINVAL
        assert irqs(client, EVENTFD | TRIGGER, 0, 2, fds=[fds[0], no_event]) == errno.EINVAL
        assert irqs(client, NONE | TRIGGER, 0, 5) == 0
        assert [rung(fd) for fd in fds] == [0] * 6
        # Eventfds that tell of masking: "not all interrupt types support every combination".
        assert irqs(client, EVENTFD | MASK, 0, 1, fds=fds[:1]) == errno.ENOTSUP
        assert irqs(client, EVENTFD | UNMASK, 0, 1, fds=fds[:1]) == errno.ENOTSUP
        well(client)


# --- "VFIO_USER_REGION_READ" and its like ---------------------------------------------------------


@pytest.mark.parametrize("region, size", [(BAR0, 0x10000), (BAR2, 16 << 20), (BAR4, PACKET_MEMORY),
                                          (CONFIG, 4096), (1, 0), (6, 0), (8, 0)])
def test_region_bounds(client, region, size):
    for offset, count in ((size, 1), (size, 4), (2**64 - 4, 4), (2**64 - 1, 1), (2**63, 4),
                          (0, 0), (0, 2**32 - 1), (size - 2 if size else 0, 4)):
        assert client.error(REGION_READ, access(region, offset, count)) == errno.EINVAL
        data = bytes(count if count < 100 else 4)
        assert client.error(REGION_WRITE, access(region, offset, count) + data) == errno.EINVAL
    well(client)


def test_no_region(client):
    for region in (REGIONS, 255, 2**32 - 1):
        assert client.error(REGION_READ, access(region, 0, 4)) == errno.EINVAL
        assert client.error(REGION_WRITE, access(region, 0, 4) + b"abcd") == errno.EINVAL


def test_register_widths(client):
    """32 bits, aligned, and no others: the device's own rule (datasheet, §4)."""
    for offset, count in ((0, 1), (0, 2), (0, 8), (2, 4), (1, 4)):
        assert client.error(REGION_READ, access(BAR0, offset, count)) == errno.EINVAL
        assert client.error(REGION_WRITE, access(BAR0, offset, count) + bytes(count)) == \
            errno.EINVAL


def test_write_lengths(client):
    """More or less data than `count` says."""
    for count, brought in ((4, 3), (4, 5), (4, 0), (0, 4), (2**32 - 1, 4)):
        assert client.error(REGION_WRITE, access(BAR4, 0, count) + bytes(brought)) == errno.EINVAL


def small(region, offset, data):
    return struct.pack("=QII", offset, region, len(data)) + data.ljust(8, b"\0")


def test_write_multi(client):
    """"wr_cnt is the number of device writes completed": up to the first that fails."""
    good = [small(BAR4, 16 * k, bytes([k + 1]) * 8) for k in range(4)]
    bad = small(BAR4, 2**40, b"abcd")
    assert client.done(REGION_WRITE_MULTI, struct.pack("=Q", 4) + b"".join(good)) == \
        struct.pack("=Q", 4)
    assert client.region_read(BAR4, 48, 8) == b"\4" * 8
    payload = struct.pack("=Q", 3) + good[0] + bad + small(BAR4, 48, b"no")
    assert client.done(REGION_WRITE_MULTI, payload) == struct.pack("=Q", 1)
    assert client.region_read(BAR4, 48, 8) == b"\4" * 8
    assert client.error(REGION_WRITE_MULTI, struct.pack("=Q", 1) + bad) == errno.EINVAL
    for count in (0, 2, 2**61, 2**64 - 1):
        assert client.error(REGION_WRITE_MULTI, struct.pack("=Q", count) + good[0]) == errno.EINVAL
    nine = struct.pack("=QII", 0, BAR4, 9) + bytes(8)
    assert client.error(REGION_WRITE_MULTI, struct.pack("=Q", 1) + nine) == errno.EINVAL
    assert client.done(REGION_WRITE_MULTI, struct.pack("=Q", 0)) == struct.pack("=Q", 0)


def test_reset(client):
    """"VFIO_USER_DEVICE_RESET": no payload either way; windows and eventfds are the client's."""
    client.write32(BAR0, 0x18, 9)
    with events(1) as fds:
        assert irqs(client, EVENTFD | TRIGGER, 0, 1, fds=fds) == 0
        assert client.map(0x10000, 4096) == 0
        assert client.done(RESET) == b""
        assert client.read32(BAR0, 0x18) == 0
        assert irqs(client, NONE | TRIGGER, 0, 1) == 0
        assert rung(fds[0]) == 1
        assert client.map(0x10000, 4096) == errno.EEXIST


# --- "VFIO_USER_DMA_MAP" and "VFIO_USER_DMA_UNMAP" ------------------------------------------------


def test_map(client):
    with memory(0x4000) as fd:
        assert client.done(DMA_MAP, dma_map(0x100000, 0x4000), fds=[fd]) == b""  # no reply payload
        assert client.done(DMA_MAP, dma_map(0x200000, 0x1000)) == b""
        # "A command to map over an existing region must be failed … with EEXIST"
        for address, size in ((0x100000, 0x4000), (0x103000, 0x1000), (0xff000, 0x2000),
                              (0, 0x300000), (0x200000, 0x1000)):
            assert client.map(address, size) == errno.EEXIST
            assert client.map(address, size, fds=[fd]) == errno.EEXIST
        assert client.map(0x104000, 0x1000) == 0
        assert client.map(0xff000, 0x1000, flags=READ) == 0
        assert client.map(2**64 - 0x1000, 0x1000, flags=WRITE) == 0


def test_map_refused(client):
    with memory(0x4000) as fd, memory(0x4000, seals=0) as open_ended, events(1) as bells:
        for address, size, flags in (
                (0x1000, 0, 3), (0x1000, 1, 3), (0x1000, 0x1800, 3), (0x1001, 0x1000, 3),
                (0x800, 0x1000, 3), (2**64 - 0x1000, 0x2000, 3), (0x2000, 2**64 - 0x1000, 3),
                (0x1000, 0x1000, 0), (0x1000, 0x1000, 4), (0x1000, 0x1000, 2**32 - 1)):
            assert client.map(address, size, flags) == errno.EINVAL
        assert client.map(0x1000, 0x1000, fds=[fd, fd]) == errno.EINVAL
        assert client.map(0x1000, 0x1000, fds=[fd] * 64) == errno.EINVAL
        assert client.map(0x1000, 0x4000, offset=0x1000, fds=[fd]) == errno.ERANGE
        assert client.map(0x1000, 0x1000, offset=2**64 - 0x1000, fds=[fd]) == errno.ERANGE
        assert client.map(0x1000, 0x1000, offset=0x800, fds=[fd]) == errno.EINVAL
        assert client.map(0x1000, 0x1000, fds=[open_ended]) == errno.EPERM  # could be truncated
        read_only = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        assert client.map(0x1000, 0x1000, fds=[read_only]) == errno.EACCES
        assert client.map(0x1000, 0x1000, flags=READ, fds=[read_only]) == 0
        os.close(read_only)
        with open("/dev/null", "rb") as device:
            assert client.map(0x3000, 0x1000, fds=[device.fileno()]) == errno.EINVAL
        # A doorbell (this project's extension).
        assert client.map(0x3000, 0x1000, offset=8, fds=bells) == errno.EINVAL
        assert client.map(0x3000, 0x1000, fds=bells) == 0


def test_unmap(client):
    """The reply is "the original DMA entry in the request"."""
    with memory(0x1000) as fd:
        assert client.map(0x10000, 0x1000, fds=[fd]) == 0
        request = struct.pack("=IIQQ", 24, 0, 0x10000, 0x1000)
        assert client.done(DMA_UNMAP, request) == request
        assert client.map(0x10000, 0x1000, fds=[fd]) == 0


def test_unmap_ranges(client):
    """Whole windows, any number of them; QEMU unmaps so. None in part, and nothing is left."""
    for k in range(16):
        assert client.map(0x100000 + 0x2000 * k, 0x1000) == 0
    assert client.map(0x200000, 0x10000) == 0
    for address, size in ((0x50000, 0x1000), (0x101000, 0x1000), (0x300000, 0x100000),
                          (2**64 - 0x1000, 0x1000)):
        assert client.unmap(address, size) == 0  # nothing there
    for address, size in ((0x200000, 0x1000), (0x20f000, 0x1000), (0x208000, 0x1000),
                          (0x100000, 0x101000), (0x208000, 0x100000)):
        assert client.unmap(address, size) == errno.EINVAL
    for k in range(16):
        assert client.map(0x100000 + 0x2000 * k, 0x1000) == errno.EEXIST
    assert client.unmap(0x0ff000, 0x8000) == 0  # four of them
    for k in range(16):
        assert client.map(0x100000 + 0x2000 * k, 0x1000) == (0 if k < 4 else errno.EEXIST)
    assert client.unmap(0x1000, 2**64 - 0x1000) == 0
    assert client.map(0x100000, 0x200000) == 0


def test_unmap_refused(client):
    assert client.map(0x10000, 0x2000) == 0
    for address, size, flags in ((0x10000, 0, 0), (0x10000, 0x2001, 0), (0x10800, 0x1000, 0),
                                 (0x10000, 0x1800, 0), (0x11000, 2**64 - 0x10000, 0),
                                 (0x10000, 0x2000, 1), (0x10000, 0x2000, 4),
                                 (0x10000, 0x2000, UNMAP_ALL), (0, 0x2000, UNMAP_ALL),
                                 (0x10000, 0, UNMAP_ALL), (0, 0, UNMAP_ALL | 1),
                                 (0, 0, 2**32 - 1)):
        assert client.unmap(address, size, flags) == errno.EINVAL
    assert client.map(0x10000, 0x1000) == errno.EEXIST


def test_unmap_all(client):
    assert client.unmap(0, 0, UNMAP_ALL) == 0
    with memory(0x1000) as fd:
        for k in range(100):
            assert client.map(0x100000 + 0x1000 * k, 0x1000, fds=[fd] if k % 2 else ()) == 0
    request = struct.pack("=IIQQ", 24, UNMAP_ALL, 0, 0)
    assert client.done(DMA_UNMAP, request) == request
    assert client.map(0x100000, 0x100000) == 0


def test_max_dma_maps(nic):
    """As many windows as were agreed, and one more."""
    client = nic.connect()
    request = b"".join(pack(DMA_MAP, dma_map(0x1000 * (2 * k + 1), 0x1000), flags=NO_REPLY)
                       for k in range(65534))
    client.raw(request)
    assert client.map(0x1000 * (2 * 65534 + 1), 0x1000) == 0
    assert client.map(0x1000 * (2 * 65535 + 1), 0x1000) == errno.ENOSPC
    assert client.unmap(0x1000, 0x1000) == 0
    assert client.map(0x1000 * (2 * 65535 + 1), 0x1000) == 0
    assert client.unmap(0x1000, 0x100000000) == 0
    client.close()


# --- Descriptors, streams, and who goes -----------------------------------------------------------


def test_descriptors_nobody_wants(client):
    """Those that come with a command that takes none are closed (the fixture counts)."""
    with events(1) as fds:
        for command in (GET_INFO, RESET, REGION_READ, DMA_UNMAP, 99):
            client.ask(command, bytes(64), fds=fds)
        for count in (16, 17, 100, 253):
            client.ask(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0), fds=fds * count)
    well(client)


def test_pipelined(client):
    """"The server will process commands in the order they are received"; replies likewise."""
    count = 3000
    for k in range(0, count, 100):
        batch = b"".join(pack(REGION_WRITE, access(BAR4, 4096, 4) + struct.pack("=I", n), ident=n)
                         + pack(REGION_READ, access(BAR4, 4096, 4), ident=n)
                         for n in range(k, k + 100))
        client.raw(batch)
        for n in range(k, k + 100):
            assert client.hear()[:3] == (n, REGION_WRITE, REPLY)
            message = client.hear()
            assert message[:3] == (n, REGION_READ, REPLY)
            assert struct.unpack("=I", message.payload[16:]) == (n,)


def test_client_that_stops_reading(nic):
    """Replies wait for it and nobody else does; its commands are not done any more, until it
    reads: then all are there."""
    client = nic.connect()
    count = 0
    client.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while count < 5000:
            message = pack(REGION_READ, access(BAR4, 0, 0x10000), ident=count)
            assert client.socket.send(message) == len(message)
            count += 1
    client.socket.settimeout(20)
    assert 10 < count < 5000
    other = Client(nic.path)
    assert other.negotiate(CAPABILITIES).error == errno.EBUSY  # whoever else comes is answered
    other.close()
    for k in range(count):
        assert client.hear()[:3] == (k, REGION_READ, REPLY)
    well(client)
    client.close()


def test_client_goes(nic):
    """"Socket Disconnection Behavior": windows and eventfds go, the device's state stays. It may go
    at any byte."""
    client = nic.connect()
    client.write32(BAR0, 0x18, 5)
    with events(1) as fds, memory(0x1000) as fd:
        assert irqs(client, EVENTFD | TRIGGER, 0, 1, fds=fds) == 0
        assert client.map(0x10000, 0x1000, fds=[fd]) == 0
        client.close()
        client = nic.connect()
        assert client.read32(BAR0, 0x18) == 5
        assert irqs(client, NONE | TRIGGER, 0, 1) == 0
        assert rung(fds[0]) == 0
        assert client.map(0x10000, 0x1000, fds=[fd]) == 0
    client.close()
    message = pack(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))
    for length in range(len(message)):
        client = nic.connect()
        client.raw(message[:length])
        client.close()
    client = nic.connect()
    client.done(RESET)
    client.close()
