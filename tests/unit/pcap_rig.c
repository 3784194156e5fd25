/* SPDX-License-Identifier: BSD-3-Clause */
#include "pcap_rig.h"

#include <stdio.h>
#include <stdlib.h>

static char directory[] = "/tmp/pp-pcap-XXXXXX";

const char *in_directory(const char *format, ...)
{
	static char path[8][256];
	static unsigned turn;
	char name[224];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(name, sizeof(name), format, arguments);
	va_end(arguments);
	turn = (turn + 1) % 8;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", directory, name);
	return path[turn];
}

void write_capture(const char *name, int link_type, bool nanoseconds,
	const struct capture_record *records, unsigned n)
{
	struct capture_writer *writer =
		capture_create(in_directory("%s", name), link_type, nanoseconds);

	assert_non_null(writer);
	for (unsigned i = 0; i < n; i++)
		capture_write(writer, &records[i]);
	capture_finish(writer);
}

struct rig rigs[3];
static unsigned rigs_open;

int open_port(struct rig *rig, const char *in, const char *out, const char *options,
	const struct p2pnic_counters *counters)
{
	static char target[3][600];
	char *to = target[rig - rigs];

	rig_memory(rig, &pcap_port_ops);
	rigs_open++;
	snprintf(to, sizeof(target[0]), "%s,%s", *in ? in_directory("%s", in) : "",
		*out ? (*out == '/' ? out : in_directory("%s", out)) : "");
	rig->config.target = to;
	rig->config.options = options;
	rig->config.counters = counters;
	int code = pcap_port_ops.open(rig->port, &rig->config, &rig->error);
	if (code == 0)
		assert_int_equal(pcap_port_ops.start(rig->port, rig->buffers, 64), 64);
	return code;
}

int teardown(void **state)
{
	while (rigs_open) {
		struct rig *rig = &rigs[--rigs_open];
		pcap_port_ops.close(rig->port);
		rig_free(rig);
	}
	return 0;
}

struct port_info info_of(struct rig *rig)
{
	struct port_info info;

	pcap_port_ops.info(rig->port, &info);
	return info;
}

unsigned receive_all(struct rig *rig, struct frame *first)
{
	struct frame frames[P2PNIC_BURST_MAX];
	unsigned total = 0, n;

	while ((n = pcap_port_ops.receive(rig->port, frames, P2PNIC_BURST_MAX))) {
		if (total == 0 && first)
			*first = frames[0];
		total += n;
		pcap_port_ops.release(rig->port);
	}
	pcap_port_ops.release(rig->port);
	return total;
}

int pcap_rig_run(const struct CMUnitTest *tests, size_t n)
{
	char remove[64];

	if (!mkdtemp(directory))
		return 1;
	int failed = _cmocka_run_group_tests("pcap", tests, n, NULL, NULL);
	snprintf(remove, sizeof(remove), "rm -r %s", directory);
	rig_run(remove);
	return failed;
}
