/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/method.h"

#include <p2pnic/registers.h>
#include <string.h>

static const char *const names[] = {
	[P2PNIC_METHOD_WRITE] = "wr", [P2PNIC_METHOD_READ] = "rd", [P2PNIC_METHOD_BOUNCE] = "bn"};

const char *method_name(unsigned method)
{
	return names[method];
}

unsigned method_of_name(const char *name)
{
	for (unsigned method = P2PNIC_METHOD_WRITE; method <= P2PNIC_METHOD_BOUNCE; method++)
		if (!strcmp(name, names[method]))
			return method;
	return 0;
}
