#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""make bench, make bench-quick: devices beside each other on the same links, run in turn (A B A
B…).

Writes build/bench/results.json, part by part (bench/results.py), and prints tables. Medians are
quoted, with spread; a run whose work differs is refused. One processor under test, the tester on
another. docs/measurements.md tells how to read it.
"""
import argparse
import os
import signal
import statistics
import sys
import time

import cost
import devices
import ipv6
import ipv6_tables
import jumbo
import measure
import results
import standing
import tables
import veth

SIZES = [64, 128, 256, 512, 1024, 1280, 1518]
PATTERNS = ["1in-1out", "2in-2out", "2in-2out-mix", "4in-4out", "4in-4out-mix"]
QUICK_SIZES = [64, 1518]
QUICK_PATTERNS = ["1in-1out", "4in-4out"]
QUICK_SECONDS = 130  # for throughput, of three minutes
PORTS = {"1in-1out": 2}  # all others: 4
WIRE_GBPS = 40.0  # what "quarter" and "full" of the latency conditions refer to


def wire_pps(size, gbps=WIRE_GBPS):
    return gbps * 1e9 / 8 / (size + 20)


def memif_devices(full):
    routed = [devices.P2pnic(m) for m in ("wr", "rd", "hy", "bn")]
    # At its best: which lookup, role and size of ring that is depends on the pattern and the
    # frames.
    routed += [devices.L3fwd(lookup, role, zero, rsize) for lookup in (
        ("lpm", "fib") if full else ("lpm",))
               for role, zero in (("server", False), ("client", True))
               for rsize in (devices.RSIZE, devices.NIC_RSIZE)]
    fixed = [devices.Testpmd("io"), devices.Testpmd("io", "client", True)]
    if full:
        routed += [devices.L3fwd("lpm", "client"), devices.L3fwdGraph(rsize=devices.RSIZE),
                   devices.L3fwdGraph("client", True)]
        fixed += [devices.Testpmd("mac")]
    # The copy loop has the rings of the NICs; a wire for each role and size of ring: the tester's
    # own maximum.
    loops = [devices.Loop("copy", rsize=devices.NIC_RSIZE),
             devices.Loop("wire", rsize=devices.NIC_RSIZE),
             devices.Loop("wire")] + [devices.Loop("wire", "server", r) for r in (
                 devices.RSIZE, devices.NIC_RSIZE)]
    return routed + fixed + loops


class Samples:
    """All runs of one device: (pattern, size) to a list of the tester's results. Rates are those of
    measure.rate, and only of runs with near windows, if there are such; else with busy ones, else
    with far ones."""

    def __init__(self):
        self.rows = {}

    def add(self, run):
        self.rows.setdefault((run["pattern"], run["frame_bytes"]), []).append(run["run"])

    def rates(self, key):
        """([Mpps of a run], kind of their windows)"""
        rates = [measure.rate(r) for r in self.rows.get(key, [])]
        for kind in measure.KINDS:
            some = [mpps for mpps, of in rates if of == kind]
            if some:
                return some, kind
        return [], None

    def median(self, key):
        rates, _ = self.rates(key)
        return statistics.median(rates) if rates else 0.0

    def summary(self, key):
        """What every row says of its rates."""
        runs, (rates, kind) = self.rows[key], self.rates(key)
        middle = statistics.median(rates) if rates else None

        def median_of(what):
            seen = [r[what]["mpps"] for r in runs if r[what]["windows"] >= measure.WINDOWS_MIN]
            return statistics.median(seen) if seen else None

        return {"mpps": middle, "gbps": middle * (key[1] * 8) / 1e3 if rates else None,
                "kind": kind, "best_mpps": max(r["near"]["best_mpps"] for r in runs),
                "mean_mpps": statistics.median(r["mpps"] for r in runs),
                "busy_mpps": median_of("busy"), "far_mpps": median_of("far"),
                "windows": sum(r[kind]["windows"] for r in runs) if kind else 0,
                "lost": sum(r["lost"] for r in runs), "sent": sum(r["sent"] for r in runs),
                "runs": len(rates), "rates": rates,
                "spread": (max(rates) - min(rates)) / middle if middle else 0.0}


def throughput(all_devices, patterns, sizes, rounds, settings, until, note):
    """Rounds of all devices; then up to as many more of what has no near window yet. until: no
    round begins that would end later than this, by the length of the last one."""
    samples = {d: Samples() for d in all_devices}
    for number in range(2 * rounds):
        begin = time.monotonic()
        for device in all_devices:
            for ports in (2, 4):
                group = [p for p in patterns if PORTS.get(p, 4) == ports and
                         (device.patterns is None or p in device.patterns)]
                again, missing = sizes, {}
                if number >= rounds:
                    missing = {(p, s): samples[device].rates((p, s))[1]
                               for p in group for s in sizes}
                    missing = {key: kind for key, kind in missing.items() if kind != "near"}
                    group = [p for p in group if p in [m[0] for m in missing]]
                    again = [s for s in sizes if s in [m[1] for m in missing]]
                if not group or (number >= rounds and until and time.monotonic() > until):
                    continue
                measure.progress(measure.turn(number, rounds, device, "%d ports" % ports,
                                              list(missing.values())))
                try:
                    for run in measure.run_checked(device, ports, group, again, settings):
                        samples[device].add(run)
                except measure.Refused as why:
                    note("refused: %s" % why)
        if number < rounds and until and 2 * time.monotonic() - begin > until:
            break
    return samples


def throughput_rows(samples):
    wires = {(d.role, d.rsize): s for d, s in samples.items() if d.name.startswith("wire")}
    rows, limit = [], []
    for device, sample in samples.items():
        for pattern, size in sample.rows:
            summary = sample.summary((pattern, size))
            if not summary["runs"]:
                continue
            if device.name.startswith("copy loop"):
                limit.append({"frame_bytes": size, "pattern": pattern,
                              "copy_loop_mpps": summary.pop("mpps"), **summary})
                continue
            wire = wires.get((device.role, device.rsize))
            rows.append({"dut": device.name, "method": device.method, "link": device.link,
                         "pattern": pattern, "routed": device.mode == "routed", "frame_bytes": size,
                         **summary, "tester_max_mpps": wire.median((pattern, size)) if wire
                         else None})
    return rows, limit


def best(rows, key, dut, *methods):
    """The row with the highest rate (standing.choose), or None. dut: the name without role and
    rings."""
    found = [r for r in rows if r["dut"].split()[0] == dut and
             r["method"] in (methods or ("-",)) and
             (r["pattern"], r["frame_bytes"]) == key and r["link"] == "memif" and r["routed"]]
    return max(found, key=lambda r: r["mpps"], default=None)


CONDITIONS = [("64 light", 64, 10e3), ("64 quarter", 64, wire_pps(64) / 4),
              ("1518 light", 1518, 10e3),
              ("1518 full", 1518, wire_pps(1518))]


def latency(all_devices, rows, rounds, settings, note):
    """One way, 1in-1out. `half` is half of what the best l3fwd forwards, for every device."""
    conditions = list(CONDITIONS)
    reference = best(rows, ("1in-1out", 64), "l3fwd")
    if reference:
        conditions.append(("64 half of l3fwd", 64, reference["mpps"] * 1e6 / 2))
    found, out = {}, []
    for number in range(rounds):
        for device in all_devices:
            measure.progress(measure.turn(number, rounds, device))
            for name, size, rate in conditions:
                extra = ["-r", str(int(rate))]
                extra += ["-l", "1", "-c", "header"] if rate < 1e5 else [
                    "-l", "4", "-c", "header:8"]
                try:
                    run = measure.run_checked(device, 2, ["1in-1out"], [size], settings,
                                              extra)[0]["run"]
                    found.setdefault((device, name), []).append(run)
                except measure.Refused as why:
                    note("refused: latency: %s" % why)
    for (device, name), runs in found.items():
        runs = [r for r in runs if "latency" in r]
        if not runs:
            continue
        runs.sort(key=lambda r: r["latency"]["p99_ns"])
        middle = runs[len(runs) // 2]
        row = {"dut": device.name, "method": device.method, "condition": name,
               "mpps": middle["mpps"], "lost": middle["lost"], "not_taken": middle["refused"],
               "runs": len(runs)}
        row.update({k: v for k, v in middle["latency"].items() if k != "count"})
        # A stall of the host's is in one window; the median window has none.
        windows = [r["near"] for r in runs if "p99_ns" in r["near"]]
        for what in ("p50_ns", "p99_ns"):
            row["window_" + what] = statistics.median(w[what] for w in windows) if windows else None
        out.append(row)
    return out


def processors(all_devices, settings, note):
    """CPU time of the device's processes, idle and at full load, in percent of one processor."""
    out = []
    for device in all_devices:
        for load in ("idle", "full"):
            measure.progress("%s, %s" % (device.label(), load))
            directory = devices.prepare_directory()
            run = devices.Run(directory, 2, settings.device_cpu)
            try:
                used = measure.cpu_of_load(device, run, load, settings)
                out.append({"dut": device.name, "method": device.method, "load": load,
                            "host_percent": used[0], "engine_percent": used[1]})
            except measure.Refused as why:
                note("refused: cpu: %s" % why)
            finally:
                measure.sweep(directory)
    return out


