/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/pci_topology.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(struct pci_topology *t, const struct error *error)
{
	if (!t->problems++)
		t->first = *error;
}

/* Every p2pnic. */
static int scan(struct pci_topology *t, const char *sysfs, struct error *error)
{
	char path[PATH_MAX];
	struct dirent *entry;
	struct error problem;
	int status = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/bus", sysfs);
	if (access(path, X_OK))
		return error_set(
			error, -errno, "%s: %s; %s is no sysfs", path, strerror(errno), sysfs);
	snprintf(path, sizeof(path), "%s/bus/pci/devices", sysfs);
	dir = opendir(path);
	if (!dir && errno == ENOENT) /* a host without PCI */
		return 0;
	if (!dir)
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	while (!status && (entry = readdir(dir))) {
		struct pci_address address;
		uint16_t vendor, device;

		if (!pci_address_parse(entry->d_name, &address))
			continue;
		if (pci_function_identity(sysfs, address, &vendor, &device, &problem)) {
			note(t, &problem);
			continue;
		}
		if (vendor != P2PNIC_PCI_VENDOR || device != P2PNIC_PCI_DEVICE)
			continue;
		if (t->nics == P2PNIC_NICS_MAX)
			status = error_set(
				error, -E2BIG, "%s: more than %u NICs", path, P2PNIC_NICS_MAX);
		else if (pci_function_read(&t->nic[t->nics].function, sysfs, address, &problem))
			note(t, &problem);
		else
			t->nics++;
	}
	closedir(dir);
	return status;
}

static int by_address(const void *a, const void *b)
{
	const struct pci_nic *x = a, *y = b;

	return pci_address_key(x->function.address) < pci_address_key(y->function.address) ? -1 : 1;
}

/* Each group once. */
static int add_group(
	struct pci_topology *t, struct pci_nic *nic, const char *sysfs, struct error *error)
{
	struct error problem;

	if (nic->function.group == PCI_GROUP_NONE)
		return 0;
	for (unsigned k = 0; k < t->groups && !nic->group; k++)
		if (t->group[k]->number == nic->function.group)
			nic->group = t->group[k];
	if (nic->group)
		return 0;
	t->group[t->groups] = malloc(sizeof(struct pci_group));
	if (!t->group[t->groups])
		return error_set(error, -ENOMEM, "IOMMU groups: %s", strerror(ENOMEM));
	nic->group = t->group[t->groups];
	if (pci_group_read(t->group[t->groups++], sysfs, nic->function.group, &problem))
		note(t, &problem);
	return 0;
}

static int may_open(const char *dev, const char *format, const char *name)
{
	char path[PATH_MAX];
	int n;

	if (!dev)
		return PCI_NOT_LOOKED;
	n = snprintf(path, sizeof(path), "%s/vfio/", dev);
	snprintf(path + n, sizeof(path) - (size_t)n, "%s%s", format, name);
	return faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) ? -errno : 0;
}

int pci_topology_read(
	struct pci_topology **topology, const char *sysfs, const char *dev, struct error *error)
{
	struct pci_topology *t = calloc(1, sizeof(*t));
	char path[PATH_MAX];
	int status;

	if (!t)
		return error_set(error, -ENOMEM, "PCI topology: %s", strerror(ENOMEM));
	status = scan(t, sysfs, error);
	qsort(t->nic, t->nics, sizeof(*t->nic), by_address);
	for (unsigned k = 0; !status && k < t->nics; k++) {
		struct pci_nic *nic = &t->nic[k];
		char number[16];

		status = add_group(t, nic, sysfs, error);
		snprintf(number, sizeof(number), "%d", nic->function.group);
		nic->group_access = nic->group ? may_open(dev, "", number) : PCI_NOT_LOOKED;
		nic->cdev_access = *nic->function.cdev
					   ? may_open(dev, "devices/", nic->function.cdev)
					   : PCI_NOT_LOOKED;
	}
	if (status) {
		pci_topology_free(t);
		return status;
	}
	snprintf(path, sizeof(path), "%s/bus/pci/drivers/" PCI_DRIVER_VFIO, sysfs);
	t->vfio = access(path, F_OK) == 0;
	*topology = t;
	return 0;
}

void pci_topology_free(struct pci_topology *t)
{
	for (unsigned k = 0; k < t->groups; k++)
		free(t->group[k]);
	free(t);
}

const struct pci_member *pci_nic_obstacle(const struct pci_nic *nic)
{
	if (!nic->group)
		return NULL;
	for (unsigned k = 0; k < nic->group->members; k++) {
		const struct pci_member *member = &nic->group->member[k];

		if (pci_address_key(member->address) != pci_address_key(nic->function.address) &&
			!pci_driver_harmless(member->driver))
			return member;
	}
	return NULL;
}

