/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/kernel.h"
#include "router/kernel_above.h"
#include "router/kernel_rules.h"
#include "router/router.h"
#include "router/tap_follow.h"

#include "ipc/clock.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

static void on_commit(void *context);
static void on_ask(void *context);
static void on_release(void *context);

static void on_say(void *context, const char *text)
{
	const struct router_kernel *k = context;

	router_warn(k->router, "%s", text);
}

static void on_changed(void *context)
{
	struct router_kernel *k = context;

	if (!k->router->table)
		return;
	if (!k->changed_ns)
		k->changed_ns = clock_now_ns();
	if (!k->commit.fired && !k->stale)
		loop_after(&k->router->loop, &k->commit, KERNEL_COLLECT_MS, on_commit, k);
}

/* --- Links ------------------------------------------------------------------------------------ */

/* The taps' MTUs are the operator's, as far as the NICs' buffers allow. */
static void set_mtus(struct router_kernel *k, const struct config *config, const struct router *r)
{
	k->nics.n = config->nics_count;
	for (unsigned n = 0; n < k->nics.n; n++)
		k->nics.mtu[n] = (uint16_t)tap_mtu_max(r);
}

static bool link_is(struct router_kernel *k, uint32_t ifindex)
{
	const struct kernel_key key = {.kind = KERNEL_LINK, .id = ifindex};

	return ifindex && kernel_state_find(k->reader.state, &key, 0);
}

/* NICs whose link is not there, or was never said: the link of their name. One that was renamed
 * since stays what it is. */
static void find_links(struct router_kernel *k, const struct config *config)
{
	const struct kernel_value *v;
	struct kernel_key key;

	for (unsigned n = 0; n < config->nics_count; n++) {
		size_t from = 0;

		if (!config_nic_used(&config->nics[n]))
			k->nics.ifindex[n] = 0;
		if (!config_nic_used(&config->nics[n]) || link_is(k, k->nics.ifindex[n]))
			continue;
		k->nics.ifindex[n] = 0;
		while ((v = kernel_state_each(k->reader.state, KERNEL_LINK, &from, &key)))
			if (!strcmp(v->link.name, config->nics[n].name))
				k->nics.ifindex[n] = key.id;
	}
}

static void follow_links(struct router_kernel *k)
{
	struct mac_addr station[P2PNIC_STATIONS_MAX + 1];
	struct vlans vlans;

	for (unsigned n = 0; n < k->nics.n; n++) {
		const struct kernel_key key = {.kind = KERNEL_LINK, .id = k->nics.ifindex[n]};
		const struct kernel_value *v =
			key.id ? kernel_state_find(k->reader.state, &key, 0) : NULL;

		if (!v)
			continue;
		kernel_above_vlans(&k->routes.ways, n, &vlans);
		tap_follow(k->router, n, &v->link, station,
			kernel_above_stations(&k->routes.ways, n, station), &vlans);
	}
}

/* What NICs leave to the kernel, as it appears. */
static void say_unable(struct router_kernel *k)
{
	const struct kernel_unable now = kernel_unable_count(&k->routes.ways);

	if (now.enslaved > k->unable.enslaved)
		router_warn(k->router,
			"tap %s is part of a bridge, bond or VRF: NICs do not forward to it; what "
			"its "
			"routes lead to is punted, and the kernel forwards it, slowly",
			now.tap);
	if (now.vlans > k->unable.vlans)
		router_warn(k->router,
			"interface %s is a VLAN above a NIC's tap, and of 802.1ad, of another "
			"VLAN or macvlan, or part of a bridge, bond or VRF: NICs do not forward to "
			"it; what its routes lead to is punted, and the kernel forwards it, slowly",
			now.vlan);
	if ((k->routes.encapsulated || now.objects) && !k->encapsulation_said) {
		router_warn(k->router, "routes with an encapsulation (MPLS, SRv6, tunnel keys): "
				       "NICs punt what they "
				       "lead to, and the kernel forwards it, slowly");
		k->encapsulation_said = true;
	}
	k->unable = now;
}

/* --- Commits ---------------------------------------------------------------------------------- */

/* Those that a change can be written to; the others get the table when they answer. */
static struct table_nics reachable(struct router *r)
{
	struct table_nics nics = {.n = 0};

	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct driver_nic *n = &r->nic[k].driver;

		if (nic_answers(&r->nic[k]))
			nics.nic[nics.n++] = n;
		else if (n->device)
			table_fall_behind(r->table, n);
	}
	return nics;
}

