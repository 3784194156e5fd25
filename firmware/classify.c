/* SPDX-License-Identifier: BSD-3-Clause */
#include "classify.h"

#include "burst.h"
#include "header.h"

/* --- Checks ----------------------------------------------------------------------------------- */

/*
 * True for what nearly every packet is: to this MAC, IPv4 without options, nothing that ipv4_check
 * could refuse, and of ordinary addresses. All conditions are computed and joined, for one branch
 * instead of a dozen. `total`: of the frame, as ipv4_check would leave it in *length.
 */
static inline bool ipv4_plain(const struct frame_head *h, uint16_t tail, uint32_t length,
	const struct stations *stations, uint32_t *total)
{
	uint32_t ip = ipv4_total_length(h);
	uint64_t wrong = !stations_has(stations, h->low[0]);

	wrong |= (h->low[1] >> 32 ^ 0x450008) & 0xffffff;
	wrong |= (uint16_t)~fold(ipv4_sum(h, tail));
	wrong |= ipv4_suspect(h->high[1] >> 16);
	wrong |= ipv4_suspect(h->high[1] >> 48);
	wrong |= ip < IPV4_BYTES;
	wrong |= ETHERNET_BYTES + ip > length;
	*total = ETHERNET_BYTES + ip;
	return wrong == 0;
}

/*
 * The five checks of RFC 1812 §5.2.2, for a frame to this station's MAC with Ethernet type IPv4.
 * `length`: of the frame; becomes that of the packet with its Ethernet header (Ethernet pads short
 * frames). Checksums of headers with options: ipv4_check_options.
 */
static inline verdict ipv4_check(const struct frame_head *h, uint16_t tail, uint32_t *length)
{
	uint32_t total = ipv4_total_length(h);
	uint32_t header = ipv4_ihl(h) * 4;

	if (*length < ETHERNET_BYTES + IPV4_BYTES) /* (1) */
		return VERDICT(RUNT);
	if ((h->low[1] >> 52 & 0xf) != 4) /* (3), before what a wrong version has elsewhere */
		return VERDICT(VERSION);
	if (header < IPV4_BYTES) /* (4), before a checksum over so many bytes */
		return VERDICT(HEADER_LENGTH);
	if (header == IPV4_BYTES && fold(ipv4_sum(h, tail)) != 0xffff) /* (2) */
		return VERDICT(CHECKSUM);
	if (total < header || total > *length - ETHERNET_BYTES) /* (5) */
		return VERDICT(TOTAL_LENGTH);
	*length = ETHERNET_BYTES + total;
	return VERDICT_FORWARD;
}

/*
 * A header with options, checksum included, on a copy: the frame's memory may change meanwhile, and
 * an option's length that becomes 0 between its check and its use would never end. What leaves is
 * the frame as it is then: a stranger who changes it harms his own packet. Source routes are
 * refused (RFC 7126 §4.3, §4.4), a malformed option too (RFC 1812 §5.2.4). A host, where one is
 * attached, fills in a record of the route and of times (RFC 1812 §5.3.13.5, §5.3.13.6) and sees a
 * router alert (RFC 2113); without one they pass unchanged, as all others do.
 */
static inline verdict ipv4_check_options(const uint8_t *data, uint32_t header, bool host)
{
	verdict found = VERDICT_FORWARD;
	uint8_t ip[60];
	uint64_t sum = 0;
	uint32_t at = IPV4_BYTES;

	__builtin_memcpy(ip, data, header);
	__asm__ volatile("" : "+m"(ip)); /* no second look at the original */
	for (uint32_t k = 0; k < header; k += 2)
		sum += load16(ip + k);
	if (fold(sum) != 0xffff)
		return VERDICT(CHECKSUM);
	while (at < header) {
		uint8_t kind = ip[at];

		if (kind == 0) /* end of list */
			break;
		if (kind == 1) { /* no operation */
			at++;
			continue;
		}
		if (kind == 131 || kind == 137) /* loose and strict source route */
			return VERDICT(SOURCE_ROUTE);
		if (at + 1 >= header || ip[at + 1] < 2 || at + ip[at + 1] > header)
			return VERDICT(OPTIONS);
		if (host && (kind == 7 || kind == 68 || kind == 148))
			found = VERDICT(OPTIONS);
		at += ip[at + 1];
	}
	return found;
}

/*
 * RFC 8200 §3: the same for IPv6. Payload length 0 means that the header is all there is (what
 * follows is padding), unless a hop-by-hop header follows: then the length should be in a jumbo
 * payload option, and is above 65,535 (RFC 2675 §2, §3). Option or not, the frame does not hold
 * such a packet.
 */
