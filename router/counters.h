/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of counters: everything that is counted or measured, once. From it are made
 *
 *   JSON         `p2pnic show WHAT -j`: key and value          show*.c
 *   Prometheus   `p2pnic metrics`: metric, type, help, labels  metrics/text.c
 *   the manual   docs/counters.md: all of it                   `p2pnic metrics --manual`
 *
 * A set is the counters of one kind of row, X(key, value, unit, metric, type, help, read):
 *
 *   key     in the row of JSON; a dot leads into an object
 *   value   an expression over what the set says; only who makes the row expands it
 *   unit    of the value in JSON, an enum counter_unit; Prometheus has seconds, and 0 or 1
 *   metric  behind "p2pnic_", with labels of its own
 *   type    COUNTER (it grows, and begins at 0 when what counts begins anew) or GAUGE
 *   help    what is counted
 *   read    what its size says, for the manual; "" where that is plain
 */
#ifndef ROUTER_COUNTERS_H
#define ROUTER_COUNTERS_H

#include <stddef.h>

/* One NIC's own (p2pnic/counters.h). `c`: its counter block; `sum`: of its rings; `d`: its driver
 * NIC. Label nic. */
#define COUNTERS_NIC(X)                                                                            \
	X("received.packets", N(c->received.packets), PACKETS, "nic_received_packets_total",       \
		COUNTER, "Packets from the port.", "")                                             \
	X("received.bytes", N(c->received.bytes), BYTES, "nic_received_bytes_total", COUNTER,      \
		"Bytes of frames from the port, without FCS.", "")                                 \
	X("from_rings.packets", sum.from_packets, PACKETS, "nic_from_rings_packets_total",         \
		COUNTER, "Packets taken from the rings of all ingress NICs.", "")                  \
	X("from_rings.bytes", sum.from_bytes, BYTES, "nic_from_rings_bytes_total", COUNTER,        \
		"Bytes of packets taken from rings.", "")                                          \
	X("injected.packets", N(c->injected.packets), PACKETS, "nic_injected_packets_total",       \
		COUNTER, "Packets from the host, to be sent.", "")                                 \
	X("injected.bytes", N(c->injected.bytes), BYTES, "nic_injected_bytes_total", COUNTER,      \
		"Bytes of packets from the host.", "")                                             \
	X("sent.packets", N(c->sent.packets), PACKETS, "nic_sent_packets_total", COUNTER,          \
		"Packets that the port has sent.", "")                                             \
	X("sent.bytes", N(c->sent.bytes), BYTES, "nic_sent_bytes_total", COUNTER,                  \
		"Bytes of frames that the port has taken, without FCS.", "")                       \
	X("to_rings.packets", sum.to_packets, PACKETS, "nic_to_rings_packets_total", COUNTER,      \
		"Packets transferred to egress NICs.", "")                                         \
	X("to_rings.bytes", sum.to_bytes, BYTES, "nic_to_rings_bytes_total", COUNTER,              \
		"Bytes of packets transferred to egress NICs.", "")                                \
	X("punted.packets", N(c->punted.packets), PACKETS, "nic_punted_packets_total", COUNTER,    \
		"Packets given to the host.", "by class: punt_passed_packets_total")               \
	X("punted.bytes", N(c->punted.bytes), BYTES, "nic_punted_bytes_total", COUNTER,            \
		"Bytes of packets given to the host.", "")                                         \
	X("held", N(c->held), PACKETS, "nic_held_packets", GAUGE,                                  \
		"Packets in the NIC's memory now.", "stays high: an egress does not keep up")      \
	X("missed", N(c->port_missed), PACKETS, "nic_missed_packets_total", COUNTER,               \
		"Frames lost before the NIC had them, as the port's OS counts.",                   \
		"grows: the engine gets too little processor time, or too few rx_buffers")         \
	X("dma_faults", N(c->dma_faults), COUNT, "nic_dma_faults_total", COUNTER,                  \
		"Transfers that the NIC's windows refused.", "0, but for moments when a NIC died") \
	X("dma_lost", N(c->dma_lost), COUNT, "nic_dma_lost_total", COUNTER,                        \
		"Posted writes given up because their queue was full.", "0")                       \
	X("fetched", N(c->fetched), PACKETS, "nic_fetched_packets_total", COUNTER,                 \
		"Packets copied from another's memory to be sent (rd, bn, hy).",                   \
		"rd, hy: 0 where the port can send packets from where they lie")                   \
	X("bad_words", N(c->bad_words), COUNT, "nic_bad_words_total", COUNTER,                     \
		"Consumer words of peers out of range.", "0; else a peer is broken")               \
	X("doorbells", N(c->doorbells), COUNT, "nic_doorbells_total", COUNTER,                     \
		"Times that the NIC woke a peer.", "")                                             \
	X("sleeps", N(c->sleeps), COUNT, "nic_sleeps_total", COUNTER,                              \
		"Times that the NIC went to sleep.", "does not grow: it is busy all the time")     \
	X("unaccounted", driver_nic_unaccounted(d), PACKETS, "nic_unaccounted_packets", GAUGE,     \
		"Packets in less packets out.",                                                    \
		"0 at rest; under load not exactly, as counters are not read in one instant")

