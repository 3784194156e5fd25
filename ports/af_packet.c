/* SPDX-License-Identifier: BSD-3-Clause */
#include "af_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define VNET_HEADER sizeof(struct virtio_net_hdr)
#define BLOCK_BYTES 65536u /* of the ring: what the kernel allocates in one piece */

/* A slot of the ring has the size of a buffer. In front of a frame lie a header, the address of the
 * sender and a virtio-net header; net/packet/af_packet.c aligns the network header to 16 bytes. */
_Static_assert(TPACKET2_HDRLEN + VNET_HEADER + 2 * TPACKET_ALIGNMENT <= P2PNIC_HEADROOM,
	"a slot holds the longest frame");
_Static_assert(BLOCK_BYTES % P2PNIC_BUFFER_BYTES_MAX == 0, "a block is whole slots");

/* --- receiving -------------------------------------------------------------------------------- */

/* The status word of a slot: who owns it. Release and acquire pair with the kernel's. */
static inline _Atomic uint32_t *af_packet_status(const struct af_packet_port *port, uint32_t slot)
{
	return (_Atomic uint32_t *)(port->ring + (uint64_t)slot * port->buffer_bytes);
}

static void port_release(void *opaque)
{
	struct af_packet_port *port = opaque;

	for (; port->consumed; port->consumed--) {
		uint32_t slot = (port->head + port->slots - port->consumed) % port->slots;
		atomic_store_explicit(
			af_packet_status(port, slot), TP_STATUS_KERNEL, memory_order_release);
	}
}

/* The VLAN tag that the kernel took out of the frame as its four bytes on the wire, or 0. */
static uint32_t vlan_tag(const struct tpacket2_hdr *slot)
{
	if (!(slot->tp_status & TP_STATUS_VLAN_VALID))
		return 0;
	uint16_t tpid =
		slot->tp_status & TP_STATUS_VLAN_TPID_VALID ? slot->tp_vlan_tpid : ETH_P_8021Q;
	return __builtin_bswap32((uint32_t)tpid << 16 | slot->tp_vlan_tci);
}

/* Puts the tag in front of the Ethernet type; in front of the frame there is room for four
 * bytes. */
static uint8_t *insert_tag(uint8_t *data, uint32_t tag)
{
	memmove(data - 4, data, 12);
	memcpy(data + 8, &tag, 4);
	return data - 4;
}

/* Gets the super-frame of a slot into port->super: from the socket's queue, or, a short one, the
 * slot. */
static uint32_t fetch_super(
	struct af_packet_port *port, const struct tpacket2_hdr *slot, struct virtio_net_hdr *header)
{
	struct iovec vector[] = {{header, VNET_HEADER}, {port->super, AF_PACKET_SUPER_BYTES}};
	struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};

	if (!(slot->tp_status & TP_STATUS_COPY)) {
		if (slot->tp_snaplen < slot->tp_len)
			return 0;
		memcpy(port->super, (const uint8_t *)slot + slot->tp_mac, slot->tp_len);
		return slot->tp_len;
	}
	ssize_t bytes = recvmsg(port->receive_socket, &message, MSG_DONTWAIT | MSG_TRUNC);
	if (bytes < (ssize_t)(VNET_HEADER + P2PNIC_FRAME_BYTES_MIN) ||
		message.msg_flags & MSG_TRUNC)
		return 0;
	return (uint32_t)bytes - VNET_HEADER;
}

static void begin_split(
	struct af_packet_port *port, const struct tpacket2_hdr *slot, struct virtio_net_hdr header)
{
	uint32_t bytes = fetch_super(port, slot, &header);

	port->tag = vlan_tag(slot);
	port->splitting =
		bytes && offload_split_begin(&port->split, port->super, bytes, &header,
				 P2PNIC_FRAME_BYTES_MAX(port->buffer_bytes) - (port->tag ? 4 : 0));
	if (!port->splitting)
		port->oversize++;
}

/* Makes of a slot the frame the wire would have carried. False: none, or several (splitting). */
static bool receive_slot(
	struct af_packet_port *port, struct tpacket2_hdr *slot, struct frame *frame)
{
	uint8_t *data = (uint8_t *)slot + slot->tp_mac;
	uint32_t bytes = slot->tp_len;
	uint32_t tag = vlan_tag(slot);
	struct virtio_net_hdr header;

