#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A package's life in a Debian of its own, whose systemd runs its units (debian.py): installed,
started, reloaded, killed, hung and upgraded while NICs forward, stopped, started with the machine,
removed, purged. As root; `package.py` starts it in mount, network and process namespaces of its
own.
"""

import contextlib
import json
import os
import re
import socket
import struct
import sys
import tempfile
import threading
import time
import urllib.request

from debian import PATIENCE, Absent, Machine, debian, eventually, run

HOSTS = {1: ("h1", "02:00:00:00:01:02"), 2: ("h2", "02:00:00:00:02:02"),
         3: ("h3", "02:00:00:00:03:02")}
UNITS = "/lib/systemd/system"
METRICS = "127.0.0.1:9632"
CONFIG = f"""nics:
  - {{name: left, port: {{type: af_packet, target: eth1}}, mac: "02:00:00:00:01:01"}}
  - {{name: right, port: {{type: af_packet, target: eth2}}, mac: "02:00:00:00:02:01"}}
kernel: {{}}
metrics: {{listen: "{METRICS}"}}
"""
# Of the other types of ports one each. Two are the ends of one memif. What they make lies where the
# unit lets them.
MEMIF, CAPTURE = "/run/p2pnic/ports/memif.sock", "/var/lib/p2pnic/ports/out.pcap"
PORTS = f"""nics:
  - {{name: xdp, port: {{type: af_xdp, target: eth3}}, addresses: [10.3.0.1/24],
     mac: "02:00:00:00:03:01"}}
  - {{name: tap, port: {{type: tap, target: tap4}}, addresses: [10.4.0.1/24]}}
  - {{name: near, port: {{type: memif, target: {MEMIF}, options: role=server}},
     addresses: [10.5.0.1/24]}}
  - {{name: far, port: {{type: memif, target: {MEMIF}}}, mac: "02:00:00:00:06:01",
     addresses: [10.6.0.1/24]}}
  - {{name: file, port: {{type: pcap, target: ",{CAPTURE}"}}, addresses: [10.7.0.1/24]}}
neighbors:
  - {{nic: tap, address: 10.4.0.2, mac: "02:00:00:00:04:02"}}
  - {{nic: near, address: 10.5.0.2, mac: "02:00:00:00:06:01"}}
  - {{nic: file, address: 10.7.0.2, mac: "02:00:00:00:07:02"}}
"""
# Of a router (p2pnic@.service): NET_ADMIN, NET_RAW, PERFMON, BPF, by capability.h of Linux.
CAPABILITIES = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39
# In a container that may not raise limits (SYS_RESOURCE) LimitMEMLOCK= does nothing. For af_xdp
# docs/operations.md says what does.
RESOURCE, LOCK = 1 << 24, 1 << 14
ELSEWHERE = """nics:
  - {name: apart, port: {type: pcap, target: ",/var/lib/p2pnic/elsewhere/out.pcap"}}
