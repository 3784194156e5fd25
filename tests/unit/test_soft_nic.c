/* SPDX-License-Identifier: BSD-3-Clause */
/* Soft NICs, engines, vfio-user, driver and fabric together, with captures for wires. */
#include "tests/unit/descriptors.h"
#include "tests/unit/memif_rig.h"
#include "tests/unit/soft_rig.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#define PACKETS 500u

static unsigned method = P2PNIC_METHOD_WRITE;

/* `n` packets for each other NIC in turn, seeds from 1. */
static void write_capture(struct soft_rig *r, unsigned nic, unsigned nics, unsigned n)
{
	struct packet *p = calloc(n, sizeof(*p));

	for (unsigned k = 0; k < n; k++)
		packet_ipv4(&p[k], nic, PACKET_TO(k % nics), 64, 4 + k * 7 % 1700, k + 1);
	soft_capture(r, nic, p, n);
	free(p);
}

/* Everything that `egress` sent is right, and of each ingress in order. How many. */
static unsigned check_sent(struct soft_rig *r, unsigned egress)
{
	uint32_t last[SOFT_NICS_MAX] = {0};
	struct pcap *capture = soft_sent_open(r, egress);
	struct packet got, want;
	unsigned n = 0;

	for (; soft_sent(capture, &got); n++) {
		unsigned ingress = got.bytes[11];
		uint32_t seed = packet_seed(&got);

		assert_true(ingress < SOFT_NICS_MAX);
		packet_ipv4(&want, ingress, PACKET_TO(egress), 64, got.length - 42, seed);
		packet_forwarded(&want, ingress, egress);
		assert_int_equal(got.length, want.length);
		assert_memory_equal(got.bytes, want.bytes, want.length);
		assert_true(seed > last[ingress]);
		last[ingress] = seed;
	}
	pcap_close(capture);
	return n;
}

static uint64_t drops(const struct driver_nic *n, enum p2pnic_drop reason)
{
	return driver_nic_count(&n->counters->dropped[reason]);
}

/* --- Forwarding ------------------------------------------------------------------------------- */

static void forward(unsigned nics, unsigned engines)
{
	struct soft_rig *r = soft_rig_new(method, engines);
	unsigned sent = 0;

	for (unsigned k = 0; k < nics; k++) {
		write_capture(r, k, nics, PACKETS);
		soft_add(r, k, false);
	}
	for (unsigned k = 0; k < nics; k++)
		soft_start(r, k);
	assert_true(soft_wait_received(r, PACKETS));
	assert_true(soft_accounts_even(r));
	for (unsigned k = 0; k < nics; k++)
		sent += check_sent(r, k);
	/* A capture comes in faster than rings of 64 drain: the rest is accounted for. */
	for (unsigned k = 0; k < nics; k++)
		sent += (unsigned)(drops(&r->driver[k], P2PNIC_DROP_RING_FULL) +
				   drops(&r->driver[k], P2PNIC_DROP_NO_BUFFER));
	assert_int_equal(sent, nics * PACKETS);
	soft_rig_free(r);
}

static void two_nics_on_one_engine(void **state)
{
	forward(2, 1);
}

static void three_nics_on_two_engines(void **state)
{
	forward(3, 2);
}

/* --- Sleep ------------------------------------------------------------------------------------ */

static void idle_engines_sleep_and_wake(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 2);
	uint64_t before;

	write_capture(r, 0, 1, 0);
	soft_add(r, 0, true);
	soft_add(r, 1, true);
	write_capture(r, 2, 2, 40); /* to 0 and 1 */
	usleep(100000);
	before = soft_engine_time(r);
	usleep(400000);
	/* A tenth would be a lot: they wake ten times a second, for microseconds. */
	assert_true(soft_engine_time(r) - before < 2 * 40000000ull);
	assert_true(driver_nic_count(&r->driver[1].counters->sleeps) > 0);
	/* NIC 1 sleeps on the other engine: a doorbell must wake it. */
	soft_add(r, 2, true);
	assert_true(soft_wait_sent(r, 0, 20));
	assert_true(soft_wait_sent(r, 1, 20));
	assert_true(soft_accounts_even(r));
	assert_int_equal(check_sent(r, 0), 20);
	assert_int_equal(check_sent(r, 1), 20);
	soft_rig_free(r);
}

