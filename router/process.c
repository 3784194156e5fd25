/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/process.h"

#include "ipc/unix_address.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Fields of /proc/…/stat behind the name, which may hold anything, so from the last ')' on: 12 and
 * 13 are user and system time, 20 is the start time (counting the state as 1). proc(5). 0; -ESRCH:
 * there is no such process; other -errno: it could not be read now. */
static int read_stat(const char *path, uint64_t *cpu_ticks, uint64_t *started)
{
	char text[1024];
	unsigned long long user, system, start;
	FILE *file = fopen(path, "re");
	const char *at;
	size_t n;

	*cpu_ticks = *started = 0;
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = 0;
	at = strrchr(text, ')');
	if (!at ||
		sscanf(at + 2,
			"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d "
			"%*d %llu",
			&user, &system, &start) != 3)
		return -ESRCH; /* it ended between the two */
	*cpu_ticks = user + system;
	*started = start;
	return 0;
}

static int process_stat(pid_t pid, uint64_t *cpu, uint64_t *started)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return read_stat(path, cpu, started);
}

bool process_started(pid_t pid, uint64_t *started)
{
	uint64_t cpu;

	return process_stat(pid, &cpu, started) == 0;
}

void process_forget(struct process *p)
{
	if (p->pidfd >= 0)
		close(p->pidfd);
	*p = (struct process){.pidfd = -1};
}

int process_start(struct process *p, const char *const argv[], int ready, bool tied)
{
	const pid_t parent = getpid();
	uint64_t cpu;
	pid_t pid = fork();

	*p = (struct process){.pidfd = -1};
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		sigset_t none;

		setsid();
		if (tied) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			if (getppid() != parent)
				_exit(0);
		}
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (ready >= 0)
			fcntl(ready, F_SETFD, 0);
		int null = open("/dev/null", O_RDWR);
		if (null >= 0) {
			dup2(null, 0);
			dup2(null, 1);
		}
		execv("/proc/self/exe", (char *const *)argv);
		_exit(127);
	}
	p->pid = pid;
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int error = p->pidfd < 0 ? -errno : process_stat(pid, &cpu, &p->started);

	if (error) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		process_forget(p);
		return error;
	}
	fcntl(p->pidfd, F_SETFD, FD_CLOEXEC);
	return 0;
}

int process_adopt(struct process *p, pid_t pid, uint64_t started)
{
	uint64_t cpu, is;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	*p = (struct process){.pidfd = -1};
	if (fd < 0)
		return -errno;
	/* The descriptor came first: if the start time matches now, it is that process's. */
	int error = process_stat(pid, &cpu, &is);
	if (error || is != started) {
		close(fd);
		return error ? error : -ESRCH;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	*p = (struct process){.pid = pid, .started = started, .pidfd = fd};
	return 0;
}

static bool has_ended(const struct process *p, int wait_ms)
{
	struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};

	return !p->pid || poll(&fd, 1, wait_ms) > 0;
}

bool process_ended(struct process *p, char *how, size_t bytes)
{
	int status;

	if (!p->pid || !has_ended(p, 0))
		return false;
	if (p->pid && waitpid(p->pid, &status, WNOHANG) == p->pid) {
		if (WIFSIGNALED(status))
			snprintf(how, bytes, "killed by signal %d (%s)", WTERMSIG(status),
				strsignal(WTERMSIG(status)));
		else
			snprintf(how, bytes, "ended with status %d, and said why",
				WEXITSTATUS(status));
	} else {
		snprintf(how, bytes, "ended");
	}
	process_forget(p);
	return true;
}

/* The file name of the program that a process runs, or -errno. Where the file was replaced since,
 * the kernel adds " (deleted)", which is taken off. */
static int program_name(pid_t pid, char *name, size_t bytes)
{
	static const char gone[] = " (deleted)";
	char path[64], target[4096];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return n ? -errno : -ENOENT;
	target[n] = 0;
	if (n > (ssize_t)strlen(gone) && !strcmp(target + n - strlen(gone), gone))
		target[n - (ssize_t)strlen(gone)] = 0;
	slash = strrchr(target, '/');
	return snprintf(name, bytes, "%s", slash ? slash + 1 : target) < (int)bytes ? 0
										    : -ENAMETOOLONG;
}

