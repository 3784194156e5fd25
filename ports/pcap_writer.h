/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture file that is written: pcap with nanoseconds, Ethernet.
 *
 * Its name is taken literally: a symbolic link there is not followed, a FIFO is refused (nobody may
 * read it, and then it blocks), a character device is written to. A file is overwritten if it is
 * empty or begins with the header that this writer writes, and no other port reads or writes it: a
 * port's captures are locked (flock(2)) as long as it is open, shared for its input and exclusive
 * for its output, so the same file is recognized under every name and in every process.
 *
 * A record counts as written when all of it is in the file. Of one that is not (disk full, size
 * limit) nothing stays, so the file can be read to its end; later records are written as soon as
 * there is room.
 */
#ifndef P2PNIC_PORTS_PCAP_WRITER_H
#define P2PNIC_PORTS_PCAP_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/error.h"

/* No capture time is that late; what is later is taken for the one before. */
#define PCAP_TIME_NONE UINT64_MAX

struct pcap_writer {
	int fd; /* -1: none */
	bool regular;
	bool broken; /* the rest of a record could not be cut off */
	int64_t end; /* of the last whole record in the file */
	uint8_t *buffer;
	uint32_t bytes; /* of the buffer: a burst of the longest frames */
	uint32_t used;
	uint32_t records; /* in the buffer */
};

/* longest: frame that will be written. 0 or -errno and a sentence in error. */
int pcap_writer_open(struct pcap_writer *, const char *path, uint32_t longest, struct error *error);
void pcap_writer_close(struct pcap_writer *);

/* Whether a file, open for reading, may be overwritten: it is empty, or begins as this writer
 * begins. */
bool pcap_writer_may_overwrite(int fd);

/* False: no room before the next flush. */
bool pcap_writer_fits(const struct pcap_writer *, uint32_t length);

/* False: the time is later than a pcap file can tell (2106); it bears the last that it can. */
bool pcap_writer_add(struct pcap_writer *, uint64_t time_ns, const void *frame, uint32_t length);

/* Writes the buffer out. How many of its records are not in the file; *error: 0, or why
 * (-errno). */
uint32_t pcap_writer_flush(struct pcap_writer *, int *error);

#endif