def scale(device, settings, rounds, note):
    """All packets forwarded by one processor: 16 NICs beside 2, both ways between pairs; the copy
    loop says what the link and the processor's caches leave of it."""
    out = []
    for ports, pattern in ((2, "0>1,1>0"), (16, "16in-16out")):
        samples = Samples()
        for _ in range(rounds):
            try:
                samples.add(measure.run_near(device, ports, pattern, 64, settings))
            except measure.Refused as why:
                note("refused: scale: %s" % why)
        if samples.rows:
            out.append({"dut": device.name, "method": device.method, "nics": ports,
                        "frame_bytes": 64, **samples.summary((pattern, 64))})
    return out


def ratio(a, b, what):
    """~: of windows of different kinds."""
    if not a or not b or not b[what]:
        return "-"
    return ("~" if a["kind"] != b["kind"] else "") + "%.2f" % (a[what] / b[what])


def print_pattern(pattern, rows, limit):
    """Rates, and ratios of medians and of best windows, by frame size. b, f: there were only busy,
    far windows."""
    rows = [r for r in rows if r["pattern"] == pattern]
    copies = {r["frame_bytes"]: {**r, "mpps": r["copy_loop_mpps"]} for r in limit if r["pattern"] ==
              pattern}
    keys = [(pattern, size) for size in sorted({r["frame_bytes"] for r in rows})]
    print("\n%-27s%s" % (pattern + ", Mpps", "".join("%14s" % ("%d B" % size) for _, size in keys)))
    for name in dict.fromkeys((r["dut"], r["method"]) for r in rows):
        mine = {r["frame_bytes"]: r for r in rows if (r["dut"], r["method"]) == name}
        cells = ["%.2f%s ±%.0f%%" % (mine[size]["mpps"], measure.MARK[mine[size]["kind"]],
                                     50 * mine[size]["spread"])
                 if size in mine else "" for _, size in keys]
        print("%-27s%s" % (name[0] + (" " + name[1] if name[1] != "-" else ""),
                           "".join("%14s" % c for c in cells)))
    if copies:
        cells = ["%.2f%s" % (copies[size]["mpps"], measure.MARK[copies[size]["kind"]])
                 if size in copies else "" for _, size in keys]
        print("%-27s%s" % ("copy loop", "".join("%14s" % c for c in cells)))
    if not any(best(rows, key, "p2pnic", "wr", "rd", "hy") for key in keys):
        return

    def method(*names):
        return lambda k: best(rows, k, "p2pnic", *names)

    def l3fwd(k):
        return best(rows, k, "l3fwd")

    def copying(k):
        return best([r for r in rows if " server" in r["dut"]], k, "l3fwd")

    for what, title in (("mpps", ""), ("best_mpps", ", best")):
        for text, ours, other in (
                ("best method / l3fwd", method("wr", "rd", "hy"), l3fwd),
                ("Hy / better of Wr, Rd", method("hy"), method("wr", "rd")),
                ("Wr / l3fwd", method("wr"), l3fwd),
                ("Wr / l3fwd server", method("wr"), copying),
                ("Wr / copy loop", method("wr"), lambda k: copies.get(k[1])),
                ("Wr / Bn", method("wr"), method("bn")),
                ("Wr / Rd", method("wr"), method("rd"))):
            print("%-27s%s" % (text + title,
                               "".join("%14s" % ratio(ours(k), other(k), what) for k in keys)))


