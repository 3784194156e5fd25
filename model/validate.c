/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/validate.h"

#include "model/dma.h"
#include "model/pcie.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int64_t validation_off(const struct validation *v)
{
	return ((int64_t)v->model - (int64_t)v->given) * 1000000 / (int64_t)v->given;
}

bool validation_holds(const struct validation *v)
{
	const int64_t off = validation_off(v);

	return (off < 0 ? -off : off) <= v->within;
}

/* --- Rounds ----------------------------------------------------------------------------------- */

/* Of what a round consists. */
enum kinds { WRITE = 1, READ = 2, BOTH = WRITE | READ };

static const char *const kind_names[] = {"", "writes", "reads", "writes and reads"};

#define ROUNDS  500u /* to warm up, and to measure */
#define AT_ONCE 200u

/* A device that accesses another; a round begins anew when all its accesses are done. */
struct rounds {
	struct sim sim;
	struct fabric *fabric;
	struct node *from, *to;
	struct dma *dma; /* NULL: accesses go straight to the device */
	enum kinds kinds;
	uint32_t bytes;
	unsigned open[AT_ONCE]; /* accesses of a round that are not done */
	unsigned over;
};

static void done(struct sim *s, void *object, uint64_t argument);

static void begin(struct rounds *r, uint64_t n)
{
	for (unsigned read = 0; read < 2; read++) {
		const struct transfer t = {.target = r->to,
			.read = read,
			.bytes = r->bytes,
			.done = done,
			.object = r,
			.argument = n};

		if (!(r->kinds & (read ? READ : WRITE)))
			continue;
		r->open[n]++;
		if (!r->dma)
			pcie_transfer(r->from, &t);
		else
			dma_submit(r->dma, &t); /* no place: a round less */
	}
}

static void done(struct sim *s, void *object, uint64_t argument)
{
	struct rounds *r = object;

	if (--r->open[argument])
		return;
	r->over++;
	begin(r, argument);
}

/* Time of a round in ps, of many that are under way at once: that of the bottleneck. */
static uint64_t round_ps(struct rounds *r, enum kinds kinds, uint32_t bytes, unsigned at_once)
{
	r->kinds = kinds;
	r->bytes = bytes;
	for (unsigned k = 0; k < at_once; k++)
		begin(r, k);
	while (r->over < ROUNDS && sim_step(&r->sim))
		;
	const uint64_t from = r->sim.now;
	while (r->over < 2 * ROUNDS && sim_step(&r->sim))
		;
	return (r->sim.now - from) / ROUNDS;
}

static void rounds_free(struct rounds *r)
{
	if (r->dma)
		dma_free(r->dma);
	if (r->fabric)
		fabric_free(r->fabric);
	sim_free(&r->sim);
}

/* --- 1: links --------------------------------------------------------------------------------- */

static uint64_t parts(uint64_t bytes, uint64_t most)
{
	return (bytes + most - 1) / most;
}

/* pcie-model's mem_bw.py: bytes of a write, of the requests of a read, of its completions; the
 * busier direction decides. */
static uint64_t arithmetic_ps(const struct pcie_link *l, enum kinds kinds, uint64_t bytes)
{
	const uint64_t write = bytes + parts(bytes, l->payload) * l->write_overhead;
	const uint64_t request = parts(bytes, l->request) * l->write_overhead;
	const uint64_t completion = bytes + parts(bytes, l->completion) * l->completion_overhead;
	const uint64_t out = (kinds & WRITE ? write : 0) + (kinds & READ ? request : 0);
	const uint64_t in = kinds & READ ? completion : 0;

	return sim_transfer(out > in ? out : in, l->bit_per_s);
}

/* Of credits and tags there are enough: what is left is the links. */
static uint64_t links_ps(const struct pcie_link *link, enum kinds kinds, uint32_t bytes)
{
	struct pcie_link l = *link;
	struct rounds r = {0};

	for (unsigned c = 0; c < TLP_CLASSES; c++)
		l.headers[c] = l.data[c] = 1 << 20;
	sim_init(&r.sim, 1);
	r.fabric = fabric_new(&r.sim);
	struct node *root = fabric_root(r.fabric, "root", 0, 0);
	r.from = fabric_device(r.fabric, "from", root, &l, 0, AT_ONCE, NULL, NULL);
	r.to = fabric_device(r.fabric, "to", root, &l, 0, AT_ONCE, NULL, NULL);
	const uint64_t ps = round_ps(&r, kinds, bytes, AT_ONCE);
	rounds_free(&r);
	return ps;
}

int validate_links(struct parameters *p, validation_say *say, void *object, struct error *error)
{
	static const uint32_t sizes[] = {64, 128, 192, 256, 512, 576, 1024, 1514, 2048};
	static const unsigned widths[] = {4, 8, 16};

	for (unsigned w = 0; w < COUNT(widths); w++) {
		struct pcie_link l;
		const int code = pcie_link(&l, p, widths[w], error);

		if (code)
			return code;
		for (unsigned k = 0; k < COUNT(sizes); k++)
			for (enum kinds kinds = WRITE; kinds <= BOTH; kinds++) {
				struct validation v = {.step = 1, .source = "pcie-model"};

				v.given = arithmetic_ps(&l, kinds, sizes[k]);
				v.model = links_ps(&l, kinds, sizes[k]);
				/* Each TLP is rounded up to a ps. */
				v.within = (unsigned)((parts(sizes[k], l.payload) + 3) * 1000000 /
						      v.given);
				snprintf(v.what, sizeof(v.what), "x%u, %s of %u B", widths[w],
					kind_names[kinds], sizes[k]);
				say(object, &v);
			}
	}
	return 0;
}

