/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile peer: whatever is in its mailbox, the NIC reads nothing but what that peer may name,
 * keeps its accounts and its buffers, and serves its other peer. The input is a sequence of 8-byte
 * steps: what, then 7 bytes for it.
 */
#include "tests/unit/firmware_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void step(struct rig *r, const uint8_t *in)
{
	struct rig_nic *a = &r->at[0];
	struct p2pnic_mailbox *m = (struct p2pnic_mailbox *)(a->bar2 + P2PNIC_BAR2_MAILBOXES) + 1;
	const struct ring_in *ring = &a->nic->in[1];
	const struct ring_out *out = &a->nic->out[1];
	uint32_t word = get32(in + 3);
	struct packet p;

	switch (in[0] % 8) {
	case 0:
		m->link_down = in[1];
		break;
	case 1:
		m->consumer = P2PNIC_RING_WORD(
			out->epoch + (in[1] & 1), in[1] & 2 ? word : out->consumed + in[2] % 40);
		break;
	case 2: /* any word */
		m->descriptor[(ring->dequeued + in[2] % 4) & 31] = (struct p2pnic_descriptor){
			word, (uint16_t)get16(in + 1), (uint16_t)get16(in + 6)};
		break;
	case 3: /* a good one, published or not */
		m->descriptor[(ring->dequeued + in[1] % 32) & 31] = (struct p2pnic_descriptor){
			word % 60000, (uint16_t)(14 + get16(in + 1) % 1779),
			p2pnic_tag(ring->epoch, ring->dequeued + in[1] % 64, 32)};
		break;
	case 4:
		a->board.complete_max = in[1] % 8;
		a->board.transmit_room = in[2] % 8;
		break;
	case 5:
		packet_ipv4(&p, 0, PACKET_TO(1), 64, in[1], word);
		for (unsigned k = in[2] % 64; k > 0; k--)
			rig_receive(r, 0, &p);
		break;
	case 6:
		m->asleep = in[1];
		nic_arm(a->nic);
		nic_disarm(a->nic);
		break;
	default:
		nic_poll(a->nic);
		break;
	}
}

static void other_peer_is_served(struct rig *r)
{
	struct packet p, *got;

	for (unsigned nic = 0; nic < r->nics; nic++)
		queue_empty(&r->at[nic].board.wire_out);
	packet_ipv4(&p, 2, PACKET_TO(0), 64, 100, 1);
	rig_receive(r, 2, &p);
	rig_run(r);
	packet_forwarded(&p, 2, 0);
	got = rig_sent(r, 0);
	BOARD_ASSERT(got && got->length == p.length && !memcmp(got->bytes, p.bytes, p.length));
	free(got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig *rig;
	struct board *b;

	if (!rig)
		rig = rig_new(3, &(struct rig_config){0});
	b = &rig->at[0].board;
	b->frames_change = true;
	for (; size >= 8; data += 8, size -= 8) {
		step(rig, data);
		queue_empty(&b->wire_out);
	}
	nic_poll(rig->at[0].nic);
	rig_check_nic(rig, 0);
	/* Frames of the pair leave, and it begins a new life. */
	b->complete_max = b->transmit_room = 0;
	BOARD_ASSERT(rig_command(rig, 0, P2PNIC_OP_PEER_CLOSE, 1) == P2PNIC_OK);
	BOARD_ASSERT(rig_command(rig, 1, P2PNIC_OP_PEER_CLOSE, 0) == P2PNIC_OK);
	rig_run(rig);
	other_peer_is_served(rig);
	rig_open(rig, 0, 1);
	rig_check_nic(rig, 0);
	return 0;
}
