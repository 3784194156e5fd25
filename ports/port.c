/* SPDX-License-Identifier: BSD-3-Clause */
#include "af_packet.h"
#include "af_xdp.h"
#include "common.h"
#include "memif.h"
#include "pcap.h"
#include "tap.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row a type; `p2pnic nic --port TYPE:TARGET` knows no others. */
const struct port_ops *const port_types[] = {
	&af_packet_port_ops,
	&af_xdp_port_ops,
	&memif_port_ops,
	&pcap_port_ops,
	&tap_port_ops,
	NULL,
};

const struct port_ops *port_find(const char *type)
{
	for (const struct port_ops *const *ops = port_types; *ops; ops++)
		if (!strcmp((*ops)->type, type))
			return *ops;
	return NULL;
}

bool port_readable(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	return poll(&wait, 1, 0) > 0 && wait.revents & POLLIN;
}

int port_option_next(const char **cursor, struct port_option *option, struct error *error)
{
	const char *start = *cursor;

	if (!start || !*start)
		return 0;
	size_t length = strcspn(start, ",");
	size_t key = strcspn(start, "=,");
	if (key == 0 || key >= sizeof(option->key))
		return error_set(error, -EINVAL, "option '%.*s' has no name, or one too long",
			(int)(length < 64 ? length : 64), start);
	size_t value = key < length ? length - key - 1 : 0;
	if (value >= sizeof(option->value))
		return error_set(error, -EINVAL, "option %.*s: value longer than %zu bytes",
			(int)key, start, sizeof(option->value) - 1);
	memcpy(option->key, start, key);
	option->key[key] = 0;
	memcpy(option->value, start + length - value, value);
	option->value[value] = 0;
	*cursor = start + length + (start[length] == ',');
	return 1;
}

int port_option_number(const struct port_option *option, unsigned low, unsigned high,
	unsigned *value, struct error *error)
{
	char *end;

	errno = 0;
	unsigned long long number = strtoull(option->value, &end, 10);
	if (option->value[0] < '0' || option->value[0] > '9' || *end || errno || number < low ||
		number > high)
		return error_set(error, -EINVAL, "option %s=%s: want a number from %u to %u",
			option->key, option->value, low, high);
	*value = (unsigned)number;
	return 0;
}

int port_option_switch(const struct port_option *option, bool *value, struct error *error)
{
	static const char *const on[] = {"", "on", "yes", "1"};
	static const char *const off[] = {"off", "no", "0"};

	for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++)
		if (!strcmp(option->value, on[i])) {
			*value = true;
			return 0;
		}
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		if (!strcmp(option->value, off[i])) {
			*value = false;
			return 0;
		}
	return error_set(
		error, -EINVAL, "option %s=%s: want on or off", option->key, option->value);
}

int port_option_unknown(
	const char *type, const struct port_option *option, const char *known, struct error *error)
{
	return error_set(
		error, -EINVAL, "%s has no option '%s'; it knows: %s", type, option->key, known);
}

int port_check_memory(const struct port_config *config, struct error *error)
{
	if (!p2pnic_buffer_bytes_valid(config->buffer_bytes) || !config->memory ||
		(uintptr_t)config->memory % P2PNIC_BUFFER_BYTES_MIN ||
		config->memory_bytes % config->buffer_bytes || config->memory_bytes == 0 ||
		config->memory_bytes > 1ull << 32)
		return error_set(error, -EINVAL,
			"%s: packet memory of %llu bytes at %p is not whole, aligned buffers of "
			"%u bytes",
			config->target, (unsigned long long)config->memory_bytes,
			(void *)config->memory, config->buffer_bytes);
	return 0;
}

int port_check_buffers(
	uint64_t memory_bytes, uint32_t buffer_bytes, const uint32_t *buffers, unsigned n)
{
	if (n == 0)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		if (buffers[i] % buffer_bytes || buffers[i] >= memory_bytes)
			return -EINVAL;
	return 0;
}
