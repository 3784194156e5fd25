/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of sysfs: Documentation/ABI/testing/sysfs-bus-pci of the kernel, and
 * Documentation/PCI/sysfs-pci.rst.
 */
#include "driver/pci_function.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/pci_capability.h"

/* A function's folder, and who it is in messages. */
struct folder {
	char path[PATH_MAX];
	char name[PCI_ADDRESS_TEXT];
};

static bool hex(const char **text, unsigned digits_min, unsigned digits_max, uint64_t *value)
{
	unsigned digits = 0;

	for (*value = 0; digits < digits_max && isxdigit((unsigned char)**text); digits++) {
		char digit = *(*text)++;

		*value = *value << 4 |
			 (unsigned)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
	}
	return digits >= digits_min;
}

static bool skip(const char **text, const char *expected)
{
	size_t length = strlen(expected);

	if (strncmp(*text, expected, length) != 0)
		return false;
	*text += length;
	return true;
}

bool pci_address_parse(const char *text, struct pci_address *address)
{
	uint64_t domain, bus, device, function;

	if (!hex(&text, 4, 8, &domain) || !skip(&text, ":") || !hex(&text, 2, 2, &bus) ||
		!skip(&text, ":") || !hex(&text, 2, 2, &device) || !skip(&text, ".") ||
		!hex(&text, 1, 1, &function) || *text || device > 31 || function > 7)
		return false;
	*address = (struct pci_address){
		(uint32_t)domain, (uint8_t)bus, (uint8_t)device, (uint8_t)function};
	return true;
}

const char *pci_address_text(char text[PCI_ADDRESS_TEXT], struct pci_address a)
{
	snprintf(text, PCI_ADDRESS_TEXT, "%04x:%02x:%02x.%x", a.domain, a.bus, a.device & 31u,
		a.function & 7u);
	return text;
}

bool pci_driver_harmless(const char *driver)
{
	return !*driver || strstr(driver, "vfio") || !strcmp(driver, "pci-stub") ||
	       !strcmp(driver, "pcieport");
}

static void folder_of(struct folder *folder, const char *sysfs, struct pci_address address)
{
	pci_address_text(folder->name, address);
	snprintf(folder->path, sizeof(folder->path), "%s/bus/pci/devices/%s", sysfs, folder->name);
}

