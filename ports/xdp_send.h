/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends a burst of frames through a veth with one system call: what host and BPF programs share.
 *
 * An AF_XDP socket in copy mode sends frame by frame: the kernel makes a socket buffer of each, and
 * as it enables softirqs again after each, the other end receives it at once and alone. Here the
 * kernel is asked instead to run an XDP program once for each frame of the burst (BPF_PROG_RUN with
 * BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18); whatever it returns happens to the frame:
 *
 *     area->frame[i]  ──program copies──▶  a page of the kernel's  ──redirect──▶  the veth
 *
 * No socket buffers, queued 16 at a time, and the other end's receive path runs once for 64.
 *
 * 64 B frames into an XDP program at the other end, one processor, frames a call → Mpps:
 *
 *     sendto 0.92      8: 0.54     32: 1.6     64: 2.4     256: 4.5
 *
 * A call costs 13 µs before the first frame (the kernel makes a pool of pages for it, and frees
 * it): XDP_SEND_MIN is where it begins to pay.
 *
 * The program must be the one attached to the interface: so it receives as well. Attached programs
 * are known to the kernel's XDP dispatcher; another one it would enter and take out again at each
 * call, 24 ms. In return each program attached or detached on this host holds up the callers in
 * between for as long.
 *
 * What became of the frames. A veth takes such frames only while its other end receives by NAPI (it
 * has an XDP program, or GRO on), and as many as that end's queue has room for. The kernel frees
 * the others and tells nobody but the tracepoint xdp_devmap_xmit; so a second program hangs there
 * and counts.
 *
 * A frame lies in a page of its own. A receiver in the kernel's stack is charged for all of it, and
 * the pool a page came from stays, looked after once a second, until the last of its pages is free.
 *
 * Needs CAP_PERFMON (for the tracepoint) besides CAP_BPF and CAP_NET_ADMIN.
 */
#ifndef P2PNIC_PORTS_XDP_SEND_H
#define P2PNIC_PORTS_XDP_SEND_H

#include <p2pnic/limits.h>
#include <stddef.h>
#include <stdint.h>

#define XDP_SEND_MIN 16u  /* frames; with fewer, sendto is as fast */
#define XDP_SEND_MAX 256u /* frames in one call; a power of two: the program masks with it */

/* Shared with the two programs, which run within xdp_program_send's system call. */
struct xdp_send_area {
	uint32_t initial;  /* (host) how long a frame is when the program gets it */
	uint32_t taken;    /* (program) frames it was run for */
	uint32_t cpu;      /* (program) where it ran last: a batch and its tracepoint stay on one */
	uint32_t told;     /* (tracepoint) of that many frames it knows */
	uint32_t accepted; /* (tracepoint) the device took that many of them */
	uint32_t last[XDP_SEND_MAX]; /* (host) length of a frame less 1, so that no value is bad */
	uint8_t frame[XDP_SEND_MAX][P2PNIC_BUFFER_BYTES_MIN] __attribute__((aligned(64)));
};
_Static_assert(offsetof(struct xdp_send_area, frame) == 1088, "head and lengths in front");

#endif
