/* SPDX-License-Identifier: BSD-3-Clause */
#include "cores.h"

#include "ipc/clock.h"
#include "median.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS   4
#define TRIPS    50
#define TIMEOUT  10000000 /* ns */
#define PACES    9
#define STEPS    4000
#define PRIORITY 2 /* above the device's, which `--realtime` gives 1 */

struct cores {
	_Alignas(128) _Atomic uint32_t there; /* counts trips, never repeats within a rally */
	_Alignas(128) _Atomic uint32_t back;
	_Alignas(128) atomic_bool playing;
	atomic_bool paced; /* `step` is the returner's of this look */
	double step;
	sem_t called;
	atomic_bool over;
	pthread_t thread;
};

/* ns for a step of six additions, none of which waits for another. */
static double pace(void)
{
	double step[PACES];

	for (int k = 0; k < PACES; k++) {
		uint64_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, start = clock_now_ns();
		for (int n = 0; n < STEPS; n++) {
			a++, b++, c++, d++, e++, f++;
			__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
		}
		step[k] = (double)(clock_now_ns() - start) / STEPS;
	}
	return median(step, PACES);
}

/* Follows `there` with `back` while a rally lasts, then measures its own pace. */
static void *returner(void *opaque)
{
	struct cores *c = opaque;
	uint32_t last = 0;

	for (;;) {
		while (sem_wait(&c->called))
			;
		if (atomic_load(&c->over))
			return NULL;
		while (atomic_load_explicit(&c->playing, memory_order_relaxed)) {
			uint32_t ball = atomic_load_explicit(&c->there, memory_order_acquire);
			if (ball != last)
				atomic_store_explicit(&c->back, last = ball, memory_order_release);
		}
		c->step = pace();
		atomic_store_explicit(&c->paced, true, memory_order_release);
	}
}

int cores_open(struct cores **out, int cpu)
{
	struct cores *c = aligned_alloc(128, sizeof(*c));
	struct sched_param param = {.sched_priority = PRIORITY};
	cpu_set_t set;
	int r;

	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	sem_init(&c->called, 0, 0);
	r = pthread_create(&c->thread, NULL, returner, c);
	if (r) {
		free(c);
		return -r;
	}
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	r = pthread_setaffinity_np(c->thread, sizeof(set), &set);
	if (r) {
		cores_close(c);
		return -r;
	}
	pthread_setschedparam(c->thread, SCHED_FIFO, &param);
	*out = c;
	return 0;
}

void cores_close(struct cores *c)
{
	atomic_store(&c->over, true);
	sem_post(&c->called);
	pthread_join(c->thread, NULL);
	sem_destroy(&c->called);
	free(c);
}

/* A trip there and back; false: nobody returns. */
static bool trip(struct cores *c, uint32_t ball, uint64_t until)
{
	atomic_store_explicit(&c->there, ball, memory_order_release);
	for (unsigned k = 1; atomic_load_explicit(&c->back, memory_order_acquire) != ball; k++)
		if (k % 4096 == 0 && clock_now_ns() > until)
			return false;
	return true;
}

static double returners_pace(struct cores *c)
{
	uint64_t until = clock_now_ns() + TIMEOUT;

	while (!atomic_load_explicit(&c->paced, memory_order_acquire))
		if (clock_now_ns() > until)
			return -1;
	return c->step;
}

struct cores_state cores_look(struct cores *c)
{
	uint64_t until = clock_now_ns() + TIMEOUT;
	uint32_t ball = atomic_load_explicit(&c->there, memory_order_relaxed) + 1;
	double best = -1;

	atomic_store(&c->playing, true);
	sem_post(&c->called);
	bool there = trip(c, ball, until); /* it is awake now */
	for (int round = 0; there && round < ROUNDS; round++) {
		uint64_t start = clock_now_ns();
		for (int n = 0; there && n < TRIPS; n++)
			there = trip(c, ++ball, until);
		double ns = (double)(clock_now_ns() - start) / TRIPS;
		if (there && (best < 0 || ns < best))
			best = ns;
	}
	/* While it plays it does not say its pace: what it says after this is of this look. */
	atomic_store(&c->paced, false);
	atomic_store(&c->playing, false);
	return (struct cores_state){best, there ? returners_pace(c) : -1};
}
