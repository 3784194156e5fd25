/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the driver says to two NICs while it brings them up and parts with one, as each carrier puts
 * it: requests and writes to the fake kernel's VFIO (vfio_fake.h), messages to soft NICs. Both must
 * be the same, and the same as the recording in tests/unit/trace/, which a change of the driver so
 * shows in review. To renew it:
 *
 *     build/tests/test_trace . renew
 *
 *     n0 write bar0+0x18 00000001               a register, little-endian, as its number
 *     n0 map 0x200000000 0x4000 w n1 bar2+0x0   bus address, bytes, access, and what lies there
 *     n0 unmap 0x200000000 0x4000
 *     n0 vector 4 eventfd
 *     n0 peer n1 …                              its entry of the peer table, at the end
 *
 * Reads are not recorded, nor what is stored into mapped memory: tables.
 */
#include "tests/unit/soft_rig.h"
#include "tests/unit/vfio_fake.h"
#include "vfio_user/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define NICS        2u
#define TRACE_BYTES 65536u

ssize_t __real_vfio_user_send(int socket, const struct iovec *parts, unsigned part_count,
	const int *fds, unsigned fds_count);
ssize_t __wrap_vfio_user_send(int socket, const struct iovec *parts, unsigned part_count,
	const int *fds, unsigned fds_count);
ssize_t __real_pwrite64(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset);

static const char *root;
static bool renew;

/* The devices of this thread that are recorded; the soft NICs' threads send too. */
static _Thread_local struct device *device[NICS];
static _Thread_local char *trace;

/* --- Lines ------------------------------------------------------------------------------------ */

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	const size_t used = strlen(trace);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(trace + used, TRACE_BYTES - used, format, arguments);
	va_end(arguments);
	assert_true(strlen(trace) < TRACE_BYTES - 1);
}