/* Whether it runs what we run. One with capabilities that we lack does not tell (proc(5)); it tells
 * its arguments. */
static bool runs_ours(pid_t pid)
{
	char ours[256], its[256];
	const int error = program_name(pid, its, sizeof(its));

	return error == -EACCES ||
	       (!error && !program_name(getpid(), ours, sizeof(ours)) && !strcmp(ours, its));
}

/* Does it run this program, as `nic`, and with that socket among its arguments? */
static bool is_nic_at(pid_t pid, const char *socket_path)
{
	char path[64], arguments[65536];
	bool found = false;
	FILE *file;
	size_t n, at;

	if (!runs_ours(pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	n = fread(arguments, 1, sizeof(arguments) - 1, file);
	fclose(file);
	arguments[n] = 0;
	at = strlen(arguments) + 1;
	if (at >= n || strcmp(arguments + at, "nic") != 0)
		return false;
	for (; at < n && !found; at += strlen(arguments + at) + 1)
		found = !strcmp(arguments + at, socket_path);
	return found;
}

bool process_find_nic(const char *socket_path, struct process *p)
{
	struct sockaddr_un address;
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	uint64_t started;
	bool found = false;
	int fd;

	if (unix_address(&address, socket_path))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.pid > 0 &&
		peer.uid == geteuid() && process_started(peer.pid, &started) &&
		process_adopt(p, peer.pid, started) == 0) {
		/* Held by its pidfd from here on: what is asked about the number is asked about
		 * it. */
		found = is_nic_at(peer.pid, socket_path) && !has_ended(p, 0);
		if (!found)
			process_forget(p);
	}
	close(fd);
	return found;
}

bool process_evict(const char *socket_path, int signal)
{
	struct process stranger;

	if (!process_find_nic(socket_path, &stranger))
		return false;
	process_signal(&stranger, signal);
	process_forget(&stranger);
	return true;
}

void process_signal(const struct process *p, int signal)
{
	if (p->pid)
		syscall(SYS_pidfd_send_signal, p->pidfd, signal, NULL, 0);
}

static void wait_all(struct process *const *p, unsigned n, unsigned patience_ms)
{
	for (unsigned waited = 0; waited < patience_ms; waited += 10) {
		unsigned left = 0;

		for (unsigned k = 0; k < n; k++)
			left += !has_ended(p[k], 0);
		if (!left)
			return;
		poll(NULL, 0, 10);
	}
}

void process_stop_all(struct process *const *p, unsigned n, unsigned patience_ms)
{
	for (unsigned k = 0; k < n; k++)
		process_signal(p[k], SIGTERM);
	wait_all(p, n, patience_ms);
	for (unsigned k = 0; k < n; k++)
		if (!has_ended(p[k], 0))
			process_signal(p[k], SIGKILL);
	wait_all(p, n, 1000);
	for (unsigned k = 0; k < n; k++) {
		if (p[k]->pid)
			waitpid(p[k]->pid, NULL, WNOHANG);
		process_forget(p[k]);
	}
}

void process_stop(struct process *p, unsigned patience_ms)
{
	process_stop_all(&p, 1, patience_ms);
}

double process_cpu(pid_t pid, const char *thread)
{
	uint64_t ticks = 0, cpu, started;
	char path[320];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks)
		return 0;
	for (struct dirent *d; (d = readdir(tasks));) {
		char name[32] = "";
		FILE *file;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, d->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (!fgets(name, sizeof(name), file))
			name[0] = 0;
		fclose(file);
		name[strcspn(name, "\n")] = 0;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, d->d_name);
		if (!strcmp(name, thread) && read_stat(path, &cpu, &started) == 0)
			ticks += cpu;
	}
	closedir(tasks);
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}
