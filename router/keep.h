/* SPDX-License-Identifier: BSD-3-Clause */
/* The router's side of the keeper: a helper (helper.h). */
#ifndef ROUTER_KEEP_H
#define ROUTER_KEEP_H

#include "router/helper.h"

struct router;
struct router_nic;

extern const struct helper_kind keep_kind;

/* Connects to it, or starts one; nobody waits for that. -errno with r->error: the one that is
 * there, and may hold what an earlier router left, does not answer. */
int keep_open(struct router *);
/* Hands it the connection of a NIC, now or as soon as there is a keeper; drop takes it back. */
void keep_put(struct router_nic *);
void keep_drop(struct router_nic *);
/* The same of its face in the kernel (host_face.h): tap, memory and eventfd of its rings; an item
 * of its own, named KEEP_FACE and the NIC's name. */
#define KEEP_FACE "host/"
void keep_put_face(struct router_nic *);
void keep_drop_face(struct router_nic *);
/* It holds all NICs that are up; or there is something wrong with it, which was said. */
bool keep_settled(const struct router *);
/* At the end: it ends too, or is let go. */
void keep_close(struct router *, bool leave);

#endif
