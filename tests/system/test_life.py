# SPDX-License-Identifier: BSD-3-Clause
"""What happens when parts of a router end, hang, come back or are told something new."""

import os
import random
import signal
import socket
import time

import pytest
from scapy.all import IP, UDP, Ether, raw

from network import cpu_seconds, descriptors, eventually, inside, mac, processes_of, run
from stream import Stream

pytestmark = pytest.mark.hostile("parts of a router that die, hang and come back")


def frame(ingress, egress):
    return raw(Ether(dst=mac(ingress), src=mac(ingress, 2)) /
               IP(src=f"10.0.{ingress}.2", dst=f"10.0.{egress}.2") / UDP(
                   sport=1, dport=9) / b"single")


def passes(network, ingress, egress):
    network.wire[ingress].send(frame(ingress, egress))
    got = network.wire[egress].receive(1)
    while got is not None and not got.endswith(b"single"):
        got = network.wire[egress].receive(1)
    return got is not None


# --- The router's process -------------------------------------------------------------------------

def test_router_killed_and_restarted(make_network):
    network = make_network(3)
    before = {row["name"]: row["pid"] for row in network.router.show("nic")}
    with Stream(network, 1, 2) as one, Stream(network, 2, 3) as two:
        for _ in range(3):
            time.sleep(0.3)
            network.router.kill()
            time.sleep(0.3)
            network.router.start()
        time.sleep(0.3)
    one.check_whole()
    two.check_whole()
    assert {row["name"]: row["pid"] for row in network.router.show("nic")} == before
    assert "adopted, it forwards on" in network.router.messages()
    # And it still does its work: a NIC that dies now comes back.
    os.kill(before["nic3"], signal.SIGKILL)
    network.rings = False
    eventually(lambda: passes(network, 1, 3), what="nic3 back")


def test_router_left_running(make_network):
    """--leave-running: NICs forward on without a router, and the next one takes them over."""
    network = make_network(2)
    network.router.kill()
    with Stream(network, 1, 2) as stream:
        time.sleep(0.5)
        network.router.start()
        time.sleep(0.5)
    stream.check_whole()


def test_orderly_stop_leaves_nothing(make_network):
    network = make_network(3)
    assert passes(network, 1, 2)
    assert len(processes_of(network.directory)) == 3 + 1 + 1  # NICs, keeper, router
    network.router.check_identity()
    network.router.stop()
    eventually(lambda: not processes_of(network.directory), what="the keeper's end")
    assert sorted(os.listdir(network.directory)) == ["log", "router.yaml"]
    links = run("ip", "-n", network.namespaces[0], "-d", "link").stdout
    assert "xdp" not in links
    network.start()
    assert passes(network, 2, 1)


def test_interrupt_and_stop_while_forwarding(make_network):
    network = make_network(2)
    with Stream(network, 1, 2):
        time.sleep(0.3)
        network.router.process.send_signal(signal.SIGINT)
        assert network.router.process.wait(20) == 0
    eventually(lambda: not processes_of(network.directory), what="the keeper's end")


def test_second_router_is_refused(make_network):
    network = make_network(2)
    done = run(network.router.process.args[0], "router", "-c", network.router.path)
    assert done.returncode == 1 and "another router runs in" in done.stderr
    assert passes(network, 1, 2)


def test_keeper_killed(make_network):
    """The keeper dies: a new one takes its place, and the router can still be replaced without
    loss."""
    network = make_network(2)
    keeper = next(p for p, line in processes_of(network.directory).items() if " keeper " in line)
    with Stream(network, 1, 2) as stream:
        time.sleep(0.2)
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: "a new one holds the NICs" in network.router.messages(),
                   what="new keeper")
        network.router.kill()
        time.sleep(0.2)
        network.router.start()
        time.sleep(0.2)
    stream.check_whole()


# --- A NIC's process ------------------------------------------------------------------------------

