/* SPDX-License-Identifier: BSD-3-Clause */
#include "command.h"
#include "command_line.h"
#include "ipc/secret.h"
#include "tester/cores.h"
#include "tester/prefixes.h"
#include "tester/reflect.h"
#include "tester/report.h"
#include "tester/search.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OPTION_GBPS = 256,
	OPTION_BUFFER_BYTES,
	OPTION_NO_CARRY,
	OPTION_CPU2,
	OPTION_REALTIME,
	OPTION_NEAR,
	OPTION_STEP,
};

static const struct command_option options[] = {
	{"port", 'p', ARGUMENT_TEXT, "PORT", "the ports, in the order of their numbers", NULL},
	{"pattern", 'P', ARGUMENT_TEXT, "NAME",
		"1in-1out 2in-2out 2in-2out-mix 4in-4out 4in-4out-mix Nin-Nout[-mix], or spelled "
		"out: 0>1,1>0+2 (1in-1out); run: several, with ';' between",
		NULL},
	{"size", 's', ARGUMENT_TEXT, "BYTES",
		"of frames, with FCS (64); run: several, with ',' between", NULL},
	{"buffer-bytes", OPTION_BUFFER_BYTES, ARGUMENT_CHOICE, "N",
		"of the tester's packet buffers (2048); a frame has at most 256 less",
		"2048 4096 16384"},
	{"rate", 'r', ARGUMENT_TEXT, "PPS",
		"into each ingress port; k and M are understood; N% of --gbps (no limit)", NULL},
	{"gbps", OPTION_GBPS, ARGUMENT_NUMBER, "N",
		"wire rate that --rate N% and curve refer to (40)", NULL},
	{"time", 't', ARGUMENT_NUMBER, "SECONDS", "of each run (1)", NULL},
	{"warm-up", 'w', ARGUMENT_NUMBER, "SECONDS", "before it (0.1)", NULL},
	{"packets", 'n', ARGUMENT_NUMBER, "N", "into each ingress port, instead of a time", NULL},
	{"mode", 'm', ARGUMENT_CHOICE, "MODE",
		"what the device does: routed, mac, bridged (routed)", "routed mac bridged"},
	{"check", 'c', ARGUMENT_CHOICE, "LEVEL",
		"none, header, full, or header:N and full:N: one burst in N (full)",
		"none header full"},
	{"probe", 'l', ARGUMENT_NUMBER, "N",
		"stamp every Nth packet, a power of two (0; latency: 64)", NULL},
	{"destinations", 'd', ARGUMENT_FILE, "FILE[:N]",
		"N addresses (65536) inside the prefixes of FILE", NULL},
	{"mac", 'M', ARGUMENT_TEXT, "N=MAC",
		"MAC of the device's port N (02:00:00:00:00:N in hexadecimal)", NULL},
	{"ipv6", '6', ARGUMENT_NONE, NULL,
		"IPv6 packets: fd00:19:INGRESS::/48 to fd00:18:EXIT::/48", NULL},
	{"no-carry", OPTION_NO_CARRY, ARGUMENT_NONE, NULL,
		"avoid headers whose checksum update carries", NULL},
	{"cpu", 'C', ARGUMENT_NUMBER, "N", "run on this processor", NULL},
	{"cpu2", OPTION_CPU2, ARGUMENT_NUMBER, "N",
		"self: its wire's processor; cores, --near: the device's", NULL},
	{"realtime", OPTION_REALTIME, ARGUMENT_NUMBER, "PID",
		"during a run, neither the tester nor this process of the device (0: none) gives "
		"way to others on their processors; for short runs; repeatable",
		NULL},
	{"near", OPTION_NEAR, ARGUMENT_TEXT, "LOW-HIGH[:N]",
		"run: measure the distance to processor --cpu2 every 10 ms: windows with LOW to "
		"HIGH ns on both sides count; end after N of them",
		NULL},
	{"step", OPTION_STEP, ARGUMENT_NUMBER, "NS",
		"with --near: windows before or after which a step of additions took longer on "
		"--cpu2 are busy, and do not count",
		NULL},
	{"wait", 'W', ARGUMENT_NUMBER, "SECONDS", "for the links to come up (10)", NULL},
	OPTION_JSON, OPTION_HELP};

#define ACTIONS "run throughput latency curve burst self cores wire copy"

static const struct command_word words[] = {{NULL, NULL, ARGUMENT_CHOICE, ACTIONS}};

