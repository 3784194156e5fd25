/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port under test: packet memory, the port, and the wire it hangs on.
 *
 * One test runs over all types. The network types live in a namespace that the test makes
 * for itself, with a veth pair `pp-port` (the port's) and `pp-wire` (the test's).
 */
#ifndef P2PNIC_TESTS_PORT_RIG_H
#define P2PNIC_TESTS_PORT_RIG_H

#include "port_keep.h"

#include <ports/common.h>
#include <ports/port.h>

/* Set before rig_memory: one of P2PNIC_BUFFER_SIZES; 2048 unless set. */
extern uint32_t rig_buffer_bytes;

#define RIG_BUFFERS_ALL  2048u
#define RIG_MEMORY_BYTES (RIG_BUFFERS_ALL * rig_buffer_bytes)
#define RIG_BUFFERS      256u /* the first, given to the port at start */
#define RIG_SPARES       (RIG_BUFFERS * rig_buffer_bytes)       /* the next 512, for keep */
#define RIG_SEND_AREA    (RIG_SPARES + 512u * rig_buffer_bytes) /* the rest, to send from */
#define RIG_ETHERTYPE    0x88b5u /* IEEE 802 local experimental: no stack answers */

struct rig {
	const struct port_ops *path;
	void *port;
	uint8_t *memory;
	int memory_fd;
	struct port_config config;
	struct error error;
	int wire; /* packet socket on the other end; -1: none */
	uint32_t buffers[RIG_BUFFERS];
	unsigned taken; /* of those, by start */
};

/* Moves this process into a fresh network namespace (with a user namespace when not root) and says
 * whether that was allowed. */
bool rig_namespace(void);

/* Runs a command of the shell in silence; its exit status. */
int rig_run(const char *command);

/* Set before rig_veth: pp-wire receives by NAPI (GRO), so that an af_xdp port may send batches to
 * it. */
extern bool rig_napi;

/* pp-port and pp-wire, up, with an MTU for the largest frame; again after a deletion. 0: done. */
int rig_veth(void);

/* Whether a port of this type can be opened here at all (af_xdp cannot in a user namespace); prints
 * the port's reason if not. Makes and deletes pp-port. */
bool rig_permitted(const struct port_ops *);

/* Packet memory only; the caller fills config.target, .options… and calls ops->open. */
void rig_memory(struct rig *, const struct port_ops *);
void rig_free(struct rig *);

/* Opens a packet socket on the interface as the wire's other end. */
int rig_wire_open(const char *interface);

/* The next test frame (RIG_ETHERTYPE) from the wire within a second: its length; 0: none came. */
unsigned rig_wire_receive(int wire, uint8_t *bytes, unsigned room);
bool rig_wire_send(int wire, const uint8_t *bytes, unsigned length);

/* A frame of that length whose every byte follows from seed; bytes 12–13 are RIG_ETHERTYPE. */
void rig_frame(uint8_t *bytes, unsigned length, uint32_t seed);

void rig_sleep_ms(unsigned ms);

#endif
