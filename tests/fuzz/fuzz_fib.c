/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Differential fuzzing of the line trie: the input is a sequence of changes; after each batch the
 * copy that patches keep up to date must answer as the naive twin does. First byte: bit 0 family,
 * bit 1 late epochs, bit 2 a room so small that changes are refused, bit 3 an image of version 1.
 *
 * A change is 6 bytes: {slot, slot, slot, length, next hop, control}; slots are spread over the
 * address so that few bytes make nested, neighbouring and deep prefixes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fib/check.h"
#include "fib/fib_image.h"
#include "firmware/fib_lookup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fib_route route_of(const uint8_t *in, unsigned family)
{
	unsigned most = family == 4 ? 32 : 128, length = in[3] % (most + 1);
	struct fib_route r = {.length = (uint8_t)length, .family = (uint8_t)family};

	if (family == 4)
		r.prefix.high = (uint64_t)(in[0] % 4) << 56 | (uint64_t)in[1] << 40 |
				(uint64_t)(in[2] & 15) << 36 | (uint64_t)(in[2] >> 4) << 52;
	else
		r.prefix = (struct fib_ipv6){(uint64_t)(in[0] % 4) << 60 | (uint64_t)in[1] << 40 |
						     (uint64_t)(in[0] >> 2) << 21 |
						     (uint64_t)(in[2] & 15) << 8,
			(uint64_t)(in[2] >> 4) << 4};
	r.prefix.high &= length >= 64 ? ~0ull : ~(~0ull >> length);
	r.prefix.low &= length <= 64 ? 0 : length >= 128 ? ~0ull : ~(~0ull >> (length - 64));
	r.next_hop = (uint16_t)(in[5] & 3 ? in[4] % 250 + 1 : in[4] * 16u);
	if (in[5] & 4)
		r.next_hop = 0;
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error error;
	struct fib_route batch[16];
	const struct fib_patch *patch;
	struct check check = {0};
	struct naive twin;
	struct fib *fib;
	uint8_t *device;
	unsigned family, n = 0;
	uint64_t room, seed = 1;
	bool late;

	if (size < 1)
		return 0;
	family = data[0] & 1 ? 6 : 4;
	late = data[0] & 2;
	room = data[0] & 4 ? P2PNIC_LINE_TRIE_NODES + 2048 : 1u << 20;
	fib = fib_new(
		&(struct fib_config){family, P2PNIC_FIB_LINE_TRIE, room, data[0] & 8}, &error);
	device = aligned_alloc(64, room);
	if (!fib || !device || naive_open(&twin))
		abort();
	fib_image_write(fib, device);
	for (data++, size--; size >= 6; data += 6, size -= 6) {
		int status;

		batch[n++] = route_of(data, family);
		if (n < 16 && data[5] & 8 && size >= 12)
			continue;
		status = fib_change(fib, batch, n, &patch, &error);
		if (!status) {
			fib_patch_apply(patch, device);
			for (unsigned i = 0; i < n; i++)
				if (naive_set(&twin, &batch[i]))
					abort();
			if (!late || data[5] & 16)
				fib_epoch_passed(fib, patch->epoch);
		} else if (status != -ENOSPC && status != -EAGAIN) {
			abort();
		}
		check_boundaries(device, family, &twin, batch, n, &check);
		check_random_addresses(device, family, &twin, batch, n, 8, seed++, &check);
		n = 0;
		if (check.mismatches)
			abort();
	}
	if (!fib_image_valid(device, room, family))
		abort();
	fib_free(fib);
	naive_close(&twin);
	free(device);
	return 0;
}
