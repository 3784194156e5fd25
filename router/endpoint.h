/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a server for people and programs listens: ADDRESS:PORT, [ADDRESS]:PORT, or unix:PATH. */
#ifndef ROUTER_ENDPOINT_H
#define ROUTER_ENDPOINT_H

#include <stdbool.h>
#include <sys/socket.h>

#define ENDPOINT_BYTES  128 /* of the text */
#define ENDPOINT_WANTED "want ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH, an absolute path"

struct endpoint {
	const char *path; /* in the text; NULL: not a path */
	struct sockaddr_storage address;
	socklen_t bytes;
	bool loopback; /* only this host reaches it; a path, too */
};

bool endpoint_parse(const char *text, struct endpoint *);

#endif
