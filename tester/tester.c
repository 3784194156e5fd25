/* SPDX-License-Identifier: BSD-3-Clause */
#include "window.h"

#include "ipc/clock.h"
#include "ports/memif.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SERVICE_SECONDS  TESTER_WINDOW /* between looks at the links' control channels */
#define PROGRESS_SECONDS 0.5
#define DRAIN_SECONDS    0.02 /* nothing received for so long: all have come that will */
#define DRAIN_MAX        2.0
#define SLIP_SECONDS     0.001
#define SETTLE_NS        250000000
#define PAUSE_SETTLE     200e-6 /* s: what a device has caught up with after a pause */

/* The TSC runs at a constant rate on anything this runs on; 20 ms measure it to 1 part in 10^5. */
static double calibrate(void)
{
	double start = clock_now_seconds(), now;
	uint64_t tick = tester_tsc();

	do
		now = clock_now_seconds();
	while (now - start < 0.02);
	return (now - start) * 1e9 / (double)(tester_tsc() - tick);
}

int tester_open(struct tester **out, const char *const *ports, unsigned n, uint32_t buffer_bytes,
	struct error *error)
{
	struct tester *t = NULL;
	int r = -EINVAL;

	if (!n || n > TESTER_PORTS_MAX)
		return error_set(
			error, -EINVAL, "a tester has 1 to %u ports, not %u", TESTER_PORTS_MAX, n);
	t = aligned_alloc(64, (sizeof(*t) + 63) & ~63ul);
	if (!t)
		return error_set(error, -ENOMEM, "out of memory");
	memset(t, 0, sizeof(*t));
	t->buffer_bytes = buffer_bytes;
	t->flow = calloc(TESTER_PORTS_MAX * TESTER_PORTS_MAX, sizeof(*t->flow));
	if (!t->flow) {
		r = error_set(error, -ENOMEM, "out of memory");
		goto fail;
	}
	t->ns_per_tick = calibrate();
	stream_payload(t->payload);
	for (; t->ports < n; t->ports++) {
		struct tester_port *p = &t->port[t->ports];
		const char *text = ports[t->ports];
		size_t length = strcspn(text, ":");
		const struct port_ops *kind = NULL;
		char name[16];

		snprintf(name, sizeof(name), "%.*s", (int)length, text);
		if (length < sizeof(name) && text[length] == ':')
			kind = port_find(name);
		if (!kind) {
			r = error_set(error, -EINVAL,
				"port %u: '%s' is no KIND:TARGET that the tester has", t->ports,
				text);
			goto fail;
		}
		p->ops = kind == &memif_port_ops ? &tester_end_memif : &tester_end_port;
		r = p->ops->open(&p->end, kind, text + length + 1, buffer_bytes, error);
		if (r)
			goto fail;
		stream_mac(false, t->ports, p->device_mac);
		stream_mac(true, t->ports, p->own_mac);
	}
	*out = t;
	return 0;
fail:
	tester_close(t);
	return r;
}

void tester_close(struct tester *t)
{
	for (unsigned i = 0; i < t->ports; i++) {
		t->port[i].ops->close(t->port[i].end);
		stream_free(&t->port[i].stream);
	}
	free(t->flow);
	free(t);
}

/* The first port whose link is down, or -1. */
static int service(struct tester *t)
{
	int down = -1;

	for (unsigned i = t->ports; i-- > 0;) {
		t->port[i].up = t->port[i].ops->service(t->port[i].end);
		if (!t->port[i].up)
			down = (int)i;
	}
	return down;
}

