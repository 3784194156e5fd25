/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages that others act upon: each has a number of its own for ever, whatever its words become,
 * that the journal has as MESSAGE_ID (journalctl MESSAGE_ID=…; systemd.journal-fields(7)).
 *
 * A format begins with one of these, as the kernel's formats do with a level:
 *
 *     router_warn(r, LOG_NIC_ENDED "nic %s: …", …);
 */
#ifndef P2PNIC_LOG_EVENT_H
#define P2PNIC_LOG_EVENT_H

#define LOG_EVENT '\001' /* before the letter */

/* X(letter, id, meaning) */
#define LOG_EVENTS(X)                                                                              \
	X('a', "6ec4b66ad21b4f2b9df6ec80ec7c9d01", "all NICs forward: the router is up")           \
	X('b', "6ec4b66ad21b4f2b9df6ec80ec7c9d02", "another configuration is in force")            \
	X('c', "6ec4b66ad21b4f2b9df6ec80ec7c9d03", "a configuration was refused")                  \
	X('d', "6ec4b66ad21b4f2b9df6ec80ec7c9d04", "a NIC's process or function was lost")         \
	X('e', "6ec4b66ad21b4f2b9df6ec80ec7c9d05", "a NIC is back")                                \
	X('f', "6ec4b66ad21b4f2b9df6ec80ec7c9d06", "a NIC does not answer")                        \
	X('g', "6ec4b66ad21b4f2b9df6ec80ec7c9d07", "a NIC answers again")                          \
	X('h', "6ec4b66ad21b4f2b9df6ec80ec7c9d08", "a NIC's link or port changed")                 \
	X('i', "6ec4b66ad21b4f2b9df6ec80ec7c9d09", "transfers between two NICs failed")            \
	X('j', "6ec4b66ad21b4f2b9df6ec80ec7c9d0a", "a keeper or punt process was lost")            \
	X('k', "6ec4b66ad21b4f2b9df6ec80ec7c9d0b", "the audit found what differs")

#define LOG_UP             "\001a"
#define LOG_CONFIG_TAKEN   "\001b"
#define LOG_CONFIG_REFUSED "\001c"
#define LOG_NIC_LOST       "\001d"
#define LOG_NIC_BACK       "\001e"
#define LOG_NIC_SILENT     "\001f"
#define LOG_NIC_ANSWERS    "\001g"
#define LOG_PORT_CHANGED   "\001h"
#define LOG_PAIR_FAILED    "\001i"
#define LOG_HELPER_LOST    "\001j"
#define LOG_AUDIT_DIFFERS  "\001k"

#endif
