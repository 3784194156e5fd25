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
#include <sys/socket.h>
#include <unistd.h>

#define VNET_HEADER sizeof(struct virtio_net_hdr)

_Static_assert(CMSG_SPACE(sizeof(struct tpacket_auxdata)) <= AF_PACKET_CONTROL,
	"the control buffer holds the auxiliary data of a frame");

/* --- receiving --------------------------------------------------------------------------------- */

/* The VLAN tag that the kernel took out of message i as its four bytes on the wire, or 0. */
static uint32_t vlan_tag(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		struct tpacket_auxdata aux;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			return 0;
		uint16_t tpid =
			aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
		return __builtin_bswap32((uint32_t)tpid << 16 | aux.tp_vlan_tci);
	}
	return 0;
}

/* Puts the tag in front of the Ethernet type; the headroom takes the four bytes. */
static uint8_t *insert_tag(uint8_t *data, uint32_t tag)
{
	memmove(data - 4, data, 12);
	memcpy(data + 8, &tag, 4);
	return data - 4;
}

static void begin_split(struct af_packet_port *port, unsigned i, uint32_t bytes, uint32_t tag,
	const struct virtio_net_hdr *header)
{
	uint8_t *super = port->super[i];

	/* The rest was received behind where this part goes. */
	memcpy(super, port->memory + port->buffer[i] + PORT_HEADROOM, P2PNIC_FRAME_BYTES_MAX);
	port->tag = tag;
	port->splitting = bytes <= AF_PACKET_SUPER_BYTES && port->messages < port->buffers &&
			  offload_split_begin(&port->split, super, bytes, header,
				  P2PNIC_FRAME_BYTES_MAX - (tag ? 4 : 0));
	if (!port->splitting)
		port->oversize++;
}

/* Makes of message i the frame the wire would have carried. NULL: none, or several (splitting). */
static uint8_t *take(struct af_packet_port *port, unsigned i, uint32_t *length)
{
	uint8_t *data = port->memory + port->buffer[i] + PORT_HEADROOM;
	struct msghdr *message = &port->message[i].msg_hdr;
	uint32_t bytes = port->message[i].msg_len;
	uint32_t tag = vlan_tag(message);
	struct virtio_net_hdr header;

	/* msg_len is the frame's own length even where it did not fit (MSG_TRUNC). */
	if (bytes < VNET_HEADER + P2PNIC_FRAME_BYTES_MIN) {
		port->missed++;
		return NULL;
	}
	bytes -= VNET_HEADER;
	memcpy(&header, data - VNET_HEADER, VNET_HEADER);
	if (bytes + (tag ? 4 : 0) > P2PNIC_FRAME_BYTES_MAX) {
		begin_split(port, i, bytes, tag, &header);
		return NULL;
	}
	if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		/* A super-frame of few bytes: two small pieces, say. */
		begin_split(port, i, bytes, tag, &header);
		return NULL;
	}
	if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !offload_checksum(data, bytes, &header)) {
		port->missed++;
		return NULL;
	}
	if (tag) {
		data = insert_tag(data, tag);
		bytes += 4;
	}
	*length = bytes;
	return data;
}

/* The next piece of the super-frame, in a buffer of its own. NULL: it has no more, or buffers ran out. */
static uint8_t *take_piece(struct af_packet_port *port, uint32_t *length)
{
	if (port->messages + port->pieces == port->buffers)
		return NULL;
	uint8_t *data = port->memory + port->buffer[port->messages + port->pieces] + PORT_HEADROOM;
	*length = offload_split_next(&port->split, data);
	if (*length == 0) {
		port->splitting = false;
		return NULL;
	}
	if (port->tag) {
		data = insert_tag(data, port->tag);
		*length += 4;
	}
	port->pieces++;
	return data;
}

static unsigned read_messages(struct af_packet_port *port, unsigned max)
{
	if (max > port->messages)
		max = port->messages;
	for (unsigned i = 0; i < max; i++) {
		port->vector[i][0].iov_base =
			port->memory + port->buffer[i] + PORT_HEADROOM - VNET_HEADER;
		port->message[i].msg_hdr.msg_controllen = AF_PACKET_CONTROL;
		port->message[i].msg_hdr.msg_flags = 0;
	}
	int n = recvmmsg(port->receive_socket, port->message, max, MSG_DONTWAIT | MSG_TRUNC, NULL);
	if (n >= 0)
		return (unsigned)n;
	if (errno == EINVAL)
		port->missed++; /* a kind of super-frame that virtio-net headers cannot tell; consumed */
	else if (errno == ENETDOWN)
		port->interface.link =
			false; /* reported once; service follows what becomes of it */
	return 0;
}

unsigned af_packet_read(struct af_packet_port *port, struct frame *frames, unsigned max)
{
	unsigned n = 0;

	port->pieces = 0;
	if (port->next == port->received && !port->splitting) {
		port->next = 0;
		port->received = read_messages(port, max);
	}
	while (n < max && (port->splitting || port->next < port->received)) {
		unsigned slot = port->splitting ? port->messages + port->pieces : port->next++;
		uint8_t *data = port->splitting ? take_piece(port, &frames[n].length)
						: take(port, slot, &frames[n].length);
		if (data) {
			frames[n].data = port->data[n] = data;
			port->slot[n++] = (uint8_t)slot;
		} else if (port->splitting && slot == port->buffers) {
			break;
		}
	}
	return n;
}

/* --- sending ----------------------------------------------------------------------------------- */

static int send_frames(void *p, const struct p2pnic_descriptor *frames, unsigned n)
{
	struct af_packet_port *port = p;
	struct mmsghdr message[P2PNIC_BURST_MAX];
	struct iovec vector[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < n; i++) {
		vector[i] = (struct iovec){port->memory + frames[i].offset, frames[i].length};
		message[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vector[i], .msg_iovlen = 1}};
	}
	int sent = sendmmsg(port->transmit_socket, message, n, MSG_DONTWAIT);
	return sent < 0 ? -errno : sent;
}

