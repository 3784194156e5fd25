/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The firmware of one NIC: its state, and the five functions by which a board runs it.
 *
 *   port ──receive──▶ ingress.c ─▶ ring_out.c ──DMA──▶ mailbox + packet memory of another NIC
 *   port ◀─transmit── egress.c  ◀─ ring_in.c  ◀─poll── own mailboxes, own packet memory
 *                     nic.c: poll, sleep      control.c: registers, commands
 *
 * A board calls nic_init once, then nic_poll for ever; nic_register_read/write between two polls
 * when the host accesses BAR0; nic_arm before it lets the processor sleep and nic_disarm after. One
 * processor at a time: the firmware has no locks.
 *
 * The board says by which method packets cross:
 *   Wr  ingress writes packets to the egress NIC
 *   Rd  ingress keeps packets, egress reads them
 *   Bn  ingress writes packets to host memory, egress reads them from there
 *   Hy  short packets as in Wr, long ones as in Rd; method Wr, by the peer's entry
 * so there are two ways to give packets to a ring and two to take them, chosen once a burst.
 */
#ifndef P2PNIC_NIC_H
#define P2PNIC_NIC_H

#include <p2pnic/registers.h>

#include "board.h"
#include "capture.h"
#include "ring_in.h"
#include "ring_out.h"
#include "sources.h"
#include "stations.h"

#define NIC_RX_BUFFERS_MIN       2u    /* Wr */
#define NIC_RX_BUFFERS_MIN_READS 16u   /* see reserve_of (ring_out.c) */
#define NIC_RX_BUFFERS_MAX       8192u /* own buffers: receiving, free, holding */
/* Frames given to the port and not reported sent; a power of two. */
#define NIC_FLIGHT_MAX           4096u

/* Frames in flight, oldest first, as runs from one ring; ORPHAN: of a pair closed since. */
struct nic_run {
	uint8_t peer;
	uint8_t kind; /* RUN_* */
	uint16_t count;
};
enum {
	RUN_SENT = 0,
	RUN_FETCHED = 1, /* from own buffers, which are free again when it is done */
	RUN_SKIPPED = 2, /* refused: nothing of it is at the port */
	RUN_ORPHAN = 4,  /* …a bit beside RUN_FETCHED */
};

struct kernel;

struct nic {
	struct board *board;
	const struct kernel *kernel; /* what this processor does faster */
	struct p2pnic_counters *counters;
	uint8_t method;        /* P2PNIC_METHOD_* */
	bool writes;           /* ingress writes packets out: Wr, Bn */
	bool reads;            /* egress fetches packets: Rd, Bn */
	bool lends;            /* Hy: writes short packets, and lends long ones */
	uint8_t captures;      /* P2PNIC_CAPTURE_*; 0: a burst pays for this with one test */
	uint32_t buffer_bytes; /* one of P2PNIC_BUFFER_SIZES */
	uint8_t *bar2;
	uint8_t *bar4;
	uint32_t bar2_bytes;
	uint32_t bar4_bytes;

	struct stations stations;
	const void *fib4;
	const void *fib6;
	const p2pnic_next_hop *next_hop;
	const p2pnic_bucket *bucket;
	const struct p2pnic_adjacency *adjacency;
	p2pnic_used *used;
	const p2pnic_vlan *vlan;
	struct p2pnic_policers *policers;

	struct sources sources; /* from which nothing is forwarded, besides special addresses */

	bool running;
	bool ready;
	bool rx_started; /* own buffers are laid out; RX_* no longer change */
	uint8_t open_peers;
	uint8_t first;                  /* of peer[]: where the next poll of the rings begins */
	uint8_t peer[P2PNIC_MAILBOXES]; /* the open ones */
	uint8_t dirty;                  /* how many of dirty_peer */
	uint8_t dirty_peer[P2PNIC_MAILBOXES]; /* rings with descriptors to publish */
	bool published;                       /* in this round: descriptors, to peers… */
	bool flushed;                         /* …frames, to the port */
	uint32_t held;                        /* packets held, all egresses */
	uint32_t lent;                        /* Hy: packets lent, to all egresses */
	bool completions;                     /* some ring has some to announce */
	bool failing;                         /* some pair is to be given up */
	bool fetching;                        /* Rd, Bn: the board waits for a packet */
	bool asleep;                          /* as the peers were last told */

	uint32_t run_head, run_tail; /* of run[], free-running */
	uint32_t in_flight;
	uint32_t frees; /* how many of free[] */

	uint8_t dropped_as; /* enum p2pnic_drop, of the last one that was counted */

	/* Registers as written by the host. */
	uint32_t index, mtu, mac_low, rx_offset, rx_buffers, fib_offset[2], epoch, result;
	uint32_t flow;         /* P2PNIC_FLOW_* */
	uint32_t reverse_path; /* P2PNIC_REVERSE_PATH_* */
	uint32_t ingress;      /* P2PNIC_INGRESS_* */
	uint64_t flow_seed;
	uint64_t redirect_ns;         /* when a packet last went to the host for a redirect */
	_Atomic uint32_t link, speed; /* set by the board, by the engine while the host reads */