def print_tables(result):
    rows, limit = result["throughput"], result["limit"]
    memif = [r for r in rows if r["link"] == "memif"]
    for pattern in PATTERNS:
        if any(r["pattern"] == pattern for r in memif):
            print_pattern(pattern, memif, limit)
    for r in rows:
        if r["link"] == "veth":
            print("veth %-24s %s %d B: %.3f Mpps (tester %.3f)" % (
                r["dut"] + " " + r["method"], r["pattern"], r["frame_bytes"], r["mpps"],
                r["tester_max_mpps"] or 0))
    for r in result["latency"]:
        print("latency %-26s %-16s p50 %d p90 %d p99 %d p99.9 %d ns, median window's p99 %s, lost "
              "%d, not taken by the link in time %d" % (
            r["dut"] + " " + r["method"], r["condition"], r["p50_ns"], r["p90_ns"], r["p99_ns"],
            r["p999_ns"], r["window_p99_ns"] or "-", r["lost"], r["not_taken"]))
    for r in result["cpu"]:
        print("cpu %-26s %s: host %.1f %%, engines %.1f %% of a processor" % (
            r["dut"] + " " + r["method"], r["load"], r["host_percent"], r["engine_percent"]))
    for r in result["scale"]:
        print("one processor, %2d NICs: %s %s %.2f Mpps" % (
            r["nics"], r["dut"], r["method"], r["mpps"] or 0))
    tables.print_ratios(result["tables"])
    ipv6.print_rows(result["ipv6"], best, ratio)
    ipv6_tables.print_rows(result["ipv6_tables"], best, ratio)
    jumbo.print_rows(result["jumbo"], best, ratio)
    cost.print_rows(result["cost"], ratio)
    print("%s\n\n%s\n" % (standing.markdown(result), standing.LEGEND))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="64 and 1518 B of 1in-1out and 4in-4out")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--parts", help="these alone, comma between; the others stay as OUTPUT has "
                        "them: " + ", ".join(results.PARTS))
    parser.add_argument("--only", help="devices whose name contains one of these words, comma "
                        "between; written to only.json unless --output is given")
    parser.add_argument("--output", help="results.json in build/bench")
    arguments = parser.parse_args()
    parts = results.QUICK_PARTS if arguments.quick else results.PARTS
    if arguments.parts is not None:
        parts = results.parts_of(arguments.parts)
    output = arguments.output or os.path.join(
        devices.BENCH, "only.json" if arguments.only else "results.json")
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench: needs two processors, one for the device and one for the tester")

    # Ended from outside it still stops devices and gives back pages.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by a signal"))
    with devices.HugePages(512):
        if arguments.parts is not None and not arguments.only:
            result = results.to_complete(output, arguments.quick)
        else:
            result = results.new(arguments.quick)
            results.set_aside(output)
        bench(arguments, parts, result, output)
    print_tables(result)
    for text in results.notes_of(result):
        print(text)
    print("\n%s; %s; written to %s" % (result["machine"]["processor"], results.durations(result),
                                      os.path.relpath(output)))


