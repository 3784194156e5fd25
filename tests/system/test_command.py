# SPDX-License-Identifier: BSD-3-Clause
"""What all commands have in common: paths that they take over, numbers, output that nobody
takes."""

import json
import os
import pathlib
import socket
import stat
import subprocess
import tempfile

import pytest

from network import P2PNIC, listens, mac, run

KINDS = ["file", "symbolic link", "FIFO", "directory", "live socket"]


def put(path, kind):
    """Something in the way; what must outlive the test."""
    if kind == "file":
        path.write_text("precious")
    elif kind == "symbolic link":
        path.with_name("precious").write_text("precious")
        path.symlink_to("precious")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.bind(str(path))
        if kind == "live socket":
            server.listen()
        else:
            server.close()
        return server
    return None


def look(path):
    seen = os.lstat(path)
    return seen.st_ino, seen.st_mode, seen.st_size


def of_nic(path):
    return ["nic", "--nic", "a", "--socket", path, "--port", "pcap:,"]


def of_memif(path):
    return ["nic", "--nic", "a", "--socket", path.with_name("nic.sock"), "--port", f"memif:{path}",
            "--port-options", "role=server"]


def of_keeper(path):
    return ["keeper", "--socket", path]


def of_punt(path):
    return ["punt", "--socket", path]


def of_metrics(path):
    return ["metrics", "--socket", path]


def of_metrics_by_hand(path):
    return ["metrics", "--listen", f"unix:{path}"]


def of_tester(path):
    return ["run", "-p", f"memif:{path},role=server", "-W", "0.1"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arguments", [of_nic, of_memif, of_keeper, of_punt, of_metrics,
                                       of_metrics_by_hand, of_tester])
def test_nothing_is_removed_for_a_socket(tmp_path, arguments, kind):
    path = tmp_path / "here"
    server = put(path, kind)
    before = look(path)
    words = arguments(path)
    done = run(P2PNIC, *(["tester"] if words[0] == "run" else []), *words)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert {"file": "is a file", "symbolic link": "is a symbolic link", "FIFO": "is a FIFO",
            "directory": "is a directory",
            "live socket": "another process listens there"}[kind] in done.stderr
    assert look(path) == before
    if server:
        server.close()


@pytest.fixture
def short_path():
    """A directory whose name leaves room for those of sockets."""
    with tempfile.TemporaryDirectory(prefix="pp-", dir="/tmp") as name:
        yield pathlib.Path(name)


@pytest.mark.parametrize("kind", KINDS + ["stale socket"])
def test_nothing_is_removed_for_the_router(tmp_path, kind, short_path):
    runtime = short_path
    config = {"router": {"runtime": str(runtime)},
              "nics": [{"name": "a", "mac": mac(1), "port": {"type": "pcap", "target": ","}}]}
    (tmp_path / "router.yaml").write_text(json.dumps(config))
    server = put(runtime / "api.sock", kind)
    before = look(runtime / "api.sock")
    command = [P2PNIC, "router", "-c", tmp_path / "router.yaml"]
    if kind != "stale socket":
        done = run(*command)
        assert done.returncode == 1 and str(runtime / "api.sock") in done.stderr, done.stderr
        assert look(runtime / "api.sock") == before
    else:
        router = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in router.stderr:
            if "forward" in line:
                break
        assert stat.S_IMODE(os.lstat(runtime / "api.sock").st_mode) == 0o660
        assert run(P2PNIC, "show", "--runtime", runtime, "nic").returncode == 0
        router.terminate()
        router.communicate()
        assert router.returncode == 0
    if server:
        server.close()


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_sockets_are_their_users_alone(tmp_path, mask):
    command = [P2PNIC, *map(str, of_memif(tmp_path / "memif.sock"))]
    nic = subprocess.Popen(command, preexec_fn=lambda: os.umask(mask))
    try:
        while not listens(tmp_path / "nic.sock"):
            assert nic.poll() is None
        for name in ("memif.sock", "nic.sock"):
            assert stat.S_IMODE(os.lstat(tmp_path / name).st_mode) == 0o600
    finally:
        nic.terminate()
        assert nic.wait(20) == 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("arguments", [
    ["nic", "--packet-memory", "0"], ["nic", "--packet-memory", "x"],
    ["nic", "--table-memory", "8x"],
    ["nic", "--table-memory", "-1"], ["keeper", "--socket", "x", "--ready-fd", "x"],
    ["keeper", "--socket", "x", "--ready-fd", "-1"], ["tester", "run", "-p", "memif:x", "-n", "0"],
    ["tester", "run", "-p", "memif:x", "-r", "0"], ["tester", "run", "-p", "memif:x", "-r", "0%"],
    ["tester", "run", "-p", "memif:x", "-C", "1e300"], ["tester", "run", "-p", "memif:x", "-l",
                                                        "4294967296"],
    ["tester", "run", "-p", "memif:x", "-r", "nan"], ["tester", "run", "-p", "memif:x", "-C",
                                                      "-1"]])
def test_number_that_is_none(arguments):
    done = run(P2PNIC, *arguments)
    assert done.returncode == 2 and done.stderr


@pytest.mark.parametrize("engine", ["e:", "e:x", "e:0x", "e:-1", "e:0:", "e:0:share", ":0",
                                    "e:99999999999999999999"])
def test_engine_that_is_none(tmp_path, engine):
    done = run(P2PNIC, "nic", "--engine", engine, "--nic", "a", "--socket", tmp_path / "a.sock",
               "--port", "pcap:,")
    assert done.returncode == 1 and f"engine '{engine}'" in done.stderr
