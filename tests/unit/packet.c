/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet.h"

#include <string.h>

static uint16_t naive_sum(const uint8_t *p, unsigned bytes)
{
	uint32_t sum = 0;

	for (unsigned k = 0; k + 1 < bytes; k += 2)
		sum += get16(p + k);
	while (sum > 0xffff)
		sum = sum - 0x10000 + 1;
	return (uint16_t)sum;
}

void packet_checksum(struct packet *p)
{
	uint8_t *ip = p->bytes + 14;

	put16(ip + 10, 0);
	put16(ip + 10, 0xffff - naive_sum(ip, (ip[0] & 15) * 4u));
}

static void ethernet(struct packet *p, unsigned nic, unsigned type)
{
	static const uint8_t sender[6] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};
	struct mac_addr mac = packet_mac(nic);

	memcpy(p->bytes, &mac, 6);
	memcpy(p->bytes + 6, sender, 6);
	put16(p->bytes + 12, type);
}

/* The last four bytes are the seed, the others follow from it. */
static void payload(uint8_t *p, uint32_t bytes, uint32_t seed)
{
	for (uint32_t k = 0; k < bytes; k++)
		p[k] = (uint8_t)(seed * 7 + k * 13);
	if (bytes >= 4)
		put32(p + bytes - 4, seed);
}

uint32_t packet_seed(const struct packet *p)
{
	return get32(p->bytes + p->length - 4);
}

void packet_ipv4(struct packet *p, unsigned nic, uint32_t destination, uint8_t ttl,
	uint32_t payload_bytes, uint32_t seed)
{
	uint8_t *ip = p->bytes + 14;

	memset(p->bytes, 0, 64);
	ethernet(p, nic, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, 28 + payload_bytes);
	put16(ip + 4, seed & 0xffff);
	ip[8] = ttl;
	ip[9] = 17;
	put32(ip + 12, 0xc0a80001u | nic << 8);
	put32(ip + 16, destination);
	put16(ip + 20, 4000);
	put16(ip + 22, 5000);
	put16(ip + 24, 8 + payload_bytes);
	payload(ip + 28, payload_bytes, seed);
	p->length = 14 + 28 + payload_bytes;
	packet_checksum(p);
}

void packet_ipv6(struct packet *p, unsigned nic, uint64_t destination_high, uint8_t hop_limit,
	uint32_t payload_bytes, uint32_t seed)
{
	uint8_t *ip = p->bytes + 14;

	memset(p->bytes, 0, 64);
	ethernet(p, nic, 0x86dd);
	put32(ip, 0x6123abcd); /* class 0x12, flow label 0x3abcd */
	put16(ip + 4, 8 + payload_bytes);
	ip[6] = 17;
	ip[7] = hop_limit;
	put32(ip + 8, 0xfd000db8);
	put32(ip + 12, 0xffff0000 | nic);
	put32(ip + 20, 1);
	put32(ip + 24, (uint32_t)(destination_high >> 32));
	put32(ip + 28, (uint32_t)destination_high);
	put32(ip + 36, 1);
	put16(ip + 40, 4000);
	put16(ip + 42, 5000);
	put16(ip + 44, 8 + payload_bytes);
	payload(ip + 48, payload_bytes, seed);
	p->length = 14 + 48 + payload_bytes;
}

void packet_tag(struct packet *p, unsigned control)
{
	memmove(p->bytes + 16, p->bytes + 12, p->length - 12);
	put16(p->bytes + 12, 0x8100);
	put16(p->bytes + 14, control);
	p->length += 4;
}

void packet_untag(struct packet *p)
{
	p->length -= 4;
	memmove(p->bytes + 12, p->bytes + 16, p->length - 12);
}

void packet_forwarded(struct packet *p, unsigned ingress, unsigned egress)
{
	struct mac_addr to = packet_next_mac(egress), from = packet_way_mac(ingress, egress);
	uint8_t *ip = p->bytes + 14;

	memcpy(p->bytes, &to, 6);
	memcpy(p->bytes + 6, &from, 6);
	if (get16(p->bytes + 12) == 0x0800) {
		p->length = 14 + get16(ip + 2);
		ip[8]--;
		packet_checksum(p);
	} else {
		p->length = 14 + 40 + get16(ip + 4);
		ip[7]--;
	}
}
