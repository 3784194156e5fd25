/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/settings.h"

#include "router/router.h"
#include "router/vlans.h"

#include <unistd.h>

/* Routers one behind the other want different seeds, and each wants the one that it had before it
 * was restarted: FNV-1a (Fowler, Noll, Vo) of where it runs. */
static uint32_t seed_of_place(const struct router *r)
{
	char host[256] = "";
	uint32_t hash = 2166136261u;

	gethostname(host, sizeof(host) - 1);
	for (const char *at = host; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619u;
	for (const char *at = r->runtime; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619u;
	return hash;
}

struct settings {
	uint32_t mtu, seed, flow, reverse_path;
};

static struct settings settings_of(
	const struct router *r, unsigned nic, const struct config *config)
{
	const struct config_router *own = config->router;

	return (struct settings){
		.mtu = *config->nics[nic].mtu,
		.seed = own->flow_seed ? *own->flow_seed : seed_of_place(r),
		.flow = (*own->symmetric_flows ? P2PNIC_FLOW_SYMMETRIC : 0) |
			(*own->inner_flows ? P2PNIC_FLOW_INNER : 0),
		.reverse_path = config->nics[nic].reverse_path_number,
	};
}

int settings_write(
	struct router *r, unsigned nic, const struct config *old, const struct config *now)
{
	const struct settings to = settings_of(r, nic, now);
	const struct settings from = old ? settings_of(r, nic, old) : (struct settings){0};
	const struct {
		unsigned offset;
		uint32_t from, to;
	} word[] = {
		{P2PNIC_REG_MTU, from.mtu, to.mtu},
		{P2PNIC_REG_FLOW_SEED, from.seed, to.seed},
		{P2PNIC_REG_FLOW, from.flow, to.flow},
		{P2PNIC_REG_REVERSE_PATH, from.reverse_path, to.reverse_path},
	};
	struct vlans vlans;
	int result = 0;

	if (!now->kernel) { /* else the kernel's: tap_follow.c */
		vlans_configured(&vlans, &now->nics[nic]);
		result = vlans_write(&vlans, &r->nic[nic].driver);
	}
	for (unsigned k = 0; k < sizeof(word) / sizeof(*word) && !result; k++)
		if (!old || word[k].from != word[k].to)
			result = driver_nic_write(&r->nic[nic].driver, word[k].offset, word[k].to);
	return result;
}
