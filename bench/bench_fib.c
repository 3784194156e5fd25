/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-fib: the line trie beside its baseline and DPDK's tables, in one process, alternating.
 *
 * Every subject first gives its results for the same addresses, and they must be the naive twin's;
 * one whose results differ is not measured. Then rounds: each subject runs once a round over the
 * same 2^20 addresses; medians over the rounds are printed, with the smallest and largest. Lookups
 * and builds are timed by the thread's processor time, single changes by the wall's.
 *
 * Traffic: uniform (IPv6: in 2000::/3), covered (a random address in a random route), zipf (2^20
 * lookups over 2^18 flows with covered addresses, exponent 1).
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fib/check.h"
#include "fib/fib_image.h"
#include "fib/naive.h"
#include "fib/route_file.h"
#include "fib/synthetic.h"
#include "fib_subject.h"
#include "firmware/fib_lookup.h"

#define ADDRESSES  (1u << 20)
#define ZIPF_FLOWS (1u << 18)
#define ROUNDS     15u
#define IMAGE_ROOM (8u << 20)
#define SAMPLES    10u

enum traffic { UNIFORM, COVERED, ZIPF, TRAFFICS };
static const char *const traffic_name[] = {"uniform", "covered", "zipf"};

struct bench {
	bool quick;
	struct route_table table;
	json_t *result, *lookups, *sizes, *sweep;
	bool peers;
	uint64_t random;
};

/* Cheap to read, for what takes microseconds. */
static double wall_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double percentile(double *value, size_t n, double of_1)
{
	qsort(value, n, sizeof *value, by_value);
	return value[(size_t)(of_1 * (double)(n - 1))];
}

static void *need(void *p)
{
	if (!p) {
		fprintf(stderr, "bench-fib: out of memory\n");
		exit(1);
	}
	return p;
}

/* Device memory as a soft NIC has it: huge pages when there. */
static void *device_memory(size_t bytes, const char **kind)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	*kind = "huge pages";
	if (p != MAP_FAILED)
		return p;
	p = need(aligned_alloc(2u << 20, bytes));
	*kind = madvise(p, bytes, MADV_HUGEPAGE) ? "small pages" : "transparent huge pages";
	memset(p, 0, bytes);
	return p;
}

/* --- Ours as subjects ------------------------------------------------------------------------- */

static void ours4_run(const struct subject *s, const struct addresses *a, bool bulk)
{
	uint16_t next_hop[SUBJECT_BURST];

	if (bulk)
		for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
			fib4_lookup(s->table, a->ipv4 + i, next_hop, SUBJECT_BURST);
	else
		for (size_t i = 0; i < a->n; i++)
			fib4_lookup(s->table, a->ipv4 + i, next_hop, 1);
}

static void ours4_results(const struct subject *s, const struct addresses *a, uint16_t *next_hop)
{
	for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
		fib4_lookup(s->table, a->ipv4 + i, next_hop + i, SUBJECT_BURST);
}

static void ours6_run(const struct subject *s, const struct addresses *a, bool bulk)
{
	uint16_t next_hop[SUBJECT_BURST];

	if (bulk)
		for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
			fib6_lookup(s->table, a->ipv6 + i, next_hop, SUBJECT_BURST);
	else
		for (size_t i = 0; i < a->n; i++)
			fib6_lookup(s->table, a->ipv6 + i, next_hop, 1);
}

static void ours6_results(const struct subject *s, const struct addresses *a, uint16_t *next_hop)
{
	for (size_t i = 0; i < a->n; i += SUBJECT_BURST)
		fib6_lookup(s->table, a->ipv6 + i, next_hop + i, SUBJECT_BURST);
}

static void ours_free(struct subject *s)
{
	munmap(s->table, s->bytes > IMAGE_ROOM ? 64u << 20 : IMAGE_ROOM);
}

