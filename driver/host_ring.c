/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/host_ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* --- Maps ------------------------------------------------------------------------------------- */

void host_maps_free(struct host_maps *m)
{
	for (unsigned k = 0; k < HOST_PARTS; k++)
		if (m->at[k])
			munmap(m->page[k], m->page_bytes[k]);
	*m = (struct host_maps){.doorbell = -1};
}

/* What a descriptor is mapped by: pages of its file, huge ones perhaps (mapping.c of the soft
 * NIC). */
static uint64_t page_of(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_blksize > 4096 &&
			       !(status.st_blksize & (status.st_blksize - 1))
		       ? (uint64_t)status.st_blksize
		       : 4096;
}

int host_maps_make(
	struct host_maps *m, const struct host_share share[HOST_PARTS], struct error *error)
{
	*m = (struct host_maps){.doorbell = -1};
	for (unsigned k = 0; k < HOST_PARTS; k++) {
		const struct host_share *s = &share[k];

		if (s->fd < 0 || !s->bytes)
			continue;
		const uint64_t page = page_of(s->fd), before = s->offset & (page - 1);
		const uint64_t bytes = (before + s->bytes + page - 1) & ~(page - 1);
		uint8_t *at = mmap(NULL, bytes, PROT_READ | (s->write ? PROT_WRITE : 0), MAP_SHARED,
			s->fd, (off_t)(s->offset - before));
		if (at == MAP_FAILED) {
			const int result = -errno;

			host_maps_free(m);
			return error_set(error, result, "mapping part %u of the host's rings: %s",
				k, strerror(-result));
		}
		m->at[k] = at + before;
		m->bytes[k] = s->bytes;
		m->page[k] = at;
		m->page_bytes[k] = bytes;
	}
	if (!share[HOST_DOORBELL].bytes)
		m->doorbell = share[HOST_DOORBELL].fd;
	return 0;
}

/* --- Words ------------------------------------------------------------------------------------ */

static uint64_t word_at(const struct p2pnic_mailbox *m, uint32_t slot)
{
	return __atomic_load_n((const uint64_t *)&m->descriptor[slot], __ATOMIC_ACQUIRE);
}

/* The descriptor with that index has been published. */
static bool has_tag(const struct host_ring *r, uint64_t word, uint32_t index)
{
	return P2PNIC_FLAGS_TAG(word >> 48) == p2pnic_tag(r->epoch, index, r->slots);
}

/* Of this life; before the first one of it: 0. */
static uint32_t index_of(const struct host_ring *r, uint64_t word)
{
	return P2PNIC_RING_EPOCH(word) == r->epoch ? P2PNIC_RING_INDEX(word) : 0;
}

/* Acquire: pairs with the NIC's board_dma_write64, so a buffer is not written again before the NIC
 * has done with it. */
static uint32_t completed_by_nic(const struct host_ring *r)
{
	return index_of(r, atomic_load_explicit(&r->mailbox->consumer, memory_order_acquire));
}

static bool nic_sleeps(const struct host_ring *r)
{
	return atomic_load_explicit(&r->mailbox->asleep, memory_order_relaxed);
}

static void ring_doorbell(const struct host_ring *r)
{
	if (r->doorbell_word)
		atomic_store_explicit(r->doorbell_word, 1, memory_order_release);
	else
		eventfd_write(r->doorbell, 1);
}

static void write_asleep(struct host_ring *r, uint32_t asleep)
{
	atomic_store_explicit(&r->nic_mailbox->asleep, asleep, memory_order_release);
}

/* --- Attaching -------------------------------------------------------------------------------- */

static bool header_valid(const struct host_ring_header *h, const struct host_maps *m)
{
	const uint32_t slots = h->slots, bytes = h->buffer_bytes, method = h->method;

	return h->magic == HOST_RING_MAGIC && method >= P2PNIC_METHOD_WRITE &&
	       method <= P2PNIC_METHOD_BOUNCE && slots >= P2PNIC_RING_SLOTS_MIN &&
	       slots <= P2PNIC_RING_SLOTS_MAX && !(slots & (slots - 1)) &&
	       p2pnic_buffer_bytes_valid(bytes) &&
	       m->bytes[HOST_MEMORY] >= HOST_WRITE + host_ring_write_bytes(method, slots, bytes) +
						host_ring_read_bytes(method, slots, bytes) &&
	       m->bytes[HOST_MAILBOXES] >= P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox) &&
	       (method != P2PNIC_METHOD_WRITE ||
		       m->bytes[HOST_PACKETS] >= host_ring_buffers_bytes(slots, bytes)) &&
	       (method != P2PNIC_METHOD_READ || m->bytes[HOST_PACKETS] > 0) &&
	       (m->at[HOST_DOORBELL] || m->doorbell >= 0);
}

