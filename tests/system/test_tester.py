# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic tester` as a command: arguments, the shape of its JSON, a wire on the other end. What it
finds in a device's work is tested in tests/unit/test_tester_run.c."""

import contextlib
import json
import os
import pty
import re
import subprocess

import pytest

from network import P2PNIC, SETTLE, run

LATE = "60"  # seconds for a link, on a machine that is busy with other things


def command(*arguments):
    return run(P2PNIC, "tester", *arguments)


def self_test(tmp_path, *arguments):
    ports = [word for n in range(2) for word in ("-p", f"memif:{tmp_path}/{n},role=server")]
    done = command("self", *ports, "-W", LATE, "-j", *arguments)
    assert done.returncode == 0, done.stderr
    return [entry["run"] for entry in json.loads(done.stdout)["runs"]]


def test_wire(tmp_path):
    small, large = self_test(tmp_path, "-s", "64,1518", "-t", "0.5", "-l", "1")
    for result in (small, large):
        assert result["received"] == result["sent"] - result["lost"] > 0
        # A frame of the run before, which the wire had not passed on in time, is foreign.
        assert not any(n for error, n in result["errors"].items() if error != "foreign")
        assert result["checked"] == result["received"]
        latency = result["latency"]
        assert latency["p50_ns"] <= latency["p99_ns"] <= latency["max_ns"]
        assert result["far"]["windows"] == result["spoilt_windows"] == 0
        assert 0 < result["near"]["mpps"] <= result["near"]["best_mpps"]


def test_number_of_packets(tmp_path):
    assert [r["sent"] for r in self_test(tmp_path, "-n", "1000", "-r", "100k")] == [1000]


def test_near(tmp_path):
    """Any distance is near: the run ends with so many windows, long before its time; none is: all
    are far or spoilt."""
    near, = self_test(tmp_path, "-t", "30", "-w", "0", "--near", "0-1000000000:3")
    assert near["near"]["windows"] == 3 and near["seconds"] < 20
    busy, = self_test(tmp_path, "-t", "0.2", "--near", "0-1000000000", "--step", "0.000001")
    assert busy["near"]["windows"] == 0 and busy["busy"]["windows"] + busy["spoilt_windows"] > 0
    far, = self_test(tmp_path, "-t", "0.2", "-l", "1", "--near", "0-0.001")
    assert far["near"]["windows"] == 0 and far["far"]["windows"] + far["spoilt_windows"] > 0
    assert "latency" not in far


@pytest.mark.parametrize("arguments", [
    [], ["run"], ["fly", "-p", "memif:x"], ["run", "-p", "memif:x", "--nonsense"],
    ["run", "-p", "memif:x", "-r", "fast"],
    ["run", "-p", "memif:x", "-l", "3"], ["run", "-p", "memif:x", "-c", "half"],
    ["run", "-p", "memif:x", "-m", "guess"],
    ["run", "-p", "memif:x", "-M", "0=02:00"], ["run", "-p", "memif:x", "--near", "5"],
    ["run", "-p", "memif:x", "--near", "9-3"], ["run", "-p", "memif:x", "--near", "1-2:x"],
    ["run", "-p", "memif:x", "--near", "1-2:9999"], ["run", "-p", "memif:x", "--near", "3-3"],
    ["run", "-p", "memif:x", "-r", ""], ["run", "-p", "memif:x", "-r", "1%" * 20],
    ["run", "-p", "memif:x", "-r", "x%"],
    ["run", "-p", "memif:x", "-c", "full:x"], ["run", "-p", "memif:x", "-c", "full:0"],
    ["run", "-p", "memif:x", "-M", "99=02:00:00:00:00:01"],
    ["run", "-p", "memif:x", "-M", "0=02:00:00:00:00:01x"],
    ["run", "-p", "memif:x", "-C", "0.5"], ["run", "-p", "memif:x", "-t", "1q"],
    ["run", *["-p", "memif:x"] * 99], ["run", "-p", "memif:x", "--step", "x"],
    ["run", "-p", "memif:x", "-t", "1e999"], ["run", "-p", "memif:x", "-t", "1e16"],
    ["run", "-p", "memif:x", "-t=-1"],
    ["run", "-p", "memif:x", "--near", "1-2:3x"], ["run", "-p", "memif:x", "--near=-1-2"],
    ["run", "-p", "memif:x,secret=a,secret=b"], ["run", "-p", "memif:x", "more"]])
