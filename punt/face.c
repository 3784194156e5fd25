/* SPDX-License-Identifier: BSD-3-Clause */
#include "punt/face.h"
#include "punt/inject.h"

#include "ipc/clock.h"
#include "ipc/exchange.h"
#include "vfio_user/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_NS 5000000ull /* of a control frame whose ring is full: what 256 take at 25 Mb/s */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void set_carrier(struct face *f, bool carrier)
{
	int on = carrier;

	/* Of an interface that was deleted it fails; that is seen by who reads from it. */
	if (ioctl(f->tap, TUNSETCARRIER, &on) == 0)
		f->carrier = carrier;
}

/* --- Life ------------------------------------------------------------------------------------- */

/* Memory that could be cut short would be a signal at any access. Device memory is the kernel's. */
static int check_part(const struct host_share *s, struct error *error)
{
	struct stat info;
	int kind;

	if (fstat(s->fd, &info))
		return -errno;
	if (s->bytes && !S_ISREG(info.st_mode))
		return 0;
	kind = vfio_user_check_fd(s->fd, s->bytes ? s->offset : 0, s->bytes,
		VFIO_DMA_MAP_FLAG_READ | (s->write ? VFIO_DMA_MAP_FLAG_WRITE : 0), error);
	if (kind < 0)
		return kind;
	return kind == (s->bytes ? VFIO_USER_FD_MEMORY : VFIO_USER_FD_EVENT) ? 0 : -EINVAL;
}

static int attach(struct face *f, const struct host_share share[HOST_PARTS])
{
	struct error error;
	int result = 0;

	for (unsigned k = 0; !result && k < HOST_PARTS; k++)
		if (share[k].fd >= 0)
			result = check_part(&share[k], &error);
	/* Two parts are of no use but as eventfds. */
	if (!result && (share[HOST_EVENT].fd < 0 || share[HOST_EVENT].bytes))
		result = -EINVAL;
	if (!result)
		result = host_maps_make(&f->maps, share, &error);
	for (unsigned k = 0; !result && k < P2PNIC_HOST_RINGS; k++)
		result = host_ring_attach(&f->ring[k], &f->maps, (enum p2pnic_host_ring)k);
	if (result) {
		host_maps_free(&f->maps);
		return result;
	}
	f->open = true;
	return 0;
}

int face_take(struct face *f, const struct punt_message *m, const int *fds, unsigned count)
{
	struct host_share share[HOST_PARTS];
	unsigned used = 1;
	int result = 0;

	for (unsigned k = 0; k < HOST_PARTS; k++) {
		const struct punt_part *p = &m->part[k];

		share[k] = (struct host_share){
			.fd = -1, .write = p->write, .offset = p->offset, .bytes = p->bytes};
		if (p->there && used++ < count)
			share[k].fd = fds[used - 1];
	}
	if (used != count) {
		exchange_close_all(fds, count);
		return -EINVAL;
	}
	face_close(f);
	f->tap = fds[0];
	f->tap_gone = false;
	fcntl(f->tap, F_SETFL, O_RDWR | O_NONBLOCK);
	if (count > 1)
		result = attach(f, share);
	if (f->open) {
		f->event = share[HOST_EVENT].fd;
		f->doorbell = f->maps.doorbell;
	}
	/* Mapped memory needs no descriptor. */
	for (unsigned k = 1; k < count; k++)
		if (fds[k] != f->event && fds[k] != f->doorbell)
			close(fds[k]);
	set_carrier(f, f->open && host_ring_link(&f->ring[P2PNIC_RING_CONTROL]));
	return result;
}

void face_close_rings(struct face *f)
{
	for (unsigned k = 0; f->open && k < P2PNIC_HOST_RINGS; k++)
		f->counts.bad[k] += f->ring[k].counts.bad_descriptors;
	f->open = false;
	host_maps_free(&f->maps);
	close_fd(&f->event);
	close_fd(&f->doorbell);
}

void face_close(struct face *f)
{
	face_close_rings(f);
	close_fd(&f->tap);
}

void face_look(struct face *f)
{
	bool carrier = f->open;

	for (unsigned k = 0; carrier && k < P2PNIC_HOST_RINGS; k++)
		carrier = host_ring_is_open(&f->ring[k]);
	if (f->open && !carrier)
		face_close_rings(f);
	carrier = carrier && host_ring_link(&f->ring[P2PNIC_RING_CONTROL]);
	if (carrier != f->carrier && !f->tap_gone)
		set_carrier(f, carrier);
}

void face_counts(const struct face *f, struct punt_counts *c)
{
	*c = f->counts;
	for (unsigned k = 0; f->open && k < P2PNIC_HOST_RINGS; k++)
		c->bad[k] += f->ring[k].counts.bad_descriptors;
}

/* --- Punts ------------------------------------------------------------------------------------ */

unsigned face_deliver(struct face *f, enum p2pnic_host_ring number)
{
	struct host_frame frames[FACE_BATCH];
	unsigned n;

	if (!f->open)
		return 0;
	n = host_ring_receive(&f->ring[number], frames, FACE_BATCH);
	for (unsigned k = 0; k < n; k++) {
		const ssize_t written = write(f->tap, frames[k].data, frames[k].length);

		if (written < 0)
			f->counts.refused[frames[k].class]++;
		else
			f->counts.passed[frames[k].class]++;
	}
	f->counts.received[number] += n;
	host_ring_release(&f->ring[number], n);
	return n;
}

/* --- Injects ---------------------------------------------------------------------------------- */

static int send_frame(
	struct face *f, enum p2pnic_host_ring number, const uint8_t *frame, uint32_t length)
{
	const int result = f->open ? host_ring_send(&f->ring[number], frame, length) : -ENOTCONN;

	if (result == -EMSGSIZE)
		f->counts.oversize++;
	else if (result == 0)
		f->counts.sent[number]++;
	else if (result != -EAGAIN || number > P2PNIC_RING_NEIGHBOR)
		f->counts.full[number]++;
	return result;
}

unsigned face_inject(struct face *f)
{
	unsigned n = 0;

	while (n < FACE_BATCH && !f->waiting) {
		const ssize_t length = read(f->tap, f->frame, sizeof(f->frame));

		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0) {
			f->tap_gone = length == 0 || errno != EAGAIN; /* EBADFD */
			break;
		}
		n++;
		const enum p2pnic_host_ring number = inject_ring(f->frame, (uint32_t)length);

		if (send_frame(f, number, f->frame, (uint32_t)length) == -EAGAIN &&
			number <= P2PNIC_RING_NEIGHBOR) {
			f->waiting = (uint32_t)length;
			f->waiting_ring = number;
			f->waiting_until = clock_now_ns() + WAIT_NS;
		}
	}
	return n;
}

bool face_inject_waiting(struct face *f)
{
	if (!f->waiting)
		return true;
	if (send_frame(f, f->waiting_ring, f->frame, f->waiting) == -EAGAIN) {
		if (clock_now_ns() < f->waiting_until)
			return false;
		f->counts.full[f->waiting_ring]++;
	}
	f->waiting = 0;
	return true;
}

/* --- Sleep ------------------------------------------------------------------------------------ */

bool face_arm(struct face *f)
{
	bool idle = true;

	for (unsigned k = 0; f->open && k < P2PNIC_HOST_RINGS; k++)
		idle = host_ring_arm(&f->ring[k]) && idle;
	return idle;
}

void face_disarm(struct face *f)
{
	for (unsigned k = 0; f->open && k < P2PNIC_HOST_RINGS; k++)
		host_ring_disarm(&f->ring[k]);
}
