#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A package's life in a Debian of its own: installed, started as its units would, upgraded while
NICs forward, removed, purged. As root; `package.py` starts it in mount, network and process
namespaces of its own.

systemd does not run there. This is its stand-in: it reads the installed units and starts what they
say, as the user and with the capabilities that they say, and waits for READY=1.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "p2pnic",
                     "package")
SUITE = "bookworm"
# What p2pnic depends on (package.py compares), and what the test itself runs in there.
PACKAGES = ["libbpf1", "libjansson4", "liblzma5", "libmicrohttpd12", "libmnl0", "libpcap0.8",
            "libxdp1", "libyaml-0-2", "sse4.2-support", "systemd-standalone-sysusers"]
PATIENCE = 30
UNITS = "/lib/systemd/system"
HOSTS = {1: ("h1", "02:00:00:00:01:02"), 2: ("h2", "02:00:00:00:02:02")}
CONFIG = """nics:
  - {name: left, port: {type: af_packet, target: eth1}, mac: "02:00:00:00:01:01"}
  - {name: right, port: {type: af_packet, target: eth2}, mac: "02:00:00:00:02:01"}
kernel: {}
"""


class Absent(Exception):
    """It cannot be had here."""


def run(*command, check=True, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=900, check=False, **options)
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def eventually(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)
    return value


# --- Debian ---------------------------------------------------------------------------------------

def mirror():
    """That of this machine's apt."""
    for line in run("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)",
                    "Created-By: Packages", check=False).splitlines():
        site, _, suite = line.partition(" ")
        if suite == SUITE:
            return site
    raise Absent(f"this machine's apt has no {SUITE}")


def debian():
    """The folder of a small Debian with all that p2pnic depends on; fetched once."""
    name = f"{CACHE}/{SUITE}"
    wanted = " ".join(PACKAGES)
    with contextlib.suppress(OSError):
        with open(f"{name}.packages", encoding="utf8") as file:
            if file.read() == wanted:
                return name
    if not shutil.which("debootstrap"):
        raise Absent("debootstrap is not installed")
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        try:
            subprocess.run(["debootstrap", "--variant=minbase",
                            f"--include={','.join(PACKAGES)}", SUITE, f"{place}/root", mirror()],
                           check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=1200)
        except subprocess.CalledProcessError as error:
            raise Absent(f"debootstrap: {error.stdout.strip().splitlines()[-1]}") from None
        if os.path.exists(name):
            shutil.rmtree(name)  # of other packages
        os.rename(f"{place}/root", name)
    with open(f"{name}.packages", "w", encoding="utf8") as file:
        file.write(wanted)
    return name