/* The other end of a memif port sleeps: frames come with an event. */
static void a_sleeping_memif_peer_is_woken(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 1);
	struct pollfd event = {.events = POLLIN};
	struct frame frames[P2PNIC_BURST_MAX];
	struct end peer;
	uint32_t link = 0;

	snprintf(socket_path, sizeof(socket_path), "@p2pnic-test-soft-nic-%d", getpid());
	end_open(&peer, "role=server,unsealed=yes");
	r->memif[1] = socket_path;
	write_capture(r, 0, 2, 10);
	soft_add(r, 0, false);
	soft_add(r, 1, true);
	settle(&peer, NULL, true);
	for (unsigned k = 0; !link && k < 10000; k++) {
		assert_int_equal(driver_nic_read(&r->driver[1], P2PNIC_REG_LINK, &link), 0);
		pause_ms(1);
	}
	assert_int_equal(link, 1);
	event.fd = memif_port_ops.fd(peer.port);
	assert_false(memif_port_ops.arm(peer.port));
	assert_int_equal(poll(&event, 1, 0), 0);
	soft_start(r, 0);
	assert_int_equal(poll(&event, 1, 10000), 1);
	memif_port_ops.disarm(peer.port);
	for (unsigned n, got = 0; got < 5; got += n) {
		n = memif_port_ops.receive(peer.port, frames, P2PNIC_BURST_MAX);
		memif_port_ops.release(peer.port);
	}
	assert_true(soft_wait_sent(r, 1, 5));
	soft_rig_free(r);
	end_close(&peer);
}

/* --- The host's rings ------------------------------------------------------------------------- */

#define HOST_SLOTS 16u
#define HOST_BUS   0x700000000000ull

struct host {
	uint8_t *memory; /* mailbox, then buffers for punted, then for injected packets */
	size_t bytes;
	int fd;
	uint32_t consumed, produced;
	struct p2pnic_mailbox *mailbox;
	struct driver_nic *nic;
};

static uint8_t *host_buffers(struct host *h, bool injected)
{
	return h->memory + sizeof(struct p2pnic_mailbox) +
	       (injected ? HOST_SLOTS * h->nic->buffer_bytes : 0);
}

static struct p2pnic_mailbox *nic_mailbox(struct host *h)
{
	return (struct p2pnic_mailbox *)(h->nic->bar2 + P2PNIC_BAR2_MAILBOXES) +
	       P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION);
}

/* messages: the NIC gets no descriptor, only the bus addresses. */
static void host_open(struct soft_rig *r, struct host *h, unsigned nic, bool messages)
{
	struct p2pnic_peer *entry;
	const uint64_t offset = sizeof(struct p2pnic_mailbox);
	uint32_t in_offset = P2PNIC_BAR4_BYTES_MIN - HOST_SLOTS * r->fabric.buffer_bytes;

	memset(h, 0, sizeof(*h));
	h->nic = &r->driver[nic];
	h->bytes = sizeof(struct p2pnic_mailbox) + 2 * HOST_SLOTS * h->nic->buffer_bytes;
	h->fd = memory_create("pf-host", h->bytes);
	assert_true(h->fd >= 0);
	h->memory = mmap(NULL, h->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	assert_true(h->memory != MAP_FAILED);
	h->mailbox = (struct p2pnic_mailbox *)h->memory;
	assert_int_equal(device_map_memory(h->nic->device, (struct bus_addr){HOST_BUS}, h->bytes,
				 DEVICE_READ | DEVICE_WRITE, h->memory, messages ? -1 : h->fd, 0),
		0);
	entry = &driver_nic_peers(h->nic)[P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION)];
	*entry = (struct p2pnic_peer){
		.epoch = 7,
		.batch = 4,
		.mailbox = {HOST_BUS},
		.out_slots = HOST_SLOTS,
		.in_slots = HOST_SLOTS,
		.in_buffer_count = HOST_SLOTS,
	};
	if (method == P2PNIC_METHOD_WRITE) {
		entry->out_buffers = (struct bus_addr){HOST_BUS + offset};
		entry->out_buffer_count = HOST_SLOTS;
		entry->in_offset = in_offset;
	} else {
		entry->in_buffers =
			(struct bus_addr){HOST_BUS + offset + HOST_SLOTS * h->nic->buffer_bytes};
	}
	assert_int_equal(driver_nic_command(h->nic, P2PNIC_OP_PEER_OPEN,
				 P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION)),
		0);
}

