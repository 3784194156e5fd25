/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/capture_client.h"

#include "router/api_client.h"
#include "router/capture_memory.h"

#include <errno.h>
#include <p2pnic/counters.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *const drop_name[] = {
#define NAME(symbol, name, meaning) name,
	P2PNIC_DROP_REASONS(NAME)
#undef NAME
};
const char *const drop_meaning[] = {
#define MEANING(symbol, name, meaning) meaning,
	P2PNIC_DROP_REASONS(MEANING)
#undef MEANING
};
const char *const drop_section[P2PNIC_DROP_COUNT] = {
#define SECTION(symbol, section) [P2PNIC_DROP_##symbol] = (section),
	P2PNIC_DROP_SECTIONS(SECTION)
#undef SECTION
};

/* --- Life ------------------------------------------------------------------------------------- */

static bool read_nic(struct capture_client *c, const json_t *row)
{
	const json_int_t index = json_integer_value(json_object_get(row, "index"));
	const json_int_t slots = json_integer_value(json_object_get(row, "slots"));
	const json_int_t snap = json_integer_value(json_object_get(row, "snap"));
	const json_int_t offset = json_integer_value(json_object_get(row, "offset"));
	const char *name = json_string_value(json_object_get(row, "name"));
	struct capture_nic *n;

	if (index < 0 || index >= (json_int_t)c->nics || !name || !c->nic)
		return false;
	n = &c->nic[index];
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->captures = json_object_get(row, "slots") != NULL;
	if (!n->captures)
		return true;
	if (slots < P2PNIC_CAPTURE_SLOTS_MIN || slots > P2PNIC_CAPTURE_SLOTS_MAX ||
		slots & (slots - 1) || snap < 1 || snap > P2PNIC_CAPTURE_SNAP_MAX)
		return false;
	n->slots = (uint32_t)slots;
	n->snap = (uint32_t)snap;
	n->slot_bytes = P2PNIC_CAPTURE_SLOT_BYTES(n->snap);
	n->offset = (uint64_t)offset;
	return offset >= 0 && offset % 64 == 0 && n->offset <= c->bytes &&
	       (uint64_t)n->slots * n->slot_bytes <= c->bytes - n->offset;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int map(struct capture_client *c, struct error *error)
{
	struct stat info;

	if (fstat(c->memory_fd, &info) || info.st_size < (off_t)CAPTURE_MEMORY_HEADER)
		return error_set(error, -EPROTO, "the router's memory for captures is none");
	c->bytes = (uint64_t)info.st_size;
	c->memory = mmap(NULL, c->bytes, PROT_READ, MAP_SHARED, c->memory_fd, 0);
	if (c->memory != MAP_FAILED)
		return 0;
	c->memory = NULL;
	return error_set(error, -errno, "memory of the capture: %s", strerror(errno));
}

int capture_client_begin(struct capture_client *c, const struct which_router *router, json_t *how,
	struct error *error)
{
	struct api_fds fds;
	json_t *answer = api_ask_fds(
		router->runtime, router->own, json_pack("{s:o}", "capture", how), &fds, error);
	const json_t *rows = json_object_get(json_object_get(answer, "capture"), "nics"), *row;
	int result = 0;
	size_t k;

	*c = (struct capture_client){.memory_fd = -1, .socket = -1};
	if (!answer)
		return -EIO;
	if (fds.count > 0)
		c->memory_fd = fds.fd[0];
	if (fds.count > 1)
		c->socket = fds.fd[1];
	c->nics = (unsigned)json_array_size(rows);
	c->nic = calloc(c->nics ? c->nics : 1, sizeof(*c->nic));
	if (fds.count < 2 || !c->nics || c->nics > P2PNIC_NICS_MAX || !c->nic)
		result = error_set(error, -EPROTO, "%s/api.sock: the answer there is no router's",
			router->runtime);
	if (!result)
		result = map(c, error);
	json_array_foreach(rows, k, row)
	{
		const char *why = json_string_value(json_object_get(row, "why"));

		if (!result && !read_nic(c, row))
			result = error_set(error, -EPROTO, "the router's answer: NIC %zu", k);
		if (!result && why)
			fprintf(stderr, "p2pnic %s: not captured: %s\n", router->command, why);
	}
	c->realtime_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	json_decref(answer);
	if (result)
		capture_client_end(c);
	return result;
}

void capture_client_end(struct capture_client *c)
{
	if (c->memory)
		munmap(c->memory, c->bytes);
	if (c->memory_fd >= 0)
		close(c->memory_fd);
	if (c->socket >= 0)
		close(c->socket);
	free(c->nic);
	*c = (struct capture_client){.memory_fd = -1, .socket = -1};
}

bool capture_client_wait(const struct capture_client *c, unsigned ms)
{
	struct pollfd fd = {.fd = c->socket, .events = POLLIN};

	return poll(&fd, 1, (int)ms) <= 0;
}

/* --- Records ---------------------------------------------------------------------------------- */

static uint64_t sequence(const struct p2pnic_record *r)
{
	return atomic_load_explicit(&r->sequence, memory_order_acquire);
}

/* The copy is right if the sequence is the same before and after it: the NIC writes 0 there before
 * it writes anything else. */
static bool copy(struct capture_nic *n, const struct p2pnic_record *slot, uint64_t want)
{
	memcpy(&n->record, slot, sizeof(n->record));
	__asm__ volatile("" : "+m"(n->record));
	if (n->record.captured > n->snap)
		n->record.captured = (uint16_t)n->snap;
	memcpy(n->frame, slot + 1, n->record.captured);
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&slot->sequence, memory_order_relaxed) == want;
}

