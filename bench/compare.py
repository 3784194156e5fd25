#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""make bench-compare BASE=RESULTS|COMMIT: is this tree slower than BASE?

With a file of results: its rows beside those of another (build/bench/results.json). With a commit:
it is built in a folder of its own, and both builds' p2pnic are run in turn, opposite to one tester.
Per row of p2pnic's: the ratio, new to base, with an interval of 95 %, and a verdict. slower: the
ratio is below 0.97 and its interval wholly below 1. as fast, faster: the interval is wholly above
0.97, above 1. undecided: neither. not judged: too few runs had windows of one kind. Ends with 1 if
a row is slower, with 2 if no row is decided.
"""
import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys

import devices
import measure
import origin
import results

LIMIT = 0.97
TAIL = 0.025  # on each side of an interval of 95 %
COVERAGE_MIN = 0.9  # what fewer runs leave of it; below that a row is not judged
PAIRED_KINDS = ("near", "busy")  # of windows (measure.KINDS); far ones say nothing of a program
BASES = os.path.join(devices.BENCH, "base")


def interval(values, counts):
    """(low, high, coverage), of no assumption but independence: the order statistics of `values`
    that a median (or shift) lies between. counts[k]: in how many of the equally likely cases k
    values are below it. Too few values for 95 %: their whole range, with what it covers. Conover,
    Practical Nonparametric Statistics, 3.2 (one sample) and 5.4 (two)."""
    values, total = sorted(values), sum(counts)
    k, tail = 0, counts[0]
    while k + 1 < len(values) / 2 and tail + counts[k + 1] <= TAIL * total:
        k += 1
        tail += counts[k]
    return values[k], values[-1 - k], max(0.0, 1 - 2 * tail / total)


def paired(ratios):
    """Of runs that followed each other: the sign test's interval. From six pairs on it has 95 %."""
    return (statistics.median(ratios),
            *interval(ratios, [math.comb(len(ratios), k) for k in range(len(ratios) + 1)]))


def rank_sums(a, b):
    """How many orders of a and b values have u pairs with the one before the other: by u, 0 to a×b
    (Mann and Whitney 1947, the recurrence of section 2)."""
    if not a or not b:
        return [1]
    out = [0] * (a * b + 1)
    for shift, part in ((b, rank_sums(a - 1, b)), (0, rank_sums(a, b - 1))):
        for u, n in enumerate(part):
            out[u + shift] += n
    return out


def unpaired(base, new):
    """Of two sets of runs: the ratio of medians, and the interval of Mann and Whitney's test. Three
    and three runs have 90 %, four and four 97 %."""
    return (statistics.median(new) / statistics.median(base),
            *interval([n / b for n in new for b in base], rank_sums(len(base), len(new))))


SLOWER, FASTER, AS_FAST, UNDECIDED, NOT_JUDGED = VERDICTS = (
    "slower", "faster", "as fast", "undecided", "not judged")


def verdict(ratio, low, high, coverage):
    if coverage < COVERAGE_MIN:
        return NOT_JUDGED
    if ratio < LIMIT and high < 1:
        return SLOWER
    if low < LIMIT:
        return UNDECIDED
    return FASTER if low > 1 else AS_FAST


def cells(ratio, low, high, coverage):
    if coverage < COVERAGE_MIN:
        return "%6.3f  too few runs for an interval" % ratio
    return "%6.3f  [%.3f, %.3f]  %2d %%" % (ratio, low, high, 100 * coverage)


def end(verdicts):
    """Says what came out. verdicts: {row: one of VERDICTS}, of p2pnic's rows."""
    def named(which):
        return [name for name, mine in verdicts.items() if mine == which]

    print("compare: %d rows of p2pnic: %s%s" % (len(verdicts), ", ".join(
        "%d %s" % (len(named(v)), v) for v in VERDICTS), "".join(
            "\n  slower: " + name for name in named(SLOWER))))
    if named(UNDECIDED) or named(NOT_JUDGED):
        print("compare: of undecided rows, and those not judged, nothing is known: repeat them on "
              "a quieter machine, or with more runs")
    if named(SLOWER):
        return 1
    return 0 if named(FASTER) or named(AS_FAST) else 2


# --- Two files ------------------------------------------------------------------------------------