static void host_close(struct host *h)
{
	driver_nic_command(h->nic, P2PNIC_OP_PEER_CLOSE, P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION));
	assert_int_equal(device_unmap(h->nic->device, (struct bus_addr){HOST_BUS}, h->bytes), 0);
	munmap(h->memory, h->bytes);
	close(h->fd);
}

static void host_publish(struct host *h, const struct packet *p)
{
	uint32_t slot = h->produced & (HOST_SLOTS - 1);
	uint8_t *bar4 = device_pointer(
		h->nic->device, VFIO_PCI_BAR4_REGION_INDEX, 0, P2PNIC_BAR4_BYTES_MIN);
	uint8_t *buffers = method == P2PNIC_METHOD_WRITE ? bar4 + P2PNIC_BAR4_BYTES_MIN -
								   HOST_SLOTS * h->nic->buffer_bytes
							 : host_buffers(h, true);

	memcpy(buffers + slot * h->nic->buffer_bytes, p->bytes, p->length);
	struct p2pnic_descriptor d = {slot * h->nic->buffer_bytes, (uint16_t)p->length,
		p2pnic_tag(7, h->produced++, HOST_SLOTS)};
	__atomic_store(
		(uint64_t *)&nic_mailbox(h)->descriptor[slot], (uint64_t *)&d, __ATOMIC_RELEASE);
}

static void host_inject(struct host *h, const struct packet *p)
{
	int doorbell = device_doorbell_fd(
		h->nic->device, VFIO_PCI_BAR0_REGION_INDEX, P2PNIC_BAR0_DOORBELL);
	const uint64_t one = 1;

	host_publish(h, p);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&h->mailbox->asleep, memory_order_relaxed))
		assert_int_equal(write(doorbell, &one, 8), 8);
}

/* Waits for the next punted packet. */
static bool host_punted(struct soft_rig *r, struct host *h, struct packet *p, uint16_t *flags)
{
	for (unsigned tries = 0; tries < 10000; tries++) {
		struct p2pnic_descriptor d;
		uint8_t *from = method == P2PNIC_METHOD_WRITE
					? host_buffers(h, false)
					: device_pointer(h->nic->device, VFIO_PCI_BAR4_REGION_INDEX,
						  0, P2PNIC_BAR4_BYTES_MIN);

		__atomic_load((uint64_t *)&h->mailbox->descriptor[h->consumed % HOST_SLOTS],
			(uint64_t *)&d, __ATOMIC_ACQUIRE);
		if (P2PNIC_FLAGS_TAG(d.flags) != p2pnic_tag(7, h->consumed, HOST_SLOTS)) {
			soft_serve(r, 1);
			continue;
		}
		p->length = d.length;
		*flags = P2PNIC_FLAGS_REASON(d.flags);
		memcpy(p->bytes, from + d.offset, d.length);
		atomic_store_explicit(&nic_mailbox(h)->consumer, P2PNIC_RING_WORD(7, ++h->consumed),
			memory_order_release);
		return true;
	}
	return false;
}

