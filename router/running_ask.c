/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_diff.h"
#include "router/config_json.h"
#include "router/config_tree.h"
#include "router/durable.h"
#include "router/nics_change.h"
#include "router/reload.h"
#include "router/router.h"
#include "router/running_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UPLOAD_MS   30000u /* an upload that nobody goes on with is let go */
#define CONFIRM_MAX 86400u /* seconds */

static json_t *refused(const struct router *r)
{
	return json_pack("{s:s}", "error", r->error.text);
}

static json_t *wrong(struct router *r, const char *what)
{
	error_set(&r->error, -EINVAL, "config: %s", what);
	return refused(r);
}

void running_drop_upload(struct router *r)
{
	struct running *s = r->running;

	loop_cancel(&r->loop, &s->upload);
	free(s->text);
	s->text = NULL;
	s->used = 0;
	s->id[0] = 0;
}

static void upload_late(void *context)
{
	running_drop_upload(context);
}

/* One text at a time: a new one takes the place of one that is not whole yet. */
static json_t *ask_upload(struct router *r, const json_t *how)
{
	struct running *s = r->running;
	const char *id, *text;
	size_t bytes;
	json_int_t at;
	char *larger;

	if (json_unpack((json_t *)how, "{s:s, s:I, s:s% !}", "id", &id, "at", &at, "text", &text,
		    &bytes) ||
		!*id || strlen(id) >= sizeof(s->id))
		return wrong(r, "upload wants id, at and text");
	if (at == 0) {
		running_drop_upload(r);
		snprintf(s->id, sizeof(s->id), "%s", id);
	}
	if (strcmp(id, s->id) != 0 || at != (json_int_t)s->used)
		return wrong(r, "this upload was interrupted by another, or took too long: again");
	if (s->used + bytes > CONFIG_FILE_BYTES)
		return wrong(r, "a text of more than 64 MiB");
	larger = realloc(s->text, s->used + bytes + 1);
	if (!larger)
		return wrong(r, "out of memory for a text");
	memcpy(larger + s->used, text, bytes);
	s->text = larger;
	s->used += bytes;
	loop_after(&r->loop, &s->upload, UPLOAD_MS, upload_late, r);
	return json_pack("{s:{s:I}}", "config", "used", (json_int_t)s->used);
}

/* The text that was uploaded, as the file `path`. */
static int load_upload(struct router *r, const char *id, const char *path, struct config **config)
{
	struct running *s = r->running;
	int result;

	if (*path != '/' || strlen(path) >= PATH_MAX)
		return error_set(&r->error, -EINVAL, "config: '%s': want an absolute path", path);
	if (!s->text || strcmp(id, s->id) != 0)
		return error_set(&r->error, -EINVAL,
			"config: this upload was interrupted by another, or took too long: again");
	result = config_load_text(config, path, s->text, s->used, NULL, &r->error);
	running_drop_upload(r);
	return result;
}

static json_t *taken(struct router *r, const struct table_report *report)
{
	const struct running *s = r->running;
	char text[TABLE_REPORT_BYTES];
	unsigned late = 0;
	json_t *o, *nics = json_array();

	for (unsigned k = 0; k < r->config->nics_count; k++) {
		const struct router_nic *nic = &r->nic[k];

		late += nic->driver.device && !table_in_step(r->table, &nic->driver);
		if (config_nic_used(&r->config->nics[k]) &&
			(!nic->unit || nic->unit->leaving || nic->state != NIC_FORWARDING))
			json_array_append_new(nics, json_string(r->config->nics[k].name));
	}
	o = json_pack("{s:i, s:s, s:s, s:b, s:o, s:i}", "number", (int)s->entry, "file",
		r->config->path, "table", table_report_text(report, text), "saved",
		running_is_file(r), "nics_to_come", nics, "nics_behind", (int)late);
	if (s->back)
		json_object_set_new(o, "back", json_integer(s->back));
	return json_pack("{s:o}", "config", o);
}

