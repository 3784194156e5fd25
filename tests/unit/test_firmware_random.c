/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Firmware against a stupid model (firmware_model.h), in random settings: any frames, slow, failing
 * and stuck ports, pairs that close, NICs that stop. And against peers that write rubbish.
 */
#include "tests/unit/firmware_model.h"
#include "tests/unit/seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t state_of_random;

/* xorshift64* (Vigna 2016). */
static uint32_t any(uint32_t below)
{
	state_of_random ^= state_of_random >> 12;
	state_of_random ^= state_of_random << 25;
	state_of_random ^= state_of_random >> 27;
	return (uint32_t)((state_of_random * 0x2545f4914f6cdd1dull) >> 33) % below;
}

/* A burst is worked off family by family, and what needs no route first: flows keep their order. */
enum { UNROUTED, IPV4, IPV6, KINDS };

/* What has been given to a NIC and must come out, in this order, unless it was dropped and
 * counted. */
struct expected {
	struct packet_queue forwarded[RIG_NICS_MAX][RIG_NICS_MAX][KINDS];
	struct packet_queue punted[RIG_NICS_MAX][P2PNIC_HOST_RINGS][KINDS];
	struct packet_queue injected[RIG_NICS_MAX];
	uint64_t dropped[RIG_NICS_MAX][P2PNIC_DROP_COUNT];
};

/* Reasons that only the NIC's state decides, not the frame. */
static bool of_the_moment(unsigned reason)
{
	return reason == P2PNIC_DROP_NO_PEER || reason == P2PNIC_DROP_RING_FULL ||
	       reason == P2PNIC_DROP_NO_BUFFER || reason == P2PNIC_DROP_STALE ||
	       reason == P2PNIC_DROP_PORT || reason == P2PNIC_DROP_PUNT_FULL;
}

/* Its type, behind a tag. */
static const uint8_t *type_of(const uint8_t *bytes)
{
	return bytes + (get16(bytes + 12) == 0x8100 ? 16 : 12);
}

static unsigned kind_of(const uint8_t *bytes, unsigned reason)
{
	if (reason == P2PNIC_DROP_LINK_SCOPE || reason == P2PNIC_DROP_OPTIONS ||
		reason == P2PNIC_DROP_ETHERTYPE)
		return UNROUTED;
	return get16(type_of(bytes)) == 0x0800 ? IPV4 : IPV6;
}

/* The host ring that such a punted packet comes by. random_packet makes no routing protocol's. */
static enum p2pnic_host_ring ring_of(const struct packet *p, unsigned reason)
{
	const uint8_t *at = type_of(p->bytes), *end = p->bytes + p->length;
	uint16_t type = get16(at);
	bool discovery = type == 0x0806 || (type == 0x86dd && end - at > 42 && at[8] == 58 &&
						   at[42] >= 133 && at[42] <= 137);

	switch (reason) {
	case P2PNIC_DROP_LOCAL:
		return discovery ? P2PNIC_RING_NEIGHBOR : P2PNIC_RING_CONTROL;
	case P2PNIC_DROP_LINK_SCOPE:
	case P2PNIC_DROP_ETHERTYPE:
		return discovery ? P2PNIC_RING_NEIGHBOR : P2PNIC_RING_EXCEPTION;
	case P2PNIC_DROP_NO_NEIGHBOR:
		return P2PNIC_RING_NEIGHBOR;
	default:
		return P2PNIC_RING_EXCEPTION;
	}
}

static void random_packet(struct packet *p, unsigned nic)
{
	uint32_t payload = any(8) ? any(200) : any(1700);

	if (any(4) == 0) {
		packet_ipv6(p, nic, PACKET_TO6(any(8)), any(5) ? 64 : (uint8_t)any(3), payload,
			any(1u << 30));
	} else {
		uint32_t to = any(4) ? PACKET_TO(any(6)) : 0x0b000001 | (15 + any(12)) << 16;

		packet_ipv4(p, nic, to, any(5) ? 64 : (uint8_t)any(3), payload, any(1u << 30));
	}
	if (any(6) == 0 && p->length < 1700)
		p->length += any(60);
	if (any(6) == 0) { /* options, right or wrong */
		unsigned bytes = 4 * (1 + any(10));

		if (p->length + bytes <= sizeof(p->bytes) && get16(p->bytes + 12) == 0x0800) {
			memmove(p->bytes + 34 + bytes, p->bytes + 34, p->length - 34);
			for (unsigned k = 0; k < bytes; k++)
				p->bytes[34 + k] = (uint8_t)(any(3) ? any(2) : any(256));
			p->length += bytes;
			p->bytes[14] = (uint8_t)(0x45 + bytes / 4);
			put16(p->bytes + 16, get16(p->bytes + 16) + bytes);
			packet_checksum(p);
		}
	}
	const bool harmed = any(5) == 0;
	if (harmed) {
		for (unsigned k = 1 + any(3); k > 0; k--)
			p->bytes[any(60)] = (uint8_t)any(256);
		if (any(2) && (p->bytes[14] & 15) >= 5 && get16(p->bytes + 12) == 0x0800)
			packet_checksum(p);
	}
	if (any(4) == 0) {
		/* The last one is the host's: of those no IP header is checked, so a routing
		 * protocol's number may get through. */
		static const unsigned vid[] = {0, RIG_VLAN, RIG_VLAN, RIG_VLAN_UNKNOWN, 11};

		packet_tag(p, any(16) << 12 | vid[any(harmed ? 4 : 5)]);
	}
	if (any(20) == 0)
		p->length = 1 + any(70);
}

