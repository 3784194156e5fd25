/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text files of one record a line, plain or compressed by xz, for tables: what is damaged is
 * refused, not guessed at.
 *
 * Text is ASCII: bytes 0x20 to 0x7e, tab, and line ends "\n" or "\r\n". Any other byte (NUL, other
 * control characters, a carriage return elsewhere, 0x80 and above) is an error, in comments too:
 * they are what a file has after a crash, a wrong encoding or another compression. So are a line of
 * TEXT_FILE_LINE_BYTES or more, an xz file that is cut, damaged or followed by something else, a
 * file that changes while it is read, and whatever is not a regular file. The last line may do
 * without its end.
 */
#ifndef P2PNIC_FIB_TEXT_FILE_H
#define P2PNIC_FIB_TEXT_FILE_H

#include "fib_image.h"
#include "ipc/error.h"

#define TEXT_FILE_LINE_BYTES 65536u

/*
 * Hands a file's lines to `visit`, each without its end and without a comment (from '#' on), and at
 * last NULL. visit may write into the line; it ends the reading by an -errno of its own, with a
 * reason. 0 or -errno, with file, line and reason in error; visit has seen some of the lines then.
 */
typedef int text_visit(void *context, char *line, struct error *reason);
int text_file_each(const char *path, text_visit *visit, void *context, struct error *error);

/* The next word of a line, of spaces and tabs; NULL: there is none. *at begins as the line. */
char *text_word(char **at);

/* Decimal digits without leading zeros, not above `most`. False, nothing written, if the text is
 * something else. */
bool text_number(const char *text, uint64_t most, uint64_t *value);

#endif
