# SPDX-License-Identifier: BSD-3-Clause
"""Each command, one of its calls failing: a clean error or success; never a crash, a hang, or
something left.

P2PNIC_INJECT_STEP=1 takes every call; otherwise every nth, so that the suite stays short. The
router's own processes are under the same test in tests/chaos/calls.py."""

import json
import os
import re
import signal
import subprocess

import pytest
from scapy.all import IP, UDP, Ether, wrpcap

from inject import LIBRARY, Inject, place
from network import P2PNIC, Router, eventually, mac, processes_of

STEP = int(os.environ.get("P2PNIC_INJECT_STEP", "0"))
PATIENCE = 60
ROUTES = "".join(f"198.51.{n}.0/24 192.0.2.{n % 5}\n2001:db8:{n:x}::/48 {64500 + n}\n"
                 for n in range(40))

pytestmark = pytest.mark.preload


@pytest.fixture(scope="module", autouse=True)
def library():
    assert os.access(LIBRARY, os.R_OK), f"{LIBRARY}: not there; build it"


@pytest.fixture
def here(tmp_path):
    """A directory with what the commands read."""
    (tmp_path / "table.txt").write_text(ROUTES)
    (tmp_path / "routes.txt").write_text(re.sub(r" .*", " 64500", ROUTES))
    (tmp_path / "new.txt").write_text(ROUTES.replace("198.51.7.", "198.51.77."))
    frames = [Ether(dst=mac(1), src=mac(1, 2)) / IP(src="10.0.1.2", dst="10.0.2.2", id=n) / UDP()
              for n in range(5)]
    wrpcap(str(tmp_path / "in.pcap"), frames)
    config = {
        "nics": [{"name": f"nic{k}", "mac": mac(k), "port": {"type": "pcap", "target": ","},
                  "addresses": [f"10.0.{k}.1/24", f"fd00:{k}::1/64"]} for k in (1, 2)],
        "neighbors": [{"nic": f"nic{k}", "address": address, "mac": mac(k, 2)}
                      for k in (1, 2) for address in (f"10.0.{k}.2", f"fd00:{k}::2")],
        "routes": [{"prefix": "203.1.113.0/24", "action": "blackhole"},
                   {"prefix": "203.1.114.0/24", "via": "10.0.2.2"}],
        "route_files": [{"file": str(tmp_path / "routes.txt"), "via": ["10.0.1.2", "fd00:1::2"]}]}
    (tmp_path / "router.yaml").write_text(json.dumps(config))
    return tmp_path


def each(here, words, who, step, left=()):
    """Runs the command with call 1, 1 + step, … failing, until there is none. Files of `left` may
    stay."""
    inject = Inject(here / "rule")
    before = set(os.listdir(here))
    k, rounds = 1, 0
    while True:
        what = f"{who}: call {k}"
        inject.on(who, nth=k, times=1)
        # No pipes: what were left behind would hold them open.
        with open(here / "stderr", "w+", encoding="utf8") as said, \
                subprocess.Popen([P2PNIC, *words], cwd=here, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=said,
                                 env={**os.environ, **inject.environment}) as process:
            try:
                status = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"{what}: hangs") from None
            said.seek(0)
            messages = said.read()
        failed = inject.off()[1]
        at = place(messages) if failed else ""
        if "json_load" in at:
            # jansson 2.14 itself does not survive that; it may leave what a crash leaves.
            for pid in processes_of(str(here)):
                os.kill(pid, signal.SIGKILL)
            before |= set(os.listdir(here))
            k, rounds = k + step, rounds + 1
            continue
        what += f", {at}: {messages[-600:]}"
        if not failed:
            assert status == 0, f"unharmed, {what}"
            assert rounds, "no call of it comes by"
            return
        assert status in (0, 1), f"status {status}, {what}"
        if status:
            reasons = [line for line in messages.splitlines() if not line.startswith("inject: ")]
            assert any(re.match(r"p2pnic \w.*: *\S", line)
                       for line in reasons), f"no reason, {what}"
        eventually(lambda: not processes_of(str(here)), what=f"processes end, {what}")
        stay = set(os.listdir(here)) - before - {"stderr", *left}
        assert not stay, f"left {stay}, {what}"
        k, rounds = k + (STEP or step), rounds + 1


@pytest.mark.parametrize("words, step", [
    (["stat", "table.txt"], 11), (["stat", "-t", "state-jump", "-j", "table.txt"], 13),
    (["lookup", "table.txt", "198.51.7.1", "2001:db8::1"], 11),
    (["check", "-r", "100", "table.txt"], 11),
    (["check", "-t", "state-jump", "-r", "100", "table.txt"], 13),
    (["diff", "table.txt", "new.txt"], 17),
    (["diff", "-j", "-t", "state-jump", "table.txt", "new.txt"], 17)])
def test_fib(here, words, step):
    each(here, ["fib", *words], "fib", step)


@pytest.mark.parametrize("who, step", [("keeper", 7)])
def test_replay(here, who, step):
    each(here, ["replay", "in.pcap", "-c", "router.yaml", "-o", "out"], who, step, ["out"])


@pytest.mark.parametrize("kind, step", [("pcap", 23), ("memif", 97)])
def test_tester(here, kind, step):
    ports = {"pcap": ["-p", "pcap:,a", "-p", "pcap:,b"],
             "memif": ["-p", "memif:a,role=server", "-p", "memif:b,role=server"]}[kind]
    each(here, ["tester", "run" if kind == "pcap" else "self", *ports, "-n", "20", "-W", "1", "-d",
                "table.txt:8", "-j", "-s", "64,128"],
         "tester", step, ["a", "b"])


@pytest.fixture
def router(here):
    config = json.loads((here / "router.yaml").read_text())
    (here / "r").mkdir()
    router = Router(config, str(here / "r"))
    router.start()
    yield router
    router.stop()


@pytest.mark.parametrize("words", [["show", "nic"], ["show", "-j", "counter"], ["reload"]])
def test_asking(here, router, words):
    """The router is another process: it does not suffer."""
    inject = Inject(here / "rule")
    for k in range(1, 400, STEP or 3):
        inject.on(words[0], nth=k, times=1)
        done = subprocess.run([P2PNIC, *words, "--runtime", router.runtime],
                              stdin=subprocess.DEVNULL, timeout=PATIENCE, capture_output=True,
                              text=True, env={**os.environ, **inject.environment}, check=False)
        at = place(done.stderr) if inject.off()[1] else ""
        if not at:
            assert k > 1 and done.returncode == 0
            break
        assert done.returncode in (0, 1), (k, at, done)
        assert done.returncode == 0 or re.search(rf"^p2pnic {words[0]}: *\S", done.stderr,
                                                 re.MULTILINE), (k, at, done)
        assert router.process.poll() is None and router.answers()
