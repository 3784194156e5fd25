/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One frame given to NIC 0, and what must become of it; then rig_check. And many, in order.
 */
#ifndef TESTS_FIRMWARE_FATE_H
#define TESTS_FIRMWARE_FATE_H

#include "tests/unit/firmware_rig.h"

/* Prints the first difference. */
bool expect_packet(const struct packet *got, const struct packet *want);

/* It leaves by `egress` as a naive router would send it. */
void forwards(struct rig *, const struct packet *, unsigned egress);
void drops(struct rig *, const struct packet *, enum p2pnic_drop reason);
/* To the host, whole and unchanged but for Ethernet padding, with the reason. */
void punts(struct rig *, const struct packet *, enum p2pnic_drop reason, uint32_t length);

/* Gives NIC `nic` a packet for that egress. */
void receive4(struct rig *, unsigned nic, unsigned egress, uint32_t payload_bytes, uint32_t seed);

/* Takes what `egress` sent: each a packet of `ingress` as it must be, seeds rising. How many. */
unsigned take_in_order(struct rig *, unsigned egress, unsigned ingress, uint32_t *last);

#endif
