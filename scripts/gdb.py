# SPDX-License-Identifier: BSD-3-Clause
"""Pretty-printers for gdb: gdb -x scripts/gdb.py PROGRAM, or `source scripts/gdb.py` in gdb.

    print n->in[1].mailbox->consumer     epoch 3, index 128
    print *n                             words, next hops, table entries, addresses as what they say

By the names of the contract's types (include/p2pnic): p2pnic_ring_word, p2pnic_next_hop,
p2pnic_fib_entry, p2pnic_state_jump_entry, struct p2pnic_descriptor, p2pnic_adjacency, mac_addr,
bus_addr, and of the firmware's struct ring_in, ring_out."""

import gdb
import gdb.printing

NODES = ["ranges", "bitmap", "ranges of entries", "bitmap of entries", "leaf"]
KINDS = ["none", "forward", "local", "glean", "blackhole", "unreachable", "prohibit", "broadcast"]
LEAVES = 0x40040  # P2PNIC_LINE_TRIE_LEAVES


def name_of(names, index):
    return names[index] if index < len(names) else f"{index}?"


def ring_word(word):
    return f"epoch {word >> 32}, index {word & 0xffffffff}"


def next_hop(word):
    first, log2 = word & 0xffff, word >> 16 & 15
    return f"group of {1 << log2} buckets from {first}" if log2 else f"adjacency {first}"


def fib_entry(word):
    unit, kind, shape = word >> 12, word >> 9 & 7, word & 0x1ff
    if kind == 4:
        return f"next hop {unit}"
    if kind == 0 and shape == 0 and 0 <= unit - LEAVES // 8 < 256:
        return f"next hop {unit - LEAVES // 8}"
    if shape & 0x20 and kind in (0, 3):  # P2PNIC_LINE_TRIE_WIDE, P2PNIC_LINE_TRIE_TABLE
        return (f"wide ranges, {shape & 0x1f} boundaries" if kind == 0 else "table") + (
            f", at {unit * 8:#x}")
    return f"{name_of(NODES, kind)}, shape {shape}, at {unit * 8:#x}"


def state_jump_entry(word):
    information, jump = word & 0xffffff, word >> 24
    return f"row {information} of level {jump}" if jump else f"next hop {information}"


def mac(value):
    return ":".join(f"{int(value['octet'][k]):02x}" for k in range(6))


def adjacency(value):
    kind = name_of(KINDS, int(value["kind"]))
    if kind != "forward":
        return kind
    return (f"forward by NIC {int(value['egress'])}, {mac(value['source'])} to "
            f"{mac(value['destination'])}, "
            f"MTU {int(value['mtu'])}")


def descriptor(value):
    reason = int(value["flags"]) & 0x3f
    return (f"{int(value['length'])} bytes at {int(value['offset']):#x}, tag "
            f"{int(value['flags']) >> 9:#x}" +
            (f", punted: {gdb.Value(reason).cast(gdb.lookup_type('enum p2pnic_drop'))}" if reason
             else ""))


def ring_in(value):
    if not value["open"]:
        return "closed"
    return (f"epoch {int(value['epoch'])}, {int(value['slots'])} slots, dequeued "
            f"{int(value['dequeued'])}, "
            f"completed {int(value['completed'])}")


def ring_out(value):
    if not value["open"]:
        return "closed"
    return (f"epoch {int(value['epoch'])}, {int(value['mask']) + 1} slots, produced "
            f"{int(value['produced'])}, "
            f"published {int(value['published'])}, consumed {int(value['consumed'])}, limit "
            f"{int(value['limit'])}, "
            f"held {int(value['held'])}")


WORDS = {"p2pnic_ring_word": ring_word, "p2pnic_next_hop": next_hop, "p2pnic_fib_entry": fib_entry,
         "p2pnic_state_jump_entry": state_jump_entry}
STRUCTS = {"mac_addr": mac, "bus_addr": lambda value: f"bus {int(value['value']):#x}",
           "p2pnic_adjacency": adjacency, "p2pnic_descriptor": descriptor, "ring_in": ring_in,
           "ring_out": ring_out}


class Printer:
    def __init__(self, text):
        self.text = text

    def to_string(self):
        return self.text


def look_up(value):
    name = value.type.name
    if name in WORDS:
        return Printer(WORDS[name](int(value)))
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT and kind.tag in STRUCTS:
        return Printer(STRUCTS[kind.tag](value))
    return None


gdb.pretty_printers.append(look_up)