static void receive(struct rig *r, struct expected *e, unsigned nic)
{
	struct packet p;
	struct model m;

	random_packet(&p, nic);
	rig_receive(r, nic, &p);
	model_host = r->config.host;
	model_receive(&m, nic, &p);
	if (m.verdict == MODEL_FORWARD && m.egress < r->nics)
		queue_push(&e->forwarded[nic][m.egress][kind_of(p.bytes, 0)], m.packet.bytes,
			m.packet.length);
	else if (m.verdict == MODEL_PUNT && r->config.host)
		queue_push(
			&e->punted[nic][ring_of(&m.packet, m.reason)][kind_of(p.bytes, m.reason)],
			m.packet.bytes, m.packet.length);
	else if (m.verdict != MODEL_FORWARD)
		e->dropped[nic][m.reason]++;
}

/* Must be the next, or behind some that were dropped. */
static void must_be_in(struct packet_queue *q, const uint8_t *bytes, uint32_t length)
{
	struct packet *p;

	while ((p = queue_pop(q))) {
		bool same = p->length == length && !memcmp(p->bytes, bytes, length);

		free(p);
		if (same)
			return;
	}
	fail_msg("a frame of %u bytes that should not be, or not now", length);
}

static void look_at_output(struct rig *r, struct expected *e)
{
	static const uint8_t sender[6] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};
	struct packet punted;
	uint16_t flags;

	for (unsigned nic = 0; nic < r->nics; nic++) {
		for (struct packet *p; (p = rig_sent(r, nic)); free(p)) {
			if (!memcmp(p->bytes + 6, sender, 6)) {
				must_be_in(&e->injected[nic], p->bytes, p->length);
				continue;
			}
			assert_int_equal(p->bytes[10], nic);
			assert_true(p->bytes[11] < r->nics);
			must_be_in(&e->forwarded[p->bytes[11]][nic][kind_of(p->bytes, 0)], p->bytes,
				p->length);
		}
		while (r->config.host && any(3) && rig_punted(r, nic, &punted, &flags))
			must_be_in(&e->punted[nic][ring_of(&punted, flags)]
					     [kind_of(punted.bytes, flags)],
				punted.bytes, punted.length);
	}
}

/* Closes a pair; opens it again later. */
static void open_or_close(struct rig *r, unsigned a, unsigned b)
{
	bool is_open = r->at[a].nic->in[b].open;

	rig_relay(r);
	if (is_open)
		rig_close(r, a, b);
	else if (!r->at[a].nic->in[b].orphans && !r->at[b].nic->in[a].orphans) {
		assert_false(rig_count(&r->at[a].counters->sending) >> b & 1);
		rig_open(r, a, b);
	}
}

static void act(struct rig *r, struct expected *e, bool stop_and_go)
{
	unsigned nic = any(r->nics), other = any(r->nics);
	struct board *b = &r->at[nic].board;
	struct packet p;

	switch (any(16)) {
	case 0:
		b->transmit_room = any(2) ? 0 : 1 + any(40);
		b->complete_max = any(2) ? 0 : 1 + any(20);
		break;
	case 1:
		b->stuck = any(3) == 0;
		b->out_of_reach = any(4) == 0;
		break;
	case 2:
		b->fail_every = any(2) ? 0 : 1 + any(10);
		b->receive_max = any(2) ? 0 : 1 + any(64);
		break;
	case 3:
		if (r->config.host) {
			packet_ipv4(&p, nic, PACKET_TO(nic), 64, any(1700), any(1u << 30));
			if (rig_inject(r, nic, &p))
				queue_push(&e->injected[nic], p.bytes, p.length);
		}
		break;
	case 4:
		if (stop_and_go)
			open_or_close(r, nic, other);
		break;
	case 5:
		if (stop_and_go) {
			rig_command(r, nic, P2PNIC_OP_STOP, 0);
			rig_check(r);
			rig_command(r, nic, P2PNIC_OP_START, 0);
		}
		break;
	case 6:
		nic_arm(r->at[nic].nic);
		nic_disarm(r->at[nic].nic);
		break;
	case 7:
	case 8:
		nic_poll(r->at[nic].nic);
		break;
	case 9:
	case 10:
		rig_poll(r);
		break;
	default:
		for (unsigned k = any(any(4) ? 8 : 80); k > 0; k--)
			receive(r, e, nic);
		break;
	}
}

