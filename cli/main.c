/* SPDX-License-Identifier: BSD-3-Clause */
#include "command.h"
#include "command_line.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

const struct command commands[] = {
	{"router", command_router, "run the router of a configuration file", &router_syntax},
	{"reload", command_reload, "have a running router read its configuration again",
		&reload_syntax},
	{"stop", command_stop, "end a router and what it left forwarding", &stop_syntax},
	{"config", command_config, "check, compare, apply, save and take back configurations",
		&config_syntax},
	{"show", command_show, "look inside a running router", &show_syntax},
	{"top", command_top, "watch a running router", &top_syntax},
	{"watch", command_watch,
		"changes of a running router as they happen, counters at an interval",
		&watch_syntax},
	{"capture", command_capture, "write packets that NICs receive, send or drop into a file",
		&capture_syntax},
	{"trace", command_trace, "the next packets, step by step", &trace_syntax},
	{"replay", command_replay, "route captures through soft NICs; no root", &replay_syntax},
	{"lab", command_lab, "four NICs and four hosts in namespaces of this machine", &lab_syntax},
	{"nic", command_nic, "run soft NICs in this process", &nic_syntax},
	{"keeper", command_keeper, "hold NICs' connections while a driver is replaced",
		&keeper_syntax},
	{"punt", command_punt, "carry frames between NICs and the kernel's taps", &punt_syntax},
	{"metrics", command_metrics, "serve a router's counters to Prometheus and browsers",
		&metrics_syntax},
	{"report", command_report, "collect what a bug report needs", &report_syntax},
	{"doctor", command_doctor, "what this host lacks for PCI NICs, and the fix",
		&doctor_syntax},
	{"tester", command_tester, "generate and analyse traffic", &tester_syntax},
	{"model", command_model, "the published hardware in virtual time", &model_syntax},
	{"fib", command_fib, "build, measure, query and check tables from a file", &fib_syntax},
	{"completion", command_completion, "a script that completes words in bash or zsh",
		&completion_syntax},
	{0},
};

static void usage(FILE *out)
{
	fprintf(out, "usage: p2pnic COMMAND [ARGUMENT...]\n\n");
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-10s %s\n", c->name, c->summary);
	fprintf(out, "\n`p2pnic COMMAND --help` tells more; `man p2pnic` tells all.\n");
}

static void on_failed_write(int number)
{
}

/* A pipe without a reader and a file at its size limit are errors of write(2), not the end of a
 * process. A handler instead of SIG_IGN, which programs that the lab runs would inherit. */
static void let_writes_fail(void)
{
	const struct sigaction action = {.sa_handler = on_failed_write, .sa_flags = SA_RESTART};

	sigaction(SIGPIPE, &action, NULL);
	sigaction(SIGXFSZ, &action, NULL);
}

/* An answer that did not arrive is none. */
static int finish(const char *name, int status)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "p2pnic %s: standard output: %s\n", name,
		errno ? strerror(errno) : "not all could be written");
	return status == COMMAND_OK ? COMMAND_FAILED : status;
}

/* Started with one of the first three closed, the next socket opened would be that number, and what
 * is written for a user would go to a NIC. False: no /dev/null to put there. */
static bool open_standard_files(void)
{
	int fd;

	/* Standard output for reading only: what is written there is lost, and writing must
	 * fail. */
	do
		fd = open("/dev/null",
			fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) < 0 ? O_RDONLY : O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
	return fcntl(2, F_GETFD) >= 0 || errno != EBADF;
}

static int no_command(const char *word)
{
	struct nearest nearest = {.word = word};

	for (const struct command *c = commands; c->name; c++)
		nearest_offer(&nearest, c->name);
	fprintf(stderr, "p2pnic: no command '%s'; ", word);
	if (nearest.best)
		fprintf(stderr, "did you mean '%s'?\n", nearest.best);
	else
		fprintf(stderr, "`p2pnic --help` lists them\n");
	return COMMAND_USAGE;
}

int main(int argc, char **argv)
{
	bool help, version, json;

	if (!open_standard_files())
		return COMMAND_FAILED;
	/* Processes of a router are started by /proc/self/exe: ps would call them that. */
	prctl(PR_SET_NAME, "p2pnic");
	let_writes_fail();
	if (argc < 2) {
		usage(stderr);
		return COMMAND_USAGE;
	}
	help = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help");
	version = !strcmp(argv[1], "--version") || !strcmp(argv[1], "-V");
	json = version && argc == 3 && (!strcmp(argv[2], "-j") || !strcmp(argv[2], "--json"));
	if ((help || version) && argc > 2 && !json) {
		fprintf(stderr, "p2pnic: %s takes no argument, '%s' is one\n", argv[1],
			argv[argc - 1]);
		return COMMAND_USAGE;
	}
	if (help) {
		usage(stdout);
		return finish("help", COMMAND_OK);
	}
	if (version) {
		printf(json ? "{\"p2pnic\": \"%s\"}\n" : "p2pnic %s\n", P2PNIC_VERSION_STRING);
		return finish("version", COMMAND_OK);
	}
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(argv[1], c->name))
			return finish(c->name, c->run(argc - 1, argv + 1));
	return no_command(argv[1]);
}
