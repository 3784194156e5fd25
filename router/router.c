/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/router.h"
#include "router/adopt.h"
#include "router/api.h"
#include "router/audit.h"
#include "router/capture.h"
#include "router/events.h"
#include "router/kernel.h"
#include "router/metrics.h"
#include "router/plan.h"
#include "router/reload.h"
#include "router/running.h"

#include "ipc/clock.h"
#include "ipc/log.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TICK_MS     1000u /* in that time a NIC answers a question */
#define STOP_MS     200u  /* in that time it takes its order to receive no more… */
#define STOP_ALL_MS 1000u /* …and all together */
#define DRAIN_MS    10u   /* for what is in the rings */
#define END_MS      2000u /* for a process to end by itself */
#define STEP_MS     100   /* while it starts: failures are looked at */

void router_say(const struct router *r, const char *format, ...)
{
	va_list arguments;

	if (r->quiet)
		return;
	va_start(arguments, format);
	log_say_list(LOG_INFO, "router", format, arguments);
	va_end(arguments);
}

void router_warn(const struct router *r, const char *format, ...)
{
	va_list arguments;

	if (r->quiet)
		return;
	va_start(arguments, format);
	log_say_list(LOG_WARNING, "router", format, arguments);
	va_end(arguments);
}

int router_fail(struct router *r, int code, const char *format, ...)
{
	va_list arguments;

	/* What ended a start is told, not what fails while it ends. */
	if (r->starting && r->failed)
		return code;
	va_start(arguments, format);
	error_set_list(&r->error, code, format, arguments);
	va_end(arguments);
	if (!r->error.text[0])
		error_set(&r->error, code, "%s", strerror(-code));
	return code;
}

void router_path(const struct router *r, const char *name, char path[ROUTER_PATH_BYTES])
{
	snprintf(path, ROUTER_PATH_BYTES, "%s/%s", r->runtime, name);
}

void router_set_log_level(const struct router *r)
{
	enum log_level level = LOG_INFO;

	if (r->log_level_given)
		return;
	if (r->config->log)
		log_level_parse(r->config->log->level, &level);
	log_level_set(level);
}

static int open_runtime(struct router *r)
{
	char path[ROUTER_PATH_BYTES];
	struct error reason;
	int error;

	config_runtime(r->config, path, sizeof(path));
	if (strlen(path) >= sizeof(r->runtime))
		return router_fail(r, -ENAMETOOLONG,
			"runtime directory %s: name too long for its sockets", path);
	memcpy(r->runtime, path, strlen(path) + 1);
	error = runtime_open(&r->held, r->runtime, &reason);
	return error ? router_fail(r, error, "runtime directory: %s", reason.text) : 0;
}

/* --- Signals ---------------------------------------------------------------------------------- */

static void reload(void *context)
{
	struct router *r = context;

	struct table_report report;

	service_reloading(r);
	if (running_reload(r, false, &report) == 0)
		router_say(r, LOG_CONFIG_TAKEN "configuration read again: %s", r->config->path);
	else
		router_warn(r, LOG_CONFIG_REFUSED "configuration not taken: %s", r->error.text);
	service_reloaded(r);
}

