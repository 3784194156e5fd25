# SPDX-License-Identifier: BSD-3-Clause
"""What one router leaves and the next one finds: NICs of another configuration, halves of
processes, ends in between; and a router that carries packets itself (bn), or is refused at its
start."""

import contextlib
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import time

import pytest

from network import P2PNIC, Network, eventually, mac, processes_of
from test_calls import failing  # noqa: F401  # pylint: disable=unused-import
from test_life import passes

SOON = 15

pytestmark = pytest.mark.preload


def up(router, **changes):
    """It runs with these changes of its configuration; its NICs' processes."""
    router.inject.off()
    for key, value in changes.items():
        router.router.config[key] = value
    router.router.write()
    assert router.spawn(), router.where()
    return router.well()


def asked(router, request):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(SOON)
        client.connect(f"{router.router.runtime}/api.sock")
        client.sendall(request if isinstance(request, bytes)
                       else json.dumps(request).encode() + b"\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return json.loads(answer)


# --- What an earlier router left ------------------------------------------------------------------

def test_nic_of_another_configuration(failing):
    """Its process ends, another is started; the one that is the same forwards on."""
    before = up(failing)
    failing.end()
    failing.router.config["nics"][1]["mac"] = mac(2, 9)
    after = up(failing)
    assert after["nic1"] == before["nic1"] and after["nic2"] != before["nic2"]
    assert f"process {before['nic2']} belongs to another configuration: stopped" in failing.said()
    assert before["nic2"] not in processes_of(failing.directory)
    failing.stop()


def test_nic_that_is_no_more(failing):
    """It ends, and the keeper lets go of it."""
    before = up(failing)
    failing.end()
    nics = failing.router.config["nics"]
    after = up(failing, nics=nics[:1], neighbors=failing.router.config["neighbors"][:1])
    assert after == {"nic1": before["nic1"]}
    assert before["nic2"] not in processes_of(failing.directory)
    failing.end()
    assert up(failing) == after
    assert "another configuration" not in failing.said()
    failing.stop()


def test_process_of_two(failing):
    """A process is of use whole: one of its NICs is another, so both are started anew."""
    engines = [{"name": "a", "process": "p"}, {"name": "b", "process": "p"}]
    for nic, engine in zip(failing.router.config["nics"], engines):
        nic["engine"] = engine["name"]
    before = up(failing, engines=engines)
    assert before["nic1"] == before["nic2"]
    failing.end()
    assert up(failing) == before
    failing.end()
    failing.router.config["nics"][1]["mac"] = mac(2, 9)
    after = up(failing)
    assert after["nic1"] == after["nic2"] != before["nic1"]
    assert failing.said().count("belongs to another configuration: stopped") == 1
    failing.stop()


def test_moved_to_the_process_of_another(failing):
    before = up(failing, engines=[{"name": "a"}, {"name": "b"}])
    failing.end()
    failing.router.config["nics"][0]["engine"] = "a"
    failing.router.config["nics"][1]["engine"] = "b"
    after = up(failing, engines=[{"name": "a", "process": "p"}, {"name": "b", "process": "p"}])
    assert after["nic1"] == after["nic2"] not in before.values()
    failing.stop()


def test_died_in_between(failing):
    """Nobody watched; the next router starts it."""
    before = up(failing)
    failing.end()
    os.kill(before["nic2"], signal.SIGKILL)
    eventually(lambda: before["nic2"] not in processes_of(failing.directory), what="its end")
    after = up(failing)
    assert after["nic1"] == before["nic1"] and after["nic2"] != before["nic2"]
    failing.stop()


def test_mistake_in_the_next_configuration(failing):
    """Found before anything ends for it."""
    before = up(failing)
    failing.end()
    failing.router.config["nics"][1]["mac"] = mac(2, 9)
    failing.router.config["routes"] = [{"prefix": "198.18.0.0/15", "via": "203.0.113.77"}]
    failing.router.write()
    assert not failing.spawn()
    assert "203.0.113.77 is on no connected network" in failing.said()
    failing.router.config["nics"][1]["mac"] = mac(2)
    assert up(failing, routes=[]) == before
    failing.stop()


# --- A NIC or a keeper that is of no use ----------------------------------------------------------

def test_connection_lost_to_one_that_hangs(failing):
    """It does not end when it is told to: it is killed, and comes back."""
    before = up(failing)
    os.kill(before["nic2"], signal.SIGSTOP)
    try:
        eventually(lambda: "nic nic2: process" in failing.said(), SOON, "its silence seen")
        failing.inject.on("router", ("sendmsg",), nth=1, times=0, error=errno.EIO)
        eventually(lambda: "inject: " in failing.said(), SOON, "a call that failed")
        failing.inject.off()
        after = failing.well()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(before["nic2"], signal.SIGCONT)
    assert after != before
    failing.stop()


def test_keeper_short_of_descriptors(failing):
    """It is asked again until it has room; then the NIC outlives the router like the other."""
    before = up(failing)
    keeper = failing.keeper()
    was = resource.prlimit(keeper, resource.RLIMIT_NOFILE)
    resource.prlimit(keeper, resource.RLIMIT_NOFILE, (3, was[1]))
    os.kill(before["nic2"], signal.SIGKILL)
    eventually(lambda: "keeper: nic nic2: Too many open files; tried again" in failing.said(), SOON,
               "the shortage")
    after = failing.well()
    time.sleep(1)  # twice more
    assert failing.said().count("Too many open files") == 1
    resource.prlimit(keeper, resource.RLIMIT_NOFILE, was)
    time.sleep(1)
    failing.end()
    assert up(failing) == after
    assert failing.keeper() == keeper
    failing.stop()


# --- Start and end --------------------------------------------------------------------------------

def test_runtime_too_long(failing):
    failing.inject.off()
    failing.router.config["router"]["runtime"] = "/tmp/" + "r" * 80
    failing.router.write()
    assert not failing.spawn(leave=False)
    assert "name too long for its sockets" in failing.said()
    failing.nothing_left()


def test_no_thread_for_bounce(failing):
    failing.router.config["router"]["method"] = "bn"
    failing.router.write()
    failing.inject.on("router", ("pthread_create",), nth=1, times=1)
    assert not failing.spawn(leave=False)
    assert "bounce thread: Resource temporarily unavailable" in failing.said()
    failing.inject.off()
    failing.nothing_left()


def test_clients_at_the_end(failing):
    """Those that have not asked yet do not hold it up."""
    up(failing)
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
    for client in clients:
        client.connect(f"{failing.router.runtime}/api.sock")
    failing.router.show("router")  # they are taken
    failing.stop()
    for client in clients:
        client.close()


@pytest.mark.parametrize("request_, words", [
    ({}, "no request: want show"), ({"show": 5}, "(none)"),
    ({"show": "rout"}, "by the name of rout"),
    ({"show": "route", "to": "ten"}, "not an address: ten"), ([], "no request, an object"),
    ({"reload": 5}, "reload wants an object"), ({"reload": {"x": True}}, "reload wants an object"),
    ({"reload": {"force": 3}}, "reload wants an object"), (b"{\n", "")])
def test_senseless(failing, request_, words):
    up(failing)
    answer = asked(failing, request_)
    assert list(answer) == ["error"] and words in answer["error"]
    failing.stop()


# --- Bn -------------------------------------------------------------------------------------------

def test_bounce(permitted):
    """Packets by way of host memory; also of a NIC that comes back, and of a router that takes
    over."""
    network = Network(2)
    network.rings = False
    network.router.config["router"].update(method="bn", bounce_core=0)
    network.router.write()
    try:
        network.start()
        assert {row["method"] for row in network.router.show("nic")} == {"bn"}
        assert passes(network, 1, 2) and passes(network, 2, 1)
        assert "configuration read again" in network.router.reload()
        network.router.config["router"]["bounce_core"] = 1
        network.router.write()
        assert "router: bounce_core differs" in network.router.reload()
        del network.router.config["router"]["bounce_core"]
        network.router.write()
        assert "router: bounce_core differs" in network.router.reload()
        os.kill(network.router.nic("nic2")["pid"], signal.SIGKILL)
        eventually(lambda: passes(network, 1, 2) and passes(network, 2, 1), SOON, "nic2 back")
        network.router.kill()
        network.router.start()
        eventually(lambda: passes(network, 1, 2) and passes(network, 2, 1), SOON,
                   "traffic after a takeover")
        network.router.stop()
    finally:
        network.close()


def test_router_that_is_too_far_to_ask():
    done = subprocess.run([P2PNIC, "show", "nic", "--runtime", "/" + "r" * 120],
                          capture_output=True, text=True, timeout=SOON, check=False)
    assert done.returncode == 1 and "r" * 100 in done.stderr
