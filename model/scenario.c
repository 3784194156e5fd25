/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/scenario.h"

#include "model/sim.h"
#include "router/config_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const roles[SCENARIO_ROLES] = {"nic", "switch", "host", "link"};

/* The program, and the file with its parameters. */
static const struct known_program {
	const struct program *program;
	const char *part;
} programs[] = {
	{&program_paper, "published"},
	{&program_fixed, "published"},
	{&program_rd, "published"},
	{&program_bn, "published"},
	{&program_l3fwd, "published"},
	{&program_p2pnic, "p2pnic"},
	{&program_p2pnic_held, "p2pnic"},
};
#define PROGRAMS (sizeof(programs) / sizeof(*programs))

static const struct known_program *find_program(const char *name)
{
	for (unsigned k = 0; k < PROGRAMS; k++)
		if (!strcmp(programs[k].program->name, name))
			return &programs[k];
	return NULL;
}

const struct program *scenario_program(const char *name)
{
	const struct known_program *known = find_program(name);

	return known ? known->program : NULL;
}

void scenario_init(struct scenario *s)
{
	*s = (struct scenario){.title = "",
		.pattern = "4in-4out",
		.part = {"agilio-cx", "pex9797", "xeon6246r", "gen3"},
		.setup = {.program = &program_p2pnic,
			.nics = 4,
			.leaves = 1,
			.in = 4,
			.out = 4,
			.frame = 64,
			.seed = 1}};
}

void scenario_free(struct scenario *s)
{
	for (unsigned k = 0; k < s->settings; k++) {
		free(s->setting[k].name);
		free(s->setting[k].value);
	}
	free(s->setting);
	parameters_free(&s->parameters);
}

/* --- Values: NULL, or what is wanted instead -------------------------------------------------- */

static const char *number(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
	static char wanted[64];

	*value = 0;
	for (const char *c = text; *c >= '0' && *c <= '9' && *value <= high; c++)
		*value = *value * 10 + (uint64_t)(*c - '0');
	if (*text && text[strspn(text, "0123456789")] == 0 && *value >= low && *value <= high)
		return NULL;
	snprintf(wanted, sizeof(wanted), "a number from %llu to %llu", (unsigned long long)low,
		(unsigned long long)high);
	return wanted;
}

static const char *number32(const char *text, uint64_t low, uint64_t high, uint32_t *value)
{
	uint64_t wide;
	const char *wanted = number(text, low, high, &wide);

	if (!wanted)
		*value = (uint32_t)wide;
	return wanted;
}

/* Up to three decimals: exact in Mb/s. */
static const char *rate(const char *text, uint64_t *bit_per_s)
{
	static const char wanted[] = "a rate such as 10 Gb/s or 2.5 Mb/s";
	uint64_t value = 0, scale;
	unsigned decimals = 0, digits = 0;
	const char *c = text;

	for (; *c >= '0' && *c <= '9' && digits < 9; c++, digits++)
		value = value * 10 + (uint64_t)(*c - '0');
	if (!digits)
		return wanted;
	if (*c == '.')
		for (c++; *c >= '0' && *c <= '9' && decimals < 3; c++, decimals++)
			value = value * 10 + (uint64_t)(*c - '0');
	if (!strcmp(c, " Gb/s"))
		scale = 1000000000;
	else if (!strcmp(c, " Mb/s"))
		scale = 1000000;
	else
		return wanted;
	for (; decimals; decimals--)
		scale /= 10;
	if (!value || value * scale > PS_PER_S)
		return "a rate above 0, to 1000 Gb/s";
	*bit_per_s = value * scale;
	return NULL;
}

static const char *choice(const char *text, const char *yes, const char *no, bool *value)
{
	static char wanted[64];

	*value = !strcmp(text, yes);
	snprintf(wanted, sizeof(wanted), "%s or %s", yes, no);
	return *value || !strcmp(text, no) ? NULL : wanted;
}

