/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capture: a NIC copies frames, with what became of them, into a ring in memory of the host.
 *
 *     port ─▶ classify, look up, resolve ─▶ ring of the egress NIC ─▶ port
 *         └ RX, DROP: as received             FOLLOW, TX: as sent ┘
 *
 * The host writes a struct p2pnic_capture at P2PNIC_BAR2_CAPTURE and gives COMMAND capture, which
 * copies it, checks the filter and finds the ring's window. points 0: off; so is a NIC after a
 * reset, and one whose window onto the ring has gone. A command while captures are on that changes
 * neither ring, slots nor snap goes on in the ring with the next record; else record 0 is the next.
 *
 * The ring has no consumer: the NIC waits for nobody and reads nothing there, so who reads it may
 * be slow, or gone, and costs nothing. Record n lies in slot n mod slots, and its sequence is n +
 * 1. The NIC writes sequence 0, then the rest, then the sequence. A reader takes the sequence,
 * copies the record, and takes the sequence again: a record that was overwritten meanwhile, or
 * before, is one that the capture has lost.
 *
 * The filter is a program of the BSD packet filter (McCanne and Jacobson, "The BSD Packet Filter",
 * USENIX 1993; what libpcap compiles), over a frame as it was received (RX, DROP) or as it is sent
 * (TX). Jumps lead forward only, so it ends. It accepts a frame if it returns anything but 0.
 */
#ifndef P2PNIC_CAPTURE_H
#define P2PNIC_CAPTURE_H

#include "limits.h"
#include "types.h"

/* points: which frames are recorded. */
#define P2PNIC_CAPTURE_RX     0x1u /* received, and accepted by the filter */
#define P2PNIC_CAPTURE_TX     0x2u /* given to the port, and accepted */
#define P2PNIC_CAPTURE_DROP   0x4u /* dropped for one of `reasons`, and accepted */
/* Those that are recorded at RX are marked for their egress NIC (P2PNIC_FLAGS_MARKED)… */
#define P2PNIC_CAPTURE_MARK   0x8u
/* …and marked ones are recorded when they are given to the port. */
#define P2PNIC_CAPTURE_FOLLOW 0x10u
#define P2PNIC_CAPTURE_POINTS 0x1fu

#define P2PNIC_CAPTURE_FILTER_MAX 256u /* instructions */
#define P2PNIC_CAPTURE_SLOTS_MIN  8u
#define P2PNIC_CAPTURE_SLOTS_MAX  65536u
#define P2PNIC_CAPTURE_SNAP_MAX   P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MAX)
/* Of a record and its frame: whole blocks are written. */
#define P2PNIC_CAPTURE_SLOT_BYTES(snap)                                                            \
	((uint32_t)sizeof(struct p2pnic_record) + (((snap) + 63u) & ~63u))

/* An instruction: as in the paper, and as struct bpf_insn of libpcap. */
struct p2pnic_instruction {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};
P2PNIC_ASSERT_SIZE(struct p2pnic_instruction, 8);

struct p2pnic_capture {
	uint32_t points;       /* (host) P2PNIC_CAPTURE_*; 0: off */
	uint32_t snap;         /* (host) bytes kept of a frame, 1 to P2PNIC_CAPTURE_SNAP_MAX */
	uint32_t slots;        /* (host) of the ring; a power of two */
	uint32_t instructions; /* (host) of the filter; 0: every frame is accepted */
	struct bus_addr ring;  /* (host) slots · P2PNIC_CAPTURE_SLOT_BYTES(snap), write access */
	/* (host) Records at RX, TX and DROP, after which no more are made; 0: no limit. */
	uint64_t limit;
	uint64_t reasons; /* (host) of DROP: a bit for each enum p2pnic_drop */
	uint8_t reserved[24];
	struct p2pnic_instruction filter[P2PNIC_CAPTURE_FILTER_MAX]; /* (host) */
};
P2PNIC_ASSERT_SIZE(struct p2pnic_capture, 64 + 8 * P2PNIC_CAPTURE_FILTER_MAX);
P2PNIC_ASSERT_OFFSET(struct p2pnic_capture, ring, 16);
P2PNIC_ASSERT_OFFSET(struct p2pnic_capture, filter, 64);

/* What became of a frame that was received. */
enum p2pnic_outcome {
	P2PNIC_OUTCOME_SENT = 0, /* RX: in the ring of `peer`; TX, FOLLOW: given to the port */
	P2PNIC_OUTCOME_HELD = 1, /* its egress ring is full: it waits in the ingress NIC */
	P2PNIC_OUTCOME_PUNTED = 2,
	P2PNIC_OUTCOME_DROPPED = 3,
};

#define P2PNIC_RECORD_NONE 0xffu /* no peer, no verdict */

/* What a slot begins with; the frame follows. All (device). */
struct p2pnic_record {
	_Atomic uint64_t sequence; /* 1 + the record's number; 0: none, or being written */
	uint64_t time_ns;          /* of the NIC's clock; a soft NIC's is CLOCK_MONOTONIC */
	uint32_t length;           /* of the frame */
	uint16_t captured;         /* bytes of it that follow */
	uint8_t point;             /* P2PNIC_CAPTURE_RX, _TX, _DROP or _FOLLOW */
	uint8_t outcome;           /* enum p2pnic_outcome */
	/* The other end of the ring that it went into (RX), or came out of (TX, FOLLOW, and DROP at
	 * the egress NIC); P2PNIC_RECORD_NONE: none. */
	uint8_t peer;
	uint8_t verdict;    /* enum p2pnic_drop that its checks found; P2PNIC_RECORD_NONE: none */
	uint8_t reason;     /* DROPPED, PUNTED: enum p2pnic_drop */
	uint8_t punt_class; /* PUNTED: enum p2pnic_punt_class */
	uint32_t index;     /* of its descriptor in that ring; HELD: not known */
	uint32_t epoch;     /* of the pair */
	uint32_t flow;      /* hash of its flow, as for a group of buckets; 0: not looked up */
	uint16_t next_hop;  /* that the lookup found; 0: none */
	uint16_t adjacency; /* where that leads; 0: none */
	uint8_t looked_up;  /* 1: `next_hop` is an answer */
	uint8_t reserved[15];
};
P2PNIC_ASSERT_SIZE(struct p2pnic_record, 64);
P2PNIC_ASSERT_OFFSET(struct p2pnic_record, peer, 24);
P2PNIC_ASSERT_OFFSET(struct p2pnic_record, flow, 36);
P2PNIC_ASSERT_OFFSET(struct p2pnic_record, looked_up, 44);

#endif