static struct fib *compile(
	unsigned family, unsigned kind, const struct fib_route *routes, size_t n, double *spent)
{
	const struct fib_config config = {
		family, kind, kind == P2PNIC_FIB_LINE_TRIE ? IMAGE_ROOM : 64u << 20};
	struct error error;
	struct fib *fib = fib_new(&config, &error);
	double start = thread_seconds();

	if (!fib || fib_build(fib, routes, n, &error)) {
		fprintf(stderr, "%s\n", error.text);
		exit(1);
	}
	*spent = thread_seconds() - start;
	return fib;
}

static struct subject ours(
	const char *name, unsigned family, unsigned kind, const struct fib_route *routes, size_t n)
{
	struct subject s = {.name = name,
		.run = family == 4 ? ours4_run : ours6_run,
		.results = family == 4 ? ours4_results : ours6_results,
		.free = ours_free};
	struct fib *fib = compile(family, kind, routes, n, &s.build_seconds);
	const char *pages;

	fib_image(fib, &s.bytes);
	s.table = device_memory(s.bytes > IMAGE_ROOM ? 64u << 20 : IMAGE_ROOM, &pages);
	fib_image_write(fib, s.table);
	fib_free(fib);
	return s;
}

/* --- Addresses -------------------------------------------------------------------------------- */

static void addresses_open(struct addresses *a)
{
	a->n = ADDRESSES;
	a->ipv4 = need(malloc(a->n * sizeof *a->ipv4));
	a->ipv6 = need(malloc(a->n * sizeof *a->ipv6));
	a->octets = need(malloc(a->n * sizeof *a->octets));
}

static void addresses_close(struct addresses *a)
{
	free(a->ipv4);
	free(a->ipv6);
	free(a->octets);
}

static void address_set(struct addresses *a, size_t i, struct fib_ipv6 address)
{
	a->ipv4[i] = (uint32_t)(address.high >> 32);
	a->ipv6[i] = address;
	octets_of(address, a->octets[i]);
}

static void addresses_fill(struct bench *b, struct addresses *a, unsigned family,
	const struct route_list *list, enum traffic traffic)
{
	struct fib_ipv6 *flow = need(malloc(ZIPF_FLOWS * sizeof *flow));

	for (size_t i = 0; i < ZIPF_FLOWS; i++)
		flow[i] =
			check_inside(&list->route[check_random(&b->random) % list->n], &b->random);
	for (size_t i = 0; i < a->n; i++) {
		struct fib_ipv6 address = {check_random(&b->random), check_random(&b->random)};

		if (family == 6)
			address.high = address.high >> 3 | 1ull << 61;
		if (traffic == COVERED)
			address = check_inside(
				&list->route[check_random(&b->random) % list->n], &b->random);
		if (traffic == ZIPF) {
			/* The inverse of the (continuous) distribution function of 1/x. */
			double u = (double)(check_random(&b->random) >> 11) * 0x1p-53;

			address = flow[(size_t)pow(ZIPF_FLOWS, u) - 1];
		}
		address_set(a, i, address);
	}
	free(flow);
}

/* --- Lookups ---------------------------------------------------------------------------------- */

/* Those whose results differ from the twin's are taken off the list. */
static void verify(struct subject *subject, unsigned *subjects, const struct addresses *a,
	unsigned family, const struct naive *twin)
{
	uint16_t *got = need(malloc(a->n * sizeof *got)),
		 *wanted = need(malloc(a->n * sizeof *wanted));

	for (size_t i = 0; i < a->n; i++) {
		struct fib_ipv6 address = a->ipv6[i];

		if (family == 4)
			address = (struct fib_ipv6){(uint64_t)a->ipv4[i] << 32, 0};
		wanted[i] = naive_lookup(twin, address);
	}
	for (unsigned s = 0; s < *subjects;) {
		size_t wrong = 0;

		subject[s].results(&subject[s], a, got);
		for (size_t i = 0; i < a->n; i++)
			wrong += got[i] != wanted[i];
		if (!wrong) {
			s++;
			continue;
		}
		fprintf(stderr, "%s: %zu of %zu results differ from the twin's: not measured\n",
			subject[s].name, wrong, a->n);
		subject[s].free(&subject[s]);
		memmove(&subject[s], &subject[s + 1], (--*subjects - s) * sizeof *subject);
	}
	free(got);
	free(wanted);
}