static const char *pattern(struct scenario *s, const char *text)
{
	unsigned in, out;
	char again[sizeof(s->pattern)];

	for (unsigned mix = 0; mix < 2; mix++) {
		if (sscanf(text, "%2uin-%2uout", &in, &out) != 2)
			break;
		snprintf(again, sizeof(again), "%uin-%uout%s", in, out, mix ? "-mix" : "");
		if (strcmp(text, again) != 0)
			continue;
		s->setup.in = in;
		s->setup.out = out;
		s->setup.mix = mix;
		memcpy(s->pattern, again, sizeof(again));
		return NULL;
	}
	return "a pattern such as 1in-1out or 4in-4out-mix";
}

static const char *words(char *to, size_t room, const char *text)
{
	if (!*text || strlen(text) >= room)
		return "a text that is not too long";
	snprintf(to, room, "%s", text);
	return NULL;
}

/* --- Keys ------------------------------------------------------------------------------------- */

static const char *set_program(struct scenario *s, const char *value)
{
	const struct program *program = scenario_program(value);

	if (!program)
		return "paper, fixed, rd, bn, l3fwd, p2pnic or p2pnic-held";
	s->setup.program = program;
	return NULL;
}

/* Sets a key whose value is one word. *known: there is such a key. */
static const char *set_key(struct scenario *s, const char *key, const char *value, bool *known)
{
	struct machine_setup *m = &s->setup;

	*known = true;
	for (unsigned role = 0; role < SCENARIO_ROLES; role++)
		if (!strcmp(key, roles[role]))
			return words(s->part[role], sizeof(s->part[role]), value);
	if (!strcmp(key, "title"))
		return words(s->title, sizeof(s->title), value);
	if (!strcmp(key, "program"))
		return set_program(s, value);
	if (!strcmp(key, "nics"))
		return number32(value, 2, MACHINE_NICS, &m->nics);
	if (!strcmp(key, "switches"))
		return number32(value, 1, MACHINE_SWITCHES, &m->leaves);
	if (!strcmp(key, "pattern"))
		return pattern(s, value);
	if (!strcmp(key, "frame"))
		return number32(value, 64, 9018, &m->frame);
	if (!strcmp(key, "packets"))
		return number(value, 100, 100000000, &m->packets);
	if (!strcmp(key, "seed"))
		return number(value, 0, UINT32_MAX, &m->seed);
	if (!strcmp(key, "rate")) {
		m->bit_per_s = 0;
		return strcmp(value, "line") == 0 ? NULL : rate(value, &m->bit_per_s);
	}
	*known = false;
	return NULL;
}

static int note_setting(struct scenario *s, const char *name, const char *value)
{
	struct scenario_setting *more =
		realloc(s->setting, (s->settings + 1) * sizeof(*s->setting));

	if (!more)
		return -ENOMEM;
	s->setting = more;
	more[s->settings] = (struct scenario_setting){strdup(name), strdup(value)};
	s->settings++;
	return more[s->settings - 1].name && more[s->settings - 1].value ? 0 : -ENOMEM;
}

int scenario_set(struct scenario *s, const char *text, struct error *error)
{
	const char *equals = strchr(text, '=');
	char key[64];
	bool known;

	if (!equals || equals == text || (size_t)(equals - text) >= sizeof(key))
		return error_set(error, -EINVAL, "'%.80s': want KEY=VALUE", text);
	snprintf(key, sizeof(key), "%.*s", (int)(equals - text), text);
	if (strchr(key, '.')) {
		if (note_setting(s, key, equals + 1))
			return error_set(error, -ENOMEM, "out of memory");
		return 0;
	}
	const char *wanted = set_key(s, key, equals + 1, &known);
	if (!known)
		return error_set(error, -EINVAL,
			"%s: no such key; a parameter has a dot, such as switch.latency", key);
	return wanted ? error_set(error, -EINVAL, "%s: '%.80s': want %s", key, equals + 1, wanted)
		      : 0;
}

/* --- The file --------------------------------------------------------------------------------- */

