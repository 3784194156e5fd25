# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic metrics`: what it serves, to whom, and what is left of it when router or clients
misbehave."""

import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from scapy.all import IP, UDP, Ether, raw

from fake_router import FakeRouter
from network import (P2PNIC, SETTLE, Network, eventually, inside, listens, mac, processes_of,
                     run)
from test_kernel import KernelNetwork

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROMTOOL = shutil.which("promtool")


def connect(address):
    """Of a path, or of (host, port)."""
    s = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    s.settimeout(SETTLE)
    s.connect(address)
    return s


def ask(address, request):
    """Everything that comes."""
    with connect(address) as s:
        s.sendall(request.encode())
        answer = b""
        with contextlib.suppress(ConnectionError):
            while chunk := s.recv(65536):
                answer += chunk
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]) if head else 0, head, body


def get(address, path, host="localhost"):
    return ask(address, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")


def samples(text):
    """{name{labels}: value}"""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if not line.startswith("#")}


def scrape(address):
    status, head, body = get(address, "/metrics")
    assert status == 200 and "text/plain; version=0.0.4" in head
    return samples(body)


def pid_of(network):
    return next((pid for pid, line in processes_of(network.directory).items()
                 if line.split()[1] == "metrics"), None)


@contextlib.contextmanager
def served(network):
    network.http = f"{network.directory}/http"
    network.router.config["metrics"] = {"listen": f"unix:{network.http}"}
    network.router.write()
    try:
        network.start()
        eventually(lambda: listens(network.http), what="the metrics process")
        yield network
    finally:
        network.close()


@pytest.fixture(scope="module", name="net")
def net_fixture(permitted):
    with served(Network(2)) as network:
        for ttl in (64, 1):
            network.wire[1].send(raw(Ether(dst=mac(1), src=mac(1, 2)) /
                                     IP(src="10.0.1.2", dst="10.0.2.2", ttl=ttl) /
                                     UDP(dport=9) / (b"x" * 58)))
        network.wire[2].receive()
        network.router.at_rest()
        yield network


@pytest.fixture(scope="module", name="kernel")
def kernel_fixture(permitted):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun: not there")
    with served(KernelNetwork(2)) as network:
        eventually(lambda: any(k.startswith("p2pnic_kernel_routes{") for k in
                               scrape(network.http)), what="the census")
        yield network


def leaf_values(row, before=""):
    for key, value in row.items():
        if isinstance(value, dict) and key != "dropped":
            yield from leaf_values(value, f"{before}{key}.")
        elif isinstance(value, (int, float)):
            yield before + key, value


def test_values_are_the_routers(net):
    time.sleep(0.3)  # what was asked for before is not told again
    text = scrape(net.http)
    assert text["p2pnic_up"] == 1 and 'p2pnic_build_info{version="' in " ".join(text)
    for row in net.router.show("counter"):
        nic = row["nic"]
        assert text[f'p2pnic_nic_received_packets_total{{nic="{nic}"}}'] == \
            row["received"]["packets"]
        assert text[f'p2pnic_nic_sent_bytes_total{{nic="{nic}"}}'] == row["sent"]["bytes"]
        dropped = {re.search('reason="(.*)"', k)[1]: v for k, v in text.items()
                   if k.startswith(f'p2pnic_nic_dropped_packets_total{{nic="{nic}"')}
        assert {k: v for k, v in dropped.items() if v} == row["dropped"]
        assert "no-route" in dropped  # also those that are 0
    assert text['p2pnic_ring_packets_total{nic="nic1",peer="nic2"}'] == 1
    assert text['p2pnic_ring_bytes_total{nic="nic1",peer="nic2"}'] == 100
    assert text['p2pnic_nic_link_up{nic="nic1"}'] == 1
    assert text['p2pnic_nic_dropped_packets_total{nic="nic1",reason="ttl"}'] == 1
    routes = net.router.show("route")
    assert text['p2pnic_table_routes{family="ipv6"}'] == \
        sum(":" in row["prefix"] for row in routes)
    assert text['p2pnic_table_routes{family="ipv4"}'] == \
        sum(":" not in row["prefix"] for row in routes)
    eventually(lambda: "routes" in net.router.show("metrics"), what="the census")
    time.sleep(0.3)
    text = scrape(net.http)
    assert sum(v for k, v in text.items() if k.startswith("p2pnic_routes{")) == len(routes)
    assert text['p2pnic_neighbors{state="permanent"}'] == 4


def test_reloads_are_timed(net):
    before = scrape(net.http)
    net.router.reload()
    net.router.config["routes"] = [{"prefix": "nonsense", "via": "10.0.1.2"}]
    net.router.write()
    net.router.reload()
    del net.router.config["routes"]
    net.router.write()
    time.sleep(0.3)
    after = scrape(net.http)
    for name, more in (("p2pnic_reload_duration_seconds_count", 1), ("p2pnic_reloads_total", 1),
                       ('p2pnic_reload_duration_seconds_bucket{le="+Inf"}', 1),
                       ("p2pnic_reloads_refused_total", 1)):
        assert after[name] == before[name] + more, name
    took = after["p2pnic_reload_duration_seconds_sum"] - \
        before["p2pnic_reload_duration_seconds_sum"]
    assert took > 0
    for name, value in after.items():
        if found := re.match(r'p2pnic_reload_duration_seconds_bucket\{le="(.*)"\}', name):
            assert value - before[name] == (took <= float(found[1])), (name, took)


@pytest.mark.parametrize("which", ["net", "kernel"])
def test_promtool(which, request):
    assert PROMTOOL, "promtool: not installed (scripts/setup)"
    text = get(request.getfixturevalue(which).http, "/metrics")[2]
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done


def test_kernel(kernel):
    def lags():
        return scrape(kernel.http)["p2pnic_fib_lag_seconds_count"]
    before = lags()
    kernel.ip(kernel.kernel, "route", "add", "blackhole", "192.0.2.0/24")
    eventually(lambda: lags() > before, what="a change that is timed")
    text = scrape(kernel.http)
    rows = kernel.router.show("kernel")
    assert text['p2pnic_kernel_objects{kind="route"}'] == rows["routes"]
    assert text["p2pnic_kernel_batches_total"] == rows["batches"]
    assert text['p2pnic_audit_drift_total{at="nics"}'] == 0
    assert text["p2pnic_kernel_lag_last_seconds"] == pytest.approx(rows["lag_last_us"] / 1e6)
    for row in kernel.router.show("punt"):
        assert text[f'p2pnic_punt_passed_packets_total{{nic="{row["nic"]}",'
                    f'class="{row["class"]}"}}'] <= row["passed"]


def test_page_and_headers(net):
    status, head, body = get(net.http, "/")
    assert status == 200 and "text/html" in head and body.startswith("<!doctype html>")
    assert "default-src 'none'" in head and "connect-src 'self'" in head
    answer = json.loads(get(net.http, "/status.json")[2])
    assert [row["nic"] for row in answer["router"]["counter"]] == ["nic1", "nic2"]
    assert ask(net.http, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")[2] == ""
    assert get(net.http, "/etc/passwd")[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        request = f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        assert ask(net.http, request)[0] == 405


def test_process_may_nothing(net):
    with open(f"/proc/{pid_of(net)}/status", encoding="utf8") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[key], 16) == 0, key
    assert status["NoNewPrivs"] == "1"


@pytest.mark.hostile("clients and routers that misbehave")
def test_bad_clients(net):
    """Too many, silent, half, huge, garbage: the next one is served, the router as before."""
    pid, router = pid_of(net), net.router.process.pid
    silent = [connect(net.http) for _ in range(24)]
    for s in silent[::2]:
        s.sendall(b"GET /metr")
    for request in ("\0" * 4096, "GET /" + "x" * 100000 + " HTTP/1.1\r\n\r\n", "\r\n\r\n",
                    "GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 20000 + "\r\n",
                    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + "x" * 9999,
                    "GET /status.json HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nxxxxx"):
        silent.append(connect(net.http))
        with contextlib.suppress(ConnectionError):
            silent[-1].sendall(request.encode())
    assert get(net.http, "/metrics")[0] == 200
    for s in silent:
        s.close()
    assert pid_of(net) == pid and net.router.process.pid == router


@pytest.mark.hostile("clients and routers that misbehave")
def test_router_stopped_and_killed(net):
    """The process is there, and says that there is no answer; the next router has it."""
    pid = pid_of(net)
    net.router.process.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: scrape(net.http)["p2pnic_up"] == 0, what="up 0")
        assert "does not answer" in json.loads(get(net.http, "/status.json")[2])["error"]
    finally:
        net.router.process.send_signal(signal.SIGCONT)
    eventually(lambda: scrape(net.http)["p2pnic_up"] == 1, what="up 1")
    net.router.kill()
    eventually(lambda: "no router" in get(net.http, "/status.json")[2], what="no router")
    net.router.start()
    eventually(lambda: scrape(net.http)["p2pnic_up"] == 1, what="up 1")
    assert pid_of(net) == pid


def test_address_in_use(net):
    """It is said once, and tried again until it is free."""
    old, path = net.router.config["metrics"]["listen"], f"{net.directory}/taken"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        net.router.config["metrics"]["listen"] = f"unix:{path}"
        net.router.write()
        net.router.reload()
        why = f"metrics: listen unix:{path}: {path}: another process listens there"
        eventually(lambda: why in net.router.messages(), what="a warning")
    os.unlink(path)
    eventually(lambda: os.path.exists(path) and not refused(path), what="it listens")
    assert net.router.messages().count(why) == 1
    net.router.config["metrics"]["listen"] = old
    net.router.write()
    net.router.reload()
    eventually(lambda: os.path.exists(net.http) and not refused(net.http), what="it is back")


def test_started_anew(net):
    pid = pid_of(net)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid_of(net) not in (None, pid) and get(net.http, "/metrics")[0] == 200
               if os.path.exists(net.http) and not refused(net.http) else None,
               what="another one")
    assert "metrics: it ended; a new one is started" in net.router.messages()


def refused(path):
    try:
        connect(path).close()
    except OSError:
        return True
    return False


def test_reload_moves_it(net):
    old, net.http = net.http, f"{net.directory}/moved"
    net.router.config["metrics"]["listen"] = f"unix:{net.http}"
    net.router.write()
    net.router.reload()
    eventually(lambda: os.path.exists(net.http) and not refused(net.http), what="it has moved")
    assert not os.path.exists(old)
    del net.router.config["metrics"]
    net.router.write()
    net.router.reload()
    eventually(lambda: not pid_of(net), what="its end")
    assert not glob.glob(f"{net.router.runtime}/metrics.sock")


@pytest.mark.parametrize("metrics, line, why", [
    ("{listen: 0.0.0.0:9632}", 2, "other hosts reach 0.0.0.0:9632"),
    ('{listen: "[::]:9632"}', 2, "other hosts reach"),
    ("{listen: localhost:9632}", 2, "want ADDRESS:PORT"),
    ("{listen: 127.0.0.1}", 2, "want ADDRESS:PORT"), ("{listen: 127.0.0.1:0}", 2, "want ADDRESS"),
    ("{listen: 127.0.0.1:65536}", 2, "want ADDRESS:PORT"),
    ("{listen: unix:relative}", 2, "an absolute path"),
    ("{listen: unix:/x, namespace: y}", 2, "a socket's path is in none"),
    ("{public: true}", 2, "lacks the key listen")])
def test_configuration_refused(tmp_path, metrics, line, why):
    path = tmp_path / "router.yaml"
    path.write_text("nics: [{name: a, port: {type: tap, target: a}}]\n"
                    f"metrics: {metrics}\n")
    done = run(P2PNIC, "router", "-c", path)
    assert done.returncode == 1 and f"{path}:{line}: " in done.stderr and why in done.stderr


@contextlib.contextmanager
def by_hand(*words):
    # Leaks are looked for in /proc at the end, where it may not look any more.
    options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    process = subprocess.Popen([P2PNIC, "metrics", *words], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "ASAN_OPTIONS": options})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        assert process.wait(SETTLE) == 0
        process.stdout.close()
        process.stderr.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_by_hand(tmp_path):
    """Without a router it serves as well, and says that there is none."""
    address = ("127.0.0.1", free_port())
    with by_hand("--listen", f"127.0.0.1:{address[1]}", "--runtime", str(tmp_path)) as process:
        assert "listens at" in process.stderr.readline()
        assert scrape(address) == {"p2pnic_up": 0}
        # Of names, only this host's: a page of elsewhere may have its own name lead here.
        assert get(address, "/metrics", "evil.example:9632")[0] == 403
        assert get(address, "/metrics", f"127.0.0.1:{address[1]}")[0] == 200
        again = run(P2PNIC, "metrics", "--listen", f"127.0.0.1:{address[1]}")
        assert again.returncode == 1 and "Address already in use" in again.stderr
    path = tmp_path / "http"
    with by_hand("--listen", f"unix:{path}", "--runtime", str(tmp_path)) as process:
        assert "listens at" in process.stderr.readline()
        assert scrape(str(path)) == {"p2pnic_up": 0}
    assert not path.exists()


def test_router_is_asked_seldom(tmp_path):
    """However many ask: five times a second."""
    router, path = FakeRouter(f"{tmp_path}/run", 2), f"{tmp_path}/http"
    try:
        with by_hand("--listen", f"unix:{path}", "--runtime", f"{tmp_path}/run") as process:
            assert "listens at" in process.stderr.readline()
            start = time.monotonic()
            for k in range(50):
                status, _, body = get(path, "/metrics" if k % 2 else "/status.json")
                assert status == 200 and "nic2" in body
            assert router.asked <= (time.monotonic() - start) / 0.2 + 2
    finally:
        router.close()


def test_names_are_quoted(tmp_path):
    """A name is a label's value, whatever is in it."""
    router, path = FakeRouter(f"{tmp_path}/run", 2), f"{tmp_path}/http"
    router.names[1] = 'a"} 1\nb\\c'
    try:
        with by_hand("--listen", f"unix:{path}", "--runtime", f"{tmp_path}/run") as process:
            assert "listens at" in process.stderr.readline()
            text = get(path, "/metrics")[2]
    finally:
        router.close()
    assert 'p2pnic_nic_held_packets{nic="a\\"} 1\\nb\\\\c"} 0\n' in text
    assert all(line.startswith(("#", "p2pnic_")) for line in text.splitlines())


