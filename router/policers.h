/* SPDX-License-Identifier: BSD-3-Clause */
/* Rates of punted packets (p2pnic/punt.h), as this router sets them. */
#ifndef ROUTER_POLICERS_H
#define ROUTER_POLICERS_H

#include "driver/driver_nic.h"

/* For one of so many NICs. */
void policers_write(struct driver_nic *, unsigned nics);

#endif