/* A NIC whose buffers are all in flight (Rd, Bn), or with pairs that were closed (Rd), refuses to
 * start: first they come back, as the driver would have them. Frames on its wire are received only
 * then. */
static void drain(struct rig *r, struct expected *e)
{
	for (unsigned nic = 0; nic < r->nics; nic++) {
		struct board *b = &r->at[nic].board;

		b->stuck = false;
		b->fail_every = b->transmit_room = b->complete_max = 0;
	}
	rig_run(r);
	for (unsigned nic = 0; nic < r->nics; nic++) {
		for (unsigned peer = 0; peer < r->nics; peer++)
			if (!r->at[nic].nic->in[peer].open)
				rig_command(r, nic, P2PNIC_OP_PEER_CLOSE, peer);
		rig_command(r, nic, P2PNIC_OP_START, 0);
		assert_true(r->at[nic].nic->running);
	}
	rig_run(r);
	for (unsigned k = 0; k < 30; k++)
		look_at_output(r, e);
	rig_run(r);
	look_at_output(r, e);
}

static void settle_accounts(struct rig *r, struct expected *e)
{
	uint64_t in = 0, out = 0;

	rig_check(r);
	for (unsigned a = 0; a < r->nics; a++) {
		const struct p2pnic_counters *c = r->at[a].counters;

		assert_int_equal(rig_count(&c->held), 0);
		in += rig_count(&c->received.packets) + rig_count(&c->injected.packets);
		out += rig_count(&c->sent.packets) + rig_count(&c->punted.packets) +
		       rig_all_drops(r, a);
		assert_int_equal(rig_count(&c->bad_words), 0);
		for (unsigned b = 0; b < r->nics; b++)
			assert_int_equal(rig_count(&c->to_ring[b].packets),
				rig_count(&r->at[b].counters->from_ring[a].packets));
		for (unsigned k = 0; k < P2PNIC_DROP_COUNT; k++) {
			/* With TTL or MTU amiss and the egress closed it may be NO_PEER instead. */
			if (of_the_moment(k) || k == P2PNIC_DROP_TTL || k == P2PNIC_DROP_MTU)
				continue;
			if (rig_drops(r, a, k) != e->dropped[a][k])
				fail_msg("NIC %u, reason %u: %u dropped, model says %u", a, k,
					(unsigned)rig_drops(r, a, k), (unsigned)e->dropped[a][k]);
		}
	}
	/* Between NICs nothing is lost either. */
	assert_int_equal(in, out);
}

static void free_expected(struct expected *e)
{
	for (unsigned a = 0; a < RIG_NICS_MAX; a++) {
		for (unsigned k = 0; k < KINDS; k++) {
			for (unsigned b = 0; b < RIG_NICS_MAX; b++)
				queue_empty(&e->forwarded[a][b][k]);
			for (unsigned ring = 0; ring < P2PNIC_HOST_RINGS; ring++)
				queue_empty(&e->punted[a][ring][k]);
		}
		queue_empty(&e->injected[a]);
	}
	free(e);
}

static void play(bool stop_and_go)
{
	struct rig *r = rig_new(2 + any(4), &(struct rig_config){
						    .slots = 8u << any(4),
						    .batch = 1 + any(64),
						    .rx_buffers = 24 + any(300),
						    .host = any(2),
						    .messages = any(6) == 0,
						    .reaches = any(2),
						    .lend_from = any(2) ? 0 : any(1600),
					    });
	struct expected *e = calloc(1, sizeof(*e));

	for (unsigned nic = 0; nic < r->nics; nic++) {
		r->at[nic].board.copies_on_keep = any(2);
		r->at[nic].board.no_headroom = any(2);
		r->at[nic].board.out_of_reach = any(4) == 0;
	}
	for (unsigned step = 0; step < 400; step++) {
		act(r, e, stop_and_go);
		if (any(4) == 0)
			look_at_output(r, e);
		if (any(4) == 0)
			rig_check(r);
	}
	drain(r, e);
	settle_accounts(r, e);
	free_expected(e);
	rig_free(r);
}

