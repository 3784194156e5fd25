# SPDX-License-Identifier: BSD-3-Clause
"""Checks of transfers (p2pnic/ring.h): packets cross with each, by each method; what is in force is
shown. What becomes of transfers that fail: tests/unit/test_firmware_check.c."""
import pytest
from scapy.all import IP, UDP, Ether, raw

from network import Network, mac


@pytest.mark.parametrize("method", ["wr", "rd", "bn"])
@pytest.mark.parametrize("check", ["stamp", "crc"])
def test_packets_cross(permitted, method, check):
    network = Network(3)
    try:
        network.router.config["router"].update(method=method, check=check)
        network.router.write()
        network.start()
        assert {row["check"] for row in network.router.show("nic")} == {check}
        assert {row["check"] for row in network.router.show("ring")} == {check}
        assert not any(row["given_up"] for row in network.router.show("ring"))
        for length in [*range(18, 100, 7), 982, 1400, 1472]:
            for to in (2, 3):
                frame = raw(Ether(dst=mac(1), src=mac(1, 2)) /
                            IP(src="10.0.1.2", dst=f"10.0.{to}.2") / UDP(dport=9) /
                            bytes(k & 255 for k in range(length)))
                network.wire[1].send(frame)
                assert network.wire[to].receive()[34:] == frame[34:]
        network.router.check_identity()
        assert network.router.dropped() == {}
    finally:
        network.close()
