/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/packet_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void mac(char text[PACKET_TEXT_BYTES], const uint8_t *p)
{
	snprintf(text, PACKET_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", p[0], p[1], p[2], p[3],
		p[4], p[5]);
}

bool packet_fields(struct packet_fields *f, const uint8_t *frame, uint32_t bytes)
{
	uint32_t at = 14;
	const uint8_t *ip;

	*f = (struct packet_fields){.vlan = -1};
	if (bytes < at)
		return false;
	mac(f->destination_mac, frame);
	mac(f->source_mac, frame + 6);
	f->type = get16(frame + 12);
	if (f->type == 0x8100 && bytes >= at + 4) {
		f->vlan = (int)(get16(frame + 14) & 0xfff);
		f->type = get16(frame + 16);
		at += 4;
	}
	ip = frame + at;
	if (f->type == 0x0800 && bytes >= at + 20) {
		f->family = 4;
		f->ttl = ip[8];
		f->protocol = ip[9];
		f->checksum = get16(ip + 10);
		inet_ntop(AF_INET, ip + 12, f->source, PACKET_TEXT_BYTES);
		inet_ntop(AF_INET, ip + 16, f->destination, PACKET_TEXT_BYTES);
	} else if (f->type == 0x86dd && bytes >= at + 40) {
		f->family = 6;
		f->ttl = ip[7];
		f->protocol = ip[6];
		inet_ntop(AF_INET6, ip + 8, f->source, PACKET_TEXT_BYTES);
		inet_ntop(AF_INET6, ip + 24, f->destination, PACKET_TEXT_BYTES);
	}
	return true;
}
