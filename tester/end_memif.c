/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tester's end of a memif link: the hot loops, on the link's queues themselves.
 *
 * As server (the device is the client and owns the memory) each packet is written whole into a
 * buffer the device posted: the first line from the stream, the rest from the common payload.
 *
 * As client the tester owns the memory. As many frames as the ring has slots (or a multiple of the
 * stream's period above that) lie there ready; sending one is a store of its number and, unless
 * slots and frames coincide, of its descriptor. Frames and receive buffers are packed to whole
 * cache lines, the layout that costs the device least.
 */
#include "tester.h"

#include "ports/memif_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECEIVE_MAX 256u
#define SEND_BYTES  (160ull << 20) /* client: for frames; sparse */
#define CHECK_AHEAD 8u

struct end_memif {
	struct memif_link link;
	uint8_t *memory; /* client */
	uint64_t bytes;
	int fd;
	uint32_t buffer_bytes;
	uint32_t stride; /* client: between frames to send */
	unsigned frames; /* client: laid out */
	unsigned frame;  /* client: the next packet's */
	bool coincide;   /* client: slots and frames */
};

static void close_end(void *opaque)
{
	struct end_memif *e = opaque;

	memif_link_close(&e->link);
	if (e->memory)
		munmap(e->memory, e->bytes);
	if (e->fd >= 0)
		close(e->fd);
	free(e);
}

static int client_memory(struct end_memif *e, struct memif_link_config *config)
{
	e->bytes = SEND_BYTES + ((uint64_t)e->buffer_bytes << config->log2_ring);
	e->fd = memfd_create("tester", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (e->fd < 0 || ftruncate(e->fd, (off_t)e->bytes) ||
		fcntl(e->fd, F_ADD_SEALS, F_SEAL_SHRINK))
		return -errno;
	void *memory = mmap(NULL, e->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	/* Where the system gives huge pages to shared memory, these loops profit; else no harm. */
	madvise(memory, e->bytes, MADV_HUGEPAGE);
	e->memory = memory;
	config->region[0].base = e->memory;
	config->region[0].bytes = e->bytes;
	config->region[0].fd = e->fd;
	return 0;
}

static int open_end(void **end, const struct port_ops *kind, const char *text,
	uint32_t buffer_bytes, struct error *error)
{
	char target[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *options = strchr(text, ',');
	size_t length = options ? (size_t)(options - text) : strlen(text);
	struct memif_link_config config;

	if (length >= sizeof(target))
		return error_set(
			error, -EINVAL, "memif: socket path of %zu characters is too long", length);
	memcpy(target, text, length);
	target[length] = 0;
	int r = memif_link_options(&config, target, options ? options + 1 : NULL, error);
	if (r)
		return r;
	struct end_memif *e = aligned_alloc(64, (sizeof(*e) + 63) & ~63ul);
	if (!e)
		return error_set(error, -ENOMEM, "memif: out of memory");
	memset(e, 0, sizeof(*e));
	e->fd = -1;
	e->buffer_bytes = buffer_bytes;
	if (config.role == MEMIF_CLIENT) {
		r = client_memory(e, &config);
		if (r)
			error_set(error, r, "memif: no shared memory: %s", strerror(-r));
	}
	if (!r) {
		r = memif_link_open(&e->link, &config, error);
		if (!r) {
			*end = e;
			return 0;
		}
	}
	e->link.channel = e->link.listener.fd = e->link.control = e->link.events = -1;
	close_end(e);
	return r;
}

static uint64_t buffer_at(const struct end_memif *e, unsigned slot)
{
	return SEND_BYTES + (uint64_t)slot * e->buffer_bytes;
}

static bool service(void *opaque)
{
	struct end_memif *e = opaque;
	struct memif_queue *q = &e->link.receive;

	if (memif_link_service(&e->link) == MEMIF_UP && e->link.role == MEMIF_CLIENT) {
		for (unsigned s = 0; s <= q->mask; s++)
			memif_write(&q->ring->slot[s], MEMIF_CONTROL(0, 1, e->buffer_bytes),
				buffer_at(e, s));
		q->head = (uint16_t)(q->mask + 1);
		atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
	}
	return e->link.connected && !e->link.broken;
}

static bool called(void *opaque)
{
	const struct end_memif *e = opaque;
	struct pollfd p = {.fd = e->link.control, .events = POLLIN};

	return e->link.role == MEMIF_CLIENT || e->link.connected || poll(&p, 1, 0) == 1;
}

static const char *trouble(void *opaque)
{
	const struct end_memif *e = opaque;

	return e->link.reason[0] ? e->link.reason : "nobody there";
}

static int prepare(void *opaque, const struct stream *s, struct error *error)
{
	struct end_memif *e = opaque;
	struct memif_queue *q = &e->link.send;
	unsigned slots = q->mask + 1u;

	if (e->link.role == MEMIF_SERVER || !s->exits)
		return 0;
	e->stride = (s->length + 63) & ~63u;
	e->frames = (slots + s->period - 1) / s->period * s->period;
	if ((uint64_t)e->frames * e->stride > SEND_BYTES)
		return error_set(error, -ENOSPC, "memif: %u frames of %u bytes do not fit",
			e->frames, s->length);
	for (unsigned f = 0; f < e->frames; f++) {
		uint8_t *to = e->memory + (size_t)f * e->stride;
		memcpy(to, s->line[f % s->period].byte, 64);
		if (s->length > 64)
			memcpy(to + 64, s->payload + 64, s->length - 64);
	}
	e->frame = 0;
	e->coincide = e->frames == slots;
	for (unsigned i = 0; i < slots; i++)
		memif_write(&q->ring->slot[(uint16_t)(q->head + i) & q->mask],
			MEMIF_CONTROL(0, 1, s->length), (uint64_t)i * e->stride);
	return 0;
}

static inline void stamp_packet(uint8_t *at, uint64_t number, unsigned probe, uint64_t stamp)
{
	uint32_t sequence = (uint32_t)number;

	memcpy(at + STREAM_AT_SEQUENCE, &sequence, 4);
	if (probe) {
		uint64_t value = number & (probe - 1) ? 0 : stamp;
		memcpy(at + STREAM_AT_STAMP, &value, 8);
	}
}

static unsigned send_client(
	struct end_memif *e, struct stream *s, unsigned n, unsigned probe, uint64_t stamp)
{
	struct memif_queue *q = &e->link.send;
	unsigned slots = q->mask + 1u, room = slots - (uint16_t)(q->head - q->tail);

	if (room < n) {
		int done = memif_link_advanced(
			&e->link, &q->ring->tail, q->tail, (uint16_t)(q->head - q->tail));
		if (done < 0)
			return 0;
		q->tail = (uint16_t)(q->tail + done);
		room += (unsigned)done;
		if (n > room)
			n = room;
	}
	unsigned f = e->frame;
	for (unsigned i = 0; i < n; i++) {
		uint64_t offset = (uint64_t)f * e->stride;
		stamp_packet(e->memory + offset, s->sent + i, probe, stamp);
		if (!e->coincide)
			memif_write(&q->ring->slot[(uint16_t)(q->head + i) & q->mask],
				MEMIF_CONTROL(0, 1, s->length), offset);
		f = f + 1 == e->frames ? 0 : f + 1;
	}
	e->frame = f;
	q->head = (uint16_t)(q->head + n);
	atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
	return n;
}

static unsigned send_server(
	struct end_memif *e, struct stream *s, unsigned n, unsigned probe, uint64_t stamp)
{
	struct memif_queue *q = &e->link.send;
	uint8_t *to[TESTER_BURST];
	unsigned room = (uint16_t)(q->head - q->tail), k = s->position;

	if (room < n) {
		int posted = memif_link_advanced(&e->link, &q->ring->head, q->tail, q->mask + 1u);
		if (posted < 0)
			return 0;
		q->head = (uint16_t)(q->tail + posted);
		room = (unsigned)posted;
		if (n > room)
			n = room;
	}
	for (unsigned i = 0; i < n; i++) {
		struct memif_descriptor *d = &q->ring->slot[(uint16_t)(q->tail + i) & q->mask];
		uint64_t control = memif_read(&d->control);
		to[i] = memif_link_at(&e->link, control, memif_read(&d->place));
		if (__builtin_expect(
			    !to[i] || MEMIF_LENGTH(control) < ((s->length + 63) & ~63u), 0)) {
			/* A device that posts what it does not own, or too little: a packet
			 * less. */
			e->link.counters.bad_descriptor++;
			n = i;
			break;
		}
		__builtin_prefetch(to[i], 1);
		__atomic_store_n(&d->control, MEMIF_CONTROL(0, MEMIF_REGION(control), s->length),
			__ATOMIC_RELAXED);
	}
	for (unsigned i = 0; i < n; i++) {
		memcpy(to[i], s->line[k].byte, 64);
		stamp_packet(to[i], s->sent + i, probe, stamp);
		for (uint32_t at = 64; at < s->length; at += 64)
			memcpy(to[i] + at, s->payload + at, 64);
		k = k + 1 == s->period ? 0 : k + 1;
	}
	/* The descriptors of the next burst, which the device wrote last; not those that it is
	 * about to write: taking a line away from it would slow it down. */
	for (unsigned i = n; i + 4 <= room && i < n + TESTER_BURST; i += 4)
		__builtin_prefetch(&q->ring->slot[(uint16_t)(q->tail + i) & q->mask], 1);
	s->position = k;
	q->tail = (uint16_t)(q->tail + n);
	atomic_store_explicit(&q->ring->tail, q->tail, memory_order_release);
	return n;
}

static unsigned send_burst(
	void *opaque, struct stream *s, unsigned n, unsigned probe, uint64_t stamp)
{
	struct end_memif *e = opaque;

	if (n > TESTER_BURST)
		n = TESTER_BURST;
	n = e->link.role == MEMIF_CLIENT ? send_client(e, s, n, probe, stamp)
					 : send_server(e, s, n, probe, stamp);
	s->sent += n;
	if (n) {
		atomic_thread_fence(memory_order_seq_cst);
		memif_queue_notify(&e->link.send);
	}
	return n;
}

static unsigned waiting(void *opaque)
{
	const struct end_memif *e = opaque;
	const struct memif_queue *q = &e->link.send;

	if (!e->link.connected || e->link.broken || e->link.role == MEMIF_SERVER)
		return 0;
	return (uint16_t)(q->head - atomic_load_explicit(&q->ring->tail, memory_order_acquire));
}

/* Where slot `i` of the burst has its frame, or NULL. */
static inline const uint8_t *frame_at(
	const struct end_memif *e, const struct memif_queue *q, unsigned i, uint32_t *length)
{
	unsigned slot = (uint16_t)(q->tail + i) & q->mask;
	const struct memif_descriptor *d = &q->ring->slot[slot];
	uint64_t control = memif_read(&d->control);

	*length = MEMIF_LENGTH(control);
	if (MEMIF_FLAGS(control) & MEMIF_DESCRIPTOR_NEXT)
		*length = UINT32_MAX; /* no packet of ours */
	if (e->link.role == MEMIF_CLIENT)
		return e->memory + buffer_at(e, slot);
	return memif_link_at(&e->link, control, memif_read(&d->place));
}

static unsigned receive(void *opaque, struct tester *t, unsigned port, bool check)
{
	struct end_memif *e = opaque;
	struct memif_queue *q = &e->link.receive;
	bool client = e->link.role == MEMIF_CLIENT;
	int waiting = memif_link_advanced(&e->link, client ? &q->ring->tail : &q->ring->head,
		q->tail, client ? (uint16_t)(q->head - q->tail) : q->mask + 1u);
	unsigned n = waiting < 0 ? 0 : waiting > (int)RECEIVE_MAX ? RECEIVE_MAX : (unsigned)waiting;

	if (!n)
		return 0;
	if (check) {
		const uint8_t *ahead[CHECK_AHEAD];
		uint32_t length[CHECK_AHEAD];
		for (unsigned i = 0; i < n + CHECK_AHEAD; i++) {
			unsigned at = i % CHECK_AHEAD;
			if (i >= CHECK_AHEAD && i - CHECK_AHEAD < n) {
				if (ahead[at])
					tester_check_frame(t, port, ahead[at], length[at]);
				else
					e->link.counters.bad_descriptor++;
			}
			if (i < n) {
				ahead[at] = frame_at(e, q, i, &length[at]);
				__builtin_prefetch(ahead[at]);
			}
		}
	}
	if (client) {
		for (unsigned i = 0; i < n; i++)
			__atomic_store_n(&q->ring->slot[(uint16_t)(q->head + i) & q->mask].control,
				MEMIF_CONTROL(0, 1, e->buffer_bytes), __ATOMIC_RELAXED);
		q->head = (uint16_t)(q->head + n);
		q->tail = (uint16_t)(q->tail + n);
		atomic_store_explicit(&q->ring->head, q->head, memory_order_release);
	} else {
		q->tail = (uint16_t)(q->tail + n);
		atomic_store_explicit(&q->ring->tail, q->tail, memory_order_release);
	}
	return n;
}

const struct tester_end_ops tester_end_memif = {
	.open = open_end,
	.close = close_end,
	.service = service,
	.called = called,
	.trouble = trouble,
	.prepare = prepare,
	.send = send_burst,
	.waiting = waiting,
	.receive = receive,
};
