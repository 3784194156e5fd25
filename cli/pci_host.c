/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/pci_host.h"
#include "cli/command.h"
#include "ipc/log.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "/sys/bus/pci/devices/"

int pci_host_read(struct pci_host *host, int argc, char **argv, const char *usage)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
		{"sysfs", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *sysfs = "/sys";
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			host->json = true;
			break;
		case 's':
			sysfs = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return COMMAND_OK;
		default:
			fputs(usage, stderr);
			return COMMAND_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return COMMAND_USAGE;
	}
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
