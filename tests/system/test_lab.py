# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic lab`: as root, without root, where nothing is allowed; interrupted; left running."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from inject import LIBRARY, Inject, place
import network
from network import eventually, run

# A copy: what runs it is the lab's, whatever other tests run beside; and nobody may run it.
P2PNIC = f"/tmp/pl-{os.getpid()}-lab/p2pnic"
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def setup_module():
    os.mkdir(os.path.dirname(P2PNIC))
    shutil.copy(network.P2PNIC, P2PNIC)
    for path in (os.path.dirname(P2PNIC), P2PNIC):
        os.chmod(path, 0o755)


def teardown_module():
    shutil.rmtree(os.path.dirname(P2PNIC))


def traces():
    """What a lab could leave behind: processes, namespaces, files."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            program = os.readlink(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
            if program == P2PNIC or program.startswith("/usr/lib/frr/") and (
                    "/lab-frr" in line or "--vty_socket /var/tmp" in line):
                found.append(line)
    found += [path for path in ("/run/netns/p2pnic-lab-router", "/run/netns/p2pnic-lab-h1",
                                "/run/p2pnic/lab", "/run/p2pnic/lab.yaml",
                                "/run/p2pnic/lab-frr")
              if os.path.exists(path)]
    return found


@pytest.fixture(autouse=True)
def nothing_left():
    """There is one lab of a user on a machine: tests of several checkouts take turns."""
    path = f"/tmp/pl-lab-{os.geteuid()}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left = traces()
        if left:
            pytest.skip(f"a lab is there already: {left}")
        files = {name for name in os.listdir("/tmp") if name.startswith("p2pnic-lab-")}
        yield
        eventually(lambda: not traces(), 30, "nothing left")
        assert {name for name in os.listdir("/tmp") if name.startswith("p2pnic-lab-")} <= files


@pytest.fixture(scope="session")
def for_nobody():
    """The program, as run by nobody."""
    return [*(NOBODY if os.geteuid() == 0 else []), P2PNIC]


def good(done, kind):
    """The results of `lab run --json`, checked."""
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    if result["user"] != kind:
        pytest.skip(f"only {result['user']} is allowed here: {done.stderr.strip()}")
    assert result["packets"]["unaccounted"] == 0
    assert result["packets"]["in"] == result["packets"]["out"] > 0
    if kind == "none":
        assert result["router"]["data_packets_through_driver"] == 0
    return result


def frr_may_run():
    return os.geteuid() == 0 and os.path.exists("/usr/lib/frr/bgpd")


def check_traffic(result, routes=None):
    """Next hops that BGP does not resolve beforehand are, by the first packets of the pings."""
    routes = routes or ("frr" if result["user"] == "root" and frr_may_run() else "ip")
    assert result["routes"] == routes
    assert 0 <= result["forwarded_by_kernel"] <= (0 if result["routes"] == "frr" else 72)
    assert result["packets"]["punted"] > 0 and result["packets"]["injected"] > 0
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
    # Ports are af_xdp wherever the kernel and the user's rights allow it; the lab tries it right.
    reason = next((line for line in lines if line.startswith("  not af_xdp: ")), "")
    assert "packet memory" not in reason
    last = re.fullmatch(r"lab: (\d+) packets in, (\d+) out, 0 unaccounted", lines[-1])
    assert last and last[1] == last[2]
    assert any(re.fullmatch(r"forwarded by the kernel: \d+", line) for line in lines)
    assert any(line.startswith("  routes by ip route, not from FRR: ") for line in lines)


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_where_nothing_is_allowed(mtu):
    """No capabilities and no user namespaces to be had: captures."""
    command = "echo 0 >/proc/sys/user/max_user_namespaces && " \
              f"exec setpriv --bounding-set=-all --inh-caps=-all {P2PNIC} lab run --json " \
              f"--mtu {mtu}"
    done = run("unshare", "--user", "--map-root-user", "sh", "-c", command)
    if "unshare" in done.stderr or "max_user_namespaces" in done.stderr:
        pytest.skip(f"cannot forbid it: {done.stderr.strip()}")
    result = good(done, "none")
    assert "p2pnic replay" in done.stderr
    assert result["packets"]["sent"] == 1200 and result["packets"]["dropped"] == 8
    # Lengths up to the MTU, evenly: half of it in the mean, less a step.
    assert {round(row["bytes"] / row["packets"] / mtu, 1) for row in result["ring"]
            if row["packets"]} == {0.5}


def test_jumbo_frames(for_nobody):
    """Pings as long as the MTU allows; pairs that no iperf3 uses saw nothing else."""
    result = good(run(*for_nobody, "lab", "run", "--mtu", "9000", "--json"), "namespace")
    check_traffic(result)
    assert result["pings"]["mtu"] == 9000
    assert {r["bytes"] / r["packets"] for r in result["ring"]
            if (r["ingress"], r["egress"]) == ("nic1", "nic3")} == {9014}


RECEIVE = """
import hashlib, socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("10.0.3.2", 4000))
    s.settimeout(30)
    print("ready", flush=True)
    for _ in range(3):
        print(hashlib.sha256(s.recv(65536)).hexdigest(), flush=True)
