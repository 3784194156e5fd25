# SPDX-License-Identifier: BSD-3-Clause
"""Virtual machines of stock QEMU: one with soft NICs as its PCI devices, one with network cards.

Debian's kernel, busybox and the p2pnic of a build for any x86-64-v2, in an initramfs. Nothing here
needs root, a network namespace or KVM.
"""

import argparse
import base64
import contextlib
import glob
import io
import json
import lzma
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "p2pnic")
VM = f"{CACHE}/vm"
# Where a later kernel is, and how late: the first in which virtio_net sends, too, without a copy.
ZERO_COPY, ZERO_COPY_KERNEL = f"{CACHE}/zero-copy", "6.13"
SELFTESTS = f"{CACHE}/selftests"  # of the kernel
PCI_ID = "ids=1209:0002"
# The guest's kernel modules; the last is the NICs' driver. vfio-pci takes no function that no IOMMU
# guards. pci-stub takes any, and does nothing.
MODULES = {True: ["vfio_iommu_type1", f"vfio-pci {PCI_ID}"],
           False: [f"pci-stub {PCI_ID}"]}  # by whether there is an IOMMU
BOOT_SECONDS = 300
# How long QEMU waits for a NIC's answer. Its default of 5 s, passed once, ends the NIC for this
# machine: QEMU takes the late answer for garbage and leaves the connection (hw/vfio-user/proxy.c,
# "unexpected reply"). For the same reason the guest's kernel does not check its timer at boot. Its
# timer is periodic: on a busy machine QEMU was seen to lose one, and nothing sets the next.
NIC_SECONDS = 120

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
%s
exec 3<>/dev/hvc0
stty raw -echo <&3
while read -r number line; do
	eval "$line" </dev/null 2>&1
	echo "@@$number $?@@"
done <&3 >&3
poweroff -f
"""


SKIPPED = 77


class Absent(Exception):
    """QEMU or the guest cannot be had here."""


def fetch(*arguments):
    """Of the script of that name."""
    try:
        subprocess.run([f"{HERE}/fetch", *arguments], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, text=True, timeout=600)
    except subprocess.CalledProcessError as error:
        raise Absent((error.stderr.strip().splitlines() or ["fetch failed"])[-1]) from None
    except subprocess.TimeoutExpired:
        raise Absent(f"fetching {' '.join(arguments)} took longer than 10 minutes") from None


def begin(name, about, *needs):
    """What both tests begin with: the folder of the build, or the end of the process, where no more
    than fetching is asked for, or what is needed (arguments of fetch) cannot be had."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("build", nargs="?", help="folder, of a build for x86-64-v2")
    parser.add_argument("--fetch", action="store_true", help="fetch QEMU and the guest, no more")
    arguments = parser.parse_args()
    try:
        for need in needs:
            fetch(*need)
    except Absent as why:
        print(f"{name}: not run: {why}")
        sys.exit(SKIPPED)
    if arguments.fetch:
        sys.exit(0)
    return arguments.build


# --- The initramfs --------------------------------------------------------------------------------

class Archive:
    """cpio, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of Linux)."""

    def __init__(self):
        self.out, self.inode, self.folders = io.BytesIO(), 0, set()

    def _entry(self, name, mode, data=b""):
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self.out.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))

    def folder(self, path):
        if path and path not in self.folders:
            self.folder(os.path.dirname(path))
            self.folders.add(path)
            self._entry(path, 0o040755)

    def add(self, path, data):
        self.folder(os.path.dirname(path))
        self._entry(path, 0o100755, data)

    def close(self):
        self._entry("TRAILER!!!", 0)
        return self.out.getvalue()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def libraries(program):
    for line in subprocess.check_output(["ldd", program], text=True).splitlines():
        found = re.search(r"(/\S+) \(0x", line)
        if found:
            yield found[1]


def module_files(kernel, modules):
    """[(data, parameters)] of the kernel's modules in that folder, each behind those that it
    needs."""
    files, order = {}, {}
    for folder, _, names in os.walk(f"{kernel}/usr/lib/modules"):
        for name in names:
            files[name.split(".ko")[0].replace("-", "_")] = f"{folder}/{name}"

    def add(name, parameters=""):
        name = name.replace("-", "_")
        if name not in order:
            data = lzma.decompress(read(files[name]))
            needs = re.search(rb"\0depends=([^\0]*)\0", data)
            for need in filter(None, needs[1].decode().split(",") if needs else []):
                add(need)
            order[name] = data, parameters
    for module in modules:
        add(*module.split(" ", 1))
    return order.values()


