# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic config`: check, compare, apply, save and take back configurations."""

import json
import re

from network import P2PNIC, run
from test_config import GOOD, MISTAKES


def config(*words, **options):
    return run(P2PNIC, "config", *words, **options)


# --- check: no router, no root -------------------------------------------------------------------

def test_check(tmp_path):
    """What a router refuses at its start is told here, with its place."""
    path = tmp_path / "router.yaml"
    for name, (old, new, line, reason) in MISTAKES.items():
        path.write_text(GOOD.replace(old, new, 1), encoding="utf8")
        done = config("check", str(path))
        assert done.returncode == 1 and not done.stdout, name
        place = f"^{re.escape(str(path))}:{line or '[0-9]+'}:([0-9]+:)? .*"
        assert re.search(place + reason, done.stderr, re.MULTILINE), (name, done.stderr)


def test_check_all(tmp_path):
    """Several mistakes are several lines; a gateway that leads nowhere is one."""
    path = tmp_path / "router.yaml"
    path.write_text(GOOD.replace("batch: 8", "batch: 0").replace("mtu: 1500", "mtu: x"),
                    encoding="utf8")
    lines = config("check", str(path)).stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:4:10", f"{path}:12:10"]
    rows = json.loads(config("check", "-j", str(path)).stdout)
    assert [(row["line"], row["column"]) for row in rows["mistakes"]] == [(4, 10), (12, 10)]
    assert rows["right"] is False and "batch 0" in rows["mistakes"][0]["reason"]
    right = GOOD[:GOOD.index("route_files:")]
    path.write_text(right, encoding="utf8")
    done = config("check", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: right\n", "")
    path.write_text(right.replace("via: 10.0.1.2}", "via: 10.9.9.9}"), encoding="utf8")
    done = config("check", str(path))
    assert done.returncode == 1 and done.stderr == (
        f"p2pnic config: {path}: route 198.51.100.0/24: gateway 10.9.9.9 is on no connected "
        f"network and no neighbour\n")
    done = config("check", str(tmp_path / "absent"))
    assert done.returncode == 1 and "No such file" in done.stderr


def test_usage():
    for words in ([], ["check"], ["check", "a", "b"], ["chekc", "a"]):
        done = config(*words)
        assert done.returncode == 2 and done.stderr.startswith("usage: p2pnic config ")
