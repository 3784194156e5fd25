/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's longest-prefix-match libraries as subjects: rte_lpm, rte_fib (DIR24_8 with entries of 1, 2
 * and 4 bytes, AVX-512 where it has it), rte_lpm6, rte_fib6 (trie). Hugepages when the machine has
 * some.
 */
#include "fib_subject.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>
#include <rte_lpm6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long free_hugepages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	long n = 0;

	if (f) {
		if (fscanf(f, "%ld", &n) != 1)
			n = 0;
		fclose(f);
	}
	return n;
}

bool peers_start(const char **why)
{
	bool huge = free_hugepages() >= 650;
	const char *arguments[] = {"bench-fib", huge ? "--in-memory" : "--no-shconf", "--no-pci",
		"-l", "0", "--log-level=1", "--no-telemetry", "--force-max-simd-bitwidth=512", "-m",
		huge ? "1300" : "3000", huge ? NULL : "--no-huge", NULL};

	*why = huge ? "hugepages" : "no hugepages (650 of 2 MiB wanted)";
	if (rte_eal_init(huge ? 10 : 11, (char **)arguments) >= 0)
		return true;
	*why = "rte_eal_init failed";
	return false;
}

/* --- IPv4 ------------------------------------------------------------------------------------- */

static uint64_t sink;

static void lpm_run(const struct subject *s, const struct addresses *a, bool bulk)
{
	uint32_t next_hop[SUBJECT_BURST] = {0};

	if (bulk) {
		for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
			rte_lpm_lookup_bulk(s->table, a->ipv4 + i, next_hop, SUBJECT_BURST);
		sink += next_hop[0];
		return;
	}
	for (size_t i = 0; i < a->n; i++) {
		rte_lpm_lookup(s->table, a->ipv4[i], &next_hop[i % SUBJECT_BURST]);
		__asm__ volatile("" ::: "memory");
	}
	sink += next_hop[0];
}

static void lpm_results(const struct subject *s, const struct addresses *a, uint16_t *result)
{
	uint32_t next_hop[SUBJECT_BURST];

	for (size_t i = 0; i < a->n; i += SUBJECT_BURST) {
		rte_lpm_lookup_bulk(s->table, a->ipv4 + i, next_hop, SUBJECT_BURST);
		for (unsigned k = 0; k < SUBJECT_BURST; k++)
			result[i + k] =
				next_hop[k] & RTE_LPM_LOOKUP_SUCCESS ? (uint16_t)next_hop[k] : 0;
	}
}

static void lpm_free(struct subject *s)
{
	rte_lpm_free(s->table);
}

static void fib_run(const struct subject *s, const struct addresses *a, bool bulk)
{
	uint64_t next_hop[SUBJECT_BURST] = {0};

	if (bulk)
		for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
			rte_fib_lookup_bulk(s->table, a->ipv4 + i, next_hop, SUBJECT_BURST);
	else
		for (size_t i = 0; i < a->n; i++)
			rte_fib_lookup_bulk(s->table, a->ipv4 + i, next_hop, 1);
	sink += next_hop[0];
}

static void fib_results(const struct subject *s, const struct addresses *a, uint16_t *result)
{
	uint64_t next_hop[SUBJECT_BURST];

	for (size_t i = 0; i < a->n; i += SUBJECT_BURST) {
		rte_fib_lookup_bulk(s->table, a->ipv4 + i, next_hop, SUBJECT_BURST);
		for (unsigned k = 0; k < SUBJECT_BURST; k++)
			result[i + k] = (uint16_t)next_hop[k];
	}
}

static void fib_free_subject(struct subject *s)
{
	rte_fib_free(s->table);
}

/* tbl8 groups: prefixes of `depth` bits that hold longer ones; routes are sorted. */
static uint64_t groups(const struct fib_route *routes, size_t n, unsigned depth)
{
	uint64_t count = 0, last = 0;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		uint64_t bits = depth ? routes[i].prefix.high >> (64 - depth) : 0;

		if (routes[i].length <= depth || (any && bits == last))
			continue;
		any = true;
		last = bits;
		count++;
	}
	return count;
}

