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

struct engine {
	pthread_t thread;
	char name[16];
	bool shared;
	int epoll;
	int wake; /* eventfd: the control thread wants the engine's attention */
	struct soft_nic *nic[ENGINE_NICS_MAX];
	unsigned nics;
	uint64_t serviced; /* when ports had their housekeeping; 0: it is due */

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
static int watch(struct engine *e, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd};

	if (fd < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

static void unwatch(struct engine *e, int fd)
{
	if (fd >= 0)
		epoll_ctl(e->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* Descriptors of a port may change when it reconnects: asked anew at each housekeeping. */
static void watch_port(struct engine *e, struct soft_nic *nic)
{
	int fds[SOFT_NIC_FDS];

	soft_nic_fds(nic, fds);
	for (unsigned k = 0; k < SOFT_NIC_FDS; k++) {
		if (fds[k] != nic->watched[k])
			unwatch(e, nic->watched[k]);
		nic->watched[k] = fds[k];
		watch(e, fds[k]);
	}
}

static void service(struct engine *e)
{
	for (unsigned k = 0; k < e->nics; k++) {
		soft_nic_service(e->nic[k]);
		watch_port(e, e->nic[k]);
	}
}

static bool is_control(const struct engine *e, int fd)
{
	for (unsigned k = 0; k < e->nics; k++)
		if (e->nic[k]->watched[1] == fd)
			return true;
	return false;
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
			if (is_control(e, events[k].data.fd)) {
				e->serviced = 0; /* now */
				break;
			}
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
	unsigned rounds = 0;

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
		/* The clock costs as much as a packet: look at it when idle, or every 256
		 * rounds. */
		if (work) {
			idle_since = 0;
			if (++rounds % 256)
				continue;
		}
		uint64_t now = clock_now_ns();

		if (now - e->serviced >= ENGINE_SERVICE_MS * 1000000ull) {
			e->serviced = now;
			service(e);
		}
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
	e->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->epoll < 0 || e->wake < 0 || watch(e, e->wake) < 0) {
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
	error = watch(e, nic->doorbell);
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
	unwatch(e, nic->doorbell);
	for (k = 0; k < SOFT_NIC_FDS; k++)
		unwatch(e, nic->watched[k]);
	engine_resume(e);
}
