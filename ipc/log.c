/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/log.h"
#include "ipc/clock.h"
#include "ipc/log_event.h"
#include "ipc/unix_address.h"

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
#include <time.h>
#include <unistd.h>

#define KINDS      128u
#define RAW_BYTES  1024u
#define LINE_BYTES 4000u
#define NAME_BYTES 64u
_Static_assert(LINE_BYTES + 96 <= PIPE_BUF, "a pipe takes a line whole or not at all");

const char *log_journal = "/run/systemd/journal/socket";

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* --- How often -------------------------------------------------------------------------------- */

/* A message, ready to be written. */
struct message {
	enum log_level level;
	const char *id; /* NULL: it has none */
	char who[NAME_BYTES], nic[NAME_BYTES];
	char text[LINE_BYTES]; /* escaped */
};

struct kind {
	uint64_t key; /* 0: free */
	uint64_t paid_until_ns;
	unsigned long hidden;
	uint64_t hidden_ns; /* the first of them */
	enum log_level level;
	char who[NAME_BYTES], nic[NAME_BYTES], last[160]; /* of what is hidden */
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
	if (kind->paid_until_ns + cost > now + LOG_BURST * cost)
		return false;
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
	to[used] = 0;
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

/* One datagram of lines NAME=value: no value has a line of its own. False: nobody listens there, or
 * it is busy. */
static bool tell_journal(const struct message *m)
{
	static int fd = -1;
	static char data[LINE_BYTES + 512];
	struct sockaddr_un address;
	int n;

	if (unix_address(&address, log_journal))
		return false;
	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	n = snprintf(data, sizeof(data), "PRIORITY=%d\nSYSLOG_IDENTIFIER=p2pnic\nP2PNIC_FROM=%s\n",
		m->level, m->who);
	if (*m->nic)
		n += snprintf(data + n, sizeof(data) - (size_t)n, "P2PNIC_NIC=%s\n", m->nic);
	if (m->id)
		n += snprintf(data + n, sizeof(data) - (size_t)n, "MESSAGE_ID=%s\n", m->id);
	n += snprintf(data + n, sizeof(data) - (size_t)n, "MESSAGE=%s\n", m->text);
	return sendto(fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
		       sizeof(address)) >= 0;
}

static size_t put_time(char *to, size_t room)
{
	struct timespec now;
	struct tm utc;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	n = strftime(to, room, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
	return n + (size_t)snprintf(to + n, room - n, ".%03ldZ ", now.tv_nsec / 1000000);
}

/* False: there was no room for it. */
static bool put_line(const struct stat *is, bool journal, enum log_level level, const char *text)
{
	static char line[PIPE_BUF];
	size_t n = 0;

	if (journal)
		n = (size_t)snprintf(line, sizeof(line), "<%d>", level);
	else if (S_ISREG(is->st_mode))
		n = put_time(line, sizeof(line));
	n += (size_t)snprintf(line + n, sizeof(line) - n, "%s\n", text);
	return put(is, line, n);
}

static unsigned long lost;

static void emit(const struct message *m)
{
	char missing[80];
	struct stat is;
	bool journal;

	if (fstat(2, &is) < 0)
		return;
	journal = journal_reads(&is);
	if (journal && !lost && tell_journal(m))
		return;
	if (lost) {
		snprintf(missing, sizeof(missing), "log: %lu lines lost: nobody read them", lost);
		if (!put_line(&is, journal, m->level, missing)) {
			lost++;
			return;
		}
		lost = 0;
	}
	lost += !put_line(&is, journal, m->level, m->text);
}

/* --- Which ------------------------------------------------------------------------------------ */

static enum log_level most = (enum log_level) - 1; /* not asked for yet */

bool log_level_parse(const char *name, enum log_level *level)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {{"error", LOG_ERROR}, {"warning", LOG_WARNING}, {"info", LOG_INFO}};

	for (unsigned k = 0; name && k < sizeof(levels) / sizeof(*levels); k++) {
		if (!strcmp(name, levels[k].name)) {
			*level = levels[k].level;
			return true;
		}
	}
	return false;
}

void log_level_set(enum log_level level)
{
	pthread_mutex_lock(&mutex);
	most = level;
	setenv(LOG_LEVEL_ENV,
		level == LOG_ERROR     ? "error"
		: level == LOG_WARNING ? "warning"
				       : "info",
		1);
	pthread_mutex_unlock(&mutex);
}

static bool is_wanted(enum log_level level)
{
	if (most == (enum log_level) - 1 && !log_level_parse(getenv(LOG_LEVEL_ENV), &most))
		most = LOG_INFO;
	return level <= most;
}

static const char *id_of(char letter)
{
#define EVENT(is, id, meaning)                                                                     \
	case is:                                                                                   \
		return id;
	switch (letter) {
		LOG_EVENTS(EVENT)
	default:
		return NULL;
	}
#undef EVENT
}

/* Says what was hidden of a kind, and of how long. */
static void sum_up(struct kind *kind, uint64_t now)
{
	static struct message m;

	m.level = kind->level;
	m.id = NULL;
	memcpy(m.who, kind->who, sizeof(m.who));
	memcpy(m.nic, kind->nic, sizeof(m.nic));
	snprintf(m.text, sizeof(m.text), "%s: %lu more of these in %llu s; the last: %s", m.who,
		kind->hidden, (unsigned long long)((now - kind->hidden_ns) / 1000000000u),
		kind->last);
	kind->hidden = 0;
	emit(&m);
}

static void sum_up_all(uint64_t least_ns)
{
	const uint64_t now = clock_now_ns();

	pthread_mutex_lock(&mutex);
	for (unsigned k = 0; k < KINDS; k++)
		if (kinds[k].hidden && now - kinds[k].hidden_ns >= least_ns)
			sum_up(&kinds[k], now);
	pthread_mutex_unlock(&mutex);
}

void log_tick(void)
{
	sum_up_all(LOG_SUM_MS * 1000000ull);
}

static void at_end(void)
{
	sum_up_all(0);
}

static void hide(struct kind *kind, const struct message *m)
{
	static bool ending;

	if (!ending)
		ending = atexit(at_end) == 0;
	if (!kind->hidden++)
		kind->hidden_ns = clock_now_ns();
	kind->level = m->level;
	memcpy(kind->who, m->who, sizeof(kind->who));
	memcpy(kind->nic, m->nic, sizeof(kind->nic));
	snprintf(kind->last, sizeof(kind->last), "%s", m->text + strlen(m->who) + 2);
}

/* The NIC that says it, "nic NAME", or that a format about one begins with, "nic %s: ". */
static void name_nic(char nic[NAME_BYTES], const char *who, const char *format, va_list arguments)
{
	va_list copy;

	*nic = 0;
	if (!strncmp(who, "nic ", 4)) {
		escape(nic, NAME_BYTES, who + 4);
	} else if (!strncmp(format, "nic %s: ", 8)) {
		va_copy(copy, arguments);
		escape(nic, NAME_BYTES, va_arg(copy, const char *));
		va_end(copy);
	}
}

void log_say_list(enum log_level level, const char *who, const char *format, va_list arguments)
{
	static char raw[RAW_BYTES];
	static struct message m;
	struct kind *kind;
	size_t used;

	pthread_mutex_lock(&mutex);
	if (!is_wanted(level))
		goto out;
	kind = kind_of(who, format);
	m.level = level;
	m.id = NULL;
	if (*format == LOG_EVENT) {
		m.id = id_of(format[1]);
		format += 2;
	}
	name_nic(m.nic, who, format, arguments);
	escape(m.who, sizeof(m.who), who);
	snprintf(raw, sizeof(raw), "%s: ", who);
	used = strlen(raw);
	if (vsnprintf(raw + used, sizeof(raw) - used, format, arguments) >=
		(int)(sizeof(raw) - used))
		memcpy(raw + sizeof(raw) - 4, "...", 4);
	for (used = strlen(raw); used && raw[used - 1] == '\n';)
		raw[--used] = 0;
	used = escape(m.text, sizeof(m.text) - 96, raw);
	if (!may_show(kind)) {
		hide(kind, &m);
		goto out;
	}
	if (kind->hidden)
		snprintf(m.text + used, 80, " (%lu more like this not shown)", kind->hidden);
	kind->hidden = 0;
	emit(&m);
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
