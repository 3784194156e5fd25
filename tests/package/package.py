#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Debian packages: built twice to the same bytes, without a word from lintian, with what they must
have, and as a system has them from installation to purge (life.py).

    tests/package/package.py FOLDER     packages are built below it
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = ("p2pnic", "p2pnic-doc", "p2pnic-dbgsym")


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=900, check=False, **options)
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}"
    return done.stdout


# --- Built ----------------------------------------------------------------------------------------

def build(folder, **environment):
    """{name: path}"""
    run(f"{ROOT}/scripts/deb", folder, env={**os.environ, **environment})
    paths = [f"{folder}/{name}" for name in os.listdir(folder)]
    return {os.path.basename(path).split("_")[0]: path for path in paths if path.endswith(".deb")}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def same_bytes(first):
    """Elsewhere, later, for another user's habits; and not faster."""
    with tempfile.TemporaryDirectory(prefix="p2pnic-package-") as folder:
        second = build(f"{folder}/a longer/place".replace(" ", "-"), TZ="Pacific/Chatham",
                       LANG="C", LC_ALL="C", HOME=folder, DEB_BUILD_OPTIONS="parallel=1 terse")
        for name in NAMES:
            if digest(first[name]) != digest(second[name]):
                kept = f"{os.path.dirname(first[name])}/second"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(os.path.dirname(second[name]), kept)
                raise AssertionError(f"{name}: two builds differ: {first[name]}, {kept}")
    print(f"package: {len(NAMES)} packages, built twice, the same bytes")


# --- Looked at ------------------------------------------------------------------------------------

def lintian(folder):
    """All that it finds, but for misspellings in programs: any three bytes of code may be one."""
    changes, = (name for name in os.listdir(folder) if name.endswith(".changes"))
    root = ["--allow-root"] if os.geteuid() == 0 else []
    said = run("lintian", *root, "--pedantic", "--display-info", "--suppress-tags",
               "spelling-error-in-binary", "--fail-on", "error,warning,info,pedantic",
               f"{folder}/{changes}")
    said = [line for line in said.splitlines() if line[:2] in ("E:", "W:", "I:", "P:")]
    assert not said, said
    print("package: lintian has nothing to say")


def files(package):
    lines = run("dpkg-deb", "--contents", package).splitlines()
    return {line.split()[5].removeprefix("."): line.split()[0] for line in lines}


def contents(packages):
    has = files(packages["p2pnic"])
    wanted = ["/usr/bin/p2pnic", "/usr/share/doc/p2pnic/copyright",
              "/usr/share/doc/p2pnic/p2pnic.spdx.json"]
    for name in os.listdir(f"{ROOT}/docs/man"):
        page = name.removesuffix(".scd")
        wanted.append(f"/usr/share/man/man{page[-1]}/{page}.gz")
    wanted += [f"/usr/share/doc/p2pnic/examples/{name}"
               for name in os.listdir(f"{ROOT}/packaging/examples")]
    wanted += [f"/lib/systemd/system/{name.removesuffix('.in')}"
               for name in os.listdir(f"{ROOT}/packaging") if "@" in name]
    missing = [name for name in wanted if name not in has]
    assert not missing, missing
    others = [name for name, mode in has.items() if mode[8] == "w" or "s" in mode]
    assert not others, others
    has = files(packages["p2pnic-doc"])
    missing = [name for name in os.listdir(f"{ROOT}/docs") if name.endswith(".md")
               and f"/usr/share/doc/p2pnic/docs/{name}" not in has]
    assert not missing, missing


def licences():
    """One for all, and no file that says another."""
    tracked = run("git", "-C", ROOT, "ls-files").splitlines()
    for name in tracked:
        with open(f"{ROOT}/{name}", encoding="utf8") as file:
            head = file.read(2000)
        said = re.search(r"SPDX-License-Identifier: (\S+)", head)
        assert said or not name.endswith((".c", ".h", ".py")), f"{name}: no licence"
        assert not said or said[1] == "BSD-3-Clause", f"{name}: {said[1]}"
    with open(f"{ROOT}/LICENSE", encoding="utf8") as file:
        text = file.read().split("\n\n", 1)[1].split()
    with open(f"{ROOT}/packaging/debian/copyright", encoding="utf8") as file:
        assert text == [word for word in file.read().split("\nLicense: BSD-3-Clause\n")[-1].split()
                        if word != "."], "packaging/debian/copyright is not LICENSE"


def dependencies(package):
    """The list has all that the package depends on, with the versions that are installed."""
    path = "./usr/share/doc/p2pnic/p2pnic.spdx.json"
    listed = json.loads(run("sh", "-c", 'dpkg-deb --fsys-tarfile "$0" | tar -xO "$1"', package,
                            path))
    entry = {row["name"]: row for row in listed["packages"]}
    assert listed["spdxVersion"] == "SPDX-2.3"
    ids = {row["SPDXID"] for row in listed["packages"]} | {listed["SPDXID"]}
    assert all(row[end] in ids for row in listed["relationships"]
               for end in ("spdxElementId", "relatedSpdxElement"))
    needs = run("dpkg-deb", "--field", package, "Depends").split(", ")
    needs = [need.split()[0] for need in needs if need.startswith("lib")]
    assert len(needs) > 5, needs
    for need in needs:
        installed = run("dpkg-query", "-W", "-f", "${Version}", need)
        assert entry[need]["versionInfo"] == installed, need
        assert not entry[need]["licenseComments"].endswith(": "), need
    print(f"package: {len(entry) - 1} packages in its list of what it is made of")


def life(package):
    """In namespaces of its own (life.py)."""
    if os.geteuid() != 0:
        print("package: not run: its life takes root")
        return
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
         sys.executable, "-B", f"{ROOT}/tests/package/life.py", package],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=1500, check=False)
    print(done.stdout, end="")
    assert done.returncode in (0, 77), "its life failed"


def main():
    folder = sys.argv[1]
    licences()
    packages = build(folder)
    assert sorted(packages) == sorted(NAMES), packages
    lintian(folder)
    contents(packages)
    dependencies(packages["p2pnic"])
    life(packages["p2pnic"])
    same_bytes(packages)


if __name__ == "__main__":
    main()
