/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capture files for tests of ports; apart from port_rig.h because <pcap.h> and <linux/bpf.h> each
 * define a struct bpf_insn.
 */
#ifndef P2PNIC_TESTS_PORT_CAPTURE_H
#define P2PNIC_TESTS_PORT_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

struct capture_record {
	uint64_t time_ns;
	uint32_t length; /* on the wire */
	uint32_t captured;
	const uint8_t *bytes;
};

#define CAPTURE_ETHERNET  1
#define CAPTURE_LINUX_SLL 113

/* Writes a capture of that link type with nanosecond or microsecond timestamps; false: cannot. */
struct capture_writer *capture_create(const char *path, int link_type, bool nanoseconds);
void capture_write(struct capture_writer *, const struct capture_record *);
void capture_finish(struct capture_writer *);

/* Reads one; capture_read false: at its end (or cut short). */
struct capture_reader *capture_open(const char *path);
bool capture_read(struct capture_reader *, struct capture_record *);
void capture_close(struct capture_reader *);

#endif
