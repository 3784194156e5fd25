/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers look up while routes change: each lookup must give the old next hop or the new one. Built
 * with ThreadSanitizer the lookups are the scalar ones and every handover is checked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "fib/check.h"
#include "fib/fib_image.h"
#include "firmware/fib_lookup.h"

#define ROOM    (1u << 20)
#define READERS 2u
#define ROUTES  320u
#define CHANGES 1500u

struct shared {
	unsigned family;
	uint8_t *device;
	_Atomic uint64_t epoch;
	_Atomic bool stop;
	struct fib_route route[ROUTES];
};

struct reader {
	struct shared *shared;
	pthread_t thread;
	_Atomic uint64_t seen;
	uint64_t wrong, lookups;
};

/* Route i is absent or has next hop 2i + 2 or 2i + 3; below all lies a default with next hop 1. */
static void *read_on(void *argument)
{
	struct reader *reader = argument;
	struct shared *shared = reader->shared;
	uint64_t random = (uint64_t)(uintptr_t)reader;

	while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
		uint64_t epoch = atomic_load_explicit(&shared->epoch, memory_order_acquire);
		struct fib_ipv6 address[64];
		uint32_t address4[64];
		uint16_t next_hop[64];
		unsigned which[64];

		for (unsigned i = 0; i < 64; i++) {
			which[i] = (unsigned)(check_random(&random) % ROUTES);
			address[i] = check_inside(&shared->route[which[i]], &random);
			address4[i] = (uint32_t)(address[i].high >> 32);
		}
		if (shared->family == 4)
			fib4_lookup(shared->device, address4, next_hop, 64);
		else
			fib6_lookup(shared->device, address, next_hop, 64);
		for (unsigned i = 0; i < 64; i++)
			reader->wrong += next_hop[i] != 1 && next_hop[i] / 2 != which[i] + 1;
		reader->lookups += 64;
		if (epoch == atomic_load_explicit(&reader->seen, memory_order_relaxed))
			/* Nothing new: machines with few processors need the writer. */
			sched_yield();
		/* A quiescent point: nothing read before is looked at again. */
		atomic_store_explicit(&reader->seen, epoch, memory_order_release);
	}
	return NULL;
}

static void changes_under_readers(unsigned family, unsigned kind, unsigned changes)
{
	const struct fib_config config = {
		family, kind, kind == P2PNIC_FIB_STATE_JUMP ? 16 * ROOM : ROOM};
	struct shared *shared = calloc(1, sizeof *shared);
	struct reader reader[READERS] = {0};
	const struct fib_patch *patch;
	struct error error;
	struct fib *fib = fib_new(&config, &error);
	uint64_t random = 1, lookups = 0;
	struct fib_route all = {.family = (uint8_t)family, .next_hop = 1};

	assert_non_null(fib);
	shared->family = family;
	shared->device = aligned_alloc(64, config.room);
	for (unsigned i = 0; i < ROUTES; i++) {
		/* One /16 nearly full of /24s, and longer ones; IPv6 likewise, deeper. */
		struct fib_route r = {.length = 24, .family = (uint8_t)family};

		r.prefix.high = 0x0a01000000000000u | (uint64_t)(i % 240) << 40;
		if (i >= 240)
			r.prefix.high = 0x0a02000000000000u | (uint64_t)(i - 240) << 36,
			r.length = 28;
		if (family == 6) {
			r.prefix.high = 0x2001000000000000u | r.prefix.high >> 24;
			r.length = (uint8_t)(r.length + 24);
		}
		shared->route[i] = r;
	}
	assert_int_equal(fib_build(fib, &all, 1, &error), 0);
	fib_image_write(fib, shared->device);
	for (unsigned i = 0; i < READERS; i++) {
		reader[i].shared = shared;
		assert_int_equal(pthread_create(&reader[i].thread, NULL, read_on, &reader[i]), 0);
	}
	for (unsigned i = 0; i < changes; i++) {
		unsigned n = 1 + (unsigned)(check_random(&random) % 4);
		struct fib_route change[4];

		for (unsigned k = 0; k < n; k++) {
			unsigned which = (unsigned)(check_random(&random) % ROUTES);
			unsigned choice = (unsigned)(check_random(&random) % 3);

			change[k] = shared->route[which];
			change[k].next_hop = (uint16_t)(choice ? 2 * which + 1 + choice : 0);
		}
		assert_int_equal(fib_change(fib, change, n, &patch, &error), 0);
		fib_patch_apply(patch, shared->device);
		atomic_store_explicit(&shared->epoch, patch->epoch, memory_order_release);
		/* Memory is reused as early as it may be: as soon as both readers passed. */
		if (kind == P2PNIC_FIB_STATE_JUMP || i % 8 == 0) {
			for (unsigned r = 0; r < READERS; r++)
				while (atomic_load_explicit(&reader[r].seen, memory_order_acquire) <
					patch->epoch)
					sched_yield();
			fib_epoch_passed(fib, patch->epoch);
		}
	}
	atomic_store_explicit(&shared->stop, true, memory_order_relaxed);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(reader[i].thread, NULL);
		assert_int_equal(reader[i].wrong, 0);
		lookups += reader[i].lookups;
	}
	assert_true(lookups > 0);
	fib_free(fib);
	free(shared->device);
	free(shared);
}

static void line_trie_ipv4(void **state)
{
	changes_under_readers(4, P2PNIC_FIB_LINE_TRIE, CHANGES);
}

static void line_trie_ipv6(void **state)
{
	changes_under_readers(6, P2PNIC_FIB_LINE_TRIE, CHANGES);
}

static void state_jump(void **state)
{
	changes_under_readers(4, P2PNIC_FIB_STATE_JUMP, 60);
	changes_under_readers(6, P2PNIC_FIB_STATE_JUMP, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_trie_ipv4),
		cmocka_unit_test(line_trie_ipv6),
		cmocka_unit_test(state_jump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