def test_usage(arguments):
    done = command(*arguments)
    assert done.returncode == 2 and done.stderr


@pytest.mark.parametrize("port, why", [("carrier-pigeon:x", "is no KIND:TARGET"),
                                       ("memif", "is no KIND:TARGET"),
                                       ("memif:" + "x" * 200, "too long"),
                                       ("memif:/nonexistent/x,role=server", "No such")])
def test_port_that_is_none(port, why):
    done = command("run", "-p", port, "-W", "1")
    assert done.returncode == 1 and why in done.stderr


def test_nobody_there(tmp_path):
    done = command("run", "-p", f"memif:{tmp_path}/m,role=client", "-W", "0.3")
    assert done.returncode == 1 and "no link within 0.3 s" in done.stderr


@pytest.mark.parametrize("arguments, why", [(["-P", "3in-1out"], "a pattern that exists"),
                                            (["-P", "4in-4out"], "needs 4 ports"),
                                            (["-s", "x"], "'x' is no number"),
                                            (["-s", ""], "no pattern or no size"),
                                            (["-P", ""], "a pattern that exists"),
                                            (["-s", "20"], "frame size 20"),
                                            (["-s", "9000"], "frame size 9000")])
def test_run_that_cannot_be(tmp_path, arguments, why):
    ports = [word for n in range(2) for word in ("-p", f"memif:{tmp_path}/{n},role=server")]
    done = command("self", *ports, "-W", LATE, "-t", "0.1", *arguments)
    assert done.returncode == 1 and why in done.stderr


@contextlib.contextmanager
def wire(tmp_path, ports=2):
    """`p2pnic tester wire` in a process of its own; yields the arguments of who sends."""
    names = [f"{tmp_path}/w{n}" for n in range(ports)]
    mine = [word for name in names for word in ("-p", f"memif:{name},role=server")]
    theirs = [word for name in names for word in ("-p", f"memif:{name},role=client,unsealed=no")]
    other = subprocess.Popen([P2PNIC, "tester", "wire", *theirs], stdin=subprocess.DEVNULL)
    try:
        yield ["-m", "bridged", "-W", LATE, *mine]
    finally:
        other.terminate()
        assert other.wait(SETTLE) in (0, 1)


def test_burst(tmp_path):
    """The longest burst that came back whole, up to the one asked for."""
    with wire(tmp_path) as arguments:
        done = command("burst", *arguments, "-n", "4096", "-j")
    assert done.returncode == 0, done.stderr
    entry, = json.loads(done.stdout)["runs"]
    assert 0 < entry["burst_packets"] <= 4096


def test_text(tmp_path):
    """The same as text: what was searched, and a report that names each number."""
    with wire(tmp_path) as arguments:
        done = command("burst", *arguments, "-n", "512", "-l", "16")
    assert done.returncode == 0, done.stderr
    assert "longest burst without loss: " in done.stdout
    assert "1in-1out, 64 bytes" in done.stdout and "burst 512: " in done.stdout


def test_curve(tmp_path):
    """Every rate of the curve with what was lost at it, in ascending order."""
    with wire(tmp_path) as arguments:
        done = command("curve", *arguments, "-r", "20k", "-t", "0.05", "-w", "0", "-j")
    assert done.returncode == 0, done.stderr
    entry, = json.loads(done.stdout)["runs"]
    rates = [point["rate_pps"] for point in entry["curve"]]
    assert len(rates) > 1 and sorted(set(rates)) == sorted(rates) and max(rates) <= 20000 * 1.3


