/* SPDX-License-Identifier: BSD-3-Clause */
#include "classify.h"

#include "burst.h"
#include "header.h"
#include "resolve.h"

static inline void look_up4(struct burst *b, unsigned k, uint32_t destination)
{
	b->address4[b->n4] = destination;
	b->index4[b->n4++] = (uint8_t)k;
}

/* May it be forwarded from there to here? Neither is, if one of the two is special, unless this
 * router takes it. */
static verdict scope4(const struct nic *n, const struct frame_head *h, uint32_t destination)
{
	enum p2pnic_special from = p2pnic_special_ipv4(ipv4_source(h));
	enum p2pnic_special to = p2pnic_special_ipv4(destination);
	uint16_t hop = 0;
	verdict v;

	if (sources_has(&n->sources, ipv4_source_be(h)))
		from = P2PNIC_SPECIAL_NEVER;
	v = special_check(from, to);
	if (!special_may_end_here(from, to) || !n->fib4)
		return v;
	fib4_lookup(n->fib4, &destination, &hop, 1);
	return resolve_is_local(n, hop) ? VERDICT_FORWARD : v;
}

static verdict scope6(const struct nic *n, struct fib_ipv6 source, struct fib_ipv6 destination)
{
	enum p2pnic_special from = p2pnic_special_ipv6(source);
	enum p2pnic_special to = p2pnic_special_ipv6(destination);
	verdict v = special_check(from, to);
	uint16_t hop = 0;

	if (!special_may_end_here(from, to) || !n->fib6)
		return v;
	fib6_lookup(n->fib6, &destination, &hop, 1);
	return resolve_is_local(n, hop) ? VERDICT_FORWARD : v;
}

static verdict classify_ipv4(const struct nic *n, struct burst *b, unsigned k)
{
	const uint8_t *data = b->frame[k].data;
	const struct frame_head *h = &b->head[k];
	uint32_t header = b->layer4[k] - ETHERNET_BYTES;
	uint16_t tail = load16(data + 32);
	verdict v = ipv4_check(h, tail, &b->length[k]);

	if (v == VERDICT_FORWARD)
		v = scope4(n, h, ipv4_destination(h, tail));
	if (v == VERDICT_FORWARD && header > IPV4_BYTES)
		v = ipv4_check_options(data + ETHERNET_BYTES, header);
	if (v == VERDICT_FORWARD)
		look_up4(b, k, ipv4_destination(h, tail));
	return v;
}

static verdict classify_ipv6(const struct nic *n, struct burst *b, unsigned k)
{
	const uint8_t *data = b->frame[k].data;
	struct fib_ipv6 from, to;
	verdict v;

	if (!b->layer4[k])
		return VERDICT(RUNT);
	from = ipv6_address(data + 22);
	to = ipv6_address(data + 38);
	v = ipv6_check(&b->head[k], &b->length[k]);
	if (v == VERDICT_FORWARD && unlikely(ipv6_suspect(from.high) || ipv6_suspect(to.high)))
		v = scope6(n, from, to);
	if (v != VERDICT_FORWARD)
		return v;
	b->address6[b->n6] = to;
	b->index6[b->n6++] = (uint8_t)k;
	return VERDICT_FORWARD;
}

static uint8_t layer4(const struct frame_head *h, uint32_t length)
{
	uint32_t at = 0, header = 0;

	if (ethertype_le(h) == ETHERTYPE_IPV4_LE) {
		header = IPV4_BYTES;
		at = ETHERNET_BYTES + ipv4_ihl(h) * 4;
	} else if (ethertype_le(h) == ETHERTYPE_IPV6_LE) {
		header = IPV6_BYTES;
		at = ETHERNET_BYTES + IPV6_BYTES;
	}
	return length >= ETHERNET_BYTES + header ? (uint8_t)at : 0;
}

/* Not a plain IPv4 packet with a header of 20 bytes to our MAC: everything that can also come. */
static verdict classify_other(const struct nic *n, struct burst *b, unsigned k)
{
	const struct frame_head *h = &b->head[k];

	b->length[k] = b->frame[k].length;
	b->layer4[k] = layer4(h, b->length[k]);
	if (b->length[k] < ETHERNET_BYTES)
		return VERDICT(RUNT);
	/* Group addresses are for the host (ARP, neighbour discovery), never routed. */
	if (!stations_has(&n->stations, h->low[0]))
		return h->low[0] & 1 ? VERDICT(LINK_SCOPE) : VERDICT(FOREIGN_MAC);
	switch (ethertype_le(h)) {
	case ETHERTYPE_IPV4_LE:
		return classify_ipv4(n, b, k);
	case ETHERTYPE_IPV6_LE:
		return classify_ipv6(n, b, k);
	default:
		return VERDICT(ETHERTYPE);
	}
}

void classify_frames(const struct nic *n, struct burst *b, unsigned k, unsigned end)
{
	for (; k < end; k++) {
		const uint8_t *data = b->frame[k].data;
		uint16_t tail = load16(data + 32);
		struct frame_head head = {
			{load64(data), load64(data + 8)}, {load64(data + 16), load64(data + 24)}};

		b->head[k] = head;
		if (likely(ipv4_plain(
				   &head, tail, b->frame[k].length, &n->stations, &b->length[k]) &&
			    !sources_has(&n->sources, ipv4_source_be(&head))))
			look_up4(b, k, ipv4_destination(&head, tail));
		else
			b->verdict[k] = classify_other(n, b, k);
	}
}
