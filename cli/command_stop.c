/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whom to end is told by the kernel (SO_PEERCRED), who listens at a socket of the runtime
 * directory, not by what somebody answers there.
 */
#include "cli/command.h"
#include "cli/which_router.h"
#include "driver/keeper.h"
#include "ipc/exchange.h"
#include "ipc/peer.h"
#include "ipc/unix_address.h"
#include "punt/punt.h"
#include "router/process.h"
#include "router/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <p2pnic/limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_MS 10000u /* a router takes 5 s at most */
#define END_MS  2000u  /* for a NIC's process to end by itself */
#define LOOK_MS 20u
#define NICS    P2PNIC_NICS_MAX

static const struct command_option options[] = {WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax stop_syntax = {
	.name = "stop",
	.usage = "usage: p2pnic stop [--name NAME | --runtime DIR]\n"
		 "\n"
		 "Ends a router in order, and its NICs with it, also where it runs with "
		 "--leave-running; where none\n"
		 "runs, the NICs, the keeper, the punt and the metrics process that an earlier one "
		 "left.\n",
	.options = options,
};

/* A connection to who listens at DIR/NAME; -1: nobody. */
static int connect_to(const char *runtime, const char *name)
{
	struct sockaddr_un address;
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", runtime, name);
	if (unix_address(&address, path))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The process at the other end, which is closed; false: none. */
static bool listener_of(int fd, struct process *p)
{
	struct ucred peer;
	uint64_t started;
	bool found = false;

	if (fd < 0)
		return false;
	found = unix_peer(fd, &peer) == 0 && process_started(peer.pid, &started) &&
		process_adopt(p, peer.pid, started) == 0;
	close(fd);
	return found;
}

static bool ends(struct process *p, unsigned ms)
{
	char how[64];

	for (unsigned waited = 0; waited <= ms; waited += LOOK_MS) {
		if (process_ended(p, how, sizeof(how)))
			return true;
		usleep(LOOK_MS * 1000);
	}
	return false;
}

static int stop_router(struct process *router)
{
	const pid_t pid = router->pid;

	if (kill(pid, 0) < 0) {
		fprintf(stderr, "p2pnic stop: the router, process %d: %s\n", pid, strerror(errno));
		return COMMAND_FAILED;
	}
	process_signal(router, SIGQUIT);
	if (ends(router, STOP_MS))
		return COMMAND_OK;
	fprintf(stderr, "p2pnic stop: the router, process %d, has not ended in %u s\n", pid,
		STOP_MS / 1000);
	return COMMAND_FAILED;
}

/* Nobody but the router tells it anything. */
static void end_metrics(const char *runtime)
{
	struct process metrics;
	char path[512];

	snprintf(path, sizeof(path), "%s/metrics.sock", runtime);
	if (listener_of(exchange_connect(path), &metrics))
		process_stop(&metrics, END_MS);
}

static void quit(const char *runtime, const char *name, int (*ask)(int socket))
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", runtime, name);
	const int socket = exchange_connect(path);

	if (socket >= 0) {
		ask(socket);
		close(socket);
	}
}

/* Processes of NICs that listen at a socket there. */
static unsigned find_nics(const char *runtime, DIR *directory, struct process nic[NICS])
{
	unsigned n = 0;

	for (struct dirent *d; n < NICS && (d = readdir(directory));) {
		const size_t length = strlen(d->d_name);
		char path[512];

		if (length < 5 || strcmp(d->d_name + length - 5, ".sock") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", runtime, d->d_name);
		n += process_find_nic(path, &nic[n]);
	}
	return n;
}

/* With the lock that an earlier router left, so that none begins meanwhile. */
static int stop_left(const char *runtime, int directory_fd)
{
	struct runtime locked = {-1, -1};
	struct process nic[NICS], *all[NICS];
	struct error error;
	DIR *directory;
	unsigned n;

	if (faccessat(directory_fd, "lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
		runtime_open(&locked, runtime, &error)) {
		fprintf(stderr, "p2pnic stop: %s\n", error.text);
		close(directory_fd);
		return COMMAND_FAILED;
	}
	directory = fdopendir(directory_fd);
	if (!directory) {
		fprintf(stderr, "p2pnic stop: %s: %s\n", runtime, strerror(errno));
		close(directory_fd);
		runtime_close(&locked, runtime, false);
		return COMMAND_FAILED;
	}
	n = find_nics(runtime, directory, nic);
	closedir(directory);
	for (unsigned k = 0; k < n; k++)
		all[k] = &nic[k];
	process_stop_all(all, n, END_MS);
	end_metrics(runtime);
	quit(runtime, "punt.sock", punt_quit);
	quit(runtime, "keeper.sock", keeper_quit);
	runtime_close(&locked, runtime, true);
	return COMMAND_OK;
}

/* Root acts as the user to whom it gave the directory (runtime.h), and can do no more than that. */
static bool become_owner(int directory)
{
	struct stat is;

	return geteuid() != 0 ||
	       (fstat(directory, &is) == 0 &&
		       (is.st_uid == 0 ||
			       (setgroups(0, NULL) == 0 &&
				       setresgid(is.st_gid, is.st_gid, is.st_gid) == 0 &&
				       setresuid(is.st_uid, is.st_uid, is.st_uid) == 0)));
}

int command_stop(int argc, char **argv)
{
	struct which_router which = {.command = "stop"};
	struct command_line line;
	struct process router;
	struct error error;
	int option, directory, status;

	command_begin(&line, &stop_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0)
		if (!which_router_option(&which, option, optarg))
			return COMMAND_USAGE;
	if (line.status != COMMAND_GO)
		return line.status;
	if (optind != argc)
		return command_refuse(&line);
	which_router_settle(&which);
	directory = runtime_directory(which.runtime, false, &error);
	if (directory == -ENOENT)
		return COMMAND_OK;
	if (directory < 0) {
		fprintf(stderr, "p2pnic stop: %s\n", error.text);
		return COMMAND_FAILED;
	}
	if (!become_owner(directory)) {
		fprintf(stderr, "p2pnic stop: %s: as its owner: %s\n", which.runtime,
			strerror(errno));
		close(directory);
		return COMMAND_FAILED;
	}
	if (!listener_of(connect_to(which.runtime, "api.sock"), &router))
		return stop_left(which.runtime, directory);
	close(directory);
	status = stop_router(&router);
	process_forget(&router);
	return status;
}
