# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic report`: complete, bounded, without a secret, whether or not the router runs."""

import json
import os
import stat

import pytest

from network import run, P2PNIC
from test_service import Service

SECRETS = ("hunter2", "swordfish", "opensesame", "annsfolder")


@pytest.fixture(name="service")
def service_with_secrets():
    service = Service()
    with open(service.file, "a", encoding="utf8") as file:
        file.write("# bgp password: hunter2\n# MD5 = 'swordfish', of /home/annsfolder/x\n"
                   '# {"auth_token": "opensesame"}\n')
    yield service
    service.close()


def sections(text):
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in text.split("\n== ")[1:]}


def report(service, name, *words):
    path = f"{service.place}/{name}"
    done = run(P2PNIC, "report", "-o", path, *words)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout == f"{path}: read it before you send it\n"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path, encoding="utf8") as file:
        text = file.read()
    assert not [secret for secret in SECRETS if secret in text]
    return text


def test_of_a_router(service):
    text = report(service, "report", "--runtime", service.runtime)
    parts = sections(text)
    shown = [part.split()[-1] for part in parts if part.startswith("p2pnic show")]
    assert shown == ["router", "nic", "port", "ring", "counter", "drop", "kernel", "punt", "tap",
                     "neighbor", "route"]
    assert all(parts[part].strip() for part in parts if part.startswith("p2pnic show"))
    assert "# bgp password: REMOVED" in parts[service.file]
    assert "# MD5 = 'REMOVED', of /home/REMOVED/x" in parts[service.file]
    assert '"auth_token": "REMOVED"' in parts[service.file]
    assert parts["p2pnic --version"].startswith("p2pnic ")
    assert parts[f"p2pnic doctor -c {service.file}"].strip()
    for wanted in ("/proc/version", "/proc/meminfo", "lscpu", "ip -j -s -d link", "Left out"):
        assert parts[wanted].strip(), wanted
    assert "values of keys that sound secret" in parts["Left out"]


def test_without_a_router(service):
    service.process.kill()
    service.process.wait()
    path = f"{service.place}/json"
    done = run(P2PNIC, "report", "-j", "-o", path, "--runtime", service.runtime, "-c", service.file)
    answer = json.loads(done.stdout)
    assert answer["file"] == path and answer["removed"] >= 3
    with open(path, encoding="utf8") as file:
        assert sections(file.read())["Left out"].startswith("\n".join(answer["left_out"]) + "\n")
    assert "all that the router shows: it does not answer" in answer["left_out"]
    parts = sections(report(service, "report", "--runtime", service.runtime, "-c", service.file))
    assert "# bgp password: REMOVED" in parts[service.file]
    assert "all that the router shows: it does not answer" in parts["Left out"]
    parts = sections(report(service, "other", "--runtime", service.runtime))
    assert "the configuration: -c FILE names it" in parts["Left out"]


def test_nothing_is_overwritten(service):
    path = f"{service.place}/there"
    os.symlink(f"{service.place}/nowhere", path)
    for _ in range(2):
        done = run(P2PNIC, "report", "-o", path, "--runtime", service.runtime)
        assert done.returncode == 1 and "File exists" in done.stderr
        assert not os.path.exists(f"{service.place}/nowhere")
        if os.path.islink(path):
            os.unlink(path)
            with open(path, "w", encoding="utf8") as file:
                file.write("mine")
    with open(path, encoding="utf8") as file:
        assert file.read() == "mine"


def test_a_part_is_bounded(service):
    with open(service.file, "a", encoding="utf8") as file:
        file.writelines(f"# line {n} of many\n" for n in range(100000))
    text = report(service, "report", "--runtime", service.runtime, "-c", service.file)
    assert f"{service.file}: all beyond its first 256 KiB" in sections(text)["Left out"]
    assert len(sections(text)[service.file]) < 300000


def test_standard_output_and_words(service):
    done = run(P2PNIC, "report", "-o", "-", "--runtime", service.runtime)
    assert done.returncode == 0 and "\n== Left out\n" in done.stdout
    for words in (["more"], ["-o"], ["--name", "a/b"], ["-j", "-o", "-"]):
        assert run(P2PNIC, "report", *words).returncode == 2
    done = run(P2PNIC, "report", "--runtime", service.runtime, cwd=service.place)
    name, = (name for name in os.listdir(service.place) if name.startswith("p2pnic-report-"))
    assert done.stdout == f"{name}: read it before you send it\n"
