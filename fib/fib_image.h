/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes into FIB images, on the host.
 *
 * A `struct fib` holds one family's routes and its image (p2pnic/fib.h) in ordinary memory. A
 * change of routes alters that image and yields a patch: the writes, in order, that make every copy
 * of the image in device memory equal to it. One struct fib serves any number of NICs.
 *
 *     fib = fib_new(&(struct fib_config){.family = 4, .kind = …, .room = …}, error);
 *     fib_build(fib, routes, n, error);              whole table
 *     fib_image_write(fib, bar2 + fib4_offset);      on each NIC; then COMMAND fib-ipv4
 *     …
 *     fib_change(fib, changes, n, &patch, error);    some routes
 *     fib_patch_apply(patch, bar2 + fib4_offset);    on each NIC
 *     …each NIC asked to pass patch->epoch: EPOCH ← epoch, EPOCH_SEEN reached it…
 *     fib_epoch_passed(fib, patch->epoch);           memory unlinked up to then is used again
 *
 * Reclaiming need not wait for each patch: epochs may be passed late and together. Until they are,
 * unlinked memory counts against the room; when nothing else is left, fib_change answers -EAGAIN
 * and changes nothing (pass the epoch, try again).
 *
 * Not thread-safe: one thread owns a struct fib. Readers need no lock (p2pnic/fib.h).
 *
 * Errors: 0 or -errno, with a sentence in error.
 *   -EINVAL  a route that is none: length, bits beyond the length, family, next hop out of range
 *   -ENOSPC  does not fit the room; the sentence says what it needs and what there is
 *   -EAGAIN  would fit once the epoch has passed
 *   -ENOMEM  host memory
 * After an error the routes and image are as they were before the call.
 */
#ifndef P2PNIC_FIB_IMAGE_H
#define P2PNIC_FIB_IMAGE_H

#include <p2pnic/fib.h>

#include "ipc/error.h"

/* An IPv6 or, left-aligned in the top 32 bits of prefix.high, an IPv4 route. */
struct fib_route {
	struct fib_ipv6 prefix; /* host order; bits beyond `length` are zero */
	uint8_t length;         /* 0–32 or 0–128 */
	uint8_t family;         /* 4 or 6 */
	uint16_t next_hop; /* 1 to P2PNIC_NEXT_HOPS_MAX - 1; in a change, 0 deletes the route */
};

static inline struct fib_route fib_route4(uint32_t prefix, unsigned length, unsigned next_hop)
{
	return (struct fib_route){
		{(uint64_t)prefix << 32, 0}, (uint8_t)length, 4, (uint16_t)next_hop};
}

struct fib_config {
	unsigned family; /* 4 or 6 */
	unsigned kind;   /* enum p2pnic_fib_kind */
	uint64_t room;   /* bytes of device memory for the image, at most; rounded down to 64 */
	bool version_1;  /* for NICs older than contract 2.5: without P2PNIC_FIB_VERSION_WIDE */
};

struct fib; /* opaque */

/* NULL: error says why. */
struct fib *fib_new(const struct fib_config *config, struct error *error);
void fib_free(struct fib *fib);

/*
 * Replaces all routes, in any order; of several with the same prefix the last counts. The image is
 * made anew: no patch leads from the old one to it, so write it to another place and switch over.
 */
int fib_build(struct fib *fib, const struct fib_route *routes, size_t n, struct error *error);

/* The image, to be copied, and how many of its bytes are in use. Valid until the next call. */
const void *fib_image(const struct fib *fib, uint64_t *bytes);

/* Copies the image to device memory (64-byte aligned, `room` bytes), the header's magic last. */
void fib_image_write(const struct fib *fib, void *device);

/*
 * One stretch of a patch, to be written at byte `offset` of the image. One that publishes is a
 * single store of the size that lookups load (4 bytes: an entry, in the low half of its word; 8: a
 * root): readers on another processor get its value and with it all that was written before.
 */
struct fib_write {
	uint64_t offset;    /* multiple of 8, or of `bytes` where it publishes */
	uint32_t bytes;     /* multiple of 8; where it publishes 4 or 8 */
	uint32_t publishes; /* 1: makes earlier writes reachable; to be ordered behind them */
	uint64_t first;     /* index of the first word in fib_patch.word */
};

struct fib_patch {
	const struct fib_write *write;
	size_t writes;
	const uint64_t *word;
	uint64_t bytes; /* all writes together */
	uint64_t epoch; /* what this patch unlinked is free once every NIC has passed this epoch */
};

/*
 * Adds, replaces (next_hop ≠ 0) and deletes (0; of a route that is not there: no error, no effect)
 * all together: of several changes to one prefix only the last is seen. *patch is valid until the
 * next call that takes `fib`.
 */
int fib_change(struct fib *fib, const struct fib_route *changes, size_t n,
	const struct fib_patch **patch, struct error *error);

/* Writes a patch into one copy of the image, through a mapping or any memory. */
void fib_patch_apply(const struct fib_patch *patch, void *device);

/* Every reader of every copy has passed a quiescent point after the patch of `epoch` was
 * applied. */
void fib_epoch_passed(struct fib *fib, uint64_t epoch);

/* The next hop of an address, from the image; IPv4 as in struct fib_route. */
uint16_t fib_lookup(const struct fib *fib, struct fib_ipv6 address);

/* Every route, ascending by prefix, shorter first. */
void fib_each(const struct fib *fib, void (*visit)(void *context, const struct fib_route *route),
	void *context);

size_t fib_routes(const struct fib *fib);

#endif