static void on_signal(void *context, uint32_t events)
{
	struct signalfd_siginfo info;
	struct router *r = context;

	if (read(r->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGQUIT)
		r->leave = false;
	if (info.ssi_signo != SIGHUP)
		r->ended = true;
	else if (r->starting)
		router_say(r, "SIGHUP while it starts: ignored");
	else
		nics_ask(r, &r->reload, reload, r); /* one that hangs is not to hold up a change */
}

static int open_signals(struct router *r)
{
	sigset_t signals;
	int error;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	error = r->signals < 0 ? -errno
			       : loop_watch(&r->loop, &r->signals_watch, r->signals, EPOLLIN,
					 on_signal, r);
	return error ? router_fail(r, error, "signals: %s", strerror(-error)) : 0;
}

/* --- Life ------------------------------------------------------------------------------------- */

int router_start(struct router *r, const char *config_path)
{
	struct config *config;
	int error = running_load(r, config_path, &config);

	if (!error)
		error = router_start_config(r, config);
	if (error)
		running_stop(r, false);
	else
		running_started(r);
	return error;
}

/* Until all NICs are as far as they can be. */
static int settle(struct router *r)
{
	while (!r->failed &&
		!(nics_settled(r) && keep_settled(r) && host_faces_settled(r) && kernel_settled(r)))
		if (router_step(r, STEP_MS))
			return router_fail(r, -EINTR, "told to end while it started");
	return r->failed;
}

static int make_places(struct router *r)
{
	r->nic = calloc(P2PNIC_NICS_MAX, sizeof(*r->nic));
	r->unit = calloc(P2PNIC_NICS_MAX, sizeof(*r->unit));
	if (!r->nic || !r->unit)
		return router_fail(r, -ENOMEM, "out of memory");
	for (unsigned k = 0; k < P2PNIC_NICS_MAX; k++) {
		r->nic[k].router = r;
		r->nic[k].event = -1;
		r->nic[k].face = (struct host_face)HOST_FACE_NONE;
	}
	return 0;
}

static int start_all(struct router *r)
{
	int error;

	nics_tick(r);
	error = adopt_all(r);
	if (!error)
		error = host_faces_open(r);
	if (!error)
		error = settle(r); /* those of an earlier router */
	for (struct nic_unit *u = r->unit; !error && u < r->unit + r->units; u++)
		if (!u->adopted && !u->timer.fired)
			unit_begin(u);
	if (!error)
		error = settle(r);
	if (!error)
		error = router_first_table(r);
	fabric_part(&r->fabric);
	for (unsigned k = 0; !error && k < r->config->nics_count; k++) {
		r->nic[k].unpublished = false;
		if (r->nic[k].state == NIC_LOADING)
			nic_step(&r->nic[k]);
	}
	if (!error)
		nics_mend(r);
	return error ? error : r->failed;
}

/* Its own processes end; what an earlier router left forwards on. */
static void start_failed(struct router *r)
{
	struct process *own[P2PNIC_NICS_MAX];
	unsigned n = 0;

	r->leave = r->found;
	for (struct nic_unit *u = r->unit; r->leave && u < r->unit + r->units; u++) {
		if (u->adopted || !u->process.pid)
			continue;
		for (unsigned k = 0; k < r->config->nics_count; k++)
			if (r->nic[k].unit == u)
				nic_lose(&r->nic[k]);
		own[n++] = &u->process;
	}
	process_stop_all(own, n, END_MS);
	for (unsigned k = 0; r->leave && r->nic && k < r->config->nics_count; k++)
		if (r->nic[k].face.tap >= 0 && !r->nic[k].face.found)
			host_face_drop(&r->nic[k]);
	router_stop(r);
}

int router_start_config(struct router *r, struct config *config)
{
	char path[ROUTER_PATH_BYTES];
	int error;

	r->held = (struct runtime){-1, -1};
	r->netns = (struct netns){-1};
	helper_init(&r->keeper, r, &keep_kind);
	helper_init(&r->punt, r, &punt_kind);
	helper_init(&r->metrics, r, &metrics_kind);
	r->listener.fd = r->signals = -1;
	r->starting = true;
	r->config = config;
	router_set_log_level(r);
	error = loop_open(&r->loop);
	if (error)
		router_fail(r, error, "event loop: %s", strerror(-error));
	else
		service_open(r);
	if (!error)
		error = open_signals(r);
	if (!error)
		error = open_runtime(r);
	if (!error)
		error = make_places(r);
	if (!error)
		error = keep_open(r);
	if (!error)
		error = adopt_look(r);
	if (!error)
		error = plan_open(r);
	if (!error)
		error = plan_make(r);
	if (!error)
		error = host_faces_begin(r);
	if (!error)
		error = kernel_open(r);
	if (!error)
		error = audit_open(r);
	if (!error)
		error = start_all(r);
	if (!error)
		error = api_open(r);
	if (error) {
		start_failed(r);
		return error;
	}
	r->starting = false;
	metrics_open(r);
	router_path(r, "api.sock", path);
	router_say(r, LOG_UP "%u NICs forward; questions to %s", config_nics_used(r->config), path);
	service_ready(r);
	return 0;
}

int router_step(struct router *r, int timeout_ms)
{
	loop_step(&r->loop, timeout_ms);
	return r->ended;
}

/* Receive no more; then what is in the rings leaves. */
static void stop_receiving(struct router *r)
{
	const uint64_t end = clock_now_ns() + STOP_ALL_MS * 1000000ull;

	for (unsigned k = 0; k < r->config->nics_count; k++) {
		struct driver_nic *driver = &r->nic[k].driver;

		if (!driver_nic_answers(driver) || clock_now_ns() > end)
			continue;
		driver->device->timeout_ms = STOP_MS;
		driver_nic_command(driver, P2PNIC_OP_STOP, 0);
	}
	usleep(DRAIN_MS * 1000);
}

static void stop_processes(struct router *r)
{
	struct process *all[P2PNIC_NICS_MAX];

	for (unsigned k = 0; k < r->units; k++) {
		struct nic_unit *u = &r->unit[k];

		loop_unwatch(&r->loop, &u->watch);
		loop_cancel(&r->loop, &u->timer);
		all[k] = &u->process;
		if (r->leave)
			process_forget(all[k]);
	}
	if (!r->leave)
		process_stop_all(all, r->units, END_MS);
}

void router_stop(struct router *r)
{
	service_stopping(r);
	router_capture_close(r);
	if (r->nic && r->unit) {
		if (!r->leave && r->table)
			stop_receiving(r);
		stop_processes(r);
	}
	/* Its thread reads and writes the NICs' memory, which goes with the connections. */
	bounce_free(r->fabric.bounce);
	r->fabric.bounce = NULL;
	host_faces_close(r, r->leave);
	/* Before the connections: their last holder puts a function to rest. */
	keep_close(r, r->leave);
	if (r->nic && r->unit) {
		/* Their connections only: pairs end with processes. */
		for (unsigned k = 0; k < r->config->nics_count; k++)
			nic_forget(&r->nic[k]);
		/* Of those that had to be killed. */
		for (unsigned k = 0; !r->leave && k < r->config->nics_count; k++)
			if (*r->nic[k].socket)
				unix_remove_stale(r->nic[k].socket, SOCK_STREAM);
	}
	if (!r->starting)
		running_stop(r, !r->leave);
	adopt_free(r);
	api_close(r);
	metrics_close(r, r->leave);
	census_close(r);
	audit_close(r);
	kernel_close(r);
	runtime_close(&r->held, r->runtime, !r->leave);
	events_close(r);
	if (r->signals >= 0) {
		loop_unwatch(&r->loop, &r->signals_watch);
		close(r->signals);
	}
	table_free(r->table);
	free(r->nic);
	free(r->unit);
	loop_close(&r->loop);
	config_free(r->config);
	r->config = NULL;
	r->nic = NULL;
	r->unit = NULL;
	r->table = NULL;
}
