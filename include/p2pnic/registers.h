/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a NIC shows its host: PCI identity, three BARs, registers, the peer table.
 *
 *   BAR0  64 KiB   registers (page 0, every access trapped), counters (page 1, may be mapped
 *                  read-only), doorbell (page 2), description (page 3), MSI-X table and PBA (8 and
 *                  9)
 *   BAR2  16 MiB   rings and tables: mailboxes, peer table, next hops, buckets, adjacencies, FIB
 *                  images
 *   BAR4  16 MiB   packet memory, and nothing else: a port may share it whole with a stranger
 *
 * BAR2 and BAR4 are 64-bit, prefetchable and may be larger (powers of two); their sizes stand in
 * registers. Peers reach BAR2 and BAR4 and the doorbell through windows that the driver maps.
 *
 * Bring-up, in this order (docs/datasheet.md walks through it):
 *   1. check MAGIC, VERSION; COMMAND reset; write NIC_INDEX, MTU, RX_*
 *   2. map windows, fill the peer table, COMMAND peer-open for each peer, on both sides
 *   3. write FIB image, next hops, adjacencies; COMMAND fib-ipv4, fib-ipv6
 *   4. COMMAND start
 * A new driver that finds STATUS_RUNNING reads everything back and goes on from there.
 *
 * All registers are 32 bits, little-endian, naturally aligned; other widths are refused. A reserved
 * register reads 0 and ignores writes.
 */
#ifndef P2PNIC_REGISTERS_H
#define P2PNIC_REGISTERS_H

#include "adjacency.h"
#include "capture.h"
#include "counters.h"
#include "limits.h"
#include "punt.h"
#include "ring.h"
#include "special.h"
#include "types.h"

/* PCI identity. Unassigned: 0x1209 is the pid.codes vendor whose 0x000x products are for tests. */
#define P2PNIC_PCI_VENDOR 0x1209u
#define P2PNIC_PCI_DEVICE 0x0002u
#define P2PNIC_PCI_CLASS  0x020000u /* network controller, Ethernet */

#define P2PNIC_MAGIC   0x4e503250u /* "P2PN" */
#define P2PNIC_VERSION 0x00020006u /* major << 16 | minor; a driver refuses another major */

/* --- BAR map: bar_offsets and sizes ----------------------------------------------------------- */

#define P2PNIC_BAR0_BYTES        0x10000u
#define P2PNIC_BAR0_REGISTERS    0x0000u
#define P2PNIC_BAR0_COUNTERS     0x1000u /* struct p2pnic_counters */
#define P2PNIC_BAR0_DOORBELL     0x2000u /* any write wakes the NIC */
#define P2PNIC_BAR0_DESCRIPTION  0x3000u /* ro, text for people: what the port is */
#define P2PNIC_BAR0_FAULT        0x3080u /* ro, text for people: what is wrong with it, or "" */
#define P2PNIC_DESCRIPTION_BYTES 128u    /* of either text, with its NUL */
#define P2PNIC_BAR0_MSIX_TABLE   0x8000u
#define P2PNIC_BAR0_MSIX_PBA     0x9000u

#define P2PNIC_BAR2_BYTES_MIN   0x1000000u
#define P2PNIC_BAR2_MAILBOXES   0x000000u /* struct p2pnic_mailbox [P2PNIC_MAILBOXES] */
#define P2PNIC_BAR2_PEERS       0x110000u /* struct p2pnic_peer [P2PNIC_MAILBOXES] */
#define P2PNIC_BAR2_NEXT_HOPS   0x118000u /* p2pnic_next_hop [P2PNIC_NEXT_HOPS_MAX] */
#define P2PNIC_BAR2_BUCKETS     0x120000u /* p2pnic_bucket [P2PNIC_BUCKETS_MAX] */
#define P2PNIC_BAR2_ADJACENCIES 0x130000u /* struct p2pnic_adjacency [P2PNIC_ADJACENCIES_MAX] */
#define P2PNIC_BAR2_SOURCES     0x150000u /* struct p2pnic_sources */
#define P2PNIC_BAR2_STATIONS    0x158000u /* struct p2pnic_stations */
#define P2PNIC_BAR2_POLICERS    0x160000u /* struct p2pnic_policers */
#define P2PNIC_BAR2_USED        0x190000u /* p2pnic_used [P2PNIC_ADJACENCIES_MAX] */
#define P2PNIC_BAR2_VLANS       0x198000u /* p2pnic_vlan [P2PNIC_VLANS_MAX] */
#define P2PNIC_BAR2_CAPTURE     0x1a0000u /* struct p2pnic_capture */
#define P2PNIC_BAR2_FIB         0x200000u /* FIB images, up to the end of the BAR; fib.h */

