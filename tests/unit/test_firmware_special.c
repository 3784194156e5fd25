/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses that are never forwarded: every block of p2pnic/special.h, and every block of the
 * registries as firmware_model.c lists them, as source and as destination, by its first, middle and
 * last address and the two just outside, alone and among fifteen ordinary packets, under three
 * tables. And sources that the host lists.
 */
#include "tests/unit/firmware_model.h"

#include "firmware/header.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct any_address {
	uint8_t octet[16];
};

struct block {
	struct any_address prefix;
	unsigned length;
};

struct family {
	bool six;
	struct block block[128];
	unsigned blocks;
};

static unsigned bits_of(const struct family *f)
{
	return f->six ? 128 : 32;
}

static uint64_t half(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)(v >> 32));
	put32(p + 4, (uint32_t)v);
}

static void blocks4(struct family *f)
{
	*f = (struct family){.six = false};
#define ROW(address, bits, special, rfc)                                                           \
	put32(f->block[f->blocks].prefix.octet, address);                                          \
	f->block[f->blocks++].length = (bits);
	P2PNIC_SPECIAL_IPV4(ROW)
#undef ROW
	for (unsigned k = 0; k < model_blocks4; k++) {
		inet_pton(AF_INET, model_block4[k].prefix, f->block[f->blocks].prefix.octet);
		f->block[f->blocks++].length = model_block4[k].length;
	}
}

static void blocks6(struct family *f)
{
	*f = (struct family){.six = true};
#define ROW(first, second, bits, special, rfc)                                                     \
	put64(f->block[f->blocks].prefix.octet, first);                                            \
	put64(f->block[f->blocks].prefix.octet + 8, second);                                       \
	f->block[f->blocks++].length = (bits);
	P2PNIC_SPECIAL_IPV6(ROW)
#undef ROW
	for (unsigned k = 0; k < model_blocks6; k++) {
		inet_pton(AF_INET6, model_block6[k].prefix, f->block[f->blocks].prefix.octet);
		f->block[f->blocks++].length = model_block6[k].length;
	}
}

/* One more (step 1) or less (step 255), as a number; it wraps. */
static void step_by(struct any_address *a, unsigned bytes, uint8_t step)
{
	for (unsigned k = bytes; k-- > 0;) {
		a->octet[k] = (uint8_t)(a->octet[k] + step);
		if (a->octet[k] != (step == 1 ? 0 : 255))
			break;
	}
}

/* First, middle, last, and those just outside. */
static void probes_of(const struct family *f, const struct block *b, struct any_address probe[5])
{
	unsigned bytes = bits_of(f) / 8;

	probe[0] = probe[1] = probe[2] = b->prefix;
	for (unsigned bit = b->length; bit < bits_of(f); bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);

		probe[2].octet[bit / 8] |= mask;
		if (bit == b->length || bit % 3 == 0)
			probe[1].octet[bit / 8] |= mask;
	}
	probe[3] = probe[0];
	step_by(&probe[3], bytes, 255);
	probe[4] = probe[2];
	step_by(&probe[4], bytes, 1);
}

static bool all_zero(const uint8_t *p, unsigned bytes)
{
	return bytes == 0 || (p[0] == 0 && all_zero(p + 1, bytes - 1));
}

/* Not even from or to an address of the router. */
static bool never(const uint8_t *a, bool six)
{
	if (!six)
		return a[0] == 0 || a[0] == 127;
	return (all_zero(a, 15) && a[15] < 2) || (all_zero(a, 10) && get16(a + 10) == 0xffff);
}

static bool group(const uint8_t *a, bool six)
{
	return six ? a[0] == 0xff : (a[0] & 0xf0) == 0xe0 || get32(a) == 0xffffffff;
}

static bool link_local6(const uint8_t *a, bool six)
{
	return six && (get16(a) & 0xffc0) == 0xfe80;
}

#define FORWARDED P2PNIC_DROP_COUNT

/* What becomes of a packet whose one address is `a` and whose other is an ordinary one. */
static enum p2pnic_drop fate(const uint8_t *a, bool six, bool is_source)
{
	enum p2pnic_drop martian =
		is_source ? P2PNIC_DROP_MARTIAN_SOURCE : P2PNIC_DROP_MARTIAN_DESTINATION;

