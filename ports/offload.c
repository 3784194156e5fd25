/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload.h"

#include <string.h>

uint16_t offload_sum(const uint8_t *bytes, uint32_t length, uint16_t start)
{
	uint64_t sum = start;
	uint32_t at = 0;

	/* RFC 1071 §2 (B), (C): any word size and byte order will do, folded at the end. */
	for (; at + 4 <= length; at += 4) {
		uint32_t word;
		memcpy(&word, bytes + at, 4);
		sum += word;
	}
	for (; at + 2 <= length; at += 2) {
		uint16_t word;
		memcpy(&word, bytes + at, 2);
		sum += word;
	}
	if (at < length) {
		uint8_t last[2] = {bytes[at], 0};
		uint16_t word;
		memcpy(&word, last, 2);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

bool offload_checksum(uint8_t *frame, uint32_t length, const struct virtio_net_hdr *header)
{
	uint32_t start = header->csum_start;
	uint32_t field = start + header->csum_offset;

	if (start > length || field + 2 > length)
		return false;
	/* The field holds the sum of the pseudo-header, so it takes part like any other word. */
	uint16_t sum = (uint16_t)~offload_sum(frame + start, length - start, 0);
	/* RFC 768: an UDP checksum of 0 means "none"; its other form is right for TCP too. */
	if (sum == 0)
		sum = 0xffff;
	memcpy(frame + field, &sum, 2);
	return true;
}
