# SPDX-License-Identifier: BSD-3-Clause
"""A router one of whose calls fails while it starts, takes over, starts a NIC or a keeper again,
reloads or is asked: a clean error or success, nothing left, and no NIC lost that was well.

P2PNIC_INJECT_STEP=1 takes every call; otherwise every nth, so that the suite stays short.
tests/chaos/calls.py does the same with links and packets."""

import contextlib
import glob
import os
import re
import signal
import socket
import subprocess

import pytest

from inject import Inject, place
from network import P2PNIC, Router, eventually, mac, processes_of

STEP = int(os.environ.get("P2PNIC_INJECT_STEP", "0"))
# What a router does once or a few times; the messages to its NICs are many, and fail in steps of
# their own.
SETUP = ("socket", "bind", "listen", "connect", "getsockopt", "epoll_create1", "epoll_ctl",
         "eventfd", "signalfd", "pipe2", "fork", "fopen", "opendir", "syscall")
MESSAGES = ("sendmsg", "recvmsg", "calloc")
RELOADING = ("calloc", "open", "fopen", "read", "epoll_ctl")
REQUESTS = ("accept4", "recv", "send", "calloc", "epoll_ctl")

pytestmark = pytest.mark.preload


class Failing:
    """A router of two NICs whose calls fail by a rule, and what must hold of it."""

    def __init__(self, path):
        self.inject = Inject(path / "rule")
        self.router = Router({
            "nics": [{"name": f"nic{k}", "mac": mac(k), "port": {"type": "pcap", "target": ","},
                      "addresses": [f"10.0.{k}.1/24"]} for k in (1, 2)],
            "neighbors": [{"nic": f"nic{k}", "address": f"10.0.{k}.2", "mac": mac(k, 2)}
                          for k in (1, 2)],
            "routes": []}, str(path))
        self.directory = str(path)
        self.at = 0

    def said(self):
        return self.router.messages()[self.at:]

    def spawn(self, leave=True):
        """Starts it, to leave its NICs running at its end; True: it is up."""
        self.at = len(self.router.messages()) if os.path.exists(self.router.log) else 0
        with open(self.router.log, "a", encoding="utf8") as log:
            process = subprocess.Popen([P2PNIC, "router", "-c",
                                        self.router.path, *["--leave-running"] * leave],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env={**os.environ, **self.inject.environment})
        self.router.process = process
        eventually(lambda: process.poll() is not None or "questions to" in self.said(), 30,
                   f"up, or not: {self.where()}")
        if process.poll() is None:
            return True
        assert process.returncode == 1, self.where()
        assert re.search(r"^(\S+Z )?p2pnic router: *\S", self.said(), re.MULTILINE), self.where()
        return False

    def where(self):
        return place(self.said()) + "\n" + self.said()[-2000:]

    def well(self):
        """Both NICs forward; their processes."""
        def rows():
            try:
                now = self.router.show("nic")
            except (OSError, ValueError):
                return None
            return now if all(row["state"] == "forwarding" for row in now) else None
        return {row["name"]: row["pid"] for row in eventually(
            rows, 15, f"both forward: {self.where()}")}

    def end(self):
        """Of the router; no call fails meanwhile."""
        on, self.inject.map[0] = self.inject.map[0], 0
        if self.router.process.poll() is None:
            self.router.process.terminate()
            assert self.router.process.wait(20) == 0, self.where()
        self.inject.map[0] = on

    def nothing_left(self):
        eventually(lambda: not processes_of(self.directory),
                   what=f"processes end: {self.where()}")
        sockets = glob.glob(f"{self.router.runtime}/*.sock")
        assert not sockets, self.where()

    def stop(self):
        """By a router that takes over and does not leave them."""
        self.inject.off()
        self.end()
        assert self.spawn(leave=False), self.where()
        self.end()
        self.nothing_left()

    def keeper(self):
        return next((p for p, line in processes_of(self.directory).items() if " keeper " in line),
                    None)

    def each(self, functions, step, during, most=1000):
        """during() while call 1, 1 + step, … of these fails, until there is none; at most those."""
        for k in range(1, most, STEP or step):
            self.inject.on("router", functions, nth=k, times=1)
            self.at = len(self.router.messages()) if os.path.exists(self.router.log) else 0
            failed = during()
            if not failed:
                assert k > 1, self.where()
                return


