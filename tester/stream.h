/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tester sends into one ingress port, and how it knows its packets again.
 *
 * A stream is a cycle of frames built beforehand: for each exit 256 source addresses, exits taken
 * in turn. The first 64 bytes of each ("line") differ, all that follows is the same for all:
 *
 *    0 Ethernet  14 IPv4, no options  34 UDP, checksum 0  42 source index
 *   44 sequence number (low 32 bits)  48 tag: magic, ingress  52 time stamp (TSC; 0: no probe)
 *   60 payload: byte n is n * 7 + n / 256
 *
 * or, IPv6, no next header: a frame of 64 bytes has no room for UDP behind the header
 *
 *    0 Ethernet  14 IPv6: 22 source, 38 destination, whose last ten bytes are
 *   44 sequence number  48 tag  52 time stamp, up to byte 59
 *
 * Per packet only sequence number and time stamp are written. Packet j of an ingress is line j mod
 * period and leaves by exit j mod exits, so the number alone says what the packet must look like
 * when it comes back, to the last bit.
 *
 * Frame sizes are counted as RFC 2544 does, with the four bytes of FCS; a frame of 64 bytes is 60
 * in memory. Addresses (RFC 2544 Appendix C): sources 198.19.INGRESS.0–255, destinations
 * 198.18.EXIT.10, or from a list (for full tables), where the exit is the table's business. IPv6
 * (unique local, RFC 4193): sources fd00:19:INGRESS::0–ff, destinations within fd00:18:EXIT::/48,
 * or from a list, of which the first six bytes are taken.
 */
#ifndef P2PNIC_TESTER_STREAM_H
#define P2PNIC_TESTER_STREAM_H

#include "histogram.h"
#include "pattern.h"
#include "sequence.h"

#include <p2pnic/limits.h>
#include <p2pnic/types.h>

#define STREAM_SOURCES     256u
#define STREAM_FRAME_MIN   64u
#define STREAM_FCS         4u
#define STREAM_FRAME_MAX   (P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MAX) + STREAM_FCS)
#define STREAM_AT_SOURCE   42u
#define STREAM_AT_SEQUENCE 44u
#define STREAM_AT_TAG      48u
#define STREAM_AT_STAMP    52u
#define STREAM_HEADER      44u         /* bytes that are known beforehand */
#define STREAM_MAGIC       0x70320000u /* | series << 8 | ingress */
#define STREAM_EXIT_ANY    0xffffffffu
#define STREAM_TTL         64u

struct stream_line {
	uint8_t byte[64];
};

struct stream {
	unsigned ingress;
	unsigned exits;
	const unsigned *exit;         /* of line k: exit[k % exits]; NULL: any */
	unsigned period;              /* lines, a multiple of exits */
	uint8_t at_ttl;               /* in a line: TTL, or hop limit */
	uint32_t length;              /* of the frame in memory, without FCS */
	struct stream_line *line;     /* [period] as sent */
	struct stream_line *expected; /* [period] as they must return, MACs zero */
	const uint8_t *payload;       /* [length], from offset 64 on the same for all */
	uint64_t sent;                /* packets so far: the next one's number */
	unsigned position;            /* sent mod period */
};

/* What a device under test does to a packet that the tester can see. */
enum tester_mode {
	TESTER_BRIDGED, /* nothing: a wire, a fixed port */
	TESTER_MAC,     /* new MACs */
	TESTER_ROUTED,  /* new MACs, TTL or hop limit less one, checksum */
};

enum check_error {
	CHECK_LENGTH,   /* frame of another length */
	CHECK_FOREIGN,  /* not a packet of this run */
	CHECK_EXIT,     /* left by the wrong port */
	CHECK_MAC,      /* destination or source MAC not those of that link */
	CHECK_TTL,      /* not one less */
	CHECK_CHECKSUM, /* IPv4 header checksum wrong */
	CHECK_HEADER,   /* another byte of the IP or UDP header */
	CHECK_PAYLOAD,
	CHECK_ERRORS
};
extern const char *const check_error_name[CHECK_ERRORS];

/* MACs: 02:00:00:00:00:NN is port NN of the device under test, 02:00:00:00:01:NN the tester's. */
void stream_mac(bool tester, unsigned port, uint8_t mac[6]);

struct stream_config {
	unsigned ingress;
	/* Of all streams built together: a straggler of an earlier one is told by it. */
	uint8_t series;
	bool ipv6;
	unsigned exits;
	const unsigned *exit;        /* [exits] */
	const uint64_t *destination; /* host order, IPv6: the upper 64 bits; NULL: by exit */
	unsigned destinations;
	uint32_t frame_bytes; /* with FCS */
	enum tester_mode mode;
	uint8_t device_mac[6]; /* of the ingress port */
	/* Chooses identification fields such that no checksum has 0xff as its high byte: DPDK's
	 * l3fwd adds to it without the end-around carry (RFC 1141) and would be refused 1 packet in
	 * 256. */
	bool no_carry;
};

/* 0 or -ENOMEM. */
int stream_build(struct stream *, const struct stream_config *, const uint8_t *payload);
void stream_free(struct stream *);
void stream_payload(uint8_t payload[STREAM_FRAME_MAX + 64]);
uint16_t stream_checksum(const uint8_t *header20);

#endif
