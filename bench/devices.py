# SPDX-License-Identifier: BSD-3-Clause
"""Devices under test: how each is started on memif or veth links, and what it does to a packet.

A device has
  name, method, mode      mode: what the tester checks (routed, mac, bridged)
  role                    its memif role; the tester takes the other
  patterns                what it can forward (None: all)
  start(run)              starts it; run: Run (sockets, ports, processors)
and is stopped with stop(). Everything a device prints goes to build/bench/log/NAME.
"""
import os
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
BENCH = os.path.join(BUILD, "bench")
P2PNIC = os.path.join(BUILD, "cli", "p2pnic")
DPDK = os.path.join(BENCH, "dpdk-build")
L3FWD = os.path.join(DPDK, "examples", "dpdk-l3fwd")
L3FWD_GRAPH = os.path.join(DPDK, "examples", "dpdk-l3fwd-graph")
TESTPMD = os.path.join(DPDK, "app", "dpdk-testpmd")
HUGE_PAGES = 192  # of 2 MiB, that a DPDK program here needs free
RSIZE = 11  # log2 of the slots of a memif ring, where a device has no better one of its own
NIC_RSIZE = 9  # a NIC posts 512 buffers


def device_mac(port):
    return "02:00:00:00:00:%02x" % port


def tester_mac(port):
    return "02:00:00:00:01:%02x" % port


class Refused(Exception):
    """The device did not do the work, or could not be measured."""


class Run:
    """One start of a device: its sockets and processors."""

    def __init__(self, directory, ports, cpu):
        self.directory, self.ports, self.cpu = directory, ports, cpu

    def socket(self, port):
        return os.path.join(self.directory, "m%d" % port)


class Device:
    method = "-"
    mode = "routed"
    role = "server"
    link = "memif"
    patterns = None
    rsize = RSIZE
    realtime = True  # during a run, on memif

    def __init__(self):
        self.process = self.log = None

    def launch(self, command, **more):
        log = os.path.join(BENCH, "log")
        os.makedirs(log, exist_ok=True)
        self.log = os.path.join(log, (self.name + self.method).strip("-").replace(" ", "-"))
        if self.tester_first:
            command = ["sh", "-c", 'kill -STOP $$; exec "$@"', "sh"] + command
        with open(self.log, "w") as out:
            out.write(" ".join(command) + "\n")
            out.flush()
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out,
                                            stderr=subprocess.STDOUT, start_new_session=True,
                                            preexec_fn=first_class, **more)

    def wait_for_line(self, text, seconds=20):
        """Until the device has printed that it forwards."""
        until = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            with open(self.log, errors="replace") as f:
                printed = f.read()
            if text in printed:
                return
            if ended or time.monotonic() > until:
                raise Refused("%s %s: %s before it printed \"%s\": see %s" % (
                    self.name, self.method, "it ended" if ended else "%d s passed" % seconds, text,
                    os.path.relpath(self.log, ROOT)))
            time.sleep(0.01)

    def label(self):
        """In words, for who watches."""
        return self.name if self.method == "-" else "%s %s" % (self.name, self.method)

    def available(self):
        """None, or why the device cannot be measured here."""
        return None

    def pids(self):
        return [self.process.pid] if self.process else []

    def tester_ports(self, run):
        other = "client" if self.role == "server" else "server"
        return ["memif:%s,role=%s,rsize=%d,unsealed=%s" % (run.socket(p), other, self.rsize,
                "yes" if other == "server" else "no") for p in range(run.ports)]

    def tester_prefix(self, run):
        """What to start the tester through (a namespace)."""
        return []

    def cpu_split(self):
        """CPU seconds of driver and router, and of engines; all of a plain forwarder's are the
        former."""
        return cpu_seconds(self.pids()), 0.0

    # A client that connects only once, at its start, needs the tester to listen first: it is
    # started but stands still until proceed().
    tester_first = False

    def proceed(self):
        for _ in range(500):
            with open("/proc/%d/stat" % self.process.pid) as f:
                if f.read().rpartition(")")[2].split()[0] == "T":
                    break
            time.sleep(0.01)
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGCONT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        self.process = None


class Dpdk(Device):
    """Common to DPDK programs. zero_copy: as client, sharing DPDK's own memory."""

    def __init__(self, role="server", zero_copy=False, rsize=RSIZE):
        super().__init__()
        self.role, self.zero_copy, self.rsize = role, zero_copy, rsize
        self.tester_first = role == "client"

    def missing(self, program):
        if not os.access(program, os.X_OK):
            return "not built (bench/build-dpdk)"
        if self.zero_copy and huge_pages() < HUGE_PAGES:
            return "needs %d free huge pages (sysctl vm.nr_hugepages)" % HUGE_PAGES
        return None

    def role_name(self):
        return "%s %d" % ("zero-copy" if self.zero_copy else self.role, 1 << self.rsize)

    def eal(self, run, lcores):
        arguments = ["-l", lcores, "-n", "1", "--no-pci", "--file-prefix", "p2pnic-bench"]
        # Its best is with huge pages; sharing its memory (zero-copy) works with no others.
        arguments += (["--in-memory", "--single-file-segments"] if huge_pages() >= HUGE_PAGES
                      else ["--no-huge", "-m", "512"])
        return arguments + ["--vdev=" + port for port in self.ports(run)]

    def ports(self, run):
        """Virtual devices, in DPDK's words."""
        return ["net_memif%d,role=%s,id=0,socket=%s,socket-abstract=no,rsize=%d,mac=%s%s" % (
            p, self.role, run.socket(p), self.rsize, device_mac(p),
            ",zero-copy=yes" * self.zero_copy) for p in range(run.ports)]

    def prefix(self):
        """What to start it through (a namespace)."""
        return []


