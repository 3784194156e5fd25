/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NICs raise P2PNIC_VECTOR_EVENT when a link or a fault of a port changes; the router says so.
 *
 * Each number of a NIC has an eventfd for the router's life: a NIC that comes back is given the
 * same again.
 */
#include "router/events.h"
#include "router/port_state.h"
#include "router/router.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void events_look(struct router_nic *nic)
{
	const char *name = nic->name;
	struct router *r = nic->router;
	uint32_t magic, speed_mbps = 0;
	struct port_state now;

	if (!nic->driver.device || port_state_read(&nic->driver, &now))
		return; /* it is asked again when it says something, or answers again */
	const bool turned = now.link != nic->port.link;

	if (!turned && !strcmp(now.fault, nic->port.fault))
		return;
	/* What is out of reach reads as a port without a link (device_ask). */
	if (driver_nic_read(&nic->driver, P2PNIC_REG_MAGIC, &magic) || magic != P2PNIC_MAGIC)
		return;
	if (turned && now.link && driver_nic_read(&nic->driver, P2PNIC_REG_SPEED, &speed_mbps))
		return;
	if (speed_mbps)
		router_say(r, LOG_PORT_CHANGED "nic %s: link up, %u Mb/s", name, speed_mbps);
	else if (turned)
		router_say(r, LOG_PORT_CHANGED "nic %s: link %s%s%s", name,
			now.link ? "up" : "down", *now.fault ? ": " : "", now.fault);
	else
		router_say(r, LOG_PORT_CHANGED "nic %s: %s%s", name,
			*now.fault ? "port: " : "port recovered", now.fault);
	nic->port = now;
	host_face_wake(nic);
	watch_look(r);
}

static void on_event(void *context, uint32_t events)
{
	struct router_nic *nic = context;
	eventfd_t count;

	/* Before looking: what changes meanwhile is another event. */
	eventfd_read(nic->event, &count);
	events_look(nic);
}

void events_poll(struct router *r)
{
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct router_nic *nic = &r->nic[k];

		if (nic_answers(nic) && !nic->device->vectors)
			events_look(nic);
	}
}

int events_open(struct router_nic *nic)
{
	struct router *r = nic->router;
	int error;

	if (nic->event >= 0)
		return 0;
	nic->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = nic->event < 0 ? -errno
			       : loop_watch(&r->loop, &nic->event_watch, nic->event, EPOLLIN,
					 on_event, nic);
	return error ? router_fail(r, error, "events of NICs: %s", strerror(-error)) : 0;
}

void events_close(struct router *r)
{
	for (unsigned k = 0; r->nic && k < r->config->nics_count; k++)
		if (r->nic[k].event >= 0) {
			loop_unwatch(&r->loop, &r->nic[k].event_watch);
			close(r->nic[k].event);
		}
}

int events_watch(struct router_nic *nic)
{
	int error = nic->device->vectors
			    ? device_irqs(nic->device, P2PNIC_VECTOR_EVENT, &nic->event, 1)
			    : 0; /* events_poll */

	if (device_error_passes(error))
		return error;
	if (error)
		router_warn(nic->router, "nic %s: changes of its link will not be told: %s",
			nic->name, strerror(-error));
	/* A link that is up needs no mention, and what changed before the eventfd was there is seen
	 * now. */
	nic->port = (struct port_state){.link = true};
	events_look(nic);
	return error;
}
