/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: a line each, escaped, limited by kind, and never waited for, whatever reads them. */
#include "ipc/log.h"
#include "ipc/log_event.h"

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
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int saved = -1, reader = -1;
static char text[1 << 20];
static bool another_users; /* its stderr: it cannot be opened anew */

static unsigned ahead; /* seconds that have seemed to pass */

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = __real_clock_gettime(clock, now);

	now->tv_sec += ahead;
	return result;
}

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
	static char plain[8192];
	char *to = plain;
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
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
		struct tm tm = {0};

		if (*line == '2') { /* 2026-11-27T01:10:15.123Z, and a space */
			assert_ptr_equal(strptime(line, "%Y-%m-%dT%H:%M:%S", &tm), line + 19);
			assert_true(llabs((long long)(timegm(&tm) - time(NULL))) < 60);
			assert_memory_equal(line + 23, "Z ", 2);
			line += 25;
		}
		const size_t length = strcspn(line, "\n");

		assert_true(length + 2 <= sizeof(plain) - (size_t)(to - plain));
		memcpy(to, line, length);
		to += length;
		*to++ = '\n';
	}
	*to = 0;
	assert_non_null(strstr(plain, "test: one\nbetween\ntest: two\n"));
}

/* The journal reads the pipe that is stderr. */
static void begin_journal(void)
{
	struct stat is;
	char stream[64];

	begin_pipe();
	fstat(2, &is);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)is.st_dev,
		(unsigned long long)is.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
}

/* Nobody listens at the journal's socket. */
static void test_journal_by_its_stream(void **state)
{
	struct stat is;
	char stream[64];

	log_journal = "/nowhere/journal";
	begin_journal();
	fstat(2, &is);
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

static char journal_path[] = "/tmp/p2pnic-journal-XXXXXX";
static int journal = -1;

static void open_journal(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	assert_true(mkstemp(journal_path) >= 0);
	unlink(journal_path);
	memcpy(address.sun_path, journal_path, sizeof(journal_path));
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(journal, (struct sockaddr *)&address, sizeof(address)), 0);
	log_journal = journal_path;
	begin_journal();
}

static const char *entry(void)
{
	static char data[8192];
	ssize_t n = recv(journal, data, sizeof(data) - 1, 0);

	data[n < 0 ? 0 : n] = 0;
	return data;
}

static void close_journal(void)
{
	unsetenv("JOURNAL_STREAM");
	close(journal);
	unlink(journal_path);
	memcpy(journal_path + strlen(journal_path) - 6, "XXXXXX", 6);
	end();
}

static void test_journal_fields(void **state)
{
	open_journal();
	log_say(LOG_WARNING, "router", LOG_NIC_LOST "nic %s: its process %s", "left",
		"ended\nPRIORITY=0");
	assert_string_equal(entry(),
		"PRIORITY=4\nSYSLOG_IDENTIFIER=p2pnic\nP2PNIC_FROM=router\nP2PNIC_NIC=left\n"
		"MESSAGE_ID=6ec4b66ad21b4f2b9df6ec80ec7c9d04\n"
		"MESSAGE=router: nic left: its process ended\\x0aPRIORITY=0\n");
	log_say(LOG_INFO, "nic right", "port %s", "tap:t");
	assert_string_equal(entry(),
		"PRIORITY=6\nSYSLOG_IDENTIFIER=p2pnic\nP2PNIC_FROM=nic right\nP2PNIC_NIC=right\n"
		"MESSAGE=nic right: port tap:t\n");
	log_say(LOG_ERROR, "router", "no nic %s: here", "x");
	assert_string_equal(entry(), "PRIORITY=3\nSYSLOG_IDENTIFIER=p2pnic\nP2PNIC_FROM=router\n"
				     "MESSAGE=router: no nic x: here\n");
	log_say(LOG_INFO, "nic a\nMESSAGE=b", "forged");
	assert_non_null(strstr(entry(), "P2PNIC_NIC=a\\x0aMESSAGE=b\nMESSAGE=nic a"));
	close_journal();
	assert_string_equal(text, "");
}

