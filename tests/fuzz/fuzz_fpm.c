/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream of zebra's FPM, any bytes, in pieces of any length: each frame is read within itself,
 * pieces make no difference, and every route that is said is one that an answer can be written for.
 */
#include "router/fpm_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_route(void *context, const struct fpm_route *r, bool removed)
{
	uint8_t frame[FPM_ANSWER_BYTES];
	const size_t bytes = fpm_answer(frame, r, removed);
	uint64_t *digest = context;

	if (bytes > sizeof(frame) || bytes < 40 ||
		r->prefix.length > address_bits(&r->prefix.address))
		abort();
	*digest =
		*digest * 31 + r->prefix.address.bits.high + r->prefix.length + r->table + removed;
	if (digest[1]++ > 1u << 20)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fpm_input whole, parts;
	uint64_t one[2] = {0}, other[2] = {0};
	int result[2] = {0};

	whole.n = parts.n = 0;
	result[0] = fpm_take(&whole, data, size, on_route, one);
	for (size_t at = 0; at < size && !result[1];) {
		size_t n = 1 + data[at] % 7;

		n = n < size - at ? n : size - at;
		result[1] = fpm_take(&parts, data + at, n, on_route, other);
		at += n;
	}
	if (result[0] != result[1] || memcmp(one, other, sizeof(one)) != 0)
		abort();
	return 0;
}
