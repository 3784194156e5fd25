/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/firmware_model.h"

#include <arpa/inet.h>

/*
 * https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry as of
 * 2025-04, all rows in their order but the withdrawn ones (192.88.99.0/24 and 2001:10::/28: columns
 * empty).
 */
const struct model_block model_block4[] = {
	{"0.0.0.0", 8, false},
	{"0.0.0.0", 32, false},
	{"10.0.0.0", 8, true},
	{"100.64.0.0", 10, true},
	{"127.0.0.0", 8, false},
	{"169.254.0.0", 16, false},
	{"172.16.0.0", 12, true},
	{"192.0.0.0", 24, false},
	{"192.0.0.0", 29, true},
	{"192.0.0.8", 32, false},
	{"192.0.0.9", 32, true},
	{"192.0.0.10", 32, true},
	{"192.0.0.170", 32, false},
	{"192.0.0.171", 32, false},
	{"192.0.2.0", 24, false},
	{"192.31.196.0", 24, true},
	{"192.52.193.0", 24, true},
	{"192.88.99.2", 32, true},
	{"192.168.0.0", 16, true},
	{"192.175.48.0", 24, true},
	{"198.18.0.0", 15, true},
	{"198.51.100.0", 24, false},
	{"203.0.113.0", 24, false},
	{"240.0.0.0", 4, false},
	{"255.255.255.255", 32, false},
};
const unsigned model_blocks4 = sizeof(model_block4) / sizeof(*model_block4);

const struct model_block model_block6[] = {
	{"::1", 128, false},
	{"::", 128, false},
	{"::ffff:0:0", 96, false},
	{"64:ff9b::", 96, true},
	{"64:ff9b:1::", 48, true},
	{"100::", 64, true},
	{"100:0:0:1::", 64, false},
	{"2001::", 23, false},
	{"2001::", 32, true},
	{"2001:1::1", 128, true},
	{"2001:1::2", 128, true},
	{"2001:1::3", 128, true},
	{"2001:2::", 48, true},
	{"2001:3::", 32, true},
	{"2001:4:112::", 48, true},
	{"2001:20::", 28, true},
	{"2001:30::", 28, true},
	{"2001:db8::", 32, false},
	{"2002::", 16, true},
	{"2620:4f:8000::", 48, true},
	{"3fff::", 20, false},
	{"5f00::", 16, true},
	{"fc00::", 7, true},
	{"fe80::", 10, false},
};
const unsigned model_blocks6 = sizeof(model_block6) / sizeof(*model_block6);

