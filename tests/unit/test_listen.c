/* SPDX-License-Identifier: BSD-3-Clause */
/* Listening sockets: what is in the way stays whole unless it is a stale socket. */
#include "inject.h"
#include "ipc/listen.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/p2pnic-listen-XXXXXX";
static char path[64], other[64];

/* The call that fails, once, and why; calls that inject.h does not have. */
static const char *failing = "";
static int reason;

static bool fails(const char *call)
{
	if (strcmp(failing, call) != 0)
		return false;
	failing = "";
	errno = reason;
	return true;
}

#define FAILING(name, parameters, arguments)                                                       \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		return fails(#name) ? -1 : __real_##name arguments;                                \
	}

FAILING(fchmod, (int fd, mode_t mode), (fd, mode))
FAILING(fchmodat, (int fd, const char *at, mode_t mode, int flags), (fd, at, mode, flags))
FAILING(flock, (int fd, int operation), (fd, operation))
FAILING(unlink, (const char *at), (at))

static int listen_there(struct unix_listener *l)
{
	return unix_listen(l, path, SOCK_STREAM | SOCK_NONBLOCK, 0600, 16);
}

static int connect_there(void)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(unix_address(&address, path), 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

/* A socket file; with backlog, served. */
static int foreign_socket(const char *at, int type, int backlog)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_int_equal(unix_address(&address, at), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (backlog)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void refused_and_untouched(int error, const char *said)
{
	char text[UNIX_LISTEN_TEXT_BYTES];
	struct unix_listener l;
	struct stat before, after;

	assert_int_equal(lstat(path, &before), 0);
	assert_int_equal(listen_there(&l), error);
	assert_int_equal(l.fd, -1);
	unix_unlisten(&l);
	assert_int_equal(lstat(path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_int_equal(after.st_size, before.st_size);
	unix_listen_error(path, error, text);
	assert_non_null(strstr(text, path));
	assert_non_null(strstr(text, said));
}

static void leaves_a_file(void **state)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
	refused_and_untouched(-EEXIST, "is a file");
}

static void leaves_a_symbolic_link(void **state)
{
	struct stat target;
	int fd;

	/* To nothing, to a file, to a stale socket. */
	assert_int_equal(symlink(other, path), 0);
	refused_and_untouched(-EEXIST, "is a symbolic link");
	assert_int_equal(lstat(other, &target), -1);
	close(open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	refused_and_untouched(-EEXIST, "is a symbolic link");
	assert_int_equal(unlink(other), 0);
	fd = foreign_socket(other, SOCK_STREAM, 0);
	close(fd);
	refused_and_untouched(-EEXIST, "is a symbolic link");
	assert_int_equal(lstat(other, &target), 0);
}

static void leaves_a_fifo(void **state)
{
	assert_int_equal(mkfifo(path, 0600), 0);
	refused_and_untouched(-EEXIST, "is a FIFO");
}

static void leaves_a_directory(void **state)
{
	assert_int_equal(mkdir(path, 0700), 0);
	refused_and_untouched(-EEXIST, "is a directory");
}

static void leaves_a_device(void **state)
{
	if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) < 0)
		skip();
	refused_and_untouched(-EEXIST, "is a device");
}

static void leaves_a_block_device(void **state)
{
	if (mknod(path, S_IFBLK | 0600, makedev(7, 0)) < 0)
		skip();
	refused_and_untouched(-EEXIST, "is a device");
}

static void leaves_a_live_socket(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

	for (unsigned k = 0; k < 2; k++) {
		int fd = foreign_socket(path, types[k], 1);

		refused_and_untouched(-EADDRINUSE, "another process listens there");
		close(fd);
		unlink(path);
	}
}

/* A server too busy to accept is a live one. */
static void leaves_a_full_socket(void **state)
{
	int fd = foreign_socket(path, SOCK_STREAM, 1), client[8];

	for (unsigned k = 0; k < 8; k++) {
		struct sockaddr_un address;

		assert_int_equal(unix_address(&address, path), 0);
		client[k] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(client[k], (struct sockaddr *)&address, sizeof(address)) < 0)
			assert_int_equal(errno, EAGAIN);
	}
	refused_and_untouched(-EADDRINUSE, "another process listens there");
	for (unsigned k = 0; k < 8; k++)
		close(client[k]);
	close(fd);
}

static void replaces_a_stale_socket(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
	struct unix_listener l;
	struct stat is;

	for (unsigned k = 0; k < 3; k++) {
		close(foreign_socket(path, types[k], 0));
		assert_int_equal(listen_there(&l), 0);
		int fd = connect_there();

		assert_true(fd >= 0);
		close(fd);
		unix_unlisten(&l);
		assert_int_equal(l.fd, -1);
		assert_int_equal(lstat(path, &is), -1);
	}
}

static void leaves_anothers_fresh_socket_when_it_ends(void **state)
{
	struct unix_listener ours;
	struct stat before, after;
	int fd;

	assert_int_equal(listen_there(&ours), 0);
	assert_int_equal(unlink(path), 0);
	fd = foreign_socket(path, SOCK_STREAM, 1);
	assert_int_equal(lstat(path, &before), 0);
	unix_unlisten(&ours);
	assert_int_equal(lstat(path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	close(fd);
	unlink(path);

	/* A file in its place, and nothing. */
	assert_int_equal(listen_there(&ours), 0);
	assert_int_equal(unlink(path), 0);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	unix_unlisten(&ours);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(listen_there(&ours), 0);
	assert_int_equal(unlink(path), 0);
	unix_unlisten(&ours);
}

static void has_its_mode_whatever_the_umask(void **state)
{
	static const mode_t masks[] = {0, 022, 077, 0777}, modes[] = {0600, 0660, 0666};
	struct unix_listener l;
	struct stat is;

	for (unsigned k = 0; k < 12; k++) {
		mode_t mask = umask(masks[k % 4]);

		assert_int_equal(unix_listen(&l, path, SOCK_SEQPACKET, modes[k / 4], 1), 0);
		umask(mask);
		assert_int_equal(lstat(path, &is), 0);
		assert_int_equal(is.st_mode, S_IFSOCK | modes[k / 4]);
		assert_int_equal(fcntl(l.fd, F_GETFD), FD_CLOEXEC);
		unix_unlisten(&l);
	}
}

static void takes_abstract_names(void **state)
{
	struct unix_listener l, second;
	char name[64], text[UNIX_LISTEN_TEXT_BYTES];

	snprintf(name, sizeof(name), "@p2pnic-test-%d", (int)getpid());
	assert_int_equal(unix_listen(&l, name, SOCK_SEQPACKET, 0600, 1), 0);
	assert_int_equal(unix_listen(&second, name, SOCK_SEQPACKET, 0600, 1), -EADDRINUSE);
	assert_non_null(strstr(unix_listen_error(name, -EADDRINUSE, text), name));
	unix_unlisten(&second);
	unix_unlisten(&l);
	assert_int_equal(unix_listen(&l, name, SOCK_SEQPACKET, 0600, 1), 0);
	unix_unlisten(&l);
}

static void refuses_what_is_no_path(void **state)
{
	char text[UNIX_LISTEN_TEXT_BYTES], longest[200];
	struct unix_listener l;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(unix_listen(&l, "", SOCK_STREAM, 0600, 1), -EINVAL);
	assert_int_equal(unix_listen(&l, longest, SOCK_STREAM, 0600, 1), -ENAMETOOLONG);
	assert_non_null(strstr(unix_listen_error(longest, -ENAMETOOLONG, text), "107"));
	assert_int_equal(unix_listen(&l, "/nonexistent/x.sock", SOCK_STREAM, 0600, 1), -ENOENT);
	assert_non_null(strstr(unix_listen_error("/nonexistent/x.sock", -ENOENT, text),
		"/nonexistent/x.sock: No such file"));
}

/* Of those who find the same stale socket at once exactly one gets the path, and keeps it. */
static void one_of_many_starters_wins(void **state)
{
	enum { STARTERS = 6, ROUNDS = 20 };

	for (unsigned round = 0; round < ROUNDS; round++) {
		int go[2], won[2], stop[2], status;
		pid_t child[STARTERS];
		unsigned winners = 0;
		char byte;

		close(foreign_socket(path, SOCK_STREAM, 0));
		assert_true(!pipe(go) && !pipe(won) && !pipe(stop));
		for (unsigned k = 0; k < STARTERS; k++) {
			child[k] = fork();
			if (child[k])
				continue;
			struct unix_listener l;

			close(go[1]);
			close(stop[1]);
			if (read(go[0], &byte, 1) < 0)
				_exit(9);
			int error = listen_there(&l);

			if (write(won[1], error ? "-" : "+", 1) != 1 || read(stop[0], &byte, 1) < 0)
				_exit(9);
			unix_unlisten(&l);
			_exit(error == 0 || error == -EADDRINUSE ? 0 : 1);
		}
		close(go[0]);
		close(go[1]);
		close(stop[0]);
		for (unsigned k = 0; k < STARTERS; k++) {
			assert_int_equal(read(won[0], &byte, 1), 1);
			winners += byte == '+';
		}
		assert_int_equal(winners, 1);
		int fd = connect_there();

		assert_true(fd >= 0);
		close(fd);
		close(stop[1]);
		for (unsigned k = 0; k < STARTERS; k++) {
			assert_int_equal(waitpid(child[k], &status, 0), child[k]);
			assert_int_equal(status, 0);
		}
		close(won[0]);
		close(won[1]);
		assert_int_equal(access(path, F_OK), -1);
	}
}

/* Without the directory's lock a free path is taken, and a stale socket stays. */
static void does_without_the_lock(void **state)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct unix_listener l;

	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(listen_there(&l), 0);
	unix_unlisten(&l);
	close(foreign_socket(path, SOCK_STREAM, 0));
	refused_and_untouched(-EBUSY, "stale socket");
	close(fd);
	assert_int_equal(listen_there(&l), 0);
	unix_unlisten(&l);
}

static void waits_for_the_lock_through_signals(void **state)
{
	struct unix_listener l;

	close(foreign_socket(path, SOCK_STREAM, 0));
	failing = "flock";
	reason = EINTR;
	assert_int_equal(listen_there(&l), 0);
	unix_unlisten(&l);
	/* Where there are no locks the stale socket stays, and the reason is said. */
	close(foreign_socket(path, SOCK_STREAM, 0));
	failing = "flock";
	reason = ENOLCK;
	refused_and_untouched(-ENOLCK, strerror(ENOLCK));
}

static int listens(void *context)
{
	const bool stale = context;
	struct unix_listener l;
	struct stat is;
	int result;

	if (stale)
		close(foreign_socket(path, SOCK_STREAM, 0));
	inject_arm();
	result = listen_there(&l);
	inject_disarm();
	if (!result) {
		int fd = connect_there();

		assert_true(fd >= 0);
		close(fd);
		unix_unlisten(&l);
	}
	assert_int_equal(l.fd, -1);
	/* Nothing of it stays; the stale socket may. */
	if (!stale)
		assert_int_equal(lstat(path, &is), -1);
	unlink(path);
	return result;
}

static void leaves_nothing_where_a_call_fails(void **state)
{
	assert_true(inject_each(listens, NULL, NULL) >= 4);
	assert_true(inject_each(listens, path, NULL) >= 6);
}

static void leaves_nothing_where_the_mode_cannot_be(void **state)
{
	struct unix_listener l;
	struct stat is;
	mode_t mask = umask(0077);

	reason = EROFS;
	failing = "fchmod";
	assert_int_equal(unix_listen(&l, path, SOCK_STREAM, 0660, 1), -EROFS);
	assert_int_equal(lstat(path, &is), -1);
	failing = "fchmodat";
	assert_int_equal(unix_listen(&l, path, SOCK_STREAM, 0660, 1), -EROFS);
	assert_int_equal(lstat(path, &is), -1);
	assert_int_equal(l.fd, -1);
	umask(mask);
}

static void removes_stale_sockets_alone(void **state)
{
	static char longest[200];
	struct unix_listener l;
	struct stat is;

	close(foreign_socket(path, SOCK_STREAM, 0));
	unix_remove_stale(path, SOCK_STREAM);
	assert_int_equal(lstat(path, &is), -1);
	unix_remove_stale(path, SOCK_STREAM);
	int fd = foreign_socket(path, SOCK_STREAM, 1);

	unix_remove_stale(path, SOCK_STREAM);
	assert_int_equal(lstat(path, &is), 0);
	close(fd);
	/* What cannot be removed is in the way still. */
	failing = "unlink";
	reason = EROFS;
	refused_and_untouched(-EROFS, strerror(EROFS));
	/* Its own server removed it a moment ago: then it is free. */
	failing = "unlink";
	reason = ENOENT;
	assert_int_equal(listen_there(&l), -EADDRINUSE);
	/* No socket has such a name. */
	memset(longest, 'x', sizeof(longest) - 1);
	unix_remove_stale(longest, SOCK_STREAM);
}

static void says_what_is_gone_already(void **state)
{
	char text[UNIX_LISTEN_TEXT_BYTES];

	unix_listen_error(path, -EEXIST, text);
	assert_non_null(strstr(text, path));
	assert_non_null(strstr(text, strerror(EEXIST)));
	close(foreign_socket(path, SOCK_STREAM, 0));
	assert_non_null(strstr(unix_listen_error(path, -EEXIST, text), "is something else"));
}

static void knows_its_peer(void **state)
{
	struct unix_listener l;
	struct ucred peer;

	assert_int_equal(listen_there(&l), 0);
	int client = connect_there(), server = accept4(l.fd, NULL, NULL, SOCK_CLOEXEC);

	assert_int_equal(unix_peer(server, &peer), 0);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(unix_peer(client, &peer), 0);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(unix_peer(-1, &peer), -EBADF);
	close(client);
	close(server);
	unix_unlisten(&l);
}

static int empty(void **state)
{
	if (unlink(path) < 0 && errno != ENOENT)
		rmdir(path);
	unlink(other);
	return 0;
}

static int make(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	return 0;
}

static int unmake(void **state)
{
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(leaves_a_file, empty),
		cmocka_unit_test_teardown(leaves_a_symbolic_link, empty),
		cmocka_unit_test_teardown(leaves_a_fifo, empty),
		cmocka_unit_test_teardown(leaves_a_directory, empty),
		cmocka_unit_test_teardown(leaves_a_device, empty),
		cmocka_unit_test_teardown(leaves_a_block_device, empty),
		cmocka_unit_test_teardown(leaves_a_live_socket, empty),
		cmocka_unit_test_teardown(leaves_a_full_socket, empty),
		cmocka_unit_test_teardown(replaces_a_stale_socket, empty),
		cmocka_unit_test_teardown(leaves_anothers_fresh_socket_when_it_ends, empty),
		cmocka_unit_test_teardown(has_its_mode_whatever_the_umask, empty),
		cmocka_unit_test_teardown(takes_abstract_names, empty),
		cmocka_unit_test_teardown(refuses_what_is_no_path, empty),
		cmocka_unit_test_teardown(one_of_many_starters_wins, empty),
		cmocka_unit_test_teardown(does_without_the_lock, empty),
		cmocka_unit_test_teardown(waits_for_the_lock_through_signals, empty),
		cmocka_unit_test_teardown(leaves_nothing_where_a_call_fails, empty),
		cmocka_unit_test_teardown(leaves_nothing_where_the_mode_cannot_be, empty),
		cmocka_unit_test_teardown(removes_stale_sockets_alone, empty),
		cmocka_unit_test_teardown(says_what_is_gone_already, empty),
		cmocka_unit_test_teardown(knows_its_peer, empty),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
