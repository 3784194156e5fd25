/* SPDX-License-Identifier: BSD-3-Clause */
/* VERSION payloads: whatever parses must give limits that are limits. */
#include <stdlib.h>
#include <string.h>
#include <vfio_user/version.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct vfio_user_limits limits;
	uint8_t again[512];
	struct error error;

	if (bytes > 1 << 20)
		return 0;
	/* Exactly as long as it is: a byte read past the end is seen. */
	uint8_t *payload = malloc(bytes ? bytes : 1);
	if (bytes)
		memcpy(payload, data, bytes);
	if (vfio_user_version_parse(payload, (uint32_t)bytes, &limits, &error) == 0) {
		if (!limits.max_msg_fds || !limits.max_data_xfer_size || !limits.max_dma_maps ||
			!limits.pgsizes)
			abort();
		struct vfio_user_limits back;
		int n = vfio_user_version_build(again, sizeof(again), &limits);
		/* What is not named is not said, so only the names and values said must come
		 * back. */
		if (n < 0 || vfio_user_version_parse(again, (uint32_t)n, &back, &error) != 0 ||
			back.major != limits.major || back.minor != limits.minor ||
			back.named != limits.named || back.max_msg_fds != limits.max_msg_fds ||
			back.max_data_xfer_size != limits.max_data_xfer_size ||
			back.max_dma_maps != limits.max_dma_maps ||
			back.pgsizes != limits.pgsizes ||
			back.write_multiple != limits.write_multiple)
			abort();
	}
	free(payload);
	return 0;
}
