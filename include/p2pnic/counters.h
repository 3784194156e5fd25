/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters of one NIC, as they lie in BAR0 (registers.h), and the names of drop reasons.
 *
 * Nothing is lost silently. At rest (no packet in flight), for each NIC:
 *
 *   received + from_rings + injected
 *       = sent + to_rings + Σ dropped[reason] + punted + held
 *
 * where from_rings is Σ from_ring[peer].packets and so on. `held` are the packets the NIC has in
 * its memory at the moment. The device is the only writer; each word is written with one 64-bit
 * store once a burst, so a reader sees a value that was true, though not all words from one
 * instant.
 */
#ifndef P2PNIC_COUNTERS_H
#define P2PNIC_COUNTERS_H

#include "limits.h"
#include "punt.h"
#include "types.h"

/*
 * Why a packet went no further: symbol, name, meaning. The names are what `p2pnic show drop`
 * prints. The numbered checks of RFC 1812 §5.2.2 stand beside the reason that counts their failure.
 */
#define P2PNIC_DROP_REASONS(X)                                                                     \
	X(RUNT, "runt", "frame shorter than its headers: 1812 §5.2.2 (1)")                         \
	X(FOREIGN_MAC, "foreign-mac", "unicast frame to another station's MAC")                    \
	X(ETHERTYPE, "ethertype", "not IPv4 or IPv6, and no host to punt it to")                   \
	X(CHECKSUM, "checksum", "IPv4 header checksum wrong: §5.2.2 (2)")                          \
	X(VERSION, "version", "IP version does not match the Ethernet type: §5.2.2 (3)")           \
	X(HEADER_LENGTH, "header-length", "header length field below 5 words: §5.2.2 (4)")         \
	X(TOTAL_LENGTH, "total-length", "total length below header or above frame: §5.2.2 (5)")    \
	X(MARTIAN_SOURCE, "martian-source", "source never forwarded: §5.3.7, RFC 6890")            \
	X(MARTIAN_DESTINATION, "martian-destination", "destination never forwarded: RFC 6890")     \
	X(LINK_SCOPE, "link-scope", "multicast, broadcast or L2-broadcast, not routed: §5.3.4")    \
	X(TTL, "ttl", "TTL or hop limit would reach 0: §5.3.1")                                    \
	X(NO_ROUTE, "no-route", "no route to the destination: §5.2.7.1")                           \
	X(BLACKHOLE, "blackhole", "route says drop silently")                                      \
	X(UNREACHABLE, "unreachable", "route says unreachable")                                    \
	X(PROHIBIT, "prohibit", "route says prohibited")                                           \
	X(NO_NEIGHBOR, "no-neighbor", "next hop's MAC unknown, and no host to resolve it")         \
	X(MTU, "mtu", "longer than the egress link's MTU")                                         \
	X(OPTIONS, "options", "IPv4 options malformed, or for the host, and none is attached")     \
	X(LOCAL, "local", "to an address of this router, and no host to punt it to")               \
	X(NO_PEER, "no-peer", "egress NIC is not connected (dead, stopped, being restarted)")      \
	X(RING_FULL, "ring-full", "egress ring full and the packets held for it at their limit")   \
	X(NO_BUFFER, "no-buffer", "own packet buffers used up")                                    \
	X(BAD_DESCRIPTOR, "bad-descriptor", "a peer's descriptor names what is not its own")       \
	X(DMA_FAULT, "dma-fault", "transfer outside every window of this NIC")                     \
	X(STALE, "stale", "in a ring or held when its pair was closed")                            \
	X(PORT, "port", "the port refused to send it (link down, error)")                          \
	X(PUNT_FULL, "punt-full", "punt ring full")                                                \
	X(BROADCAST, "broadcast", "to a connected network's broadcast address: RFC 2644")          \
	X(KERNEL, "kernel", "route leaves by no NIC, and no host to hand it to")                   \
	X(LINK_DOWN, "link-down", "the egress NIC's port has no carrier")                          \
	X(POLICED, "policed", "punt above the rate of its class or source: punt.h")                \
	X(BAD_TRANSFER, "bad-transfer", "did not arrive whole from its ingress NIC: ring.h")       \
	X(REVERSE_PATH, "reverse-path", "no way back to its source: RFC 3704")                     \
	X(SOURCE_ROUTE, "source-route", "IPv4 option loose or strict source route: RFC 7126")      \
	X(REDIRECT, "redirect", "why a packet is punted that leaves by the NIC it came by")        \
	X(VLAN, "vlan", "of a VLAN that is none of this NIC's: IEEE 802.1Q §6.9")

