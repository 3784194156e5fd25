/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <vfio_user/descriptor.h>
#include <vfio_user/version.h>

#define REGION_ROOM_MAX 4096u /* the longest region information accepted */

int vfio_user_fail(struct vfio_user_device *v, int result, const char *format, ...)
{
	struct error *error = &v->base.error;
	va_list arguments;

	va_start(arguments, format);
	error_set_list(error, result, format, arguments);
	va_end(arguments);
	return error_set(error, result, "%s: %s", error->text, strerror(-result));
}

int vfio_user_call(struct vfio_user_device *v, uint16_t command, const void *payload, size_t bytes,
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
	int result = vfio_user_call(v, command, structure, bytes, bytes, &reply);

	if (result)
		return result;
	memcpy(structure, reply->payload, bytes);
	vfio_user_message_free(reply);
	return 0;
}

int vfio_user_greet(struct vfio_user_device *v)
{
	struct vfio_user_limits own = {
		.major = VFIO_USER_MAJOR,
		.minor = VFIO_USER_MINOR,
		.named = VFIO_USER_HAS_FDS | VFIO_USER_HAS_TRANSFER | VFIO_USER_HAS_PAGES,
		.max_msg_fds = VFIO_USER_FDS_MAX,
		.max_data_xfer_size = VFIO_USER_CHUNK,
		.pgsizes = DEVICE_PAGE,
	};
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	uint8_t payload[512];
	struct channel_request request = {
		.command = VFIO_USER_DEVICE_GET_INFO, .parts = {{&info, sizeof(info)}}, .fd = -1};
	int result = 0;

	if (!v->adopted) {
		int bytes = vfio_user_version_build(payload, sizeof(payload), &own);

		if (bytes < 0)
			return vfio_user_fail(v, bytes, "version");
		request.command = VFIO_USER_VERSION;
		request.parts[0] = (struct iovec){payload, (size_t)bytes};
	}
	for (v->awaiting = 0; !result && v->awaiting < (v->adopted ? 2 : 1); v->awaiting++)
		result = channel_post(&v->channel, &request, &v->awaited[v->awaiting]);
	return result ? vfio_user_fail(v, result, "asking what the device is") : 0;
}

static int check_version(struct vfio_user_device *v, const struct vfio_user_message *reply)
{
	struct vfio_user_limits server;
	struct error error;

	if (vfio_user_version_parse(reply->payload, reply->bytes, &server, &error) != 0)
		return vfio_user_fail(v, -EPROTO, "%s", error.text);
	if (server.major != VFIO_USER_MAJOR || server.minor > VFIO_USER_MINOR)
		return vfio_user_fail(
			v, -EPROTO, "the device speaks version %u.%u", server.major, server.minor);
	if (server.max_data_xfer_size < VFIO_USER_CHUNK)
		return vfio_user_fail(v, -EPROTO, "the device takes less than %u bytes a message",
			VFIO_USER_CHUNK);
	return 0;
}

int vfio_user_greeted(struct vfio_user_device *v)
{
	const struct channel_request request = {
		.command = v->adopted ? VFIO_USER_DEVICE_GET_INFO : VFIO_USER_VERSION,
		.reply_bytes = v->adopted ? sizeof(struct vfio_user_device_info)
					  : sizeof(struct vfio_user_version),
	};

	while (v->awaiting) {
		struct vfio_user_message *reply;
		int result = channel_collect(&v->channel, v->awaited[0], &request, &reply);

		if (result == -EAGAIN)
			return result;
		if (result == -EBUSY && !v->adopted)
			return vfio_user_fail(v, result, "another driver has this device");
		if (result < 0)
			return vfio_user_fail(v, result,
				v->adopted ? "asking what the device is"
					   : "negotiating the version");
		result = v->adopted ? 0 : check_version(v, reply);
		vfio_user_message_free(reply);
		if (result)
			return result;
		v->awaited[0] = v->awaited[1];
		v->awaiting--;
	}
	return 0;
}

/* Is it a PCI device, and of how many regions? */
static int identify(struct vfio_user_device *v, uint32_t *regions)
{
	struct vfio_user_device_info info = {.argsz = sizeof(info)};
	int result = ask(v, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info));

	if (result)
		return vfio_user_fail(v, result, "asking what the device is");
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return vfio_user_fail(v, -ENODEV, "not a PCI device");
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

/* Takes the region's memory from the reply, if it can be mapped without fear. -ENOMEM: cannot
 * tell. */