	if (never(a, six))
		return martian;
	if (group(a, six))
		return is_source ? martian : P2PNIC_DROP_LINK_SCOPE;
	if (link_local6(a, six))
		return P2PNIC_DROP_LINK_SCOPE;
	return model_forwardable(a, six) ? FORWARDED : martian;
}

static void make(
	struct packet *p, const struct family *f, const uint8_t *source, const uint8_t *destination)
{
	unsigned bytes = bits_of(f) / 8;
	uint8_t *ip = p->bytes + 14;

	if (f->six) {
		packet_ipv6(p, 0, PACKET_TO6(1), 64, 20, 1);
	} else {
		packet_ipv4(p, 0, PACKET_TO(1), 64, 20, 1);
	}
	if (source)
		memcpy(ip + (f->six ? 8 : 12), source, bytes);
	if (destination)
		memcpy(ip + (f->six ? 24 : 16), destination, bytes);
	if (!f->six)
		packet_checksum(p);
}

static unsigned sent_by(struct rig *r, unsigned egress)
{
	struct packet *p;
	unsigned n = 0;

	for (; (p = rig_sent(r, egress)); n++)
		free(p);
	return n;
}

static void must_be(
	struct rig *r, const struct packet *p, enum p2pnic_drop reason, const char *what)
{
	struct packet ordinary;
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
	bool six = p->bytes[14] >> 4 == 6;

	inet_ntop(six ? AF_INET6 : AF_INET, p->bytes + (six ? 22 : 26), source, sizeof(source));
	inet_ntop(six ? AF_INET6 : AF_INET, p->bytes + (six ? 38 : 30), destination,
		sizeof(destination));
	packet_ipv4(&ordinary, 0, PACKET_TO(1), 64, 20, 2);
	for (unsigned others = 0; others < 16; others += 15) {
		uint64_t before = reason == FORWARDED ? 0 : rig_drops(r, 0, reason);
		uint64_t all = rig_all_drops(r, 0);
		unsigned sent;

		for (unsigned k = 0; k < others; k++) {
			if (k == 7)
				rig_receive(r, 0, p);
			rig_receive(r, 0, &ordinary);
		}
		if (!others)
			rig_receive(r, 0, p);
		rig_run(r);
		sent = sent_by(r, 1);
		if (sent != others + (reason == FORWARDED))
			fail_msg("%s to %s, %s: %u packets left", source, destination, what, sent);
		if (reason != FORWARDED && rig_drops(r, 0, reason) != before + 1)
			fail_msg("%s to %s, %s: not dropped for %u", source, destination, what,
				reason);
		assert_int_equal(rig_all_drops(r, 0), all + (reason != FORWARDED));
	}
}

static void drops_alone(struct rig *r, const struct packet *p, enum p2pnic_drop reason)
{
	uint64_t before = rig_drops(r, 0, reason), all = rig_all_drops(r, 0);

	rig_receive(r, 0, p);
	rig_run(r);
	assert_int_equal(sent_by(r, 1), 0);
	assert_int_equal(rig_drops(r, 0, reason), before + 1);
	assert_int_equal(rig_all_drops(r, 0), all + 1);
}

static void load(struct rig *r, const struct family *f, const struct fib_route *route, size_t n)
{
	if (f->six)
		rig_routes6(r, 0, route, n);
	else
		rig_routes4(r, 0, route, n);
}

