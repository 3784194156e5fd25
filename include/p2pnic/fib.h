/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FIB images: longest-prefix-match tables compiled by the host, read by firmware.
 *
 * An image maps an address to a 16-bit next-hop index (adjacency.h); 0 is "no route". There is one
 * image for IPv4 and one for IPv6, in BAR2 from P2PNIC_BAR2_FIB on, 64-byte aligned, at bar_offsets
 * that the driver chooses. It begins with a header; everything inside is addressed by offsets from the
 * image's first byte, so an image may be placed anywhere and copied as it is.
 *
 * Writing (host): the image in force is changed in place. Every word the host changes is written by
 * one aligned 8-byte store. New parts are written first, into memory that no reader can reach; then,
 * after a release fence, the words that publish them. What was unlinked is used again only when an
 * epoch has passed on every NIC (registers.h, P2PNIC_REG_EPOCH).
 *
 * Reading (device): a lookup reads the word that publishes (acquire), then what it points to. It
 * never reads one publishing word twice, so it sees the old route or the new one.
 */
#ifndef P2PNIC_FIB_H
#define P2PNIC_FIB_H

#include "limits.h"
#include "types.h"

#define P2PNIC_FIB_MAGIC   0x42494650u /* "PFIB" */
#define P2PNIC_FIB_VERSION 1u
#define P2PNIC_FIB_ALIGN   64u

enum p2pnic_fib_kind {
	P2PNIC_FIB_STATE_JUMP = 1, /* IPv4 or IPv6: the published baseline */
};

struct p2pnic_fib_header {
	uint32_t magic;   /* (host) P2PNIC_FIB_MAGIC */
	uint16_t version; /* (host) P2PNIC_FIB_VERSION */
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
 * The state-jump table (GAMT, Li et al., ANCS 2013; the NIC-driven router's table, Ueno et al. 2022):
 * a multi-bit trie with leaves pushed down, stored as rows of {information, jump}.
 *
 * A lookup begins with (information, jump) = (0, 1). At each stride it reads entry
 * [information + next `stride[jump]` bits of the address] of level `jump`; that entry is again
 * {information, jump}. Jump 0 ends it and information is the next hop; otherwise information is the
 * first entry of a row in level `jump`.
 *
 * header.root leads to this descriptor, the levels follow it. A change writes a whole new table beside
 * the one in force and flips header.root: the room of the image holds two.
 */
#define P2PNIC_STATE_JUMP_LEVELS_MAX 31u

struct p2pnic_state_jump {
	uint32_t levels;    /* (host) 1 to P2PNIC_STATE_JUMP_LEVELS_MAX */
	uint8_t stride[32]; /* (host) bits of level [1..levels]; they sum up to 32 or 128 */
	uint8_t reserved[28];
	uint32_t first
		[32]; /* (host) level [1..levels]: its first entry, counted from the descriptor */
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

#endif
