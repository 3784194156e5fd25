/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of one frame: RFC 1812, RFC 8200, RFC 1624, ECMP, punt. Run for each transfer
 * method. */
#include "tests/unit/firmware_rig.h"

#include "firmware/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FORWARDED P2PNIC_DROP_COUNT

static bool expect_packet(const struct packet *got, const struct packet *want)
{
	if (got->length == want->length && !memcmp(got->bytes, want->bytes, got->length))
		return true;
	fprintf(stderr, "got %u bytes, want %u\n", got->length, want->length);
	for (unsigned k = 0; k < got->length && k < want->length; k++)
		if (got->bytes[k] != want->bytes[k]) {
			fprintf(stderr, "byte %u: got %02x, want %02x\n", k, got->bytes[k],
				want->bytes[k]);
			break;
		}
	return false;
}

/* Gives `p` to NIC 0: it must leave by `egress` as a naive router would send it. */
static void forwards(struct rig *r, const struct packet *p, unsigned egress)
{
	struct packet want = *p, *got;

	packet_forwarded(&want, 0, egress);
	rig_receive(r, 0, p);
	rig_run(r);
	got = rig_sent(r, egress);
	assert_non_null(got);
	assert_true(expect_packet(got, &want));
	free(got);
	for (unsigned nic = 0; nic < r->nics; nic++)
		assert_null(rig_sent(r, nic));
	rig_check(r);
}

static void drops(struct rig *r, const struct packet *p, enum p2pnic_drop reason)
{
	uint64_t before = rig_drops(r, 0, reason), all = rig_all_drops(r, 0);

	rig_receive(r, 0, p);
	rig_run(r);
	if (rig_drops(r, 0, reason) != before + 1)
		for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++)
			if (rig_drops(r, 0, k))
				print_error("drops for reason %u: %u\n", k,
					(unsigned)rig_drops(r, 0, k));
	assert_int_equal(rig_drops(r, 0, reason), before + 1);
	assert_int_equal(rig_all_drops(r, 0), all + 1);
	for (unsigned nic = 0; nic < r->nics; nic++)
		assert_null(rig_sent(r, nic));
	rig_check(r);
}

/* To the host, whole and unchanged but for Ethernet padding, with the reason. */
static void punts(struct rig *r, const struct packet *p, enum p2pnic_drop reason, uint32_t length)
{
	struct packet got;
	uint16_t flags;

	rig_receive(r, 0, p);
	rig_run(r);
	assert_true(rig_punted(r, 0, &got, &flags));
	assert_int_equal(flags, reason);
	assert_int_equal(got.length, length);
	assert_memory_equal(got.bytes, p->bytes, length);
	assert_false(rig_punted(r, 0, &got, &flags));
	for (unsigned nic = 0; nic < r->nics; nic++)
		assert_null(rig_sent(r, nic));
	rig_check(r);
}

/* --- IPv4 ------------------------------------------------------------------------------------- */

static void ipv4_is_forwarded(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	static const uint32_t payload[] = {0, 1, 3, 4, 18, 19, 100, 1000, 1023, 1024, 1471, 1736};
	static const uint8_t ttl[] = {2, 3, 64, 128, 255};
	struct packet p;

	for (unsigned egress = 0; egress < 3; egress++) /* 0: it leaves where it came in */
		for (unsigned t = 0; t < sizeof(ttl); t++)
			for (unsigned k = 0; k < sizeof(payload) / sizeof(*payload); k++) {
				packet_ipv4(
					&p, 0, PACKET_TO(egress), ttl[t], payload[k], t * 50 + k);
				forwards(r, &p, egress);
			}
	rig_free(r);
}

static void padding_is_trimmed(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 64, 4, 1);
	memset(p.bytes + p.length, 0x77, 60 - p.length);
	p.length = 60;
	forwards(r, &p, 1);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 900, 2);
	p.length += 300;
	forwards(r, &p, 1);
	/* An IP packet of its header alone. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 0, 3);
	put16(p.bytes + 16, 20);
	packet_checksum(&p);
	p.length = 60;
	forwards(r, &p, 1);
	rig_free(r);
}

struct malformed {
	const char *what;
	unsigned at; /* byte of the frame to change, after the checksum was made if `late` */
	uint8_t value;
	bool late;
	uint32_t length; /* of the frame; 0: as it is */
	enum p2pnic_drop reason;
};

