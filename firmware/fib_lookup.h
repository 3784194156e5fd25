/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking up addresses in a FIB image (p2pnic/fib.h tells how it is made). Freestanding.
 *
 * Bursts: the functions keep many lookups in flight, so hand over all addresses of a burst at once.
 * n is at most P2PNIC_BURST_MAX. The image is trusted once fib_image_valid has accepted it: only
 * the host writes there.
 */
#ifndef P2PNIC_FIRMWARE_FIB_LOOKUP_H
#define P2PNIC_FIRMWARE_FIB_LOOKUP_H

#include <p2pnic/fib.h>

/*
 * May the image be taken into use? Checks alignment, magic, version, kind, family (4 or 6), and
 * that whatever it points to lies inside its own bytes, which lie inside `room` (bytes from the
 * image to the end of the memory that it is in). Walks the whole image: milliseconds, once a
 * command.
 */
bool fib_image_valid(const void *image, uint64_t room, unsigned family);

/* next_hop[i] of address[i], in host order; 0: no route. */
void fib4_lookup(const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n);
void fib6_lookup(const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n);

#endif
