/* SPDX-License-Identifier: BSD-3-Clause */
#include "tester.h"

#include <string.h>

static inline uint64_t word(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, 8);
	return value;
}

/* Which part of a header that is not as expected is wrong: the first of these. */
static enum check_error classify(
	const struct stream *s, const uint8_t *data, const uint8_t *expected)
{
	const bool ipv4 = s->at_ttl == 22;

	if (data[s->at_ttl] != expected[s->at_ttl])
		return CHECK_TTL;
	if (ipv4 && memcmp(data + 24, expected + 24, 2) != 0)
		return CHECK_CHECKSUM;
	return CHECK_HEADER;
}

static void track(struct tester *t, const struct stream *s, unsigned port, uint64_t number)
{
	unsigned k = s->exit ? (unsigned)(number % s->exits) : 0;
	struct tester_flow *flow = &t->flow[s->ingress * TESTER_PORTS_MAX + k];

	/* Packets of one flow that leave by one exit must do so in order. With exits chosen by the
	 * table, those of different exits have no order among themselves. */
	bool late = number < flow->last[port];
	uint64_t duplicates = flow->sequence.duplicate;

	if (!late)
		flow->last[port] = number + 1;
	if (!t->sampled)
		sequence_note(&flow->sequence, s->exit ? number / s->exits : number);
	flow->reordered += late && flow->sequence.duplicate == duplicates;
}

void tester_check_frame(struct tester *t, unsigned port, const uint8_t *data, uint32_t length)
{
	struct tester_result *r = t->result;
	uint32_t tag, sequence;

	memcpy(&tag, data + STREAM_AT_TAG, 4);
	memcpy(&sequence, data + STREAM_AT_SEQUENCE, 4);
	unsigned ingress = tag & 0xff;
	if (length < STREAM_FRAME_MIN - STREAM_FCS || length > STREAM_FRAME_MAX - STREAM_FCS ||
		(tag & ~0xffu) != (STREAM_MAGIC | (uint32_t)t->series << 8) ||
		ingress >= t->ports) {
		r->error[CHECK_FOREIGN]++;
		return;
	}
	const struct stream *s = &t->port[ingress].stream;
	uint32_t back = (uint32_t)s->sent - sequence;
	if (!back || back > s->sent) { /* never sent in this run */
		r->error[CHECK_FOREIGN]++;
		return;
	}
	r->checked++;
	uint64_t number = s->sent - back;
	unsigned k = (unsigned)(number % s->period);
	const uint8_t *expected = s->expected[k].byte;
	const uint8_t *mac = t->mode == TESTER_BRIDGED ? expected : t->port[port].own_mac;

	if (length != s->length)
		r->error[CHECK_LENGTH]++;
	/* own_mac and device_mac follow each other as in a frame. */
	else if ((word(data) ^ word(mac)) | ((uint32_t)word(data + 8) ^ (uint32_t)word(mac + 8)))
		r->error[CHECK_MAC]++;
	else if ((word(data + 12) ^ word(expected + 12)) | (word(data + 20) ^ word(expected + 20)) |
		 (word(data + 28) ^ word(expected + 28)) | (word(data + 36) ^ word(expected + 36)))
		r->error[classify(s, data, expected)]++;
	else if (t->check == TESTER_CHECK_FULL && length > 60 &&
		 memcmp(data + 60, s->payload + 60, length - 60) != 0)
		r->error[CHECK_PAYLOAD]++;
	else if (s->exit && s->exit[k % s->exits] != port)
		r->error[CHECK_EXIT]++;
	track(t, s, port, number);
	if (t->probing) {
		uint64_t stamp = word(data + STREAM_AT_STAMP);
		if (stamp && t->now > stamp && t->recording)
			histogram_record(
				&t->window, (uint64_t)((double)(t->now - stamp) * t->ns_per_tick));
	}
}
