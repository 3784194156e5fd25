/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The punt process as a process of its own; the test plays the router, the NIC by its memory, and
 * the kernel behind a tap, which is a socket here: what is written to it arrives frame by frame.
 */
#include "ipc/exchange.h"
#include "ipc/rights.h"
#include "punt/inject.h"
#include "punt/punt.h"
#include "tests/unit/seed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOTS    64u
#define BUFFER   P2PNIC_BUFFER_BYTES_MIN
#define PATIENCE 10000 /* ms */

static char directory[] = "/tmp/p2pnic-test-punt-XXXXXX";
static char path[64];
static pid_t process;

static uint64_t test_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int start(void **state)
{
	int ready[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	process = fork();
	if (process == 0) {
		close(ready[0]);
		_exit(punt_serve(path, ready[1]) ? 1 : 0);
	}
	close(ready[1]);
	if (process < 0 || read(ready[0], &byte, 1) != 1)
		return -1;
	close(ready[0]);
	return 0;
}

static void await_end(void)
{
	int status;

	assert_int_equal(waitpid(process, &status, 0), process);
	process = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(access(path, F_OK), -1);
}

static int stop(void **state)
{
	if (process) {
		kill(process, SIGTERM);
		await_end();
	}
	return 0;
}

static int connected(void)
{
	int fd = exchange_connect(path);

	for (unsigned tries = 0; fd == -EAGAIN && tries < PATIENCE; tries++) {
		usleep(1000);
		fd = exchange_connect(path);
	}
	assert_true(fd >= 0);
	return fd;
}

/* --- A NIC by its memory (Wr) ----------------------------------------------------------------- */

struct nic {
	int kernel; /* the other end of the tap */
	int tap;
	struct host_share share[HOST_PARTS];
	uint8_t *memory, *mailboxes, *packets;
	uint32_t punted[P2PNIC_HOST_RINGS], taken[P2PNIC_HOST_RINGS];
};

static uint8_t *make_part(struct host_share *s, uint64_t bytes)
{
	uint8_t *at;

	*s = (struct host_share){
		memfd_create("part", MFD_CLOEXEC | MFD_ALLOW_SEALING), true, 0, bytes};
	assert_int_equal(ftruncate(s->fd, (off_t)bytes), 0);
	assert_int_equal(fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	assert_true(at != MAP_FAILED);
	return at;
}

static struct host_ring_header *header(const struct nic *n)
{
	return (struct host_ring_header *)(void *)n->memory;
}

static struct nic *nic_new(void)
{
	struct nic *n = calloc(1, sizeof(*n));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	n->kernel = pair[0];
	n->tap = pair[1];
	n->memory = make_part(&n->share[HOST_MEMORY],
		HOST_WRITE + host_ring_write_bytes(P2PNIC_METHOD_WRITE, SLOTS, BUFFER));
	n->mailboxes = make_part(
		&n->share[HOST_MAILBOXES], P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox));
	n->packets = make_part(&n->share[HOST_PACKETS], host_ring_buffers_bytes(SLOTS, BUFFER));
	for (unsigned k = HOST_DOORBELL; k <= HOST_EVENT; k++)
		n->share[k] = (struct host_share){.fd = eventfd(0, EFD_CLOEXEC)};
	*header(n) = (struct host_ring_header){
		HOST_RING_MAGIC, P2PNIC_METHOD_WRITE, SLOTS, BUFFER, {1, 2, 3, 4}};
	return n;
}

static void nic_free(struct nic *n)
{
	munmap(n->memory, n->share[HOST_MEMORY].bytes);
	munmap(n->mailboxes, n->share[HOST_MAILBOXES].bytes);
	munmap(n->packets, n->share[HOST_PACKETS].bytes);
	for (unsigned k = 0; k < HOST_PARTS; k++)
		close(n->share[k].fd);
	close(n->tap);
	close(n->kernel);
	free(n);
}

static struct p2pnic_mailbox *mailbox(uint8_t *first, unsigned ring)
{
	return (struct p2pnic_mailbox *)(void *)first + ring;
}

/* A frame of 60 bytes that begins with the ring and a number. */
static void punt(struct nic *n, unsigned ring, uint8_t number)
{
	const uint32_t index = n->punted[ring]++, slot = index % SLOTS;
	uint8_t *buffers = (uint8_t *)mailbox(n->memory + HOST_WRITE, P2PNIC_HOST_RINGS) +
			   (uint64_t)ring * SLOTS * BUFFER;
	const struct p2pnic_descriptor d = {slot * BUFFER, 60,
		(uint16_t)(P2PNIC_FLAGS(0, 2 * ring) | p2pnic_tag(ring + 1, index, SLOTS))};
	uint64_t word;

	memset(buffers + d.offset, 0, d.length);
	buffers[d.offset] = (uint8_t)ring;
	buffers[d.offset + 1] = number;
	memcpy(&word, &d, sizeof(word));
	__atomic_store_n((uint64_t *)&mailbox(n->memory + HOST_WRITE, ring)->descriptor[slot], word,
		__ATOMIC_RELEASE);
}

static void wake(const struct nic *n)
{
	assert_int_equal(eventfd_write(n->share[HOST_EVENT].fd, 1), 0);
}

/* What the kernel gets next. */
static void delivered(const struct nic *n, unsigned ring, uint8_t number)
{
	struct pollfd fd = {.fd = n->kernel, .events = POLLIN};
	uint8_t frame[BUFFER];

	assert_int_equal(poll(&fd, 1, PATIENCE), 1);
	assert_int_equal(read(n->kernel, frame, sizeof(frame)), 60);
	assert_int_equal(frame[0], ring);
	assert_int_equal(frame[1], number);
}

/* The NIC finds a frame to send, or not. */
static bool finds(struct nic *n, unsigned ring, const uint8_t *frame, uint32_t length)
{
	const uint32_t index = n->taken[ring], slot = index % SLOTS;
	const uint64_t word = __atomic_load_n(
		(uint64_t *)&mailbox(n->mailboxes, ring)->descriptor[slot], __ATOMIC_ACQUIRE);
	struct p2pnic_descriptor d;

	memcpy(&d, &word, sizeof(d));
	if (P2PNIC_FLAGS_TAG(d.flags) != p2pnic_tag(ring + 1, index, SLOTS))
		return false;
	n->taken[ring]++;
	assert_int_equal(d.length, length);
	assert_memory_equal(n->packets + (uint64_t)ring * SLOTS * BUFFER + d.offset, frame, length);
	return true;
}

static void consume(struct nic *n, unsigned ring)
{
	atomic_store(&mailbox(n->memory + HOST_WRITE, ring)->consumer,
		P2PNIC_RING_WORD(ring + 1, n->taken[ring]));
}

static void injected(struct nic *n, unsigned ring, const uint8_t *frame, uint32_t length)
{
	for (unsigned waited = 0; !finds(n, ring, frame, length); waited++) {
		assert_true(waited < PATIENCE);
		usleep(1000);
	}
}

static struct punt_message counts_of(int client, const char *name)
{
	struct punt_message m;
	int tap;

	for (unsigned k = 0; punt_get(client, k, &m, &tap) == 0; k++) {
		close(tap);
		if (!strcmp(m.name, name))
			return m;
	}
	fail_msg("it has no %s", name);
	return m;
}

/* --- Classes of what is injected -------------------------------------------------------------- */

struct example {
	const char *what;
	enum p2pnic_host_ring ring;
	uint16_t type;
	uint8_t protocol;
	uint16_t from, to; /* ports; of ICMPv6: the type */
};

static uint32_t frame_of(const struct example *e, unsigned tags, uint8_t frame[128])
{
	uint32_t at = 12, header = e->type == 0x86dd ? 40 : 20;

	memset(frame, 0, 128);
	for (unsigned k = 0; k < tags; k++, at += 4)
		memcpy(frame + at,
			k          ? "\x81\x00\x00\x07"
			: tags > 1 ? "\x88\xa8\x00\x05"
				   : "\x81\x00\x00\x05",
			4);
	frame[at++] = (uint8_t)(e->type >> 8);
	frame[at++] = (uint8_t)e->type;
	if (e->type == 0x0800) {
		frame[at] = 0x45;
		frame[at + 9] = e->protocol;
	} else if (e->type == 0x86dd) {
		frame[at] = 0x60;
		frame[at + 6] = e->protocol;
	} else {
		return at + 46;
	}
	if (e->protocol == 58) {
		frame[at + header] = (uint8_t)e->from;
	} else {
		frame[at + header] = (uint8_t)(e->from >> 8);
		frame[at + header + 1] = (uint8_t)e->from;
		frame[at + header + 2] = (uint8_t)(e->to >> 8);
		frame[at + header + 3] = (uint8_t)e->to;
	}
	return at + header + 20;
}

static const struct example examples[] = {
	{"ARP", P2PNIC_RING_NEIGHBOR, 0x0806, 0, 0, 0},
	{"LLDP", P2PNIC_RING_CONTROL, 0x88cc, 0, 0, 0},
	{"LACP", P2PNIC_RING_CONTROL, 0x8809, 0, 0, 0},
	{"IS-IS", P2PNIC_RING_CONTROL, 0x0040, 0, 0, 0},
	{"PPPoE", P2PNIC_RING_EXCEPTION, 0x8863, 0, 0, 0},
	{"OSPFv2", P2PNIC_RING_CONTROL, 0x0800, 89, 0, 0},
	{"OSPFv3", P2PNIC_RING_CONTROL, 0x86dd, 89, 0, 0},
	{"VRRP", P2PNIC_RING_CONTROL, 0x0800, 112, 0, 0},
	{"PIM", P2PNIC_RING_CONTROL, 0x0800, 103, 0, 0},
	{"EIGRP", P2PNIC_RING_CONTROL, 0x0800, 88, 0, 0},
	{"IGMP", P2PNIC_RING_CONTROL, 0x0800, 2, 0, 0},
	{"MLD", P2PNIC_RING_CONTROL, 0x86dd, 58, 143, 0},
	{"BFD", P2PNIC_RING_CONTROL, 0x0800, 17, 49152, 3784},
	{"BFD echo", P2PNIC_RING_CONTROL, 0x86dd, 17, 49152, 3785},
	{"BFD multihop", P2PNIC_RING_CONTROL, 0x86dd, 17, 49152, 4784},
	{"BFD on bundles", P2PNIC_RING_CONTROL, 0x0800, 17, 49152, 6784},
	{"RIP", P2PNIC_RING_CONTROL, 0x0800, 17, 520, 520},
	{"RIPng", P2PNIC_RING_CONTROL, 0x86dd, 17, 521, 521},
	{"LDP hello", P2PNIC_RING_CONTROL, 0x0800, 17, 646, 646},
	{"LDP session", P2PNIC_RING_CONTROL, 0x0800, 6, 40000, 646},
	{"BGP, active", P2PNIC_RING_CONTROL, 0x0800, 6, 40000, 179},
	{"BGP, passive", P2PNIC_RING_CONTROL, 0x86dd, 6, 179, 40000},
	{"router advertisement", P2PNIC_RING_NEIGHBOR, 0x86dd, 58, 134, 0},
	{"redirect", P2PNIC_RING_NEIGHBOR, 0x86dd, 58, 137, 0},
	{"echo", P2PNIC_RING_EXCEPTION, 0x86dd, 58, 128, 0},
	{"UDP of port 179", P2PNIC_RING_EXCEPTION, 0x0800, 17, 40000, 179},
	{"TCP of port 3784", P2PNIC_RING_EXCEPTION, 0x0800, 6, 40000, 3784},
	{"DNS", P2PNIC_RING_EXCEPTION, 0x0800, 17, 53, 53},
	{"ICMP", P2PNIC_RING_EXCEPTION, 0x0800, 1, 0, 0},
};

static void test_inject_ring(void **state)
{
	uint8_t frame[128];

	for (unsigned k = 0; k < sizeof(examples) / sizeof(*examples); k++)
		for (unsigned tags = 0; tags < 3; tags++) {
			const uint32_t length = frame_of(&examples[k], tags, frame);

			if (inject_ring(frame, length) != examples[k].ring)
				fail_msg("%s with %u tags", examples[k].what, tags);
		}
	/* A later fragment has no ports. */
	const uint32_t length = frame_of(&examples[12], 0, frame);
	frame[14 + 7] = 1;
	assert_int_equal(inject_ring(frame, length), P2PNIC_RING_EXCEPTION);
	/* MLD behind a router alert. */
	frame_of(&(struct example){.type = 0x86dd}, 0, frame);
	frame[54] = 58;
	frame[62] = 143;
	assert_int_equal(inject_ring(frame, 82), P2PNIC_RING_CONTROL);
}

/* Whatever its length and bytes: nothing behind it is read. */
static void test_inject_ring_bounds(void **state)
{
	uint64_t random = test_seed();
	uint8_t *memory = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	assert_int_equal(mprotect(memory, 4096, PROT_READ | PROT_WRITE), 0);
	for (unsigned k = 0; k < 200000; k++) {
		const uint32_t length = (uint32_t)(test_random(&random) % 80);
		uint8_t *frame = memory + 4096 - length;
		uint8_t whole[128];

		frame_of(&examples[test_random(&random) % (sizeof(examples) / sizeof(*examples))],
			(unsigned)(test_random(&random) % 4), whole);
		if (length)
			whole[test_random(&random) % length] = (uint8_t)test_random(&random);
		memcpy(frame, whole, length);
		assert_true(inject_ring(frame, length) <= P2PNIC_RING_EXCEPTION);
	}
	munmap(memory, 8192);
}

/* --- Frames ----------------------------------------------------------------------------------- */

static void test_priority(void **state)
{
	const int client = connected();
	struct nic *a = nic_new(), *b = nic_new();

	/* Everything waits before it begins. */
	for (unsigned ring = P2PNIC_HOST_RINGS; ring-- > 0;)
		for (unsigned k = 0; k < SLOTS; k++) {
			punt(a, ring, (uint8_t)k);
			punt(b, ring, (uint8_t)k);
		}
	assert_int_equal(punt_take(client, "a", a->tap, a->share), 0);
	assert_int_equal(punt_take(client, "b", b->tap, b->share), 0);
	for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
		for (unsigned k = 0; k < SLOTS; k++) {
			delivered(a, ring, (uint8_t)k);
			delivered(b, ring, (uint8_t)k);
		}
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++) {
		const struct punt_message m = counts_of(client, "b");

		assert_int_equal(m.flags & (PUNT_RINGS | PUNT_TAP_GONE), PUNT_RINGS);
		assert_int_equal(m.counts.received[k], SLOTS);
		assert_int_equal(m.counts.passed[2 * k], SLOTS);
		assert_int_equal(m.counts.refused[2 * k], 0);
	}
	nic_free(a);
	nic_free(b);
	close(client);
}