static void measure(struct bench *b, const struct subject *subject, unsigned subjects,
	const struct addresses *a, unsigned family, enum traffic traffic, bool bulk)
{
	double rate[SUBJECTS_MAX][ROUNDS];
	unsigned rounds = b->quick ? 5 : ROUNDS;

	for (unsigned s = 0; s < subjects; s++)
		subject[s].run(&subject[s], a, bulk);
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned s = 0; s < subjects; s++) {
			double start = thread_seconds();

			subject[s].run(&subject[s], a, bulk);
			rate[s][r] = (double)a->n / (thread_seconds() - start) / 1e6;
		}
	for (unsigned s = 0; s < subjects; s++) {
		double ratio[ROUNDS], median;

		/* Rounds side by side: noise of the machine hits both. */
		for (unsigned r = 0; r < rounds; r++)
			ratio[r] = rate[0][r] / rate[s][r];
		if (!s)
			continue;
		median = percentile(ratio, rounds, 0.5);
		printf("  IPv%u %-8s %-6s p2pnic ÷ %-11s %5.2f  (%.2f–%.2f)\n", family,
			traffic_name[traffic], bulk ? "bulk" : "single", subject[s].name, median,
			ratio[0], ratio[rounds - 1]);
	}
	for (unsigned s = 0; s < subjects; s++) {
		double median = percentile(rate[s], rounds, 0.5);

		json_array_append_new(b->lookups,
			json_pack("{s:s, s:i, s:s, s:s, s:f, s:f, s:f}", "table", subject[s].name,
				"af", (int)family, "traffic", traffic_name[traffic], "mode",
				bulk ? "bulk" : "single", "mlps", median, "mlps_min", rate[s][0],
				"mlps_max", rate[s][rounds - 1]));
		printf("  IPv%u %-8s %-6s %-11s %7.1f M lookups/s\n", family, traffic_name[traffic],
			bulk ? "bulk" : "single", subject[s].name, median);
	}
}

static void bench_lookups(struct bench *b, unsigned family, const struct route_list *list)
{
	struct subject subject[SUBJECTS_MAX];
	unsigned subjects = 0;
	struct addresses a;
	struct naive twin;

	addresses_open(&a);
	subject[subjects++] = ours("p2pnic", family, P2PNIC_FIB_LINE_TRIE, list->route, list->n);
	subject[subjects++] =
		ours("state-jump", family, P2PNIC_FIB_STATE_JUMP, list->route, list->n);
	if (b->peers)
		(family == 4 ? peers_ipv4 : peers_ipv6)(
			list->route, list->n, b->quick, subject, &subjects);
	for (unsigned s = 0; s < subjects; s++)
		printf("  IPv%u %-11s %8.3f MiB, built in %7.3f s\n", family, subject[s].name,
			(double)subject[s].bytes / 1048576, subject[s].build_seconds);
	if (naive_open(&twin))
		need(NULL);
	for (size_t i = 0; i < list->n; i++)
		if (naive_set(&twin, &list->route[i]))
			need(NULL);
	for (enum traffic t = 0; t < TRAFFICS; t++) {
		addresses_fill(b, &a, family, list, t);
		verify(subject, &subjects, &a, family, &twin);
		measure(b, subject, subjects, &a, family, t, true);
		measure(b, subject, subjects, &a, family, t, false);
	}
	for (unsigned s = 0; s < subjects; s++) {
		json_array_append_new(
			b->sizes, json_pack("{s:s, s:i, s:I, s:I}", "table", subject[s].name, "af",
					  (int)family, "routes", (json_int_t)list->n,
					  "bytes_median", (json_int_t)subject[s].bytes));
		subject[s].free(&subject[s]);
	}
	naive_close(&twin);
	addresses_close(&a);
}

