/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_channel.h"

#include "ipc/clock.h"
#include "vfio_user.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int lose(struct channel *channel, int error)
{
	channel->lost = true;
	return error;
}

/* What this host lacks says nothing about the peer: the stream is at the boundary where it was, and
 * the next request may succeed. */
static int lose_unless_passing(struct channel *channel, int error)
{
	return device_error_passes(error) ? error : lose(channel, error);
}

/* --- Sending ---------------------------------------------------------------------------------- */

/*
 * The whole message or nothing, waiting for room until the deadline. A message of ours fits one
 * buffer of the kernel, so a short count does not happen unless the socket's buffer was made tiny;
 * then the rest follows, and if it cannot, the stream is lost.
 */
static int send_all(
	struct channel *channel, struct iovec *parts, unsigned count, int fd, int64_t deadline)
{
	bool begun = false;

	while (count) {
		ssize_t n = vfio_user_send(
			channel->socket, parts, count, &fd, !begun && fd >= 0 ? 1 : 0);

		if (n == -EAGAIN) {
			int64_t left = deadline - clock_now_ms();
			struct pollfd room = {.fd = channel->socket, .events = POLLOUT};
			if (left <= 0)
				return begun ? lose(channel, -ETIMEDOUT) : -ETIMEDOUT;
			poll(&room, 1, (int)left);
			continue;
		}
		if (n < 0 && !begun && device_error_passes((int)n))
			return (int)n;
		if (n < 0)
			return lose(channel, n == -EPIPE ? -ECONNRESET : (int)n);
		begun = true;
		size_t sent = (size_t)n;
		while (count && sent >= parts->iov_len) {
			sent -= parts->iov_len;
			parts++;
			count--;
		}
		if (count) {
			parts->iov_base = (uint8_t *)parts->iov_base + sent;
			parts->iov_len -= sent;
		}
	}
	return 0;
}

/* --- DMA messages ----------------------------------------------------------------------------- */

static struct channel_window *find_window(struct channel *channel, uint64_t first, uint64_t last)
{
	for (unsigned i = 0; i < channel->window_count; i++)
		if (channel->window[i].first <= last && first <= channel->window[i].last)
			return &channel->window[i];
	return NULL;
}

/* An aligned word is moved by one access, after all before it: rings publish their indices so. */
static void copy_out(uint8_t *to, const uint8_t *from, size_t bytes)
{
	if (bytes == 8 && (uintptr_t)to % 8 == 0) {
		uint64_t word;
		memcpy(&word, from, 8);
		__atomic_store_n((uint64_t *)(void *)to, word, __ATOMIC_RELEASE);
	} else if (bytes == 4 && (uintptr_t)to % 4 == 0) {
		uint32_t word;
		memcpy(&word, from, 4);
		__atomic_store_n((uint32_t *)(void *)to, word, __ATOMIC_RELEASE);
	} else {
		memcpy(to, from, bytes);
	}
}

static int answer(struct channel *channel, const struct vfio_user_message *message, int error,
	struct iovec *payload, unsigned count)
{
	struct vfio_user_header header = {
		.id = message->header.id,
		.command = message->header.command,
		.size = sizeof(header),
		.flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0),
		.error = (uint32_t)-error,
	};
	struct iovec parts[3] = {{&header, sizeof(header)}};

	if (message->header.flags & VFIO_USER_NO_REPLY)
		return 0;
	for (unsigned i = 0; i < count; i++) {
		parts[i + 1] = payload[i];
		header.size += (uint32_t)payload[i].iov_len;
	}
	/* The server waits for this and reads; if it does not for a second, it is gone. */
	int result = send_all(channel, parts, count + 1, -1, clock_now_ms() + 1000);
	return result == -ETIMEDOUT ? lose(channel, result) : result;
}

