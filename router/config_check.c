/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/config_check.h"

#include "driver/method.h"
#include "router/config_defaults.h"
#include "router/endpoint.h"

#include <errno.h>
#include <net/if.h>
#include <p2pnic/registers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The place of list[index].key[item], of as much of that as there is; a mapping stands for its own
 * entry. */
static struct config_mark mark_of(
	struct config_tree *tree, const char *list, unsigned index, const char *key, unsigned item)
{
	const struct config_node *of_list = config_node_value(tree->root, list);
	const struct config_node *entry =
		of_list->kind == CONFIG_LIST ? config_node_entry(of_list, index) : of_list;
	const struct config_node *value = key ? config_node_value(entry, key) : NULL;
	const struct config_node *of_value = config_node_entry(value, item);

	return of_value ? of_value->mark : value ? value->mark : entry->mark;
}

/* The mistake is list[index].key[item]; key NULL: in what keys there are. */
__attribute__((format(printf, 6, 7))) static int wrong(struct config_tree *tree, const char *list,
	unsigned index, const char *key, unsigned item, const char *format, ...)
{
	struct error reason;
	va_list arguments;

	va_start(arguments, format);
	error_set_list(&reason, 0, format, arguments);
	va_end(arguments);
	return config_tree_wrong(tree, mark_of(tree, list, index, key, item), "%s%s%s",
		key ? key : "", key ? ": " : "", reason.text);
}

static int check_buffer_bytes(struct config *config, struct config_tree *tree)
{
	const unsigned *bytes = config->router->buffer_bytes;

	if (bytes && !p2pnic_buffer_bytes_valid(*bytes))
		return config_tree_wrong(tree, mark_of(tree, "router", 0, "buffer_bytes", 0),
			"buffer_bytes %u: want 2048, 4096 or 16384", *bytes);
	return 0;
}

/* Where an IOMMU is in between, it may refuse what a NIC writes, and the NIC does not hear of it.
 * What a soft NIC maps it cannot lose. */
static unsigned check_default(const struct config *config)
{
	for (unsigned k = 0; k < config->nics_count; k++)
		if (config->nics[k].pci)
			return P2PNIC_CHECK_STAMP;
	return P2PNIC_CHECK_NONE;
}

static int check_engine(struct config *config, unsigned k, struct config_tree *tree)
{
	const struct config_engine *e = &config->engines[k];
	const long cores = sysconf(_SC_NPROCESSORS_CONF);

	if (e->core && (*e->core < 0 || *e->core >= cores))
		return wrong(tree, "engines", k, "core", 0,
			"this machine has no core %d (it has 0 to %ld)", *e->core, cores - 1);
	return 0;
}

static bool mac_is_zero(struct mac_addr mac)
{
	return !memcmp(&mac, &(struct mac_addr){{0}}, sizeof(mac));
}

static bool by_sysfs(const struct config_nic *n)
{
	return n->access && !strcmp(n->access, "sysfs");
}

/* As configured; else the largest that the NIC can have, of which the MTUs need more or less. */
static unsigned buffer_bytes_most(const struct config *config, const struct config_nic *n)
{
	return config->router->buffer_bytes ? *config->router->buffer_bytes
	       : n->card                    ? P2PNIC_BUFFER_BYTES_MIN
					    : P2PNIC_BUFFER_BYTES_MAX;
}

/* What a NIC is: a process with a port, a PCI function, or a card. */
static int check_carrier(struct config *config, unsigned k, struct config_tree *tree)
{
	const struct config_nic *n = &config->nics[k];

	if (!!n->port.type + !!n->pci + !!n->card != 1)
		return wrong(
			tree, "nics", k, NULL, 0, "NIC %s: want one of port, pci, card", n->name);
	if (!n->pci && n->access)
		return wrong(tree, "nics", k, "access", 0, "%s has none: leave it out",
			n->card ? "a card" : "a soft NIC");
	if (by_sysfs(n) != by_sysfs(&config->nics[0]))
		return wrong(tree, "nics", k, NULL, 0,
			"NIC %s: access sysfs for all NICs, or for none: bus addresses without an "
			"IOMMU lead to no other",
			n->name);
	if (!n->card != !config->nics[0].card)
		return wrong(tree, "nics", k, NULL, 0,
			"NIC %s: cards for all NICs, or for none: a card reaches cards only",
			n->name);
	if (n->port.type)
		return 0;
	const char *type = config_nic_type(n), *target = config_nic_target(n);
	if (n->engine)
		return wrong(tree, "nics", k, "engine", 0,
			"a %s has its own processors: leave it out", n->pci ? "PCI NIC" : "card");
	if (n->card && (config->router->method_number != P2PNIC_METHOD_WRITE ||
			       buffer_bytes_most(config, n) != P2PNIC_BUFFER_BYTES_MIN))
		return wrong(tree, "nics", k, type, 0,
			"a card has method wr and buffers of 2048 bytes, no others");
	if (config->router->method_number == P2PNIC_METHOD_BOUNCE)
		return wrong(tree, "nics", k, type, 0,
			"method bn: the host thread reaches the doorbells of soft NICs only");
	for (unsigned other = 0; other < k; other++)
		if (!strcmp(config_nic_type(&config->nics[other]), type) &&
			!strcmp(config_nic_target(&config->nics[other]), target))
			return wrong(tree, "nics", k, type, 0, "NIC %s is %s already",
				config->nics[other].name, target);
	return 0;
}

