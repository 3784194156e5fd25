/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel as the source of what NICs forward by, where the configuration has `kernel`.
 *
 *   kernel_reader ──▶ kernel_state ──changes, some milliseconds──▶ kernel_routes ──▶ every NIC
 *
 * Nothing is applied before all of the kernel was read once: NICs that an earlier router left
 * forwarding go by its table until then. From then on changes are committed in batches, and what an
 * overrun lost is a batch like any other as soon as it is known.
 *
 * A batch that does not fit beside what is in force, or fails, makes the whole table anew; that is
 * tried again, less and less often, until it succeeds. Meanwhile NICs forward by what they have.
 */
#ifndef ROUTER_KERNEL_H
#define ROUTER_KERNEL_H

#include "router/fpm.h"
#include "router/kernel_prod.h"
#include "router/kernel_reader.h"
#include "router/kernel_routes.h"
#include "router/kernel_unable.h"

struct router;

/* After a commit, until gateways that it brought are asked for. */
#define KERNEL_ASK_MS      20u
/* Between looks at addresses that are held as failed, while there are some. */
#define KERNEL_RELEASE_MS  500u
/* Changes are collected so long before they are committed. */
#define KERNEL_COLLECT_MS  5u
/* Between tries to make the whole table. */
#define KERNEL_MAKE_MS     1000u
#define KERNEL_MAKE_MAX_MS 64000u

struct router_kernel {
	struct router *router;
	struct kernel_reader reader;
	struct kernel_routes routes;
	struct kernel_nics nics;
	struct kernel_prod prod;
	struct fpm *fpm; /* NULL: none */
	struct loop_timer commit, make, look, release, ask;
	struct kernel_unable unable; /* when last looked at */
	bool encapsulation_said;
	int rules;             /* others than every namespace has, when last looked at */
	bool stale;            /* the table is not what the kernel has, and must be made anew */
	unsigned make_ms;      /* until it is tried again */
	uint64_t made_ns;      /* when it was last made */
	uint64_t changed_ns;   /* since when a change waits, or a little more; 0: none does */
	uint64_t mark_ns;      /* a later moment… */
	size_t marked;         /* …and how many of those that waited then wait still */
	uint64_t lag_ns;       /* of the last batch: from the first change until every NIC has it */
	uint64_t lag_most_ns;  /* ever */
	uint64_t held_most_ns; /* longest commit: nothing else runs in the loop meanwhile */
};

/* Begins to read r->netns, if the configuration has `kernel`; -errno with r->error. */
int kernel_open(struct router *);
void kernel_close(struct router *);
/* All was read once, or there is nothing to read. */
bool kernel_settled(const struct router *);

/* Makes a table what the kernel has, of the kind that `config` wants. */
int kernel_make(struct router *, const struct config *, struct table **, const struct table_nics *,
	struct table_report *, struct error *);

/* Commits changes that wait; true: none does now, and the table is what was read of the kernel. */
bool kernel_commit(struct router *);
/* Makes the whole table anew, soon. */
void kernel_make_anew(struct router *);

/* The link that a NIC is to the kernel, whatever its name is now. When it is gone, or was never
 * said: that of the NIC's name. Said before the first table is made. */
void kernel_set_link(struct router *, unsigned nic, uint32_t ifindex);

#endif
