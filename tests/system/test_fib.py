# SPDX-License-Identifier: BSD-3-Clause
"""`p2pnic fib`: every subcommand and option, next hops of every sort, damaged files, and the exit
status of each."""

import gzip
import ipaddress
import json
import lzma
import os
import random
import subprocess

import pytest

from network import P2PNIC, run

SEED = 5


def fib(*arguments, **options):
    return run(P2PNIC, "fib", *map(str, arguments), **options)


def answer(*arguments):
    """What it prints with -j."""
    done = fib(*arguments, "-j")
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


def refused(*arguments, status=1):
    """What it says on stderr; nothing on stdout."""
    done = fib(*arguments)
    assert done.returncode == status and not done.stdout and done.stderr, done
    return done.stderr


@pytest.fixture
def table(tmp_path):
    """table(text) → its path"""
    def write(text, name="table.txt"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)
    return write


def of_asn(asn, k=64):
    return 1 + (asn * 2654435761 % 2 ** 32 >> 7) % k


# --- Next hops ------------------------------------------------------------------------------------

def test_families_share_no_next_hop(table):
    """2001:db8:: has the bits of 32.1.13.184, left-aligned, and zeros."""
    path = table("198.51.100.0/24 32.1.13.184\n198.51.101.0/24 2001:db8::\n"
                 "2001:db8:1::/48 2001:db8::\n2001:db8:2::/48 32.1.13.184\n"
                 "2001:db8:3::/48 2001:db8:1::\n2001:db8:4::/48 ::\n198.51.102.0/24 0.0.0.0\n")
    rows = answer("lookup", path, "198.51.100.1", "198.51.101.1", "2001:db8:1::1", "2001:db8:2::1",
                  "2001:db8:3::1", "2001:db8:4::1", "198.51.102.1")
    assert [(r["next_hop"], r["next_hop_address"]) for r in rows] == [
        (1, "32.1.13.184"), (2, "2001:db8::"), (2, "2001:db8::"), (1, "32.1.13.184"),
        (3, "2001:db8:1::"), (4, "::"), (5, "0.0.0.0")]
    assert answer("stat", path)["named_next_hops"] == 5
    text = fib("lookup", path, "198.51.101.1").stdout
    assert text.startswith("198.51.101.1: next hop 2 = 2001:db8::, by 198.51.101.0/24\n")


@pytest.mark.parametrize("hop", ["::ffff:192.0.2.1", "::192.0.2.1", "2001:db8::", "fe80::1", "::1",
                                 "192.0.2.1", "255.255.255.255"])
def test_printed_as_named(table, hop):
    """IPv4-mapped addresses are IPv6, and stay so."""
    path = table(f"198.51.100.0/24 192.0.2.1\n198.51.101.0/24 {hop}\n2001:db8::/32 {hop}\n"
                 f"::ffff:198.51.100.0/120 {hop}\n")
    rows = answer("lookup", path, "198.51.100.1", "198.51.101.1", "2001:db8::1",
                  "::ffff:198.51.100.1")
    number = 1 if hop == "192.0.2.1" else 2
    assert [ipaddress.ip_address(r["next_hop_address"]) for r in rows] == \
        [ipaddress.ip_address(a) for a in ("192.0.2.1", hop, hop, hop)]
    assert [r["next_hop"] for r in rows] == [1, number, number, number]
    assert rows[3]["route"] == "::ffff:198.51.100.0/120"


@pytest.mark.parametrize("order", [1, -1])
def test_as_numbers_and_addresses(table, order):
    """The two sorts have numbers of their own, whichever comes first, and in several files."""
    lines = ["198.51.100.0/24 64500", "198.51.101.0/24 192.0.2.1", "2001:db8::/32 fe80::1",
             "2001:db8:1::/48 64501"][::order]
    files = [table("\n".join(lines)), *[table(line, f"{k}.txt") for k, line in enumerate(lines)]]
    for paths in (files[:1], files[1:]):
        rows = answer("lookup", "-k", 4, *paths, "198.51.100.1", "198.51.101.1", "2001:db8::1",
                      "2001:db8:1::1")
        named = [5, 6][::order]
        assert [r["next_hop"] for r in rows] == [of_asn(64500, 4), named[0], named[1],
                                                 of_asn(64501, 4)]
        assert [r.get("next_hop_address") for r in rows] == [None, "192.0.2.1", "fe80::1", None]
    assert answer("check", "-r", 100, files[0])["ipv4"]["mismatches"] == 0


