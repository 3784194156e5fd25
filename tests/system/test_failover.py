# SPDX-License-Identifier: BSD-3-Clause
"""Carrier loss while the router is stopped: NICs take another path by themselves. And what follows
the configuration while NICs forward: which sources may come, how flows are hashed."""

import contextlib
import signal
import time

from scapy.all import GRE, IP, UDP, Ether, raw

from network import eventually, mac, run

FLOWS = 64
ROUTES = [{"prefix": "10.9.0.0/16", "next_hops": [{"via": "10.0.2.2"}, {"via": "10.0.3.2"}]},
          {"prefix": "10.8.0.0/16", "via": "10.0.1.2"}]


def frame(flow, source="10.8.0.1", tunnel=None):
    packet = UDP(sport=1024 + flow, dport=9) / f"flow {flow:5}".encode()
    if tunnel:
        packet = tunnel / IP(src="192.0.2.1", dst="192.0.2.2") / packet
    return raw(Ether(src=mac(1, 2), dst=mac(1)) / IP(src=source, dst="10.9.0.1") / packet)


def paths(network, source="10.8.0.1", tunnel=None):
    """A packet of each flow: which NIC it leaves by, of those that arrive at once."""
    network.pending()
    for flow in range(FLOWS):
        network.wire[1].send(frame(flow, source, tunnel))
    time.sleep(0.05)
    packets = [(data[14:14 + int.from_bytes(data[16:18])], nic)
               for nic, frames in network.pending().items() for data in frames]
    return {int(p[-5:]): nic for p, nic in packets if p[-10:-6] == b"flow"}


def all_by(network, *nics, tunnel=None):
    found = paths(network, tunnel=tunnel)
    return found if len(found) == FLOWS and set(found.values()) == set(nics) else None


@contextlib.contextmanager
def stopped(process):
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def set_link(network, nic, state):
    done = run("ip", "-n", network.namespaces[nic], "link", "set", "eth0", state)
    assert done.returncode == 0, done.stderr


def test_carrier_loss_without_a_host(make_network):
    network = make_network(3, routes=ROUTES)
    before = eventually(lambda: all_by(network, 2, 3), what="flows over both links")
    with stopped(network.router.process):
        set_link(network, 2, "down")
        with contextlib.suppress(OSError):  # the socket tells once that its link is down
            network.wire[2].pending()
        eventually(lambda: all_by(network, 3), what="all flows over the other link")
        set_link(network, 2, "up")
        eventually(lambda: paths(network) == before, what="each flow where it was before")
    network.rings = False  # frames into the lost link


def test_reverse_path_follows_the_configuration(make_network):
    network = make_network(3, routes=ROUTES)
    nic = network.router.config["nics"][0]
    for check, no_route, elsewhere in (("none", FLOWS, FLOWS), ("loose", 0, FLOWS),
                                       ("strict", 0, 0), ("none", FLOWS, FLOWS)):
        nic["reverse_path"] = check
        network.router.write()
        assert "configuration read again" in network.router.reload()
        eventually(lambda: all_by(network, 2, 3), what=f"{check}: a source with a way back")
        assert len(paths(network, "10.7.0.1")) == no_route, check
        assert len(paths(network, "10.0.3.2")) == elsewhere, check
    assert network.router.dropped()["reverse-path"] == 3 * FLOWS


def test_flow_seed_follows_the_configuration(make_network):
    network = make_network(3, routes=ROUTES)
    router = network.router.config["router"]
    found = []
    for seed in (1, 2, 1):
        router["flow_seed"] = seed
        network.router.write()
        assert "configuration read again" in network.router.reload()
        found.append(eventually(lambda: all_by(network, 2, 3), what="flows over both links"))
    assert found[0] == found[2] != found[1]


def test_inner_flows_follow_the_configuration(make_network):
    network = make_network(3, routes=ROUTES)
    router = network.router.config["router"]
    for inner in (False, True, False):
        router["inner_flows"] = inner
        network.router.write()
        assert "configuration read again" in network.router.reload()
        eventually(lambda: all_by(network, 2, 3), what="flows over both links")
        found = eventually(lambda: all_by(network, 2, 3, tunnel=GRE()) or not inner and (
            all_by(network, 2, tunnel=GRE()) or all_by(network, 3, tunnel=GRE())),
            what="all packets of the tunnel")
        assert len(set(found.values())) == 1 + inner
