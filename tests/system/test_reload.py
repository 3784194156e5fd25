# SPDX-License-Identifier: BSD-3-Clause
"""SIGHUP: the table in force is changed where it stands, by a patch; when it cannot be, it is
loaded whole."""

import json
import lzma
import os
import re
import signal
import socket
import subprocess
import time

from scapy.all import IP, UDP, Ether, raw

from network import P2PNIC, eventually, mac, run
from stream import Stream

PATCH = re.compile(r"table: (\d+) routes added, (\d+) changed, (\d+) deleted"
                   r"(?:, (\d+) next hops lead elsewhere)?; patch of (\d+) bytes into (\d+) NICs "
                   r"in \d+ us\n")


def reload(network):
    network.router.write()
    return network.router.reload()


def patched(said):
    """(added, changed, deleted, next hops, bytes, NICs) of a reload that was nothing but a
    patch."""
    assert "configuration read again" in said and "loaded whole" not in said, said
    return tuple(int(n or 0) for n in PATCH.search(said).groups())


def to(network, destination, ingress=1, size=0):
    """What the NICs do with one packet: the egress and the destination MAC; None: nothing comes
    out."""
    before = network.router.received()
    network.wire[ingress].send(raw(Ether(dst=mac(ingress), src=mac(ingress, 2)) /
                                   IP(src=f"10.0.{ingress}.2",
                                      dst=destination) / UDP(dport=9) / (b"x" * size)))
    eventually(lambda: network.router.received() > before, what="the packet in the NIC")
    network.router.at_rest()
    frames = [(k, frame[:6].hex(":")) for k, arrived in network.pending().items()
              for frame in arrived]
    assert len(frames) < 2
    return frames[0] if frames else None


def test_patches_under_traffic(make_network):
    """Routes come, change and go in two reloads a round: counted as such, and nothing is lost."""
    network = make_network(4, routes=[{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}])
    routes = network.router.config["routes"]
    with Stream(network, 1, 2) as one, Stream(network, 3, 1) as two:
        for k in range(8):
            routes[:1] = [{"prefix": "198.151.100.0/24", "via": f"10.0.{3 - k % 2}.2"}]
            routes.extend({"prefix": f"198.18.{n}.0/24", "via": "10.0.3.2"} for n in range(
                20 * k, 20 * k + 20))
            assert patched(reload(network))[:4] == (20, 1, 0, 0)
            del routes[-5:]
            assert patched(reload(network))[:4] == (0, 0, 5, 0)
    one.check_whole()
    two.check_whole()
    router = network.router.show("router")
    # One that is slow to answer, on a busy machine, is passed over by a reload, and loaded a moment
    # later.
    assert router["table_loads"] >= 4 and router["table_patches"] >= 14
    assert 0 < router["last_patch_bytes"] < 1000
    assert sum(r["source"] == "static" for r in network.router.show("route")) == 1 + 8 * 15
    assert to(network, "198.18.0.1") == (3, mac(3, 2)) and to(network, "198.18.19.1") is None


def test_neighbor_moves(make_network):
    """A neighbour's other MAC is one word for all its routes; packets have the old one, then the
    new one."""
    network = make_network(3,
                           routes=[{"prefix": f"198.18.{n}.0/24", "via": "10.0.2.2"}
                                   for n in range(100)])
    neighbor = next(n for n in network.router.config["neighbors"] if n["address"] == "10.0.2.2")
    with Stream(network, 1, 2) as stream:
        time.sleep(0.2)
        neighbor["mac"] = mac(2, 3)
        said = reload(network)
        time.sleep(0.2)
    assert patched(said)[:4] == (0, 0, 0, 1) and patched(said)[4] < 100
    macs = [frame[:6].hex(":") for frame in stream.check_whole() if stream.mark in frame]
    turn = macs.index(mac(2, 3))
    assert set(macs[:turn]) == {mac(2, 2)} and set(macs[turn:]) == {mac(2, 3)}
    assert to(network, "198.18.77.1") == (2, mac(2, 3))
    # Unknown now: the host is asked for it (and nobody is there); the routes are the same.
    network.router.config["neighbors"].remove(neighbor)
    assert patched(reload(network))[:4] == (0, 0, 1, 1)
    assert to(network, "198.18.77.1") is None and network.router.dropped()["no-neighbor"] > 0


