/* SPDX-License-Identifier: BSD-3-Clause */
/* What `p2pnic top` shows: the router's counters at a moment (router/show_metrics.h) as numbers,
 * and rates as differences of two such. */
#ifndef CLI_TOP_SAMPLE_H
#define CLI_TOP_SAMPLE_H

#include <jansson.h>
#include <p2pnic/counters.h>
#include <stdbool.h>
#include <stdint.h>

#define TOP_NAME_BYTES 32

struct top_nic {
	char name[TOP_NAME_BYTES], state[TOP_NAME_BYTES], engine[TOP_NAME_BYTES];
	bool forwarding, link;
	uint64_t restarts, held;
	uint64_t received, received_bytes, sent, sent_bytes;
	uint64_t missed, dropped[P2PNIC_DROP_COUNT];
	uint64_t to[P2PNIC_NICS_MAX], to_bytes[P2PNIC_NICS_MAX];
	uint64_t passed[P2PNIC_PUNT_COUNT], policed[P2PNIC_PUNT_COUNT];
	double cpu_seconds; /* of its engine, with all of that one's NICs; negative: not known */
};

struct top_sample {
	double time; /* of the router's clock; 0: no sample */
	long long pid;
	char configuration[256], version[32];
	unsigned n;
	struct top_nic nic[P2PNIC_NICS_MAX];
	uint64_t routes4, routes6;
	bool kernel; /* the router has one */
};

/* Of the answer to {"show": "metrics"}; what is not in it is 0. False: it is none. */
bool top_sample_read(struct top_sample *, const json_t *answer);

/* Seconds between two samples of one router with the same NICs; 0: they are not. */
double top_sample_seconds(const struct top_sample *now, const struct top_sample *before);

/* A second; NAN: not known, or the counter began anew. */
double top_rate(uint64_t now, uint64_t before, double seconds);

/* Names as the contract has them. */
const char *top_drop_name(unsigned reason);
const char *top_class_name(unsigned class);

/* The rates between two samples as an object; the caller's. */
json_t *top_sample_json(const struct top_sample *now, const struct top_sample *before);

#endif
