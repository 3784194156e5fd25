/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the model says beside what others computed or measured, part by part, from the bottom: each
 * step stands on those before it, and none is fitted to what comes after.
 *
 *   1  links alone, against the arithmetic of pcie-model
 *   2  a NIC's DMA engine on a host, against pcie-bench: NFP-6000, Gen3 x8, medians over 21 hosts
 *   3  a NIC's cores and memories, against Krude et al., CoNEXT 2021 (validate_nfp.c)
 *
 * The first two are by Neugebauer et al., "Understanding PCIe performance for end host networking",
 * SIGCOMM 2018, with programs and data at github.com/pcie-bench.
 */
#ifndef P2PNIC_MODEL_VALIDATE_H
#define P2PNIC_MODEL_VALIDATE_H

#include "model/parameters.h"

struct validation {
	unsigned step;
	char what[64];         /* "writes of 64 B" */
	const char *source;    /* of the figure given */
	uint64_t model, given; /* ps for one access, or packet */
	unsigned within;       /* millionths that the model may be off */
};

/* Millionths that the model is off; negative: too fast. */
int64_t validation_off(const struct validation *);
bool validation_holds(const struct validation *);

/* Told of each line. */
typedef void validation_say(void *object, const struct validation *);

/* Of roles link; link, nic and host. 0, or -EINVAL with the reason. A line that does not hold is no
 * error. */
int validate_links(struct parameters *, validation_say *, void *object, struct error *error);
int validate_dma(struct parameters *, validation_say *, void *object, struct error *error);
/* Of a machine's roles all. */
int validate_nfp(const struct parameters *, validation_say *, void *object, struct error *error);

#endif
