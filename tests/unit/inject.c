/* SPDX-License-Identifier: BSD-3-Clause */
#include "inject.h"
#include "tests/unit/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cmocka.h>

#define ROUNDS_MAX 5000u

/* --- What fails ------------------------------------------------------------------------------- */

static _Thread_local bool armed;
static unsigned countdown; /* to the call that fails; 0: none does */
static const char *failed;
static int failed_error;

static _Thread_local const char *one_call;
static _Thread_local unsigned one_skip;
static _Thread_local int one_error;

void inject_arm(void)
{
	armed = true;
}

void inject_disarm(void)
{
	armed = false;
}

const char *inject_failed(void)
{
	return failed;
}

int inject_error(void)
{
	return -failed_error;
}

void inject_one(const char *call, unsigned skip, int error)
{
	one_call = call;
	one_skip = skip;
	one_error = error;
}

bool inject_fails(const char *call, int error)
{
	/* The compiler may make calloc of malloc and memset. */
	bool one = one_call && (!strcmp(one_call, call) ||
				       (!strcmp(one_call, "alloc") && strstr(call, "lloc")));

	if (one && one_skip-- == 0) {
		one_call = NULL;
		errno = one_error;
		return true;
	}
	if (!armed || !countdown || --countdown)
		return false;
	failed = call;
	failed_error = error;
	errno = error;
	return true;
}

/* --- What is held ----------------------------------------------------------------------------- */

/* Allocations and mappings made since a round began, by address. What a library frees for us, or
 * frees of ours, goes unseen: an address that is given out again replaces what was known of it. */
#define HELD_MAX (1u << 16)

