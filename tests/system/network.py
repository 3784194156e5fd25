# SPDX-License-Identifier: BSD-3-Clause
"""A router under test: its NICs' links, in network namespaces pl-PID-*, and what lies at their far
ends.

    wire 1: eth0 in pl-PID-h1 ──── nic1 in pl-PID-r      (veth; NIC 1 of the router)

The far ends have no addresses: a test writes and reads whole frames there. NIC k has MAC
02:00:00:00:0k:01, its far end 02:00:00:00:0k:02.
"""

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

P2PNIC = os.path.abspath(os.environ.get("P2PNIC", "build/cli/p2pnic"))
SETTLE = 30  # seconds: what ought to happen at once, on a machine that is busy with other things
ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID = 0x10
SO_RCVBUFFORCE = 33

_serial = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def listens(path):
    """A socket has its path and its mode before it takes connections."""
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(str(path)) == 0


def eventually(condition, seconds=SETTLE, what="condition"):
    """Waits until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def run(*command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, **options)


def enter(namespace):
    """Moves this thread into the network namespace."""
    with open(f"/run/netns/{namespace}", "rb") as file:
        if _libc.setns(file.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


@contextlib.contextmanager
def inside(namespace):
    with open("/proc/thread-self/ns/net", "rb") as home:
        enter(namespace)
        try:
            yield
        finally:
            _libc.setns(home.fileno(), 0x40000000)


def mac(nic, end=1):
    """The MAC of a NIC (end 1) or of the far end of its link (2, and stations behind it from 3
    on)."""
    return f"02:00:00:00:{nic:02x}:{end:02x}"


class Wire:
    """The far end of a NIC's link: frames out, frames in."""

    def __init__(self, namespace):
        with inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.socket.bind(("eth0", ETH_P_ALL))

    def send(self, frame):
        self.socket.send(bytes(frame))

    def _receive(self):
        """A frame as it was on the wire: the kernel hands over a VLAN tag beside it."""
        frame, beside, _, _ = self.socket.recvmsg(65536, 64)
        for level, kind, data in beside:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, control, protocol = struct.unpack("=IIIHHHH", data)
                if status & TP_STATUS_VLAN_VALID:
                    frame = frame[:12] + struct.pack("!HH", protocol, control) + frame[12:]
        return frame

    def receive(self, seconds=SETTLE):
        """The next frame; None if none comes in time."""
        self.socket.settimeout(seconds or 0.000001)
        try:
            return self._receive()
        except (TimeoutError, BlockingIOError):
            return None

    def pending(self):
        """All frames that have arrived."""
        frames = []
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self._receive())
        return frames

    def close(self):
        self.socket.close()


class Router:
    """`p2pnic router` of a configuration (a dict; JSON is YAML), and its answers."""

    def __init__(self, config, directory, namespace=None):
        self.directory = directory
        self.runtime = f"{directory}/run"
        self.path = f"{directory}/router.yaml"
        self.log = f"{directory}/log"
        self.namespace = namespace
        self.config = {"router": {"runtime": self.runtime}, **config}
        self.process = None
        self.write()

    def write(self):
        with open(self.path, "w", encoding="utf8") as file:
            json.dump(self.config, file, indent=1)

    def start(self):
        with open(self.log, "a", encoding="utf8") as log:
            self.process = subprocess.Popen(
                [P2PNIC, "router", "-c", self.path], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, preexec_fn=(lambda: enter(self.namespace)) if self.namespace else None)
        eventually(lambda: self.process.poll() is not None or self.answers(), 30, "router up")
        assert self.process.poll() is None, self.messages()

    def messages(self):
        with open(self.log, encoding="utf8", errors="replace") as log:
            return log.read()

    def answers(self):
        try:
            return self.show("router")
        except OSError:
            return None

    def show(self, what):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(30)
            s.connect(f"{self.runtime}/api.sock")
            s.sendall(json.dumps({"show": what}).encode() + b"\n")
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
        return json.loads(answer)[what]

    def nic(self, name):
        return next(row for row in self.show("nic") if row["name"] == name)

    def dropped(self):
        return {row["reason"]: row["packets"] for row in self.show("drop") if row["packets"]}

    def received(self):
        return sum(row["received"]["packets"] for row in self.show("counter") if "received" in row)

    def at_rest(self):
        """Counters once they stand still and nothing is held."""
        def still():
            first = self.show("counter")
            time.sleep(0.05)
            second = self.show("counter")
            moving = ("received", "sent", "to_rings", "from_rings", "dropped", "held")
            same = all(a.get(k) == b.get(k) for a, b in zip(first, second) for k in moving)
            settled = all(row.get("held", 0) == 0 and row.get("unaccounted", 0) == 0
                          for row in second)
            return second if same and settled else None
        return eventually(still, what="rest")

    def check_identity(self, rings=True):
        """counters.h: packets in are packets out, for each NIC; and (unless a NIC's counters began
        anew) what one NIC put into a ring the other took out."""
        try:
            counters = self.at_rest()
        except AssertionError:
            raise AssertionError(f"not at rest, or packets unaccounted for: "
                                 f"{self.show('counter')}") from None
        for row in counters:
            if "received" not in row:
                continue
            into = sum(row[k]["packets"] for k in ("received", "from_rings", "injected"))
            out = sum(row[k]["packets"] for k in ("sent", "to_rings", "punted")) + \
                sum(row["dropped"].values()) + row["held"]
            assert into == out, row
            assert row["dma_faults"] == 0 and row["bad_words"] == 0, row
        if rings:
            for row in self.show("ring"):
                assert row["packets"] == row["taken"]["packets"], row
                assert row["bytes"] == row["taken"]["bytes"], row
        assert self.show("router")["data_packets_through_driver"] == 0

    def reload(self):
        """SIGHUP; returns what the router said about it."""
        before = len(self.messages())
        self.process.send_signal(signal.SIGHUP)

        def answer():
            text = self.messages()[before:]
            return text if text.endswith("\n") and "router: configuration " in text else None
        return eventually(answer, what="an answer to SIGHUP")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(20) == 0, self.messages()
        self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()


