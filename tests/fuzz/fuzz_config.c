/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file, whatever is in it: loaded whole or refused with a sentence that names a
 * line.
 *
 * An input that begins with a tab (no YAML does) is values, one a line, for a file that is
 * well-formed otherwise: so what comes behind the YAML library is reached. An empty one stands for
 * a good one.
 */
#include "router/config.h"
#include "router/config_diff.h"
#include "router/config_json.h"
#include "router/config_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 's: a quoted string; 'n: a number; each with the good one behind it, up to the next quote. */
static const char template[] =
	"router: {method: 's wr', ring_slots: 'n 64', batch: 'n 8', table: 's line-trie'}\n"
	"engines:\n  - {name: 's e', core: 'n 0'}\n"
	"nics:\n  - {name: 's a', engine: 's e', mtu: 'n 1500', mac: 's 02:00:00:00:00:01',\n"
	"     port: {type: 's pcap', target: 's in,out'}, addresses: ['s 192.0.2.1/24', 's "
	"fd00::1/64']}\n"
	"  - {name: b, port: {type: tap, target: t}, addresses: [198.51.100.1/24]}\n"
	"neighbors:\n  - {nic: 's a', address: 's 192.0.2.9', mac: 's 02:00:00:00:00:09'}\n"
	"routes:\n  - {prefix: 's 203.0.113.0/24', via: 's 198.51.100.9'}\n"
	"  - {prefix: 's fd01::/16', next_hops: [{via: 's fd00::9', weight: 'n 3'}]}\n"
	"  - {prefix: 's 0.0.0.0/0', action: 's blackhole'}\n"
	"route_files:\n  - {file: 's /proc/self/status', via: ['s 198.51.100.9', 's fd00::9']}\n";

static size_t fill(const uint8_t *value, size_t left, char *text, size_t room)
{
	size_t used = 0;

	for (const char *t = template; *t && used + 4 < room; t++) {
		if (*t != '\'') {
			text[used++] = *t;
			continue;
		}
		const bool quoted = *++t == 's';
		const char *good = t + 2, *end = strchr(good, '\'');
		const uint8_t *newline = memchr(value, '\n', left);
		size_t n = newline ? (size_t)(newline - value) : left, from = used;

		text[used] = '\'';
		used += quoted;
		for (size_t k = 0; k < n && used + 4 < room; k++) {
			if (quoted ? value[k] == '\''
				   : value[k] != '-' && (value[k] < '0' || value[k] > '9'))
				continue;
			text[used++] = (char)value[k];
		}
		for (; used == from + quoted && good < end && used + 4 < room; good++)
			text[used++] = *good;
		text[used] = '\'';
		used += quoted;
		value += n + (newline != NULL);
		left -= n + (newline != NULL);
		t = end;
	}
	return used;
}

/* Written out as YAML, every key of it, it is the same again. */
static void check_same_again(const struct config *config, const char *path)
{
	json_t *json = config_json(config), *again, *differences;
	struct config *copy;
	struct error error;
	char *yaml;

	/* May be longer than a text of the file. */
	json_object_del(json_object_get(json, "router"), "state");
	yaml = config_yaml(json);
	if (config_load_text(&copy, path, yaml, strlen(yaml), NULL, &error) < 0)
		abort();
	again = config_json(copy);
	json_object_del(json_object_get(again, "router"), "state");
	differences = config_diff(json, again);
	if (!json_equal(json, again) || json_array_size(differences))
		abort();
	json_decref(differences);
	json_decref(again);
	json_decref(json);
	free(yaml);
	config_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64], text[65536];
	char runtime[256];
	struct error error = {""};
	struct config *config = NULL;

	if (file < 0) {
		file = memfd_create("config", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (size && *data == '\t') {
		size = fill(data + 1, size - 1, text, sizeof(text));
		data = (const uint8_t *)text;
	}
	if (file < 0 || ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		return 0;
	if (config_load(&config, path, &error) < 0) {
		/* A sentence after the file's name and a line; all mistakes, of which it is the
		 * first. */
		struct config_mistakes all = {0};
		unsigned line = 0;

		if (config_load_text(&config, path, (const char *)data, size, &all, &error) == 0 ||
			!all.n || !strstr(error.text, all.mistake[0].reason.text))
			abort();
		config_mistakes_free(&all);

		if (strncmp(error.text, path, strlen(path)) != 0 ||
			sscanf(error.text + strlen(path), ":%u: ", &line) != 1 || line == 0)
			abort();
		return 0;
	}
	if (config->nics_count == 0 || !config->router)
		abort();
	config_runtime(config, runtime, sizeof(runtime));
	check_same_again(config, path);
	for (unsigned k = 0; k < config->nics_count; k++)
		if (config_nic_index(config, config->nics[k].name) != (int)k)
			abort();
	config_free(config);
	return 0;
}
