/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reader's order of work, with sockets whose other end is the test: what it asks when, and what
 * it does about dumps that are interrupted or fail and about messages that are lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/descriptors.h"

#include <router/kernel_reader.h>

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int __wrap_socket(int domain, int type, int protocol);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t bytes);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t bytes);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);

#define SOCKETS 128u

/* The test's ends, in the order in which the reader opened its own. */
static struct {
	int fd, reader_fd;
	bool subscribed;
} end_of[SOCKETS];
static unsigned sockets;
static int lost_fd = -1, fail_socket; /* errno of the next one */
static bool no_force;

static const struct netns own = {-1};
static struct loop loop;
static struct kernel_reader reader;
static unsigned calls, said;
static char last_said[256];

int __wrap_socket(int domain, int type, int protocol)
{
	int pair[2];

	assert_int_equal(domain, AF_NETLINK);
	assert_true(type & SOCK_NONBLOCK);
	if (fail_socket) {
		errno = fail_socket;
		fail_socket = 0;
		return -1;
	}
	assert_true(sockets < SOCKETS);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	end_of[sockets].fd = pair[0];
	end_of[sockets].reader_fd = pair[1];
	end_of[sockets++].subscribed = false;
	return pair[1];
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t bytes)
{
	if (level == SOL_NETLINK && name == NETLINK_ADD_MEMBERSHIP)
		end_of[sockets - 1].subscribed = true;
	if (name == SO_RCVBUFFORCE && no_force) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	if (fd == lost_fd) {
		lost_fd = -1;
		errno = ENOBUFS;
		return -1;
	}
	return __real_recvmsg(fd, message, flags);
}

/* --- The kernel's side ------------------------------------------------------------------------ */

static void on_changed(void *context)
{
	calls++;
}

static void on_say(void *context, const char *text)
{
	said++;
	strncpy(last_said, text, sizeof(last_said) - 1);
}

/* The newest socket of that sort. */
static unsigned newest(bool subscribed)
{
	for (unsigned k = sockets; k--;)
		if (end_of[k].subscribed == subscribed)
			return k;
	fail_msg("no such socket");
	return 0;
}

/* Steps until the reader asks on a socket that was not there before. */
static struct nlmsghdr asked(unsigned *seen)
{
	char request[256];

	for (unsigned tries = 0; tries < 1000; tries++) {
		for (; *seen < sockets; ++*seen)
			if (!end_of[*seen].subscribed) {
				struct nlmsghdr header;

				assert_true(recv(end_of[*seen].fd, request, sizeof(request), 0) >=
					    (ssize_t)sizeof(header));
				memcpy(&header, request, sizeof(header));
				++*seen;
				return header;
			}
		loop_step(&loop, 100);
	}
	fail_msg("the reader asks for nothing");
	return (struct nlmsghdr){0};
}

static void settle(void)
{
	for (unsigned k = 0; k < 20; k++)
		loop_step(&loop, 0);
}

static void say_link(int fd, uint32_t sequence, uint16_t type, int ifindex, uint16_t flags)
{
	char buffer[256];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(m, sizeof(*link));

	m->nlmsg_type = type;
	m->nlmsg_seq = sequence;
	m->nlmsg_flags = flags;
	link->ifi_index = ifindex;
	link->ifi_flags = IFF_UP | IFF_RUNNING;
	mnl_attr_put_strz(m, IFLA_IFNAME, "port");
	assert_int_equal(send(fd, m, m->nlmsg_len, 0), m->nlmsg_len);
}

static void done(int fd, uint32_t sequence, int error, uint16_t flags)
{
	char buffer[64];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = NLMSG_DONE;
	m->nlmsg_seq = sequence;
	m->nlmsg_flags = flags;
	memcpy(mnl_nlmsg_put_extra_header(m, sizeof(error)), &error, sizeof(error));
	assert_int_equal(send(fd, m, m->nlmsg_len, 0), m->nlmsg_len);
}

static unsigned seen;

/* Answers all dumps from `header` on, those of links with the links there are. */
static void answer_all(struct nlmsghdr header, int first, int last)
{
	for (unsigned k = 0;; k++) {
		const int fd = end_of[seen - 1].fd;

		if (header.nlmsg_type == RTM_GETLINK)
			for (int ifindex = first; ifindex <= last; ifindex++)
				say_link(fd, header.nlmsg_seq, RTM_NEWLINK, ifindex, 0);
		done(fd, header.nlmsg_seq, 0, 0);
		settle();
		if (reader.complete)
			return;
		assert_true(k < 20);
		header = asked(&seen);
	}
}

