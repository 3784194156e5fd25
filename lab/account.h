/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where every packet went: from the counters of the router's NICs, at rest (counters.h states the
 * identity).
 */
#ifndef LAB_ACCOUNT_H
#define LAB_ACCOUNT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "ipc/error.h"

/* The answer to "show WHAT": the rows, owned by the caller; NULL with a sentence in error. */
struct account_source {
	json_t *(*show)(void *context, const char *what, struct error *error);
	void *context;
};

/* A running router, asked by its API socket. */
struct account_source account_of_runtime(const char *runtime);

/* Waits until the NICs are at rest: counters that stand still, nothing held, nothing in a ring; at
 * most some seconds. Then adds "counter", "ring", "nic", "port", "drop", "router", as `p2pnic show
 * -j` has them, and "packets". 0 or -EIO with a sentence in error. */
int account_read(json_t *results, struct account_source, struct error *error);

/* Prints the matrix, drops, CPU seconds and the line of the driver; in its place, where results
 * have "forwarded_by_kernel", that of the kernel. */
void account_print(const json_t *results, FILE *);

/* Of "packets": "in" with "injected", "out" with "sent", "punted", "dropped"; "held", "missed",
 * "unaccounted". */
long long account_count(const json_t *results, const char *key);

#endif