static void malformed_ipv4_is_dropped(void **state)
{
	static const struct malformed table[] = {
		{"checksum", 24, 0x99, true, 0, P2PNIC_DROP_CHECKSUM},
		{"a changed TTL", 22, 63, true, 0, P2PNIC_DROP_CHECKSUM},
		{"version 6", 14, 0x65, false, 0, P2PNIC_DROP_VERSION},
		{"version 0", 14, 0x05, false, 0, P2PNIC_DROP_VERSION},
		{"IHL 4", 14, 0x44, false, 0, P2PNIC_DROP_HEADER_LENGTH},
		{"IHL 0", 14, 0x40, false, 0, P2PNIC_DROP_HEADER_LENGTH},
		{"IHL 15, total length 15 words less one byte", 14, 0x4f, false, 73,
			P2PNIC_DROP_TOTAL_LENGTH},
		{"total length 19", 17, 19, false, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"total length 0", 17, 0, false, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"total length one above the frame", 17, 29 + 40, false, 0,
			P2PNIC_DROP_TOTAL_LENGTH},
		{"total length far above the frame", 16, 0xff, false, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"33 bytes", 14, 0x45, false, 33, P2PNIC_DROP_RUNT},
		{"14 bytes", 14, 0x45, false, 14, P2PNIC_DROP_RUNT},
		{"13 bytes", 14, 0x45, false, 13, P2PNIC_DROP_RUNT},
		{"1 byte", 14, 0x45, false, 1, P2PNIC_DROP_RUNT},
		{"foreign MAC", 5, 0x77, true, 0, P2PNIC_DROP_FOREIGN_MAC},
		{"foreign MAC, first octet", 0, 0x06, true, 0, P2PNIC_DROP_FOREIGN_MAC},
		{"group MAC", 0, 0x03, true, 0, P2PNIC_DROP_LINK_SCOPE},
		{"ARP", 13, 0x06, true, 0, P2PNIC_DROP_ETHERTYPE},
		{"VLAN tag", 12, 0x81, true, 0, P2PNIC_DROP_ETHERTYPE},
		{"source 0/8", 26, 0, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source 127/8", 26, 127, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source 224/4", 26, 224, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source 239/8", 26, 239, false, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"destination 0/8", 30, 0, false, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"destination 127/8", 30, 127, false, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"destination 224/8", 30, 224, false, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination 239/8", 30, 239, false, 0, P2PNIC_DROP_LINK_SCOPE},
		{"TTL 1", 22, 1, false, 0, P2PNIC_DROP_TTL},
		{"TTL 0", 22, 0, false, 0, P2PNIC_DROP_TTL},
		{"no route", 30, 99, false, 0, P2PNIC_DROP_NO_ROUTE},
	};
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	for (size_t k = 0; k < sizeof(table) / sizeof(*table); k++) {
		packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, (uint32_t)k);
		p.bytes[table[k].at] = table[k].value;
		if (!table[k].late && (p.bytes[14] & 15) >= 5)
			packet_checksum(&p);
		if (table[k].length)
			p.length = table[k].length;
		print_message("         %s\n", table[k].what);
		drops(r, &p, table[k].reason);
	}
	packet_ipv4(&p, 0, 0xffffffff, 64, 40, 0);
	drops(r, &p, P2PNIC_DROP_LINK_SCOPE);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 0);
	put32(p.bytes + 26, 0xffffffff);
	packet_checksum(&p);
	drops(r, &p, P2PNIC_DROP_MARTIAN_SOURCE);
	/* A unicast packet in a broadcast frame (RFC 1812 §5.3.4). */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 0);
	memset(p.bytes, 0xff, 6);
	drops(r, &p, P2PNIC_DROP_LINK_SCOPE);
	/* The NIC still forwards. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 7);
	forwards(r, &p, 1);
	rig_free(r);
}

static void either_zero_is_a_checksum(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	/* The identification chosen such that the checksum is 0; 0xffff is the same number. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 0);
	put16(p.bytes + 18, get16(p.bytes + 24));
	packet_checksum(&p);
	assert_int_equal(get16(p.bytes + 24), 0);
	forwards(r, &p, 1);
	put16(p.bytes + 24, 0xffff);
	forwards(r, &p, 1);
	rig_free(r);
}

/* A packet with `bytes` of options, the first of them given. */
static void with_options(struct packet *p, const uint8_t *options, unsigned bytes, unsigned given)
{
	packet_ipv4(p, 0, PACKET_TO(1), 64, 40, 5);
	memmove(p->bytes + 34 + bytes, p->bytes + 34, p->length - 34);
	memset(p->bytes + 34, 0, bytes);
	memcpy(p->bytes + 34, options, given);
	p->length += bytes;
	p->bytes[14] = (uint8_t)(0x45 + bytes / 4);
	put16(p->bytes + 16, p->length - 14);
	packet_checksum(p);
}

