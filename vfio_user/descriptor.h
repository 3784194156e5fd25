/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a descriptor that came from another process is good for.
 *
 * Memory must be a memfd (or shmem or hugetlbfs file) sealed with F_SEAL_SHRINK and long enough: in
 * a file that can be truncated, an access becomes SIGBUS at the truncater's will. To be written it
 * must be open for writing and not sealed against it.
 *
 * An eventfd is made non-blocking, so that a full counter cannot stop whoever signals it.
 */
#ifndef VFIO_USER_DESCRIPTOR_H
#define VFIO_USER_DESCRIPTOR_H

#include "ipc/error.h"
#include "wire.h"

enum vfio_user_fd_kind {
	VFIO_USER_FD_MEMORY = 1,
	VFIO_USER_FD_EVENT = 2,
};

/*
 * The kind of fd, fit to be used as [offset, offset + bytes) with access (VFIO_DMA_MAP_FLAG_READ,
 * _WRITE); or -errno with the reason in error. For an eventfd only offset matters: it must
 * be 0.
 */
int vfio_user_check_fd(
	int fd, uint64_t offset, uint64_t bytes, uint32_t access, struct error *error);

#endif