const struct command_syntax tester_syntax = {
	.name = "tester",
	.usage = "usage: p2pnic tester ACTION -p PORT... [OPTION...]\n"
		 "\n"
		 "Sends traffic into the ports of a device and checks what comes out.\n"
		 "\n"
		 "actions\n"
		 "  run         one run at a rate, or as fast as the device takes packets\n"
		 "  throughput  highest rate without loss (RFC 2544 26.1)\n"
		 "  latency     one-way latency at a rate (26.2); default half of the throughput\n"
		 "  curve       loss at 100 %, 90 %... of --rate (26.3)\n"
		 "  burst       longest burst without loss (26.4)\n"
		 "  self        the tester's own maximum: the ports' other ends are a wire\n"
		 "  cores       ns for a cache line from processor --cpu to --cpu2 and back, and "
		 "for a step "
		 "of additions\n"
		 "              on --cpu2, -n times; no ports\n"
		 "  wire, copy  be a device: pass packets on untouched, or copied once; until a "
		 "signal\n"
		 "\n"
		 "ports, in the order of their numbers\n"
		 "  -p memif:SOCKET[,role=server|client][,id=N][,rsize=N][,key=value...]\n"
		 "  -p af_packet:INTERFACE, af_xdp:INTERFACE, tap:NAME, pcap:IN,OUT; each "
		 "[,key=value...]\n",
	.options = options,
	COMMAND_WORDS(words),
};

#define DEVICES_MAX 16u /* processes of a device */

struct options {
	const char *action;
	const char *port[TESTER_PORTS_MAX];
	unsigned ports;
	struct tester_setup setup;
	const char *patterns;
	const char *sizes;
	uint32_t buffer_bytes;
	struct tester_load load;
	double rate_percent, gbps, wait;
	const char *destinations;
	uint8_t mac[TESTER_PORTS_MAX][6];
	bool mac_set[TESTER_PORTS_MAX];
	int cpu, cpu2;
	pid_t device[DEVICES_MAX];
	unsigned devices;
	bool realtime;
	bool json;
};

static struct tester_result result; /* 34 KiB: off the stack */
static uint64_t wrong; /* packets that the device did not treat as it should have, all runs */
static atomic_bool stop;

static void on_signal(int signal_number)
{
	atomic_store(&stop, true);
}

static int fail(const char *text)
{
	fprintf(stderr, "p2pnic tester: %s\n", text);
	return COMMAND_FAILED;
}

static int pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* --- Arguments -------------------------------------------------------------------------------- */

static int parse_number(const char *text, double *value)
{
	char *end;

	errno = 0;
	*value = strtod(text, &end);
	if (end == text || errno || !(*value >= 0 && *value <= 1e15))
		return -EINVAL;
	if (*end == 'k' || *end == 'K')
		*value *= 1e3, end++;
	else if (*end == 'M')
		*value *= 1e6, end++;
	return *end ? -EINVAL : 0;
}

static int parse_rate(struct options *o, const char *text)
{
	size_t length = strlen(text);
	char digits[32];

	if (length && text[length - 1] == '%' && length < sizeof(digits)) {
		memcpy(digits, text, length - 1);
		digits[length - 1] = 0;
		return parse_number(digits, &o->rate_percent) || o->rate_percent <= 0 ? -EINVAL : 0;
	}
	return parse_number(text, &o->load.rate) || o->load.rate <= 0 ? -EINVAL : 0;
}

static int parse_check(struct options *o, const char *text)
{
	static const char *const names[] = {"none", "header", "full"};
	size_t length = strcspn(text, ":");
	double sample = 1;

	if (text[length] && (parse_number(text + length + 1, &sample) || sample < 1))
		return -EINVAL;
	o->load.sample = (unsigned)sample;
	for (unsigned i = 0; i < 3; i++)
		if (strlen(names[i]) == length && !strncmp(names[i], text, length)) {
			o->load.check = (enum tester_check)i;
			return 0;
		}
	return -EINVAL;
}

static int parse_mode(struct options *o, const char *text)
{
	static const char *const names[] = {"bridged", "mac", "routed"};

	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(names[i], text)) {
			o->setup.mode = (enum tester_mode)i;
			return 0;
		}
	return -EINVAL;
}

static int parse_mac(struct options *o, const char *text)
{
	unsigned n, m[6];
	int used = 0;

	if (sscanf(text, "%2u=%2x:%2x:%2x:%2x:%2x:%2x%n", &n, &m[0], &m[1], &m[2], &m[3], &m[4],
		    &m[5], &used) != 7 ||
		text[used] || n >= TESTER_PORTS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++)
		o->mac[n][i] = (uint8_t)m[i];
	o->mac_set[n] = true;
	return 0;
}

