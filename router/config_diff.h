/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What differs between two configurations, key by key, and what it takes to go from one to the
 * other. Both are as config_json has them, so what one says and the other leaves out at the same
 * value is no difference.
 */
#ifndef ROUTER_CONFIG_DIFF_H
#define ROUTER_CONFIG_DIFF_H

#include <jansson.h>

/* In words of config_effect_name. */
enum config_effect {
	CONFIG_LIVE,    /* NICs forward on, by the new value */
	CONFIG_NICS,    /* NICs come, go or begin anew, the others forward on (nics_change.h) */
	CONFIG_RESTART, /* refused: the router must be started anew */
};

const char *config_effect_name(enum config_effect);

/* Of a key as config_diff names it. */
enum config_effect config_effect(const char *key);

/*
 * Rows {"key": KEY, "from": VALUE, "to": VALUE, "effect": NAME}; from is absent where it is new, to
 * where it goes. Entries of lists are named by what tells them apart: "nics.left.mtu",
 * "routes.198.18.0.0/15.via". NULL: out of memory.
 */
json_t *config_diff(const json_t *from, const json_t *to);

#endif
