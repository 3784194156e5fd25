/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a router is made of while calls fail, one after the other: its configuration, the runtime
 * directory, tables, the loop, processes. Each time a clean error, or success; nothing is left, and
 * what was there before is as it was.
 *
 * Run as "p2pnic nic SOCKET" it is a NIC's process to the code under test: it listens there until
 * it is ended.
 */
#include "inject.h"
#include "ipc/unix_address.h"
#include "router/loop.h"
#include "router/process.h"
#include "router/runtime.h"
#include "table_rig.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka wants those first. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yaml.h>

#define PATIENCE_MS 10000
#define NICS        1u
/* As little as holds the tables: in each round they are made anew. */
#define BAR2_BYTES  0x400000u
#define BAR2_LARGER 0x500000u /* state-jump */

static char place[] = "/tmp/p2pnic-inject-router-XXXXXX";
static struct error error; /* for all */

static const char *in_place(const char *name)
{
	static char path[4][300];
	static unsigned next;
	char *to = path[next++ % 4];

	snprintf(to, sizeof(path[0]), "%s/%s", place, name);
	return to;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* --- Calls that fail besides those of inject.c ------------------------------------------------ */

#define WRAP(type, name, error, failure, parameters, arguments)                                    \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return inject_fails(#name, error) ? failure : __real_##name arguments;             \
	}

WRAP(int, mkdirat, ENOSPC, -1, (int at, const char *path, mode_t mode), (at, path, mode))
WRAP(ssize_t, readlinkat, ENOMEM, -1, (int at, const char *path, char *to, size_t room),
	(at, path, to, room))
WRAP(int, flock, ENOLCK, -1, (int fd, int operation), (fd, operation))
WRAP(char *, getcwd, ENOMEM, NULL, (char *to, size_t room), (to, room))
WRAP(int, fstatat64, ENOMEM, -1, (int at, const char *path, struct stat *is, int flags),
	(at, path, is, flags))
WRAP(int, openat64, EMFILE, -1, (int at, const char *path, int flags, mode_t mode),
	(at, path, flags, mode))
WRAP(long, syscall, EMFILE, -1, (long number, long a, long b, long c, long d, long e, long f),
	(number, a, b, c, d, e, f))
WRAP(int, yaml_parser_initialize, ENOMEM, 0, (yaml_parser_t * parser), (parser))

/* In the child none fails: what a coverage build does at exec is not under test. */
pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	pid_t pid = inject_fails("fork", EAGAIN) ? -1 : __real_fork();

	if (pid == 0)
		inject_disarm();
	return pid;
}

/* --- Configuration ---------------------------------------------------------------------------- */

static const char config_text[] =
	"router: {method: rd}\n"
	"engines:\n"
	"  - {name: e, shared: true}\n"
	"  - {name: f, process: p}\n"
	"nics:\n"
	"  - {name: a, engine: e, port: {type: pcap, target: \"x,y\"}, addresses: [10.0.1.1/24]}\n"
	"  - {name: b, port: {type: tap, target: t0}, addresses: [\"fd00::1/64\"]}\n"
	"routes:\n"
	"  - {prefix: 198.18.0.0/15, next_hops: [{via: 10.0.1.2}, {via: 10.0.1.3, weight: 2}]}\n"
	"  - {prefix: 203.0.113.0/24, action: blackhole}\n"
	"route_files:\n"
	"  - {file: routes.txt, via: [10.0.1.2]}\n";

static int loads(void *context)
{
	struct config *config;

	inject_arm();
	int result = config_load(&config, in_place("router.yaml"), &error);
	inject_disarm();
	if (result) {
		assert_non_null(strstr(error.text, "router.yaml"));
		return result;
	}
	/* What is absent has its value. */
	assert_string_equal(config->router->name, "p2pnic");
	assert_string_equal(config->engines[0].process, "e");
	assert_true(*config->engines[0].shared);
	assert_string_equal(config->engines[1].process, "p");
	assert_false(*config->engines[1].shared);
	assert_string_equal(config->nics[1].engine, "b");
	assert_int_equal(*config->nics[0].mtu, 1500);
	assert_int_equal(*config->routes[0].next_hops[0].weight, 1);
	assert_int_equal(*config->routes[0].next_hops[1].weight, 2);
	config_free(config);
	return 0;
}

static void test_config(void **state)
{
	write_file(in_place("router.yaml"), config_text);
	write_file(in_place("routes.txt"), "198.51.100.0/24 64500\n");
	assert_true(inject_each(loads, NULL, &error) > 40);
}

