/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/fpm_message.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

/* Linux 5.11. */
#ifndef RTM_F_OFFLOAD_FAILED
#define RTM_F_OFFLOAD_FAILED 0x20000000
#endif

/* --- Reading ---------------------------------------------------------------------------------- */

static bool take_prefix(struct prefix *prefix, const struct nlattr *a, unsigned bytes)
{
	uint64_t word[2] = {0};

	if (mnl_attr_get_payload_len(a) != bytes)
		return false;
	memcpy(word, mnl_attr_get_payload(a), bytes);
	prefix->address.bits = (struct fib_ipv6){be64toh(word[0]), be64toh(word[1])};
	return true;
}

static bool take_u32(uint32_t *to, const struct nlattr *a)
{
	if (mnl_attr_get_payload_len(a) != sizeof(*to))
		return false;
	memcpy(to, mnl_attr_get_payload(a), sizeof(*to));
	return true;
}

/* false: no route that counts here. */
static bool parse(const struct nlmsghdr *header, struct fpm_route *route)
{
	const struct rtmsg *fixed = mnl_nlmsg_get_payload(header);
	const struct nlattr *a;
	unsigned bytes;
	bool good = true;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*fixed) ||
		(fixed->rtm_family != AF_INET && fixed->rtm_family != AF_INET6) ||
		fixed->rtm_src_len || fixed->rtm_tos)
		return false;
	bytes = fixed->rtm_family == AF_INET ? 4 : 16;
	if (fixed->rtm_dst_len > 8 * bytes)
		return false;
	*route = (struct fpm_route){.prefix.length = fixed->rtm_dst_len,
		.prefix.address.family = bytes == 4 ? 4 : 6,
		.table = fixed->rtm_table,
		.protocol = fixed->rtm_protocol,
		.type = fixed->rtm_type};
	mnl_attr_for_each(a, header, sizeof(*fixed))
	{
		if (mnl_attr_get_type(a) == RTA_DST)
			good = good && take_prefix(&route->prefix, a, bytes);
		else if (mnl_attr_get_type(a) == RTA_TABLE)
			good = good && take_u32(&route->table, a);
		else if (mnl_attr_get_type(a) == RTA_PRIORITY)
			good = good && take_u32(&route->metric, a);
	}
	route->prefix = prefix_of(&route->prefix.address, route->prefix.length);
	return good;
}

static void take_frame(struct fpm_input *in, size_t bytes, fpm_said *said, void *context)
{
	size_t left = bytes - FPM_HEADER_BYTES;
	struct fpm_route route;

	memcpy(in->message, in->byte + FPM_HEADER_BYTES, left);
	for (const uint8_t *at = in->message; left >= NLMSG_HDRLEN;) {
		const struct nlmsghdr *header = (const void *)at;
		const size_t length = header->nlmsg_len;
		const size_t step = length + (-length & (NLMSG_ALIGNTO - 1));

		/* mnl_nlmsg_ok takes a length beyond 2^31 for a negative one. */
		if (length < NLMSG_HDRLEN || length > left)
			return;
		if ((header->nlmsg_type == RTM_NEWROUTE || header->nlmsg_type == RTM_DELROUTE) &&
			parse(header, &route))
			said(context, &route, header->nlmsg_type == RTM_DELROUTE);
		at += step;
		left -= step < left ? step : left;
	}
}

static size_t fill(struct fpm_input *in, size_t wanted, const uint8_t **bytes, size_t *n)
{
	const size_t more = in->n >= wanted ? 0 : wanted - in->n < *n ? wanted - in->n : *n;

	memcpy(in->byte + in->n, *bytes, more);
	in->n += more;
	*bytes += more;
	*n -= more;
	return in->n;
}

int fpm_take(struct fpm_input *in, const uint8_t *bytes, size_t n, fpm_said *said, void *context)
{
	while (n) {
		size_t length;

		if (fill(in, FPM_HEADER_BYTES, &bytes, &n) < FPM_HEADER_BYTES)
			return 0;
		length = (size_t)in->byte[2] << 8 | in->byte[3];
		if (in->byte[0] != 1 || in->byte[1] != 1 || length < FPM_HEADER_BYTES)
			return -EPROTO;
		if (fill(in, length, &bytes, &n) < length)
			return 0;
		take_frame(in, length, said, context);
		in->n = 0;
	}
	return 0;
}

/* --- Writing ---------------------------------------------------------------------------------- */

size_t fpm_answer(uint8_t to[FPM_ANSWER_BYTES], const struct fpm_route *r, bool offloaded)
{
	_Alignas(NLMSG_ALIGNTO) char message[FPM_ANSWER_BYTES - FPM_HEADER_BYTES];
	struct nlmsghdr *header = mnl_nlmsg_put_header(message);
	struct rtmsg *fixed = mnl_nlmsg_put_extra_header(header, sizeof(*fixed));
	const struct address *a = &r->prefix.address;
	const uint64_t word[2] = {htobe64(a->bits.high), htobe64(a->bits.low)};
	size_t bytes;

	header->nlmsg_type = RTM_NEWROUTE;
	header->nlmsg_flags = NLM_F_REQUEST; /* FRR passes over what is none */
	*fixed = (struct rtmsg){.rtm_family = a->family == 4 ? AF_INET : AF_INET6,
		.rtm_dst_len = r->prefix.length,
		.rtm_table = r->table < 256 ? (unsigned char)r->table : RT_TABLE_COMPAT,
		.rtm_protocol = r->protocol,
		.rtm_type = r->type,
		.rtm_flags = offloaded ? RTM_F_OFFLOAD : RTM_F_OFFLOAD_FAILED};
	mnl_attr_put(header, RTA_DST, a->family == 4 ? 4 : 16, word);
	mnl_attr_put_u32(header, RTA_TABLE, r->table);
	mnl_attr_put_u32(header, RTA_PRIORITY, r->metric);
	bytes = FPM_HEADER_BYTES + header->nlmsg_len;
	to[0] = to[1] = 1;
	to[2] = (uint8_t)(bytes >> 8);
	to[3] = (uint8_t)bytes;
	memcpy(to + FPM_HEADER_BYTES, message, header->nlmsg_len);
	return bytes;
}
