/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A packet's record at the NIC that received it says what became of it; the router says what the
 * tables hold (router/explain.h); the record at the NIC that sent it, found by its place in the
 * ring, says how it left. All is put into one object, which is printed.
 */
#include "cli/capture_client.h"
#include "cli/command.h"
#include "cli/packet_text.h"
#include "router/api_client.h"

#include <inttypes.h>
#include <p2pnic/counters.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct command_option options[] = {
	{"count", 'c', ARGUMENT_NUMBER, "N", "the next N packets (1)", NULL},
	{"nic", 'i', ARGUMENT_NIC, "NAME",
		"received by this NIC; may be given several times. Default: by any", NULL},
	{"json", 'j', ARGUMENT_NONE, NULL, "JSON, a line for each packet", NULL},
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax trace_syntax = {
	.name = "trace",
	.usage =
		"usage: p2pnic trace [OPTION...] [FILTER...]\n"
		"\n"
		"Prints the next packet that the NICs of a running router receive and that FILTER, "
		"a\n"
		"pcap-filter(7), takes: each step with its values. For a dropped or punted one the "
		"reason.\n",
	.options = options,
	.stops = true,
};

#define FOLLOWED_MAX 4096u
#define FOLLOW_MS    1000u /* a packet that has not left by then is not waited for */

/* A record of a packet that left. */
struct followed {
	unsigned nic;
	struct p2pnic_record record;
	uint8_t frame[128];
};

struct trace_run {
	struct capture_client client;
	const struct which_router *router;
	struct followed *followed; /* oldest first */
	unsigned followed_count;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	ended = 1;
}

/* --- Records ---------------------------------------------------------------------------------- */

static void keep_followed(struct trace_run *t, unsigned k)
{
	const struct capture_nic *n = &t->client.nic[k];
	struct followed *f;

	if (t->followed_count == FOLLOWED_MAX)
		memmove(t->followed, t->followed + 1, --t->followed_count * sizeof(*t->followed));
	f = &t->followed[t->followed_count++];
	*f = (struct followed){.nic = k, .record = n->record};
	memcpy(f->frame, n->frame,
		n->record.captured < sizeof(f->frame) ? n->record.captured : sizeof(f->frame));
}

