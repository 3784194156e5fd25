/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two trivial devices on memif links, to measure what links and testers can do by themselves:
 *
 *   WIRE   packets go from port to port untouched; as client not even copied: the ports share one
 *          packet memory and the descriptor is passed on. The tester opposite to it is at its own
 *          maximum.
 *   COPY   what any router that moves a packet once must do, and nothing else: packets in, the same
 *          bytes copied into a buffer of the exit's, packets out, the same rings and the same port
 *          code as a NIC (ports/memif.h). No parsing, no lookup, no rewriting. The bench's `limit`.
 *
 * As server both copy once, from the peer's memory into the peer's memory.
 *
 * The exit is fixed by the port, or for patterns that split a flow, the third octet of the
 * destination address (198.18.EXIT.x), read from the frame.
 */
#ifndef P2PNIC_TESTER_REFLECT_H
#define P2PNIC_TESTER_REFLECT_H

#include "ipc/error.h"
#include "pattern.h"

#include <stdatomic.h>
#include <stdint.h>

enum reflect_kind { REFLECT_WIRE, REFLECT_COPY };

struct reflect_config {
	enum reflect_kind kind;
	const char *const *ports; /* "SOCKET[,key=value…]"; all of one role */
	unsigned count;
	uint32_t buffer_bytes; /* one of P2PNIC_BUFFER_SIZES */
	struct pattern pattern;
	atomic_bool *stop;
};

/* Runs until *stop. 0, or -errno with a sentence in error. */
int reflect_run(const struct reflect_config *, struct error *error);

#endif