static void any_frames_and_ports(void **state)
{
	for (unsigned k = 0; k < 30; k++)
		play(false);
}

static void pairs_that_come_and_go(void **state)
{
	for (unsigned k = 0; k < 30; k++)
		play(true);
}

/* --- Rubbish ---------------------------------------------------------------------------------- */

static uint64_t rubbish_word(struct rig *r, unsigned nic, unsigned peer)
{
	uint32_t epoch = r->at[nic].epoch[peer];
	const struct ring_out *out = &r->at[nic].nic->out[peer];

	switch (any(4)) {
	case 1:
		return P2PNIC_RING_WORD(epoch, out->consumed + any(80));
	case 2:
		return P2PNIC_RING_WORD(epoch + any(3) - 1, any(100));
	case 3:
		return P2PNIC_RING_WORD(epoch, any(0x7fffffff) * 2);
	default:
		return 0;
	}
}

static void write_rubbish(struct rig *r, unsigned nic, unsigned peer)
{
	struct p2pnic_mailbox *m =
		(struct p2pnic_mailbox *)(r->at[nic].bar2 + P2PNIC_BAR2_MAILBOXES) + peer;
	struct p2pnic_peer *entry =
		(struct p2pnic_peer *)(r->at[nic].bar2 + P2PNIC_BAR2_PEERS) + peer;
	const struct ring_in *in = &r->at[nic].nic->in[peer];

	switch (any(6)) {
	case 0:
		m->link_down = any(3);
		break;
	case 1:
		m->consumer = rubbish_word(r, nic, peer);
		break;
	case 2: /* descriptors, some of them good */
		for (unsigned k = 0; k < r->config.slots; k++)
			m->descriptor[k] = (struct p2pnic_descriptor){
				any(3) ? any(1 + (uint32_t)in->bytes) : any(0x7fffffff) * 2,
				(uint16_t)(any(3) ? 14 + any(1779) : any(65536)),
				(uint16_t)(any(4) ? p2pnic_tag(in->epoch, in->dequeued + k,
							    r->config.slots)
						  : any(65536))};
		break;
	case 3:
		m->asleep = any(3);
		break;
	case 4: /* the host's entries: they count when the pair is opened again */
		for (unsigned k = 1 + any(4); k > 0; k--)
			((uint8_t *)entry)[any(sizeof(*entry))] = (uint8_t)any(256);
		rig_command(r, nic, P2PNIC_OP_PEER_CLOSE, peer);
		rig_command(r, nic, P2PNIC_OP_PEER_OPEN, peer);
		break;
	default:
		nic_register_write(r->at[nic].nic, any(0x60) & ~3u,
			any(3) ? any(70) | any(65) << 8 : any(0x7fffffff));
		break;
	}
}

static void rubbish_harms_nobody(void **state)
{
	for (unsigned round = 0; round < 40; round++) {
		struct rig *r = rig_new(2 + any(3), &(struct rig_config){
							    .slots = 8u << any(4),
							    .batch = 1 + any(64),
							    .rx_buffers = 24 + any(200),
							    .host = any(2),
							    .messages = any(4) == 0,
						    });
		struct packet p;

		for (unsigned nic = 0; nic < r->nics; nic++) {
			r->at[nic].board.frames_change = true;
			r->at[nic].board.complete_max = any(2) ? 0 : 1 + any(8);
		}
		for (unsigned step = 0; step < 400; step++) {
			unsigned nic = any(r->nics), peer = any(r->nics + 1);

			for (unsigned k = any(12); k > 0; k--) {
				random_packet(&p, nic);
				rig_receive(r, nic, &p);
			}
			if (any(3) == 0)
				write_rubbish(r, nic,
					peer == r->nics ? P2PNIC_HOST_PEER(P2PNIC_RING_EXCEPTION)
							: peer);
			nic_poll(r->at[nic].nic);
			if (any(4) == 0)
				rig_relay(r);
			for (unsigned k = 0; k < r->nics; k++)
				queue_empty(&r->at[k].board.wire_out);
			/* Buffers have one owner whatever a peer says; but a reset by a wild
			 * register write lays them out anew. */
			if (r->at[nic].nic->rx_buffers == r->config.rx_buffers &&
				r->at[nic].nic->rx_offset == 0)
				rig_check_nic(r, nic);
		}
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_frames_and_ports),
		cmocka_unit_test(pairs_that_come_and_go),
		cmocka_unit_test(rubbish_harms_nobody),
	};

	state_of_random = test_seed() | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
