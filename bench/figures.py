#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""make figures, make bench-fib: every figure of the benchmarks. figures.py [FOLDER] draws FOLDER's
results.json and fib.json (build/bench; either may be missing) with gnuplot as SVG and PNG into
FOLDER/figures, and puts those of results.json into FOLDER/report.html, beside what the
architecture's publication reports.

A device has one colour in all figures. IPv4 and IPv6 share none, nor do links.
"""
import html
import json
import os
import subprocess
import sys

import devices
import measure
import results
import standing

# Ueno et al. 2022, 40 GbE SmartNICs; ratios of Wr to DPDK l3fwd in 4in-4out. Reported, not measured
# here.
PUBLISHED = [("Wr ÷ l3fwd, 64 B, 4in-4out", 3.44), ("Wr ÷ l3fwd, 1518 B, 4in-4out", 2.32)]


# (colour, point, dash, width). Okabe and Ito's colours, which the colour-blind tell apart too;
# dashes for what does not route, and for limits.
STYLES = {
    "p2pnic": ("#0072b2", 7, 1, 3),
    "p2pnic wr": ("#0072b2", 7, 1, 3),
    "p2pnic hy": ("#009e73", 9, 1, 2),
    "p2pnic rd": ("#56b4e9", 5, 1, 2),
    "p2pnic bn": ("#888888", 11, 1, 2),
    "p2pnic af_xdp wr": ("#0072b2", 7, 1, 3),
    "p2pnic af_packet wr": ("#0072b2", 6, 2, 2),
    "l3fwd, zero-copy": ("#d55e00", 7, 1, 2),
    "l3fwd, copying": ("#e69f00", 5, 1, 2),
    "l3fwd-graph, zero-copy": ("#d55e00", 9, 2, 2),
    "l3fwd-graph, copying": ("#e69f00", 9, 2, 2),
    "l3fwd af_xdp": ("#d55e00", 7, 1, 2),
    "linux forwarding": ("#8c564b", 5, 1, 2),
    "linux forwarding, gro": ("#8c564b", 7, 2, 2),
    "linux forwarding, unsteered": ("#8c564b", 9, 3, 2),
    "linux flowtable": ("#e69f00", 5, 1, 2),
    "xdp-forward": ("#cc79a7", 5, 1, 2),
    "xdp-forward, unsteered": ("#cc79a7", 9, 3, 2),
    "testpmd (fixed ports)": ("#cc79a7", 4, 2, 2),
    "copy loop": ("#000000", 6, 2, 1.5),
    "the tester itself": ("#000000", 8, 3, 1.5),
    "state-jump": ("#009e73", 5, 1, 2),
    "rte_fib-4B": ("#d55e00", 7, 1, 2),
    "rte_fib6-4B": ("#d55e00", 7, 1, 2),
    "rte_lpm": ("#e69f00", 5, 2, 3),
    "rte_lpm6": ("#e69f00", 5, 2, 3),
}
OTHER = ("#6a3d9a", "#b15928", "#33a02c", "#e31a1c")  # of what has no place above


def style(name, points=True):
    """gnuplot's words for a device's line."""
    if name not in STYLES:
        taken = sum(colour in OTHER for colour, *_ in STYLES.values())
        STYLES[name] = OTHER[taken % len(OTHER)], 13 - taken // len(OTHER), 1, 2
    colour, point, dash, width = STYLES[name]
    return "lc rgb '%s' dt %d lw %s" % (colour, dash, width) + (" pt %d" % point) * points


def gnuplot(folder, name, script, width=1000, height=560):
    """One figure in both formats; data are in the script."""
    for terminal, suffix in (("svg size %d,%d background 'white'", "svg"),
                             ("pngcairo size %d,%d", "png")):
        # Not enhanced: an underscore in a name is no subscript.
        text = "set encoding utf8\nset terminal %s noenhanced font 'sans,11'\n" \
            "set output '%s.%s'\n%s" % (terminal % (width, height), name, suffix, script)
        subprocess.run(["gnuplot"], input=text, text=True, check=True, cwd=folder)
    return name


def block(number, points):
    """A data block, $dN, of rows of numbers or words."""
    return "$d%d << EOD\n%s\nEOD\n" % (number, "\n".join(" ".join(map(str, p)) for p in points))


def extent(row):
    """(middle, least, most) Mpps of a row's runs."""
    middle = row["mpps"]
    if row.get("rates"):
        return middle, min(row["rates"]), max(row["rates"])
    return middle, middle * (1 - row["spread"] / 2), middle * (1 + row["spread"] / 2)