/* LOW-HIGH[:N] */
static int parse_near(struct options *o, const char *text)
{
	int used = 0;

	if (sscanf(text, "%lf-%lf%n", &o->load.near_low, &o->load.near_high, &used) != 2)
		return -EINVAL;
	text += used;
	used = 0;
	if (*text && (sscanf(text, ":%u%n", &o->load.near_windows, &used) != 1 || text[used] ||
			     o->load.near_windows > TESTER_WINDOWS_MAX))
		return -EINVAL;
	return o->load.near_low >= 0 && o->load.near_low < o->load.near_high ? 0 : -EINVAL;
}

static int parse_option(struct options *o, int option, const char *value)
{
	double number = 0;

	switch (option) {
	case 'p':
		if (o->ports == TESTER_PORTS_MAX)
			return -EINVAL;
		o->port[o->ports] = secret_hide(optarg);
		return o->port[o->ports++] ? 0 : -ENOMEM;
	case 'P':
		o->patterns = value;
		return 0;
	case 's':
		o->sizes = value;
		return 0;
	case 'r':
		return parse_rate(o, value);
	case 'm':
		return parse_mode(o, value);
	case 'c':
		return parse_check(o, value);
	case 'd':
		o->destinations = value;
		return 0;
	case 'M':
		return parse_mac(o, value);
	case 'j':
		o->json = true;
		return 0;
	case '6':
		o->setup.ipv6 = true;
		return 0;
	case OPTION_NEAR:
		return parse_near(o, value);
	case OPTION_NO_CARRY:
		o->setup.no_carry = true;
		return 0;
	}
	if (parse_number(value, &number))
		return -EINVAL;
	bool whole = option == 'l' || option == 'C' || option == OPTION_CPU2 ||
		     option == OPTION_REALTIME || option == OPTION_BUFFER_BYTES;
	/* No packets are not "without limit". */
	if ((option == 'n' && number < 1) ||
		(whole && (number > INT_MAX || number != floor(number))))
		return -EINVAL;
	switch (option) {
	case 't':
		o->load.seconds = number;
		return 0;
	case 'w':
		o->load.warm_up = number;
		return 0;
	case 'n':
		o->load.packets = (uint64_t)number;
		return 0;
	case 'l':
		o->load.probe = (unsigned)number;
		return o->load.probe & (o->load.probe - 1) ? -EINVAL : 0;
	case 'C':
		o->cpu = (int)number;
		return 0;
	case OPTION_REALTIME:
		o->realtime = true;
		if (number >= 1 && o->devices < DEVICES_MAX)
			o->device[o->devices++] = (pid_t)number;
		return 0;
	case OPTION_CPU2:
		o->cpu2 = (int)number;
		return 0;
	case OPTION_BUFFER_BYTES:
		o->buffer_bytes = (uint32_t)number;
		return p2pnic_buffer_bytes_valid(o->buffer_bytes) ? 0 : -EINVAL;
	case 'W':
		o->wait = number;
		return 0;
	case OPTION_STEP:
		o->load.step_high = number;
		return 0;
	case OPTION_GBPS:
		o->gbps = number;
		return 0;
	}
	return -EINVAL;
}

static int parse_options(struct command_line *line, struct options *o, int argc, char **argv)
{
	int option;

	*o = (struct options){.action = "",
		.setup = {.mode = TESTER_ROUTED},
		.patterns = "1in-1out",
		.sizes = "64",
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.load = {.seconds = 1, .warm_up = 0.1, .check = TESTER_CHECK_FULL, .sample = 1},
		.gbps = 40,
		.wait = 10,
		.cpu = -1,
		.cpu2 = -1};
	command_begin(line, &tester_syntax, argc, argv);
	while ((option = command_option(line)) >= 0) {
		if (parse_option(o, option, optarg)) {
			fprintf(stderr,
				"p2pnic tester: '%s' makes no sense there; --help tells what "
				"does\n",
				optarg); /* options without an argument make sense */
			return COMMAND_USAGE;
		}
	}
	if (line->status != COMMAND_GO)
		return line->status;
	if (optind + 1 != argc || (!o->ports && strcmp(argv[optind], "cores") != 0))
		return command_refuse(line);
	o->action = argv[optind];
	if (o->load.packets) {
		o->load.warm_up = 0;
		o->load.seconds = 3600;
	}
	return COMMAND_GO;
}