static void options(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	with_options(&p, (const uint8_t[]){1, 1, 1, 1}, 4, 4);
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){1, 1, 1, 0}, 4, 4);
	forwards(r, &p, 1);
	with_options(
		&p, (const uint8_t[]){0, 131, 1, 99}, 4, 4); /* behind the end: not looked at */
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){222, 4, 9, 9}, 4, 4); /* unknown */
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){148, 4, 0, 0}, 4, 4); /* router alert */
	forwards(r, &p, 1);
	with_options(&p, (const uint8_t[]){7, 39, 4}, 40, 3); /* record route, longest header */
	forwards(r, &p, 1);
	with_options(
		&p, (const uint8_t[]){131, 7, 4, 10, 1, 0, 1, 0}, 8, 8); /* loose source route */
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){1, 137, 7, 4, 10, 1, 0, 1}, 8, 8); /* strict */
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){222, 1, 0, 0}, 4, 4);
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){222, 0, 0, 0}, 4, 4);
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){222, 5, 0, 0}, 4, 4);
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(
		&p, (const uint8_t[]){1, 1, 1, 222}, 4, 4); /* its length is beyond the header */
	drops(r, &p, P2PNIC_DROP_OPTIONS);
	with_options(&p, (const uint8_t[]){1, 1, 1, 1}, 4, 4);
	p.bytes[35] = 2;
	drops(r, &p, P2PNIC_DROP_CHECKSUM);
	with_options(&p, (const uint8_t[]){1, 1, 1, 1}, 4, 4);
	p.bytes[22] = 1;
	packet_checksum(&p);
	drops(r, &p, P2PNIC_DROP_TTL);
	rig_free(r);
}

static void adjacency_kinds(void **state)
{
	static const struct {
		unsigned hop;
		enum p2pnic_drop reason;
		bool never_punted;
	} table[] = {
		{RIG_HOP_LOCAL, P2PNIC_DROP_LOCAL, false},
		{RIG_HOP_GLEAN, P2PNIC_DROP_NO_NEIGHBOR, false},
		{RIG_HOP_BLACKHOLE, P2PNIC_DROP_BLACKHOLE, true},
		{RIG_HOP_BROADCAST, P2PNIC_DROP_BROADCAST, true},
		{RIG_HOP_UNREACHABLE, P2PNIC_DROP_UNREACHABLE, false},
		{RIG_HOP_PROHIBIT, P2PNIC_DROP_PROHIBIT, false},
		{RIG_HOP_NONE, P2PNIC_DROP_NO_ROUTE, false},
		{RIG_HOP_NO_SUCH_NIC, P2PNIC_DROP_NO_PEER, true},
	};

	for (int host = 0; host < 2; host++) {
		struct rig *r = rig_new(2, &(struct rig_config){.host = host});
		struct packet p;

		for (unsigned k = 0; k < sizeof(table) / sizeof(*table); k++) {
			packet_ipv4(&p, 0, 0x0b000001 | table[k].hop << 16, 1, 100, k);
			if (host && !table[k].never_punted)
				punts(r, &p, table[k].reason, p.length);
			else
				drops(r, &p, table[k].reason);
		}
		/* 10.3/16: a NIC that is not there. */
		packet_ipv4(&p, 0, PACKET_TO(3), 64, 100, 9);
		drops(r, &p, P2PNIC_DROP_NO_PEER);
		rig_free(r);
	}
}

