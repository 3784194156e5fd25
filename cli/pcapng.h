/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures as files: pcapng (draft-ietf-opsawg-pcapng), little-endian, one section, times in
 * nanoseconds. What goes wrong with the stream is the caller's to find (ferror).
 */
#ifndef P2PNIC_PCAPNG_H
#define P2PNIC_PCAPNG_H

#include <stdint.h>
#include <stdio.h>

/* Direction, the low bits of epb_flags (§4.3.1). */
#define PCAPNG_INBOUND  1u
#define PCAPNG_OUTBOUND 2u

/* Section Header Block: application: what writes it. */
void pcapng_section(FILE *, const char *application);
/* Interface Description Block: the next interface, from 0 on. filter: "" for none. */
void pcapng_interface(FILE *, const char *name, const char *filter, uint32_t snap);
/* Enhanced Packet Block; comment: NULL for none. */
void pcapng_packet(FILE *, uint32_t interface, uint64_t time_ns, const uint8_t *frame,
	uint32_t captured, uint32_t length, uint32_t direction, const char *comment);
/* Interface Statistics Block: received: frames that the filter took; lost: of them, those that are
 * not in the file. */
void pcapng_statistics(
	FILE *, uint32_t interface, uint64_t time_ns, uint64_t received, uint64_t lost);

#endif
