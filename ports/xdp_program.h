/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The XDP program of an af_xdp port (xdp_program.bpf.c):
 *
 *     frame of a queue with a socket in the map  →  that socket
 *     any other                                  →  on to the kernel's stack
 *
 * and, loaded for batches, one more case: a frame that the port sends (xdp_send.h) → out of the
 * interface.
 *
 * libxdp would bring one too, but attaches it so that it outlives a process killed -9 and blocks
 * the next. This one hangs on a BPF link: when the last descriptor of the link closes, however that
 * comes about, the program leaves the interface. The object is part of this executable; no bpffs
 * needed.
 */
#ifndef P2PNIC_PORTS_XDP_PROGRAM_H
#define P2PNIC_PORTS_XDP_PROGRAM_H

#include "xdp_send.h"

#include <stdbool.h>

struct bpf_object;
struct bpf_link;

struct xdp_program {
	struct bpf_object *object;  /* NULL: not loaded */
	int program;                /* of the object: the one to attach */
	int map;                    /* of the object: queue → socket */
	int link;                   /* attached; -1: not */
	struct bpf_link *watch;     /* the program at the tracepoint… */
	struct xdp_send_area *area; /* …and what it counts in; NULL: not loaded for batches */
};

/* Before the first load. */
#define XDP_PROGRAM_NONE ((struct xdp_program){.program = -1, .map = -1, .link = -1})

/* Loads it, for queues up to `queue`, and with `pieces` for frames of more than a page. 0 or
 * -errno: -EPERM without CAP_BPF and CAP_NET_ADMIN in the first user namespace; with `batches` also
 * what xdp_send.h needs and this kernel lacks. */
int xdp_program_load(struct xdp_program *, unsigned queue, bool batches, bool pieces);
void xdp_program_unload(struct xdp_program *);

/* Attaches it to the interface: in the driver (native), or in front of the stack (generic). 0 or
 * -errno: -EBUSY when another program is there, -EOPNOTSUPP when the driver has no XDP. */
int xdp_program_attach(struct xdp_program *, int interface_index, bool native);
void xdp_program_detach(struct xdp_program *);

/* Loaded for batches: they leave by this interface from now on. 0 or -errno. */
int xdp_program_aim(struct xdp_program *, int interface_index);

/*
 * Sends area->frame[0…n-1], whose last[] are set; 1 ≤ n ≤ XDP_SEND_MAX. The program is attached.
 * Returns how many the kernel took, in order; the others it has not looked at. *accepted: how many
 * of those the device accepted.
 */
unsigned xdp_program_send(struct xdp_program *, unsigned n, unsigned *accepted);

#endif