/* While it sleeps, and round and round. */
static void test_wakes(void **state)
{
	const int client = connected();
	struct nic *n = nic_new();

	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	for (unsigned k = 0; k < 5 * SLOTS; k++) {
		punt(n, k % P2PNIC_HOST_RINGS, (uint8_t)k);
		wake(n);
		delivered(n, k % P2PNIC_HOST_RINGS, (uint8_t)k);
	}
	nic_free(n);
	close(client);
}

static void test_inject(void **state)
{
	uint8_t arp[128], bfd[128], icmp[128], large[BUFFER] = {0};
	const uint32_t arp_bytes = frame_of(&examples[0], 0, arp);
	const uint32_t bfd_bytes = frame_of(&examples[12], 0, bfd);
	const uint32_t icmp_bytes = frame_of(&examples[28], 0, icmp);
	const int client = connected();
	struct nic *n = nic_new();
	struct punt_message m;

	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	assert_int_equal(write(n->kernel, icmp, icmp_bytes), icmp_bytes);
	assert_int_equal(write(n->kernel, arp, arp_bytes), arp_bytes);
	assert_int_equal(write(n->kernel, large, sizeof(large)), sizeof(large));
	assert_int_equal(write(n->kernel, bfd, bfd_bytes), bfd_bytes);
	injected(n, P2PNIC_RING_CONTROL, bfd, bfd_bytes);
	injected(n, P2PNIC_RING_NEIGHBOR, arp, arp_bytes);
	injected(n, P2PNIC_RING_EXCEPTION, icmp, icmp_bytes);

	/* The NIC takes nothing more. Bulk above its ring is dropped; a hello behind it is not held
	 * up by that. */
	for (unsigned k = 0; k < SLOTS + 9; k++)
		assert_int_equal(write(n->kernel, icmp, icmp_bytes), icmp_bytes);
	assert_int_equal(write(n->kernel, bfd, bfd_bytes), bfd_bytes);
	injected(n, P2PNIC_RING_CONTROL, bfd, bfd_bytes);
	m = counts_of(client, "n");
	assert_int_equal(m.counts.full[P2PNIC_RING_EXCEPTION], 10);
	assert_int_equal(m.counts.oversize, 1);
	assert_int_equal(m.counts.sent[P2PNIC_RING_CONTROL], 2);
	assert_int_equal(m.counts.sent[P2PNIC_RING_NEIGHBOR], 1);
	nic_free(n);
	close(client);
}