"""
SEND = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for name in {names}:
        with open(name, "rb") as file:
            s.sendto(file.read(), ("10.0.3.2", 4000))
"""


def test_jumbo_frames_byte_for_byte(permitted, tmp_path):
    """Hosts, links and NICs of a lab that stays have the MTU, and its bytes arrive as they were."""
    up = run(P2PNIC, "lab", "up", "--mtu", "9000")
    assert up.returncode == 0, up.stderr
    try:
        nic = json.loads(run(P2PNIC, "lab", "exec", "router", "p2pnic", "show", "nic", "-j",
                             "--name", "lab").stdout)["nic"]
        assert {(row["mtu"], row["buffer_bytes"]) for row in nic} == {(9000, 16384)}
        ping = [P2PNIC, "lab", "exec", "h1", "ping", "-M", "do", "-c", "1", "-W", "5", "10.0.3.2"]
        assert run(*ping, "-s", str(9000 - 28)).returncode == 0
        too_long = run(*ping, "-s", str(9000 - 27))
        assert too_long.returncode and "mtu=9000" in too_long.stdout + too_long.stderr
        sent = [os.urandom(n) for n in (9000 - 28, 8900, 1473)]
        for k, octets in enumerate(sent):
            (tmp_path / str(k)).write_bytes(octets)
        with subprocess.Popen([P2PNIC, "lab", "exec", "h3", "python3", "-c", RECEIVE],
                              stdout=subprocess.PIPE, text=True) as receiver:
            assert receiver.stdout.readline() == "ready\n"
            names = [str(tmp_path / str(k)) for k in range(len(sent))]
            assert run(P2PNIC, "lab", "exec", "h1", "python3", "-c",
                       SEND.format(names=names)).returncode == 0
            assert receiver.stdout.read().split() == [hashlib.sha256(o).hexdigest() for o in sent]
    finally:
        run(P2PNIC, "lab", "down")


@pytest.mark.parametrize("script, why", [
    ("", "it is not installed"),
    ("for name in zebra bgpd; do printf '#!/bin/sh\\necho out of luck; exit 1\\n' "
     ">/usr/lib/frr/$name; chmod 755 /usr/lib/frr/$name; done", "out of luck")])
def test_without_frr(script, why):
    """Absent, or its daemons end: routes are the kernel's all the same, and why is said."""
    if not frr_may_run():
        pytest.skip("not root, or no FRR to hide")
    command = f"mount -t tmpfs none /usr/lib/frr && {script or ':'} && exec {P2PNIC} lab run"
    done = run("unshare", "--mount", "sh", "-c", command)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"cannot hide it: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert f"  routes by ip route, not from FRR: {why}\n" in done.stdout
    assert "72 sent, 72 answered" in done.stdout and ", 0 unaccounted\n" in done.stdout


