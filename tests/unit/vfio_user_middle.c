/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_middle.h"
#include "tests/unit/descriptors.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Patient: the other end may be slow to read. */
void middle_send(int socket, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	struct iovec part = {(void *)data, bytes};

	while (part.iov_len) {
		ssize_t n = vfio_user_send(socket, &part, 1, fds, fd_count);
		if (n == -EAGAIN) {
			struct pollfd wait = {.fd = socket, .events = POLLOUT};
			poll(&wait, 1, 100);
			continue;
		}
		if (n < 0)
			return;
		part.iov_base = (uint8_t *)part.iov_base + n;
		part.iov_len -= (size_t)n;
		fd_count = 0;
	}
}

void middle_pass(int socket, const struct vfio_user_message *message)
{
	size_t bytes = sizeof(message->header) + message->bytes;
	uint8_t *all = malloc(bytes);

	memcpy(all, &message->header, sizeof(message->header));
	if (message->bytes)
		memcpy(all + sizeof(message->header), message->payload, message->bytes);
	middle_send(socket, all, bytes, message->fds, message->fd_count);
	free(all);
}

static bool applies(const struct twist *twist, const struct vfio_user_message *message)
{
	uint32_t region;

	if (!twist || (twist->command && twist->command != message->header.command))
		return false;
	if (twist->region < 0)
		return true;
	if (message->bytes < 12)
		return false;
	memcpy(&region, message->payload + 8, sizeof(region));
	return region == (uint32_t)twist->region;
}

static void *pass_messages(void *argument)
{
	struct middle *m = argument;
	struct vfio_user_stream from_client = {0};
	struct vfio_user_stream from_server = {0};
	struct vfio_user_message *message;
	bool open = true;

	while (open && !m->stop) {
		struct pollfd wait[2] = {
			{.fd = m->client, .events = POLLIN}, {.fd = m->server, .events = POLLIN}};
		int result;

		poll(wait, 2, 20);
		while ((result = vfio_user_receive(&from_client, m->client, &message)) > 0) {
			middle_pass(m->server, message);
			vfio_user_message_free(message);
		}
		open = result == 0;
		while (open &&
			(result = vfio_user_receive(&from_server, m->server, &message)) > 0) {
			const struct twist *twist = m->twist;
			bool twisted = applies(twist, message);
			m->times += twisted;
			if (!twisted || twist->change(m, message))
				middle_pass(m->client, message);
			vfio_user_message_free(message);
		}
		open = open && result == 0;
	}
	vfio_user_stream_reset(&from_client);
	vfio_user_stream_reset(&from_server);
	shutdown(m->client, SHUT_RDWR);
	return NULL;
}

void middle_begin(struct middle *m, const struct twist *twist)
{
	int near[2];
	int far[2];

	memset(m, 0, sizeof(*m));
	m->twist = twist;
	m->fds = open_descriptors();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, near), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far), 0);
	m->client_end = near[0];
	m->client = near[1];
	m->server = far[0];
	rig_open(&m->rig, NULL, far[1], 20000);
	rig_serve(&m->rig);
	pthread_create(&m->thread, NULL, pass_messages, m);
}

void middle_end(struct middle *m)
{
	device_close(m->device);
	m->stop = true;
	pthread_join(m->thread, NULL);
	close(m->client);
	close(m->server);
	rig_close(&m->rig);
	assert_int_equal(open_descriptors(), m->fds);
}

void middle_begin_connected(struct middle *m, const struct twist *twist)
{
	struct error error;

	middle_begin(m, NULL);
	assert_int_equal(vfio_user_connect(&m->device, m->client_end, &error), 0);
	m->twist = twist;
	m->device->timeout_ms = 20000;
}

void middle_check_mappings(struct device *device)
{
	for (unsigned r = 0; r < DEVICE_REGIONS; r++) {
		const struct device_region *region = &device->region[r];

		assert_true(region->area_count <= DEVICE_AREAS_MAX);
		assert_true(region->area_count == 0 || region->fd >= 0);
		for (unsigned i = 0; i < region->area_count; i++) {
			const struct device_area *area = &region->area[i];
			volatile uint8_t *at = device_pointer(device, r, area->offset, area->bytes);

			assert_non_null(at);
			(void)at[0];
			(void)at[area->bytes - 1];
		}
	}
}

/* --- Changes ---------------------------------------------------------------------------------- */

void middle_resize(struct vfio_user_message *message, uint32_t bytes)
{
	message->payload = realloc(message->payload, bytes ? bytes : 1);
	if (bytes > message->bytes)
		memset(message->payload + message->bytes, 0, bytes - message->bytes);
	message->bytes = bytes;
	message->header.size = bytes + 16;
}

void middle_drop_fds(struct vfio_user_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
}

bool twist_shorter(struct middle *m, struct vfio_user_message *message)
{
	middle_resize(message, message->bytes ? message->bytes - 1 : 0);
	return true;
}

bool twist_empty(struct middle *m, struct vfio_user_message *message)
{
	middle_resize(message, 0);
	return true;
}

bool twist_fails(struct middle *m, struct vfio_user_message *message)
{
	middle_resize(message, 0);
	message->header.flags |= VFIO_USER_ERROR;
	message->header.error = ENOSPC;
	return true;
}

bool twist_hangs_up_half_way(struct middle *m, struct vfio_user_message *message)
{
	middle_send(m->client, &message->header, 16, NULL, 0);
	m->stop = true;
	return false;
}

bool twist_size_huge(struct middle *m, struct vfio_user_message *message)
{
	message->header.size = UINT32_MAX;
	return true;
}

bool twist_more_fds(struct middle *m, struct vfio_user_message *message)
{
	for (unsigned i = 0; i < 5; i++)
		message->fds[message->fd_count++] = eventfd(0, EFD_CLOEXEC);
	return true;
}
