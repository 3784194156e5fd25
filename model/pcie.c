/* SPDX-License-Identifier: BSD-3-Clause */
/* Links and switches. What devices do with transfers is in pcie_device.c. */
#include "model/pcie_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- Parameters of a link --------------------------------------------------------------------- */

/* pcie-model (the arithmetic of Neugebauer et al., SIGCOMM 2018, section 3): of the raw rate Acks
 * and flow-control updates take dllp/interval each, SKIP ordered sets skip/skip_interval. */
static uint64_t link_rate(struct parameters *p, unsigned lanes)
{
	char name[32];

	snprintf(name, sizeof(name), "link.dllp_interval_x%u", lanes);
	const uint64_t interval = parameters_get(p, name);
	const uint64_t skips = parameters_get(p, "link.skip_interval");
	const uint64_t taken = 2 * parameters_get(p, "link.dllp") * skips +
			       parameters_get(p, "link.skip") * interval;
	const uint64_t code_total = parameters_get(p, "link.code_total");
	const unsigned __int128 raw = (unsigned __int128)parameters_get(p, "link.lane_rate") *
				      lanes * parameters_get(p, "link.code_data");
	const unsigned __int128 all = (unsigned __int128)interval * skips;

	if (!code_total || taken >= all)
		return 0;
	return (uint64_t)(raw / code_total * (uint64_t)(all - taken) / all);
}

int pcie_link(struct pcie_link *l, struct parameters *p, unsigned lanes, struct error *error)
{
	if (lanes != 4 && lanes != 8 && lanes != 16)
		return error_set(error, -EINVAL, "a link of %u lanes: want 4, 8 or 16", lanes);
	*l = (struct pcie_link){.bit_per_s = link_rate(p, lanes),
		.payload = (uint32_t)parameters_get(p, "link.payload"),
		.request = (uint32_t)parameters_get(p, "link.request"),
		.completion = (uint32_t)parameters_get(p, "link.completion"),
		.write_overhead = (uint32_t)parameters_get(p, "link.write_overhead"),
		.completion_overhead = (uint32_t)parameters_get(p, "link.completion_overhead"),
		.delay = parameters_get(p, "link.delay"),
		.credit_delay = parameters_get(p, "link.credit_delay"),
		.headers = {(uint32_t)parameters_get(p, "link.headers_posted"),
			(uint32_t)parameters_get(p, "link.headers_nonposted"),
			(uint32_t)parameters_get(p, "link.headers_completion")},
		.data = {(uint32_t)parameters_get(p, "link.data_posted"),
			(uint32_t)parameters_get(p, "link.data_nonposted"),
			(uint32_t)parameters_get(p, "link.data_completion")}};
	int code = parameters_missing(p, error);

	if (code)
		return code;
	if (!l->bit_per_s || l->bit_per_s > PS_PER_S)
		return error_set(
			error, -EINVAL, "link of %u lanes: no rate, or beyond 1 Tb/s", lanes);
	const uint32_t sizes[] = {l->payload, l->request, l->completion};
	for (unsigned k = 0; k < 3; k++)
		if (sizes[k] < 64 || sizes[k] > 4096)
			return error_set(error, -EINVAL,
				"link.payload, request and completion: want 64 to 4096 bytes");
	if (l->write_overhead > 4096 || l->completion_overhead > 4096)
		return error_set(error, -EINVAL, "link: overhead beyond 4096 bytes");
	if (l->data[TLP_POSTED] * CREDIT_UNIT < l->payload ||
		l->data[TLP_COMPLETION] * CREDIT_UNIT < l->completion || !l->headers[TLP_POSTED] ||
		!l->headers[TLP_NON_POSTED] || !l->headers[TLP_COMPLETION])
		return error_set(error, -EINVAL, "link: fewer credits than one TLP takes");
	return 0;
}

/* --- Nodes ------------------------------------------------------------------------------------ */

struct fabric *fabric_new(struct sim *s)
{
	struct fabric *f = sim_memory(calloc(1, sizeof(*f)));

	f->sim = s;
	return f;
}

static struct node *node_new(struct fabric *f, const char *name, struct node *above)
{
	struct node *n = sim_memory(calloc(1, sizeof(*n)));

