/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's rings with a soft NIC, over sockets, with a capture for its wire. */
#ifndef TESTS_HOST_RINGS_RIG_H
#define TESTS_HOST_RINGS_RIG_H

#include "driver/host_rings.h"
#include "tests/unit/soft_rig.h"

#define SLOTS   16u
#define WAIT_MS 10000

extern unsigned method; /* P2PNIC_METHOD_*: that of main's first argument */

/* NIC 0 and its host, as this process serves it. */
struct host {
	struct soft_rig *rig;
	struct host_rings rings;
	struct host_maps maps;
	struct host_ring ring[P2PNIC_HOST_RINGS];
};

/* NIC 0 will receive these; it is not started. */
struct host *host_with(uint32_t slots, const struct packet *in, unsigned count);
struct host *host_new(const struct packet *in, unsigned count); /* of SLOTS */
void host_free(struct host *);

/* The parts of host_with(): the driver opens the rings, and this process serves them. */
void open_rings(struct host *);
void serve_here(struct host *);

/* Waits for the next frame of a ring. */
struct host_frame next_frame(struct host *, unsigned ring);
uint64_t drops(const struct host *, enum p2pnic_drop reason);
/* Sends it as soon as there is room. */
void send_packet(struct host *, unsigned ring, const struct packet *);

/* Lengths from the shortest to the longest, the seed in each. */
struct packet packet_of(uint32_t seed);
struct packet packet_to(uint32_t to, uint8_t ttl, uint8_t protocol);

/* NIC 0 has sent packets of these seeds, in this order, byte by byte. */
void check_sent(struct host *, uint32_t from, uint32_t to);

/* Whether the eventfd is written within that time. */
bool wakes(int event, int ms);

/* Of a program called as NAME [read|bounce [TEST]]. */
void rig_arguments(int argc, char **argv);

#endif
