/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memories that an af_xdp port sends from: packet memory, and those of other NICs (port.h,
 * reach).
 *
 * A UMEM is one range of addresses, registered once. So the memories are mapped a second time, side
 * by side, and the range is registered:
 *
 *     address   0                at[1]            at[2]
 *               │ packet memory  │ a NIC's        │ another NIC's  │
 *
 * Without others the range is packet memory where it lies. In either case packet memory comes
 * first: what is received there has the same address in both.
 *
 * A memory that comes later is not in the UMEM, hence not reachable, and its packets are copied
 * until the socket is next made. For its sake that happens when receiving starts, as in a router
 * whose NICs have all found one another, and while the link is down: frames that arrive meanwhile
 * are lost.
 *
 * A memory that leaves stays registered. The kernel has its pages pinned, so whatever its NIC and
 * the kernel do, they are nobody else's until the socket is closed: a NIC that died costs its
 * packet memory until then. Its number may name another memory, which is not reachable before that.
 *
 * Not without a copy: there the UMEM is mapped for the card, which would reach all NICs' memory,
 * and might read it for some time after the socket was closed.
 */
#ifndef P2PNIC_PORTS_AF_XDP_MEMORY_H
#define P2PNIC_PORTS_AF_XDP_MEMORY_H

#include "af_xdp.h"

/* As in port.h. */
unsigned af_xdp_reach(void *port, const struct port_memory *);
uint64_t af_xdp_reachable(const void *port);
void af_xdp_leave(void *port, unsigned memory);

/* There are memories that were not when the range was made. */
bool af_xdp_memories_late(const struct af_xdp_port *);

/*
 * Makes the range to register, with the others' memories or without: port->range, range_bytes, and
 * where in it each memory is. Of the others, one that cannot be mapped again is left out. 0 or
 * -ENOMEM: no range. No frame of the others is in flight.
 */
int af_xdp_map_range(struct af_xdp_port *, bool others);
void af_xdp_unmap_range(struct af_xdp_port *);

#endif
