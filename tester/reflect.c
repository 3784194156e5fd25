/* SPDX-License-Identifier: BSD-3-Clause */
#include "reflect.h"

#include "ipc/clock.h"
#include "ports/memif.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SERVICE_NS  10000000u
#define CLOCK_EVERY 1024u /* passes between looks at the clock */
#define BURST       P2PNIC_BURST_MAX
/* Copies begin at so many offsets in their buffers, which spreads them over the sets of the
 * cache. */
#define COLOURS     4u
#define SLOTS       2048u /* of a ring: buffers for so many; larger rings are not filled */
#define AT_THIRD    32u   /* the third octet of the IPv4 destination address */

/* Buffers not in use, the last one freed first: it is the one in the cache. */
struct pool {
	uint32_t *buffer;
	unsigned count;
};

struct station {
	struct memif_port *port;
	char target[128];
	struct pool pool;
	uint32_t *flight; /* buffers in transmission, in order */
	unsigned flight_head, flight_tail;
	struct p2pnic_descriptor out[BURST]; /* of one pass, for this exit */
	unsigned outs;
};

struct reflect {
	const struct reflect_config *config;
	struct station station[TESTER_PORTS_MAX];
	uint8_t *memory;
	uint64_t bytes;
	int fd;
	unsigned slots;
};

static inline unsigned exit_of(const struct reflect *r, unsigned ingress, const uint8_t *data)
{
	const struct pattern *p = &r->config->pattern;

	if (p->exits[ingress] == 1)
		return p->exit[ingress][0];
	return data[AT_THIRD] < r->config->count ? data[AT_THIRD] : 0;
}

static inline void copy_frame(uint8_t *to, const uint8_t *from, uint32_t length)
{
	for (uint32_t i = 0; i < length; i += 64)
		memcpy(to + i, from + i, 64);
}

/* --- As client -------------------------------------------------------------------------------- */

static inline void send_client(struct reflect *r, struct station *s)
{
	uint64_t failed = 0;
	unsigned mask = 2 * r->slots - 1;

	if (s->outs) {
		unsigned sent = memif_port_ops.transmit(s->port, s->out, s->outs);
		for (unsigned i = 0; i < sent; i++)
			s->flight[s->flight_head++ & mask] =
				s->out[i].offset & ~(r->config->buffer_bytes - 1);
		/* The exit's ring is full: lost, as on any wire. */
		for (unsigned i = sent; i < s->outs; i++)
			s->pool.buffer[s->pool.count++] =
				s->out[i].offset & ~(r->config->buffer_bytes - 1);
		port_flush_and_notify(&memif_port_ops, s->port);
		s->outs = 0;
	}
	for (unsigned n = memif_port_ops.transmitted(s->port, &failed); n; n--)
		s->pool.buffer[s->pool.count++] = s->flight[s->flight_tail++ & mask];
}

static inline void send_from(
	struct reflect *r, struct station *out, uint32_t offset, uint32_t length)
{
	out->out[out->outs++] =
		(struct p2pnic_descriptor){.offset = offset, .length = (uint16_t)length};
	if (out->outs == BURST)
		send_client(r, out);
}

/* Frames of station i, each copied into a buffer of the one it leaves by. */
static void copy_all(struct reflect *r, unsigned i, const struct frame *frames, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		struct station *out = &r->station[exit_of(r, i, frames[k].data)];
		uint32_t offset;

		if (!out->pool.count)
			continue;
		offset = out->pool.buffer[--out->pool.count];
		offset += 64 * (offset / r->config->buffer_bytes % COLOURS);
		copy_frame(out->port->memory + offset, frames[k].data, frames[k].length);
		send_from(r, out, offset, frames[k].length);
	}
}

