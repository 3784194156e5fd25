/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/fib.h"

#include <jansson.h>
#include <stdio.h>

#include "fib/check.h"
#include "firmware/fib.h"

static json_t *check_family(
	const struct fib_options *o, unsigned family, const struct route_list *list, bool *good)
{
	char text[ROUTE_TEXT_BYTES];
	struct check check = {0};
	struct fib *fib = fib_of_list(o, family, list);
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
		fib_fail("fib: out of memory for the naive twin");
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

int fib_check(const struct fib_options *o, int argc, char **argv)
{
	struct route_table table = {0};
	json_t *result = json_object(), *one;
	bool good = true;
	const char *key;

	json_object_set_new(result, "seed", json_integer((json_int_t)o->seed));
	for (int i = 0; i < argc && good; i++)
		good = !fib_read_table(o, argv[i], &table);
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