def name_of(part, row):
    words = [row[k] for k in ("table", "traffic", "feature") if k in row]
    words += ["%d NICs" % row["nics"]] if "nics" in row else []
    words += ["buffers of %d B" % row["buffer_bytes"]] if "buffer_bytes" in row else []
    words += [row[k] for k in ("link", "pattern") if k in row] + ["%d B" % row["frame_bytes"]]
    return "%s%s %s, %s" % ("" if part == "throughput" else part + ": ", row["dut"], row["method"],
                            ", ".join(words))


def load(path):
    """(results, {name: row}) of all rows that are rates."""
    try:
        with open(path, encoding="utf8") as f:
            result = json.load(f)
        parts = [("throughput", result["throughput"] + results.copy_loops(
            {"limit": [], **result}))]
        parts += [(p, result.get(p, [])) for p in ("scale", "tables", "ipv6", "ipv6_tables",
                                                   "jumbo", "cost")]
        rows = {name_of(part, r): r for part, mine in parts for r in mine if r["mpps"]}
    except (OSError, ValueError, KeyError, TypeError) as why:
        sys.exit("compare: %s: no results: %s" % (path, why))
    return result, rows


def say_what_differs(base, new):
    """A ratio across other machines or compilers says little of the source."""
    for difference in origin.differences(base, new, ("date", "source", "build", "machine")):
        print("%-28s %s → %s" % difference)


def files(base_path, new_path):
    (base, base_rows), (new, new_rows) = load(base_path), load(new_path)
    say_what_differs(base, new)
    print("\n%-64s%8s%8s   ratio, interval" % ("Mpps", "base", "new"))
    verdicts = {}
    for name, a in base_rows.items():
        if name not in new_rows:
            continue
        b, mine = new_rows[name], NOT_JUDGED
        if a["kind"] != b["kind"]:
            text = "     ~  %s and %s windows" % (a["kind"], b["kind"])
        elif not a.get("rates") or not b.get("rates"):
            text = "%6.3f  no runs in the file" % (b["mpps"] / a["mpps"])
        else:
            figures = unpaired(a["rates"], b["rates"])
            text, mine = cells(*figures), verdict(*figures)
        if a["dut"].startswith("p2pnic"):
            verdicts[name] = mine
            text += "  " + mine
        print("%-64s%8.2f%8.2f  %s" % (name, a["mpps"], b["mpps"], text))
    return end(verdicts)


# --- Two builds -----------------------------------------------------------------------------------


class Build(devices.P2pnic):
    """p2pnic of a build of its own."""

    def __init__(self, method, name, program):
        super().__init__(method)
        self.program, self.name = program, "p2pnic " + name


def build_base(commit):
    """Path of the p2pnic of that commit, built as build/ is: same compiler, same options. It stays,
    for the next time."""
    folder = os.path.join(BASES, commit)
    program = os.path.join(folder, "build", "cli", "p2pnic")
    ours = origin.build()
    if not ours["compiler"]:
        sys.exit("compare: %s is not a build of Meson's; run: make build" %
                 os.path.relpath(devices.BUILD))
    steps = []
    if not os.path.exists(folder):
        # A folder that was removed by hand is still listed.
        steps += [["git", "worktree", "prune"],
                  ["git", "worktree", "add", "--quiet", "--detach", folder, commit]]
    setup = ["meson", "setup", os.path.join(folder, "build"), folder]
    if os.path.exists(os.path.join(folder, "build", "build.ninja")):
        setup.append("--reconfigure")
    for name, value in ours["options"].items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        setup.append("-D%s=%s" % (name, text))
    steps += [setup, ["ninja", "-C", os.path.join(folder, "build"), "--quiet", "cli/p2pnic"]]
    print("compare: building %s in %s" % (commit[:12], os.path.relpath(folder)), file=sys.stderr)
    for step in steps:
        done = subprocess.run(step, cwd=devices.ROOT, capture_output=True, text=True,
                              env={**os.environ, "CC": ours["compiler"]})
        if done.returncode:
            sys.exit("compare: %s\n%s" % (" ".join(step), (done.stdout + done.stderr)[-3000:]))
    return program


def enough(kinds):
    """(kind, its pairs): of the kind with most pairs; of as many, near ones."""
    return max(((k, kinds.get(k, [])) for k in PAIRED_KINDS), key=lambda k: len(k[1]))


