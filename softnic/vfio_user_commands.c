/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vfio_user/descriptor.h>

/*
 * Each command function reads its request from the message, whose payload is ours alone by now, and
 * makes the reply's payload in vfu->reply. It returns 0 or -errno; then the reply is the error.
 */

/* Copies the fixed part of a request; false if it is not all there. */
static bool request(const struct vfio_user_message *message, void *fixed, size_t bytes)
{
	if (message->bytes < bytes)
		return false;
	memcpy(fixed, message->payload, bytes);
	return true;
}

static void reply_add(struct vfu *vfu, const void *data, size_t bytes)
{
	memcpy(vfu->reply + vfu->reply_bytes, data, bytes);
	vfu->reply_bytes += (uint32_t)bytes;
}

/* --- VERSION ---------------------------------------------------------------------------------- */

static int do_version(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_limits client;
	struct error error;

	if (vfu->negotiated)
		return -EINVAL;
	if (vfio_user_version_parse(message->payload, message->bytes, &client, &error) != 0) {
		vfu_log(vfu, "vfio-user: %.128s", error.text);
		return -EINVAL;
	}
	if (client.major != VFIO_USER_MAJOR) {
		vfu_log(vfu, "vfio-user: client speaks version %u.%u, this is %u.%u", client.major,
			client.minor, VFIO_USER_MAJOR, VFIO_USER_MINOR);
		return -ENOTSUP;
	}
	if (client.max_data_xfer_size < VFU_PAGE) {
		/* A word must reach the client in one piece, and a packet not byte by byte. */
		vfu_log(vfu, "vfio-user: client takes %u bytes a message, less than %u",
			client.max_data_xfer_size, VFU_PAGE);
		return -ENOTSUP;
	}
	if (!(client.pgsizes & VFU_PAGE)) {
		vfu_log(vfu, "vfio-user: client does not map in pages of %u bytes", VFU_PAGE);
		return -ENOTSUP;
	}

	struct vfio_user_limits own = {
		.major = VFIO_USER_MAJOR,
		.minor = client.minor < VFIO_USER_MINOR ? client.minor : VFIO_USER_MINOR,
		.named = client.named,
		.max_msg_fds = VFIO_USER_FDS_MAX,
		.max_data_xfer_size = VFIO_USER_DEFAULT_TRANSFER,
		.max_dma_maps = VFIO_USER_DEFAULT_MAPS,
		.pgsizes = VFU_PAGE,
		.write_multiple = client.write_multiple,
	};
	int bytes = vfio_user_version_build(vfu->reply, VFIO_USER_MESSAGE_MAX, &own);
	if (bytes < 0)
		return bytes;
	vfu->reply_bytes = (uint32_t)bytes;
	vfu->client_fds = client.max_msg_fds;

	/* An engine uses this number from the moment `negotiated` is set. */
	pthread_mutex_lock(&vfu->dma);
	vfu->client_transfer = client.max_data_xfer_size < VFIO_USER_DEFAULT_TRANSFER
				       ? client.max_data_xfer_size
				       : VFIO_USER_DEFAULT_TRANSFER;
	pthread_mutex_unlock(&vfu->dma);
	return 0;
}

/* --- Windows ---------------------------------------------------------------------------------- */

