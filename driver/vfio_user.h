/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user client: device.h over an AF_UNIX socket (protocol: vfio_user/wire.h).
 *
 * One request is outstanding at a time. While it waits for the reply it answers the server's
 * DMA_READ and DMA_WRITE from the message windows; device_service does so when idle.
 *
 * What makes the connection survive SIGKILL (device.h, "To outlive its process"):
 *   - A request is at most VFIO_USER_CHUNK bytes and a header, sent by one sendmsg without
 *     blocking: the kernel queues it as one buffer or not at all.
 *   - A message is consumed only when the whole of it has arrived (SIOCINQ), by one recvmsg. The
 *     client advertises max_data_xfer_size = VFIO_USER_CHUNK, so the server sends nothing longer
 *     either.
 *   - No negotiated value needs remembering: it never sends more than a chunk, nor more than one
 *     descriptor a message, which every server takes.
 *   - Ids start at random. An adopter sends two requests and waits for both replies: whatever came
 *     before or between them was for the dead. Two, because one stale reply could have the first's
 *     id.
 */
#ifndef DRIVER_VFIO_USER_H
#define DRIVER_VFIO_USER_H

#include "device.h"
#include "ipc/error.h"

#define VFIO_USER_CHUNK 16384u

extern const struct device_ops vfio_user_device_ops;

/* As device_open on a connected socket, which it owns from then on (for tests). */
int vfio_user_connect(struct device **device, int connection, struct error *error);

#endif
