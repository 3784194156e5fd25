/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * docs/datasheet.md against the headers it describes: every address, offset, number and limit in
 * its tables is one of the contract's, and none of the contract's is missing.
 *
 *     test_datasheet SOURCE-DIRECTORY
 */
#include <p2pnic/registers.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *datasheet, *registers, *limits;

static char *read_file(const char *root, const char *name)
{
	char path[4096];
	FILE *file;
	char *text;
	long bytes;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "r");
	if (!file || fseek(file, 0, SEEK_END) < 0 || (bytes = ftell(file)) < 0) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	rewind(file);
	text = calloc(1, (size_t)bytes + 1);
	if (!text || fread(text, 1, (size_t)bytes, file) != (size_t)bytes)
		exit(1);
	fclose(file);
	return text;
}

/* The datasheet has a table row that begins so. */
__attribute__((format(printf, 1, 2))) static void assert_row(const char *format, ...)
{
	char row[256] = "\n";
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(row + 1, sizeof(row) - 1, format, arguments);
	va_end(arguments);
	if (!strstr(datasheet, row))
		fail_msg("the datasheet lacks the row `%s`", row + 1);
}

/* Rows of a section that begin with `prefix`. */
static unsigned rows_of(const char *section, const char *prefix)
{
	const char *at = strstr(datasheet, section), *end;
	char row[64];
	unsigned n = 0;

	assert_non_null(at);
	end = strstr(at + 1, "\n## ");
	snprintf(row, sizeof(row), "\n%s", prefix);
	while ((at = strstr(at, row)) && (!end || at < end)) {
		n++;
		at++;
	}
	return n;
}

/* One "#define PREFIXname value" after the other, a continued line being one; NULL at the end. */
static const char *next_define(
	const char *at, const char *prefix, char name[64], unsigned *value, const char **rest)
{
	char define[64];
	const char *text;
	char *end;

	snprintf(define, sizeof(define), "#define %s", prefix);
	at = strstr(at, define);
	if (!at)
		return NULL;
	text = at + strlen("#define ");
	snprintf(name, 64, "%.*s", (int)strcspn(text, " \t\n("), text);
	text += strcspn(text, " \t\n(");
	text += strspn(text, " \t\\\n");
	*value = (unsigned)strtoul(text, &end, 0);
	*rest = end + strspn(end, "u \t");
	return text;
}

static void test_registers(void **state)
{
	const char *at = registers, *rest;
	unsigned value, n = 0;
	char name[64];

	while ((at = next_define(at, "P2PNIC_REG_", name, &value, &rest))) {
		if (strncmp(rest, "/* ro", 5) != 0 && strncmp(rest, "/* rw", 5) != 0 &&
			strncmp(rest, "/* wo", 5) != 0)
			fail_msg("%s: registers.h does not say ro, rw or wo", name);
		assert_row("| 0x%03x | %s | %.2s |", value, name + strlen("P2PNIC_REG_"), rest + 3);
		n++;
	}
	assert_int_equal(n, rows_of("\n## 4 ", "| 0x"));
	assert_row("| 0x000 | MAGIC | ro | 0x%08x |", P2PNIC_MAGIC);
	assert_row("| 0x004 | VERSION | ro | 0x%08x |", P2PNIC_VERSION);
}

static void test_identity(void **state)
{
	assert_row("| vendor, subsystem vendor | 0x%04x |", P2PNIC_PCI_VENDOR);
	assert_row("| device, subsystem | 0x%04x |", P2PNIC_PCI_DEVICE);
	assert_row("| class | 0x%06x,", P2PNIC_PCI_CLASS);
}

