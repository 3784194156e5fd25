/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file of routes, plain or compressed: read whole, each route one that a table takes, or refused
 * with a sentence that names the file. Of plain files the naive twin below, which has the whole
 * text before it and parses addresses by itself, must take the same ones and see the same routes.
 */
#include "fib/route_file.h"
#include "fib/text_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- Twin ------------------------------------------------------------------------------------- */

/* Digits of a base, no more than `digits`, nothing else; leading zeros only in hexadecimal. */
static bool twin_number(const char *s, size_t n, unsigned base, size_t digits, uint64_t *value)
{
	if (n == 0 || n > digits || (base == 10 && n > 1 && s[0] == '0'))
		return false;
	*value = 0;
	for (size_t k = 0; k < n; k++) {
		const char *all = "0123456789abcdef", lower = (char)(s[k] | 0x20);
		const char *at = s[k] ? strchr(all, s[k] >= 'A' ? lower : s[k]) : NULL;

		if (!at || at - all >= (long)base)
			return false;
		*value = *value * base + (uint64_t)(at - all);
	}
	return true;
}

static bool twin_ipv4(const char *s, size_t n, uint32_t *address)
{
	*address = 0;
	for (unsigned k = 0; k < 4; k++) {
		const char *dot = k < 3 ? memchr(s, '.', n) : s + n;
		uint64_t octet;

		if (!dot || !twin_number(s, (size_t)(dot - s), 10, 3, &octet) || octet > 255)
			return false;
		*address = *address << 8 | (uint32_t)octet;
		n -= (size_t)(dot - s) + (k < 3);
		s = dot + (k < 3);
	}
	return true;
}

/* "1:2:3", the last of it maybe dotted. How many groups; -1: it is wrong. */
static int twin_groups(const char *s, size_t n, bool dotted, uint16_t group[8])
{
	int groups = 0;

	while (n) {
		const char *colon = memchr(s, ':', n);
		size_t part = colon ? (size_t)(colon - s) : n;
		uint32_t ipv4;
		uint64_t value;

		if (groups == 8 || (colon && part + 1 == n))
			return -1;
		if (twin_number(s, part, 16, 4, &value)) {
			group[groups++] = (uint16_t)value;
		} else if (!colon && dotted && groups < 7 && twin_ipv4(s, part, &ipv4)) {
			group[groups++] = (uint16_t)(ipv4 >> 16);
			group[groups++] = (uint16_t)ipv4;
		} else {
			return -1;
		}
		n -= part + (colon != NULL);
		s += part + (colon != NULL);
	}
	return groups;
}

static unsigned twin_address(const char *s, size_t n, struct fib_ipv6 *address)
{
	uint16_t head[8], tail[8], all[8] = {0};
	size_t before = n;
	int heads, tails = 0;
	uint32_t ipv4;

	*address = (struct fib_ipv6){0, 0};
	if (twin_ipv4(s, n, &ipv4)) {
		address->high = (uint64_t)ipv4 << 32;
		return 4;
	}
	for (size_t k = n; k-- > 1;)
		if (s[k - 1] == ':' && s[k] == ':')
			before = k - 1;
	heads = twin_groups(s, before, before == n, head);
	if (before < n)
		tails = twin_groups(s + before + 2, n - before - 2, true, tail);
	if (heads < 0 || tails < 0 || (before < n ? heads + tails > 7 : heads != 8))
		return 0;
	memcpy(all, head, (size_t)heads * sizeof(*head));
	memcpy(all + 8 - tails, tail, (size_t)tails * sizeof(*tail));
	for (unsigned k = 0; k < 8; k++) {
		uint64_t *half = k < 4 ? &address->high : &address->low;

		*half = *half << 16 | all[k];
	}
	return 6;
}

static bool twin_bit(struct fib_ipv6 a, unsigned bit)
{
	return (bit < 64 ? a.high >> (63 - bit) : a.low >> (127 - bit)) & 1;
}

static bool twin_route(
	const char *prefix, size_t p, const char *target, size_t t, struct route_line *r)
{
	const char *slash = memchr(prefix, '/', p);
	size_t a = slash ? (size_t)(slash - prefix) : p;
	uint64_t length;

	*r = (struct route_line){0};
	r->family = (uint8_t)twin_address(prefix, a, &r->prefix);
	length = r->family == 4 ? 32 : 128;
	if (!r->family || (slash && (!twin_number(slash + 1, p - a - 1, 10, 3, &length) ||
					    length > (r->family == 4 ? 32 : 128))))
		return false;
	r->length = (uint8_t)length;
	for (unsigned bit = r->length; bit < 128; bit++)
		if (twin_bit(r->prefix, bit))
			return false;
	uint64_t asn;

	if (twin_number(target, t, 10, 10, &asn) && asn <= UINT32_MAX) {
		r->asn = (uint32_t)asn;
		return true;
	}
	r->next_hop_family = (uint8_t)twin_address(target, t, &r->next_hop);
	return r->next_hop_family;
}