#define P2PNIC_BAR4_BYTES_MIN 0x1000000u

/* The host is four peers like the others, one for each ring (enum p2pnic_host_ring): its ring to
 * the NIC injects, the NIC's ring to it punts. It opens those that it serves. */
#define P2PNIC_HOST_PEER(ring) (P2PNIC_NICS_MAX + (ring))
#define P2PNIC_MAILBOXES       (P2PNIC_NICS_MAX + P2PNIC_HOST_RINGS)

_Static_assert(P2PNIC_BAR2_MAILBOXES + P2PNIC_MAILBOXES * sizeof(struct p2pnic_mailbox) <=
		       P2PNIC_BAR2_PEERS,
	"mailboxes end before the peer table");
_Static_assert(P2PNIC_BAR2_NEXT_HOPS + P2PNIC_NEXT_HOPS_MAX * sizeof(p2pnic_next_hop) <=
		       P2PNIC_BAR2_BUCKETS,
	"next hops end before the buckets");
_Static_assert(
	P2PNIC_BAR2_BUCKETS + P2PNIC_BUCKETS_MAX * sizeof(p2pnic_bucket) <= P2PNIC_BAR2_ADJACENCIES,
	"buckets end before the adjacencies");
_Static_assert(P2PNIC_BAR2_ADJACENCIES + P2PNIC_ADJACENCIES_MAX * sizeof(struct p2pnic_adjacency) <=
		       P2PNIC_BAR2_SOURCES,
	"adjacencies end before the sources");

/* --- Registers (BAR0 page 0) ------------------------------------------------------------------ */

#define P2PNIC_REG_MAGIC      0x000u /* ro */
#define P2PNIC_REG_VERSION    0x004u /* ro */
#define P2PNIC_REG_STATUS     0x008u /* ro  P2PNIC_STATUS_* */
#define P2PNIC_REG_METHOD     0x00cu /* ro  P2PNIC_METHOD_*, fixed when the NIC was made */
#define P2PNIC_REG_COMMAND    0x010u /* wo  P2PNIC_COMMAND(): done when the write completes */
#define P2PNIC_REG_RESULT     0x014u /* ro  enum p2pnic_result of the last command */
#define P2PNIC_REG_NIC_INDEX  0x018u /* rw  this NIC's number, 0 to P2PNIC_NICS_MAX - 1 */
#define P2PNIC_REG_MTU        0x01cu /* rw  of the port, bytes of IP packet; adjacencies decide */
#define P2PNIC_REG_MAC_LOW    0x020u /* rw  octets 0–3, octet 0 in the low byte; in force with */
#define P2PNIC_REG_MAC_HIGH   0x024u /* rw  octets 4–5, unless that is a group address or 0 */
#define P2PNIC_REG_LINK       0x028u /* ro  1: up */
#define P2PNIC_REG_SPEED      0x02cu /* ro  Mb/s; 0: unknown */
#define P2PNIC_REG_BAR2_BYTES 0x030u /* ro */
#define P2PNIC_REG_BAR4_BYTES 0x034u /* ro */
#define P2PNIC_REG_RX_OFFSET  0x038u /* rw  bar_offset in BAR4 of the NIC's own receive buffers */
#define P2PNIC_REG_RX_BUFFERS 0x03cu /* rw  their number */
#define P2PNIC_REG_FIB4_OFFSET                                                                     \
	0x040u /* rw  bar_offset in BAR2; in force from command fib-ipv4 on */
