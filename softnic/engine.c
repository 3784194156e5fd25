/* SPDX-License-Identifier: BSD-3-Clause */
#include "softnic/engine.h"

#include "ipc/clock.h"
#include "softnic/soft_nic.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Work between two looks at the clock, in packets received or sent; a round counts as some more. A
 * look costs 28 ns: 0.2 % where packets are the cheapest (memif). By af_packet so many take up to a
 * millisecond. */
#define ENGINE_CLOCK 2048u
#define ENGINE_ROUND 8u

struct engine {
	pthread_t thread;
	char name[16];
	bool shared;
	int epoll;   /* what ends a sleep: doorbells, frames, `control`, `wake` */
	int control; /* epoll of the ports' control descriptors; looked at while busy, too */
	int wake;    /* eventfd: the control thread wants the engine's attention */
	struct soft_nic *nic[ENGINE_NICS_MAX];
	unsigned nics;
	uint64_t serviced; /* when ports had their housekeeping */
	uint64_t looked;   /* when `control` was looked at */

	_Atomic bool stop;
	_Atomic unsigned park; /* requests; the engine looks at it once a round */
	bool parked;
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static void drain(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) == sizeof(n))
		;
}

/* Edge-triggered: a port in error must not keep the engine awake, and what waited before the edge
 * was looked for when the port was armed. */
static int watch(int epoll, int fd, epoll_data_t data)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = data};

	if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

static int watch_waker(struct engine *e, int fd)
{
	return watch(e->epoll, fd, (epoll_data_t){.fd = fd});
}

static void unwatch(int epoll, int fd)
{
	if (fd >= 0)
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void unwatch_port(struct engine *e, const struct soft_nic *nic)
{
	unwatch(e->epoll, nic->watched[SOFT_NIC_FRAMES]);
	unwatch(e->control, nic->watched[SOFT_NIC_CONTROL]);
}

/* Descriptors of a port may change when it reconnects: asked anew at each housekeeping. */
static void watch_port(struct engine *e, struct soft_nic *nic)
{
	int fds[SOFT_NIC_FDS];

	soft_nic_fds(nic, fds);
	if (memcmp(fds, nic->watched, sizeof(fds)) != 0)
		unwatch_port(e, nic);
	memcpy(nic->watched, fds, sizeof(fds));
	watch_waker(e, fds[SOFT_NIC_FRAMES]);
	watch(e->control, fds[SOFT_NIC_CONTROL], (epoll_data_t){.ptr = nic});
}

static void service(struct engine *e, struct soft_nic *nic)
{
	soft_nic_service(nic);
	watch_port(e, nic);
}

/* Those ports whose control descriptor has something to say. */
static void look_at_control(struct engine *e)
{
	struct epoll_event events[ENGINE_NICS_MAX];
	int n = epoll_wait(e->control, events, ENGINE_NICS_MAX, 0);

	for (int k = 0; k < n; k++)
		service(e, events[k].data.ptr);
}

/* All ports, or those that ask for it, by the clock. */
static void housekeeping(struct engine *e, uint64_t now)
{
	if (now - e->serviced >= ENGINE_SERVICE_MS * 1000000ull) {
		e->serviced = now;
		for (unsigned k = 0; k < e->nics; k++)
			service(e, e->nic[k]);
	} else if (now - e->looked >= ENGINE_LOOK_US * 1000ull) {
		e->looked = now;
		look_at_control(e);
	}
}

static bool anything_waits(const struct engine *e)
{
	for (unsigned k = 0; k < e->nics; k++)
		if (nic_waits(e->nic[k]->nic))
			return true;
	return false;
}

/* Sleeps until something wakes the engine, or as long as it may. A peer that publishes before it
 * has heard that a NIC sleeps rings no doorbell: then the rings are looked at every millisecond. */
static int sleep_till(struct engine *e, enum nic_rest rest, struct epoll_event *events, int room)
{
	unsigned naps = rest == NIC_POSTED ? ENGINE_SERVICE_MS : 1;
	int n;

	do
		n = epoll_wait(e->epoll, events, room, rest == NIC_IDLE ? ENGINE_SERVICE_MS : 1);
	while (n == 0 && --naps && !anything_waits(e));
	return n;
}

/* Sleeps unless something came up while arming. */
static void rest(struct engine *e)
{
	enum nic_rest rest = NIC_IDLE;
	struct epoll_event events[16];
	unsigned armed = 0;
	int n;

	while (armed < e->nics && rest != NIC_BUSY) {
		enum nic_rest r = soft_nic_arm(e->nic[armed++]);

		if (r < rest)
			rest = r;
	}
	if (rest != NIC_BUSY) {
		n = sleep_till(e, rest, events, 16);
		if (n > 0)
			drain(e->wake);
		for (int k = 0; k < n; k++)
			if (events[k].data.fd == e->control)
				e->looked = 0; /* it is due */
	}
	for (unsigned k = 0; k < armed; k++) {
		drain(e->nic[k]->doorbell);
		soft_nic_disarm(e->nic[k]);
	}
}

static void parked(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	e->parked = true;
	pthread_cond_broadcast(&e->changed);
	while (atomic_load(&e->park))
		pthread_cond_wait(&e->changed, &e->lock);
	e->parked = false;
	pthread_mutex_unlock(&e->lock);
}

static void *run(void *argument)
{
	struct engine *e = argument;
	uint64_t idle_since = 0;
	unsigned done = 0;

	while (!atomic_load_explicit(&e->stop, memory_order_relaxed)) {
		unsigned work = 0;

		if (__builtin_expect(atomic_load_explicit(&e->park, memory_order_acquire), 0))
			parked(e);
		for (unsigned k = 0; k < e->nics; k++) {
			soft_nic_prefetch(e->nic[k + 1 < e->nics ? k + 1 : 0]);
			work += soft_nic_poll(e->nic[k]);
		}
		if (e->shared)
			sched_yield();
		/* The clock costs as much as a packet: look at it when idle, or after so many
		 * rounds and packets. */
		if (work) {
			idle_since = 0;
			done += ENGINE_ROUND + work;
			if (done < ENGINE_CLOCK)
				continue;
		}
		done = 0;
		uint64_t now = clock_now_ns();

		housekeeping(e, now);
		if (work)
			continue;
		if (!idle_since)
			idle_since = now;
		if (now - idle_since < ENGINE_SPIN_US * 1000ull) {
			cpu_relax();
			continue;
		}
		rest(e);
		idle_since = 0;
	}
	return NULL;
}

int engine_new(struct engine **out, const char *name, int core, bool shared)
{
	struct engine *e = calloc(1, sizeof(*e));
	int error;

	if (!e)
		return -ENOMEM;
	snprintf(e->name, sizeof(e->name), "engine-%.8s", name);
	e->shared = shared;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	e->control = epoll_create1(EPOLL_CLOEXEC);
	e->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->epoll < 0 || e->control < 0 || e->wake < 0 || watch_waker(e, e->wake) < 0 ||
		watch_waker(e, e->control) < 0) {
		error = -errno;
		goto fail;
	}
	error = -pthread_create(&e->thread, NULL, run, e);
	if (error)
		goto fail;
	pthread_setname_np(e->thread, e->name);
	if (core >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((unsigned)core, &set);
		error = -pthread_setaffinity_np(e->thread, sizeof(set), &set);
		if (error) {
			engine_free(e);
			return error;
		}
	}
	*out = e;
	return 0;
fail:
	if (e->epoll >= 0)
		close(e->epoll);
	if (e->control >= 0)
		close(e->control);
	if (e->wake >= 0)
		close(e->wake);
	free(e);
	return error;
}

