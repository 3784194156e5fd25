/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/redact.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define REMOVED "REMOVED"

static const char *const words[] = {"secret", "secrets", "password", "passwords", "passwd",
	"passphrase", "psk", "key", "keys", "token", "tokens", "auth", "md5", "community",
	"credential", "credentials", "cookie"};

static bool ends_with(const char *line, const char *end, const char *word)
{
	const size_t n = strlen(word);

	return (size_t)(end - line) >= n && !strncasecmp(end - n, word, n);
}

/* The key that ends there ends with one of the words; or with `pass`, but not as in `bypass`. */
static bool sounds_secret(const char *line, const char *end)
{
	for (size_t k = 0; k < sizeof(words) / sizeof(*words); k++)
		if (ends_with(line, end, words[k]))
			return true;
	return ends_with(line, end, "pass") &&
	       (end - line == 4 || !isalpha((unsigned char)end[-5]));
}

/* How long the value is, from behind the sign on: with what is between. */
static size_t value_bytes(const char *at, size_t *before)
{
	static const char ends[] = "\"',]})";
	const size_t space = strspn(at, " \t");
	const char quote = at[space] == '"' || at[space] == '\'' ? at[space] : 0;
	size_t n = space + (quote != 0);

	*before = n;
	while (at[n] && (quote ? at[n] != quote : !strchr(ends, at[n])))
		n += at[n] == '\\' && quote == '"' && at[n + 1] ? 2 : 1;
	return n - *before;
}

static void append(char *to, size_t room, size_t *used, const char *text, size_t n)
{
	if (*used + n >= room)
		n = room - 1 - *used;
	memcpy(to + *used, text, n);
	*used += n;
	to[*used] = 0;
}

unsigned redact(const char *line, char *to, size_t room)
{
	static const char home[] = "/home/";
	unsigned removed = 0;
	size_t used = 0;

	*to = 0;
	for (const char *at = line; *at;) {
		const char *key_end = at;
		size_t before, n;

		if (!strncmp(at, home, strlen(home))) {
			append(to, room, &used, home, strlen(home));
			at += strlen(home);
			n = strcspn(at, "/ \t\"',:;");
			if (n)
				append(to, room, &used, REMOVED, strlen(REMOVED));
			removed += n != 0;
			at += n;
			continue;
		}
		append(to, room, &used, at, 1);
		if (*at != ':' && *at != '=') {
			at++;
			continue;
		}
		while (key_end > line && strchr(" \t\"'", key_end[-1]))
			key_end--;
		at++;
		if (!sounds_secret(line, key_end))
			continue;
		n = value_bytes(at, &before);
		append(to, room, &used, at, before);
		at += before + n;
		if (n)
			append(to, room, &used, REMOVED, strlen(REMOVED));
		removed += n != 0;
	}
	return removed;
}
