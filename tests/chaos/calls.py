# SPDX-License-Identifier: BSD-3-Clause
"""Call 1, 2, 3, … of one process fails, once, while a router starts, reloads, takes over or
restarts a NIC. Each time: a clean error or success; never a crash, a hang, something left, or the
loss of a NIC that was well."""

import re
import signal
import time

from world import Failed, World, processes_of  # and where tests/system is
from inject import place

PATIENCE = 20
UP = "NICs forward; questions to"


def said(world, at, texts, process=None):
    """Which of the texts comes first in the messages; "end" if the process ends without."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended = process and process.poll() is not None
        messages = world.router.messages()[at:]
        for text in texts:
            if text in messages:
                return text
        if ended:
            return "end"
        time.sleep(0.005)
    raise Failed(f"hangs: none of {texts} within {PATIENCE} s")


def nothing_left(world):
    deadline = time.monotonic() + 6
    while left := processes_of(world.directory):
        if time.monotonic() > deadline:
            raise Failed(f"left: {sorted(left.values())}")
        time.sleep(0.01)


def came_up(world, at):
    """A router that has just been started by a rule: True: it runs; False: it ended, and said
    why."""
    process = world.router.process
    if said(world, at, [UP], process) == UP:
        return True
    if process.returncode != 1:
        raise Failed(f"status {process.returncode}")
    if not re.search(r"^(\S+Z )?p2pnic router: *\S", world.router.messages()[at:], re.MULTILINE):
        raise Failed("ended without a reason")
    return False


def start(world, fail):
    if world.router.process:
        world.router.stop()
        nothing_left(world)
    at = len(world.router.messages())
    fail()
    world.router.process = world.spawn()
    up = came_up(world, at)
    world.inject.off()
    if not up:
        nothing_left(world)
        world.start_router()
    world.settle()


def running(world):
    if not world.router.process:
        world.start_router()
        world.settle()
        world.leaks()
    return {role: pids for role, pids in world.roles().items() if role.startswith("nic ")}


def unharmed(world, before, *but):
    now = {role: pids for role, pids in world.roles().items() if role.startswith("nic ")}
    lost = [role for role, pids in before.items() if role not in but and now.get(role) != pids]
    if lost:
        raise Failed(f"healthy, and stopped: {', '.join(lost)}")


def reload(world, fail):
    before = running(world)
    serial = world.serial = getattr(world, "serial", 0) + 1
    world.router.config["routes"] = [{"prefix": f"198.18.{n}.0/24",
                                      "via": f"10.0.{1 + (n + serial) % 2}.2"}
                                     for n in range(serial % 7)]
    world.router.write()
    for attempt in ("fails", "well"):
        at = len(world.router.messages())
        if attempt == "fails":
            fail()
        world.router.process.send_signal(signal.SIGHUP)
        answer = said(world, at, ["router: configuration read again",
                                  "router: configuration not taken: ", UP],
                      world.router.process)
        world.inject.off()
        if answer == "end":
            raise Failed(f"the router ended, status {world.router.process.returncode}")
    if "read again" not in answer:
        raise Failed("the next reload is not taken either")
    world.settle()
    unharmed(world, before)


def takeover(world, fail):
    before = running(world)
    world.router.kill()
    at = len(world.router.messages())
    fail()
    world.router.process = world.spawn()
    up = came_up(world, at)
    world.inject.off()
    if not up:
        world.start_router()
    world.settle()
    unharmed(world, before)


def restart(world, fail):
    """Of nic2; by a router that has not restarted it before, which would wait longer and longer."""
    if world.router.process:
        world.router.kill()
        world.start_router()
        world.settle()
    before = running(world)
    at = len(world.router.messages())
    fail()
    old = world.kill("nic nic2")
    if said(world, at, ["nic nic2: back"], world.router.process) == "end":
        raise Failed(f"the router ended, status {world.router.process.returncode}")
    world.inject.off()
    world.settle()
    unharmed(world, before, "nic nic2")
    if world.pid("nic nic2") == old:
        raise Failed("nic2 is still the old one")


WHEN = {f"{when.__name__}-{who.split()[0]}": (when, who) for when, who in (
    (start, "router"), (start, "keeper"), (start, "nic nic2"), (reload, "router"),
    (reload, "nic nic2"),
    (takeover, "router"), (takeover, "keeper"), (restart, "router"), (restart, "keeper"),
    (restart, "nic nic2"))}


def run_all(run):
    names = list(WHEN) if run.arguments.calls == "all" else run.arguments.calls.split(",")
    for name in names:
        when, who = WHEN[name]
        k, begin, bad = run.arguments.from_call, time.monotonic(), 0
        while True:
            if not run.world:
                run.world = World(2, more=False)
            world = run.world
            at = len(world.router.messages())
            world.inject.off()
            try:
                when(world, lambda: world.inject.on(who, nth=k, times=1))
                failed = world.inject.off()[1]
                if when is not start:
                    world.leaks()
                if not failed:
                    break
                world.crashes()
                run.actions += 1
            except (Failed, AssertionError, OSError) as error:
                bad += 1
                run.actions += 1
                run.fail(f"{name} call {k}: {place(world.router.messages()[at:])}",
                         str(error) or repr(error))
            k += run.arguments.step
        run.rounds += 1
        print(f"calls: {name}: {k - 1} calls, {bad} not borne, {time.monotonic() - begin:.0f} s",
              flush=True)
    run.leave()
