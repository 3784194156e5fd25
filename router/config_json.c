/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_json.h"

#include "router/config.h"
#include "router/config_schema.h"
#include "router/config_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *config_json(const struct config *config)
{
	json_t *o = config_schema_json(config), *router = json_object_get(o, "router");
	json_t *nics = json_object_get(o, "nics");
	char path[PATH_MAX];

	if (!o)
		return NULL;
	config_runtime(config, path, sizeof(path));
	json_object_set_new(router, "runtime", json_string(path));
	state_directory(config, path, sizeof(path));
	json_object_set_new(router, "state", json_string(path));
	for (size_t k = json_array_size(nics); k--;)
		if (!config_nic_used(&config->nics[k]))
			json_array_remove(nics, k);
	return o;
}

/* --- YAML ------------------------------------------------------------------------------------- */

/* As it is, no reader takes it for anything but this text: a word of letters first, and none of
 * those that stand for a value. */
static bool plain(const char *text)
{
	static const char *const values[] = {
		"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"};
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	if (!*text || !strchr(letters, *text) ||
		strspn(text,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/.") !=
			strlen(text))
		return false;
	for (size_t k = 0; k < sizeof(values) / sizeof(*values); k++)
		if (!strcasecmp(text, values[k]))
			return false;
	return true;
}

/* YAML's double quotes take JSON's escapes. */
static void put_text(FILE *out, const char *text)
{
	json_t *value = plain(text) ? NULL : json_string(text);
	char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;

	fputs(quoted ? quoted : text, out);
	free(quoted);
	json_decref(value);
}

static void put_scalar(FILE *out, const json_t *value)
{
	if (json_is_string(value))
		put_text(out, json_string_value(value));
	else if (json_is_boolean(value))
		fputs(json_is_true(value) ? "true" : "false", out);
	else if (json_is_object(value))
		fputs("{}", out);
	else if (json_is_array(value))
		fputs("[]", out);
	else
		fprintf(out, "%lld", (long long)json_integer_value(value));
}

static bool is_block(const json_t *value)
{
	return json_object_size(value) || json_array_size(value);
}

/* The first line of a list's entry stands behind its dash. */
static void put_block(FILE *out, const json_t *value, unsigned indent, bool behind_dash)
{
	const char *key;
	json_t *of;
	size_t k;

	json_array_foreach(value, k, of)
	{
		fprintf(out, "%*s- ", indent, "");
		if (is_block(of)) {
			put_block(out, of, indent + 2, true);
		} else {
			put_scalar(out, of);
			fputc('\n', out);
		}
	}
	/* jansson's loop is over a table that does not say it is only read. */
	json_object_foreach((json_t *)value, key, of)
	{
		fprintf(out, "%*s", behind_dash ? 0 : (int)indent, "");
		behind_dash = false;
		put_text(out, key);
		if (is_block(of)) {
			fputs(":\n", out);
			put_block(out, of, indent + 2, false);
		} else {
			fputs(": ", out);
			put_scalar(out, of);
			fputc('\n', out);
		}
	}
}

char *config_yaml(const json_t *value)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	if (is_block(value)) {
		put_block(out, value, 0, false);
	} else {
		put_scalar(out, value);
		fputc('\n', out);
	}
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
