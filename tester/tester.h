/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tester: traffic into every port of a device under test and what comes out of it, from one
 * thread. A library; `p2pnic tester` and the benchmarks are two users of it.
 *
 *     tester_open      ends (the links to the device) are opened; wait with tester_wait
 *     tester_prepare   builds the frames of a pattern, size and mode
 *     tester_run       offers a load for a time and fills a result; as often as wanted
 *     tester_close
 *
 * Closed loop or paced. With rate 0 it sends whenever the link takes a burst: on a link that pushes
 * back (memif) the device sets the pace and nothing is lost before it. With a rate, packets are
 * sent by the clock; one that the link does not take at its time is counted in `refused` and never
 * sent, as a wire would have lost it. When the tester itself falls behind (the scheduler took its
 * core) by more than 1 ms, the schedule is moved: its own fault is not counted against the device,
 * but told in `late_ms`.
 *
 * Checking, by level:
 *   NONE     packets are counted by the link's indices; not looked at
 *   HEADER   each packet's first line is compared with what it must be: MACs, TTL, checksum,
 *            addresses, exit, and its number
 *   FULL     all bytes
 * and `sample`: one burst in so many is checked, the others only counted. Unsampled (1) every
 * number is tracked, so loss, duplication and reordering are known exactly; sampled, loss is sent
 * minus received, and order is checked among the sampled.
 *
 * Latency: every `probe`th packet is stamped when its burst is put on the link, and read when it
 * is found on the other end; both in this thread, on one clock (TSC).
 *
 * Windows: the time counted is a row of windows of 10 ms, and each has a rate and latencies of its
 * own. With `cores`, the distance to the device's processor and its pace (cores.h) are measured
 * between them (nobody sends meanwhile, and what the device then catches up with, 200 µs long, is
 * in no window). A window is
 *   near        `near_low` to `near_high` ns before it and after, and no step took more than
 *               `step_high` ns
 *   busy        near, but a step took longer: another's work was on the device's core
 *   far         more than `near_high` ns before it and after
 *   spoilt      anything else, or a pass of the tester itself took over 100 µs in it, beside the
 *               time to copy a burst of every port at 10 GB/s
 * The medians of the near ones are what a virtual machine can say of a device, where the mean over
 * a run says more of the host. With `cores`, latencies are those of near and busy windows only.
 */
#ifndef P2PNIC_TESTER_H
#define P2PNIC_TESTER_H

#include "cores.h"
#include "ipc/error.h"
#include "ports/port.h"
#include "stream.h"

#include <stdint.h>

#define TESTER_BURST       64u
#define TESTER_WINDOW      0.01 /* seconds */
#define TESTER_WINDOWS_MAX 1024u

enum tester_check { TESTER_CHECK_NONE, TESTER_CHECK_HEADER, TESTER_CHECK_FULL };

struct tester;

/* A link's end on the tester's side. Each kind is one file end_KIND.c. */
struct tester_end_ops {
	/* text: "TARGET,key=value,…" after the kind, which is the name of a port type. */
	int (*open)(void **end, const struct port_ops *kind, const char *text,
		uint32_t buffer_bytes, struct error *error);
	void (*close)(void *end);
	bool (*service)(void *end); /* true: the link is up */
	bool (*called)(void *end);  /* somebody waits for service, or nobody is to be waited for */
	const char *(*trouble)(void *end); /* what stands in the way, "" if unknown */
	/* After the stream was built and before packets are sent: room to lay out frames. */
	int (*prepare)(void *end, const struct stream *, struct error *error);
	/* Sends up to n packets of the stream (advancing it); those whose number is a multiple of
	 * probe (a power of two; 0: none) carry `stamp`. Returns how many. */
	unsigned (*send)(void *end, struct stream *, unsigned n, unsigned probe, uint64_t stamp);
	/* How many sent frames the device has not taken: they must be gone before the next prepare,
	 * which writes where they lie. Ends that hand frames to a kernel have none. */
	unsigned (*waiting)(void *end);
	/* Takes what waits, up to a limit of its own; hands each frame to tester_check_frame when
	 * `check`. */
	unsigned (*receive)(void *end, struct tester *, unsigned port, bool check);
};

