# SPDX-License-Identifier: BSD-3-Clause
"""DUT=p2pnic (default), linux or file: which router the cases are put to (dut.py)."""

import fnmatch
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

from dut import DUTS  # noqa: E402
from network import P2PNIC, not_permitted  # noqa: E402

DUT = os.environ.get("DUT", "p2pnic")


class Difference:
    """A line of differences.txt."""

    def __init__(self, line):
        fields = [field.strip() for field in line.split("|")]
        assert len(fields) == 5 and all(fields), f"differences.txt: not five columns: {line}"
        self.case, linux, p2pnic, self.section, self.why = fields
        self.does = {"linux": linux, "p2pnic": p2pnic, "file": p2pnic}
        assert linux != p2pnic, f"differences.txt: no difference: {line}"

    def matches(self, name):
        return fnmatch.fnmatchcase(name.replace("[", "("), self.case.replace("[", "("))


def differences():
    with open(f"{HERE}/differences.txt", encoding="utf8") as file:
        return [Difference(line) for line in file if line.strip() and not line.startswith("#")]


DIFFERENCES = differences()


def pytest_sessionstart(session):
    assert DUT in DUTS, f"DUT={DUT}: one of {', '.join(DUTS)}"
    assert DUT == "linux" or os.access(P2PNIC, os.X_OK), \
        f"{P2PNIC}: not there; build it, or say P2PNIC=PATH"


def pytest_collection_modifyitems(session, items):
    """A line that names no test is an error. Only the whole suite can tell."""
    if len({item.path for item in items}) < len([f for f in os.listdir(HERE)
                                                 if f.startswith("test_")]):
        return
    for difference in DIFFERENCES:
        if not any(difference.matches(item.name) for item in items):
            raise pytest.UsageError(f"differences.txt: no test is named {difference.case}")


@pytest.fixture(scope="session", name="r")
def router():
    reason = not_permitted()
    if reason:
        pytest.skip(reason)
    if DUT == "p2pnic" and not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun: not there")
    dut = DUTS[DUT]()
    try:
        yield dut.start()
        if dut.router.process:
            dut.router.at_rest()  # or packets are unaccounted for
    finally:
        dut.close()


@pytest.fixture
def expect(request, r):
    """expect(seen, want): what was seen must be what the standard wants; or, for a case of
    differences.txt, what stands there for this router. True: it is what the standard wants."""
    row = next((d for d in DIFFERENCES if d.matches(request.node.name)), None)
    asked = []

    def check(seen, want):
        asked.append(seen)
        if not r.answers:
            want = ", ".join(w for w in want.split(", ")
                             if not w.startswith(("ICMP", "echo"))) or "silence"
        if row:
            assert want in row.does.values(), \
                f"differences.txt: neither does what {row.section} wants: {want}"
        wanted = row.does[r.name] if row and r.answers else want
        assert seen == wanted, f"{r.name}: {seen}; wanted: {wanted}" + (
            f" (differences.txt: {row.case})" if row else "")
        return seen == want and (r.answers or want != "silence")

    yield check
    if row and not asked:
        pytest.fail(f"differences.txt: {row.case} has an outcome, and the test asks for none")


@pytest.fixture(autouse=True)
def kernel_needed(request, r):
    if not r.answers and request.node.get_closest_marker("kernel"):
        pytest.skip("DUT=file: no kernel to tell, none that answers")


def pytest_terminal_summary(terminalreporter):
    count = {kind: len(terminalreporter.stats.get(kind, [])) for kind in
             ("passed", "failed", "error", "skipped")}
    if DIFFERENCES and DUT != "file":
        terminalreporter.write_line("differences between linux and p2pnic, each as "
                                    "tests/conformance/differences.txt has it:")
        for d in DIFFERENCES:
            terminalreporter.write_line(f"  {d.case}: linux: {d.does['linux']}; p2pnic: "
                                        f"{d.does['p2pnic']}; {d.section}: {d.why}")
    terminalreporter.write_line(
        f"conformance: {count['passed']} passed, {count['failed'] + count['error']} failed, "
        f"{count['skipped']} skipped")
