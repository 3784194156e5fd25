# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic tester` as a command: arguments, the shape of its JSON, a wire on the other end. What it finds in a
device's work is tested in tests/unit/test_tester_run.c."""

import json

import pytest

from network import P2PNIC, run


def command(*arguments):
    return run(P2PNIC, "tester", *arguments)


def self_test(tmp_path, *arguments):
    ports = [word for n in range(2) for word in ("-p", f"memif:{tmp_path}/{n},role=server")]
    done = command("self", *ports, "-j", *arguments)
    assert done.returncode == 0, done.stderr
    return [entry["run"] for entry in json.loads(done.stdout)["runs"]]


def test_wire(tmp_path):
    small, large = self_test(tmp_path, "-s", "64,1518", "-t", "0.1", "-l", "1")
    for result in (small, large):
        assert result["received"] == result["sent"] - result["lost"] > 0
        assert result["checked"] == result["received"] and not any(result["errors"].values())
        assert result["latency"]["p50_ns"] <= result["latency"]["p99_ns"] <= result["latency"]["max_ns"]
        assert result["far"]["windows"] == result["spoilt_windows"] == 0
        assert 0 < result["near"]["mpps"] <= result["near"]["best_mpps"]


def test_number_of_packets(tmp_path):
    assert [r["sent"] for r in self_test(tmp_path, "-n", "1000", "-r", "100k")] == [1000]


def test_near(tmp_path):
    """Any distance is near: the run ends with so many windows, long before its time; none is: all are far or spoilt."""
    near, = self_test(tmp_path, "-t", "30", "-w", "0", "--near", "0-1000000000:3")
    assert near["near"]["windows"] == 3 and near["seconds"] < 20
    busy, = self_test(tmp_path, "-t", "0.2", "--near", "0-1000000000", "--step", "0.000001")
    assert busy["near"]["windows"] == 0 and busy["busy"]["windows"] + busy["spoilt_windows"] > 0
    far, = self_test(tmp_path, "-t", "0.2", "-l", "1", "--near", "0-0.001")
    assert far["near"]["windows"] == 0 and far["far"]["windows"] + far["spoilt_windows"] > 0
    assert "latency" not in far


@pytest.mark.parametrize("arguments", [
    [], ["run"], ["fly", "-p", "memif:x"], ["run", "-p", "memif:x", "--nonsense"], ["run", "-p", "memif:x", "-r", "fast"],
    ["run", "-p", "memif:x", "-l", "3"], ["run", "-p", "memif:x", "-c", "half"], ["run", "-p", "memif:x", "-m", "guess"],
    ["run", "-p", "memif:x", "-M", "0=02:00"], ["run", "-p", "memif:x", "--near", "5"],
    ["run", "-p", "memif:x", "--near", "9-3"], ["run", "-p", "memif:x", "--near", "1-2:x"],
    ["run", "-p", "memif:x", "--near", "1-2:9999"], ["run", "-p", "memif:x", "--step", "x"]])
def test_usage(arguments):
    done = command(*arguments)
    assert done.returncode == 2 and done.stderr


@pytest.mark.parametrize("port, why", [("carrier-pigeon:x", "is no KIND:TARGET"), ("memif", "is no KIND:TARGET"),
                                       ("memif:" + "x" * 200, "too long"), ("memif:/nonexistent/x,role=server", "No such")])
def test_port_that_is_none(port, why):
    done = command("run", "-p", port, "-W", "1")
    assert done.returncode == 1 and why in done.stderr


def test_nobody_there(tmp_path):
    done = command("run", "-p", f"memif:{tmp_path}/m,role=client", "-W", "0.3")
    assert done.returncode == 1 and "no link within 0.3 s" in done.stderr


@pytest.mark.parametrize("arguments, why", [(["-P", "3in-1out"], "a pattern that exists"), (["-P", "4in-4out"], "needs 4 ports"),
                                            (["-s", "20"], "frame size 20"), (["-s", "9000"], "frame size 9000")])
def test_run_that_cannot_be(tmp_path, arguments, why):
    ports = [word for n in range(2) for word in ("-p", f"memif:{tmp_path}/{n},role=server")]
    done = command("self", *ports, "-t", "0.1", *arguments)
    assert done.returncode == 1 and why in done.stderr
