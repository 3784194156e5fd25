/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bounce thread between three NICs that are plain memory: the test writes what their firmware
 * would write through its windows, and looks at what arrives in their mailboxes.
 */
#include "driver/bounce.h"
#include "tests/unit/descriptors.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NICS  3u
#define SLOTS 64u
#define EPOCH 7u

/* A bus address says whose window it is and what of; any would do. */
enum what { MAILBOX, DOORBELL, OUT, IN, WINDOWS };
#define BUS(peer, what) ((struct bus_addr){0x100000000ull * (1 + (peer)) + 0x10000000ull * (what)})

struct window {
	uint64_t bytes, fd_offset;
	uint32_t access;
	int fd;
	uint8_t *memory; /* what lies there in the descriptor */
};

/* A device that remembers its windows. */
struct plain {
	struct device device;
	struct window window[NICS][WINDOWS];
	int doorbell;
	int result; /* of the next map */
};

struct rig {
	struct bounce *bounce;
	struct plain plain[NICS];
	struct driver_nic nic[NICS];
	uint32_t beats; /* of the pair (2, 1), by which settle knows that the thread came round */
};

static int map_memory(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset)
{
	struct plain *p = (struct plain *)(void *)device;
	struct window *w = &p->window[(bus.value >> 32) - 1][bus.value >> 28 & 15];

	if (p->result)
		return p->result;
	*w = (struct window){bytes, fd_offset, access, fd, address};
	return 0;
}

static int doorbell_fd(struct device *device, unsigned region, uint64_t offset)
{
	assert_int_equal(offset, P2PNIC_BAR0_DOORBELL);
	return ((struct plain *)(void *)device)->doorbell;
}

static const struct device_ops ops = {
	.type = "plain", .map_memory = map_memory, .doorbell_fd = doorbell_fd};

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_int_equal(bounce_new(&r->bounce, NICS, SLOTS, P2PNIC_BUFFER_BYTES_MIN, -1), 0);
	for (unsigned x = 0; x < NICS; x++) {
		r->plain[x].device.ops = &ops;
		r->plain[x].doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r->nic[x] = (struct driver_nic){.index = x,
			.device = &r->plain[x].device,
			.bar2 = aligned_alloc(4096, P2PNIC_BAR2_PEERS)};
		memset(r->nic[x].bar2, 0, P2PNIC_BAR2_PEERS);
		for (unsigned y = 0; y < NICS; y++)
			assert_int_equal(bounce_map(r->bounce, &r->nic[x], y, BUS(y, MAILBOX),
						 BUS(y, DOORBELL), BUS(y, OUT), BUS(y, IN)),
				0);
	}
	bounce_open(r->bounce, &r->nic[2], &r->nic[1], EPOCH);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	bounce_free(r->bounce);
	for (unsigned x = 0; x < NICS; x++) {
		close(r->plain[x].doorbell);
		free(r->nic[x].bar2);
	}
	free(r);
	return 0;
}

/* What x writes as "its mailbox in y"; what x reads as y's mailbox in its own BAR2. */
static struct p2pnic_mailbox *far(struct rig *r, unsigned x, unsigned y)
{
	return (void *)r->plain[x].window[y][MAILBOX].memory;
}

static struct p2pnic_mailbox *near(struct rig *r, unsigned x, unsigned y)
{
	return (struct p2pnic_mailbox *)(r->nic[x].bar2 + P2PNIC_BAR2_MAILBOXES) + y;
}

