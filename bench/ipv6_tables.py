# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 forwarding with tables: p2pnic Wr with the Internet's, and beside l3fwd with what that
holds.

4in-4out. `large` is the newest real table beside the source, else that of `p2pnic fib synthesize`,
and four routes for the rest of 2000::/3, so that every packet has one; `four` are those alone.
l3fwd's tables hold 1024 rules (LPM) of IPv6: `small`, for both devices, has each Nth prefix of
`large`, so that lengths are the real ones'.

Destinations, 65,536 in turn: uniform (in 2000::/3), covered (a random route's, random within) or
zipf (of 16,384 flows that are covered, the kth as often as 1/k says).
"""
import glob
import ipaddress
import lzma
import os
import random
import subprocess

import devices
import ipv6
import measure

PATTERN, PORTS = "4in-4out", 4
SIZES = (64, 1518)
DESTINATIONS = 65536
FLOWS = 16384
SMALL = 1000
REST = ["2000::/5", "2800::/5", "3000::/5", "3800::/5"]
FOLDER = os.path.join(devices.BENCH, "tables")
REAL = os.path.join(os.path.dirname(devices.ROOT), "shared", "routes", "ipv6-*.txt.xz")


def prefixes():
    """(list of prefixes of at most 48 bits within 2000::/3, where they are from)"""
    real = sorted(glob.glob(REAL))
    if real:
        with lzma.open(real[-1], "rt") as table:
            lines, source = table.readlines(), os.path.basename(real[-1])
    else:
        lines = subprocess.run([devices.P2PNIC, "fib", "synthesize"], stdout=subprocess.PIPE,
                               text=True, check=True).stdout.splitlines()
        source = "synthetic (p2pnic fib synthesize)"
    found = [line.split()[0] for line in lines if line[0] in "23" and ":" in line]
    return [p for p in found if int(p.rpartition("/")[2]) <= 48 and p not in REST], source


def exit_of(number):
    """Of the table's route with that number."""
    return number * 2654435761 % (1 << 32) >> 7 & PORTS - 1


def write_table(name, routes):
    """A file for `route_files`: REST and these."""
    path = os.path.join(FOLDER, "ipv6-%s.txt" % name)
    with open(path, "w") as out:
        for number, prefix in enumerate(REST):
            out.write("%s fd00:%x::10\n" % (prefix, number))
        for number, prefix in enumerate(routes):
            out.write("%s fd00:%x::10\n" % (prefix, exit_of(number)))
    return path


def inside(prefix, rng):
    """A /48 at random within it."""
    network, length = prefix.split("/")
    bits = int(ipaddress.IPv6Address(network)) >> 80 | rng.getrandbits(48) >> int(length)
    return "%s/48" % ipaddress.IPv6Address(bits << 80)


def write_destinations(name, routes):
    """{traffic: file of prefixes that the tester draws from}"""
    rng = random.Random(1)
    flows = [inside(rng.choice(routes), rng) for _ in range(FLOWS)]
    weights = [1 / (k + 1) for k in range(FLOWS)]
    lists = {"uniform": ["2000::/3"], "covered": routes,
             "zipf": rng.choices(flows, weights, k=4 * DESTINATIONS)}
    paths = {}
    for traffic, lines in lists.items():
        paths[traffic] = os.path.join(FOLDER, "ipv6-%s-%s.txt" % (name, traffic))
        with open(paths[traffic], "w") as out:
            out.write("\n".join(lines) + "\n")
    return paths


class P2pnic(ipv6.P2pnic):
    def __init__(self, file):
        super().__init__("wr")
        self.file = file

    def configuration(self, run):
        text = super().configuration(run).partition("routes:\n")[0]
        return text + "route_files:\n  - {file: %s}\n" % self.file


class L3fwd(ipv6.L3fwd):
    def __init__(self, file, *words):
        super().__init__(*words)
        self.file = file

    def rules(self, run):
        path = os.path.join(run.directory, "ipv6.cfg")
        with open(self.file) as routes, open(path, "w") as out:
            for line in routes:
                prefix, gateway = line.split()
                network, length = prefix.split("/")
                out.write("R%s/%s %d\n" % (ipaddress.IPv6Address(network).exploded, length,
                                           int(gateway.split(":")[1], 16)))
        return devices.L3fwd.rules(self, run)[0], path


def rows(samples_of, rounds, settings, note):
    """samples_of: bench.Samples"""
    os.makedirs(FOLDER, exist_ok=True)
    large, source = prefixes()
    small = large[::max(1, len(large) // SMALL)][:SMALL]
    note("ipv6 tables: %s, %d IPv6 routes; for l3fwd, which holds 1024, %d of them" % (
        source, len(large), len(small)))
    to = {"large": write_destinations("large", large), "small": write_destinations("small", small)}
    chosen = [("four", "large", P2pnic(write_table("four", []))),
              ("large", "large", P2pnic(write_table("large", large)))]
    file = write_table("small", small)
    chosen += [("small", "small", d) for d in [P2pnic(file)] + [
        L3fwd(file, lookup, role, zero, devices.NIC_RSIZE)
        for lookup in ("lpm", "fib")
        for role, zero in (("server", False), ("client", True))]]
    samples = {}
    for table, drawn, device in chosen:
        why = device.available()
        if why:
            note("skipped: ipv6 tables: %s: %s" % (device.label(), why))
            continue
        for traffic, path in to[drawn].items():
            samples[table, traffic, device] = samples_of(), path
    measure.in_turn([(mine, device, PORTS, PATTERN, ["-c", "full:16", "--ipv6", "-d", "%s:%d" % (
        path, DESTINATIONS)], "%s, %s" % (table, traffic))
                     for (table, traffic, device), (mine, path) in samples.items()],
                    SIZES, rounds, settings, note)
    return [{"dut": device.name, "method": device.method, "link": "memif", "routed": True,
             "table": table, "traffic": traffic, "pattern": PATTERN, "frame_bytes": size,
             **mine.summary((PATTERN, size))}
            for (table, traffic, device), (mine, _) in samples.items() for _, size in mine.rows
            if mine.rates((PATTERN, size))[0]]


def print_rows(result, best, ratio):
    """best, ratio: bench.py's"""
    for traffic, size in dict.fromkeys((r["traffic"], r["frame_bytes"]) for r in result):
        found = {}
        for r in result:
            if (r["traffic"], r["frame_bytes"]) == (traffic, size):
                found.setdefault(r["table"], []).append(r)
        key = (PATTERN, size)
        ours = {t: best(rows_, key, "p2pnic", "wr") for t, rows_ in found.items()}
        theirs = best(found.get("small", []), key, "l3fwd")
        text = ["%s %.2f (%s)" % (t, r["mpps"], r["kind"]) for t, r in ours.items() if r]
        text += ["%s %.2f (%s)" % (theirs["dut"], theirs["mpps"], theirs["kind"])] if theirs else []
        print("ipv6 tables: %-7s %4d B, Mpps: %s; large / four %s, small: Wr / l3fwd %s" % (
            traffic, size, ", ".join(text), ratio(ours.get("large"), ours.get("four"), "mpps"),
            ratio(ours.get("small"), theirs, "mpps")))
