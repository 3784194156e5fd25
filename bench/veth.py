# SPDX-License-Identifier: BSD-3-Clause
"""veth links: Linux's own ways to forward, and p2pnic and DPDK on af_xdp, between two network
namespaces of the bench's own.

    pt-gen: g0 … g3  ═══ veth ═══  d0 … d3 :pt-dut

The tester sits on g0…, the device on d0…. Linux forwards in the context of whoever puts the packet
on the veth; receive packet steering moves that to the processor under test. Needs root; else
skipped.
"""
import glob
import json
import os
import subprocess
import time

import devices
import measure

GENERATOR, DEVICE = "pt-gen", "pt-dut"


def ip(*words):
    subprocess.run(["ip"] + [str(w) for w in words], check=True, capture_output=True, text=True)


def within(name, *words):
    subprocess.run(["ip", "netns", "exec", name] + list(words), check=True, capture_output=True,
                   text=True)


class Links:
    """The two namespaces and their veths, for as long as it is open."""

    def __init__(self, ports):
        self.ports = ports

    def __enter__(self):
        self.__exit__()
        for name in (GENERATOR, DEVICE):
            ip("netns", "add", name)
        try:
            for p in range(self.ports):
                ip("-n", GENERATOR, "link", "add", "g%d" % p, "address", devices.tester_mac(p),
                   "type", "veth", "peer", "name", "d%d" % p, "address", devices.device_mac(p),
                   "netns", DEVICE)
                ip("-n", GENERATOR, "link", "set", "g%d" % p, "addrgenmode", "none", "up")
                ip("-n", DEVICE, "link", "set", "d%d" % p, "addrgenmode", "none", "up")
            self.wait_up()
        except Exception:
            self.__exit__()
            raise
        return self

    def wait_up(self):
        """The kernel tells of carrier at most once a second; a port that sends before would refuse
        to."""
        for _ in range(60):
            shown = subprocess.run(["ip", "-n", DEVICE, "-br", "link"], capture_output=True,
                                   text=True).stdout
            if sum(" UP " in line for line in shown.splitlines()) >= self.ports:
                return
            time.sleep(0.05)

    def __exit__(self, *_):
        for name in (GENERATOR, DEVICE):
            if os.path.exists("/run/netns/" + name):
                ip("netns", "del", name)


class VethDevice(devices.Device):
    link = "veth"
    end = "af_xdp"  # the faster one: with af_packet the tester is the limit

    def tester_prefix(self, run):
        return ["ip", "netns", "exec", GENERATOR]

    def tester_ports(self, run):
        return ["%s:g%d" % (self.end, p) for p in range(run.ports)]

    def check(self, runs):
        """Raises Refused if the tester's runs are not of what the name says."""


class Linux(VethDevice):
    """steer: on the processor under test; else where the tester's system calls bring the packets.
    gro: it receives by NAPI, so that the tester's af_xdp ends send to it by batches as they do to
    p2pnic."""

    def __init__(self, steer=True, gro=False):
        super().__init__()
        self.steer, self.gro = steer, gro
        self.name = "linux forwarding" + ("" if steer else ", unsteered") + (", gro" if gro else "")

    def settings(self, run):
        """Commands of a shell: addresses, neighbours and routes, and who works."""
        settings = ["sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 "
                    "net.ipv4.conf.default.rp_filter=0"]
        for p in range(run.ports):
            settings += ["sysctl -qw net.ipv4.conf.d%d.rp_filter=0" % p,
                         "ip address replace 10.0.%d.1/24 dev d%d" % (p, p),
                         "ip neighbor replace 10.0.%d.10 lladdr %s dev d%d" %
                         (p, devices.tester_mac(p), p),
                         "ip route replace 198.18.%d.0/24 via 10.0.%d.10" % (p, p)]
            if self.steer:
                settings += ["echo %x > /sys/class/net/d%d/queues/rx-0/rps_cpus" % (
                    1 << run.cpu, p)]
            if self.gro:
                settings += ["ethtool -K d%d gro on" % p]
        return settings

    def start(self, run):
        within(DEVICE, "sh", "-ec", "; ".join(self.settings(run)))


