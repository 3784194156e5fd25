/* SPDX-License-Identifier: BSD-3-Clause */
/* The last stage: acts on verdicts. Nothing else counts drops of a burst, punts or enqueues. */
#ifndef P2PNIC_FIRMWARE_DISPATCH_H
#define P2PNIC_FIRMWARE_DISPATCH_H

struct burst;
struct nic;

/* Each frame goes into the ring of its egress, in order of arrival; without one it is punted or
 * dropped. */
void dispatch(struct nic *, const struct burst *);

#endif