static void test_bar_map(void **state)
{
	const char *at = registers, *rest;
	unsigned value, n = 0;
	char name[64];

	while ((at = next_define(at, "P2PNIC_BAR", name, &value, &rest))) {
		if (strstr(name, "_BYTES"))
			continue;
		assert_row(strstr(name, "BAR0") ? "| 0x%04x | `%s` |" : "| 0x%06x | `%s` |", value,
			name);
		n++;
	}
	assert_int_equal(n, rows_of("\n## 3 ", "| 0x"));
	assert_int_equal(P2PNIC_BAR0_BYTES, 64 << 10);
	assert_int_equal(P2PNIC_BAR2_BYTES_MIN, 16 << 20);
	assert_int_equal(P2PNIC_BAR4_BYTES_MIN, 16 << 20);
	assert_int_equal(P2PNIC_MAILBOXES, 68);
	assert_int_equal(P2PNIC_DESCRIPTION_BYTES, 128);
}

static void test_commands(void **state)
{
	assert_row("| RESET | %d |", P2PNIC_OP_RESET);
	assert_row("| START | %d |", P2PNIC_OP_START);
	assert_row("| STOP | %d |", P2PNIC_OP_STOP);
	assert_row("| PEER_OPEN | %d |", P2PNIC_OP_PEER_OPEN);
	assert_row("| PEER_CLOSE | %d |", P2PNIC_OP_PEER_CLOSE);
	assert_row("| FIB_IPV4 | %d |", P2PNIC_OP_FIB_IPV4);
	assert_row("| FIB_IPV6 | %d |", P2PNIC_OP_FIB_IPV6);
	assert_row("| SOURCES | %d |", P2PNIC_OP_SOURCES);
	assert_row("| STATIONS | %d |", P2PNIC_OP_STATIONS);
	assert_row("| CAPTURE | %d |", P2PNIC_OP_CAPTURE);
	assert_row("| OK | %d |", P2PNIC_OK);
	assert_row("| BAD_OPERATION | %d |", P2PNIC_BAD_OPERATION);
	assert_row("| BAD_ARGUMENT | %d |", P2PNIC_BAD_ARGUMENT);
	assert_row("| BAD_WINDOW | %d |", P2PNIC_BAD_WINDOW);
	assert_row("| BAD_IMAGE | %d |", P2PNIC_BAD_IMAGE);
	assert_row("| BAD_STATE | %d |", P2PNIC_BAD_STATE);
}

#define SIZE_OF(type, member) sizeof(((struct type *)0)->member)
#define ASSERT_FIELD(type, member)                                                                 \
	assert_row("| %zu | " #member " | %zu |", offsetof(struct type, member),                   \
		SIZE_OF(type, member))