static void mtu(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	const uint32_t to = 0x0b000001 | RIG_HOP_SMALL_MTU << 16;
	struct packet p;

	packet_ipv4(&p, 0, to, 64, 576 - 28, 1);
	forwards(r, &p, 0);
	packet_ipv4(&p, 0, to, 64, 577 - 28, 1);
	punts(r, &p, P2PNIC_DROP_MTU, p.length);
	/* TTL is looked at first (a traceroute's packet is not told to be smaller). */
	packet_ipv4(&p, 0, to, 1, 577 - 28, 1);
	punts(r, &p, P2PNIC_DROP_TTL, p.length);
	/* Padding does not count. */
	packet_ipv4(&p, 0, to, 64, 576 - 28, 1);
	p.length += 10;
	forwards(r, &p, 0);
	rig_free(r);
}

static void longest_prefix_wins(void **state)
{
	struct rig *r = rig_new(5, &(struct rig_config){0});
	struct fib_route list[] = {
		fib_route4(0, 0, RIG_HOP_EGRESS + 0),
		fib_route4(0x0a000000, 8, RIG_HOP_EGRESS + 1),
		fib_route4(0x0a010200, 24, RIG_HOP_EGRESS + 2),
		fib_route4(0x0a010280, 25, RIG_HOP_EGRESS + 3),
		fib_route4(0x0a010281, 32, RIG_HOP_EGRESS + 4),
	};
	static const uint32_t address[] = {
		0x08080808, 0x0aff0001, 0x0a010201, 0x0a010280, 0x0a010281};
	struct packet p;

	rig_routes4(r, 0, list, 5);
	for (unsigned k = 0; k < 5; k++) {
		packet_ipv4(&p, 0, address[k], 64, 50, k);
		forwards(r, &p, k);
	}
	/* Without the longest, the next one takes over, down to the default. */
	for (unsigned gone = 4; gone > 0; gone--) {
		rig_routes4(r, 0, list, gone);
		packet_ipv4(&p, 0, 0x0a010281, 64, 50, gone);
		forwards(r, &p, gone - 1);
	}
	/* No image at all. */
	nic_register_write(r->at[0].nic, P2PNIC_REG_FIB4_OFFSET, 0);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_FIB_IPV4, 0), P2PNIC_OK);
	drops(r, &p, P2PNIC_DROP_NO_ROUTE);
	rig_free(r);
}

/* --- ECMP ------------------------------------------------------------------------------------- */

static void group_of(struct rig *r, const unsigned egress[8])
{
	p2pnic_bucket *buckets = (p2pnic_bucket *)(r->at[0].bar2 + P2PNIC_BAR2_BUCKETS);

	for (unsigned k = 0; k < 8; k++)
		buckets[64 + k] = (p2pnic_bucket)(RIG_HOP_EGRESS + egress[k]);
	rig_next_hop(r, 0, RIG_HOP_EGRESS + 4, P2PNIC_NEXT_HOP(64, 3));
}

static unsigned egress_of(struct rig *r, const struct packet *p)
{
	unsigned egress = UINT32_MAX;

	rig_receive(r, 0, p);
	rig_run(r);
	for (unsigned nic = 0; nic < r->nics; nic++) {
		struct packet *got = rig_sent(r, nic);

		if (got) {
			assert_int_equal(egress, UINT32_MAX);
			egress = nic;
			free(got);
		}
	}
	assert_int_not_equal(egress, UINT32_MAX);
	return egress;
}

static void flows_spread_and_stick(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned weights[8] = {0, 1, 1, 2, 2, 2, 2, 3}; /* 1 : 2 : 4 : 1 */
	unsigned count[4] = {0};
	struct packet p;

	group_of(r, weights);
	for (unsigned flow = 0; flow < 10000; flow++) {
		unsigned egress;

		packet_ipv4(&p, 0, PACKET_TO(4) + (flow & 0xff), 64, 20, flow);
		put16(p.bytes + 34, 1024 + flow);
		egress = egress_of(r, &p);
		count[egress]++;
		if (flow % 100)
			continue;
		/* The same flow with other bytes, TTL, length. */
		packet_ipv4(&p, 0, PACKET_TO(4) + (flow & 0xff), 200, 333, flow + 77);
		put16(p.bytes + 34, 1024 + flow);
		assert_int_equal(egress_of(r, &p), egress);
	}
	for (unsigned nic = 0; nic < 4; nic++) {
		static const unsigned share[4] = {1, 2, 4, 1};
		unsigned want = 10000 * share[nic] / 8;

		assert_in_range(count[nic], want - want / 10, want + want / 10);
	}
	rig_check(r);
	rig_free(r);
}

