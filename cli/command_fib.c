/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fib/check.h"
#include "fib/fib.h"
#include "fib/route_file.h"
#include "fib/synthetic.h"
#include "fib/trace.h"
#include "firmware/fib.h"

static const char usage_text[] =
	"usage: p2pnic fib stat   [OPTION...] FILE...            size by part, cost of a lookup\n"
	"       p2pnic fib lookup [OPTION...] FILE... ADDRESS... next hop and the path to it\n"
	"       p2pnic fib check  [OPTION...] FILE...            every boundary against the naive "
	"twin\n"
	"       p2pnic fib diff   [OPTION...] OLD NEW            routes changed, and what the "
	"patch costs\n"
	"       p2pnic fib synthesize [--seed N]                 a table of the Internet's shape, "
	"as text\n"
	"\n"
	"FILE holds a route a line, 'PREFIX ASN' or 'PREFIX NEXTHOP', IPv4 or IPv6, plain or xz;\n"
	"'synthetic' stands for a made-up table of the Internet's shape.\n"
	"\n"
	"  -j, --json          print JSON\n"
	"  -k, --next-hops K   next hops that AS numbers are spread over (64)\n"
	"  -t, --table TABLE   line-trie (default) or state-jump\n"
	"  -m, --memory BYTES  room for each image (8388608; state-jump 67108864, for two copies)\n"
	"  -r, --random N      check: random addresses for each family (1000000)\n"
	"  -s, --seed N        of random addresses and of a synthetic table (1)\n";

struct options {
	bool json;
	unsigned next_hops;
	unsigned kind;
	uint64_t memory, random, seed;
};

static const char *const kind_name[] = {
	[P2PNIC_FIB_STATE_JUMP] = "state-jump",
	[P2PNIC_FIB_LINE_TRIE] = "line-trie",
};

static int fail(const char *error)
{
	fprintf(stderr, "p2pnic %s\n", error);
	return COMMAND_FAILED;
}

static int read_table(const struct options *o, const char *path, struct route_table *table)
{
	char error[FIB_ERROR_BYTES];
	int status;

	if (!strcmp(path, "synthetic")) {
		status = synthetic_table(table, o->next_hops, o->seed);
		snprintf(error, sizeof error, "synthetic table: %s", strerror(-status));
	} else {
		status = route_file_read(path, o->next_hops, table, error);
	}
	if (status)
		fprintf(stderr, "p2pnic fib: %s\n", error);
	return status;
}

static struct fib *build(const struct options *o, unsigned family, const struct route_list *list)
{
	const struct fib_config config = {family, o->kind, o->memory};
	char error[FIB_ERROR_BYTES];
	struct fib *fib = fib_new(&config, error);

