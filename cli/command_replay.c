/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures through soft NICs: the router of a configuration with capture files in place of its ports. Same
 * firmware, same driver, same tables; one frame at a time in the order of time, so that a replay is
 * repeatable to the byte.
 */
#include "cli/command.h"
#include "lab/account.h"
#include "ports/port.h"
#include "router/router.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STALL_MS 10000u /* no frame taken for so long: something is wrong */
#define STEP_MS  5

static const char usage[] =
	"usage: p2pnic replay IN.pcap... -c FILE -o DIR [--json]\n"
	"\n"
	"Routes captures through the soft NICs of the configuration FILE; needs no root and no "
	"network.\n"
	"The first capture arrives at the first NIC of FILE, and so on; - stands for none. Writes "
	"to DIR\n"
	"  NIC.pcap   what each NIC sent\n"
	"  verdicts   a line for each frame: NIC, number, time, length, and what became of it\n"
	"Frames must bear the MAC address of the NIC that they arrive at: give it in FILE (mac).\n";

struct input {
	const char *path;     /* NULL: none */
	uint64_t frames;      /* in the capture */
	uint64_t undelivered; /* of those, longer than a NIC takes */
	char real[PATH_MAX];
	char fault[PCAP_ERRBUF_SIZE]; /* how the capture ends, if not in order */
};

struct replay {
	const char *config_path, *directory;
	struct input input[P2PNIC_NICS_MAX];
	unsigned inputs;
	bool json;

	char private[64]; /* directory of sockets, links to the files, the NICs' messages */
	struct router router;
	json_t *results;
	char error[CONFIG_ERROR_BYTES + 128];
};

__attribute__((format(printf, 3, 4))) static int fail(
	struct replay *p, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(p->error, sizeof(p->error), format, arguments);
	va_end(arguments);
	return code;
}

/* --- Input --------------------------------------------------------------------------------------- */

/* Reads a capture to its end: how many frames its NIC has to take says when all is done. */
static int count(struct replay *p, struct input *in)
{
	char reason[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const u_char *bytes;
	struct stat info;
	pcap_t *capture;
	int more;

	if (stat(in->path, &info) < 0 || !realpath(in->path, in->real))
		return fail(p, -errno, "%s: %s", in->path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return fail(p, -EINVAL, "%s: not a file", in->path);
	capture = pcap_open_offline_with_tstamp_precision(
		in->real, PCAP_TSTAMP_PRECISION_NANO, reason);
	if (!capture)
		return fail(p, -EINVAL, "%s: %s", in->path, reason);
	while ((more = pcap_next_ex(capture, &header, &bytes)) == 1) {
		in->frames++;
		in->undelivered += header->len > P2PNIC_FRAME_BYTES_MAX;
	}
	if (more == PCAP_ERROR)
		snprintf(in->fault, sizeof(in->fault), "%s", pcap_geterr(capture));
	pcap_close(capture);
	return 0;
}

/* --- The private directory ----------------------------------------------------------------------- */

static void private_path(const struct replay *p, const char *what, unsigned k, char path[96])
{
	snprintf(path, 96, "%s/%s%u", p->private, what, k);
}

/* File names may hold what a port's target must not (a comma): links of plain names lead to them. */
static int link_to(struct replay *p, const char *target, const char *what, unsigned k)
{
	char path[96];

	private_path(p, what, k, path);
	return symlink(target, path) < 0 ? fail(p, -errno, "%s: %s", path, strerror(errno)) : 0;
}

static int make_directories(struct replay *p)
{
	const char *temporary = getenv("TMPDIR");
	char directory[PATH_MAX];
	struct stat info;
	int error = 0;

	if (mkdir(p->directory, 0777) < 0 && errno != EEXIST)
		return fail(p, -errno, "%s: %s", p->directory, strerror(errno));
	if (!realpath(p->directory, directory) || stat(directory, &info) < 0)
		return fail(p, -errno, "%s: %s", p->directory, strerror(errno));
	if (!S_ISDIR(info.st_mode))
		return fail(p, -ENOTDIR, "%s: %s", p->directory, strerror(ENOTDIR));
	if (access(directory, W_OK) < 0)
		return fail(p, -errno, "%s: %s", p->directory, strerror(errno));
	/* It holds sockets, and their names are short. */
	snprintf(p->private, sizeof(p->private), "%s/p2pnic-replay-XXXXXX",
		temporary && strlen(temporary) < 32 ? temporary : "/tmp");
	if (!mkdtemp(p->private)) {
		error = fail(p, -errno, "%s: %s", p->private, strerror(errno));
		p->private[0] = 0;
		return error;
	}
	error = link_to(p, directory, "out", 0);
	for (unsigned k = 0; k < p->inputs && !error; k++)
		if (p->input[k].path)
			error = link_to(p, p->input[k].real, "in", k);
	return error;
}

static void remove_directory(const struct replay *p)
{
	static const char *const names[] = {"in", "verdict", "out", "messages"};
	char path[96];

	if (!p->private[0])
		return;
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++)
		for (unsigned j = 0; j < sizeof(names) / sizeof(*names); j++) {
			private_path(p, names[j], k, path);
			unlink(path);
		}
	rmdir(p->private);
}

/* --- The run ------------------------------------------------------------------------------------- */

static int load(struct replay *p, struct config **config)
{
	struct config_port port[P2PNIC_NICS_MAX];
	static char target[P2PNIC_NICS_MAX][256], option[P2PNIC_NICS_MAX][128];
	char type[] = "pcap";
	int error = config_load(config, p->config_path, p->error);
	struct config *c = *config;

	if (error)
		return error;
	if (p->inputs > c->nics_count) {
		error = fail(p, -EINVAL, "%u captures for the %u NICs of %s", p->inputs,
			c->nics_count, p->config_path);
		config_free(c);
		return error;
	}
	for (unsigned k = 0; k < c->nics_count; k++) {
		char in[96] = "", out[96], verdict[96];

		if (k < p->inputs && p->input[k].path)
			private_path(p, "in", k, in);
		private_path(p, "out", 0, out);
		private_path(p, "verdict", k, verdict);
		snprintf(target[k], sizeof(target[k]), "%s,%s/%s.pcap", in, out, c->nics[k].name);
		snprintf(option[k], sizeof(option[k]), "timeline=on,verdict=%s", verdict);
		port[k] = (struct config_port){type, target[k], option[k]};
	}
	error = config_replace_ports(c, port, "replay", p->private);
	if (error)
		config_free(c);
	return error ? fail(p, error, "out of memory") : 0;
}

/* Runs the router with its own and its NICs' messages kept in a file: of interest only when it fails. */
static int start(struct replay *p, struct config *config)
{
	char path[96];
	int messages, saved, error;

	private_path(p, "messages", 0, path);
	messages = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
	dup2(messages, 2);
	p->router.quiet = p->router.tied = true;
	error = router_start_config(&p->router, config);
	dup2(saved, 2);
	close(saved);
	if (error) {
		char text[2048];
		ssize_t n = pread(messages, text, sizeof(text), 0);

		fprintf(stderr, "%.*s", n > 0 ? (int)n : 0, text);
		fail(p, error, "%s", p->router.error);
	}
	close(messages);
	return error;
}

static uint64_t received(const struct replay *p)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < p->router.config->nics_count; k++) {
		const struct driver_nic *n = &p->router.nic[k].driver;

		sum += n->device ? driver_nic_count(&n->counters->received.packets) : 0;
	}
	return sum;
}

