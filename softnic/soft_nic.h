/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A soft NIC: a PCIe device made of software. It ties together
 *
 *   vfio_user.h   how a driver reaches it          pci_config.h  what it looks like on the bus
 *   board.h       the firmware it runs             engine.h      the thread that runs it
 *   dma.h         what its DMA engine can reach    ports/port.h  its Ethernet side
 *
 * Its memory is three sealed memfds, one for each BAR. It keeps its state when the driver goes:
 * only windows and interrupts go with the connection (and with the windows, its pairs), so a driver
 * that is to be replaced under traffic leaves the connection with a keeper.
 */
#ifndef SOFTNIC_SOFT_NIC_H
#define SOFTNIC_SOFT_NIC_H

#include "ipc/error.h"
#include "softnic/dma.h"
#include "softnic/engine.h"
#include "softnic/firmware.h"
#include "softnic/pci_config.h"
#include "softnic/vfio_user.h"

enum { SOFT_NIC_FRAMES, SOFT_NIC_CONTROL, SOFT_NIC_FDS }; /* descriptors of the port */

/* Strings are borrowed for the life of the NIC. */
struct soft_nic_config {
	const char *name;
	const char *socket;
	const char *port_type;
	const char *port_target;
	const char *port_options; /* or NULL */
	struct mac_addr mac;      /* all zero: the interface's, else derived from the name */
	unsigned method;          /* P2PNIC_METHOD_* */
	uint32_t bar2_bytes;      /* powers of two from the contract's minimum; 0: that minimum */
	uint32_t bar4_bytes;
	uint32_t buffer_bytes; /* one of P2PNIC_BUFFER_SIZES; 0: the least */
	bool whole_bus;        /* dma.h */
};

struct soft_nic {
	struct soft_nic_config config;
	struct engine *engine;
	struct nic *nic;
	struct board board;
	bool port_open;

	struct dma dma;
	struct vfu *vfu;
	struct pci_config pci;
	struct vfu_io_fd io_fd;
	int bar_fd[3]; /* BAR0, BAR2, BAR4 */
	struct mapping *bar[3];
	int doorbell;              /* eventfd */
	bool link;                 /* as the host was last told */
	int watched[SOFT_NIC_FDS]; /* engine's */
};

/* 0, or -errno with a sentence in error. The engine runs it from then on. */
int soft_nic_new(
	struct soft_nic **, const struct soft_nic_config *, struct engine *, struct error *error);
void soft_nic_free(struct soft_nic *);

/* Control thread: poll this for POLLIN, then service. */
int soft_nic_control_fd(const struct soft_nic *);
void soft_nic_control(struct soft_nic *);

/* Engine. */
static inline unsigned soft_nic_poll(struct soft_nic *s)
{
	return nic_poll(s->nic);
}

/* Before the poll of another: a poll of this one is next. 3 % at 64 bytes, four ports. */
static inline void soft_nic_prefetch(struct soft_nic *s)
{
	if (s->board.ops->prefetch)
		s->board.ops->prefetch(s->board.port);
}

static inline enum nic_rest soft_nic_arm(struct soft_nic *s)
{
	return nic_arm(s->nic);
}

static inline void soft_nic_disarm(struct soft_nic *s)
{
	nic_disarm(s->nic);
}

void soft_nic_service(struct soft_nic *);
void soft_nic_fds(struct soft_nic *, int fds[SOFT_NIC_FDS]);

#endif