static struct fib_route route_to(
	const struct family *f, const struct any_address *a, unsigned length, unsigned hop)
{
	struct any_address prefix = *a;
	struct fib_route route = {
		.length = (uint8_t)length, .family = f->six ? 6 : 4, .next_hop = (uint16_t)hop};

	for (unsigned bit = length; bit < 128; bit++)
		prefix.octet[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	route.prefix.high = half(prefix.octet);
	route.prefix.low = half(prefix.octet + 8);
	return route;
}

/* Under `n` routes, the last of which may be a host route to the probe. */
static void look(struct rig *r, const struct family *f, const struct any_address *probe,
	const struct fib_route *route, size_t n, const char *what)
{
	struct packet p;

	load(r, f, route, n);
	make(&p, f, probe->octet, NULL);
	must_be(r, &p, fate(probe->octet, f->six, true), what);
	make(&p, f, NULL, probe->octet);
	must_be(r, &p, fate(probe->octet, f->six, false), what);
}

static void one_probe(struct rig *r, const struct family *f, const struct block *b,
	const struct any_address *probe)
{
	const struct any_address none = {{0}};
	const unsigned whole = bits_of(f), longer = b->length + (b->length < whole);
	const unsigned out = RIG_HOP_EGRESS + 1;
	struct any_address ordinary = {{10, 1, 0, 1}};
	enum p2pnic_drop as_source = fate(probe->octet, f->six, true);
	enum p2pnic_drop as_destination = fate(probe->octet, f->six, false);
	struct packet p;

	if (f->six)
		ordinary = (struct any_address){{0xfd, 0, 0x0d, 0xb8, 0, 1, [15] = 1}};
	struct fib_route route[] = {
		route_to(f, &none, 0, out),
		route_to(f, &ordinary, whole, out),
		route_to(f, probe, longer, out),
		route_to(f, probe, whole, out),
	};

	look(r, f, probe, route, 2, "by the default route");
	look(r, f, probe, route, 4, "by routes of its own");
	/* A connected network, and in it a neighbour. */
	route[2] = route_to(f, probe, b->length, RIG_HOP_GLEAN);
	look(r, f, probe, route, 4, "on a connected network");
	/* An address of this router: to it, and from it to another. */
	route[3].next_hop = RIG_HOP_LOCAL;
	load(r, f, route, 4);
	make(&p, f, NULL, probe->octet);
	if (!never(probe->octet, f->six) && as_destination != P2PNIC_DROP_LINK_SCOPE)
		as_destination = P2PNIC_DROP_LOCAL;
	must_be(r, &p, as_destination, "an address of this router");
	/* To an ordinary address of this router. */
	route[1].next_hop = RIG_HOP_LOCAL;
	load(r, f, route, 2);
	make(&p, f, probe->octet, NULL);
	if (!never(probe->octet, f->six) && !group(probe->octet, f->six) &&
		as_source != P2PNIC_DROP_LINK_SCOPE)
		as_source = P2PNIC_DROP_LOCAL;
	drops_alone(r, &p, as_source);
}

static void each_block(const struct family *f)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});

	for (unsigned k = 0; k < f->blocks; k++) {
		struct any_address probe[5];

		probes_of(f, &f->block[k], probe);
		for (unsigned j = 0; j < 5; j++)
			one_probe(r, f, &f->block[k], &probe[j]);
	}
	rig_check(r);
	rig_free(r);
}

static void every_ipv4_block(void **state)
{
	struct family f;

	blocks4(&f);
	each_block(&f);
}

static void every_ipv6_block(void **state)
{
	struct family f;

	blocks6(&f);
	each_block(&f);
}

/* The contract's table and the registry agree, address by address, and the quick look misses none
 * of either. */
static void the_table_is_the_registry(void **state)
{
	struct family f;

	for (unsigned k = 0; k < 1u << 24; k++) {
		for (unsigned edge = 0; edge < 2; edge++) {
			uint32_t a = k << 8 | (edge ? 255 : 0);
			enum p2pnic_special special = p2pnic_special_ipv4(a);
			uint8_t octet[4];

			if (special && !ipv4_suspect(swap32(a) & 0xffff))
				fail_msg("%08x is not suspected", a);
			if (k % 65536 < 300 || (k & 0xff00) == 0xfe00 || k % 251 == 0 ||
				k >> 8 == 0xc633 || k >> 8 == 0xcb00) {
				put32(octet, a);
				if ((special == P2PNIC_SPECIAL_FORWARD) !=
					(model_forwardable(octet, false) && !group(octet, false)))
					fail_msg("%08x", a);
			}
		}
	}
	blocks6(&f);
	for (unsigned k = 0; k < f.blocks; k++) {
		struct any_address probe[5];

		probes_of(&f, &f.block[k], probe);
		for (unsigned j = 0; j < 5; j++) {
			struct fib_ipv6 a = {half(probe[j].octet), half(probe[j].octet + 8)};
			bool special = p2pnic_special_ipv6(a) != P2PNIC_SPECIAL_FORWARD;

			assert_int_equal(special, !model_forwardable(probe[j].octet, true) ||
							  group(probe[j].octet, true));
			assert_true(!special || ipv6_suspect(a.high));
		}
	}
}