struct held {
	void *address;
	const char *call;
	size_t bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct held held[HELD_MAX];
static bool tracking;

static unsigned slot_of(const void *address)
{
	return (unsigned)(((uintptr_t)address >> 4) * 2654435761u) % HELD_MAX;
}

static void hold(void *address, const char *call, size_t bytes)
{
	if (!address || !armed)
		return;
	pthread_mutex_lock(&lock);
	if (tracking) {
		unsigned k = slot_of(address);

		while (held[k].call && held[k].address != address && held[k].address)
			k = (k + 1) % HELD_MAX;
		held[k] = (struct held){address, call, bytes};
	}
	pthread_mutex_unlock(&lock);
}

static void release_flight(const void *address)
{
	if (!address)
		return;
	pthread_mutex_lock(&lock);
	for (unsigned k = slot_of(address); tracking && held[k].call; k = (k + 1) % HELD_MAX)
		if (held[k].address == address) {
			held[k].address = NULL; /* the slot stays, for the search */
			break;
		}
	pthread_mutex_unlock(&lock);
}

void inject_forget(void)
{
	pthread_mutex_lock(&lock);
	memset(held, 0, sizeof(held));
	pthread_mutex_unlock(&lock);
}

/* --- Rounds ----------------------------------------------------------------------------------- */

static bool as_the_call(int result)
{
	return result == 0 || result == -failed_error;
}

/* One round; true if a call was made to fail. */
static bool play(unsigned nth, int (*call)(void *), void *context,
	bool (*expect)(void *context, int result), struct error *error)
{
	const char *said = error ? error->text : "";
	unsigned before = open_descriptors();

	if (error)
		error->text[0] = '\0';
	memset(held, 0, sizeof(held));
	failed = NULL;
	failed_error = 0;
	countdown = nth;
	tracking = true;
	int result = call(context);
	armed = false;
	tracking = false;
	countdown = 0;
	if (!failed && result)
		fail_msg("round %u: nothing failed, and yet %d: %s", nth, result, said);
	if (failed && !(expect ? expect(context, result) : as_the_call(result)))
		fail_msg("round %u: %s failed with %s, and the result is %d: %s", nth, failed,
			strerror(failed_error), result, said);
	if (failed && result && error && !error->text[0])
		fail_msg("round %u: %s failed, and nothing was said", nth, failed);
	if (open_descriptors() != before)
		fail_msg("round %u: %s failed, and %d descriptors more are open: %s", nth,
			failed ? failed : "nothing", (int)(open_descriptors() - before), said);
	for (unsigned k = 0; k < HELD_MAX; k++)
		if (held[k].address)
			fail_msg("round %u: %s failed, and %zu bytes of %s were left behind: %s",
				nth, failed ? failed : "nothing", held[k].bytes, held[k].call,
				said);
	return failed != NULL;
}

unsigned inject_each_expect(int (*call)(void *context), void *context,
	bool (*expect)(void *context, int result), struct error *error)
{
	unsigned n = 0;

	play(0, call, context, expect, error);
	while (play(n + 1, call, context, expect, error))
		assert_true(++n < ROUNDS_MAX);
	return n;
}

unsigned inject_each(int (*call)(void *context), void *context, struct error *error)
{
	return inject_each_expect(call, context, NULL, error);
}

/* --- Memory ----------------------------------------------------------------------------------- */

/* For each call: the linker's names for the one here and the one behind it. */
#define WRAP(type, name, ...)                                                                      \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t bytes)
{
	void *address = inject_fails("malloc", ENOMEM) ? NULL : __real_malloc(bytes);

	hold(address, "malloc", bytes);
	return address;
}

WRAP(void *, calloc, size_t n, size_t bytes)
{
	void *address = inject_fails("calloc", ENOMEM) ? NULL : __real_calloc(n, bytes);

	hold(address, "calloc", n * bytes);
	return address;
}

WRAP(void *, realloc, void *old, size_t bytes)
{
	void *address = inject_fails("realloc", ENOMEM) ? NULL : __real_realloc(old, bytes);

	if (address) {
		release_flight(old);
		hold(address, "realloc", bytes);
	}
	return address;
}

WRAP(void *, reallocarray, void *old, size_t n, size_t bytes)
{
	void *address =
		inject_fails("reallocarray", ENOMEM) ? NULL : __real_reallocarray(old, n, bytes);

	if (address) {
		release_flight(old);
		hold(address, "reallocarray", n * bytes);
	}
	return address;
}

WRAP(void *, aligned_alloc, size_t alignment, size_t bytes)
{
	void *address = inject_fails("aligned_alloc", ENOMEM)
				? NULL
				: __real_aligned_alloc(alignment, bytes);

	hold(address, "aligned_alloc", bytes);
	return address;
}

WRAP(char *, strdup, const char *text)
{
	char *copy = inject_fails("strdup", ENOMEM) ? NULL : __real_strdup(text);

	hold(copy, "strdup", strlen(text) + 1);
	return copy;
}

void __real_free(void *address);
void __wrap_free(void *address);
void __wrap_free(void *address)
{
	release_flight(address);
	__real_free(address);
}

WRAP(void *, mmap64, void *where, size_t bytes, int protection, int flags, int fd, int64_t offset)
{
	void *address = inject_fails("mmap", ENOMEM)
				? MAP_FAILED
				: __real_mmap64(where, bytes, protection, flags, fd, offset);

	if (address != MAP_FAILED)
		hold(address, "mmap", bytes);
	return address;
}

int __real_munmap(void *address, size_t bytes);
int __wrap_munmap(void *address, size_t bytes);
int __wrap_munmap(void *address, size_t bytes)
{
	release_flight(address);
	return __real_munmap(address, bytes);
}

/* --- System calls ----------------------------------------------------------------------------- */

#define WRAP_CALL(name, error, parameters, arguments)                                              \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		return inject_fails(#name, error) ? -1 : __real_##name arguments;                  \
	}

WRAP_CALL(memfd_create, EMFILE, (const char *name, unsigned flags), (name, flags))
WRAP_CALL(ftruncate64, ENOMEM, (int fd, int64_t bytes), (fd, bytes))
WRAP_CALL(fallocate64, ENOSPC, (int fd, int mode, int64_t offset, int64_t bytes),
	(fd, mode, offset, bytes))
WRAP_CALL(fstat64, ENOMEM, (int fd, struct stat *status), (fd, status))
WRAP_CALL(lstat64, ENOMEM, (const char *path, struct stat *status), (path, status))
WRAP_CALL(socket, EMFILE, (int family, int type, int protocol), (family, type, protocol))
WRAP_CALL(socketpair, EMFILE, (int family, int type, int protocol, int ends[2]),
	(family, type, protocol, ends))
WRAP_CALL(bind, EADDRNOTAVAIL, (int fd, const struct sockaddr *address, socklen_t bytes),
	(fd, address, bytes))
WRAP_CALL(listen, ENOBUFS, (int fd, int backlog), (fd, backlog))
WRAP_CALL(connect, ECONNREFUSED, (int fd, const struct sockaddr *address, socklen_t bytes),
	(fd, address, bytes))
WRAP_CALL(accept4, EMFILE, (int fd, struct sockaddr *address, socklen_t *bytes, int flags),
	(fd, address, bytes, flags))
WRAP_CALL(setsockopt, ENOMEM, (int fd, int level, int name, const void *value, socklen_t bytes),
	(fd, level, name, value, bytes))
