/* SPDX-License-Identifier: BSD-3-Clause */
#include "prefixes.h"

#include "fib/route_file.h"
#include "fib/text_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct prefix {
	uint32_t address;
	uint32_t mask;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool forwardable(uint32_t a)
{
	return a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 14 && a >> 16 != 0xa9fe;
}

struct prefixes {
	struct prefix *list;
	size_t count, room;
};

static int see_line(void *context, char *line, struct error *reason)
{
	struct prefixes *p = context;
	char *prefix = line ? text_word(&line) : NULL, *target;
	struct route_line route;

	if (!prefix)
		return 0;
	target = text_word(&line);
	if (text_word(&line))
		return error_set(
			reason, -EINVAL, "want PREFIX and maybe an AS number or a next hop");
	if (route_parse(prefix, target ? target : "0", &route, reason))
		return -EINVAL;
	if (route.family == 6)
		return 0;
	if (p->count == p->room) {
		size_t room = p->room ? 2 * p->room : 4096;
		struct prefix *more = realloc(p->list, room * sizeof(*more));

		if (!more)
			return error_set(reason, -ENOMEM, "out of memory");
		p->list = more;
		p->room = room;
	}
	p->list[p->count++] = (struct prefix){
		(uint32_t)(route.prefix.high >> 32), route.length ? ~0u << (32 - route.length) : 0};
	return 0;
}

int prefixes_sample(
	const char *path, unsigned n, uint64_t seed, uint32_t **addresses, struct error *error)
{
	struct prefixes all = {0};
	int r = text_file_each(path, see_line, &all, error);

	if (r)
		goto out;
	if (!all.count) {
		r = error_set(error, -EINVAL, "%s: no IPv4 prefix in it", path);
		goto out;
	}
	*addresses = calloc(n, sizeof(**addresses));
	if (!*addresses) {
		r = error_set(error, -ENOMEM, "out of memory");
		goto out;
	}
	uint64_t state = seed | 1, tries = 0;
	for (unsigned i = 0; i < n;) {
		const struct prefix *p = &all.list[next_random(&state) % all.count];
		uint32_t a = p->address | ((uint32_t)(next_random(&state) >> 16) & ~p->mask);
		if (forwardable(a)) {
			(*addresses)[i++] = a;
		} else if (++tries > 1000ull * n + 1000) {
			error_set(error, -EINVAL, "%s: no forwardable address in it", path);
			free(*addresses);
			r = -EINVAL;
			goto out;
		}
	}
out:
	free(all.list);
	return r;
}