def ratios(lines):
    """{p2pnic's line: {size: (to the best peer that routes, whether both had windows of one
    kind)}}"""
    peers = [mine for name, mine in lines.items() if not name.startswith("p2pnic")]
    out = {}
    for name, mine in lines.items():
        for size, row in mine.items():
            beside = [p[size] for p in peers if size in p and p[size]["routed"]]
            if name.startswith("p2pnic") and beside:
                best_peer = max(beside, key=lambda r: r["mpps"])
                out.setdefault(name, {})[size] = (row["mpps"] / best_peer["mpps"],
                                                  row["kind"] == best_peer["kind"])
    return out


def rate_plots(lines, sizes, data):
    """gnuplot's plots of all lines, with the range of their runs; data: blocks so far."""
    plots, marks, known = [], [], list(STYLES)
    for name in sorted(lines, key=lambda n: known.index(n) if n in known else len(known)):
        rows = sorted(lines[name].items())
        plots.append('$d%d using 1:2:3:4 with yerrorlines %s title "%s"' % (
            len(data), style(name), name))
        data.append(block(len(data), [(sizes.index(size), *("%.4f" % mpps for mpps in extent(row)))
                                      for size, row in rows]))
        marks += [(sizes.index(size), "%.4f" % row["mpps"], measure.MARK[row["kind"]])
                  for size, row in rows if measure.MARK[row["kind"]]]
    if marks:
        plots.append("$d%d using 1:2:3 with labels offset 1,0.3 notitle" % len(data))
        data.append(block(len(data), marks))
    return plots


def ratio_plots(lines, sizes, data):
    """The same of p2pnic's ratios; at each size the best one is told in figures."""
    plots, best_of = [], {}
    for name, points in ratios(lines).items():
        plots.append("$d%d using 1:2 with linespoints %s notitle" % (len(data), style(name)))
        data.append(block(len(data), [(sizes.index(size), "%.3f" % ratio)
                                      for size, (ratio, _) in sorted(points.items())]))
        for size, point in points.items():
            best_of[size] = max(point, best_of.get(size, point))
    if plots:
        plots.append("$d%d using 1:2:3 with labels offset 0,0.8 notitle" % len(data))
        data.append(block(len(data), [
            (sizes.index(size), "%.3f" % ratio, "%s%.2f" % ("~" * (not alike), ratio))
            for size, (ratio, alike) in sorted(best_of.items())]))
    return plots


