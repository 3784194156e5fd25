# SPDX-License-Identifier: BSD-3-Clause
"""Arguments of the p2pnic command and of `p2pnic nic`, `keeper` and `router`: status, stream and
reason."""

import json
import os
import signal
import subprocess

import pytest

from network import P2PNIC, SETTLE, eventually, run


def test_top():
    for words in (["--help"], ["-h"], ["help"]):
        done = run(P2PNIC, *words)
        assert done.returncode == 0 and "usage: p2pnic COMMAND" in done.stdout and not done.stderr
    for words in (["--version"], ["-V"]):
        done = run(P2PNIC, *words)
        assert done.returncode == 0 and done.stdout.startswith("p2pnic ")
        assert json.loads(run(P2PNIC, *words, "-j").stdout) == {"p2pnic": done.stdout.split()[1]}
    done = run(P2PNIC)
    assert done.returncode == 2 and "usage: p2pnic COMMAND" in done.stderr and not done.stdout
    done = run(P2PNIC, "fly")
    assert done.returncode == 2 and "no command 'fly'; `p2pnic --help` lists" in done.stderr
    done = run(P2PNIC, "shwo")
    assert done.returncode == 2 and "no command 'shwo'; did you mean 'show'?" in done.stderr


def commands():
    """As the command lists them: one that is added is tested."""
    listed = run(P2PNIC, "--help").stdout.split("\n\n")[1]
    return [line.split()[0] for line in listed.splitlines()]


def test_list():
    assert commands() == ["router", "reload", "stop", "config", "show", "top", "watch", "capture",
                          "trace", "replay", "lab", "nic", "keeper", "punt", "metrics", "report",
                          "doctor", "tester", "model", "fib", "completion"]


@pytest.mark.parametrize("name", commands())
def test_help(name):
    done = run(P2PNIC, name, "--help")
    assert done.returncode == 0 and "usage" in done.stdout.lower() and not done.stderr
    done = run(P2PNIC, name, "--nonsense")
    assert done.returncode == 2 and done.stderr and not done.stdout


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["fib", "--help"],
                                   ["fib", "synthesize"]])
def test_no_standard_output(words):
    """Closed, it takes no answer: that is a failure, and said."""
    done = subprocess.run([P2PNIC, *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, timeout=60, check=False, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1 and "standard output: Bad file descriptor" in done.stderr


@pytest.mark.parametrize("words", [["--help", "more"], ["help", "-j"], ["--version", "more"],
                                   ["-V", ""], ["-V", "-j", "more"],
                                   ["keeper", "--socket", "/nowhere/k", "--ready-fd", "99"]])
def test_what_makes_no_sense(words):
    done = run(P2PNIC, *words)
    assert done.returncode == 2 and words[-1] in done.stderr and not done.stdout


@pytest.mark.parametrize("words", [["keeper"], ["keeper", "--socket", "x", "more"], ["punt"],
                                   ["punt", "metrics", "--socket", "x", "more"], ["router"],
                                   ["router", "more"],
                                   ["router", "-c", "x", "more"], ["router", "--leave-running"]])
def test_too_few_or_too_many(words):
    done = run(P2PNIC, *words)
    assert (done.returncode == 2 and done.stderr.startswith(f"usage: p2pnic {words[0]} ")
            and not done.stdout)


def test_quiet_is_not_silent():
    """Reasons of failures are said all the same."""
    for words in ([], ["-q"], ["--quiet"]):
        done = run(P2PNIC, "router", *words, "-c", "/nowhere/router.yaml")
        assert (done.returncode == 1
                and "/nowhere/router.yaml: No such file or directory" in done.stderr)


NIC = ["--nic", "a", "--socket", "{t}/a.sock", "--port", "pcap:,{t}/a.pcap"]


@pytest.mark.parametrize("words, status, why", [
    ([], 2, "usage"), (NIC + ["more"], 2, "usage"),
    (["--nic", "a"], 1, "a needs --socket and --port"),
    (["--nic", "a", "--socket", "{t}/a"], 1, "a needs --socket and --port"),
    (["--nic", "a", "--nic", "b"], 1, "a needs"), (["--nic", "a", "--engine", "e"], 1, "a needs"),
    (["--method", "xy"], 2, "no method 'xy'; want wr, rd, bn or hy"),
    (["--port", "pcap"], 2, "port 'pcap': want TYPE:TARGET"),
    (["--mac", "02:00"], 2, "'02:00' is no MAC address"),
    (["--mac", "03:00:00:00:00:01"], 2, "03:00:00:00:00:01 is a group address"),
    (["--engine", "e:9999"] + NIC, 1, "engine 'e:9999': "),
    (NIC + ["--table-memory", "3"], 1, "powers of two"), (
        NIC + ["--packet-memory", "9999"], 2, "no number of MiB"),
    (NIC + ["--packet-memory", "16x"], 2, "no number of MiB"), (
        NIC + ["--table-memory", "many"], 2, "no number of MiB"),
    (["--nic", "a", "--socket", "{t}/a", "--port", "dove:x"], 1, "no port type 'dove'"),
    (NIC + ["--port-options", "nonsense=1"], 1, "nonsense"),
    (NIC + ["--port-options", "secret=1,secret=2"], 1, "cannot hide the secret of a"),
    (["--port-options", "secret=1,secret=2"], 1, "cannot hide the secret of a NIC"),
    (["--nic", "a:b", "--socket", "{t}/a.sock", "--port", "pcap:,"], 1, "engine 'a:b': want NAME"),
    (["--engine", "e" * 128], 1, "want NAME[:CORE[:shared]]"),
    (["--engine", "e:1023"], 1, "engine e:1023: Invalid argument"),
    ([word for n in range(65) for word in ("--engine", f"e{n}")], 1, "at most 64 engines"),
    ([word for n in range(65) for word in ("--nic", f"n{n}", "--socket", f"{{t}}/{n}.sock",
                                           "--port", "pcap:,")], 1,
     "at most 64 NICs")])
def test_nic_refuses(tmp_path, words, status, why):
    done = run(P2PNIC, "nic", *(word.format(t=tmp_path) for word in words))
    assert done.returncode == status and why in done.stderr and not done.stdout
    assert not list(tmp_path.glob("*.sock"))


@pytest.mark.parametrize("method", ["wr", "rd", "bn"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nic_runs_and_ends(tmp_path, method, number):
    """Two NICs on one engine, with everything that can be said; a signal ends them and takes the
    sockets along."""
    words = ["--method", method, "--engine", "e:0:shared", *NIC, "--mac", "02:00:00:00:00:01",
             "--nic", "b", "--socket", "{t}/b.sock", "--port", "pcap:,{t}/b.pcap"]
    nic = subprocess.Popen([P2PNIC, "nic", *(word.format(t=tmp_path) for word in words)],
                           stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: len(list(tmp_path.glob("*.sock"))) == 2, what="two sockets")
        nic.send_signal(number)
        assert nic.wait(SETTLE) == 0
        assert not list(tmp_path.glob("*.sock"))
    finally:
        nic.kill()
        nic.wait()
