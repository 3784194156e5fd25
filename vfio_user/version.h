/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Negotiation: the payload of VERSION, both ways ("VFIO_USER_VERSION").
 *
 * The client names what it can receive, the server answers for itself, and each side then respects
 * the other's limits. The reply may hold only capabilities that the client named; what is not named
 * has the specification's default. Unknown keys are ignored (`migration` occurs in the wild).
 */
#ifndef VFIO_USER_VERSION_H
#define VFIO_USER_VERSION_H

#include "ipc/error.h"
#include "wire.h"

/* Which capabilities a payload names. */
#define VFIO_USER_HAS_FDS      0x01u
#define VFIO_USER_HAS_TRANSFER 0x02u
#define VFIO_USER_HAS_MAPS     0x04u
#define VFIO_USER_HAS_PAGES    0x08u
#define VFIO_USER_HAS_MULTI    0x10u

struct vfio_user_limits {
	uint16_t major;
	uint16_t minor;
	unsigned named;       /* VFIO_USER_HAS_* */
	uint32_t max_msg_fds; /* the sender receives at most so many in a message */
	uint32_t max_data_xfer_size;
	uint32_t max_dma_maps;
	uint64_t pgsizes;
	bool write_multiple;
};

/* -EINVAL with the reason in error: no version, no JSON object, a limit that is no limit. */
int vfio_user_version_parse(const uint8_t *payload, uint32_t bytes, struct vfio_user_limits *limits,
	struct error *error);

/* Writes the capabilities in `named` into payload; returns its size, NUL included, or -ENOSPC. */
int vfio_user_version_build(uint8_t *payload, uint32_t room, const struct vfio_user_limits *limits);

#endif
