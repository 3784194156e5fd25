/* SPDX-License-Identifier: BSD-3-Clause */
#include "softnic/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct mapping *mappings;

int mapping_get(struct mapping **out, int fd, bool writable)
{
	struct stat st;
	struct mapping *m;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* No test takes two files of one inode number: they would be of two file systems. */
	for (m = mappings; m; m = m->next)
		if (m->device == st.st_dev && m->inode == st.st_ino && m->writable == writable) {
			m->references++;
			*out = m;
			return 0;
		}
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->bytes = (uint64_t)st.st_size;
	m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	m->memory = m->fd < 0 ? MAP_FAILED
			      : mmap(NULL, m->bytes, PROT_READ | (writable ? PROT_WRITE : 0),
					MAP_SHARED, fd, 0);
	if (m->memory == MAP_FAILED) {
		int error = -errno;

		if (m->fd >= 0)
			close(m->fd);
		free(m);
		return error;
	}
	madvise(m->memory, m->bytes, MADV_HUGEPAGE); /* a wish: refused where shmem has none */
	m->writable = writable;
	m->references = 1;
	m->device = st.st_dev;
	m->inode = st.st_ino;
	m->next = mappings;
	mappings = m;
	*out = m;
	return 0;
}

void mapping_put(struct mapping *m)
{
	if (--m->references)
		return;
	struct mapping **p = &mappings;
	while (*p != m)
		p = &(*p)->next;
	*p = m->next;
	munmap(m->memory, m->bytes);
	close(m->fd);
	free(m);
}

struct mapping *mapping_at(const void *address)
{
	struct mapping *m = mappings;

	while (m && (uintptr_t)address - (uintptr_t)m->memory >= m->bytes)
		m = m->next;
	return m;
}

int memory_create(const char *name, uint64_t bytes)
{
	const uint64_t huge = 2ull << 20;
	int fd = -1;

	if (bytes % huge == 0) {
		fd = memfd_create(
			name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB);
		/* Allocated now: a page that cannot be had later would be a SIGBUS on the data
		 * path. (Where no huge pages are set aside, as on most hosts of tests, that fails
		 * always.) */
		if (fd >= 0 && (ftruncate(fd, (off_t)bytes) < 0 ||
				       fallocate(fd, 0, 0, (off_t)bytes) < 0)) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0) {
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd < 0)
			return -errno;
		if (ftruncate(fd, (off_t)bytes) < 0) {
			int error = -errno;

			close(fd);
			return error;
		}
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}
