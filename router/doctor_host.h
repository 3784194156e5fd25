/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the host lacks or does wrong for a configuration's NICs; see doctor.h. It looks at sysfs,
 * procfs and the interfaces of ports, in the namespace that the caller is in, and waits for
 * nothing.
 */
#ifndef ROUTER_DOCTOR_HOST_H
#define ROUTER_DOCTOR_HOST_H

#include "router/doctor.h"

void doctor_host(const struct doctor *, json_t *found);

#endif
