/* SPDX-License-Identifier: BSD-3-Clause */
#include "softnic/soft_nic.h"

#include "ipc/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct p2pnic_counters *counters_of(const struct soft_nic *s)
{
	return (struct p2pnic_counters *)(s->bar[0]->memory + P2PNIC_BAR0_COUNTERS);
}

/* --- What the driver does: vfu_ops, on the control thread ------------------------------------- */

static int bar0_access(struct soft_nic *s, uint64_t offset, void *data, uint32_t bytes, bool write)
{
	uint8_t *memory = s->bar[0]->memory;
	uint32_t value;

	if (offset >= P2PNIC_BAR0_MSIX_TABLE)
		return write ? pci_config_msix_write(&s->pci, offset, data, bytes)
			     : pci_config_msix_read(&s->pci, offset, data, bytes);
	if (offset >= P2PNIC_BAR0_COUNTERS && offset + bytes <= P2PNIC_BAR0_DOORBELL) {
		if (!write)
			memcpy(data, memory + offset, bytes);
		return 0;
	}
	if (offset >= P2PNIC_BAR0_DESCRIPTION &&
		offset + bytes <= P2PNIC_BAR0_FAULT + P2PNIC_DESCRIPTION_BYTES) {
		engine_park(s->engine); /* it writes the second text */
		if (!write)
			memcpy(data, memory + offset, bytes);
		engine_resume(s->engine);
		return 0;
	}
	if (offset >= P2PNIC_BAR0_DOORBELL) {
		const uint64_t one = 1;

		if (!write)
			memset(data, 0, bytes);
		/* No test fills the counter: it takes 2^64 - 2 rings of the bell unread
		 * (eventfd(2)). */
		else if (offset == P2PNIC_BAR0_DOORBELL && eventfd_write(s->doorbell, one) < 0)
			return errno == EAGAIN ? 0 : -errno;
		return 0;
	}
	if (bytes != 4 || offset % 4)
		return -EINVAL;
	if (!write) {
		value = nic_register_read(s->nic, (uint32_t)offset);
		memcpy(data, &value, 4);
		return 0;
	}
	engine_park(s->engine);
	memcpy(&value, data, 4);
	nic_register_write(s->nic, (uint32_t)offset, value);
	/* A pair may have been closed: what was asked for in its life is nothing for the next. */
	vfu_dma_cancel(s->vfu);
	engine_resume(s->engine);
	return 0;
}

/* The server has refused regions that were not described to it: what is left is one of two. */
static uint8_t *bar_memory(struct soft_nic *s, unsigned region)
{
	return s->bar[region == VFIO_PCI_BAR2_REGION_INDEX ? 1 : 2]->memory;
}

static int on_read(void *device, unsigned region, uint64_t offset, void *data, uint32_t bytes)
{
	struct soft_nic *s = device;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return pci_config_read(&s->pci, offset, data, bytes);
	if (region == VFIO_PCI_BAR0_REGION_INDEX)
		return bar0_access(s, offset, data, bytes, false);
	memcpy(data, bar_memory(s, region) + offset, bytes);
	return 0;
}

/* The firmware refuses while the port has frames of packet memory; the port gives up on a dead link
 * after some 200 ms (port.h). */
static int reset(struct soft_nic *s)
{
	uint32_t result = P2PNIC_BAD_STATE;

	for (unsigned ms = 0; result == P2PNIC_BAD_STATE && ms < 500; ms++) {
		if (ms)
			usleep(1000);
		engine_park(s->engine);
		nic_register_write(s->nic, P2PNIC_REG_COMMAND, P2PNIC_COMMAND(P2PNIC_OP_RESET, 0));
		result = nic_register_read(s->nic, P2PNIC_REG_RESULT);
		pci_config_reset(&s->pci);
		s->dma.enabled = pci_config_bus_master(&s->pci);
		engine_resume(s->engine);
	}
	return result == P2PNIC_OK ? 0 : -EBUSY;
}

static int on_reset(void *device)
{
	return reset(device);
}

