/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an earlier router left forwarding: connections that the keeper holds, each with a line of
 * text (keep.c): "PID START-TIME DEVICE-TYPE MAC SPEC"; of a face in the kernel, "MAC".
 *
 * An error of this process is no news about a NIC. So everything is fetched and opened first; if
 * anything of that fails, all is let go as it was found, and the start fails. Only then do
 * processes end that are not of this configuration.
 */
#include "router/adopt.h"
#include "router/config_defaults.h"
#include "router/plan.h"
#include "router/reload.h"
#include "router/router.h"
#include "router/soft_process.h"

#include "driver/keeper.h"
#include "ipc/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define END_MS        2000u
#define STRAYS_MS     1000u
#define STRAYS_FOR_NS 30000000000ull /* a process that takes longer is taken for hung anyway */

struct found {
	struct keeper_message item;
	int fds[KEEPER_FDS];
	unsigned count;
	pid_t pid;
	unsigned long long started;
	char type[32], mac[32];
	const char *spec;
};

struct findings {
	struct found *found;
	unsigned n;
	struct process ending[KEEPER_ITEMS];
	unsigned endings;
};

static void read_text(struct found *f)
{
	int end = 0;

	if (sscanf(f->item.text, "%d %llu %31s %31s %n", &f->pid, &f->started, f->type, f->mac,
		    &end) == 4)
		f->spec = f->item.text + end;
	else
		f->spec = "";
}

static int fetch(struct router *r, struct findings *all)
{
	int result = 0;

	while (!result && all->n < KEEPER_ITEMS) {
		struct found *f = &all->found[all->n];

		result = keeper_get(r->keeper.socket, all->n, &f->item, f->fds, &f->count);
		if (result)
			break;
		read_text(f);
		all->n++;
	}
	if (result && result != -ENOENT)
		return router_fail(r, result, "asking the keeper for NICs of an earlier router: %s",
			strerror(-result));
	return 0;
}

/* The number of this router's NIC that an item is of; -1: of none. */
static int nic_of(const struct router *r, const struct found *f)
{
	const char *name = f->item.name;
	const bool face = !strncmp(name, KEEP_FACE, strlen(KEEP_FACE));
	const int index = config_nic_index(r->config, face ? name + strlen(KEEP_FACE) : name);

	return face && !r->config->kernel ? -1 : index;
}

/* A face in the kernel has no process, and is taken whatever becomes of its NIC. */
static bool open_face(struct router *r, struct found *f)
{
	const int index = nic_of(r, f);
	struct mac_addr given;

	if (strncmp(f->item.name, KEEP_FACE, strlen(KEEP_FACE)) != 0)
		return false;
	if (index < 0 || !mac_parse(f->item.text, &given))
		return true;
	host_face_found(&r->nic[index], given, f->fds, f->count);
	f->count = 0;
	return true;
}

/* The unit of this router that a NIC was found in; NULL: another one's. */
static struct nic_unit *unit_of(const struct router_nic *nic, const struct found *f)
{
	const struct process *process;

	if (!nic || strcmp(nic->spec, f->spec) != 0)
		return NULL;
	process = &nic->unit->process;
	return !process->pid || (process->pid == f->pid && process->started == f->started)
		       ? nic->unit
		       : NULL;
}

static void close_fds(struct found *f)
{
	while (f->count)
		close(f->fds[--f->count]);
}

/* To end, if it is still there. */
static int note_ending(struct router *r, struct findings *all, pid_t pid, uint64_t started)
{
	int result = process_adopt(&all->ending[all->endings], pid, started);

	for (unsigned k = 0; !result && k < all->endings; k++)
		if (all->ending[k].pid == pid) {
			process_forget(&all->ending[all->endings]);
			return 0;
		}
	all->endings += !result;
	return result && result != -ESRCH
		       ? router_fail(r, result, "process %d: %s", pid, strerror(-result))
		       : 0;
}

static int open_one(struct router *r, struct found *f, struct findings *all)
{
	int index = nic_of(r, f), result = 0;
	struct router_nic *nic = index >= 0 ? &r->nic[index] : NULL;
	struct nic_unit *u = unit_of(nic, f);
	struct error error;
	struct device *device;
	unsigned count = f->count;

	if (open_face(r, f))
		return 0;
	if (u && !u->adopted) {
		result = u->backend->adopt(u, f->pid, f->started);
		if (result == -ESRCH)
			u = NULL; /* it ended: there is nothing to take over */
		else if (result)
			return router_fail(r, result, "process %d: %s", f->pid, strerror(-result));
	}
	if (!u) {
		if (f->pid > 0)
			result = note_ending(r, all, f->pid, f->started);
		return result;
	}
	u->adopted = true;
	f->count = 0;
	result = device_adopt_begin(&device, f->type, f->fds, count, NULL, 0, &error);
	if (!result) {
		nic_adopt(nic, device);
		mac_parse(f->mac, &r->mac[index]); /* in case it does not answer */
		return 0;
	}
	/* Only a connection that is lost is news about the NIC: its process is not of use. */
	if (result != -ECONNRESET && result != -ENOTCONN)
		return router_fail(r, result, "nic %s: %s", f->item.name, error.text);
	router_warn(r, "nic %s: not taken over: %s", f->item.name, error.text);
	return 0;
}

static bool whole(const struct router *r, const struct nic_unit *u)
{
	for (unsigned n = 0; n < r->config->nics_count; n++)
		if (r->nic[n].unit == u && !r->nic[n].device)
			return false;
	return true;
}

