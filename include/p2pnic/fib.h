/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FIB images: longest-prefix-match tables compiled by the host, read by firmware.
 *
 * An image maps an address to a 16-bit next-hop index (adjacency.h); 0 is "no route". There is one
 * image for IPv4 and one for IPv6, in BAR2 from P2PNIC_BAR2_FIB on, 64-byte aligned, at bar_offsets
 * that the driver chooses. It begins with a header; everything inside is addressed by offsets from
 * the image's first byte, so an image may be placed anywhere and copied as it is.
 *
 * Writing (host): the image in force is changed in place. Every word the host changes is written by
 * one aligned 8-byte store. New parts are written first, into memory that no reader can reach;
 * then, by release stores, the words that publish them. What was unlinked is used again only when
 * an epoch has passed on every NIC (registers.h, P2PNIC_REG_EPOCH).
 *
 * Reading (device): a lookup reads the word that publishes (acquire), then what it points to. It
 * never reads one publishing word twice, so it sees the old route or the new one.
 */
#ifndef P2PNIC_FIB_H
#define P2PNIC_FIB_H

#include "limits.h"
#include "types.h"

#define P2PNIC_FIB_MAGIC             0x42494650u /* "PFIB" */
#define P2PNIC_FIB_VERSION           1u
/* A line trie for IPv6 with TABLE, WIDE and LONG nodes; NICs take it from contract 2.6 on. Version
 * 2, which they take too, has no LONG nodes. */
#define P2PNIC_FIB_VERSION_2         2u
#define P2PNIC_FIB_VERSION_WIDE      3u
#define P2PNIC_FIB_VERSION_WIDE_FROM 0x00020006u
#define P2PNIC_FIB_ALIGN             64u

enum p2pnic_fib_kind {
	P2PNIC_FIB_STATE_JUMP = 1, /* IPv4 or IPv6: the published baseline */
	P2PNIC_FIB_LINE_TRIE = 2,  /* IPv4 or IPv6: the whole Internet in 2 MiB; described below */
};

struct p2pnic_fib_header {
	uint32_t magic;   /* (host) P2PNIC_FIB_MAGIC */
	uint16_t version; /* (host) 1, 2 or 3: P2PNIC_FIB_VERSION… */
	uint8_t family;   /* (host) 4 or 6 */
	uint8_t kind;     /* (host) enum p2pnic_fib_kind */
	uint64_t
		bytes; /* (host) room of the image: nothing in it points beyond; 64-byte multiple */
	_Atomic uint64_t root; /* (host) publishes: offset of the table in force */
	uint8_t reserved[40];
};
P2PNIC_ASSERT_SIZE(struct p2pnic_fib_header, 64);
P2PNIC_ASSERT_OFFSET(struct p2pnic_fib_header, bytes, 8);
P2PNIC_ASSERT_OFFSET(struct p2pnic_fib_header, root, 16);

/* An IPv6 address in host order: high holds the first eight octets, the first in its top byte. */
struct fib_ipv6 {
	uint64_t high;
	uint64_t low;
};

/*
 * The state-jump table (GAMT, Li et al., ANCS 2013; the NIC-driven router's table, Ueno et al.
 * 2022): a multi-bit trie with leaves pushed down, stored as rows of {information, jump}.
 *
 * A lookup begins with (information, jump) = (0, 1). At each stride it reads entry
 * [information + next `stride[jump]` bits of the address] of level `jump`; that entry is again
 * {information, jump}. Jump 0 ends it and information is the next hop; otherwise information is the
 * first entry of a row in level `jump`.
 *
 * header.root leads to this descriptor, the levels follow it. A change writes a whole new table
 * beside the one in force and flips header.root: the room of the image holds two.
 */
#define P2PNIC_STATE_JUMP_LEVELS_MAX 31u

