/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may be the peer of a memif port: newcomers, users, secrets, memory, and the options for
 * them. */
#include "ipc/unix_address.h"
#include "tests/unit/memif_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct memif_port *service_meanwhile; /* while a child acts */

static void test_newcomers(void **state)
{
	struct end server, client;
	struct hostile h;
	int idle[20];

	for (unsigned kind = 0; kind < 3; kind++) {
		const unsigned n = kind == 0 ? 6 : 20;

		end_open(&server, "role=server");
		unsigned fds = count_fds();
		for (unsigned i = 0; i < n; i++) {
			idle[i] = dial();
			/* Kind 2: they do say something, of no use. */
			if (kind == 2)
				send(idle[i], "?", 1, MSG_NOSIGNAL);
			memif_port_ops.service(server.port);
		}
		end_open(&client, "rsize=4");
		for (unsigned i = 0; i < 40 && !client.port->link.connected; i++) {
			memif_port_ops.service(client.port);
			memif_port_ops.service(server.port);
			pause_ms(kind == 2 ? 20 : 0);
		}
		assert_true(client.port->link.connected && server.port->link.connected);
		/* Who is connected stays, whoever comes; those get an answer. */
		for (unsigned i = 0; i < n; i++)
			close(idle[i]);
		for (unsigned i = 0; i < 20; i++) {
			int s = dial();
			EXPECT(&server, s, "Already connected");
			close(s);
		}
		pass(&client, &server, 100, 60);
		end_close(&client);
		settle(&server, NULL, false);
		assert_int_equal(count_fds(), fds);
		end_close(&server);
	}

	/* One that has come as far as INIT and stops there holds the next up for the deadline, no
	 * longer. */
	end_open(&server, "role=server");
	hostile_begin(&h, &server);
	end_open(&client, "rsize=4");
	settle(&server, &client, true);
	end_close(&client);
	hostile_end(&h, &server);
	end_close(&server);

	/* Silence is answered after the deadline, though nobody else comes. */
	end_open(&server, "role=server");
	int s = dial();
	EXPECT(&server, s, "");
	struct memif_message message;
	for (unsigned i = 0; i < 4000 && recv(s, &message, sizeof(message), MSG_DONTWAIT) < 0;
		i++) {
		memif_port_ops.service(server.port);
		pause_ms(1);
	}
	assert_int_equal(message.type, MEMIF_DISCONNECT);
	assert_string_equal((char *)message.disconnect.reason, "Handshake took too long");
	close(s);
	/* The one who waits when the server ends is told. */
	s = dial();
	EXPECT(&server, s, "");
	end_close(&server);
	assert_int_equal(recv(s, &message, sizeof(message), MSG_DONTWAIT), sizeof(message));
	assert_string_equal((char *)message.disconnect.reason, "Closed");
	close(s);
}

#define NOBODY 65534

