/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's end of its rings, on memory alone; the test plays the NIC, honest and not. Each part
 * of the memory lies between pages that nobody may touch. For each transfer method.
 */
#include "driver/host_ring.h"
#include "tests/unit/seed.h"

#include <errno.h>
#include <linux/memfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOTS  16u
#define BUFFER P2PNIC_BUFFER_BYTES_MIN
#define PAGE   4096u
#define FRAME  P2PNIC_FRAME_BYTES_MAX(BUFFER)

struct model {
	unsigned method;
	struct host_maps maps;
	/* By ring: what the NIC has punted, what it has taken. */
	uint32_t punted[P2PNIC_HOST_RINGS], taken[P2PNIC_HOST_RINGS];
};

static uint8_t *guarded(uint64_t bytes)
{
	uint8_t *memory =
		mmap(NULL, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	assert_int_equal(mprotect(memory + PAGE, bytes, PROT_READ | PROT_WRITE), 0);
	return memory + PAGE;
}

static struct host_ring_header *header(struct model *m)
{
	return (void *)m->maps.at[HOST_MEMORY];
}

static uint32_t epoch_of(enum p2pnic_host_ring ring)
{
	return 63 + ring; /* of 64 the low six bits are 0 */
}

static struct model *model_new(unsigned method)
{
	struct model *m = calloc(1, sizeof(*m));
	const uint64_t buffers = host_ring_buffers_bytes(SLOTS, BUFFER);

	m->method = method;
	m->maps.bytes[HOST_MEMORY] = HOST_WRITE + host_ring_write_bytes(method, SLOTS, BUFFER) +
				     host_ring_read_bytes(method, SLOTS, BUFFER);
	m->maps.bytes[HOST_MAILBOXES] = P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox);
	m->maps.bytes[HOST_PACKETS] = method == P2PNIC_METHOD_BOUNCE ? 0 : buffers;
	for (unsigned k = 0; k <= HOST_PACKETS; k++)
		if (m->maps.bytes[k])
			m->maps.at[k] = guarded(m->maps.bytes[k]);
	m->maps.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*header(m) = (struct host_ring_header){HOST_RING_MAGIC, method, SLOTS, BUFFER, {0}};
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		header(m)->epoch[k] = epoch_of(k);
	return m;
}

static void model_free(struct model *m)
{
	for (unsigned k = 0; k <= HOST_PACKETS; k++)
		if (m->maps.at[k])
			munmap(m->maps.at[k] - PAGE, m->maps.bytes[k] + 2 * PAGE);
	close(m->maps.doorbell);
	free(m);
}

/* What the NIC writes; what the host writes. */
static struct p2pnic_mailbox *by_nic(struct model *m, unsigned ring)
{
	return (struct p2pnic_mailbox *)(void *)(m->maps.at[HOST_MEMORY] + HOST_WRITE) + ring;
}

static struct p2pnic_mailbox *by_host(struct model *m, unsigned ring)
{
	return (struct p2pnic_mailbox *)(void *)m->maps.at[HOST_MAILBOXES] + ring;
}

/* Where descriptors of punts count from, and to; likewise injects. */
static uint8_t *punts(struct model *m, unsigned ring)
{
	if (m->method == P2PNIC_METHOD_READ)
		return m->maps.at[HOST_PACKETS];
	return (uint8_t *)by_nic(m, P2PNIC_HOST_RINGS) + ring * SLOTS * BUFFER;
}

static uint64_t punts_bytes(const struct model *m)
{
	return SLOTS * BUFFER * (m->method == P2PNIC_METHOD_READ ? P2PNIC_HOST_RINGS : 1u);
}

static uint8_t *injects(struct model *m, unsigned ring)
{
	uint8_t *all = m->maps.at[HOST_PACKETS];

	if (m->method != P2PNIC_METHOD_WRITE)
		all = m->maps.at[HOST_MEMORY] + HOST_WRITE +
		      host_ring_write_bytes(m->method, SLOTS, BUFFER);
	return all + ring * SLOTS * BUFFER;
}

static void publish(
	struct model *m, unsigned ring, uint64_t offset, uint32_t length, unsigned flags)
{
	const uint32_t index = m->punted[ring]++;
	const struct p2pnic_descriptor d = {(uint32_t)offset, (uint16_t)length,
		(uint16_t)(flags | p2pnic_tag(epoch_of(ring), index, SLOTS))};