/* The same, by drop reason (p2pnic/counters.h). Labels nic, reason; in `show counter` the object
 * "dropped", without zeros. */
#define COUNTERS_DROP(X)                                                                           \
	X("packets", N(c->dropped[reason]), PACKETS, "nic_dropped_packets_total", COUNTER,         \
		"Packets that went no further, by reason.",                                        \
		"`p2pnic show drop` says what each means")

/* A NIC's life. `nic`: the router's; `on`: it forwards by the table that the router has. Label
 * nic. */
#define COUNTERS_STATE(X)                                                                          \
	X("forwarding", on, TRUTH, "nic_forwarding", GAUGE,                                        \
		"Whether the NIC forwards by the router's table.",                                 \
		"0: down, starting, not answering, or an old table; `p2pnic show nic`")            \
	X("answers", nic_answers(nic), TRUTH, "nic_answers", GAUGE,                                \
		"Whether the NIC answers its driver.", "0: it hangs, or is not up")                \
	X("link", nic->driver.device && nic->port.link, TRUTH, "nic_link_up", GAUGE,               \
		"Whether the port has a carrier, as last announced.", "")                          \
	X("restarts", nic->restarts, COUNT, "nic_restarts_total", COUNTER,                         \
		"Times that the NIC had to be started again.", "grows: see the router's messages") \
	X("mtu", *config->mtu, BYTES, "nic_mtu_bytes", GAUGE,                                      \
		"Longest IP packet that leaves there.", "")                                        \
	X("table_memory_bytes", nic->driver.bar2_bytes, BYTES, "nic_table_memory_bytes", GAUGE,    \
		"Size of the memory for tables (BAR2).", "")                                       \
	X("packet_memory_bytes", nic->driver.bar4_bytes, BYTES, "nic_packet_memory_bytes", GAUGE,  \
		"Size of the memory for packets (BAR4).", "")

/* A ring. `out`: as its ingress NIC counts; `in`: as its egress does. Labels nic (ingress), peer
 * (egress). */
#define COUNTERS_RING(X)                                                                           \
	X("packets", N(out->packets), PACKETS, "ring_packets_total", COUNTER,                      \
		"Packets that a NIC transferred to a peer.", "")                                   \
	X("bytes", N(out->bytes), BYTES, "ring_bytes_total", COUNTER,                              \
		"Bytes that a NIC transferred to a peer.", "")                                     \
	X("taken.packets", N(in->packets), PACKETS, "ring_taken_packets_total", COUNTER,           \
		"Packets that the peer took out of the ring.",                                     \
		"less than ring_packets_total by what is in the ring; for long: the peer is the "  \
		"bottleneck")                                                                      \
	X("taken.bytes", N(in->bytes), BYTES, "ring_taken_bytes_total", COUNTER,                   \
		"Bytes that the peer took out of the ring.", "")

/* Punts of a class, p2pnic/punt.h. `p`: as the NIC counts; `t`, `class`: as the punt process does.
 * Labels nic, class. */
