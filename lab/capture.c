/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/capture.h"

#include "lab/network.h"
#include "ports/offload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS             100u
#define ETHERNET_BYTES     14u
#define UDP_HEADERS        (20u + 8u) /* IPv4 and UDP */
#define HEADER_BYTES       (ETHERNET_BYTES + UDP_HEADERS)
#define REPLAY_PATIENCE_MS 50000u
#define FIRST_SECOND       1700000000

struct packet {
	unsigned from, to; /* hosts, from 1; to 0: nowhere */
	uint8_t ttl;
	uint16_t payload;
};

static uint32_t make_frame(const struct packet *p, uint8_t *frame)
{
	uint8_t *ip = frame + ETHERNET_BYTES, *udp = ip + 20;
	const uint8_t ethernet[ETHERNET_BYTES] = {
		2, 0, 0, 0, (uint8_t)p->from, 1, 2, 0, 0, 0, (uint8_t)p->from, 2, 8, 0};
	const uint16_t total = (uint16_t)(UDP_HEADERS + p->payload),
		       datagram = (uint16_t)(8 + p->payload);
	uint16_t sum;

	memset(frame, 0, HEADER_BYTES);
	memcpy(frame, ethernet, sizeof(ethernet));
	ip[0] = 0x45;
	ip[2] = (uint8_t)(total >> 8);
	ip[3] = (uint8_t)total;
	ip[8] = p->ttl;
	ip[9] = 17;
	memcpy(ip + 12, (const uint8_t[]){10, 0, (uint8_t)p->from, 2}, 4);
	memcpy(ip + 16,
		p->to ? (const uint8_t[]){10, 0, (uint8_t)p->to, 2}
		      : (const uint8_t[]){192, 0, 2, 1},
		4);
	sum = (uint16_t)~offload_sum(ip, 20, 0);
	memcpy(ip + 10, &sum, 2);
	udp[1] = udp[3] = 9; /* discard, without a checksum of its own */
	udp[4] = (uint8_t)(datagram >> 8);
	udp[5] = (uint8_t)datagram;
	for (unsigned k = 0; k < p->payload; k++)
		udp[8 + k] = (uint8_t)(k + p->from);
	return HEADER_BYTES + p->payload;
}

static int make_capture(const char *path, unsigned from, unsigned mtu)
{
	pcap_t *type = pcap_open_dead(DLT_EN10MB, 65535);
	pcap_dumper_t *file = type ? pcap_dump_open(type, path) : NULL;
	const unsigned step = (mtu - UDP_HEADERS - LAB_NICS) / ROUNDS;
	unsigned n = 0;
	int error = file ? 0 : -EIO;

	for (unsigned round = 0; round < ROUNDS && file; round++)
		for (unsigned to = 0; to <= LAB_NICS; to++) {
			uint8_t frame[P2PNIC_FRAME_BYTES_MAX(P2PNIC_BUFFER_BYTES_MAX)];
			struct packet p = {from, to, 64, (uint16_t)(round * step + to)};
			struct pcap_pkthdr header = {
				.ts = {FIRST_SECOND, (suseconds_t)(n++ * 100 + from)}};

			if (round && (to == 0 || to == from))
				continue;
			if (to == from) { /* once instead of a packet to itself */
				p.to = from % LAB_NICS + 1;
				p.ttl = 1;
			}
			header.caplen = header.len = make_frame(&p, frame);
			pcap_dump((u_char *)file, &header, frame);
		}
	if (file && (pcap_dump_flush(file) || ferror(pcap_dump_file(file))))
		error = -EIO;
	if (file)
		pcap_dump_close(file);
	if (type)
		pcap_close(type);
	return error;
}

static json_t *run(const char *directory, unsigned mtu, struct error *error)
{
	static char in[LAB_NICS][64], config[64], out[64];
	const char *const argv[] = {"p2pnic", "replay", in[0], in[1], in[2], in[3], "-c", config,
		"-o", out, "--json", NULL};
	struct lab lab = {.mtu = mtu, .captures = true, .port_type = "pcap"};
	json_t *results = NULL;
	struct child child;
	char *text;
	int status = 0;

	error->text[0] = 0;
	for (unsigned k = 0; k < LAB_NICS && !status; k++) {
		snprintf(in[k], sizeof(in[k]), "%s/h%u.pcap", directory, k + 1);
		status = make_capture(in[k], k + 1, mtu);
	}
	snprintf(config, sizeof(config), "%s/lab.yaml", directory);
	snprintf(out, sizeof(out), "%s/out", directory);
	snprintf(lab.config, sizeof(lab.config), "%s", config);
	if (!status)
		status = lab_write_config(&lab, error);
	if (!status)
		status = child_start(&child, NULL, argv, NULL, false);
	if (status) {
		if (!error->text[0])
			error_set(error, status, "%s: %s", directory, strerror(-status));
		return NULL;
	}
	status = child_wait(&child, REPLAY_PATIENCE_MS);
	text = child_output(&child);
	child_free(&child);
	if (text && status >= 0)
		results = json_loads(text, 0, NULL);
	if (!results)
		error_set(error, status, "%s", text && *text ? text : "replay did not end");
	free(text);
	return results;
}

json_t *capture_replay(unsigned mtu, struct error *error)
{
	char directory[] = "/tmp/p2pnic-lab-XXXXXX";
	const char *const argv[] = {"rm", "-rf", "--", directory, NULL};
	struct error ignored;
	json_t *results;

	if (!mkdtemp(directory)) {
		error_set(error, -errno, "%s: %s", directory, strerror(errno));
		return NULL;
	}
	results = run(directory, mtu, error);
	command_run(NULL, argv, NULL, &ignored);
	return results;
}
