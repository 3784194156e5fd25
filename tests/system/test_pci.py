# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic nic list` and `p2pnic doctor` on hosts of several kinds, as sysfs trees."""

import json
import os
import shutil
import subprocess

import pytest

from network import P2PNIC, run
from pci_tree import CR, ROOT, RR, SV, Host

ADDRESSES = [f"0000:0{3 + k}:00.0" for k in range(4)]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def nic_list(host, *words, status=0):
    done = run(P2PNIC, "nic", "list", "--sysfs", host.sys, *words)
    assert done.returncode == status, done.stderr
    assert bool(done.stderr) == bool(status)
    return done


def as_json(host, status=0):
    return json.loads(nic_list(host, "-j", status=status).stdout)


def ways(host):
    return {tuple(pair["nics"]): (pair["way"], pair["reason"]) for pair in as_json(host)["pairs"]}


def section(text, first):
    """Rows of the table whose heading begins so, split at two spaces or more."""
    for table in text.split("\n\n"):
        if table.split()[:len(first)] == first:
            return table.strip().splitlines()[1:]
    raise AssertionError(f"no table {first} in {text}")


def test_no_nics(host):
    assert nic_list(host).stdout == "no p2pnic among this host's PCI functions (1209:0002)\n"
    assert as_json(host) == {"nics": [], "pairs": [], "problems": 0}


def test_this_host():
    """Whatever it has, it is read."""
    assert run(P2PNIC, "nic", "list").returncode == 0
    json.loads(run(P2PNIC, "nic", "list", "--json").stdout)


def test_switch(host):
    host.switch(4)
    text = nic_list(host).stdout
    nics = section(text, ["nic", "driver"])
    assert [row.split()[0] for row in nics] == ADDRESSES
    assert nics[1].split() == ["0000:04:00.0", "vfio-pci", "11", "0", "16.0", "GT/s", "x16", "64K",
                               "16M", "16M", "unknown", "pci0000:00", ">", "0000:00:01.0", ">",
                               "0000:01:00.0", ">", "0000:02:01.0"]
    pairs = section(text, ["nic", "nic"])
    assert len(pairs) == 6
    reason = "switch 0000:01:00.0 is above both, and no port redirects"
    assert all(row.endswith(f"switch        {reason}") for row in pairs)
    ports = section(text, ["port", "type"])
    assert [row.split()[:2] for row in ports] == [
        ["0000:00:01.0", "root"], ["0000:01:00.0", "upstream"]] + [
            [f"0000:02:0{k}.0", "downstream"] for k in range(4)]
    assert ports[0].endswith("SV+ TB- RR+ CR+ UF+") and ports[1].endswith("none")
    assert ports[2].endswith("SV+ TB- RR- CR- UF-")
    assert section(text, ["group", "members"])[0].split() == ["10", "0000:03:00.0", "(vfio-pci)"]
    commands = section(text, ["nic", "to"])
    assert commands[3] == (
        "0000:06:00.0   free  (cd /sys/bus/pci/devices/0000:06:00.0 && echo > driver_override && "
        "echo 0000:06:00.0 > driver/unbind)")


def test_json(host):
    host.switch(2, acs=SV | RR)
    nic = as_json(host)["nics"][1]
    assert nic["address"] == "0000:04:00.0" and nic["driver"] == "vfio-pci"
    assert nic["iommu_group"] == {"number": 11, "members": [
        {"address": "0000:04:00.0", "driver": "vfio-pci"}]}
    assert nic["bars"] == [{"bar": 0, "start": 0xfe000000, "bytes": 65536},
                           {"bar": 2, "start": 0x4000000000, "bytes": 1 << 24},
                           {"bar": 4, "start": 0x4001000000, "bytes": 1 << 24}]
    assert nic["numa_node"] == 0 and nic["link"] == {"speed": "16.0 GT/s PCIe", "width": 16}
    assert [port["type"] for port in nic["ports"]] == ["root", "upstream", "downstream"]
    assert nic["ports"][2]["acs"] == {
        "state": "present", "capability": ["SV", "TB", "RR", "CR", "UF"], "control": ["SV", "RR"]}
    assert nic["ports"][1]["acs"] == {"state": "none", "capability": None, "control": None}
    assert nic["bind"] is None and nic["free"]


@pytest.mark.parametrize("acs", [SV | RR | CR, RR, CR])
def test_acs(host, acs):
    host.switch(4, acs=acs)
    found = ways(host)
    assert len(found) == 6
    assert {way for way, _ in found.values()} == {"root-complex"}
    assert "ACS at port 0000:02:0" in found["0000:03:00.0", "0000:04:00.0"][1]


