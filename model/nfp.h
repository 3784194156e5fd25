/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A NIC with flow-processing cores (Netronome's NFP): its port, its memories, and two pools of
 * threads (threads.h), for what comes in and for what goes out.
 *
 * A frame that has come in takes a receive buffer, passes the MAC, which is good for so many a
 * second, and is with the ingress threads some microseconds later. Without a buffer, or if the MAC
 * falls behind, it is dropped: nowhere else. A frame to send waits for the wire; it has left the
 * NIC some microseconds after its last bit would have, so the wait for the wire is all that a
 * thread sees.
 */
#ifndef P2PNIC_MODEL_NFP_H
#define P2PNIC_MODEL_NFP_H

#include "model/result.h"
#include "model/threads.h"

/* MAC's own queue, in frames: 16 frames of 64 B take it 0.3 us. */
#define NFP_MAC_QUEUE 16u

struct nfp {
	struct station station;
	struct pool ingress, egress;
	struct server mac, wire;
	uint64_t mac_ps;    /* for each frame */
	uint64_t latency;   /* from the wire to the threads, and as much the other way */
	uint64_t bit_per_s; /* of the wire */
	unsigned buffers;   /* free ones for received frames */
};

/* `sources`: queues of the egress pool. 0, or -EINVAL with what parameter is senseless; to be freed
 * in any case. */
int nfp_init(struct nfp *, struct machine *, unsigned number, struct parameters *, unsigned sources,
	const struct pcie_link *, struct fabric *, struct node *above, struct error *);
void nfp_free(struct nfp *);

/* A packet's last bit is in. RESULT_DROP_COUNT: it was taken; else why not. */
enum result_drop nfp_receive(struct nfp *, uint32_t id);
void nfp_send(struct nfp *, uint32_t id);

/* Time on the wire of a frame without FCS, with FCS, preamble and gap (IEEE 802.3, 4.4.2). */
uint64_t nfp_wire_ps(const struct nfp *, uint32_t bytes);

#endif