def test_group_members(make_network):
    """A member leaves a group and comes back: flows of the others stay where they are."""
    network = make_network(4, routes=[{"prefix": "198.151.100.0/24",
                                       "next_hops": [{"via": f"10.0.{k}.2"} for k in (2, 3, 4)]}])
    hops = network.router.config["routes"][0]["next_hops"]

    def flows():
        for flow in range(60):
            network.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) /
                                     IP(src="10.0.1.2", dst=f"198.151.100.{flow}") / UDP(
                                         sport=flow, dport=9)))
        network.router.at_rest()
        arrived = {frame[33]: k for k, frames in network.pending().items() for frame in frames}
        assert len(arrived) == 60
        return arrived

    before = flows()
    assert set(before.values()) == {2, 3, 4}
    leaver = hops.pop(1)
    assert patched(reload(network))[:4] == (0, 0, 0, 1)
    now = flows()
    assert set(now.values()) == {2, 4}
    assert all(now[flow] == egress for flow, egress in before.items() if egress != 3)
    hops.append(leaver)
    assert patched(reload(network))[:4] == (0, 0, 0, 1)
    again = flows()
    assert sum(again[flow] != egress for flow, egress in now.items()) <= 30
    assert all(egress == 3 for flow, egress in again.items() if egress != now[flow])


def test_nic_killed_and_reloaded(make_network):
    """A NIC that is down during a reload is loaded whole when it is back; patches go on to all."""
    network = make_network(3, routes=[{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}])
    network.rings = False
    route = network.router.config["routes"][0]
    with Stream(network, 1, 2) as stream:
        for restart in (1, 2):
            os.kill(network.router.nic("nic3")["pid"], signal.SIGKILL)
            eventually(lambda n=restart: network.router.nic("nic3")["restarts"] == n,
                       what="nic3 dead")
            route["via"] = f"10.0.{3 - restart}.2"
            assert patched(reload(network))[1::4] in ((restart - 1, 2), (restart - 1, 3))
            eventually(lambda: network.router.nic("nic3")["state"] == "forwarding",
                       what="nic3 back")
            network.router.config["routes"].append({"prefix": f"198.18.{restart}.0/24",
                                                    "via": "10.0.2.2"})
            assert patched(reload(network))[::5] == (1, 3)
    stream.check_whole()
    assert network.router.show("router")["table_loads"] == 3 + 2
    assert to(network, "198.151.100.1", ingress=3) == (1, mac(1, 2))
    assert to(network, "198.18.2.1", ingress=3) == (2, mac(2, 2))


def test_nic_that_does_not_answer(make_network):
    """A NIC stands still during a reload: the others are patched; once it runs again, it has the
    table in a moment."""
    network = make_network(3, routes=[{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}])
    route = network.router.config["routes"][0]
    pid = network.router.nic("nic3")["pid"]
    with Stream(network, 1, 2) as stream:
        os.kill(pid, signal.SIGSTOP)
        try:
            route["via"] = "10.0.1.2"
            said = reload(network)
            # nor was it tried
            assert "nic nic3: does not answer" in said and "not reached" not in said
            assert network.router.nic("nic3")["state"] == "not answering"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "into 2 NICs" in said
        eventually(lambda: network.router.nic("nic3")["state"] == "forwarding", what="nic3 in step")
    stream.check_whole()
    assert to(network, "198.151.100.1", ingress=3) == (1, mac(1, 2))
    route["via"] = "10.0.2.2"
    assert patched(reload(network))[1::4] == (1, 3)
    assert network.router.nic("nic3")["restarts"] == 0
    assert to(network, "198.151.100.1", ingress=3) == (2, mac(2, 2))


