/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/reload.h"
#include "router/router.h"
#include "router/running_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AGAIN_MS 5000u /* a change that cannot be taken back is tried again */

uint64_t running_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool running_same_text(const struct config *a, const struct config *b)
{
	return a->bytes == b->bytes && !memcmp(a->text, b->text, a->bytes) &&
	       !strcmp(a->path, b->path);
}

bool running_is_file(const struct router *r)
{
	return !strcmp(r->config->path, r->running->file) &&
	       state_digest(r->config->text, r->config->bytes) == r->running->digest;
}

/* --- The state directory ---------------------------------------------------------------------- */

/* What it is to say is that FILE runs: then nothing. */
static int record(struct router *r, int directory, const struct state_running *what)
{
	struct running *s = r->running;
	int result = 0;

	if (what->entry)
		result = state_running_write(directory, what, &r->error);
	else if (s->recorded)
		result = state_running_clear(directory);
	if (!result)
		s->recorded = what->entry;
	return result;
}

static struct state_running record_of(const struct running *s)
{
	struct state_running now = {.entry = s->recorded ? s->entry : 0,
		.back = s->back,
		.deadline_ns = s->deadline_ns,
		.digest = s->digest};

	memcpy(now.file, s->file, sizeof(now.file));
	return now;
}

/* What runs and waits for nothing stays, however it came to run: it is not marked. */
static int settle(const struct running *s, int directory, struct error *error)
{
	return s->entry && !s->back ? state_confirm(directory, s->entry, error) : 0;
}

void running_record(struct router *r)
{
	struct running *s = r->running;
	struct state_running now;
	struct error error;
	int directory;

	now = record_of(s);
	now.entry = s->back || !running_is_file(r) ? s->entry : 0;
	if (!now.entry && !s->recorded)
		return;
	directory = state_open(s->state, true, &error);
	if (directory < 0 || record(r, directory, &now))
		router_warn(r,
			"%s; a router that is started after a crash of this one may not "
			"go on with what runs",
			directory < 0 ? error.text : r->error.text);
	else if (settle(s, directory, &error))
		router_warn(r, "%s; `p2pnic config rollback` may pass over configuration %u",
			error.text, s->entry);
	if (directory >= 0)
		close(directory);
}

int running_keep(struct router *r, int directory)
{
	struct running *s = r->running;
	const struct config *c = r->config;
	const unsigned keep[2] = {0};

	if (!s->entry)
		s->entry = state_find(directory, c->path, c->text, c->bytes);
	/* FILE may have been applied, and not confirmed, before the router was started with it. */
	return s->entry ? settle(s, directory, &r->error)
			: state_add(directory, c->path, c->text, c->bytes, false, keep, &s->entry,
				  &r->error);
}

static int note_next(struct router *r)
{
	struct running *s = r->running;
	const int directory = state_open(s->state, true, &r->error);
	int result;

	if (directory < 0)
		return directory;
	result = record(r, directory, &s->next);
	close(directory);
	return result;
}

/* Adds one that is to run after what runs, which is kept, with what that would go back to. */
static int add(struct router *r, int directory, const struct config *config, bool unconfirmed,
	unsigned *entry)
{
	unsigned keep[2];
	int result = running_keep(r, directory);

	keep[0] = r->running->entry;
	if (!result)
		result = state_before(directory, keep[0], &keep[1], &r->error);
	return result ? result
		      : state_add(directory, config->path, config->text, config->bytes, unconfirmed,
				keep, entry, &r->error);
}

/* --- Taking one ------------------------------------------------------------------------------- */

static void revert(void *context);

/* A timer does not run while the machine sleeps, the deadline does. */
static void arm(struct router *r)
{
	const uint64_t now = running_clock_ns(), until = r->running->deadline_ns;

	loop_after(&r->loop, &r->running->revert,
		until > now ? (unsigned)((until - now) / 1000000u) + 1 : 0, revert, r);
}

int running_refuse_pending(struct router *r)
{
	const struct running *s = r->running;
	const uint64_t now = running_clock_ns();

	if (!s->back)
		return 0;
	return error_set(&r->error, -EBUSY,
		"configuration %u waits to be confirmed, and goes back to %u in %llu s: p2pnic "
		"config confirm, or p2pnic config rollback, first",
		s->entry, s->back,
		(unsigned long long)(s->deadline_ns > now ? (s->deadline_ns - now) / 1000000000u
							  : 0));
}

