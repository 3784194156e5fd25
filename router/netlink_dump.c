/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/netlink_dump.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(int fd, const struct nlmsghdr *request, mnl_cb_t call, void *context)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	_Alignas(struct nlmsghdr) char buffer[NETLINK_DUMP_BYTES];
	int more = MNL_CB_OK;
	ssize_t n;

	if (sendto(fd, request, request->nlmsg_len, 0, (const struct sockaddr *)&kernel,
		    sizeof(kernel)) < 0)
		return -errno;
	while (more > MNL_CB_STOP) {
		n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		more = mnl_cb_run(buffer, (size_t)n, 0, 0, call, context);
	}
	return more < 0 ? -errno : 0;
}

int netlink_dump(const struct netns *netns, int protocol, const struct nlmsghdr *request,
	mnl_cb_t call, void *context)
{
	const int fd = netns_socket(netns, AF_NETLINK, SOCK_RAW, protocol);
	int result;

	if (fd < 0)
		return fd;
	result = ask(fd, request, call, context);
	close(fd);
	return result;
}
