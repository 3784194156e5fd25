# SPDX-License-Identifier: BSD-3-Clause
"""NICs and engines that come, go and change while others forward."""

import copy
import os
import signal
import time

import pytest
from scapy.all import IP, UDP, Ether, raw

from network import Network, eventually, mac, processes_of
from stream import Stream
from test_kernel import KernelNetwork
from test_reload import to


def without(router, *names):
    """Its configuration without these NICs."""
    config = copy.deepcopy(router.config)
    config["nics"] = [n for n in config["nics"] if n["name"] not in names]
    config["neighbors"] = [n for n in config.get("neighbors", []) if n["nic"] not in names]
    return config


def take(router, config):
    """A reload of it; what the router said."""
    router.config = config
    router.write()
    said = router.reload()
    assert "configuration read again" in said, said
    return said


def up(router, *names):
    """All of these forward, and no others are there."""
    eventually(lambda: [(n["name"], n["state"]) for n in router.show("nic")] ==
               [(name, "forwarding") for name in names], what=f"{names} up")


def reaches(network, egress, ingress=1):
    """Do packets come out there? Also while streams run elsewhere."""
    def passed():
        network.wire[ingress].send(raw(Ether(dst=mac(ingress), src=mac(ingress, 2)) /
                                       IP(src=f"10.0.{ingress}.2", dst=f"10.0.{egress}.2") /
                                       UDP(dport=9) / b"probe"))
        frame = network.wire[egress].receive(0.05)
        return frame and frame[:6].hex(":") == mac(egress, 2) and frame[6:12].hex(":") == mac(
            egress)
    eventually(passed, what=f"packets out of NIC {egress}")


def gone(router, pid):
    eventually(lambda: pid not in processes_of(router.directory), what="the process ended")


@pytest.mark.parametrize("method, rounds", [("wr", 4), ("rd", 2), ("bn", 2)])
def test_added_and_removed_under_traffic(permitted, method, rounds):
    """A third NIC comes and goes; between the other two nothing is lost, and it forwards each
    time."""
    network = Network(3)
    network.rings = False
    router = network.router
    router.config["router"]["method"] = method
    router.write()
    three = router.config
    try:
        router.start()
        pids = {n["name"]: n["pid"] for n in router.show("nic")}
        with Stream(network, 1, 2) as one, Stream(network, 2, 1) as two:
            for _ in range(rounds):
                said = take(router, without(router, "nic3"))
                assert "NICs removed: nic3" in said
                gone(router, pids["nic3"])
                assert [n["name"] for n in router.show("nic")] == ["nic1", "nic2"]
                assert not os.path.exists(f"{router.runtime}/nic3.sock")
                # Its place is free when the router has heard of its end (bn: there is no other).
                router.config = copy.deepcopy(three)
                router.write()
                eventually(lambda: "NICs added: nic3" in router.reload(), what="taken")
                up(router, "nic1", "nic2", "nic3")
                pids["nic3"] = router.nic("nic3")["pid"]
                reaches(network, 3)
        one.check_whole()
        two.check_whole()
        assert {n["name"]: n["pid"] for n in router.show("nic")} == pids
        assert [n["restarts"] for n in router.show("nic")] == [0, 0, 0]
        assert to(network, "10.0.1.2", ingress=3) == (1, mac(1, 2))
        router.check_identity(False)
    finally:
        network.close()