def test_router_killed_and_reloaded(make_network):
    """A new router loads what it cannot know, into the other half, and patches from then on; twice
    over."""
    network = make_network(3, routes=[{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}])
    route = network.router.config["routes"][0]
    with Stream(network, 1, 2) as one, Stream(network, 2, 3) as two:
        for k in range(3):
            network.router.kill()
            network.router.start()
            assert network.router.show("router")["table_loads"] == 3
            route["via"] = f"10.0.{3 - k % 2}.2"
            assert patched(reload(network))[1::4] == (1, 3)
    one.check_whole()
    two.check_whole()
    assert to(network, "198.151.100.1") == (3, mac(3, 2))


def test_loaded_where_no_patch_fits(make_network):
    """Old and new next hops together are too many: loaded whole, under traffic. Too many alone:
    refused."""
    def stations(k, count):
        return [{"nic": "nic3", "address": f"fd00:3::{k:x}:{n + 16:x}",
                 "mac": f"02:00:00:{k:02x}:{n >> 8:02x}:{n & 255:02x}"} for n in range(count)]

    network = make_network(3)
    neighbors = list(network.router.config["neighbors"])
    with Stream(network, 1, 2) as stream:
        network.router.config["neighbors"] = neighbors + stations(1, 1500)
        assert patched(reload(network))[0] == 1500
        network.router.config["neighbors"] = neighbors + stations(2, 1500)
        assert "p2pnic reload --force" in reload(network)
        said = ask(network, "--force").stdout
        assert "loaded whole into 3 NICs" in said and "more than 2047 next hops" in said
        network.router.config["neighbors"] = neighbors + stations(3, 2500)
        said = reload(network)
        assert "configuration not taken" in said and "more than 2047 next hops" in said
        assert len(network.router.show("neighbor")) == len(neighbors) + 1500
        network.router.config["neighbors"] = neighbors
        network.router.write()
        assert ", 1500 deleted" in ask(network, "--force").stdout
    stream.check_whole()


def test_what_needs_a_restart(make_network):
    """Keys that NICs were started with are not changed in silence."""
    network = make_network(2)
    config = network.router.config

    def refused(holder, key, value):
        before = dict(holder)
        holder[key] = value
        said = reload(network)
        holder.clear()
        holder.update(before)
        return said

    for holder, key, value, name in (
            (config["router"], "batch", 4, "router: batch"),
            (config["router"], "ring_slots", 64, "router: ring_slots"),
            (config["router"], "method", "rd", "router: method"),
            (config["router"], "table_memory_mib", 32, "router: table_memory_mib"),
            (config["router"], "rx_buffers", 512, "router: rx_buffers"),
            (config["router"], "packet_memory_mib", 64, "router: packet_memory_mib"),
            (config["router"], "bounce_core", 0, "router: bounce_core"),
            (config["router"], "name", "another", "router: name"),
            (config["router"], "runtime", f"{network.directory}/elsewhere", "router: runtime"),
            (config["router"], "nics_max", 2, "router: nics_max")):
        said = refused(holder, key, value)
        assert f"{name} differs: that needs a restart" in said, said
    # What is the default may be said or not.
    config["router"]["batch"] = 8
    patched(reload(network))


