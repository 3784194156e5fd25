/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Defaults are those of switches that run SONiC (copp_cfg.j2: BGP and local 6000, ARP and ND 600,
 * neighbour misses 200), each for one NIC, but for glean: each packet of that class can make the
 * kernel add a neighbour, whose table is one for all. A source may take a tenth; a half where a
 * single one is rightly busy: a BGP peer that sends its table, a flow that leaves by a tunnel. A
 * burst is a tenth of a second.
 */
#include "router/policers.h"

#define BURST_MIN 8u

struct limit {
	uint32_t all, source; /* packets a second; 0: none */
};

static const struct limit defaults[P2PNIC_PUNT_COUNT] = {
	[P2PNIC_PUNT_HELLO] = {10000, 1000},
	[P2PNIC_PUNT_LOCAL] = {6000, 3000},
	[P2PNIC_PUNT_NEIGHBOR] = {600, 60},
	[P2PNIC_PUNT_GLEAN] = {200, 20}, /* of all NICs */
	[P2PNIC_PUNT_EXCEPTION] = {1000, 100},
	[P2PNIC_PUNT_KERNEL] = {10000, 5000},
	[P2PNIC_PUNT_LINK] = {200, 20},
	[P2PNIC_PUNT_SAMPLE] = {0, 0},
};

/* One of so many equal shares, at least a packet. */
static uint32_t share_of(uint32_t whole, unsigned shares)
{
	return whole && whole < shares ? 1 : whole / shares;
}

static struct p2pnic_rate rate_of(
	const unsigned *rate, const unsigned *burst, uint32_t otherwise, unsigned shares)
{
	const uint32_t each = share_of(rate ? *rate : otherwise, shares);
	const uint32_t tenth = each / 10 < BURST_MIN ? BURST_MIN : each / 10;

	return (struct p2pnic_rate){
		.rate = each, .burst = burst ? share_of(*burst, shares) : tenth};
}

struct p2pnic_policer policer_of(const struct config *c, enum p2pnic_punt_class class)
{
	const struct config_policer given =
		c->punt ? c->punt->class[class] : (struct config_policer)
	{
		0
	};
	const unsigned shares = class == P2PNIC_PUNT_GLEAN ? config_nics_used(c) : 1;

	return (struct p2pnic_policer){
		.all = rate_of(given.rate, given.burst, defaults[class].all, shares),
		.source = rate_of(given.source_rate, given.source_burst, defaults[class].source, 1),
	};
}

static struct p2pnic_policers *policers(const struct driver_nic *n)
{
	return (struct p2pnic_policers *)(n->bar2 + P2PNIC_BAR2_POLICERS);
}

void policers_write(struct driver_nic *n, const struct config *c)
{
	for (unsigned k = 0; k < P2PNIC_PUNT_COUNT; k++)
		policers(n)->policer[k] = policer_of(c, k);
}

struct p2pnic_policer policer_in_force(const struct driver_nic *n, enum p2pnic_punt_class class)
{
	return policers(n)->policer[class];
}