	*n = (struct node){.next = f->nodes, .fabric = f, .above = above, .ports = 1};
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->writes_end = &n->writes;
	n->reads_end = &n->reads;
	f->nodes = n;
	return n;
}

static struct wire *wire_new(
	struct node *from, struct node *to, unsigned port, const struct pcie_link *link)
{
	struct wire *w = sim_memory(calloc(1, sizeof(*w)));
	char name[SERVER_NAME_BYTES];

	*w = (struct wire){.link = *link, .from = from, .to = to, .port = port};
	for (unsigned c = 0; c < TLP_CLASSES; c++) {
		w->headers[c] = link->headers[c];
		w->data[c] = link->data[c];
		for (unsigned k = 0; k < NODE_PORTS; k++)
			w->queue[k][c].end = &w->queue[k][c].first;
	}
	snprintf(name, sizeof(name), "link %s to %s", from->name, to->name);
	server_init(from->fabric->sim, &w->server, name, 1, 0, 0);
	return w;
}

static struct node *attach(
	struct fabric *f, const char *name, struct node *above, const struct pcie_link *link)
{
	struct node *n;

	if (above && above->ports == NODE_PORTS)
		return NULL;
	n = node_new(f, name, above);
	if (above) {
		n->port_above = above->ports++;
		n->out[0] = wire_new(n, above, n->port_above, link);
		above->out[n->port_above] = wire_new(above, n, 0, link);
	}
	return n;
}

struct node *fabric_switch(struct fabric *f, const char *name, struct node *above,
	const struct pcie_link *link, uint64_t latency, uint64_t pool)
{
	struct node *n = attach(f, name, above, link);

	if (n) {
		n->latency = latency;
		n->pool = pool;
	}
	return n;
}

struct node *fabric_root(struct fabric *f, const char *name, uint64_t latency, uint64_t pool)
{
	return fabric_switch(f, name, NULL, NULL, latency, pool);
}

struct node *fabric_device(struct fabric *f, const char *name, struct node *above,
	const struct pcie_link *link, uint64_t completer, unsigned tags, pcie_take *take,
	void *object)
{
	struct node *n = attach(f, name, above, link);

	if (n) {
		n->device = true;
		n->completer = completer;
		n->tags = tags;
		n->take = take;
		n->object = object;
	}
	return n;
}

void fabric_free(struct fabric *f)
{
	sim_pool_free(&f->tlps);
	sim_pool_free(&f->movements);
	while (f->nodes) {
		struct node *n = f->nodes;

		f->nodes = n->next;
		for (unsigned port = 0; port < n->ports; port++)
			free(n->out[port]);
		free(n);
	}
	free(f);
}

uint64_t fabric_pending(const struct fabric *f)
{
	return f->pending;
}

/* --- Arbitration ------------------------------------------------------------------------------ */

/* Whether the first of a class may go before what else came that way. PCIe Base Specification,
 * 2.4.1: non-posted and completions do not pass posted; posted pass all. */
static bool may_go(const struct wire *w, unsigned port, unsigned class)
{
	const struct tlp *t = w->queue[port][class].first, *posted;

	if (!t || !w->headers[class] || w->data[class] < tlp_data(t))
		return false;
	posted = w->queue[port][TLP_POSTED].first;
	return class == TLP_POSTED || !posted || posted->order > t->order;
}

static void wire_end(struct sim *, void *wire, uint64_t);
static void credits_back(struct sim *, void *wire, uint64_t credits);

/* The port of a node that leads to a device. */
static unsigned port_to(const struct node *n, const struct node *to)
{
	while (to->above && to->above != n)
		to = to->above;
	return to->above ? to->port_above : 0;
}

static void switch_forward(struct sim *s, void *object, uint64_t port)
{
	struct tlp *t = object;
	struct wire *out = t->came->to->out[port_to(t->came->to, t->to)];

	wire_queue(out, (unsigned)port, t);
}

static void give_back(struct sim *s, struct wire *w, uint64_t after, unsigned class, uint32_t data)
{
	sim_after(s, after + w->link.credit_delay, credits_back, w, (uint64_t) class << 32 | data);
}