/* Without a table no address is the router's. */
static void without_tables(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	for (unsigned six = 0; six < 2; six++) {
		const struct family f = {.six = six};
		const uint8_t link[16] = {169, 254, 1, 1}, paper[16] = {0x20, 0x01, 0x0d, 0xb8};

		nic_register_write(
			r->at[0].nic, six ? P2PNIC_REG_FIB6_OFFSET : P2PNIC_REG_FIB4_OFFSET, 0);
		assert_int_equal(
			rig_command(r, 0, six ? P2PNIC_OP_FIB_IPV6 : P2PNIC_OP_FIB_IPV4, 0),
			P2PNIC_OK);
		make(&p, &f, six ? paper : link, NULL);
		drops_alone(r, &p, P2PNIC_DROP_MARTIAN_SOURCE);
		make(&p, &f, NULL, six ? paper : link);
		drops_alone(r, &p, P2PNIC_DROP_MARTIAN_DESTINATION);
	}
	rig_check(r);
	rig_free(r);
}

/* --- Sources that the host lists -------------------------------------------------------------- */

static void from(struct rig *r, uint32_t source, enum p2pnic_drop reason)
{
	uint8_t octet[4];
	struct packet p;

	put32(octet, source);
	make(&p, &(struct family){.six = false}, octet, NULL);
	must_be(r, &p, reason, "by the list");
}

static void listed_sources(void **state)
{
	static const uint32_t counts[] = {1, 2, 16, 17, 33, 200, P2PNIC_SOURCES_MAX};
	struct rig *r = rig_new(2, &(struct rig_config){0});
	static uint32_t address[P2PNIC_SOURCES_MAX];

	from(r, 0x0a0000ff, FORWARDED);
	for (unsigned c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		uint32_t n = counts[c];

		/* 10.x.y.255 and 10.x.y.1, as a router has them. */
		for (uint32_t k = 0; k < n; k++)
			address[k] = 0x0a000000 | (k / 2 * 37) << 8 | (k % 2 ? 1 : 255);
		assert_int_equal(rig_sources(r, 0, address, n), P2PNIC_OK);
		for (uint32_t k = 0; k < n; k++) {
			from(r, address[k], P2PNIC_DROP_MARTIAN_SOURCE);
			from(r, address[k] - 2, FORWARDED);
			from(r, address[k] ^ 0x00800000, FORWARDED);
		}
	}
	/* What is refused leaves what was there. */
	assert_int_equal(rig_sources(r, 0, address, P2PNIC_SOURCES_MAX + 1), P2PNIC_BAD_ARGUMENT);
	from(r, address[5], P2PNIC_DROP_MARTIAN_SOURCE);
	for (uint32_t k = 0; k < P2PNIC_SOURCES_MAX; k++)
		address[k] = 0x0a0000ff; /* too many for any column */
	assert_int_equal(rig_sources(r, 0, address, P2PNIC_SOURCES_MAX), P2PNIC_BAD_ARGUMENT);
	from(r, 0x0a000001, P2PNIC_DROP_MARTIAN_SOURCE);
	assert_int_equal(rig_sources(r, 0, address, 0), P2PNIC_OK);
	from(r, 0x0a0000ff, FORWARDED);
	from(r, 0x0a000001, FORWARDED);
	/* Nor does a reset keep it. */
	address[0] = 0x0a0000ff;
	assert_int_equal(rig_sources(r, 0, address, 1), P2PNIC_OK);
	from(r, 0x0a0000ff, P2PNIC_DROP_MARTIAN_SOURCE);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_RESET, 0), P2PNIC_OK);
	assert_int_equal(r->at[0].nic->sources.rows, 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_the_registry),
		cmocka_unit_test(every_ipv4_block),
		cmocka_unit_test(every_ipv6_block),
		cmocka_unit_test(without_tables),
		cmocka_unit_test(listed_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
