# SPDX-License-Identifier: BSD-3-Clause
"""A part that hangs, or a shortage that passes, is nobody else's failure."""

import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from scapy.all import IP, UDP, Ether, raw

from network import P2PNIC, cpu_seconds, descriptors, enter, eventually, mac, processes_of
from stream import Stream

pytestmark = pytest.mark.hostile("parts of a router that hang")

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))
from world import Inject  # noqa: E402

# seconds: within the deadlines of the router, on a machine that is busy with other things
SOON = 30
STOPPED = 15  # a stop, however many hang; 3 where nothing else runs


def passes(network, ingress, egress):
    network.wire[ingress].send(raw(
        Ether(dst=mac(ingress), src=mac(ingress, 2)) /
        IP(src=f"10.0.{ingress}.2", dst=f"10.0.{egress}.2") / UDP(sport=1, dport=9) / b"single"))
    got = network.wire[egress].receive(0.5)
    while got is not None and not got.endswith(b"single"):
        got = network.wire[egress].receive(0.5)
    return got is not None


def keeper(network):
    return next(p for p, line in processes_of(network.directory).items() if " keeper " in line)


def nic_process(network, nic):
    """The process of a NIC, as the system shows it; None: there is none."""
    return next((p for p, line in processes_of(network.directory).items()
                 if f"--nic {nic} " in line), None)


