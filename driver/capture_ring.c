/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/capture_ring.h"

#include "driver/bus_plan.h"

#include <errno.h>

#define VERSION_MINOR 4u

static struct p2pnic_capture *entry(const struct driver_nic *n)
{
	return (struct p2pnic_capture *)(void *)(n->bar2 + P2PNIC_BAR2_CAPTURE);
}

static bool is_able(const struct driver_nic *n)
{
	return (n->version & 0xffff) >= VERSION_MINOR;
}

uint64_t capture_ring_bytes(uint32_t slots, uint32_t snap)
{
	const uint64_t bytes = (uint64_t)slots * P2PNIC_CAPTURE_SLOT_BYTES(snap);

	return (bytes + DEVICE_PAGE - 1) / DEVICE_PAGE * DEVICE_PAGE;
}

static struct bus_addr window(const struct driver_nic *n)
{
	return bus_plan_address(n->device, BUS_HOST, BUS_CAPTURE);
}

void capture_ring_close(struct driver_nic *n)
{
	struct p2pnic_capture *c = is_able(n) ? entry(n) : NULL;

	if (!c || !c->points)
		return;
	c->points = 0;
	driver_nic_command(n, P2PNIC_OP_CAPTURE, 0);
	device_unmap(n->device, window(n), capture_ring_bytes(c->slots, c->snap));
}

int capture_ring_points(struct driver_nic *n, unsigned points, struct error *error)
{
	int result;

	entry(n)->points = points;
	result = driver_nic_command(n, P2PNIC_OP_CAPTURE, 0);
	if (result == P2PNIC_OK)
		return 0;
	capture_ring_close(n);
	return error_set(error, result < 0 ? result : -EINVAL, "%s: capture: %s", n->name,
		driver_nic_result(result));
}

int capture_ring_open(struct driver_nic *n, const struct p2pnic_capture *want, void *memory, int fd,
	uint64_t offset, struct error *error)
{
	const uint64_t bytes = capture_ring_bytes(want->slots, want->snap);
	int result;

	if (!is_able(n))
		return error_set(error, -ENOTSUP,
			"%s: a NIC of contract %u.%u captures nothing; 2.%u does", n->name,
			n->version >> 16, n->version & 0xffff, VERSION_MINOR);
	if (n->device->physical)
		return error_set(error, -ENOTSUP,
			"%s: without an IOMMU it reaches no memory of the host: nothing is "
			"captured",
			n->name);
	capture_ring_close(n);
	result = bus_plan_check(n->device, 0, error);
	if (result)
		return result;
	result = device_map_memory(n->device, window(n), bytes, DEVICE_WRITE, memory, fd, offset);
	if (result)
		return error_set(error, result, "%s: %s", n->name, device_error(n->device));
	*entry(n) = *want;
	entry(n)->ring = window(n);
	return capture_ring_points(n, want->points, error);
}
