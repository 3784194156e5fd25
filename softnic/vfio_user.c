/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user.h"

#include "ipc/peer.h"
#include "vfio_user_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void vfu_log_line(struct vfu *vfu, const char *text)
{
	if (!vfu->config.ops->log || vfu->logged > VFU_LOG_MAX)
		return;
	if (vfu->logged++ == VFU_LOG_MAX)
		text = "vfio-user: no more about this client, there was too much";
	vfu->config.ops->log(vfu->config.device, text);
}

void vfu_wake(struct vfu *vfu)
{
	uint64_t one = 1;
	ssize_t n = write(vfu->wake, &one, sizeof(one));

	(void)n; /* a full counter is a signal too */
}

/* --- Input ------------------------------------------------------------------------------------ */

/* The next message; NULL if there is none now. */
static struct vfio_user_message *next_message(struct vfu *vfu)
{
	struct vfio_user_message *message;
	int result = vfio_user_receive(&vfu->stream, vfu->connection, &message);

	/* Without memory for it now, it waits in the socket. */
	if (result < 0 && result != -ENOMEM) {
		vfu->input_error = result;
		vfu->broken = true;
	}
	return result == 1 ? message : NULL;
}

/* --- Output ----------------------------------------------------------------------------------- */

/* With `transmit` held: the first of the queue is done with. */
static void drop_unsent(struct vfu *vfu)
{
	struct vfu_unsent *first = vfu->unsent;

	vfu->unsent = first->next;
	if (!vfu->unsent)
		vfu->unsent_end = &vfu->unsent;
	if (first->posted)
		vfu->posted_bytes -= sizeof(*first) + first->bytes;
	else
		vfu->unsent_owed--;
	free(first);
}

/* With `transmit` held. */
static void flush_locked(struct vfu *vfu)
{
	while (vfu->unsent) {
		struct vfu_unsent *first = vfu->unsent;
		struct iovec rest = {first->data + first->done, first->bytes - first->done};
		ssize_t n = vfio_user_send(
			vfu->connection, &rest, 1, first->fds, first->done ? 0 : first->fd_count);

		if (n == -EAGAIN)
			return;
		if (n < 0)
			vfu->broken = true;
		else
			first->done += (size_t)n;
		if (n < 0 || first->done == first->bytes)
			drop_unsent(vfu);
	}
}

bool vfu_flush(struct vfu *vfu)
{
	pthread_mutex_lock(&vfu->transmit);
	flush_locked(vfu);
	bool empty = !vfu->unsent;
	pthread_mutex_unlock(&vfu->transmit);
	return empty;
}

/* With `transmit` held: the message less the first `done` bytes waits its turn. */
static int queue_unsent(struct vfu *vfu, const struct iovec *parts, unsigned count, size_t done,
	const int *fds, unsigned fd_count, bool posted)
{
	struct vfu_unsent *unsent = NULL;
	size_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += parts[i].iov_len;
	if (!posted || done || vfu->posted_bytes + sizeof(*unsent) + bytes <= VFU_POSTED_MAX)
		unsent = malloc(sizeof(*unsent) + bytes);
	if (!unsent && posted && !done)
		return -ENOBUFS;
	if (!unsent) {
		vfu->broken = true; /* half a message may be out: the stream is lost */
		return -ENOTCONN;
	}
	*unsent = (struct vfu_unsent){
		.posted = posted, .bytes = bytes, .done = done, .fd_count = fd_count};
	if (fd_count)
		memcpy(unsent->fds, fds, fd_count * sizeof(int));
	for (size_t i = 0, at = 0; i < count; at += parts[i].iov_len, i++)
		if (parts[i].iov_len)
			memcpy(unsent->data + at, parts[i].iov_base, parts[i].iov_len);
	if (posted)
		vfu->posted_bytes += sizeof(*unsent) + bytes;
	else
		vfu->unsent_owed++;
	if (!vfu->unsent)
		vfu_wake(vfu); /* whose thread waits for room to send */
	*vfu->unsent_end = unsent;
	vfu->unsent_end = &unsent->next;
	return 0;
}