/* memif has an end of its own, a faster one. */
extern const struct tester_end_ops tester_end_memif, tester_end_port;

struct tester_load {
	double rate; /* packets/s into each ingress; 0: as many as the links take */
	double seconds;
	struct cores
		*cores; /* to the device's processor; NULL: not measured, all windows are near */
	double near_low, near_high; /* ns */
	double step_high;           /* ns; 0: any */
	unsigned near_windows;      /* end when there were so many; 0: when the time is over */
	double warm_up;             /* first seconds that count for loss but not for throughput */
	uint64_t packets;           /* into each ingress; 0: no limit but time */
	enum tester_check check;
	unsigned sample; /* 1: all bursts */
	unsigned probe;  /* 0: no latency */
	void (*progress)(void *context, const struct tester *, double seconds);
	void *context;
};

/* Medians over windows. Those of latencies are over windows with so many probes that the percentile
 * means something: 1000. */
struct tester_windows {
	unsigned count;
	double mpps, best_mpps;
	unsigned probed; /* windows */
	uint64_t p50_ns, p99_ns;
};

struct tester_result {
	double seconds; /* counted */
	double mpps;    /* received in the time counted */
	double gbps;    /* of frames with FCS, as mpps */
	struct tester_windows near, busy, far;
	unsigned spoilt; /* windows */
	uint64_t sent;
	uint64_t received; /* our own packets; unsampled */
	uint64_t lost;
	uint64_t refused; /* paced: not taken by the link in time */
	uint64_t reordered;
	uint64_t duplicate;
	uint64_t checked;
	uint64_t error[CHECK_ERRORS];
	double late_ms;
	struct histogram latency; /* ns */
};

struct tester_flow {
	struct sequence sequence;        /* unsampled */
	uint64_t last[TESTER_PORTS_MAX]; /* by port it came from: number of the last one + 1 */
	uint64_t reordered;
};

struct tester_port {
	const struct tester_end_ops *ops;
	void *end;
	bool up;
	struct stream stream; /* exits 0: no traffic into this port */
	uint64_t received;
	/* As the two stand in a frame that comes back; what is sent goes to device_mac. */
	uint8_t own_mac[6];
	uint8_t device_mac[6];
	/* Paced: when the next packet goes, in TSC since the start, 16 fractional bits. */
	uint64_t due;
};

struct tester {
	unsigned ports;
	uint32_t buffer_bytes;
	struct tester_port port[TESTER_PORTS_MAX];
	struct pattern pattern;
	enum tester_mode mode;
	uint8_t series; /* of tester_prepare */
	enum tester_check check;
	bool sampled;
	bool probing;
	uint64_t now; /* TSC of this pass */
	double ns_per_tick;
	uint64_t sent, received;
	struct tester_result *result;
	struct histogram window; /* latencies of the window; counted while `recording` */
	bool recording;
	struct tester_flow *flow; /* [ingress * TESTER_PORTS_MAX + exit's place] */
	uint8_t payload[STREAM_FRAME_MAX + 64];
};

struct tester_setup {
	const char *pattern;
	uint32_t frame_bytes;
	enum tester_mode mode;
	bool ipv6;
	const uint64_t *destination; /* as in struct stream_config */
	unsigned destinations;
	bool no_carry;
};

/* ports[n] is "KIND:TARGET[,key=value…]"; buffer_bytes: one of P2PNIC_BUFFER_SIZES, of each port.
 * On error nothing is left open. */
int tester_open(struct tester **, const char *const *ports, unsigned n, uint32_t buffer_bytes,
	struct error *error);
void tester_close(struct tester *);
/* Until all links are up: 0, or -ETIMEDOUT. */
int tester_wait(struct tester *, double seconds, struct error *error);
int tester_prepare(struct tester *, const struct tester_setup *, struct error *error);
int tester_run(
	struct tester *, const struct tester_load *, struct tester_result *, struct error *error);

/* 0 when the device did all it had to with every packet that was looked at. */
uint64_t tester_errors(const struct tester_result *);

/* Called by ends for each frame of a burst that is checked. 64 bytes must be readable. */
void tester_check_frame(struct tester *, unsigned port, const uint8_t *data, uint32_t length);

static inline uint64_t tester_tsc(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	uint64_t t;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
	return t;
#endif
}

#endif
