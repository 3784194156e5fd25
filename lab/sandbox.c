/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the first process tells before it begins: code 0, or what it could not do. */
struct answer {
	int code;
	struct error error;
};

static int write_file(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd, error = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		error = -errno;
	close(fd);
	return error;
}

/* user_namespaces(7): one's own user and group may be mapped, once setgroups is given up. */
static int map_user(pid_t pid)
{
	char text[64];
	int error = write_file(pid, "setgroups", "deny");

	snprintf(text, sizeof(text), "0 %u 1", geteuid());
	if (!error)
		error = write_file(pid, "uid_map", text);
	snprintf(text, sizeof(text), "0 %u 1", getegid());
	return error ? error : write_file(pid, "gid_map", text);
}

/* In a chroot "/" is no mount point, so it has no propagation to change, and what is mounted on
 * /run there would go to whoever shares the file system around it. Joining one's own mount
 * namespace leads to its root; then back. */
static const char *make_private_in_chroot(void)
{
	const char *failed = NULL;
	int here = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (here < 0 || self < 0)
		failed = "open /";
	else if (setns(self, CLONE_NEWNS) < 0)
		failed = "setns (out of a chroot, to make its mounts private)";
	else if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		failed = "mount --make-rprivate / (above a chroot)";
	else if (fchdir(here) < 0 || chroot(".") < 0)
		failed = "chroot (back)";
	if (failed)
		/* errno is for the caller, and the end of this process closes both. */
		return failed;
	close(here);
	close(self);
	return NULL;
}

static struct answer furnish(void)
{
	static const struct {
		const char *type, *target;
		unsigned long flags;
	} mounts[] = {
		{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"tmpfs", "/run", MS_NOSUID | MS_NODEV},
	};
	struct answer a = {0};
	const char *failed = NULL;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		failed = errno == EINVAL ? make_private_in_chroot() : "mount --make-rprivate /";
	for (unsigned k = 0; k < sizeof(mounts) / sizeof(*mounts) && !failed; k++)
		if (mount("none", mounts[k].target, mounts[k].type, mounts[k].flags, NULL) < 0)
			failed = k ? "mount -t tmpfs /run" : "mount -t proc /proc";
	if (failed) {
		a.code = -errno;
		error_set(&a.error, a.code, "%s: %s", failed, strerror(errno));
	}
	return a;
}

static int start(struct sandbox *s, bool lasting, int (*body)(const struct sandbox *, void *),
	void *argument, struct error *error)
{
	const unsigned long flags =
		CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | (s->own_user ? CLONE_NEWUSER : 0);
	struct answer answer = {-ECHILD, {"it ended"}};
	int go[2], told[2], code;
	char byte = 0;

	if (pipe2(go, O_CLOEXEC) < 0) {
		code = -errno;
		return error_set(error, code, "pipe: %s", strerror(-code));
	}
	if (pipe2(told, O_CLOEXEC) < 0) {
		code = -errno;
		error_set(error, code, "pipe: %s", strerror(-code));
		close(go[0]);
		close(go[1]);
		return code;
	}
	fflush(NULL);
	s->pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (s->pid == 0) {
		close(go[1]);
		close(told[0]);
		if (lasting)
			setsid();
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		/* Not earlier: the change of user by the mapping clears it. */
		if (!lasting)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[0]);
		answer = furnish();
		/* If the parent died before the prctl, this write fails. */
		if (write(told[1], &answer, sizeof(answer)) != sizeof(answer) || answer.code)
			_exit(1);
		close(told[1]);
		code = body(s, argument);
		fflush(NULL);
		_exit(code);
	}
	code = s->pid < 0 ? -errno : 0;
	if (code)
		error_set(error, code, "clone(CLONE_NEWNS|NEWPID|NEWNET%s): %s%s",
			s->own_user ? "|NEWUSER" : "", strerror(-code),
			code == -ENOSPC ? " (their number is limited, see /proc/sys/user)" : "");
	if (!code && s->own_user) {
		code = map_user(s->pid);
		if (code)
			error_set(error, code,
				"becoming root in a user namespace by /proc/PID/uid_map: %s",
				strerror(-code));
	}
	close(go[0]);
	close(told[1]);
	if (!code &&
		(write(go[1], &byte, 1) != 1 ||
			read(told[0], &answer, sizeof(answer)) != sizeof(answer) || answer.code)) {
		code = answer.code;
		*error = answer.error;
	}
	close(go[1]);
	close(told[0]);
	if (code && s->pid > 0) {
		if (answer.code == -ECHILD) /* else it told what failed, and ends by itself */
			kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	return code;
}

int sandbox_start(struct sandbox *s, bool lasting, int (*body)(const struct sandbox *, void *),
	void *argument, struct error *error)
{
	const bool root = geteuid() == 0;
	struct error as_root;
	int code = -EPERM;

	/* Root of a container may lack the right to the first way and have it to the second. */
	s->own_user = false;
	if (root)
		code = start(s, lasting, body, argument, &as_root);
	if (code) {
		s->own_user = true;
		code = start(s, lasting, body, argument, error);
	}
	if (code && root)
		error_set(error, code, "%s; in a user namespace: %s", as_root.text, error->text);
	return code;
}

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	caught = number;
}

int sandbox_wait(struct sandbox *s)
{
	const struct sigaction action = {.sa_handler = on_signal};
	int status;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	while (waitpid(s->pid, &status, 0) != s->pid)
		if (caught)
			kill(s->pid, SIGKILL);
	if (caught)
		return 128 + caught;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int sandbox_enter(pid_t pid)
{
	static const char *const name[] = {"user", "pid", "mnt", "net"};
	int fd[4], error = 0;

	for (unsigned k = 0; k < 4; k++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name[k]);
		fd[k] = open(path, O_RDONLY | O_CLOEXEC);
	}
	for (unsigned k = 0; k < 4; k++) {
		if (!error && (fd[k] < 0 || setns(fd[k], 0) < 0))
			error = -errno;
		if (fd[k] >= 0)
			close(fd[k]);
	}
	return error;
}
