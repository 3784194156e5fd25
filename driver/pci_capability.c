/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/pci_capability.h"

#include <errno.h>

/* The most that fit without overlap: a longer list loops. The least capability has 4 bytes, the
 * least extended one 8. */
#define LIST_MAX     ((PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / 4)
#define EXTENDED_MAX ((PCI_CFG_SPACE_EXP_SIZE - PCI_CFG_SPACE_SIZE) / 8)

/* The capability at `offset` has so many bytes: within its space, and within the copy? */
static int there(unsigned offset, unsigned bytes, size_t size, unsigned space)
{
	if (offset + bytes > space)
		return -EILSEQ;
	return offset + bytes > size ? -ENODATA : (int)offset;
}

int pci_capability_find(const uint8_t *config, size_t size, unsigned id, unsigned bytes)
{
	unsigned offset;

	if (size < PCI_STD_HEADER_SIZEOF)
		return -ENODATA;
	if (!(pci_capability_word(config, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return -ENOENT;
	offset = config[PCI_CAPABILITY_LIST] & 0xfcu; /* the low two bits are reserved */
	for (unsigned n = 0; offset; n++) {
		int here = there(offset, 2, size, PCI_CFG_SPACE_SIZE);

		if (n == LIST_MAX || offset < PCI_STD_HEADER_SIZEOF)
			return -EILSEQ;
		if (here < 0)
			return here;
		if (config[offset + PCI_CAP_LIST_ID] == id)
			return there(offset, bytes, size, PCI_CFG_SPACE_SIZE);
		offset = config[offset + PCI_CAP_LIST_NEXT] & 0xfcu;
	}
	return -ENOENT;
}

int pci_capability_find_extended(const uint8_t *config, size_t size, unsigned id, unsigned bytes)
{
	unsigned offset = PCI_CFG_SPACE_SIZE;

	if (size == PCI_CFG_SPACE_SIZE) /* all that a conventional function has */
		return -ENOENT;
	for (unsigned n = 0; offset; n++) {
		int here = there(offset, 4, size, PCI_CFG_SPACE_EXP_SIZE);
		unsigned next;

		if (n == EXTENDED_MAX || offset < PCI_CFG_SPACE_SIZE)
			return -EILSEQ;
		if (here < 0)
			return here;
		next = pci_capability_word(config, offset + 2);
		/* No list: zeros, or ones where nothing answers. */
		if (n == 0 && (pci_capability_word(config, offset) == 0xffff ||
				      (!pci_capability_word(config, offset) && !next)))
			return -ENOENT;
		if (pci_capability_word(config, offset) == id)
			return there(offset, bytes, size, PCI_CFG_SPACE_EXP_SIZE);
		offset = next >> 4 & 0xffcu;
	}
	return -ENOENT;
}
