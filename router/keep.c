/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/router.h"

#include "driver/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEEPER_TRIES   5u
#define KEEPER_WAIT_US 20000u

int router_open_keeper(struct router *r)
{
	char path[ROUTER_PATH_BYTES], ready_text[16], byte;
	struct process process;
	int ready[2], error;

	snprintf(path, sizeof(path), "%s/keeper.sock", r->runtime);
	r->keeper = keeper_connect(path);
	if (r->keeper >= 0)
		return 0;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return router_fail(r, -errno, "keeper: %s", strerror(errno));
	snprintf(ready_text, sizeof(ready_text), "%d", ready[1]);
	const char *argv[] = {"p2pnic", "keeper", "--socket", path, "--ready-fd", ready_text, NULL};
	error = process_start(&process, argv, ready[1], r->tied);
	close(ready[1]);
	if (!error && read(ready[0], &byte, 1) != 1)
		error = -ECONNREFUSED;
	close(ready[0]);
	if (!error) {
		process_forget(&process);
		r->keeper = keeper_connect(path);
		error = r->keeper < 0 ? r->keeper : 0;
	}
	return error ? router_fail(r, error, "keeper at %s: %s", path, strerror(-error)) : 0;
}

int router_keep(struct router *r, unsigned index)
{
	struct router_nic *nic = &r->nic[index];
	char text[KEEPER_TEXT_BYTES];
	int fds[DEVICE_KEEP_MAX];
	int count = device_keep(nic->driver.device, fds);
	int n = snprintf(text, sizeof(text), "%d %llu %s %s", nic->process->process.pid,
		(unsigned long long)nic->process->process.started, nic->driver.device->ops->type,
		nic->spec);

	if (n >= (int)sizeof(text))
		return -ENAMETOOLONG;
	return keeper_put(r->keeper, r->config->nics[index].name, text, fds, (unsigned)count);
}

static int keep_all(struct router *r)
{
	int error = 0;

	for (unsigned k = 0; k < r->config->nics_count && !error; k++)
		if (r->nic[k].driver.device)
			error = router_keep(r, k);
	return error;
}

/* A dying keeper may still take a connection, and drop it: then once more. */
void router_renew_keeper(struct router *r)
{
	int error = -ECONNRESET;

	close(r->keeper);
	for (unsigned tries = 0; error && tries < KEEPER_TRIES; tries++) {
		if (tries)
			usleep(KEEPER_WAIT_US);
		error = router_open_keeper(r);
		if (error)
			continue;
		error = keep_all(r);
		if (error) {
			router_fail(r, error, "keeper: %s", strerror(-error));
			close(r->keeper);
			r->keeper = -1;
		}
	}
	if (error)
		router_say(r, "%s; NICs end with this router until it is started again", r->error);
	else
		router_say(r, "the keeper ended; a new one holds the NICs");
}
