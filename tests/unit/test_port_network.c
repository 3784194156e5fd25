/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports among real hosts: `test_port_network TYPE [MODE | napi]`.
 *
 *   host a ── pp-wire ═ pp-port ── port ⇄ this test ⇄ port ── pp-port2 ═ pp-wire2 ── host b
 *
 * Hosts are network namespaces with Linux's stack and all its offloads on; the test passes frames
 * from one port to the other without a copy and checks that each is one a wire could carry. Then
 * what happens to a port when its interface goes down, loses the other end, or is deleted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "port_rig.h"
#include "tests/unit/descriptors.h"

#include <ports/af_packet.h>
#include <ports/af_xdp.h>
#include <ports/tap.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static const struct port_ops *path;
static const char *mode;
static int namespace_here, namespace_host[2];

static bool is_tap(void)
{
	return path == &tap_port_ops;
}

static bool is_xdp(void)
{
	return path == &af_xdp_port_ops;
}

/* --- a frame of the wire ---------------------------------------------------------------------- */

/* RFC 1071 as it reads, to judge what the ports make. */
static uint32_t naive_sum(const uint8_t *bytes, unsigned length)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static bool is_right(const uint8_t *frame, unsigned length)
{
	const uint8_t *ip = frame + 14;
	unsigned type = frame[12] << 8 | frame[13];

	if (type == 0x8100) {
		type = frame[16] << 8 | frame[17];
		ip += 4;
	}
	if (length > 1514 + (ip != frame + 14 ? 4 : 0))
		return false;
	if (type == 0x0800) {
		unsigned header = (ip[0] & 15) * 4u, total = ip[2] << 8 | ip[3];
		if (fold(naive_sum(ip, header)) != 0xffff || ip + total > frame + length)
			return false;
		if ((ip[6] & 0x3f) | ip[7] || (ip[9] != 6 && ip[9] != 17))
			return true;
		uint32_t sum = naive_sum(ip + 12, 8) + ip[9] + (total - header);
		return fold(sum + naive_sum(ip + header, total - header)) == 0xffff;
	}
	if (type == 0x86dd) {
		unsigned payload = ip[4] << 8 | ip[5];
		if (ip + 40 + payload > frame + length)
			return false;
		if (ip[6] != 6 && ip[6] != 17)
			return true;
		uint32_t sum = naive_sum(ip + 8, 32) + ip[6] + payload;
		return fold(sum + naive_sum(ip + 40, payload)) == 0xffff;
	}
	return true;
}

/* --- the wire between two ports --------------------------------------------------------------- */

#define SPARES 1024u

static struct {
	struct rig rig[2];
	pthread_t thread;
	_Atomic bool stop;
	uint64_t wrong, passed, failed;
	uint32_t spare[SPARES];
	unsigned spares;
	uint32_t flight[2][4096]; /* buffers in transmission by each port */
	unsigned head[2], tail[2];
	bool open;
} span;

static void pass(unsigned from, unsigned to)
{
	struct frame frames[P2PNIC_BURST_MAX];
	struct p2pnic_descriptor out[P2PNIC_BURST_MAX] = {0};
	struct rig *in = &span.rig[from];
	unsigned max = span.spares < P2PNIC_BURST_MAX ? span.spares : P2PNIC_BURST_MAX;
	unsigned n = max ? path->receive(in->port, frames, max) : 0;

	for (unsigned k = 0; k < n; k++) {
		span.wrong += !is_right(frames[k].data, frames[k].length);
		out[k] = (struct p2pnic_descriptor){.length = (uint16_t)frames[k].length};
		out[k].offset = rig_keep(path, in->port, k, span.spare[--span.spares]);
	}
	if (max)
		path->release(in->port);
	unsigned taken = path->transmit(span.rig[to].port, out, n);
	port_flush_and_notify(path, span.rig[to].port);
	span.passed += taken;
	for (unsigned k = 0; k < n; k++) {
		uint32_t buffer = out[k].offset & ~(P2PNIC_BUFFER_BYTES_MIN - 1);
		if (k < taken)
			span.flight[to][span.tail[to]++ % 4096] = buffer;
		else
			span.spare[span.spares++] = buffer;
	}
	unsigned done = path->transmitted(span.rig[to].port, &span.failed);
	while (done--)
		span.spare[span.spares++] = span.flight[to][span.head[to]++ % 4096];
}