static int on_write(
	void *device, unsigned region, uint64_t offset, const void *data, uint32_t bytes)
{
	struct soft_nic *s = device;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		int result = pci_config_write(&s->pci, offset, data, bytes);

		if (result == PCI_CONFIG_RESET) {
			return reset(s);
		}
		engine_park(s->engine);
		if (s->dma.enabled != pci_config_bus_master(&s->pci)) {
			s->dma.enabled = !s->dma.enabled;
			nic_windows_changed(s->nic);
		}
		engine_resume(s->engine);
		return result;
	}
	if (region == VFIO_PCI_BAR0_REGION_INDEX) {
		uint64_t word = 0;

		if (bytes > sizeof(word))
			return -EINVAL;
		memcpy(&word, data, bytes);
		return bar0_access(s, offset, &word, bytes, true);
	}
	memcpy(bar_memory(s, region) + offset, data, bytes);
	return 0;
}

static void leave_memories(struct soft_nic *s)
{
	if (!s->nic->in_flight)
		soft_leave(&s->board, false);
}

static int on_map(void *device, const struct vfu_window *window)
{
	struct soft_nic *s = device;
	int error;

	engine_park(s->engine);
	leave_memories(s);
	error = dma_map(&s->dma, window);
	engine_resume(s->engine);
	return error;
}

static void on_unmap(void *device, struct bus_addr bus, uint64_t bytes)
{
	struct soft_nic *s = device;

	engine_park(s->engine);
	dma_unmap(&s->dma, bus, bytes);
	vfu_dma_cancel(s->vfu);
	nic_windows_changed(s->nic);
	leave_memories(s);
	engine_resume(s->engine);
}

static void on_unmap_all(void *device)
{
	struct soft_nic *s = device;

	engine_park(s->engine);
	dma_unmap_all(&s->dma);
	vfu_dma_cancel(s->vfu);
	nic_windows_changed(s->nic);
	leave_memories(s);
	engine_resume(s->engine);
}

/* The engine may sleep. */
static void on_read_done(void *device)
{
	const struct soft_nic *s = device;

	eventfd_write(s->doorbell, 1);
}

static void say(const struct soft_nic *s, enum log_level level, const char *text)
{
	char who[64];

	snprintf(who, sizeof(who), "nic %s", s->config.name);
	log_say(level, who, "%s", text);
}

static void on_log(void *device, const char *text)
{
	const struct soft_nic *s = device;

	say(s, LOG_WARNING, text);
}

static const struct vfu_ops vfu_ops = {
	.region_read = on_read,
	.region_write = on_write,
	.dma_map = on_map,
	.dma_unmap = on_unmap,
	.dma_unmap_all = on_unmap_all,
	.reset = on_reset,
	.read_done = on_read_done,
	.log = on_log,
};

/* --- Life ------------------------------------------------------------------------------------- */

static int make_bars(struct soft_nic *s)
{
	static const char *const suffix[3] = {"bar0", "bar2", "bar4"};
	const uint64_t bytes[3] = {P2PNIC_BAR0_BYTES, s->config.bar2_bytes, s->config.bar4_bytes};

	for (unsigned k = 0; k < 3; k++) {
		char name[64];
		int error;

		snprintf(name, sizeof(name), "p2pnic-%s-%s", s->config.name, suffix[k]);
		s->bar_fd[k] = memory_create(name, bytes[k]);
		if (s->bar_fd[k] < 0)
			return s->bar_fd[k];
		error = mapping_get(&s->bar[k], s->bar_fd[k], true);
		if (error)
			return error;
	}
	return pci_config_init(&s->pci, bytes);
}

/* A locally administered address that is the same whenever the NIC has the same name: FNV-1a. */
static struct mac_addr mac_from_name(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325ull;
	struct mac_addr mac = {{0x02}};

	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3ull;
	memcpy(&mac.octet[1], &hash, 5);
	return mac;
}

static bool mac_is_zero(struct mac_addr mac)
{
	return !memcmp(&mac, &(struct mac_addr){{0}}, sizeof(mac));
}

/* What the host sees of the port; whether something is new that it wants to know at once. */
static bool show_port(struct soft_nic *s, const struct port_info *info)
{
	char *description = (char *)s->bar[0]->memory + P2PNIC_BAR0_DESCRIPTION;
	char *fault = (char *)s->bar[0]->memory + P2PNIC_BAR0_FAULT;
	bool new = s->link != info->link ||
		   strncmp(fault, info->fault.text, P2PNIC_DESCRIPTION_BYTES - 1) != 0;

	nic_set_port(s->nic, info->link, info->speed_mbps, info->missed + info->oversize);
	s->link = info->link;
	if (new)
		snprintf(fault, P2PNIC_DESCRIPTION_BYTES, "%.*s", (int)P2PNIC_DESCRIPTION_BYTES - 1,
			info->fault.text);
	if (strcmp(description, info->mode) != 0)
		snprintf(description, P2PNIC_DESCRIPTION_BYTES, "%s", info->mode);
	return new;
}

