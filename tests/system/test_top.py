# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic top` on a terminal, as text, and as JSON: of a router that only talks (fake_router.py),
whose counters are known, and of a real one."""

import json
import os
import re
import signal
import subprocess

import pytest

from fake_router import FakeRouter
from network import P2PNIC, SETTLE, eventually, run
from terminal import Terminal


@pytest.fixture(name="router")
def router_fixture(tmp_path):
    router = FakeRouter(f"{tmp_path}/run", 4)
    router.runtime = f"{tmp_path}/run"
    yield router
    router.close()


class Top(Terminal):
    def __init__(self, router, *words, **options):
        super().__init__(P2PNIC, "top", "--runtime", router.runtime, "-d", "0.2", *words, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def short(n):
    """As it prints numbers."""
    unit = 0
    while n >= 999.5:
        n /= 1000
        unit += 1
    digits = 0 if n >= 99.95 or (not unit and n == int(n)) else 1 if n >= 9.995 else 2
    return f"{n:.{digits}f}" + (" kMGT"[unit] if unit else "")


def row(text, name):
    return next(line.split()[1:] for line in text.splitlines() if line.split()[:1] == [name])


def test_screen(router):
    with Top(router, lines=40, columns=100) as top:
        text = top.shows("From NIC (row) to NIC (column), packets/s", "Drops by reason",
                         "To the kernel", "4 of 4 NICs forward; 1000000 + 200000 routes",
                         "no-route")
        assert max(map(len, text.splitlines())) <= 100
        # Figures of two moments of the router's clock, whenever they were asked for.
        router.frozen = 100.0
        top.until(lambda _: True)
        eventually(lambda: not top.read() or "/s" in top.text(), what="a frame")
        router.frozen = 101.0
        want = [short(router._packets(1, e, 101.0) - router._packets(1, e, 100.0))
                for e in range(4)]
        top.until(lambda t: row(t, "nic2")[:4] == want, want)
        assert float(row(top.text(), "nic2")[4].rstrip("k")) > 0
        top.type("q")
        assert top.wait() == 0
        assert top.raw.endswith(b"\x1b[?25h\x1b[?1049l")  # the terminal is as it was


def test_keys(router):
    with Top(router, lines=50, columns=100) as top:
        top.shows("packets/s", "no-route", "by rate")
        top.type("u")
        text = top.shows("bit/s\n")
        assert "(column), packets/s" not in text
        top.type("u")
        top.shows("(column), packets/s", "(column), bit/s")
        top.type("u")
        top.type("n")
        text = top.shows("only nic1")
        assert "ring-full" not in text.split("To the kernel")[0]  # nic1 has none
        top.type("nn")
        top.shows("only nic3", "ring-full")
        top.type("N")
        top.shows("only nic2")
        top.type("a")
        top.until(lambda t: "only" not in t)
        top.type("s")
        top.shows("by total")
        top.type("s")
        top.shows("by name")
        rows = [line.split()[0] for line in top.text().split("NIC    state")[1].splitlines()[1:5]]
        assert rows == ["nic1", "nic2", "nic3", "nic4"]
        for key, there, gone in (("2", "(column)", "state"), ("3", "state", "(column)"),
                                 ("4", "Drops by", "state"), ("5", "To the kernel", "Drops by"),
                                 ("1", "Drops by", None)):
            top.type(key)
            text = top.until(lambda t, there=there, gone=gone: there in t and
                             not (gone and gone in t), key)
        top.type("v")
        top.until(lambda t: "(column)" in t and "state" not in t)
        top.type("1+")
        top.shows("every 0.4 s")
        top.type("--")
        top.shows("every 0.1 s")
        top.type(" ")
        top.shows("paused")
        top.type(" ")
        top.until(lambda t: "paused" not in t)
        top.type("?")
        top.shows("any key goes back")
        top.type("x")
        top.shows("Drops by")
        os.kill(top.pid, signal.SIGINT)
        assert top.wait() == 0 and top.raw.endswith(b"\x1b[?25h\x1b[?1049l")


def test_size(router):
    """Never more than there is, however small; the rest is reached by scrolling."""
    with Top(router, lines=24, columns=80) as top:
        top.shows("Drops by")
        for columns, lines in ((40, 10), (20, 3), (1, 1), (1200, 20), (132, 60)):
            top.resize(columns, lines)
            top.until(lambda t, lines=lines: len(t.splitlines()) <= lines and t)
        top.shows("To the kernel", "link")
        top.resize(60, 8)
        top.shows("p2pnic top", "From NIC")
        top.type("\x1b[B" * 40)  # down, further than there is
        text = top.shows("link")
        assert text.startswith("p2pnic top")  # that stays
        top.type("\x1b[A")  # up again
        top.until(lambda t: "kernel  " in t and "link  " not in t)
        top.type("\x1b[H")
        top.shows("From NIC")
        for _ in range(3):
            top.type("\x1b[6~")  # page down
        top.until(lambda t: "From NIC" not in t)
        for _ in range(3):
            top.type("\x1b[5~")
        top.shows("From NIC")
        top.resize(30, 12)
        top.until(lambda t: "nic1    nic2    nic3" in t and "nic4" not in t.splitlines()[4])
        top.type("\x1b[C\x1b[C")  # right: the names of rows stay
        text = top.until(lambda t: "nic3    nic4" in t)
        assert "nic2" not in text.splitlines()[4] and text.splitlines()[5].startswith("nic1 ")
        top.type("\x1b[D\x1b[D\x1b[")  # and a sequence that is cut short
        top.shows("nic1    nic2    nic3")
        top.type("q")
        assert top.wait() == 0


def test_router_goes_and_comes(router):
    with Top(router, lines=40, columns=100) as top:
        top.shows("no-route")
        router.close()
        top.shows("no answer, what is shown is old", "no-route")
        again = FakeRouter(router.runtime, 4)
        try:
            again.template = {**again.template, "router": {**again.template["router"], "pid": 2}}
            top.until(lambda t: "no answer" not in t and "every" in t)
            top.until(lambda t: row(t, "nic1")[1] not in ("-", "0"))
            again.silent = True
            top.shows("no answer")
            again.silent = False
            top.until(lambda t: "no answer" not in t)
            top.type("q")
            assert top.wait() == 0
        finally:
            again.close()


def stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="utf8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


def test_stopped_and_continued(router):
    """^Z gives the terminal back, and fg takes it again."""
    with Top(router) as top:
        top.shows("p2pnic top")
        os.kill(top.pid, signal.SIGTSTP)
        top.until(lambda _: top.raw.endswith(b"\x1b[?1049l") and stopped(top.pid))
        os.kill(top.pid, signal.SIGCONT)
        before = len(top.raw)
        top.until(lambda _: b"\x1b[?1049h" in top.raw[before:] and "packets/s" in top.text())
        top.type("q")
        assert top.wait() == 0


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_dumb_terminal(router, kind):
    with Top(router, "-n", "1", kind=kind, columns=120, lines=60) as top:
        assert top.wait() == 0
        assert b"\x1b" not in top.raw and "no-route" in top.text()


def test_batch(router):
    done = run(P2PNIC, "top", "-b", "-n", "2", "-d", "0.1", "--runtime", router.runtime)
    assert done.returncode == 0 and not done.stderr and "\x1b" not in done.stdout
    frames = done.stdout.strip().split("\n\np2pnic top")
    assert len(frames) == 2
    for part in ("(column), packets/s", "(column), bit/s", "Drops by reason", "To the kernel"):
        assert part in frames[1]
    assert row(frames[1], "nic1")[1] not in ("-", "0")
    done = run(P2PNIC, "top", "-b", "-n", "1", "-d", "0.1", "-u", "bits", "-v", "matrix",
               "--runtime", router.runtime)
    assert "(column), bit/s" in done.stdout and "packets/s\n" not in done.stdout
    done = run(P2PNIC, "top", "-b", "-n", "1", "-d", "0.1", "-v", "drop", "-s", "name", "-i",
               "nic2", "--runtime", router.runtime)
    assert "only nic2" in done.stdout and "(column)" not in done.stdout
    assert re.findall(r"^(\S+) .* \d+$", done.stdout.split("in all")[1], re.M) == \
        ["ttl", "no-route", "ring-full"]


def test_json(router):
    done = run(P2PNIC, "top", "-j", "-n", "2", "-d", "0.1", "--runtime", router.runtime)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0 and second["time"] > first["time"] and second["seconds"] > 0
    assert [nic["name"] for nic in second["nic"]] == router.names
    assert len(second["ring"]) == 16 and len(second["punt"]) == 32
    ring = next(r for r in second["ring"] if (r["ingress"], r["egress"]) == ("nic2", "nic3"))
    t = second["time"] - 1000
    want = (router._packets(1, 2, t) - router._packets(1, 2, t - second["seconds"])) / \
        second["seconds"]
    assert ring["packets"] == pytest.approx(want, abs=50)
    assert second["nic"][2]["dropped"]["no-route"] == pytest.approx(900, rel=0.5)
    assert second["nic"][1]["engine_load"] == pytest.approx(0.2, abs=0.05)


def test_output_closed(router):
    top = subprocess.Popen([P2PNIC, "top", "-b", "-d", "0.1", "--runtime", router.runtime],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    top.stdout.readline()
    top.stdout.close()
    assert top.wait(SETTLE) == 1 and "standard output: Broken pipe" in top.stderr.read()
    top.stderr.close()
    with Top(router) as screen:
        screen.shows("p2pnic top")
        os.close(screen.fd)  # the terminal is closed: it ends
        eventually(lambda: screen._reap() or screen.status is not None, what="its end")
        screen.fd = os.open("/dev/null", os.O_RDONLY)


def test_no_router(tmp_path):
    done = run(P2PNIC, "top", "-b", "-n", "1", "--runtime", str(tmp_path))
    assert done.returncode == 1 and "no router runs there" in done.stderr and not done.stdout


@pytest.mark.parametrize("words, why", [
    (["more"], "usage"), (["-n", "0"], "want 1 or more"), (["-d", "0"], "0.1 to 3600"),
    (["-d", "1s"], "0.1 to 3600"), (["-v", "x"], "want all, matrix, nic, drop, punt"),
    (["-u", "x"], "want packets, bits, both"), (["-s", "x"], "want rate, total, name"),
    (["-i", "x" * 40], "no name of a NIC"), (["--name", "/"], "--name '/'")])
def test_wrong_usage(words, why):
    done = run(P2PNIC, "top", *words)
    assert done.returncode == 2 and why in done.stderr and not done.stdout


@pytest.mark.hostile("a router that tells nonsense")
def test_hostile_answers(router):
    """What is no answer of a router is said, and nothing else happens."""
    for broken in ({}, {"time": "x"}, {"time": 1, "router": []},
                   {"time": 5, "router": {}, "nic": 7},
                   {"time": 5, "router": {}, "nic": [{}] * 100, "ring": [None, {"ingress": 5}],
                    "counter": [[]], "punt": "x", "engine": [{"engine": "x" * 5000}]}):
        router.answer = lambda broken=broken: broken
        for form in ("-b", "-j"):
            done = run(P2PNIC, "top", form, "-n", "1", "-d", "0.1", "--runtime", router.runtime)
            assert done.returncode in (0, 1) and (done.stdout or done.stderr), broken
