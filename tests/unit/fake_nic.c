/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fake_nic.h"

#include "firmware/fib_lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_nic *fake_of(struct device *device)
{
	return (struct fake_nic *)((char *)device - offsetof(struct fake_nic, device));
}

static int fake_read(
	struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	struct fake_nic *f = fake_of(device);

	if (f->dead)
		return -ENOTCONN;
	memcpy(data, &f->reg[offset / 4], bytes);
	return 0;
}

static uint32_t fake_command(struct fake_nic *f, uint32_t command)
{
	const struct p2pnic_sources *sources =
		(const struct p2pnic_sources *)(f->driver.bar2 + P2PNIC_BAR2_SOURCES);
	unsigned six = command == P2PNIC_OP_FIB_IPV6;
	uint32_t offset = f->reg[(six ? P2PNIC_REG_FIB6_OFFSET : P2PNIC_REG_FIB4_OFFSET) / 4];

	if (command == P2PNIC_OP_SOURCES) {
		if (f->sources_result)
			return f->sources_result;
		f->sources = *sources;
		return P2PNIC_OK;
	}
	if (command != P2PNIC_OP_FIB_IPV4 && command != P2PNIC_OP_FIB_IPV6)
		return P2PNIC_BAD_OPERATION;
	const struct p2pnic_fib_header *image = (const void *)(f->driver.bar2 + offset);

	if (!fib_image_valid(image, f->driver.bar2_bytes - offset, six ? 6 : 4) ||
		(image->version == P2PNIC_FIB_VERSION_WIDE &&
			f->driver.version < P2PNIC_FIB_VERSION_WIDE_FROM))
		return P2PNIC_BAD_IMAGE;
	if (f->on_switch && f->in_force[six] != offset)
		f->on_switch(f);
	f->in_force[six] = offset;
	return P2PNIC_OK;
}

static int fake_write(
	struct device *device, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	struct fake_nic *f = fake_of(device);

	if (f->dead)
		return -ENOTCONN;
	memcpy(&f->reg[offset / 4], data, bytes);
	if (offset == P2PNIC_REG_COMMAND)
		f->reg[P2PNIC_REG_RESULT / 4] = fake_command(f, f->reg[offset / 4]);
	if (offset == P2PNIC_REG_EPOCH) {
		f->epochs++;
		if (f->on_epoch)
			f->on_epoch(f);
		f->reg[P2PNIC_REG_EPOCH_SEEN / 4] = f->reg[offset / 4];
	}
	return 0;
}

static const struct device_ops fake_ops = {.type = "fake", .read = fake_read, .write = fake_write};

void fake_open(struct fake_nic *f, unsigned index, uint32_t bar2_bytes)
{
	*f = (struct fake_nic){.device = {.ops = &fake_ops}};
	f->device.region[VFIO_PCI_BAR0_REGION_INDEX].bytes = P2PNIC_BAR0_BYTES;
	snprintf(f->driver.name, sizeof(f->driver.name), "nic%u", index + 1);
	f->driver.index = index;
	f->driver.version = P2PNIC_VERSION;
	f->driver.device = &f->device;
	f->driver.bar2_bytes = bar2_bytes;
	f->driver.bar2 = aligned_alloc(4096, bar2_bytes);
	memset(f->driver.bar2, 0, bar2_bytes);
}

void fake_close(struct fake_nic *f)
{
	free(f->driver.bar2);
}

void fake_way_of_word(const struct fake_nic *f, uint32_t word, struct way *way)
{
	const p2pnic_bucket *bucket = (const p2pnic_bucket *)(f->driver.bar2 + P2PNIC_BAR2_BUCKETS);
	const struct p2pnic_adjacency *adjacency =
		(const struct p2pnic_adjacency *)(f->driver.bar2 + P2PNIC_BAR2_ADJACENCIES);
	uint32_t first = P2PNIC_NEXT_HOP_FIRST(word);

	way->ordered = word & P2PNIC_NEXT_HOP_ORDERED;
	way->buckets = 1u << P2PNIC_NEXT_HOP_LOG2(word);
	for (unsigned b = 0; b < way->buckets; b++)
		way->adjacency[b] = adjacency[way->buckets == 1 ? first : bucket[first + b]];
}

void fake_way(const struct fake_nic *f, const struct address *a, struct way *way)
{
	p2pnic_next_hop *word = (p2pnic_next_hop *)(f->driver.bar2 + P2PNIC_BAR2_NEXT_HOPS);
	uint32_t address4 = (uint32_t)(a->bits.high >> 32);
	uint16_t hop = 0;

	if (a->family == 4)
		fib4_lookup(f->driver.bar2 + f->in_force[0], &address4, &hop, 1);
	else
		fib6_lookup(f->driver.bar2 + f->in_force[1], &a->bits, &hop, 1);
	fake_way_of_word(f, atomic_load_explicit(&word[hop], memory_order_acquire), way);
}

unsigned way_count(const struct way *w, const struct p2pnic_adjacency *a)
{
	unsigned n = 0;

	for (unsigned b = 0; b < w->buckets; b++)
		n += !memcmp(&w->adjacency[b], a, sizeof(*a));
	return n;
}