def test_root_complex(host):
    for k in range(3):
        host.port(f"pci0000:00/0000:00:0{k}.0", ROOT, acs=0)
        host.add(f"pci0000:00/0000:00:0{k}.0/0000:0{3 + k}:00.0", driver="vfio-pci", group=k)
    host.add("pci0001:00/0001:00:01.0", group=9)
    found = ways(host)
    assert found["0000:03:00.0", "0000:05:00.0"] == (
        "root-complex", "no bridge is above both: only where pci0000:00 routes between "
        "0000:00:00.0 and 0000:00:02.0")
    assert found["0000:03:00.0", "0001:00:01.0"][0] == "none"


def test_one_group(host):
    host.switch(4, acs=None, group=5)
    assert {way for way, _ in ways(host).values()} == {"switch"}
    host.add("pci0000:00/0000:00:01.0/0000:01:00.1", (0x144d, 0xa808), driver="nvme", group=5)
    assert set(ways(host).values()) == {(
        "none", "IOMMU group 5 holds 0000:01:00.1 too, with driver nvme: VFIO does not open the "
        "group")}
    assert "0000:01:00.1 (nvme)" in section(nic_list(host).stdout, ["group", "members"])[0]


def test_other_driver(host):
    host.switch(1, driver="uio_pci_generic")
    host.add("pci0000:00/0000:09:00.0", group=20)
    one, other = as_json(host)["nics"]
    assert one["driver"] == "uio_pci_generic" and other["driver"] is None
    assert one["bind"] == (
        "(cd /sys/bus/pci/devices/0000:03:00.0 && echo vfio-pci > driver_override && "
        "echo 0000:03:00.0 > driver/unbind && echo 0000:03:00.0 > /sys/bus/pci/drivers_probe)")
    assert other["bind"] == (
        "(cd /sys/bus/pci/devices/0000:09:00.0 && echo vfio-pci > driver_override && "
        "echo 0000:09:00.0 > /sys/bus/pci/drivers_probe)")
    assert one["free"] is None and other["free"] is None


def test_bind_command_works(host, tmp_path):
    """On a tree it writes what it says; of the kernel's files only /sys is another folder."""
    host.switch(1, driver="other")
    (host.sys / "bus/pci/drivers/other").mkdir()
    driver = host.at("0000:03:00.0") / "driver"
    driver.unlink()
    driver.symlink_to(host.sys / "bus/pci/drivers/other")
    command = as_json(host)["nics"][0]["bind"].replace("/sys/", f"{host.sys}/")
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    assert (host.at("0000:03:00.0") / "driver_override").read_text() == "vfio-pci\n"
    assert (driver / "unbind").read_text() == "0000:03:00.0\n"
    assert (host.sys / "bus/pci/drivers_probe").read_text() == "0000:03:00.0\n"


def test_module_absent(tmp_path):
    host = Host(tmp_path, vfio=False)
    host.switch(1, driver=None)
    assert as_json(host)["nics"][0]["bind"].startswith("(modprobe vfio-pci && cd /sys/")


@pytest.mark.hostile("PCI functions as none should be")
@pytest.mark.parametrize("config", [64, 0])
def test_config_short(host, config):
    host.switch(2, config=config)
    (way, reason), = ways(host).values()
    assert way == "unknown" and ("needs root" if config else "unreadable") in reason
    ports = section(nic_list(host).stdout, ["port", "type"])
    assert all(row.endswith("needs root" if config else "unknown") for row in ports)


def test_no_iommu_and_unknowns(host):
    host.add("pci0000:00/0000:09:00.0", files={
        "numa_node": "-1\n", "current_link_speed": "Unknown\n", "current_link_width": "0\n",
        "resource": "0x0 0x0 0x0\n" * 6})
    row = section(nic_list(host).stdout, ["nic", "driver"])[0].split()
    assert row == ["0000:09:00.0", "-", "-", "-", "-", "-", "-", "-", "unknown", "pci0000:00"]
    host.add("pci0000:00/0000:0a:00.0", driver="other")
    assert "port  " not in nic_list(host).stdout
    assert section(nic_list(host).stdout, ["nic", "to"]) == [
        "0000:09:00.0   -     no IOMMU group, and vfio-pci takes no NIC without one",
        "0000:0a:00.0   free  (cd /sys/bus/pci/devices/0000:0a:00.0 && echo > driver_override && "
        "echo 0000:0a:00.0 > driver/unbind)"]
    nic, held = as_json(host)["nics"]
    assert nic["bind"] is None and nic["free"] is None
    assert held["bind"] is None and held["free"].endswith("driver/unbind)")
    assert nic["iommu_group"] is None and nic["numa_node"] is None and nic["ports"] == []
    assert nic["link"] == {"speed": None, "width": None}