/* Packets as long as buffers of that size hold. */
static void punt_and_inject(uint32_t buffer_bytes, bool messages)
{
	const uint32_t payload = P2PNIC_FRAME_BYTES_MAX(buffer_bytes) - 42;
	struct soft_rig *r = soft_rig_new(method, 1);
	struct packet p[10], got;
	struct pcap *capture;
	struct host host;
	uint16_t flags;

	r->fabric.buffer_bytes = buffer_bytes;
	for (unsigned k = 0; k < 10; k++)
		packet_ipv4(&p[k], 0, PACKET_TO(1), k % 2 ? 1 : 64, payload, k + 1);
	soft_capture(r, 0, p, 10);
	soft_add(r, 0, false);
	soft_add(r, 1, true);
	host_open(r, &host, 0, messages);
	soft_start(r, 0);
	for (unsigned k = 1; k < 10; k += 2) {
		assert_true(host_punted(r, &host, &got, &flags));
		assert_int_equal(flags, P2PNIC_DROP_TTL);
		assert_int_equal(got.length, p[k].length);
		assert_memory_equal(got.bytes, p[k].bytes, got.length);
	}
	assert_true(soft_wait_sent(r, 1, 5));
	/* Each after a pause in which the engine falls asleep. */
	for (unsigned k = 0; k < 8; k++) {
		for (unsigned j = 0; j < 3; j++)
			soft_serve(r, 10);
		packet_ipv4(&got, 0, PACKET_TO(0), 64, payload, 50 + k);
		host_inject(&host, &got);
		assert_true(soft_wait_sent(r, 0, k + 1));
	}
	assert_true(soft_accounts_even(r));
	capture = soft_sent_open(r, 0);
	for (unsigned k = 0; k < 8; k++) {
		assert_true(soft_sent(capture, &got));
		assert_int_equal(got.length, payload + 42);
		assert_int_equal(packet_seed(&got), 50 + k);
	}
	pcap_close(capture);
	assert_int_equal(check_sent(r, 1), 5);
	host_close(&host);
	soft_rig_free(r);
}

static void the_host_punts_and_injects(void **state)
{
	static const uint32_t size[] = {P2PNIC_BUFFER_SIZES};

	for (unsigned k = 0; k < 3; k++)
		punt_and_inject(size[k], false);
}

static void and_does_by_messages(void **state)
{
	static const uint32_t size[] = {P2PNIC_BUFFER_SIZES};

	for (unsigned k = 0; k < 3; k++)
		punt_and_inject(size[k], true);
}

/* A posted write is lost when the client has stopped reading: the pair that needs messages closes,
 * so that nothing announces what never arrived. */
static void lost_writes_close_the_pair(void **state)
{
	for (unsigned messages = 0; messages < 2; messages++) {
		struct soft_rig *r = soft_rig_new(method, 1);
		bool lost = true;
		struct host host;

		soft_add(r, 0, true);
		host_open(r, &host, 0, messages);
		engine_park(r->engine[0]);
		r->soft[0]->dma.lost = true;
		engine_resume(r->engine[0]);
		for (unsigned tries = 0; lost && tries < 10000; tries++) {
			soft_serve(r, 1);
			engine_park(r->engine[0]);
			lost = r->soft[0]->dma.lost;
			engine_resume(r->engine[0]);
		}
		assert_false(lost);
		/* One that is memory alone is left as it is. */
		assert_int_equal(driver_nic_command(host.nic, P2PNIC_OP_PEER_CLOSE,
					 P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION)),
			messages ? P2PNIC_BAD_STATE : P2PNIC_OK);
		host_close(&host);
		soft_rig_free(r);
	}
}

/* By messages `asleep` arrives late: a packet that finds it unset rings no doorbell, and does not
 * wait for the engine's housekeeping, 100 ms later, all the same. */
static void a_packet_without_a_doorbell(void **state)
{
	const unsigned packets = 100;
	struct soft_rig *r = soft_rig_new(method, 1);
	struct packet p;
	struct host host;
	time_t start;

	soft_add(r, 0, true);
	host_open(r, &host, 0, true);
	start = time(NULL);
	for (unsigned k = 0; k < packets; k++) {
		packet_ipv4(&p, 0, PACKET_TO(0), 64, 100, k);
		host_publish(&host, &p);
		assert_true(soft_wait_sent(r, 0, k + 1));
		for (unsigned j = 0; j < 3; j++)
			soft_serve(r, 1);
	}
	assert_true(time(NULL) - start < 5);
	host_close(&host);
	soft_rig_free(r);
}

/* --- Lives ------------------------------------------------------------------------------------ */

