/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/capture.h"

#include "driver/capture_ring.h"
#include "ipc/listen.h"
#include "router/capture_memory.h"
#include "router/router.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RING_BYTES                                                                                 \
	(8u << 20) /* of each NIC, at most; its pages are there when they are written              \
		    */

struct router_capture {
	struct router *r;
	struct loop_watch watch;
	int socket, memory_fd;
	uint8_t *memory;
	uint64_t bytes;
	struct p2pnic_capture want;
	bool trace;
	uint64_t nics; /* a bit for each that is asked for */
	bool all;      /* all were */
	unsigned nics_count;
	char by[80];
};

/* --- What is asked for ------------------------------------------------------------------------ */

static const char *const drop_name[] = {
#define DROP_NAME(symbol, name, meaning) name,
	P2PNIC_DROP_REASONS(DROP_NAME)
#undef DROP_NAME
};

static int read_points(struct router_capture *c, const json_t *points, struct error *error)
{
	static const struct {
		const char *name;
		unsigned point;
	} names[] = {{"rx", P2PNIC_CAPTURE_RX}, {"tx", P2PNIC_CAPTURE_TX},
		{"drop", P2PNIC_CAPTURE_DROP}, {"trace", P2PNIC_CAPTURE_RX | P2PNIC_CAPTURE_MARK}};
	const json_t *point;
	size_t at;

	json_array_foreach(points, at, point)
	{
		const char *name = json_string_value(point);
		unsigned found = 0;

		for (size_t k = 0; name && k < sizeof(names) / sizeof(*names); k++)
			if (!strcmp(name, names[k].name))
				found = names[k].point;
		if (!found)
			return error_set(error, -EINVAL,
				"capture: points: '%s'; want rx, tx, drop or trace",
				name ? name : "");
		c->want.points |= found;
	}
	c->trace = c->want.points & P2PNIC_CAPTURE_MARK;
	return c->want.points ? 0 : error_set(error, -EINVAL, "capture: no points");
}

static int read_nics(struct router_capture *c, const json_t *nics, struct error *error)
{
	const json_t *nic;
	size_t at;

	c->all = !nics;
	c->nics = c->all ? ~0ull : 0;
	json_array_foreach(nics, at, nic)
	{
		const char *name = json_string_value(nic);
		const int index = name ? config_nic_index(c->r->config, name) : -1;

		if (index < 0)
			return error_set(
				error, -EINVAL, "capture: no NIC '%s' here", name ? name : "");
		c->nics |= 1ull << index;
	}
	return c->nics ? 0 : error_set(error, -EINVAL, "capture: no NICs");
}

static int read_reasons(struct router_capture *c, const json_t *reasons, struct error *error)
{
	const json_t *reason;
	size_t at;

	c->want.reasons = reasons ? 0 : ~0ull;
	json_array_foreach(reasons, at, reason)
	{
		const char *name = json_string_value(reason);
		unsigned k = 0;

		while (k < P2PNIC_DROP_COUNT && (!name || strcmp(name, drop_name[k]) != 0))
			k++;
		if (k == P2PNIC_DROP_COUNT)
			return error_set(
				error, -EINVAL, "capture: no drop reason '%s'", name ? name : "");
		c->want.reasons |= 1ull << k;
	}
	return 0;
}

static int read_filter(struct router_capture *c, const char *text, struct error *error)
{
	const size_t length = text ? strlen(text) : 0;

	if (length % 16 || length / 16 > P2PNIC_CAPTURE_FILTER_MAX)
		return error_set(error, -EINVAL,
			"capture: filter: %zu digits; want %u at most, in "
			"sixteens",
			length, 16 * P2PNIC_CAPTURE_FILTER_MAX);
	for (size_t k = 0; k < length / 16; k++) {
		char digits[17] = "", *end;

		memcpy(digits, text + 16 * k, 16);
		const unsigned long long word = strtoull(digits, &end, 16);

		if (*end || strspn(digits, "0123456789abcdef") != 16)
			return error_set(error, -EINVAL, "capture: filter: '%s'", digits);
		c->want.filter[k] = (struct p2pnic_instruction){(uint16_t)(word >> 48),
			(uint8_t)(word >> 40), (uint8_t)(word >> 32), (uint32_t)word};
	}
	c->want.instructions = (uint32_t)(length / 16);
	return 0;
}

