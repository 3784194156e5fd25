# SPDX-License-Identifier: BSD-3-Clause
"""The NICs' faces in the kernel: taps, what is punted to them and injected from them, and that both
go on while router, punt process, keeper and NICs die and come back.

    h1 eth0 ─── nic1 in r: NIC 1 ─── tap nic1 in k     (the kernel that the router works for)
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from scapy.all import ARP, ICMP, IP, Dot1Q, Ether, Raw, raw

from network import P2PNIC, Network, enter, eventually, inside, mac, processes_of, run

RATE = 0.02  # seconds between echoes: below what one source may be punted for want of a route


class KernelNetwork(Network):
    """Hosts 10.0.K.2 and the router's 10.0.K.1, which is an address of the tap in namespace k."""

    def __init__(self, nics):
        super().__init__(nics)
        try:
            self.kernel = f"{self.prefix}-k"
            self.ip(None, "netns", "add", self.kernel)
            self.namespaces.append(self.kernel)
            for k in range(1, nics + 1):
                host = self.namespaces[k]
                with inside(host), open("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "w",
                                        encoding="utf8") as file:
                    file.write("0")
                self.ip(host, "address", "add", f"10.0.{k}.2/24", "dev", "eth0")
        except BaseException:
            self.close()
            raise

    def _config(self, nics, port, more):
        return {"nics": [{"name": f"nic{k}", "port": {"type": port, "target": f"nic{k}"}}
                         for k in range(1, nics + 1)],
                "kernel": {"namespace": f"{self.prefix}-k"}}

    @staticmethod
    def ip(namespace, *words):
        done = run("ip", *(["-n", namespace] if namespace else []), *words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def start(self):
        super().start()
        for row in self.router.config["nics"]:
            name = row["name"]
            self.ip(self.kernel, "address", "add", f"10.0.{name[3:]}.1/24", "dev", name)
            self.ip(self.kernel, "link", "set", name, "up")
        return self

    def forward(self):
        """The kernel is a router, as far as NICs leave it to be one."""
        with inside(self.kernel):
            for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{path}", "w", encoding="utf8") as file:
                    file.write("1")

    def link(self, name):
        """As `ip link` has it; None: there is no such link."""
        done = run("ip", "-n", self.kernel, "-j", "link", "show", "dev", name)
        rows = json.loads(done.stdout or "[]") if done.returncode == 0 else []
        return rows[0] if rows else None

    def carrier(self, name):
        return "NO-CARRIER" not in self.link(name)["flags"]

    def carrier_changes(self, name):
        return int(run("ip", "netns", "exec", self.kernel, "cat",
                       f"/sys/class/net/{name}/carrier_changes").stdout)

    def addresses(self, name):
        links = json.loads(self.ip(self.kernel, "-j", "-4", "address", "show", "dev", name))
        return [a["local"] for link in links for a in link["addr_info"]]

    def answers(self, k=1, words=("-c", "1", "-W", "1")):
        return run("ip", "netns", "exec", self.namespaces[k], "ping", "-q", *words,
                   f"10.0.{k}.1").returncode == 0

    @contextlib.contextmanager
    def echoes(self, lost=0):
        """Host 1 pings the router's address all the while; how many echoes may get lost."""
        eventually(self.answers, what="the first echo")
        ping = subprocess.Popen(
            ["ip", "netns", "exec", self.namespaces[1], "ping", "-i", str(RATE), "-W", "1",
             "10.0.1.1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            time.sleep(0.2)
            yield
            time.sleep(0.2)
            ping.send_signal(signal.SIGINT)
            said = ping.communicate(timeout=30)[0]
        finally:
            ping.kill()
            ping.wait()
        sent, got = map(int, re.search(r"(\d+) packets transmitted, (\d+) received",
                                       said).groups())
        # The last one may be on its way.
        assert got >= 10 and sent - got - 1 <= lost, said[-400:]

    def pid(self, command):
        return next((pid for pid, line in processes_of(self.directory).items()
                     if line.split()[1] == command), None)

    def tap(self, name):
        return next(row for row in self.router.show("tap") if row["nic"] == name)


@pytest.fixture(name="kernel")
def kernel_network(permitted):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun: not there")
    network = KernelNetwork(2)
    try:
        yield network.start()
    finally:
        network.close()


@pytest.fixture(name="unstarted")
def unstarted_network(permitted):
    network = KernelNetwork(2)
    try:
        yield network
    finally:
        network.close()


# --- A tap ----------------------------------------------------------------------------------------

def test_tap_is_the_nic(kernel):
    """Name, address and MTU of the NIC; the host finds the router by ARP and ND, and it answers."""
    for k in (1, 2):
        link = kernel.link(f"nic{k}")
        assert link["address"] == mac(k) and link["mtu"] == 1500
        eventually(lambda k=k: kernel.carrier(f"nic{k}"), what="carrier")
        eventually(lambda k=k: kernel.answers(k), what="an echo")
    neighbors = kernel.ip(kernel.namespaces[1], "neigh")
    assert f"10.0.1.1 dev eth0 lladdr {mac(1)}" in neighbors
    local = "fe80::ff:fe00:101%eth0"  # EUI-64 of NIC 1's address
    eventually(lambda: run("ip", "netns", "exec", kernel.namespaces[1], "ping", "-q", "-c", "1",
                           "-W", "1", local).returncode == 0, what="an echo over IPv6")
    tap = kernel.tap("nic1")
    assert tap["served"] and tap["carrier"] and tap["bad"] == 0
    assert tap["injected_by_ring"]["neighbor"] > 0 and tap["injected_by_ring"]["exception"] > 0
    rows = {r["class"]: r for r in kernel.router.show("punt") if r["nic"] == "nic1"}
    assert rows["neighbor"]["delivered"] > 0 and rows["neighbor"]["policed"] == 0
    assert rows["neighbor"]["passed"] >= rows["neighbor"]["delivered"]
    table = run(P2PNIC, "show", "punt", "--runtime", kernel.router.runtime).stdout
    assert re.search(r"^nic1 +neighbor +neighbor +\d+", table, re.M)
    assert re.search(r"^nic1 +up +\d+",
                     run(P2PNIC, "show", "tap", "--runtime", kernel.router.runtime).stdout, re.M)


def test_admin_state_is_the_operators(unstarted):
    Network.start(unstarted)
    assert "UP" not in unstarted.link("nic1")["flags"]
    unstarted.ip(unstarted.kernel, "link", "set", "nic1", "up")
    unstarted.router.kill()
    Network.start(unstarted)
    assert "UP" in unstarted.link("nic1")["flags"] and "UP" not in unstarted.link("nic2")["flags"]


def test_policed(kernel):
    """A source floods with ARP requests: the NIC lets through what its class may, and counts."""
    request = raw(Ether(dst="ff:ff:ff:ff:ff:ff", src=mac(1, 9)) /
                  ARP(hwsrc=mac(1, 9), psrc="10.0.1.9", pdst="10.0.1.77"))
    for _ in range(2000):
        kernel.wire[1].send(request)

    def row():
        return next(r for r in kernel.router.show("punt")
                    if r["nic"] == "nic1" and r["class"] == "neighbor")
    eventually(lambda: row()["seen"] >= 2000, what="all requests seen")
    assert row()["policed"] > 1000 and 0 < row()["passed"] < 1000
    eventually(kernel.answers, what="an echo")  # of another source


def test_punt_rates(kernel):
    """Rates of the configuration: NICs go by them from a reload on, and a mistake changes nothing.
    No packet is lost by it."""
    request = raw(Ether(dst="ff:ff:ff:ff:ff:ff", src=mac(1, 9)) /
                  ARP(hwsrc=mac(1, 9), psrc="10.0.1.9", pdst="10.0.1.77"))

    def row(nic="nic1"):
        return next(r for r in kernel.router.show("punt")
                    if r["nic"] == nic and r["class"] == "neighbor")

    def limits(nic="nic1"):
        return [row(nic)[k] for k in ("rate", "burst", "source_rate", "source_burst")]

    def reload(*limit):
        kernel.router.config.pop("punt", None)
        if limit:
            keys = ("rate", "burst", "source_rate", "source_burst")
            kernel.router.config["punt"] = {"neighbor": dict(zip(keys, limit))}
        kernel.router.write()
        return kernel.router.reload()

    def policed(frames):
        before = row()
        for _ in range(frames):
            kernel.wire[1].send(request)
        after = eventually(lambda: (r := row())["seen"] >= before["seen"] + frames and r,
                           what="all requests seen")
        return after["policed"] - before["policed"]

    assert limits() == [600, 60, 60, 8]
    with kernel.echoes():
        assert "configuration read again" in reload(1, 3)
        assert limits("nic1") == limits("nic2") == [1, 3, 60, 8]
        table = run(P2PNIC, "show", "punt", "-a", "--runtime", kernel.router.runtime).stdout
        assert re.search(r"^nic1 +neighbor +neighbor +1 +60 ", table, re.M)
        assert policed(200) >= 150
        assert "configuration read again" in reload(10000, 1000, 10000, 1000)
        assert policed(200) == 0
        assert "rate 0: want 1 to 100000000" in reload(0)
        assert limits() == [10000, 1000, 10000, 1000]
        assert "configuration read again" in reload()
        assert limits() == [600, 60, 60, 8]


def test_routes_listed_while_they_change(kernel):
    """Routes that stay stand in the list once each, whatever comes and goes before them."""
    def batch(what, numbers):
        lines = "".join(f"route {what} blackhole 172.16.{n >> 8}.{n & 255}/32\n" for n in numbers)
        subprocess.run(["ip", "-n", kernel.kernel, "-batch", "-"], input=lines, text=True,
                       check=True, timeout=60)

    batch("add", range(2000, 16000))
    eventually(lambda: kernel.router.show("kernel")["routes"] >= 14000 and
               not kernel.router.show("kernel")["changes_waiting"], what="routes applied")
    for what, numbers in (("add", range(2000)), ("del", range(4000))):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(30)
            s.connect(f"{kernel.router.runtime}/api.sock")
            s.sendall(b'{"show": "route"}\n')
            answer = s.recv(1000)  # the rest is held up: it is longer than any buffer
            before = kernel.router.show("kernel")["routes_applied"]
            batch(what, numbers)
            eventually(lambda: kernel.router.show("kernel")["routes_applied"] >=
                       before + len(numbers), what="changes applied")
            while chunk := s.recv(1 << 20):
                answer += chunk
        listed = [row["prefix"] for row in json.loads(answer)["route"]]
        assert len(listed) == len(set(listed))
        assert {f"172.16.{n >> 8}.{n & 255}/32" for n in range(4000, 16000)} <= set(listed)


def test_carrier_follows_the_port(kernel):
    """Without a router as well."""
    host = kernel.namespaces[1]
    eventually(lambda: kernel.carrier("nic1"), what="carrier")
    for _ in range(2):
        kernel.ip(host, "link", "set", "eth0", "down")
        eventually(lambda: not kernel.carrier("nic1"), what="no carrier")
        assert kernel.carrier("nic2")
        kernel.ip(host, "link", "set", "eth0", "up")
        eventually(lambda: kernel.carrier("nic1"), what="carrier again")
        if kernel.router.process.poll() is None:
            kernel.router.kill()
    eventually(kernel.answers, what="an echo")


@pytest.mark.hostile("taps and processes that go")
def test_nic_killed(kernel):
    """It takes carrier away, not the tap, and comes back with both."""
    index = kernel.link("nic1")["ifindex"]
    eventually(lambda: kernel.carrier("nic1"), what="carrier")
    os.kill(kernel.router.nic("nic1")["pid"], signal.SIGSTOP)
    os.kill(kernel.router.nic("nic1")["pid"], signal.SIGKILL)
    eventually(lambda: not kernel.carrier("nic1"), what="no carrier")
    eventually(lambda: kernel.carrier("nic1"), what="carrier again")
    assert kernel.link("nic1")["ifindex"] == index
    eventually(kernel.answers, what="an echo")


@pytest.mark.hostile("taps and processes that go")
def test_tap_deleted(kernel):
    """It is made again, without addresses."""
    kernel.ip(kernel.kernel, "link", "delete", "nic1")
    eventually(lambda: kernel.link("nic1"), what="another tap")
    eventually(lambda: kernel.link("nic1")["address"] == mac(1), what="its address")
    assert not kernel.addresses("nic1")
    kernel.ip(kernel.kernel, "address", "add", "10.0.1.1/24", "dev", "nic1")
    kernel.ip(kernel.kernel, "link", "set", "nic1", "up")
    eventually(kernel.answers, what="an echo")
    assert "its tap was deleted" in kernel.router.messages()


def test_tap_renamed(kernel):
    """The name is the operator's; the next router finds it all the same."""
    kernel.ip(kernel.kernel, "link", "set", "nic1", "down")
    kernel.ip(kernel.kernel, "link", "set", "nic1", "name", "uplink")
    kernel.ip(kernel.kernel, "link", "set", "uplink", "up")
    kernel.router.kill()
    Network.start(kernel)
    assert kernel.link("nic1") is None and kernel.link("uplink")
    eventually(kernel.answers, what="an echo")


# --- What is done to a tap ------------------------------------------------------------------------

def forwarded(network, frame_to, payload=b"transit"):
    """Whether NIC 1 takes a frame to that address and the other host has its packet."""
    frame = Ether(dst=frame_to, src=mac(1, 2)) / IP(src="10.0.1.2", dst="10.0.2.2") / Raw(payload)
    network.wire[2].pending()
    network.wire[1].send(raw(frame))
    deadline = time.monotonic() + 0.5
    while (left := deadline - time.monotonic()) > 0:
        got = network.wire[2].receive(left)
        if got and payload in got:
            return True
    return False


def test_address_is_followed(kernel):
    """The NIC takes frames to the tap's address, and no longer to its own."""
    eventually(lambda: kernel.answers(2), what="a neighbor")
    eventually(lambda: forwarded(kernel, mac(1)), what="a packet")
    kernel.ip(kernel.kernel, "link", "set", "nic1", "address", mac(1, 7))
    eventually(lambda: forwarded(kernel, mac(1, 7)), what="a packet to the new address")
    foreign = kernel.router.dropped().get("foreign-mac", 0)
    assert not forwarded(kernel, mac(1))
    assert kernel.router.dropped()["foreign-mac"] > foreign
    assert kernel.router.nic("nic1")["mac"] == mac(1, 7)
    assert "nic nic1: has the address of its tap now" in kernel.router.messages()
    eventually(kernel.answers, what="an echo")
    # What leaves by it has the new one, too.
    frame = Ether(dst=mac(2), src=mac(2, 2)) / IP(src="10.0.2.2", dst="10.0.1.2") / Raw(b"back")

    def back():
        kernel.wire[2].send(raw(frame))
        return next((f for f in kernel.wire[1].pending() if b"back" in f), None)
    got = eventually(back, what="a packet back")
    assert Ether(got).src == mac(1, 7)
    # A NIC that dies comes back with it.
    os.kill(kernel.router.nic("nic1")["pid"], signal.SIGKILL)
    eventually(lambda: forwarded(kernel, mac(1, 7)), what="a packet through the next process")


def test_macvlan_is_a_station(kernel):
    """While it is up (VRRP)."""
    made = run("ip", "-n", kernel.kernel, "link", "add", "link", "nic1", "name", "vrrp", "address",
               "00:00:5e:00:01:01", "type", "macvlan", "mode", "bridge")
    if made.returncode:
        pytest.skip(f"macvlan: {made.stderr.strip()}")
    eventually(lambda: kernel.answers(2), what="a neighbor")
    eventually(lambda: forwarded(kernel, mac(1)), what="a packet")
    assert not forwarded(kernel, "00:00:5e:00:01:01")
    kernel.ip(kernel.kernel, "link", "set", "vrrp", "up")
    eventually(lambda: forwarded(kernel, "00:00:5e:00:01:01"), what="a packet to the macvlan")
    os.kill(kernel.router.nic("nic1")["pid"], signal.SIGKILL)
    eventually(lambda: forwarded(kernel, "00:00:5e:00:01:01"), what="the same, to the next process")
    assert forwarded(kernel, mac(1))
    kernel.ip(kernel.kernel, "link", "set", "vrrp", "down")
    eventually(lambda: not forwarded(kernel, "00:00:5e:00:01:01"), what="the end of the station")
    assert forwarded(kernel, mac(1))


MARK = b"a packet of a VLAN, or to one"


def marked(wire):
    return next((Ether(frame) for frame in wire.pending() if MARK in frame), None)


def tagged(kernel, vid, source):
    """Host 1 sends a packet to host 2 with that tag."""
    kernel.wire[2].pending()
    kernel.wire[1].send(bytes(Ether(src=mac(1, 2), dst=mac(1)) / Dot1Q(vlan=vid) / IP(
        src=source, dst="10.0.2.2") / Raw(MARK)))


def goes(kernel, vid, source):
    tagged(kernel, vid, source)
    time.sleep(0.02)
    return marked(kernel.wire[2])


def is_dropped(kernel, vid, source):
    """The NIC drops it as one of an unknown VLAN."""
    before = kernel.router.dropped().get("vlan", 0)
    tagged(kernel, vid, source)
    eventually(lambda: kernel.router.dropped().get("vlan", 0) == before + 1, what="a drop")
    return not marked(kernel.wire[2])


def test_other_vlans_are_dropped(kernel):
    """By the NIC: the kernel has no VLAN above its tap."""
    eventually(lambda: kernel.answers(2), what="a neighbor")
    eventually(lambda: goes(kernel, 0, "10.0.1.2"), what="a packet with VID 0")
    assert is_dropped(kernel, 5, "10.0.1.2")
    os.kill(kernel.router.nic("nic1")["pid"], signal.SIGKILL)
    eventually(lambda: goes(kernel, 0, "10.0.1.2"), 30, what="one through the next process")
    assert is_dropped(kernel, 5, "10.0.1.2")


def test_vlan_is_an_interface(kernel):
    """A VLAN of a tap: its frames are forwarded by the NIC, both ways, while it is up."""
    made = run("ip", "-n", kernel.kernel, "link", "add", "link", "nic1", "name", "lan5", "type",
               "vlan", "id", "5")
    if made.returncode:
        pytest.skip(f"vlan: {made.stderr.strip()}")
    eventually(lambda: kernel.answers(2), what="a neighbor")
    kernel.ip(kernel.kernel, "address", "add", "10.5.0.1/24", "dev", "lan5")
    kernel.ip(kernel.kernel, "link", "set", "lan5", "up")
    kernel.ip(kernel.kernel, "neigh", "replace", "10.5.0.2", "lladdr", mac(1, 9), "dev", "lan5")
    row = eventually(lambda: next((r for r in kernel.router.show("route")
                                   if r["prefix"] == "10.5.0.2/32"), None), what="its neighbor")
    assert row["nic"] == "nic1.5"
    assert eventually(lambda: goes(kernel, 5, "10.5.0.2"), what="a packet").type == 0x0800
    kernel.wire[1].pending()
    kernel.wire[2].send(bytes(Ether(src=mac(2, 2), dst=mac(2)) / IP(
        src="10.0.2.2", dst="10.5.0.2") / Raw(MARK)))
    got = eventually(lambda: marked(kernel.wire[1]), what="one into the VLAN")
    assert got[Dot1Q].vlan == 5 and got.dst == mac(1, 9) and got[IP].ttl == 63
    assert kernel.router.show("kernel")["vlans_on_taps"] == 0
    kernel.ip(kernel.kernel, "link", "set", "lan5", "down")
    eventually(lambda: not goes(kernel, 5, "10.5.0.2"), what="the end of the VLAN")
    assert is_dropped(kernel, 5, "10.5.0.2")


def test_mtu_beyond_the_buffers(kernel):
    """Is set back, and said."""
    kernel.ip(kernel.kernel, "link", "set", "nic1", "mtu", "9000")
    eventually(lambda: kernel.link("nic1")["mtu"] < 9000, what="a smaller MTU")
    most = kernel.link("nic1")["mtu"]
    assert most >= 1500
    assert f"nic nic1: MTU 9000 of its tap is more than its buffers hold: set back to {most}" in \
        kernel.router.messages()


def too_big(network, length):
    """A packet with DF to host 2: "sent", or the MTU that the answer to it says."""
    frame = Ether(dst=mac(1), src=mac(1, 2)) / \
        IP(src="10.0.1.2", dst="10.0.2.2", flags="DF") / Raw(b"x" * (length - 20))
    for wire in network.wire.values():
        wire.pending()
    network.wire[1].send(raw(frame))

    def fate():
        if any(len(f) == len(frame) and Ether(f).dst == mac(2, 2)
               for f in network.wire[2].pending()):
            return "sent"
        for got in map(Ether, network.wire[1].pending()):
            if ICMP in got and (got[ICMP].type, got[ICMP].code) == (3, 4):
                return got[ICMP].nexthopmtu
        return None
    return eventually(fate, what=f"the fate of a packet of {length} bytes")


def test_mtu_is_followed(kernel):
    """Lowered: larger packets are answered by the kernel (RFC 1191). Raised: they are forwarded."""
    kernel.forward()
    eventually(lambda: kernel.answers(1) and kernel.answers(2), what="neighbors")
    assert too_big(kernel, 1450) == "sent"
    kernel.ip(kernel.kernel, "link", "set", "nic2", "mtu", "1400")
    eventually(lambda: too_big(kernel, 1450) == 1400, what="the lower MTU")
    assert too_big(kernel, 1400) == "sent"
    for namespace, link in ((kernel.namespaces[2], "eth0"), (kernel.namespaces[0], "nic2"),
                            (kernel.namespaces[1], "eth0"), (kernel.namespaces[0], "nic1"),
                            (kernel.kernel, "nic2"), (kernel.kernel, "nic1")):
        kernel.ip(namespace, "link", "set", link, "mtu", "1600")
    eventually(lambda: too_big(kernel, 1600) == "sent", what="the higher MTU")
    assert "set back" not in kernel.router.messages()


def test_renamed_tap_forwards(kernel):
    """Before and after the next router finds it."""
    eventually(lambda: kernel.answers(2), what="a neighbor")
    kernel.ip(kernel.kernel, "link", "set", "nic2", "down")
    kernel.ip(kernel.kernel, "link", "set", "nic2", "name", "uplink")
    kernel.ip(kernel.kernel, "link", "set", "uplink", "up")
    eventually(lambda: kernel.answers(2), what="an echo")
    eventually(lambda: forwarded(kernel, mac(1)), what="a packet")
    kernel.router.kill()
    assert forwarded(kernel, mac(1))
    Network.start(kernel)
    eventually(lambda: forwarded(kernel, mac(1)), what="a packet by the next router")
    assert kernel.link("nic2") is None
    # A route that comes now is by the tap of that name.
    kernel.ip(kernel.kernel, "route", "add", "10.9.0.0/16", "via", "10.0.2.2")
    eventually(lambda: any(row["prefix"] == "10.9.0.0/16" and row.get("nic") == "nic2"
                           for row in kernel.router.show("route")), what="its route")


# --- Ends -----------------------------------------------------------------------------------------

@pytest.mark.hostile("taps and processes that go")
def test_router_killed(kernel):
    """Host to tap and back: no echo is lost, without a router and when the next one takes over; and
    the tap has carrier all the while."""
    punt, index = kernel.pid("punt"), kernel.link("nic1")["ifindex"]
    eventually(lambda: kernel.carrier("nic1"), what="carrier")
    changes = kernel.carrier_changes("nic1")
    with kernel.echoes():
        for _ in range(3):
            kernel.router.kill()
            time.sleep(0.3)
            Network.start(kernel)
            time.sleep(0.2)
    assert kernel.pid("punt") == punt and kernel.link("nic1")["ifindex"] == index
    assert kernel.carrier_changes("nic1") == changes


@pytest.mark.hostile("taps and processes that go")
def test_punt_killed(kernel):
    """Another one serves the same rings and taps."""
    punt, index = kernel.pid("punt"), kernel.link("nic1")["ifindex"]
    eventually(lambda: kernel.carrier("nic1"), what="carrier")
    changes = kernel.carrier_changes("nic1")
    with kernel.echoes(lost=50):
        os.kill(punt, signal.SIGKILL)
        eventually(lambda: kernel.pid("punt") not in (None, punt), what="another punt process")
        eventually(lambda: "punt: a new one serves the taps" in kernel.router.messages(),
                   what="its taps")
    assert kernel.link("nic1")["ifindex"] == index and kernel.addresses("nic1") == ["10.0.1.1"]
    assert kernel.carrier_changes("nic1") == changes
    assert kernel.answers()


@pytest.mark.hostile("taps and processes that go")
def test_punt_hangs(kernel):
    punt = kernel.pid("punt")
    os.kill(punt, signal.SIGSTOP)
    eventually(lambda: kernel.pid("punt") not in (None, punt), what="another punt process")
    eventually(kernel.answers, what="an echo")


@pytest.mark.hostile("taps and processes that go")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_router_killed_and_punt_of_no_use(kernel, how):
    """The keeper has what the next router needs; one that was only stopped is woken."""
    punt, index = kernel.pid("punt"), kernel.link("nic1")["ifindex"]
    kernel.router.kill()
    os.kill(punt, how)
    Network.start(kernel)
    assert (kernel.pid("punt") == punt) == (how == signal.SIGSTOP)
    assert kernel.link("nic1")["ifindex"] == index and kernel.addresses("nic1") == ["10.0.1.1"]
    eventually(kernel.answers, what="an echo")


@pytest.mark.hostile("taps and processes that go")
def test_keeper_killed(kernel):
    with kernel.echoes():
        os.kill(kernel.pid("keeper"), signal.SIGKILL)
        eventually(lambda: "keeper: a new one holds the NICs" in kernel.router.messages(),
                   what="another keeper")
        kernel.router.kill()
        Network.start(kernel)


@pytest.mark.hostile("taps and processes that go")
def test_router_and_keeper_killed(kernel):
    """NICs are started anew; their taps are found with the punt process."""
    index = kernel.link("nic1")["ifindex"]
    os.kill(kernel.router.process.pid, signal.SIGSTOP)  # it starts no other keeper
    os.kill(kernel.pid("keeper"), signal.SIGKILL)
    kernel.router.kill()
    Network.start(kernel)
    assert kernel.link("nic1")["ifindex"] == index and kernel.addresses("nic1") == ["10.0.1.1"]
    eventually(kernel.answers, what="an echo")


def test_end_leaves_nothing(kernel):
    eventually(kernel.answers, what="an echo")
    kernel.router.stop()
    assert kernel.link("nic1") is None and kernel.link("nic2") is None
    eventually(lambda: not processes_of(kernel.directory), what="the end of all processes")
    assert sorted(os.listdir(kernel.directory)) == ["log", "router.yaml"]
    kernel.start()
    eventually(kernel.answers, what="an echo")


# --- Configurations -------------------------------------------------------------------------------

def fails(network, *before):
    """What it says."""
    done = run(*before, P2PNIC, "router", "-c", network.router.path,
               preexec_fn=lambda: enter(network.namespaces[0]))
    assert done.returncode == 1, done.stderr
    assert not processes_of(network.directory)
    return done.stderr


def test_name_is_taken(unstarted):
    unstarted.ip(unstarted.kernel, "link", "add", "nic2", "type", "veth", "peer", "name", "other")
    said = fails(unstarted)
    assert "tap nic2: there is an interface of that name" in said
    assert unstarted.link("nic1") is None and unstarted.link("nic2")


def test_persistent_tap_is_not_taken(unstarted):
    unstarted.ip(unstarted.kernel, "tuntap", "add", "name", "nic1", "mode", "tap")
    said = fails(unstarted)
    assert "tap nic1: there is an interface of that name" in said
    assert unstarted.link("nic1")


def test_no_such_namespace(unstarted):
    unstarted.router.config["kernel"]["namespace"] = "pl-nowhere"
    unstarted.router.write()
    assert "network namespace pl-nowhere" in fails(unstarted)


def test_not_permitted(unstarted):
    """Without CAP_NET_ADMIN, taps in the router's own namespace."""
    for k, row in enumerate(unstarted.router.config["nics"]):
        row["name"] = f"tap{k}"
    unstarted.router.config["kernel"] = {}
    unstarted.router.write()
    said = fails(unstarted, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    assert "tap tap0: TUNSETIFF: not permitted" in said and "CAP_NET_ADMIN" in said


def test_nic_no_longer_configured(kernel):
    """Its tap goes, the other one stays."""
    index = kernel.link("nic1")["ifindex"]
    kernel.router.kill()
    del kernel.router.config["nics"][1]
    kernel.router.write()
    Network.start(kernel)
    eventually(lambda: kernel.link("nic2") is None, what="its end")
    assert kernel.link("nic1")["ifindex"] == index
    eventually(kernel.answers, what="an echo")


def test_kernel_no_longer_configured(kernel):
    kernel.router.kill()
    del kernel.router.config["kernel"]
    kernel.router.write()
    Network.start(kernel)
    eventually(lambda: kernel.link("nic1") is None and kernel.link("nic2") is None,
               what="their end")
    assert kernel.pid("punt") is None
    assert kernel.router.show("tap") == [] and kernel.router.show("punt") == []


def test_reload_keeps_the_kernel(kernel):
    kernel.router.config["kernel"]["slots"] = 128
    kernel.router.write()
    assert "kernel: slots differs: that needs a restart" in kernel.router.reload()
    kernel.router.config["kernel"]["slots"] = 256
    kernel.router.write()
    assert "configuration read again" in kernel.router.reload()
    assert kernel.answers()
