/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of transfer methods (P2PNIC_METHOD_*), and of checks of transfers (enum p2pnic_check),
 * in configuration, commands and answers. */
#ifndef P2PNIC_DRIVER_METHOD_H
#define P2PNIC_DRIVER_METHOD_H

/* Hy is a method of the fabric: its NICs are of method Wr (datasheet §3). */
#define METHOD_HYBRID     4u
#define LEND_FROM_DEFAULT 192u /* bytes; docs/measurements.md */
#define METHOD_NAMES      "wr, rd, bn or hy"

const char *method_name(unsigned method);
unsigned method_of_name(const char *name); /* 0: none is called so */
/* Of each NIC: P2PNIC_METHOD_*. */
unsigned method_of_nics(unsigned method);

#define CHECK_NAMES "none, stamp or crc"

const char *check_name(unsigned check);
unsigned check_of_name(const char *name); /* P2PNIC_CHECK_COUNT: none is called so */

#endif
