/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keeper as a process of its own: it keeps, hands out, drops and ends; and whatever comes in,
 * it lives on, answers others, and has no descriptor more than it should.
 */
#include "driver/keeper.h"
#include "inject.h"
#include "ipc/exchange.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENTS 8u /* that the keeper serves at a time (keeper.c) */

static char directory[] = "/tmp/p2pnic-test-keeper-XXXXXX";
static char path[64];
static pid_t keeper;

static int start(void **state)
{
	int ready[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	keeper = fork();
	if (keeper == 0) {
		close(ready[0]);
		_exit(keeper_serve(path, ready[1]) ? 1 : 0);
	}
	close(ready[1]);
	if (keeper < 0 || read(ready[0], &byte, 1) != 1)
		return -1;
	close(ready[0]);
	return 0;
}

static int stop(void **state)
{
	int status;

	if (!keeper)
		return 0;
	/* Whatever it met, it ends in order. */
	kill(keeper, SIGTERM);
	waitpid(keeper, &status, 0);
	keeper = 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 && unlink(path) < 0 ? 0 : -1;
}

static int connected(void)
{
	const struct timeval patience = {.tv_sec = 5};
	int fd = exchange_connect(path);

	for (unsigned tries = 0; fd == -EAGAIN && tries < 500; tries++) {
		usleep(10000);
		fd = exchange_connect(path);
	}
	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, 0); /* for what these tests read by themselves */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

static unsigned keeper_descriptors(void)
{
	char name[64];
	unsigned n = 0;
	DIR *fds;

	snprintf(name, sizeof(name), "/proc/%d/fd", keeper);
	fds = opendir(name);
	assert_non_null(fds);
	for (struct dirent *d; (d = readdir(fds));)
		n += d->d_name[0] != '.';
	closedir(fds);
	return n;
}

/* After one request was answered, all that came before it has been dealt with. */
static void settle(int client)
{
	struct keeper_message m;
	int fds[KEEPER_FDS];
	unsigned count;

	assert_int_equal(keeper_get(client, KEEPER_ITEMS, &m, fds, &count), -ENOENT);
}

/* A connection that the keeper has closed. */
static void assert_closed(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
	close(fd);
}

static void test_put_get_drop(void **state)
{
	int client = connected(), event = eventfd(0, EFD_CLOEXEC), pair[2], got[KEEPER_FDS];
	struct keeper_message m;
	uint64_t value;
	unsigned count;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_int_equal(keeper_get(client, 0, &m, got, &count), -ENOENT);
	assert_int_equal(count, 0);
	assert_int_equal(keeper_put(client, "nic0", "what it is", &event, 1), 0);
	assert_int_equal(keeper_put(client, "nic1", "", pair, 2), 0);
	assert_int_equal(keeper_put(client, "note", "no descriptors", NULL, 0), 0);

	assert_int_equal(keeper_get(client, 0, &m, got, &count), 0);
	assert_string_equal(m.name, "nic0");
	assert_string_equal(m.text, "what it is");
	assert_int_equal(count, 1);
	assert_int_equal(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(eventfd_write(got[0], 7), 0);
	assert_int_equal(eventfd_read(event, &value), 0);
	assert_int_equal(value, 7);
	close(got[0]);

	assert_int_equal(keeper_get(client, 1, &m, got, &count), 0);
	assert_int_equal(count, 2);
	close(got[0]);
	close(got[1]);
	assert_int_equal(keeper_get(client, 2, &m, got, &count), 0);
	assert_int_equal(count, 0);

	/* Dropped, the pipe's writing end is closed: the reading end sees its end. */
	close(pair[1]);
	assert_int_equal(keeper_drop(client, "nic1"), 0);
	assert_int_equal(keeper_drop(client, "nic1"), -ENOENT);
	assert_int_equal(read(pair[0], &value, 1), 0);
	assert_int_equal(keeper_get(client, 2, &m, got, &count), -ENOENT);
	close(pair[0]);
	close(event);
	close(client);
}

static void test_outlives_clients(void **state)
{
	int client = connected(), event = eventfd(3, EFD_CLOEXEC), got[KEEPER_FDS];
	struct keeper_message m;
	uint64_t value;
	unsigned count;

	assert_int_equal(keeper_put(client, "nic0", "", &event, 1), 0);
	close(event);
	close(client);
	client = connected();
	assert_int_equal(keeper_get(client, 0, &m, got, &count), 0);
	assert_int_equal(eventfd_read(got[0], &value), 0);
	assert_int_equal(value, 3);
	close(got[0]);
	close(client);
}

static void test_replaces(void **state)
{
	int client = connected(), event = eventfd(0, EFD_CLOEXEC);
	unsigned before;

	assert_int_equal(keeper_put(client, "nic0", "1", &event, 1), 0);
	before = keeper_descriptors();
	for (unsigned k = 0; k < 50; k++)
		assert_int_equal(keeper_put(client, "nic0", "2", &event, 1), 0);
	assert_int_equal(keeper_descriptors(), before);
	close(event);
	close(client);
}

/* A reply that cannot be received at once is waited for: the next request would take it for its
 * own. */
static void test_short_of_memory(void **state)
{
	int client = connected(), event = eventfd(0, EFD_CLOEXEC), fds[KEEPER_FDS];
	struct keeper_message m;
	unsigned count;

	assert_int_equal(keeper_put(client, "nic0", "1", &event, 1), 0);
	inject_one("recvmsg", 0, ENOMEM);
	assert_int_equal(keeper_drop(client, "absent"), -ENOENT);
	assert_int_equal(keeper_get(client, 0, &m, fds, &count), 0);
	assert_string_equal(m.name, "nic0");
	assert_int_equal(count, 1);
	close(fds[0]);
	close(event);
	close(client);
}

static void test_full(void **state)
{
	int client = connected(), event = eventfd(0, EFD_CLOEXEC);
	char name[KEEPER_NAME_BYTES], longer[KEEPER_TEXT_BYTES + 1];
	unsigned before;

	settle(client); /* accepted by now */
	before = keeper_descriptors();
	for (unsigned k = 0; k < KEEPER_ITEMS; k++) {
		snprintf(name, sizeof(name), "nic%u", k);
		assert_int_equal(keeper_put(client, name, "", &event, 1), 0);
	}
	assert_int_equal(keeper_put(client, "more", "", &event, 1), -ENOSPC);
	assert_int_equal(keeper_put(client, "", "", &event, 1), -EINVAL);
	assert_int_equal(keeper_descriptors(), before + KEEPER_ITEMS);
	for (unsigned k = 0; k < KEEPER_ITEMS; k++) {
		snprintf(name, sizeof(name), "nic%u", k);
		assert_int_equal(keeper_drop(client, name), 0);
	}
	assert_int_equal(keeper_descriptors(), before);

	/* What cannot travel is refused at this end. */
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(keeper_put(client, longer, "", NULL, 0), -EINVAL);
	assert_int_equal(keeper_put(client, "a", longer, NULL, 0), -EINVAL);
	assert_int_equal(keeper_put(client, "a", "", &event, KEEPER_FDS + 1), -EINVAL);
	assert_int_equal(keeper_drop(client, longer), -EINVAL);
	close(event);
	close(client);
}

static void test_ends(void **state)
{
	int client = connected(), status;

	assert_int_equal(keeper_serve(path, -1), -EADDRINUSE);
	assert_int_equal(keeper_quit(client), 0);
	assert_int_equal(waitpid(keeper, &status, 0), keeper);
	keeper = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(exchange_connect(path), -ENOENT);
	close(client);

	/* By signal, too; and what a killed one leaves behind is no obstacle. */
	assert_int_equal(start(state), 0);
	kill(keeper, SIGTERM);
	assert_int_equal(waitpid(keeper, &status, 0), keeper);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(start(state), 0);
	kill(keeper, SIGKILL);
	waitpid(keeper, &status, 0);
	assert_int_equal(exchange_connect(path), -ECONNREFUSED);
	assert_int_equal(start(state), 0);
}

static void test_permissions(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(exchange_connect("/nonexistent/keeper"), -ENOENT);
	assert_int_equal(
		exchange_connect("/a/path/that/is/longer/than/a/socket/address/can/hold/"
				 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
		-ENAMETOOLONG);
}

/* --- Hostile ---------------------------------------------------------------------------------- */

static ssize_t send_raw(int client, const void *data, size_t bytes, const int *fds, unsigned count)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(64 * sizeof(int))];
	} control = {0};
	struct iovec vector = {(void *)data, bytes};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

	if (count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	return sendmsg(client, &message, MSG_NOSIGNAL);
}

static void test_hostile(void **state)
{
	static struct keeper_message whole[2];
	const size_t bytes = sizeof(whole[0]);
	int good = connected(), events[64];
	unsigned before, quiet;

	for (unsigned k = 0; k < 64; k++)
		events[k] = eventfd(0, EFD_CLOEXEC);
	settle(good);
	quiet = keeper_descriptors();
	before = quiet;
	for (unsigned k = 0; k < 12; k++) {
		struct keeper_message m = {.operation = KEEPER_PUT, .fds = 0, .name = "x"};
		const void *data = &m;
		size_t size = bytes;
		unsigned fds = 0;
		int client = connected();

		switch (k) {
		case 0: /* nothing but descriptors */
			size = 0;
			fds = 4;
			break;
		case 1: /* cut short, with descriptors */
			size = bytes - 1;
			fds = m.fds = 2;
			break;
		case 2: /* a header alone */
			size = 4;
			break;
		case 3: /* two in one */
			data = whole;
			size = 2 * bytes;
			break;
		case 4: /* fewer than it says */
			m.fds = 3;
			fds = 1;
			break;
		case 5: /* more than it says */
			m.fds = 1;
			fds = 4;
			break;
		case 6: /* says so many */
			m.fds = UINT32_MAX;
			fds = 4;
			break;
		case 7: /* more than there is room for */
			m.fds = fds = 64;
			break;
		case 8:
			m.fds = fds = KEEPER_FDS + 1;
			break;
		case 9: /* one byte, one descriptor */
			size = 1;
			fds = 1;
			break;
		case 10:
			size = 1;
			fds = 64;
			break;
		case 11:
			size = 0;
			fds = 64;
			break;
		}
		assert_int_equal(send_raw(client, data, size, events, fds), size);
		assert_closed(client);
		settle(good);
		if (keeper_descriptors() != before)
			fail_msg("case %u: %u descriptors, were %u", k, keeper_descriptors(),
				before);
	}

	/* Well-formed, but senseless: answered with an error, and descriptors that came along are
	 * closed. */
	static const struct {
		uint32_t operation;
		int result;
	} senseless[] = {{0, -EINVAL}, {5, -EINVAL}, {UINT32_MAX, -EINVAL}, {KEEPER_DROP, -ENOENT},
		{KEEPER_GET, -ENOENT}};

	for (unsigned k = 0; k < sizeof(senseless) / sizeof(*senseless); k++) {
		struct keeper_message m = {
			.operation = senseless[k].operation, .index = UINT32_MAX, .fds = 4};

		assert_int_equal(send_raw(good, &m, bytes, events, 4), bytes);
		assert_int_equal(recv(good, &m, bytes, 0), bytes);
		assert_int_equal(m.result, senseless[k].result);
	}

	/* A name and a text that do not end. */
	struct keeper_message m = {.operation = KEEPER_PUT};

	memset(m.name, 'n', sizeof(m.name));
	memset(m.text, 't', sizeof(m.text));
	assert_int_equal(send_raw(good, &m, bytes, NULL, 0), bytes);
	assert_int_equal(recv(good, &m, bytes, 0), bytes);
	assert_int_equal(m.result, 0);
	m = (struct keeper_message){.operation = KEEPER_GET};
	assert_int_equal(send_raw(good, &m, bytes, NULL, 0), bytes);
	assert_int_equal(recv(good, &m, bytes, 0), bytes);
	assert_int_equal(strnlen(m.name, sizeof(m.name)), sizeof(m.name) - 1);
	assert_int_equal(strnlen(m.text, sizeof(m.text)), sizeof(m.text) - 1);

	assert_int_equal(keeper_descriptors(), quiet);
	for (unsigned k = 0; k < 64; k++)
		close(events[k]);
	close(good);
}

/* One that asks and does not listen must not keep the others waiting. */
static void test_deaf_client(void **state)
{
	const struct keeper_message m = {.operation = KEEPER_GET};
	int deaf = connected(), good = connected();

	for (unsigned k = 0; k < 5000; k++) {
		struct pollfd room = {.fd = deaf, .events = POLLOUT};

		if (poll(&room, 1, 200) == 0 ||
			send(deaf, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	}
	settle(good);
	close(deaf);
	settle(good);
	close(good);
}

static void test_many_clients(void **state)
{
	int client[CLIENTS], extra;
	unsigned before;

	client[0] = connected();
	settle(client[0]);
	before = keeper_descriptors();
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned k = 1; k < CLIENTS; k++) {
			client[k] = connected();
			settle(client[k]);
		}
		extra = connected();
		assert_closed(extra);
		for (unsigned k = 1; k < CLIENTS; k++)
			close(client[k]);
		settle(client[0]);
	}
	for (unsigned tries = 0; tries < 100 && keeper_descriptors() != before; tries++)
		settle(client[0]);
	assert_int_equal(keeper_descriptors(), before);
	close(client[0]);
}

/* One that hangs costs a client its deadline, whatever it asks, and none at all to connect. */
static void test_stopped_keeper(void **state)
{
	int client = connected(), event = eventfd(0, EFD_CLOEXEC), fds[KEEPER_FDS];
	struct keeper_message m;
	unsigned count;

	settle(client);
	keeper_timeout_ms = 50;
	assert_int_equal(kill(keeper, SIGSTOP), 0);
	assert_int_equal(keeper_put(client, "nic0", "text", &event, 1), -ETIMEDOUT);
	close(client);
	for (unsigned k = 0; k < 40; k++) {
		client = exchange_connect(path);
		if (client < 0)
			break;
		assert_int_equal(keeper_get(client, 0, &m, fds, &count), -ETIMEDOUT);
		assert_int_equal(count, 0);
		close(client);
	}
	assert_int_equal(client, -EAGAIN); /* its queue is full by now */
	assert_int_equal(kill(keeper, SIGCONT), 0);
	keeper_timeout_ms = 5000;
	client = connected();
	settle(client);
	close(client);
	close(event);
}

/* What does not fit into its descriptors is refused by name, and the connection is good still. */
static void test_keeper_short_of_descriptors(void **state)
{
	int client = connected(), event = eventfd(0, EFD_CLOEXEC);
	struct rlimit was, few;

	settle(client); /* accepted by now */
	few.rlim_cur = keeper_descriptors();
	assert_int_equal(prlimit(keeper, RLIMIT_NOFILE, NULL, &was), 0);
	few.rlim_max = was.rlim_max;
	assert_int_equal(keeper_put(client, "one", "", &event, 1), 0);
	assert_int_equal(prlimit(keeper, RLIMIT_NOFILE, &few, NULL), 0);
	assert_int_equal(keeper_put(client, "two", "", (int[]){event, event}, 2), -EMFILE);
	assert_int_equal(prlimit(keeper, RLIMIT_NOFILE, &was, NULL), 0);
	assert_int_equal(keeper_put(client, "two", "", (int[]){event, event}, 2), 0);
	assert_int_equal(keeper_drop(client, "two"), 0);
	assert_int_equal(keeper_drop(client, "one"), 0);
	close(client);
	close(event);
}

/* A newcomer waits until it can be taken, and those that are there are served meanwhile. */
static void test_newcomer_without_descriptor(void **state)
{
	int client = connected(), newcomer;
	struct rlimit was, few;

	settle(client);
	assert_int_equal(prlimit(keeper, RLIMIT_NOFILE, NULL, &was), 0);
	few = (struct rlimit){3, was.rlim_max};
	assert_int_equal(prlimit(keeper, RLIMIT_NOFILE, &few, NULL), 0);
	newcomer = connected();
	keeper_timeout_ms = 300;
	assert_int_equal(keeper_drop(newcomer, "one"), -ETIMEDOUT);
	keeper_timeout_ms = 5000;
	settle(client);
	close(newcomer);
	assert_int_equal(prlimit(keeper, RLIMIT_NOFILE, &was, NULL), 0);
	newcomer = connected();
	settle(newcomer);
	settle(client);
	close(newcomer);
	close(client);
}

/* What a reply brings and does not fit here is an error of its own, and is there the next time. */
static void test_client_short_of_descriptors(void **state)
{
	int client = connected(), event = eventfd(0, EFD_CLOEXEC), fds[KEEPER_FDS];
	struct keeper_message m;
	struct rlimit was, few;
	unsigned count;

	assert_int_equal(keeper_put(client, "one", "", (int[]){event, event}, 2), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (unsigned room = 0; room < 2; room++) {
		few = (struct rlimit){(rlim_t)event + 1 + room, was.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		int result = keeper_get(client, 0, &m, fds, &count);

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
		assert_int_equal(result, -EMFILE);
		assert_int_equal(count, 0);
	}
	assert_int_equal(keeper_get(client, 0, &m, fds, &count), 0);
	assert_int_equal(count, 2);
	close(fds[0]);
	close(fds[1]);
	close(event);
	close(client);
}

/* Whoever started it is gone: it keeps all the same. */
static void test_nobody_waits(void **state)
{
	int ready[2], client = -ENOENT, status;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	close(ready[0]);
	keeper = fork();
	assert_true(keeper >= 0);
	if (!keeper)
		_exit(keeper_serve(path, ready[1]) ? 1 : 0);
	close(ready[1]);
	for (unsigned tries = 0; client < 0 && tries < 500; tries++) {
		usleep(10000);
		client = exchange_connect(path);
	}
	assert_true(client >= 0);
	settle(client);
	assert_int_equal(keeper_quit(client), 0);
	close(client);
	assert_int_equal(waitpid(keeper, &status, 0), keeper);
	keeper = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What answers at the socket is none: no reply, half of one, one of another's. */
static void test_no_keeper(void **state)
{
	const struct keeper_message well = {.operation = KEEPER_DROP};
	static const struct {
		size_t bytes;
		unsigned fds; /* as it says */
		int result;
	} replies[] = {{0, 0, -ECONNRESET}, {sizeof(well) - 1, 0, -EPROTO},
		{sizeof(well), 2, -EPROTO}, {sizeof(well), 0, 0}};

	for (unsigned k = 0; k < sizeof(replies) / sizeof(*replies); k++) {
		struct keeper_message m = well;
		int ends[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
		m.fds = replies[k].fds;
		if (replies[k].bytes)
			assert_int_equal(send(ends[1], &m, replies[k].bytes, 0), replies[k].bytes);
		else
			assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
		assert_int_equal(keeper_drop(ends[0], "one"), replies[k].result);
		close(ends[1]);
		assert_int_equal(keeper_drop(ends[0], "one"), -ECONNRESET);
		close(ends[0]);
	}
	/* One that takes nothing at all. */
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	while (send(ends[0], &well, sizeof(well), MSG_DONTWAIT) > 0)
		;
	keeper_timeout_ms = 50;
	assert_int_equal(keeper_drop(ends[0], "one"), -ETIMEDOUT);
	keeper_timeout_ms = 5000;
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_get_drop, start, stop),
		cmocka_unit_test_setup_teardown(test_outlives_clients, start, stop),
		cmocka_unit_test_setup_teardown(test_replaces, start, stop),
		cmocka_unit_test_setup_teardown(test_short_of_memory, start, stop),
		cmocka_unit_test_setup_teardown(test_full, start, stop),
		cmocka_unit_test_setup_teardown(test_ends, start, stop),
		cmocka_unit_test_setup_teardown(test_permissions, start, stop),
		cmocka_unit_test_setup_teardown(test_hostile, start, stop),
		cmocka_unit_test_setup_teardown(test_deaf_client, start, stop),
		cmocka_unit_test_setup_teardown(test_stopped_keeper, start, stop),
		cmocka_unit_test_setup_teardown(test_keeper_short_of_descriptors, start, stop),
		cmocka_unit_test_setup_teardown(test_many_clients, start, stop),
		cmocka_unit_test_setup_teardown(test_newcomer_without_descriptor, start, stop),
		cmocka_unit_test_setup_teardown(test_client_short_of_descriptors, start, stop),
		cmocka_unit_test(test_nobody_waits),
		cmocka_unit_test(test_no_keeper),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory)) {
		perror(directory);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/keeper.sock", directory);
	keeper_timeout_ms = 5000;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