/* The TLP is on its way at once: when a switch may send it on is known now. Cut-through: its header
 * has come and the latency is over; and a faster wire starts late enough not to run dry. */
static void arrive(struct sim *s, struct wire *w, struct tlp *t, uint64_t ps)
{
	const uint64_t tail = ps + w->link.delay;
	struct node *n = w->to;

	t->came = w;
	t->pooled = false;
	if (n->device) {
		sim_after(s, tail, device_receive, t, 0);
		return;
	}
	const struct wire *out = n->out[port_to(n, t->to)];
	const uint64_t header = sim_transfer(w->link.write_overhead, w->link.bit_per_s);
	const uint64_t next = sim_transfer(tlp_bytes(t, &out->link), out->link.bit_per_s);
	const uint64_t head = w->link.delay + (header < ps ? header : ps);
	const uint64_t dry = tail > next ? tail - next : 0;

	if (n->pool - n->pool_used >= tlp_bytes(t, &w->link)) {
		t->pooled = true;
		n->pool_used += tlp_bytes(t, &w->link);
		give_back(s, w, tail, t->class, tlp_data(t));
	}
	sim_after(s, n->latency + (head > dry ? head : dry), switch_forward, t, w->port);
}

static void send(struct sim *s, struct wire *w, unsigned port, unsigned class)
{
	struct tlp_queue *q = &w->queue[port][class];
	struct tlp *t = q->first;
	const uint64_t ps = sim_transfer(tlp_bytes(t, &w->link), w->link.bit_per_s);

	q->first = t->next;
	if (!q->first)
		q->end = &q->first;
	q->n--;
	w->waiting--;
	w->headers[class]--;
	w->data[class] -= tlp_data(t);
	w->busy = true;
	w->sent.ps = ps;
	w->sent.written = w->from->device && t->last && class == TLP_POSTED ? t->movement : NULL;
	w->sent.came = w->from->device || t->pooled ? NULL : t->came;
	w->sent.class = t->class;
	w->sent.data = tlp_data(t);
	w->sent.pooled = !w->from->device && t->pooled ? tlp_bytes(t, &t->came->link) : 0;
	sim_after(s, ps, wire_end, w, 0);
	arrive(s, w, t, ps);
}

/* Ports take turns, and the classes of a port. */
static void wire_try(struct sim *s, struct wire *w)
{
	const unsigned ports = w->from->device ? 1 : w->from->ports;

	if (w->busy || !w->waiting)
		return;
	for (unsigned k = 0, port = w->input; k < ports;
		k++, port = port + 1 < ports ? port + 1 : 0)
		for (unsigned c = 0; c < TLP_CLASSES; c++) {
			const unsigned class = (w->class[port] + c) % TLP_CLASSES;

			if (!may_go(w, port, class))
				continue;
			w->input = port + 1 < ports ? port + 1 : 0;
			w->class[port] = (class + 1) % TLP_CLASSES;
			send(s, w, port, class);
			return;
		}
}

void wire_queue(struct wire *w, unsigned port, struct tlp *t)
{
	struct tlp_queue *q = &w->queue[port][t->class];

	if (!w->from->device)
		t->order = w->from->fabric->order++;
	t->next = NULL;
	*q->end = t;
	q->end = &t->next;
	q->n++;
	w->waiting++;
	wire_try(w->from->fabric->sim, w);
}

static void credits_back(struct sim *s, void *object, uint64_t credits)
{
	struct wire *w = object;

	w->headers[credits >> 32]++;
	w->data[credits >> 32] += (uint32_t)credits;
	wire_try(s, w);
}

/* The last bit has left: so does the TLP its place. */
static void wire_end(struct sim *s, void *object, uint64_t argument)
{
	struct wire *w = object;

	server_worked(s, &w->server, w->sent.ps);
	w->busy = false;
	w->from->pool_used -= w->sent.pooled;
	if (w->sent.came)
		give_back(s, w->sent.came, 0, w->sent.class, w->sent.data);
	if (w->sent.written)
		device_written(s, w->sent.written);
	if (w->from->device)
		device_fill(w->from);
	wire_try(s, w);
}

void tlp_consumed(struct tlp *t)
{
	give_back(t->to->fabric->sim, t->came, 0, t->class, tlp_data(t));
}
