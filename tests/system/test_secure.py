# SPDX-License-Identifier: BSD-3-Clause
"""Other users of the machine, readers that stall, system calls that fail."""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import pytest

from network import P2PNIC, eventually, processes_of, run
from test_life import passes

pytestmark = pytest.mark.hostile("other users of the machine")

# Two users of this run alone: what it makes at /tmp/p2pnic-UID meets no other run's.
VICTIM = 30000 + os.getpid() % 10000 * 2
STRANGER = VICTIM + 1
SYS_SIGNALFD4 = {"x86_64": 289, "aarch64": 74}.get(os.uname().machine)


def as_user(user):
    return ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]


@contextlib.contextmanager
def directory():
    """A directory of root's in which the program and captures of VICTIM are; all may go through
    it."""
    place = tempfile.mkdtemp(prefix="pl-")
    os.chmod(place, 0o755)
    try:
        yield place
    finally:
        for pid in processes_of(place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)


def captures(place, **router):
    """A configuration of two NICs without traffic, that takes no root."""
    header = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
    for k in (1, 2):
        with open(f"{place}/in{k}.pcap", "wb") as file:
            file.write(header)
    config = {"router": router, "nics": [
        {"name": f"nic{k}", "port": {"type": "pcap", "target": f"{place}/in{k}.pcap,"},
         "addresses": [f"10.0.{k}.1/24"]} for k in (1, 2)]}
    with open(f"{place}/router.yaml", "w", encoding="utf8") as file:
        json.dump(config, file)
    return f"{place}/router.yaml"


# --- Another user was there first -----------------------------------------------------------------

@pytest.fixture
def victim():
    """(place, command, environment) of a user without XDG_RUNTIME_DIR; whatever is at
    /tmp/p2pnic-UID goes at the end."""
    if os.geteuid() != 0:
        pytest.skip("not root: cannot be two other users")
    default = f"/tmp/p2pnic-{VICTIM}"
    if os.path.lexists(default):
        pytest.skip(f"{default} is in use")
    with directory() as place:
        program = f"{place}/p2pnic"
        shutil.copy(P2PNIC, program)
        os.chmod(program, 0o755)
        environment = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
        yield place, [*as_user(VICTIM), program], environment, default
        for pid in processes_of(default):
            os.kill(pid, signal.SIGKILL)
        if os.path.islink(default) or os.path.isfile(default):
            os.unlink(default)
        shutil.rmtree(default, ignore_errors=True)


def own(path, user):
    os.chown(path, user, user, follow_symlinks=False)


def make_trap(kind, default, place):
    """What STRANGER can put where VICTIM's runtime directory will be. Returns a file that must not
    come to be."""
    bait = f"{place}/bait"
    os.mkdir(bait)
    own(bait, VICTIM)
    if kind == "link":
        os.symlink(bait, default)
        own(default, STRANGER)
        return f"{bait}/p2pnic"
    os.mkdir(default, 0o777)
    os.chmod(default, 0o777)
    own(default, STRANGER)
    if kind == "directory":
        return f"{default}/p2pnic"
    os.mkdir(f"{default}/p2pnic")
    os.chmod(f"{default}/p2pnic", 0o777)
    if kind == "link for the lock":
        os.symlink(f"{bait}/file", f"{default}/p2pnic/lock")
    for name in ("p2pnic",) + (("p2pnic/lock",) if kind == "link for the lock" else ()):
        own(f"{default}/{name}", STRANGER)
    return f"{bait}/file"


@pytest.mark.parametrize("kind", ["directory", "directories", "link", "link for the lock"])
def test_planted_runtime_directory(victim, kind):
    place, command, environment, default = victim
    config = captures(place)
    trap = make_trap(kind, default, place)
    done = subprocess.run([*command, "router", "-c", config], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20, env=environment)
    assert done.returncode == 1
    assert default in done.stderr and str(STRANGER if "link" != kind
                                          else "symbolic link") in done.stderr
    assert not os.path.exists(trap)
    for arguments in (["show", "nic"], ["lab", "down"], ["lab", "up"]):
        asked = subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=60, env=environment)
        assert default in asked.stderr and not os.path.exists(trap), asked
        assert asked.returncode == 1, asked


def test_planted_api_socket(victim):
    """STRANGER answers in VICTIM's place: nobody asks him, and the process he names is not
    killed."""
    _, command, environment, default = victim
    os.makedirs(f"{default}/lab")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, \
            subprocess.Popen([*command[:-1], "sleep", "600"]) as bystander:
        server.bind(f"{default}/lab/api.sock")
        server.listen(8)
        for path in (default, f"{default}/lab", f"{default}/lab/api.sock"):
            own(path, STRANGER)
            os.chmod(path, 0o777)
        server.setblocking(False)
        for arguments in (["show", "nic", "--name", "lab"], ["lab", "up"], ["lab", "down"]):
            done = subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=60, env=environment)
            assert done.returncode == 1 and str(STRANGER) in done.stderr
        with pytest.raises(BlockingIOError):
            server.accept()
        assert bystander.poll() is None
        bystander.kill()


