/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings of the kernel (sysctl) that a router depends on. See doctor.h. */
#ifndef ROUTER_DOCTOR_SYSCTL_H
#define ROUTER_DOCTOR_SYSCTL_H

#include "router/doctor.h"

/* Of the namespace of the taps, and of each. */
void doctor_sysctls(const struct doctor *, json_t *found);
/* Of the interfaces of af_packet ports, in the namespace that the caller is in. */
void doctor_ports(const struct doctor *, json_t *found);

#endif
