/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's insides, shared by its three files:
 *
 *   vfio_user.c           socket, queue of commands, disconnection; the control thread's half
 *   vfio_user_commands.c  one function for each command
 *   vfio_user_engine.c    interrupts and DMA messages; what engine threads call
 *
 * Locks, in the order they are taken:
 *   dma      one DMA message at a time; held while waiting for its answer
 *   receive  the input: reassembly, queue, the awaited answer; never held while waiting
 *   transmit the output queue; never held while waiting
 *   irq      the vectors; never held while waiting
 *
 * `connection` is written by the control thread alone, holding dma and receive: whoever holds one
 * of them may use it. Windows, limits and the reply buffer are the control thread's alone.
 */
#ifndef SOFTNIC_VFIO_USER_INTERNAL_H
#define SOFTNIC_VFIO_USER_INTERNAL_H

#include "ipc/listen.h"
#include "vfio_user.h"

#include <pthread.h>
#include <stdio.h>
#include <vfio_user/message.h>
#include <vfio_user/version.h>

/* Commands read ahead while an engine waits for an answer. Each may hold VFIO_USER_FDS_MAX
 * descriptors. */
#define VFU_QUEUE_MAX 64u
/* Commands handled in one vfu_service, so that other devices of the thread get their turn. */
#define VFU_BUDGET    64u
/* Lines one client can make us log. */
#define VFU_LOG_MAX   32u

/* Part of a message that the socket did not take. */
struct vfu_unsent {
	struct vfu_unsent *next;
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

struct vfu_vector {
	int fd; /* -1: none */
	bool masked;
	bool pending;
};

struct vfu {
	struct vfu_config config;
	int epoll;
	struct unix_listener listener; /* none: one connection only */
	int wake;     /* eventfd: an engine left something for the control thread */
	int answered; /* eventfd: something happened that an engine waits for */

	int connection; /* -1: no client */
	_Atomic bool negotiated;
	_Atomic bool broken; /* the connection is to be given up once its commands are done */
	bool give_up;        /* no more commands from this client: disconnect (control thread's) */
	bool wants_output;   /* epoll waits for room to send instead of input */
	unsigned logged;

	pthread_mutex_t receive;
	struct vfio_user_stream stream;
	struct vfio_user_message *queue;
	struct vfio_user_message **queue_end;
	unsigned queued;
	int input_error; /* 0, or why there is no more input */
	bool heard;      /* something came since the last DMA message was sent */
	bool silent;     /* a DMA message timed out, and nothing has come since it was sent */
	bool awaiting;   /* an engine waits for the answer below */
	uint16_t awaited_id;
	uint16_t awaited_command;
	struct vfio_user_message *answer;

	pthread_mutex_t transmit;
	struct vfu_unsent *unsent;
	struct vfu_unsent **unsent_end;

	pthread_mutex_t dma;
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

/* Reads what has come, without waiting: answers to the engine, commands to the queue. `receive`
 * held. */
void vfu_pump(struct vfu *vfu);

/* Sends, or queues what the socket does not take. */
void vfu_transmit(struct vfu *vfu, const struct vfio_user_header *header, const struct iovec *parts,
	unsigned part_count, const int *fds, unsigned fd_count);

/* Sends what is queued; true if nothing is left. */
bool vfu_flush(struct vfu *vfu);

/* Runs one command and replies. */
void vfu_command(struct vfu *vfu, struct vfio_user_message *message);

/* Forgets the client's windows, eventfds and limits, and tells the device. */
void vfu_forget_client(struct vfu *vfu);

#endif