def test_planted_holder_of_a_lab(victim):
    """The note that names a lab's first process: of a process of VICTIM's that is none."""
    _, command, environment, default = victim
    with subprocess.Popen([*command[:-1], "sleep", "600"]) as bystander:
        with open(f"/proc/{bystander.pid}/stat", encoding="utf8") as file:
            started = file.read().rsplit(")", 1)[1].split()[19]
        os.mkdir(default, 0o700)
        own(default, VICTIM)
        with open(f"{default}/lab-sandbox", "w", encoding="utf8") as file:
            file.write(f"{bystander.pid} {started}\n")
        own(f"{default}/lab-sandbox", STRANGER)
        os.chmod(f"{default}/lab-sandbox", 0o644)
        subprocess.run([*command, "lab", "down"], stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, timeout=60, env=environment)
        assert bystander.poll() is None
        bystander.kill()


def test_modes(victim):
    """Made for its user alone; the router works there."""
    place, command, environment, default = victim
    config = captures(place)
    with subprocess.Popen([*command, "router", "-c", config], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, env=environment,
                          preexec_fn=lambda: os.umask(0)) as router:
        eventually(lambda: os.path.exists(f"{default}/p2pnic/api.sock"), 30)
        modes = {name: os.stat(f"{default}/{name}").st_mode & 0o777 for name in (
            ".", "p2pnic", "p2pnic/lock", "p2pnic/api.sock", "p2pnic/keeper.sock",
            "p2pnic/nic1.sock")}
        assert modes == {".": 0o700, "p2pnic": 0o700, "p2pnic/lock": 0o600,
                         "p2pnic/api.sock": 0o660, "p2pnic/keeper.sock": 0o600,
                         "p2pnic/nic1.sock": 0o600}
        shown = subprocess.run([*command, "show", "nic"], capture_output=True, text=True,
                               timeout=20, env=environment)
        assert shown.returncode == 0 and "nic2" in shown.stdout
        router.terminate()
        assert router.wait(20) == 0
        assert not os.path.exists(f"{default}/p2pnic")


def test_group_may_show():
    """systemd's Group=: its members ask root's router, others of the machine do not, and neither
    reaches a NIC."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    group = STRANGER
    with directory() as place:
        show = [P2PNIC, "show", "nic", "--runtime", f"{place}/run"]
        with subprocess.Popen(["setpriv", "--regid", str(group), "--clear-groups", P2PNIC, "router",
                               "-c", captures(place, runtime=f"{place}/run")],
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as router:
            eventually(lambda: os.path.exists(f"{place}/run/api.sock"), 30)
            program = shutil.copy(P2PNIC, f"{place}/p2pnic")
            os.chmod(program, 0o755)
            show[0] = program
            member = ["setpriv", "--reuid", str(VICTIM), "--regid", str(VICTIM), "--groups",
                      str(group)]
            asked = run(*member, *show)
            assert asked.returncode == 0 and "nic2" in asked.stdout, asked
            assert run(*as_user(VICTIM), *show).returncode == 1
            for name, kind in (("keeper.sock", "SOCK_SEQPACKET"), ("nic1.sock", "SOCK_STREAM")):
                reached = run(*member, "/usr/bin/python3", "-c", CLIENT, f"{place}/run/{name}",
                              kind, "1")
                assert "PermissionError" in reached.stderr
            router.terminate()
            assert router.wait(20) == 0


# --- Who listens at a socket, and who connects ----------------------------------------------------

SERVER = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))
s.bind(sys.argv[1])
s.listen(8)
print("here", flush=True)
while True:
    s.accept()
"""


