# SPDX-License-Identifier: BSD-3-Clause
"""Which tests may be skipped, and where: tests/expected-skips, read and held against a run."""

import ctypes
import errno
import fnmatch
import glob
import os
import shutil
import socket
import struct
import subprocess


def _fails(*command, seconds=60):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=seconds,
                              check=False).returncode != 0
    except (OSError, subprocess.TimeoutExpired):
        return True


def _no_af_xdp():
    try:
        socket.socket(44, socket.SOCK_RAW).close()  # AF_XDP
        return False
    except OSError:
        return True


def _no_multi_buffer():
    """Bound to no interface, a socket complains of flags that the kernel does not know first."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("HHIII", 44, 1 << 4, 0, 0, 0)  # XDP_USE_SG
    try:
        with socket.socket(44, socket.SOCK_RAW) as one:
            libc.bind(one.fileno(), address, len(address))
            return ctypes.get_errno() == errno.EINVAL
    except OSError:
        return True


def _lacks(*wanted):
    """Whether the processor lacks one of them (firmware/x86.h asks for them)."""
    with open("/proc/cpuinfo", encoding="utf8") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    return not set(wanted) <= set(flags)


def _no_frr(version):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return _fails("tests/vm/fetch", f"{cache}/p2pnic/frr-{version}", "frr", version, seconds=900)


IN_USER_NAMESPACE = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                     "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork")
PROBES = {
    "always": lambda: True,
    "not-root": lambda: os.geteuid() != 0,
    "no-namespaces": lambda: _fails("unshare", "--net", "--mount", "--pid", "--fork", "true"),
    "no-veth": lambda: _fails("unshare", "--net", "ip", "link", "add", "type", "veth"),
    "no-vlan": lambda: _fails("unshare", "--net", "sh", "-c", "ip link add name a type dummy && "
                              "ip link add link a name b type vlan id 5"),
    "no-vrf": lambda: _fails("unshare", "--net", "ip", "link", "add", "name", "a", "type", "vrf",
                             "table", "5"),
    "no-tun": lambda: not os.path.exists("/dev/net/tun"),
    "no-macvlan": lambda: _fails("unshare", "--net", "sh", "-c", "ip link add name a type veth "
                                 "peer name b && ip link add link a name c type macvlan"),
    "no-macvlan-bridge": lambda: _fails(
        "unshare", "--net", "sh", "-c", "ip link add name a type veth peer name b && "
        "ip link add link a name c type macvlan && ip link add name d type bridge"),
    "no-bridge": lambda: _fails("unshare", "--net", "ip", "link", "add", "type", "bridge"),
    "no-af-xdp": _no_af_xdp,
    "no-multi-buffer": _no_multi_buffer,
    "no-avx512": lambda: _lacks("avx512f", "avx512bw", "avx512vl", "avx512dq"),
    "no-avx2": lambda: _lacks("avx2", "bmi2", "popcnt", "pclmulqdq"),
    "no-user-namespaces": lambda: _fails(*IN_USER_NAMESPACE, "mount", "-t", "tmpfs", "none",
                                         "/run"),
    "no-qemu": lambda: _fails("tests/vm/vm.py", "--fetch", seconds=900),
    "no-later-kernel": lambda: _fails("tests/vm/zero_copy.py", "--fetch", seconds=1200),
    "no-debootstrap": lambda: _fails("tests/package/life.py", "--fetch", seconds=1500),
    "no-selftests": lambda: _fails("tests/vm/foreign.py", "--fetch", seconds=1200),
    "no-frr-10.3": lambda: _no_frr("10.3"),
    "no-frr-10.4": lambda: _no_frr("10.4"),
    "no-qemu-riscv": lambda: not shutil.which("qemu-system-riscv64"),
    "lab-there": lambda: bool(glob.glob("/tmp/p2pnic-lab-*")),
}


def read(path):
    """[(condition, pattern, reason)]; a line that is none of that is an error."""
    rows = []
    with open(path, encoding="utf8") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            fields = [field.strip() for field in line.split("|")]
            if len(fields) != 3 or not all(fields):
                raise ValueError(f"{path}:{number}: want CONDITION | NAME | REASON")
            if fields[0] not in PROBES:
                raise ValueError(f"{path}:{number}: no condition '{fields[0]}'; there are: "
                                 f"{', '.join(PROBES)}")
            rows.append(tuple(fields))
    return rows


class Rule:
    def __init__(self, rows, probes=None):
        self.rows, self.probes, self.known = rows, PROBES if probes is None else probes, {}

    def holds(self, condition):
        """Probed once."""
        if condition not in self.known:
            self.known[condition] = self.probes[condition]()
        return self.known[condition]

    def expected(self, name):
        """The condition and the reason for which a test of that name may be skipped here, or
        None."""
        for condition, pattern, reason in self.rows:
            if fnmatch.fnmatchcase(name, pattern) and self.holds(condition):
                return condition, reason
        return None
