# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic config`: check, compare, apply, save and take back configurations."""

import copy
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import time

import pytest

from network import P2PNIC, eventually, mac, run
from stream import Stream
from test_config import GOOD, MISTAKES
from test_nics_change import without
from test_reload import to


def config(*words, **options):
    return run(P2PNIC, "config", *words, **options)


# --- check: no router, no root -------------------------------------------------------------------

def test_check(tmp_path):
    """What a router refuses at its start is told here, with its place."""
    path = tmp_path / "router.yaml"
    for name, (old, new, line, reason) in MISTAKES.items():
        path.write_text(GOOD.replace(old, new, 1), encoding="utf8")
        done = config("check", str(path))
        assert done.returncode == 1 and not done.stdout, name
        place = f"^{re.escape(str(path))}:{line or '[0-9]+'}:([0-9]+:)? .*"
        assert re.search(place + reason, done.stderr, re.MULTILINE), (name, done.stderr)


def test_check_all(tmp_path):
    """Several mistakes are several lines; a gateway that leads nowhere is one."""
    path = tmp_path / "router.yaml"
    path.write_text(GOOD.replace("batch: 8", "batch: 0").replace("mtu: 1500", "mtu: x"),
                    encoding="utf8")
    lines = config("check", str(path)).stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:4:10", f"{path}:12:10"]
    rows = json.loads(config("check", "-j", str(path)).stdout)
    assert [(row["line"], row["column"]) for row in rows["mistakes"]] == [(4, 10), (12, 10)]
    assert rows["right"] is False and "batch 0" in rows["mistakes"][0]["reason"]
    right = GOOD[:GOOD.index("route_files:")]
    path.write_text(right, encoding="utf8")
    done = config("check", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: right\n", "")
    path.write_text(right.replace("via: 10.0.1.2}", "via: 10.9.9.9}"), encoding="utf8")
    done = config("check", str(path))
    assert done.returncode == 1 and done.stderr == (
        f"p2pnic config: {path}: route 198.51.100.0/24: gateway 10.9.9.9 is on no connected "
        f"network and no neighbour\n")
    done = config("check", str(tmp_path / "absent"))
    assert done.returncode == 1 and "No such file" in done.stderr


def test_usage():
    for words in ([], ["check"], ["check", "a", "b"]):
        done = config(*words)
        assert done.returncode == 2 and done.stderr.startswith("usage: p2pnic config ")
    done = config("chekc", "a")
    assert done.returncode == 2 and "did you mean 'check'?" in done.stderr


# --- A running router ----------------------------------------------------------------------------

class Operator:
    """What is typed at a router of three NICs, whose files have comments."""

    def __init__(self, network):
        self.network, self.router = network, network.router
        self.files = 0

    def __call__(self, *words, code=0):
        done = config(*words, "--runtime", self.router.runtime)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def json(self, *words):
        return json.loads(self(*words, "-j"))

    def file(self, name=None, **keys):
        """A file of the router's configuration with these keys, and a comment."""
        self.files += 1
        path = f"{self.network.directory}/{name or f'change{self.files}.yaml'}"
        with open(path, "w", encoding="utf8") as file:
            file.write(f"# change {self.files}: \u00e4, and a long line {'x' * 5000}\n")
            json.dump(copy.deepcopy(self.router.config) | keys, file, indent=1)
        return path

    def route(self, egress, **more):
        """One where a route leads to that NIC."""
        return self.file(routes=[{"prefix": "198.51.100.0/24", "via": f"10.0.{egress}.2"}], **more)

    def leads(self):
        """Where that route leads."""
        return next((r["nic"] for r in self.router.show("route")
                     if r["prefix"] == "198.51.100.0/24"), None)

    def text(self, path=None):
        with open(path or self.router.path, "rb") as file:
            return file.read()

    def numbers(self):
        return [row["number"] for row in self.json("list")]

    def unconfirmed(self):
        return [row["number"] for row in self.json("list") if row["unconfirmed"]]

    def runs(self):
        return next(row["number"] for row in self.json("list") if row["running"])

    @property
    def state(self):
        return f"{self.router.runtime}.state"


@pytest.fixture(name="operator")
def operator_of(make_network):
    network = make_network(3)
    return Operator(network)


def test_apply_and_save(operator):
    """FILE's own text runs, is shown, compared and saved; the file's mode and its symbolic link
    stay."""
    before = operator.text()
    assert operator("show").encode() == before
    assert operator("diff").endswith("no differences\n")
    one = operator.route(2)
    said = operator("diff", one)
    assert ('routes.198.51.100.0/24: absent -> {"prefix":"198.51.100.0/24","via":"10.0.2.2"}  '
            '(live)\n') in said
    with Stream(operator.network, 1, 3) as stream:
        said = operator("apply", one)
        assert f"configuration 2 runs, of {one}; not saved" in said and "1 routes added" in said
    stream.check_whole()
    assert operator.leads() == "nic2" and operator.text() == before
    assert operator("show").encode() == operator.text(one)
    assert "routes" in operator("diff")
    assert operator.json("show")["saved"] is False
    # Once more is no change.
    operator("apply", one)
    assert operator.numbers() == [2, 1]
    os.rename(operator.router.path, f"{operator.network.directory}/real.yaml")
    os.symlink("real.yaml", operator.router.path)
    os.chmod(operator.router.path, 0o604)
    assert operator("save").startswith(f"saved to {operator.router.path}, ")
    real = f"{operator.network.directory}/real.yaml"
    assert os.path.islink(operator.router.path) and operator.text(real) == operator.text(one)
    assert stat.S_IMODE(os.stat(real).st_mode) == 0o604
    assert operator.json("show")["saved"] is True
    assert not [f for f in os.listdir(operator.network.directory) if f.endswith(".new")]
    assert not os.path.exists(f"{operator.state}/running")


def test_show_default(operator, tmp_path):
    """Every key; what it says is the same configuration."""
    said = operator("show", "--default")
    path = tmp_path / "whole.yaml"
    path.write_text(said, encoding="utf8")
    assert config("check", str(path)).returncode == 0
    assert operator("diff", str(path)).endswith("no differences\n")
    for key in ("ring_slots: 1024", "check: none", "mtu: 1500", "state: ", "nics_max: 7"):
        assert key in said, key


def test_nics_by_apply(operator):
    """`apply` adds and removes NICs while the others forward on; `diff` says so before."""
    router, network = operator.router, operator.network
    network.rings = False
    three = operator.file()
    two = operator.file(**without(router, "nic3"))
    with Stream(network, 1, 2) as one, Stream(network, 2, 1) as other:
        for _ in range(3):
            said = operator("diff", two)
            assert "nics.nic3: {" in said and "-> absent  (nics)" in said
            assert "NICs removed: nic3" in said
            operator("apply", two)
            eventually(lambda: not os.path.exists(f"{router.runtime}/nic3.sock"), what="gone")
            said = operator("apply", three)
            assert "NICs that begin or end still: nic3" in said
            eventually(lambda: [n["state"] for n in router.show("nic")] == ["forwarding"] * 3,
                       what="back")
    one.check_whole()
    other.check_whole()
    assert to(network, "10.0.3.2") == (3, mac(3, 2))


def test_refused_key_by_key(operator):
    """What needs a restart is named, each key; nothing is changed, nothing kept."""
    keys = {"batch": 4, "ring_slots": 256, "rx_buffers": 512}
    path = operator.file(router=operator.router.config["router"] | keys)
    said = operator("apply", path, code=1)
    for key in keys:
        assert f"router: {key} differs: that needs a restart" in said, key
    assert "nothing changed" in said and operator.numbers() in ([], [1])
    rows = {row["key"]: row for row in operator.json("diff", path)["differences"]}
    assert {key: rows[f"router.{key}"]["effect"] for key in keys} == dict.fromkeys(keys, "restart")
    assert "it would be refused: " in operator("diff", path)
    many = operator.file(nics=operator.router.config["nics"] + [
        {"name": f"more{k}", "port": {"type": "pcap", "target": f",/dev/null{k}"}}
        for k in range(5)])
    assert "nics: 8 of them; this router has places for 7 (nics_max): that needs a restart" in \
        operator("apply", many, code=1)
    bad = operator.file(nics=[])
    assert re.search(rf"^p2pnic config: {bad}:\d+: nics: 0 entries", operator(
        "apply", bad, code=1))
    assert not os.path.exists(f"{operator.state}/running")


def test_rollback(operator):
    """Back to what was before, or to a number; the last ten are kept."""
    assert "nothing was applied before" in operator("rollback", code=1)
    for k in range(12):
        operator("apply", operator.route(2 + k % 2))
    assert operator.leads() == "nic3" and operator.numbers() == list(range(13, 3, -1))
    operator("rollback")
    assert operator.leads() == "nic2"
    assert next(r["number"] for r in operator.json("list") if r["running"]) == 12
    operator("rollback")
    assert operator.leads() == "nic3"
    operator("rollback", "8")
    assert next(r["number"] for r in operator.json("list") if r["running"]) == 8
    assert "no configuration of number 3" in operator("rollback", "3", code=1)
    operator("apply", operator.route(2))
    assert operator.numbers() == list(range(14, 4, -1))
    # A reload gives up what was not saved, and says how it comes back.
    said = operator.router.reload()
    assert "configuration 14, which was applied and not saved, does not run any more" in said
    assert operator.leads() is None
    operator("rollback", "14")
    assert operator.leads() == "nic2"


def test_confirm(operator):
    """In time it stays; else it goes back. Meanwhile nothing else is taken."""
    with Stream(operator.network, 1, 3) as stream:
        said = operator("apply", operator.route(2), "--confirm", "300")
        assert "goes back to configuration 1 in 300 s, unless: p2pnic config confirm" in said
        for words in (["apply", operator.route(3)], ["save"]):
            assert "configuration 2 waits to be confirmed" in operator(*words, code=1)
        assert "waits to be confirmed" in operator.router.reload()
        assert 0 < operator.json("show")["seconds_left"] <= 300
        assert operator.unconfirmed() == [2]
        assert re.search(r"^ +2 .*Z  runs, not confirmed  /.*\n +1 .*Z  back to              /",
                         operator("list"), re.MULTILINE)
        operator("confirm")
        assert operator.leads() == "nic2" and not operator.unconfirmed()
        assert "nothing waits" in operator("confirm", code=1)
        operator("apply", operator.route(3), "--confirm", "1")
        eventually(lambda: operator.leads() == "nic2", what="gone back")
        assert "configuration 3 was not confirmed: back to 2" in operator.router.messages()
        operator("apply", operator.route(3), "--confirm", "300")
        operator("rollback")  # does not wait for it
        assert operator.leads() == "nic2"
        operator("save")
    stream.check_whole()
    assert operator.unconfirmed() == [4, 3]
    assert re.search(r"^ +3 .*Z  not confirmed        /", operator("list"), re.MULTILINE)


def test_rollback_passes_over(operator):
    """Without a number it goes to the last one that stayed, however many were not confirmed since;
    with one also to those, which then stay."""
    operator("apply", operator.route(2), "--confirm", "300")
    assert operator("rollback") and operator.runs() == 1
    operator("rollback", "2", "--confirm", "300")
    assert operator.unconfirmed() == [2]
    operator("confirm")
    assert not operator.unconfirmed() and operator.runs() == 2
    for _ in range(11):
        operator("apply", operator.route(3), "--confirm", "300")
        operator("rollback")
    assert operator.numbers() == operator.unconfirmed() == list(range(13, 3, -1))
    operator("apply", operator.route(3))
    operator("rollback")
    assert operator.json("show")["number"] == 2 and operator.leads() == "nic2"
    operator("apply", operator.route(1), "--confirm", "300")
    operator("confirm")
    operator("rollback")
    assert operator.runs() == 14 and operator.leads() == "nic3"
    operator("rollback", "10")
    assert operator.runs() == 10 and operator.unconfirmed() == [13, 12, 11, 9, 8, 7, 6]
    operator("apply", operator.route(2), "--confirm", "300")
    operator("rollback")
    assert operator.runs() == 10


def test_rollback_beyond_the_list(operator):
    """The last one that stayed is kept though ten that did not came after it, and another one that
    did."""
    for _ in range(11):
        operator("apply", operator.route(3), "--confirm", "300")
        operator("rollback")
    operator("apply", operator.route(2))
    operator("apply", operator.route(3), "--confirm", "300")
    operator("rollback")
    assert operator.runs() == 13
    operator("rollback")
    assert operator.leads() is None and operator.json("show")["number"] == 1
    assert "nothing was applied before what runs, and stayed" in operator("rollback", code=1)


def test_confirm_and_crash(operator):
    """A change that waits to be confirmed is taken back though the router is killed: in time by the
    next one, or late, at once. Confirmed, it is what the next one runs; saved or not."""
    router = operator.router
    operator("apply", operator.route(2), "--confirm", "300")
    router.kill()
    router.start()
    assert operator.leads() == "nic2" and operator.json("show")["back"] == 1
    operator("confirm")
    router.kill()
    # As one leaves it that is killed when `running` is written, and the mark is there still.
    name = next(f for f in os.listdir(operator.state) if f.startswith("applied-000002-"))
    os.rename(f"{operator.state}/{name}",
              f"{operator.state}/{name.removesuffix('.yaml')}.unconfirmed.yaml")
    router.start()
    assert operator.leads() == "nic2" and "back" not in operator.json("show")
    assert not operator.unconfirmed() and name in os.listdir(operator.state)
    assert "configuration 2, applied from" in router.messages()
    # In time: the next router's timer.
    operator("apply", operator.route(3), "--confirm", "3")
    router.kill()
    router.start()
    eventually(lambda: operator.leads() == "nic2", what="gone back")
    # Late: nobody ran when the time was up.
    operator("apply", operator.route(3), "--confirm", "1")
    router.kill()
    time.sleep(1.2)
    router.start()
    assert operator.leads() == "nic2"
    assert "was not confirmed: 2 is taken" in router.messages()
    assert operator.unconfirmed() == [4, 3]
    # Somebody has changed the file: that is what is meant.
    router.config["routes"] = []
    router.write()
    router.kill()
    router.start()
    assert operator.leads() is None
    assert f"{router.path} has changed since configuration 2 was applied" in router.messages()
    assert not os.path.exists(f"{operator.state}/running")
    # An end in order leaves the file.
    operator("rollback", "2")
    router.stop()
    router.start()
    assert operator.leads() is None
    # Tried as a change, not confirmed, and then what a router is started with: it stays.
    router.config["routes"] = [{"prefix": "198.51.100.0/24", "via": "10.0.3.2"}]
    router.write()
    operator("apply", router.path, "--confirm", "300")
    number = operator.runs()
    router.stop()
    router.start()
    assert operator.runs() == number and operator.unconfirmed() == [4, 3]
    operator("apply", operator.route(2))
    operator("rollback")
    assert operator.runs() == number and operator.leads() == "nic3"


def test_killed_while_applying(operator):
    """SIGKILL at any moment of an `apply`: the next router runs the one or the other, whole."""
    router, network = operator.router, operator.network
    network.rings = False
    two = operator.file(**without(router, "nic3"))
    three = operator.route(2)
    with Stream(network, 1, 2) as stream:
        for turn in range(6):
            process = subprocess.Popen(
                [P2PNIC, "config", "apply", two if turn % 2 == 0 else three, "--runtime",
                 router.runtime], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.004 * turn)
            router.kill()
            process.wait()
            router.start()
            running = json.loads(run(P2PNIC, "config", "show", "-j", "--runtime",
                                     router.runtime).stdout)
            names = ["nic1", "nic2", "nic3"][:2 if running["file"] == two else 3]
            eventually(lambda: [(n["name"], n["state"]) for n in router.show("nic")] ==
                       [(name, "forwarding") for name in names], what="what runs")
            assert operator.leads() == ("nic2" if running["file"] == three else None)
    stream.check_whole()


def test_save_writes_over_nothing(operator):
    """A file that somebody else has changed since is not written over, unless that is meant; names
    that go by a folder keep it."""
    router = operator.router
    operator("apply", operator.route(2))
    with open(router.path, "a", encoding="utf8") as file:
        file.write("# mine\n")
    said = operator("save", code=1)
    assert f"{router.path} was changed by somebody else" in said and "change1.yaml" in said
    assert operator.text().endswith(b"# mine\n")
    operator("save", "--force")
    assert operator.text().startswith(b"# change 1")
    os.mkdir(f"{operator.network.directory}/other")
    with open(f"{operator.network.directory}/other/table.txt", "w", encoding="utf8") as file:
        file.write("198.18.0.0/16 10.0.2.2\n")
    operator("apply", operator.file("other/x.yaml", route_files=[{"file": "table.txt"}]))
    assert "route file 'table.txt' is one of the folder of" in operator("save", code=1)
    operator("rollback")
    os.unlink(router.path)
    assert "No such file" in operator("save", code=1)


def test_no_room(operator):
    """Files are limited to fewer bytes than the text has: nothing is applied, or saved, and nothing
    is lost."""
    router = operator.router
    before = operator.text()
    operator("apply", operator.route(2))
    limit = resource.prlimit(router.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(router.process.pid, resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        assert "File too large" in operator("apply", operator.route(3), code=1)
        assert "File too large; it is as it was" in operator("save", code=1)
    finally:
        resource.prlimit(router.process.pid, resource.RLIMIT_FSIZE, limit)
    assert operator.text() == before and operator.leads() == "nic2"
    assert operator.numbers() == [2, 1]
    for folder in (operator.state, operator.network.directory):
        assert not [f for f in os.listdir(folder) if f.endswith(".new")]
    router.kill()
    router.start()
    assert operator.leads() == "nic2"
    # A state directory that others can write to is none.
    os.chmod(operator.state, 0o777)
    assert "others can write there" in operator("apply", operator.route(3), code=1)
    assert operator.leads() == "nic2"


def test_requests(operator):
    """What is no request is refused with a sentence; what is too large a text, too."""
    def ask(request):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(f"{operator.router.runtime}/api.sock")
            client.sendall(json.dumps({"config": request}).encode() + b"\n")
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        return json.loads(answer)

    for request in (1, {}, {"fly": {}}, {"show": 1}, {"show": {"default": 1}}, {"list": {}, "x": 1},
                    {"apply": {"id": "x", "path": "/x", "confirm": -1}},
                    {"apply": {"id": "x", "path": "x"}}, {"apply": {"id": "x", "path": "/x"}},
                    {"diff": {"id": "x"}}, {"rollback": {"to": -1}}, {"rollback": {"to": 1 << 40}},
                    {"upload": {"id": "", "at": 0, "text": "x"}},
                    {"upload": {"id": "x" * 99, "at": 0, "text": "x"}},
                    {"upload": {"id": "x", "at": 5, "text": "x"}}, {"confirm": 1}, {"save": []}):
        assert "error" in ask(request), request
    # One upload at a time, in order.
    assert ask({"upload": {"id": "a", "at": 0, "text": "nics"}}) == {"config": {"used": 4}}
    assert ask({"upload": {"id": "b", "at": 0, "text": "nics"}}) == {"config": {"used": 4}}
    assert "interrupted" in ask({"upload": {"id": "a", "at": 4, "text": ":"}})["error"]
    assert "interrupted" in ask({"upload": {"id": "b", "at": 3, "text": ":"}})["error"]
    ask({"upload": {"id": "b", "at": 4, "text": ": 1"}})
    assert "/x:1: nics: want a list" in ask({"diff": {"id": "b", "path": "/x"}})["error"]


def test_words(operator, tmp_path):
    """JSON of each; options and numbers that make no sense; a path from here; a text that is none;
    no router."""
    operator("apply", operator.route(2, name="here.yaml"))
    assert operator.json("apply", operator.route(3), "--confirm", "9")["back"] == 2
    assert operator.json("confirm")["number"] == 3
    rows = operator.json("list")
    assert [(row["number"], row["running"]) for row in rows] == [(3, True), (2, False), (1, False)]
    assert operator.json("rollback", "2")["file"].endswith("/here.yaml")
    assert operator.json("save")["file"] == operator.router.path
    done = config("diff", "here.yaml", "--runtime", operator.router.runtime,
                  cwd=operator.network.directory)
    assert f"with: {operator.network.directory}/here.yaml\n" in done.stdout
    for words in (["show", "--force"], ["list", "-c", "5"], ["check", "x", "--name", "y"],
                  ["apply", "x", "--confirm", "0"], ["apply", "x", "--confirm", "x"],
                  ["apply", "x", "--default"], ["rollback", "x"], ["confirm", "x"], ["apply"]):
        done = config(*words)
        assert done.returncode == 2 and done.stderr and not done.stdout, words
    path = tmp_path / "latin.yaml"
    path.write_bytes("nics: [] # \xe4".encode("latin-1"))
    assert "latin.yaml: not UTF-8" in operator("apply", str(path), code=1)
    assert "No such file" in operator("apply", str(tmp_path / "absent"), code=1)
    path.write_text("nics:\n" + "  - {}\n" * 64 + "routes:\n" + "  - {}\n" * 9, encoding="utf8")
    assert f"{path}: " in config("check", str(path)).stderr.splitlines()[-1]
    assert json.loads(config("check", "-j", str(tmp_path / "absent")).stdout)["error"]
    for words in (["show"], ["diff"], ["diff", str(path)], ["apply", str(path)], ["confirm"],
                  ["list"], ["rollback"], ["save"]):
        done = config(*words, "--runtime", str(tmp_path))
        assert done.returncode == 1 and "no router runs there" in done.stderr, words


def test_one_that_hangs(operator):
    """A NIC that does not answer forwards by its old table, which is said, and is a failure."""
    pid = operator.router.nic("nic3")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        said = operator("apply", operator.route(2), code=1)
        assert "1 NICs forward by the old table until they answer" in said
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: operator.router.nic("nic3")["state"] == "forwarding", what="nic3 in step")


def test_cannot_go_back(operator):
    """What it goes back to cannot be had: that is said, and tried again, until it can."""
    table = f"{operator.network.directory}/table.txt"
    with open(table, "w", encoding="utf8") as file:
        file.write("198.18.0.0/16 10.0.2.2\n")
    operator("apply", operator.file(route_files=[{"file": "table.txt"}]))
    operator("apply", operator.route(3), "--confirm", "1")
    os.rename(table, table + ".away")
    eventually(lambda: "configuration 3 was not confirmed, and cannot be taken back: "
               in operator.router.messages(), what="the reason")
    assert operator.leads() == "nic3"
    os.rename(table + ".away", table)
    eventually(lambda: operator.leads() is None, what="gone back")


def test_state_of_another(operator):
    """A state directory that is damaged, or cannot be used, is said; the file is taken."""
    router = operator.router
    operator("apply", operator.route(2))
    router.kill()
    with open(f"{operator.state}/running", "w", encoding="utf8") as file:
        file.write("{")
    router.start()
    assert "running: damaged; " in router.messages() and operator.leads() is None
    operator("rollback", "2")
    os.unlink(next(f"{operator.state}/{name}" for name in os.listdir(operator.state)
                   if name.startswith("applied-000002-")))
    router.kill()
    router.start()
    assert "configuration 2, which ran before: no configuration of number 2" in router.messages()
    assert operator.leads() is None
    os.chmod(operator.state, 0o777)
    router.config["routes"] = [{"prefix": "198.51.100.0/24", "via": "10.0.2.2"}]
    router.write()
    assert "`p2pnic config rollback` will not know this configuration" in router.reload()
    assert operator.leads() == "nic2"
    # One that is not taken is not kept.
    os.chmod(operator.state, 0o750)
    numbers = operator.numbers()
    router.config["router"]["batch"] = 4
    router.write()
    assert "router: batch differs" in router.reload()
    assert set(operator.numbers()) <= {*numbers, max(numbers) + 1}
    router.kill()
    os.chmod(operator.state, 0o777)
    del router.config["router"]["batch"]
    router.write()
    router.start()
    assert "others can write there" in router.messages()[-1000:]