class L3fwd(Dpdk):
    # Its checksum update has no end-around carry; such headers are left out for every device.
    def __init__(self, lookup, role="server", zero_copy=False, rsize=RSIZE):
        super().__init__(role, zero_copy, rsize)
        self.lookup = lookup
        self.name = "l3fwd %s %s" % (lookup, self.role_name())

    def available(self):
        return self.missing(L3FWD)

    def rules(self, run):
        """Files of routes, IPv4 and IPv6."""
        folder = os.path.join(BENCH, "src", "dpdk", "examples", "l3fwd")
        return [os.path.join(folder, "lpm_default_v%d.cfg" % family) for family in (4, 6)]

    def start(self, run):
        ipv4, ipv6 = self.rules(run)
        command = self.prefix() + [L3FWD] + self.eal(run, str(run.cpu)) + [
            "--", "-P", "-p", hex((1 << run.ports) - 1), "--parse-ptype", "--lookup=" + self.lookup,
            "--config=" + ",".join("(%d,0,%d)" % (p, run.cpu) for p in range(run.ports)),
            "--rule_ipv4=" + ipv4, "--rule_ipv6=" + ipv6]
        command += ["--eth-dest=%d,%s" % (p, tester_mac(p)) for p in range(run.ports)]
        # Its pool is sized by these; a zero-copy ring holds a buffer in every slot, both ways.
        command += ["--rx-queue-size=%d" % (1 << self.rsize),
                    "--tx-queue-size=%d" % (1 << self.rsize)]
        self.launch(command)


class L3fwdGraph(Dpdk):
    """The same routes, which it has built in, by a graph of nodes (rte_graph). Its pool has a
    buffer for each of 1024 slots of every ring, whatever their size."""
    def __init__(self, role="server", zero_copy=False, rsize=NIC_RSIZE):
        super().__init__(role, zero_copy, rsize)
        self.name = "l3fwd-graph %s" % self.role_name()

    def available(self):
        return self.missing(L3FWD_GRAPH)

    def start(self, run):
        # The first lcore only prints statistics, once a second; both share the processor under
        # test.
        command = [L3FWD_GRAPH] + self.eal(run, "(0,1)@%d" % run.cpu)
        command[command.index("-l")] = "--lcores"
        # Its tables come after its ports, when a zero-copy client can add no memory.
        command += ["-m", "256"] * self.zero_copy
        command += ["--", "-P", "-p", hex((1 << run.ports) - 1),
                    "--config=" + ",".join("(%d,0,1)" % p for p in range(run.ports))]
        command += ["--eth-dest=%d,%s" % (p, tester_mac(p)) for p in range(run.ports)]
        self.launch(command)


class Testpmd(Dpdk):
    """Fixed port 0-1, 2-3: `io` changes nothing, `mac` sets the MACs."""
    patterns = ("1in-1out", "4in-4out")
    more = ("--total-num-mbufs=32768",)

    def __init__(self, forward="io", role="server", zero_copy=False):
        super().__init__(role, zero_copy)
        self.forward = forward
        self.mode = "bridged" if forward == "io" else "mac"
        self.name = "testpmd %s %s" % (forward, self.role_name())

    def available(self):
        return self.missing(TESTPMD)

    def start(self, run):
        # The first lcore only waits for commands; both share the processor under test.
        command = [TESTPMD] + self.eal(run, "(0,1)@%d" % run.cpu)
        command[command.index("-l")] = "--lcores"
        command += ["--", "-i", "--auto-start", "--forward-mode=" + self.forward,
                    "--rxd=1024", "--txd=1024", "--burst=32", *self.more]
        command += ["--eth-peer=%d,%s" % (p, tester_mac(p)) for p in range(run.ports)]
        self.launch(command)


class Loop(Device):
    """The trivial devices: `copy` (the limit rows) and `wire` (the tester's own maximum)."""
    mode = "bridged"
    more = ()

    def __init__(self, kind, role="client", rsize=RSIZE):
        super().__init__()
        self.kind, self.role, self.rsize = kind, role, rsize
        self.name = "copy loop" if kind == "copy" else "wire %s %d" % (role, 1 << rsize)

    def start(self, run, pattern="4in-4out-mix"):
        command = [P2PNIC, "tester", self.kind, "-C", str(run.cpu), "-P", pattern, *self.more]
        for p in range(run.ports):
            command += ["-p", "memif:%s,role=%s,rsize=%d" % (run.socket(p), self.role, self.rsize)]
        self.launch(command)