/* Serves one message of the server. 0, or -errno when lost. */
static int serve(struct channel *channel, const struct vfio_user_message *message)
{
	struct vfio_user_dma_access access;
	bool writes = message->header.command == VFIO_USER_DMA_WRITE;
	struct channel_window *window = NULL;
	uint64_t last;
	int error = 0;
	int result;

	if (!writes && message->header.command != VFIO_USER_DMA_READ)
		error = -ENOTSUP;
	else if (message->bytes < sizeof(access))
		error = -EINVAL;
	if (error)
		goto reply;
	memcpy(&access, message->payload, sizeof(access));
	if (!access.count || access.count > VFIO_USER_CHUNK ||
		message->bytes - sizeof(access) != (writes ? access.count : 0) ||
		__builtin_add_overflow(access.address, access.count - 1, &last)) {
		error = -EINVAL;
		goto reply;
	}
	window = find_window(channel, access.address, last);
	if (!window || access.address < window->first || last > window->last ||
		!(window->access & (writes ? VFIO_DMA_MAP_FLAG_WRITE : VFIO_DMA_MAP_FLAG_READ)))
		error = -EFAULT;
reply:
	if (error) {
		result = answer(channel, message, error, NULL, 0);
	} else {
		uint8_t *memory = window->address + (access.address - window->first);
		struct iovec payload[2] = {{&access, sizeof(access)}, {memory, access.count}};

		if (writes)
			copy_out(memory, message->payload + sizeof(access), access.count);
		result = answer(channel, message, 0, payload, writes ? 1 : 2);
	}
	return result;
}

/* --- Requests --------------------------------------------------------------------------------- */

/*
 * Reads one message: a command is served (0), a reply handed out (1); 0 also if nothing came. A
 * command leaves the socket only after it was served: if this process is killed in between, the
 * next serves it again, and nothing is missed. Doing it twice does no harm: none that came after it
 * has been done yet, and the server does not mind to hear twice.
 */
static int receive(struct channel *channel, struct vfio_user_message **reply, bool *idle)
{
	struct vfio_user_header header;
	struct vfio_user_message *command;
	int result = vfio_user_peek(channel->socket, &header);

	*idle = result == 0;
	if (result < 0)
		return lose_unless_passing(channel, result);
	if (result == 0)
		return 0;
	if (vfio_user_is_reply(&header)) {
		result = vfio_user_take(channel->socket, &header, reply);
		if (result)
			return lose_unless_passing(channel, result);
		/* Replies come in order: after the latest none is owed. */
		if ((*reply)->header.id == channel->last_id)
			channel->unanswered = 0;
		channel->silent = channel->silent && channel->unanswered;
		return 1;
	}
	result = vfio_user_copy(channel->socket, &header, &command);
	if (result)
		return lose_unless_passing(channel, result);
	result = serve(channel, command);
	vfio_user_message_free(command);
	if (result)
		return result;
	result = vfio_user_discard(channel->socket, &header);
	return result ? lose_unless_passing(channel, result) : 0;
}

/* Is this what the request waits for? A server that has a client already says EBUSY without having
 * read our id. */
static bool matches(const struct vfio_user_header *reply, uint16_t id, uint16_t command)
{
	if (reply->command != command)
		return false;
	return reply->id == id ||
	       (command == VFIO_USER_VERSION && (reply->flags & VFIO_USER_ERROR));
}

static int check_reply(struct channel *channel, const struct vfio_user_message *reply, size_t least)
{
	if (reply->header.flags & VFIO_USER_ERROR) {
		channel->refused = true;
		uint32_t error = reply->header.error;
		/* -EAGAIN means here that no reply has come. */
		return error == EAGAIN ? -EBUSY : error > 0 && error < 4096 ? -(int)error : -EIO;
	}
	channel->refused = reply->bytes < least;
	/* The kernel drops descriptors for which this process has no room. */
	return reply->fds_lost ? -EMFILE : reply->bytes < least ? -EPROTO : 0;
}

static void wait_for_more(struct channel *channel, int64_t left)
{
	struct pollfd input = {.fd = channel->socket, .events = POLLIN};
	const struct timespec moment = {.tv_nsec = 1000000};
	struct vfio_user_header header;

	/* Part of a message is there: it stays in the socket, so poll would not wait. */
	if (recv(channel->socket, &header, sizeof(header), MSG_PEEK | MSG_DONTWAIT) > 0)
		nanosleep(&moment, NULL);
	else
		poll(&input, 1, (int)left);
}

