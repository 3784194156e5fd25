/* SPDX-License-Identifier: BSD-3-Clause */
/* Between running.c and running_ask.c. */
#ifndef ROUTER_RUNNING_INTERNAL_H
#define ROUTER_RUNNING_INTERNAL_H

#include "router/config_state.h"
#include "router/loop.h"
#include "router/running.h"

#define UPLOAD_ID_BYTES 40u

struct running {
	char file[PATH_MAX]; /* that the router was started with */
	uint64_t digest;     /* of its text, as read or written last */
	char state[PATH_MAX];
	unsigned entry;            /* of what runs; 0: it has none */
	unsigned back;             /* 0: nothing waits to be confirmed */
	uint64_t deadline_ns;      /* CLOCK_BOOTTIME */
	bool recorded;             /* the state directory says what runs */
	struct state_running next; /* what it is to say, while a configuration is taken */
	struct loop_timer revert;

	/* A text that comes in pieces. */
	char id[UPLOAD_ID_BYTES];
	char *text;
	size_t used;
	struct loop_timer upload;
};

/* CLOCK_BOOTTIME */
uint64_t running_clock_ns(void);
bool running_same_text(const struct config *, const struct config *);
/* Is what runs what the file said when it was read? */
bool running_is_file(const struct router *);

/* The state directory says what runs, unless that is the file; what goes wrong is said. */
void running_record(struct router *);
/* What runs has a number from here on, so that it can be gone back to. -errno, r->error. */
int running_keep(struct router *, int directory);
/* -EBUSY with r->error: something waits to be confirmed. */
int running_refuse_pending(struct router *);

/* Takes another configuration, which it owns from then on, and that of a number; seconds: 0, or it
 * goes back by itself unless that is confirmed in time. -errno with r->error, and nothing has
 * changed. */
int running_apply(
	struct router *, struct config *, unsigned seconds, bool force, struct table_report *);
int running_go_to(
	struct router *, unsigned entry, unsigned seconds, bool force, struct table_report *);

void running_drop_upload(struct router *);

#endif
