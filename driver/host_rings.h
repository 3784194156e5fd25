/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The four rings between a NIC and its host (p2pnic/punt.h), as the driver makes them: memory,
 * windows, peer entries, interrupts. Who serves them attaches to what host_rings_share hands out
 * (host_ring.h), in this process or in another.
 *
 * Each NIC has memory of its own, a memfd, and two windows onto it at the bus addresses of the peer
 * behind the last NIC (bus_plan.h): mailboxes and punts to write, injects to read. Wr: injects go
 * into the NIC's BAR4, where the fabric leaves room (fabric_host_buffers). Vectors 0 to 3 share an
 * eventfd: whoever serves the rings looks at all of them, by priority, whichever woke it.
 *
 * Rings run on without this process if something keeps the device (device.h), the memfd and the
 * eventfd. The next driver finds them in place by host_rings_adopt.
 *
 * Rings are opened anew under another epoch, in new memory: who serves the old ones finds them
 * closed (host_ring_is_open), and must have let go of them before. What it has not released or the
 * NIC not sent is lost then.
 *
 * Not for every device: a card, and a NIC without an IOMMU (device->physical), reach no memory of
 * the host: -ENOTSUP.
 */
#ifndef DRIVER_HOST_RINGS_H
#define DRIVER_HOST_RINGS_H

#include "driver/driver_nic.h"
#include "driver/host_ring.h"

struct host_rings {
	struct driver_nic *nic; /* NULL: none are open */
	uint32_t slots;
	uint64_t inject_offset;
	int memory_fd, event; /* a keeper's business too */
	uint8_t *memory;
	uint64_t bytes;
};

/*
 * Opens the four rings of a NIC that has joined its fabric, of `slots` each (a power of two). Rd: a
 * punted frame keeps one of the NIC's own buffers until it is released, so there are fewer slots
 * where they would take more than a quarter of those. inject_offset: Wr: bar_offset of the buffers
 * that the NIC sends from, page-aligned (fabric_host_buffers). 0, or -errno with a sentence, and
 * nothing is open: -EINVAL wrong arguments; -EAGAIN the port still sends frames of the rings'
 * earlier life; -ENOSPC no room in packet memory or on the bus; -ENOTSUP see above; or as the
 * device says.
 */
int host_rings_open(struct host_rings *, struct driver_nic *, uint32_t slots,
	uint64_t inject_offset, struct error *error);

/*
 * Goes on with rings that an earlier driver opened with the same arguments, and that its NIC serves
 * still. Owns the two descriptors if it succeeds. Who serves them is woken once: the eventfd may
 * have been off the vectors for a moment. -ENOENT: they are not in place, and who serves them finds
 * them closed; open them anew. Other errors: not known, as when the device does not answer.
 */
int host_rings_adopt(struct host_rings *, struct driver_nic *, uint32_t slots,
	uint64_t inject_offset, int memory_fd, int event, struct error *error);

/* Closes the rings at the NIC, takes its windows away, frees the memory. Of a NIC that is dead or
 * was reset too. */
void host_rings_close(struct host_rings *);

/* Frees what this process has of them; they run on. */
void host_rings_leave(struct host_rings *);

/* What a process needs to serve them. Descriptors are borrowed. */
void host_rings_share(const struct host_rings *, struct host_share share[HOST_PARTS]);

#endif
