# SPDX-License-Identifier: BSD-3-Clause
"""What is done to a router. Each action leaves nothing of its own behind, says what it did, and
excuses the NICs whose packets it may cost. All its choices come from the generator that it is
given."""

import errno
import os
import resource
import signal
import socket
import threading
import time

from world import Failed, connect, eventually, mac, run

ACTIONS = {}  # name → function
MEMORY = ("malloc", "calloc", "realloc", "aligned_alloc", "mmap")
DESCRIPTORS = ("open", "fopen", "opendir", "socket", "accept4", "epoll_create1", "eventfd",
               "memfd_create", "pipe2", "dup2", "fcntl", "signalfd", "syscall", "recvmsg")
MESSAGES = ("sendmsg", "recvmsg", "connect", "read", "write", "poll", "epoll_ctl", "epoll_wait",
            "setsockopt", "send", "recv", "sendto", "sendmmsg", "readv", "recvfrom", "ioctl")
START = ("fork", "pthread_create", "bind", "listen", "ftruncate", "fallocate", "fstat", "flock",
         "mkdir")


def action(function):
    ACTIONS[function.__name__.replace("_", "-")] = function
    return function


def some_nic(rng):
    return rng.randint(1, 4)


def calm(world):
    """Until every NIC forwards: what a router does that dies while it starts one is
    `kill_router_at_work`'s."""
    world.settle()


def lose_nic(world, *nics):
    world.excuse(*nics)
    world.unsteady = True


# --- Processes end --------------------------------------------------------------------------------

@action
def kill_router(world, rng):
    calm(world)
    pause = rng.uniform(0, 0.6)
    world.router.kill()
    time.sleep(pause)
    world.start_router()
    return f"{pause:.2f} s"


@action
def kill_router_taking_over(world, rng):
    """Killed again and again while it takes its NICs over: they forward all the time."""
    calm(world)
    times = []
    world.router.kill()
    for _ in range(rng.randint(1, 5)):
        times.append(rng.uniform(0, 0.15))
        p = world.spawn()
        time.sleep(times[-1])
        p.kill()
        p.wait()
    world.start_router()
    return " ".join(f"{t * 1000:.0f}" for t in times) + " ms"


@action
def kill_router_at_work(world, rng):
    k, pause = some_nic(rng), rng.uniform(0, 0.5)
    lose_nic(world, k)
    world.kill(f"nic nic{k}")
    time.sleep(pause)
    world.router.kill()
    world.start_router()
    return f"nic{k} {pause:.2f} s"


@action
def restart_router(world, rng):
    calm(world)
    lose_nic(world, 1, 2, 3, 4)
    how = rng.choice((signal.SIGTERM, signal.SIGINT))
    world.router.process.send_signal(how)
    if world.router.process.wait(20):
        raise Failed(f"status {world.router.process.returncode} after {how.name}")
    world.start_router()
    return how.name


@action
def stop_router(world, rng):
    calm(world)
    pause = rng.uniform(0.1, 1.5)
    with world.stopped("router"):
        time.sleep(pause)
    return f"{pause:.2f} s"


@action
def kill_keeper(world, rng):
    n = rng.randint(1, 3)
    for _ in range(n):
        old = world.kill("keeper")
        eventually(lambda p=old: world.pid("keeper") != p, 20, "another keeper")
    return f"{n} times"


@action
def kill_router_and_keeper(world, rng):
    calm(world)
    lose_nic(world, 1, 2, 3, 4)
    first = rng.random() < 0.5
    if first:
        world.kill("keeper")
    world.router.kill()
    if not first:
        world.kill("keeper")
    world.start_router()
    return "keeper first" if first else "router first"


@action
def kill_nic(world, rng):
    nics = rng.sample(range(1, 5), rng.choice((1, 1, 1, 2, 4)))
    how = rng.choice((signal.SIGKILL, signal.SIGTERM))
    lose_nic(world, *nics)
    for k in nics:
        world.kill(f"nic nic{k}", how)
    return f"{how.name} {nics}"


@action
def kill_nic_at_start(world, rng):
    """A process that ends again while the router starts it."""
    k, n = some_nic(rng), rng.randint(1, 3)
    lose_nic(world, k)
    for _ in range(n):
        old = world.kill(f"nic nic{k}")
        eventually(lambda p=old: world.pid(f"nic nic{k}") != p, 20, "another process")
        time.sleep(rng.uniform(0, 0.05))
    world.kill(f"nic nic{k}")
    return f"nic{k} {n + 1} times"


