/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel_above.h"

#include <linux/if.h>
#include <linux/if_ether.h>
#include <p2pnic/registers.h>
#include <string.h>

static const struct kernel_value *link_of(const struct kernel_ways *w, uint32_t ifindex)
{
	const struct kernel_key key = {.kind = KERNEL_LINK, .id = ifindex};

	return ifindex ? kernel_state_find(w->state, &key, 0) : NULL;
}

static bool is_above(const struct kernel_link *link, uint32_t ifindex)
{
	return link->lower == ifindex && !link->lower_is_away && (link->flags & IFF_UP);
}

static bool is_tag(const struct kernel_link *link)
{
	return link->kind == KERNEL_LINK_VLAN && link->vlan_type == ETH_P_8021Q &&
	       link->vlan < P2PNIC_VLANS_MAX;
}

void kernel_above_vlans(const struct kernel_ways *w, unsigned nic, struct vlans *vlans)
{
	const uint32_t tap = w->nics->ifindex[nic];
	const struct kernel_value *v = link_of(w, tap);
	struct kernel_key key;
	size_t from = 0;

	memset(vlans->state, P2PNIC_VLAN_HOST, sizeof(vlans->state));
	vlans->ingress = P2PNIC_INGRESS_HOST;
	if (!v || v->link.master)
		return;
	vlans->ingress = P2PNIC_INGRESS_FORWARD;
	memset(vlans->state, P2PNIC_VLAN_UNKNOWN, sizeof(vlans->state));
	while ((v = kernel_state_each(w->state, KERNEL_LINK, &from, &key))) {
		uint8_t *state = &vlans->state[v->link.vlan % P2PNIC_VLANS_MAX];
		const struct kernel_value *lower = link_of(w, v->link.lower);

		if (!is_tag(&v->link))
			continue;
		if (is_above(&v->link, tap))
			*state = v->link.master ? P2PNIC_VLAN_HOST : P2PNIC_VLAN_FORWARD;
		else if (lower && lower->link.kind == KERNEL_LINK_MACVLAN &&
			 is_above(&v->link, v->link.lower) && is_above(&lower->link, tap) &&
			 *state == P2PNIC_VLAN_UNKNOWN)
			*state = P2PNIC_VLAN_HOST;
	}
}

static bool is_among(const struct mac_addr *station, unsigned n, const struct mac_addr *mac)
{
	for (unsigned k = 0; k < n; k++)
		if (!memcmp(&station[k], mac, sizeof(*mac)))
			return true;
	return false;
}

unsigned kernel_above_stations(
	const struct kernel_ways *w, unsigned nic, struct mac_addr station[P2PNIC_STATIONS_MAX + 1])
{
	const uint32_t tap = w->nics->ifindex[nic];
	const struct kernel_value *own = link_of(w, tap), *v;
	struct kernel_key key;
	size_t from = 0;
	unsigned n = 0;

	while (own && n <= P2PNIC_STATIONS_MAX &&
		(v = kernel_state_each(w->state, KERNEL_LINK, &from, &key))) {
		const struct kernel_value *lower = link_of(w, v->link.lower);
		const bool macvlan = v->link.kind == KERNEL_LINK_MACVLAN;
		const bool here = (macvlan || is_tag(&v->link)) && is_above(&v->link, tap);
		const bool on_vlan = macvlan && lower && is_tag(&lower->link) &&
				     is_above(&v->link, v->link.lower) &&
				     is_above(&lower->link, tap);

		if ((here || on_vlan) && !is_among(&own->link.mac, 1, &v->link.mac) &&
			!is_among(station, n, &v->link.mac))
			station[n++] = v->link.mac;
	}
	return n;
}