/* Sizes and rates for other numbers of next hops; 0: drawn at random for each prefix. */
static void bench_sweep(struct bench *b, unsigned family, const struct route_list *list)
{
	static const unsigned counts[] = {4, 16, 64, 250, 0};
	struct fib_route *routes = need(malloc(list->n * sizeof *routes));
	struct addresses a;

	addresses_open(&a);
	addresses_fill(b, &a, family, list, COVERED);
	for (unsigned c = 0; c < sizeof counts / sizeof counts[0]; c++) {
		double rate[ROUNDS], median;
		struct subject s;

		for (size_t i = 0; i < list->n; i++) {
			routes[i] = list->route[i];
			routes[i].next_hop =
				counts[c] ? route_file_next_hop(list->asn[i], counts[c])
					  : (uint16_t)(1 + check_random(&b->random) % 64);
		}
		s = ours("p2pnic", family, P2PNIC_FIB_LINE_TRIE, routes, list->n);
		for (unsigned r = 0; r < ROUNDS; r++) {
			double start = thread_seconds();

			s.run(&s, &a, true);
			rate[r] = (double)a.n / (thread_seconds() - start) / 1e6;
		}
		median = percentile(rate, ROUNDS, 0.5);
		printf("  IPv%u next hops %-6s %9llu bytes, covered, bulk %6.1f M lookups/s\n",
			family,
			counts[c] ? (char[8]){(char)('0' + counts[c] / 100),
					    (char)('0' + counts[c] / 10 % 10),
					    (char)('0' + counts[c] % 10)}
				  : "random",
			(unsigned long long)s.bytes, median);
		json_array_append_new(b->sweep,
			json_pack("{s:i, s:o, s:I, s:f, s:f}", "af", (int)family, "next_hops",
				counts[c] ? json_integer(counts[c]) : json_string("random"),
				"image_bytes", (json_int_t)s.bytes, "build_seconds",
				s.build_seconds, "mlps_covered", median));
		s.free(&s);
	}
	free(routes);
	addresses_close(&a);
}

/* --- Changes ---------------------------------------------------------------------------------- */

/*
 * Random changes to random routes: half take the route away or put it back; a quarter give it a
 * random next hop, a quarter its own again. Each is compiled and written to a copy of the image,
 * timed together, then its epoch passes.
 */
static void bench_changes(
	struct bench *b, unsigned family, const struct route_list *list, json_t *to)
{
	const size_t changes = b->quick ? 1000000 : 10000000, timed = 1000000;
	double *spent = need(malloc(timed * sizeof *spent)),
	       *bytes = need(malloc(timed * sizeof *bytes));
	struct fib_route *now = need(malloc(list->n * sizeof *now));
	uint64_t image_bytes, fresh_bytes, all_bytes = 0;
	struct error error;
	const char *pages;
	struct fib *fib, *fresh;
	double build, ratio, median, p99;
	size_t left = 0;
	void *device = device_memory(IMAGE_ROOM, &pages);