static void *run_span(void *unused)
{
	for (unsigned round = 0; !span.stop; round++) {
		pass(0, 1);
		pass(1, 0);
		if (round % 1024 == 0)
			for (unsigned i = 0; i < 2; i++)
				path->service(span.rig[i].port);
		if (round % 16 == 0)
			sched_yield();
	}
	return NULL;
}

static void wait_link(struct rig *rig, bool link)
{
	struct port_info info = {0};

	for (int tries = 0; tries < 300; tries++) {
		path->service(rig->port);
		path->info(rig->port, &info);
		if (info.link == link)
			return;
		rig_sleep_ms(10);
	}
	fail_msg("link stays %s: %s", link ? "down" : "up", info.fault.text);
}

static void in_host(unsigned host, const char *command)
{
	assert_int_equal(setns(namespace_host[host], CLONE_NEWNET), 0);
	int status = rig_run(command);
	assert_int_equal(setns(namespace_here, CLONE_NEWNET), 0);
	if (status)
		fail_msg("host %u: %s: status %d", host, command, status);
}

static int span_up(void **state)
{
	static const char *const port_name[] = {"pp-port", "pp-port2"};
	static const char *const wire_name[] = {"pp-wire", "pp-wire2"};
	char command[512];

	memset(&span, 0, sizeof(span));
	span.open = true;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = &span.rig[i];
		const char *wire = is_tap() ? port_name[i] : wire_name[i];
		if (!is_tap()) {
			snprintf(command, sizeof(command),
				"ip link add %s type veth peer name %s && ip link set %s "
				"addrgenmode none",
				port_name[i], wire, port_name[i]);
			assert_int_equal(rig_run(command), 0);
		}
		if (i == 0) {
			rig_memory(rig, path);
		} else {
			*rig = span.rig[0];
			rig->port = aligned_alloc(64, (path->bytes + 63) & ~(size_t)63);
			memset(rig->port, 0, path->bytes);
		}
		rig->config.target = port_name[i];
		rig->config.options = mode;
		if (path->open(rig->port, &rig->config, &rig->error))
			fail_msg("open: %s", rig->error.text);
		snprintf(command, sizeof(command), "ip link set %s netns /proc/%d/fd/%d", wire,
			getpid(), namespace_host[i]);
		assert_int_equal(rig_run(command), 0);
		snprintf(command, sizeof(command),
			"ip link set %s address 02:00:00:00:00:0%u &&"
			" ip addr add 10.99.0.%u/24 dev %s && ip addr add fd99::%u/64 dev %s nodad "
			"&&"
			" ip link set %s up",
			wire, i + 1, i + 1, wire, i + 1, wire, wire);
		in_host(i, command);
		if (is_xdp()) {
			snprintf(command, sizeof(command), "ethtool -K %s txvlan off", wire);
			in_host(i, command);
		}
		if (rig_napi) {
			snprintf(command, sizeof(command), "ethtool -K %s gro on", wire);
			in_host(i, command);
		}
		if (is_xdp() && mode) {
			snprintf(command, sizeof(command), "ip link set %s gso_max_segs 1", wire);
			in_host(i, command);
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig = &span.rig[i];
		uint32_t buffers[128];
		for (unsigned b = 0; b < 128; b++)
			buffers[b] = (i * 128 + b) * P2PNIC_BUFFER_BYTES_MIN;
		wait_link(rig, true);
		assert_int_equal(path->start(rig->port, buffers, 128), is_xdp() ? 128 : 64);
	}
	for (span.spares = 0; span.spares < SPARES; span.spares++)
		span.spare[span.spares] = (256 + span.spares) * P2PNIC_BUFFER_BYTES_MIN;
	assert_int_equal(pthread_create(&span.thread, NULL, run_span, NULL), 0);
	return 0;
}

