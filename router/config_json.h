/* SPDX-License-Identifier: BSD-3-Clause */
/* A configuration as JSON, and JSON as YAML. */
#ifndef ROUTER_CONFIG_JSON_H
#define ROUTER_CONFIG_JSON_H

#include <jansson.h>

struct config;

/* Every key with its value, those that the file leaves out too; empty places of NICs left out.
 * NULL: out of memory. */
json_t *config_json(const struct config *);

/* Objects, lists, texts, numbers and booleans in YAML's block style, such that YAML 1.1 and 1.2
 * read the same values again. For free; NULL: out of memory. */
char *config_yaml(const json_t *);

#endif
