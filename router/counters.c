/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/counters.h"

#define ROW(is_key, value, is_unit, is_metric, is_type, is_help, is_read)                          \
	{.key = (is_key),                                                                          \
		.metric = (is_metric),                                                             \
		.help = (is_help),                                                                 \
		.read = (is_read),                                                                 \
		.unit = (is_unit),                                                                 \
		.type = (is_type)},

static const struct counter nic[] = {COUNTERS_NIC(ROW)};
static const struct counter drop[] = {COUNTERS_DROP(ROW)};
static const struct counter state[] = {COUNTERS_STATE(ROW)};
static const struct counter ring[] = {COUNTERS_RING(ROW)};
static const struct counter punt[] = {COUNTERS_PUNT(ROW)};
static const struct counter tap[] = {COUNTERS_TAP(ROW)};
static const struct counter engine[] = {COUNTERS_ENGINE(ROW)};
static const struct counter router[] = {COUNTERS_ROUTER(ROW)};
static const struct counter kernel[] = {COUNTERS_KERNEL(ROW)};
static const struct counter census[] = {COUNTERS_CENSUS(ROW)};
static const struct counter routes[] = {COUNTERS_ROUTES(ROW)};
static const struct counter protocols[] = {COUNTERS_PROTOCOLS(ROW)};
static const struct counter neighbors[] = {COUNTERS_NEIGHBORS(ROW)};

#define SET(is_place, is_shown, of, ...)                                                           \
	{                                                                                          \
		.place = (is_place), .shown = (is_shown), .counter = (of),                         \
		.counters = sizeof(of) / sizeof(*(of)), __VA_ARGS__                                \
	}
#define LABEL(name, key)          .label = {name}, .label_key = {key}
#define LABELS(name, key, n2, k2) .label = {name, n2}, .label_key = {key, k2}
#define NONE                      .label = {NULL}

const struct counter_set counter_sets[] = {
	SET("counter", "counter", nic, LABEL("nic", "nic")),
	SET("drop", "drop", drop, LABELS("nic", "nic", "reason", "reason")),
	SET("nic", "nic", state, LABEL("nic", "name")),
	SET("ring", "ring", ring, LABELS("nic", "ingress", "peer", "egress")),
	SET("punt", "punt", punt, LABELS("nic", "nic", "class", "class")),
	SET("tap", "tap", tap, LABEL("nic", "nic")),
	SET("engine", "", engine, LABEL("engine", "engine")),
	SET("router", "router", router, NONE),
	SET("kernel", "kernel", kernel, NONE),
	SET("census", "kernel", census, NONE),
	SET("routes", "", routes, LABELS("family", "family", "source", "source")),
	SET("protocols", "", protocols, LABELS("family", "family", "protocol", "protocol")),
	SET("neighbors", "", neighbors, LABEL("state", "state")),
};
const size_t counter_sets_count = sizeof(counter_sets) / sizeof(*counter_sets);

const struct counter_time counter_times[] = {
#define ROW_OF_TIME(is_key, value, is_metric, is_help, is_read)                                    \
	{.key = (is_key), .metric = (is_metric), .help = (is_help), .read = (is_read)},
	COUNTERS_TIMES(ROW_OF_TIME)
#undef ROW_OF_TIME
};
const size_t counter_times_count = sizeof(counter_times) / sizeof(*counter_times);