#define COUNTERS_PUNT(X)                                                                           \
	X("passed", p.passed, PACKETS, "punt_passed_packets_total", COUNTER,                       \
		"Packets that the NIC gave to the host.", "")                                      \
	X("policed", p.policed, PACKETS, "punt_policed_packets_total", COUNTER,                    \
		"Packets dropped above the rate of their class or source.",                        \
		"grows: a flood, or a rate that is too low")                                       \
	X("delivered", t->counts.passed[class], PACKETS, "punt_delivered_packets_total", COUNTER,  \
		"Packets delivered to the NIC's tap.", "since the punt process has run")           \
	X("refused", t->counts.refused[class], PACKETS, "punt_refused_packets_total", COUNTER,     \
		"Packets that the tap refused.", "the tap is down, or the kernel short of memory")

/* A tap. `t`: as the punt process counts. Label nic. */
#define COUNTERS_TAP(X)                                                                            \
	X("bad", sum(t->counts.bad, P2PNIC_HOST_RINGS), COUNT, "tap_bad_descriptors_total",        \
		COUNTER, "Descriptors from the NIC that were none.", "0")                          \
	X("injected", sum(t->counts.sent, P2PNIC_HOST_RINGS), PACKETS,                             \
		"tap_injected_packets_total", COUNTER, "Packets from the kernel to the NIC.", "")  \
	X("full", sum(t->counts.full, P2PNIC_HOST_RINGS), PACKETS, "tap_full_packets_total",       \
		COUNTER, "Packets of the kernel dropped: no room in the ring, or no NIC.", "")     \
	X("oversize", t->counts.oversize, PACKETS, "tap_oversize_packets_total", COUNTER,          \
		"Packets of the kernel dropped: longer than the NIC's buffers.", "")

/* An engine, by its name. Label engine. */
#define COUNTERS_ENGINE(X)                                                                         \
	X("cpu_seconds", show_engine_cpu(nic), SECONDS, "engine_cpu_seconds_total", COUNTER,       \
		"Processor time of the engine's thread, with all of its NICs.",                    \
		"grows by 1 a second: the core is busy; a soft NIC polls while packets come")

/* The router. `r`, `table`: its table's counts; `routes`: of the table, by family; the others say
 * what they are. */
#define COUNTERS_ROUTER(X)                                                                         \
	X("nics", config_nics_used(r->config), COUNT, "router_nics", GAUGE,                        \
		"NICs of the configuration.", "")                                                  \
	X("forwarding", up, COUNT, "router_nics_up", GAUGE, "NICs that are attached.",             \
		"less than router_nics: one is down")                                              \
	X("api_clients", api_clients(r), COUNT, "api_clients", GAUGE,                              \
		"Clients of the API socket.",                                                      \
		"at most 64; the next one takes an idle one's place")                              \
	X("driver_cpu_seconds", seconds, SECONDS, "router_cpu_seconds_total", COUNTER,             \
		"Processor time of the router's process.", "")                                     \
	X("data_packets_through_driver", through, PACKETS, "router_host_packets_total", COUNTER,   \
		"Packets punted and injected, of all NICs.", "")                                   \
	X("fib4_image_bytes", table_image_bytes(r->table, 4), BYTES,                               \
		"table_image_bytes{family=\"ipv4\"}", GAUGE,                                       \
		"Length of the FIB image in each NIC, by family.",                                 \
		"near table_image_room_bytes: raise table_memory_mib")                             \
	X("fib6_image_bytes", table_image_bytes(r->table, 6), BYTES,                               \
		"table_image_bytes{family=\"ipv6\"}", GAUGE, "", "")                               \
	X("table_loads", table->loads, COUNT, "table_loads_total", COUNTER,                        \
		"Whole tables loaded into NICs, since the table was made.", "")                    \
	X("table_patches", table->patches, COUNT, "table_patches_total", COUNTER,                  \
		"Changes of the table in place, since it was made.", "")                           \
	X("last_patch_bytes", table->last_patch_bytes, BYTES, "table_last_patch_bytes", GAUGE,     \
		"Bytes of the last change, for one NIC.", "")                                      \
	X("last_patch_us", (double)table->last_patch_ns * 1e-3, MICROSECONDS,                      \
		"table_last_patch_seconds", GAUGE,                                                 \
		"How long the last change took, to the last NIC's epoch.", "")                     \
	X("fib4_image_room_bytes", table_image_room(r->table, 0), BYTES,                           \
		"table_image_room_bytes{family=\"ipv4\"}", GAUGE,                                  \
		"How long the FIB image may be, by family.", "")                                   \
	X("fib6_image_room_bytes", table_image_room(r->table, 1), BYTES,                           \
		"table_image_room_bytes{family=\"ipv6\"}", GAUGE, "", "")                          \
	X("routes4", routes4, COUNT, "table_routes{family=\"ipv4\"}", GAUGE,                       \
		"Routes in the NICs, by family.", "")                                              \
	X("routes6", routes6, COUNT, "table_routes{family=\"ipv6\"}", GAUGE, "", "")               \
	X("next_hops", table_next_hops(r->table)->taken, COUNT, "table_next_hops", GAUGE,          \
		"Next hops in use.", "near table_next_hops_room: routes share the last ones")      \
	X("next_hops_room", TABLE_HALF_NEXT_HOPS, COUNT, "table_next_hops_room", GAUGE,            \
		"Next hops that a table may have.", "")                                            \
	X("reloads", r->reloads, COUNT, "reloads_total", COUNTER,                                  \
		"Configurations taken since the start.", "")                                       \
	X("reloads_refused", r->reloads_refused, COUNT, "reloads_refused_total", COUNTER,          \
		"Configurations that were not taken.", "grows: the router's messages say why")