/* A number from low to high; absent: *value stays. */
static int read_number(const json_t *how, const char *key, json_int_t low, json_int_t high,
	json_int_t *value, struct error *error)
{
	const json_t *number = json_object_get(how, key);

	if (!number)
		return 0;
	*value = json_integer_value(number);
	return json_is_integer(number) && *value >= low && *value <= high
		       ? 0
		       : error_set(error, -EINVAL, "capture: %s: want %lld to %lld", key,
				 (long long)low, (long long)high);
}

static int read_wish(struct router_capture *c, const json_t *how, struct error *error)
{
	json_int_t snap = P2PNIC_CAPTURE_SNAP_MAX, limit = 0;
	uint32_t longest = 0;
	int result = read_points(c, json_object_get(how, "points"), error);

	if (!result)
		result = read_nics(c, json_object_get(how, "nics"), error);
	if (!result)
		result = read_reasons(c, json_object_get(how, "reasons"), error);
	if (!result)
		result = read_filter(c, json_string_value(json_object_get(how, "filter")), error);
	if (!result)
		result = read_number(how, "snap", 1, P2PNIC_CAPTURE_SNAP_MAX, &snap, error);
	if (!result)
		result = read_number(how, "limit", 1, INT64_MAX, &limit, error);
	if (result)
		return result;
	/* No slot is longer than the longest frame. */
	for (unsigned k = 0; k < c->r->config->nics_count; k++)
		if (c->r->nic[k].driver.device && c->r->nic[k].driver.buffer_bytes > longest)
			longest = c->r->nic[k].driver.buffer_bytes;
	if (longest && snap > P2PNIC_FRAME_BYTES_MAX(longest))
		snap = P2PNIC_FRAME_BYTES_MAX(longest);
	c->want.snap = (uint32_t)snap;
	c->want.limit = (uint64_t)limit;
	c->want.slots = P2PNIC_CAPTURE_SLOTS_MAX;
	while (capture_ring_bytes(c->want.slots, c->want.snap) > RING_BYTES)
		c->want.slots /= 2;
	return 0;
}

/* --- NICs ------------------------------------------------------------------------------------- */

static uint64_t ring_bytes(const struct router_capture *c)
{
	return capture_ring_bytes(c->want.slots, c->want.snap);
}

static uint64_t ring_offset(const struct router_capture *c, unsigned nic)
{
	return CAPTURE_MEMORY_HEADER + nic * ring_bytes(c);
}

static unsigned points_of(const struct router_capture *c, unsigned nic)
{
	return (c->nics >> nic & 1 ? c->want.points : 0) | (c->trace ? P2PNIC_CAPTURE_FOLLOW : 0);
}

/* At first only what others have marked, until all are ready to follow it. */
static int begin(struct router_capture *c, unsigned k, struct error *error)
{
	struct router_nic *nic = &c->r->nic[k];
	_Atomic uint32_t *life = &((struct capture_memory *)(void *)c->memory)->life[k];
	struct p2pnic_capture want = c->want;

	if (!nic_answers(nic))
		return error_set(
			error, -EAGAIN, "%s does not forward now", c->r->config->nics[k].name);
	want.points = c->trace ? P2PNIC_CAPTURE_FOLLOW : points_of(c, k);
	capture_ring_close(&nic->driver);
	memset(c->memory + ring_offset(c, k), 0, ring_bytes(c));
	atomic_fetch_add_explicit(life, 1, memory_order_release);
	return capture_ring_open(&nic->driver, &want, c->memory + ring_offset(c, k), c->memory_fd,
		ring_offset(c, k), error);
}

static int begin_points(struct router_capture *c, unsigned k, struct error *error)
{
	return c->trace && c->nics >> k & 1
		       ? capture_ring_points(&c->r->nic[k].driver, points_of(c, k), error)
		       : 0;
}

void router_capture_nic(struct router_nic *nic)
{
	struct router_capture *c = nic->router->capture;
	const unsigned k = (unsigned)(nic - nic->router->nic);
	struct error error;

	if (!c || k >= c->nics_count || !points_of(c, k))
		capture_ring_close(&nic->driver);
	else if ((begin(c, k, &error) || begin_points(c, k, &error)) && !c->all)
		router_warn(nic->router, "%s", error.text);
}

/* --- Life ------------------------------------------------------------------------------------- */

static void release(struct router_capture *c)
{
	loop_unwatch(&c->r->loop, &c->watch);
	if (c->memory)
		munmap(c->memory, c->bytes);
	if (c->memory_fd >= 0)
		close(c->memory_fd);
	if (c->socket >= 0)
		close(c->socket);
	free(c);
}

