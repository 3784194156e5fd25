/* SPDX-License-Identifier: BSD-3-Clause */
#include "secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY "secret="

/* The value of secret= among options that ',' separates, or NULL. */
static const char *secret_in(const char *options)
{
	const char *at = options;

	while ((at = strstr(at, KEY))) {
		if (at == options || at[-1] == ',')
			return at + strlen(KEY);
		at++;
	}
	return NULL;
}

int secret_to_fd(const char *options, char *text, size_t bytes)
{
	const char *value = secret_in(options);
	int fd = -ENOENT, n;

	if (!value) {
		n = snprintf(text, bytes, "%s", options);
	} else {
		size_t length = strcspn(value, ",");

		fd = memfd_create("secret", 0);
		if (fd < 0)
			return -errno;
		if (write(fd, value, length) != (ssize_t)length) {
			close(fd);
			return -EIO;
		}
		/* A second one is looked for in what is left. */
		n = snprintf(text, bytes, "%.*ssecret-fd=%d%s",
			(int)(value - strlen(KEY) - options), options, fd, value + length);
	}
	if ((size_t)n < bytes && !secret_in(text))
		return fd;
	if (fd >= 0)
		close(fd);
	return -EINVAL;
}

char *secret_hide(char *argument)
{
	const char *value = secret_in(argument);
	size_t bytes = strlen(argument) + sizeof("secret-fd=2147483647");
	char *text;

	if (!value)
		return argument;
	text = malloc(bytes);
	if (!text || secret_to_fd(argument, text, bytes) < 0) {
		free(text);
		return NULL;
	}
	memset(argument + (value - argument), 'x', strcspn(value, ","));
	return text;
}
