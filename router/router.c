/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/router.h"

#include "driver/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define START_PATIENCE_MS 10000u /* for a NIC's process to answer */
#define BACKOFF_FIRST_MS  100u
#define BACKOFF_LAST_MS   5000u
#define SETTLED_NS                                                                                 \
	10000000000ull /* a process that lived so long starts with the first backoff again */

void router_say(const struct router *r, const char *format, ...)
{
	va_list arguments;

	if (r->quiet)
		return;
	va_start(arguments, format);
	fputs("router: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
}

int router_fail(struct router *r, int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(r->error, sizeof(r->error), format, arguments);
	va_end(arguments);
	return code;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void path_in_runtime(const struct router *r, const char *name, char *path)
{
	snprintf(path, ROUTER_PATH_BYTES, "%s/%s", r->runtime, name);
}

/* --- Runtime directory --------------------------------------------------------------------------- */

static int open_runtime(struct router *r)
{
	char path[ROUTER_PATH_BYTES], reason[RUNTIME_ERROR_BYTES];
	int error;

	config_runtime(r->config, path, sizeof(path));
	if (strlen(path) >= sizeof(r->runtime))
		return router_fail(r, -ENAMETOOLONG,
			"runtime directory %s: name too long for its sockets", path);
	memcpy(r->runtime, path, strlen(path) + 1);
	error = runtime_open(&r->held, r->runtime, reason);
	return error ? router_fail(r, error, "runtime directory: %s", reason) : 0;
}

/* --- The plan: which NIC runs where -------------------------------------------------------------- */

static const struct config_engine *engine_of(const struct config *c, const struct config_nic *n)
{
	for (unsigned k = 0; n->engine && k < c->engines_count; k++)
		if (!strcmp(c->engines[k].name, n->engine))
			return &c->engines[k];
	return NULL;
}

static bool engine_shared(const struct config_engine *e)
{
	return CONFIG_DEFAULT(e->shared, false);
}

static struct router_process *process_of(struct router *r, const char *name)
{
	for (unsigned k = 0; k < r->processes; k++)
		if (!strcmp(r->process[k].name, name))
			return &r->process[k];
	struct router_process *p = &r->process[r->processes++];

	snprintf(p->name, sizeof(p->name), "%s", name);
	p->process.pidfd = -1;
	return p;
}

/* A power of two that holds the packets of all rings, unless the configuration says how much. */
static unsigned packet_memory_mib(const struct router *r)
{
	uint64_t need = fabric_packet_memory(&r->fabric, r->config->nics_count);
	unsigned mib = P2PNIC_BAR4_BYTES_MIN >> 20;

	if (r->config->router->packet_memory_mib)
		return *r->config->router->packet_memory_mib;
	while ((uint64_t)mib << 20 < need)
		mib *= 2;
	return mib;
}

static int plan(struct router *r)
{
	const struct config *c = r->config;

	r->fabric.method = c->router->method_number;
	r->fabric.ring_slots = config_ring_slots(c);
	r->fabric.batch = CONFIG_DEFAULT(c->router->batch, P2PNIC_BATCH_DEFAULT);
	r->fabric.rx_buffers = CONFIG_DEFAULT(c->router->rx_buffers, 1024);
	if (r->fabric.method == P2PNIC_METHOD_BOUNCE) {
		int error = bounce_new(&r->fabric.bounce, c->nics_count, r->fabric.ring_slots,
			CONFIG_DEFAULT(c->router->bounce_core, -1));

		if (error)
			return router_fail(r, error, "bounce thread: %s", strerror(-error));
	}
	r->nic = calloc(c->nics_count, sizeof(*r->nic));
	r->process = calloc(c->nics_count, sizeof(*r->process));
	if (!r->nic || !r->process)
		return router_fail(r, -ENOMEM, "out of memory");
	for (unsigned k = 0; k < c->nics_count; k++) {
		const struct config_nic *n = &c->nics[k];
		const struct config_engine *e = engine_of(c, n);
		struct router_nic *nic = &r->nic[k];
		char name[DRIVER_NIC_NAME_BYTES + 8], core[24] = "";

		snprintf(nic->engine, sizeof(nic->engine), "%s", n->engine ? n->engine : n->name);
		nic->process = process_of(r, e && e->process ? e->process : nic->engine);
		snprintf(name, sizeof(name), "%s.sock", n->name);
		path_in_runtime(r, name, nic->socket);
		if (e && e->core)
			snprintf(core, sizeof(core), ":%d%s", *e->core,
				engine_shared(e) ? ":shared" : "");
		snprintf(nic->spec, sizeof(nic->spec),
			"%u %s %s%s %s:%s %s %s %u %u method %u rings %u,%u,%u", k,
			nic->process->name, nic->engine, core, n->port.type, n->port.target,
			n->port.options ? n->port.options : "-", n->mac ? n->mac : "-",
			packet_memory_mib(r), CONFIG_DEFAULT(c->router->table_memory_mib, 16),
			r->fabric.method, r->fabric.ring_slots, r->fabric.batch,
			r->fabric.rx_buffers);
	}
	return 0;
}

/* --- Starting and stopping NIC processes --------------------------------------------------------- */

struct arguments {
	const char *argv[16 + P2PNIC_NICS_MAX * 18];
	unsigned n;
	char text[65536];
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void argument(
	struct arguments *a, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	a->argv[a->n++] = a->text + a->used;
	a->used +=
		(size_t)vsnprintf(a->text + a->used, sizeof(a->text) - a->used, format, arguments) +
		1;
	va_end(arguments);
}

static int start_process(struct router *r, struct router_process *p)
{
	static const char *const method[] = {[P2PNIC_METHOD_WRITE] = "wr",
		[P2PNIC_METHOD_READ] = "rd",
		[P2PNIC_METHOD_BOUNCE] = "bn"};
	const struct config *c = r->config;
	struct arguments *a = calloc(1, sizeof(*a));
	const char *engine = NULL;
	int error;

	if (!a)
		return router_fail(r, -ENOMEM, "out of memory");
	for (unsigned k = 0; k < c->nics_count; k++)
		if (r->nic[k].process == p)
			process_stop_listener(r->nic[k].socket);
	argument(a, "p2pnic");
	argument(a, "nic");
	argument(a, "--method");
	argument(a, "%s", method[r->fabric.method]);
	/* NICs of one engine stand together behind it, whatever their order in the file. */
	for (unsigned k = 0; k < c->nics_count; k++) {
		bool seen = false;

		for (unsigned j = 0; j < k; j++)
			seen = seen || !strcmp(r->nic[j].engine, r->nic[k].engine);
		if (seen || r->nic[k].process != p)
			continue;
		engine = r->nic[k].engine;
		const struct config_engine *e = engine_of(c, &c->nics[k]);

		argument(a, "--engine");
		if (e && e->core)
			argument(a, "%s:%d%s", engine, *e->core, engine_shared(e) ? ":shared" : "");
		else
			argument(a, "%s", engine);
		for (unsigned j = k; j < c->nics_count; j++) {
			const struct config_nic *n = &c->nics[j];

			if (strcmp(r->nic[j].engine, engine) != 0)
				continue;
			argument(a, "--nic");
			argument(a, "%s", n->name);
			argument(a, "--socket");
			argument(a, "%s", r->nic[j].socket);
			argument(a, "--port");
			argument(a, "%s:%s", n->port.type, n->port.target);
			if (n->port.options) {
				argument(a, "--port-options");
				argument(a, "%s", n->port.options);
			}
			if (n->mac) {
				argument(a, "--mac");
				argument(a, "%s", n->mac);
			}
			argument(a, "--packet-memory");
			argument(a, "%u", packet_memory_mib(r));
			argument(a, "--table-memory");
			argument(a, "%u", CONFIG_DEFAULT(c->router->table_memory_mib, 16));
		}
	}
	a->argv[a->n] = NULL;
	error = process_start(&p->process, a->argv, -1, r->tied);
	free(a);
	p->born_ns = now_ns();
	p->retry_at_ns = 0;
	return error ? router_fail(r, error, "process %s: %s", p->name, strerror(-error)) : 0;
}

/* Connects to a NIC whose process has just been started. */
static int connect_nic(struct router *r, struct router_nic *nic, struct device **device)
{
	char where[ROUTER_PATH_BYTES + 16], error[DEVICE_ERROR_BYTES] = "", how[64];
	int result = -ETIMEDOUT;

	snprintf(where, sizeof(where), "vfio-user:%s", nic->socket);
	for (unsigned waited = 0; waited < START_PATIENCE_MS; waited += 10) {
		result = device_open(device, where, error);
		if (result != -ENOENT && result != -ECONNREFUSED)
			break;
		if (process_ended(&nic->process->process, how, sizeof(how)))
			return router_fail(r, -ECHILD, "process %s of its NICs %s; it said why",
				nic->process->name, how);
		usleep(10000);
	}
	return result ? router_fail(r, result, "%s", error) : 0;
}

/* From a connected device to a member of the fabric that has its table; `device` is used up. */
static int bring_up(struct router *r, unsigned index, struct device *device)
{
	const struct config_nic *n = &r->config->nics[index];
	struct router_nic *nic = &r->nic[index];
	char error[DRIVER_ERROR_BYTES] = "";
	int result = driver_nic_attach(&nic->driver, n->name, index, device, error);

	if (result)
		return router_fail(r, result, "%s", error);
	result = router_keep(r, index);
	if (result) {
		router_fail(r, result, "keeper: %s", strerror(-result));
		goto detach;
	}
	if (!nic->driver.adopted)
		result = driver_nic_write(
			&nic->driver, P2PNIC_REG_MTU, CONFIG_DEFAULT(n->mtu, 1500));
	if (!result)
		result = fabric_add(&r->fabric, &nic->driver, error);
	if (result) {
		router_fail(r, result, "%s", error);
		goto detach;
	}
	r->mac[index] = nic->driver.mac;
	router_watch(r, index);
	return 0;
detach:
	driver_nic_detach(&nic->driver);
	keeper_drop(r->keeper, n->name);
	return result;
}

static int go(struct router *r, unsigned index)
{
	struct driver_nic *driver = &r->nic[index].driver;
	char error[TABLE_ERROR_BYTES] = "";
	int result = table_load(r->table, driver, error);

	if (result)
		return router_fail(r, result, "%s", error);
	if (driver->adopted)
		return 0;
	result = driver_nic_command(driver, P2PNIC_OP_START, 0);
	if (result != P2PNIC_OK)
		return router_fail(r, result < 0 ? result : -EIO, "%s: start: %s", driver->name,
			driver_nic_result(result));
	return 0;
}

static void lose_nic(struct router *r, unsigned index)
{
	struct router_nic *nic = &r->nic[index];

	if (!nic->driver.device)
		return;
	fabric_remove(&r->fabric, &nic->driver);
	driver_nic_detach(&nic->driver);
	keeper_drop(r->keeper, r->config->nics[index].name);
}

/* --- Adopting what an earlier router left -------------------------------------------------------- */

struct found {
	struct keeper_message item;
	int fds[KEEPER_FDS];
	unsigned count;
	pid_t pid;
	unsigned long long started;
	char type[32];
	const char *spec;
};

static void adopt_one(struct router *r, struct found *f)
{
	int index = config_nic_index(r->config, f->item.name);
	struct router_nic *nic = index >= 0 ? &r->nic[index] : NULL;
	struct device *device;
	char error[DEVICE_ERROR_BYTES];
	struct process stranger;

	if (nic && !strcmp(nic->spec, f->spec) &&
		(nic->process->process.pid == f->pid ||
			(!nic->process->process.pid &&
				process_adopt(&nic->process->process, f->pid, f->started) == 0))) {
		if (device_adopt(&device, f->type, f->fds, f->count, NULL, 0, error) == 0) {
			if (bring_up(r, (unsigned)index, device) == 0) {
				router_say(r, "nic %s: %s, process %d", f->item.name,
					nic->driver.adopted ? "adopted, it forwards on"
							    : "connected again",
					f->pid);
				return;
			}
		} else {
			router_fail(r, -EIO, "%s", error);
		}
		router_say(r, "nic %s: not adopted: %s", f->item.name, r->error);
		return;
	}
	/* Of another configuration: its process ends, and whatever this router needs of it begins anew. */
	for (unsigned k = 0; k < f->count; k++)
		close(f->fds[k]);
	keeper_drop(r->keeper, f->item.name);
	if (process_adopt(&stranger, f->pid, f->started) == 0) {
		router_say(r, "nic %s: process %d belongs to another configuration: stopped",
			f->item.name, f->pid);
		process_stop(&stranger, 2000);
	}
}

static void adopt(struct router *r)
{
	struct found *found = calloc(KEEPER_ITEMS, sizeof(*found));
	unsigned n = 0;

	if (!found)
		return;
	while (n < KEEPER_ITEMS &&
		keeper_get(r->keeper, n, &found[n].item, found[n].fds, &found[n].count) == 0) {
		int end = 0;

		if (sscanf(found[n].item.text, "%d %llu %31s %n", &found[n].pid, &found[n].started,
			    found[n].type, &end) == 3)
			found[n].spec = found[n].item.text + end;
		else
			found[n].spec = "";
		n++;
	}
	for (unsigned k = 0; k < n; k++)
		adopt_one(r, &found[k]);
	free(found);
}

/* A process is of use only whole: if one of its NICs could not be taken over, it is started again. */
static int start_missing(struct router *r)
{
	for (unsigned p = 0; p < r->processes; p++) {
		bool whole = true;
		int error;

		for (unsigned k = 0; k < r->config->nics_count; k++)
			if (r->nic[k].process == &r->process[p] && !r->nic[k].driver.device)
				whole = false;
		if (whole)
			continue;
		for (unsigned k = 0; k < r->config->nics_count; k++)
			if (r->nic[k].process == &r->process[p])
				lose_nic(r, k);
		process_stop(&r->process[p].process, 2000);
		error = start_process(r, &r->process[p]);
		if (error)
			return error;
	}
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct device *device;
		int error;

		if (r->nic[k].driver.device)
			continue;
		error = connect_nic(r, &r->nic[k], &device);
		if (!error)
			error = bring_up(r, k, device);
		if (error)
			return error;
	}
	return 0;
}

/* --- A NIC dies, and comes back ------------------------------------------------------------------ */

static void process_died(struct router *r, struct router_process *p, const char *how)
{
	uint64_t now = now_ns();

	p->backoff_ms = now - p->born_ns > SETTLED_NS || !p->backoff_ms ? BACKOFF_FIRST_MS
			: p->backoff_ms * 2 > BACKOFF_LAST_MS           ? BACKOFF_LAST_MS
									: p->backoff_ms * 2;
	p->retry_at_ns = now + p->backoff_ms * 1000000ull;
	for (unsigned k = 0; k < r->config->nics_count; k++)
		if (r->nic[k].process == p) {
			router_say(r,
				"nic %s: its process %s; the others forward on, it is started "
				"again "
				"in %u ms",
				r->config->nics[k].name, how, p->backoff_ms);
			lose_nic(r, k);
			r->nic[k].restarts++;
		}
}

static void revive(struct router *r, struct router_process *p)
{
	int error = start_process(r, p);

	for (unsigned k = 0; k < r->config->nics_count && !error; k++) {
		struct device *device;

		if (r->nic[k].process != p)
			continue;
		error = connect_nic(r, &r->nic[k], &device);
		if (!error)
			error = bring_up(r, k, device);
		if (!error)
			error = go(r, k);
		if (!error)
			router_say(r, "nic %s: back, process %d", r->config->nics[k].name,
				p->process.pid);
	}
	if (error) {
		process_stop(&p->process, 1000);
		process_died(r, p, r->error);
	}
}

/* --- Life ---------------------------------------------------------------------------------------- */

int router_start(struct router *r, const char *config_path)
{
	struct config *config;
	int error = config_load(&config, config_path, r->error);

	return error ? error : router_start_config(r, config);
}

int router_start_config(struct router *r, struct config *config)
{
	char path[ROUTER_PATH_BYTES];
	sigset_t signals;
	int error;

	r->held = (struct runtime){-1, -1};
	r->keeper = r->listener = r->signals = r->events = -1;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signals = signalfd(-1, &signals, SFD_CLOEXEC);

	r->config = config;
	error = open_runtime(r);
	if (!error)
		error = router_open_keeper(r);
	if (!error)
		error = plan(r);
	if (!error) {
		router_open_events(r);
		adopt(r);
		error = start_missing(r);
	}
	if (!error)
		error = router_first_table(r);
	for (unsigned k = 0; !error && k < r->config->nics_count; k++)
		error = go(r, k);
	if (!error) {
		path_in_runtime(r, "api.sock", path);
		r->listener = api_listen(path);
		if (r->listener < 0)
			error = router_fail(r, r->listener, "%s: %s", path, strerror(-r->listener));
	}
	if (error) {
		/* What an earlier router left forwarding is not stopped by a mistake in this one's file. */
		for (unsigned k = 0; r->nic && k < r->config->nics_count; k++)
			r->leave = r->leave || r->nic[k].driver.adopted;
		router_stop(r);
		return error;
	}
	router_say(r, "%u NICs forward; questions to %s", r->config->nics_count, path);
	return 0;
}

static int on_signal(struct router *r)
{
	struct signalfd_siginfo info;

	if (read(r->signals, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (info.ssi_signo != SIGHUP)
		return 1;
	if (router_reload(r) == 0)
		router_say(r, "configuration read again: %s", r->config->path);
	else
		router_say(r, "configuration not taken: %s", r->error);
	return 0;
}

/* The wait, cut so that it ends at that time; 0: there is nothing to end it for. */
static int sooner(int timeout_ms, uint64_t at_ns, uint64_t now)
{
	int wait = at_ns <= now ? 0 : (int)((at_ns - now) / 1000000) + 1;

	return at_ns && (timeout_ms < 0 || wait < timeout_ms) ? wait : timeout_ms;
}

int router_step(struct router *r, int timeout_ms)
{
	struct pollfd fds[4 + 2 * P2PNIC_NICS_MAX];
	unsigned n = 0, processes;
	uint64_t now = now_ns();
	uint64_t mend_at = router_mend_at(r, now);
	char how[64];

	timeout_ms = sooner(timeout_ms, mend_at, now);
	fds[n++] = (struct pollfd){.fd = r->signals, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = r->listener, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = r->keeper};
	fds[n++] = (struct pollfd){.fd = r->events, .events = POLLIN};
	for (unsigned k = 0; k < r->processes; k++) {
		struct router_process *p = &r->process[k];

		timeout_ms = sooner(timeout_ms, p->retry_at_ns, now);
		fds[n++] = (struct pollfd){.fd = p->process.pidfd, .events = POLLIN};
	}
	processes = n;
	for (unsigned k = 0; k < r->config->nics_count; k++)
		fds[n++] = (struct pollfd){
			.fd = r->nic[k].driver.device ? device_fd(r->nic[k].driver.device) : -1,
			.events = POLLIN};
	if (poll(fds, n, timeout_ms) < 0)
		return errno != EINTR;
	if (fds[0].revents && on_signal(r))
		return 1;
	if (fds[1].revents)
		api_accept(r);
	if (fds[2].revents)
		router_renew_keeper(r);
	if (fds[3].revents)
		router_events(r);
	for (unsigned k = 0; k < r->processes; k++)
		if (fds[4 + k].revents && process_ended(&r->process[k].process, how, sizeof(how)))
			process_died(r, &r->process[k], how);
	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct device *device = r->nic[k].driver.device;

		if (fds[processes + k].revents && device && device_service(device) < 0) {
			/* The connection is gone but the process is not: it cannot be spoken to again. */
			router_say(r, "nic %s: %s", r->config->nics[k].name, device_error(device));
			process_stop(&r->nic[k].process->process, 1000);
			process_died(r, r->nic[k].process, "lost its connection");
		}
	}
	now = now_ns();
	for (unsigned k = 0; k < r->processes; k++)
		if (r->process[k].retry_at_ns && r->process[k].retry_at_ns <= now)
			revive(r, &r->process[k]);
	if (mend_at && mend_at <= now)
		router_mend(r);
	return 0;
}

void router_stop(struct router *r)
{
	char path[ROUTER_PATH_BYTES];
	const bool leave = r->leave;

	/* Receive no more; what is in the rings leaves; then pairs and processes end. */
	for (unsigned k = 0; r->nic && !leave && k < r->config->nics_count; k++)
		if (r->nic[k].driver.device)
			driver_nic_command(&r->nic[k].driver, P2PNIC_OP_STOP, 0);
	if (r->table && !leave)
		usleep(10000);
	for (unsigned k = 0; r->nic && k < r->config->nics_count; k++) {
		if (leave)
			driver_nic_detach(&r->nic[k].driver);
		else
			lose_nic(r, k);
	}
	for (unsigned k = 0; r->process && k < r->processes; k++) {
		if (leave)
			process_forget(&r->process[k].process);
		else
			process_stop(&r->process[k].process, 3000);
	}
	if (r->keeper >= 0) {
		if (!leave)
			keeper_quit(r->keeper);
		close(r->keeper);
	}
	if (r->listener >= 0) {
		close(r->listener);
		path_in_runtime(r, "api.sock", path);
		unlink(path);
	}
	runtime_close(&r->held, r->runtime, !leave);
	if (r->signals >= 0)
		close(r->signals);
	router_close_events(r);
	bounce_free(r->fabric.bounce);
	table_free(r->table);
	free(r->nic);
	free(r->process);
	r->fabric.bounce = NULL;
	config_free(r->config);
	r->config = NULL;
	r->nic = NULL;
	r->process = NULL;
	r->table = NULL;
}
