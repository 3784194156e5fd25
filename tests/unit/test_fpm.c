/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Acknowledgements of routes, with a zebra of the test's own and NICs that have what the test says:
 * when an answer is sent, when not, that one is enough, and what becomes of a full peer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/descriptors.h"

#include <router/fpm.h>

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OFFLOAD_FAILED 0x20000000u /* RTM_F_OFFLOAD_FAILED */

static const struct netns own = {-1};
static struct loop loop;
static struct fpm *fpm;
static unsigned port;
static int zebra = -1;
static enum fpm_fate all, one;
static unsigned settled, said;

static enum fpm_fate settle(void *context)
{
	settled++;
	return all;
}

static enum fpm_fate fate(void *context, const struct fpm_route *r)
{
	return one;
}

static void say(void *context, const char *text)
{
	said++;
}

static void turn(unsigned ms)
{
	for (unsigned k = 0; k < ms; k++)
		loop_step(&loop, 1);
}

static int connect_there(void)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int begin(void **state)
{
	const struct fpm_source source = {settle, fate, say, NULL};
	struct error error;

	all = one = FPM_OFFLOADED;
	settled = said = 0;
	if (loop_open(&loop))
		return -1;
	for (port = 20000 + (unsigned)getpid() % 20000; port < 65000; port++)
		if (fpm_open(&fpm, &loop, &own, port, &source, &error) != -EADDRINUSE)
			break;
	assert_non_null(fpm);
	zebra = connect_there();
	while (!fpm_connected(fpm))
		loop_step(&loop, 10);
	return 0;
}

static int end(void **state)
{
	if (zebra >= 0)
		close(zebra);
	fpm_close(fpm);
	loop_close(&loop);
	return 0;
}

static size_t put(char *to, uint16_t type, uint32_t prefix, uint8_t protocol)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(to);
	struct rtmsg *fixed = mnl_nlmsg_put_extra_header(m, sizeof(*fixed));

	m->nlmsg_type = type;
	*fixed = (struct rtmsg){.rtm_family = AF_INET,
		.rtm_dst_len = 24,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_type = RTN_UNICAST,
		.rtm_protocol = protocol};
	mnl_attr_put_u32(m, RTA_DST, htonl(prefix));
	return m->nlmsg_len;
}

static void tell(uint16_t type, uint32_t prefix, uint8_t protocol)
{
	_Alignas(8) char message[128];
	const size_t n = put(message, type, prefix, protocol);
	const uint8_t header[4] = {1, 1, (uint8_t)((n + 4) >> 8), (uint8_t)(n + 4)};

	assert_int_equal(send(zebra, header, 4, MSG_MORE), 4);
	assert_int_equal(send(zebra, message, n, 0), n);
}

/* The flags of the next answer, which is for this prefix and protocol. */
static uint32_t answer(uint32_t prefix, uint8_t protocol)
{
	_Alignas(8) uint8_t message[FPM_ANSWER_BYTES] = {0};
	const struct rtmsg *fixed = mnl_nlmsg_get_payload((const void *)message);
	const struct nlattr *a;
	uint8_t header[4];
	size_t n;

	for (unsigned tries = 0; recv(zebra, header, 4, MSG_DONTWAIT) != 4; tries++) {
		assert_true(tries < 5000);
		loop_step(&loop, 10);
	}
	n = (size_t)(header[2] << 8 | header[3]) - 4;
	assert_in_range(n, 40, sizeof(message));
	assert_int_equal(recv(zebra, message, n, MSG_WAITALL), n);
	assert_int_equal(fixed->rtm_protocol, protocol);
	mnl_attr_for_each(a, (const struct nlmsghdr *)message,
		sizeof(*fixed)) if (mnl_attr_get_type(a) == RTA_DST)
		assert_int_equal(mnl_attr_get_u32(a), htonl(prefix));
	return fixed->rtm_flags;
}

