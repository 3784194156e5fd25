/* SPDX-License-Identifier: BSD-3-Clause */
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 1, 0 or -errno. Anonymous inodes have no file type of their own; only the link's text tells them
 * apart. */
static int is_eventfd(int fd)
{
	char path[32];
	char target[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	return !strcmp(target, "anon_inode:[eventfd]");
}

int vfio_user_check_fd(
	int fd, uint64_t offset, uint64_t bytes, uint32_t access, struct error *error)
{
	struct stat status;
	uint64_t end;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &status) != 0)
		return error_set(error, -errno, "descriptor: %s", strerror(errno));
	int event = is_eventfd(fd);
	if (event < 0)
		return error_set(error, event, "descriptor: %s", strerror(-event));
	if (event) {
		if (offset)
			return error_set(error, -EINVAL, "an eventfd has no offset");
		if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
			return error_set(error, -errno, "eventfd: %s", strerror(errno));
		return VFIO_USER_FD_EVENT;
	}
	if (!S_ISREG(status.st_mode))
		return error_set(error, -EINVAL, "descriptor is neither memory nor an eventfd");
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return error_set(error, -EPERM,
			"memory is not sealed with F_SEAL_SHRINK: it could be truncated "
			"while in use");
	if (__builtin_add_overflow(offset, bytes, &end) || end > (uint64_t)status.st_size)
		return error_set(error, -ERANGE, "memory of %llu bytes is too short for %llu+%llu",
			(unsigned long long)status.st_size, (unsigned long long)offset,
			(unsigned long long)bytes);
	if (offset % VFIO_USER_DEFAULT_PAGES)
		return error_set(error, -EINVAL, "offset in memory is not page-aligned");
	int mode = flags & O_ACCMODE;
	if (mode == O_WRONLY) /* O_PATH has no seals to show, and was refused for that */
		return error_set(error, -EACCES, "memory is not open for reading");
	if ((access & VFIO_DMA_MAP_FLAG_WRITE) &&
		(mode != O_RDWR || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))))
		return error_set(
			error, -EACCES, "memory cannot be written through this descriptor");
	return VFIO_USER_FD_MEMORY;
}
