/* SPDX-License-Identifier: BSD-3-Clause */
/* The format: draft-ietf-opsawg-pcap §4 (file header), §5 (packet record), in the writer's byte
 * order. */
#include "pcap_writer.h"

#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC_NANOSECONDS 0xa1b23c4du
#define LINKTYPE_ETHERNET 1u
#define SNAPLEN           65535u
#define SECOND_NS         1000000000u
/* "p2pn", in a word that readers ignore (§4): known again as ours */
#define OURS              0x6e703270u

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t reserved1, reserved2, snaplen, link_type;
};
_Static_assert(sizeof(struct file_header) == 24, "as in the file");

struct record_header {
	uint32_t seconds, nanoseconds; /* unsigned: up to 2106 */
	uint32_t captured, length;
};
_Static_assert(sizeof(struct record_header) == 16, "as in the file");

static const struct file_header first = {.magic = MAGIC_NANOSECONDS,
	.major = 2,
	.minor = 4,
	.reserved2 = OURS,
	.snaplen = SNAPLEN,
	.link_type = LINKTYPE_ETHERNET};

static int check_kind(struct pcap_writer *w, const char *path, struct error *error)
{
	struct stat is;

	if (fstat(w->fd, &is) < 0)
		return error_set(
			error, -errno, "cannot write capture: %s: %s", path, strerror(errno));
	w->regular = S_ISREG(is.st_mode);
	if (!w->regular && !S_ISCHR(is.st_mode))
		return error_set(error, -EINVAL,
			"cannot write capture: %s is neither a file nor a character device", path);
	return 0;
}

bool pcap_writer_may_overwrite(int fd)
{
	struct file_header there;
	ssize_t got = pread(fd, &there, sizeof(there), 0);

	return got == 0 ||
	       (got == (ssize_t)sizeof(there) && !memcmp(&there, &first, sizeof(there)));
}

static int claim(struct pcap_writer *w, const char *path, struct error *error)
{
	/* A file system without locks has none to respect. */
	if (w->regular && flock(w->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return error_set(error, -EBUSY,
			"cannot write capture: %s: another port reads or writes it", path);
	if (w->regular && !pcap_writer_may_overwrite(w->fd))
		return error_set(error, -EEXIST,
			"cannot write capture: %s holds something else: remove it or name "
			"another file",
			path);
	w->buffer = malloc(w->bytes);
	if (!w->buffer)
		return error_set(error, -ENOMEM, "%s: out of memory", path);
	ssize_t got =
		w->regular && ftruncate(w->fd, 0) < 0 ? -1 : write(w->fd, &first, sizeof(first));
	/* A device may be full already; then each record fails. */
	if (w->regular && got != (ssize_t)sizeof(first)) {
		int code = got < 0 ? -errno : -ENOSPC;

		return error_set(
			error, code, "cannot write capture: %s: %s", path, strerror(-code));
	}
	w->end = sizeof(first);
	return 0;
}

int pcap_writer_open(struct pcap_writer *w, const char *path, uint32_t longest, struct error *error)
{
	int code;

	*w = (struct pcap_writer){.fd = -1,
		.bytes = P2PNIC_BURST_MAX * (longest + (uint32_t)sizeof(struct record_header))};
	w->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
	if (w->fd < 0 && errno == ELOOP)
		return error_set(error, -ELOOP,
			"cannot write capture: %s is a symbolic link: name the file itself", path);
	if (w->fd < 0)
		return error_set(
			error, -errno, "cannot write capture: %s: %s", path, strerror(errno));
	code = check_kind(w, path, error);
	if (!code)
		code = claim(w, path, error);
	if (code)
		pcap_writer_close(w);
	return code;
}

void pcap_writer_close(struct pcap_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->buffer);
	*w = (struct pcap_writer){.fd = -1};
}

bool pcap_writer_fits(const struct pcap_writer *w, uint32_t length)
{
	return length + sizeof(struct record_header) <= w->bytes - w->used;
}

bool pcap_writer_add(struct pcap_writer *w, uint64_t time_ns, const void *frame, uint32_t length)
{
	const uint64_t latest_ns = UINT32_MAX * (uint64_t)SECOND_NS + SECOND_NS - 1;
	bool told = time_ns <= latest_ns;
	uint64_t time = told ? time_ns : latest_ns;
	const struct record_header header = {
		.seconds = (uint32_t)(time / SECOND_NS),
		.nanoseconds = (uint32_t)(time % SECOND_NS),
		.captured = length,
		.length = length,
	};

	memcpy(w->buffer + w->used, &header, sizeof(header));
	memcpy(w->buffer + w->used + sizeof(header), frame, length);
	w->used += (uint32_t)sizeof(header) + length;
	w->records++;
	return told;
}

/* How many records lie whole in the first `bytes` of the buffer; *whole: where the last of them
 * ends. */
static uint32_t whole_records(const struct pcap_writer *w, uint32_t bytes, uint32_t *whole)
{
	uint32_t records = 0;

	for (*whole = 0; records < w->records; records++) {
		struct record_header header;

		memcpy(&header, w->buffer + *whole, sizeof(header));
		uint32_t next = *whole + (uint32_t)sizeof(header) + header.captured;
		if (next > bytes)
			break;
		*whole = next;
	}
	return records;
}

uint32_t pcap_writer_flush(struct pcap_writer *w, int *error)
{
	uint32_t written = 0, lost, whole;

	*error = w->broken ? -EIO : 0;
	while (!*error && written < w->used) {
		ssize_t got = write(w->fd, w->buffer + written, w->used - written);

		if (got > 0)
			written += (uint32_t)got;
		else if (got == 0)
			*error = -ENOSPC;
		else if (errno != EINTR)
			*error = -errno;
	}
	lost = w->records - whole_records(w, written, &whole);
	w->end += whole;
	if (written > whole) {
		/* What follows a torn record cannot be read, so where it stays nothing follows. */
		w->broken = !w->regular || ftruncate(w->fd, w->end) < 0 ||
			    lseek(w->fd, w->end, SEEK_SET) < 0;
	}
	w->used = w->records = 0;
	return lost;
}
