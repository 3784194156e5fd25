/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NICs raise P2PNIC_VECTOR_EVENT when a link or a fault of a port changes; the router says so.
 *
 * Each NIC has an eventfd for the router's life: a NIC that comes back is given the same again. An epoll
 * descriptor stands for them all in the router's loop.
 */
#include "router/port_state.h"
#include "router/router.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void look(struct router *r, unsigned index)
{
	struct router_nic *nic = &r->nic[index];
	const char *name = r->config->nics[index].name;
	struct port_state now;

	if (!nic->driver.device || port_state_read(&nic->driver, &now))
		return; /* it is asked again when it says something, or comes back */
	if (now.link != nic->port.link && now.speed_mbps && now.link)
		router_say(r, "nic %s: link up, %u Mb/s", name, now.speed_mbps);
	else if (now.link != nic->port.link)
		router_say(r, "nic %s: link %s%s%s", name, now.link ? "up" : "down",
			*now.fault ? ": " : "", now.fault);
	else if (strcmp(now.fault, nic->port.fault) != 0)
		router_say(r, "nic %s: port: %s", name, *now.fault ? now.fault : "well again");
	nic->port = now;
}

void router_open_events(struct router *r)
{
	r->events = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = k};

		r->nic[k].event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		epoll_ctl(r->events, EPOLL_CTL_ADD, r->nic[k].event, &event);
	}
}

void router_close_events(struct router *r)
{
	if (r->events < 0)
		return;
	for (unsigned k = 0; k < r->config->nics_count; k++)
		close(r->nic[k].event);
	close(r->events);
	r->events = -1;
}

void router_watch(struct router *r, unsigned index)
{
	struct router_nic *nic = &r->nic[index];
	int error =
		device_irqs(nic->driver.device, P2PNIC_VECTOR_EVENT, &nic->event, nic->event >= 0);

	if (error)
		router_say(r, "nic %s: changes of its link will not be told: %s",
			r->config->nics[index].name, strerror(-error));
	/* A link that is up needs no mention, and what changed before the eventfd was there is seen now. */
	nic->port = (struct port_state){.link = true};
	look(r, index);
}

void router_events(struct router *r)
{
	struct epoll_event event[16];
	int n = epoll_wait(r->events, event, 16, 0);

	for (int k = 0; k < n; k++) {
		eventfd_t count;

		/* Before looking: what changes meanwhile is another event. */
		eventfd_read(r->nic[event[k].data.u32].event, &count);
		look(r, event[k].data.u32);
	}
}