	memcpy(&header, data - VNET_HEADER, VNET_HEADER);
	if (bytes + (tag ? 4 : 0) > P2PNIC_FRAME_BYTES_MAX(port->buffer_bytes) ||
		slot->tp_status & TP_STATUS_COPY || header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		begin_split(port, slot, header);
		return false;
	}
	if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !offload_checksum(data, bytes, &header)) {
		port->missed++;
		return false;
	}
	if (tag) {
		data = insert_tag(data, tag);
		bytes += 4;
	}
	*frame = (struct frame){data, bytes};
	return true;
}

/* The next piece of the super-frame, in a buffer of its own. False: it has no more. */
static bool receive_piece(struct af_packet_port *port, struct frame *frame)
{
	uint8_t *data = port->memory + port->own.buffer[port->pieces] + P2PNIC_HEADROOM;
	uint32_t bytes = offload_split_next(&port->split, data);

	if (bytes == 0) {
		port->splitting = false;
		return false;
	}
	if (port->tag) {
		data = insert_tag(data, port->tag);
		bytes += 4;
	}
	*frame = (struct frame){data, bytes};
	return true;
}

static unsigned port_receive(void *opaque, struct frame *frames, unsigned max)
{
	struct af_packet_port *port = opaque;
	unsigned n = 0;

	if (!port->own.count)
		return 0;
	port->pieces = 0;
	while (n < max) {
		struct frame *frame = &port->burst[n];
		if (port->splitting) {
			if (port->pieces == port->own.count)
				break;
			if (receive_piece(port, frame)) {
				port->piece[n] = (uint8_t)port->pieces++;
				frames[n++] = *frame;
			}
			continue;
		}
		_Atomic uint32_t *status = af_packet_status(port, port->head);
		if (port->consumed == port->slots ||
			atomic_load_explicit(status, memory_order_acquire) == TP_STATUS_KERNEL)
			break;
		if (receive_slot(port, (struct tpacket2_hdr *)status, frame)) {
			port->piece[n] = AF_PACKET_IN_RING;
			frames[n++] = *frame;
		}
		port->head = port->head + 1 == port->slots ? 0 : port->head + 1;
		port->consumed++;
	}
	return n;
}

/* Forgets what waits in ring and queue; how many frames that were. */
static unsigned drain(struct af_packet_port *port)
{
	unsigned n = 0;

	port_release(port);
	while (n < port->slots && atomic_load_explicit(af_packet_status(port, port->head),
					  memory_order_acquire) != TP_STATUS_KERNEL) {
		port->head = port->head + 1 == port->slots ? 0 : port->head + 1;
		port->consumed = 1;
		port_release(port);
		n++;
	}
	while (recv(port->receive_socket, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0)
		;
	n += port->splitting;
	port->splitting = false;
	return n;
}

/* --- sending ---------------------------------------------------------------------------------- */

static int send_frames(struct send_queue *queue, const struct p2pnic_descriptor *frames, unsigned n)
{
	const struct af_packet_port *port = (struct af_packet_port *)queue;
	struct mmsghdr message[P2PNIC_BURST_MAX];
	struct iovec vector[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < n; i++) {
		vector[i] = (struct iovec){
			port_memories_at(&queue->memories, &frames[i]), frames[i].length};
		message[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vector[i], .msg_iovlen = 1}};
	}
	int sent = sendmmsg(port->transmit_socket, message, n, MSG_DONTWAIT);
	return sent < 0 ? -errno : sent;
}

/* --- life ------------------------------------------------------------------------------------- */

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

/* While stopped the socket takes nothing in: a classic BPF program of one instruction, "return
 * 0". */
static int refuse_all(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &nothing};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

/* Binds both sockets to the interface as it is now; again when it was deleted and came back. */
static int attach(struct af_packet_port *port)
{
	int index = port->interface.index;
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
	struct packet_mreq promiscuous = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};

	if (bind(port->receive_socket, (struct sockaddr *)&address, sizeof(address)))
		return -errno;
	address.sll_protocol = 0; /* the sending socket is to receive nothing */
	if (bind(port->transmit_socket, (struct sockaddr *)&address, sizeof(address)))
		return -errno;
	if (setsockopt(port->receive_socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous,
		    sizeof(promiscuous)))
		return -errno;
	interface_no_merging(
		&port->interface); /* as far as allowed: what comes merged is dealt with */
	return 0;
}

