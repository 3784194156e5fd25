/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/pci_tree.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All folders on the way to a file, by sysfs's depth of a few. */
static void make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
}

static void path_of(char path[PATH_MAX], const struct tree *tree, const char *file)
{
	snprintf(path, PATH_MAX, "%s/%s", tree->sysfs, file);
}

void tree_write(struct tree *tree, const char *file, const void *data, size_t bytes)
{
	char path[PATH_MAX];
	int fd;

	path_of(path, tree, file);
	make_folders(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, bytes), bytes);
	close(fd);
}

void tree_text(struct tree *tree, const char *file, const char *text)
{
	tree_write(tree, file, text, strlen(text));
}

void tree_link(struct tree *tree, const char *file, const char *target)
{
	char path[PATH_MAX];

	path_of(path, tree, file);
	make_folders(path);
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	return remove(path);
}

void tree_remove(struct tree *tree, const char *file)
{
	char path[PATH_MAX];

	path_of(path, tree, file);
	assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void tree_make(struct tree *tree)
{
	strcpy(tree->base, "/tmp/p2pnic-pci-XXXXXX");
	assert_non_null(mkdtemp(tree->base));
	snprintf(tree->sysfs, sizeof(tree->sysfs), "%s/sys", tree->base);
	snprintf(tree->dev, sizeof(tree->dev), "%s/dev", tree->base);
	tree_text(tree, "bus/pci/drivers/vfio-pci/module", "");
	tree_text(tree, "bus/pci/devices/none", "");
	tree_text(tree, "../dev/vfio/vfio", "");
}

void tree_remove_all(struct tree *tree)
{
	assert_int_equal(nftw(tree->base, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void put16(uint8_t *config, unsigned offset, unsigned value)
{
	config[offset] = (uint8_t)value;
	config[offset + 1] = (uint8_t)(value >> 8);
}

void tree_config(uint8_t config[PCI_CFG_SPACE_EXP_SIZE], const struct tree_function *f)
{
	uint32_t identity = f->identity ? f->identity : TREE_NIC;
	bool bridge = f->type >= PCI_EXP_TYPE_ROOT_PORT && f->type != TREE_NO_TYPE;

	memset(config, 0, PCI_CFG_SPACE_EXP_SIZE);
	put16(config, PCI_VENDOR_ID, identity >> 16);
	put16(config, PCI_DEVICE_ID, identity & 0xffff);
	put16(config, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	put16(config, PCI_STATUS, PCI_STATUS_CAP_LIST);
	put16(config, PCI_CLASS_DEVICE, bridge ? 0x0604 : 0x0200);
	config[PCI_HEADER_TYPE] = bridge ? PCI_HEADER_TYPE_BRIDGE : PCI_HEADER_TYPE_NORMAL;
	config[PCI_CAPABILITY_LIST] = 0x40;
	config[0x40] = PCI_CAP_ID_PM;
	if (f->type != TREE_NO_TYPE) {
		config[0x40 + PCI_CAP_LIST_NEXT] = 0x70;
		config[0x70] = PCI_CAP_ID_EXP;
		put16(config, 0x70 + PCI_EXP_FLAGS, 2 | f->type << 4);
	}
	put16(config, 0x100, PCI_EXT_CAP_ID_ERR);
	put16(config, 0x102, 2 | (f->acs == TREE_NO_ACS ? 0u : 0x140u << 4));
	if (f->acs != TREE_NO_ACS) {
		put16(config, 0x140, PCI_EXT_CAP_ID_ACS);
		put16(config, 0x142, 1);
		put16(config, 0x140 + PCI_ACS_CAP,
			PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF);
		put16(config, 0x140 + PCI_ACS_CTRL, (unsigned)f->acs);
	}
}

static void __attribute__((format(printf, 4, 5)))
put(struct tree *tree, const struct tree_function *f, const char *file, const char *format, ...)
{
	char path[PATH_MAX], text[64];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	snprintf(path, sizeof(path), "devices/%s/%s/%s", f->above, f->address, file);
	tree_text(tree, path, text);
}

void tree_add(struct tree *tree, const struct tree_function *f)
{
	/* 64 KiB, 16 MiB, 16 MiB, each of 64 bits: BAR0, BAR2, BAR4; then the ROM. */
	static const char bars[] = "0x00000000fe000000 0x00000000fe00ffff 0x0000000000140204\n"
				   "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
				   "0x0000004000000000 0x0000004000ffffff 0x000000000014220c\n"
				   "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
				   "0x0000004001000000 0x0000004001ffffff 0x000000000014220c\n"
				   "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
				   "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
	uint32_t identity = f->identity ? f->identity : TREE_NIC;
	uint8_t config[PCI_CFG_SPACE_EXP_SIZE];
	char path[PATH_MAX], target[PATH_MAX];
	bool bridge = f->type >= PCI_EXP_TYPE_ROOT_PORT && f->type != TREE_NO_TYPE;

	put(tree, f, "vendor", "0x%04x\n", identity >> 16);
	put(tree, f, "device", "0x%04x\n", identity & 0xffff);
	put(tree, f, "class", "0x%06x\n", bridge ? 0x060400 : 0x020000);
	put(tree, f, "numa_node", "0\n");
	put(tree, f, "current_link_width", "16\n");
	put(tree, f, "current_link_speed", "16.0 GT/s PCIe\n");
	snprintf(path, sizeof(path), "devices/%s/%s/resource", f->above, f->address);
	tree_text(tree, path, bars);
	tree_config(config, f);
	snprintf(path, sizeof(path), "devices/%s/%s/config", f->above, f->address);
	tree_write(tree, path, config, f->config ? f->config : sizeof(config));
	snprintf(path, sizeof(path), "bus/pci/devices/%s", f->address);
	snprintf(target, sizeof(target), "../../../devices/%s/%s", f->above, f->address);
	tree_link(tree, path, target);
	if (f->driver) {
		snprintf(path, sizeof(path), "devices/%s/%s/driver", f->above, f->address);
		snprintf(target, sizeof(target), "../../../../bus/pci/drivers/%s", f->driver);
		tree_link(tree, path, target);
	}
	if (f->group) {
		snprintf(path, sizeof(path), "devices/%s/%s/iommu_group", f->above, f->address);
		snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%d", f->group);
		tree_link(tree, path, target);
		snprintf(path, sizeof(path), "kernel/iommu_groups/%d/devices/%s", f->group,
			f->address);
		snprintf(target, sizeof(target), "../../../../devices/%s/%s", f->above, f->address);
		tree_link(tree, path, target);
	}
}

void tree_add_switch(struct tree *tree, unsigned nics, int acs, int group, unsigned config)
{
	char above[128], address[32];
	struct tree_function f = {.above = "pci0000:00",
		.address = "0000:00:01.0",
		.identity = 0x1b36000c,
		.driver = "pcieport",
		.group = group ? group : 1,
		.type = PCI_EXP_TYPE_ROOT_PORT,
		.acs = PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF,
		.config = config};

	tree_add(tree, &f);
	f.above = "pci0000:00/0000:00:01.0";
	f.address = "0000:01:00.0";
	f.identity = 0x104c8232;
	f.group = group ? group : 2;
	f.type = PCI_EXP_TYPE_UPSTREAM;
	f.acs = TREE_NO_ACS;
	tree_add(tree, &f);
	for (unsigned k = 0; k < nics; k++) {
		struct tree_function port = f, nic = {.above = above,
						       .address = address,
						       .driver = "vfio-pci",
						       .group = group ? group : 10 + (int)k,
						       .type = PCI_EXP_TYPE_ENDPOINT,
						       .acs = TREE_NO_ACS,
						       .config = config};

		port.above = "pci0000:00/0000:00:01.0/0000:01:00.0";
		port.address = address;
		port.identity = 0x104c8233;
		port.type = PCI_EXP_TYPE_DOWNSTREAM;
		port.acs = acs;
		snprintf(address, sizeof(address), "0000:02:%02x.0", k);
		tree_add(tree, &port);
		snprintf(above, sizeof(above), "%s/%s", port.above, address);
		snprintf(address, sizeof(address), "0000:%02x:00.0", 3 + k);
		tree_add(tree, &nic);
	}
}
