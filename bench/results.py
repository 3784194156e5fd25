# SPDX-License-Identifier: BSD-3-Clause
"""results.json, part by part: written after each, so that an end before the last one loses only
what was being measured; and a part can be repeated, into the results of the others.

Parts of one file are of one source, built alike, on one machine: all else is refused. With files
that differ from their commit nobody can tell, so such results are not added to.
"""
import datetime
import json
import os
import sys

import origin

# In the order in which they are measured: latencies take a rate from throughput.
PARTS = ("throughput", "latency", "cpu", "scale", "tables", "ipv6", "ipv6_tables", "jumbo", "cost",
         "veth")
QUICK_PARTS = ("throughput", "cpu", "tables", "ipv6", "veth")
# Lists of rows. Those of the part veth are in throughput; limit comes with it.
MEMBERS = [p for p in PARTS if p != "veth"] + ["limit"]


def parts_of(text):
    """Names with commas or spaces between, in the order in which they are measured."""
    names = text.replace(",", " ").split()
    for name in names:
        if name not in PARTS:
            sys.exit("bench: %s: no such part; there are %s" % (name, ", ".join(PARTS)))
    return [p for p in PARTS if p in names]


def new(quick):
    return {**origin.all_of_it(), "quick": quick, "parts": {}, **{name: [] for name in MEMBERS}}


def to_complete(path, quick):
    """The results of that file, for parts to be measured again or added; new ones if there is no
    file. Exits with the reason where old and new parts would not belong together."""
    fresh = new(quick)
    if not os.path.exists(path):
        return fresh
    try:
        with open(path, encoding="utf8") as f:
            old = json.load(f)
        measured = old["parts"]
    except (OSError, ValueError, KeyError, TypeError) as why:
        sys.exit("bench: %s: no results to add parts to (%s: %s); measure all of them, or into "
                 "another file" % (path, type(why).__name__, why))
    differs = ["%s: %s there, %s now" % d for d in origin.differences(old, fresh)]
    if old.get("quick") != quick:
        differs.append("bench-quick and bench do not share results")
    if not differs and fresh["source"]["dirty"] is not False:
        differs.append("files differ from the commit, or there is none: whether they were the "
                       "same is not known")
    if differs and measured:
        sys.exit("bench: %s: its parts do not belong with new ones:\n  %s\nMeasure all parts, or "
                 "into another file (--output)" % (path, "\n  ".join(differs)))
    return fresh if differs else {**fresh, **old}


def set_aside(path):
    """Results that new ones will take the place of: to compare with."""
    if os.path.exists(path):
        base, suffix = os.path.splitext(path)
        os.replace(path, base + ".previous" + suffix)


def put(result, part, rows, seconds, rounds, notes):
    """What a part has measured, in the place of what it had. rows: {member: list}"""
    for member, mine in rows.items():
        if member == "throughput":  # two parts share it
            mine = mine + [r for r in result[member] if (r["link"] == "veth") != (part == "veth")]
            mine.sort(key=lambda r: r["link"])
        result[member] = mine
    now = datetime.datetime.now(datetime.timezone.utc)
    result["parts"][part] = {"date": now.isoformat(timespec="seconds"), "seconds": round(seconds),
                             "rounds": rounds, "notes": notes}


def write(result, path):
    """Whole or not at all."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w", encoding="utf8") as out:
        json.dump(result, out, indent=1)
    os.replace(path + ".new", path)


def copy_loops(result):
    """The rows of `limit` as those of a device."""
    return [{"dut": "copy loop", "method": "-", "link": "memif", "routed": False, **r,
             "mpps": r["copy_loop_mpps"]} for r in result["limit"]]


def notes_of(result):
    """Of all parts, each once."""
    return list(dict.fromkeys(note for part in result.get("parts", {}).values()
                              for note in part["notes"]))


def durations(result):
    """How long each part took, in words."""
    return ", ".join("%s %d s" % (name, part["seconds"]) for name, part in result["parts"].items())