def test_text_of_searches(tmp_path):
    """Each rate that was tried, and what came of it."""
    with wire(tmp_path) as arguments:
        for action, end in (("throughput", "throughput without loss: "),
                            ("curve", "  rate 10000: ")):
            done = command(action, *arguments, "-r", "10k", "-t", "0.05", "-w", "0")
            assert done.returncode == 0, done.stderr
            assert "  rate " in done.stdout and end in done.stdout


def test_copy(tmp_path):
    """A device that copies each packet, until a signal."""
    names = [f"{tmp_path}/c{n}" for n in range(2)]
    theirs = [word for name in names for word in ("-p", f"memif:{name},role=client,unsealed=no")]
    mine = [word for name in names for word in ("-p", f"memif:{name},role=server")]
    device = subprocess.Popen([P2PNIC, "tester", "copy", *theirs], stdin=subprocess.DEVNULL)
    try:
        done = command("run", "-m", "bridged", *mine, "-n", "100", "-r", "50k", "-j")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)["runs"][0]["run"]
        assert result["received"] + result["lost"] == 100 and result["received"] > 0
        assert not any(result["errors"].values())
    finally:
        device.terminate()
        assert device.wait(SETTLE) in (0, 1)


def test_search(tmp_path):
    """A rate without loss is found below the one given, and latency is measured at a rate given."""
    with wire(tmp_path) as arguments:
        done = command("throughput", *arguments, "-r", "1k", "-t", "0.05", "-w", "0", "-j")
        assert done.returncode == 0, done.stderr
        assert 0 < json.loads(done.stdout)["runs"][0]["throughput_pps"] <= 1000
        done = command("latency", *arguments, "-r", "10k", "-t", "0.2", "-w", "0", "-j")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["run"]["latency"]["p50_ns"] > 0


@pytest.mark.parametrize("options", [
    ["-r", "0.001%", "--gbps", "10"], ["-C", "0", "--realtime", str(os.getpid()), "--realtime",
                                       "999999999"],
    ["-r", "20k", "-s", "512"], ["-r", "20K"], ["-c", "header:2", "-m", "mac"],
    ["-C", "0", "--cpu2", "0", "--realtime", "0"],
    ["--no-carry", "-M", "0=02:00:00:00:00:09", "-l", "8"], ["-r", "0.02M", "-c", "none"],
    ["-6", "-s", "300"]])
def test_options(tmp_path, options):
    result, = self_test(tmp_path, "-n", "200", "-t", "1", *options)
    assert result["sent"] == 200
    assert result["received"] + result["lost"] == 200


def test_destinations(tmp_path):
    prefixes = tmp_path / "prefixes"
    prefixes.write_text("198.18.0.0/16\n203.0.113.0/24\n")
    result, = self_test(tmp_path, "-n", "100", "-d", f"{prefixes}:16")
    assert result["sent"] == 100
    for bad, why in ((f"{prefixes}:0", "is not 1 to 1048576"),
                     (f"{prefixes}:9999999", "is not 1 to 1048576"),
                     (f"{prefixes}:x", "is not 1 to 1048576"), (f"{tmp_path}/none", "No such file"),
                     (f"{tmp_path}/none:4", "No such file")):
        done = command("run", "-p", f"memif:{tmp_path}/0,role=server", "-d", bad)
        assert done.returncode == 1 and why in done.stderr
    ports = [word for n in range(2) for word in ("-p", f"memif:{tmp_path}/{n},role=server")]
    done = command("self", *ports, "-d", str(prefixes), "--ipv6")
    assert done.returncode == 1 and "no IPv6 prefix in it" in done.stderr
    prefixes.write_text("2001:db8::/32\n")
    result, = self_test(tmp_path, "-n", "100", "-d", f"{prefixes}:16", "--ipv6")
    assert result["sent"] == result["received"] == 100


