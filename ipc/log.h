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
 *     LOG_PER_SECOND times a second in the long run. How many were not, the next one shown says, or
 *     log_tick, LOG_SUM_MS after the first of them; at the latest the end of the process.
 *   - Where the journal reads (JOURNAL_STREAM, systemd.exec(5)), it gets fields by its own protocol
 *     (systemd.io/JOURNAL_NATIVE_PROTOCOL): PRIORITY, MESSAGE_ID (log_event.h), P2PNIC_FROM (who
 *     says it), P2PNIC_NIC (of a message by or about a NIC). Where that cannot be, a line begins
 *     with its level, sd-daemon(3). libsystemd's sd_journal_send waits for a journal that is busy.
 *   - A regular file gets the time, UTC, before each line; a terminal has none, and what reads a
 *     pipe or socket adds its own.
 *   - Levels above log_level are not said.
 *
 * For any thread.
 */
#ifndef P2PNIC_LOG_H
#define P2PNIC_LOG_H

#include <stdarg.h>
#include <stdbool.h>

#define LOG_BURST      128u /* one line for each of 64 NICs, and one more of each */
#define LOG_PER_SECOND 4u
#define LOG_SUM_MS     10000u

/* syslog(3)'s numbers. */
enum log_level {
	LOG_ERROR = 3,   /* it ends, or something asked for was not done */
	LOG_WARNING = 4, /* something failed, and it goes on */
	LOG_INFO = 6,
};

#define LOG_LEVEL_NAMES "error, warning or info"
#define LOG_LEVEL_ENV   "P2PNIC_LOG_LEVEL" /* of a process and of those that it starts */

/* False: no name of a level. */
bool log_level_parse(const char *name, enum log_level *);
/* From now on, here and, by the environment, in processes started from now on; before, it is what
 * the environment says, or LOG_INFO. */
void log_level_set(enum log_level most);

/* Says how many messages were not shown, LOG_SUM_MS after the first of them; for whoever wakes up
 * now and then. */
void log_tick(void);

/* For tests: where the journal listens. */
extern const char *log_journal;

/* "WHO: message". who: "router", "nic left", … */
void log_say(enum log_level, const char *who, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_say_list(enum log_level, const char *who, const char *format, va_list)
	__attribute__((format(printf, 3, 0)));

#endif
