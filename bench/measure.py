# SPDX-License-Identifier: BSD-3-Clause
"""One measurement: a device, a list of patterns and sizes, one start of the device. Refuses unequal
work."""
import json
import os
import subprocess
import sys
import time

import devices

Refused = devices.Refused

KINDS = ("near", "busy", "far")  # of windows (tester/tester.h), the best first
MARK = {"near": "", "busy": "b", "far": "f"}  # of a figure in a table
WINDOWS_MIN = 5  # of a kind, for their median to say something


class Progress:
    """What is measured now, what is repeated and why: a line on the terminal that the next one
    replaces; a line each where a file is."""
    part = ""  # set by who measures it

    def __call__(self, text=""):
        """Without text: nothing more to say."""
        terminal = sys.stderr.isatty()
        if text:
            text = "  %s%s" % (self.part and self.part + ": ", text)
        if text or terminal:
            print("\r\033[K" * terminal + text, end="" if terminal else "\n", file=sys.stderr,
                  flush=True)


progress = Progress()


def lacking(kinds):
    """Why rows are repeated. kinds: of the windows that each has so far, or None."""
    had = [(kind, kinds.count(kind)) for kind in (*KINDS[1:], None) if kind in kinds]
    return "%d row%s without near windows (%s)" % (len(kinds), "s" * (len(kinds) > 1), ", ".join(
        "%d had %s" % (n, kind or "none of one kind") for kind, n in had))


def turn(number, rounds, device, what="", kinds=()):
    """In words: a round, or a repeat and why it is one. kinds: as of `lacking`."""
    return "%s: %s%s%s" % (
        "round %d of %d" % (number + 1, rounds) if number < rounds else
        "repeat %d of at most %d" % (number + 1 - rounds, rounds),
        device.label(), what and ", " + what, ": " + lacking(kinds) if kinds else "")


class Settings:
    device_cpu = 1
    tester_cpu = 0
    seconds = 0.8  # at most
    warm_up = 0.05
    windows = 8  # near ones (tester/tester.h): a run ends when it has so many
    near = None  # (from, to) ns for a cache line from one processor to the other and back
    step = 0  # ns for a step of additions, at most, of a processor that is alone on its core


def check_work(device, entry):
    """Both sides do the same work, or the run does not count."""
    run, text = entry["run"], "%s, %d B" % (entry["pattern"], entry["frame_bytes"])
    errors = {k: v for k, v in run["errors"].items() if v and k != "foreign"}
    if errors or run["reordered"] or run["duplicate"]:
        raise Refused("%s %s: %s: unequal work: %s reordered %d duplicate %d" % (
            device.name, device.method, text, errors, run["reordered"], run["duplicate"]))
    if not run["checked"]:
        raise Refused("%s %s: %s: no packet came back" % (device.name, device.method, text))


def tester_command(ports, mode, patterns, sizes, settings, extra, near):
    command = [devices.P2PNIC, "tester", "run", "-j", "-C", str(settings.tester_cpu), "-W", "15",
               "-m", mode, "-P", ";".join(patterns), "-s", ",".join(map(str, sizes)), "-t",
               str(settings.seconds), "-w", str(settings.warm_up), "--no-carry"]
    for port in ports:
        command += ["-p", port]
    if near:
        command += ["--cpu2", str(settings.device_cpu), "--near",
                    "%d-%d:%d" % (*settings.near, settings.windows), "--step",
                    "%.3f" % settings.step]
    return command + list(extra)


def sweep(directory):
    for top, names, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(os.path.join(top, name))
        for name in names:
            os.rmdir(os.path.join(top, name))
    os.rmdir(directory)


def wait_for(paths):
    for _ in range(500):
        if all(os.path.exists(path) for path in paths):
            return
        time.sleep(0.01)


class Pair:
    """A device and the tester opposite to it, started in the order that the device wants."""

    def __init__(self, device, run, patterns, sizes, settings, extra, realtime=True):
        self.device = device
        memory = realtime and device.link == "memif"
        command = tester_command(device.tester_ports(run), device.mode, patterns, sizes, settings,
                                 extra, memory and settings.near)
        device.start(run)
        # For the length of a run whatever else the machine does stands still.
        for pid in [0] + device.pids() if memory and device.realtime else []:
            command += ["--realtime", str(pid)]
        self.tester = subprocess.Popen(device.tester_prefix(run) + command, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True,
                                       preexec_fn=devices.first_class)
        if device.tester_first:
            wait_for([run.socket(p) for p in range(run.ports)])
            device.proceed()

    def results(self, seconds):
        try:
            out, err = self.tester.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.tester.kill()
            self.tester.communicate()
            raise Refused("%s: the tester did not end" % self.device.name) from None
        if self.tester.returncode not in (0, 1) or not out.strip():
            raise Refused("%s %s: %s" % (self.device.name, self.device.method,
                                         err.strip() or "tester ended with %d" %
                                         self.tester.returncode))
        return json.loads(out)["runs"]

    def stop(self):
        if self.tester.poll() is None:
            self.tester.kill()
            self.tester.communicate()
        self.device.stop()


