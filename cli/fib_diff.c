/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/command_fib.h"
#include "ipc/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

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

static json_t *diff_family(const struct fib_options *o, unsigned family,
	const struct route_list *old_list, const struct route_list *new_list)
{
	struct fib *old = fib_of_list(o, family, old_list), *new = fib_of_list(o, family, new_list);
	uint64_t old_bytes, new_bytes, bytes, patch_bytes = 0, epoch = 0, writes = 0;
	struct route_list sorted = {0};
	struct changes changes = {.old = &sorted};
	const size_t batch = 256;
	struct error error;
	json_t *result = NULL;
	double start, spent;
	bool failed = false;

	if (!old || !new)
		goto out;
	fib_each(old, see_old, &sorted);
	changes.failed = sorted.n != fib_routes(old);
	fib_each(new, see_new, &changes);
	remove_before(&changes, NULL);
	fib_image(old, &old_bytes);
	fib_image(new, &new_bytes);
	start = clock_now_seconds();
	for (size_t i = 0; i < changes.list.n && !failed; i += batch) {
		size_t n = changes.list.n - i < batch ? changes.list.n - i : batch;
		const struct fib_patch *patch;

		fib_epoch_passed(old, epoch);
		failed = fib_change(old, changes.list.route + i, n, &patch, &error) != 0;
		if (!failed) {
			epoch = patch->epoch;
			patch_bytes += patch->bytes;
			writes += patch->writes;
		}
	}
	spent = clock_now_seconds() - start;
	fib_epoch_passed(old, epoch);
	if (failed || changes.failed) {
		fib_fail(failed ? error.text : "fib: out of memory");
		goto out;
	}
	fib_image(old, &bytes);
	result = fib_made(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "added",
		(json_int_t)changes.added, "removed", (json_int_t)changes.removed, "replaced",
		(json_int_t)changes.replaced, "patch_bytes", (json_int_t)patch_bytes,
		"patch_writes", (json_int_t)writes, "old_image_bytes", (json_int_t)old_bytes,
		"image_bytes", (json_int_t)bytes, "fresh_image_bytes", (json_int_t)new_bytes,
		"seconds", spent));
out:
	free(sorted.route);
	free(sorted.asn);
	free(changes.list.route);
	free(changes.list.asn);
	fib_free(old);
	fib_free(new);
	return result;
}

/* What one file added to a list. */
static struct route_list part(const struct route_list *all, size_t from, size_t to)
{
	return (struct route_list){.route = all->route + from, .n = to - from};
}

int fib_diff(const struct fib_options *o, int argc, char **argv)
{
	struct route_table table = {0}; /* of both files: one next hop has one number */
	json_t *result = fib_made(json_object()), *one;
	int status = COMMAND_FAILED;
	const char *key;
	size_t n[2];

	if (!result)
		return status;
	if (argc != 2) {
		json_decref(result);
		return fib_usage(o);
	}
	if (fib_read_table(o, argv[0], &table))
		goto out;
	n[0] = table.ipv4.n;
	n[1] = table.ipv6.n;
	if (fib_read_table(o, argv[1], &table))
		goto out;
	for (unsigned six = 0; six < 2; six++) {
		const struct route_list *all = six ? &table.ipv6 : &table.ipv4;
		const struct route_list from = part(all, 0, n[six]), to = part(all, n[six], all->n);

		if (!all->n)
			continue;
		one = diff_family(o, six ? 6 : 4, &from, &to);
		if (!one)
			goto out;
		json_object_set_new(result, six ? "ipv6" : "ipv4", one);
	}
#define NUMBER(name) json_integer_value(json_object_get(one, name))
	json_object_foreach(result, key, one) if (!o->json) printf(
		"%s: %lld added, %lld removed, %lld replaced; patches of 256 changes: "
		"%lld bytes, %lld writes, %.3f s; image %lld bytes, then %lld (fresh: "
		"%lld)\n",
		key, NUMBER("added"), NUMBER("removed"), NUMBER("replaced"), NUMBER("patch_bytes"),
		NUMBER("patch_writes"), json_number_value(json_object_get(one, "seconds")),
		NUMBER("old_image_bytes"), NUMBER("image_bytes"), NUMBER("fresh_image_bytes"));
#undef NUMBER
	if (o->json)
		fib_print_json(result);
	status = COMMAND_OK;
out:
	json_decref(result);
	route_table_free(&table);
	return status;
}
