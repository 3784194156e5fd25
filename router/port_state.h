/* SPDX-License-Identifier: BSD-3-Clause */
/* What a NIC says of its port now. */
#ifndef ROUTER_PORT_STATE_H
#define ROUTER_PORT_STATE_H

#include "driver/driver_nic.h"

struct port_state {
	bool link;
	char fault[P2PNIC_DESCRIPTION_BYTES]; /* "": nothing is wrong */
};

/* 0; or -errno: it did not answer (asked no further then), or the connection is lost. Two register
 * reads while nothing is wrong. */
int port_state_read(struct driver_nic *, struct port_state *);

/* What the port is and how it runs; -errno likewise. */
int port_mode_read(struct driver_nic *, char mode[P2PNIC_DESCRIPTION_BYTES]);

#endif