@action
def stop_nic(world, rng):
    k, pause = some_nic(rng), rng.uniform(0.1, 2)
    calm(world)
    world.excuse(k)
    with world.stopped(f"nic nic{k}"):
        time.sleep(pause)
    return f"nic{k} {pause:.2f} s"


@action
def stop_nic_kill_another(world, rng):
    a, b = rng.sample(range(1, 5), 2)
    lose_nic(world, a, b)
    with world.stopped(f"nic nic{a}"):
        old = world.kill(f"nic nic{b}")
        try:
            eventually(lambda: world.pid(f"nic nic{b}") != old and
                       world.router.nic(f"nic{b}")["state"] == "forwarding", 8, "")
        except (AssertionError, OSError) as error:
            raise Failed(f"nic{b} is not back within 8 s while nic{a} hangs") from error
    return f"nic{a} hangs, nic{b} killed"


@action
def stop_nic_stop_router(world, rng):
    calm(world)
    lose_nic(world, 1, 2, 3, 4)
    hung = rng.sample(range(1, 5), rng.randint(1, 3))
    for k in hung:
        world.kill(f"nic nic{k}", signal.SIGSTOP)
    world.router.process.terminate()
    try:
        world.router.process.wait(8)
    except Exception as error:
        raise Failed(f"the router does not end within 8 s while {hung} hang") from error
    world.start_router()
    return f"{hung} hang"


@action
def stop_keeper(world, rng):
    k = some_nic(rng)
    lose_nic(world, k)
    with world.stopped("keeper"):
        old = world.kill(f"nic nic{k}")
        try:
            eventually(lambda: world.pid(f"nic nic{k}") != old, 8, "")
            world.router.nic(f"nic{k}")
        except (AssertionError, OSError) as error:
            raise Failed(f"nic{k} is not back within 8 s while the keeper hangs") from error
    return f"nic{k} killed"


@action
def stop_keeper_kill_router(world, rng):
    calm(world)
    world.excuse(1, 2, 3, 4)
    world.unsteady = True
    with world.stopped("keeper"):
        world.router.kill()
        world.start_router()
    return ""


# --- Reloads --------------------------------------------------------------------------------------

def some_routes(rng, n):
    return [{"prefix": f"198.{18 + k // 256}.{k % 256}.0/24", "via": f"10.0.{rng.randint(1, 3)}.2"}
            for k in rng.sample(range(512), n)]


def reload(world):
    world.router.show("router")  # signals come first: one that was not waited for has been answered
    before = len(world.router.messages())
    world.router.process.send_signal(signal.SIGHUP)
    try:
        def answer():
            lines = world.router.messages()[before:].splitlines(True)
            return next((line for line in lines
                         if "router: configuration " in line and line.endswith("\n")), None)

        return eventually(answer, 30, "")
    except AssertionError as error:
        raise Failed("no answer to SIGHUP within 30 s") from error


@action
def reload_storm(world, rng):
    """Valid, invalid and shrinking configurations; the last valid one is in force at the end."""
    calm(world)
    config, kept = world.router.config, list(world.router.config["routes"])
    base = [r for r in kept if r["prefix"].startswith("10.")]
    n, wrong = rng.randint(3, 12), 0
    for step in range(n):
        kind = rng.choice(("routes", "routes", "fewer", "none", "text", "prefix", "restart",
                           "absent"))
        if kind in ("routes", "fewer", "none") or step == n - 1:
            kept = base + some_routes(rng, 0 if kind == "none" else rng.randint(0, 400))
            config["routes"] = kept
            world.router.write()
            if rng.random() < 0.3:  # nobody waits for the answer: several signals may be one
                world.router.process.send_signal(signal.SIGHUP)
            elif "read again" not in (said := reload(world)):
                raise Failed(f"a valid configuration is not taken: {said}")
            continue
        wrong += 1
        right = dict(config["router"])
        config["routes"] = kept + [{"prefix": "198.51.100.1/24", "via": "10.0.1.2"}] * (
            kind == "prefix")
        if kind == "restart":
            config["router"]["batch"] = 9
        world.router.write()
        if kind == "text":
            with open(world.router.path, "rb+") as file:
                file.truncate(rng.randrange(1, os.path.getsize(world.router.path) - 2))
        elif kind == "absent":
            os.rename(world.router.path, world.router.path + "~")
        said = reload(world)
        config["router"] = right
        if kind == "absent":
            os.rename(world.router.path + "~", world.router.path)
        if "not taken" not in said:
            raise Failed(f"a wrong configuration ({kind}): {said}")
    config["routes"] = kept
    world.router.write()
    reload(world)
    have = sum(r["source"] == "static" for r in world.router.show("route"))
    if have != len(kept):
        raise Failed(f"{have} static routes after the reloads, not {len(kept)}")
    return f"{n} reloads, {wrong} of them wrong, {have} routes"


