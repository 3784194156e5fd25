/* SPDX-License-Identifier: BSD-3-Clause */
#include "card.h"

#include "card/carrier.h"
#include "ipc/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS      50000000 /* between two looks at what nothing announces */
#define ANSWER_NS    20000    /* between two looks for an answer */
#define RESET_MS     500      /* a port gives up what it sends within 200 (ports/port.h) */
#define SHOWN_BYTES  (CARD_CARRIER + DEVICE_PAGE)
#define CONFIG_BYTES 256u

#define BAR0   VFIO_PCI_BAR0_REGION_INDEX
#define BAR2   VFIO_PCI_BAR2_REGION_INDEX
#define BAR4   VFIO_PCI_BAR4_REGION_INDEX
#define CONFIG VFIO_PCI_CONFIG_REGION_INDEX

struct card_device {
	struct device base;
	int fd, timer;
	uint8_t *bar0; /* and the carrier behind it */
	struct card_carrier *carrier;
	uint32_t starts; /* of the card, in this life */
	uint32_t asked;  /* number of the last request */
	bool silent;
	bool clear; /* windows of an earlier driver are to be taken away */
	int64_t opened_ms;
	int vector[P2PNIC_VECTORS]; /* eventfds; -1: none */
	uint32_t raised[P2PNIC_VECTORS];
};

static struct card_device *of(struct device *device)
{
	return (struct card_device *)device;
}

/* --- Requests --------------------------------------------------------------------------------- */

static bool answered(const struct card_device *c)
{
	return atomic_load_explicit(&c->carrier->answer, memory_order_acquire) == c->asked;
}

static int check_life(struct card_device *c)
{
	if (atomic_load_explicit(&c->carrier->starts, memory_order_acquire) == c->starts)
		return 0;
	return error_set(&c->base.error, -ENOTCONN, "the card has started anew");
}

static void post(struct card_device *c, enum card_operation operation, const uint64_t *argument)
{
	memcpy(c->carrier->argument, argument, sizeof(c->carrier->argument));
	c->carrier->operation = operation;
	atomic_store_explicit(&c->carrier->request, ++c->asked, memory_order_release);
}

static int await(struct card_device *c)
{
	const struct timespec moment = {.tv_nsec = ANSWER_NS};
	const int64_t deadline = clock_now_ms() + c->base.timeout_ms;

	while (!answered(c)) {
		if (c->silent || clock_now_ms() >= deadline) {
			c->silent = true;
			return error_set(&c->base.error, -ETIMEDOUT, "the card does not answer");
		}
		nanosleep(&moment, NULL);
	}
	c->silent = false;
	return check_life(c);
}

static int error_of(struct card_device *c, uint32_t result)
{
	static const struct {
		int code;
		const char *text;
	} known[] = {
		[CARD_BAD_REQUEST] = {-EINVAL, "the card has no such register or range"},
		[CARD_EXISTS] = {-EEXIST, "the card has a window there already"},
		[CARD_NO_WINDOW] = {-ENOENT, "the card has no such window"},
		[CARD_NO_PEER] = {-ENODEV,
			"the machine of the card has no ivshmem device with that card's memory"},
		[CARD_FULL] = {-ENOSPC, "the card has no room for more windows"},
		[CARD_BUSY] = {-EBUSY, "the card's port still sends frames"},
	};

	if (result == CARD_OK)
		return 0;
	if (result >= sizeof(known) / sizeof(*known))
		return error_set(&c->base.error, -EPROTO, "the card answers %u", result);
	return error_set(&c->base.error, known[result].code, "%s", known[result].text);
}