@pytest.fixture
def failing(tmp_path):
    failing = Failing(tmp_path)
    yield failing
    failing.inject.off()
    process = failing.router.process
    if process and process.poll() is None:
        process.kill()
        process.wait()
    for pid in processes_of(failing.directory):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("functions, step, most", [(SETUP, 1, 1000), (MESSAGES, 41, 1000),
                                                   (("calloc",), 1, 16)])
def test_start(failing, functions, step, most):
    def during():
        up = failing.spawn(leave=False)
        failed = failing.inject.off()[1]
        assert up or failed, failing.where()
        if up:
            failing.well()
        failing.end()
        failing.nothing_left()
        return failed
    failing.each(functions, step, during, most)


@pytest.mark.parametrize("functions, step", [(SETUP, 2), (MESSAGES, 17)])
def test_takeover(failing, functions, step):
    """The next router takes the NICs over, or leaves them as they are to the one after it."""
    failing.inject.off()
    assert failing.spawn()
    pids = failing.well()

    def during():
        failing.end()
        up = failing.spawn()
        failed = failing.inject.off()[1]
        if not up:
            assert set(pids.values()) <= set(processes_of(failing.directory)), failing.where()
            assert failing.spawn(), failing.where()
        assert failing.well() == pids, failing.where()
        return failed
    failing.each(functions, step, during)
    failing.stop()


@pytest.mark.parametrize("functions, step", [(SETUP, 2), (MESSAGES, 41)])
def test_nic_started_again(failing, functions, step):
    failing.inject.off()
    assert failing.spawn()

    def during():
        failing.inject.map[0] = 0
        failing.end()
        assert failing.spawn()  # without a backoff of the time before
        before = failing.well()
        failing.inject.map[0] = 1
        os.kill(before["nic2"], signal.SIGKILL)
        eventually(lambda: "nic nic2: back" in failing.said(), 15, f"nic2 back: {failing.where()}")
        failed = failing.inject.off()[1]
        after = failing.well()
        assert after["nic1"] == before["nic1"] and after["nic2"] != before["nic2"], failing.where()
        return failed
    failing.each(functions, step, during)
    failing.stop()


@pytest.mark.parametrize("functions, step", [(SETUP + MESSAGES, 1)])
def test_keeper_started_again(failing, functions, step):
    """It holds both NICs afterwards: they outlive the router."""
    failing.inject.off()
    assert failing.spawn()
    pids = failing.well()

    def during():
        os.kill(failing.keeper(), signal.SIGKILL)
        eventually(lambda: "a new one holds the NICs" in failing.said(), 15,
                   f"a keeper: {failing.where()}")
        failed = failing.inject.off()[1]
        assert failing.well() == pids, failing.where()
        return failed
    failing.each(functions, step, during)
    failing.stop()
    assert failing.said().count("adopted, it forwards on") == 2


@pytest.mark.parametrize("functions, step", [(RELOADING, 1), (MESSAGES, 3)])
def test_reload(failing, functions, step):
    """The configuration is taken, or not and the next time."""
    failing.inject.off()
    assert failing.spawn()
    pids = failing.well()
    serial = 0

    def during():
        nonlocal serial
        serial += 1
        failing.router.config["routes"] = [{"prefix": f"198.18.{serial % 256}.0/24",
                                            "via": "10.0.2.2"}]
        failing.router.write()
        failing.router.reload()
        failed = failing.inject.off()[1]
        assert failing.well() == pids, failing.where()
        assert "configuration read again" in failing.router.reload()
        eventually(lambda: f"198.18.{serial % 256}.0/24" in
                   [row["prefix"] for row in failing.router.show("route")],
                   what=f"the route: {failing.where()}")
        return failed
    failing.each(functions, step, during)
    failing.stop()


def test_asked(failing):
    """Whoever asks is answered, or let go; the next one is answered."""
    failing.inject.off()
    assert failing.spawn()
    pids = failing.well()

    def during():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(15)
            client.connect(f"{failing.router.runtime}/api.sock")
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                client.sendall(b'{"show": "nic"}\n')
                while client.recv(65536):
                    pass
        failed = failing.inject.off()[1]
        assert failing.well() == pids, failing.where()
        return failed
    failing.each(REQUESTS, 1, during)
    failing.stop()
