/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host's PCI NICs for commands that show them (nic list, doctor): the options that these have in
 * common, and what there is to do about a NIC, as a command for the user. Nothing is done here.
 */
#ifndef CLI_PCI_HOST_H
#define CLI_PCI_HOST_H

#include "cli/command_line.h"
#include "driver/pci_topology.h"

#define PCI_HOST_RUN           (-1)
#define PCI_HOST_COMMAND_BYTES 384

struct pci_host {
	const char *command; /* "nic list", for messages */
	bool json;
	struct pci_topology *topology;
};

#define PCI_HOST_SYSFS 1003
#define PCI_HOST_SYSFS_OPTION(about)                                                               \
	{                                                                                          \
		"sysfs", PCI_HOST_SYSFS, ARGUMENT_DIRECTORY, "DIR", about, NULL                    \
	}

/*
 * -j, --sysfs DIR, --help; then reads the host. PCI_HOST_RUN: go on, and free the topology at the
 * end; otherwise the exit status, with everything said. Folders other than /sys are recorded ones:
 * this host's device files have nothing to do with them.
 */
int pci_host_read(
	struct pci_host *host, int argc, char **argv, const struct command_syntax *syntax);
/* Only that, for a command with options of its own. */
int pci_host_look(struct pci_host *host, const char *sysfs);

/* Shell commands, for root; `driver` is who has the function now. */
void pci_host_bind(const struct pci_host *host, char command[PCI_HOST_COMMAND_BYTES],
	struct pci_address address, const char *driver);
void pci_host_release(char command[PCI_HOST_COMMAND_BYTES], struct pci_address address);

#endif