/* The answer to an earlier one comes first (ask). */
static int request(struct card_device *c, enum card_operation operation,
	const uint64_t argument[CARD_ARGUMENTS], uint64_t *value)
{
	int result = check_life(c);

	if (!result)
		result = await(c);
	if (result)
		return result;
	post(c, operation, argument);
	result = await(c);
	if (!result)
		result = error_of(c, __atomic_load_n(&c->carrier->result, __ATOMIC_RELAXED));
	if (!result && value)
		*value = c->carrier->value;
	return result;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void close_device(struct device *device)
{
	struct card_device *c = of(device);

	if (c->bar0)
		munmap(c->bar0, SHOWN_BYTES);
	if (c->timer >= 0)
		close(c->timer);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

static struct card_device *create(const char *name, int fd)
{
	struct card_device *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->base.ops = &card_device_ops;
	c->base.timeout_ms = device_timeout_ms;
	c->base.vectors = P2PNIC_VECTORS;
	snprintf(c->base.name, sizeof(c->base.name), "%s", name);
	c->fd = fd;
	c->timer = -1;
	for (unsigned k = 0; k < P2PNIC_VECTORS; k++)
		c->vector[k] = -1;
	for (unsigned k = 0; k < DEVICE_REGIONS; k++)
		c->base.region[k].fd = -1;
	return c;
}

static void describe(struct card_device *c, unsigned region, uint64_t bytes, uint64_t at,
	struct device_area area)
{
	struct device_region *r = &c->base.region[region];

	r->bytes = bytes;
	r->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (!area.bytes)
		return;
	r->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	r->fd = c->fd;
	r->fd_offset = at;
	r->area[r->area_count++] = area;
}

static int look(struct card_device *c)
{
	const struct itimerspec period = {{.tv_nsec = LOOK_NS}, {.tv_nsec = LOOK_NS}};
	struct stat status;

	if (c->fd < 0 || fstat(c->fd, &status) < 0)
		return error_set(&c->base.error, -errno, "%s", strerror(errno));
	const uint64_t bytes = (uint64_t)status.st_size;
	if (!S_ISREG(status.st_mode) || bytes < CARD_BYTES_MIN || bytes & (bytes - 1))
		return error_set(&c->base.error, -EINVAL,
			"not the memory of a card: want a file of a power of two of 64 MiB or "
			"more");
	if (flock(c->fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(&c->base.error, errno == EWOULDBLOCK ? -EBUSY : -errno,
			errno == EWOULDBLOCK ? "another driver has the card" : "%s",
			strerror(errno));
	c->bar0 = mmap(NULL, SHOWN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->bar0 == MAP_FAILED) {
		c->bar0 = NULL;
		return error_set(&c->base.error, -errno, "mapping it: %s", strerror(errno));
	}
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->timer < 0 || timerfd_settime(c->timer, 0, &period, NULL) < 0)
		return error_set(&c->base.error, -errno, "a timer: %s", strerror(errno));
	c->carrier = (struct card_carrier *)(c->bar0 + CARD_CARRIER);
	c->starts = atomic_load_explicit(&c->carrier->starts, memory_order_acquire);
	if (atomic_load_explicit(&c->carrier->magic, memory_order_acquire) != CARD_MAGIC)
		return error_set(&c->base.error, -ENODEV,
			"no card has started there: start its machine first");
	c->asked = atomic_load_explicit(&c->carrier->request, memory_order_relaxed);
	for (unsigned k = 0; k < P2PNIC_VECTORS; k++)
		c->raised[k] = atomic_load_explicit(&c->carrier->raised[k], memory_order_relaxed);
	describe(c, BAR0, P2PNIC_BAR0_BYTES, 0,
		(struct device_area){P2PNIC_BAR0_COUNTERS, DEVICE_PAGE});
	describe(c, BAR2, bytes / 4, CARD_BAR2(bytes), (struct device_area){0, bytes / 4});
	describe(c, BAR4, bytes / 2, CARD_BAR4(bytes), (struct device_area){0, bytes / 2});
	describe(c, CONFIG, CONFIG_BYTES, 0, (struct device_area){0});
	c->opened_ms = clock_now_ms();
	return 0;
}

/* Owns the descriptor. */
static int begin(struct device **device, const char *name, int fd, struct error *error)
{
	struct card_device *c = create(name, fd);

	if (!c) {
		if (fd >= 0)
			close(fd);
		return error_set(error, -ENOMEM, "card:%.60s: %s", name, strerror(ENOMEM));
	}
	return device_begun(device, &c->base, look(c), error);
}

/* progress takes away what an earlier driver left. */
static int open_begin(struct device **device, const char *path, struct error *error)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int result;

	if (fd < 0)
		return error_set(error, -errno, "card:%.60s: %s", path, strerror(errno));
	result = begin(device, path, fd, error);
	if (!result)
		of(*device)->clear = true;
	return result;
}

static int adopt_begin(struct device **device, const int *fds, const struct device_window *windows,
	unsigned window_count, struct error *error)
{
	return begin(device, "adopted", fds[0], error);
}

static void drain(struct card_device *c)
{
	uint64_t count;
	ssize_t bytes = read(c->timer, &count, sizeof(count)); /* non-blocking */

	(void)bytes;
}

static int progress(struct device *device)
{
	struct card_device *c = of(device);
	int result = check_life(c);

	drain(c);
	if (!result && answered(c) && c->clear) {
		post(c, CARD_UNMAP_ALL, (uint64_t[CARD_ARGUMENTS]){0});
		c->clear = false;
	}
	if (result || answered(c))
		return result;
	if (clock_now_ms() - c->opened_ms < (int64_t)device->timeout_ms)
		return -EAGAIN;
	return error_set(
		&device->error, -ETIMEDOUT, "the card does not answer: does its machine run?");
}

static void keep(struct device *device, int *fds)
{
	fds[0] = of(device)->fd;
}

/* --- Access ----------------------------------------------------------------------------------- */

/* Registers and configuration space are the card's to answer; the rest of BAR0 is memory. */
static bool is_memory(unsigned region, uint64_t offset)
{
	return region == BAR0 && offset >= P2PNIC_BAR0_COUNTERS;
}

static int bad_access(struct device *device, unsigned region, uint64_t offset)
{
	return error_set(&device->error, -EINVAL, "region %u at 0x%llx: want an access of 4 bytes",
		region, (unsigned long long)offset);
}

static int read_region(
	struct device *device, unsigned region, uint64_t offset, void *data, size_t bytes)
{
	struct card_device *c = of(device);
	uint64_t value = 0;
	int result;

	if (is_memory(region, offset)) {
		memcpy(data, c->bar0 + offset, bytes);
		return check_life(c);
	}
	if ((region != BAR0 && region != CONFIG) || bytes > 4)
		return bad_access(device, region, offset);
	result = request(c, CARD_READ,
		(uint64_t[CARD_ARGUMENTS]){
			region == BAR0 ? CARD_REGION_BAR0 : CARD_REGION_CONFIG, offset, bytes},
		&value);
	memcpy(data, &value, bytes);
	return result;
}

static int write_region(
	struct device *device, unsigned region, uint64_t offset, const void *data, size_t bytes)
{
	struct card_device *c = of(device);
	uint64_t value = 0;

	if (is_memory(region, offset)) {
		memcpy(c->bar0 + offset, data, bytes);
		return check_life(c);
	}
	if ((region != BAR0 && region != CONFIG) || bytes > 4)
		return bad_access(device, region, offset);
	memcpy(&value, data, bytes);
	return request(c, CARD_WRITE,
		(uint64_t[CARD_ARGUMENTS]){region == BAR0 ? CARD_REGION_BAR0 : CARD_REGION_CONFIG,
			offset, bytes, value},
		NULL);
}

/* --- Windows ---------------------------------------------------------------------------------- */

static int map_memory(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	void *address, int fd, uint64_t fd_offset)
{
	return error_set(&device->error, -ENOTSUP, "a card does not reach the host's memory");
}

static int map_peer(struct device *device, struct bus_addr bus, uint64_t bytes, uint32_t access,
	struct device *peer, unsigned region, uint64_t offset)
{
	if (peer->ops != &card_device_ops)
		return error_set(&device->error, -ENOTSUP,
			"a card reaches cards only, and %.60s is none", peer->name);
	if (region != BAR0 && region != BAR2 && region != BAR4)
		return bad_access(device, region, offset);
	_Static_assert(CARD_ACCESS_READ == DEVICE_READ && CARD_ACCESS_WRITE == DEVICE_WRITE,
		"access rights are the same bits");
	return request(of(device), CARD_MAP,
		(uint64_t[CARD_ARGUMENTS]){bus.value, bytes, access, of(peer)->carrier->serial,
			peer->region[region].fd_offset + offset},
		NULL);
}

static int unmap(struct device *device, struct bus_addr bus, uint64_t bytes)
{
	return request(of(device), CARD_UNMAP, (uint64_t[CARD_ARGUMENTS]){bus.value, bytes}, NULL);
}

static int unmap_all(struct device *device)
{
	return request(of(device), CARD_UNMAP_ALL, (uint64_t[CARD_ARGUMENTS]){0}, NULL);
}

/* --- Events ----------------------------------------------------------------------------------- */

static int irqs(struct device *device, unsigned first, const int *fds, unsigned count)
{
	if (first > device->vectors || count > device->vectors - first)
		return error_set(&device->error, -EINVAL, "interrupts %u to %u of %u", first,
			first + count, device->vectors);
	memcpy(&of(device)->vector[first], fds, count * sizeof(*fds));
	return 0;
}

static void signal_interrupts(struct card_device *c)
{
	for (unsigned k = 0; k < P2PNIC_VECTORS; k++) {
		uint32_t now = atomic_load_explicit(&c->carrier->raised[k], memory_order_acquire);

		if (now != c->raised[k] && c->vector[k] >= 0)
			eventfd_write(c->vector[k], 1);
		c->raised[k] = now;
	}
}

static int reset(struct device *device)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	int result = -EBUSY;

	for (unsigned ms = 0; result == -EBUSY && ms < RESET_MS; ms++) {
		if (ms)
			nanosleep(&moment, NULL);
		result = request(of(device), CARD_RESET, (uint64_t[CARD_ARGUMENTS]){0}, NULL);
	}
	return result;
}

/* The doorbell is a word in memory, which the card does not wait for. */
static int doorbell_fd(struct device *device, unsigned region, uint64_t offset)
{
	return -ENOENT;
}

static int get_fd(const struct device *device)
{
	return ((const struct card_device *)device)->timer;
}

static int service(struct device *device)
{
	struct card_device *c = of(device);
	int result = check_life(c);

	drain(c);
	if (result)
		return result;
	if (answered(c))
		c->silent = false;
	signal_interrupts(c);
	return 0;
}

static int ask(struct device *device)
{
	struct card_device *c = of(device);
	int result = check_life(c);

	if (result)
		return result;
	if (!answered(c))
		return -EAGAIN;
	post(c, CARD_READ, (uint64_t[CARD_ARGUMENTS]){CARD_REGION_CONFIG, 0, 4});
	return 0;
}

static bool silent(const struct device *device)
{
	return ((const struct card_device *)device)->silent;
}

static unsigned unanswered(const struct device *device)
{
	return !answered((const struct card_device *)device);
}

static void give_up(struct device *device)
{
	of(device)->silent = true;
}

const struct device_ops card_device_ops = {
	.type = "card",
	.open_begin = open_begin,
	.adopt_begin = adopt_begin,
	.progress = progress,
	.ask = ask,
	.silent = silent,
	.unanswered = unanswered,
	.give_up = give_up,
	.close = close_device,
	.kept = 1,
	.keep = keep,
	.read = read_region,
	.write = write_region,
	.map_memory = map_memory,
	.map_peer = map_peer,
	.unmap = unmap,
	.unmap_all = unmap_all,
	.irqs = irqs,
	.reset = reset,
	.doorbell_fd = doorbell_fd,
	.fd = get_fd,
	.service = service,
};
