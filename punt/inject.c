/* SPDX-License-Identifier: BSD-3-Clause */
#include "punt/inject.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>

#define TAGS_MAX    2u
#define TYPE_SLOW   0x8809 /* IEEE 802.3, annex 57A */
#define TYPE_LLDP   0x88cc
#define PROTO_OSPF  89
#define PROTO_VRRP  112
#define PROTO_EIGRP 88

static uint16_t be16_at(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static bool udp_control(uint16_t port)
{
	switch (port) {
	case 520:  /* RIP: RFC 2453 */
	case 521:  /* RIPng: RFC 2080 */
	case 646:  /* LDP: RFC 5036 */
	case 3784: /* BFD: RFC 5881 */
	case 3785:
	case 4784: /* multihop: RFC 5883 */
	case 6784: /* on bundles: RFC 7130 */
		return true;
	default:
		return false;
	}
}

static bool tcp_control(uint16_t port)
{
	return port == 179 || port == 646; /* BGP: RFC 4271; LDP */
}

/* What follows an IP header. */
static enum p2pnic_host_ring by_protocol(uint8_t protocol, const uint8_t *at, uint32_t length)
{
	bool control = false;

	switch (protocol) {
	case IPPROTO_IGMP:
	case IPPROTO_PIM:
	case PROTO_EIGRP:
	case PROTO_OSPF:
	case PROTO_VRRP:
		control = true;
		break;
	case IPPROTO_UDP:
		control = length >= 4 && (udp_control(be16_at(at)) || udp_control(be16_at(at + 2)));
		break;
	case IPPROTO_TCP:
		control = length >= 4 && (tcp_control(be16_at(at)) || tcp_control(be16_at(at + 2)));
		break;
	case IPPROTO_ICMPV6:
		if (length && at[0] >= 133 && at[0] <= 137)
			return P2PNIC_RING_NEIGHBOR;
		/* MLD: RFC 2710, RFC 3810 */
		control = length && ((at[0] >= 130 && at[0] <= 132) || at[0] == 143);
		break;
	default:
		break;
	}
	return control ? P2PNIC_RING_CONTROL : P2PNIC_RING_EXCEPTION;
}

static enum p2pnic_host_ring by_ipv4(const uint8_t *ip, uint32_t length)
{
	const uint32_t header = length >= 20 ? (ip[0] & 15u) * 4 : 0;

	/* Later fragments have no ports. */
	if (header < 20 || header > length || (be16_at(ip + 6) & 0x1fff))
		return P2PNIC_RING_EXCEPTION;
	return by_protocol(ip[9], ip + header, length - header);
}

static enum p2pnic_host_ring by_ipv6(const uint8_t *ip, uint32_t length)
{
	if (length < 40)
		return P2PNIC_RING_EXCEPTION;
	/* MLD has a router alert in front: RFC 2710 §3. */
	if (ip[6] == IPPROTO_HOPOPTS && length >= 48 && ip[41] == 0)
		return by_protocol(ip[40], ip + 48, length - 48);
	return by_protocol(ip[6], ip + 40, length - 40);
}

enum p2pnic_host_ring inject_ring(const uint8_t *frame, uint32_t length)
{
	uint32_t at = 12;
	uint16_t type = 0;

	for (unsigned tags = 0; tags <= TAGS_MAX; tags++, at += 4) {
		if (length < at + 2)
			return P2PNIC_RING_EXCEPTION;
		type = be16_at(frame + at);
		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			break;
	}
	at += 2;
	switch (type) {
	case ETH_P_ARP:
		return P2PNIC_RING_NEIGHBOR;
	case TYPE_LLDP:
	case TYPE_SLOW:
		return P2PNIC_RING_CONTROL;
	case ETH_P_IP:
		return by_ipv4(frame + at, length - at);
	case ETH_P_IPV6:
		return by_ipv6(frame + at, length - at);
	default:
		/* A length in place of the type: LLC. */
		return type < ETH_P_802_3_MIN ? P2PNIC_RING_CONTROL : P2PNIC_RING_EXCEPTION;
	}
}