/* A hello waits for a slot, and is dropped when none comes. */
static void test_inject_waits(void **state)
{
	uint8_t bfd[128];
	const uint32_t bytes = frame_of(&examples[12], 0, bfd);
	const int client = connected();
	struct nic *n = nic_new();
	unsigned waited = 0;

	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	for (unsigned k = 0; k < SLOTS + 1; k++)
		assert_int_equal(write(n->kernel, bfd, bytes), bytes);
	while (counts_of(client, "n").counts.full[P2PNIC_RING_CONTROL] < 1) {
		assert_true(waited++ < PATIENCE);
		usleep(1000);
	}
	for (unsigned k = 0; k < SLOTS; k++)
		injected(n, P2PNIC_RING_CONTROL, bfd, bytes);
	consume(n, P2PNIC_RING_CONTROL);
	for (unsigned k = 0; k < SLOTS; k++) {
		assert_int_equal(write(n->kernel, bfd, bytes), bytes);
		injected(n, P2PNIC_RING_CONTROL, bfd, bytes);
	}
	assert_int_equal(counts_of(client, "n").counts.sent[P2PNIC_RING_CONTROL], 2 * SLOTS);
	nic_free(n);
	close(client);
}

/* --- Life ------------------------------------------------------------------------------------- */

/* Handed again, as a new router does: counts and frames go on. */
static void test_taken_again(void **state)
{
	const int client = connected();
	struct nic *n = nic_new();

	for (unsigned k = 0; k < 200; k++) {
		assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
		punt(n, 0, (uint8_t)k);
		wake(n);
		delivered(n, 0, (uint8_t)k);
	}
	assert_int_equal(counts_of(client, "n").counts.received[0], 200);
	nic_free(n);
	close(client);
}