CHROOT = """
set -e
mount --make-rshared /
cd {place}
mkdir proc run tmp
for name in bin dev etc lib lib64 sbin sys usr; do
    if [ -L /$name ]; then cp -P /$name .
    elif [ -d /$name ]; then mkdir $name; mount --rbind /$name $name
    fi
done
mount -t proc proc proc
cp {program} p2pnic
chroot . /p2pnic lab run --json
! mountpoint -q run
"""


def test_captures_that_do_not_fit():
    """Neither namespaces nor room for a capture: said, with the directory, which goes."""
    command = "echo 0 >/proc/sys/user/max_user_namespaces && ulimit -f 400 && " \
              f"exec setpriv --bounding-set=-all --inh-caps=-all {P2PNIC} lab run --json"
    done = run("unshare", "--user", "--map-root-user", "sh", "-c", command)
    if "unshare:" in done.stderr or "max_user_namespaces" in done.stderr:
        pytest.skip(f"cannot forbid it: {done.stderr.strip()}")
    assert done.returncode == 1 and re.search(r"^p2pnic lab: /tmp/p2pnic-lab-\w+: Input/output "
                                              r"error$", done.stderr,
                                              re.MULTILINE), done.stderr


def test_in_a_chroot(tmp_path):
    """Root in a directory that is no mount point, on a file system that hands its mounts on to
    others."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    may = run("unshare", "--mount", "--net", "--pid", "--fork", "true")
    if may.returncode:
        pytest.skip(f"no namespaces here: {may.stderr.strip()}")
    script = CHROOT.format(place=tmp_path, program=P2PNIC)
    done = run("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
    assert '"root"' in done.stdout, done.stderr
    # FRR's daemons are given a /var/tmp of their own, which this root cannot have.
    check_traffic(good(done, "root"), routes="ip")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("after", [0.05, 0.6, 2])
def test_interrupted(number, after):
    """However and whenever it ends, nothing is left (the fixture looks)."""
    # Who runs the tests in the background of a shell without job control has SIGINT ignored.
    with subprocess.Popen([P2PNIC, "lab", "run"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                           signal.SIG_DFL)) as process:
        time.sleep(after)
        process.send_signal(number)
        process.wait(10)
        assert process.returncode in (128 + number, -number)


def use(program, *how):
    up = run(*program, "lab", "up", *how)
    assert up.returncode == 0, up.stderr
    try:
        if how:
            lab = json.loads(up.stdout)["lab"]
            assert lab["router"] == "lab" and lab["mtu"] == 1500 and len(lab["hosts"]) == 4
            for host in lab["hosts"]:
                has = run(*program, "lab", "exec", host["host"], "ip", "-o", "address").stdout
                assert all(f" {address}/" in has for address in host["addresses"] + host["behind"])
            assert lab["hosts"][3]["namespace"] == "p2pnic-lab-h4"
            assert lab["hosts"][3]["nic"] == "nic4" and "10.0.4.1" in lab["hosts"][3]["router"]
        else:
            assert "lab: up" in up.stdout
        again = run(*program, "lab", "up")
        assert again.returncode == 1 and "up already" in again.stderr
        # Where no BGP has resolved the next hop, the kernel forwards the first one.
        ping = run(*program, "lab", "exec", "h1", "ping", "-c", "2", "-W", "5", "10.1.4.1")
        assert ping.returncode == 0, ping.stdout + ping.stderr
        show = run(*program, "lab", "exec", "router", "p2pnic", "show", "ring", "-j", "--name",
                   "lab")
        rings = {(r["ingress"], r["egress"]): r["packets"] for r in json.loads(show.stdout)["ring"]}
        assert rings["nic1", "nic4"] >= 1 and rings["nic4", "nic1"] >= 1
        assert run(*program, "lab", "exec", "h1", "false").returncode == 1
        nobody = run(*program, "lab", "exec", "h9", "true")
        assert nobody.returncode == 1 and "h9" in nobody.stderr
    finally:
        down = run(*program, "lab", "down", *how)
    assert down.returncode == 0
    assert json.loads(down.stdout) == {"removed": True} if how else "removed" in down.stdout


def test_up_and_down(permitted):
    use([P2PNIC])
    assert "there was none" in run(P2PNIC, "lab", "down").stdout
    assert json.loads(run(P2PNIC, "lab", "down", "--json").stdout) == {"removed": False}


def test_up_and_down_without_root(for_nobody):
    may = run(*for_nobody[:-1], "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid",
              "--fork", "mount", "-t", "tmpfs", "none", "/run")
    if may.returncode:
        pytest.skip(f"no namespaces without root: {may.stderr.strip()}")
    use(for_nobody, "-j")


def test_up_over_a_dead_one(permitted):
    """The router of a lab was killed, its NICs forward on: `up` makes a new one."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    assert run(P2PNIC, "lab", "up").returncode == 0
    try:
        shown = json.loads(run(P2PNIC, "show", "router", "-j", "--name", "lab").stdout)
        os.kill(shown["router"]["pid"], signal.SIGKILL)
        assert run("ip", "netns", "exec", "p2pnic-lab-h2", "ping", "-c", "1",
                   "10.0.3.2").returncode == 0
        again = run(P2PNIC, "lab", "up")
        assert again.returncode == 0, again.stderr
        assert run("ip", "netns", "exec", "p2pnic-lab-h2", "ping", "-c", "1",
                   "10.0.3.2").returncode == 0
    finally:
        run(P2PNIC, "lab", "down")


