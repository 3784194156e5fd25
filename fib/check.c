/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"

#include "firmware/fib_line_trie.h"
#include "firmware/fib_lookup.h"
#include "firmware/x86.h"

#include <string.h>

struct fib_ipv6 check_inside(const struct fib_route *route, uint64_t *random)
{
	struct fib_ipv6 a = route->prefix;
	unsigned length = route->length;
	uint64_t high = check_random(random), low = check_random(random);

	a.high |= length >= 64 ? 0 : high >> length;
	a.low |= length >= 128 ? 0 : length > 64 ? low >> (length - 64) : low;
	if (route->family == 4)
		a = (struct fib_ipv6){a.high & 0xffffffff00000000u, 0};
	return a;
}

/* Addresses of one family: IPv4 lookups take a copy of the high 32 bits. */
struct burst {
	const struct fib_ipv6 *ipv6;
	uint32_t ipv4[P2PNIC_BURST_MAX];
	const uint16_t *wanted;
	unsigned n;
};

static bool always(void)
{
	return true;
}

static void single4(const void *image, const uint32_t *address, uint16_t *next_hop, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fib4_lookup(image, &address[i], &next_hop[i], 1);
}

static void single6(
	const void *image, const struct fib_ipv6 *address, uint16_t *next_hop, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fib6_lookup(image, &address[i], &next_hop[i], 1);
}

/* Every way to look up; NULL: there is none for that family. */
static const struct version {
	const char *name;
	unsigned kind, image_version; /* 0: any */
	bool (*runs_here)(void);
	void (*lookup4)(const void *, const uint32_t *, uint16_t *, unsigned);
	void (*lookup6)(const void *, const struct fib_ipv6 *, uint16_t *, unsigned);
} versions[] = {
	{"bulk", 0, 0, always, fib4_lookup, fib6_lookup},
	{"single", 0, 0, always, single4, single6},
	{"scalar", P2PNIC_FIB_LINE_TRIE, 0, always, line_trie_lookup4_scalar,
		line_trie_lookup6_scalar},
#ifdef __x86_64__
	{"avx2", P2PNIC_FIB_LINE_TRIE, 0, x86_has_avx2, line_trie_lookup4_avx2, NULL},
	{"avx2", P2PNIC_FIB_LINE_TRIE, P2PNIC_FIB_VERSION_WIDE, x86_has_avx2, NULL,
		line_trie_lookup6_avx2},
	{"avx2 few", P2PNIC_FIB_LINE_TRIE, P2PNIC_FIB_VERSION_WIDE, x86_has_avx2, NULL,
		line_trie_few6_avx2},
	{"avx512", P2PNIC_FIB_LINE_TRIE, 0, x86_has_avx512, line_trie_lookup4_avx512, NULL},
	{"avx512 few", P2PNIC_FIB_LINE_TRIE, 0, x86_has_avx512, line_trie_few4_avx512, NULL},
#endif
};

static void compare(
	const struct burst *burst, const uint16_t *got, const char *version, struct check *check)
{
	check->lookups += burst->n;
	for (unsigned i = 0; i < burst->n; i++) {
		if (burst->wanted[i] == got[i] || check->mismatches++)
			continue;
		check->address = burst->ipv6[i];
		check->version = version;
		check->got = got[i];
		check->wanted = burst->wanted[i];
	}
}

static void check_burst(
	const void *image, unsigned family, struct burst *burst, struct check *check)
{
	const struct p2pnic_fib_header *header = image;
	uint16_t got[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < burst->n; i++)
		burst->ipv4[i] = (uint32_t)(burst->ipv6[i].high >> 32);
	for (unsigned v = 0; v < sizeof(versions) / sizeof(*versions); v++) {
		const struct version *version = &versions[v];

		if (!(family == 4 ? !!version->lookup4 : !!version->lookup6) ||
			(version->kind && version->kind != header->kind) ||
			(version->image_version && version->image_version != header->version) ||
			!version->runs_here())
			continue;
		memset(got, 0xff, sizeof(got)); /* the last version's would pass */
		if (family == 4)
			version->lookup4(image, burst->ipv4, got, burst->n);
		else
			version->lookup6(image, burst->ipv6, got, burst->n);
		compare(burst, got, version->name, check);
	}
}

void check_addresses(const void *image, unsigned family, const struct naive *twin,
	const struct fib_ipv6 *address, size_t n, struct check *check)
{
	uint16_t wanted[P2PNIC_BURST_MAX];
	struct burst burst = {.wanted = wanted};

	for (size_t i = 0; i < n; i += burst.n) {
		/* Bursts of every length: their ends are where vector code goes wrong. */
		burst.n = 1 + (unsigned)((i * 7 + check->addresses) % P2PNIC_BURST_MAX);
		if (burst.n > n - i)
			burst.n = (unsigned)(n - i);
		burst.ipv6 = address + i;
		for (unsigned k = 0; k < burst.n; k++)
			wanted[k] = naive_lookup(twin, burst.ipv6[k]);
		check_burst(image, family, &burst, check);
	}
	check->addresses += n;
}

static struct fib_ipv6 plus(struct fib_ipv6 a, unsigned family, int one)
{
	if (family == 4)
		return (struct fib_ipv6){a.high + ((uint64_t)(int64_t)one << 32), 0};
	a.low += (uint64_t)(int64_t)one;
	if (one > 0 && !a.low)
		a.high++;
	if (one < 0 && a.low == ~0ull)
		a.high--;
	return a;
}

void check_boundaries(const void *image, unsigned family, const struct naive *twin,
	const struct fib_route *routes, size_t n, struct check *check)
{
	for (size_t i = 0; i < n; i++) {
		unsigned length = routes[i].length;
		struct fib_ipv6 first = routes[i].prefix, last = first;

		last.high |= length >= 64 ? 0 : ~0ull >> length;
		last.low |= length >= 128 ? 0 : length > 64 ? ~0ull >> (length - 64) : ~0ull;
		if (family == 4)
			last = (struct fib_ipv6){last.high & 0xffffffff00000000u, 0};
		check_addresses(image, family, twin,
			(struct fib_ipv6[]){first, last, plus(first, family, -1),
				plus(last, family, 1), plus(first, family, 1),
				plus(last, family, -1)},
			6, check);
	}
}

void check_random_addresses(const void *image, unsigned family, const struct naive *twin,
	const struct fib_route *routes, size_t n, uint64_t addresses, uint64_t seed,
	struct check *check)
{
	struct fib_ipv6 address[256];

	while (addresses) {
		size_t count = addresses < 256 ? (size_t)addresses : 256;

		for (size_t i = 0; i < count; i++) {
			address[i].high = check_random(&seed);
			address[i].low = check_random(&seed);
			if (family == 4)
				address[i] =
					(struct fib_ipv6){address[i].high & 0xffffffff00000000u, 0};
			if (i % 2 && n)
				address[i] = check_inside(&routes[check_random(&seed) % n], &seed);
		}
		check_addresses(image, family, twin, address, count, check);
		addresses -= count;
	}
}