/* The NIC is a whole ring ahead, or more: goes on a quarter of the ring before it comes around
 * again. */
static void skip(struct capture_nic *n, uint64_t newest)
{
	const uint64_t oldest = newest - n->slots + n->slots / 4;

	if (newest < n->slots || oldest <= n->next)
		return;
	n->lost += oldest - n->next;
	n->next = oldest;
}

static void fetch(struct capture_client *c, unsigned k)
{
	const struct capture_memory *memory = (const void *)c->memory;
	struct capture_nic *n = &c->nic[k];
	const uint32_t life = atomic_load_explicit(&memory->life[k], memory_order_acquire);

	if (life != n->life) {
		n->life = life;
		n->next = 0;
	}
	for (unsigned tries = 0; tries < 4; tries++) {
		const struct p2pnic_record *slot =
			(const void *)(c->memory + n->offset +
				       (n->next & (n->slots - 1)) * (uint64_t)n->slot_bytes);
		const uint64_t now = sequence(slot);

		if (now > n->next + 1)
			skip(n, now - 1);
		else if (now != n->next + 1)
			return;
		else if (copy(n, slot, now)) {
			n->ready = true;
			n->next++;
			return;
		}
	}
}

int capture_client_next(struct capture_client *c)
{
	int oldest = -1;

	for (unsigned k = 0; k < c->nics; k++) {
		struct capture_nic *n = &c->nic[k];

		if (n->captures && !n->ready)
			fetch(c, k);
		if (n->ready && (oldest < 0 || n->record.time_ns < c->nic[oldest].record.time_ns))
			oldest = (int)k;
	}
	return oldest;
}

/* --- Filters ---------------------------------------------------------------------------------- */

static json_t *hexadecimal(const struct bpf_program *program)
{
	char text[16 * P2PNIC_CAPTURE_FILTER_MAX + 1] = "";

	for (unsigned k = 0; k < program->bf_len; k++)
		sprintf(text + (size_t)16 * k, "%04x%02x%02x%08x", program->bf_insns[k].code,
			program->bf_insns[k].jt, program->bf_insns[k].jf, program->bf_insns[k].k);
	return json_string(text);
}

bool capture_filter(const char *command, char **words, json_t *how, char *text, size_t room)
{
	size_t used = 0;
	struct bpf_program program;
	pcap_t *pcap;
	bool good;

	*text = 0;
	for (; *words; words++) {
		const int n = snprintf(text + used, room - used, "%s%s", used ? " " : "", *words);

		if (n < 0 || (size_t)n >= room - used) {
			fprintf(stderr, "p2pnic %s: the filter is longer than %zu characters\n",
				command, room - 1);
			return false;
		}
		used += (size_t)n;
	}
	if (!used)
		return true;
	pcap = pcap_open_dead(DLT_EN10MB, P2PNIC_CAPTURE_SNAP_MAX);
	if (!pcap || pcap_compile(pcap, &program, text, 1, PCAP_NETMASK_UNKNOWN)) {
		fprintf(stderr, "p2pnic %s: filter '%s': %s\n", command, text,
			pcap ? pcap_geterr(pcap) : strerror(ENOMEM));
		if (pcap)
			pcap_close(pcap);
		return false;
	}
	good = program.bf_len <= P2PNIC_CAPTURE_FILTER_MAX;
	if (good)
		json_object_set_new(how, "filter", hexadecimal(&program));
	else
		fprintf(stderr, "p2pnic %s: filter '%s': %u instructions; a NIC takes %u\n",
			command, text, program.bf_len, P2PNIC_CAPTURE_FILTER_MAX);
	pcap_freecode(&program);
	pcap_close(pcap);
	return good;
}
