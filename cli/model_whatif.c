/* SPDX-License-Identifier: BSD-3-Clause */
/* `p2pnic model whatif QUESTION`: each is a table of runs. */
#include "cli/command.h"
#include "cli/model_table.h"

#include "fib/fib_image.h"
#include "fib/synthetic.h"
#include "fib/trace.h"
#include "model/sim.h"

#include <stdlib.h>
#include <string.h>

/* The NIC of tomorrow is not known: this one is the Agilio CX with all that it does `times` faster,
 * and as many more buffers, so that the bus is what limits. */
static void faster(struct scenario *s, uint64_t times)
{
	struct parameters *p = &s->parameters;

	for (unsigned k = 0; k < p->n; k++) {
		struct parameter *one = &p->parameter[k];

		if (!strncmp(one->name, "nic.dma_write_", 14) ||
			!strncmp(one->name, "nic.dma_read_", 13) ||
			(!strncmp(one->name, "nic.memory_", 11) && strstr(one->name, "_access")))
			one->value = (one->value + times - 1) / times;
		if (!strcmp(one->name, "nic.clock") || !strcmp(one->name, "nic.mac_rate") ||
			!strcmp(one->name, "nic.rx_buffers") || !strcmp(one->name, "nic.dma_tags"))
			one->value *= times;
	}
}

/* How many ports: NICs of so many lanes until the switch has none left; its uplink has 16. */
static int ports(const struct model_options *o)
{
	static const struct {
		const char *link;
		unsigned port, lanes;
	} rows[] = {{"gen4", 100, 8}, {"gen4", 100, 16}, {"gen5", 100, 8}, {"gen5", 400, 16},
		{"gen6", 400, 8}, {"gen6", 400, 16}};
	static const unsigned frames[] = {64, 256, 1518};
	struct model_table t = {.options = o};

	for (unsigned k = 0; k < sizeof(rows) / sizeof(*rows); k++)
		for (unsigned f = 0; f < 3 && !t.code; f++) {
			const unsigned nics = (98 - 16) / rows[k].lanes;
			char set[256];

			snprintf(set, sizeof(set),
				"switch=pex88096;link=%s;nics=%u;pattern=%uin-%uout-mix;frame=%u;"
				"nic.port=%u Gb/s;nic.link_lanes=%u",
				rows[k].link, nics, nics, nics, frames[f], rows[k].port,
				rows[k].lanes);
			model_table_add(&t, NULL, set, "%s x%u, %u × %uG, %u B", rows[k].link,
				rows[k].lanes, nics, rows[k].port, frames[f]);
			if (t.code)
				break;
			faster(&t.row[t.n - 1].scenario, 32);
			t.row[t.n - 1].scenario.setup.warm = 40 * PS_PER_US;
			t.row[t.n - 1].scenario.setup.measure = 20 * PS_PER_US;
		}
	return model_table_finish(&t, "Ports under one switch of 98 lanes, each to all others; "
				      "NICs 32 times as fast as the "
				      "Agilio CX, so that the bus limits");
}

static int batch(const struct model_options *o)
{
	static const unsigned batches[] = {1, 2, 4, 8, 16, 32};
	static const char *const programs[] = {"p2pnic", "paper"};
	static const char *const rates[] = {"line", "10 Gb/s", "1 Gb/s"};
	struct model_table t = {.options = o};

	for (unsigned p = 0; p < 2; p++)
		for (unsigned r = 0; r < 3; r++)
			for (unsigned k = 0; k < 6; k++) {
				char set[128];

				snprintf(set, sizeof(set),
					"program=%s;pattern=1in-1out;rate=%s;program.batch=%u",
					programs[p], rates[r], batches[k]);
				model_table_add(
					&t, NULL, set, "batch %2u, 64 B, %s", batches[k], rates[r]);
			}
	return model_table_finish(&t, "Packets of a batch, one port to another");
}

