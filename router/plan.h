/* SPDX-License-Identifier: BSD-3-Clause */
/* Which NIC runs where, and what its process is started with. */
#ifndef ROUTER_PLAN_H
#define ROUTER_PLAN_H

#include "router/nic.h"

struct config;

struct nic_plan {
	const struct nic_backend *backend;
	char unit[DRIVER_NIC_NAME_BYTES];
	char engine[DRIVER_NIC_NAME_BYTES];
	char spec[ROUTER_SPEC_BYTES];
	char socket[ROUTER_PATH_BYTES];
};

/* What all NICs have in common. -errno, r->error. */
int plan_open(struct router *);

/* Of NIC k of a configuration. -ENAMETOOLONG with a sentence. */
int plan_nic(const struct router *, const struct config *, unsigned k, struct nic_plan *,
	struct error *error);

/* What a spec says of the NIC's number, and of what follows from how many NICs there are. False: it
 * is none. */
bool plan_spec_sizes(const char *spec, unsigned *number, unsigned *ring_slots, unsigned *mib);

/* Gives NICs of the configuration that have no unit theirs. -errno, r->error. */
int plan_make(struct router *);

int plan_start(struct router *, struct nic_unit *); /* -errno, r->error */

#endif