struct p2pnic_state_jump {
	uint32_t levels;    /* (host) 1 to P2PNIC_STATE_JUMP_LEVELS_MAX */
	uint8_t stride[32]; /* (host) bits of level [1..levels]; they sum up to 32 or 128 */
	uint8_t reserved[28];
	/* (host) level [1..levels]: its first entry, counted from the descriptor */
	uint32_t first[32];
	uint32_t entries[32]; /* (host) level [1..levels]: number of entries */
};
P2PNIC_ASSERT_SIZE(struct p2pnic_state_jump, 320);
P2PNIC_ASSERT_OFFSET(struct p2pnic_state_jump, first, 64);

/* An entry: information in bits 0–23, jump in bits 24–31. */
typedef uint32_t p2pnic_state_jump_entry;
#define P2PNIC_STATE_JUMP_ENTRY(information, jump)                                                 \
	((uint32_t)(information) | (uint32_t)(jump) << 24)
#define P2PNIC_STATE_JUMP_INFORMATION(entry) ((entry)&0xffffffu)
#define P2PNIC_STATE_JUMP_JUMP(entry)        ((entry) >> 24)

/*
 * --- The line trie -------------------------------------------------------------------------------
 *
 * Purpose: all routes of the Internet in the memory of a NIC, two lines read for an IPv4 lookup. On
 * the tables of 2026-03 with 64 next hops: 1.10 MiB for 1,168,945 IPv4 routes. A NIC's memory and a
 * processor's second-level cache are small alike, and what is not read costs nothing; so size and
 * the number of cache lines a lookup touches are the same goal twice.
 *
 * Shape. A trie that looks at 16 bits of the address first (the root: 65,536 entries in a row),
 * then at 8 bits at a time. Leaves are pushed down: a slot that a route covers holds that route's
 * next hop itself, so a lookup ends where it finds a leaf and never steps back. IPv4 needs the root
 * and, below it, one node for nearly every address (a second for routes longer than /24); IPv6 up
 * to fourteen.
 *
 * Why 16 and 8: leaf-pushed and with equal neighbours merged, the IPv4 table is 474,000 address
 * ranges; 46,000 of the 65,536 /16s are one range, 14,000 have 2 to 32, 4,700 have more (72 on
 * average, two thirds of all ranges). The same encodings with other roots, K = 64, in MiB: 13 bits
 * 1.91, 14 bits 1.50, 15 bits 1.27, 16 bits 1.10, 17 bits 1.36, 18 bits 1.98; and below 16 bits
 * boundaries need two bytes. For IPv6 (280,000 prefixes, 147,000 ranges) the same shape takes 1.03
 * MiB; version 3, below, 1.33.
 *
 * An entry is 32 bits and says where a node is *and what it looks like*, so the node's first read
 * is already the one that matters:
 *
 *   bits  0–8   shape: how the node is laid out
 *   bits  9–11  type
 *   bits 12–31  unit: the node begins at byte 8 · unit of the image (8 MiB at most)
 *
 *     31                          12 11  9 8          0
 *    ┌──────────────────────────────┬─────┬────────────┐
 *    │ unit                         │type │ shape      │
 *    └──────────────────────────────┴─────┴────────────┘
 *
 * A node maps 8 bits of the address, its key, to a leaf (next hop below 256, one byte) or to an
 * entry. 256 slots hold runs of equal values; a node stores each run once, in one of four types:
 *
 *   RANGES of bytes: count = shape (0–31). `count` bytes: the first slot of each run but the first;
 *     then count + 1 leaf bytes. The result is leaf[number of boundaries ≤ key]. At most 63 bytes,
 *     and never across a line of 64: one compare of a vector register finds the rank.
 *
 *         key 9 in    3  8 40 │ a  b  c  d         3 ≤ 9, 8 ≤ 9, 40 > 9: rank 2, leaf c
 *
 *   BITMAP of bytes: for more than 32 runs. Four parts of 64 slots, one behind the other; a part is
 *     a 64-bit map, where a bit says "a run begins here" (never bit 0), then one leaf byte a run.
 *     Parts fill whole units; shape holds the size in units, less 2, of the first three, three bits
 *     each. A part is 9 to 72 bytes: one line mostly, two at times.
 *
 *   RANGES of entries, BITMAP of entries: nodes with children, or next hops above 255 (values are
 *     entries, 4 bytes).
 *     RANGES: shape = count; the boundaries (never across a line), zero bytes up to a multiple of 8
 *       (an entry shares its 8-byte word with entries only), then count + 1 entries.
 *     BITMAP: four 64-bit maps (never bit 0 of the first), four bytes (the runs that begin in the
 *       maps before: 0, c0, c0+c1, c0+c1+c2), four zero bytes, then the entries.
 *
 *   LEAF: the result itself; unit is the next hop. In the root only for next hops above 255; others
 *     are RANGES with count 0 whose one leaf byte lies in a table of the 256 leaves that every
 *     image has, at P2PNIC_LINE_TRIE_LEAVES. So a lookup that ends in the root does exactly what
 *     the others do, and a processor that guesses branches has none to guess wrong (that alone
 *     doubled the speed).
 *
 * Worked example: 192.0.2.0/24 → 7 and 192.0.2.1/32 → 9 alone.
 *   root[0xc000] = {RANGES of entries, count 2}: boundaries 2, 3; entries leaf 0, child, leaf 0.
 *   child = {RANGES of bytes, count 2}: boundaries 1, 2; leaves 7, 9, 7. All other entries: leaf 0.
 *
 * Version 3, for IPv6. In version 1 an IPv6 lookup meets nodes of four types in any order, and what
 * costs is less the reads than the branches that no processor guesses. Version 3 has three more
 * types, and says by the depth which a node can be:
 *
 *   depth 16 to 32   RANGES of entries (2 to 32 runs), TABLE (33 and more)
 *   depth 16         also LONG
 *   depth 32         also WIDE
 *   from depth 40    RANGES, BITMAP, RANGES of entries, TABLE
 *
 *   TABLE: BITMAP of entries with shape 32: 256 entries in a row, one for each key.
 *   WIDE: RANGES with shape 32 + count (1–15): a node for 16 bits of the address, for all that is
 *     inside a /32 and has at most 16 runs; else that is two levels of nodes. `count` boundaries
 *     of 2 bytes, ascending; then count + 1 next hops of 2 bytes, so any next hop. At most 62
 *     bytes, all in one line.
 *   LONG: RANGES of entries with shape 32 + count (0–16): a node for 32 bits of the address, for a
 *     /16 with at most 17 runs; else that is up to four levels of nodes. `count` boundaries of 4
 *     bytes, ascending, in one line; zero bytes up to a multiple of 8; then count + 1 entries. A
 *     /48 that longer routes lie in is a run of its own; its entry leads to a node at depth 48. So
 *     in a small table, of a router at the edge, one step tells all that the first 48 bits do.
 *   LEAF: every leaf that is an entry, also in the root.
 *
 * Down to depth 32 there are two types, and one code for both: a TABLE's count is 0, so its rank is
 * the key alone. A WIDE node is a compare of sixteen numbers, so is a LONG one.
 *
 * A lookup may read up to 64 bytes around what it needs: whole lines inside header.bytes, and the
 * last 8 bytes of the image belong to no node; in version 3 the last 64, and it may read 64 bytes
 * from where a node begins.
 *
 * Changing it. A node's bytes never change while a reader may see them, with one exception: an
 * entry inside a node is a publishing word like those of the root. A change makes the touched node
 * anew in free memory, then stores the one entry that leads to it. A route of length 17 to 24
 * touches one node: some 70 bytes and one entry. Nodes have one parent each, so a node can be moved
 * at any time: that is how the host keeps the image compact.
 *
 * Literature: leaf pushing and controlled strides from Srinivasan and Varghese (1998);
 * popcount-indexed leaves from tree bitmap and Poptrie (SIGCOMM 2015); ranges under a direct index
 * from DXR (CCR 2012). Ours: the shape in the entry, two encodings chosen per node, parts that keep
 * to a line.
 */