class Flowtable(Linux):
    """Forwarding by a flow table of nftables (Linux's "fast path"): the first packets of a flow
    pass the stack and its connection tracking, all others go from the ingress hook to the other
    link. Steered, with GRO on."""
    TABLE = "p2pnic_bench"

    def __init__(self):
        super().__init__(gro=True)
        self.name = "linux flowtable"

    def ruleset(self, run):
        return """table ip %s {
    flowtable f { hook ingress priority 0; devices = { %s }; }
    chain forward { type filter hook forward priority 0; counter; flow add @f; }
}
""" % (self.TABLE, ", ".join("d%d" % p for p in range(run.ports)))

    def settings(self, run):
        # A flow is entered with its way back.
        return super().settings(run) + ["ip route replace 198.19.%d.0/24 via 10.0.%d.10" % (p, p)
                                        for p in range(run.ports)]

    def start(self, run):
        super().start(run)
        done = subprocess.run(["ip", "netns", "exec", DEVICE, "nft", "-f", "-"],
                              input=self.ruleset(run), capture_output=True, text=True)
        if done.returncode:
            lacks = "No such file or directory" in done.stderr
            raise measure.Refused("%s: %s" % (
                self.name, "this kernel has no flow tables (CONFIG_NF_FLOW_TABLE, "
                "CONFIG_NFT_FLOW_OFFLOAD)" if lacks else done.stderr.strip()))

    def check(self, runs):
        done = subprocess.run(["ip", "netns", "exec", DEVICE, "nft", "-j", "list", "chain", "ip",
                               self.TABLE, "forward"], capture_output=True, text=True, check=True)
        slow, received = counted(done.stdout), sum(r["run"]["received"] for r in runs)
        if slow > received / 10:
            raise measure.Refused("%s: %d of %d packets did not take the flow table's way" % (
                self.name, slow, received))


def counted(listing):
    """Packets that the first counter of a chain has seen; listing: nft's JSON."""
    rules = [item["rule"]["expr"] for item in json.loads(listing)["nftables"] if "rule" in item]
    return next(part["counter"]["packets"] for rule in rules for part in rule if "counter" in part)


class XdpForward(Linux):
    """xdp-forward of xdp-tools: looks up in the kernel's FIB where frames come in, as XDP programs,
    and passes them on without an skb; rules of routing policy, of which there are none, are left
    out (its faster mode). Steered: a thread of the kernel's for each receiver (threaded NAPI), on
    the processor under test; receive packet steering comes after XDP."""
    FOLDER = os.path.join(devices.BENCH, "xdp-tools", "usr")

    def __init__(self, steer=True):
        super().__init__(False)
        self.threaded, self.name = steer, "xdp-forward" + ("" if steer else ", unsteered")

    def available(self):
        program = os.path.join(self.FOLDER, "sbin", "xdp-forward")
        return None if os.access(program, os.X_OK) else "not there (bench/fetch-xdp-tools)"

    def command(self, *words):
        """By the loader and libraries that it was linked with, of a later Debian than the host's.
        Each program alone on its link, without libxdp's dispatcher before it."""
        libraries = glob.glob(os.path.join(self.FOLDER, "lib", "*-linux-gnu"))[0]
        loader, = glob.glob(os.path.join(libraries, "ld-linux-*.so.*"))
        return ["env", "LIBXDP_SKIP_DISPATCHER=1", loader, "--library-path", libraries,
                os.path.join(self.FOLDER, "sbin", "xdp-forward"), *words]

    def start(self, run):
        links = ["d%d" % p for p in range(run.ports)]
        super().start(run)
        within(DEVICE, *self.command("load", "--fib-mode", "direct", *links))
        if self.threaded:
            known = kernel_threads("napi/")
            within(DEVICE, "sh", "-ec", "; ".join("echo 1 > /sys/class/net/%s/threaded" % link
                                                  for link in links))
            for pid in kernel_threads("napi/") - known:
                os.sched_setaffinity(pid, [run.cpu])
                os.setpriority(os.PRIO_PROCESS, pid, -20)