/*
 * Takes a configuration that has, or gets, the number `entry`; seconds: 0, or it goes back by
 * itself unless that is confirmed in time. What is to be known after a crash is written before
 * anything changes. Owns the configuration, also on failure.
 */
static int take(struct router *r, struct config *config, unsigned entry, unsigned seconds,
	bool force, struct table_report *report)
{
	struct running *s = r->running;
	struct state_running before = record_of(s);
	int result, directory;

	s->next = before;
	s->next.entry = entry;
	s->next.back = seconds ? s->entry : 0;
	s->next.deadline_ns = seconds ? running_clock_ns() + seconds * 1000000000ull : 0;
	result = router_take(r, config, force, note_next, report);
	if (result) {
		struct error why = r->error;

		directory = state_open(s->state, false, &r->error);
		if (directory >= 0) {
			record(r, directory, &before);
			close(directory);
		}
		config_free(config);
		r->error = why;
		if (result == -ECANCELED)
			error_set(&r->error, result, "%s; if that is meant: --force", why.text);
		return result;
	}
	s->entry = entry;
	s->back = s->next.back;
	s->deadline_ns = s->next.deadline_ns;
	loop_cancel(&r->loop, &s->revert);
	if (s->back)
		arm(r);
	running_record(r); /* it may be FILE again */
	return 0;
}

int running_apply(struct router *r, struct config *config, unsigned seconds, bool force,
	struct table_report *report)
{
	unsigned entry = 0;
	int result, directory = state_open(r->running->state, true, &r->error);

	result = directory < 0 ? directory : add(r, directory, config, seconds != 0, &entry);
	if (result)
		config_free(config);
	else
		result = take(r, config, entry, seconds, force, report);
	if (result && entry)
		state_remove(directory, entry);
	if (directory >= 0)
		close(directory);
	return result;
}

int running_go_to(
	struct router *r, unsigned entry, unsigned seconds, bool force, struct table_report *report)
{
	struct running *s = r->running;
	struct config *config = NULL;
	struct state_text text = {.text = NULL};
	int result, directory = state_open(s->state, false, &r->error);

	result = directory < 0 ? directory : running_keep(r, directory);
	if (!result)
		result = state_read(directory, entry, &text, &r->error);
	if (directory >= 0)
		close(directory);
	if (!result)
		result = config_load_text(
			&config, text.file, text.text, text.bytes, NULL, &r->error);
	state_text_free(&text);
	return result ? result : take(r, config, entry, seconds, force, report);
}

/* Nobody has confirmed it. */
static void revert(void *context)
{
	struct router *r = context;
	struct running *s = r->running;
	const unsigned from = s->entry, back = s->back;
	struct table_report report;

	if (running_clock_ns() < s->deadline_ns) {
		arm(r);
		return;
	}
	if (running_go_to(r, back, 0, true, &report)) {
		router_warn(r,
			"configuration %u was not confirmed, and cannot be taken back: %s; tried "
			"again in %u s",
			from, r->error.text, AGAIN_MS / 1000);
		loop_after(&r->loop, &s->revert, AGAIN_MS, revert, r);
		return;
	}
	router_warn(
		r, LOG_CONFIG_TAKEN "configuration %u was not confirmed: back to %u", from, back);
}

/* --- Start and end ---------------------------------------------------------------------------- */

static void absolute(const char *path, char to[PATH_MAX])
{
	char here[PATH_MAX];

	if (*path == '/' || !getcwd(here, sizeof(here)) ||
		snprintf(to, PATH_MAX, "%s/%s", here, path) >= PATH_MAX)
		snprintf(to, PATH_MAX, "%s", path);
}

/* What the state directory says runs, instead of what was read of FILE. */
static void load_recorded(struct router *r, int directory, struct config **config)
{
	struct running *s = r->running;
	struct state_running is;
	struct state_text text;
	struct config *other;
	struct error error;
	unsigned entry;
	int result = state_running_read(directory, &is, &error);

	s->recorded = result != -ENOENT;
	if (result) {
		if (s->recorded)
			router_warn(r, "%s; %s is taken", error.text, s->file);
		return;
	}
	if (strcmp(is.file, s->file) != 0 || is.digest != s->digest) {
		router_warn(r,
			"%s has changed since configuration %u was applied: it is taken; `p2pnic "
			"config rollback %u` goes back to that",
			s->file, is.entry, is.entry);
		return;
	}
	entry = is.back && running_clock_ns() >= is.deadline_ns ? is.back : is.entry;
	result = state_read(directory, entry, &text, &error);
	if (!result) {
		result = config_load_text(&other, text.file, text.text, text.bytes, NULL, &error);
		state_text_free(&text);
	}
	if (result) {
		router_warn(r, "configuration %u, which ran before: %s; %s is taken", entry,
			error.text, s->file);
		return;
	}
	if (entry == is.entry)
		router_say(r, "configuration %u, applied from %s, ran before: it is taken", entry,
			other->path);
	else
		router_warn(r, "configuration %u was not confirmed: %u is taken", is.entry, entry);
	s->entry = entry;
	s->back = entry == is.entry ? is.back : 0;
	s->deadline_ns = is.deadline_ns;
	config_free(*config);
	*config = other;
}

