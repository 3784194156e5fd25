/* SPDX-License-Identifier: BSD-3-Clause */
#include "punt.h"

#include "header.h"
#include "nic.h"

enum { ICMPV6 = 58, EIGRP = 88, OSPF = 89, PIM = 103, VRRP = 112 };

/* UDP ports of routing protocols (IANA), by destination. */
static bool hello_port(uint16_t port)
{
	switch (port) {
	case 520:  /* RIP */
	case 521:  /* RIPng */
	case 646:  /* LDP */
	case 1985: /* HSRP */
	case 3784: /* BFD: RFC 5881 */
	case 3785:
	case 4784: /* BFD, multihop: RFC 5883 */
	case 6784: /* BFD on bundles: RFC 7130 */
		return true;
	default:
		return false;
	}
}

/* By protocol, and by what follows the IP header at `at`; `other`: none of those. */
static enum p2pnic_punt_class class_of_protocol(const uint8_t *data, uint32_t length, uint32_t at,
	uint8_t protocol, enum p2pnic_punt_class other)
{
	switch (protocol) {
	case EIGRP:
	case OSPF:
	case PIM:
	case VRRP:
		return P2PNIC_PUNT_HELLO;
	case UDP:
		return length >= at + 4 && hello_port(swap16(load16(data + at + 2)))
			       ? P2PNIC_PUNT_HELLO
			       : other;
	case ICMPV6: /* router and neighbour solicitation, advertisement, redirect: RFC 4861 §4 */
		return length > at && (uint8_t)(data[at] - 133) <= 137 - 133 ? P2PNIC_PUNT_NEIGHBOR
									     : other;
	default:
		return other;
	}
}

static enum p2pnic_punt_class class_of_packet(
	const struct burst *b, unsigned k, enum p2pnic_punt_class other)
{
	const uint8_t *data = b->frame[k].data;
	uint32_t length = b->length[k];
	uint16_t type = swap16(load16(data + 12));

	if (type == 0x0806)
		return P2PNIC_PUNT_NEIGHBOR;
	/* IS-IS: a length in place of the type, and LLC (ISO/IEC 10589 §8.4) */
	if (type < 0x0600 && length >= 17 && load16(data + 14) == 0xfefe)
		return P2PNIC_PUNT_HELLO;
	if (!b->layer4[k])
		return other;
	if (type == 0x86dd)
		return class_of_protocol(data, length, b->layer4[k], data[20], other);
	if (swap16(load16(data + 20)) & 0x1fff) /* later fragments have no ports */
		return other;
	return class_of_protocol(data, length, b->layer4[k], data[23], other);
}

/* To this station alone, at fe80::/10: BGP on a link without other addresses. */
static bool to_link_local(const struct burst *b, unsigned k)
{
	const uint8_t *data = b->frame[k].data;

	return b->length[k] >= 54 && !(b->head[k].low[0] & 1) &&
	       swap16(load16(data + 12)) == 0x86dd &&
	       (swap16(load16(data + 38)) & 0xffc0) == 0xfe80;
}

enum p2pnic_punt_class punt_class(const struct burst *b, unsigned k)
{
	switch (VERDICT_REASON(b->verdict[k])) {
	case P2PNIC_DROP_LOCAL:
		return class_of_packet(b, k, P2PNIC_PUNT_LOCAL);
	case P2PNIC_DROP_ETHERTYPE:
	case P2PNIC_DROP_LINK_SCOPE:
		return class_of_packet(
			b, k, to_link_local(b, k) ? P2PNIC_PUNT_LOCAL : P2PNIC_PUNT_LINK);
	case P2PNIC_DROP_NO_NEIGHBOR:
		return P2PNIC_PUNT_GLEAN;
	case P2PNIC_DROP_KERNEL:
		return P2PNIC_PUNT_KERNEL;
	case P2PNIC_DROP_TTL:
	case P2PNIC_DROP_NO_ROUTE:
	case P2PNIC_DROP_UNREACHABLE:
	case P2PNIC_DROP_PROHIBIT:
	case P2PNIC_DROP_MTU:
	case P2PNIC_DROP_OPTIONS:
		return P2PNIC_PUNT_EXCEPTION;
	default:
		return P2PNIC_PUNT_COUNT;
	}
}

/* --- Rates ------------------------------------------------------------------------------------ */

#define TOKEN 1000000000ull /* a packet, in `spent` */

static uint64_t room(uint32_t burst)
{
	return (burst ? burst : 1) * TOKEN;
}

/* A bucket has room for burst packets; `spent` is what is missing, never more than that: the burst
 * may have been larger. Time gives back rate · ns. */
static void refill(struct p2pnic_tokens *t, struct p2pnic_rate limit, uint64_t now)
{
	uint64_t back;

	if (t->spent > room(limit.burst))
		t->spent = room(limit.burst);
	if (__builtin_mul_overflow(now - t->time_ns, (uint64_t)limit.rate, &back) ||
		back > t->spent)
		back = t->spent;
	t->spent -= back;
	t->time_ns = now;
}

static bool has_token(const struct p2pnic_tokens *t, uint32_t burst)
{
	return t->spent + TOKEN <= room(burst);
}

/* Of a packet's source, for P2PNIC_PUNT_SOURCES buckets. */
static uint32_t source_bucket(const struct burst *b, unsigned k)
{
	const uint8_t *data = b->frame[k].data;
	uint16_t type = load16(data + 12);
	uint64_t source = b->head[k].low[0] >> 48 | b->head[k].low[1] << 16; /* the MAC address */

	source &= 0xffffffffffff;

	if (b->layer4[k] && type == ETHERTYPE_IPV4_LE)
		source = load32(data + 26);
	else if (b->layer4[k])
		source = load64(data + 22) + 3 * load64(data + 30);
	return mix(source) & (P2PNIC_PUNT_SOURCES - 1);
}

bool punt_passes(struct nic *n, const struct burst *b, unsigned k, enum p2pnic_punt_class class,
	uint64_t *clock)
{
	struct p2pnic_policers *p = n->policers;
	struct p2pnic_tokens *all = &p->all[class];
	struct p2pnic_tokens *source = &p->source[class][source_bucket(b, k)];
	struct p2pnic_policer limit = p->policer[class];

	/* The host may change it meanwhile: one copy decides. */
	__asm__ volatile("" : "+m"(limit));
	if (!limit.all.rate && !limit.source.rate)
		return true;
	if (!*clock)
		*clock = board_clock(n->board);
	if (limit.source.rate) {
		refill(source, limit.source, *clock);
		if (!has_token(source, limit.source.burst))
			return false;
	}
	if (limit.all.rate) {
		refill(all, limit.all, *clock);
		if (!has_token(all, limit.all.burst))
			return false;
		all->spent += TOKEN;
	}
	if (limit.source.rate)
		source->spent += TOKEN;
	return true;
}