/* Ring, and a packet buffer for each slot, for each ingress NIC. */
static int rings(const struct model_options *o)
{
	static const unsigned nics[] = {4, 8, 16}, slots[] = {64, 128, 256, 512, 1024};
	struct model_table t = {.options = o};

	for (unsigned n = 0; n < 3; n++)
		for (unsigned k = 0; k < 5; k++) {
			char set[160];

			snprintf(set, sizeof(set),
				"nics=%u;pattern=%uin-%uout-mix;program.ring_slots=%u", nics[n],
				nics[n], nics[n], slots[k]);
			model_table_add(&t, NULL, set, "%u NICs × %u slots: %u + %u KiB", nics[n],
				slots[k], nics[n] * slots[k] * 8 / 1024, nics[n] * slots[k] * 2);
		}
	return model_table_finish(&t, "Rings of each NIC: memory for descriptors, and for packets "
				      "in buffers of 2 KiB; 64 B, all "
				      "to all");
}

/* Reads of a lookup in hundredths, and bytes, of the table of the Internet's shape. 0: no memory.
 */
static unsigned table_reads(uint64_t *bytes)
{
	struct route_table table = {0};
	const struct fib_config config = {4, P2PNIC_FIB_LINE_TRIE, 16 << 20};
	struct error error;
	struct fib *fib = NULL;
	struct sim random;
	uint64_t reads = 0;
	const unsigned lookups = 10000;

	if (synthetic_table(&table, 64, 1) == 0)
		fib = fib_new(&config, &error);
	if (fib && fib_build(fib, table.ipv4.route, table.ipv4.n, &error)) {
		fib_free(fib);
		fib = NULL;
	}
	sim_init(&random, 1);
	for (unsigned k = 0; fib && k < lookups; k++) {
		const struct fib_route *to = &table.ipv4.route[sim_random(&random, table.ipv4.n)];
		struct trace trace;

		trace_lookup(fib, to->prefix, &trace);
		reads += trace.reads;
	}
	sim_free(&random);
	*bytes = 0;
	if (fib) {
		struct trace_part part[16];
		const unsigned parts = trace_parts(fib, part, 16);

		for (unsigned k = 0; k < parts; k++)
			*bytes += part[k].bytes;
		fib_free(fib);
	}
	route_table_free(&table);
	return (unsigned)(reads * 100 / lookups);
}

static int tables(const struct model_options *o)
{
	static const struct {
		unsigned memory;
		const char *name;
	} places[] = {{2, "CTM"}, {3, "IMEM"}, {4, "EMEM, SRAM"}, {5, "DRAM"}};
	static const char *const rates[] = {"line", "1 Gb/s"};
	struct model_table t = {.options = o};
	uint64_t bytes;
	const unsigned reads = table_reads(&bytes);
	char title[160];

	for (unsigned r = 0; r < 2; r++)
		for (unsigned k = 0; k < 4; k++)
			for (unsigned n = 1; n <= 3; n++) {
				char set[128];

				snprintf(set, sizeof(set),
					"pattern=1in-1out;rate=%s;program.table_memory=%u;"
					"program.lookup_reads=%u",
					rates[r], places[k].memory, n);
				model_table_add(&t, NULL, set, "%s, %u reads, %s", places[k].name,
					n, rates[r]);
			}
	snprintf(title, sizeof(title),
		"Where the table lies, 64 B; a full IPv4 table has %.1f MB and takes %.2f reads",
		(double)bytes / 1e6, reads / 100.0);
	return model_table_finish(&t, title);
}

/* §6.3 of the publication: other devices on the same switch. They write to each other, as a GPU
 * and an NVMe drive do. */