#define EVENTUALLY(condition)                                                                      \
	do {                                                                                       \
		unsigned tries_ = 0;                                                               \
		while (!(condition)) {                                                             \
			usleep(100);                                                               \
			if (++tries_ == 100000)                                                    \
				fail_msg("never: %s", #condition);                                 \
		}                                                                                  \
	} while (0)

static struct p2pnic_descriptor descriptor(uint32_t index)
{
	return (struct p2pnic_descriptor){
		index * 2048u, (uint16_t)(60 + index % 1000), p2pnic_tag(EPOCH, index, SLOTS)};
}

static void put(struct p2pnic_mailbox *m, uint32_t slot, struct p2pnic_descriptor d)
{
	__atomic_store((uint64_t *)&m->descriptor[slot], (uint64_t *)&d, __ATOMIC_RELEASE);
}

static struct p2pnic_descriptor get(struct p2pnic_mailbox *m, uint32_t slot)
{
	struct p2pnic_descriptor d;

	__atomic_load((uint64_t *)&m->descriptor[slot], (uint64_t *)&d, __ATOMIC_ACQUIRE);
	return d;
}

/* x publishes descriptors [from, to) for y. */
static void produce(struct rig *r, unsigned x, unsigned y, uint32_t from, uint32_t to)
{
	for (uint32_t k = from; k != to; k++)
		put(far(r, x, y), k % SLOTS, descriptor(k));
}

/* They have arrived at y, whole. */
static void take(struct rig *r, unsigned x, unsigned y, uint32_t from, uint32_t to)
{
	struct p2pnic_mailbox *m = near(r, y, x);

	for (uint32_t k = from; k != to; k++) {
		struct p2pnic_descriptor want = descriptor(k), got;

		EVENTUALLY((got = get(m, k % SLOTS), !memcmp(&got, &want, sizeof(want))));
	}
}

/* Whatever was written before has been looked at: two words of another pair went round after it
 * (one could have been carried in a round that had passed the others already). */
static void settle(struct rig *r)
{
	for (unsigned k = 0; k < 2; k++) {
		produce(r, 2, 1, r->beats, r->beats + 1);
		take(r, 2, 1, r->beats, r->beats + 1);
		r->beats++;
	}
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void windows_are_of_the_right_memory(void **state)
{
	struct rig *r = *state;
	int fd = r->plain[0].window[1][MAILBOX].fd;
	uint64_t seen[3 * NICS * NICS][2];
	unsigned n = 0;
	struct stat info;

	assert_int_equal(fstat(fd, &info), 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	for (unsigned x = 0; x < NICS; x++)
		for (unsigned y = 0; y < NICS; y++) {
			const struct window *w = r->plain[x].window[y];

			assert_int_equal(w[MAILBOX].bytes, sizeof(struct p2pnic_mailbox));
			assert_int_equal(w[OUT].bytes, SLOTS * P2PNIC_BUFFER_BYTES_MIN);
			assert_int_equal(w[OUT].bytes, bounce_buffer_bytes(r->bounce));
			assert_int_equal(w[MAILBOX].access, DEVICE_WRITE);
			assert_int_equal(w[DOORBELL].access, DEVICE_WRITE);
			assert_int_equal(w[OUT].access, DEVICE_WRITE);
			assert_int_equal(w[IN].access, DEVICE_READ);
			/* What x writes for y is what y reads of x. */
			assert_int_equal(w[OUT].fd_offset, r->plain[y].window[x][IN].fd_offset);
			assert_int_equal(w[OUT].bytes, r->plain[y].window[x][IN].bytes);
			for (enum what k = MAILBOX; k <= OUT; k++)
				if (k != DOORBELL) {
					uint8_t through = 0;

					w[k].memory[w[k].bytes - 1] = (uint8_t)(n + 1);
					assert_int_equal(
						pread(fd, &through, 1,
							(off_t)(w[k].fd_offset + w[k].bytes - 1)),
						1);
					assert_int_equal(through, n + 1);
					assert_int_equal(w[k].fd, fd);
					assert_int_equal(w[k].fd_offset % DEVICE_PAGE, 0);
					seen[n][0] = w[k].fd_offset;
					seen[n++][1] = w[k].fd_offset + w[k].bytes;
				}
		}
	/* No two NICs write the same, and all of it is there. */
	for (unsigned a = 0; a < n; a++) {
		assert_true(seen[a][1] <= (uint64_t)info.st_size);
		for (unsigned b = 0; b < a; b++)
			assert_true(seen[a][1] <= seen[b][0] || seen[b][1] <= seen[a][0]);
	}
}

static void a_window_that_is_refused(void **state)
{
	struct rig *r = *state;

	r->plain[0].result = -ENOSPC;
	assert_int_equal(bounce_map(r->bounce, &r->nic[0], 1, BUS(1, MAILBOX), BUS(1, DOORBELL),
				 BUS(1, OUT), BUS(1, IN)),
		-ENOSPC);
}

static void nothing_is_left(void **state)
{
	const unsigned before = open_descriptors();
	struct bounce *b;

	for (unsigned k = 0; k < 5; k++) {
		assert_int_equal(bounce_new(&b, P2PNIC_NICS_MAX, 2, P2PNIC_BUFFER_BYTES_MIN, 0), 0);
		assert_true(bounce_cpu(b) >= 0);
		bounce_free(b);
	}
	bounce_free(NULL);
	assert_int_equal(open_descriptors(), before);
}

/* --- Carrying --------------------------------------------------------------------------------- */

static void words_and_descriptors_arrive(void **state)
{
	struct rig *r = *state;

	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH);
	produce(r, 0, 1, 0, 5);
	produce(r, 1, 0, 0, SLOTS); /* a full ring the other way */
	take(r, 0, 1, 0, 5);
	take(r, 1, 0, 0, SLOTS);
	/* NIC 1 is done with three: that word goes to where NIC 0 polls it. */
	atomic_store(&far(r, 1, 0)->consumer, P2PNIC_RING_WORD(EPOCH, 3));
	EVENTUALLY(atomic_load(&near(r, 0, 1)->consumer) == P2PNIC_RING_WORD(EPOCH, 3));
	settle(r);
	assert_int_equal(atomic_load(&near(r, 1, 0)->consumer), 0);
	/* And nobody else heard of it. */
	assert_int_equal(get(near(r, 2, 0), 0).length, 0);
	assert_int_equal(get(near(r, 0, 2), 0).length, 0);
}

static void a_ring_wraps_around(void **state)
{
	struct rig *r = *state;
	uint32_t at = 0;

	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH);
	for (unsigned step = 1; at < 20 * SLOTS; step = step * 5 % 67 % SLOTS + 1) {
		produce(r, 0, 1, at, at + step);
		take(r, 0, 1, at, at + step);
		at += step;
		atomic_store(&far(r, 1, 0)->consumer, P2PNIC_RING_WORD(EPOCH, at));
		EVENTUALLY(atomic_load(&near(r, 0, 1)->consumer) == P2PNIC_RING_WORD(EPOCH, at));
	}
	/* Slots of the ring, and not one more, were ever written. */
	for (unsigned k = SLOTS; k < P2PNIC_RING_SLOTS_MAX; k++)
		assert_int_equal(near(r, 1, 0)->descriptor[k].length, 0);
}

static void descriptors_of_another_life_or_pass(void **state)
{
	static const uint16_t bad[] = {(EPOCH - 1) << 10 | 1 << 9, (EPOCH + 1) << 10 | 1 << 9,
		1 << 9,      /* another life */
		EPOCH << 10, /* the pass before, or the next one */
		0, UINT16_MAX};
	struct rig *r = *state;

	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH);
	produce(r, 0, 1, 0, 5);
	take(r, 0, 1, 0, 5);
	for (unsigned k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
		struct p2pnic_descriptor d = descriptor(5);

		d.flags = bad[k];
		put(far(r, 0, 1), 5, d);
		settle(r);
		take(r, 0, 1, 0, 5); /* as it was */
		for (unsigned slot = 5; slot < P2PNIC_RING_SLOTS_MAX; slot++)
			assert_int_equal(get(near(r, 1, 0), slot).length, 0);
	}
	/* Once it says something sensible again, it is heard. */
	produce(r, 0, 1, 5, 5 + SLOTS);
	take(r, 0, 1, 5 + SLOTS - 5, 5 + SLOTS);
}

