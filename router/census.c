/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/census.h"
#include "router/kernel.h"
#include "router/router.h"
#include "router/show_kernel.h"

#include "ipc/clock.h"
#include "router/finding.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#define SLICE 8192u /* objects; some 0.5 ms */

enum step { IDLE, KERNEL_S_ROUTES, NEIGHBORS, NIC_ROUTES, FINDINGS };

enum neighbor_state neighbor_state_of(uint16_t nud)
{
	return nud & NUD_PERMANENT    ? NEIGHBOR_PERMANENT
	       : nud & NUD_NOARP      ? NEIGHBOR_NOARP
	       : nud & NUD_REACHABLE  ? NEIGHBOR_REACHABLE
	       : nud & NUD_STALE      ? NEIGHBOR_STALE
	       : nud & NUD_DELAY      ? NEIGHBOR_DELAY
	       : nud & NUD_PROBE      ? NEIGHBOR_PROBE
	       : nud & NUD_FAILED     ? NEIGHBOR_FAILED
	       : nud & NUD_INCOMPLETE ? NEIGHBOR_INCOMPLETE
				      : NEIGHBOR_NONE;
}

const char *neighbor_state_name(enum neighbor_state state)
{
	static const char *const name[NEIGHBOR_STATES] = {"none", "permanent", "noarp", "reachable",
		"stale", "delay", "probe", "failed", "incomplete"};

	return name[state];
}

const char *protocol_name(uint8_t protocol)
{
	/* rt_protos of iproute2. */
	static const char *const name[256] = {[RTPROT_UNSPEC] = "unspec",
		[RTPROT_REDIRECT] = "redirect",
		[RTPROT_KERNEL] = "kernel",
		[RTPROT_BOOT] = "boot",
		[RTPROT_STATIC] = "static",
		[RTPROT_RA] = "ra",
		[RTPROT_ZEBRA] = "zebra",
		[RTPROT_BIRD] = "bird",
		[RTPROT_DHCP] = "dhcp",
		[RTPROT_KEEPALIVED] = "keepalived",
		[RTPROT_BABEL] = "babel",
		[RTPROT_OPENR] = "openr",
		[RTPROT_BGP] = "bgp",
		[RTPROT_ISIS] = "isis",
		[RTPROT_OSPF] = "ospf",
		[RTPROT_RIP] = "rip",
		[RTPROT_EIGRP] = "eigrp"};

	return name[protocol] ? name[protocol] : "other";
}

/* --- Each object ------------------------------------------------------------------------------ */

static void count_kernel_route(const struct router_kernel *k, struct census *c,
	const struct kernel_key *key, const struct kernel_value *v)
{
	bool by_others = v->route.type == RTN_UNICAST;

	for (unsigned h = 0; h < v->hops && by_others; h++)
		by_others = !v->hop[h].next_hop &&
			    kernel_ways_nic(&k->routes.ways, v->hop[h].ifindex) < 0;
	c->protocol[key->family == 6][v->route.protocol]++;
	if (key->id != RT_TABLE_LOCAL && key->id != RT_TABLE_MAIN && key->id != RT_TABLE_DEFAULT)
		c->tables++;
	else if (key->tos)
		c->tos++;
	else if (v->route.unsupported)
		c->encapsulated++;
	else
		c->other_links += by_others;
}

static void count_neighbor(const struct router_kernel *k, struct census *c,
	const struct kernel_key *key, const struct kernel_value *v)
{
	unsigned vid;

	c->managed += kernel_prod_manages(&v->neighbor);
	if (kernel_ways_port(&k->routes.ways, key->id, &vid) >= 0)
		c->neighbor[neighbor_state_of(v->neighbor.state)]++;
}

/* --- Slices ----------------------------------------------------------------------------------- */

/* Of the kernel's objects of a kind; false: that was all of them. */
static bool slice_of_kernel(struct router *r, struct census *c, enum kernel_kind kind, size_t *from,
	void (*count)(const struct router_kernel *, struct census *, const struct kernel_key *,
		const struct kernel_value *))
{
	const struct kernel_value *v;
	struct kernel_key key;

	for (unsigned n = 0; r->kernel && n < SLICE; n++) {
		v = kernel_state_each(r->kernel->reader.state, kind, from, &key);
		if (!v)
			return false;
		count(r->kernel, c, &key, v);
	}
	return r->kernel;
}

static bool slice_of_nic_routes(const struct router *r, struct census *c, size_t *from)
{
	const struct routes *routes = table_routes(r->table);
	const size_t end = *from + SLICE < routes->n ? *from + SLICE : routes->n;

	for (; *from < end; ++*from) {
		const struct route *route = &routes->route[*from];

		c->routes[route->family == 6][route->source]++;
	}
	return end < routes->n;
}

static void count_findings(const struct router *r, struct census *c)
{
	json_t *found = r->kernel ? show_doctor(r, false) : NULL;

	c->filters = finding_count(found, "filter");
	c->sysctls = finding_count(found, "sysctl");
	c->ports = finding_count(found, "port");
	json_decref(found);
}

/* The next slice; the step after it, IDLE: there is none. */
static enum step slice(struct router *r, struct census *c, enum step step, size_t *from)
{
	bool more = false;

	if (step == KERNEL_S_ROUTES)
		more = slice_of_kernel(r, c, KERNEL_ROUTE, from, count_kernel_route);
	else if (step == NEIGHBORS)
		more = slice_of_kernel(r, c, KERNEL_NEIGHBOR, from, count_neighbor);
	else if (step == NIC_ROUTES)
		more = slice_of_nic_routes(r, c, from);
	else
		count_findings(r, c);
	if (more)
		return step;
	*from = 0;
	return step == FINDINGS ? IDLE : step + 1;
}

void census_take(struct router *r, struct census *c)
{
	enum step step = KERNEL_S_ROUTES;
	size_t from = 0;

	*c = (struct census){0};
	if (!r->kernel)
		c->neighbor[NEIGHBOR_PERMANENT] = r->config->neighbors_count;
	while (step != IDLE)
		step = slice(r, c, step, &from);
}

static void go_on(void *context)
{
	struct router *r = context;
	struct census_taking *t = &r->census;

	t->step = slice(r, &t->now, t->step, &t->from);
	if (t->step != IDLE) {
		loop_after(&r->loop, &t->timer, 1, go_on, r);
		return;
	}
	t->last = t->now;
	t->taken = true;
	t->taken_ns = clock_now_ns();
}

const struct census *census_last(struct router *r)
{
	struct census_taking *t = &r->census;

	if (t->step == IDLE &&
		(!t->taken || clock_now_ns() - t->taken_ns > CENSUS_AGE_MS * 1000000ull)) {
		t->now = (struct census){0};
		if (!r->kernel)
			t->now.neighbor[NEIGHBOR_PERMANENT] = r->config->neighbors_count;
		t->step = KERNEL_S_ROUTES;
		t->from = 0;
		loop_after(&r->loop, &t->timer, 1, go_on, r);
	}
	return t->taken ? &t->last : NULL;
}

void census_close(struct router *r)
{
	loop_cancel(&r->loop, &r->census.timer);
}
