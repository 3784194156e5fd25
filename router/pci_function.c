/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/pci_function.h"

#include "driver/keeper.h"
#include "ipc/clock.h"
#include "router/router.h"

#include <errno.h>
#include <stdio.h>

static const struct config_nic *config_of(const struct nic_unit *u)
{
	return &u->router->config->nics[unit_next(u, NULL) - u->router->nic];
}

static void begin(struct nic_unit *u)
{
	/* A keeper that holds it for another configuration would keep its IOMMU group busy. */
	if (u->router->keeper.socket >= 0)
		keeper_drop(u->router->keeper.socket, config_of(u)->name);
	unit_next(u, NULL)->restarts += !u->router->starting;
	u->born_ns = clock_now_ns();
	unit_connect(u);
}

static int open_nic(struct router_nic *nic, struct error *error)
{
	const struct config_nic *n = config_of(nic->unit);
	char where[ROUTER_PATH_BYTES];

	if (snprintf(where, sizeof(where), "%s:%s", n->pci ? n->access : "card",
		    config_nic_target(n)) >= (int)sizeof(where))
		return error_set(error, -ENAMETOOLONG, "card %s: want a path of at most %u bytes",
			n->card, ROUTER_PATH_BYTES - 6);
	return device_open_begin(&nic->device, where, error);
}

/* It is where it was: the keeper has the descriptors. */
static int adopt(struct nic_unit *u, pid_t pid, uint64_t started)
{
	return 0;
}

static void end(struct nic_unit *u, const char *why)
{
	unit_later(u, why);
}

static const char *describe(const struct nic_unit *u, char text[NIC_UNIT_TEXT_BYTES])
{
	const struct config_nic *n = config_of(u);

	snprintf(text, NIC_UNIT_TEXT_BYTES, "%s %s", n->pci ? "PCI" : "card", config_nic_target(n));
	return text;
}

const struct nic_backend pci_function_backend = {
	.begin = begin,
	.open = open_nic,
	.adopt = adopt,
	.end = end,
	.describe = describe,
};
