/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memif connection, either role: control channel, regions, rings, and what becomes of them when
 * the peer dies and returns. It knows nothing of packets or buffers; the memif port (memif.h) and
 * the tester use its two queues directly.
 *
 * Life:
 *
 *     memif_link_open      server: listens; client: ready to connect. Neither waits for the peer.
 *     memif_link_service   now and then (every 100 ms, or when `control` is readable): moves the
 *                          handshake on, retries, notices the peer's end. It tells of at most one
 *                          change of state a call:
 *         MEMIF_UP             queues are mapped and at index 0; use them
 *         MEMIF_DOWN           they are unmapped; whatever was in flight is lost
 *     memif_link_close     from any state
 *
 * One thread uses a link; nothing here blocks.
 *
 * As client this side owns the memory: region 0 is a memfd made anew for each connection that holds
 * the two rings; regions 1… are the caller's (packet memory), shared whole with the peer. As server
 * the peer's regions are mapped here, each followed by a readable guard page, so that reading a few
 * bytes past a packet at the very end of a region is harmless.
 *
 * A hostile peer
 *   - another user's process, be it client or server (SO_PEERCRED): refused before anything is said
 *     to it, unless it is root's or `peers` admits it. A socket's mode keeps strangers out as well,
 *     and an abstract name has none;
 *   - message of wrong size, out of order, bad index, region that is no regular file, smaller than
 *     said or without F_SEAL_SHRINK (a peer could shrink it under our feet: SIGBUS) or of huge
 *     pages (a hole punched there does the same), more memory than `map` allows, ring outside its
 *     region or misaligned, wrong cookie: refused with a DISCONNECT that says why, counted in
 *     `refused`; the link is ready for the next peer;
 *   - silence during the handshake: dropped after MEMIF_HANDSHAKE_MS. It keeps nobody out: a server
 *     greets up to MEMIF_WAITING_MAX peers, the first to answer goes on, and a newcomer takes the
 *     place of the oldest that is silent. Whoever is connected stays;
 *   - index out of range on a ring: the data path calls memif_link_break; the next service ends the
 *     connection (`bad_index`);
 *   - descriptors: see memif_link_at; counted by the data path in `bad_descriptor`;
 *   - an eventfd that is none: refused. Writes to it are guarded by poll, so a full one does not
 *     block.
 *
 * Branches of memif*.c that tests/unit/test_memif_edges.c is for: calls the kernel fails only
 * without memory or for a descriptor it has just taken (calloc, fcntl, fstat), regions of huge
 * pages, control messages that no AF_UNIX socket makes, and arguments that the options forbid.
 *
 * As server one socket is one interface: another id than its own is refused ("ID not found").
 */
#ifndef P2PNIC_MEMIF_LINK_H
#define P2PNIC_MEMIF_LINK_H

#include "ipc/error.h"
#include "ipc/listen.h"
#include "memif_protocol.h"
#include "port.h"

#define MEMIF_REGIONS_MAX       64u
#define MEMIF_GUARD_BYTES       4096u
#define MEMIF_HANDSHAKE_MS      2000u
/* Peers that a server has greeted and that are not yet its one. */
#define MEMIF_WAITING_MAX       8u
#define MEMIF_MAP_MIB_DEFAULT   4096u /* a descriptor reaches 4 GiB into a region */
/* Others wait 2 s; a connect to a local socket costs microseconds. */
#define MEMIF_RETRY_MS          200u
/* As many slots as a NIC posts buffers unless told otherwise (half of its 1024): a ring that is
 * full of buffers is posted again by half the stores. */
#define MEMIF_LOG2_RING_DEFAULT 9u
enum memif_role { MEMIF_CLIENT, MEMIF_SERVER };
enum memif_event { MEMIF_NOTHING, MEMIF_UP, MEMIF_DOWN };

struct memif_region {
	uint8_t *base;
	uint64_t bytes;
	int fd;
	uint64_t mapped; /* bytes to unmap at base; 0: not mapped by the link */
};

/* One direction. Both indices are this side's own copies: head is what the client, tail what the
 * server has advanced to, as last published or last read and accepted. */
struct memif_queue {
	struct memif_ring *ring;
	uint16_t head;
	uint16_t tail;
	uint16_t mask;
	int event; /* eventfd */
};

struct memif_link_config {
	enum memif_role role;
	const char *socket; /* path; a leading '@' means the abstract name space */
	uint32_t id;
	char secret[MEMIF_SECRET_BYTES + 1]; /* zero-padded; "": none asked, none sent */
	bool any_peer;                       /* of whatever user */
	uint32_t peer;                       /* this user's, beside root's and one's own */
	uint64_t map_bytes;                  /* server: of all regions of a peer */
	unsigned log2_ring;                  /* client: of both rings */
	bool unsealed; /* server: take regions that the peer could shrink (DPDK's own memory) */
	bool share;    /* client: give the peer other NICs' packet memories, too */
	/* Client: region 1 is packet memory; as many of the others that are some (bytes) as the
	 * peer takes follow. */
	struct {
		uint8_t *base;
		uint64_t bytes;
		int fd; /* borrowed */
	} region[PORT_MEMORIES];
};

