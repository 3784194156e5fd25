/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user server: shows one PCI device to one client at a time over an AF_UNIX socket.
 *
 *        control thread                                engine thread
 *   poll(vfu_fd) → vfu_service ──ops──▶ device     vfu_interrupt, vfu_dma_read, vfu_dma_write
 *
 * The device describes itself once (struct vfu_config) and answers through struct vfu_ops. The
 * server speaks the protocol (vfio_user/wire.h), checks everything that came over the socket, and
 * keeps what belongs to the connection: windows and interrupt eventfds. When the client goes, those
 * go; the device's own state stays, and the next client finds it ("Socket Disconnection Behavior").
 *
 * A second client is accepted, told EBUSY in an error reply to VERSION, and closed.
 *
 * Threads. One control thread calls vfu_open, vfu_service, vfu_close, and may serve any number of
 * devices: nothing in vfu_service waits for a client. All ops run inside vfu_service, without a
 * lock held. The engine functions may be called by any thread, at any time between open and close.
 *
 * Messages from the engine. A window without a descriptor is reached by asking the client. No
 * engine waits for it: writes are posted (DMA_WRITE with No_reply), reads are asked for (DMA_READ)
 * and fetched when the answer has come. So a client that waits for a reply of ours while it owes us
 * one, as QEMU does under its lock, meets nobody who waits for it; and a client that hangs stops
 * the rings that need it and no others. The specification's twin socket, meant for the same, is not
 * needed.
 *
 * After a read's time-out the client counts as unresponsive: reads fail at once until it says
 * something again.
 */
#ifndef SOFTNIC_VFIO_USER_H
#define SOFTNIC_VFIO_USER_H

#include <p2pnic/types.h>

#include <vfio_user/wire.h>

#include "ipc/error.h"

#define VFU_REGIONS     VFIO_PCI_NUM_REGIONS /* 9: BAR0–5, ROM, configuration space, VGA */
#define VFU_VECTORS_MAX 64u
#define VFU_PAGE        4096u /* windows are multiples of it, as with an IOMMU */
struct vfu;

/* What a window is made of; found out by the server (vfio_user/descriptor.h). */
enum vfu_window_kind {
	VFU_WINDOW_MESSAGE,  /* no descriptor: vfu_dma_read, vfu_dma_write */
	VFU_WINDOW_MEMORY,   /* mmap(fd, fd_offset): sealed against shrinking, long enough */
	VFU_WINDOW_DOORBELL, /* an eventfd: a DMA write is a write to it (wire.h) */
};

#define VFU_READ  VFIO_DMA_MAP_FLAG_READ  /* the device may read */
#define VFU_WRITE VFIO_DMA_MAP_FLAG_WRITE /* the device may write */

/* A range of bus addresses that the client lets the device reach. */
struct vfu_window {
	struct bus_addr bus;
	uint64_t bytes;  /* bus + bytes does not wrap; no overlap with another window */
	uint32_t access; /* VFU_READ | VFU_WRITE */
	enum vfu_window_kind kind;
	int fd; /* borrowed: mmap or dup it before the op returns; -1 with VFU_WINDOW_MESSAGE */
	uint64_t fd_offset;
};

/*
 * The device's half. Each returns 0, or -errno, which the client gets as the error of its command.
 * `device` is vfu_config.device.
 */
struct vfu_ops {
	/* [offset, offset + bytes) lies in the region, bytes is 1 to 1 MiB, of any alignment: the
	 * device refuses widths it does not do (-EINVAL). */
	int (*region_read)(
		void *device, unsigned region, uint64_t offset, void *data, uint32_t bytes);
	int (*region_write)(
		void *device, unsigned region, uint64_t offset, const void *data, uint32_t bytes);

	/* The window may be used as soon as this returns 0. */
	int (*dma_map)(void *device, const struct vfu_window *window);
	/* The client has answered, or refused, a vfu_dma_read: ask again. May be NULL. */
	void (*read_done)(void *device);

	/* All windows in [bus, bus + bytes): one or more that were mapped, none of them in part. On
	 * return the device holds nothing of them and no access to them is under way; it must not
	 * fail. */
	void (*dma_unmap)(void *device, struct bus_addr bus, uint64_t bytes);
	/* All of them, likewise; also when a client goes. */
	void (*dma_unmap_all)(void *device);