static void a_nic_dies_and_is_replaced(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 2);
	uint32_t value;

	write_capture(r, 2, 2, 40);
	soft_add(r, 0, true);
	soft_add(r, 1, true);
	soft_kill(r, 1);
	assert_true(driver_nic_read(&r->driver[1], P2PNIC_REG_STATUS, &value) < 0);
	fabric_remove(&r->fabric, &r->driver[1]);
	driver_nic_detach(&r->driver[1]);
	/* To the dead: no peer. To the living: as ever. */
	soft_add(r, 2, true);
	assert_true(soft_wait_sent(r, 0, 20));
	assert_true(soft_accounts_even(r));
	assert_int_equal(drops(&r->driver[2], P2PNIC_DROP_NO_PEER), 20);
	assert_int_equal(check_sent(r, 0), 20);
	/* It returns. 3 sends to both. */
	write_capture(r, 3, 2, 40);
	soft_add(r, 1, true);
	soft_add(r, 3, true);
	assert_true(soft_wait_sent(r, 0, 40));
	assert_true(soft_wait_sent(r, 1, 20));
	assert_true(soft_accounts_even(r));
	assert_int_equal(check_sent(r, 1), 20);
	soft_rig_free(r);
}

/* What a new driver does with connections that a keeper held. Settings may have changed. */
static void take_over(struct soft_rig *r, unsigned nics)
{
	struct error error;

	memset(r->fabric.nic, 0, sizeof(r->fabric.nic));
	for (unsigned k = 0; k < nics; k++) {
		int fds[DEVICE_KEEP_MAX], kept[DEVICE_KEEP_MAX];
		int n = device_keep(r->driver[k].device, fds);
		struct device *device;

		assert_true(n > 0);
		for (int j = 0; j < n; j++)
			kept[j] = dup(fds[j]);
		driver_nic_detach(&r->driver[k]);
		assert_int_equal(
			device_adopt(&device, "vfio-user", kept, (unsigned)n, NULL, 0, &error), 0);
		assert_int_equal(
			driver_nic_attach(&r->driver[k], r->name[k], k, device, &error), 0);
	}
	for (unsigned k = 0; k < nics; k++)
		if (soft_join(r, k, &error))
			fail_msg("%s", error.text);
}

/* A driver that was killed while a keeper held the connections: nothing changes for the NICs. */
static void a_new_driver_takes_over(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 1);
	uint32_t epoch;

	write_capture(r, 2, 2, 40);
	for (unsigned k = 0; k < 3; k++)
		soft_add(r, k, k != 2);
	epoch = driver_nic_peers(&r->driver[0])[1].epoch;
	take_over(r, 3);
	for (unsigned k = 0; k < 3; k++)
		assert_int_equal(r->driver[k].adopted, k != 2);            /* 2 did not run */
	assert_int_equal(driver_nic_peers(&r->driver[0])[1].epoch, epoch); /* left in place */
	assert_int_equal(driver_nic_peers(&r->driver[1])[1].epoch, 1);
	soft_tables(r, 2);
	soft_start(r, 2);
	assert_true(soft_wait_sent(r, 0, 20));
	assert_true(soft_wait_sent(r, 1, 20));
	assert_true(soft_accounts_even(r));
	soft_rig_free(r);
}

