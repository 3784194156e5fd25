# SPDX-License-Identifier: BSD-3-Clause
"""Jumbo frames on memif, and what the buffers for them cost small frames.

p2pnic has buffers of 16 KiB here (`mtu: 9000`), as the tester and the loops have. DPDK's memif
driver tells a largest frame of 1518 bytes but takes longer ones: as server it copies them into
chains of the 2 KiB buffers of l3fwd, as client with `bsize` likewise. l3fwd's own --max-pkt-len is
refused for what the driver tells, and zero-copy would need buffers that l3fwd does not have;
testpmd can have them.
"""
import devices
import measure

PATTERNS = {"1in-1out": 2, "4in-4out": 4}  # and their ports
SIZES = (4000, 9018)
SMALL = (64, 1518)
BUFFER = 16384
EXTRA = ["-c", "full:16", "--buffer-bytes", str(BUFFER)]


class P2pnic(devices.P2pnic):
    """With buffers of that many bytes."""

    def __init__(self, method, buffer_bytes=BUFFER):
        super().__init__(method)
        self.buffer_bytes = buffer_bytes

    def configuration(self, run):
        text = super().configuration(run).replace(
            "  batch: 64", "  batch: 64\n  buffer_bytes: %d" % self.buffer_bytes)
        if self.buffer_bytes == BUFFER:
            text = text.replace("    mac:", "    mtu: 9000\n    mac:")
        return text


class Large:
    """A DPDK program whose memif has buffers of 16 KiB."""

    def eal(self, run, lcores):
        return [a + ",bsize=%d" % BUFFER if a.startswith("--vdev=") and self.role == "client" else a
                for a in super().eal(run, lcores)]


class L3fwd(Large, devices.L3fwd):
    pass


class Testpmd(Large, devices.Testpmd):
    more = ("--mbuf-size=%d" % (BUFFER + 128), "--total-num-mbufs=16384")


class Loop(devices.Loop):
    more = ("--buffer-bytes", str(BUFFER))


def chosen():
    return [P2pnic(m) for m in ("wr", "rd", "hy")] + [
        L3fwd("lpm", role, rsize=rsize) for role in ("server", "client")
        for rsize in (devices.RSIZE, devices.NIC_RSIZE)] + [
        Testpmd("io", "client", True), Loop("copy", rsize=devices.NIC_RSIZE),
        Loop("wire", rsize=devices.NIC_RSIZE)]


def measured(samples_of, all_devices, sizes, extra, rounds, settings, note):
    """{device: samples}, of devices in turn."""
    samples, words = {}, "%d and %d B" % sizes
    for device in all_devices:
        why = device.available()
        if why:
            note("skipped: jumbo: %s %s: %s" % (device.name, device.method, why))
        else:
            samples[device] = samples_of()
    measure.in_turn([(mine, device, ports, pattern, extra, words)
                     for device, mine in samples.items() for pattern, ports in PATTERNS.items()],
                    sizes, rounds, settings, note)
    return samples


def rows(samples_of, rounds, settings, note):
    """samples_of: bench.Samples"""
    large = measured(samples_of, chosen(), SIZES, EXTRA, rounds, settings, note)
    small = measured(samples_of, [P2pnic("wr", 2048), P2pnic("wr")], SMALL, ["-c", "full:16"],
                     rounds, settings, note)
    return [{"dut": device.name, "method": device.method, "link": "memif",
             "routed": device.mode == "routed", "pattern": pattern, "frame_bytes": size,
             "buffer_bytes": getattr(device, "buffer_bytes", BUFFER),
             **mine.summary((pattern, size))}
            for samples in (large, small) for device, mine in samples.items()
            for pattern, size in mine.rows if mine.rates((pattern, size))[0]]


def print_rows(result, best, ratio):
    """best, ratio: bench.py's"""
    for pattern, size in dict.fromkeys((r["pattern"], r["frame_bytes"]) for r in result):
        key = (pattern, size)
        mine = [r for r in result if (r["pattern"], r["frame_bytes"]) == key]
        if size in SMALL:
            ways = {r["buffer_bytes"]: r for r in mine}
            print("buffers: %-9s %4d B: Wr %s Mpps, with buffers of 16 KiB ÷ 2 KiB %s" % (
                pattern, size, " and ".join("%.2f" % r["mpps"] for r in mine),
                ratio(ways.get(BUFFER), ways.get(2048), "mpps")))
            continue
        for row in mine:
            print("jumbo: %-9s %4d B: %-27s %6.2f Mpps ±%.0f%% (%s), %.0f Gb/s" % (
                pattern, size, row["dut"] + (" " + row["method"]).rstrip(" -"), row["mpps"],
                50 * row["spread"], row["kind"], row["gbps"]))
        print("jumbo: %-9s %4d B: best method / l3fwd %s" % (
            pattern, size, ratio(best(result, key, "p2pnic", "wr", "rd", "hy"),
                                 best(result, key, "l3fwd"), "mpps")))
