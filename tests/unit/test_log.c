/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: a line each, escaped, limited by kind, and never waited for, whatever reads them. */
#include "ipc/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

static int saved = -1, reader = -1;
static char text[1 << 20];
static bool another_users; /* its stderr: it cannot be opened anew */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	if (another_users && !strcmp(path, "/proc/self/fd/2")) {
		errno = EACCES;
		return -1;
	}
	return __real_open64(path, flags, 0600);
}

/* stderr is `writer` from now on, read at `from`. */
static void begin(int from, int writer)
{
	assert_true(from >= 0 && writer >= 0);
	reader = from;
	saved = dup(2);
	dup2(writer, 2);
	close(writer);
}

static void begin_pipe(void)
{
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	begin(fd[0], fd[1]);
}

static const char *end(void)
{
	size_t used = 0;
	ssize_t n;

	dup2(saved, 2);
	close(saved);
	fcntl(reader, F_SETFL, O_NONBLOCK);
	while (used < sizeof(text) - 1 &&
		(n = read(reader, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = 0;
	close(reader);
	return text;
}

static unsigned lines(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static const char *said(const char *what)
{
	begin_pipe();
	log_say(LOG_INFO, "test", "%s", what);
	return end();
}

static void test_one_line(void **state)
{
	static const char *const pairs[][2] = {
		{"plain", "test: plain\n"},
		{"ended\n\n", "test: ended\n"},
		{"", "test: \n"},
		{"a\nrouter: forged", "test: a\\x0arouter: forged\n"},
		{"\x1b[2J\r\t\a\x7f", "test: \\x1b[2J\\x0d\\x09\\x07\\x7f\n"},
		{"Gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x98\x80",
			"test: Gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x98\x80\n"},
		{"\xc2\x9b"
		 "2J \xc2\xa0",
			"test: \\xc2\\x9b2J \xc2\xa0\n"}, /* C1 */
		{"\xe2\x80\xa8 \xe2\x80\xae",
			"test: \\xe2\\x80\\xa8 \\xe2\\x80\\xae\n"}, /* lines, direction */
		{"\xff \xc3 \x80 \xc0\x80 \xed\xa0\x80 \xe0\x80\x80 \xf5\x80\x80\x80 \xe2\x82",
			"test: \\xff \\xc3 \\x80 \\xc0\\x80 \\xed\\xa0\\x80 \\xe0\\x80\\x80 "
			"\\xf5\\x80\\x80\\x80 \\xe2\\x82\n"},
		/* First and last of four bytes, and beside them; neighbours of what is no character
		 * to show. */
		{"\xf0\x90\x80\x80 \xf0\x8f\xbf\xbf \xf4\x8f\xbf\xbf \xf4\x90\x80\x80 "
		 "\xed\x9f\xbf \xe0\xa0\x80",
			"test: \xf0\x90\x80\x80 \\xf0\\x8f\\xbf\\xbf \xf4\x8f\xbf\xbf "
			"\\xf4\\x90\\x80\\x80 \xed\x9f\xbf \xe0\xa0\x80\n"},
		{"\xe2\x80\xa7 \xe2\x80\xaf \xe2\x81\xa8",
			"test: \xe2\x80\xa7 \xe2\x80\xaf \xe2\x81\xa8\n"},
	};

	for (unsigned k = 0; k < sizeof(pairs) / sizeof(*pairs); k++)
		assert_string_equal(said(pairs[k][0]), pairs[k][1]);
}

static void test_long(void **state)
{
	static char longest[8000];

	memset(longest, 'x', sizeof(longest) - 1);
	assert_true(strlen(said(longest)) < 1100);
	assert_non_null(strstr(text, "...\n"));
	memset(longest, 1, sizeof(longest) - 1);
	assert_true(strlen(said(longest)) <= PIPE_BUF);
	assert_int_equal(lines(text), 1);
	assert_non_null(strstr(text, "...\n"));
}

/* One kind is cut off and another is not; what was not shown is said. */
static void test_rate(void **state)
{
	unsigned shown;

	begin_pipe();
	for (unsigned k = 0; k < 1000; k++)
		log_say(LOG_INFO, "storm", "again %u", k);
	log_say(LOG_INFO, "storm", "another");
	log_say(LOG_INFO, "other", "again");
	end();
	shown = lines(text) - 2;
	assert_in_range(shown, LOG_BURST, LOG_BURST + 40);
	assert_non_null(strstr(text, "storm: another\nother: again\n"));
}

static void say_of_one_kind(void)
{
	log_say(LOG_WARNING, "one kind", "of one place");
}

static void test_rate_says_how_many(void **state)
{
	const char *more;

	begin_pipe();
	for (unsigned k = 0; k < 500; k++)
		say_of_one_kind();
	end();
	begin_pipe();
	for (struct pollfd fd = {.fd = reader, .events = POLLIN}; poll(&fd, 1, 20) == 0;)
		say_of_one_kind();
	end();
	assert_int_equal(lines(text), 1);
	more = strstr(text, "one kind: of one place (");
	assert_non_null(more);
	assert_true(strtoul(more + strlen("one kind: of one place ("), NULL, 10) >= 300);
	assert_non_null(strstr(text, " more like this not shown)\n"));
}

/* Fills it, as if others had written and nobody read; then there is room again. */
static void stalled(const char *who)
{
	static const char junk[512] = "";
	char wanted[128];
	int flags = fcntl(2, F_GETFL);

	fcntl(2, F_SETFL, flags | O_NONBLOCK);
	while (write(2, junk, sizeof(junk)) > 0 || write(2, junk, 1) > 0)
		;
	fcntl(2, F_SETFL, flags);
	alarm(20); /* kills a test that hangs */
	for (unsigned k = 0; k < 50; k++)
		log_say(LOG_INFO, who, "line %u", k);
	alarm(0);
	assert_int_equal(fcntl(2, F_GETFL), flags);
	fcntl(reader, F_SETFL, O_NONBLOCK);
	while (read(reader, text, sizeof(text)) > 0)
		;
	log_say(LOG_INFO, who, "room again");
	end();
	snprintf(wanted, sizeof(wanted), "log: 50 lines lost: nobody read them\n%s: room again\n",
		who);
	assert_non_null(strstr(text, wanted));
}

static void test_stalled_pipe(void **state)
{
	begin_pipe();
	stalled("pipe");
}

static void test_stalled_pipe_of_another_user(void **state)
{
	begin_pipe();
	another_users = true;
	stalled("another user's");
	begin_pipe();
	close(reader);
	reader = open("/dev/null", O_RDONLY);
	signal(SIGPIPE, SIG_IGN);
	log_say(LOG_INFO, "test", "to nobody");
	signal(SIGPIPE, SIG_DFL);
	end();
	begin_pipe();
	log_say(LOG_INFO, "test", "to somebody");
	end();
	another_users = false;
	assert_non_null(strstr(text, "test: to somebody\n"));
}

static void test_stalled_stream_socket(void **state)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	begin(fd[0], fd[1]);
	stalled("socket");
}

static void test_stopped_terminal(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), flags;
	struct termios raw;

	if (master < 0)
		skip();
	grantpt(master);
	unlockpt(master);
	begin(master, open(ptsname(master), O_RDWR | O_NOCTTY));
	tcgetattr(2, &raw);
	cfmakeraw(&raw);
	tcsetattr(2, TCSANOW, &raw);
	tcflow(2, TCOOFF); /* as ^S does */
	flags = fcntl(2, F_GETFL);
	alarm(20);
	for (unsigned k = 0; k < 20; k++)
		log_say(LOG_INFO, "stopped", "line %u", k);
	alarm(0);
	assert_int_equal(fcntl(2, F_GETFL), flags);
	tcflow(2, TCOON);
	log_say(LOG_INFO, "stopped", "on again");
	end();
	assert_non_null(strstr(text, "log: 20 lines lost"));
	assert_non_null(strstr(text, "stopped: on again\n"));
}

/* Nobody has the other end: no signal, no wait. */
static void test_reader_gone(void **state)
{
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	begin_pipe();
	close(reader);
	reader = open("/dev/null", O_RDONLY);
	log_say(LOG_INFO, "test", "to nobody");
	end();
	signal(SIGPIPE, SIG_DFL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	begin(fd[0], fd[1]);
	close(reader);
	reader = open("/dev/null", O_RDONLY);
	log_say(LOG_INFO, "test", "to nobody");
	end();
	saved = dup(2);
	close(2);
	log_say(LOG_INFO, "test", "closed");
	dup2(saved, 2);
	close(saved);
}

/* A file is written on, not over. */
static void test_file(void **state)
{
	char path[] = "/tmp/p2pnic-test-XXXXXX";
	int fd = mkstemp(path);

	dprintf(fd, "before\n");
	begin(open(path, O_RDONLY), fd);
	assert_int_equal(unlink(path), 0);
	log_say(LOG_INFO, "test", "one");
	dprintf(2, "between\n");
	log_say(LOG_INFO, "test", "two");
	end();
	assert_non_null(strstr(text, "before\n"));
	assert_non_null(strstr(text, "test: one\nbetween\ntest: two\n"));
}

static void test_journal(void **state)
{
	struct stat is;
	char stream[64];

	begin_pipe();
	fstat(2, &is);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)is.st_dev,
		(unsigned long long)is.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_say(LOG_ERROR, "test", "bad");
	log_say(LOG_WARNING, "test", "not good");
	log_say(LOG_INFO, "test", "good");
	setenv("JOURNAL_STREAM", "1:2", 1); /* the journal had it before it was redirected */
	log_say(LOG_INFO, "test", "plain");
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)is.st_dev,
		(unsigned long long)is.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1); /* another of its streams */
	log_say(LOG_INFO, "test", "other");
	setenv("JOURNAL_STREAM", "", 1);
	log_say(LOG_INFO, "test", "empty");
	unsetenv("JOURNAL_STREAM");
	end();
	assert_non_null(strstr(text, "<3>test: bad\n<4>test: not good\n<6>test: good\n"
				     "test: plain\ntest: other\ntest: empty\n"));
}