/* Frames of station i, each swapped for a buffer of the one it leaves by. */
static void swap_all(struct reflect *r, unsigned i, const struct frame *frames, unsigned n)
{
	struct station *out[BURST];
	uint32_t at[BURST];
	uint8_t frame[BURST];
	unsigned kept = 0;

	for (unsigned k = 0; k < n; k++) {
		out[kept] = &r->station[exit_of(r, i, frames[k].data)];
		if (!out[kept]->pool.count)
			continue;
		at[kept] = out[kept]->pool.buffer[--out[kept]->pool.count];
		frame[kept++] = (uint8_t)k;
	}
	memif_port_ops.keep(r->station[i].port, frame, kept, at);
	for (unsigned k = 0; k < kept; k++)
		send_from(r, out[k], at[k], frames[frame[k]].length);
}

static void pass_client(struct reflect *r)
{
	for (unsigned i = 0; i < r->config->count; i++) {
		struct station *in = &r->station[i];
		struct frame frames[BURST];

		unsigned n = memif_port_ops.receive(in->port, frames, BURST);
		if (r->config->kind == REFLECT_COPY || r->config->pattern.exits[i] > 1)
			for (unsigned k = 0; k < n; k++)
				__builtin_prefetch(frames[k].data);
		if (r->config->kind == REFLECT_COPY)
			copy_all(r, i, frames, n);
		else
			swap_all(r, i, frames, n);
		memif_port_ops.release(in->port);
		for (unsigned e = 0; e < r->config->count; e++)
			send_client(r, &r->station[e]);
	}
}

/* --- As server -------------------------------------------------------------------------------- */

struct slot {
	uint8_t *data;
	uint32_t length;
};

static bool return_slot(struct memif_link *out, struct slot from, unsigned *used)
{
	struct memif_queue *q = &out->send;

	if ((uint16_t)(q->head - q->tail) == *used) {
		int posted = memif_link_advanced(out, &q->ring->head, q->tail, q->mask + 1u);
		q->head = (uint16_t)(q->tail + (posted < 0 ? 0 : posted));
		if ((unsigned)(uint16_t)(q->head - q->tail) <= *used)
			return false;
	}
	struct memif_descriptor *d = &q->ring->slot[(uint16_t)(q->tail + *used) & q->mask];
	uint64_t control = memif_read(&d->control);
	uint8_t *to = memif_link_at(out, control, memif_read(&d->place));
	if (!to || MEMIF_LENGTH(control) < from.length)
		return false;
	memif_copy(to, MEMIF_LENGTH(control), from.data, from.length);
	__atomic_store_n(&d->control, MEMIF_CONTROL(0, MEMIF_REGION(control), from.length),
		__ATOMIC_RELAXED);
	++*used;
	return true;
}

static void pass_server(struct reflect *r)
{
	for (unsigned i = 0; i < r->config->count; i++) {
		struct memif_port *in = r->station[i].port;
		unsigned used[TESTER_PORTS_MAX] = {0};
		struct frame frames[BURST];

		unsigned n = memif_port_ops.receive(in, frames, BURST);
		for (unsigned k = 0; k < n; k++)
			__builtin_prefetch(frames[k].data);
		for (unsigned k = 0; k < n; k++) {
			unsigned e = exit_of(r, i, frames[k].data);
			struct memif_link *out = &r->station[e].port->link;
			if (out->connected && !out->broken)
				return_slot(out, (struct slot){frames[k].data, frames[k].length},
					&used[e]);
		}
		for (unsigned e = 0; n && e < r->config->count; e++) {
			struct memif_queue *q = &r->station[e].port->link.send;
			if (!used[e])
				continue;
			q->tail = (uint16_t)(q->tail + used[e]);
			atomic_store_explicit(&q->ring->tail, q->tail, memory_order_release);
			atomic_thread_fence(memory_order_seq_cst);
			memif_queue_notify(q);
		}
		memif_port_ops.release(in);
	}
}

/* --- Set-up ----------------------------------------------------------------------------------- */