static int wait_for_input(struct replay *p)
{
	uint64_t wanted = 0, got = 0, before = UINT64_MAX;
	unsigned stalled = 0;

	for (unsigned k = 0; k < p->inputs; k++)
		wanted += p->input[k].frames - p->input[k].undelivered;
	while ((got = received(p)) < wanted) {
		struct timespec start, end;

		stalled = got == before ? stalled : 0;
		before = got;
		clock_gettime(CLOCK_MONOTONIC, &start);
		if (router_step(&p->router, STEP_MS))
			return fail(p, -EINTR, "interrupted after %llu of %llu frames",
				(unsigned long long)got, (unsigned long long)wanted);
		if (p->router.nic[0].restarts)
			return fail(p, -ECHILD, "the NICs' process ended after %llu of %llu frames",
				(unsigned long long)got, (unsigned long long)wanted);
		clock_gettime(CLOCK_MONOTONIC, &end);
		stalled += (unsigned)((end.tv_sec - start.tv_sec) * 1000 +
				      (end.tv_nsec - start.tv_nsec) / 1000000);
		if (stalled > STALL_MS)
			return fail(p, -ETIMEDOUT, "the NICs took %llu of %llu frames and no more",
				(unsigned long long)got, (unsigned long long)wanted);
	}
	return 0;
}

static json_t *show(void *context, const char *what, char *error)
{
	json_t *rows = router_show(context, what);

	if (!rows)
		snprintf(error, ROUTER_TEXT_BYTES, "no '%s' to show", what);
	return rows;
}

static json_t *inputs_json(const struct replay *p)
{
	json_t *rows = json_array();

	for (unsigned k = 0; k < p->router.config->nics_count; k++) {
		const struct input *in = &p->input[k];

		json_array_append_new(rows,
			json_pack("{s:s, s:s, s:I, s:I, s:s}", "nic",
				p->router.config->nics[k].name, "capture", in->path ? in->path : "",
				"frames", (json_int_t)in->frames, "undelivered",
				(json_int_t)in->undelivered, "fault", in->fault));
	}
	return rows;
}

/* --- Verdicts ------------------------------------------------------------------------------------ */