static int span_down(void **state)
{
	if (!span.open)
		return 0;
	span.open = false;
	if (span.thread) {
		span.stop = true;
		pthread_join(span.thread, NULL);
	}
	for (unsigned i = 0; i < 2; i++)
		path->close(span.rig[i].port);
	free(span.rig[1].port);
	rig_free(&span.rig[0]);
	rig_run("ip link del pp-port");
	rig_run("ip link del pp-port2");
	rig_sleep_ms(50);
	return 0;
}

/* Every frame was right, and once hosts are silent nothing is under way and no buffer lost. */
static void assert_span_clean(void)
{
	rig_sleep_ms(50);
	span.stop = true;
	pthread_join(span.thread, NULL);
	span.thread = 0;
	for (int tries = 0; tries < 100 && span.spares < SPARES; tries++) {
		pass(0, 1);
		pass(1, 0);
		rig_sleep_ms(1);
	}
	assert_int_equal(span.wrong, 0);
	assert_int_equal(span.spares, SPARES);
	assert_true(span.passed > 0);
}

static int host_socket(unsigned host, int family, int type)
{
	assert_int_equal(setns(namespace_host[host], CLONE_NEWNET), 0);
	int fd = socket(family, type | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(namespace_here, CLONE_NEWNET), 0);
	assert_true(fd >= 0);
	struct timeval patience = {.tv_sec = 5};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

static socklen_t address_of(
	struct sockaddr_storage *address, int family, unsigned net, unsigned host)
{
	memset(address, 0, sizeof(*address));
	if (family == AF_INET) {
		struct sockaddr_in *a = (struct sockaddr_in *)address;
		*a = (struct sockaddr_in){.sin_family = AF_INET,
			.sin_port = htons(7000),
			.sin_addr.s_addr = htonl(10u << 24 | net << 16 | (host + 1))};
		return sizeof(*a);
	}
	struct sockaddr_in6 *a = (struct sockaddr_in6 *)address;
	*a = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(7000)};
	a->sin6_addr.s6_addr[0] = 0xfd;
	a->sin6_addr.s6_addr[1] = 0x99;
	a->sin6_addr.s6_addr[15] = (uint8_t)(host + 1);
	return sizeof(*a);
}

/* --- traffic ---------------------------------------------------------------------------------- */

static void udp(int family, unsigned net, unsigned from, unsigned biggest)
{
	struct sockaddr_storage address;
	static uint8_t bytes[2048], got[2048];
	int out = host_socket(from, family, SOCK_DGRAM),
	    in = host_socket(!from, family, SOCK_DGRAM);

	socklen_t length = address_of(&address, family, net, !from);
	assert_int_equal(bind(in, (struct sockaddr *)&address, length), 0);
	for (unsigned size = 0; size <= biggest; size += 1 + size / 8) {
		rig_frame(bytes, size, size);
		assert_int_equal(
			sendto(out, bytes, size, 0, (struct sockaddr *)&address, length), size);
		/* The receiving host checks the checksum, or the datagram does not come. */
		assert_int_equal(recv(in, got, sizeof(got), 0), size);
		assert_memory_equal(got, bytes, size);
	}
	close(out);
	close(in);
}

static void test_udp(void **state)
{
	udp(AF_INET, 99, 0, 1472);
	udp(AF_INET, 99, 1, 1472);
	udp(AF_INET6, 99, 0, 1452);
	assert_span_clean();
}

/* Tags, which veth carries beside the frame. */
static void test_vlan(void **state)
{
	if (rig_run("ip link add pp-try type dummy && ip link add link pp-try name pp-try5 type "
		    "vlan id 5 &&"
		    " ip link del pp-try"))
		skip(); /* a kernel without 802.1Q; test_port_conformance has tags of its own */
	for (unsigned i = 0; i < 2; i++) {
		char command[256];
		const char *wire =
			is_tap() ? (i ? "pp-port2" : "pp-port") : (i ? "pp-wire2" : "pp-wire");
		snprintf(command, sizeof(command),
			"ip link add link %s name pp-vlan type vlan id 5 &&"
			" ip addr add 10.98.0.%u/24 dev pp-vlan && ip link set pp-vlan up",
			wire, i + 1);
		in_host(i, command);
	}
	udp(AF_INET, 98, 0, 1472);
	udp(AF_INET, 98, 1, 1472);
	assert_span_clean();
}

