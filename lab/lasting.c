/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/lasting.h"

#include "lab/sandbox.h"
#include "router/api_client.h"
#include "router/config.h"
#include "router/process.h"
#include "router/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- The file that names the holder ----------------------------------------------------------- */

static void holder_file(char *path, size_t bytes)
{
	runtime_of_name("lab-sandbox", path, bytes);
}

/* 1: found; 0: there is none; -errno with a sentence: others could have written the file. */
static int find_holder(struct process *p, struct error *error)
{
	unsigned long long started;
	char path[256], text[64];
	const char *name;
	struct stat is;
	int directory, fd, pid, found = 0;
	ssize_t n;

	*p = (struct process){.pidfd = -1};
	holder_file(path, sizeof(path));
	directory = runtime_beside(path, false, &name, error);
	if (directory < 0)
		return directory == -ENOENT ? 0 : directory;
	fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(directory);
	if (fd < 0)
		return 0;
	if (fstat(fd, &is) == 0 && is.st_uid == geteuid() &&
		(n = read(fd, text, sizeof(text) - 1)) > 0) {
		text[n] = 0;
		found = sscanf(text, "%d %llu", &pid, &started) == 2 &&
			process_adopt(p, pid, started) == 0;
	}
	close(fd);
	return found;
}

static int note_holder(pid_t pid, struct error *error)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
	char path[256];
	const char *name;
	uint64_t started;
	int directory, fd, result = 0;

	holder_file(path, sizeof(path));
	if (!process_started(pid, &started))
		return error_set(error, -ESRCH, "its first process ended");
	directory = runtime_beside(path, true, &name, error);
	if (directory < 0)
		return directory;
	fd = openat(directory, name, flags, 0600);
	close(directory);
	if (fd < 0 || dprintf(fd, "%d %llu\n", pid, (unsigned long long)started) < 0) {
		result = -errno;
		error_set(error, -errno, "%s: %s", path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return result;
}

/* --- The holder ------------------------------------------------------------------------------- */

struct holding {
	unsigned mtu;
	int told_by[2]; /* a pipe */
};

struct told {
	int result;
	struct error error;
};

static int hold(const struct sandbox *sandbox, void *argument)
{
	const struct holding *holding = argument;
	const int *pipe = holding->told_by;
	struct told told = {0};
	struct lab lab;
	int null;

	(void)sandbox;
	close(pipe[0]);
	told.result = lab_up(&lab, holding->mtu, &told.error);
	if (write(pipe[1], &told, sizeof(told)) != sizeof(told) || told.result)
		return 1;
	close(pipe[1]);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	/* First process of its namespace: whatever loses its parent there ends up here. */
	for (;;)
		if (wait(NULL) < 0)
			pause();
}

static int up_in_sandbox(unsigned mtu, struct error *error)
{
	struct sandbox sandbox;
	struct told told = {-ECHILD, {"its first process ended"}};
	struct holding holding = {.mtu = mtu};
	int *told_by = holding.told_by, result;

	if (pipe2(told_by, O_CLOEXEC) < 0) {
		result = -errno;
		return error_set(error, result, "pipe: %s", strerror(-result));
	}
	result = sandbox_start(&sandbox, true, hold, &holding, error);
	close(told_by[1]);
	if (!result) {
		if (read(told_by[0], &told, sizeof(told)) != sizeof(told))
			told.result = -ECHILD;
		result = told.result;
		if (result)
			*error = told.error;
		else
			result = note_holder(sandbox.pid, error);
		if (result)
			kill(sandbox.pid, SIGKILL);
	}
	close(told_by[0]);
	return result;
}

/* --- Commands --------------------------------------------------------------------------------- */

int lasting_up(unsigned mtu, struct error *error)
{
	struct process holder;
	char runtime[256];
	struct error reason;
	struct lab lab;
	json_t *answer;
	int result = find_holder(&holder, error);

	if (result < 0)
		return result;
	if (result) {
		process_forget(&holder);
		return error_set(error, -EEXIST, "it is up already");
	}
	if (geteuid() != 0)
		return up_in_sandbox(mtu, error);
	runtime_of_name(LAB_NAME, runtime, sizeof(runtime));
	answer = api_show(runtime, true, "router", NULL, &reason);
	json_decref(answer);
	if (answer)
		return error_set(error, -EEXIST, "it is up already");
	lab_down();
	result = lab_up(&lab, mtu, error);
	return result;
}

int lasting_down(struct error *error)
{
	struct process holder;
	char path[256];
	int found = find_holder(&holder, error);

	if (found < 0)
		return found;
	if (found)
		process_stop(&holder, 0); /* first of its namespace: SIGTERM does not reach it */
	holder_file(path, sizeof(path));
	unlink(path);
	*strrchr(path, '/') = 0;
	rmdir(path);
	return (geteuid() == 0 && lab_down()) || found;
}

static int exit_status(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		fprintf(stderr, "p2pnic lab: %s: %s\n", pid < 0 ? "fork" : "waitpid",
			strerror(errno));
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* In a process that is used up by it: it enters namespaces. */
static int enter_and_run(const char *where, const char *const argv[])
{
	struct process holder;
	char name[64];
	struct error error;
	int result = find_holder(&holder, &error);
	pid_t pid;

	if (result < 0) {
		fprintf(stderr, "p2pnic lab: %s\n", error.text);
		return 1;
	}
	if (result)
		result = sandbox_enter(holder.pid);
	snprintf(name, sizeof(name), "p2pnic-lab-%s", where);
	if (result) {
		fprintf(stderr, "p2pnic lab: entering it: %s\n", strerror(-result));
		return 1;
	}
	if (!namespace_exists(LAB_ROUTER)) {
		fprintf(stderr, "p2pnic lab: it is not up: `p2pnic lab up` first\n");
		return 1;
	}
	if (!namespace_exists(name)) {
		fprintf(stderr, "p2pnic lab: no '%s' there; it has router, h1, h2, h3, h4\n",
			where);
		return 1;
	}
	pid = fork(); /* only a child is in the process namespace that was entered */
	if (pid)
		return exit_status(pid);
	result = namespace_enter(name);
	if (!result) {
		if (!strcmp(argv[0], "p2pnic"))
			execv("/proc/self/exe", (char *const *)argv);
		execvp(argv[0], (char *const *)argv);
		result = -errno;
	}
	fprintf(stderr, "p2pnic lab: %s: %s\n", argv[0], strerror(-result));
	return 127;
}

int lasting_exec(const char *where, const char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(enter_and_run(where, argv));
	return exit_status(pid);
}
