/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that puts any bytes on the socket. It shares a thread with the server (the rig): it says
 * something, lets the server have its turn, and looks at what came back, so every case is exact.
 */
#ifndef TESTS_VFIO_USER_RAW_H
#define TESTS_VFIO_USER_RAW_H

#include "vfio_user_rig.h"

#define RAW_CAPS "{\"capabilities\":{\"max_msg_fds\":8,\"write_multiple\":true}}"

struct raw {
	struct rig rig;
	int socket;                      /* the client's end */
	unsigned fds;                    /* open before all this */
	struct vfio_user_message *reply; /* the last one heard */
	struct vfio_user_stream stream;
};

/* A server and a connection to it, and how long its engine waits (raw_connect: longer than any test
 * takes, on the busiest machine); raw_disconnect checks that no descriptor and no window is
 * left. */
void raw_connect(struct raw *);
void raw_connect_for(struct raw *, unsigned dma_timeout_ms);
void raw_disconnect(struct raw *);

/* The server's turn, until it has nothing to do. */
void raw_serve(struct raw *);

/* A command with id 7, sent as it is, whatever `size` says; and a proper one. */
void raw_say_flags(struct raw *, uint16_t command, uint32_t flags, uint32_t size,
	const void *payload, size_t bytes, const int *fds, unsigned fd_count);
void raw_say(struct raw *, uint16_t command, const void *payload, size_t bytes, const int *fds,
	unsigned fd_count);

/* The next message from the server, also in `reply`; NULL: there is none. */
struct vfio_user_message *raw_hear(struct raw *);

/* Has the server hung up? */
bool raw_gone(struct raw *);

/* Sends a command, has it served, and returns the error of its reply. */
int raw_ask_fds(struct raw *, uint16_t command, const void *payload, size_t bytes, const int *fds,
	unsigned fd_count);
int raw_ask(struct raw *, uint16_t command, const void *payload, size_t bytes);

/* REGION_READ or REGION_WRITE that says `count` and brings `bytes` of zeros. */
int raw_access(
	struct raw *, bool write, uint64_t offset, uint32_t region, uint32_t count, uint32_t bytes);

/* A VERSION payload; its size. */
size_t raw_version(uint8_t *payload, uint16_t major, uint16_t minor, const char *json);
int raw_negotiate(struct raw *, const char *json);

/* The server still answers, and rightly. */
void raw_assert_well(struct raw *);

/* A test whose state is a negotiated connection. */
int raw_set_up(void **state);
int raw_tear_down(void **state);
#define RAW_TEST(test) cmocka_unit_test_setup_teardown(test, raw_set_up, raw_tear_down)

int64_t raw_now_ms(void);

#endif