/* One word of `mapping`; NULL with the error said: it is a list or a mapping. */
static const char *text_of(struct config_tree *tree, const struct config_node *key)
{
	if (key->kind == CONFIG_TEXT && key->next->kind == CONFIG_TEXT)
		return key->next->text;
	config_tree_wrong(tree, key->next->mark, "%s: want one word",
		key->kind == CONFIG_TEXT ? key->text : "key");
	return NULL;
}

static int each_key_once(struct config_tree *tree, const struct config_node *mapping)
{
	for (const struct config_node *key = mapping->first; key; key = key->next->next)
		for (const struct config_node *k = mapping->first; k != key; k = k->next->next)
			if (k->kind == CONFIG_TEXT && key->kind == CONFIG_TEXT &&
				!strcmp(k->text, key->text))
				return config_tree_wrong(
					tree, key->mark, "%.40s is there twice", key->text);
	return 0;
}

static int load_parts(struct scenario *s, struct config_tree *tree, const struct config_node *node)
{
	if (node->kind != CONFIG_MAPPING)
		return config_tree_wrong(tree, node->mark, "parts: want ROLE: FILE");
	if (each_key_once(tree, node))
		return -EINVAL;
	for (const struct config_node *key = node->first; key; key = key->next->next) {
		const char *value = text_of(tree, key), *wanted;
		unsigned role = 0;

		if (!value)
			return -EINVAL;
		while (role < SCENARIO_ROLES && strcmp(key->text, roles[role]) != 0)
			role++;
		if (role == SCENARIO_ROLES)
			return config_tree_wrong(tree, key->mark,
				"parts: '%.40s': want nic, switch, host or link", key->text);
		wanted = words(s->part[role], sizeof(s->part[role]), value);
		if (wanted)
			return config_tree_wrong(
				tree, key->next->mark, "%s: want %s", key->text, wanted);
	}
	return 0;
}

static int load_settings(
	struct scenario *s, struct config_tree *tree, const struct config_node *node)
{
	if (node->kind != CONFIG_MAPPING)
		return config_tree_wrong(tree, node->mark, "set: want PARAMETER: VALUE");
	if (each_key_once(tree, node))
		return -EINVAL;
	for (const struct config_node *key = node->first; key; key = key->next->next) {
		const char *value = text_of(tree, key);

		if (!value)
			return -EINVAL;
		if (!strchr(key->text, '.'))
			return config_tree_wrong(tree, key->mark,
				"set: '%.40s' is no parameter: those have a dot", key->text);
		if (note_setting(s, key->text, value))
			return -ENOMEM;
	}
	return 0;
}

static const char *set_lanes(struct machine_neighbour *n, const char *value)
{
	const char *wanted = number32(value, 4, 16, &n->lanes);

	return wanted || (n->lanes & (n->lanes - 1)) ? "4, 8 or 16" : NULL;
}

static const char *set_neighbour(
	struct machine_neighbour *n, const char *key, const char *value, bool *known)
{
	*known = true;
	if (!strcmp(key, "rate"))
		return rate(value, &n->bit_per_s);
	if (!strcmp(key, "bytes"))
		return number32(value, 4, 1 << 20, &n->bytes);
	if (!strcmp(key, "lanes"))
		return set_lanes(n, value);
	if (!strcmp(key, "switch"))
		return number32(value, 0, MACHINE_SWITCHES - 1, &n->below);
	if (!strcmp(key, "to"))
		return choice(value, "host", "next", &n->to_host);
	if (!strcmp(key, "access"))
		return choice(value, "read", "write", &n->read);
	*known = false;
	return NULL;
}

static int load_neighbour(
	struct machine_neighbour *n, struct config_tree *tree, const struct config_node *node)
{
	if (node->kind != CONFIG_MAPPING)
		return config_tree_wrong(tree, node->mark, "neighbour: want KEY: VALUE");
	if (each_key_once(tree, node))
		return -EINVAL;
	*n = (struct machine_neighbour){.bytes = 4096, .lanes = 16};
	for (const struct config_node *key = node->first; key; key = key->next->next) {
		const char *value = text_of(tree, key), *wanted;
		bool known;

		if (!value)
			return -EINVAL;
		wanted = set_neighbour(n, key->text, value, &known);
		if (!known)
			return config_tree_wrong(tree, key->mark,
				"neighbour: no key '%.40s'; "
				"there are rate, bytes, lanes, switch, to, access",
				key->text);
		if (wanted)
			return config_tree_wrong(tree, key->next->mark, "%s: '%.40s': want %s",
				key->text, value, wanted);
	}
	if (!n->bit_per_s)
		return config_tree_wrong(tree, node->mark, "neighbour: no rate");
	return 0;
}

