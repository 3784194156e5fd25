/* SPDX-License-Identifier: BSD-3-Clause */
#include "softnic/variant.h"

#include <string.h>

/* The build lists them as VARIANT_ROW(name) for each method and port type (softnic/meson.build). */
#define VARIANT_ROW(name) extern const struct variant name;
VARIANTS
#undef VARIANT_ROW

static const struct variant *const variants[] = {
#define VARIANT_ROW(name) &name,
	VARIANTS
#undef VARIANT_ROW
};

const struct variant *variant_find(unsigned method, const char *port_type)
{
	for (size_t k = 0; k < sizeof(variants) / sizeof(*variants); k++)
		if (variants[k]->method == method && !strcmp(variants[k]->port_type, port_type))
			return variants[k];
	return NULL;
}
