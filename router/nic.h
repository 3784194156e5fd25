/* SPDX-License-Identifier: BSD-3-Clause */
/* NICs, from start to end: each a state machine in the loop. What they run on is a backend's. */
#ifndef ROUTER_NIC_H
#define ROUTER_NIC_H

#include "driver/driver_nic.h"
#include "router/host_face.h"
#include "router/loop.h"
#include "router/port_state.h"
#include "router/process.h"

#define ROUTER_PATH_BYTES   108   /* of a UNIX socket's name */
#define ROUTER_DEADLINE_MS  1000u /* of one request to a NIC */
#define NIC_UNIT_TEXT_BYTES 32
#define ROUTER_SPEC_BYTES   900 /* with process, MAC and more it fits into the keeper's text */

struct router;
struct router_nic;
struct nic_unit;

/* What a kind of NIC needs before it is a device, and what ends it. Nothing here waits. */
struct nic_backend {
	/* Makes ready what a unit's NICs are opened from, then unit_connect; or unit_later. */
	void (*begin)(struct nic_unit *);
	/* Begins to open nic->device, as device_open_begin does; -EAGAIN: it is not there yet. */
	int (*open)(struct router_nic *, struct error *);
	/* Takes over what the keeper's text names; -ESRCH: it is no more. */
	int (*adopt)(struct nic_unit *, pid_t pid, uint64_t started);
	/* The unit's NICs, lost already, are of no use as they are. Later, unit_later. */
	void (*end)(struct nic_unit *, const char *why);
	/* What runs a unit's NICs, for messages: "process 4711". */
	const char *(*describe)(const struct nic_unit *, char text[NIC_UNIT_TEXT_BYTES]);
};

/* NICs that begin, fail and end together: those of one process. */
struct nic_unit {
	struct router *router;
	const struct nic_backend *backend;
	char name[DRIVER_NIC_NAME_BYTES];
	struct loop_timer timer; /* the next begin; or until when it must be up, or have ended */
	uint64_t born_ns;
	unsigned backoff_ms;
	bool adopted; /* of an earlier router: it has as long as it takes */
	bool ending;  /* told to end */
	bool leaving; /* not of this configuration: it is not begun again (nics_change.c) */

	/* Of soft_process.c; pid 0: none. */
	struct process process;
	struct loop_watch watch; /* its end */
	unsigned evicting;       /* how often another one was told to leave its sockets */
};

enum router_nic_state {
	NIC_DOWN,       /* its unit has not begun, or is about to end */
	NIC_CONNECTING, /* opened by its backend, or held by the keeper; until it answers */
	NIC_JOINING,    /* identified, reset, known to its peers */
	NIC_FACING,     /* its face in the kernel, where there is to be one */
	NIC_LOADING,    /* the table, as soon as there is one */
	NIC_FORWARDING,
};

struct router_nic {
	struct router *router;
	struct driver_nic driver; /* device NULL: not attached */
	struct nic_unit *unit;    /* NULL: none, or not yet */
	enum router_nic_state state;
	struct device *device;   /* from the first byte sent until driver has it, and after */
	struct loop_watch watch; /* its connection */
	struct loop_timer timer; /* the next try at a step, or at reading from it */
	bool silent;             /* as last said */
	bool kept;               /* the keeper has it */
	bool unpublished;        /* the table was made without its address */

	char name[DRIVER_NIC_NAME_BYTES]; /* also when the configuration has it no more; "": none */
	char engine[DRIVER_NIC_NAME_BYTES];
	char spec[ROUTER_SPEC_BYTES]; /* what it was started with; another one means another NIC */
	char socket[ROUTER_PATH_BYTES];
	unsigned restarts;
	int event; /* eventfd: its port changed (events.c) */
	struct loop_watch event_watch;
	struct port_state port; /* as it was last said */
	struct host_face face;
};

/* Whether NICs are well; see nics_ask. */
struct nics_question {
	struct nics_question *next;
	struct loop_timer timer;
	loop_fired *done; /* NULL: not asked */
	void *context;
};

/* The next NIC of a unit after this one; of NULL the first. NULL: no more. */
struct router_nic *unit_next(const struct nic_unit *, struct router_nic *);

/* Begins a unit; its NICs come up in the loop. While the router starts, a failure is r->failed;
 * later it is said, and tried again. */
void unit_begin(struct nic_unit *);

/* For backends: the NICs of a unit can be opened; it does not run, and is begun again after a
 * backoff; its NICs are of no use as they are. */
void unit_connect(struct nic_unit *);
void unit_later(struct nic_unit *, const char *why);
void unit_fail(struct nic_unit *, const char *why);

/* Goes on with what a NIC waits for, if it waits: its next step towards forwarding. */
void nic_step(struct router_nic *);

/* The connection of a NIC that runs already is there, greeted (device_adopt_begin). */
void nic_adopt(struct router_nic *, struct device *);

/* Lets go of a NIC, dead or alive: its peers close their pairs with it. forget: only this router
 * does. */
void nic_lose(struct router_nic *);
void nic_forget(struct router_nic *);

/* All whose unit was begun are forwarding, or waiting for the table, or of an earlier router
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