/* Its NIC dies: the tap is kept, without rings. Dropped: the tap is let go. */
static void test_drop(void **state)
{
	const int client = connected();
	struct nic *n = nic_new();
	struct pollfd end = {.fd = n->kernel, .events = POLLIN};
	struct punt_message m;
	int tap;

	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	assert_int_equal(punt_take(client, "n", n->tap, NULL), 0);
	m = counts_of(client, "n");
	assert_int_equal(m.flags & PUNT_RINGS, 0);
	assert_int_equal(write(n->kernel, "frame to nobody", 15), 15);
	while (counts_of(client, "n").counts.full[P2PNIC_RING_EXCEPTION] == 0)
		usleep(1000);
	punt(n, 0, 1);
	wake(n);
	close(n->tap);
	n->tap = -1;
	assert_int_equal(poll(&end, 1, 0), 0);
	assert_int_equal(punt_drop(client, "n"), 0);
	assert_int_equal(punt_drop(client, "n"), -ENOENT);
	assert_int_equal(punt_get(client, 0, &m, &tap), -ENOENT);
	assert_int_equal(poll(&end, 1, PATIENCE), 1);
	assert_int_equal(read(n->kernel, &m, sizeof(m)), 0);
	nic_free(n);
	close(client);
}

/* The router closes rings without a word, as when it adopts none of an earlier one. */
static void test_closed(void **state)
{
	const int client = connected();
	struct nic *n = nic_new();
	unsigned waited = 0;

	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	atomic_store(&header(n)->epoch[2], 9);
	wake(n);
	while (counts_of(client, "n").flags & PUNT_RINGS) {
		assert_true(waited++ < PATIENCE);
		usleep(1000);
	}
	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	nic_free(n);
	close(client);
}