static void test_structures(void **state)
{
	ASSERT_FIELD(p2pnic_peer, epoch);
	ASSERT_FIELD(p2pnic_peer, batch);
	ASSERT_FIELD(p2pnic_peer, mailbox);
	ASSERT_FIELD(p2pnic_peer, doorbell);
	ASSERT_FIELD(p2pnic_peer, out_buffers);
	ASSERT_FIELD(p2pnic_peer, out_buffer_count);
	ASSERT_FIELD(p2pnic_peer, out_slots);
	ASSERT_FIELD(p2pnic_peer, in_buffers);
	ASSERT_FIELD(p2pnic_peer, in_offset);
	ASSERT_FIELD(p2pnic_peer, in_buffer_count);
	ASSERT_FIELD(p2pnic_peer, in_slots);
	ASSERT_FIELD(p2pnic_peer, flags);
	ASSERT_FIELD(p2pnic_mailbox, consumer);
	ASSERT_FIELD(p2pnic_mailbox, asleep);
	ASSERT_FIELD(p2pnic_mailbox, link_down);
	assert_row("| %zu | descriptor | %zu · %u |", offsetof(struct p2pnic_mailbox, descriptor),
		sizeof(struct p2pnic_descriptor), P2PNIC_RING_SLOTS_MAX);
	ASSERT_FIELD(p2pnic_descriptor, offset);
	ASSERT_FIELD(p2pnic_descriptor, length);
	ASSERT_FIELD(p2pnic_descriptor, flags);
	ASSERT_FIELD(p2pnic_adjacency, destination);
	ASSERT_FIELD(p2pnic_adjacency, source);
	ASSERT_FIELD(p2pnic_adjacency, mtu);
	ASSERT_FIELD(p2pnic_adjacency, kind);
	ASSERT_FIELD(p2pnic_adjacency, egress);
	ASSERT_FIELD(p2pnic_adjacency, encapsulation);
	ASSERT_FIELD(p2pnic_capture, points);
	ASSERT_FIELD(p2pnic_capture, snap);
	ASSERT_FIELD(p2pnic_capture, slots);
	ASSERT_FIELD(p2pnic_capture, instructions);
	ASSERT_FIELD(p2pnic_capture, ring);
	ASSERT_FIELD(p2pnic_capture, limit);
	ASSERT_FIELD(p2pnic_capture, reasons);
	ASSERT_FIELD(p2pnic_capture, filter);
	ASSERT_FIELD(p2pnic_record, sequence);
	ASSERT_FIELD(p2pnic_record, time_ns);
	ASSERT_FIELD(p2pnic_record, length);
	ASSERT_FIELD(p2pnic_record, captured);
	ASSERT_FIELD(p2pnic_record, point);
	ASSERT_FIELD(p2pnic_record, outcome);
	ASSERT_FIELD(p2pnic_record, peer);
	ASSERT_FIELD(p2pnic_record, verdict);
	ASSERT_FIELD(p2pnic_record, reason);
	ASSERT_FIELD(p2pnic_record, punt_class);
	ASSERT_FIELD(p2pnic_record, index);
	ASSERT_FIELD(p2pnic_record, epoch);
	ASSERT_FIELD(p2pnic_record, flow);
	ASSERT_FIELD(p2pnic_record, next_hop);
	ASSERT_FIELD(p2pnic_record, adjacency);
	ASSERT_FIELD(p2pnic_record, looked_up);
	assert_row("| `P2PNIC_CAPTURE_RX` | 0x%02x |", P2PNIC_CAPTURE_RX);
	assert_row("| `P2PNIC_CAPTURE_TX` | 0x%02x |", P2PNIC_CAPTURE_TX);
	assert_row("| `P2PNIC_CAPTURE_DROP` | 0x%02x |", P2PNIC_CAPTURE_DROP);
	assert_row("| `P2PNIC_CAPTURE_MARK` | 0x%02x |", P2PNIC_CAPTURE_MARK);
	assert_row("| `P2PNIC_CAPTURE_FOLLOW` | 0x%02x |", P2PNIC_CAPTURE_FOLLOW);
	assert_row("| NONE | %d |", P2PNIC_ADJACENCY_NONE);
	assert_row("| FORWARD | %d |", P2PNIC_ADJACENCY_FORWARD);
	assert_row("| LOCAL | %d |", P2PNIC_ADJACENCY_LOCAL);
	assert_row("| GLEAN | %d |", P2PNIC_ADJACENCY_GLEAN);
	assert_row("| BLACKHOLE | %d |", P2PNIC_ADJACENCY_BLACKHOLE);
	assert_row("| UNREACHABLE | %d |", P2PNIC_ADJACENCY_UNREACHABLE);
	assert_row("| PROHIBIT | %d |", P2PNIC_ADJACENCY_PROHIBIT);
	assert_row("| BROADCAST | %d |", P2PNIC_ADJACENCY_BROADCAST);
	assert_row("| KERNEL | %d |", P2PNIC_ADJACENCY_KERNEL);
	assert_row("| FORWARD_TAGGED | %d |", P2PNIC_ADJACENCY_FORWARD_TAGGED);
	assert_row("| HOST | %d |", P2PNIC_VLAN_HOST);
	assert_row("| FORWARD | %d | handled", P2PNIC_VLAN_FORWARD);
	assert_row("| UNKNOWN | %d |", P2PNIC_VLAN_UNKNOWN);
	ASSERT_FIELD(p2pnic_sources, count);
	assert_row("| %zu | address | %zu · %u |", offsetof(struct p2pnic_sources, address),
		sizeof(be32), P2PNIC_SOURCES_MAX);
}

