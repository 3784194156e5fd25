# SPDX-License-Identifier: BSD-3-Clause
"""The API socket: each example of docs/api.md, many requests of one connection, watches, and
clients that mean no good."""

import contextlib
import copy
import json
import os
import re
import socket
import subprocess
import time

import pytest

from network import P2PNIC, Network, descriptors, eventually, mac, run
from test_kernel import KernelNetwork

pytestmark = pytest.mark.hostile("clients that break off, ask for too much and read nothing")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Client:
    def __init__(self, router):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(30)
        self.socket.connect(f"{router.runtime}/api.sock")
        self.lines = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.socket.close()

    def send(self, request):
        text = request if isinstance(request, str) else json.dumps(request)
        self.socket.sendall(text.encode() + b"\n")

    def line(self):
        """The next line; None: the end."""
        line = self.lines.readline()
        return json.loads(line) if line else None

    def ask(self, **request):
        self.send(request)
        return self.line()


@pytest.fixture(scope="module")
def network(permitted):
    n = Network(2, routes=[{"prefix": "192.0.2.0/24", "via": "10.0.2.2"}])
    try:
        yield n.start()
        n.router.check_identity()
    finally:
        n.close()


# --- docs/api.md ----------------------------------------------------------------------------------

def examples():
    """Blocks: (request, answers)…"""
    with open(f"{ROOT}/docs/api.md", encoding="utf8") as file:
        for block in re.findall(r"^```\n(> .*?)^```", file.read(), re.M | re.S):
            yield [(part.split("\n< ")[0], [json.loads(line) for line in part.split("\n< ")[1:]])
                   for part in re.split(r"^> ", block.strip(), flags=re.M)[1:]]


MAPS = {"dropped", "nics", "injected_by_ring", "full_by_ring"}  # names that vary, numbers


def shape_differs(real, example, where):
    """What is not as in the example; None: nothing. A list has rows of the kinds of the example's,
    or none as it has none."""
    if type(real) is not type(example) and {type(real), type(example)} != {int, float}:
        return f"{where}: {real!r}, and {example!r}"
    if isinstance(example, dict):
        if where.rpartition(".")[2] in MAPS:
            return next((f"{where}: {real!r}" for v in real.values() if type(v) is not int), None)
        if set(real) != set(example):
            return f"{where}: {sorted(real)}, and {sorted(example)}"
        found = [shape_differs(real[key], example[key], f"{where}.{key}") for key in example]
        return next(filter(None, found), None)
    if isinstance(example, list):
        if bool(real) != bool(example):
            return f"{where}: {real!r}, and {example!r}"
        for k, row in enumerate(real):
            found = [shape_differs(row, one, f"{where}[{k}]") for one in example]
            if all(found):
                return found[0]
    return None


def compare(router, blocks):
    for block in blocks:
        with Client(router) as client:
            for request, answers in block:
                client.send(request)
                for answer in answers:
                    real = client.line()
                    found = shape_differs(real, answer, request)
                    assert not found and real.get("event") == answer.get("event"), found


def of_the_kernel(block):
    return any("punt" in request for request, _ in block)


def test_examples(network):
    blocks = [block for block in examples() if not of_the_kernel(block)]
    assert len(blocks) > 8 and sum(map(len, blocks)) > 20
    compare(network.router, blocks)


def test_examples_of_the_kernel(permitted):
    kernel = KernelNetwork(2)
    try:
        compare(kernel.start().router, filter(of_the_kernel, examples()))
    finally:
        kernel.close()


def test_shapes():
    """What compares examples finds what is wrong."""
    good = {"nic": [{"a": 1, "b": [1]}], "dropped": {"x": 1}}
    assert not shape_differs({"nic": [{"a": 2.5, "b": [2, 3]}], "dropped": {}}, good, "")
    for wrong in ({"nic": [{"a": 1, "b": [1], "c": 1}], "dropped": {}},
                  {"nic": [{"a": "1", "b": [1]}], "dropped": {}}, {"nic": [], "dropped": {}},
                  {"nic": [{"a": 1, "b": [True]}], "dropped": {}},
                  {"nic": [{"a": 1, "b": [1]}], "dropped": {"x": "1"}}, {"nic": good["nic"]}):
        assert shape_differs(wrong, good, ""), wrong


