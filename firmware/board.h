/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The board: all that the firmware may call. A board is what surrounds the processor of a NIC: the
 * Ethernet port, the DMA engine, the interrupt line. There are two kinds:
 *
 *   - the soft NIC's and the tests', static inline functions of a header that P2PNIC_BOARD_HEADER
 *     names (softnic/soft_board.h): a DMA write there is a copy of a few instructions;
 *   - any other: the prototypes below, resolved when the firmware is linked for that board. card/
 *     is one; `make firmware-riscv` proves that nothing else is undefined.
 *
 * The firmware runs one `struct nic` to completion: no function here is called by two processors
 * for one NIC, none may call back into the firmware, and none may block longer than a bus access
 * does.
 *
 * Port: what each function must do stands in ports/port.h, under the same names.
 *
 * DMA: a region is a range of bus addresses that lies in windows, found once when a pair is
 * opened and then used with offsets. The board never lets an access leave the region's windows: it
 * counts a fault and does nothing (a read yields zeros). The firmware resolves regions again when
 * the board says that windows changed (nic_windows_changed).
 *
 * Order of DMA writes as the target sees them: as issued. dma_publish carries descriptors,
 * dma_write64 the consumer word: when one is visible, so is all that was written before (release).
 */
#ifndef P2PNIC_BOARD_H
#define P2PNIC_BOARD_H

#include <p2pnic/limits.h>
#include <p2pnic/ring.h>
#include <p2pnic/types.h>

#include "dma_region.h"
#include "frame.h"

struct board;

#ifdef P2PNIC_BOARD_HEADER
#include P2PNIC_BOARD_HEADER
#else

unsigned board_receive(struct board *, struct frame *frames, unsigned max);
void board_keep(struct board *, const uint8_t *frame, unsigned n, uint32_t *at);
void board_release(struct board *);
unsigned board_transmit(struct board *, const struct p2pnic_descriptor *frames, unsigned n);

/* Sending from windows: a frame leaves from where it lies in another's memory, as a NIC's transmit
 * descriptor may name any bus address. reach: a number for the region's memory, and what to add to
 * offsets in it; 0: the port cannot send from there (any board may say so). reaches: whether it can
 * just now; where not, the firmware fetches the frame. transmit_from: as transmit; flags: the
 * number of the memory that a frame is in, 0: packet memory. */
uint32_t board_reach(struct board *, const struct dma_region *, uint32_t *base);
bool board_reaches(struct board *, uint32_t memory);
unsigned board_transmit_from(struct board *, const struct p2pnic_descriptor *frames, unsigned n);

void board_flush(struct board *);
void board_notify(struct board *);
unsigned board_transmitted(struct board *, uint64_t *failed);
bool board_port_arm(struct board *);
void board_port_disarm(struct board *);

/* Hands the port n receive buffers; how many it took, the first ones (0: it receives into memory of
 * its own), or negative: it cannot start. stop: takes them back. */
int board_port_start(struct board *, const uint32_t *buffers, unsigned n);
unsigned board_port_stop(struct board *, uint32_t *buffers);

/* True if [bus, bus + bytes) lies in windows with that access, which touch. */
bool board_dma_resolve(
	struct board *, struct bus_addr bus, uint64_t bytes, unsigned access, struct dma_region *);

/* Writes descriptors, or a record of a capture. Each word is written whole; among themselves they
 * may become visible in any order. */
void board_dma_publish(struct board *, const struct dma_region *, uint64_t offset,
	const uint64_t *descriptor, unsigned count);
void board_dma_write32(struct board *, const struct dma_region *, uint64_t offset, uint32_t value);
void board_dma_write64(struct board *, const struct dma_region *, uint64_t offset, uint64_t value);
/* DMA_LATER: a board whose bus is slow does not wait for it (nic_poll goes on with other rings) and
 * wakes the NIC when the answer has come, or is asked again within a millisecond. */
enum dma_status board_dma_read(
	struct board *, const struct dma_region *, uint64_t offset, void *data, uint32_t bytes);

/* Whether a write may still be under way when a call here has returned, and the barrier that
 * follows (nic_arm) does not wait for it: a bus that posts writes, without a read that flushes
 * them. */
bool board_dma_posts(struct board *, const struct dma_region *);

/* A hint: a frame will be written there soon. A board for which that means nothing does nothing. */
void board_dma_expect(const struct dma_region *, uint64_t offset);

/* Writes a frame whose first head_bytes bytes are at `head` and whose rest is data[head_bytes..
 * length). Nearly all have FRAME_HEAD_BYTES, a constant where this is called; 0: the frame as it
 * lies. A frame that grows has `data` before where it was received: nothing is read there. A short
 * frame may end within its head. Up to 63 bytes behind the frame may be overwritten as well: whole
 * blocks are copied. length ≥ P2PNIC_FRAME_BYTES_MIN. */
void board_dma_write_frame(struct board *, const struct dma_region *, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length);

/* Likewise, in one write with `word`, which lies at p2pnic_check_at(length) and is what the target
 * sees last. */
void board_dma_write_checked(struct board *, const struct dma_region *, uint64_t offset,
	const void *head, uint32_t head_bytes, const uint8_t *data, uint32_t length, uint32_t word);

/* Nanoseconds since some moment, never back. Read once a burst at most, for punted packets. */
uint64_t board_clock(struct board *);

/* Raises MSI-X vector (registers.h). */
void board_interrupt(struct board *, unsigned vector);

#endif

/*
 * Accesses to the NIC's own memory, which no function above shows to the board. A board in virtual
 * time charges for them (model/board.c). For all other boards it is an empty macro. An empty
 * function would not do: its arguments are evaluated, and the code around it changes.
 */
enum board_cost {
	BOARD_COST_POLL,       /* a word that a peer writes is read: a ring's next slot, an index */
	BOARD_COST_DESCRIPTOR, /* a line of a ring's descriptors is read */
	BOARD_COST_HEADER,     /* the first line of a received frame is read */
	BOARD_COST_LOOKUP,     /* an address is looked up in a FIB image */
	BOARD_COST_RESOLVE,    /* a next hop and its adjacency are read, and the use is noted */
	BOARD_COST_BUFFER,     /* a line of a list of free buffers is read or written */
	BOARD_COST_COUNTER,    /* a counter is read and written */
	BOARD_COSTS,
};
#define BOARD_COST_LINES(count, of_bytes) (((count) * (of_bytes) + 63) / 64)

#ifdef P2PNIC_BOARD_COST
void board_cost(struct board *, enum board_cost what, unsigned times);
#else
#define board_cost(board, what, times) ((void)0)
#endif

#endif
