/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One NIC as the driver handles it: a device (device.h) that answers to the contract's registers.
 *
 * Nothing here is on the path of a packet. Every function may be called while the NIC forwards.
 */
#ifndef DRIVER_DRIVER_NIC_H
#define DRIVER_DRIVER_NIC_H

#include <p2pnic/registers.h>

#include "driver/device.h"
#include "ipc/error.h"

#define DRIVER_NIC_NAME_BYTES 32

struct driver_nic {
	char name[DRIVER_NIC_NAME_BYTES];
	unsigned index; /* its number among its peers */
	struct device *device;
	uint32_t version;      /* of the contract */
	unsigned method;       /* P2PNIC_METHOD_* of its firmware */
	uint32_t buffer_bytes; /* of each packet buffer */
	uint32_t bar2_bytes, bar4_bytes;
	uint8_t *bar2; /* mapped: tables are written directly */
	const struct p2pnic_counters *counters;
	struct mac_addr mac;
	bool adopted;   /* it was running when this driver found it */
	uint32_t epoch; /* what was last written to its EPOCH; 0: not known */
};

/*
 * Takes a device over: checks identity, magic and version, maps its memory, and, unless it is
 * running already (adopted), resets it. Owns the device from then on; on failure it is the caller's
 * still, and may be attached again. 0 or -errno with a sentence in error; -EAGAIN: its port still
 * sends frames of an earlier life, soon it can be reset.
 */
int driver_nic_attach(struct driver_nic *, const char *name, unsigned index, struct device *,
	struct error *error);

/* Closes the device. */
void driver_nic_detach(struct driver_nic *);

/* Power-on state, without windows, under its number and with its MTU; no longer adopted. -EAGAIN as
 * above: nothing has changed. */
int driver_nic_reset(struct driver_nic *, struct error *error);

/* Registers; -errno. */
int driver_nic_read(struct driver_nic *, uint32_t reg, uint32_t *value);
int driver_nic_write(struct driver_nic *, uint32_t reg, uint32_t value);

/* A command; its result (enum p2pnic_result ≥ 0) or -errno. */
int driver_nic_command(struct driver_nic *, unsigned operation, unsigned argument);
const char *driver_nic_result(int result);

/* Asks that a quiescent point be passed: what no table mentions any more is free afterwards. */
int driver_nic_epoch(struct driver_nic *);

int driver_nic_set_mac(struct driver_nic *, struct mac_addr);

/* It is there, and no deadline was missed: a call has a chance. */
static inline bool driver_nic_answers(const struct driver_nic *n)
{
	return n->device && !device_silent(n->device);
}

static inline struct p2pnic_peer *driver_nic_peers(struct driver_nic *n)
{
	return (struct p2pnic_peer *)(n->bar2 + P2PNIC_BAR2_PEERS);
}

/* What `peer` writes into it. */
static inline struct p2pnic_mailbox *driver_nic_mailbox(struct driver_nic *n, unsigned peer)
{
	return (struct p2pnic_mailbox *)(n->bar2 + P2PNIC_BAR2_MAILBOXES) + peer;
}

static inline uint64_t driver_nic_count(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Packets in less packets out, as counters.h states the identity; 0 at rest. */
int64_t driver_nic_unaccounted(const struct driver_nic *);

#endif