struct memif_counters {
	uint64_t connects;
	uint64_t disconnects;
	uint64_t refused;        /* handshakes that failed for the peer's fault */
	uint64_t bad_index;      /* ring indices out of range */
	uint64_t bad_descriptor; /* region, offset or length outside what the peer owns */
};

struct memif_link {
	bool connected;
	bool broken;
	enum memif_role role;
	unsigned regions;
	unsigned regions_max;             /* client: that the peer takes */
	uint64_t shared;                  /* client: which of config.region the peer has… */
	uint8_t region_of[PORT_MEMORIES]; /* …as which region */
	struct memif_queue send;          /* packets this side → peer */
	struct memif_queue receive;       /* peer → this side */
	struct memif_region region[MEMIF_REGIONS_MAX];
	struct memif_counters counters;
	char reason[MEMIF_REASON_BYTES]; /* why the last connection ended or was refused */

	/* The rest belongs to memif_link.c. */
	struct memif_link_config config; /* its socket is the one below */
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct sockaddr_un address;
	uint32_t address_bytes;
	struct unix_listener listener;
	int channel;
	struct {
		int fd;
		int64_t deadline_ms;
	} waiting[MEMIF_WAITING_MAX]; /* server: oldest first */
	unsigned waitings;
	int control; /* epoll: readable when memif_link_service has work */
	int events;  /* epoll: readable when armed and a packet waits; stable over connections */
	int step;
	int64_t deadline_ms;
	unsigned log2_ring;
};

/* The options as memif.h has them, as a configuration. The secret is read here; no message shows
 * it. */
#define MEMIF_OPTIONS                                                                              \
	"role=client|server, id=N, rsize=1…14, secret-file=PATH, secret-fd=N, "                  \
	"secret=TEXT (1 to 24 characters), peers=any|UID, share=yes|no, map=MIB, unsealed=yes|no"
int memif_link_options(
	struct memif_link_config *, const char *socket, const char *options, struct error *error);

/* 0, or -errno with a sentence in error. On error nothing is left open. */
int memif_link_open(struct memif_link *, const struct memif_link_config *, struct error *error);
void memif_link_close(struct memif_link *);
enum memif_event memif_link_service(struct memif_link *);

/* Ends the connection in the next service, telling the peer why. For the data path. */
static inline void memif_link_break(struct memif_link *link)
{
	link->counters.bad_index++;
	link->broken = true;
}

/* Ends the connection now (the next service reports MEMIF_DOWN); a client connects again. */
void memif_link_disconnect(struct memif_link *, const char *reason);

/* --- For the data path ------------------------------------------------------------------------ */

/*
 * The memory that a peer's descriptor names, or NULL when it is not wholly inside one of the
 * regions. In 64 bits: offset and length are 32 bits each and their sum may not be.
 */
static inline uint8_t *memif_link_at(
	const struct memif_link *link, uint64_t control, uint64_t place)
{
	unsigned region = MEMIF_REGION(control);

	if (region >= link->regions ||
		(uint64_t)MEMIF_OFFSET(place) + MEMIF_LENGTH(control) > link->region[region].bytes)
		return NULL;
	return link->region[region].base + MEMIF_OFFSET(place);
}

/*
 * Refreshes the index that the peer advances and returns how many slots it has advanced by in all,
 * counting from `from`; `limit` is the most an honest peer can have. -1: a dishonest one; the link
 * is broken then. Acquire: pairs with the peer's release store, so descriptors and packets behind
 * the index are visible.
 */
static inline int memif_link_advanced(
	struct memif_link *link, _Atomic uint16_t *index, uint16_t from, unsigned limit)
{
	uint16_t n = (uint16_t)(atomic_load_explicit(index, memory_order_acquire) - from);

	if (__builtin_expect(n > limit, 0)) {
		memif_link_break(link);
		return -1;
	}
	return n;
}

/* Wakes the peer that waits for packets of this queue. */
void memif_queue_kick(struct memif_queue *);

/*
 * The same, unless it polls. After the index was published, and a full fence: the receiver unmasks,
 * fences, and looks at the index once more (memif_queue_arm), so either it sees the index or we see
 * the mask gone.
 */
static inline void memif_queue_notify(struct memif_queue *queue)
{
	if (__builtin_expect(!(atomic_load_explicit(&queue->ring->flags, memory_order_relaxed) &
				     MEMIF_RING_MASK_EVENT),
		    0))
		memif_queue_kick(queue);
}

/* Asks the peer for events on the receive queue; the caller then looks at the index once more. */
static inline void memif_queue_arm(struct memif_queue *queue)
{
	atomic_store_explicit(&queue->ring->flags, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

/* No more events, and those that came are taken off the eventfd. */
void memif_queue_disarm(struct memif_queue *);

#endif