WRAP_CALL(getsockopt, ENOBUFS, (int fd, int level, int name, void *value, socklen_t *bytes),
	(fd, level, name, value, bytes))
WRAP_CALL(getsockname, ENOBUFS, (int fd, struct sockaddr *address, socklen_t *bytes),
	(fd, address, bytes))
WRAP_CALL(epoll_create1, EMFILE, (int flags), (flags))
WRAP_CALL(epoll_ctl, ENOMEM, (int epoll, int operation, int fd, struct epoll_event *event),
	(epoll, operation, fd, event))
WRAP_CALL(eventfd, EMFILE, (unsigned value, int flags), (value, flags))
WRAP_CALL(pipe2, EMFILE, (int ends[2], int flags), (ends, flags))
WRAP_CALL(dup, EMFILE, (int fd), (fd))
WRAP_CALL(unshare, EPERM, (int what), (what))

/* Those whose result is not an int. */
WRAP(ssize_t, sendmsg, int fd, const struct msghdr *message, int flags)
{
	return inject_fails("sendmsg", ENOBUFS) ? -1 : __real_sendmsg(fd, message, flags);
}

WRAP(ssize_t, recvmsg, int fd, struct msghdr *message, int flags)
{
	return inject_fails("recvmsg", ENOMEM) ? -1 : __real_recvmsg(fd, message, flags);
}

WRAP(ssize_t, send, int fd, const void *data, size_t bytes, int flags)
{
	return inject_fails("send", ENOBUFS) ? -1 : __real_send(fd, data, bytes, flags);
}

WRAP(ssize_t, recv, int fd, void *data, size_t bytes, int flags)
{
	return inject_fails("recv", ENOMEM) ? -1 : __real_recv(fd, data, bytes, flags);
}

WRAP(ssize_t, readlink, const char *path, char *target, size_t room)
{
	return inject_fails("readlink", ENOMEM) ? -1 : __real_readlink(path, target, room);
}

WRAP(FILE *, fopen64, const char *path, const char *mode)
{
	return inject_fails("fopen", EMFILE) ? NULL : __real_fopen64(path, mode);
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
	void *argument)
{
	return inject_fails("pthread_create", EAGAIN)
		       ? EAGAIN
		       : __real_pthread_create(thread, attributes, run, argument);
}

/* Those with one argument more, or none. */
#define WRAP_LAST(name, error, fixed, last, type, arguments)                                       \
	int __real_##name fixed;                                                                   \
	int __wrap_##name fixed;                                                                   \
	int __wrap_##name fixed                                                                    \
	{                                                                                          \
		va_list list;                                                                      \
                                                                                                   \
		if (inject_fails(#name, error))                                                    \
			return -1;                                                                 \
		va_start(list, last);                                                              \
		type value = va_arg(list, type);                                                   \
		va_end(list);                                                                      \
		return __real_##name arguments;                                                    \
	}

WRAP_LAST(open64, EMFILE, (const char *path, int flags, ...), flags, int, (path, flags, value))

/* Only commands that the kernel may have nothing left for. */
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
	va_list list;

	if (command == F_DUPFD_CLOEXEC && inject_fails("fcntl64", EMFILE))
		return -1;
	if (command == F_SETFL && inject_fails("F_SETFL", ENOMEM))
		return -1;
	if (command == F_ADD_SEALS && inject_fails("fcntl64", ENOMEM))
		return -1;
	va_start(list, command);
	void *value = va_arg(list, void *);
	va_end(list);
	return __real_fcntl64(fd, command, value);
}

WRAP_LAST(
	ioctl, ENOMEM, (int fd, unsigned long request, ...), request, void *, (fd, request, value))

/* --- JSON ------------------------------------------------------------------------------------- */

/* Whole calls: jansson 2.14 itself stops at an assertion when an allocation fails while it
 * reads. */
WRAP(json_t *, json_object, void)
{
	return inject_fails("json_object", ENOMEM) ? NULL : __real_json_object();
}

WRAP(char *, json_dumps, const json_t *json, size_t flags)
{
	return inject_fails("json_dumps", ENOMEM) ? NULL : __real_json_dumps(json, flags);
}

WRAP(json_t *, json_loadb, const char *text, size_t bytes, size_t flags, json_error_t *error)
{
	if (!inject_fails("json_loadb", ENOMEM))
		return __real_json_loadb(text, bytes, flags, error);
	snprintf(error->text, sizeof(error->text), "out of memory");
	return NULL;
}
