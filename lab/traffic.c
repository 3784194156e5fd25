/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/traffic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PING_COUNT        3u
#define PING_PATIENCE_MS  10000u
#define ICMP_ECHO_HEADER  8u /* RFC 792, RFC 4443 */
#define TCP_SECONDS       "3"
#define UDP_SECONDS       "1"
#define UDP_BITS          "100M" /* a second, each of two streams: a burst, not a flood */
#define UDP_BYTES         "1400"
#define IPERF_PATIENCE_MS 15000u
#define IPERF_PORT_HEX    ":1451 " /* 5201 as /proc/net/tcp prints it */
#define FLOWS             2u

/* --- Pings ------------------------------------------------------------------------------------ */

struct ping {
	struct child child;
	unsigned from, to;
	bool six;
};

/* No fragments: what a link does not carry is not answered. */
static void start_ping(struct ping *p, unsigned mtu)
{
	static const char count[] = {'0' + PING_COUNT, 0};
	char address[40], name[32], payload[12];
	const char *const argv[] = {"ping", "-n", "-c", count, "-i", "0.2", "-W", "2", "-M", "do",
		"-s", payload, address, NULL};

	snprintf(payload, sizeof(payload), "%u", mtu - (p->six ? 40 : 20) - ICMP_ECHO_HEADER);
	lab_network_address(p->to, p->six, address);
	lab_host(p->from, name);
	child_start(&p->child, name, argv, NULL, false);
}

/* An answer of other bytes than were asked is none. */
static unsigned answered(const struct child *c)
{
	char *text = child_output(c);
	const char *at = text ? strstr(text, " packets transmitted, ") : NULL;
	unsigned n = 0;

	if (at && !strstr(text, "wrong data byte"))
		sscanf(at, " packets transmitted, %u received", &n);
	free(text);
	return n;
}

bool traffic_pings(json_t *results, unsigned mtu)
{
	struct ping ping[LAB_NICS * LAB_NICS * 2];
	unsigned pings = 0, got = 0;
	json_t *lost = json_array();
	bool six = lab_has_ipv6();

	/* Address families one after the other: two dozen programs at once need not be more. */
	for (unsigned family = 0; family <= six; family++) {
		unsigned first = pings;

		for (unsigned from = 1; from <= LAB_NICS; from++)
			for (unsigned to = 1; to <= LAB_NICS; to++)
				if (from != to) {
					ping[pings] = (struct ping){
						.from = from, .to = to, .six = family == 1};
					start_ping(&ping[pings++], mtu);
				}
		for (unsigned k = first; k < pings; k++) {
			char address[40], name[32];
			unsigned n;

			child_wait(&ping[k].child, PING_PATIENCE_MS);
			n = answered(&ping[k].child);
			child_free(&ping[k].child);
			got += n;
			if (n == PING_COUNT)
				continue;
			lab_host(ping[k].from, name);
			lab_network_address(ping[k].to, ping[k].six, address);
			json_array_append_new(
				lost, json_pack("{s:s, s:s, s:i}", "from", name, "to", address,
					      "lost", (int)(PING_COUNT - n)));
		}
	}
	json_object_set_new(results, "pings",
		json_pack("{s:i, s:i, s:i, s:i, s:o}", "mtu", (int)mtu, "pairs", (int)pings, "sent",
			(int)(pings * PING_COUNT), "answered", (int)got, "lost", lost));
	return got == pings * PING_COUNT;
}

/* --- iperf3 ----------------------------------------------------------------------------------- */

struct flow {
	unsigned from, to;
	struct child server, client;
};

/* The server listens: its namespace's table of TCP sockets says so (state 0A). */
static bool listens(const struct child *server)
{
	char path[64], text[256];
	bool found = false;
	FILE *file;

	for (unsigned six = 0; six < 2 && !found; six++) {
		snprintf(path, sizeof(path), "/proc/%d/net/tcp%s", server->pid, six ? "6" : "");
		file = fopen(path, "re");
		while (file && !found && fgets(text, sizeof(text), file)) {
			const char *at = strstr(text, IPERF_PORT_HEX);

			found = at && strstr(at, " 0A ");
		}
		if (file)
			fclose(file);
	}
	return found;
}