def test_public(tmp_path):
    """Asked for, other hosts may reach it, by whatever name they have for it."""
    port = free_port()
    with by_hand("--listen", f"0.0.0.0:{port}", "--public", "--runtime", str(tmp_path)) as process:
        assert "listens at" in process.stderr.readline()
        assert get(("127.0.0.1", port), "/metrics", "router.example")[0] == 200


def test_namespace(net):
    """The address is of another network namespace; the router is asked all the same."""
    there, port = net.namespaces[1], 9632
    assert run("ip", "-n", there, "link", "set", "lo", "up").returncode == 0
    with by_hand("--listen", f"127.0.0.1:{port}", "--namespace", there, "--runtime",
                 net.router.runtime) as process:
        assert "listens at" in process.stderr.readline()
        with inside(there):
            assert scrape(("127.0.0.1", port))["p2pnic_up"] == 1


@pytest.mark.parametrize("words, status, why", [
    ([], 2, "usage"), (["--listen", "x", "--manual"], 2, "usage"),
    (["--listen", "x", "-j"], 2, "usage"),
    (["--listen", "127.0.0.1:1", "more"], 2, "usage"),
    (["--listen", "0.0.0.0:9632"], 1, "that must be asked for"),
    (["--listen", "nonsense"], 1, "want ADDRESS:PORT"), (["--listen", "x" * 200], 2, "too long"),
    (["--listen", "127.0.0.1:9632", "--namespace", "pl-none"], 1, "pl-none")])