/* Runs `act` as another user in a child; its result is in 0 to 100. */
static int as_nobody(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(101);
		_exit(act());
	}
	for (unsigned i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		assert_true(i < 10000);
		if (service_meanwhile)
			memif_port_ops.service(service_meanwhile);
		pause_ms(1);
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Connects and waits for the server's word. 0: greeted; 1: not admitted; else the path is
 * closed. */
static int act_client(void)
{
	struct sockaddr_un address;
	socklen_t bytes;
	struct memif_message message;
	int s = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	if (unix_address_or_name(&address, &bytes, socket_path))
		return 100;
	if (connect(s, (struct sockaddr *)&address, bytes))
		return errno == EACCES ? 2 : 99;
	if (recv(s, &message, sizeof(message), 0) != sizeof(message))
		return 98;
	if (message.type == MEMIF_HELLO)
		return 0;
	return strcmp((char *)message.disconnect.reason, "User not admitted") ? 97 : 1;
}

/* Listens where the port connects to, and greets. 0: it was told INIT, and the secret; 1:
 * nothing. */
static int act_server(void)
{
	struct unix_listener listener;
	struct memif_message message = {.type = MEMIF_HELLO,
		.hello = {.version_min = MEMIF_VERSION,
			.version_max = MEMIF_VERSION,
			.region_max = 255,
			.log2_ring_max = 14}};

	if (unix_listen(&listener, socket_path, SOCK_SEQPACKET, 0666, 4))
		return 100;
	int s = accept(listener.fd, NULL, NULL);
	send(s, &message, sizeof(message), MSG_NOSIGNAL);
	bool told = recv(s, &message, sizeof(message), 0) == sizeof(message);
	unix_unlisten(&listener);
	return told ? strcmp((char *)message.init.secret, "abc") ? 99 : 0 : 1;
}

static void test_strangers(void **state)
{
	char path[sizeof(socket_path)], own[64];
	const mode_t mask = umask(0);

	if (geteuid() != 0) {
		umask(mask);
		skip(); /* only root can become another user */
	}
	memcpy(path, socket_path, sizeof(path));
	snprintf(own, sizeof(own), "peers=%u", NOBODY);
	const struct {
		const char *peers;
		bool abstract;
		int client, server; /* what act_client and act_server return */
		mode_t mode;
	} cases[] = {
		{"", false, 2, 1, 0600},
		{"", true, 1, 1, 0},
		{"peers=12345", false, 1, 1, 0666},
		{"peers=12345", true, 1, 1, 0},
		{own, false, 0, 0, 0666},
		{own, true, 0, 0, 0},
		{"peers=any", false, 0, 0, 0666},
		{"peers=any", true, 0, 0, 0},
	};
	for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		struct end e;
		struct stat st;
		char options[96];

		umask(i % 2 ? 0 : 0777);
		snprintf(socket_path, sizeof(socket_path), "%s%.60s",
			cases[i / 2].abstract ? "@" : "", path);
		snprintf(options, sizeof(options), "role=server,%s", cases[i / 2].peers);
		end_open(&e, options);
		if (!cases[i / 2].abstract) {
			assert_int_equal(stat(socket_path, &st), 0);
			assert_int_equal(st.st_mode & 07777, cases[i / 2].mode);
		}
		service_meanwhile = e.port;
		assert_int_equal(as_nobody(act_client), cases[i / 2].client);
		assert_true(!cases[i / 2].client == !strstr(e.port->link.reason, "65534") ||
			    cases[i / 2].client == 2);
		end_close(&e);

		snprintf(options, sizeof(options), "secret=abc,%s", cases[i / 2].peers);
		end_open(&e, options);
		service_meanwhile = e.port;
		assert_int_equal(as_nobody(act_server), cases[i / 2].server);
		service_meanwhile = NULL;
		end_close(&e);
	}
	memcpy(socket_path, path, sizeof(path));
	umask(mask);
}

static void test_memory_of_a_peer(void **state)
{
	struct end server;
	struct hostile h;
	struct memif_message m;

	const struct {
		const char *options;
		unsigned regions; /* that are taken, of … */
		uint64_t bytes;
		const char *why;
	} cases[] = {
		{"role=server,map=1", 0, 2ull << 20, "Regions larger than allowed"},
		/* With their guard pages three are more than 3 MiB. */
		{"role=server,map=3", 2, 1ull << 20, "Regions larger than allowed"},
		{"role=server", 0, 1ull << 46, "Regions larger than allowed"},
		{"role=server", 1, 3ull << 30, "Regions larger than allowed"},
		{"role=server,map=8192", 2, 3ull << 30, "Regions larger than allowed"},
		{"role=server", MEMIF_REGIONS_MAX, 4096, "Invalid region index"},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		end_open(&server, cases[i].options);
		hostile_begin(&h, &server);
		int file = memory_file(cases[i].bytes, F_SEAL_SHRINK);
		for (unsigned k = 0; k < cases[i].regions; k++) {
			m = message_region((uint16_t)k, cases[i].bytes);
			message_send(h.s, &m, 128, file);
			EXPECT(&server, h.s, "");
		}
		m = message_region((uint16_t)cases[i].regions, cases[i].bytes);
		message_send(h.s, &m, 128, file);
		EXPECT(&server, h.s, cases[i].why);
		close(file);
		hostile_end(&h, &server);
		end_close(&server);
	}

	/* Friends may shrink theirs. */
	int unsealed = memory_file(HOSTILE_BYTES, F_SEAL_GROW);
	end_open(&server, "role=server,unsealed=yes");
	hostile_begin(&h, &server);
	m = message_region(0, HOSTILE_BYTES);
	message_send(h.s, &m, 128, unsealed);
	EXPECT(&server, h.s, "");
	close(unsealed);
	hostile_end(&h, &server);
	end_close(&server);

	/* Huge pages can be had without one there; a hole in them cannot be filled again. */
	int huge = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
	if (huge >= 0) {
		assert_int_equal(ftruncate(huge, 2 << 20), 0);
		assert_int_equal(fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK), 0);
		end_open(&server, "role=server");
		hostile_begin(&h, &server);
		m = message_region(0, 2 << 20);
		message_send(h.s, &m, 128, huge);
		EXPECT(&server, h.s, "Region of huge pages");
		close(huge);
		hostile_end(&h, &server);
		end_close(&server);
	}
}

