/* SPDX-License-Identifier: BSD-3-Clause */
/* `test_inject_port TYPE`: a port opens, receives and closes while calls fail, one after the
 * other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "inject.h"
#include "port_rig.h"
#include "tests/unit/descriptors.h"

#include <ports/af_packet.h>
#include <ports/af_xdp.h>
#include <ports/tap.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static struct rig rig;

/* Receiving is asked for too, since ports take what they need then. */
static int life(void *context)
{
	uint32_t buffers[RIG_BUFFERS];
	const struct port_ops *ops = rig.path;
	struct port_info info;

	(void)context;
	inject_arm();
	int result = ops->open(rig.port, &rig.config, &rig.error);
	inject_disarm();
	if (result)
		return result;
	inject_arm();
	int taken = ops->start(rig.port, rig.buffers, RIG_BUFFERS);
	inject_disarm();
	ops->info(rig.port, &info);
	assert_true(info.mode[0] != '\0');
	if (taken > 0)
		assert_int_equal(ops->stop(rig.port, buffers), taken);
	ops->close(rig.port);
	if (taken <= 0)
		snprintf(rig.error.text, sizeof(rig.error.text), "start");
	return taken < 0 ? taken : taken == 0 ? -ENOBUFS : 0;
}

static void test_life(void **state)
{
	unsigned n = inject_each(life, NULL, &rig.error);

	print_message("%u calls were made to fail\n", n);
	assert_true(n >= 8);
}

/* Every option of the type, those a host without the right to them included. */
static void test_options(void **state)
{
	static const char *const tap[] = {"up=off", "mtu=1400,persist=off,owner=0,group=0"};
	static const char *const packet[] = {"qdisc,receive-buffer=64"};
	static const char *const xdp[] = {"mode=generic,queue=0,checksum=off,batch=off"};
	const char *const *options = rig.path == &tap_port_ops         ? tap
				     : rig.path == &af_packet_port_ops ? packet
								       : xdp;

	for (unsigned k = 0; k < (rig.path == &tap_port_ops ? 2u : 1u); k++) {
		rig.config.options = options[k];
		inject_each(life, NULL, &rig.error);
	}
	rig.config.options = NULL;
}

/* What the kernel refuses is said in words that help; the errno is the kernel's. */
static void test_refusals(void **state)
{
	static const struct {
		const struct port_ops *path;
		const char *call;
		unsigned skip;
		int error;
		const char *says;
		const char *options;
	} cases[] = {
		{&af_packet_port_ops, "socket", 1, EMFILE, "no socket to ask"},
		{&af_packet_port_ops, "bind", 0, ENOMEM, "no socket to ask"},
		{&af_packet_port_ops, "socket", 2, EPERM, "CAP_NET_RAW"},
		{&af_packet_port_ops, "socket", 3, EMFILE, "no packet socket"},
		{&af_packet_port_ops, "setsockopt", 2, ENOPROTOOPT, "4.20 or later"},
		{&af_packet_port_ops, "mmap", 0, ENOMEM, "no receive ring of 4096 KiB"},
		{&af_packet_port_ops, "bind", 1, ENODEV, "cannot bind"},
		{&tap_port_ops, "open64", 0, ENOENT, "modprobe tun"},
		{&tap_port_ops, "open64", 0, EACCES, "/dev/net/tun: Permission denied"},
		{&tap_port_ops, "ioctl", 0, EPERM, "ip tuntap add"},
		{&tap_port_ops, "ioctl", 0, EBUSY, "another process"},
		{&tap_port_ops, "ioctl", 0, EINVAL, "no tap with one queue"},
		{&tap_port_ops, "ioctl", 0, ENFILE, "TUNSETIFF"},
		{&tap_port_ops, "socket", 0, EMFILE, "no socket to ask"},
		{&af_xdp_port_ops, "epoll_create1", 0, EMFILE, "Too many open files"},
		{&af_xdp_port_ops, "epoll_ctl", 0, ENOSPC, "(native: No space left", "mode=native"},
		{&af_xdp_port_ops, "socket", 0, EMFILE, "no socket to ask"},
	};
	unsigned tried = 0;

	for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		if (cases[k].path != rig.path)
			continue;
		int before = open_descriptors();
		rig.config.options = cases[k].options;
		inject_one(cases[k].call, cases[k].skip, cases[k].error);
		int code = rig.path->open(rig.port, &rig.config, &rig.error);
		assert_int_equal(code, -cases[k].error);
		if (!strstr(rig.error.text, cases[k].says))
			fail_msg("%s: not '%s'", rig.error.text, cases[k].says);
		assert_non_null(
			strstr(rig.error.text, cases[k].call[0] == 'o' ? "" : rig.config.target));
		assert_int_equal(open_descriptors(), before);
		tried++;
	}
	rig.config.options = NULL;
	assert_true(tried >= 3);
}

int main(int argc, char **argv)
{
	static const struct port_ops *const paths[] = {
		&af_packet_port_ops, &af_xdp_port_ops, &tap_port_ops};
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_refusals),
	};
	const struct port_ops *path = NULL;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (argc == 2 && !strcmp(argv[1], paths[i]->type))
			path = paths[i];
	if (!path) {
		fprintf(stderr, "usage: %s TYPE\n", argv[0]);
		return 2;
	}
	if (!rig_namespace()) {
		printf("skipped: no network namespace allowed here\n");
		return 77;
	}
	if (!rig_permitted(path))
		return 77;
	rig_memory(&rig, path);
	if (path == &tap_port_ops)
		rig.config.target = "pp-tap";
	else if (rig_veth())
		return 1;
	int failures = cmocka_run_group_tests_name(path->type, tests, NULL, NULL);
	rig_free(&rig);
	return failures;
}
