/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/bus_plan.h"

#include <errno.h>
#include <p2pnic/ring.h>

#define BITS_MAX 32u /* of a slot */
#define BITS_MIN 26u /* so that a mailbox ends before the doorbell */

_Static_assert(sizeof(struct p2pnic_mailbox) <= (1u << BITS_MIN) >> 12, "mailbox");
_Static_assert(DEVICE_PAGE <= (1u << BITS_MIN) >> 12, "doorbell page");

static const unsigned right[] = {
	[BUS_DOORBELL] = 12, [BUS_PACKETS] = 4, [BUS_READ] = 3, [BUS_CAPTURE] = 1};

static struct device_range range_of(const struct device *device, unsigned k)
{
	return device->ranges ? device->range[k] : (struct device_range){0, UINT64_MAX};
}

/* Slots that lie in the range whole: their number, and which is the first. */
static uint64_t slots_of(struct device_range range, unsigned bits, uint64_t *first)
{
	const uint64_t end =
		range.last == UINT64_MAX ? UINT64_MAX >> bits : (range.last + 1) >> bits;

	*first = range.first ? ((range.first - 1) >> bits) + 1 : 1;
	return end > *first ? end - *first : 0;
}

/* 0: none is small enough. */
static unsigned slot_bits(const struct device *device)
{
	for (unsigned bits = BITS_MAX; bits >= BITS_MIN; bits--) {
		uint64_t slots = 0, first;

		for (unsigned k = 0; k < device->ranges || k == 0; k++)
			slots += slots_of(range_of(device, k), bits, &first);
		if (slots >= BUS_PEERS)
			return bits;
	}
	return 0;
}

int bus_plan_check(const struct device *device, uint64_t packets, struct error *error)
{
	const unsigned bits = slot_bits(device);

	if (bits && packets <= (1ull << bits) >> right[BUS_PACKETS])
		return 0;
	if (bits)
		error_set(error, -ENOSPC,
			"%llu KiB of packets do not fit into %llu KiB of bus addresses for each "
			"peer; want fewer ring_slots or rx_buffers, or smaller buffers; its IOMMU "
			"takes",
			(unsigned long long)packets >> 10,
			(1ull << bits >> right[BUS_PACKETS]) >> 10);
	else
		error_set(error, -ENOSPC,
			"no room on the bus for %u peers of %u MiB each; its IOMMU takes",
			P2PNIC_NICS_MAX, (1u << BITS_MIN) >> 20);
	for (unsigned k = 0; k < device->ranges; k++)
		error_set(error, -ENOSPC, "%s%s 0x%llx to 0x%llx", error->text, k ? "," : "",
			(unsigned long long)device->range[k].first,
			(unsigned long long)device->range[k].last);
	return -ENOSPC;
}

struct bus_addr bus_plan_address(const struct device *device, unsigned peer, enum bus_part part)
{
	const unsigned bits = slot_bits(device);
	const uint64_t offset = part == BUS_MAILBOX ? 0 : (1ull << bits) >> right[part];

	for (unsigned k = 0; k < device->ranges || k == 0; k++) {
		uint64_t first;
		const uint64_t slots = slots_of(range_of(device, k), bits, &first);

		if (peer < slots)
			return (struct bus_addr){((first + peer) << bits) + offset};
		peer -= (unsigned)slots;
	}
	return (struct bus_addr){0}; /* no window can be there */
}