static bool seconds_valid(json_int_t seconds)
{
	return seconds >= 0 && seconds <= (json_int_t)CONFIRM_MAX;
}

static json_t *ask_apply(struct router *r, const json_t *how)
{
	const char *id, *path;
	json_int_t seconds = 0;
	int force = 0, result;
	struct table_report report = {0};
	struct config *config = NULL;

	if (json_unpack((json_t *)how, "{s:s, s:s, s?I, s?b !}", "id", &id, "path", &path,
		    "confirm", &seconds, "force", &force) ||
		!seconds_valid(seconds))
		return wrong(r, "apply wants id and path; confirm is 0 to 86400 seconds");
	result = running_refuse_pending(r);
	if (!result)
		result = load_upload(r, id, path, &config);
	if (!result && running_same_text(config, r->config)) {
		config_free(config);
		return taken(r, &report);
	}
	if (!result)
		result = running_apply(r, config, (unsigned)seconds, force, &report);
	if (result) {
		router_warn(r, LOG_CONFIG_REFUSED "asked to apply %s; not taken: %s", path,
			r->error.text);
		return refused(r);
	}
	router_say(r, LOG_CONFIG_TAKEN "configuration %u applied from %s", r->running->entry,
		r->config->path);
	return taken(r, &report);
}

/* The last one that was applied before what runs, and stayed. */
static int before(struct router *r, unsigned *number)
{
	struct running *s = r->running;
	int result, directory = state_open(s->state, false, &r->error);

	result = directory < 0 ? directory : running_keep(r, directory);
	if (!result)
		result = state_before(directory, s->entry, number, &r->error);
	if (directory >= 0)
		close(directory);
	if (result == -ENOENT || (!result && !*number))
		return error_set(&r->error, -ENOENT,
			"nothing was applied before what runs, and stayed: there is nothing to go "
			"back to");
	return result;
}

static json_t *ask_rollback(struct router *r, const json_t *how)
{
	struct running *s = r->running;
	struct table_report report = {0};
	json_int_t seconds = 0, to = 0;
	unsigned number;
	int force = 0, result = 0;

	if (json_unpack((json_t *)how, "{s?I, s?I, s?b !}", "to", &to, "confirm", &seconds, "force",
		    &force) ||
		to < 0 || to > UINT32_MAX || !seconds_valid(seconds))
		return wrong(r, "rollback wants to, a number; confirm is 0 to 86400 seconds");
	number = (unsigned)to;
	if (!number && s->back)
		number = s->back; /* what waits for it is not waited for */
	else
		result = running_refuse_pending(r);
	if (!result && !number)
		result = before(r, &number);
	if (!result)
		result = running_go_to(r, number, (unsigned)seconds, force, &report);
	if (result) {
		router_warn(r, LOG_CONFIG_REFUSED "asked to go back; not taken: %s", r->error.text);
		return refused(r);
	}
	router_say(
		r, LOG_CONFIG_TAKEN "back to configuration %u, of %s", s->entry, r->config->path);
	return taken(r, &report);
}

static json_t *ask_confirm(struct router *r, const json_t *how)
{
	struct running *s = r->running;

	if (!json_is_object(how) || json_object_size(how))
		return wrong(r, "confirm wants {}");
	if (!s->back)
		return wrong(r, "nothing waits to be confirmed");
	s->back = 0;
	s->deadline_ns = 0;
	loop_cancel(&r->loop, &s->revert);
	running_record(r);
	router_say(r, "configuration %u confirmed", s->entry);
	return json_pack("{s:{s:i}}", "config", "number", (int)s->entry);
}

