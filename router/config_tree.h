/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A YAML file as a tree of texts, lists and mappings, each with its line. What YAML can do beyond
 * that a configuration does not need, and it is refused: anchors and aliases, several documents,
 * NUL in a text, more than CONFIG_TREE_DEPTH levels.
 */
#ifndef ROUTER_CONFIG_TREE_H
#define ROUTER_CONFIG_TREE_H

#include "ipc/error.h"

#define CONFIG_TREE_DEPTH 16u

struct config_node {
	enum { CONFIG_TEXT, CONFIG_LIST, CONFIG_MAPPING } kind;
	unsigned line;
	char *text;                /* of a text */
	struct config_node *first; /* list: entries. mapping: key, value, key, value… */
	struct config_node *next;
};

struct config_tree {
	const char *path;
	struct config_node *root; /* NULL: the file says nothing */
	struct error *error;
};

/* 0, or -errno with the reason in *error. Keeps `path` and `error` for config_tree_wrong. */
int config_tree_load(struct config_tree *, const char *path, struct error *error);
void config_tree_free(struct config_tree *);

/* "FILE:LINE: " and the sentence become the error. Returns -EINVAL. */
int config_tree_wrong(const struct config_tree *, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The value of a key, the entry of a list. NULL: none, or the node is NULL or of another kind. */
const struct config_node *config_node_value(const struct config_node *, const char *key);
const struct config_node *config_node_entry(const struct config_node *, unsigned index);

#endif
