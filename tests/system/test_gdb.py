# SPDX-License-Identifier: BSD-3-Clause
"""scripts/gdb.py: what a debugger says of the contract's words."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = """
#include "firmware/nic.h"
static p2pnic_ring_word word = P2PNIC_RING_WORD(3, 128);
static p2pnic_next_hop hop = 7, group = P2PNIC_NEXT_HOP(64, 5);
static p2pnic_fib_entry leaf = P2PNIC_LINE_TRIE_NEXT_HOP(9), far = P2PNIC_LINE_TRIE_NEXT_HOP(300),
	node = P2PNIC_LINE_TRIE_ENTRY(1000, P2PNIC_LINE_TRIE_BITMAP, 5);
static p2pnic_state_jump_entry last = P2PNIC_STATE_JUMP_ENTRY(4, 0),
	row = P2PNIC_STATE_JUMP_ENTRY(256, 2);
static struct p2pnic_descriptor sent = {0x800, 64, 3 << 9},
	punted = {0x840, 70, 5 << 9 | P2PNIC_DROP_TTL};
static struct p2pnic_adjacency way = {
	{{2, 0, 0, 0, 0, 9}}, {{2, 0, 0, 0, 0, 1}}, 1500, P2PNIC_ADJACENCY_FORWARD, 2},
	hole = {.kind = P2PNIC_ADJACENCY_BLACKHOLE};
static struct bus_addr bus = {0x100000000};
static struct ring_in in = {.open = true, .epoch = 3, .slots = 256, .dequeued = 10, .completed = 8};
static struct ring_out out, gone;
int main(void)
{
	out = (struct ring_out){.open = true, .epoch = 3, .mask = 255,
		.produced = 12, .published = 10, .limit = 264};
	return (int)(word + hop + group + leaf + far + node + last + row) * (int)bus.value *
		(sent.flags + punted.flags + way.mtu + hole.mtu + in.slots + gone.mask);
}
"""
SAID = {
    "word": "epoch 3, index 128",
    "hop": "adjacency 7",
    "group": "group of 32 buckets from 64",
    "leaf": "next hop 9",
    "far": "next hop 300",
    "node": "bitmap, shape 5, at 0x1f40",
    "last": "next hop 4",
    "row": "row 256 of level 2",
    "sent": "64 bytes at 0x800, tag 0x3",
    "punted": "70 bytes at 0x840, tag 0x5, punted: P2PNIC_DROP_TTL",
    "way": "forward by NIC 2, 02:00:00:00:00:01 to 02:00:00:00:00:09, MTU 1500",
    "hole": "blackhole",
    "bus": "bus 0x100000000",
    "in": "epoch 3, 256 slots, dequeued 10, completed 8",
    "out": "epoch 3, 256 slots, produced 12, published 10, consumed 0, limit 264, held 0",
    "gone": "closed",
}


def test_what_gdb_says(tmp_path):
    (tmp_path / "program.c").write_text(PROGRAM)
    subprocess.run(["cc", "-g", "-O0", "-D_GNU_SOURCE", f"-I{ROOT}", f"-I{ROOT}/include", "-o",
                    "program", "program.c"],
                   cwd=tmp_path, check=True)
    commands = [word for name in SAID for word in ("-ex", f"print {name}")]
    done = subprocess.run(["gdb", "-batch", "-nx", "-x", f"{ROOT}/scripts/gdb.py", *commands,
                           "program"], cwd=tmp_path,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=True)
    said = [line.split(" = ", 1)[1] for line in done.stdout.splitlines() if line.startswith("$")]
    assert said == [("closed" if name == "out" else text)
                    for name, text in SAID.items()], done.stderr