def test_diff_knows_next_hops_by_address(table):
    """Not by the order in which each file names them."""
    old = table("198.51.100.0/24 192.0.2.1\n198.51.101.0/24 192.0.2.2\n", "old")
    for text, changed in (("198.51.101.0/24 192.0.2.2\n198.51.100.0/24 192.0.2.1\n", 0),
                          ("198.51.100.0/24 192.0.2.9\n198.51.101.0/24 192.0.2.2\n", 1),
                          ("198.51.100.0/24 2001:db8::\n198.51.101.0/24 192.0.2.1\n", 2),
                          ("198.51.100.0/24 64500\n198.51.101.0/24 192.0.2.2\n", 1)):
        d = answer("diff", old, table(text, "new"))["ipv4"]
        assert (d["added"], d["removed"], d["replaced"]) == (0, 0, changed), text


def test_too_many_next_hops(table):
    lines = [f"10.{n >> 8}.{n & 255}.0/24 192.168.{n >> 8}.{n & 255}" for n in range(4096)]
    assert answer("stat", table("\n".join(lines[:4095])))["named_next_hops"] == 4095
    for line, text in ((4096, lines), (4096, lines[:4095] + ["11.0.0.0/8 1"]),
                       (4033, ["11.0.0.0/8 1"] + lines)):
        said = refused("stat", table("\n".join(text)))
        assert f"table.txt:{line}: more than 4095 next hops" in said


def test_parts_of_an_image(table):
    """All of it has a name. A router's few IPv6 routes are one node, and what is behind 48 bits."""
    edge = "fd00:18:%x::/48 %d\n"
    text = "".join(edge % (k, k) for k in range(4)) + "fd00::1/128 9\nfd00::/64 8\n2a00::/16 7\n"
    for path in (table(text), "synthetic"):
        for stat in (s for family, s in answer("stat", path).items() if family.startswith("ipv")):
            parts = {p["part"]: p["bytes"] for p in stat["parts"]}
            assert 0 <= parts["gaps"] < 0.03 * stat["image_bytes"], parts
    parts = {p["part"]: p for p in answer("stat", table(text))["ipv6"]["parts"]}
    assert parts["long ranges of entries"] == {
        "part": "long ranges of entries", "count": 1, "bytes": 56}
    steps = answer("lookup", table(text), "fd00:18:2::1", "fd00::1", "fd00:0:0:1::1")
    assert [[s["what"] for s in a["path"]][:2] for a in steps] == \
        [["root", "long ranges of entries"]] * 3
    assert [len(a["path"]) for a in steps] == [2, 12, 4]


# --- Subcommands ----------------------------------------------------------------------------------

def random_table(seed, n=600):
    """[(network, AS number)], nested and of all lengths."""
    dice = random.Random(seed)
    routes = {}
    while len(routes) < n:
        if dice.random() < 0.5:
            bits, length = dice.choice((10, 11)) << 24 | dice.getrandbits(24), dice.randint(0, 32)
        else:
            bits = 0x20010DB8 << 96 | dice.getrandbits(20) << 76 | dice.getrandbits(8)
            length = dice.randint(0, 128)
        make = ipaddress.IPv4Network if bits < 2 ** 32 else ipaddress.IPv6Network
        net = make((bits, length), strict=False)
        routes[net] = dice.randint(0, 2 ** 32 - 1)
    return routes


def longest(routes, address):
    address = ipaddress.ip_address(address)
    nets = [net for net in routes if net.version == address.version and address in net]
    return max(nets, key=lambda net: net.prefixlen, default=None)