kernel: {namespace: apart}
"""


# --- Traffic --------------------------------------------------------------------------------------

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(number, host=1, to="10.2.0.2"):
    """From a host by its NIC."""
    payload = struct.pack("!I", number) + bytes(60)

    def header(check):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), number & 0xffff, 0, 64, 17,
                           check, bytes([10, host, 0, 2]), socket.inet_aton(to))
    udp = struct.pack("!HHHH", 4000, 4001, 8 + len(payload), 0)
    return bytes([2, 0, 0, 0, host, 1, 2, 0, 0, 0, host, 2, 8, 0]) + header(
        checksum(header(0))) + udp + payload


def wire(interface, ethertype=0x0800):
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    one.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    one.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
    one.bind((interface, ethertype))
    one.settimeout(0.5)
    return one


class Stream:
    """Numbered packets, 1000 a second, from host 1 to host 2; which do not arrive?"""

    def __init__(self):
        self.from_, self.to = wire("h1"), wire("h2")
        self.sent, self.arrived, self.ending = 0, set(), threading.Event()
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self._send, self._take)]

    def _send(self):
        begin = time.monotonic()
        while not self.ending.is_set():
            for number in range(self.sent, min(int((time.monotonic() - begin) * 1000),
                                               self.sent + 16)):
                self.from_.send(frame(number))
                self.sent = number + 1
            time.sleep(0.002)

    def _take(self):
        while True:
            try:
                got = self.to.recv(2048)
            except TimeoutError:
                if self.ending.is_set():
                    return
                continue
            if got[:6] == bytes.fromhex("020000000202") and got[36:38] == b"\x0f\xa1":
                self.arrived.add(int.from_bytes(got[42:46], "big"))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        self.from_.close()
        self.to.close()

    def lost(self):
        return self.sent - len(self.arrived)

    def goes_on(self):
        """Packets that are sent from now on arrive."""
        sent = self.sent
        eventually(lambda: any(number >= sent for number in tuple(self.arrived)), "packets")


def links():
    run("ip", "link", "set", "lo", "up")
    for end, (host, mac) in HOSTS.items():
        run("ip", "link", "add", f"eth{end}", "type", "veth", "peer", "name", host, "address", mac)
        for name in (f"eth{end}", host):
            with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w", encoding="utf8") as file:
                file.write("1")
            run("ip", "link", "set", name, "up")


def taps():
    for end, tap in ((1, "left"), (2, "right")):
        run("ip", "address", "add", f"10.{end}.0.1/24", "dev", tap)
        run("ip", "link", "set", tap, "up")
        run("ip", "neighbor", "replace", f"10.{end}.0.2", "lladdr", HOSTS[end][1], "dev", tap,
            "nud", "permanent")


def kernel_answers():
    """Host 1 asks for the router's MAC address (ARP, RFC 826): the NIC punts, the kernel answers
    with that of the tap."""
    host, router = (bytes.fromhex(mac.replace(":", "")) for mac in (HOSTS[1][1],
                                                                    "02:00:00:00:01:01"))
    kind = bytes.fromhex("0806" "0001080006040001")
    with wire("h1", 0x0806) as one:
        one.send(b"\xff" * 6 + host + kind + host + bytes([10, 1, 0, 2]) + bytes(6) +
                 bytes([10, 1, 0, 1]))
        with contextlib.suppress(TimeoutError):
            while True:
                got = one.recv(2048)
                if got[20:22] == b"\0\2" and got[22:32] == router + bytes([10, 1, 0, 1]):
                    return True
    return False


def interfaces():
    """{name: whether an XDP program is there}"""
    return {row["ifname"]: "xdp" in row for row in json.loads(run("ip", "-json", "link"))}


# --- A router -------------------------------------------------------------------------------------

class Router:
    """An instance of the units."""

    def __init__(self, machine, name):
        self.machine, self.name = machine, name
        self.target, self.service, self.keeper, self.punt, self.end = (
            f"p2pnic{kind}@{name}.{of}" for kind, of in (
                ("", "target"), ("", "service"), ("-keeper", "service"), ("-punt", "service"),
                ("-nics", "service")))
        self.units = [self.target, self.service, self.keeper, self.punt, self.end]
        self.file = f"/etc/p2pnic/{name}.yaml"

    def configure(self, text):
        self.machine.write(self.file, text, 0o640)
        self.machine.run("chown", "p2pnic:p2pnic", self.file)

    def grant(self, capability):
        folder = f"/run/systemd/system/{self.service}.d"
        text = f"[Service]\nAmbientCapabilities={capability}\nCapabilityBoundingSet={capability}"
        self.machine.run("sh", "-c", 'mkdir -p "$0" && echo "$1" >"$0"/test.conf', folder, text)
        self.systemctl("daemon-reload")

    def systemctl(self, *words, **options):
        return self.machine.run("systemctl", *words, **options)

    def is_active(self, unit):
        return self.machine.property(unit, "ActiveState") == "active"

    def all_active(self, but=None):
        return all(self.is_active(unit) for unit in self.units if unit != but)

    def pid(self):
        return int(self.machine.property(self.service, "MainPID"))

    def starts(self):
        """How often systemd has started it again."""
        return int(self.machine.property(self.service, "NRestarts"))

    def kill(self, signal, unit=None):
        self.systemctl("kill", f"--signal={signal}", "--kill-whom=main", unit or self.service)

    def started_again(self, starts, pid):
        """By systemd."""
        eventually(lambda: self.starts() > starts and self.is_active(self.service),
                   "the router is started again")
        assert self.pid() != pid and self.show("router")["pid"] == self.pid()

    def show(self, what):
        return json.loads(self.machine.run("p2pnic", "show", "-j", "--name", self.name, what))[what]

    def nics(self):
        return {row["name"]: row["pid"] for row in self.show("nic")}

    def said(self, *words):
        return self.machine.journal("--unit", self.service, *words)

    def refuses(self, text):
        """A reload of another configuration; nothing changes."""
        with open(self.machine.root + self.file, encoding="utf8") as file:
            before = file.read()
        pid, line = self.pid(), before.count("\n") + 1
        self.configure(before + text)
        said = self.systemctl("reload", self.service, check=False)
        assert f"Job for {self.service} failed" in said, said
        told = f"{self.file}:{line}: "
        eventually(lambda: told in self.said(), f"{told} in {self.said()}")
        self.configure(before)
        assert self.is_active(self.service) and self.pid() == pid

    def processes(self):
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
                if any(f"/run/p2pnic/{self.name}" in word for word in words):
                    found.append(words[:-1])
        return found

    def stop(self):
        """systemd is done with a target before it is with what is part of it: the NICs' end is
        asked for by name."""
        self.systemctl("stop", self.target, self.end)
        assert not [words for words in self.processes() if words[1] == "nic"], self.machine.told()
        eventually(lambda: {self.machine.property(unit, "ActiveState") for unit in self.units}
                   <= {"inactive", "failed"}, "the units' end")
        self.leaves_nothing()

    def leaves_nothing(self):
        assert not self.processes(), f"{self.processes()}: {self.machine.told()}"
        left = self.machine.run("find", "/run/p2pnic", "/dev/shm", "-type", "f,s,p",
                                "-path", f"*/{self.name}/*")
        assert not left, left


def can_raise_limits():
    with open("/proc/self/status", encoding="utf8") as file:
        return int(re.search(r"CapEff:\s(\w+)", file.read())[1], 16) & RESOURCE


def confined(router):
    """The kernel does what the units say."""
    machine = router.machine
    user = machine.run("id", "-u", "p2pnic").strip()
    for unit, capabilities, own_network in ((router.service, CAPABILITIES, False),
                                            (router.keeper, 0, True), (router.punt, 0, True)):
        if not router.is_active(unit):
            continue
        pids = [machine.property(unit, "MainPID")]
        if unit == router.service:
            pids += map(str, router.nics().values())
        for pid in pids:
            status = dict(line.split(":\t", 1) for line in machine.run(
                "cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
            assert status["Name"] == "p2pnic" and status["Uid"].split() == [user] * 4, status
            assert int(status["CapBnd"], 16) & ~LOCK == capabilities, (unit, status)
            assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", (unit, status)
            here, its = machine.run("readlink", "/proc/1/ns/net",
                                    f"/proc/{pid}/ns/net").split()
            assert (here != its) == own_network, unit
            for path in ("/usr", "/var", "/proc/sys"):
                assert machine.run("test", "-w", f"/proc/{pid}/root{path}", check=False) == ""
                machine.run("sh", "-c", f"! test -w /proc/{pid}/root{path}")


def exposure(machine):
    """systemd's own opinion of the units, and how exposed it takes them to be."""
    units = sorted(name for name in os.listdir(f"{machine.root}{UNITS}") if "p2pnic" in name)
    assert len(units) == 5, units
    said = machine.run("systemd-analyze", "verify", "--man=no",
                       *(f"{UNITS}/{unit}" for unit in units))
    assert not said, said
    exposed = []
    for unit in filter(lambda unit: unit.endswith(".service"), units):
        said = machine.run("systemd-analyze", "security", "--offline=true", "--no-pager",
                           f"{UNITS}/{unit}")
        exposed.append(f"{unit.split('@')[0]} "
                       f"{re.search(r'exposure level for [^:]+: ([0-9.]+)', said)[1]}")
    return ", ".join(exposed)


