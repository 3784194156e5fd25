/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The carrier of a card: shared memory where a bus would be. The card's board and the driver
 * (driver/card.c) include it.
 *
 * A card's memory is one file, a power of two of at least 64 MiB. The machine of the card has it as
 * its first ivshmem-plain device, the machines of its peers as a further one; the host maps it:
 *
 *     0          BAR0; its page of registers is not used, registers are requests
 *     64 KiB     struct card_carrier
 *     size / 4   BAR2
 *     size / 2   BAR4
 *
 * What the host cannot do to a card by a store in memory is a request: one at a time, written by
 * the host, answered by the card between two bursts. A window is a request as well, so the card has
 * a table of bus addresses, as an IOMMU would. A window names the peer by its serial, which the
 * card looks for in the memory of its ivshmem devices.
 */
#ifndef CARD_CARRIER_H
#define CARD_CARRIER_H

#include <p2pnic/registers.h>

#define CARD_MAGIC       0x6472616370327070ull /* "pp2pcard" */
#define CARD_BYTES_MIN   0x4000000ull
#define CARD_CARRIER     0x10000ull /* offset of struct card_carrier */
#define CARD_BAR2(bytes) ((bytes) / 4)
#define CARD_BAR4(bytes) ((bytes) / 2)

/* What a request asks for, and its arguments. */
enum card_operation {
	CARD_READ = 1,   /* region, offset, bytes: the value */
	CARD_WRITE,      /* region, offset, bytes, value */
	CARD_MAP,        /* bus, bytes, access (CARD_ACCESS_*), serial, offset in the peer's file */
	CARD_UNMAP,      /* bus, bytes: exactly as mapped */
	CARD_UNMAP_ALL,  /* none */
	CARD_RESET,      /* none: as COMMAND reset, and no windows */
	CARD_OPERATIONS, /* one more than the last */
};

enum { CARD_REGION_BAR0, CARD_REGION_CONFIG };

#define CARD_ACCESS_READ  1u /* as the firmware's DMA_READ, DMA_WRITE */
#define CARD_ACCESS_WRITE 2u

enum card_result {
	CARD_OK,
	CARD_BAD_REQUEST, /* no such operation, region, offset or range */
	CARD_EXISTS,      /* a window is there already */
	CARD_NO_WINDOW,   /* none is mapped like that */
	CARD_NO_PEER,     /* none of the card's ivshmem devices has that serial */
	CARD_FULL,        /* no more windows */
	CARD_BUSY,        /* the port still sends frames: ask again */
};

#define CARD_ARGUMENTS 5u

struct card_carrier {
	_Atomic uint64_t magic;  /* (card) written last when it starts */
	uint64_t serial;         /* (card) its port's MAC address */
	_Atomic uint32_t starts; /* (card) how often it started: another number, another life */
	uint32_t reserved0;
	_Atomic uint32_t raised[P2PNIC_VECTORS]; /* (card) how often each interrupt was raised */
	uint8_t reserved1[128 - 24 - 4 * P2PNIC_VECTORS];

	_Atomic uint32_t request;          /* (host) number of the last request: written last */
	uint32_t operation;                /* (host) */
	uint64_t argument[CARD_ARGUMENTS]; /* (host) */
	uint8_t reserved2[128 - 8 - 8 * CARD_ARGUMENTS];

	_Atomic uint32_t answer; /* (card) number of the last request answered: written last */
	uint32_t result;         /* (card) enum card_result */
	uint64_t value;          /* (card) of a read */
	uint8_t reserved3[128 - 16];
};
P2PNIC_ASSERT_OFFSET(struct card_carrier, raised, 24);
P2PNIC_ASSERT_OFFSET(struct card_carrier, request, 128);
P2PNIC_ASSERT_OFFSET(struct card_carrier, argument, 136);
P2PNIC_ASSERT_OFFSET(struct card_carrier, answer, 256);
P2PNIC_ASSERT_SIZE(struct card_carrier, 384);

#endif
