/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a NIC finds its peers on the bus. Each device has an IOMMU domain of its own, so each NIC
 * has a plan of its own, within the addresses that its IOMMU takes (device->range).
 *
 * The addresses are cut into slots of a power of two, aligned to their size: of 4 GiB, or the
 * largest size of which BUS_PEERS lie within ranges whole. Peer p has the p-th of these, the host
 * the last one. The slot at 0 is none.
 *
 *     slot + 0           mailbox
 *          + size/4096   doorbell page
 *          + size/16     packets that the NIC writes, or reads (Rd); the host's, behind mailboxes
 *          + size/8      packets that the NIC reads: Bn, and the host's
 *          + size/2      of the host: the ring of captures
 *
 * An IOMMU of 39 bits with the hole of x86 for interrupts, 0xfee00000 to 0xfeefffff, has slots of 4
 * GiB, the first at 0x1_0000_0000. The plan follows from the ranges alone, not from settings: a
 * driver that takes a NIC over finds windows where the one before made them.
 */
#ifndef DRIVER_BUS_PLAN_H
#define DRIVER_BUS_PLAN_H

#include <p2pnic/limits.h>

#include "driver/device.h"

#define BUS_HOST  P2PNIC_NICS_MAX
#define BUS_PEERS (P2PNIC_NICS_MAX + 1u)

enum bus_part { BUS_MAILBOX, BUS_DOORBELL, BUS_PACKETS, BUS_READ, BUS_CAPTURE };

/* Is there room for BUS_PEERS peers, with so many bytes of packets each way? 0, or -ENOSPC
 * with a sentence. */
int bus_plan_check(const struct device *, uint64_t packets, struct error *error);

/* Of a device that was checked. */
struct bus_addr bus_plan_address(const struct device *, unsigned peer, enum bus_part part);

#endif