	memcpy(&by_nic(m, ring)->descriptor[index % SLOTS], &d, sizeof(d));
}

static uint32_t length_of(uint32_t seed)
{
	return P2PNIC_FRAME_BYTES_MIN + seed * 37 % (FRAME - P2PNIC_FRAME_BYTES_MIN + 1);
}

static void fill(uint8_t *frame, uint32_t seed)
{
	for (uint32_t k = 0; k < length_of(seed); k++)
		frame[k] = (uint8_t)(seed * 31 + k);
}

/* A frame by its seed, where this firmware would put it. */
static void punt(struct model *m, unsigned ring, uint32_t seed)
{
	const uint32_t slot = m->punted[ring] % SLOTS;
	const uint32_t at = slot * BUFFER + (length_of(seed) < 1024 ? slot * 64 : 0);

	fill(punts(m, ring) + at, seed);
	publish(m, ring, at, length_of(seed),
		P2PNIC_FLAGS(seed % P2PNIC_DROP_COUNT, seed % P2PNIC_PUNT_COUNT));
}

static void is_frame(const struct host_frame *f, uint32_t seed)
{
	uint8_t want[BUFFER];

	fill(want, seed);
	assert_int_equal(f->length, length_of(seed));
	assert_memory_equal(f->data, want, f->length);
	assert_int_equal(f->reason, seed % P2PNIC_DROP_COUNT);
	assert_int_equal(f->class, seed % P2PNIC_PUNT_COUNT);
}

/* The NIC sends the next injected frame: it is that of the seed. */
static void takes(struct model *m, unsigned ring, uint32_t seed)
{
	const uint32_t index = m->taken[ring];
	struct p2pnic_descriptor d;
	uint8_t want[BUFFER];

	memcpy(&d, &by_host(m, ring)->descriptor[index % SLOTS], sizeof(d));
	assert_int_equal(d.flags, p2pnic_tag(epoch_of(ring), index, SLOTS));
	assert_int_equal(d.length, length_of(seed));
	assert_true(d.offset + (uint64_t)d.length <= SLOTS * BUFFER);
	fill(want, seed);
	assert_memory_equal(injects(m, ring) + d.offset, want, d.length);
	m->taken[ring]++;
}

static void complete(struct model *m, unsigned ring)
{
	atomic_store(&by_nic(m, ring)->consumer, P2PNIC_RING_WORD(epoch_of(ring), m->taken[ring]));
}

static int send_seed(struct host_ring *r, uint32_t seed)
{
	uint8_t frame[BUFFER];

	fill(frame, seed);
	return host_ring_send(r, frame, length_of(seed));
}

static uint32_t released(struct model *m, unsigned ring)
{
	const uint64_t word = atomic_load(&by_host(m, ring)->consumer);

	assert_int_equal(P2PNIC_RING_EPOCH(word), word ? epoch_of(ring) : 0);
	return P2PNIC_RING_INDEX(word);
}

static bool rung(const struct model *m)
{
	eventfd_t times;

	return eventfd_read(m->maps.doorbell, &times) == 0;
}

/* The doorbell of an attachment is of no interest. */
static struct host_ring attach(struct model *m, unsigned ring)
{
	struct host_ring r;

	assert_int_equal(host_ring_attach(&r, &m->maps, ring), 0);
	assert_true(rung(m));
	return r;
}

/* --- Punts ------------------------------------------------------------------------------------ */

static void punts_come_in_order(struct model *m)
{
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++) {
		struct host_ring r = attach(m, ring);
		struct host_frame f[SLOTS];
		uint32_t seed = 0, got = 0;

		assert_int_equal(host_ring_receive(&r, f, SLOTS), 0);
		for (unsigned step = 1; seed < 20 * SLOTS; step = step * 5 % 67 % SLOTS + 1) {
			for (unsigned k = 0; k < step; k++)
				punt(m, ring, seed++);
			/* Some now, the others next; given back in two pieces as well. */
			unsigned some = host_ring_receive(&r, f, step / 2);
			unsigned all = some + host_ring_receive(&r, f + some, SLOTS);

			assert_int_equal(some, step / 2);
			assert_int_equal(all, step);
			for (unsigned k = 0; k < all; k++)
				is_frame(&f[k], got++);
			host_ring_release(&r, all / 3);
			assert_int_equal(released(m, ring), got - all + all / 3);
			host_ring_release(&r, all - all / 3);
			assert_int_equal(released(m, ring), got);
		}
		assert_int_equal(r.counts.received, got);
		assert_int_equal(r.counts.bad_descriptors, 0);
	}
}

