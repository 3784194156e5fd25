/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/nic_list.h"
#include "cli/command.h"
#include "cli/pci_host.h"
#include "ipc/log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>

static const struct command_option options[] = {OPTION_JSON,
	PCI_HOST_SYSFS_OPTION("a recorded tree instead of /sys; its NICs are not opened"),
	OPTION_HELP};

const struct command_syntax nic_list_syntax = {
	.name = "nic list",
	.usage = "usage: p2pnic nic list [-j] [--sysfs DIR]\n"
		 "\n"
		 "PCI NICs of this host: driver, IOMMU group, BARs, the ports above; then each "
		 "pair, and "
		 "by\n"
		 "which way peer-to-peer DMA goes between the two; then the commands that bind or "
		 "free "
		 "them.\n"
		 "Nothing is bound, freed or opened. As root, ACS of the ports is known too.\n",
	.options = options,
};

#define CELL 64u

static const struct {
	unsigned bit;
	const char *name;
} acs_bits[] = {{PCI_ACS_SV, "SV"}, {PCI_ACS_TB, "TB"}, {PCI_ACS_RR, "RR"}, {PCI_ACS_CR, "CR"},
	{PCI_ACS_UF, "UF"}, {PCI_ACS_EC, "EC"}, {PCI_ACS_DT, "DT"}};
#define ACS_BITS (sizeof(acs_bits) / sizeof(*acs_bits))

static const char *acs_name(enum pci_acs_state state)
{
	static const char *const name[] = {[PCI_ACS_ABSENT] = "none",
		[PCI_ACS_PRESENT] = "present",
		[PCI_ACS_NEEDS_ROOT] = "needs root",
		[PCI_ACS_UNKNOWN] = "unknown"};

	return name[state];
}

static const char *port_name(unsigned type)
{
	return type == PCI_EXP_TYPE_ROOT_PORT    ? "root"
	       : type == PCI_EXP_TYPE_UPSTREAM   ? "upstream"
	       : type == PCI_EXP_TYPE_DOWNSTREAM ? "downstream"
	       : type == PCI_TYPE_UNKNOWN        ? "unknown"
						 : "bridge";
}

/* Can this user open it, by either of VFIO's ways? */
static const char *access_name(const struct pci_nic *nic)
{
	int group = nic->group_access, cdev = nic->cdev_access;

	if (group == 0 || cdev == 0)
		return "yes";
	if (group == -EACCES || cdev == -EACCES)
		return "denied";
	return group == PCI_NOT_LOOKED && cdev == PCI_NOT_LOOKED ? "unknown" : "absent";
}

/* --- Table ------------------------------------------------------------------------------------ */

static const char *size_cell(char cell[CELL], uint64_t bytes)
{
	static const char unit[] = "BKMGT";
	unsigned k = 0;

	for (; bytes && bytes % 1024 == 0 && unit[k + 1]; k++)
		bytes /= 1024;
	if (!bytes)
		return "-";
	snprintf(cell, CELL, "%" PRIu64 "%.*s", bytes, k != 0, &unit[k]);
	return cell;
}

static const char *number_cell(char cell[CELL], int number)
{
	if (number < 0)
		return "-";
	snprintf(cell, CELL, "%d", number);
	return cell;
}

/* "16.0 GT/s x16" */
static const char *link_cell(char cell[CELL], const struct pci_link *link)
{
	const char *rest = strstr(link->speed, " PCIe");

	if (!*link->speed || !link->width)
		return "-";
	snprintf(cell, CELL, "%.*s x%u",
		(int)(rest ? rest - link->speed : (ptrdiff_t)strlen(link->speed)), link->speed,
		link->width);
	return cell;
}

/* As lspci has it: what the port can, and + for what is switched on. */
static const char *acs_cell(char cell[CELL], const struct pci_acs *acs)
{
	size_t length = 0;

	snprintf(cell, CELL, "%s", acs_name(acs->state));
	for (unsigned k = 0; acs->state == PCI_ACS_PRESENT && k < ACS_BITS; k++)
		if (acs->capability & acs_bits[k].bit)
			length += (size_t)snprintf(cell + length, CELL - length, "%s%s%c",
				length ? " " : "", acs_bits[k].name,
				acs->control & acs_bits[k].bit ? '+' : '-');
	return cell;
}

