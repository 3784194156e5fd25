/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures through soft NICs: the router of a configuration with capture files in place of its
 * ports. Same firmware, same driver, same tables; one frame at a time in the order of time, so that
 * a replay is repeatable to the byte.
 */
#include "cli/command.h"
#include "cli/command_line.h"
#include "ipc/clock.h"
#include "lab/account.h"
#include "ports/pcap_writer.h"
#include "ports/port.h"
#include "router/router.h"
#include "router/show.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STALL_MS 10000u /* no frame taken for so long: something is wrong */
#define STEP_MS  5

static const struct command_option options[] = {
	{"config", 'c', ARGUMENT_FILE, "FILE", "the configuration", NULL},
	{"output", 'o', ARGUMENT_DIRECTORY, "DIR", "where results are written", NULL}, OPTION_JSON,
	OPTION_HELP};

static const struct command_word words[] = {
	{NULL, NULL, ARGUMENT_FILE, NULL}, {"*", NULL, ARGUMENT_FILE, NULL}};

const struct command_syntax replay_syntax = {
	.name = "replay",
	.usage = "usage: p2pnic replay IN.pcap... -c FILE -o DIR [--json]\n"
		 "\n"
		 "Routes captures through the soft NICs of the configuration FILE; needs no root "
		 "and no "
		 "network.\n"
		 "The first capture arrives at the first NIC of FILE, and so on; - stands for "
		 "none. Writes "
		 "to DIR\n"
		 "  NIC.pcap   what each NIC sent\n"
		 "  verdicts   a line for each frame: NIC, number, time, length, and what became "
		 "of it\n"
		 "and there overwrites what an earlier replay wrote, once all frames are routed; "
		 "nothing "
		 "else.\n"
		 "Frames must bear the MAC address of the NIC that they arrive at: give it in FILE "
		 "(mac).\n",
	.options = options,
	COMMAND_WORDS(words),
};

struct input {
	const char *path;     /* NULL: none */
	uint64_t frames;      /* in the capture */
	uint64_t undelivered; /* of those, longer than a NIC takes */
	char real[PATH_MAX];
	dev_t device;
	ino_t inode;
	char fault[PCAP_ERRBUF_SIZE]; /* how the capture ends, if not in order */
};

struct replay {
	const char *config_path, *directory;
	uint32_t longest; /* frame that the NICs take */
	struct input input[P2PNIC_NICS_MAX];
	unsigned inputs;
	bool json;

	char private[64];      /* directory of sockets, links to the files, the NICs' messages */
	char output[PATH_MAX]; /* the directory of the user */
	char staging[PATH_MAX + 32]; /* in it: what is written, until all of it is */
	struct router router;
	json_t *results;
	struct error error;
};

/* --- Input ------------------------------------------------------------------------------------ */

/* libpcap puts the name in front of some of its reasons. */
static const char *without_name(const struct input *in, const char *reason)
{
	size_t bytes = strlen(in->real);

	return !strncmp(reason, in->real, bytes) && !strncmp(reason + bytes, ": ", 2)
		       ? reason + bytes + 2
		       : reason;
}

