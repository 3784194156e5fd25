# SPDX-License-Identifier: BSD-3-Clause
"""The rule by which calls of p2pnic's processes fail (tests/chaos/inject.c, preloaded)."""

import mmap
import os
import re
import struct
import subprocess

from network import P2PNIC

LIBRARY = os.path.join(os.path.dirname(P2PNIC), "..", "tests", "chaos", "libinject.so")
RULE = struct.Struct("=IIIIiIQQ64s512s")  # struct rule of inject.c
SANITIZE = ("detect_leaks=1:abort_on_error=0:exitcode=66:verify_asan_link_order=0:"
            "allocator_may_return_null=1")


class Inject:
    def __init__(self, path):
        with open(path, "w+b") as file:
            file.truncate(RULE.size)
            self.map = mmap.mmap(file.fileno(), RULE.size)
        self.environment = {"LD_PRELOAD": os.path.abspath(LIBRARY), "P2PNIC_INJECT": str(path),
                            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", SANITIZE)}

    def on(self, who, functions=(), nth=0, chance=0.0, times=0, error=0, seed=0):
        self.off()
        names = f" {' '.join(functions)} " if functions else ""
        self.map[4:] = RULE.pack(0, nth, int(chance * 65536), times, error, seed, 0, 0,
                                 who.encode(), names.encode())[4:]
        self.map[0] = 1

    def off(self):
        """(calls counted, calls that failed)"""
        self.map[0] = 0
        return RULE.unpack(self.map[:])[6:8]


def place(messages):
    """The call that failed last: its name and the function that made it."""
    lines = re.findall(r"inject: .*: call \d+: (\w+): errno (\d+) at (.*)\+0x([0-9a-f]+)", messages)
    if not lines:
        return "no call"
    name, number, file, offset = lines[-1]
    # that of execve, which may be no path
    file = P2PNIC if os.path.basename(file) == "p2pnic" else file
    done = subprocess.run(["addr2line", "-f", "-s", "-e", file, hex(int(offset, 16) - 1)],
                          capture_output=True, text=True, check=False)
    return (f"{name} ({os.strerror(int(number))}) in "
            f"{done.stdout.split()[0] if done.stdout else file}")
