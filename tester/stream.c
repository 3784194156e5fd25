/* SPDX-License-Identifier: BSD-3-Clause */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const check_error_name[CHECK_ERRORS] = {
	"length", "foreign", "exit", "mac", "ttl", "checksum", "header", "payload"};

void stream_mac(bool tester, unsigned port, uint8_t mac[6])
{
	const uint8_t m[6] = {2, 0, 0, 0, tester, (uint8_t)port};

	memcpy(mac, m, 6);
}

void stream_payload(uint8_t payload[STREAM_FRAME_MAX + 64])
{
	for (unsigned n = 0; n < STREAM_FRAME_MAX + 64; n++)
		payload[n] = (uint8_t)(n * 7 + n / 256);
}

uint16_t stream_checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += i == 10 ? 0 : (uint32_t)(header[i] << 8 | header[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static void build_ipv4(const struct stream_config *c, unsigned k, uint8_t *b)
{
	unsigned source = k / c->exits % STREAM_SOURCES;
	uint32_t length = c->frame_bytes - STREAM_FCS;
	uint32_t destination = c->destination ? (uint32_t)c->destination[k % c->destinations]
					      : 0xc612000au | c->exit[k % c->exits] << 8;

	put16(b + 12, 0x0800);
	b[14] = 0x45;
	put16(b + 16, length - 14);
	put16(b + 18, k & 0xffff);
	put16(b + 20, 0x4000); /* don't fragment */
	b[22] = STREAM_TTL;
	b[23] = 17;
	put32(b + 26, 0xc6130000u | c->ingress << 8 | source);
	put32(b + 30, destination);
	unsigned sum = stream_checksum(b + 14);
	if (c->no_carry && sum >> 8 == 0xff) {
		put16(b + 18, (k & 0xffff) ^ 0x0800);
		sum = stream_checksum(b + 14);
	}
	put16(b + 24, sum);
	put16(b + 34, 1024 + c->ingress);
	put16(b + 36, 9); /* discard */
	put16(b + 38, length - 34);
	put16(b + STREAM_AT_SOURCE, source);
}

static void build_ipv6(const struct stream_config *c, unsigned k, uint8_t *b)
{
	put16(b + 12, 0x86dd);
	b[14] = 0x60;
	put16(b + 18, c->frame_bytes - STREAM_FCS - 54);
	b[20] = 59; /* no next header */
	b[21] = STREAM_TTL;
	put32(b + 22, 0xfd000019u);
	put16(b + 26, c->ingress);
	b[37] = (uint8_t)(k / c->exits % STREAM_SOURCES);
	uint64_t destination =
		c->destination ? c->destination[k % c->destinations]
			       : 0xfd000018ull << 32 | (uint64_t)c->exit[k % c->exits] << 16;
	put32(b + 38, (uint32_t)(destination >> 32));
	put16(b + 42, destination >> 16 & 0xffff);
}

static void build_line(const struct stream_config *c, unsigned k, uint8_t *b)
{
	uint32_t tag = STREAM_MAGIC | (uint32_t)c->series << 8 | c->ingress;

	memcpy(b, c->device_mac, 6);
	stream_mac(true, c->ingress, b + 6);
	if (c->ipv6)
		build_ipv6(c, k, b);
	else
		build_ipv4(c, k, b);
	memcpy(b + STREAM_AT_TAG, &tag, 4);
}

int stream_build(struct stream *s, const struct stream_config *c, const uint8_t *payload)
{
	unsigned period = c->exits * STREAM_SOURCES;

	if (c->destinations > period)
		period = c->destinations;
	memset(s, 0, sizeof(*s));
	s->line = aligned_alloc(64, period * sizeof(*s->line));
	s->expected = aligned_alloc(64, period * sizeof(*s->expected));
	if (!s->line || !s->expected) {
		stream_free(s);
		return -ENOMEM;
	}
	s->ingress = c->ingress;
	s->exits = c->exits;
	s->exit = c->destination ? NULL : c->exit;
	s->period = period;
	s->length = c->frame_bytes - STREAM_FCS;
	s->at_ttl = c->ipv6 ? 21 : 22;
	s->payload = payload;
	for (unsigned k = 0; k < period; k++) {
		uint8_t *b = s->line[k].byte, *e = s->expected[k].byte;
		memset(b, 0, 64);
		build_line(c, k, b);
		memcpy(b + 60, payload + 60, 4);
		memcpy(e, b, 64);
		if (c->mode == TESTER_BRIDGED)
			continue;
		memset(e, 0, 12);
		if (c->mode == TESTER_ROUTED) {
			e[s->at_ttl]--;
			if (!c->ipv6)
				put16(e + 24, stream_checksum(e + 14));
		}
	}
	return 0;
}

void stream_free(struct stream *s)
{
	free(s->line);
	free(s->expected);
	s->line = s->expected = NULL;
}