static int load_neighbours(
	struct scenario *s, struct config_tree *tree, const struct config_node *node)
{
	if (node->kind != CONFIG_LIST)
		return config_tree_wrong(tree, node->mark, "neighbours: want a list");
	s->setup.neighbours = 0;
	for (const struct config_node *one = node->first; one; one = one->next) {
		if (s->setup.neighbours == MACHINE_NEIGHBOURS)
			return config_tree_wrong(
				tree, one->mark, "neighbours: more than %u", MACHINE_NEIGHBOURS);
		int code = load_neighbour(&s->setup.neighbour[s->setup.neighbours++], tree, one);
		if (code)
			return code;
	}
	return 0;
}

static int load_key(struct scenario *s, struct config_tree *tree, const struct config_node *key)
{
	const char *value, *wanted;
	bool known;

	if (key->kind != CONFIG_TEXT)
		return config_tree_wrong(tree, key->mark, "want KEY: VALUE");
	if (!strcmp(key->text, "parts"))
		return load_parts(s, tree, key->next);
	if (!strcmp(key->text, "set"))
		return load_settings(s, tree, key->next);
	if (!strcmp(key->text, "neighbours"))
		return load_neighbours(s, tree, key->next);
	value = text_of(tree, key);
	if (!value)
		return -EINVAL;
	wanted = set_key(s, key->text, value, &known);
	if (!known)
		return config_tree_wrong(
			tree, key->mark, "no key '%.40s' in a scenario", key->text);
	if (wanted)
		return config_tree_wrong(
			tree, key->next->mark, "%s: '%.40s': want %s", key->text, value, wanted);
	return 0;
}

int scenario_load_text(
	struct scenario *s, const char *path, const char *text, size_t bytes, struct error *error)
{
	struct config_tree tree;
	int code = config_tree_load(&tree, path, text, bytes, NULL, error);

	if (!code && tree.root && tree.root->kind != CONFIG_MAPPING)
		code = config_tree_wrong(&tree, tree.root->mark, "a scenario is KEY: VALUE");
	if (!code && tree.root)
		code = each_key_once(&tree, tree.root);
	for (const struct config_node *key = !code && tree.root ? tree.root->first : NULL;
		key && !code; key = key->next->next)
		code = load_key(s, &tree, key);
	config_tree_free(&tree);
	if (code == -ENOMEM)
		error_set(error, code, "%s: out of memory", path);
	return code;
}

int scenario_load(struct scenario *s, const char *path, struct error *error)
{
	size_t bytes;
	char *text;
	int code = config_file_read(path, &text, &bytes, error);

	if (code)
		return code;
	code = scenario_load_text(s, path, text, bytes, error);
	free(text);
	return code;
}

/* --- Ready ------------------------------------------------------------------------------------ */

static int load_part(struct scenario *s, const char *folder, const char *role, const char *name,
	struct error *error)
{
	char path[512];

	if (strchr(name, '/'))
		snprintf(path, sizeof(path), "%s", name);
	else
		snprintf(path, sizeof(path), "%s/parameters/%s.yaml", folder, name);
	return parameters_load(&s->parameters, path, role, error);
}

int scenario_ready(struct scenario *s, const char *folder, struct error *error)
{
	int code =
		load_part(s, folder, "program", find_program(s->setup.program->name)->part, error);

	for (unsigned role = 0; role < SCENARIO_ROLES && !code; role++)
		code = load_part(s, folder, roles[role], s->part[role], error);
	for (unsigned k = 0; k < s->settings && !code; k++)
		code = parameters_set(
			&s->parameters, s->setting[k].name, s->setting[k].value, error);
	return code;
}