/* --- Actions ---------------------------------------------------------------------------------- */

static void progress(void *context, const struct tester *t, double seconds)
{
	fprintf(stderr, "\r%.1f s  sent %.1f M  received %.1f M ", seconds, (double)t->sent * 1e-6,
		(double)t->received * 1e-6);
}

/* The policy of all threads of a process; what cannot be set stays as it is. */
static void schedule(pid_t pid, int policy)
{
	char path[64];
	struct sched_param param = {.sched_priority = policy == SCHED_FIFO}, before;
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *tasks = opendir(path);
	if (!tasks)
		return;
	while ((entry = readdir(tasks))) {
		pid_t task = (pid_t)strtol(entry->d_name, NULL, 10);
		/* The thread that measures distances has a priority of its own. */
		if (task > 0 && !sched_getparam(task, &before) && before.sched_priority <= 1)
			sched_setscheduler(task, policy, &param);
	}
	closedir(tasks);
}

static void schedule_all(const struct options *o, int policy)
{
	if (!o->realtime)
		return;
	schedule(getpid(), policy);
	for (unsigned i = 0; i < o->devices; i++)
		schedule(o->device[i], policy);
}

static int trial_run(
	struct tester *t, const struct options *o, struct tester_load *load, struct error *error)
{
	bool terminal = isatty(2) && !o->json;

	load->progress = terminal ? progress : NULL;
	schedule_all(o, SCHED_FIFO);
	int r = tester_run(t, load, &result, error);
	schedule_all(o, SCHED_OTHER);
	if (terminal)
		fprintf(stderr, "\r\033[K");
	return r;
}

struct trials {
	struct tester *t;
	const struct options *o;
	struct error *error;
	bool burst;
};

static int trial(void *context, double load_value, uint64_t *lost)
{
	struct trials *trials = context;
	struct tester_load load = trials->o->load;

	if (trials->burst) {
		load.rate = 0;
		load.warm_up = 0;
		load.seconds = 60;
		load.packets = (uint64_t)load_value;
	} else {
		load.rate = load_value;
	}
	int r = trial_run(trials->t, trials->o, &load, trials->error);
	if (r)
		return r;
	*lost = result.lost + result.refused;
	if (!trials->o->json)
		printf("  %s %.0f: %.3f Mpps, lost %llu\n", trials->burst ? "burst" : "rate",
			load_value, result.mpps, (unsigned long long)*lost);
	return 0;
}

/* The rate that a search starts from: what --rate says, or what the device takes when pushed. */
static int find_top(struct trials *trials, double *top)
{
	struct tester_load load = trials->o->load;

	*top = load.rate;
	if (*top > 0)
		return 0;
	int r = trial_run(trials->t, trials->o, &load, trials->error);
	if (r)
		return r;
	*top = result.mpps * 1e6 / trials->t->pattern.ingresses * 1.02;
	if (*top > 0)
		return 0;
	return error_set(trials->error, -EIO,
		"nothing came back of what was sent at full rate; --rate gives one to begin from");
}

static int search_action(struct trials *trials, json_t *json)
{
	const struct options *o = trials->o;
	double top, found;
	int r;

	if (!strcmp(o->action, "burst")) {
		uint64_t longest;
		trials->burst = true;
		r = search_burst(
			trial, trials, o->load.packets ? o->load.packets : 1u << 20, &longest);
		if (!r) {
			json_object_set_new(
				json, "burst_packets", json_integer((json_int_t)longest));
			if (!o->json)
				printf("longest burst without loss: %llu packets\n",
					(unsigned long long)longest);
		}
		return r;
	}
	r = find_top(trials, &top);
	if (r)
		return r;
	if (!strcmp(o->action, "curve")) {
		double load[SEARCH_CURVE_MAX];
		uint64_t lost[SEARCH_CURVE_MAX];
		int n = search_curve(trial, trials, top, load, lost);
		json_t *curve = json_array();
		for (int i = 0; i < n; i++)
			json_array_append_new(curve, json_pack("{s:f,s:I}", "rate_pps", load[i],
							     "lost", (json_int_t)lost[i]));
		json_object_set_new(json, "curve", curve);
		return n < 0 ? n : 0;
	}
	bool latency = !strcmp(o->action, "latency");
	if (!latency || o->load.rate <= 0) {
		r = search_throughput(trial, trials, top / 1000, top, 0.01, &found);
		if (r)
			return r;
		json_object_set_new(
			json, "throughput_pps", json_real(found * trials->t->pattern.ingresses));
		if (!o->json)
			printf("throughput without loss: %.3f Mpps in all\n",
				found * 1e-6 * trials->t->pattern.ingresses);
		top = found / 2;
	}
	if (latency) {
		struct tester_load load = o->load;
		load.rate = top;
		if (!load.probe)
			load.probe = 64;
		r = trial_run(trials->t, o, &load, trials->error);
	}
	return r;
}

