/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/endpoint.h"

#include "ipc/unix_address.h"
#include "router/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define UNIX "unix:"

static bool parse_port(const char *text, uint16_t *port)
{
	unsigned long number = 0;

	for (const char *at = text; *at; at++) {
		if (*at < '0' || *at > '9' || at - text == 5)
			return false;
		number = number * 10 + (unsigned long)(*at - '0');
	}
	*port = htons((uint16_t)number);
	return number > 0 && number < 65536;
}

bool endpoint_parse(const char *text, struct endpoint *e)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&e->address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&e->address;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	struct sockaddr_un path;
	size_t length;
	uint16_t port;

	*e = (struct endpoint){.path = NULL};
	if (strlen(text) >= ENDPOINT_BYTES)
		return false;
	if (!strncmp(text, UNIX, strlen(UNIX))) {
		e->path = text + strlen(UNIX);
		e->loopback = true;
		return e->path[0] == '/' && !unix_address(&path, e->path);
	}
	length = colon ? (size_t)(colon - text) : 0;
	if (!length || length >= sizeof(host) || !parse_port(colon + 1, &port))
		return false;
	memcpy(host, text, length);
	host[length] = 0;
	if (host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = 0;
		e->bytes = sizeof(*six);
		six->sin6_family = AF_INET6;
		six->sin6_port = port;
		if (inet_pton(AF_INET6, host + 1, &six->sin6_addr) != 1)
			return false;
		e->loopback = IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
		return true;
	}
	e->bytes = sizeof(*four);
	four->sin_family = AF_INET;
	four->sin_port = port;
	if (inet_pton(AF_INET, host, &four->sin_addr) != 1)
		return false;
	e->loopback = (ntohl(four->sin_addr.s_addr) >> 24) == 127;
	return true;
}
