/* SPDX-License-Identifier: BSD-3-Clause */
#include "interface.h"

#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int request(const struct interface *interface, unsigned long code, struct ifreq *ifr)
{
	memcpy(ifr->ifr_name, interface->name, sizeof(ifr->ifr_name));
	return ioctl(interface->socket, code, ifr) ? -errno : 0;
}

static int ethtool(const struct interface *interface, void *command)
{
	struct ifreq ifr = {.ifr_data = command};

	return request(interface, SIOCETHTOOL, &ifr);
}

static uint32_t read_speed(const struct interface *interface)
{
	/* The older of two commands: one call, and the kernel answers it for every driver. */
	struct ethtool_cmd settings = {.cmd = ETHTOOL_GSET};

	if (ethtool(interface, &settings))
		return 0;
	uint32_t speed = ethtool_cmd_speed(&settings);
	return speed == (uint32_t)SPEED_UNKNOWN || speed == UINT16_MAX ? 0 : speed;
}

/* Room for some ten messages: the first says it all. */
#define EVENTS_BYTES 32768
#define EVENTS_MAX   64u /* read at one refresh: more than find room */

static int open_events(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	const int bytes = EVENTS_BYTES;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) ||
			       bind(fd, (struct sockaddr *)&address, sizeof(address)))) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Every message of the group is an nlmsghdr and an ifinfomsg. */
static void listen_to(const struct interface *interface, int index)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_index)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl((uint32_t)index), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

	/* Without a filter (out of memory) there are more messages, not fewer. */
	setsockopt(interface->events, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static void forget_events(const struct interface *interface)
{
	uint8_t byte;

	for (unsigned k = 0; k < EVENTS_MAX; k++)
		if (recv(interface->events, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) < 0 &&
			errno != ENOBUFS)
			break;
}

bool interface_refresh(struct interface *interface)
{
	struct ifreq ifr = {0};

	/* Before the state is asked for: what changes afterwards makes `events` readable again. */
	forget_events(interface);
	int code = request(interface, SIOCGIFINDEX, &ifr);
	int index = code ? 0 : ifr.ifr_ifindex;
	bool other = index != interface->index;
	bool had_link = interface->link;

	/* A question that failed says nothing about the interface: it is as it was. */
	if (code && code != -ENODEV)
		return false;
	if (index && other)
		listen_to(interface, index);
	if (index)
		code = request(interface, SIOCGIFFLAGS, &ifr);
	interface->index = index;
	if (code && code != -ENODEV)
		return other;
	interface->up = interface->link = false;
	if (code)
		return other;
	interface->up = ifr.ifr_flags & IFF_UP;
	interface->link = interface->up && ifr.ifr_flags & IFF_RUNNING;
	if (!request(interface, SIOCGIFMTU, &ifr))
		interface->mtu = (uint32_t)ifr.ifr_mtu;
	if (!request(interface, SIOCGIFHWADDR, &ifr))
		memcpy(interface->mac.octet, ifr.ifr_hwaddr.sa_data, 6);
	if (other || had_link != interface->link)
		interface->speed_mbps = interface->link ? read_speed(interface) : 0;
	return other;
}

int interface_open(struct interface *interface, const char *name, struct error *error)
{
	struct ifreq ifr = {0};

	*interface = INTERFACE_NONE;
	if (!*name || strlen(name) >= sizeof(interface->name))
		return error_set(
			error, -EINVAL, "'%.64s' is no interface name: want 1 to 15 bytes", name);
	memcpy(interface->name, name, strlen(name) + 1);
	interface->socket =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (interface->socket >= 0)
		interface->events = open_events();
	if (interface->events < 0) {
		int error_code = error_set(error, -errno, "%s: no socket to ask for its state: %s",
			name, strerror(errno));

		interface_close(interface);
		return error_code;
	}
	int code = request(interface, SIOCGIFHWADDR, &ifr);
	if (code == -ENODEV)
		error_set(error, code,
			"%s: no such interface in this network namespace; `ip link` lists them",
			name);
	else if (code)
		error_set(error, code, "%s: cannot ask for its address: %s", name, strerror(-code));
	else if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER &&
		 ifr.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK)
		code = error_set(error, -EPROTOTYPE, "%s: not Ethernet (ARPHRD type %u)", name,
			ifr.ifr_hwaddr.sa_family);
	if (code)
		interface_close(interface);
	else
		interface_refresh(interface);
	return code;
}

void interface_close(struct interface *interface)
{
	struct ethtool_value value = {.cmd = ETHTOOL_SGRO, .data = 1};

	if (interface->restore_gro)
		ethtool(interface, &value);
	if (interface->restore_lro) {
		value.cmd = ETHTOOL_GFLAGS;
		if (!ethtool(interface, &value)) {
			value.cmd = ETHTOOL_SFLAGS;
			value.data |= ETH_FLAG_LRO;
			ethtool(interface, &value);
		}
	}
	if (interface->socket >= 0)
		close(interface->socket);
	if (interface->events >= 0)
		close(interface->events);
	*interface = INTERFACE_NONE;
}