typedef _Atomic uint32_t p2pnic_fib_entry;

enum p2pnic_line_trie_type {
	P2PNIC_LINE_TRIE_RANGES = 0,
	P2PNIC_LINE_TRIE_BITMAP = 1,
	P2PNIC_LINE_TRIE_RANGES_OF_ENTRIES = 2,
	P2PNIC_LINE_TRIE_BITMAP_OF_ENTRIES = 3,
	P2PNIC_LINE_TRIE_LEAF = 4,
};

#define P2PNIC_LINE_TRIE_ENTRY(unit, type, shape)                                                  \
	((uint32_t)(unit) << 12 | (uint32_t)(type) << 9 | (uint32_t)(shape))
#define P2PNIC_LINE_TRIE_UNIT(entry)   ((entry) >> 12)
#define P2PNIC_LINE_TRIE_TYPE(entry)   (((entry) >> 9) & 7u)
#define P2PNIC_LINE_TRIE_SHAPE(entry)  ((entry)&0x1ffu)
#define P2PNIC_LINE_TRIE_OFFSET(entry) (((entry) >> 9) & ~7u) /* unit · 8: bytes from the image */

#define P2PNIC_LINE_TRIE_ROOT_BITS  16u
#define P2PNIC_LINE_TRIE_ROOT       64u      /* p2pnic_fib_entry [65536] */
#define P2PNIC_LINE_TRIE_LEAVES     0x40040u /* 256 units; unit n begins with the byte n */
#define P2PNIC_LINE_TRIE_NODES      0x40840u /* nodes, up to header.bytes less 8 */
#define P2PNIC_LINE_TRIE_UNITS_MAX  (1u << 20)
#define P2PNIC_LINE_TRIE_RANGES_MAX 32u /* runs of a node of type RANGES */
#define P2PNIC_LINE_TRIE_DEPTH_MAX  14u /* nodes below the root, IPv6; IPv4: 2 */