def test_changed(make_network):
    """Another engine, another address, another port: the NIC begins anew, the others do not."""
    network = make_network(3, engines=[{"name": "shared"}])
    network.rings = False
    router = network.router
    pid = {n["name"]: n["pid"] for n in router.show("nic")}

    def changed(*names):
        """Since it was asked last, these NICs have another process."""
        eventually(lambda: all(n["state"] == "forwarding" for n in router.show("nic")),
                   what="all up")
        now = {n["name"]: n["pid"] for n in router.show("nic")}
        assert {name for name in now if now[name] != pid[name]} == set(names)
        for name in names:
            gone(router, pid.get(name))
        pid.update(now)

    config = copy.deepcopy(router.config)
    with Stream(network, 1, 2) as stream:
        config["nics"][2]["engine"] = "shared"
        assert "NICs restarted: nic3" in take(router, config)
        changed("nic3")
        reaches(network, 3)
        config["nics"][2]["mac"] = mac(3)
        config["engines"].append({"name": "unused", "core": 0})
        take(router, config)
        changed("nic3")
        config["engines"][0]["shared"] = True  # says nothing without a core
        assert "NICs" not in take(router, config).replace("into 3 NICs", "").replace(
            "into 0 NICs", "")
        config["nics"][2]["mtu"] = 1400
        take(router, config)
        changed()
        config["nics"][2]["port"]["options"] = "receive-buffer=4096"
        take(router, config)
        changed("nic3")
        reaches(network, 3)
    stream.check_whole()
    # It joins the process of another: both begin anew.
    config["nics"][1]["engine"] = "shared"
    assert "NICs restarted: nic2, nic3" in take(router, config)
    changed("nic2", "nic3")
    assert pid["nic2"] == pid["nic3"]
    reaches(network, 2)
    reaches(network, 3, ingress=2)
    # One name, another place in the file: nothing begins anew.
    config["nics"].reverse()
    take(router, config)
    changed()
    assert sorted(n["index"] for n in router.show("nic")) == [0, 1, 2]
    # Another name for the same port: it waits until the one before has let go of it.
    config["nics"][0]["name"] = "other"
    for neighbor in config["neighbors"]:
        neighbor["nic"] = "other" if neighbor["nic"] == "nic3" else neighbor["nic"]
    assert "NICs added: other; removed: nic3; restarted: nic2" in take(router, config)
    up(router, "nic1", "nic2", "other")
    reaches(network, 3, ingress=2)


def test_places(permitted):
    """Places that NICs have left are taken again; more than there are need a restart; a restarted
    router finds all NICs where they were."""
    network = Network(4)
    network.rings = False
    router = network.router
    router.config["router"]["nics_max"] = 3
    four = router.config
    try:
        router.config = without(router, "nic4")
        router.write()
        router.start()
        three = router.config
        router.config = four
        router.write()
        said = router.reload()
        assert ("nics: 4 entries; nics_max is 3"
                in said), said
        router.config = four
        router.config = without(router, "nic1")
        router.write()
        said = router.reload()
        assert "all 3 places are taken (nics_max)" in said and "remove first" in said, said
        router.config = three
        pid = router.nic("nic2")["pid"]
        take(router, without(router, "nic2"))
        gone(router, pid)
        router.config = four
        take(router, without(router, "nic2"))
        up(router, "nic1", "nic4", "nic3")
        reaches(network, 4)
        reaches(network, 3, ingress=4)
        pids = {n["name"]: n["pid"] for n in router.show("nic")}
        with Stream(network, 1, 3) as stream:
            for _ in range(2):
                router.kill()
                router.start()
                up(router, "nic1", "nic4", "nic3")
            # The hole stays one.
            take(router, without(router, "nic4"))
            gone(router, pids.pop("nic4"))
            router.kill()
            router.start()
            up(router, "nic1", "nic3")
        stream.check_whole()
        assert {n["name"]: n["pid"] for n in router.show("nic")} == pids
        router.config = four
        take(router, without(router, "nic4"))
        up(router, "nic1", "nic2", "nic3")
        reaches(network, 2)
        router.check_identity(False)
    finally:
        network.close()


