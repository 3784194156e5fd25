/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a key that is absent means, here and nowhere else: after config_load every key below has a
 * value, so that two configurations that say the same are the same, however they say it.
 *
 * Absent stays NULL where there is no value to stand for it: an engine's core (any), bounce_core
 * (any), a port's options (none), a NIC's mac (the interface's), runtime (config_runtime).
 *
 * Each value is an allocation of its own, as config_schema.h has it.
 */
#ifndef ROUTER_CONFIG_DEFAULTS_H
#define ROUTER_CONFIG_DEFAULTS_H

#include "router/config.h"

#define CONFIG_MTU_DEFAULT 1500u /* Ethernet's */

int config_defaults(struct config *); /* -ENOMEM */

/* Of the packet buffers, unless the file says it: the least that hold a packet of this MTU. */
unsigned config_buffer_bytes(unsigned mtu);

#endif
