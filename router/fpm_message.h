/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream between FRR's zebra (dplane_fpm_nl) and a forwarding plane: frames of
 *
 *   version 1 (1 byte) · type 1, netlink (1 byte) · length with these four bytes (2, big-endian)
 *   netlink messages (RFC 3549)
 *
 * of which RTM_NEWROUTE and RTM_DELROUTE are of interest, several in a frame if zebra replaces a
 * route. Answers are frames of one RTM_NEWROUTE each, a request, the route with RTM_F_OFFLOAD or
 * RTM_F_OFFLOAD_FAILED set (linux/rtnetlink.h).
 *
 * The stream is hostile: whoever may connect to a port of this host can send it.
 */
#ifndef ROUTER_FPM_MESSAGE_H
#define ROUTER_FPM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router/address.h"

#define FPM_HEADER_BYTES 4u
#define FPM_FRAME_MAX    65535u
#define FPM_ANSWER_BYTES 80u /* at most */

/* A route of zebra's, as far as it is told from others. */
struct fpm_route {
	struct prefix prefix;
	uint32_t table;   /* as it came, and as zebra wants it back; 0 is main */
	uint32_t metric;  /* RTA_PRIORITY: zebra's; the kernel's copy of the route has another */
	uint8_t protocol; /* RTPROT_… */
	uint8_t type;     /* RTN_… */
};

/* What has come of a frame so far. */
struct fpm_input {
	size_t n;
	uint8_t byte[FPM_FRAME_MAX];
	_Alignas(8) uint8_t message[FPM_FRAME_MAX]; /* of the frame that is read */
};

typedef void fpm_said(void *context, const struct fpm_route *, bool removed);

/* Takes bytes of the stream, any number, and says each route of the frames that they complete.
 * -EPROTO: it is no such stream, and nothing more can be read of it. */
int fpm_take(struct fpm_input *, const uint8_t *bytes, size_t n, fpm_said *, void *context);

/* Writes an answer's frame; how many bytes. */
size_t fpm_answer(uint8_t to[FPM_ANSWER_BYTES], const struct fpm_route *, bool offloaded);

#endif
