/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/fabric.h"

#include "driver/bus_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BAR0 VFIO_PCI_BAR0_REGION_INDEX
#define BAR2 VFIO_PCI_BAR2_REGION_INDEX
#define BAR4 VFIO_PCI_BAR4_REGION_INDEX

/* What one NIC reaches of another. */
struct window {
	unsigned region;
	uint64_t offset, bytes;
	uint32_t access;
	struct bus_addr bus;
};

static uint64_t rx_bytes(const struct fabric *f)
{
	return (uint64_t)f->rx_buffers * f->buffer_bytes;
}

static uint64_t ring_bytes(const struct fabric *f)
{
	return (uint64_t)f->ring_slots * f->buffer_bytes;
}

uint64_t fabric_host_buffers(const struct fabric *f)
{
	return rx_bytes(f);
}

/* bar_offset in a NIC's BAR4 of the buffers that ingress NIC `from` fills. */
static uint64_t ring_buffers(const struct fabric *f, unsigned from)
{
	return rx_bytes(f) + (uint64_t)P2PNIC_HOST_RINGS * f->host_slots * f->buffer_bytes +
	       from * ring_bytes(f);
}

uint64_t fabric_packet_memory(const struct fabric *f, unsigned nics)
{
	return f->method == P2PNIC_METHOD_WRITE ? ring_buffers(f, nics) : rx_bytes(f);
}

static int fail(struct error *error, const struct driver_nic *n, const struct driver_nic *peer,
	const char *what, int result)
{
	return error_set(error, result < 0 ? result : -EIO, "%s, peer %s: %s: %s", n->name,
		peer->name, what, driver_nic_result(result));
}

/* The contract's version from which on a NIC of method Wr can lend. */
#define LENDS_VERSION 0x00020005u

static struct window window_of(const struct fabric *f, const struct driver_nic *n,
	const struct driver_nic *peer, enum bus_part part)
{
	struct window w = {.access = DEVICE_WRITE};

	if (part == BUS_MAILBOX) {
		w.region = BAR2;
		w.offset = P2PNIC_BAR2_MAILBOXES + n->index * sizeof(struct p2pnic_mailbox);
		w.bytes = sizeof(struct p2pnic_mailbox);
	} else if (part == BUS_DOORBELL) {
		w.region = BAR0;
		w.offset = P2PNIC_BAR0_DOORBELL;
		w.bytes = DEVICE_PAGE;
	} else if (f->method == P2PNIC_METHOD_WRITE && part == BUS_PACKETS) {
		w.region = BAR4;
		w.offset = ring_buffers(f, n->index);
		w.bytes = ring_bytes(f);
	} else {
		w.region = BAR4;
		w.bytes = rx_bytes(f);
		w.access = DEVICE_READ;
	}
	if (n->device->physical)
		w.bus.value = peer->device->region[w.region].bus + w.offset;
	else
		w.bus = bus_plan_address(n->device, peer->index, part);
	return w;
}

/* A window that is there already is one of an earlier driver, or is always there; *made counts
 * those that were not. */
static int map(const struct fabric *f, struct driver_nic *n, struct driver_nic *peer,
	enum bus_part part, unsigned *made)
{
	const struct window w = window_of(f, n, peer, part);
	int result = device_map_peer(
		n->device, w.bus, w.bytes, w.access, peer->device, w.region, w.offset);

	if (!result && !n->device->physical)
		++*made;
	return result == -EEXIST && n->adopted ? 0 : result;
}

/* Hy: both know how; else the pair is one of Wr. */
static bool lends(const struct fabric *f, const struct driver_nic *n, const struct driver_nic *peer)
{
	return f->lend_from && n->version >= LENDS_VERSION && peer->version >= LENDS_VERSION;
}

