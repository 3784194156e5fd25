/* SPDX-License-Identifier: BSD-3-Clause */
#include "kernel_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kernel_text_add(struct kernel_text *text, const char *format, ...)
{
	va_list list;

	if (text->lines == text->room) {
		text->room = text->room ? text->room * 2 : 64;
		text->line = realloc(text->line, text->room * sizeof(char *));
		if (!text->line)
			abort();
	}
	va_start(list, format);
	if (vasprintf(&text->line[text->lines++], format, list) < 0)
		abort();
	va_end(list);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void kernel_text_sort(struct kernel_text *text)
{
	if (text->lines)
		qsort(text->line, text->lines, sizeof(char *), compare);
}

void kernel_text_free(struct kernel_text *text)
{
	for (size_t k = 0; k < text->lines; k++)
		free(text->line[k]);
	free(text->line);
	*text = (struct kernel_text){0};
}

void kernel_text_hop(char *text, size_t room, const struct kernel_hop *hop)
{
	const struct address gateway = {hop->gateway, hop->gateway_family};
	char address[ADDRESS_TEXT_BYTES];

	if (hop->next_hop)
		snprintf(text, room, " id %u weight %u", hop->next_hop, hop->weight);
	else
		snprintf(text, room, " %s dev %u weight %u%s",
			hop->gateway_family ? address_text(&gateway, address) : "-", hop->ifindex,
			hop->weight, hop->onlink ? " onlink" : "");
}

static void describe(char *text, size_t room, unsigned kind, const struct kernel_value *v)
{
	char mac[ADDRESS_TEXT_BYTES];
	size_t n;

	switch (kind) {
	case KERNEL_LINK:
		n = (size_t)snprintf(text, room, "%s %s flags %x mtu %u master %u", v->link.name,
			mac_text(v->link.mac, mac), v->link.flags, v->link.mtu, v->link.master);
		break;
	case KERNEL_ADDRESS:
		n = (size_t)snprintf(text, room, "/%u scope %u flags %x", v->address.length,
			v->address.scope, v->address.flags);
		break;
	case KERNEL_NEIGHBOR:
		n = (size_t)snprintf(text, room, "%s state %x flags %x",
			v->neighbor.has_mac ? mac_text(v->neighbor.mac, mac) : "-",
			v->neighbor.state, v->neighbor.flags);
		break;
	case KERNEL_NEXT_HOP:
		n = (size_t)snprintf(text, room,
			"%s%s%s buckets %u unsupported %x:", v->next_hop.group ? "group" : "",
			v->next_hop.resilient ? " resilient" : "",
			v->next_hop.drops ? " drops" : "", v->next_hop.buckets,
			v->next_hop.unsupported);
		break;
	default:
		n = (size_t)snprintf(text, room,
			"type %u protocol %u scope %u mtu %u source %x:", v->route.type,
			v->route.protocol, v->route.scope, v->route.mtu, v->route.source);
	}
	if (kind == KERNEL_NEXT_HOP || kind == KERNEL_ROUTE)
		for (unsigned k = 0; k < v->hops && n < room; k++) {
			kernel_text_hop(text + n, room - n, &v->hop[k]);
			n += strlen(text + n);
		}
}

struct kernel_text kernel_text_of(struct kernel_state *s, bool numbered)
{
	struct kernel_text text = {0};

	for (unsigned kind = 0; kind < KERNEL_KINDS; kind++) {
		const struct kernel_value *v;
		struct kernel_key key;
		size_t from = 0;

		while (kernel_state_each(s, kind, &from, &key))
			for (unsigned n = 0; (v = kernel_state_find(s, &key, n)); n++) {
				const struct prefix prefix = {
					{key.address, key.family ? key.family : 4}, key.length};
				char value[4096], address[ADDRESS_TEXT_BYTES];

				describe(value, sizeof(value), kind, v);
				kernel_text_add(&text, "%s %u %s peer %x tos %u metric %u #%u %s",
					kernel_kind_name(kind), key.id,
					prefix_text(&prefix, address), key.peer, key.tos,
					key.metric, numbered ? n : 0, value);
			}
	}
	kernel_text_sort(&text);
	return text;
}

bool kernel_text_equal(const struct kernel_text *a, const struct kernel_text *b, bool say)
{
	bool equal = true;

	for (size_t k = 0, j = 0; k < a->lines || j < b->lines;) {
		int order = k == a->lines ? 1 : j == b->lines ? -1 : strcmp(a->line[k], b->line[j]);

		if (order && say)
			printf("only %s: %s\n", order < 0 ? "here" : "there",
				order < 0 ? a->line[k] : b->line[j]);
		equal = equal && !order;
		k += order <= 0;
		j += order >= 0;
	}
	return equal;
}
