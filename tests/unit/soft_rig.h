/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Soft NICs with pcap ports in this process, and the driver that brings them up, over real sockets.
 *
 *   test's thread      driver: device.h, driver_nic.h, fabric.h
 *   control thread     soft NICs' vfio-user servers (as `p2pnic nic` has one)
 *   engine threads     firmware
 *
 * Routes: those of packet.h. Each NIC n receives soft_in(n) and sends into soft_out(n), pcap files
 * in a directory of the test's own.
 */
#ifndef TESTS_SOFT_RIG_H
#define TESTS_SOFT_RIG_H

#include "driver/fabric.h"
#include "ipc/error.h"
#include "softnic/soft_nic.h"
#include "tests/unit/packet.h"

#include <pthread.h>

#define SOFT_NICS_MAX 4u

struct soft_rig {
	char directory[64];
	unsigned nics, engines;
	struct engine *engine[SOFT_NICS_MAX];
	struct soft_nic *soft[SOFT_NICS_MAX];
	struct driver_nic driver[SOFT_NICS_MAX];
	struct fabric fabric;
	const char
		*memif[SOFT_NICS_MAX]; /* socket of that NIC's port, a memif client; NULL: pcap */
	char name[SOFT_NICS_MAX][16], socket[SOFT_NICS_MAX][160], target[SOFT_NICS_MAX][160];

	pthread_t control;
	pthread_mutex_t lock; /* held while NICs are served, made or freed */
	int wake;
	bool stop;
};

/* Engines are dealt out in turn. Buffers are of 2 KiB, unless fabric.buffer_bytes is set before the
 * first soft_add. Captures to receive are written before soft_add. */
struct soft_rig *soft_rig_new(unsigned method, unsigned engines);
void soft_rig_free(struct soft_rig *);

/* The capture that NIC n is to receive: packets in order; written whole. */
void soft_capture(struct soft_rig *, unsigned nic, const struct packet *, unsigned n);

/* Makes soft NIC n and brings it up: driver, fabric, routes; started if `start`. */
void soft_add(struct soft_rig *, unsigned nic, bool start);
/* Its two halves. */
void soft_make(struct soft_rig *, unsigned nic);
/* fabric_add, until all its pairs are open or it fails. */
int soft_join(struct soft_rig *, unsigned nic, struct error *error);
void soft_bring_up(struct soft_rig *, unsigned nic);
void soft_start(struct soft_rig *, unsigned nic);
void soft_tables(struct soft_rig *, unsigned nic);
/* The soft NIC dies: its process's end. The driver is not told. */
void soft_kill(struct soft_rig *, unsigned nic);

/* What NIC n has sent: the next packet of its capture. Opened by soft_sent_open. */
struct pcap *soft_sent_open(struct soft_rig *, unsigned nic);
bool soft_sent(struct pcap *, struct packet *);

/* Waits (10 s at most) until the NIC has sent that many packets; answers DMA messages meanwhile. */
bool soft_wait_sent(struct soft_rig *, unsigned nic, uint64_t packets);
/* Answers DMA messages of all devices once, waiting at most `ms`. */
void soft_serve(struct soft_rig *, int ms);
/* Waits until every NIC of the rig has received `packets` and nothing is on its way. */
bool soft_wait_received(struct soft_rig *, uint64_t packets);
/* Every NIC's accounts are even (10 s at most until they come to rest). */
bool soft_accounts_even(struct soft_rig *);

/* Processor time of the engine threads so far, in nanoseconds; open descriptors of this process. */
uint64_t soft_engine_time(const struct soft_rig *);
#endif