static int make_ring(struct af_packet_port *port)
{
	uint32_t blocks = (port->receive_kib * 1024u + BLOCK_BYTES - 1) / BLOCK_BYTES;
	const struct tpacket_req ring = {.tp_block_size = BLOCK_BYTES,
		.tp_block_nr = blocks,
		.tp_frame_size = port->buffer_bytes,
		.tp_frame_nr = blocks * (BLOCK_BYTES / port->buffer_bytes)};
	int fd = port->receive_socket;
	int code = set_option(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);

	if (!code)
		code = set_option(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
	if (!code)
		code = set_option(fd, SOL_PACKET, PACKET_COPY_THRESH, 1);
	if (code)
		return code;
	if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)))
		return -errno;
	void *map =
		mmap(NULL, (size_t)blocks * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	port->ring = map;
	port->slots = ring.tp_frame_nr;
	return 0;
}

static int open_sockets(struct af_packet_port *port, struct error *error)
{
	const char *name = port->interface.name;
	int receive = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	port->receive_socket = receive;
	if (receive < 0)
		return error_set(error, -errno, "%s: no packet socket: %s%s", name, strerror(errno),
			errno == EPERM ? "; run as root, or with CAP_NET_RAW" : "");
	port->transmit_socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (port->transmit_socket < 0)
		return error_set(error, -errno, "%s: no packet socket: %s", name, strerror(errno));

	int code = set_option(receive, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	if (code)
		return error_set(error, code,
			"%s: PACKET_IGNORE_OUTGOING: %s; want Linux 4.20 or later", name,
			strerror(-code));
	code = refuse_all(receive);
	if (!code && !port->qdisc)
		code = set_option(port->transmit_socket, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
	if (code)
		return error_set(
			error, code, "%s: packet socket options: %s", name, strerror(-code));
	code = make_ring(port);
	if (code)
		return error_set(error, code, "%s: no receive ring of %u KiB: %s", name,
			port->receive_kib, strerror(-code));
	int bytes = 8 << 20; /* super-frames only: some sixty, as the kernel counts their memory */
	if (set_option(receive, SOL_SOCKET, SO_RCVBUFFORCE, bytes))
		set_option(receive, SOL_SOCKET, SO_RCVBUF, bytes);

	code = interface_set_up(&port->interface);
	if (code)
		return error_set(error, code,
			"%s: is down and cannot be set up: %s; `ip link set %s up`", name,
			strerror(-code), name);
	code = attach(port);
	if (code)
		return error_set(
			error, code, "%s: cannot bind a packet socket: %s", name, strerror(-code));
	return 0;
}

static int parse(struct af_packet_port *port, const char *options, struct error *error)
{
	struct port_option option;
	int more;

	port->receive_kib = 4096;
	while ((more = port_option_next(&options, &option, error)) > 0) {
		if (!strcmp(option.key, "qdisc"))
			more = port_option_switch(&option, &port->qdisc, error);
		else if (!strcmp(option.key, "receive-buffer"))
			more = port_option_number(&option, 64, 65536, &port->receive_kib, error);
		else
			more = port_option_unknown(
				"af_packet", &option, "qdisc, receive-buffer", error);
		if (more < 0)
			return more;
	}
	return more;
}

static void port_close(void *p)
{
	struct af_packet_port *port = p;

	if (port->ring)
		munmap(port->ring, (size_t)port->slots * port->buffer_bytes);
	port->ring = NULL;
	if (port->receive_socket >= 0)
		close(port->receive_socket);
	if (port->transmit_socket >= 0)
		close(port->transmit_socket);
	port->receive_socket = port->transmit_socket = -1;
	interface_close(&port->interface);
	free(port->super);
	port->super = NULL;
}

static int port_open(void *p, const struct port_config *config, struct error *error)
{
	struct af_packet_port *port = p;

	memset(port, 0, sizeof(*port));
	port->receive_socket = port->transmit_socket = -1;
	port->interface = INTERFACE_NONE;
	port->memory = config->memory;
	port->memory_bytes = config->memory_bytes;
	port_memories_init(&port->queue.memories, config);
	port->queue.send = send_frames;
	port->queue.link = &port->interface.link;
	port->buffer_bytes = port->queue.buffer_bytes = config->buffer_bytes;
	port->super = malloc(AF_PACKET_SUPER_BYTES);
	if (!port->super)
		return error_set(error, -ENOMEM, "%s: out of memory", config->target);

	int code = port_check_memory(config, error);
	if (!code)
		code = parse(port, config->options, error);
	if (!code)
		code = interface_open(&port->interface, config->target, error);
	if (!code)
		code = open_sockets(port, error);
	if (code)
		port_close(port);
	return code;
}

static int port_start(void *p, const uint32_t *buffers, unsigned n)
{
	struct af_packet_port *port = p;

	int taken =
		port_buffers_start(&port->own, port->memory_bytes, port->buffer_bytes, buffers, n);
	if (taken < 0)
		return taken;
	drain(port);
	if (set_option(port->receive_socket, SOL_SOCKET, SO_DETACH_FILTER, 0)) {
		port->own.count = 0;
		return -errno;
	}
	return taken;
}

static unsigned port_stop(void *p, uint32_t *buffers)
{
	struct af_packet_port *port = p;

	refuse_all(port->receive_socket);
	port->missed += drain(port);
	return port_buffers_stop(&port->own, buffers);
}

static int port_fd(void *p)
{
	return ((struct af_packet_port *)p)->receive_socket;
}

static int port_control_fd(void *p)
{
	return ((struct af_packet_port *)p)->interface.events;
}

static void port_service(void *p)
{
	struct af_packet_port *port = p;
	int pending;
	socklen_t bytes = sizeof(pending);

	/* Read, so that it is cleared: ENETDOWN would make the socket readable for ever. */
	getsockopt(port->receive_socket, SOL_SOCKET, SO_ERROR, &pending, &bytes);
	if (interface_refresh(&port->interface) && port->interface.index && attach(port))
		port->interface.index = 0; /* gone again: the next round tries anew */
	if (!port->interface.link)
		send_queue_fail(&port->queue);
}

static void port_info(void *p, struct port_info *info)
{
	struct af_packet_port *port = p;
	struct tpacket_stats statistics;
	socklen_t bytes = sizeof(statistics);

	*info = (struct port_info){0};
	/* The kernel's count starts again at 0 with each call. */
	if (!getsockopt(port->receive_socket, SOL_PACKET, PACKET_STATISTICS, &statistics, &bytes))
		port->missed += statistics.tp_drops;
	interface_info(&port->interface, info);
	info->missed = port->missed;
	info->oversize = port->oversize;
	snprintf(info->mode, sizeof(info->mode), "copy, ring%s", port->qdisc ? ", qdisc" : "");
}

/* --- The path of a frame ---------------------------------------------------------------------- */

static void port_keep(void *opaque, const uint8_t *frame, unsigned n, uint32_t *at)
{
	struct af_packet_port *port = opaque;

	for (unsigned i = 0; i < n; i++) {
		const struct frame *kept = &port->burst[frame[i]];
		unsigned piece = port->piece[frame[i]];

		if (piece == AF_PACKET_IN_RING) {
			at[i] += P2PNIC_HEADROOM;
			memcpy(port->memory + at[i], kept->data, kept->length);
		} else {
			port->own.buffer[piece] = at[i];
			at[i] = (uint32_t)(kept->data - port->memory);
		}
	}
}

static bool port_arm(void *opaque)
{
	struct af_packet_port *port = opaque;
	bool waits = port->own.count &&
		     (port->splitting || atomic_load_explicit(af_packet_status(port, port->head),
						 memory_order_acquire) != TP_STATUS_KERNEL);

	return waits || send_queue_waiting(&port->queue);
}

static void port_disarm(void *opaque)
{
}

const struct port_ops af_packet_port_ops = {
	.type = "af_packet",
	.bytes = sizeof(struct af_packet_port),
	.open = port_open,
	.close = port_close,
	.start = port_start,
	.stop = port_stop,
	.fd = port_fd,
	.info = port_info,
	.service = port_service,
	.control_fd = port_control_fd,
	.receive = port_receive,
	.keep = port_keep,
	.release = port_release,
	.transmit = send_queue_transmit,
	.flush = send_queue_flush,
	.transmitted = send_queue_transmitted,
	.reach = send_queue_reach,
	.reachable = send_queue_reachable,
	.transmit_from = send_queue_transmit_from,
	.leave = send_queue_leave,
	.arm = port_arm,
	.disarm = port_disarm,
};
