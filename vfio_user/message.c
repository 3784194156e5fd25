/* SPDX-License-Identifier: BSD-3-Clause */
#include "message.h"

#include "ipc/rights.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_BYTES ((uint32_t)sizeof(struct vfio_user_header))

void vfio_user_message_free(struct vfio_user_message *message)
{
	if (!message)
		return;
	for (unsigned i = 0; i < message->fd_count; i++)
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	free(message->payload);
	free(message);
}

void vfio_user_stream_reset(struct vfio_user_stream *stream)
{
	vfio_user_message_free(stream->partial);
	*stream = (struct vfio_user_stream){0};
}

/* recvmsg of what is there: bytes, 0 for "not yet", -ECONNRESET at the end. */
static ssize_t read_some(
	int socket, struct iovec *parts, unsigned count, struct vfio_user_message *message)
{
	struct msghdr received = {.msg_iov = parts, .msg_iovlen = count};
	union rights rights;
	ssize_t n;

	rights_expect(&received, &rights);
	do
		n = recvmsg(socket, &received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	message->fd_count += rights_detach(&received, message->fds + message->fd_count,
		VFIO_USER_FDS_MAX - message->fd_count, &message->fds_lost);
	return n ? n : -ECONNRESET;
}

static int check_size(const struct vfio_user_header *header)
{
	return header->size >= HEADER_BYTES && header->size <= VFIO_USER_MESSAGE_MAX ? 0 : -EPROTO;
}

static int allocate_payload(struct vfio_user_message *message)
{
	message->bytes = message->header.size - HEADER_BYTES;
	if (!message->bytes)
		return 0;
	message->payload = malloc(message->bytes);
	return message->payload ? 0 : -ENOMEM;
}

int vfio_user_receive(
	struct vfio_user_stream *stream, int socket, struct vfio_user_message **message)
{
	for (;;) {
		if (!stream->partial) {
			stream->partial = calloc(1, sizeof(*stream->partial));
			if (!stream->partial)
				return -ENOMEM;
		}
		struct vfio_user_message *m = stream->partial;
		struct iovec rest;

		if (stream->have == HEADER_BYTES && !m->payload && allocate_payload(m) != 0)
			return -ENOMEM;
		if (stream->have < HEADER_BYTES)
			rest = (struct iovec){
				(uint8_t *)&m->header + stream->have, HEADER_BYTES - stream->have};
		else
			rest = (struct iovec){m->payload + (stream->have - HEADER_BYTES),
				m->header.size - stream->have};
		ssize_t n = read_some(socket, &rest, 1, m);
		if (n <= 0)
			return (int)n;
		stream->have += (uint32_t)n;
		if (stream->have == HEADER_BYTES && check_size(&m->header) != 0)
			return -EPROTO;
		if (stream->have >= HEADER_BYTES && stream->have == m->header.size) {
			*message = m;
			*stream = (struct vfio_user_stream){0};
			return 1;
		}
	}
}

static bool hung_up(int socket)
{
	struct pollfd state = {.fd = socket, .events = POLLRDHUP};

	return poll(&state, 1, 0) > 0;
}

int vfio_user_peek(int socket, struct vfio_user_header *header)
{
	int arrived = 0;
	ssize_t n;

	/* Without a control buffer the kernel installs no descriptors. */
	do
		n = recv(socket, header, sizeof(*header), MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	/* Asked before the count: what a peer that is gone has sent, has arrived. */
	bool gone = hung_up(socket);
	while (ioctl(socket, SIOCINQ, &arrived) != 0)
		if (errno != EINTR)
			return -errno;
	if (arrived < (int)HEADER_BYTES)
		return gone ? -ECONNRESET : 0;
	/* More may have come since the first look; what is there now is seen whole. */
	if ((size_t)n < sizeof(*header))
		n = recv(socket, header, sizeof(*header), MSG_PEEK | MSG_DONTWAIT);
	if (n != (ssize_t)sizeof(*header))
		return -EPROTO; /* descriptors in the middle of a header: no server does that */
	int error = check_size(header);
	if (error)
		return error;
	if ((uint32_t)arrived >= header->size)
		return 1;
	return gone ? -ECONNRESET : 0;
}

/* A message with that header and room for its payload, touched so that copying meets no page
 * fault. */
static struct vfio_user_message *prepare(const struct vfio_user_header *header)
{
	struct vfio_user_message *message = calloc(1, sizeof(*message));

	if (!message)
		return NULL;
	message->header = *header;
	if (allocate_payload(message) != 0) {
		free(message);
		return NULL;
	}
	if (message->bytes)
		memset(message->payload, 0, message->bytes);
	return message;
}

int vfio_user_copy(
	int socket, const struct vfio_user_header *header, struct vfio_user_message **message)
{
	struct vfio_user_message *m = prepare(header);
	ssize_t n;

	if (!m)
		return -ENOMEM;
	struct iovec parts[2] = {{&m->header, HEADER_BYTES}, {m->payload, m->bytes}};
	struct msghdr received = {.msg_iov = parts, .msg_iovlen = 2};
	do
		n = recvmsg(socket, &received, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)header->size) {
		vfio_user_message_free(m);
		return n < 0 ? -errno : -EPROTO;
	}
	*message = m;
	return 0;
}

int vfio_user_take(
	int socket, const struct vfio_user_header *header, struct vfio_user_message **message)
{
	struct vfio_user_message *m = prepare(header);

	if (!m)
		return -ENOMEM;
	/* More than one turn only if a buffer with descriptors ends in the middle. */
	for (uint32_t have = 0; have < header->size;) {
		struct iovec rest[2];
		unsigned count = 0;
		uint32_t done = have > HEADER_BYTES ? have - HEADER_BYTES : 0;

		if (have < HEADER_BYTES)
			rest[count++] =
				(struct iovec){(uint8_t *)&m->header + have, HEADER_BYTES - have};
		if (m->bytes > done)
			rest[count++] = (struct iovec){m->payload + done, m->bytes - done};
		ssize_t n = read_some(socket, rest, count, m);
		if (n <= 0) {
			vfio_user_message_free(m);
			/* With a part of it taken there is no trying again. */
			return n == 0 || (have && n == -ENOMEM) ? -EPROTO : (int)n;
		}
		have += (uint32_t)n;
	}
	*message = m;
	return 0;
}

int vfio_user_discard(int socket, const struct vfio_user_header *header)
{
	struct vfio_user_message *message;
	int error = vfio_user_take(socket, header, &message);

	if (!error)
		vfio_user_message_free(message);
	return error;
}

ssize_t vfio_user_send(int socket, const struct iovec *parts, unsigned part_count, const int *fds,
	unsigned fd_count)
{
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = part_count};
	union rights rights;
	ssize_t n;

	_Static_assert(VFIO_USER_FDS_MAX <= RIGHTS_MAX, "all of a message");

	if (fd_count > VFIO_USER_FDS_MAX)
		return -E2BIG;
	rights_attach(&message, &rights, fds, fd_count);
	do
		n = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