static void a_ring_that_is_not_released_is_full(struct model *m)
{
	struct host_ring r = attach(m, 2);
	struct host_frame f[2 * SLOTS];

	for (uint32_t k = 0; k < SLOTS; k++)
		punt(m, 2, k);
	assert_int_equal(host_ring_receive(&r, f, 2 * SLOTS), SLOTS);
	/* A NIC that lies writes on. */
	punt(m, 2, SLOTS);
	assert_int_equal(host_ring_receive(&r, f + SLOTS, SLOTS), 0);
	assert_true(host_ring_arm(&r));
	host_ring_release(&r, 1);
	assert_false(host_ring_arm(&r));
	assert_int_equal(host_ring_receive(&r, f + SLOTS, SLOTS), 1);
	is_frame(&f[SLOTS], SLOTS);
}

static void bad_descriptors_are_skipped(struct model *m)
{
	const uint64_t end = punts_bytes(m);
	const struct {
		uint64_t offset;
		uint32_t length, flags;
	} bad[] = {{0, P2PNIC_FRAME_BYTES_MIN - 1, 0}, {0, 0, 0}, {0, FRAME + 1, 0},
		{0, UINT16_MAX, 0}, {end - 59, 60, 0}, {end, 60, 0}, {UINT32_MAX, 60, 0},
		{UINT32_MAX - 59, 60, 0}, {0, 60, P2PNIC_DROP_COUNT}, {0, 60, 0x3f}};
	const unsigned bads = sizeof(bad) / sizeof(*bad);
	struct host_ring r = attach(m, 0);
	struct host_frame f[SLOTS];
	uint32_t seed = 0;

	for (unsigned k = 0; k < bads; k++) {
		punt(m, 0, seed);
		publish(m, 0, bad[k].offset, bad[k].length, bad[k].flags);
		punt(m, 0, seed + 1);
		/* In its turn: when what came before is released. */
		assert_int_equal(host_ring_receive(&r, f, SLOTS), 1);
		is_frame(&f[0], seed++);
		assert_int_equal(host_ring_receive(&r, f, SLOTS), 0);
		host_ring_release(&r, 1);
		assert_int_equal(host_ring_receive(&r, f, SLOTS), 1);
		assert_int_equal(released(m, 0), 3 * k + 2);
		is_frame(&f[0], seed++);
		host_ring_release(&r, 1);
		assert_int_equal(r.counts.bad_descriptors, k + 1);
	}
	/* The last byte of the buffers is theirs. */
	publish(m, 0, end - 60, 60, 0);
	publish(m, 0, 0, FRAME, 0x1c0 | (P2PNIC_DROP_COUNT - 1));
	assert_int_equal(host_ring_receive(&r, f, SLOTS), 2);
	assert_ptr_equal(f[0].data, punts(m, 0) + end - 60);
	assert_int_equal(f[1].reason, P2PNIC_DROP_COUNT - 1);
	assert_int_equal(f[1].class, P2PNIC_PUNT_COUNT - 1);
	assert_int_equal(r.counts.bad_descriptors, bads);
}

/* Nothing else than bad ones, as fast as they are looked at: the caller gets away. */
static void bad_descriptors_keep_nobody(struct model *m)
{
	struct host_ring r = attach(m, 3);
	struct host_frame f[SLOTS];

	for (uint32_t k = 0; k < SLOTS; k++)
		publish(m, 3, UINT32_MAX, 60, 0);
	assert_int_equal(host_ring_receive(&r, f, SLOTS), 0);
	assert_int_equal(r.counts.bad_descriptors, SLOTS);
	assert_int_equal(released(m, 3), SLOTS);
}