/* Killed between two steps: pairs that were closed, or not opened yet on one side. */
static void a_driver_killed_in_between(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 1);
	uint32_t epoch;

	write_capture(r, 2, 2, 40);
	for (unsigned k = 0; k < 2; k++)
		soft_add(r, k, true);
	epoch = driver_nic_peers(&r->driver[0])[1].epoch;
	/* Closing: one side had it, its windows are there still. */
	driver_nic_peers(&r->driver[0])[1].flags = 1;
	assert_int_equal(driver_nic_command(&r->driver[0], P2PNIC_OP_PEER_CLOSE, 1), P2PNIC_OK);
	take_over(r, 2);
	assert_int_equal(driver_nic_peers(&r->driver[0])[1].epoch, epoch + 1);
	assert_int_equal(driver_nic_peers(&r->driver[1])[0].epoch, epoch + 1);
	/* Opening: all but the last command. */
	assert_int_equal(driver_nic_command(&r->driver[0], P2PNIC_OP_PEER_CLOSE, 1), P2PNIC_OK);
	assert_int_equal(driver_nic_command(&r->driver[1], P2PNIC_OP_PEER_CLOSE, 0), P2PNIC_OK);
	driver_nic_peers(&r->driver[0])[1].epoch = epoch + 2;
	driver_nic_peers(&r->driver[1])[0].epoch = epoch + 2;
	assert_int_equal(driver_nic_command(&r->driver[0], P2PNIC_OP_PEER_OPEN, 1), P2PNIC_OK);
	take_over(r, 2);
	assert_int_equal(driver_nic_peers(&r->driver[0])[1].epoch, epoch + 2);
	assert_int_equal(
		driver_nic_command(&r->driver[1], P2PNIC_OP_PEER_OPEN, 0), P2PNIC_BAD_STATE);
	soft_add(r, 2, true);
	assert_true(soft_wait_sent(r, 0, 20));
	assert_true(soft_wait_sent(r, 1, 20));
	assert_true(soft_accounts_even(r));
	soft_rig_free(r);
}

static void settings_change_at_a_restart(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 1);

	write_capture(r, 2, 2, 40);
	for (unsigned k = 0; k < 2; k++)
		soft_add(r, k, true);
	/* Other rings: the same NICs run on, pairs begin anew. */
	r->fabric.ring_slots = 128;
	take_over(r, 2);
	for (unsigned k = 0; k < 2; k++) {
		assert_true(r->driver[k].adopted);
		assert_int_equal(driver_nic_peers(&r->driver[k])[1 - k].out_slots, 128);
	}
	/* Other receive buffers: reset, for everything would lie elsewhere. */
	r->fabric.ring_slots = 32;
	r->fabric.rx_buffers = 1024;
	take_over(r, 2);
	for (unsigned k = 0; k < 2; k++) {
		assert_false(r->driver[k].adopted);
		soft_tables(r, k);
		soft_start(r, k);
	}
	soft_add(r, 2, true);
	assert_true(soft_wait_sent(r, 0, 20));
	assert_true(soft_wait_sent(r, 1, 20));
	assert_true(soft_accounts_even(r));
	soft_rig_free(r);
}

/* Without a keeper the connection ends, and the windows with it: rings must begin anew. */
static void a_new_driver_finds_no_windows(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 2);
	struct packet p[40];

	for (unsigned k = 0; k < 40; k++)
		packet_ipv4(&p[k], 0, PACKET_TO(1), 64, 100, k + 1);
	soft_capture(r, 0, p, 40);
	for (unsigned k = 0; k < 2; k++)
		soft_add(r, k, false);
	for (unsigned k = 0; k < 2; k++)
		soft_start(r, k);
	assert_true(soft_wait_sent(r, 1, 40));
	memset(r->fabric.nic, 0, sizeof(r->fabric.nic));
	for (unsigned k = 0; k < 2; k++)
		driver_nic_detach(&r->driver[k]);
	usleep(50000);
	for (unsigned k = 0; k < 2; k++) {
		soft_bring_up(r, k);
		assert_true(r->driver[k].adopted);
	}
	/* What crosses now crosses in rings of a new life: from the host of 0 by way of a third. */
	write_capture(r, 2, 2, 40);
	soft_add(r, 2, true);
	assert_true(soft_wait_sent(r, 1, 60));
	for (unsigned k = 0; k < 2; k++) {
		uint32_t bad = (uint32_t)driver_nic_count(&r->driver[k].counters->bad_words);

		assert_int_equal(bad, 0);
		assert_int_equal(driver_nic_command(&r->driver[k], P2PNIC_OP_PEER_OPEN, 1 - k),
			P2PNIC_BAD_STATE); /* open */
	}
	assert_true(soft_accounts_even(r));
	soft_rig_free(r);
}

/* A window goes while NICs run: the NIC gives that pair up, and says so; the driver opens it again,
 * once. Its check is in force on both sides. */
