/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far apart two processors are: the time for a cache line to go from one to the other and back. On
 * one die some 100 ns; over a socket's fabric five times that, and everything that passes packets in
 * shared memory slows down with it. A virtual machine's host moves processors about, so the bench writes
 * it beside each result.
 */
#ifndef P2PNIC_TESTER_CORES_H
#define P2PNIC_TESTER_CORES_H

/* The best of some 20 ms of round trips, in ns; or -errno: no such processors. */
double cores_round_trip(int a, int b);

#endif
