/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user.h"

#include "vfio_user_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <vfio_user/descriptor.h>
#include <vfio_user/version.h>

#define DOORBELLS_MAX   16u
#define REGION_ROOM_MAX 4096u /* the longest region information accepted */

/* A register with an eventfd. */
struct doorbell {
	unsigned region;
	uint64_t offset;
	int fd;
};

struct vfio_user_device {
	struct device base;
	struct channel channel;
	struct doorbell doorbell[DOORBELLS_MAX];
	unsigned doorbell_count;
};

static struct vfio_user_device *of(struct device *device)
{
	return (struct vfio_user_device *)device;
}

/* Completes a sentence of `length` in device->error with the reason. */
static int explain(struct vfio_user_device *v, int result, int length)
{
	if (length >= 0 && (size_t)length < sizeof(v->base.error))
		snprintf(v->base.error + length, sizeof(v->base.error) - (size_t)length, ": %s",
			strerror(-result));
	return result;
}

#define fail(v, result, ...)                                                                       \
	explain(v, result, snprintf((v)->base.error, sizeof((v)->base.error), __VA_ARGS__))

/* One request whose payload is a structure; `reply` as channel_call's. */
static int call(struct vfio_user_device *v, uint16_t command, const void *payload, size_t bytes,
	size_t reply_bytes, struct vfio_user_message **reply)
{
	struct channel_request request = {
		.command = command,
		.parts = {{(void *)payload, bytes}},
		.fd = -1,
		.reply_bytes = reply_bytes,
	};

	return channel_call(&v->channel, v->base.timeout_ms, &request, reply);
}

/* The same where the reply is a structure again. */
static int ask(struct vfio_user_device *v, uint16_t command, void *structure, size_t bytes)
{
	struct vfio_user_message *reply;
	int result = call(v, command, structure, bytes, bytes, &reply);

	if (result)
		return result;
	memcpy(structure, reply->payload, bytes);
	vfio_user_message_free(reply);
	return 0;
}

/* --- What the device is -------------------------------------------------------------------------- */

static int negotiate(struct vfio_user_device *v)
{
	struct vfio_user_limits own = {
		.major = VFIO_USER_MAJOR,
		.minor = VFIO_USER_MINOR,
		.named = VFIO_USER_HAS_FDS | VFIO_USER_HAS_TRANSFER | VFIO_USER_HAS_PAGES,
		.max_msg_fds = VFIO_USER_FDS_MAX,
		.max_data_xfer_size = VFIO_USER_CHUNK,
		.pgsizes = DEVICE_PAGE,
	};
	struct vfio_user_limits server;
	struct vfio_user_message *reply;
	uint8_t payload[512];
	char error[128];

	int bytes = vfio_user_version_build(payload, sizeof(payload), &own);
	if (bytes < 0)
		return fail(v, bytes, "version");
	int result = call(v, VFIO_USER_VERSION, payload, (size_t)bytes,
		sizeof(struct vfio_user_version), &reply);
	if (result == -EBUSY)
		return fail(v, result, "another driver has this device");
	if (result)
		return fail(v, result, "negotiating the version");
	if (vfio_user_version_parse(reply->payload, reply->bytes, &server, error) != 0)
		result = fail(v, -EPROTO, "%s", error);
	else if (server.major != VFIO_USER_MAJOR || server.minor > VFIO_USER_MINOR)
		result = fail(
			v, -EPROTO, "the device speaks version %u.%u", server.major, server.minor);
	else if (server.max_data_xfer_size < VFIO_USER_CHUNK)
		result = fail(v, -EPROTO, "the device takes less than %u bytes a message",
			VFIO_USER_CHUNK);
	vfio_user_message_free(reply);
	return result;
}

static int load_device_info(struct vfio_user_device *v, uint32_t *regions)
{
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	int result = ask(v, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info));

	if (result)
		return fail(v, result, "asking what the device is");
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return fail(v, -ENODEV, "not a PCI device");
	*regions = info.region_count < DEVICE_REGIONS ? info.region_count : DEVICE_REGIONS;
	return 0;
}