static inline verdict ipv6_check(const struct frame_head *h, uint32_t *length)
{
	uint32_t payload = ipv6_payload_length(h);
	uint32_t total = IPV6_BYTES + payload;

	if ((h->low[1] >> 52 & 0xf) != 6)
		return VERDICT(VERSION);
	if (total > *length - ETHERNET_BYTES)
		return VERDICT(TOTAL_LENGTH);
	if (payload == 0 && ipv6_next_header(h) == HOP_BY_HOP)
		return VERDICT(TOTAL_LENGTH);
	*length = ETHERNET_BYTES + total;
	return VERDICT_FORWARD;
}

/* By what the addresses are (p2pnic/special.h), for a packet to no address of this router. */
static inline verdict special_check(enum p2pnic_special from, enum p2pnic_special to)
{
	if (from >= P2PNIC_SPECIAL_GROUP)
		return VERDICT(MARTIAN_SOURCE);
	if (to == P2PNIC_SPECIAL_NEVER)
		return VERDICT(MARTIAN_DESTINATION);
	if (from == P2PNIC_SPECIAL_LINK || to >= P2PNIC_SPECIAL_LINK)
		return VERDICT(LINK_SCOPE);
	if (from == P2PNIC_SPECIAL_STAY)
		return VERDICT(MARTIAN_SOURCE);
	if (to == P2PNIC_SPECIAL_STAY)
		return VERDICT(MARTIAN_DESTINATION);
	return VERDICT_FORWARD;
}

/* Does its verdict depend on whether its destination is an address of this router? */
static inline bool special_may_end_here(enum p2pnic_special from, enum p2pnic_special to)
{
	return from <= P2PNIC_SPECIAL_STAY && to <= P2PNIC_SPECIAL_STAY && from + to > 0;
}

/* --- Classify --------------------------------------------------------------------------------- */

static inline void look_up4(struct burst *b, unsigned k, uint32_t destination)
{
	b->address4[b->n4] = destination;
	b->index4[b->n4++] = (uint8_t)k;
}

static inline void look_up6(struct burst *b, unsigned k, struct fib_ipv6 destination)
{
	b->address6[b->n6] = destination;
	b->index6[b->n6++] = (uint8_t)k;
}

/* ipv4_plain, and of no address that is no source. True: it stands as to be looked up. */
static inline bool is_plain(
	const struct nic *n, struct burst *b, unsigned k, const struct frame_head *h, uint16_t tail)
{
	if (!ipv4_plain(h, tail, b->frame[k].length, &n->stations, &b->length[k]) ||
		sources_has(&n->sources, ipv4_source_be(h)))
		return false;
	look_up4(b, k, ipv4_destination(h, tail));
	return true;
}

/* The verdict on a packet by its addresses. `local`: its verdict if it is for this router
 * (burst.h). */
static verdict scope4(
	const struct nic *n, struct burst *b, unsigned k, uint16_t tail, verdict local)
{
	const struct frame_head *h = &b->head[k];
	uint32_t destination = ipv4_destination(h, tail);
	enum p2pnic_special from = p2pnic_special_ipv4(ipv4_source(h));
	enum p2pnic_special to = p2pnic_special_ipv4(destination);

	if (sources_has(&n->sources, ipv4_source_be(h)))
		from = P2PNIC_SPECIAL_NEVER;
	if (special_may_end_here(from, to))
		b->special[b->specials++] = (struct burst_special){
			.frame = (uint8_t)k, .local = local, .address4 = destination};
	return special_check(from, to);
}

static verdict scope6(
	struct burst *b, unsigned k, struct fib_ipv6 source, struct fib_ipv6 destination)
{
	enum p2pnic_special from = p2pnic_special_ipv6(source);
	enum p2pnic_special to = p2pnic_special_ipv6(destination);

	if (special_may_end_here(from, to))
		b->special[b->specials++] = (struct burst_special){.frame = (uint8_t)k,
			.local = VERDICT(LOCAL),
			.ipv6 = true,
			.address6 = destination};
	return special_check(from, to);
}

static verdict classify_ipv4(const struct nic *n, struct burst *b, unsigned k)
{
	const uint8_t *data = b->frame[k].data;
	const struct frame_head *h = &b->head[k];
	uint32_t header = b->layer4[k] - ETHERNET_BYTES;
	uint16_t tail = load16(data + 32);
	verdict options = VERDICT_FORWARD, v = ipv4_check(h, tail, &b->length[k]);

	if (v != VERDICT_FORWARD)
		return v;
	if (header > IPV4_BYTES)
		options = ipv4_check_options(data + ETHERNET_BYTES, header,
			n->out[P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION)].open);
	v = scope4(n, b, k, tail, options ? options : VERDICT(LOCAL));
	if (v == VERDICT_FORWARD)
		v = options;
	if (v != VERDICT_FORWARD)
		return v;
	look_up4(b, k, ipv4_destination(h, tail));
	return VERDICT_FORWARD;
}