def test_route_files(make_network):
    """A table from a file: a reload changes what differs in it, and nothing where it has a
    mistake."""
    network = make_network(3, routes=[{"prefix": "203.1.113.0/24", "via": "10.0.3.2"}])
    files = [{"file": "table.txt"}, {"file": f"{network.directory}/by-as.xz",
                                     "via": ["10.0.2.2", "10.0.3.2"]}]

    def table(text):
        with open(f"{network.directory}/new", "w", encoding="utf8") as file:
            file.write(text)
        os.rename(f"{network.directory}/new", f"{network.directory}/table.txt")

    def of_asn(asn):
        return 2 + (asn * 2654435761 % 2 ** 32 >> 7) % 2

    many = [f"198.{18 + (n >> 8)}.{n & 255}.0/24 10.0.2.2" for n in range(512)]
    table("\n".join(many + ["203.1.113.0/24 10.0.2.2"]))
    with lzma.open(f"{network.directory}/by-as.xz", "wt") as file:
        file.writelines(f"192.1.{n}.0/24 {64500 + n}\n" for n in range(8))
    network.router.config["route_files"] = files
    with Stream(network, 1, 2) as stream:
        said = reload(network)
    stream.check_whole()
    assert patched(said)[:4] == (512 + 8, 0, 0, 0)
    assert to(network, "198.18.7.1") == (2, mac(2, 2)) and to(network, "198.20.0.1") is None
    assert to(network, "203.1.113.1") == (3, mac(3, 2))  # what stands in `routes` wins
    for n in range(8):
        egress = of_asn(64500 + n)
        assert to(network, f"192.1.{n}.1") == (egress, mac(egress, 2))
    sources = [row["source"] for row in network.router.show("route")]
    assert (sources.count("file"), sources.count("static")) == (512 + 8, 1)

    table("\n".join([many[0].replace("10.0.2.2", "10.0.3.2"), *many[1:500],
                     "198.20.0.0/24 10.0.2.2"]))
    assert patched(reload(network))[:4] == (1, 1, 12, 0)
    assert to(network, "198.18.0.1") == (3, mac(3, 2)) and to(network, "198.20.0.1") == (
        2, mac(2, 2))
    assert to(network, "198.19.255.1") is None
    for text, reason in (("198.18.0.0/24 10.0.2.2\n198.18.1.0/33 10.0.2.2",
                          "table.txt:2: '198.18.1.0/33' is no prefix"),
                         ("198.18.0.0/24 64500", "table.txt:1: 198.18.0.0/24 has an AS number"),
                         ("198.18.0.0/24 10.9.9.9", "gateway 10.9.9.9 is on no connected network")):
        table(text)
        said = reload(network)
        assert "configuration not taken: " in said and reason in said, said
    os.unlink(f"{network.directory}/table.txt")
    said = reload(network)
    assert re.search(r"not taken: .*router.yaml:\d+: .*table.txt: No such file", said), said
    assert to(network, "198.18.0.1") == (3, mac(3, 2))
    table("198.21.0.0/24 10.0.2.2")
    network.router.kill()
    network.router.start()  # reads them too
    assert to(network, "198.21.0.1") == (2, mac(2, 2)) and to(network, "198.18.0.1") is None
    network.router.config["route_files"] = []
    assert patched(reload(network))[:4] == (0, 0, 1 + 8, 0)
    assert to(network, "198.21.0.1") is None


def test_mtu(make_network):
    network = make_network(2)
    assert to(network, "10.0.2.2", size=1000) == (2, mac(2, 2))
    network.router.config["nics"][1]["mtu"] = 600
    patched(reload(network))
    assert network.router.nic("nic2")["mtu"] == 600
    assert to(network, "10.0.2.2", size=1000) is None and to(network, "10.0.2.2", size=500) == (
        2, mac(2, 2))


def test_another_kind_of_table(make_network):
    network = make_network(2)
    with Stream(network, 1, 2) as stream:
        network.router.config["router"]["table"] = "state-jump"
        said = reload(network)
        assert "loaded whole into 2 NICs" in said and "another kind of table" in said
        network.router.config["routes"] = [{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}]
        assert patched(reload(network))[0] == 1
    stream.check_whole()
    assert to(network, "198.151.100.1") == (2, mac(2, 2))


def ask(network, *options):
    return run(P2PNIC, "reload", "--runtime", network.router.runtime, *options)


