/* SPDX-License-Identifier: BSD-3-Clause */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

void patch_clear(struct patch *patch)
{
	patch->writes = 0;
	patch->words = 0;
	patch->failed = false;
}

void patch_free(struct patch *patch)
{
	free(patch->write);
	free(patch->word);
	memset(patch, 0, sizeof *patch);
}

static bool grow(void **array, size_t *room, size_t needed, size_t size)
{
	size_t more = *room ? *room : 64;
	void *larger;

	if (needed <= *room)
		return true;
	while (more < needed)
		more *= 2;
	larger = realloc(*array, more * size);
	if (!larger)
		return false;
	*array = larger;
	*room = more;
	return true;
}

static void add(struct patch *patch, const void *image, struct fib_write write)
{
	size_t words = (write.bytes + 7) / 8;

	if (patch->failed ||
		!grow((void **)&patch->write, &patch->write_room, patch->writes + 1,
			sizeof *patch->write) ||
		!grow((void **)&patch->word, &patch->word_room, patch->words + words,
			sizeof *patch->word)) {
		patch->failed = true;
		return;
	}
	write.first = patch->words;
	patch->word[patch->words + words - 1] = 0;
	memcpy(patch->word + patch->words, (const uint8_t *)image + write.offset, write.bytes);
	patch->write[patch->writes++] = write;
	patch->words += words;
}

void patch_add(struct patch *patch, const void *image, uint64_t offset, uint64_t bytes)
{
	add(patch, image, (struct fib_write){.offset = offset, .bytes = (uint32_t)bytes});
}

void patch_publish(struct patch *patch, const void *image, uint64_t offset, uint32_t bytes)
{
	add(patch, image, (struct fib_write){.offset = offset, .bytes = bytes, .publishes = true});
}

const struct fib_patch *patch_view(struct patch *patch, uint64_t epoch)
{
	patch->view = (struct fib_patch){
		patch->write, patch->writes, patch->word, patch->words * 8, epoch};
	return &patch->view;
}

/* Release: pairs with the acquire load by which a lookup reads a publishing entry or root. */
static void publish(void *to, uint32_t bytes, uint64_t value)
{
	if (bytes == 4)
		atomic_store_explicit(
			(_Atomic uint32_t *)to, (uint32_t)value, memory_order_release);
	else
		atomic_store_explicit((_Atomic uint64_t *)to, value, memory_order_release);
}

void fib_patch_apply(const struct fib_patch *patch, void *device)
{
	for (size_t i = 0; i < patch->writes; i++) {
		const struct fib_write *write = &patch->write[i];
		const uint64_t *word = patch->word + write->first;
		uint8_t *to = (uint8_t *)device + write->offset;

		if (write->publishes)
			publish(to, write->bytes, *word);
		else
			for (uint32_t w = 0; w < write->bytes / 8; w++)
				atomic_store_explicit(
					(_Atomic uint64_t *)to + w, word[w], memory_order_relaxed);
	}
}
