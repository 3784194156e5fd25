/* SPDX-License-Identifier: BSD-3-Clause */
/* What an earlier router left forwarding. */
#ifndef ROUTER_ADOPT_H
#define ROUTER_ADOPT_H

struct router;

/* Takes it over, all or nothing; processes of another configuration end. -errno with r->error. */
int adopt_all(struct router *);

#endif