/* A process is of use only whole: one that an earlier router was about to start ends too. */
static int note_halves(struct router *r, struct findings *all)
{
	int result = 0;

	for (struct nic_unit *u = r->unit; !result && u < r->unit + r->units; u++)
		if (u->adopted && !whole(r, u) && u->process.pid)
			result = note_ending(r, all, u->process.pid, u->process.started);
	return result;
}

static void end_others(struct router *r, struct findings *all)
{
	struct process *ending[KEEPER_ITEMS];

	for (unsigned k = 0; k < all->n; k++)
		if (nic_of(r, &all->found[k]) < 0)
			keeper_drop(r->keeper.socket, all->found[k].item.name);
	for (unsigned k = 0; k < all->endings; k++) {
		ending[k] = &all->ending[k];
		router_say(
			r, "process %d belongs to another configuration: stopped", ending[k]->pid);
	}
	for (struct nic_unit *u = r->unit; u < r->unit + r->units; u++) {
		if (!u->adopted || whole(r, u))
			continue;
		u->adopted = false;
		soft_process_forget(u);
		for (unsigned n = 0; n < r->config->nics_count; n++)
			if (r->nic[n].unit == u)
				nic_lose(&r->nic[n]);
	}
	process_stop_all(ending, all->endings, END_MS);
}

/* NICs go on under the numbers that they had, and with rings and memory as they were, however many
 * this configuration has. */
static int place(struct router *r, const struct findings *all)
{
	unsigned number[P2PNIC_NICS_MAX], of, slots, mib, places = 0;
	bool taken[P2PNIC_NICS_MAX] = {false}, known[P2PNIC_NICS_MAX] = {false}, sized = false;
	struct config *c = r->config;

	for (unsigned k = 0; k < all->n && !sized; k++)
		sized = config_nic_index(c, all->found[k].item.name) >= 0 &&
			plan_spec_sizes(all->found[k].spec, &of, &slots, &mib) &&
			config_size_like(c, slots, mib);
	for (unsigned k = 0; k < all->n && sized; k++) {
		const int index = config_nic_index(c, all->found[k].item.name);

		if (index < 0 || known[index] ||
			!plan_spec_sizes(all->found[k].spec, &of, &slots, &mib) || taken[of] ||
			of >= *c->router->nics_max)
			continue;
		number[index] = of;
		known[index] = taken[of] = true;
	}
	for (unsigned k = 0; k < c->nics_count; k++) {
		for (of = 0; !known[k] && taken[of];)
			of++;
		if (!known[k])
			number[k] = of;
		taken[number[k]] = true;
		places = number[k] + 1 > places ? number[k] + 1 : places;
	}
	return config_place(c, number, places) ? router_fail(r, -ENOMEM, "out of memory") : 0;
}

/* A router that was killed while it added a NIC has left a process that no keeper knows, and that
 * has a socket when it is up: a while they are looked for once a second. */
static void end_strays(void *context)
{
	struct router *r = context;
	static const char *const own[] = {"api", "keeper", "punt"};
	const int fd = openat(r->held.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	char path[ROUTER_PATH_BYTES];
	const struct dirent *entry;

	if (!directory && fd >= 0)
		close(fd);
	while (directory && (entry = readdir(directory))) {
		const size_t n = strlen(entry->d_name);
		bool known = n < 6 || strcmp(entry->d_name + n - 5, ".sock") != 0;

		router_path(r, entry->d_name, path);
		for (unsigned k = 0; k < 3; k++)
			known |= n == strlen(own[k]) + 5 && !strncmp(entry->d_name, own[k], n - 5);
		for (unsigned k = 0; k < r->config->nics_count; k++)
			known |= !strcmp(path, r->nic[k].socket);
		if (!known && process_evict(path, SIGTERM))
			router_say(r, "the NIC at %s is of no configuration: told to end", path);
	}
	if (directory)
		closedir(directory);
	if (r->strays_until_ns > clock_now_ns())
		loop_after(&r->loop, &r->strays, STRAYS_MS, end_strays, r);
}

int adopt_look(struct router *r)
{
	struct findings *all;
	int result;

	if (r->keeper.socket < 0)
		return 0;
	all = r->findings = calloc(1, sizeof(*all));
	if (all)
		all->found = calloc(KEEPER_ITEMS, sizeof(*all->found));
	if (!all || !all->found)
		return router_fail(r, -ENOMEM, "out of memory");
	result = fetch(r, all);
	if (!result)
		r->found = all->n > 0;
	return result ? result : place(r, all);
}

void adopt_free(struct router *r)
{
	struct findings *all = r->findings;

	for (unsigned k = 0; all && k < all->n; k++)
		close_fds(&all->found[k]);
	for (unsigned k = 0; all && k < all->endings; k++)
		process_forget(&all->ending[k]);
	if (all)
		free(all->found);
	free(all);
	r->findings = NULL;
}

int adopt_all(struct router *r)
{
	struct findings *all = r->findings;
	int result = 0;

	if (!all)
		return 0;
	for (unsigned k = 0; !result && k < all->n; k++)
		result = open_one(r, &all->found[k], all);
	if (!result)
		result = note_halves(r, all);
	/* Whatever is wrong with this configuration is better known before anything ends for it. */
	if (!result && all->endings)
		result = router_try_table(r);
	if (!result) {
		end_others(r, all);
		r->strays_until_ns = clock_now_ns() + STRAYS_FOR_NS;
		end_strays(r);
	}
	adopt_free(r);
	return result ? result : r->failed;
}
