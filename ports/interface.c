/* SPDX-License-Identifier: BSD-3-Clause */
#include "interface.h"

#include "common.h"

#include <errno.h>
#include <linux/ethtool.h>
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

bool interface_refresh(struct interface *interface)
{
	struct ifreq ifr = {0};
	int index = request(interface, SIOCGIFINDEX, &ifr) ? 0 : ifr.ifr_ifindex;
	bool other = index != interface->index;
	bool had_link = interface->link;

	interface->index = index;
	interface->up = interface->link = false;
	if (index == 0 || request(interface, SIOCGIFFLAGS, &ifr))
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

int interface_open(struct interface *interface, const char *name, char *error)
{
	struct ifreq ifr = {0};

	*interface = (struct interface){.socket = -1};
	if (!*name || strlen(name) >= sizeof(interface->name))
		return port_fail(
			error, -EINVAL, "'%.64s' is no interface name: want 1 to 15 bytes", name);
	strcpy(interface->name, name);
	interface->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (interface->socket < 0)
		return port_fail(error, -errno, "%s: no socket to ask for its state: %s", name,
			strerror(errno));
	interface_refresh(interface);
	int code = interface->index ? request(interface, SIOCGIFHWADDR, &ifr) : -ENODEV;
	if (code)
		port_fail(error, code,
			"%s: no such interface in this network namespace; `ip link` lists them",
			name);
	else if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER &&
		 ifr.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK)
		code = port_fail(error, -EPROTOTYPE, "%s: not Ethernet (ARPHRD type %u)", name,
			ifr.ifr_hwaddr.sa_family);
	if (code)
		interface_close(interface);
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
	*interface = (struct interface){.socket = -1};
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

int interface_set_one_channel(struct interface *interface)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	int code = ethtool(interface, &channels);

	if (code)
		return code;
	channels.cmd = ETHTOOL_SCHANNELS;
	if (channels.combined_count)
		channels.combined_count = 1, channels.rx_count = channels.tx_count = 0;
	else
		channels.rx_count = channels.tx_count = 1;
	return ethtool(interface, &channels);
}

void interface_info(const struct interface *interface, struct port_info *info)
{
	info->mac = interface->mac;
	info->link = interface->link;
	info->speed_mbps = interface->speed_mbps;
	info->mtu = interface->mtu;
	if (interface->index == 0)
		snprintf(info->fault, sizeof(info->fault),
			"%s: interface deleted; waiting for its return", interface->name);
	else if (!interface->up)
		snprintf(info->fault, sizeof(info->fault),
			"%s: interface is down; `ip link set %s up`", interface->name,
			interface->name);
	else if (!interface->link)
		snprintf(info->fault, sizeof(info->fault), "%s: no carrier", interface->name);
}
