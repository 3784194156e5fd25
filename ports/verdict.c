/* SPDX-License-Identifier: BSD-3-Clause */
#include "verdict.h"

#include "common.h"
#include "ipc/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const drop_name[P2PNIC_DROP_COUNT] = {
#define NAME(symbol, name, meaning) [P2PNIC_DROP_##symbol] = (name),
	P2PNIC_DROP_REASONS(NAME)
#undef NAME
};

/* Same thread as the firmware that writes them: relaxed loads see the last burst whole. */
static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void sample(const struct p2pnic_counters *counters, struct verdict_counts *counts)
{
	counts->received = load(&counters->received.packets);
	counts->sent = load(&counters->sent.packets);
	counts->punted = load(&counters->punted.packets);
	counts->held = load(&counters->held);
	for (unsigned n = 0; n < P2PNIC_NICS_MAX; n++)
		counts->to_ring[n] = load(&counters->to_ring[n].packets);
	for (unsigned r = 0; r < P2PNIC_DROP_COUNT; r++)
		counts->dropped[r] = load(&counters->dropped[r]);
}

static bool of_ingress(unsigned reason)
{
	return reason != P2PNIC_DROP_PORT && reason != P2PNIC_DROP_BAD_DESCRIPTOR;
}

static bool has_ended(const struct verdict_counts *before, const struct verdict_counts *now)
{
	bool ended = now->punted != before->punted;

	for (unsigned n = 0; n < P2PNIC_NICS_MAX; n++)
		ended |= now->to_ring[n] != before->to_ring[n];
	for (unsigned r = 0; r < P2PNIC_DROP_COUNT; r++)
		ended |= of_ingress(r) && now->dropped[r] != before->dropped[r];
	return ended;
}

static void write_head(struct verdict *verdict, const struct verdict_frame *frame)
{
	fprintf(verdict->file, "%" PRIu64 " %" PRIu64 ".%09" PRIu64 " %" PRIu32, frame->number,
		frame->time_ns / 1000000000u, frame->time_ns % 1000000000u, frame->length);
}

static void write_tail(struct verdict *verdict, const struct verdict_frame *frame)
{
	if (frame->captured < frame->length)
		fprintf(verdict->file, " cut:%" PRIu32, frame->captured);
	fputc('\n', verdict->file);
}

static void write_fates(struct verdict *verdict, const struct verdict_counts *now)
{
	const struct verdict_counts *before = &verdict->before;
	FILE *file = verdict->file;

	write_head(verdict, &verdict->frame);
	for (unsigned n = 0; n < P2PNIC_NICS_MAX; n++)
		if (now->to_ring[n] != before->to_ring[n])
			fprintf(file, " to-nic:%u", n);
	for (unsigned r = 0; r < P2PNIC_DROP_COUNT; r++)
		if (of_ingress(r) && now->dropped[r] != before->dropped[r])
			fprintf(file, " dropped:%s", drop_name[r]);
	if (now->punted != before->punted)
		fputs(" punted", file);
	if (!has_ended(before, now))
		fputs(now->held ? " held" : now->sent != before->sent ? " sent" : " none", file);
	write_tail(verdict, &verdict->frame);
	verdict->pending = false;
}

int verdict_open(struct verdict *verdict, const char *path, const struct p2pnic_counters *counters,
	struct error *error)
{
	if (!counters)
		return error_set(
			error, -EINVAL, "verdict=%s: this NIC shows the port no counters", path);
	verdict->counters = counters;
	verdict->pending = false;
	verdict->file = fopen(path, "wxe"); /* never over what is there */
	if (!verdict->file)
		return error_set(
			error, -errno, "verdict=%s: cannot write: %s", path, strerror(errno));
	return 0;
}

bool verdict_close(struct verdict *verdict)
{
	bool whole = true;

	if (verdict->file) {
		whole = !ferror(verdict->file);
		whole &= !fclose(verdict->file);
	}
	verdict->file = NULL;
	return whole;
}

void verdict_begin(struct verdict *verdict, const struct verdict_frame *frame)
{
	verdict->frame = *frame;
	verdict->pending = true;
	verdict->since_ns = clock_now_ns();
	sample(verdict->counters, &verdict->before);
}

bool verdict_settled(struct verdict *verdict)
{
	struct verdict_counts now;

	if (!verdict->pending)
		return true;
	sample(verdict->counters, &now);
	bool sent_directly = now.sent != verdict->before.sent && !now.held;
	bool settled = now.received != verdict->before.received &&
		       (has_ended(&verdict->before, &now) || sent_directly);
	if (!settled && clock_now_ns() - verdict->since_ns < VERDICT_WAIT_NS)
		return false;
	write_fates(verdict, &now);
	return true;
}

void verdict_finish(struct verdict *verdict)
{
	struct verdict_counts now;

	if (!verdict->pending)
		return;
	sample(verdict->counters, &now);
	write_fates(verdict, &now);
}

void verdict_not_delivered(
	struct verdict *verdict, const struct verdict_frame *frame, const char *why)
{
	write_head(verdict, frame);
	fprintf(verdict->file, " not-delivered:%s", why);
	write_tail(verdict, frame);
}
