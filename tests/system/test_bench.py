# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks' own arithmetic, with results made up here: what they are compared by
(bench/compare.py), figures and tables. And how devices are started. Nothing is measured."""
import itertools
import json
import math
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCH = os.path.join(ROOT, "bench")
sys.path.insert(0, BENCH)
import bench  # noqa: E402
import compare  # noqa: E402
import devices  # noqa: E402
import figures  # noqa: E402
import measure  # noqa: E402
import origin  # noqa: E402
import results  # noqa: E402
import standing  # noqa: E402
import veth  # noqa: E402
from network import P2PNIC  # noqa: E402


def row(dut, size, rates, kind="near"):
    return {"dut": dut, "method": "wr" if dut == "p2pnic" else "-", "link": "memif",
            "pattern": "1in-1out", "frame_bytes": size, "kind": kind, "rates": rates,
            "mpps": sorted(rates)[len(rates) // 2]}


def compared(folder, base, new, versions=("gcc 12", "gcc 12")):
    paths = []
    for name, rows, version in zip(("base", "new"), (base, new), versions):
        paths.append(os.path.join(folder, name + ".json"))
        with open(paths[-1], "w", encoding="utf8") as out:
            json.dump({"throughput": rows, "build": {
                "version": version, "options": {"buildtype": "release"}}}, out)
    return subprocess.run(["/usr/bin/python3", "-B", os.path.join(BENCH, "compare.py"), *paths],
                          capture_output=True, text=True, check=False)


STEADY = [60.0, 61.0, 60.5]


def test_slower(tmp_path):
    done = compared(tmp_path, [row("p2pnic", 64, STEADY)], [row("p2pnic", 64, [55, 56, 57])])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "compare: 1 rows of p2pnic: 1 slower, 0 faster, " in done.stdout
    assert "\n  slower: p2pnic wr, memif, 1in-1out, 64 B" in done.stdout
    assert "nothing is known" not in done.stdout


@pytest.mark.parametrize("new, verdict", [
    ([60.2, 60.8, 61.1], "as fast"),
    ([70.0, 71.0, 72.0], "faster"),
    ([59.8, 59.9, 59.95], "as fast"),  # surely slower, by less than 3 %
    ([50.0, 51.0, 62.0], "undecided"),  # a lower median, but their ranges overlap
])
def test_not_slower(tmp_path, new, verdict):
    done = compared(tmp_path, [row("p2pnic", 64, STEADY)], [row("p2pnic", 64, new)])
    assert done.returncode == (2 if verdict == "undecided" else 0), done.stdout + done.stderr
    assert "90 %%  %s\n" % verdict in done.stdout
    assert "1 rows of p2pnic: 0 slower" in done.stdout and "1 %s" % verdict in done.stdout
    assert ("nothing is known" in done.stdout) == (verdict == "undecided")


def test_all_parts_are_compared(tmp_path):
    """What is only in one part, each by its own name; a copy loop's rate is no verdict's."""
    base, new = ({
        "throughput": [], "limit": [{"pattern": "4in-4out", "frame_bytes": 64, "kind": "near",
                                     "copy_loop_mpps": rate, "rates": [rate] * 3}],
        "scale": [{**row("p2pnic", 64, [rate] * 3), "nics": nics} for nics in (2, 16)],
        "ipv6_tables": [{**row("p2pnic", 64, [rate] * 3), "table": "large", "traffic": "zipf"}],
        "jumbo": [{**row("p2pnic", 64, [rate] * 3), "buffer_bytes": 2048}],
        "cost": [{**row("p2pnic", 64, [rate] * 3), "feature": "VLANs"},
                 {**row("p2pnic", 64, [rate] * 3), "feature": "none", "mpps": None}]}
        for rate in (60.0, 50.0))
    paths = []
    for name, result in (("base", base), ("new", new)):
        paths.append(str(tmp_path / name))
        with open(paths[-1], "w", encoding="utf8") as out:
            json.dump(result, out)
    done = subprocess.run(["/usr/bin/python3", "-B", os.path.join(BENCH, "compare.py"), *paths],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "5 rows of p2pnic: 5 slower" in done.stdout, done.stdout
    for name in ("scale: p2pnic wr, 16 NICs, memif, 1in-1out, 64 B",
                 "ipv6_tables: p2pnic wr, large, zipf, memif, 1in-1out, 64 B",
                 "jumbo: p2pnic wr, buffers of 2048 B, memif, 1in-1out, 64 B",
                 "cost: p2pnic wr, VLANs, memif, 1in-1out, 64 B"):
        assert "\n  slower: " + name in done.stdout
    assert "\ncopy loop -, memif, 4in-4out, 64 B" in done.stdout


@pytest.mark.parametrize("base, new, says", [
    (row("p2pnic", 64, STEADY), row("p2pnic", 64, [30, 31, 32], "far"), "near and far windows"),
    (row("p2pnic", 64, [60.0]), row("p2pnic", 64, [50.0]), "too few runs"),
    (row("l3fwd", 64, STEADY), row("l3fwd", 64, [30, 31, 32]), "l3fwd"),  # a peer
    (row("p2pnic", 64, STEADY), row("p2pnic", 512, STEADY), "0 rows"),
])
def test_nothing_to_judge(tmp_path, base, new, says):
    done = compared(tmp_path, [base], [new])
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stdout
    assert "0 slower, 0 faster, 0 as fast, 0 undecided" in done.stdout


def test_says_what_differs(tmp_path):
    rows = [row("p2pnic", 64, STEADY)]
    done = compared(tmp_path, rows, rows, ("gcc 12", "clang 14"))
    assert "build.version" in done.stdout and "gcc 12 → clang 14" in done.stdout
    assert "buildtype" not in done.stdout


def test_bad_input(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    for argument, says in ((str(bad), "bad.json: no results"),
                           ("no-such-thing", "neither a file nor a commit")):
        done = subprocess.run(["/usr/bin/python3", "-B", os.path.join(BENCH, "compare.py"),
                               argument], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and says in done.stderr, done.stderr


def test_rank_sums():
    """Beside all orders, one by one."""
    for a, b in itertools.product(range(1, 5), repeat=2):
        counts = [0] * (a * b + 1)
        for places in itertools.combinations(range(a + b), a):
            counts[sum(x > y for x in places for y in range(a + b) if y not in places)] += 1
        assert compare.rank_sums(a, b) == counts, (a, b)


def test_intervals():
    """Against tables: six pairs' whole range covers 96.9 %, of nine the second to the eighth
    96.1 %; four runs beside four 97.1 %, three beside three only 90 %."""
    for n, low, coverage in ((5, 1, 0.9375), (6, 1, 0.96875), (9, 2, 0.9609375)):
        middle, *found = compare.paired(list(range(1, n + 1)))
        assert middle == (n + 1) / 2 and found == [low, n + 1 - low, pytest.approx(coverage)]
    for n, coverage in ((1, 0), (3, 0.9), (4, 1 - 2 / math.comb(8, 4))):
        ratio, low, high, covers = compare.unpaired([1.0] * n, [2.0] * (n - 1) + [3.0])
        assert ratio == (3 if n == 1 else 2) and high == 3 and covers == pytest.approx(coverage)
        assert low == ratio


class Made(compare.Build):
    """A build whose runs are made up."""

    def __init__(self, mpps):
        super().__init__("wr", "made up", "/nonexistent")
        self.mpps, self.runs = mpps, 0


def test_pairs(monkeypatch):
    """Runs take turns, which is first alternates; a pair is of like windows; repeats end."""
    order = []

    def run_checked(device, ports, patterns, sizes, settings):
        order.append(device.mpps)
        device.runs += 1
        # Near in every second run of the base's only, else busy; 512 B: never alike.
        near = device.mpps == 2.0 or device.runs % 2 == 0
        out = []
        for size in sizes:
            kinds = ["near" if near else "busy"] if size == 64 else [
                "near" if device.mpps == 2.0 else "far"]
            out.append({"pattern": patterns[0], "frame_bytes": size, "run": {
                k: {"windows": 8 if k in kinds else 0, "mpps": device.mpps if k in kinds else 0.0}
                for k in compare.measure.KINDS}})
        return out

    monkeypatch.setattr(compare.measure, "run_checked", run_checked)
    builds = {("wr", "base"): Made(4.0), ("wr", "new"): Made(2.0)}
    found = compare.pairs(builds, [("wr", 2, ["1in-1out"])], [64, 512], None, 6, print)
    assert found == {("wr", "1in-1out", 64): {"near": [(4.0, 2.0)] * 6}}
    assert order == [2.0, 4.0, 4.0, 2.0] * 6


@pytest.fixture(name="drawn")
def scripts_of_figures(monkeypatch):
    """{name: script} of what would be drawn."""
    drawn = {}
    monkeypatch.setattr(figures, "gnuplot", lambda _, name, script, **size:
                        drawn.setdefault(name, script) and name)
    return drawn


def throughput(**more):
    rows = [{**row("p2pnic", 64, STEADY), "routed": True, "runs": 3},
            {**row("l3fwd lpm server 512", 64, [20.0]), "routed": True, "runs": 1},
            {**row("l3fwd lpm zero-copy 512", 64, [40.0, 40.5]), "routed": True, "runs": 2},
            {**row("testpmd io server 512", 64, [99.0]), "routed": False, "runs": 1}]
    return {"throughput": rows, "limit": [], "latency": [], "machine": {
        "processor": "A<B", "processors": 2, "kernel": "6.1", "virtual": False}, **more}


def test_figures_of_throughput(drawn):
    result = throughput()
    result["ipv6"] = [dict(r, mpps=r["mpps"] / 2, rates=[]) | {"spread": 0.2}
                      for r in result["throughput"]]
    assert figures.throughput_figures(result, "") == [
        "throughput-memif-ipv4-1in-1out", "throughput-memif-ipv6-1in-1out"]
    ipv4, ipv6 = drawn.values()
    assert "0 60.5000 60.0000 61.0000\n" in ipv4  # the median and the range of the runs
    assert "0 30.2500 27.2250 33.2750\n" in ipv6  # an old file's spread
    assert "0 1.494\n" in ipv4  # to the zero-copy l3fwd: testpmd does not route
    for script in (ipv4, ipv6):
        assert figures.style("p2pnic wr") + ' title "p2pnic wr"' in script
        assert "unlike windows" not in script and "; b: " not in script
    # Who has no colour yet gets one, and keeps it.
    assert figures.style("a stranger") == figures.style("a stranger") != figures.style("another")


def test_figures_mark_unlike_windows(drawn):
    """Points of other than near windows; the best ratio at a size is told, and so is that its two
    rates are of unlike windows. Jumbo frames have figures of their own."""
    result = throughput()
    result["throughput"][2]["kind"] = "busy"
    result["throughput"].append({**result["throughput"][0], "method": "rd", "mpps": 81.0})
    result["jumbo"] = [dict(r, frame_bytes=size) for r in result["throughput"]
                       for size in (1518, 9018)]
    assert figures.throughput_figures(result, "") == [
        "throughput-memif-ipv4-1in-1out", "throughput-memif-ipv4-jumbo-1in-1out"]
    ipv4, jumbo = drawn.values()
    assert "0 40.5000 b\n" in ipv4 and "; b: busy windows'" in ipv4
    assert "0 2.000 ~2.00\n" in ipv4 and "~1.49" not in ipv4
    assert "FCS; ~: rates of unlike windows'" in ipv4
    assert "set xtics ('9018' 0)" in jumbo


def test_standing():
    """A peer that is ahead is bold, with its reason, at the sizes where it is; limits are not. ~:
    windows of another kind than ours. Of a device's rows the fastest counts, of whatever
    windows."""
    result = throughput()
    rows = result["throughput"]
    rows += [{**rows[0], "frame_bytes": 1518, "mpps": 10.0},
             {**rows[0], "frame_bytes": 1518, "mpps": 11.0, "method": "hy"},
             {**rows[0], "frame_bytes": 1518, "mpps": 10.5, "method": "rd", "kind": "busy"},
             {**rows[1], "mpps": 30.0, "kind": "busy", "dut": "l3fwd fib server 512"},
             {**rows[0], "frame_bytes": 1518, "mpps": 99.0, "method": "bn"},
             {**rows[2], "frame_bytes": 1518, "mpps": 12.0}, {**rows[0], "link": "veth"},
             {**rows[0], "link": "veth", "dut": "a<b", "method": "-", "mpps": 61.0},
             {**rows[3], "link": "tap"}]
    rows[3] = {**rows[3], "kind": "far"}
    result["limit"] = [{"pattern": "1in-1out", "frame_bytes": 64, "kind": "near",
                        "copy_loop_mpps": 100.0}]
    text = [re.sub(" +", " ", re.sub("--+", "---", line))
            for line in standing.markdown(result).splitlines()]
    assert text == ["", "| memif, IPv4, 1in-1out, Mpps | 64 B | 1518 B | why ahead |",
                    "|---|---|---|---|",
                    "| p2pnic, best of its methods | 60.50 wr | 11.00 hy | |",
                    "| l3fwd, copying | 30.00b | | |",
                    "| l3fwd, zero-copy | 40.50 | **12.00** | %s |" %
                    standing.REASONS["memif", "l3fwd, zero-copy"],
                    "| testpmd (fixed ports) | **~99.00f** | | %s |" %
                    standing.REASONS["memif", "testpmd (fixed ports)"],
                    "| copy loop | 100.00 | | no peer: a limit |",
                    "", "| veth, IPv4, 1in-1out, Mpps | 64 B | why ahead |", "|---|---|---|",
                    "| p2pnic, best of its methods | 60.50 wr | |",
                    "| a<b | **61.00** | not known |"]
    page = standing.as_html(result)
    assert "<td>l3fwd, zero-copy<td>40.50<td><b>12.00</b><td>all its ports" in page
    assert "<tr><td>a&lt;b<td><b>61.00</b><td>not known" in page


def test_figures_of_tables(drawn):
    """A family a figure; a peer of one size is a line."""
    sizes = [{"af": af, "table": table, "routes": routes, "bytes_median": 1e6 * af}
             for af in (4, 6)
             for table, routes in (("p2pnic", 10), ("p2pnic", 20), ("rte_fib", 20))]
    assert figures.table_figures({"source": "made up", "sizes": sizes}, "") == [
        "fib-size-ipv4", "fib-size-ipv6"]
    assert "10 4.0\n20 4.0\n" in drawn["fib-size-ipv4"] and " 6.0" not in drawn["fib-size-ipv4"]
    assert '6.000000 with lines' in drawn["fib-size-ipv6"]
    assert "rte_fib: 6 MB" in drawn["fib-size-ipv6"]


def test_report():
    parts = {"latency": {"notes": ["refused: a: <b>", "skipped: c"]},
             "tables": {"notes": ["tables: d", "skipped: c"]}}
    text = figures.report(throughput(parts=parts), ["e"])
    missing, notes = text.split("<h2>Refused and skipped</h2>")[1].split("<h2>Notes</h2>")
    assert "refused: a: &lt;b&gt;" in missing and "skipped: c" in missing and "d" in notes
    assert missing.count("skipped: c") == 1 and "tables: d" not in missing and "A&lt;B" in text
    assert "Medians of 1 to 3 runs of each device" in text
    once = throughput()
    for one in once["throughput"]:
        one["runs"] = 1
    assert "One run of each device." in figures.report(once, [])


def test_ports_of_l3fwd():
    """DPDK's virtual devices, on either link."""
    run = devices.Run("/d", 2, 1)
    assert devices.L3fwd("lpm", "client", True, 9).ports(run)[1] == (
        "net_memif1,role=client,id=0,socket=/d/m1,socket-abstract=no,rsize=9,"
        "mac=02:00:00:00:00:01,zero-copy=yes")
    assert devices.L3fwd("lpm").ports(run)[0].endswith(",mac=02:00:00:00:00:00")
    assert veth.L3fwd().ports(run) == ["net_af_xdp0,iface=d0", "net_af_xdp1,iface=d1"]
    assert veth.L3fwd(False).ports(run)[0] == "net_af_xdp0,iface=d0,busy_budget=0"
    assert "--vdev=net_af_xdp1,iface=d1" in veth.L3fwd().eal(run, "1")