static int make_port(struct soft_nic *s, struct error *error)
{
	const struct port_config config = {
		.target = s->config.port_target,
		.options = s->config.port_options,
		.memory = s->bar[2]->memory,
		.memory_bytes = s->bar[2]->bytes,
		.memory_fd = s->bar_fd[2],
		.buffer_bytes = s->config.buffer_bytes,
		.mac = s->config.mac,
		.counters = counters_of(s),
	};
	struct port_info info = {0};
	char text[512];
	int result = s->board.ops->open(s->board.port, &config, error);

	if (result < 0)
		return result;
	s->port_open = true;
	s->board.ops->info(s->board.port, &info);
	if (mac_is_zero(s->config.mac))
		s->config.mac = mac_is_zero(info.mac) ? mac_from_name(s->config.name) : info.mac;
	nic_set_mac(s->nic, s->config.mac);
	show_port(s, &info);
	snprintf(text, sizeof(text), "port %s:%s, %s", s->config.port_type, s->config.port_target,
		info.mode);
	say(s, LOG_INFO, text);
	return 0;
}

static int make_server(struct soft_nic *s, struct error *error)
{
	static const struct vfio_user_area counters = {P2PNIC_BAR0_COUNTERS, 0x1000};
	struct vfu_config config = {
		.path = s->config.socket, .ops = &vfu_ops, .device = s, .vectors = P2PNIC_VECTORS};
	const uint32_t rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

	s->io_fd = (struct vfu_io_fd){.offset = P2PNIC_BAR0_DOORBELL, .fd = s->doorbell};
	for (unsigned k = 0; k < VFU_REGIONS; k++)
		config.region[k].fd = -1;
	config.region[VFIO_PCI_CONFIG_REGION_INDEX].bytes = PCI_CONFIG_BYTES;
	config.region[VFIO_PCI_CONFIG_REGION_INDEX].flags = rw;
	config.region[VFIO_PCI_BAR0_REGION_INDEX] = (struct vfu_region){.bytes = P2PNIC_BAR0_BYTES,
		.flags = rw,
		.fd = s->bar_fd[0],
		.mappable = true,
		.areas = &counters,
		.area_count = 1,
		.io_fds = &s->io_fd,
		.io_fd_count = 1};
	config.region[VFIO_PCI_BAR2_REGION_INDEX] = (struct vfu_region){
		.bytes = s->config.bar2_bytes, .flags = rw, .fd = s->bar_fd[1], .mappable = true};
	config.region[VFIO_PCI_BAR4_REGION_INDEX] = (struct vfu_region){
		.bytes = s->config.bar4_bytes, .flags = rw, .fd = s->bar_fd[2], .mappable = true};
	return vfu_open(&s->vfu, &config, error);
}

static bool bar_size_valid(uint32_t bytes, uint32_t minimum)
{
	return bytes >= minimum && (bytes & (bytes - 1)) == 0;
}

int soft_nic_new(struct soft_nic **out, const struct soft_nic_config *config, struct engine *engine,
	struct error *error)
{
	struct soft_nic *s = calloc(1, sizeof(*s));
	struct error reason = {""};
	const struct port_ops *ops;
	int result;

