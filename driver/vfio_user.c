/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user.h"

#include "ipc/peer.h"
#include "ipc/unix_address.h"
#include "vfio_user_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct vfio_user_device *of(struct device *device)
{
	return (struct vfio_user_device *)device;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void close_device(struct device *device)
{
	struct vfio_user_device *v = of(device);

	for (unsigned i = 0; i < v->doorbell_count; i++)
		close(v->doorbell[i].fd);
	for (unsigned i = 0; i < DEVICE_REGIONS; i++)
		if (device->region[i].fd >= 0)
			close(device->region[i].fd);
	channel_close(&v->channel);
	free(v);
}

/* Owns the socket from here on. */
static int create(
	struct vfio_user_device **result, int connection, const char *name, struct error *error)
{
	struct vfio_user_device *v = calloc(1, sizeof(*v));

	if (!v) {
		close(connection);
		error_set(error, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
		return -ENOMEM;
	}
	v->base.ops = &vfio_user_device_ops;
	v->base.timeout_ms = device_timeout_ms;
	snprintf(v->base.name, sizeof(v->base.name), "%s", name);
	for (unsigned i = 0; i < DEVICE_REGIONS; i++)
		v->base.region[i].fd = -1;
	channel_open(&v->channel, connection);
	*result = v;
	return 0;
}

/* The first step of a connection; the device is closed on failure. */
static int greet(
	struct device **device, struct vfio_user_device *v, int result, struct error *error)
{
	if (!result)
		result = vfio_user_greet(v);
	if (result) {
		error_set(error, result, "%s: %s", v->base.name,
			v->base.error.text[0] ? v->base.error.text : strerror(-result));
		close_device(&v->base);
		return result;
	}
	*device = &v->base;
	return 0;
}

/* What a failed try has learned is forgotten: the next one asks anew. */
static void forget(struct vfio_user_device *v)
{
	for (unsigned i = 0; i < v->doorbell_count; i++)
		close(v->doorbell[i].fd);
	v->doorbell_count = 0;
	for (unsigned i = 0; i < DEVICE_REGIONS; i++) {
		if (v->base.region[i].fd >= 0)
			close(v->base.region[i].fd);
		v->base.region[i] = (struct device_region){.fd = -1};
	}
}

static int progress(struct device *device)
{
	struct vfio_user_device *v = of(device);
	int result = vfio_user_greeted(v);

	if (result)
		return result;
	result = vfio_user_load(v);
	if (result)
		forget(v);
	else
		device->error.text[0] = '\0';
	return result;
}

int vfio_user_connect(struct device **device, int connection, struct error *error)
{
	struct vfio_user_device *v;
	int result = create(&v, connection, "connected", error);

	if (!result)
		result = greet(device, v, 0, error);
	return device_complete(device, result, error);
}

static int open_begin(struct device **device, const char *path, struct error *error)
{
	struct sockaddr_un address;
	struct vfio_user_device *v;
	int result = unix_address(&address, path);

	if (result)
		return error_set(error, result, "vfio-user:%s: %s", path, UNIX_ADDRESS_ERROR);
	int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection < 0)
		return error_set(error, -errno, "vfio-user:%s: %s", path, strerror(errno));
	if (connect(connection, (struct sockaddr *)&address, sizeof(address)) < 0) {
		result = errno == EINTR ? -EAGAIN : -errno;
		error_set(error, result, "vfio-user:%s: %s: is the soft NIC running?", path,
			strerror(-result));
	} else {
		result = unix_peer_is_ours(connection);
		if (result)
			error_set(error, result,
				"vfio-user:%s: who listens there is neither this user nor root",
				path);
	}
	if (result) {
		close(connection);
		return result;
	}
	result = create(&v, connection, path, error);
	return result ? result : greet(device, v, 0, error);
}

static int check_range(struct vfio_user_device *v, struct bus_addr bus, uint64_t bytes)
{
	uint64_t last;

	if (!bus.value || !bytes || (bus.value | bytes) % DEVICE_PAGE ||
		__builtin_add_overflow(bus.value, bytes - 1, &last))
		return vfio_user_fail(v, -EINVAL, "window of %llu bytes at bus address 0x%llx",
			(unsigned long long)bytes, (unsigned long long)bus.value);
	return 0;
}

static int add_window(struct vfio_user_device *v, const struct device_window *w)
{
	struct channel_window window = {
		w->bus.value, w->bus.value + (w->bytes - 1), w->access, w->address};
	int result = check_range(v, w->bus, w->bytes);

	if (result)
		return result;
	result = channel_add_window(&v->channel, &window);
	return result ? vfio_user_fail(v, result, "window at bus address 0x%llx",
				(unsigned long long)w->bus.value)
		      : 0;
}

/* What the connection leads to, for messages. */
static void name_of(int connection, char *name, size_t room)
{
	struct sockaddr_un peer = {0};
	socklen_t bytes = sizeof(peer);

	if (getpeername(connection, (struct sockaddr *)&peer, &bytes) == 0 &&
		bytes > offsetof(struct sockaddr_un, sun_path) && peer.sun_path[0])
		snprintf(name, room, "%.*s", (int)sizeof(peer.sun_path), peer.sun_path);
	else
		snprintf(name, room, "adopted");
}

static int adopt_begin(struct device **device, const int *fds, const struct device_window *windows,
	unsigned window_count, struct error *error)
{
	char name[sizeof(((struct device *)0)->name)];
	struct vfio_user_device *v;

	name_of(fds[0], name, sizeof(name));
	int result = create(&v, fds[0], name, error);
	if (result)
		return result;
	v->adopted = true;
	for (unsigned i = 0; !result && i < window_count; i++)
		result = add_window(v, &windows[i]);
	return greet(device, v, result, error);
}

static void keep(struct device *device, int *fds)
{
	fds[0] = of(device)->channel.socket;
}

/* --- Access ----------------------------------------------------------------------------------- */

static int read_region(
	struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	struct vfio_user_device *v = of(device);

	while (bytes) {
		uint32_t step = bytes < VFIO_USER_CHUNK ? (uint32_t)bytes : VFIO_USER_CHUNK;
		struct vfio_user_region_access access = {offset, region, step};
		struct vfio_user_message *reply;
		int result = vfio_user_call(v, VFIO_USER_REGION_READ, &access, sizeof(access),
			sizeof(access) + step, &reply);

		if (result)
			return vfio_user_fail(v, result, "reading region %u at 0x%llx", region,
				(unsigned long long)offset);
		memcpy(data, reply->payload + sizeof(access), step);
		vfio_user_message_free(reply);
		data = (uint8_t *)data + step;
		offset += step;
		bytes -= step;
	}
	return 0;
}

static int write_region(
	struct device *device, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	struct vfio_user_device *v = of(device);

	while (bytes) {
		uint32_t step = bytes < VFIO_USER_CHUNK ? (uint32_t)bytes : VFIO_USER_CHUNK;
		struct vfio_user_region_access access = {offset, region, step};
		struct channel_request request = {
			.command = VFIO_USER_REGION_WRITE,
			.parts = {{&access, sizeof(access)}, {(void *)data, step}},
			.fd = -1,
			.reply_bytes = 0,
		};
		int result = channel_call(&v->channel, device->timeout_ms, &request, NULL);

		if (result)
			return vfio_user_fail(v, result, "writing region %u at 0x%llx", region,
				(unsigned long long)offset);
		data = (const uint8_t *)data + step;
		offset += step;
		bytes -= step;
	}
	return 0;
}

/* --- Windows ---------------------------------------------------------------------------------- */

static int map_fd(struct vfio_user_device *v, struct bus_addr bus, uint64_t bytes, uint32_t access,
	int fd, uint64_t fd_offset)
{
	struct vfio_user_dma_map map = {
		.argsz = sizeof(map),
		.flags = access,
		.offset = fd_offset,
		.address = bus.value,
		.size = bytes,
	};
	struct channel_request request = {
		.command = VFIO_USER_DMA_MAP,
		.parts = {{&map, sizeof(map)}},
		.fd = fd,
	};
	int result = channel_call(&v->channel, v->base.timeout_ms, &request, NULL);

	if (result)
		return vfio_user_fail(v, result, "mapping %llu bytes at bus address 0x%llx",
			(unsigned long long)bytes, (unsigned long long)bus.value);
	return 0;
}

static int map_memory(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset)
{
	struct vfio_user_device *v = of(device);
	int result = check_range(v, bus, bytes);

	if (result)
		return result;
	if (fd >= 0)
		return map_fd(v, bus, bytes, access, fd, fd_offset);
	/* Known here before it is known there: the first message may come before the reply. */
	result = add_window(v, &(struct device_window){bus, bytes, access, address});
	if (result)
		return result;
	result = map_fd(v, bus, bytes, access, -1, 0);
	if (result)
		channel_remove_window(&v->channel, bus.value, bus.value + (bytes - 1));
	return result;
}

static int map_peer(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	struct device *peer, unsigned region, uint64_t offset)
{
	struct vfio_user_device *v = of(device);
	int result = check_range(v, bus, bytes);

	if (result)
		return result;
	if (region >= DEVICE_REGIONS)
		return vfio_user_fail(v, -EINVAL, "peer's region %u", region);
	const struct device_region *target = &peer->region[region];
	for (unsigned i = 0; i < target->area_count; i++) {
		const struct device_area *area = &target->area[i];

		if (offset >= area->offset && offset - area->offset <= area->bytes &&
			bytes <= area->bytes - (offset - area->offset))
			return map_fd(
				v, bus, bytes, access, target->fd, target->fd_offset + offset);
	}
	int fd = device_doorbell_fd(peer, region, offset);
	if (fd >= 0)
		return map_fd(v, bus, bytes, access, fd, 0);
	return vfio_user_fail(v, -ENOTSUP, "region %u of %s cannot be mapped at 0x%llx", region,
		peer->name, (unsigned long long)offset);
}

static int unmap(struct device *device, struct bus_addr bus, uint64_t bytes)
{
	struct vfio_user_device *v = of(device);
	struct vfio_user_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.address = bus.value,
		.size = bytes,
	};
	int result = check_range(v, bus, bytes);

	if (!result)
		result = vfio_user_call(v, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), 0, NULL);
	if (result)
		return vfio_user_fail(
			v, result, "unmapping bus address 0x%llx", (unsigned long long)bus.value);
	channel_remove_window(&v->channel, bus.value, bus.value + (bytes - 1));
	return 0;
}

