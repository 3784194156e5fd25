/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NICs and engines that come, go and change while others forward.
 *
 * What runs together (struct nic_unit: the NICs of a process) begins and ends together. So a unit
 * stays as it is if each of its NICs is in the new configuration, with the same number, port,
 * engine and address, and no other NIC joins it. Any other unit leaves:
 *
 *   table     changed first, so that nothing leads to NICs that are removed
 *   STOP      its NICs receive no more; DRAIN_MS for what is in their rings
 *   parted    their peers close their pairs with them; taps of those that are removed go
 *   ended     the process
 *
 * When all that leave have ended, what is new begins: a NIC joins its peers as one that was
 * restarted does, and when it has, routes that lead to it are published (router_publish). A NIC
 * that is another than before, by the same name, leaves and begins, and keeps number and tap.
 *
 * Numbers stay: a place that a NIC has left is empty until another NIC gets it.
 */
#ifndef ROUTER_NICS_CHANGE_H
#define ROUTER_NICS_CHANGE_H

#include "ipc/error.h"
#include "router/config.h"
#include "router/plan.h"

struct router;

enum nic_fate { NIC_STAYS, NIC_ADDED, NIC_REMOVED, NIC_RESTARTED };

struct nics_change {
	enum nic_fate fate[P2PNIC_NICS_MAX];  /* by number; of an empty place NIC_STAYS */
	bool leaves[P2PNIC_NICS_MAX];         /* by unit */
	struct mac_addr mac[P2PNIC_NICS_MAX]; /* zero: not known before it has joined */
	char names[P2PNIC_NICS_MAX][DRIVER_NIC_NAME_BYTES];
	bool any;
};

/* What becomes of which NIC, if the router took this configuration, whose NICs get their numbers.
 * -errno with a sentence: there is no place, or no name for a socket; -ENOMEM. */
int nics_change_plan(
	const struct router *, struct config *, struct nics_change *, struct error *error);

/* Does it, in the loop. The configuration is the router's already, and its table made. */
void nics_change_begin(struct router *, const struct nics_change *);

/* "added: a, b; removed: c", or "". */
const char *nics_change_text(const struct nics_change *, char *text, size_t room);

/* A unit that leaves has ended. */
void unit_over(struct nic_unit *);

#endif