# --- Requests -------------------------------------------------------------------------------------

def test_many_requests(network):
    """Sent all at once, in pieces of any length; answered in order, each with its id."""
    wanted = [{"show": what, "id": k} for k, what in enumerate(["nic", "port", "route"] * 8)]
    text = b"".join(json.dumps(request).encode() + b"\n" for request in wanted)
    with Client(network.router) as client:
        for at in range(0, len(text), 7):
            client.socket.sendall(text[at:at + 7])
        for request in wanted:
            answer = client.line()
            assert answer["id"] == request["id"] and answer[request["show"]]
        assert client.ask(hello={}, id="é\"")["id"] == "é\""
        assert client.ask(hello={})["hello"]["version"] == 1
        assert client.line() is None  # no id: the last


def test_end_of_writing(network):
    """What is there at the end counts, with a line's end or without."""
    with Client(network.router) as client:
        client.socket.sendall(b'{"show": "nic", "id": 1}\n{"show": "port", "id": 2}')
        client.socket.shutdown(socket.SHUT_WR)
        assert client.line()["nic"] and client.line()["port"] and client.line() is None


@pytest.mark.parametrize("request_, said", [
    ("[]", "something else"), ("{", "no request, an object"), ("", "no request, an object"),
    ('{"show": "nic", "show": "nic"}', "duplicate object key"), ("{}", "no request: want"),
    ('{"show": 1}', "by the name of (none)"), ('{"show": "nic", "hello": {}}', "more than one"),
    ('{"show": "nic", "id": 1.5}', "id: want"), ('{"show": "nic", "id": null}', "id: want"),
    (json.dumps({"show": "nic", "id": "x" * 64}), "id: longer than 63"),
    (json.dumps({"show": "nic", "id": "\x01" * 60}), "id: too long as JSON"),
    ('{"show": "nic", "version": 0}', "speaks 1 to 1"),
    ('{"show": "nic", "version": "1"}', "speaks 1 to 1"),
    ('{"show": "nic", "nic": "nic9"}', "no NIC 'nic9'"), ('{"show": "nic", "nic": 1}', "no NIC"),
    ('{"show": "router", "nic": "nic1"}', "show router is not by NIC"),
    ('{"show": "route", "nic": "nic9"}', "no NIC 'nic9'"),
    ('{"show": "route", "to": "10.0.0.0/8"}', "not an address: 10.0.0.0/8"),
    ('{"show": "route", "to": 1}', "Expected string"),
    ('{"show": "route", "prefix": "10.0.0.1/8"}', "not a prefix"),
    ('{"show": "route", "longer": true}', "longer: of which"),
    ('{"show": "route", "to": "::", "prefix": "::/0"}', "to and prefix"),
    ('{"show": "route", "via": "nic1"}', "neither an IP nor a MAC"),
    ('{"show": "route", "source": "ospf"}', "no source of routes 'ospf'"),
    ('{"watch": {}}', "watch: "), ('{"watch": {"what": ["ring"]}}', "'ring' is none of"),
    ('{"watch": {"what": [1]}}', "is none of"), ('{"watch": {"what": "nic"}}', "want a list"),
    ('{"watch": {"what": ["nic"], "interval_ms": 99}}', "want 100 to"),
    ('{"watch": {"what": ["nic"], "else": 1}}', "watch: "),
    ('{"watch": {"what": ["nic"], "source": "static"}}', "are of routes"),
    ('{"watch": {"what": ["route"], "via": "10.0.2.2"}}', "watch: 1 object item"),
    ('{"watch": {"what": ["route"], "source": "ospf"}}', "watch: no source of routes 'ospf'"),
    ('{"watch": {"what": ["route"], "prefix": "10.0.0.1/8"}}', "watch: not a prefix"),
    ('{"reload": {"force": 1}}', "reload wants"), ("x" * 9000, "longer than 8191 bytes")],
    ids=lambda text: text[:24])
