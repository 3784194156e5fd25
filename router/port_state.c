/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/port_state.h"

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX

bool port_state_answers(struct driver_nic *n, unsigned patience_ms)
{
	const unsigned before = n->device->timeout_ms;
	uint32_t id;

	/* Configuration space: a register would stop the engine between two bursts. */
	n->device->timeout_ms = patience_ms;
	bool answers = device_config_read(n->device, 0, 4, &id) == 0;

	n->device->timeout_ms = before;
	return answers;
}

int port_state_read(struct driver_nic *n, struct port_state *s)
{
	const unsigned before = n->device->timeout_ms;
	uint32_t link = 0;
	int error;

	*s = (struct port_state){0};
	n->device->timeout_ms = PORT_STATE_PATIENCE_MS;
	error = driver_nic_read(n, P2PNIC_REG_LINK, &link);
	if (!error)
		error = driver_nic_read(n, P2PNIC_REG_SPEED, &s->speed_mbps);
	if (!error)
		error = device_read(
			n->device, BAR0, P2PNIC_BAR0_DESCRIPTION, s->mode, sizeof(s->mode) - 1);
	if (!error)
		error = device_read(
			n->device, BAR0, P2PNIC_BAR0_FAULT, s->fault, sizeof(s->fault) - 1);
	n->device->timeout_ms = before;
	s->link = link;
	return error;
}