/* Tags of another pass, or of another life. */
static void stale_descriptors_are_none(struct model *m)
{
	struct host_ring r = attach(m, 1);
	struct host_frame f[SLOTS];

	for (unsigned k = 0; k < 3; k++) {
		struct p2pnic_descriptor d = {0, 60, p2pnic_tag(epoch_of(1) + k, 0, SLOTS)};

		if (k == 0)
			d.flags ^= 1u << 9;
		else if (k == 2)
			d.flags = 0;
		memcpy(&by_nic(m, 1)->descriptor[0], &d, sizeof(d));
		assert_int_equal(host_ring_receive(&r, f, SLOTS), 0);
	}
}

/* --- Injects ---------------------------------------------------------------------------------- */

static void injects_leave_in_order(struct model *m)
{
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++) {
		struct host_ring r = attach(m, ring);
		uint32_t seed = 0;

		for (unsigned step = 1; seed < 20 * SLOTS; step = step * 5 % 67 % SLOTS + 1) {
			for (unsigned k = 0; k < step; k++)
				assert_int_equal(send_seed(&r, seed + k), 0);
			for (unsigned k = 0; k < step; k++)
				takes(m, ring, seed++);
			complete(m, ring);
		}
		assert_int_equal(r.counts.sent, seed);
		assert_int_equal(r.counts.full, 0);
	}
}

static void a_full_ring_refuses(struct model *m)
{
	struct host_ring r = attach(m, 0);
	uint32_t sent = 0, got = 0;

	for (unsigned round = 0; round < 3; round++) {
		while (send_seed(&r, sent) == 0)
			sent++;
		assert_int_equal(sent - got, SLOTS);
		assert_int_equal(send_seed(&r, sent), -EAGAIN);
		for (unsigned k = 0; k < SLOTS / 2; k++)
			takes(m, 0, got++);
		assert_int_equal(send_seed(&r, sent), -EAGAIN); /* sent, but not told */
		complete(m, 0);
	}
	assert_int_equal(r.counts.full, 9);
	/* What was in it has not been touched. */
	while (got < sent)
		takes(m, 0, got++);
}

static void lengths_are_checked(struct model *m)
{
	static const uint8_t frame[BUFFER];
	struct host_ring r = attach(m, 0);

	assert_int_equal(host_ring_send(&r, frame, 0), -EMSGSIZE);
	assert_int_equal(host_ring_send(&r, frame, P2PNIC_FRAME_BYTES_MIN - 1), -EMSGSIZE);
	assert_int_equal(host_ring_send(&r, frame, FRAME + 1), -EMSGSIZE);
	assert_int_equal(host_ring_send(&r, frame, UINT32_MAX), -EMSGSIZE);
	assert_int_equal(r.counts.sent, 0);
	assert_int_equal(host_ring_send(&r, frame, P2PNIC_FRAME_BYTES_MIN), 0);
	assert_int_equal(host_ring_send(&r, frame, FRAME), 0);
}

/* It costs that ring its way out, not its way in, and no other ring anything. */
static void a_consumer_word_out_of_range(struct model *m)
{
	const uint64_t lie[] = {P2PNIC_RING_WORD(epoch_of(0), SLOTS + SLOTS / 2 + 1),
		P2PNIC_RING_WORD(epoch_of(0), SLOTS / 2 - 1),
		P2PNIC_RING_WORD(epoch_of(0), UINT32_MAX), UINT64_MAX,
		P2PNIC_RING_WORD(epoch_of(1), SLOTS)};

	for (unsigned k = 0; k < sizeof(lie) / sizeof(*lie); k++) {
		struct model *other = model_new(m->method);
		struct host_ring r = attach(other, 0), next = attach(other, 1);
		struct host_frame f;

		other->taken[0] = SLOTS / 2;
		for (unsigned j = 0; j < SLOTS; j++)
			assert_int_equal(send_seed(&r, j), 0);
		complete(other, 0);
		for (unsigned j = 0; j < SLOTS / 2; j++)
			assert_int_equal(send_seed(&r, j), 0);
		atomic_store(&by_nic(other, 0)->consumer, lie[k]);
		assert_int_equal(send_seed(&r, 0), -EPROTO);
		assert_int_equal(send_seed(&r, 0), -EPROTO);
		punt(other, 0, 1);
		assert_int_equal(host_ring_receive(&r, &f, 1), 1);
		assert_int_equal(send_seed(&next, 0), 0);
		model_free(other);
	}
}