def test_refused(network, request_, said):
    with Client(network.router) as client:
        client.send(request_)
        answer = client.line()
        assert said in answer["error"] and set(answer) <= {"error", "id"}, answer
        assert client.line() is None


def routes(network, **filters):
    with Client(network.router) as client:
        return [row["prefix"] for row in client.ask(show="route", **filters)["route"]]


def test_route_filters(network):
    every = routes(network)
    assert routes(network, prefix="10.0.2.0/24") == ["10.0.2.0/24"]
    assert routes(network, prefix="10.0.0.0/16") == []
    assert routes(network, prefix="10.0.0.0/16", longer=True) == [
        p for p in every if p.startswith("10.0.")]
    assert routes(network, prefix="::/0", longer=True) == [p for p in every if ":" in p]
    by_2 = ["10.0.2.2/32", "192.0.2.0/24"]
    assert routes(network, via=mac(2, 2), prefix="0.0.0.0/0", longer=True) == by_2
    # One station, whichever of its addresses.
    assert routes(network, via="10.0.2.2") == by_2 + ["fd00:2::2/128"]
    assert routes(network, nic="nic2") == by_2 + ["fd00:2::2/128"]
    assert routes(network, nic="nic1", via="10.0.2.2") == routes(network, via="10.0.1.9") == []
    assert routes(network, source="static") == ["192.0.2.0/24"]
    assert routes(network, to="192.0.2.1", nic="nic2") == ["192.0.2.0/24"]
    assert routes(network, to="192.0.2.1", nic="nic1") == []


# --- Watches --------------------------------------------------------------------------------------

def watch(network, *what, **how):
    client = Client(network.router)
    answer = client.ask(watch={"what": list(what), **how}, id=1)
    assert answer["watch"]["what"] == list(what), answer
    return client


def test_watch_state(make_network):
    """A link, a NIC's process, a neighbour: told as they change, nothing else."""
    network = make_network(2)
    with watch(network, "nic", "port", "neighbor") as client:
        first = [client.line() for _ in range(8)]
        assert all(line["initial"] and line["id"] == 1 for line in first)
        run("ip", "-n", network.namespaces[2], "link", "set", "eth0", "down")
        line = client.line()
        assert line == {"event": "port", "row": {"nic": "nic2", "link": False, "fault":
                                                 line["row"]["fault"]}, "id": 1}
        run("ip", "-n", network.namespaces[2], "link", "set", "eth0", "up")
        while not line["row"]["link"]:
            line = client.line()
            assert line["event"] == "port"
        network.router.config["neighbors"][0]["mac"] = mac(1, 9)
        del network.router.config["neighbors"][1]
        network.router.write()
        network.router.reload()
        lines = sorted((client.line() for _ in range(2)), key=lambda one: one["row"]["address"])
        assert lines[0]["row"]["mac"] == mac(1, 9) and "gone" not in lines[0]
        assert lines[1]["row"]["address"] == "fd00:1::2" and lines[1]["gone"]
        assert client.ask(hello={}, id=2)["id"] == 2
        os.kill(network.router.nic("nic1")["pid"], 9)
        network.rings = False
        seen = {}
        while not (seen.get("nic", {}).get("restarts") == 1
                   and seen["nic"]["state"] == "forwarding"):
            line = client.line()
            seen[line["event"]] = line["row"]
            assert line["row"].get("name", line["row"].get("nic")) == "nic1"


