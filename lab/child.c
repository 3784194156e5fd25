/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_PATIENCE_MS 10000u

static void namespace_path(const char *name, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/%s", NAMESPACE_DIRECTORY, name);
}

int namespace_enter(const char *name)
{
	char path[128];
	int fd, error = 0;

	namespace_path(name, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (setns(fd, CLONE_NEWNET) < 0)
		error = -errno;
	close(fd);
	return error;
}

bool namespace_exists(const char *name)
{
	char path[128];

	namespace_path(name, path, sizeof(path));
	return access(path, F_OK) == 0;
}

unsigned namespace_kill(const char *name)
{
	char path[320];
	struct stat wanted, is;
	unsigned killed = 0;
	DIR *processes;

	namespace_path(name, path, sizeof(path));
	if (stat(path, &wanted) < 0)
		return 0;
	processes = opendir("/proc");
	if (!processes)
		return 0;
	for (struct dirent *d; (d = readdir(processes));) {
		pid_t pid = (pid_t)atoi(d->d_name);

		snprintf(path, sizeof(path), "/proc/%s/ns/net", d->d_name);
		if (pid <= 0 || pid == getpid() || stat(path, &is) < 0 ||
			is.st_ino != wanted.st_ino || is.st_dev != wanted.st_dev)
			continue;
		killed += kill(pid, SIGKILL) == 0;
	}
	closedir(processes);
	return killed;
}

static int memory_with(const char *name, const char *text)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd >= 0 && text &&
		(write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
			lseek(fd, 0, SEEK_SET))) {
		close(fd);
		return -1;
	}
	return fd;
}

__attribute__((noreturn)) static void become(
	const char *namespace, const char *const argv[], int input, int output, bool lasting)
{
	const char *path = getenv("PATH");
	char wider[4096];
	sigset_t none;
	int error = 0;

	if (lasting)
		setsid();
	else
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(input, 0);
	dup2(output, 1);
	dup2(output, 2);
	if (namespace)
		error = namespace_enter(namespace);
	if (!error) {
		/* Debian gives users no sbin, where ethtool is. */
		if (path && snprintf(wider, sizeof(wider), "%s:/usr/sbin:/sbin", path) <
				    (int)sizeof(wider))
			setenv("PATH", wider, 1);
		if (!strcmp(argv[0], "p2pnic"))
			execv("/proc/self/exe", (char *const *)argv);
		else
			execvp(argv[0], (char *const *)argv);
		error = -errno;
	}
	fprintf(stderr, "%s: %s\n", argv[0], strerror(-error));
	_exit(127);
}

int child_start(struct child *c, const char *namespace, const char *const argv[], const char *input,
	bool lasting)
{
	int in = input ? memory_with("input", input) : open("/dev/null", O_RDONLY | O_CLOEXEC);
	int error;

	*c = (struct child){.pidfd = -1, .output = memory_with("output", NULL)};
	if (in < 0 || c->output < 0) {
		error = -errno;
		goto fail;
	}
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0)
		become(namespace, argv, in, c->output, lasting);
	if (c->pid < 0) {
		error = -errno;
		goto fail;
	}
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd < 0) {
		error = -errno;
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		goto fail;
	}
	close(in);
	return 0;
fail:
	if (in >= 0)
		close(in);
	if (c->output >= 0)
		close(c->output);
	*c = (struct child){.pidfd = -1, .output = -1};
	return error;
}

bool child_ended(const struct child *c, int wait_ms)
{
	struct pollfd fd = {.fd = c->pidfd, .events = POLLIN};

	return !c->pid || poll(&fd, 1, wait_ms) > 0;
}

int child_wait(struct child *c, unsigned patience_ms)
{
	int status;
	bool late = !child_ended(c, (int)patience_ms);

	if (!c->pid)
		return -ESRCH;
	if (late)
		kill(c->pid, SIGKILL);
	if (waitpid(c->pid, &status, 0) != c->pid)
		return -errno;
	c->pid = 0;
	return late ? -ETIMEDOUT : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *child_output(const struct child *c)
{
	struct stat info;
	char *text = NULL;
	ssize_t n = 0;

	if (fstat(c->output, &info) == 0)
		text = malloc((size_t)info.st_size + 1);
	if (text) {
		n = pread(c->output, text, (size_t)info.st_size, 0);
		text[n > 0 ? n : 0] = 0;
	}
	return text;
}

void child_free(struct child *c)
{
	if (c->pid && c->pidfd >= 0)
		child_wait(c, 0);
	if (c->pidfd >= 0)
		close(c->pidfd);
	if (c->output >= 0)
		close(c->output);
	*c = (struct child){.pidfd = -1, .output = -1};
}

int command_run(
	const char *namespace, const char *const argv[], const char *input, struct error *error)
{
	struct child c;
	int result = child_start(&c, namespace, argv, input, false);
	char *text = NULL;

	if (!result) {
		int status = child_wait(&c, COMMAND_PATIENCE_MS);

		result = status < 0 ? status : status ? -ECHILD : 0;
		text = child_output(&c);
		child_free(&c);
	}
	if (result) {
		error_set(
			error, result, "%s: %s", argv[0], text && *text ? text : strerror(-result));
		error->text[strcspn(error->text, "\n")] = 0;
	}
	free(text);
	return result;
}