/* Finds the mappable parts; false if the reply's list is not sound. */
static bool load_areas(struct device_region *region, const struct vfio_user_message *reply,
	const struct vfio_user_region_info *info)
{
	uint64_t at = info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->capability_offset : 0;
	struct vfio_user_sparse sparse;

	/* Each step goes forward, so a list that loops is refused. */
	while (at) {
		if (at < sizeof(*info) || at + sizeof(sparse.header) > reply->bytes)
			return false;
		memcpy(&sparse.header, reply->payload + at, sizeof(sparse.header));
		if (sparse.header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP)
			break;
		if (sparse.header.next && sparse.header.next <= at)
			return false;
		at = sparse.header.next;
	}
	if (!at) {
		region->area[0] = (struct device_area){0, region->bytes};
		region->area_count = 1;
		return true;
	}
	if (at + sizeof(sparse) > reply->bytes)
		return false;
	memcpy(&sparse, reply->payload + at, sizeof(sparse));
	if (sparse.count > DEVICE_AREAS_MAX ||
		at + sizeof(sparse) + sparse.count * sizeof(struct vfio_user_area) > reply->bytes)
		return false;
	for (unsigned i = 0; i < sparse.count; i++) {
		struct vfio_user_area area;

		memcpy(&area, reply->payload + at + sizeof(sparse) + i * sizeof(area),
			sizeof(area));
		if (!area.size || area.offset > region->bytes ||
			area.size > region->bytes - area.offset ||
			(area.offset | area.size) % DEVICE_PAGE)
			return false;
		region->area[i] = (struct device_area){area.offset, area.size};
	}
	region->area_count = sparse.count;
	return true;
}

/* Takes the region's memory from the reply, if it can be mapped without fear. */
static void load_mapping(struct device_region *region, struct vfio_user_message *reply,
	const struct vfio_user_region_info *info)
{
	char error[128];
	uint64_t end = 0;

	if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP) || !info->size || reply->fd_count != 1 ||
		!load_areas(region, reply, info))
		goto unmappable;
	for (unsigned i = 0; i < region->area_count; i++)
		if (region->area[i].offset + region->area[i].bytes > end)
			end = region->area[i].offset + region->area[i].bytes;
	if (vfio_user_check_fd(reply->fds[0], info->offset, end, VFIO_DMA_MAP_FLAG_READ, error) !=
		VFIO_USER_FD_MEMORY)
		goto unmappable;
	region->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	region->fd_offset = info->offset;
	region->fd = reply->fds[0];
	reply->fds[0] = -1;
	return;

unmappable:
	region->area_count = 0;
}

static int load_region(struct vfio_user_device *v, unsigned index)
{
	struct device_region *region = &v->base.region[index];
	struct vfio_user_region_info info = {.index = index};
	uint32_t room = sizeof(info) + sizeof(struct vfio_user_sparse) +
			DEVICE_AREAS_MAX * sizeof(struct vfio_user_area);
	struct vfio_user_message *reply;

	for (int attempt = 0; attempt < 2; attempt++) {
		info = (struct vfio_user_region_info){.argsz = room, .index = index};
		int result = call(v, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info),
			sizeof(info), &reply);
		if (result)
			return fail(v, result, "asking about region %u", index);
		memcpy(&info, reply->payload, sizeof(info));
		if (info.argsz <= room || info.argsz > REGION_ROOM_MAX)
			break;
		room = info.argsz;
		if (attempt == 0)
			vfio_user_message_free(reply);
	}
	region->bytes = info.size;
	region->flags = info.flags & (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	load_mapping(region, reply, &info);
	vfio_user_message_free(reply);
	return 0;
}