int vfu_transmit(struct vfu *vfu, const struct vfio_user_header *header, const struct iovec *parts,
	unsigned part_count, const int *fds, unsigned fd_count)
{
	bool posted = header->flags & VFIO_USER_NO_REPLY;
	struct iovec all[4];
	ssize_t n = 0;
	int result = 0;

	all[0] = (struct iovec){(void *)header, sizeof(*header)};
	for (unsigned i = 0; i < part_count && i < 3; i++)
		all[i + 1] = parts[i];
	part_count++;

	pthread_mutex_lock(&vfu->transmit);
	flush_locked(vfu);
	if (!vfu->unsent)
		n = vfio_user_send(vfu->connection, all, part_count, fds, fd_count);
	if (n == -EAGAIN)
		n = 0;
	if (n < 0) {
		vfu->broken = true;
		result = -ENOTCONN;
	} else if ((size_t)n < header->size) {
		result = queue_unsent(vfu, all, part_count, (size_t)n, fds, fd_count, posted);
	}
	pthread_mutex_unlock(&vfu->transmit);
	return result;
}

/* --- Connections ------------------------------------------------------------------------------ */

/* Waits for room to send what is queued; for input unless replies are stuck: a client that does not
 * read its replies gets no commands done. */
static void set_interest(struct vfu *vfu, bool queued, bool stuck)
{
	struct epoll_event event = {
		.events = (stuck ? 0u : EPOLLIN) | (queued ? EPOLLOUT : 0u),
		.data.fd = vfu->connection,
	};

	if (vfu->interest == event.events)
		return;
	vfu->interest = event.events;
	epoll_ctl(vfu->epoll, EPOLL_CTL_MOD, vfu->connection, &event);
}

static int watch(struct vfu *vfu, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(vfu->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static void connect_client(struct vfu *vfu, int connection)
{
	pthread_mutex_lock(&vfu->dma);
	pthread_mutex_lock(&vfu->transmit);
	vfu->connection = connection;
	pthread_mutex_unlock(&vfu->transmit);
	vfu->broken = false;
	vfu->silent = false;
	vfu->heard = 0;
	pthread_mutex_unlock(&vfu->dma);
	vfu->input_error = 0;
	vfu->give_up = false;
	vfu->interest = EPOLLIN;
	vfu->logged = 0;
}

static void disconnect_client(struct vfu *vfu)
{
	bool was_negotiated = vfu->negotiated;

	if (vfu->input_error == -EPROTO)
		vfu_log(vfu, "vfio-user: client sent what is no message; disconnected");

	vfu_dma_cancel(vfu);
	pthread_mutex_lock(&vfu->dma);
	vfu->negotiated = false; /* an engine that holds dma has found it true and is done */
	pthread_mutex_lock(&vfu->transmit);
	shutdown(vfu->connection, SHUT_RDWR);
	close(vfu->connection); /* leaves the epoll set with it */
	vfu->connection = -1;
	while (vfu->unsent)
		drop_unsent(vfu);
	pthread_mutex_unlock(&vfu->transmit);
	pthread_mutex_unlock(&vfu->dma);
	vfio_user_stream_reset(&vfu->stream);

	vfu_forget_client(vfu);
	if (was_negotiated && vfu->config.ops->disconnected)
		vfu->config.ops->disconnected(vfu->config.device);
}

/* Sends what is queued; whether a reply is left. */
static bool replies_stuck(struct vfu *vfu)
{
	bool queued = !vfu_flush(vfu);

	pthread_mutex_lock(&vfu->transmit);
	bool stuck = vfu->unsent_owed;
	pthread_mutex_unlock(&vfu->transmit);
	set_interest(vfu, queued, stuck);
	return stuck;
}

/* True if something was done. */
static bool serve_client(struct vfu *vfu)
{
	unsigned budget = VFU_BUDGET;

	while (vfu->connection >= 0) {
		if (replies_stuck(vfu) && !vfu->broken)
			break;
		struct vfio_user_message *message = next_message(vfu);
		if (!message) {
			if (!vfu->broken)
				break;
			disconnect_client(vfu);
			return true;
		}
		vfu_hear(vfu, message);
		if (!vfio_user_is_reply(&message->header))
			vfu_command(vfu, message);
		vfio_user_message_free(message);
		if (vfu->give_up) {
			disconnect_client(vfu);
			return true;
		}
		if (--budget == 0) {
			vfu_wake(vfu);
			break;
		}
	}
	return budget < VFU_BUDGET;
}

/* "One client at a time": said in the reply to its VERSION, which carries the id of that. False: it
 * has not come yet. */
static bool refuse_client(struct vfu *vfu, int connection)
{
	struct vfio_user_header version;
	struct vfio_user_header busy = {
		.command = VFIO_USER_VERSION,
		.size = sizeof(busy),
		.flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR,
		.error = EBUSY,
	};
	struct iovec part = {&busy, sizeof(busy)};
	struct pollfd state = {.fd = connection, .events = POLLRDHUP};
	/* Asked before the look: what a client that is gone has sent, has arrived. */
	bool gone = poll(&state, 1, 0) > 0;
	ssize_t n = recv(connection, &version, sizeof(version), MSG_DONTWAIT | MSG_PEEK);

	if (!gone && (n > 0 ? n < (ssize_t)sizeof(version) : n < 0 && errno == EAGAIN))
		return false;
	if (n == (ssize_t)sizeof(version)) {
		busy.id = version.id;
		vfio_user_send(connection, &part, 1, NULL, 0);
		vfu_log(vfu, "vfio-user: refused a second client: one at a time");
	}
	close(connection);
	return true;
}

/* Edge-triggered: half a header must not keep the thread awake. */
static bool refuse_later(struct vfu *vfu, int connection)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = connection};

	for (unsigned i = 0; i < VFU_REFUSED_MAX; i++)
		if (vfu->refused[i] < 0 &&
			epoll_ctl(vfu->epoll, EPOLL_CTL_ADD, connection, &event) == 0) {
			vfu->refused[i] = connection;
			return true;
		}
	return false;
}

