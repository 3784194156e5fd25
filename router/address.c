/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/address.h"

#include "fib/text_file.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t load_be64(const uint8_t *p)
{
	uint64_t v = 0;

	for (unsigned k = 0; k < 8; k++)
		v = v << 8 | p[k];
	return v;
}

static void store_be64(uint8_t *p, uint64_t v)
{
	for (unsigned k = 0; k < 8; k++)
		p[k] = (uint8_t)(v >> (56 - 8 * k));
}

bool address_parse(const char *text, struct address *a)
{
	uint8_t octets[16] = {0};

	if (inet_pton(AF_INET, text, octets) == 1) {
		*a = (struct address){{load_be64(octets), 0}, 4};
		return true;
	}
	if (inet_pton(AF_INET6, text, octets) == 1) {
		*a = (struct address){{load_be64(octets), load_be64(octets + 8)}, 6};
		return true;
	}
	return false;
}

bool prefix_parse(const char *text, bool host_bits, struct prefix *p)
{
	const char *slash = strchr(text, '/');
	char address[ADDRESS_TEXT_BYTES];
	struct prefix parsed;
	uint64_t length;

	if (!slash || slash - text >= (long)sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = 0;
	if (!address_parse(address, &parsed.address) ||
		!text_number(slash + 1, address_bits(&parsed.address), &length))
		return false;
	parsed.length = (uint8_t)length;
	if (!host_bits) {
		struct prefix network = prefix_of(&parsed.address, parsed.length);

		if (!address_equal(&network.address, &parsed.address))
			return false;
	}
	*p = parsed;
	return true;
}

/* Six groups of one or two hexadecimal digits; scanf would take signs, spaces and "0x" as well. */
bool mac_parse(const char *text, struct mac_addr *mac)
{
	struct mac_addr parsed;

	for (unsigned k = 0; k < 6; k++) {
		size_t digits = strspn(text, "0123456789abcdefABCDEF");

		if (digits < 1 || digits > 2 || text[digits] != (k < 5 ? ':' : 0))
			return false;
		parsed.octet[k] = (uint8_t)strtoul(text, NULL, 16);
		text += digits + 1;
	}
	*mac = parsed;
	return true;
}

const char *address_text(const struct address *a, char text[ADDRESS_TEXT_BYTES])
{
	uint8_t octets[16];

	store_be64(octets, a->bits.high);
	store_be64(octets + 8, a->bits.low);
	if (!inet_ntop(a->family == 4 ? AF_INET : AF_INET6, octets, text, ADDRESS_TEXT_BYTES))
		text[0] = 0;
	return text;
}

const char *prefix_text(const struct prefix *p, char text[ADDRESS_TEXT_BYTES])
{
	size_t n;

	address_text(&p->address, text);
	n = strlen(text);
	snprintf(text + n, ADDRESS_TEXT_BYTES - n, "/%u", p->length);
	return text;
}

const char *mac_text(struct mac_addr mac, char text[ADDRESS_TEXT_BYTES])
{
	snprintf(text, ADDRESS_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", mac.octet[0],
		mac.octet[1], mac.octet[2], mac.octet[3], mac.octet[4], mac.octet[5]);
	return text;
}

int address_order(
	uint8_t family, const struct fib_ipv6 *a, uint8_t other_family, const struct fib_ipv6 *b)
{
	if (family != other_family)
		return family < other_family ? -1 : 1;
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low < b->low ? -1 : a->low > b->low;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->family == b->family && a->bits.high == b->bits.high && a->bits.low == b->bits.low;
}

static uint64_t mask64(unsigned bits)
{
	return bits == 0 ? 0 : bits >= 64 ? UINT64_MAX : ~(UINT64_MAX >> bits);
}

struct prefix prefix_of(const struct address *a, unsigned length)
{
	struct prefix p = {*a, (uint8_t)length};

	p.address.bits.high &= mask64(length);
	p.address.bits.low &= mask64(length > 64 ? length - 64 : 0);
	return p;
}

bool prefix_contains(const struct prefix *p, const struct address *a)
{
	struct prefix network = prefix_of(a, p->length);

	return address_equal(&network.address, &p->address);
}