class P2pnic(Device):
    """The router with soft NICs of one method, on one engine (and, Bn, its host thread polled in
    turn)."""
    role = "client"
    rsize = NIC_RSIZE
    program = P2PNIC

    def __init__(self, method):
        super().__init__()
        self.method = method
        self.name = "p2pnic"

    def available(self):
        if not os.access(self.program, os.X_OK):
            return "not built"
        listed = subprocess.run([self.program, "--help"], capture_output=True, text=True).stdout
        return None if "  router " in listed else "this build has no router"

    def port_line(self, run, p):
        return "{type: memif, target: %s, options: \"role=client,rsize=%d,share=yes\"}" % (
            run.socket(p), self.rsize)

    def addresses(self, port):
        return "10.0.%d.1/24" % port

    def configuration(self, run):
        lines = ["router:", "  runtime: " + run.directory, "  method: " + self.method,
                 "  batch: 64"]
        if self.method == "bn":
            # Equal silicon: the host's thread and the engine take turns on the processor under
            # test.
            lines.append("  bounce_core: %d" % run.cpu)
        lines += ["engines:", "  - name: e0", "    core: %d" % run.cpu,
                  "    shared: %s" % ("true" if self.method == "bn" else "false"), "nics:"]
        for p in range(run.ports):
            lines += ["  - name: n%d" % p, "    engine: e0",
                      "    port: " + self.port_line(run, p),
                      "    mac: \"%s\"" % device_mac(p),
                      "    addresses: [%s]" % self.addresses(p)]
        lines.append("neighbors:")
        for p in range(run.ports):
            lines += ["  - {nic: n%d, address: 10.0.%d.10, mac: \"%s\"}" % (p, p, tester_mac(p))]
        # The same routes as l3fwd's rules: a /24 for each port.
        lines.append("routes:")
        for p in range(run.ports):
            lines += ["  - {prefix: 198.18.%d.0/24, via: 10.0.%d.10}" % (p, p)]
        return "\n".join(lines) + "\n"

    def start(self, run):
        path = os.path.join(run.directory, "router.yaml")
        with open(path, "w") as out:
            out.write(self.configuration(run))
        self.launch([self.program, "router", "-c", path])
        self.prioritise()

    def prioritise(self):
        """Waits until the NICs forward, and gives them the place on the processors that the others
        have: they are sessions of their own."""
        self.wait_for_line("NICs forward")
        engines = [p for p in self.pids() if b"\0nic\0" in command_line(p)]
        for pid in engines:
            try:
                with open("/proc/%d/autogroup" % pid, "w") as f:
                    f.write("-20")
            except OSError:
                pass

    def pids(self):
        return descendants(self.process.pid) if self.process else []

    def cpu_split(self):
        engines = [p for p in self.pids() if b"\0nic\0" in command_line(p)]
        return cpu_seconds([p for p in self.pids() if p not in engines]), cpu_seconds(engines)


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read()
    except OSError:
        return b""


def first_class():
    """Before others on the processors, where root may: a bench beside a busy machine is noise."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        # Where sessions are scheduled against each other as groups, the group's place counts.
        with open("/proc/self/autogroup", "w") as f:
            f.write("-20")
    except OSError:
        pass


def descendants(pid):
    found = [pid]
    for one in found:
        try:
            for task in os.listdir("/proc/%d/task" % one):
                with open("/proc/%d/task/%s/children" % (one, task)) as f:
                    found += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return found


def huge_pages():
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("HugePages_Free"):
                return int(line.split()[1])
    return 0


class HugePages:
    """While open there are `free` free huge pages, if root may and the memory is there."""
    PATH = "/proc/sys/vm/nr_hugepages"

    def __init__(self, free):
        self.wanted, self.before = free, None

    def __enter__(self):
        lack = self.wanted - huge_pages()
        try:
            with open(self.PATH) as f:
                before = int(f.read())
            if lack > 0:
                with open(self.PATH, "w") as f:
                    f.write(str(before + lack))
                self.before = before
        except OSError:
            pass
        return self

    def __exit__(self, *_):
        if self.before is not None:
            with open(self.PATH, "w") as f:
                f.write(str(self.before))


def prepare_directory():
    """A fresh directory for sockets, with a short name: socket paths end at 107 characters."""
    return tempfile.mkdtemp(prefix="p2pnic-bench-", dir="/tmp")


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """What all processors have worked since boot, stolen time too."""
    with open("/proc/stat") as f:
        n = [int(x) for x in f.readline().split()[1:]]
    return (n[0] + n[1] + n[2] + n[5] + n[6] + n[7]) / os.sysconf("SC_CLK_TCK")
