/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The card's Ethernet port: virtio-net over virtio-mmio (Virtual I/O Device Version 1.2, 4.2, 5.1),
 * the port part of firmware/board.h. It receives into packet memory and sends from there: nothing
 * is copied.
 */
#ifndef CARD_VIRTIO_NET_H
#define CARD_VIRTIO_NET_H

#include <p2pnic/limits.h>
#include <p2pnic/ring.h>
#include <p2pnic/types.h>

#include "firmware/frame.h"

#define VIRTQ_SLOTS 256u               /* what QEMU's has unless told */
#define VIRTQ_SENDS (VIRTQ_SLOTS / 2u) /* a frame takes two: its header, and itself */

struct virtq_descriptor {
	uint64_t address;
	uint32_t bytes;
	uint16_t flags;
	uint16_t next;
};

struct virtq_available {
	uint16_t flags;
	uint16_t index;
	uint16_t ring[VIRTQ_SLOTS];
};

struct virtq_used {
	uint16_t flags;
	uint16_t index;
	struct {
		uint32_t id;
		uint32_t bytes;
	} ring[VIRTQ_SLOTS];
};

struct virtq {
	_Alignas(16) struct virtq_descriptor descriptor[VIRTQ_SLOTS];
	_Alignas(16) struct virtq_available available;
	_Alignas(16) struct virtq_used used;
	uint16_t seen; /* of the used ring */
};

struct virtio_net {
	uintptr_t at;
	uint8_t *memory; /* packet memory */
	uint32_t buffer_bytes;
	struct virtq receive, send;

	uint32_t buffer[VIRTQ_SLOTS]; /* bar_offset of the buffer of each receive slot */
	unsigned buffers;
	uint16_t burst[P2PNIC_BURST_MAX]; /* the slots of the frames last received */
	unsigned frames;

	uint32_t sent, done; /* frames given to the device, and reported; run freely */
	bool finished[VIRTQ_SENDS];
	uint64_t failed; /* given up when the device was reset */
};

/* Finds the port; false: the machine has none. */
bool virtio_net_open(struct virtio_net *, uint8_t *memory, uint32_t buffer_bytes);
struct mac_addr virtio_net_mac(const struct virtio_net *);
bool virtio_net_link(const struct virtio_net *);

/* As the functions of firmware/board.h. */
unsigned virtio_net_receive(struct virtio_net *, struct frame *frames, unsigned max);
void virtio_net_keep(struct virtio_net *, const uint8_t *frame, unsigned n, uint32_t *at);
void virtio_net_release(struct virtio_net *);
unsigned virtio_net_transmit(
	struct virtio_net *, const struct p2pnic_descriptor *frames, unsigned n);
void virtio_net_flush(struct virtio_net *);
unsigned virtio_net_transmitted(struct virtio_net *, uint64_t *failed);
bool virtio_net_arm(struct virtio_net *);
void virtio_net_disarm(struct virtio_net *);
int virtio_net_start(struct virtio_net *, const uint32_t *buffers, unsigned n);
unsigned virtio_net_stop(struct virtio_net *, uint32_t *buffers);

#endif