struct stream {
	int fd;
	bool whole;
};

#define STREAM_BYTES (8u << 20)

static void *read_stream(void *argument)
{
	struct stream *stream = argument;
	static uint8_t bytes[65536];
	uint32_t at = 0;
	int fd = accept(stream->fd, NULL, NULL);
	struct timeval patience = {.tv_sec = 5};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	stream->whole = true;
	while (fd >= 0 && at < STREAM_BYTES) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++, at++)
			stream->whole &= bytes[i] == (uint8_t)(at * 2654435761u >> 24);
	}
	stream->whole &= at == STREAM_BYTES;
	close(fd);
	return NULL;
}

/* A stream with segmentation offload on: the sender builds super-frames wherever it may. */
static void tcp(int family, unsigned from)
{
	struct sockaddr_storage address;
	static uint8_t bytes[65536];
	int out = host_socket(from, family, SOCK_STREAM),
	    in = host_socket(!from, family, SOCK_STREAM);
	struct stream stream = {.fd = in};
	pthread_t reader;
	int one = 1;

	setsockopt(in, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	socklen_t length = address_of(&address, family, 99, !from);
	assert_int_equal(bind(in, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(in, 1), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_stream, &stream), 0);
	int connected = connect(out, (struct sockaddr *)&address, length);
	for (uint32_t at = 0; connected == 0 && at < STREAM_BYTES;) {
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)((at + i) * 2654435761u >> 24);
		ssize_t n = send(out, bytes, sizeof(bytes), 0);
		if (n <= 0)
			break;
		at += (uint32_t)n;
	}
	if (connected)
		shutdown(in, SHUT_RDWR);
	pthread_join(reader, NULL);
	close(out);
	close(in);
	assert_int_equal(connected, 0);
	assert_true(stream.whole);
}

static void test_tcp(void **state)
{
	tcp(AF_INET, 0);
	tcp(AF_INET, 1);
	tcp(AF_INET6, 0);
	/* The rest of a byte stream that arrives proves little if all was sent twice. */
	printf("           %llu frames, %llu refused by the interface\n",
		(unsigned long long)span.passed, (unsigned long long)span.failed);
	assert_span_clean();
}

/* Datagrams that the sender leaves to be cut (UDP_SEGMENT). */
static void test_udp_segments(void **state)
{
	struct sockaddr_storage address;
	static uint8_t bytes[10000], got[2048];
	int out = host_socket(0, AF_INET, SOCK_DGRAM), in = host_socket(1, AF_INET, SOCK_DGRAM);
	int piece = 1000;

	if (is_xdp() && !mode)
		piece = 1000; /* native: the kernel cuts them by itself */
	assert_int_equal(setsockopt(out, IPPROTO_UDP, UDP_SEGMENT, &piece, sizeof(piece)), 0);
	socklen_t length = address_of(&address, AF_INET, 99, 1);
	assert_int_equal(bind(in, (struct sockaddr *)&address, length), 0);
	rig_frame(bytes, sizeof(bytes), 5);
	assert_int_equal(sendto(out, bytes, 9300, 0, (struct sockaddr *)&address, length), 9300);
	for (unsigned at = 0; at < 9300; at += 1000) {
		unsigned want = 9300 - at < 1000 ? 9300 - at : 1000;
		assert_int_equal(recv(in, got, sizeof(got), 0), want);
		assert_memory_equal(got, bytes + at, want);
	}
	close(out);
	close(in);
	assert_span_clean();
}

/* --- the interface's life --------------------------------------------------------------------- */

static struct rig rig;
static bool rig_open;

