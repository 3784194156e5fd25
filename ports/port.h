/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port: the Ethernet side of a soft NIC. Each type (af_xdp, af_packet, tap, memif, pcap) is one
 * `const struct port_ops TYPE_port_ops`, defined in ports/TYPE.c. A burst costs a handful of calls
 * through it (about 0.1 ns a packet at full bursts), a packet none.
 *
 * Packet memory is BAR4 of the NIC: a memfd the NIC has mapped and sealed. It is cut into buffers
 * of port_config.buffer_bytes, each aligned to its size. A "buffer" below is the bar_offset of one
 * in BAR4.
 *
 * Threads: open, start, stop, close are called while the engine is parked; all else by the engine's
 * thread. No function on the path of a frame allocates, and none blocks.
 */
#ifndef P2PNIC_PORT_H
#define P2PNIC_PORT_H

#include <p2pnic/counters.h>
#include <p2pnic/limits.h>
#include <p2pnic/ring.h>
#include <p2pnic/types.h>

#include "firmware/frame.h"
#include "ipc/error.h"

/* What a port is opened with. Strings and memory outlive the port. */
struct port_config {
	const char *target;  /* interface name, socket path, "IN.pcap,OUT.pcap" */
	const char *options; /* of the type, "key=value,key=value", or NULL; unknown keys: error */
	uint8_t *memory;     /* packet memory as mapped by this process */
	uint64_t memory_bytes;
	int memory_fd;         /* its memfd, sealed against shrinking; borrowed */
	uint32_t buffer_bytes; /* one of P2PNIC_BUFFER_SIZES; not every type takes all */
	struct mac_addr mac;   /* the NIC's; all zero: the interface's, which port_info.mac tells */

	/* The NIC's own counters, or NULL: pcap's verdict=FILE reads there what became of a
	 * frame. */
	const struct p2pnic_counters *counters;
};

/* What a port says about itself; read by the control side, never on the path of a packet. */
struct port_info {
	struct mac_addr mac; /* of the interface; all zero: the type has none */
	bool link;           /* carrier, or a connected peer */
	uint32_t speed_mbps; /* 0: unknown */
	uint32_t mtu;        /* 0: unknown */
	uint64_t missed;     /* frames lost before the port had them (socket full, no buffer) */
	uint64_t oversize;   /* frames not delivered: longer than a buffer holds */
	bool finished;       /* pcap: all input has been delivered and released */
	char mode[64];       /* e.g. "zero-copy", "copy, native", "generic"; chosen and reported */
	struct error fault;  /* what is wrong now: "pp0: interface deleted"; "": nothing */
};

/* Memory beside packet memory: a memfd of another NIC, sealed against shrinking. */
#define PORT_MEMORIES 64u
struct port_memory {
	uint8_t *base; /* as mapped by this process */
	uint64_t bytes;
	int fd; /* borrowed */
};

struct port_ops {
	const char *type;
	size_t bytes; /* sizeof(struct TYPE_port); the caller allocates, zeroed, 64-byte aligned */

	/* 0 or -errno with a sentence in error: what failed, on what, what to do. */
	int (*open)(void *port, const struct port_config *, struct error *error);
	void (*close)(void *port);

	/* Gives the port n buffers to receive into, n ≥ 1; it may use fewer and returns how many it
	 * took (the first ones), or -errno. stop: returns how many buffers came back in `buffers`
	 * (room for the number taken at start); the port receives no more. Frames in transmission
	 * go on: they are still reported by transmitted. */
	int (*start)(void *port, const uint32_t *buffers, unsigned n);
	unsigned (*stop)(void *port, uint32_t *buffers);