	memcpy(now, list->route, list->n * sizeof *now);
	fib = compile(family, P2PNIC_FIB_LINE_TRIE, now, list->n, &build);
	fib_image_write(fib, device);
	for (size_t i = 0; i < changes; i++) {
		size_t which = check_random(&b->random) % list->n;
		unsigned kind = check_random(&b->random) % 4;
		const struct fib_patch *patch;
		double start;

		if (kind < 2)
			now[which].next_hop = now[which].next_hop ? 0 : list->route[which].next_hop;
		else if (kind == 2)
			now[which].next_hop = (uint16_t)(1 + check_random(&b->random) % 64);
		else
			now[which].next_hop = list->route[which].next_hop;
		start = wall_seconds();
		if (fib_change(fib, &now[which], 1, &patch, &error)) {
			fprintf(stderr, "%s\n", error.text);
			exit(1);
		}
		fib_patch_apply(patch, device);
		if (i < timed) {
			spent[i] = wall_seconds() - start;
			bytes[i] = (double)patch->bytes;
		}
		all_bytes += patch->bytes;
		fib_epoch_passed(fib, patch->epoch);
	}
	fib_image(fib, &image_bytes);
	for (size_t i = 0; i < list->n; i++)
		if (now[i].next_hop)
			now[left++] = now[i];
	fresh = compile(family, P2PNIC_FIB_LINE_TRIE, now, left, &build);
	fib_image(fresh, &fresh_bytes);
	ratio = (double)image_bytes / (double)fresh_bytes;
	if (memcmp((uint8_t *)device + 64, (const uint8_t *)fib_image(fib, NULL) + 64,
		    image_bytes - 64) != 0) {
		fprintf(stderr, "bench-fib: the patched copy differs from the image\n");
		exit(1);
	}
	median = percentile(spent, timed, 0.5) * 1e6;
	p99 = percentile(spent, timed, 0.99) * 1e6;
	printf("  IPv%u one change: median %.2f µs, p99 %.2f µs, p99.99 %.1f µs, median %.0f "
	       "bytes; "
	       "after %zu changes %llu bytes, fresh %llu: %.4f\n",
		family, median, p99, percentile(spent, timed, 0.9999) * 1e6,
		percentile(bytes, timed, 0.5), changes, (unsigned long long)image_bytes,
		(unsigned long long)fresh_bytes, ratio);
	json_object_set_new(to, "patch_us_median", json_real(median));
	json_object_set_new(to, "patch_us_p99", json_real(p99));
	json_object_set_new(to, "patch_bytes_median", json_real(percentile(bytes, timed, 0.5)));
	json_object_set_new(to, "patch_bytes_mean", json_real((double)all_bytes / (double)changes));
	json_object_set_new(to, "changes", json_integer((json_int_t)changes));
	json_object_set_new(to, "image_bytes_after_changes", json_integer((json_int_t)image_bytes));
	json_object_set_new(to, "image_bytes_fresh", json_integer((json_int_t)fresh_bytes));
	json_object_set_new(to, "churn_ratio", json_real(ratio));
	fib_free(fib);
	fib_free(fresh);
	munmap(device, IMAGE_ROOM);
	free(spent);
	free(bytes);
	free(now);
}

static double best_build(unsigned family, const struct route_list *list, uint64_t *bytes)
{
	double spent, build[5];

	for (unsigned i = 0; i < 5; i++) {
		struct fib *fib =
			compile(family, P2PNIC_FIB_LINE_TRIE, list->route, list->n, &spent);

		build[i] = spent;
		fib_image(fib, bytes);
		fib_free(fib);
	}
	return percentile(build, 5, 0.5);
}

/* --- Sizes ------------------------------------------------------------------------------------ */

static void bench_sizes(struct bench *b, unsigned family, const struct route_list *list)
{
	static const struct {
		const char *name;
		unsigned kind;
	} kinds[] = {{"p2pnic", P2PNIC_FIB_LINE_TRIE}, {"state-jump", P2PNIC_FIB_STATE_JUMP}};
	static const size_t points[] = {10000, 20000, 40000, 60000, 80000, 100000, 150000, 200000,
		300000, 400000, 600000, 800000, 1000000};
	struct fib_route *sample = need(malloc(list->n * sizeof *sample));

	for (unsigned p = 0; p < sizeof points / sizeof points[0] && points[p] < list->n; p++) {
		double bytes[2][SAMPLES];

		for (unsigned i = 0; i < SAMPLES; i++) {
			size_t left = points[p], n = 0;

			/* Each route with the probability that `left` of the rest are needed. */
			for (size_t r = 0; r < list->n && left; r++)
				if (check_random(&b->random) % (list->n - r) < left) {
					sample[n++] = list->route[r];
					left--;
				}
			for (unsigned k = 0; k < 2; k++) {
				uint64_t image_bytes;
				double spent;
				struct fib *fib = compile(family, kinds[k].kind, sample, n, &spent);

				fib_image(fib, &image_bytes);
				bytes[k][i] = (double)image_bytes;
				fib_free(fib);
			}
		}
		for (unsigned k = 0; k < 2; k++)
			json_array_append_new(
				b->sizes, json_pack("{s:s, s:i, s:I, s:I}", "table", kinds[k].name,
						  "af", (int)family, "routes",
						  (json_int_t)points[p], "bytes_median",
						  (json_int_t)percentile(bytes[k], SAMPLES, 0.5)));
	}
	free(sample);
}