def test_capture_port(tmp_path):
    """Any port type is an end of the tester: what it sends into a capture is there."""
    out = tmp_path / "out.pcap"
    done = command("run", "-p", f"pcap:,{out}", "-p", f"pcap:,{tmp_path}/other.pcap", "-n", "50",
                   "-j")
    result = json.loads(done.stdout)["runs"][0]["run"]
    assert result["sent"] == result["lost"] == 50 and result["received"] == 0
    assert out.stat().st_size == 24 + 50 * (16 + 60)


def test_search_from_the_top(tmp_path):
    """Without a rate it begins at what the wire takes when pushed; latency is measured at half of
    what it found."""
    with wire(tmp_path) as arguments:
        done = command("latency", *arguments, "-t", "0.05", "-w", "0", "-j")
        assert done.returncode == 0, done.stderr
        entry, = json.loads(done.stdout)["runs"]
        assert entry["throughput_pps"] > 0 and entry["run"]["latency"]["p50_ns"] > 0


@pytest.mark.parametrize("action", ["throughput", "curve"])
def test_nothing_comes_back(tmp_path, action):
    """Then there is no rate to begin from."""
    ports = [word for n in range(2) for word in ("-p", f"pcap:,{tmp_path}/{n}.pcap")]
    done = command(action, *ports, "-n", "20", "-W", "1")
    assert done.returncode == 1 and "nothing came back of what was sent" in done.stderr


def test_clients(tmp_path):
    """The wire serves where the tester is the client."""
    ports = [word for n in range(2) for word in ("-p",
                                                 f"memif:{tmp_path}/{n},role=client,unsealed=no")]
    done = command("self", *ports, "-n", "100", "-j")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["run"]["sent"] == 100


def test_progress(tmp_path):
    """On a terminal it tells how far it is, and wipes that away; in JSON's company it does not."""
    for words, told in (([], True), (["-j"], False)):
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "wb", 0) as terminal:
            subprocess.run([P2PNIC, "tester", "run", "-p", f"pcap:,{tmp_path}/p.pcap", "-p",
                            f"pcap:,{tmp_path}/q.pcap", "-r", "1k", "-t", "1.5", "-W", "1", *words],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal,
                           timeout=60, check=False)
            os.set_blocking(ours, False)
            with contextlib.suppress(BlockingIOError):
                said = b""
                said = os.read(ours, 65536)
        os.close(ours)
        assert (re.search(rb"\r\d\.\d s  sent \d+\.\d M  received 0\.0 M",
                          said) is not None) == told, said
        assert said.endswith(b"\r\x1b[K") == told, said


def test_cores():
    """With one processor named twice nothing comes back in time, which is a number too."""
    done = command("cores", "-n", "2", "-C", "0", "--cpu2", str(min(1, os.cpu_count() - 1)))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 2 and all(float(number) != 0 for line in lines for number in line)
    done = command("cores", "-j", "-C", "0", "--cpu2", str(min(1, os.cpu_count() - 1)))
    assert set(json.loads(done.stdout)) == {"round_trip_ns", "step_ns"}
    assert command("cores").returncode in (0, 1)
    done = command("cores", "-C", "0", "--cpu2", "9999")
    assert done.returncode == 1 and "cannot be used" in done.stderr
    done = command("cores", "-C", "9999")
    assert done.returncode == 1 and "cannot be used" in done.stderr


def test_help_and_refusals(tmp_path):
    done = command("--help")
    assert done.returncode == 0 and "--near LOW-HIGH" in done.stdout and not done.stderr
    for action, why in (("fly", "no action 'fly'"), ("wire", "memif ports"),
                        ("self", "memif ports")):
        done = command(action, "-p", f"pcap:,{tmp_path}/x.pcap")
        assert done.returncode != 0 and why in done.stderr
    done = command("run", "-p", "memif:x", "-C", "9999")
    assert done.returncode == 1 and "cannot run on that processor" in done.stderr
    done = command("run", "-p", "memif:x", "--near", "1-2", "--cpu2", "9999")
    assert done.returncode == 1 and "--cpu2" in done.stderr
