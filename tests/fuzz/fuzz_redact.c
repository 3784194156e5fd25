/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of a report, which may be anybody's: redact writes no more than it has room for, and a
 * secret behind a key of its own line never gets through, whatever stands before and after it.
 */
#include "cli/redact.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "s3cr3t"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char line[4096], clean[16384];
	size_t used = 0, cut = size ? data[0] % size : 0, room = 1 + (size * 7) % 64;

	if (size > 1024 || memmem(data, size, SECRET, strlen(SECRET)))
		return 0;
	for (size_t k = 0; k <= size; k++) {
		if (k == cut)
			used += (size_t)sprintf(line + used, " password=" SECRET);
		if (k < size)
			line[used++] = data[k] ? (char)data[k] : '.';
	}
	line[used] = 0;
	if (strstr(line, "password=" SECRET) == NULL)
		abort();
	redact(line, clean, sizeof(clean));
	if (strstr(clean, "=" SECRET))
		abort();
	redact(line, clean, room);
	if (strlen(clean) >= room)
		abort();
	return 0;
}
