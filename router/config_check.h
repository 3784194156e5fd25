/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a configuration means: names are found, addresses parsed, and what fits no schema checked.
 */
#ifndef ROUTER_CONFIG_CHECK_H
#define ROUTER_CONFIG_CHECK_H

#include "router/config.h"
#include "router/config_tree.h"

/* Sets the members that config.h derives from others. 0, -ENOMEM, or -EINVAL with the tree's error
 * set. */
int config_check(struct config *, struct config_tree *);

#endif