def test_nic_killed(make_network):
    """The others lose nothing; what is sent to the dead one is counted; it comes back and
    rejoins."""
    network = make_network(4)
    network.rings = False
    victim = network.router.nic("nic3")["pid"]
    with Stream(network, 1, 2) as one, Stream(network, 2, 4) as two, Stream(
        network, 4, 3) as to_victim:
        time.sleep(0.3)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: network.router.nic("nic3")["restarts"] == 1 and
                   network.router.nic("nic3")["state"] == "forwarding", what="nic3 back")
        time.sleep(0.3)
    one.check_whole()
    two.check_whole()
    assert network.router.nic("nic3")["pid"] != victim
    assert network.router.dropped().get("no-peer", 0) + network.router.dropped().get("stale", 0) > 0
    network.router.at_rest()
    numbers = to_victim.arrived(network.wire[3].pending())
    assert numbers == sorted(set(numbers)), "repeated or out of order"
    assert numbers[-1] > to_victim.sent - 200, "it rejoined, and the stream goes on"
    assert passes(network, 1, 3) and passes(network, 3, 4)


def test_nic_stopped(make_network):
    """One egress stands still for seconds (SIGSTOP): other egresses of the same ingress NIC lose
    nothing."""
    network = make_network(3)
    slow = network.router.nic("nic2")["pid"]
    os.kill(slow, signal.SIGSTOP)
    try:
        with Stream(network, 1, 3) as stream:
            with Stream(network, 1, 2, rate=3000, source_port=6000) as blocked:
                time.sleep(1.5)
        stream.check_whole()
        assert network.router.dropped().get("ring-full", 0) > 0
        assert "no-buffer" not in network.router.dropped()
    finally:
        os.kill(slow, signal.SIGCONT)
    network.router.at_rest()
    numbers = blocked.arrived(network.wire[2].pending())
    assert numbers == sorted(set(numbers)), "repeated or out of order"
    assert len(numbers) + network.router.dropped()["ring-full"] == blocked.sent
    assert passes(network, 1, 2)


def test_slow_wire(make_network):
    """One egress link of 1 Mbit/s (tbf): the same."""
    network = make_network(3)
    network.router.stop()
    network.router.config["nics"][1]["port"]["options"] = "qdisc=on"
    network.router.write()
    run("ip", "netns", "exec", network.namespaces[0], "tc", "qdisc", "add", "dev", "nic2", "root",
        "tbf", "rate", "1mbit", "burst", "2kb", "limit", "4kb", check=True)
    network.start()
    with Stream(network, 1, 3) as stream, Stream(network, 1, 2, rate=3000, source_port=6000):
        time.sleep(1.5)
    stream.check_whole()


def test_descriptors_flat_over_nic_restarts(make_network):
    network = make_network(3)
    network.rings = False
    router, other = network.router.process.pid, network.router.nic("nic1")["pid"]
    keeper = next(p for p, line in processes_of(network.directory).items() if " keeper " in line)
    counts = []
    for restart in range(1, 7):  # each backs off twice as long as the one before
        os.kill(network.router.nic("nic3")["pid"], signal.SIGKILL)
        eventually(lambda n=restart: network.router.nic("nic3")["restarts"] == n and
                   network.router.nic("nic3")["state"] == "forwarding", 20, "nic3 back")
        network.router.at_rest()
        counts.append((descriptors(router), descriptors(other), descriptors(keeper)))
    assert len(set(counts)) == 1, counts
    assert passes(network, 1, 3)


