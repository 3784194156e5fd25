# SPDX-License-Identifier: BSD-3-Clause
"""One measurement: a device, a list of patterns and sizes, one start of the device. Refuses unequal work."""
import json
import os
import resource
import subprocess
import sys
import time

import devices


class Refused(Exception):
    """The device did not do the work, or could not be measured."""


class Settings:
    device_cpu = 1
    tester_cpu = 0
    seconds = 0.6
    warm_up = 0.15
    tries = 4
    disturbed = 0.05  # processors' time taken by others, as a part of the run


def check_work(device, run, text):
    """Both sides do the same work, or the run does not count."""
    errors = {k: v for k, v in run["errors"].items() if v and k != "foreign"}
    if errors or run["reordered"] or run["duplicate"]:
        raise Refused("%s: %s: unequal work: %s reordered %d duplicate %d" % (
            device.name, text, errors, run["reordered"], run["duplicate"]))
    if not run["checked"]:
        raise Refused("%s: %s: no packet came back" % (device.name, text))


def tester(action, ports, mode, patterns, sizes, settings, extra=()):
    command = [devices.P2PNIC, "tester", action, "-j", "-C", str(settings.tester_cpu), "-W", "15", "-m", mode,
               "-P", ";".join(patterns), "-s", ",".join(map(str, sizes)), "-t", str(settings.seconds),
               "-w", str(settings.warm_up), "--no-carry"]
    for port in ports:
        command += ["-p", port]
    return command + list(extra)


def run_once(device, ports, patterns, sizes, settings, extra=()):
    """Starts the device, runs the tester over all patterns and sizes; returns its runs and the part of
    the processors' time that neither of them used."""
    directory = devices.prepare_directory()
    run = devices.Run(directory, ports, settings.device_cpu)
    extra = list(extra) or ["-c", "full:16"]
    command = tester("run", device.tester_ports(run), device.mode, patterns, sizes, settings, extra)
    process = None
    try:
        if not device.tester_first:
            device.start(run)
        busy, own = devices.busy_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        used = devices.cpu_seconds(device.pids())
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=devices.first_class)
        if device.tester_first:
            time.sleep(0.2)
            device.start(run)
        out, err = process.communicate(timeout=60 + 4 * len(patterns) * len(sizes))
        used = devices.cpu_seconds(device.pids()) - used
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used += after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
        other = (devices.busy_seconds() - busy - used) / (time.monotonic() - begin)
        if process.returncode not in (0, 1) or not out.strip():
            raise Refused("%s: %s" % (device.name, err.strip() or "tester ended with %d" % process.returncode))
        return json.loads(out)["runs"], other
    except subprocess.TimeoutExpired:
        process.kill()
        raise Refused("%s: the tester did not end" % device.name)
    finally:
        device.stop()
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


def run_checked(device, ports, patterns, sizes, settings, extra=()):
    """As run_once, again while others use the processors; the least disturbed of `tries` counts."""
    best = None
    for _ in range(settings.tries):
        runs, other = run_once(device, ports, patterns, sizes, settings, extra)
        for run in runs:
            check_work(device, run["run"], "%s %d B" % (run["pattern"], run["frame_bytes"]))
        if best is None or other < best[1]:
            best = runs, other
        if other < settings.disturbed:
            break
    if best[1] >= settings.disturbed:
        print("  note: others used %.0f %% of a processor meanwhile" % (100 * best[1]), file=sys.stderr)
    return [dict(r["run"], pattern=r["pattern"], frame_bytes=r["frame_bytes"]) for r in best[0]]