void af_packet_send(struct af_packet_port *port)
{
	send_queue_run(&port->queue, &port->interface.link, send_frames, port);
}

/* --- life -------------------------------------------------------------------------------------- */

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

/* While stopped the socket takes nothing in: a classic BPF program of one instruction, "return 0". */
static int refuse_all(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &nothing};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

static void drain(int fd)
{
	while (recv(fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0 || errno == ENETDOWN ||
		errno == EINVAL)
		;
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

static int open_sockets(struct af_packet_port *port, char *error)
{
	const char *name = port->interface.name;
	int receive = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	port->receive_socket = receive;
	if (receive < 0)
		return port_fail(error, -errno, "%s: no packet socket: %s%s", name, strerror(errno),
			errno == EPERM ? "; run as root, or with CAP_NET_RAW" : "");
	port->transmit_socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (port->transmit_socket < 0)
		return port_fail(error, -errno, "%s: no packet socket: %s", name, strerror(errno));

	int code = set_option(receive, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	if (code)
		return port_fail(error, code,
			"%s: PACKET_IGNORE_OUTGOING: %s; want Linux 4.20 or later", name,
			strerror(-code));
	code = set_option(receive, SOL_PACKET, PACKET_AUXDATA, 1);
	if (!code)
		code = set_option(receive, SOL_PACKET, PACKET_VNET_HDR, 1);
	if (!code)
		code = refuse_all(receive);
	if (!code && !port->qdisc)
		code = set_option(port->transmit_socket, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
	if (code)
		return port_fail(
			error, code, "%s: packet socket options: %s", name, strerror(-code));
	int bytes = (int)port->receive_kib * 1024;
	if (set_option(receive, SOL_SOCKET, SO_RCVBUFFORCE, bytes))
		set_option(receive, SOL_SOCKET, SO_RCVBUF, bytes);

	code = interface_set_up(&port->interface);
	if (code)
		return port_fail(error, code,
			"%s: is down and cannot be set up: %s; `ip link set %s up`", name,
			strerror(-code), name);
	code = attach(port);
	if (code)
		return port_fail(
			error, code, "%s: cannot bind a packet socket: %s", name, strerror(-code));
	return 0;
}

static int parse(struct af_packet_port *port, const char *options, char *error)
{
	struct port_option option;
	int more;

	port->receive_kib = 4096;
	while ((more = port_option_next(&options, &option, error)) > 0) {
		if (!strcmp(option.key, "qdisc"))
			more = port_option_switch(&option, &port->qdisc, error);
		else if (!strcmp(option.key, "receive-buffer"))
			more = port_option_number(&option, 64, 1u << 20, &port->receive_kib, error);
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

	if (port->receive_socket >= 0)
		close(port->receive_socket);
	if (port->transmit_socket >= 0)
		close(port->transmit_socket);
	port->receive_socket = port->transmit_socket = -1;
	interface_close(&port->interface);
	free(port->super);
	port->super = NULL;
}

static int port_open(void *p, const struct port_config *config, char *error)
{
	struct af_packet_port *port = p;

	memset(port, 0, sizeof(*port));
	port->receive_socket = port->transmit_socket = port->interface.socket = -1;
	port->memory = config->memory;
	port->memory_bytes = port->queue.memory_bytes = config->memory_bytes;
	/* Pages of it are touched only where super-frames come. */
	port->super = malloc(P2PNIC_BURST_MAX * sizeof(*port->super));
	if (!port->super)
		return port_fail(error, -ENOMEM, "%s: out of memory", config->target);
	for (unsigned i = 0; i < P2PNIC_BURST_MAX; i++) {
		port->vector[i][0].iov_len = P2PNIC_FRAME_BYTES_MAX + VNET_HEADER;
		port->vector[i][1] = (struct iovec){port->super[i] + P2PNIC_FRAME_BYTES_MAX,
			AF_PACKET_SUPER_BYTES - P2PNIC_FRAME_BYTES_MAX};
		port->message[i].msg_hdr = (struct msghdr){.msg_iov = port->vector[i],
			.msg_iovlen = 2,
			.msg_control = port->control[i]};
	}

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

	if (n > AF_PACKET_BUFFERS)
		n = AF_PACKET_BUFFERS;
	int code = port_check_buffers(port->memory_bytes, buffers, n);
	if (code)
		return code;
	memcpy(port->buffer, buffers, n * sizeof(*buffers));
	port->received = port->next = 0;
	port->messages = n > 1 ? (n < AF_PACKET_BUFFERS ? n - n / 2 : P2PNIC_BURST_MAX) : 1;
	drain(port->receive_socket);
	if (set_option(port->receive_socket, SOL_SOCKET, SO_DETACH_FILTER, 0))
		return -errno;
	port->buffers = n;
	return (int)n;
}

static unsigned port_stop(void *p, uint32_t *buffers)
{
	struct af_packet_port *port = p;
	unsigned n = port->buffers;

	refuse_all(port->receive_socket);
	memcpy(buffers, port->buffer, n * sizeof(*buffers));
	port->missed += port->received - port->next + port->splitting;
	port->received = port->next = port->buffers = 0;
	port->splitting = false;
	drain(port->receive_socket);
	return n;
}

static int port_fd(void *p)
{
	return ((struct af_packet_port *)p)->receive_socket;
}

static void port_service(void *p)
{
	struct af_packet_port *port = p;

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
	snprintf(info->mode, sizeof(info->mode), "copy%s", port->qdisc ? ", qdisc" : "");
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
};
