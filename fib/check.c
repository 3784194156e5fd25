/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"

#include "firmware/fib.h"
#include "firmware/fib_line_trie.h"
#include "firmware/x86.h"

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

typedef void (*lookup4)(const void *, const uint32_t *, uint16_t *, unsigned);
typedef void (*lookup6)(const void *, const struct fib_ipv6 *, uint16_t *, unsigned);

static void compare(const struct fib_ipv6 *address, const uint16_t *wanted, const uint16_t *got,
	unsigned n, const char *version, struct check *check)
{
	check->lookups += n;
	for (unsigned i = 0; i < n; i++) {
		if (wanted[i] == got[i] || check->mismatches++)
			continue;
		check->address = address[i];
		check->version = version;
		check->got = got[i];
		check->wanted = wanted[i];
	}
}

static void burst4(const void *image, const struct fib_ipv6 *address, const uint16_t *wanted,
	unsigned n, struct check *check)
{
	const struct p2pnic_fib_header *header = image;
	uint32_t address4[P2PNIC_BURST_MAX];
	uint16_t got[P2PNIC_BURST_MAX];

	for (unsigned i = 0; i < n; i++)
		address4[i] = (uint32_t)(address[i].high >> 32);
	fib4_lookup(image, address4, got, n);
	compare(address, wanted, got, n, "bulk", check);
	for (unsigned i = 0; i < n; i++)
		fib4_lookup(image, &address4[i], &got[i], 1);
	compare(address, wanted, got, n, "single", check);
	if (header->kind != P2PNIC_FIB_LINE_TRIE)
		return;
	line_trie_lookup4_scalar(image, address4, got, n);
	compare(address, wanted, got, n, "scalar", check);
#ifdef __x86_64__
	if (x86_has_avx2()) {
		line_trie_lookup4_avx2(image, address4, got, n);
		compare(address, wanted, got, n, "avx2", check);
	}
	if (x86_has_avx512()) {
		line_trie_lookup4_avx512(image, address4, got, n);
		compare(address, wanted, got, n, "avx512", check);
		line_trie_few4_avx512(image, address4, got, n);
		compare(address, wanted, got, n, "avx512 few", check);
	}
#endif
}

static void burst6(const void *image, const struct fib_ipv6 *address, const uint16_t *wanted,
	unsigned n, struct check *check)
{
	const struct p2pnic_fib_header *header = image;
	uint16_t got[P2PNIC_BURST_MAX];

	fib6_lookup(image, address, got, n);
	compare(address, wanted, got, n, "bulk", check);
	for (unsigned i = 0; i < n; i++)
		fib6_lookup(image, &address[i], &got[i], 1);
	compare(address, wanted, got, n, "single", check);
	if (header->kind != P2PNIC_FIB_LINE_TRIE)
		return;
	line_trie_lookup6_scalar(image, address, got, n);
	compare(address, wanted, got, n, "scalar", check);
#ifdef __x86_64__
	if (x86_has_avx512()) {
		line_trie_lookup6_avx512(image, address, got, n);
		compare(address, wanted, got, n, "avx512", check);
	}
#endif
}

void check_addresses(const void *image, unsigned family, const struct naive *twin,
	const struct fib_ipv6 *address, size_t n, struct check *check)
{
	uint16_t wanted[P2PNIC_BURST_MAX];

	for (size_t i = 0; i < n;) {
		/* Bursts of every length: their ends are where vector code goes wrong. */
		unsigned burst = 1 + (unsigned)((i * 7 + check->addresses) % P2PNIC_BURST_MAX);

		if (burst > n - i)
			burst = (unsigned)(n - i);
		for (unsigned k = 0; k < burst; k++)
			wanted[k] = naive_lookup(twin, address[i + k]);
		if (family == 4)
			burst4(image, address + i, wanted, burst, check);
		else
			burst6(image, address + i, wanted, burst, check);
		i += burst;
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