def throughput_script(title, rows):
    """Rates with the range of their runs, above; below, p2pnic's ratio to the best peer."""
    lines, sizes = standing.lines_of(rows), sorted({r["frame_bytes"] for r in rows})
    data = []
    rates, parts = rate_plots(lines, sizes, data), ratio_plots(lines, sizes, data)
    tics = ", ".join("'%d' %d" % (size, place) for place, size in enumerate(sizes))
    script = "".join(data) + """set grid
set xtics (%s)
set xrange [-0.3:%.1f]
set lmargin at screen 0.08
set rmargin at screen 0.71
""" % (tics, len(sizes) - 0.7)
    marked = {r["kind"] for mine in lines.values() for r in mine.values()} - {"near"}
    upper = """set title "%s"
set ylabel 'Mpps; bars: all runs%s'
set yrange [0:*]
set key at screen 0.715, screen 0.94 left top reverse Left
""" % (title, "".join("; %s: %s windows" % (measure.MARK[k], k) for k in sorted(marked)))
    below = "set xlabel 'frame, bytes with FCS%s'\n" % (
        "; ~: rates of unlike windows" * any("~" in points for points in data))
    if not parts:
        return script + upper + below + "plot " + ", ".join(rates) + "\n"
    return script + "set multiplot\nset tmargin at screen 0.94\nset bmargin at screen 0.42\n" + \
        upper + "plot " + ", ".join(rates) + "\n" + below + """unset title
unset key
set tmargin at screen 0.36
set bmargin at screen 0.09
set ylabel 'to the best peer that routes'
set arrow from graph 0, first 1 to graph 1, first 1 nohead lw 1.5 dt 2
set offsets 0,0,graph 0.12,0
plot """ + ", ".join(parts) + "\nunset multiplot\n"


def throughput_figures(result, folder):
    drawn = []
    for link, family, pattern, rows in standing.groups(result):
        title = "Throughput over %s, %s, %s (%s)" % (link, family, pattern,
                                                     result["machine"]["processor"])
        name = "throughput-%s-%s-%s" % (link, family.lower().replace(", ", "-"), pattern)
        drawn.append(gnuplot(folder, name, throughput_script(title, rows), height=760))
    return drawn


def latency_figures(result, folder):
    drawn = []
    for number, condition in enumerate(dict.fromkeys(r["condition"] for r in result["latency"])):
        best_of = {}
        for row in result["latency"]:
            if row["condition"] == condition and row.get("cdf"):
                name = standing.label(row)
                if name not in best_of or row["p99_ns"] < best_of[name]["p99_ns"]:
                    best_of[name] = row
        if not best_of:
            continue
        data = "".join(block(n, [(ns / 1000, fraction) for ns, fraction in row["cdf"]])
                       for n, row in enumerate(best_of.values()))
        curves = ['$d%d using 1:2 with lines %s title "%s: p50 %.1f, p99 %.1f µs"' % (
            n, style(name, False), name, row["p50_ns"] / 1e3, row["p99_ns"] / 1e3)
                  for n, (name, row) in enumerate(best_of.items())]
        drawn.append(gnuplot(folder, "latency-%d" % number, data + """set grid
set title "One-way latency, IPv4, 1in-1out, frame and load: %s"
set xlabel 'µs' offset 0,0.5
set ylabel 'fraction of packets'
set logscale x
set yrange [0:1]
set key below left reverse Left maxrows 4
plot """ % condition + ", ".join(curves) + "\n"))
    return drawn


def table_figures(result, folder):
    """Bytes of a table against routes, medians of random samples, a family a figure. The lines at 4
    and 6 MB are the memories of the NICs that the published router ran on. A peer of one size,
    whatever it holds, is a line."""
    drawn = []
    for family in sorted({row["af"] for row in result.get("sizes", [])}):
        series = {}
        for row in result["sizes"]:
            if row["af"] == family:
                series.setdefault(row["table"], []).append((row["routes"],
                                                            row["bytes_median"] / 1e6))
        data, plots = "", []
        for number, (table, points) in enumerate(sorted(series.items())):
            data += block(number, sorted(points))
            if len(points) == 1:
                plots.append('%f with lines %s title "%s: %.0f MB"' % (
                    points[0][1], style(table, False), table, points[0][1]))
            else:
                plots.append('$d%d using 1:2 with linespoints %s title "%s: %.1f MB for %d"' % (
                    number, style(table), table, max(points)[1], max(points)[0]))
        plots += ['%d with lines lc rgb "#555555" dt 4 title "NIC memory: %d MB"' % (mb, mb)
                  for mb in (4, 6)]
        most = max(routes for points in series.values() for routes, _ in points)
        drawn.append(gnuplot(folder, "fib-size-ipv%d" % family, data + """set grid
set title "Table against routes, IPv%d (%s, 64 next hops)"
set logscale xy
set xlabel 'routes' offset 0,0.5
set ylabel 'MB (10^6 bytes)'
set xrange [9000:%d]
set format x '%%.0f'
set key below left reverse Left maxrows 3
plot """ % (family, result["source"], 1.2 * most) + ", ".join(plots) + "\n"))
    return drawn