def initramfs(programs, kernel, modules):
    """modules: of the kernel in that folder, with parameters."""
    archive = Archive()
    for folder in ("proc", "sys", "dev", "tmp", "run", "etc"):
        archive.folder(folder)
    archive.add("bin/busybox", read(f"{VM}/guest/usr/bin/busybox"))
    for program in programs:
        archive.add(f"bin/{os.path.basename(program)}", read(program))
    for library in {library for program in programs for library in libraries(program)}:
        archive.add(library.lstrip("/"), read(library))
    inserted = []
    for number, (data, parameters) in enumerate(module_files(kernel, modules)):
        archive.add(f"lib/modules/{number}.ko", data)
        inserted.append(f"insmod /lib/modules/{number}.ko {parameters}")
    archive.add("init", (INIT % "\n".join(inserted)).encode())
    return archive.close()


# --- The machine ----------------------------------------------------------------------------------

def image(kernel):
    """Its package may have it in either place."""
    return max(glob.glob(f"{kernel}/boot/vmlinuz*") +
               glob.glob(f"{kernel}/usr/lib/modules/*/vmlinuz"))


def qemu():
    """Run by its own loader, with its own libraries: this system's are older."""
    lib = f"{VM}/qemu/usr/lib/x86_64-linux-gnu"
    return [f"{lib}/ld-linux-x86-64.so.2", "--library-path", lib,
            f"{VM}/qemu/usr/bin/qemu-system-x86_64", "-L", f"{VM}/qemu/usr/share/qemu",
            "-L", f"{VM}/qemu/usr/share/seabios"]


