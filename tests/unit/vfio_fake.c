/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/vfio_fake.h"
#include "tests/unit/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <p2pnic/registers.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OBJECTS     256u
#define FIRST_GROUP 10

enum kind { CONTAINER, GROUP, DEVICE };

/* What a descriptor, or a duplicate of it, leads to. */
struct object {
	ino_t inode;
	struct fake_function *function; /* CONTAINER: NULL before it has a group */
	enum kind kind;
	bool typed; /* CONTAINER: VFIO_SET_IOMMU was called */
};

struct fake fake;
static struct object object[OBJECTS];
static unsigned objects;
static unsigned before; /* descriptors at fake_begin */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

/* --- For the test ----------------------------------------------------------------------------- */

static const char *const address[FAKE_FUNCTIONS] = {"0000:03:00.0", "0000:04:00.0"};

const char *fake_address(unsigned function)
{
	return address[function];
}

const char *fake_where(unsigned function)
{
	static const char *const where[] = {"vfio:0000:03:00.0", "vfio:0000:04:00.0"};

	return where[function];
}

void fake_fail(unsigned long request, int error)
{
	fake.request = request;
	fake.error = error;
}

void fake_count(unsigned failing, int error)
{
	fake.calls = 0;
	fake.failing = failing;
	fake.error = error;
}

static void memory_write(
	unsigned function, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	const off_t at = (off_t)(region * FAKE_REGION_OFFSET + offset);

	assert_int_equal(pwrite(fake.function[function].memory, data, bytes, at), bytes);
}

void fake_set_register(unsigned function, unsigned reg, uint32_t value)
{
	memory_write(function, VFIO_PCI_BAR0_REGION_INDEX, reg, &value, sizeof(value));
}

uint32_t fake_get_register(unsigned function, unsigned reg)
{
	uint32_t value;

	assert_int_equal(
		pread(fake.function[function].memory, &value, sizeof(value), reg), sizeof(value));
	return value;
}

static int make_memory(const char *name)
{
	const int fd = memfd_create(name, MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(DEVICE_REGIONS * FAKE_REGION_OFFSET)), 0);
	return fd;
}

static void add_function(unsigned k)
{
	const uint32_t id = P2PNIC_PCI_VENDOR | P2PNIC_PCI_DEVICE << 16;
	struct fake_function *f = &fake.function[k];
	const struct tree_function function = {
		.above = k ? "pci0000:00/0000:00:02.0" : "pci0000:00/0000:00:01.0",
		.address = address[k],
		.driver = "vfio-pci",
		.group = FIRST_GROUP + (int)k,
		.type = PCI_EXP_TYPE_ENDPOINT,
		.acs = TREE_NO_ACS};

	tree_add(&fake.tree, &function);
	*f = (struct fake_function){.memory = make_memory("function"),
		.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
		.vectors = 1,
		.viable = true,
		.windows_max = FAKE_WINDOWS,
		.range = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}},
		.ranges = 2};
	f->bytes[VFIO_PCI_BAR0_REGION_INDEX] = P2PNIC_BAR0_BYTES;
	f->bytes[VFIO_PCI_BAR2_REGION_INDEX] = P2PNIC_BAR2_BYTES_MIN;
	f->bytes[VFIO_PCI_BAR4_REGION_INDEX] = P2PNIC_BAR4_BYTES_MIN;
	f->bytes[VFIO_PCI_CONFIG_REGION_INDEX] = PCI_CFG_SPACE_EXP_SIZE;
	for (unsigned r = 0; r < DEVICE_REGIONS; r++)
		f->region_flags[r] =
			f->bytes[r] ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	for (unsigned r = 0; r < 6; r += 2)
		f->region_flags[r] |= VFIO_REGION_INFO_FLAG_MMAP;
	memory_write(k, VFIO_PCI_CONFIG_REGION_INDEX, 0, &id, sizeof(id));
	fake_set_register(k, P2PNIC_REG_MAGIC, P2PNIC_MAGIC);
	fake_set_register(k, P2PNIC_REG_VERSION, P2PNIC_VERSION);
	fake_set_register(k, P2PNIC_REG_METHOD, P2PNIC_METHOD_WRITE);
	fake_set_register(k, P2PNIC_REG_BUFFER_BYTES, P2PNIC_BUFFER_BYTES_MIN);
	fake_set_register(k, P2PNIC_REG_BAR2_BYTES, P2PNIC_BAR2_BYTES_MIN);
	fake_set_register(k, P2PNIC_REG_BAR4_BYTES, P2PNIC_BAR4_BYTES_MIN);
	fake_set_register(k, P2PNIC_REG_MTU, 1500);
}

void fake_begin(void)
{
	before = open_descriptors();
	fake = (struct fake){.version = VFIO_API_VERSION, .type1 = true};
	objects = 0;
	tree_make(&fake.tree);
	device_sysfs = fake.tree.sysfs;
	for (unsigned k = 0; k < FAKE_FUNCTIONS; k++)
		add_function(k);
}

void fake_end(void)
{
	for (unsigned k = 0; k < FAKE_FUNCTIONS; k++)
		close(fake.function[k].memory);
	tree_remove_all(&fake.tree);
	assert_int_equal(open_descriptors(), before);
}

