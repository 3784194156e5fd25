/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/doctor_host.h"
#include "router/config.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <p2pnic/limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#define FIX_BYTES  256u
#define HUGE_KIB   2048ull
#define SYSFS_CPU  "/sys/devices/system/cpu"
#define BUSY_NAMES 96u

struct look {
	const struct doctor *doctor;
	json_t *found;
};

static bool is_type(const struct config_nic *nic, const char *type)
{
	return !strcmp(config_nic_type(nic), type);
}

static bool any_of_type(const struct config *c, const char *type)
{
	for (unsigned k = 0; k < c->nics_count; k++)
		if (is_type(&c->nics[k], type))
			return true;
	return false;
}

/* --- What this process may -------------------------------------------------------------------- */

static uint64_t capabilities(void)
{
	unsigned long long mask = 0;
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "CapEff: %llx", &mask) == 1)
			break;
	if (file)
		fclose(file);
	return mask;
}

static void check_capabilities(const struct look *look)
{
	const struct config *c = look->doctor->config;
	const bool packet = any_of_type(c, "af_packet"), xdp = any_of_type(c, "af_xdp"),
		   tap = any_of_type(c, "tap") || c->kernel;
	const struct {
		unsigned number;
		const char *name;
		bool wanted;
		enum finding_level level;
		const char *what;
	} each[] = {
		{CAP_NET_RAW, "CAP_NET_RAW", packet || xdp, FINDING_FAULT,
			"ports af_packet and af_xdp cannot be opened"},
		{CAP_NET_ADMIN, "CAP_NET_ADMIN", xdp || tap, FINDING_FAULT,
			"neither ports af_xdp and tap nor the kernel's taps can be opened"},
		{CAP_BPF, "CAP_BPF", xdp, FINDING_FAULT, "ports af_xdp cannot be opened"},
		{CAP_PERFMON, "CAP_PERFMON", xdp, FINDING_NOTE,
			"ports af_xdp send each frame of a veth by itself"},
		{CAP_SYS_ADMIN, "CAP_SYS_ADMIN", c->kernel && c->kernel->namespace, FINDING_FAULT,
			"taps cannot be made in the namespace that `kernel` names"},
	};
	const uint64_t have = capabilities();

	for (unsigned k = 0; k < sizeof(each) / sizeof(*each); k++) {
		char fix[FIX_BYTES];

		if (!each[k].wanted || have >> each[k].number & 1)
			continue;
		snprintf(fix, sizeof(fix),
			"as root; under systemd, systemctl edit p2pnic@NAME: "
			"AmbientCapabilities=%s and CapabilityBoundingSet=%s",
			each[k].name, each[k].name);
		finding_add(look->found, each[k].level, "capability", each[k].name, fix,
			"this process lacks it: %s", each[k].what);
	}
}

/* --- What the kernel can ---------------------------------------------------------------------- */

static void check_kernel(const struct look *look)
{
	const struct config *c = look->doctor->config;
	int fd;

	if ((any_of_type(c, "tap") || c->kernel) && access("/dev/net/tun", F_OK) < 0)
		finding_add(look->found, FINDING_FAULT, "feature", "/dev/net/tun", "modprobe tun",
			"%s: there can be no taps", strerror(errno));
	if (!any_of_type(c, "af_xdp"))
		return;
	fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		close(fd);
	else if (errno == EAFNOSUPPORT)
		finding_add(look->found, FINDING_FAULT, "feature", "AF_XDP",
			"port: {type: af_packet}, or a kernel with CONFIG_XDP_SOCKETS",
			"this kernel has none: ports af_xdp cannot be opened");
}

/* --- Interfaces of ports ---------------------------------------------------------------------- */

/* A value that ethtool gets; false: this interface has none. */
static bool ethtool_value(int fd, const char *interface, unsigned command, unsigned *value)
{
	struct ethtool_value get = {.cmd = command};
	struct ifreq request = {.ifr_data = (void *)&get};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, SIOCETHTOOL, &request) < 0)
		return false;
	*value = get.data;
	return true;
}

static unsigned queues(int fd, const char *interface)
{
	struct ethtool_channels get = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq request = {.ifr_data = (void *)&get};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? 0 : get.combined_count + get.rx_count;
}

static unsigned mtu_of(int fd, const char *interface)
{
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(fd, SIOCGIFMTU, &request) < 0 ? 0 : (unsigned)request.ifr_mtu;
}

static void check_queues(const struct look *look, int fd, const struct config_nic *nic)
{
	const char *interface = nic->port.target, *options = nic->port.options;
	const unsigned n = queues(fd, interface);
	char fix[FIX_BYTES];

	if (n <= 1 || (options && strstr(options, "queue=")))
		return;
	snprintf(fix, sizeof(fix), "ethtool -L %s combined 1", interface);
	finding_add(look->found, FINDING_NOTE, "queues", interface, fix,
		"it has %u queues, and the NIC's one socket serves one of them: the port closes "
		"the others, or where it cannot does not start",
		n);
}

