# SPDX-License-Identifier: BSD-3-Clause
"""The table of commands: what is completed in real shells, that each option in it is accepted and
in the man page, and no other."""

import json
import os
import re
import shutil
import subprocess

import pytest

from network import P2PNIC, Network, run

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TABLE = json.loads(run(P2PNIC, "completion", "-j").stdout)["commands"]
BASH = """source <("$P2PNIC" completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { echo "compopt $*"; }
_p2pnic "$P2PNIC" "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(*words, where=ROOT):
    done = subprocess.run(["bash", "--norc", "-c", BASH, "-", "p2pnic", *words], cwd=where,
                          env={**os.environ, "P2PNIC": P2PNIC}, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split("\n")[:-1]


def syntaxes():
    """Commands, and commands of commands, whose options are known."""
    for command in TABLE:
        if "options" in command:
            yield command
            yield from command["commands"]


def test_commands():
    listed = run(P2PNIC, "--help").stdout.split("\n\n")[1]
    assert bash("") == [line.split()[0] for line in listed.splitlines()]
    assert bash("sho") == ["show"] and bash("--v") == ["--version"]
    assert bash("nonsense") == [""]


@pytest.mark.parametrize("syntax", list(syntaxes()), ids=lambda syntax: syntax["name"])
def test_options(syntax):
    assert bash(*syntax["name"].split(), "--") == [f"--{o['name']}" for o in syntax["options"]]


def test_words():
    words = "nic port ring counter drop route neighbor kernel punt tap router".split()
    assert set(words) <= set(bash("show", "")) and bash("show", "-j", "ri") == ["ring"]
    assert bash("nic", "") == ["list"] and bash("nic", "list", "--s") == ["--sysfs"]
    assert bash("fib", "--table", "") == bash("fib", "-jt", "") == ["line-trie", "state-jump"]
    assert bash("fib", "--table", "=", "s") == ["state-jump"]
    assert bash("lab", "exec", "h") == ["h1", "h2", "h3", "h4"]
    assert bash("completion", "z") == ["zsh"]
    assert bash("watch", "route", "10.0.0.0/8", "l") == ["longer-prefixes"]
    assert "connected" in bash("watch", "route", "source", "")


def test_files(tmp_path):
    (tmp_path / "a b.yaml").touch()
    (tmp_path / "folder").mkdir()
    assert bash("router", "-c", "a", where=tmp_path) == ["compopt -o filenames", "a b.yaml"]
    assert bash("fib", "stat", "", where=tmp_path)[1:] == ["a b.yaml", "folder"]
    assert bash("show", "--runtime", "", where=tmp_path)[1:] == ["folder"]


def test_zsh():
    """Its own parser takes the script; completion itself needs a terminal."""
    assert shutil.which("zsh"), "not installed (scripts/setup): zsh"
    script = run(P2PNIC, "completion", "zsh").stdout
    done = subprocess.run(["zsh", "-f", "-n"], input=script, text=True, capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    capture = r"""
        function compdef { }
        function _files { print -r -- files }
        function _describe { print -rl -- ${(P)2} }
        source /dev/stdin
        words=(%s show ro "") CURRENT=3; _p2pnic
        words=(%s router -c "") CURRENT=4; _p2pnic"""
    done = subprocess.run(["zsh", "-f", "-c", capture % (P2PNIC, P2PNIC)], input=script, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["route:show", "router:show", "files"], done


# Arguments that are good, where not any word is.
GOOD = {"nic": {"port": "pcap:,", "mac": "02:00:00:00:00:01", "engine": "e:0"},
        "tester": {"port": "memif:x", "mac": "1=02:00:00:00:00:01", "near": "1-2",
                   "destinations": "x"}}


@pytest.mark.parametrize("syntax", list(syntaxes()), ids=lambda syntax: syntax["name"])
def test_accepted(syntax):
    """By name and by letter, with an argument where there is one and without where there is
    none."""
    words = syntax["name"].split()
    for option in syntax["options"]:
        argument = {"none": [], "number": ["2048"], "choice": option["choice"][:1]}.get(
            option["argument"], [GOOD.get(syntax["name"], {}).get(option["name"], "1")])
        if option["name"] == "ready-fd":
            argument = ["0"]
        for said in [f"--{option['name']}"] + [f"-{option['letter']}"] * bool(option["letter"]):
            if syntax["name"] == "nic" and option["name"] in ("nic", "engine"):
                continue  # begin something; tests of `nic` have them
            done = run(P2PNIC, *words, said, *argument, "--help")
            assert done.returncode == 0 and done.stdout.startswith("usage: "), (said, done)
            if not argument:
                continue
            done = run(P2PNIC, *words, said)
            assert (done.returncode == 2
                    and f"'--{option['name']}' needs an argument" in done.stderr)
        done = run(P2PNIC, *words, f"--{option['name']}x")
        assert done.returncode == 2 and f"did you mean '--{option['name']}'?" in done.stderr


@pytest.mark.parametrize("command", [c for c in TABLE if "options" in c], ids=lambda c: c["name"])
def test_manual(command):
    """A page has an entry for each option, and none for others."""
    with open(f"{ROOT}/docs/man/p2pnic-{command['name']}.1.scd", encoding="utf8") as file:
        page = file.read()
    options = [o for syntax in (command, *command["commands"]) for o in syntax["options"]]
    known = {f"--{o['name']}" for o in options} | {
        f"-{o['letter']}" for o in options if o["letter"]}
    entries = set()
    for line in page.splitlines():
        if line.startswith("*-"):
            entries |= set(re.findall(r"\*(--?[\w-]+)\*", line))
    assert entries == known - {"--help", "-h"}


def test_every_command_has_a_page():
    with open(f"{ROOT}/docs/man/p2pnic.1.scd", encoding="utf8") as file:
        front = file.read()
    for command in TABLE:
        assert os.path.exists(f"{ROOT}/docs/man/p2pnic-{command['name']}.1.scd"), command
        assert f"\n*{command['name']}*\n" in front, command


def test_nics_of_the_router(make_network):
    """Where a NIC is wanted, those of the router that the line names."""
    network = make_network(2)
    where = ["--runtime", network.router.runtime]
    assert bash("show", *where, "port", "--nic", "") == ["nic1", "nic2"]
    assert bash("show", "--runtime", "/nowhere", "port", "--nic", "") == [""]
