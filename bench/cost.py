# SPDX-License-Identifier: BSD-3-Clause
"""What features cost that have a switch: p2pnic Wr, 64 B, 1in-1out, with the feature and without,
in turn.

All have the same routes, to the sources of the tester's packets too. Captures and traces have a
filter that takes none of them. `watched`: scraped once a second, and shown by top and watch, while
packets are forwarded. `kernel`: taps, punt and its policers, four host rings, routes and neighbours
by netlink; as root only. These four want the router to run meanwhile, so nothing has real-time
priority in them and in what they are compared with, and their runs are longer.
"""
import os
import subprocess
import sys

import devices
import measure

PATTERN, SIZE, PORTS = "1in-1out", 64, 2
NAMESPACE = "p2pnic-bench-cost"
NEVER = "udp dst port 1"


class Feature(devices.P2pnic):
    """nic, router: further lines of the configuration; beside: commands that run as long as it."""

    def __init__(self, feature, nic=(), router=(), beside=(), realtime=True):
        super().__init__("wr")
        self.feature, self.nic, self.router, self.beside = feature, nic, router, beside
        self.realtime = realtime and not beside
        self.others, self.ended = [], []

    def label(self):
        return "%s, %s" % (super().label(), self.feature)

    def configuration(self, run):
        text = super().configuration(run)
        text += "".join("  - {prefix: 198.19.%d.0/24, via: 10.0.%d.10}\n" % (p, p)
                        for p in range(run.ports))
        for line in self.nic:
            text = text.replace("    mac:", "    %s\n    mac:" % line)
        for line in self.router:
            text = text.replace("  batch: 64", "  batch: 64\n  " + line)
        return text

    def start(self, run):
        super().start(run)
        for number, words in enumerate(self.beside):
            with open(self.log + "-beside-%d" % number, "w") as out:
                self.others.append(subprocess.Popen([w.replace("DIR", run.directory)
                                                     for w in words],
                                                    stdin=subprocess.DEVNULL, stdout=out,
                                                    stderr=subprocess.STDOUT))

    def stop(self):
        self.ended = [" ".join(o.args) for o in self.others if o.poll() is not None]
        for other in self.others:
            other.terminate()
            other.wait()
        self.others = []
        super().stop()

    def check_beside(self):
        if self.ended:
            raise measure.Refused("%s ended: see %s-beside-*" % (self.ended[0], self.log))


class Kernel(Feature):
    """Routes and neighbours from a namespace of its own. stations: MAC addresses more of a NIC."""

    def __init__(self, feature, stations=0):
        super().__init__(feature, realtime=False)
        self.stations = stations

    def configuration(self, run):
        text = super().configuration(run).partition("neighbors:\n")[0]
        lines = [line for line in text.splitlines() if "addresses:" not in line]
        return "\n".join(lines + ["kernel:", "  namespace: " + NAMESPACE]) + "\n"

    def ip(self, *words):
        subprocess.run(["ip", "-n", NAMESPACE] + [str(w) for w in words], check=True,
                       capture_output=True, text=True)

    def start(self, run):
        self.remove()
        subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
        super().start(run)
        for p in range(run.ports):
            name = "n%d" % p
            self.ip("link", "set", name, "up")
            self.ip("address", "add", "10.0.%d.1/24" % p, "dev", name)
            self.ip("neigh", "replace", "10.0.%d.10" % p, "lladdr", devices.tester_mac(p), "dev",
                    name, "nud", "permanent")
            for net in (18, 19):
                self.ip("route", "add", "198.%d.%d.0/24" % (net, p), "via", "10.0.%d.10" % p, "dev",
                        name, "onlink")
            for k in range(self.stations):
                self.ip("link", "add", "link", name, "name", "v%d-%d" % (p, k), "type", "macvlan")
                self.ip("link", "set", "v%d-%d" % (p, k), "up")

    def stop(self):
        super().stop()
        self.remove()

    def remove(self):
        if os.path.exists("/run/netns/" + NAMESPACE):
            subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


SCRAPE = """
import socket, time
while True:
    time.sleep(1)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("DIR/http")
        s.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: bench\\r\\nConnection: close\\r\\n\\r\\n")
        while s.recv(65536):
            pass
"""


def command(name, *words):
    return [devices.P2PNIC, name, "--runtime", "DIR", *words]


def pairs():
    """(with the feature, without it)"""
    plain, calm, faces = Feature("off"), Feature("off", realtime=False), Kernel("kernel")
    vlans = "vlans: [{id: 10}, {id: 20}]"
    out = [(Feature("off, once more"), plain),
           (Feature("reverse path, loose", ["reverse_path: loose"]), plain),
           (Feature("reverse path, strict", ["reverse_path: strict"]), plain),
           (Feature("VLANs, frames without a tag", [vlans]), plain),
           (Feature("check: stamp", router=["check: stamp"]), plain),
           (Feature("check: crc", router=["check: crc"]), plain),
           (Feature("capture that takes nothing",
                    beside=[command("capture", "-w", "DIR/never.pcapng", NEVER)]), calm),
           (Feature("trace that takes nothing", beside=[command("trace", NEVER)]), calm),
           (Feature("watched", beside=[command("metrics", "--listen", "unix:DIR/http"),
                                       [sys.executable, "-c", SCRAPE], command("top", "-b"),
                                       command("watch", "counter")]), calm)]
    if os.geteuid() == 0:
        out += [(faces, calm), (Kernel("kernel, 8 more addresses of a NIC", 8), faces)]
    return out


def rows(samples_of, rounds, settings, note):
    """samples_of: bench.Samples. Rows: the feature's summary, and `off`: the other's."""
    long = measure.Settings()
    long.near, long.step = settings.near, settings.step
    long.seconds, long.warm_up, long.windows = 3.0, 1.0, 150
    result = []
    for pair in pairs():
        samples = [samples_of() for _ in pair]
        for number in range(rounds):
            for device, mine in zip(pair, samples):
                measure.progress(measure.turn(number, rounds, device))
                try:
                    if device.realtime:
                        run = measure.run_near(device, PORTS, PATTERN, SIZE, settings)
                    else:  # so long that some of its windows are near
                        run, = measure.run_checked(device, PORTS, [PATTERN], [SIZE], long)
                    device.check_beside()
                    mine.add(run)
                except (measure.Refused, subprocess.CalledProcessError) as why:
                    note("refused: cost: %s: %s" % (device.feature, why))
        on, off = [s.summary((PATTERN, SIZE)) if s.rows else None for s in samples]
        if on and off and on["mpps"] and off["mpps"]:
            result.append({"dut": "p2pnic", "method": "wr", "feature": pair[0].feature,
                           "beside": pair[1].feature, "pattern": PATTERN, "frame_bytes": SIZE,
                           **on, "off": off})
    return result


def print_rows(result, ratio):
    """ratio: bench.py's"""
    for row in result:
        off = row["off"]
        print("cost: %-34s %6.2f Mpps ±%.0f%% (%s), %s %6.2f (%s): %s, best %s, mean %s" % (
            row["feature"], row["mpps"], 50 * row["spread"], row["kind"], row["beside"],
            off["mpps"], off["kind"], ratio(row, off, "mpps"), ratio(row, off, "best_mpps"),
            ratio(row, off, "mean_mpps")))