def test_malformed_control_connections(make_network):
    """Strangers at a NIC's vfio-user socket and at the router's: descriptors flat, traffic
    unharmed."""
    network = make_network(2)
    rng = random.Random(31)
    nic = network.router.nic("nic1")["pid"]

    def attack(path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(5)
            try:
                s.connect(path)
                kind = rng.randrange(4)
                if kind == 0:  # a version message that promises much
                    s.sendall(bytes((0, 0, 1, 0)) + (0xffffffff).to_bytes(4, "little") + b"\0" * 8)
                elif kind == 1:
                    s.sendall(rng.randbytes(rng.randrange(1, 400)))
                elif kind == 2:  # descriptors nobody asked for
                    with open("/dev/null", "rb") as file:
                        socket.send_fds(s, [rng.randbytes(16)], [file.fileno()] * 8)
                if rng.random() < 0.5:
                    s.shutdown(socket.SHUT_WR)
                    s.recv(4096)
            except OSError:
                pass

    with Stream(network, 1, 2) as stream:
        def count():
            network.router.show("nic")
            return descriptors(nic), descriptors(network.router.process.pid)

        before = count()
        for _ in range(4):
            for _ in range(50):
                attack(f"{network.router.runtime}/nic1.sock")
            for _ in range(10):
                attack(f"{network.router.runtime}/api.sock")
            # The NIC may still be about to close the last of them.
            eventually(lambda: count() == before, what=f"descriptors as before: {before}")
    stream.check_whole()
    assert network.router.nic("nic1")["restarts"] == 0


# --- Configuration --------------------------------------------------------------------------------

def test_reload_under_traffic(make_network):
    """SIGHUP with other routes, again and again: nothing of a flow that they do not concern is
    lost."""
    network = make_network(3, routes=[{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}])
    with Stream(network, 1, 2) as one, Stream(network, 3, 1) as two:
        for k in range(10):
            network.router.config["routes"] = [
                {"prefix": "198.151.100.0/24", "via": f"10.0.{2 + k % 2}.2"},
                *({"prefix": f"198.18.{n}.0/24", "via": "10.0.3.2"} for n in range(25 * (k + 1)))]
            network.router.write()
            assert "configuration read again" in network.router.reload()
    one.check_whole()
    two.check_whole()
    assert sum(r["source"] == "static" for r in network.router.show("route")) == 251


def test_reload_changes_what_it_says(make_network):
    def to(destination):
        network.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) / IP(
            src="10.0.1.2", dst=destination) /
                                 UDP(dport=9)))
        network.router.at_rest()
        return sorted(network.pending())

    network = make_network(3, routes=[{"prefix": "198.151.100.0/24", "via": "10.0.2.2"},
                                      {"prefix": "198.151.100.128/25", "via": "10.0.3.2"}])
    assert to("198.151.100.1") == [2] and to("198.151.100.129") == [3] and to("192.1.2.1") == []
    # The more specific one goes: its cover takes over. A default route comes.
    network.router.config["routes"][1:] = [{"prefix": "0.0.0.0/0", "via": "10.0.3.2"}]
    network.router.write()
    network.router.reload()
    assert to("198.151.100.129") == [2] and to("192.1.2.1") == [3]
    # A mistake changes nothing.
    network.router.config["routes"].append({"prefix": "198.151.100.1/24", "via": "10.0.3.2"})
    network.router.write()
    assert "configuration not taken" in network.router.reload()
    assert to("198.151.100.129") == [2] and to("192.1.2.1") == [3]
    network.router.config["routes"] = []
    network.router.config["router"]["batch"] = 4
    network.router.write()
    assert "that needs a restart" in network.router.reload()
    assert to("192.1.2.1") == [3]


# --- Idleness -------------------------------------------------------------------------------------

def test_idle_router_sleeps(make_network):
    """Under 1 % of a core (3 % allowed here), all processes together; the first packet then
    arrives."""
    network = make_network(4)
    assert passes(network, 1, 2)
    time.sleep(0.5)
    pids = processes_of(network.directory)
    before = sum(map(cpu_seconds, pids))
    time.sleep(3)
    assert sum(map(cpu_seconds, pids)) - before <= 0.09
    for ingress, egress in ((3, 4), (1, 2), (4, 1)):
        network.wire[ingress].send(frame(ingress, egress))
        assert network.wire[egress].receive(2) is not None
        time.sleep(0.3)


# --- Links ----------------------------------------------------------------------------------------