def scrape(where):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{where}/metrics",
                                                              timeout=PATIENCE) as answer:
        return "\np2pnic_up 1\n" in answer.read().decode()
    return False


# --- Life -----------------------------------------------------------------------------------------

def higher(package, place):
    """The same with a higher version."""
    tree, path = f"{place}/tree", f"{place}/higher.deb"
    run("dpkg-deb", "--raw-extract", package, tree)
    control = f"{tree}/DEBIAN/control"
    with open(control, encoding="utf8") as file:
        text = file.read()
    with open(control, "w", encoding="utf8") as file:
        file.write(re.sub(r"^(Version: .*)$", r"\1+1", text, flags=re.M))
    run("dpkg-deb", "--root-owner-group", "--build", tree, path)
    return path


def installed(machine, package):
    machine.install(package)
    assert machine.has("/usr/bin/p2pnic") and machine.has("/etc/p2pnic")
    assert "p2pnic" in machine.run("getent", "passwd", "p2pnic")
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/p2pnic") == "root:p2pnic 2775\n"


def begun_with_a_mistake(router):
    router.configure(CONFIG + "nonsense: 1\n")
    said = router.systemctl("start", router.service, check=False)
    assert f"Job for {router.service} failed" in said, said
    eventually(lambda: f"{router.file}:6: unknown key 'nonsense'" in router.said(), router.said())
    router.configure(CONFIG)
    eventually(lambda: router.is_active(router.service), "the router once its file is right")


