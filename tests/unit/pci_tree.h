/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sysfs tree in a folder of its own, made from a description: what the kernel shows of PCI
 * functions, with configuration spaces of real layout. A test makes a whole host with tree_add, and
 * then breaks single files with tree_write, tree_link and tree_remove.
 */
#ifndef TESTS_PCI_TREE_H
#define TESTS_PCI_TREE_H

#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_NIC     0x12090002u
#define TREE_NO_ACS  (-1)
#define TREE_NO_TYPE 0xffu

struct tree_function {
	const char *above; /* "pci0000:00/0000:00:01.0": where it hangs */
	const char *address;
	uint32_t identity;  /* vendor << 16 | device; 0: a NIC */
	const char *driver; /* NULL: none */
	int group;          /* 0: none; else its number */
	unsigned type;      /* PCI_EXP_TYPE_*, TREE_NO_TYPE */
	int acs;            /* control word; TREE_NO_ACS: no such capability */
	unsigned config;    /* bytes of configuration space to show; 0: 4096 */
};

struct tree {
	char sysfs[64];
	char dev[64];
	char base[32];
};

void tree_make(struct tree *tree);
void tree_remove_all(struct tree *tree);
void tree_add(struct tree *tree, const struct tree_function *function);

/* Ports and NICs of a switch below root port 0000:00:01.0: downstream ports 0000:02:00.0 …, NICs
 * 0000:03:00.0 …, each in the IOMMU group given, 0: one each, from 10. */
void tree_add_switch(struct tree *tree, unsigned nics, int acs, int group, unsigned config);

/* Files below the tree: "bus/pci/devices/0000:03:00.0/vendor". */
void tree_write(struct tree *tree, const char *file, const void *data, size_t bytes);
void tree_text(struct tree *tree, const char *file, const char *text);
void tree_link(struct tree *tree, const char *file, const char *target);
void tree_remove(struct tree *tree, const char *file);

/* PM at 0x40, PCI Express at 0x70, error reporting at 0x100, ACS at 0x140. */
void tree_config(uint8_t config[PCI_CFG_SPACE_EXP_SIZE], const struct tree_function *function);

#endif
