# SPDX-License-Identifier: BSD-3-Clause
"""Where results come from: machine, source and build. bench/compare.py says which of it differs."""
import datetime
import glob
import itertools
import json
import os
import platform
import subprocess

import devices

# Options that change the code; a build to compare with gets the same (bench/compare.py).
OPTIONS = ("buildtype", "optimization", "debug", "b_lto", "b_ndebug", "b_sanitize", "c_args", "cpu")


def said(*command):
    """What a command prints, or None where it cannot."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=devices.ROOT)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def read(path):
    with open(path) as f:
        return f.read().strip()


def caches(cpu):
    """Of one processor, by name: {"L1d": "32K", …}; empty where the kernel does not tell."""
    found = {}
    for folder in sorted(glob.glob("/sys/devices/system/cpu/cpu%d/cache/index*" % cpu)):
        kind = {"Data": "d", "Instruction": "i"}.get(read(folder + "/type"), "")
        found["L%s%s" % (read(folder + "/level"), kind)] = read(folder + "/size")
    return found


def machine():
    model = ""
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"processor": model, "processors": os.cpu_count(), "caches": caches(0),
            "kernel": platform.release().split("-")[0], "virtual": os.path.exists("/sys/hypervisor")
            or "hypervisor" in read("/proc/cpuinfo"), "huge_pages_free": devices.huge_pages()}


def build():
    """Of the folder build/: compiler, its version, and options; None and {} where there is none."""
    told = said("meson", "introspect", devices.BUILD, "--buildoptions")
    options = {o["name"]: o["value"] for o in json.loads(told or "[]")}
    compiler = None
    commands = os.path.join(devices.BUILD, "compile_commands.json")
    if os.path.exists(commands):
        # All words before the first option: a cache may stand before the compiler.
        words = json.loads(read(commands))[0]["command"].split()
        compiler = " ".join(itertools.takewhile(lambda word: not word.startswith("-"), words))
    version = said(*compiler.split(), "--version") if compiler else None
    return {"compiler": compiler, "version": version.splitlines()[0] if version else None,
            "options": {name: options[name] for name in OPTIONS if name in options}}


def source():
    """The commit, and whether tracked files differ from it; None where there is no repository."""
    commit = said("git", "rev-parse", "HEAD")
    changed = said("git", "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else changed != ""}


def all_of_it():
    """The first members of results.json."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"date": now.isoformat(timespec="seconds"), "source": source(), "build": build(),
            "machine": machine()}


def flat(value, prefix=""):
    """{"a.b": value} of {"a": {"b": value}}"""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, member in value.items() for k, v in flat(
        member, prefix + "." * bool(prefix) + name).items()}


def differences(base, new, parts=("source", "build", "machine")):
    """[(what, of base, of new)] of two origins. Free huge pages come and go."""
    a, b = ({k: v for part in parts for k, v in flat(r.get(part, {}), part).items()}
            for r in (base, new))
    return [(key, a.get(key, "not told"), b.get(key, "not told"))
            for key in dict.fromkeys(list(a) + list(b))
            if a.get(key) != b.get(key) and not key.endswith("huge_pages_free")]