# --- Programs that fail ---------------------------------------------------------------------------

ANSWERED = ('case "$*" in *" 10.1.2.1") n=2;; *) n=3;; esac\necho "3 packets transmitted, $n '
            'received"')
REPORT = '{"end": {"sum": {"packets": 9, "bytes": 900, "lost_packets": 1}, ' \
         '"sum_received": {"bits_per_second": 2e9}, "sum_sent": {"retransmits": 4}}}'
MEASURED = f"[ $1 = -s ] || echo '{REPORT}'"


@pytest.fixture
def pretend():
    """pretend(ping="…") → an environment where these programs are shell scripts."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        os.chmod(directory, 0o755)

        def make(**scripts):
            for name, script in scripts.items():
                with open(f"{directory}/{name}", "w", encoding="utf8") as file:
                    file.write(f"#!/bin/sh\n{script}\n")
                os.chmod(f"{directory}/{name}", 0o755)
            return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
        yield make


def test_what_failed_is_told(for_nobody, pretend):
    """A ping lost, and an iperf3 that ends badly: with a reason, with mere text, without a word."""
    environment = pretend(ping=ANSWERED, iperf3=f"""
        case "$*" in
            -s*) ;;
            *"10.0.2.2 -J -t 3"*) echo '{{"error": "no way there"}}'; exit 1;;
            *"10.0.4.2 -J -t 3"*) echo broken; exit 1;;
            *"10.0.4.2 -J"*) exit 1;;
            *) echo '{REPORT}';;
        esac""")
    done = run(*for_nobody, "lab", "run", env=environment)
    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert [line for line in lines if line.endswith("lost") and "->" in line] == \
        [f"p2pnic-lab-h{k} -> 10.1.2.1: 1 lost" for k in (
            1, 3, 4)] + ["udp h3 -> h2 9 datagrams, 1 lost"]
    assert "tcp h1 -> h2 failed: no way there" in lines
    assert "tcp h3 -> h4 failed: broken" in lines
    assert "udp h1 -> h4 failed: it failed" in lines


def test_answers_of_other_bytes(pretend):
    """They are none."""
    wrong = ANSWERED.replace("echo", 'echo "wrong data byte #4 should be 0x4 but was 0x5"; echo', 1)
    done = run(P2PNIC, "lab", "run", "--json", env=pretend(ping=wrong, iperf3=MEASURED))
    assert done.returncode == 1 and json.loads(done.stdout)["pings"]["answered"] == 0


@pytest.mark.parametrize("words", [["--json", "run"], ["-j", "run"], ["run", "-j"]])
def test_json(pretend, words):
    done = run(P2PNIC, "lab", *words, env=pretend(ping=ANSWERED, iperf3=MEASURED))
    result = json.loads(done.stdout)
    assert done.returncode == 1  # pings were lost
    assert {(row["from"], row["to"], row["lost"]) for row in result["pings"]["lost"]} == \
        {(f"p2pnic-lab-h{k}", "10.1.2.1", 1) for k in (1, 3, 4)}
    assert result["tcp"][0] == {"from": "p2pnic-lab-h1", "to": "p2pnic-lab-h2",
                                "bits_per_second": 2e9, "retransmissions": 4}
    assert result["udp"][1] == {"from": "p2pnic-lab-h3", "to": "p2pnic-lab-h2", "datagrams": 9,
                                "bytes": 900, "lost": 1}


NO_LUCK = "echo out of luck >&2; exit 1"


def nth(number, program):
    """A script that fails when it is called for that time."""
    return 'n=$(($(cat "$0.count" 2>/dev/null || echo 0) + 1)); echo $n >"$0.count"\n' \
        f'[ $n = {number} ] && {{ {NO_LUCK}; }}\nexec {shutil.which(program)} "$@"'


@pytest.mark.parametrize("scripts, said", [
    ({"ip": NO_LUCK}, "ip: out of luck"), ({"ip": nth(2, "ip")}, "ip: out of luck"),
    ({"ip": nth(4, "ip")}, "ip: out of luck"), ({"ip": nth(7, "ip")}, "ip: out of luck"),
    ({"ethtool": "exit 1"}, "ethtool: No child processes"),
    ({"sh": NO_LUCK}, "sh: out of luck")], ids=range(6))
@pytest.mark.parametrize("what", ["run", "up", "up without root"])
def test_network_that_cannot_be_made(permitted, for_nobody, pretend, scripts, said, what):
    """What failed is said, and what was made before it goes (the fixture looks)."""
    program = for_nobody if what.endswith("root") else [P2PNIC]
    environment = pretend(**scripts)
    os.chmod(environment["PATH"].split(":", maxsplit=1)[0], 0o777)  # for the count
    done = run(*program, "lab", what.split()[0], env=environment)
    if "clone(" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.returncode == 1 and f"p2pnic lab: {said}\n" in done.stderr


def test_exec():
    """What cannot be run where says so; else its status is the program's."""
    done = run(P2PNIC, "lab", "exec", "h1", "true")
    assert done.returncode == 1 and "it is not up" in done.stderr
    if run(P2PNIC, "lab", "up").returncode:
        pytest.skip("no lab here")
    try:
        done = run(P2PNIC, "lab", "exec", "h1", "no-such-program", "x")
        assert (done.returncode == 127
                and "p2pnic lab: no-such-program: No such file or directory" in done.stderr)
        assert run(P2PNIC, "lab", "exec", "h2", "sh", "-c", "exit 7").returncode == 7
        assert run(P2PNIC, "lab", "exec", "h2", "sh", "-c", "kill -9 $$").returncode == 128 + 9
        done = run(P2PNIC, "lab", "exec", "router", "p2pnic", "--version")
        assert done.returncode == 0 and done.stdout.startswith("p2pnic ")
    finally:
        run(P2PNIC, "lab", "down")


