/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net.h"

#include "machine.h"

/* Registers: 4.2.2. */
#define MAGIC            0x000u
#define VERSION          0x004u
#define DEVICE           0x008u
#define FEATURES         0x010u
#define FEATURES_SELECT  0x014u
#define ACCEPTED         0x020u
#define ACCEPTED_SELECT  0x024u
#define QUEUE            0x030u
#define QUEUE_SLOTS_MAX  0x034u
#define QUEUE_SLOTS      0x038u
#define QUEUE_READY      0x044u
#define NOTIFY           0x050u
#define INTERRUPT        0x060u
#define INTERRUPT_TAKEN  0x064u
#define STATUS           0x070u
#define QUEUE_DESCRIPTOR 0x080u
#define QUEUE_AVAILABLE  0x090u
#define QUEUE_USED       0x0a0u
#define CONFIG           0x100u /* 5.1.4: MAC address, status */

#define MAGIC_VALUE 0x74726976u
#define NET         1u

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u

/* Features, by their word of 32: 5.1.3, 6. */
#define FEATURES_LOW  (1u << 5 | 1u << 16) /* MAC, STATUS */
#define FEATURES_HIGH (1u << 0)            /* VERSION_1 */

#define DESCRIPTOR_NEXT        1u
#define DESCRIPTOR_WRITE       2u /* the device writes it */
#define AVAILABLE_NO_INTERRUPT 1u
#define USED_NO_NOTIFY         1u

enum { RECEIVE, SEND };

/* 5.1.6, in front of every frame; all zero: nothing is offloaded. */
#define HEADER_BYTES 12u
static const uint8_t no_offload[HEADER_BYTES];

