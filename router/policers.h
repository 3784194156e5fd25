/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rates of punted packets (p2pnic/punt.h): those that the configuration gives, and for keys that
 * are absent the defaults, which are here and nowhere else.
 */
#ifndef ROUTER_POLICERS_H
#define ROUTER_POLICERS_H

#include "driver/driver_nic.h"
#include "router/config.h"

/* Of a class, for each NIC of that configuration. */
struct p2pnic_policer policer_of(const struct config *, enum p2pnic_punt_class);

/* Into a NIC that has joined, at any time: its next packet goes by them. Stores, no message. */
void policers_write(struct driver_nic *, const struct config *);

/* What the NIC goes by. */
struct p2pnic_policer policer_in_force(const struct driver_nic *, enum p2pnic_punt_class);

#endif
