/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space of any content and length, as a file of sysfs may hold it: {id, bytes wanted,
 * configuration space}. A capability that is found lies inside, and bears that id.
 */
#include "driver/pci_capability.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned id, bytes;
	int offset;

	if (size < 2 || size > 2 + PCI_CFG_SPACE_EXP_SIZE)
		return 0;
	id = data[0];
	bytes = 4 + data[1] % 60;
	size -= 2;
	/* Of exactly that size, so that a byte too far is seen. */
	uint8_t *config = malloc(size ? size : 1);

	memcpy(config, data + 2, size);
	offset = pci_capability_find(config, size, id, bytes);
	if (offset >= 0 && (offset + bytes > size || config[offset] != id))
		abort();
	offset = pci_capability_find_extended(config, size, id, bytes);
	if (offset >= 0 && (offset + bytes > size || pci_capability_word(config, offset) != id))
		abort();
	free(config);
	return 0;
}
