/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the flows of an ECMP group go. Run for each transfer method. */
#include "tests/unit/firmware_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

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

/* --- Ports without a carrier ------------------------------------------------------------------ */

static void egresses(struct rig *r, unsigned egress[256])
{
	struct packet p;

	for (unsigned flow = 0; flow < 256; flow++) {
		packet_ipv4(&p, 0, PACKET_TO(4) + flow, 64, 100, flow);
		egress[flow] = egress_of(r, &p);
	}
}

static void set_carrier(struct rig *r, unsigned nic, bool carrier)
{
	nic_set_port(r->at[nic].nic, carrier, 0, 0);
	rig_relay(r);
}

/* Its flows spread over all others, those stay where they are, and all return with it. */
static void a_port_without_carrier_is_passed_over(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	unsigned before[256], now[256], took[4];

	group_of(r, even);
	egresses(r, before);
	for (unsigned gone = 1; gone < 4; gone++) {
		memset(took, 0, sizeof(took));
		set_carrier(r, gone, false);
		egresses(r, now);
		for (unsigned flow = 0; flow < 256; flow++)
			if (before[flow] == gone)
				took[now[flow]]++;
			else
				assert_int_equal(now[flow], before[flow]);
		assert_int_equal(took[gone], 0);
		for (unsigned nic = 0; nic < 4; nic++)
			assert_true(nic == gone || took[nic] > 10);
		set_carrier(r, gone, true);
		egresses(r, now);
		assert_memory_equal(now, before, sizeof(now));
	}
	assert_int_equal(rig_all_drops(r, 0), 0);
	rig_check(r);
	rig_free(r);
}

static void a_nic_that_is_gone_is_passed_over(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	unsigned now[256];

	group_of(r, even);
	rig_close(r, 0, 2);
	egresses(r, now);
	for (unsigned flow = 0; flow < 256; flow++)
		assert_int_not_equal(now[flow], 2);
	assert_int_equal(rig_all_drops(r, 0), 0);
	rig_check(r);
	rig_free(r);
}

/* The heaviest group: one port has all buckets but one. */
static void the_last_port_is_found(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned heavy[8] = {1, 1, 1, 1, 1, 1, 1, 3};
	unsigned now[256];
	struct packet p;

	group_of(r, heavy);
	set_carrier(r, 1, false);
	egresses(r, now);
	for (unsigned flow = 0; flow < 256; flow++)
		assert_int_equal(now[flow], 3);
	set_carrier(r, 3, false);
	packet_ipv4(&p, 0, PACKET_TO(4), 64, 100, 1);
	for (unsigned k = 0; k < 10; k++) {
		rig_receive(r, 0, &p);
		rig_run(r);
	}
	/* Both lack a carrier: as for a route by one of them alone. */
	assert_true(rig_drops(r, 0, P2PNIC_DROP_LINK_DOWN) > 0);
	rig_check(r);
	rig_free(r);
}

static void a_group_in_order(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned order[8] = {2, 1, 3, 3, 3, 3, 3, 3};
	unsigned now[256];

	group_of(r, order);
	rig_next_hop(r, 0, RIG_HOP_EGRESS + 4, P2PNIC_NEXT_HOP(64, 3) | P2PNIC_NEXT_HOP_ORDERED);
	for (unsigned gone = 0; gone < 3; gone++) {
		egresses(r, now);
		for (unsigned flow = 0; flow < 256; flow++)
			assert_int_equal(now[flow], order[gone]);
		set_carrier(r, order[gone], false);
	}
	set_carrier(r, 2, true);
	egresses(r, now);
	for (unsigned flow = 0; flow < 256; flow++)
		assert_int_equal(now[flow], 2);
	rig_check(r);
	rig_free(r);
}

/* --- How flows are hashed --------------------------------------------------------------------- */

static void a_seed_spreads_otherwise(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	unsigned before[256], now[256], same = 0;

	group_of(r, even);
	egresses(r, before);
	nic_register_write(r->at[0].nic, P2PNIC_REG_FLOW_SEED, 0x12345678);
	assert_int_equal(nic_register_read(r->at[0].nic, P2PNIC_REG_FLOW_SEED), 0x12345678);
	egresses(r, now);
	for (unsigned flow = 0; flow < 256; flow++)
		same += before[flow] == now[flow];
	assert_in_range(same, 32, 96); /* a quarter, by chance */
	nic_register_write(r->at[0].nic, P2PNIC_REG_FLOW_SEED, 0);
	egresses(r, now);
	assert_memory_equal(now, before, sizeof(now));
	rig_free(r);
}

