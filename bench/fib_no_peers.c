/* SPDX-License-Identifier: BSD-3-Clause */
#include "fib_subject.h"

/* In place of fib_peers.c where the build found no DPDK. */

bool peers_start(const char **why)
{
	*why = "built without DPDK";
	return false;
}

void peers_ipv4(const struct fib_route *routes, size_t n, bool quick, struct subject *subject,
	unsigned *subjects)
{
	(void)routes, (void)n, (void)quick, (void)subject, (void)subjects;
}

void peers_ipv6(const struct fib_route *routes, size_t n, bool quick, struct subject *subject,
	unsigned *subjects)
{
	(void)routes, (void)n, (void)quick, (void)subject, (void)subjects;
}
