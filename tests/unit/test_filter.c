/* SPDX-License-Identifier: BSD-3-Clause */
/* The firmware's filter beside libpcap's: expressions as people write them, over frames of all
 * kinds; and programs that must be refused. */
#include "firmware/filter.h"
#include "tests/unit/packet.h"
#include "tests/unit/seed.h"

#include <pcap/pcap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const expressions[] = {"ip", "ip6", "arp", "tcp or udp", "not udp",
	"host 192.168.0.1", "src net 192.168.0.0/16", "dst host 10.1.0.1", "udp port 1000",
	"portrange 1-4000", "ip[8] < 10", "ip proto 17 and len > 100",
	"ip6 dst net fd00:db8:1::/48", "vlan 7", "vlan and ip and udp", "ether multicast",
	"ether host 02:10:20:30:40:00", "ip[6:2] & 0x1fff != 0", "udp[0:2] % 3 = 1",
	"ip[2:2] * 2 / 3 - 5 > (ip[8] << 2)", "icmp6 or icmp", "greater 200",
	"ether[12:2] >= 0x8100 and ether[0] & 1 = 0"};

static uint64_t state;

/* Marsaglia, xorshift64. */
static uint64_t test_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static void random_packet(struct packet *p)
{
	const uint64_t random = test_random();
	const uint32_t payload = (uint32_t)(random % 400);
	const unsigned to = (unsigned)(random >> 16 & 3);

	if (random >> 20 & 1)
		packet_ipv4(
			p, 0, PACKET_TO(to), (uint8_t)(random >> 24), payload, (uint32_t)random);
	else
		packet_ipv6(
			p, 0, PACKET_TO6(to), (uint8_t)(random >> 24), payload, (uint32_t)random);
	if ((random >> 32 & 3) == 0)
		packet_tag(p, (unsigned)(random >> 34 & 8) | 7);
	for (unsigned k = (unsigned)(random >> 40 & 3); k; k--)
		p->bytes[test_random() % p->length] = (uint8_t)test_random();
	if ((random >> 48 & 7) == 0)
		p->length = (uint32_t)(random >> 52) % (p->length + 1);
}

#define BURST 50 /* of 2000 */
static void accepts_what_libpcap_accepts(void **unused)
{
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, 65535);
	static struct packet packet[BURST];
	struct frame frame[BURST];
	uint64_t wanted = 0;

	for (size_t k = 0; k < sizeof(expressions) / sizeof(*expressions); k++) {
		struct bpf_program program;
		unsigned accepted = 0;

		assert_int_equal(
			pcap_compile(pcap, &program, expressions[k], 1, PCAP_NETMASK_UNKNOWN), 0);
		const struct p2pnic_instruction *ours = (const void *)program.bf_insns;

		assert_true(filter_valid(ours, program.bf_len));
		for (unsigned n = 0; n < 2000; n++) {
			struct pcap_pkthdr header = {{0, 0}, 0, 0};

			struct packet *p = &packet[n % BURST];

			random_packet(p);
			frame[n % BURST] = (struct frame){p->bytes, p->length};
			header.caplen = header.len = p->length;
			const bool want = pcap_offline_filter(&program, &header, p->bytes);

			wanted |= (uint64_t)want << n % BURST;
			accepted += want;
			if (n % BURST != BURST - 1)
				continue;
			if (filter_run(ours, program.bf_len, frame, BURST) != wanted)
				fail_msg("'%s': packets up to %u", expressions[k], n);
			wanted = 0;
		}
		printf("%4u of 2000: %s\n", accepted, expressions[k]);
		pcap_freecode(&program);
	}
	pcap_close(pcap);
}

#define RETURN                                                                                     \
	{                                                                                          \
		0x06, 0, 0, 1                                                                      \
	}

