/* SPDX-License-Identifier: BSD-3-Clause */
#include "memif_link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number(const char *text, unsigned long max, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return errno || end == text || *text == '-' || *end || *value > max ? -EINVAL : 0;
}

/* A secret as it came, possibly with a newline behind it. 0 or -EINVAL. */
static int parse_secret(struct memif_link_config *link, const char *text, size_t length)
{
	while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
		length--;
	if (length == 0 || length > MEMIF_SECRET_BYTES || memchr(text, 0, length))
		return -EINVAL;
	memset(link->secret, 0, sizeof(link->secret));
	memcpy(link->secret, text, length);
	return 0;
}

/* From its start, if it has one: a descriptor may be read by several NICs of a process. */
static int read_secret(struct memif_link_config *link, int fd)
{
	char text[MEMIF_SECRET_BYTES + 3]; /* the newline's two, and one more: too long */
	ssize_t n = pread(fd, text, sizeof(text), 0);
	int error;

	if (n < 0 && errno == ESPIPE)
		n = read(fd, text, sizeof(text));
	error = n < 0 ? -errno : parse_secret(link, text, (size_t)n);
	explicit_bzero(text, sizeof(text));
	return error;
}

static int secret_file(struct memif_link_config *link, const char *path)
{
	/* O_NONBLOCK: a FIFO that nobody writes does not hold the process up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int error;

	if (fd < 0)
		return -errno;
	error = read_secret(link, fd);
	close(fd);
	return error;
}

/* 0; -EINVAL: not an option or not its value; other -errno: of the secret's file. */
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
	} else if (!strcmp(key, "secret")) {
		return parse_secret(link, value, strlen(value));
	} else if (!strcmp(key, "secret-file")) {
		return secret_file(link, value);
	} else if (!strcmp(key, "secret-fd") && !number(value, INT_MAX, &n)) {
		fcntl((int)n, F_SETFD, FD_CLOEXEC);
		return read_secret(link, (int)n);
	} else if (!strcmp(key, "peers") && !strcmp(value, "any")) {
		link->any_peer = true;
	} else if (!strcmp(key, "peers") && !number(value, UINT32_MAX - 1, &n)) {
		link->peer = (uint32_t)n;
	} else if (!strcmp(key, "map") && !number(value, UINT32_MAX, &n) && n) {
		link->map_bytes = (uint64_t)n << 20;
	} else if (!strcmp(key, "share") && (!strcmp(value, "yes") || !strcmp(value, "no"))) {
		link->share = value[0] == 'y';
	} else if (!strcmp(key, "unsealed") && (!strcmp(value, "yes") || !strcmp(value, "no"))) {
		link->unsealed = value[0] == 'y';
	} else {
		return -EINVAL;
	}
	return 0;
}

/* The value of an option may be a secret, so only the name is shown. */
int memif_link_options(struct memif_link_config *link, const char *socket, const char *options,
	struct error *error)
{
	char text[1024];
	char *rest = text, *item;
	int result = 0;

	memset(link, 0, sizeof(*link));
	link->role = MEMIF_CLIENT;
	link->socket = socket;
	link->log2_ring = MEMIF_LOG2_RING_DEFAULT;
	link->peer = geteuid();
	link->map_bytes = (uint64_t)MEMIF_MAP_MIB_DEFAULT << 20;
	if (!options)
		return 0;
	if (snprintf(text, sizeof(text), "%s", options) >= (int)sizeof(text))
		return error_set(error, -EINVAL, "memif: options longer than %zu characters",
			sizeof(text) - 1);
	while (!result && (item = strsep(&rest, ","))) {
		char *value = strchr(item, '=');

		if (!*item)
			continue;
		if (value)
			*value++ = 0;
		result = value ? option(link, item, value) : -EINVAL;
		if (result == -EINVAL)
			error_set(error, result,
				"memif: option %.20s, or its value, is not one of " MEMIF_OPTIONS,
				item);
		else if (result)
			error_set(error, result, "memif: %.20s=%.80s: %s", item, value,
				strerror(-result));
	}
	explicit_bzero(text, sizeof(text));
	if (result)
		explicit_bzero(link->secret, sizeof(link->secret));
	return result;
}