def best(result, name, method, pattern, size):
    found = [r["mpps"] for r in result["throughput"] if r["link"] == "memif" and r["routed"] and
             r["dut"].split()[0] == name and r["method"] == method and r["pattern"] == pattern and
             r["frame_bytes"] == size]
    return max(found) if found else None


def runs(result):
    """How many runs a figure of throughput is the median of, in words."""
    counts = [r["runs"] for r in result["throughput"]]
    if not counts:
        return ""
    if max(counts) == 1:
        return "One run of each device."
    least, most = min(counts), max(counts)
    return "Medians of %s runs of each device, in turn." % (
        most if least == most else "%d to %d" % (least, most))


def report(result, drawn):
    lines = ["<!doctype html><meta charset=utf-8><title>p2pnic: measurements</title>",
             "<style>body{font:15px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em "
             ".8em;text-align:right}"
             ".peers td:first-child,.peers th:first-child,.peers td:last-child,.peers th:last-child"
             "{text-align:left}.peers{margin:1em 0}img{max-width:100%}</style>",
             "<h1>Measurements</h1>",
             "<p>%s, %d processors%s, kernel %s. Soft NICs are software: the engine uses the "
             "processor that a NIC's own would be. %s</p>" % (
                 html.escape(result["machine"]["processor"]), result["machine"]["processors"],
                 ", virtual" if result["machine"]["virtual"] else "",
                 html.escape(result["machine"]["kernel"]), runs(result))]
    commit = result.get("source", {}).get("commit")
    if commit:
        lines.append("<p>%s, commit %s%s, %s.</p>" % (
            html.escape(result["date"]), commit[:12],
            " with changes" if result["source"]["dirty"] else "",
            html.escape(result["build"]["version"] or "compiler not known")))
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
    lines += ["</table>", "<h2>Beside the peers</h2><p>%s</p>" % standing.LEGEND,
              standing.as_html(result)]
    for name in drawn:
        lines.append('<p><img src="figures/%s.svg" alt="%s">' % (name, name))
    notes = results.notes_of(result)
    missing = [n for n in notes if n.startswith(("refused: ", "skipped: "))]
    for title, some in (("Refused and skipped", missing),
                        ("Notes", [n for n in notes if n not in missing])):
        if some:
            lines.append("<h2>%s</h2><ul>%s</ul>" % (title, "".join(
                "<li>" + html.escape(n) for n in some)))
    return "\n".join(lines) + "\n"


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else devices.BENCH
    drawn, found = os.path.join(folder, "figures"), {}
    for name in ("results.json", "fib.json"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf8") as f:
                found[name] = json.load(f)
    if not found:
        sys.exit("figures: neither results.json nor fib.json in %s yet; run `make bench`, `make "
                 "bench-quick` or `make bench-fib` first" % os.path.relpath(folder))
    os.makedirs(drawn, exist_ok=True)
    tables = table_figures(found.get("fib.json", {}), drawn)
    names = list(tables)
    if "results.json" in found:
        result = found["results.json"]
        names = throughput_figures(result, drawn) + latency_figures(result, drawn) + tables
        with open(os.path.join(folder, "report.html"), "w", encoding="utf8") as out:
            out.write(report(result, names))
    print("figures: %d drawn, in %s as .svg and .png%s" % (
        len(names), os.path.relpath(drawn), "; report.html beside" if "results.json" in found
        else ""))


if __name__ == "__main__":
    main()