def as_text(routes):
    return "".join(f"{net} {asn}\n" for net, asn in routes.items())


@pytest.mark.parametrize("kind", ["line-trie", "state-jump"])
def test_lookup_and_check(table, kind):
    routes = random_table(SEED)
    path = table(as_text(routes))
    dice = random.Random(SEED)
    addresses = [str(dice.choice((net[0], net[-1], net[0] - 1 if int(net[0]) else net[0])))
                 for net in routes]
    rows = answer("lookup", "-t", kind, "--next-hops", 9, path, *addresses)
    assert len(rows) == len(addresses)
    for address, row in zip(addresses, rows):
        match = longest(routes, address)
        assert row["address"] == str(ipaddress.ip_address(address))
        assert row.get("route") == (str(match) if match else None)
        assert row["next_hop"] == (of_asn(routes[match], 9) if match else 0), row
        assert row["path"][0]["depth"] == 0 and all(step["reads"] for step in row["path"])
    checked = answer("check", "--table", kind, "--random", 5000, "--seed", 7, path)
    assert checked["seed"] == 7
    for family in ("ipv4", "ipv6"):
        one = checked[family]
        assert one["mismatches"] == 0 and one["valid"] and one["random_addresses"] == 5000
        assert one["routes"] == sum(f"ipv{net.version}" == family for net in routes)
        assert one["boundary_addresses"] == 6 * one["routes"]
    text = fib("check", "-t", kind, "-r", 10, path)
    assert text.returncode == 0 and [line.split()[-2:]
                                     for line in text.stdout.splitlines()] == [[
                                         "0", "mismatches"]] * 2


def test_lookup_text(table):
    path = table("198.51.100.0/24 192.0.2.1\n198.51.100.0/32 64500\n")
    done = fib("lookup", path, "198.51.100.0", "198.51.100.1", "198.51.99.1", "::1")
    assert done.returncode == 0
    heads = [line for line in done.stdout.splitlines() if line[0] != " "]
    assert heads == [f"198.51.100.0: next hop {of_asn(64500)}, by 198.51.100.0/32",
                     "198.51.100.1: next hop 65 = 192.0.2.1, by 198.51.100.0/24",
                     "198.51.99.1: no route", "::1: no route"]
    assert done.stdout.splitlines()[1].split()[:3] == ["bits", "0-16", "root"]


def test_of_two_lines_the_last_counts(table):
    first = table("198.51.100.0/24 192.0.2.1\n198.51.100.0/24 192.0.2.2\n", "1")
    assert answer("lookup", first, "198.51.100.1")[0]["next_hop_address"] == "192.0.2.2"
    second = table("198.51.100.0/24 192.0.2.1\n", "2")
    assert answer("lookup", first, second, "198.51.100.1")[0]["next_hop_address"] == "192.0.2.1"


@pytest.mark.parametrize("kind", ["line-trie", "state-jump"])
def test_stat(table, kind):
    routes = random_table(SEED + 1)
    path = table(as_text(routes))
    stat = answer("stat", "-t", kind, "-k", 5, path)
    assert (stat["table"], stat["next_hops"], stat["named_next_hops"]) == (kind, 5, 0)
    for family in ("ipv4", "ipv6"):
        one = stat[family]
        assert one["routes"] == sum(f"ipv{net.version}" == family for net in routes)
        assert sum(part["bytes"] for part in one["parts"]) == one["image_bytes"]
        for traffic in ("uniform", "covered"):
            cost = one["lookup"][traffic]
            assert (0 < cost["reads_mean"] <= cost["reads_worst"]
                    and cost["lines_mean"] <= cost["lines_worst"])
    assert stat["image_bytes"] == stat["ipv4"]["image_bytes"] + stat["ipv6"]["image_bytes"]
    text = fib("stat", "--table", kind, "-k", 5, path).stdout
    assert (f"together: {stat['image_bytes']} bytes" in text and "IPv4: " in text
            and "IPv6: " in text)
    only = table("2001:db8::/32 1\n", "six")
    assert "ipv4" not in answer("stat", "-t", kind, only)
    assert "IPv4: " not in fib("stat", "-t", kind, only).stdout


