# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic show`: what its JSON has in it, and that its tables come out."""

import ipaddress
import json
import re
import socket
import subprocess
import threading
import time

import pytest
from scapy.all import IP, UDP, Ether, raw

from network import P2PNIC, Network, mac, run

TRAFFIC = {"packets": int, "bytes": int}
SCHEMA = {
    "nic": [{"name": str, "index": int, "state": str, "method": str, "check": str,
             "engine": str, "process": str, "pid": int, "engine_cpu_seconds": float,
             "restarts": int, "mac": str, "mtu": int,
             "packet_memory_bytes": int, "table_memory_bytes": int, "addresses": [str]}],
    "port": [{"nic": str, "type": str, "target": str, "mode": str, "link": bool, "speed_mbps": int,
              "received": TRAFFIC, "sent": TRAFFIC, "missed": int}],
    "ring": [{"ingress": str, "egress": str, "packets": int, "bytes": int, "taken": TRAFFIC,
              "slots": int, "batch": int, "epoch": int, "check": str, "given_up": bool}],
    "counter": [{"nic": str, "received": TRAFFIC, "from_rings": TRAFFIC,
                 "injected": TRAFFIC, "sent": TRAFFIC, "to_rings": TRAFFIC, "punted": TRAFFIC,
                 "held": int, "dropped": dict, "missed": int, "dma_faults": int, "bad_words": int,
                 "doorbells": int, "sleeps": int, "unaccounted": int}],
    "drop": [{"reason": str, "packets": int, "nics": dict, "meaning": str}],
    "route": [{"prefix": str, "source": str, "kind": str}],
    "neighbor": [{"nic": str, "address": str, "mac": str, "state": str}],
    "nexthop": [{"number": int, "type": str, "routes": int, "kind": str, "members": int}],
    "version": {"p2pnic": str, "api": int, "api_oldest": int, "contract": str, "compiler": str,
                "nics": [{"nic": str, "type": str, "contract": str}]},
    "router": {"pid": int, "configuration": str, "method": str, "nics": int, "forwarding": int,
               "driver_cpu_seconds": float, "data_packets_through_driver": int,
               "fib4_image_bytes": int, "fib6_image_bytes": int},
}


def conforms(value, schema, where):
    if isinstance(schema, list):
        assert isinstance(value, list) and value, where
        for k, row in enumerate(value):
            conforms(row, schema[0], f"{where}[{k}]")
    elif isinstance(schema, dict):
        assert isinstance(value, dict), where
        for key, kind in schema.items():
            assert key in value, f"{where}.{key}"
            conforms(value[key], kind, f"{where}.{key}")
    else:
        assert isinstance(value, schema), f"{where}: {value!r}"


@pytest.fixture(scope="module")
def network(permitted):
    n = Network(2)
    try:
        n.start()
        for ttl in (64, 1):
            n.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) /
                               IP(src="10.0.1.2", dst="10.0.2.2", ttl=ttl) / UDP(dport=9) / (
                                   b"x" * 58)))
        n.wire[2].receive()
        yield n
        n.router.check_identity()
    finally:
        n.close()


@pytest.mark.parametrize("what", SCHEMA)
def test_json(network, what):
    done = run(P2PNIC, "show", what, "-j", "--runtime", network.router.runtime)
    assert done.returncode == 0, done.stderr
    conforms(json.loads(done.stdout)[what], SCHEMA[what], what)


@pytest.mark.parametrize("what", SCHEMA)
def test_table(network, what):
    done = run(P2PNIC, "show", what, "-a", "--runtime", network.router.runtime)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip()]


def test_values(network):
    network.router.at_rest()
    ring = {(r["ingress"], r["egress"]): r for r in network.router.show("ring")}
    assert ring["nic1", "nic2"]["packets"] == 1 and ring["nic1", "nic2"]["bytes"] == 100
    assert network.router.dropped() == {"ttl": 1}
    port = network.router.show("port")
    assert port[0]["received"] == {"packets": 2, "bytes": 200} and port[0]["link"] is True
    assert port[1]["sent"] == {"packets": 1, "bytes": 100}
    assert {r["prefix"]: r["kind"]
            for r in network.router.show("route")}["10.0.2.2/32"] == "forward"


