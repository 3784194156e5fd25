/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port of type af_xdp with a kernel made of a few lines: rings in this process's memory, frames
 * taken late, completed in any order, fill entries acknowledged late. libxdp, the XDP program and
 * the interface are made up, too (--wrap). No rights needed.
 */
#ifndef P2PNIC_TESTS_AF_XDP_RIG_H
#define P2PNIC_TESTS_AF_XDP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <ports/af_xdp_memory.h>
#include <ports/af_xdp_socket.h>

#define BUFFERS 8192u
#define SLOW_US 20000

/* One ring of `size` entries of `bytes`; the kernel keeps its own free-running indices. */
struct ring {
	uint32_t producer, consumer, flags;
	void *entries;
};

extern struct af_xdp_kernel {
	struct ring fill, receive, transmit, completion;
	uint32_t fill_taken, fill_known; /* consumed so far; producer as last read */
	struct xdp_desc under_way[AF_XDP_RING];
	unsigned under_way_count;
	uint64_t taken[8]; /* from the fill ring, for a frame that needs more */
	unsigned taken_count;
	uint32_t written; /* in the receive ring, some of it not told yet */
	uint64_t frames;  /* of those */
} kernel;

extern struct af_xdp_port port;

/* What the socket's life is made of. */
extern struct af_xdp_world {
	bool other;        /* the next look finds another interface */
	unsigned busy;     /* so many sockets are refused: the queue is not free yet… */
	bool slow;         /* …and each takes SLOW_US to say so */
	unsigned channels; /* of the interface */
	unsigned created;
	uint64_t umem_most; /* larger ones are refused; 0: none */
	int woken;          /* the other end of the socket's descriptor */
} world;

int setup(void **state);
int setup_jumbo(void **state); /* frames in pieces */
int teardown(void **state);

void connect_kernel(void); /* rings anew, as the port wants them */

/* Takes frames to send, with a slot in the completion ring for each; completes some of those it
 * has, in any order. */
void kernel_sends(bool all);

#endif