static void check_offloads(const struct look *look, int fd, const struct config_nic *nic)
{
	const char *interface = nic->port.target;
	unsigned gro = 0, flags = 0;
	char fix[FIX_BYTES];

	ethtool_value(fd, interface, ETHTOOL_GGRO, &gro);
	ethtool_value(fd, interface, ETHTOOL_GFLAGS, &flags);
	if (gro || flags & ETH_FLAG_LRO) {
		snprintf(fix, sizeof(fix), "ethtool -K %s gro off lro off", interface);
		finding_add(look->found, FINDING_NOTE, "offload", interface, fix,
			"%s is on: received frames are merged, and cut again by the port, which "
			"costs time, or lost. A port switches it off if it may (CAP_NET_ADMIN)",
			gro ? "GRO" : "LRO");
	}
	if (flags & ETH_FLAG_RXVLAN && nic->vlans_count && is_type(nic, "af_xdp")) {
		snprintf(fix, sizeof(fix), "ethtool -K %s rxvlan off txvlan off", interface);
		finding_add(look->found, FINDING_FAULT, "offload", interface, fix,
			"rxvlan is on: the interface takes tags out before the port sees them, and "
			"VLANs are taken for none");
	}
}

/* That of the NIC's tap; where none is known, what the configuration says. */
static unsigned mtu_of_nic(const struct doctor *d, unsigned nic)
{
	const struct kernel_key key = {
		.kind = KERNEL_LINK, .id = d->ways ? d->ways->nics->ifindex[nic] : 0};
	const struct kernel_value *v = key.id ? kernel_state_find(d->ways->state, &key, 0) : NULL;

	return v ? v->link.mtu : *d->config->nics[nic].mtu;
}

static void check_mtu(const struct look *look, int fd, unsigned index)
{
	const struct config *c = look->doctor->config;
	const struct config_nic *nic = &c->nics[index];
	const unsigned wanted = mtu_of_nic(look->doctor, index);
	const unsigned own = mtu_of(fd, nic->port.target);
	const unsigned most = P2PNIC_MTU_MAX(*c->router->buffer_bytes);
	const char *interface = nic->port.target;
	char fix[FIX_BYTES];

	if (own && own < wanted) {
		snprintf(fix, sizeof(fix), "ip link set %s mtu %u", interface, wanted);
		finding_add(look->found, FINDING_FAULT, "mtu", interface, fix,
			"its MTU is %u, and that of its NIC %s is %u: longer packets are lost when "
			"they leave",
			own, nic->name, wanted);
	} else if (own > most) {
		snprintf(fix, sizeof(fix), "ip link set %s mtu %u", interface, wanted);
		finding_add(look->found, FINDING_NOTE, "mtu", interface, fix,
			"its MTU is %u, and buffers hold %u bytes of IP packet: longer ones that "
			"its neighbours send are lost (`missed`); or buffer_bytes: 16384",
			own, most);
	}
}

static void check_interfaces(const struct look *look)
{
	const struct config *c = look->doctor->config;
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (unsigned k = 0; fd >= 0 && k < c->nics_count; k++) {
		const struct config_nic *nic = &c->nics[k];
		const bool xdp = is_type(nic, "af_xdp");
		char fix[FIX_BYTES];

		if (!xdp && !is_type(nic, "af_packet"))
			continue;
		if (!if_nametoindex(nic->port.target)) {
			snprintf(fix, sizeof(fix), "ip link show; then port: {target: NAME} of %s",
				nic->name);
			finding_add(look->found, FINDING_FAULT, "port", nic->port.target, fix,
				"no such interface in this network namespace");
			continue;
		}
		if (xdp)
			check_queues(look, fd, nic);
		check_offloads(look, fd, nic);
		check_mtu(look, fd, k);
	}
	if (fd >= 0)
		close(fd);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void check_huge_pages(const struct look *look)
{
	const struct config *c = look->doctor->config;
	unsigned long long total = 0, unused = 0, kib = 0;
	unsigned soft = 0;
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128], fix[FIX_BYTES];

	for (unsigned k = 0; k < c->nics_count; k++)
		soft += config_nic_used(&c->nics[k]) && !c->nics[k].pci && !c->nics[k].card;
	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "HugePages_Total: %llu", &total);
		sscanf(line, "HugePages_Free: %llu", &unused);
		sscanf(line, "Hugepagesize: %llu", &kib);
	}
	if (file)
		fclose(file);
	const unsigned long long wanted =
		(unsigned long long)soft *
		(*c->router->packet_memory_mib + *c->router->table_memory_mib) * 1024 / HUGE_KIB;

	/* A router that runs has taken its own. */
	if (kib != HUGE_KIB || !wanted || unused >= wanted || (look->doctor->ways && total))
		return;
	snprintf(fix, sizeof(fix), "sysctl -w vm.nr_hugepages=%llu", total - unused + wanted);
	finding_add(look->found, FINDING_OK, "memory", "huge pages", fix,
		"%llu of 2 MiB are free, and the memory of %u NICs would fill %llu: it works "
		"without, a little slower",
		unused, soft, wanted);
}