static void fragments_stay_together(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	struct packet p;

	group_of(r, even);
	for (unsigned flow = 0; flow < 64; flow++) {
		unsigned first = 0;

		for (unsigned k = 0; k < 3; k++) {
			packet_ipv4(&p, 0, PACKET_TO(4) + flow, 64, 100, flow);
			put16(p.bytes + 20, (k < 2 ? 0x2000 : 0) | k * 16);
			put16(p.bytes + 34, 999 * k + flow); /* not a port */
			packet_checksum(&p);
			if (k == 0)
				first = egress_of(r, &p);
			else
				assert_int_equal(egress_of(r, &p), first);
		}
	}
	rig_check(r);
	rig_free(r);
}

static void a_group_shrinks_only_for_its_flows(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3},
			      less[8] = {0, 1, 2, 0, 0, 1, 2, 1};
	unsigned before[256];
	struct packet p;

	group_of(r, even);
	for (unsigned flow = 0; flow < 256; flow++) {
		packet_ipv4(&p, 0, PACKET_TO(4) + flow, 64, 100, flow);
		before[flow] = egress_of(r, &p);
	}
	group_of(r, less);
	for (unsigned flow = 0; flow < 256; flow++) {
		unsigned now;

		packet_ipv4(&p, 0, PACKET_TO(4) + flow, 64, 100, flow);
		now = egress_of(r, &p);
		assert_int_not_equal(now, 3);
		if (before[flow] != 3)
			assert_int_equal(now, before[flow]);
	}
	rig_free(r);
}

/* --- IPv6 ------------------------------------------------------------------------------------- */

static void ipv6_is_forwarded(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	static const uint32_t payload[] = {0, 1, 18, 100, 1000, 1023, 1471, 1720};
	struct packet p;

	for (unsigned egress = 0; egress < 3; egress++)
		for (unsigned k = 0; k < sizeof(payload) / sizeof(*payload); k++) {
			packet_ipv6(&p, 0, PACKET_TO6(egress), 2 + k * 30, payload[k], k);
			forwards(r, &p, egress);
		}
	/* Trimmed to its payload length; extension headers as they are. */
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
	p.length += 30;
	p.bytes[20] = 0;
	forwards(r, &p, 1);
	/* Payload length 0: the rest is padding, whatever the next header (RFC 8200 §3, §4.7). */
	for (unsigned next = 1; next < 256; next++) {
		packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
		put16(p.bytes + 18, 0);
		p.bytes[20] = (uint8_t)next;
		forwards(r, &p, 1);
	}
	rig_free(r);
}

/* Each way out of the table, for IPv6. */
static void ipv6_adjacency_kinds(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct fib_route route = {{PACKET_TO6(1), 0}, 48, 6, RIG_HOP_LOCAL};
	struct packet p;

	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
	rig_routes6(r, 0, &route, 1);
	drops(r, &p, P2PNIC_DROP_LOCAL);
	route.next_hop = RIG_HOP_NO_SUCH_NIC;
	rig_routes6(r, 0, &route, 1);
	drops(r, &p, P2PNIC_DROP_NO_PEER);
	route.next_hop = RIG_HOP_SMALL_MTU;
	rig_routes6(r, 0, &route, 1);
	forwards(r, &p, 0);
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 576 - 48, 1);
	forwards(r, &p, 0);
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 577 - 48, 1);
	drops(r, &p, P2PNIC_DROP_MTU);
	rig_free(r);
}

