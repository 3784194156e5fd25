/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/doctor_sysctl.h"
#include "router/config.h"
#include "router/policers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES    96u
#define FIX_BYTES     512u
#define GLEAN_SECONDS 3u /* a neighbour that does not answer is in the kernel's table so long */

/* Of /proc/sys/PATH, in the namespace that this thread is in. False: it is not there. */
static bool read_sysctl(const char *path, long *value)
{
	char file[PATH_BYTES + sizeof("/proc/sys/")], text[32] = "";
	FILE *f;

	snprintf(file, sizeof(file), "/proc/sys/%s", path);
	f = fopen(file, "re");
	if (!f)
		return false;
	const bool any = fgets(text, sizeof(text), f);

	fclose(f);
	*value = strtol(text, NULL, 10);
	return any;
}

static const char *path_of(char path[PATH_BYTES], const char *format, const char *interface)
{
	const char *at = strstr(format, "IF");

	if (at)
		snprintf(path, PATH_BYTES, "%.*s%s%s", (int)(at - format), format, interface,
			at + 2);
	else
		snprintf(path, PATH_BYTES, "%s", format);
	return path;
}

/* Slashes stay where a name has dots, as sysctl(8) wants it. */
static void fix_add(char fix[FIX_BYTES], const char *namespace, const char *path, long value)
{
	const bool dots = strchr(path, '.');
	size_t n = strlen(fix);

	if (!n)
		n += (size_t)snprintf(fix, FIX_BYTES, "%s%s%ssysctl -w",
			namespace ? "ip netns exec " : "", namespace ? namespace : "",
			namespace ? " " : "");
	const size_t from = n;

	snprintf(fix + n, FIX_BYTES - n, " %s=%ld", path, value);
	for (char *c = fix + from; *c && !dots; c++)
		if (*c == '/')
			*c = '.';
}

/* --- Taps ------------------------------------------------------------------------------------- */

static const struct wanted {
	const char *path;       /* IF: of each tap */
	long least, most, also; /* what is well */
	long fix;
	enum finding_level level;
	bool all; /* the value of conf/all counts if it is larger */
	const char *why;
} wanted[] = {
	{"net/ipv4/ip_forward", 1, 1, 1, 1, FINDING_FAULT, false,
		"the kernel neither forwards what NICs leave to it nor answers what they punt"},
	{"net/ipv6/conf/all/forwarding", 1, 2, 1, 1, FINDING_FAULT, false,
		"the kernel neither forwards what NICs leave to it nor answers what they punt"},
	{"net/ipv4/nexthop_compat_mode", 0, 0, 0, 0, FINDING_NOTE, false,
		"a next-hop object that changes makes a message of each of its routes"},
	{"net/ipv4/conf/IF/forwarding", 1, 1, 1, 1, FINDING_FAULT, false,
		"the kernel forwards nothing that arrives here, and NICs do"},
	{"net/ipv4/conf/IF/rp_filter", 0, 0, 2, 2, FINDING_NOTE, true,
		"the kernel drops punted packets by their source, and NICs forward such packets "
		"(they have the key reverse_path)"},
	{"net/ipv4/conf/IF/arp_announce", 2, 2, 2, 2, FINDING_NOTE, true,
		"the kernel may ask for a neighbour in the name of another link's address, which "
		"some hosts do not answer"},
	{"net/ipv4/conf/IF/ignore_routes_with_linkdown", 1, 1, 1, 1, FINDING_NOTE, false,
		"the kernel goes on by gateways behind a link without carrier, and NICs do not"},
	{"net/ipv6/conf/IF/ignore_routes_with_linkdown", 1, 1, 1, 1, FINDING_NOTE, false,
		"the kernel goes on by gateways behind a link without carrier, and NICs do not"},
};

struct look {
	const struct doctor *doctor;
	json_t *found;
};

static const char *tap_name(const struct doctor *d, unsigned nic)
{
	const struct kernel_key key = {
		.kind = KERNEL_LINK, .id = d->ways ? d->ways->nics->ifindex[nic] : 0};
	const struct kernel_value *v = key.id ? kernel_state_find(d->ways->state, &key, 0) : NULL;

	return v ? v->link.name : d->config->nics[nic].name;
}

static void check(const struct look *look, const struct wanted *w, const char *tap)
{
	const char *namespace = look->doctor->config->kernel->namespace;
	char path[PATH_BYTES], all[PATH_BYTES], fix[FIX_BYTES] = "";
	long value, of_all = 0;

	if (!read_sysctl(path_of(path, w->path, tap), &value))
		return;
	if (w->all)
		read_sysctl(path_of(all, w->path, "all"), &of_all);
	if (w->all && of_all > value)
		value = of_all;
	if ((value >= w->least && value <= w->most) || value == w->also)
		return;
	fix_add(fix, namespace, path, w->fix);
	finding_add(look->found, w->level, "sysctl",
		*tap        ? tap
		: namespace ? namespace
			    : "kernel",
		fix, "%s is %ld: %s", path + sizeof("net/") - 1, value, w->why);
}

