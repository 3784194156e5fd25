/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C by the instructions that x86 has for it; where x86_has_crc. */
#include "x86.h"

#ifdef __x86_64__

#include "kernel.h"

CRC uint32_t crc32c_x86(uint32_t crc, const uint8_t *data, uint32_t bytes)
{
	uint64_t state = (uint32_t)~crc, word;

	for (; bytes >= 8; bytes -= 8, data += 8) {
		__builtin_memcpy(&word, data, sizeof(word));
		state = _mm_crc32_u64(state, word);
	}
	for (; bytes > 0; bytes--)
		state = _mm_crc32_u8((uint32_t)state, *data++);
	return ~(uint32_t)state;
}

#endif
