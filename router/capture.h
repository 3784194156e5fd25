/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures, of `p2pnic capture` and `p2pnic trace`: one at a time, for one client, which reads the
 * rings itself (capture_memory.h). No packet passes through the router.
 *
 * The client gets two descriptors: the memory, and a socket that says nothing. When the client
 * closes its end, or dies, the capture ends; when the router does, the client hears of it.
 */
#ifndef ROUTER_CAPTURE_H
#define ROUTER_CAPTURE_H

#include <jansson.h>

struct router;
struct router_nic;

#define CAPTURE_FDS 2u /* the memory, the socket */

/*
 * The answer to {"capture": how}, and descriptors for the client, which are the caller's then;
 * *count: 0 with an error. client: its socket, for its name. How:
 *   nics     names; absent: all that can
 *   points   names of "rx", "tx", "drop"; "trace": "rx", and where those packets leave
 *   snap     bytes of each frame; absent: all
 *   limit    records of each NIC; absent: no limit
 *   reasons  names of drop reasons; absent: all
 *   filter   instructions in hexadecimal, sixteen digits each: code, jt, jf, k
 *   by       what the client is, for others
 * Answer: {"capture": {"bytes": of the memory, "nics": [{"index", "name", "offset", "slots",
 * "snap"}…]}}; a NIC that does not capture has "why" instead of a ring.
 */
json_t *router_capture_asked(
	struct router *, const json_t *how, int client, int fds[CAPTURE_FDS], unsigned *count);

/* A NIC forwards, or answers again: it captures if it should, and does not if not. */
void router_capture_nic(struct router_nic *);

void router_capture_close(struct router *);

#endif
