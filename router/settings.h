/* SPDX-License-Identifier: BSD-3-Clause */
/* What in a NIC follows the configuration, also while it forwards: MTU, how flows are hashed,
 * whether the source of a packet must have a way back, VLANs. */
#ifndef ROUTER_SETTINGS_H
#define ROUTER_SETTINGS_H

struct config;
struct router;

/* Writes those of one NIC that `old` (NULL: the NIC was reset) has otherwise. 0, or -errno of the
 * first that failed. */
int settings_write(
	struct router *, unsigned nic, const struct config *old, const struct config *now);

#endif
