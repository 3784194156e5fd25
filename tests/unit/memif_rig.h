/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memif ports in this process, each an end with packet memory of its own, and a hostile peer that
 * says to a server what a test likes. All share one socket path.
 */
#ifndef P2PNIC_TESTS_MEMIF_RIG_H
#define P2PNIC_TESTS_MEMIF_RIG_H

#include "ports/memif.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>

#define MEMORY  (8u << 20)
#define SEND_AT (2u << 20) /* 256 frames to send lie from here on */
#define BUFFERS 64u

struct end {
	struct memif_port *port;
	uint8_t *memory;
	int fd;
};

extern char socket_path[80];        /* main sets it */
extern uint32_t memif_buffer_bytes; /* of the next end_open and of transmit */

int memory_file(uint64_t bytes, int seals);
unsigned count_fds(void);
void pause_ms(long ms);

/* A port, started with BUFFERS buffers. */
void end_open(struct end *e, const char *options);
void end_close(struct end *e);
/* Serves both (b may be NULL) until they are as wanted. */
void settle(struct end *a, struct end *b, bool connected);

/* Sends n frames numbered from `number` on, the way an engine does; returns how many were taken. */
unsigned transmit(struct end *e, unsigned n, uint32_t number, uint32_t length);
/* One burst, numbered from `number` on; returns how many came. */
unsigned receive(struct end *e, uint32_t number, uint32_t length);
void pass(struct end *from, struct end *to, uint32_t total, uint32_t length);

/* --- A hostile peer of a server --------------------------------------------------------------- */

#define HOSTILE_BYTES 0x10000u

struct hostile {
	int s;
	int memory;
	int event;
	uint8_t *base;
	struct memif_ring *ring[2]; /* to server, to client */
};

extern const struct memif_message message_init;
struct memif_message message_region(uint16_t index, uint64_t bytes);
struct memif_message message_ring(
	uint16_t flags, uint16_t region, uint32_t offset, uint8_t log2_size);

/* fd: -1 for none. */
int message_send(int s, const void *message, size_t bytes, int fd);
int message_send_fds(int s, const void *message, size_t bytes, const int *fds, unsigned n);

int dial(void);
/* The server's answer, as text: the reason of a DISCONNECT, or "" for anything else. */
void answer(struct end *server, int s, char *reason);

#define EXPECT(server, s, text)                                                                    \
	do {                                                                                       \
		char reason_[MEMIF_REASON_BYTES];                                                  \
		answer(server, s, reason_);                                                        \
		assert_string_equal(reason_, text);                                                \
	} while (0)

/* As far as INIT; as far as CONNECTED, with two rings of 16 slots. */
void hostile_begin(struct hostile *h, struct end *server);
void hostile_connect(struct hostile *h, struct end *server);
void hostile_end(struct hostile *h, struct end *server);

#endif
