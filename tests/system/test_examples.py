# SPDX-License-Identifier: BSD-3-Clause
"""Every example of README, docs and man pages: its commands are run, and their output compared in
shape.

An example is a block (between ```, or indented by four spaces) with a command behind a prompt: `# `
or `$ ` on the router, `host-1$ ` on a host. A comment above the block says where it is run:

    <!-- runs: SCENE -->            in Markdown; `; runs: SCENE` in a man page
    <!-- run by: FILE -->           by another test, which compares what it says
    <!-- not run: REASON -->

A block without such a comment fails. Blocks of a file with the same scene are run one after the
other, in one place. Shape: numbers, MAC addresses and paths may differ, nothing else; lines may
come in another order. A line `…` stands for any others.
"""

import contextlib
import glob
import json
import os
import re
import signal
import subprocess
import tempfile
import time

import pytest

from network import P2PNIC, SETTLE, eventually

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = ["README.md", *sorted(os.path.relpath(path, ROOT) for path in glob.glob(
    f"{ROOT}/docs/*.md") + glob.glob(f"{ROOT}/docs/man/*.scd"))]
MARK = re.compile(r"^(?:<!-- |; )(runs|run by|not run): (.*?)(?: -->)?$")
PROMPT = re.compile(r"^(# |\$ |host-\d\$ )(?=\S)(.*)$")


# --- Found ----------------------------------------------------------------------------------------

class Block:
    def __init__(self, file, line, lines, mark):
        self.where, self.lines, self.mark = f"{file}:{line}", lines, mark

    def steps(self):
        """[(prompt, command, lines of output)]"""
        found = []
        for line in self.lines:
            prompt = PROMPT.match(line)
            if prompt:
                found.append((prompt[1].strip(), prompt[2].split("   #")[0].strip(), []))
            elif found and line.strip():
                found[-1][2].append(line)
        return found

    def is_example(self):
        return any(PROMPT.match(line) for line in self.lines)


def blocks_of(file):
    found, mark, block, fence = [], None, None, False
    with open(f"{ROOT}/{file}", encoding="utf8") as text:
        lines = [line.rstrip("\n") for line in text] + [""]
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            fence = not fence
            if fence:
                block = Block(file, number, [], mark)
            else:
                found.append(block)
                block = mark = None
        elif fence:
            block.lines.append(line)
        elif line.startswith("    ") and (block or not found or not line.strip().startswith("#")):
            block = block or Block(file, number, [], mark)
            block.lines.append(line[4:])
        else:
            if block:
                found.append(block)
                block = mark = None
            said = MARK.match(line)
            if said:
                mark = (said[1], said[2])
            elif line.strip():
                mark = None
    # A line of a shell's comment is no prompt.
    return [b for b in found if b.is_example() and any(
        re.match(r"(# |\$ |host-\d\$ )(p2pnic|ip|ping|sysctl|kill|systemctl)\b", line)
        for line in b.lines)]


BLOCKS = {file: blocks_of(file) for file in FILES}


def test_every_example_says_where_it_is_run():
    assert sum(map(len, BLOCKS.values())) > 10
    for blocks in BLOCKS.values():
        for block in blocks:
            assert block.mark, f"{block.where}: an example that no test runs"
            kind, what = block.mark
            assert kind != "runs" or what in SCENES, f"{block.where}: no scene {what}"
            assert kind != "run by" or os.path.exists(f"{ROOT}/{what}"), block.where


# --- Run ------------------------------------------------------------------------------------------

class Place:
    """Namespaces of mounts and networks of its own: a router with eth1 and eth2, and a host behind
    each."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pl-")
        os.mkdir(f"{self.folder}/bin")
        os.symlink(P2PNIC, f"{self.folder}/bin/p2pnic")
        self.environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        self.holders = [subprocess.Popen(["unshare", "--mount", "--net", "sleep", "infinity"])
                        for _ in range(3)]
        self.started, self.readers = [], []
        try:
            for holder in self.holders:
                eventually(lambda holder=holder: os.readlink(f"/proc/{holder.pid}/ns/net") !=
                           os.readlink("/proc/self/ns/net"), what="a namespace")
            self.do("mount -t tmpfs -o mode=755 none /run; ip link set lo up")
            for k in (1, 2):
                self.do(f"ip link add eth{k} type veth peer name eth0 netns {self.holders[k].pid}"
                        f" && ip link set eth{k} up")
                self.do("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 "
                        "net.ipv6.conf.default.disable_ipv6=1", k)
                self.do("ip link set eth0 address 02:00:00:00:00:1%d up; "
                        "ip address add 10.%d.0.10/24 dev eth0; "
                        "ip route add default via 10.%d.0.1" % (k, k, k), k)
        except BaseException:
            self.close()
            raise

    def command(self, where, command):
        return ["nsenter", f"--target={self.holders[where].pid}", "--mount", "--net",
                f"--wdns={self.folder}", "sh", "-c", command]

    def do(self, command, where=0, check=True):
        done = subprocess.run(self.command(where, command), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60, check=False, env=self.environment)
        assert not check or done.returncode == 0, (command, done.stdout)
        return done.stdout.splitlines()

    def start(self, command):
        """In the background; returns what gives its lines so far. Through a pipe: in a file its
        messages have the time."""
        path = f"{self.folder}/output{len(self.started)}"
        with open(path, "wb") as file:
            reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        process = subprocess.Popen(
            self.command(0, f"exec {command}"), stdin=subprocess.DEVNULL, stdout=reader.stdin,
            stderr=reader.stdin, env=self.environment)
        reader.stdin.close()
        self.started.append(process)
        self.readers.append(reader)

        def lines():
            with open(path, encoding="utf8") as text:
                return text.read().splitlines()
        return lines

    def file(self, name, text):
        with open(f"{self.folder}/{name}", "w", encoding="utf8") as file:
            file.write(text)

    def close(self):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(SETTLE * 2)
        self.do("p2pnic stop", check=False)  # what a router that was killed has left
        for reader in self.readers:
            reader.wait(SETTLE)
        for holder in self.holders:
            holder.kill()
            holder.wait()
        subprocess.run(["rm", "-r", self.folder], check=True)


def first(place):
    """The configuration, and nothing else."""
    with open(f"{ROOT}/packaging/examples/minimal.yaml", encoding="utf8") as file:
        text = file.read()
    for name in ("minimal.yaml", "first.yaml"):
        place.file(name, text)


def two(place):
    """A router without `kernel`, and what docs/operations.md says of it: one ping of 5 packets, one
    to a blackhole, one to an absent neighbour."""
    place.file("two.yaml", """
