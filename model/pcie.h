/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI Express: devices, links, switches, a root complex; every TLP on every hop is an event.
 *
 *      device ──link── switch ──link── switch ──link── root ── host memory (a device too)
 *      device ──link──┘
 *
 * A link has two directions. Each sends one TLP at a time: payload and its overhead at the raw rate
 * of the lanes. A TLP goes when the receiver has a header credit and the data credits (16 B each)
 * for its class; posted, non-posted and completion TLPs wait apart and take turns, and so do the
 * ports from which they came. Non-posted and completions do not pass a posted TLP of the same way;
 * posted pass both (PCIe Base Specification, 2.4.1). Acks, flow control and SKIP sets
 * take their share of the rate, as in the model of pcie-bench (Neugebauer et al., SIGCOMM 2018).
 *
 * A switch sends a TLP on as soon as its header has come and its latency is over (cut-through).
 * What waits lies in a pool that all its ports share; while there is room credits go back at
 * once, otherwise when the TLP leaves. Nothing is ever dropped inside. A root complex is a switch
 * whose latency is its own, with the host's memory as a device on it.
 *
 * What devices want of each other are transfers: writes and reads of memory. A transfer becomes
 * TLPs; dma.h is the engine of a NIC in front of that.
 */
#ifndef P2PNIC_MODEL_PCIE_H
#define P2PNIC_MODEL_PCIE_H

#include "model/parameters.h"
#include "model/sim.h"

enum tlp_class { TLP_POSTED, TLP_NON_POSTED, TLP_COMPLETION, TLP_CLASSES };

/* Of one link; made from parameters by pcie_link. */
struct pcie_link {
	uint64_t bit_per_s;           /* of all lanes, after line code, DLLPs and SKIP sets */
	uint32_t payload;             /* of a write, at most (MPS), in bytes */
	uint32_t request;             /* that one TLP reads, at most (MRRS) */
	uint32_t completion;          /* payload of a completion, at most */
	uint32_t write_overhead;      /* of MWr64 and MRd64, with framing */
	uint32_t completion_overhead; /* of CplD */
	uint64_t delay;               /* from transmitter to receiver, ps */
	uint64_t credit_delay; /* a place in the receiver is free .. the transmitter knows, ps */
	uint32_t headers[TLP_CLASSES]; /* credits of the receiver */
	uint32_t data[TLP_CLASSES];    /* in 16 B */
};

/* The link of `lanes` lanes, from the parameters of role "link". 0, or -EINVAL: a value is missing,
 * or no TLP could ever pass. */
int pcie_link(struct pcie_link *, struct parameters *, unsigned lanes, struct error *error);

#define FABRIC_BELOW 31u /* links of a switch, or the root, besides the one above it */

struct fabric;
struct node; /* a switch, the root, or a device */

/* One transfer. `done` happens when the sender is through with it: a write's last TLP has left the
 * device, a read's last completion has come. `landed` (NULL: nothing) happens when all of a write
 * lies in the target's memory. Copied: need not outlive the call. */
struct transfer {
	struct node *target;
	bool read;
	unsigned space; /* which memory of the target; the target's matter */
	uint32_t bytes; /* 1 … 2^20 */
	sim_call *done, *landed;
	void *object;
	uint64_t argument;
};

/* A TLP that has arrived at a device that takes them itself: a write, or a request to read. */
struct tlp;

/* The memory side of a device: calls pcie_accept for each TLP, now or later, in any order. Until
 * then the TLP holds its place in the device's buffer: that is how a slow memory pushes back. */
typedef void pcie_take(
	struct sim *, void *object, struct tlp *, unsigned space, bool read, uint32_t bytes);
void pcie_accept(struct fabric *, struct tlp *);

struct fabric *fabric_new(struct sim *);
void fabric_free(struct fabric *);

/* The root complex, of which there is one; made first, if at all. `latency` between its links. */
struct node *fabric_root(struct fabric *, const char *name, uint64_t latency, uint64_t pool);

/* A switch below `above`, a switch or the root; NULL: it is the top, and there is no root. */
struct node *fabric_switch(struct fabric *, const char *name, struct node *above,
	const struct pcie_link *, uint64_t latency, uint64_t pool);

/* A device below a switch or the root. It answers reads `completer` after they came, and takes
 * writes at once, unless `take` is given. Tags: reads in flight, at most, in requests. */
struct node *fabric_device(struct fabric *, const char *name, struct node *above,
	const struct pcie_link *, uint64_t completer, unsigned tags, pcie_take *take, void *object);

/* Begins a transfer; those of one device and kind begin in order. The device's own queue has no
 * limit: who asks keeps one (dma.h). */
void pcie_transfer(struct node *from, const struct transfer *);

/* TLPs that have not arrived, transfers that are not over. 0 when all is still. */
uint64_t fabric_pending(const struct fabric *);

#endif