static void a_withdrawn_window(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 2);
	const struct bus_addr mailbox = {2ull << 32}; /* of 0 in 1 (driver/fabric.h) */
	struct error error = {""};

	r->fabric.check = P2PNIC_CHECK_CRC;
	write_capture(r, 0, 2, 40);
	for (unsigned k = 0; k < 2; k++)
		soft_add(r, k, k == 1);
	assert_int_equal(
		P2PNIC_PEER_CHECKED(driver_nic_peers(&r->driver[1])[0].flags), P2PNIC_CHECK_CRC);
	assert_int_equal(fabric_given_up(&r->fabric, &error), 0);
	assert_int_equal(
		device_unmap(r->driver[0].device, mailbox, sizeof(struct p2pnic_mailbox)), 0);
	assert_int_equal(driver_nic_count(&r->driver[0].counters->given_up), 1 << 1);
	const uint32_t epoch = driver_nic_peers(&r->driver[0])[1].epoch;

	assert_int_equal(fabric_given_up(&r->fabric, &error), 1);
	assert_non_null(strstr(error.text, "has given up its pair with"));
	assert_int_equal(fabric_given_up(&r->fabric, &error), 0);
	for (unsigned tries = 0; fabric_mend(&r->fabric, &error); tries++)
		assert_true(tries < 1000);
	assert_int_equal(driver_nic_count(&r->driver[0].counters->given_up), 0);
	assert_int_equal(driver_nic_peers(&r->driver[0])[1].epoch, epoch + 1);
	assert_int_equal(driver_nic_peers(&r->driver[1])[0].epoch, epoch + 1);
	soft_start(r, 0);
	assert_true(soft_wait_sent(r, 1, 20));
	assert_true(soft_accounts_even(r));
	soft_rig_free(r);
}

static void a_device_reset(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 1);
	uint32_t value;

	write_capture(r, 0, 2, 40);
	write_capture(r, 2, 2, 40);
	for (unsigned k = 0; k < 2; k++)
		soft_add(r, k, true);
	assert_int_equal(device_reset(r->driver[0].device), 0);
	assert_int_equal(driver_nic_read(&r->driver[0], P2PNIC_REG_STATUS, &value), 0);
	assert_int_equal(value, P2PNIC_STATUS_READY);
	assert_int_equal(driver_nic_command(&r->driver[0], P2PNIC_OP_PEER_OPEN, 1),
		P2PNIC_BAD_ARGUMENT); /* its tables are empty */
	fabric_remove(&r->fabric, &r->driver[0]);
	driver_nic_detach(&r->driver[0]);
	soft_bring_up(r, 0);
	assert_false(r->driver[0].adopted);
	soft_start(r, 0);
	soft_add(r, 2, true);
	assert_true(soft_wait_sent(r, 0, 20));
	assert_true(soft_accounts_even(r));
	soft_rig_free(r);
}

static void descriptors_stay_the_same(void **state)
{
	struct soft_rig *r = soft_rig_new(method, 2);
	unsigned before = 0;

	soft_add(r, 0, true);
	for (unsigned cycle = 0; cycle < 50; cycle++) {
		write_capture(r, 1, 1, 3);
		soft_add(r, 1, true);
		assert_true(soft_wait_sent(r, 0, 3 * (cycle + 1)));
		if (cycle % 2)
			soft_kill(r, 1);
		fabric_remove(&r->fabric, &r->driver[1]);
		driver_nic_detach(&r->driver[1]);
		if (cycle % 2 == 0)
			soft_kill(r, 1);
		/* The control thread lets go of the connection when it comes round. */
		for (unsigned tries = 0; cycle > 1 && tries < 1000; tries++) {
			if (open_descriptors() == before)
				break;
			usleep(1000);
		}
		if (cycle == 1)
			usleep(20000);
		if (cycle > 1)
			assert_int_equal(open_descriptors(), before);
		before = open_descriptors();
	}
	assert_true(soft_accounts_even(r));
	soft_rig_free(r);
}

/* --- The DMA engine --------------------------------------------------------------------------- */