int tester_wait(struct tester *t, double seconds, struct error *error)
{
	double end = clock_now_seconds() + seconds;
	int down;

	/* All handshakes at once: a DPDK client that shares its own memory closes that memory's
	 * file as soon as the first of its ports has connected, and then has nothing to show for
	 * the next one. */
	for (unsigned i = 0; i < t->ports && clock_now_seconds() < end;) {
		if (t->port[i].ops->called(t->port[i].end))
			i++;
		else
			nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	while ((down = service(t)) >= 0) {
		if (clock_now_seconds() > end)
			return error_set(error, -ETIMEDOUT, "port %d: no link within %g s: %s",
				down, seconds, t->port[down].ops->trouble(t->port[down].end));
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	/* The last message of a handshake is ours; the device has yet to act on it. */
	nanosleep(&(struct timespec){.tv_nsec = SETTLE_NS}, NULL);
	down = service(t);
	if (down < 0)
		return 0;
	return error_set(error, -ECONNRESET, "port %d: the link came up and went: %s", down,
		t->port[down].ops->trouble(t->port[down].end));
}

int tester_prepare(struct tester *t, const struct tester_setup *setup, struct error *error)
{
	const uint32_t frame_max = P2PNIC_FRAME_BYTES_MAX(t->buffer_bytes) + STREAM_FCS;

	if (pattern_parse(setup->pattern, &t->pattern))
		return error_set(error, -EINVAL, "no such pattern: '%s'", setup->pattern);
	if (t->pattern.ports > t->ports)
		return error_set(error, -EINVAL, "pattern %s needs %u ports, there are %u",
			setup->pattern, t->pattern.ports, t->ports);
	if (setup->frame_bytes < STREAM_FRAME_MIN || setup->frame_bytes > frame_max)
		return error_set(error, -EINVAL,
			"frame size %u is not within %u to %u, which buffers of %u bytes hold",
			setup->frame_bytes, STREAM_FRAME_MIN, frame_max, t->buffer_bytes);
	t->mode = setup->mode;
	t->series++;
	for (unsigned i = 0; i < t->ports; i++) {
		struct tester_port *p = &t->port[i];
		stream_free(&p->stream);
		memset(&p->stream, 0, sizeof(p->stream));
		p->stream.ingress = i;
		if (!t->pattern.exits[i])
			continue;
		struct stream_config config = {
			.ingress = i,
			.series = t->series,
			.ipv6 = setup->ipv6,
			.exits = t->pattern.exits[i],
			.exit = t->pattern.exit[i],
			.destination = setup->destination,
			.destinations = setup->destinations,
			.frame_bytes = setup->frame_bytes,
			.mode = setup->mode,
			.no_carry = setup->no_carry,
		};
		memcpy(config.device_mac, p->device_mac, 6);
		if (stream_build(&p->stream, &config, t->payload))
			return error_set(error, -ENOMEM, "no memory for frames");
	}
	return 0;
}

/* --- A run ------------------------------------------------------------------------------------ */

struct run {
	struct tester *t;
	const struct tester_load *load;
	struct tester_result *result;
	uint64_t start;            /* TSC */
	uint64_t ticks_per_packet; /* 16 fractional bits; 0: closed loop */
	uint64_t burst;            /* counts bursts, for sampling */
	uint64_t late;             /* ticks by which schedules were moved */
	uint64_t paused;           /* ticks of the time counted in which distances were measured */

	struct windows windows;
	uint64_t window_start; /* TSC; in the future after a pause */
	uint64_t window_received;
	struct cores_state window_state; /* before it */
	bool window_open, window_counts, window_still;
};

static unsigned receive_all(struct run *run)
{
	struct tester *t = run->t;
	unsigned total = 0;

	for (unsigned i = 0; i < t->ports; i++) {
		struct tester_port *p = &t->port[i];
		bool check = run->load->check != TESTER_CHECK_NONE &&
			     run->burst % run->load->sample == 0;
		unsigned n = p->ops->receive(p->end, t, i, check);

		run->burst += n != 0;
		p->received += n;
		total += n;
	}
	t->received += total;
	return total;
}

static bool any_waiting(const struct tester *t)
{
	for (unsigned i = 0; i < t->ports; i++)
		if (t->port[i].ops->waiting(t->port[i].end))
			return true;
	return false;
}

/* Packets due by now; those the link does not take are gone. */
static void send_paced(struct run *run, struct tester_port *p, uint64_t limit)
{
	struct tester *t = run->t;
	uint64_t slip = (uint64_t)(SLIP_SECONDS * 1e9 / t->ns_per_tick);

	uint64_t now = t->now - run->start;

	if (p->due >> 16 > now)
		return;
	uint64_t behind = now - (p->due >> 16);
	if (behind > slip) {
		run->late += behind;
		p->due = now << 16;
		behind = 0;
	}
	uint64_t due = 1 + (behind << 16) / run->ticks_per_packet;
	unsigned n = due > TESTER_BURST ? TESTER_BURST : (unsigned)due;
	if (n > limit)
		n = (unsigned)limit;
	unsigned sent = p->ops->send(p->end, &p->stream, n, run->load->probe, t->now);
	p->due += n * run->ticks_per_packet;
	run->result->refused += n - sent;
	t->sent += sent;
}

static void send_all(struct run *run)
{
	struct tester *t = run->t;

	for (unsigned i = 0; i < t->ports; i++) {
		struct tester_port *p = &t->port[i];
		uint64_t limit =
			run->load->packets ? run->load->packets - p->stream.sent : UINT64_MAX;

		if (!p->stream.exits || !limit)
			continue;
		if (run->ticks_per_packet)
			send_paced(run, p, limit);
		else
			t->sent += p->ops->send(p->end, &p->stream,
				limit < TESTER_BURST ? (unsigned)limit : TESTER_BURST,
				run->load->probe, t->now);
	}
}

static bool all_sent(const struct tester *t, uint64_t packets)
{
	for (unsigned i = 0; i < t->ports; i++)
		if (t->port[i].stream.exits && t->port[i].stream.sent < packets)
			return false;
	return packets != 0;
}

static int prepare_run(struct run *run, struct error *error)
{
	struct tester *t = run->t;
	const struct tester_load *load = run->load;

	memset(run->result, 0, sizeof(*run->result));
	memset(&t->window, 0, sizeof(t->window));
	memset(t->flow, 0, TESTER_PORTS_MAX * TESTER_PORTS_MAX * sizeof(*t->flow));
	t->result = run->result;
	t->check = load->check;
	t->sampled = load->check == TESTER_CHECK_NONE || load->sample > 1;
	t->probing = load->probe != 0;
	t->sent = t->received = 0;
	if (load->rate > 0)
		run->ticks_per_packet = (uint64_t)(65536e9 / (load->rate * t->ns_per_tick));
	unsigned phase = 0;
	for (unsigned i = 0; i < t->ports; i++) {
		struct tester_port *p = &t->port[i];
		p->stream.sent = 0;
		p->stream.position = 0;
		p->received = 0;
		/* Ports take turns within a packet's time, as unrelated links would. */
		p->due = (p->stream.exits ? run->ticks_per_packet * phase++ / t->pattern.ingresses
					  : 0);
		int r = p->ops->prepare(p->end, &p->stream, error);
		if (r)
			return r;
	}
	return 0;
}

static void finish(struct run *run)
{
	struct tester *t = run->t;
	struct tester_result *r = run->result;
	uint64_t ours = 0;

	for (unsigned i = 0; i < TESTER_PORTS_MAX * TESTER_PORTS_MAX; i++) {
		const struct tester_flow *f = &t->flow[i];
		ours += f->sequence.received;
		r->duplicate += f->sequence.duplicate;
		r->reordered += f->reordered;
	}
	r->sent = t->sent;
	r->received = t->sampled ? t->received : ours;
	r->lost = r->sent > r->received ? r->sent - r->received : 0;
	r->late_ms = (double)run->late * t->ns_per_tick * 1e-6;
}

/* --- Windows ---------------------------------------------------------------------------------- */

static void open_window(struct run *run, bool warm)
{
	struct tester *t = run->t;

	run->window_open = t->recording = true;
	run->window_counts = warm;
	run->window_still = false;
	run->window_start = t->now;
	run->window_received = t->received;
}

/* How it is now. Schedules stand still meanwhile, and the next window opens a little later. */
static struct cores_state look(struct run *run)
{
	struct tester *t = run->t;
	uint64_t begin = tester_tsc();

	if (!run->load->cores)
		return (struct cores_state){0};
	struct cores_state state = cores_look(run->load->cores);
	t->now = tester_tsc();
	for (unsigned i = 0; i < t->ports; i++)
		t->port[i].due += (t->now - begin) << 16;
	run->paused += t->now - begin;
	run->window_start = t->now + (uint64_t)(PAUSE_SETTLE * 1e9 / t->ns_per_tick);
	return state;
}

/* A late call makes a longer window, not a higher rate. */
static void close_window(struct run *run)
{
	struct tester *t = run->t;
	double seconds = (double)(t->now - run->window_start) * t->ns_per_tick * 1e-9;
	double mpps =
		seconds > 0 ? (double)(t->received - run->window_received) / seconds * 1e-6 : 0;
	struct cores_state before = run->window_state;
	bool counts = run->window_open && run->window_counts;

	run->window_state = look(run);
	enum window_kind kind = run->window_still
					? WINDOW_SPOILT
					: window_kind_of(run->load, before, run->window_state);
	if (counts)
		windows_add(&run->windows, kind, mpps, &t->window);
	if (!run->load->cores || (counts && kind <= WINDOW_BUSY))
		histogram_add(&run->result->latency, &t->window);
	memset(&t->window, 0, sizeof(t->window));
	run->window_open = t->recording = false;
}

/* Seconds that a pass takes at most, unless the tester was interrupted in it. */
static double pass_limit(const struct tester *t)
{
	uint32_t length = 0; /* 0 of ports that do not send, the same of all others */

	for (unsigned i = 0; i < t->ports; i++)
		if (t->port[i].stream.length)
			length = t->port[i].stream.length;
	return WINDOW_STILL + (double)t->ports * TESTER_BURST * length / WINDOW_COPY_RATE;
}

int tester_run(struct tester *t, const struct tester_load *load, struct tester_result *result,
	struct error *error)
{
	struct run run = {.t = t, .load = load, .result = result};
	double ticks = 1e9 / t->ns_per_tick;
	const uint64_t still = (uint64_t)(pass_limit(t) * ticks);
	int r, down = service(t);

	if (down >= 0)
		return error_set(error, -ENOTCONN, "port %d: link is down", down);
	r = prepare_run(&run, error);
	if (r)
		return r;
	run.window_state = look(&run);
	run.paused = 0;
	uint64_t start = run.start = tester_tsc(),
		 counted = start + (uint64_t)(load->warm_up * ticks), before = 0;
	uint64_t end = start + (uint64_t)((load->warm_up + load->seconds) * ticks);
	uint64_t next_service = start, next_progress = start + (uint64_t)(PROGRESS_SECONDS * ticks);
	bool warm = load->warm_up <= 0;
	uint64_t last;

	if (warm)
		counted = start;
	t->now = start;
	open_window(&run, warm);
	for (;;) {
		uint64_t now = tester_tsc();
		run.window_still |= load->cores && now - t->now > still;
		t->now = now;
		if (!warm && t->now >= counted) {
			warm = true;
			counted = t->now;
			before = t->received;
			run.paused = 0;
		}
		if (t->now >= end || all_sent(t, load->packets) ||
			(load->near_windows && run.windows.near.count >= load->near_windows))
			break;
		if (!run.window_open && t->now >= run.window_start)
			open_window(&run, warm);
		receive_all(&run);
		send_all(&run);
		if (__builtin_expect(t->now >= next_service, 0)) {
			uint64_t paused = run.paused;
			close_window(&run);
			next_service = t->now + (uint64_t)(SERVICE_SECONDS * ticks);
			end += run.paused - paused;
			down = service(t);
			if (down >= 0)
				return error_set(
					error, -ECONNRESET, "port %d: the link went down", down);
			if (load->progress && t->now >= next_progress) {
				next_progress += (uint64_t)(PROGRESS_SECONDS * ticks);
				load->progress(load->context, t, (double)(t->now - start) / ticks);
			}
		}
	}
	last = t->now;
	t->recording = !load->cores;
	uint64_t in_time = t->received;
	/* What is still under way; it counts for loss, and for throughput only if packets ended the
	 * run. A device that its host lets stand still has not taken all yet. */
	for (uint64_t quiet = last; t->now - quiet < (uint64_t)(DRAIN_SECONDS * ticks) &&
				    t->now - last < (uint64_t)(DRAIN_MAX * ticks);
		t->now = tester_tsc())
		if (receive_all(&run) || any_waiting(t))
			quiet = t->now;
	if (load->packets)
		in_time = t->received;
	result->seconds = (double)(last - counted - run.paused) / ticks;
	if (result->seconds > 0)
		result->mpps = (double)(in_time - before) / result->seconds * 1e-6;
	for (unsigned i = 0; i < t->ports; i++)
		if (t->port[i].stream.exits) {
			result->gbps =
				result->mpps * (t->port[i].stream.length + STREAM_FCS) * 8e-3;
			break;
		}
	if (!load->cores)
		histogram_add(&result->latency, &t->window);
	windows_report(&run.windows, result);
	finish(&run);
	return 0;
}

uint64_t tester_errors(const struct tester_result *r)
{
	uint64_t n = r->reordered + r->duplicate;

	for (unsigned i = 0; i < CHECK_ERRORS; i++)
		n += i == CHECK_FOREIGN ? 0 : r->error[i];
	return n;
}
