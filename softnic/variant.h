/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One build of the firmware for a soft NIC: a transfer method and a port type, all inlined into one
 * another. An engine calls a variant through these pointers, once a burst; within, nothing asks which
 * method or which port it is.
 */
#ifndef SOFTNIC_VARIANT_H
#define SOFTNIC_VARIANT_H

#include "firmware/nic.h"
#include "ports/port.h"

struct dma;
struct vfu;

struct variant {
	const char *port_type;
	unsigned method;    /* P2PNIC_METHOD_* */
	size_t nic_bytes;   /* struct nic */
	size_t board_bytes; /* struct board, with the port in it */
	const struct port_ops *port_ops;

	struct board *(*board)(void *memory, struct dma *, struct vfu **, void **port);
	void (*init)(struct nic *, struct board *, struct p2pnic_counters *, uint8_t *bar2,
		uint32_t bar2_bytes, uint8_t *bar4, uint32_t bar4_bytes);
	unsigned (*poll)(struct nic *);
	enum nic_rest (*arm)(struct nic *);
	void (*disarm)(struct nic *);
	uint32_t (*register_read)(struct nic *, uint32_t offset);
	void (*register_write)(struct nic *, uint32_t offset, uint32_t value);
	void (*windows_changed)(struct nic *);
	void (*set_port)(struct nic *, const struct port_info *); /* link, speed, missed */
	void (*set_mac)(struct nic *, struct mac_addr);
};

/* NULL: no such method, port type or combination. */
const struct variant *variant_find(unsigned method, const char *port_type);

#endif
