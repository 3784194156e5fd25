/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Answers from a server. A thread answers the client's requests from the input: each answer is a
 * record of (shape, length, payload), framed with the id and command that the client waits for.
 * shape: bits 0–1, descriptors; bit 2, an error; bit 3, the id is another's; bit 4, a DMA_READ or
 * DMA_WRITE of the same payload comes first; bit 5, nothing comes. When the input ends, so does the
 * connection.
 */
#include "driver/device.h"
#include "driver/vfio_user.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vfio_user/message.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int memory = -1;
static int event = -1;

struct script {
	int socket;
	const uint8_t *data;
	size_t bytes;
};

static void say(int socket, const struct vfio_user_header *header, const uint8_t *payload,
	size_t bytes, unsigned fd_count)
{
	struct vfio_user_header own = *header;
	struct iovec parts[2] = {{&own, 16}, {(void *)payload, bytes}};
	int fds[3] = {memory, event, memory};

	own.size = (uint32_t)(16 + bytes);
	vfio_user_send(socket, parts, 2, fds + (bytes & 1), fd_count > 2 ? 2 : fd_count);
}

static void *answer(void *argument)
{
	struct script *s = argument;
	struct vfio_user_stream stream = {0};
	struct vfio_user_message *request;

	for (;;) {
		struct pollfd wait = {.fd = s->socket, .events = POLLIN};
		poll(&wait, 1, 1000);
		int result = vfio_user_receive(&stream, s->socket, &request);
		if (result == 0)
			continue;
		if (result < 0)
			break;
		if (s->bytes < 2) {
			vfio_user_message_free(request);
			break;
		}
		if (vfio_user_is_reply(&request->header)) {
			vfio_user_message_free(request);
			continue;
		}
		uint8_t shape = s->data[0];
		size_t n = s->data[1];
		s->data += 2;
		s->bytes -= 2;
		n = n > s->bytes ? s->bytes : n;
		struct vfio_user_header header = {.id = request->header.id,
			.command = request->header.command,
			.flags = VFIO_USER_TYPE_REPLY};
		if (shape & 16) {
			struct vfio_user_header dma = {.id = 3,
				.command = shape & 1 ? VFIO_USER_DMA_READ : VFIO_USER_DMA_WRITE};
			say(s->socket, &dma, s->data, n, 0);
		}
		if (shape & 4) {
			header.flags |= VFIO_USER_ERROR;
			header.error = shape >> 3;
		}
		if (shape & 8)
			header.id++;
		if (!(shape & 32))
			say(s->socket, &header, s->data, n, shape & 3);
		s->data += n;
		s->bytes -= n;
		vfio_user_message_free(request);
		if (shape & 0x28)
			break; /* nothing that it waits for will come */
	}
	vfio_user_stream_reset(&stream);
	shutdown(s->socket, SHUT_RDWR);
	return NULL;
}

static int lowest_free_fd(void)
{
	int fd = fcntl(memory, F_DUPFD_CLOEXEC, 0);

	close(fd);
	return fd;
}

static void use(struct device *device)
{
	static uint8_t window[4096] __attribute__((aligned(4096)));
	uint8_t data[64];
	uint32_t value;

	for (unsigned r = 0; r < DEVICE_REGIONS; r++)
		for (unsigned i = 0; i < device->region[r].area_count; i++) {
			volatile uint8_t *at = device_pointer(device, r,
				device->region[r].area[i].offset, device->region[r].area[i].bytes);
			if (!at)
				abort();
			(void)at[device->region[r].area[i].bytes - 1];
		}
	device_map_memory(
		device, (struct bus_addr){0x1000}, 4096, DEVICE_READ | DEVICE_WRITE, window, -1, 0);
	device_read(device, VFIO_PCI_CONFIG_REGION_INDEX, 0, data, sizeof(data));
	device_read32(device, 0, 0, &value);
	device_map_peer(device, (struct bus_addr){0x10000}, 4096, DEVICE_WRITE, device, 2, 0);
	device_irqs(device, 0, &event, 1);
	device_reset(device);
	device_unmap_all(device);
	device_service(device);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct error error;
	struct device *device;
	pthread_t thread;
	int ends[2];

	if (memory < 0) {
		memory = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (memory < 0 || ftruncate(memory, 0x10000) != 0 ||
			fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) != 0)
			abort();
		event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	device_timeout_ms = 5000;
	int next_fd = lowest_free_fd();
	if (bytes < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return 0;
	struct script script = {ends[1], data + 1, bytes - 1};
	pthread_create(&thread, NULL, answer, &script);
	int result = data[0] & 1 ? device_adopt(&device, "vfio-user", &ends[0], 1, NULL, 0, &error)
				 : vfio_user_connect(&device, ends[0], &error);
	if (result == 0) {
		use(device);
		device_close(device);
	}
	pthread_join(thread, NULL);
	close(ends[1]);
	if (lowest_free_fd() != next_fd)
		abort();
	return 0;
}
