/* SPDX-License-Identifier: BSD-3-Clause */
/* What a service manager is told: by its socket, without waiting, and by this process alone. */
#include "ipc/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char text[4096];

/* A manager at that name; the descriptor is the caller's. */
static int manager(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	const size_t length = strlen(name);

	memcpy(address.sun_path, name, length);
	if (*name == '@')
		address.sun_path[0] = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
		0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static const char *told(int fd)
{
	const ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = 0;
	return text;
}

static void test_sockets(void **state)
{
	char path[] = "/tmp/p2pnic-test-XXXXXX", abstract[64];
	int fd;

	assert_true(mkstemp(path) >= 0);
	unlink(path);
	fd = manager(path);
	notify_open();
	assert_null(getenv("NOTIFY_SOCKET"));
	notify("READY=1\nSTATUS=%u of %u", 3u, 4u);
	assert_string_equal(told(fd), "READY=1\nSTATUS=3 of 4");
	close(fd);
	unlink(path);
	notify("WATCHDOG=1"); /* nobody there */

	snprintf(abstract, sizeof(abstract), "@p2pnic-test-%d", getpid());
	fd = manager(abstract);
	notify_open();
	notify("STOPPING=1");
	assert_string_equal(told(fd), "STOPPING=1");
	close(fd);
}

static void test_nobody(void **state)
{
	static const char *const names[] = {"", "@", "relative", NULL};
	char longest[200];

	memset(longest, '/', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	unsetenv("NOTIFY_SOCKET");
	notify_open();
	assert_false(notify_is_open());
	notify("READY=1");
	for (unsigned k = 0; k < 4; k++) {
		setenv("NOTIFY_SOCKET", names[k] ?: longest, 1);
		notify_open();
		assert_false(notify_is_open());
	}
}

/* A manager that reads nothing holds nobody up. */
static void test_full(void **state)
{
	char abstract[64];
	int fd;

	snprintf(abstract, sizeof(abstract), "@p2pnic-test-%d", getpid());
	fd = manager(abstract);
	notify_open();
	alarm(20);
	for (unsigned k = 0; k < 10000; k++)
		notify("STATUS=%u", k);
	alarm(0);
	assert_string_equal(told(fd), "STATUS=0");
	close(fd);
}

static void test_watchdog(void **state)
{
	char abstract[64], pid[32];
	int fd;

	snprintf(abstract, sizeof(abstract), "@p2pnic-test-%d", getpid());
	fd = manager(abstract);
	setenv("WATCHDOG_USEC", "20000000", 1);
	notify_open();
	assert_int_equal(notify_watchdog_ms(), 10000);
	assert_null(getenv("WATCHDOG_USEC"));

	setenv("NOTIFY_SOCKET", abstract, 1);
	setenv("WATCHDOG_USEC", "20000000", 1);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("WATCHDOG_PID", pid, 1);
	notify_open();
	assert_int_equal(notify_watchdog_ms(), 10000);

	setenv("NOTIFY_SOCKET", abstract, 1);
	setenv("WATCHDOG_USEC", "20000000", 1);
	setenv("WATCHDOG_PID", "1", 1); /* of another process */
	notify_open();
	assert_int_equal(notify_watchdog_ms(), 0);

	setenv("NOTIFY_SOCKET", abstract, 1);
	setenv("WATCHDOG_USEC", "99999999999999999999", 1);
	notify_open();
	assert_int_equal(notify_watchdog_ms(), 3600000);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_watchdog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