/* A NIC's own file (ports/verdict.h) with its name in front and names in place of NIC numbers. */
static bool copy_verdicts(FILE *in, FILE *out, unsigned k, const json_t *names)
{
	char line[1024];

	while (fgets(line, sizeof(line), in)) {
		char *at = line, *next;

		line[strcspn(line, "\n")] = 0;
		fputs(json_string_value(json_array_get(names, k)), out);
		for (; at; at = next) {
			const char *name = NULL;

			next = strchr(at, ' ');
			if (next)
				*next++ = 0;
			if (!strncmp(at, "to-nic:", 7))
				name = json_string_value(
					json_array_get(names, strtoul(at + 7, NULL, 10)));
			fprintf(out, name ? " to:%s" : " %s", name ? name : at);
		}
		fputc('\n', out);
	}
	return !ferror(in) && !ferror(out);
}

static int write_verdicts(struct replay *p, const json_t *names)
{
	char path[PATH_MAX];
	bool whole = true;
	FILE *out;

	snprintf(path, sizeof(path), "%s/verdicts", p->directory);
	out = fopen(path, "we");
	if (!out)
		return fail(p, -errno, "%s: %s", path, strerror(errno));
	for (unsigned k = 0; k < json_array_size(names); k++) {
		char part[96];
		FILE *in;

		private_path(p, "verdict", k, part);
		in = fopen(part, "re");
		whole = in && copy_verdicts(in, out, k, names) && whole;
		if (in)
			fclose(in);
	}
	whole &= fclose(out) == 0;
	return whole ? 0 : fail(p, -EIO, "%s: not all could be written", path);
}

/* --- Report -------------------------------------------------------------------------------------- */

static void print(const struct replay *p)
{
	size_t index;
	const json_t *row;

	json_array_foreach(json_object_get(p->results, "input"), index, row)
	{
		long long undelivered =
			(long long)json_integer_value(json_object_get(row, "undelivered"));

		printf("%s: %lld frames from %s", json_string_value(json_object_get(row, "nic")),
			(long long)json_integer_value(json_object_get(row, "frames")),
			*json_string_value(json_object_get(row, "capture"))
				? json_string_value(json_object_get(row, "capture"))
				: "nowhere");
		if (undelivered)
			printf(", %lld not delivered: longer than %u bytes", undelivered,
				P2PNIC_FRAME_BYTES_MAX);
		if (*json_string_value(json_object_get(row, "fault")))
			printf("; it ends early: %s",
				json_string_value(json_object_get(row, "fault")));
		putchar('\n');
	}
	account_print(p->results, stdout);
	printf("replay: %lld packets in, %lld out, %lld unaccounted; see %s/verdicts\n",
		account_count(p->results, "in"), account_count(p->results, "out"),
		account_count(p->results, "unaccounted"), p->directory);
}

static int replay(struct replay *p)
{
	struct config *config;
	json_t *names = json_array();
	int error = 0;

	for (unsigned k = 0; k < p->inputs && !error; k++)
		if (p->input[k].path)
			error = count(p, &p->input[k]);
	if (!error)
		error = make_directories(p);
	if (!error)
		error = load(p, &config);
	if (!error)
		error = start(p, config);
	if (!error) {
		const struct account_source source = {show, &p->router};

		for (unsigned k = 0; k < p->router.config->nics_count; k++)
			json_array_append_new(names, json_string(p->router.config->nics[k].name));
		error = wait_for_input(p);
		json_object_set_new(p->results, "input", inputs_json(p));
		if (!error)
			error = account_take(p->results, source, p->error);
		router_stop(&p->router);
	}
	if (!error)
		error = write_verdicts(p, names);
	json_decref(names);
	remove_directory(p);
	return error;
}

static int parse(struct replay *p, int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
		{"output", required_argument, NULL, 'o'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {0}};
	int option;

	while ((option = getopt_long(argc, argv, "c:o:jh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			p->config_path = optarg;
			break;
		case 'o':
			p->directory = optarg;
			break;
		case 'j':
			p->json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		default:
			fputs(usage, stderr);
			return COMMAND_USAGE;
		}
	}
	if (!p->config_path || !p->directory || optind == argc ||
		argc - optind > (int)P2PNIC_NICS_MAX) {
		fputs(usage, stderr);
		return COMMAND_USAGE;
	}
	for (; optind < argc; optind++) {
		const char *path = argv[optind];

		p->input[p->inputs++].path = strcmp(path, "-") ? path : NULL;
	}
	return COMMAND_OK;
}

int command_replay(int argc, char **argv)
{
	static struct replay p;
	int status = parse(&p, argc, argv);

	if (status)
		return status < 0 ? COMMAND_OK : status;
	p.results = json_object();
	if (replay(&p) < 0) {
		fprintf(stderr, "p2pnic replay: %s\n", p.error);
		return COMMAND_FAILED;
	}
	if (p.json) {
		json_dumpf(p.results, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print(&p);
	}
	status = account_count(p.results, "unaccounted") ? COMMAND_FAILED : COMMAND_OK;
	json_decref(p.results);
	return status;
}
