/* SPDX-License-Identifier: BSD-3-Clause */
/* The memif port where a system call fails. */
#include "tests/unit/memif_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

/* One call of one function fails; the linker leads all of them here (--wrap). */
static int fault_function = -1;
static unsigned fault_at, fault_calls, faults;

static bool fault(int function, int error)
{
	if (function != fault_function || ++fault_calls != fault_at)
		return false;
	errno = error;
	faults++;
	return true;
}

#define WRAP(number, type, name, error, parameters, ...)                                           \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fault(number, error) ? (type)-1 : __real_##name(__VA_ARGS__);               \
	}

WRAP(0, int, memfd_create, EMFILE, (const char *name, unsigned flags), name, flags)
WRAP(1, int, ftruncate64, ENOSPC, (int fd, off_t bytes), fd, bytes)
WRAP(2, int, eventfd, EMFILE, (unsigned value, int flags), value, flags)
WRAP(3, int, epoll_create1, EMFILE, (int flags), flags)
WRAP(4, int, epoll_ctl, ENOMEM, (int set, int op, int fd, struct epoll_event *e), set, op, fd, e)
WRAP(5, int, socket, EMFILE, (int family, int type, int protocol), family, type, protocol)
WRAP(6, ssize_t, sendmsg, ENOBUFS, (int fd, const struct msghdr *m, int flags), fd, m, flags)
WRAP(7, int, getsockopt, ENOMEM, (int fd, int level, int name, void *value, socklen_t *bytes), fd,
	level, name, value, bytes)
WRAP(8, int, accept4, EMFILE, (int fd, struct sockaddr *a, socklen_t *bytes, int flags), fd, a,
	bytes, flags)
WRAP(9, ssize_t, readlink, EACCES, (const char *path, char *text, size_t bytes), path, text, bytes)
WRAP(10, int, fstatfs64, EIO, (int fd, struct statfs *fs), fd, fs)
WRAP(11, void *, mmap64, ENOMEM,
	(void *at, size_t bytes, int protection, int flags, int fd, off_t offset), at, bytes,
	protection, flags, fd, offset)
WRAP(12, ssize_t, recvmsg, ECONNRESET, (int fd, struct msghdr *m, int flags), fd, m, flags)
#define FAULT_FUNCTIONS 13

/* Whatever fails, once: open says so or the link comes up all the same, and nothing is left
 * behind. */
static void test_faults(void **state)
{
	for (int function = 0; function < FAULT_FUNCTIONS; function++) {
		faults = 0;
		bool met = true;
		for (fault_at = 1; met; fault_at++) {
			struct end e[2] = {{.fd = -1}, {.fd = -1}};
			bool opened[2] = {false, false};
			unsigned fds = count_fds(), before = faults;

			fault_calls = 0;
			for (unsigned k = 0; k < 2; k++) {
				struct error error = {""};

				e[k].fd = memory_file(MEMORY, F_SEAL_SHRINK);
				e[k].memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
					e[k].fd, 0);
				e[k].port = aligned_alloc(64, (memif_port_ops.bytes + 63) & ~63ul);
				struct port_config config = {.target = socket_path,
					.options = k ? "rsize=4" : "role=server",
					.memory = e[k].memory,
					.memory_bytes = MEMORY,
					.memory_fd = e[k].fd,
					.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
				fault_function = function;
				int r = memif_port_ops.open(e[k].port, &config, &error);
				fault_function = -1;
				opened[k] = r == 0;
				assert_true(r == 0 || strlen(error.text) > 10);
				uint32_t buffer = 0;
				if (!r)
					memif_port_ops.start(e[k].port, &buffer, 1);
			}
			fault_function = function;
			for (unsigned i = 0; i < 5000 && opened[0] && opened[1]; i++) {
				memif_port_ops.service(e[1].port);
				memif_port_ops.service(e[0].port);
				if (e[0].port->link.connected && e[1].port->link.connected)
					break;
				if (e[1].port->link.channel < 0)
					e[1].port->link.deadline_ms = 0;
			}
			fault_function = -1;
			met = faults != before;
			if (opened[0] && opened[1]) {
				settle(&e[0], &e[1], true);
				pass(&e[0], &e[1], 20, 60);
			}
			for (unsigned k = 2; k--;) {
				if (opened[k])
					memif_port_ops.close(e[k].port);
				free(e[k].port);
				munmap(e[k].memory, MEMORY);
				close(e[k].fd);
			}
			assert_int_equal(count_fds(), fds);
		}
		if (!faults)
			fail_msg("function %d was not called", function);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
	};
	snprintf(socket_path, sizeof(socket_path), "/tmp/p2pnic-test-memif-faults-%d",
		(int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