/* A mistake is told, or why the file could not be read so far. */
static int loads_a_mistake(void *context)
{
	struct config *config;

	inject_arm();
	int result = config_load(&config, in_place("mistaken.yaml"), &error);
	inject_disarm();
	assert_int_not_equal(result, 0);
	return strstr(error.text, context) ? 0 : result;
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *word;
	} mistakes[] = {
		{"nics: [{name: a, mtu: 3, port: {type: tap, target: t}}]\n", "mtu 3"},
		{"colour: blue\nnics: [{name: a, port: {type: tap, target: t}}]\n", "colour"},
		{"nics:\n\t- x\n", "YAML: "},
	};

	for (unsigned k = 0; k < sizeof(mistakes) / sizeof(*mistakes); k++) {
		write_file(in_place("mistaken.yaml"), mistakes[k].text);
		assert_true(inject_each(loads_a_mistake, (void *)mistakes[k].word, &error) > 2);
	}
}

/* --- Runtime directory ------------------------------------------------------------------------ */

static int opens_runtime(void *context)
{
	struct runtime r;

	inject_arm();
	int result = runtime_open(&r, context, &error);
	inject_disarm();
	if (result == 0) {
		assert_int_equal(access(in_place("real/run/lock"), F_OK), 0);
		runtime_close(&r, context, true);
	}
	assert_int_equal(r.lock, -1);
	unlink(in_place("real/run/lock"));
	rmdir(in_place("real/run"));
	return result;
}

static void test_runtime(void **state)
{
	char here[4096];

	assert_int_equal(mkdir(in_place("real"), 0700), 0);
	assert_int_equal(symlink(in_place("real"), in_place("link")), 0);
	assert_true(inject_each(opens_runtime, (void *)in_place("link/run"), &error) > 20);
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(place), 0);
	assert_true(inject_each(opens_runtime, (void *)(uintptr_t) "real/run", &error) > 20);
	assert_int_equal(chdir(here), 0);
	unlink(in_place("link"));
	rmdir(in_place("real"));
}

/* --- Tables ----------------------------------------------------------------------------------- */

static struct fake_nic nic[NICS];
static struct world before, after;

/* A change of a table in force; the kind: another one is a table made anew. */
static int configures(void *context)
{
	const uint32_t bytes = context ? BAR2_LARGER : BAR2_BYTES;
	const struct table_nics none = {.n = 0};
	struct table_nics nics = {.n = 0};
	struct table_report report;
	struct table *t = NULL, *old;
	uint32_t in_force[NICS];

	inject_arm();
	int result = table_new(&t, bytes, P2PNIC_FIB_LINE_TRIE, 0);
	inject_disarm();
	error_set(&error, -ENOMEM, "a new table");
	if (result)
		return result;
	assert_int_equal(
		table_configure(&t, &before.config, before.mac, false, &none, &report, &error), 0);
	for (unsigned k = 0; k < NICS; k++) {
		fake_open(&nic[k], k, bytes);
		nics.nic[nics.n++] = &nic[k].driver;
		assert_int_equal(table_load(t, &nic[k].driver, &error), 0);
		in_force[k] = nic[k].in_force[0];
	}
	const size_t routes = table_routes(t)->n;
	error.text[0] = 0;
	old = t;
	after.router.table = context;
	inject_arm();
	result = table_configure(&t, &after.config, after.mac, true, &nics, &report, &error);
	inject_disarm();
	for (unsigned k = 0; result && k < NICS; k++)
		assert_int_equal(nic[k].in_force[0], in_force[k]);
	if (result) {
		/* The old one, and it can be changed still. */
		assert_ptr_equal(t, old);
		assert_int_equal(table_routes(t)->n, routes);
		struct error again;

		if (table_configure(&t, &after.config, after.mac, true, &nics, &report, &again))
			fail_msg("%s failed, and then: %s", inject_failed(), again.text);
		assert_int_equal(report.failed, 0);
	}
	/* A NIC that was not reached is loaded later. */
	for (unsigned k = 0; k < NICS; k++) {
		if (!table_in_step(t, &nic[k].driver))
			assert_int_equal(table_load(t, &nic[k].driver, &(struct error){0}), 0);
		fake_close(&nic[k]);
	}
	table_free(t);
	return result;
}

static void test_tables(void **state)
{
	world_new(&before, 7);
	world_new(&after, 7);
	world_change(&after, 100);
	/* A few of each, in a short time. */
	before.config.routes_count = before.config.neighbors_count = 6;
	after.config.routes_count = after.config.neighbors_count = 9;
	assert_true(inject_each(configures, NULL, &error) > 8);
	assert_true(inject_each(configures, (void *)(uintptr_t) "state-jump", &error) > 8);
}