int interface_set_up(struct interface *interface)
{
	struct ifreq ifr = {0};
	int code = request(interface, SIOCGIFFLAGS, &ifr);

	if (!code && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		code = request(interface, SIOCSIFFLAGS, &ifr);
	}
	interface_refresh(interface);
	return code;
}

int interface_set_mtu(struct interface *interface, unsigned mtu)
{
	struct ifreq ifr = {.ifr_mtu = (int)mtu};
	int code = request(interface, SIOCSIFMTU, &ifr);

	interface_refresh(interface);
	return code;
}

bool interface_statistics(const struct interface *interface, struct rtnl_link_stats64 *statistics)
{
	struct {
		struct nlmsghdr header;
		struct if_stats_msg body;
	} ask = {
		.header = {.nlmsg_len = sizeof(ask),
			.nlmsg_type = RTM_GETSTATS,
			.nlmsg_flags = NLM_F_REQUEST},
		.body = {.ifindex = (uint32_t)interface->index,
			.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64)},
	};
	uint8_t reply[1024] __attribute__((aligned(8)));
	const size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct if_stats_msg));
	struct nlmsghdr header;
	struct nlattr attribute;

	*statistics = (struct rtnl_link_stats64){0};
	if (interface->index == 0 || send(interface->socket, &ask, sizeof(ask), 0) < 0)
		return false;
	/* The kernel answers within send. */
	ssize_t bytes = recv(interface->socket, reply, sizeof(reply), MSG_DONTWAIT);
	if (bytes < (ssize_t)(head + NLA_HDRLEN))
		return false;
	memcpy(&header, reply, sizeof(header));
	memcpy(&attribute, reply + head, sizeof(attribute));
	if (header.nlmsg_type != RTM_NEWSTATS || attribute.nla_type != IFLA_STATS_LINK_64 ||
		attribute.nla_len < NLA_HDRLEN)
		return false;
	/* An older kernel's structure is shorter than ours, a newer one's longer. */
	size_t have = attribute.nla_len - NLA_HDRLEN;
	size_t room = (size_t)bytes - head - NLA_HDRLEN;
	have = have < room ? have : room;
	memcpy(statistics, reply + head + NLA_HDRLEN,
		have < sizeof(*statistics) ? have : sizeof(*statistics));
	return true;
}

bool interface_is_virtual(const struct interface *interface)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	static const char *const drivers[] = {"veth", "tun", "bridge", "macvlan", "ipvlan", "dummy",
		"virtio_net", "vmxnet3", "netkit"};

	if (ethtool(interface, &info))
		return true;
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (!strncmp(info.driver, drivers[i], sizeof(info.driver)))
			return true;
	return false;
}

bool interface_has_driver(const struct interface *interface, const char *driver)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	return !ethtool(interface, &info) && !strncmp(info.driver, driver, sizeof(info.driver));
}

int interface_no_merging(struct interface *interface)
{
	struct ethtool_value value = {.cmd = ETHTOOL_GGRO};
	int code = ethtool(interface, &value);

	if (!code && value.data) {
		value = (struct ethtool_value){.cmd = ETHTOOL_SGRO};
		code = ethtool(interface, &value);
		interface->restore_gro = !code;
	}
	value = (struct ethtool_value){.cmd = ETHTOOL_GFLAGS};
	if (!ethtool(interface, &value) && value.data & ETH_FLAG_LRO) {
		value.cmd = ETHTOOL_SFLAGS;
		value.data &= ~(uint32_t)ETH_FLAG_LRO;
		int lro = ethtool(interface, &value);
		interface->restore_lro = !lro;
		code = code ? code : lro;
	}
	return code;
}

void interface_channels(struct interface *interface, unsigned *used, unsigned *possible)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};

	*used = *possible = 1;
	if (ethtool(interface, &channels))
		return;
	unsigned now = channels.combined_count + channels.rx_count;
	unsigned most = channels.max_combined + channels.max_rx;
	*used = now ? now : 1;
	*possible = most ? most : 1;
}

int interface_set_channels(struct interface *interface, unsigned n)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	int code = ethtool(interface, &channels);

	if (code)
		return code;
	channels.cmd = ETHTOOL_SCHANNELS;
	if (channels.max_combined) {
		channels.combined_count = n;
		channels.rx_count = channels.tx_count = 0;
	} else {
		channels.rx_count = channels.tx_count = n;
	}
	return ethtool(interface, &channels);
}

void interface_info(const struct interface *interface, struct port_info *info)
{
	info->mac = interface->mac;
	info->link = interface->link;
	info->speed_mbps = interface->speed_mbps;
	info->mtu = interface->mtu;
	if (interface->index == 0)
		error_set(&info->fault, 0, "%s: interface deleted; waiting for its return",
			interface->name);
	else if (!interface->up)
		error_set(&info->fault, 0, "%s: interface is down; `ip link set %s up`",
			interface->name, interface->name);
	else if (!interface->link)
		error_set(&info->fault, 0, "%s: no carrier", interface->name);
}
