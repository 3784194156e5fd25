/* SPDX-License-Identifier: BSD-3-Clause */
#include "text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define PATH_SHOWN 128

struct reader {
	int file;
	const char *path;
	struct stat is; /* when it was opened */
	uint64_t bytes; /* of the file, read so far */
	bool xz, finished;
	lzma_stream lzma;
	uint8_t packed[1 << 16];
	char text[TEXT_FILE_LINE_BYTES];
	size_t begin, end; /* of the text not yet handed out */
	unsigned long line;
};

/* Up to `room` bytes of the file as it lies there; 0 at its end, or -errno. */
static ssize_t reader_bytes(struct reader *r, void *to, size_t room, struct error *error)
{
	ssize_t n = read(r->file, to, room);
	struct stat now;

	if (n < 0 || (n == 0 && fstat(r->file, &now) < 0)) {
		n = -errno;
		return error_set(error, n, "%s:%lu: cannot be read: %s", r->path, r->line + 1,
			strerror(errno));
	}
	r->bytes += (uint64_t)n;
	/* The time of the last write, not of the last change: a new file renamed over this one sets
	 * that. */
	if (r->bytes > (uint64_t)r->is.st_size ||
		(n == 0 && (now.st_size != r->is.st_size || r->bytes != (uint64_t)now.st_size ||
				   now.st_mtim.tv_sec != r->is.st_mtim.tv_sec ||
				   now.st_mtim.tv_nsec != r->is.st_mtim.tv_nsec)))
		return error_set(error, -EINVAL,
			"%s:%lu: the file changed while it was read; replace a file by renaming",
			r->path, r->line + 1);
	return n;
}

static const char *lzma_reason(lzma_ret result)
{
	return result == LZMA_MEM_ERROR           ? "out of memory"
	       : result == LZMA_MEMLIMIT_ERROR    ? "it takes more than 256 MiB to unpack"
	       : result == LZMA_UNSUPPORTED_CHECK ? "its check is of an unknown type"
	       : result == LZMA_OPTIONS_ERROR     ? "it has unknown options"
	       : result == LZMA_BUF_ERROR         ? "it is cut"
						  : "it is damaged";
}

/* Appends text; 0 at the end of the file, or -errno. */
static int reader_fill(struct reader *r, struct error *error)
{
	memmove(r->text, r->text + r->begin, r->end - r->begin);
	r->end -= r->begin;
	r->begin = 0;
	if (r->end == sizeof r->text)
		return error_set(error, -EINVAL, "%s:%lu: a line of %zu bytes or more", r->path,
			r->line + 1, r->end);
	if (!r->xz) {
		ssize_t n = reader_bytes(r, r->text + r->end, sizeof r->text - r->end, error);

		r->end += n > 0 ? (size_t)n : 0;
		return n < 0 ? (int)n : n > 0;
	}
	for (size_t before = r->end; r->end == before && !r->finished;) {
		lzma_ret result;

		if (!r->lzma.avail_in) {
			ssize_t n = reader_bytes(r, r->packed, sizeof r->packed, error);

			if (n < 0)
				return (int)n;
			r->lzma.next_in = r->packed;
			r->lzma.avail_in = (size_t)n;
		}
		r->lzma.next_out = (uint8_t *)r->text + r->end;
		r->lzma.avail_out = sizeof r->text - r->end;
		result = lzma_code(&r->lzma, r->lzma.avail_in ? LZMA_RUN : LZMA_FINISH);
		r->end = (size_t)((char *)r->lzma.next_out - r->text);
		if (result == LZMA_STREAM_END) {
			r->finished = true;
		} else if (result != LZMA_OK) {
			return error_set(error, -EINVAL,
				"%s: not a whole xz file: %s, after line %lu", r->path,
				lzma_reason(result), r->line);
		}
	}
	return r->end > 0;
}

/* The next line and its bytes without its end, or NULL: end of file (*status 0) or error. */
static char *reader_line(struct reader *r, size_t *bytes, int *status, struct error *error)
{
	for (size_t before = r->end - r->begin, after;; before = after) {
		char *start = r->text + r->begin;
		char *end = memchr(start, '\n', r->end - r->begin);

		if (end) {
			r->begin = (size_t)(end + 1 - r->text);
			r->line++;
			*bytes = (size_t)(end - start);
			if (*bytes && end[-1] == '\r')
				--*bytes;
			return start;
		}
		*status = reader_fill(r, error);
		if (*status < 0)
			return NULL;
		after = r->end - r->begin;
		if (after == before) {
			*status = 0;
			if (!after)
				return NULL;
			r->begin = r->end; /* a last line without its end */
			r->line++;
			*bytes = after;
			return r->text + r->end - after;
		}
	}
}