def longest(routes, address):
    """What `show route ADDRESS` must find, the long way."""
    address = ipaddress.ip_address(address)
    return max((r for r in routes if address in ipaddress.ip_network(r["prefix"])),
               key=lambda r: ipaddress.ip_network(r["prefix"]).prefixlen, default=None)


@pytest.mark.parametrize("address", ["10.0.2.2", "10.0.2.1", "10.0.2.77", "10.0.2.255", "10.0.1.0",
                                     "9.9.9.9", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::"])
def test_route_to(network, address):
    done = run(P2PNIC, "show", "route", address, "-j", "--runtime", network.router.runtime)
    assert done.returncode == 0, done.stderr
    match = longest(network.router.show("route"), address)
    assert json.loads(done.stdout) == {"route": [match] if match else []}


@pytest.mark.parametrize("address", ["10.0.2", "host", ""])
def test_route_to_no_address(network, address):
    done = run(P2PNIC, "show", "route", address, "--runtime", network.router.runtime)
    assert done.returncode == 1 and f"not an address: {address}" in done.stderr


@pytest.mark.parametrize("words, prefixes", [
    ("10.0.2.0/24", ["10.0.2.0/24"]), ("10.0.0.0/16", []),
    ("10.0.2.0/24 longer-prefixes", ["10.0.2.0/24", "10.0.2.0/32", "10.0.2.1/32", "10.0.2.2/32",
                                     "10.0.2.255/32"]),
    ("10.0.0.0/8 longer-prefixes via 10.0.1.2", ["10.0.1.2/32"]),
    ("via 02:00:00:00:02:02", ["10.0.2.2/32", "fd00:2::2/128"]),
    ("10.0.2.2 nic nic1", []), ("10.0.2.2 nic nic2", ["10.0.2.2/32"]),
    ("source neighbor nic nic1 longer-prefixes 10.0.0.0/8", None), ("via", None), ("nic a b", None),
    ("source neighbor nic nic1", ["10.0.1.2/32", "fd00:1::2/128"]),
    ("10.0.2.2 source static", [])])
def test_route_filters(network, words, prefixes):
    done = run(P2PNIC, "show", "route", *words.split(), "-j", "--runtime", network.router.runtime)
    if prefixes is None:
        assert done.returncode == 2 and done.stderr.startswith("usage: p2pnic show")
        return
    assert done.returncode == 0, done.stderr
    found = [row["prefix"] for row in json.loads(done.stdout)["route"]]
    assert sorted(found) == sorted(prefixes)


def test_of_nic(network):
    for what, rows in (("nic", 1), ("port", 1), ("ring", 3), ("neighbor", 2), ("counter", 1),
                       ("route", 2)):
        done = run(P2PNIC, "show", what, "-a", "--nic", "nic1", "-j", "--runtime",
                   network.router.runtime)
        assert len(json.loads(done.stdout)[what]) == rows, done
    done = run(P2PNIC, "show", "port", "--nic", "nic9", "--runtime", network.router.runtime)
    assert done.returncode == 1 and "no NIC 'nic9'" in done.stderr


def test_no_such_thing(network):
    done = run(P2PNIC, "show", "nonsense", "--runtime", network.router.runtime)
    assert done.returncode == 2 and "no thing 'nonsense'" in done.stderr
    done = run(P2PNIC, "show", "ruote")
    assert done.returncode == 2 and "did you mean 'route'?" in done.stderr


@pytest.mark.parametrize("command", [["show", "nic"], ["reload"]])
@pytest.mark.parametrize("where, said", [
    (["--name", "a/b"], "--name 'a/b': want 1 to 31"),
    (["--name", ".."], "--name '..': want 1 to 31"),
    (["--name", ""], "--name '': want 1 to 31"), (["--runtime", ""], "--runtime '': want 1 to"),
    (["--runtime", "r" * 300], "want 1 to"), (["--name", "a", "--runtime", "/b"],
                                              "--runtime /b: one router at a time"),
    (["--runtime", "/b", "--name", "a"], "--name a: one router at a time")])
def test_which_router(command, where, said):
    done = run(P2PNIC, *command, *where)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_no_router(tmp_path):
    done = run(P2PNIC, "show", "nic", "--runtime", str(tmp_path))
    assert done.returncode == 1 and "no router runs there" in done.stderr


class Pretender:
    """Listens as a router does, and gives one answer."""

    def __init__(self, directory, answer):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(f"{directory}/api.sock")
        self.socket.listen(1)
        self.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with self.socket, self.socket.accept()[0] as peer:
            asked = b""
            while not asked.endswith(b"\n") and (more := peer.recv(65536)):
                asked += more
            peer.sendall(self.answer)


def ask_pretender(directory, answer, *words, **options):
    pretender = Pretender(directory, answer)
    done = run(P2PNIC, *words, "--runtime", str(directory), **options)
    pretender.thread.join(10)
    return done


def test_cells(tmp_path):
    """A link that is down, a fraction, what is missing; rows of zeros only for -a."""
    done = ask_pretender(tmp_path,
                         {"port": [{"nic": "a", "link": False, "received": {"packets": 7}},
                                             {"nic": "b", "link": True}]}, "show", "port")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["a", "-", "-", "-", "down", "7", "-", "-", "-", "-"], [
            "b", "-", "-", "-", "up", "-", "-", "-", "-", "-"]]
    (tmp_path / "api.sock").unlink()
    done = ask_pretender(tmp_path, {"tap": [{"nic": "a", "carrier": True, "oversize": 3}],
                                    "neighbor": []}, "show", "tap")
    assert done.stdout == (
        "nic       carrier     delivered    refused     bad      injected       full  oversize\n"
        "a         up                  -          -       -             -          -         3\n")
    (tmp_path / "api.sock").unlink()
    done = ask_pretender(tmp_path, {"neighbor": [{"address": "fd00::1", "nic": "a", "mac": "",
                                                  "state": ""}]}, "show", "neighbor")
    assert done.stdout == ("address                 nic       mac                state\n"
                           "fd00::1                 a\n")
    (tmp_path / "api.sock").unlink()
    done = ask_pretender(tmp_path,
                         {"router": {"pid": 5, "driver_cpu_seconds": 0.125, "method": "wr"}},
                         "show", "router")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["pid", "5"], ["driver_cpu_seconds", "0.12"], ["method", "wr"]]
    rows = {"drop": [{"reason": "ttl", "packets": 0, "meaning": "x"},
                     {"reason": "port", "packets": 2, "meaning": "y"}]}
    for words, reasons in (([], ["port"]), (["-a"], ["ttl", "port"])):
        (tmp_path / "api.sock").unlink()
        done = ask_pretender(tmp_path, rows, "show", "drop", *words)
        assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == reasons


