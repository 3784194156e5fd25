/* SPDX-License-Identifier: BSD-3-Clause */
/* NICs and their processes, from start to end: each a state machine in the loop. */
#ifndef ROUTER_NIC_H
#define ROUTER_NIC_H

#include "driver/driver_nic.h"
#include "router/loop.h"
#include "router/port_state.h"
#include "router/process.h"

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

/* Whether NICs are well; see nics_ask. */
struct nics_question {
	struct nics_question *next;
	struct loop_timer timer;
	loop_fired *done; /* NULL: not asked */
	void *context;
};

/* Starts a process; its NICs come up in the loop. While the router starts, a failure is r->failed;
 * later it is said, and tried again. */
void process_begin(struct router_process *);
void process_watch_end(struct router_process *); /* of one that runs already */

/* Goes on with what a NIC waits for, if it waits: its next step towards forwarding. */
void nic_step(struct router_nic *);

/* The connection of a NIC that runs already is there, greeted (device_adopt_begin). */
void nic_adopt(struct router_nic *, struct device *);

/* Lets go of a NIC, dead or alive: its peers close their pairs with it. forget: only this router
 * does. */
void nic_lose(struct router_nic *);
void nic_forget(struct router_nic *);

/* All whose process was started are forwarding, or waiting for the table, or of an earlier router
 * and not answering. */
bool nics_settled(const struct router *);

/*
 * Asks all NICs whether they are well. Calls done when all have answered, or after half a second:
 * those that have not are silent from then on. cancel: done is not called.
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

#endif
