# SPDX-License-Identifier: BSD-3-Clause
"""Frames of 9,216 bytes through ports: an `mtu` above what 2 KiB hold is all it takes.
And what becomes of running NICs when buffers are to be of another size."""

import re
import subprocess

import pytest
from scapy.all import IP, UDP, Ether, Raw, raw

from network import Network, inside, mac

LONGEST = 9216


@pytest.fixture
def network(permitted):
    """Its links have the MTU; its NICs have it by set_mtu."""
    n = Network(2)
    for k, name in enumerate(n.namespaces):
        with inside(name):
            for link in ["eth0"] if k else ["nic1", "nic2"]:
                subprocess.run(["ip", "link", "set", link, "mtu", "9300"], check=True, timeout=60)
    try:
        yield n
    finally:
        n.close()


def set_mtu(network, mtu):
    for nic in network.router.config["nics"]:
        nic["mtu"] = mtu
    network.router.write()


def frame_of(length):
    return Ether(dst=mac(1), src=mac(1, 2)) / IP(src="10.0.1.2", dst="10.0.2.2") / \
        UDP(sport=1, dport=9, chksum=0) / Raw(bytes(k % 251 for k in range(length - 42)))


def crosses(network, length):
    sent = frame_of(length)
    network.wire[1].send(raw(sent))
    came = network.wire[2].receive()
    assert len(came) == length
    assert raw(came)[14:22] == raw(sent)[14:22]
    assert raw(came)[34:] == raw(sent)[34:]


@pytest.mark.parametrize("method", ["wr", "rd"])
@pytest.mark.parametrize("port", ["af_packet", "af_xdp"])
def test_jumbo_frames_cross(network, port, method):
    set_mtu(network, LONGEST - 14)
    network.router.config["router"]["method"] = method
    for nic in network.router.config["nics"]:
        nic["port"]["type"] = port
    network.router.write()
    try:
        network.start()
    except AssertionError:
        if port == "af_xdp" and "XDP" in network.router.messages():
            pytest.skip("af_xdp: " + network.router.messages().strip().splitlines()[0])
        raise
    assert network.router.show("nic")[0]["buffer_bytes"] == 16384
    if port == "af_xdp":
        assert all("multi-buffer" in row["mode"] for row in network.router.show("port"))
    for length in [60, 1514, 4000, 9014, LONGEST]:
        crosses(network, length)
    network.wire[1].send(raw(frame_of(LONGEST + 1)))
    network.router.at_rest()
    assert network.router.dropped() == {"mtu": 1}
    assert not network.pending()


# --- Buffers of another size ----------------------------------------------------------------------

def nics(network):
    """(pid, buffer_bytes, mtu) of each."""
    return [(row["pid"], row["buffer_bytes"], row["mtu"]) for row in network.router.show("nic")]


@pytest.mark.parametrize("change, bytes_", [("buffer_bytes", 4096), ("mtu", 16384)])
def test_reload_is_refused(network, change, bytes_):
    """By name, or by an mtu: why is said, nothing changes, and a restart is what it takes."""
    network.start()
    before = nics(network)
    if change == "mtu":
        set_mtu(network, 9000)
    else:
        network.router.config["router"]["buffer_bytes"] = bytes_
        network.router.write()
    assert ("router: buffer_bytes differs: that needs a restart; nothing changed. It is 2048; the "
            f"file asks for {bytes_}, by this key or else by its largest mtu"
            ) in network.router.reload()
    assert nics(network) == before
    crosses(network, 1514)
    network.router.stop()
    network.start()
    assert [row[1] for row in nics(network)] == [bytes_] * 2
    crosses(network, 9014 if change == "mtu" else 1514)


def test_reload_with_the_size_named(network):
    """An mtu within named buffers changes by a reload, to and fro."""
    network.router.config["router"]["buffer_bytes"] = 16384
    network.router.write()
    network.start()
    before = nics(network)
    for mtu in (9000, 1500, 9202):
        set_mtu(network, mtu)
        assert "configuration read again" in network.router.reload()
        assert nics(network) == [(pid, bytes_, mtu) for pid, bytes_, _ in before]
        crosses(network, mtu + 14)


@pytest.mark.parametrize("change, bytes_", [("buffer_bytes", 4096), ("mtu", 16384)])
def test_next_router_with_another_size(network, change, bytes_):
    """NICs of a router that was killed are not adopted with buffers of another size: they end, and
    others are started. Back again likewise."""
    network.start()
    small = before = nics(network)
    for _ in range(2):
        network.router.kill()
        if before[0][1] != 2048:
            network.router.config["router"].pop("buffer_bytes", None)
            set_mtu(network, 1500)
        elif change == "mtu":
            set_mtu(network, 9000)
        else:
            network.router.config["router"]["buffer_bytes"] = bytes_
            network.router.write()
        said = len(network.router.messages())
        network.start()
        after = nics(network)
        stopped = re.findall(r"process (\d+) belongs to another configuration: stopped",
                             network.router.messages()[said:])
        assert sorted(map(int, stopped)) == sorted(pid for pid, _, _ in before)
        assert not {pid for pid, _, _ in before} & {pid for pid, _, _ in after}
        assert {row[1] for row in after} == {2048 if before[0][1] != 2048 else bytes_}
        crosses(network, 9014 if after[0][2] == 9000 else 1514)
        network.router.check_identity()
        before = after
    assert [row[1:] for row in before] == [row[1:] for row in small]