/* Names in a text that go by its folder. */
static int check_relative(struct router *r)
{
	const struct config *c = r->config;
	const char *a = strrchr(c->path, '/'), *b = strrchr(r->running->file, '/');
	const bool same = a && b && a - c->path == b - r->running->file &&
			  !strncmp(c->path, r->running->file, (size_t)(a - c->path));

	for (unsigned k = 0; k < c->route_files_count && !same; k++)
		if (*c->route_files[k].file != '/')
			return error_set(&r->error, -EINVAL,
				"route file '%s' is one of the folder of %s; %s lies in another: "
				"write its whole path",
				c->route_files[k].file, c->path, r->running->file);
	return 0;
}

/* Nobody's changes are written over unless that is meant. */
static int check_file(struct router *r, bool force)
{
	const struct running *s = r->running;
	char *text;
	size_t bytes;
	bool changed;
	int result = config_file_read(s->file, &text, &bytes, &r->error);

	if (result)
		return result;
	changed = state_digest(text, bytes) != s->digest;
	free(text);
	return changed && !force
		       ? error_set(&r->error, -EEXIST,
				 "%s was changed by somebody else since this router read it; what "
				 "runs is of %s. `p2pnic config diff` shows what differs, --force "
				 "writes over it",
				 s->file, r->config->path)
		       : 0;
}

static json_t *ask_save(struct router *r, const json_t *how)
{
	struct running *s = r->running;
	struct config *c = r->config;
	int force = 0, result;
	char *path;

	if (json_unpack((json_t *)how, "{s?b !}", "force", &force))
		return wrong(r, "save wants force, true or false");
	result = running_refuse_pending(r);
	if (!result)
		result = check_relative(r);
	if (!result)
		result = check_file(r, force);
	path = strdup(s->file);
	if (!result && !path)
		result = error_set(&r->error, -ENOMEM, "out of memory");
	if (!result)
		result = durable_replace(s->file, c->text, c->bytes, &r->error);
	if (result) {
		free(path);
		router_warn(r, "asked to save; not done: %s", r->error.text);
		return refused(r);
	}
	free(c->path);
	c->path = path;
	s->digest = state_digest(c->text, c->bytes);
	running_record(r);
	router_say(r, "configuration saved to %s", s->file);
	return json_pack("{s:{s:s, s:i}}", "config", "file", s->file, "bytes", (int)c->bytes);
}

static json_t *ask_list(struct router *r, const json_t *how)
{
	const struct running *s = r->running;
	struct state_entries all = {.n = 0};
	json_t *rows = json_array();
	struct state_text text;
	struct error ignored;
	const int directory = state_open(s->state, false, &ignored);
	unsigned running = s->entry;

	if (directory >= 0 && state_list(directory, &all, &ignored))
		all.n = 0;
	if (directory >= 0 && !running)
		running = state_find(directory, r->config->path, r->config->text, r->config->bytes);
	for (unsigned k = all.n; k--;) {
		const struct state_entry *e = &all.entry[k];
		const bool read = !state_read(directory, e->number, &text, &ignored);

		json_array_append_new(
			rows, json_pack("{s:i, s:s, s:s, s:b, s:b, s:b}", "number", (int)e->number,
				      "time", e->time, "file", read ? text.file : "", "running",
				      e->number == running, "back", s->back && e->number == s->back,
				      "unconfirmed",
				      e->number == running ? s->back != 0 : e->unconfirmed));
		if (read)
			state_text_free(&text);
	}
	if (directory >= 0)
		close(directory);
	return json_pack("{s:o}", "config", rows);
}

static json_t *ask_show(struct router *r, const json_t *how)
{
	const struct running *s = r->running;
	const uint64_t now = running_clock_ns();
	int whole = 0;
	json_t *o;

	if (json_unpack((json_t *)how, "{s?b !}", "default", &whole))
		return wrong(r, "show wants default, true or false");
	o = json_pack("{s:s, s:s, s:b, s:i}", "file", r->config->path, "started_with", s->file,
		"saved", running_is_file(r), "number", (int)s->entry);
	if (whole)
		json_object_set_new(o, "configuration", config_json(r->config));
	else
		json_object_set_new(o, "text", json_stringn(r->config->text, r->config->bytes));
	if (s->back) {
		json_object_set_new(o, "back", json_integer(s->back));
		json_object_set_new(o, "seconds_left",
			json_integer(s->deadline_ns > now
					     ? (json_int_t)((s->deadline_ns - now) / 1000000000u)
					     : 0));
	}
	return json_pack("{s:o}", "config", o);
}