static uint16_t index_read(const uint16_t *index)
{
	return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

/* The device reads descriptors and frames once it sees the index. */
static void index_write(struct virtq *q, uint16_t index)
{
	fence_all();
	__atomic_store_n(&q->available.index, index, __ATOMIC_RELAXED);
}

static void notify(struct virtio_net *v, struct virtq *q, unsigned queue)
{
	fence_all();
	if (!(__atomic_load_n(&q->used.flags, __ATOMIC_RELAXED) & USED_NO_NOTIFY))
		write32(v->at + NOTIFY, queue);
}

static void write_address(uintptr_t reg, const void *address)
{
	write32(reg, (uint32_t)(uintptr_t)address);
	write32(reg + 4, (uint32_t)((uintptr_t)address >> 32));
}

static void queue_start(struct virtio_net *v, struct virtq *q, unsigned queue)
{
	__builtin_memset(q, 0, sizeof(*q));
	q->available.flags = AVAILABLE_NO_INTERRUPT;
	write32(v->at + QUEUE, queue);
	if (read32(v->at + QUEUE_SLOTS_MAX) < VIRTQ_SLOTS)
		panic("virtio-net: its queues have less than 256 slots");
	write32(v->at + QUEUE_SLOTS, VIRTQ_SLOTS);
	write_address(v->at + QUEUE_DESCRIPTOR, q->descriptor);
	write_address(v->at + QUEUE_AVAILABLE, &q->available);
	write_address(v->at + QUEUE_USED, &q->used);
	write32(v->at + QUEUE_READY, 1);
}

/* 3.1.1. A reset is all there is to take buffers back from the device; what it was sending is given
 * up. */
static void begin(struct virtio_net *v)
{
	write32(v->at + STATUS, 0);
	while (read32(v->at + STATUS))
		;
	v->failed += v->sent - v->done;
	for (; v->done != v->sent; v->done++)
		v->finished[v->done % VIRTQ_SENDS] = false;
	v->frames = v->buffers = 0;
	write32(v->at + STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	write32(v->at + ACCEPTED_SELECT, 0);
	write32(v->at + ACCEPTED, FEATURES_LOW);
	write32(v->at + ACCEPTED_SELECT, 1);
	write32(v->at + ACCEPTED, FEATURES_HIGH);
	write32(v->at + STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	if (!(read32(v->at + STATUS) & STATUS_FEATURES_OK))
		panic("virtio-net: it has no version 1, MAC address or link status");
	queue_start(v, &v->receive, RECEIVE);
	queue_start(v, &v->send, SEND);
	write32(v->at + STATUS,
		STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

bool virtio_net_open(struct virtio_net *v, uint8_t *memory, uint32_t buffer_bytes)
{
	for (unsigned slot = 0; slot < MACHINE_VIRTIO_SLOTS; slot++) {
		uintptr_t at = MACHINE_VIRTIO + slot * MACHINE_VIRTIO_STEP;

		if (read32(at + MAGIC) != MAGIC_VALUE || read32(at + DEVICE) != NET)
			continue;
		if (read32(at + VERSION) != 2)
			panic("virtio-net: want -global virtio-mmio.force-legacy=false");
		*v = (struct virtio_net){.at = at, .memory = memory, .buffer_bytes = buffer_bytes};
		machine_listen(1 + slot);
		begin(v);
		return true;
	}
	return false;
}

struct mac_addr virtio_net_mac(const struct virtio_net *v)
{
	struct mac_addr mac;

	for (unsigned k = 0; k < sizeof(mac.octet); k++)
		mac.octet[k] = *(volatile uint8_t *)(v->at + CONFIG + k);
	return mac;
}

bool virtio_net_link(const struct virtio_net *v)
{
	return *(volatile uint16_t *)(v->at + CONFIG + sizeof(struct mac_addr)) & 1;
}

/* --- Receiving -------------------------------------------------------------------------------- */

/* The device writes its header in front of where the frame begins. */
static void post(struct virtio_net *v, unsigned slot)
{
	struct virtq *q = &v->receive;

	q->descriptor[slot] = (struct virtq_descriptor){
		.address = (uintptr_t)v->memory + v->buffer[slot] + P2PNIC_HEADROOM - HEADER_BYTES,
		.bytes = P2PNIC_FRAME_BYTES_MAX(v->buffer_bytes) + HEADER_BYTES,
		.flags = DESCRIPTOR_WRITE};
	q->available.ring[q->available.index % VIRTQ_SLOTS] = (uint16_t)slot;
	index_write(q, (uint16_t)(q->available.index + 1));
}

int virtio_net_start(struct virtio_net *v, const uint32_t *buffers, unsigned n)
{
	v->buffers = n < VIRTQ_SLOTS ? n : VIRTQ_SLOTS;
	for (unsigned slot = 0; slot < v->buffers; slot++) {
		v->buffer[slot] = buffers[slot];
		post(v, slot);
	}
	notify(v, &v->receive, RECEIVE);
	return (int)v->buffers;
}

unsigned virtio_net_stop(struct virtio_net *v, uint32_t *buffers)
{
	unsigned n = v->buffers;

	__builtin_memcpy(buffers, v->buffer, n * sizeof(*buffers));
	begin(v);
	return n;
}

unsigned virtio_net_receive(struct virtio_net *v, struct frame *frames, unsigned max)
{
	struct virtq *q = &v->receive;
	uint16_t waiting = (uint16_t)(index_read(&q->used.index) - q->seen);

	v->frames = waiting < max ? waiting : max;
	for (unsigned k = 0; k < v->frames; k++, q->seen++) {
		unsigned slot = q->used.ring[q->seen % VIRTQ_SLOTS].id;

		v->burst[k] = (uint16_t)slot;
		frames[k].data = v->memory + v->buffer[slot] + P2PNIC_HEADROOM;
		frames[k].length = q->used.ring[q->seen % VIRTQ_SLOTS].bytes - HEADER_BYTES;
	}
	return v->frames;
}

void virtio_net_keep(struct virtio_net *v, const uint8_t *frame, unsigned n, uint32_t *at)
{
	for (unsigned k = 0; k < n; k++) {
		uint32_t *buffer = &v->buffer[v->burst[frame[k]]];
		uint32_t kept = *buffer + P2PNIC_HEADROOM;

		*buffer = at[k];
		at[k] = kept;
	}
}

void virtio_net_release(struct virtio_net *v)
{
	for (unsigned k = 0; k < v->frames; k++)
		post(v, v->burst[k]);
	if (v->frames)
		notify(v, &v->receive, RECEIVE);
	v->frames = 0;
}

bool virtio_net_arm(struct virtio_net *v)
{
	struct virtq *q = &v->receive;

	__atomic_store_n(&q->available.flags, 0, __ATOMIC_RELAXED);
	fence_all();
	return index_read(&q->used.index) != q->seen;
}

void virtio_net_disarm(struct virtio_net *v)
{
	__atomic_store_n(&v->receive.available.flags, AVAILABLE_NO_INTERRUPT, __ATOMIC_RELAXED);
	write32(v->at + INTERRUPT_TAKEN, read32(v->at + INTERRUPT));
}

/* --- Sending ---------------------------------------------------------------------------------- */

unsigned virtio_net_transmit(
	struct virtio_net *v, const struct p2pnic_descriptor *frames, unsigned n)
{
	struct virtq *q = &v->send;
	unsigned room = VIRTQ_SENDS - (v->sent - v->done);

	if (n > room)
		n = room;
	for (unsigned k = 0; k < n; k++, v->sent++) {
		uint16_t slot = (uint16_t)(v->sent % VIRTQ_SENDS * 2);

		q->descriptor[slot] = (struct virtq_descriptor){
			.address = (uintptr_t)no_offload,
			.bytes = HEADER_BYTES,
			.flags = DESCRIPTOR_NEXT,
			.next = (uint16_t)(slot + 1),
		};
		q->descriptor[slot + 1] = (struct virtq_descriptor){
			.address = (uintptr_t)v->memory + frames[k].offset,
			.bytes = frames[k].length,
		};
		q->available.ring[(uint16_t)(q->available.index + k) % VIRTQ_SLOTS] = slot;
	}
	index_write(q, (uint16_t)(q->available.index + n));
	return n;
}

void virtio_net_flush(struct virtio_net *v)
{
	notify(v, &v->send, SEND);
}

/* The device may finish them in another order (2.7.13). */
unsigned virtio_net_transmitted(struct virtio_net *v, uint64_t *failed)
{
	struct virtq *q = &v->send;
	uint16_t index = index_read(&q->used.index);
	unsigned n = (unsigned)v->failed;

	*failed += v->failed;
	v->failed = 0;
	for (; q->seen != index; q->seen++)
		v->finished[q->used.ring[q->seen % VIRTQ_SLOTS].id / 2] = true;
	for (; v->finished[v->done % VIRTQ_SENDS]; v->done++, n++)
		v->finished[v->done % VIRTQ_SENDS] = false;
	return n;
}