/* --- Descriptors ------------------------------------------------------------------------------ */

static bool fails(unsigned long request)
{
	const bool one = fake.request && fake.request == request;

	if (one)
		fake.request = 0;
	if (++fake.calls != fake.failing && !one)
		return false;
	errno = fake.error;
	return true;
}

static int add_object(int fd, enum kind kind, struct fake_function *function)
{
	struct stat status;

	assert_true(objects < OBJECTS && fstat(fd, &status) == 0);
	object[objects++] =
		(struct object){.kind = kind, .inode = status.st_ino, .function = function};
	return fd;
}

/* NULL: none of ours. Of those with that inode the last: the others were closed. */
static struct object *object_of(int fd)
{
	struct stat status;

	for (unsigned k = fstat(fd, &status) ? 0 : objects; k-- > 0;)
		if (object[k].inode == status.st_ino)
			return &object[k];
	return NULL;
}

static int open_vfio(const char *name)
{
	char *end;
	const long group = strtol(name, &end, 10);

	if (fails(FAKE_OPEN))
		return -1;
	if (!strcmp(name, "vfio"))
		return add_object(memfd_create("container", MFD_CLOEXEC), CONTAINER, NULL);
	if (*end || group < FIRST_GROUP || group >= FIRST_GROUP + (long)FAKE_FUNCTIONS) {
		errno = ENOENT;
		return -1;
	}
	if (fake.function[group - FIRST_GROUP].busy) {
		errno = EBUSY;
		return -1;
	}
	return add_object(
		memfd_create("group", MFD_CLOEXEC), GROUP, &fake.function[group - FIRST_GROUP]);
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list arguments;

	va_start(arguments, flags);
	const unsigned mode = flags & O_CREAT ? va_arg(arguments, unsigned) : 0;
	va_end(arguments);
	if (strncmp(path, "/dev/vfio/", 10) == 0)
		return open_vfio(path + 10);
	return __real_open64(path, flags, mode);
}

/* --- Requests: 0, a descriptor, or -errno ----------------------------------------------------- */