def test_link_flaps(make_network):
    """A link that goes down and up: other traffic unharmed; what was sent into it is counted."""
    network = make_network(3)
    with Stream(network, 1, 2) as stream, Stream(network, 1, 3, source_port=6000):
        for _ in range(10):
            with inside(network.namespaces[0]):
                run("ip", "link", "set", "nic3", "down", check=True)
                time.sleep(0.05)
                run("ip", "link", "set", "nic3", "up", check=True)
                time.sleep(0.05)
    stream.check_whole()
    eventually(lambda: passes(network, 1, 3) and passes(network, 3, 2), what="link back")


# --- Links and NICs that hang ---------------------------------------------------------------------

def port(network, name):
    return next(row for row in network.router.show("port") if row["nic"] == name)


def link(network, nic, *what):
    """Says that of the far end: its carrier is that of the NIC's end."""
    assert run("ip", "-n", network.namespaces[nic], "link", "set", "eth0", *what).returncode == 0


def said(network, text):
    eventually(lambda: text in network.router.messages(), what=text)


def test_link_goes_and_comes(make_network):
    network = make_network(2)
    assert "link" not in network.router.messages()
    link(network, 1, "down")
    said(network, "nic nic1: link down")
    assert port(network, "nic1")["link"] is False and port(network, "nic2")["link"] is True
    link(network, 1, "up")
    said(network, "nic nic1: link up")
    assert port(network, "nic1")["link"] is True and "fault" not in port(network, "nic1")
    assert "nic2: link" not in network.router.messages()
    network.wire[1].socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # that it was down
    assert passes(network, 1, 2)


def test_link_seen_by_the_next_router(make_network):
    """One that went while no router was there, and one that comes back to the new one."""
    network = make_network(2)
    network.router.kill()
    link(network, 2, "down")
    network.router.start()
    said(network, "nic nic2: link down")
    link(network, 2, "up")
    said(network, "nic nic2: link up")


def test_interface_deleted(make_network):
    network = make_network(2)
    assert run("ip", "-n", network.namespaces[0], "link", "delete", "nic2").returncode == 0
    said(network, "nic nic2: link down: nic2: interface deleted")
    assert "interface deleted" in port(network, "nic2")["fault"]
    network.rings = False
    network.wire[1].send(frame(1, 2))


def test_show_does_not_wait_for_one_that_hangs(make_network):
    network = make_network(4)
    hung = network.router.nic("nic2")["pid"]
    try:
        os.kill(hung, signal.SIGSTOP)
        for what, key in (("port", "nic"), ("nic", "name")):
            begin = time.monotonic()
            states = {row[key]: row["state"] for row in network.router.show(what)}
            assert time.monotonic() - begin < 4  # 0.5 s of patience, not 5 s a register
            assert states.pop("nic2") == "not answering"
            assert set(states.values()) == {"forwarding"}
        assert "link" not in port(network, "nic2") and "received" in port(network, "nic2")
    finally:
        os.kill(hung, signal.SIGCONT)
    eventually(lambda: port(network, "nic2")["state"] == "forwarding", what="nic2 well again")
    assert port(network, "nic2")["link"] is True
    assert passes(network, 1, 2)


def test_show_asks_a_process_that_hangs_once(make_network):
    engines = [{"name": f"e{k}", "process": "all"} for k in range(1, 5)]
    network = make_network(4, engines=engines)
    network.router.stop()
    for k, nic in enumerate(network.router.config["nics"]):
        nic["engine"] = engines[k]["name"]
    network.router.write()
    network.start()
    (hung,) = {row["pid"] for row in network.router.show("nic")}
    try:
        os.kill(hung, signal.SIGSTOP)
        begin = time.monotonic()
        assert {row["state"] for row in network.router.show("port")} == {"not answering"}
        assert time.monotonic() - begin < 1.5
    finally:
        os.kill(hung, signal.SIGCONT)
    eventually(lambda: all(row["state"] == "forwarding" for row in network.router.show("port")),
               what="well again")