static int open_station(struct reflect *r, unsigned i, struct error *error)
{
	struct station *s = &r->station[i];
	const char *text = r->config->ports[i], *options = strchr(text, ',');
	size_t length = options ? (size_t)(options - text) : strlen(text);

	if (length >= sizeof(s->target)) {
		error_set(error, -EINVAL, "socket path too long");
		return -EINVAL;
	}
	memcpy(s->target, text, length);
	s->port = aligned_alloc(64, (sizeof(*s->port) + 63) & ~63ul);
	if (!s->port)
		return -ENOMEM;
	struct port_config config = {.target = s->target,
		.options = options ? options + 1 : NULL,
		.memory = r->memory,
		.memory_bytes = r->bytes,
		.memory_fd = r->fd,
		.buffer_bytes = r->config->buffer_bytes};
	int e = memif_port_ops.open(s->port, &config, error);
	if (e) {
		free(s->port);
		s->port = NULL;
		return e;
	}
	unsigned slots = 1u << s->port->link.config.log2_ring, first = i * 2 * r->slots;
	if (slots > r->slots)
		slots = r->slots;
	uint32_t *buffers = calloc(r->slots, sizeof(*buffers));
	s->pool.buffer = calloc((size_t)2 * r->slots * TESTER_PORTS_MAX, sizeof(uint32_t));
	s->flight = calloc((size_t)2 * r->slots, sizeof(uint32_t));
	if (!buffers || !s->pool.buffer || !s->flight) {
		free(buffers);
		return -ENOMEM;
	}
	for (unsigned k = 0; k < r->slots; k++) {
		buffers[k] = (first + k) * r->config->buffer_bytes;
		s->pool.buffer[s->pool.count++] = (first + r->slots + k) * r->config->buffer_bytes;
	}
	memif_port_ops.start(s->port, buffers, slots);
	free(buffers);
	return 0;
}

int reflect_run(const struct reflect_config *config, struct error *error)
{
	struct reflect *r = calloc(1, sizeof(*r));
	int e = -ENOMEM;

	if (!r)
		return error_set(error, -ENOMEM, "out of memory");
	r->config = config;
	r->fd = -1;
	if (!config->count || config->count > TESTER_PORTS_MAX) {
		error_set(error, -EINVAL, "1 to %u ports, not %u", TESTER_PORTS_MAX, config->count);
		free(r);
		return -EINVAL;
	}
	r->slots = SLOTS;
	/* Bursts under way are in no list; a ring's worth and theirs for every port. */
	r->bytes = (uint64_t)config->count * 2 * r->slots * r->config->buffer_bytes;
	r->fd = memfd_create("reflect", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0 || ftruncate(r->fd, (off_t)r->bytes) ||
		fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK)) {
		e = -errno;
		error_set(error, e, "no shared memory: %s", strerror(-e));
		goto out;
	}
	void *memory = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (memory == MAP_FAILED) {
		e = -errno;
		error_set(error, e, "no shared memory: %s", strerror(-e));
		goto out;
	}
	r->memory = memory;
	madvise(memory, r->bytes, MADV_HUGEPAGE);
	for (unsigned i = 0; i < config->count; i++) {
		error_set(error, -ENOMEM, "out of memory");
		e = open_station(r, i, error);
		if (e)
			goto out;
	}
	bool client = r->station[0].port->link.role == MEMIF_CLIENT;
	uint64_t next = 0;
	for (unsigned passes = 0; !atomic_load_explicit(config->stop, memory_order_relaxed);
		passes++) {
		if (client)
			pass_client(r);
		else
			pass_server(r);
		if (passes % CLOCK_EVERY)
			continue;
		uint64_t now = clock_now_ns();
		if (now < next)
			continue;
		next = now + SERVICE_NS;
		for (unsigned i = 0; i < config->count; i++)
			memif_port_ops.service(r->station[i].port);
	}
	e = 0;
out:
	for (unsigned i = 0; i < config->count; i++) {
		if (r->station[i].port)
			memif_port_ops.close(r->station[i].port);
		free(r->station[i].port);
		free(r->station[i].pool.buffer);
		free(r->station[i].flight);
	}
	if (r->memory)
		munmap(r->memory, r->bytes);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	return e;
}