/* --- Cores ------------------------------------------------------------------------------------ */

/* The list of a core's hardware threads, "2,6" or "2-3". False: not known. */
static bool siblings(const struct doctor *d, int core, char list[64])
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/cpu%d/topology/thread_siblings_list",
		d->sysfs_cpu ?: SYSFS_CPU, core);
	file = fopen(path, "re");
	if (!file)
		return false;
	const bool any = fgets(list, 64, file);

	fclose(file);
	if (any)
		list[strcspn(list, "\n")] = 0;
	return any;
}

static bool same_core(const struct doctor *d, int a, int b)
{
	char of_a[64], of_b[64];

	return siblings(d, a, of_a) && siblings(d, b, of_b) && !strcmp(of_a, of_b);
}

static bool polls_alone(const struct config_engine *e)
{
	return e->core && !(e->shared && *e->shared);
}

static void check_pair(
	const struct look *look, const struct config_engine *a, const struct config_engine *b)
{
	char fix[FIX_BYTES];

	snprintf(fix, sizeof(fix), "engine %s: another core; or shared: true, at both", b->name);
	if (*a->core == *b->core)
		finding_add(look->found, FINDING_FAULT, "core", b->name, fix,
			"engines %s and %s both poll on core %d: while one does, the other "
			"receives nothing",
			a->name, b->name, *a->core);
	else if (same_core(look->doctor, *a->core, *b->core))
		finding_add(look->found, FINDING_NOTE, "core", b->name, fix,
			"engines %s and %s poll on cores %d and %d, which are two threads of one: "
			"each has about half of it",
			a->name, b->name, *a->core, *b->core);
}

/* Of a thread: it wants to run, and on which core it was last; proc(5), fields 3 and 39. */
static int runs_on(const char *task, char name[32])
{
	char path[320], text[1024];
	FILE *file;
	const char *at;
	char *begin;
	char state;
	int core = -1;
	size_t n;

	snprintf(path, sizeof(path), "%s/stat", task);
	file = fopen(path, "re");
	if (!file)
		return -1;
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = 0;
	begin = strchr(text, '(');
	at = strrchr(text, ')');
	if (!begin || !at || at[1] != ' ')
		return -1;
	snprintf(name, 32, "%.*s", (int)(at - begin - 1), begin + 1);
	state = at[2];
	/* The 36th behind the state. */
	at += 3;
	for (unsigned k = 0; k < 35 && at; k++)
		at = strchr(at + 1, ' ');
	if (at)
		core = atoi(at + 1);
	return state == 'R' ? core : -1;
}

static void check_busy(const struct look *look, const struct config_engine *e)
{
	char names[BUSY_NAMES] = "", fix[FIX_BYTES];
	DIR *processes = opendir("/proc");
	unsigned n = 0;
	int first = 0;

	for (struct dirent *p; processes && (p = readdir(processes));) {
		char path[288], name[32] = "";
		const int pid = atoi(p->d_name);

		snprintf(path, sizeof(path), "/proc/%s", p->d_name);
		if (pid <= 0 || pid == getpid() || runs_on(path, name) != *e->core ||
			!strcmp(name, "p2pnic"))
			continue;
		first = first ?: pid;
		if (!n++)
			snprintf(names, sizeof(names), "%s", name);
	}
	if (processes)
		closedir(processes);
	if (!n)
		return;
	snprintf(fix, sizeof(fix), "taskset -a -p -c OTHER-CORES %d; or engine %s: shared: true",
		first, e->name);
	finding_add(look->found, FINDING_NOTE, "core", e->name, fix,
		"core %d, on which it polls, has other work just now: process %d (%s)%s", *e->core,
		first, names, n > 1 ? " and more" : "");
}

static void check_cores(const struct look *look)
{
	const struct config *c = look->doctor->config;

	for (unsigned a = 0; a < c->engines_count; a++) {
		const struct config_engine *e = &c->engines[a];

		if (!polls_alone(e))
			continue;
		for (unsigned b = a + 1; b < c->engines_count; b++)
			if (polls_alone(&c->engines[b]))
				check_pair(look, e, &c->engines[b]);
		check_busy(look, e);
	}
}

void doctor_host(const struct doctor *d, json_t *found)
{
	const struct look look = {d, found};

	check_capabilities(&look);
	check_kernel(&look);
	check_interfaces(&look);
	check_huge_pages(&look);
	check_cores(&look);
}