static int load_mapping(struct device_region *region, struct vfio_user_message *reply,
	const struct vfio_user_region_info *info)
{
	struct error error;
	uint64_t end = 0;
	int kind = 0;

	if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP) || !info->size || reply->fd_count != 1 ||
		!load_areas(region, reply, info))
		goto unmappable;
	for (unsigned i = 0; i < region->area_count; i++)
		if (region->area[i].offset + region->area[i].bytes > end)
			end = region->area[i].offset + region->area[i].bytes;
	kind = vfio_user_check_fd(reply->fds[0], info->offset, end, VFIO_DMA_MAP_FLAG_READ, &error);
	if (kind != VFIO_USER_FD_MEMORY)
		goto unmappable;
	region->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	region->fd_offset = info->offset;
	region->fd = reply->fds[0];
	reply->fds[0] = -1;
	return 0;

unmappable:
	region->area_count = 0;
	return kind == -ENOMEM ? kind : 0;
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
		int result = vfio_user_call(v, VFIO_USER_DEVICE_GET_REGION_INFO, &info,
			sizeof(info), sizeof(info), &reply);
		if (result)
			return vfio_user_fail(v, result, "asking about region %u", index);
		memcpy(&info, reply->payload, sizeof(info));
		if (info.argsz <= room || info.argsz > REGION_ROOM_MAX)
			break;
		room = info.argsz;
		if (attempt == 0)
			vfio_user_message_free(reply);
	}
	region->bytes = info.size;
	region->flags = info.flags & (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	int result = load_mapping(region, reply, &info);
	vfio_user_message_free(reply);
	return result ? vfio_user_fail(v, result, "looking at the memory of region %u", index) : 0;
}

/* Registers with eventfds; a server that has none may not even know the question. What fails on
 * this side is an error: a NIC without its doorbell would be found out by its peers, too late. */
static int load_doorbells(struct vfio_user_device *v, unsigned index)
{
	struct vfio_user_io_fds info = {
		.argsz = sizeof(info) + DOORBELLS_MAX * sizeof(struct vfio_user_io_fd),
		.index = index,
	};
	struct vfio_user_message *reply;
	struct error error;

	int result = vfio_user_call(
		v, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info), sizeof(info), &reply);
	if (result)
		return v->channel.refused ? 0
					  : vfio_user_fail(v, result,
						    "asking about doorbells of region %u", index);
	memcpy(&info, reply->payload, sizeof(info));
	for (uint32_t i = 0; !result && i < info.count && i < DOORBELLS_MAX; i++) {
		struct vfio_user_io_fd one;
		size_t at = sizeof(info) + i * sizeof(one);

		if (at + sizeof(one) > reply->bytes || v->doorbell_count == DOORBELLS_MAX)
			break;
		memcpy(&one, reply->payload + at, sizeof(one));
		/* A match on the data written would make it another register each; not used
		 * here. */
		if (one.type != VFIO_USER_IO_FD_IOEVENTFD || one.flags ||
			one.fd_index >= reply->fd_count ||
			one.offset >= v->base.region[index].bytes)
			continue;
		int fd = fcntl(reply->fds[one.fd_index], F_DUPFD_CLOEXEC, 0);
		if (fd < 0) {
			result =
				vfio_user_fail(v, -errno, "keeping a doorbell of region %u", index);
			continue;
		}
		int kind = vfio_user_check_fd(fd, 0, 0, 0, &error);
		if (kind != VFIO_USER_FD_EVENT) {
			close(fd);
			if (kind == -ENOMEM)
				result = vfio_user_fail(
					v, kind, "looking at a doorbell of region %u", index);
			continue;
		}
		v->doorbell[v->doorbell_count++] = (struct doorbell){index, one.offset, fd};
	}
	vfio_user_message_free(reply);
	return result;
}

int vfio_user_load(struct vfio_user_device *v)
{
	struct vfio_user_irq_info irq = {.argsz = sizeof(irq), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	uint32_t regions = 0;
	int result = identify(v, &regions);

	for (unsigned i = 0; !result && i < regions; i++) {
		result = load_region(v, i);
		if (!result && i <= VFIO_PCI_BAR5_REGION_INDEX && v->base.region[i].bytes)
			result = load_doorbells(v, i);
	}
	if (result)
		return result;
	if (!v->base.region[VFIO_PCI_CONFIG_REGION_INDEX].bytes)
		return vfio_user_fail(v, -ENODEV, "no configuration space");
	result = ask(v, VFIO_USER_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq));
	if (result)
		return vfio_user_fail(v, result, "asking about interrupts");
	v->base.vectors = irq.count;
	return 0;
}