static void start_flow(struct flow *f, bool udp)
{
	char address[40], name[32];
	const char *const server[] = {"iperf3", "-s", "-1", NULL};
	const char *const tcp_client[] = {"iperf3", "-c", address, "-J", "-t", TCP_SECONDS,
		"--connect-timeout", "3000", NULL};
	const char *const udp_client[] = {"iperf3", "-c", address, "-J", "-t", UDP_SECONDS, "-u",
		"-b", UDP_BITS, "-l", UDP_BYTES, "--connect-timeout", "3000", NULL};

	lab_host(f->to, name);
	if (child_start(&f->server, name, server, NULL, false) == 0)
		for (unsigned waited = 0;
			waited < 3000 && !listens(&f->server) && !child_ended(&f->server, 0);
			waited += 10)
			usleep(10000);
	lab_address(f->to, false, address);
	lab_host(f->from, name);
	child_start(&f->client, name, udp ? udp_client : tcp_client, NULL, false);
}

/* The client's report, and in `row` who it is about; an "error" in it is the reason of a
 * failure. */
static json_t *finish_flow(struct flow *f, json_t *row)
{
	char name[32];
	int status = child_wait(&f->client, IPERF_PATIENCE_MS);
	char *text = child_output(&f->client);
	json_t *report = text ? json_loads(text, 0, NULL) : NULL;
	const char *reason = json_string_value(json_object_get(report, "error"));

	child_free(&f->client);
	child_wait(&f->server, status ? 0 : 1000);
	child_free(&f->server);
	lab_host(f->from, name);
	json_object_set_new(row, "from", json_string(name));
	lab_host(f->to, name);
	json_object_set_new(row, "to", json_string(name));
	if (status || reason || !report) {
		json_object_set_new(row, "error",
			json_string(reason                 ? reason
				    : text && *text        ? text
				    : status == -ETIMEDOUT ? "it did not end"
							   : "it failed"));
		json_decref(report);
		report = NULL;
	}
	free(text);
	return report;
}

static const json_t *at(const json_t *o, const char *outer, const char *inner)
{
	return json_object_get(json_object_get(json_object_get(o, "end"), outer), inner);
}

static bool run_flows(json_t *results, const char *key, bool udp)
{
	struct flow flow[FLOWS] = {{.from = 1, .to = 2}, {.from = 3, .to = 4}};
	json_t *rows = json_array();
	bool well = true;

	if (udp) { /* crosswise, so that other rings see it */
		flow[0].to = 4;
		flow[1].to = 2;
	}
	for (unsigned k = 0; k < FLOWS; k++)
		start_flow(&flow[k], udp);
	for (unsigned k = 0; k < FLOWS; k++) {
		json_t *row = json_object();
		json_t *report = finish_flow(&flow[k], row);

		json_array_append_new(rows, row);
		if (!report) {
			well = false;
			continue;
		}
		if (udp) {
			json_object_set(row, "datagrams", (json_t *)at(report, "sum", "packets"));
			json_object_set(row, "bytes", (json_t *)at(report, "sum", "bytes"));
			json_object_set(row, "lost", (json_t *)at(report, "sum", "lost_packets"));
		} else {
			json_object_set(row, "bits_per_second",
				(json_t *)at(report, "sum_received", "bits_per_second"));
			json_object_set(row, "retransmissions",
				(json_t *)at(report, "sum_sent", "retransmits"));
		}
		json_decref(report);
	}
	json_object_set_new(results, key, rows);
	return well;
}

bool traffic_tcp(json_t *results)
{
	return run_flows(results, "tcp", false);
}

bool traffic_udp(json_t *results)
{
	return run_flows(results, "udp", true);
}
