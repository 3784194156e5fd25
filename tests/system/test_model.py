# SPDX-License-Identifier: BSD-3-Clause
"""p2pnic model: each action, what it says and what it refuses. No figure is tested here: unit tests
do that."""
import itertools
import json
import os
import re
import shutil
import subprocess

import pytest

P2PNIC = os.environ["P2PNIC"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def model(*words, folder=None, status=0):
    done = subprocess.run([P2PNIC, "model", *words], capture_output=True, text=True, cwd=folder)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def quick(*settings):
    return [word for one in ("packets=500", *settings) for word in ("--set", one)]


def test_run():
    out = model("run", "-c", "published")
    for text in ("program  paper: published Wr, routed", "1in-1out, 64 B, line rate", " Mpps, ",
                 " accesses a packet", "busiest "):
        assert text in out
    assert model("run", "-c", f"{ROOT}/model/scenarios/published.yaml") == out


def test_run_json_is_the_same_each_time():
    first, second = (model("run", "-j", "-c", "latency", *quick()) for _ in range(2))
    assert first == second
    answer = json.loads(first)
    assert answer["program"] == "p2pnic" and answer["held"] == 0
    assert answer["in"] == answer["sent"] + sum(answer["dropped"].values())
    assert answer["latency_ps"]["p50"] <= answer["latency_ps"]["p99"]
    other = json.loads(model("run", "-j", "-c", "latency", *quick("seed=2")))
    assert other != answer


def test_part_of_ones_own(tmp_path):
    text = open(f"{ROOT}/model/parameters/agilio-cx.yaml", encoding="utf8").read()
    (tmp_path / "my.yaml").write_text(text.replace("value: 40, unit: Gb/s, range: [40, 40]",
                                                   "value: 1, unit: Gb/s, range: [1, 1]"))
    words = ["run", "-c", "long-frames", *quick("nic=./my.yaml")]
    assert "4 × ./my.yaml" in model(*words, folder=tmp_path)
    rate = json.loads(model(*words, "-j", folder=tmp_path))["bits_per_second"]
    assert 3.5e9 < rate < 4.2e9  # four ports of 1 Gb/s
    (tmp_path / "my.yaml").write_text(text.replace("tag: datasheet", "tag: hearsay", 1))
    assert model("run", "-c", "latency", "--set", "nic=./my.yaml", folder=tmp_path,
                 status=1).startswith("p2pnic model: ./my.yaml:6: link_lanes: unknown tag hearsay")


@pytest.mark.parametrize("words, status, text", [
    ([], 2, "usage: p2pnic model"), (["run"], 2, "usage: p2pnic model"),
    (["walk"], 2, "no action 'walk'"), (["whatif", "port"], 2, "did you mean 'ports'?"),
    (["run", "-c", "nothing"], 1, "scenarios/nothing.yaml: No such file"),
    (["run", "-c", "latency", "--set", "frame=1"], 1, "frame: '1': want a number from 64 to 9018"),
    (["run", "-c", "latency", "--set", "nic.clock=0 GHz"], 1,
     "nic.clock: 0 GHz: want 0.001 to 100 GHz"),
    (["run", "-c", "latency", "--set", "nic.clock=1 ns"], 1, "nic.clock: 1 ns: want a number, or"),
    (["run", "-c", "latency", "--set", "nic=pex9797"], 1,
     "pex9797.yaml:3: a file of role switch, where one of role nic is due"),
    (["run", "-c", "latency", "--set", "nic.speed=1"], 1, "nic.speed: no such parameter"),
    (["run", "-c", "latency", "--set", "nics=32"], 1, "32 devices under a switch: 31 are possible"),
    (["run", "-c", "latency", "--set", "rate=0.001 Mb/s", "--set", "packets=100000000"], 1,
     "100000000 packets at that rate take longer than 1000000 s"),
    (["figures", "--sweep", "0"], 2, "not a number"),
    (["figures", "-o", "/proc/1/x"], 1, "/proc/1/x: "),
    (["figures", "-o", "/dev/null"], 1, "/dev/null/cpu.gnuplot: Not a directory"),
    (["run", "-c", "latency", "--set", "nic.link_lanes=3"], 1,
     "a link of 3 lanes: want 4, 8 or 16"),
])
def test_mistakes(words, status, text):
    assert text in model(*words, status=status)


def test_validate():
    """Nothing is farther off than it may be, and the note names these parameters."""
    answer = json.loads(model("validate", "-j"))
    assert {line["step"] for line in answer["lines"]} == {1, 2, 3, 4}
    assert all(line["holds"] for line in answer["lines"]) and len(answer["lines"]) > 100
    with open(f"{ROOT}/docs/model.md", encoding="utf8") as file:
        assert f"parameters `{answer['parameters']}`" in file.read(), \
            "parameters changed: a new freeze, with the reason, in docs/model.md"
    assert model("validate").endswith(f"parameters {answer['parameters']}\n")
    wrong = model("validate", "--set", "nic.mac_rate=30 M/s", status=1)
    assert wrong == ""


def test_calibrate():
    assert "program.batch: 33" in model("calibrate", "--set", "program.batch=33", status=1)


def test_calibrate_json():
    """An object a line, as soon as it is found. The whole takes minutes."""
    with subprocess.Popen([P2PNIC, "model", "calibrate", "-j"], stdout=subprocess.PIPE,
                          text=True) as process:
        try:
            fit = json.loads(process.stdout.readline())
        finally:
            process.kill()
    assert fit["parameter"] == "program.receive" and fit["unit"] == "cycles"
    assert abs(fit["model"] - fit["given"]) < fit["given"] / 100


def test_explain():
    out = model("explain", "latency", *quick("rate=10 Gb/s"))
    assert "alone it would carry" in out and "p90 of latency" in out
    # What nobody knows better than to a factor of twelve decides latency.
    assert "nic.mac_latency" in out
    answer = json.loads(model("explain", "latency", "-j", *quick("nic.mac_latency=5 us")))
    names = [row["parameter"] for row in answer["p90"]]
    assert names and "nic.mac_latency" not in names


def test_whatif():
    rows = json.loads(model("whatif", "batch", "-j", *quick()))["rows"]
    dma = {(row["program"], row["label"]): row["dma_per_thousand_packets"] for row in rows}
    assert dma["p2pnic", "batch  1, 64 B, line"] > dma["p2pnic", "batch  8, 64 B, line"]
    assert {row["program"] for row in rows} == {"p2pnic", "paper"}


def texts(svg):
    """(text, left, right, top, bottom) of each text of a figure that is not turned; 0.7 em a
    letter."""
    form = (r'translate\(([\d.-]+),([\d.-]+)\)"[^>]* font-size="([\d.]+)" +text-anchor="(\w+)">'
            r"\s*<text>([^<]+)</text>")
    for x, y, size, anchor, text in re.findall(form, svg):
        x, y, size = float(x), float(y), float(size)
        left = x - {"start": 0, "middle": 0.5, "end": 1}[anchor] * 0.7 * size * len(text.strip())
        yield text, left, left + 0.7 * size * len(text.strip()), y - 0.8 * size, y


def check_texts(svg):
    """None lies on another, and none is cut off."""
    found = list(texts(svg))
    width, height = map(int, re.search(r'width="(\d+)" height="(\d+)"', svg).groups())
    for text, left, right, top, bottom in found:
        assert 0 <= left and right <= width and 0 <= top and bottom <= height, text
    for a, b in itertools.combinations(found, 2):
        assert a[2] <= b[1] or b[2] <= a[1] or a[4] <= b[3] or b[4] <= a[3], (a, b)
    return {text for text, *_ in found}


@pytest.mark.skipif(not shutil.which("gnuplot"), reason="no gnuplot")
def test_figures(tmp_path):
    out = model("figures", "--sweep", "1", "-o", "f", *quick("packets=100"), folder=tmp_path)
    assert "our firmware (Wr)" in out and "published Wr, routed" in out
    numbers = json.load(open(tmp_path / "f/figures.json", encoding="utf8"))
    assert numbers["draws"] == 1 and len(numbers["points"]) > 70
    out = model("figures", "-j", "--sweep", "1", "-o", "f", *quick("packets=100"), folder=tmp_path)
    assert json.loads(out) == numbers
    for name in ("throughput-1", "throughput-4", "latency-1g", "latency-10g", "cpu"):
        assert (tmp_path / f"f/{name}.png").stat().st_size > 5000
        seen = check_texts((tmp_path / f"f/{name}.svg").read_text("utf8"))
        assert "our firmware (Wr)" in seen
        if name.startswith("throughput"):
            assert {"busiest:", "ingress core 100 %", "wire 100 %", "calibration point"} <= seen
