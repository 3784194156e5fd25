/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's insides, shared by its three files:
 *
 *   vfio_user.c           socket, queue of commands, disconnection; the control thread's half
 *   vfio_user_commands.c  one function for each command
 *   vfio_user_engine.c    interrupts and DMA messages; what engine threads call
 *
 * Locks, in the order they are taken; none is held while waiting:
 *   dma      DMA messages: the reads under way, and whether there is a client
 *   transmit the output queue
 *   irq      the vectors
 *
 * `connection` is written by the control thread alone, holding dma and transmit. Input, windows,
 * limits and the reply buffer are the control thread's alone.
 */
#ifndef SOFTNIC_VFIO_USER_INTERNAL_H
#define SOFTNIC_VFIO_USER_INTERNAL_H

#include "ipc/listen.h"
#include "vfio_user.h"

#include <pthread.h>
#include <stdio.h>
#include <vfio_user/message.h>
#include <vfio_user/version.h>

/* DMA_READs under way: one for each ring. */
#define VFU_READS_MAX   68u
/* Messages handled in one vfu_service, so that other devices of the thread get their turn. */
#define VFU_BUDGET      64u
/* Second clients that have not said anything yet; what comes beyond is closed. */
#define VFU_REFUSED_MAX 4u
/* Lines one client can make us log. */
#define VFU_LOG_MAX     32u

/* Bytes of posted writes that wait for the client at most: more than a NIC and its peers send each
 * other before they wait for consumer words (eight rings of 1024 frames of 1792 bytes). */
#define VFU_POSTED_MAX (16u << 20)

/* Part of a message that the socket did not take. */
struct vfu_unsent {
	struct vfu_unsent *next;
	bool posted; /* a DMA_WRITE; else a reply or a DMA_READ */
	size_t bytes;
	size_t done;
	int fds[VFIO_USER_FDS_MAX]; /* go with the first byte; regions' descriptors, so borrowed */
	unsigned fd_count;
	uint8_t data[];
};

struct vfu_range {
	uint64_t first;
	uint64_t last; /* inclusive: a window may end at the top of the address space */
};

/* A read of the engine's, and how far it is. */
struct vfu_read {
	uint64_t bus;
	size_t bytes; /* 0: this one is free */
	size_t done;
	int result; /* -EAGAIN: the client owes the answer to message `id` */
	uint16_t id;
	uint32_t step;  /* asked for by that message */
	uint64_t heard; /* vfu.heard when it was sent */
	int64_t deadline;
	uint8_t *data; /* `room` bytes */
	size_t room;
};

struct vfu_vector {
	int fd; /* -1: none */
	bool masked;
	bool pending;
};

struct vfu {
	struct vfu_config config;
	int epoll;
	struct unix_listener listener; /* none: one connection only */
	int wake; /* eventfd: an engine left something for the control thread */

	int connection;               /* -1: no client */
	int refused[VFU_REFUSED_MAX]; /* -1: none */
	_Atomic bool negotiated;
	_Atomic bool broken; /* the connection is to be given up once its commands are done */
	bool give_up;        /* no more commands from this client: disconnect (control thread's) */
	uint32_t interest;   /* of epoll in the connection: EPOLLIN, EPOLLOUT */
	unsigned logged;

	struct vfio_user_stream stream;
	int input_error; /* 0, or why there is no more input */

	pthread_mutex_t transmit;
	struct vfu_unsent *unsent;
	struct vfu_unsent **unsent_end;
	size_t posted_bytes;  /* of unsent that are posted, with their heads */
	unsigned unsent_owed; /* of unsent that are not posted */

	pthread_mutex_t dma;
	struct vfu_read read[VFU_READS_MAX];
	uint64_t heard; /* messages of this client */
	bool silent;    /* a read timed out, and nothing has come since it was sent */
	uint16_t next_id;
	uint32_t client_transfer; /* what the client takes in one message */

	pthread_mutex_t irq;
	struct vfu_vector vector[VFU_VECTORS_MAX];

	uint32_t client_fds;
	struct vfu_range *window; /* sorted, disjoint */
	unsigned window_count;
	unsigned window_room;

	uint8_t *reply; /* payload of the reply being made: VFIO_USER_MESSAGE_MAX bytes */
	uint32_t reply_bytes;
	int reply_fds[VFIO_USER_FDS_MAX];
	unsigned reply_fd_count;
};

void vfu_log_line(struct vfu *vfu, const char *text);

#define vfu_log(vfu, ...)                                                                          \
	do {                                                                                       \
		char line_[256];                                                                   \
		snprintf(line_, sizeof(line_), __VA_ARGS__);                                       \
		vfu_log_line(vfu, line_);                                                          \
	} while (0)

/* Makes vfu_fd readable. */
void vfu_wake(struct vfu *vfu);

/* Sends, or queues what the socket does not take. 0; -ENOTCONN; a message with VFIO_USER_NO_REPLY
 * for which the queue has no room is not sent: -ENOBUFS. */
int vfu_transmit(struct vfu *vfu, const struct vfio_user_header *header, const struct iovec *parts,
	unsigned part_count, const int *fds, unsigned fd_count);

/* Sends what is queued; true if nothing is left. */
bool vfu_flush(struct vfu *vfu);

/* Runs one command and replies. */
void vfu_command(struct vfu *vfu, struct vfio_user_message *message);

/* Takes a message for a sign of life, and a reply for the answer to a read. */
void vfu_hear(struct vfu *vfu, const struct vfio_user_message *message);

/* Forgets the client's windows, eventfds and limits, and tells the device. */
void vfu_forget_client(struct vfu *vfu);

#endif
