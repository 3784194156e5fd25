/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/pci_host.h"
#include "cli/command.h"
#include "ipc/log.h"

#include <stdio.h>
#include <string.h>

#define FOLDER "/sys/bus/pci/devices/"

int pci_host_read(struct pci_host *host, int argc, char **argv, const struct command_syntax *syntax)
{
	const char *sysfs = "/sys";
	struct command_line line;
	int option;

	command_begin(&line, syntax, argc, argv);
	while ((option = command_option(&line)) >= 0) {
		switch (option) {
		case 'j':
			host->json = true;
			break;
		case PCI_HOST_SYSFS:
			sysfs = optarg;
			break;
		}
	}
	if (line.status != COMMAND_GO)
		return line.status;
	if (optind != argc)
		return command_refuse(&line);
	return pci_host_look(host, sysfs);
}

int pci_host_look(struct pci_host *host, const char *sysfs)
{
	struct error error;
	char who[32];

	if (pci_topology_read(
		    &host->topology, sysfs, strcmp(sysfs, "/sys") != 0 ? NULL : "/dev", &error)) {
		snprintf(who, sizeof(who), "p2pnic %s", host->command);
		log_say(LOG_ERROR, who, "%s", error.text);
		return COMMAND_FAILED;
	}
	return PCI_HOST_RUN;
}

/* driver_override: Documentation/ABI/testing/sysfs-bus-pci of the kernel. Without it, a new_id of
 * vfio-pci would take every NIC of the kind. */
void pci_host_bind(const struct pci_host *host, char command[PCI_HOST_COMMAND_BYTES],
	struct pci_address address, const char *driver)
{
	char at[PCI_ADDRESS_TEXT], unbind[64] = "";

	pci_address_text(at, address);
	if (*driver)
		snprintf(unbind, sizeof(unbind), "echo %s > driver/unbind && ", at);
	snprintf(command, PCI_HOST_COMMAND_BYTES,
		"(%scd " FOLDER "%s && echo " PCI_DRIVER_VFIO
		" > driver_override && %secho %s > /sys/bus/pci/drivers_probe)",
		host->topology->vfio ? "" : "modprobe vfio-pci && ", at, unbind, at);
}

void pci_host_release(char command[PCI_HOST_COMMAND_BYTES], struct pci_address address)
{
	char at[PCI_ADDRESS_TEXT];

	pci_address_text(at, address);
	snprintf(command, PCI_HOST_COMMAND_BYTES,
		"(cd " FOLDER "%s && echo > driver_override && echo %s > driver/unbind)", at, at);
}
