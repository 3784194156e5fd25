/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs of any content over frames of any content: {instructions, instructions × 8 bytes,
 * frame}. One that the firmware takes accepts what libpcap's interpreter does. That leaves memory
 * as it found it, so programs begin with sixteen stores.
 */
#include "firmware/filter.h"

#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#define STORES 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct p2pnic_instruction program[P2PNIC_CAPTURE_FILTER_MAX + 1];
	struct bpf_insn twin[P2PNIC_CAPTURE_FILTER_MAX];
	struct frame frames[P2PNIC_BURST_MAX];
	uint64_t wanted = 0;
	uint32_t count;

	if (size < 1 || size < 1u + data[0] * sizeof(*program))
		return 0;
	count = data[0];
	data++;
	size -= 1 + count * sizeof(*program);
	if (STORES + count > P2PNIC_CAPTURE_FILTER_MAX)
		return 0;
	for (uint32_t k = 0; k < STORES; k++)
		program[k] = (struct p2pnic_instruction){0x02, 0, 0, k};
	memcpy(program + STORES, data, count * sizeof(*program));
	/* Most codes are none: so more programs run. */
	for (uint32_t k = STORES; k < STORES + count; k++)
		program[k].code &= 0xff;
	if (!filter_valid(program, STORES + count))
		return 0;
	/* Of exactly that size, so that a byte too far is seen. */
	uint8_t *frame = malloc(size ? size : 1);

	memcpy(frame, data + count * sizeof(*program), size);
	memcpy(twin, program, (STORES + count) * sizeof(*program));
	/* The whole frame, and shorter ones beside it in the burst. */
	for (uint32_t k = 0; k < P2PNIC_BURST_MAX; k++) {
		const uint32_t length = k < size ? (uint32_t)size - k : 0;

		frames[k] = (struct frame){frame, length};
		wanted |= (uint64_t) !!bpf_filter(twin, frame, length, length) << k;
	}
	if (filter_run(program, STORES + count, frames, P2PNIC_BURST_MAX) != wanted)
		abort();
	free(frame);
	return 0;
}