@pytest.mark.parametrize("kind", ["line-trie", "state-jump"])
def test_diff(table, kind):
    old, new = random_table(SEED + 2), random_table(SEED + 3)
    kept = dict(list(old.items())[:300])
    new.update(kept)
    for net in list(kept)[:50]:
        new[net] = (kept[net] + 1) % 2 ** 32
    path = table(as_text(old), "old"), table(as_text(new), "new")
    d = answer("diff", "-t", kind, *path)
    for family in ("ipv4", "ipv6"):
        a, b = ({net: of_asn(asn) for net, asn in routes.items() if f"ipv{net.version}" == family}
                for routes in (old, new))
        one = d[family]
        assert (one["added"], one["removed"]) == (len(b.keys() - a.keys()),
                                                  len(a.keys() - b.keys()))
        assert one["replaced"] == sum(a[net] != b[net] for net in a.keys() & b.keys())
        assert one["patch_bytes"] > 0 and one["patch_writes"] > 0
        assert 0 < one["fresh_image_bytes"] <= one["image_bytes"]
    same = fib("diff", "-t", kind, path[0], path[0])
    assert same.returncode == 0
    assert "ipv4: 0 added, 0 removed, 0 replaced; patches of 256 changes: 0 bytes" in same.stdout
    low = (table("".join(f"2001:db8::{n:x}/{127 + n % 2} 1\n" for n in range(2, 40, step)),
                 f"low{step}") for step in (2, 3))
    d = answer("diff", "-t", kind, *low)["ipv6"]
    a, b = ({(n, n % 2) for n in range(2, 40, step)} for step in (2, 3))
    assert (d["added"], d["removed"], d["replaced"]) == (len(b - a), len(a - b), 0)
    gone = answer("diff", table("198.51.100.0/24 1\n", "a"), table("2001:db8::/32 1\n", "b"))
    assert [gone[f][k] for f in ("ipv4", "ipv6") for k in ("added", "removed")] == [0, 1, 1, 0]


def test_synthesize(table):
    """The same for the same seed; what it prints, the other subcommands read."""
    done = fib("synthesize")
    assert done.returncode == 0
    assert done.stdout == fib("synthesize", "--seed", "1").stdout != fib(
        "synthesize", "-s", 2).stdout
    lines = done.stdout.splitlines()
    assert len(lines) == 1168945 + 279855
    assert [row["prefix"] + f" {row['asn']}" for row in answer("synthesize")] == lines
    path = table(done.stdout)
    made, read = answer("stat", "synthetic"), answer("stat", path)
    assert made["image_bytes"] == read["image_bytes"] and made["ipv4"]["routes"] == 1168945
    assert answer("diff", path, "synthetic")["ipv4"]["replaced"] == 0
    # Later routes replace those of the synthetic table, and earlier ones are replaced.
    net, asn = lines[5].split()
    mine = table(f"{net} 192.0.2.1\n", "mine")
    address = net.split("/")[0]
    probe = str(ipaddress.ip_network(net)[-1])
    assert address != probe
    assert answer("lookup", "synthetic", mine, probe)[0].get("next_hop_address") in (
        "192.0.2.1", None)
    assert answer("lookup", mine, "synthetic", probe)[0].get("next_hop_address") is None


def test_xz_and_line_ends(table):
    text = "# table\r\n\r\n \t198.51.100.0/24\t64500 # x\r\n198.51.101.0/24   64501"
    plain = answer("stat", table(text))
    assert plain["ipv4"]["routes"] == 2
    packed = table(lzma.compress(text.encode()), "table.xz")
    assert answer("stat", packed)["image_bytes"] == plain["image_bytes"]
    two = table(lzma.compress(b"198.51.100.0/24 64500\n198.51.10")
                + lzma.compress(b"1.0/24 64501\n"), "two.xz")
    assert answer("stat", two)["ipv4"]["routes"] == 2


