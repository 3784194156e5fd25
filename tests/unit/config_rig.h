/* SPDX-License-Identifier: BSD-3-Clause */
/* Configurations in a file of the test's own. */
#ifndef TESTS_CONFIG_RIG_H
#define TESTS_CONFIG_RIG_H

#include "router/config.h"

#define NIC       "nics:\n  - {name: a, port: {type: pcap, target: \"x,y\"}}\n"
#define NICS      NIC "  - {name: b, port: {type: tap, target: t0}}\n"
#define NIC_VLANS "nics:\n  - {name: a, port: {type: tap, target: t}, vlans: [\n    "

extern char file[]; /* its path, from begin() to end() */

int begin(void **state);
int end(void **state);

void write_file(const char *text);
/* What is in the file then; it must be right. */
struct config *load(const char *text);

#endif