def bench(arguments, parts, result, output):
    """Measures the parts, and writes the results after each."""
    def wanted(device):
        return not arguments.only or any(w in device.label() for w in arguments.only.split(","))

    settings, quick = measure.Settings(), arguments.quick
    few = 1 if quick else arguments.rounds
    chosen, skipped = [], []
    for device in filter(wanted, memif_devices(not quick)):
        why = device.available()
        if why:
            skipped.append("skipped: %s %s: %s" % (device.name, device.method, why))
        else:
            chosen.append(device)
    routed = [d for d in chosen if d.mode == "routed"]
    writing = [d for d in chosen if d.method == "wr"]

    def measure_throughput(rounds, note):
        samples = throughput(chosen, QUICK_PATTERNS if quick else PATTERNS,
                             QUICK_SIZES if quick else SIZES, rounds, settings,
                             time.monotonic() + QUICK_SECONDS if quick else None, note)
        rows, limit = throughput_rows(samples)
        return {"throughput": rows, "limit": limit}

    # A part to the rounds that it takes, and to what measures it.
    ways = {
        "throughput": (arguments.rounds, measure_throughput),
        "latency": (arguments.rounds, lambda rounds, note: {"latency": latency(
            routed, result["throughput"], rounds, settings, note)}),
        "cpu": (1, lambda rounds, note: {"cpu": processors(
            [d for d in chosen if d.name in ("p2pnic", "l3fwd lpm server %d" % (
                1 << devices.RSIZE))], settings, note)}),
        "scale": (arguments.rounds, lambda rounds, note: {"scale": [
            row for d in chosen if d in writing or d.name == "copy loop"
            for row in scale(d, settings, rounds, note)]}),
        "tables": (few, lambda rounds, note: {"tables": tables.rows(
            Samples, rounds, settings, note) if writing else []}),
        "ipv6": (few, lambda rounds, note: {"ipv6": ipv6.rows(
            Samples, quick, rounds, settings, note)}),
        "ipv6_tables": (arguments.rounds, lambda rounds, note: {"ipv6_tables": ipv6_tables.rows(
            Samples, rounds, settings, note)}),
        "jumbo": (arguments.rounds, lambda rounds, note: {"jumbo": jumbo.rows(
            Samples, rounds, settings, note)}),
        "cost": (arguments.rounds, lambda rounds, note: {"cost": cost.rows(
            Samples, rounds, settings, note)}),
        "veth": (few, lambda rounds, note: {"throughput": veth.rows(
            Samples, wanted, quick, rounds, settings, note)}),
    }
    measure.find_near(settings)
    for part in parts:
        begin, (rounds, way) = time.monotonic(), ways[part]
        notes = list(skipped) if part in ("throughput", "latency", "cpu", "scale") else []

        def note(text, notes=notes):
            if text not in notes:
                notes.append(text)

        measure.progress.part = part
        rows = way(rounds, note)
        results.put(result, part, rows, time.monotonic() - begin, rounds, notes)
        results.write(result, output)
        measure.progress("%d s" % result["parts"][part]["seconds"])
        measure.progress()


if __name__ == "__main__":
    main()
