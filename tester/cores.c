/* SPDX-License-Identifier: BSD-3-Clause */
#include "cores.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define ROUNDS 20
#define TRIPS  1000

struct rally {
	_Alignas(128) atomic_int there;
	_Alignas(128) atomic_int back;
	_Alignas(128) atomic_bool ready;
	int cpu;
	int error;
};

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static void *returner(void *opaque)
{
	struct rally *r = opaque;

	r->error = pin(r->cpu);
	atomic_store(&r->ready, true);
	for (int i = 1; !r->error && i <= ROUNDS * TRIPS; i++) {
		while (atomic_load_explicit(&r->there, memory_order_acquire) != i)
			;
		atomic_store_explicit(&r->back, i, memory_order_release);
	}
	return NULL;
}

double cores_round_trip(int a, int b)
{
	struct rally r = {.cpu = b};
	double best = 1e9;
	pthread_t thread;

	int error = pin(a);
	if (!error)
		error = -pthread_create(&thread, NULL, returner, &r);
	if (error)
		return error;
	while (!atomic_load(&r.ready))
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	for (int round = 0, i = 1; !r.error && round < ROUNDS; round++) {
		struct timespec start, end;
		clock_gettime(CLOCK_MONOTONIC, &start);
		for (int n = 0; n < TRIPS; n++, i++) {
			atomic_store_explicit(&r.there, i, memory_order_release);
			while (atomic_load_explicit(&r.back, memory_order_acquire) != i)
				;
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		double ns = ((double)(end.tv_sec - start.tv_sec) * 1e9 +
				    (double)(end.tv_nsec - start.tv_nsec)) /
			    TRIPS;
		if (ns < best)
			best = ns;
	}
	pthread_join(thread, NULL);
	return r.error ? r.error : best;
}
