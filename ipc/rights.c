/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/rights.h"

#include <string.h>
#include <unistd.h>

void rights_attach(struct msghdr *message, union rights *rights, const int *fds, unsigned count)
{
	if (!count)
		return;
	memset(rights, 0, sizeof(*rights));
	message->msg_control = rights;
	message->msg_controllen = CMSG_SPACE(count * sizeof(int));
	rights->header.cmsg_level = SOL_SOCKET;
	rights->header.cmsg_type = SCM_RIGHTS;
	rights->header.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&rights->header), fds, count * sizeof(int));
}

void rights_expect(struct msghdr *message, union rights *rights)
{
	message->msg_control = rights;
	message->msg_controllen = sizeof(*rights);
}

unsigned rights_detach(struct msghdr *message, int *fds, unsigned room, bool *lost)
{
	unsigned kept = 0;

	*lost |= message->msg_flags & MSG_CTRUNC;
	/* GCOVR_EXCL_BR_START: the macros of the C library branch on what the kernel never makes */
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		/* GCOVR_EXCL_BR_STOP */
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		const size_t came = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t k = 0; k < came; k++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + k * sizeof(int), sizeof(int));
			if (kept < room) {
				fds[kept++] = fd;
			} else {
				*lost = true;
				close(fd);
			}
		}
	}
	return kept;
}

ssize_t rights_send(int socket, void *data, size_t bytes, const int *fds, unsigned count)
{
	struct iovec part = {data, bytes};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	union rights rights;

	rights_attach(&message, &rights, fds, count);
	return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t rights_receive(
	int socket, void *data, size_t bytes, int *fds, unsigned room, unsigned *count)
{
	struct iovec part = {data, bytes};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	union rights rights;
	bool lost = false;
	ssize_t n;

	rights_expect(&message, &rights);
	n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	if (n >= 0)
		*count += rights_detach(&message, fds + *count, room - *count, &lost);
	return n;
}