def test_empty_is_said(table):
    """A table may be empty if its file says so; the text of one that was cut cannot."""
    empty = table("# nothing today\nempty\n", "empty")
    full = table("198.51.100.0/24 1\n")
    assert "ipv4" not in answer("stat", empty)
    assert fib("stat", empty).stdout == "together: 0 bytes (0.000 MiB)\n"
    assert answer("diff", full, empty)["ipv4"]["removed"] == 1
    assert answer("diff", empty, full)["ipv4"]["added"] == 1
    assert "ipv4" not in answer("check", empty)
    assert answer("lookup", empty, "198.51.100.1")[0]["next_hop"] == 0
    for text in ("empty\n198.51.100.0/24 1\n", "198.51.100.0/24 1\nempty\n"):
        assert "the line 'empty' stands in a table that is not" in refused("stat", table(text))
    assert "'empty' is no prefix" in refused("stat", table("empty empty\n"))


# --- Damage ---------------------------------------------------------------------------------------

GOOD = "198.51.100.0/24 192.0.2.1\n"


DAMAGE = [
    ("", 1, "ends without a route"),
    ("\n\n", 2, "ends without a route"),
    ("# a\n# b\n", 2, "ends without a route"),
    ("\0" * 4096, 1, "byte 0x00"),
    (GOOD + "\0", 2, "byte 0x00"),
    (GOOD + "198.51.101.0/24 192.0.2.1\0junk\n", 2, "byte 0x00"),
    (GOOD + "# a\0b\n", 2, "byte 0x00"),
    (GOOD + "198.51.101.0/24\v192.0.2.1\n", 2, "byte 0x0b"),
    (GOOD + "198.51.101.0/24 192.0.2.1\f\n", 2, "byte 0x0c"),
    (GOOD + "198.51.101.0/24 192.0.2.1\x7f\n", 2, "byte 0x7f"),
    (GOOD + "198.51.101.0/24 192.0.2.1\r198.51.102.0/24 192.0.2.1\n", 2, "byte 0x0d at place 26"),
    (GOOD + "198.51.101.0/24 192.0.2.1\r\r\n", 2, "byte 0x0d"),
    (GOOD + "198.51.101.0/24 192.0.2.1\r", 2, "byte 0x0d"),
    (GOOD + "# Zürich\n", 2, "byte 0xc3"),
    ("\ufeff" + GOOD, 1, "byte 0xef at place 1"),
    (GOOD.encode("utf-16"), 1, "byte 0xff"),
    (GOOD + "198.51.101.0/24 192.0.2.1 more\n", 2, "want PREFIX"),
    (GOOD + "198.51.101.0/24 192.0.2.1 64500\n", 2, "want PREFIX"),
    (GOOD + "198.51.101.0/24\n", 2, "want PREFIX"),
    (GOOD + "198.51.101.0/24 via 192.0.2.1\n", 2, "want PREFIX"),
    (GOOD + "198.51.101.0/33 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "2001:db8::/129 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/024 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "0.0.0.0/00 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/+24 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/-1 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/ 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/24/24 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/255.255.255.0 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/4294967320 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.0/18446744073709551640 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.51.101/24 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "198.051.101.0/24 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "256.51.101.0/24 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "fe80::1%eth0/128 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "2001:db8::1::/64 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "default 192.0.2.1\n", 2, "is no prefix"),
    (GOOD + "9" * 100 + "/8 1\n", 2, "is no prefix"),
    (GOOD + "198.51.101.1/24 192.0.2.1\n", 2, "bits set beyond its length"),
    (GOOD + "2001:db8::1/127 192.0.2.1\n", 2, "bits set beyond its length"),
    (GOOD + "128.0.0.0/0 192.0.2.1\n", 2, "bits set beyond its length"),
    (GOOD + "::1/0 192.0.2.1\n", 2, "bits set beyond its length"),
    (GOOD + "198.51.101.0/24 4294967296\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 18446744073709551617\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 064500\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 0x10\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 +1\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 AS64500\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 192.0.2.01\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 192.0.2.1/32\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/24 192.0.\n", 2, "neither an AS number nor an address"),
    (GOOD + "198.51.101.0/2", 2, "want PREFIX"),
    (GOOD + "198.51.101.0/24 1" + " " * 65536 + "\n", 2, "a line of 65536 bytes or more"),
    (GOOD + "#" * 65536 + "\n", 2, "a line of 65536 bytes or more"),
    (GOOD + "#" * 200000, 2, "a line of 65536 bytes or more"),
]


@pytest.mark.parametrize("text, line, reason", DAMAGE, ids=range(len(DAMAGE)))
def test_damage(table, text, line, reason):
    """File, line and reason, whichever subcommand reads it, plain and from xz; nothing on
    stdout."""
    path = table(text)
    for arguments in (("stat", path), ("check", path), ("lookup", path, "198.51.100.1"),
                      ("diff", path, path), ("stat", "-j", path)):
        said = refused(*arguments)
        assert said.startswith(f"p2pnic fib: {path}:{line}: ") and reason in said, said
    packed = table(lzma.compress(text.encode() if isinstance(text, str) else text), "table.xz")
    said = refused("stat", packed)
    assert said.startswith(f"p2pnic fib: {packed}:{line}: ") and reason in said, said


def test_every_byte(table):
    """Only those of ASCII text are text, wherever they stand."""
    for byte in range(256):
        if 0x20 <= byte < 0x7f or byte in (9, 10):
            continue
        for text in (b"198.51.100.0/24%c1\n", b"#%c.\n198.51.100.0/24 1\n",
                     b"198.51.100.0/24 1\n%c"):
            said = refused("stat", table(text % byte))
            assert f": byte 0x{byte:02x} at place " in said


def test_longest_line(table):
    assert answer("stat",
                  table("198.51.100.0/24 1 #" + "x" * (65535 - 19) + "\n"))["ipv4"]["routes"] == 1
    assert answer("stat", table("198.51.100.0/24 1 #" + "x" * (65535 - 19)))["ipv4"]["routes"] == 1


def test_cut_and_damaged_xz(table):
    packed = lzma.compress(as_text(random_table(SEED, 9)).encode())
    for cut in range(len(packed)):
        said = refused("stat", table(packed[:cut], "table.xz"))
        assert "table.xz" in said and (cut < 6 or "not a whole xz file" in said), said
    dice = random.Random(SEED)
    for _ in range(100):
        damaged = bytearray(packed)
        damaged[dice.randrange(len(packed))] ^= 1 << dice.randrange(8)
        assert "table.xz" in refused("stat", table(bytes(damaged), "table.xz"))
    assert "not a whole xz file" in refused("stat", table(
        packed + b"\n198.51.100.0/24 1\n", "table.xz"))
    assert "byte 0x1f at place 1 is no text" in refused("stat", table(
        gzip.compress(GOOD.encode()), "table.gz"))


def test_no_file(table, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("nowhere", tmp_path / "link")
    for name, reason in ((".", "is a directory, not a file"), ("pipe", "is a pipe, not a file"),
                         ("none", "No such file"), ("link", "No such file"),
                         ("table.txt/x", "Not a directory")):
        table(GOOD)
        assert f"{tmp_path / name}: {reason}" in refused("stat", tmp_path / name)
    assert "/dev/null: is a device or socket, not a file" in refused("stat", "/dev/null")
    # what was good does not count
    assert "No such file" in refused("stat", table(GOOD), tmp_path / "none")


def test_unreadable(table):
    path = table(GOOD)
    os.chmod(path, 0)
    command = [P2PNIC, "fib", "stat", path]
    if os.geteuid() == 0:
        os.chmod(os.path.dirname(path), 0o755)
        done = run("setpriv", "--reuid", "65534", "--clear-groups", "--regid", "65534", *command)
    else:
        done = run(*command)
    assert done.returncode == 1 and "Permission denied" in done.stderr


# --- Usage ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["stat"], ["lookup"], ["check"], ["diff"], ["diff", "a"],
    ["diff", "a", "b", "c"],
    ["synthesize", "a"], ["lookup", "198.51.100.1"], ["lookup", "table", "also"], ["stat", "-x"],
    ["stat", "-k"], ["stat", "--nonsense"]])
