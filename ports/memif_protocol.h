/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memif 2.0 as it stands on the wire and in shared memory: messages, rings, descriptors.
 *
 * memif ("memory interface") is a virtual Ethernet cable between two processes. They meet on a
 * AF_UNIX SOCK_SEQPACKET socket, exchange file descriptors, and from then on packets pass through
 * shared memory only. The specification is the header memif.h that VPP, libmemif and DPDK share;
 * this is an independent rendering of the same layout.
 *
 *   server (listens)                          client (connects; owns all shared memory)
 *     HELLO        ─────────────────────────▶
 *                  ◀───────────────────────── INIT              (version, id, secret)
 *     ACK          ─────────────────────────▶
 *                  ◀───────────────────────── ADD_REGION + fd   (each; each is ACKed)
 *                  ◀───────────────────────── ADD_RING + fd     (each; fd is the ring's eventfd)
 *                  ◀───────────────────────── CONNECT
 *     CONNECTED    ─────────────────────────▶
 *   either side: DISCONNECT, or just the end of the connection.
 *
 * Rings: one for each direction. The client alone writes `head` and the server alone writes `tail`,
 * in both directions:
 *
 *   client→server   the client fills descriptors and advances head: packets for the server,
 *                   who advances tail when it is done with them
 *   server→client   the client fills descriptors with *empty* buffers and advances head; the server
 *                   puts packets into them, sets their lengths, and advances tail
 *
 * Indices run free over 16 bits and are masked on use; a ring has at most 2^14 slots. Both ends
 * write to the same memory, so everything read from it is hostile: copied once, then checked.
 */
#ifndef P2PNIC_MEMIF_PROTOCOL_H
#define P2PNIC_MEMIF_PROTOCOL_H

#include <p2pnic/types.h>

#define MEMIF_VERSION         0x0200u
#define MEMIF_COOKIE          0x03e31f20u
#define MEMIF_MESSAGE_BYTES   128u
#define MEMIF_NAME_BYTES      32u
#define MEMIF_SECRET_BYTES    24u
#define MEMIF_REASON_BYTES    96u
#define MEMIF_LOG2_RING_MAX   14u
#define MEMIF_MODE_ETHERNET   0u
#define MEMIF_RING_TO_SERVER  0x1u /* ADD_RING flags */
#define MEMIF_RING_MASK_EVENT 0x1u /* ring flags (receiver): do not write the eventfd */
#define MEMIF_DESCRIPTOR_NEXT 0x1u /* descriptor flags: the packet goes on in the next one */

enum memif_message_type {
	MEMIF_ACK = 1,
	MEMIF_HELLO = 2,
	MEMIF_INIT = 3,
	MEMIF_ADD_REGION = 4,
	MEMIF_ADD_RING = 5,
	MEMIF_CONNECT = 6,
	MEMIF_CONNECTED = 7,
	MEMIF_DISCONNECT = 8,
};

struct memif_hello { /* (server) */
	uint8_t name[MEMIF_NAME_BYTES];
	uint16_t version_min;
	uint16_t version_max;
	uint16_t region_max; /* highest index, as are the two below */
	uint16_t ring_to_server_max;
	uint16_t ring_to_client_max;
	uint8_t log2_ring_max;
} __attribute__((packed));

struct memif_init { /* (client) */
	uint16_t version;
	uint32_t id;
	uint8_t mode;
	uint8_t secret[MEMIF_SECRET_BYTES];
	uint8_t name[MEMIF_NAME_BYTES];
} __attribute__((packed));

struct memif_add_region { /* (client) */
	uint16_t index;
	uint64_t bytes;
} __attribute__((packed));

struct memif_add_ring { /* (client) */
	uint16_t flags;
	uint16_t index;
	uint16_t region;
	uint32_t offset;
	uint8_t log2_size;
	uint16_t private_bytes; /* must be 0 */
} __attribute__((packed));

struct memif_disconnect { /* (either) */
	uint32_t code;
	uint8_t reason[MEMIF_REASON_BYTES];
} __attribute__((packed));

struct memif_message {
	uint16_t type;
	union {
		struct memif_hello hello;
		struct memif_init init;
		struct memif_add_region add_region;
		struct memif_add_ring add_ring;
		uint8_t interface[MEMIF_NAME_BYTES]; /* CONNECT, CONNECTED */
		struct memif_disconnect disconnect;
		uint8_t raw[MEMIF_MESSAGE_BYTES - 2];
	} __attribute__((packed));
} __attribute__((packed));
P2PNIC_ASSERT_SIZE(struct memif_message, 128);
P2PNIC_ASSERT_OFFSET(struct memif_message, hello.version_min, 34);
P2PNIC_ASSERT_OFFSET(struct memif_message, hello.log2_ring_max, 44);
P2PNIC_ASSERT_OFFSET(struct memif_message, init.id, 4);
P2PNIC_ASSERT_OFFSET(struct memif_message, init.secret, 9);
P2PNIC_ASSERT_OFFSET(struct memif_message, init.name, 33);
P2PNIC_ASSERT_OFFSET(struct memif_message, add_region.bytes, 4);
P2PNIC_ASSERT_OFFSET(struct memif_message, add_ring.offset, 8);
P2PNIC_ASSERT_OFFSET(struct memif_message, add_ring.private_bytes, 13);
P2PNIC_ASSERT_OFFSET(struct memif_message, disconnect.reason, 6);

/*
 * A descriptor is 16 bytes: flags u16, region u16, length u32, offset u32, metadata u32. It is read
 * and written here as two 64-bit words, so that what is checked is what is used:
 *
 *   control  bits 0–15 flags, 16–31 region, 32–63 length
 *   place    bits 0–31 offset in the region, 32–63 metadata (unused)
 */
struct memif_descriptor {
	uint64_t control;
	uint64_t place;
};
P2PNIC_ASSERT_SIZE(struct memif_descriptor, 16);

#define MEMIF_CONTROL(flags, region, length)                                                       \
	((uint64_t)(flags) | (uint64_t)(region) << 16 | (uint64_t)(length) << 32)
#define MEMIF_FLAGS(control)  ((uint16_t)(control))
#define MEMIF_REGION(control) ((uint16_t)((control) >> 16))
#define MEMIF_LENGTH(control) ((uint32_t)((control) >> 32))
#define MEMIF_OFFSET(place)   ((uint32_t)(place))

struct memif_ring {
	uint32_t cookie;        /* (client) */
	_Atomic uint16_t flags; /* (the packets' receiver) */
	_Atomic uint16_t head;  /* (client) */
	uint8_t reserved0[56];
	_Atomic uint16_t tail; /* (server) */
	uint8_t reserved1[62];
	struct memif_descriptor slot[];
};
P2PNIC_ASSERT_SIZE(struct memif_ring, 128);
P2PNIC_ASSERT_OFFSET(struct memif_ring, head, 6);
P2PNIC_ASSERT_OFFSET(struct memif_ring, tail, 64);

static inline uint64_t memif_ring_bytes(unsigned log2_size)
{
	return sizeof(struct memif_ring) + (sizeof(struct memif_descriptor) << log2_size);
}

/* One read of a word that a stranger may be writing. */
static inline uint64_t memif_read(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void memif_write(struct memif_descriptor *d, uint64_t control, uint64_t place)
{
	__atomic_store_n(&d->control, control, __ATOMIC_RELAXED);
	__atomic_store_n(&d->place, place, __ATOMIC_RELAXED);
}

#endif