static int unmap_all(struct device *device)
{
	struct vfio_user_device *v = of(device);
	struct vfio_user_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};
	int result = vfio_user_call(v, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), 0, NULL);

	if (result)
		return vfio_user_fail(v, result, "unmapping all");
	channel_remove_windows(&v->channel);
	return 0;
}

/* --- Events ----------------------------------------------------------------------------------- */

static int irqs(struct device *device, unsigned first, const int *fds, unsigned count)
{
	struct vfio_user_device *v = of(device);

	/* One a message: no server takes fewer, and a message is all descriptors or none. */
	for (unsigned i = 0; i < count; i++) {
		struct vfio_user_irq_set set = {
			.argsz = sizeof(set),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_MSIX_IRQ_INDEX,
			.start = first + i,
			.count = 1,
		};
		struct channel_request request = {
			.command = VFIO_USER_DEVICE_SET_IRQS,
			.parts = {{&set, sizeof(set)}},
			.fd = fds[i],
		};
		int result = channel_call(&v->channel, device->timeout_ms, &request, NULL);

		if (result)
			return vfio_user_fail(v, result, "assigning interrupt %u", first + i);
	}
	return 0;
}

static int reset(struct device *device)
{
	int result = vfio_user_call(of(device), VFIO_USER_DEVICE_RESET, NULL, 0, 0, NULL);

	return result ? vfio_user_fail(of(device), result, "reset") : 0;
}

