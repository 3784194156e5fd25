/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_state.h"

#include "router/config.h"
#include "router/config_tree.h"
#include "router/durable.h"
#include "router/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEAD        "# p2pnic: applied from "
#define RUNNING     "running"
#define MODE        0640 /* there may be secrets in it */
#define NUMBER_MAX  999999u
#define NAME_BYTES  64u
#define BOOT_BYTES  64u
#define READ_FORMAT "applied-%6u-%4u%2u%2uT%2u%2u%2uZ%n"
#define STAYS       ".yaml"
#define UNCONFIRMED ".unconfirmed.yaml"

uint64_t state_digest(const char *text, size_t bytes)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t k = 0; k < bytes; k++)
		hash = (hash ^ (uint8_t)text[k]) * 0x100000001b3u;
	return hash;
}

void state_directory(const struct config *config, char *path, size_t room)
{
	const struct config_router *r = config->router;
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	const char *service = getenv("STATE_DIRECTORY"); /* systemd.exec(5), StateDirectory= */

	if (r->state)
		snprintf(path, room, "%s", r->state);
	else if (service && *service == '/' && !strchr(service, ':'))
		snprintf(path, room, "%s", service);
	else if (r->runtime)
		snprintf(path, room, "%s.state", r->runtime);
	else if (geteuid() == 0)
		snprintf(path, room, "/var/lib/p2pnic/%s", r->name);
	else if (state && *state)
		snprintf(path, room, "%s/p2pnic/%s", state, r->name);
	else if (home && *home)
		snprintf(path, room, "%s/.local/state/p2pnic/%s", home, r->name);
	else
		snprintf(path, room, "/tmp/p2pnic-%u.state/%s", geteuid(), r->name);
}

int state_open(const char *path, bool make, struct error *error)
{
	struct error reason;
	const int fd = runtime_directory(path, make, &reason);

	return fd < 0 ? error_set(error, fd, "state directory: %s", reason.text) : fd;
}

/* --- Those that were applied ------------------------------------------------------------------ */

/* What a name says; false: it is another file's. */
static bool read_name(const char *name, struct state_entry *entry)
{
	unsigned year, month, day, hour, minute, second;
	int end = 0;

	if (sscanf(name, READ_FORMAT, &entry->number, &year, &month, &day, &hour, &minute, &second,
		    &end) != 7 ||
		!end || !entry->number || entry->number > NUMBER_MAX)
		return false;
	entry->unconfirmed = !strcmp(name + end, UNCONFIRMED);
	if (!entry->unconfirmed && strcmp(name + end, STAYS) != 0)
		return false;
	snprintf(entry->time, sizeof(entry->time), "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000,
		month % 100, day % 100, hour % 100, minute % 100, second % 100);
	return true;
}

/* Calls each with the entries in no order, and with what a writer has left. */
static int each_name(int directory,
	void (*each)(void *context, const char *name, const struct state_entry *entry),
	void *context, struct error *error)
{
	const int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *at;
	struct state_entry entry;

	if (!list) {
		const int result = -errno;

		if (fd >= 0)
			close(fd);
		return error_set(error, result, "state directory: %s", strerror(-result));
	}
	while ((at = readdir(list))) {
		if (read_name(at->d_name, &entry))
			each(context, at->d_name, &entry);
		else if (durable_is_left(at->d_name))
			each(context, at->d_name, NULL);
	}
	closedir(list);
	return 0;
}

/* The STATE_KEPT of the highest numbers. */
static void note_entry(void *context, const char *name, const struct state_entry *entry)
{
	struct state_entries *all = context;
	unsigned at;

	if (!entry)
		return;
	if (all->n == STATE_KEPT) {
		if (entry->number < all->entry[0].number)
			return;
		memmove(all->entry, all->entry + 1, (STATE_KEPT - 1) * sizeof(*all->entry));
		all->n--;
	}
	for (at = all->n; at && all->entry[at - 1].number > entry->number; at--)
		all->entry[at] = all->entry[at - 1];
	all->entry[at] = *entry;
	all->n++;
}

int state_list(int directory, struct state_entries *all, struct error *error)
{
	all->n = 0;
	return each_name(directory, note_entry, all, error);
}

struct named {
	unsigned number;
	char name[NAME_BYTES];
};

