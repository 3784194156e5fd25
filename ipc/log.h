/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of processes that run for long: router, keeper, NICs. They go to stderr, which a
 * terminal, a file, the journal or another program reads, or does not read.
 *
 *   - Nothing here waits. A line that its reader leaves no room for is lost, and the number of lost
 *     ones is said once there is room.
 *   - One message is one line: control characters, also those of UTF-8, and what is no UTF-8 are
 *     shown as \xNN. Names and texts come from outside.
 *   - A kind of message (who says it, and its format) is shown LOG_BURST times in a row and
 *     LOG_PER_SECOND times a second in the long run; the next one shown says how many were not.
 *   - Where the journal reads (JOURNAL_STREAM, systemd.exec(5)), a line begins with its level,
 *     sd-daemon(3).
 *
 * For any thread.
 */
#ifndef P2PNIC_LOG_H
#define P2PNIC_LOG_H

#include <stdarg.h>

#define LOG_BURST      128u /* one line for each of 64 NICs, and one more of each */
#define LOG_PER_SECOND 4u

/* syslog(3)'s numbers. */
enum log_level {
	LOG_ERROR = 3,   /* it ends, or something asked for was not done */
	LOG_WARNING = 4, /* something failed, and it goes on */
	LOG_INFO = 6,
};

/* "WHO: message". who: "router", "nic left", … */
void log_say(enum log_level, const char *who, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_say_list(enum log_level, const char *who, const char *format, va_list)
	__attribute__((format(printf, 3, 0)));

#endif