def processes_of(directory):
    """Processes that have something of this directory in their command line: the NICs, the
    keeper."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
            if directory in line and line.split()[0].endswith("p2pnic"):
                found[int(pid)] = line
    return found


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def not_permitted():
    """Why this process may make no namespaces and links; None if it may."""
    name = f"pl-{os.getpid()}-try"
    done = run("ip", "netns", "add", name)
    if done.returncode:
        return f"network namespaces: {done.stderr.strip() or 'not permitted'}"
    try:
        done = run("ip", "-n", name, "link", "add", "name", "try0", "type", "veth", "peer", "name",
                   "try1")
        return f"veth: {done.stderr.strip()}" if done.returncode else None
    finally:
        run("ip", "netns", "delete", name)


class Network:
    """Namespaces and links for a router of that many NICs, and the router."""

    def __init__(self, nics, port="af_packet", **config):
        self.directory = tempfile.mkdtemp(prefix="pl-")
        self.prefix = f"pl-{os.getpid()}-{next(_serial)}"
        self.namespaces = [f"{self.prefix}-r"] + [f"{self.prefix}-h{k}" for k in range(1, nics + 1)]
        self.wire = {}
        self.router = None
        self.rings = True  # whether both ends of the rings count alike still
        try:
            self._links(nics)
            self.wire = {k: Wire(f"{self.prefix}-h{k}") for k in range(1, nics + 1)}
            self.router = Router(self._config(nics, port, config), self.directory,
                                 self.namespaces[0])
        except BaseException:
            self.close()
            raise

    def _links(self, nics):
        script = "".join(f"netns add {name}\n" for name in self.namespaces)
        for k in range(1, nics + 1):
            script += (f"link add nic{k} address {mac(k)} netns {self.namespaces[0]} type veth "
                       f"peer name "
                       f"eth0 address {mac(k, 2)} netns {self.namespaces[k]}\n")
        subprocess.run(["ip", "-batch", "-"], input=script, text=True, check=True, timeout=60)
        for k, name in enumerate(self.namespaces):
            with inside(name):
                with contextlib.suppress(OSError), \
                        open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w",
                             encoding="utf8") as file:
                    file.write("1")
                links = ["eth0"] if k else [f"nic{n}" for n in range(1, nics + 1)]
                subprocess.run(["ip", "-batch", "-"], text=True, check=True, timeout=60,
                               input="".join(f"link set {link} up\n" for link in links))

    @staticmethod
    def _config(nics, port, more):
        base = {
            "nics": [{"name": f"nic{k}", "port": {"type": port, "target": f"nic{k}"},
                      "addresses": [f"10.0.{k}.1/24", f"fd00:{k}::1/64"]}
                     for k in range(1, nics + 1)],
            "neighbors": [{"nic": f"nic{k}", "address": address, "mac": mac(k, 2)}
                          for k in range(1, nics + 1)
                          for address in (f"10.0.{k}.2", f"fd00:{k}::2")],
        }
        for key, value in more.items():
            base[key] = base.get(key, []) + value if isinstance(value, list) else value
        return base

    def receive_by_napi(self):
        """The far ends take batches of frames then, as an af_xdp port sends them."""
        for k in self.wire:
            with inside(self.namespaces[k]):
                subprocess.run(["ethtool", "-K", "eth0", "gro", "on"], check=True,
                               capture_output=True, timeout=60)

    def start(self):
        self.router.start()
        return self

    def pending(self):
        return {k: frames for k, w in self.wire.items() if (frames := w.pending())}

    def close(self):
        if self.router and self.router.process and self.router.process.poll() is None:
            self.router.process.terminate()
            try:
                self.router.process.wait(20)
            except subprocess.TimeoutExpired:
                self.router.process.kill()
                self.router.process.wait()
        for pid in processes_of(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for wire in self.wire.values():
            wire.close()
        for name in self.namespaces:
            run("ip", "netns", "delete", name)
        shutil.rmtree(self.directory, ignore_errors=True)
