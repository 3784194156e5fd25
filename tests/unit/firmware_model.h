/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the standard NIC of firmware_rig.h does with a frame, told the stupid way: one frame at a
 * time, byte by byte, routes searched from end to end. firmware_model.c knows RFC 1812 and RFC
 * 8200, not the firmware.
 */
#ifndef TESTS_FIRMWARE_MODEL_H
#define TESTS_FIRMWARE_MODEL_H

#include "tests/unit/firmware_rig.h"

enum model_verdict { MODEL_DROP, MODEL_PUNT, MODEL_FORWARD };

struct model {
	enum model_verdict verdict;
	enum p2pnic_drop reason; /* DROP: always so. PUNT: or dropped for it when no host listens */
	unsigned egress;         /* FORWARD; also PUNT for a TTL or MTU on the way there */
	bool needs_egress;       /* with the egress closed: dropped, no peer */
	struct packet packet;    /* as it leaves, or reaches the host */
};

/* A block of the IANA special-purpose registries: column "Forwardable". */
struct model_block {
	const char *prefix;
	unsigned length;
	bool forwardable;
};
extern const struct model_block model_block4[], model_block6[];
extern const unsigned model_blocks4, model_blocks6;
/* Of the longest block that holds the address; true if there is none. */
bool model_forwardable(const uint8_t *address, bool six);

/* A host is attached: it gets packets with options that ask a router for something. */
extern bool model_host;

void model_receive(struct model *, unsigned ingress, const struct packet *);

#endif
