/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/method.h"

#include <p2pnic/registers.h>
#include <string.h>

static const char *const names[] = {[P2PNIC_METHOD_WRITE] = "wr",
	[P2PNIC_METHOD_READ] = "rd",
	[P2PNIC_METHOD_BOUNCE] = "bn",
	[METHOD_HYBRID] = "hy"};

const char *method_name(unsigned method)
{
	return names[method];
}

unsigned method_of_name(const char *name)
{
	for (unsigned method = P2PNIC_METHOD_WRITE; method <= METHOD_HYBRID; method++)
		if (!strcmp(name, names[method]))
			return method;
	return 0;
}

unsigned method_of_nics(unsigned method)
{
	return method == METHOD_HYBRID ? P2PNIC_METHOD_WRITE : method;
}

static const char *const checks[P2PNIC_CHECK_COUNT] = {
	[P2PNIC_CHECK_NONE] = "none", [P2PNIC_CHECK_STAMP] = "stamp", [P2PNIC_CHECK_CRC] = "crc"};

const char *check_name(unsigned check)
{
	return check < P2PNIC_CHECK_COUNT ? checks[check] : "unknown";
}

unsigned check_of_name(const char *name)
{
	unsigned check = 0;

	while (check < P2PNIC_CHECK_COUNT && strcmp(name, checks[check]) != 0)
		check++;
	return check;
}