/* The addresses list[index].key[item] says. */
static int check_addresses(struct config_tree *tree, unsigned nic, int vlan, char **text,
	unsigned n, struct prefix **to)
{
	*to = calloc(n + 1, sizeof(**to));
	if (!*to)
		return -ENOMEM;
	for (unsigned a = 0; a < n; a++)
		if (!prefix_parse(text[a], true, &(*to)[a]))
			return wrong(tree, "nics", nic, vlan < 0 ? "addresses" : "vlans",
				vlan < 0 ? a : (unsigned)vlan, "'%s' is no ADDRESS/LENGTH",
				text[a]);
	return 0;
}

/* mtu_max: of the NIC, whose buffers must hold a tag more. */
static int check_vlan(
	struct config *config, unsigned k, unsigned v, unsigned mtu_max, struct config_tree *tree)
{
	const struct config_nic *n = &config->nics[k];
	struct config_vlan *vlan = &n->vlans[v];
	const unsigned nic_mtu = n->mtu ? *n->mtu : CONFIG_MTU_DEFAULT;

	mtu_max -= P2PNIC_TAG_BYTES;
	if (nic_mtu < mtu_max)
		mtu_max = nic_mtu;
	for (unsigned other = 0; other < v; other++)
		if (*n->vlans[other].id == *vlan->id)
			return wrong(tree, "nics", k, "vlans", v, "NIC %s has VLAN %u already",
				n->name, *vlan->id);
	if (asprintf(&vlan->name, "%s.%u", n->name, *vlan->id) < 0) {
		vlan->name = NULL;
		return -ENOMEM;
	}
	if (config_nic_index(config, vlan->name) >= 0)
		return wrong(tree, "nics", k, "vlans", v,
			"VLAN %u of NIC %s is named '%s', and so is another NIC", *vlan->id,
			n->name, vlan->name);
	if (vlan->mtu && *vlan->mtu > mtu_max)
		return wrong(tree, "nics", k, "vlans", v,
			"mtu %u of VLAN %u: want %u to %u: no more than its NIC's, and a tag's %u "
			"bytes less than buffers hold",
			*vlan->mtu, *vlan->id, P2PNIC_MTU_MIN, mtu_max, P2PNIC_TAG_BYTES);
	return check_addresses(
		tree, k, (int)v, vlan->addresses, vlan->addresses_count, &vlan->address);
}

static int check_nic(struct config *config, unsigned k, struct config_tree *tree)
{
	struct config_nic *n = &config->nics[k];
	const unsigned check = config->router->check_number;
	const unsigned mtu_max =
		P2PNIC_MTU_MAX(buffer_bytes_most(config, n)) - (check ? P2PNIC_CHECK_BYTES : 0);
	bool found = !n->engine || !config->engines_count;
	int code = check_carrier(config, k, tree);

	if (code)
		return code;
	if (config_nic_index(config, n->name) != (int)k)
		return wrong(tree, "nics", k, "name", 0, "two NICs are named '%s'", n->name);
	if (n->mac && !mac_parse(n->mac, &n->mac_address))
		return wrong(tree, "nics", k, "mac", 0, "'%s' is no MAC address", n->mac);
	if (n->mac && (n->mac_address.octet[0] & 1))
		return wrong(tree, "nics", k, "mac", 0, "%s is a group address", n->mac);
	if (n->mac && mac_is_zero(n->mac_address))
		return wrong(tree, "nics", k, "mac", 0, "%s is no address", n->mac);
	if (n->mtu && *n->mtu > mtu_max)
		return config_tree_wrong(tree, mark_of(tree, "nics", k, "mtu", 0),
			"mtu %u: want %u to %u%s%s", *n->mtu, P2PNIC_MTU_MIN, mtu_max,
			config->router->buffer_bytes && !n->card ? ", or larger buffer_bytes" : "",
			check ? ", or check: none" : "");
	if (n->reverse_path && strcmp(n->reverse_path, "none") != 0)
		n->reverse_path_number = !strcmp(n->reverse_path, "loose")
						 ? P2PNIC_REVERSE_PATH_LOOSE
						 : P2PNIC_REVERSE_PATH_STRICT;
	for (unsigned e = 0; e < config->engines_count && !found; e++)
		found = !strcmp(config->engines[e].name, n->engine);
	if (!found)
		return wrong(tree, "nics", k, "engine", 0, "no engine is named '%s'", n->engine);
	code = check_addresses(tree, k, -1, n->addresses, n->addresses_count, &n->address);
	for (unsigned v = 0; v < n->vlans_count && !code; v++)
		code = check_vlan(config, k, v, mtu_max, tree);
	return code;
}