	if (!s)
		return error_set(error, -ENOMEM, "nic %s: out of memory", config->name);
	s->config = *config;
	s->engine = engine;
	s->doorbell = s->bar_fd[0] = s->bar_fd[1] = s->bar_fd[2] = -1;
	if (!s->config.bar2_bytes)
		s->config.bar2_bytes = P2PNIC_BAR2_BYTES_MIN;
	if (!s->config.bar4_bytes)
		s->config.bar4_bytes = P2PNIC_BAR4_BYTES_MIN;
	if (!s->config.buffer_bytes)
		s->config.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;
	if (!bar_size_valid(s->config.bar2_bytes, P2PNIC_BAR2_BYTES_MIN) ||
		!bar_size_valid(s->config.bar4_bytes, P2PNIC_BAR4_BYTES_MIN)) {
		result = error_set(&reason, -EINVAL,
			"memory sizes must be powers of two from %u MiB",
			P2PNIC_BAR4_BYTES_MIN >> 20);
		goto fail;
	}
	if (config->method < P2PNIC_METHOD_WRITE || config->method > P2PNIC_METHOD_BOUNCE) {
		result = error_set(&reason, -EINVAL, "no method %u", config->method);
		goto fail;
	}
	if (!p2pnic_buffer_bytes_valid(s->config.buffer_bytes)) {
		result = error_set(&reason, -EINVAL,
			"no buffers of %u bytes: want 2048, 4096 or 16384", s->config.buffer_bytes);
		goto fail;
	}
	ops = port_find(config->port_type);
	if (!ops) {
		result = error_set(&reason, -EINVAL, "no port type '%s'", config->port_type);
		goto fail;
	}
	s->nic = aligned_alloc(64, (sizeof(*s->nic) + 63) & ~63ul);
	s->board = (struct board){.dma = &s->dma,
		.vfu = &s->vfu,
		.port = aligned_alloc(64, (ops->bytes + 63) & ~63ul),
		.ops = ops};
	s->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!s->nic || !s->board.port || s->doorbell < 0) {
		result = -errno;
		error_set(&reason, result, "%s", strerror(-result));
		goto fail;
	}
	memset(s->board.port, 0, ops->bytes);
	result = make_bars(s);
	if (result < 0) {
		error_set(&reason, result, "device memory: %s", strerror(-result));
		goto fail;
	}
	s->board.own = s->bar[2]->memory;
	s->dma.counters = counters_of(s);
	s->dma.whole_bus = s->config.whole_bus;
	nic_init(s->nic, &s->board, config->method, s->config.buffer_bytes, counters_of(s),
		s->bar[1]->memory, s->config.bar2_bytes, s->bar[2]->memory, s->config.bar4_bytes);
	result = make_port(s, &reason);
	if (result < 0)
		goto fail;
	result = make_server(s, &reason);
	if (result < 0)
		goto fail;
	s->dma.vfu = s->vfu;
	result = engine_add(engine, s);
	if (result < 0) {
		error_set(&reason, result, "engine: %s", strerror(-result));
		goto fail;
	}
	*out = s;
	return 0;
fail:
	error_set(error, result, "nic %s: %s", config->name, reason.text);
	s->engine = NULL;
	soft_nic_free(s);
	return result;
}

void soft_nic_free(struct soft_nic *s)
{
	if (s->engine)
		engine_remove(s->engine, s);
	if (s->vfu)
		vfu_close(s->vfu);
	dma_unmap_all(&s->dma);
	if (s->port_open) {
		soft_leave(&s->board, true);
		s->board.ops->close(s->board.port);
	}
	for (unsigned k = 0; k < 3; k++) {
		if (s->bar[k])
			mapping_put(s->bar[k]);
		if (s->bar_fd[k] >= 0)
			close(s->bar_fd[k]);
	}
	if (s->doorbell >= 0)
		close(s->doorbell);
	free(s->nic);
	free(s->board.port);
	free(s);
}

int soft_nic_control_fd(const struct soft_nic *s)
{
	return vfu_fd(s->vfu);
}

void soft_nic_control(struct soft_nic *s)
{
	vfu_service(s->vfu);
}

/* --- Engine's housekeeping -------------------------------------------------------------------- */

void soft_nic_service(struct soft_nic *s)
{
	struct port_info info = {0};

	if (s->board.ops->service)
		s->board.ops->service(s->board.port);
	s->board.ops->info(s->board.port, &info);
	if (show_port(s, &info))
		vfu_interrupt(s->vfu, P2PNIC_VECTOR_EVENT);
	if (s->dma.lost) {
		nic_windows_changed(s->nic); /* closes the pairs that need messages */
		s->dma.lost = false;
	}
}

void soft_nic_fds(struct soft_nic *s, int fds[SOFT_NIC_FDS])
{
	const struct port_ops *ops = s->board.ops;

	fds[SOFT_NIC_FRAMES] = ops->fd(s->board.port);
	fds[SOFT_NIC_CONTROL] = ops->control_fd ? ops->control_fd(s->board.port) : -1;
}