/* Images of versions 2 and 3; LONG: of 3. */
#define P2PNIC_LINE_TRIE_WIDE       0x20u /* shape of RANGES, beside the count */
#define P2PNIC_LINE_TRIE_WIDE_DEPTH 32u   /* bits of the address before a WIDE node */
#define P2PNIC_LINE_TRIE_WIDE_MAX   16u   /* its runs */
#define P2PNIC_LINE_TRIE_LONG       0x20u /* shape of RANGES_OF_ENTRIES, beside the count */
#define P2PNIC_LINE_TRIE_LONG_DEPTH 16u   /* bits of the address before a LONG node */
#define P2PNIC_LINE_TRIE_LONG_BITS  32u   /* of its key */
#define P2PNIC_LINE_TRIE_LONG_MAX   17u   /* its runs */
#define P2PNIC_LINE_TRIE_TABLE      0x20u /* shape of BITMAP_OF_ENTRIES */
#define P2PNIC_LINE_TRIE_SLACK      64u   /* bytes at the image's end that belong to no node */

/* The entry of a leaf; in images of versions 2 and 3 always of type LEAF. */
#define P2PNIC_LINE_TRIE_NEXT_HOP(next_hop)                                                        \
	((next_hop) < 256u ? P2PNIC_LINE_TRIE_ENTRY(P2PNIC_LINE_TRIE_LEAVES / 8u + (next_hop),     \
				     P2PNIC_LINE_TRIE_RANGES, 0)                                   \
			   : P2PNIC_LINE_TRIE_ENTRY(next_hop, P2PNIC_LINE_TRIE_LEAF, 0))

_Static_assert(
	P2PNIC_LINE_TRIE_LEAVES == P2PNIC_LINE_TRIE_ROOT + (4u << P2PNIC_LINE_TRIE_ROOT_BITS),
	"leaves follow the root");
_Static_assert(
	P2PNIC_LINE_TRIE_NODES == P2PNIC_LINE_TRIE_LEAVES + 256u * 8u, "nodes follow the leaves");
_Static_assert(sizeof(p2pnic_fib_entry) == 4, "an entry is 32 bits");

#endif