/* The kernel, where the configuration has `kernel`. `k`: struct router_kernel; the others are the
 * counts of its parts. These cost no look at routes or neighbours. */
#define COUNTERS_KERNEL(X)                                                                         \
	X("links", kernel_state_count(k->reader.state, KERNEL_LINK), COUNT,                        \
		"kernel_objects{kind=\"link\"}", GAUGE, "The router's mirror of the kernel.", "")  \
	X("addresses", kernel_state_count(k->reader.state, KERNEL_ADDRESS), COUNT,                 \
		"kernel_objects{kind=\"address\"}", GAUGE, "", "")                                 \
	X("neighbors", kernel_state_count(k->reader.state, KERNEL_NEIGHBOR), COUNT,                \
		"kernel_objects{kind=\"neighbor\"}", GAUGE, "", "")                                \
	X("next_hops", kernel_state_count(k->reader.state, KERNEL_NEXT_HOP), COUNT,                \
		"kernel_objects{kind=\"next_hop\"}", GAUGE, "", "")                                \
	X("routes", kernel_state_count(k->reader.state, KERNEL_ROUTE), COUNT,                      \
		"kernel_objects{kind=\"route\"}", GAUGE, "", "")                                   \
	X("messages", counted->messages, COUNT, "kernel_messages_total", COUNTER,                  \
		"Messages of rtnetlink, events and dumps.", "")                                    \
	X("rounds", k->reader.rounds, COUNT, "kernel_rounds_total", COUNTER,                       \
		"Times that all of the kernel was dumped.", "1 after the start; more: resyncs")    \
	X("overruns", k->reader.overruns, COUNT, "kernel_overruns_total", COUNTER,                 \
		"Times that messages were lost, and all was dumped again.",                        \
		"grows: raise net.core.rmem_max, or fewer changes at once")                        \
	X("dumps_interrupted", k->reader.interrupted, COUNT, "kernel_dumps_interrupted_total",     \
		COUNTER, "Dumps during which something changed, taken again.", "")                 \
	X("dumps_failed", k->reader.failed, COUNT, "kernel_dumps_failed_total", COUNTER,           \
		"Dumps and subscriptions that failed.", "0")                                       \
	X("evicted", counted->evicted, COUNT, "kernel_evicted_total", COUNTER,                     \
		"Routes and next-hop objects that went without a message.", "")                    \
	X("swept", counted->swept, COUNT, "kernel_swept_total", COUNTER,                           \
		"Objects that were missed as they went, found by a dump.", "")                     \
	X("changes_waiting", kernel_state_changes(k->reader.state), COUNT,                         \
		"kernel_changes_waiting", GAUGE, "Changes that NICs do not have yet.",             \
		"for long: changes come faster than tables are patched")                           \
	X("batches", k->routes.applied.batches, COUNT, "kernel_batches_total", COUNTER,            \
		"Batches of changes brought to NICs.", "")                                         \
	X("routes_applied", k->routes.applied.routes, COUNT, "kernel_routes_applied_total",        \
		COUNTER, "Changes of routes brought to NICs.", "")                                 \
	X("tables_made", k->routes.applied.compiles, COUNT, "kernel_tables_made_total", COUNTER,   \
		"Times that the whole table was made from the kernel's routes.", "")               \
	X("commits_failed", k->routes.applied.failed, COUNT, "kernel_commits_failed_total",        \
		COUNTER, "Batches that failed, or did not fit beside what is in force.",           \
		"NICs forward by what they had until the table is made anew")                      \
	X("lag_last_us", k->lag_ns / 1000, MICROSECONDS, "kernel_lag_last_seconds", GAUGE,         \
		"Of the last batch: from its first change until every NIC had it.", "")            \
	X("lag_most_us", k->lag_most_ns / 1000, MICROSECONDS, "kernel_lag_most_seconds", GAUGE,    \
		"The longest such time since the start.", "")                                      \
	X("commit_most_us", k->held_most_ns / 1000, MICROSECONDS, "kernel_commit_most_seconds",    \
		GAUGE, "The longest batch: nothing else runs in the router meanwhile.", "")        \
	X("neighbors_prodded", k->prod.prodded, COUNT, "kernel_neighbors_prodded_total", COUNTER,  \
		"Neighbours that the kernel was told to look for.", "")                            \
	X("neighbors_failed", k->routes.failures, COUNT, "kernel_neighbors_failed", GAUGE,         \
		"Addresses held as failed, to which NICs drop.", "")                               \
	X("rules", k->rules, COUNT, "kernel_unsupported{what=\"rules\"}", GAUGE,                   \
		"What of the kernel's state NICs do not do, by kind.",                             \
		"`p2pnic doctor` names each, and what to do")                                      \
	X("next_hops_encapsulated", k->unable.objects, COUNT,                                      \
		"kernel_unsupported{what=\"next_hops_encapsulated\"}", GAUGE, "", "")              \
	X("taps_enslaved", k->unable.enslaved, COUNT,                                              \
		"kernel_unsupported{what=\"taps_enslaved\"}", GAUGE, "", "")                       \
	X("vlans_on_taps", k->unable.vlans, COUNT, "kernel_unsupported{what=\"vlans_on_taps\"}",   \
		GAUGE, "", "")                                                                     \
	X("routes_by_source", counted->source_routes, COUNT, "kernel_routes_by_source_total",      \
		COUNTER, "Routes that depend on the source address, which NICs do not take.", "")  \
	X("next_hops_used_up", k->routes.lossy, COUNT, "kernel_next_hops_used_up", GAUGE,          \
		"Routes that are punted, since next hops are used up.", "0")                       \
	X("fpm_connected", k->fpm &&fpm_connected(k->fpm), COUNT, "fpm_connected", GAUGE,          \
		"Whether zebra is connected.", "")                                                 \
	X("fpm_received", fpm.received, COUNT, "fpm_received_total", COUNTER,                      \
		"Routes that zebra told of.", "")                                                  \
	X("fpm_acknowledged", fpm.acknowledged, COUNT, "fpm_acknowledged_total", COUNTER,          \
		"Routes acknowledged to zebra: NICs have them.", "")                               \
	X("fpm_failed", fpm.failed, COUNT, "fpm_failed_total", COUNTER,                            \
		"Routes refused to zebra: NICs cannot have them.", "")                             \
	X("fpm_pending", k->fpm ? fpm_pending(k->fpm) : 0, COUNT, "fpm_pending", GAUGE,            \
		"Routes without an answer yet.", "")                                               \
	X("fpm_dropped", fpm.dropped, COUNT, "fpm_dropped_total", COUNTER,                         \
		"Routes that were let go without an answer.", "")                                  \
	X("fpm_broken", fpm.broken, COUNT, "fpm_broken_total", COUNTER,                            \
		"Connections of zebra that broke.", "")                                            \
	X("audits", audits->audits, COUNT, "audits_total", COUNTER,                                \
		"Audits of kernel, router and NICs that came to their end.", "")                   \
	X("audits_unfinished", audits->unfinished, COUNT, "audits_unfinished_total", COUNTER,      \
		"Audits that did not.", "")                                                        \
	X("audit_repairs", audits->repairs, COUNT, "audit_repairs_total", COUNTER,                 \
		"Audits that mended something.", "0; else see the router's message")               \
	X("drift_kernel", audits->drift_kernel, COUNT, "audit_drift_total{at=\"kernel\"}",         \
		COUNTER, "Differences that audits found, by place.",                               \
		"0 on a healthy router; else look for who writes there")                           \
	X("drift_router", audits->drift_router, COUNT, "audit_drift_total{at=\"router\"}",         \
		COUNTER, "", "")                                                                   \
	X("drift_nics", audits->drift_nics, COUNT, "audit_drift_total{at=\"nics\"}", COUNTER, "",  \
		"")                                                                                \
	X("audit_last_ms", audits->last_ms, MILLISECONDS, "audit_last_seconds", GAUGE,             \
		"How long the last audit took.", "")                                               \
	X("audit_step_most_us", audits->held_most_ns / 1000, MICROSECONDS,                         \
		"audit_step_most_seconds", GAUGE, "The longest step of an audit.", "")

