# SPDX-License-Identifier: BSD-3-Clause
"""Where p2pnic stands: a table for each link, family and pattern, a column a frame size. A peer's
rate is in bold where it is ahead of p2pnic's best method, and the row ends with the reason. ~ is
before a rate in bold of windows of another kind than p2pnic's.

As Markdown, which `make bench` prints and docs/measurements.md has, and as HTML for the report.
"""
import html

import measure
import results

OURS = "p2pnic, best of its methods"
# What no peer is: the tester's own maximum, and the least that a device could do.
LIMITS = ("the tester itself", "copy loop")

# Why a line may be ahead, by link. What has no reason here says so when it is ahead.
ONE_MEMORY = "all its ports and the tester share one packet memory: it copies nothing"
IN_KERNEL = "frames stay in the kernel: none is copied into a socket's memory, or out of it"
REASONS = {
    ("memif", "l3fwd, zero-copy"): ONE_MEMORY,
    ("memif", "l3fwd-graph, zero-copy"): ONE_MEMORY,
    ("memif", "testpmd (fixed ports)"):
        "it looks nothing up; zero-copy it also copies nothing",
    ("veth", "xdp-forward"): IN_KERNEL,
    ("veth", "xdp-forward, unsteered"):
        IN_KERNEL + "; and one processor does all, in the tester's system calls",
    ("veth", "linux flowtable"): IN_KERNEL,
    ("veth", "linux forwarding, unsteered"):
        "one processor does all, in the tester's system calls: no packet changes processors",
}
UNKNOWN = "not known"
FRAME_MAX = 1518  # longer ones are jumbo


def label(row):
    """The line that a row belongs to: of a peer's lookups, roles and rings the best counts, at each
    point."""
    name = row["dut"]
    if name.startswith("l3fwd af_xdp"):
        return "l3fwd af_xdp"
    if name.startswith("l3fwd"):
        return name.split()[0] + (", zero-copy" if "zero-copy" in name else ", copying")
    if name.startswith("testpmd"):
        return "testpmd (fixed ports)"
    if name.startswith("wire"):
        return "the tester itself"
    return name + (" " + row["method"] if row["method"] != "-" else "")


def choose(best, row):
    """Keeps in `best`, by frame size, the fastest row, of whatever windows: with near ones it would
    have been faster yet. The slower row of near windows would make little of the device."""
    size = row["frame_bytes"]
    if size not in best or row["mpps"] > best[size]["mpps"]:
        best[size] = row


def lines_of(rows):
    """{line: {frame size: row}}, the fastest row of a line at each size."""
    lines = {}
    for row in rows:
        choose(lines.setdefault(label(row), {}), row)
    return lines


# What the tables' marks mean.
LEGEND = ("Bold: ahead of p2pnic. b, f: there were only busy, far windows. ~: p2pnic's were of "
          "another kind.")


class Line:
    """A row of a table. cells: {frame size: (text, whether it is ahead of ours)}"""

    def __init__(self, name, cells, reason=""):
        self.name, self.cells, self.reason = name, cells, reason


def cell(row):
    return "%.2f%s" % (row["mpps"], measure.MARK[row["kind"]])


def ours_of(rows):
    """{frame size: p2pnic's best row}; Bn is there to be measured, not to be chosen."""
    best = {}
    for row in rows:
        if row["dut"].startswith("p2pnic") and row["method"] != "bn":
            choose(best, row)
    return best


def lines(link, rows):
    """Of the rows of one table: ours, peers, limits."""
    ours = ours_of(rows)
    out = [Line(OURS, {size: ("%s %s" % (cell(row), label(row).replace("p2pnic ", "")),
                              False) for size, row in ours.items()})]
    others = {name: mine for name, mine in lines_of(rows).items()
              if not name.startswith("p2pnic")}
    for name in sorted(others, key=lambda n: n in LIMITS):
        cells, reason = {}, ""
        for size, row in others[name].items():
            mine = ours.get(size) if name not in LIMITS else None
            ahead = mine is not None and row["mpps"] > mine["mpps"]
            cells[size] = "~" * (ahead and row["kind"] != mine["kind"]) + cell(row), ahead
            if ahead:
                reason = REASONS.get((link, name), UNKNOWN)
        out.append(Line(name, cells, "no peer: a limit" if name in LIMITS else reason))
    return out


def groups(result):
    """[(link, family, pattern, rows)]: what is shown side by side."""
    families = [("IPv4", result["throughput"] + results.copy_loops(result)),
                ("IPv6", result.get("ipv6", [])),
                ("IPv4, jumbo", [r for r in result.get("jumbo", [])
                                 if r["frame_bytes"] > FRAME_MAX])]
    out = {}
    for family, rows in families:
        for r in rows:
            if r["mpps"]:
                out.setdefault((r["link"], family, r["pattern"]), []).append(r)
    return [(*key, rows) for key, rows in out.items()]


def tables(result):
    """[(title, frame sizes, lines)] of what was measured with p2pnic in it."""
    return [("%s, %s, %s" % (link, family, pattern), sorted({r["frame_bytes"] for r in some}),
             lines(link, some))
            for link, family, pattern, some in groups(result) if ours_of(some)]


def markdown(result):
    out = []
    for title, sizes, rows in tables(result):
        grid = [[title + ", Mpps"] + ["%d B" % s for s in sizes] + ["why ahead"]]
        for line in rows:
            cells = [("**%s**" if ahead else "%s") % text
                     for text, ahead in (line.cells.get(s, ("", False)) for s in sizes)]
            grid.append([line.name] + cells + [line.reason])
        # Columns of one width, to be read on a terminal too.
        widths = [max(len(row[n]) for row in grid) for n in range(len(sizes) + 1)] + [0]
        rule = "|%s|" % "|".join("-" * (w + 2) for w in widths[:-1] + [1])
        text = ["| %s |" % " | ".join(c.ljust(w) for c, w in zip(row, widths)) for row in grid]
        out += ["", text[0], rule, *text[1:]]
    return "\n".join(out)


def as_html(result):
    out = []
    for title, sizes, rows in tables(result):
        out.append("<table class=peers><tr><th>%s, Mpps%s<th>why ahead" % (
            html.escape(title), "".join("<th>%d B" % s for s in sizes)))
        for line in rows:
            cells = [("<b>%s</b>" if ahead else "%s") % html.escape(text)
                     for text, ahead in (line.cells.get(s, ("", False)) for s in sizes)]
            out.append("<tr><td>%s<td>%s<td>%s" % (
                html.escape(line.name), "<td>".join(cells), html.escape(line.reason)))
        out.append("</table>")
    return "\n".join(out)
