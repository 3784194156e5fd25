/* SPDX-License-Identifier: BSD-3-Clause */
/* A mirror of the kernel's tables (router/kernel_state.h), fed with messages as the kernel makes
 * them, and asked what is in it. */
#ifndef TESTS_KERNEL_STATE_RIG_H
#define TESTS_KERNEL_STATE_RIG_H

#include <router/kernel_state.h>

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>

#define UP   (IFF_UP | IFF_RUNNING | IFF_LOWER_UP)
#define MAIN RT_TABLE_MAIN

#define NEW        (NLM_F_CREATE | NLM_F_EXCL)
#define A          "10.1.0.0"
#define B          "10.2.0.0"
#define C          "2001:db8::"
#define VIA(link)  .hop = {{"10.0.0.2", (link)}}
#define VIA6(link) .hop = {{"fe80::2", (link)}}

extern struct kernel_state *state; /* of the test that runs */
extern bool dumped;                /* messages are a dump's */

int begin(void **context);
int end(void **context);

/* --- Messages --------------------------------------------------------------------------------- */

struct nlmsghdr *message(uint16_t type, uint16_t flags, const void *fixed, size_t bytes);
void put_address(struct nlmsghdr *, uint16_t type, const char *text);
void feed(const struct nlmsghdr *);

struct nlmsghdr *link_message(uint16_t type, int ifindex, unsigned flags);
void set_link(int ifindex, unsigned flags);
void address(uint16_t type, unsigned ifindex, const char *local);
void neighbor(uint16_t type, const char *dst, uint16_t nud, const char *mac);

/* A route: fields that are 0 are not said. */
struct route {
	const char *dst; /* "10.0.0.0" */
	uint8_t length, scope, type, protocol;
	uint32_t metric, table, next_hop, mtu;
	const char *source;
	struct {
		const char *gateway;
		uint32_t ifindex;
	} hop[4];
};
struct nlmsghdr *route_message(uint16_t type, uint16_t flags, struct route);
void add(uint16_t flags, struct route);
void del(struct route);

void next_hop(uint16_t type, uint32_t id, uint32_t ifindex);
void group(uint32_t id, uint32_t a, uint32_t b, bool resilient);

/* Links 1 to 3, up, and a round that knows them. */
void three_links(void);

/* --- Questions -------------------------------------------------------------------------------- */

struct kernel_key key_of(uint8_t kind, uint32_t id, const char *text, uint8_t length);
const struct kernel_value *nth_route(const char *dst, uint8_t length, unsigned nth);
const struct kernel_value *route(const char *dst, uint8_t length);
const struct kernel_value *object(uint32_t id);
const struct kernel_value *link_of(uint32_t ifindex);

/* The links of a key's routes in order, as "1 2"; of a route's hops, as "1+2". */
void expect(const char *dst, uint8_t length, const char *links);
/* Whether the next change is of that route: from a link to a link; 0: none. */
void expect_change(const char *dst, uint32_t before, uint32_t now);
void take_changes(void);

#endif
