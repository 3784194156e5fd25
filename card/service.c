/* SPDX-License-Identifier: BSD-3-Clause */
#include "card/service.h"

/* The configuration space that a host needs of a device which is on no bus of its own: identity,
 * command, class (PCI Local Bus Specification 3.0, 6.1). */
#define CONFIG_ID      0x00u
#define CONFIG_COMMAND 0x04u
#define CONFIG_CLASS   0x08u
#define COMMAND_BITS   0x6u /* memory space, bus master */
#define COMMAND_MASTER 0x4u

static uint32_t config_read(const struct service *s, uint64_t offset)
{
	switch (offset) {
	case CONFIG_ID:
		return P2PNIC_PCI_VENDOR | P2PNIC_PCI_DEVICE << 16;
	case CONFIG_COMMAND:
		return s->board->master ? COMMAND_BITS : 0;
	case CONFIG_CLASS:
		return P2PNIC_PCI_CLASS << 8;
	default:
		return 0;
	}
}

static void config_write(struct service *s, uint64_t offset, uint32_t value)
{
	bool master = value & COMMAND_MASTER;

	if (offset != CONFIG_COMMAND || s->board->master == master)
		return;
	s->board->master = master;
	nic_windows_changed(s->nic);
}

static enum card_result access(
	struct service *s, const uint64_t *argument, bool write, uint64_t *value)
{
	uint64_t region = argument[0], offset = argument[1];
	uint32_t bytes = (uint32_t)argument[2], word = (uint32_t)argument[3];

	if (region == CARD_REGION_CONFIG && offset < 256 && bytes <= 4) {
		if (write)
			config_write(s, offset, word);
		else
			*value = config_read(s, offset);
		return CARD_OK;
	}
	if (region != CARD_REGION_BAR0 || offset >= P2PNIC_BAR0_COUNTERS || offset % 4 ||
		bytes != 4)
		return CARD_BAD_REQUEST;
	if (write)
		nic_register_write(s->nic, (uint32_t)offset, word);
	else
		*value = nic_register_read(s->nic, (uint32_t)offset);
	return CARD_OK;
}

/* --- Windows ---------------------------------------------------------------------------------- */

static const struct pci_memory *memory_of(const struct service *s, uint64_t serial)
{
	for (unsigned k = 0; k < s->memories; k++) {
		const struct card_carrier *c = (const void *)(s->memory[k].at + CARD_CARRIER);

		if (atomic_load_explicit(&c->magic, memory_order_acquire) == CARD_MAGIC &&
			c->serial == serial)
			return &s->memory[k];
	}
	return NULL;
}

static enum card_result map(struct service *s, const uint64_t *argument)
{
	uint64_t bus = argument[0], bytes = argument[1], offset = argument[4];
	const struct pci_memory *memory = memory_of(s, argument[3]);
	struct window *free = NULL;

	if (!memory)
		return CARD_NO_PEER;
	if (!bus || !bytes || bus + bytes < bus || offset > memory->bytes ||
		bytes > memory->bytes - offset)
		return CARD_BAD_REQUEST;
	for (unsigned k = 0; k < BOARD_WINDOWS; k++) {
		struct window *w = &s->board->window[k];

		if (!w->bytes)
			free = w;
		else if (bus < w->bus.value + w->bytes && w->bus.value < bus + bytes)
			return CARD_EXISTS;
	}
	if (!free)
		return CARD_FULL;
	*free = (struct window){.bus = {bus},
		.bytes = bytes,
		.access = (uint32_t)argument[2],
		.memory = memory->at + offset};
	return CARD_OK;
}

static enum card_result unmap(struct service *s, const uint64_t *argument)
{
	for (unsigned k = 0; k < BOARD_WINDOWS; k++) {
		struct window *w = &s->board->window[k];

		if (!w->bytes || w->bus.value != argument[0] || w->bytes != argument[1])
			continue;
		*w = (struct window){0};
		nic_windows_changed(s->nic);
		return CARD_OK;
	}
	return CARD_NO_WINDOW;
}

static enum card_result unmap_all(struct service *s)
{
	__builtin_memset(s->board->window, 0, sizeof(s->board->window));
	nic_windows_changed(s->nic);
	return CARD_OK;
}

static enum card_result reset(struct service *s)
{
	nic_register_write(s->nic, P2PNIC_REG_COMMAND, P2PNIC_COMMAND(P2PNIC_OP_RESET, 0));
	if (nic_register_read(s->nic, P2PNIC_REG_RESULT) != P2PNIC_OK)
		return CARD_BUSY;
	s->board->master = false;
	return unmap_all(s);
}

/* --- Requests --------------------------------------------------------------------------------- */

static enum card_result serve(
	struct service *s, uint32_t operation, const uint64_t *argument, uint64_t *value)
{
	switch (operation) {
	case CARD_READ:
		return access(s, argument, false, value);
	case CARD_WRITE:
		return access(s, argument, true, value);
	case CARD_MAP:
		return map(s, argument);
	case CARD_UNMAP:
		return unmap(s, argument);
	case CARD_UNMAP_ALL:
		return unmap_all(s);
	case CARD_RESET:
		return reset(s);
	default:
		return CARD_BAD_REQUEST;
	}
}

static void answer(struct card_carrier *c, uint32_t number)
{
	atomic_store_explicit(&c->answer, number, memory_order_release);
}

/* A host whose request was not served sees the answer only with another number of starts. */
void service_start(struct service *s)
{
	struct card_carrier *c = s->board->carrier;

	atomic_store_explicit(&c->starts,
		atomic_load_explicit(&c->starts, memory_order_relaxed) + 1, memory_order_release);
	answer(c, atomic_load_explicit(&c->request, memory_order_acquire));
	atomic_store_explicit(&c->magic, CARD_MAGIC, memory_order_release);
}

void service_poll(struct service *s)
{
	struct card_carrier *c = s->board->carrier;
	uint32_t number = atomic_load_explicit(&c->request, memory_order_acquire);
	uint64_t argument[CARD_ARGUMENTS], value = 0;

	if (number == atomic_load_explicit(&c->answer, memory_order_relaxed))
		return;
	__builtin_memcpy(argument, c->argument, sizeof(argument));
	c->result = serve(s, c->operation, argument, &value);
	c->value = value;
	answer(c, number);
}
