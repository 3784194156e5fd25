#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Everything happens to a router at once, and it must be well again after each round.

    make chaos [MINUTES=10] [SEED=N]

A round is a few actions (actions.py) beside traffic; afterwards every NIC forwards to every other,
every packet is accounted for, no stream has lost what no action explains, and no process has grown
(world.py). A round is what its seed and its number say, so `--seed N --round K --rounds 1` does the
same things again (with the same --known and --only), as far as the scheduler does.

    --only A,B         only these actions
    --list             names them
    --calls [WHEN]     instead: let call 1, 2, 3, … of the router fail, when it starts, reloads, …
    (calls.py)
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import calls  # noqa: E402
from actions import ACTIONS  # noqa: E402
from network import not_permitted  # noqa: E402
from world import Failed, World  # noqa: E402


def plans(seed, names):
    """The actions of round 1, 2, …: dealt from a deck of all, so that none is left out for long."""
    rng, deck = random.Random(seed), []
    while True:
        size = rng.randint(1, 4)
        while len(deck) < size:
            deck += rng.sample(names, len(names))
        yield deck[:size]
        del deck[:size]


class Run:
    def __init__(self, arguments):
        self.arguments = arguments
        self.world = None
        self.failures = []
        self.rounds = self.actions = self.checked = 0
        self.unexplained = self.unaccounted = self.leaks = 0
        self.lost = 0

    def keep(self, name):
        """The logs of a failure, where they can be found."""
        folder = os.path.join(self.arguments.logs, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for file in ("log", "router.yaml", "peer/log"):
            path = os.path.join(self.world.directory, file)
            if os.path.exists(path):
                shutil.copy(path, os.path.join(folder, file.replace("/", "-")))
        return folder

    def fail(self, where, what):
        if what.startswith("unaccounted"):
            self.unaccounted += 1
        elif what.startswith("leak"):
            self.leaks += 1
        elif "lost without a reason" in what:
            self.unexplained += 1
        folder = self.keep(where.split(":")[0].replace(" ", "-"))
        self.failures.append(f"{where}: {what}; logs in {folder}")
        print(f"FAILED {self.failures[-1]}", flush=True)
        self.leave()

    def leave(self):
        if self.world:
            self.checked += self.world.checked
            self.lost += self.world.lost
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
            self.world.close()
            self.world = None
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    def finish(self):
        if not self.world:
            return
        try:
            self.world.finish()
        except Failed as error:
            self.fail(f"seed {self.arguments.seed} end", str(error))
        self.leave()

    def round(self, number, plan):
        rng = random.Random(f"{self.arguments.seed} {number}")
        done, begin = [], time.monotonic()
        try:
            if not self.world:
                self.world = World()
                self.world.start()
            with self.world.traffic(rng):
                for name in plan:
                    time.sleep(rng.uniform(0, 0.3))
                    done.append(name)
                    said = ACTIONS[name](self.world, random.Random(rng.getrandbits(64)))
                    done[-1] = f"{name} ({said})"
                    self.actions += 1
                self.world.settle()
                time.sleep(0.2)
            checked = self.world.checked
            self.world.check()
            print(f"round {number}: {', '.join(done)}; {self.world.checked - checked} packets, "
                  f"{time.monotonic() - begin:.1f} s; seed {self.arguments.seed}", flush=True)
        except (Failed, AssertionError, OSError) as error:
            self.fail(f"seed {self.arguments.seed} round {number}: {', '.join(done)}",
                      str(error) or repr(error))
        self.rounds += 1

    def chaos(self):
        names = list(ACTIONS)
        if self.arguments.only:
            names = self.arguments.only.split(",")
        until = time.monotonic() + self.arguments.minutes * 60
        for number, plan in enumerate(plans(self.arguments.seed, names), 1):
            if number < self.arguments.round:
                continue
            if time.monotonic() > until or self.rounds == self.arguments.rounds:
                break
            self.round(number, plan)
        self.finish()

    def verdict(self):
        text = (f"chaos: {self.rounds} rounds, {self.actions} actions, {self.checked} packets "
                f"checked, "
                f"{self.unexplained} lost without a reason, "
                f"{self.unaccounted} unaccounted, {self.leaks} leaks")
        if self.failures:
            print(f"\n{len(self.failures)} FAILED:")
            for failure in self.failures:
                print(f"  {failure}")
            text += f"; FAILED: {len(self.failures)} (seed {self.arguments.seed})"
        print(text, flush=True)
        return 1 if self.failures or not self.rounds else 0


def main():
    parser = argparse.ArgumentParser(description="Chaos around a router; see the head of this "
                                                 "file.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--round", type=int, default=1, help="the first one")
    parser.add_argument("--rounds", type=int, help="how many at most")
    parser.add_argument("--only")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--calls", nargs="?", const="all", help="|".join(calls.WHEN))
    parser.add_argument("--from-call", type=int, default=1)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--logs", default="build/chaos")
    arguments = parser.parse_args()
    if arguments.list:
        for name, function in ACTIONS.items():
            print(name)
        return 0
    if reason := not_permitted():
        print(f"chaos: not run: {reason}; it needs root")
        return 77  # skipped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chaos = Run(arguments)
    try:
        if arguments.calls:
            calls.run_all(chaos)
        else:
            chaos.chaos()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        chaos.failures.append("interrupted")
    finally:
        chaos.leave()
    return chaos.verdict()


if __name__ == "__main__":
    sys.exit(main())