/* The queue is in order: when all that waited at the mark is done, what waits is younger. */
static void note_done(struct router_kernel *k, const struct table_report *report, size_t taken)
{
	const size_t waiting = kernel_state_changes(k->reader.state);

	if (report->failed)
		nics_mend(k->router);
	k->lag_ns = k->changed_ns ? clock_now_ns() - k->changed_ns : 0;
	if (k->changed_ns)
		histogram_add(&k->router->lag_times, k->lag_ns);
	if (k->lag_ns > k->lag_most_ns)
		k->lag_most_ns = k->lag_ns;
	if (!waiting) {
		k->changed_ns = 0;
		k->marked = 0;
	} else if (taken >= k->marked) {
		k->changed_ns = k->marked ? k->mark_ns : k->changed_ns;
		k->mark_ns = clock_now_ns();
		k->marked = waiting;
	} else {
		k->marked -= taken;
	}
	say_unable(k);
	if (!k->ask.fired)
		loop_after(&k->router->loop, &k->ask, KERNEL_ASK_MS, on_ask, k);
	if (k->routes.failures && !k->release.fired)
		loop_after(&k->router->loop, &k->release, KERNEL_RELEASE_MS, on_release, k);
}

static void on_make(void *context);

static void make_later(struct router_kernel *k)
{
	k->stale = true;
	loop_after(&k->router->loop, &k->make, k->make_ms, on_make, k);
	k->make_ms = !k->make_ms                           ? KERNEL_MAKE_MS
		     : k->make_ms * 2 > KERNEL_MAKE_MAX_MS ? KERNEL_MAKE_MAX_MS
							   : k->make_ms * 2;
}

static void on_make(void *context)
{
	struct router_kernel *k = context;
	struct router *r = k->router;
	struct table_nics nics = reachable(r);
	char text[TABLE_REPORT_BYTES];
	struct table_report report;
	struct error error;

	if (kernel_make(r, r->config, &r->table, &nics, &report, &error)) {
		router_warn(r,
			"the kernel's routes: %s; NICs forward by what they have, tried again in "
			"%u s",
			error.text, k->make_ms / 1000);
		make_later(k);
		return;
	}
	router_say(r, "table: made anew from the kernel: %s", table_report_text(&report, text));
	k->stale = false;
	note_done(k, &report, SIZE_MAX);
}

static void on_ask(void *context)
{
	struct router_kernel *k = context;

	kernel_prod_gateways(&k->prod, &k->routes.ways, k->router->table, false);
}

static void on_release(void *context)
{
	struct router_kernel *k = context;

	if (!k->stale && !k->commit.fired)
		on_commit(k);
}

static void on_commit(void *context)
{
	struct router_kernel *k = context;
	struct router *r = k->router;
	const uint64_t start = clock_now_ns();
	const size_t before = kernel_state_changes(k->reader.state);
	struct table_nics nics = reachable(r);
	struct table_report report;
	struct error error;
	uint64_t held_ns;
	int result;

	find_links(k, r->config);
	result = kernel_routes_apply(&k->routes, r->table, &nics, &report, &error);
	if (result) {
		if (result != -ENOSPC && result != -EAGAIN)
			router_warn(r, "the kernel's routes: %s", error.text);
		make_later(k);
		return;
	}
	if (k->routes.links)
		follow_links(k);
	note_done(k, &report, before - kernel_state_changes(k->reader.state));
	if (start - k->made_ns > KERNEL_MAKE_MAX_MS * 1000000ull)
		k->make_ms = 0;
	held_ns = clock_now_ns() - start;
	if (held_ns > k->held_most_ns)
		k->held_most_ns = held_ns;
	/* After all else that waits in the loop: the reader, which must not fall behind. */
	if (kernel_state_changes(k->reader.state))
		loop_after(&r->loop, &k->commit, 0, on_commit, k);
}

bool kernel_commit(struct router *r)
{
	struct router_kernel *k = r->kernel;

	if (!k->stale && kernel_state_changes(k->reader.state)) {
		loop_cancel(&r->loop, &k->commit);
		on_commit(k);
	}
	return !k->stale && !kernel_state_changes(k->reader.state);
}

void kernel_make_anew(struct router *r)
{
	if (!r->kernel->stale)
		make_later(r->kernel);
}

int kernel_make(struct router *r, const struct config *config, struct table **table,
	const struct table_nics *nics, struct table_report *report, struct error *error)
{
	struct router_kernel *k = r->kernel;
	int result;

	set_mtus(k, config, r);
	find_links(k, config);
	result = kernel_routes_make(&k->routes, table, table_kind(config), nics, report, error);
	follow_links(k);
	k->made_ns = clock_now_ns();
	return result;
}