/* The file's first bytes; their number, or -errno. */
static int read_file(const struct folder *folder, const char *file, void *data, size_t size)
{
	char path[PATH_MAX + 64];
	size_t have = 0;
	ssize_t n = 1;
	int fd, error = 0;

	snprintf(path, sizeof(path), "%s/%s", folder->path, file);
	/* In a recorded tree anything may lie there: do not wait for a pipe's writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	while (have < size && n > 0) {
		n = read(fd, (char *)data + have, size - have);
		if (n > 0)
			have += (size_t)n;
		else if (n < 0)
			error = -errno;
	}
	close(fd);
	return have ? (int)have : error;
}

/* A text file without its line's end. What is no printable character is shown as '?'. */
static int read_text(const struct folder *folder, const char *file, char *text, size_t size)
{
	int n = read_file(folder, file, text, size - 1);

	if (n < 0)
		return n;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	for (char *c = text; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	return 0;
}

/* A name that is short enough, and that any terminal shows. */
static bool copy_name(char name[PCI_NAME_BYTES], const char *text)
{
	size_t length = strlen(text);

	if (!length || length >= PCI_NAME_BYTES)
		return false;
	for (const char *c = text; *c; c++)
		if (!isgraph((unsigned char)*c))
			return false;
	memcpy(name, text, length + 1);
	return true;
}

/* "0x1209" and nothing else. */
static int read_hex(const struct folder *folder, const char *file, unsigned digits, uint64_t *value,
	struct error *error)
{
	char text[32];
	const char *rest = text;
	int status = read_text(folder, file, text, sizeof(text));

	if (status)
		return error_set(error, status, "%s: %s/%s: %s", folder->name, folder->path, file,
			strerror(-status));
	if (!skip(&rest, "0x") || !hex(&rest, 1, digits, value) || *rest)
		return error_set(error, -EINVAL,
			"%s: %s/%s: '%s' is no number of %u hexadecimal "
			"digits",
			folder->name, folder->path, file, text, digits);
	return 0;
}

/* The name that a link's target ends with. 0, or -errno; -ENOENT: no link. */
static int read_link(const struct folder *folder, const char *file, char name[PCI_NAME_BYTES])
{
	char path[PATH_MAX + 64], target[PATH_MAX];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", folder->path, file);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	slash = strrchr(target, '/');
	return copy_name(name, slash ? slash + 1 : target) ? 0 : -EINVAL;
}

/* A decimal number, or `unknown`. */
static int read_number(const struct folder *folder, const char *file, int least, int unknown)
{
	char text[32], *end;
	long value;

	if (read_text(folder, file, text, sizeof(text)))
		return unknown;
	errno = 0;
	value = strtol(text, &end, 10);
	return end == text || *end || errno || value < least || value > INT_MAX ? unknown
										: (int)value;
}

static struct pci_link read_link_state(const struct folder *folder)
{
	struct pci_link link = {.width = (unsigned)read_number(folder, "current_link_width", 1, 0)};

	if (read_text(folder, "current_link_speed", link.speed, sizeof(link.speed)) ||
		!isdigit((unsigned char)*link.speed))
		*link.speed = 0; /* "Unknown": there is no link */
	return link;
}

/* Type of port and ACS. */
static void read_config(const struct folder *folder, uint8_t *type, struct pci_acs *acs)
{
	uint8_t config[PCI_CFG_SPACE_EXP_SIZE];
	int n = read_file(folder, "config", config, sizeof(config));
	size_t size = n > 0 ? (size_t)n : 0;
	int offset = pci_capability_find(config, size, PCI_CAP_ID_EXP, PCI_EXP_FLAGS + 2);

	*type = PCI_TYPE_UNKNOWN;
	if (offset >= 0)
		*type = (pci_capability_word(config, (unsigned)offset + PCI_EXP_FLAGS) &
				PCI_EXP_FLAGS_TYPE) >>
			4;
	offset = pci_capability_find_extended(config, size, PCI_EXT_CAP_ID_ACS, PCI_ACS_CTRL + 2);
	*acs = (struct pci_acs){.state = PCI_ACS_UNKNOWN};
	if (offset >= 0) {
		acs->state = PCI_ACS_PRESENT;
		acs->capability = pci_capability_word(config, (unsigned)offset + PCI_ACS_CAP);
		acs->control = pci_capability_word(config, (unsigned)offset + PCI_ACS_CTRL);
	} else if (offset == -ENOENT) {
		acs->state = PCI_ACS_ABSENT;
	} else if (size == PCI_STD_HEADER_SIZEOF) { /* what the kernel shows to others than root */
		acs->state = PCI_ACS_NEEDS_ROOT;
	}
}

/* "0xSTART 0xEND 0xFLAGS" */
static bool parse_bar(const char **text, struct pci_bar *bar)
{
	uint64_t end;

	if (!skip(text, "0x") || !hex(text, 1, 16, &bar->start) || !skip(text, " 0x") ||
		!hex(text, 1, 16, &end) || !skip(text, " 0x") || !hex(text, 1, 16, &bar->flags) ||
		!skip(text, "\n") || end < bar->start)
		return false;
	bar->bytes = bar->flags ? end - bar->start + 1 : 0; /* an absent one is a line of zeros */
	return true;
}

/* The first lines of `resource` are the BARs. */
static int read_bars(const struct folder *folder, struct pci_bar *bar, struct error *error)
{
	char text[1024];
	const char *rest = text;
	int n = read_file(folder, "resource", text, sizeof(text) - 1);

	if (n < 0)
		return error_set(
			error, n, "%s: %s/resource: %s", folder->name, folder->path, strerror(-n));
	text[n] = 0;
	for (unsigned k = 0; k < PCI_BARS; k++)
		if (!parse_bar(&rest, &bar[k]))
			return error_set(error, -EINVAL,
				"%s: %s/resource: line %u is no BAR: want START END FLAGS",
				folder->name, folder->path, k + 1);
	return 0;
}

/* The bridges above, from where the link of the function leads. */
static int read_place(
	struct pci_function *f, const char *sysfs, const struct folder *folder, struct error *error)
{
	char path[PATH_MAX], *slash;
	struct pci_address address;

	if (!realpath(folder->path, path))
		return error_set(
			error, -errno, "%s: %s: %s", folder->name, folder->path, strerror(errno));
	slash = strrchr(path, '/');
	if (!slash || strcmp(slash + 1, folder->name) != 0)
		return error_set(
			error, -EINVAL, "%s: %s: leads to %s", folder->name, folder->path, path);
	for (*slash = 0; (slash = strrchr(path, '/')) && pci_address_parse(slash + 1, &address);
		*slash = 0) {
		struct pci_bridge *bridge = &f->bridge[f->bridges];
		struct folder above;
		struct error ignored;

		if (f->bridges == PCI_BRIDGES_MAX)
			return error_set(error, -ELOOP, "%s: more than %u bridges above it",
				folder->name, PCI_BRIDGES_MAX);
		folder_of(&above, sysfs, address);
		*bridge = (struct pci_bridge){.address = address, .link = read_link_state(&above)};
		if (pci_function_identity(
			    sysfs, address, &bridge->vendor, &bridge->device, &ignored) < 0)
			bridge->vendor = bridge->device = 0;
		read_config(&above, &bridge->type, &bridge->acs);
		f->bridges++;
	}
	if (!slash || strncmp(slash + 1, "pci", 3) != 0 || !copy_name(f->host, slash + 1))
		return error_set(error, -EINVAL,
			"%s: %s: does not lie below a host bridge (devices/pciDDDD:BB)",
			folder->name, folder->path);
	return 0;
}

static int read_driver(const struct folder *folder, char *driver, struct error *error)
{
	int status = read_link(folder, "driver", driver);

	if (status == -ENOENT) {
		*driver = 0;
		status = 0;
	}
	return status ? error_set(error, status, "%s: %s/driver: %s", folder->name, folder->path,
				strerror(-status))
		      : 0;
}

static int read_group_number(const struct folder *folder, int *group, struct error *error)
{
	char name[PCI_NAME_BYTES] = "", *end;
	int status = read_link(folder, "iommu_group", name);
	long value;

	*group = PCI_GROUP_NONE;
	if (status == -ENOENT)
		return 0;
	if (status)
		return error_set(error, status, "%s: %s/iommu_group: %s", folder->name,
			folder->path, strerror(-status));
	errno = 0;
	value = strtol(name, &end, 10);
	if (!isdigit((unsigned char)*name) || *end || errno || value > INT_MAX)
		return error_set(error, -EINVAL, "%s: %s/iommu_group: '%s' is no number",
			folder->name, folder->path, name);
	*group = (int)value;
	return 0;
}

/* The one entry of vfio-dev/, where the kernel has character devices for VFIO (Linux 6.6). */
static void read_cdev(const struct folder *folder, char *cdev)
{
	char path[PATH_MAX + 64];
	struct dirent *entry;
	DIR *dir;

	*cdev = 0;
	snprintf(path, sizeof(path), "%s/vfio-dev", folder->path);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "vfio", 4) && copy_name(cdev, entry->d_name))
			break;
	closedir(dir);
}