/* --- Sleep ------------------------------------------------------------------------------------ */

static void both_sleep_and_wake(struct model *m)
{
	struct host_ring r = attach(m, 1);
	struct host_frame f;

	assert_true(host_ring_arm(&r));
	assert_int_equal(atomic_load(&by_host(m, 1)->asleep), 1);
	host_ring_disarm(&r);
	assert_int_equal(atomic_load(&by_host(m, 1)->asleep), 0);
	punt(m, 1, 5);
	assert_false(host_ring_arm(&r));
	host_ring_disarm(&r);
	assert_int_equal(host_ring_receive(&r, &f, 1), 1);
	/* Received and not released is no reason to stay awake. */
	assert_true(host_ring_arm(&r));
	/* It was killed asleep: the next one is awake, and wakes the NIC. */
	r = attach(m, 1);
	assert_int_equal(atomic_load(&by_host(m, 1)->asleep), 0);

	assert_int_equal(send_seed(&r, 1), 0);
	assert_false(rung(m));
	atomic_store(&by_nic(m, 1)->asleep, 1);
	assert_int_equal(send_seed(&r, 2), 0);
	assert_true(rung(m));
	/* Without an eventfd: the register. */
	m->maps.at[HOST_DOORBELL] = guarded(PAGE);
	m->maps.bytes[HOST_DOORBELL] = PAGE;
	assert_int_equal(host_ring_attach(&r, &m->maps, 1), 0);
	assert_false(rung(m));
	assert_int_equal(*(uint32_t *)(void *)m->maps.at[HOST_DOORBELL], 1);
	munmap(m->maps.at[HOST_DOORBELL] - PAGE, 3 * PAGE);
}

/* --- Attaching -------------------------------------------------------------------------------- */

static void what_is_no_memory_of_rings(struct model *m)
{
	struct host_ring r;
	const struct host_ring_header good = *header(m);
	const struct host_maps maps = m->maps;
	const struct host_ring_header bad[] = {{HOST_RING_MAGIC + 1, m->method, SLOTS, BUFFER, {0}},
		{HOST_RING_MAGIC, 0, SLOTS, BUFFER, {0}}, {HOST_RING_MAGIC, 4, SLOTS, BUFFER, {0}},
		{HOST_RING_MAGIC, m->method, SLOTS * 2, BUFFER, {0}}, /* they do not fit */
		{HOST_RING_MAGIC, m->method, SLOTS, BUFFER * 2, {0}},
		{HOST_RING_MAGIC, m->method, SLOTS - 1, BUFFER, {0}},
		{HOST_RING_MAGIC, m->method, 4, BUFFER, {0}},
		{HOST_RING_MAGIC, m->method, 0, BUFFER, {0}},
		{HOST_RING_MAGIC, m->method, 1u << 31, BUFFER, {0}},
		{HOST_RING_MAGIC, m->method, SLOTS, 0, {0}},
		{HOST_RING_MAGIC, m->method, SLOTS, 2049, {0}}};

	for (unsigned k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
		memcpy(header(m), &bad[k], 16);
		assert_int_equal(host_ring_attach(&r, &m->maps, 0), -EPROTO);
	}
	memcpy(header(m), &good, sizeof(good));
	for (unsigned k = 0; k <= HOST_PACKETS; k++) {
		if (!maps.bytes[k])
			continue;
		m->maps.bytes[k] = k == HOST_PACKETS && m->method == P2PNIC_METHOD_READ
					   ? 0
					   : maps.bytes[k] - 1;
		assert_int_equal(host_ring_attach(&r, &m->maps, 0), -EPROTO);
		m->maps.bytes[k] = 0;
		assert_int_equal(host_ring_attach(&r, &m->maps, 0), -EPROTO);
		m->maps.bytes[k] = maps.bytes[k];
	}
	m->maps.doorbell = -1;
	assert_int_equal(host_ring_attach(&r, &m->maps, 0), -EPROTO);
	m->maps.doorbell = maps.doorbell;
	r = attach(m, 2);
	assert_true(host_ring_is_open(&r));
	header(m)->epoch[2] = 0;
	assert_false(host_ring_is_open(&r));
	assert_int_equal(host_ring_attach(&r, &m->maps, 2), -ENOTCONN);
	header(m)->epoch[2] = 1;
	assert_int_equal(host_ring_attach(&r, &m->maps, 2), 0);
}

