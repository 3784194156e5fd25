# SPDX-License-Identifier: BSD-3-Clause
"""A program on a terminal: a pty, and an emulator (pyte) that has its screen."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pyte

LATE = 30  # seconds


class Terminal:
    def __init__(self, *command, columns=80, lines=24, kind="xterm"):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw, self.status = b"", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = kind
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execv(command[0], command)

    def resize(self, columns, lines):
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds=0.05):
        """What there is; False: the program is gone."""
        while select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                return False
            self.raw += data
            self.stream.feed(data)
            seconds = 0
        return True

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def until(self, condition, what=""):
        deadline = time.monotonic() + LATE
        while True:
            there = self.read()
            if condition(self.text()):
                return self.text()
            assert time.monotonic() < deadline and there, f"{what}\n{self.text()}"

    def shows(self, *words):
        return self.until(lambda text: all(word in text for word in words), f"want {words}")

    def wait(self):
        deadline = time.monotonic() + LATE
        while self.read() and self.status is None:
            self._reap()
            assert time.monotonic() < deadline, self.text()
        while self.status is None:
            self._reap()
            time.sleep(0.01)
            assert time.monotonic() < deadline
        return os.waitstatus_to_exitcode(self.status)

    def _reap(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status = status

    def close(self):
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