/* --- 2: the DMA engine ------------------------------------------------------------------------ */

/* pcie-bench/data, BW_DMA_WR, _RD, _RW, warm: medians of the time of an access, ps. The NIC's own
 * times of an access are from the same data: what this shows is that link, tags and the shared
 * stage fit beside them. */
static const struct {
	enum kinds kinds;
	unsigned within;
	struct {
		uint32_t bytes;
		uint64_t ps;
	} size[16];
} bandwidth[] = {
	{WRITE, 30000,
		{{16, 21000}, {64, 21100}, {65, 21100}, {128, 24200}, {129, 38000}, {192, 38000},
			{255, 40600}, {256, 40600}, {320, 55000}, {384, 61600}, {512, 75200},
			{640, 99400}, {768, 115800}, {1024, 150500}, {1536, 225700},
			{2048, 301000}}},
	{READ, 100000,
		{{64, 16100}, {65, 23800}, {128, 23700}, {192, 36100}, {256, 43200}, {320, 58600},
			{384, 66300}, {512, 74400}, {768, 126300}, {1024, 163700}, {1280, 204400},
			{1536, 222000}, {2048, 296100}}},
	{BOTH, 100000,
		{{64, 22300}, {128, 30300}, {192, 41900}, {256, 48700}, {320, 64400}, {384, 72900},
			{512, 96000}, {768, 143200}, {1024, 186900}, {1536, 254100},
			{2048, 326800}}},
};

/* LAT_DMA_RD and LAT_DMA_WRRD: the middle of the medians of local memory. */
static const struct {
	uint32_t bytes;
	bool behind; /* a write */
	uint64_t ps;
} latency[] = {{64, false, 573000}, {1520, false, 1013000}, {64, true, 786000}};

/* A NIC in a host. Memory hangs on the root by a link that is never full. */
static int host_make(struct rounds *r, struct parameters *p, struct error *error)
{
	struct pcie_link l, inside;
	int code = pcie_link(&l, p, (unsigned)parameters_get(p, "nic.link_lanes"), error);

	*r = (struct rounds){0};
	sim_init(&r->sim, 1);
	if (code)
		return code;
	inside = l;
	inside.bit_per_s = PS_PER_S;
	r->fabric = fabric_new(&r->sim);
	struct node *root = fabric_root(r->fabric, "root", parameters_get(p, "host.root_latency"),
		parameters_get(p, "host.root_pool"));
	r->to = fabric_device(r->fabric, "memory", root, &inside,
		parameters_get(p, "host.completer"), 0, NULL, NULL);
	r->from = fabric_device(r->fabric, "nic", root, &l, 0,
		(unsigned)parameters_get(p, "nic.dma_tags"), NULL, NULL);
	r->dma = dma_new(&r->sim, p, "nic", r->from, error);
	return r->dma ? parameters_missing(p, error) : -EINVAL;
}

static void come(struct sim *s, void *object, uint64_t argument)
{
	((struct rounds *)object)->over++;
}

static void write_left(struct sim *s, void *object, uint64_t argument)
{
	struct rounds *r = object;
	const struct transfer t = {
		.target = r->to, .read = true, .bytes = r->bytes, .done = come, .object = r};

	dma_submit(r->dma, &t);
}

static uint64_t latency_ps(struct rounds *r, uint32_t bytes, bool behind)
{
	r->bytes = bytes;
	if (behind) {
		const struct transfer t = {
			.target = r->to, .bytes = bytes, .done = write_left, .object = r};

		dma_submit(r->dma, &t);
	} else {
		write_left(&r->sim, r, 0);
	}
	while (!r->over && sim_step(&r->sim))
		;
	return r->sim.now;
}

int validate_dma(struct parameters *p, validation_say *say, void *object, struct error *error)
{
	struct rounds r;

	for (unsigned k = 0; k < COUNT(bandwidth); k++)
		for (unsigned n = 0; n < COUNT(bandwidth[k].size) && bandwidth[k].size[n].bytes;
			n++) {
			struct validation v = {.step = 2,
				.source = "pcie-bench",
				.given = bandwidth[k].size[n].ps,
				.within = bandwidth[k].within};
			const uint32_t bytes = bandwidth[k].size[n].bytes;
			const int code = host_make(&r, p, error);

			if (!code)
				v.model = round_ps(&r, bandwidth[k].kinds, bytes, 64);
			rounds_free(&r);
			if (code)
				return code;
			snprintf(v.what, sizeof(v.what), "%s of %u B",
				kind_names[bandwidth[k].kinds], bytes);
			say(object, &v);
		}
	for (unsigned k = 0; k < COUNT(latency); k++) {
		struct validation v = {.step = 2,
			.source = "pcie-bench",
			.given = latency[k].ps,
			.within = 100000};
		const int code = host_make(&r, p, error);

		if (!code)
			v.model = latency_ps(&r, latency[k].bytes, latency[k].behind);
		rounds_free(&r);
		if (code)
			return code;
		snprintf(v.what, sizeof(v.what), "latency of a read of %u B%s", latency[k].bytes,
			latency[k].behind ? " behind a write" : "");
		say(object, &v);
	}
	return 0;
}