/* What n may reach of peer. */
static int map_windows(
	const struct fabric *f, struct driver_nic *n, struct driver_nic *peer, unsigned *made)
{
	int result;

	if (f->method == P2PNIC_METHOD_BOUNCE)
		return bounce_map(f->bounce, n, peer->index,
			bus_plan_address(n->device, peer->index, BUS_MAILBOX),
			bus_plan_address(n->device, peer->index, BUS_DOORBELL),
			bus_plan_address(n->device, peer->index, BUS_PACKETS),
			bus_plan_address(n->device, peer->index, BUS_READ));
	result = map(f, n, peer, BUS_MAILBOX, made);
	if (!result)
		result = map(f, n, peer, BUS_DOORBELL, made);
	if (!result)
		result = map(f, n, peer, BUS_PACKETS, made);
	if (!result && lends(f, n, peer))
		result = map(f, n, peer, BUS_READ, made);
	return result;
}

static void unmap(struct driver_nic *n, unsigned peer, enum bus_part part, uint64_t bytes)
{
	device_unmap(n->device, bus_plan_address(n->device, peer, part), bytes);
}

/* Those of an earlier driver with other settings have the sizes that its entry in the peer table
 * tells. */
static void unmap_windows(const struct fabric *f, struct driver_nic *n, unsigned peer)
{
	const struct p2pnic_peer *entry = &driver_nic_peers(n)[peer];
	uint64_t bytes = (f->method == P2PNIC_METHOD_READ ? entry->in_buffer_count
							  : entry->out_buffer_count) *
			 (uint64_t)f->buffer_bytes;

	unmap(n, peer, BUS_MAILBOX, sizeof(struct p2pnic_mailbox));
	unmap(n, peer, BUS_DOORBELL, DEVICE_PAGE);
	unmap(n, peer, BUS_PACKETS, bytes);
	if (f->method == P2PNIC_METHOD_BOUNCE)
		unmap(n, peer, BUS_READ, bytes);
	if (entry->lent_buffers.value)
		unmap(n, peer, BUS_READ, entry->lent_buffer_count * (uint64_t)f->buffer_bytes);
}

static struct p2pnic_peer plan(const struct fabric *f, const struct driver_nic *n,
	const struct driver_nic *peer, uint32_t epoch)
{
	const struct bus_addr packets = window_of(f, n, peer, BUS_PACKETS).bus;
	struct p2pnic_peer e = {
		.epoch = epoch,
		.batch = f->batch,
		.mailbox = window_of(f, n, peer, BUS_MAILBOX).bus,
		.doorbell = window_of(f, n, peer, BUS_DOORBELL).bus,
		.out_slots = f->ring_slots,
		.in_slots = f->ring_slots,
		.flags = P2PNIC_PEER_CHECK(f->check),
	};

	if (f->method == P2PNIC_METHOD_WRITE) {
		e.out_buffers = packets;
		e.out_buffer_count = f->ring_slots;
		e.in_offset = (uint32_t)ring_buffers(f, peer->index);
		e.in_buffer_count = f->ring_slots;
		if (lends(f, n, peer)) {
			e.lent_buffers = window_of(f, n, peer, BUS_READ).bus;
			e.lent_buffer_count = f->rx_buffers;
			e.lend_from = f->lend_from;
		}
	} else if (f->method == P2PNIC_METHOD_READ) {
		e.in_buffers = packets;
		e.in_buffer_count = f->rx_buffers;
	} else {
		e.out_buffers = packets;
		e.out_buffer_count = f->ring_slots;
		e.in_buffers = bus_plan_address(n->device, peer->index, BUS_READ);
		e.in_buffer_count = f->ring_slots;
	}
	return e;
}

static int open_side(const struct fabric *f, struct driver_nic *n, struct driver_nic *peer,
	uint32_t epoch, struct error *error)
{
	unsigned made = 0;
	int result;

	driver_nic_peers(n)[peer->index] = plan(f, n, peer, epoch);
	result = map_windows(f, n, peer, &made);
	if (result)
		return error_set(error, result, "%s: window onto %s: %s", n->name, peer->name,
			device_error(n->device));
	/* Bad state: the port still sends frames of the pair's earlier life. */
	result = driver_nic_command(n, P2PNIC_OP_PEER_OPEN, peer->index);
	return result == P2PNIC_OK ? 0 : fail(error, n, peer, "open", result);
}

/* Has n heard of it? What it answers does not matter: a failure means that the pair was not
 * open. */