	if (fib && fib_build(fib, list->route, list->n, error)) {
		fib_free(fib);
		fib = NULL;
	}
	if (!fib)
		fail(error);
	return fib;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- stat ----------------------------------------------------------------------------------------- */

struct cost {
	double reads, bytes, lines; /* mean */
	unsigned most_reads, most_bytes, most_lines;
};

static void cost_add(struct cost *cost, const struct trace *trace, double weight)
{
	cost->reads += trace->reads * weight;
	cost->bytes += trace->bytes * weight;
	cost->lines += trace->lines * weight;
	if (trace->reads > cost->most_reads)
		cost->most_reads = trace->reads;
	if (trace->bytes > cost->most_bytes)
		cost->most_bytes = trace->bytes;
	if (trace->lines > cost->most_lines)
		cost->most_lines = trace->lines;
}

static json_t *cost_json(const struct cost *cost)
{
	return json_pack("{s:f, s:i, s:f, s:i, s:f, s:i}", "reads_mean", cost->reads, "reads_worst",
		(int)cost->most_reads, "bytes_mean", cost->bytes, "bytes_worst",
		(int)cost->most_bytes, "lines_mean", cost->lines, "lines_worst",
		(int)cost->most_lines);
}

static json_t *stat_family(const struct options *o, unsigned family, const struct route_list *list)
{
	struct cost uniform = {0}, covered = {0};
	struct trace_part part[16];
	uint64_t random = o->seed, bytes;
	const unsigned samples = 1u << 20;
	double start = seconds(), built;
	struct fib *fib = build(o, family, list);
	struct trace trace;
	json_t *parts, *result;
	unsigned n;

	if (!fib)
		return NULL;
	built = seconds() - start;
	for (unsigned i = 0; i < samples; i++) {
		struct fib_ipv6 a = {check_random(&random), check_random(&random)};

		if (family == 6) /* 2000::/3, the unicast addresses in use */
			a.high = a.high >> 3 | 1ull << 61;
		trace_lookup(fib, a, &trace);
		cost_add(&uniform, &trace, 1.0 / samples);
	}
	for (size_t i = 0; i < list->n; i++) {
		trace_lookup(fib, check_inside(&list->route[i], &random), &trace);
		cost_add(&covered, &trace, 1.0 / (double)list->n);
	}
	fib_image(fib, &bytes);
	parts = json_array();
	n = trace_parts(fib, part, 16);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(parts,
			json_pack("{s:s, s:I, s:I}", "part", part[i].name, "count",
				(json_int_t)part[i].count, "bytes", (json_int_t)part[i].bytes));
	result = json_pack("{s:I, s:I, s:f, s:o, s:{s:o, s:o}}", "routes",
		(json_int_t)fib_routes(fib), "image_bytes", (json_int_t)bytes, "build_seconds",
		built, "parts", parts, "lookup", "uniform", cost_json(&uniform), "covered",
		cost_json(&covered));
	fib_free(fib);
	return result;
}

static void print_cost(const json_t *lookup, const char *traffic)
{
	const json_t *c = json_object_get(lookup, traffic);

#define NUMBER(key) json_number_value(json_object_get(c, key))
	printf("  lookup, %-8s dependent reads %.2f mean %2.0f worst, bytes %5.1f mean %3.0f "
	       "worst, "
	       "lines %.2f mean %2.0f worst\n",
		traffic, NUMBER("reads_mean"), NUMBER("reads_worst"), NUMBER("bytes_mean"),
		NUMBER("bytes_worst"), NUMBER("lines_mean"), NUMBER("lines_worst"));
#undef NUMBER
}

static void print_stat(const char *family, const json_t *s)
{
	const json_t *lookup = json_object_get(s, "lookup"), *part;
	double bytes = json_number_value(json_object_get(s, "image_bytes"));
	size_t i;

	printf("%s: %lld routes, image %.0f bytes (%.3f MiB), built in %.3f s\n", family,
		json_integer_value(json_object_get(s, "routes")), bytes, bytes / 1048576,
		json_number_value(json_object_get(s, "build_seconds")));
	json_array_foreach(json_object_get(s, "parts"), i, part) printf(
		"  %-18s %8lld %10lld bytes\n", json_string_value(json_object_get(part, "part")),
		json_integer_value(json_object_get(part, "count")),
		json_integer_value(json_object_get(part, "bytes")));
	print_cost(lookup, "uniform");
	print_cost(lookup, "covered");
}

static int fib_stat(const struct options *o, int argc, char **argv)
{
	struct route_table table = {0};
	json_t *result = json_object(), *one;
	int status = COMMAND_FAILED;
	uint64_t together = 0;

	json_object_set_new(result, "table", json_string(kind_name[o->kind]));
	json_object_set_new(result, "next_hops", json_integer(o->next_hops));
	for (int i = 0; i < argc; i++)
		if (read_table(o, argv[i], &table))
			goto out;
	for (unsigned family = 4; family <= 6; family += 2) {
		const struct route_list *list = family == 4 ? &table.ipv4 : &table.ipv6;

		if (!list->n)
			continue;
		one = stat_family(o, family, list);
		if (!one)
			goto out;
		together += (uint64_t)json_integer_value(json_object_get(one, "image_bytes"));
		json_object_set_new(result, family == 4 ? "ipv4" : "ipv6", one);
	}
	json_object_set_new(result, "image_bytes", json_integer((json_int_t)together));
	if (o->json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		if ((one = json_object_get(result, "ipv4")))
			print_stat("IPv4", one);
		if ((one = json_object_get(result, "ipv6")))
			print_stat("IPv6", one);
		printf("together: %llu bytes (%.3f MiB)\n", (unsigned long long)together,
			(double)together / 1048576);
	}
	status = COMMAND_OK;
out:
	json_decref(result);
	route_table_free(&table);
	return status;
}

/* --- lookup --------------------------------------------------------------------------------------- */

struct longest {
	struct fib_ipv6 address;
	struct fib_route route;
	bool found;
};

/* Routes come ascending and shorter first, so the last that covers the address is the longest. */
static void see_route(void *context, const struct fib_route *route)
{
	struct longest *longest = context;
	unsigned length = route->length;
	uint64_t high = length >= 64 ? ~0ull : ~(~0ull >> length);
	uint64_t low = length <= 64 ? 0 : length >= 128 ? ~0ull : ~(~0ull >> (length - 64));

	if ((longest->address.high & high) == route->prefix.high &&
		(longest->address.low & low) == route->prefix.low) {
		longest->route = *route;
		longest->found = true;
	}
}

static json_t *lookup_one(const struct route_table *table, const struct fib *fib, unsigned family,
	struct fib_ipv6 address)
{
	struct longest longest = {.address = address};
	char text[ROUTE_TEXT_BYTES];
	json_t *steps = json_array(), *result;
	struct trace trace;