/* The next word of a list, up to a separator; false: there is none. */
static bool next_word(const char **list, char separator, char *word, size_t bytes)
{
	size_t length = strcspn(*list, (char[]){separator, 0});

	if (!length || length >= bytes)
		return false;
	memcpy(word, *list, length);
	word[length] = 0;
	*list += length + ((*list)[length] != 0);
	return true;
}

static int measure_one(struct options *o, struct tester *t, json_t *runs, struct error *error)
{
	struct trials trials = {.t = t, .o = o, .error = error};
	bool single = !strcmp(o->action, "run") || !strcmp(o->action, "self");
	json_t *json = json_pack(
		"{s:s,s:i}", "pattern", o->setup.pattern, "frame_bytes", (int)o->setup.frame_bytes);

	if (o->rate_percent > 0)
		o->load.rate =
			o->rate_percent / 100 * o->gbps * 1e9 / 8 / (o->setup.frame_bytes + 20);
	int r = tester_prepare(t, &o->setup, error);
	if (!r)
		r = single ? trial_run(t, o, &o->load, error) : search_action(&trials, json);
	if (r) {
		json_decref(json);
		return r;
	}
	json_object_set_new(json, "run", report_json(&result));
	json_array_append_new(runs, json);
	wrong += tester_errors(&result);
	if (o->json)
		return 0;
	printf("%s, %u bytes\n", o->setup.pattern, o->setup.frame_bytes);
	report_text(stdout, &result);
	return 0;
}

