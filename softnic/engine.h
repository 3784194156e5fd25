/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine: one thread that runs the firmware of one or more soft NICs, one burst each in turn.
 *
 *   polls ─▶ nothing for a while ─▶ arm every NIC ─▶ sleep until port, doorbell, control thread
 *     ▲                                │ something came meanwhile           │
 *     └────────────────────────────────┴─────────────────────────────────────┘
 *
 * It polls for ENGINE_SPIN_US after the last packet, so that a stream never pays for a wake-up, and
 * then sleeps: an idle engine uses next to no processor time. Arming tells the peers that the NIC
 * sleeps and looks once more (nic_arm), so no packet is lost or forgotten between the last look and
 * the sleep.
 *
 * A port that has something to say besides frames (a carrier that is lost, a peer that goes) has a
 * control descriptor readable. That ends a sleep at once; an engine that polls asks for all of its
 * ports with one system call, every ENGINE_LOOK_US by a clock that it reads after every so many
 * packets. In full bursts through slow ports (af_packet) that may be a millisecond.
 *
 * The control thread changes a NIC (registers, windows, ports) only while its engine is parked:
 *
 *     engine_park(e);   returns when the engine is between two bursts, and stays there
 *     …
 *     engine_resume(e);
 */
#ifndef SOFTNIC_ENGINE_H
#define SOFTNIC_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct soft_nic;

#define ENGINE_SPIN_US 50u     /* polling after the last packet, before it sleeps */
#ifndef ENGINE_SERVICE_MS      /* a test wants none */
#define ENGINE_SERVICE_MS 100u /* housekeeping of all ports: reconnecting, what nobody tells of */
#endif
#define ENGINE_LOOK_US  250u /* while it polls: which ports have something to say (control_fd) */
#define ENGINE_NICS_MAX 64u

/* core: to pin the thread to; -1: any. shared: something else polls on that core, give way to it
 * after each round. 0 or -errno. The thread starts with no NIC. */
int engine_new(struct engine **, const char *name, int core, bool shared);
/* Ends the thread. Its NICs must have been removed. */
void engine_free(struct engine *);

/* Control thread. Pairs nest. */
void engine_park(struct engine *);
void engine_resume(struct engine *);

/* The NIC is run from then on; -ENOSPC. */
int engine_add(struct engine *, struct soft_nic *);
/* One that was added. */
void engine_remove(struct engine *, struct soft_nic *);

#endif