static void malformed_ipv6_is_dropped(void **state)
{
	static const struct {
		const char *what;
		unsigned at, bytes;
		uint8_t value[16];
		uint32_t length;
		enum p2pnic_drop reason;
	} table[] = {
		{"version 4", 14, 1, {0x41}, 0, P2PNIC_DROP_VERSION},
		{"payload above the frame", 18, 2, {0, 109}, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"payload far above", 18, 2, {0xff, 0xff}, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"53 bytes", 14, 1, {0x61}, 53, P2PNIC_DROP_RUNT},
		{"hop limit 1", 21, 1, {1}, 0, P2PNIC_DROP_TTL},
		{"hop limit 0", 21, 1, {0}, 0, P2PNIC_DROP_TTL},
		{"source ::", 22, 16, {0}, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source ::1", 22, 16, {[15] = 1}, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source ff02::1", 22, 16, {0xff, 2, [15] = 1}, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source fe80::1", 22, 16, {0xfe, 0x80, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"source febf::1", 22, 16, {0xfe, 0xbf, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination ::1", 38, 16, {[15] = 1}, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"destination ::", 38, 16, {0}, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"no header behind the first", 18, 3, {0, 0, 0}, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"destination ff01::1", 38, 16, {0xff, 1, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination ff02::1", 38, 16, {0xff, 2, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination fe80::1", 38, 16, {0xfe, 0x80, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"no route", 38, 1, {0x2a}, 0, P2PNIC_DROP_NO_ROUTE},
	};
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	for (size_t k = 0; k < sizeof(table) / sizeof(*table); k++) {
		packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, (uint32_t)k);
		memcpy(p.bytes + table[k].at, table[k].value, table[k].bytes);
		if (table[k].length)
			p.length = table[k].length;
		print_message("         %s\n", table[k].what);
		drops(r, &p, table[k].reason);
	}
	nic_register_write(r->at[0].nic, P2PNIC_REG_FIB6_OFFSET, 0);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_FIB_IPV6, 0), P2PNIC_OK);
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
	drops(r, &p, P2PNIC_DROP_NO_ROUTE);
	rig_free(r);
}

static void ipv6_flows_follow_their_label(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	unsigned count[4] = {0};
	struct packet p;

	group_of(r, even);
	for (unsigned flow = 0; flow < 2000; flow++) {
		unsigned egress;

		packet_ipv6(&p, 0, PACKET_TO6(4), 64, 100, flow);
		put32(p.bytes + 14, 0x60000000 | flow);
		egress = egress_of(r, &p);
		count[egress]++;
		packet_ipv6(&p, 0, PACKET_TO6(4), 9, 300, flow + 5);
		put32(p.bytes + 14, 0x6ff00000 | flow); /* another class */
		assert_int_equal(egress_of(r, &p), egress);
	}
	for (unsigned nic = 0; nic < 4; nic++)
		assert_in_range(count[nic], 430, 570);
	rig_free(r);
}

/* --- Flows without a label -------------------------------------------------------------------- */

static const uint8_t with_ports[] = {6, 17, 33, 132, 136}; /* TCP, UDP, DCCP, SCTP, UDP-Lite */

/* IPv6 without a flow label: `chain` bytes of extension headers, the first of type `first`, then
 * the ports. */
static void unlabelled(struct packet *p, uint8_t first, const uint8_t *chain, unsigned bytes,
	uint32_t ports, unsigned seed)
{
	packet_ipv6(p, 0, PACKET_TO6(4), (uint8_t)(9 + seed % 200), 300 + seed % 7, seed);
	put32(p->bytes + 14, 0x60000000);
	p->bytes[20] = first;
	if (bytes)
		memcpy(p->bytes + 54, chain, bytes);
	put32(p->bytes + 54 + bytes, ports);
}

static void spread_or_not(
	struct rig *r, uint8_t first, const uint8_t *chain, unsigned bytes, bool spread)
{
	unsigned count[4] = {0};
	struct packet p;

	for (unsigned flow = 0; flow < 400; flow++) {
		uint32_t ports = flow % 2 ? flow << 16 | 80 : 40000u << 16 | flow;
		unsigned egress;

		unlabelled(&p, first, chain, bytes, ports, flow);
		egress = egress_of(r, &p);
		count[egress]++;
		unlabelled(&p, first, chain, bytes, ports, flow + 1000);
		assert_int_equal(egress_of(r, &p), egress);
	}
	for (unsigned nic = 0; nic < 4; nic++)
		if (spread)
			assert_in_range(count[nic], 60, 140);
		else
			assert_true(count[nic] == 0 || count[nic] == 400);
}

