/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/soft_rig.h"

#include "fib/fib_image.h"

#include <dirent.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define REQUIRE(condition, ...)                                                                    \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);            \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- The NICs' process ------------------------------------------------------------------------ */

static void *control(void *argument)
{
	struct soft_rig *r = argument;

	for (;;) {
		struct pollfd fds[1 + SOFT_NICS_MAX] = {{.fd = r->wake, .events = POLLIN}};

		pthread_mutex_lock(&r->lock);
		for (unsigned k = 0; k < SOFT_NICS_MAX; k++) {
			fds[1 + k].fd = r->soft[k] ? soft_nic_control_fd(r->soft[k]) : -1;
			fds[1 + k].events = POLLIN;
		}
		pthread_mutex_unlock(&r->lock);
		poll(fds, 1 + SOFT_NICS_MAX, -1);
		pthread_mutex_lock(&r->lock);
		if (fds[0].revents) {
			eventfd_t n;

			eventfd_read(r->wake, &n);
		}
		/* The descriptor of one that was freed meanwhile may be another's now: it only
		 * polls. */
		for (unsigned k = 0; k < SOFT_NICS_MAX; k++)
			if (fds[1 + k].revents && r->soft[k])
				soft_nic_control(r->soft[k]);
		bool stop = r->stop;
		pthread_mutex_unlock(&r->lock);
		if (stop)
			return NULL;
	}
}

struct soft_rig *soft_rig_new(unsigned method, unsigned engines)
{
	struct soft_rig *r = calloc(1, sizeof(*r));

	REQUIRE(r, "out of memory");
	snprintf(r->directory, sizeof(r->directory), "/tmp/pf-soft-XXXXXX");
	REQUIRE(mkdtemp(r->directory), "%s", r->directory);
	r->engines = engines;
	for (unsigned k = 0; k < engines; k++) {
		char name[16];
		int error;

		snprintf(name, sizeof(name), "pf%u", k);
		error = engine_new(&r->engine[k], name, -1, true);
		REQUIRE(!error, "engine: %s", strerror(-error));
	}
	r->fabric = (struct fabric){.method = method,
		.buffer_bytes = P2PNIC_BUFFER_BYTES_MIN,
		.ring_slots = 64,
		.batch = 8,
		.rx_buffers = 512};
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&r->lock, NULL);
	pthread_create(&r->control, NULL, control, r);
	return r;
}

static void path_of(const struct soft_rig *r, char path[160], const char *what, unsigned nic)
{
	snprintf(path, 160, "%s/%s%u", r->directory, what, nic);
}

void soft_capture(struct soft_rig *r, unsigned nic, const struct packet *packets, unsigned n)
{
	char path[160];
	pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);
	pcap_dumper_t *d;

	path_of(r, path, "in", nic);
	d = pcap_dump_open(p, path);
	REQUIRE(d, "%s: %s", path, pcap_geterr(p));
	for (unsigned k = 0; k < n; k++) {
		const struct pcap_pkthdr h = {
			.caplen = packets[k].length, .len = packets[k].length};

		pcap_dump((u_char *)d, &h, packets[k].bytes);
	}
	pcap_dump_close(d);
	pcap_close(p);
}

void soft_make(struct soft_rig *r, unsigned nic)
{
	char in[160], out[160], socket[160];
	struct error error;
	struct soft_nic_config config = {.method = r->fabric.method,
		.buffer_bytes = r->fabric.buffer_bytes,
		.port_type = "pcap"};
	int result;

	path_of(r, in, "in", nic);
	path_of(r, out, "out", nic);
	snprintf(r->name[nic], sizeof(r->name[nic]), "pf%u", nic);
	path_of(r, socket, "nic", nic);
	memcpy(r->socket[nic], socket, sizeof(socket));
	snprintf(r->target[nic], sizeof(r->target[nic]), "%.70s,%.70s", access(in, R_OK) ? "" : in,
		out);
	config.name = r->name[nic];
	config.socket = r->socket[nic];
	config.port_target = r->target[nic];
	if (r->memif[nic]) {
		config.port_type = "memif";
		config.port_target = r->memif[nic];
	}
	config.mac = packet_mac(nic);
	pthread_mutex_lock(&r->lock);
	result = soft_nic_new(&r->soft[nic], &config, r->engine[nic % r->engines], &error);
	pthread_mutex_unlock(&r->lock);
	REQUIRE(!result, "%s", error.text);
	eventfd_write(r->wake, 1);
}

