/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_fib.h"

#include <jansson.h>
#include <stdio.h>

#include "fib/check.h"
#include "firmware/fib_lookup.h"

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
	result = fib_made(
		json_pack("{s:I, s:b, s:I, s:I, s:I, s:I}", "routes", (json_int_t)fib_routes(fib),
			"valid", valid, "boundary_addresses", (json_int_t)boundaries,
			"random_addresses", (json_int_t)(check.addresses - boundaries), "lookups",
			(json_int_t)check.lookups, "mismatches", (json_int_t)check.mismatches));
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

static void print_check(const char *family, const json_t *c)
{
	const json_t *first = json_object_get(c, "first");

#define NUMBER(of, name) json_integer_value(json_object_get(of, name))
	printf("%s: %lld routes, %lld boundary and %lld random addresses, %lld lookups, "
	       "%lld mismatches%s\n",
		family, NUMBER(c, "routes"), NUMBER(c, "boundary_addresses"),
		NUMBER(c, "random_addresses"), NUMBER(c, "lookups"), NUMBER(c, "mismatches"),
		json_is_true(json_object_get(c, "valid")) ? "" : ", image invalid");
	if (first)
		printf("  first: %s, %s says %lld, the twin %lld\n",
			json_string_value(json_object_get(first, "address")),
			json_string_value(json_object_get(first, "version")),
			NUMBER(first, "next_hop"), NUMBER(first, "twin"));
#undef NUMBER
}

int fib_check(const struct fib_options *o, int argc, char **argv)
{
	struct route_table table = {0};
	json_t *result = fib_made(json_object()), *one;
	int status = COMMAND_FAILED;
	bool good = true;
	const char *key;

	if (!result)
		return status;
	json_object_set_new(result, "seed", json_integer((json_int_t)o->seed));
	for (int i = 0; i < argc; i++)
		if (fib_read_table(o, argv[i], &table))
			goto out;
	for (unsigned family = 4; family <= 6; family += 2) {
		const struct route_list *list = family == 4 ? &table.ipv4 : &table.ipv6;

		if (!list->n)
			continue;
		one = check_family(o, family, list, &good);
		if (!one)
			goto out;
		json_object_set_new(result, family == 4 ? "ipv4" : "ipv6", one);
	}
	json_object_foreach(result, key, one) if (!o->json && json_is_object(one))
		print_check(key, one);
	if (o->json)
		fib_print_json(result);
	status = good ? COMMAND_OK : fib_fail("fib: the image does not answer as the naive twin");
out:
	json_decref(result);
	route_table_free(&table);
	return status;
}
