/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric: all NICs of one router, and the rings between them.
 *
 * The driver gives each NIC windows onto its peers and tells each the bus addresses; from then on
 * packets cross without it. Every choice follows from the NICs' numbers and the settings, so a
 * driver that was restarted computes the same plan again and finds it in place.
 *
 * Windows of NIC n onto peer p (p = n for packets that leave where they came in), at the bus
 * addresses of bus_plan.h, or, without an IOMMU, where the peer's BARs are:
 *
 *     mailbox of n in p's BAR2             (write)
 *     doorbell page of p's BAR0            (write)
 *     Wr: n's buffers in p's BAR4          (write)
 *     Rd: p's receive buffers in BAR4      (read)
 *
 * With Bn all of these are host memory that stands in for p (bounce.h), and there is one more:
 *
 *     the buffers that p fills for n       (read)
 *
 * Packet memory (BAR4) of a NIC:
 *
 *     0                            own receive buffers
 *     rx_buffers · buffer_bytes    Wr: buffers for the host's rings (host_rings.h), host_slots of
 *                                  them for each
 *     + 4 · host_slots · buffer_bytes
 *                                  Wr: buffers for ingress NIC 0, ring_slots of them
 *     + ring_slots · buffer_bytes  for ingress NIC 1 …
 *
 * A pair's epoch is one more than either side's peer table remembers: the tables are device memory
 * and survive the driver.
 *
 * No NIC waits for another. A pair that cannot be opened or closed now, because one side does not
 * answer, is short of memory or descriptors, or still sends frames of the pair's earlier life, is
 * left for fabric_mend; all other pairs are opened.
 */
#ifndef DRIVER_FABRIC_H
#define DRIVER_FABRIC_H

#include "driver/bounce.h"
#include "driver/driver_nic.h"
#include "ipc/error.h"

struct fabric {
	unsigned method;       /* P2PNIC_METHOD_* of every NIC */
	uint32_t lend_from;    /* Wr: bytes of a frame that is lent, not written (Hy); 0: none */
	unsigned check;        /* enum p2pnic_check of all pairs */
	uint32_t buffer_bytes; /* of each packet buffer of every NIC */
	uint32_t ring_slots;   /* a power of two */
	uint32_t batch;
	uint32_t rx_buffers;                     /* own buffers of each NIC */
	uint32_t host_slots;                     /* of each ring of the host; 0: it has none */
	struct bounce *bounce;                   /* Bn: carries packets on; the caller\'s */
	struct driver_nic *nic[P2PNIC_NICS_MAX]; /* by index; NULL: absent */

	/* [x][y], both ways alike: the pair is to be opened. */
	bool to_open[P2PNIC_NICS_MAX][P2PNIC_NICS_MAX];
	/* [x][y]: x's side of its pair with y, which is gone, is to be closed. */
	bool to_close[P2PNIC_NICS_MAX][P2PNIC_NICS_MAX];
};

/* Bytes of packet memory that a NIC needs among `nics` NICs: to size BAR4 with. */
uint64_t fabric_packet_memory(const struct fabric *, unsigned nics);

/* Wr: bar_offset in every NIC's BAR4 of the buffers that the host fills. */
uint64_t fabric_host_buffers(const struct fabric *);

/*
 * Joins a NIC: receive buffers, windows and rings between it and every NIC that is present, itself
 * included. Pairs of adopted NICs that are in place stay as they are; an adopted NIC with another
 * number of receive buffers than the settings' is reset (then it is not adopted any more). 0 also
 * if some pairs have to wait. On failure the NIC is not part of the fabric: -EINVAL another method
 * or size of buffers, or it knows no checks; -ENOSPC too little packet memory, or room on the
 * bus, -EAGAIN as driver_nic_attach, or it does not answer.
 */
int fabric_add(struct fabric *, struct driver_nic *, struct error *error);

/* Opens and closes what waits, as far as both sides answer. How many pairs wait still, whose NICs
 * answer: those it is worth trying again soon; error says why the last of them waits. */
unsigned fabric_mend(struct fabric *, struct error *error);

/* After NICs of an earlier driver were added: what they have open with NICs that are not there is
 * to be closed, by fabric_mend. */
void fabric_part(struct fabric *);

/* Is there room for the rings of NIC `index` in the packet memory of those that are there? */
bool fabric_room(const struct fabric *, unsigned index);

/* Looks for pairs that a NIC has given up (struct p2pnic_counters): they are to be opened again, by
 * fabric_mend. How many are new; error says which was the last of them. */
unsigned fabric_given_up(struct fabric *, struct error *error);

/* Parts with a NIC, dead or alive: every other NIC closes its pair and loses its windows onto it,
 * so that packets for it are counted as `no-peer` and nothing of it is written again. */
void fabric_remove(struct fabric *, struct driver_nic *);

#endif