static int single_up(void **state)
{
	rig_memory(&rig, path);
	if (is_tap()) {
		rig.config.target = "pp-tap";
		rig.config.options = "persist=on";
	} else {
		assert_int_equal(rig_veth(), 0);
		rig.config.options = mode;
	}
	if (path->open(rig.port, &rig.config, &rig.error))
		fail_msg("open: %s", rig.error.text);
	rig_open = true;
	wait_link(&rig, true);
	rig.taken = (unsigned)path->start(rig.port, rig.buffers, RIG_BUFFERS);
	return 0;
}

static int single_down(void **state)
{
	if (rig_open) {
		path->close(rig.port);
		rig_free(&rig);
	}
	rig_open = false;
	rig_run("ip link del pp-port");
	rig_run("ip link del pp-tap");
	return 0;
}

static unsigned send_and_wait(unsigned n, uint64_t *failed)
{
	struct p2pnic_descriptor frames[P2PNIC_BURST_MAX];
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		frames[i] = (struct p2pnic_descriptor){
			.offset = RIG_SEND_AREA + i * P2PNIC_BUFFER_BYTES_MIN, .length = 100};
		rig_frame(rig.memory + frames[i].offset, 100, i);
	}
	assert_int_equal(path->transmit(rig.port, frames, n), n);
	port_flush_and_notify(path, rig.port);
	for (int tries = 0; done < n && tries < 200; tries++) {
		done += path->transmitted(rig.port, failed);
		if (done < n) {
			path->service(rig.port);
			rig_sleep_ms(5);
		}
	}
	return done;
}

/* Traffic both ways works. */
static void assert_alive(void)
{
	struct frame frames[P2PNIC_BURST_MAX];
	uint8_t bytes[2048], expected[100];
	uint64_t failed = 0;
	int wire = rig_wire_open(is_tap() ? "pp-tap" : "pp-wire");

	assert_true(wire >= 0);
	assert_int_equal(send_and_wait(10, &failed), 10);
	assert_int_equal(failed, 0);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(rig_wire_receive(wire, bytes, sizeof(bytes)), 100);
		rig_frame(expected, 100, i);
		assert_memory_equal(bytes, expected, 100);
	}
	unsigned seen = 0;
	rig_frame(bytes, 100, 77);
	assert_true(rig_wire_send(wire, bytes, 100));
	for (int tries = 0; seen == 0 && tries < 200; tries++) {
		unsigned n = path->receive(rig.port, frames, P2PNIC_BURST_MAX);
		for (unsigned k = 0; k < n; k++)
			seen += frames[k].length == 100 && !memcmp(frames[k].data, bytes, 100);
		path->release(rig.port);
		rig_sleep_ms(1);
	}
	assert_int_equal(seen, 1);
	close(wire);
}

static void assert_dead(const char *why)
{
	struct frame frames[P2PNIC_BURST_MAX];
	struct port_info info;
	uint64_t failed = 0;

	wait_link(&rig, false);
	path->info(rig.port, &info);
	if (!strstr(info.fault.text, why))
		fail_msg("'%s' does not say '%s'", info.fault.text, why);
	/* Nothing is lost silently, and nothing waits for a link that may never come. */
	assert_int_equal(send_and_wait(20, &failed), 20);
	assert_int_equal(failed, 20);
	while (path->receive(rig.port, frames, P2PNIC_BURST_MAX))
		path->release(rig.port);
	path->release(rig.port);
}

static void test_down_and_up(void **state)
{
	const char *down = is_tap() ? "ip link set pp-tap down" : "ip link set pp-port down";
	const char *up = is_tap() ? "ip link set pp-tap up" : "ip link set pp-port up";

	assert_alive();
	assert_int_equal(rig_run(down), 0);
	assert_dead("is down");
	assert_int_equal(rig_run(up), 0);
	wait_link(&rig, true);
	assert_alive();
	if (!is_tap()) {
		assert_int_equal(rig_run("ip link set pp-wire down"), 0);
		assert_dead("no carrier");
		assert_int_equal(rig_run("ip link set pp-wire up"), 0);
		wait_link(&rig, true);
		assert_alive();
	}
}

/* Down in the middle of a burst, before the port can know. */
static void test_down_unnoticed(void **state)
{
	uint64_t failed = 0;

	assert_int_equal(
		rig_run(is_tap() ? "ip link set pp-tap down" : "ip link set pp-port down"), 0);
	assert_int_equal(send_and_wait(20, &failed), 20);
	assert_int_equal(failed, 20);
}