def test_wrong_usage(words, status, why):
    done = run(P2PNIC, "metrics", *words)
    assert done.returncode == status and why in done.stderr and not done.stdout


def test_manual():
    """docs/counters.md is what the table says."""
    with open(f"{ROOT}/docs/counters.md", encoding="utf8") as file:
        assert run(P2PNIC, "metrics", "--manual").stdout == file.read(), \
            "p2pnic metrics --manual > docs/counters.md"
        file.seek(0)
        text = file.read()
    manual = json.loads(run(P2PNIC, "metrics", "--manual", "-j").stdout)
    rows = manual["counters"] + manual["times"]
    assert len(rows) == len(re.findall(r"^\|.*`p2pnic_", text, re.M)) > 100
    for row in rows:
        assert f"`{row['metric']}` | " in text and f" | {row['read']} |\n" in text
    one, = (row for row in rows if row["metric"] == "p2pnic_nic_dropped_packets_total")
    assert one["labels"] == ["nic", "reason"] and one["unit"] == "packets"


def test_table_is_what_the_router_tells(kernel):
    """Every key of the manual is in the answer, and every number of `show` in the manual."""
    answer = kernel.router.show("metrics")
    with open(f"{ROOT}/docs/counters.md", encoding="utf8") as file:
        sections = re.split(r"^## (\w+)\n", file.read(), flags=re.M)[1:]
    for name, text in zip(sections[::2], sections[1::2]):
        keys = set(re.findall(r"^\| ([\w.]+) \|.*`p2pnic_", text, re.M))
        rows = kernel.router.show("ring") if name == "ring" else answer.get(name)
        if name in ("drop", "times"):
            continue
        row = rows[0] if isinstance(rows, list) else rows
        assert keys <= {key for key, _ in leaf_values(row)}, name
        if name in ("counter", "tap", "kernel"):
            extra = {key for key, _ in leaf_values(kernel.router.show(name)[0]
                                                   if name != "kernel" else row)}
            assert extra - keys <= {"served", "carrier", "delivered", "refused"} | \
                {k for k in extra if "_by_ring" in k}, name


