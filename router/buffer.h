/* SPDX-License-Identifier: BSD-3-Clause */
/* Text that grows at its end. Zeroed before first use. */
#ifndef ROUTER_BUFFER_H
#define ROUTER_BUFFER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct buffer {
	char *text;
	size_t bytes, room;
	bool failed; /* out of memory: something is missing */
};

/* Where so many bytes more can be written, which `bytes` does not count yet; NULL: no memory. */
char *buffer_reserve(struct buffer *, size_t more);
void buffer_add(struct buffer *, const char *text, size_t bytes);
void buffer_text(struct buffer *, const char *text);
/* Compact; takes the object. */
void buffer_json(struct buffer *, json_t *);
void buffer_free(struct buffer *);

#endif