@pytest.mark.parametrize("words", [["up"], ["down"], ["exec", "h1", "true"]])
def test_directory_that_others_may_write(for_nobody, words):
    """Whoever may could have written there who holds the lab: nothing is done."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        os.chmod(directory, 0o777)
        done = run(*for_nobody, "lab", *words, env={**os.environ, "XDG_RUNTIME_DIR": directory})
        assert done.returncode == 1 and directory in done.stderr
        assert not os.listdir(directory)


@pytest.mark.parametrize("owner, text", [
    (0, ""), (0, "nonsense"), (0, "1 2\n"), (65534, "1 2\n"), (0, "999999999 1\n")])
def test_note_that_names_nobody(owner, text):
    """An empty, broken or old note of who holds the lab, or one of another user, is no lab."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    os.makedirs("/run/p2pnic", 0o755, exist_ok=True)
    with open("/run/p2pnic/lab-sandbox", "w", encoding="utf8") as file:
        file.write(text)
        os.fchown(file.fileno(), owner, owner)
    done = run(P2PNIC, "lab", "down")
    assert done.returncode == 0 and done.stdout == "lab: there was none\n"
    assert not os.path.exists("/run/p2pnic/lab-sandbox")


# --- Calls that fail ------------------------------------------------------------------------------

STEP = int(os.environ.get("P2PNIC_INJECT_STEP", "0"))
# What sandboxes are made with, and what enters them.
CALLS = ["fork", "mount", "open", "pipe2", "read", "setns", "syscall", "write"]


