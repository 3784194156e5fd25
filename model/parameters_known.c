/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/parameters_known.h"

#include "model/sim.h"

#include <stddef.h>
#include <string.h>

/* Beyond them nothing is known to be, and sums would overflow. */
#define CYCLES_MOST 1000000u
#define POOL_MOST   (1ull << 30)

#define MEMORIES(what)                                                                             \
	" memory_local_" what " memory_cls_" what " memory_ctm_" what " memory_imem_" what         \
	" memory_emem_" what " memory_dram_" what " "

static const struct parameter_known known[] = {
	{"nic", PARAMETER_COUNT, 1, 16, " link_lanes "},
	{"nic", PARAMETER_TIME, 0, PS_PER_S,
		" dma_write_64 dma_write_128 dma_write_129 dma_write_192 dma_write_256 "
		"dma_write_257 dma_write_320 dma_write_384 dma_write_512 dma_write_513 "
		"dma_write_576 dma_write_768 dma_write_1024 dma_write_1536 "},
	{"nic", PARAMETER_TIME, 0, PS_PER_S,
		" dma_read_64 dma_read_65 dma_read_128 dma_read_129 dma_read_192 dma_read_256 "
		"dma_read_257 dma_read_320 dma_read_384 dma_read_512 dma_read_768 dma_read_1024 "
		"dma_read_1536 "},
	{"nic", PARAMETER_TIME, 0, PS_PER_S,
		" dma_write_latency dma_read_latency completer egress_poll mac_latency "},
	{"nic", PARAMETER_RATIO, 0, 1000000, " dma_share "},
	{"nic", PARAMETER_COUNT, 1, 1 << 16, " dma_slots dma_tags "},
	{"nic", PARAMETER_HERTZ, 1000000, 100000000000, " clock "},
	{"nic", PARAMETER_COUNT, 1, 64, " threads "},
	{"nic", PARAMETER_COUNT, 1, 1024, " ingress_cores egress_cores "},
	{"nic", PARAMETER_CYCLES, 0, CYCLES_MOST, MEMORIES("spacing")},
	{"nic", PARAMETER_CYCLES, 0, CYCLES_MOST, MEMORIES("latency")},
	{"nic", PARAMETER_TIME, 0, PS_PER_S, MEMORIES("access")},
	{"nic", PARAMETER_COUNT, 1, 1024, MEMORIES("banks")},
	{"nic", PARAMETER_RATE, 1000000, PS_PER_S, " port "},
	{"nic", PARAMETER_PER_S, 1, PS_PER_S, " mac_rate "},
	{"nic", PARAMETER_COUNT, 1, 1 << 24, " rx_buffers "},

	{"switch", PARAMETER_TIME, 0, PS_PER_S, " latency "},
	{"switch", PARAMETER_BYTES, 0, POOL_MOST, " pool "},
	{"switch", PARAMETER_COUNT, 1, 4096, " lanes "},

	{"host", PARAMETER_TIME, 0, PS_PER_S, " root_latency completer poll line part_of_line "},
	{"host", PARAMETER_BYTES, 0, POOL_MOST, " root_pool ddio "},
	{"host", PARAMETER_COUNT, 1, 16, " uplink_lanes "},
	{"host", PARAMETER_HERTZ, 1000000, 100000000000, " clock "},
	{"host", PARAMETER_COUNT, 1, 64, " queues "},
	{"host", PARAMETER_COUNT, 1, 1 << 16, " ring_slots "},
	{"host", PARAMETER_COUNT, 1, 1 << 24, " buffers "},
	{"host", PARAMETER_RATE, 1000000, PS_PER_S, " dram "},

	/* How they go together is checked where a link is made of them (pcie_link). */
	{"link", PARAMETER_RATE, 0, PS_PER_S, " lane_rate "},
	{"link", PARAMETER_COUNT, 0, 1 << 16,
		" code_data code_total headers_posted data_posted headers_nonposted data_nonposted "
		"headers_completion data_completion "},
	{"link", PARAMETER_BYTES, 0, 1 << 20,
		" payload request completion write_overhead completion_overhead dllp skip "
		"skip_interval dllp_interval_x4 dllp_interval_x8 dllp_interval_x16 "},
	{"link", PARAMETER_TIME, 0, PS_PER_S, " delay credit_delay "},

	/* Of all programs. */
	{"program", PARAMETER_COUNT, 1, 32, " batch "},
	{"program", PARAMETER_COUNT, 1, 1 << 16, " ring_slots "},
	{"program", PARAMETER_BYTES, 1, 64, " descriptor "},
	{"program", PARAMETER_CYCLES, 0, CYCLES_MOST,
		" receive route publish send fetch nfd_receive nfd_send l3fwd_packet l3fwd_burst "
		"bounce_packet poll_cycles ingress_burst_cycles ingress_packet_cycles "
		"egress_burst_cycles egress_packet_cycles "},
	{"program", PARAMETER_TIME, 0, PS_PER_S, " l3fwd_delay "},
	{"program", PARAMETER_COUNT, 0, 1, " idle_returns "},
	{"program", PARAMETER_COUNT, 0, 8, " route_reads lookup_reads "},
	{"program", PARAMETER_COUNT, 0, 5, /* enum memory */
		" table_memory next_hops_memory header_memory packets_memory rings_memory "
		"lists_memory counters_memory "},
};

const struct parameter_known *parameter_known(const char *role, const char *name)
{
	const size_t length = strlen(name);

	if (strchr(name, ' '))
		return NULL;
	for (unsigned k = 0; k < sizeof(known) / sizeof(*known); k++) {
		if (strcmp(known[k].role, role) != 0)
			continue;
		for (const char *at = known[k].names + 1; (at = strstr(at, name)); at++)
			if (at[-1] == ' ' && at[length] == ' ')
				return &known[k];
	}
	return NULL;
}
