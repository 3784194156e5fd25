/* SPDX-License-Identifier: BSD-3-Clause */
#include "route_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "text_file.h"

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
	char address[ROUTE_TEXT_BYTES];
	unsigned family, most;
	uint64_t value;

	if (bytes >= sizeof address)
		return 0;
	memcpy(address, text, bytes);
	address[bytes] = 0;
	family = parse_address(address, prefix);
	most = family == 4 ? 32 : 128;
	*length = most;
	if (!family || !slash)
		return family;
	if (!text_number(slash + 1, most, &value))
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

int route_parse(
	const char *prefix, const char *target, struct route_line *route, struct error *reason)
{
	unsigned length;
	uint64_t asn;

	*route = (struct route_line){0};
	route->family = (uint8_t)route_parse_prefix(prefix, &route->prefix, &length);
	if (!route->family)
		return error_set(reason, -EINVAL, "'%.64s' is no prefix", prefix);
	route->length = (uint8_t)length;
	if (text_number(target, UINT32_MAX, &asn)) {
		route->asn = (uint32_t)asn;
	} else {
		route->next_hop_family = (uint8_t)parse_address(target, &route->next_hop);
		if (!route->next_hop_family)
			return error_set(reason, -EINVAL,
				"'%.64s' is neither an AS number nor an address", target);
	}
	if (address_bits(route->prefix, length, 32) ||
		(length < 96 && route->family == 6 &&
			(address_bits(route->prefix, length + 32, 32) ||
				address_bits(route->prefix, length + 64, 32) ||
				address_bits(route->prefix, length + 96, 32))))
		return error_set(reason, -EINVAL, "'%.64s' has bits set beyond its length", prefix);
	return 0;
}

struct lines {
	route_visit *visit;
	void *context;
	uint64_t routes;
	bool empty; /* the file says that it is */
};

static int see_line(void *context, char *line, struct error *reason)
{
	struct lines *l = context;
	char *prefix = line ? text_word(&line) : NULL, *target;
	struct route_line route;
	int status;

	if (!line && l->empty == !l->routes)
		return 0;
	if (!line && l->empty)
		return error_set(reason, -EINVAL, "the line 'empty' stands in a table that is not");
	if (!line)
		return error_set(reason, -EINVAL,
			"the file ends without a route; if that is meant, write the line 'empty'");
	if (!prefix)
		return 0;
	target = text_word(&line);
	if (!target && !strcmp(prefix, "empty")) {
		l->empty = true;
		return 0;
	}
	if (!target || text_word(&line))
		return error_set(
			reason, -EINVAL, "want PREFIX and an AS number or a next hop's address");
	status = route_parse(prefix, target, &route, reason);
	l->routes++;
	return status ? status : l->visit(l->context, &route, reason);
}

int route_file_each(const char *path, route_visit *visit, void *context, struct error *error)
{
	struct lines lines = {.visit = visit, .context = context};

	return text_file_each(path, see_line, &lines, error);
}

/* --- A table of it ---------------------------------------------------------------------------- */

static bool same_next_hop(const struct route_next_hop *a, const struct route_next_hop *b)
{
	return a->family == b->family && a->address.high == b->address.high &&
	       a->address.low == b->address.low;
}

int route_table_spread(struct route_table *table, unsigned next_hops)
{
	if (table->spread)
		return 0;
	if (table->named + next_hops >= P2PNIC_NEXT_HOPS_MAX)
		return -ENOSPC;
	/* Until now all routes had next hops with addresses. */
	for (size_t i = 0; i < table->ipv4.n; i++)
		table->ipv4.route[i].next_hop += (uint16_t)next_hops;
	for (size_t i = 0; i < table->ipv6.n; i++)
		table->ipv6.route[i].next_hop += (uint16_t)next_hops;
	table->spread = next_hops;
	return 0;
}

/* The number of an address, or -errno. Few addresses and long runs of one: the last is tried
 * first. */
static int named_next_hop(struct route_table *table, const struct route_line *line)
{
	const struct route_next_hop wanted = {line->next_hop, line->next_hop_family};
	size_t i = table->last;

	if (i == table->named || !same_next_hop(&table->next_hop[i], &wanted))
		for (i = 0; i < table->named && !same_next_hop(&table->next_hop[i], &wanted); i++)
			;
	table->last = i;
	if (i < table->named)
		return (int)(table->spread + i + 1);
	if (table->spread + table->named == P2PNIC_NEXT_HOPS_MAX - 1)
		return -ENOSPC;
	if (table->named == table->next_hop_room) {
		size_t room = table->next_hop_room ? table->next_hop_room * 2 : 64;
		struct route_next_hop *larger = realloc(table->next_hop, room * sizeof *larger);

		if (!larger)
			return -ENOMEM;
		table->next_hop = larger;
		table->next_hop_room = room;
	}
	table->next_hop[table->named++] = wanted;
	return (int)(table->spread + table->named);
}

struct collector {
	struct route_table *table;
	unsigned next_hops;
};

static int collect(void *context, const struct route_line *line, struct error *reason)
{
	struct collector *c = context;
	struct fib_route route = {
		.prefix = line->prefix, .length = line->length, .family = line->family};
	int next_hop;

	if (line->next_hop_family) {
		next_hop = named_next_hop(c->table, line);
	} else {
		next_hop = route_table_spread(c->table, c->next_hops);
		if (!next_hop)
			next_hop = route_file_next_hop(line->asn, c->table->spread);
	}
	if (next_hop == -ENOSPC)
		return error_set(
			reason, next_hop, "more than %u next hops", P2PNIC_NEXT_HOPS_MAX - 1);
	route.next_hop = (uint16_t)next_hop;
	if (next_hop < 0 || route_list_add(line->family == 4 ? &c->table->ipv4 : &c->table->ipv6,
				    &route, line->asn))
		return error_set(reason, -ENOMEM, "out of memory");
	return 0;
}

int route_file_read(
	const char *path, unsigned next_hops, struct route_table *table, struct error *error)
{
	struct collector c = {table, next_hops};

	return route_file_each(path, collect, &c, error);
}

const struct route_next_hop *route_table_named(const struct route_table *table, unsigned next_hop)
{
	size_t i = (size_t)next_hop - table->spread - 1;

	return next_hop > table->spread && i < table->named ? &table->next_hop[i] : NULL;
}