void peers_ipv4(const struct fib_route *routes, size_t n, bool quick, struct subject *subject,
	unsigned *subjects)
{
	static const struct {
		const char *name;
		enum rte_fib_dir24_8_nh_sz size;
	} modes[] = {{"rte_fib-1B", RTE_FIB_DIR24_8_1B}, {"rte_fib-2B", RTE_FIB_DIR24_8_2B},
		{"rte_fib-4B", RTE_FIB_DIR24_8_4B}};
	uint64_t tbl8 = groups(routes, n, 24);

	for (unsigned m = 0; m < 3; m++) {
		struct rte_fib_conf conf = {.type = RTE_FIB_DIR24_8,
			.default_nh = 0,
			.max_routes = (int)n + 1000,
			.dir24_8 = {.nh_sz = modes[m].size, .num_tbl8 = (uint32_t)tbl8 + 64}};
		double start = thread_seconds();
		struct rte_fib *fib = rte_fib_create(modes[m].name, 0, &conf);
		bool good = fib != NULL;

		for (size_t i = 0; i < n && good; i++)
			good = !rte_fib_add(fib, (uint32_t)(routes[i].prefix.high >> 32),
				routes[i].length, routes[i].next_hop);
		if (!good) {
			fprintf(stderr, "%s: cannot be built: %s\n", modes[m].name,
				rte_strerror(rte_errno));
			rte_fib_free(fib);
			continue;
		}
		subject[(*subjects)++] = (struct subject){modes[m].name, fib,
			(1ull << 24 << modes[m].size) + (tbl8 << 8 << modes[m].size),
			thread_seconds() - start, fib_run, fib_results, fib_free_subject};
		/* The scalar version stays where the processor has no AVX-512. */
		rte_fib_select_lookup(fib, RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512);
	}
	if (!quick) {
		struct rte_lpm_config conf = {(uint32_t)n + 1000, (uint32_t)tbl8 + 64, 0};
		double start = thread_seconds();
		struct rte_lpm *lpm = rte_lpm_create("lpm", 0, &conf);
		bool good = lpm != NULL;

		fprintf(stderr, "rte_lpm: adding %zu routes (one to two minutes)\n", n);
		for (size_t i = 0; i < n && good; i++)
			good = !rte_lpm_add(lpm, (uint32_t)(routes[i].prefix.high >> 32),
				routes[i].length, routes[i].next_hop);
		if (!good) {
			fprintf(stderr, "rte_lpm: cannot be built\n");
			rte_lpm_free(lpm);
			return;
		}
		subject[(*subjects)++] =
			(struct subject){"rte_lpm", lpm, (4ull << 24) + (tbl8 << 10),
				thread_seconds() - start, lpm_run, lpm_results, lpm_free};
	}
}

/* --- IPv6 ------------------------------------------------------------------------------------- */

static void lpm6_run(const struct subject *s, const struct addresses *a, bool bulk)
{
	int32_t next_hop[SUBJECT_BURST] = {0};
	uint32_t one = 0;

	if (bulk)
		for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
			rte_lpm6_lookup_bulk_func(s->table, a->octets + i, next_hop, SUBJECT_BURST);
	else
		for (size_t i = 0; i < a->n; i++)
			rte_lpm6_lookup(s->table, a->octets[i], &one);
	sink += (uint64_t)next_hop[0] + one;
}

static void lpm6_results(const struct subject *s, const struct addresses *a, uint16_t *result)
{
	int32_t next_hop[SUBJECT_BURST];

	for (size_t i = 0; i < a->n; i += SUBJECT_BURST) {
		rte_lpm6_lookup_bulk_func(s->table, a->octets + i, next_hop, SUBJECT_BURST);
		for (unsigned k = 0; k < SUBJECT_BURST; k++)
			result[i + k] = next_hop[k] < 0 ? 0 : (uint16_t)next_hop[k];
	}
}

static void lpm6_free(struct subject *s)
{
	rte_lpm6_free(s->table);
}

