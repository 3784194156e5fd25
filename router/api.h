/* SPDX-License-Identifier: BSD-3-Clause */
/* The API socket: questions to a running router, answered by show.h and reload.h. */
#ifndef ROUTER_API_H
#define ROUTER_API_H

struct router;

int api_open(struct router *); /* -errno, r->error */
void api_close(struct router *);

#endif