#define P2PNIC_REG_FIB6_OFFSET 0x044u /* rw  likewise, fib-ipv6; 0: no IPv6 */
#define P2PNIC_REG_EPOCH       0x048u /* rw  written: asks for a quiescent point */
#define P2PNIC_REG_EPOCH_SEEN                                                                      \
	0x04cu /* ro  the last EPOCH after which a quiescent point was passed */
#define P2PNIC_REG_BUFFER_BYTES 0x050u /* ro  of each packet buffer; fixed as the NIC is made */
#define P2PNIC_REG_FLOW_SEED    0x054u /* rw  of the hash of flows; alike in all NICs of a router */
#define P2PNIC_REG_FLOW         0x058u /* rw  P2PNIC_FLOW_*, how flows are hashed */

#define P2PNIC_REG_REVERSE_PATH 0x05cu /* rw  P2PNIC_REVERSE_PATH_*: whence packets may come */

#define P2PNIC_REG_INGRESS 0x060u /* rw  P2PNIC_INGRESS_*: who forwards what comes in here */

#define P2PNIC_INGRESS_FORWARD 0u /* this NIC, by its tables */
#define P2PNIC_INGRESS_HOST    1u /* nobody but the host: punted, `kernel` */

#define P2PNIC_REVERSE_PATH_NONE   0u
#define P2PNIC_REVERSE_PATH_LOOSE  1u /* there is a route to their source: RFC 3704 §2.4 */
#define P2PNIC_REVERSE_PATH_STRICT 2u /* it leads out of this NIC: §2.2 */

#define P2PNIC_FLOW_SYMMETRIC 0x1u /* both directions of a connection are one flow */
/* Packets of one tunnel are as many flows as what they carry: IP in IP (RFC 2003, RFC 2473, RFC
 * 4213) and GRE (RFC 2784, RFC 2890). Tunnels over UDP tell flows by their source port. */
#define P2PNIC_FLOW_INNER     0x2u

#define P2PNIC_STATUS_RUNNING 0x1u /* started */
#define P2PNIC_STATUS_READY   0x2u /* reset done, memory usable */

/*
 * EPOCH: the host changed a table so that old and new are both whole, and now wants to use old
 * memory again. It writes a number here and waits until EPOCH_SEEN shows it: no packet that the
 * firmware handles from then on can have read what was unlinked before.
 */

/* Transfer methods; macros, as tests are compiled for one of them. */
#define P2PNIC_METHOD_WRITE  1 /* Wr */
#define P2PNIC_METHOD_READ   2 /* Rd */
#define P2PNIC_METHOD_BOUNCE 3 /* Bn */

#define P2PNIC_COMMAND(operation, argument) ((uint32_t)(operation) | (uint32_t)(argument) << 8)

/*
 * Rd: a NIC whose side of a pair is closed keeps what the peer may still read untouched. PEER_CLOSE
 * once more, or PEER_OPEN, says that the peer's side is closed too: those buffers are the NIC's
 * again.
 */
enum p2pnic_operation {
	P2PNIC_OP_RESET = 1,      /* everything to its power-on state; counters to 0 */
	P2PNIC_OP_START = 2,      /* receive from the port */
	P2PNIC_OP_STOP = 3,       /* stop receiving; rings are served on */
	P2PNIC_OP_PEER_OPEN = 4,  /* argument: peer; take its peer-table entry into use */
	P2PNIC_OP_PEER_CLOSE = 5, /* argument: peer; packets for and from it are dropped as stale */
	P2PNIC_OP_FIB_IPV4 = 6,   /* take the image at FIB4_OFFSET into use */
	P2PNIC_OP_FIB_IPV6 = 7,   /* likewise FIB6_OFFSET */
	P2PNIC_OP_SOURCES = 8,    /* take the list at P2PNIC_BAR2_SOURCES into use */
	P2PNIC_OP_STATIONS = 9,   /* take the list at P2PNIC_BAR2_STATIONS into use */
	P2PNIC_OP_CAPTURE = 10,   /* take what stands at P2PNIC_BAR2_CAPTURE into use */
};

