/* SPDX-License-Identifier: BSD-3-Clause */
#include "prefixes.h"

#include "fib/route_file.h"
#include "fib/text_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define LENGTH_MAX 48u /* of IPv6 prefixes */

struct prefix {
	uint64_t address;
	uint64_t free; /* bits behind the prefix */
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool forwardable(unsigned family, uint64_t a)
{
	if (family == 6)
		return a >> 56 != 0 && a >> 56 != 0xff && a >> 54 != 0x3fa;
	return a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 14 && a >> 16 != 0xa9fe;
}

struct prefixes {
	unsigned family;
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
	if (route.family != p->family || (route.family == 6 && route.length > LENGTH_MAX))
		return 0;
	if (p->count == p->room) {
		size_t room = p->room ? 2 * p->room : 4096;
		struct prefix *more = realloc(p->list, room * sizeof(*more));

		if (!more)
			return error_set(reason, -ENOMEM, "out of memory");
		p->list = more;
		p->room = room;
	}
	const uint64_t all = route.length ? ~0ull >> route.length : ~0ull;
	p->list[p->count++] = route.family == 6
				      ? (struct prefix){route.prefix.high, all}
				      : (struct prefix){route.prefix.high >> 32, all >> 32};
	return 0;
}

int prefixes_sample(const char *path, unsigned family, unsigned n, uint64_t seed,
	uint64_t **addresses, struct error *error)
{
	struct prefixes all = {.family = family};
	int r = text_file_each(path, see_line, &all, error);

	if (r)
		goto out;
	if (!all.count) {
		r = error_set(error, -EINVAL, "%s: no IPv%u prefix in it", path, family);
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
		uint64_t random = next_random(&state);
		uint64_t a = p->address | ((family == 6 ? random : random >> 16) & p->free);
		if (forwardable(family, a)) {
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
