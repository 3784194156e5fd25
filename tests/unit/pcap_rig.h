/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcap ports on captures in a directory of the test's own.
 */
#ifndef P2PNIC_TESTS_PCAP_RIG_H
#define P2PNIC_TESTS_PCAP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_capture.h"
#include "port_rig.h"

#include <ports/pcap.h>

extern struct rig rigs[3];

/* Paths and targets in the test's directory; eight at a time. */
__attribute__((format(printf, 1, 2))) const char *in_directory(const char *format, ...);

void write_capture(const char *name, int link_type, bool nanoseconds,
	const struct capture_record *records, unsigned n);

/* A port on IN (a name in the directory; "": none) and OUT; error text in rig->error when
 * refused. */
int open_port(struct rig *, const char *in, const char *out, const char *options,
	const struct p2pnic_counters *);
/* Closes all of them: a cmocka teardown. */
int teardown(void **state);
struct port_info info_of(struct rig *);
/* Until none comes; returns how many came. */
unsigned receive_all(struct rig *, struct frame *first);

/* Makes the directory, runs the tests, removes it. */
int pcap_rig_run(const struct CMUnitTest *, size_t n);

#endif
