/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_capture.h"

#include <pcap/pcap.h>
#include <stdlib.h>

struct capture_writer {
	pcap_t *pcap;
	pcap_dumper_t *dumper;
	bool nanoseconds;
};

struct capture_writer *capture_create(const char *path, int link_type, bool nanoseconds)
{
	struct capture_writer *writer = calloc(1, sizeof(*writer));

	writer->nanoseconds = nanoseconds;
	writer->pcap = pcap_open_dead_with_tstamp_precision(link_type, 65535,
		nanoseconds ? PCAP_TSTAMP_PRECISION_NANO : PCAP_TSTAMP_PRECISION_MICRO);
	writer->dumper = pcap_dump_open(writer->pcap, path);
	if (writer->dumper)
		return writer;
	pcap_close(writer->pcap);
	free(writer);
	return NULL;
}

void capture_write(struct capture_writer *writer, const struct capture_record *record)
{
	uint64_t fraction = record->time_ns % 1000000000u;
	struct pcap_pkthdr header = {
		.ts = {.tv_sec = (time_t)(record->time_ns / 1000000000u),
			.tv_usec = (suseconds_t)(writer->nanoseconds ? fraction : fraction / 1000)},
		.caplen = record->captured,
		.len = record->length,
	};

	pcap_dump((u_char *)writer->dumper, &header, record->bytes);
}

void capture_finish(struct capture_writer *writer)
{
	pcap_dump_close(writer->dumper);
	pcap_close(writer->pcap);
	free(writer);
}

struct capture_reader {
	pcap_t *pcap;
};

struct capture_reader *capture_open(const char *path)
{
	char reason[PCAP_ERRBUF_SIZE];
	struct capture_reader *reader = calloc(1, sizeof(*reader));

	reader->pcap =
		pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, reason);
	if (reader->pcap)
		return reader;
	free(reader);
	return NULL;
}

bool capture_read(struct capture_reader *reader, struct capture_record *record)
{
	struct pcap_pkthdr *header;

	if (pcap_next_ex(reader->pcap, &header, &record->bytes) != 1)
		return false;
	record->time_ns = (uint64_t)header->ts.tv_sec * 1000000000u + (uint64_t)header->ts.tv_usec;
	record->length = header->len;
	record->captured = header->caplen;
	return true;
}

void capture_close(struct capture_reader *reader)
{
	pcap_close(reader->pcap);
	free(reader);
}
