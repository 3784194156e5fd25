/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/route_words.h"
#include "cli/command_line.h"

#include <string.h>

bool route_words(json_t *request, const char *allowed, char **word, int count)
{
	int k = 0;

	if (k < count && !choice_has(allowed, word[k])) {
		const bool prefix = strchr(word[k], '/');

		json_object_set_new(request, prefix ? "prefix" : "to", json_string(word[k]));
		k++;
	}
	while (k < count) {
		const char *key = word[k++];

		if (!choice_has(allowed, key))
			return false;
		if (!strcmp(key, "longer-prefixes")) {
			json_object_set_new(request, "longer", json_true());
			continue;
		}
		if (k == count || json_object_get(request, key))
			return false;
		json_object_set_new(request, key, json_string(word[k++]));
	}
	return true;
}
