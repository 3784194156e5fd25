# SPDX-License-Identifier: BSD-3-Clause
"""Audits by themselves: what a NIC's memory lost, and what the router missed of the kernel's
changes, is found, mended, counted and said; a healthy router finds nothing while routes change."""
import contextlib
import ctypes
import os
import re
import socket
import struct
import subprocess
import threading

import pytest

from network import eventually, mac, run
from test_kernel import KernelNetwork
from test_kernel_forwarding import ADJACENCIES, FIB, becomes, checked, prepare, table_memory

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
PIDFD_OPEN, PIDFD_GETFD = 434, 438  # unistd.h


@pytest.fixture(name="network", scope="module")
def audited_network(permitted):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun: not there")
    network = KernelNetwork(3)
    try:
        network.router.config["kernel"]["audit"] = 1
        network.router.write()
        yield prepare(network.start())
    finally:
        network.close()


def counted(network):
    shown = network.router.show("kernel")
    return {key: shown[key] for key in ("audits", "audits_unfinished", "audit_repairs",
                                        "drift_kernel", "drift_router", "drift_nics")}


def audits(network, more):
    before = counted(network)["audits"]
    eventually(lambda: counted(network)["audits"] >= before + more, 60, f"{more} more audits")


def reader_socket(network):
    """A copy of the router's socket of the kernel's events."""
    pid = network.router.show("router")["pid"]
    table = run("ip", "netns", "exec", network.kernel, "cat", "/proc/net/netlink").stdout
    rows = [line.split() for line in table.splitlines()[1:]]
    events = {f"socket:[{row[9]}]" for row in rows if int(row[3], 16)}
    fd = next(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")
              if os.readlink(f"/proc/{pid}/fd/{fd}") in events)
    libc = ctypes.CDLL(None, use_errno=True)
    process = libc.syscall(PIDFD_OPEN, pid, 0)
    copy = libc.syscall(PIDFD_GETFD, process, fd, 0)
    assert copy >= 0, os.strerror(ctypes.get_errno())
    os.close(process)
    return socket.socket(fileno=copy)


@contextlib.contextmanager
def deaf(network):
    """The kernel's messages to the router vanish, and nothing says so: a filter lets none pass."""
    refuse = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # BPF_RET 0
    with reader_socket(network) as events:
        events.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                          struct.pack("=HxxxxxxQ", 1, ctypes.addressof(refuse)))
        try:
            yield
        finally:
            events.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, struct.pack("=i", 0))


def has_route(network, prefix):
    return any(row["prefix"] == prefix for row in network.router.show("route"))


def test_healthy_under_churn(network):
    """Routes come, go and change all the while, of both families: no audit finds anything."""
    script = "".join(
        f"route add 10.{9 + k % 100}.0.0/16 via 10.0.{2 + k % 2}.2\n"
        f"route replace 10.{9 + k % 100}.0.0/16 via 10.0.{3 - k % 2}.2\n"
        f"route add fd00:{9 + k % 100}::/32 via fd00:{2 + k % 2}::2\n"
        f"route del 10.{9 + k % 100}.0.0/16\nroute del fd00:{9 + k % 100}::/32\n"
        for k in range(3000))
    before = counted(network)
    ended = threading.Event()

    def churn():
        while not ended.is_set():
            done = subprocess.run(["ip", "-n", network.kernel, "-batch", "-"], input=script,
                                  text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        audits(network, 4)
    finally:
        ended.set()
        thread.join()
    now = counted(network)
    assert {key: now[key] - before[key] for key in now if key != "audits"} == {
        "audits_unfinished": 0, "audit_repairs": 0, "drift_kernel": 0, "drift_router": 0,
        "drift_nics": 0}
    assert network.router.show("kernel")["audit_last_ms"] > 0


def test_memory_is_mended(network):
    network.ip(network.kernel, "route", "add", "10.9.0.0/16", "via", "10.0.2.2")
    becomes(network, "10.9.0.1", [2], "the route")
    before = counted(network)
    with table_memory(network, "nic1") as memory:
        place = memory.find(bytes.fromhex(mac(2, 2).replace(":", "")), ADJACENCIES)
        memory[place] ^= 4
        image = memory.find(b"\x01", FIB + 64)
        memory[image] ^= 0x80
        eventually(lambda: counted(network)["audit_repairs"] > before["audit_repairs"], 60,
                   "it is mended")
    audits(network, 1)
    now = counted(network)
    assert now["drift_nics"] > before["drift_nics"]
    assert now["drift_kernel"] == before["drift_kernel"]
    assert now["drift_router"] == before["drift_router"]
    becomes(network, "10.9.0.1", [2], "the route again")
    assert re.search(r"audit: 0 objects of the kernel, 0 routes of the router and \d+ words of "
                     r"NICs were wrong, and are mended; the first: nic1: ",
                     network.router.messages())
    assert checked(network)[0] == 0


def test_missed_changes_are_mended(network):
    """A route that came, one that went: asking tells, an audit mends."""
    network.ip(network.kernel, "route", "add", "10.7.0.0/16", "via", "10.0.2.2")
    eventually(lambda: has_route(network, "10.7.0.0/16"), what="the route")
    network.router.config["kernel"]["audit"] = 0
    network.router.write()
    network.router.reload()
    before = counted(network)
    with deaf(network):
        network.ip(network.kernel, "route", "add", "10.6.0.0/16", "via", "10.0.3.2")
        network.ip(network.kernel, "route", "del", "10.7.0.0/16")
    status, said = checked(network)
    assert status == 1 and len(said) == 3, said
    for prefix in ("10.6.0.0/16", "10.7.0.0/16"):
        assert any(line.startswith(f"router: route {prefix}: has missed a change of it")
                   for line in said), said
    assert not has_route(network, "10.6.0.0/16") and has_route(network, "10.7.0.0/16")
    assert counted(network)["audit_repairs"] == before["audit_repairs"]
    network.router.config["kernel"]["audit"] = 1
    network.router.write()
    network.router.reload()
    eventually(lambda: has_route(network, "10.6.0.0/16") and not has_route(network, "10.7.0.0/16"),
               60, "both are mended")
    eventually(lambda: "audit: 2 objects of the kernel, 0 routes" in network.router.messages(),
               what="the message")
    assert counted(network)["audit_repairs"] == before["audit_repairs"] + 1
    assert checked(network)[0] == 0