def names_in(expression):
    """Metrics of p2pnic in a PromQL expression, without histograms' endings."""
    return {re.sub("_(bucket|sum|count)$", "", name)
            for name in re.findall(r"\bp2pnic_\w+", expression)}


def declared(text):
    return set(re.findall(r"^# TYPE (\w+) ", text, re.M))


@pytest.mark.parametrize("page", ["operations.md", "man/p2pnic-metrics.1.scd"])
def test_documented_names(kernel, page):
    with open(f"{ROOT}/docs/{page}", encoding="utf8") as file:
        names = names_in(file.read())
    assert names and not names - declared(get(kernel.http, "/metrics")[2])


def test_dashboard(kernel):
    """It names only metrics that there are."""
    with open(f"{ROOT}/packaging/grafana/p2pnic.json", encoding="utf8") as file:
        dashboard = json.load(file)
    there = declared(get(kernel.http, "/metrics")[2])
    asked = set()
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            asked |= names_in(target["expr"])
    for variable in dashboard["templating"]["list"]:
        asked |= names_in(str(variable["query"]))
    assert len(asked) > 20 and not asked - there
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    spots = [(x, y) for panel in dashboard["panels"] for at in [panel["gridPos"]]
             for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
    assert len(set(spots)) == len(spots) and max(x for x, _ in spots) < 24


def test_rules(kernel):
    """Alerts name only metrics that there are, each is tested, and Prometheus takes them."""
    folder = f"{ROOT}/packaging/prometheus"
    with open(f"{folder}/p2pnic.rules.yaml", encoding="utf8") as file:
        rules = file.read()
    with open(f"{folder}/p2pnic.test.yaml", encoding="utf8") as file:
        tests = file.read()
    there = declared(get(kernel.http, "/metrics")[2])
    asked = {name for expression in re.findall(r"^ +expr: (.*)$", rules, re.M)
             for name in names_in(expression)}
    assert len(asked) > 10 and not asked - there
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    assert alerts == set(re.findall(r'alertname="(\w+)"', tests))
    for words in (["check", "rules", "p2pnic.rules.yaml"], ["test", "rules", "p2pnic.test.yaml"]):
        done = subprocess.run([PROMTOOL, *words], cwd=folder, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0 and "SUCCESS" in done.stdout, done


def test_end_leaves_nothing(kernel):
    """The router's end is its end. One of a router that was killed is ended by the next router,
    whose configuration has none."""
    kernel.router.stop()
    assert not pid_of(kernel) and not os.path.exists(kernel.http)
    assert not os.path.exists(kernel.router.runtime)
    kernel.router.start()
    eventually(lambda: pid_of(kernel) and os.path.exists(kernel.http), what="it is back")
    kernel.router.kill()
    del kernel.router.config["metrics"]
    kernel.router.write()
    kernel.router.start()
    eventually(lambda: not pid_of(kernel), what="its end")
    assert not os.path.exists(kernel.http)
