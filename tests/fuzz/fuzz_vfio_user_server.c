/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes from a client. The first byte chooses: bit 0, negotiate properly first; bit 1, the input is
 * a list of messages (command, flags, descriptors, length, payload) framed for it, else it is the
 * stream itself, in pieces of 1 to 256 bytes.
 *
 * Beyond what sanitizers see, the device checks that the server keeps its promises: accesses
 * inside regions, windows that do not wrap or overlap, unmapping of whole windows, and no
 * descriptor left at the end.
 */
#include "softnic/vfio_user.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vfio_user/message.h>

#define BAR0    4096u
#define CONFIG  256u
#define WINDOWS 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct {
	uint64_t bus, bytes;
} windows[WINDOWS];
static unsigned window_count;

static uint64_t region_bytes(unsigned region)
{
	if (region == VFIO_PCI_BAR0_REGION_INDEX)
		return BAR0;
	return region == VFIO_PCI_CONFIG_REGION_INDEX ? CONFIG : 0;
}

static void check(bool promise)
{
	if (!promise)
		abort();
}

static int region_read(void *device, unsigned region, uint64_t offset, void *data, uint32_t bytes)
{
	check(bytes && offset + bytes <= region_bytes(region) && offset + bytes >= bytes);
	memset(data, 0, bytes);
	return offset & 8 ? -22 : 0;
}

static int region_write(
	void *device, unsigned region, uint64_t offset, const void *data, uint32_t bytes)
{
	uint8_t copy[BAR0];

	check(bytes && offset + bytes <= region_bytes(region) && offset + bytes >= bytes);
	memcpy(copy, data, bytes);
	return offset & 8 ? -22 : 0;
}

static int dma_map(void *device, const struct vfu_window *w)
{
	uint64_t last = w->bus.value + (w->bytes - 1);

	check(w->bytes && last >= w->bus.value && w->access && w->access < 4);
	check((w->kind == VFU_WINDOW_MESSAGE) == (w->fd < 0));
	for (unsigned i = 0; i < window_count; i++)
		check(last < windows[i].bus ||
			w->bus.value > windows[i].bus + (windows[i].bytes - 1));
	if (window_count == WINDOWS)
		return -28;
	windows[window_count].bus = w->bus.value;
	windows[window_count++].bytes = w->bytes;
	return 0;
}

static void dma_unmap(void *device, struct bus_addr bus, uint64_t bytes)
{
	unsigned before = window_count;

	for (unsigned i = window_count; i-- > 0;) {
		uint64_t from = windows[i].bus - bus.value;

		if (from >= bytes && bus.value - windows[i].bus >= windows[i].bytes)
			continue;
		check(from < bytes && windows[i].bytes <= bytes - from);
		windows[i] = windows[--window_count];
	}
	check(window_count < before);
}

static void dma_unmap_all(void *device)
{
	window_count = 0;
}

static int reset(void *device)
{
	return 0;
}

static const struct vfu_ops ops = {
	.region_read = region_read,
	.region_write = region_write,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.dma_unmap_all = dma_unmap_all,
	.reset = reset,
};

static int memory = -1;
static int event = -1;

static void serve(struct vfu *vfu, int client)
{
	struct pollfd ready = {.fd = vfu_fd(vfu), .events = POLLIN};
	struct vfio_user_stream stream = {0};
	struct vfio_user_message *reply;

	while (poll(&ready, 1, 0) > 0) {
		vfu_service(vfu);
		while (vfio_user_receive(&stream, client, &reply) > 0)
			vfio_user_message_free(reply);
		check(!stream.partial || !stream.have); /* replies are whole */
	}
	vfio_user_stream_reset(&stream);
}

static void say(int client, uint16_t command, uint32_t flags, const uint8_t *payload, size_t bytes,
	unsigned fd_count)
{
	struct vfio_user_header header = {
		.command = command, .size = (uint32_t)(16 + bytes), .flags = flags};
	struct iovec parts[2] = {{&header, 16}, {(void *)payload, bytes}};
	int fds[4] = {memory, event, memory, event};

	vfio_user_send(client, parts, 2, fds + (fd_count >> 2 & 1), fd_count & 3);
}

static int lowest_free_fd(void)
{
	int fd = fcntl(memory, F_DUPFD_CLOEXEC, 0);

	close(fd);
	return fd;
}

/* The engine's messages: their ids count from 0, so an input can answer them. */
static void move(struct vfu *vfu, size_t turn)
{
	static uint8_t data[5000];
	struct bus_addr bus = {turn % 3 * 0x1000};
	int result = vfu_dma_read(vfu, bus, data, turn & 4 ? 8 : sizeof(data));

	check(result <= 0 && result > -4096);
	if (turn % 5 == 0)
		vfu_dma_cancel(vfu);
	result = vfu_dma_write(vfu, bus, data, turn % 64);
	check(result == 0 || result == -107); /* ENOTCONN */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint8_t version[] = "\0\0\1\0{\"capabilities\":{\"max_msg_fds\":4}}";
	struct error error;
	struct vfu *vfu;
	int ends[2];

	if (bytes < 2)
		return 0;
	if (memory < 0) {
		memory = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		check(memory >= 0 && ftruncate(memory, 0x10000) == 0 &&
			fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
		event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	int next_fd = lowest_free_fd();
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	const struct vfio_user_area area = {0, 4096};
	const struct vfu_io_fd io_fd = {.offset = 64, .fd = event};
	struct vfu_config config = {
		.connection = ends[0], .ops = &ops, .vectors = 2, .dma_timeout_ms = 1};
	config.region[VFIO_PCI_BAR0_REGION_INDEX] = (struct vfu_region){.bytes = BAR0,
		.flags = 3,
		.fd = memory,
		.mappable = true,
		.areas = &area,
		.area_count = 1,
		.io_fds = &io_fd,
		.io_fd_count = 1};
	config.region[VFIO_PCI_CONFIG_REGION_INDEX] =
		(struct vfu_region){.bytes = CONFIG, .flags = 3};
	check(vfu_open(&vfu, &config, &error) == 0);

	uint8_t choice = *data++;
	bytes--;
	if (choice & 1) {
		say(ends[1], VFIO_USER_VERSION, 0, version, sizeof(version), 0);
		serve(vfu, ends[1]);
		check(vfu_connected(vfu));
	}
	while (bytes) {
		if (choice & 2) {
			if (bytes < 4)
				break;
			size_t n = data[3];
			uint16_t command = data[0] < 32 ? data[0] : (uint16_t)(data[0] * 257);
			uint32_t flags = data[1];
			unsigned fds = data[2] & 7;
			data += 4;
			bytes -= 4;
			n = n > bytes ? bytes : n;
			say(ends[1], command, flags, data, n, fds);
			data += n;
			bytes -= n;
		} else {
			size_t n = 1u + data[0];
			n = n > bytes ? bytes : n;
			struct iovec part = {(void *)data, n};
			vfio_user_send(ends[1], &part, 1, &memory, data[0] & 1);
			data += n;
			bytes -= n;
		}
		serve(vfu, ends[1]);
		vfu_interrupt(vfu, bytes & 3);
		move(vfu, bytes);
	}
	close(ends[1]);
	vfu_close(vfu);
	check(window_count == 0);
	check(lowest_free_fd() == next_fd);
	return 0;
}
