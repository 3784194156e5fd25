/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_fib.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "fib/trace.h"

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
	const struct route_next_hop *via;
	struct trace trace;

	trace_lookup(fib, address, &trace);
	via = route_table_named(table, trace.next_hop);
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
	if (via)
		json_object_set_new(result, "next_hop_address",
			json_string(route_text(text, via->family, via->address, 255)));
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

int fib_lookup_command(const struct fib_options *o, int argc, char **argv)
{
	struct route_table table = {0};
	struct fib *fib[2] = {NULL, NULL};
	json_t *result = fib_made(json_array());
	int status = COMMAND_FAILED, files = 0;
	struct fib_ipv6 address;
	unsigned length;
	json_t *row;
	size_t k;

	if (!result)
		return status;
	while (files < argc && !route_parse_prefix(argv[files], &address, &length))
		files++;
	if (!files || files == argc) {
		fprintf(stderr, "p2pnic fib: lookup wants files, then addresses; '%s' is %s\n",
			argv[files ? argc - 1 : 0], files ? "no address" : "no file");
		status = COMMAND_USAGE;
		goto out;
	}
	for (int i = files; i < argc; i++)
		if (!route_parse_prefix(argv[i], &address, &length) || strchr(argv[i], '/')) {
			fprintf(stderr, "p2pnic fib: '%s' is no address\n", argv[i]);
			goto out;
		}
	for (int i = 0; i < files; i++)
		if (fib_read_table(o, argv[i], &table))
			goto out;
	for (int i = files; i < argc; i++) {
		unsigned family = route_parse_prefix(argv[i], &address, &length);
		unsigned at = family == 6;

		if (!fib[at])
			fib[at] = fib_of_list(o, family, at ? &table.ipv6 : &table.ipv4);
		if (!fib[at])
			goto out;
		row = fib_made(lookup_one(&table, fib[at], family, address));
		if (!row)
			goto out;
		json_array_append_new(result, row);
	}
	status = COMMAND_OK;
	json_array_foreach(result, k, row) if (!o->json) print_lookup(row);
	if (o->json)
		fib_print_json(result);
out:
	fib_free(fib[0]);
	fib_free(fib[1]);
	json_decref(result);
	route_table_free(&table);
	return status;
}