/* The next record; one of a packet that has left is kept, and -1. */
static int next_record(struct trace_run *t)
{
	const int k = capture_client_next(&t->client);

	if (k < 0)
		return -1;
	t->client.nic[k].ready = false;
	if (t->client.nic[k].record.point != P2PNIC_CAPTURE_FOLLOW)
		return k;
	keep_followed(t, (unsigned)k);
	return -1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Of one that waited the place in the ring is not known: the next of that pair is it, as marked
 * packets leave in order. */
static bool is_same(const struct followed *f, const struct p2pnic_record *r, unsigned ingress)
{
	return f->nic == r->peer && f->record.peer == ingress &&
	       (r->outcome == P2PNIC_OUTCOME_HELD
			       ? f->record.time_ns >= r->time_ns
			       : f->record.index == r->index && f->record.epoch == r->epoch);
}

struct waiting {
	unsigned nic;
	struct p2pnic_record record;
	uint8_t frame[128];
};

/* --- The packet as an object ------------------------------------------------------------------ */

static json_t *header(const uint8_t *frame, uint32_t bytes, uint32_t length)
{
	struct packet_fields f;
	json_t *o = json_pack("{s:i}", "bytes", (int)length);

	if (!packet_fields(&f, frame, bytes))
		return o;
	json_object_update_new(
		o, json_pack("{s:s,s:s,s:i}", "source_mac", f.source_mac, "destination_mac",
			   f.destination_mac, "type", (int)f.type));
	if (f.vlan >= 0)
		json_object_set_new(o, "vlan", json_integer(f.vlan));
	if (!f.family)
		return o;
	json_object_update_new(o, json_pack("{s:i,s:s,s:s,s:i,s:i}", "family", f.family, "source",
					  f.source, "destination", f.destination, "ttl", (int)f.ttl,
					  "protocol", (int)f.protocol));
	if (f.family == 4)
		json_object_set_new(o, "checksum", json_integer((json_int_t)f.checksum));
	return o;
}

static json_t *reason(unsigned number)
{
	return number >= P2PNIC_DROP_COUNT
		       ? json_pack("{s:i}", "number", (int)number)
		       : json_pack("{s:s,s:s,s:s}", "name", drop_name[number], "meaning",
				 drop_meaning[number], "section", drop_section[number]);
}

static const char *class_name(unsigned class)
{
	static const char *const name[] = {
#define CLASS_NAME(symbol, name, ring, meaning) name,
		P2PNIC_PUNT_CLASSES(CLASS_NAME)
#undef CLASS_NAME
	};

	return class < P2PNIC_PUNT_COUNT ? name[class] : "?";
}

static void add_tables(const struct trace_run *t, const struct waiting *w, json_t *o)
{
	const char *to =
		json_string_value(json_object_get(json_object_get(o, "received"), "destination"));
	const struct p2pnic_record *r = &w->record;
	json_t *how = json_pack("{s:s}", "nic", t->client.nic[w->nic].name), *answer;
	struct error error;

	if (r->looked_up && to)
		json_object_update_new(how,
			json_pack("{s:s,s:i,s:i,s:I}", "address", to, "next_hop", (int)r->next_hop,
				"adjacency", (int)r->adjacency, "flow", (json_int_t)r->flow));
	if (r->peer < P2PNIC_NICS_MAX)
		json_object_set_new(how, "peer", json_integer(r->peer));
	answer = api_ask(
		t->router->runtime, t->router->own, json_pack("{s:o}", "explain", how), &error);
	if (answer)
		json_object_set(o, "tables", json_object_get(answer, "explain"));
	else
		json_object_set_new(o, "tables_error", json_string(error.text));
	json_decref(answer);
	if (r->looked_up)
		json_object_set_new(o, "lookup",
			json_pack("{s:i,s:i,s:I}", "next_hop", (int)r->next_hop, "adjacency",
				(int)r->adjacency, "flow", (json_int_t)r->flow));
}

static json_t *describe(
	const struct trace_run *t, const struct waiting *w, const struct followed *left)
{
	static const char *const outcome[] = {"sent", "held", "punted", "dropped"};
	const struct p2pnic_record *r = &w->record;
	const uint32_t bytes = r->captured < sizeof(w->frame) ? r->captured : sizeof(w->frame);
	json_t *o = json_pack("{s:I,s:s,s:s,s:o}", "time_ns",
		(json_int_t)r->time_ns + t->client.realtime_ns, "nic", t->client.nic[w->nic].name,
		"outcome", r->outcome < 4 ? outcome[r->outcome] : "?", "received",
		header(w->frame, bytes, r->length));

	if (r->verdict != P2PNIC_RECORD_NONE)
		json_object_set_new(o, "verdict", reason(r->verdict));
	if (r->outcome == P2PNIC_OUTCOME_DROPPED || r->outcome == P2PNIC_OUTCOME_PUNTED)
		json_object_set_new(o, "reason", reason(r->reason));
	if (r->outcome == P2PNIC_OUTCOME_PUNTED)
		json_object_set_new(o, "class", json_string(class_name(r->punt_class)));
	add_tables(t, w, o);
	if (r->outcome <= P2PNIC_OUTCOME_HELD && r->peer < t->client.nics)
		json_object_set_new(o, "ring",
			json_pack("{s:s,s:I,s:I}", "to", t->client.nic[r->peer].name, "index",
				(json_int_t)(left ? left->record.index : r->index), "epoch",
				(json_int_t)r->epoch));
	if (left)
		json_object_set_new(o, "left",
			json_pack("{s:s,s:I,s:o}", "nic", t->client.nic[left->nic].name, "after_ns",
				(json_int_t)(left->record.time_ns - r->time_ns), "packet",
				header(left->frame,
					left->record.captured < sizeof(left->frame)
						? left->record.captured
						: (uint32_t)sizeof(left->frame),
					left->record.length)));
	return o;
}

/* --- Text ------------------------------------------------------------------------------------- */

#define TEXT(object, key)   json_string_value(json_object_get(object, key))
#define NUMBER(object, key) json_integer_value(json_object_get(object, key))

static void print_header(const json_t *h)
{
	const json_t *vlan = json_object_get(h, "vlan");

	printf("%lld bytes", (long long)NUMBER(h, "bytes"));
	if (TEXT(h, "source_mac"))
		printf(", %s > %s", TEXT(h, "source_mac"), TEXT(h, "destination_mac"));
	if (vlan)
		printf(", VLAN %lld", (long long)json_integer_value(vlan));
	if (TEXT(h, "source"))
		printf(", %s > %s, TTL %lld, protocol %lld", TEXT(h, "source"),
			TEXT(h, "destination"), (long long)NUMBER(h, "ttl"),
			(long long)NUMBER(h, "protocol"));
	else if (TEXT(h, "source_mac"))
		printf(", type 0x%04llx", (unsigned long long)NUMBER(h, "type"));
	putchar('\n');
}

static void print_reason(const char *what, const json_t *reason)
{
	const char *section = TEXT(reason, "section");

	printf("  %-10s%s: %s%s%s%s\n", what, TEXT(reason, "name"), TEXT(reason, "meaning"),
		section && *section ? " (" : "", section ? section : "",
		section && *section ? ")" : "");
}

static void print_lookup(const json_t *o)
{
	const json_t *tables = json_object_get(o, "tables"), *lookup = json_object_get(o, "lookup");
	const json_t *route = json_object_get(tables, "route"), *s;
	const json_t *group = json_object_get(tables, "group");
	const json_t *a = json_object_get(tables, "adjacency");
	size_t k;

	printf("  lookup    %s: next hop %lld", TEXT(json_object_get(o, "received"), "destination"),
		(long long)NUMBER(lookup, "next_hop"));
	if (TEXT(route, "prefix"))
		printf(", by %s (%s)", TEXT(route, "prefix"), TEXT(route, "source"));
	putchar('\n');
	json_array_foreach(json_object_get(tables, "path"), k, s) printf(
		"            bits %3lld-%-3lld %-18s at %s: %s\n", (long long)NUMBER(s, "from_bit"),
		(long long)(NUMBER(s, "from_bit") + NUMBER(s, "bits")), TEXT(s, "what"),
		TEXT(s, "at"), TEXT(s, "word"));
	if (json_object_get(tables, "next_hop") &&
		NUMBER(tables, "next_hop") != NUMBER(lookup, "next_hop"))
		printf("            the table has changed since: next hop %lld now\n",
			(long long)NUMBER(tables, "next_hop"));
	if (!a)
		return;
	printf("  next hop  %lld at %s: %s", (long long)NUMBER(lookup, "next_hop"),
		TEXT(json_object_get(tables, "word"), "at"),
		TEXT(json_object_get(tables, "word"), "value"));
	if (group)
		printf(", buckets %lld to %lld", (long long)NUMBER(group, "first"),
			(long long)(NUMBER(group, "first") + NUMBER(group, "buckets") - 1));
	putchar('\n');
	if (group)
		printf("  bucket    %lld, flow 0x%08llx\n", (long long)NUMBER(group, "bucket"),
			(unsigned long long)NUMBER(lookup, "flow"));
	printf("  adjacency %lld at %s: %s", (long long)NUMBER(a, "index"), TEXT(a, "at"),
		TEXT(a, "kind"));
	if (TEXT(a, "egress"))
		printf(" by %s, MTU %lld", TEXT(a, "egress"), (long long)NUMBER(a, "mtu"));
	putchar('\n');
}

static void print_rewrite(const json_t *o)
{
	const json_t *before = json_object_get(o, "received");
	const json_t *after = json_object_get(json_object_get(o, "left"), "packet");
	const json_t *a = json_object_get(json_object_get(o, "tables"), "adjacency");

	if (!after) {
		if (TEXT(a, "destination"))
			printf("  rewrite   %s > %s, TTL %lld\n", TEXT(a, "source"),
				TEXT(a, "destination"), (long long)NUMBER(before, "ttl") - 1);
		return;
	}
	printf("  rewrite   %s > %s", TEXT(after, "source_mac"), TEXT(after, "destination_mac"));
	if (json_object_get(before, "vlan") || json_object_get(after, "vlan"))
		printf(", VLAN %lld to %lld", (long long)NUMBER(before, "vlan"),
			(long long)NUMBER(after, "vlan"));
	printf(", TTL %lld to %lld", (long long)NUMBER(before, "ttl"),
		(long long)NUMBER(after, "ttl"));
	if (json_object_get(after, "checksum"))
		printf(", checksum 0x%04llx to 0x%04llx",
			(unsigned long long)NUMBER(before, "checksum"),
			(unsigned long long)NUMBER(after, "checksum"));
	putchar('\n');
}

static void print_ring(const json_t *o)
{
	const json_t *ring = json_object_get(o, "ring"), *left = json_object_get(o, "left");
	const json_int_t slots = NUMBER(json_object_get(o, "tables"), "ring_slots");
	const bool held = !strcmp(TEXT(o, "outcome"), "held");

	if (!ring)
		return;
	printf("  ring      %s to %s", TEXT(o, "nic"), TEXT(ring, "to"));
	if (!held || left)
		printf(", descriptor %lld", (long long)NUMBER(ring, "index"));
	if (slots > 0 && (!held || left))
		printf(" in slot %lld of %lld", (long long)(NUMBER(ring, "index") % slots),
			(long long)slots);
	printf(", epoch %lld%s\n", (long long)NUMBER(ring, "epoch"),
		held ? "; the ring was full, it waited" : "");
	if (!left) {
		printf("  egress    not seen at %s's port within %u ms; `p2pnic show drop` may "
		       "know\n",
			TEXT(ring, "to"), FOLLOW_MS);
		return;
	}
	printf("  egress    %s gave it to its port %.1f us later: ", TEXT(left, "nic"),
		(double)NUMBER(left, "after_ns") * 1e-3);
	print_header(json_object_get(left, "packet"));
}

static void print_packet(const json_t *o)
{
	const json_int_t ns = NUMBER(o, "time_ns");
	const time_t seconds = (time_t)(ns / 1000000000);
	char when[64];
	struct tm t;

	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &t));
	printf("%s.%09lld %s: %s\n", when, (long long)(ns % 1000000000), TEXT(o, "nic"),
		TEXT(o, "outcome"));
	printf("  port      ");
	print_header(json_object_get(o, "received"));
	if (json_object_get(o, "verdict"))
		print_reason("checks", json_object_get(o, "verdict"));
	else
		printf("  checks    passed\n");
	if (json_object_get(o, "lookup"))
		print_lookup(o);
	if (TEXT(o, "tables_error"))
		printf("  tables    %s\n", TEXT(o, "tables_error"));
	if (!json_object_get(o, "reason"))
		print_rewrite(o);
	print_ring(o);
	if (TEXT(o, "class"))
		printf("  punted    to the host, as %s\n", TEXT(o, "class"));
	else if (json_object_get(o, "reason"))
		print_reason("dropped", json_object_get(o, "reason"));
}

