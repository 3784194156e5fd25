/* SPDX-License-Identifier: BSD-3-Clause */
/* NICs on plain memory: a BAR2, a few registers and the firmware's lookup. */
#ifndef TESTS_FAKE_NIC_H
#define TESTS_FAKE_NIC_H

#include "driver/driver_nic.h"
#include "router/address.h"

/* A NIC that has registers, but sends nothing. */
struct fake_nic {
	struct device device;
	struct driver_nic driver;
	uint32_t reg[0x1000 / 4];
	uint32_t in_force[2];          /* bar_offset of the IPv4 and IPv6 image; 0: none */
	struct p2pnic_sources sources; /* in force */
	bool dead;                     /* answers nothing */
	uint32_t sources_result;       /* instead of P2PNIC_OK */
	unsigned epochs;
	void (*on_epoch)(struct fake_nic *);  /* asked to pass one */
	void (*on_switch)(struct fake_nic *); /* before another image comes into force */
	void *context;
};

void fake_open(struct fake_nic *, unsigned index, uint32_t bar2_bytes);
void fake_close(struct fake_nic *);

/* What becomes of a packet: the adjacencies that its flow may take, by bucket; one where there is
 * no group. */
struct way {
	struct p2pnic_adjacency adjacency[4096];
	unsigned buckets;
	bool ordered; /* the first for all flows, the others in reserve */
};
void fake_way(const struct fake_nic *, const struct address *, struct way *);
/* The same of a next-hop word. */
void fake_way_of_word(const struct fake_nic *, uint32_t word, struct way *);

/* Buckets that lead to this adjacency. */
unsigned way_count(const struct way *, const struct p2pnic_adjacency *);

#endif