static void note_name(void *context, const char *name, const struct state_entry *entry)
{
	struct named *n = context;

	if (entry && entry->number == n->number)
		snprintf(n->name, sizeof(n->name), "%.*s", (int)sizeof(n->name) - 1, name);
}

static int name_of(int directory, unsigned number, char name[NAME_BYTES], struct error *error)
{
	struct named n = {.number = number};
	const int result = each_name(directory, note_name, &n, error);

	memcpy(name, n.name, NAME_BYTES);
	if (!result && !*name)
		return error_set(error, -ENOENT,
			"no configuration of number %u; p2pnic config list shows which there are",
			number);
	return result;
}

int state_read(int directory, unsigned number, struct state_text *to, struct error *error)
{
	char name[NAME_BYTES], path[NAME_BYTES + 32], *end;
	int result = name_of(directory, number, name, error);

	*to = (struct state_text){.text = NULL};
	if (result)
		return result;
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", directory, name);
	result = config_file_read(path, &to->text, &to->bytes, error);
	if (result)
		return result;
	end = memchr(to->text, '\n', to->bytes);
	if (strncmp(to->text, HEAD, strlen(HEAD)) != 0 || !end ||
		end - to->text - strlen(HEAD) >= sizeof(to->file)) {
		state_text_free(to);
		return error_set(error, -EINVAL, "%s: its first line is not '%sFILE'", name, HEAD);
	}
	snprintf(to->file, sizeof(to->file), "%.*s", (int)(end - to->text - strlen(HEAD)),
		to->text + strlen(HEAD));
	to->bytes -= (size_t)(end + 1 - to->text);
	memmove(to->text, end + 1, to->bytes + 1);
	return 0;
}

void state_text_free(struct state_text *t)
{
	free(t->text);
	t->text = NULL;
}

unsigned state_find(int directory, const char *file, const char *text, size_t bytes)
{
	struct state_entries all;
	struct state_text has;
	struct error ignored;
	bool same = false;

	if (state_list(directory, &all, &ignored))
		return 0;
	while (all.n && !same) {
		if (state_read(directory, all.entry[--all.n].number, &has, &ignored))
			continue;
		same = has.text && has.bytes == bytes && !memcmp(has.text, text, bytes) &&
		       !strcmp(has.file, file);
		state_text_free(&has);
	}
	return same ? all.entry[all.n].number : 0;
}

struct pruning {
	int directory;
	unsigned oldest; /* to keep */
	const unsigned *keep;
};

static void prune(void *context, const char *name, const struct state_entry *entry)
{
	const struct pruning *p = context;

	if (!entry || (entry->number < p->oldest && entry->number != p->keep[0] &&
			      entry->number != p->keep[1]))
		unlinkat(p->directory, name, 0);
}

int state_add(int directory, const char *file, const char *text, size_t bytes, bool unconfirmed,
	const unsigned keep[2], unsigned *number, struct error *error)
{
	struct state_entries all;
	char name[NAME_BYTES], when[32], *whole = NULL;
	const time_t now = time(NULL);
	struct tm utc;
	size_t head;
	int result = state_list(directory, &all, error);

	if (result)
		return result;
	*number = all.n ? all.entry[all.n - 1].number + 1 : 1;
	if (*number > NUMBER_MAX)
		return error_set(error, -EOVERFLOW, "the numbers of configurations are used up");
	if (strchr(file, '\n'))
		return error_set(error, -EINVAL, "%s: a line break in a file's name", file);
	gmtime_r(&now, &utc);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &utc);
	snprintf(name, sizeof(name), "applied-%06u-%s%s", *number, when,
		unconfirmed ? UNCONFIRMED : STAYS);
	head = strlen(HEAD) + strlen(file) + 1;
	whole = malloc(head + bytes + 1);
	if (!whole)
		return error_set(error, -ENOMEM, "out of memory for a configuration");
	snprintf(whole, head + 1, HEAD "%s\n", file);
	memcpy(whole + head, text, bytes);
	result = durable_write(
		directory, name, whole, head + bytes, MODE, (uid_t)-1, (gid_t)-1, error);
	free(whole);
	if (!result && all.n == STATE_KEPT) {
		struct pruning p = {directory, all.entry[1].number, keep};

		each_name(directory, prune, &p, error);
	}
	return result;
}