@pytest.fixture
def inject():
    """The rule, and the library where everybody may read it."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        os.chmod(directory, 0o755)
        rule = Inject(f"{directory}/rule")
        os.chmod(f"{directory}/rule", 0o666)
        rule.environment["LD_PRELOAD"] = shutil.copy(LIBRARY, directory)
        yield rule


def reasons(done):
    return [line for line in done.stderr.splitlines() if not line.startswith("inject: ")]


def rounds(inject, program, words, step, environment, check):
    """Runs the lab with call 1, 1 + step, … of it failing until there is none; check(done, what)
    each time."""
    for k in range(1, 2000, STEP or step):
        inject.on("lab", CALLS, nth=k, times=1)
        done = run(*program, "lab", *words, env={**environment, **inject.environment})
        failed = inject.off()[1]
        check(done, f"call {k}, {place(done.stderr) if failed else 'none'}: {done.stderr[-600:]}")
        if not failed:
            assert k > 1
            return
    raise AssertionError("no end of it")


def said(done, what):
    assert done.returncode in (0, 1), f"status {done.returncode}, {what}"
    assert done.returncode == 0 or any(re.match(r"p2pnic lab: .*\S", line)
                                       for line in reasons(done)), \
        f"no reason, {what}"


@pytest.mark.preload
@pytest.mark.parametrize("root", [True, False])
def test_sandbox_where_calls_fail(permitted, for_nobody, pretend, inject, root):
    """Its making, up to the network's, which fails. Root's second way is a user namespace."""
    environment = pretend(ip=NO_LUCK)

    def check(done, what):
        said(done, what)
        assert done.returncode == 1 or "p2pnic replay" in done.stderr, what
    rounds(inject, [P2PNIC] if root else for_nobody, ["run"], 1, environment, check)


@pytest.mark.preload
@pytest.mark.parametrize("functions, first, times, error, named", [
    (["mount"], 1, 0, 0, "mount --make-rprivate /: "),
    (["mount"], 2, 0, 0, "mount -t proc /proc: "),
    (["mount"], 3, 0, 0, "mount -t tmpfs /run: "),
    (["mount", "setns"], 1, 0, 22, "setns (out of a chroot"),
    (["mount"], 1, 0, 22, "mount --make-rprivate / (above a chroot)"),
    (["pipe2"], 1, 0, 0, "pipe: "),
    (["pipe2"], 2, 0, 0, "pipe: "), (["syscall", "mount"], 2, 3, 22, "open /: ")])
def test_sandbox_of_both_kinds_fails(permitted, pretend, inject, functions, first, times, error,
                                     named):
    """From that call on all fail: captures instead, if they can be made; why is said for both
    ways."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    inject.on("lab", functions, nth=first, times=times, error=error)
    done = run(P2PNIC, "lab", "run", env={**pretend(ip=NO_LUCK), **inject.environment})
    inject.off()
    why = re.search(r"you make no network namespaces \((.*)\)\.", done.stderr)
    assert why and why[1].startswith(named), done.stderr
    assert "; in a user namespace: " in why[1], done.stderr
    assert done.returncode == 0 or any(line.startswith("p2pnic lab: ")
                                       for line in reasons(done)[2:]), done.stderr