@pytest.mark.hostile("a router that tells nonsense")
@pytest.mark.parametrize("words", [["show", "nic"], ["reload"]])
@pytest.mark.parametrize("answer", [b"", b"{", b"[]\n", b"\0\n", b"{}", b'{"port": []}'])
def test_answer_that_is_none(tmp_path, words, answer):
    done = ask_pretender(tmp_path, answer, *words)
    assert done.returncode == 1 and re.match(rf"p2pnic {words[0]}: \S",
                                             done.stderr) and not done.stdout


ROW = {"prefix": "10.0.0.0/8", "source": "}],[{\\\"", "kind": "forward"}


@pytest.mark.parametrize("end, why", [
    ('],"error":"the table has changed"}', "the table has changed"), ("", "ends early"),
    ('],"error"', "the router's answer"), ("nonsense]}", None), ("}]}", "no JSON"),
    ("]}", None), ('],"id":1}\n', None)])
def test_rows_that_end(tmp_path, end, why):
    """Rows that have come are printed, as one document of JSON, and why there are no more."""
    head = json.dumps({"route": [ROW, ROW]}, separators=(",", ":"))[:-2]
    for words in (["-j"], []):
        done = ask_pretender(tmp_path, (head + end).encode(), "show", "route", *words)
        (tmp_path / "api.sock").unlink()
        assert done.returncode == (1 if why else 0) and (why or "") in done.stderr
        if words:
            answer = json.loads(done.stdout)
            assert answer["route"] == [ROW, ROW] and ("error" in answer) == bool(why)
        else:
            assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize("words", [["reload"], ["reload", "-j"]])