static void test_secret(void **state)
{
	struct end server, client;
	char options[128], file[96];
	const struct {
		const char *server, *client;
		bool good;
	} cases[] = {
		{"right", "wrong", false},
		{"right", "righ", false},
		{"right", "rightt", false},
		{"right", "", false},
		{"", "right", true},
		{"right", "right", true},
		{"123456789012345678901234", "123456789012345678901234", true},
		{"123456789012345678901234", "12345678901234567890123", false},
	};
	/* By text to the server; to the client by a file and by a descriptor. */
	snprintf(file, sizeof(file), "%s.secret", socket_path);
	for (unsigned i = 0; i < 3 * sizeof(cases) / sizeof(*cases); i++) {
		const char *said = cases[i / 3].client;
		int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
		    pipes[2] = {-1, -1};
		dprintf(fd, "%s%s", said, i % 2 ? "\n" : "");

		snprintf(options, sizeof(options), "role=server%s%s",
			*cases[i / 3].server ? ",secret=" : "", cases[i / 3].server);
		end_open(&server, options);
		if (!*said) {
			snprintf(options, sizeof(options), "rsize=4");
		} else if (i % 3 == 0) {
			snprintf(options, sizeof(options), "secret-file=%s", file);
		} else if (i % 3 == 1) {
			snprintf(options, sizeof(options), "secret-fd=%d", fd);
		} else {
			assert_int_equal(pipe(pipes), 0);
			dprintf(pipes[1], "%s\n", said);
			snprintf(options, sizeof(options), "secret-fd=%d", pipes[0]);
		}
		end_open(&client, options);
		for (unsigned k = 0; k < 20; k++) {
			memif_port_ops.service(client.port);
			memif_port_ops.service(server.port);
		}
		assert_int_equal(server.port->link.connected, cases[i / 3].good);
		if (!cases[i / 3].good) {
			assert_string_equal(client.port->link.reason, "Incorrect secret");
			assert_int_equal(server.port->link.counters.refused, 1);
		}
		end_close(&client);
		end_close(&server);
		close(fd);
		close(pipes[0]);
		close(pipes[1]);
		unlink(file);
	}

	/* What is behind the end is no part of it: VPP leaves there what lay in its memory. */
	end_open(&server, "role=server,secret=right");
	int s = dial();
	EXPECT(&server, s, "");
	struct memif_message init = message_init;
	memcpy(init.init.secret, "right\0rubbish\0more", 19);
	message_send(s, &init, 128, -1);
	EXPECT(&server, s, "");
	close(s);
	end_close(&server);
}

static void test_options(void **state)
{
	const char *wrong[] = {"role=peer", "rsize=15", "rsize=0", "rsize=x", "rsize=4x", "id=-1x",
		"id=99999999999999999999", "colour=red", "role", "secret",
		"secret=", "secret=1234567890123456789012345", "secret=hidden,colour=hidden",
		"secret-file=", "secret-file=/nowhere/at/all", "secret-file=/dev/null",
		"secret-file=/proc/self/exe", "secret-file=/", "secret-fd=-1", "secret-fd=999",
		"secret-fd=x", "peers=", "peers=me", "peers=-1", "peers=4294967295", "map=0",
		"map=x", "unsealed=perhaps", "id=4294967296"};
	char longest[1100];
	struct memif_port *port = aligned_alloc(64, (sizeof(*port) + 63) & ~63ul);
	struct error error;

	assert_non_null(port);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct port_config config = {.target = socket_path, .options = wrong[i]};
		error.text[0] = 0;
		assert_true(memif_port_ops.open(port, &config, &error) < 0);
		assert_true(strlen(error.text) > 20);
		assert_null(strstr(error.text, "hidden"));
		assert_null(strstr(error.text, "234567890"));
	}
	memset(longest, ',', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	struct port_config too_long = {.target = socket_path, .options = longest};
	assert_int_equal(memif_port_ops.open(port, &too_long, &error), -EINVAL);
	struct port_config empty = {.target = "", .buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
	assert_int_equal(memif_port_ops.open(port, &empty, &error), -EINVAL);
	memset(longest, 'x', 200);
	longest[200] = 0;
	struct port_config no_path = {.target = longest, .buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
	assert_true(memif_port_ops.open(port, &no_path, &error) < 0);
	struct port_config huge = {.target = socket_path, .memory_bytes = 1ull << 32};
	assert_int_equal(memif_port_ops.open(port, &huge, &error), -EINVAL);
	struct memif_link_config link;
	assert_int_equal(memif_link_options(&link, socket_path, "secret=\n", &error), -EINVAL);
	assert_int_equal(memif_link_options(&link, socket_path, ",,rsize=4,", &error), 0);
	struct port_config nowhere = {.target = "/nowhere/at/all",
		.options = "role=server",
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN};
	assert_int_equal(memif_port_ops.open(port, &nowhere, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nowhere/at/all"));
	free(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_newcomers),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_memory_of_a_peer),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_options),
	};
	snprintf(socket_path, sizeof(socket_path), "/tmp/p2pnic-test-memif-access-%d",
		(int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
