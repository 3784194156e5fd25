/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/network.h"

#include "lab/routing.h"
#include "ports/port.h"
#include "router/api_client.h"
#include "router/config_defaults.h"
#include "router/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_PATIENCE_MS 20000u
#define PROBE_MEMORY      (16u << 20)

void lab_host(unsigned host, char name[32])
{
	snprintf(name, 32, "p2pnic-lab-h%u", host);
}

void lab_address(unsigned host, bool six, char text[40])
{
	snprintf(text, 40, six ? "fd00:%u::2" : "10.0.%u.2", host);
}

void lab_network_address(unsigned host, bool six, char text[40])
{
	snprintf(text, 40, six ? "fd01:%u::1" : "10.1.%u.1", host);
}

void lab_router_address(unsigned host, bool six, char text[40])
{
	snprintf(text, 40, six ? "fd00:%u::1" : "10.0.%u.1", host);
}

bool lab_has_ipv6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

/* --- Namespaces and links --------------------------------------------------------------------- */

int lab_ip_batch(const char *namespace, const struct script *s, struct error *error)
{
	static const char *const argv[] = {"ip", "-batch", "-", NULL};

	return command_run(namespace, argv, s->text, error);
}

/* A file of this user's beside runtime directories, where nobody else could have put a link. */
static int write_text(const char *path, const char *text, struct error *error)
{
	const char *name;
	int directory = runtime_beside(path, true, &name, error), fd;
	bool whole;

	if (directory < 0)
		return directory;
	fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	close(directory);
	whole = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (!whole)
		error_set(error, -errno, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return whole ? 0 : -EIO;
}

static int make_links(unsigned mtu, struct error *error)
{
	struct script s = {0};

	line(&s, "netns add %s", LAB_ROUTER);
	for (unsigned k = 1; k <= LAB_NICS; k++)
		line(&s, "netns add p2pnic-lab-h%u", k);
	for (unsigned k = 1; k <= LAB_NICS; k++)
		line(&s,
			"link add port%u mtu %u address 02:00:00:00:%02x:01 netns %s type veth "
			"peer name eth0 mtu %u address 02:00:00:00:%02x:02 netns p2pnic-lab-h%u",
			k, mtu, k, LAB_ROUTER, mtu, k, k);
	return lab_ip_batch(NULL, &s, error);
}

/* The kernel forwards what it resolves, between taps. The ports are the NICs' alone: strict
 * reverse path filtering takes all of IPv4 from an interface that no route leads to. */
static int make_router_side(struct error *error)
{
	static const char *const argv[] = {"sh", "-c",
		"set -e; cd /proc/sys/net\n"
		"echo 1 >ipv4/ip_forward\n"
		"for port in ipv4/conf/port*; do\n"
		"	echo 0 >$port/forwarding\n"
		"	echo 1 >$port/rp_filter\n"
		"done\n"
		"[ -d ipv6 ] || exit 0\n"
		"echo 1 >ipv6/conf/all/forwarding\n"
		"for port in ipv6/conf/port*; do echo 1 >$port/disable_ipv6; done\n",
		NULL};
	struct script s = {0};
	int result = command_run(LAB_ROUTER, argv, NULL, error);

	line(&s, "link set lo up");
	for (unsigned k = 1; k <= LAB_NICS; k++)
		line(&s, "link set port%u up", k);
	return result ? result : lab_ip_batch(LAB_ROUTER, &s, error);
}

/* Once the router runs: its taps are there. */
static int make_taps(struct error *error)
{
	struct script s = {0};
	char address[40];

	for (unsigned k = 1; k <= LAB_NICS; k++) {
		for (unsigned family = 0; family <= lab_has_ipv6(); family++) {
			lab_router_address(k, family, address);
			line(&s, "address add %s/%s dev nic%u%s", address, family ? "64" : "24", k,
				family ? " nodad" : "");
		}
		line(&s, "link set nic%u up", k);
	}
	return lab_ip_batch(LAB_ROUTER, &s, error);
}

static int make_host(unsigned k, struct error *error)
{
	static const char *const offloads[] = {"ethtool", "-K", "eth0", "tx", "off", "tso", "off",
		"gso", "off", "txvlan", "off", NULL};
	char name[32], address[40];
	struct script s = {0};
	int result;

	lab_host(k, name);
	result = command_run(name, offloads, NULL, error);
	if (result)
		return result;
	line(&s, "link set lo up");
	line(&s, "link set eth0 up");
	for (unsigned family = 0; family <= lab_has_ipv6(); family++) {
		const char *bits = family ? "64" : "24", *nodad = family ? "nodad" : "";

		lab_address(k, family, address);
		line(&s, "address add %s/%s dev eth0 %s", address, bits, nodad);
		lab_network_address(k, family, address);
		line(&s, "address add %s/%s dev lo %s", address, bits, nodad);
		lab_router_address(k, family, address);
		line(&s, "route add default via %s", address);
	}
	return lab_ip_batch(name, &s, error);
}

/* --- Port type and configuration -------------------------------------------------------------- */

/* Whether an af_xdp port can be opened on port1: in a child, since it enters the router's
 * namespace. */
static bool af_xdp_starts(unsigned mtu, char why_not[256])
{
	struct error error = {""};
	int told[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(told, O_CLOEXEC) < 0) {
		snprintf(why_not, 256, "pipe: %s", strerror(errno));
		return false;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		const struct port_ops *ops = port_find("af_xdp");
		struct port_config config = {.target = "port1",
			.memory_fd = -1,
			.buffer_bytes = config_buffer_bytes(mtu)};
		int code = namespace_enter(LAB_ROUTER);
		void *port = NULL;

		close(told[0]);
		config.memory_bytes = PROBE_MEMORY;
		config.memory = mmap(NULL, PROBE_MEMORY, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (ops)
			port = aligned_alloc(64, (ops->bytes + 63) / 64 * 64);
		if (!port || config.memory == MAP_FAILED) {
			error_set(&error, -ENOMEM, "out of memory");
		} else if (code) {
			error_set(&error, code, "%s: %s", LAB_ROUTER, strerror(-code));
		} else {
			memset(port, 0, ops->bytes);
			if (ops->open(port, &config, &error) == 0) {
				ops->close(port);
				error.text[0] = 0;
			} else if (!error.text[0]) {
				error_set(&error, -EIO, "it does not start");
			}
		}
		_exit(write(told[1], error.text, strlen(error.text)) < 0);
	}
	close(told[1]);
	n = read(told[0], why_not, 255);
	why_not[n > 0 ? n : 0] = 0;
	close(told[0]);
	/* Silence is a yes only of one that ended well. */
	if ((pid < 0 || waitpid(pid, &status, 0) != pid || status) && !why_not[0])
		snprintf(why_not, 256, "the process that tries it did not end well");
	return why_not[0] == 0;
}

/* Addresses and neighbours of a router that no kernel tells of them. */
static void without_kernel(struct script *s)
{
	char address[40];

	line(s, "neighbors:");
	for (unsigned k = 1; k <= LAB_NICS; k++)
		for (unsigned six = 0; six < 2; six++) {
			lab_address(k, six, address);
			line(s, "  - {nic: nic%u, address: \"%s\", mac: \"02:00:00:00:%02x:02\"}",
				k, address, k);
		}
}

int lab_write_config(const struct lab *lab, struct error *error)
{
	struct script s = {0};

	line(&s, "# The router of `p2pnic lab`.");
	/* TCP over links without a rate sends in long bursts, and a veth gives frames back only
	 * when the receiver has read them: with rings of 256 TCP sent 6 to 8 times as much again
	 * (two cores). Buffers for jumbo frames hold as much in fewer, and would take 128 MiB of
	 * each NIC. */
	line(&s, "router:\n  name: " LAB_NAME);
	if (config_buffer_bytes(lab->mtu) < P2PNIC_BUFFER_BYTES_MAX)
		line(&s, "  ring_slots: 1024\n  rx_buffers: 4096");
	line(&s, "nics:");
	for (unsigned k = 1; k <= LAB_NICS; k++) {
		line(&s,
			"  - name: nic%u\n    mac: \"02:00:00:00:%02x:01\"\n    mtu: %u\n"
			"    port: {type: %s, target: port%u}",
			k, k, lab->mtu, lab->port_type, k);
		if (lab->captures)
			line(&s, "    addresses: [10.0.%u.1/24, \"fd00:%u::1/64\"]", k, k);
	}
	if (lab->captures)
		without_kernel(&s);
	else
		line(&s, "kernel: {}");
	return write_text(lab->config, s.text, error);
}

/* --- The router ------------------------------------------------------------------------------- */

static int start_router(struct lab *lab, struct error *error)
{
	const char *const argv[] = {"p2pnic", "router", "-c", lab->config, NULL};
	int result = child_start(&lab->router, LAB_ROUTER, argv, NULL, true);

	for (unsigned waited = 0; !result && waited < START_PATIENCE_MS; waited += 20) {
		struct error reason;
		json_t *answer = api_show(lab->runtime, true, "router", NULL, &reason);

		json_decref(answer);
		if (answer)
			return 0;
		if (child_ended(&lab->router, 20)) {
			result = -ECHILD;
			break;
		}
	}
	char *text = lab->router.pid ? child_output(&lab->router) : NULL;

	error_set(error, result, "the router does not start: %s",
		text && *text ? text
		: result      ? strerror(-result)
			      : "no answer");
	free(text);
	return result ? result : -ETIMEDOUT;
}

int lab_up(struct lab *lab, unsigned mtu, struct error *error)
{
	int result;

	*lab = (struct lab){.mtu = mtu, .router = {.pidfd = -1, .output = -1}};
	runtime_of_name(LAB_NAME, lab->runtime, sizeof(lab->runtime));
	snprintf(lab->config, sizeof(lab->config), "%s.yaml", lab->runtime);
	result = make_links(mtu, error);
	if (!result)
		result = make_router_side(error);
	for (unsigned k = 1; k <= LAB_NICS && !result; k++)
		result = make_host(k, error);
	if (!result) {
		lab->port_type = af_xdp_starts(mtu, lab->why_not) ? "af_xdp" : "af_packet";
		result = lab_write_config(lab, error);
	}
	if (!result)
		result = start_router(lab, error);
	if (!result)
		result = make_taps(error);
	if (!result)
		result = routing_start(lab, error);
	if (result)
		lab_down();
	return result;
}

/* The number under the heading in the two lines of a protocol in /proc/net/snmp. */
static long long snmp_value(const char *headings, const char *values, const char *heading)
{
	for (;;) {
		size_t h = strcspn(headings, " \n"), v = strcspn(values, " \n");

		if (h == strlen(heading) && !strncmp(headings, heading, h))
			return atoll(values);
		if (headings[h] != ' ' || values[v] != ' ')
			return 0;
		headings += h + 1;
		values += v + 1;
	}
}

long long lab_forwarded_by_kernel(const struct lab *lab)
{
	char path[64], names[1024], values[1024];
	long long n = -1;
	FILE *file;

	/* RFC 4293's ipIfStatsOutForwDatagrams. */
	snprintf(path, sizeof(path), "/proc/%d/net/snmp", lab->router.pid);
	file = fopen(path, "re");
	if (file && fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file))
		n = snmp_value(names, values, "ForwDatagrams");
	if (file)
		fclose(file);
	snprintf(path, sizeof(path), "/proc/%d/net/snmp6", lab->router.pid);
	file = n < 0 ? NULL : fopen(path, "re");
	while (file && fgets(values, sizeof(values), file))
		if (!strncmp(values, "Ip6OutForwDatagrams ", 20))
			n += atoll(values + 20);
	if (file)
		fclose(file);
	return n;
}

/* Asks the router to stop in order, if there is one to be asked. */
static void stop_router(const char *runtime)
{
	struct error reason;
	json_t *answer = api_show(runtime, true, "router", NULL, &reason);
	pid_t pid = (pid_t)json_integer_value(
		json_object_get(json_object_get(answer, "router"), "pid"));

	json_decref(answer);
	if (pid <= 0 || kill(pid, SIGTERM) < 0)
		return;
	for (unsigned waited = 0; waited < 5000 && kill(pid, 0) == 0; waited += 20) {
		waitpid(pid, NULL, WNOHANG); /* where it is a child of ours */
		usleep(20000);
	}
}

bool lab_down(void)
{
	static const char *const sockets[] = {"lock", "api.sock", "keeper.sock", "nic1.sock",
		"nic2.sock", "nic3.sock", "nic4.sock"};
	char runtime[256], path[300], name[32];
	struct error error;
	bool found = namespace_exists(LAB_ROUTER), ours;
	const char *name_there;
	int above;

	runtime_of_name(LAB_NAME, runtime, sizeof(runtime));
	above = runtime_beside(runtime, false, &name_there, &error);
	ours = above >= 0;
	if (ours)
		close(above);
	stop_router(runtime);
	for (unsigned k = 0; k <= LAB_NICS; k++) {
		if (k)
			lab_host(k, name);
		else
			snprintf(name, sizeof(name), LAB_ROUTER);
		if (!namespace_exists(name))
			continue;
		found = true;
		/* A router that was killed leaves its NICs forwarding, as it should. */
		for (unsigned tries = 0; tries < 50 && namespace_kill(name); tries++)
			usleep(20000);
		const char *const argv[] = {"ip", "netns", "delete", name, NULL};

		command_run(NULL, argv, NULL, &error);
	}
	if (!ours) /* others could have linked it to anywhere */
		return found;
	for (unsigned k = 0; k < sizeof(sockets) / sizeof(*sockets); k++) {
		snprintf(path, sizeof(path), "%s/%s", runtime, sockets[k]);
		unlink(path);
	}
	rmdir(runtime);
	routing_remove();
	snprintf(path, sizeof(path), "%s.yaml", runtime);
	unlink(path);
	*strrchr(path, '/') = 0;
	rmdir(path); /* unless another router of this user has something there */
	return found;
}
