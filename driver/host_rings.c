/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/host_rings.h"

#include "driver/bus_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX
#define BAR4 VFIO_PCI_BAR4_REGION_INDEX

static uint64_t write_bytes(const struct driver_nic *n, uint32_t slots)
{
	return host_ring_write_bytes(n->method, slots, n->buffer_bytes);
}

static uint64_t read_bytes(const struct driver_nic *n, uint32_t slots)
{
	return host_ring_read_bytes(n->method, slots, n->buffer_bytes);
}

static uint64_t ring_bytes(const struct host_rings *h)
{
	return (uint64_t)h->slots * h->nic->buffer_bytes;
}

static struct bus_addr window(const struct driver_nic *n, enum bus_part part)
{
	return bus_plan_address(n->device, BUS_HOST, part);
}

static struct host_ring_header *header(const struct host_rings *h)
{
	return (struct host_ring_header *)(void *)h->memory;
}

/* --- Arguments -------------------------------------------------------------------------------- */

static int check(struct host_rings *h, struct driver_nic *n, uint32_t slots, uint64_t inject_offset,
	struct error *error)
{
	uint32_t own = 0;
	int result;

	*h = (struct host_rings){
		.nic = n, .inject_offset = inject_offset, .memory_fd = -1, .event = -1};
	result = driver_nic_read(n, P2PNIC_REG_RX_BUFFERS, &own);
	if (result)
		return error_set(error, result, "%s: %s", n->name, device_error(n->device));
	while (n->method == P2PNIC_METHOD_READ && slots > P2PNIC_RING_SLOTS_MIN &&
		P2PNIC_HOST_RINGS * slots > own / 4)
		slots /= 2;
	h->slots = slots;
	h->bytes = HOST_WRITE + write_bytes(n, slots) + read_bytes(n, slots);
	if (slots < P2PNIC_RING_SLOTS_MIN || slots > P2PNIC_RING_SLOTS_MAX || (slots & (slots - 1)))
		return error_set(error, -EINVAL,
			"%s: rings of the host have %u slots; want a power of two, %u to %u",
			n->name, slots, P2PNIC_RING_SLOTS_MIN, P2PNIC_RING_SLOTS_MAX);
	if (n->method == P2PNIC_METHOD_WRITE && inject_offset % DEVICE_PAGE)
		return error_set(error, -EINVAL,
			"%s: buffers of the host at 0x%llx of packet memory cannot be mapped; want "
			"an even number of receive buffers",
			n->name, (unsigned long long)inject_offset);
	if (n->method == P2PNIC_METHOD_WRITE &&
		(inject_offset > n->bar4_bytes ||
			P2PNIC_HOST_RINGS * ring_bytes(h) > n->bar4_bytes - inject_offset))
		return error_set(error, -ENOSPC,
			"%s: packet memory of %u KiB has no room for the host's rings at 0x%llx",
			n->name, n->bar4_bytes >> 10, (unsigned long long)inject_offset);
	if (n->device->physical)
		return error_set(error, -ENOTSUP,
			"%s: without an IOMMU it reaches no memory of the host: nothing is punted",
			n->name);
	result = bus_plan_check(n->device, write_bytes(n, slots), error);
	return result ? error_set(error, result, "%s: host's rings: %s", n->name, error->text) : 0;
}

/* --- Memory ----------------------------------------------------------------------------------- */

void host_rings_leave(struct host_rings *h)
{
	if (h->memory)
		munmap(h->memory, h->bytes);
	if (h->memory_fd >= 0)
		close(h->memory_fd);
	if (h->event >= 0)
		close(h->event);
	*h = (struct host_rings){.memory_fd = -1, .event = -1};
}

