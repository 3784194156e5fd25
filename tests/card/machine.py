# SPDX-License-Identifier: BSD-3-Clause
"""Cards: the firmware bare-metal on QEMU's RISC-V `virt`, a machine for each.

The memory of a card is a file. Its own machine has it as the first ivshmem-plain device, the others
as further ones; the driver maps it (card/carrier.h). The wire of a card is a datagram socket: one
frame is one datagram.
"""

import contextlib
import os
import socket
import subprocess
import time

QEMU = "qemu-system-riscv64"
MEMORY_MIB = 64
START_SECONDS = 30


def mac_of(card, station=1):
    return bytes((2, 0, 0, 0, card, station))


def text_of(address):
    return ":".join(f"{octet:02x}" for octet in address)


def memory_path(folder, card):
    return f"{folder}/c{card}"


class Card:
    def __init__(self, folder, program, number, count):
        self.folder, self.program, self.number, self.count = folder, program, number, count
        self.process = None
        self.console = f"{folder}/c{number}.log"
        self.wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.wire.bind(f"{folder}/h{number}")
        self.wire.setblocking(False)
        with open(memory_path(folder, number), "ab") as file:
            file.truncate(MEMORY_MIB << 20)

    def start(self):
        """Memory of the peers has to be there."""
        socket_path = f"{self.folder}/n{self.number}"
        for path in (socket_path, self.console):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        devices = []
        peers = [n for n in range(self.count) if n != self.number]
        for slot, n in enumerate([self.number, *peers]):
            devices += ["-object", f"memory-backend-file,id=m{n},size={MEMORY_MIB}M,share=on,"
                        f"mem-path={memory_path(self.folder, n)}",
                        "-device", f"ivshmem-plain,memdev=m{n},addr={slot + 1}"]
        with open(f"{self.folder}/qemu{self.number}.log", "ab") as log:
            self.process = subprocess.Popen(
                [QEMU, "-M", "virt", "-accel", "tcg,thread=single", "-smp", "1", "-m", "32M",
                 "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-bios", "none", "-kernel", self.program,
                 "-serial", f"file:{self.console}",
                 "-monitor", f"unix:{self.folder}/m{self.number},server=on,wait=off",
                 "-global", "virtio-mmio.force-legacy=false", *devices,
                 "-netdev", "dgram,id=wire,local.type=unix,remote.type=unix,"
                 f"local.path={socket_path},remote.path={self.folder}/h{self.number}",
                 "-device", f"virtio-net-device,netdev=wire,mac={text_of(mac_of(self.number))}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_started(self):
        deadline = time.monotonic() + START_SECONDS
        while "peers" not in self.log():
            assert self.process.poll() is None, f"QEMU ended: {self.errors()}{self.log()}"
            assert time.monotonic() < deadline, f"the card does not start: {self.log()}"
            time.sleep(0.02)
        self.wire.connect(f"{self.folder}/n{self.number}")

    def log(self):
        with contextlib.suppress(FileNotFoundError), open(self.console, encoding="utf8") as file:
            return file.read()
        return ""

    def errors(self):
        with open(f"{self.folder}/qemu{self.number}.log", encoding="utf8") as file:
            return file.read()

    def send(self, frame):
        """False: QEMU has not taken what was sent before."""
        try:
            self.wire.send(frame)
            return True
        except BlockingIOError:
            return False

    def receive(self):
        try:
            return self.wire.recv(65536)
        except BlockingIOError:
            return None

    def monitor(self, command):
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(f"{self.folder}/m{self.number}")
            heard = b""
            for line in (b"", command.encode() + b"\n"):
                monitor.sendall(line)
                heard = b""
                while not heard.endswith(b"(qemu) "):
                    heard += monitor.recv(4096)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None