#define ASSERT_COUNTER(member, kind)                                                               \
	assert_row("| 0x%03zx | " #member " | " kind " |", offsetof(struct p2pnic_counters, member))

static void test_counters(void **state)
{
	ASSERT_COUNTER(received, "traffic");
	ASSERT_COUNTER(sent, "traffic");
	ASSERT_COUNTER(punted, "traffic");
	ASSERT_COUNTER(injected, "traffic");
	ASSERT_COUNTER(held, "word");
	ASSERT_COUNTER(port_missed, "word");
	ASSERT_COUNTER(dma_faults, "word");
	ASSERT_COUNTER(bad_words, "word");
	ASSERT_COUNTER(doorbells, "word");
	ASSERT_COUNTER(sleeps, "word");
	ASSERT_COUNTER(punt, "2 words [8]");
	ASSERT_COUNTER(dma_lost, "word");
	ASSERT_COUNTER(given_up, "word");
	ASSERT_COUNTER(to_ring, "traffic [64]");
	ASSERT_COUNTER(from_ring, "traffic [64]");
	ASSERT_COUNTER(dropped, "word [64]");
}

static void test_drop_reasons(void **state)
{
#define ROW(symbol, name, meaning) assert_row("| %d | %s |", P2PNIC_DROP_##symbol, name);
	P2PNIC_DROP_REASONS(ROW)
#undef ROW
	/* The heading, the line below it, and one row each. */
	assert_int_equal(rows_of("\n## 15 ", "|"), P2PNIC_DROP_COUNT + 2u);
}

static void test_punt_classes(void **state)
{
	assert_row("| %zu | policer | %zu · %u |", offsetof(struct p2pnic_policers, policer),
		sizeof(struct p2pnic_policer), P2PNIC_PUNT_COUNT);
	assert_row("| %zu | all | %zu · %u |", offsetof(struct p2pnic_policers, all),
		sizeof(struct p2pnic_tokens), P2PNIC_PUNT_COUNT);
	assert_row("| %zu | source | %zu · %u · %u |", offsetof(struct p2pnic_policers, source),
		sizeof(struct p2pnic_tokens), P2PNIC_PUNT_COUNT, P2PNIC_PUNT_SOURCES);
	assert_row("| %zu | address | %zu · %u |", offsetof(struct p2pnic_stations, address),
		sizeof(struct mac_addr), P2PNIC_STATIONS_MAX);
#define LOWER(ring) (P2PNIC_RING_##ring)
#define ROW(symbol, name, ring, meaning)                                                           \
	assert_row("| %s | %d | %d ", name, P2PNIC_PUNT_##symbol, LOWER(ring));
	P2PNIC_PUNT_CLASSES(ROW)
#undef ROW
#undef LOWER
}

static void test_limits(void **state)
{
	const char *at = limits, *rest;
	unsigned value, n = 0;
	char name[64];

	while ((at = next_define(at, "P2PNIC_", name, &value, &rest))) {
		if (!strcmp(name, "P2PNIC_LIMITS_H"))
			continue;
		/* A macro of an argument, or a list, is a formula there. */
		if (rest[-1] < '0' || rest[-1] > '9')
			assert_row("| `%s", name);
		else
			assert_row("| `%s` | %u |", name, value);
		n++;
	}
	assert_int_equal(n, rows_of("\n## 21 ", "| `P2PNIC_"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_bar_map),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_structures),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_drop_reasons),
		cmocka_unit_test(test_punt_classes),
		cmocka_unit_test(test_limits),
	};
	const char *root = argc > 1 ? argv[1] : ".";
	int failed;

	datasheet = read_file(root, "docs/datasheet.md");
	registers = read_file(root, "include/p2pnic/registers.h");
	limits = read_file(root, "include/p2pnic/limits.h");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(datasheet);
	free(registers);
	free(limits);
	return failed;
}