static int neighbours(const struct model_options *o)
{
	static const struct {
		const char *program;
		bool to_host;
	} kinds[] = {{"p2pnic", false}, {"p2pnic", true}, {"l3fwd", false}, {"l3fwd", true}};
	static const unsigned rates[] = {0, 25, 50, 100};
	struct model_table t = {.options = o};

	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned k = kinds[kind].to_host; k < 4; k++) {
			char set[96];
			struct machine_setup *m;

			snprintf(set, sizeof(set),
				"program=%s;frame=512;rate=10 Gb/s;pattern=4in-4out-mix",
				kinds[kind].program);
			model_table_add(&t, NULL, set, "2 × %u Gb/s%s", rates[k],
				!rates[k]             ? ""
				: kinds[kind].to_host ? " to the host"
						      : " to each other");
			if (t.code || !rates[k])
				continue;
			m = &t.row[t.n - 1].scenario.setup;
			for (unsigned n = 0; n < 2; n++)
				m->neighbour[m->neighbours++] = (struct machine_neighbour){
					.bit_per_s = rates[k] * 1000000000ull,
					.bytes = 4096,
					.lanes = 16,
					.to_host = kinds[kind].to_host};
		}
	return model_table_finish(&t, "Two other devices (GPU, NVMe) on the switch; frames of 512 "
				      "B at 10 Gb/s a port, all "
				      "to all");
}

static int tree(const struct model_options *o)
{
	static const unsigned nics[] = {8, 16, 24}, leaves[] = {1, 2, 4};
	struct model_table t = {.options = o};

	for (unsigned frame = 64; frame < 2000; frame += 1518 - 64)
		for (unsigned n = 0; n < 3; n++)
			for (unsigned k = 0; k < 3; k++) {
				char set[128];

				snprintf(set, sizeof(set),
					"nics=%u;switches=%u;pattern=%uin-%uout-mix;frame=%u",
					nics[n], leaves[k], nics[n], nics[n], frame);
				model_table_add(&t, NULL, set, "%u NICs, %u switch%s, %u B",
					nics[n], leaves[k] == 1 ? 1 : leaves[k] + 1,
					leaves[k] == 1 ? "" : "es", frame);
			}
	return model_table_finish(
		&t, "Switches in two levels, 16 lanes from each to the one above; each NIC to all");
}

/* --set nic=FILE: the reader's NIC; without, one with a DMA engine and cores twice as fast. */
static int nic(const struct model_options *o)
{
	static const unsigned frames[] = {64, 128, 256, 512, 1024, 1518};
	static const char *const programs[] = {"p2pnic", "paper"};
	struct model_options plain = *o;
	struct model_table t = {.options = o};
	bool own = false;

	for (unsigned k = 0; k < o->sets; k++)
		own |= !strncmp(o->set[k], "nic=", 4);
	plain.sets = 0;
	for (unsigned p = 0; p < 2; p++)
		for (unsigned k = 0; k < 6; k++)
			for (unsigned mine = 0; mine < 2; mine++) {
				char set[96];

				snprintf(set, sizeof(set),
					"program=%s;frame=%u;pattern=4in-4out-mix", programs[p],
					frames[k]);
				t.options = mine ? o : &plain;
				model_table_add(&t, NULL, set, "%u B, %s", frames[k],
					!mine ? "Agilio CX"
					: own ? "yours"
					      : "Agilio CX × 2");
				if (!t.code && mine && !own)
					faster(&t.row[t.n - 1].scenario, 2);
			}
	t.options = o;
	return model_table_finish(&t, "Another NIC (--set nic=FILE), four of them, all to all");
}

int model_whatif(const struct model_options *o, const char *what)
{
	static const struct {
		const char *name;
		int (*answer)(const struct model_options *);
	} questions[] = {{"ports", ports}, {"batch", batch}, {"rings", rings}, {"tables", tables},
		{"neighbours", neighbours}, {"tree", tree}, {"nic", nic}};

	for (unsigned k = 0; k < sizeof(questions) / sizeof(*questions); k++)
		if (!strcmp(questions[k].name, what))
			return questions[k].answer(o);
	return COMMAND_USAGE;
}