/* What takes a look at all of the kernel's routes or neighbours. `census`: its results. */
#define COUNTERS_CENSUS(X)                                                                         \
	X("neighbors_managed", census->managed, COUNT, "kernel_neighbors_managed", GAUGE,          \
		"Neighbours that the router keeps fresh.", "")                                     \
	X("routes_of_other_tables", census->tables, COUNT,                                         \
		"kernel_unsupported{what=\"routes_of_other_tables\"}", GAUGE, "", "")              \
	X("routes_by_tos", census->tos, COUNT, "kernel_unsupported{what=\"routes_by_tos\"}",       \
		GAUGE, "", "")                                                                     \
	X("routes_encapsulated", census->encapsulated, COUNT,                                      \
		"kernel_unsupported{what=\"routes_encapsulated\"}", GAUGE, "", "")                 \
	X("routes_by_other_links", census->other_links, COUNT, "kernel_routes_by_other_links",     \
		GAUGE, "Routes that leave by no NIC: they are punted.", "")                        \
	X("filters", census->filters, COUNT, "kernel_unsupported{what=\"filters\"}", GAUGE, "",    \
		"")                                                                                \
	X("sysctls", census->sysctls, COUNT, "kernel_unsupported{what=\"sysctls\"}", GAUGE, "",    \
		"")                                                                                \
	X("ports_in_the_kernel", census->ports, COUNT,                                             \
		"kernel_unsupported{what=\"ports_in_the_kernel\"}", GAUGE, "", "")

