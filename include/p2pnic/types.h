/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Types that keep address spaces apart, and the words every contract header uses.
 *
 * Four kinds of address meet in this project and must never mix by accident:
 *
 *   struct bus_addr   what a DMA engine puts on the bus (IOVA); meaningless without a NIC's windows
 *   bar_offset        an offset inside one BAR of one NIC; a plain integer, always named so
 *   pointer           host virtual memory of this process, or device memory as the firmware sees it
 *   be32 / be16       an address or field as it stands in a packet (network order)
 *
 * Every shared structure is little-endian (PCIe's order), naturally aligned, and asserted beneath
 * its declaration. Fields carry their only writer in brackets: (host) the driver, (ingress) the NIC
 * that received the packet, (egress) the NIC that sends it, (device) the NIC whose memory it is.
 *
 * Freestanding: firmware, soft NIC, driver and tests all include these headers.
 */
#ifndef P2PNIC_TYPES_H
#define P2PNIC_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the contract is little-endian; a big-endian board needs its own accessors"
#endif

typedef uint16_t be16;
typedef uint32_t be32;

/* A bus address. {0} means "none": the driver never maps a window at bus address 0. */
struct bus_addr {
	uint64_t value;
};

static inline struct bus_addr bus_addr_add(struct bus_addr a, uint64_t bytes)
{
	return (struct bus_addr){a.value + bytes};
}

/* A MAC address in transmission order. */
struct mac_addr {
	uint8_t octet[6];
};

#define P2PNIC_ASSERT_SIZE(type, bytes)                                                            \
	_Static_assert(sizeof(type) == (bytes), #type " is not " #bytes " bytes")
#define P2PNIC_ASSERT_OFFSET(type, member, bytes)                                                  \
	_Static_assert(offsetof(type, member) == (bytes), #type "." #member " is not at " #bytes)

#endif
