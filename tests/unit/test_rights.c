/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors that travel with a message: all arrive, and what there is no room for is closed. */
#include "ipc/rights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int end[2];

static int set_up(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end);
}

static int tear_down(void **state)
{
	close(end[0]);
	close(end[1]);
	return 0;
}

/* One message with so many descriptors, all of the sender's own end. */
static void send_some(unsigned count)
{
	char byte = 'x';
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	union rights rights;
	int fds[RIGHTS_MAX];

	for (unsigned k = 0; k < count; k++)
		fds[k] = end[0];
	rights_attach(&message, &rights, fds, count);
	assert_int_equal(sendmsg(end[0], &message, MSG_DONTWAIT), 1);
}

/* How many of `room` came; they are the sender's end. */
static unsigned receive_some(unsigned room, bool *lost)
{
	char byte = 0;
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	union rights rights;
	struct stat sent, came;
	int fds[RIGHTS_MAX];
	unsigned count;

	*lost = false;
	rights_expect(&message, &rights);
	assert_int_equal(recvmsg(end[1], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), 1);
	assert_int_equal(byte, 'x');
	count = rights_detach(&message, fds, room, lost);
	assert_int_equal(fstat(end[0], &sent), 0);
	for (unsigned k = 0; k < count; k++) {
		assert_int_equal(fstat(fds[k], &came), 0);
		assert_int_equal(came.st_ino, sent.st_ino);
		close(fds[k]);
	}
	return count;
}

/* The number that the next descriptor gets: it is the same as long as none is left open. */
static int next_fd(void)
{
	int fd = dup(end[0]);

	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static void all_arrive(void **state)
{
	const int next = next_fd();
	bool lost;

	for (unsigned count = 0; count <= RIGHTS_MAX; count++) {
		send_some(count);
		assert_int_equal(receive_some(RIGHTS_MAX, &lost), count);
		assert_false(lost);
		assert_int_equal(next_fd(), next);
	}
}

static void what_has_no_room_is_closed(void **state)
{
	const int next = next_fd();
	bool lost;

	for (unsigned room = 0; room < 3; room++) {
		send_some(3);
		assert_int_equal(receive_some(room, &lost), room);
		assert_true(lost);
		assert_int_equal(next_fd(), next);
	}
}

static void a_process_without_room(void **state)
{
	const int next = next_fd();
	struct rlimit before, now;
	bool lost;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (unsigned room = 0; room < 3; room++) {
		now = before;
		now.rlim_cur = (rlim_t)next + room;
		send_some(3);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
		assert_int_equal(receive_some(3, &lost), room);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		assert_true(lost);
		assert_int_equal(next_fd(), next);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_arrive, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_has_no_room_is_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_process_without_room, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
