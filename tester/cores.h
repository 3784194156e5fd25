/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far apart two processors are, and whether the other one has its core to itself.
 *
 * Distance: the time for a cache line to go from one to the other and back. On one die some 100 ns;
 * over a socket's fabric five times that; between two threads of one core less than half. Whatever
 * passes packets in shared memory slows down with it, and a virtual machine's host moves processors
 * about many times a second.
 *
 * Pace: the time for a step of a loop of independent additions, which fill the units of a core.
 * Whatever runs on the other thread of that core, in another virtual machine for example, slows it
 * down by up to a half.
 *
 * So the tester measures both between the windows of a run, the pace of the device's processor: its
 * own does not show in what a device forwards.
 */
#ifndef P2PNIC_TESTER_CORES_H
#define P2PNIC_TESTER_CORES_H

struct cores;

/* A thread that waits on processor `cpu` to return lines; before all others there, where the system
 * lets it. 0, or -errno: no such processor, no memory. */
int cores_open(struct cores **, int cpu);
void cores_close(struct cores *);

struct cores_state {
	/* ns from the caller's processor and back, the best of some. -1: the other one did not come
	 * within 10 ms */
	double round_trip;
	double step; /* ns, of the other one; -1 likewise */
};

/* Takes 70 to 250 µs, during which whatever runs on the other processor stands still. */
struct cores_state cores_look(struct cores *);

#endif