/* One that does not answer now is told when it does. */
void router_capture_close(struct router *r)
{
	struct router_capture *c = r->capture;

	if (!c)
		return;
	r->capture = NULL;
	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (nic_answers(&r->nic[k]))
			capture_ring_close(&r->nic[k].driver);
	release(c);
}

static void on_end(void *context, uint32_t events)
{
	struct router_capture *c = context;

	router_capture_close(c->r);
}

/* Sealed: neither NICs nor router can be cut short (device_map_memory). */
static int make_memory(struct router_capture *c, struct error *error)
{
	void *memory = MAP_FAILED;

	c->nics_count = c->r->config->nics_count;
	c->bytes = ring_offset(c, c->nics_count);
	c->memory_fd = memfd_create("p2pnic-capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (c->memory_fd >= 0 && ftruncate(c->memory_fd, (off_t)c->bytes) == 0 &&
		fcntl(c->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		memory = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->memory_fd, 0);
	if (memory == MAP_FAILED)
		return error_set(error, -errno, "capture: memory: %s", strerror(errno));
	c->memory = memory;
	return 0;
}

static void name_client(struct router_capture *c, const json_t *how, int client)
{
	const char *by = json_string_value(json_object_get(how, "by"));
	struct ucred peer = {0};

	unix_peer(client, &peer);
	snprintf(c->by, sizeof(c->by), "%.40s, process %d of user %u", by ? by : "a client",
		(int)peer.pid, (unsigned)peer.uid);
}

/* Begins on every NIC that is asked for; those named must all. */
static int begin_all(struct router_capture *c, json_t *rows, struct error *error)
{
	uint64_t begun = 0;
	int result = 0;

	for (unsigned k = 0; k < c->nics_count; k++) {
		const char *name = c->r->config->nics[k].name;
		json_t *row = json_pack("{s:i,s:s}", "index", (int)k, "name", name);

		json_array_append_new(rows, row);
		if (!points_of(c, k))
			continue;
		result = begin(c, k, error);
		if (result && !c->all && c->nics >> k & 1)
			return result;
		if (result) {
			json_object_set_new(row, "why", json_string(error->text));
			continue;
		}
		begun |= 1ull << k;
		json_object_update_new(
			row, json_pack("{s:I,s:i,s:i}", "offset", (json_int_t)ring_offset(c, k),
				     "slots", (int)c->want.slots, "snap", (int)c->want.snap));
	}
	for (unsigned k = 0; begun && k < c->nics_count; k++)
		if (begun >> k & 1) {
			result = begin_points(c, k, error);
			if (result)
				return result;
		}
	return begun ? 0 : result;
}

json_t *router_capture_asked(
	struct router *r, const json_t *how, int client, int fds[CAPTURE_FDS], unsigned *count)
{
	struct router_capture *c = calloc(1, sizeof(*c));
	struct error error = {""};
	json_t *rows = json_array();
	int pair[2] = {-1, -1}, result = c ? 0 : -ENOMEM;

	*count = 0;
	if (result)
		error_set(&error, result, "capture: %s", strerror(ENOMEM));
	else
		*c = (struct router_capture){.r = r, .socket = -1, .memory_fd = -1};
	if (!result && r->capture)
		result = error_set(&error, -EBUSY, "NICs capture already, for %s; one at a time",
			r->capture->by);
	if (!result)
		result = read_wish(c, how, &error);
	if (!result)
		result = make_memory(c, &error);
	if (!result && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		result = error_set(&error, -errno, "capture: %s", strerror(errno));
	if (!result) {
		name_client(c, how, client);
		c->socket = pair[0];
		fds[0] = fcntl(c->memory_fd, F_DUPFD_CLOEXEC, 0);
		fds[1] = pair[1];
		result = fds[0] < 0
				 ? -errno
				 : loop_watch(&r->loop, &c->watch, c->socket, EPOLLIN, on_end, c);
		if (result)
			error_set(&error, result, "capture: %s", strerror(-result));
	}
	if (!result) {
		r->capture = c;
		result = begin_all(c, rows, &error);
		if (!result) {
			*count = CAPTURE_FDS;
			return json_pack("{s:{s:I,s:o}}", "capture", "bytes", (json_int_t)c->bytes,
				"nics", rows);
		}
		router_capture_close(r);
		c = NULL;
	}
	if (pair[1] >= 0) {
		close(pair[1]);
		if (fds[0] >= 0)
			close(fds[0]);
	}
	if (c)
		release(c);
	json_decref(rows);
	return json_pack("{s:s}", "error", error.text);
}
