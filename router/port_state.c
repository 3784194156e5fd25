/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/port_state.h"

#include <string.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX

/* Reads up to the NUL, twice as far each time: over PCI every word is a trip, over vfio-user every
 * access is a message. */
static int read_text(struct driver_nic *n, uint64_t at, char text[P2PNIC_DESCRIPTION_BYTES])
{
	size_t have = 0;
	int error;

	_Static_assert((P2PNIC_DESCRIPTION_BYTES & (P2PNIC_DESCRIPTION_BYTES - 1)) == 0,
		"doubling ends at the text's end");
	do {
		const size_t more = have ? have : sizeof(uint32_t);

		error = device_read(n->device, BAR0, at + have, text + have, more);
		have += more;
	} while (!error && have < P2PNIC_DESCRIPTION_BYTES && !memchr(text, 0, have));
	text[P2PNIC_DESCRIPTION_BYTES - 1] = 0;
	return error;
}

int port_state_read(struct driver_nic *n, struct port_state *s)
{
	uint32_t link = 0;
	int error = driver_nic_read(n, P2PNIC_REG_LINK, &link);

	s->link = link;
	return error ? error : read_text(n, P2PNIC_BAR0_FAULT, s->fault);
}

int port_mode_read(struct driver_nic *n, char mode[P2PNIC_DESCRIPTION_BYTES])
{
	return read_text(n, P2PNIC_BAR0_DESCRIPTION, mode);
}