static bool holds(const uint8_t *prefix, unsigned length, const uint8_t *address)
{
	for (unsigned bit = 0; bit < length; bit++)
		if ((prefix[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	return true;
}

bool model_forwardable(const uint8_t *address, bool six)
{
	const struct model_block *block = six ? model_block6 : model_block4;
	bool forwardable = true;
	int longest = -1;

	for (unsigned k = 0; k < (six ? model_blocks6 : model_blocks4); k++) {
		uint8_t prefix[16];

		inet_pton(six ? AF_INET6 : AF_INET, block[k].prefix, prefix);
		if ((int)block[k].length > longest && holds(prefix, block[k].length, address)) {
			longest = (int)block[k].length;
			forwardable = block[k].forwardable;
		}
	}
	return forwardable;
}

static void drop(struct model *m, enum p2pnic_drop reason)
{
	m->verdict = MODEL_DROP;
	m->reason = reason;
}

static void punt(struct model *m, enum p2pnic_drop reason)
{
	m->verdict = MODEL_PUNT;
	m->reason = reason;
}

static bool sum_is_right(const uint8_t *header, unsigned bytes)
{
	uint32_t sum = 0;

	for (unsigned k = 0; k < bytes; k += 2)
		sum += get16(header + k);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

bool model_host;

/* 0: the packet passes. */
static enum p2pnic_drop options_of(const uint8_t *option, unsigned bytes)
{
	bool asks = false;

	while (bytes > 0 && *option != 0) {
		unsigned length = 1;

		if (*option == 131 || *option == 137)
			return P2PNIC_DROP_SOURCE_ROUTE;
		if (*option != 1) {
			if (bytes < 2 || option[1] < 2 || option[1] > bytes)
				return P2PNIC_DROP_OPTIONS;
			length = option[1];
		}
		asks |= *option == 7 || *option == 68 || *option == 148;
		option += length;
		bytes -= length;
	}
	return asks && model_host ? P2PNIC_DROP_OPTIONS : 0;
}

/* The packet goes by next hop `hop`. */
static void route(struct model *m, unsigned ingress, unsigned hop, unsigned ttl)
{
	unsigned mtu = hop == RIG_HOP_SMALL_MTU ? 576 : P2PNIC_MTU_MAX(P2PNIC_BUFFER_BYTES_MIN);
	const bool tagged = hop == RIG_HOP_TAGGED;

	switch (hop) {
	case 0:
	case RIG_HOP_NONE:
		punt(m, P2PNIC_DROP_NO_ROUTE);
		return;
	case RIG_HOP_LOCAL:
		punt(m, P2PNIC_DROP_LOCAL);
		return;
	case RIG_HOP_GLEAN:
		punt(m, P2PNIC_DROP_NO_NEIGHBOR);
		return;
	case RIG_HOP_BLACKHOLE:
		drop(m, P2PNIC_DROP_BLACKHOLE);
		return;
	case RIG_HOP_BROADCAST:
		drop(m, P2PNIC_DROP_BROADCAST);
		return;
	case RIG_HOP_UNREACHABLE:
		punt(m, P2PNIC_DROP_UNREACHABLE);
		return;
	case RIG_HOP_PROHIBIT:
		punt(m, P2PNIC_DROP_PROHIBIT);
		return;
	case RIG_HOP_NO_SUCH_NIC:
		drop(m, P2PNIC_DROP_NO_PEER);
		return;
	}
	m->egress = hop == RIG_HOP_SMALL_MTU || tagged ? 0 : hop - RIG_HOP_EGRESS;
	m->needs_egress = true;
	if (ttl < 2) {
		punt(m, P2PNIC_DROP_TTL);
	} else if (m->packet.length > 14 + mtu - (tagged ? 4 : 0)) {
		punt(m, P2PNIC_DROP_MTU);
	} else {
		m->verdict = MODEL_FORWARD;
		packet_forwarded(&m->packet, ingress, m->egress);
		if (tagged)
			packet_tag(&m->packet, RIG_CONTROL);
	}
}

static void ipv4(struct model *m, unsigned ingress)
{
	const uint8_t *ip = m->packet.bytes + 14;
	unsigned header = (ip[0] & 15) * 4u, total = get16(ip + 2);
	unsigned source = ip[12], destination = ip[16], hop = 0;

	if (destination == 10 && ip[17] < RIG_NICS_MAX)
		hop = RIG_HOP_EGRESS + ip[17];
	if (destination == 11 && ip[17] >= RIG_HOP_LOCAL && ip[17] <= RIG_HOP_TAGGED)
		hop = ip[17];

	if (m->packet.length < 34)
		drop(m, P2PNIC_DROP_RUNT);
	else if (ip[0] >> 4 != 4)
		drop(m, P2PNIC_DROP_VERSION);
	else if (header < 20)
		drop(m, P2PNIC_DROP_HEADER_LENGTH);
	else if (header == 20 && !sum_is_right(ip, 20))
		drop(m, P2PNIC_DROP_CHECKSUM);
	else if (total < header || 14 + total > m->packet.length)
		drop(m, P2PNIC_DROP_TOTAL_LENGTH);
	else if (source == 0 || source == 127 || (source >= 224 && source < 240) ||
		 get32(ip + 12) == 0xffffffff)
		drop(m, P2PNIC_DROP_MARTIAN_SOURCE);
	else if (destination == 0 || destination == 127)
		drop(m, P2PNIC_DROP_MARTIAN_DESTINATION);
	else if ((destination >= 224 && destination < 240) || get32(ip + 16) == 0xffffffff) {
		m->packet.length = 14 + total;
		punt(m, P2PNIC_DROP_LINK_SCOPE);
	} else if (hop != RIG_HOP_LOCAL && !model_forwardable(ip + 12, false))
		drop(m, P2PNIC_DROP_MARTIAN_SOURCE);
	else if (hop != RIG_HOP_LOCAL && !model_forwardable(ip + 16, false))
		drop(m, P2PNIC_DROP_MARTIAN_DESTINATION);
	else if (header > 20 && !sum_is_right(ip, header))
		drop(m, P2PNIC_DROP_CHECKSUM);
	else
		goto sound;
	return;
sound:
	switch (options_of(ip + 20, header - 20)) {
	case P2PNIC_DROP_SOURCE_ROUTE:
		drop(m, P2PNIC_DROP_SOURCE_ROUTE);
		return;
	case P2PNIC_DROP_OPTIONS:
		m->packet.length = 14 + total;
		punt(m, P2PNIC_DROP_OPTIONS);
		return;
	default:
		break;
	}
	m->packet.length = 14 + total;
	route(m, ingress, hop, ip[8]);
}

static bool all_zero(const uint8_t *p, unsigned bytes)
{
	for (unsigned k = 0; k < bytes; k++)
		if (p[k])
			return false;
	return true;
}

/* An IPv4 address in an IPv6 one. */
static bool mapped(const uint8_t *p)
{
	return all_zero(p, 10) && get16(p + 10) == 0xffff;
}

static void ipv6(struct model *m, unsigned ingress)
{
	const uint8_t *ip = m->packet.bytes + 14, *source = ip + 8, *destination = ip + 24;
	unsigned total = 40 + get16(ip + 4), hop = 0;

	if (m->packet.length < 54) {
		drop(m, P2PNIC_DROP_RUNT);
		return;
	}
	if (ip[0] >> 4 != 6) {
		drop(m, P2PNIC_DROP_VERSION);
		return;
	}
	if (14 + total > m->packet.length) {
		drop(m, P2PNIC_DROP_TOTAL_LENGTH);
		return;
	}
	if (get16(ip + 4) == 0 && ip[6] == 0) {
		drop(m, P2PNIC_DROP_TOTAL_LENGTH);
		return;
	}
	if (source[0] == 0xff || (all_zero(source, 15) && source[15] < 2) || mapped(source)) {
		drop(m, P2PNIC_DROP_MARTIAN_SOURCE);
		return;
	}
	if ((all_zero(destination, 15) && destination[15] < 2) || mapped(destination)) {
		drop(m, P2PNIC_DROP_MARTIAN_DESTINATION);
		return;
	}
	if (destination[0] == 0xff || (get16(destination) & 0xffc0) == 0xfe80 ||
		(get16(source) & 0xffc0) == 0xfe80) {
		m->packet.length = 14 + total;
		punt(m, P2PNIC_DROP_LINK_SCOPE);
		return;
	}
	if (!model_forwardable(source, true) || !model_forwardable(destination, true)) {
		drop(m, !model_forwardable(source, true) ? P2PNIC_DROP_MARTIAN_SOURCE
							 : P2PNIC_DROP_MARTIAN_DESTINATION);
		return;
	}
	m->packet.length = 14 + total;
	if (get32(destination) == 0xfd000db8 && get16(destination + 4) < RIG_NICS_MAX)
		hop = RIG_HOP_EGRESS + get16(destination + 4);
	if (get32(destination) == 0xfd000db8 && get16(destination + 4) == 7)
		hop = RIG_HOP_TAGGED;
	route(m, ingress, hop, ip[7]);
}

void model_receive(struct model *m, unsigned ingress, const struct packet *p)
{
	struct mac_addr mac = packet_mac(ingress);
	const bool tagged = p->length >= 14 && get16(p->bytes + 12) == 0x8100;
	const unsigned control = tagged ? get16(p->bytes + 14) : 0, vid = control & 0xfff;
	const uint8_t *type = p->bytes + (tagged ? 16 : 12);

	m->packet = *p;
	m->needs_egress = false;
	if (p->length < (tagged ? 18u : 14u)) {
		drop(m, P2PNIC_DROP_RUNT);
		return;
	}
	if (tagged)
		packet_untag(&m->packet);
	if (memcmp(p->bytes, &mac, 6) != 0 && !(p->bytes[0] & 1))
		drop(m, P2PNIC_DROP_FOREIGN_MAC);
	else if (vid == RIG_VLAN_UNKNOWN)
		drop(m, P2PNIC_DROP_VLAN);
	else if (p->bytes[0] & 1)
		punt(m, P2PNIC_DROP_LINK_SCOPE);
	else if (vid != 0 && vid != RIG_VLAN)
		punt(m, P2PNIC_DROP_ETHERTYPE);
	else if (get16(type) == 0x0800)
		ipv4(m, ingress);
	else if (get16(type) == 0x86dd)
		ipv6(m, ingress);
	else
		punt(m, P2PNIC_DROP_ETHERTYPE);
	if (tagged && m->verdict == MODEL_PUNT)
		packet_tag(&m->packet, control);
}