static bool close_side(struct fabric *f, struct driver_nic *n, unsigned peer)
{
	/* The mark is for a driver that comes after this one was killed here: not in place any
	 * more. */
	driver_nic_peers(n)[peer].flags = P2PNIC_PEER_CLOSED;
	f->to_close[n->index][peer] = driver_nic_command(n, P2PNIC_OP_PEER_CLOSE, peer) < 0;
	if (!f->to_close[n->index][peer])
		unmap_windows(f, n, peer);
	return !f->to_close[n->index][peer];
}

/* Rd, Hy: the other side is closed, so n may use again what it had lent to it. */
static void free_lent(const struct fabric *f, struct driver_nic *n, unsigned peer)
{
	if (f->method == P2PNIC_METHOD_READ || f->lend_from)
		driver_nic_command(n, P2PNIC_OP_PEER_CLOSE, peer);
}

/* Rd, Hy: the pair is closed, and n's port still sends packets that lie in the peer's memory. */
static bool still_sending(const struct driver_nic *n, unsigned peer)
{
	return driver_nic_count(&n->counters->sending) >> peer & 1;
}

/* -EBUSY: ask again, they are closed, but a port is not done. */
static int close_pair(struct fabric *f, struct driver_nic *a, struct driver_nic *b)
{
	if (still_sending(a, b->index) || still_sending(b, a->index))
		return -EBUSY;
	if (f->method == P2PNIC_METHOD_BOUNCE)
		bounce_close(f->bounce, a->index, b->index);
	/* What one has lent stays lent as long as the other may still read it. */
	if (!close_side(f, a, b->index) || (a != b && !close_side(f, b, a->index)))
		return -ETIMEDOUT;
	if (still_sending(a, b->index) || still_sending(b, a->index))
		return -EBUSY;
	free_lent(f, a, b->index);
	free_lent(f, b, a->index);
	return 0;
}

/* n has given its pair with that peer up. */
static bool given_up(const struct driver_nic *n, unsigned peer)
{
	return driver_nic_count(&n->counters->given_up) >> peer & 1;
}

/* n's side was left by an earlier driver just as this one would make it, and its windows are there
 * still: they go with a connection, and the firmware then closes the pair. 1: yes; 0: no; -errno:
 * not known, which is no reason to touch it. */
static int side_in_place(
	const struct fabric *f, struct driver_nic *n, struct driver_nic *peer, uint32_t epoch)
{
	const struct p2pnic_peer want = plan(f, n, peer, epoch);
	unsigned made = 0;
	int result;

	if (!n->adopted || epoch == 0 || given_up(n, peer->index) ||
		memcmp(&driver_nic_peers(n)[peer->index], &want, sizeof(want)) != 0)
		return 0;
	result = map_windows(f, n, peer, &made);
	if (device_error_passes(result) || result == -ETIMEDOUT)
		return result;
	if (result || made)
		return 0;
	/* Open, as expected; or that driver was killed before its last word, which is said now. */
	result = driver_nic_command(n, P2PNIC_OP_PEER_OPEN, peer->index);
	return result < 0 ? result : result == P2PNIC_BAD_STATE || result == P2PNIC_OK;
}

static int pair_in_place(
	const struct fabric *f, struct driver_nic *a, struct driver_nic *b, uint32_t epoch)
{
	int result = side_in_place(f, a, b, epoch);

	return result == 1 ? side_in_place(f, b, a, epoch) : result;
}

/* Both sides are closed, none is open: no descriptor of this life is there yet, and those of
 * earlier lives must not be taken for one (p2pnic/ring.h). */
static void clear_mailboxes(struct fabric *f, struct driver_nic *a, struct driver_nic *b)
{
	memset(driver_nic_mailbox(a, b->index), 0, sizeof(struct p2pnic_mailbox));
	memset(driver_nic_mailbox(b, a->index), 0, sizeof(struct p2pnic_mailbox));
	if (f->method == P2PNIC_METHOD_BOUNCE)
		bounce_clear(f->bounce, a->index, b->index);
}

