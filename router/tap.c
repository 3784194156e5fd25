/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE "/dev/net/tun"

static void name_request(struct ifreq *request, const char *name)
{
	*request = (struct ifreq){0};
	snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", name);
}

struct new_tap {
	const char *name;
	unsigned mtu;
	const char *step; /* the one that failed */
};

/* In the current namespace: an open of the device and a socket belong to it. */
static int open_tap(void *context)
{
	struct new_tap *new = context;
	const int tap = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request;
	int off = 0, result = 0;

	new->step = tap < 0 ? DEVICE : "socket";
	if (tap < 0 || control < 0)
		result = -errno;
	name_request(&request, new->name);
	/* Without EXCL a tap that persists, somebody's, would be taken over. */
	request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
	if (!result) {
		new->step = "TUNSETIFF";
		result = ioctl(tap, TUNSETIFF, &request) ? -errno : 0;
	}
	name_request(&request, new->name);
	request.ifr_mtu = (int)new->mtu;
	if (!result) {
		new->step = "set-up";
		result = ioctl(tap, TUNSETOFFLOAD, 0) || ioctl(tap, TUNSETCARRIER, &off) ||
					 ioctl(control, SIOCSIFMTU, &request)
				 ? -errno
				 : 0;
	}
	if (control >= 0)
		close(control);
	if (result && tap >= 0)
		close(tap);
	return result ? result : tap;
}

int tap_make(const struct netns *n, const char *name, unsigned mtu, struct error *error)
{
	struct new_tap new = {.name = name, .mtu = mtu, .step = "entering its namespace"};
	const int result = netns_do(n, open_tap, &new);

	if (result == -EBUSY || result == -EINVAL)
		return error_set(error, -EEXIST,
			"tap %s: there is an interface of that name; rename it (ip link set %s "
			"name "
			"…), or the NIC",
			name, name);
	if (result == -EPERM || result == -EACCES)
		return error_set(error, -EPERM,
			"tap %s: %s: not permitted; a router with `kernel` needs CAP_NET_ADMIN, "
			"and "
			"CAP_SYS_ADMIN where its taps are in another namespace",
			name, new.step);
	if (result == -ENOENT || result == -ENODEV || result == -ENXIO)
		return error_set(error, result, "tap %s: %s: %s; modprobe tun", name, new.step,
			strerror(-result));
	return result < 0 ? error_set(error, result, "tap %s: %s: %s", name, new.step,
				    strerror(-result))
			  : result;
}

bool tap_is_there(int tap)
{
	struct ifreq request;

	return ioctl(tap, TUNGETIFF, &request) == 0;
}

bool tap_is_in(int tap, const struct netns *n)
{
	struct stat wanted, is;
	const int fd = ioctl(tap, TUNGETDEVNETNS);
	const int same = n->fd >= 0 ? fstat(n->fd, &wanted) : stat("/proc/self/ns/net", &wanted);
	bool found = fd >= 0 && !same && !fstat(fd, &is) && is.st_ino == wanted.st_ino &&
		     is.st_dev == wanted.st_dev;

	if (fd >= 0)
		close(fd);
	return found;
}

/* A request by the tap's name, whatever that is now. */
static int by_name(int tap, const struct netns *n, unsigned long what, struct ifreq *request)
{
	struct ifreq named = {0};
	int control, result;

	if (ioctl(tap, TUNGETIFF, &named))
		return -errno;
	control = netns_socket(n, AF_INET, SOCK_DGRAM, 0);
	if (control < 0)
		return control;
	memcpy(request->ifr_name, named.ifr_name, sizeof(named.ifr_name));
	result = ioctl(control, what, request) ? -errno : 0;
	close(control);
	return result;
}

uint32_t tap_index(int tap, const struct netns *n)
{
	struct ifreq request = {0};

	return by_name(tap, n, SIOCGIFINDEX, &request) ? 0 : (uint32_t)request.ifr_ifindex;
}

int tap_set_mtu(int tap, const struct netns *n, unsigned mtu)
{
	struct ifreq request = {.ifr_mtu = (int)mtu};

	return by_name(tap, n, SIOCSIFMTU, &request);
}

int tap_mac(int tap, struct mac_addr *mac)
{
	struct ifreq request = {0};

	if (ioctl(tap, SIOCGIFHWADDR, &request))
		return -errno;
	memcpy(mac, request.ifr_hwaddr.sa_data, sizeof(*mac));
	return 0;
}

int tap_set_mac(int tap, struct mac_addr mac)
{
	struct ifreq request = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};

	memcpy(request.ifr_hwaddr.sa_data, &mac, sizeof(mac));
	return ioctl(tap, SIOCSIFHWADDR, &request) ? -errno : 0;
}