def test_usage(arguments):
    refused(*arguments, status=2)


@pytest.mark.parametrize("option, value", [
    ("-k", "0"), ("-k", "4096"), ("-k", "x"), ("-k", "064"), ("-k", "1x"), ("-k", "-1"), ("-k", ""),
    ("-k", " 1"),
    ("--next-hops", "18446744073709551617"), ("-m", "0"), ("-m", "4294967297"),
    ("--memory", "0x1000"), ("-r", "-1"),
    ("-r", "9223372036854775808"), ("--random", "1e6"), ("-s", "99999999999999999999"),
    ("--seed", "x")])
def test_numbers(table, option, value):
    said = refused("stat", option, value, table(GOOD), status=2)
    assert f"'{value}' is not a number from" in said


def test_kind(table):
    assert "no table 'line'" in refused("stat", "-t", "line", table(GOOD), status=2)


def test_help():
    done = fib("--help")
    assert done.returncode == 0 and not done.stderr and "usage: p2pnic fib" in done.stdout
    assert fib("-h").stdout == done.stdout


def test_lookup_of_no_address(table):
    path = table(GOOD)
    assert "'198.51.100.0/24' is no address" in refused("lookup", path, "198.51.100.0/24")
    assert "'host' is no address" in refused("lookup", path, "198.51.100.1", "host")
    assert "'198.51.100.256' is no address" in refused("lookup", path, "198.51.100.256", status=2)
    assert "'198.51.100.1' is no file" in refused("lookup", "198.51.100.1", path, status=2)