/* Reads a capture to its end: how many frames its NIC has to take says when all is done. */
static int count(struct replay *p, struct input *in)
{
	char reason[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const u_char *bytes;
	struct stat info;
	pcap_t *capture;
	int more, type;

	if (stat(in->path, &info) < 0 || !realpath(in->path, in->real))
		return error_set(&p->error, -errno, "%s: %s", in->path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return error_set(&p->error, -EINVAL, "%s: not a file", in->path);
	in->device = info.st_dev;
	in->inode = info.st_ino;
	capture = pcap_open_offline_with_tstamp_precision(
		in->real, PCAP_TSTAMP_PRECISION_NANO, reason);
	if (!capture)
		return error_set(&p->error, -EINVAL, "%s: %s", in->path, without_name(in, reason));
	type = pcap_datalink(capture);
	if (type != DLT_EN10MB) {
		const char *name = pcap_datalink_val_to_name(type);

		pcap_close(capture);
		return error_set(&p->error, -EPROTOTYPE,
			"%s: link type %d (%s), not Ethernet (EN10MB)", in->path, type,
			name ? name : "unknown");
	}
	while ((more = pcap_next_ex(capture, &header, &bytes)) == 1) {
		in->frames++;
		in->undelivered += header->len > p->longest;
	}
	if (more == PCAP_ERROR)
		snprintf(
			in->fault, sizeof(in->fault), "%s", without_name(in, pcap_geterr(capture)));
	pcap_close(capture);
	return 0;
}

/* --- The private directory -------------------------------------------------------------------- */

static void private_path(const struct replay *p, const char *what, unsigned k, char path[96])
{
	snprintf(path, 96, "%s/%s%u", p->private, what, k);
}

/* File names may hold what a port's target must not (a comma): links of plain names lead to
 * them. */
static int link_to(struct replay *p, const char *target, const char *what, unsigned k)
{
	char path[96];

	private_path(p, what, k, path);
	return symlink(target, path) < 0
		       ? error_set(&p->error, -errno, "%s: %s", path, strerror(errno))
		       : 0;
}

/* Puts the user's names in the place of private ones. */
static void name_as_user(const struct replay *p, char *text, size_t bytes)
{
	static const char *const names[] = {"in", "verdict", "out"};

	/* Downwards, so that in1 is not found in in12. */
	for (unsigned k = P2PNIC_NICS_MAX; k-- > 0;)
		for (unsigned j = 0; j < 3; j++) {
			const char *user = j ? p->directory : p->input[k].path;
			char private[96], rest[2048], *at;

			private_path(p, names[j], k, private);
			while (user && (at = strstr(text, private))) {
				snprintf(rest, sizeof(rest), "%s%s", j == 1 ? "/verdicts" : "",
					at + strlen(private));
				snprintf(at, bytes - (size_t)(at - text), "%s%s", user, rest);
			}
		}
}

/* From here on there is something to remove: an interrupt waits for the router, which takes it. */
static void defer_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

static int make_directories(struct replay *p)
{
	const char *temporary = getenv("TMPDIR");
	struct stat info;
	int error = 0;

	defer_signals();
	if (mkdir(p->directory, 0777) < 0 && errno != EEXIST)
		return error_set(&p->error, -errno, "%s: %s", p->directory, strerror(errno));
	if (!realpath(p->directory, p->output) || stat(p->output, &info) < 0)
		return error_set(&p->error, -errno, "%s: %s", p->directory, strerror(errno));
	if (!S_ISDIR(info.st_mode))
		return error_set(&p->error, -ENOTDIR, "%s: %s", p->directory, strerror(ENOTDIR));
	snprintf(p->staging, sizeof(p->staging), "%s/.p2pnic-replay-XXXXXX", p->output);
	if (!mkdtemp(p->staging)) {
		error = error_set(&p->error, -errno, "%s: %s", p->directory, strerror(errno));
		p->staging[0] = 0;
		return error;
	}
	/* It holds sockets, and their names are short. */
	snprintf(p->private, sizeof(p->private), "%s/p2pnic-replay-XXXXXX",
		temporary && strlen(temporary) < 32 ? temporary : "/tmp");
	if (!mkdtemp(p->private)) {
		error = error_set(&p->error, -errno, "%s: %s", p->private, strerror(errno));
		p->private[0] = 0;
		return error;
	}
	error = link_to(p, p->staging, "out", 0);
	for (unsigned k = 0; k < p->inputs && !error; k++)
		if (p->input[k].path)
			error = link_to(p, p->input[k].real, "in", k);
	return error;
}

static void remove_directories(const struct replay *p, const json_t *names)
{
	static const char *const private[] = {"in", "verdict", "out", "messages"};
	char path[2 * PATH_MAX];

	for (unsigned k = 0; p->private[0] && k < P2PNIC_NICS_MAX; k++)
		for (unsigned j = 0; j < sizeof(private) / sizeof(*private); j++) {
			private_path(p, private[j], k, path);
			unlink(path);
		}
	if (p->private[0])
		rmdir(p->private);
	for (unsigned k = 0; p->staging[0] && k < json_array_size(names); k++) {
		snprintf(path, sizeof(path), "%s/%s.pcap", p->staging,
			json_string_value(json_array_get(names, k)));
		unlink(path);
	}
	if (p->staging[0]) {
		snprintf(path, sizeof(path), "%s/verdicts", p->staging);
		unlink(path);
		rmdir(p->staging);
	}
}

/* --- The output directory --------------------------------------------------------------------- */

/* Its first line: what a line holds, and by what a later replay knows the file for one. */
static const char verdicts_head[] = "# p2pnic replay: NIC number time length what became of it\n";

/* Whether a replay wrote the directory's files: it leaves its verdicts there. */
static bool is_earlier_output(const struct replay *p)
{
	char path[PATH_MAX + 16], head[sizeof(verdicts_head)];
	const ssize_t want = sizeof(verdicts_head) - 1;
	struct stat info;
	bool ours;
	int file;

	snprintf(path, sizeof(path), "%s/verdicts", p->output);
	file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file < 0)
		return false;
	ours = fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
	       read(file, head, (size_t)want) == want && !memcmp(head, verdicts_head, (size_t)want);
	close(file);
	return ours;
}

static int check_output(struct replay *p, const char *name, bool earlier)
{
	char path[PATH_MAX + 280];
	bool foreign = false;
	struct stat info;

	snprintf(path, sizeof(path), "%s/%s", p->output, name);
	if (lstat(path, &info) < 0)
		return errno == ENOENT ? 0
				       : error_set(&p->error, -errno, "%s/%s: %s", p->directory,
						 name, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return error_set(&p->error, -EEXIST, "%s/%s is in the way, and it is no file",
			p->directory, name);
	for (unsigned k = 0; k < p->inputs; k++)
		if (p->input[k].path && p->input[k].device == info.st_dev &&
			p->input[k].inode == info.st_ino)
			return error_set(&p->error, -EEXIST,
				"%s/%s would be overwritten, and it is an input", p->directory,
				name);
	/* Verdicts beside it do not prove that. */
	if (earlier && strcmp(name, "verdicts") != 0) {
		int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

		foreign = file < 0 || !pcap_writer_may_overwrite(file);
		if (file >= 0)
			close(file);
	}
	if (foreign)
		return error_set(&p->error, -EEXIST, "%s/%s is in the way, and no replay wrote it",
			p->directory, name);
	return earlier ? 0
		       : error_set(&p->error, -EEXIST,
				 "%s/%s is in the way, and no earlier replay wrote it (there are "
				 "no verdicts beside it)",
				 p->directory, name);
}

static int check_outputs(struct replay *p, const json_t *names)
{
	bool earlier = is_earlier_output(p);
	int error = check_output(p, "verdicts", earlier);
	char name[272];

	for (size_t k = 0; k < json_array_size(names) && !error; k++) {
		snprintf(
			name, sizeof(name), "%s.pcap", json_string_value(json_array_get(names, k)));
		error = check_output(p, name, earlier);
	}
	return error;
}

static int publish(struct replay *p, const char *name)
{
	char from[PATH_MAX + 300], to[PATH_MAX + 280];

	snprintf(from, sizeof(from), "%s/%s", p->staging, name);
	snprintf(to, sizeof(to), "%s/%s", p->output, name);
	return rename(from, to) < 0 ? error_set(&p->error, -errno, "%s/%s: %s", p->directory, name,
					      strerror(errno))
				    : 0;
}

/* Verdicts first: where they are, the rest is known for a replay's. */
static int publish_all(struct replay *p, const json_t *names)
{
	int error = check_outputs(p, names);
	char name[272];

	if (!error)
		error = publish(p, "verdicts");
	for (size_t k = 0; k < json_array_size(names) && !error; k++) {
		snprintf(
			name, sizeof(name), "%s.pcap", json_string_value(json_array_get(names, k)));
		error = publish(p, name);
	}
	return error;
}

/* --- The run ---------------------------------------------------------------------------------- */

static int replace_ports(struct replay *p, struct config *c)
{
	struct config_port port[P2PNIC_NICS_MAX];
	static char target[P2PNIC_NICS_MAX][256], option[P2PNIC_NICS_MAX][128];
	char type[] = "pcap";

	if (p->inputs > c->nics_count)
		return error_set(&p->error, -EINVAL, "%u captures for the %u NICs of %s", p->inputs,
			c->nics_count, p->config_path);
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
	int error = config_replace_ports(c, port, "replay", p->private);

	return error ? error_set(&p->error, error, "out of memory") : 0;
}

/* Runs the router, whose the configuration is then, with its own and its NICs' messages kept in a
 * file: of interest only when it fails. */
static int start(struct replay *p, struct config *config)
{
	char path[96];
	int messages, saved, error;

	private_path(p, "messages", 0, path);
	messages = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	saved = messages < 0 ? -1 : fcntl(2, F_DUPFD_CLOEXEC, 3);
	if (saved < 0) {
		error = error_set(&p->error, -errno, "%s: %s", path, strerror(errno));
		if (messages >= 0)
			close(messages);
		config_free(config);
		return error;
	}
	dup2(messages, 2);
	p->router.quiet = p->router.tied = true;
	error = router_start_config(&p->router, config);
	dup2(saved, 2);
	close(saved);
	if (error) {
		char text[4096];
		ssize_t n = pread(messages, text, 2048, 0);

		text[n > 0 ? n : 0] = 0;
		name_as_user(p, text, sizeof(text));
		fputs(text, stderr);
		error_set(&p->error, error, "%s", p->router.error.text);
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
		int64_t start = clock_now_ms();

		stalled = got == before ? stalled : 0;
		before = got;
		if (router_step(&p->router, STEP_MS))
			return error_set(&p->error, -EINTR, "interrupted after %llu of %llu frames",
				(unsigned long long)got, (unsigned long long)wanted);
		if (p->router.nic[0].restarts)
			return error_set(&p->error, -ECHILD,
				"the NICs' process ended after %llu of %llu frames",
				(unsigned long long)got, (unsigned long long)wanted);
		stalled += (unsigned)(clock_now_ms() - start);
		if (stalled > STALL_MS)
			return error_set(&p->error, -ETIMEDOUT,
				"the NICs took %llu of %llu frames and no more",
				(unsigned long long)got, (unsigned long long)wanted);
	}
	return 0;
}

static json_t *show(void *context, const char *what, struct error *error)
{
	json_t *rows = router_show(context, what);

	if (!rows)
		error_set(error, -ENOENT, "no '%s' to show", what);
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

/* --- Verdicts --------------------------------------------------------------------------------- */

/* A NIC's own file (ports/verdict.h) with its name in front and names in place of NIC numbers. How
 * many lines were whole. */
static uint64_t copy_verdicts(FILE *in, FILE *out, unsigned k, const json_t *names)
{
	uint64_t lines = 0;
	char line[1024];

	while (fgets(line, sizeof(line), in)) {
		char *at = line, *next, *end = strchr(line, '\n');

		if (!end)
			break;
		*end = 0;
		lines++;
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
	return lines;
}

/* Sets *missing to the number of frames whose verdict is not in the file. */
static int write_verdicts(struct replay *p, const json_t *names, uint64_t *missing)
{
	char path[PATH_MAX + 64];
	bool whole;
	FILE *out;

	*missing = 0;
	snprintf(path, sizeof(path), "%s/verdicts", p->staging);
	out = fopen(path, "wxe");
	if (!out)
		return error_set(
			&p->error, -errno, "%s/verdicts: %s", p->directory, strerror(errno));
	fputs(verdicts_head, out);
	for (unsigned k = 0; k < json_array_size(names); k++) {
		uint64_t lines = 0;
		char part[96];
		FILE *in;

		private_path(p, "verdict", k, part);
		in = fopen(part, "re");
		if (in)
			lines = copy_verdicts(in, out, k, names);
		if (in)
			fclose(in);
		*missing += p->input[k].frames > lines ? p->input[k].frames - lines : 0;
	}
	whole = !ferror(out);
	whole &= fclose(out) == 0;
	if (!whole && !*missing)
		*missing = 1;
	return 0;
}

/* --- Report ----------------------------------------------------------------------------------- */

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
				p->longest);
		if (*json_string_value(json_object_get(row, "fault")))
			printf("; it cannot be read further: %s",
				json_string_value(json_object_get(row, "fault")));
		putchar('\n');
	}
	account_print(p->results, stdout);
	printf("replay: %lld packets in, %lld out, %lld unaccounted; see %s/verdicts\n",
		account_count(p->results, "in"), account_count(p->results, "out"),
		account_count(p->results, "unaccounted"), p->directory);
}

/* Says what was asked for and not done; how many things. */
static unsigned complain(const struct replay *p, uint64_t verdicts_missing)
{
	const json_t *counters = json_object_get(p->results, "counter");
	const json_t *ports = json_object_get(p->results, "port");
	unsigned complaints = 0;

	for (unsigned k = 0; k < json_array_size(counters); k++) {
		const json_t *row = json_array_get(counters, k);
		const char *nic = json_string_value(json_object_get(row, "nic"));
		const char *fault =
			json_string_value(json_object_get(json_array_get(ports, k), "fault"));
		long long lost = (long long)json_integer_value(
			json_object_get(json_object_get(row, "dropped"), "port"));
		const struct input *in = &p->input[k];
		char text[2048];

		if (*in->fault)
			fprintf(stderr,
				"p2pnic replay: %s: cannot be read further than frame %llu: %s\n",
				in->path, (unsigned long long)in->frames, in->fault);
		if (lost)
			fprintf(stderr,
				"p2pnic replay: %s/%s.pcap: %lld frames could not be written\n",
				p->directory, nic, lost);
		snprintf(text, sizeof(text), "%s", fault && !*in->fault ? fault : "");
		name_as_user(p, text, sizeof(text));
		if (*text)
			fprintf(stderr, "p2pnic replay: %s\n", text);
		complaints += (*in->fault != 0) + (lost > 0) + (*text != 0);
	}
	if (verdicts_missing)
		fprintf(stderr, "p2pnic replay: %s/verdicts: not all could be written\n",
			p->directory);
	return complaints + (verdicts_missing > 0);
}

static int run(struct replay *p, struct config *config, json_t *names, unsigned *complaints)
{
	const struct account_source source = {show, &p->router};
	uint64_t missing;
	int error = start(p, config);

	if (error)
		return error;
	error = wait_for_input(p);
	json_object_set_new(p->results, "input", inputs_json(p));
	if (!error)
		error = account_read(p->results, source, &p->error);
	router_stop(&p->router);
	if (!error)
		error = write_verdicts(p, names, &missing);
	if (!error)
		error = publish_all(p, names);
	if (!error)
		*complaints = complain(p, missing);
	return error;
}

static int replay(struct replay *p, unsigned *complaints)
{
	struct config *config = NULL;
	json_t *names = json_array();
	int error = config_load(&config, p->config_path, &p->error);

	if (!error && config->kernel)
		error = error_set(&p->error, -EINVAL,
			"%s: kernel: its routes are the kernel's; a replay needs them in the file",
			p->config_path);
	if (!error)
		p->longest = P2PNIC_FRAME_BYTES_MAX(*config->router->buffer_bytes);
	for (unsigned k = 0; k < p->inputs && !error; k++)
		if (p->input[k].path)
			error = count(p, &p->input[k]);
	if (!error)
		error = make_directories(p);
	if (!error)
		error = replace_ports(p, config);
	for (unsigned k = 0; !error && k < config->nics_count; k++)
		json_array_append_new(names, json_string(config->nics[k].name));
	if (!error)
		error = check_outputs(p, names);
	if (error)
		config_free(config);
	else
		error = run(p, config, names, complaints);
	name_as_user(p, p->error.text, sizeof(p->error.text));
	remove_directories(p, names);
	json_decref(names);
	return error;
}

static int parse(struct replay *p, int argc, char **argv)
{
	struct command_line line;
	int option;

	command_begin(&line, &replay_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
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
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (!p->config_path || !p->directory || optind == argc ||
		argc - optind > (int)P2PNIC_NICS_MAX)
		return command_refuse(&line);
	for (; optind < argc; optind++) {
		const char *path = argv[optind];

		p->input[p->inputs++].path = strcmp(path, "-") ? path : NULL;
	}
	return COMMAND_GO;
}

int command_replay(int argc, char **argv)
{
	static struct replay p;
	unsigned complaints = 0;
	int status = parse(&p, argc, argv);

	if (status != COMMAND_GO)
		return status;
	p.results = json_object();
	if (replay(&p, &complaints) < 0) {
		fprintf(stderr, "p2pnic replay: %s\n", p.error.text);
		return COMMAND_FAILED;
	}
	if (p.json) {
		json_dumpf(p.results, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print(&p);
	}
	status =
		complaints || account_count(p.results, "unaccounted") ? COMMAND_FAILED : COMMAND_OK;
	json_decref(p.results);
	return status;
}