static void refuses(void **unused)
{
	static const struct p2pnic_instruction wrong[][2] = {
		{RETURN, {0x00, 0, 0, 1}},          /* ends without a return */
		{{0x05, 0, 0, 1}, RETURN},          /* jumps behind the end */
		{{0x05, 0, 0, UINT32_MAX}, RETURN}, /* back */
		{{0x15, 1, 0, 0}, RETURN},
		{{0x15, 0, 1, 0}, RETURN},
		{{0x02, 0, 0, 16}, RETURN}, /* no such word of memory */
		{{0x60, 0, 0, 16}, RETURN},
		{{0x34, 0, 0, 0}, RETURN}, /* by 0 */
		{{0x94, 0, 0, 0}, RETURN},
		{{0x64, 0, 0, 32}, RETURN}, /* more than a word */
		{{0x74, 0, 0, 32}, RETURN},
		{{0xb4, 0, 0, 1}, RETURN}, /* no such operation, jump, mode, size, class */
		{{0x55, 0, 0, 1}, RETURN},
		{{0xc0, 0, 0, 1}, RETURN},
		{{0x38, 0, 0, 1}, RETURN},
		{{0x21, 0, 0, 1}, RETURN},
		{{0xa0, 0, 0, 1}, RETURN},
		{{0x106, 0, 0, 1}, RETURN},
		{{0x0e, 0, 0, 1}, RETURN},
	};
	static struct p2pnic_instruction many[P2PNIC_CAPTURE_FILTER_MAX + 1];
	const struct p2pnic_instruction last = RETURN;

	for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++)
		if (filter_valid(wrong[k], 2))
			fail_msg("program %zu is taken", k);
	for (unsigned k = 0; k <= P2PNIC_CAPTURE_FILTER_MAX; k++)
		many[k] = last;
	assert_true(filter_valid(many, P2PNIC_CAPTURE_FILTER_MAX));
	assert_false(filter_valid(many, P2PNIC_CAPTURE_FILTER_MAX + 1));
	assert_false(filter_valid(many, 0));
}

/* What libpcap leaves to the processor, or to what was in memory. */
static void has_no_surprises(void **unused)
{
	static const struct {
		struct p2pnic_instruction program[5];
		bool accepted;
	} cases[] = {
		{{{0x00, 0, 0, 7}, {0x01, 0, 0, 32}, {0x6c, 0, 0, 0}, {0x16, 0, 0, 0}}, 0},
		{{{0x00, 0, 0, 7}, {0x01, 0, 0, 40}, {0x7c, 0, 0, 0}, {0x16, 0, 0, 0}}, 0},
		{{{0x00, 0, 0, 7}, {0x01, 0, 0, 0}, {0x3c, 0, 0, 0}, {0x06, 0, 0, 1}}, 0},
		{{{0x60, 0, 0, 3}, {0x16, 0, 0, 0}}, 0},
		{{{0x01, 0, 0, UINT32_MAX}, {0x50, 0, 0, 1}, {0x06, 0, 0, 1}}, 0},
		{{{0x01, 0, 0, 2}, {0x50, 0, 0, 1}, {0x15, 0, 1, 4}, RETURN, {0x06, 0, 0, 0}}, 1},
		{{{0x00, 0, 0, 5}, {0x84, 0, 0, 0}, {0x15, 0, 1, 0u - 5}, RETURN, {0x06, 0, 0, 0}},
			1},
		{{{0x20, 0, 0, UINT32_MAX}, {0x06, 0, 0, 1}}, 0},
		{{{0x20, 0, 0, 0}, {0x15, 0, 1, 0x01020304}, RETURN, {0x06, 0, 0, 0}}, 1},
		{{{0x20, 0, 0, 1}, {0x16, 0, 0, 0}}, 0},
	};
	uint8_t bytes[] = {1, 2, 3, 4};
	const struct frame frame = {bytes, sizeof(bytes)};

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		uint32_t last = 5;

		while (last && !cases[k].program[last - 1].code)
			last--;
		assert_int_equal(filter_run(cases[k].program, last, &frame, 1), cases[k].accepted);
		assert_int_equal(filter_run(cases[k].program, last, &frame, 0), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_libpcap_accepts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(has_no_surprises),
	};

	state = test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