static void print_nics(const struct pci_topology *t)
{
	char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL], f[CELL], at[PCI_ADDRESS_TEXT];

	printf("%-13s  %-15s  %5s  %4s  %-14s  %5s  %5s  %5s  %-7s  %s\n", "nic", "driver", "group",
		"numa", "link", "bar0", "bar2", "bar4", "access", "below");
	for (unsigned k = 0; k < t->nics; k++) {
		const struct pci_nic *nic = &t->nic[k];
		const struct pci_function *n = &nic->function;

		printf("%-13s  %-15s  %5s  %4s  %-14s  %5s  %5s  %5s  %-7s  %s",
			pci_address_text(at, n->address), *n->driver ? n->driver : "-",
			number_cell(a, n->group), number_cell(b, n->numa_node),
			link_cell(c, &n->link), size_cell(d, n->bar[0].bytes),
			size_cell(e, n->bar[2].bytes), size_cell(f, n->bar[4].bytes),
			access_name(nic), n->host);
		for (unsigned bridge = n->bridges; bridge-- > 0;)
			printf(" > %s", pci_address_text(at, n->bridge[bridge].address));
		putchar('\n');
	}
}

/* Was this port among those of an earlier NIC? */
static bool shown(const struct pci_topology *t, unsigned nic, const struct pci_bridge *port)
{
	for (unsigned k = 0; k < nic; k++)
		for (unsigned i = 0; i < t->nic[k].function.bridges; i++)
			if (pci_address_key(t->nic[k].function.bridge[i].address) ==
				pci_address_key(port->address))
				return true;
	return false;
}

static void print_ports(const struct pci_topology *t)
{
	char link[CELL], acs[CELL], at[PCI_ADDRESS_TEXT];
	unsigned ports = 0;

	for (unsigned k = 0; k < t->nics; k++)
		for (unsigned i = t->nic[k].function.bridges; i-- > 0;) {
			const struct pci_bridge *port = &t->nic[k].function.bridge[i];

			if (shown(t, k, port))
				continue;
			if (!ports++)
				printf("\n%-13s  %-10s  %-9s  %-14s  %s\n", "port", "type", "id",
					"link", "acs");
			printf("%-13s  %-10s  %04x:%04x  %-14s  %s\n",
				pci_address_text(at, port->address), port_name(port->type),
				port->vendor, port->device, link_cell(link, &port->link),
				acs_cell(acs, &port->acs));
		}
}

static void print_groups(const struct pci_topology *t)
{
	char at[PCI_ADDRESS_TEXT];

	if (t->groups)
		printf("\n%5s  %s\n", "group", "members");
	for (unsigned k = 0; k < t->groups; k++) {
		printf("%5d ", t->group[k]->number);
		for (unsigned m = 0; m < t->group[k]->members; m++) {
			const struct pci_member *member = &t->group[k]->member[m];

			printf(" %s%s%s%s", pci_address_text(at, member->address),
				*member->driver ? " (" : "", member->driver,
				*member->driver ? ")" : "");
		}
		putchar('\n');
	}
}

static void print_pairs(const struct pci_topology *t)
{
	char a[PCI_ADDRESS_TEXT], b[PCI_ADDRESS_TEXT];

	if (t->nics > 1)
		printf("\n%-13s  %-13s  %-12s  %s\n", "nic", "nic", "way", "reason");
	for (unsigned i = 0; i < t->nics; i++)
		for (unsigned j = i + 1; j < t->nics; j++) {
			const struct pci_pair pair = pci_topology_pair(t, i, j);

			printf("%-13s  %-13s  %-12s  %s\n",
				pci_address_text(a, t->nic[i].function.address),
				pci_address_text(b, t->nic[j].function.address),
				pci_way_name(pair.way), pair.reason);
		}
}

/* What root can do about it: "bind", "free", or NULL: vfio-pci refuses what has no IOMMU group, and
 * access by sysfs wants no driver. */
static const char *command_of(const struct pci_host *host, const struct pci_nic *nic,
	char command[PCI_HOST_COMMAND_BYTES])
{
	const struct pci_function *n = &nic->function;

	if (!strcmp(n->driver, PCI_DRIVER_VFIO) || (!nic->group && *n->driver)) {
		pci_host_release(command, n->address);
		return "free";
	}
	if (!nic->group)
		return NULL;
	pci_host_bind(host, command, n->address, n->driver);
	return "bind";
}