	/*
	 * Receiving. The port owns the buffers given at start and receives into them.
	 *
	 *     n = receive(port, frames, max);     frames stay valid until release
	 *     …read them, copy them to another NIC…
	 *     keep(port, frame, n, at)            optional, for frames that must outlive the burst
	 *     release(port);                      every frame not kept goes back to the port
	 *
	 * receive: up to max (≤ P2PNIC_BURST_MAX) frames in order of arrival; 0: none waits. Called
	 * again only after release. Length is what arrived, without FCS; frames above
	 * P2PNIC_FRAME_BYTES_MAX(buffer_bytes) are never delivered (count them in `oversize`).
	 * 64 bytes from data are always readable, and so is data up to length rounded up to 64. The
	 * memory may be shared with a stranger who changes it at any time: the caller reads each
	 * header word once.
	 *
	 * keep: the frames of this burst with these n numbers must stay. at[i] is a buffer that the
	 * caller gives for frame[i]; the caller becomes the owner of the buffer that holds the
	 * frame, and at[i] the bar_offset of the frame's first byte. (A port that receives into own
	 * packet memory swaps the two and copies nothing; one that reads frames from a peer's
	 * memory copies the frame into the buffer given.)
	 *
	 * prefetch: receive of this port comes soon; fetches what it reads first, an index that
	 * another core writes. NULL: nothing to fetch.
	 */
	void (*prefetch)(void *port);
	unsigned (*receive)(void *port, struct frame *frames, unsigned max);
	void (*keep)(void *port, const uint8_t *frame, unsigned n, uint32_t *at);
	void (*release)(void *port);

	/*
	 * Sending. Frames lie anywhere in packet memory, and stay there untouched until reported
	 * sent.
	 *
	 * transmit: takes the first m ≤ n frames (offset: bar_offset in BAR4) and returns m; fewer
	 * when its queue is full. Nothing need leave before flush.
	 *
	 * flush: once after a burst of transmits: publish, kick, system call; whatever the type
	 * needs.
	 *
	 * notify: after flush and a full memory fence: wakes the other end if it sleeps. The fence
	 * is the caller's, who needs one for more than this port. NULL: flush has done it, or
	 * nobody there sleeps.
	 *
	 * transmitted: how many more frames are done with, in the order given to transmit (a port
	 * whose completions come in another order sorts them). Adds to *failed how many of them the
	 * port could not send (link down, refused); never silently. It also tries again what could
	 * not leave at the flush (a full queue below), so an engine that has frames in transmission
	 * calls it now and then and sleeps but briefly: no fd announces completions. Where nothing
	 * moves for some 200 ms, the frames are given up as failed: a stuck link must not hold the
	 * buffers of other NICs.
	 */
	unsigned (*transmit)(void *port, const struct p2pnic_descriptor *frames, unsigned n);
	void (*flush)(void *port);
	void (*notify)(void *port);
	unsigned (*transmitted)(void *port, uint64_t *failed);

	/*
	 * Sending from memory of others, where a frame lies: the packet memory of the NIC that
	 * received it. All four, or all NULL: the NIC copies frames into its own memory first.
	 *
	 * reach: takes memory to send from; its number, 1 to PORT_MEMORIES - 1, or 0: not that one,
	 * or no more. All of port_memory stays as it is until leave.
	 *
	 * reachable: a bit for each number that can be sent from now. (A memif client's peer has
	 * the memories that it was given when the connection was made; a socket of af_xdp those
	 * that were there when it was.)
	 *
	 * transmit_from: as transmit; `flags` is the number of the memory that a frame is in, which
	 * is reachable; 0: packet memory.
	 *
	 * leave: no frame of that memory is in transmission, and none will come.
	 *
	 * reach and leave while the engine is parked.
	 */
	unsigned (*reach)(void *port, const struct port_memory *);
	uint64_t (*reachable)(const void *port);
	unsigned (*transmit_from)(void *port, const struct p2pnic_descriptor *frames, unsigned n);
	void (*leave)(void *port, unsigned memory);

	/* Before the engine sleeps it arms every port. True: something waits already, do not sleep.
	 * While armed, fd is readable as soon as a frame waits. disarm: after waking. */
	bool (*arm)(void *port);
	void (*disarm)(void *port);

	int (*fd)(void *port); /* to poll for input while armed; -1: none, poll by time */
	void (*info)(void *port, struct port_info *);

	/* Housekeeping about every 100 ms, from the engine's thread, and soon after control_fd has
	 * become readable (edge-triggered; within a millisecond where frames keep the engine busy):
	 * link state, control channels, reconnecting. NULL: nothing to do. */
	void (*service)(void *port);
	int (*control_fd)(void *port); /* NULL or -1: none */
};

/* For a caller who needs the fence for nothing else. */
static inline void port_flush_and_notify(const struct port_ops *ops, void *port)
{
	ops->flush(port);
	if (ops->notify) {
		atomic_thread_fence(memory_order_seq_cst);
		ops->notify(port);
	}
}

/* The port type of that name ("af_packet"), or NULL. port_types: all of them, up to a NULL. */
const struct port_ops *port_find(const char *type);
extern const struct port_ops *const port_types[];

#endif
