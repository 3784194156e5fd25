/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A YAML file as a tree of texts, lists and mappings, each with its place. What YAML can do beyond
 * that a configuration does not need, and it is refused: anchors and aliases, several documents,
 * NUL in a text, more than CONFIG_TREE_DEPTH levels.
 */
#ifndef ROUTER_CONFIG_TREE_H
#define ROUTER_CONFIG_TREE_H

#include "ipc/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define CONFIG_TREE_DEPTH   16u
#define CONFIG_MISTAKES_MAX 64u         /* that are kept; the others are counted */
#define CONFIG_FILE_BYTES   (64u << 20) /* of a file, at most */

/* Where something stands in the file, from 1; column 0: somewhere in the line. */
struct config_mark {
	unsigned line, column;
};

struct config_mistake {
	struct config_mark at;
	struct error reason; /* without file and place */
};

/* All that is wrong with a file, as far as one mistake does not hide others. */
struct config_mistakes {
	struct config_mistake *mistake; /* the first CONFIG_MISTAKES_MAX of n */
	unsigned n;
};

struct config_node {
	enum { CONFIG_TEXT, CONFIG_LIST, CONFIG_MAPPING } kind;
	struct config_mark mark;
	char *text;                /* of a text */
	struct config_node *first; /* list: entries. mapping: key, value, key, value… */
	struct config_node *next;
};

struct config_tree {
	const char *path;
	struct config_node *root; /* NULL: the file says nothing */
	struct error *error;
	struct config_mistakes *mistakes; /* NULL: only the first matters */
	bool said;                        /* the first is in *error */
};

/* All of a file, for the caller to free, with a zero byte behind. 0, or -errno with the reason in
 * *error: it is none, cannot be read, or is larger than CONFIG_FILE_BYTES. */
int config_file_read(const char *path, char **text, size_t *bytes, struct error *error);

/* Of the text of the file `path`. 0, or -errno with the reason in *error. Keeps `path`, `error` and
 * `mistakes` for config_tree_wrong. */
int config_tree_load(struct config_tree *, const char *path, const char *text, size_t bytes,
	struct config_mistakes *mistakes, struct error *error);
void config_tree_free(struct config_tree *);

/* "FILE:LINE: " and the sentence become the error, unless there was one before; and it is one of
 * the mistakes. Returns -EINVAL. */
int config_tree_wrong(struct config_tree *, struct config_mark at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void config_mistakes_free(struct config_mistakes *);

/* Goes on after a mistake, to find others: the first code of several, of which only -EINVAL is no
 * reason to stop. */
static inline bool config_goes_on(int *code, int now)
{
	if (!*code)
		*code = now;
	return !now || now == -EINVAL;
}

/* The value of a key, the entry of a list. NULL: none, or the node is NULL or of another kind. */
const struct config_node *config_node_value(const struct config_node *, const char *key);
const struct config_node *config_node_entry(const struct config_node *, unsigned index);

#endif
