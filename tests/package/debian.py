# SPDX-License-Identifier: BSD-3-Clause
"""A Debian of its own, and systemd as its first process: in namespaces below this process's, with a
cgroup of its own, and with the network that this process has. Nothing of it can write outside: what
it writes is in memory, /sys and all of /proc/sys but the network's can be read only, /dev has no
device but tun, and loading modules or setting the clock is not among its capabilities.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "p2pnic",
                     "package")
SUITE = "bookworm"
# What p2pnic depends on, and systemd.
PACKAGES = ["libbpf1", "libjansson4", "liblzma5", "libmicrohttpd12", "libmnl0", "libpcap0.8",
            "libxdp1", "libyaml-0-2", "sse4.2-support", "systemd"]
PATIENCE = 60
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
               "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_PAGER": ""}
# As a container has it (https://systemd.io/CONTAINER_INTERFACE/). $1: the root; the rest is run.
ENTER = """set -eu
cd "$1"
shift
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind /proc/sys/net proc/sys/net
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs none tmp
mount -t tmpfs -o mode=755 none dev
mkdir dev/net dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
while read -r name major minor; do
	mknod -m 666 "dev/$name" c "$major" "$minor"
done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
net/tun 10 200
END
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
cd /
umount -l /mnt
exec setpriv --bounding-set \
	-audit_control,-audit_read,-audit_write,-mac_admin,-mac_override,\
-sys_module,-sys_rawio,-sys_time,-syslog \
	"$@"
"""
# What has no business here: consoles, users who log in, and what is done once a day.
MASKED = ["console-getty.service", "getty.target", "systemd-logind.service",
          "systemd-sysctl.service", "timers.target"]


class Absent(Exception):
    """It cannot be had here."""


def run(*command, check=True, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=900, check=False, **options)
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def eventually(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
    return value


def mirror():
    """That of this machine's apt."""
    for line in run("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)",
                    "Created-By: Packages", check=False).splitlines():
        site, _, suite = line.partition(" ")
        if suite == SUITE:
            return site
    raise Absent(f"this machine's apt has no {SUITE}")


def debian():
    """The folder of a small Debian with all that p2pnic depends on; fetched once."""
    name = f"{CACHE}/{SUITE}"
    wanted = " ".join(PACKAGES)
    with contextlib.suppress(OSError):
        with open(f"{name}.packages", encoding="utf8") as file:
            if file.read() == wanted:
                return name
    if not shutil.which("debootstrap"):
        raise Absent("debootstrap is not installed")
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        try:
            subprocess.run(["debootstrap", "--variant=minbase",
                            f"--include={','.join(PACKAGES)}", SUITE, f"{place}/root", mirror()],
                           check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=1200)
        except subprocess.CalledProcessError as error:
            raise Absent(f"debootstrap: {error.stdout.strip().splitlines()[-1]}") from None
        if os.path.exists(name):
            shutil.rmtree(name)  # of other packages
        os.rename(f"{place}/root", name)
    with open(f"{name}.packages", "w", encoding="utf8") as file:
        file.write(wanted)
    return name


class Machine:
    """That Debian; what is written stays in memory and goes with this process. `run` works while it
    is booted."""

    def __init__(self, place):
        self.root, self.init = f"{place}/root", None
        run("mount", "-t", "tmpfs", "none", place)
        for name in ("upper", "work", "root", "cgroup"):
            os.mkdir(f"{place}/{name}")
        run("mount", "-t", "overlay", "none", "-o",
            f"lowerdir={debian()},upperdir={place}/upper,workdir={place}/work", self.root)
        run("mount", "-t", "sysfs", "-o", "ro", "none", f"{self.root}/sys")
        run("mount", "-t", "cgroup2", "none", f"{place}/cgroup")
        with open("/proc/self/cgroup", encoding="utf8") as file:
            own, = (line.split(":", 2)[2] for line in file.read().splitlines()
                    if line.startswith("0::"))
        self.cgroup = f"{place}/cgroup{own}/{os.path.basename(place)}"
        os.mkdir(self.cgroup)
        for unit in MASKED:
            os.symlink("/dev/null", f"{self.root}/etc/systemd/system/{unit}")

    def boot(self):
        """Until there is nothing left to be started."""
        self.init = subprocess.Popen(
            ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
             "sh", "-c", 'echo 0 >"$0"/cgroup.procs && exec unshare --cgroup "$@"', self.cgroup,
             "sh", "-c", ENTER, "sh", self.root,
             "env", "-i", "container=p2pnic", "/lib/systemd/systemd"], stdin=subprocess.DEVNULL)
        eventually(lambda: self.state() in ("running", "degraded"), "systemd is up")

    def first(self):
        """The first process's number, as others see it; None: it has ended, or not begun."""
        if self.init.poll() is not None:
            return None
        number = self.init.pid
        with open(f"/proc/{number}/task/{number}/children", encoding="utf8") as file:
            return (file.read().split() or [None])[0]

    def state(self):
        """Of all of it, as systemd says."""
        first = self.first()
        assert first or self.init.poll() is None, f"systemd ended: {self.init.returncode}"
        if not first or os.readlink(f"/proc/{first}/exe") != "/usr/lib/systemd/systemd":
            return ""
        return self.run("systemctl", "is-system-running", check=False).splitlines()[-1]

    def shut_down(self):
        self.run("systemctl", "--no-block", "poweroff")
        eventually(lambda: self.init.poll() is not None, "systemd has ended")

    def close(self):
        if self.init and self.init.poll() is None:
            self.init.kill()
            self.init.wait()
        for folder, _, _ in os.walk(self.cgroup, topdown=False):
            eventually(lambda folder=folder: self._removed(folder), f"{folder} is free")

    @staticmethod
    def _removed(folder):
        try:
            os.rmdir(folder)
        except OSError:
            return False
        return True

    # --- In it ------------------------------------------------------------------------------------

    def run(self, *command, **options):
        return run("nsenter", "--target", self.first(), "--mount", "--uts", "--ipc", "--cgroup",
                   "--pid", *command, env=ENVIRONMENT, **options)

    def write(self, path, text, mode=0o644):
        with open(self.root + path, "w", encoding="utf8") as file:
            file.write(text)
        os.chmod(self.root + path, mode)

    def has(self, path):
        return os.path.lexists(self.root + path)

    def install(self, package):
        shutil.copy(package, f"{self.root}/var/cache/p2pnic.deb")
        self.run("dpkg", "--install", "/var/cache/p2pnic.deb")

    def files(self):
        """All that there are, but what dpkg and systemd and their like keep for themselves."""
        pruned = ["/var/lib/dpkg", "/var/lib/systemd", "/var/log", "/var/cache", "/var/tmp"]
        words = [word for path in pruned for word in ("-path", path, "-prune", "-o")]
        lines = self.run("find", "/", "-xdev", *words, "-print").splitlines()
        return {line for line in lines if line not in (
            "/etc/.pwd.lock", *(f"/etc/{name}{old}" for old in ("", "-")
                                for name in ("passwd", "group", "shadow", "gshadow")))}

    # --- Units ------------------------------------------------------------------------------------

    def property(self, unit, name):
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def journal(self, *words):
        return self.run("journalctl", "--quiet", "--no-pager", "--output=cat", *words)

    def told(self):
        """All that was said of late, for a test that fails."""
        return self.run("journalctl", "--no-pager", "--lines=100")
