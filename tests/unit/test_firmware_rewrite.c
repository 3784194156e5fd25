/* SPDX-License-Identifier: BSD-3-Clause */
/* The new head of an IPv4 packet: its checksum, whatever the header (firmware/resolve.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "firmware/resolve.c" /* NOLINT(bugprone-suspicious-include) */
#include "tests/unit/packet.h"

/* RFC 1624: every checksum and TTL, against the sum made anew. */
static void rewriting_keeps_every_checksum(void **state)
{
	const struct p2pnic_adjacency adjacency = {.mtu = 1500};
	struct frame_head head;
	struct packet p;

	packet_ipv4(&p, 0, PACKET_TO(1), 64, 40, 0);
	for (unsigned ttl = 1; ttl < 256; ttl++) {
		p.bytes[22] = (uint8_t)ttl;
		for (unsigned id = 0; id < 65536; id += ttl % 16 == 1 ? 1 : 37) {
			uint8_t out[32];
			uint32_t sum = 0;

			put16(p.bytes + 18, id);
			packet_checksum(&p);
			memcpy(&head, p.bytes, 32);
			rewrite_ipv4(&head, &adjacency);
			memcpy(out, &head, 32);
			assert_int_equal(out[22], ttl - 1);
			for (unsigned k = 14; k < 32; k += 2)
				sum += get16(out + k);
			sum += get16(p.bytes + 32);
			while (sum > 0xffff)
				sum = sum - 0x10000 + 1;
			if (sum != 0xffff)
				fail_msg("id %u, TTL %u: sum %x", id, ttl, sum);
		}
	}
	/* Every value of the field, whatever the header: HC' = ~(~HC + ~m + m'), equation 3. */
	for (unsigned hc = 0; hc < 65536; hc++)
		for (unsigned ttl = 1; ttl < 256; ttl += 254) {
			unsigned m = ttl << 8 | 17, n = (ttl - 1) << 8 | 17;
			unsigned sum = (~hc & 0xffff) + (~m & 0xffff) + n;
			uint8_t out[32];

			sum = (sum & 0xffff) + (sum >> 16);
			sum = (sum & 0xffff) + (sum >> 16);
			put16(p.bytes + 24, hc);
			p.bytes[22] = (uint8_t)ttl;
			memcpy(&head, p.bytes, 32);
			rewrite_ipv4(&head, &adjacency);
			memcpy(out, &head, 32);
			if (get16(out + 24) != (~sum & 0xffff))
				fail_msg("checksum %04x, TTL %u", hc, ttl);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rewriting_keeps_every_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