class Said(devices.Device):
    """A device that prints a line, and maybe ends."""
    name = "made up"

    def start(self, script):
        self.launch(["sh", "-c", script])


@pytest.mark.parametrize("script, says", [
    ("echo it forwards; exec sleep 100", None),
    ("echo it fails; exit 1", "made up -: it ended before it printed \"it forwards\": see "),
    ("exec sleep 100", "made up -: 1 s passed before it printed"),
])
def test_wait_for_line(tmp_path, monkeypatch, script, says):
    """A device that never forwards is refused, with the reason and where to look."""
    monkeypatch.setattr(devices, "BENCH", str(tmp_path))
    device = Said()
    try:
        device.start(script)
        if says:
            with pytest.raises(measure.Refused) as refused:
                device.wait_for_line("it forwards", 1)
            assert says in str(refused.value) and str(refused.value).endswith("log/made-up")
        else:
            device.wait_for_line("it forwards")
    finally:
        device.stop()


def test_xdp_forward(tmp_path, monkeypatch):
    """Started by its own loader, with its own libraries; not there, it says what fetches it."""
    monkeypatch.setattr(veth.XdpForward, "FOLDER", str(tmp_path))
    assert "bench/fetch-xdp-tools" in veth.XdpForward().available()
    for name in ("sbin/xdp-forward", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
    assert veth.XdpForward().available() is None
    library = str(tmp_path / "lib" / "x86_64-linux-gnu")
    assert veth.XdpForward().command("load", "d0")[-6:] == [
        library + "/ld-linux-x86-64.so.2", "--library-path", library,
        str(tmp_path / "sbin" / "xdp-forward"), "load", "d0"]


def listed(packets):
    """What nft -j says of the chain."""
    return json.dumps({"nftables": [
        {"metainfo": {"version": "1.0.6"}}, {"chain": {"name": "forward"}},
        {"rule": {"chain": "forward", "expr": [{"counter": {"packets": packets, "bytes": 1}}]}},
        {"rule": {"chain": "forward", "expr": [{"flow": {"op": "add", "flowtable": "@f"}}]}}]})


@pytest.mark.parametrize("packets, refused", [(40, False), (400, True)])
def test_flowtable_is_taken(monkeypatch, packets, refused):
    """Packets that passed the stack all the same are not a flow table's."""
    monkeypatch.setattr(veth.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess(
        [], 0, listed(packets), ""))
    runs = [{"run": {"received": 500}}, {"run": {"received": 500}}]
    if refused:
        with pytest.raises(measure.Refused, match="linux flowtable: 400 of 1000 packets"):
            veth.Flowtable().check(runs)
    else:
        veth.Flowtable().check(runs)


def test_linux_on_veth(permitted, monkeypatch):
    """Linux forwards between links of the bench's own, and its work is checked; its flow table
    does, or the kernel is said to have none. Nothing of it stays."""
    names = ["pb%d-%s" % (os.getpid(), end) for end in ("gen", "dut")]
    for attribute, name in zip(("GENERATOR", "DEVICE"), names):
        monkeypatch.setattr(veth, attribute, name)
    monkeypatch.setattr(devices, "P2PNIC", P2PNIC)
    monkeypatch.setattr(veth.VethDevice, "end", "af_packet")  # on every kernel
    settings = measure.Settings()
    settings.seconds = 0.5
    for device in (veth.Linux(False), veth.Flowtable()):
        with veth.Links(2):
            try:
                runs = measure.run_checked(device, 2, ["1in-1out"], [64], settings, ["-c", "full"])
                device.check(runs)
                assert runs[0]["run"]["received"]
            except measure.Refused as why:
                assert "this kernel has no flow tables" in str(why)
    assert not any(os.path.exists("/run/netns/" + name) for name in names)


def test_flowtable_of_no_kernel(monkeypatch):
    """What a kernel lacks is said; what else nft has to say is passed on."""
    said = []

    def run(command, **_):
        fails = "nft" in command
        return subprocess.CompletedProcess(command, fails, "", said[-1] if fails else "")

    monkeypatch.setattr(veth.subprocess, "run", run)
    for said_by_nft, reason in (
            ("Error: Could not process rule: No such file or directory\ntable ip …", "has no flow"),
            ("Error: Could not process rule: Device busy\n", "Device busy$")):
        said.append(said_by_nft)
        with pytest.raises(measure.Refused, match="^linux flowtable: .*" + reason):
            veth.Flowtable().start(devices.Run("/d", 2, 1))


def test_l3fwd_graph(monkeypatch):
    """Its two lcores share the processor under test; memory beforehand only where it can add none.
    It is not what "l3fwd" means in the ratios."""
    monkeypatch.setattr(devices, "huge_pages", lambda: devices.HUGE_PAGES)
    run, started = devices.Run("/d", 2, 1), []
    for zero_copy in (False, True):
        device = devices.L3fwdGraph("client", zero_copy)
        device.launch = started.append
        device.start(run)
    for command, zero_copy in zip(started, (False, True)):
        assert command[command.index("--lcores") + 1] == "(0,1)@1" and "-l" not in command
        assert ("-m" in command[:command.index("--")]) == zero_copy
        assert "--config=(0,0,1),(1,0,1)" in command and "--eth-dest=1,02:00:00:00:01:01" in command
    rows = [{**row(name, 64, [rate]), "routed": True}
            for name, rate in (("l3fwd lpm server 512", 20.0), ("l3fwd-graph server 2048", 30.0))]
    assert bench.best(rows, ("1in-1out", 64), "l3fwd")["mpps"] == 20.0
    assert [standing.label(r) for r in rows] == ["l3fwd, copying",
                                                 "l3fwd-graph, copying"]


def test_origin():
    """What every results.json begins with."""
    told = origin.all_of_it()
    assert set(told) == {"date", "source", "build", "machine"}
    assert told["machine"]["processors"] == os.cpu_count() and told["machine"]["kernel"]
    if os.path.exists(os.path.join(ROOT, ".git")):
        assert len(told["source"]["commit"]) == 40 and told["source"]["dirty"] in (True, False)
    if os.path.exists(os.path.join(ROOT, "build", "build.ninja")):
        assert told["build"]["version"] and told["build"]["options"]["buildtype"]


# --- Parts, and what is said meanwhile ------------------------------------------------------------

@pytest.fixture(name="origins")
def made_up_origin(monkeypatch):
    """What this tree, build and machine are said to be."""
    told = {"date": "today", "source": {"commit": "c0ffee", "dirty": False},
            "build": {"version": "gcc 12"}, "machine": {"kernel": "6.1", "huge_pages_free": 0}}
    monkeypatch.setattr(origin, "all_of_it", lambda: json.loads(json.dumps(told)))
    return told


def test_parts_of():
    assert results.parts_of("veth, latency throughput") == ["throughput", "latency", "veth"]
    with pytest.raises(SystemExit, match="^bench: latencies: no such part; there are throughput"):
        results.parts_of("latency,latencies")


def test_parts(tmp_path, origins):
    """A part that is measured again takes the place of its rows and notes, and of no others."""
    path = str(tmp_path / "new" / "results.json")
    result = results.to_complete(path, False)
    memif, other = row("p2pnic", 64, STEADY), {**row("p2pnic", 64, STEADY), "link": "veth"}
    results.put(result, "veth", {"throughput": [other]}, 60, 3, ["a", "b"])
    results.put(result, "throughput", {"throughput": [memif], "limit": [1]}, 600.4, 3, ["b"])
    results.put(result, "cpu", {"cpu": [2]}, 9, 1, [])
    results.write(result, path)
    assert os.listdir(tmp_path / "new") == ["results.json"]
    origins["machine"]["huge_pages_free"] = 512  # nobody's difference
    again = results.to_complete(path, False)
    assert again["throughput"] == [memif, other] and results.notes_of(again) == ["a", "b"]
    assert results.durations(again) == "veth 60 s, throughput 600 s, cpu 9 s"
    results.put(again, "veth", {"throughput": [{**other, "mpps": 1.0}]}, 50, 1, ["c"])
    assert again["throughput"] == [memif, {**other, "mpps": 1.0}]
    assert (again["limit"], again["cpu"], results.notes_of(again)) == ([1], [2], ["c", "b"])
    results.set_aside(path)
    assert os.listdir(tmp_path / "new") == ["results.previous.json"]
    results.set_aside(path)  # nothing is there


@pytest.mark.parametrize("change, says", [
    (lambda o: o["source"].update(commit="bad"), "source.commit: c0ffee there, bad now"),
    (lambda o: o["source"].update(dirty=True), "source.dirty: False there, True now"),
    (lambda o: o["build"].update(version="gcc 13"), "build.version: gcc 12 there, gcc 13 now"),
    (lambda o: o["machine"].update(kernel="6.2"), "machine.kernel: 6.1 there, 6.2 now"),
])
def test_parts_of_elsewhere(tmp_path, origins, change, says):
    path = str(tmp_path / "results.json")
    result = results.new(False)
    results.write(result, path)
    change(origins)
    assert results.to_complete(path, False) == results.new(False)  # nothing was measured yet
    results.put(result, "cpu", {"cpu": []}, 1, 1, [])
    results.write(result, path)
    with pytest.raises(SystemExit, match=re.escape(says)):
        results.to_complete(path, False)


def test_parts_that_cannot_be_told_apart(tmp_path, origins):
    """Files that differ from the commit may differ from each other; a quick bench's rows are few;
    what is no result at all is not overwritten."""
    path = tmp_path / "results.json"
    origins["source"]["dirty"] = True
    result = results.new(False)
    results.put(result, "cpu", {"cpu": []}, 1, 1, [])
    results.write(result, str(path))
    with pytest.raises(SystemExit, match="whether they were the same is not known"):
        results.to_complete(str(path), False)
    with pytest.raises(SystemExit, match="bench-quick and bench do not share results"):
        results.to_complete(str(path), True)
    for text in ("{}", "[]", "{"):
        path.write_text(text)
        with pytest.raises(SystemExit, match="results.json: no results to add parts to"):
            results.to_complete(str(path), False)


def scripted(monkeypatch, script):
    """Runs are made up. script: {frame size: [kind of windows of each run, or None]}"""
    def run_checked(_, __, patterns, sizes, *___):
        out = []
        for size in sizes:
            had = script[size].pop(0)
            out.append({"pattern": patterns[0], "frame_bytes": size, "run": {
                k: {"windows": 8 if k == had else 0, "mpps": 1.0} for k in measure.KINDS}})
        return out

    monkeypatch.setattr(measure, "run_checked", run_checked)
    monkeypatch.setattr(measure.progress, "part", "part")


def in_turn(device, samples):
    measure.in_turn([(samples, device, 2, "1in-1out", [], "words")], [64, 512], 2, None, print)


def throughput_of(device, _):
    bench.throughput([device], ["1in-1out"], [64, 512], 2, None, None, print)


@pytest.mark.parametrize("way, name", [(in_turn, "p2pnic wr, words, 1in-1out"),
                                       (throughput_of, "p2pnic wr, 2 ports")])
def test_progress_of_rounds(monkeypatch, capsys, way, name):
    """What is repeated, and why: by the windows that its rows had."""
    scripted(monkeypatch, {64: ["busy", "busy", "near"], 512: [None, "far", "far", "far"]})
    way(devices.P2pnic("wr"), bench.Samples())
    assert capsys.readouterr().err.splitlines() == ["  part: " + text for text in (
        "round 1 of 2: " + name, "round 2 of 2: " + name,
        "repeat 1 of at most 2: %s: 2 rows without near windows (1 had busy, 1 had far)" % name,
        "repeat 2 of at most 2: %s: 1 row without near windows (1 had far)" % name)]


def test_progress_of_attempts(monkeypatch, capsys):
    scripted(monkeypatch, {64: ["busy", None, "near"]})
    measure.run_near(devices.P2pnic("wr"), 2, "1in-1out", 64, None)
    name = "  part: p2pnic wr, 1in-1out, 64 B"
    assert capsys.readouterr().err.splitlines() == [
        name, name + ": attempt 2 of 5: 1 row without near windows (1 had busy)",
        name + ": attempt 3 of 5: 1 row without near windows (1 had none of one kind)"]