static void dma_stays_in_its_windows(void **state)
{
	static struct p2pnic_counters counters;
	struct dma dma = {.enabled = true, .counters = &counters};
	int fd = memory_create("pf-dma", 0x4000);
	struct vfu_window window = {.bus = {0x10000},
		.bytes = 0x2000,
		.access = VFU_READ | VFU_WRITE,
		.kind = VFU_WINDOW_MEMORY,
		.fd = fd,
		.fd_offset = 0x1000};
	uint8_t *memory = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t out[64], in[64], zero[64] = {0};
	struct dma_region region;
	uint64_t faults = 0;

	assert_int_equal(dma_map(&dma, &window), 0);
	window.bus.value = 0x20000;
	window.access = VFU_READ;
	assert_int_equal(dma_map(&dma, &window), 0);
	window.bus.value = 0x30000;
	window.fd_offset = 0x3000; /* beyond the file */
	assert_int_equal(dma_map(&dma, &window), -EINVAL);
	memset(out, 0x5a, sizeof(out));

	assert_true(dma_write(&dma, (struct bus_addr){0x10000}, out, 64));
	assert_memory_equal(memory + 0x1000, out, 64);
	assert_true(dma_write(&dma, (struct bus_addr){0x11fc0}, out, 64));
	assert_memory_equal(memory + 0x2fc0, out, 64);
	assert_int_equal(dma_read(&dma, (struct bus_addr){0x20000}, in, 64), DMA_DONE);
	assert_memory_equal(in, out, 64);
	static const struct {
		uint64_t bus;
		bool read;
	} wrong[] = {{0xffff, false}, {0x11fc1, false}, {0x12000, false}, {0, false},
		{0x20000, false}, {0xfffffffffffffff0, false}, {0x20000 - 1, true}, {0x21fc1, true},
		{0x30000, true}, {0xffffffffffffffff, true}};
	for (unsigned k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
		const struct bus_addr bus = {wrong[k].bus};

		memset(in, 1, sizeof(in));
		if (wrong[k].read) {
			assert_int_equal(dma_read(&dma, bus, in, 64), DMA_FAULT);
			assert_memory_equal(in, zero, 64);
		} else {
			assert_false(dma_write(&dma, bus, out, 64));
		}
		assert_int_equal(driver_nic_count(&counters.dma_faults), ++faults);
		assert_false(
			dma_resolve(&dma, bus, 64, wrong[k].read ? DMA_READ : DMA_WRITE, &region));
	}
	for (unsigned k = 0; k < 0x1000; k++)
		assert_int_equal(memory[k] | memory[0x3000 + k], 0);
	/* Without bus mastering nothing goes. */
	dma.enabled = false;
	assert_false(dma_write(&dma, (struct bus_addr){0x10000}, out, 64));
	assert_false(dma_resolve(&dma, (struct bus_addr){0x10000}, 64, DMA_WRITE, &region));
	dma.enabled = true;
	dma_unmap(&dma, (struct bus_addr){0x10000}, 0x2000);
	assert_false(dma_write(&dma, (struct bus_addr){0x10000}, out, 64));
	dma_unmap_all(&dma);
	munmap(memory, 0x4000);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dma_stays_in_its_windows),
		cmocka_unit_test(two_nics_on_one_engine),
		cmocka_unit_test(three_nics_on_two_engines),
		cmocka_unit_test(idle_engines_sleep_and_wake),
		cmocka_unit_test(a_sleeping_memif_peer_is_woken),
		cmocka_unit_test(the_host_punts_and_injects),
		cmocka_unit_test(and_does_by_messages),
		cmocka_unit_test(lost_writes_close_the_pair),
		cmocka_unit_test(a_packet_without_a_doorbell),
		cmocka_unit_test(a_nic_dies_and_is_replaced),
		cmocka_unit_test(a_new_driver_takes_over),
		cmocka_unit_test(a_driver_killed_in_between),
		cmocka_unit_test(settings_change_at_a_restart),
		cmocka_unit_test(a_new_driver_finds_no_windows),
		cmocka_unit_test(a_withdrawn_window),
		cmocka_unit_test(a_device_reset),
		cmocka_unit_test(descriptors_stay_the_same),
	};

	if (argc > 1 && !strcmp(argv[1], "read"))
		method = P2PNIC_METHOD_READ;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
