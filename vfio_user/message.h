/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages on a stream socket: cut out of the byte stream, with their descriptors, and put back
 * whole.
 *
 * A read never crosses the end of a message. Descriptors belong to the buffer they were sent with,
 * and the kernel hands them out with the first byte of it; so those that come while reading a
 * message are that message's, however the sender chopped it, and none is attributed to a neighbour.
 */
#ifndef VFIO_USER_MESSAGE_H
#define VFIO_USER_MESSAGE_H

#include "wire.h"

#include <sys/types.h>
#include <sys/uio.h>

#define VFIO_USER_FDS_MAX 16u /* in one message; what both ends advertise */

/* The longest message either end accepts: a megabyte of data and the structures before it. */
#define VFIO_USER_MESSAGE_MAX (VFIO_USER_DEFAULT_TRANSFER + 64u)

struct vfio_user_message {
	struct vfio_user_header header;
	uint8_t *payload; /* header.size less the header; NULL when that is 0 */
	uint32_t bytes;   /* of it */
	int fds[VFIO_USER_FDS_MAX];
	unsigned fd_count;
	bool fds_lost; /* more came than there was room for; the rest is closed already */
	struct vfio_user_message *next; /* the owner's */
};

/* Closes descriptors still in it (one that is taken out is set to -1), and frees. NULL does
 * nothing. */
void vfio_user_message_free(struct vfio_user_message *message);

static inline bool vfio_user_is_reply(const struct vfio_user_header *header)
{
	return (header->flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY;
}

/* Reassembly on a socket, at any pace of arrival. Zeroed: at the start of a message. */
struct vfio_user_stream {
	struct vfio_user_message *partial;
	uint32_t have; /* bytes of it, header included */
};

/*
 * Reads what is there without waiting. 1: *message is whole, the caller's to free. 0: nothing more
 * yet. -ENOMEM: there is no memory for it now; nothing is lost, call again later. -ECONNRESET: the
 * peer is gone; -EPROTO: a size that no message has; other -errno: of the socket. After those only
 * vfio_user_stream_reset.
 */
int vfio_user_receive(
	struct vfio_user_stream *stream, int socket, struct vfio_user_message **message);
void vfio_user_stream_reset(struct vfio_user_stream *stream);

/*
 * For a reader that may be killed: nothing is consumed before all of a message has arrived, and
 * then all of it at once, so the socket stays at a message boundary if the sender sent each message
 * at once.
 *
 *   peek     has all of a message arrived? Its header: 1, 0 or -errno as above
 *   copy     a copy of the message that peek found (without descriptors), which stays in the socket
 *   take     that message, with its descriptors
 *   discard  takes it, and forgets it
 *
 * copy and take: 0 or -errno; with -ENOMEM the message is still in the socket. Copy, act, discard:
 * an act that was cut short is done again by the next.
 */
int vfio_user_peek(int socket, struct vfio_user_header *header);
int vfio_user_copy(
	int socket, const struct vfio_user_header *header, struct vfio_user_message **message);
int vfio_user_take(
	int socket, const struct vfio_user_header *header, struct vfio_user_message **message);
int vfio_user_discard(int socket, const struct vfio_user_header *header);

/* One sendmsg without waiting, and without SIGPIPE. Bytes sent, or -errno. Descriptors go with the
 * first byte. */
ssize_t vfio_user_send(int socket, const struct iovec *parts, unsigned part_count, const int *fds,
	unsigned fd_count);

#endif
