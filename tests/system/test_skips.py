# SPDX-License-Identifier: BSD-3-Clause
"""The rule of scripts/test: a skip that tests/expected-skips does not allow here is a failure."""

import importlib.util
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_spec = importlib.util.spec_from_file_location("skips", f"{ROOT}/scripts/skips.py")
skips = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(skips)


def test_a_skip_needs_a_line_whose_condition_holds(tmp_path):
    asked = []

    def probe(name, value):
        return lambda: asked.append(name) or value

    (tmp_path / "list").write_text("# why\n\nalways | a *: one | reason one\nno-veth | b* | "
                                   "reason two\n"
                                   "not-root | b* | reason three\nno-vlan | c | reason four\n")
    rule = skips.Rule(skips.read(tmp_path / "list"), {
        "always": probe("always", True), "no-veth": probe("no-veth", False),
        "not-root": probe("not-root", True), "no-vlan": probe("no-vlan", False)})
    assert rule.expected("a test: one") == ("always", "reason one")
    assert rule.expected("a test: other") is None
    assert rule.expected("b") == rule.expected("bb") == ("not-root", "reason three")
    assert rule.expected("c") is None
    assert rule.expected("A test: one") is None
    assert sorted(asked) == sorted(set(asked))  # a probe is made once, and only if a name needs it


@pytest.mark.parametrize("line", ["x", "always | name", "always | | reason",
                                  "sometimes | name | reason", "always | a | b | c"])
def test_a_line_that_is_not_understood_is_an_error(tmp_path, line):
    (tmp_path / "list").write_text(f"# first\n{line}\n")
    with pytest.raises(ValueError, match="list:2:"):
        skips.read(tmp_path / "list")


def test_every_condition_can_be_probed_and_every_line_is_of_use():
    rows = skips.read(f"{ROOT}/tests/expected-skips")
    assert {condition for condition, _, _ in rows} == set(skips.PROBES)
    for condition, probe in skips.PROBES.items():
        assert probe() in (True, False), condition
    # The peers that Debian has run everywhere: no line is wide enough to hide them where namespaces
    # are allowed.
    rule = skips.Rule(rows,
                      {**skips.PROBES, **dict.fromkeys(("no-namespaces", "no-veth"),
                                                       lambda: False)})
    name = "tests.system.test_memif_dpdk.test_both_ways_through_testpmd[server-client]"
    assert rule.expected(name) is None
