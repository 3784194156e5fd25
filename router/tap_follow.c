/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/tap_follow.h"
#include "router/router.h"
#include "router/tap.h"

#include <stdio.h>
#include <string.h>

unsigned tap_mtu_max(const struct router *r)
{
	return P2PNIC_MTU_MAX(r->fabric.buffer_bytes) - (r->fabric.check ? P2PNIC_CHECK_BYTES : 0);
}

static bool same_mac(struct mac_addr a, struct mac_addr b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static void write_stations(struct router_nic *nic)
{
	const struct host_face *f = &nic->face;
	struct p2pnic_stations *list =
		(struct p2pnic_stations *)(void *)(nic->driver.bar2 + P2PNIC_BAR2_STATIONS);

	memcpy(list->address, f->station, f->stations * sizeof(f->station[0]));
	list->count = f->stations;
	const int result = driver_nic_command(&nic->driver, P2PNIC_OP_STATIONS, 0);

	if (result != P2PNIC_OK)
		router_warn(nic->router, "nic %s: addresses of its macvlans and VLANs: %s",
			nic->driver.name, driver_nic_result(result));
}

static void write_vlans(struct router_nic *nic)
{
	const int result = vlans_write(&nic->face.vlans, &nic->driver);

	if (result)
		router_warn(nic->router, "nic %s: whether it forwards what comes in: %s",
			nic->driver.name, strerror(-result));
}

/* What the link's message says may be of before this router gave it the NIC's address. */
static void follow_mac(struct router_nic *nic)
{
	static const struct mac_addr none;
	struct router *r = nic->router;
	struct mac_addr mac;

	if (tap_mac(nic->face.tap, &mac) || same_mac(mac, none) || same_mac(mac, nic->driver.mac))
		return;
	if (driver_nic_set_mac(&nic->driver, mac))
		return; /* it does not answer: when it is back, the tap's address is read */
	r->mac[nic - r->nic] = mac;
	router_say(r, "nic %s: has the address of its tap now", nic->driver.name);
}

static void follow_stations(struct router_nic *nic, const struct mac_addr *stations, unsigned count)
{
	struct host_face *f = &nic->face;
	const bool more = count > P2PNIC_STATIONS_MAX;

	if (more)
		count = P2PNIC_STATIONS_MAX;
	if (f->stations_known && f->stations == count &&
		!memcmp(f->station, stations, count * sizeof(*stations)))
		return;
	if (more)
		router_warn(nic->router,
			"nic %s: more than %u addresses of macvlans and VLANs; frames to the "
			"others are foreign-mac",
			nic->name, P2PNIC_STATIONS_MAX);
	if (count)
		memcpy(f->station, stations, count * sizeof(*stations));
	f->stations = count;
	f->stations_known = true;
	if (driver_nic_answers(&nic->driver))
		write_stations(nic);
}

/* Set back: an MTU that is not true would be believed by every daemon that reads it. */
static void follow_mtu(struct router_nic *nic, const struct kernel_link *link)
{
	struct router *r = nic->router;
	const unsigned max = tap_mtu_max(r);

	if (link->mtu <= max)
		return;
	router_warn(r,
		"nic %s: MTU %u of its tap is more than its buffers hold: set back to %u; larger "
		"buffer_bytes take a restart",
		nic->name, link->mtu, max);
	tap_set_mtu(nic->face.tap, &r->netns, max);
}

void tap_follow(struct router *r, unsigned k, const struct kernel_link *link,
	const struct mac_addr *stations, unsigned count, const struct vlans *vlans)
{
	struct router_nic *nic = &r->nic[k];
	struct host_face *f = &nic->face;

	follow_mtu(nic, link);
	if (driver_nic_answers(&nic->driver))
		follow_mac(nic);
	follow_stations(nic, stations, count);
	f->vlans = *vlans;
	f->vlans_known = true;
	if (driver_nic_answers(&nic->driver))
		write_vlans(nic);
}

void tap_follow_again(struct router_nic *nic)
{
	if (nic->face.stations_known)
		write_stations(nic);
	if (nic->face.vlans_known)
		write_vlans(nic);
}
