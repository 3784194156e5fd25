# SPDX-License-Identifier: BSD-3-Clause
"""Frames of 9,216 bytes through af_packet ports: an `mtu` above what 2 KiB hold is all it takes."""

import subprocess

import pytest
from scapy.all import IP, UDP, Ether, Raw, raw

from network import Network, inside, mac

LONGEST = 9216


@pytest.fixture
def network(permitted):
    n = Network(2)
    for k, name in enumerate(n.namespaces):
        with inside(name):
            for link in ["eth0"] if k else ["nic1", "nic2"]:
                subprocess.run(["ip", "link", "set", link, "mtu", "9300"], check=True, timeout=60)
    for nic in n.router.config["nics"]:
        nic["mtu"] = LONGEST - 14
    n.router.write()
    try:
        yield n.start()
    finally:
        n.close()


def frame_of(length):
    return Ether(dst=mac(1), src=mac(1, 2)) / IP(src="10.0.1.2", dst="10.0.2.2") / \
        UDP(sport=1, dport=9, chksum=0) / Raw(bytes(k % 251 for k in range(length - 42)))


def test_jumbo_frames_cross(network):
    assert network.router.show("nic")[0]["buffer_bytes"] == 16384
    for length in [60, 1514, 4000, 9014, LONGEST]:
        sent = frame_of(length)
        network.wire[1].send(raw(sent))
        came = network.wire[2].receive()
        assert len(came) == length
        assert raw(came)[14:22] == raw(sent)[14:22]
        assert raw(came)[34:] == raw(sent)[34:]
    network.wire[1].send(raw(frame_of(LONGEST + 1)))
    network.router.at_rest()
    assert network.router.dropped() == {"mtu": 1}
    assert not network.pending()
