/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/parameters.h"

#include "model/parameters_known.h"
#include "model/sim.h"
#include "router/config_tree.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const tags[PARAMETER_TAGS] = {
	"measured", "datasheet", "derived", "assumed", "calibrated"};
static const char *const roles[] = {"nic", "switch", "host", "link", "program"};

static const struct unit {
	const char *name;
	enum parameter_kind of;
	uint64_t scale; /* base units of one */
} units[] = {
	{"ps", PARAMETER_TIME, 1},
	{"ns", PARAMETER_TIME, PS_PER_NS},
	{"us", PARAMETER_TIME, PS_PER_US},
	{"ms", PARAMETER_TIME, PS_PER_MS},
	{"B", PARAMETER_BYTES, 1},
	{"KiB", PARAMETER_BYTES, 1 << 10},
	{"MiB", PARAMETER_BYTES, 1 << 20},
	{"GiB", PARAMETER_BYTES, 1 << 30},
	{"b/s", PARAMETER_RATE, 1},
	{"Mb/s", PARAMETER_RATE, 1000000},
	{"Gb/s", PARAMETER_RATE, 1000000000},
	{"MB/s", PARAMETER_RATE, 8000000},
	{"GB/s", PARAMETER_RATE, 8000000000},
	{"/s", PARAMETER_PER_S, 1},
	{"M/s", PARAMETER_PER_S, 1000000},
	{"MHz", PARAMETER_HERTZ, 1000000},
	{"GHz", PARAMETER_HERTZ, 1000000000},
	{"count", PARAMETER_COUNT, 1},
	{"cycles", PARAMETER_CYCLES, 1},
	{"ratio", PARAMETER_RATIO, 1000000},
};

