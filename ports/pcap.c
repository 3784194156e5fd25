/* SPDX-License-Identifier: BSD-3-Clause */
#include "pcap.h"

#include <errno.h>
#include <inttypes.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

/* --- time ------------------------------------------------------------------------------------- */

#define SECOND_NS 1000000000u

/* The timestamp of the frame delivered last by any port. */
static _Atomic uint64_t capture_time_ns = PCAP_TIME_NONE;

/*
 * Ports with timeline=on. A member may deliver when its next frame is the earliest and every member
 * was polled TIMELINE_POLLS times since the last delivery: the first poll after it may have been
 * under way already, in another thread; during the second the NIC has sent whatever the frame left
 * in its rings. Of frames of one time, that of the port opened first is the earliest. A mutex does:
 * replay is no race.
 */
#define TIMELINE_MEMBERS P2PNIC_NICS_MAX
#define TIMELINE_POLLS   2u
#define NEVER            PCAP_TIME_NONE

static struct {
	pthread_mutex_t lock;
	unsigned members;
	struct {
		const struct pcap_port *port;
		uint64_t next_ns; /* NEVER: its input has ended */
		bool pending;     /* what became of its last frame is not known yet */
		unsigned polls;
	} member[TIMELINE_MEMBERS];
} timeline = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int timeline_join(const struct pcap_port *port)
{
	int code = -ENOSPC;

	pthread_mutex_lock(&timeline.lock);
	if (timeline.members < TIMELINE_MEMBERS) {
		unsigned m = timeline.members++;
		timeline.member[m].port = port;
		timeline.member[m].next_ns = NEVER;
		timeline.member[m].pending = false;
		timeline.member[m].polls = 0;
		code = 0;
	}
	pthread_mutex_unlock(&timeline.lock);
	return code;
}

static void timeline_leave(const struct pcap_port *port)
{
	pthread_mutex_lock(&timeline.lock);
	for (unsigned m = 0; m < timeline.members; m++)
		if (timeline.member[m].port == port) {
			timeline.members--;
			memmove(&timeline.member[m], &timeline.member[m + 1],
				(timeline.members - m) * sizeof(timeline.member[0]));
			break;
		}
	pthread_mutex_unlock(&timeline.lock);
}

/* Counts a poll of the port; true: it is the port's turn, and its frame counts as delivered. */
static bool timeline_turn(const struct pcap_port *port, uint64_t next_ns, bool pending)
{
	bool turn = next_ns != NEVER, earlier = true;

	pthread_mutex_lock(&timeline.lock);
	for (unsigned m = 0; m < timeline.members; m++) {
		bool own = timeline.member[m].port == port;

		if (own) {
			timeline.member[m].next_ns = next_ns;
			timeline.member[m].pending = pending;
			timeline.member[m].polls++;
			earlier = false;
		}
		turn &= timeline.member[m].polls >= TIMELINE_POLLS && !timeline.member[m].pending &&
			timeline.member[m].next_ns >= next_ns + earlier;
	}
	for (unsigned m = 0; turn && m < timeline.members; m++)
		timeline.member[m].polls = 0;
	pthread_mutex_unlock(&timeline.lock);
	return turn;
}

/* --- receiving -------------------------------------------------------------------------------- */

/* Says what is wrong, unless something was before. */
#define FAULT(port, ...)                                                                           \
	do {                                                                                       \
		if (!(port)->fault.text[0])                                                        \
			error_set(&(port)->fault, 0, __VA_ARGS__);                                 \
	} while (0)

/*
 * The time of a record, of 1970 to 2554. Seconds are unsigned in pcap (until 2106), but libpcap
 * takes them for signed 32 bits; in pcapng they have 64 bits, an offset of any sign, and
 * nanoseconds may run over. With PCAP_TSTAMP_PRECISION_NANO tv_usec counts nanoseconds; a pcap file
 * may hold any 32 bits.
 */
