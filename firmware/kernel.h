/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What some processors do for many packets at once. Each function has a scalar form
 * (kernel_scalar.c), which says what it does, and forms in AVX-512 and AVX2 (kernel_avx512.c,
 * kernel_avx2.c; of the CRC: crc32c_x86.c) that give the same results; tests compare them. Which of
 * them a NIC uses is chosen when it starts (kernel_best), so its path reads as if there were one. A
 * call a burst or a ring.
 */
#ifndef P2PNIC_FIRMWARE_KERNEL_H
#define P2PNIC_FIRMWARE_KERNEL_H

#include "burst.h"

struct nic;
struct ring_in;

struct kernel {
	/* Reads the heads of all frames and checks them. Fit packets stand in the burst as to be
	 * looked up, in order of arrival; others have a verdict. */
	void (*classify)(const struct nic *, struct burst *);

	/* The frames that leave by that egress; as a set of bits, too. */
	uint64_t (*select)(const struct burst *, uint8_t egress, struct selection *);

	/* Descriptors for frames of these lengths in the peer's free buffers: free[i] & begins is
	 * where frame i begins, and slot_buffer[i] notes its buffer. Returns the sum of the
	 * lengths. */
	uint32_t (*describe)(const uint32_t *free, const uint32_t *length, unsigned count,
		uint32_t begins, uint16_t flags, uint32_t *slot_buffer, uint64_t *descriptor);

	/* Copies the next descriptors of a ring, their offsets counted from BAR4, up to the first
	 * that is not published or not valid, at most `room`. Returns how many; adds their lengths
	 * to *bytes. *refused: the next one is published but not valid. `d` has room for seven
	 * more. */
	unsigned (*dequeue)(const struct ring_in *, struct p2pnic_descriptor *d, unsigned room,
		uint64_t *bytes, bool *refused);

	/* A few dozen words. */
	void (*copy)(uint32_t *to, const uint32_t *from, unsigned words);

	/* CRC32C (RFC 3720, 12.1 and appendix B.4) of what `crc` is the CRC of, and these bytes
	 * behind it; of nothing it is 0. */
	uint32_t (*crc)(uint32_t crc, const uint8_t *data, uint32_t bytes);
};

extern const struct kernel kernel_scalar;

/* The scalar dequeue, of which `k` are taken already; and the scalar copy. */
unsigned dequeue_from(const struct ring_in *, unsigned k, struct p2pnic_descriptor *d,
	unsigned room, uint64_t *bytes, bool *refused);
void kernel_copy(uint32_t *to, const uint32_t *from, unsigned words);
#ifdef __x86_64__
extern const struct kernel kernel_avx512; /* where x86_has_avx512 */
extern const struct kernel kernel_avx2;   /* where x86_has_avx2 and x86_has_crc */

/* `crc` by the processor's own instructions; where x86_has_crc. */
uint32_t crc32c_x86(uint32_t crc, const uint8_t *data, uint32_t bytes);
#endif

/* The fastest that this processor has. */
const struct kernel *kernel_best(void);

#endif
