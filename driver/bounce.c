/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/bounce.h"
#include "ipc/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NS 50000u

/* One direction, x → y. */
struct relay {
	bool open;
	uint32_t epoch;
	uint32_t carried;            /* descriptors of ring x→y handed to y */
	uint64_t consumed;           /* consumer word of ring y→x as last carried */
	uint32_t link_down;          /* x's, as last carried */
	struct p2pnic_mailbox *from; /* host memory: what x believes to be its mailbox in y */
	struct p2pnic_mailbox *to;   /* x's mailbox in y's BAR2 */
	_Atomic uint32_t *asleep; /* of ring x→y's egress as x sees it: y's mailbox in x's BAR2 */
	struct p2pnic_mailbox *back; /* host memory written by y: is y asleep? */
	int doorbell;                /* y's */
};

struct bounce {
	pthread_t thread;
	pthread_mutex_t lock; /* held by the thread for a round, by others to change a relay */
	_Atomic bool stop;
	_Atomic unsigned waiting; /* somebody wants the lock */
	unsigned nics;
	uint32_t slots;
	uint32_t buffer_bytes;
	bool shared; /* pinned to a core that an engine may be using: yield after each round */
	int memory_fd;
	uint8_t *memory;
	uint64_t bytes;
	int event;
	struct relay relay[P2PNIC_NICS_MAX][P2PNIC_NICS_MAX];
};

uint64_t bounce_buffer_bytes(const struct bounce *b)
{
	return (uint64_t)b->slots * b->buffer_bytes;
}

static uint64_t mailbox_at(const struct bounce *b, unsigned x, unsigned y)
{
	return (uint64_t)(x * b->nics + y) * sizeof(struct p2pnic_mailbox);
}

static uint64_t buffers_at(const struct bounce *b, unsigned x, unsigned y)
{
	return (uint64_t)b->nics * b->nics * sizeof(struct p2pnic_mailbox) +
	       (x * b->nics + y) * bounce_buffer_bytes(b);
}

/* --- The thread ------------------------------------------------------------------------------- */

/* Whatever x wrote is read once, and no more than the ring has slots; y checks the descriptors
 * themselves. */
static unsigned carry_descriptors(const struct bounce *b, struct relay *r)
{
	unsigned n = 0;

	for (; n < b->slots; n++, r->carried++) {
		uint32_t slot = r->carried & (b->slots - 1);
		uint64_t word =
			__atomic_load_n((uint64_t *)&r->from->descriptor[slot], __ATOMIC_ACQUIRE);

		if (P2PNIC_FLAGS_TAG(word >> 48) != p2pnic_tag(r->epoch, r->carried, b->slots))
			break;
		__atomic_store_n((uint64_t *)&r->to->descriptor[slot], word, __ATOMIC_RELEASE);
	}
	return n;
}

static unsigned carry(const struct bounce *b, struct relay *r)
{
	uint64_t consumed = atomic_load_explicit(&r->from->consumer, memory_order_acquire);
	unsigned n = carry_descriptors(b, r);

	if (n) {
		atomic_thread_fence(memory_order_seq_cst); /* pairs with nic_arm's */
		if (atomic_load_explicit(&r->back->asleep, memory_order_relaxed))
			eventfd_write(r->doorbell, 1);
	}
	uint32_t down = atomic_load_explicit(&r->from->link_down, memory_order_relaxed);

	if (down != r->link_down) {
		r->link_down = down;
		atomic_store_explicit(&r->to->link_down, down, memory_order_relaxed);
		n++;
	}
	if (consumed != r->consumed) {
		r->consumed = consumed;
		atomic_store_explicit(&r->to->consumer, consumed, memory_order_release);
		n++;
	}
	return n;
}

static unsigned carry_all(struct bounce *b)
{
	unsigned n = 0;

	for (unsigned x = 0; x < b->nics; x++)
		for (unsigned y = 0; y < b->nics; y++)
			if (b->relay[x][y].open)
				n += carry(b, &b->relay[x][y]);
	return n;
}