static uint64_t time_of(struct pcap_port *port, const struct timeval *time)
{
	const int64_t latest =
		(int64_t)(PCAP_TIME_NONE / SECOND_NS) - 3; /* room for 32 bits of ns */
	int64_t seconds = port->is_pcapng ? time->tv_sec : (int64_t)(uint32_t)time->tv_sec;
	uint64_t nanoseconds = time->tv_usec < 0 ? SECOND_NS - 1 : (uint64_t)time->tv_usec;

	if (seconds >= 0 && seconds <= latest)
		return (uint64_t)seconds * SECOND_NS + nanoseconds;
	FAULT(port, "%s: frame %" PRIu64 ": the time %" PRId64 " s is not of 1970 to 2554",
		port->in_path, port->frames, seconds);
	return seconds < 0 ? 0 : PCAP_TIME_NONE - 1;
}

/* Reads the next record that can be delivered into port->next; false: the input has ended. */
static bool peek(struct pcap_port *port)
{
	struct pcap_pkthdr *header;

	while (!port->peeked && !port->ended) {
		int got = pcap_next_ex(port->in, &header, &port->next_bytes);
		if (got != 1) {
			port->ended = true;
			if (got == PCAP_ERROR)
				FAULT(port, "%s: ended after frame %" PRIu64 ": %s", port->in_path,
					port->frames, pcap_geterr(port->in));
			break;
		}
		port->frames++;
		port->next = (struct verdict_frame){
			.number = port->frames,
			.time_ns = time_of(port, &header->ts),
			.length = header->len,
			.captured = header->caplen < header->len ? header->caplen : header->len,
		};
		bool cut = port->next.captured < port->next.length;
		bool oversize = port->next.length > P2PNIC_FRAME_BYTES_MAX(port->buffer_bytes);
		port->cut += cut;
		port->oversize += oversize;
		if (!oversize && !(cut && port->skip_cut))
			port->peeked = true;
		else if (port->verdict.file)
			verdict_not_delivered(
				&port->verdict, &port->next, oversize ? "oversize" : "cut");
	}
	return port->peeked;
}

static void deliver(struct pcap_port *port, struct frame *frame, uint32_t buffer)
{
	uint8_t *data = port->memory + buffer + P2PNIC_HEADROOM;
	uint32_t readable = (port->next.length + 63) & ~63u;

	memcpy(data, port->next_bytes, port->next.captured);
	/* What the capture lacks, and what lies behind a short frame, is the same in every
	 * replay. */
	if (readable < 64)
		readable = 64;
	memset(data + port->next.captured, 0, readable - port->next.captured);
	*frame = (struct frame){data, port->next.length};
	atomic_store_explicit(&capture_time_ns, port->next.time_ns, memory_order_relaxed);
	if (port->verdict.file)
		verdict_begin(&port->verdict, &port->next);
	port->peeked = false;
}

static unsigned port_receive(void *opaque, struct frame *frames, unsigned max)
{
	struct pcap_port *port = opaque;
	unsigned n = 0;

	if (!port->own.count)
		return 0;
	/* Verdicts stand in the order of the capture: peek writes those of frames not delivered. */
	bool more = verdict_settled(&port->verdict) && peek(port);
	if (port->timeline &&
		!timeline_turn(port, more ? port->next.time_ns : NEVER, port->verdict.pending))
		return 0;
	if (!more)
		return 0;
	if (max > port->burst)
		max = port->burst;
	if (max > port->own.count)
		max = port->own.count;
	do {
		deliver(port, &frames[n], port->own.buffer[n]);
		n++;
	} while (n < max && peek(port));
	port->delivered = n;
	return n;
}

