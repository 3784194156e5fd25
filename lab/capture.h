/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lab where no namespace may be made: its hosts' packets in captures, through `p2pnic replay`.
 *
 * Each host sends datagrams of many lengths, up to the MTU, to each other, one whose TTL runs out
 * and one to nowhere.
 */
#ifndef LAB_CAPTURE_H
#define LAB_CAPTURE_H

#include <jansson.h>

#include "ipc/error.h"

/* Makes captures in a directory of its own, replays them, removes it. The results, as account_print
 * takes them; NULL with sentences in error. */
json_t *capture_replay(unsigned mtu, struct error *error);

#endif
