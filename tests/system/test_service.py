# SPDX-License-Identifier: BSD-3-Clause
"""A router as a service: what it tells the service manager, and how `p2pnic stop` ends it and what
it left. Without root: ports are captures."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import tempfile

import pytest

from network import P2PNIC, SETTLE, eventually, run
from routers import processes_of


class Service:
    """A router whose service manager is this process."""

    def __init__(self, *words):
        self.place = tempfile.mkdtemp(prefix="pl-")
        self.runtime = f"{self.place}/run"
        self.file = f"{self.place}/edge.yaml"
        with open(self.file, "w", encoding="utf8") as file:
            file.write("nics:\n" + "".join(
                f"  - {{name: {name}, port: {{type: pcap, target: ',{self.place}/{name}.pcap'}}, "
                f"addresses: [10.{k}.0.1/24]}}\n" for k, name in ((1, "left"), (2, "right"))))
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(f"{self.place}/notify")
        self.manager.settimeout(SETTLE)
        self.process = subprocess.Popen(
            [P2PNIC, "router", "--runtime", self.runtime, "-c", self.file, *words],
            stdin=subprocess.DEVNULL, stderr=open(f"{self.place}/log", "wb"),
            env={**os.environ, "NOTIFY_SOCKET": f"{self.place}/notify", "WATCHDOG_USEC": "400000"})
        self.until("READY=1")

    def until(self, wanted):
        """All lines up to that one."""
        lines = []
        while wanted not in lines:
            lines += self.manager.recv(4096).decode().splitlines()
        return lines

    def set(self, key):
        """Another last line of the configuration."""
        with open(self.file, encoding="utf8") as file:
            lines = [line for line in file if not line.startswith("log:")]
        with open(self.file, "w", encoding="utf8") as file:
            file.writelines(lines + [key + "\n"])

    def said(self):
        with open(f"{self.place}/log", encoding="utf8") as file:
            return file.read()

    def reload(self):
        """What is said by it."""
        before = len(self.said())
        assert run(P2PNIC, "reload", "--runtime", self.runtime).returncode == 0
        return self.said()[before:]

    def stop(self, *words):
        return run(P2PNIC, "stop", "--runtime", self.runtime, *words)

    def others(self):
        return [pid for pid in processes_of(self.place) if pid != self.process.pid]

    def close(self):
        self.stop()
        self.process.kill()
        self.process.wait()
        for pid in processes_of(self.place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.manager.close()
        subprocess.run(["rm", "-r", self.place], check=True)


@pytest.fixture(name="service")
def service_of_two_nics(request):
    service = Service(*getattr(request, "param", []))
    yield service
    service.close()


def test_manager_is_told(service):
    service.until("WATCHDOG=1")  # again and again
    service.until("WATCHDOG=1")
    service.process.send_signal(signal.SIGHUP)
    lines = service.until("RELOADING=1") + service.until("READY=1")
    assert any(line.startswith("MONOTONIC_USEC=") and int(line[15:]) > 0 for line in lines)
    done = run(P2PNIC, "reload", "--runtime", service.runtime)
    assert done.returncode == 0, done.stderr
    service.until("RELOADING=1")
    service.until("READY=1")
    with open(service.file, "a", encoding="utf8") as file:
        file.write("nonsense: 1\n")
    assert run(P2PNIC, "reload", "--runtime", service.runtime).returncode == 1
    service.until("RELOADING=1")
    service.until("READY=1")  # by the old one, and that is well
    pid, = (pid for pid in service.others() if b"left" in command_of(pid))
    os.kill(pid, signal.SIGSTOP)
    service.until("STATUS=1 of 2 NICs forward")
    os.kill(pid, signal.SIGCONT)
    service.until("STATUS=2 of 2 NICs forward")
    service.process.terminate()
    assert "STOPPING=1" in service.until("STATUS=stops the NICs")
    assert service.process.wait(SETTLE) == 0


def command_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def test_nobody_else_speaks_for_it(service):
    """Its NICs and helpers know nothing of the manager."""
    for pid in service.others():
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert b"NOTIFY_SOCKET" not in file.read()


def test_a_loop_that_stands_still_feeds_no_watchdog(service):
    """Not by another thread either: nothing comes for five times as long as it would."""
    service.until("WATCHDOG=1")
    service.process.send_signal(signal.SIGSTOP)
    service.manager.settimeout(1)
    with pytest.raises(TimeoutError):
        while True:
            service.manager.recv(4096)
    service.process.send_signal(signal.SIGCONT)
    service.manager.settimeout(SETTLE)
    service.until("WATCHDOG=1")


def test_log_level(service):
    """Changed by a reload, and of processes that start later; a file has the time before each
    line."""
    lines = service.said().splitlines()
    assert lines and all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z]", line)
                         for line in lines)
    assert "asked to reload; configuration read again" in service.reload()
    service.set("log: {level: warning}")
    service.reload()
    assert not service.reload()
    with open(service.file, "a", encoding="utf8") as file:
        file.write("nonsense: 1\n")
    before = len(service.said())
    assert run(P2PNIC, "reload", "--runtime", service.runtime).returncode == 1
    assert "configuration not taken" in service.said()[before:]
    pid = next(pid for pid in service.others() if b"left" in command_of(pid))
    os.kill(pid, signal.SIGKILL)
    new = eventually(lambda: [other for other in service.others()
                              if other != pid and b"left" in command_of(other)], what="another NIC")
    with open(f"/proc/{new[0]}/environ", "rb") as file:
        assert b"P2PNIC_LOG_LEVEL=warning" in file.read().split(b"\0")
    with open(service.file, encoding="utf8") as file:
        text = file.read().replace("nonsense: 1\n", "")
    with open(service.file, "w", encoding="utf8") as file:
        file.write(text)
    service.set("log: {level: info}")
    assert "configuration read again" in service.reload()


@pytest.mark.parametrize("service", [["--log-level", "error"]], indirect=True)
def test_log_level_of_the_command_line(service):
    service.set("log: {level: info}")
    assert not service.reload() and not service.said()
    done = run(P2PNIC, "router", "-c", service.file, "--log-level", "loud")
    assert done.returncode == 2 and "want error, warning or info" in done.stderr


@pytest.mark.parametrize("service", [[], ["--leave-running"]], indirect=True)
def test_stop(service):
    assert len(service.others()) == 3  # two NICs, the keeper
    done = service.stop()
    assert done.returncode == 0 and not done.stderr
    assert service.process.wait(SETTLE) == 0
    assert not service.others() and not os.path.exists(service.runtime)
    assert service.stop().returncode == 0  # nothing is left to stop


@pytest.mark.parametrize("service", [["--leave-running"]], indirect=True)
@pytest.mark.parametrize("hang", [False, True])
def test_stop_what_was_left(service, hang):
    service.process.terminate()
    assert service.process.wait(SETTLE) == 0
    assert len(service.others()) == 3
    if hang:
        pid = next(pid for pid in service.others() if b"left" in command_of(pid))
        os.kill(pid, signal.SIGSTOP)
    assert service.stop().returncode == 0
    eventually(lambda: not service.others(), what="nobody left")


@pytest.mark.parametrize("service", [["--leave-running"]], indirect=True)
def test_stop_ends_metrics_that_were_left(service):
    with open(service.file, "a", encoding="utf8") as file:
        file.write(f'metrics: {{listen: "unix:{service.place}/metrics"}}\n')
    service.reload()
    eventually(lambda: os.path.exists(f"{service.place}/metrics"), what="metrics")
    service.process.terminate()
    assert service.process.wait(SETTLE) == 0
    assert len(service.others()) == 4
    assert service.stop().returncode == 0
    eventually(lambda: not service.others(), what="nobody left")
    assert not os.path.exists(service.runtime)


@pytest.mark.parametrize("service", [["--leave-running"]], indirect=True)
def test_stop_while_a_router_begins(service):
    """It has the lock, and does not answer yet: what it may adopt is not ended."""
    service.process.terminate()
    assert service.process.wait(SETTLE) == 0
    with open(f"{service.runtime}/lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = service.stop()
        assert done.returncode == 1 and "another router runs in" in done.stderr
        assert len(service.others()) == 3
    assert service.stop().returncode == 0
    eventually(lambda: not service.others(), what="nobody left")


def test_stop_leaves_others_alone(service):
    """Who answers in a NIC's place is no NIC; who is told the wrong directory stops nothing."""
    assert run(P2PNIC, "stop", "--runtime", service.place).returncode == 0
    assert service.process.poll() is None and len(service.others()) == 3
    for words in (["more"], ["--name", "a", "--runtime", "b"], ["--name", "a/b"]):
        assert run(P2PNIC, "stop", *words).returncode == 2
    os.chmod(service.place, 0o777)
    done = service.stop()
    assert done.returncode == 1 and "others can write there" in done.stderr
    os.chmod(service.place, 0o700)
