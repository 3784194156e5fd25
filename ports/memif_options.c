/* SPDX-License-Identifier: BSD-3-Clause */
#include "memif_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *text, unsigned long max, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return errno || end == text || *text == '-' || *end || *value > max ? -EINVAL : 0;
}

static int option(struct memif_link_config *link, const char *key, const char *value)
{
	unsigned long n;

	if (!strcmp(key, "role") && !strcmp(value, "client")) {
		link->role = MEMIF_CLIENT;
	} else if (!strcmp(key, "role") && !strcmp(value, "server")) {
		link->role = MEMIF_SERVER;
	} else if (!strcmp(key, "id") && !number(value, UINT32_MAX, &n)) {
		link->id = (uint32_t)n;
	} else if (!strcmp(key, "rsize") && !number(value, MEMIF_LOG2_RING_MAX, &n) && n) {
		link->log2_ring = (unsigned)n;
	} else if (!strcmp(key, "secret") && strlen(value) <= MEMIF_SECRET_BYTES) {
		snprintf(link->secret, sizeof(link->secret), "%s", value);
	} else if (!strcmp(key, "unsealed") && (!strcmp(value, "yes") || !strcmp(value, "no"))) {
		link->unsealed = value[0] == 'y';
	} else {
		return -EINVAL;
	}
	return 0;
}

int memif_link_options(
	struct memif_link_config *link, const char *socket, const char *options, char *error)
{
	char text[256];
	char *rest = text, *item;

	memset(link, 0, sizeof(*link));
	link->role = MEMIF_CLIENT;
	link->socket = socket;
	link->log2_ring = MEMIF_LOG2_RING_DEFAULT;
	if (!options)
		return 0;
	if (snprintf(text, sizeof(text), "%s", options) >= (int)sizeof(text)) {
		snprintf(error, MEMIF_ERROR_BYTES, "memif: options longer than %zu characters",
			sizeof(text) - 1);
		return -EINVAL;
	}
	while ((item = strsep(&rest, ","))) {
		char *value = strchr(item, '=');

		if (!*item)
			continue;
		if (value)
			*value++ = 0;
		if (!value || option(link, item, value)) {
			snprintf(error, MEMIF_ERROR_BYTES,
				"memif: option '%.40s%s%.40s' is not one of role=client|server, "
				"id=N, "
				"rsize=1…%u, secret=TEXT (at most %u), unsealed=yes|no",
				item, value ? "=" : "", value ? value : "", MEMIF_LOG2_RING_MAX,
				MEMIF_SECRET_BYTES);
			return -EINVAL;
		}
	}
	return 0;
}
