/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define DEVICE "/dev/net/tun"

static unsigned port_receive(void *opaque, struct frame *frames, unsigned max)
{
	struct tap_port *port = opaque;
	const uint32_t longest = P2PNIC_FRAME_BYTES_MAX(port->buffer_bytes);
	uint8_t beyond;
	unsigned n = 0;

	if (max > port->own.count)
		max = port->own.count;
	while (n < max) {
		uint8_t *data = port->memory + port->own.buffer[n] + P2PNIC_HEADROOM;
		/* A frame that does not fit is cut without a word: the byte behind shows it. */
		struct iovec vector[] = {{data, longest}, {&beyond, 1}};
		ssize_t length = readv(port->device, vector, 2);
		if (length < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				port->interface.link =
					false; /* EBADFD: the interface was deleted */
			break;
		}
		if (length > (ssize_t)longest) {
			port->oversize++;
			continue;
		}
		frames[n++] = (struct frame){data, (uint32_t)length};
	}
	return n;
}

static int send_frames(struct send_queue *queue, const struct p2pnic_descriptor *frames, unsigned n)
{
	const struct tap_port *port = (struct tap_port *)queue;
	unsigned sent = 0;

	while (sent < n) {
		ssize_t length = write(port->device,
			port_memories_at(&queue->memories, &frames[sent]), frames[sent].length);
		if (length < 0)
			return sent ? (int)sent : -errno;
		sent++;
	}
	return (int)sent;
}

/* --- life ------------------------------------------------------------------------------------- */

/* Creates the interface, or attaches to the tap of that name. */
static int attach(struct tap_port *port, const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	memcpy(ifr.ifr_name, name, strlen(name));
	if (ioctl(port->device, TUNSETIFF, &ifr))
		return -errno;
	if (ioctl(port->device, TUNSETOFFLOAD, 0ul))
		return -errno;
	return 0;
}

static int attach_error(const char *name, int code, struct error *error)
{
	switch (code) {
	case -EPERM:
		return error_set(error, code,
			"%s: may not create or attach to it; run as root, or first `ip tuntap add "
			"%s mode tap user USER`",
			name, name);
	case -EBUSY:
		return error_set(error, code, "%s: another process is attached to it", name);
	case -EINVAL:
		return error_set(error, code,
			"%s: exists already and is no tap with one queue; choose another name",
			name);
	default:
		return error_set(error, code, "%s: TUNSETIFF: %s", name, strerror(-code));
	}
}

static int configure(struct tap_port *port, struct error *error)
{
	const char *name = port->interface.name;
	int code = 0;

	if (port->owner != UINT32_MAX &&
		ioctl(port->device, TUNSETOWNER, (unsigned long)port->owner))
		code = -errno;
	if (port->group != UINT32_MAX &&
		ioctl(port->device, TUNSETGROUP, (unsigned long)port->group))
		code = -errno;
	if (port->persist && ioctl(port->device, TUNSETPERSIST, 1ul))
		code = -errno;
	if (code)
		return error_set(error, code, "%s: cannot set owner, group or persistence: %s",
			name, strerror(-code));
	if (port->mtu && (code = interface_set_mtu(&port->interface, port->mtu)))
		return error_set(
			error, code, "%s: cannot set MTU %u: %s", name, port->mtu, strerror(-code));
	/* Without the right to, somebody else sets it up: until then there is no link, and info
	 * says so. */
	if (!port->leave_down && (code = interface_set_up(&port->interface)) && code != -EPERM)
		return error_set(error, code, "%s: cannot be set up: %s", name, strerror(-code));
	return 0;
}

static int parse(struct tap_port *port, const char *options, struct error *error)
{
	const unsigned mtu_max = P2PNIC_MTU_MAX(port->buffer_bytes);
	struct port_option option;
	bool up = true;
	int more;

	port->owner = port->group = UINT32_MAX;
	while ((more = port_option_next(&options, &option, error)) > 0) {
		if (!strcmp(option.key, "up"))
			more = port_option_switch(&option, &up, error);
		else if (!strcmp(option.key, "persist"))
			more = port_option_switch(&option, &port->persist, error);
		else if (!strcmp(option.key, "mtu"))
			more = port_option_number(
				&option, P2PNIC_MTU_MIN, mtu_max, &port->mtu, error);
		else if (!strcmp(option.key, "owner"))
			more = port_option_number(&option, 0, UINT32_MAX - 1, &port->owner, error);
		else if (!strcmp(option.key, "group"))
			more = port_option_number(&option, 0, UINT32_MAX - 1, &port->group, error);
		else
			more = port_option_unknown(
				"tap", &option, "up, mtu, owner, group, persist", error);
		if (more < 0)
			return more;
	}
	port->leave_down = !up;
	return more;
}

