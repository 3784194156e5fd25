/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of one IPv6 frame: RFC 8200. Run for each transfer method. */
#include "tests/unit/firmware_fate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void ipv6_is_forwarded(void **state)
{
	struct rig *r = rig_new(3, &(struct rig_config){0});
	static const uint32_t payload[] = {0, 1, 18, 100, 1000, 1023, 1471, 1720};
	struct packet p;

	for (unsigned egress = 0; egress < 3; egress++)
		for (unsigned k = 0; k < sizeof(payload) / sizeof(*payload); k++) {
			packet_ipv6(&p, 0, PACKET_TO6(egress), 2 + k * 30, payload[k], k);
			forwards(r, &p, egress);
		}
	/* Trimmed to its payload length; extension headers as they are. */
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
	p.length += 30;
	p.bytes[20] = 0;
	forwards(r, &p, 1);
	/* Payload length 0: the rest is padding, whatever the next header (RFC 8200 §3, §4.7). */
	for (unsigned next = 1; next < 256; next++) {
		packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
		put16(p.bytes + 18, 0);
		p.bytes[20] = (uint8_t)next;
		forwards(r, &p, 1);
	}
	rig_free(r);
}

/* Each way out of the table, for IPv6. */
static void ipv6_adjacency_kinds(void **state)
{
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct fib_route route = {{PACKET_TO6(1), 0}, 48, 6, RIG_HOP_LOCAL};
	struct packet p;

	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
	rig_routes6(r, 0, &route, 1);
	drops(r, &p, P2PNIC_DROP_LOCAL);
	route.next_hop = RIG_HOP_NO_SUCH_NIC;
	rig_routes6(r, 0, &route, 1);
	drops(r, &p, P2PNIC_DROP_NO_PEER);
	route.next_hop = RIG_HOP_SMALL_MTU;
	rig_routes6(r, 0, &route, 1);
	forwards(r, &p, 0);
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 576 - 48, 1);
	forwards(r, &p, 0);
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 577 - 48, 1);
	drops(r, &p, P2PNIC_DROP_MTU);
	rig_free(r);
}

static void malformed_ipv6_is_dropped(void **state)
{
	static const struct {
		const char *what;
		unsigned at, bytes;
		uint8_t value[16];
		uint32_t length;
		enum p2pnic_drop reason;
	} table[] = {
		{"version 4", 14, 1, {0x41}, 0, P2PNIC_DROP_VERSION},
		{"payload above the frame", 18, 2, {0, 109}, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"payload far above", 18, 2, {0xff, 0xff}, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"53 bytes", 14, 1, {0x61}, 53, P2PNIC_DROP_RUNT},
		{"hop limit 1", 21, 1, {1}, 0, P2PNIC_DROP_TTL},
		{"hop limit 0", 21, 1, {0}, 0, P2PNIC_DROP_TTL},
		{"source ::", 22, 16, {0}, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source ::1", 22, 16, {[15] = 1}, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source ff02::1", 22, 16, {0xff, 2, [15] = 1}, 0, P2PNIC_DROP_MARTIAN_SOURCE},
		{"source fe80::1", 22, 16, {0xfe, 0x80, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"source febf::1", 22, 16, {0xfe, 0xbf, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination ::1", 38, 16, {[15] = 1}, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"destination ::", 38, 16, {0}, 0, P2PNIC_DROP_MARTIAN_DESTINATION},
		{"no header behind the first", 18, 3, {0, 0, 0}, 0, P2PNIC_DROP_TOTAL_LENGTH},
		{"destination ff01::1", 38, 16, {0xff, 1, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination ff02::1", 38, 16, {0xff, 2, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"destination fe80::1", 38, 16, {0xfe, 0x80, [15] = 1}, 0, P2PNIC_DROP_LINK_SCOPE},
		{"no route", 38, 1, {0x2a}, 0, P2PNIC_DROP_NO_ROUTE},
	};
	struct rig *r = rig_new(2, &(struct rig_config){0});
	struct packet p;

	for (size_t k = 0; k < sizeof(table) / sizeof(*table); k++) {
		packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, (uint32_t)k);
		memcpy(p.bytes + table[k].at, table[k].value, table[k].bytes);
		if (table[k].length)
			p.length = table[k].length;
		print_message("         %s\n", table[k].what);
		drops(r, &p, table[k].reason);
	}
	nic_register_write(r->at[0].nic, P2PNIC_REG_FIB6_OFFSET, 0);
	assert_int_equal(rig_command(r, 0, P2PNIC_OP_FIB_IPV6, 0), P2PNIC_OK);
	packet_ipv6(&p, 0, PACKET_TO6(1), 64, 100, 1);
	drops(r, &p, P2PNIC_DROP_NO_ROUTE);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv6_is_forwarded),
		cmocka_unit_test(ipv6_adjacency_kinds),
		cmocka_unit_test(malformed_ipv6_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