/* From what the NIC has consumed on, as far as descriptors were published. */
static void find_produced(struct host_ring *r)
{
	r->completed = r->produced = completed_by_nic(r);
	while (r->produced - r->completed < r->slots &&
		has_tag(r, word_at(r->nic_mailbox, r->produced & (r->slots - 1)), r->produced))
		r->produced++;
}

int host_ring_attach(struct host_ring *r, const struct host_maps *m, enum p2pnic_host_ring number)
{
	uint8_t *const memory = m->at[HOST_MEMORY];
	struct host_ring_header h;

	if (m->bytes[HOST_MEMORY] < HOST_WRITE)
		return -EPROTO;
	/* Read once: a soft NIC that was handed the memfd could map all of it. */
	memcpy(&h, memory, sizeof(h));
	__asm__ volatile("" : "+m"(h));
	if (!header_valid(&h, m))
		return -EPROTO;
	const uint64_t ring_bytes = (uint64_t)h.slots * h.buffer_bytes;
	uint8_t *punts = memory + HOST_WRITE + P2PNIC_HOST_RINGS * sizeof(struct p2pnic_mailbox);
	uint8_t *injects =
		memory + HOST_WRITE + host_ring_write_bytes(h.method, h.slots, h.buffer_bytes);

	*r = (struct host_ring){
		.header = (const struct host_ring_header *)(const void *)memory,
		.number = number,
		.epoch = h.epoch[number],
		.slots = h.slots,
		.buffer_bytes = h.buffer_bytes,
		.punts = punts + number * ring_bytes,
		.punts_bytes = ring_bytes,
		.mailbox = (struct p2pnic_mailbox *)(void *)(memory + HOST_WRITE) + number,
		.injects = injects + number * ring_bytes,
		.nic_mailbox = (struct p2pnic_mailbox *)(void *)m->at[HOST_MAILBOXES] + number,
		.doorbell = m->doorbell,
		.doorbell_word = (void *)m->at[HOST_DOORBELL],
	};
	if (h.method == P2PNIC_METHOD_WRITE) {
		r->injects = m->at[HOST_PACKETS] + number * ring_bytes;
	} else if (h.method == P2PNIC_METHOD_READ) {
		r->punts = m->at[HOST_PACKETS];
		r->punts_bytes = m->bytes[HOST_PACKETS];
	}
	if (!r->epoch)
		return -ENOTCONN;
	r->consumed = r->dequeued =
		index_of(r, atomic_load_explicit(&r->nic_mailbox->consumer, memory_order_relaxed));
	find_produced(r);
	write_asleep(r, 0);
	/* The process before may have been killed between a descriptor and its doorbell. */
	ring_doorbell(r);
	return 0;
}

bool host_ring_is_open(const struct host_ring *r)
{
	return atomic_load_explicit(&r->header->epoch[r->number], memory_order_relaxed) == r->epoch;
}

bool host_ring_link(const struct host_ring *r)
{
	return atomic_load_explicit(&r->mailbox->link_down, memory_order_relaxed) == P2PNIC_LINK_UP;
}

/* --- Punts ------------------------------------------------------------------------------------ */

/* Release: the NIC writes into the buffers when it sees the word, so they have been read. */
static void complete(struct host_ring *r, unsigned n)
{
	r->consumed += n;
	atomic_store_explicit(&r->nic_mailbox->consumer, P2PNIC_RING_WORD(r->epoch, r->consumed),
		memory_order_release);
}