int running_load(struct router *r, const char *path, struct config **config)
{
	struct running *s = calloc(1, sizeof(*s));
	struct error error;
	int directory, result;

	if (!s)
		return router_fail(r, -ENOMEM, "out of memory");
	r->running = s;
	absolute(path, s->file);
	result = config_load(config, path, &r->error);
	if (result)
		return result;
	free((*config)->path);
	(*config)->path = strdup(s->file);
	if (!(*config)->path) {
		config_free(*config);
		return router_fail(r, -ENOMEM, "out of memory");
	}
	s->digest = state_digest((*config)->text, (*config)->bytes);
	state_directory(*config, s->state, sizeof(s->state));
	directory = state_open(s->state, false, &error);
	if (directory < 0 && directory != -ENOENT)
		router_warn(r, "%s", error.text);
	if (directory >= 0) {
		load_recorded(r, directory, config);
		close(directory);
	}
	return 0;
}

void running_started(struct router *r)
{
	if (!r->running)
		return;
	running_record(r);
	if (r->running->back)
		arm(r);
}

void running_stop(struct router *r, bool clean)
{
	struct running *s = r->running;
	struct error ignored;
	int directory;

	if (!s)
		return;
	if (clean && s->recorded) {
		router_warn(r,
			"configuration %u, which was applied and not saved, does not run "
			"any more",
			s->entry);
		directory = state_open(s->state, false, &ignored);
		if (directory >= 0) {
			state_running_clear(directory);
			close(directory);
		}
	}
	loop_cancel(&r->loop, &s->revert);
	running_drop_upload(r);
	free(s);
	r->running = NULL;
}

/* --- Reload ----------------------------------------------------------------------------------- */

/* SIGHUP carries no word: what needs one is told how to say it. */
static void say_how_to_confirm(struct router *r)
{
	error_set(&r->error, -ECANCELED, "%s; if that is meant: p2pnic reload --force --runtime %s",
		r->error.text, r->runtime);
}

/* The number of FILE's text among what was applied; 0: there is nowhere to keep it, which was
 * said. */
static unsigned keep_file(struct router *r, const struct config *config)
{
	const int directory = state_open(r->running->state, true, &r->error);
	unsigned entry = 0;
	const int result = directory < 0 ? directory : add(r, directory, config, false, &entry);

	if (result)
		router_warn(r, "%s: `p2pnic config rollback` will not know this configuration",
			r->error.text);
	if (directory >= 0)
		close(directory);
	return result ? 0 : entry;
}

static void forget_file(struct router *r, unsigned entry)
{
	struct error ignored;
	const int directory = entry ? state_open(r->running->state, false, &ignored) : -1;

	if (directory >= 0) {
		state_remove(directory, entry);
		close(directory);
	}
}

int running_reload(struct router *r, bool force, struct table_report *report)
{
	struct running *s = r->running;
	const char *path = s ? s->file : r->config->path;
	struct config *config;
	unsigned entry = s ? s->entry : 0;
	bool same;
	int result = s ? running_refuse_pending(r) : 0;

	if (!result)
		result = config_load(&config, path, &r->error);
	if (result) {
		r->reloads_refused++;
		return result;
	}
	same = !s || running_same_text(config, r->config);
	if (!same)
		entry = keep_file(r, config);
	result = router_take(r, config, force, NULL, report);
	if (result == -ECANCELED)
		say_how_to_confirm(r);
	if (result) {
		config_free(config);
		if (!same) {
			struct error why = r->error;

			forget_file(r, entry);
			r->error = why;
		}
		return result;
	}
	if (s) {
		if (s->recorded)
			router_warn(r,
				"configuration %u, which was applied and not saved, does not run "
				"any more; `p2pnic config rollback %u` goes back to it",
				s->entry, s->entry);
		s->entry = entry;
		s->digest = state_digest(config->text, config->bytes);
		running_record(r);
	}
	return 0;
}