/* Index of the first window that ends at or after `address`. */
static unsigned find_window(const struct vfu *vfu, uint64_t address)
{
	unsigned low = 0;
	unsigned high = vfu->window_count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (vfu->window[middle].last < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int do_dma_map(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_dma_map map;
	struct error error;
	uint64_t last;

	if (!request(message, &map, sizeof(map)) || map.argsz < sizeof(map))
		return -EINVAL;
	struct vfu_window window = {
		.bus = {map.address},
		.bytes = map.size,
		.access = map.flags,
		.kind = VFU_WINDOW_MESSAGE,
		.fd = -1,
		.fd_offset = map.offset,
	};
	if (!map.flags || (map.flags & ~(VFU_READ | VFU_WRITE)))
		return -EINVAL;
	if (!map.size || (map.size | map.address) % VFU_PAGE ||
		__builtin_add_overflow(map.address, map.size - 1, &last))
		return -EINVAL;
	if (message->fds_lost || message->fd_count > 1)
		return -EINVAL;
	if (vfu->window_count == VFIO_USER_DEFAULT_MAPS)
		return -ENOSPC;
	unsigned at = find_window(vfu, map.address);
	if (at < vfu->window_count && vfu->window[at].first <= last)
		return -EEXIST;

	if (message->fd_count) {
		window.fd = message->fds[0];
		int kind = vfio_user_check_fd(window.fd, map.offset, map.size, map.flags, &error);
		if (kind < 0) {
			vfu_log(vfu, "vfio-user: refused window at bus address 0x%llx: %.128s",
				(unsigned long long)map.address, error.text);
			return kind;
		}
		window.kind = kind == VFIO_USER_FD_EVENT ? VFU_WINDOW_DOORBELL : VFU_WINDOW_MEMORY;
	}
	if (vfu->window_count == vfu->window_room) {
		unsigned room = vfu->window_room ? 2 * vfu->window_room : 64;
		struct vfu_range *more = realloc(vfu->window, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		vfu->window = more;
		vfu->window_room = room;
	}
	int result = vfu->config.ops->dma_map(vfu->config.device, &window);
	if (result)
		return result;
	memmove(&vfu->window[at + 1], &vfu->window[at],
		(vfu->window_count - at) * sizeof(vfu->window[0]));
	vfu->window[at] = (struct vfu_range){map.address, last};
	vfu->window_count++;
	return 0;
}

static void unmap_all(struct vfu *vfu)
{
	vfu->window_count = 0;
	vfu->config.ops->dma_unmap_all(vfu->config.device);
}

/*
 * The specification wants "exactly a previous mapping"; QEMU unmaps whatever range its guest's
 * IOMMU invalidates, which covers many mappings or none. So this does as the kernel's VFIO does
 * (VFIO_IOMMU_UNMAP_DMA of type 1, version 2): all mappings in the range go; a range that would
 * cut one is refused, and nothing goes. Afterwards no window is left in a range that was
 * unmapped.
 */
static int unmap_range(struct vfu *vfu, uint64_t address, uint64_t size)
{
	uint64_t last;

	if (!size || (size | address) % VFU_PAGE ||
		__builtin_add_overflow(address, size - 1, &last))
		return -EINVAL;
	unsigned at = find_window(vfu, address), end = find_window(vfu, last);

	if (end < vfu->window_count && vfu->window[end].first <= last) {
		if (vfu->window[end].last > last)
			return -EINVAL;
		end++;
	}
	if (at == end)
		return 0;
	if (vfu->window[at].first < address)
		return -EINVAL;
	vfu->config.ops->dma_unmap(vfu->config.device, (struct bus_addr){address}, size);
	memmove(&vfu->window[at], &vfu->window[end],
		(vfu->window_count - end) * sizeof(vfu->window[0]));
	vfu->window_count -= end - at;
	return 0;
}

static int do_dma_unmap(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_dma_unmap unmap;
	int result = 0;

	if (!request(message, &unmap, sizeof(unmap)) || unmap.argsz < sizeof(unmap))
		return -EINVAL;
	if (unmap.flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (!unmap.flags)
		result = unmap_range(vfu, unmap.address, unmap.size);
	else if (unmap.address || unmap.size)
		result = -EINVAL;
	else
		unmap_all(vfu);
	reply_add(vfu, &unmap, sizeof(unmap));
	return result;
}

/* --- Information ------------------------------------------------------------------------------ */

static int do_device_info(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_device_info info;

	if (!request(message, &info, sizeof(info)) || info.argsz < sizeof(info))
		return -EINVAL;
	info = (struct vfio_user_device_info){
		.argsz = sizeof(info),
		.flags = VFIO_DEVICE_FLAGS_PCI |
			 (vfu->config.ops->reset ? VFIO_DEVICE_FLAGS_RESET : 0),
		.region_count = VFU_REGIONS,
		.irq_count = VFIO_PCI_NUM_IRQS,
	};
	reply_add(vfu, &info, sizeof(info));
	return 0;
}

/*
 * A request with too small an argsz gets the size it should have asked for ("Message sizes") and
 * nothing to follow. So the capabilities' flag, which says that they are "found in the reply", is
 * not set: clients refuse one with an offset of 0. A descriptor goes only with the whole reply: a
 * client that asks twice does not get it twice, as with libvfio-user.
 */
static int do_region_info(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_region_info info;

	if (!request(message, &info, sizeof(info)) || info.argsz < sizeof(info))
		return -EINVAL;
	if (info.index >= VFU_REGIONS)
		return -EINVAL;
	const struct vfu_region *region = &vfu->config.region[info.index];
	uint32_t room = info.argsz;
	bool mappable = region->mappable && region->bytes && vfu->client_fds;
	bool sparse = mappable && region->area_count;

	info = (struct vfio_user_region_info){
		.argsz = sizeof(info),
		.flags = region->bytes ? region->flags : 0,
		.index = info.index,
		.size = region->bytes,
	};
	if (mappable) {
		info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
		info.offset = region->fd_offset;
	}
	if (sparse)
		info.argsz += (uint32_t)(sizeof(struct vfio_user_sparse) +
					 region->area_count * sizeof(struct vfio_user_area));
	bool whole = room >= info.argsz;
	if (sparse && whole) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		info.capability_offset = sizeof(info);
	}
	reply_add(vfu, &info, sizeof(info));
	if (!whole)
		return 0;
	if (sparse) {
		struct vfio_user_sparse header = {
			.header = {.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1},
			.count = region->area_count,
		};
		reply_add(vfu, &header, sizeof(header));
		reply_add(vfu, region->areas, region->area_count * sizeof(region->areas[0]));
	}
	if (mappable)
		vfu->reply_fds[vfu->reply_fd_count++] = region->fd;
	return 0;
}

static int do_io_fds(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_io_fds info;

	if (!request(message, &info, sizeof(info)) || info.argsz < sizeof(info) || info.flags)
		return -EINVAL;
	if (info.index >= VFU_REGIONS)
		return -EINVAL;
	const struct vfu_region *region = &vfu->config.region[info.index];
	uint32_t count = region->io_fd_count;

	if (count > vfu->client_fds)
		count = vfu->client_fds;
	uint32_t room = info.argsz;
	info.count = count;
	info.argsz = (uint32_t)(sizeof(info) + count * sizeof(struct vfio_user_io_fd));
	reply_add(vfu, &info, sizeof(info));
	if (room < info.argsz)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		struct vfio_user_io_fd one = {
			.offset = region->io_fds[i].offset,
			.size = region->io_fds[i].bytes,
			.fd_index = i,
			.type = VFIO_USER_IO_FD_IOEVENTFD,
		};
		reply_add(vfu, &one, sizeof(one));
		vfu->reply_fds[vfu->reply_fd_count++] = region->io_fds[i].fd;
	}
	return 0;
}

/* --- Interrupts ------------------------------------------------------------------------------- */

static unsigned vectors_of(const struct vfu *vfu, uint32_t index)
{
	return index == VFIO_PCI_MSIX_IRQ_INDEX ? vfu->config.vectors : 0;
}

static int do_irq_info(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_irq_info info;

	if (!request(message, &info, sizeof(info)) || info.argsz < sizeof(info) ||
		info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info.argsz = sizeof(info);
	info.count = vectors_of(vfu, info.index);
	info.flags = info.count ? VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE : 0;
	reply_add(vfu, &info, sizeof(info));
	return 0;
}

static void set_vector_fd(struct vfu *vfu, unsigned vector, int fd)
{
	pthread_mutex_lock(&vfu->irq);
	int old = vfu->vector[vector].fd;
	vfu->vector[vector].fd = fd;
	if (fd < 0)
		vfu->vector[vector].pending = false;
	pthread_mutex_unlock(&vfu->irq);
	if (old >= 0)
		close(old);
}

static void set_vector_mask(struct vfu *vfu, unsigned vector, bool masked)
{
	pthread_mutex_lock(&vfu->irq);
	vfu->vector[vector].masked = masked;
	bool fire = !masked && vfu->vector[vector].pending;
	if (fire)
		vfu->vector[vector].pending = false;
	pthread_mutex_unlock(&vfu->irq);
	if (fire)
		vfu_interrupt(vfu, vector);
}

static void release_vectors(struct vfu *vfu)
{
	for (unsigned i = 0; i < vfu->config.vectors; i++) {
		set_vector_fd(vfu, i, -1);
		set_vector_mask(vfu, i, false);
	}
}

static bool one_bit(uint32_t bits)
{
	return bits && !(bits & (bits - 1));
}

/* Takes the descriptors of the message into the vectors, all or none. */
static int assign_vectors(
	struct vfu *vfu, struct vfio_user_message *message, const struct vfio_user_irq_set *set)
{
	struct error error;

	if (message->fd_count && message->fd_count != set->count)
		return -EINVAL;
	for (unsigned i = 0; i < message->fd_count; i++)
		if (vfio_user_check_fd(message->fds[i], 0, 0, 0, &error) != VFIO_USER_FD_EVENT) {
			vfu_log(vfu, "vfio-user: an interrupt's descriptor is no eventfd");
			return -EINVAL;
		}
	for (unsigned i = 0; i < set->count; i++) {
		int fd = -1;

		if (message->fd_count) {
			fd = message->fds[i];
			message->fds[i] = -1;
		}
		set_vector_fd(vfu, set->start + i, fd);
	}
	return 0;
}

static int do_set_irqs(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_irq_set set;

	if (!request(message, &set, sizeof(set)) || set.argsz < sizeof(set) || message->fds_lost)
		return -EINVAL;
	uint32_t data = set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t action = set.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	if (!one_bit(data) || !one_bit(action) || (set.flags & ~(data | action)) ||
		set.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	if (data != VFIO_IRQ_SET_DATA_EVENTFD && message->fd_count)
		return -EINVAL;
	if (data == VFIO_IRQ_SET_DATA_NONE && action == VFIO_IRQ_SET_ACTION_TRIGGER && !set.start &&
		!set.count) {
		if (vectors_of(vfu, set.index))
			release_vectors(vfu);
		return 0;
	}
	if (!set.count || (uint64_t)set.start + set.count > vectors_of(vfu, set.index))
		return -EINVAL;
	const uint8_t *chosen = NULL;
	if (data == VFIO_IRQ_SET_DATA_EVENTFD) {
		/* Eventfds that tell of masking have no user here. */
		if (action != VFIO_IRQ_SET_ACTION_TRIGGER)
			return -ENOTSUP;
		return assign_vectors(vfu, message, &set);
	}
	if (data == VFIO_IRQ_SET_DATA_BOOL) {
		if (message->bytes - sizeof(set) < set.count)
			return -EINVAL;
		chosen = message->payload + sizeof(set);
	}
	for (unsigned i = 0; i < set.count; i++) {
		if (chosen && !chosen[i])
			continue;
		if (action == VFIO_IRQ_SET_ACTION_TRIGGER)
			vfu_interrupt(vfu, set.start + i);
		else
			set_vector_mask(vfu, set.start + i, action == VFIO_IRQ_SET_ACTION_MASK);
	}
	return 0;
}

/* --- Access to regions ------------------------------------------------------------------------ */

static int check_access(
	const struct vfu *vfu, uint32_t index, uint64_t offset, uint32_t count, uint32_t flag)
{
	if (index >= VFU_REGIONS || !count || count > VFIO_USER_DEFAULT_TRANSFER)
		return -EINVAL;
	const struct vfu_region *region = &vfu->config.region[index];
	if (offset > region->bytes || count > region->bytes - offset)
		return -EINVAL;
	return region->flags & flag ? 0 : -EPERM;
}

static int do_region_read(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_region_access access;

	if (!request(message, &access, sizeof(access)))
		return -EINVAL;
	int result = check_access(
		vfu, access.region, access.offset, access.count, VFIO_REGION_INFO_FLAG_READ);
	if (result)
		return result;
	reply_add(vfu, &access, sizeof(access));
	result = vfu->config.ops->region_read(vfu->config.device, access.region, access.offset,
		vfu->reply + vfu->reply_bytes, access.count);
	vfu->reply_bytes += access.count;
	return result;
}

static int write_region(
	struct vfu *vfu, const struct vfio_user_region_access *access, const uint8_t *data)
{
	int result = check_access(
		vfu, access->region, access->offset, access->count, VFIO_REGION_INFO_FLAG_WRITE);

	if (result)
		return result;
	return vfu->config.ops->region_write(
		vfu->config.device, access->region, access->offset, data, access->count);
}

static int do_region_write(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_region_access access;

	if (!request(message, &access, sizeof(access)) ||
		message->bytes - sizeof(access) != access.count)
		return -EINVAL;
	int result = write_region(vfu, &access, message->payload + sizeof(access));
	reply_add(vfu, &access, sizeof(access));
	return result;
}

/* Writes in order up to the first that fails; the reply says how many were done. */
static int do_write_multi(struct vfu *vfu, struct vfio_user_message *message)
{
	struct vfio_user_write_multi multi;
	struct vfio_user_small_write small;
	uint64_t done = 0;
	int result = 0;

	if (!request(message, &multi, sizeof(multi)))
		return -EINVAL;
	uint64_t room = (message->bytes - sizeof(multi)) / sizeof(small);
	if (multi.count != room || message->bytes != sizeof(multi) + room * sizeof(small))
		return -EINVAL;
	while (!result && done < multi.count) {
		memcpy(&small, message->payload + sizeof(multi) + done * sizeof(small),
			sizeof(small));
		struct vfio_user_region_access access = {small.offset, small.region, small.count};
		result = small.count > sizeof(small.data) ? -EINVAL
							  : write_region(vfu, &access, small.data);
		if (!result)
			done++;
	}
	if (result && !done)
		return result;
	multi.count = done;
	reply_add(vfu, &multi, sizeof(multi));
	return 0;
}

static int do_reset(struct vfu *vfu, struct vfio_user_message *message)
{
	(void)message;
	return vfu->config.ops->reset ? vfu->config.ops->reset(vfu->config.device) : -ENOTSUP;
}

/* --- Dispatch --------------------------------------------------------------------------------- */

static int run(struct vfu *vfu, struct vfio_user_message *message)
{
	/* What a command without business with descriptors brings along is closed with the
	 * message. */
	switch (message->header.command) {
	case VFIO_USER_VERSION:
		return do_version(vfu, message);
	case VFIO_USER_DMA_MAP:
		return do_dma_map(vfu, message);
	case VFIO_USER_DMA_UNMAP:
		return do_dma_unmap(vfu, message);
	case VFIO_USER_DEVICE_GET_INFO:
		return do_device_info(vfu, message);
	case VFIO_USER_DEVICE_GET_REGION_INFO:
		return do_region_info(vfu, message);
	case VFIO_USER_DEVICE_GET_REGION_IO_FDS:
		return do_io_fds(vfu, message);
	case VFIO_USER_DEVICE_GET_IRQ_INFO:
		return do_irq_info(vfu, message);
	case VFIO_USER_DEVICE_SET_IRQS:
		return do_set_irqs(vfu, message);
	case VFIO_USER_REGION_READ:
		return do_region_read(vfu, message);
	case VFIO_USER_REGION_WRITE:
		return do_region_write(vfu, message);
	case VFIO_USER_REGION_WRITE_MULTI:
		return do_write_multi(vfu, message);
	case VFIO_USER_DEVICE_RESET:
		return do_reset(vfu, message);
	default:
		/* DEVICE_FEATURE and MIG_DATA: no migration. DMA_READ and DMA_WRITE are ours to
		 * send. */
		return -ENOTSUP;
	}
}

void vfu_command(struct vfu *vfu, struct vfio_user_message *message)
{
	uint16_t command = message->header.command;
	bool proper = (message->header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND &&
		      (vfu->negotiated || command == VFIO_USER_VERSION);

	vfu->reply_bytes = 0;
	vfu->reply_fd_count = 0;
	int result = proper ? run(vfu, message) : -EINVAL;

	/* Before the version is settled an error ends it; after that a client may go on. */
	bool agreed = !vfu->negotiated && !result;
	if (!vfu->negotiated && result)
		vfu->give_up = true;
	if (message->header.flags & VFIO_USER_NO_REPLY && command != VFIO_USER_VERSION)
		return;

	struct vfio_user_header header = {
		.id = message->header.id,
		.command = command,
		.size = (uint32_t)sizeof(header) + (result ? 0 : vfu->reply_bytes),
		.flags = VFIO_USER_TYPE_REPLY | (result ? VFIO_USER_ERROR : 0),
		.error = result ? (uint32_t)-result : 0,
	};
	struct iovec payload = {vfu->reply, result ? 0 : vfu->reply_bytes};
	vfu_transmit(vfu, &header, &payload, 1, vfu->reply_fds, result ? 0 : vfu->reply_fd_count);
	if (agreed) {
		vfu->negotiated = true;
		if (vfu->config.ops->connected)
			vfu->config.ops->connected(vfu->config.device);
	}
}

void vfu_forget_client(struct vfu *vfu)
{
	release_vectors(vfu);
	unmap_all(vfu);
}
