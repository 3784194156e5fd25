# SPDX-License-Identifier: BSD-3-Clause
"""A soft NIC for tests that speak to its vfio-user server themselves."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

from network import P2PNIC, eventually
from vfio_user_peer import ERROR, SET_IRQS, Client, pack

CAPABILITIES = {"max_msg_fds": 8, "max_data_xfer_size": 1048576, "pgsizes": 4096,
                "max_dma_maps": 65535, "write_multiple": True}
BAR0, BAR2, BAR4, CONFIG = 0, 2, 4, 7
REGIONS = 9
MSIX = 2
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = (1 << k for k in range(6))  # of SET_IRQS
MSG_MAX = 0x100000 + 64  # a transfer of the default size, and the structures before it
COUNTER_SENT, COUNTER_DMA_FAULTS, COUNTER_DMA_LOST = 0x1010, 0x1050, 0x10f0
PACKET_MEMORY = 16 << 20


def capture(path, packets):
    """IPv4 packets to the NIC."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for k in range(packets):
            header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 60, k, 0, 64, 17, 0,
                                 socket.inet_aton("198.18.0.1"), socket.inet_aton("198.18.1.1"))
            words = sum(struct.unpack(">10H", header))
            words = (words & 0xffff) + (words >> 16)
            header = header[:10] + struct.pack(">H", ~((words & 0xffff) + (words >> 16)) & 0xffff) \
                + header[12:]
            frame = bytes.fromhex("020000000001" "020000000002" "0800") + header + bytes(40)
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


class Nic:
    def __init__(self, *options, packets=0):
        self.place = tempfile.mkdtemp(prefix="pl-vfu-")
        self.path = f"{self.place}/nic.sock"
        capture(f"{self.place}/in.pcap", packets)
        self.process = subprocess.Popen(
            [P2PNIC, "nic", *options, "--nic", "nic0", "--socket", self.path, "--port",
             f"pcap:{self.place}/in.pcap,", "--mac", "02:00:00:00:00:01"],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        eventually(self.listens, 20, "the NIC's socket")

    def listens(self):
        with contextlib.suppress(OSError):
            Client(self.path).close()
            return True
        return False

    def connect(self):
        """The client before may be on its way out."""
        while True:
            client = Client(self.path)
            message = client.negotiate(CAPABILITIES)
            if not message.flags & ERROR:
                return client
            assert message.error == errno.EBUSY
            client.close()
            time.sleep(0.01)

    def fds(self):
        """What they lead to; one that goes meanwhile is no more."""
        found = []
        for fd in os.listdir(f"/proc/{self.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{self.process.pid}/fd/{fd}"))
        return sorted(found)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.log = self.process.communicate(timeout=20)[1]
        shutil.rmtree(self.place)
        assert self.process.returncode == 0, self.log


@contextlib.contextmanager
def running(*options, **settings):
    nic = Nic(*options, **settings)
    try:
        yield nic
    finally:
        nic.close()


@contextlib.contextmanager
def memory(size, seals=fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        if seals:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def events(count):
    fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(count)]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def close_all(fds):
    for fd in fds:
        os.close(fd)


def well(client):
    """It still answers, and rightly."""
    assert client.read32(BAR0, 0) == 0x4e503250