/* The checks of p2pnic/ring.h. */
static bool frame_of(const struct host_ring *r, uint64_t word, struct host_frame *f)
{
	const uint64_t offset = (uint32_t)word;
	const uint32_t length = (uint16_t)(word >> 32);
	const uint32_t reason = P2PNIC_FLAGS_REASON(word >> 48);

	if (length < P2PNIC_FRAME_BYTES_MIN || length > P2PNIC_FRAME_BYTES_MAX(r->buffer_bytes) ||
		offset + length > r->punts_bytes || reason >= P2PNIC_DROP_COUNT)
		return false;
	*f = (struct host_frame){.data = r->punts + offset,
		.length = length,
		.reason = (enum p2pnic_drop)reason,
		.class = (enum p2pnic_punt_class)P2PNIC_FLAGS_CLASS(word >> 48)};
	return true;
}

/* A bad descriptor is completed in its turn, when all before it are released. A NIC that writes
 * nothing else keeps no caller here: no more descriptors are looked at than there are slots. */
unsigned host_ring_receive(struct host_ring *r, struct host_frame *frames, unsigned max)
{
	unsigned n = 0;

	for (uint32_t looks = 0; looks < r->slots && n < max; looks++) {
		const uint64_t word = word_at(r->mailbox, r->dequeued & (r->slots - 1));

		if (r->dequeued - r->consumed == r->slots || !has_tag(r, word, r->dequeued))
			break;
		if (frame_of(r, word, &frames[n])) {
			r->dequeued++;
			n++;
		} else if (r->dequeued == r->consumed) {
			r->dequeued++;
			complete(r, 1);
			r->counts.bad_descriptors++;
		} else {
			break;
		}
	}
	r->counts.received += n;
	return n;
}

void host_ring_release(struct host_ring *r, unsigned n)
{
	assert(n <= r->dequeued - r->consumed);
	if (n)
		complete(r, n);
}

/* --- Injects ---------------------------------------------------------------------------------- */

static int reclaim(struct host_ring *r)
{
	const uint32_t index = completed_by_nic(r);

	if (index - r->completed > r->produced - r->completed) {
		r->given_up = true;
		return -EPROTO;
	}
	r->completed = index;
	if (r->produced - r->completed < r->slots)
		return 0;
	r->counts.full++;
	return -EAGAIN;
}

/* Data before what announces it: release on the soft NIC; over PCIe posted writes of one requester
 * stay in order. The fence pairs with the NIC's in nic_arm, where it writes `asleep` and then looks
 * at the ring: at least one of the two sees the other. */
int host_ring_send(struct host_ring *r, const void *frame, uint32_t length)
{
	const uint32_t slot = r->produced & (r->slots - 1), offset = slot * r->buffer_bytes;

	if (length < P2PNIC_FRAME_BYTES_MIN || length > P2PNIC_FRAME_BYTES_MAX(r->buffer_bytes))
		return -EMSGSIZE;
	if (r->given_up)
		return -EPROTO;
	if (r->produced - r->completed == r->slots) {
		const int result = reclaim(r);

		if (result)
			return result;
	}
	memcpy(r->injects + offset, frame, length);
	__atomic_store_n((uint64_t *)&r->nic_mailbox->descriptor[slot],
		offset | (uint64_t)length << 32 |
			(uint64_t)p2pnic_tag(r->epoch, r->produced, r->slots) << 48,
		__ATOMIC_RELEASE);
	r->produced++;
	r->counts.sent++;
	atomic_thread_fence(memory_order_seq_cst);
	if (nic_sleeps(r))
		ring_doorbell(r);
	return 0;
}

/* --- Sleep ------------------------------------------------------------------------------------ */

/* The fence pairs with the one in rings_publish. Over PCIe it takes the read as well: it pushes our
 * posted write to the NIC, and its answer pushes what the NIC had posted before (docs/datasheet.md,
 * §19). */
bool host_ring_arm(struct host_ring *r)
{
	write_asleep(r, 1);
	atomic_thread_fence(memory_order_seq_cst);
	(void)atomic_load_explicit(&r->nic_mailbox->asleep, memory_order_acquire);
	return r->dequeued - r->consumed == r->slots ||
	       !has_tag(r, word_at(r->mailbox, r->dequeued & (r->slots - 1)), r->dequeued);
}

void host_ring_disarm(struct host_ring *r)
{
	write_asleep(r, 0);
}
