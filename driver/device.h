/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device as the driver sees it, whatever carries it: vfio-user to a soft NIC (vfio_user.h),
 * to real PCIe kernel VFIO (vfio_kernel.h) or, without an IOMMU, sysfs (pci_sysfs.h); to an
 * emulated card shared memory (card.h). The rest of the driver knows nothing else.
 *
 * Life: device_open → registers, map, eventfds → device_close, which ends the connection, and with
 * it the device's windows and eventfds (VFIO resets the device, vfio-user keeps its state).
 *
 * To outlive its process, a driver hands the descriptors of device_keep to a keeper while it
 * starts, and just dies. The next one passes them to device_adopt: same connection, same windows,
 * device running on. Nothing else need be handed over: all that a driver must know it can read back
 * from the device, and what the carrier cannot tell (which windows are mapped) the driver keeps
 * itself. No request is ever half written or half read: a process killed at any instruction leaves
 * the connection at a message boundary. The new life brings the memory of message windows along,
 * assigns new eventfds, and looks at its rings once, because events in between went to a dead
 * eventfd.
 *
 * Bus addresses are the driver's choice: page-aligned, a multiple of 4 KiB, never 0. Not so those
 * of a device without an IOMMU (device->physical): it reaches a peer's region where that lies.
 *
 * Errors are -errno. device_error() tells more. -ETIMEDOUT: the device did not answer within
 * device->timeout_ms; the connection stays good, the device is silent (device_silent) and every
 * call fails with -ETIMEDOUT at once until device_service has seen its answer. -ENOMEM, -EMFILE:
 * passing, of this process or of the device's; the connection stays good. -ENOTCONN, -ECONNRESET,
 * -EPROTO: the connection is lost and every later call fails.
 *
 * One thread at a time uses a device.
 */
#ifndef DRIVER_DEVICE_H
#define DRIVER_DEVICE_H

#include <p2pnic/types.h>

#include <linux/vfio.h>
#include <stdbool.h>

#include "ipc/error.h"

#define DEVICE_REGIONS    VFIO_PCI_NUM_REGIONS /* index: VFIO_PCI_BAR0_REGION_INDEX … */
#define DEVICE_AREAS_MAX  4u                   /* mappable parts of one region */
#define DEVICE_KEEP_MAX   4u                   /* descriptors that keep a device */
#define DEVICE_RANGES_MAX 16u                  /* more of them are not used */
#define DEVICE_PAGE       4096u

#define DEVICE_READ  VFIO_DMA_MAP_FLAG_READ  /* the device may read */
#define DEVICE_WRITE VFIO_DMA_MAP_FLAG_WRITE /* the device may write */

struct device_area {
	uint64_t offset;
	uint64_t bytes;
};

/* A region as learned when the device was opened. */
struct device_region {
	uint64_t bytes; /* 0: absent */
	uint32_t flags; /* VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP */
	int fd;         /* to map it; owned by the device (or the device's own); -1: not mappable */
	uint64_t fd_offset; /* where the region begins in fd */
	uint64_t bus;       /* where it lies on the bus, for peers without an IOMMU; 0: not known */
	struct device_area area[DEVICE_AREAS_MAX]; /* the mappable parts, in order */
	unsigned area_count;
	uint8_t *map[DEVICE_AREAS_MAX]; /* device_pointer fills it */
};

/* A message window (device_map_memory with fd -1): memory that the device reaches by asking us. */
struct device_window {
	struct bus_addr bus;
	uint64_t bytes;
	uint32_t access;
	void *address;
};

/* Bus addresses, both ends included. */
struct device_range {
	uint64_t first, last;
};

struct device_ops;

struct device {
	const struct device_ops *ops;
	char name[108];      /* what was opened, for messages */
	unsigned timeout_ms; /* for one request */
	uint32_t vectors;    /* MSI-X; 0: it can only be polled */
	bool physical;       /* its bus addresses are the bus's own */
	struct device_region region[DEVICE_REGIONS];
	struct device_range range[DEVICE_RANGES_MAX]; /* what its IOMMU takes, in order */
	unsigned ranges;                              /* 0: any */
	struct error error;                           /* a sentence about the last failure */
};