@pytest.mark.preload
def test_sandbox_whose_root_is_no_mount_point(permitted, pretend, inject):
    """As in a chroot (the first mount says EINVAL): root's way succeeds still."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    inject.on("lab", ["mount"], nth=1, times=1, error=22)
    done = run(P2PNIC, "lab", "run", "--json",
               env={**pretend(ping=ANSWERED, iperf3=MEASURED), **inject.environment})
    assert inject.off() == (4, 1)
    assert json.loads(done.stdout)["user"] == "root", done.stderr


def pings(n):
    return f'echo "3 packets transmitted, {n} received"'


@pytest.mark.preload
@pytest.mark.parametrize("call, number, said", [
    ("mmap", 1, "out of memory"), ("aligned_alloc", 1, "out of memory"),
    ("pipe2", 3, "pipe: Too many open files"),
    ("setns", 11, "p2pnic-lab-router: Operation not permitted"),
    ("fork", 12, "the process that tries it did not end well"),
    ("write", 9, "the process that tries it did not end well")])
def test_af_xdp_that_cannot_be_tried(permitted, pretend, inject, call, number, said):
    """Then the ports are af_packet, and why is said. (Eleven programs ran before, ten of them in
    namespaces.)"""
    if os.geteuid() != 0 or not os.path.exists("/proc/sys/net/ipv6"):
        pytest.skip("not root, or no IPv6: the numbers are others")
    inject.on("lab", [call], nth=number, times=1)
    done = run(P2PNIC, "lab", "run", env={**pretend(ping=pings(3), iperf3=MEASURED),
                                          **inject.environment})
    assert inject.off()[1] == 1
    assert done.returncode == 0, done.stderr
    assert "; port type af_packet\n" in done.stdout and f"  not af_xdp: {said}\n" in done.stdout


@pytest.mark.preload
@pytest.mark.parametrize("call, number, said", [
    ("write", 10, "/lab.yaml: No space left on device"),
    ("fork", 13, "does not start: Resource temporarily unavailable"),
    ("socket", 2, "")])
def test_router_that_cannot_be_started(permitted, pretend, inject, call, number, said):
    if os.geteuid() != 0 or not os.path.exists("/proc/sys/net/ipv6"):
        pytest.skip("not root, or no IPv6: the numbers are others")
    inject.on("lab", [call], nth=number, times=1)
    done = run(P2PNIC, "lab", "run", env={**pretend(ping=pings(3), iperf3=MEASURED),
                                          **inject.environment})
    assert inject.off()[1] == 1
    if said:
        assert done.returncode == 1 and re.search(f"^p2pnic lab: .*{said}$", done.stderr,
                                                  re.MULTILINE), done.stderr
    else:  # it asks again
        assert done.returncode == 0, done.stderr


@pytest.mark.preload
def test_up_without_root_where_a_call_fails(permitted, for_nobody, inject):
    inject.on("lab", ["pipe2"], nth=1, times=1)
    done = run(*for_nobody, "lab", "up", env={**os.environ, **inject.environment})
    assert inject.off()[1] == 1
    assert done.returncode == 1 and "p2pnic lab: pipe: Too many open files\n" in done.stderr


@pytest.mark.parametrize("what", ["unwritable", "a directory"])
def test_up_that_cannot_be_noted(permitted, for_nobody, what):
    """A sandbox that could not be found again ends."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        os.chmod(directory, 0o755)
        if what == "a directory":
            os.makedirs(f"{directory}/p2pnic/lab-sandbox")
            for path in (directory, f"{directory}/p2pnic", f"{directory}/p2pnic/lab-sandbox"):
                os.chown(path, 65534, 65534)
        done = run(*for_nobody, "lab", "up", env={**os.environ, "XDG_RUNTIME_DIR": directory})
        if "clone(" in done.stderr:
            pytest.skip(f"no namespaces here: {done.stderr.strip()}")
        reason = "Is a directory" if what == "a directory" else "Permission denied"
        assert (done.returncode == 1 and directory in done.stderr
                and reason in done.stderr), done.stderr