static bool is_waiting(struct pcap_port *port)
{
	/* A member of the timeline is polled on: others wait for its polls. */
	return port->verdict.pending || peek(port) || (port->timeline && timeline.members > 1);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void write_out(struct pcap_port *port)
{
	int error;
	uint32_t lost = pcap_writer_flush(&port->out, &error);

	if (lost)
		FAULT(port, "%s: cannot write: %s", port->out_path, strerror(-error));
	port->failed += lost;
}

static unsigned transmit(
	struct pcap_port *port, const struct p2pnic_descriptor *frames, unsigned n, bool own)
{
	uint64_t now = atomic_load_explicit(&capture_time_ns, memory_order_relaxed);
	struct timespec wall;

	if (now == PCAP_TIME_NONE) {
		clock_gettime(CLOCK_REALTIME, &wall);
		now = (uint64_t)wall.tv_sec * SECOND_NS + (uint64_t)wall.tv_nsec;
	}
	port->sent += n;
	for (unsigned i = 0; i < n; i++) {
		struct p2pnic_descriptor frame = frames[i];

		if (own)
			frame.flags = 0;
		if (!port_memories_sendable(&port->memories, port->buffer_bytes, &frame)) {
			port->failed++;
			continue;
		}
		if (port->out.fd < 0)
			continue;
		if (!pcap_writer_fits(&port->out, frame.length))
			write_out(port);
		if (!pcap_writer_add(&port->out, now, port_memories_at(&port->memories, &frame),
			    frame.length))
			FAULT(port, "%s: a time after 2106 cannot be written", port->out_path);
	}
	return n;
}

static unsigned port_transmit(void *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	return transmit(port, frames, n, true);
}

static unsigned port_transmit_from(void *port, const struct p2pnic_descriptor *frames, unsigned n)
{
	return transmit(port, frames, n, false);
}

static unsigned port_reach(void *opaque, const struct port_memory *memory)
{
	struct pcap_port *port = opaque;

	return port_memories_reach(&port->memories, memory);
}

static uint64_t port_reachable(const void *port)
{
	return ~0ull;
}

static void port_leave(void *opaque, unsigned memory)
{
	struct pcap_port *port = opaque;

	port->memories.bytes[memory] = 0;
}

/* --- life ------------------------------------------------------------------------------------- */

static int open_in(struct pcap_port *port, struct error *error)
{
	char reason[PCAP_ERRBUF_SIZE];

	port->ended = true;
	if (!*port->in_path)
		return 0;
	errno = 0;
	port->in = pcap_open_offline_with_tstamp_precision(
		port->in_path, PCAP_TSTAMP_PRECISION_NANO, reason);
	if (!port->in) {
		int code = errno == ENOENT || errno == EACCES ? -errno : -EINVAL;
		bool named = !strncmp(reason, port->in_path, strlen(port->in_path));
		return error_set(error, code, "cannot read capture: %s%s%s",
			named ? "" : port->in_path, named ? "" : ": ", reason);
	}
	int type = pcap_datalink(port->in);
	if (type != DLT_EN10MB) {
		const char *name = pcap_datalink_val_to_name(type);
		return error_set(error, -EPROTOTYPE,
			"%s: link type %d (%s), not Ethernet (EN10MB); a NIC receives Ethernet "
			"frames",
			port->in_path, type, name ? name : "unknown");
	}
	/* Read as it is written, it would have no end. */
	if (flock(fileno(pcap_file(port->in)), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return error_set(error, -EBUSY, "cannot read capture: %s: another port writes it",
			port->in_path);
	port->is_pcapng = pcap_major_version(port->in) == 1;
	port->ended = false;
	return 0;
}

static int parse(struct pcap_port *port, const struct port_config *config, struct error *error)
{
	const char *options = config->options;
	struct port_option option;
	int more;

	port->burst = P2PNIC_BURST_MAX;
	while ((more = port_option_next(&options, &option, error)) > 0) {
		if (!strcmp(option.key, "burst"))
			more = port_option_number(
				&option, 1, P2PNIC_BURST_MAX, &port->burst, error);
		else if (!strcmp(option.key, "timeline"))
			more = port_option_switch(&option, &port->timeline, error);
		else if (!strcmp(option.key, "cut") && !strcmp(option.value, "pad"))
			port->skip_cut = false;
		else if (!strcmp(option.key, "cut") && !strcmp(option.value, "skip"))
			port->skip_cut = true;
		else if (!strcmp(option.key, "cut"))
			more = error_set(
				error, -EINVAL, "option cut=%s: want pad or skip", option.value);
		else if (!strcmp(option.key, "verdict") && !port->verdict.file)
			more = verdict_open(&port->verdict, option.value, config->counters, error);
		else
			more = port_option_unknown(
				"pcap", &option, "burst, timeline, verdict (once), cut", error);
		if (more < 0)
			return more;
	}
	if (port->verdict.file || port->timeline)
		port->burst = 1;
	return more;
}

static int split_target(struct pcap_port *port, const char *target, struct error *error)
{
	const char *comma = strchr(target, ',');

	if (!comma || strchr(comma + 1, ','))
		return error_set(error, -EINVAL,
			"'%s': want IN.pcap,OUT.pcap (either may be empty)", target);
	port->in_path = strndup(target, (size_t)(comma - target));
	port->out_path = strdup(comma + 1);
	if (!port->in_path || !port->out_path)
		return error_set(error, -ENOMEM, "%s: out of memory", target);
	return 0;
}

static void port_close(void *p)
{
	struct pcap_port *port = p;

	if (port->timeline)
		timeline_leave(port);
	port->timeline = false;
	verdict_finish(&port->verdict);
	verdict_close(&port->verdict);
	if (port->out.fd >= 0)
		write_out(port);
	pcap_writer_close(&port->out);
	if (port->in)
		pcap_close(port->in);
	free(port->in_path);
	free(port->out_path);
	port->in = NULL;
	port->in_path = port->out_path = NULL;
}

static int port_open(void *p, const struct port_config *config, struct error *error)
{
	struct pcap_port *port = p;

	memset(port, 0, sizeof(*port));
	port->out.fd = -1;
	port->memory = config->memory;
	port->memory_bytes = config->memory_bytes;
	port_memories_init(&port->memories, config);
	port->buffer_bytes = config->buffer_bytes;
	int code = port_check_memory(config, error);
	if (!code)
		code = split_target(port, config->target, error);
	if (!code)
		code = open_in(port, error);
	if (!code)
		code = parse(port, config, error);
	if (!code && *port->out_path)
		code = pcap_writer_open(&port->out, port->out_path,
			P2PNIC_FRAME_BYTES_MAX(port->buffer_bytes), error);
	if (!code && port->timeline && timeline_join(port)) {
		port->timeline = false;
		code = error_set(error, -ENOSPC, "%s: more than %u ports with timeline=on",
			config->target, TIMELINE_MEMBERS);
	}
	if (code)
		port_close(port);
	return code;
}

static int port_start(void *p, const uint32_t *buffers, unsigned n)
{
	struct pcap_port *port = p;

	port->delivered = 0;
	return port_buffers_start(&port->own, port->memory_bytes, port->buffer_bytes, buffers, n);
}

static unsigned port_stop(void *p, uint32_t *buffers)
{
	struct pcap_port *port = p;

	verdict_finish(&port->verdict);
	port->delivered = 0;
	return port_buffers_stop(&port->own, buffers);
}

static int port_fd(void *p)
{
	return -1;
}

static void port_info(void *p, struct port_info *info)
{
	struct pcap_port *port = p;

	if (port->verdict.file && ferror(port->verdict.file))
		FAULT(port, "%s: not all verdicts could be written", port->in_path);
	*info = (struct port_info){
		.link = true,
		.oversize = port->oversize,
		.finished = port->ended && !port->delivered && !port->verdict.pending,
	};
	snprintf(info->mode, sizeof(info->mode), "capture, %" PRIu64 " frames, %" PRIu64 " cut",
		port->frames, port->cut);
	info->fault = port->fault;
}

/* --- The path of a frame ---------------------------------------------------------------------- */

static void port_keep(void *opaque, const uint8_t *frame, unsigned n, uint32_t *at)
{
	struct pcap_port *port = opaque;

	port_buffers_keep(&port->own, frame, n, at);
}

static void port_release(void *opaque)
{
	struct pcap_port *port = opaque;

	port->delivered = 0;
}

static void port_flush(void *opaque)
{
	struct pcap_port *port = opaque;

	if (port->out.records)
		write_out(port);
}

static unsigned port_transmitted(void *opaque, uint64_t *failed)
{
	struct pcap_port *port = opaque;

	port_flush(port);
	unsigned n = port->sent;
	*failed += port->failed;
	port->sent = port->failed = 0;
	return n;
}

static bool port_arm(void *opaque)
{
	struct pcap_port *port = opaque;

	return port->own.count && is_waiting(port);
}

static void port_disarm(void *opaque)
{
}

const struct port_ops pcap_port_ops = {
	.type = "pcap",
	.bytes = sizeof(struct pcap_port),
	.open = port_open,
	.close = port_close,
	.start = port_start,
	.stop = port_stop,
	.fd = port_fd,
	.info = port_info,
	.receive = port_receive,
	.keep = port_keep,
	.release = port_release,
	.transmit = port_transmit,
	.flush = port_flush,
	.transmitted = port_transmitted,
	.reach = port_reach,
	.reachable = port_reachable,
	.transmit_from = port_transmit_from,
	.leave = port_leave,
	.arm = port_arm,
	.disarm = port_disarm,
};