def test_many(host):
    host.switch(9)
    assert len(ways(host)) == 36


@pytest.mark.hostile("PCI functions as none should be")
def test_broken(host):
    host.switch(4)
    os.unlink(host.at("0000:04:00.0") / "vendor")
    (host.at("0000:05:00.0") / "resource").write_bytes(b"\xff\x1b[2J\0\n")
    host.at("0000:07:00.0").symlink_to("0000:07:00.0")
    done = nic_list(host, status=1)
    assert [row.split()[0] for row in section(done.stdout, ["nic", "driver"])] == [
        "0000:03:00.0", "0000:06:00.0"]
    assert "unreadable in all: 3" in done.stderr and "\x1b" not in done.stderr
    assert as_json(host, status=1)["problems"] == 3


def doctor(host, status=0):
    """[(level, subject, text)], {(subject, text): fix}; text and JSON say the same."""
    done = run(P2PNIC, "doctor", "--sysfs", host.sys, "-j")
    assert done.returncode == status and not done.stderr, done.stderr
    checks = json.loads(done.stdout)["checks"]
    text = run(P2PNIC, "doctor", "--sysfs", host.sys)
    lines = []
    for check in checks:
        lines.append(f"{check['level']:5}  {check['subject']}: {check['text']}")
        if check["fix"]:
            lines.append(f"       fix: {check['fix']}")
    assert text.returncode == status and text.stdout.splitlines() == lines
    return ([(check["level"], check["subject"], check["text"]) for check in checks],
            {(check["subject"], check["text"]): check["fix"] for check in checks})


def test_doctor_no_nics(host):
    assert doctor(host)[0] == [("ok", "pci", "no p2pnic (1209:0002); soft NICs need none")]
    assert run(P2PNIC, "doctor").returncode == 0 or as_json_of_this_host()["nics"]


def as_json_of_this_host():
    return json.loads(run(P2PNIC, "nic", "list", "-j").stdout)


def test_doctor_well(host):
    host.switch(2)
    assert doctor(host)[0] == [
        ("ok", "pci", "2 p2pnics (1209:0002)"),
        ("ok", "0000:03:00.0", "ready for VFIO, IOMMU group 10"),
        ("ok", "0000:04:00.0", "ready for VFIO, IOMMU group 11"),
        ("ok", "peer-to-peer", "1 pair of NICs: by a switch")]


def test_doctor_drivers_and_groups(host):
    host.switch(2, driver="other", group=5)
    host.add("pci0000:00/0000:0a:00.0", group=6)
    host.add("pci0000:00/0000:00:1e.0", (0x144d, 0xa808), driver="nvme", group=5)
    host.add("pci0000:00/0000:09:00.0")
    checks, fixes = doctor(host, status=1)
    assert fixes["0000:03:00.0", "driver other, not vfio-pci"] == as_json(host)["nics"][0]["bind"]
    assert fixes["0000:0a:00.0", "driver none, not vfio-pci"]
    reason = "no IOMMU group, and vfio-pci takes no NIC without one"
    assert "intel_iommu=on" in fixes["0000:09:00.0", reason]
    assert "access: sysfs" in fixes["0000:09:00.0", reason]
    assert [subject for subject, _ in fixes].count("0000:09:00.0") == 1
    group = [(subject, text) for level, subject, text in checks if "nvme" in text]
    assert [subject for subject, _ in group] == ["0000:03:00.0", "0000:04:00.0"]
    assert "Free that one only if this host can do without it" in group[0][1]
    assert fixes[group[0]].endswith("echo 0000:00:1e.0 > driver/unbind)")
    assert ("fault", "peer-to-peer", "5 pairs of NICs: not at all; `p2pnic nic list` says why") in (
        checks)


def test_doctor_bars(host):
    lines = ["0x0 0x0 0x0\n"] * 6
    lines[0] = "0x0000000000000000 0x000000000000ffff 0x0000000000140204\n"
    lines[2] = "0x0000004000000000 0x00000040007fffff 0x000000000014220c\n"
    host.add("pci0000:00/0000:09:00.0", driver="vfio-pci", group=1,
             files={"resource": "".join(lines)})
    checks, fixes = doctor(host, status=1)
    assert checks[1:] == [
        ("fault", "0000:09:00.0", "BAR0 was given no addresses"),
        ("fault", "0000:09:00.0", "BAR2 has 8388608 bytes, and a p2pnic's 16777216 or more"),
        ("fault", "0000:09:00.0", "BAR4 has 0 bytes, and a p2pnic's 16777216 or more")]
    assert "pci=realloc" in fixes[checks[1][1:]]