static void test_quit(void **state)
{
	const int client = connected();
	struct nic *n = nic_new();
	uint8_t byte;

	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	close(n->tap);
	n->tap = -1;
	assert_int_equal(punt_quit(client), 0);
	await_end();
	assert_int_equal(read(n->kernel, &byte, 1), 0);
	nic_free(n);
	close(client);
}

/* --- What is refused -------------------------------------------------------------------------- */

static unsigned descriptors(pid_t pid)
{
	char name[64];
	unsigned n = 0;
	DIR *folder;

	snprintf(name, sizeof(name), "/proc/%d/fd", pid);
	folder = opendir(name);
	assert_non_null(folder);
	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}

/* Once it serves this client. */
static unsigned descriptors_with(int client)
{
	assert_int_equal(punt_drop(client, "nobody"), -ENOENT);
	return descriptors(process);
}

static void test_refused(void **state)
{
	const int client = connected();
	struct nic *n = nic_new();
	struct host_share share[HOST_PARTS];
	const unsigned before = descriptors_with(client);
	char name[8];

	/* A part too small, none, memory that can be cut short, no eventfd. */
	for (unsigned wrong = 0; wrong < 5; wrong++) {
		memcpy(share, n->share, sizeof(share));
		if (wrong == 0)
			share[HOST_MEMORY].bytes = 4096;
		else if (wrong == 1)
			share[HOST_PACKETS].fd = -1;
		else if (wrong == 2)
			share[HOST_MAILBOXES].fd = memfd_create("unsealed", MFD_CLOEXEC);
		else if (wrong == 3)
			share[HOST_EVENT].fd = n->share[HOST_MEMORY].fd;
		else
			share[HOST_EVENT].fd = -1;
		assert_true(punt_take(client, "n", n->tap, share) < 0);
		assert_int_equal(counts_of(client, "n").flags & PUNT_RINGS, 0);
		if (wrong == 2)
			close(share[HOST_MAILBOXES].fd);
	}
	header(n)->magic++;
	assert_int_equal(punt_take(client, "n", n->tap, n->share), -EPROTO);
	header(n)->magic--;
	header(n)->epoch[3] = 0;
	assert_int_equal(punt_take(client, "n", n->tap, n->share), -ENOTCONN);
	assert_int_equal(punt_take(client, "", n->tap, NULL), -EINVAL);
	assert_int_equal(
		punt_take(client, "a name of thirty-two characters!", n->tap, NULL), -EINVAL);
	assert_int_equal(punt_drop(client, "n"), 0);
	assert_int_equal(descriptors(process), before);
	for (unsigned k = 0; k <= P2PNIC_NICS_MAX; k++) {
		snprintf(name, sizeof(name), "%u", k);
		assert_int_equal(
			punt_take(client, name, n->tap, NULL), k < P2PNIC_NICS_MAX ? 0 : -ENOSPC);
	}
	nic_free(n);
	close(client);
}