static void write_asleep(struct bounce *b, uint32_t asleep)
{
	for (unsigned x = 0; x < b->nics; x++)
		for (unsigned y = 0; y < b->nics; y++)
			if (b->relay[x][y].open)
				atomic_store_explicit(
					b->relay[x][y].asleep, asleep, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with rings_publish's */
}

static void *run(void *argument)
{
	struct bounce *b = argument;
	uint64_t busy = clock_now_ns();

	while (!atomic_load(&b->stop)) {
		struct pollfd event = {.fd = b->event, .events = POLLIN};
		eventfd_t ignored;
		unsigned n;

		while (atomic_load(&b->waiting))
			sched_yield();
		pthread_mutex_lock(&b->lock);
		n = carry_all(b);
		if (n) {
			busy = clock_now_ns();
		} else if (clock_now_ns() - busy > SPIN_NS) {
			write_asleep(b, 1);
			n = carry_all(b);
			pthread_mutex_unlock(&b->lock);
			/* A consumer word that arrives while asleep rings no doorbell: look now and
			 * then. */
			if (!n && poll(&event, 1, 1) > 0)
				eventfd_read(b->event, &ignored);
			pthread_mutex_lock(&b->lock);
			write_asleep(b, 0);
		}
		pthread_mutex_unlock(&b->lock);
		if (b->shared)
			sched_yield();
	}
	return NULL;
}

/* --- Life ------------------------------------------------------------------------------------- */

int bounce_new(struct bounce **out, unsigned nics, uint32_t slots, uint32_t buffer_bytes, int core)
{
	struct bounce *b = calloc(1, sizeof(*b));
	int error;

	if (!b)
		return -ENOMEM;
	b->nics = nics;
	b->slots = slots;
	b->buffer_bytes = buffer_bytes;
	b->shared = core >= 0;
	b->bytes = buffers_at(b, nics - 1, nics - 1) + bounce_buffer_bytes(b);
	b->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->memory_fd = memfd_create("p2pnic-bounce", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (b->event < 0 || b->memory_fd < 0 || ftruncate(b->memory_fd, (off_t)b->bytes) < 0 ||
		fcntl(b->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto fail;
	b->memory = mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->memory_fd, 0);
	if (b->memory == MAP_FAILED)
		goto fail;
	madvise(b->memory, b->bytes, MADV_HUGEPAGE);
	pthread_mutex_init(&b->lock, NULL);
	error = pthread_create(&b->thread, NULL, run, b);
	if (error) {
		munmap(b->memory, b->bytes);
		errno = error;
		goto fail;
	}
	pthread_setname_np(b->thread, "bounce");
	if (core >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((unsigned)core, &set);
		pthread_setaffinity_np(b->thread, sizeof(set), &set);
	}
	*out = b;
	return 0;
fail:
	error = -errno;
	if (b->event >= 0)
		close(b->event);
	if (b->memory_fd >= 0)
		close(b->memory_fd);
	free(b);
	return error;
}

void bounce_free(struct bounce *b)
{
	if (!b)
		return;
	atomic_store(&b->stop, true);
	pthread_join(b->thread, NULL);
	pthread_mutex_destroy(&b->lock);
	munmap(b->memory, b->bytes);
	close(b->memory_fd);
	close(b->event);
	free(b);
}

static void lock(struct bounce *b)
{
	atomic_fetch_add(&b->waiting, 1);
	pthread_mutex_lock(&b->lock);
	atomic_fetch_sub(&b->waiting, 1);
}

static int map(struct bounce *b, struct driver_nic *x, struct bus_addr bus, uint64_t bytes,
	uint32_t access, uint64_t at)
{
	return device_map_memory(x->device, bus, bytes, access, b->memory + at, b->memory_fd, at);
}

int bounce_map(struct bounce *b, struct driver_nic *x, unsigned y, struct bus_addr mailbox,
	struct bus_addr doorbell, struct bus_addr out_buffers, struct bus_addr in_buffers)
{
	int error = map(b, x, mailbox, sizeof(struct p2pnic_mailbox), DEVICE_WRITE,
		mailbox_at(b, x->index, y));

	if (!error)
		error = device_map_memory(
			x->device, doorbell, DEVICE_PAGE, DEVICE_WRITE, NULL, b->event, 0);
	if (!error)
		error = map(b, x, out_buffers, bounce_buffer_bytes(b), DEVICE_WRITE,
			buffers_at(b, x->index, y));
	if (!error)
		error = map(b, x, in_buffers, bounce_buffer_bytes(b), DEVICE_READ,
			buffers_at(b, y, x->index));
	return error;
}

static void open_direction(
	struct bounce *b, struct driver_nic *x, struct driver_nic *y, uint32_t epoch)
{
	struct p2pnic_mailbox *host = (void *)(b->memory + mailbox_at(b, x->index, y->index));
	struct p2pnic_mailbox *back = (void *)(b->memory + mailbox_at(b, y->index, x->index));

	b->relay[x->index][y->index] = (struct relay){
		.open = true,
		.epoch = epoch,
		.from = host,
		.to = driver_nic_mailbox(y, x->index),
		.asleep = &driver_nic_mailbox(x, y->index)->asleep,
		.back = back,
		.doorbell = device_doorbell_fd(
			y->device, VFIO_PCI_BAR0_REGION_INDEX, P2PNIC_BAR0_DOORBELL),
	};
}

void bounce_clear(struct bounce *b, unsigned x, unsigned y)
{
	memset(b->memory + mailbox_at(b, x, y), 0, sizeof(struct p2pnic_mailbox));
	memset(b->memory + mailbox_at(b, y, x), 0, sizeof(struct p2pnic_mailbox));
}

void bounce_open(struct bounce *b, struct driver_nic *x, struct driver_nic *y, uint32_t epoch)
{
	lock(b);
	open_direction(b, x, y, epoch);
	open_direction(b, y, x, epoch);
	pthread_mutex_unlock(&b->lock);
}

void bounce_close(struct bounce *b, unsigned x, unsigned y)
{
	lock(b);
	b->relay[x][y].open = b->relay[y][x].open = false;
	pthread_mutex_unlock(&b->lock);
}

double bounce_cpu(const struct bounce *b)
{
	struct timespec t = {0};
	clockid_t clock;

	if (pthread_getcpuclockid(b->thread, &clock) == 0)
		clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