def test_reload_that_cannot_be_told(tmp_path, words):
    """No room for the answer is a failure, however little of it there is."""
    answer = {"reload": {"configuration": "read", "table": "as it was", "nics_behind": 0}}
    with open("/dev/full", "w", encoding="utf8") as full:
        pretender = Pretender(tmp_path, answer)
        done = subprocess.run([P2PNIC, *words, "--runtime", str(tmp_path)],
                              stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
                              text=True, timeout=60, check=False)
        pretender.thread.join(10)
    assert done.returncode == 1 and "standard output: No space left on device" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["nic", "port"], ["nic", "--nonsense"],
                                       ["route", "::", "::"]])
def test_usage(arguments):
    assert run(P2PNIC, "show", *arguments).returncode == 2


def with_large_table(make_network):
    network = make_network(2)
    with open(f"{network.directory}/table.txt", "w", encoding="utf8") as file:
        file.writelines(f"{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24 10.0.2.2\n"
                        for n in range(100000))
    network.router.config["route_files"] = [{"file": "table.txt"}]
    network.router.write()
    assert "100000 routes added" in network.router.reload()
    return network


def run_measured(*command):
    """Its output, and the most memory that it had while it wrote, in KiB."""
    text, most = b"", 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        while more := process.stdout.read(1 << 20):
            text += more
            with open(f"/proc/{process.pid}/status", encoding="utf8") as file:
                used = re.search(r"VmHWM:\s+(\d+)", file.read())
            most = max(most, int(used[1]) if used else 0)
    assert process.returncode == 0
    return text, most


def test_many_routes(make_network):
    """All of a large table comes out; who asks for it and does not read keeps the router for a
    second, not longer."""
    network = with_large_table(make_network)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
        idle.connect(f"{network.router.runtime}/api.sock")
        idle.sendall(b'{"show": "route"}\n')
        begin = time.monotonic()
        assert network.router.show("router")["forwarding"] == 2
        assert time.monotonic() - begin < 5
    for words in ([], ["-j"]):
        text, most = run_measured(P2PNIC, "show", "route", *words, "--runtime",
                                  network.router.runtime)
        assert 0 < most < 32 << 10 or "sanitize" in P2PNIC, f"{most} KiB"
    assert sum(row["source"] == "file" for row in json.loads(text)["route"]) == 100000
    for words in (["source", "local"], ["::/0", "longer-prefixes"], ["nic", "nic1"]):
        done = run(P2PNIC, "show", "route", *words, "--runtime", network.router.runtime)
        assert done.returncode == 0 and len(done.stdout.splitlines()) > 2, done.stderr
    done = run(P2PNIC, "show", "route", "--runtime", network.router.runtime)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sum(line[1] == "file" for line in lines) == 100000
    row = ["101.134.159.0/24", "file", "forward", "nic2", mac(2, 2), "-", "-"]
    assert row in lines
    done = run(P2PNIC, "show", "route", "101.134.159.200", "--runtime", network.router.runtime)
    assert done.stdout.splitlines()[1].split() == row


def test_routes_are_of_one_table(make_network):
    """A reload while routes are sent: the answer ends and says so, instead of going on with those
    of the new table."""
    network = with_large_table(make_network)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(f"{network.router.runtime}/api.sock")
        client.sendall(b'{"show": "route"}\n')
        text = client.recv(65536)  # the rest does not fit into the socket
        network.router.config["routes"] = [{"prefix": "199.0.0.0/8", "via": "10.0.1.2"}]
        network.router.write()
        assert "1 routes added" in network.router.reload()
        while chunk := client.recv(65536):
            text += chunk
    answer = json.loads(text)
    assert "the table has changed" in answer["error"]
    assert 0 < len(answer["route"]) < 100000
    assert not any(row["prefix"] == "199.0.0.0/8" for row in answer["route"])
    assert len(network.router.show("route")) > 100000
