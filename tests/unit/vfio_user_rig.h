/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small device behind the vfio-user server, for the tests of both ends.
 *
 *   BAR0  64 KiB: the first page trapped, 4 bytes at a time; page 1 mappable, read-only; doorbell
 *         at 0x2000
 *   BAR2  1 MiB, all mappable
 *   configuration space: pci_config
 *
 * Writing RIG_REG_PAUSE does what a device's command does: it waits until the engine has paused,
 * and lets it go. The engine (rig_engine_start) meanwhile moves a counter to and from a message
 * window.
 */
#ifndef TESTS_VFIO_USER_RIG_H
#define TESTS_VFIO_USER_RIG_H

#include "softnic/pci_config.h"
#include "softnic/vfio_user.h"

#include <pthread.h>
#include <vfio_user/message.h>

#define RIG_BAR0      0x10000u
#define RIG_BAR2      0x100000u
#define RIG_SCRATCH   0x40u /* a register that holds what was written */
#define RIG_REG_PAUSE 0x44u
#define RIG_WINDOWS   64u

struct rig_window {
	struct vfu_window window; /* fd: a duplicate */
	bool used;
};

struct rig {
	struct vfu *vfu;
	struct vfu_config config; /* it was opened with */
	struct pci_config pci;
	int bar0_fd, bar0_shown_fd, bar2_fd, doorbell;
	uint8_t *bar0, *bar2;
	struct vfio_user_area shown;
	struct vfu_io_fd io_fd;
	struct rig_window window[RIG_WINDOWS];
	_Atomic unsigned windows, resets, connects, disconnects, reads_done;
	char log[256]; /* the last line */

	/* Control thread. */
	pthread_t control;
	bool threaded;
	_Atomic bool stop;

	/* Engine thread. */
	pthread_t engine;
	_Atomic bool running;
	_Atomic bool engine_stop;
	_Atomic uint64_t moved;            /* rounds done */
	_Atomic unsigned faults;           /* rounds that failed */
	_Atomic unsigned faults_connected; /* of those, with a client there */
	struct bus_addr bus;               /* of the window it uses */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool pause, paused;
};

/* path or connection as in vfu_config. */
void rig_open(struct rig *rig, const char *path, int connection, unsigned timeout_ms);
void rig_close(struct rig *rig);

/* Serves in a thread of its own until rig_close. */
void rig_serve(struct rig *rig);

/* vfu_dma_read, asked until it is answered. */
int rig_read(struct vfu *vfu, struct bus_addr bus, void *data, size_t bytes);

void rig_engine_start(struct rig *rig, struct bus_addr bus);
void rig_engine_stop(struct rig *rig);

/* A memfd of that size, sealed. */
int rig_memfd(uint64_t bytes, unsigned seals);
void rig_sleep_ms(unsigned ms);

#endif
