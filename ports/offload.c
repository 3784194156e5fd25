/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

uint16_t offload_sum(const uint8_t *bytes, uint32_t length, uint16_t start)
{
	uint64_t sum = start;
	uint32_t at = 0;

	/* RFC 1071 §2 (B), (C): any word size and byte order will do, folded at the end. */
	for (; at + 4 <= length; at += 4) {
		uint32_t word;
		memcpy(&word, bytes + at, 4);
		sum += word;
	}
	for (; at + 2 <= length; at += 2) {
		uint16_t word;
		memcpy(&word, bytes + at, 2);
		sum += word;
	}
	if (at < length) {
		uint8_t last[2] = {bytes[at], 0};
		uint16_t word;
		memcpy(&word, last, 2);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

bool offload_checksum(uint8_t *frame, uint32_t length, const struct virtio_net_hdr *header)
{
	uint32_t start = header->csum_start;
	uint32_t field = start + header->csum_offset;

	if (start > length || field + 2 > length)
		return false;
	/* The field holds the sum of the pseudo-header, so it takes part like any other word. */
	uint16_t sum = (uint16_t)~offload_sum(frame + start, length - start, 0);
	/* RFC 768: an UDP checksum of 0 means "none"; its other form is right for TCP too. */
	if (sum == 0)
		sum = 0xffff;
	memcpy(frame + field, &sum, 2);
	return true;
}

static uint16_t load16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* Where the payload of IP begins and what it is. */
struct segment {
	uint32_t start;
	uint32_t length;
	uint8_t protocol;
	uint16_t addresses; /* sum of source and destination */
};

static bool find_ipv4(const uint8_t *frame, uint32_t length, uint32_t ip, struct segment *segment)
{
	if (ip + 20 > length)
		return false;
	uint32_t header = (frame[ip] & 0xf) * 4u;
	uint32_t total = load16(frame + ip + 2);
	bool fragment = load16(frame + ip + 6) & 0x3fff;
	if (frame[ip] >> 4 != 4 || header < 20 || total < header || total > length - ip || fragment)
		return false;
	*segment = (struct segment){.start = ip + header,
		.length = total - header,
		.protocol = frame[ip + 9],
		.addresses = offload_sum(frame + ip + 12, 8, 0)};
	return true;
}

static bool find_ipv6(const uint8_t *frame, uint32_t length, uint32_t ip, struct segment *segment)
{
	if (ip + 40 > length || frame[ip] >> 4 != 6)
		return false;
	uint32_t at = ip + 40;
	uint32_t end = at + load16(frame + ip + 4);
	uint8_t next = frame[ip + 6];
	if (end > length)
		return false;
	/* Hop-by-hop and destination options (RFC 8200, 4.3 and 4.6) do not change the pseudo-header. */
	while ((next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS) && at + 8 <= end) {
		next = frame[at];
		at += (frame[at + 1] + 1u) * 8;
	}
	if (at > end)
		return false;
	*segment = (struct segment){.start = at,
		.length = end - at,
		.protocol = next,
		.addresses = offload_sum(frame + ip + 8, 32, 0)};
	return true;
}

void offload_repair(uint8_t *frame, uint32_t length)
{
	struct segment segment;
	uint32_t ip = ETH_HLEN;
	bool found = false;

	if (length < ETH_HLEN + 20)
		return;
	uint16_t type = load16(frame + 12);
	for (int tags = 0; tags < 2 && (type == ETH_P_8021Q || type == ETH_P_8021AD); tags++) {
		type = load16(frame + ip + 2);
		ip += 4;
	}
	if (type == ETH_P_IP)
		found = find_ipv4(frame, length, ip, &segment);
	else if (type == ETH_P_IPV6)
		found = find_ipv6(frame, length, ip, &segment);
	if (!found)
		return;

	uint32_t field = segment.protocol == IPPROTO_TCP   ? 16
			 : segment.protocol == IPPROTO_UDP ? 6
							   : 0;
	uint32_t smallest = segment.protocol == IPPROTO_TCP ? 20 : 8;
	if (field == 0 || segment.length < smallest)
		return;
	/* The rest of the pseudo-header: protocol and length, in the packet's byte order. */
	const uint8_t rest[4] = {
		0, segment.protocol, (uint8_t)(segment.length >> 8), (uint8_t)segment.length};
	uint16_t pseudo = offload_sum(rest, sizeof(rest), segment.addresses);
	uint16_t checksum;
	memcpy(&checksum, frame + segment.start + field, 2);
	if (checksum != pseudo)
		return;
	const struct virtio_net_hdr partial = {
		.csum_start = (uint16_t)segment.start, .csum_offset = (uint16_t)field};
	offload_checksum(frame, segment.start + segment.length, &partial);
}
