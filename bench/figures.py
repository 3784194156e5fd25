#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""make figures: draws build/bench/results.json (and fib.json, when there) as SVG and PNG with
gnuplot, and writes build/bench/report.html, which puts them beside what the architecture's
publication reports."""
import html
import json
import os
import subprocess
import sys

import devices

OUT = os.path.join(devices.BENCH, "figures")

# Ueno et al. 2022, 40 GbE SmartNICs; ratios of Wr to DPDK l3fwd in 4in-4out. Reported, not measured
# here.
PUBLISHED = [("Wr ÷ l3fwd, 64 B, 4in-4out", 3.44), ("Wr ÷ l3fwd, 1518 B, 4in-4out", 2.32)]


def gnuplot(name, title, body, files):
    """One plot in both formats; `files`: data-file name to lines of text."""
    for file_name, lines in files.items():
        with open(os.path.join(OUT, file_name), "w") as out:
            out.write("\n".join(lines) + "\n")
    for terminal, suffix in (("svg size 800,500 dynamic background 'white'", "svg"),
                             ("pngcairo size 800,500", "png")):
        script = "set terminal %s\nset output '%s.%s'\nset title \"%s\"\nset grid\n%s\n" % (
            terminal, name, suffix, title, body)
        subprocess.run(["gnuplot"], input=script, text=True, check=True, cwd=OUT)
    for file_name in files:
        os.unlink(os.path.join(OUT, file_name))


def label(row):
    """The line that a row belongs to: of a peer's lookups, roles and rings the best counts, at each
    point."""
    name = row["dut"]
    if name.startswith("l3fwd"):
        return "l3fwd, zero-copy" if "zero-copy" in name else "l3fwd, copying"
    if name.startswith("testpmd"):
        return "testpmd (fixed ports)"
    if name.startswith("wire"):
        return "the tester itself"
    return name + (" " + row["method"] if row["method"] != "-" else "")


def curves(files, x, y, using="1:2"):
    return "plot " + ", ".join("'%s' using %s with linespoints title \"%s\"" % (name, using, title)
                               for name, title in files)


def throughput_figures(result):
    drawn = []
    rows = [r for r in result["throughput"] if r["link"] == "memif"]
    for pattern in dict.fromkeys(r["pattern"] for r in rows):
        files, titles = {}, []
        for number, name in enumerate(dict.fromkeys(label(r) for r in rows if r["pattern"] ==
                                                    pattern)):
            points = {}
            for r in rows:
                if r["pattern"] == pattern and label(r) == name:
                    points[r["frame_bytes"]] = max(r["mpps"], points.get(r["frame_bytes"], 0.0))
            files["d%d" % number] = ["%d %f" % p for p in sorted(points.items())]
            titles.append(("d%d" % number, name))
        points = sorted((r["frame_bytes"], r["copy_loop_mpps"]) for r in result["limit"]
                        if r["pattern"] == pattern)
        if points:
            files["limit"] = ["%d %f" % p for p in points]
            titles.append(("limit", "copy loop (limit)"))
        name = "throughput-" + pattern
        gnuplot(name, "Throughput over memif, %s (%s)" % (pattern, result["machine"]["processor"]),
                "set xlabel 'frame size, bytes with FCS'\nset ylabel 'Mpps'\nset yrange [0:*]\n"
                "set logscale x 2\nset xtics (64,128,256,512,1024,'' 1280,1518)\nset key outside "
                "right\n" +
                curves(titles, "size", "Mpps"), files)
        drawn.append(name)
    return drawn


def latency_figures(result):
    drawn = []
    for number, condition in enumerate(dict.fromkeys(r["condition"] for r in result["latency"])):
        files, titles = {}, []
        best = {}
        for row in result["latency"]:
            if row["condition"] == condition and row.get("cdf"):
                if label(row) not in best or row["p99_ns"] < best[label(row)]["p99_ns"]:
                    best[label(row)] = row
        for title, row in best.items():
            name = "d%d" % len(files)
            files[name] = ["%f %f" % (ns / 1000, fraction) for ns, fraction in row["cdf"]]
            titles.append((name, title))
        if not files:
            continue
        name = "latency-%d" % number
        gnuplot(name, "One-way latency, 1in-1out, %s" % condition,
                "set xlabel 'µs'\nset ylabel 'fraction of packets'\nset logscale x\nset yrange "
                "[0:1]\n"
                "set key outside right\n" + curves(titles, "us", "cdf").replace(
                    "linespoints", "lines"), files)
        drawn.append(name)
    return drawn


def table_figure():
    path = os.path.join(devices.BENCH, "fib.json")
    if not os.path.exists(path):
        return []
    with open(path) as f:
        sizes = json.load(f).get("sizes", [])
    files, titles = {}, []
    for table in dict.fromkeys(s["table"] for s in sizes):
        name = "d%d" % len(files)
        files[name] = ["%d %f" % (s["routes"], s["bytes_median"] / 2**20)
                       for s in sorted(sizes, key=lambda s: s["routes"]) if s["table"] == table]
        titles.append((name, table))
    if not files:
        return []
    gnuplot("table-size", "Image of the table against number of routes",
            "set xlabel 'routes'\nset ylabel 'MiB'\nset logscale xy\nset key outside right\n" +
            curves(titles, "routes",
                   "MiB") + ", 4 title '4 MiB' with lines dt 2, 6 title '6 MiB' with lines dt 2",
            files)
    return ["table-size"]


def best(result, prefix, method, pattern, size):
    found = [r["mpps"] for r in result["throughput"] if r["link"] == "memif" and r["routed"] and
             r["dut"].startswith(prefix) and r["method"] == method and r["pattern"] == pattern and
             r["frame_bytes"] == size]
    return max(found) if found else None


def report(result, drawn):
    lines = ["<!doctype html><meta charset=utf-8><title>p2pnic: measurements</title>",
             "<style>body{font:15px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em "
             ".8em;text-align:right}"
             "img{max-width:100%}</style>", "<h1>Measurements</h1>",
             "<p>%s, %d processors%s, kernel %s. Soft NICs are software: the engine uses the "
             "processor that a NIC's "
             "own would be. Medians of %d and more alternating runs.</p>" % (
                 html.escape(result["machine"]["processor"]), result["machine"]["processors"],
                 ", virtual" if result["machine"]["virtual"] else "",
                 html.escape(result["machine"]["kernel"]),
                 min([r["runs"] for r in result["throughput"]] or [0]))]
    lines.append("<h2>Beside the published curves</h2><p>The absolute numbers of the publication "
                 "are of 40 GbE SmartNICs "
                 "and belong in no column with these; the ratios, and that they are largest at "
                 "small frames with many "
                 "flows, are the shape to compare.</p><table><tr><th>ratio<th>published<th>here")
    for (text, published), size in zip(PUBLISHED, (64, 1518)):
        ours, other = (best(result, "p2pnic", "wr", "4in-4out", size),
                       best(result, "l3fwd", "-", "4in-4out", size))
        lines.append("<tr><td>%s<td>%.2f<td>%s" % (text, published, "%.2f" % (ours / other) if ours
                                                   and other else "-"))
    lines.append("</table>")
    for name in drawn:
        lines.append('<p><img src="figures/%s.svg" alt="%s">' % (name, name))
    if result.get("notes"):
        lines.append("<h2>Refused and skipped</h2><ul>" +
                     "".join("<li>" + html.escape(n) for n in result["notes"]) + "</ul>")
    with open(os.path.join(devices.BENCH, "report.html"), "w") as out:
        out.write("\n".join(lines) + "\n")


def main():
    path = os.path.join(devices.BENCH, "results.json")
    if not os.path.exists(path):
        sys.exit("figures: no %s yet; run `make bench` or `make bench-quick` first" %
                 os.path.relpath(path))
    with open(path) as f:
        result = json.load(f)
    os.makedirs(OUT, exist_ok=True)
    drawn = throughput_figures(result) + latency_figures(result) + table_figure()
    report(result, drawn)
    print("figures: %d drawn, build/bench/figures/*.svg and .png; build/bench/report.html" %
          len(drawn))


if __name__ == "__main__":
    main()
