/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One PCI function as sysfs describes it: what it is, who drives it, where it hangs. Reads only.
 *
 *   /sys/bus/pci/devices/0000:03:00.0 → ../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/
 *                                        0000:02:00.0/0000:03:00.0
 *                                        host    bridge[2]     bridge[1]     bridge[0]
 *
 * The link's target names every bridge above the function: here a root port, a switch's upstream
 * port and its downstream port. `sysfs` is "/sys", or the folder of a recorded tree.
 *
 * What a driver acts on must be readable (identity, BARs, driver, IOMMU group, the place), or
 * pci_function_read fails with a sentence that names the file. The rest may be unknown.
 */
#ifndef DRIVER_PCI_FUNCTION_H
#define DRIVER_PCI_FUNCTION_H

#include <linux/pci_regs.h>
#include <p2pnic/registers.h>
#include <stdbool.h>

#include "ipc/error.h"

#define PCI_BRIDGES_MAX      32u /* a deeper tree is refused */
#define PCI_BARS             6u
#define PCI_GROUP_NONE       (-1)
#define PCI_NUMA_UNKNOWN     (-1)
#define PCI_TYPE_UNKNOWN     0xffu
#define PCI_ADDRESS_TEXT     20u /* "10000:e1:00.0"; domains of VMD have five digits and more */
#define PCI_NAME_BYTES       40u
#define PCI_GROUP_MEMBERS    256u
#define PCI_DRIVER_VFIO      "vfio-pci"
/* Of a control word: transfers are sent up instead of across, as the kernel judges too. */
#define PCI_ACS_REDIRECTS(c) ((c) & (PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC))

struct pci_address {
	uint32_t domain;
	uint8_t bus;
	uint8_t device;
	uint8_t function;
};

struct pci_bar {
	uint64_t start; /* as the host's processor sees it; 0: it was given no addresses */
	uint64_t bytes; /* 0: absent */
	uint64_t flags; /* IORESOURCE_* of the kernel; 0x200: memory */
};

/* Access Control Services, PCI Express Base 4.0, 7.7.8 (extended capability 0x000d). */
enum pci_acs_state {
	PCI_ACS_ABSENT,     /* the port has no such capability: it redirects nothing */
	PCI_ACS_PRESENT,    /* capability and control are valid */
	PCI_ACS_NEEDS_ROOT, /* unknown: only root reads that far */
	PCI_ACS_UNKNOWN,    /* no configuration space, or a damaged one */
};

struct pci_acs {
	enum pci_acs_state state;
	uint16_t capability; /* PCI_ACS_* of linux/pci_regs.h: what the port can */
	uint16_t control;    /* what is switched on */
};

/* Of the link towards the root. */
struct pci_link {
	char speed[PCI_NAME_BYTES]; /* "16.0 GT/s PCIe"; "": unknown */
	unsigned width;             /* lanes; 0: unknown */
};

struct pci_bridge {
	struct pci_address address;
	uint16_t vendor, device; /* 0: unknown */
	uint8_t type;            /* PCI_EXP_TYPE_*, or PCI_TYPE_UNKNOWN */
	struct pci_acs acs;
	struct pci_link link;
};

struct pci_function {
	struct pci_address address;
	uint16_t vendor, device;
	uint32_t class;
	char driver[PCI_NAME_BYTES]; /* "": none */
	char cdev[PCI_NAME_BYTES];   /* "vfio0" of /dev/vfio/devices; "": none */
	int group;                   /* IOMMU group, or PCI_GROUP_NONE */
	int numa_node;
	struct pci_bar bar[PCI_BARS];
	struct pci_link link;
	char host[PCI_NAME_BYTES];                 /* the host bridge: "pci0000:00" */
	struct pci_bridge bridge[PCI_BRIDGES_MAX]; /* [0] is the nearest */
	unsigned bridges;                          /* 0: it hangs on the root complex itself */
};

/* A function of an IOMMU group. */
struct pci_member {
	struct pci_address address;
	char driver[PCI_NAME_BYTES];
};

struct pci_group {
	int number;
	struct pci_member member[PCI_GROUP_MEMBERS];
	unsigned members;
};

/* "DDDD:BB:DD.F", nothing before or behind it. */
bool pci_address_parse(const char *text, struct pci_address *address);
const char *pci_address_text(char text[PCI_ADDRESS_TEXT], struct pci_address address);

/* Equal for equal addresses, and in their order. */
static inline uint64_t pci_address_key(struct pci_address a)
{
	return (uint64_t)a.domain << 16 | a.bus << 8 | a.device << 3 | a.function;
}

/*
 * 0 and the function, or -errno and a sentence. -ENOENT: no such function. For a driver that opens
 * it by VFIO: it must be bound to PCI_DRIVER_VFIO, group names /dev/vfio/GROUP, cdev
 * /dev/vfio/devices/CDEV.
 */
int pci_function_read(struct pci_function *function, const char *sysfs, struct pci_address address,
	struct error *error);

/* Vendor and device alone, for a scan: 0, or -errno and a sentence. */
int pci_function_identity(const char *sysfs, struct pci_address address, uint16_t *vendor,
	uint16_t *device, struct error *error);

/* Everybody in an IOMMU group, the asker included. */
int pci_group_read(struct pci_group *group, const char *sysfs, int number, struct error *error);

/* May a member with this driver stay as it is while VFIO opens the group? With none, with VFIO's,
 * and with those that let others do the DMA (driver_managed_dma of the kernel). */
bool pci_driver_harmless(const char *driver);

#endif