void kernel_set_link(struct router *r, unsigned nic, uint32_t ifindex)
{
	r->kernel->nics.ifindex[nic] = ifindex;
}

/* --- Now and then ------------------------------------------------------------------------ */

static void look_at_rules(struct router_kernel *k)
{
	const int rules = kernel_rules_others(&k->router->netns, NULL, NULL);

	if (rules < 0 || rules == k->rules)
		return;
	if (rules > k->rules)
		router_warn(k->router,
			"%d routing rules (ip rule) besides the kernel's own: NICs do not look at "
			"them, and forward by the tables main, local and default",
			rules);
	k->rules = rules;
}

static void on_look(void *context)
{
	struct router_kernel *k = context;
	struct router *r = k->router;
	struct table_nics nics;

	loop_after(&r->loop, &k->look, KERNEL_PROD_MS, on_look, k);
	look_at_rules(k);
	if (!r->table)
		return;
	nics = reachable(r);
	kernel_prod(&k->prod, &k->routes.ways, r->table, &nics);
	kernel_prod_gateways(&k->prod, &k->routes.ways, r->table, true);
}

/* --- Acknowledgements ------------------------------------------------------------------------- */

static enum fpm_fate settle_fpm(void *context)
{
	struct router_kernel *k = context;
	struct router *r = k->router;

	if (!r->table || !kernel_reader_drain(&k->reader))
		return FPM_ABSENT;
	if (!kernel_commit(r))
		return k->stale && k->make_ms > KERNEL_MAKE_MS ? FPM_FAILED : FPM_ABSENT;
	/* One that hangs forwards by an old table. */
	for (unsigned n = 0; n < r->config->nics_count; n++)
		if (r->nic[n].state == NIC_FORWARDING &&
			!(nic_answers(&r->nic[n]) && table_in_step(r->table, &r->nic[n].driver)))
			return FPM_ABSENT;
	return FPM_OFFLOADED;
}

static enum fpm_fate fate_of(void *context, const struct fpm_route *route)
{
	struct router_kernel *k = context;
	const struct kernel_value *v;
	const uint32_t table = route->table ? route->table : RT_TABLE_MAIN; /* as in the kernel */
	struct kernel_key key;
	uint32_t from = 0;

	while ((v = kernel_state_route(k->reader.state, &route->prefix, &from, &key)))
		if (key.id == table && v->route.protocol == route->protocol)
			return kernel_routes_short_of(&k->routes, k->router->table, &key, v)
				       ? FPM_FAILED
				       : FPM_OFFLOADED;
	return FPM_ABSENT;
}

static int open_fpm(struct router_kernel *k)
{
	struct router *r = k->router;
	const struct fpm_source source = {settle_fpm, fate_of, on_say, k};
	const unsigned port = *r->config->kernel->fpm;

	return port ? fpm_open(&k->fpm, &r->loop, &r->netns, port, &source, &r->error) : 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

bool kernel_settled(const struct router *r)
{
	return !r->kernel || r->kernel->reader.rounds;
}

int kernel_open(struct router *r)
{
	struct router_kernel *k;
	int result;

	if (!r->config->kernel)
		return 0;
	k = calloc(1, sizeof(*k));
	if (!k)
		return router_fail(r, -ENOMEM, "out of memory");
	r->kernel = k;
	k->router = r;
	k->prod.socket = -1;
	k->reader = (struct kernel_reader){.loop = &r->loop, .events = -1, .dump = -1};
	result = kernel_prod_open(&k->prod, &r->netns, &r->error);
	if (!result)
		result = kernel_reader_start(
			&k->reader, &r->loop, &r->netns, on_changed, on_say, k, &r->error);
	if (result)
		return result;
	kernel_routes_open(&k->routes, k->reader.state, &k->nics);
	result = open_fpm(k);
	if (result)
		return result;
	loop_after(&r->loop, &k->look, 0, on_look, k);
	return 0;
}

void kernel_close(struct router *r)
{
	struct router_kernel *k = r->kernel;

	if (!k)
		return;
	loop_cancel(&r->loop, &k->commit);
	loop_cancel(&r->loop, &k->make);
	loop_cancel(&r->loop, &k->look);
	loop_cancel(&r->loop, &k->release);
	loop_cancel(&r->loop, &k->ask);
	fpm_close(k->fpm);
	kernel_routes_close(&k->routes);
	kernel_prod_close(&k->prod);
	kernel_reader_stop(&k->reader);
	free(k);
	r->kernel = NULL;
}