static void print_commands(const struct pci_host *host)
{
	char command[PCI_HOST_COMMAND_BYTES], at[PCI_ADDRESS_TEXT];

	printf("\n%-13s  %-4s  %s\n", "nic", "to", "command, as root");
	for (unsigned k = 0; k < host->topology->nics; k++) {
		const struct pci_nic *nic = &host->topology->nic[k];
		const char *what = command_of(host, nic, command);

		printf("%-13s  %-4s  %s\n", pci_address_text(at, nic->function.address),
			what ? what : "-",
			what ? command : "no IOMMU group, and vfio-pci takes no NIC without one");
	}
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *json_address(struct pci_address address)
{
	char at[PCI_ADDRESS_TEXT];

	return json_string(pci_address_text(at, address));
}

static json_t *json_text(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *json_number(int number)
{
	return number >= 0 ? json_integer(number) : json_null();
}

static json_t *json_link(const struct pci_link *link)
{
	return json_pack("{s:o, s:o}", "speed", json_text(link->speed), "width",
		json_number(link->width ? (int)link->width : -1));
}

static json_t *json_bits(const struct pci_acs *acs, unsigned word)
{
	json_t *bits = json_array();

	for (unsigned k = 0; k < ACS_BITS; k++)
		if (word & acs_bits[k].bit)
			json_array_append_new(bits, json_string(acs_bits[k].name));
	return acs->state == PCI_ACS_PRESENT ? bits : (json_decref(bits), json_null());
}

static json_t *json_port(const struct pci_bridge *port)
{
	return json_pack("{s:o, s:s, s:i, s:i, s:o, s:{s:s, s:o, s:o}}", "address",
		json_address(port->address), "type", port_name(port->type), "vendor", port->vendor,
		"device", port->device, "link", json_link(&port->link), "acs", "state",
		acs_name(port->acs.state), "capability",
		json_bits(&port->acs, port->acs.capability), "control",
		json_bits(&port->acs, port->acs.control));
}

static json_t *json_group(const struct pci_group *group)
{
	json_t *members = json_array();

	if (!group)
		return json_decref(members), json_null();
	for (unsigned k = 0; k < group->members; k++)
		json_array_append_new(members,
			json_pack("{s:o, s:o}", "address", json_address(group->member[k].address),
				"driver", json_text(group->member[k].driver)));
	return json_pack("{s:i, s:o}", "number", group->number, "members", members);
}

static json_t *json_nic(const struct pci_host *host, const struct pci_nic *nic)
{
	const struct pci_function *n = &nic->function;
	json_t *bars = json_array(), *ports = json_array();
	char command[PCI_HOST_COMMAND_BYTES];
	const char *what = command_of(host, nic, command);

	for (unsigned k = 0; k < PCI_BARS; k++)
		if (n->bar[k].bytes)
			json_array_append_new(bars, json_pack("{s:i, s:I, s:I}", "bar", k, "start",
							    (json_int_t)n->bar[k].start, "bytes",
							    (json_int_t)n->bar[k].bytes));
	for (unsigned k = n->bridges; k-- > 0;)
		json_array_append_new(ports, json_port(&n->bridge[k]));
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o}", "address",
		json_address(n->address), "driver", json_text(n->driver), "iommu_group",
		json_group(nic->group), "numa_node", json_number(n->numa_node), "link",
		json_link(&n->link), "bars", bars, "host_bridge", n->host, "access",
		access_name(nic), "cdev", json_text(n->cdev), "ports", ports, "bind",
		json_text(what && *what == 'b' ? command : ""), "free",
		json_text(what && *what == 'f' ? command : ""));
}

static void print_json(const struct pci_host *host)
{
	const struct pci_topology *t = host->topology;
	json_t *nics = json_array(), *pairs = json_array(), *all;

	for (unsigned i = 0; i < t->nics; i++) {
		json_array_append_new(nics, json_nic(host, &t->nic[i]));
		for (unsigned j = i + 1; j < t->nics; j++) {
			const struct pci_pair pair = pci_topology_pair(t, i, j);

			json_array_append_new(
				pairs, json_pack("{s:[o, o], s:s, s:s}", "nics",
					       json_address(t->nic[i].function.address),
					       json_address(t->nic[j].function.address), "way",
					       pci_way_name(pair.way), "reason", pair.reason));
		}
	}
	all = json_pack(
		"{s:o, s:o, s:i}", "nics", nics, "pairs", pairs, "problems", (int)t->problems);
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

int nic_list(int argc, char **argv)
{
	struct pci_host host = {.command = "nic list"};
	int status = pci_host_read(&host, argc, argv, &nic_list_syntax);
	const struct pci_topology *t = host.topology;

	if (status != PCI_HOST_RUN)
		return status;
	if (host.json) {
		print_json(&host);
	} else if (!t->nics) {
		printf("no p2pnic among this host's PCI functions (%04x:%04x)\n", P2PNIC_PCI_VENDOR,
			P2PNIC_PCI_DEVICE);
	} else {
		print_nics(t);
		print_pairs(t);
		print_ports(t);
		print_groups(t);
		print_commands(&host);
	}
	if (t->problems)
		log_say(LOG_ERROR, "p2pnic nic list", "%s (unreadable in all: %u)", t->first.text,
			t->problems);
	status = t->problems ? COMMAND_FAILED : COMMAND_OK;
	pci_topology_free(host.topology);
	return status;
}
