# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user client of the plainest kind, written from the specification alone ("vfio-user
Protocol Specification", QEMU docs/interop/vfio-user.rst). It shares no code and no habit with the
client of driver/: each message is packed here, and nothing is done unasked."""

import array
import collections
import json
import select
import socket
import struct
import time

(VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS,
 REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET) = range(1, 14)
REGION_WRITE_MULTI, FEATURE, MIG_DATA_READ, MIG_DATA_WRITE = range(15, 19)

COMMAND, REPLY, NO_REPLY, ERROR = 0x0, 0x1, 0x10, 0x20  # "Header", Flags
READ, WRITE = 1, 2  # "VFIO_USER_DMA_MAP", flags
UNMAP_ALL = 2  # VFIO_DMA_UNMAP_FLAG_ALL of <linux/vfio.h>
HEADER = struct.Struct("=HHIII")
PATIENCE = 20

Message = collections.namedtuple("Message", "id command flags error payload fds")


class Gone(Exception):
    """The server has hung up."""


def pack(command, payload=b"", flags=COMMAND, ident=1, size=None, error=0):
    return HEADER.pack(ident, command, 16 + len(payload) if size is None else size, flags,
                       error) + payload


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.memory = {}  # bus address → bytearray: windows without a descriptor
        self.writes = []  # DMA_WRITEs heard: address, data
        self.unserved = []  # DMA messages that were put off
        self.ident = 0x4000

    def close(self):
        self.socket.close()

    # --- The stream

    def say(self, *arguments, fds=(), **fields):
        self.raw(pack(*arguments, **fields), fds)

    def raw(self, data, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.socket.sendmsg([data], rights)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def read(self, count, fds):
        data = b""
        while len(data) < count:
            part, extra, _, _ = self.socket.recvmsg(count - len(data), socket.CMSG_SPACE(64 * 4))
            for _, _, rights in extra:
                fds.frombytes(rights[:len(rights) - len(rights) % 4])
            if not part:
                raise Gone
            data += part
        return data

    def hear(self):
        """The next message, whatever it is."""
        fds = array.array("i")
        try:
            ident, command, size, flags, error = HEADER.unpack(self.read(16, fds))
            payload = self.read(size - 16, fds)
        except ConnectionError as e:
            raise Gone from e
        return Message(ident, command, flags, error, payload, list(fds))

    def quiet(self, seconds=0.2):
        """Nothing comes for that long."""
        return not select.select([self.socket], [], [], seconds)[0]

    # --- What a client does

    def serve(self, message):
        """Does a DMA message of the server; "VFIO_USER_DMA_READ", "VFIO_USER_DMA_WRITE"."""
        assert message.command in (DMA_READ, DMA_WRITE) and message.flags & 0xf == COMMAND
        address, count = struct.unpack_from("=QQ", message.payload)
        base = max((b for b in self.memory if b <= address), default=None)
        assert base is not None and address + count <= base + len(self.memory[base]), \
            f"{address:#x}+{count} was not mapped"
        at = address - base
        if message.command == DMA_WRITE:
            data = message.payload[16:]
            assert len(data) == count
            self.memory[base][at:at + count] = data
            self.writes.append((address, data))
            answer = struct.pack("=QI", address, count)
        else:
            assert len(message.payload) == 16
            answer = message.payload[:16] + bytes(self.memory[base][at:at + count])
        if not message.flags & NO_REPLY:
            self.say(message.command, answer, flags=REPLY, ident=message.id)

    def ask(self, command, payload=b"", fds=(), serve=True, **fields):
        """Sends a command; its reply. DMA messages that come before it are done, or put off."""
        self.ident = self.ident % 0xffff + 1
        self.say(command, payload, ident=self.ident, fds=fds, **fields)
        while True:
            message = self.hear()
            if message.flags & 0xf == REPLY:
                # "Header": echoed id and command; "the reply message must only include the reply
                # header" where an error occurred.
                assert (message.id, message.command) == (self.ident, command)
                assert message.flags & ~(REPLY | ERROR) == 0
                assert not message.flags & ERROR or (message.payload, message.fds) == (b"", [])
                return message
            if serve:
                self.serve(message)
            else:
                self.unserved.append(message)

    def error(self, *arguments, **fields):
        """The errno of the reply; 0: it was done."""
        message = self.ask(*arguments, **fields)
        return message.error if message.flags & ERROR else 0

    def done(self, *arguments, **fields):
        """The payload of a reply that is no error."""
        message = self.ask(*arguments, **fields)
        assert not message.flags & ERROR, f"command {message.command}: error {message.error}"
        return message.payload

    def serve_until(self, condition, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while self.unserved:
            self.serve(self.unserved.pop(0))
        while not condition():
            assert time.monotonic() < deadline, "did not come"
            if select.select([self.socket], [], [], 0.05)[0]:
                self.serve(self.hear())

    def hear_until(self, command, seconds=PATIENCE):
        """The first of the server's messages with that command; they are put off."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self.unserved:
                if message.command == command:
                    return message
            assert time.monotonic() < deadline, f"command {command} did not come"
            self.unserved.append(self.hear())

    # --- Requests of the specification

    def negotiate(self, capabilities=None, major=0, minor=1):
        return self.ask(VERSION, version(capabilities, major, minor))

    def map(self, address, size, flags=READ | WRITE, offset=0, fds=()):
        result = self.error(DMA_MAP, dma_map(address, size, flags, offset), fds=fds)
        if not result and not fds:
            self.memory[address] = bytearray(size)
        return result

    def unmap(self, address, size, flags=0):
        return self.error(DMA_UNMAP, struct.pack("=IIQQ", 24, flags, address, size))

    def region_info(self, index, argsz):
        message = self.ask(GET_REGION_INFO, struct.pack("=IIIIQQ", argsz, 0, index, 0, 0, 0))
        return message, struct.unpack_from("=IIIIQQ", message.payload)

    def region_read(self, region, offset, count, **fields):
        payload = self.done(REGION_READ, access(region, offset, count), **fields)
        assert payload[:16] == access(region, offset, count)
        return payload[16:]

    def region_write(self, region, offset, data, **fields):
        payload = self.done(REGION_WRITE, access(region, offset, len(data)) + data, **fields)
        assert payload == access(region, offset, len(data))

    def read32(self, region, offset, **fields):
        return struct.unpack("=I", self.region_read(region, offset, 4, **fields))[0]

    def write32(self, region, offset, value, **fields):
        self.region_write(region, offset, struct.pack("=I", value), **fields)


def version(capabilities=None, major=0, minor=1):
    text = b"" if capabilities is None else json.dumps(
        {"capabilities": capabilities}).encode() + b"\0"
    return struct.pack("=HH", major, minor) + text


def dma_map(address, size, flags=READ | WRITE, offset=0, argsz=32):
    return struct.pack("=IIQQQ", argsz, flags, offset, address, size)


def access(region, offset, count):
    return struct.pack("=QII", offset, region, count)


def irq_set(flags, index, start, count, data=b"", argsz=None):
    return struct.pack("=IIIII", 20 + len(data) if argsz is None else argsz, flags, index, start,
                       count) + data