static int measure(const struct options *given, struct tester *t, struct error *error)
{
	struct options o = *given;
	json_t *runs = json_array();
	char pattern[128], size[16];
	int r = 0;

	for (const char *patterns = o.patterns;
		!r && next_word(&patterns, ';', pattern, sizeof(pattern));)
		for (const char *sizes = o.sizes;
			!r && next_word(&sizes, ',', size, sizeof(size));) {
			o.setup.pattern = pattern;
			unsigned long bytes;
			if (!command_number(size, 0, UINT32_MAX, &bytes)) {
				r = error_set(error, -EINVAL, "frame size '%s' is no number", size);
				break;
			}
			o.setup.frame_bytes = (uint32_t)bytes;
			r = measure_one(&o, t, runs, error);
		}
	if (!r && !json_array_size(runs)) {
		r = error_set(error, -EINVAL, "no pattern or no size given");
	}
	if (!r && o.json) {
		json_t *json = json_pack("{s:O}", "runs", runs);
		json_dumpf(json, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
		printf("\n");
		json_decref(json);
	}
	json_decref(runs);
	return r;
}

static int act(const struct options *o, struct error *error)
{
	struct options mine = *o;
	uint64_t *destinations = NULL;
	struct tester *t;
	int r;

	if (o->destinations) {
		char path[4096];
		const char *colon = strrchr(o->destinations, ':');
		double n = 65536;
		if (colon && (parse_number(colon + 1, &n) || n < 1 || n > 1 << 20))
			return error_set(error, -EINVAL,
				"number of destinations '%s' is not 1 to 1048576", colon + 1);
		snprintf(path, sizeof(path), "%.*s", colon ? (int)(colon - o->destinations) : 4095,
			o->destinations);
		r = prefixes_sample(
			path, o->setup.ipv6 ? 6 : 4, (unsigned)n, 1, &destinations, error);
		if (r)
			return r;
		mine.setup.destination = destinations;
		mine.setup.destinations = (unsigned)n;
	}
	r = tester_open(&t, o->port, o->ports, o->buffer_bytes, error);
	if (!r) {
		for (unsigned i = 0; i < o->ports; i++)
			if (o->mac_set[i])
				memcpy(t->port[i].device_mac, o->mac[i], 6);
		r = tester_wait(t, o->wait, error);
		if (!r)
			r = measure(&mine, t, error);
		tester_close(t);
	}
	free(destinations);
	return r;
}

/* --- A wire on the other end ------------------------------------------------------------------ */

struct device {
	struct reflect_config config;
	char text[TESTER_PORTS_MAX][160];
	const char *port[TESTER_PORTS_MAX];
	int cpu;
	int result;
	struct error error;
};

static int device_ports(struct device *d, const struct options *o, bool opposite)
{
	for (unsigned i = 0; i < o->ports; i++) {
		const char *text = o->port[i];
		if (strncmp(text, "memif:", 6) != 0)
			return -EINVAL;
		bool server = strstr(text, "role=server") != NULL;
		size_t path = strcspn(text + 6, ",");
		if (opposite)
			snprintf(d->text[i], sizeof(d->text[i]), "%.*s,role=%s,unsealed=no",
				(int)path, text + 6, server ? "client" : "server");
		else
			snprintf(d->text[i], sizeof(d->text[i]), "%s", text + 6);
		d->port[i] = d->text[i];
	}
	d->config.ports = d->port;
	d->config.count = o->ports;
	d->config.buffer_bytes = o->buffer_bytes;
	d->config.stop = &stop;
	/* One wire for all runs: a list of patterns must be of one kind. */
	char pattern[128];
	const char *patterns = o->patterns;
	if (!next_word(&patterns, ';', pattern, sizeof(pattern)))
		return -EINVAL;
	return pattern_parse(pattern, &d->config.pattern);
}

static void *device_thread(void *opaque)
{
	struct device *d = opaque;

	pin(d->cpu);
	d->result = reflect_run(&d->config, &d->error);
	return NULL;
}

static int self(const struct options *o, struct error *error)
{
	struct options mine = *o;
	struct device d = {.config.kind = REFLECT_WIRE, .cpu = o->cpu2};
	pthread_t thread;

	mine.setup.mode = TESTER_BRIDGED;
	if (device_ports(&d, o, true))
		return error_set(
			error, -EINVAL, "self works on memif ports and a pattern that exists");
	int r = pthread_create(&thread, NULL, device_thread, &d);
	if (r)
		return -r;
	r = act(&mine, error);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	if (d.result) {
		*error = d.error;
		r = d.result;
	}
	return r;
}

static int be_device(const struct options *o, enum reflect_kind kind, struct error *error)
{
	struct device d = {.config.kind = kind};
	struct sigaction action = {.sa_handler = on_signal};

	if (device_ports(&d, o, false))
		return error_set(error, -EINVAL,
			"wire and copy work on memif ports and a pattern that exists");
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return reflect_run(&d.config, error);
}

/* -n times, a line each, 50 ms apart. */
static int cores_action(const struct options *o)
{
	uint64_t n = o->load.packets ? o->load.packets : 1;
	struct cores *cores;

	if (pin(o->cpu < 0 ? 0 : o->cpu) || cores_open(&cores, o->cpu2 < 0 ? 1 : o->cpu2))
		return fail("those processors cannot be used");
	for (uint64_t k = 0; k < n; k++) {
		if (k)
			nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		struct cores_state state = cores_look(cores);
		printf(o->json ? "{\"round_trip_ns\": %.0f, \"step_ns\": %.3f}\n" : "%.0f %.3f\n",
			state.round_trip, state.step);
	}
	cores_close(cores);
	return COMMAND_OK;
}

int command_tester(int argc, char **argv)
{
	static const char *const actions[] = {"run", "throughput", "latency", "curve", "burst"};
	struct error error = {""};
	struct command_line line;
	struct options o;
	int r = parse_options(&line, &o, argc, argv);

	if (r != COMMAND_GO)
		return r;
	if (!strcmp(o.action, "cores"))
		return cores_action(&o);
	if (pin(o.cpu))
		return fail("cannot run on that processor");
	if (o.load.near_high > 0 && cores_open(&o.load.cores, o.cpu2 < 0 ? 1 : o.cpu2))
		return fail("--near: cannot run on the processor of --cpu2");
	r = -ENOSYS;
	for (unsigned i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		if (!strcmp(actions[i], o.action))
			r = act(&o, &error);
	if (!strcmp(o.action, "self"))
		r = self(&o, &error);
	else if (!strcmp(o.action, "wire"))
		r = be_device(&o, REFLECT_WIRE, &error);
	else if (!strcmp(o.action, "copy"))
		r = be_device(&o, REFLECT_COPY, &error);
	if (r == -ENOSYS)
		return command_no_such(&line, "action", o.action, ACTIONS);
	if (r)
		return fail(*error.text ? error.text : strerror(-r));
	if (o.load.cores)
		cores_close(o.load.cores);
	/* A device that did not do the work is a failed run. */
	return wrong ? COMMAND_FAILED : COMMAND_OK;
}