@contextlib.contextmanager
def stopped(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def quickly(network, what="nic"):
    """An answer of the router, which is not busy waiting for anybody."""
    begin = time.monotonic()
    rows = network.router.show(what)
    assert time.monotonic() - begin < 4
    return rows


def state(network, nic):
    return next(row for row in quickly(network) if row["name"] == nic)["state"]


def ends_in_time(network):
    begin = time.monotonic()
    network.router.process.send_signal(signal.SIGTERM)
    assert network.router.process.wait(60) == 0
    assert time.monotonic() - begin < STOPPED
    eventually(lambda: not processes_of(network.directory), what="nothing left")


# --- The keeper -----------------------------------------------------------------------------------

def test_keeper_stopped(make_network):
    """A NIC dies while the keeper hangs: it comes back, and a new keeper with it."""
    network = make_network(3)
    network.rings = False
    old = keeper(network)
    with stopped(old):
        os.kill(network.router.nic("nic2")["pid"], signal.SIGKILL)
        eventually(lambda: state(network, "nic2") == "forwarding", SOON, "nic2 back")
        eventually(lambda: passes(network, 1, 2), SOON, "traffic to nic2")
        assert "keeper: nic nic2: Connection timed out" in network.router.messages()
        eventually(lambda: "a new one holds the NICs" in network.router.messages(), SOON,
                   "another keeper")
        assert keeper(network) != old
    with Stream(network, 1, 3) as stream:  # it does its work
        network.router.kill()
        network.router.start()
    stream.check_whole()


def test_keeper_stopped_and_router_told_to_end(make_network):
    network = make_network(2)
    with stopped(keeper(network)):
        ends_in_time(network)


def test_keeper_stopped_and_router_replaced(make_network):
    """It may be the only holder of what forwards: the next router wakes it instead of killing
    it."""
    network = make_network(2)
    with stopped(keeper(network)), Stream(network, 1, 2) as stream:
        network.router.kill()
        network.router.start()
    stream.check_whole()
    assert network.router.messages().count("adopted, it forwards on") == 2


def test_keeper_killed_while_descriptors_are_short(make_network):
    """It is tried for ever, and a NIC comes back without it; not at the price of a processor."""
    network = make_network(2)
    network.rings = False
    router = network.router.process.pid
    was = resource.prlimit(router, resource.RLIMIT_NOFILE)
    resource.prlimit(router, resource.RLIMIT_NOFILE, (3, was[1]))
    try:
        os.kill(keeper(network), signal.SIGKILL)
        eventually(lambda: "keeper: it ended" in network.router.messages(), what="its end seen")
        before = cpu_seconds(router)
        # a client that cannot be taken
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
            waiting.connect(f"{network.router.runtime}/api.sock")
            time.sleep(2)
        assert cpu_seconds(router) - before < 0.5
        assert passes(network, 1, 2)
    finally:
        resource.prlimit(router, resource.RLIMIT_NOFILE, was)
    eventually(lambda: "a new one holds the NICs" in network.router.messages(), SOON,
               "a keeper again")
    os.kill(network.router.nic("nic2")["pid"], signal.SIGKILL)
    eventually(lambda: passes(network, 1, 2), SOON, "nic2 back")


# --- A NIC that hangs -----------------------------------------------------------------------------

def test_hung_nic_and_one_that_dies(make_network):
    """NIC 2 hangs, NIC 3 dies: NIC 3 comes back to all the others, and to NIC 2 when that answers
    again."""
    network = make_network(4)
    network.rings = False
    nic2 = network.router.nic("nic2")["pid"]
    with stopped(nic2), Stream(network, 4, 1) as bystanders:
        os.kill(network.router.nic("nic3")["pid"], signal.SIGKILL)
        eventually(lambda: passes(network, 1, 3) and passes(network, 3, 4), SOON, "nic3 back")
        assert state(network, "nic2") == "not answering" and state(network, "nic3") == "forwarding"
        assert "nic nic2: process" in network.router.messages()
    bystanders.check_whole()
    eventually(lambda: passes(network, 2, 3) and passes(network, 3, 2), SOON, "nic2 and nic3")
    assert "nic nic2: answers again" in network.router.messages()
    assert state(network, "nic2") == "forwarding"
    assert network.router.nic("nic2")["pid"] == nic2  # it was let alone
    assert network.router.nic("nic2")["restarts"] == 0


def test_dead_nic_that_does_not_come_back_to_a_hung_one(make_network):
    """NIC 2 hangs while NIC 3 dies for good: NIC 2's side of their pair is closed when it
    answers."""
    network = make_network(3)
    network.rings = False
    with stopped(network.router.nic("nic2")["pid"]):
        os.kill(network.router.nic("nic3")["pid"], signal.SIGKILL)
        eventually(lambda: state(network, "nic3") == "forwarding", SOON, "nic3 back")
        again = nic_process(network, "nic3")
        os.kill(again, signal.SIGKILL)
    eventually(lambda: passes(network, 2, 3) and passes(network, 3, 2), SOON, "all of them")


def test_nic_that_hangs_at_its_start(make_network):
    """Nobody waits for it; after its time is up it is killed, and the next one does better."""
    network = make_network(3)
    network.rings = False
    old = network.router.nic("nic3")["pid"]
    os.kill(old, signal.SIGKILL)
    new = eventually(lambda: (p := nic_process(network, "nic3")) and p != old and p, SOON,
                     "another process")
    with stopped(new):
        with Stream(network, 1, 2) as others:
            assert state(network, "nic3") in ("starting", "down", "not answering", "forwarding")
            assert quickly(network, "ring") and quickly(network, "port")
        others.check_whole()
        eventually(lambda: nic_process(network, "nic3") not in (None, new), 60, "a third process")
    eventually(lambda: passes(network, 1, 3), SOON, "nic3 back")


@pytest.mark.parametrize("hung", [1, 2, 4])
def test_stop_with_nics_that_hang(make_network, hung):
    network = make_network(4)
    pids = [network.router.nic(f"nic{k}")["pid"] for k in range(1, hung + 1)]
    with stopped(*pids):
        ends_in_time(network)


def test_stop_while_a_nic_starts(make_network):
    network = make_network(2)
    old = network.router.nic("nic2")["pid"]
    os.kill(old, signal.SIGKILL)
    new = eventually(lambda: (p := nic_process(network, "nic2")) and p != old and p, SOON,
                     "another process")
    with stopped(new):
        ends_in_time(network)


def test_nic_that_hangs_before_its_table_is_there(make_network):
    """NIC 1 has joined and waits for the table, which waits for NIC 2; it hangs as it is told to
    forward."""
    network = make_network(2)
    network.router.stop()
    with open(network.router.log, "a", encoding="utf8") as log:
        network.router.process = subprocess.Popen(
            [P2PNIC, "router", "-c", network.router.path], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, preexec_fn=lambda: enter(network.router.namespace))
    nic2 = eventually(lambda: nic_process(network, "nic2"), what="process of nic2")
    with stopped(nic2):
        nic1 = eventually(lambda: nic_process(network, "nic1"), what="process of nic1")
        time.sleep(1)  # it joins
        with stopped(nic1):
            os.kill(nic2, signal.SIGCONT)
            eventually(network.router.answers, 60, "router up")
            eventually(lambda: state(network, "nic1") == "not answering", SOON, "nic1 silent")
    eventually(lambda: state(network, "nic1") == "forwarding", SOON, "nic1 forwards")
    eventually(lambda: passes(network, 1, 2) and passes(network, 2, 1), SOON, "traffic")


# --- A router that takes over ---------------------------------------------------------------------

def start(network, **limits):
    """A router of this configuration; the way it ends, or None if it is up."""
    def prepare():
        enter(network.router.namespace)
        for what, value in limits.items():
            resource.setrlimit(getattr(resource, what), (value, value))

    network.router.process = None
    with open(network.router.log, "a", encoding="utf8") as log:
        process = subprocess.Popen([P2PNIC, "router", "-c", network.router.path],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   preexec_fn=prepare)
    network.router.process = process
    eventually(lambda: process.poll() is not None or network.router.answers(), 30, "up, or not")
    return process.poll()


def test_takeover_short_of_descriptors(make_network):
    """Every number of descriptors is enough, or leaves all NICs forwarding."""
    network = make_network(3)
    pids = {row["name"]: row["pid"] for row in network.router.show("nic")}
    enough = descriptors(network.router.process.pid)
    failed = 0
    with Stream(network, 1, 2) as stream:
        for few in [*range(8, 20), *range(20, enough + 8, 3)]:
            network.router.kill()
            ended = start(network, RLIMIT_NOFILE=few)
            if ended is not None:
                failed += 1
                assert ended == 1
                assert {n: nic_process(network, n) for n in pids} == pids, (
                    few, network.router.messages())
                assert start(network) is None
            assert {row["name"]: row["pid"] for row in network.router.show("nic")} == pids, (
                few, network.router.messages())
    stream.check_whole()
    assert failed > 5
    assert "belongs to another configuration" not in network.router.messages()


def test_takeover_short_of_memory(make_network):
    """Every amount of memory is enough, or leaves all NICs forwarding."""
    network = make_network(2)
    pids = {row["name"]: row["pid"] for row in network.router.show("nic")}
    failed = 0
    with Stream(network, 1, 2) as stream:
        for mib in [*range(8, 64, 5), 80, 120, 160]:
            network.router.kill()
            if start(network, RLIMIT_AS=mib << 20) is not None:
                failed += 1
                assert {n: nic_process(network, n) for n in pids} == pids, (
                    mib, network.router.messages())
                assert start(network) is None
            assert {row["name"]: row["pid"] for row in network.router.show("nic")} == pids, mib
    stream.check_whole()
    assert failed > 5


def test_takeover_of_one_that_hangs(make_network):
    """It is taken over when it answers; nothing that it forwards by is touched until then."""
    network = make_network(3)
    nic2 = network.router.nic("nic2")["pid"]
    with Stream(network, 1, 3) as stream:
        with stopped(nic2):
            network.router.kill()
            network.router.start()
            assert state(network, "nic2") == "not answering"
            assert state(network, "nic1") == state(network, "nic3") == "forwarding"
        eventually(lambda: state(network, "nic2") == "forwarding", SOON, "nic2 taken over")
    stream.check_whole()
    assert network.router.nic("nic2")["pid"] == nic2
    assert passes(network, 2, 3) and passes(network, 1, 2)
    assert network.router.messages().count("adopted, it forwards on") == 3


def test_start_beside_a_nic_that_hangs_and_nobody_holds(make_network):
    """Router and keeper died; a NIC of theirs that hangs is killed, and the next start is the last
    one needed."""
    network = make_network(2)
    nic2 = network.router.nic("nic2")["pid"]
    with stopped(nic2):
        network.router.kill()
        os.kill(keeper(network), signal.SIGKILL)
        network.router.start()
        assert network.router.nic("nic2")["pid"] != nic2
    eventually(lambda: passes(network, 1, 2) and passes(network, 2, 1), SOON, "traffic")


def test_start_beside_a_keeper_that_is_ending(make_network):
    """It still accepts, and hangs up: the router begins as if there was none."""
    network = make_network(2)
    network.router.kill()
    os.kill(keeper(network), signal.SIGKILL)
    path = f"{network.router.runtime}/keeper.sock"
    os.unlink(path)
    asked = 0

    def end():
        nonlocal asked
        for _ in range(3):
            ending.accept()[0].close()
            asked += 1
        ending.close()

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ending:
        ending.bind(path)
        ending.listen()
        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        network.router.start()
        thread.join(30)
    assert asked == 3
    eventually(lambda: passes(network, 1, 2) and passes(network, 2, 1), SOON, "traffic")


def test_takeover_by_a_mistaken_configuration(make_network):
    """Another port for one NIC, and a mistake in it: what forwards by the old one is not ended for
    that."""
    network = make_network(3)
    pids = {row["name"]: row["pid"] for row in network.router.show("nic")}
    network.router.kill()
    right = network.router.config["routes"] if "routes" in network.router.config else []
    network.router.config["nics"][2]["port"]["options"] = "qdisc=on"
    network.router.config["routes"] = right + [{"prefix": "198.18.0.0/15", "via": "203.0.113.77"}]
    network.router.write()
    assert start(network) == 1
    assert "203.0.113.77" in network.router.messages()
    assert {n: nic_process(network, n) for n in pids} == pids
    network.router.config["routes"] = right
    del network.router.config["nics"][2]["port"]["options"]
    network.router.write()
    network.router.start()
    assert {row["name"]: row["pid"] for row in network.router.show("nic")} == pids


# --- API clients ----------------------------------------------------------------------------------

def test_idle_clients(make_network):
    """A hundred that ask nothing, half a request, or do not read: nobody waits for them, and none
    stays for good."""
    network = make_network(2,
                           routes=[{"prefix": f"198.18.{n % 256}.{4 * (n // 256)}/30",
                                    "via": "10.0.2.2"}
                                      for n in range(3000)])
    before = descriptors(network.router.process.pid)
    clients = []
    for k in range(100):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(f"{network.router.runtime}/api.sock")
        with contextlib.suppress(BrokenPipeError):
            client.sendall((b"", b'{"show": "ni', b'{"show": "route"}\n', b"\0\xff{{{\n")[k % 4])
        clients.append(client)
        if k % 10 == 9:
            assert quickly(network)
    eventually(lambda: descriptors(network.router.process.pid) <= before, 15, "clients dropped")
    for client in clients:
        client.close()
    assert len(network.router.show("route")) > 3000


def test_failed_start_leaves_nothing(make_network):
    """Also where NICs are to run on at the end: there is none, and no keeper of nothing."""
    network = make_network(2)
    network.router.stop()
    network.router.config["nics"][1]["port"]["target"] = "absent"
    network.router.write()
    for _ in range(3):
        done = subprocess.run([P2PNIC, "router", "--leave-running", "-c", network.router.path],
                              check=False, capture_output=True, text=True, timeout=30,
                              preexec_fn=lambda: enter(network.router.namespace))
        assert done.returncode == 1 and "absent" in done.stderr
        eventually(lambda: not processes_of(network.directory), what="nothing left")


# --- Calls that fail ------------------------------------------------------------------------------

@pytest.fixture
def make_failing(make_network, monkeypatch):
    """A network whose router, started anew, can be made to fail."""
    def make(nics):
        network = make_network(nics)
        network.rings = False
        inject = Inject(f"{network.directory}/inject")
        network.router.kill()
        for name, value in inject.environment.items():
            monkeypatch.setenv(name, value)
        network.router.start()
        return network, inject
    return make


@pytest.mark.preload
def test_connection_lost_at_this_end(make_failing):
    """The NIC notices nothing and says nothing: it is connected again all the same."""
    network, inject = make_failing(3)
    pids = {row["name"]: row["pid"] for row in network.router.show("nic")}
    inject.on("router", ("sendmsg",), nth=1, times=1, error=errno.EIO)
    eventually(lambda: "inject: " in network.router.messages(), SOON, "a call that failed")
    inject.off()
    eventually(lambda: [row for row in quickly(network) if row["pid"] not in (0, pids[row["name"]])
                        and row["state"] == "forwarding"], SOON, "the NIC with another process")
    assert all(passes(network, a, b) for a, b in ((1, 2), (2, 3), (3, 1)))
    assert sum(row["pid"] == pids[row["name"]] for row in quickly(network)) == 2


@pytest.mark.preload
def test_no_memory_while_a_nic_starts(make_failing):
    """What cannot be received stays there, and does not keep a processor busy."""
    network, inject = make_failing(2)
    router = network.router.process.pid
    old = network.router.nic("nic2")["pid"]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: nic_process(network, "nic2") not in (None, old), SOON, "another process")
    inject.on("router", ("recv", "recvmsg"), chance=1, error=errno.ENOMEM)
    before = cpu_seconds(router)
    time.sleep(2)
    used = cpu_seconds(router) - before
    assert inject.off()[1]
    assert used < 0.5, network.router.messages()
    eventually(lambda: state(network, "nic2") == "forwarding", SOON, "nic2 back")
    eventually(lambda: passes(network, 1, 2), SOON, "traffic to nic2")


@pytest.mark.preload
def test_keeper_that_cannot_be_asked(make_failing):
    """What it holds is not known then; it is not ended for that, nor the NICs with it."""
    network, inject = make_failing(2)
    pids = {row["name"]: row["pid"] for row in network.router.show("nic")}
    failed = 0
    for nth in range(1, 9):
        network.router.kill()
        inject.on("router", ("recvmsg", "sendmsg"), nth=nth, times=4, error=errno.EIO)
        failed += start(network) is not None
        inject.off()
        if network.router.process.poll() is not None:
            assert start(network) is None
        assert {row["name"]: row["pid"] for row in quickly(network)} == pids, nth
    assert failed
