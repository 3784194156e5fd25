/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of test_port_conformance share: the type of port that is tested, and its wire. */
#ifndef P2PNIC_TESTS_PORT_CONFORMANCE_H
#define P2PNIC_TESTS_PORT_CONFORMANCE_H

#include "port_capture.h"
#include "port_rig.h"

#define SIZES 1779u /* lengths that are tried; with buffers of 2 KiB these are all */

extern const struct port_ops *path;
bool is_pcap(void);

/* Of SIZES lengths from the shortest to the longest frame. */
unsigned length_of(unsigned i);

/* A port that will receive, in this order, frames of lengths[i] with seed i. */
void rig_up(struct rig *rig, const unsigned *lengths, unsigned n, unsigned buffers);
void rig_down(struct rig *rig);

void assert_frame(const uint8_t *data, unsigned length, unsigned expected, uint32_t seed);

/* Frame i as a transmit of the firmware sees it: somewhere in packet memory, at any alignment. */
struct p2pnic_descriptor place(struct rig *rig, unsigned i, unsigned length);

/* Until the port is done with `want` frames. */
void complete(struct rig *rig, unsigned want, uint64_t *failed);

/* What left the port, in order: for a capture all of it at the end. */
unsigned wire_take(struct rig *rig, struct capture_reader **capture, uint8_t *bytes, unsigned room);

/* Sending from memory of others (port_conformance_lend.c). */
void test_transmit_from(void **state);
void test_peer_that_writes(void **state);
void test_peer_that_dies(void **state);

#endif
