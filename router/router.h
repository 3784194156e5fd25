/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router: the host's side of a NIC-driven router, and the driver's process.
 *
 *   config.h   what it should be          nic.h       NICs and their processes, start to end
 *   plan.h     which NIC runs where       adopt.h     what an earlier router left
 *   nics_change.h  NICs that come and go while others forward
 *   table.h    what NICs forward by       reload.h    the first table, and changes of it
 *   fabric.h   rings and windows          keep.h      who holds NICs while a router is replaced
 *   helper.h   processes beside it        host_face.h taps, and rings between NICs and host
 *   running.h  configurations, taken and taken back
 *   loop.h     descriptors and timers     events.h    links and faults of ports
 *   kernel.h   the kernel's routes        api.h       questions and answers
 *   runtime.h  the directory of sockets   service.h   what a service manager is told
 *   counters.h all that is counted, and its names
 *   metrics.h  who serves counters        census.h    counts of all routes and neighbours
 *
 * No packet passes through it. It brings NICs up, tells each of the others, loads tables, and
 * then waits: for a NIC that dies (its peers are told, it is started again and rejoins), for a
 * changed configuration (SIGHUP), for questions (the API socket), for the end (SIGTERM: NICs are
 * stopped in order; SIGQUIT: also where they were to be left). Killed in any other way it leaves
 * the NICs forwarding; the next router with the same configuration takes them over without touching
 * a packet.
 *
 * It never waits for anybody else. Every NIC is a state machine (nic.c), so is the keeper (keep.c),
 * API clients have buffers of their own (api.c). The one thing that takes time is a request to a
 * NIC that answers, some microseconds; one that hangs costs ROUTER_DEADLINE_MS once and is silent
 * from then on (device.h): it is left out of everything until it answers again.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "driver/fabric.h"
#include "ipc/error.h"
#include "ipc/listen.h"
#include "ipc/log_event.h"
#include "router/api_watch.h"
#include "router/census.h"
#include "router/config.h"
#include "router/histogram.h"
#include "router/keep.h"
#include "router/loop.h"
#include "router/nic.h"
#include "router/runtime.h"
#include "router/service.h"
#include "router/table.h"

struct api_client;
struct audit;
struct findings;
struct running;
struct router_capture;
struct router_kernel;

struct router {
	struct config *config;
	struct loop loop;
	struct fabric fabric;
	struct router_nic *nic; /* by number, P2PNIC_NICS_MAX of them */
	struct nic_unit *unit;  /* likewise; "" has no NICs */
	unsigned units;         /* of these, up to the last one used */
	struct mac_addr mac[P2PNIC_NICS_MAX];
	struct table *table; /* NULL: not yet */
	struct service service;
	struct router_kernel *kernel; /* NULL: the configuration has none */
	struct audit *audit;
	struct router_capture *capture; /* NULL: none */
	struct running *running;        /* NULL: the configuration is of no file */
	unsigned reloads,
		reloads_refused;       /* configurations taken, or published once more; not taken */
	struct histogram reload_times; /* of those taken, until every NIC has it */
	struct histogram lag_times;    /* from a change of the kernel until every NIC has it */
	struct census_taking census;
	struct helper keeper, punt, metrics;
	struct netns netns; /* of the taps */

	char runtime[ROUTER_PATH_BYTES - 40];
	struct runtime held; /* the same, checked and locked */
	struct unix_listener listener;
	int signals;
	struct loop_watch listener_watch, signals_watch;
	struct loop_timer listener_timer, tick, mend, strays;
	uint64_t strays_until_ns; /* processes of an earlier router are looked for */
	unsigned mends;           /* tries since something has last changed */
	struct nics_question *questions, reload;
	struct api_client *clients;
	struct watched watched;

	struct findings *findings; /* what an earlier router has left, while this one starts */

	bool found;           /* an earlier router has left something */
	int failed;           /* while it starts: -errno with r->error */
	bool starting;        /* a mistake ends it instead of being tried again */
	bool ended;           /* a signal asks to end */
	bool quiet;           /* no progress lines */
	bool log_level_given; /* by the command line; the configuration's does not count then */
	bool leave;           /* at the end, leave NICs forwarding */
	bool tied;            /* NICs end with this process, however it ends */
	struct error error;
};

/* Everything up and forwarding; -errno with a sentence in r->error, and all that it started ended.
 * What an earlier router left forwarding it leaves so; -EINTR: a signal asked to end. */
int router_start(struct router *, const char *config_path);

/* The same with a configuration that was loaded, and maybe changed, before; it is the router's from
 * then on, also on failure. */
int router_start_config(struct router *, struct config *);

/* One round of the main loop, waiting at most timeout_ms (-1: for ever). 0: go on; 1: a signal asks
 * to end. */
int router_step(struct router *, int timeout_ms);

/* Stops NICs in order and ends what was started, within five seconds whatever hangs; or, with
 * r->leave, just lets go. */
void router_stop(struct router *);

/* Messages: of what it does, and of what went wrong while it goes on. */
void router_say(const struct router *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void router_warn(const struct router *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* As its configuration has it, here and in processes that it starts from now on. */
void router_set_log_level(const struct router *);

/* A sentence into r->error; returns the code. */
int router_fail(struct router *, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void router_path(const struct router *, const char *name, char path[ROUTER_PATH_BYTES]);

#endif