def test_reload_command(make_network):
    """What SIGHUP does, with an answer and an exit status."""
    network = make_network(2)
    network.router.config["routes"] = [{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}]
    network.router.write()
    with Stream(network, 1, 2) as stream:
        done = ask(network)
        assert done.returncode == 0 and not done.stderr
        assert done.stdout.startswith(f"configuration read again: {network.router.path}\n"
                                      "table: 1 routes added, 0 changed, 0 deleted;")
        assert "asked to reload; configuration read again" in network.router.messages()
        network.router.config["routes"] = [{"prefix": "198.151.100.0/24", "via": "10.0.1.2"},
                                           {"prefix": "198.151.101.0/24", "via": "10.0.1.2"}]
        network.router.write()
        answer = json.loads(ask(network, "-j", "--force").stdout)["reload"]
        assert [answer[k] for k in ("added", "changed", "deleted", "nics_behind")] == [1, 1, 0, 0]
    stream.check_whole()
    network.router.config["routes"][0]["via"] = "10.9.9.9"
    network.router.write()
    done = ask(network)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == "p2pnic reload: route 198.151.100.0/24: " \
        "gateway 10.9.9.9 is on no connected network and no neighbour\n"
    assert to(network, "198.151.100.1") == (1, mac(1, 2))
    network.router.config["routes"][0]["via"] = "10.0.2.2"
    network.router.write()
    with open("/dev/full", "w", encoding="utf8") as full:
        done = subprocess.run([P2PNIC, "reload", "--runtime", network.router.runtime], stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "standard output: No space left" in done.stderr


def test_reload_command_usage(tmp_path):
    for arguments in (["x"], ["--nonsense"], ["--name"]):
        assert run(P2PNIC, "reload", *arguments).returncode == 2
    assert run(P2PNIC, "reload", "--help").stdout.startswith("usage: p2pnic reload")
    for arguments in (["--runtime", str(tmp_path)], ["--name", "nobody-of-this-name"]):
        done = run(P2PNIC, "reload", *arguments)
        assert done.returncode == 1 and "no router runs there" in done.stderr and not done.stdout


def test_reload_with_a_nic_that_does_not_answer(make_network):
    """What could not be done is said, and is a failure."""
    network = make_network(3)
    network.router.config["routes"] = [{"prefix": "198.151.100.0/24", "via": "10.0.2.2"}]
    network.router.write()
    pid = network.router.nic("nic3")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = ask(network)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.returncode == 1 and "table: 1 routes added" in done.stdout
    assert "1 NICs forward by the old table until they answer" in done.stderr
    eventually(lambda: network.router.nic("nic3")["state"] == "forwarding", what="nic3 in step")


def test_reload_request(make_network):
    """The API takes no other word for it."""
    network = make_network(2)
    loads = network.router.show("router")
    for request in ({"reload": True}, {"reload": None}, {"reload": {"force": 1}},
                    {"reload": {"Force": True}},
                    {"reload": {"force": True, "more": 1}}, {"reload": "force"}, {"reload": []}):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(30)
            s.connect(f"{network.router.runtime}/api.sock")
            s.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
        assert json.loads(answer) == {"error": 'reload wants an object, {"force": true or '
                                               'false}'}, request
    assert network.router.show("router")["table_patches"] == loads["table_patches"]


def test_shrinking_table_is_confirmed(make_network):
    """More than half of 1,000 routes or more, of a family or of both: refused, and all stays, until
    it is confirmed."""
    network = make_network(2)
    network.router.config["route_files"] = [{"file": "table.txt"}]
    others = len(network.router.show("route"))
    ipv4_others = sum(":" not in row["prefix"] for row in network.router.show("route"))
    network.router.write()

    def table(ipv4, ipv6=0):
        lines = [f"198.{18 + (n >> 8)}.{n & 255}.0/24 10.0.2.2\n" for n in range(ipv4)] + \
            [f"2001:db8:{n:x}::/48 fd00:2::2\n" for n in range(ipv6)]
        with open(f"{network.directory}/new", "w", encoding="utf8") as file:
            file.writelines(lines or ["empty\n"])
        os.rename(f"{network.directory}/new", f"{network.directory}/table.txt")
        return ipv4, ipv6

    def count():
        sources = [":" in row["prefix"] for row in network.router.show("route") if row["source"] ==
                   "file"]
        return sources.count(False), sources.count(True)

    def taken(*what, force=False):
        table(*what)
        done = ask(network, *(["--force"] if force else []))
        assert done.returncode == 0, done.stderr
        assert count() == (what + (0,))[:2]

    def refused(before, *what, family="", routes=0, gone=0):
        table(*what)
        confirm = f"; if that is meant: p2pnic reload --force --runtime {network.router.runtime}\n"
        reason = (f"{gone} of {routes}{family} routes would be deleted, more than half, as if a "
                  f"file were cut" + confirm)
        done = ask(network)
        assert (done.returncode == 1 and not done.stdout and done.stderr == "p2pnic reload: " +
                reason), done.stderr
        assert "configuration not taken: " + reason in network.router.reload()  # SIGHUP
        assert count() == before

    # 999 routes in all: as one likes.
    taken(999 - others)
    taken(0)
    # 1,000 in all: half of them may go, one more may not.
    taken(1000 - others)
    taken(500 - others)
    taken(1000 - others)
    with Stream(network, 1, 2) as stream:
        refused((1000 - others, 0), 499 - others, routes=1000, gone=501)
        refused((1000 - others, 0), 0, routes=1000, gone=1000 - others)
        # Others in their place do not make up for them.
        table(0, 1500)
        assert ask(network).returncode == 1
        taken(499 - others, force=True)
    stream.check_whole()
    # One family goes, less than half of all.
    taken(1000, 1100)
    taken(1000, 1101)
    refused((1000, 1101), 1000, 1, family=" IPv6", routes=1101 + others - ipv4_others, gone=1100)
    taken(1000, 1, force=True)
    # A file that was cut by a crash, and one that cannot be read, force or not.
    for damage in (b"", b"\0" * 4096, b"198.18.0.0/24 10.0.2.2\n198.18.1.0/24 10.0"):
        with open(f"{network.directory}/table.txt", "wb") as file:
            file.write(damage)
        done = ask(network, "--force")
        assert (done.returncode == 1 and f"{network.directory}/table.txt:" in done.stderr
                and not done.stdout)
        assert "configuration not taken" in network.router.reload()
        assert count() == (1000, 1)
    # Another kind of table, loaded whole, obeys too.
    network.router.config["router"]["table"] = "state-jump"
    network.router.write()
    refused((1000, 1), 100, family=" IPv4", routes=1000 + ipv4_others, gone=900)
    taken(100, force=True)
    assert to(network, "198.18.0.1") == (2, mac(2, 2)) and to(network, "198.18.200.1") is None


DEFAULTS = {"name": "p2pnic", "method": "wr", "check": "none", "buffer_bytes": 2048,
            "ring_slots": 1024, "batch": 8,
            "rx_buffers": 1024, "packet_memory_mib": 16, "table_memory_mib": 16,
            "table": "line-trie"}


def test_default_by_name(make_network):
    """What a key means when it is absent, it means when it is there; anything else is refused by
    its name."""
    network = make_network(2)
    config = network.router.config
    for key, value in DEFAULTS.items():
        config["router"][key] = value
        assert "configuration read again" in reload(network), key
    for key, other in (("name", "other"), ("method", "rd"), ("check", "stamp"),
                       ("buffer_bytes", 4096), ("ring_slots", 256), ("batch", 7),
                       ("rx_buffers", 512),
                       ("packet_memory_mib", 32), ("table_memory_mib", 32), ("bounce_core", 0)):
        before = config["router"].get(key)
        config["router"][key] = other
        assert f"router: {key} differs: that needs a restart" in reload(network), key
        if before is None:
            del config["router"][key]
        else:
            config["router"][key] = before
    for key in DEFAULTS:
        del config["router"][key]
        assert "configuration read again" in reload(network), key
    config["nics"][0]["engine"] = "nic1"
    config["nics"][0]["mtu"] = 1500
    assert "configuration read again" in reload(network)
    assert network.router.nic("nic1")["restarts"] == 0
