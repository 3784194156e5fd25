#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""`make foreign`: the kernel's own tests of forwarding, with NICs in the kernel's place.

    tests/vm/foreign.py build-vm

They run in a guest with Debian's kernel (tests/vm/foreign/guest has the links) as they are in the
source package of Debian 12, but for what tests/vm/foreign/lib.sh says. Then tests of this project
whose devices the kernel of this machine may not have. Exit status 77: not run, and why.
"""

import contextlib
import os
import re
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from machine import HERE, ROOT, SELFTESTS, VM, Twin, begin  # noqa: E402

MODULES = ["8021q", "act_gact", "bridge", "cls_flower", "cls_matchall", "dummy", "macvlan",
           "sch_ingress", "tun", "veth", "vrf"]
SCRIPTS = ["router.sh", "router_nh.sh", "router_vid_1.sh", "router_multipath.sh",
           "router_mpath_nh.sh", "router_mpath_nh_res.sh"]
OWN = ["tests/system/test_kernel_devices.py", "tests/conformance/test_links.py"]
SCRIPT_SECONDS = 1800  # on two cores that others use, too, 534 were seen
KSFT_SKIP = 4  # exit status
OUTCOMES = {" OK ": "passed", "FAIL": "failed", "SKIP": "skipped"}


def differences():
    """{test: (outcome, why)}, of those that are not to pass."""
    found = {}
    with open(f"{HERE}/foreign/differences.txt", encoding="utf8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, outcome, why = (field.strip() for field in line.split("|"))
                assert outcome in ("failed", "skipped"), line
                found[name] = outcome, why
    return found


def outcomes(script, said):
    """[(test, outcome)] of what a script of the kernel's printed, its exit status last. Its tests
    have their names more than once, below different headings."""
    headings, found = [], []
    for line in said.splitlines():
        heading = re.fullmatch(r"INFO: (?:Running )?(.*(?: tests.*|=>))", line)
        if heading:
            headings = [h for h in headings if not h.startswith("IPv")] * \
                heading[1].startswith("IPv") + [heading[1].removesuffix(" =>")]
        test = re.fullmatch(r"TEST: (.*\S)\s+\[( OK |FAIL|SKIP)\]", line)
        if test:
            found.append((": ".join([script, *headings, test[1]]), OUTCOMES[test[2]]))
    return found + ended(script, said, found)


def own_outcomes(file, said):
    """Likewise, of pytest."""
    found = [(name, {"ERROR": "failed"}.get(outcome, outcome.lower())) for name, outcome in
             re.findall(r"^(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED)", said, re.M)]
    return found + ended(file, said, found)


def ended(name, said, found):
    """[], or what there is to say of all of them: nothing ran, or not to the end."""
    status = int(said.split()[-1])
    if status == KSFT_SKIP and not found:
        return [(name, "skipped")]
    failed = any(outcome == "failed" for _, outcome in found)
    return [] if found and status == failed else [(name, "failed")]


class Account:
    """Of all tests: each is to pass, or to do what differences.txt says."""

    def __init__(self, expected):
        self.expected, self.seen = expected, set()
        self.count = dict.fromkeys(["passed", "failed", "skipped", "differ"], 0)

    def enter(self, name, outcome):
        want, why = self.expected.get(name, ("passed", ""))
        self.seen.add(name)
        if outcome == want == "failed":
            self.count["differ"] += 1
            print(f"foreign: differs: {name}: {why}")
        elif outcome == want:
            self.count[outcome] += 1
        else:
            self.count["failed"] += 1
            print(f"foreign: FAILED: {name}: {outcome}, wanted: {want}")


def kernel_tests(guest, account):
    for script in SCRIPTS:
        began = time.monotonic()
        said = guest.system(f"{HERE}/foreign/guest run {script} 2>&1; echo status $?",
                            SCRIPT_SECONDS)
        print(f"foreign: {script}: {time.monotonic() - began:.0f} s", said, sep="\n", flush=True)
        for name, outcome in outcomes(script, said):
            account.enter(name, outcome)


def own_tests(guest, account, program):
    for file in OWN:
        began = time.monotonic()
        said = guest.system(f"cd {ROOT} && P2PNIC={program} /usr/bin/python3 -B -m pytest -v -rP "
                            f"--color=no --tb=short {file} 2>&1; echo status $?", SCRIPT_SECONDS)
        print(f"foreign: {file}: {time.monotonic() - began:.0f} s", said, sep="\n", flush=True)
        for name, outcome in own_outcomes(file, said):
            account.enter(name, outcome)


def run_all(folder, build):
    program = f"{ROOT}/{build}/cli/p2pnic"
    account, began = Account(differences()), time.monotonic()
    os.mkdir(f"{folder}/vm")
    guest = Twin(f"{folder}/vm", f"{VM}/guest", MODULES)
    with contextlib.closing(guest):
        kernel = guest.run("uname -r").strip()
        guest.system(f"{HERE}/foreign/guest up {program} {SELFTESTS}", SCRIPT_SECONDS)
        print(f"foreign: guest and router up: {time.monotonic() - began:.0f} s", flush=True)
        kernel_tests(guest, account)
        print(guest.system("cat /tmp/foreign/log"))
        own_tests(guest, account, program)
    for name in account.expected.keys() - account.seen:
        account.enter(name, "gone")
    return account.count, kernel


def main():
    build = begin("foreign", __doc__, [VM], [SELFTESTS, "selftests"])
    with tempfile.TemporaryDirectory(prefix="p2pnic-vm-") as folder:
        count, kernel = run_all(folder, build)
    print(f"foreign: {count['passed']} passed, {count['failed']} failed, {count['skipped']} "
          f"skipped, {count['differ']} differ (tests/vm/foreign/differences.txt), Linux {kernel}")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