/* Registers with eventfds; a server that has none may not even know the question. */
static void load_doorbells(struct vfio_user_device *v, unsigned index)
{
	struct vfio_user_io_fds info = {
		.argsz = sizeof(info) + DOORBELLS_MAX * sizeof(struct vfio_user_io_fd),
		.index = index,
	};
	struct vfio_user_message *reply;
	char error[128];

	if (call(v, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info), sizeof(info), &reply))
		return;
	memcpy(&info, reply->payload, sizeof(info));
	for (uint32_t i = 0; i < info.count && i < DOORBELLS_MAX; i++) {
		struct vfio_user_io_fd one;
		size_t at = sizeof(info) + i * sizeof(one);

		if (at + sizeof(one) > reply->bytes || v->doorbell_count == DOORBELLS_MAX)
			break;
		memcpy(&one, reply->payload + at, sizeof(one));
		/* A match on the data written would make it another register each; not used here. */
		if (one.type != VFIO_USER_IO_FD_IOEVENTFD || one.flags ||
			one.fd_index >= reply->fd_count ||
			one.offset >= v->base.region[index].bytes)
			continue;
		int fd = fcntl(reply->fds[one.fd_index], F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			continue;
		if (vfio_user_check_fd(fd, 0, 0, 0, error) != VFIO_USER_FD_EVENT) {
			close(fd);
			continue;
		}
		v->doorbell[v->doorbell_count++] = (struct doorbell){index, one.offset, fd};
	}
	vfio_user_message_free(reply);
}

static int load(struct vfio_user_device *v)
{
	struct vfio_user_irq_info irq = {.argsz = sizeof(irq), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	uint32_t regions = 0;
	int result = load_device_info(v, &regions);

	for (unsigned i = 0; !result && i < regions; i++) {
		result = load_region(v, i);
		if (!result && i <= VFIO_PCI_BAR5_REGION_INDEX && v->base.region[i].bytes)
			load_doorbells(v, i);
	}
	if (result)
		return result;
	if (v->channel.lost)
		return fail(v, -ENOTCONN, "asking about the device");
	if (!v->base.region[VFIO_PCI_CONFIG_REGION_INDEX].bytes)
		return fail(v, -ENODEV, "no configuration space");
	result = ask(v, VFIO_USER_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq));
	if (result)
		return fail(v, result, "asking about interrupts");
	v->base.vectors = irq.count;
	return 0;
}

