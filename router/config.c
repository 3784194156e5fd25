/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config.h"

#include "router/config_check.h"
#include "router/config_defaults.h"
#include "router/config_schema.h"
#include "router/config_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool config_name_valid(const char *name)
{
	size_t n = strlen(name);

	return n && n < 32 && *name != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       n;
}

/* Whether all NICs, and those to come, find room. */
static int check_room(const struct config *config, struct config_tree *tree)
{
	const struct config_router *r = config->router;
	const struct config_node *list = config_node_value(tree->root, "nics");
	const struct config_node *memory =
		config_node_value(config_node_value(tree->root, "router"), "packet_memory_mib");
	const unsigned room = config_places(config);
	const unsigned want = *r->nics_max > config->nics_count ? *r->nics_max : config->nics_count;

	if (*r->nics_max < config->nics_count)
		return config_tree_wrong(tree, list->mark, "nics: %u entries; %s is %u",
			config->nics_count,
			r->derived & CONFIG_DERIVED_PLACES ? "the most that packet_memory_mib holds"
							   : "nics_max",
			*r->nics_max);
	if (room < want)
		return config_tree_wrong(tree, memory ? memory->mark : list->mark,
			"packet_memory_mib %u: too small for %u NICs, %u at most: want more of it, "
			"or fewer ring_slots, rx_buffers or nics_max",
			*r->packet_memory_mib, want, room);
	return 0;
}

/* What the tree says, and what it does not. */
static int fill(struct config *config, struct config_tree *tree)
{
	config->path = strdup(tree->path);
	config->router = calloc(1, sizeof(*config->router));
	if (!config->path || !config->router)
		return -ENOMEM;
	int code = config_schema_load(config, tree);
	if (!code)
		code = config_check(config, tree);
	if (!code)
		code = config_defaults(config);
	if (!code)
		code = check_room(config, tree);
	return code;
}

static int load(struct config **out, const char *path, char *text, size_t bytes,
	struct config_mistakes *mistakes, struct error *error)
{
	struct config_tree tree;
	struct config *config = NULL;
	int code = config_tree_load(&tree, path, text, bytes, mistakes, error);

	if (!code && !tree.root)
		code = config_tree_wrong(
			&tree, (struct config_mark){.line = 1}, "empty; want nics: at least");
	if (!code)
		config = calloc(1, sizeof(*config));
	if (!code)
		code = config ? fill(config, &tree) : -ENOMEM;
	if (code == -ENOMEM)
		error_set(error, code, "%s: %s", path, strerror(-code));
	config_tree_free(&tree);
	if (code) {
		config_free(config);
		free(text);
		return code;
	}
	config->text = text;
	config->bytes = bytes;
	*out = config;
	return 0;
}

int config_load_text(struct config **out, const char *path, const char *text, size_t bytes,
	struct config_mistakes *mistakes, struct error *error)
{
	char *own = malloc(bytes + 1);

	if (!own)
		return error_set(error, -ENOMEM, "%s: %s", path, strerror(ENOMEM));
	memcpy(own, text, bytes);
	own[bytes] = 0;
	return load(out, path, own, bytes, mistakes, error);
}

int config_load(struct config **out, const char *path, struct error *error)
{
	char *text;
	size_t bytes;
	int code = config_file_read(path, &text, &bytes, error);

	return code ? code : load(out, path, text, bytes, NULL, error);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (unsigned k = 0; k < config->nics_count; k++) {
		struct config_nic *n = &config->nics[k];

		for (unsigned v = 0; v < n->vlans_count; v++) {
			free(n->vlans[v].name);
			free(n->vlans[v].address);
		}
		free(n->address);
	}
	for (unsigned k = 0; k < config->route_files_count; k++) {
		free(config->route_files[k].path);
		free(config->route_files[k].gateway);
	}
	free(config->path);
	free(config->text);
	config_schema_free(config);
	free(config);
}

static int replace_text(char **text, const char *new)
{
	char *copy = new ? strdup(new) : NULL;

	if (new && !copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

int config_replace_ports(struct config *config, const struct config_port *port, const char *engine,
	const char *runtime)
{
	int error = replace_text(&config->router->runtime, runtime);

	for (unsigned k = 0; k < config->nics_count && !error; k++) {
		struct config_nic *n = &config->nics[k];

		error = replace_text(&n->port.type, port[k].type);
		if (!error)
			error = replace_text(&n->port.target, port[k].target);
		if (!error)
			error = replace_text(&n->port.options, port[k].options);
		if (!error)
			error = replace_text(&n->engine, engine);
		if (!error)
			error = replace_text(&n->pci, NULL);
		if (!error)
			error = replace_text(&n->card, NULL);
	}
	return error;
}

void runtime_of_name(const char *name, char *path, size_t bytes)
{
	const char *user = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(path, bytes, "/run/p2pnic/%s", name);
	else if (user && *user)
		snprintf(path, bytes, "%s/p2pnic/%s", user, name);
	else
		snprintf(path, bytes, "/tmp/p2pnic-%u/%s", geteuid(), name);
}

static const char *runtime_wanted;

void config_runtime_wanted(const char *directory)
{
	runtime_wanted = directory;
}

void config_runtime(const struct config *config, char *path, size_t bytes)
{
	if (runtime_wanted)
		snprintf(path, bytes, "%s", runtime_wanted);
	else if (config->router->runtime)
		snprintf(path, bytes, "%s", config->router->runtime);
	else
		runtime_of_name(config->router->name, path, bytes);
}

int config_nic_index(const struct config *config, const char *name)
{
	for (unsigned k = 0; k < config->nics_count; k++)
		if (!strcmp(config->nics[k].name, name))
			return (int)k;
	return -1;
}

unsigned config_nics_used(const struct config *config)
{
	unsigned n = 0;

	for (unsigned k = 0; k < config->nics_count; k++)
		n += config_nic_used(&config->nics[k]);
	return n;
}

static int make_unused(struct config_nic *n)
{
	n->name = strdup("");
	n->engine = strdup("");
	n->port.type = strdup("none");
	n->port.target = strdup("none");
	n->reverse_path = strdup("none");
	n->mtu = malloc(sizeof(*n->mtu));
	if (!n->name || !n->engine || !n->port.type || !n->port.target || !n->reverse_path ||
		!n->mtu)
		return -ENOMEM;
	*n->mtu = CONFIG_MTU_DEFAULT;
	return 0;
}

int config_place(struct config *config, const unsigned *number, unsigned places)
{
	struct config placed = {.nics = calloc(places, sizeof(*placed.nics)), .nics_count = places};
	bool taken[P2PNIC_NICS_MAX] = {false};
	int error = placed.nics ? 0 : -ENOMEM;

	for (unsigned k = 0; k < config->nics_count; k++)
		taken[number[k]] = true;
	for (unsigned k = 0; k < places && !error; k++)
		error = taken[k] ? 0 : make_unused(&placed.nics[k]);
	if (error) {
		config_schema_free(&placed);
		return error;
	}
	for (unsigned k = 0; k < config->nics_count; k++)
		placed.nics[number[k]] = config->nics[k];
	for (unsigned k = 0; k < config->neighbors_count; k++)
		config->neighbors[k].nic_index = number[config->neighbors[k].nic_index];
	free(config->nics);
	config->nics = placed.nics;
	config->nics_count = places;
	return 0;
}
