/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's end of a vfio-user connection: requests with their replies, and the other way round
 * the server's DMA messages, answered from message windows. vfio_user.h says how it survives
 * SIGKILL.
 */
#ifndef DRIVER_VFIO_USER_CHANNEL_H
#define DRIVER_VFIO_USER_CHANNEL_H

#include <vfio_user/message.h>

/* Memory that the server reaches by messages. */
struct channel_window {
	uint64_t first;
	uint64_t last; /* inclusive */
	uint32_t access;
	uint8_t *address;
};

struct channel {
	int socket; /* owned */
	uint16_t next_id;
	bool refused;        /* the last call's error is what the peer answered */
	bool lost;           /* every further request is -ENOTCONN */
	bool silent;         /* a request missed its deadline, and the server owes replies still */
	unsigned unanswered; /* requests whose replies have not come */
	uint16_t last_id;    /* of the latest request: its reply settles all before it */
	struct channel_window *window;
	unsigned window_count;
	unsigned window_room;
};

struct channel_request {
	uint16_t command;
	struct iovec parts[2]; /* the payload; at most VFIO_USER_CHUNK and a structure */
	int fd;                /* to send along; -1: none */
	size_t reply_bytes;    /* the least payload of a good reply */
};

void channel_open(struct channel *channel, int socket);
void channel_close(struct channel *channel);

/*
 * Sends, serves DMA messages until the reply is there. 0 and *reply, the caller's to free (reply
 * may be NULL: not wanted); the server's error as -errno; -ETIMEDOUT; -EPROTO for a reply too
 * short; -ENOMEM, -EMFILE: short of memory or descriptors here, the connection stays good;
 * -ENOTCONN, -ECONNRESET when lost.
 *
 * After -ETIMEDOUT the channel is silent: every call fails with -ETIMEDOUT at once, until the reply
 * to the latest request has come (channel_post may send another). So a server that hangs costs its
 * client one deadline, not one for each request, and does nothing late that its client has given
 * up.
 */
int channel_call(struct channel *channel, unsigned timeout_ms,
	const struct channel_request *request, struct vfio_user_message **reply);

/* The two halves of channel_call. post: sends, does not wait. collect: 1 and the reply, as
 * channel_call gives it; -EAGAIN: not yet; -errno. A reply that nobody collects is dropped by
 * channel_service. */
int channel_post(struct channel *channel, const struct channel_request *request, uint16_t *id);
int channel_collect(struct channel *channel, uint16_t id, const struct channel_request *request,
	struct vfio_user_message **reply);

/* Serves what has come, without waiting. 0, -ENOMEM or -EMFILE: not now; or -errno when lost. */
int channel_service(struct channel *channel);

/* -EEXIST for an overlap, -ENOMEM. */
int channel_add_window(struct channel *channel, const struct channel_window *window);
/* -ENOENT if there is none exactly like it. */
int channel_remove_window(struct channel *channel, uint64_t first, uint64_t last);
void channel_remove_windows(struct channel *channel);

#endif