/* Another implementation is another one of these. Call through the functions below. */
struct device_ops {
	const char *type; /* "vfio-user", "vfio", "sysfs", "card" */
	int (*open_begin)(struct device **device, const char *where, struct error *error);
	int (*adopt_begin)(struct device **device, const int *fds, /* `kept` of them */
		const struct device_window *windows, unsigned window_count, struct error *error);
	void (*close)(struct device *device);
	unsigned kept; /* descriptors that keep a device */
	void (*keep)(struct device *device, int *fds);
	int (*read)(
		struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes);
	int (*write)(struct device *device, unsigned region, uint64_t offset, const void *data,
		size_t bytes);
	int (*map_memory)(struct device *device, struct bus_addr bus, uint64_t bytes,
		uint32_t access, void *address, int fd, uint64_t fd_offset);
	int (*map_peer)(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
		struct device *peer, unsigned region, uint64_t offset);
	int (*unmap)(struct device *device, struct bus_addr bus, uint64_t bytes);
	int (*unmap_all)(struct device *device);
	int (*irqs)(struct device *device, unsigned first, const int *fds, unsigned count);
	int (*reset)(struct device *device);
	int (*fd)(const struct device *device);
	int (*service)(struct device *device);
	/* Of a carrier whose other end is a process, which answers later or never; else NULL. */
	int (*ask)(struct device *device);
	int (*progress)(struct device *device);
	bool (*silent)(const struct device *device);
	unsigned (*unanswered)(const struct device *device);
	void (*give_up)(struct device *device);
	int (*doorbell_fd)(struct device *device, unsigned region, uint64_t offset);
};

/* How open_begin and adopt_begin end: with the device, or, if result is not 0, with it closed and
 * its sentence in error. */
int device_begun(struct device **device, struct device *begun, int result, struct error *error);

/* The time limit that a device is opened with: 5000. */
extern unsigned device_timeout_ms;

/* Where PCI functions are described: "/sys"; a test has a tree of its own. */
extern const char *device_sysfs;

/* --- Life ------------------------------------------------------------------------------------- */

/* where: "vfio-user:PATH" of a soft NIC's socket; "vfio:DDDD:BB:DD.F" or "sysfs:DDDD:BB:DD.F" of a
 * PCI function; "card:PATH" of a card's memory. 0, or -errno with a sentence in error. -EBUSY:
 * another driver has it. Waits for the device's answer, device_timeout_ms at most. */
int device_open(struct device **device, const char *where, struct error *error);

/*
 * Takes over a device kept by another process: type and descriptors as device_keep gave them. Owns
 * the descriptors from then on, on failure too. `windows`: the message windows there were, and
 * their memory now; the device may be waiting for an answer from one at this moment. None: NULL, 0.
 */
int device_adopt(struct device **device, const char *type, const int *fds, unsigned count,
	const struct device_window *windows, unsigned window_count, struct error *error);

/*
 * The same two for a caller that waits for other things too. After 0 the device can only be polled
 * (device_fd), closed, and asked how far it is: device_progress says -EAGAIN until the device has
 * answered for the first time, then 0 (it can be used) or -errno with device_error (close it).
 * device_open_begin: -ENOENT, -ECONNREFUSED, -EAGAIN: nothing listens there yet, or too many ask.
 */
int device_open_begin(struct device **device, const char *where, struct error *error);
int device_adopt_begin(struct device **device, const char *type, const int *fds, unsigned count,
	const struct device_window *windows, unsigned window_count, struct error *error);
int device_progress(struct device *device);

/* What is left of device_open and device_adopt after their first half, whose result is given. */
int device_complete(struct device **device, int result, struct error *error);

