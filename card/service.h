/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's requests (carrier.h), answered between two bursts. */
#ifndef CARD_SERVICE_H
#define CARD_SERVICE_H

#include "card/card_board.h"
#include "card/pci.h"
#include "firmware/nic.h"

struct service {
	struct nic *nic;
	struct board *board;
	const struct pci_memory *memory; /* own memory, then the peers' */
	unsigned memories;
};

/* The card has started: the request that its last life left is none. */
void service_start(struct service *);

/* Answers a request if there is one. */
void service_poll(struct service *);

#endif
