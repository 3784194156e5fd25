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

/* Of keys whose default follows from the number of NICs. */
#define CONFIG_DERIVED_SLOTS  1u /* ring_slots */
#define CONFIG_DERIVED_MEMORY 2u /* packet_memory_mib */
#define CONFIG_DERIVED_PLACES 4u /* nics_max */

/*
 * Gives those keys the values that a configuration of `nics` NICs has. A router that NICs are added
 * to goes on with what it was started with: this, for the number that it had then.
 *
 * config_size_like: for the least number that makes rings and packet memory these. False: none
 * does, or it has no place for this configuration's NICs; nothing has changed then.
 */
void config_size(struct config *, unsigned nics);
bool config_size_like(struct config *, unsigned ring_slots, unsigned packet_memory_mib);

/* NICs for which there is packet memory. */
unsigned config_places(const struct config *);

/* Of the packet buffers, unless the file says it: the least that hold a packet of this MTU. */
unsigned config_buffer_bytes(unsigned mtu);

#endif
