/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/buffer.h"

#include <stdlib.h>
#include <string.h>

char *buffer_reserve(struct buffer *b, size_t more)
{
	size_t room = b->room ? b->room : 1024;
	char *larger;

	if (b->failed)
		return NULL;
	while (room < b->bytes + more)
		room *= 2;
	if (room != b->room) {
		larger = realloc(b->text, room);
		b->failed = !larger;
		if (!larger)
			return NULL;
		b->text = larger;
		b->room = room;
	}
	return b->text + b->bytes;
}

void buffer_add(struct buffer *b, const char *text, size_t bytes)
{
	char *at = buffer_reserve(b, bytes);

	if (!at)
		return;
	memcpy(at, text, bytes);
	b->bytes += bytes;
}

void buffer_text(struct buffer *b, const char *text)
{
	buffer_add(b, text, strlen(text));
}

static int dumped(const char *text, size_t bytes, void *context)
{
	struct buffer *b = context;

	buffer_add(b, text, bytes);
	return b->failed ? -1 : 0;
}

void buffer_json(struct buffer *b, json_t *json)
{
	if (!json || json_dump_callback(json, dumped, b, JSON_COMPACT | JSON_ENCODE_ANY))
		b->failed = true;
	json_decref(json);
}

void buffer_free(struct buffer *b)
{
	free(b->text);
	*b = (struct buffer){0};
}