/* A NIC, or a VLAN of one. */
static bool find_interface(
	const struct config *config, const char *name, unsigned *nic, unsigned *vid)
{
	for (*nic = 0; *nic < config->nics_count; ++*nic) {
		const struct config_nic *n = &config->nics[*nic];

		*vid = 0;
		if (!strcmp(n->name, name))
			return true;
		for (unsigned v = 0; v < n->vlans_count; v++) {
			*vid = *n->vlans[v].id;
			if (!strcmp(n->vlans[v].name, name))
				return true;
		}
	}
	return false;
}

static int check_neighbor(struct config *config, unsigned k, struct config_tree *tree)
{
	struct config_neighbor *n = &config->neighbors[k];

	if (!find_interface(config, n->nic, &n->nic_index, &n->vid))
		return wrong(
			tree, "neighbors", k, "nic", 0, "no NIC or VLAN is named '%s'", n->nic);
	if (!address_parse(n->address, &n->ip))
		return wrong(tree, "neighbors", k, "address", 0, "'%s' is no address", n->address);
	if (!mac_parse(n->mac, &n->mac_address) || (n->mac_address.octet[0] & 1) ||
		mac_is_zero(n->mac_address))
		return wrong(
			tree, "neighbors", k, "mac", 0, "'%s' is no station's MAC address", n->mac);
	return 0;
}

/* The gateway of route k: in the value of `key`, or in its entry h. */
static int check_gateway(struct config_tree *tree, const struct config_route *r, unsigned k,
	const char *key, unsigned h, const char *text, struct address *gateway)
{
	if (!address_parse(text, gateway))
		return wrong(tree, "routes", k, key, h, "'%s' is no address", text);
	if (gateway->family != r->destination.address.family)
		return wrong(tree, "routes", k, key, h,
			"gateway %s is of another family than the prefix", text);
	return 0;
}

static int check_route(struct config *config, unsigned k, struct config_tree *tree)
{
	struct config_route *r = &config->routes[k];
	int code = 0;

	if (!prefix_parse(r->prefix, false, &r->destination))
		return wrong(tree, "routes", k, "prefix", 0,
			"'%s' is no PREFIX/LENGTH, or has bits beyond it", r->prefix);
	if (!!r->via + !!r->next_hops + !!r->action != 1)
		return wrong(tree, "routes", k, NULL, 0,
			"route %s: want one of via, next_hops, action", r->prefix);
	if (r->via)
		code = check_gateway(tree, r, k, "via", 0, r->via, &r->gateway);
	for (unsigned h = 0; r->next_hops && h < r->next_hops_count && !code; h++)
		code = check_gateway(
			tree, r, k, "next_hops", h, r->next_hops[h].via, &r->next_hops[h].gateway);
	return code;
}

/* Whether there is such a file; what is in it is read when it is needed. */
static int check_route_file(struct config *config, unsigned k, struct config_tree *tree)
{
	struct config_route_file *f = &config->route_files[k];
	const char *slash = *f->file == '/' ? NULL : strrchr(config->path, '/');
	const struct config_mark at = mark_of(tree, "route_files", k, "file", 0);
	struct stat is;

	f->line = at.line;
	f->gateway = calloc(f->via_count + 1, sizeof(*f->gateway));
	if (!f->gateway || asprintf(&f->path, "%.*s%s", slash ? (int)(slash + 1 - config->path) : 0,
				   config->path, f->file) < 0) {
		f->path = NULL;
		return -ENOMEM;
	}
	if (stat(f->path, &is) < 0 || access(f->path, R_OK) < 0)
		return config_tree_wrong(tree, at, "file: %s: %s", f->path, strerror(errno));
	if (!S_ISREG(is.st_mode))
		return config_tree_wrong(tree, at, "file: %s is no file", f->path);
	for (unsigned v = 0; v < f->via_count; v++)
		if (!address_parse(f->via[v], &f->gateway[v]))
			return wrong(
				tree, "route_files", k, "via", v, "'%s' is no address", f->via[v]);
	return 0;
}