	trace_lookup(fib, address, &trace);
	fib_each(fib, see_route, &longest);
	for (unsigned i = 0; i < trace.steps; i++) {
		const struct trace_step *s = &trace.step[i];

		json_array_append_new(steps,
			json_pack("{s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:i}", "what", s->what,
				"offset", (json_int_t)s->offset, "depth", (int)s->depth, "bits",
				(int)s->bits, "runs", (int)s->runs, "reads", (int)s->reads, "bytes",
				(int)s->bytes, "lines", (int)s->lines));
	}
	result = json_pack("{s:s, s:i, s:o}", "address", route_text(text, family, address, 255),
		"next_hop", (int)trace.next_hop, "path", steps);
	if (longest.found)
		json_object_set_new(result, "route",
			json_string(route_text(
				text, family, longest.route.prefix, longest.route.length)));
	if (trace.next_hop && trace.next_hop <= table->next_hops)
		json_object_set_new(result, "next_hop_address",
			json_string(
				route_text(text, table->next_hop[trace.next_hop - 1].low ? 6 : 4,
					table->next_hop[trace.next_hop - 1], 255)));
	return result;
}

static void print_lookup(const json_t *r)
{
	const char *route = json_string_value(json_object_get(r, "route"));
	const char *via = json_string_value(json_object_get(r, "next_hop_address"));
	const json_t *s;
	size_t i;

	printf("%s: ", json_string_value(json_object_get(r, "address")));
	if (route)
		printf("next hop %lld%s%s, by %s\n",
			json_integer_value(json_object_get(r, "next_hop")), via ? " = " : "",
			via ? via : "", route);
	else
		printf("no route\n");
#define NUMBER(key) json_integer_value(json_object_get(s, key))
	json_array_foreach(json_object_get(r, "path"), i, s)
		printf("  bits %3lld-%-3lld %-18s at 0x%06llx  %3lld runs  %lld reads %3lld bytes "
		       "%lld lines\n",
			NUMBER("depth"), NUMBER("depth") + NUMBER("bits"),
			json_string_value(json_object_get(s, "what")), NUMBER("offset"),
			NUMBER("runs"), NUMBER("reads"), NUMBER("bytes"), NUMBER("lines"));
#undef NUMBER
}

static int fib_lookup_command(const struct options *o, int argc, char **argv)
{
	struct route_table table = {0};
	struct fib *fib[2] = {NULL, NULL};
	json_t *result = json_array();
	int status = COMMAND_FAILED, files = 0;
	struct fib_ipv6 address;
	unsigned length;
	json_t *row;
	size_t k;

	while (files < argc && !route_parse_prefix(argv[files], &address, &length))
		files++;
	if (!files || files == argc) {
		fputs(usage_text, stderr);
		status = COMMAND_USAGE;
		goto out;
	}
	for (int i = 0; i < files; i++)
		if (read_table(o, argv[i], &table))
			goto out;
	for (int i = files; i < argc; i++) {
		unsigned family = route_parse_prefix(argv[i], &address, &length);
		unsigned at = family == 6;

		if (!family || strchr(argv[i], '/')) {
			fprintf(stderr, "p2pnic fib: '%s' is no address\n", argv[i]);
			goto out;
		}
		if (!fib[at])
			fib[at] = build(o, family, at ? &table.ipv6 : &table.ipv4);
		if (!fib[at])
			goto out;
		json_array_append_new(result, lookup_one(&table, fib[at], family, address));
	}
	if (o->json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach(result, k, row) print_lookup(row);
	}
	status = COMMAND_OK;
out:
	fib_free(fib[0]);
	fib_free(fib[1]);
	json_decref(result);
	route_table_free(&table);
	return status;
}

/* --- check ---------------------------------------------------------------------------------------- */

static json_t *check_family(
	const struct options *o, unsigned family, const struct route_list *list, bool *good)
{
	char text[ROUTE_TEXT_BYTES];
	struct check check = {0};
	struct fib *fib = build(o, family, list);
	struct naive twin = {0};
	uint64_t boundaries = 0;
	json_t *result = NULL;
	const void *image;
	bool valid;
	int status;

	if (!fib)
		return NULL;
	status = naive_open(&twin);
	for (size_t i = 0; i < list->n && !status; i++)
		status = naive_set(&twin, &list->route[i]);
	if (status) {
		fail("fib: out of memory for the naive twin");
		goto out;
	}
	image = fib_image(fib, NULL);
	valid = fib_image_valid(image, o->memory, family);
	check_boundaries(image, family, &twin, list->route, list->n, &check);
	boundaries = check.addresses;
	check_random_addresses(
		image, family, &twin, list->route, list->n, o->random, o->seed, &check);
	if (!valid || check.mismatches)
		*good = false;
	result = json_pack("{s:I, s:b, s:I, s:I, s:I, s:I}", "routes", (json_int_t)fib_routes(fib),
		"valid", valid, "boundary_addresses", (json_int_t)boundaries, "random_addresses",
		(json_int_t)(check.addresses - boundaries), "lookups", (json_int_t)check.lookups,
		"mismatches", (json_int_t)check.mismatches);
	if (check.mismatches)
		json_object_set_new(result, "first",
			json_pack("{s:s, s:s, s:i, s:i}", "address",
				route_text(text, family, check.address, 255), "version",
				check.version, "next_hop", (int)check.got, "twin",
				(int)check.wanted));
out:
	naive_close(&twin);
	fib_free(fib);
	return result;
}

static int fib_check(const struct options *o, int argc, char **argv)
{
	struct route_table table = {0};
	json_t *result = json_object(), *one;
	bool good = true;
	const char *key;

	json_object_set_new(result, "seed", json_integer((json_int_t)o->seed));
	for (int i = 0; i < argc && good; i++)
		good = !read_table(o, argv[i], &table);
	for (unsigned family = 4; family <= 6 && good; family += 2) {
		const struct route_list *list = family == 4 ? &table.ipv4 : &table.ipv6;

		if (!list->n)
			continue;
		one = check_family(o, family, list, &good);
		if (one)
			json_object_set_new(result, family == 4 ? "ipv4" : "ipv6", one);
		else
			good = false;
	}
	if (o->json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_object_foreach(result, key, one)
		{
			const json_t *first = json_object_get(one, "first");

			if (!json_is_object(one))
				continue;
			printf("%s: %lld routes, %lld boundary and %lld random addresses, %lld "
			       "lookups, "
			       "%lld mismatches%s\n",
				key, json_integer_value(json_object_get(one, "routes")),
				json_integer_value(json_object_get(one, "boundary_addresses")),
				json_integer_value(json_object_get(one, "random_addresses")),
				json_integer_value(json_object_get(one, "lookups")),
				json_integer_value(json_object_get(one, "mismatches")),
				json_is_true(json_object_get(one, "valid")) ? ""
									    : ", image invalid");
			if (first)
				printf("  first: %s, %s says %lld, the twin %lld\n",
					json_string_value(json_object_get(first, "address")),
					json_string_value(json_object_get(first, "version")),
					json_integer_value(json_object_get(first, "next_hop")),
					json_integer_value(json_object_get(first, "twin")));
		}
	}
	json_decref(result);
	route_table_free(&table);
	return good ? COMMAND_OK : COMMAND_FAILED;
}

/* --- diff ----------------------------------------------------------------------------------------- */

struct changes {
	const struct route_list *old; /* sorted as fib_each gives them */
	struct route_list list;
	size_t at;
	uint64_t added, removed, replaced;
	bool failed;
};

static int order(const struct fib_route *a, const struct fib_route *b)
{
	if (a->prefix.high != b->prefix.high)
		return a->prefix.high < b->prefix.high ? -1 : 1;
	if (a->prefix.low != b->prefix.low)
		return a->prefix.low < b->prefix.low ? -1 : 1;
	return (int)a->length - (int)b->length;
}

static void change_add(struct changes *c, const struct fib_route *route, uint16_t next_hop)
{
	struct fib_route change = *route;

	change.next_hop = next_hop;
	c->failed |= route_list_add(&c->list, &change, 0) != 0;
}

static void remove_before(struct changes *c, const struct fib_route *route)
{
	for (; c->at < c->old->n && (!route || order(&c->old->route[c->at], route) < 0); c->at++) {
		change_add(c, &c->old->route[c->at], 0);
		c->removed++;
	}
}

static void see_new(void *context, const struct fib_route *route)
{
	struct changes *c = context;

	remove_before(c, route);
	if (c->at < c->old->n && !order(&c->old->route[c->at], route)) {
		if (c->old->route[c->at++].next_hop == route->next_hop)
			return;
		c->replaced++;
	} else {
		c->added++;
	}
	change_add(c, route, route->next_hop);
}

static void see_old(void *context, const struct fib_route *route)
{
	route_list_add(context, route, 0);
}

static json_t *diff_family(const struct options *o, unsigned family,
	const struct route_list *old_list, const struct route_list *new_list)
{
	struct fib *old = build(o, family, old_list), *new = build(o, family, new_list);
	uint64_t old_bytes, new_bytes, bytes, patch_bytes = 0, epoch = 0, writes = 0;
	struct route_list sorted = {0};
	struct changes changes = {.old = &sorted};
	const size_t batch = 256;
	char error[FIB_ERROR_BYTES];
	json_t *result = NULL;
	double start, spent;
	bool failed = false;

	if (!old || !new)
		goto out;
	fib_each(old, see_old, &sorted);
	fib_each(new, see_new, &changes);
	remove_before(&changes, NULL);
	fib_image(old, &old_bytes);
	fib_image(new, &new_bytes);
	start = seconds();
	for (size_t i = 0; i < changes.list.n && !failed; i += batch) {
		size_t n = changes.list.n - i < batch ? changes.list.n - i : batch;
		const struct fib_patch *patch;

		fib_epoch_passed(old, epoch);
		failed = fib_change(old, changes.list.route + i, n, &patch, error) != 0;
		if (!failed) {
			epoch = patch->epoch;
			patch_bytes += patch->bytes;
			writes += patch->writes;
		}
	}
	spent = seconds() - start;
	fib_epoch_passed(old, epoch);
	if (failed || changes.failed) {
		fail(failed ? error : "fib: out of memory");
		goto out;
	}
	fib_image(old, &bytes);
	result = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "added",
		(json_int_t)changes.added, "removed", (json_int_t)changes.removed, "replaced",
		(json_int_t)changes.replaced, "patch_bytes", (json_int_t)patch_bytes,
		"patch_writes", (json_int_t)writes, "old_image_bytes", (json_int_t)old_bytes,
		"image_bytes", (json_int_t)bytes, "fresh_image_bytes", (json_int_t)new_bytes,
		"seconds", spent);
out:
	free(sorted.route);
	free(sorted.asn);
	free(changes.list.route);
	free(changes.list.asn);
	fib_free(old);
	fib_free(new);
	return result;
}

