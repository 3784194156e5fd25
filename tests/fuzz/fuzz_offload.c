/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames with what a sender left for hardware to finish: {virtio-net header, frame}. Checksums are
 * written inside the frame; pieces of a super-frame are no longer than they may be, and hold its
 * payload, all of it, in order.
 */
#include "ports/offload.h"

#include <p2pnic/limits.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr header;
	struct offload_split split;
	uint32_t length, bytes, payload = 0;

	if (size < sizeof(header) || size > 65000)
		return 0;
	memcpy(&header, data, sizeof(header));
	length = (uint32_t)(size - sizeof(header));
	/* Of exactly that size, so that a byte too far is seen. */
	uint8_t *frame = malloc(length ? length : 1), *piece = malloc(LONGEST);

	memcpy(frame, data + sizeof(header), length);
	offload_checksum(frame, length, &header);
	memcpy(frame, data + sizeof(header), length);
	offload_repair(frame, length);
	memcpy(frame, data + sizeof(header), length);
	if (offload_split_begin(&split, frame, length, &header, LONGEST)) {
		while ((bytes = offload_split_next(&split, piece))) {
			if (bytes > LONGEST || bytes <= split.headers ||
				memcmp(piece + split.headers, frame + split.headers + payload,
					bytes - split.headers) != 0)
				abort();
			payload += bytes - split.headers;
		}
		if (payload != split.length - split.headers || split.length > length)
			abort();
	}
	free(frame);
	free(piece);
	return 0;
}
