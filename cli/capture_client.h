/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture, from the client's side: asks the router for it, then reads what NICs write
 * (router/capture_memory.h). The memory is believed in nothing: a record is copied, then checked.
 */
#ifndef P2PNIC_CAPTURE_CLIENT_H
#define P2PNIC_CAPTURE_CLIENT_H

#include <p2pnic/capture.h>

#include <jansson.h>
#include <stdbool.h>

#include "cli/which_router.h"
#include "ipc/error.h"

#define CAPTURE_NAME_BYTES 32

struct capture_nic {
	char name[CAPTURE_NAME_BYTES];
	bool captures;
	uint64_t offset;
	uint32_t slots, slot_bytes, snap;
	uint32_t life;
	uint64_t next; /* record */
	uint64_t read; /* counted by who takes records */
	uint64_t lost;

	/* The next record, if it is there already. */
	bool ready;
	struct p2pnic_record record;
	uint8_t frame[P2PNIC_CAPTURE_SNAP_MAX];
};

struct capture_client {
	struct capture_nic *nic; /* by number */
	unsigned nics;
	int memory_fd, socket;
	uint8_t *memory;
	uint64_t bytes;
	int64_t realtime_ns; /* of CLOCK_REALTIME, beyond the NICs' clock */
};

/* Asks with {"capture": how}, which it lets go of. Says which NICs do not capture, on standard
 * error. 0 or -errno with a sentence. */
int capture_client_begin(
	struct capture_client *, const struct which_router *, json_t *how, struct error *);
void capture_client_end(struct capture_client *);

/* The NIC whose next record is the oldest one that is there; -1: none is. The record is taken when
 * its `ready` is cleared. */
int capture_client_next(struct capture_client *);

/* Waits so long, or until the router has ended the capture: false. */
bool capture_client_wait(const struct capture_client *, unsigned ms);

/* Compiles words of a pcap filter into *how's "filter", and adds what it was to text, if there is
 * one. False: it is none; that was said. */
bool capture_filter(const char *command, char **words, json_t *how, char *text, size_t room);

extern const char *const drop_name[], *const drop_meaning[], *const drop_section[];

#endif
