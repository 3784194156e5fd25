/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_diff.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 1024u

/* --- What it takes ---------------------------------------------------------------------------- */

/* The first pattern that the key is, or is below of; * is one entry's name, which may have dots in
 * it. */
static const struct {
	const char *key, *below;
	enum config_effect effect;
} effects[] = {
	{"router.table", NULL, CONFIG_LIVE},
	{"router.flow_seed", NULL, CONFIG_LIVE},
	{"router.symmetric_flows", NULL, CONFIG_LIVE},
	{"router.inner_flows", NULL, CONFIG_LIVE},
	{"router", NULL, CONFIG_RESTART},
	{"kernel.audit", NULL, CONFIG_LIVE},
	{"kernel", NULL, CONFIG_RESTART},
	{"engines", NULL, CONFIG_NICS},
	{"nics.", ".port", CONFIG_NICS},
	{"nics.", ".pci", CONFIG_NICS},
	{"nics.", ".access", CONFIG_NICS},
	{"nics.", ".card", CONFIG_NICS},
	{"nics.", ".engine", CONFIG_NICS},
	{"nics.", ".mac", CONFIG_NICS},
	{"nics.", ".mtu", CONFIG_LIVE},
	{"nics.", ".addresses", CONFIG_LIVE},
	{"nics.", ".reverse_path", CONFIG_LIVE},
	{"nics.", ".vlans", CONFIG_LIVE},
	{"nics.", NULL, CONFIG_NICS},
};

static bool begins(const char *key, const char *with)
{
	const size_t n = strlen(with);

	return !strncmp(key, with, n) && (with[n - 1] == '.' || !key[n] || key[n] == '.');
}

/* The last part of such a name, or one with more parts behind it. */
static bool has_part(const char *key, const char *part)
{
	const size_t n = strlen(part);

	for (const char *at = key; (at = strstr(at, part)); at++)
		if (!at[n] || at[n] == '.')
			return true;
	return false;
}

enum config_effect config_effect(const char *key)
{
	for (size_t k = 0; k < sizeof(effects) / sizeof(*effects); k++)
		if (begins(key, effects[k].key) &&
			(!effects[k].below ||
				has_part(key + strlen(effects[k].key), effects[k].below)))
			return effects[k].effect;
	return CONFIG_LIVE;
}

const char *config_effect_name(enum config_effect effect)
{
	static const char *const name[] = {"live", "nics", "restart"};

	return name[effect];
}

/* --- What differs ----------------------------------------------------------------------------- */

struct diff {
	json_t *rows;
	char key[KEY_BYTES];
};

static void add(struct diff *d, json_t *from, json_t *to)
{
	json_t *row = json_pack("{s:s}", "key", d->key);

	if (from)
		json_object_set(row, "from", from);
	if (to)
		json_object_set(row, "to", to);
	json_object_set_new(row, "effect", json_string(config_effect_name(config_effect(d->key))));
	json_array_append_new(d->rows, row);
}

/* What tells an entry of a list apart. */
static void name_entry(const json_t *entry, size_t index, char *name, size_t room)
{
	static const char *const by[] = {"name", "prefix", "file", "via"};
	const char *nic = json_string_value(json_object_get(entry, "nic"));

	snprintf(name, room, "%zu", index);
	if (json_is_string(entry))
		snprintf(name, room, "%s", json_string_value(entry));
	else if (nic)
		snprintf(name, room, "%s %s", nic,
			json_string_value(json_object_get(entry, "address")));
	else if (json_object_get(entry, "id"))
		snprintf(name, room, "%lld",
			(long long)json_integer_value(json_object_get(entry, "id")));
	for (unsigned k = 0; k < 4 && !nic; k++)
		if (json_object_get(entry, by[k])) {
			snprintf(
				name, room, "%s", json_string_value(json_object_get(entry, by[k])));
			return;
		}
}

/* By name; a second one of a name gets its number. */
static json_t *named(const json_t *list)
{
	json_t *o = json_object(), *entry;
	char name[KEY_BYTES / 2];
	size_t k;

	json_array_foreach(list, k, entry)
	{
		name_entry(entry, k, name, sizeof(name) - 24);
		if (json_object_get(o, name))
			snprintf(name + strlen(name), 24, "#%zu", k + 1);
		json_object_set(o, name, entry);
	}
	return o;
}

static void compare(struct diff *d, json_t *from, json_t *to);

static void compare_objects(struct diff *d, json_t *from, json_t *to)
{
	const size_t length = strlen(d->key);
	const char *key;
	json_t *value;

	json_object_foreach(from, key, value)
	{
		snprintf(d->key + length, KEY_BYTES - length, "%s%s", length ? "." : "", key);
		compare(d, value, json_object_get(to, key));
		d->key[length] = 0;
	}
	json_object_foreach(to, key, value)
	{
		if (json_object_get(from, key))
			continue;
		snprintf(d->key + length, KEY_BYTES - length, "%s%s", length ? "." : "", key);
		compare(d, NULL, value);
		d->key[length] = 0;
	}
}

/* Of a list of texts, and of next hops, the order may matter. */
static bool same_names(const json_t *from, const json_t *to)
{
	return json_is_object(json_array_get(from ? from : to, 0));
}

static void compare(struct diff *d, json_t *from, json_t *to)
{
	if (from && to && json_equal(from, to))
		return;
	if (json_is_object(from) && json_is_object(to)) {
		compare_objects(d, from, to);
	} else if ((json_is_array(from) || json_is_array(to)) && same_names(from, to)) {
		json_t *a = named(from), *b = named(to);

		compare_objects(d, a, b);
		json_decref(a);
		json_decref(b);
	} else {
		add(d, from, to);
	}
}

json_t *config_diff(const json_t *from, const json_t *to)
{
	struct diff d = {.rows = json_array()};

	/* Neither is changed; jansson's loops do not say so. */
	if (d.rows)
		compare(&d, (json_t *)from, (json_t *)to);
	return d.rows;
}