static struct config *filed;

static int loads_into_nic(void *context)
{
	const struct table_nics none = {.n = 0};
	const struct mac_addr mac[2] = {{{2}}};
	struct table_report report;
	struct table *t;

	assert_int_equal(table_new(&t, BAR2_BYTES, P2PNIC_FIB_LINE_TRIE, 0), 0);
	inject_arm();
	int result = table_configure(&t, filed, mac, false, &none, &report, &error);
	inject_disarm();
	if (!result) {
		/* It forwards by that very half: loaded by way of the other one, made for that
		 * alone. */
		fake_open(&nic[0], 0, BAR2_BYTES);
		assert_int_equal(table_load(t, &nic[0].driver, &error), 0);
		inject_arm();
		result = table_load(t, &nic[0].driver, &error);
		inject_disarm();
		assert_int_equal(table_in_step(t, &nic[0].driver), result == 0);
		fake_close(&nic[0]);
	}
	table_free(t);
	return result;
}

/* With routes of a file, whose every mistake has a line. */
static void test_route_file(void **state)
{
	write_file(in_place("router.yaml"), config_text);
	write_file(in_place("routes.txt"), "198.51.100.0/24 64500\n198.51.101.0/24 10.0.1.9\n");
	assert_int_equal(config_load(&filed, in_place("router.yaml"), &error), 0);
	assert_true(inject_each(loads_into_nic, NULL, &error) > 8);
	config_free(filed);
}

/* --- Loop ------------------------------------------------------------------------------------- */

static void nothing(void *context, uint32_t events)
{
}

static int loops(void *context)
{
	struct loop_watch watch = {0};
	struct loop loop;
	int fd = eventfd(1, EFD_CLOEXEC);

	inject_arm();
	int result = loop_open(&loop);
	if (!result)
		result = loop_watch(&loop, &watch, fd, EPOLLIN, nothing, NULL);
	inject_disarm();
	if (!result)
		loop_step(&loop, 0);
	else
		assert_null(watch.ready);
	loop_unwatch(&loop, &watch);
	loop_close(&loop);
	close(fd);
	return result;
}

static void test_loop(void **state)
{
	assert_int_equal(inject_each(loops, NULL, NULL), 2);
}

/* --- Processes -------------------------------------------------------------------------------- */

static void be_a_nic(const char *path)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (unix_address(&address, path) ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 64))
		exit(3);
	poll(NULL, 0, PATIENCE_MS * 3);
	exit(4);
}

static void await_socket(const char *path)
{
	struct stat is;

	for (unsigned tries = 0; lstat(path, &is) < 0 && tries < PATIENCE_MS / 10; tries++)
		poll(NULL, 0, 10);
	poll(NULL, 0, 20); /* from bind to listen */
}

static void await(const struct process *p)
{
	struct pollfd end = {.fd = p->pidfd, .events = POLLIN};

	assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
}

static int starts(void *context)
{
	const char *const argv[] = {"p2pnic", "nic", in_place("socket"), NULL};
	struct process p;
	char how[64];

	inject_arm();
	int result = process_start(&p, argv, -1, context != NULL);
	inject_disarm();
	if (result) {
		assert_int_equal(p.pid, 0);
		assert_int_equal(p.pidfd, -1);
	} else {
		await_socket(argv[2]);
		assert_false(process_ended(&p, how, sizeof(how)));
		process_signal(&p, SIGTERM);
		await(&p);
		assert_true(process_ended(&p, how, sizeof(how)));
		assert_string_equal(how, "killed by signal 15 (Terminated)");
	}
	/* None is left, nor as a zombie. */
	assert_false(process_ended(&p, how, sizeof(how)));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	unlink(in_place("socket"));
	return result;
}

static void test_start(void **state)
{
	assert_int_equal(inject_each(starts, NULL, NULL), 3);
	assert_int_equal(inject_each(starts, (void *)place, NULL), 3);
}

static int adopts(void *context)
{
	uint64_t started;
	struct process p;

	assert_true(process_started(getpid(), &started));
	inject_arm();
	int result = process_adopt(&p, getpid(), started);
	inject_disarm();
	assert_int_equal(p.pid, result ? 0 : getpid());
	process_forget(&p);
	return result;
}