static void *talk(void *who)
{
	for (unsigned k = 0; k < 60; k++)
		log_say(LOG_INFO, who, "message %u of %s", k, (const char *)who);
	return NULL;
}

static void test_threads(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d"};
	pthread_t thread[4];

	begin_pipe();
	for (unsigned k = 0; k < 4; k++)
		pthread_create(&thread[k], NULL, talk, (void *)names[k]);
	for (unsigned k = 0; k < 4; k++)
		pthread_join(thread[k], NULL);
	end();
	assert_true(lines(text) >= 240);
	for (unsigned k = 0; k < 4; k++) {
		char line[64];

		snprintf(line, sizeof(line), "%s: message 59 of %s\n", names[k], names[k]);
		assert_non_null(strstr(text, line));
	}
}

/* More kinds than there are places for: still limited, still said. */
static void test_many_kinds(void **state)
{
	begin_pipe();
	for (unsigned k = 0; k < 300; k++) {
		char who[16];

		snprintf(who, sizeof(who), "nic %u", k);
		log_say(LOG_INFO, who, "here");
	}
	end();
	assert_in_range(lines(text), 200, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_rate_says_how_many),
		cmocka_unit_test(test_stalled_pipe),
		cmocka_unit_test(test_stalled_pipe_of_another_user),
		cmocka_unit_test(test_stalled_stream_socket),
		cmocka_unit_test(test_stopped_terminal),
		cmocka_unit_test(test_reader_gone),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_many_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