/* Messages that are none; others are served all the same, and no descriptor is left. */
static void test_hostile(void **state)
{
	uint64_t random = test_seed();
	const int client = connected();
	struct nic *n = nic_new();
	const unsigned before = descriptors_with(client);

	for (unsigned k = 0; k < 500; k++) {
		const int other = connected();
		const unsigned count = (unsigned)(test_random(&random) % (RIGHTS_MAX + 1));
		uint8_t bytes[2 * sizeof(struct punt_message)];
		struct iovec data = {bytes,
			k % 3 ? sizeof(struct punt_message) : test_random(&random) % sizeof(bytes)};
		struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
		union rights rights;
		int fds[RIGHTS_MAX];

		for (unsigned f = 0; f < RIGHTS_MAX; f++)
			fds[f] = f ? n->share[(f - 1) % HOST_PARTS].fd : n->tap;
		for (unsigned b = 0; b < sizeof(bytes); b++)
			bytes[b] = (uint8_t)test_random(&random);
		*(uint32_t *)(void *)bytes = k % 7 == 4 ? PUNT_GET : k % 7;
		rights_attach(&message, &rights, fds, count);
		/* It may have hung up already: more clients than it serves. */
		assert_true(sendmsg(other, &message, MSG_NOSIGNAL) >= 0 || errno == EPIPE);
		close(other);
	}
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++) {
		struct punt_message m;
		int tap;

		if (punt_get(client, 0, &m, &tap))
			break;
		close(tap);
		assert_int_equal(punt_drop(client, m.name), 0);
	}
	for (unsigned waited = 0; descriptors(process) != before; waited++) {
		assert_true(waited < PATIENCE);
		usleep(1000);
	}
	assert_int_equal(punt_take(client, "n", n->tap, n->share), 0);
	punt(n, 0, 1);
	wake(n);
	delivered(n, 0, 1);
	nic_free(n);
	close(client);
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inject_ring),
		cmocka_unit_test(test_inject_ring_bounds),
		EACH(test_priority),
		EACH(test_wakes),
		EACH(test_inject),
		EACH(test_inject_waits),
		EACH(test_taken_again),
		EACH(test_drop),
		EACH(test_closed),
		EACH(test_quit),
		EACH(test_refused),
		EACH(test_hostile),
	};
	int failed;

	if (!mkdtemp(directory))
		return 1;
	snprintf(path, sizeof(path), "%s/punt.sock", directory);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
