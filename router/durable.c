/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES_MAX 100u

/* One that is left by another process of this number stays where it is. */
static int make(int directory, const char *name, char temporary[NAME_MAX + 1])
{
	int fd = -1;

	for (unsigned k = 0; fd < 0 && k < TRIES_MAX; k++) {
		if (snprintf(temporary, NAME_MAX + 1, ".%s.%d-%u.new", name, getpid(), k) >
			NAME_MAX)
			return -ENAMETOOLONG;
		fd = openat(directory, temporary,
			O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
	}
	return fd < 0 ? -EEXIST : fd;
}

static int write_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		const ssize_t n = write(fd, text, bytes);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			bytes -= (size_t)n;
		}
	}
	return 0;
}

/* Who may write into a file that is not his may not give it away. */
static int own(int fd, mode_t mode, uid_t owner, gid_t group)
{
	struct stat is;

	if (fstat(fd, &is) < 0)
		return -errno;
	if (((owner != (uid_t)-1 && owner != is.st_uid) ||
		    (group != (gid_t)-1 && group != is.st_gid)) &&
		fchown(fd, owner, group) < 0)
		return -errno;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

int durable_write(int directory, const char *name, const char *text, size_t bytes, mode_t mode,
	uid_t owner, gid_t group, struct error *error)
{
	char temporary[NAME_MAX + 1];
	const int fd = make(directory, name, temporary);
	const char *why = NULL;
	int result;

	if (fd < 0)
		return error_set(error, fd, "%s: a new file beside it: %s", name, strerror(-fd));
	result = write_all(fd, text, bytes);
	if (!result) {
		result = own(fd, mode, owner, group);
		if (result == -EPERM)
			why = "this user cannot keep its owner and group";
	}
	if (!result && fsync(fd) < 0)
		result = -errno;
	if (close(fd) < 0 && !result)
		result = -errno;
	if (!result && renameat(directory, temporary, directory, name) < 0)
		result = -errno;
	if (result) {
		unlinkat(directory, temporary, 0);
		return error_set(error, result, "%s: writing it: %s; it is as it was", name,
			why ? why : strerror(-result));
	}
	/* The name is there; whether after a power cut, too, is not known if this fails. */
	if (fsync(directory) < 0)
		return error_set(
			error, -errno, "%s: writing its directory: %s", name, strerror(errno));
	return 0;
}

int durable_replace(const char *path, const char *text, size_t bytes, struct error *error)
{
	char real[PATH_MAX], *slash;
	struct error reason;
	struct stat is;
	int directory, result;

	if (!realpath(path, real))
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	slash = strrchr(real, '/');
	*slash = 0;
	directory = open(*real ? real : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return error_set(error, -errno, "%s: %s", real, strerror(errno));
	result = fstatat(directory, slash + 1, &is, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	if (!result && !S_ISREG(is.st_mode))
		result = -EINVAL;
	if (result)
		error_set(error, result, "%s: %s", path,
			result == -EINVAL ? "not a file" : strerror(-result));
	if (!result) {
		result = durable_write(directory, slash + 1, text, bytes, is.st_mode & 07777u,
			is.st_uid, is.st_gid, &reason);
		if (result)
			error_set(error, result, "%s/%s", real, reason.text);
	}
	close(directory);
	return result;
}

int durable_rename(int directory, const char *from, const char *to)
{
	if (renameat(directory, from, directory, to) < 0)
		return -errno;
	return fsync(directory) < 0 ? -errno : 0;
}

int durable_remove(int directory, const char *name)
{
	if (unlinkat(directory, name, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return fsync(directory) < 0 ? -errno : 0;
}

int durable_is_left(const char *name)
{
	const size_t n = strlen(name);

	return n > 5 && *name == '.' && !strcmp(name + n - 4, ".new");
}