/* Also of the census. `n`: how many. */
#define COUNTERS_ROUTES(X)                                                                         \
	X("routes", n, COUNT, "routes", GAUGE, "Routes in the NICs, by family and source.", "")
#define COUNTERS_PROTOCOLS(X)                                                                      \
	X("routes", n, COUNT, "kernel_routes", GAUGE,                                              \
		"The kernel's routes by family and by the protocol that made them.", "")
#define COUNTERS_NEIGHBORS(X)                                                                      \
	X("neighbors", n, COUNT, "neighbors", GAUGE, "Neighbours on the NICs' links, by state.",   \
		"many failed or incomplete: somebody scans a connected network")

/* Times, histogram.h. X(key, value, metric, help, read) */
#define COUNTERS_TIMES(X)                                                                          \
	X("reload", &r->reload_times, "reload_duration_seconds",                                   \
		"How long a reload took, from reading the file until every NIC has it.", "")       \
	X("lag", &r->lag_times, "fib_lag_seconds",                                                 \
		"From a change of the kernel until every NIC has it, of each batch.",              \
		"some ms; more under a flood of changes")

/* --- The same as data ------------------------------------------------------------------------- */

enum counter_type { COUNTER, GAUGE };
enum counter_unit { COUNT, PACKETS, BYTES, SECONDS, MILLISECONDS, MICROSECONDS, TRUTH };

struct counter {
	const char *key, *metric, *help, *read;
	enum counter_unit unit;
	enum counter_type type;
};

/* One set. In the answer to {"show": "metrics"} `place` has a row, or a list of them, with the
 * values of labels at the keys `label` (NULL: none). */
struct counter_set {
	const char *place;
	const char *shown; /* as `p2pnic show …`; "": there only */
	const char *label[2], *label_key[2];
	const struct counter *counter;
	size_t counters;
};

struct counter_time {
	const char *key, *metric, *help, *read;
};

extern const struct counter_set counter_sets[];
extern const size_t counter_sets_count;
extern const struct counter_time counter_times[];
extern const size_t counter_times_count;

#endif
