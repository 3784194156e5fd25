# SPDX-License-Identifier: BSD-3-Clause
"""One measurement: a device, a list of patterns and sizes, one start of the device. Refuses unequal work."""
import json
import os
import resource
import subprocess
import time

import devices


class Refused(Exception):
    """The device did not do the work, or could not be measured."""


class Settings:
    device_cpu = 1
    tester_cpu = 0
    seconds = 0.3
    warm_up = 0.1
    tries = 2
    disturbed = 0.05  # processors' time taken by others, as a part of the run
    near = None  # ns from core to core and back, at most, where the two are as near as they get here


def check_work(device, entry):
    """Both sides do the same work, or the run does not count."""
    run, text = entry["run"], "%s, %d B" % (entry["pattern"], entry["frame_bytes"])
    errors = {k: v for k, v in run["errors"].items() if v and k != "foreign"}
    if errors or run["reordered"] or run["duplicate"]:
        raise Refused("%s %s: %s: unequal work: %s reordered %d duplicate %d" % (
            device.name, device.method, text, errors, run["reordered"], run["duplicate"]))
    if not run["checked"]:
        raise Refused("%s %s: %s: no packet came back" % (device.name, device.method, text))


def tester_command(ports, mode, patterns, sizes, settings, extra):
    command = [devices.P2PNIC, "tester", "run", "-j", "-C", str(settings.tester_cpu), "-W", "15", "-m", mode,
               "-P", ";".join(patterns), "-s", ",".join(map(str, sizes)), "-t", str(settings.seconds),
               "-w", str(settings.warm_up), "--no-carry"]
    for port in ports:
        command += ["-p", port]
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
        command = tester_command(device.tester_ports(run), device.mode, patterns, sizes, settings, extra)
        device.start(run)
        # For the length of a run whatever else the machine does stands still.
        for pid in [0] + device.pids() if realtime and device.link == "memif" else []:
            command += ["--realtime", str(pid)]
        self.tester = subprocess.Popen(device.tester_prefix(run) + command, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, preexec_fn=devices.first_class)
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
                                         err.strip() or "tester ended with %d" % self.tester.returncode))
        return json.loads(out)["runs"]

    def stop(self):
        if self.tester.poll() is None:
            self.tester.kill()
            self.tester.communicate()
        self.device.stop()


def core_to_core(settings):
    """ns from the tester's processor to the device's and back, now."""
    command = [devices.P2PNIC, "tester", "cores", "-C", str(settings.tester_cpu), "--cpu2", str(settings.device_cpu)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=devices.first_class)
    return int(done.stdout) if done.returncode == 0 else None


def run_once(device, ports, patterns, sizes, settings, extra=()):
    """The tester's runs over all patterns and sizes, and the part of the processors' time that neither
    tester nor device used."""
    directory = devices.prepare_directory()
    run = devices.Run(directory, ports, settings.device_cpu)
    pair = None
    distance = core_to_core(settings)
    try:
        busy, own = devices.busy_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        pair = Pair(device, run, patterns, sizes, settings, extra or ["-c", "full:16"])
        runs = pair.results(40 + 4 * len(patterns) * len(sizes))
        # A host may move a virtual machine's processors at any time: the worse of before and after.
        distance = max(distance or 0, core_to_core(settings) or 0)
        for entry in runs:
            entry["run"]["core_to_core_ns"] = distance
        used, after = devices.cpu_seconds(device.pids()), resource.getrusage(resource.RUSAGE_CHILDREN)
        used += after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
        return runs, (devices.busy_seconds() - busy - used) / (time.monotonic() - begin)
    finally:
        if pair:
            pair.stop()
        else:
            device.stop()
        sweep(directory)


def find_near(settings):
    """The host of a virtual machine moves its processors: at times they share a cache, at times not."""
    seen = []
    for _ in range(20):
        seen.append(core_to_core(settings))
        time.sleep(0.1)
    seen = [ns for ns in seen if ns]
    settings.near = min(seen) * 2 if seen else None


def is_near(run, settings):
    return not settings.near or not run["core_to_core_ns"] or run["core_to_core_ns"] <= settings.near


def run_checked(device, ports, patterns, sizes, settings, extra=()):
    """As run_once, again while others use the processors or these are far apart; the least disturbed of
    `tries` counts."""
    best = None
    for _ in range(settings.tries):
        runs, other = run_once(device, ports, patterns, sizes, settings, extra)
        for entry in runs:
            check_work(device, entry)
        trouble = (not is_near(runs[0]["run"], settings), other >= settings.disturbed, other)
        if best is None or trouble < best[1]:
            best = runs, trouble
        if not any(trouble[:2]):
            break
    return best[0]


def cpu_of_load(device, run, load, settings):
    """(driver and router, engines) in percent of a processor, over a second of that load."""
    extra = ["-c", "none"] if load == "full" else ["-r", "1", "-c", "full"]
    longer = Settings()
    longer.seconds, longer.warm_up, longer.tester_cpu = 2.5, 0.1, settings.tester_cpu
    pair = Pair(device, run, ["1in-1out"], [64], longer, extra, realtime=False)
    try:
        time.sleep(1.5)
        before, begin = device.cpu_split(), time.monotonic()
        time.sleep(1.0)
        after, seconds = device.cpu_split(), time.monotonic() - begin
        if not device.pids() or pair.tester.poll() is not None:
            raise Refused("%s %s: ended too early" % (device.name, device.method))
        return [100 * (b - a) / seconds for a, b in zip(before, after)]
    finally:
        pair.stop()
