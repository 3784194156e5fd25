/* SPDX-License-Identifier: BSD-3-Clause */
#include "route_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

int route_list_add(struct route_list *list, const struct fib_route *route, uint32_t asn)
{
	if (list->n == list->room) {
		size_t room = list->room ? list->room * 2 : 4096;
		struct fib_route *routes = realloc(list->route, room * sizeof *routes);
		uint32_t *asns;

		if (!routes)
			return -ENOMEM;
		list->route = routes;
		asns = realloc(list->asn, room * sizeof *asns);
		if (!asns)
			return -ENOMEM;
		list->asn = asns;
		list->room = room;
	}
	list->route[list->n] = *route;
	list->asn[list->n++] = asn;
	return 0;
}

void route_table_free(struct route_table *table)
{
	free(table->ipv4.route);
	free(table->ipv4.asn);
	free(table->ipv6.route);
	free(table->ipv6.asn);
	free(table->next_hop);
	*table = (struct route_table){0};
}

static uint64_t from_be64(const uint8_t *p)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | p[i];
	return value;
}

static unsigned parse_address(const char *text, struct fib_ipv6 *address)
{
	uint8_t octet[16];

	if (inet_pton(AF_INET, text, octet) == 1) {
		*address = (struct fib_ipv6){(uint64_t)octet[0] << 56 | (uint64_t)octet[1] << 48 |
						     (uint64_t)octet[2] << 40 |
						     (uint64_t)octet[3] << 32,
			0};
		return 4;
	}
	if (inet_pton(AF_INET6, text, octet) == 1) {
		*address = (struct fib_ipv6){from_be64(octet), from_be64(octet + 8)};
		return 6;
	}
	return 0;
}

unsigned route_parse_prefix(const char *text, struct fib_ipv6 *prefix, unsigned *length)
{
	const char *slash = strchr(text, '/');
	size_t bytes = slash ? (size_t)(slash - text) : strlen(text);
	char address[ROUTE_TEXT_BYTES], *end;
	unsigned family, most;
	unsigned long value;

	if (bytes >= sizeof address)
		return 0;
	memcpy(address, text, bytes);
	address[bytes] = 0;
	family = parse_address(address, prefix);
	most = family == 4 ? 32 : 128;
	*length = most;
	if (!family || !slash)
		return family;
	if (slash[1] < '0' || slash[1] > '9')
		return 0;
	value = strtoul(slash + 1, &end, 10);
	if (*end || value > most)
		return 0;
	*length = (unsigned)value;
	return family;
}

const char *route_text(char *text, unsigned family, struct fib_ipv6 prefix, unsigned length)
{
	uint8_t octet[16];

	for (unsigned i = 0; i < 16; i++)
		octet[i] = (uint8_t)address_bits(prefix, 8 * i, 8);
	if (!inet_ntop(family == 4 ? AF_INET : AF_INET6, octet, text, ROUTE_TEXT_BYTES - 8))
		text[0] = 0;
	if (length <= 128)
		snprintf(text + strlen(text), 8, "/%u", length);
	return text;
}

/* --- Reading ---------------------------------------------------------------------------------- */

#define PATH_SHOWN 128

struct reader {
	FILE *file;
	const char *path;
	bool xz;
	lzma_stream lzma;
	bool finished;
	uint8_t packed[1 << 16];
	char text[(1 << 16) + 1];
	size_t begin, end; /* of the text not yet handed out */
	unsigned long line;
};

/* Appends text; 0 at the end of the file, or -errno. */
static int reader_fill(struct reader *r, char *error)
{
	memmove(r->text, r->text + r->begin, r->end - r->begin);
	r->end -= r->begin;
	r->begin = 0;
	if (r->end == sizeof r->text - 1) {
		fib_error(error, "%s:%lu: a line of more than %zu bytes", r->path, r->line + 1,
			r->end);
		return -EINVAL;
	}
	if (!r->xz) {
		size_t n = fread(r->text + r->end, 1, sizeof r->text - 1 - r->end, r->file);

		r->end += n;
		return n > 0;
	}
	for (size_t before = r->end; r->end == before && !r->finished;) {
		lzma_ret result;

		if (!r->lzma.avail_in) {
			r->lzma.next_in = r->packed;
			r->lzma.avail_in = fread(r->packed, 1, sizeof r->packed, r->file);
		}
		r->lzma.next_out = (uint8_t *)r->text + r->end;
		r->lzma.avail_out = sizeof r->text - 1 - r->end;
		result = lzma_code(&r->lzma, r->lzma.avail_in ? LZMA_RUN : LZMA_FINISH);
		r->end = (size_t)((char *)r->lzma.next_out - r->text);
		if (result == LZMA_STREAM_END) {
			r->finished = true;
		} else if (result != LZMA_OK) {
			fib_error(error, "%s: not a whole xz file (liblzma error %d)", r->path,
				(int)result);
			return -EINVAL;
		}
	}
	return r->end > 0;
}

/* The next line without its end, or NULL: end of file (*status 0) or error. */
static char *reader_line(struct reader *r, int *status, char *error)
{
	for (;;) {
		char *start = r->text + r->begin;
		char *end = memchr(start, '\n', r->end - r->begin);
		size_t before = r->end - r->begin;

		if (end) {
			*end = 0;
			r->begin = (size_t)(end + 1 - r->text);
			r->line++;
			return start;
		}
		*status = reader_fill(r, error);
		if (*status < 0)
			return NULL;
		if (r->end - r->begin == before) {
			*status = 0;
			if (!before)
				return NULL;
			r->text[r->end] = 0; /* a last line without its end */
			r->begin = r->end;
			r->line++;
			return r->text + r->end - before;
		}
	}
}

