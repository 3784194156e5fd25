/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

bool rig_namespace(void)
{
	if (unshare(CLONE_NEWNET)) {
		char map[64];
		unsigned user = getuid(), group = getgid();
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
			return false;
		snprintf(map, sizeof(map), "0 %u 1", user);
		if (!write_file("/proc/self/uid_map", map))
			return false;
		write_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", group);
		write_file("/proc/self/gid_map", map);
	}
	/* No router solicitations and the like among the frames counted. */
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	return rig_run("ip link set lo up") == 0;
}

int rig_run(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "{ %s; } >/dev/null 2>&1", command);
	return system(line);
}

bool rig_napi;
uint32_t rig_buffer_bytes = P2PNIC_BUFFER_BYTES_MIN;

int rig_veth(void)
{
	const unsigned mtu = P2PNIC_MTU_MAX(rig_buffer_bytes);
	char command[320];

	snprintf(command, sizeof(command),
		"ip link add pp-port mtu %u type veth peer name pp-wire mtu %u &&"
		" ip link set pp-port addrgenmode none && ip link set pp-wire addrgenmode none &&"
		" ip link set pp-port up && ip link set pp-wire up",
		mtu, mtu);
	int status = rig_run(command);

	return status || !rig_napi ? status : rig_run("ethtool -K pp-wire gro on");
}

void rig_memory(struct rig *rig, const struct port_ops *path)
{
	memset(rig, 0, sizeof(*rig));
	rig->path = path;
	rig->wire = -1;
	rig->port = aligned_alloc(64, (path->bytes + 63) & ~(size_t)63);
	memset(rig->port, 0, path->bytes);
	rig->memory_fd = memfd_create("packet memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ftruncate(rig->memory_fd, RIG_MEMORY_BYTES) ||
		fcntl(rig->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		abort();
	rig->memory =
		mmap(NULL, RIG_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig->memory_fd, 0);
	if (rig->memory == MAP_FAILED)
		abort();
	rig->config = (struct port_config){.target = "pp-port",
		.memory = rig->memory,
		.memory_bytes = RIG_MEMORY_BYTES,
		.memory_fd = rig->memory_fd,
		.buffer_bytes = rig_buffer_bytes};
	for (unsigned i = 0; i < RIG_BUFFERS; i++)
		rig->buffers[i] = i * rig_buffer_bytes;
}

bool rig_permitted(const struct port_ops *path)
{
	struct rig rig;

	if (rig_veth()) {
		printf("skipped: no veth pair allowed here\n");
		return false;
	}
	rig_memory(&rig, path);
	int code = path->open(rig.port, &rig.config, &rig.error);
	if (code == 0)
		path->close(rig.port);
	rig_free(&rig);
	rig_run("ip link del pp-port");
	/* A tap cannot take the veth's name: that refusal is the port's, not the kernel's
	 * policy. */
	if (code == -EPERM || code == -EACCES || code == -EOPNOTSUPP || code == -ENOENT) {
		printf("skipped: %s\n", rig.error.text);
		return false;
	}
	return true;
}

void rig_free(struct rig *rig)
{
	munmap(rig->memory, RIG_MEMORY_BYTES);
	close(rig->memory_fd);
	free(rig->port);
	if (rig->wire >= 0)
		close(rig->wire);
}

int rig_wire_open(const char *interface)
{
	int wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface)};
	int one = 1, bytes = 4 << 20;

	if (wire < 0)
		return -1;
	setsockopt(wire, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	setsockopt(wire, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (bind(wire, (struct sockaddr *)&address, sizeof(address))) {
		close(wire);
		return -1;
	}
	return wire;
}

unsigned rig_wire_receive(int wire, uint8_t *bytes, unsigned room)
{
	struct pollfd wait = {.fd = wire, .events = POLLIN};

	while (poll(&wait, 1, 1000) > 0) {
		ssize_t n = recv(wire, bytes, room, MSG_DONTWAIT | MSG_TRUNC);
		if (n >= 14 && bytes[12] == RIG_ETHERTYPE >> 8 &&
			bytes[13] == (RIG_ETHERTYPE & 0xff))
			return (unsigned)n;
	}
	return 0;
}

bool rig_wire_send(int wire, const uint8_t *bytes, unsigned length)
{
	for (int tries = 0; tries < 1000; tries++) {
		if (send(wire, bytes, length, 0) == (ssize_t)length)
			return true;
		if (errno != ENOBUFS && errno != EAGAIN)
			return false;
		rig_sleep_ms(1);
	}
	return false;
}

void rig_frame(uint8_t *bytes, unsigned length, uint32_t seed)
{
	uint32_t state = seed * 2654435761u + 1;

	for (unsigned i = 0; i < length; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		bytes[i] = (uint8_t)state;
	}
	if (length >= 14) {
		bytes[0] = 0x02; /* unicast, locally administered */
		bytes[6] = 0x02;
		bytes[12] = RIG_ETHERTYPE >> 8;
		bytes[13] = RIG_ETHERTYPE & 0xff;
	}
}

void rig_sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000l}, NULL);
}