/* Killed and begun anew at any moment: nothing that was released or sent is lost, or comes twice.
 * What the test knows of the ring it has from its own account alone. */
static void attach_at_any_moment(struct model *m)
{
	uint64_t random = test_seed();
	struct host_ring r = attach(m, 1);
	uint32_t given_back = 0, received = 0, sent = 0, taken = 0, attached = 0;

	for (unsigned k = 0; k < 20000; k++) {
		struct host_frame f[SLOTS];
		unsigned n, some;

		random = random * 6364136223846793005u + 1442695040888963407u;
		some = (unsigned)(random >> 40) % SLOTS;
		switch (random >> 60) {
		case 0:
		case 1:
			for (; some && m->punted[1] - given_back < SLOTS; some--)
				punt(m, 1, m->punted[1]);
			break;
		case 2:
		case 3:
		case 4:
			n = host_ring_receive(&r, f, some);
			assert_int_equal(
				n, some < m->punted[1] - received ? some : m->punted[1] - received);
			for (unsigned j = 0; j < n; j++)
				is_frame(&f[j], received++);
			break;
		case 5:
		case 6:
			some = some < received - given_back ? some : received - given_back;
			host_ring_release(&r, some);
			given_back += some;
			assert_int_equal(released(m, 1), given_back);
			break;
		case 7:
		case 8:
		case 9:
			for (; some && sent - taken < SLOTS; some--)
				assert_int_equal(send_seed(&r, sent++), 0);
			break;
		case 10:
		case 11:
			for (; some && taken != sent; some--)
				takes(m, 1, taken++);
			complete(m, 1);
			break;
		default:
			r = attach(m, 1);
			received = given_back; /* the others come again */
			attached++;
			break;
		}
	}
	assert_true(attached > 1000 && given_back > 20 * SLOTS && taken > 20 * SLOTS);
}

/* --- A NIC that lies -------------------------------------------------------------------------- */

static uint64_t random_word(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return *random ^ *random >> 29;
}

static uint8_t byte_sum; /* what is read is used */

/* Whatever it writes where, nothing outside the ring's memory is read or written: pages around it
 * would say so, and what belongs to other rings is as it was. */