@pytest.mark.parametrize("what", [["stat"], ["check"], ["lookup"], ["diff"]])
def test_no_room(table, what):
    """A table that does not fit is said to be so, of either family."""
    for text, address in (("198.51.100.0/24 1\n", "198.51.100.1"),
                          ("2001:db8::/32 1\n", "2001:db8::1")):
        path = table(text)
        more = {"lookup": [address], "diff": [path]}.get(what[0], [])
        for memory in (64, 300000):
            if memory == 300000:
                path = table("".join(f"10.{n >> 8}.{n & 255}.{n % 251}/32 "
                                     f"{n}\n2001:db8:{n:x}::{n:x}/128 {n}\n"
                                     for n in range(20000)))
                more = {"lookup": [address], "diff": [path]}.get(what[0], [])
            said = refused(*what, "-m", memory, path, *more)
            assert said.startswith("p2pnic fib: ") and "bytes" in said, said


def test_diff_without_room_for_the_patch(table):
    """Each of two tables fits, both together do not."""
    old = table("".join(f"10.{n >> 8}.{n & 255}.0/25 {n}\n" for n in range(8000)), "old")
    new = table("".join(f"11.{n >> 8}.{n & 255}.128/25 {n * 7}\n" for n in range(8000)), "new")
    need = max(answer("stat", path)["image_bytes"] for path in (old, new))
    done = fib("diff", "-m", need + 64, old, new)
    assert done.returncode in (0, 1) and bool(done.stderr) == bool(done.returncode)


def test_output_that_cannot_be_written(table):
    path = table(GOOD)
    for arguments in (["stat", path], ["stat", "-j", path], ["lookup", path, "::1"],
                      ["check", "-r", "1", path], ["diff", path, path], ["synthesize"], ["--help"]):
        with open("/dev/full", "w", encoding="utf8") as full:
            done = subprocess.run([P2PNIC, "fib", *arguments], stdin=subprocess.DEVNULL,
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                                  check=False)
        assert done.returncode == 1, arguments
        assert "standard output: No space left on device" in done.stderr, arguments
        assert done.stderr.count("\n") == 1, arguments