def started(router):
    router.systemctl("enable", "--now", router.target)
    assert router.all_active(), router.machine.told()
    taps()
    eventually(lambda: router.machine.property(router.service, "StatusText") ==
               "2 of 2 NICs forward", "systemd knows how many forward")
    said = router.systemctl("status", router.service)
    assert 'Status: "2 of 2 NICs forward"' in said and "p2pnic nic " in said, said
    assert router.show("router")["pid"] == router.pid()
    eventually(lambda: scrape(METRICS), "metrics")
    assert "Landlock" not in router.said(), router.said()
    eventually(kernel_answers, "an answer of the kernel")
    confined(router)
    up, = map(json.loads, router.said("--output=json",
                                      "MESSAGE_ID=6ec4b66ad21b4f2b9df6ec80ec7c9d01").splitlines())
    assert up["P2PNIC_FROM"] == "router" and up["PRIORITY"] == "6", up
    assert up["SYSLOG_IDENTIFIER"] == "p2pnic" and up["_PID"] == str(router.pid()), up
    left = json.loads(router.said("--output=json", "P2PNIC_NIC=left").splitlines()[0])
    assert left["P2PNIC_FROM"] == "nic left" and "af_packet:eth1" in left["MESSAGE"], left


def reloaded(router):
    other = "127.0.0.1:9633"
    router.configure(CONFIG.replace(METRICS, other))
    router.systemctl("reload", router.service)
    eventually(lambda: scrape(other), "metrics elsewhere")
    router.refuses("nonsense: 1\n")
    router.machine.write("/var/tmp/other.yaml", CONFIG)
    for words in (("apply", "/var/tmp/other.yaml"), ("save",)):
        router.machine.run("p2pnic", "config", *words, "--name", router.name)
    assert router.machine.run("cat", router.file) == CONFIG
    eventually(lambda: scrape(METRICS), "metrics where they were")


def killed(router):
    pid, starts = router.pid(), router.starts()
    router.kill("KILL")
    router.started_again(starts, pid)


def upgraded(router, package):
    old = router.pid()
    helpers = [router.machine.property(unit, "MainPID") for unit in (router.keeper, router.punt)]
    router.machine.install(package)
    eventually(lambda: router.is_active(router.service), "the new router")
    assert router.pid() != old
    assert helpers == [router.machine.property(unit, "MainPID")
                       for unit in (router.keeper, router.punt)]

    def program(pid):
        return router.machine.run("readlink", f"/proc/{pid}/exe").strip()
    assert program(router.pid()) == "/usr/bin/p2pnic"
    assert program(helpers[0]) == "/usr/bin/p2pnic (deleted)"


def without_its_keeper(router):
    """The router has another one, which outlives that router, too."""
    router.kill("KILL", router.keeper)
    eventually(lambda: "keeper: a new one holds the NICs" in router.said(), "another keeper")
    pid = router.pid()
    router.systemctl("restart", router.service)
    assert router.pid() != pid and router.is_active(router.service)


def all_ports(machine):
    """Under what their units forbid."""
    router = Router(machine, "ports")
    router.configure(PORTS)
    if not can_raise_limits():
        router.grant("CAP_IPC_LOCK")
    router.systemctl("start", router.target)
    assert router.all_active(but=router.punt), machine.told()
    confined(router)
    eventually(lambda: all(row["link"] for row in router.show("port")), "links")
    host, tap = wire("h3"), wire("tap4")

    def tap_has(number, to):
        host.send(frame(number, 3, to))
        with contextlib.suppress(TimeoutError):
            while True:
                if tap.recv(2048)[42:46] == struct.pack("!I", number):
                    return True
        return False

    def far_has():
        host.send(frame(1, 3, "10.5.0.2"))
        row, = (row for row in router.show("counter") if row["nic"] == "far")
        return row["received"]["packets"]

    def file_has():
        host.send(frame(0xfeedbeef, 3, "10.7.0.2"))
        with open(machine.root + CAPTURE, "rb") as file:
            return bytes.fromhex("feedbeef") in file.read()

    eventually(lambda: tap_has(1, "10.4.0.2"), "a packet from af_xdp to tap")
    eventually(far_has, "packets from af_xdp by memif")
    eventually(file_has, "a packet from af_xdp to a capture")
    assert not tap_has(2, "10.77.0.1")
    router.configure(PORTS + "routes: [{prefix: 10.77.0.0/16, via: 10.4.0.2}]\n")
    router.systemctl("reload", router.service)
    eventually(lambda: tap_has(3, "10.77.0.1"), "a packet by the new route")
    router.refuses("router: {method: none}\n")
    modes = {row["type"]: row["mode"] for row in router.show("port")}
    host.close()
    tap.close()
    router.stop()
    has = interfaces()
    assert not has["eth3"] and "tap4" not in has, has
    print("life: ports under systemd:", ", ".join(f"{t} ({m})" for t, m in modes.items()))