static const char *const kinds[PARAMETER_KINDS] = {
	[PARAMETER_TIME] = "a time: ps, ns, us or ms",
	[PARAMETER_BYTES] = "bytes: B, KiB, MiB or GiB",
	[PARAMETER_RATE] = "a rate of bits or bytes: b/s, Mb/s, Gb/s, MB/s or GB/s",
	[PARAMETER_PER_S] = "how many a second: /s or M/s",
	[PARAMETER_HERTZ] = "a clock: MHz or GHz",
	[PARAMETER_COUNT] = "count",
	[PARAMETER_CYCLES] = "cycles",
	[PARAMETER_RATIO] = "ratio",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* config_tree_wrong, with its value in sight of the analyser. */
#define refuse(...) (config_tree_wrong(__VA_ARGS__), -EINVAL)

static const struct unit *unit_find(const char *name)
{
	for (unsigned k = 0; k < COUNT(units); k++)
		if (!strcmp(units[k].name, name))
			return &units[k];
	return NULL;
}

const char *parameter_tag_name(enum parameter_tag tag)
{
	return tags[tag];
}

/* --- Decimals --------------------------------------------------------------------------------- */

/* DIGITS or DIGITS.DIGITS times the unit's scale. NULL, or why not. Each decimal is one of scale's
 * tenths: what is left over in the end the base unit cannot hold. */
static const char *decimal(const char *text, const struct unit *unit, uint64_t *value)
{
	uint64_t whole = 0, fraction = 0, rest = 0, power = 1;
	const char *at = text;

	if (!isdigit((unsigned char)*at))
		return "not a decimal number";
	for (; isdigit((unsigned char)*at); at++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
			__builtin_add_overflow(whole, *at - '0', &whole))
			return "too large";
	if (__builtin_mul_overflow(whole, unit->scale, &whole))
		return "too large";
	if (*at == '.' && !isdigit((unsigned char)at[1]))
		return "not a decimal number";
	if (*at == '.') {
		/* rest / power: the digits so far, in the base unit */
		for (at++; isdigit((unsigned char)*at); at++) {
			const unsigned digit = (unsigned)(*at - '0');

			if (!digit && !strpbrk(at, "123456789"))
				continue; /* trailing zeros */
			if (power > UINT64_MAX / 100 / unit->scale)
				return "more decimals than its unit has";
			power *= 10;
			rest = rest * 10 + digit * unit->scale;
		}
		fraction = rest / power;
		rest %= power;
	}
	if (*at)
		return "not a decimal number";
	if (rest)
		return "more decimals than its unit has";
	if (__builtin_add_overflow(whole, fraction, value))
		return "too large";
	return NULL;
}

void parameter_print(char *text, size_t room, uint64_t value, const char *name)
{
	const struct unit *unit = unit_find(name);
	uint64_t rest = value % unit->scale;
	size_t used =
		(size_t)snprintf(text, room, "%llu", (unsigned long long)(value / unit->scale));

	for (unsigned k = 0; rest && used + 3 < room; k++) {
		if (!k)
			text[used++] = '.';
		rest *= 10;
		text[used++] = (char)('0' + rest / unit->scale);
		rest %= unit->scale;
		text[used] = 0;
	}
}

/* NULL, or in *text what is possible instead. */
static const char *beyond(const struct parameter_known *known, const struct unit *unit,
	uint64_t value, char text[128])
{
	char least[32], most[32];

	if (value >= known->least && value <= known->most)
		return NULL;
	parameter_print(least, sizeof(least), known->least, unit->name);
	parameter_print(most, sizeof(most), known->most, unit->name);
	snprintf(text, 128, "want %s to %s %s", least, most, unit->name);
	return text;
}

/* --- The set ---------------------------------------------------------------------------------- */

struct parameter *parameters_find(const struct parameters *p, const char *name)
{
	for (unsigned k = 0; k < p->n; k++)
		if (!strcmp(p->parameter[k].name, name))
			return &p->parameter[k];
	return NULL;
}

uint64_t parameters_get(struct parameters *p, const char *name)
{
	const struct parameter *found = parameters_find(p, name);

	if (found)
		return found->value;
	if (!*p->missing)
		snprintf(p->missing, sizeof(p->missing), "%s", name);
	return 0;
}

int parameters_missing(const struct parameters *p, struct error *error)
{
	return *p->missing ? error_set(error, -EINVAL, "no parameter %s in any file", p->missing)
			   : 0;
}

static void parameter_free(struct parameter *p)
{
	free(p->name);
	free(p->part);
	free(p->unit);
	free(p->source);
}

void parameters_free(struct parameters *p)
{
	for (unsigned k = 0; k < p->n; k++)
		parameter_free(&p->parameter[k]);
	free(p->parameter);
	*p = (struct parameters){0};
}

static bool complete(const struct parameter *p)
{
	return p->name && p->part && p->unit && p->source;
}

/* Takes what `one` points to. Kept by name. */
static int insert(struct parameters *p, const struct parameter *one)
{
	unsigned at = p->n;

	if (p->n == p->room) {
		const unsigned room = p->room ? 2 * p->room : 64;
		struct parameter *more = realloc(p->parameter, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->parameter = more;
		p->room = room;
	}
	for (; at && strcmp(p->parameter[at - 1].name, one->name) > 0; at--)
		p->parameter[at] = p->parameter[at - 1];
	p->parameter[at] = *one;
	p->n++;
	return 0;
}

static struct parameter duplicate(const struct parameter *from)
{
	struct parameter to = *from;

	to.name = strdup(from->name);
	to.part = strdup(from->part);
	to.unit = strdup(from->unit);
	to.source = strdup(from->source);
	return to;
}

int parameters_copy(struct parameters *to, const struct parameters *from)
{
	*to = (struct parameters){0};
	for (unsigned k = 0; k < from->n; k++) {
		struct parameter one = duplicate(&from->parameter[k]);

		if (!complete(&one) || insert(to, &one) < 0) {
			parameter_free(&one);
			parameters_free(to);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Of one that was loaded: ROLE.NAME. */
static const struct parameter_known *known_of(const char *name)
{
	char role[16];

	snprintf(role, sizeof(role), "%.*s", (int)strcspn(name, "."), name);
	return parameter_known(role, name + strlen(role) + 1);
}

int parameters_set(struct parameters *p, const char *name, const char *text, struct error *error)
{
	struct parameter *one = parameters_find(p, name);
	const size_t number = strcspn(text, " ");
	char digits[64], wanted[128];
	uint64_t value;

	if (!one)
		return error_set(error, -EINVAL, "%s: no such parameter", name);
	const struct unit *own = unit_find(one->unit);
	const struct unit *unit = text[number] ? unit_find(text + number + 1) : own;
	if (!unit || unit->of != own->of)
		return error_set(error, -EINVAL, "%s: %s: want a number, or with a unit: NUMBER %s",
			name, text, own->name);
	snprintf(digits, sizeof(digits), "%.*s", (int)number, text);
	const char *wrong = number < sizeof(digits) ? decimal(digits, unit, &value) : "too long";
	if (!wrong)
		wrong = beyond(known_of(name), unit, value, wanted);
	if (wrong)
		return error_set(error, -EINVAL, "%s: %s: %s", name, text, wrong);
	one->value = value;
	one->set = true;
	return 0;
}

static uint64_t fnv(uint64_t hash, const void *data, size_t bytes)
{
	for (const uint8_t *at = data; bytes; bytes--)
		hash = (hash ^ *at++) * 0x100000001b3;
	return hash;
}

#define FNV_EMPTY 0xcbf29ce484222325

static uint64_t fnv_text(uint64_t hash, const char *text)
{
	return fnv(hash, text, strlen(text) + 1);
}

/* Low byte first, whatever the machine. */
static uint64_t fnv_number(uint64_t hash, uint64_t number)
{
	for (unsigned k = 0; k < 64; k += 8)
		hash = fnv(hash, &(uint8_t){(uint8_t)(number >> k)}, 1);
	return hash;
}

void parameters_draw(struct parameters *p, uint64_t seed)
{
	for (unsigned k = 0; k < p->n; k++) {
		struct parameter *one = &p->parameter[k];
		const uint64_t width = one->high - one->low;
		const uint64_t random = sim_mix(fnv_text(fnv_number(FNV_EMPTY, seed), one->name));

		if (!one->set)
			one->value = one->low +
				     (uint64_t)(((unsigned __int128)width + 1) * random >> 64);
	}
}

uint64_t parameters_hash(const struct parameters *p)
{
	uint64_t hash = FNV_EMPTY;

	for (unsigned k = 0; k < p->n; k++) {
		const struct parameter *one = &p->parameter[k];

		hash = fnv_text(fnv_text(fnv_text(hash, one->name), one->part), one->unit);
		hash = fnv_number(fnv_number(hash, one->value), one->low);
		hash = fnv_number(fnv_number(hash, one->high), one->tag);
	}
	return hash;
}

/* --- The file --------------------------------------------------------------------------------- */

/* The text of a key that has to be there, is a text, and says something. NULL: said what is
 * wrong. */
static const char *text_of(struct config_tree *tree, const struct config_node *mapping,
	const char *what, const char *key)
{
	const struct config_node *node = config_node_value(mapping, key);

	if (!node)
		config_tree_wrong(tree, mapping->mark, "%s has no %s", what, key);
	else if (node->kind != CONFIG_TEXT || !*node->text)
		config_tree_wrong(tree, node->mark, "%s: want a text", key);
	return node && node->kind == CONFIG_TEXT && *node->text ? node->text : NULL;
}

/* Only those keys, each once. */
static int check_keys(struct config_tree *tree, const struct config_node *mapping, const char *what,
	const char *const *keys, unsigned n)
{
	unsigned seen = 0;

	if (!mapping || mapping->kind != CONFIG_MAPPING)
		return refuse(tree, mapping ? mapping->mark : (struct config_mark){1, 1},
			"%s: want a mapping", what);
	for (const struct config_node *k = mapping->first; k; k = k->next->next) {
		unsigned at = 0;

		while (k->kind == CONFIG_TEXT && at < n && strcmp(keys[at], k->text) != 0)
			at++;
		if (k->kind != CONFIG_TEXT || at == n)
			return refuse(tree, k->mark, "%s: unknown key %s", what,
				k->kind == CONFIG_TEXT ? k->text : "");
		if (seen & 1u << at)
			return refuse(tree, k->mark, "%s: %s is there twice", what, k->text);
		seen |= 1u << at;
	}
	return 0;
}

/* Of the parameter `name`: its value, or an end of its range. */
static int read_number(struct config_tree *tree, const struct config_node *node, const char *name,
	const struct parameter_known *known, const struct unit *unit, uint64_t *value)
{
	char wanted[128];

	if (node->kind != CONFIG_TEXT)
		return refuse(tree, node->mark, "%s: want a number", name);
	const char *wrong = decimal(node->text, unit, value);
	if (!wrong)
		wrong = beyond(known, unit, *value, wanted);
	return wrong ? refuse(tree, node->mark, "%s: %.40s %s: %s", name, node->text, unit->name,
			       wrong)
		     : 0;
}

static int read_range(struct config_tree *tree, const struct config_node *value,
	const struct parameter_known *known, const struct unit *unit, struct parameter *one)
{
	const struct config_node *range = config_node_value(value, "range");
	int code;

	if (!range || range->kind != CONFIG_LIST || !range->first || !range->first->next ||
		range->first->next->next)
		return refuse(tree, (range ? range : value)->mark,
			"%s has no range: want [LOW, HIGH]", one->name);
	code = read_number(tree, range->first, one->name, known, unit, &one->low);
	if (!code)
		code = read_number(tree, range->first->next, one->name, known, unit, &one->high);
	if (!code && (one->low > one->value || one->value > one->high))
		code = refuse(tree, range->mark, "%s is not within its range", one->name);
	return code;
}

static int read_value(struct config_tree *tree, const struct config_node *node, const char *role,
	const char *part, struct parameter *one)
{
	static const char *const keys[] = {"name", "value", "unit", "range", "tag", "source"};
	int code = check_keys(tree, node, "value", keys, COUNT(keys));

	if (code)
		return code;
	const char *name = text_of(tree, node, "value", "name");
	if (!name)
		return -EINVAL;
	const struct parameter_known *known = parameter_known(role, name);
	if (!known)
		return refuse(tree, config_node_value(node, "name")->mark,
			"%.40s: a %s has no such parameter", name, role);
	const char *unit_name = text_of(tree, node, name, "unit");
	const char *tag = unit_name ? text_of(tree, node, name, "tag") : NULL;
	const char *source = tag ? text_of(tree, node, name, "source") : NULL;
	const struct unit *unit = unit_name ? unit_find(unit_name) : NULL;
	if (!source)
		return -EINVAL;
	if (!unit || unit->of != known->kind)
		return refuse(tree, config_node_value(node, "unit")->mark,
			"%s: unit %.40s: want %s", name, unit_name, kinds[known->kind]);
	while (one->tag < PARAMETER_TAGS && strcmp(tags[one->tag], tag) != 0)
		one->tag++;
	if (one->tag == PARAMETER_TAGS)
		return refuse(tree, config_node_value(node, "tag")->mark,
			"%s: unknown tag %.40s: want measured, datasheet, derived, assumed or "
			"calibrated",
			name, tag);
	if (!config_node_value(node, "value"))
		return refuse(tree, node->mark, "%s has no value", name);
	if (asprintf(&one->name, "%s.%s", role, name) < 0)
		one->name = NULL;
	one->part = strdup(part);
	one->unit = strdup(unit->name);
	one->source = strdup(source);
	if (!complete(one))
		return -ENOMEM;
	code = read_number(
		tree, config_node_value(node, "value"), one->name, known, unit, &one->value);
	return code ? code : read_range(tree, node, known, unit, one);
}

static int read_file(struct config_tree *tree, const char *wanted, struct parameters *into)
{
	static const char *const keys[] = {"part", "role", "values"};
	int code = check_keys(tree, tree->root, "the file", keys, COUNT(keys));
	unsigned is = 0;

	if (code)
		return code;
	const char *part = text_of(tree, tree->root, "the file", "part");
	const char *role = part ? text_of(tree, tree->root, "the file", "role") : NULL;
	const struct config_node *values = config_node_value(tree->root, "values");
	if (!role)
		return -EINVAL;
	while (is < COUNT(roles) && strcmp(roles[is], role) != 0)
		is++;
	if (is == COUNT(roles))
		return refuse(tree, config_node_value(tree->root, "role")->mark,
			"role %.40s: want nic, switch, host, link or program", role);
	if (wanted && strcmp(role, wanted) != 0)
		return refuse(tree, config_node_value(tree->root, "role")->mark,
			"a file of role %s, where one of role %s is due", role, wanted);
	if (!values || values->kind != CONFIG_LIST || !values->first)
		return refuse(tree, tree->root->mark, "the file has no values: want a list");
	for (const struct config_node *v = values->first; v && !code; v = v->next) {
		struct parameter one = {0};

		code = read_value(tree, v, role, part, &one);
		if (!code && parameters_find(into, one.name))
			code = refuse(tree, v->mark, "%s is there twice", one.name);
		if (!code)
			code = insert(into, &one);
		if (code)
			parameter_free(&one);
	}
	return code;
}

/* The role of ROLE.NAME. */
static bool same_role(const char *a, const char *b)
{
	const size_t n = strcspn(a, ".");

	return n == strcspn(b, ".") && !strncmp(a, b, n);
}

/* What `new` has takes the place of all of its role. Room is there before anything changes. */
static int replace(struct parameters *p, struct parameters *new)
{
	struct parameters all = {0};
	int code = 0;

	assert(new->n);
	all.parameter = calloc(p->n + new->n, sizeof(*all.parameter));
	if (!all.parameter)
		return -ENOMEM;
	all.room = p->n + new->n;
	for (unsigned k = 0; k < p->n; k++)
		if (!same_role(p->parameter[k].name, new->parameter[0].name))
			code |= insert(&all, &p->parameter[k]);
		else
			parameter_free(&p->parameter[k]);
	for (unsigned k = 0; k < new->n; k++)
		code |= insert(&all, &new->parameter[k]);
	assert(!code);
	free(new->parameter);
	free(p->parameter);
	*p = all;
	return 0;
}

int parameters_load_text(struct parameters *p, const char *path, const char *role, const char *text,
	size_t bytes, struct error *error)
{
	struct parameters new = {0};
	struct config_tree tree;
	int code = config_tree_load(&tree, path, text, bytes, NULL, error);

	if (code)
		return code;
	code = read_file(&tree, role, &new);
	config_tree_free(&tree);
	if (!code)
		code = replace(p, &new);
	if (code)
		parameters_free(&new);
	if (code == -ENOMEM)
		error_set(error, code, "%s: %s", path, strerror(ENOMEM));
	return code;
}

int parameters_load(struct parameters *p, const char *path, const char *role, struct error *error)
{
	size_t bytes;
	char *text;
	int code = config_file_read(path, &text, &bytes, error);

	if (code)
		return code;
	code = parameters_load_text(p, path, role, text, bytes, error);
	free(text);
	return code;
}
