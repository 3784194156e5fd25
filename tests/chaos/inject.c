/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes allocations and system calls of p2pnic's processes fail: preloaded (LD_PRELOAD) by
 * tests/chaos/chaos.py.
 *
 * The file that P2PNIC_INJECT names holds `struct rule`, and every process maps it: a fault is
 * switched on and off while they run. The calls of all processes that the rule fits are counted
 * together; call number `nth` fails and those after it, or each by chance, but not more than
 * `times`. Every failure is a line on stderr that says which call of which process failed and where
 * it was made (addr2line finds the source).
 *
 * Calls that libc makes within itself (eventfd_read, what fopen opens) do not come here.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct rule { /* chaos.py writes it: RULE there is this layout */
	_Atomic uint32_t on;
	uint32_t nth;    /* 0: by chance */
	uint32_t chance; /* of 65536 */
	uint32_t times;  /* 0: no limit */
	int32_t error;   /* errno; 0: the usual one of each call */
	uint32_t seed;
	_Atomic uint64_t calls; /* that the rule fits, since it was switched on */
	_Atomic uint64_t failed;
	char who[64];        /* "router", "keeper", "nic nic2"; empty: all */
	char functions[512]; /* " malloc calloc "; empty: all */
};
_Static_assert(sizeof(struct rule) == 616, "layout");
_Static_assert(offsetof(struct rule, who) == 40, "layout");

static struct rule *rule;
static char self[64];              /* what this process is, as in `who` */
static _Thread_local bool telling; /* of a failure: by a call that is not to fail */

static const char *next(const char *text, const char *end)
{
	return text + strnlen(text, (size_t)(end - text)) + 1;
}

/* The command; of `p2pnic nic` also the name of its first NIC. Without libc's files, which
 * allocate. */
__attribute__((constructor)) static void attach(void)
{
	const char *path = getenv("P2PNIC_INJECT");
	char line[4096];
	int fd = (int)syscall(SYS_open, "/proc/self/cmdline", O_RDONLY);
	long n = fd < 0 ? 0 : syscall(SYS_read, fd, line, sizeof(line) - 1);
	const char *end = line + (n > 0 ? n : 0), *command = next(line, end), *at;

	syscall(SYS_close, fd);
	line[n > 0 ? n : 0] = 0;
	if (!path || command >= end)
		return;
	snprintf(self, sizeof(self), "%s", command);
	for (at = command; at < end; at = next(at, end))
		if (!strcmp(command, "nic") && !strcmp(at, "--nic") && next(at, end) < end) {
			snprintf(self, sizeof(self), "nic %s", next(at, end));
			break;
		}
	fd = (int)syscall(SYS_open, path, O_RDWR);
	if (fd < 0)
		return;
	at = (char *)syscall(
		SYS_mmap, NULL, sizeof(*rule), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (at != MAP_FAILED)
		rule = (struct rule *)at;
}

/* From here on no call of this process fails: it writes its counters (tests/coverage.h). */
void inject_off(void);
__attribute__((visibility("default"))) void inject_off(void)
{
	rule = NULL;
}

/* SplitMix64 (Steele, Lea, Flood 2014): call number n of a seed has the same fate each time. */
static uint32_t draw(uint64_t n, uint32_t seed)
{
	uint64_t z = (n + ((uint64_t)seed << 32)) * 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) & 0xffff;
}

static bool fails(const char *name, int usual, const void *caller)
{
	char word[32], line[256];
	Dl_info info = {0};
	uint64_t call;
	int n;

	if (!rule || telling || !atomic_load_explicit(&rule->on, memory_order_acquire))
		return false;
	snprintf(word, sizeof(word), " %s ", name);
	if ((*rule->who && strcmp(rule->who, self) != 0) ||
		(*rule->functions && !strstr(rule->functions, word)))
		return false;
	call = atomic_fetch_add(&rule->calls, 1) + 1;
	if (rule->nth ? call < rule->nth : draw(call, rule->seed) >= rule->chance)
		return false;
	if (atomic_fetch_add(&rule->failed, 1) >= rule->times && rule->times) {
		atomic_fetch_sub(&rule->failed, 1);
		return false;
	}
	errno = rule->error ? rule->error : usual;
	dladdr(caller, &info);
	n = snprintf(line, sizeof(line), "inject: %s: call %llu: %s: errno %d at %s+0x%lx\n", self,
		(unsigned long long)call, name, errno, info.dli_fname ? info.dli_fname : "?",
		(unsigned long)((const char *)caller - (const char *)info.dli_fbase));
	usual = errno;
	telling = true;
	syscall(SYS_write, 2, line, n);
	telling = false;
	errno = usual;
	return true;
}

/* One argument of a variable list is passed on whether it is there or not: it is in a register
 * either way. */
#define LAST(type, after)                                                                          \
	va_list list;                                                                              \
	va_start(list, after);                                                                     \
	type last = va_arg(list, type);                                                            \
	va_end(list)