/* Room for size routes. How many; -1: the text is to be refused. */
static long twin_read(const char *text, size_t size, struct route_line *route)
{
	bool empty = false;
	long n = 0;

	for (size_t k = 0; k < size; k++)
		if (text[k] != '\n' && text[k] != '\t' && (text[k] < ' ' || text[k] > '~') &&
			!(text[k] == '\r' && k + 1 < size && text[k + 1] == '\n'))
			return -1;
	for (size_t k = 0, end; k < size; k = end + 1) {
		const char *word[3];
		size_t bytes[3];
		unsigned words = 0;

		for (end = k; end < size && text[end] != '\n'; end++)
			;
		if (end - k >= TEXT_FILE_LINE_BYTES)
			return -1;
		for (size_t at = k; at < end && text[at] != '#'; at++) {
			bool space = text[at] == ' ' || text[at] == '\t' || text[at] == '\r';

			if (space)
				continue;
			if (words == 3)
				return -1;
			word[words] = text + at;
			while (at < end && !strchr(" \t\r#", text[at]))
				at++;
			bytes[words] = (size_t)(text + at - word[words]);
			words++;
			at--;
		}
		if (words == 1 && bytes[0] == 5 && !memcmp(word[0], "empty", 5))
			empty = true;
		else if (words == 2 && twin_route(word[0], bytes[0], word[1], bytes[1], &route[n]))
			n++;
		else if (words)
			return -1;
	}
	return empty == (n == 0) ? n : -1;
}

/* --- Both ------------------------------------------------------------------------------------- */

struct expected {
	const struct route_line *route;
	long n, at;
};

static int compare(void *context, const struct route_line *line, struct error *reason)
{
	struct expected *e = context;
	const struct route_line *r = &e->route[e->at++];

	/* Of a text to be refused the lines before the mistake are seen. */
	if (e->n >= 0 &&
		(e->at > e->n || r->family != line->family || r->length != line->length ||
			r->asn != line->asn || r->next_hop_family != line->next_hop_family ||
			memcmp(&r->prefix, &line->prefix, sizeof(r->prefix)) != 0 ||
			memcmp(&r->next_hop, &line->next_hop, sizeof(r->next_hop)) != 0))
		abort();
	return 0;
}

static void check(const struct route_list *list, unsigned family)
{
	for (size_t k = 0; k < list->n; k++) {
		const struct fib_route *r = &list->route[k];
		char text[ROUTE_TEXT_BYTES];
		struct fib_ipv6 again;
		unsigned length;

		if (r->family != family || r->length > (family == 4 ? 32 : 128) || !r->next_hop ||
			r->next_hop >= P2PNIC_NEXT_HOPS_MAX)
			abort();
		/* As it is written it is read. */
		if (route_parse_prefix(route_text(text, family, r->prefix, r->length), &again,
			    &length) != family ||
			length != r->length || memcmp(&again, &r->prefix, sizeof(again)) != 0)
			abort();
	}
}

/* No address has two numbers, and no number of AS numbers has one. */
static void check_named(const struct route_table *table)
{
	for (size_t k = 0; k < table->named; k++) {
		const struct route_next_hop *a = &table->next_hop[k];

		if (route_table_named(table, (unsigned)(table->spread + 1 + k)) != a)
			abort();
		for (size_t j = 0; j < k; j++)
			if (a->family == table->next_hop[j].family &&
				!memcmp(&a->address, &table->next_hop[j].address,
					sizeof(a->address)))
				abort();
	}
	if (route_table_named(table, table->spread) ||
		route_table_named(table, (unsigned)(table->spread + table->named + 1)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64];
	struct error error = {""};
	struct route_table table = {0};
	bool xz = size >= 6 && !memcmp(data,
				       "\xfd"
				       "7zXZ",
				       6);

	if (file < 0) {
		file = memfd_create("routes", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (file < 0 || ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		return 0;
	int result = route_file_read(path, 64, &table, &error);

	if (result > 0 || (result < 0) != (strncmp(error.text, path, strlen(path)) == 0))
		abort();
	check(&table.ipv4, 4);
	check(&table.ipv6, 6);
	check_named(&table);
	route_table_free(&table);
	if (!xz) {
		struct route_line *route = calloc(size + 1, sizeof(*route));
		struct expected expected = {.route = route};

		if (!route)
			return 0;
		expected.n = twin_read((const char *)data, size, route);
		result = route_file_each(path, compare, &expected, &error);
		if ((result < 0) != (expected.n < 0) || (!result && expected.at != expected.n))
			abort();
		free(route);
	}
	return 0;
}