/* A scan of connected networks must not fill the table of neighbours, which is one for all
 * namespaces: only the first of them shows its size. */
static void check_neighbors(const struct doctor *d, json_t *found, const char *path, uint8_t family)
{
	const struct config *c = d->config;
	const struct kernel_ways *ways = d->ways;
	const uint64_t glean =
		(uint64_t)policer_of(c, P2PNIC_PUNT_GLEAN).all.rate * config_nics_used(c);
	char fix[FIX_BYTES] = "";
	uint64_t need = glean * GLEAN_SECONDS;
	struct kernel_key key;
	size_t from = 0;
	long most;

	while (ways && kernel_state_each(ways->state, KERNEL_NEIGHBOR, &from, &key))
		need += key.family == family;
	if (!read_sysctl(path, &most) || (uint64_t)most > need)
		return;
	fix_add(fix, NULL, path, (long)(2 * need));
	finding_add(found, FINDING_NOTE, "sysctl", "kernel", fix,
		"%s is %ld: neighbours that there are and those that glean may add in %u s are "
		"%llu; more than the table holds are not resolved",
		path + sizeof("net/") - 1, most, GLEAN_SECONDS, (unsigned long long)need);
}

static int look_at_taps(void *context)
{
	const struct look *look = context;

	for (unsigned k = 0; k < sizeof(wanted) / sizeof(*wanted); k++) {
		const bool each = strstr(wanted[k].path, "IF");

		for (unsigned n = 0; n < (each ? look->doctor->config->nics_count : 1); n++)
			if (!each || config_nic_used(&look->doctor->config->nics[n]))
				check(look, &wanted[k], each ? tap_name(look->doctor, n) : "");
	}
	return 0;
}

void doctor_sysctls(const struct doctor *d, json_t *found)
{
	struct look look = {d, found};
	const int error = netns_do(d->netns, look_at_taps, &look);

	check_neighbors(d, found, "net/ipv4/neigh/default/gc_thresh3", 4);
	check_neighbors(d, found, "net/ipv6/neigh/default/gc_thresh3", 6);
	if (error)
		finding_add(found, FINDING_NOTE, "kernel", d->config->kernel->namespace, "",
			"its settings cannot be read: %s", strerror(-error));
}

/* --- Ports ------------------------------------------------------------------------------------ */

static void check_port(const struct doctor *d, const char *interface, json_t *found)
{
	static const char ipv6[] = "net/ipv6/conf/IF/disable_ipv6";
	static const char filter[] = "net/ipv4/conf/IF/rp_filter";
	const bool beside = d->config->kernel && d->netns->fd < 0; /* the taps */
	const char *what = beside ? "a second copy is forwarded, and the taps' addresses are "
				    "answered for a second time"
				  : "it forwards here, and so a second copy";
	char path[PATH_BYTES], fix[FIX_BYTES] = "";
	long disabled, forwards = 0, strict, all = 0;

	if (read_sysctl(path_of(path, filter, interface), &strict)) {
		read_sysctl("net/ipv4/conf/all/rp_filter", &all);
		strict = all > strict ? all : strict;
		if (all > 1)
			fix_add(fix, NULL, "net/ipv4/conf/all/rp_filter", 0);
		fix_add(fix, NULL, path, 1);
		read_sysctl(path_of(path, "net/ipv4/conf/IF/forwarding", interface), &forwards);
		if (strict != 1 && (beside || forwards))
			finding_add(found, FINDING_FAULT, "port", interface, fix,
				"the kernel's stack takes the port's frames, too: %s (IPv4; "
				"rp_filter is %ld)",
				what, strict);
	}
	if (!read_sysctl(path_of(path, ipv6, interface), &disabled) || disabled)
		return;
	forwards = 0;
	read_sysctl("net/ipv6/conf/all/forwarding", &forwards);
	*fix = 0;
	fix_add(fix, NULL, path, 1);
	if (beside || forwards)
		finding_add(found, FINDING_FAULT, "port", interface, fix,
			"the kernel's stack takes the port's frames, too: %s (IPv6; disable_ipv6 "
			"is 0)",
			what);
}

void doctor_ports(const struct doctor *d, json_t *found)
{
	for (unsigned k = 0; k < d->config->nics_count; k++)
		if (!strcmp(config_nic_type(&d->config->nics[k]), "af_packet"))
			check_port(d, d->config->nics[k].port.target, found);
}