enum p2pnic_result {
	P2PNIC_OK = 0,
	P2PNIC_BAD_OPERATION = 1, /* no such operation */
	P2PNIC_BAD_ARGUMENT = 2,  /* no such peer, or a register out of range */
	P2PNIC_BAD_WINDOW = 3,    /* a bus address of the peer entry lies in no window */
	P2PNIC_BAD_IMAGE = 4,     /* no valid FIB image at that offset */
	P2PNIC_BAD_STATE = 5,     /* not in this state (open twice, start before reset…) */
};

/* MSI-X vectors. The firmware raises the first four, the board the last one. */
#define P2PNIC_VECTOR_HOST_RING(ring) (ring) /* packets in that ring while the host slept */
#define P2PNIC_VECTOR_EVENT           4u     /* LINK or the text at FAULT changed; read both */
#define P2PNIC_VECTORS                5u

/*
 * The peer table: what the driver tells a NIC about one peer, before COMMAND peer-open. The NIC
 * copies the entry when the command runs; later changes have no effect until the pair is opened
 * again.
 *
 * "out" is the ring this NIC → peer, "in" the ring peer → this NIC.
 */
struct p2pnic_peer {
	uint32_t epoch; /* (host) life of the pair, alike on both sides; not 0, never reused */
	uint32_t batch; /* (host) descriptors held back at most; 1 to P2PNIC_BURST_MAX */
	struct bus_addr mailbox;  /* (host) this NIC's mailbox in the peer's BAR2 */
	struct bus_addr doorbell; /* (host) the peer's doorbell; {0}: it never sleeps, or is the
				     host, which is woken by P2PNIC_VECTOR_HOST_RING() */
	/* (host) Wr: this NIC's buffers in the peer's BAR4; Bn: bounce buffers */
	struct bus_addr out_buffers;
	/* (host) of BUFFER_BYTES each; Wr, Bn: at least out_slots */
	uint32_t out_buffer_count;
	uint32_t out_slots; /* (host) descriptors of the ring out, a power of two */
	/* (host) Rd: the peer's BAR4 from offset 0; Bn: bounce buffers; Wr: {0} */
	struct bus_addr in_buffers;
	uint32_t in_offset; /* (host) Wr: bar_offset in own BAR4 of the buffers the peer writes */
	uint32_t in_buffer_count; /* (host) how many the peer's descriptors may name */
	uint32_t in_slots;        /* (host) descriptors of the ring in, a power of two */
	uint32_t flags;           /* (host) P2PNIC_PEER_* */
	/*
	 * Hy (a NIC of method Wr, from contract 2.5 on): long packets are not written to the peer,
	 * but lent to it, as in Rd. Among the buffers that the peer's descriptors may name, the
	 * in_buffer_count of own BAR4 are followed by lent_buffer_count of the peer's.
	 */
	struct bus_addr lent_buffers; /* (host) the peer's BAR4 from offset 0; {0}: it lends none */
	uint32_t lent_buffer_count;   /* (host) */
	uint32_t lend_from; /* (host) bytes of a frame that is lent to the peer; 0: none is */
	uint8_t reserved[48];
};
/* flags: the host's mark of a pair that it has closed; a NIC refuses to open it. */
#define P2PNIC_PEER_CLOSED         1u
/* flags: enum p2pnic_check of both rings, alike on both sides. */
#define P2PNIC_PEER_CHECK(check)   ((uint32_t)(check) << 1)
#define P2PNIC_PEER_CHECKED(flags) ((flags) >> 1 & 3u)
P2PNIC_ASSERT_SIZE(struct p2pnic_peer, 128);
P2PNIC_ASSERT_OFFSET(struct p2pnic_peer, mailbox, 8);
P2PNIC_ASSERT_OFFSET(struct p2pnic_peer, out_buffers, 24);
P2PNIC_ASSERT_OFFSET(struct p2pnic_peer, in_buffers, 40);
P2PNIC_ASSERT_OFFSET(struct p2pnic_peer, flags, 60);
P2PNIC_ASSERT_OFFSET(struct p2pnic_peer, lent_buffers, 64);
_Static_assert(
	P2PNIC_BAR2_PEERS + P2PNIC_MAILBOXES * sizeof(struct p2pnic_peer) <= P2PNIC_BAR2_NEXT_HOPS,
	"the peer table ends before the next hops");

