/* SPDX-License-Identifier: BSD-3-Clause */
/* The card's board (firmware/board.h): a virtio-net port, and DMA as stores into the memory of
 * other cards. */
#ifndef CARD_CARD_BOARD_H
#define CARD_CARD_BOARD_H

#include "card/carrier.h"
#include "card/virtio_net.h"

/* Three for each peer and each host ring (driver/fabric.h). */
#define BOARD_WINDOWS (P2PNIC_MAILBOXES * 3u)

struct window {
	struct bus_addr bus;
	uint64_t bytes; /* 0: free */
	uint32_t access;
	uint8_t *memory;
};

struct board {
	struct virtio_net port;
	struct card_carrier *carrier;
	struct p2pnic_counters *counters;
	bool master; /* the host lets it do DMA: Bus Master Enable */
	struct window window[BOARD_WINDOWS];
};

#endif
