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

void patch_add(
	struct patch *patch, const void *image, uint64_t offset, uint64_t bytes, bool publishes)
{
	uint64_t end = (offset + bytes + 7) & ~7ull;
	size_t words;

	offset &= ~7ull;
	words = (size_t)((end - offset) / 8);
	if (patch->failed ||
		!grow((void **)&patch->write, &patch->write_room, patch->writes + 1,
			sizeof *patch->write) ||
		!grow((void **)&patch->word, &patch->word_room, patch->words + words,
			sizeof *patch->word)) {
		patch->failed = true;
		return;
	}
	patch->write[patch->writes++] =
		(struct fib_write){offset, (uint32_t)words, publishes, patch->words};
	memcpy(patch->word + patch->words, (const uint8_t *)image + offset, words * 8);
	patch->words += words;
}

const struct fib_patch *patch_view(struct patch *patch, uint64_t epoch)
{
	patch->view = (struct fib_patch){
		patch->write, patch->writes, patch->word, patch->words * 8, epoch};
	return &patch->view;
}

void fib_patch_apply(const struct fib_patch *patch, void *device)
{
	for (size_t i = 0; i < patch->writes; i++) {
		const struct fib_write *write = &patch->write[i];
		_Atomic uint64_t *to = (_Atomic uint64_t *)((uint8_t *)device + write->offset);

		/* Release: pairs with the acquire load by which a lookup reads a publishing word. */
		for (uint32_t w = 0; w < write->words; w++)
			atomic_store_explicit(to + w, patch->word[write->first + w],
				write->publishes ? memory_order_release : memory_order_relaxed);
	}
}