/* Each has an id of its own, of 128 bits; elsewhere they are not to be seen. */
static void test_events(void **state)
{
#define CHECK(letter, id, meaning)                                                                 \
	assert_int_equal(strlen(id), 32);                                                          \
	assert_int_equal(strspn(id, "0123456789abcdef"), 32);                                      \
	assert_null(strstr(seen, id));                                                             \
	strcat(seen, id " ");
	static char seen[4096];

	LOG_EVENTS(CHECK)
	begin_pipe();
	log_say(LOG_INFO, "router", LOG_UP "%u NICs forward", 2u);
	end();
	assert_string_equal(text, "router: 2 NICs forward\n");
}

/* A journal that is busy is not waited for: what its socket does not take goes by stderr. */
static void test_journal_is_full(void **state)
{
	unsigned taken = 0, n = 0;

	open_journal();
	alarm(20);
	for (; n < LOG_BURST; n++)
		log_say(LOG_INFO, "busy journal", "line");
	alarm(0);
	while (*entry())
		taken++;
	close_journal();
	assert_in_range(taken, 1, n);
	assert_int_equal(taken + lines(text), n);
	assert_true(taken == n || !strncmp(text, "<6>busy journal: line\n", 22));
}

static void test_levels(void **state)
{
	enum log_level level;

	assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
	assert_true(log_level_parse("warning", &level) && level == LOG_WARNING);
	assert_true(log_level_parse("info", &level) && level == LOG_INFO);
	assert_false(log_level_parse("debug", &level) || log_level_parse("", &level) ||
		     log_level_parse(NULL, &level));
	for (unsigned k = 0; k < 3; k++) {
		static const enum log_level levels[] = {LOG_ERROR, LOG_WARNING, LOG_INFO};
		static const char *const wanted[] = {
			"level: e\n", "level: e\nlevel: w\n", "level: e\nlevel: w\nlevel: i\n"};
		static const char *const names[] = {"error", "warning", "info"};

		log_level_set(levels[k]);
		assert_string_equal(getenv(LOG_LEVEL_ENV), names[k]);
		begin_pipe();
		log_say(LOG_ERROR, "level", "e");
		log_say(LOG_WARNING, "level", "w");
		log_say(LOG_INFO, "level", "i");
		end();
		assert_string_equal(text, wanted[k]);
	}
}

static void say_of_a_flood(unsigned k)
{
	log_say(LOG_WARNING, "flood", "nic %s: number %u", "left", k);
}

/* No other message comes: it is said all the same how many were hidden, in which time, and the
 * last. */
static void test_sum(void **state)
{
	unsigned shown;
	char wanted[96];

	ahead += 11;
	begin_pipe();
	log_tick(); /* of the tests before */
	end();
	begin_pipe();
	for (unsigned k = 0; k < 1000; k++)
		say_of_a_flood(k);
	log_tick(); /* too soon */
	end();
	shown = lines(text);
	assert_null(strstr(text, "more of these"));
	ahead += 11;
	begin_pipe();
	log_tick();
	log_tick();
	end();
	snprintf(wanted, sizeof(wanted),
		"flood: %u more of these in 11 s; the last: nic left: number 999\n", 1000 - shown);
	assert_string_equal(text, wanted);
}

/* At the latest the end of the process says so. */
static void test_sum_at_the_end(void **state)
{
	int status;
	pid_t pid;

	begin_pipe();
	pid = fork();
	if (!pid) {
		for (unsigned k = 0; k < 500; k++)
			log_say(LOG_WARNING, "ends", "number %u", k);
		exit(0);
	}
	waitpid(pid, &status, 0);
	end();
	assert_non_null(strstr(text, " more of these in 0 s; the last: number 499\n"));
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
		cmocka_unit_test(test_journal_by_its_stream),
		cmocka_unit_test(test_journal_fields),
		cmocka_unit_test(test_journal_is_full),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_sum),
		cmocka_unit_test(test_sum_at_the_end),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_many_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
