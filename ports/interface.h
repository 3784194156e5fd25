/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A Linux network interface as the ports on one see it: af_packet, af_xdp, tap.
 *
 * An interface is found by name, in the network namespace of the thread that called interface_open;
 * later calls stay in that namespace whichever thread makes them. It may vanish and return under
 * its name with another index at any time: interface_refresh tells.
 *
 * Its carrier comes and goes without notice, too. The kernel tells listeners of that (rtnetlink(7),
 * RTM_NEWLINK): `events` is readable then, and is the control descriptor of the ports. A filter in
 * the socket lets through what concerns this interface alone, so others of the namespace wake
 * nobody, however many they are. Messages are not read but thrown away, and the state is asked for:
 * that holds for lost ones (ENOBUFS) too. An interface that returns with another index is found
 * without them.
 */
#ifndef P2PNIC_PORTS_INTERFACE_H
#define P2PNIC_PORTS_INTERFACE_H

#include "ipc/error.h"
#include "port.h"

struct interface {
	int socket; /* rtnetlink; serves ioctl too, and stays in the namespace it was made in */
	int events; /* rtnetlink, RTNLGRP_LINK: what the kernel says of this interface, unasked */
	char name[16];
	int index; /* 0: no interface of that name now */
	bool up;   /* administratively up */
	bool link; /* up, and a carrier */
	uint32_t mtu;
	uint32_t speed_mbps; /* 0: unknown */
	struct mac_addr mac;

	bool restore_gro, restore_lro; /* turned off by interface_no_merging: on again at close */
};

/* None: may be closed. */
#define INTERFACE_NONE ((struct interface){.socket = -1, .events = -1})

/* Finds it and reads its state. 0, or -errno with a sentence in error (no such interface, not
 * Ethernet). */
int interface_open(struct interface *, const char *name, struct error *error);
void interface_close(struct interface *);

/* Reads the state again. True: the interface is another one than before (deleted, or created
 * anew). */
bool interface_refresh(struct interface *);

/* Sets it up (IFF_UP) when it is down. 0 or -errno, typically -EPERM. */
int interface_set_up(struct interface *);

/* Turns GRO and LRO off until close, so that received frames are those of the wire. Without the
 * right to (CAP_NET_ADMIN) merged frames go on arriving. 0 or -errno. */
int interface_no_merging(struct interface *);

int interface_set_mtu(struct interface *, unsigned mtu);

/* Receives its counters from the kernel; false (and zeros) without. */
struct rtnl_link_stats64;
bool interface_statistics(const struct interface *, struct rtnl_link_stats64 *);

/* Whether frames come from a stack on this machine, with checksums left undone: no hardware
 * behind. */
bool interface_is_virtual(const struct interface *);

/* Whether that driver ("veth") is behind it. */
bool interface_has_driver(const struct interface *, const char *driver);

/* Receive queues in use and how many could be; 1 and 1 where the driver does not say. */
void interface_channels(struct interface *, unsigned *used, unsigned *possible);

/* Makes it n queues (ethtool -L combined n). 0 or -errno. */
int interface_set_channels(struct interface *, unsigned n);

void interface_info(const struct interface *, struct port_info *);

#endif