static void nothing_outside_is_touched(struct model *m)
{
	uint64_t random = test_seed();
	struct host_ring r = attach(m, 1);
	struct host_frame f[SLOTS];
	const uint8_t *base = punts(m, 1);
	uint64_t frames = 0, bad = 0, lies = 0;

	memset(injects(m, 0), 0xa5, SLOTS * BUFFER);
	memset(injects(m, 2), 0xa5, SLOTS * BUFFER);
	for (unsigned k = 0; k < 200000; k++) {
		const uint64_t word = random_word(&random), what = random_word(&random);
		uint64_t *slot = (uint64_t *)&by_nic(m, 1)->descriptor[what >> 8 & (SLOTS - 1)];
		const uint8_t frame[BUFFER] = {0};
		int result;

		switch (what & 7) {
		case 0: /* anything anywhere */
			*slot = word;
			break;
		case 1:
		case 2: /* a tag that is right for the next one */
			slot = (uint64_t *)&by_nic(m, 1)->descriptor[r.dequeued & (SLOTS - 1)];
			*slot = (word & ~(0xfe00ull << 48)) |
				(uint64_t)p2pnic_tag(epoch_of(1), r.dequeued, SLOTS) << 48;
			if (what & 0x10000) /* and plausible */
				*slot &= ~0xffffull << 16 & ~(0xf800ull << 32) & ~(0x20ull << 48);
			break;
		case 3: /* near the truth, or not */
			atomic_store(&by_nic(m, 1)->consumer,
				what & 0x10000
					? P2PNIC_RING_WORD(epoch_of(1), r.completed + (word & 31))
					: word);
			break;
		case 4:
			atomic_store(&by_nic(m, 1)->asleep, (uint32_t)word);
			break;
		case 5:
			result = host_ring_send(&r, frame, (uint32_t)(word % BUFFER));
			lies += result == -EPROTO;
			break;
		case 6:
			host_ring_release(&r, (unsigned)(word % (r.dequeued - r.consumed + 1)));
			break;
		default:
			if (word % 64 == 0) {
				bad += r.counts.bad_descriptors;
				/* It may lie about what the host said, too. */
				if (what & 0x10000)
					atomic_store(&by_host(m, 1)->consumer, word * what);
				assert_int_equal(host_ring_attach(&r, &m->maps, 1), 0);
			}
			break;
		}
		for (unsigned n = host_ring_receive(&r, f, what >> 20 & (SLOTS - 1)); n-- > 0;) {
			assert_true(f[n].data >= base &&
				    f[n].data + f[n].length <= base + punts_bytes(m));
			assert_true(f[n].length >= P2PNIC_FRAME_BYTES_MIN && f[n].length <= FRAME);
			assert_true(f[n].reason < P2PNIC_DROP_COUNT);
			assert_true(f[n].class < P2PNIC_PUNT_COUNT);
			for (uint32_t j = 0; j < f[n].length; j++)
				byte_sum = (uint8_t)(byte_sum + f[n].data[j]);
			frames++;
		}
		assert_true(r.dequeued - r.consumed <= SLOTS);
		assert_true(r.produced - r.completed <= SLOTS);
	}
	for (uint32_t k = 0; k < SLOTS * BUFFER; k++) {
		assert_int_equal(injects(m, 0)[k], 0xa5);
		assert_int_equal(injects(m, 2)[k], 0xa5);
	}
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
		for (unsigned k = 0; k < P2PNIC_RING_SLOTS_MAX; k++)
			assert_true((ring == 1 && k < SLOTS) ||
				    by_host(m, ring)->descriptor[k].length == 0);
	assert_true(frames > 1000 && bad > 1000 && lies > 100);
}

/* --- All of them ------------------------------------------------------------------------------ */

static void run(void (*test)(struct model *))
{
	for (unsigned method = P2PNIC_METHOD_WRITE; method <= P2PNIC_METHOD_BOUNCE; method++) {
		struct model *m = model_new(method);

		test(m);
		model_free(m);
	}
}

#define TESTS(X)                                                                                   \
	X(punts_come_in_order)                                                                     \
	X(a_ring_that_is_not_released_is_full)                                                     \
	X(bad_descriptors_are_skipped)                                                             \
	X(bad_descriptors_keep_nobody)                                                             \
	X(stale_descriptors_are_none)                                                              \
	X(injects_leave_in_order)                                                                  \
	X(a_full_ring_refuses)                                                                     \
	X(lengths_are_checked)                                                                     \
	X(a_consumer_word_out_of_range)                                                            \
	X(both_sleep_and_wake)                                                                     \
	X(what_is_no_memory_of_rings)                                                              \
	X(attach_at_any_moment)                                                                    \
	X(nothing_outside_is_touched)

#define RUN(test)                                                                                  \
	static void run_##test(void **state)                                                       \
	{                                                                                          \
		run(test);                                                                         \
	}
TESTS(RUN)

/* A soft NIC's memory may be of huge pages, of which a part takes some. */
static void test_huge_pages(void **state)
{
	struct host_share share[HOST_PARTS];
	struct host_maps maps;
	struct error error;
	const int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	for (unsigned k = 0; k < HOST_PARTS; k++)
		share[k] = (struct host_share){.fd = -1};
	share[HOST_MAILBOXES] = (struct host_share){fd, true, 1 << 20, 0x10000};
	const int result = host_maps_make(&maps, share, &error);

	/* Where none are set aside, it is for want of memory. */
	if (result) {
		assert_int_equal(result, -ENOMEM);
	} else {
		memset(maps.at[HOST_MAILBOXES], 1, 0x10000);
		assert_int_equal(maps.bytes[HOST_MAILBOXES], 0x10000);
		host_maps_free(&maps);
	}
	close(fd);
}

int main(void)
{
#define ENTRY(test) {#test, run_##test, NULL, NULL, NULL},
	const struct CMUnitTest tests[] = {TESTS(ENTRY) cmocka_unit_test(test_huge_pages)};

	return cmocka_run_group_tests_name("host ring", tests, NULL, NULL);
}