/* Descriptors and consumer words are the receiving NIC's to judge: they go through as they are. */
static void nonsense_is_for_the_nic_to_judge(void **state)
{
	struct rig *r = *state;
	const struct p2pnic_descriptor evil = {
		UINT32_MAX, UINT16_MAX, p2pnic_tag(EPOCH, 0, SLOTS) | 0x1ff};
	struct p2pnic_descriptor got;

	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH);
	put(far(r, 0, 1), 0, evil);
	EVENTUALLY((got = get(near(r, 1, 0), 0), !memcmp(&got, &evil, sizeof(evil))));
	atomic_store(&far(r, 0, 1)->consumer, UINT64_MAX);
	EVENTUALLY(atomic_load(&near(r, 1, 0)->consumer) == UINT64_MAX);
}

/* --- Life of a pair --------------------------------------------------------------------------- */

static void a_closed_pair_is_silent(void **state)
{
	struct rig *r = *state;

	produce(r, 0, 1, 0, 3); /* never opened */
	settle(r);
	assert_int_equal(get(near(r, 1, 0), 0).length, 0);
	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH);
	take(r, 0, 1, 0, 3);
	bounce_close(r->bounce, 0, 1);
	/* From here on the memory behind NIC 1's window may be gone. */
	produce(r, 0, 1, 3, 6);
	produce(r, 1, 0, 0, 1);
	settle(r);
	assert_int_equal(get(near(r, 1, 0), 3).length, 0);
	assert_int_equal(get(near(r, 0, 1), 0).length, 0);
}

/* What it left in host memory is gone when it is opened again; if not, it is of another life. */
static void a_pair_opened_again(void **state)
{
	struct rig *r = *state;

	for (unsigned cleared = 0; cleared < 2; cleared++) {
		bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH + cleared);
		produce(r, 0, 1, 0, 2);
		bounce_close(r->bounce, 0, 1);
		memset(near(r, 1, 0), 0, sizeof(struct p2pnic_mailbox));
		if (cleared)
			bounce_clear(r->bounce, 0, 1);
		bounce_open(r->bounce, &r->nic[0], &r->nic[1], cleared ? EPOCH : EPOCH + 1);
		settle(r);
		assert_int_equal(get(near(r, 1, 0), 0).length, 0);
		bounce_close(r->bounce, 0, 1);
	}
	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH);
	produce(r, 0, 1, 0, 4); /* from 0 */
	take(r, 0, 1, 0, 4);
}

