/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a NIC says of its port now, asked with little patience: who asks is a person, or the router's loop,
 * which has other NICs to look after. A NIC whose process hangs does not answer; its packets may flow on.
 */
#ifndef ROUTER_PORT_STATE_H
#define ROUTER_PORT_STATE_H

#include "driver/driver_nic.h"

#define PORT_STATE_PATIENCE_MS 500u

struct port_state {
	bool link;
	uint32_t speed_mbps; /* 0: unknown */
	char mode[P2PNIC_DESCRIPTION_BYTES];
	char fault[P2PNIC_DESCRIPTION_BYTES]; /* "": nothing is wrong */
};

/* Whether it answers at all within that time. Costs forwarding nothing. */
bool port_state_answers(struct driver_nic *, unsigned patience_ms);

/* 0; or -errno: it did not answer (asked no further then), or the connection is lost. */
int port_state_read(struct driver_nic *, struct port_state *);

#endif