# --- Wires, peers, strangers ----------------------------------------------------------------------

def hostile(rng, k):
    """A frame that came out of one that is right, or out of nothing."""
    length = rng.choice((0, 1, 8, 20, 40, 100, 500, 1400, 1480))
    ip6 = rng.random() < 0.3
    payload = rng.randbytes(length)
    if ip6:
        head = b"\x60\0\0\0" + length.to_bytes(2,
                                               "big") + bytes((rng.choice((
                                                   0, 6, 17, 43, 44, 58, 60)), 64)) + \
            bytes.fromhex(f"fd00000{k}" + "0" * 23 + "2" + f"fd00000{rng.randint(1, 4)}" + "0" *
                          23 + "2")
    else:
        head = bytes((0x45, 0)) + (20 + length).to_bytes(2, "big") + b"\0\1\0\0" + \
            bytes((rng.choice((0, 1, 64)), 17, 0, 0, 10, 0, k, 2, 10, 0, rng.randint(1, 4), 2))
        total = sum(int.from_bytes(head[n:n + 2], "big") for n in range(0, 20, 2))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        head = head[:10] + (0xffff - total).to_bytes(2, "big") + head[12:]
    frame = bytearray(bytes.fromhex((mac(k) + mac(k, 2)).replace(":", "")) + (
        b"\x86\xdd" if ip6 else b"\x08\0") +
                      head + payload)
    for _ in range(rng.choice((0, 1, 1, 2, 8))):
        frame[rng.randrange(14 if rng.random() < 0.9 else 0,
                            min(len(frame), 80))] = rng.randrange(256)
    if rng.random() < 0.2:
        del frame[rng.randrange(14, len(frame)):]
    return rng.randbytes(rng.randint(14, 1500)) if rng.random() < 0.05 else bytes(frame)


@action
def flood(world, rng):
    """Hostile frames beside a good flow."""
    k, n = some_nic(rng), rng.randint(2000, 8000)
    world.flooded.add(k)
    frames = [hostile(rng, k) for _ in range(500)]
    for at in range(n):
        world.wire[k].send(frames[at % len(frames)])
        if at % 64 == 63:
            time.sleep(0.01)
    return f"wire {k}, {n} frames"


@action
def flap(world, rng):
    k, n = some_nic(rng), rng.randint(1, 5)
    world.excuse(k)
    for _ in range(n):
        for what in ("down", "up"):
            run("ip", "-n", world.namespaces[0], "link", "set", f"nic{k}", what, check=True)
            time.sleep(rng.uniform(0, 0.2))
    return f"nic{k} {n} times"


@action
def memif_peer(world, rng):
    """The other end of nic4's memif dies, hangs, or is replaced with all that belongs to it."""
    how = rng.choice(("killed", "hangs", "replaced"))
    world.excuse(4)
    if how == "hangs":
        with world.stopped("peer nic inner"):
            time.sleep(rng.uniform(0.1, 1.5))
    elif how == "killed":
        world.unsteady = True
        for _ in range(rng.randint(1, 2)):
            old = world.kill("peer nic inner")
            eventually(lambda p=old: world.pid("peer nic inner") != p, 20, "another process")
    else:
        world.unsteady = True
        world.peer.kill()
        world.kill("peer nic inner")
        world.kill("peer keeper")
        world.peer.start()
    return how


def strangers(path, rng, n, kind=socket.SOCK_STREAM):
    open_ones = []
    for _ in range(n):
        s = connect(path, kind)
        if not s:
            continue
        open_ones.append(s)
        try:
            what = rng.randrange(5)
            if what == 0:
                s.sendall(rng.randbytes(rng.randint(1, 3000)))
            elif what == 1:
                s.sendall(b'{"show": "ni')
            elif what == 2:
                with open("/dev/null", "rb") as file:
                    socket.send_fds(s, [rng.randbytes(16)], [file.fileno()] * 8)
            elif what == 3:
                s.sendall(bytes((0, 0, 1, 0)) + (0xffffffff).to_bytes(4, "little") + b"\0" * 8)
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    time.sleep(rng.uniform(0, 0.5))
    for s in open_ones:
        s.close()


