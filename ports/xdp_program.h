/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The XDP program of an af_xdp port: six instructions, and in front of them those of xdp_send.h,
 * for frames to be sent, where the port sends so.
 *
 *     frame of a queue with a socket in the map  →  that socket
 *     any other                                  →  on to the kernel's stack
 *
 * libxdp would bring one too, but attaches it so that it outlives a process killed -9 and blocks
 * the next. This one hangs on a BPF link: when the last descriptor of the link closes, however that
 * comes about, the program leaves the interface. No file is looked up, no bpffs needed.
 */
#ifndef P2PNIC_PORTS_XDP_PROGRAM_H
#define P2PNIC_PORTS_XDP_PROGRAM_H

#include "xdp_send.h"

#include <stdbool.h>

struct xdp_program {
	int map;     /* queue → socket */
	int program; /* loaded */
	int link;    /* attached; -1: not */
};

/* Loads it, for queues up to `queue`; send: NULL, or open. 0 or -errno: -EPERM without CAP_BPF and
 * CAP_NET_ADMIN in the first user namespace. */
int xdp_program_load(struct xdp_program *, unsigned queue, const struct xdp_send *send);

/* Attaches it to the interface: in the driver (native), or in front of the stack (generic). 0 or
 * -errno: -EBUSY when another program is there, -EOPNOTSUPP when the driver has no XDP. */
int xdp_program_attach(struct xdp_program *, int interface_index, bool native);
void xdp_program_detach(struct xdp_program *);

void xdp_program_unload(struct xdp_program *);

#endif
