/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rates are those of switches that run SONiC (copp_cfg.j2: BGP and local 6000, ARP and ND 600,
 * neighbour misses 200), each for one NIC, but for glean: each packet of that class can make the
 * kernel add a neighbour, whose table is one for all. A source may take a tenth; a half where a
 * single one is rightly busy: a BGP peer that sends its table, a flow that leaves by a tunnel. A
 * burst is a tenth of a second.
 */
#include "router/policers.h"

#define GLEAN_ALL 200u /* of all NICs */
#define BURST_MIN 8u

struct limit {
	uint32_t all, source; /* packets a second; 0: none */
};

static const struct limit limits[P2PNIC_PUNT_COUNT] = {
	[P2PNIC_PUNT_HELLO] = {10000, 1000},
	[P2PNIC_PUNT_LOCAL] = {6000, 3000},
	[P2PNIC_PUNT_NEIGHBOR] = {600, 60},
	[P2PNIC_PUNT_GLEAN] = {GLEAN_ALL, GLEAN_ALL / 10},
	[P2PNIC_PUNT_EXCEPTION] = {1000, 100},
	[P2PNIC_PUNT_KERNEL] = {10000, 5000},
	[P2PNIC_PUNT_LINK] = {200, 20},
	[P2PNIC_PUNT_SAMPLE] = {0, 0},
};

static struct p2pnic_rate rate_of(uint32_t rate)
{
	const uint32_t burst = rate / 10;

	return (struct p2pnic_rate){.rate = rate, .burst = burst < BURST_MIN ? BURST_MIN : burst};
}

void policers_write(struct driver_nic *n, unsigned nics)
{
	struct p2pnic_policers *p = (struct p2pnic_policers *)(n->bar2 + P2PNIC_BAR2_POLICERS);

	for (unsigned k = 0; k < P2PNIC_PUNT_COUNT; k++) {
		struct limit limit = limits[k];

		if (k == P2PNIC_PUNT_GLEAN)
			limit.all = GLEAN_ALL / nics ? GLEAN_ALL / nics : 1;
		p->policer[k] = (struct p2pnic_policer){rate_of(limit.all), rate_of(limit.source)};
	}
}
