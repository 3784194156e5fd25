/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX  40u   /* as the kernel's, path_resolution(7) */
#define LOCK_TRIES 1000u /* each failure is the end of another router in between */
#define WRITABLE   (S_IWGRP | S_IWOTH)

/* --- The way to it ---------------------------------------------------------------------------- */

struct walk {
	int at;              /* the directory reached */
	char here[PATH_MAX]; /* its path, for messages */
	char rest[PATH_MAX]; /* what is left to walk */
	unsigned links;
	bool shared; /* the last one, too, is of all routers of this user */
	bool asks;   /* whoever walks puts nothing there */
	bool open;   /* on the way others can make directories */
	struct error *error;
};

/*
 * Only root, we and the owner of "/" can change what is in there. The last is root too, but in a
 * user namespace without root's number: there it is shown by the number that stands for all users
 * from outside.
 */
static int check_parent(const struct walk *w, const struct stat *s)
{
	struct stat top;

	if (s->st_uid != 0 && s->st_uid != geteuid() &&
		(stat("/", &top) < 0 || s->st_uid != top.st_uid))
		return error_set(w->error, -EPERM,
			"%s belongs to user %u (mode %04o), who can replace what is in it: "
			"remove it, or choose another directory by XDG_RUNTIME_DIR or `runtime`",
			w->here, s->st_uid, s->st_mode & 07777u);
	if ((s->st_mode & WRITABLE) && !(s->st_mode & S_ISVTX))
		return error_set(w->error, -EPERM,
			"%s (owner %u, mode %04o): others can write there and replace what is "
			"in it: chmod go-w it, or choose another directory",
			w->here, s->st_uid, s->st_mode & 07777u);
	return 0;
}

/* Where nobody but root can make directories, that of another user is one that root gave away, to a
 * service's user: root asks who is there. */
static int check_own(const struct walk *w, const struct stat *s)
{
	const bool given = w->asks && !w->open && geteuid() == 0;

	if (s->st_uid != geteuid() && !given)
		return error_set(w->error, -EPERM,
			"%s belongs to user %u (mode %04o), not to user %u who runs this: "
			"remove it, or choose another directory by XDG_RUNTIME_DIR or `runtime`",
			w->here, s->st_uid, s->st_mode & 07777u, geteuid());
	if (s->st_mode & WRITABLE)
		return error_set(w->error, -EPERM,
			"%s (owner %u, mode %04o): others can write there: see what they put "
			"there, then chmod go-w it",
			w->here, s->st_uid, s->st_mode & 07777u);
	return 0;
}

/* The first part of what is left, cut off from it. False: nothing is left. */
static bool next_part(struct walk *w, char part[NAME_MAX + 1], int *error)
{
	size_t skip = strspn(w->rest, "/"), n = strcspn(w->rest + skip, "/");

	*error = n > NAME_MAX ? -ENAMETOOLONG : 0;
	if (n == 0 || *error)
		return false;
	memcpy(part, w->rest + skip, n);
	part[n] = 0;
	memmove(w->rest, w->rest + skip + n, strlen(w->rest + skip + n) + 1);
	return true;
}