const char *pci_way_name(enum pci_way way)
{
	static const char *const name[PCI_WAYS] = {
		[PCI_WAY_SWITCH] = "switch",
		[PCI_WAY_ROOT] = "root-complex",
		[PCI_WAY_PORT] = "port",
		[PCI_WAY_UNKNOWN] = "unknown",
		[PCI_WAY_NONE] = "none",
	};

	return name[way];
}

static struct pci_pair __attribute__((format(printf, 2, 3)))
pair(enum pci_way way, const char *format, ...)
{
	struct pci_pair pair = {.way = way};
	va_list list;

	va_start(list, format);
	vsnprintf(pair.reason, sizeof(pair.reason), format, list);
	va_end(list);
	return pair;
}

/* The nearest bridge above both, as the number of bridges below it on either side. */
static bool meet(const struct pci_function *a, const struct pci_function *b, unsigned *below_a,
	unsigned *below_b)
{
	for (*below_a = 0; *below_a < a->bridges; ++*below_a)
		for (*below_b = 0; *below_b < b->bridges; ++*below_b)
			if (pci_address_key(a->bridge[*below_a].address) ==
				pci_address_key(b->bridge[*below_b].address))
				return true;
	return false;
}

/* The worst of the ports below the switch, on one side: one that redirects, one that cannot be
 * read, or NULL. */
static const struct pci_bridge *worst_port(const struct pci_function *f, unsigned below)
{
	const struct pci_bridge *worst = NULL;

	for (unsigned k = 0; k < below; k++) {
		const struct pci_bridge *port = &f->bridge[k];

		if (port->acs.state == PCI_ACS_PRESENT && PCI_ACS_REDIRECTS(port->acs.control))
			return port;
		if (port->acs.state == PCI_ACS_NEEDS_ROOT || port->acs.state == PCI_ACS_UNKNOWN)
			worst = port;
	}
	return worst;
}

static struct pci_pair pair_by_switch(const struct pci_bridge *top, const struct pci_bridge *worst)
{
	char at[PCI_ADDRESS_TEXT], port[PCI_ADDRESS_TEXT];

	pci_address_text(at, top->address);
	if (!worst)
		return pair(PCI_WAY_SWITCH, "switch %s is above both, and no port redirects", at);
	pci_address_text(port, worst->address);
	if (worst->acs.state == PCI_ACS_PRESENT)
		return pair(PCI_WAY_ROOT,
			"switch %s is above both, but ACS at port %s sends transfers up to the "
			"root complex and its IOMMU",
			at, port);
	return pair(PCI_WAY_UNKNOWN,
		"switch %s is above both; whether ACS at port %s redirects is unknown (%s)", at,
		port,
		worst->acs.state == PCI_ACS_NEEDS_ROOT ? "needs root"
						       : "its configuration space is unreadable");
}

struct pci_pair pci_topology_pair(const struct pci_topology *t, unsigned a, unsigned b)
{
	const struct pci_nic *nic[2] = {&t->nic[a], &t->nic[b]};
	const struct pci_function *f = &nic[0]->function, *g = &nic[1]->function;
	char at[PCI_ADDRESS_TEXT], other[PCI_ADDRESS_TEXT];
	const struct pci_bridge *worst, *second;
	unsigned below_f, below_g;

	if (f->address.domain != g->address.domain)
		return pair(PCI_WAY_NONE,
			"PCI domains %04x and %04x: nothing routes from one into the other",
			f->address.domain, g->address.domain);
	for (unsigned k = 0; k < 2; k++) {
		const struct pci_member *member = pci_nic_obstacle(nic[k]);

		if (member)
			return pair(PCI_WAY_NONE,
				"IOMMU group %d holds %s too, with driver %s: VFIO does not open "
				"the group",
				nic[k]->function.group, pci_address_text(at, member->address),
				member->driver);
	}
	if (!meet(f, g, &below_f, &below_g)) {
		if (strcmp(f->host, g->host) != 0)
			return pair(PCI_WAY_ROOT,
				"host bridges %s and %s: only where the host routes between them",
				f->host, g->host);
		return pair(PCI_WAY_ROOT,
			"no bridge is above both: only where %s routes between %s and %s", f->host,
			pci_address_text(
				at, f->bridges ? f->bridge[f->bridges - 1].address : f->address),
			pci_address_text(other,
				g->bridges ? g->bridge[g->bridges - 1].address : g->address));
	}
	if (!below_f || !below_g ||
		(f->bridge[below_f].type != PCI_EXP_TYPE_UPSTREAM &&
			f->bridge[below_f].type != PCI_TYPE_UNKNOWN))
		return pair(PCI_WAY_PORT,
			"both are behind %s, which is no switch: only if that device or bus turns "
			"transfers around",
			pci_address_text(at, f->bridge[below_f].address));
	worst = worst_port(f, below_f);
	second = worst_port(g, below_g);
	if (!worst || (second && second->acs.state == PCI_ACS_PRESENT))
		worst = second;
	return pair_by_switch(&f->bridge[below_f], worst);
}
