/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xsk PID: in the guest, what the kernel says of each AF_XDP socket of a process, one a line: the
 * mode, and whether the driver wants to be woken to send.
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

static uint32_t transmit_flags(int fd)
{
	struct xdp_mmap_offsets at;
	socklen_t bytes = sizeof(at);

	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &bytes))
		err(1, "offsets of a ring");
	const uint8_t *ring = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, XDP_PGOFF_TX_RING);
	if (ring == MAP_FAILED)
		err(1, "mapping a ring");
	return *(const uint32_t *)(ring + at.tx.flags);
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
			printf("%s%s\n",
				options.flags & XDP_OPTIONS_ZEROCOPY ? "zero-copy" : "copy",
				transmit_flags(fd) & XDP_RING_NEED_WAKEUP ? " wakeup" : "");
		close(fd);
	}
	return 0;
}
