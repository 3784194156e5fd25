# SPDX-License-Identifier: BSD-3-Clause
"""memif beside another implementation: DPDK's, in testpmd, between the tester and a NIC of the
router.

    tester 0 ── memif ── [testpmd: port 0 ⇄ port 1] ── memif ── nic0 ⇄ nic1 ── memif ── tester 1

So the tester's end and the NIC's port each meet DPDK, as server and as client, in both directions.
"""

import contextlib
import glob
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from network import P2PNIC, Router, eventually, processes_of

pytestmark = [
    pytest.mark.hostile("a memif peer of other make"), pytest.mark.alone("testpmd spins"),
    pytest.mark.skipif(
        not shutil.which("dpdk-testpmd")
        or not glob.glob("/usr/lib/*/dpdk/pmds-*/librte_net_memif.so*"),
        reason="no dpdk-testpmd with memif here (Debian packages dpdk-dev and librte-net-memif23)")]
CORES = ",".join(map(str, sorted(os.sched_getaffinity(0))))
PACKETS = 2000  # each way, in a second


def mac(port):
    return f"02:00:00:00:00:{port:02x}"


def options(role):
    return f"role={role}" + (",unsealed=yes" if role == "server" else "")  # DPDK seals nothing


def vdev(port, socket, role):
    return f"--vdev=net_memif{port},role={role},id=0,socket={socket},socket-abstract=no"


@pytest.fixture
def sockets(tmp_path_factory):
    return [str(tmp_path_factory.mktemp("m") / "s") for _ in range(3)]


@pytest.fixture
def router(sockets, tmp_path, request):
    """nic0 to testpmd, in the role that testpmd has not; nic1 to the tester."""
    config = {
        "nics": [{"name": f"nic{k}", "mac": mac(k), "addresses": [f"198.18.{k}.1/24"],
                  "port": {"type": "memif", "target": sockets[1 + k], "options": options(role)}}
                 for k, role in enumerate((request.param, "client"))],
        "neighbors": [{"nic": f"nic{k}", "address": f"198.18.{k}.10",
                       "mac": f"02:00:00:00:01:{k:02x}"}
                      for k in range(2)],
    }
    router = Router(config, str(tmp_path))
    try:
        router.start()
        yield router
        router.check_identity()
    finally:
        router.stop()
        eventually(lambda: not processes_of(str(tmp_path)), what="the router's end")


@contextlib.contextmanager
def process(*command, **more):
    """Ended at the end, by its pid, whatever happened."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **more) as made:
        try:
            yield made
        finally:
            made.terminate()
            try:
                made.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                made.kill()


def through_testpmd(testpmd, sockets):
    """The tester's status, what it printed, and what testpmd did."""
    other = "client" if testpmd == "server" else "server"
    for path in sockets[:2] if testpmd == "server" else ():
        pathlib.Path(path).unlink(missing_ok=True)  # of one that ended by itself
    # DPDK's client tries to connect once: those that listen start first.
    with process("nice", P2PNIC, "tester", "run", "--json", "-W", "60", "-P", "0>1,1>0", "-r",
                 str(PACKETS), "-n", str(PACKETS),
                 "-p", f"memif:{sockets[0]},{options(other)}", "-p",
                 f"memif:{sockets[2]},role=server", stdin=subprocess.DEVNULL) as tester:
        eventually(lambda: os.path.exists(sockets[2]), what="the tester's sockets")
        # It spins, as the tester does: both give way to others, alike, and not for long, however
        # this one ends.
        with process("timeout", "-k", "2", "120", "nice", "dpdk-testpmd",
                     f"--lcores=(0,1)@({CORES})", "--no-huge", "-m", "192", "--no-pci",
                     "--no-telemetry", "--no-shconf", vdev(0, sockets[0], testpmd),
                     vdev(1, sockets[1], testpmd), "--", "--auto-start", "--forward-mode=io",
                     "--total-num-mbufs=8192", "--rxd=1024", "--txd=1024",
                     stdin=subprocess.PIPE) as forwarder:
            out = tester.communicate(timeout=110)[0]
            forwarder.terminate()
            said = forwarder.communicate(timeout=10)[0]
    return tester.returncode, out, said


@pytest.mark.parametrize("router, testpmd", [("server", "client"), ("client", "server")],
                         indirect=["router"])
def test_both_ways_through_testpmd(router, testpmd, sockets):
    for _ in range(3):
        status, out, said = through_testpmd(testpmd, sockets)
        # DPDK's own: kept from the processor, it watches a socket that it has closed.
        if "PANIC in eal_intr_thread_main" not in said:
            break
    assert status == 0, out + said
    run = json.loads(out)["runs"][0]["run"]
    # testpmd may be kept from the processor for longer than rings last, and throws away what does
    # not fit then; but what arrives is right, in order, and comes from both sides.
    assert PACKETS / 5 < run["received"] == run["checked"] <= run["sent"], run
    assert run["reordered"] == run["duplicate"] == sum(run["errors"].values()) == 0, run
    for row in router.show("counter"):
        assert (row["received"]["packets"] > PACKETS / 10 and row["sent"]["packets"] >
                PACKETS / 10), row
