/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap: the wire leads into this host. The NIC's port is one end, the network interface of that name
 * the other: frames the host sends through the interface are received here, frames sent here arrive
 * there.
 *
 *   target   name of the interface: created, or attached to when it is a free tap already
 *            (`ip tuntap add NAME mode tap user USER`, for a user without CAP_NET_ADMIN)
 *   options  up=off        leave the interface down; on: set it up
 *            mtu=N         set the interface's MTU
 *            owner=UID, group=GID   who else may attach to it
 *            persist=on    it stays when the port closes
 *
 * The interface is the host's NIC, not this one: its MAC address must not be the port's, so
 * port_info.mac stays zero. The kernel completes checksums and cuts super-frames before they come
 * here (no TUNSETOFFLOAD). One system call a frame.
 *
 * The interface may be moved to another network namespace; its state is out of sight there, so the
 * link counts as up, and a frame it refuses as failed. When the interface is deleted, the port has
 * no link; it attaches again when a tap of that name appears.
 */
#ifndef P2PNIC_PORTS_TAP_H
#define P2PNIC_PORTS_TAP_H

#include "buffers.h"
#include "common.h"
#include "interface.h"
#include "send_queue.h"

struct tap_port {
	struct send_queue queue;
	uint8_t *memory;
	uint64_t memory_bytes;
	uint32_t buffer_bytes;
	struct interface interface;
	int device; /* of /dev/net/tun, attached to the interface */
	bool leave_down;
	bool persist;
	unsigned mtu;          /* 0: as it is */
	unsigned owner, group; /* UINT32_MAX: as it is */

	struct port_buffers own; /* frame k of a burst lies in buffer k */
	uint64_t oversize;
};

extern const struct port_ops tap_port_ops;

#endif