class Machine:
    """That Debian; what is written stays in memory and goes with this process."""

    def __init__(self, place):
        self.root = f"{place}/root"
        os.mkdir(self.root)
        run("mount", "-t", "tmpfs", "none", place)
        for name in ("upper", "work", "root"):
            os.mkdir(f"{place}/{name}")
        run("mount", "-t", "overlay", "none", "-o",
            f"lowerdir={debian()},upperdir={place}/upper,workdir={place}/work", self.root)
        for kind, where in (("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "run"), ("tmpfs", "tmp")):
            run("mount", "-t", kind, "none", f"{self.root}/{where}")
        os.chmod(f"{self.root}/run", 0o755)
        run("mount", "--bind", "/dev", f"{self.root}/dev")
        self.sockets = 0

    def run(self, *command, **options):
        return run("chroot", self.root, *command, env={
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
            "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}, **options)

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf8") as file:
            file.write(text)
        os.chmod(self.root + path, mode)

    def dpkg(self, *words, package=None):
        if package:
            shutil.copy(package, f"{self.root}/tmp/p2pnic.deb")
        return self.run("dpkg", *words)

    def has(self, path):
        return os.path.lexists(self.root + path)

    def files(self):
        """All that there are, but what dpkg and its like keep for themselves."""
        lines = self.run("find", "/", "-xdev", "-path", "/var/lib/dpkg", "-prune", "-o",
                         "-path", "/var/log", "-prune", "-o", "-path", "/var/cache", "-prune",
                         "-o", "-print").splitlines()
        return {line for line in lines if not re.fullmatch(
            r"/etc/(passwd|group|shadow|gshadow)-?|/etc/\.pwd\.lock", line)}

    def systemctl_said(self):
        with open(f"{self.root}/run/systemctl", encoding="utf8") as file:
            return file.read().splitlines()

    # --- Units ------------------------------------------------------------------------------------

    def unit(self, name):
        """Keys of [Service]; of an instance."""
        prefix, instance = name.split("@")
        keys = {}
        with open(f"{self.root}{UNITS}/{prefix}@.service", encoding="utf8") as file:
            for line in file.read().split("[Service]")[1].splitlines():
                key, equals, value = line.partition("=")
                if equals and not line.startswith("#"):
                    keys.setdefault(key, value.replace("%i", instance))
        return keys

    def command(self, unit, line):
        """As the unit's user, with its capabilities and no more."""
        def caps(key):
            return ",".join(["-all"] + [f"+{name.lower().removeprefix('cap_')}"
                                        for name in unit.get(key, "").split()])
        return ["chroot", self.root, "setpriv", "--reuid", unit["User"], "--regid", unit["Group"],
                "--init-groups", "--no-new-privs", "--inh-caps", caps("AmbientCapabilities"),
                "--ambient-caps", caps("AmbientCapabilities"),
                "--bounding-set", caps("CapabilityBoundingSet"), *line.split()]

    def start(self, name):
        """The process, once it says that it is ready."""
        unit = self.unit(name)
        directory = f"{self.root}/run/{unit['RuntimeDirectory']}"
        os.makedirs(directory, exist_ok=True)
        user = int(self.run("id", "-u", unit["User"]))
        os.chown(directory, user, int(self.run("id", "-g", unit["Group"])))
        os.chmod(directory, int(unit["RuntimeDirectoryMode"], 8))
        state = unit.get("StateDirectory")
        if state:
            os.makedirs(f"{self.root}/var/lib/{state}", exist_ok=True)
            os.chown(f"{self.root}/var/lib/{state}", user, -1)
            os.chmod(f"{self.root}/var/lib/{state}", int(unit["StateDirectoryMode"], 8))
            state = f"/var/lib/{state}"
        self.sockets += 1
        path = f"/run/notify{self.sockets}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
                open(f"{self.root}/run/log", "a", encoding="utf8") as log:
            manager.bind(self.root + path)
            os.chmod(self.root + path, 0o777)
            manager.settimeout(PATIENCE)
            process = subprocess.Popen(
                self.command(unit, unit["ExecStart"]), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": path,
                     **({"STATE_DIRECTORY": state} if state else {})})
            try:
                while "READY=1" not in manager.recv(4096).decode().splitlines():
                    pass
            except TimeoutError:
                raise AssertionError(f"{name}: not ready: {self.log()}") from None
        return process

    def log(self):
        with open(f"{self.root}/run/log", encoding="utf8") as file:
            return file.read()

    def do(self, name, key):
        """ExecReload or ExecStop of a unit."""
        unit = self.unit(name)
        return run(*self.command(unit, unit[key]))

    def show(self, what):
        return json.loads(self.run("p2pnic", "show", "-j", "--name", "edge", what))[what]


def verify(root):
    """systemd's own opinion of the units, and how exposed it takes them to be."""
    with tempfile.TemporaryDirectory() as place:
        for name in filter(lambda name: name.startswith("p2pnic"), os.listdir(root + UNITS)):
            with open(f"{root}{UNITS}/{name}", encoding="utf8") as file:
                text = file.read().replace("=/usr/bin/p2pnic", f"={root}/usr/bin/p2pnic")
            for other in (name, name.replace("@.", "@edge.")):
                with open(f"{place}/{other}", "w", encoding="utf8") as file:
                    file.write(text)
        names = sorted(name for name in os.listdir(place) if "@edge" in name)
        assert len(names) == 5, names
        for name in names:
            said = run("systemd-analyze", "verify", "--man=no", name,
                       env={**os.environ, "SYSTEMD_UNIT_PATH": f"{place}:"})
            assert not said, said
        exposed = {}
        for name in names:
            if name.endswith(".service"):
                said = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                           f"{place}/{name}")
                exposed[name] = float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])
        return exposed


# --- Traffic --------------------------------------------------------------------------------------

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(number):
    """From host 1 to host 2, by NIC left."""
    payload = struct.pack("!I", number) + bytes(60)

    def header(check):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), number & 0xffff, 0, 64, 17,
                           check, bytes([10, 1, 0, 2]), bytes([10, 2, 0, 2]))
    udp = struct.pack("!HHHH", 4000, 4001, 8 + len(payload), 0)
    return bytes.fromhex("020000000101020000000102") + b"\x08\x00" + header(
        checksum(header(0))) + udp + payload


