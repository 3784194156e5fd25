/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/log.h"
#include "ipc/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define KINDS      128u
#define RAW_BYTES  1024u
#define LINE_BYTES 4000u
_Static_assert(LINE_BYTES + 96 <= PIPE_BUF, "a pipe takes a line whole or not at all");

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* --- How often -------------------------------------------------------------------------------- */

struct kind {
	uint64_t key; /* 0: free */
	uint64_t paid_until_ns;
	unsigned long hidden;
};

static struct kind kinds[KINDS];

/* FNV-1a of who says it, and the address of the format. When all places are taken, the last is
 * shared. */
static struct kind *kind_of(const char *who, const char *format)
{
	uint64_t key = 0xcbf29ce484222325ull ^ (uintptr_t)format;

	for (; *who; who++)
		key = (key ^ (uint8_t)*who) * 0x100000001b3ull;
	key |= 1;
	for (unsigned k = 0; k < KINDS - 1; k++) {
		struct kind *kind = &kinds[(key + k) % (KINDS - 1)];

		if (!kind->key)
			kind->key = key;
		if (kind->key == key)
			return kind;
	}
	return &kinds[KINDS - 1];
}

/* Each line costs a share of a second; LOG_BURST of them are lent. */
static bool may_show(struct kind *kind)
{
	const uint64_t cost = 1000000000u / LOG_PER_SECOND, now = clock_now_ns();

	if (kind->paid_until_ns < now)
		kind->paid_until_ns = now;
	if (kind->paid_until_ns + cost > now + LOG_BURST * cost) {
		kind->hidden++;
		return false;
	}
	kind->paid_until_ns += cost;
	return true;
}

/* --- What ------------------------------------------------------------------------------------- */

/* Bytes of the character there, if it is to be shown as it is; 0: it is none, or one that moves the
 * cursor, ends lines or turns the direction of writing. UTF-8 as in RFC 3629 §4. */
static size_t shown_bytes(const unsigned char *s)
{
	const unsigned char c = s[0];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : 4;

	if (c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xc2) || c > 0xf4)
		return 0;
	for (size_t k = 1; k < n; k++)
		if ((s[k] & 0xc0) != 0x80) /* the end, too */
			return 0;
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) ||
		(c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
		return 0;
	if ((c == 0xc2 && s[1] < 0xa0) ||
		(c == 0xe2 && s[1] == 0x80 && s[2] >= 0xa8 && s[2] < 0xaf))
		return 0;
	return n;
}

static size_t escape(char *to, size_t room, const char *text)
{
	size_t used = 0;

	while (*text && used + 8 < room) {
		size_t n = shown_bytes((const unsigned char *)text);

		if (n) {
			memcpy(to + used, text, n);
			used += n;
			text += n;
		} else {
			used += (size_t)snprintf(
				to + used, 5, "\\x%02x", (unsigned)(unsigned char)*text++);
		}
	}
	if (*text)
		used += (size_t)snprintf(to + used, 4, "...");
	return used;
}

/* --- Where ------------------------------------------------------------------------------------ */

/*
 * stderr without waiting. Its own flags are shared with whoever else has it (a shell, the other
 * processes), so it is opened anew for a flag of ours. -1: it cannot be (sockets; a pipe of another
 * user).
 */
static int reopened(const struct stat *is)
{
	static int fd = -1;
	static dev_t device, special;
	static ino_t inode;

	if (fd >= 0 && device == is->st_dev && inode == is->st_ino && special == is->st_rdev)
		return fd;
	if (fd >= 0)
		close(fd);
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	device = is->st_dev;
	inode = is->st_ino;
	special = is->st_rdev;
	return fd;
}

/* False: there was no room for it. */
static bool put(const struct stat *is, const char *line, size_t bytes)
{
	struct pollfd room = {.fd = 2, .events = POLLOUT};
	int fd;

	if (S_ISSOCK(is->st_mode))
		return send(2, line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
	if (S_ISREG(is->st_mode)) /* opened anew it would begin at its first byte */
		return write(2, line, bytes) >= 0;
	fd = reopened(is);
	if (fd >= 0)
		return write(fd, line, bytes) >= 0;
	/* Room for PIPE_BUF bytes, unless another process takes it in between. */
	return poll(&room, 1, 0) == 1 && room.revents == POLLOUT && write(2, line, bytes) >= 0;
}

static bool journal_reads(const struct stat *is)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       device == is->st_dev && inode == is->st_ino;
}

void log_say_list(enum log_level level, const char *who, const char *format, va_list arguments)
{
	static char raw[RAW_BYTES], line[PIPE_BUF];
	static unsigned long lost;
	struct stat is;
	struct kind *kind;
	size_t used = 0, prefix = 0;

	pthread_mutex_lock(&mutex);
	kind = kind_of(who, format);
	if (fstat(2, &is) < 0 || !may_show(kind))
		goto out;
	if (journal_reads(&is))
		prefix = (size_t)snprintf(line, sizeof(line), "<%d>", level);
	if (lost) {
		used = prefix + (size_t)snprintf(line + prefix, 80,
					"log: %lu lines lost: nobody read them\n", lost);
		if (!put(&is, line, used)) {
			lost++;
			goto out;
		}
		lost = 0;
	}
	snprintf(raw, sizeof(raw), "%s: ", who);
	used = strlen(raw);
	if (vsnprintf(raw + used, sizeof(raw) - used, format, arguments) >=
		(int)(sizeof(raw) - used))
		memcpy(raw + sizeof(raw) - 4, "...", 4);
	for (used = strlen(raw); used && raw[used - 1] == '\n';)
		raw[--used] = 0;
	used = prefix + escape(line + prefix, LINE_BYTES - prefix, raw);
	if (kind->hidden)
		used += (size_t)snprintf(
			line + used, 80, " (%lu more like this not shown)", kind->hidden);
	line[used++] = '\n';
	kind->hidden = 0;
	if (!put(&is, line, used))
		lost++;
out:
	pthread_mutex_unlock(&mutex);
}

void log_say(enum log_level level, const char *who, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_say_list(level, who, format, arguments);
	va_end(arguments);
}