static void refuse_clients(struct vfu *vfu)
{
	struct epoll_event all[VFU_REFUSED_MAX + 3]; /* the client, the listener and `wake` */

	/* Only this takes edges back: without it they would keep `epoll` readable. */
	epoll_wait(vfu->epoll, all, VFU_REFUSED_MAX + 3, 0);
	for (unsigned i = 0; i < VFU_REFUSED_MAX; i++)
		if (vfu->refused[i] >= 0 && refuse_client(vfu, vfu->refused[i]))
			vfu->refused[i] = -1;
}

static bool has_gone(int connection)
{
	struct pollfd state = {.fd = connection};

	return poll(&state, 1, 0) > 0; /* POLLHUP */
}

static void accept_clients(struct vfu *vfu)
{
	/* A few at a time; the listener stays readable if there are more. */
	for (int i = 0; vfu->listener.fd >= 0 && i < 4; i++) {
		int connection =
			accept4(vfu->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (connection < 0)
			return;
		/* A client that goes and comes again at once is not refused for its own sake. What
		 * it sent before it went is served first, which ends: nothing can be added. (No
		 * test takes serve_client's "nothing was done" here: it would need two reads to
		 * fail in a row.) */
		while (vfu->connection >= 0 && has_gone(vfu->connection) && serve_client(vfu))
			;
		if (unix_peer_is_ours(connection)) {
			close(connection);
			vfu_log(vfu, "vfio-user: refused a client of another user");
			continue;
		}
		if (vfu->connection >= 0) {
			if (!refuse_client(vfu, connection) && !refuse_later(vfu, connection))
				close(connection);
		} else if (watch(vfu, connection) != 0) {
			close(connection);
		} else {
			connect_client(vfu, connection);
		}
	}
}

void vfu_service(struct vfu *vfu)
{
	uint64_t count;
	ssize_t n = read(vfu->wake, &count, sizeof(count));

	(void)n;
	serve_client(vfu);
	refuse_clients(vfu);
	accept_clients(vfu);
}

bool vfu_connected(const struct vfu *vfu)
{
	return vfu->negotiated && !vfu->broken;
}

int vfu_fd(const struct vfu *vfu)
{
	return vfu->epoll;
}

/* --- Life ------------------------------------------------------------------------------------- */

static int fail(struct error *error, int result, const char *what, const char *path)
{
	return error_set(
		error, result, "vfio-user: %s %s: %s", what, path ? path : "", strerror(-result));
}

/* Whoever can connect owns the NIC. */
static int listen_at(struct vfu *vfu, const char *path, struct error *error)
{
	char text[UNIX_LISTEN_TEXT_BYTES];
	int result = unix_listen(&vfu->listener, path, SOCK_STREAM | SOCK_NONBLOCK, 0600, 8);

	if (result)
		return error_set(
			error, result, "vfio-user: %s", unix_listen_error(path, result, text));
	result = watch(vfu, vfu->listener.fd);
	return result ? fail(error, result, "poll", path) : 0;
}

/* The device's own description: a mistake in it is the programmer's, but named here. */
static int check_config(const struct vfu_config *config, struct error *error)
{
	if (!config->ops || !config->ops->region_read || !config->ops->region_write ||
		!config->ops->dma_map || !config->ops->dma_unmap || !config->ops->dma_unmap_all ||
		config->vectors > VFU_VECTORS_MAX)
		return fail(error, -EINVAL, "device description", config->path);
	for (unsigned i = 0; i < VFU_REGIONS; i++) {
		const struct vfu_region *region = &config->region[i];

		if (region->area_count > 64 || region->io_fd_count > VFIO_USER_FDS_MAX)
			return fail(error, -EINVAL, "region description", config->path);
		for (unsigned k = 0; k < region->area_count; k++)
			if (region->areas[k].offset > region->bytes ||
				region->areas[k].size > region->bytes - region->areas[k].offset)
				return fail(error, -EINVAL, "mappable area", config->path);
	}
	return 0;
}

int vfu_open(struct vfu **result, const struct vfu_config *config, struct error *error)
{
	int status = check_config(config, error);

	if (status)
		return status;
	struct vfu *vfu = calloc(1, sizeof(*vfu));
	if (!vfu)
		return fail(error, -ENOMEM, "open", config->path);
	vfu->config = *config;
	if (!vfu->config.dma_timeout_ms)
		vfu->config.dma_timeout_ms = 2000;
	vfu->listener.fd = vfu->connection = -1;
	vfu->unsent_end = &vfu->unsent;
	pthread_mutex_init(&vfu->transmit, NULL);
	pthread_mutex_init(&vfu->dma, NULL);
	pthread_mutex_init(&vfu->irq, NULL);
	for (unsigned i = 0; i < VFU_VECTORS_MAX; i++)
		vfu->vector[i].fd = -1;
	for (unsigned i = 0; i < VFU_REFUSED_MAX; i++)
		vfu->refused[i] = -1;

	vfu->reply = malloc(VFIO_USER_MESSAGE_MAX);
	vfu->epoll = epoll_create1(EPOLL_CLOEXEC);
	vfu->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!vfu->reply)
		status = -ENOMEM;
	else if (vfu->epoll < 0 || vfu->wake < 0)
		status = -errno;
	else
		status = watch(vfu, vfu->wake);
	if (status) {
		fail(error, status, "open", config->path);
		goto close;
	}
	if (config->path) {
		status = listen_at(vfu, config->path, error);
	} else {
		status = watch(vfu, config->connection);
		if (status)
			fail(error, status, "connection", NULL);
		else
			connect_client(vfu, config->connection);
	}
	if (status)
		goto close;
	vfu->config.path = NULL; /* the caller's string */
	*result = vfu;
	return 0;

close:
	vfu_close(vfu);
	return status;
}

void vfu_close(struct vfu *vfu)
{
	if (!vfu)
		return;
	if (vfu->connection >= 0)
		disconnect_client(vfu);
	unix_unlisten(&vfu->listener);
	for (unsigned i = 0; i < VFU_REFUSED_MAX; i++)
		if (vfu->refused[i] >= 0)
			close(vfu->refused[i]);
	if (vfu->epoll >= 0)
		close(vfu->epoll);
	if (vfu->wake >= 0)
		close(vfu->wake);
	pthread_mutex_destroy(&vfu->transmit);
	pthread_mutex_destroy(&vfu->dma);
	pthread_mutex_destroy(&vfu->irq);
	for (unsigned i = 0; i < VFU_READS_MAX; i++)
		free(vfu->read[i].data);
	free(vfu->window);
	free(vfu->reply);
	free(vfu);
}