class Guest:
    """A machine, and a shell in it."""

    memory = "512M"

    def __init__(self, folder, programs, devices, kernel, modules, parameters="",
                 descriptors=()):
        """descriptors: that devices name, QEMU's from then on."""
        self.folder = folder
        with open(f"{folder}/initramfs", "wb") as file:
            file.write(initramfs(programs, kernel, modules))
        control = f"{folder}/control"
        with open(f"{folder}/qemu.log", "wb") as log:
            self.process = subprocess.Popen(
                qemu() + ["-M", "q35,kernel-irqchip=split,memory-backend=mem",
                          "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", self.memory, "-object",
                          f"memory-backend-memfd,id=mem,size={self.memory},share=on",
                          "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                          "-serial", f"file:{folder}/console",
                          "-chardev", f"socket,id=control,path={control},server=on,wait=off",
                          "-device", "virtio-serial-pci",
                          "-device", "virtconsole,chardev=control",
                          "-qmp", f"unix:{folder}/monitor,server=on,wait=off", *devices,
                          "-kernel", image(kernel), "-initrd", f"{folder}/initramfs", "-append",
                          "console=ttyS0 panic=-1 no_timer_check nohz=off highres=off "
                          f"{parameters}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors)
        self.control = socket.socket(socket.AF_UNIX)
        self.number = 0
        try:
            self._boot(control)
        except BaseException:
            self.close()
            raise

    def _boot(self, control):
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self.control.connect(control)
                break
            self._alive(deadline)
            time.sleep(0.05)
        self.run("true", BOOT_SECONDS)

    def _alive(self, deadline):
        if self.process.poll() is not None:
            raise AssertionError(f"QEMU ended: {self.process.returncode}: {self.log()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"the guest does not answer: {self.log()}")

    def log(self):
        """What the guest's kernel and QEMU said last."""
        text = ""
        for name in ("console", "qemu.log"):
            with contextlib.suppress(FileNotFoundError):
                text += f"{name}:\n{read(f'{self.folder}/{name}').decode(errors='replace')[-3000:]}"
        return text

    def _ask(self, command, seconds):
        self.number += 1
        deadline, heard = time.monotonic() + seconds, b""
        with contextlib.suppress(ConnectionError):  # QEMU ended: _alive says so
            self.control.sendall(f"{self.number} {command}\n".encode())
        while True:
            found = re.search(rb"@@%d (\d+)@@" % self.number, heard)
            if found:
                return int(found[1]), heard[:found.start()].decode(errors="replace")
            self._alive(deadline)
            with contextlib.suppress(ConnectionError):
                if select.select([self.control], [], [], 0.2)[0]:
                    heard += self.control.recv(65536)

    def run(self, command, seconds=60, fails=False):
        """Of a shell line in the guest: what it printed. It has to succeed."""
        code, text = self._ask(command, seconds)
        assert fails or not code, f"in the guest: {command}: {code}: {text}\n{self.log()}"
        return text

    def put(self, path, text):
        """A line that a terminal takes has at most 4095 characters."""
        data = base64.b64encode(text.encode()).decode()
        self.run(f": >{path}.64")
        for k in range(0, len(data), 2048):
            self.run(f"echo {data[k:k + 2048]} >>{path}.64")
        self.run(f"base64 -d {path}.64 >{path}")

    def monitor(self, command, **arguments):
        """Has QEMU do it: its answer."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(BOOT_SECONDS)
            channel.connect(f"{self.folder}/monitor")
            lines = channel.makefile("r")
            lines.readline()  # its greeting
            for name, values in ("qmp_capabilities", {}), (command, arguments):
                channel.sendall(json.dumps({"execute": name, "arguments": values}).encode())
                said = json.loads(lines.readline())
                while "event" in said:
                    said = json.loads(lines.readline())
                assert "return" in said, (name, values, said)
        return said["return"]

    def close(self):
        with contextlib.suppress(OSError):
            self.control.sendall(b"0 poweroff -f\n")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.control.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Twin(Guest):
    """This machine's files under another kernel: what is installed or built here runs there. They
    can be read only, but for folders of the guest's own."""

    memory = "1G"
    environment = "env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin"

    def __init__(self, folder, kernel, modules):
        super().__init__(folder, [], ["-fsdev", "local,id=files,path=/,security_model=none,"
                                      "readonly=on,multidevs=remap",
                                      "-device", "virtio-9p-pci,fsdev=files,mount_tag=files"],
                         kernel, ["9p", "9pnet_virtio", *modules])
        try:
            self.run("mkdir /files /host && mount -t 9p -o ro,trans=virtio,version=9p2000.L,"
                     "cache=loose,msize=500000 files /files && mount -o bind /files /host")
            self.run("for d in proc sys dev; do mount -o bind /$d /host/$d; done && "
                     "for d in tmp var/tmp run; do mount -t tmpfs none /host/$d; done && "
                     "mount -t cgroup2 none /host/sys/fs/cgroup")
            for path in map(shlex.quote, (ROOT, CACHE)):  # they may be below /tmp
                self.run(f"[ -e /host{path} ] || {{ mkdir -p /host{path} && "
                         f"mount -o bind /files{path} /host{path}; }}")
        except BaseException:
            self.close()
            raise

    def system(self, command, seconds=60, fails=False):
        """Like run, by this machine's bash."""
        return self.run(f"chroot /host {self.environment} bash -c {shlex.quote(command)}", seconds,
                        fails)


class Machine(Guest):
    """Soft NICs, `p2pnic nic` processes, are its PCI devices: a vfio-user-pci for each behind one
    PCIe switch."""

    def __init__(self, folder, programs, sockets, iommu):
        self.driver = MODULES[iommu][-1].split()[0]
        devices = [*(["-device", "intel-iommu,caching-mode=on"] if iommu else []),
                   "-device", "pcie-root-port,id=rp0,chassis=1,slot=1",
                   "-device", "x3130-upstream,id=up,bus=rp0"]
        for n, path in enumerate(sockets):
            devices += ["-device", f"xio3130-downstream,id=d{n},bus=up,chassis={n + 2},slot={n}",
                        "-device", '{"driver":"vfio-user-pci","bus":"d%d",'
                        '"socket":{"type":"unix","path":"%s"},"x-msg-timeout":%d}'
                        % (n, path, NIC_SECONDS * 1000)]
        super().__init__(folder, programs, devices, f"{VM}/guest", MODULES[iommu],
                         "intel_iommu=on iommu=nopt")

    def functions(self):
        """PCI addresses of the NICs that have their driver, in the order of the switch's ports."""
        found = self.run(f"ls /sys/bus/pci/drivers/{self.driver}")
        return sorted(name for name in found.split() if name.startswith("0000:"))

    def tree(self):
        """A line for each PCI function, indented below the bridge that it hangs on."""
        said = self.run("cd /sys/bus/pci/devices; for f in *; do echo $(readlink -f $f) $(cat "
                        "$f/vendor $f/device) $(readlink $f/driver) $(readlink $f/iommu_group); "
                        "done; cd /")
        for line in sorted(said.splitlines()):
            path, vendor, device, *links = line.split()
            text = f"{'  ' * path.count('/0000:')}{os.path.basename(path)} " \
                   f"{vendor[2:]}:{device[2:]}"
            for link in links:
                text += f" {'group ' if 'iommu_groups' in link else ''}{os.path.basename(link)}"
            yield text

    def faults(self):
        """Each DMA access that the IOMMU refused and the kernel logged: whose, and its address."""
        said = self.run("dmesg | grep 'DMAR: \\[DMA'", fails=True)
        return [(f"0000:{function}", int(address, 16)) for function, address in
                re.findall(r"Request device \[(\S+)\] fault addr (\S+)", said)]

    def command(self, function):
        """Its command register, the low byte."""
        return int(self.run("hexdump -s 4 -n 1 -e '1/1 \"%u\"' "
                            f"/sys/bus/pci/devices/{function}/config"))

    def memory_space(self, function, on):
        """Of the switch's port above a NIC: whether it forwards memory accesses down."""
        port = self.run(f"basename $(dirname $(readlink -f /sys/bus/pci/devices/{function}))")
        port = port.strip()
        new = self.command(port) | 2 if on else self.command(port) & ~2
        self.run(f"printf '\\{new:03o}' | dd of=/sys/bus/pci/devices/{port}/config bs=1 count=1 "
                 "seek=4 conv=notrunc 2>/dev/null")
