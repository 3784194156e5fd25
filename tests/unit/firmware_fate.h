/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One frame given to NIC 0, and what must become of it; then rig_check.
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

#endif
