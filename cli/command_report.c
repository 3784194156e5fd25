/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One text file, so that whoever sends it can read it first. All of it comes from commands and
 * files, a line at a time through redact(); each has a time limit and a bound, and what was left
 * out is said at the end.
 */
#include "cli/command.h"
#include "cli/redact.h"
#include "cli/which_router.h"
#include "ipc/clock.h"
#include "router/api_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECTION_BYTES (256u << 10)
#define LINE_BYTES    8192u
#define COMMAND_MS    15000u
#define ARGUMENTS     12u

static const struct command_option options[] = {
	{"output", 'o', ARGUMENT_FILE, "FILE",
		"where to; -: standard output (p2pnic-report-TIME.txt here); nothing is "
		"overwritten",
		NULL},
	{"config", 'c', ARGUMENT_FILE, "FILE",
		"the configuration (the router's, or /etc/p2pnic/NAME.yaml)", NULL},
	{"json", 'j', ARGUMENT_NONE, NULL, "JSON of where it is and what was left out", NULL},
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax report_syntax = {
	.name = "report",
	.usage = "usage: p2pnic report [-o FILE] [-j] [-c FILE | --name NAME | --runtime DIR]\n"
		 "\n"
		 "Collects what a bug report needs into one text file, to be read before it is "
		 "sent: "
		 "versions, the\n"
		 "configuration, what the router shows, what doctor finds, messages of the last "
		 "hour, "
		 "this host.\n"
		 "Values of keys that sound secret are taken out.\n",
	.options = options,
};

struct report {
	FILE *out;
	char left_out[4096]; /* lines of it */
	unsigned removed;    /* values */
	unsigned bytes;      /* of this section */
	size_t used;         /* of line */
	char line[LINE_BYTES];
};

static void leave_out(struct report *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void leave_out(struct report *r, const char *format, ...)
{
	const size_t used = strlen(r->left_out);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(r->left_out + used, sizeof(r->left_out) - used, format, arguments);
	va_end(arguments);
}

static void begin(struct report *r, const char *title)
{
	r->bytes = 0;
	r->used = 0;
	fprintf(r->out, "\n== %s\n", title);
}

static void end_line(struct report *r)
{
	char clean[LINE_BYTES + 4096];

	if (!r->used)
		return;
	r->line[r->used] = 0;
	r->used = 0;
	r->removed += redact(r->line, clean, sizeof(clean));
	fprintf(r->out, "%s\n", clean);
}

/* False: the section is full. A line that is longer than any should be is split. */
static bool put(struct report *r, const char *text, size_t n)
{
	for (size_t k = 0; k < n && r->bytes < SECTION_BYTES; k++, r->bytes++) {
		const char c = text[k];

		if (c == '\n' || r->used + 1 == LINE_BYTES) {
			if (!r->used)
				fputc('\n', r->out);
			end_line(r);
		}
		if (c != '\n')
			r->line[r->used++] = c == '\t' || (unsigned char)c >= ' ' ? c : '?';
	}
	return r->bytes < SECTION_BYTES;
}

/* --- Sources ---------------------------------------------------------------------------------- */

static void add_file(struct report *r, const char *path)
{
	char text[4096];
	bool more = true;
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		leave_out(r, "%s: %s\n", path, strerror(errno));
		return;
	}
	begin(r, path);
	for (ssize_t n; more && (n = read(fd, text, sizeof(text))) > 0;)
		more = put(r, text, (size_t)n);
	end_line(r);
	close(fd);
	if (!more)
		leave_out(r, "%s: all beyond its first %u KiB\n", path, SECTION_BYTES >> 10);
}

static pid_t start(const char *const argv[], int *output)
{
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		const int null = open("/dev/null", O_RDONLY);

		dup2(null, 0);
		dup2(fd[1], 1);
		dup2(fd[1], 2);
		if (!strcmp(argv[0], "p2pnic"))
			execv("/proc/self/exe", (char *const *)argv);
		else
			execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(fd[1]);
	*output = fd[0];
	return pid;
}

/* Its exit status; -1: it did not end by itself. */
static int run(struct report *r, const char *const argv[])
{
	const uint64_t end_ns = clock_now_ns() + COMMAND_MS * 1000000ull;
	char text[4096], title[512] = "";
	int output = -1, status = 0;
	bool more = true, late = false;
	pid_t pid;

	for (unsigned k = 0; argv[k]; k++)
		snprintf(title + strlen(title), sizeof(title) - strlen(title), "%s%s", k ? " " : "",
			argv[k]);
	pid = start(argv, &output);
	if (pid < 0) {
		leave_out(r, "%s: %s\n", title, strerror(errno));
		return -1;
	}
	begin(r, title);
	while (more && !late) {
		struct pollfd fd = {.fd = output, .events = POLLIN};
		const uint64_t now = clock_now_ns();
		ssize_t n;

		late = now >= end_ns || poll(&fd, 1, (int)((end_ns - now) / 1000000) + 1) == 0;
		n = late ? 0 : read(output, text, sizeof(text));
		if (n <= 0)
			break;
		more = put(r, text, (size_t)n);
	}
	end_line(r);
	close(output);
	if (late || !more)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (late)
		leave_out(r, "%s: what it had not said after %u s\n", title, COMMAND_MS / 1000);
	else if (!more)
		leave_out(r, "%s: all beyond its first %u KiB\n", title, SECTION_BYTES >> 10);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		leave_out(r, "%s: not installed\n", title);
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		leave_out(r, "%s: it ended with status %d\n", title,
			WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return WIFEXITED(status) && !late && more ? WEXITSTATUS(status) : -1;
}

#define RUN(r, ...) run(r, (const char *const[]){__VA_ARGS__, NULL})

/* --- What ------------------------------------------------------------------------------------- */

static void add_router(struct report *r, const struct which_router *router)
{
	static const char *const views[] = {"nic", "port", "ring", "counter", "drop", "kernel",
		"punt", "tap", "neighbor", "route"};

	if (RUN(r, "p2pnic", "show", "-j", "--runtime", router->runtime, "router")) {
		leave_out(r, "all that the router shows: it does not answer\n");
		return;
	}
	for (unsigned k = 0; k < sizeof(views) / sizeof(*views); k++)
		RUN(r, "p2pnic", "show", "-j", "-a", "--runtime", router->runtime, views[k]);
}

static void add_host(struct report *r)
{
	static const char *const files[] = {"/etc/os-release", "/proc/version", "/proc/cmdline",
		"/proc/loadavg", "/proc/meminfo", "/proc/pressure/cpu", "/proc/self/limits",
		"/proc/interrupts"};

	for (unsigned k = 0; k < sizeof(files) / sizeof(*files); k++)
		add_file(r, files[k]);
	RUN(r, "lscpu");
	RUN(r, "ps", "-eo", "pid,psr,cls,rtprio,ni,pcpu,etimes,comm", "--sort=-pcpu");
	RUN(r, "lspci", "-nnvt");
	RUN(r, "p2pnic", "nic", "list");
	RUN(r, "ip", "-j", "-s", "-d", "link");
	RUN(r, "ip", "-j", "address");
	RUN(r, "ip", "-j", "rule");
	RUN(r, "ip", "-j", "route");
	RUN(r, "ip", "-j", "-6", "route");
}

static void add_all(struct report *r, const struct which_router *router, const char *config)
{
	RUN(r, "p2pnic", "--version");
	if (config)
		add_file(r, config);
	else
		leave_out(r, "the configuration: -c FILE names it\n");
	add_router(r, router);
	if (config)
		RUN(r, "p2pnic", "doctor", "-c", config);
	else
		RUN(r, "p2pnic", "doctor", "--runtime", router->runtime);
	RUN(r, "journalctl", "--no-pager", "--quiet", "-o", "short-iso", "--since", "-1h",
		"_COMM=p2pnic");
	add_host(r);

	fprintf(r->out, "\n== Left out\n%s", r->left_out);
	fprintf(r->out,
		"%u values of keys that sound secret, and names of users in paths, where REMOVED "
		"stands\n"
		"route files, packets, rules of nftables, configurations of routing daemons: never "
		"looked at\n",
		r->removed);
}

/* The router's own, or /etc/p2pnic/NAME.yaml, NAME being that of the runtime directory; NULL: it is
 * not there. */
static const char *usual_config(const struct which_router *router, char *path, size_t bytes)
{
	const char *slash = strrchr(router->runtime, '/'), *own;
	struct error error;
	json_t *shown = api_show(router->runtime, router->own, "router", NULL, &error);

	own = json_string_value(json_object_get(json_object_get(shown, "router"), "configuration"));
	if (own)
		snprintf(path, bytes, "%s", own);
	else
		snprintf(path, bytes, "/etc/p2pnic/%s.yaml", slash ? slash + 1 : router->runtime);
	json_decref(shown);
	return access(path, R_OK) == 0 ? path : NULL;
}

/* Opens what is not there yet. */
static FILE *create(const char *path)
{
	FILE *file = NULL;
	const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0)
		file = fdopen(fd, "w");
	if (!file)
		fprintf(stderr, "p2pnic report: %s: %s\n", path, strerror(errno));
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

static void print_json(const struct report *r, const char *file)
{
	json_t *left_out = json_array(), *answer;

	for (const char *line = r->left_out, *end; (end = strchr(line, '\n')); line = end + 1)
		json_array_append_new(left_out, json_stringn(line, (size_t)(end - line)));
	answer = json_pack(
		"{s:s, s:o, s:i}", "file", file, "left_out", left_out, "removed", (int)r->removed);
	json_dumpf(answer, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(answer);
}

static int write_report(
	const struct which_router *router, const char *to, const char *config, bool json)
{
	static struct report r;
	char usual[4096];
	bool written;

	r.out = !strcmp(to, "-") ? stdout : create(to);
	if (!r.out)
		return COMMAND_FAILED;
	setvbuf(r.out, NULL, _IOLBF, 0); /* nothing of it is in a child's buffer */
	fprintf(r.out, "p2pnic report. Read it before you send it.\n");
	add_all(&r, router, config ?: usual_config(router, usual, sizeof(usual)));
	if (r.out == stdout)
		return COMMAND_OK;
	written = !ferror(r.out);
	if (fclose(r.out) || !written) {
		fprintf(stderr, "p2pnic report: %s: %s\n", to, strerror(errno));
		return COMMAND_FAILED;
	}
	if (json)
		print_json(&r, to);
	else
		printf("%s: read it before you send it\n", to);
	return COMMAND_OK;
}

int command_report(int argc, char **argv)
{
	struct which_router router = {.command = "report"};
	const char *to = NULL, *config = NULL;
	const time_t now = time(NULL);
	char name[64];
	struct tm utc;
	struct command_line line;
	bool json = false;
	int option;

	command_begin(&line, &report_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case 'o':
			to = optarg;
			break;
		case 'c':
			config = optarg;
			break;
		case 'j':
			json = true;
			break;
		default:
			if (!which_router_option(&router, option, optarg))
				return COMMAND_USAGE;
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	/* Standard output takes the report or JSON, not both. */
	if (optind != argc || (json && to && !strcmp(to, "-")))
		return command_refuse(&line);
	which_router_settle(&router);
	strftime(name, sizeof(name), "p2pnic-report-%Y%m%dT%H%M%SZ.txt", gmtime_r(&now, &utc));
	return write_report(&router, to ?: name, config, json);
}
