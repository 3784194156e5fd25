# SPDX-License-Identifier: BSD-3-Clause
"""What chaos is done to: a router of four NICs, its wires, a memif peer, and the checks that all of
it is well.

    wire 1…3: eth0 ──── nic1…3 of the router (veth, af_packet)
    wire 4:   eth0 ──── "outer" of another router, which routes to "inner" ──── memif ──── nic4 of
    the router
"""

import collections
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import network  # noqa: E402
from inject import Inject  # noqa: E402
from network import P2PNIC, Network, Router, eventually, mac, processes_of, run  # noqa: E402
from stream import Stream  # noqa: E402

NICS = 4
INNER, NIC4 = "02:00:00:00:f4:02", "02:00:00:00:f4:01"
CRASH = re.compile(r".*(?:AddressSanitizer|LeakSanitizer|runtime error:|Assertion|stack smashing|"
                   r"killed by signal (?:4|5|6|7|8|11|31)\b|ended with status 66).*")
# What a process may have more of than when it was warm: descriptors, threads, maps (arenas, stacks
# of libc; a sanitizer keeps what was freed).
GROWTH = (2, 0, 12)
GROWTH_SANITIZED = (2, 0, 400)
MARK = b"p2pnic chaos "


class Failed(Exception):
    """The product did not do what it should."""


class Wire(network.Wire):
    """Links go down here: a frame that cannot be sent is lost with that reason."""

    def send(self, frame):
        with contextlib.suppress(OSError):
            self.socket.send(bytes(frame))

    def pending(self):
        try:
            return super().pending()
        except OSError:
            return super().pending()


network.Wire = Wire