/* A failure here is no news about the process; another start time is. */
static void test_adopt(void **state)
{
	uint64_t started;
	struct process p;

	assert_int_equal(inject_each(adopts, NULL, NULL), 2);
	assert_true(process_started(getpid(), &started));
	assert_int_equal(process_adopt(&p, getpid(), started + 1), -ESRCH);
	assert_int_equal(p.pidfd, -1);
	pid_t child = fork();

	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	assert_int_equal(process_adopt(&p, child, started), -ESRCH);
	assert_false(process_started(child, &started));
}

static void start_nic(struct process *p, const char *program, const char *path)
{
	const char *const argv[] = {"p2pnic", "nic", path, NULL};

	if (program) {
		p->pid = fork();
		assert_true(p->pid >= 0);
		if (!p->pid) {
			execv(program, (char *const *)argv);
			_exit(9);
		}
		const pid_t pid = p->pid;
		uint64_t started;

		assert_true(process_started(pid, &started));
		assert_int_equal(process_adopt(p, pid, started), 0);
	} else {
		assert_int_equal(process_start(p, argv, -1, false), 0);
	}
	await_socket(path);
}

static struct process evicted;

static int evicts(void *context)
{
	inject_arm();
	bool found = process_evict(in_place("socket"), 0);
	inject_disarm();
	return found ? 0 : -ENOENT;
}

static bool lets_alone(void *context, int result)
{
	char how[64];

	return (result == 0 || result == -ENOENT) && !process_ended(&evicted, how, sizeof(how));
}

/* Only a NIC of this program at that socket is told to end; what is not known to be one is let
 * alone. */
static void test_evict(void **state)
{
	char how[64], program[4096], copy[300], command[5000];
	struct sockaddr_un address;
	const char *path = in_place("socket");

	assert_false(process_evict(path, SIGTERM));
	start_nic(&evicted, NULL, path);
	assert_true(inject_each_expect(evicts, NULL, lets_alone, NULL) >= 6);
	assert_true(process_evict(path, SIGTERM));
	await(&evicted);
	assert_true(process_ended(&evicted, how, sizeof(how)));
	assert_false(process_evict(path, SIGTERM)); /* what is left listens to nobody */
	unlink(path);

	/* One whose file was replaced since it was started. */
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	assert_true(n > 0);
	program[n] = 0;
	snprintf(copy, sizeof(copy), "%s%s", place, strrchr(program, '/'));
	snprintf(command, sizeof(command), "cp '%s' '%s'", program, copy);
	assert_int_equal(system(command), 0);
	start_nic(&evicted, copy, path);
	assert_int_equal(unlink(copy), 0);
	assert_true(process_evict(path, SIGTERM));
	await(&evicted);
	assert_true(process_ended(&evicted, how, sizeof(how)));
	unlink(path);

	/* Another socket's; and this process, which is none. */
	assert_int_equal(unix_address(&address, path), 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_false(process_evict(path, SIGTERM));
	close(fd);
	unlink(path);
	start_nic(&evicted, NULL, path);
	assert_int_equal(rename(path, in_place("elsewhere")), 0);
	assert_false(process_evict(in_place("elsewhere"), SIGTERM));
	unlink(in_place("elsewhere"));
	process_stop(&evicted, PATIENCE_MS);
	memset(copy, 'x', sizeof(copy) - 1);
	copy[sizeof(copy) - 1] = 0;
	assert_false(process_evict(copy, SIGTERM));
}

static int measures(void *context)
{
	inject_arm();
	double used = process_cpu(getpid(), context);
	inject_disarm();
	return used > 0 ? 0 : -EMFILE;
}

static bool any(void *context, int result)
{
	return true;
}

/* A thread that cannot be looked at now counts as none; nothing else comes of it. */
static void test_cpu(void **state)
{
	char name[32] = "";
	FILE *f = fopen("/proc/self/comm", "r");

	assert_non_null(fgets(name, sizeof(name), f));
	fclose(f);
	name[strcspn(name, "\n")] = 0;
	for (volatile unsigned k = 0; process_cpu(getpid(), name) <= 0; k++)
		; /* until a tick was counted */
	assert_true(inject_each_expect(measures, name, any, NULL) >= 2);
	assert_true(process_cpu(getpid(), "no such thread") == 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_runtime),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_route_file),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_evict),
		cmocka_unit_test(test_cpu),
	};

	if (argc == 3 && !strcmp(argv[1], "nic"))
		be_a_nic(argv[2]);
	if (!mkdtemp(place))
		return 1;
	int failures = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(in_place("router.yaml"));
	unlink(in_place("mistaken.yaml"));
	unlink(in_place("routes.txt"));
	return rmdir(place) || failures;
}
