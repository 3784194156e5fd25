/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user on the wire: what both ends put on the socket.
 *
 * Authority: "vfio-user Protocol Specification", QEMU docs/interop/vfio-user.rst; section names
 * below are its. Flags, region and interrupt indices are those of <linux/vfio.h>, as it says; the
 * payloads are declared here because the kernel's structures may grow and the protocol's do not.
 *
 * A message is a header and a payload on an AF_UNIX stream, host-endian, descriptors as SCM_RIGHTS
 * with its first byte. A command is answered by one reply with the same id and command, in order of
 * the commands; messages of the other direction may come in between. An error reply is a header
 * alone.
 *
 * This project's extension: a DMA_MAP whose descriptor is an eventfd makes the range a doorbell.
 * Every DMA write into it, whatever its bytes, is a write to the eventfd; reads fail. `offset` is
 * 0. A server that does not know it refuses the descriptor, so a client can tell.
 */
#ifndef VFIO_USER_WIRE_H
#define VFIO_USER_WIRE_H

#include <p2pnic/types.h>

#include <linux/vfio.h>

#define VFIO_USER_MAJOR 0u
#define VFIO_USER_MINOR 1u

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2,
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8,
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DMA_READ = 11,  /* server → client */
	VFIO_USER_DMA_WRITE = 12, /* server → client */
	VFIO_USER_DEVICE_RESET = 13,
	VFIO_USER_REGION_WRITE_MULTI = 15,
	VFIO_USER_DEVICE_FEATURE = 16,
	VFIO_USER_MIG_DATA_READ = 17,
	VFIO_USER_MIG_DATA_WRITE = 18,
};

/* "Header". */
struct vfio_user_header {
	uint16_t id; /* the sender's own; echoed in the reply */
	uint16_t command;
	uint32_t size; /* of the whole message, this header included */
	uint32_t flags;
	uint32_t error; /* errno, in an error reply */
};
P2PNIC_ASSERT_SIZE(struct vfio_user_header, 16);

#define VFIO_USER_TYPE_MASK    0x0fu
#define VFIO_USER_TYPE_COMMAND 0x00u
#define VFIO_USER_TYPE_REPLY   0x01u
#define VFIO_USER_NO_REPLY     0x10u
#define VFIO_USER_ERROR        0x20u

/* Defaults of "VERSION" for a peer that does not say. */
#define VFIO_USER_DEFAULT_FDS      1u
#define VFIO_USER_DEFAULT_TRANSFER 1048576u
#define VFIO_USER_DEFAULT_MAPS     65535u
#define VFIO_USER_DEFAULT_PAGES    4096u

/* "VFIO_USER_VERSION", both ways; JSON with its terminating NUL may follow. */
struct vfio_user_version {
	uint16_t major;
	uint16_t minor;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_version, 4);

/* "VFIO_USER_DMA_MAP": VFIO_DMA_MAP_FLAG_READ, _WRITE; at most one descriptor. No reply payload. */
struct vfio_user_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset; /* in the descriptor */
	uint64_t address;
	uint64_t size;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_dma_map, 32);

/* "VFIO_USER_DMA_UNMAP", both ways. VFIO_DMA_UNMAP_FLAG_ALL with address = size = 0: everything. */
struct vfio_user_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t address;
	uint64_t size;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_dma_unmap, 24);

/* "VFIO_USER_DEVICE_GET_INFO", both ways. */
struct vfio_user_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t region_count;
	uint32_t irq_count;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_device_info, 16);

/* "VFIO_USER_DEVICE_GET_REGION_INFO", both ways; the reply may go on with capabilities. */
struct vfio_user_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t capability_offset; /* from the start of this structure */
	uint64_t size;
	uint64_t offset; /* for mmap of the descriptor in the reply */
};
P2PNIC_ASSERT_SIZE(struct vfio_user_region_info, 32);

/* "VFIO cap header format". */
struct vfio_user_capability {
	uint16_t id;
	uint16_t version;
	uint32_t next; /* from the start of the region info; 0: the last */
};
P2PNIC_ASSERT_SIZE(struct vfio_user_capability, 8);

/* "VFIO region info cap sparse mmap"; `count` areas follow. */
struct vfio_user_sparse {
	struct vfio_user_capability header;
	uint32_t count;
	uint32_t reserved;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_sparse, 16);

struct vfio_user_area {
	uint64_t offset; /* in the region */
	uint64_t size;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_area, 16);

/* "VFIO_USER_DEVICE_GET_REGION_IO_FDS", both ways; `count` sub-regions follow in the reply. */
struct vfio_user_io_fds {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_io_fds, 16);

#define VFIO_USER_IO_FD_IOEVENTFD  0u
#define VFIO_USER_IO_FD_IOREGIONFD 1u
#define VFIO_USER_IO_FD_DATAMATCH  0x1u /* KVM_IOEVENTFD_FLAG_DATAMATCH */

struct vfio_user_io_fd {
	uint64_t offset; /* in the region */
	uint64_t size;   /* 0: any width */
	uint32_t fd_index;
	uint32_t type;
	uint32_t flags;
	uint32_t padding;
	uint64_t datamatch;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_io_fd, 40);

/* "VFIO_USER_DEVICE_GET_IRQ_INFO", both ways. */
struct vfio_user_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_irq_info, 16);

/* "VFIO_USER_DEVICE_SET_IRQS"; booleans follow with VFIO_IRQ_SET_DATA_BOOL. No reply payload. */
struct vfio_user_irq_set {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_irq_set, 20);

/* "VFIO_USER_REGION_READ" and "_WRITE", both ways; data follow in a write and in a read's reply. */
struct vfio_user_region_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_region_access, 16);

/* "VFIO_USER_REGION_WRITE_MULTI": `count`, then that many writes; the reply is `count` alone. */
struct vfio_user_write_multi {
	uint64_t count;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_write_multi, 8);

struct vfio_user_small_write {
	uint64_t offset;
	uint32_t region;
	uint32_t count; /* at most 8 */
	uint8_t data[8];
};
P2PNIC_ASSERT_SIZE(struct vfio_user_small_write, 24);

/*
 * "VFIO_USER_DMA_READ" and "_WRITE", both ways; data follow in a write and in a read's reply. In
 * the wild a write's reply is this, this less four bytes (the specification's table), or nothing.
 */
struct vfio_user_dma_access {
	uint64_t address;
	uint64_t count;
};
P2PNIC_ASSERT_SIZE(struct vfio_user_dma_access, 16);

#endif
