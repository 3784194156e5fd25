/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tester's end of any other link, through the port interface (ports/port.h). Frames are written
 * whole into buffers of the tester's own packet memory.
 */
#include "tester.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFERS 2048u /* to receive into, and as many to send from */

struct end_port {
	void *port;
	const struct port_ops *ops;
	uint8_t *memory;
	uint64_t bytes;
	uint32_t buffer_bytes;
	int fd;
	char target[256];
	char options[256];
	unsigned head, tail; /* of buffers to send from; [tail, head) are under way */
	uint64_t failed;
	struct error fault;
};

static void close_end(void *opaque)
{
	struct end_port *e = opaque;

	if (e->port)
		e->ops->close(e->port);
	free(e->port);
	if (e->memory)
		munmap(e->memory, e->bytes);
	if (e->fd >= 0)
		close(e->fd);
	free(e);
}

/* Options begin at the first item of the form key=value: a target may have commas of its own. */
static int split(struct end_port *e, const char *text, struct error *error)
{
	size_t length = strlen(text);

	for (const char *comma = strchr(text, ','); comma; comma = strchr(comma + 1, ',')) {
		size_t item = strcspn(comma + 1, ",");
		if (memchr(comma + 1, '=', item)) {
			length = (size_t)(comma - text);
			break;
		}
	}
	if (length >= sizeof(e->target) || strlen(text + length) >= sizeof(e->options))
		return error_set(
			error, -EINVAL, "port name of %zu characters is too long", strlen(text));
	memcpy(e->target, text, length);
	snprintf(e->options, sizeof(e->options), "%s", text[length] ? text + length + 1 : "");
	return 0;
}

static int open_memory(struct end_port *e, struct error *error)
{
	void *memory = MAP_FAILED;

	e->bytes = 2ull * BUFFERS * e->buffer_bytes;
	e->fd = memfd_create("tester", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (e->fd >= 0 && !ftruncate(e->fd, (off_t)e->bytes) &&
		!fcntl(e->fd, F_ADD_SEALS, F_SEAL_SHRINK))
		memory = mmap(NULL, e->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, 0);
	if (memory == MAP_FAILED) {
		int code = -errno;
		return error_set(error, code, "no shared memory: %s", strerror(errno));
	}
	e->memory = memory;
	return 0;
}

static int open_end(void **end, const struct port_ops *kind, const char *text,
	uint32_t buffer_bytes, struct error *error)
{
	uint32_t buffers[BUFFERS];
	struct end_port *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	error_set(error, r, "out of memory");
	if (!e)
		return r;
	e->fd = -1;
	e->ops = kind;
	e->buffer_bytes = buffer_bytes;
	r = split(e, text, error);
	if (!r)
		r = open_memory(e, error);
	if (r)
		goto fail;
	size_t bytes = (e->ops->bytes + 63) & ~63ul;
	e->port = aligned_alloc(64, bytes);
	if (!e->port) {
		r = -ENOMEM;
		goto fail;
	}
	memset(e->port, 0, bytes);
	struct port_config config = {.target = e->target,
		.options = e->options[0] ? e->options : NULL,
		.memory = e->memory,
		.memory_bytes = e->bytes,
		.memory_fd = e->fd,
		.buffer_bytes = e->buffer_bytes};
	r = e->ops->open(e->port, &config, error);
	if (r) {
		free(e->port);
		e->port = NULL;
		goto fail;
	}
	for (uint32_t i = 0; i < BUFFERS; i++)
		buffers[i] = i * e->buffer_bytes;
	r = e->ops->start(e->port, buffers, BUFFERS);
	if (r < 0) {
		error_set(error, r, "%s does not start: %s", e->target, strerror(-r));
		goto fail;
	}
	*end = e;
	return 0;
fail:
	close_end(e);
	return r;
}

static bool service(void *opaque)
{
	struct end_port *e = opaque;
	struct port_info info = {0};

	if (e->ops->service)
		e->ops->service(e->port);
	e->ops->info(e->port, &info);
	return info.link;
}

static bool called(void *opaque)
{
	return true;
}

static const char *trouble(void *opaque)
{
	struct end_port *e = opaque;
	struct port_info info = {0};

	e->ops->info(e->port, &info);
	error_set(&e->fault, 0, "%s", info.fault.text[0] ? info.fault.text : "no carrier");
	return e->fault.text;
}

static int prepare(void *opaque, const struct stream *s, struct error *error)
{
	return 0;
}

static unsigned send_burst(
	void *opaque, struct stream *s, unsigned n, unsigned probe, uint64_t stamp)
{
	struct end_port *e = opaque;
	struct p2pnic_descriptor frames[TESTER_BURST];
	unsigned room, k = s->position;

	e->tail += e->ops->transmitted(e->port, &e->failed);
	room = BUFFERS - (e->head - e->tail);
	if (n > room)
		n = room;
	if (n > TESTER_BURST)
		n = TESTER_BURST;
	for (unsigned i = 0; i < n; i++) {
		uint32_t offset = (BUFFERS + (e->head + i) % BUFFERS) * e->buffer_bytes;
		uint8_t *to = e->memory + offset;
		uint32_t sequence = (uint32_t)(s->sent + i);
		uint64_t value = probe && !((s->sent + i) & (probe - 1)) ? stamp : 0;

		memcpy(to, s->line[k].byte, 64);
		memcpy(to + STREAM_AT_SEQUENCE, &sequence, 4);
		memcpy(to + STREAM_AT_STAMP, &value, 8);
		if (s->length > 64)
			memcpy(to + 64, s->payload + 64, s->length - 64);
		frames[i] =
			(struct p2pnic_descriptor){.offset = offset, .length = (uint16_t)s->length};
		k = k + 1 == s->period ? 0 : k + 1;
	}
	unsigned sent = n ? e->ops->transmit(e->port, frames, n) : 0;
	port_flush_and_notify(e->ops, e->port);
	e->head += sent;
	s->sent += sent;
	s->position = (s->position + sent) % s->period;
	return sent;
}

static unsigned receive(void *opaque, struct tester *t, unsigned port, bool check)
{
	struct end_port *e = opaque;
	struct frame frames[P2PNIC_BURST_MAX];
	unsigned n = e->ops->receive(e->port, frames, P2PNIC_BURST_MAX);

	for (unsigned i = 0; check && i < n; i++)
		tester_check_frame(t, port, frames[i].data, frames[i].length);
	e->ops->release(e->port);
	return n;
}

/* Frames are copied into the port: nothing that prepare changes is under way. */
static unsigned waiting(void *opaque)
{
	return 0;
}

const struct tester_end_ops tester_end_port = {
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
