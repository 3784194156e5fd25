/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/capture_client.h"
#include "cli/command.h"
#include "cli/pcapng.h"

#include <fcntl.h>
#include <p2pnic/counters.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct command_option options[] = {
	{"write", 'w', ARGUMENT_FILE, "FILE", "not one that is there; -: standard output", NULL},
	{"force", 'f', ARGUMENT_NONE, NULL, "one that is there, too: it is written anew", NULL},
	{"nic", 'i', ARGUMENT_NIC, "NAME",
		"of this NIC; may be given several times. Default: of all", NULL},
	{"point", 'p', ARGUMENT_CHOICE, "POINT",
		"rx, tx or drop; may be given several times. Default: rx and tx", "rx tx drop"},
	{"reason", 'R', ARGUMENT_TEXT, "NAME",
		"of drop: only for this reason; may be given several times", NULL},
	{"snap", 's', ARGUMENT_NUMBER, "BYTES", "of each packet. Default: all", NULL},
	{"json", 'j', ARGUMENT_NONE, NULL, "JSON of what was captured and lost, at the end", NULL},
	{"count", 'c', ARGUMENT_NUMBER, "N", "ends after so many packets", NULL},
	{"megabytes", 'C', ARGUMENT_NUMBER, "N",
		"goes on in the next file, FILE0, FILE1…, after so many MB", NULL},
	{"files", 'W', ARGUMENT_NUMBER, "N", "and from FILE0 on again after so many files", NULL},
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax capture_syntax = {
	.name = "capture",
	.usage =
		"usage: p2pnic capture -w FILE [OPTION...] [FILTER...]\n"
		"\n"
		"Writes packets of a running router's NICs into a file (pcapng) that Wireshark and "
		"tcpdump\n"
		"read, as the NICs receive them, send them, or drop them. FILTER is a "
		"pcap-filter(7); the\n"
		"NICs run it.\n",
	.options = options,
	.stops = true,
};

struct output {
	const char *path;
	bool force;
	unsigned long megabytes, files; /* 0: no end */
	unsigned long number;           /* of the file that is written */
	bool again;                     /* files from 0 on are this command's own */
	char name[4096];
	FILE *file;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	ended = 1;
}