static void test_deleted_and_back(void **state)
{
	int before = open_descriptors();

	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(
			rig_run(is_tap() ? "ip link del pp-tap" : "ip link del pp-port"), 0);
		assert_dead("deleted");
		if (is_tap())
			assert_int_equal(rig_run("ip tuntap add pp-tap mode tap"), 0);
		else
			assert_int_equal(rig_veth(), 0);
		wait_link(&rig, true);
		assert_alive();
	}
	assert_in_range(open_descriptors(), 0, before);
}

/* A process killed with the port open leaves nothing that keeps the next from opening it. */
static void test_killed(void **state)
{
	uint8_t ready = 0;
	int tell[2];

	path->close(rig.port);
	assert_int_equal(pipe(tell), 0);
	pid_t child = fork();
	if (child == 0) {
		if (path->open(rig.port, &rig.config, &rig.error) == 0 &&
			path->start(rig.port, rig.buffers, RIG_BUFFERS) > 0)
			ready = 1;
		if (write(tell[1], &ready, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(tell[0], &ready, 1), 1);
	assert_int_equal(ready, 1);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(tell[0]);
	close(tell[1]);
	if (path->open(rig.port, &rig.config, &rig.error))
		fail_msg("open: %s", rig.error.text);
	wait_link(&rig, true);
	assert_true(path->start(rig.port, rig.buffers, RIG_BUFFERS) > 0);
	assert_alive();
}

/* Two ports on one interface: af_packet sockets share it, the others refuse and say why. */
static void test_occupied(void **state)
{
	struct rig second;

	rig_memory(&second, path);
	second.config = rig.config;
	second.config.memory = second.memory;
	int code = path->open(second.port, &second.config, &second.error);
	if (path == &af_packet_port_ops) {
		assert_int_equal(code, 0);
		path->close(second.port);
	} else {
		assert_int_equal(code, -EBUSY);
		assert_non_null(strstr(second.error.text, "another"));
	}
	rig_free(&second);
	assert_alive();
}

int main(int argc, char **argv)
{
	static const struct port_ops *const paths[] = {
		&af_packet_port_ops, &af_xdp_port_ops, &tap_port_ops};
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_udp, span_up, span_down),
		cmocka_unit_test_setup_teardown(test_vlan, span_up, span_down),
		cmocka_unit_test_setup_teardown(test_tcp, span_up, span_down),
		cmocka_unit_test_setup_teardown(test_udp_segments, span_up, span_down),
		cmocka_unit_test_setup_teardown(test_down_and_up, single_up, single_down),
		cmocka_unit_test_setup_teardown(test_down_unnoticed, single_up, single_down),
		cmocka_unit_test_setup_teardown(test_deleted_and_back, single_up, single_down),
		cmocka_unit_test_setup_teardown(test_killed, single_up, single_down),
		cmocka_unit_test_setup_teardown(test_occupied, single_up, single_down),
	};
	static char option[64];

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (argc >= 2 && !strcmp(argv[1], paths[i]->type))
			path = paths[i];
	if (!path) {
		fprintf(stderr, "usage: %s TYPE [MODE | napi]\n", argv[0]);
		return 2;
	}
	rig_napi = argc == 3 && !strcmp(argv[2], "napi");
	if (argc == 3 && !rig_napi) {
		snprintf(option, sizeof(option), "mode=%s", argv[2]);
		mode = option;
	}
	if (!rig_namespace()) {
		printf("skipped: no network namespace allowed here\n");
		return 77;
	}
	if (!rig_permitted(path))
		return 77;
	namespace_here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; i < 2; i++) {
		if (unshare(CLONE_NEWNET)) {
			printf("skipped: no second network namespace allowed here\n");
			return 77;
		}
		namespace_host[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		setns(namespace_here, CLONE_NEWNET);
		in_host(i, "ip link set lo up");
	}
	return cmocka_run_group_tests_name(path->type, tests, NULL, NULL);
}