def pairs(builds, groups, sizes, settings, rounds, note):
    """{(method, pattern, size): {kind of windows: [(base, new) Mpps of a pair]}}. The runs of a
    pair follow each other and change places; what has too few of a kind is repeated, up to as often
    again."""
    out, refusals = {}, {}
    for number in range(2 * rounds):
        for method, ports, patterns in groups:
            lacking = [(p, s) for p in patterns for s in sizes
                       if len(enough(out.get((method, p, s), {}))[1]) < rounds]
            if not lacking or refusals.get((method, ports), 0) > 1:
                continue
            why = ("pair %d of %d" % (number + 1, rounds) if number < rounds else
                   "again, %d rows lack pairs of like windows" % len(lacking))
            measure.progress("%s %s: %s" % (method, ", ".join(patterns), why))
            got = {}
            for name in ("base", "new") if number % 2 else ("new", "base"):
                device = builds[method, name]
                try:
                    runs = measure.run_checked(
                        device, ports, list(dict.fromkeys(p for p, _ in lacking)),
                        list(dict.fromkeys(s for _, s in lacking)), settings)
                except measure.Refused as refused:
                    note("refused: %s" % refused)
                    refusals[method, ports] = refusals.get((method, ports), 0) + 1
                    break
                got[name] = {(r["pattern"], r["frame_bytes"]): r["run"] for r in runs}
            for key in lacking if len(got) == 2 else []:
                base, new = got["base"][key], got["new"][key]
                for kind in PAIRED_KINDS:
                    if min(base[kind]["windows"], new[kind]["windows"]) >= measure.WINDOWS_MIN:
                        out.setdefault((method, *key), {}).setdefault(kind, []).append(
                            (base[kind]["mpps"], new[kind]["mpps"]))
    measure.progress()
    return out


def commits(base, arguments):
    program = build_base(base)
    ours = origin.source()
    settings = measure.Settings()
    methods, sizes = arguments.methods.split(","), [int(s) for s in arguments.sizes.split(",")]
    builds = {(m, name): Build(m, name, path) for m in methods
              for name, path in (("base", program), ("new", devices.P2PNIC))}
    patterns = arguments.patterns.split(",")
    groups = [(m, ports, some) for m in methods for ports, some in (
        (2, [p for p in patterns if p == "1in-1out"]),
        (4, [p for p in patterns if p != "1in-1out"])) if some]
    notes = []
    measure.find_near(settings)
    with devices.HugePages(512):
        found = pairs(builds, groups, sizes, settings, arguments.pairs,
                      lambda text: notes.append(text) if text not in notes else None)
    print("base %s, new %s%s; medians of pairs of runs" % (
        base[:12], (ours["commit"] or "-")[:12], " with changes" if ours["dirty"] else ""))
    print("%-30s%11s%8s%8s   ratio, interval" % ("Mpps", "pairs", "base", "new"))
    verdicts = {}
    for method, _, some in groups:
        for pattern in some:
            for size in sizes:
                kind, both = enough(found.get((method, pattern, size), {}))
                name = "%s, %s, %d B" % (method, pattern, size)
                verdicts[name] = NOT_JUDGED
                if not both:
                    print("%-30s%11s  no pair of runs had like windows  %s" % (name, 0, NOT_JUDGED))
                    continue
                figures = paired([new / old for old, new in both])
                verdicts[name] = verdict(*figures)
                print("%-30s%11s%8.2f%8.2f  %s  %s" % (
                    name, "%d %s" % (len(both), kind), statistics.median(b for b, _ in both),
                    statistics.median(n for _, n in both), cells(*figures), verdicts[name]))
    for text in notes:
        print(text)
    return end(verdicts)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="a file of results, or a commit")
    parser.add_argument("new", nargs="?", default=os.path.join(devices.BENCH, "results.json"),
                        help="beside a file: the other one (build/bench/results.json)")
    parser.add_argument("--pairs", type=int, default=6, help="of runs, beside a commit (6)")
    parser.add_argument("--methods", default="wr,rd,hy", help="comma between (wr,rd,hy)")
    parser.add_argument("--sizes", default="64,512,1518", help="of frames (64,512,1518)")
    parser.add_argument("--patterns", default="1in-1out,4in-4out", help="(1in-1out,4in-4out)")
    arguments = parser.parse_args()
    if os.path.isfile(arguments.base):
        return files(arguments.base, arguments.new)
    commit = origin.said("git", "rev-parse", "--verify", "--quiet", "--end-of-options",
                         arguments.base + "^{commit}")
    if not commit:
        sys.exit("compare: %s: neither a file nor a commit" % arguments.base)
    if (os.cpu_count() or 1) < 2:
        sys.exit("compare: needs two processors, one for p2pnic and one for the tester")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("compare: ended by a signal"))
    return commits(commit, arguments)


if __name__ == "__main__":
    sys.exit(main())