nics:
  - {name: left, port: {type: af_packet, target: eth1}, mac: "02:00:5e:00:53:01",
     addresses: [10.1.0.1/24]}
  - {name: right, port: {type: af_packet, target: eth2}, mac: "02:00:5e:00:53:02",
     addresses: [10.2.0.1/24]}
neighbors:
  - {nic: left, address: 10.1.0.10, mac: "02:00:00:00:00:11"}
  - {nic: right, address: 10.2.0.10, mac: "02:00:00:00:00:12"}
routes:
  - {prefix: 10.3.0.0/24, action: blackhole}
""")
    place.router = place.start("p2pnic router -c two.yaml")
    eventually(lambda: any("2 NICs forward" in line for line in place.router()), what="a router")
    for k in (1, 2):
        place.do(f"ip neigh replace 10.{k}.0.1 lladdr 02:00:5e:00:53:0{k} dev eth0 "
                 "nud permanent", k)
    place.do("ping -q -c 5 -i 0.1 10.2.0.10; ping -q -c 2 -i 0.1 -W 0.1 10.3.0.1; "
             "ping -q -c 2 -i 0.1 -W 0.1 10.2.0.99", 1, check=False)


def taken_over(place):
    """The same, and the router has been killed."""
    two(place)
    router = place.started.pop()
    router.kill()
    router.wait()


SCENES = {"first": first, "two": two, "taken over": taken_over}


# --- Compared -------------------------------------------------------------------------------------

def shape(line):
    def word(text):
        if re.fullmatch(r"\d+(\.\d+)?(ms|s|%)?,?", text):
            return "0"
        if re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
            return "MAC"
        return "PATH" if re.match(r"/\w", text) else text
    return " ".join(word(text) for text in line.split())


def differences(wanted, lines, more=False):
    """Of shapes; more: other lines may be there."""
    wanted = [shape(line) for line in wanted]
    lines = [shape(line) for line in lines if line.strip()]
    missing = [line for line in wanted if line != "…" and line not in lines]
    others = [] if more or "…" in wanted else [line for line in lines if line not in wanted]
    return [f"missing: {line}" for line in missing] + [f"not said: {line}" for line in others]


def test_shapes():
    assert not differences(["a  1 2.5 /x/y"], ["a 20 7 /z"])
    assert differences(["a b"], ["a c"]) == ["missing: a b", "not said: a c"]
    assert differences(["a 1"], ["a 1", "b"]) == ["not said: b"]
    assert not differences(["a 1", "…"], ["b", "a 2"])
    assert differences(["pid 1"], ["pid x"])


def play(place, block):
    for prompt, command, wanted in block.steps():
        where = int(prompt[5]) if prompt.startswith("host-") else 0
        if command.endswith("&") or command.startswith("p2pnic router"):
            lines = place.start(command.rstrip("& "))
            try:
                eventually(lambda: not differences(wanted, lines(), more=True), what=command)
            except AssertionError:
                raise AssertionError(f"{block.where}: {command}: {lines()}") from None
            continue
        lines, end = None, time.monotonic() + SETTLE
        while lines is None or (differences(wanted, lines) and time.monotonic() < end and
                                command.startswith("p2pnic show")):
            lines = place.do(command, where)
        if command.startswith("ping"):
            lines = [line for line in lines if "packets transmitted" in line]
        if wanted or not command.startswith("sysctl"):
            assert not differences(wanted, lines), \
                (block.where, command, differences(wanted, lines), lines)


@pytest.mark.parametrize("file", FILES)
def test_configurations(file, tmp_path):
    """Whole configurations among the blocks are right."""
    found = []
    with open(f"{ROOT}/{file}", encoding="utf8") as text:
        for number, block in enumerate(re.findall(r"^```\w*\n(.*?)^```", text.read(), re.M | re.S)):
            if re.match(r"(#.*\n|router:.*\n)*nics:\n", block):
                path = tmp_path / f"{number}.yaml"
                path.write_text(block)
                checks = json.loads(subprocess.run(
                    [P2PNIC, "doctor", "-j", "-c", path], stdout=subprocess.PIPE, check=False,
                    timeout=60).stdout)["checks"]
                found += [row["text"] for row in checks if row["subject"] == "configuration"]
    assert not found


@pytest.mark.parametrize("file, scene", sorted({
    (file, block.mark[1]) for file, blocks in BLOCKS.items() for block in blocks
    if block.mark and block.mark[0] == "runs"}))
def test_example(permitted, file, scene):
    if scene == "first" and not os.path.exists("/dev/net/tun"):
        pytest.skip("no /dev/net/tun")
    place = Place()
    try:
        SCENES[scene](place)
        for block in BLOCKS[file]:
            if block.mark == ("runs", scene):
                play(place, block)
    finally:
        place.close()