class World(Network):
    def __init__(self, nics=NICS, more=True):
        super().__init__(nics)
        self.streams = []
        # NICs whose packets may be lost; that lose at reception only
        self.excused, self.flooded = set(), set()
        self.checked = self.lost = 0
        self.base = {}
        self.unsteady = False  # NICs have died: the two ends of a ring have not counted alike since
        self.peer = None
        try:
            self.inject = Inject(f"{self.directory}/inject")
            open(self.router.log, "w", encoding="utf8").close()
            if more:
                self.add_peer()
        except BaseException:
            self.close()
            raise

    def add_peer(self):
        config = self.router.config
        memif = {"type": "memif", "target": f"{self.directory}/memif.sock"}
        config["nics"][3] = {"name": "nic4", "mac": NIC4, "addresses": ["10.99.0.1/24"],
                             "port": {**memif, "options": "role=server"}}
        config["neighbors"] = [n for n in config["neighbors"] if n["nic"] != "nic4"] + [
            {"nic": "nic4", "address": "10.99.0.2", "mac": INNER}]
        config["routes"] = [{"prefix": "10.0.4.0/24", "via": "10.99.0.2"}]
        self.router.write()
        os.mkdir(f"{self.directory}/peer")
        self.peer = Router({
            "engines": [{"name": "peer"}],
            "nics": [{"name": "inner", "engine": "peer", "mac": INNER, "port": memif,
                      "addresses": ["10.99.0.2/24"]},
                     {"name": "outer", "engine": "peer", "addresses": ["10.0.4.1/24"],
                      "port": {"type": "af_packet", "target": "nic4"}}],
            "neighbors": [{"nic": "inner", "address": "10.99.0.1", "mac": NIC4},
                          {"nic": "outer", "address": "10.0.4.2", "mac": mac(4, 2)}],
            "routes": [{"prefix": "10.0.0.0/8", "via": "10.99.0.1"}],
        }, f"{self.directory}/peer", self.namespaces[0])

    def start(self):
        self.start_router()
        if self.peer:
            self.peer.start()
        self.settle()
        self.all_pairs()
        self.leaks()
        return self

    def spawn(self):
        with open(self.router.log, "a", encoding="utf8") as log:
            return subprocess.Popen([P2PNIC, "router", "-c", self.router.path],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env={**os.environ, **self.inject.environment},
                                    preexec_fn=lambda: network.enter(self.namespaces[0]))

    def start_router(self, patience=30):
        self.router.process = self.spawn()
        deadline = time.monotonic() + patience
        while not self.router.answers():
            if self.router.process.poll() is not None:
                raise Failed(f"router does not start: {self.router.messages()[-300:].strip()}")
            if time.monotonic() > deadline:
                raise Failed(f"router does not start within {patience} s")
            time.sleep(0.02)

    # --- What is there ----------------------------------------------------------------------------

    def roles(self):
        """{role: [pid]} of all processes of this world"""
        found = collections.defaultdict(list)
        for pid, line in processes_of(self.directory).items():
            words = line.split()
            role = words[1] if len(words) > 1 else "?"
            if "--nic" in words:
                role += " " + words[words.index("--nic") + 1]
            found[("peer " if f"{self.directory}/peer/" in line else "") + role].append(pid)
        return found

    def pid(self, role):
        """Of a process that may be starting just now."""
        return eventually(lambda: self.roles().get(role), 30, f"process {role}")[0]

    def kill(self, role, how=signal.SIGKILL):
        """Of a role that may be between two lives."""
        pid = self.pid(role)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        return pid

    @contextlib.contextmanager
    def stopped(self, role):
        pid = self.kill(role, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def excuse(self, *nics):
        """Packets from and to these may be lost from here to the end of the round."""
        self.excused.update(nics)

    # --- Streams beside it all --------------------------------------------------------------------

    @contextlib.contextmanager
    def traffic(self, rng, rate=150):
        order = list(self.wire)
        rng.shuffle(order)
        pairs = list(zip(order, order[1:] + order[:1])) + [tuple(rng.sample(order, 2))]
        self.streams = [Stream(self, a, b, rate, 5000 + n) for n, (a, b) in enumerate(pairs)]
        with contextlib.ExitStack() as stack:
            for stream in self.streams:
                stack.enter_context(stream)
            yield

    def may_lose(self, stream):
        return stream.ingress in self.excused | self.flooded or stream.egress in self.excused

    def check_streams(self):
        frames = collections.defaultdict(list)
        deadline = time.monotonic() + 8
        while True:
            for k, wire in self.wire.items():
                frames[k].extend(wire.pending())
            try:
                arrived = [s.arrived(frames[s.egress]) for s in self.streams]
            except AssertionError as error:
                raise Failed(str(error)) from error
            missing = [s.sent - len(numbers) for s, numbers in zip(self.streams, arrived)]
            if not any(n > 0 and not self.may_lose(s) for s, n in zip(self.streams, missing)) or \
                    time.monotonic() > deadline:
                break
            time.sleep(0.05)
        for stream, numbers, lost in zip(self.streams, arrived, missing):
            name = f"stream {stream.ingress}→{stream.egress}"
            if numbers != sorted(set(numbers)):
                raise Failed(f"{name}: repeated or out of order")
            if lost and not self.may_lose(stream):
                gone = sorted(set(range(stream.sent)) - set(numbers))
                raise Failed(f"{name}: {lost} of {stream.sent} lost without a reason, {gone[0]} "
                             f"to {gone[-1]}")
            self.checked += len(numbers)
            self.lost += lost

    def all_pairs(self):
        """Every NIC forwards to every other."""
        wanted = {(a, b) for a in self.wire for b in self.wire if a != b}
        deadline = time.monotonic() + 20
        while wanted:
            for a, b in wanted:
                self.wire[a].send(bytes.fromhex((mac(a) + mac(a, 2)).replace(":", "")) + datagram(
                    a, b))
            until = time.monotonic() + 0.3
            while wanted and time.monotonic() < until:
                for frames in self.pending().values():
                    for frame in frames:
                        if frame[42:].startswith(MARK):
                            pair = tuple(frame[42 + len(MARK):][:2])
                            self.checked += pair in wanted
                            wanted.discard(pair)
                time.sleep(0.01)
            if wanted and time.monotonic() > deadline:
                raise Failed(f"nothing passes from NIC to NIC: {sorted(wanted)}")

    # --- At rest ----------------------------------------------------------------------------------

    def settle(self):
        self.inject.off()
        for pid in processes_of(self.directory):
            os.kill(pid, signal.SIGCONT)
        routers = [r for r in (self.router, self.peer) if r]
        for router in routers:
            if router.process.poll() is not None:
                raise Failed(f"the router ended by itself, status {router.process.returncode}")

        def states():
            try:
                rows = [row for r in routers for row in r.show("nic")]
            except (OSError, ValueError, KeyError) as error:
                return [str(error)]
            return sorted({f"{row['name']} {row['state']}" for row in rows
                           if row["state"] != "forwarding"})
        bad = ["?"]
        deadline = time.monotonic() + 30
        while bad:
            bad = states()
            if bad and time.monotonic() > deadline:
                raise Failed(f"not forwarding again: {', '.join(bad)}")
            time.sleep(0.02)

    def identity(self):
        for router in filter(None, (self.router, self.peer)):
            try:
                if self.unsteady:
                    router.at_rest()
                else:
                    router.check_identity(router is self.router)
            except AssertionError as error:
                rows = [r for r in router.show("counter") if r.get("held") or r.get("unaccounted")]
                raise Failed(f"unaccounted: {rows or error}") from error

    def measure(self):
        sizes, growth = {}, GROWTH
        for role, pids in self.roles().items():
            if len(pids) > 1:
                return {}, [f"{role}: {len(pids)} processes"]
            try:
                with open(f"/proc/{pids[0]}/maps", encoding="utf8") as file:
                    maps = file.read()
                growth = GROWTH_SANITIZED if "libasan" in maps else growth
                sizes[role] = (network.descriptors(pids[0]),
                               len(os.listdir(f"/proc/{pids[0]}/task")), maps.count("\n"))
            except OSError:
                return {}, [f"{role}: ended"]
        self.base = self.base or sizes
        bad = [f"{role}: not there" for role in self.base if role not in sizes] + \
            [f"{role}: not known" for role in sizes if role not in self.base]
        for role, size in sizes.items():
            for what, now, base, more in zip(("descriptors", "threads", "maps"), size,
                                             self.base.get(role, size), growth):
                if now > base + more:
                    bad.append(f"{role}: {now} {what}, {base} at first")
        return sizes, bad + zombies({pid for pids in self.roles().values() for pid in pids})

    def leaks(self):
        deadline = time.monotonic() + 8
        while True:
            bad = self.measure()[1]
            if not bad:
                return
            if time.monotonic() > deadline:
                raise Failed(f"leak: {'; '.join(bad)}")
            time.sleep(0.1)

    def crashes(self):
        for log in filter(os.path.exists, (f"{self.directory}/log", f"{self.directory}/peer/log")):
            with open(log, encoding="utf8", errors="replace") as file:
                for line in file:
                    if CRASH.match(line):
                        raise Failed(f"crash: {line.strip()}")

    def check(self):
        """After a round."""
        self.settle()
        self.check_streams()
        self.all_pairs()
        self.identity()
        self.leaks()
        self.crashes()
        self.streams, self.excused, self.flooded = [], set(), set()

    def finish(self):
        """SIGTERM: nothing may be left, but for what was applied (the state directory)."""
        for router in filter(None, (self.peer, self.router)):
            router.process.terminate()
            try:
                status = router.process.wait(20)
            except Exception as error:
                raise Failed("the router does not end within 20 s of SIGTERM") from error
            if status:
                raise Failed(f"status {status} after SIGTERM")
        deadline = time.monotonic() + 3
        while left := processes_of(self.directory):
            if time.monotonic() > deadline:
                raise Failed(f"left after SIGTERM: {sorted(left.values())}")
            time.sleep(0.02)
        files = [f for f in os.listdir(self.directory) + os.listdir(f"{self.directory}/peer")
                 if f not in ("log", "router.yaml", "inject", "peer", "run.state")]
        if files:
            raise Failed(f"left after SIGTERM: {files}")
        self.crashes()

    def close(self):
        for pid in processes_of(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for router in filter(None, (self.router, getattr(self, "peer", None))):
            if router.process:
                router.process.kill()
                router.process.wait()
        for pid in processes_of(self.directory):  # what a dying router still started
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().close()


def datagram(a, b):
    payload = MARK + bytes((a, b))
    head = struct.pack("!BBHHHBBH4B4B", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, 10, 0, a, 2,
                       10, 0, b, 2)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + head[12:]
    return b"\x08\0" + head + struct.pack("!HHHH", 7, 9, 8 + len(payload), 0) + payload


def zombies(parents):
    """Of these processes and of this one."""
    bad = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", encoding="utf8", errors="replace") as file:
                name, rest = file.read().rsplit(")", 1)
            state, parent = rest.split()[:2]
            if state == "Z" and int(parent) in parents | {os.getpid()}:
                bad.append(f"zombie {name.split('(', 1)[1]} of {parent}")
    return bad


def connect(path, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind)
    s.settimeout(2)
    try:
        s.connect(path)
    except OSError:
        s.close()
        return None
    return s


__all__ = ["P2PNIC", "Failed", "Inject", "World", "connect", "eventually", "mac", "processes_of",
           "run"]