/* Sealed: neither a NIC nor who serves the rings can be cut short (device_map_memory). */
static int make_memory(struct host_rings *h, struct error *error)
{
	void *memory = MAP_FAILED;

	h->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->memory_fd = memfd_create("p2pnic-host", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (h->event >= 0 && h->memory_fd >= 0 && ftruncate(h->memory_fd, (off_t)h->bytes) == 0 &&
		fcntl(h->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		memory = mmap(NULL, h->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h->memory_fd, 0);
	if (memory == MAP_FAILED)
		return error_set(error, -errno, "%s: memory of the host's rings: %s", h->nic->name,
			strerror(errno));
	h->memory = memory;
	return 0;
}

/* Of an earlier driver: is it of rings like these? */
static int map_kept(struct host_rings *h, int fd)
{
	const uint64_t want = h->bytes;
	struct stat info;
	void *memory;

	if (fstat(fd, &info) || info.st_size < (off_t)sizeof(struct host_ring_header))
		return -ENOENT;
	memory = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	h->memory = memory;
	h->bytes = (uint64_t)info.st_size;
	const struct host_ring_header *kept = header(h);

	return h->bytes == want && kept->magic == HOST_RING_MAGIC &&
			       kept->method == h->nic->method && kept->slots == h->slots &&
			       kept->buffer_bytes == h->nic->buffer_bytes
		       ? 0
		       : -ENOENT;
}

/* --- Windows ---------------------------------------------------------------------------------- */

/* A window that is there already was an earlier driver's; *made counts those that were not. */
static int map(struct host_rings *h, int fd, enum bus_part part, uint64_t bytes, uint32_t access,
	uint64_t offset, unsigned *made)
{
	const int result = device_map_memory(h->nic->device, window(h->nic, part), bytes, access,
		h->memory + offset, fd, offset);

	*made += !result;
	return result;
}

static int map_windows(struct host_rings *h, int fd, unsigned *made)
{
	const uint64_t written = write_bytes(h->nic, h->slots), read = read_bytes(h->nic, h->slots);
	int result = map(h, fd, BUS_PACKETS, written, DEVICE_WRITE, HOST_WRITE, made);

	if (read && (!result || result == -EEXIST)) {
		const int other =
			map(h, fd, BUS_READ, read, DEVICE_READ, HOST_WRITE + written, made);

		result = other ? other : result;
	}
	return result;
}

static void unmap_windows(struct driver_nic *n, uint32_t slots)
{
	device_unmap(n->device, window(n, BUS_PACKETS), write_bytes(n, slots));
	if (read_bytes(n, slots))
		device_unmap(n->device, window(n, BUS_READ), read_bytes(n, slots));
}

/* --- Pairs ------------------------------------------------------------------------------------ */

static struct p2pnic_peer plan(const struct host_rings *h, unsigned ring, uint32_t epoch)
{
	const struct driver_nic *n = h->nic;
	const struct bus_addr write = window(n, BUS_PACKETS);
	const uint64_t at = ring * ring_bytes(h);
	struct p2pnic_peer e = {
		.epoch = epoch,
		.batch = P2PNIC_BATCH_DEFAULT,
		.mailbox = bus_addr_add(write, ring * sizeof(struct p2pnic_mailbox)),
		.out_slots = h->slots,
		.in_slots = h->slots,
		.in_buffer_count = h->slots,
	};

	if (n->method != P2PNIC_METHOD_READ) {
		e.out_buffers =
			bus_addr_add(write, P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox) + at);
		e.out_buffer_count = h->slots;
	}
	if (n->method != P2PNIC_METHOD_WRITE)
		e.in_buffers = bus_addr_add(window(n, BUS_READ), at);
	else
		e.in_offset = (uint32_t)(h->inject_offset + at);
	return e;
}

/* Those of this driver or an earlier one. What the NIC answers does not matter, if it does: a
 * failure means that the ring was not open. Rd: the second command gives back what was lent. */
static int close_pairs(struct driver_nic *n)
{
	struct p2pnic_peer *entry = &driver_nic_peers(n)[P2PNIC_HOST_PEER(0)];

	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++) {
		entry[ring].flags = P2PNIC_PEER_CLOSED;
		for (unsigned k = 0; k < 1 + (n->method == P2PNIC_METHOD_READ); k++) {
			const int result =
				driver_nic_command(n, P2PNIC_OP_PEER_CLOSE, P2PNIC_HOST_PEER(ring));

			if (result < 0)
				return result;
		}
	}
	return 0;
}

/* Who serves them finds out. */
static void mark_closed(struct host_rings *h, int event)
{
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
		atomic_store_explicit(&header(h)->epoch[ring], 0, memory_order_release);
	eventfd_write(event, 1);
}

/* Both sides are closed: tags and words of earlier lives must not be taken for news. */
static int open_pairs(struct host_rings *h, struct error *error)
{
	struct driver_nic *n = h->nic;

	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++) {
		const unsigned peer = P2PNIC_HOST_PEER(ring);
		struct p2pnic_peer *entry = &driver_nic_peers(n)[peer];
		const uint32_t epoch = entry->epoch == UINT32_MAX ? 1 : entry->epoch + 1;

		memset(driver_nic_mailbox(n, peer), 0, sizeof(struct p2pnic_mailbox));
		*entry = plan(h, ring, epoch);
		const int result = driver_nic_command(n, P2PNIC_OP_PEER_OPEN, peer);
		if (result != P2PNIC_OK)
			return error_set(error,
				result < 0                   ? result
				: result == P2PNIC_BAD_STATE ? -EAGAIN
							     : -EIO,
				"%s, host's ring %u: open: %s", n->name, ring,
				driver_nic_result(result));
		atomic_store_explicit(&header(h)->epoch[ring], epoch, memory_order_release);
	}
	return 0;
}

static int set_irqs(struct host_rings *h, int fd, struct error *error)
{
	int fds[P2PNIC_HOST_RINGS];

	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++)
		fds[k] = fd;
	const int result =
		device_irqs(h->nic->device, P2PNIC_VECTOR_HOST_RING(0), fds, P2PNIC_HOST_RINGS);
	return result ? error_set(
				error, result, "%s: %s", h->nic->name, device_error(h->nic->device))
		      : 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

