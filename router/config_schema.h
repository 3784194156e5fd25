/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys of a configuration: which there are, of what type, in what range. A table in
 * config_schema.c says it, once; what is more than one key's matter is config_check.h's.
 */
#ifndef ROUTER_CONFIG_SCHEMA_H
#define ROUTER_CONFIG_SCHEMA_H

#include <jansson.h>

#include "router/config.h"
#include "router/config_tree.h"

/* Fills a configuration that is zero but for config->router, which is there and zero. 0 or -errno,
 * -EINVAL with the tree's error set; then some of it may be filled. */
int config_schema_load(struct config *, struct config_tree *);

/* All keys that have a value, by the schema, in its order; NULL: out of memory. */
json_t *config_schema_json(const struct config *);

/* Frees what config_schema_load made, or put in its place the same way: each text, number and list
 * is an allocation of its own. */
void config_schema_free(struct config *);

#endif
