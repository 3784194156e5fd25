/* SPDX-License-Identifier: BSD-3-Clause */
/* What an earlier router left forwarding. */
#ifndef ROUTER_ADOPT_H
#define ROUTER_ADOPT_H

struct router;

/* Fetches it, and gives the configuration's NICs the numbers and sizes that they run with. -errno
 * with r->error. */
int adopt_look(struct router *);
void adopt_free(struct router *);

/* Takes it over, all or nothing; processes of another configuration end. -errno with r->error. */
int adopt_all(struct router *);

#endif