/* --- Life ---------------------------------------------------------------------------------------- */

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
static int create(struct vfio_user_device **result, int connection, const char *name, char *error)
{
	struct vfio_user_device *v = calloc(1, sizeof(*v));

	if (!v) {
		close(connection);
		snprintf(error, DEVICE_ERROR_BYTES, "%s: %s", name, strerror(ENOMEM));
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

static int finish(struct device **device, struct vfio_user_device *v, int result, char *error)
{
	if (result) {
		snprintf(error, DEVICE_ERROR_BYTES, "%.100s: %.150s", v->base.name, v->base.error);
		close_device(&v->base);
		return result;
	}
	v->base.error[0] = '\0';
	*device = &v->base;
	return 0;
}

static int connect_to(struct device **device, int connection, const char *name, char *error)
{
	struct vfio_user_device *v;
	int result = create(&v, connection, name, error);

	if (result)
		return result;
	result = negotiate(v);
	if (!result)
		result = load(v);
	return finish(device, v, result, error);
}

int vfio_user_connect(struct device **device, int connection, char *error)
{
	return connect_to(device, connection, "connected", error);
}

static int open_path(struct device **device, const char *path, char *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timespec moment = {.tv_nsec = 10000000};
	char name[sizeof(((struct device *)0)->name)];
	int result = 0;

	if (strlen(path) >= sizeof(address.sun_path)) {
		snprintf(
			error, DEVICE_ERROR_BYTES, "vfio-user:%.100s…: the path is too long", path);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	snprintf(name, sizeof(name), "%s", path);
	int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection < 0) {
		snprintf(error, DEVICE_ERROR_BYTES, "vfio-user:%.100s: %s", path, strerror(errno));
		return -errno;
	}
	/* EAGAIN: the server has more newcomers waiting than it listens for. */
	for (unsigned waited = 0; waited < device_timeout_ms; waited += 10) {
		result = connect(connection, (struct sockaddr *)&address, sizeof(address)) ? -errno
											   : 0;
		if (result != -EAGAIN && result != -EINTR)
			break;
		nanosleep(&moment, NULL);
	}
	if (result) {
		snprintf(error, DEVICE_ERROR_BYTES,
			"vfio-user:%.100s: %s: is the soft NIC running?", path, strerror(-result));
		close(connection);
		return result;
	}
	return connect_to(device, connection, name, error);
}

static int check_range(struct vfio_user_device *v, struct bus_addr bus, uint64_t bytes)
{
	uint64_t last;

	if (!bus.value || !bytes || (bus.value | bytes) % DEVICE_PAGE ||
		__builtin_add_overflow(bus.value, bytes - 1, &last))
		return fail(v, -EINVAL, "window of %llu bytes at bus address 0x%llx",
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
	return result ? fail(v, result, "window at bus address 0x%llx",
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

static int adopt(struct device **device, const int *fds, unsigned count,
	const struct device_window *windows, unsigned window_count, char *error)
{
	char name[sizeof(((struct device *)0)->name)];
	struct vfio_user_device *v;
	uint32_t regions = 0;

	if (count != 1) {
		for (unsigned i = 0; i < count; i++)
			close(fds[i]);
		snprintf(error, DEVICE_ERROR_BYTES,
			"vfio-user: a device is kept by one descriptor, not %u", count);
		return -EINVAL;
	}
	name_of(fds[0], name, sizeof(name));
	int result = create(&v, fds[0], name, error);
	if (result)
		return result;
	for (unsigned i = 0; !result && i < window_count; i++)
		result = add_window(v, &windows[i]);
	/* vfio_user.h: after two replies nothing meant for the dead is left. */
	if (!result)
		result = load_device_info(v, &regions);
	if (!result)
		result = load(v);
	return finish(device, v, result, error);
}

static int keep(struct device *device, int *fds)
{
	fds[0] = of(device)->channel.socket;
	return 1;
}

/* --- Access -------------------------------------------------------------------------------------- */

static int read_region(
	struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	struct vfio_user_device *v = of(device);

	while (bytes) {
		uint32_t step = bytes < VFIO_USER_CHUNK ? (uint32_t)bytes : VFIO_USER_CHUNK;
		struct vfio_user_region_access access = {offset, region, step};
		struct vfio_user_message *reply;
		int result = call(v, VFIO_USER_REGION_READ, &access, sizeof(access),
			sizeof(access) + step, &reply);

		if (result)
			return fail(v, result, "reading region %u at 0x%llx", region,
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
			return fail(v, result, "writing region %u at 0x%llx", region,
				(unsigned long long)offset);
		data = (const uint8_t *)data + step;
		offset += step;
		bytes -= step;
	}
	return 0;
}

/* --- Windows ------------------------------------------------------------------------------------- */

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
		return fail(v, result, "mapping %llu bytes at bus address 0x%llx",
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
		return fail(v, -EINVAL, "peer's region %u", region);
	const struct device_region *target = &peer->region[region];
	for (unsigned i = 0; i < target->area_count; i++) {
		const struct device_area *area = &target->area[i];

		if (offset >= area->offset && offset - area->offset <= area->bytes &&
			bytes <= area->bytes - (offset - area->offset))
			return map_fd(
				v, bus, bytes, access, target->fd, target->fd_offset + offset);
	}
	int fd = peer->ops->doorbell_fd(peer, region, offset);
	if (fd >= 0)
		return map_fd(v, bus, bytes, access, fd, 0);
	return fail(v, -ENOTSUP, "region %u of %.60s cannot be mapped at 0x%llx", region,
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
		result = call(v, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), 0, NULL);
	if (result)
		return fail(
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
	int result = call(v, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), 0, NULL);

	if (result)
		return fail(v, result, "unmapping all");
	channel_remove_windows(&v->channel);
	return 0;
}

/* --- Events -------------------------------------------------------------------------------------- */

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
			return fail(v, result, "assigning interrupt %u", first + i);
	}
	return 0;
}

static int reset(struct device *device)
{
	int result = call(of(device), VFIO_USER_DEVICE_RESET, NULL, 0, 0, NULL);

	return result ? fail(of(device), result, "reset") : 0;
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

	return result ? fail(of(device), result, "connection") : 0;
}

const struct device_ops vfio_user_device_ops = {
	.type = "vfio-user",
	.open = open_path,
	.adopt = adopt,
	.close = close_device,
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