static void pairs_come_and_go_in_traffic(void **state)
{
	struct rig *r = *state;

	for (unsigned k = 0; k < 200; k++) {
		bounce_open(r->bounce, &r->nic[0], &r->nic[k % 2 ? 1 : 2], EPOCH);
		if (k % 10 == 0)
			settle(r);
		bounce_close(r->bounce, 0, k % 2 ? 1 : 2);
	}
	settle(r);
}

/* --- Sleeping and waking ---------------------------------------------------------------------- */

/* It says that it sleeps to every NIC whose pair is open, where that NIC polls; and wakes by the
 * doorbell window that the NICs were given, or by itself. */
static void it_sleeps_and_says_so(void **state)
{
	struct rig *r = *state;
	int event = r->plain[1].window[0][DOORBELL].fd;
	struct timespec begin, end;
	double idle;

	EVENTUALLY(atomic_load(&near(r, 2, 1)->asleep) == 1 &&
		   atomic_load(&near(r, 1, 2)->asleep) == 1);
	assert_int_equal(atomic_load(&near(r, 0, 1)->asleep), 0); /* not open */
	for (unsigned k = 0; k < NICS; k++)
		assert_int_equal(r->plain[k].window[0][DOORBELL].fd, event);
	/* Each ring of the bell is heard and used up, asleep or not. */
	for (unsigned k = 0; k < 20; k++) {
		eventfd_t left = 1;

		assert_int_equal(eventfd_write(event, 1), 0);
		produce(r, 2, 1, r->beats, r->beats + 1);
		take(r, 2, 1, r->beats, r->beats + 1);
		r->beats++;
		EVENTUALLY(eventfd_read(event, &left) < 0 && errno == EAGAIN);
	}
	/* With nothing to carry, most of the time it does not run. */
	clock_gettime(CLOCK_MONOTONIC, &begin);
	idle = bounce_cpu(r->bounce);
	usleep(100000);
	idle = bounce_cpu(r->bounce) - idle;
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(idle < 0.8 * ((double)(end.tv_sec - begin.tv_sec) +
					 (double)(end.tv_nsec - begin.tv_nsec) * 1e-9));
}

static void a_sleeping_nic_is_woken(void **state)
{
	struct rig *r = *state;
	eventfd_t rung = 0;

	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH);
	produce(r, 0, 1, 0, 1);
	take(r, 0, 1, 0, 1);
	settle(r);
	assert_int_equal(eventfd_read(r->plain[1].doorbell, &rung), -1); /* it polls */
	/* NIC 1 tells NIC 0 that it sleeps: that is, it writes into host memory. */
	atomic_store(&far(r, 1, 0)->asleep, 1);
	produce(r, 0, 1, 1, 2);
	take(r, 0, 1, 1, 2);
	EVENTUALLY(eventfd_read(r->plain[1].doorbell, &rung) == 0);
	assert_int_equal(rung, 1);
	assert_int_equal(eventfd_read(r->plain[0].doorbell, &rung), -1);
	/* A bell that is full, or none at all, holds nothing up. */
	assert_int_equal(eventfd_write(r->plain[1].doorbell, UINT64_MAX - 1), 0);
	produce(r, 0, 1, 2, 3);
	take(r, 0, 1, 2, 3);
	bounce_close(r->bounce, 0, 1);
	int bell = r->plain[1].doorbell;
	r->plain[1].doorbell = -ENOENT;
	bounce_clear(r->bounce, 0, 1);
	memset(near(r, 1, 0), 0, sizeof(struct p2pnic_mailbox));
	bounce_open(r->bounce, &r->nic[0], &r->nic[1], EPOCH + 1);
	struct p2pnic_descriptor d = descriptor(0);
	d.flags = p2pnic_tag(EPOCH + 1, 0, SLOTS);
	put(far(r, 0, 1), 0, d);
	EVENTUALLY(get(near(r, 1, 0), 0).flags == d.flags);
	r->plain[1].doorbell = bell;
}

#define RIG_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(windows_are_of_the_right_memory),
		RIG_TEST(a_window_that_is_refused),
		cmocka_unit_test(nothing_is_left),
		RIG_TEST(words_and_descriptors_arrive),
		RIG_TEST(a_ring_wraps_around),
		RIG_TEST(descriptors_of_another_life_or_pass),
		RIG_TEST(nonsense_is_for_the_nic_to_judge),
		RIG_TEST(a_closed_pair_is_silent),
		RIG_TEST(a_pair_opened_again),
		RIG_TEST(pairs_come_and_go_in_traffic),
		RIG_TEST(it_sleeps_and_says_so),
		RIG_TEST(a_sleeping_nic_is_woken),
	};

	return cmocka_run_group_tests_name("bounce", tests, NULL, NULL);
}