int pci_function_identity(const char *sysfs, struct pci_address address, uint16_t *vendor,
	uint16_t *device, struct error *error)
{
	struct folder folder;
	uint64_t value[2] = {0};
	int status;

	folder_of(&folder, sysfs, address);
	status = read_hex(&folder, "vendor", 4, &value[0], error);
	if (!status)
		status = read_hex(&folder, "device", 4, &value[1], error);
	if (status)
		return status;
	*vendor = (uint16_t)value[0];
	*device = (uint16_t)value[1];
	return 0;
}

int pci_function_read(
	struct pci_function *f, const char *sysfs, struct pci_address address, struct error *error)
{
	struct folder folder;
	uint64_t class = 0;
	int status;

	*f = (struct pci_function){.address = address};
	folder_of(&folder, sysfs, address);
	status = read_place(f, sysfs, &folder, error);
	if (!status)
		status = pci_function_identity(sysfs, address, &f->vendor, &f->device, error);
	if (!status)
		status = read_hex(&folder, "class", 6, &class, error);
	if (!status)
		status = read_bars(&folder, f->bar, error);
	if (!status)
		status = read_driver(&folder, f->driver, error);
	if (!status)
		status = read_group_number(&folder, &f->group, error);
	if (status)
		return status;
	f->class = (uint32_t) class;
	f->numa_node = read_number(&folder, "numa_node", 0, PCI_NUMA_UNKNOWN);
	f->link = read_link_state(&folder);
	read_cdev(&folder, f->cdev);
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct pci_member *x = a, *y = b;

	return pci_address_key(x->address) < pci_address_key(y->address) ? -1 : 1;
}

int pci_group_read(struct pci_group *group, const char *sysfs, int number, struct error *error)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int status = 0;
	DIR *dir;

	*group = (struct pci_group){.number = number};
	snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%d/devices", sysfs, number);
	dir = opendir(path);
	if (!dir)
		return error_set(
			error, -errno, "IOMMU group %d: %s: %s", number, path, strerror(errno));
	while (!status && (entry = readdir(dir))) {
		struct pci_member *member = &group->member[group->members];
		struct folder folder;
		struct pci_address address;

		if (!pci_address_parse(entry->d_name, &address)) /* "."; a device that is not PCI */
			continue;
		if (group->members == PCI_GROUP_MEMBERS) {
			status = error_set(error, -E2BIG,
				"IOMMU group %d: %s: more than %u functions", number, path,
				PCI_GROUP_MEMBERS);
			break;
		}
		member->address = address;
		folder_of(&folder, sysfs, address);
		status = read_driver(&folder, member->driver, error);
		group->members += !status;
	}
	closedir(dir);
	qsort(group->member, group->members, sizeof(*group->member), by_address);
	return status;
}
