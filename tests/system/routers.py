# SPDX-License-Identifier: BSD-3-Clause
"""Routers with a kernel of their own, links between them, hosts behind them, and routing daemons of
Debian on them, as they are.

    host h1 eth0 ─── nic1 in a-r: router a: tap nic1 in a-k      (veth between namespaces)
                     nic2 in a-r: router a: tap nic2 in a-k
                      │
                     nic1 in b-r: router b: tap nic1 in b-k
"""

import contextlib
import itertools
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from network import Router, enter, eventually, inside, processes_of, run

FRR = "/usr/lib/frr"
LATE = 60  # seconds: what daemons do by timers of seconds

_serial = itertools.count()


def needs(*programs):
    """Skips a test, or as pytestmark a module, where one is not there."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin:{FRR}"
    missing = [program for program in programs if not shutil.which(program, path=path)]
    reason = f"not installed (scripts/setup): {', '.join(missing)}" if missing else \
        "/dev/net/tun: not there"
    return pytest.mark.skipif(bool(missing) or not os.path.exists("/dev/net/tun"), reason=reason)


def ip(namespace, *words):
    done = run("ip", "-n", namespace, *words)
    assert done.returncode == 0, (namespace, words, done.stderr)
    return done.stdout


def sysctl(namespace, **values):
    """Keys with a double underscore for each slash."""
    with inside(namespace):
        for key, value in values.items():
            with open(f"/proc/sys/net/{key.replace('__', '/')}", "w", encoding="utf8") as file:
                file.write(str(value))


class Daemon:
    """A program in a namespace, which speaks into a file of its own."""

    def __init__(self, namespace, directory, *command, usr=""):
        """usr: the folder that it has for /usr."""
        self.name = os.path.basename(command[0])
        if usr:
            command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /usr && exec "$@"', usr,
                       *command]
        self.log = f"{directory}/{self.name}.log"
        with open(self.log, "a", encoding="utf8") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
                preexec_fn=lambda: enter(namespace))

    def check(self):
        with open(self.log, encoding="utf8", errors="replace") as log:
            assert self.process.poll() is None, (self.name, log.read()[-2000:])

    def stop(self, seconds=10):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Host:
    def __init__(self, namespace):
        self.namespace = namespace

    def run(self, *command):
        return run("ip", "netns", "exec", self.namespace, *command)

    def ip(self, *words):
        return ip(self.namespace, *words)

    def reaches(self, address, *words):
        return self.run("ping", "-q", "-c", "1", "-W", "1", *words, address).returncode == 0

    def socket(self, *arguments):
        with inside(self.namespace):
            return socket.socket(*arguments)


class KernelRouter:
    """A router of p2pnic whose control plane is a kernel of its own, with daemons."""

    def __init__(self, topology, number, nics):
        name = chr(ord("a") + number)
        self.ports, self.kernel = f"{topology.prefix}-{name}r", f"{topology.prefix}-{name}k"
        self.directory = f"{topology.directory}/{name}"
        os.mkdir(self.directory)
        self.number, self.nics, self.daemons, self.name = number, nics, [], name
        for namespace in (self.ports, self.kernel):
            topology.namespace(namespace)
        sysctl(self.ports, ipv6__conf__all__disable_ipv6=1)
        sysctl(self.kernel, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1,
               ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0,
               ipv6__conf__default__accept_dad=0)
        ip(self.kernel, "link", "set", "lo", "up")
        self.router = None

    def mac(self, nic):
        return f"02:00:00:{self.number + 1:02x}:{nic:02x}:01"

    def link_local(self, nic):
        """EUI-64 of the MAC address (RFC 4291, appendix A)."""
        return f"fe80::ff:fe{self.number + 1:02x}:{nic:x}01"

    def start(self, addresses=None):
        """addresses: those of each tap, in order; without: those of the start before."""
        if not self.router:
            self.router = Router(
                {"nics": [{"name": f"nic{k}", "engine": "all",
                           "port": {"type": "af_packet", "target": f"nic{k}"}}
                          for k in range(1, self.nics + 1)],
                 "kernel": {"namespace": self.kernel}}, self.directory, self.ports)
        self.router.start()
        for nic, own in enumerate(addresses or [], 1):
            for address in own:
                ip(self.kernel, "address", "add", address, "dev", f"nic{nic}")
            ip(self.kernel, "link", "set", f"nic{nic}", "up")
            eventually(lambda nic=nic: "LOWER_UP" in ip(self.kernel, "link", "show", f"nic{nic}"),
                       what="carrier")

    def ip(self, *words):
        return ip(self.kernel, *words)

    def run(self, *command):
        return run("ip", "netns", "exec", self.kernel, *command)

    def route(self, prefix):
        """The row of `show route`, which the NICs have; None: there is none."""
        return next((row for row in self.router.show("route") if row["prefix"] == prefix), None)

    def daemon(self, *command, usr=""):
        self.daemons.append(Daemon(self.kernel, self.directory, *command, usr=usr))
        return self.daemons[-1]

    # --- FRR --------------------------------------------------------------------------------------

    def frr(self, daemons, configuration, usr="", zebra=()):
        """Starts zebra and the daemons, each with the whole configuration. usr: of another release
        than the system's; zebra: more arguments of that."""
        folder = f"{self.directory}/frr"
        os.mkdir(folder)
        path = f"{folder}/frr.conf"
        with open(path, "w", encoding="utf8") as file:
            file.write(f"hostname {self.name}\n{configuration}\n")
        owner = pwd.getpwnam("frr")
        for name in (folder, path):
            os.chown(name, owner.pw_uid, owner.pw_gid)
        for daemon in ("zebra", *daemons):
            more = ["--bfdctl", f"{folder}/bfdd.sock"] if daemon == "bfdd" else []
            more += zebra if daemon == "zebra" else []
            self.daemon(f"{FRR}/{daemon}", "-f", path, "-i", f"{folder}/{daemon}.pid",
                        "-z", f"{folder}/zserv", "--vty_socket", folder, "-P", "0",
                        "--log", "stdout", *more, usr=usr)
            eventually(lambda daemon=daemon: os.path.exists(f"{folder}/{daemon}.vty"),
                       LATE, f"{daemon} up: {self.daemons[-1].log}")
            self.daemons[-1].check()

    def vtysh(self, daemon, *commands):
        words = [word for command in commands for word in ("-c", command)]
        done = run("vtysh", "--vty_socket", f"{self.directory}/frr", "-d", daemon, *words)
        assert done.returncode == 0, (commands, done.stdout, done.stderr)
        return done.stdout

    def frr_shows(self, daemon, what):
        return json.loads(self.vtysh(daemon, f"show {what} json") or "{}")

    # --- BIRD -------------------------------------------------------------------------------------

    def bird(self, configuration):
        path, control = f"{self.directory}/bird.conf", f"{self.directory}/bird.ctl"
        with open(path, "w", encoding="utf8") as file:
            file.write(configuration)
        bird = self.daemon("/usr/sbin/bird", "-f", "-c", path, "-s", control)

        def up():
            bird.check()
            return run("birdc", "-s", control, "show", "status").returncode == 0
        eventually(up, LATE, "bird up")

    def birdc(self, *words):
        done = run("birdc", "-s", f"{self.directory}/bird.ctl", *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def die(self):
        """As a machine does that loses power."""
        self.router.kill()
        self.router.process = None
        for daemon in self.daemons:
            daemon.process.kill()
            daemon.process.wait()
        for pid in processes_of(self.directory):
            os.kill(pid, signal.SIGKILL)
        for nic in range(1, self.nics + 1):
            ip(self.ports, "link", "set", f"nic{nic}", "down")

    def stop_daemons(self):
        for daemon in reversed(self.daemons):
            daemon.stop()
        self.daemons.clear()


class Topology:
    def __init__(self, nics):
        """nics: how many each router has."""
        self.directory = tempfile.mkdtemp(prefix="pl-")
        os.chmod(self.directory, 0o711)  # daemons of users of their own
        self.prefix = f"pl-{os.getpid()}-t{next(_serial)}"
        self.namespaces, self.routers, self.hosts, self.daemons = [], [], [], []
        try:
            for number, count in enumerate(nics):
                self.routers.append(KernelRouter(self, number, count))
        except BaseException:
            self.close()
            raise

    def namespace(self, name):
        done = run("ip", "netns", "add", name)
        assert done.returncode == 0, done.stderr
        self.namespaces.append(name)

    def link(self, router, nic, other, other_nic):
        """A veth between two routers."""
        ip(router.ports, "link", "add", f"nic{nic}", "address", router.mac(nic), "type", "veth",
           "peer", "name", f"nic{other_nic}", "address", other.mac(other_nic), "netns",
           other.ports)
        ip(router.ports, "link", "set", f"nic{nic}", "up")
        ip(other.ports, "link", "set", f"nic{other_nic}", "up")

    def _end(self, far, name, addresses, gateways, *words):
        """A host whose eth0 has its other end, of that name, in the namespace far."""
        namespace = f"{self.prefix}-h{len(self.hosts) + 1}"
        self.namespace(namespace)
        ip(far, "link", "add", name, *words, "type", "veth", "peer", "name", "eth0", "netns",
           namespace)
        ip(far, "link", "set", name, "up")
        sysctl(namespace, ipv6__conf__eth0__accept_dad=0)
        ip(namespace, "link", "set", "eth0", "up")
        host = Host(namespace)
        for address in addresses:
            host.ip("address", "add", address, "dev", "eth0")
        for gateway in gateways:
            host.ip("route", "add", "default", "via", gateway)
        self.hosts.append(host)
        return host

    def host(self, router, nic, *addresses, gateways=()):
        return self._end(router.ports, f"nic{nic}", addresses, gateways, "address",
                         router.mac(nic))

    def network(self, ends, *addresses, gateways=()):
        """A switch between NICs (router, nic), and a host."""
        namespace = f"{self.prefix}-s{len(self.hosts) + 1}"
        self.namespace(namespace)
        sysctl(namespace, ipv6__conf__all__disable_ipv6=1)
        ip(namespace, "link", "add", "switch", "type", "bridge")
        ip(namespace, "link", "set", "switch", "up")
        host = self._end(namespace, "host", addresses, gateways)
        for router, nic in ends:
            ip(router.ports, "link", "add", f"nic{nic}", "address", router.mac(nic), "type", "veth",
               "peer", "name", f"{router.name}{nic}", "netns", namespace)
            ip(router.ports, "link", "set", f"nic{nic}", "up")
        for link in ["host"] + [f"{router.name}{nic}" for router, nic in ends]:
            ip(namespace, "link", "set", link, "master", "switch")
            ip(namespace, "link", "set", link, "up")
        return host

    def daemon(self, namespace, *command):
        self.daemons.append(Daemon(namespace, self.directory, *command))

    def close(self):
        for daemon in self.daemons:
            daemon.stop()
        for router in self.routers:
            router.stop_daemons()
        for router in self.routers:
            process = router.router and router.router.process
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for pid in processes_of(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name in self.namespaces:
            run("ip", "netns", "delete", name)
        shutil.rmtree(self.directory, ignore_errors=True)


class Datagrams:
    """Numbered datagrams from host to host, by their sockets: which were lost?"""

    SIZE = 600

    def __init__(self, source, target, address, rate=1000):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sender = source.socket(family, socket.SOCK_DGRAM)
        self.receiver = target.socket(family, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.receiver.bind((address, 0))
        self.receiver.settimeout(0.1)
        self.sender.connect(self.receiver.getsockname()[:2])
        self.rate, self.sent, self.arrived = rate, 0, []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        start = time.monotonic()
        while not self.ending.is_set():
            due = int((time.monotonic() - start) * self.rate)
            for number in range(self.sent, min(due, self.sent + 16)):
                self.sender.send(number.to_bytes(self.SIZE, "big"))
                self.sent = number + 1
            time.sleep(0.002)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.ending.set()
        self.thread.join()
        self.lost()
        self.sender.close()
        self.receiver.close()

    def lost(self):
        """How many have not arrived, once nothing more does for a while."""
        if self.receiver.fileno() >= 0:
            with contextlib.suppress(TimeoutError):
                while True:
                    self.arrived.append(int.from_bytes(self.receiver.recv(2048), "big"))
        return self.sent - len(set(self.arrived))


# --- Two routers ----------------------------------------------------------------------------------

@contextlib.contextmanager
def two_routers():
    """h1 10.1.0.2 ─── 10.1.0.1 a 10.9.0.1 ─── 10.9.0.2 b 10.2.0.1 ─── 10.2.0.2 h2; and fd01::2 ───
    fd01::1 a fd09::1 …"""
    net = Topology([2, 2])
    try:
        a, b = net.routers
        net.link(a, 2, b, 2)
        net.host(a, 1, "10.1.0.2/24", "fd01::2/64", gateways=("10.1.0.1", "fd01::1"))
        net.host(b, 1, "10.2.0.2/24", "fd02::2/64", gateways=("10.2.0.1", "fd02::1"))
        a.start([["10.1.0.1/24", "fd01::1/64"], ["10.9.0.1/24", "fd09::1/64"]])
        b.start([["10.2.0.1/24", "fd02::1/64"], ["10.9.0.2/24", "fd09::2/64"]])
        yield net
    finally:
        net.close()


def through_host(router):
    return router.router.show("router")["data_packets_through_driver"]


def reach_each_other(pair):
    """By the NICs' tables, not by the kernels: those see nothing of a stream."""
    h1, h2 = pair.hosts
    for host, peer in ((h1, 2), (h2, 1)):
        eventually(lambda: host.reaches(f"10.{peer}.0.2"), LATE, f"h{peer} over IPv4")
        eventually(lambda: host.reaches(f"fd0{peer}::2"), LATE, f"h{peer} over IPv6")
    before = [through_host(router) for router in pair.routers]
    with Datagrams(h1, h2, "10.2.0.2") as ours, Datagrams(h2, h1, "fd01::2") as theirs:
        eventually(lambda: ours.sent > 1000 and theirs.sent > 1000, LATE, "a stream")
    assert ours.lost() == 0 and theirs.lost() == 0
    for router, count in zip(pair.routers, before):
        assert through_host(router) - count < 500  # of routing protocols and neighbour discovery


def wait_for(router, *prefixes):
    for prefix in prefixes:
        eventually(lambda: router.route(prefix), LATE, f"{prefix} in {router.name}'s NICs")


def wait_for_end(router, *prefixes):
    for prefix in prefixes:
        eventually(lambda: not router.route(prefix), LATE, f"no {prefix} in {router.name}'s NICs")
