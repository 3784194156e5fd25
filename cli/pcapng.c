/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/pcapng.h"

#include <endian.h>
#include <string.h>

#define SECTION    0x0a0d0d0au
#define INTERFACE  1u
#define STATISTICS 5u
#define PACKET     6u

#define END       0u
#define COMMENT   1u
#define USER_APPL 4u /* of a section */
#define IF_NAME   2u
#define TSRESOL   9u
#define FILTER    11u
#define FLAGS     2u
#define IFRECV    4u
#define IFDROP    5u

#define OPTION_BYTES_MAX 1024u
#define ETHERNET         1u /* LINKTYPE_ETHERNET */
#define NANOSECONDS      9u /* 10^-9 s */

static void put16(FILE *f, uint32_t value)
{
	const uint16_t little = htole16((uint16_t)value);

	fwrite(&little, sizeof(little), 1, f);
}

static void put32(FILE *f, uint32_t value)
{
	const uint32_t little = htole32(value);

	fwrite(&little, sizeof(little), 1, f);
}

static uint32_t padded(uint32_t bytes)
{
	return (bytes + 3) & ~3u;
}

static void put_padded(FILE *f, const void *data, uint32_t bytes)
{
	const uint8_t zeros[4] = {0};

	fwrite(data, bytes, 1, f);
	fwrite(zeros, padded(bytes) - bytes, 1, f);
}

/* Of a text, at most OPTION_BYTES_MAX; none for "". */
static uint32_t text_length(const char *text)
{
	return text ? (uint32_t)strnlen(text, OPTION_BYTES_MAX) : 0;
}

static uint32_t text_bytes(const char *text)
{
	return text_length(text) ? 4 + padded(text_length(text)) : 0;
}

static void option(FILE *f, uint32_t code, const void *data, uint32_t bytes)
{
	put16(f, code);
	put16(f, bytes);
	put_padded(f, data, bytes);
}

static void text_option(FILE *f, uint32_t code, const char *text)
{
	if (text_length(text))
		option(f, code, text, text_length(text));
}

static void begin(FILE *f, uint32_t type, uint32_t bytes)
{
	put32(f, type);
	put32(f, bytes);
}

void pcapng_section(FILE *f, const char *application)
{
	const uint32_t bytes = 28 + text_bytes(application) + 4;

	begin(f, SECTION, bytes);
	put32(f, 0x1a2b3c4d);
	put16(f, 1);
	put16(f, 0);
	put32(f, UINT32_MAX); /* its length is not known */
	put32(f, UINT32_MAX);
	text_option(f, USER_APPL, application);
	put32(f, END);
	put32(f, bytes);
}

/* A filter's first byte says of which kind it is; 0: text, as libpcap compiles it. */
void pcapng_interface(FILE *f, const char *name, const char *filter, uint32_t snap)
{
	const uint32_t length = text_length(filter) ? 1 + text_length(filter) : 0;
	const uint32_t bytes = 20 + text_bytes(name) + 8 + (length ? 4 + padded(length) : 0) + 4;
	const uint8_t resolution = NANOSECONDS;
	char kind_and_text[1 + OPTION_BYTES_MAX] = {0};

	begin(f, INTERFACE, bytes);
	put16(f, ETHERNET);
	put16(f, 0);
	put32(f, snap);
	text_option(f, IF_NAME, name);
	option(f, TSRESOL, &resolution, 1);
	if (length) {
		memcpy(kind_and_text + 1, filter, length - 1);
		option(f, FILTER, kind_and_text, length);
	}
	put32(f, END);
	put32(f, bytes);
}

void pcapng_packet(FILE *f, uint32_t interface, uint64_t time_ns, const uint8_t *frame,
	uint32_t captured, uint32_t length, uint32_t direction, const char *comment)
{
	const uint32_t bytes = 32 + padded(captured) + 8 + text_bytes(comment) + 4;
	const uint32_t flags = htole32(direction);

	begin(f, PACKET, bytes);
	put32(f, interface);
	put32(f, (uint32_t)(time_ns >> 32));
	put32(f, (uint32_t)time_ns);
	put32(f, captured);
	put32(f, length);
	put_padded(f, frame, captured);
	option(f, FLAGS, &flags, sizeof(flags));
	text_option(f, COMMENT, comment);
	put32(f, END);
	put32(f, bytes);
}

static void number_option(FILE *f, uint32_t code, uint64_t value)
{
	const uint64_t little = htole64(value);

	option(f, code, &little, sizeof(little));
}

void pcapng_statistics(
	FILE *f, uint32_t interface, uint64_t time_ns, uint64_t received, uint64_t lost)
{
	const uint32_t bytes = 24 + 2 * 12 + 4;

	begin(f, STATISTICS, bytes);
	put32(f, interface);
	put32(f, (uint32_t)(time_ns >> 32));
	put32(f, (uint32_t)time_ns);
	number_option(f, IFRECV, received);
	number_option(f, IFDROP, lost);
	put32(f, END);
	put32(f, bytes);
}