def test_many_neighbors(make_network):
    """More changes at once than fit into a turn: each is told, once."""
    network = make_network(2)
    addresses = [f"10.0.1.{k}" for k in range(3, 255)] + [f"fd00:1::{k:x}" for k in range(3, 603)]
    others = [{"nic": "nic1", "address": address, "mac": mac(1, 3)} for address in addresses]
    with watch(network, "neighbor") as client:
        assert [client.line()["initial"] for _ in range(4)]
        for config, gone in ((others, False), ([], True)):
            network.router.config["neighbors"] = config
            network.router.write()
            assert "error" not in client.ask(hello={}, id=0)
            done = run(P2PNIC, "reload", "--runtime", network.router.runtime)
            assert done.returncode == 0, done.stderr
            lines = [client.line() for _ in range(len(others) + 4 * (not gone))]
            assert len({line["row"]["address"] for line in lines}) == len(lines)
            assert sum(line.get("gone", False) for line in lines) == (len(others) if gone else 4)
        with watch(network, "neighbor") as other:
            assert other.ask(hello={}, id=2)["hello"]


def test_watch_nics_that_come_and_go(make_network):
    network = make_network(3)
    with watch(network, "nic") as client:
        assert [client.line()["row"]["name"] for _ in range(3)] == ["nic1", "nic2", "nic3"]
        three = copy.deepcopy(network.router.config)
        for key, name in (("nics", "name"), ("neighbors", "nic")):
            network.router.config[key] = [row for row in three[key] if row[name] != "nic2"]
        network.router.write()
        network.router.reload()
        while "gone" not in (line := client.line()):
            pass
        assert line["row"]["name"] == "nic2"
        network.router.config = three
        network.router.write()
        network.router.reload()
        while (line := client.line())["row"]["state"] != "forwarding":
            assert line["row"]["name"] == "nic2" and "gone" not in line
        assert line["row"]["name"] == "nic2"


def test_watch_counters(network):
    """Every interval, with or without an id; another request begins anew, one for nothing ends."""
    with watch(network, "counter", "table", interval_ms=100) as client:
        for _ in range(3):
            rows = [client.line() for _ in range(3)]
            assert [row["event"] for row in rows] == ["counter", "counter", "table"]
            assert rows[2]["row"]["routes"] == len(network.router.show("route"))
        client.send({"watch": {"what": []}, "id": 2})
        while "event" in (line := client.line()):
            pass
        assert line == {"watch": {"what": [], "interval_ms": 1000}, "id": 2}
        assert client.ask(hello={}, id=3)["id"] == 3
    with Client(network.router) as client:
        client.send({"watch": {"what": ["drop"], "interval_ms": 100}})
        client.socket.shutdown(socket.SHUT_WR)
        assert client.line()["watch"] and all(client.line()["event"] == "drop" for _ in range(200))


def test_watch_routes(make_network):
    """Added, replaced, gone; by the command, too, and with filters. An event has the shape that
    docs/api.md says."""
    with open(f"{ROOT}/docs/api.md", encoding="utf8") as file:
        example = json.loads(re.search(r'^{"event": "route".*$', file.read(), re.M)[0])
    network = make_network(2)
    with (watch(network, "route") as client,
          watch(network, "route", prefix="198.51.0.0/16", longer=True) as longer,
          watching(network, "port", "route", "192.0.2.7", "source", "static") as process):
        assert [process.stdout.readline().split()[1] for _ in range(2)] == ["port", "port"]

        def change(via):
            network.router.config["routes"] = [{"prefix": prefix, "via": via}
                                               for prefix in ("192.0.2.0/24", "198.51.100.0/24")]
            network.router.write()
            network.router.reload()
            lines = [client.line(), client.line()]
            assert longer.line() == lines[1]
            assert [line["row"]["prefix"] for line in lines] == ["192.0.2.0/24", "198.51.100.0/24"]
            return lines[0], process.stdout.readline().split(maxsplit=1)[1]

        line, text = change("10.0.2.2")
        assert line == {"event": "route", "row": network.router.show("route")[
            [row["prefix"] for row in network.router.show("route")].index("192.0.2.0/24")],
            "added": True, "id": 1}
        assert text == ("route     192.0.2.0/24 static forward nic2 " + mac(2, 2) + ", added\n")
        line, text = change("10.0.1.2")
        assert line["replaced"] and line["row"]["mac"] == mac(1, 2)
        assert text.endswith(" nic1 " + mac(1, 2) + ", replaced\n")
        assert not shape_differs(line, {**example, "id": 1}, "")
        network.router.config["routes"] = []
        network.router.write()
        network.router.reload()
        assert client.line()["gone"] and client.line()["gone"] and longer.line()["gone"]
        assert process.stdout.readline().endswith(" nic1 " + mac(1, 2) + ", gone\n")
        assert client.ask(hello={}, id=2)["id"] == 2