def taps_elsewhere(machine):
    """In a namespace, with the capability that takes."""
    machine.run("sh", "-c", "mkdir -p /run/netns && : >/run/netns/apart && "
                "unshare --net=/run/netns/apart true")
    router = Router(machine, "elsewhere")
    router.configure(ELSEWHERE)
    router.grant("CAP_SYS_ADMIN")
    router.systemctl("start", router.target)
    assert router.all_active(), machine.told()

    def has():
        return "apart:" in machine.run("nsenter", "--net=/run/netns/apart", "cat", "/proc/net/dev")
    assert has()
    router.stop()
    assert not has()


def hung(router, *meanwhile):
    """WatchdogSec= of its unit later systemd takes it for dead."""
    pid, starts = router.pid(), router.starts()
    router.kill("STOP")
    for happens in meanwhile:
        happens(router.machine)
    router.started_again(starts, pid)
    assert "Watchdog timeout (limit 20s)!" in router.said()


def life(package, machine, place):
    machine.boot()
    before = machine.files()
    installed(machine, package)
    router = Router(machine, "edge")
    print("life: installed; exposure of its units, by systemd:", exposure(machine))
    links()
    begun_with_a_mistake(router)
    started(router)
    print("life: started; systemd has all units active")
    nics = router.nics()
    with Stream() as stream:
        stream.goes_on()
        for happens in (reloaded, killed, lambda of: upgraded(of, higher(package, place)),
                        without_its_keeper, lambda of: hung(of, all_ports, taps_elsewhere)):
            happens(router)
            assert router.nics() == nics
            stream.goes_on()
        router.systemctl("stop", router.service)
        stream.goes_on()
    assert stream.lost() == 0, f"{stream.lost()} of {stream.sent} packets lost: {machine.told()}"
    print("life: reloaded, killed, upgraded, without its keeper, hung, stopped, while NICs "
          f"forwarded {stream.sent} packets: 0 lost")
    router.stop()
    assert "left" not in interfaces()

    router.systemctl("start", router.target)
    machine.shut_down()
    assert not router.processes() and "left" not in interfaces()
    machine.boot()
    assert machine.state() == "running", machine.run("systemctl", "--failed")
    assert router.all_active(), machine.told()
    taps()
    with Stream() as stream:
        stream.goes_on()
    print("life: the machine was shut down and booted: the router forwards")

    machine.run("dpkg", "--remove", "p2pnic")
    assert not router.processes() and "left" not in interfaces()
    assert not machine.has("/usr/bin/p2pnic") and machine.has("/etc/p2pnic/edge.yaml")
    assert machine.has("/var/lib/p2pnic/edge")
    machine.run("dpkg", "--purge", "p2pnic")
    left = machine.files() - before
    assert left == {"/etc/p2pnic", "/etc/p2pnic/edge.yaml", "/etc/p2pnic/ports.yaml",
                    "/etc/p2pnic/elsewhere.yaml",
                    "/etc/systemd/system/multi-user.target.wants/p2pnic@edge.target"}, left
    assert not before - machine.files()
    print("life: removed and purged: what is left is what the user made: /etc/p2pnic/*.yaml, and "
          "the link of `systemctl enable`")


def main():
    if sys.argv[1] == "--fetch":
        debian()
        return
    with tempfile.TemporaryDirectory(prefix="p2pnic-life-") as place, \
            tempfile.TemporaryDirectory() as beside:
        machine = Machine(place)
        try:
            life(sys.argv[1], machine, beside)
        finally:
            machine.close()
            run("umount", "--recursive", "--lazy", place)


if __name__ == "__main__":
    try:
        main()
    except Absent as why:
        print(f"package: not run: {why}")
        sys.exit(77)