static void print(
	const struct trace_run *t, const struct waiting *w, const struct followed *left, bool json)
{
	json_t *o = describe(t, w, left);

	if (json) {
		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_packet(o);
	}
	fflush(stdout);
	json_decref(o);
}

/* --- Command ---------------------------------------------------------------------------------- */

/* Waits for the packet to leave, if it is about to. Others that are received meanwhile wait in the
 * ring. */
static void finish(struct trace_run *t, const struct waiting *w, bool json)
{
	const uint64_t until = now_ms() + FOLLOW_MS;
	const bool leaves = w->record.outcome <= P2PNIC_OUTCOME_HELD &&
			    w->record.peer < t->client.nics &&
			    t->client.nic[w->record.peer].captures;

	while (leaves && !ended) {
		for (unsigned k = 0; k < t->followed_count; k++) {
			struct followed left = t->followed[k];

			if (!is_same(&left, &w->record, w->nic))
				continue;
			memmove(&t->followed[k], &t->followed[k + 1],
				(--t->followed_count - k) * sizeof(left));
			print(t, w, &left, json);
			return;
		}
		if (now_ms() >= until)
			break;
		/* Only the egress NIC's records are taken: those of others stay in order. */
		struct capture_nic *n = &t->client.nic[w->record.peer];

		capture_client_next(&t->client);
		if (n->ready && n->record.point == P2PNIC_CAPTURE_FOLLOW) {
			n->ready = false;
			keep_followed(t, w->record.peer);
		} else if (!capture_client_wait(&t->client, 1)) {
			break;
		}
	}
	print(t, w, NULL, json);
}