def kernel_threads(prefix):
    """Process ids of the kernel's threads whose names begin so."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid) as f:
                if f.read().startswith(prefix):
                    found.add(int(pid))
        except OSError:
            pass
    return found


class P2pnic(VethDevice, devices.P2pnic):
    def __init__(self, method, port="af_xdp"):
        devices.P2pnic.__init__(self, method)
        self.port, self.name = port, "p2pnic " + port

    def port_line(self, run, p):
        return "{type: %s, target: d%d}" % (self.port, p)

    def start(self, run):
        path = os.path.join(run.directory, "router.yaml")
        with open(path, "w") as out:
            out.write(self.configuration(run))
        self.launch(["ip", "netns", "exec", DEVICE, devices.P2PNIC, "router", "-c", path])
        self.prioritise()


class L3fwd(VethDevice, devices.L3fwd):
    """DPDK's, on af_xdp sockets as p2pnic is; busy: they are polled in the kernel as well, as its
    driver does unless told."""

    def __init__(self, busy=True):
        devices.L3fwd.__init__(self, "lpm")
        self.name, self.busy = "l3fwd af_xdp" + ("" if busy else ", no busy polling"), busy

    def ports(self, run):
        return ["net_af_xdp%d,iface=d%d%s" % (p, p, "" if self.busy else ",busy_budget=0")
                for p in range(run.ports)]

    def prefix(self):
        return ["ip", "netns", "exec", DEVICE]

    def start(self, run):
        super().start(run)
        # It waits for its links first, 9 s at most, and takes nothing meanwhile.
        self.wait_for_line("entering main loop")


class Wire(VethDevice):
    """g0 and g1 are the two ends of one veth: the tester's own maximum on such a link."""
    name, mode = "wire veth", "bridged"

    def start(self, run):
        for name in ("g0", "g1"):
            subprocess.run(["ip", "-n", GENERATOR, "link", "del", name], capture_output=True)
        ip("-n", GENERATOR, "link", "add", "g0", "type", "veth", "peer", "name", "g1")
        for name in ("g0", "g1"):
            ip("-n", GENERATOR, "link", "set", name, "addrgenmode", "none", "up")


def all_devices():
    return [P2pnic("wr"), P2pnic("wr", "af_packet"), Linux(), Linux(gro=True), Linux(False),
            Flowtable(), XdpForward(), XdpForward(False), L3fwd(), L3fwd(False)]


def rows(samples_of, wanted, quick, rounds, settings, note):
    """samples_of: bench.Samples; wanted: of a device, whether it is to be measured"""
    if os.geteuid() != 0:
        note("skipped: veth: needs root")
        return []
    sizes = [64] if quick else [64, 512, 1518]
    chosen = [d for d in all_devices() if wanted(d)]
    if not chosen:
        return []
    chosen.append(Wire())
    samples = {d: samples_of() for d in chosen}
    for number in range(rounds):
        for device in chosen:
            measure.progress(measure.turn(number, rounds, device))
            why = device.available()
            if why:
                note("skipped: %s %s: %s" % (device.name, device.method, why))
                continue
            try:
                with Links(2):
                    runs = measure.run_checked(device, 2, ["1in-1out"], sizes, settings,
                                               ["-c", "full"])
                    device.check(runs)
                for run in runs:
                    samples[device].add(run)
            except measure.Refused as why:
                note("refused: %s" % why)
            except subprocess.CalledProcessError as why:
                note("skipped: %s: %s" % (device.name, (why.stderr or str(why)).strip()))
    wire = samples[chosen[-1]]
    out = []
    for device in chosen[:-1]:
        for pattern, size in samples[device].rows:
            if not samples[device].rates((pattern, size))[0]:
                continue
            out.append({"dut": device.name, "method": device.method, "link": "veth",
                        "pattern": pattern, "routed": True, "frame_bytes": size,
                        **samples[device].summary((pattern, size)),
                        "tester_max_mpps": wire.median((pattern, size))})
    return out
