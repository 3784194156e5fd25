/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames into nic_ingress, against the stupid model. The input is a sequence of frames: two bytes
 * of length, then the frame, whose destination MAC is made the NIC's unless the length's top bit
 * says otherwise.
 */
#include "tests/unit/firmware_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be(struct packet *got, const struct packet *want)
{
	BOARD_ASSERT(got->length == want->length);
	BOARD_ASSERT(!memcmp(got->bytes, want->bytes, want->length));
}

static void one(struct rig *r, const struct packet *p)
{
	uint64_t drops = rig_all_drops(r, 0);
	struct packet *sent, punted;
	struct model m;
	uint16_t flags;

	model_host = r->config.host;
	model_receive(&m, 0, p);
	rig_receive(r, 0, p);
	rig_run(r);
	if (m.needs_egress && m.egress >= r->nics) {
		m.verdict = MODEL_DROP;
		m.reason = P2PNIC_DROP_NO_PEER;
	}
	if (m.verdict == MODEL_FORWARD) {
		sent = rig_sent(r, m.egress);
		BOARD_ASSERT(sent);
		must_be(sent, &m.packet);
		free(sent);
	} else if (m.verdict == MODEL_PUNT) {
		BOARD_ASSERT(rig_punted(r, 0, &punted, &flags));
		BOARD_ASSERT(flags == m.reason);
		must_be(&punted, &m.packet);
	}
	BOARD_ASSERT(rig_all_drops(r, 0) == drops + (m.verdict == MODEL_DROP));
	for (unsigned nic = 0; nic < r->nics; nic++)
		BOARD_ASSERT(!rig_sent(r, nic));
	BOARD_ASSERT(!rig_punted(r, 0, &punted, &flags));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig *rig;
	struct mac_addr mac = packet_mac(0);
	struct packet p;

	if (!rig)
		rig = rig_new(2, &(struct rig_config){.host = true});
	while (size > 2) {
		size_t length = 1 + get16(data) % P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MIN);
		bool any_mac = data[0] & 0x80;

		data += 2;
		size -= 2;
		if (length > size)
			length = size;
		memcpy(p.bytes, data, length);
		p.length = (uint32_t)length;
		if (!any_mac && length >= 6)
			memcpy(p.bytes, &mac, 6);
		if (length >= 18 && get16(p.bytes + 12) == 0x8100)
			p.bytes[14] &= 0xf0; /* few VIDs are known */
		/* Few inputs would get by the checksum on their own. */
		if (length >= 74 && get16(p.bytes + 12) == 0x0800 && (p.bytes[14] & 15) >= 5 &&
			(p.bytes[18] & 1))
			packet_checksum(&p);
		one(rig, &p);
		data += length;
		size -= length;
	}
	rig_check(rig);
	return 0;
}