static void run(struct trace_run *t, unsigned long count, bool json)
{
	for (unsigned long packets = 0; packets < count && !ended;) {
		const int k = next_record(t);
		const struct capture_nic *n = k < 0 ? NULL : &t->client.nic[k];
		struct waiting w;

		if (n) {
			w = (struct waiting){.nic = (unsigned)k, .record = n->record};
			memcpy(w.frame, n->frame,
				n->record.captured < sizeof(w.frame) ? n->record.captured
								     : sizeof(w.frame));
			finish(t, &w, json);
			packets++;
		} else if (!capture_client_wait(&t->client, 1)) {
			fprintf(stderr, "p2pnic trace: the router has ended it\n");
			break;
		}
	}
}

int command_trace(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct which_router router = {.command = "trace"};
	json_t *how =
		json_pack("{s:s,s:[s],s:i}", "by", "p2pnic trace", "points", "trace", "snap", 128);
	json_t *nics = json_array();
	struct trace_run t = {.router = &router};
	unsigned long count = 1;
	bool json = false;
	char filter[1024];
	struct error error;
	struct command_line line;
	int option, status = COMMAND_USAGE;

	command_begin(&line, &trace_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case 'c':
			if (!command_number(optarg, 1, 1ul << 30, &count)) {
				fprintf(stderr, "p2pnic trace: --count '%s': want 1 to %lu\n",
					optarg, 1ul << 30);
				goto out;
			}
			break;
		case 'i':
			json_array_append_new(nics, json_string(optarg));
			break;
		case 'j':
			json = true;
			break;
		default:
			if (!which_router_option(&router, option, optarg))
				goto out;
		}
	}
	if (line.status != COMMAND_GO) {
		status = line.status;
		goto out;
	}
	if (!capture_filter("trace", argv + optind, how, filter, sizeof(filter)))
		goto out;
	if (json_array_size(nics))
		json_object_set(how, "nics", nics);
	json_object_set_new(how, "limit", json_integer((json_int_t)count));
	status = COMMAND_FAILED;
	which_router_settle(&router);
	t.followed = calloc(FOLLOWED_MAX, sizeof(*t.followed));
	if (!t.followed) {
		fprintf(stderr, "p2pnic trace: %s\n", strerror(ENOMEM));
		goto out;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (capture_client_begin(&t.client, &router, json_incref(how), &error)) {
		fprintf(stderr, "p2pnic trace: %s\n", error.text);
		goto out;
	}
	run(&t, count, json);
	capture_client_end(&t.client);
	status = COMMAND_OK;
out:
	free(t.followed);
	json_decref(nics);
	json_decref(how);
	return status;
}