def test_watch_kernel_routes(permitted):
    """The kernel's, as NICs get them: of two to a prefix the better one."""
    net = KernelNetwork(2)
    try:
        net.start()
        net.ip(net.kernel, "neighbor", "replace", "10.0.2.2", "lladdr", mac(2, 2), "dev", "nic2")
        eventually(lambda: [row for row in net.router.show("route")
                            if row["prefix"] == "10.0.2.2/32"], what="a neighbour")
        with watch(net, "route", to="203.0.113.1") as client:
            net.ip(net.kernel, "route", "add", "203.0.113.0/24", "via", "10.0.2.2", "metric", "20",
                   "protocol", "bgp")
            line = client.line()
            assert line["added"] and line["row"]["source"] == "kernel"
            assert line["row"]["nic"] == "nic2" and line["row"]["mac"] == mac(2, 2)
            net.ip(net.kernel, "route", "add", "blackhole", "203.0.113.0/24", "metric", "10")
            line = client.line()
            assert line["replaced"] and line["row"] == {
                "prefix": "203.0.113.0/24", "source": "static", "kind": "blackhole"}
            net.ip(net.kernel, "route", "del", "203.0.113.0/24", "metric", "20")
            net.ip(net.kernel, "route", "del", "blackhole", "203.0.113.0/24", "metric", "10")
            line = client.line()
            assert line["gone"] and line["row"]["kind"] == "blackhole"
            assert client.ask(hello={}, id=2)["id"] == 2
    finally:
        net.close()


def test_watch_many_routes(make_network):
    """Who reads gets all of a hundred thousand changes in order; who does not is dropped, and the
    router is as before."""
    network = make_network(2)
    pid = network.router.process.pid
    with open(f"{network.directory}/table.txt", "w", encoding="utf8") as file:
        file.writelines(f"{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24 10.0.2.2\n"
                        for n in range(100000))
    network.router.config["route_files"] = [{"file": "table.txt"}]
    network.router.write()
    with watch(network, "route", source="file") as client, watch(network, "route") as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        used = descriptors(pid)
        assert "100000 routes added" in network.router.reload()
        for n in range(100000):
            line = client.line()
            assert line["added"] and line["row"]["prefix"] == (
                f"{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24")
        eventually(lambda: network.router.show("router")["api_clients"] == 2, 60, "one dropped")
        eventually(lambda: descriptors(pid) < used, what="its descriptor closed")
        del network.router.config["route_files"]
        network.router.write()
        done = run(P2PNIC, "reload", "--force", "--runtime", network.router.runtime)
        assert done.returncode == 0, done.stderr
        assert all(client.line()["gone"] for _ in range(100000))
        assert network.router.show("router")["forwarding"] == 2


def test_too_many_watches(network):
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(watch(network, "nic"))
        with Client(network.router) as client:
            assert "16 clients watch already" in client.ask(watch={"what": ["nic"]}, id=1)["error"]
    with watch(network, "nic"):
        pass


# --- Clients that mean no good --------------------------------------------------------------------

def memory(pid):
    with open(f"/proc/{pid}/status", encoding="utf8") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


