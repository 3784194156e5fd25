# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic lab`: as root, without root, where nothing is allowed; interrupted; left running."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from network import P2PNIC, eventually, run

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def traces(programs):
    """What a lab of these programs could leave behind: processes, namespaces, files."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/exe") in programs:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    found.append(file.read().replace(b"\0", b" ").decode(errors="replace"))
    found += [path for path in ("/run/netns/p2pnic-lab-router", "/run/netns/p2pnic-lab-h1",
                                "/run/p2pnic/lab", "/run/p2pnic/lab.yaml")
              if os.path.exists(path)]
    return found


@pytest.fixture(autouse=True)
def nothing_left(for_nobody):
    """There is one lab of a user on a machine: tests of several checkouts take turns."""
    path = f"/tmp/pl-lab-{os.geteuid()}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = {os.path.realpath(P2PNIC), for_nobody[-1]}
        left = traces(programs)
        if left:
            pytest.skip(f"a lab is there already: {left}")
        files = {name for name in os.listdir("/tmp") if name.startswith("p2pnic-lab-")}
        yield
        eventually(lambda: not traces(programs), 5, "nothing left")
        assert {name for name in os.listdir("/tmp") if name.startswith("p2pnic-lab-")} <= files


@pytest.fixture(scope="session")
def for_nobody(tmp_path_factory):
    """The program where nobody may run it."""
    if os.geteuid() != 0:
        yield [P2PNIC]
        return
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        os.chmod(directory, 0o755)
        place = shutil.copy(P2PNIC, f"{directory}/p2pnic")
        os.chmod(place, 0o755)
        yield [*NOBODY, place]


def good(done, kind):
    """The results of `lab run --json`, checked."""
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    if result["user"] != kind:
        pytest.skip(f"only {result['user']} is allowed here: {done.stderr.strip()}")
    assert result["packets"]["unaccounted"] == 0
    assert result["packets"]["in"] == result["packets"]["out"] > 0
    assert result["router"]["data_packets_through_driver"] == 0
    return result


def check_traffic(result):
    assert result["pings"]["answered"] == result["pings"]["sent"] >= 36
    assert len(result["tcp"]) == 2 and all(row["bits_per_second"] > 0 for row in result["tcp"])
    assert all(row["datagrams"] > 0 for row in result["udp"])
    assert {row["state"] for row in result["nic"]} == {"forwarding"}
    pairs = {(r["ingress"], r["egress"]) for r in result["ring"] if r["packets"]}
    assert len(pairs) == 12


def test_as_root():
    if os.geteuid() != 0:
        pytest.skip("not root")
    check_traffic(good(run(P2PNIC, "lab", "run", "--json"), "root"))


def test_without_root(for_nobody):
    check_traffic(good(run(*for_nobody, "lab", "run", "--json"), "namespace"))


def test_text(for_nobody):
    done = run(*for_nobody, "lab", "run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    last = re.fullmatch(r"lab: (\d+) packets in, (\d+) out, 0 unaccounted", lines[-1])
    assert last and last[1] == last[2]
    assert "data packets through the driver: 0" in lines


def test_where_nothing_is_allowed():
    """No capabilities and no user namespaces to be had: captures."""
    command = "echo 0 >/proc/sys/user/max_user_namespaces && " \
              f"exec setpriv --bounding-set=-all --inh-caps=-all {P2PNIC} lab run --json"
    done = run("unshare", "--user", "--map-root-user", "sh", "-c", command)
    if "unshare" in done.stderr or "max_user_namespaces" in done.stderr:
        pytest.skip(f"cannot forbid it: {done.stderr.strip()}")
    result = good(done, "none")
    assert "p2pnic replay" in done.stderr
    assert result["packets"]["sent"] == 1200 and result["packets"]["dropped"] == 8


CHROOT = """
set -e
mount --make-rshared /
cd {place}
mkdir proc run tmp
for name in bin dev etc lib lib64 sbin sys usr; do
    if [ -L /$name ]; then cp -P /$name .; elif [ -d /$name ]; then mkdir $name; mount --rbind /$name $name; fi
done
mount -t proc proc proc
cp {program} p2pnic
chroot . /p2pnic lab run --json
! mountpoint -q run
"""


def test_in_a_chroot(tmp_path):
    """Root in a directory that is no mount point, on a file system that hands its mounts on to others."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    may = run("unshare", "--mount", "--net", "--pid", "--fork", "true")
    if may.returncode:
        pytest.skip(f"no namespaces here: {may.stderr.strip()}")
    script = CHROOT.format(place=tmp_path, program=P2PNIC)
    done = run("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
    assert '"root"' in done.stdout, done.stderr
    check_traffic(good(done, "root"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("after", [0.05, 0.6, 2])
def test_interrupted(number, after):
    """However and whenever it ends, nothing is left (the fixture looks)."""
    with subprocess.Popen([P2PNIC, "lab", "run"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        time.sleep(after)
        process.send_signal(number)
        process.wait(10)
        assert process.returncode in (128 + number, -number)


def use(program):
    up = run(*program, "lab", "up")
    assert up.returncode == 0, up.stderr
    try:
        assert "lab: up" in up.stdout
        again = run(*program, "lab", "up")
        assert again.returncode == 1 and "up already" in again.stderr
        ping = run(*program, "lab", "exec", "h1", "ping", "-c", "1", "-W", "5", "10.0.4.2")
        assert ping.returncode == 0, ping.stdout + ping.stderr
        show = run(*program, "lab", "exec", "router", "p2pnic", "show", "ring", "-j", "--name", "lab")
        rings = {(r["ingress"], r["egress"]): r["packets"] for r in json.loads(show.stdout)["ring"]}
        assert rings["nic1", "nic4"] >= 1 and rings["nic4", "nic1"] >= 1
        assert run(*program, "lab", "exec", "h1", "false").returncode == 1
        nobody = run(*program, "lab", "exec", "h9", "true")
        assert nobody.returncode == 1 and "h9" in nobody.stderr
    finally:
        down = run(*program, "lab", "down")
    assert down.returncode == 0 and "removed" in down.stdout


def test_up_and_down(permitted):
    use([P2PNIC])
    assert "there was none" in run(P2PNIC, "lab", "down").stdout


def test_up_and_down_without_root(for_nobody):
    may = run(*for_nobody[:-1], "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork",
              "mount", "-t", "tmpfs", "none", "/run")
    if may.returncode:
        pytest.skip(f"no namespaces without root: {may.stderr.strip()}")
    use(for_nobody)


def test_up_over_a_dead_one(permitted):
    """The router of a lab was killed, its NICs forward on: `up` makes a new one."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    assert run(P2PNIC, "lab", "up").returncode == 0
    try:
        shown = json.loads(run(P2PNIC, "show", "router", "-j", "--name", "lab").stdout)
        os.kill(shown["router"]["pid"], signal.SIGKILL)
        assert run("ip", "netns", "exec", "p2pnic-lab-h2", "ping", "-c", "1", "10.0.3.2").returncode == 0
        again = run(P2PNIC, "lab", "up")
        assert again.returncode == 0, again.stderr
        assert run("ip", "netns", "exec", "p2pnic-lab-h2", "ping", "-c", "1", "10.0.3.2").returncode == 0
    finally:
        run(P2PNIC, "lab", "down")


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "now"], ["--nonsense"], ["exec", "h1"]])
def test_usage(arguments):
    done = run(P2PNIC, "lab", *arguments)
    assert done.returncode == 2 and "usage:" in done.stderr