/* Which section says that such a packet is not forwarded. "": none does, it could not be. */
#define P2PNIC_DROP_SECTIONS(X)                                                                    \
	X(RUNT, "RFC 1812 §5.2.2 (1)")                                                             \
	X(FOREIGN_MAC, "")                                                                         \
	X(ETHERTYPE, "RFC 894, RFC 2464 §3")                                                       \
	X(CHECKSUM, "RFC 1812 §5.2.2 (2)")                                                         \
	X(VERSION, "RFC 1812 §5.2.2 (3)")                                                          \
	X(HEADER_LENGTH, "RFC 1812 §5.2.2 (4)")                                                    \
	X(TOTAL_LENGTH, "RFC 1812 §5.2.2 (5)")                                                     \
	X(MARTIAN_SOURCE, "RFC 1812 §5.3.7, RFC 6890 §2.2")                                        \
	X(MARTIAN_DESTINATION, "RFC 1812 §5.3.7, RFC 6890 §2.2")                                   \
	X(LINK_SCOPE, "RFC 1812 §5.3.4, RFC 4291 §2.5.6")                                          \
	X(TTL, "RFC 1812 §5.3.1, RFC 8200 §3")                                                     \
	X(NO_ROUTE, "RFC 1812 §5.2.7.1")                                                           \
	X(BLACKHOLE, "RFC 5635 §3")                                                                \
	X(UNREACHABLE, "RFC 1812 §5.2.7.1")                                                        \
	X(PROHIBIT, "RFC 1812 §5.3.9")                                                             \
	X(NO_NEIGHBOR, "RFC 1812 §3.3.2, RFC 4861 §7.2.2")                                         \
	X(MTU, "RFC 1812 §4.2.2.7, RFC 8200 §5")                                                   \
	X(OPTIONS, "RFC 1812 §5.3.13")                                                             \
	X(LOCAL, "RFC 1812 §5.2.3")                                                                \
	X(NO_PEER, "")                                                                             \
	X(RING_FULL, "RFC 1812 §5.3.6")                                                            \
	X(NO_BUFFER, "RFC 1812 §5.3.6")                                                            \
	X(BAD_DESCRIPTOR, "")                                                                      \
	X(DMA_FAULT, "")                                                                           \
	X(STALE, "")                                                                               \
	X(PORT, "")                                                                                \
	X(PUNT_FULL, "RFC 1812 §5.3.6")                                                            \
	X(BROADCAST, "RFC 2644 §3")                                                                \
	X(KERNEL, "")                                                                              \
	X(LINK_DOWN, "")                                                                           \
	X(POLICED, "RFC 1812 §4.3.2.8")                                                            \
	X(BAD_TRANSFER, "")                                                                        \
	X(REVERSE_PATH, "RFC 3704 §2")                                                             \
	X(SOURCE_ROUTE, "RFC 7126 §4.3, §4.4")                                                     \
	X(REDIRECT, "RFC 1812 §5.2.7.2, RFC 4861 §8.2")                                            \
	X(VLAN, "IEEE 802.1Q §6.9")

enum p2pnic_drop {
#define P2PNIC_DROP_SYMBOL(symbol, name, meaning) P2PNIC_DROP_##symbol,
	P2PNIC_DROP_REASONS(P2PNIC_DROP_SYMBOL)
#undef P2PNIC_DROP_SYMBOL
		P2PNIC_DROP_COUNT
};

#define P2PNIC_DROP_SLOTS 64u /* room in the counter block */
_Static_assert(P2PNIC_DROP_COUNT <= P2PNIC_DROP_SLOTS, "counter block holds every drop reason");

struct p2pnic_traffic {
	_Atomic uint64_t packets; /* (device) */
	_Atomic uint64_t bytes;   /* (device) frame bytes without FCS */
};

struct p2pnic_punted {
	_Atomic uint64_t passed;  /* (device) to the host; some may be lost to a full ring then */
	_Atomic uint64_t policed; /* (device) dropped: above the rate */
};

/* The counter block: one page of BAR0, mapped read-only by the host. All (device). */
struct p2pnic_counters {
	struct p2pnic_traffic received; /* from the port */
	struct p2pnic_traffic sent;     /* to the port: packets once sent, bytes once taken */
	struct p2pnic_traffic punted;   /* to the host */
	struct p2pnic_traffic injected; /* from the host */
	_Atomic uint64_t held;          /* packets in this NIC's memory now */
	_Atomic uint64_t port_missed;   /* lost before the NIC had them, as the port's OS counts */
	_Atomic uint64_t dma_faults;    /* transfers refused by the windows */
	_Atomic uint64_t bad_words;     /* consumer words out of range */
	_Atomic uint64_t doorbells;     /* times a peer was woken */
	_Atomic uint64_t sleeps;        /* times this NIC went to sleep */
	struct p2pnic_punted punt[P2PNIC_PUNT_COUNT]; /* by enum p2pnic_punt_class */
	_Atomic uint64_t dma_lost; /* posted writes given up because their queue was full */
	/* A bit for each NIC: the pair with it is given up, until the driver closes and opens it.
	 * Its consumer words were out of range, its transfers failed their checks, or its windows
	 * have gone. */
	_Atomic uint64_t given_up;
	struct p2pnic_traffic to_ring[P2PNIC_NICS_MAX];   /* transferred to egress [n] */
	struct p2pnic_traffic from_ring[P2PNIC_NICS_MAX]; /* taken from ingress [n] */
	_Atomic uint64_t dropped[P2PNIC_DROP_SLOTS];      /* by enum p2pnic_drop */
	/* A bit for each NIC: the pair with it is closed, and this NIC's port still sends packets
	 * that lie in its memory (Rd): those buffers are not used again before the bit is 0. */
	_Atomic uint64_t sending;
	_Atomic uint64_t fetched; /* packets copied into own memory to be sent (Rd, Bn) */
	uint8_t reserved1[4096 - 256 - 2048 - 512 - 16];
};
P2PNIC_ASSERT_SIZE(struct p2pnic_counters, 4096);
P2PNIC_ASSERT_OFFSET(struct p2pnic_counters, punt, 112);
P2PNIC_ASSERT_OFFSET(struct p2pnic_counters, dma_lost, 240);
P2PNIC_ASSERT_OFFSET(struct p2pnic_counters, given_up, 248);
P2PNIC_ASSERT_OFFSET(struct p2pnic_counters, to_ring, 256);
P2PNIC_ASSERT_OFFSET(struct p2pnic_counters, dropped, 2304);
P2PNIC_ASSERT_OFFSET(struct p2pnic_counters, sending, 2816);
P2PNIC_ASSERT_OFFSET(struct p2pnic_counters, fetched, 2824);

#endif