static const char *region_name(unsigned region)
{
	static const char *const name[DEVICE_REGIONS] = {
		"bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "rom", "config"};

	return region < DEVICE_REGIONS && name[region] ? name[region] : "nowhere";
}

static void say_write(
	unsigned nic, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	uint64_t value = 0;

	assert_true(bytes <= sizeof(value));
	memcpy(&value, data, bytes);
	say("n%u write %s+0x%" PRIx64 " %0*" PRIx64 "\n", nic, region_name(region), offset,
		(int)(2 * bytes), value);
}

static void say_map(unsigned nic, uint64_t bus, uint64_t bytes, uint32_t access, unsigned peer,
	unsigned region, uint64_t offset)
{
	say("n%u map 0x%" PRIx64 " 0x%" PRIx64 " %s%s n%u %s+0x%" PRIx64 "\n", nic, bus, bytes,
		access & DEVICE_READ ? "r" : "", access & DEVICE_WRITE ? "w" : "", peer,
		region_name(region), offset);
}

static void say_unmap(unsigned nic, uint32_t flags, uint64_t bus, uint64_t bytes)
{
	if (flags & VFIO_DMA_UNMAP_FLAG_ALL)
		say("n%u unmap all\n", nic);
	else
		say("n%u unmap 0x%" PRIx64 " 0x%" PRIx64 "\n", nic, bus, bytes);
}

static void say_vector(unsigned nic, unsigned vector, int fd)
{
	say("n%u vector %u %s\n", nic, vector, fd >= 0 ? "eventfd" : "none");
}

/* --- The kernel's VFIO ------------------------------------------------------------------------ */

static void kernel_map(unsigned nic, const struct vfio_iommu_type1_dma_map *m)
{
	for (unsigned peer = 0; peer < NICS; peer++)
		for (unsigned r = 0; device[peer] && r < DEVICE_REGIONS; r++) {
			const struct device_region *region = &device[peer]->region[r];

			/* One area: the whole region. */
			const uint64_t offset = m->vaddr - (uintptr_t)region->map[0];

			if (region->map[0] && offset < region->bytes) {
				say_map(nic, m->iova, m->size, m->flags, peer, r, offset);
				return;
			}
		}
	fail_msg("n%u: a window onto nothing known", nic);
}

/* It is told all vectors each time: those that have an eventfd are of interest. */
static void kernel_irqs(unsigned nic, const struct vfio_irq_set *set)
{
	const int32_t *fds = (const void *)set->data;

	for (unsigned k = 0; set->index == VFIO_PCI_MSIX_IRQ_INDEX && k < set->count; k++)
		if (fds[k] >= 0)
			say_vector(nic, set->start + k, fds[k]);
}

static void on_request(unsigned function, unsigned long request, const void *argument)
{
	const struct vfio_iommu_type1_dma_unmap *u = argument;

	if (!device[function])
		return; /* it is being opened */
	if (request == VFIO_IOMMU_MAP_DMA)
		kernel_map(function, argument);
	else if (request == VFIO_IOMMU_UNMAP_DMA)
		say_unmap(function, u->flags, u->iova, u->size);
	else if (request == VFIO_DEVICE_SET_IRQS)
		kernel_irqs(function, argument);
	else if (request == VFIO_DEVICE_RESET)
		say("n%u reset\n", function);
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
	for (unsigned k = 0; k < NICS; k++)
		if (device[k] && device[k]->region[0].fd == fd)
			say_write(k, (unsigned)((uint64_t)offset / FAKE_REGION_OFFSET),
				(uint64_t)offset % FAKE_REGION_OFFSET, data, bytes);
	return __real_pwrite64(fd, data, bytes, offset);
}

/* --- vfio-user -------------------------------------------------------------------------------- */

static void user_map(unsigned nic, const struct vfio_user_dma_map *m, int fd)
{
	for (unsigned peer = 0; peer < NICS; peer++) {
		const int doorbell =
			device[peer] ? device_doorbell_fd(device[peer], VFIO_PCI_BAR0_REGION_INDEX,
					       P2PNIC_BAR0_DOORBELL)
				     : -ENOENT;

		if (doorbell >= 0 && doorbell == fd) {
			say_map(nic, m->address, m->size, m->flags, peer,
				VFIO_PCI_BAR0_REGION_INDEX, P2PNIC_BAR0_DOORBELL);
			return;
		}
		for (unsigned r = 0; device[peer] && r < DEVICE_REGIONS; r++)
			if (device[peer]->region[r].fd >= 0 && device[peer]->region[r].fd == fd) {
				say_map(nic, m->address, m->size, m->flags, peer, r,
					m->offset - device[peer]->region[r].fd_offset);
				return;
			}
	}
	fail_msg("n%u: a window onto nothing known", nic);
}

static void on_message(unsigned nic, const struct iovec *parts, int fd)
{
	const struct vfio_user_header *header = parts[0].iov_base;
	const void *payload = parts[1].iov_base;
	const struct vfio_user_region_access *access = payload;
	const struct vfio_user_dma_unmap *u = payload;
	const struct vfio_user_irq_set *set = payload;

	if ((header->flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND)
		return;
	if (header->command == VFIO_USER_REGION_WRITE)
		say_write(nic, access->region, access->offset, parts[2].iov_base, access->count);
	else if (header->command == VFIO_USER_DMA_MAP)
		user_map(nic, payload, fd);
	else if (header->command == VFIO_USER_DMA_UNMAP)
		say_unmap(nic, u->flags, u->address, u->size);
	else if (header->command == VFIO_USER_DEVICE_SET_IRQS)
		say_vector(nic, set->start, fd);
	else if (header->command == VFIO_USER_DEVICE_RESET)
		say("n%u reset\n", nic);
}

ssize_t __wrap_vfio_user_send(int socket, const struct iovec *parts, unsigned part_count,
	const int *fds, unsigned fd_count)
{
	for (unsigned k = 0; k < NICS; k++)
		if (device[k] && device_fd(device[k]) == socket)
			on_message(k, parts, fd_count ? fds[0] : -1);
	return __real_vfio_user_send(socket, parts, part_count, fds, fd_count);
}

/* --- The driver ------------------------------------------------------------------------------- */

static void say_entry(struct driver_nic *nic, unsigned from, unsigned to)
{
	const struct p2pnic_peer *e = &driver_nic_peers(nic)[to];

	say("n%u peer n%u epoch %u flags %x batch %u mailbox 0x%" PRIx64 " doorbell 0x%" PRIx64
	    " out 0x%" PRIx64 " %u of %u in 0x%" PRIx64 " 0x%x %u of %u\n",
		from, to, e->epoch, e->flags, e->batch, e->mailbox.value, e->doorbell.value,
		e->out_buffers.value, e->out_buffer_count, e->out_slots, e->in_buffers.value,
		e->in_offset, e->in_buffer_count, e->in_slots);
}

/* As the router does: a NIC, its pairs, its interrupt, start; then the second; then it goes. */
static void drive(struct driver_nic *nic, struct fabric fabric, const char *const where[NICS])
{
	const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const struct mac_addr mac = {{2, 0, 0, 0, 0, 1}};
	struct error error;

	for (unsigned k = 0; k < NICS; k++) {
		struct device *opened;
		char name[8];

		snprintf(name, sizeof(name), "n%u", k);
		if (device_open(&opened, where[k], &error))
			fail_msg("%s", error.text);
		device[k] = opened;
		if (driver_nic_attach(&nic[k], name, k, opened, &error) ||
			fabric_add(&fabric, &nic[k], &error))
			fail_msg("%s", error.text);
		assert_int_equal(fabric_mend(&fabric, &error), 0);
		assert_int_equal(driver_nic_set_mac(&nic[k], mac), 0);
		assert_int_equal(device_irqs(opened, P2PNIC_VECTOR_EVENT, &event, 1), 0);
		assert_int_equal(driver_nic_command(&nic[k], P2PNIC_OP_START, 0), 0);
	}
	for (unsigned a = 0; a < NICS; a++)
		for (unsigned b = 0; b < NICS; b++)
			say_entry(&nic[a], a, b);
	fabric_remove(&fabric, &nic[1]);
	for (unsigned k = 0; k < NICS; k++) {
		device[k] = NULL;
		driver_nic_detach(&nic[k]);
	}
	close(event);
}

static void over_kernel(const struct fabric *fabric)
{
	static struct driver_nic nic[NICS];
	const char *where[NICS];

	fake_begin();
	fake.told = on_request;
	for (unsigned k = 0; k < NICS; k++) {
		fake.function[k].vectors = P2PNIC_VECTORS;
		fake_set_register(k, P2PNIC_REG_METHOD, fabric->method);
		where[k] = fake_where(k);
	}
	drive(nic, *fabric, where);
	fake_end();
}

static void over_vfio_user(struct soft_rig *r)
{
	char path[NICS][200];
	const char *where[NICS];

	for (unsigned k = 0; k < NICS; k++) {
		soft_make(r, k);
		snprintf(path[k], sizeof(path[k]), "vfio-user:%s", r->socket[k]);
		where[k] = path[k];
	}
	drive(r->driver, r->fabric, where);
}

/* --- Comparing -------------------------------------------------------------------------------- */

/* Of the first line that differs. */
static void compare(const char *a, const char *b, const char *what)
{
	unsigned line = 1;

	while (*a && *b) {
		const size_t m = strcspn(a, "\n"), n = strcspn(b, "\n");

		if (m != n || memcmp(a, b, m) != 0)
			break;
		a += m + (a[m] != 0);
		b += n + (b[n] != 0);
		line++;
	}
	if (*a || *b)
		fail_msg("%s, line %u: '%.*s', not '%.*s'", what, line, (int)strcspn(a, "\n"), a,
			(int)strcspn(b, "\n"), b);
}

static void check_recording(const char *name, const char *now)
{
	static char before[TRACE_BYTES];
	char path[512];

	snprintf(path, sizeof(path), "%s/tests/unit/trace/%s", root, name);
	FILE *file = fopen(path, renew ? "w" : "r");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	if (renew)
		fputs(now, file);
	else
		before[fread(before, 1, sizeof(before) - 1, file)] = 0;
	assert_int_equal(fclose(file), 0);
	if (!renew)
		compare(now, before, path);
}

static void check(unsigned method, const char *name)
{
	static char kernel[TRACE_BYTES], user[TRACE_BYTES];
	struct soft_rig *r = soft_rig_new(method, 1);

	memset(kernel, 0, sizeof(kernel));
	memset(user, 0, sizeof(user));
	trace = user;
	over_vfio_user(r);
	const struct fabric same = {.method = method,
		.buffer_bytes = r->fabric.buffer_bytes,
		.ring_slots = r->fabric.ring_slots,
		.batch = r->fabric.batch,
		.rx_buffers = r->fabric.rx_buffers};
	soft_rig_free(r);
	trace = kernel;
	over_kernel(&same);
	compare(kernel, user, "kernel VFIO and vfio-user");
	assert_non_null(strstr(kernel, "n0 map "));
	check_recording(name, kernel);
}

static void test_write(void **state)
{
	check(P2PNIC_METHOD_WRITE, "two_nics_wr.txt");
}

static void test_read(void **state)
{
	check(P2PNIC_METHOD_READ, "two_nics_rd.txt");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_read),
	};

	root = argc > 1 ? argv[1] : ".";
	renew = argc > 2 && !strcmp(argv[2], "renew");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
