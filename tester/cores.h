/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far apart two processors are: the time for a cache line to go from one to the other and back. On
 * one die some 100 ns; over a socket's fabric five times that; between two threads of one core less than half. Whatever
 * passes packets in shared memory slows down with it, and a virtual machine's host moves
 * processors about many times a second: so the tester measures it between the windows of a run.
 */
#ifndef P2PNIC_TESTER_CORES_H
#define P2PNIC_TESTER_CORES_H

struct cores;

/* A thread that waits on processor `cpu` to return lines; before all others there, where the system lets it.
 * 0, or -errno: no such processor, no memory. */
int cores_open(struct cores **, int cpu);
void cores_close(struct cores *);

/* ns from the caller's processor and back, the best of some; takes 50 to 200 µs, during which whatever runs on
 * the other processor stands still. -1: the other one did not come within 10 ms. */
double cores_round_trip(struct cores *);

#endif