static json_t *compare(struct router *r, struct config *with)
{
	struct nics_change change;
	char text[TABLE_REPORT_BYTES];
	json_t *from, *to, *o;
	const int result = router_plan(r, with, &change);

	from = config_json(r->config);
	to = config_json(with);
	o = json_pack("{s:s, s:s, s:o}", "from", r->config->path, "to", with->path, "differences",
		config_diff(from, to));
	json_decref(from);
	json_decref(to);
	if (result)
		json_object_set_new(o, "refused", json_string(r->error.text));
	else if (change.any)
		json_object_set_new(
			o, "nics", json_string(nics_change_text(&change, text, sizeof(text))));
	return json_pack("{s:o}", "config", o);
}

static json_t *ask_diff(struct router *r, const json_t *how)
{
	const char *id = NULL, *path = NULL;
	struct config *with = NULL;
	json_t *answer;
	int result;

	if (json_unpack((json_t *)how, "{s?s, s?s !}", "id", &id, "path", &path) || !id != !path)
		return wrong(r, "diff wants id and path, or neither");
	result = id ? load_upload(r, id, path, &with)
		    : config_load(&with, r->running->file, &r->error);
	if (result || !with)
		return refused(r);
	answer = compare(r, with);
	config_free(with);
	return answer;
}

json_t *running_ask(struct router *r, const json_t *request)
{
	static const struct {
		const char *name;
		json_t *(*ask)(struct router *, const json_t *);
	} requests[] = {
		{"upload", ask_upload},
		{"apply", ask_apply},
		{"diff", ask_diff},
		{"show", ask_show},
		{"list", ask_list},
		{"confirm", ask_confirm},
		{"rollback", ask_rollback},
		{"save", ask_save},
	};
	const json_t *how;

	if (!r->running)
		return wrong(r, "this router has no file");
	for (size_t k = 0; k < sizeof(requests) / sizeof(*requests); k++) {
		how = json_object_get(request, requests[k].name);
		if (how && json_object_size(request) == 1)
			return requests[k].ask(r, how);
	}
	return wrong(r, "want one of upload, apply, diff, show, list, confirm, rollback, save");
}

json_t *running_reload_asked(struct router *r, const json_t *how)
{
	const json_t *force = json_object_get(how, "force");
	char text[TABLE_REPORT_BYTES];
	struct table_report report;
	unsigned late = 0;

	if (!json_is_object(how) || json_object_size(how) != (force != NULL) ||
		(force && !json_is_boolean(force)))
		return json_pack(
			"{s:s}", "error", "reload wants an object, {\"force\": true or false}");
	service_reloading(r);
	const int error = running_reload(r, json_is_true(force), &report);

	service_reloaded(r);
	if (error) {
		router_warn(r, LOG_CONFIG_REFUSED "asked to reload; configuration not taken: %s",
			r->error.text);
		return json_pack("{s:s}", "error", r->error.text);
	}
	router_say(r, LOG_CONFIG_TAKEN "asked to reload; configuration read again: %s",
		r->config->path);
	for (unsigned k = 0; k < r->config->nics_count; k++)
		late += r->nic[k].driver.device && !table_in_step(r->table, &r->nic[k].driver);
	return json_pack("{s:{s:s, s:s, s:I, s:I, s:I, s:i}}", "reload", "configuration",
		r->config->path, "table", table_report_text(&report, text), "added",
		(json_int_t)report.added, "changed", (json_int_t)report.changed, "deleted",
		(json_int_t)report.deleted, "nics_behind", (int)late);
}
