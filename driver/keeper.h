/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keeper: a small process that holds descriptors while a driver is replaced.
 *
 * A vfio-user connection (and a VFIO device) lives as long as a descriptor of it is open; with it
 * live the NIC's windows, and so its rings. The driver leaves each with the keeper, together with a
 * line of text that says what it is. When the driver dies, NICs do not notice; the next driver asks
 * the keeper and goes on. The keeper knows nothing of NICs and touches nothing: it must be too
 * simple to fail.
 *
 * Protocol: ipc/exchange.h, struct keeper_message with up to KEEPER_FDS descriptors; each request
 * gets one reply. Only the user who started the keeper (and root) may connect.
 */
#ifndef DRIVER_KEEPER_H
#define DRIVER_KEEPER_H

#include <stdint.h>

#define KEEPER_ITEMS      160u /* NICs, their faces in the kernel, and what goes with them */
#define KEEPER_FDS        4u
#define KEEPER_NAME_BYTES 64
#define KEEPER_TEXT_BYTES 1024

enum keeper_operation {
	KEEPER_PUT = 1, /* keep descriptors and text under a name; replaces an item of that name */
	/* By index; reply: the item with duplicates of its descriptors; -ENOENT: no more. */
	KEEPER_GET = 2,
	KEEPER_DROP = 3, /* close the item of that name */
	KEEPER_QUIT = 4, /* close all and end */
};

struct keeper_message {
	uint32_t operation; /* enum keeper_operation */
	int32_t result;     /* reply: 0 or -errno */
	uint32_t index;     /* KEEPER_GET */
	uint32_t fds;       /* descriptors that travel with it */
	char name[KEEPER_NAME_BYTES];
	char text[KEEPER_TEXT_BYTES];
};

/* --- Server: `p2pnic keeper --socket PATH` ---------------------------------------------------- */

/* Serves until told to quit, SIGTERM, or `ready_fd` ≥ 0: written one byte and closed once it
 * listens. 0, or the error of unix_listen. */
int keeper_serve(const char *path, int ready_fd);

/* --- Client ----------------------------------------------------------------------------------- */

/* How long a request waits for its reply, in milliseconds: 500. */
extern unsigned keeper_timeout_ms;

/*
 * Requests on a socket of exchange_connect. 0 or -errno: the keeper's own answer (-ENOENT, -ENOSPC,
 * -EINVAL), or -EMFILE, -ENOMEM      passing: one of the two is short of descriptors or memory; ask
 * again later -ETIMEDOUT            no reply in time: a late one would be taken for the next
 * request's, so the connection has to be closed -ECONNRESET, -EPROTO  the connection is of no use
 * any more
 */
int keeper_put(int keeper, const char *name, const char *text, const int *fds, unsigned count);
/* Fills message, fds (owned by the caller) and *count. */
int keeper_get(
	int keeper, unsigned index, struct keeper_message *, int fds[KEEPER_FDS], unsigned *count);
int keeper_drop(int keeper, const char *name);
/* Returns when its socket is removed and all connections are closed. */
int keeper_quit(int keeper);

#endif