@action
def api_clients(world, rng):
    """Idle, garbage, half a request, descriptors nobody asked for."""
    n = rng.randint(1, 4)
    strangers(f"{world.router.runtime}/api.sock", rng, n)
    return f"{n}"


@action
def api_crowd(world, rng):
    idle = [connect(f"{world.router.runtime}/api.sock") for _ in range(20)]
    try:
        begin = time.monotonic()
        try:
            world.router.show("router")
        except OSError as error:
            raise Failed(f"show behind 20 idle clients: {error}") from error
        if time.monotonic() - begin > 5:
            raise Failed(f"show waits {time.monotonic() - begin:.0f} s behind 20 idle clients")
    finally:
        for s in filter(None, idle):
            s.close()
    return "20 idle"


@action
def nic_strangers(world, rng):
    k, n = some_nic(rng), rng.randint(5, 40)
    strangers(f"{world.router.runtime}/nic{k}.sock", rng, n)
    return f"nic{k} {n}"


@action
def memif_strangers(world, rng):
    n = rng.randint(1, 20)
    strangers(f"{world.directory}/memif.sock", rng, n, socket.SOCK_SEQPACKET)
    return f"{n}"


@action
def keeper_strangers(world, rng):
    n = rng.randint(1, 20)
    strangers(f"{world.router.runtime}/keeper.sock", rng, n, socket.SOCK_SEQPACKET)
    return f"{n}"


# --- Calls that fail ------------------------------------------------------------------------------

def fault(world, rng, who):
    functions = rng.choice((MEMORY, DESCRIPTORS, MESSAGES, MEMORY + DESCRIPTORS + START))
    error = rng.choice((0, 0, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.ENOBUFS))
    chance = rng.choice((0.001, 0.01, 0.1, 0.5))
    world.inject.on(who, functions, chance=chance, error=error, seed=rng.getrandbits(32), times=50)
    return f"{functions[0]}… {chance} errno {error or 'usual'}"


@action
def inject_router(world, rng):
    calm(world)
    said = fault(world, rng, "router")
    threads = [threading.Thread(target=lambda: connect(f"{world.router.runtime}/api.sock"))
               for _ in range(5)]
    for t in threads:
        t.start()
        world.router.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
    return f"{said}; {world.inject.off()[1]} failed"


@action
def inject_takeover(world, rng):
    """A router that starts short of something ends cleanly or starts; NICs forward all the time."""
    calm(world)
    world.router.kill()
    said = fault(world, rng, "router")
    pids = {role: pids for role, pids in world.roles().items() if role.startswith("nic ")}
    p = world.spawn()
    try:
        p.wait(rng.uniform(0.5, 3))
    except Exception:  # it runs
        p.kill()
        p.wait()
    failed = world.inject.off()[1]
    world.start_router()
    if pids != {role: pids for role, pids in world.roles().items() if role.startswith("nic ")}:
        raise Failed(f"{said}, {failed} failed: NICs were stopped at takeover")
    return f"{said}; {failed} failed"


@action
def inject_nic(world, rng):
    k = some_nic(rng)
    lose_nic(world, k)
    said, seconds = fault(world, rng, f"nic nic{k}"), rng.uniform(0.3, 1.5)
    if rng.random() < 0.5:
        world.kill(f"nic nic{k}")  # its start then
    time.sleep(seconds)
    return f"nic{k} {said}; {world.inject.off()[1]} failed"


@action
def inject_keeper(world, rng):
    said = fault(world, rng, "keeper")
    strangers(f"{world.router.runtime}/keeper.sock", rng, 3, socket.SOCK_SEQPACKET)
    if rng.random() < 0.5:
        k = some_nic(rng)
        lose_nic(world, k)
        world.kill(f"nic nic{k}")
        said += f", nic{k} killed"
    time.sleep(0.5)
    return f"{said}; {world.inject.off()[1]} failed"


@action
def few_descriptors(world, rng):
    calm(world)
    pid, k = world.router.process.pid, some_nic(rng)
    have = len(os.listdir(f"/proc/{pid}/fd"))
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    lose_nic(world, k)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (have + rng.randint(0, 6), old[1]))
    world.kill(f"nic nic{k}")
    if rng.random() < 0.5:
        world.kill("keeper")
    time.sleep(1)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
    return f"nic{k}"
