/* SPDX-License-Identifier: BSD-3-Clause */
#include "memif_link.h"

#include "ipc/clock.h"
#include "ipc/rights.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Where a handshake stands. The client's later steps are the messages it sends, in order. */
enum {
	STEP_IDLE,  /* client: no channel; server: no peer */
	STEP_HELLO, /* client: waits for HELLO; server: waits for INIT */
	/* Client: INIT is out, step - STEP_SETUP ACKs have come; server: takes ADD_*, CONNECT. */
	STEP_SETUP,
};
#define STEP_CONNECTED 1000

static void copy_text(uint8_t *to, size_t bytes, const char *from)
{
	size_t n = strnlen(from, bytes - 1);

	memcpy(to, from, n);
	memset(to + n, 0, bytes - n);
}

/* The peer's words end up on a terminal: printable characters only. */
static void copy_reason(struct memif_link *link, const uint8_t *text)
{
	size_t i;

	for (i = 0; i < MEMIF_REASON_BYTES - 1 && text[i]; i++)
		link->reason[i] = isprint(text[i]) ? (char)text[i] : '?';
	link->reason[i] = 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int watch(int set, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* --- Messages --------------------------------------------------------------------------------- */

static int message_send_to(int channel, const struct memif_message *message, int fd)
{
	struct memif_message copy = *message; /* sendmsg takes no const */
	struct iovec iov = {&copy, sizeof(copy)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights rights;

	rights_attach(&mh, &rights, &fd, fd >= 0);
	/* A message is sent whole or not at all (SOCK_SEQPACKET). */
	return sendmsg(channel, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int message_send(struct memif_link *link, const struct memif_message *message, int fd)
{
	return message_send_to(link->channel, message, fd);
}

static void say_disconnect(int channel, const char *why)
{
	struct memif_message message = {.type = MEMIF_DISCONNECT};

	copy_text(message.disconnect.reason, sizeof(message.disconnect.reason), why);
	message_send_to(channel, &message, -1);
}

static int send_plain(struct memif_link *link, uint16_t type)
{
	struct memif_message message = {.type = type};

	return message_send(link, &message, -1);
}

/* One message, with at most one descriptor. 1: got one; 0: none waits; -errno: the connection is no
 * more. */
static int message_receive(struct memif_link *link, struct memif_message *message, int *fd)
{
	struct iovec iov = {message, sizeof(*message)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	union rights rights;
	bool lost = false;

	*fd = -1;
	rights_expect(&mh, &rights);
	ssize_t n = recvmsg(link->channel, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	rights_detach(&mh, fd, 1, &lost);
	if (n == 0) {
		close_fd(fd);
		return -ECONNRESET;
	}
	if (n != (ssize_t)sizeof(*message) || mh.msg_flags & MSG_TRUNC) {
		close_fd(fd);
		return -EBADMSG;
	}
	return 1;
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void queue_reset(struct memif_queue *queue)
{
	close_fd(&queue->event);
	*queue = (struct memif_queue){.event = -1};
}

static void memory_free(struct memif_link *link)
{
	/* The peer holds the eventfd too: closing ours alone would leave it in the set. */
	if (link->receive.event >= 0)
		epoll_ctl(link->events, EPOLL_CTL_DEL, link->receive.event, NULL);
	queue_reset(&link->send);
	queue_reset(&link->receive);
	for (unsigned i = 0; i < link->regions; i++) {
		struct memif_region *r = &link->region[i];
		if (r->mapped) {
			munmap(r->base, r->mapped);
			close_fd(&r->fd);
		}
	}
	link->regions = 0;
}

/* Writing to a pipe or socket that a peer passes off as an eventfd could block or raise a
 * signal. */
static bool is_eventfd(int fd)
{
	char name[32], target[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = 0;
	return !strncmp(target, "anon_inode:[eventfd", 19);
}

/* Maps a peer's region with a guard page behind it. NULL: done, else the reason for refusing it. */
static const char *region_map(struct memif_link *link, const struct memif_add_region *add, int *fd)
{
	struct stat st;
	uint64_t bytes = add->bytes;

	if (*fd < 0)
		return "Missing region fd";
	if (add->index != link->regions || link->regions >= MEMIF_REGIONS_MAX)
		return "Invalid region index";
	if (fstat(*fd, &st) || !S_ISREG(st.st_mode))
		return "Region is no memory file";
	if (!bytes || bytes > (uint64_t)st.st_size)
		return "Region larger than its file";
	if (!link->config.unsealed) {
		int seals = fcntl(*fd, F_GET_SEALS);
		struct statfs fs;
		if (seals < 0 || !(seals & F_SEAL_SHRINK))
			return "Region not sealed against shrinking";
		/* No seal keeps a page there that cannot be had again: SIGBUS behind a hole. */
		if (fstatfs(*fd, &fs) || fs.f_type == HUGETLBFS_MAGIC)
			return "Region of huge pages";
	}
	/* Huge-page files map in their own block size. */
	uint64_t page = (uint64_t)st.st_blksize > MEMIF_GUARD_BYTES ? (uint64_t)st.st_blksize
								    : MEMIF_GUARD_BYTES;
	/* No test takes this: its files have blocks of a power of two, and none has 2^63 bytes. */
	if (page & (page - 1) || bytes > UINT64_MAX - 3 * page)
		return "Invalid region size";
	uint64_t body = (bytes + page - 1) & ~(page - 1), mapped = 0;
	for (unsigned i = 0; i < link->regions; i++)
		mapped += link->region[i].mapped;
	if (body > link->config.map_bytes || mapped > link->config.map_bytes - body)
		return "Regions larger than allowed";
	uint64_t room = body + page + MEMIF_GUARD_BYTES;
	uint8_t *reserved =
		mmap(NULL, room, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return "No address space for region";
	uint8_t *base = reserved + (-(uintptr_t)reserved & (page - 1));
	if (base != reserved)
		munmap(reserved, (size_t)(base - reserved));
	/* Something is left behind the guard: base is less than a page behind `reserved`. */
	uint8_t *end = base + body + MEMIF_GUARD_BYTES;
	munmap(end, (size_t)(reserved + room - end));
	if (mmap(base, body, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, *fd, 0) ==
		MAP_FAILED) {
		munmap(base, body + MEMIF_GUARD_BYTES);
		return "Region cannot be mapped";
	}
	link->region[link->regions++] = (struct memif_region){
		.base = base, .bytes = bytes, .fd = *fd, .mapped = body + MEMIF_GUARD_BYTES};
	*fd = -1;
	return NULL;
}

static const char *ring_map(struct memif_link *link, const struct memif_add_ring *add, int *fd)
{
	bool to_server = add->flags & MEMIF_RING_TO_SERVER;
	struct memif_queue *queue = to_server ? &link->receive : &link->send;

	if (*fd < 0)
		return "Missing interrupt fd";
	if (add->index != 0 || queue->ring)
		return "Invalid ring index";
	if (add->private_bytes)
		return "Private header not supported";
	if (add->log2_size > MEMIF_LOG2_RING_MAX)
		return "Invalid ring size";
	if (add->region >= link->regions)
		return "Invalid ring region";
	const struct memif_region *r = &link->region[add->region];
	if (add->offset % sizeof(struct memif_descriptor) ||
		add->offset + memif_ring_bytes(add->log2_size) > r->bytes)
		return "Ring outside its region";
	if (!is_eventfd(*fd) || fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK))
		return "Interrupt fd is no eventfd";
	queue->ring = (struct memif_ring *)(void *)(r->base + add->offset);
	queue->mask = (uint16_t)((1u << add->log2_size) - 1);
	queue->event = *fd;
	*fd = -1;
	return NULL;
}

/* The client's rings: a memfd for this connection alone, so that an earlier peer reaches
 * nothing. most: regions. */
static int client_memory(struct memif_link *link, unsigned most)
{
	uint64_t ring = (memif_ring_bytes(link->log2_ring) + 63) & ~63ull;
	uint64_t bytes = (2 * ring + 4095) & ~4095ull;
	int fd = memfd_create("memif-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int error = -errno;
		close(fd);
		return error;
	}
	uint8_t *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (base == MAP_FAILED) {
		int error = -errno;
		close(fd);
		return error;
	}
	link->region[0] =
		(struct memif_region){.base = base, .bytes = bytes, .fd = fd, .mapped = bytes};
	link->regions = 1;
	link->regions_max = most;
	link->shared = 0;
	for (unsigned i = 0; i < PORT_MEMORIES && link->regions < most; i++) {
		if (!link->config.region[i].bytes)
			continue;
		link->shared |= 1ull << i;
		link->region_of[i] = (uint8_t)link->regions;
		link->region[link->regions++] =
			(struct memif_region){.base = link->config.region[i].base,
				.bytes = link->config.region[i].bytes,
				.fd = link->config.region[i].fd};
	}
	struct memif_queue *queues[2] = {&link->send, &link->receive};
	for (unsigned i = 0; i < 2; i++) {
		queues[i]->ring = (struct memif_ring *)(void *)(base + i * ring);
		queues[i]->ring->cookie = MEMIF_COOKIE;
		queues[i]->mask = (uint16_t)((1u << link->log2_ring) - 1);
		queues[i]->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (queues[i]->event < 0) {
			int error = -errno;
			memory_free(link);
			return error;
		}
	}
	return 0;
}

/* --- Connections ------------------------------------------------------------------------------ */

static enum memif_event drop(struct memif_link *link)
{
	bool was = link->connected;

	memory_free(link);
	close_fd(&link->channel);
	link->connected = false;
	link->broken = false;
	link->step = STEP_IDLE;
	/* A client that was connected tries again at once, one that was refused waits. */
	link->deadline_ms = was ? 0 : clock_now_ms() + MEMIF_RETRY_MS;
	if (was)
		link->counters.disconnects++;
	return was ? MEMIF_DOWN : MEMIF_NOTHING;
}

static enum memif_event refuse(struct memif_link *link, const char *why)
{
	say_disconnect(link->channel, why);
	snprintf(link->reason, sizeof(link->reason), "%s", why);
	return drop(link);
}

static void waiting_drop(struct memif_link *link, unsigned k, const char *why)
{
	say_disconnect(link->waiting[k].fd, why);
	close(link->waiting[k].fd);
	link->waitings--;
	memmove(&link->waiting[k], &link->waiting[k + 1],
		(link->waitings - k) * sizeof(*link->waiting));
}

static enum memif_event up(struct memif_link *link)
{
	if (watch(link->events, link->receive.event))
		return refuse(link, "Out of memory");
	link->connected = true;
	link->step = STEP_CONNECTED;
	link->reason[0] = 0;
	link->counters.connects++;
	while (link->waitings)
		waiting_drop(link, 0, "Already connected");
	return MEMIF_UP;
}

/* The client's next message: INIT when `done` is 0, and one more for each ACK. */
static int client_next(struct memif_link *link, unsigned done)
{
	struct memif_message message = {0};

	if (done == 0) {
		message.type = MEMIF_INIT;
		message.init.version = MEMIF_VERSION;
		message.init.id = link->config.id;
		message.init.mode = MEMIF_MODE_ETHERNET;
		memcpy(message.init.secret, link->config.secret, MEMIF_SECRET_BYTES);
		copy_text(message.init.name, sizeof(message.init.name), "p2pnic");
		return message_send(link, &message, -1);
	}
	done--;
	if (done < link->regions) {
		message.type = MEMIF_ADD_REGION;
		message.add_region.index = (uint16_t)done;
		message.add_region.bytes = link->region[done].bytes;
		return message_send(link, &message, link->region[done].fd);
	}
	done -= link->regions;
	if (done < 2) {
		const struct memif_queue *queue = done == 0 ? &link->send : &link->receive;
		message.type = MEMIF_ADD_RING;
		message.add_ring.flags = done == 0 ? MEMIF_RING_TO_SERVER : 0;
		message.add_ring.region = 0;
		message.add_ring.offset = (uint32_t)((uint8_t *)queue->ring - link->region[0].base);
		message.add_ring.log2_size = (uint8_t)link->log2_ring;
		return message_send(link, &message, queue->event);
	}
	message.type = MEMIF_CONNECT;
	copy_text(message.interface, sizeof(message.interface), "p2pnic");
	return message_send(link, &message, -1);
}

static enum memif_event client_message(struct memif_link *link, const struct memif_message *message)
{
	unsigned steps = link->regions + 3; /* ACKs for INIT, regions, two rings */
	unsigned done = (unsigned)(link->step - STEP_SETUP);

	if (link->step == STEP_HELLO && message->type == MEMIF_HELLO) {
		const struct memif_hello *hello = &message->hello;
		if (hello->version_min > MEMIF_VERSION || hello->version_max < MEMIF_VERSION) {
			link->counters.refused++;
			return refuse(link, "Incompatible memif version");
		}
		if (!hello->region_max) { /* the highest index: packet memory is 1 */
			link->counters.refused++;
			return refuse(link, "Peer takes too few regions");
		}
		link->log2_ring = link->config.log2_ring < hello->log2_ring_max
					  ? link->config.log2_ring
					  : hello->log2_ring_max;
		if (client_memory(link, hello->region_max < MEMIF_REGIONS_MAX
						? hello->region_max + 1u
						: MEMIF_REGIONS_MAX))
			return refuse(link, "Out of memory");
		link->step = STEP_SETUP;
		if (client_next(link, 0))
			return drop(link);
		return MEMIF_NOTHING;
	}
	if (link->step >= STEP_SETUP && link->step != STEP_CONNECTED &&
		message->type == MEMIF_ACK && done < steps) {
		link->step++;
		if (client_next(link, done + 1))
			return drop(link);
		return MEMIF_NOTHING;
	}
	if (link->step != STEP_CONNECTED && message->type == MEMIF_CONNECTED && done == steps) {
		/* A server may have reset the indices when it connected (DPDK does): 0 they
		 * were. */
		atomic_store_explicit(
			&link->receive.ring->flags, MEMIF_RING_MASK_EVENT, memory_order_relaxed);
		return up(link);
	}
	link->counters.refused++;
	return refuse(link, "Unexpected message");
}

/* All bytes are looked at whatever they are, so time tells nothing. What is behind the end of the
 * peer's is no part of it: VPP leaves there what lay in its memory. */
static bool secret_equal(const char own[MEMIF_SECRET_BYTES], const uint8_t said[MEMIF_SECRET_BYTES])
{
	unsigned difference = 0, inside = 0xff;

	for (unsigned i = 0; i < MEMIF_SECRET_BYTES; i++) {
		inside &= -(unsigned)(said[i] != 0);
		difference |= (uint8_t)own[i] ^ (said[i] & inside);
	}
	return !difference;
}

static const char *server_message(
	struct memif_link *link, const struct memif_message *message, int *fd)
{
	if (link->step == STEP_HELLO) {
		if (message->type != MEMIF_INIT)
			return "Unexpected message";
		const struct memif_init *init = &message->init;
		if (init->version != MEMIF_VERSION)
			return "Incompatible memif version";
		if (init->id != link->config.id)
			return "ID not found";
		if (init->mode != MEMIF_MODE_ETHERNET)
			return "Only ethernet mode supported";
		if (link->config.secret[0] && !secret_equal(link->config.secret, init->secret))
			return "Incorrect secret";
		link->step = STEP_SETUP;
		return NULL;
	}
	if (message->type == MEMIF_ADD_REGION)
		return region_map(link, &message->add_region, fd);
	if (message->type == MEMIF_ADD_RING)
		return ring_map(link, &message->add_ring, fd);
	return "Unexpected message";
}

static const char *server_connect(struct memif_link *link)
{
	struct memif_queue *queues[2] = {&link->send, &link->receive};

	for (unsigned i = 0; i < 2; i++) {
		if (!queues[i]->ring)
			return "Missing ring";
		uint32_t cookie = __atomic_load_n(&queues[i]->ring->cookie, __ATOMIC_RELAXED);
		if (cookie != MEMIF_COOKIE)
			return "Wrong cookie";
	}
	for (unsigned i = 0; i < 2; i++)
		atomic_store_explicit(&queues[i]->ring->tail, 0, memory_order_relaxed);
	atomic_store_explicit(
		&link->receive.ring->flags, MEMIF_RING_MASK_EVENT, memory_order_relaxed);
	return NULL;
}

static enum memif_event channel_message(
	struct memif_link *link, const struct memif_message *message, int *fd)
{
	const char *why;

	if (message->type == MEMIF_DISCONNECT) {
		copy_reason(link, message->disconnect.reason);
		return drop(link);
	}
	if (link->role == MEMIF_CLIENT)
		return client_message(link, message);
	if (link->step == STEP_CONNECTED)
		return refuse(link, "Unexpected message");
	if (link->step == STEP_SETUP && message->type == MEMIF_CONNECT) {
		why = server_connect(link);
		if (!why) {
			if (send_plain(link, MEMIF_CONNECTED))
				return drop(link);
			return up(link);
		}
	} else {
		why = server_message(link, message, fd);
		if (!why) {
			if (send_plain(link, MEMIF_ACK))
				return drop(link);
			return MEMIF_NOTHING;
		}
	}
	link->counters.refused++;
	return refuse(link, why);
}

/* Is the other end's process one to deal with? Else the reason says whose it is. */
static bool peer_admitted(struct memif_link *link, int fd)
{
	struct ucred who;

	if (link->config.any_peer)
		return true;
	if (unix_peer(fd, &who)) {
		snprintf(link->reason, sizeof(link->reason), "%.50s: peer's user unknown",
			link->config.socket);
	} else if (who.uid == 0 || who.uid == geteuid() || who.uid == link->config.peer) {
		return true;
	} else {
		snprintf(link->reason, sizeof(link->reason),
			"%.30s: peer of user %u refused; peers=%u admits it", link->config.socket,
			who.uid, who.uid);
	}
	link->counters.refused++;
	return false;
}

static void client_connect(struct memif_link *link)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	link->deadline_ms = clock_now_ms() + MEMIF_RETRY_MS;
	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&link->address, link->address_bytes) ||
		watch(link->control, fd)) {
		snprintf(link->reason, sizeof(link->reason), "%.60s: %s", link->config.socket,
			strerror(errno));
		close(fd);
		return;
	}
	if (!peer_admitted(link, fd)) {
		close(fd);
		return;
	}
	link->channel = fd;
	link->step = STEP_HELLO;
	link->deadline_ms = clock_now_ms() + MEMIF_HANDSHAKE_MS;
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* Makes room for one more: the oldest that has said nothing goes. False: all have. */
static bool waiting_room(struct memif_link *link)
{
	if (link->waitings < MEMIF_WAITING_MAX)
		return true;
	for (unsigned k = 0; k < link->waitings; k++)
		if (!readable(link->waiting[k].fd)) {
			link->counters.refused++;
			waiting_drop(link, k, "Said nothing while others came");
			return true;
		}
	return false;
}

/* Greets a newcomer, or says why not; the caller closes it then. */
static bool greet(struct memif_link *link, int fd)
{
	struct memif_message message = {.type = MEMIF_HELLO};

	if (!peer_admitted(link, fd)) {
		say_disconnect(fd, "User not admitted");
		return false;
	}
	if (link->connected) {
		say_disconnect(fd, "Already connected");
		return false;
	}
	if (!waiting_room(link)) {
		say_disconnect(fd, "Too many handshakes");
		return false;
	}
	copy_text(message.hello.name, sizeof(message.hello.name), "p2pnic");
	message.hello.version_min = MEMIF_VERSION;
	message.hello.version_max = MEMIF_VERSION;
	message.hello.region_max = MEMIF_REGIONS_MAX - 1;
	message.hello.log2_ring_max = MEMIF_LOG2_RING_MAX;
	return !watch(link->control, fd) && !message_send_to(fd, &message, -1);
}

/* Newcomers are greeted; the first that has answered becomes the link's one, if it has none. */
static void server_accept(struct memif_link *link)
{
	for (unsigned k = 0; k < MEMIF_WAITING_MAX; k++) {
		int fd = accept4(link->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			break;
		if (!greet(link, fd)) {
			close(fd);
			continue;
		}
		link->waiting[link->waitings].fd = fd;
		link->waiting[link->waitings++].deadline_ms = clock_now_ms() + MEMIF_HANDSHAKE_MS;
	}
	for (unsigned k = link->waitings; k--;)
		if (clock_now_ms() >= link->waiting[k].deadline_ms &&
			!readable(link->waiting[k].fd)) {
			link->counters.refused++;
			waiting_drop(link, k, "Handshake took too long");
		}
	for (unsigned k = 0; link->channel < 0 && k < link->waitings; k++) {
		if (!readable(link->waiting[k].fd))
			continue;
		link->channel = link->waiting[k].fd;
		link->step = STEP_HELLO;
		link->deadline_ms = clock_now_ms() + MEMIF_HANDSHAKE_MS;
		link->waitings--;
		memmove(&link->waiting[k], &link->waiting[k + 1],
			(link->waitings - k) * sizeof(*link->waiting));
	}
}

enum memif_event memif_link_service(struct memif_link *link)
{
	if (link->listener.fd >= 0)
		server_accept(link);
	/* One message a call, so that the links of one peer advance in step: DPDK's zero-copy
	 * client closes the file of its memory once its first port has connected, and cannot show
	 * it to others. */
	if (link->channel >= 0) {
		struct memif_message message;
		int fd;

		if (link->broken)
			return refuse(link, "Ring index out of range");
		int got = message_receive(link, &message, &fd);
		if (got < 0) {
			if (got == -EBADMSG) {
				link->counters.refused++;
				return refuse(link, "Invalid message size");
			}
			snprintf(link->reason, sizeof(link->reason), "peer closed the connection");
			return drop(link);
		}
		if (got > 0) {
			enum memif_event event = channel_message(link, &message, &fd);
			close_fd(&fd);
			if (event != MEMIF_NOTHING)
				return event;
		}
	}
	bool late = clock_now_ms() >= link->deadline_ms;
	if (link->channel >= 0) {
		if (!link->connected && late) {
			link->counters.refused++;
			return refuse(link, "Handshake took too long");
		}
	} else if (link->role == MEMIF_CLIENT && late) {
		client_connect(link);
	}
	return MEMIF_NOTHING;
}

void memif_link_disconnect(struct memif_link *link, const char *reason)
{
	if (link->channel < 0)
		return;
	say_disconnect(link->channel, reason);
	/* Reading now ends in the next service like the peer's own end. */
	shutdown(link->channel, SHUT_RDWR);
}

/* --- Events ----------------------------------------------------------------------------------- */

void memif_queue_kick(struct memif_queue *queue)
{
	struct pollfd p = {.fd = queue->event, .events = POLLOUT};
	uint64_t one = 1;

	/* O_NONBLOCK was set when the fd came, but the peer shares that flag and may have cleared
	 * it and filled the counter; then it is awake anyhow. */
	poll(&p, 1, 0);
	if (p.revents & POLLOUT) {
		ssize_t n = write(queue->event, &one, sizeof(one));

		(void)n; /* full by now: awake */
	}
}

void memif_queue_disarm(struct memif_queue *queue)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};

	atomic_store_explicit(&queue->ring->flags, MEMIF_RING_MASK_EVENT, memory_order_relaxed);
	if (preadv2(queue->event, &iov, 1, -1, RWF_NOWAIT) < 0)
		return;
}

/* --- Open and close --------------------------------------------------------------------------- */

static int server_listen(struct memif_link *link, struct error *error)
{
	char text[UNIX_LISTEN_TEXT_BYTES];
	int result =
		unix_listen(&link->listener, link->config.socket, SOCK_SEQPACKET | SOCK_NONBLOCK,
			link->config.any_peer || link->config.peer != geteuid() ? 0666 : 0600,
			2 * MEMIF_WAITING_MAX);

	if (result)
		return error_set(error, result, "memif: cannot listen: %s",
			unix_listen_error(link->config.socket, result, text));
	result = watch(link->control, link->listener.fd);
	if (result)
		return error_set(error, result, "memif: cannot wait for peers on %s: %s",
			link->config.socket, strerror(-result));
	return 0;
}

int memif_link_open(
	struct memif_link *link, const struct memif_link_config *config, struct error *error)
{
	const char *path = config->socket ? config->socket : "";

	memset(link, 0, sizeof(*link));
	link->config = *config;
	link->role = config->role;
	link->listener.fd = link->channel = link->control = link->events = -1;
	link->send.event = link->receive.event = -1;
	if (unix_address_or_name(&link->address, &link->address_bytes, path))
		return error_set(
			error, -EINVAL, "memif: %s, not %zu", UNIX_ADDRESS_ERROR, strlen(path));
	link->config.socket = memcpy(link->socket, path, strlen(path) + 1);

	link->control = epoll_create1(EPOLL_CLOEXEC);
	link->events = epoll_create1(EPOLL_CLOEXEC);
	if (link->control < 0 || link->events < 0) {
		int e = errno;
		error_set(error, -e, "memif: epoll: %s", strerror(e));
		memif_link_close(link);
		return -e;
	}
	if (config->role == MEMIF_SERVER) {
		int r = server_listen(link, error);
		if (r) {
			memif_link_close(link);
			return r;
		}
	}
	return 0;
}

void memif_link_close(struct memif_link *link)
{
	if (link->channel >= 0)
		refuse(link, "Closed");
	while (link->waitings)
		waiting_drop(link, 0, "Closed");
	explicit_bzero(link->config.secret, sizeof(link->config.secret));
	unix_unlisten(&link->listener);
	close_fd(&link->control);
	close_fd(&link->events);
}
