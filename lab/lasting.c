/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/lasting.h"

#include "lab/sandbox.h"
#include "router/api_client.h"
#include "router/config.h"
#include "router/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- The file that names the holder -------------------------------------------------------------- */

static void holder_file(char *path, size_t bytes)
{
	runtime_of_name("lab-sandbox", path, bytes);
}

static bool find_holder(struct process *p)
{
	unsigned long long started;
	char path[256];
	FILE *file;
	int pid = 0;
	bool found;

	*p = (struct process){.pidfd = -1};
	holder_file(path, sizeof(path));
	file = fopen(path, "re");
	if (!file)
		return false;
	found = fscanf(file, "%d %llu", &pid, &started) == 2 && process_adopt(p, pid, started) == 0;
	fclose(file);
	return found;
}

static int note_holder(pid_t pid)
{
	char path[256];
	uint64_t started;
	FILE *file;
	char *slash;

	if (!process_started(pid, &started))
		return -ESRCH;
	holder_file(path, sizeof(path));
	slash = strrchr(path, '/');
	*slash = 0;
	mkdir(path, 0755);
	*slash = '/';
	file = fopen(path, "we");
	if (!file)
		return -errno;
	fprintf(file, "%d %llu\n", pid, (unsigned long long)started);
	return fclose(file) ? -errno : 0;
}

/* --- The holder ---------------------------------------------------------------------------------- */

struct told {
	int result;
	char error[LAB_ERROR_BYTES];
};

static int hold(const struct sandbox *sandbox, void *argument)
{
	const int *pipe = argument;
	struct told told = {0};
	struct lab lab;
	int null;

	(void)sandbox;
	close(pipe[0]);
	told.result = lab_up(&lab, told.error);
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

static int up_in_sandbox(char *error)
{
	struct sandbox sandbox;
	struct told told = {-ECHILD, "its first process ended"};
	int told_by[2], result;

	if (pipe2(told_by, O_CLOEXEC) < 0)
		return -errno;
	result = sandbox_start(&sandbox, true, hold, told_by, error);
	close(told_by[1]);
	if (!result) {
		if (read(told_by[0], &told, sizeof(told)) != sizeof(told))
			told.result = -ECHILD;
		result = told.result;
		if (result)
			snprintf(error, LAB_ERROR_BYTES, "%s", told.error);
		else
			result = note_holder(sandbox.pid);
		if (result)
			kill(sandbox.pid, SIGKILL);
	}
	close(told_by[0]);
	return result;
}

/* --- Commands ------------------------------------------------------------------------------------ */

int lasting_up(char *error)
{
	struct process holder;
	char runtime[256], reason[API_ERROR_BYTES];
	struct lab lab;
	json_t *answer;
	int result;

	if (find_holder(&holder)) {
		process_forget(&holder);
		snprintf(error, LAB_ERROR_BYTES, "it is up already");
		return -EEXIST;
	}
	if (geteuid() != 0)
		return up_in_sandbox(error);
	runtime_of_name(LAB_NAME, runtime, sizeof(runtime));
	answer = api_show(runtime, "router", reason);
	json_decref(answer);
	if (answer) {
		snprintf(error, LAB_ERROR_BYTES, "it is up already");
		return -EEXIST;
	}
	lab_down();
	result = lab_up(&lab, error);
	return result;
}

bool lasting_down(void)
{
	struct process holder;
	char path[256];
	bool found = find_holder(&holder);

	if (found) {
		kill(holder.pid, SIGKILL);
		process_stop(&holder, 5000);
	}
	holder_file(path, sizeof(path));
	unlink(path);
	*strrchr(path, '/') = 0;
	rmdir(path);
	return (geteuid() == 0 && lab_down()) || found;
}

int lasting_exec(const char *where, const char *const argv[], char *error)
{
	struct process holder;
	char name[64];
	int result = 0, status;
	pid_t pid;

	if (find_holder(&holder)) {
		result = sandbox_enter(holder.pid);
		process_forget(&holder);
	}
	if (result) {
		snprintf(error, LAB_ERROR_BYTES, "entering the lab: %s", strerror(-result));
		return result;
	}
	snprintf(name, sizeof(name), "p2pnic-lab-%s", where);
	if (!namespace_exists(name)) {
		snprintf(error, LAB_ERROR_BYTES,
			namespace_exists(LAB_ROUTER)
				? "no '%s' there; it has router, h1, h2, h3, h4"
				: "it is not up: `p2pnic lab up` first",
			where);
		return -ENOENT;
	}
	/* Only a child is in the process namespace that was entered. */
	pid = fork();
	if (pid == 0) {
		result = namespace_enter(name);
		if (!result) {
			if (!strcmp(argv[0], "p2pnic"))
				execv("/proc/self/exe", (char *const *)argv);
			execvp(argv[0], (char *const *)argv);
			result = -errno;
		}
		fprintf(stderr, "p2pnic lab: %s: %s\n", argv[0], strerror(-result));
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		snprintf(error, LAB_ERROR_BYTES, "%s: %s", argv[0], strerror(errno));
		return -errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
