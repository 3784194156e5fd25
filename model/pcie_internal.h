/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What pcie.c (TLPs cross links and switches) and pcie_device.c (transfers become TLPs) share.
 *
 * The way of a TLP: a device puts it into the queue of its wire (wire_queue). The wire sends it
 * when it is its turn and the other end has credits for it. When it is ready to leave the switch at
 * that end it joins the queue of the next wire; at last device_receive has it, all of it.
 */
#ifndef P2PNIC_MODEL_PCIE_INTERNAL_H
#define P2PNIC_MODEL_PCIE_INTERNAL_H

#include "model/pcie.h"

#define NODE_PORTS  (FABRIC_BELOW + 1) /* of a switch; 0 is the one above */
#define CREDIT_UNIT 16u                /* bytes of a data credit */

struct tlp {
	struct tlp *next;
	enum tlp_class class;
	uint32_t payload; /* bytes that it carries */
	uint32_t wanted;  /* bytes that a request reads */
	bool last;        /* of a write, or of the completions of a request */
	struct node *to;
	struct movement *movement; /* that it is part of */
	struct wire *came;         /* on which it came to where it is */
	bool pooled;    /* it lies in the switch's pool, and holds no credits of `came` */
	uint64_t order; /* in which it came, among those of its way */
};

/* A transfer that is not over. */
struct movement {
	struct movement *next;
	struct transfer transfer;
	struct node *from;
	uint64_t order;
	uint32_t unsent;   /* bytes for which there is no TLP yet */
	uint32_t unlanded; /* bytes that have not arrived */
};

struct tlp_queue {
	struct tlp *first, **end;
	unsigned n;
};

/* One direction of a link. */
struct wire {
	struct server server; /* its utilisation */
	struct pcie_link link;
	struct node *from, *to;
	unsigned port;                                    /* of `to`, at which it ends */
	uint32_t headers[TLP_CLASSES], data[TLP_CLASSES]; /* credits left */

	/* What waits, by the port of `from` at which it came, and by class. */
	struct tlp_queue queue[NODE_PORTS][TLP_CLASSES];
	unsigned waiting;
	unsigned input, class[NODE_PORTS]; /* whose turn it is */

	/* What is being sent, as far as `from` is concerned: the TLP itself may be further. */
	bool busy;
	struct {
		uint64_t ps;
		struct movement *written; /* its last TLP, which is a write; NULL: not so */
		struct wire *came;        /* whose credits it holds; NULL: of none */
		enum tlp_class class;
		uint32_t data, pooled; /* credits; bytes of the pool */
	} sent;
};

struct node {
	struct node *next;
	struct fabric *fabric;
	char name[16];
	struct node *above;
	bool device;
	unsigned port_above; /* of `above`, on which it is */
	struct wire *out[NODE_PORTS];
	unsigned ports; /* in use: 1 + those below; out[0] is NULL at the top */

	/* A switch. */
	uint64_t latency;
	uint64_t pool, pool_used;

	/* A device. */
	uint64_t completer;
	unsigned tags; /* that are free */
	pcie_take *take;
	void *object;
	struct movement *writes, **writes_end, *reads, **reads_end; /* with bytes unsent */
};

struct fabric {
	struct sim *sim;
	struct node *nodes;
	struct sim_pool tlps, movements;
	uint64_t order, pending;
};

/* Bytes of a TLP on a link. */
static inline uint32_t tlp_bytes(const struct tlp *t, const struct pcie_link *l)
{
	return t->payload +
	       (t->class == TLP_COMPLETION ? l->completion_overhead : l->write_overhead);
}

static inline uint32_t tlp_data(const struct tlp *t)
{
	return (t->payload + CREDIT_UNIT - 1) / CREDIT_UNIT;
}

/* pcie.c */
void wire_queue(struct wire *, unsigned port, struct tlp *); /* and sends, if it can */
void tlp_consumed(struct tlp *);                             /* its credits go back */

/* pcie_device.c */
void device_receive(struct sim *, void *tlp, uint64_t);
void device_fill(struct node *); /* its wire's queues, from its transfers */
void device_written(struct sim *, struct movement *);

#endif