static int doorbell_fd(struct device *device, unsigned region, uint64_t offset)
{
	struct vfio_user_device *v = of(device);

	for (unsigned i = 0; i < v->doorbell_count; i++)
		if (v->doorbell[i].region == region && v->doorbell[i].offset == offset)
			return v->doorbell[i].fd;
	return -ENOENT;
}

static int get_fd(const struct device *device)
{
	return ((const struct vfio_user_device *)device)->channel.socket;
}

static int service(struct device *device)
{
	int result = channel_service(&of(device)->channel);

	return result ? vfio_user_fail(of(device), result, "connection") : 0;
}

#define ASKED_MAX 8u /* questions to one that does not answer */

/* Configuration space: a register would stop the engine between two bursts. */
static int ask_device(struct device *device)
{
	struct vfio_user_device *v = of(device);
	struct vfio_user_region_access access = {0, VFIO_PCI_CONFIG_REGION_INDEX, 4};
	const struct channel_request request = {
		.command = VFIO_USER_REGION_READ, .parts = {{&access, sizeof(access)}}, .fd = -1};
	uint16_t id;

	if (v->channel.unanswered >= ASKED_MAX)
		return -EAGAIN;
	int result = channel_post(&v->channel, &request, &id);
	return result ? vfio_user_fail(v, result, "connection") : 0;
}

static bool silent(const struct device *device)
{
	return ((const struct vfio_user_device *)device)->channel.silent;
}

static unsigned unanswered(const struct device *device)
{
	return ((const struct vfio_user_device *)device)->channel.unanswered;
}

static void give_up(struct device *device)
{
	of(device)->channel.silent = true;
}

const struct device_ops vfio_user_device_ops = {
	.type = "vfio-user",
	.open_begin = open_begin,
	.adopt_begin = adopt_begin,
	.progress = progress,
	.ask = ask_device,
	.silent = silent,
	.unanswered = unanswered,
	.give_up = give_up,
	.close = close_device,
	.kept = 1,
	.keep = keep,
	.read = read_region,
	.write = write_region,
	.map_memory = map_memory,
	.map_peer = map_peer,
	.unmap = unmap,
	.unmap_all = unmap_all,
	.irqs = irqs,
	.reset = reset,
	.doorbell_fd = doorbell_fd,
	.fd = get_fd,
	.service = service,
};
