/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/exchange.h"

#include "ipc/clock.h"
#include "ipc/peer.h"
#include "ipc/rights.h"
#include "ipc/unix_address.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

void exchange_close_all(const int *fds, unsigned count)
{
	for (unsigned k = 0; k < count; k++)
		close(fds[k]);
}

int exchange_connect(const char *path)
{
	struct sockaddr_un address;
	int error = unix_address(&address, path);
	int fd;

	if (error)
		return error;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	error = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0
			? -errno
			: unix_peer_is_ours(fd);
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

int exchange_send(int socket, void *message, size_t bytes, const int *fds, unsigned count)
{
	return rights_send(socket, message, bytes, fds, count) == (ssize_t)bytes ? 0 : -errno;
}

int exchange_receive(
	int socket, void *message, size_t bytes, int *fds, unsigned room, unsigned *count)
{
	struct iovec data = {message, bytes};
	struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
	union rights rights;
	bool lost = false;
	ssize_t n;

	rights_expect(&header, &rights);
	n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	*count = 0;
	if (n < 0)
		return -errno;
	/* Descriptors first: they may come with a message of no bytes, which looks like the end. */
	*count = rights_detach(&header, fds, room, &lost);
	if (n == 0 && *count == 0 && !lost)
		return 0;
	if (n == (ssize_t)bytes && !lost && !(header.msg_flags & MSG_TRUNC))
		return 1;
	exchange_close_all(fds, *count);
	*count = 0;
	return n == (ssize_t)bytes && lost ? -EMFILE : -EPROTO;
}

static int await(int socket, short events, int64_t deadline)
{
	struct pollfd fd = {.fd = socket, .events = events};
	const struct timespec moment = {.tv_nsec = 1000000};
	const int64_t left = deadline - clock_now_ms();

	if (left <= 0)
		return -ETIMEDOUT;
	if (poll(&fd, 1, (int)left) < 0)
		nanosleep(&moment, NULL); /* it did not wait */
	return 0;
}

/* There is nothing, or not the memory for it, now. */
static bool waits(int result)
{
	return result == -EAGAIN || result == -EINTR || result == -ENOMEM || result == -ENOBUFS;
}

int exchange_ask(int socket, void *message, size_t bytes, const int *fds, unsigned count, int *got,
	unsigned room, unsigned *got_count, unsigned patience_ms)
{
	const int64_t deadline = clock_now_ms() + patience_ms;
	int result;

	*got_count = 0;
	while ((result = exchange_send(socket, message, bytes, fds, count)) == -EAGAIN)
		if ((result = await(socket, POLLOUT, deadline)))
			return result;
	if (result)
		return result == -EPIPE ? -ECONNRESET : result;
	/* Its reply comes, and is not to be taken for that of the next request. */
	while (waits(result = exchange_receive(socket, message, bytes, got, room, got_count)))
		if ((result = await(socket, POLLIN, deadline)))
			return result;
	return result == 1 ? 0 : result ? result : -ECONNRESET;
}