@pytest.mark.preload
@pytest.mark.parametrize("call, times, why", [
    ("mkdir", 0, r"p2pnic replay: \S+/out: No space left on device"),
    ("fork", 3, r"p2pnic lab: \S+: Resource temporarily unavailable")])
def test_captures_that_cannot_be_replayed(permitted, inject, call, times, why):
    """Without namespaces (as root it is tried twice) and then without a replay."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    inject.on("", ["mount", call], nth=1, times=times)
    done = run(P2PNIC, "lab", "run", env={**os.environ, **inject.environment})
    inject.off()
    assert done.returncode == 1 and "So no hosts and no links" in done.stderr
    assert re.search(f"^{why}$", done.stderr, re.MULTILINE), done.stderr


@pytest.mark.preload
@pytest.mark.parametrize("root", [True, False])
def test_exec_and_down_where_calls_fail(permitted, for_nobody, inject, root):
    program = [P2PNIC] if root else for_nobody

    def check(done, what):
        assert done.returncode in (0, 1, 127), what
        assert done.returncode == 0 or any(line.startswith("p2pnic lab: ")
                                           for line in reasons(done)), what

    if run(*program, "lab", "up").returncode:
        pytest.skip("no lab here")
    try:
        rounds(inject, program, ["exec", "h1", "true"], 1, os.environ, check)
        inject.on("lab", nth=5, times=1)
        said(run(*program, "lab", "down", env={**os.environ, **inject.environment}), "down")
    finally:
        inject.off()
        run(*program, "lab", "down")


@pytest.mark.preload
@pytest.mark.parametrize("what", ["run", "up"])
def test_router_that_does_not_start(permitted, inject, what):
    inject.on("router", ["socket"], nth=1)
    done = run(P2PNIC, "lab", what, env={**os.environ, **inject.environment})
    assert inject.off()[1]
    assert done.returncode == 1 and "p2pnic lab: the router does not start: " in done.stderr


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "now"], ["--nonsense"], ["exec", "h1"],
                                       ["walk", "h1", "true"], ["down", "now"], ["up", "-j", "now"],
                                       ["-j", "exec", "h1", "true"], ["run", "--mtu"],
                                       ["down", "--mtu", "9000"]])
def test_usage(arguments):
    done = run(P2PNIC, "lab", *arguments)
    assert done.returncode == 2 and re.search("usage:|--help|did you mean|needs an", done.stderr)


@pytest.mark.parametrize("mtu", ["1279", "16115", "-1", "9k", ""])
@pytest.mark.parametrize("words", [["run", "--mtu"], ["up", "-m"], ["-m"]])
def test_mtu_that_cannot_be(words, mtu):
    done = run(P2PNIC, "lab", *words, mtu, *(["run"] if words == ["-m"] else []))
    assert done.returncode == 2
    assert done.stderr == f"p2pnic lab: --mtu {mtu}: want 1280 to 16114\n"