class Stream:
    """Numbered packets, 1000 a second, from one host to the other; which do not arrive?"""

    def __init__(self):
        self.far = {}
        for end, (name, _) in HOSTS.items():
            self.far[end] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            self.far[end].setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            self.far[end].setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
            self.far[end].bind((name, 0x0800))
        self.far[2].settimeout(0.5)
        self.sent, self.arrived, self.ending = 0, set(), threading.Event()
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self._send, self._take)]

    def _send(self):
        begin = time.monotonic()
        while not self.ending.is_set():
            for number in range(self.sent, min(int((time.monotonic() - begin) * 1000),
                                               self.sent + 16)):
                self.far[1].send(frame(number))
                self.sent = number + 1
            time.sleep(0.002)

    def _take(self):
        while True:
            try:
                got = self.far[2].recv(2048)
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
        for end in self.far.values():
            end.close()

    def lost(self):
        return self.sent - len(self.arrived)


def links():
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


def runs(pid):
    """Orphans are this process's to reap, which it does not."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def end(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def life(package, machine, place):
    before = machine.files()
    machine.dpkg("--install", "/tmp/p2pnic.deb", package=package)
    assert machine.has("/usr/bin/p2pnic") and machine.has("/etc/p2pnic")
    assert "p2pnic" in machine.run("getent", "passwd", "p2pnic")
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/p2pnic") == "root:p2pnic 2775\n"
    print("life: installed; exposure of its units, by systemd:", ", ".join(
        f"{name.replace('@edge.service', '')} {value}"
        for name, value in verify(machine.root).items()))

    # From here on there seems to be a systemd.
    machine.run("mkdir", "-p", "/run/systemd/system")
    machine.write("/usr/local/bin/systemctl", '#!/bin/sh\necho "$*" >>/run/systemctl\n', 0o755)
    machine.write("/etc/p2pnic/edge.yaml", CONFIG)
    links()
    processes = {name: machine.start(name)
                 for name in ("p2pnic-keeper@edge", "p2pnic-punt@edge", "p2pnic@edge")}
    taps()
    nics = {row["name"]: row["pid"] for row in machine.show("nic")}
    user = machine.run("id", "-u", "p2pnic").strip()
    for pid in list(nics.values()) + [process.pid for process in processes.values()]:
        with open(f"/proc/{pid}/status", encoding="utf8") as file:
            assert f"\nUid:\t{user}\t{user}\t{user}\t{user}\n" in file.read()
    assert machine.show("router")["pid"] == processes["p2pnic@edge"].pid

    with Stream() as stream:
        eventually(lambda: len(stream.arrived) > 500, f"packets: {machine.log()}")
        assert "configuration read again" in machine.do("p2pnic@edge", "ExecReload")
        machine.dpkg("--install", "/tmp/p2pnic.deb", package=higher(package, place))
        assert machine.systemctl_said() == ["daemon-reload", "try-restart p2pnic@*.service"]
        old = processes["p2pnic@edge"]
        assert os.readlink(f"/proc/{old.pid}/exe").endswith(" (deleted)")
        end(old)
        processes["p2pnic@edge"] = machine.start("p2pnic@edge")
        sent = stream.sent
        eventually(lambda: stream.sent > sent + 500, "packets after the upgrade")
    assert stream.lost() == 0, f"{stream.lost()} of {stream.sent} packets lost: {machine.log()}"
    assert {row["name"]: row["pid"] for row in machine.show("nic")} == nics
    new = machine.show("router")["pid"]
    assert new == processes["p2pnic@edge"].pid != old.pid
    assert not os.readlink(f"/proc/{new}/exe").endswith(" (deleted)")
    for name in ("p2pnic-keeper@edge", "p2pnic-punt@edge"):
        assert processes[name].poll() is None, f"{name}: {machine.log()}"
    print(f"life: upgraded while NICs forwarded {stream.sent} packets: 0 lost")

    # As the target stops; the router is gone already when the others are told.
    machine.do("p2pnic-nics@edge", "ExecStop")
    for process in processes.values():
        assert process.wait(PATIENCE) == 0
    eventually(lambda: not any(map(runs, nics.values())), "the NICs' end")
    machine.dpkg("--remove", "p2pnic")
    assert machine.systemctl_said()[-1].startswith("stop p2pnic@*.target ")
    assert not machine.has("/usr/bin/p2pnic") and machine.has("/etc/p2pnic/edge.yaml")
    assert machine.has("/var/lib/p2pnic/edge")
    machine.dpkg("--purge", "p2pnic")
    left = machine.files() - before
    assert left == {"/etc/p2pnic", "/etc/p2pnic/edge.yaml", "/usr/local/bin/systemctl"}, left
    assert not before - machine.files()
    print("life: removed and purged: what is left is the user's own file, /etc/p2pnic/edge.yaml")


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
            run("umount", "--recursive", "--lazy", place)


if __name__ == "__main__":
    try:
        main()
    except Absent as why:
        print(f"package: not run: {why}")
        sys.exit(77)
