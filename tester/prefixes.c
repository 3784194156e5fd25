/* SPDX-License-Identifier: BSD-3-Clause */
#include "prefixes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_BYTES 256

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

static bool parse(char *line, struct prefix *p)
{
	struct in_addr address;
	char *word = strtok(line, " \t\r\n");

	if (!word || *word == '#')
		return false;
	char *slash = strchr(word, '/');
	unsigned long length = 32;
	if (slash) {
		*slash++ = 0;
		char *end;
		length = strtoul(slash, &end, 10);
		if (*slash < '0' || *slash > '9' || *end)
			return false;
	}
	if (length > 32 || inet_pton(AF_INET, word, &address) != 1)
		return false;
	p->mask = length ? ~0u << (32 - length) : 0;
	p->address = ntohl(address.s_addr) & p->mask;
	return true;
}

int prefixes_pick(const char *path, unsigned n, uint64_t seed, uint32_t **addresses, char *error)
{
	struct prefix *list = NULL;
	size_t count = 0, room = 0;
	char *line = NULL;
	size_t line_bytes = 0;
	int r = -ENOMEM;
	FILE *f = fopen(path, "r");

	if (!f) {
		r = -errno;
		snprintf(error, ERROR_BYTES, "%.180s: %s", path, strerror(errno));
		return r;
	}
	snprintf(error, ERROR_BYTES, "out of memory");
	while (getline(&line, &line_bytes, f) > 0) {
		struct prefix one;

		if (!parse(line, &one))
			continue;
		if (count == room) {
			room = room ? 2 * room : 4096;
			struct prefix *more = realloc(list, room * sizeof(*list));
			if (!more)
				goto out;
			list = more;
			memset(list + count, 0, (room - count) * sizeof(*list));
		}
		list[count++] = one;
	}
	if (ferror(f)) {
		r = -EIO;
		snprintf(error, ERROR_BYTES, "%.180s: it cannot be read to its end", path);
		goto out;
	}
	if (!count) {
		snprintf(error, ERROR_BYTES, "%.180s: no IPv4 prefix in it", path);
		r = -EINVAL;
		goto out;
	}
	*addresses = calloc(n, sizeof(**addresses));
	if (!*addresses)
		goto out;
	uint64_t state = seed | 1, tries = 0;
	for (unsigned i = 0; i < n;) {
		const struct prefix *p = &list[next_random(&state) % count];
		uint32_t a = p->address | ((uint32_t)(next_random(&state) >> 16) & ~p->mask);
		if (forwardable(a)) {
			(*addresses)[i++] = a;
		} else if (++tries > 1000ull * n + 1000) {
			snprintf(error, ERROR_BYTES, "%.180s: no forwardable address in it", path);
			free(*addresses);
			r = -EINVAL;
			goto out;
		}
	}
	r = 0;
out:
	free(line);
	free(list);
	fclose(f);
	return r;
}