int host_rings_open(struct host_rings *h, struct driver_nic *n, uint32_t slots,
	uint64_t inject_offset, struct error *error)
{
	unsigned made = 0;
	int result = check(h, n, slots, inject_offset, error);

	if (!result)
		result = make_memory(h, error);
	if (result)
		goto fail;
	*header(h) = (struct host_ring_header){.magic = HOST_RING_MAGIC,
		.method = n->method,
		.slots = h->slots,
		.buffer_bytes = n->buffer_bytes};
	/* Windows of an earlier driver have the size that its entries tell. */
	result = close_pairs(n);
	if (!result && n->adopted)
		unmap_windows(n, driver_nic_peers(n)[P2PNIC_HOST_PEER(0)].out_slots);
	if (!result)
		result = map_windows(h, h->memory_fd, &made);
	if (result)
		error_set(error, result, "%s, host's rings: %s", n->name, device_error(n->device));
	if (!result)
		result = set_irqs(h, h->event, error);
	if (!result)
		result = open_pairs(h, error);
	if (!result)
		return 0;
	close_pairs(n);
	unmap_windows(n, h->slots);
fail:
	host_rings_leave(h);
	return result;
}

/* 1: all is as this driver would make it; 0: it is not. */
static int in_place(struct host_rings *h, int fd)
{
	struct driver_nic *n = h->nic;
	unsigned made = 0;
	int result;

	if (!n->adopted)
		return 0;
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++) {
		const uint32_t epoch = header(h)->epoch[ring];
		const struct p2pnic_peer want = plan(h, ring, epoch);

		if (!epoch || memcmp(&driver_nic_peers(n)[P2PNIC_HOST_PEER(ring)], &want,
				      sizeof(want)) != 0)
			return 0;
	}
	result = map_windows(h, fd, &made);
	if (result != -EEXIST || made)
		return result == -EEXIST || result == 0 ? 0 : result;
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++) {
		/* Open, as expected: the command changes nothing. */
		result = driver_nic_command(n, P2PNIC_OP_PEER_OPEN, P2PNIC_HOST_PEER(ring));
		if (result != P2PNIC_BAD_STATE)
			return result < 0 ? result : 0;
	}
	return 1;
}

int host_rings_adopt(struct host_rings *h, struct driver_nic *n, uint32_t slots,
	uint64_t inject_offset, int memory_fd, int event, struct error *error)
{
	int result = check(h, n, slots, inject_offset, error);

	if (result)
		goto fail;
	result = map_kept(h, memory_fd);
	if (!result)
		result = in_place(h, memory_fd);
	if (result == 1) {
		result = set_irqs(h, event, error);
		if (result)
			goto fail;
		eventfd_write(event, 1);
		h->memory_fd = memory_fd;
		h->event = event;
		return 0;
	}
	if (!result)
		result = -ENOENT;
	if (result == -ENOENT && h->memory)
		mark_closed(h, event);
	error_set(error, result, "%s: the host's rings of an earlier driver %s", n->name,
		result == -ENOENT ? "are not in place" : device_error(n->device));
fail:
	host_rings_leave(h);
	return result;
}

void host_rings_close(struct host_rings *h)
{
	struct error ignored;

	if (!h->nic)
		return;
	mark_closed(h, h->event);
	if (driver_nic_answers(h->nic)) {
		close_pairs(h->nic);
		unmap_windows(h->nic, h->slots);
		set_irqs(h, -1, &ignored);
	}
	host_rings_leave(h);
}

/* --- Handing out ------------------------------------------------------------------------------ */

static struct host_share region_share(
	const struct driver_nic *n, unsigned region, uint64_t offset, uint64_t bytes, bool write)
{
	const struct device_region *r = &n->device->region[region];

	return (struct host_share){
		.fd = r->fd, .write = write, .offset = r->fd_offset + offset, .bytes = bytes};
}

void host_rings_share(const struct host_rings *h, struct host_share share[HOST_PARTS])
{
	const struct driver_nic *n = h->nic;
	const int doorbell = device_doorbell_fd(n->device, BAR0, P2PNIC_BAR0_DOORBELL);

	share[HOST_MEMORY] =
		(struct host_share){.fd = h->memory_fd, .write = true, .bytes = h->bytes};
	share[HOST_MAILBOXES] = region_share(n, BAR2,
		P2PNIC_BAR2_MAILBOXES + P2PNIC_HOST_PEER(0) * sizeof(struct p2pnic_mailbox),
		P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox), true);
	share[HOST_PACKETS] = (struct host_share){.fd = -1};
	if (n->method == P2PNIC_METHOD_WRITE)
		share[HOST_PACKETS] = region_share(
			n, BAR4, h->inject_offset, P2PNIC_HOST_RINGS * ring_bytes(h), true);
	else if (n->method == P2PNIC_METHOD_READ)
		share[HOST_PACKETS] = region_share(n, BAR4, 0, n->bar4_bytes, false);
	share[HOST_DOORBELL] = (struct host_share){.fd = doorbell};
	if (doorbell < 0)
		share[HOST_DOORBELL] =
			region_share(n, BAR0, P2PNIC_BAR0_DOORBELL, DEVICE_PAGE, true);
	share[HOST_EVENT] = (struct host_share){.fd = h->event};
}