static void ipv6_flows_without_label(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	uint8_t chain[80] = {0};

	group_of(r, even);
	for (unsigned k = 0; k < sizeof(with_ports); k++) {
		const uint8_t protocol = with_ports[k];
		/* Hop-by-hop, destination options, routing, authentication, options again: 16, 8,
		 * 24, 24, 8 bytes. */
		uint8_t all[80] = {[0] = 60,
			[1] = 1,
			[16] = 43,
			[24] = 51,
			[25] = 2,
			[48] = 60,
			[49] = 4,
			[72] = protocol};

		spread_or_not(r, protocol, chain, 0, true);
		for (unsigned header = 0; header < 256; header++) {
			bool passed = header == 0 || header == 43 || header == 60;

			if (!passed && header != 51)
				continue;
			memset(chain, 0, sizeof(chain));
			chain[0] = protocol;
			chain[1] = 1; /* 16 bytes; authentication: 12 */
			spread_or_not(r, (uint8_t)header, chain, passed ? 16 : 12, true);
		}
		spread_or_not(r, 0, all, 80, true);
		/* A fragment: the first of a packet has ports and may not use them; one of a single
		 * piece neither. */
		for (unsigned offset = 0; offset < 3; offset++) {
			memset(chain, 0, sizeof(chain));
			chain[0] = protocol;
			chain[3] = (uint8_t)(offset * 8 | (offset == 1));
			spread_or_not(r, 44, chain, 8, false);
			memmove(chain + 8, chain, 8);
			chain[0] = 44;
			spread_or_not(r, 60, chain, 16, false);
		}
		/* Eight headers are passed over, not more. */
		memset(chain, 0, sizeof(chain));
		for (unsigned headers = 1; headers <= 10; headers++) {
			for (unsigned h = 0; h < headers; h++)
				chain[h * 8] = h + 1 == headers ? protocol : 60;
			spread_or_not(r, 60, chain, headers * 8, headers <= 8);
		}
	}
	/* What has no ports: ICMPv6, ESP, no next header, and protocols that nobody has defined. */
	memset(chain, 0, sizeof(chain));
	spread_or_not(r, 58, chain, 0, false);
	spread_or_not(r, 50, chain, 0, false);
	spread_or_not(r, 59, chain, 0, false);
	spread_or_not(r, 253, chain, 0, false);
	/* A chain that ends beyond the packet. */
	chain[0] = 17;
	chain[1] = 255;
	spread_or_not(r, 60, chain, 8, false);
	rig_check(r);
	rig_free(r);
}

/* Ports that are not in the packet are no ports, whatever follows as padding. */
static void ports_beyond_the_packet(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	struct packet p;

	group_of(r, even);
	for (unsigned bytes = 0; bytes < 8; bytes++) {
		unsigned seen4 = 0, seen6 = 0;

		for (unsigned flow = 0; flow < 64; flow++) {
			packet_ipv4(&p, 0, PACKET_TO(4), 64, 40, flow);
			put16(p.bytes + 16, 20 + bytes);
			put16(p.bytes + 18, 7);
			packet_checksum(&p);
			put32(p.bytes + 34, flow * 77);
			seen4 |= 1u << egress_of(r, &p);
			unlabelled(&p, 17, NULL, 0, flow * 77, 0);
			put16(p.bytes + 18, bytes);
			seen6 |= 1u << egress_of(r, &p);
		}
		assert_int_equal((seen4 & (seen4 - 1)) == 0, bytes < 4);
		assert_int_equal((seen6 & (seen6 - 1)) == 0, bytes < 4);
	}
	rig_free(r);
}

static void ipv4_protocols_with_ports(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	struct packet p;

	group_of(r, even);
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		bool ports = memchr(with_ports, (int)protocol, sizeof(with_ports));

		if (protocol == 0 || protocol == 43 || protocol == 51 || protocol == 60)
			continue; /* headers that are passed over, as in IPv6 */
		for (unsigned fragment = 0; fragment < 3; fragment++) {
			unsigned seen = 0;

			for (unsigned flow = 0; flow < 40; flow++) {
				packet_ipv4(&p, 0, PACKET_TO(4), 64, 40, 0);
				p.bytes[23] = (uint8_t)protocol;
				/* Don't fragment; more fragments; the last of them. */
				put16(p.bytes + 20, fragment == 0   ? 0x4000
						    : fragment == 1 ? 0x2000
								    : 5);
				put32(p.bytes + 34, flow * 0x10001);
				packet_checksum(&p);
				seen |= 1u << egress_of(r, &p);
			}
			assert_int_equal(seen == 15, ports && fragment == 0);
			if (!ports || fragment)
				assert_int_equal(seen & (seen - 1), 0);
		}
	}
	rig_free(r);
}

