# SPDX-License-Identifier: BSD-3-Clause
"""The full Internet table against four routes: the same NICs, the same random destinations, run in
turn.

The destinations lie inside the full table's prefixes, without those that no router forwards
(tester/prefixes.h); the four routes are quarters of the address space. So both forward every
packet, and only the table differs, and with it which packet leaves where: the four by the first two
bits of the address, the full table by the origin's AS number.
"""
import glob
import lzma
import os
import subprocess

import devices
import measure

SIZE, PORTS = 64, 4
# One NIC receives, and looks up in one table; four, each in its own: their tables together are
# larger than a second-level cache.
PATTERNS = ("4in-4out", "0>1+2+3")
DESTINATIONS = 65536
FOLDER = os.path.join(devices.BENCH, "tables")
REAL = os.path.join(os.path.dirname(devices.ROOT), "shared", "routes", "ipv4-*.txt.xz")


class Table(devices.P2pnic):
    """p2pnic Wr with other routes than those of the patterns."""

    def __init__(self, table, routes):
        super().__init__("wr")
        self.table, self.routes = table, routes

    def label(self):
        return "%s, %s table" % (super().label(), self.table)

    def configuration(self, run):
        return super().configuration(run).partition("routes:\n")[0] + self.routes


def gateways(ports):
    return ["10.0.%d.10" % p for p in range(ports)]


def full_table():
    """(path, where it is from): IPv4, PREFIX ASN; the newest real one that is there, else a
    synthetic one."""
    path = os.path.join(FOLDER, "full.txt")
    real = sorted(glob.glob(REAL))
    os.makedirs(FOLDER, exist_ok=True)
    with open(path, "w") as out:
        if real:
            with lzma.open(real[-1], "rt") as table:
                out.writelines(line for line in table if ":" not in line)
            return path, os.path.basename(real[-1])
        made = subprocess.run([devices.P2PNIC, "fib", "synthesize"], stdout=subprocess.PIPE,
                              text=True, check=True)
        out.writelines(line + "\n" for line in made.stdout.splitlines() if ":" not in line)
        return path, "synthetic (p2pnic fib synthesize)"


def forwardable(line):
    """Not 0/8, 127/8, multicast and above, nor among the networks of the NICs themselves."""
    first, length = int(line.split(".", 1)[0]), int(line.split()[0].rpartition("/")[2])
    return length >= 8 and first not in (0, 10, 127) and first < 224


def destinations(table):
    """(path, prefixes of the table): what the tester takes destinations from."""
    path, lines = os.path.join(FOLDER, "destinations.txt"), 0
    with open(table) as source, open(path, "w") as out:
        for line in source:
            if line[0].isdigit():
                lines += 1
                if forwardable(line):
                    out.write(line)
    return path, lines


def rows(samples_of, rounds, settings, note):
    """samples_of: bench.Samples"""
    path, source = full_table()
    picked, lines = destinations(path)
    via = gateways(PORTS)
    quarters = "".join("  - {prefix: %d.0.0.0/2, via: %s}\n" % (64 * p, via[p])
                       for p in range(PORTS))
    tables = [(Table("four", "routes:\n" + quarters), PORTS),
              (Table("full", "route_files:\n  - {file: %s, via: [%s]}\n" % (path, ", ".join(via))),
               lines)]
    note("tables: the full table is %s, %d IPv4 routes" % (source, lines))
    extra = ["-c", "full:16", "-d", "%s:%d" % (picked, DESTINATIONS)]
    samples = {(device, pattern): samples_of() for device, _ in tables for pattern in PATTERNS}
    for _ in range(rounds):
        for (device, pattern), mine in samples.items():
            try:
                mine.add(measure.run_near(device, PORTS, pattern, SIZE, settings, extra))
            except measure.Refused as why:
                note("refused: tables: %s table, %s: %s" % (device.table, pattern, why))
    routes = dict(tables)
    return [{"dut": device.name, "method": device.method, "table": device.table,
             "routes": routes[device], "destinations": DESTINATIONS, "pattern": pattern,
             "frame_bytes": SIZE, **mine.summary((pattern, SIZE))}
            for (device, pattern), mine in samples.items() if mine.rows]


def print_ratios(result):
    for pattern in PATTERNS:
        print_ratio([row for row in result if row["pattern"] == pattern])


def print_ratio(result):
    found = {row["table"]: row for row in result}
    if len(found) == 2 and not all(row["mpps"] for row in result):
        print("tables: no run with windows of one kind")
    elif len(found) == 2:
        full, four = found["full"], found["four"]
        print("tables: %s %s %s %d B, %d random destinations: %d routes %.2f Mpps, %d routes %.2f "
              "Mpps, ratio %s%.2f" % (
            full["dut"], full["method"], full["pattern"], full["frame_bytes"], full["destinations"],
            full["routes"], full["mpps"], four["routes"], four["mpps"],
            "~" if full["kind"] != four["kind"] else "", full["mpps"] / four["mpps"]))