/* ---------------------------------------------------------------------------------------------- */

static const char *machine(void)
{
	static char line[256];
	FILE *f = fopen("/proc/cpuinfo", "r");

	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
			fclose(f);
			line[strcspn(line, "\n")] = 0;
			return strchr(line, ':') + 2;
		}
	if (f)
		fclose(f);
	return "unknown";
}

static const char *load_routes(struct bench *b, const char *folder)
{
	static const char *const files[] = {"ipv4-2026-03.txt.xz", "ipv6-2026-03.txt.xz"};
	char path[4096];
	struct error error;

	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, files[i]);
		if (access(path, R_OK))
			goto synthetic;
		if (route_file_read(path, 64, &b->table, &error)) {
			fprintf(stderr, "bench-fib: %s\n", error.text);
			goto synthetic;
		}
	}
	return "real tables of 2026-03";
synthetic:
	route_table_free(&b->table);
	if (synthetic_table(&b->table, 64, 1))
		need(NULL);
	return "synthetic table of the same shape";
}

int main(int argc, char **argv)
{
	struct bench b = {.random = 1};
	const char *folder = "", *out = NULL, *source, *pages, *why;
	unsigned only = 0;
	int c;

	while ((c = getopt(argc, argv, "qf:r:o:")) != -1) {
		if (c == 'q') {
			b.quick = true;
		} else if (c == 'f') {
			only = (unsigned)atoi(optarg);
		} else if (c == 'r') {
			folder = optarg;
		} else if (c == 'o') {
			out = optarg;
		} else {
			fprintf(stderr, "usage: bench_fib [-q] [-f 4|6] [-r ROUTES-FOLDER] [-o "
					"RESULT.json]\n");
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	source = load_routes(&b, folder);
	b.peers = peers_start(&why);
	munmap(device_memory(IMAGE_ROOM, &pages), IMAGE_ROOM);
	printf("source: %s; machine: %s; image in %s; DPDK: %s\n", source, machine(), pages, why);
	b.lookups = json_array();
	b.sizes = json_array();
	b.sweep = json_array();
	b.result = json_pack("{s:s, s:s, s:s, s:s, s:i}", "source", source, "machine", machine(),
		"image_memory", pages, "dpdk", why, "burst", (int)SUBJECT_BURST);
	for (unsigned family = 4; family <= 6; family += 2) {
		const struct route_list *list = family == 4 ? &b.table.ipv4 : &b.table.ipv6;
		uint64_t bytes;
		double build;
		json_t *one;

		if (only && family != only)
			continue;
		build = best_build(family, list, &bytes);
		one = json_pack("{s:I, s:i, s:I, s:f}", "routes", (json_int_t)list->n, "next_hops",
			64, "image_bytes", (json_int_t)bytes, "build_seconds", build);

		printf("IPv%u: %zu routes, image %llu bytes, built in %.3f s\n", family, list->n,
			(unsigned long long)bytes, build);
		bench_changes(&b, family, list, one);
		bench_sweep(&b, family, list);
		bench_sizes(&b, family, list);
		bench_lookups(&b, family, list);
		json_object_set_new(b.result, family == 4 ? "ipv4" : "ipv6", one);
	}
	json_object_set_new(b.result, "lookups", b.lookups);
	json_object_set_new(b.result, "sizes", b.sizes);
	json_object_set_new(b.result, "next_hop_sweep", b.sweep);
	if (out && json_dump_file(b.result, out, JSON_INDENT(1))) {
		fprintf(stderr, "bench-fib: cannot write %s: %s\n", out, strerror(errno));
		return 1;
	}
	json_decref(b.result);
	route_table_free(&b.table);
	return 0;
}