def test_killed_in_the_middle(make_network):
    """SIGKILL while a NIC is added, or removed: the next router finishes it, or undoes it, and
    nothing is lost elsewhere."""
    network = make_network(3)
    network.rings = False
    router = network.router
    three = router.config
    two = without(router, "nic3")
    with Stream(network, 1, 2) as stream:
        for turn in range(12):
            config = two if turn % 2 == 0 else three
            router.config = config
            router.write()
            router.process.send_signal(signal.SIGHUP)
            # Anywhere in between: a moment more each time.
            time.sleep(0.004 * (turn // 2) + (0.01 if turn % 2 else 0))
            router.kill()
            router.config = two if turn % 4 < 2 else three
            router.write()
            router.start()
            names = [n["name"] for n in router.config["nics"]]
            up(router, *names)
            eventually(lambda: len([line for line in processes_of(router.directory).values()
                                    if " nic " in line]) == len(names), what="no strays")
            assert [f for f in sorted(os.listdir(router.runtime)) if f.startswith("nic")] == [
                f"{name}.sock" for name in names]
    stream.check_whole()
    take(router, copy.deepcopy(three))
    up(router, "nic1", "nic2", "nic3")
    reaches(network, 3)


def test_that_cannot_come(make_network):
    """One whose port is not there is tried again, for ever; the others do not mind; it goes like
    any other."""
    network = make_network(2)
    router = network.router
    config = copy.deepcopy(router.config)
    config["nics"].append({"name": "lost", "port": {"type": "af_packet", "target": "nowhere0"},
                           "addresses": ["10.0.9.1/24"]})
    config["routes"] = [{"prefix": "198.18.0.0/15", "via": "10.0.9.2"},
                        {"prefix": "198.51.100.0/24",
                         "next_hops": [{"via": "10.0.9.2"}, {"via": "10.0.2.2"}]}]
    with Stream(network, 1, 2) as stream:
        take(router, config)
        eventually(lambda: "no such interface" in router.messages(), what="the reason")
        # What leads to it is not there; of a group the other member is.
        assert {r["prefix"]: r.get("nic") for r in router.show("route")
                if r["source"] == "static"} == {"198.51.100.0/24": "nic2"}
        take(router, without(router, "lost") | {"routes": []})
        up(router, "nic1", "nic2")
    stream.check_whole()
    assert to(network, "10.0.2.2") == (2, mac(2, 2))


def test_taps(permitted):
    """With `kernel`: a NIC that is added gets a tap and forwards by what the kernel says of it; one
    that is removed takes its tap along, and nobody else's; one that is changed keeps it, addresses
    and all."""
    network = KernelNetwork(3)
    network.rings = False
    router = network.router
    three = copy.deepcopy(router.config)
    try:
        router.config = without(router, "nic3")
        router.write()
        router.start()
        for k in (1, 2):
            network.ip(network.kernel, "address", "add", f"10.0.{k}.1/24", "dev", f"nic{k}")
            network.ip(network.kernel, "link", "set", f"nic{k}", "up")
        # A link that is somebody else's stands in the way of the tap.
        network.ip(network.kernel, "link", "add", "nic3", "type", "veth",
                       "peer", "name", "other")
        with network.echoes():
            take(router, copy.deepcopy(three))
            eventually(lambda: "nic nic3: nic3: " in router.messages(), what="no tap")
            network.ip(network.kernel, "link", "delete", "nic3")
            eventually(lambda: network.link("nic3"), what="a tap")
            network.ip(network.kernel, "address", "add", "10.0.3.1/24", "dev", "nic3")
            network.ip(network.kernel, "link", "set", "nic3", "up")
            eventually(lambda: network.answers(3), what="an echo by the new NIC")
            config = copy.deepcopy(three)
            config["nics"][2]["port"]["options"] = "receive-buffer=4096"
            index = network.link("nic3")["ifindex"]
            take(router, config)
            eventually(lambda: "nic nic3: ends, to begin" in router.messages(), what="its end")
            up(router, "nic1", "nic2", "nic3")
            eventually(lambda: network.answers(3), what="an echo by the changed NIC")
            assert network.link("nic3")["ifindex"] == index
            assert network.addresses("nic3") == ["10.0.3.1"]
            take(router, without(router, "nic3"))
            eventually(lambda: not network.link("nic3"), what="the tap gone")
            network.ip(network.kernel, "link", "add", "nic3", "type", "veth",
                       "peer", "name", "other")
            take(router, without(router, "nic2"))
            eventually(lambda: not network.link("nic2"), what="the tap gone")
            assert network.link("nic3")
        assert [row["nic"] for row in router.show("tap")] == ["nic1"]
    finally:
        network.close()
