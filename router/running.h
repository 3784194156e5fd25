/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration that runs: the file that the router was started with, or another text that it
 * was told to take. What was applied is kept (config_state.h), and can be gone back to.
 *
 *   FILE ──start, reload──▶ running ◀──apply── another file's text
 *    ▲                      │    ▲
 *    └────────save──────────┘    └──rollback, or not confirmed in time── what was applied before
 *
 * A router that starts after one that was killed goes on with what ran, if FILE is as it was; one
 * that starts after a router that ended in order, or after the machine was started, begins with
 * FILE. A change that waits to be confirmed is taken back by whichever router runs when its time is
 * up; and by an end in order, which leaves FILE.
 */
#ifndef ROUTER_RUNNING_H
#define ROUTER_RUNNING_H

#include <jansson.h>
#include <stdbool.h>

struct config;
struct router;
struct table_report;

/* The configuration to start with; -errno with r->error. */
int running_load(struct router *, const char *path, struct config **);
/* It is up. */
void running_started(struct router *);
/* At the end; clean: NICs were stopped in order. */
void running_stop(struct router *, bool clean);

/* FILE is read again. -errno with r->error. */
int running_reload(struct router *, bool force, struct table_report *);
/* The answer to {"reload": {"force": BOOL}}: a reload, which with force may delete most of a large
 * table (table.h). nics_behind: NICs that are up and did not get the table yet. */
json_t *running_reload_asked(struct router *, const json_t *how);

/*
 * The answer to {"config": REQUEST}, REQUEST one of
 *   {"upload": {"id": ID, "at": N, "text": TEXT}}   a piece of a text, for one of the next two
 *   {"apply": {"id": ID, "path": FILE, "confirm": SECONDS, "force": BOOL}}
 *   {"diff": {"id": ID, "path": FILE}}, {"diff": {}}   with the file the router was started with
 *   {"show": {"default": BOOL}}   {"list": {}}   {"confirm": {}}
 *   {"rollback": {"to": NUMBER, "confirm": SECONDS, "force": BOOL}}
 *   {"save": {"force": BOOL}}
 * docs/operations.md says what each does. confirm, force and to may be left out.
 */
json_t *running_ask(struct router *, const json_t *request);

#endif
