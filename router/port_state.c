/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/port_state.h"

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX

int port_state_read(struct driver_nic *n, struct port_state *s)
{
	uint32_t link = 0;
	int error;

	*s = (struct port_state){0};
	error = driver_nic_read(n, P2PNIC_REG_LINK, &link);
	if (!error)
		error = driver_nic_read(n, P2PNIC_REG_SPEED, &s->speed_mbps);
	if (!error)
		error = device_read(
			n->device, BAR0, P2PNIC_BAR0_DESCRIPTION, s->mode, sizeof(s->mode) - 1);
	if (!error)
		error = device_read(
			n->device, BAR0, P2PNIC_BAR0_FAULT, s->fault, sizeof(s->fault) - 1);
	s->link = link;
	return error;
}