def bad_clients(network, n):
    """A hundred at a time: that read nothing, send garbage, half a request, too much, and leave at
    any time."""
    kinds = [b"", b"\0\xff garbage\n" * 50, b'{"show": ', b"x" * 10000,
             b'{"show": "route"}\n' * 200, b'{"show": "route", "id": 1}\n' * 200,
             b"\n" * 4000, b"[" * 4000 + b"\n",
             b'{"watch": {"what": ["counter", "drop"], "interval_ms": 100}, "id": 1}\n' * 50]
    opened = []
    for k in range(n):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(f"{network.router.runtime}/api.sock")
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.send(kinds[k % len(kinds)])
        opened.append(client)
    return opened


def test_bad_clients(make_network):
    """The router is unharmed, another is answered meanwhile, memory and descriptors stay flat."""
    network = make_network(2)
    pid = network.router.process.pid
    slowest, used = 0, []
    for turn in range(6):
        clients = bad_clients(network, 100)
        for _ in range(10):
            begin = time.monotonic()
            done = run(P2PNIC, "show", "router", "-j", "--runtime", network.router.runtime)
            assert json.loads(done.stdout)["router"]["forwarding"] == 2
            slowest = max(slowest, time.monotonic() - begin)
        assert descriptors(pid) < 150
        if turn > 2:
            used.append(memory(pid))
        for client in clients:
            client.close()
    assert slowest < 5
    # A sanitizer keeps what was freed.
    assert max(used) - min(used) < 4096 or "sanitize" in P2PNIC, used
    eventually(lambda: descriptors(pid) < 60, what="their descriptors closed")


def test_slow_watcher(network):
    """Who does not read is dropped, and others go on."""
    with watch(network, "counter", "drop", interval_ms=100) as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with watch(network, "counter", interval_ms=100) as other:
            begin = time.monotonic()
            while time.monotonic() - begin < 30:
                assert other.line()["event"] == "counter"
                with Client(network.router) as client:
                    watchers = client.ask(show="router")["router"]["api_clients"]
                if watchers == 2:  # the other one and this question
                    break
        assert watchers == 2


# --- p2pnic watch ---------------------------------------------------------------------------------

@contextlib.contextmanager
def watching(network, *words):
    """Its lines."""
    with subprocess.Popen([P2PNIC, "watch", *words, "--runtime", network.router.runtime],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_watch_command(make_network):
    network = make_network(2)
    with watching(network) as process, watching(network, "port", "-j") as other:
        lines = [process.stdout.readline().split(maxsplit=1)[1].split() for _ in range(8)]
        assert lines[0] == ["nic", "nic1:", "forwarding,", "0", "restarts"]
        assert lines[3] == ["port", "nic2:", "link", "up"]
        assert lines[4] == ["neighbor", "10.0.1.2", "nic1", mac(1, 2), "permanent"]
        assert [json.loads(other.stdout.readline())["initial"] for _ in range(2)] == [True, True]
        run("ip", "-n", network.namespaces[2], "link", "set", "eth0", "down")
        assert process.stdout.readline().split(maxsplit=1)[1].startswith("port      nic2: link dow")
        assert json.loads(other.stdout.readline())["row"]["link"] is False
        network.router.stop()
        assert process.wait(30) == 1 and "the router has ended it" in process.stderr.read()


def test_watch_command_counters(network):
    with watching(network, "counter", "table", "drop", "--interval", "100") as process:
        for _ in range(3):
            assert process.stdout.readline().split()[1:3] == ["counter", "nic1:"]
            assert process.stdout.readline().split()[1:3] == ["counter", "nic2:"]
            assert " routes, " in process.stdout.readline()


@pytest.mark.parametrize("words, said", [
    (["prot"], "no thing to watch 'prot'; did you mean 'port'?"),
    (["nic", "10.0.0.0/8"], "no thing to watch '10.0.0.0/8'"),
    (["route", "10.0.0.0/8", "via"], "usage: "), (["route", "source"], "usage: "),
    (["--interval", "99"], "want 100 to"), (["--name", ".."], "--name '..'")])
def test_watch_command_usage(words, said):
    done = run(P2PNIC, "watch", *words)
    assert done.returncode == 2 and said in done.stderr and not done.stdout
