/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router: the host's side of a NIC-driven router, and the driver's process.
 *
 *   config.h   what it should be          process.h   the soft NICs' processes and the keeper
 *   table.h    what NICs forward by       fabric.h    rings and windows between NICs
 *   loop.h     descriptors and timers     runtime.h   the directory of sockets, and its lock
 *
 * No data packet passes through it. It brings NICs up, tells each of the others, loads tables, and then
 * waits: for a NIC that dies (its peers are told, it is started again and rejoins), for a changed
 * configuration (SIGHUP), for questions (the API socket), for the end (SIGTERM: NICs are stopped in
 * order). Killed in any other way it leaves the NICs forwarding; the next router with the same
 * configuration takes them over without touching a packet.
 *
 * It never waits for anybody else. Every NIC is a state machine (nic.c), so is the keeper (keep.c), API
 * clients have buffers of their own (api.c). The one thing that takes time is a request to a NIC that
 * answers, some microseconds; one that hangs costs ROUTER_DEADLINE_MS once and is silent from then on
 * (device.h): it is left out of everything until it answers again.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "driver/fabric.h"
#include "ipc/listen.h"
#include "router/config.h"
#include "router/loop.h"
#include "router/port_state.h"
#include "router/process.h"
#include "router/runtime.h"
#include "router/table.h"

#include <jansson.h>

#define ROUTER_PATH_BYTES  108 /* of a UNIX socket's name */
#define ROUTER_TEXT_BYTES  512
#define ROUTER_DEADLINE_MS 1000u /* of one request to a NIC */
#define ROUTER_SPEC_BYTES  900   /* with process, MAC and more it fits into the keeper's text */

struct router;

/* NICs that share a process, and its fate. */
struct router_process {
	struct router *router;
	char name[DRIVER_NIC_NAME_BYTES];
	struct process process;
	struct loop_watch watch; /* its end */
	struct loop_timer timer; /* the next start; or until when it must be up, or have ended */
	uint64_t born_ns;
	unsigned backoff_ms;
	bool adopted;      /* of an earlier router: it has as long as it takes */
	bool ending;       /* told to end */
	unsigned evicting; /* how often another one was told to leave its sockets */
};

enum router_nic_state {
	NIC_DOWN,       /* its process is not there, or is about to end */
	NIC_CONNECTING, /* to its socket, or to what the keeper held; until it answers */
	NIC_JOINING,    /* identified, reset, known to its peers */
	NIC_LOADING,    /* the table, as soon as there is one */
	NIC_FORWARDING,
};

struct router_nic {
	struct router *router;
	struct driver_nic driver; /* device NULL: not attached */
	struct router_process *process;
	enum router_nic_state state;
	struct device *device;   /* from the first byte sent until driver has it, and after */
	struct loop_watch watch; /* its connection */
	struct loop_timer timer; /* the next try at a step, or at reading from it */
	bool silent;             /* as last said */
	bool kept;               /* the keeper has it */

	char engine[DRIVER_NIC_NAME_BYTES];
	char spec[ROUTER_SPEC_BYTES]; /* what it was started with; another one means another NIC */
	char socket[ROUTER_PATH_BYTES];
	unsigned restarts;
	int event; /* eventfd: its port changed (events.c) */
	struct loop_watch event_watch;
	struct port_state port; /* as it was last said */
};

struct router_keeper {
	int socket;                  /* -1: none */
	int ready;                   /* a pipe: readable when one that was started listens; -1 */
	struct process process, old; /* old: killed, to be reaped */
	struct loop_watch watch;     /* of socket or ready */
	struct loop_timer timer;     /* the next try */
	unsigned backoff_ms;
	bool complained; /* what is wrong was said once */
};

/* Whether NICs are well; see nics_ask. */
struct nics_question {
	struct nics_question *next;
	struct loop_timer timer;
	loop_fired *done; /* NULL: not asked */
	void *context;
};

struct api_client;

struct router {
	struct config *config;
	struct loop loop;
	struct fabric fabric;
	struct router_nic *nic; /* by index, config->nics_count of them */
	struct router_process *process;
	unsigned processes;
	struct mac_addr mac[P2PNIC_NICS_MAX];
	struct table *table; /* NULL: not yet */
	struct router_keeper keeper;

	char runtime[ROUTER_PATH_BYTES - 40];
	struct runtime held; /* the same, checked and locked */
	struct unix_listener listener;
	int signals;
	struct loop_watch listener_watch, signals_watch;
	struct loop_timer listener_timer, tick, mend;
	unsigned mends; /* tries since something has last changed */
	struct nics_question *questions, reload;
	struct api_client *clients;

	bool found;    /* an earlier router has left something */
	int failed;    /* while it starts: -errno with r->error */
	bool starting; /* a mistake ends it instead of being tried again */
	bool ended;    /* a signal asks to end */
	bool quiet;    /* no progress lines */
	bool leave;    /* at the end, leave NICs forwarding */
	bool tied;     /* NICs end with this process, however it ends */
	char error[ROUTER_TEXT_BYTES];
};