	/* DEVICE_RESET: power-on state. Windows and eventfds stay. NULL: the device has no
	 * reset. */
	int (*reset)(void *device);

	/* A client has negotiated; it has gone, after dma_unmap_all. Both may be NULL. */
	void (*connected)(void *device);
	void (*disconnected)(void *device);

	/* One line, no newline: refusals and their reasons, connections. NULL: silence. */
	void (*log)(void *device, const char *text);
};

/* A register that can be written through an eventfd as well ("DEVICE_GET_REGION_IO_FDS"). */
struct vfu_io_fd {
	uint64_t offset; /* in the region */
	uint64_t bytes;  /* 0: a write of any width */
	int fd;          /* the device polls it; borrowed until vfu_close */
};

/* One region; all zero: absent. Set fd to -1 where nothing can be mapped. */
struct vfu_region {
	uint64_t bytes;
	uint32_t flags; /* VFIO_REGION_INFO_FLAG_READ | _WRITE */
	int fd;         /* what the client may map; borrowed until vfu_close; used if mappable */
	bool mappable;  /* adds VFIO_REGION_INFO_FLAG_MMAP */
	uint64_t fd_offset;
	const struct vfio_user_area *areas; /* the mappable parts; NULL: all of it */
	unsigned area_count;
	const struct vfu_io_fd *io_fds;
	unsigned io_fd_count;
};

struct vfu_config {
	/* Of the listening socket; a stale one is replaced, a live one is EADDRINUSE. */
	const char *path;
	int connection; /* with path NULL: an already connected socket, taken over; no listening */
	const struct vfu_ops *ops;
	void *device;
	struct vfu_region region[VFU_REGIONS]; /* by VFIO_PCI_*_REGION_INDEX */
	unsigned vectors;                      /* of MSI-X, at most VFU_VECTORS_MAX */
	unsigned dma_timeout_ms;               /* 0: 2000 */
};

/* 0 or -errno with a sentence in error. Copies the configuration (not what it points to). */
int vfu_open(struct vfu **vfu, const struct vfu_config *config, struct error *error);

/* Drops the client as a disconnect does, removes the socket's path. No engine may be inside. */
void vfu_close(struct vfu *vfu);

/* One descriptor to poll for POLLIN, valid from open to close; then call vfu_service. */
int vfu_fd(const struct vfu *vfu);

/* Does what there is to do, at most a few dozen commands; never waits for a client. */
void vfu_service(struct vfu *vfu);

bool vfu_connected(const struct vfu *vfu);

/* --- For the engine --------------------------------------------------------------------------- */

/*
 * Signals an MSI-X vector. A vector that the client masked (SET_IRQS) is remembered and signalled
 * when unmasked. 0; -ENOTCONN if no eventfd is assigned; -EINVAL for no such vector. The MSI-X
 * table in the BAR has no say: under VFIO the client's side owns it, and tells by SET_IRQS.
 */
int vfu_interrupt(struct vfu *vfu, unsigned vector);

/*
 * Moves bytes between data and the client's bus addresses by messages, split to what the client
 * takes. Any length. After an error any part may have been done.
 *
 * write: posted, as on PCIe: it returns when the message is on its way, and takes effect in the
 * order of the calls; the client is asked not to reply (No_reply), so what goes wrong there is not
 * heard of here. What the socket does not take waits in a queue of 16 MiB. 0; -ENOTCONN no client;
 * -ENOBUFS the queue is full: the client has stopped reading.
 *
 * read: 0; -EAGAIN: asked for, call again with the same arguments (ops.read_done tells when);
 * -ENOTCONN; -ETIMEDOUT; -ENOMEM; -EFAULT and others as the client answers; -EPROTO for an answer
 * that is none. A read nobody comes for is forgotten after the time-out.
 */
int vfu_dma_read(struct vfu *vfu, struct bus_addr bus, void *data, size_t bytes);
int vfu_dma_write(struct vfu *vfu, struct bus_addr bus, const void *data, size_t bytes);

/* Forgets all reads: what they would bring may not be what lies there now. */
void vfu_dma_cancel(struct vfu *vfu);

#endif