static void fib6_run(const struct subject *s, const struct addresses *a, bool bulk)
{
	uint64_t next_hop[SUBJECT_BURST] = {0};

	if (bulk)
		for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
			rte_fib6_lookup_bulk(s->table, a->octets + i, next_hop, SUBJECT_BURST);
	else
		for (size_t i = 0; i < a->n; i++)
			rte_fib6_lookup_bulk(s->table, a->octets + i, next_hop, 1);
	sink += next_hop[0];
}

static void fib6_results(const struct subject *s, const struct addresses *a, uint16_t *result)
{
	uint64_t next_hop[SUBJECT_BURST];

	for (size_t i = 0; i < a->n; i += SUBJECT_BURST) {
		rte_fib6_lookup_bulk(s->table, a->octets + i, next_hop, SUBJECT_BURST);
		for (unsigned k = 0; k < SUBJECT_BURST; k++)
			result[i + k] = (uint16_t)next_hop[k];
	}
}

static void fib6_free(struct subject *s)
{
	rte_fib6_free(s->table);
}

void peers_ipv6(const struct fib_route *routes, size_t n, bool quick, struct subject *subject,
	unsigned *subjects)
{
	static const struct {
		const char *name;
		enum rte_fib_trie_nh_sz size;
	} modes[] = {{"rte_fib6-2B", RTE_FIB6_TRIE_2B}, {"rte_fib6-4B", RTE_FIB6_TRIE_4B}};
	struct rte_lpm6_config lpm_conf = {(uint32_t)n + 1000, 0, 0};
	uint64_t tbl8 = 0;
	struct rte_lpm6 *lpm;
	bool good = true;
	uint8_t octets[16];
	double start;

	(void)quick;
	for (unsigned depth = 24; depth < 64; depth += 8)
		tbl8 += groups(routes, n, depth);
	for (unsigned m = 0; m < 2; m++) {
		struct rte_fib6_conf conf = {.type = RTE_FIB6_TRIE,
			.default_nh = 0,
			.max_routes = (int)n + 1000,
			.trie = {.nh_sz = modes[m].size,
				/* It reserves groups for each route as if none shared them. */
				.num_tbl8 = modes[m].size == RTE_FIB6_TRIE_2B
						    ? 32767
						    : (uint32_t)(6 * tbl8)}};
		struct rte_fib6 *fib = rte_fib6_create(modes[m].name, 0, &conf);

		start = thread_seconds();
		good = fib != NULL;
		for (size_t i = 0; i < n && good; i++) {
			octets_of(routes[i].prefix, octets);
			good = !rte_fib6_add(fib, octets, routes[i].length, routes[i].next_hop);
			if (!good)
				fprintf(stderr, "%s: route %zu of %zu\n", modes[m].name, i, n);
		}
		if (!good) {
			fprintf(stderr, "%s: cannot be built (wants %llu tbl8 groups): %s\n",
				modes[m].name, (unsigned long long)tbl8, rte_strerror(rte_errno));
			rte_fib6_free(fib);
			continue;
		}
		subject[(*subjects)++] = (struct subject){modes[m].name, fib,
			(1ull << 24 << modes[m].size) + (tbl8 << 8 << modes[m].size),
			thread_seconds() - start, fib6_run, fib6_results, fib6_free};
		rte_fib6_select_lookup(fib, RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512);
	}
	lpm_conf.number_tbl8s = (uint32_t)tbl8 + 1000;
	start = thread_seconds();
	lpm = rte_lpm6_create("lpm6", 0, &lpm_conf);
	good = lpm != NULL;
	for (size_t i = 0; i < n && good; i++) {
		octets_of(routes[i].prefix, octets);
		good = !rte_lpm6_add(lpm, octets, routes[i].length, routes[i].next_hop);
	}
	if (!good) {
		fprintf(stderr, "rte_lpm6: cannot be built: %s\n", rte_strerror(rte_errno));
		rte_lpm6_free(lpm);
		return;
	}
	subject[(*subjects)++] = (struct subject){"rte_lpm6", lpm, (4ull << 24) + (tbl8 << 10),
		thread_seconds() - start, lpm6_run, lpm6_results, lpm6_free};
}