/* One source of truth: what the kernel knows is told to the kernel. */
static int check_kernel(struct config *config, struct config_tree *tree)
{
	const struct {
		const char *key, *instead;
		bool given;
	} other[] = {
		{"neighbors", "ip neigh", config->neighbors_count},
		{"routes", "ip route", config->routes_count},
		{"route_files", "ip -batch", config->route_files_count},
	};

	if (!config->kernel && config->punt)
		return config_tree_wrong(tree, config_node_value(tree->root, "punt")->mark,
			"punt: without `kernel` nothing takes what NICs punt");
	if (!config->kernel)
		return 0;
	for (unsigned k = 0; k < sizeof(other) / sizeof(*other); k++)
		if (other[k].given)
			return config_tree_wrong(tree,
				config_node_value(tree->root, other[k].key)->mark,
				"%s: with `kernel` they come from the kernel: give them to `%s`",
				other[k].key, other[k].instead);
	for (unsigned k = 0; k < config->nics_count; k++) {
		const struct config_nic *n = &config->nics[k];

		if (n->addresses_count)
			return wrong(tree, "nics", k, "addresses", 0,
				"with `kernel` they come from the kernel: ip address add %s dev %s",
				n->addresses[0], n->name);
		if (n->vlans_count)
			return wrong(tree, "nics", k, "vlans", 0,
				"with `kernel` they come from the kernel: ip link add link %s name "
				"%s "
				"type vlan id %u",
				n->name, n->vlans[0].name, *n->vlans[0].id);
		if (strlen(n->name) >= IFNAMSIZ)
			return wrong(tree, "nics", k, "name", 0,
				"'%s' names a network interface, too, so at most %d characters",
				n->name, IFNAMSIZ - 1);
	}
	return 0;
}

/* Anybody who reaches it reads everything. */
static int check_metrics(const struct config *config, struct config_tree *tree)
{
	const struct config_metrics *m = config->metrics;
	struct endpoint endpoint;

	if (!m || !endpoint_parse(m->listen, &endpoint))
		return 0;
	if (endpoint.path && m->namespace)
		return config_tree_wrong(tree, mark_of(tree, "metrics", 0, "namespace", 0),
			"namespace: a socket's path is in none: leave it out");
	if (endpoint.loopback || (m->public && *m->public))
		return 0;
	return config_tree_wrong(tree, mark_of(tree, "metrics", 0, "listen", 0),
		"listen: other hosts reach %s, and may read everything there; if that is meant: "
		"public: true",
		m->listen);
}

static int check_method(const struct config *config, struct config_tree *tree)
{
	const struct config_router *r = config->router;

	if (r->method_number == METHOD_HYBRID && r->check_number)
		return wrong(tree, "router", 0, "method", 0,
			"hy lends packets where they are, which cannot be checked: want check "
			"none");
	return 0;
}

int config_check(struct config *config, struct config_tree *tree)
{
	int code = check_buffer_bytes(config, tree);

	config->router->method_number = config->router->method
						? method_of_name(config->router->method)
						: P2PNIC_METHOD_WRITE;
	config->router->check_number = config->router->check ? check_of_name(config->router->check)
							     : check_default(config);
	if (!config_goes_on(&code, check_method(config, tree)))
		return code;
	for (unsigned k = 0; k < config->engines_count; k++)
		if (!config_goes_on(&code, check_engine(config, k, tree)))
			return code;
	for (unsigned k = 0; k < config->nics_count; k++)
		if (!config_goes_on(&code, check_nic(config, k, tree)))
			return code;
	/* A mistake there would be one of all that refers to NICs. */
	const bool nics_known = !code;
	for (unsigned k = 0; nics_known && k < config->neighbors_count; k++)
		if (!config_goes_on(&code, check_neighbor(config, k, tree)))
			return code;
	for (unsigned k = 0; k < config->routes_count; k++)
		if (!config_goes_on(&code, check_route(config, k, tree)))
			return code;
	for (unsigned k = 0; k < config->route_files_count; k++)
		if (!config_goes_on(&code, check_route_file(config, k, tree)))
			return code;
	if (!config_goes_on(&code, check_metrics(config, tree)))
		return code;
	return code ? code : check_kernel(config, tree);
}
