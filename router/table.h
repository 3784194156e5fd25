/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the NICs forward by: routes, next hops (next_hop.h) and FIB images (fib/fib_image.h), and
 * how they get into NICs that forward meanwhile.
 *
 * A NIC's table memory holds two tables, half 0 and half 1 (of the adjacencies, next hops, buckets
 * and the FIB area). A struct table lives in one half, the same in every NIC, and reaches it in one
 * of two ways:
 *
 *   change  the table in force is altered where it stands. What is new is written where nothing
 *           leads to: adjacencies, buckets, words of new next hops, nodes of the image. Then, each
 *           by one store, the words that lead there: first those of next hops, then those of the
 *           image. Then every NIC passes an epoch, and only after that is anything used again that
 *           had been in use before. A packet meets the old route or the new one, route by route.
 *   load    the whole table is written into a half that is not in force, and switched to between
 *           two bursts. For a NIC that is new or was made by another process, and where old and new
 *           next hops together are too many.
 *
 * A NIC that holds this table exactly is in step. One that fails falls out of step and is let
 * alone: its memory stays as it is, the others go on, and a load brings it back.
 *
 * Changes are made in batches: any number of them is one patch a family and one epoch a NIC.
 */
#ifndef ROUTER_TABLE_H
#define ROUTER_TABLE_H

#include "driver/driver_nic.h"
#include "ipc/error.h"
#include "router/config.h"
#include "router/next_hop.h"
#include "router/routes.h"

struct fib;
struct table;

/* NICs of a router that are up; each has the number that the table knows it by
 * (driver_nic.index). */
struct table_nics {
	struct driver_nic *nic[P2PNIC_NICS_MAX];
	unsigned n;
};

/* What a change did. */
struct table_report {
	size_t added, changed, deleted; /* routes */
	unsigned moved;                 /* next hops that lead elsewhere */
	uint64_t bytes; /* of the patch, for one NIC: image, next hops, buckets, adjacencies */
	unsigned patched, loaded; /* NICs */
	unsigned failed;          /* NICs, out of step now */
	bool whole;               /* made anew and loaded; added: all routes */
	uint64_t ns;              /* from the first write to the last epoch */
	struct error why;         /* whole: because */
	struct error failure;     /* failed: of the last such NIC */
};

/* Since the table was made. */
struct table_counts {
	uint64_t patches, loads; /* changes; NICs */
	uint64_t last_patch_bytes, last_patch_ns;
};

/*
 * An empty table of that kind (enum p2pnic_fib_kind) in that half of NICs with so much table
 * memory. -ENOMEM. table_kind: what the configuration wants. table_half: the half that a NIC
 * forwards by; -ENOENT: none yet.
 */
int table_new(struct table **, uint32_t bar2_bytes, unsigned kind, unsigned half);
void table_free(struct table *);
unsigned table_kind(const struct config *);
int table_half(struct driver_nic *);

/*
 * A table of this many routes or more, of one family or of both together, does not lose more than
 * half of them unless that is confirmed: a file that was cut looks like that.
 */
#define TABLE_SHRINK_ROUTES 1000u

/*
 * Where routes come from: all of them, ascending, with next hops taken from `hops`. Called a second
 * time if the first result does not fit beside what is in force, and then `hops` holds nothing
 * (`alone`). 0 or -errno with a sentence; -ENOSPC: they do not fit beside what is in force.
 */
typedef int table_source(
	void *context, struct routes *, struct next_hops *hops, bool alone, struct error *error);

/* A change of the table that every NIC has which can be reached, before what it replaces is let go
 * of. */
struct table_changed {
	const struct routes *routes;    /* before it, with next hops of */
	const struct next_hops *before; /* these */
	const struct route *change; /* as of table_change, or all routes there are now (whole) */
	size_t changes;
	const struct next_hops *now;
	bool whole; /* the table was made anew */
};

/* Who is told of each, one at most; it must not change the table itself. NULL: nobody. */
typedef void table_watcher(void *context, const struct table_changed *);
void table_watch(struct table *, table_watcher *, void *context);

/*
 * Makes it what the source says, in every NIC. Where that takes a load, *table is another one
 * afterwards. On error nothing has changed, neither here nor in any NIC; a sentence in error.
 * shrink: may it lose more than half of its routes? -ECANCELED: it would, and may not.
 */
int table_make(struct table **, unsigned kind, table_source *, void *context, bool shrink,
	const struct table_nics *, struct table_report *, struct error *error);

/*
 * Makes it what the configuration says, in every NIC; mac[k] is the address of NIC k. Where that
 * takes a load, *table is another one afterwards. On error nothing has changed, neither here nor in
 * any NIC; a sentence in error: a gateway on no connected network, too many next hops, a table that
 * does not fit (with the numbers). -ECANCELED: it would shrink so, and that is not confirmed.
 */
int table_configure(struct table **, const struct config *, const struct mac_addr *mac,
	bool confirmed, const struct table_nics *, struct table_report *, struct error *error);

/* Whether a table can be made of the configuration, by NICs of whatever address: as
 * table_configure. */
int table_try(const struct config *, struct error *error);

/*
 * The same for some routes: next hops are numbers of `hops`, a copy of table_next_hops with what is
 * new, and the table's own from then on, on success. change[]: ascending, one for each prefix; next
 * hop 0 deletes. -ENOSPC, -EAGAIN: it does not fit beside what is in force (a load might).
 */
int table_change(struct table *, struct next_hops *hops, const struct route *change, size_t changes,
	const struct table_nics *, struct table_report *, struct error *error);

/* Loads the table as it is into one NIC, which is in step then. The first that is older than image
 * version 2 (p2pnic/fib.h) puts all others out of step: they need the image that it takes. */
int table_load(struct table *, struct driver_nic *, struct error *error);

/* For a NIC that is up: does it hold this table? fall_behind: it does not any more, as it was left
 * out of a change. */
bool table_in_step(const struct table *, const struct driver_nic *);
void table_fall_behind(struct table *, const struct driver_nic *);

/* Writes next hops, buckets, adjacencies and sources once more where they should be already. On
 * error the NIC is out of step. */
int table_rewrite(struct table *, struct driver_nic *, struct error *);

/* What a NIC in step has in its BAR2: the image of a family, NULL if there is none, as the host has
 * it; its place there; how long it may be; the half; the list of sources. */
const struct fib *table_fib(const struct table *, unsigned six); /* NULL: not made */
const void *table_image(const struct table *, unsigned six, uint64_t *bytes);
uint32_t table_image_place(const struct table *, unsigned six);
uint64_t table_image_room(const struct table *, unsigned six);
unsigned table_own_half(const struct table *);
const struct p2pnic_sources *table_sources(const struct table *);

/* For looking at it. */
const struct routes *table_routes(const struct table *);
const struct next_hops *table_next_hops(const struct table *);
const struct table_counts *table_counts(const struct table *);
uint64_t table_image_bytes(const struct table *, unsigned family);

/* One line about a change. */
#define TABLE_REPORT_BYTES 1536
const char *table_report_text(const struct table_report *, char text[TABLE_REPORT_BYTES]);

#endif