def find_near(settings):
    """The host of a virtual machine moves its processors about: they share a core (under 60 ns), a
    cache, or only a socket; and the device's has its core to itself or not. Devices are compared
    where they share a cache, alone."""
    command = [devices.P2PNIC, "tester", "cores", "-C", str(settings.tester_cpu), "--cpu2",
               str(settings.device_cpu), "-n", "60"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=devices.first_class)
    seen = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    trips, steps = [trip for trip, _ in seen if trip > 0], [step for _, step in seen if step > 0]
    if trips and steps:
        nearest = min([ns for ns in trips if ns >= 60] or trips)
        settings.near = int(nearest * 0.7), int(nearest * 1.4)
        settings.step = min(steps) * 1.15


def rate(run):
    """(Mpps, kind): the median of its near windows, else of the busy, else of the far ones; (None,
    None) where none are enough."""
    for kind in KINDS:
        if run[kind]["windows"] >= WINDOWS_MIN:
            return run[kind]["mpps"], kind
    return None, None


def run_near(device, ports, pattern, size, settings, extra=()):
    """One run with near windows, if five attempts have one."""
    run, name = None, "%s, %s, %d B" % (device.label(), pattern, size)
    for attempt in range(5):
        progress(name + ("" if not attempt else ": attempt %d of 5: %s" % (
            attempt + 1, lacking([rate(run["run"])[1]]))))
        run, = run_checked(device, ports, [pattern], [size], settings, extra)
        if rate(run["run"])[1] == "near":
            break
    return run


def run_checked(device, ports, patterns, sizes, settings, extra=()):
    """The tester's runs over all patterns and sizes of one start of the device. Work that is not
    equal is refused."""
    directory = devices.prepare_directory()
    run = devices.Run(directory, ports, settings.device_cpu)
    pair = None
    try:
        pair = Pair(device, run, patterns, sizes, settings, extra or ["-c", "full:16"])
        runs = pair.results(40 + 4 * len(patterns) * len(sizes))
        for entry in runs:
            check_work(device, entry)
        return runs
    finally:
        (pair or device).stop()
        sweep(directory)


def in_turn(todo, sizes, rounds, settings, note):
    """Rounds of all of `todo`, then up to as many more of what has no near window yet. todo: list
    of (samples, device, ports, pattern, the tester's further arguments, words for them)."""
    for number in range(2 * rounds):
        for samples, device, ports, pattern, extra, name in todo:
            again = [s for s in sizes if number < rounds or
                     samples.rates((pattern, s))[1] != "near"]
            if not again:
                continue
            kinds = [samples.rates((pattern, s))[1] for s in again] if number >= rounds else []
            progress(turn(number, rounds, device, "%s, %s" % (name, pattern), kinds))
            try:
                for run in run_checked(device, ports, [pattern], again, settings, extra):
                    samples.add(run)
            except Refused as why:
                note("refused: %s: %s: %s" % (progress.part, name, why))


def cpu_of_load(device, run, load, settings):
    """(driver and router, engines) in percent of a processor, over a second of that load."""
    extra = ["-c", "none"] if load == "full" else ["-r", "1", "-c", "full"]
    longer = Settings()
    longer.seconds, longer.tester_cpu = 2.5, settings.tester_cpu
    pair = None
    try:
        pair = Pair(device, run, ["1in-1out"], [64], longer, extra, realtime=False)
        time.sleep(1.5)
        before, begin = device.cpu_split(), time.monotonic()
        time.sleep(1.0)
        after, seconds = device.cpu_split(), time.monotonic() - begin
        if not device.pids() or pair.tester.poll() is not None:
            raise Refused("%s %s: ended too early" % (device.name, device.method))
        return [100 * (b - a) / seconds for a, b in zip(before, after)]
    finally:
        (pair or device).stop()