/* 1 and *route, 0: nothing on this line, or -errno. */
static int parse_line(struct reader *r, char *line, struct route_line *route, char *error)
{
	char *save, *prefix, *target, *end;
	unsigned long asn;
	unsigned length;

	line[strcspn(line, "#\r")] = 0;
	prefix = strtok_r(line, " \t", &save);
	if (!prefix)
		return 0;
	*route = (struct route_line){0};
	target = strtok_r(NULL, " \t", &save);
	route->family = (uint8_t)route_parse_prefix(prefix, &route->prefix, &length);
	if (!route->family) {
		fib_error(error, "%s:%lu: '%.64s' is no prefix", r->path, r->line, prefix);
		return -EINVAL;
	}
	route->length = (uint8_t)length;
	if (!target || strtok_r(NULL, " \t", &save)) {
		fib_error(error, "%s:%lu: want PREFIX and an AS number or a next hop's address",
			r->path, r->line);
		return -EINVAL;
	}
	errno = 0;
	asn = strtoul(target, &end, 10);
	if (!*end && *target >= '0' && *target <= '9' && !errno && asn <= UINT32_MAX) {
		route->asn = (uint32_t)asn;
	} else {
		route->next_hop_family = (uint8_t)parse_address(target, &route->next_hop);
		if (!route->next_hop_family) {
			fib_error(error, "%s:%lu: '%.64s' is neither an AS number nor an address",
				r->path, r->line, target);
			return -EINVAL;
		}
	}
	if (address_bits(route->prefix, length, 32) ||
		(length < 96 && route->family == 6 &&
			(address_bits(route->prefix, length + 32, 32) ||
				address_bits(route->prefix, length + 64, 32) ||
				address_bits(route->prefix, length + 96, 32)))) {
		fib_error(error, "%s:%lu: '%.64s' has bits set beyond its length", r->path, r->line,
			prefix);
		return -EINVAL;
	}
	return 1;
}

int route_file_each(const char *path, route_visit *visit, void *context, char *error)
{
	static const uint8_t xz_magic[6] = {0xfd, '7', 'z', 'X', 'Z', 0};
	struct reader *r = calloc(1, sizeof *r);
	char reason[FIB_ERROR_BYTES], *line;
	struct route_line route;
	int status = 0;

	if (!r) {
		fib_error(error, "%s: out of memory", path);
		return -ENOMEM;
	}
	/* The end of a long path, so that the reason has its place. */
	r->path = strlen(path) > PATH_SHOWN ? path + strlen(path) - PATH_SHOWN : path;
	r->file = fopen(path, "rb");
	if (!r->file) {
		status = -errno;
		fib_error(error, "%s: %s", r->path, strerror(errno));
		goto out;
	}
	r->end = fread(r->text, 1, sizeof xz_magic, r->file);
	if (r->end == sizeof xz_magic && !memcmp(r->text, xz_magic, sizeof xz_magic)) {
		r->xz = true;
		r->lzma = (lzma_stream)LZMA_STREAM_INIT;
		memcpy(r->packed, xz_magic, sizeof xz_magic);
		r->lzma.next_in = r->packed;
		r->lzma.avail_in = sizeof xz_magic;
		r->end = 0;
		if (lzma_stream_decoder(&r->lzma, 256 << 20, LZMA_CONCATENATED) != LZMA_OK) {
			fib_error(error, "%s: liblzma does not start", r->path);
			status = -ENOMEM;
			goto out;
		}
	}
	while ((line = reader_line(r, &status, error))) {
		status = parse_line(r, line, &route, error);
		if (status > 0) {
			status = visit(context, &route, reason);
			if (status)
				fib_error(error, "%s:%lu: %s", r->path, r->line, reason);
		}
		if (status)
			break;
	}
	if (!status && ferror(r->file)) {
		fib_error(error, "%s: cannot be read", r->path);
		status = -EIO;
	}
out:
	if (r->xz)
		lzma_end(&r->lzma);
	if (r->file)
		fclose(r->file);
	free(r);
	return status;
}

/* --- A table of it ---------------------------------------------------------------------------- */

struct collector {
	struct route_table *table;
	unsigned next_hops;
};

static int named_next_hop(struct route_table *table, struct fib_ipv6 address)
{
	for (size_t i = 0; i < table->next_hops; i++)
		if (table->next_hop[i].high == address.high &&
			table->next_hop[i].low == address.low)
			return (int)i + 1;
	if (table->next_hops == P2PNIC_NEXT_HOPS_MAX - 1)
		return -ENOSPC;
	if (table->next_hops == table->next_hop_room) {
		size_t room = table->next_hop_room ? table->next_hop_room * 2 : 64;
		struct fib_ipv6 *larger = realloc(table->next_hop, room * sizeof *larger);

		if (!larger)
			return -ENOMEM;
		table->next_hop = larger;
		table->next_hop_room = room;
	}
	table->next_hop[table->next_hops++] = address;
	return (int)table->next_hops;
}

static int collect(void *context, const struct route_line *line, char *reason)
{
	struct collector *c = context;
	struct fib_route route = {
		.prefix = line->prefix, .length = line->length, .family = line->family};
	int next_hop = line->next_hop_family ? named_next_hop(c->table, line->next_hop)
					     : route_file_next_hop(line->asn, c->next_hops);

	if (next_hop == -ENOSPC) {
		fib_error(reason, "one next hop too many");
		return next_hop;
	}
	route.next_hop = (uint16_t)next_hop;
	if (next_hop < 0 || route_list_add(line->family == 4 ? &c->table->ipv4 : &c->table->ipv6,
				    &route, line->asn)) {
		fib_error(reason, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

int route_file_read(const char *path, unsigned next_hops, struct route_table *table, char *error)
{
	struct collector c = {table, next_hops};

	return route_file_each(path, collect, &c, error);
}