static void assert_silent(void)
{
	char byte;

	turn(300);
	assert_int_equal(recv(zebra, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

#define A 0x0a010200u
#define B 0x0a010300u

/* --- Tests ------------------------------------------------------------------------------------ */

static void test_answers(void **state)
{
	tell(RTM_NEWROUTE, A, RTPROT_BGP);
	assert_int_equal(answer(A, RTPROT_BGP), RTM_F_OFFLOAD);
	assert_silent();
	assert_int_equal(fpm_pending(fpm), 0);
	assert_int_equal(fpm_counts(fpm)->acknowledged, 1);
	assert_true(settled > 0);
}

/* Neither before all NICs have it nor before the kernel has; and what was taken back or replaced
 * meanwhile is not answered for, the last one is. */
static void test_waits(void **state)
{
	all = FPM_ABSENT;
	tell(RTM_NEWROUTE, A, RTPROT_OSPF);
	tell(RTM_NEWROUTE, B, RTPROT_BGP);
	assert_silent();
	assert_int_equal(fpm_pending(fpm), 2);
	tell(RTM_DELROUTE, A, RTPROT_OSPF);
	tell(RTM_NEWROUTE, A, RTPROT_BGP);
	tell(RTM_DELROUTE, B, RTPROT_BGP);
	tell(RTM_DELROUTE, B, RTPROT_BGP);
	assert_silent();
	assert_int_equal(fpm_pending(fpm), 1);
	all = FPM_OFFLOADED;
	one = FPM_ABSENT;
	assert_silent();
	one = FPM_OFFLOADED;
	assert_int_equal(answer(A, RTPROT_BGP), RTM_F_OFFLOAD);
	assert_silent();
	assert_int_equal(fpm_counts(fpm)->acknowledged, 1);
	assert_int_equal(fpm_counts(fpm)->received, 6);
}

/* It failed: said once, and that it succeeded then. */
static void test_fails(void **state)
{
	one = FPM_FAILED;
	tell(RTM_NEWROUTE, A, RTPROT_BGP);
	assert_int_equal(answer(A, RTPROT_BGP), OFFLOAD_FAILED);
	assert_silent();
	one = FPM_OFFLOADED;
	assert_int_equal(answer(A, RTPROT_BGP), RTM_F_OFFLOAD);
	all = FPM_FAILED;
	tell(RTM_NEWROUTE, B, RTPROT_BGP);
	assert_int_equal(answer(B, RTPROT_BGP), OFFLOAD_FAILED);
	assert_silent();
	assert_int_equal(fpm_counts(fpm)->failed, 2);
	tell(RTM_DELROUTE, B, RTPROT_BGP);
	all = FPM_OFFLOADED;
	assert_silent();
	assert_int_equal(fpm_pending(fpm), 0);
}

/* All of many, each once, in pieces that the peer reads when it likes. */
static void test_many(void **state)
{
	enum { ROUTES = 20000, FRAME = 56 };
	static uint8_t stream[1024 * FRAME];
	static bool seen[ROUTES];
	size_t bytes = 0;
	unsigned n = 0;

	all = FPM_ABSENT;
	for (unsigned k = 0; k < ROUTES; k++) {
		tell(RTM_NEWROUTE, k << 8, RTPROT_BGP);
		if (k % 8 == 0)
			loop_step(&loop, 0);
	}
	while (fpm_counts(fpm)->received < ROUTES)
		loop_step(&loop, 10);
	assert_int_equal(fpm_pending(fpm), ROUTES);
	all = FPM_OFFLOADED;
	turn(500);
	assert_true(fpm_pending(fpm) > ROUTES / 2); /* the rest waits for the peer */
	/* Reads all that is there. If part of a frame stayed in the socket, its window could stay
	 * shut (RFC 9293, 3.8.6.2.2), and the sender would probe it less and less often. */
	while (n < ROUTES) {
		const ssize_t more =
			recv(zebra, stream + bytes, sizeof(stream) - bytes, MSG_DONTWAIT);
		size_t at = 0;

		if (more <= 0) {
			loop_step(&loop, 10);
			continue;
		}
		for (bytes += (size_t)more; bytes - at >= FRAME; at += FRAME, n++) {
			const uint8_t *frame = stream + at;
			struct rtmsg fixed;
			uint32_t prefix;

			memcpy(&fixed, frame + 20, sizeof(fixed));
			assert_int_equal(fixed.rtm_dst_len, 24);
			memcpy(&prefix, frame + 36, 4);
			prefix = ntohl(prefix) >> 8;
			assert_true(prefix < ROUTES && !seen[prefix]);
			seen[prefix] = true;
		}
		bytes -= at;
		memmove(stream, stream + at, bytes);
	}
	assert_int_equal(bytes, 0);
	assert_silent();
	assert_int_equal(fpm_counts(fpm)->dropped, 0);
	assert_int_equal(fpm_pending(fpm), 0);
}

/* What is no such stream ends the connection, and with it what was pending; the next is served. */
static void test_broken(void **state)
{
	const int before = open_descriptors();

	all = FPM_ABSENT;
	tell(RTM_NEWROUTE, A, RTPROT_BGP);
	turn(20);
	assert_int_equal(fpm_pending(fpm), 1);
	assert_int_equal(send(zebra, "SSH-2.0", 7, 0), 7);
	while (fpm_connected(fpm))
		loop_step(&loop, 10);
	assert_int_equal(fpm_pending(fpm), 0);
	assert_int_equal(fpm_counts(fpm)->broken, 1);
	assert_int_equal(said, 1);
	assert_int_equal(open_descriptors(), before - 1);
	close(zebra);
	zebra = connect_there();
	all = FPM_OFFLOADED;
	tell(RTM_NEWROUTE, B, RTPROT_BGP);
	assert_int_equal(answer(B, RTPROT_BGP), RTM_F_OFFLOAD);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {TEST(test_answers), TEST(test_waits), TEST(test_fails),
		TEST(test_many), TEST(test_broken)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