/* Everything up and forwarding; -errno with a sentence in r->error, and all that it started ended. What an
 * earlier router left forwarding it leaves so; -EINTR: a signal asked to end. */
int router_start(struct router *, const char *config_path);

/* The same with a configuration that was loaded, and maybe changed, before; it is the router's from then
 * on, also on failure. */
int router_start_config(struct router *, struct config *);

/* One round of the main loop, waiting at most timeout_ms (-1: for ever). 0: go on; 1: a signal asks to
 * end. */
int router_step(struct router *, int timeout_ms);

/* Stops NICs in order and ends what was started, within five seconds whatever hangs; or, with r->leave, just
 * lets go. */
void router_stop(struct router *);

/* Messages: of what it does, and of what went wrong while it goes on. */
void router_say(const struct router *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void router_warn(const struct router *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A sentence into r->error; returns the code. */
int router_fail(struct router *, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void router_path(const struct router *, const char *name, char path[ROUTER_PATH_BYTES]);

/* --- plan.c: which NIC runs where, and what its process is started with -------------------------- */

int plan_make(struct router *);
int plan_start(struct router *, struct router_process *); /* -errno, r->error */

/* --- nic.c: NICs and their processes, from start to end ------------------------------------------ */

/* Starts a process; its NICs come up in the loop. While the router starts, a failure is r->failed; later it is
 * said, and tried again. */
void process_begin(struct router_process *);
void process_watch_end(struct router_process *); /* of one that runs already */

/* Goes on with what a NIC waits for, if it waits: its next step towards forwarding. */
void nic_step(struct router_nic *);

/* The connection of a NIC that runs already is there, greeted (device_adopt_begin). */
void nic_adopt(struct router_nic *, struct device *);

/* Lets go of a NIC, dead or alive: its peers close their pairs with it. forget: only this router does. */
void nic_lose(struct router_nic *);
void nic_forget(struct router_nic *);

/* All whose process was started are forwarding, or waiting for the table, or of an earlier router and not
 * answering. */
bool nics_settled(const struct router *);

/*
 * Asks all NICs whether they are well. Calls done when all have answered, or after half a second: those that have not
 * are silent from then on. cancel: done is not called.
 */
void nics_ask(struct router *, struct nics_question *, loop_fired *done, void *context);
void nics_ask_cancel(struct router *, struct nics_question *);

/* Finds out which NICs hang, without being told: once a second, from the first call on. */
void nics_tick(struct router *);

static inline bool nic_answers(const struct router_nic *nic)
{
	return nic->state == NIC_FORWARDING && !device_silent(nic->driver.device);
}

/* Tries again, soon, what could not be done before: pairs, tables. */
void nics_mend(struct router *);

/* --- adopt.c: what an earlier router left forwarding --------------------------------------------- */

/* Takes it over, all or nothing; processes of another configuration end. -errno with r->error. */
int adopt_all(struct router *);

/* --- reload.c: the table ------------------------------------------------------------------------- */

/* first: made of the configuration, for NICs to load. reload: the configuration is read again, and its addresses,
 * neighbours, routes and MTUs take effect, by a change of the table in force where that can be. On any error the old
 * one stays; another NIC, port, engine or setting of the router is one. */
int router_first_table(struct router *);
int router_reload(struct router *);
/* The answer to {"reload": {"force": BOOL}}: a reload, which with force may delete most of a large table (table.h).
 * nics_behind: NICs that are up and did not get the table yet. */
json_t *router_reload_asked(struct router *, const json_t *how);
/* Whether a table can be made of the configuration; -errno with r->error. */
int router_try_table(struct router *);

/* --- keep.c: the router's side of the keeper ----------------------------------------------------- */

/* Connects to it, or starts one; nobody waits for that. -errno with r->error: the one that is there, and may hold
 * what an earlier router left, does not answer. */
int keep_open(struct router *);
/* Hands it the connection of a NIC, now or as soon as there is a keeper; drop takes it back. */
void keep_put(struct router_nic *);
void keep_drop(struct router_nic *);
/* It holds all NICs that are up; or there is something wrong with it, which was said. */
bool keep_settled(const struct router *);
/* At the end: it ends too, or is let go. */
void keep_close(struct router *, bool leave);

/* --- events.c: links and faults of ports --------------------------------------------------------- */

int events_open(struct router *); /* -errno */
void events_close(struct router *);
/* Watches a NIC that joins. -errno: it was not told so; what does not pass was said. */
int events_watch(struct router_nic *);
/* Says what has changed since it was last said. */
void events_look(struct router_nic *);

/* --- api.c: the socket; show.c: the answers ------------------------------------------------------ */

int api_open(struct router *); /* -errno, r->error */
void api_close(struct router *);

/* The answer to {"show": WHAT}, but for routes, which are only sent; NULL: no such thing. */
json_t *router_show(struct router *, const char *what);
/* One route as a JSON object in text of so many bytes; its length. */
#define SHOW_ROUTE_BYTES 512
unsigned show_route(const struct router *, const struct route *, char text[SHOW_ROUTE_BYTES]);

#endif