static void wake(struct engine *e)
{
	const uint64_t one = 1;

	/* Fails only when the counter is full: then the engine has been woken already. */
	ssize_t n = write(e->wake, &one, sizeof(one));

	(void)n;
}

void engine_free(struct engine *e)
{
	atomic_store(&e->stop, true);
	wake(e);
	pthread_join(e->thread, NULL);
	close(e->epoll);
	close(e->control);
	close(e->wake);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->changed);
	free(e);
}

void engine_park(struct engine *e)
{
	if (atomic_fetch_add(&e->park, 1) == 0)
		wake(e);
	pthread_mutex_lock(&e->lock);
	while (!e->parked)
		pthread_cond_wait(&e->changed, &e->lock);
	pthread_mutex_unlock(&e->lock);
}

void engine_resume(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	if (atomic_fetch_sub(&e->park, 1) == 1)
		pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

int engine_add(struct engine *e, struct soft_nic *nic)
{
	int error = 0;

	if (e->nics == ENGINE_NICS_MAX)
		return -ENOSPC;
	engine_park(e);
	for (unsigned k = 0; k < SOFT_NIC_FDS; k++)
		nic->watched[k] = -1;
	error = watch_waker(e, nic->doorbell);
	if (!error) {
		watch_port(e, nic);
		e->nic[e->nics++] = nic;
	}
	engine_resume(e);
	return error;
}

void engine_remove(struct engine *e, struct soft_nic *nic)
{
	unsigned k = 0;

	engine_park(e);
	while (e->nic[k] != nic)
		k++;
	e->nic[k] = e->nic[--e->nics];
	unwatch(e->epoll, nic->doorbell);
	unwatch_port(e, nic);
	engine_resume(e);
}