	struct ring_in in[P2PNIC_MAILBOXES];
	struct ring_out out[P2PNIC_MAILBOXES];
	struct nic_run run[NIC_FLIGHT_MAX];
	/* Own free buffers, last in first out: the warmest first. */
	uint32_t free[NIC_RX_BUFFERS_MAX];
	uint32_t fetched[NIC_FLIGHT_MAX]; /* Rd, Bn: own buffers of frames in flight */
	uint32_t fetched_head, fetched_tail;

	/* A frame of a ring with CRC on its way out: what is summed is what is written, even if a
	 * stranger changes the port's memory. Whole blocks are read. */
	uint8_t staging[P2PNIC_BUFFER_BYTES_MAX + 64];

	struct capture capture;
};

/* Sets up a NIC at power on: memory zeroed, counters zero, not ready. bar2 and bar4 are its own
 * memory; `counters` its page of BAR0. `n` is the board's, of any content. method:
 * P2PNIC_METHOD_*; buffer_bytes: one of P2PNIC_BUFFER_SIZES. */
void nic_init(struct nic *n, struct board *, unsigned method, uint32_t buffer_bytes,
	struct p2pnic_counters *, uint8_t *bar2, uint32_t bar2_bytes, uint8_t *bar4,
	uint32_t bar4_bytes);

/* One burst each way; how many packets moved. 0: nothing to do. */
unsigned nic_poll(struct nic *n);

/* BAR0 page 0, by naturally aligned 32-bit words. A read may come at any time, from the thread that
 * writes registers; a write only between two calls of the others. */
uint32_t nic_register_read(const struct nic *n, uint32_t offset);
void nic_register_write(struct nic *n, uint32_t offset, uint32_t value);

/* The board's own address, and what it knows of its link; missed: frames lost before the port had
 * them. */
void nic_set_mac(struct nic *n, struct mac_addr);
void nic_set_port(struct nic *n, bool link, uint32_t speed_mbps, uint64_t missed);

/* The driver mapped or unmapped windows: every open pair finds its regions anew. */
void nic_windows_changed(struct nic *n);

enum nic_rest {
	NIC_BUSY, /* something waits: poll on */
	/* Nothing to do now, but packets are held, in flight or being fetched: poll again within a
	 * millisecond. */
	NIC_WAITING,
	/* Nothing, but a peer may not have heard yet that this NIC sleeps: as NIC_IDLE, and look at
	 * nic_waits every millisecond. */
	NIC_POSTED,
	NIC_IDLE, /* nothing: sleep until the port, the doorbell or the host wakes the NIC */
};

/* Tells every peer that this NIC sleeps, arms the port, then looks once more. Whatever it returns,
 * nic_disarm must follow before the next nic_poll. */
enum nic_rest nic_arm(struct nic *n);
void nic_disarm(struct nic *n);

/* Whether a peer has published something. */
bool nic_waits(const struct nic *n);

/* --- Between the firmware's own files --------------------------------------------------------- */

/* One writer, plain 64-bit stores: the host may read at any time. */
static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

/* Hy: packets are lent to that peer (more > 0), or come back. */
static inline void count_lent(struct nic *n, struct ring_out *out, int32_t more)
{
	out->lent += (uint32_t)more;
	n->lent += (uint32_t)more;
}

static inline void count_drop(struct nic *n, enum p2pnic_drop reason, uint64_t packets)
{
	count(&n->counters->dropped[reason], packets);
	n->dropped_as = (uint8_t)reason;
}

/* The pair is of no use before the driver closes and opens it; given_up tells it. The host's rings
 * are its own. */
static inline void mark_given_up(struct nic *n, unsigned peer, bool given_up)
{
	uint64_t pairs = atomic_load_explicit(&n->counters->given_up, memory_order_relaxed);

	if (peer < P2PNIC_NICS_MAX)
		atomic_store_explicit(&n->counters->given_up,
			(pairs & ~(1ull << peer)) | (uint64_t)given_up << peer,
			memory_order_relaxed);
}

/* Whether packets in that NIC's memory are at the port, of a pair that is closed. */
static inline void mark_sending(struct nic *n, unsigned peer, bool sending)
{
	uint64_t pairs = atomic_load_explicit(&n->counters->sending, memory_order_relaxed);

	atomic_store_explicit(&n->counters->sending,
		(pairs & ~(1ull << peer)) | (uint64_t)sending << peer, memory_order_release);
}

/* Closes the pairs whose transfers fail. */
void nic_give_up(struct nic *n);

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static inline struct p2pnic_traffic *nic_traffic_in(struct nic *n, unsigned peer)
{
	return peer >= P2PNIC_NICS_MAX ? &n->counters->injected : &n->counters->from_ring[peer];
}

/* One burst from the port, and into rings (ingress.c); from rings to the port (egress.c). A burst
 * that was received must go through nic_ingress: the port keeps its frames until then. */
void nic_receive(struct nic *, struct burst *);
void nic_ingress(struct nic *, struct burst *);
unsigned nic_egress(struct nic *n);

#endif
