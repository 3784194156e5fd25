/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All p2pnics among a host's PCI functions, and who can reach whom by peer-to-peer DMA. Reads only:
 * nothing is bound, unbound or opened.
 *
 *              root complex            A and B: by the switch, if neither downstream port redirects
 *             /            \           (ACS); else up to the root complex
 *        root port      root port      A and C: through the root complex, where the host's routes
 *            |              |          peer-to-peer
 *         upstream          C
 *          /    \
 *   downstream  downstream
 *        |        |
 *        A        B
 *
 * The way is what the tree permits. What a transfer really does depends on the bus address too: a
 * switch turns around what lies in a BAR below it, and passes everything else up.
 */
#ifndef DRIVER_PCI_TOPOLOGY_H
#define DRIVER_PCI_TOPOLOGY_H

#include <p2pnic/limits.h>

#include "driver/pci_function.h"

#define PCI_NOT_LOOKED (-ENODATA) /* no folder of device files was given */

struct pci_nic {
	struct pci_function function;
	const struct pci_group *group; /* NULL: no IOMMU */
	/* May this user open /dev/vfio/GROUP and /dev/vfio/devices/CDEV for reading and writing? 0,
	 * -errno, or PCI_NOT_LOOKED. */
	int group_access, cdev_access;
};

struct pci_topology {
	struct pci_nic nic[P2PNIC_NICS_MAX]; /* in order of address */
	unsigned nics;
	struct pci_group *group[P2PNIC_NICS_MAX];
	unsigned groups;
	bool vfio;          /* a driver vfio-pci is there */
	unsigned problems;  /* functions and groups that could not be read; not among the NICs */
	struct error first; /* what was wrong with the first of them */
};

enum pci_way {
	PCI_WAY_SWITCH,  /* a switch is above both, and no port on the way redirects */
	PCI_WAY_ROOT,    /* through the root complex: only where the host's routes peer-to-peer */
	PCI_WAY_PORT,    /* behind one port that is no switch's: a matter of that device or bus */
	PCI_WAY_UNKNOWN, /* a switch is above both; whether a port redirects cannot be read */
	PCI_WAY_NONE,
};
#define PCI_WAYS (PCI_WAY_NONE + 1)

struct pci_pair {
	enum pci_way way;
	char reason[256]; /* a sentence for the user */
};

/*
 * sysfs: "/sys"; dev: "/dev", or NULL to leave device files alone (a recorded tree has none). 0,
 * also with none found; or -errno and a sentence: `sysfs` is none, out of memory, or there are more
 * than P2PNIC_NICS_MAX. pci_topology_free afterwards.
 */
int pci_topology_read(
	struct pci_topology **topology, const char *sysfs, const char *dev, struct error *error);
void pci_topology_free(struct pci_topology *topology);

/* Between two different NICs, by their index; the same in both directions. */
struct pci_pair pci_topology_pair(const struct pci_topology *topology, unsigned a, unsigned b);

/* Who keeps VFIO from opening the NIC's group: another member with a driver of its own. NULL:
 * nobody. */
const struct pci_member *pci_nic_obstacle(const struct pci_nic *nic);

/* "switch", "root-complex", "port", "unknown", "none". */
const char *pci_way_name(enum pci_way way);

#endif