static void swap(struct packet *p, unsigned a, unsigned b, unsigned bytes)
{
	uint8_t one[16];

	memcpy(one, p->bytes + a, bytes);
	memcpy(p->bytes + a, p->bytes + b, bytes);
	memcpy(p->bytes + b, one, bytes);
}

/* There and back: addresses and ports change places; labels are each sender's own. */
static void both_directions_are_one_flow(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	unsigned apart[2] = {0}, seen[2] = {0};
	struct packet p;

	group_of(r, even);
	for (unsigned k = 0; k < 512; k++) {
		const bool symmetric = k >= 256, six = k & 1;
		unsigned there, back;

		nic_register_write(
			r->at[0].nic, P2PNIC_REG_FLOW, symmetric ? P2PNIC_FLOW_SYMMETRIC : 0);
		if (six) {
			packet_ipv6(&p, 0, PACKET_TO6(4), 64, 100, k);
			/* Both ends behind the group. */
			memcpy(p.bytes + 22, p.bytes + 38, 8);
			put32(p.bytes + 14, 0x60000000 | k);
			p.bytes[20] = 17;
		} else {
			packet_ipv4(&p, 0, PACKET_TO(4) + (k & 0x7f), 64, 100, k);
			put32(p.bytes + 26, PACKET_TO(4) + 0x80 + (k >> 3 & 0x7f));
			p.bytes[23] = 17;
			packet_checksum(&p);
		}
		put32(p.bytes + (six ? 54 : 34), 1024 * 0x10000 + k * 77);
		there = egress_of(r, &p);
		if (six) {
			put32(p.bytes + 14, 0x60000000 | (k + 999));
			swap(&p, 22, 38, 16);
			swap(&p, 54, 56, 2);
		} else {
			swap(&p, 26, 30, 4);
			swap(&p, 34, 36, 2);
		}
		back = egress_of(r, &p);
		apart[symmetric] += there != back;
		seen[symmetric] |= 1u << there;
	}
	assert_in_range(apart[0], 150, 230); /* three quarters, by chance */
	assert_int_equal(apart[1], 0);
	assert_int_equal(seen[1], 15);
	rig_free(r);
}

/* Tunnels: protocol, and what stands before the packet inside. */
static const struct tunnel {
	uint8_t protocol, bytes, header[16];
	bool six;    /* inside */
	bool opaque; /* nothing inside is looked at */
} tunnels[] = {
	{4, 0, {0}, false, false}, {41, 0, {0}, true, false}, {47, 4, {0, 0, 8, 0}, false, false},
	{47, 4, {0, 0, 0x86, 0xdd}, true, false},
	{47, 8, {0x20, 0, 8, 0, 1, 2, 3, 4}, false, false},
	{47, 16, {0xb0, 0, 0x86, 0xdd}, true, false},
	{47, 8, {0x40, 0, 8, 0}, false, true},        /* routing (RFC 1701) */
	{47, 12, {0x30, 1, 0x88, 0x0b}, false, true}, /* PPTP */
	{47, 4, {0, 0, 0x65, 0x58}, false, true},     /* Ethernet */
};

/* Connection `flow`, between `near` and `far`, inside a tunnel between two addresses: from near to
 * far, or back. Returns where what is inside begins. */
static unsigned tunnelled(
	struct packet *p, const struct tunnel *t, bool outer_six, unsigned flow, bool back)
{
	unsigned outer = outer_six ? 54 : 34, at = outer + t->bytes;
	const uint16_t port[2] = {(uint16_t)(1024 + flow), 80};
	const uint8_t host[2] = {(uint8_t)(1 + flow % 3), (uint8_t)(101 + flow % 5)};

	if (outer_six) {
		packet_ipv6(p, 0, PACKET_TO6(4), 64, 120, 0);
		/* Both ends behind the group. */
		memcpy(p->bytes + 22, p->bytes + 38, 16);
		p->bytes[(back ? 38 : 22) + 15] ^= 1;
		put32(p->bytes + 14, 0x60000000);
		p->bytes[20] = t->protocol;
	} else {
		packet_ipv4(p, 0, PACKET_TO(4) + back, 64, 120, 0);
		put32(p->bytes + 26, PACKET_TO(4) + !back);
		p->bytes[23] = t->protocol;
		packet_checksum(p);
	}
	memset(p->bytes + outer, 0, p->length - outer);
	memcpy(p->bytes + outer, t->header, t->bytes);
	p->bytes[at] = t->six ? 0x60 : 0x45;
	p->bytes[at + (t->six ? 6 : 9)] = 17;
	p->bytes[at + (t->six ? 23 : 15)] = host[back];
	p->bytes[at + (t->six ? 39 : 19)] = host[!back];
	put16(p->bytes + at + (t->six ? 40 : 20), port[back]);
	put16(p->bytes + at + (t->six ? 42 : 22), port[!back]);
	return at;
}

