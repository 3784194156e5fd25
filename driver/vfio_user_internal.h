/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's insides: vfio_user.c is the device's operations, vfio_user_info.c what is asked once
 * when a device is opened, vfio_user_channel.c the connection.
 */
#ifndef DRIVER_VFIO_USER_INTERNAL_H
#define DRIVER_VFIO_USER_INTERNAL_H

#include "vfio_user.h"
#include "vfio_user_channel.h"

#include <stdio.h>

#define DOORBELLS_MAX 16u

/* A register with an eventfd. */
struct doorbell {
	unsigned region;
	uint64_t offset;
	int fd;
};

struct vfio_user_device {
	struct device base;
	struct channel channel;
	uint16_t awaited[2]; /* ids of the first questions, until all are answered */
	unsigned awaiting;
	bool adopted; /* the connection has had its version message in an earlier life */
	struct doorbell doorbell[DOORBELLS_MAX];
	unsigned doorbell_count;
};

/* Makes "FORMAT: reason" the device's error; returns the result. */
int vfio_user_fail(struct vfio_user_device *v, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* One request whose payload is a structure; `reply` as channel_call's. */
int vfio_user_call(struct vfio_user_device *v, uint16_t command, const void *payload, size_t bytes,
	size_t reply_bytes, struct vfio_user_message **reply);

/*
 * The first questions of a connection, sent without waiting: a new one's version, or, for an
 * adopter, twice the shortest question there is (vfio_user.h: after two replies nothing meant for
 * the dead is left). greeted: -EAGAIN until all are answered, then 0 or -errno with device->error.
 */
int vfio_user_greet(struct vfio_user_device *v);
int vfio_user_greeted(struct vfio_user_device *v);

/* Regions with what can be mapped of them, doorbells, vectors. Nothing is taken on trust that could
 * make an access to a mapping fault. */
int vfio_user_load(struct vfio_user_device *v);

#endif
