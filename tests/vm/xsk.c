/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xsk PID: in the guest, each AF_XDP socket of a process, one a line: the mode, how many frames its
 * transmit ring and its completion ring hold, and whether the driver wants to be woken to send.
 */
#include <err.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct ring {
	uint32_t held;
	uint32_t flags;
};

static struct ring look(int fd, off_t where, const struct xdp_ring_offset *at)
{
	const uint8_t *ring = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, where);

	if (ring == MAP_FAILED)
		err(1, "mapping a ring");
	return (struct ring){
		*(const uint32_t *)(ring + at->producer) - *(const uint32_t *)(ring + at->consumer),
		*(const uint32_t *)(ring + at->flags)};
}

static void show(int fd, const char *mode)
{
	struct xdp_mmap_offsets at;
	socklen_t bytes = sizeof(at);

	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &bytes))
		err(1, "offsets of a ring");
	struct ring transmit = look(fd, XDP_PGOFF_TX_RING, &at.tx);
	struct ring completion = look(fd, XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr);
	printf("%s %u %u%s\n", mode, transmit.held, completion.held,
		transmit.flags & XDP_RING_NEED_WAKEUP ? " wakeup" : "");
}

int main(int argc, char **argv)
{
	int pidfd = argc == 2 ? pidfd_open(atoi(argv[1]), 0) : -1;

	if (pidfd < 0)
		errx(2, "usage: xsk PID");
	for (int number = 0; number < sysconf(_SC_OPEN_MAX); number++) {
		int fd = pidfd_getfd(pidfd, number, 0);
		struct xdp_options options;
		socklen_t bytes = sizeof(options);

		if (fd >= 0 && !getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &bytes))
			show(fd, options.flags & XDP_OPTIONS_ZEROCOPY ? "zero-copy" : "copy");
		close(fd);
	}
	return 0;
}