#define BODY(name, arguments, usual, failure)                                                      \
	static __typeof__(name) *real;                                                             \
	if (!real)                                                                                 \
		*(void **)&real = dlsym(RTLD_NEXT, #name);                                         \
	return fails(#name, usual, __builtin_return_address(0)) ? failure : real arguments

#define CALL(type, name, parameters, arguments, usual, failure)                                    \
	__attribute__((visibility("default"))) type name parameters                                \
	{                                                                                          \
		BODY(name, arguments, usual, failure);                                             \
	}

CALL(void *, malloc, (size_t n), (n), ENOMEM, NULL)
CALL(void *, calloc, (size_t n, size_t m), (n, m), ENOMEM, NULL)
CALL(void *, realloc, (void *p, size_t n), (p, n), ENOMEM, NULL)
CALL(void *, aligned_alloc, (size_t a, size_t n), (a, n), ENOMEM, NULL)
CALL(void *, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t at),
	(p, n, prot, flags, fd, at), ENOMEM, MAP_FAILED)
CALL(FILE *, fopen, (const char *path, const char *mode), (path, mode), EMFILE, NULL)
CALL(DIR *, opendir, (const char *path), (path), EMFILE, NULL)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, -1)
CALL(int, accept4, (int fd, __SOCKADDR_ARG a, socklen_t *n, int flags), (fd, a, n, flags), EMFILE,
	-1)
CALL(int, bind, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n), ENOMEM, -1)
CALL(int, listen, (int fd, int n), (fd, n), ENOMEM, -1)
CALL(int, connect, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n), ENOMEM, -1)
CALL(int, setsockopt, (int fd, int level, int name, const void *v, socklen_t n),
	(fd, level, name, v, n), ENOMEM, -1)
CALL(int, getsockopt, (int fd, int level, int name, void *v, socklen_t *n), (fd, level, name, v, n),
	ENOMEM, -1)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), ENOMEM, -1)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), ENOMEM, -1)
CALL(int, sendmmsg, (int fd, struct mmsghdr *m, unsigned n, int flags), (fd, m, n, flags), ENOBUFS,
	-1)
CALL(ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags), ENOBUFS, -1)
CALL(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), ENOMEM, -1)
CALL(ssize_t, sendto, (int fd, const void *p, size_t n, int f, __CONST_SOCKADDR_ARG a, socklen_t l),
	(fd, p, n, f, a, l), ENOBUFS, -1)
CALL(ssize_t, recvfrom, (int fd, void *p, size_t n, int f, __SOCKADDR_ARG a, socklen_t *l),
	(fd, p, n, f, a, l), ENOMEM, -1)
CALL(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), EINTR, -1)
CALL(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), ENOMEM, -1)
CALL(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), ENOSPC, -1)
CALL(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms), ENOMEM, -1)
CALL(int, epoll_create1, (int flags), (flags), EMFILE, -1)
CALL(int, epoll_ctl, (int fd, int op, int of, struct epoll_event *e), (fd, op, of, e), ENOMEM, -1)
CALL(int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms), EINTR, -1)
CALL(int, eventfd, (unsigned n, int flags), (n, flags), EMFILE, -1)
CALL(int, signalfd, (int fd, const sigset_t *s, int flags), (fd, s, flags), EMFILE, -1)
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
CALL(int, ftruncate, (int fd, off_t n), (fd, n), ENOSPC, -1)
CALL(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n), ENOSPC, -1)
CALL(int, fstat, (int fd, struct stat *s), (fd, s), ENOMEM, -1)
CALL(int, dup2, (int a, int b), (a, b), EMFILE, -1)
CALL(int, pipe2, (int fd[2], int flags), (fd, flags), EMFILE, -1)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC, -1)
CALL(int, flock, (int fd, int operation), (fd, operation), ENOLCK, -1)
CALL(int, mount,
	(const char *s, const char *t, const char *type, unsigned long f, const void *data),
	(s, t, type, f, data), EPERM, -1)
CALL(int, setns, (int fd, int type), (fd, type), EPERM, -1)
CALL(pid_t, fork, (void), (), EAGAIN, -1)
CALL(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*run)(void *), void *p),
	(t, a, run, p), EAGAIN, EAGAIN)

__attribute__((visibility("default"))) int open(const char *path, int flags, ...)
{
	LAST(unsigned, flags);
	BODY(open, (path, flags, last), EMFILE, -1);
}

__attribute__((visibility("default"))) int fcntl(int fd, int command, ...)
{
	LAST(void *, command);
	BODY(fcntl, (fd, command, last), EMFILE, -1);
}

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long command, ...)
{
	LAST(void *, command);
	BODY(ioctl, (fd, command, last), ENOMEM, -1);
}

/* pidfd_open and pidfd_send_signal; six arguments, as above. */
__attribute__((visibility("default"))) long syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (unsigned k = 0; k < 6; k++)
		a[k] = va_arg(list, long);
	va_end(list);
	BODY(syscall, (number, a[0], a[1], a[2], a[3], a[4], a[5]), EMFILE, -1);
}