static int post(struct channel *channel, const struct channel_request *request, int64_t deadline,
	uint16_t *id)
{
	struct vfio_user_header header = {
		.id = channel->next_id++,
		.command = request->command,
		.size = (uint32_t)(sizeof(header) + request->parts[0].iov_len +
				   request->parts[1].iov_len),
	};
	struct iovec parts[3] = {{&header, sizeof(header)}, request->parts[0], request->parts[1]};

	channel->refused = false;
	if (channel->lost)
		return -ENOTCONN;
	*id = header.id;
	int result = send_all(channel, parts, 3, request->fd, deadline);
	/* A refused newcomer finds the socket closed for sending: the reply is there all the
	 * same. */
	if (result && !(result == -ECONNRESET && request->command == VFIO_USER_VERSION))
		return result;
	channel->last_id = header.id;
	channel->unanswered++;
	return 0;
}

int channel_post(struct channel *channel, const struct channel_request *request, uint16_t *id)
{
	/* There is room: nothing is sent while replies are owed but a question or two. */
	return post(channel, request, 0, id);
}

int channel_collect(struct channel *channel, uint16_t id, const struct channel_request *request,
	struct vfio_user_message **reply)
{
	for (;;) {
		struct vfio_user_message *message = NULL;
		bool idle;
		int result = receive(channel, &message, &idle);

		if (result < 0)
			return result;
		if (message && matches(&message->header, id, request->command)) {
			result = check_reply(channel, message, request->reply_bytes);
			if (reply && !result)
				*reply = message;
			else
				vfio_user_message_free(message);
			return result ? result : 1;
		}
		vfio_user_message_free(message); /* for a request given up, or of another life */
		if (idle)
			return -EAGAIN;
	}
}

int channel_call(struct channel *channel, unsigned timeout_ms,
	const struct channel_request *request, struct vfio_user_message **reply)
{
	int64_t deadline = clock_now_ms() + timeout_ms;
	uint16_t id;
	int result = channel->silent ? channel_service(channel) : 0;

	if (!result && channel->silent)
		result = -ETIMEDOUT;
	if (!result)
		result = post(channel, request, deadline, &id);
	if (result)
		return result;
	for (;;) {
		result = channel_collect(channel, id, request, reply);
		if (result != -EAGAIN)
			return result > 0 ? 0 : result;
		int64_t left = deadline - clock_now_ms();
		if (left <= 0) {
			channel->silent = true;
			return -ETIMEDOUT;
		}
		wait_for_more(channel, left);
	}
}

int channel_service(struct channel *channel)
{
	bool idle = false;
	int result = 0;

	if (channel->lost)
		return -ENOTCONN;
	while (!result && !idle) {
		struct vfio_user_message *reply = NULL;

		result = receive(channel, &reply, &idle);
		vfio_user_message_free(reply);
		if (result > 0)
			result = 0;
	}
	return result;
}

/* --- Windows ---------------------------------------------------------------------------------- */

int channel_add_window(struct channel *channel, const struct channel_window *window)
{
	if (find_window(channel, window->first, window->last))
		return -EEXIST;
	if (channel->window_count == channel->window_room) {
		unsigned room = channel->window_room ? 2 * channel->window_room : 16;
		struct channel_window *more = realloc(channel->window, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		channel->window = more;
		channel->window_room = room;
	}
	channel->window[channel->window_count++] = *window;
	return 0;
}

int channel_remove_window(struct channel *channel, uint64_t first, uint64_t last)
{
	for (unsigned i = 0; i < channel->window_count; i++) {
		if (channel->window[i].first != first || channel->window[i].last != last)
			continue;
		channel->window[i] = channel->window[--channel->window_count];
		return 0;
	}
	return -ENOENT;
}

void channel_remove_windows(struct channel *channel)
{
	channel->window_count = 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

void channel_open(struct channel *channel, int socket)
{
	*channel = (struct channel){.socket = socket};
	if (getrandom(&channel->next_id, sizeof(channel->next_id), GRND_NONBLOCK) < 0)
		channel->next_id = (uint16_t)(getpid() ^ clock_now_ms());
}

void channel_close(struct channel *channel)
{
	free(channel->window);
	close(channel->socket);
	*channel = (struct channel){.socket = -1, .lost = true};
}