static void port_close(void *p)
{
	struct tap_port *port = p;

	if (port->device >= 0)
		close(port->device);
	port->device = -1;
	interface_close(&port->interface);
}

static int port_open(void *p, const struct port_config *config, struct error *error)
{
	struct tap_port *port = p;
	const char *name = config->target;

	memset(port, 0, sizeof(*port));
	port->device = -1;
	port->interface = INTERFACE_NONE;
	port->memory = config->memory;
	port->memory_bytes = config->memory_bytes;
	port_memories_init(&port->queue.memories, config);
	port->queue.send = send_frames;
	port->queue.link = &port->interface.link;
	port->buffer_bytes = port->queue.buffer_bytes = config->buffer_bytes;
	int code = port_check_memory(config, error);
	if (!code)
		code = parse(port, config->options, error);
	if (code)
		return code;
	if (!*name || strlen(name) >= IFNAMSIZ || strchr(name, '%'))
		return error_set(error, -EINVAL,
			"'%.64s' is no interface name: want 1 to 15 bytes, no %%", name);
	port->device = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port->device < 0)
		return error_set(error, -errno, DEVICE ": %s%s", strerror(errno),
			errno == ENOENT ? "; `modprobe tun`" : "");
	code = attach(port, name);
	if (code)
		attach_error(name, code, error);
	else
		code = interface_open(&port->interface, name, error);
	if (!code)
		code = configure(port, error);
	if (code)
		port_close(port);
	return code;
}

static void drain(struct tap_port *port)
{
	uint8_t byte;

	/* The interface's queue is finite (txqueuelen); its sender is not: no more than one queue's
	 * worth. */
	for (unsigned i = 0; i < 10000; i++)
		if (read(port->device, &byte, 1) < 0)
			break;
}

static int port_start(void *p, const uint32_t *buffers, unsigned n)
{
	struct tap_port *port = p;

	drain(port); /* what was sent while the NIC was stopped */
	return port_buffers_start(&port->own, port->memory_bytes, port->buffer_bytes, buffers, n);
}

static unsigned port_stop(void *p, uint32_t *buffers)
{
	struct tap_port *port = p;

	return port_buffers_stop(&port->own, buffers);
}

static int port_fd(void *p)
{
	return ((struct tap_port *)p)->device;
}

static int port_control_fd(void *p)
{
	return ((struct tap_port *)p)->interface.events;
}

/* After a deletion the device is attached to nothing, and may attach anew. */
static void reattach(struct tap_port *port)
{
	struct error error;

	if (attach(port, port->interface.name) || configure(port, &error))
		port->interface.index = 0; /* the next round tries again */
	else
		interface_refresh(&port->interface);
}

static bool is_attached(const struct tap_port *port)
{
	struct ifreq ifr = {0};

	return !ioctl(port->device, TUNGETIFF, &ifr);
}

static void port_service(void *p)
{
	struct tap_port *port = p;

	interface_refresh(&port->interface);
	if (!is_attached(port) && port->interface.index)
		reattach(port);
	else if (is_attached(port) && !port->interface.index)
		port->interface.link = port->interface.up = true;
	if (!port->interface.link)
		send_queue_fail(&port->queue);
}

static void port_info(void *p, struct port_info *info)
{
	struct tap_port *port = p;
	struct rtnl_link_stats64 statistics;

	*info = (struct port_info){0};
	interface_info(&port->interface, info);
	interface_statistics(&port->interface, &statistics);
	if (!port->interface.index && is_attached(port))
		info->fault.text[0] = 0; /* in another namespace */
	info->mac = (struct mac_addr){0};
	info->missed = statistics.tx_dropped; /* the host's transmit queue is what is read here */
	info->oversize = port->oversize;
	snprintf(info->mode, sizeof(info->mode), "copy");
}

/* --- The path of a frame ---------------------------------------------------------------------- */

static void port_keep(void *opaque, const uint8_t *frame, unsigned n, uint32_t *at)
{
	struct tap_port *port = opaque;

	port_buffers_keep(&port->own, frame, n, at);
}

static void port_release(void *opaque)
{
}

static bool port_arm(void *opaque)
{
	struct tap_port *port = opaque;

	return send_queue_waiting(&port->queue) || (port->own.count && port_readable(port->device));
}

static void port_disarm(void *opaque)
{
}

const struct port_ops tap_port_ops = {
	.type = "tap",
	.bytes = sizeof(struct tap_port),
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
