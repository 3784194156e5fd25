/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_fib.h"

#include <jansson.h>
#include <stdio.h>

#include "fib/check.h"
#include "fib/trace.h"
#include "ipc/clock.h"

static const char *const kind_name[] = {
	[P2PNIC_FIB_STATE_JUMP] = "state-jump",
	[P2PNIC_FIB_LINE_TRIE] = "line-trie",
};

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

static json_t *stat_family(
	const struct fib_options *o, unsigned family, const struct route_list *list)
{
	struct cost uniform = {0}, covered = {0};
	struct trace_part part[16];
	uint64_t random = o->seed, bytes;
	const unsigned samples = 1u << 20;
	double start = clock_now_seconds(), built;
	struct fib *fib = fib_of_list(o, family, list);
	struct trace trace;
	json_t *parts, *result;
	unsigned n;

	if (!fib)
		return NULL;
	built = clock_now_seconds() - start;
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
	return fib_made(result);
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

int fib_stat(const struct fib_options *o, int argc, char **argv)
{
	struct route_table table = {0};
	json_t *result = fib_made(json_object()), *one;
	int status = COMMAND_FAILED;
	uint64_t together = 0;

	if (!result)
		return status;
	json_object_set_new(result, "table", json_string(kind_name[o->kind]));
	json_object_set_new(result, "next_hops", json_integer(o->next_hops));
	for (int i = 0; i < argc; i++)
		if (fib_read_table(o, argv[i], &table))
			goto out;
	json_object_set_new(result, "named_next_hops", json_integer((json_int_t)table.named));
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
		fib_print_json(result);
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
