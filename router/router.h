/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router: the host's side of a NIC-driven router, and the driver's process.
 *
 *   config.h   what it should be          process.h   the soft NICs' processes and the keeper
 *   table.h    what NICs forward by       fabric.h    rings and windows between NICs
 *
 * No data packet passes through it. It brings NICs up, tells each of the others, loads tables, and then
 * waits: for a NIC that dies (its peers are told, it is started again and rejoins), for a changed
 * configuration (SIGHUP), for questions (the API socket), for the end (SIGTERM: NICs are stopped in
 * order). Killed in any other way it leaves the NICs forwarding; the next router with the same
 * configuration takes them over without touching a packet.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "driver/fabric.h"
#include "router/config.h"
#include "router/port_state.h"
#include "router/process.h"
#include "router/runtime.h"
#include "router/table.h"

#include <jansson.h>

#define ROUTER_PATH_BYTES 108 /* of a UNIX socket's name */
#define ROUTER_TEXT_BYTES 512

/* NICs that share a process. */
struct router_process {
	char name[DRIVER_NIC_NAME_BYTES];
	struct process process;
	uint64_t retry_at_ns; /* when to start it again; 0: it is not waiting for that */
	uint64_t born_ns;
	unsigned backoff_ms;
	bool silent; /* since router_ask_anew: its NICs do not answer */
};

struct router_nic {
	struct driver_nic driver; /* device NULL: down */
	struct router_process *process;
	char engine[DRIVER_NIC_NAME_BYTES];
	char spec[1024]; /* what it was started with; another one means another NIC */
	char socket[ROUTER_PATH_BYTES];
	unsigned restarts;
	int event;              /* eventfd: its port changed (events.c) */
	struct port_state port; /* as it was last said */
};

struct router {
	struct config *config;
	struct fabric fabric;
	struct router_nic *nic; /* by index, config->nics_count of them */
	struct router_process *process;
	unsigned processes;
	struct mac_addr mac[P2PNIC_NICS_MAX];
	struct table *table;

	char runtime[ROUTER_PATH_BYTES - 40];
	struct runtime held; /* the same, checked and locked */
	int keeper, listener, signals, events;
	uint64_t mend_at_ns; /* when to try NICs again that have another table; 0: there are none */
	bool quiet;          /* no progress lines */
	bool leave;          /* at the end, leave NICs forwarding */
	bool tied;           /* NICs end with this process, however it ends */
	char error[ROUTER_TEXT_BYTES];
};

/* Everything up and forwarding; -errno with a sentence in r->error, and everything it started ended. */
int router_start(struct router *, const char *config_path);

/* The same with a configuration that was loaded, and maybe changed, before; it is the router's from then
 * on, also on failure. */
int router_start_config(struct router *, struct config *);

/* One round of the main loop, waiting at most timeout_ms (-1: for ever). 0: go on; 1: a signal asks to
 * end. */
int router_step(struct router *, int timeout_ms);

/* Stops NICs in order and ends what was started; or, with r->leave, just lets go. */
void router_stop(struct router *);

/*
 * The table (reload.c). first: made of the configuration, for go to load. reload: the configuration is read again,
 * and its addresses, neighbours, routes and MTUs take effect, by a change of the table in force where that can be. On
 * any error the old one stays; another NIC, port, engine or setting of the router is one.
 */
int router_first_table(struct router *);
int router_reload(struct router *);

/*
 * NICs that are up and do not have the table, because they did not answer when it changed: when to try again, and a
 * try at it (reload.c), which loads the table into those that answer.
 */
uint64_t router_mend_at(struct router *, uint64_t now_ns);
void router_mend(struct router *);

/* Does NIC k answer? Waits half a second at most, for one process in all; one that has not answered is asked
 * again only after ask_anew (api.c). */
void router_ask_anew(struct router *);
bool router_nic_answers(struct router *, unsigned k);

/* The answer to {"show": WHAT} (api.c), but for routes, which are only sent; NULL: no such thing. */
json_t *router_show(struct router *, const char *what);

void router_say(const struct router *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A sentence into r->error; returns the code. */
int router_fail(struct router *, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The router's side of the keeper (keep.c). open: connects to it, and starts it where there is none. keep: hands
 * it the connection of a NIC. renew: it died; nothing is lost while this router lives, and a new one takes its
 * place. */
int router_open_keeper(struct router *);
int router_keep(struct router *, unsigned index);
void router_renew_keeper(struct router *);

/* Links and faults of ports (events.c): open before NICs come up, watch each that does, events when r->events is
 * readable. */
void router_open_events(struct router *);
void router_close_events(struct router *);
void router_watch(struct router *, unsigned index);
void router_events(struct router *);

/* The API: one request and one answer, each a JSON object, a connection (api.c). */
int api_listen(const char *path);
void api_accept(struct router *);

#endif