static unsigned is_text(char c)
{
	return ((c >= 0x20) & (c < 0x7f)) | (c == '\t'); /* without a jump, for vector code */
}

/* Makes a string of it, if it is text. */
static int reader_check(const struct reader *r, char *line, size_t bytes, struct error *error)
{
	unsigned all = 1;
	char *comment = memchr(line, '#', bytes);

	for (size_t k = 0; k < bytes; k++)
		all &= is_text(line[k]);
	for (size_t k = 0; !all; k++)
		if (!is_text(line[k]))
			return error_set(error, -EINVAL,
				"%s:%lu: byte 0x%02x at place %zu is no text; a table is ASCII, or "
				"ASCII "
				"compressed by xz",
				r->path, r->line, (uint8_t)line[k], k + 1);
	line[bytes] = 0; /* in place of its end, or behind the last line */
	if (comment)
		*comment = 0;
	return 0;
}

static int reader_open(struct reader *r, const char *path, struct error *error)
{
	static const uint8_t xz_magic[6] = {0xfd, '7', 'z', 'X', 'Z', 0};
	ssize_t n;

	/* The end of a long path, so that the reason has its place. */
	r->path = strlen(path) > PATH_SHOWN ? path + strlen(path) - PATH_SHOWN : path;
	/* A FIFO that nobody writes to would be waited for. */
	r->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (r->file < 0 || fstat(r->file, &r->is) < 0) {
		int status = -errno;

		return error_set(error, status, "%s: %s", r->path, strerror(errno));
	}
	if (!S_ISREG(r->is.st_mode))
		return error_set(error, -EINVAL, "%s: is %s, not a file", r->path,
			S_ISDIR(r->is.st_mode)    ? "a directory"
			: S_ISFIFO(r->is.st_mode) ? "a pipe"
						  : "a device or socket");
	n = reader_bytes(r, r->text, sizeof r->text / 2, error);
	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof xz_magic || memcmp(r->text, xz_magic, sizeof xz_magic) != 0) {
		r->end = (size_t)n;
		return 0;
	}
	r->xz = true;
	memcpy(r->packed, r->text, (size_t)n);
	r->lzma = (lzma_stream)LZMA_STREAM_INIT;
	r->lzma.next_in = r->packed;
	r->lzma.avail_in = (size_t)n;
	if (lzma_stream_decoder(&r->lzma, 256 << 20,
		    LZMA_CONCATENATED | LZMA_TELL_UNSUPPORTED_CHECK) != LZMA_OK)
		return error_set(error, -ENOMEM, "%s: out of memory for unpacking", r->path);
	return 0;
}

int text_file_each(const char *path, text_visit *visit, void *context, struct error *error)
{
	struct reader *r = malloc(sizeof *r);
	char *line;
	struct error reason;
	size_t bytes;
	int status;

	if (!r)
		return error_set(error, -ENOMEM, "%s: out of memory", path);
	r->bytes = r->begin = r->end = r->line = 0;
	r->xz = r->finished = false;
	status = reader_open(r, path, error);
	while (!status && (line = reader_line(r, &bytes, &status, error))) {
		status = reader_check(r, line, bytes, error);
		if (!status && (status = visit(context, line, &reason)))
			error_set(error, status, "%s:%lu: %s", r->path, r->line, reason.text);
	}
	if (!status && (status = visit(context, NULL, &reason)))
		error_set(error, status, "%s:%lu: %s", r->path, r->line + !r->line, reason.text);
	if (r->xz)
		lzma_end(&r->lzma);
	if (r->file >= 0)
		close(r->file);
	free(r);
	return status;
}

char *text_word(char **at)
{
	char *word = *at;
	size_t bytes = 0;

	while (*word == ' ' || *word == '\t')
		word++;
	while (word[bytes] && word[bytes] != ' ' && word[bytes] != '\t')
		bytes++;

	*at = word + bytes + (word[bytes] != 0);
	word[bytes] = 0;
	return bytes ? word : NULL;
}

bool text_number(const char *text, uint64_t most, uint64_t *value)
{
	uint64_t number = 0;
	size_t digits = 0;

	for (; text[digits] >= '0' && text[digits] <= '9'; digits++)
		if (__builtin_mul_overflow(number, 10, &number) ||
			__builtin_add_overflow(number, (uint64_t)(text[digits] - '0'), &number))
			return false;
	if (!digits || text[digits] || (*text == '0' && digits > 1) || number > most)
		return false;
	*value = number;
	return true;
}