static int region_info(const struct fake_function *f, struct vfio_region_info *info)
{
	const uint32_t k = info->index;
	struct vfio_info_cap_header *mappable = (void *)(info + 1);
	const bool first = f->msix_mappable && info->index == VFIO_PCI_BAR0_REGION_INDEX;
	struct vfio_region_info_cap_sparse_mmap *sparse = (void *)(mappable + first);

	if (info->argsz < sizeof(*info) || k >= DEVICE_REGIONS || k == VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	info->size = f->bytes[k];
	info->flags = f->region_flags[k];
	info->offset = k * FAKE_REGION_OFFSET;
	if (!f->areas[k] && !first)
		return 0;
	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	if (f->long_answer) {
		info->argsz = 8192;
		info->cap_offset = 0;
		return 0;
	}
	info->cap_offset = sizeof(*info);
	if (first)
		*mappable = (struct vfio_info_cap_header){VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1,
			f->areas[k] ? sizeof(*info) + sizeof(*mappable) : 0};
	if (!f->areas[k])
		return 0;
	*sparse = (struct vfio_region_info_cap_sparse_mmap){
		.header = {VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0}, .nr_areas = f->areas[k]};
	for (unsigned a = 0; a < f->areas[k]; a++)
		sparse->areas[a] = (struct vfio_region_sparse_mmap_area){
			f->area[k][a].offset, f->area[k][a].bytes};
	return 0;
}

static int irq_info(const struct fake_function *f, struct vfio_irq_info *info)
{
	if (info->argsz < sizeof(*info) || info->index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info->count = info->index == VFIO_PCI_MSIX_IRQ_INDEX ? f->vectors : 1;
	info->flags = VFIO_IRQ_INFO_EVENTFD;
	return 0;
}

static int set_irqs(struct fake_function *f, const struct vfio_irq_set *set)
{
	const int32_t *fds = (const void *)set->data;

	if (set->argsz < sizeof(*set) + set->count * sizeof(*fds) ||
		set->flags != (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER))
		return -EINVAL;
	if (set->index != VFIO_PCI_MSIX_IRQ_INDEX)
		return set->count == 1 ? 0 : -EINVAL;
	if (set->start + set->count > f->vectors)
		return -EINVAL;
	f->armed = set->count;
	memcpy(f->vector, fds, set->count * sizeof(*fds));
	return 0;
}

static int device_request(struct fake_function *f, unsigned long request, void *argument)
{
	struct vfio_device_info *info = argument;

	switch (request) {
	case VFIO_DEVICE_GET_INFO:
		info->flags = f->flags;
		info->num_regions = DEVICE_REGIONS;
		info->num_irqs = VFIO_PCI_NUM_IRQS;
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info(f, argument);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return irq_info(f, argument);
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(f, argument);
	case VFIO_DEVICE_RESET:
		f->resets++;
		return f->flags & VFIO_DEVICE_FLAGS_RESET ? 0 : -EINVAL;
	default:
		return -ENOTTY;
	}
}

static int map(struct fake_function *f, const struct vfio_iommu_type1_dma_map *m)
{
	const uint64_t last = m->iova + m->size - 1;
	bool inside = !f->ranges;
	void *at;

	if (m->argsz < sizeof(*m) ||
		m->flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) || !m->flags ||
		!m->size || (m->size | m->iova | m->vaddr) % DEVICE_PAGE || last < m->iova)
		return -EINVAL;
	for (unsigned k = 0; k < f->windows; k++)
		if (m->iova < f->window[k].iova + f->window[k].bytes && last >= f->window[k].iova)
			return -EEXIST;
	if (f->windows == f->windows_max)
		return -ENOSPC;
	for (unsigned k = 0; k < f->ranges; k++)
		inside |= m->iova >= f->range[k].first && last <= f->range[k].last;
	if (!inside)
		return -EINVAL;
	/* Nothing to pin there. */
	memcpy(&at, &m->vaddr, sizeof(at));
	if (msync(at, m->size, MS_ASYNC) < 0)
		return -EFAULT;
	f->window[f->windows++] = (struct fake_window){m->iova, m->size, m->vaddr, m->flags};
	return 0;
}

/* Type1v2: what the range covers goes; what it would cut is refused. */
static int unmap(struct fake_function *f, struct vfio_iommu_type1_dma_unmap *u)
{
	const bool all = u->flags & VFIO_DMA_UNMAP_FLAG_ALL;
	unsigned left = 0;

	if (u->argsz < sizeof(*u) || (all && (u->iova || u->size)) ||
		(!all && (!u->size || (u->iova | u->size) % DEVICE_PAGE)))
		return -EINVAL;
	const uint64_t last = all ? UINT64_MAX : u->iova + u->size - 1;
	for (unsigned k = 0; k < f->windows; k++) {
		const struct fake_window *w = &f->window[k];
		const uint64_t end = w->iova + w->bytes - 1;

		if ((w->iova < u->iova && end >= u->iova) || (w->iova <= last && end > last))
			return -EINVAL;
	}
	for (unsigned k = 0; k < f->windows; k++)
		if (f->window[k].iova < u->iova || f->window[k].iova > last)
			f->window[left++] = f->window[k];
	f->windows = left;
	return 0;
}

static int iommu_info(const struct fake_function *f, struct vfio_iommu_type1_info *info)
{
	struct vfio_iommu_type1_info_cap_iova_range *list = (void *)(info + 1);

	if (!f->ranges)
		return 0;
	info->flags = VFIO_IOMMU_INFO_CAPS | VFIO_IOMMU_INFO_PGSIZES;
	info->cap_offset = sizeof(*info);
	*list = (struct vfio_iommu_type1_info_cap_iova_range){
		.header = {VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 0}, .nr_iovas = f->ranges};
	for (unsigned k = 0; k < f->ranges; k++)
		list->iova_ranges[k] =
			(struct vfio_iova_range){f->range[k].first, f->range[k].last};
	return 0;
}

static int container_request(struct object *o, unsigned long request, void *argument)
{
	switch (request) {
	case VFIO_GET_API_VERSION:
		return fake.version;
	case VFIO_CHECK_EXTENSION:
		return fake.type1 && (uintptr_t)argument == VFIO_TYPE1v2_IOMMU;
	case VFIO_SET_IOMMU:
		if (!o->function || o->typed)
			return -EINVAL;
		o->typed = true;
		return 0;
	default:
		break;
	}
	if (!o->typed)
		return -EINVAL;
	switch (request) {
	case VFIO_IOMMU_GET_INFO:
		return iommu_info(o->function, argument);
	case VFIO_IOMMU_MAP_DMA:
		return map(o->function, argument);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap(o->function, argument);
	default:
		return -ENOTTY;
	}
}

static int group_request(struct object *o, unsigned long request, void *argument)
{
	struct fake_function *f = o->function;
	const unsigned index = (unsigned)(f - fake.function);
	struct vfio_group_status *status = argument;
	struct object *container;

	switch (request) {
	case VFIO_GROUP_GET_STATUS:
		status->flags = f->viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
		return 0;
	case VFIO_GROUP_SET_CONTAINER:
		container = object_of(*(int *)argument);
		if (!container || container->kind != CONTAINER)
			return -EINVAL;
		container->function = f;
		f->windows = 0;
		return 0;
	case VFIO_GROUP_GET_DEVICE_FD:
		if (strcmp(argument, address[index]) != 0)
			return -ENODEV;
		return add_object(dup(f->memory), DEVICE, f);
	default:
		return -ENOTTY;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	struct object *o = object_of(fd);
	va_list arguments;
	int result;

	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	if (!o)
		return __real_ioctl(fd, request, argument);
	if (fails(request))
		return -1;
	result = o->kind == CONTAINER ? container_request(o, request, argument)
		 : o->kind == GROUP   ? group_request(o, request, argument)
				      : device_request(o->function, request, argument);
	if (result < 0) {
		errno = -result;
		return -1;
	}
	if (fake.told && o->kind != GROUP && o->function)
		fake.told((unsigned)(o->function - fake.function), request, argument);
	return result;
}
