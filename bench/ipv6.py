# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 beside IPv6: p2pnic and l3fwd on memif, each with a route of 48 bits for every port, run in
turn.

A frame of 64 bytes has 6 behind its IPv6 header; the tester's marks are in them and in the last ten
bytes of its destination (tester/stream.h), so no packet's destination is that of another. l3fwd
leaves hop limits as they are, and checks nothing of an IPv6 header; p2pnic does both.
"""
import os

import devices
import measure

PATTERNS = {"1in-1out": 2, "4in-4out": 4}  # and their ports
SIZES = (64, 1518)


def prefix(port):
    return "fd00:18:%x::/48" % port


class P2pnic(devices.P2pnic):
    def configuration(self, run):
        lines = [super().configuration(run).partition("neighbors:\n")[0] + "neighbors:"]
        for p in range(run.ports):
            lines.append("  - {nic: n%d, address: \"fd00:%x::10\", mac: \"%s\"}" % (
                p, p, devices.tester_mac(p)))
        lines.append("routes:")
        lines += ["  - {prefix: \"%s\", via: \"fd00:%x::10\"}" % (prefix(p), p)
                  for p in range(run.ports)]
        return "\n".join(lines) + "\n"

    def addresses(self, port):
        return "\"fd00:%x::1/64\"" % port


class L3fwd(devices.L3fwd):
    mode = "mac"  # of IPv6 it does not lower the hop limit: less work than ours

    def rules(self, run):
        """l3fwd's own rules for IPv4, which it wants, and ours."""
        path = os.path.join(run.directory, "ipv6.cfg")
        with open(path, "w") as out:
            for p in range(run.ports):
                out.write("Rfd00:0018:%04x:0000:0000:0000:0000:0000/48 %d\n" % (p, p))
        return super().rules(run)[0], path


def chosen(full):
    return [P2pnic("wr")] + [
        L3fwd(lookup, role, zero, rsize) for lookup in (("lpm", "fib") if full else ("lpm",))
        for role, zero in (("server", False), ("client", True))
        for rsize in (devices.RSIZE, devices.NIC_RSIZE)]


def rows(samples_of, quick, rounds, settings, note):
    """samples_of: bench.Samples"""
    sizes = SIZES[:1] if quick else SIZES
    samples = {}
    for device in chosen(not quick):
        why = device.available()
        if why:
            note("skipped: ipv6: %s %s: %s" % (device.name, device.method, why))
        else:
            samples[device] = samples_of()
    measure.in_turn([(mine, device, ports, pattern, ["-c", "full:16", "--ipv6"], "IPv6")
                     for device, mine in samples.items() for pattern, ports in PATTERNS.items()],
                    sizes, rounds, settings, note)
    return [{"dut": device.name, "method": device.method, "link": "memif", "routed": True,
             "pattern": pattern, "frame_bytes": size, **mine.summary((pattern, size))}
            for device, mine in samples.items() for pattern, size in mine.rows
            if mine.rates((pattern, size))[0]]


def print_rows(result, best, ratio):
    """best, ratio: bench.py's"""
    for pattern, size in dict.fromkeys((r["pattern"], r["frame_bytes"]) for r in result):
        key = (pattern, size)
        ours, theirs = best(result, key, "p2pnic", "wr"), best(result, key, "l3fwd")
        for row in (ours, theirs):
            if row:
                print("ipv6: %-9s %4d B: %-27s %6.2f Mpps ±%.0f%% (%s)" % (
                    pattern, size, row["dut"] + (" " + row["method"]).rstrip(" -"), row["mpps"],
                    50 * row["spread"], row["kind"]))
        print("ipv6: %-9s %4d B: Wr / l3fwd %s, best %s" % (
            pattern, size, ratio(ours, theirs, "mpps"), ratio(ours, theirs, "best_mpps")))
