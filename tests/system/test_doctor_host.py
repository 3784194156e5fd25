# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic doctor -c FILE` about the host of a configuration whose router does not run: each finding
is there when it is provoked, and gone after its command, in a network namespace of the test's
own."""

import json
import os
import subprocess

import pytest

from network import P2PNIC, eventually, run

NETNS = f"pl-{os.getpid()}-d"
KINDS = {"capability", "feature", "queues", "offload", "mtu", "core", "memory", "port"}


class Host:
    def __init__(self, place):
        self.place, self.file = place, f"{place}/router.yaml"
        assert run("ip", "netns", "add", NETNS).returncode == 0
        self.sh("ip link add eth1 numrxqueues 4 numtxqueues 4 type veth peer name far; "
                "ethtool -L eth1 rx 1 tx 1; ethtool -K eth1 gro off; ip link set eth1 up; "
                "sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1")
        self.configure()

    def sh(self, command):
        return subprocess.run(["ip", "netns", "exec", NETNS, "sh", "-c", command], check=True,
                              timeout=60, capture_output=True, text=True).stdout

    def configure(self, kind="af_packet", nic="", **more):
        config = {"router": {"runtime": f"{self.place}/run"},
                  "nics": [{"name": "left", "port": {"type": kind, "target": "eth1"},
                            **(json.loads(nic) if nic else {})}], **more}
        with open(self.file, "w", encoding="utf8") as file:
            json.dump(config, file)

    def findings(self, *words, through=()):
        """Those of the host that are not ok, or have a fix; what is printed agrees."""
        command = ["ip", "netns", "exec", NETNS, *through, P2PNIC, "doctor", "-c", self.file,
                   *words]
        done = run(*command, "-j")
        rows = json.loads(done.stdout)["checks"]
        assert done.returncode == any(row["level"] == "fault" for row in rows)
        text = run(*command).stdout
        for row in rows:
            if row["kind"] in KINDS - {"core"}:
                assert row["text"] in text and (not row["fix"] or row["fix"] in text)
        return [row for row in rows if row["kind"] in KINDS and row["level"] != "ok"]

    def one(self, level, kind, subject, *words, **options):
        """Exactly that one; its command."""
        row, = self.findings(**options)
        assert (row["level"], row["kind"], row["subject"]) == (level, kind, subject), row
        assert all(word in row["text"] for word in words), row
        return row["fix"]


@pytest.fixture(name="host")
def host_with_one_interface(permitted, tmp_path):
    host = Host(tmp_path)
    try:
        yield host
    finally:
        run("ip", "netns", "delete", NETNS)


def test_a_host_that_is_well(host):
    assert not host.findings()


def test_no_interface(host):
    host.sh("ip link delete eth1")
    assert "target: NAME" in host.one("fault", "port", "eth1", "no such interface")


def test_mtu(host):
    host.sh("ip link set eth1 mtu 1400")
    host.sh(host.one("fault", "mtu", "eth1", "its MTU is 1400, and that of its NIC left is 1500"))
    assert not host.findings()
    host.sh("ip link set eth1 mtu 9000")
    host.sh(host.one("note", "mtu", "eth1", "its MTU is 9000, and buffers hold 1778 bytes"))
    assert not host.findings()
    host.configure(nic='{"mtu": 9000}')
    host.sh(host.one("fault", "mtu", "eth1", "is 9000: longer packets"))
    assert not host.findings()


def test_offloads(host):
    host.sh("ethtool -K eth1 gro on")
    host.sh(host.one("note", "offload", "eth1", "GRO is on"))
    assert not host.findings()


def test_queues_and_tags(host):
    if "rx-vlan-offload: on [fixed]" in host.sh("ethtool -k eth1"):
        pytest.skip("veth keeps its offload of tags")
    host.configure("af_xdp", '{"vlans": [{"id": 7}]}')
    host.sh("ethtool -K eth1 rxvlan off")
    before = [row for row in host.findings() if row["kind"] != "feature"]
    host.sh("ethtool -L eth1 rx 3")
    rows = [row for row in host.findings() if row["kind"] == "queues"]
    assert [row["text"].split(",")[0] for row in rows] == ["it has 3 queues"]
    assert rows[0]["fix"] == "ethtool -L eth1 combined 1"
    host.configure("af_xdp", '{"port": {"type": "af_xdp", "target": "eth1", "options": "queue=1"},'
                             ' "vlans": [{"id": 7}]}')
    assert not [row for row in host.findings() if row["kind"] == "queues"]
    host.sh("ethtool -L eth1 rx 1; ethtool -K eth1 rxvlan on")
    rows = [row for row in host.findings() if row not in before and row["kind"] != "feature"]
    assert [(row["level"], row["kind"]) for row in rows] == [("fault", "offload")], rows
    host.sh(rows[0]["fix"])
    assert not [row for row in host.findings() if row["kind"] == "offload"]


@pytest.mark.parametrize("kind, more, name", [
    ("af_packet", {}, "CAP_NET_RAW"), ("tap", {}, "CAP_NET_ADMIN"), ("af_xdp", {}, "CAP_BPF")])
def test_capabilities(host, kind, more, name):
    host.configure(kind, **more)
    lacks = ("setpriv", f"--bounding-set=-{name.removeprefix('CAP_').lower()}",
             "--inh-caps=-all", "--")
    has = [row for row in host.findings() if row["kind"] == "capability"]
    rows = [row for row in host.findings(through=lacks) if row["kind"] == "capability"]
    assert [(row["level"], row["subject"]) for row in rows if row not in has] == [("fault", name)]
    assert f"AmbientCapabilities={name}" in rows[0]["fix"]


def test_cores(host, tmp_path):
    engines = [{"name": "a", "core": 0}, {"name": "b", "core": 1}]
    cpu = tmp_path / "sys/devices/system/cpu"
    for core in range(2):
        (cpu / f"cpu{core}/topology").mkdir(parents=True)
    for name in ("bus/pci/devices", "kernel/iommu_groups"):
        (tmp_path / "sys" / name).mkdir(parents=True)

    def cores(siblings):
        for core in range(2):
            (cpu / f"cpu{core}/topology/thread_siblings_list").write_text(
                siblings[core] + "\n")
        return [(row["level"], row["subject"], row["text"])
                for row in host.findings("--sysfs", str(tmp_path / "sys"))
                if row["kind"] == "core" and "other work" not in row["text"]]
    host.configure(nic='{"engine": "a"}', engines=engines)
    assert not cores(["0", "1"])
    (level, engine, text), = cores(["0-1", "0-1"])
    assert (level, engine) == ("note", "b") and "cores 0 and 1, which are two threads" in text
    engines[1]["core"] = 0
    host.configure(nic='{"engine": "a"}', engines=engines)
    (level, engine, text), = cores(["0", "1"])
    assert (level, engine) == ("fault", "b") and "both poll on core 0" in text
    for engine in engines:
        engine["shared"] = True
    host.configure(nic='{"engine": "a"}', engines=engines)
    assert not cores(["0-1", "0-1"])


def test_other_work_on_a_core(host):
    """A process that never sleeps, on the engine's core; it is named, and its command moves it."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    core, other = sorted(os.sched_getaffinity(0))[:2]
    host.configure(nic='{"engine": "a"}', engines=[{"name": "a", "core": core}])
    busy = subprocess.Popen(["taskset", "-c", str(core), "sh", "-c", "while :; do :; done"])
    try:
        def named():
            return [row for row in host.findings()
                    if row["kind"] == "core" and f"process {busy.pid} " in row["text"]]
        row = eventually(named, what="it is named")[0]
        assert row["level"] == "note" and f"core {core}, on which it polls" in row["text"]
        command = row["fix"].split(";")[0].replace("OTHER-CORES", str(other))
        assert run("sh", "-c", command).returncode == 0
        eventually(lambda: not named(), what="it is elsewhere")
    finally:
        busy.kill()
        busy.wait()


def test_huge_pages(host):
    """Said, and well either way."""
    rows = json.loads(run("ip", "netns", "exec", NETNS, P2PNIC, "doctor", "-j", "-c",
                          host.file).stdout)["checks"]
    with open("/proc/meminfo", encoding="utf8") as file:
        found = {line.split(":")[0]: int(line.split()[1]) for line in file}
    row = [row for row in rows if row["kind"] == "memory"]
    if found["HugePages_Free"] >= 16 or found["Hugepagesize"] != 2048:
        assert not row
        return
    wanted = found["HugePages_Total"] - found["HugePages_Free"] + 16
    assert row[0]["level"] == "ok" and row[0]["fix"] == f"sysctl -w vm.nr_hugepages={wanted}"