/* --- The host --------------------------------------------------------------------------------- */

static void exceptions_reach_the_host(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 1, 100, 1);
	punts(r, &p, P2PNIC_DROP_TTL, p.length);
	packet_ipv4(&p, 0, 0x63000001, 64, 100, 1);
	punts(r, &p, P2PNIC_DROP_NO_ROUTE, p.length);
	packet_ipv4(&p, 0, 0xe0000005, 1, 100, 1); /* OSPF, even to this station's MAC */
	punts(r, &p, P2PNIC_DROP_LINK_SCOPE, p.length);
	with_options(&p, (const uint8_t[]){131, 7, 4, 10, 1, 0, 1, 0}, 8, 8);
	punts(r, &p, P2PNIC_DROP_OPTIONS, p.length);
	packet_ipv6(&p, 0, PACKET_TO6(1), 1, 100, 1);
	punts(r, &p, P2PNIC_DROP_TTL, p.length);
	packet_ipv6(&p, 0, 0xfe80000000000000, 255, 24, 1); /* neighbour solicitation, unicast */
	punts(r, &p, P2PNIC_DROP_LINK_SCOPE, p.length);
	/* ARP: request and reply; shortest possible frames too. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 18, 1);
	memcpy(p.bytes, broadcast, 6);
	put16(p.bytes + 12, 0x0806);
	punts(r, &p, P2PNIC_DROP_LINK_SCOPE, p.length);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 18, 1);
	put16(p.bytes + 12, 0x0806);
	for (p.length = 14; p.length < 60; p.length++)
		punts(r, &p, P2PNIC_DROP_ETHERTYPE, p.length);
	/* Not these. */
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 100, 1);
	p.bytes[24]++;
	drops(r, &p, P2PNIC_DROP_CHECKSUM);
	packet_ipv4(&p, 0, PACKET_TO(1), 64, 100, 1);
	p.bytes[0] = 0x06;
	drops(r, &p, P2PNIC_DROP_FOREIGN_MAC);
	rig_free(r);
}

static void the_host_sends(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){.host = true});

	for (unsigned k = 0; k < 200; k++) {
		struct packet p, *got;

		packet_ipv4(&p, 1, PACKET_TO(0), 64, k * 7, k);
		assert_true(rig_inject(r, 1, &p));
		rig_run(r);
		got = rig_sent(r, 1);
		assert_non_null(got);
		assert_true(expect_packet(got, &p));
		free(got);
	}
	assert_int_equal(rig_count(&r->at[1].counters->injected.packets), 200);
	rig_check(r);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_is_forwarded),
		cmocka_unit_test(padding_is_trimmed),
		cmocka_unit_test(malformed_ipv4_is_dropped),
		cmocka_unit_test(either_zero_is_a_checksum),
		cmocka_unit_test(options),
		cmocka_unit_test(adjacency_kinds),
		cmocka_unit_test(mtu),
		cmocka_unit_test(longest_prefix_wins),
		cmocka_unit_test(flows_spread_and_stick),
		cmocka_unit_test(fragments_stay_together),
		cmocka_unit_test(a_group_shrinks_only_for_its_flows),
		cmocka_unit_test(ipv6_is_forwarded),
		cmocka_unit_test(ipv6_adjacency_kinds),
		cmocka_unit_test(malformed_ipv6_is_dropped),
		cmocka_unit_test(ipv6_flows_follow_their_label),
		cmocka_unit_test(ipv6_flows_without_label),
		cmocka_unit_test(ports_beyond_the_packet),
		cmocka_unit_test(ipv4_protocols_with_ports),
		cmocka_unit_test(exceptions_reach_the_host),
		cmocka_unit_test(the_host_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
