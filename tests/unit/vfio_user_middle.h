/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that does not mean well, for tests of the client: a man in the middle passes messages
 * between the client and the rig's server, and changes what the server says.
 *
 *     client ── client_end ⟷ client ─ thread of the middle ─ server ⟷ rig
 */
#ifndef TESTS_VFIO_USER_MIDDLE_H
#define TESTS_VFIO_USER_MIDDLE_H

#include "driver/device.h"
#include "driver/vfio_user.h"
#include "vfio_user_rig.h"

struct middle;

/* What is done to a message of the server. */
struct twist {
	uint16_t command; /* 0: every one */
	int region;       /* of a GET_REGION_INFO or GET_REGION_IO_FDS; -1: any */
	/* Changes the message, or says something of its own first; false: it is not passed on. */
	bool (*change)(struct middle *, struct vfio_user_message *);
	int expected; /* of what the client then does; 1: any error */
};

struct middle {
	struct rig rig;
	struct device *device;
	const struct twist *_Atomic twist; /* NULL: messages pass as they are */
	int client_end;                    /* given to the client */
	int client, server;
	pthread_t thread;
	_Atomic bool stop;
	unsigned fds;
	_Atomic unsigned times; /* that the twist was applied */
};

/* A rig and the man before it, who twists from the first message; for a client at client_end. */
void middle_begin(struct middle *, const struct twist *);

/* The same with a client already connected (to device), before the twist is set. */
void middle_begin_connected(struct middle *, const struct twist *);

/* Closes all; no file descriptor may be left. */
void middle_end(struct middle *);

/* What a device that opened may look like: whatever it says, nothing that is said to be mapped can
 * fault. */
void middle_check_mappings(struct device *);

/* --- For changes ------------------------------------------------------------------------------ */

/* Puts bytes, or a message, on the socket, whatever its size field says. */
void middle_send(int socket, const void *, size_t bytes, const int *fds, unsigned fd_count);
void middle_pass(int socket, const struct vfio_user_message *);

/* Another length of the payload, and the size field with it; new bytes are zero. */
void middle_resize(struct vfio_user_message *, uint32_t bytes);
void middle_drop_fds(struct vfio_user_message *);

/* A field of the payload. */
#define FIELD(message, type, at) (*(type *)(void *)((message)->payload + (at)))

/* Changes that any reply can suffer. */
bool twist_shorter(struct middle *, struct vfio_user_message *);
bool twist_empty(struct middle *, struct vfio_user_message *);
bool twist_fails(struct middle *, struct vfio_user_message *);
bool twist_hangs_up_half_way(struct middle *, struct vfio_user_message *);
bool twist_size_huge(struct middle *, struct vfio_user_message *);
bool twist_more_fds(struct middle *, struct vfio_user_message *);

#endif
