/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of the rings at once: two NICs of firmware on two threads, with nothing between them
 * but device memory and doorbells. Run under ThreadSanitizer (scripts/test): every word that two
 * NICs share is ordered by acquire and release, or this test says where not.
 *
 * No packet may be lost, reordered or changed, and no NIC may sleep while a packet waits for it.
 */
#include "tests/unit/firmware_rig.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* A sleeping NIC that is not woken in this time was forgotten; a loaded machine wakes it in
 * less. */
#define FORGOTTEN_MS 20000

struct end {
	struct rig *rig;
	unsigned nic;
	uint32_t random;
	uint32_t given, sent; /* packets received from the wire, and sent to it, so far */
	uint32_t rounds;      /* of the ball */
	uint32_t stream;      /* packets of the stream */
	_Atomic bool *stop;
	const char *failure;
};

static uint32_t next_random(struct end *e)
{
	e->random = e->random * 1664525 + 1013904223;
	return e->random >> 8;
}

static void give(struct end *e, unsigned packets)
{
	struct packet p;

	for (unsigned k = 0; k < packets; k++) {
		packet_ipv4(&p, e->nic, PACKET_TO(1 - e->nic), 64, 4 + next_random(e) % 1500,
			++e->given);
		rig_receive(e->rig, e->nic, &p);
	}
}

static void look_at_sent(struct end *e)
{
	struct packet want;

	for (struct packet *got; (got = rig_sent(e->rig, e->nic)); free(got)) {
		packet_ipv4(&want, 1 - e->nic, PACKET_TO(e->nic), 64, got->length - 42, ++e->sent);
		packet_forwarded(&want, 1 - e->nic, e->nic);
		if (got->length != want.length || memcmp(got->bytes, want.bytes, want.length) != 0)
			e->failure = "a packet changed, went missing or came out of order";
	}
}

/* Sleeps as an engine does. */
static void rest(struct end *e)
{
	struct board *b = &e->rig->at[e->nic].board;
	enum nic_rest rest = nic_arm(e->rig->at[e->nic].nic);

	if (rest == NIC_WAITING) {
		usleep(100);
	} else if (rest == NIC_IDLE) {
		struct pollfd fd = {.fd = b->eventfd, .events = POLLIN};

		if (poll(&fd, 1, FORGOTTEN_MS) == 0 && !*e->stop)
			e->failure = "asleep while a packet waits";
	}
	eventfd_t n;
	eventfd_read(b->eventfd, &n);
	nic_disarm(e->rig->at[e->nic].nic);
}

static void stop(struct end *e)
{
	*e->stop = true;
	for (unsigned k = 0; k < 2; k++)
		eventfd_write(e->rig->at[k].board.eventfd, 1);
}

/* NIC 0 throws a burst, NIC 1 throws as many back when it has caught all of them. */
static void *play_ball(void *argument)
{
	struct end *e = argument;
	uint32_t thrown = 0;

	while (!*e->stop && !e->failure) {
		bool mine = e->nic == 0 ? e->sent == e->given : e->sent != e->given;
		unsigned polls = next_random(e) % 4;

		if (mine && e->nic == 0) {
			if (thrown++ == e->rounds)
				break;
			give(e, 1 + next_random(e) % 20);
		} else if (mine) {
			give(e, e->sent - e->given);
		}
		while (nic_poll(e->rig->at[e->nic].nic) || polls-- > 0)
			look_at_sent(e);
		if (e->nic == 1 ? e->sent == e->given : e->sent != e->given)
			rest(e);
	}
	stop(e);
	return NULL;
}

/* Both throw as fast as they can, without loss. */
static void *pour(void *argument)
{
	struct end *e = argument;
	struct nic *n = e->rig->at[e->nic].nic;

	while (!e->failure && !*e->stop && (e->given < e->stream || e->sent < e->stream)) {
		if (e->given < e->stream && !n->held && n->frees > 100)
			give(e, e->stream - e->given > 24 ? 1 + next_random(e) % 24
							  : e->stream - e->given);
		if (!nic_poll(n)) {
			if (e->given == e->stream && e->sent < e->stream)
				rest(e);
			else
				sched_yield();
		}
		look_at_sent(e);
	}
	/* Its peer may still wait for room, or sleep until the last packets leave. */
	while (!e->failure && !*e->stop && (nic_poll(n) || n->held || n->in_flight))
		look_at_sent(e);
	if (e->failure)
		stop(e);
	return NULL;
}

static void run(void *(*play)(void *), uint32_t rounds, uint32_t stream, uint32_t slots)
{
	struct rig *r = rig_new(2, &(struct rig_config){.slots = slots});
	_Atomic bool stopped = false;
	struct end end[2];
	pthread_t thread[2];

	for (unsigned k = 0; k < 2; k++) {
		end[k] = (struct end){.rig = r,
			.nic = k,
			.random = k + 1,
			.rounds = rounds,
			.stream = stream,
			.stop = &stopped};
		r->at[k].board.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	for (unsigned k = 0; k < 2; k++)
		assert_int_equal(pthread_create(&thread[k], NULL, play, &end[k]), 0);
	for (unsigned k = 0; k < 2; k++)
		pthread_join(thread[k], NULL);
	for (unsigned k = 0; k < 2; k++) {
		if (end[k].failure)
			fail_msg("NIC %u: %s (%u in, %u out)", k, end[k].failure, end[k].given,
				end[k].sent);
		assert_int_equal(end[k].sent, end[1 - k].given);
		assert_int_equal(rig_all_drops(r, k), 0);
		close(r->at[k].board.eventfd);
		r->at[k].board.eventfd = 0;
	}
	rig_run(r);
	rig_check(r);
	print_message("         sleeps %u and %u, doorbells %u and %u\n",
		(unsigned)rig_count(&r->at[0].counters->sleeps),
		(unsigned)rig_count(&r->at[1].counters->sleeps),
		(unsigned)rig_count(&r->at[0].counters->doorbells),
		(unsigned)rig_count(&r->at[1].counters->doorbells));
	rig_free(r);
}

static void no_wake_up_is_lost(void **state)
{
	run(play_ball, 3000, 0, 32);
}

static void no_packet_is_lost(void **state)
{
	run(pour, 0, 20000, 32);
}

static void nor_in_the_smallest_ring(void **state)
{
	run(pour, 0, 10000, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_wake_up_is_lost),
		cmocka_unit_test(no_packet_is_lost),
		cmocka_unit_test(nor_in_the_smallest_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