static int fib_diff(const struct options *o, int argc, char **argv)
{
	struct route_table old = {0}, new = {0};
	json_t *result = json_object(), *one;
	int status = COMMAND_FAILED;
	const char *key;

	if (argc != 2) {
		fputs(usage_text, stderr);
		json_decref(result);
		return COMMAND_USAGE;
	}
	if (read_table(o, argv[0], &old) || read_table(o, argv[1], &new))
		goto out;
	for (unsigned family = 4; family <= 6; family += 2) {
		const struct route_list *from = family == 4 ? &old.ipv4 : &old.ipv6;
		const struct route_list *to = family == 4 ? &new.ipv4 : &new.ipv6;

		if (!from->n && !to->n)
			continue;
		one = diff_family(o, family, from, to);
		if (!one)
			goto out;
		json_object_set_new(result, family == 4 ? "ipv4" : "ipv6", one);
	}
	if (o->json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
#define NUMBER(name) json_integer_value(json_object_get(one, name))
		json_object_foreach(result, key, one) printf(
			"%s: %lld added, %lld removed, %lld replaced; patches of 256 changes: "
			"%lld bytes, %lld writes, %.3f s; image %lld bytes, then %lld (fresh: "
			"%lld)\n",
			key, NUMBER("added"), NUMBER("removed"), NUMBER("replaced"),
			NUMBER("patch_bytes"), NUMBER("patch_writes"),
			json_number_value(json_object_get(one, "seconds")),
			NUMBER("old_image_bytes"), NUMBER("image_bytes"),
			NUMBER("fresh_image_bytes"));
#undef NUMBER
	}
	status = COMMAND_OK;
out:
	json_decref(result);
	route_table_free(&old);
	route_table_free(&new);
	return status;
}