@pytest.mark.parametrize("acs, config, way, fix", [
    (RR, 4096, "through the root complex", "pci=disable_acs_redir=PORT"),
    (0, 64, "unless ACS redirects, which is unknown", "run it as root")])
def test_doctor_ways(host, acs, config, way, fix):
    """Not as good as could be, but no fault."""
    host.switch(3, acs=acs, config=config)
    checks, fixes = doctor(host)
    level, subject, text = checks[-1]
    assert level == "note" and text.startswith("3 pairs of NICs: ") and way in text
    assert fix in fixes[subject, text]


def test_doctor_one_port(host):
    host.port("pci0000:00/0000:00:01.0", ROOT, acs=0)
    for k in range(2):
        host.add(f"pci0000:00/0000:00:01.0/0000:01:00.{k}", driver="vfio-pci", group=1)
    assert doctor(host)[0][-1][:2] == ("note", "peer-to-peer")
    assert "behind 0000:00:01.0, which is no switch" in next(iter(ways(host).values()))[1]


@pytest.mark.hostile("PCI functions as none should be")
def test_doctor_broken(host):
    host.switch(2)
    (host.at("0000:04:00.0") / "device").write_text("many\n")
    os.unlink(host.sys / "kernel/iommu_groups/10/devices/0000:03:00.0")
    os.rmdir(host.sys / "kernel/iommu_groups/10/devices")
    checks, _ = doctor(host, status=1)
    assert checks[0][0] == "fault" and checks[0][2].startswith("2 functions or groups are unread")
    assert "'many' is no number of 4 hexadecimal digits" in checks[0][2]


@pytest.fixture
def inside(permitted, host, tmp_path):
    """inside(user, WORDS…): p2pnic where the tree is /sys and its device files are /dev/vfio."""
    program = shutil.copy(P2PNIC, tmp_path / "p2pnic")
    (tmp_path / "dev/vfio/devices").mkdir(parents=True)
    script = ('mount --bind "$1/sys" /sys && mount --bind "$1/dev" /dev && cd / && '
              'mount --bind "$1" /mnt && shift && exec setpriv --clear-groups "$@"')

    def call(user, *words):
        return run("unshare", "--mount", "sh", "-c", script, "sh", tmp_path, f"--reuid={user}",
                   f"--regid={user}", f"/mnt/{os.path.basename(program)}", *words)

    os.chmod(tmp_path, 0o755)
    return call


def test_access(inside, host, tmp_path):
    host.switch(2)
    device = tmp_path / "dev/vfio/10"
    cdev = tmp_path / "dev/vfio/devices/vfio3"

    def seen(user):
        listed = json.loads(inside(user, "nic", "list", "-j").stdout)["nics"]
        told = inside(user, "doctor", "-j")
        checks = json.loads(told.stdout)["checks"]
        return listed[0]["access"], told.returncode, [check["fix"] for check in checks
                                                      if check["subject"] == "0000:03:00.0"]

    absent = ["in a container: give it /dev/vfio; else see that udev runs"]
    (tmp_path / "dev/vfio/11").touch()
    assert seen(0) == ("absent", 1, absent)
    device.touch(0o600)
    assert seen(0) == ("yes", 0, [None])
    assert seen(65534) == ("denied", 1, ["as root: chown USER /dev/vfio/10"])
    os.chown(device, 65534, 65534)
    assert seen(65534)[::2] == ("yes", [None])
    device.unlink()
    (host.at("0000:03:00.0") / "vfio-dev/vfio3").mkdir(parents=True)
    assert seen(65534)[::2] == ("absent", absent)
    cdev.touch()
    os.chmod(cdev, 0o666)
    assert seen(65534)[::2] == ("yes", [None])


@pytest.mark.parametrize("command", [["nic", "list"], ["doctor"]])
def test_arguments(command, tmp_path):
    done = run(P2PNIC, *command, "--help")
    assert done.returncode == 0 and f"usage: p2pnic {' '.join(command)} [-j]" in done.stdout
    for words in (["more"], ["--nonsense"], ["--sysfs"]):
        done = run(P2PNIC, *command, *words)
        assert done.returncode == 2 and done.stderr and not done.stdout
    done = run(P2PNIC, *command, "--sysfs", tmp_path)
    assert done.returncode == 1 and f"{tmp_path} is no sysfs" in done.stderr and not done.stdout