void soft_kill(struct soft_rig *r, unsigned nic)
{
	pthread_mutex_lock(&r->lock);
	soft_nic_free(r->soft[nic]);
	r->soft[nic] = NULL;
	pthread_mutex_unlock(&r->lock);
	eventfd_write(r->wake, 1);
}

void soft_rig_free(struct soft_rig *r)
{
	for (unsigned k = 0; k < SOFT_NICS_MAX; k++)
		if (r->driver[k].device)
			driver_nic_detach(&r->driver[k]);
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_mutex_unlock(&r->lock);
	eventfd_write(r->wake, 1);
	pthread_join(r->control, NULL);
	for (unsigned k = 0; k < SOFT_NICS_MAX; k++)
		if (r->soft[k])
			soft_nic_free(r->soft[k]);
	for (unsigned k = 0; k < r->engines; k++)
		engine_free(r->engine[k]);
	close(r->wake);
	pthread_mutex_destroy(&r->lock);
	for (unsigned k = 0; k < SOFT_NICS_MAX; k++) {
		char path[160];

		path_of(r, path, "in", k);
		unlink(path);
		path_of(r, path, "out", k);
		unlink(path);
		unlink(r->socket[k]);
	}
	REQUIRE(rmdir(r->directory) == 0, "%s: something was left behind", r->directory);
	free(r);
}

/* --- The driver ------------------------------------------------------------------------------- */

void soft_tables(struct soft_rig *r, unsigned nic)
{
	struct driver_nic *n = &r->driver[nic];
	struct p2pnic_adjacency *adjacency = (void *)(n->bar2 + P2PNIC_BAR2_ADJACENCIES);
	p2pnic_next_hop *hop = (void *)(n->bar2 + P2PNIC_BAR2_NEXT_HOPS);
	struct fib_config config = {4, P2PNIC_FIB_STATE_JUMP, 4 << 20};
	struct fib_route route[SOFT_NICS_MAX];
	struct error error;
	struct fib *fib = fib_new(&config, &error);
	int result;

	REQUIRE(fib, "%s", error.text);
	for (unsigned e = 0; e < SOFT_NICS_MAX; e++) {
		adjacency[1 + e] = (struct p2pnic_adjacency){.destination = packet_next_mac(e),
			.source = packet_way_mac(nic, e),
			.mtu = (uint16_t)P2PNIC_MTU_MAX(r->fabric.buffer_bytes),
			.kind = P2PNIC_ADJACENCY_FORWARD,
			.egress = (uint8_t)e};
		atomic_store(&hop[1 + e], P2PNIC_NEXT_HOP(1 + e, 0));
		route[e] = fib_route4(PACKET_TO(e) & 0xffff0000, 16, 1 + e);
	}
	result = fib_build(fib, route, SOFT_NICS_MAX, &error);
	REQUIRE(!result, "%s", error.text);
	fib_image_write(fib, n->bar2 + P2PNIC_BAR2_FIB);
	fib_free(fib);
	result = driver_nic_write(n, P2PNIC_REG_FIB4_OFFSET, P2PNIC_BAR2_FIB);
	REQUIRE(!result, "%s", device_error(n->device));
	result = driver_nic_command(n, P2PNIC_OP_FIB_IPV4, 0);
	REQUIRE(!result, "%s", driver_nic_result(result));
}

int soft_join(struct soft_rig *r, unsigned nic, struct error *error)
{
	int result = -EAGAIN;

	for (unsigned tries = 0; result == -EAGAIN && tries < 200; tries++) {
		if (tries)
			usleep(10000);
		result = fabric_add(&r->fabric, &r->driver[nic], error);
		if (!result && fabric_mend(&r->fabric, error))
			result = -EAGAIN;
	}
	return result;
}

void soft_bring_up(struct soft_rig *r, unsigned nic)
{
	char where[176];
	struct error error;
	struct device *device;
	int result;

	snprintf(where, sizeof(where), "vfio-user:%s", r->socket[nic]);
	result = device_open(&device, where, &error);
	REQUIRE(!result, "%s", error.text);
	/* A NIC that has sent to the last moment is reset when its port is done. */
	for (unsigned tries = 0; tries < 200; tries++) {
		result = driver_nic_attach(&r->driver[nic], r->name[nic], nic, device, &error);
		if (result != -EAGAIN)
			break;
		usleep(10000);
	}
	REQUIRE(!result, "%s", error.text);
	result = soft_join(r, nic, &error);
	REQUIRE(!result, "%s", error.text);
	soft_tables(r, nic);
}