/* Descriptors (borrowed) whose holder keeps the device connected after this process: their number,
 * at most DEVICE_KEEP_MAX; the type is device->ops->type. */
int device_keep(struct device *device, int fds[DEVICE_KEEP_MAX]);

/* Closes descriptors and mappings of this process. If a keeper holds the device, it stays
 * connected. */
void device_close(struct device *device);

static inline const char *device_error(const struct device *device)
{
	return device->error.text;
}

/* --- Registers and memory --------------------------------------------------------------------- */

/* An access of exactly 4 bytes, as one. */
int device_read32(struct device *device, unsigned region, uint64_t offset, uint32_t *value);
int device_write32(struct device *device, unsigned region, uint64_t offset, uint32_t value);

/* Any length, in as many accesses as it takes; not for registers. */
int device_read(struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes);
int device_write(
	struct device *device, unsigned region, uint64_t offset, const void *data, size_t bytes);

/* Configuration space: bytes is 1, 2 or 4. */
int device_config_read(struct device *device, unsigned offset, unsigned bytes, uint32_t *value);
int device_config_write(struct device *device, unsigned offset, unsigned bytes, uint32_t value);

/* Maps (once; later calls are cheap) and returns where [offset, offset + bytes) of a region lies in
 * this process; NULL, with device_error and errno, where it is not mappable. Valid until
 * device_close. */
void *device_pointer(struct device *device, unsigned region, uint64_t offset, uint64_t bytes);

/* Sets Memory Space and Bus Master Enable in the command register; the device does no DMA
 * before. */
int device_enable(struct device *device);

int device_reset(struct device *device);

/* --- Windows ---------------------------------------------------------------------------------- */

/*
 * Own memory at a bus address. With fd ≥ 0 the memory is that descriptor's from fd_offset (a memfd
 * sealed with F_SEAL_SHRINK) and the device reaches it directly; with fd -1 it is reached by
 * messages that device_service answers from `address` (slow; kernel VFIO needs no fd). Unmap before
 * freeing it.
 *
 * While a call waits for one device, only that device's messages are answered. Where several soft
 * NICs share an engine, that engine may be waiting for an answer of the other's; it then waits in
 * vain until its time-out. So give a descriptor, or serve each device in a thread of its own.
 */
int device_map_memory(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset);

/*
 * A range of another device's region at a bus address of this one: peer-to-peer. Memory must be
 * mappable. A range that begins with a register that has an eventfd (device_doorbell_fd) becomes a
 * doorbell: any write into it writes that register, and nothing else in the range is reached.
 */
int device_map_peer(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	struct device *peer, unsigned region, uint64_t offset);

/* Exactly as mapped. When it returns 0 the device does not touch the range any more. */
int device_unmap(struct device *device, struct bus_addr bus, uint64_t bytes);
int device_unmap_all(struct device *device);

/* --- Events ----------------------------------------------------------------------------------- */

/* Assigns eventfds (borrowed; made non-blocking by the device) to MSI-X vectors from `first`; -1
 * takes one away. */
int device_irqs(struct device *device, unsigned first, const int *fds, unsigned count);

/* An eventfd (owned by the device) that does what a write to that register does; -ENOENT: none. */
int device_doorbell_fd(struct device *device, unsigned region, uint64_t offset);

/* To poll for POLLIN; then call device_service, which answers the device's DMA messages. -1: this
 * kind of device has none. 0, or -errno when the connection is lost. */
int device_fd(const struct device *device);
int device_service(struct device *device);

/* Sends a question that changes nothing and does not wait; device_service sees the answer. -EAGAIN:
 * several are unanswered already. */
int device_ask(struct device *device);

/* It missed a deadline and has not answered since. */
bool device_silent(const struct device *device);

/* Its answer is due still, and may come in time. give_up: it will not: the device is silent from
 * now on. */
bool device_waits(const struct device *device);
void device_give_up(struct device *device);

/* A passing shortage, here or in the device: the same call may succeed later. */
bool device_error_passes(int error);

#endif