static int fib_synthesize(const struct options *o)
{
	struct route_table table = {0};
	char text[ROUTE_TEXT_BYTES];

	if (read_table(o, "synthetic", &table))
		return COMMAND_FAILED;
	for (unsigned six = 0; six < 2; six++) {
		const struct route_list *list = six ? &table.ipv6 : &table.ipv4;

		for (size_t i = 0; i < list->n; i++)
			printf("%s %u\n",
				route_text(text, list->route[i].family, list->route[i].prefix,
					list->route[i].length),
				list->asn[i]);
	}
	route_table_free(&table);
	return COMMAND_OK;
}

/* --- ---------------------------------------------------------------------------------------------- */

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
	char *end;

	*value = strtoull(text, &end, 0);
	if (*text >= '0' && *text <= '9' && !*end && *value >= least && *value <= most)
		return true;
	fprintf(stderr, "p2pnic fib: '%s' is not a number from %llu to %llu\n", text,
		(unsigned long long)least, (unsigned long long)most);
	return false;
}

int command_fib(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'},
		{"next-hops", required_argument, NULL, 'k'},
		{"table", required_argument, NULL, 't'},
		{"memory", required_argument, NULL, 'm'},
		{"random", required_argument, NULL, 'r'},
		{"seed", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options o = {.next_hops = ROUTE_FILE_NEXT_HOPS_DEFAULT,
		.kind = P2PNIC_FIB_LINE_TRIE,
		.random = 1000000,
		.seed = 1};
	const char *what;
	uint64_t value;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "jk:t:m:r:s:h", long_options, NULL)) != -1) {
		bool good = true;

		switch (c) {
		case 'j':
			o.json = true;
			break;
		case 'k':
			good = number(optarg, 1, P2PNIC_NEXT_HOPS_MAX - 1, &value);
			o.next_hops = (unsigned)value;
			break;
		case 't':
			good = !strcmp(optarg, "line-trie") || !strcmp(optarg, "state-jump");
			o.kind = optarg[0] == 'l' ? P2PNIC_FIB_LINE_TRIE : P2PNIC_FIB_STATE_JUMP;
			if (!good)
				fprintf(stderr, "p2pnic fib: no table '%s'\n", optarg);
			break;
		case 'm':
			good = number(optarg, 1, 1ull << 32, &o.memory);
			break;
		case 'r':
			good = number(optarg, 0, UINT64_MAX, &o.random);
			break;
		case 's':
			good = number(optarg, 0, UINT64_MAX, &o.seed);
			break;
		case 'h':
			fputs(usage_text, stdout);
			return COMMAND_OK;
		default:
			good = false;
		}
		if (!good)
			return COMMAND_USAGE;
	}
	if (!o.memory)
		o.memory = o.kind == P2PNIC_FIB_LINE_TRIE ? 8u << 20 : 64u << 20;
	what = optind < argc ? argv[optind++] : "";
	argc -= optind;
	argv += optind;
	if (!strcmp(what, "synthesize") && !argc)
		return fib_synthesize(&o);
	if (argc) {
		if (!strcmp(what, "stat"))
			return fib_stat(&o, argc, argv);
		if (!strcmp(what, "lookup"))
			return fib_lookup_command(&o, argc, argv);
		if (!strcmp(what, "check"))
			return fib_check(&o, argc, argv);
		if (!strcmp(what, "diff"))
			return fib_diff(&o, argc, argv);
	}
	fputs(usage_text, stderr);
	return COMMAND_USAGE;
}