@contextlib.contextmanager
def server_of(user, path, kind):
    with subprocess.Popen([*(as_user(user) if user else []), "/usr/bin/python3", "-c", SERVER, path,
                           kind],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b"here\n"
            yield server
        finally:
            server.kill()


@pytest.mark.parametrize("user", [0, VICTIM], ids=["root", "victim"])
def test_who_listens_is_not_killed(user):
    """A socket of the NIC's name, served by what is no NIC of ours: its process lives, and the
    router says what is wrong."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    with directory() as place:
        os.mkdir(f"{place}/run", 0o700)
        if user:
            os.chmod(place, 0o777)
            os.chmod(f"{place}/run", 0o777)
        with server_of(user, f"{place}/run/nic1.sock", "SOCK_STREAM") as server:
            os.chmod(place, 0o755)
            os.chmod(f"{place}/run", 0o700)
            done = run(P2PNIC, "router", "-c", captures(place, runtime=f"{place}/run"))
            assert server.poll() is None
            assert done.returncode == 1 and "nic1.sock" in done.stderr


def test_keeper_of_a_stranger():
    """Who listens for the keeper gets no descriptors unless he is of the same user or root."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    with directory() as place:
        os.chmod(place, 0o777)
        os.mkdir(f"{place}/run")
        os.chmod(f"{place}/run", 0o777)
        with server_of(VICTIM, f"{place}/run/keeper.sock", "SOCK_SEQPACKET"):
            os.chmod(place, 0o755)
            os.chmod(f"{place}/run", 0o700)
            done = run(P2PNIC, "router", "-c", captures(place, runtime=f"{place}/run"))
            assert done.returncode == 1 and "keeper" in done.stderr


CLIENT = """
import socket, sys
s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))
s.settimeout(10)
s.connect(sys.argv[1])
try:
    s.send(b"x" * int(sys.argv[3]))
    sys.exit(len(s.recv(4096)) != 0)
except (BrokenPipeError, ConnectionResetError):
    pass
"""


@pytest.mark.parametrize("name,kind", [("keeper.sock", "SOCK_SEQPACKET"),
                                       ("nic1.sock", "SOCK_STREAM")])
def test_client_of_another_user(name, kind):
    """Even where a socket's mode lets others connect, they are hung up on, and ours is served."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    with directory() as place:
        with subprocess.Popen([P2PNIC, "router", "-c", captures(place, runtime=f"{place}/run")],
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as router:
            eventually(lambda: os.path.exists(f"{place}/run/api.sock"), 30)
            os.chmod(f"{place}/run", 0o755)
            os.chmod(f"{place}/run/{name}", 0o777)
            asked = run(*as_user(VICTIM), "/usr/bin/python3", "-c", CLIENT, f"{place}/run/{name}",
                        kind, "1")
            assert asked.returncode == 0, asked
            assert run(P2PNIC, "show", "nic", "--runtime", f"{place}/run").returncode == 0
            router.terminate()
            assert router.wait(20) == 0


# --- Readers that stall ---------------------------------------------------------------------------

def test_nobody_reads_messages(make_network):
    """stderr is a full pipe: forwards on, answers, reloads, restarts a NIC, and ends when it is
    told to."""
    network = make_network(2)
    network.router.stop()
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETFL, os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 512)
    fcntl.fcntl(write_end, fcntl.F_SETFL, 0)
    try:
        router = network.router
        router.process = subprocess.Popen(["ip", "netns", "exec", router.namespace, P2PNIC,
                                           "router", "-c", router.path],
                                          stdin=subprocess.DEVNULL, stderr=write_end)
        eventually(router.answers, 30, "router up")
        eventually(lambda: passes(network, 1, 2), 30, "it forwards")
        router.process.send_signal(signal.SIGHUP)
        assert router.answers()
        pid = router.nic("nic2")["pid"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: router.nic("nic2")["pid"] not in (0, pid)
                   and router.nic("nic2")["state"] == "forwarding", 30)
        eventually(lambda: passes(network, 1, 2), 30, "it forwards again")
        assert fcntl.fcntl(write_end, fcntl.F_GETFL) & os.O_NONBLOCK == 0
        router.process.terminate()
        assert router.process.wait(30) == 0
    finally:
        network.rings = False
        os.close(write_end)
        os.close(read_end)


# --- System calls that fail -----------------------------------------------------------------------

def no_signalfd():
    """signalfd(2) fails from here on: a seccomp filter, as in seccomp(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = struct.pack("HBBI", 0x20, 0, 0, 0) + struct.pack("HBBI", 0x15, 0, 1, SYS_SIGNALFD4) + \
        struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 24) + struct.pack(
            "HBBI", 0x06, 0, 0, 0x7fff0000)
    buffer = ctypes.create_string_buffer(code)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    program = Program(4, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


@pytest.mark.parametrize("command", ["router", "keeper", "punt", "nic"])
def test_without_signalfd(command):
    """Deaf to SIGTERM: it does not start so."""
    if not SYS_SIGNALFD4:
        pytest.skip("the number of signalfd4 on this machine")
    with directory() as place:
        config = captures(place, runtime=f"{place}/run")
        arguments = {"router": ["-c", config], "keeper": ["--socket", f"{place}/keeper.sock"],
                     "punt": ["--socket", f"{place}/punt.sock"],
                     "nic": ["--nic", "nic1", "--socket", f"{place}/nic.sock", "--port",
                             f"pcap:{place}/in1.pcap,"]}
        try:
            done = run(P2PNIC, command, *arguments[command], preexec_fn=no_signalfd)
        except subprocess.SubprocessError as why:
            pytest.skip(f"no seccomp here: {why}")
        assert done.returncode == 1
        assert "Too many open files" in done.stderr


@pytest.mark.parametrize("closed", [[2], [1, 2], [0, 1, 2]])
def test_closed_standard_files(closed):
    """Messages go to nobody, not to the socket that would have had the number."""
    with directory() as place:
        config = captures(place, runtime=f"{place}/run")

        def close():
            for fd in closed:
                os.close(fd)

        with subprocess.Popen([P2PNIC, "router", "-c", config], preexec_fn=close) as router:
            eventually(lambda: os.path.exists(f"{place}/run/api.sock"), 30)
            for pid in (router.pid, *processes_of(place)):
                for fd in closed:
                    assert os.readlink(f"/proc/{pid}/fd/{fd}") in ("/dev/null",)
            assert run(P2PNIC, "show", "nic", "--runtime", f"{place}/run").returncode == 0
            router.terminate()
            assert router.wait(20) == 0