static int connect_pair(
	struct fabric *f, struct driver_nic *a, struct driver_nic *b, struct error *error)
{
	uint32_t epoch_a = driver_nic_peers(a)[b->index].epoch;
	uint32_t epoch_b = driver_nic_peers(b)[a->index].epoch;
	uint32_t epoch = epoch_a > epoch_b ? epoch_a : epoch_b;
	int result;

	if (!driver_nic_answers(a) || !driver_nic_answers(b))
		return error_set(error, -ETIMEDOUT, "%s does not answer",
			driver_nic_answers(a) ? b->name : a->name);
	/* Rings in place stay as they are. Everything else begins anew, with an epoch of its own: a
	 * ring that began again under its old one would take the words of its earlier life for
	 * news. Bn too, whose host memory went with the driver before. */
	result = f->method == P2PNIC_METHOD_BOUNCE ? 0 : pair_in_place(f, a, b, epoch);
	if (result)
		return result == 1 ? 0 : fail(error, a, b, "taking over", result);
	result = close_pair(f, a, b);
	if (result)
		return fail(error, a, b, "close", result);
	clear_mailboxes(f, a, b);
	if (++epoch == 0)
		epoch = 1;
	result = open_side(f, a, b, epoch, error);
	if (!result && a != b) {
		result = open_side(f, b, a, epoch, error);
		if (result)
			close_side(
				f, a, b->index); /* it would send into a ring that nobody reads */
	}
	if (!result && f->method == P2PNIC_METHOD_BOUNCE)
		bounce_open(f->bounce, a, b, epoch);
	return result;
}

static int open_pair(
	struct fabric *f, struct driver_nic *a, struct driver_nic *b, struct error *error)
{
	int result = connect_pair(f, a, b, error);

	f->to_open[a->index][b->index] = f->to_open[b->index][a->index] = result != 0;
	return result;
}

int fabric_add(struct fabric *f, struct driver_nic *n, struct error *error)
{
	struct error room;
	int result = 0;

	if (n->method != f->method)
		return error_set(
			error, -EINVAL, "%s: its firmware transfers by another method", n->name);
	if (n->buffer_bytes != f->buffer_bytes)
		return error_set(error, -EINVAL,
			"%s: its packet buffers are of %u bytes, those of this fabric of %u; start "
			"it with --buffer-bytes %u",
			n->name, n->buffer_bytes, f->buffer_bytes, f->buffer_bytes);
	if (f->check && n->version < 0x00020001)
		return error_set(error, -EINVAL,
			"%s: its firmware is of contract %u.%u, which checks no transfers (2.1 "
			"does): "
			"update it, or set check: none",
			n->name, n->version >> 16, n->version & 0xffff);
	if (ring_buffers(f, n->index + 1) > n->bar4_bytes && f->method == P2PNIC_METHOD_WRITE)
		return error_set(error, -ENOSPC,
			"%s: packet memory of %u KiB is too small: %u receive buffers and rings of "
			"%u slots for %u NICs need %llu KiB at %u bytes a buffer",
			n->name, n->bar4_bytes >> 10, f->rx_buffers, f->ring_slots, n->index + 1,
			(unsigned long long)ring_buffers(f, n->index + 1) >> 10, f->buffer_bytes);
	/* What n reads has more room on the bus than what it writes. */
	if (!n->device->physical &&
		bus_plan_check(n->device,
			f->method == P2PNIC_METHOD_READ ||
					(f->lend_from && rx_bytes(f) > ring_bytes(f))
				? rx_bytes(f)
				: ring_bytes(f),
			&room))
		return error_set(error, -ENOSPC, "%s: %s", n->name, room.text);
	/* Running with buffers laid out otherwise: those of its peers would lie upon them. */
	if (n->adopted) {
		uint32_t buffers;

		result = driver_nic_read(n, P2PNIC_REG_RX_BUFFERS, &buffers);
		if (!result && buffers != f->rx_buffers) {
			result = driver_nic_reset(n, error);
			if (result)
				return result;
		}
	}
	if (!result && !n->adopted) {
		result = driver_nic_write(n, P2PNIC_REG_RX_OFFSET, 0);
		if (!result)
			result = driver_nic_write(n, P2PNIC_REG_RX_BUFFERS, f->rx_buffers);
	}
	if (result)
		return error_set(error, result, "%s: %s", n->name, device_error(n->device));
	f->nic[n->index] = n;
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++) {
		f->to_close[n->index][k] = false;
		if (f->nic[k])
			open_pair(f, n, f->nic[k], error);
	}
	if (driver_nic_answers(n))
		return 0;
	/* It may be in place, only not known to be: nothing is closed. */
	error_set(error, -ETIMEDOUT, "%s: %s", n->name, device_error(n->device));
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++)
		f->to_open[n->index][k] = f->to_open[k][n->index] = false;
	f->nic[n->index] = NULL;
	return -ETIMEDOUT;
}

