/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void rig_sleep_ms(unsigned ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

int rig_memfd(uint64_t bytes, unsigned seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* --- The device ------------------------------------------------------------------------------- */

static void pause_engine(struct rig *rig)
{
	pthread_mutex_lock(&rig->lock);
	rig->pause = true;
	while (rig->running && !rig->paused)
		pthread_cond_wait(&rig->changed, &rig->lock);
	rig->pause = false;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

static int region_read(void *device, unsigned region, uint64_t offset, void *data, uint32_t bytes)
{
	struct rig *rig = device;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return pci_config_read(&rig->pci, offset, data, bytes);
	if (region == VFIO_PCI_BAR0_REGION_INDEX && offset < 0x1000 && bytes != 4)
		return -EINVAL;
	memcpy(data, (region == VFIO_PCI_BAR0_REGION_INDEX ? rig->bar0 : rig->bar2) + offset,
		bytes);
	return 0;
}

static int region_write(
	void *device, unsigned region, uint64_t offset, const void *data, uint32_t bytes)
{
	struct rig *rig = device;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return pci_config_write(&rig->pci, offset, data, bytes) < 0 ? -EINVAL : 0;
	if (region == VFIO_PCI_BAR0_REGION_INDEX) {
		if (offset < 0x1000 && bytes != 4)
			return -EINVAL;
		if (offset == RIG_REG_PAUSE)
			pause_engine(rig);
	}
	memcpy((region == VFIO_PCI_BAR0_REGION_INDEX ? rig->bar0 : rig->bar2) + offset, data,
		bytes);
	return 0;
}

static int dma_map(void *device, const struct vfu_window *window)
{
	struct rig *rig = device;

	for (unsigned i = 0; i < RIG_WINDOWS; i++) {
		struct rig_window *w = &rig->window[i];

		if (w->used)
			continue;
		*w = (struct rig_window){.window = *window, .used = true};
		if (window->fd >= 0)
			w->window.fd = fcntl(window->fd, F_DUPFD_CLOEXEC, 0);
		rig->windows++;
		return 0;
	}
	return -ENOSPC;
}

static void drop_window(struct rig *rig, struct rig_window *w)
{
	if (w->window.fd >= 0)
		close(w->window.fd);
	w->used = false;
	rig->windows--;
}

static void dma_unmap(void *device, struct bus_addr bus, uint64_t bytes)
{
	struct rig *rig = device;

	unsigned before = rig->windows;

	pause_engine(rig);
	for (unsigned i = 0; i < RIG_WINDOWS; i++) {
		struct rig_window *w = &rig->window[i];
		uint64_t from = w->window.bus.value - bus.value;

		if (!w->used ||
			(from >= bytes && bus.value - w->window.bus.value >= w->window.bytes))
			continue;
		assert_true(from < bytes && w->window.bytes <= bytes - from);
		drop_window(rig, w);
	}
	assert_true(rig->windows < before);
}

static void dma_unmap_all(void *device)
{
	struct rig *rig = device;

	for (unsigned i = 0; i < RIG_WINDOWS; i++)
		if (rig->window[i].used)
			drop_window(rig, &rig->window[i]);
}

static int reset(void *device)
{
	struct rig *rig = device;

	rig->resets++;
	memset(rig->bar0, 0, RIG_BAR0);
	pci_config_reset(&rig->pci);
	return 0;
}

static void read_done(void *device)
{
	((struct rig *)device)->reads_done++;
}

static void connected(void *device)
{
	((struct rig *)device)->connects++;
}

static void disconnected(void *device)
{
	((struct rig *)device)->disconnects++;
}

static void log_line(void *device, const char *text)
{
	struct rig *rig = device;

	snprintf(rig->log, sizeof(rig->log), "%s", text);
}

static const struct vfu_ops ops = {
	.region_read = region_read,
	.region_write = region_write,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.dma_unmap_all = dma_unmap_all,
	.reset = reset,
	.read_done = read_done,
	.connected = connected,
	.disconnected = disconnected,
	.log = log_line,
};

/* --- Threads ---------------------------------------------------------------------------------- */

static void *control_thread(void *argument)
{
	struct rig *rig = argument;

	while (!rig->stop) {
		struct pollfd wait = {.fd = vfu_fd(rig->vfu), .events = POLLIN};
		poll(&wait, 1, 20);
		vfu_service(rig->vfu);
	}
	return NULL;
}

void rig_serve(struct rig *rig)
{
	rig->threaded = true;
	assert_int_equal(pthread_create(&rig->control, NULL, control_thread, rig), 0);
}

int rig_read(struct vfu *vfu, struct bus_addr bus, void *data, size_t bytes)
{
	int result;

	while ((result = vfu_dma_read(vfu, bus, data, bytes)) == -EAGAIN)
		rig_sleep_ms(1);
	return result;
}

/* Writes a number through the window, then reads it back; never waits. */
static void *engine_thread(void *argument)
{
	struct rig *rig = argument;
	uint64_t number = 0, back = 0;
	bool reading = false;

	while (!rig->engine_stop) {
		int result = reading ? vfu_dma_read(rig->vfu, rig->bus, &back, sizeof(back))
				     : vfu_dma_write(rig->vfu, rig->bus, &number, sizeof(number));
		bool good = !result || result == -EAGAIN;

		if (reading && !result) {
			good = back == number++;
			rig->moved += good;
		}
		reading = result == -EAGAIN || (!result && !reading);
		if (!good)
			rig->faults++;
		if (!good && vfu_connected(rig->vfu))
			rig->faults_connected++;
		pthread_mutex_lock(&rig->lock);
		if (rig->pause) {
			rig->paused = true;
			pthread_cond_broadcast(&rig->changed);
			while (rig->pause)
				pthread_cond_wait(&rig->changed, &rig->lock);
			rig->paused = false;
		}
		pthread_mutex_unlock(&rig->lock);
		if (!good)
			rig_sleep_ms(1);
	}
	pthread_mutex_lock(&rig->lock);
	rig->running = false;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
	return NULL;
}

void rig_engine_start(struct rig *rig, struct bus_addr bus)
{
	rig->bus = bus;
	rig->engine_stop = false;
	rig->running = true;
	assert_int_equal(pthread_create(&rig->engine, NULL, engine_thread, rig), 0);
}

void rig_engine_stop(struct rig *rig)
{
	rig->engine_stop = true;
	pthread_join(rig->engine, NULL);
}

/* --- Life ------------------------------------------------------------------------------------- */

void rig_open(struct rig *rig, const char *path, int connection, unsigned timeout_ms)
{
	const uint64_t bars[3] = {RIG_BAR0, RIG_BAR2, 0x1000};
	const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW;
	struct error error = {""};
	char again[32];

	memset(rig, 0, sizeof(*rig));
	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->changed, NULL);
	assert_int_equal(pci_config_init(&rig->pci, bars), 0);
	rig->bar0_fd = rig_memfd(RIG_BAR0, seals);
	rig->bar2_fd = rig_memfd(RIG_BAR2, seals);
	rig->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->bar0 = mmap(NULL, RIG_BAR0, PROT_READ | PROT_WRITE, MAP_SHARED, rig->bar0_fd, 0);
	rig->bar2 = mmap(NULL, RIG_BAR2, PROT_READ | PROT_WRITE, MAP_SHARED, rig->bar2_fd, 0);
	assert_true(rig->bar0 != MAP_FAILED && rig->bar2 != MAP_FAILED);
	snprintf(again, sizeof(again), "/proc/self/fd/%d", rig->bar0_fd);
	rig->bar0_shown_fd = open(again, O_RDONLY | O_CLOEXEC);
	assert_true(rig->bar0_shown_fd >= 0);

	rig->shown = (struct vfio_user_area){0x1000, 0x1000};
	rig->io_fd = (struct vfu_io_fd){.offset = 0x2000, .fd = rig->doorbell};
	struct vfu_config config = {
		.path = path,
		.connection = connection,
		.ops = &ops,
		.device = rig,
		.vectors = P2PNIC_VECTORS,
		.dma_timeout_ms = timeout_ms,
	};
	const uint32_t both = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	config.region[VFIO_PCI_BAR0_REGION_INDEX] = (struct vfu_region){
		.bytes = RIG_BAR0,
		.flags = both,
		.fd = rig->bar0_shown_fd,
		.mappable = true,
		.areas = &rig->shown,
		.area_count = 1,
		.io_fds = &rig->io_fd,
		.io_fd_count = 1,
	};
	config.region[VFIO_PCI_BAR2_REGION_INDEX] = (struct vfu_region){
		.bytes = RIG_BAR2, .flags = both, .fd = rig->bar2_fd, .mappable = true};
	config.region[VFIO_PCI_CONFIG_REGION_INDEX] =
		(struct vfu_region){.bytes = PCI_CONFIG_BYTES, .flags = both};
	rig->config = config;
	int result = vfu_open(&rig->vfu, &config, &error);
	if (result)
		fail_msg("%d: %s", result, error.text);
}

void rig_close(struct rig *rig)
{
	if (rig->threaded) {
		rig->stop = true;
		pthread_join(rig->control, NULL);
	}
	vfu_close(rig->vfu);
	munmap(rig->bar0, RIG_BAR0);
	munmap(rig->bar2, RIG_BAR2);
	close(rig->bar0_fd);
	close(rig->bar0_shown_fd);
	close(rig->bar2_fd);
	close(rig->doorbell);
	assert_int_equal(rig->windows, 0);
	pthread_mutex_destroy(&rig->lock);
	pthread_cond_destroy(&rig->changed);
}
