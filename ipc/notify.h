/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a service manager is told of a process: sd_notify(3), its protocol. A line each of READY=1,
 * STATUS=…, RELOADING=1, STOPPING=1, WATCHDOG=1, as a datagram to the socket that NOTIFY_SOCKET
 * names.
 *
 * libsystemd would do; it brings five libraries into every process of p2pnic for this one datagram,
 * whose form is kept stable (systemd's "Interface Portability and Stability").
 *
 * Nothing waits here: what the manager has no room for is lost, but for the watchdog, which comes
 * again.
 */
#ifndef P2PNIC_NOTIFY_H
#define P2PNIC_NOTIFY_H

#include <stdbool.h>

/* Whom to tell, from the environment, out of which it is taken: processes that this one starts have
 * nothing to say. Once, first. */
void notify_open(void);

/* Is anybody told? */
bool notify_is_open(void);

/* How often WATCHDOG=1 is wanted at most, in ms: half of the time after which the manager ends this
 * process (sd_watchdog_enabled(3)). 0: not at all. */
unsigned notify_watchdog_ms(void);

/* Several assignments are lines of one text. */
void notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
