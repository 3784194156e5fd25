/* SPDX-License-Identifier: BSD-3-Clause */
#include "listen.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- The directory's lock --------------------------------------------------------------------- */

/* Its descriptor; -EBUSY: another holds it for too long; other -errno: it cannot be had. */
static int lock_directory_of(const char *path)
{
	const struct timespec step = {.tv_nsec = 1000000};
	const char *slash = strrchr(path, '/');
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)] = ".";
	int fd;

	if (slash) {
		size_t length = slash == path ? 1 : (size_t)(slash - path);

		memcpy(directory, path, length);
		directory[length] = 0;
	}
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned ms = 0; fd >= 0; ms++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return fd;
		int error = -errno;

		if (error != -EINTR && (error != -EWOULDBLOCK || ms == UNIX_LISTEN_PATIENCE_MS)) {
			close(fd);
			return error == -EWOULDBLOCK ? -EBUSY : error;
		}
		nanosleep(&step, NULL);
	}
	return -errno;
}

static void unlock(int directory)
{
	if (directory >= 0)
		close(directory);
}

/* --- Listening -------------------------------------------------------------------------------- */

/* 0 if nobody serves the socket any more; -EADDRINUSE: every other answer, or none, is a
 * server's. */
static int check_stale(const struct sockaddr_un *address, int type)
{
	int probe = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (probe < 0)
		return -errno;
	bool refused = connect(probe, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
		       errno == ECONNREFUSED;
	close(probe);
	return refused ? 0 : -EADDRINUSE;
}

/* `lock`: as lock_directory_of returned it. */
static int remove_stale(const struct sockaddr_un *address, int type, int lock)
{
	struct stat there;
	int error;

	if (lstat(address->sun_path, &there) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(there.st_mode))
		return -EEXIST;
	error = check_stale(address, type);
	if (!error && lock < 0)
		error = lock;
	if (error)
		return error;
	return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

/* bind(2) follows no symbolic link at the path's end and takes no path that exists. */
static int bind_address(
	int fd, const struct sockaddr_un *address, socklen_t bytes, int type, int lock)
{
	int error = bind(fd, (const struct sockaddr *)address, bytes) < 0 ? -errno : 0;

	if (error != -EADDRINUSE || !address->sun_path[0])
		return error;
	error = remove_stale(address, type, lock);
	if (!error && bind(fd, (const struct sockaddr *)address, bytes) < 0)
		error = -errno;
	return error;
}

/* Notes which socket is this one. Its mode lacks what the umask forbade, no more. */
static int own_path(struct unix_listener *l, const char *path, mode_t mode)
{
	struct stat is;

	if (lstat(path, &is) < 0) {
		int error = -errno;

		unlink(path); /* bound a moment ago */
		return error;
	}
	l->device = is.st_dev;
	l->inode = is.st_ino;
	memcpy(l->path, path, strlen(path) + 1);
	if ((is.st_mode & 07777) == mode)
		return 0;
	return fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* While this socket is open, nobody else's has its inode. */
static void remove_own(struct unix_listener *l)
{
	struct stat there;

	if (l->path[0] && !lstat(l->path, &there) && there.st_dev == l->device &&
		there.st_ino == l->inode)
		unlink(l->path);
	l->path[0] = 0;
}

int unix_listen(struct unix_listener *l, const char *path, int type, mode_t mode, int backlog)
{
	struct sockaddr_un address;
	socklen_t bytes;
	int error = unix_address_or_name(&address, &bytes, path), directory = -1;
	bool is_path = address.sun_path[0];

	*l = (struct unix_listener){.fd = -1};
	if (error)
		return error;
	l->fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	if (is_path)
		directory = lock_directory_of(path);
	/* On Linux the mode of the socket at bind, less the umask, is the path's. */
	if (fchmod(l->fd, mode) < 0)
		error = -errno;
	if (!error)
		error = bind_address(l->fd, &address, bytes, type, directory);
	if (!error && is_path)
		error = own_path(l, path, mode);
	if (!error && listen(l->fd, backlog) < 0)
		error = -errno;
	if (error) {
		remove_own(l);
		close(l->fd);
		l->fd = -1;
	}
	unlock(directory);
	return error;
}

void unix_unlisten(struct unix_listener *l)
{
	int directory;

	if (l->fd < 0)
		return;
	directory = l->path[0] ? lock_directory_of(l->path) : -1;
	remove_own(l);
	close(l->fd);
	l->fd = -1;
	unlock(directory);
}

void unix_remove_stale(const char *path, int type)
{
	struct sockaddr_un address;
	int lock;

	if (unix_address(&address, path))
		return;
	lock = lock_directory_of(path);
	remove_stale(&address, type, lock);
	unlock(lock);
}

/* --- What to say ------------------------------------------------------------------------------ */

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a file";
	case S_IFLNK:
		return "a symbolic link";
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFBLK:
	case S_IFCHR:
		return "a device";
	default:
		return "something else";
	}
}

const char *unix_listen_error(const char *path, int error, char text[UNIX_LISTEN_TEXT_BYTES])
{
	struct stat there;

	if (error == -EEXIST && !lstat(path, &there))
		snprintf(text, UNIX_LISTEN_TEXT_BYTES,
			"%.120s is %s, not a socket: remove it or name another path", path,
			kind_of(there.st_mode));
	else if (error == -EADDRINUSE)
		snprintf(text, UNIX_LISTEN_TEXT_BYTES, "%.120s: another process listens there",
			path);
	else if (error == -EBUSY)
		snprintf(text, UNIX_LISTEN_TEXT_BYTES,
			"%.120s: a stale socket, and another process holds a lock on its directory",
			path);
	else if (error == -EINVAL || error == -ENAMETOOLONG)
		snprintf(text, UNIX_LISTEN_TEXT_BYTES, "socket %.120s: %s", path,
			UNIX_ADDRESS_ERROR);
	else
		snprintf(text, UNIX_LISTEN_TEXT_BYTES, "%.120s: %s", path, strerror(-error));
	return text;
}

int unix_peer(int fd, struct ucred *peer)
{
	socklen_t bytes = sizeof(*peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &bytes) < 0 ? -errno : 0;
}