void state_remove(int directory, unsigned number)
{
	struct error ignored;
	char name[NAME_BYTES];

	if (!name_of(directory, number, name, &ignored))
		durable_remove(directory, name);
}

int state_confirm(int directory, unsigned number, struct error *error)
{
	char name[NAME_BYTES], to[NAME_BYTES];
	const char *mark;
	int result = name_of(directory, number, name, error);

	if (result)
		return result == -ENOENT ? 0 : result;
	mark = strstr(name, UNCONFIRMED);
	if (!mark)
		return 0;
	snprintf(to, sizeof(to), "%.*s" STAYS, (int)(mark - name), name);
	result = durable_rename(directory, name, to);
	return result ? error_set(error, result, "state directory: %s: renaming it to %s: %s", name,
				to, strerror(-result))
		      : 0;
}

struct search {
	unsigned number, before;
};

static void note_before(void *context, const char *name, const struct state_entry *entry)
{
	struct search *s = context;

	if (entry && !entry->unconfirmed && entry->number < s->number && entry->number > s->before)
		s->before = entry->number;
}

int state_before(int directory, unsigned number, unsigned *before, struct error *error)
{
	struct search s = {.number = number};
	const int result = each_name(directory, note_before, &s, error);

	*before = result ? 0 : s.before;
	return result;
}

/* --- What runs -------------------------------------------------------------------------------- */

/* Another one after each start of the machine; "": not known. */
static const char *boot_id(char text[BOOT_BYTES])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	text[0] = 0;
	if (file && !fgets(text, BOOT_BYTES, file))
		text[0] = 0;
	if (file)
		fclose(file);
	text[strcspn(text, "\n")] = 0;
	return text;
}

static int parse_running(const char *text, size_t bytes, struct state_running *to)
{
	char here[BOOT_BYTES];
	const char *boot, *file, *digest;
	json_int_t entry, back, deadline;
	json_error_t ignored;
	json_t *o = json_loadb(text, bytes, 0, &ignored);
	int result = -EINVAL;

	if (o &&
		!json_unpack(o, "{s:s, s:I, s:I, s:I, s:s, s:s}", "boot", &boot, "entry", &entry,
			"back", &back, "deadline_ns", &deadline, "file", &file, "digest",
			&digest) &&
		entry > 0 && entry <= (json_int_t)NUMBER_MAX && back >= 0 &&
		back <= (json_int_t)NUMBER_MAX && deadline >= 0 &&
		strlen(file) < sizeof(to->file)) {
		*to = (struct state_running){.entry = (unsigned)entry,
			.back = (unsigned)back,
			.deadline_ns = (uint64_t)deadline,
			.digest = strtoull(digest, NULL, 16)};
		memcpy(to->file, file, strlen(file) + 1);
		result = strcmp(boot, boot_id(here)) != 0 ? -ENOENT : 0;
	}
	json_decref(o);
	return result;
}

int state_running_read(int directory, struct state_running *to, struct error *error)
{
	char path[64], *text;
	size_t bytes;
	int result;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", directory, RUNNING);
	result = config_file_read(path, &text, &bytes, error);
	if (result)
		return result;
	result = parse_running(text, bytes, to);
	free(text);
	return result ? error_set(error, result, "state directory: %s: %s", RUNNING,
				result == -ENOENT ? "of before this machine was started"
						  : "damaged")
		      : 0;
}

int state_running_write(int directory, const struct state_running *from, struct error *error)
{
	char boot[BOOT_BYTES], digest[32], *text;
	json_t *o;
	int result;

	snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)from->digest);
	o = json_pack("{s:s, s:I, s:I, s:I, s:s, s:s}", "boot", boot_id(boot), "entry",
		(json_int_t)from->entry, "back", (json_int_t)from->back, "deadline_ns",
		(json_int_t)from->deadline_ns, "file", from->file, "digest", digest);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (!text)
		return error_set(error, -ENOMEM, "out of memory for the state directory");
	result = durable_write(
		directory, RUNNING, text, strlen(text), MODE, (uid_t)-1, (gid_t)-1, error);
	free(text);
	return result;
}

int state_running_clear(int directory)
{
	return durable_remove(directory, RUNNING);
}
