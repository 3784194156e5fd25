/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of routes, plain or compressed: read whole, each route one that a table takes, or refused with a
 * sentence that names the file. */
#include "fib/route_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct route_list *list, unsigned family)
{
	for (size_t k = 0; k < list->n; k++) {
		const struct fib_route *r = &list->route[k];
		char text[ROUTE_TEXT_BYTES];
		struct fib_ipv6 again;
		unsigned length;

		if (r->family != family || r->length > (family == 4 ? 32 : 128) || !r->next_hop ||
			r->next_hop >= P2PNIC_NEXT_HOPS_MAX)
			abort();
		/* As it is written it is read. */
		if (route_parse_prefix(route_text(text, family, r->prefix, r->length), &again,
			    &length) != family ||
			length != r->length || memcmp(&again, &r->prefix, sizeof(again)) != 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64];
	char error[FIB_ERROR_BYTES] = "";
	struct route_table table = {0};

	if (file < 0) {
		file = memfd_create("routes", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (file < 0 || ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		return 0;
	int result = route_file_read(path, 64, &table, error);

	if (result > 0 || (result < 0) != (strncmp(error, path, strlen(path)) == 0))
		abort();
	check(&table.ipv4, 4);
	check(&table.ipv6, 6);
	route_table_free(&table);
	return 0;
}
