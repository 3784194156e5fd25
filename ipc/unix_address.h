/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The address of a Unix-domain socket. What processes of one host meet at here is a path, whose
 * owner and mode say who may connect; only memif has abstract names as well ("@NAME", unix(7)),
 * since its peers do.
 *
 * A path that does not fit is refused: cut short it would be another socket.
 */
#ifndef P2PNIC_UNIX_ADDRESS_H
#define P2PNIC_UNIX_ADDRESS_H

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* What to say of the errors below. */
#define UNIX_ADDRESS_ERROR "the path of a socket has 1 to 107 characters"
_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == 108, "107 and its end");

/* 0, -EINVAL for an empty path, -ENAMETOOLONG. */
static inline int unix_address(struct sockaddr_un *address, const char *path)
{
	size_t length = strlen(path);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (length == 0)
		return -EINVAL;
	if (length >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, length + 1);
	return 0;
}

/* The same of a path or an abstract name; *bytes is the address's length: all of it, up to the end,
 * is an abstract name, zeros too. */
static inline int unix_address_or_name(
	struct sockaddr_un *address, socklen_t *bytes, const char *path)
{
	int error = unix_address(address, path);

	*bytes = sizeof(*address);
	if (!error && path[0] == '@') {
		*bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
		address->sun_path[0] = 0;
	}
	return error;
}

#endif
