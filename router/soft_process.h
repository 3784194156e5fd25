/* SPDX-License-Identifier: BSD-3-Clause */
/* The backend of soft NICs: processes that the router starts, and reaches over vfio-user. */
#ifndef ROUTER_SOFT_PROCESS_H
#define ROUTER_SOFT_PROCESS_H

#include "router/nic.h"

extern const struct nic_backend soft_process_backend;

/* Lets go of the process of a unit, without touching it. */
void soft_process_forget(struct nic_unit *);

#endif