static void what_a_tunnel_carries(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	struct packet p;

	group_of(r, even);
	for (unsigned k = 0; k < 2 * sizeof(tunnels) / sizeof(*tunnels); k++) {
		const struct tunnel *t = &tunnels[k / 2];
		unsigned seen[4] = {0}, apart = 0, fragments = 0;

		for (unsigned flow = 0; flow < 64; flow++) {
			unsigned there = 0;

			for (unsigned how = 0; how < 4; how++) { /* P2PNIC_FLOW_* */
				nic_register_write(r->at[0].nic, P2PNIC_REG_FLOW, how);
				tunnelled(&p, t, k & 1, flow, false);
				there = egress_of(r, &p);
				seen[how] |= 1u << there;
			}
			tunnelled(&p, t, k & 1, flow, true);
			apart += egress_of(r, &p) != there;
			if (k & 1)
				continue;
			tunnelled(&p, t, false, flow, false);
			put16(p.bytes + 20, 0x2000);
			packet_checksum(&p);
			fragments |= 1u << egress_of(r, &p);
		}
		for (unsigned how = 0; how < 4; how++)
			assert_int_equal(seen[how] == 15, how & P2PNIC_FLOW_INNER && !t->opaque);
		assert_true((seen[0] & (seen[0] - 1)) == 0 && (seen[1] & (seen[1] - 1)) == 0);
		assert_int_equal(apart, 0);
		assert_int_equal(fragments & (fragments - 1), 0);
	}
	rig_free(r);
}

/* What is inside is cut short at each byte, and fragments of a packet inside are one flow. */
static void what_a_tunnel_cuts_short(void **state)
{
	struct rig *r = rig_new(4, &(struct rig_config){0});
	static const unsigned even[8] = {0, 1, 2, 3, 0, 1, 2, 3};
	struct packet p;

	group_of(r, even);
	nic_register_write(r->at[0].nic, P2PNIC_REG_FLOW, P2PNIC_FLOW_INNER);
	for (unsigned k = 0; k < sizeof(tunnels) / sizeof(*tunnels); k++) {
		const struct tunnel *t = &tunnels[k];
		const unsigned addresses = t->bytes + (t->six ? 40 : 20);

		for (unsigned bytes = 0; bytes < addresses + 8; bytes++) {
			unsigned seen = 0;

			for (unsigned flow = 0; flow < 40; flow++) {
				tunnelled(&p, t, false, flow, false);
				put16(p.bytes + 16, 20 + bytes);
				packet_checksum(&p);
				seen |= 1u << egress_of(r, &p);
			}
			assert_int_equal((seen & (seen - 1)) == 0, t->opaque || bytes < addresses);
		}
		for (unsigned flow = 0; flow < 40 && !t->six && !t->opaque; flow++) {
			unsigned at = tunnelled(&p, t, true, 7, false), first;

			put16(p.bytes + at + 6, 0x2000);
			first = egress_of(r, &p);
			put16(p.bytes + at + 6, 100);
			put16(p.bytes + at + 20, flow);
			assert_int_equal(egress_of(r, &p), first);
		}
	}
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_spread_and_stick),
		cmocka_unit_test(fragments_stay_together),
		cmocka_unit_test(a_group_shrinks_only_for_its_flows),
		cmocka_unit_test(ipv6_flows_follow_their_label),
		cmocka_unit_test(ipv6_flows_without_label),
		cmocka_unit_test(ports_beyond_the_packet),
		cmocka_unit_test(ipv4_protocols_with_ports),
		cmocka_unit_test(a_port_without_carrier_is_passed_over),
		cmocka_unit_test(a_nic_that_is_gone_is_passed_over),
		cmocka_unit_test(the_last_port_is_found),
		cmocka_unit_test(a_group_in_order),
		cmocka_unit_test(a_seed_spreads_otherwise),
		cmocka_unit_test(both_directions_are_one_flow),
		cmocka_unit_test(what_a_tunnel_carries),
		cmocka_unit_test(what_a_tunnel_cuts_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