void soft_start(struct soft_rig *r, unsigned nic)
{
	int result = driver_nic_command(&r->driver[nic], P2PNIC_OP_START, 0);

	REQUIRE(!result, "%s", driver_nic_result(result));
}

void soft_add(struct soft_rig *r, unsigned nic, bool start)
{
	soft_make(r, nic);
	soft_bring_up(r, nic);
	if (start)
		soft_start(r, nic);
}

/* --- Looking ---------------------------------------------------------------------------------- */

struct pcap *soft_sent_open(struct soft_rig *r, unsigned nic)
{
	char path[160], error[PCAP_ERRBUF_SIZE];
	pcap_t *p;

	path_of(r, path, "out", nic);
	p = pcap_open_offline(path, error);
	REQUIRE(p, "%s", error);
	return p;
}

bool soft_sent(struct pcap *p, struct packet *packet)
{
	struct pcap_pkthdr *h;
	const u_char *bytes;

	if (pcap_next_ex(p, &h, &bytes) != 1)
		return false;
	REQUIRE(h->caplen == h->len && h->len <= sizeof(packet->bytes), "%u bytes", h->len);
	packet->length = h->len;
	memcpy(packet->bytes, bytes, h->len);
	return true;
}

void soft_serve(struct soft_rig *r, int ms)
{
	struct pollfd fds[SOFT_NICS_MAX];

	for (unsigned k = 0; k < SOFT_NICS_MAX; k++)
		fds[k] = (struct pollfd){
			.fd = r->driver[k].device ? device_fd(r->driver[k].device) : -1,
			.events = POLLIN};
	if (poll(fds, SOFT_NICS_MAX, ms) > 0)
		for (unsigned k = 0; k < SOFT_NICS_MAX; k++)
			if (fds[k].revents)
				device_service(r->driver[k].device);
}

bool soft_wait_sent(struct soft_rig *r, unsigned nic, uint64_t packets)
{
	const _Atomic uint64_t *sent = &r->driver[nic].counters->sent.packets;
	uint64_t end = now_ms() + 10000;

	while (driver_nic_count(sent) < packets) {
		if (now_ms() > end) {
			fprintf(stderr, "NIC %u has sent %llu of %llu packets\n", nic,
				(unsigned long long)driver_nic_count(sent),
				(unsigned long long)packets);
			return false;
		}
		soft_serve(r, 1);
	}
	return driver_nic_count(sent) == packets;
}

static bool at_rest(struct soft_rig *r, uint64_t packets)
{
	uint64_t given = 0, taken = 0, held = 0;

	for (unsigned k = 0; k < SOFT_NICS_MAX; k++) {
		const struct p2pnic_counters *c = r->driver[k].counters;

		if (!r->driver[k].device)
			continue;
		if (driver_nic_count(&c->received.packets) < packets)
			return false;
		held += driver_nic_count(&c->held);
		for (unsigned j = 0; j < SOFT_NICS_MAX; j++) {
			given += driver_nic_count(&c->to_ring[j].packets);
			taken += driver_nic_count(&c->from_ring[j].packets);
		}
	}
	return given == taken && held == 0;
}

bool soft_wait_received(struct soft_rig *r, uint64_t packets)
{
	for (uint64_t end = now_ms() + 10000; now_ms() < end;) {
		if (at_rest(r, packets))
			return true;
		soft_serve(r, 1);
	}
	return false;
}

bool soft_accounts_even(struct soft_rig *r)
{
	uint64_t end = now_ms() + 10000;

	for (unsigned k = 0; k < SOFT_NICS_MAX; k++)
		while (r->driver[k].device && driver_nic_unaccounted(&r->driver[k])) {
			if (now_ms() > end) {
				fprintf(stderr, "NIC %u: %lld packets unaccounted for\n", k,
					(long long)driver_nic_unaccounted(&r->driver[k]));
				return false;
			}
			soft_serve(r, 1);
		}
	return true;
}

uint64_t soft_engine_time(const struct soft_rig *r)
{
	DIR *tasks = opendir("/proc/self/task");
	uint64_t sum = 0;

	REQUIRE(tasks, "/proc/self/task");
	for (struct dirent *d; (d = readdir(tasks));) {
		char path[300], text[64] = "";
		unsigned long long ns = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (!fgets(text, sizeof(text), f))
			text[0] = 0;
		fclose(f);
		if (strncmp(text, "engine-", 7))
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", d->d_name);
		f = fopen(path, "r");
		REQUIRE(f && fscanf(f, "%llu", &ns) == 1, "%s", path);
		fclose(f);
		sum += ns;
	}
	closedir(tasks);
	return sum;
}
