/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcap: a port whose wire is two capture files. What `p2pnic replay` runs on; no root, no network.
 *
 *   target   IN,OUT   captures to receive from and to write; either may be empty, neither may
 *                     contain a comma. IN: pcap or pcapng, micro- or nanoseconds, plain Ethernet.
 *                     OUT: pcap with nanoseconds.
 *   options  burst=N        deliver at most N frames a receive (1 to 64, default 64)
 *            timeline=on    one frame at a time, in the order of time across all such ports (below)
 *            verdict=FILE   a line for each input frame, what became of it (verdict.h); burst=1
 *            cut=pad|skip   frames that the capture cut short (snaplen): filled up with zeros to
 *                           the length they had on the wire (the default), or not delivered
 *
 * OUT is opened as pcap_writer.h says: another port's capture, a symbolic link, a FIFO is refused.
 *
 * Time. A frame sent bears the timestamp of the input frame that any pcap port of this process
 * delivered last. Between NICs that run freely that is close, not exact. With timeline=on it is
 * exact and the replay repeatable: of all ports with that option, the one whose next frame is
 * earliest delivers it, and only after each of them was polled twice since the frame before, so
 * that what the frame before caused has been sent. Nothing is delivered before all of them have
 * been started.
 *
 * Frames on disk are a stranger's. Longer than a buffer holds: counted in oversize, not
 * delivered. Shorter than an Ethernet header: delivered as they are, for the NIC to count. A
 * capture that ends in mid-record delivers what is whole and says so in port_info.fault.
 *
 * Cut frames are filled up because captures with 96 bytes a frame are common, and a router asks the
 * header only; the frame that leaves is not the one that was, and port_info.mode counts them.
 */
#ifndef P2PNIC_PORTS_PCAP_H
#define P2PNIC_PORTS_PCAP_H

#include "buffers.h"
#include "common.h"
#include "ipc/error.h"
#include "pcap_writer.h"
#include "verdict.h"

struct pcap;

struct pcap_port {
	uint8_t *memory;
	uint64_t memory_bytes;
	struct port_memories memories;
	uint32_t buffer_bytes;
	char *in_path, *out_path;
	struct pcap *in;
	bool is_pcapng;
	struct pcap_writer out;
	unsigned burst;
	bool timeline;
	bool skip_cut;
	struct verdict verdict;

	struct port_buffers own; /* frame k of a burst lies in buffer k */
	unsigned delivered;      /* in this burst, not released yet */

	/* The next record: in libpcap's memory, valid until the one after it is read. */
	bool peeked;
	bool ended;
	struct verdict_frame next;
	const uint8_t *next_bytes;
	uint64_t frames; /* read so far */
	uint64_t cut;
	uint64_t oversize;

	uint32_t sent; /* frames taken by transmit, not reported yet */
	uint32_t failed;
	struct error fault;
};

extern const struct port_ops pcap_port_ops;

#endif
