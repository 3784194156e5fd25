/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

/* The nodes that are open, outermost first, and where the next node of each goes. */
struct builder {
	struct config_tree *tree;
	struct config_node **end[CONFIG_TREE_DEPTH];
	unsigned depth;
	unsigned documents;
};

int config_tree_wrong(const struct config_tree *tree, unsigned line, const char *format, ...)
{
	struct error reason;
	va_list arguments;

	va_start(arguments, format);
	error_set_list(&reason, 0, format, arguments);
	va_end(arguments);
	return error_set(tree->error, -EINVAL, "%s:%u: %s", tree->path, line, reason.text);
}

static unsigned line_of(const yaml_mark_t *mark)
{
	return (unsigned)mark->line + 1;
}

/* --- Events become nodes ---------------------------------------------------------------------- */

static struct config_node *append(struct builder *b, int kind, const yaml_event_t *event)
{
	struct config_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->line = line_of(&event->start_mark);
	*b->end[b->depth] = node;
	b->end[b->depth] = &node->next;
	return node;
}

static int begin(struct builder *b, int kind, const yaml_event_t *event)
{
	struct config_node *node = append(b, kind, event);

	if (!node)
		return -ENOMEM;
	if (++b->depth == CONFIG_TREE_DEPTH)
		return config_tree_wrong(
			b->tree, node->line, "more than %u levels", CONFIG_TREE_DEPTH - 1);
	b->end[b->depth] = &node->first;
	return 0;
}

static int add_text(struct builder *b, const yaml_event_t *event)
{
	const char *value = (const char *)event->data.scalar.value;

	if (strlen(value) != event->data.scalar.length)
		return config_tree_wrong(
			b->tree, line_of(&event->start_mark), "a zero byte in a text");
	struct config_node *node = append(b, CONFIG_TEXT, event);
	if (node)
		node->text = strdup(value);
	return node && node->text ? 0 : -ENOMEM;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return event->data.alias.anchor;
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor;
	default:
		return NULL;
	}
}

static int handle_event(struct builder *b, const yaml_event_t *event)
{
	const yaml_char_t *anchor = anchor_of(event);

	if (anchor)
		return config_tree_wrong(b->tree, line_of(&event->start_mark),
			"%c%.64s: no anchors and aliases here; write the value out",
			event->type == YAML_ALIAS_EVENT ? '*' : '&', anchor);
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return b->documents++ ? config_tree_wrong(b->tree, line_of(&event->start_mark),
						"a second document; want one")
				      : 0;
	case YAML_SCALAR_EVENT:
		return add_text(b, event);
	case YAML_SEQUENCE_START_EVENT:
		return begin(b, CONFIG_LIST, event);
	case YAML_MAPPING_START_EVENT:
		return begin(b, CONFIG_MAPPING, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	default:
		return 0;
	}
}

/* --- The file --------------------------------------------------------------------------------- */

/* libyaml has no line for a byte that is no UTF-8, but how many bytes precede it. */
static unsigned line_at(FILE *file, size_t offset)
{
	unsigned line = 1;

	rewind(file);
	while (offset--)
		line += getc(file) == '\n';
	return line;
}

static int say_syntax(const struct config_tree *tree, const yaml_parser_t *parser, FILE *file)
{
	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	return config_tree_wrong(tree,
		parser->error == YAML_READER_ERROR ? line_at(file, parser->problem_offset)
						   : line_of(&parser->problem_mark),
		"YAML: %s%s%s", parser->problem, parser->context ? " " : "",
		parser->context ? parser->context : "");
}

static int parse(struct config_tree *tree, FILE *file)
{
	struct builder b = {.tree = tree, .end = {&tree->root}};
	yaml_parser_t parser;
	bool more = true;
	int code = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_file(&parser, file);
	while (more && !code) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			code = say_syntax(tree, &parser, file);
			break;
		}
		more = event.type != YAML_STREAM_END_EVENT;
		code = handle_event(&b, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return code;
}

/* A FIFO is not waited for. */
static int open_file(const char *path, FILE **file, struct error *error)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), code;
	struct stat is = {.st_mode = S_IFREG};

	if (fd >= 0 && !fstat(fd, &is) && S_ISREG(is.st_mode)) {
		*file = fdopen(fd, "r");
		if (*file)
			return 0;
	}
	if (!S_ISREG(is.st_mode))
		code = error_set(error, -EINVAL, "%s: not a file", path);
	else
		code = error_set(error, -errno, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return code;
}

int config_tree_load(struct config_tree *tree, const char *path, struct error *error)
{
	FILE *file = NULL;

	*tree = (struct config_tree){.path = path, .error = error};
	int code = open_file(path, &file, error);
	if (code)
		return code;
	code = parse(tree, file);
	if (code == -ENOMEM)
		error_set(error, code, "%s: %s", path, strerror(-code));
	if (code)
		config_tree_free(tree);
	fclose(file);
	return code;
}

static void free_nodes(struct config_node *node)
{
	while (node) {
		struct config_node *next = node->next;

		free_nodes(node->first);
		free(node->text);
		free(node);
		node = next;
	}
}

void config_tree_free(struct config_tree *tree)
{
	free_nodes(tree->root);
	tree->root = NULL;
}

/* --- Looking up ------------------------------------------------------------------------------- */

const struct config_node *config_node_value(const struct config_node *node, const char *key)
{
	if (!node || node->kind != CONFIG_MAPPING)
		return NULL;
	for (const struct config_node *k = node->first; k; k = k->next->next)
		if (k->kind == CONFIG_TEXT && !strcmp(k->text, key))
			return k->next;
	return NULL;
}

const struct config_node *config_node_entry(const struct config_node *node, unsigned index)
{
	if (!node || node->kind != CONFIG_LIST)
		return NULL;
	for (node = node->first; node && index; index--)
		node = node->next;
	return node;
}