static bool has_link(uint32_t ifindex)
{
	const struct kernel_key key = {.kind = KERNEL_LINK, .id = ifindex};

	return kernel_state_find(reader.state, &key, 0);
}

static int begin(void **state)
{
	struct error error;

	sockets = seen = calls = said = 0;
	lost_fd = -1;
	fail_socket = 0;
	no_force = false;
	if (loop_open(&loop))
		return -1;
	return kernel_reader_start(&reader, &loop, &own, on_changed, on_say, NULL, &error);
}

static int end(void **state)
{
	kernel_reader_stop(&reader);
	loop_close(&loop);
	for (unsigned k = 0; k < sockets; k++)
		close(end_of[k].fd);
	return 0;
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void test_order(void **state)
{
	static const uint16_t types[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETADDR, RTM_GETNEXTHOP,
		RTM_GETNEIGH, RTM_GETNEIGH, RTM_GETROUTE, RTM_GETROUTE};

	assert_true(end_of[0].subscribed); /* before the first dump */
	for (size_t k = 0; k < sizeof(types) / sizeof(*types); k++) {
		const struct nlmsghdr header = asked(&seen);

		assert_int_equal(header.nlmsg_type, types[k]);
		assert_true(header.nlmsg_flags & NLM_F_DUMP);
		assert_false(reader.complete);
		if (!k)
			say_link(end_of[seen - 1].fd, header.nlmsg_seq, RTM_NEWLINK, 1, 0);
		done(end_of[seen - 1].fd, header.nlmsg_seq, 0, 0);
		settle();
	}
	assert_true(reader.complete);
	assert_true(calls > 0);
	assert_int_equal(reader.rounds, 1);
	assert_true(has_link(1));
	say_link(end_of[0].fd, 0, RTM_NEWLINK, 2, 0);
	settle();
	assert_true(has_link(2));
	assert_int_equal(said, 0);
}

/* An interrupted dump is dumped again, a failed one too, and neither sweeps. */
static void test_interrupted(void **state)
{
	struct nlmsghdr header = asked(&seen);

	answer_all(header, 1, 2);
	kernel_reader_again(&reader, 0);
	header = asked(&seen);
	assert_int_equal(header.nlmsg_type, RTM_GETLINK);
	say_link(end_of[seen - 1].fd, header.nlmsg_seq, RTM_NEWLINK, 1, NLM_F_DUMP_INTR);
	done(end_of[seen - 1].fd, header.nlmsg_seq, 0, 0);
	header = asked(&seen);
	assert_int_equal(header.nlmsg_type, RTM_GETLINK);
	assert_int_equal(reader.interrupted, 1);
	done(end_of[seen - 1].fd, header.nlmsg_seq, -EBUSY, 0);
	header = asked(&seen);
	assert_int_equal(header.nlmsg_type, RTM_GETLINK);
	assert_int_equal(reader.failed, 1);
	assert_int_equal(said, 1);
	assert_string_equal(last_said, "the kernel's links: Device or resource busy; trying again");
	assert_int_equal(reader.rounds, 1);
	assert_true(has_link(2));
	/* What the first try showed was there: an event would have said its end. Link 2 was missed
	 * only now. */
	say_link(
		end_of[seen - 1].fd, header.nlmsg_seq + 7, RTM_NEWLINK, 2, 0); /* not of this one */
	done(end_of[seen - 1].fd, header.nlmsg_seq, 0, 0);
	while (reader.rounds == 1) {
		header = asked(&seen);
		done(end_of[seen - 1].fd, header.nlmsg_seq, 0, 0);
		settle();
	}
	assert_true(has_link(1));
	assert_false(has_link(2));
}

/* Messages are lost: subscribed anew, dumped anew, and only then swept; events since are newer. */
static void test_overrun(void **state)
{
	unsigned first, calls_before;

	answer_all(asked(&seen), 1, 3);
	first = newest(true);
	calls_before = calls;
	say_link(end_of[first].fd, 0, RTM_NEWLINK, 4, 0); /* makes it read */
	lost_fd = end_of[first].reader_fd;
	while (newest(true) == first)
		loop_step(&loop, 100);
	assert_int_equal(reader.overruns, 1);
	assert_false(reader.complete);
	assert_true(has_link(3));
	say_link(end_of[newest(true)].fd, 0, RTM_NEWLINK, 5, 0);
	say_link(end_of[newest(true)].fd, 0, RTM_DELLINK, 1, 0);
	settle();
	answer_all(asked(&seen), 1, 2);
	assert_false(has_link(1)); /* the dump was older */
	assert_true(has_link(2));
	assert_false(has_link(3));
	assert_true(has_link(5));
	assert_true(calls > calls_before);
	assert_int_equal(reader.rounds, 2);
}

/* It is lost again while the dumps run, and the next socket cannot be had at first. */
static void test_overrun_again(void **state)
{
	const unsigned first = newest(true);
	struct nlmsghdr header;

	asked(&seen);
	say_link(end_of[first].fd, 0, RTM_NEWLINK, 4, 0);
	lost_fd = end_of[first].reader_fd;
	fail_socket = EMFILE;
	while (newest(true) == first)
		loop_step(&loop, 100);
	assert_int_equal(reader.failed, 1);
	header = asked(&seen);
	assert_int_equal(header.nlmsg_type, RTM_GETLINK);
	answer_all(header, 1, 1);
	assert_int_equal(reader.rounds, 1);
	assert_int_equal(reader.overruns, 1);
}

/* What goes without a message is evicted, and looked for again. */
static void test_again(void **state)
{
	answer_all(asked(&seen), 1, 1);
	assert_null(reader.again.fired);
	for (unsigned k = 0; k < 2; k++) {
		char buffer[256];
		struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
		struct rtmsg *route = mnl_nlmsg_put_extra_header(m, sizeof(*route));

		m->nlmsg_type = k ? RTM_NEWLINK : RTM_NEWROUTE;
		if (k) {
			say_link(end_of[0].fd, 0, RTM_DELLINK, 1, 0);
			continue;
		}
		route->rtm_family = AF_INET;
		route->rtm_type = RTN_UNICAST;
		route->rtm_table = RT_TABLE_MAIN;
		mnl_attr_put_u32(m, RTA_OIF, 1);
		assert_int_equal(send(end_of[0].fd, m, m->nlmsg_len, 0), m->nlmsg_len);
	}
	settle();
	assert_int_equal(kernel_state_count(reader.state, KERNEL_ROUTE), 0);
	assert_int_equal(kernel_state_counters(reader.state)->evicted, 1);
	assert_non_null(reader.again.fired);
}

static int looked; /* 1: ended; -1: not */

static void on_looked(void *context, bool ended)
{
	looked = ended ? 1 : -1;
}

/* Answers the dumps of a look with these links; an event about `event` comes in between. */
static void answer_look(struct kernel_look *look, int first, int last, int event)
{
	const unsigned events = newest(true);

	looked = 0;
	assert_int_equal(kernel_reader_look(&reader, look, on_looked, NULL), 0);
	assert_int_equal(kernel_reader_look(&reader, look, on_looked, NULL), -EAGAIN);
	for (bool more = true; more;) {
		const struct nlmsghdr header = asked(&seen);
		const int fd = end_of[seen - 1].fd;

		if (header.nlmsg_type == RTM_GETLINK)
			for (int ifindex = first; ifindex <= last; ifindex++)
				say_link(fd, header.nlmsg_seq, RTM_NEWLINK, ifindex, 0);
		done(fd, header.nlmsg_seq, 0, 0);
		if (header.nlmsg_type == RTM_GETROUTE && event)
			say_link(end_of[events].fd, 0, RTM_NEWLINK, event, 0);
		settle();
		more = reader.look && !reader.pause.fired;
	}
	while (!looked)
		loop_step(&loop, 100);
	assert_int_equal(looked, 1);
	while (kernel_look_step(look))
		;
	assert_false(look->overtaken);
}

/* What messages missed is found, by two looks, and a round mends it; an event under way is none. */
static void test_look(void **state)
{
	struct kernel_look look;

	answer_all(asked(&seen), 1, 3);
	assert_int_equal(kernel_look_open(&look, reader.state), 0);
	answer_look(&look, 1, 3, 0);
	assert_int_equal(look.n, 0);
	answer_look(&look, 1, 4, 4); /* the dump is newer than what was read of events */
	assert_int_equal(look.n, 0);
	answer_look(&look, 2, 5, 0);
	assert_int_equal(look.n, 2); /* 1 is gone, 5 is new */
	assert_true(has_link(1));
	assert_false(has_link(5));
	answer_look(&look, 1, 5, 0); /* 1 was under way */
	assert_int_equal(kernel_look_drifted(&look), 1);
	assert_int_equal(look.found[0].id, 5);
	assert_int_equal(look.found[0].kind, KERNEL_LINK);
	assert_false(has_link(5));
	kernel_reader_again(&reader, 0);
	reader.complete = false;
	answer_all(asked(&seen), 1, 5);
	assert_true(has_link(5));
	kernel_look_close(&look);
}

/* A look ends when messages are lost or its dump fails, and what follows is as ever; so it is when
 * it is cancelled, or when a round overtakes its steps. */
static void test_look_fails(void **state)
{
	struct kernel_look look;
	struct nlmsghdr header;
	unsigned first;

	assert_int_equal(kernel_look_open(&look, reader.state), 0);
	assert_int_equal(kernel_reader_look(&reader, &look, on_looked, NULL), -EAGAIN);
	answer_all(asked(&seen), 1, 1);
	looked = 0;
	assert_int_equal(kernel_reader_look(&reader, &look, on_looked, NULL), 0);
	header = asked(&seen);
	done(end_of[seen - 1].fd, header.nlmsg_seq, -EBUSY, 0);
	settle();
	assert_int_equal(looked, -1);

	assert_int_equal(kernel_reader_look(&reader, &look, on_looked, NULL), 0);
	asked(&seen);
	kernel_reader_look_cancel(&reader);
	answer_look(&look, 1, 1, 0);

	looked = 0;
	assert_int_equal(kernel_reader_look(&reader, &look, on_looked, NULL), 0);
	asked(&seen);
	first = newest(true);
	say_link(end_of[first].fd, 0, RTM_NEWLINK, 4, 0);
	lost_fd = end_of[first].reader_fd;
	while (newest(true) == first)
		loop_step(&loop, 100);
	assert_int_equal(looked, -1);
	kernel_look_step(&look);
	assert_true(look.overtaken);
	answer_all(asked(&seen), 1, 2);
	assert_true(has_link(2));
	assert_false(has_link(4));
	kernel_look_close(&look);
}

/* A dump that is interrupted again and again: the look gives up. */
static void test_look_interrupted(void **state)
{
	struct kernel_look look;

	answer_all(asked(&seen), 1, 1);
	assert_int_equal(kernel_look_open(&look, reader.state), 0);
	looked = 0;
	assert_int_equal(kernel_reader_look(&reader, &look, on_looked, NULL), 0);
	for (unsigned k = 0; k <= KERNEL_LOOK_TRIES; k++) {
		const struct nlmsghdr header = asked(&seen);

		assert_int_equal(looked, 0);
		assert_int_equal(header.nlmsg_type, RTM_GETLINK);
		done(end_of[seen - 1].fd, header.nlmsg_seq, 0, NLM_F_DUMP_INTR);
		settle();
	}
	assert_int_equal(looked, -1);
	kernel_look_close(&look);
}

static void test_start_fails(void **state)
{
	struct kernel_reader other;
	struct error error;
	int before;

	before = open_descriptors();
	fail_socket = EPROTONOSUPPORT;
	assert_int_equal(kernel_reader_start(&other, &loop, &own, on_changed, on_say, NULL, &error),
		-EPROTONOSUPPORT);
	assert_string_equal(error.text,
		"subscription to the kernel's routes (rtnetlink): Protocol not supported");
	kernel_reader_stop(&other);
	assert_int_equal(open_descriptors(), before);
	no_force = true;
	assert_int_equal(
		kernel_reader_start(&other, &loop, &own, on_changed, on_say, NULL, &error), 0);
	assert_int_equal(said, 1);
	assert_non_null(strstr(last_said, "CAP_NET_ADMIN"));
	kernel_reader_stop(&other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {TEST(test_order), TEST(test_interrupted),
		TEST(test_overrun), TEST(test_overrun_again), TEST(test_again), TEST(test_look),
		TEST(test_look_fails), TEST(test_look_interrupted), TEST(test_start_fails)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