static verdict classify_ipv6(struct burst *b, unsigned k)
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
		v = scope6(b, k, from, to);
	if (v != VERDICT_FORWARD)
		return v;
	look_up6(b, k, to);
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

/* Takes the tag out of a frame, which from here on is the frame without it. What its VLAN is. */
static enum p2pnic_vlan_state pop_tag(const struct nic *n, struct burst *b, unsigned k)
{
	struct frame *f = &b->frame[k];

	b->popped |= 1ull << k;
	b->vid[k] = TAG_VID(tag_control(&b->head[k]));
	head_pop_tag(&b->head[k], load32(f->data + FRAME_HEAD_BYTES));
	f->data += P2PNIC_TAG_BYTES;
	f->length -= P2PNIC_TAG_BYTES;
	b->length[k] = f->length;
	if (!b->vid[k])
		return P2PNIC_VLAN_FORWARD;
	return (enum p2pnic_vlan_state)atomic_load_explicit(
		&n->vlan[b->vid[k]], memory_order_relaxed);
}

/* Not a plain IPv4 packet with a header of 20 bytes to our MAC: everything that can also come. */
static verdict classify_other(const struct nic *n, struct burst *b, unsigned k)
{
	const struct frame_head *h = &b->head[k];
	enum p2pnic_vlan_state vlan = P2PNIC_VLAN_FORWARD;
	const bool tagged = ethertype_le(h) == ETHERTYPE_VLAN_LE;

	b->length[k] = b->frame[k].length;
	if (b->length[k] < ETHERNET_BYTES + (tagged ? P2PNIC_TAG_BYTES : 0))
		return VERDICT(RUNT);
	if (tagged)
		vlan = pop_tag(n, b, k);
	b->layer4[k] = layer4(h, b->length[k]);
	const bool ours = stations_has(&n->stations, h->low[0]);
	if (!ours && !(h->low[0] & 1))
		return VERDICT(FOREIGN_MAC);
	if (vlan == P2PNIC_VLAN_UNKNOWN)
		return VERDICT(VLAN);
	/* Group addresses are for the host (ARP, neighbour discovery), never routed. */
	if (!ours)
		return VERDICT(LINK_SCOPE);
	if (vlan != P2PNIC_VLAN_FORWARD)
		return VERDICT(ETHERTYPE);
	if (tagged) { /* it has not met this yet */
		if (is_plain(n, b, k, h, load16(b->frame[k].data + 32)))
			return VERDICT_FORWARD;
		b->length[k] = b->frame[k].length;
	}
	switch (ethertype_le(h)) {
	case ETHERTYPE_IPV4_LE:
		return classify_ipv4(n, b, k);
	case ETHERTYPE_IPV6_LE:
		return classify_ipv6(b, k);
	default:
		return VERDICT(ETHERTYPE);
	}
}

/* Likewise: IPv6 that ipv6_check could not refuse, between ordinary addresses. */
static inline bool ipv6_plain(const struct frame_head *h, const uint8_t *data, uint32_t length,
	const struct stations *stations, uint32_t *total)
{
	uint32_t payload = ipv6_payload_length(h);

	if (length < ETHERNET_BYTES + IPV6_BYTES)
		return false;
	*total = ETHERNET_BYTES + IPV6_BYTES + payload;
	return (h->low[1] >> 52 & 0xf) == 6 && payload != 0 && *total <= length &&
	       stations_has(stations, h->low[0]) && !ipv6_suspect(ipv6_address(data + 22).high) &&
	       !ipv6_suspect(ipv6_address(data + 38).high);
}

void classify_frames(const struct nic *n, struct burst *b, unsigned k, unsigned end)
{
	for (; k < end; k++) {
		const uint8_t *data = b->frame[k].data;
		uint16_t tail = load16(data + 32);
		struct frame_head head = {
			{load64(data), load64(data + 8)}, {load64(data + 16), load64(data + 24)}};

		b->head[k] = head;
		if (ethertype_le(&head) == ETHERTYPE_IPV6_LE &&
			ipv6_plain(&head, data, b->frame[k].length, &n->stations, &b->length[k])) {
			b->layer4[k] = ETHERNET_BYTES + IPV6_BYTES;
			look_up6(b, k, ipv6_address(data + 38));
		} else if (unlikely(!is_plain(n, b, k, &head, tail))) {
			b->verdict[k] = classify_other(n, b, k);
		}
	}
}
