/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the punt process is asked, and what it then finds in the NIC's memory: records {operation,
 * shape, name, length, bytes…}, each a message with the record's bytes for its parts. shape: bits
 * 0–2, descriptors that come; bit 3, a message cut short; bit 4, parts that make sense, and the
 * bytes are what the NIC has written into its mailboxes. It loses no descriptor, answers whatever
 * is whole, and serves no more NICs than there can be.
 */
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "punt/server.c"

#include "ipc/rights.h"

#include <stdlib.h>
#include <sys/mman.h>

#define SLOTS  P2PNIC_RING_SLOTS_MIN
#define BUFFER P2PNIC_BUFFER_BYTES_MIN

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int lowest_free_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static int sealed(uint64_t bytes)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		abort();
	return fd;
}

/* The memory of one NIC: tap, memory, mailboxes, packets, doorbell, event. */
static struct {
	int fd[6];
	uint64_t bytes[6];
	uint8_t *memory;
} nic;

static void make_nic(void)
{
	int pair[2];

	if (nic.memory)
		return;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
		abort();
	nic.bytes[1] = HOST_WRITE + host_ring_write_bytes(P2PNIC_METHOD_WRITE, SLOTS, BUFFER);
	nic.bytes[2] = P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox);
	nic.bytes[3] = host_ring_buffers_bytes(SLOTS, BUFFER);
	nic.fd[0] = pair[0];
	for (unsigned k = 1; k < 4; k++)
		nic.fd[k] = sealed(nic.bytes[k]);
	nic.fd[4] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	nic.fd[5] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	nic.memory = mmap(NULL, nic.bytes[1], PROT_READ | PROT_WRITE, MAP_SHARED, nic.fd[1], 0);
	if (nic.memory == MAP_FAILED)
		abort();
}

static void write_memory(const uint8_t *bytes, size_t n)
{
	struct host_ring_header header = {
		HOST_RING_MAGIC, P2PNIC_METHOD_WRITE, SLOTS, BUFFER, {1, 1, 1, 1}};

	memcpy(nic.memory, &header, sizeof(header));
	for (unsigned k = 0; k < P2PNIC_HOST_RINGS; k++) {
		uint8_t *mailbox = nic.memory + HOST_WRITE + k * sizeof(struct p2pnic_mailbox);

		memcpy(mailbox + 128, bytes, n < 8 ? n : 8);
		memcpy(mailbox + 4096, bytes, n);
	}
}

static void say(int client, const uint8_t *head, const uint8_t *bytes, size_t n)
{
	struct punt_message m = {.operation = head[0] % 6, .index = head[2]};
	const bool sense = head[1] & 16;
	unsigned count = sense ? 6 : head[1] & 7;
	int fds[8];
	union rights rights;
	struct iovec part = {&m, head[1] & 8 ? n % sizeof(m) : sizeof(m)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	for (unsigned k = 0; k < 8; k++)
		fds[k] = nic.fd[(sense ? k : head[2] + k) % 6];
	memset(m.name, head[2], head[2] % 67 ? 3 : sizeof(m.name)); /* some without an end */
	memcpy(m.part, bytes, n < sizeof(m.part) ? n : sizeof(m.part));
	for (unsigned k = 0; sense && k < HOST_PARTS; k++)
		m.part[k] = (struct punt_part){true, k < 3, 0, k < 3 ? nic.bytes[k + 1] : 0};
	if (sense)
		write_memory(bytes, n);
	rights_attach(&message, &rights, fds, count);
	if (sendmsg(client, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		abort();
}

/* False: it lets go of this client. */
static bool answered(struct punt *p, const int ends[2])
{
	struct punt_message reply;
	unsigned count = 0;
	int fds[PUNT_FDS], got;
	const bool served = serve(p, ends[0]) == 0;

	got = exchange_receive(ends[1], &reply, sizeof(reply), fds, PUNT_FDS, &count);
	exchange_close_all(fds, count);
	if (served != (got == 1) || p->faces > FACES || count > 1)
		abort();
	return served;
}

static void work(struct punt *p)
{
	arm(p);
	disarm(p);
	look(p);
	for (unsigned k = 0; k < p->faces; k++)
		inject(p, &p->face[k]);
	for (unsigned k = 0; k < BATCHES && deliver(p, P2PNIC_HOST_RINGS); k++)
		;
	inject_waiting(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct punt p;
	int next_fd, ends[2] = {-1, -1};

	make_nic();
	p.epoll = p.epoll ? p.epoll : epoll_create1(EPOLL_CLOEXEC);
	next_fd = lowest_free_fd();
	for (; size >= 4 && !p.quit;) {
		size_t n = data[3] < size - 4 ? data[3] : size - 4;

		if (ends[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
			abort();
		say(ends[1], data, data + 4, n);
		if (!answered(&p, ends)) {
			close(ends[0]);
			close(ends[1]);
			ends[0] = -1;
		}
		work(&p);
		data += 4 + n;
		size -= 4 + n;
	}
	p.quit = false;
	for (unsigned k = 0; k < p.faces; k++)
		drop(&p, &p.face[k]);
	p.faces = 0;
	if (ends[0] >= 0) {
		close(ends[0]);
		close(ends[1]);
	}
	if (lowest_free_fd() != next_fd)
		abort();
	return 0;
}