static void end_on_signals(void)
{
	const struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

/* --- Files ------------------------------------------------------------------------------------ */

static void name_file(struct output *o)
{
	int digits = 1;

	if (!o->megabytes) {
		snprintf(o->name, sizeof(o->name), "%s", o->path);
		return;
	}
	for (unsigned long most = o->files; most > 10; most = (most + 9) / 10)
		digits++;
	snprintf(o->name, sizeof(o->name), "%s%0*lu", o->path, digits, o->number);
}

static bool open_file(struct output *o)
{
	int fd;

	if (!strcmp(o->path, "-")) {
		o->file = stdout;
		return true;
	}
	name_file(o);
	fd = open(o->name,
		O_WRONLY | O_CREAT | O_CLOEXEC | (o->force || o->again ? O_TRUNC : O_EXCL), 0600);
	o->file = fd < 0 ? NULL : fdopen(fd, "w");
	if (o->file)
		return true;
	fprintf(stderr, "p2pnic capture: %s: %s%s\n", o->name, strerror(errno),
		errno == EEXIST ? "; -f writes it anew" : "");
	if (fd >= 0)
		close(fd);
	return false;
}

static void begin_file(const struct output *o, const struct capture_client *c, const char *filter)
{
	pcapng_section(o->file, "p2pnic " P2PNIC_VERSION_STRING);
	for (unsigned k = 0; k < c->nics; k++)
		pcapng_interface(o->file, c->nic[k].name, filter, c->nic[k].snap);
}

static bool end_file(struct output *o, const struct capture_client *c)
{
	struct timespec now;
	bool good;

	if (!o->file)
		return true;
	clock_gettime(CLOCK_REALTIME, &now);
	for (unsigned k = 0; k < c->nics; k++)
		if (c->nic[k].captures)
			pcapng_statistics(o->file, k,
				(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
				c->nic[k].read + c->nic[k].lost, c->nic[k].lost);
	good = fflush(o->file) == 0 && !ferror(o->file);
	if (o->file != stdout)
		good = fclose(o->file) == 0 && good;
	o->file = NULL;
	return good;
}

static bool next_file(struct output *o, const struct capture_client *c, const char *filter)
{
	if (!end_file(o, c))
		return false;
	o->number++;
	if (o->number == o->files) {
		o->number = 0;
		o->again = true;
	}
	if (!open_file(o))
		return false;
	begin_file(o, c, filter);
	return true;
}

/* --- Packets ---------------------------------------------------------------------------------- */

static const char *comment_of(const struct p2pnic_record *r, char text[256])
{
	const bool punted = r->outcome == P2PNIC_OUTCOME_PUNTED;

	if ((!punted && r->outcome != P2PNIC_OUTCOME_DROPPED) || r->reason >= P2PNIC_DROP_COUNT)
		return NULL;
	snprintf(text, 256, "%s: %s: %s", punted ? "punted" : "dropped", drop_name[r->reason],
		drop_meaning[r->reason]);
	return text;
}

static void put(const struct output *o, const struct capture_client *c, unsigned k)
{
	const struct capture_nic *n = &c->nic[k];
	const struct p2pnic_record *r = &n->record;
	char text[256];

	pcapng_packet(o->file, k, (uint64_t)((int64_t)r->time_ns + c->realtime_ns), n->frame,
		r->captured, r->length < r->captured ? r->captured : r->length,
		r->point == P2PNIC_CAPTURE_TX ? PCAPNG_OUTBOUND : PCAPNG_INBOUND,
		comment_of(r, text));
}

/* Until it ends: a signal, the count, the router, or the file, which is false. What rings hold when
 * the signal comes is still written: NICs go on meanwhile, so it is a ring of each at most. */
static bool run(struct output *o, struct capture_client *c, const char *filter, unsigned long count,
	unsigned long *packets)
{
	uint64_t rest = 0;
	bool wait = false;

	for (unsigned k = 0; k < c->nics; k++)
		rest += c->nic[k].slots;
	while (!count || *packets < count) {
		const bool last = ended;
		const int k = last && !rest-- ? -1 : capture_client_next(c);

		if (k < 0 && last)
			break;
		if (k >= 0) {
			put(o, c, (unsigned)k);
			c->nic[k].ready = false;
			c->nic[k].read++;
			++*packets;
			wait = false;
			if (o->megabytes && ftell(o->file) >= (long)(o->megabytes * 1000000) &&
				!next_file(o, c, filter))
				return false;
			continue;
		}
		if (fflush(o->file) || ferror(o->file))
			return false;
		if (!capture_client_wait(c, wait ? 5 : 1)) {
			fprintf(stderr, "p2pnic capture: the router has ended it\n");
			break;
		}
		wait = true;
	}
	return true;
}

static void summary_json(const struct capture_client *c, unsigned long packets, uint64_t lost)
{
	json_t *nics = json_array(), *answer;

	for (unsigned k = 0; k < c->nics; k++)
		if (c->nic[k].captures)
			json_array_append_new(
				nics, json_pack("{s:s, s:I, s:I}", "nic", c->nic[k].name, "packets",
					      (json_int_t)c->nic[k].read, "lost",
					      (json_int_t)c->nic[k].lost));
	answer = json_pack("{s:I, s:I, s:o}", "packets", (json_int_t)packets, "lost",
		(json_int_t)lost, "nics", nics);
	json_dumpf(answer, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(answer);
}

static void summary(const struct capture_client *c, unsigned long packets, bool json)
{
	uint64_t lost = 0;

	for (unsigned k = 0; k < c->nics; k++) {
		lost += c->nic[k].lost;
		if (c->nic[k].lost && !json)
			fprintf(stderr, "p2pnic capture: %s: %llu packets lost by the capture\n",
				c->nic[k].name, (unsigned long long)c->nic[k].lost);
	}
	if (json)
		summary_json(c, packets, lost);
	else
		fprintf(stderr, "p2pnic capture: %lu packets, %llu lost by the capture\n", packets,
			(unsigned long long)lost);
}

/* --- Command ---------------------------------------------------------------------------------- */

static void append(json_t *how, const char *key, const char *value)
{
	json_t *array = json_object_get(how, key);

	if (!array) {
		array = json_array();
		json_object_set_new(how, key, array);
	}
	json_array_append_new(array, json_string(value));
}

static bool number_option(
	const char *name, const char *text, unsigned long high, unsigned long *value)
{
	if (command_number(text, 1, high, value))
		return true;
	fprintf(stderr, "p2pnic capture: %s '%s': want 1 to %lu\n", name, text, high);
	return false;
}

int command_capture(int argc, char **argv)
{
	struct which_router router = {.command = "capture"};
	json_t *how = json_pack("{s:s}", "by", "p2pnic capture");
	struct output output = {0};
	struct capture_client client;
	unsigned long count = 0, snap = 0, packets = 0;
	char filter[1024];
	struct error error;
	struct command_line line;
	int option, status = COMMAND_USAGE;
	bool good = true, json = false;

	command_begin(&line, &capture_syntax, argc, argv);
	while (good && (option = command_option(&line)) >= 0) {
		switch (option) {
		case 'w':
			output.path = optarg;
			break;
		case 'f':
			output.force = true;
			break;
		case 'i':
			append(how, "nics", optarg);
			break;
		case 'j':
			json = true;
			break;
		case 'p':
			append(how, "points", optarg);
			break;
		case 'R':
			append(how, "reasons", optarg);
			break;
		case 's':
			good = number_option("--snap", optarg, 262144, &snap);
			break;
		case 'c':
			good = number_option("--count", optarg, 1ul << 62, &count);
			break;
		case 'C':
			good = number_option("--megabytes", optarg, 1ul << 30, &output.megabytes);
			break;
		case 'W':
			good = number_option("--files", optarg, 1000000, &output.files);
			break;
		default:
			good = which_router_option(&router, option, optarg);
		}
	}
	if (good && line.status != COMMAND_GO)
		status = line.status;
	if (!good || line.status != COMMAND_GO)
		goto out;
	if (!output.path || (output.files && !output.megabytes) ||
		((output.megabytes || json) && !strcmp(output.path, "-"))) {
		fprintf(stderr, "p2pnic capture: %s\n",
			!output.path                        ? "-w FILE says where to"
			: output.files && !output.megabytes ? "-W is for -C"
			: json ? "-j prints to standard output, where -w - has the packets"
			       : "-C is for files, and - is none");
		command_refuse(&line);
		goto out;
	}
	if (!strcmp(output.path, "-") && isatty(STDOUT_FILENO)) {
		fprintf(stderr, "p2pnic capture: packets to a terminal? Try "
				"`p2pnic capture -w - | tcpdump -n -r -`\n");
		goto out;
	}
	if (!json_object_get(how, "points")) {
		append(how, "points", "rx");
		append(how, "points", "tx");
	}
	if (snap)
		json_object_set_new(how, "snap",
			json_integer((json_int_t)(snap < P2PNIC_CAPTURE_SNAP_MAX
							  ? snap
							  : P2PNIC_CAPTURE_SNAP_MAX)));
	if (!capture_filter("capture", argv + optind, how, filter, sizeof(filter)))
		goto out;
	status = COMMAND_FAILED;
	which_router_settle(&router);
	if (!open_file(&output))
		goto out;
	end_on_signals();
	if (capture_client_begin(&client, &router, json_incref(how), &error)) {
		fprintf(stderr, "p2pnic capture: %s\n", error.text);
		if (output.file != stdout && !output.force)
			unlink(output.name); /* empty, and this command's */
		goto out;
	}
	begin_file(&output, &client, filter);
	good = run(&output, &client, filter, count, &packets);
	good = end_file(&output, &client) && good;
	if (!good)
		fprintf(stderr, "p2pnic capture: %s: %s\n",
			output.file == stdout ? "-" : output.name, strerror(errno));
	summary(&client, packets, json);
	capture_client_end(&client);
	status = good ? COMMAND_OK : COMMAND_FAILED;
out:
	json_decref(how);
	return status;
}