/*
 * IPv4 addresses from which no packet is forwarded, besides those of special.h: this router's own
 * and the broadcast addresses of its networks (RFC 1812 §5.3.7). The NIC copies the list when
 * COMMAND sources runs.
 */
struct p2pnic_sources {
	uint32_t count; /* (host) of addresses; 0: none */
	uint8_t reserved[60];
	be32 address[P2PNIC_SOURCES_MAX]; /* (host) */
};
P2PNIC_ASSERT_SIZE(struct p2pnic_sources, 64 + 4 * P2PNIC_SOURCES_MAX);
P2PNIC_ASSERT_OFFSET(struct p2pnic_sources, address, 64);
_Static_assert(P2PNIC_BAR2_SOURCES + sizeof(struct p2pnic_sources) <= P2PNIC_BAR2_STATIONS,
	"the sources end before the stations");

/*
 * MAC addresses besides the NIC's own (MAC_LOW, MAC_HIGH) to which frames are taken: virtual
 * routers (VRRP, RFC 9568 §7.3), macvlans. The NIC copies the list when COMMAND stations runs.
 */
struct p2pnic_stations {
	uint32_t count; /* (host) of addresses; 0: none */
	uint8_t reserved[60];
	struct mac_addr address[P2PNIC_STATIONS_MAX]; /* (host) */
};
P2PNIC_ASSERT_OFFSET(struct p2pnic_stations, address, 64);
_Static_assert(P2PNIC_BAR2_STATIONS + sizeof(struct p2pnic_stations) <= P2PNIC_BAR2_POLICERS,
	"the stations end before the policers");
_Static_assert(P2PNIC_BAR2_POLICERS + sizeof(struct p2pnic_policers) <= P2PNIC_BAR2_USED,
	"the policers end before the used bytes");
_Static_assert(P2PNIC_BAR2_USED + P2PNIC_ADJACENCIES_MAX * sizeof(p2pnic_used) <= P2PNIC_BAR2_VLANS,
	"the used bytes end before the VLANs");

/*
 * What becomes of frames with an IEEE 802.1Q tag (type 0x8100), by its VID: a byte for each, which
 * the host writes at any time and the NIC reads once a frame. VID 0 is a priority tag, which names
 * no VLAN (802.1Q §6.8): such frames are taken as untagged ones, whatever stands here.
 */
enum p2pnic_vlan_state {
	P2PNIC_VLAN_HOST = 0,    /* punted, `ethertype` or `link-scope`: the host's VLAN */
	P2PNIC_VLAN_FORWARD = 1, /* an interface: the frame is handled as it is without its tag */
	P2PNIC_VLAN_UNKNOWN = 2, /* dropped, `vlan` */
};
typedef _Atomic uint8_t p2pnic_vlan; /* (host) */
_Static_assert(P2PNIC_BAR2_VLANS + P2PNIC_VLANS_MAX * sizeof(p2pnic_vlan) <= P2PNIC_BAR2_CAPTURE,
	"the VLANs end before the capture");
_Static_assert(P2PNIC_BAR2_CAPTURE + sizeof(struct p2pnic_capture) <= P2PNIC_BAR2_FIB,
	"the capture ends before the FIB images");

#endif