static int follow(struct walk *w, int link, const char *part, const struct stat *parent)
{
	char target[PATH_MAX], rest[PATH_MAX];
	ssize_t n;

	if (parent->st_mode & WRITABLE)
		return error_set(w->error, -EPERM,
			"%s/%s is a symbolic link where others can write: not followed", w->here,
			part);
	n = readlinkat(link, "", target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if (snprintf(rest, sizeof(rest), "%s/%s", target, w->rest) >= (int)sizeof(rest))
		return -ENAMETOOLONG;
	memcpy(w->rest, rest, strlen(rest) + 1);
	if (target[0] == '/') {
		int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (top < 0)
			return -errno;
		close(w->at);
		w->at = top;
		w->here[0] = 0;
	}
	return 0;
}

/* Made on the way: others may go through what root makes, /run/p2pnic above all. */
static int make(struct walk *w, const char *part)
{
	const bool root = geteuid() == 0;
	const bool own = !w->shared && w->rest[strspn(w->rest, "/")] == 0;

	if (mkdirat(w->at, part, !root ? 0700 : own ? 0750 : 0755) < 0 && errno != EEXIST)
		return -errno;
	return openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static int step(struct walk *w, const char *part, bool may_make)
{
	struct stat parent, is;
	int next, error;
	size_t used = strlen(w->here);

	if (fstat(w->at, &parent) < 0)
		return -errno;
	error = check_parent(w, &parent);
	if (error)
		return error;
	w->open |= parent.st_mode & WRITABLE;
	next = openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0 && errno == ENOENT && may_make)
		next = make(w, part);
	if (next < 0)
		return next == -1 ? -errno : next;
	if (fstat(next, &is) < 0) {
		error = -errno;
	} else if (S_ISLNK(is.st_mode)) {
		error = follow(w, next, part, &parent);
	} else if (!S_ISDIR(is.st_mode)) {
		error = -ENOTDIR;
	} else {
		snprintf(w->here + used, sizeof(w->here) - used, "/%s", part);
		close(w->at);
		w->at = next;
		return 0;
	}
	close(next);
	return error;
}

static int walk_to(const char *path, bool may_make, bool shared, struct error *error)
{
	struct walk w = {.error = error, .shared = shared, .asks = !may_make && !shared};
	char part[NAME_MAX + 1], here[PATH_MAX] = "";
	struct stat is;
	int result = 0, fd = -1;

	error->text[0] = 0;
	if (path[0] != '/' && !getcwd(here, sizeof(here)))
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	if (snprintf(w.rest, sizeof(w.rest), "%s/%s", here, path) >= (int)sizeof(w.rest))
		return error_set(error, -ENAMETOOLONG, "%s: %s", path, strerror(ENAMETOOLONG));
	w.at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w.at < 0)
		return error_set(error, -errno, "/: %s", strerror(errno));
	while (!result && next_part(&w, part, &result))
		result = step(&w, part, may_make);
	if (!result && fstat(w.at, &is) < 0)
		result = -errno;
	if (!result)
		result = check_own(&w, &is);
	if (!result) {
		fd = openat(w.at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		result = fd < 0 ? -errno : 0;
	}
	close(w.at);
	if (result && !error->text[0])
		error_set(error, result, "%s: %s", path, strerror(-result));
	return result ? result : fd;
}

int runtime_directory(const char *path, bool may_make, struct error *error)
{
	return walk_to(path, may_make, false, error);
}

int runtime_beside(const char *path, bool may_make, const char **name, struct error *error)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX];

	*name = slash ? slash + 1 : path;
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path) : 1,
		slash ? path : ".");
	return walk_to(directory, may_make, true, error);
}

/* --- The lock --------------------------------------------------------------------------------- */

/* A NIC's process of a router that was killed just then has the lock, too, between its fork and its
 * exec: that is over in a moment. */
#define LOCK_MS 500u
static bool lock(int fd)
{
	int result = flock(fd, LOCK_EX | LOCK_NB);

	for (unsigned ms = 0; result < 0 && errno == EWOULDBLOCK && ms < LOCK_MS; ms += 10) {
		usleep(10000);
		result = flock(fd, LOCK_EX | LOCK_NB);
	}
	return result == 0;
}

/* -EAGAIN: it was removed while this took it. */
static int lock_file(int directory, const char *path, struct error *error)
{
	const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(directory, "lock", flags, 0600), result = 0;
	struct stat locked, there;

	if (fd < 0)
		return errno == ENOENT
			       ? -EAGAIN
			       : error_set(error, -errno, "%s/lock: %s", path, strerror(errno));
	if (fstat(fd, &locked) < 0)
		result = error_set(error, -errno, "%s/lock: %s", path, strerror(errno));
	else if (!S_ISREG(locked.st_mode) || locked.st_uid != geteuid())
		result = error_set(
			error, -EPERM, "%s/lock is not a file of this user: remove it", path);
	else if (!lock(fd))
		result = errno == EWOULDBLOCK
				 ? error_set(error, -EBUSY, "another router runs in %s", path)
				 : error_set(error, -errno, "%s/lock: %s", path, strerror(errno));
	/* A router that ended unlinks the file before it lets go: this lock may be of a file that
	 * is gone. */
	else if (fstatat(directory, "lock", &there, AT_SYMLINK_NOFOLLOW) < 0 ||
		 there.st_ino != locked.st_ino || there.st_dev != locked.st_dev)
		result = -EAGAIN;
	if (result)
		close(fd);
	return result ? result : fd;
}

int runtime_open(struct runtime *r, const char *path, struct error *error)
{
	int result = -EAGAIN;

	*r = (struct runtime){-1, -1};
	for (unsigned tries = 0; result == -EAGAIN && tries < LOCK_TRIES; tries++) {
		r->directory = runtime_directory(path, true, error);
		/* Made, and removed by one that ended. */
		result = r->directory == -ENOENT ? -EAGAIN : r->directory;
		if (result < 0)
			continue;
		result = lock_file(r->directory, path, error);
		if (result < 0)
			close(r->directory);
		else
			r->lock = result;
	}
	if (result == -EAGAIN)
		error_set(error, result, "%s: others make and remove it all the time", path);
	if (result < 0)
		*r = (struct runtime){-1, -1};
	return result < 0 ? result : 0;
}

void runtime_close(struct runtime *r, const char *path, bool remove)
{
	if (r->lock < 0)
		return;
	if (remove) {
		unlinkat(r->directory, "lock", 0);
		rmdir(path);
	}
	close(r->lock);
	close(r->directory);
	*r = (struct runtime){-1, -1};
}