unsigned fabric_mend(struct fabric *f, struct error *error)
{
	unsigned waiting = 0;

	for (unsigned x = 0; x < P2PNIC_NICS_MAX; x++) {
		if (!f->nic[x] || !driver_nic_answers(f->nic[x]))
			continue;
		for (unsigned y = 0; y < P2PNIC_NICS_MAX; y++) {
			/* With a peer that is there again, opening closes first. */
			if (f->to_close[x][y] && !f->nic[y]) {
				if (close_side(f, f->nic[x], y))
					free_lent(f, f->nic[x], y);
				else
					waiting += driver_nic_answers(f->nic[x]);
			}
			if (y <= x && f->to_open[x][y] && f->nic[y] &&
				driver_nic_answers(f->nic[y]))
				waiting += open_pair(f, f->nic[x], f->nic[y], error) &&
					   driver_nic_answers(f->nic[x]) &&
					   driver_nic_answers(f->nic[y]);
		}
	}
	return waiting;
}

void fabric_part(struct fabric *f)
{
	for (unsigned x = 0; x < P2PNIC_NICS_MAX; x++)
		for (unsigned y = 0; f->nic[x] && y < P2PNIC_NICS_MAX; y++) {
			const struct p2pnic_peer *entry = &driver_nic_peers(f->nic[x])[y];

			if (!f->nic[y] && entry->epoch && !(entry->flags & P2PNIC_PEER_CLOSED))
				f->to_close[x][y] = true;
		}
}

bool fabric_room(const struct fabric *f, unsigned index)
{
	bool room = true;

	for (unsigned k = 0; k < P2PNIC_NICS_MAX && f->method == P2PNIC_METHOD_WRITE; k++)
		room = room && (!f->nic[k] || ring_buffers(f, index + 1) <= f->nic[k]->bar4_bytes);
	return room;
}

unsigned fabric_given_up(struct fabric *f, struct error *error)
{
	unsigned pairs = 0;

	for (unsigned x = 0; x < P2PNIC_NICS_MAX; x++)
		for (unsigned y = 0; y < P2PNIC_NICS_MAX; y++) {
			if (!f->nic[x] || !f->nic[y] || f->to_open[x][y] || !given_up(f->nic[x], y))
				continue;
			/* Not in place any more, on either side. */
			driver_nic_peers(f->nic[x])[y].flags = P2PNIC_PEER_CLOSED;
			driver_nic_peers(f->nic[y])[x].flags = P2PNIC_PEER_CLOSED;
			f->to_open[x][y] = f->to_open[y][x] = true;
			error_set(error, -EIO, "%s has given up its pair with %s", f->nic[x]->name,
				f->nic[y]->name);
			pairs++;
		}
	return pairs;
}

void fabric_remove(struct fabric *f, struct driver_nic *n)
{
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++) {
		f->to_open[n->index][k] = f->to_open[k][n->index] = false;
		if (!f->nic[k] || f->nic[k] == n)
			continue;
		if (f->method == P2PNIC_METHOD_BOUNCE)
			bounce_close(f->bounce, n->index, k);
		if (close_side(f, f->nic[k], n->index))
			free_lent(f, f->nic[k], n->index);
	}
	if (f->method == P2PNIC_METHOD_BOUNCE)
		bounce_close(f->bounce, n->index, n->index);
	f->nic[n->index] = NULL;
}
