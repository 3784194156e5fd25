/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_tree.h"

#include <assert.h>
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

static void note(struct config_mistakes *all, struct config_mark at, const struct error *reason)
{
	if (!all->mistake)
		all->mistake = calloc(CONFIG_MISTAKES_MAX, sizeof(*all->mistake));
	if (all->mistake && all->n < CONFIG_MISTAKES_MAX)
		all->mistake[all->n] = (struct config_mistake){at, *reason};
	all->n++;
}

int config_tree_wrong(struct config_tree *tree, struct config_mark at, const char *format, ...)
{
	struct error reason;
	va_list arguments;

	va_start(arguments, format);
	error_set_list(&reason, 0, format, arguments);
	va_end(arguments);
	if (tree->mistakes)
		note(tree->mistakes, at, &reason);
	if (!tree->said)
		error_set(tree->error, -EINVAL, "%s:%u: %s", tree->path, at.line, reason.text);
	tree->said = true;
	return -EINVAL;
}

void config_mistakes_free(struct config_mistakes *all)
{
	free(all->mistake);
	*all = (struct config_mistakes){0};
}

static struct config_mark mark_of(const yaml_mark_t *mark)
{
	return (struct config_mark){(unsigned)mark->line + 1, (unsigned)mark->column + 1};
}

/* --- Events become nodes ---------------------------------------------------------------------- */

static struct config_node *append(struct builder *b, int kind, const yaml_event_t *event)
{
	struct config_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->mark = mark_of(&event->start_mark);
	assert(b->end[b->depth]); /* an event that ends has one that began */
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
			b->tree, node->mark, "more than %u levels", CONFIG_TREE_DEPTH - 1);
	b->end[b->depth] = &node->first;
	return 0;
}

static int add_text(struct builder *b, const yaml_event_t *event)
{
	const char *value = (const char *)event->data.scalar.value;

	if (strlen(value) != event->data.scalar.length)
		return config_tree_wrong(
			b->tree, mark_of(&event->start_mark), "a zero byte in a text");
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
		return config_tree_wrong(b->tree, mark_of(&event->start_mark),
			"%c%.64s: no anchors and aliases here; write the value out",
			event->type == YAML_ALIAS_EVENT ? '*' : '&', anchor);
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return b->documents++ ? config_tree_wrong(b->tree, mark_of(&event->start_mark),
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
static struct config_mark mark_at(const char *text, size_t bytes, size_t offset)
{
	struct config_mark at = {.line = 1};

	for (size_t k = 0; k < offset && k < bytes; k++)
		at.line += text[k] == '\n';
	return at;
}

static int say_syntax(
	struct config_tree *tree, const yaml_parser_t *parser, const char *text, size_t bytes)
{
	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	return config_tree_wrong(tree,
		parser->error == YAML_READER_ERROR ? mark_at(text, bytes, parser->problem_offset)
						   : mark_of(&parser->problem_mark),
		"YAML: %s%s%s", parser->problem, parser->context ? " " : "",
		parser->context ? parser->context : "");
}

static int parse(struct config_tree *tree, const char *text, size_t bytes)
{
	struct builder b = {.tree = tree, .end = {&tree->root}};
	yaml_parser_t parser;
	bool more = true;
	int code = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
	while (more && !code) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			code = say_syntax(tree, &parser, text, bytes);
			break;
		}
		more = event.type != YAML_STREAM_END_EVENT;
		code = handle_event(&b, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return code;
}

/* All that comes, not what fstat promises: a file may grow, or be one of /proc. */
static int read_all(int fd, char **text, size_t *bytes)
{
	size_t room = 1 << 16, used = 0;
	char *at = malloc(room + 1);
	ssize_t n = 1;

	while (at && n > 0 && used <= CONFIG_FILE_BYTES) {
		if (used == room) {
			char *larger = realloc(at, (room *= 2) + 1);

			if (!larger)
				free(at);
			at = larger;
			if (!at)
				break;
		}
		n = read(fd, at + used, room - used);
		used += n > 0 ? (size_t)n : 0;
	}
	if (!at)
		return -ENOMEM;
	if (n < 0 || used > CONFIG_FILE_BYTES) {
		const int error = n < 0 ? -errno : -EFBIG;

		free(at);
		return error;
	}
	at[used] = 0;
	*text = at;
	*bytes = used;
	return 0;
}

/* A FIFO is not waited for. */
int config_file_read(const char *path, char **text, size_t *bytes, struct error *error)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), code = fd < 0 ? -errno : 0;
	struct stat is = {.st_mode = S_IFREG};

	if (!code && fstat(fd, &is) < 0)
		code = -errno;
	if (!code && S_ISREG(is.st_mode))
		code = read_all(fd, text, bytes);
	if (fd >= 0)
		close(fd);
	if (!S_ISREG(is.st_mode))
		return error_set(error, -EINVAL, "%s: not a file", path);
	return code ? error_set(error, code, "%s: %s", path, strerror(-code)) : 0;
}

int config_tree_load(struct config_tree *tree, const char *path, const char *text, size_t bytes,
	struct config_mistakes *mistakes, struct error *error)
{
	*tree = (struct config_tree){.path = path, .error = error, .mistakes = mistakes};
	int code = parse(tree, text, bytes);

	if (code == -ENOMEM)
		error_set(error, code, "%s: %s", path, strerror(-code));
	if (code)
		config_tree_free(tree);
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
