/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of transfer methods (P2PNIC_METHOD_*), and of checks of transfers (enum p2pnic_check),
 * in configuration, commands and answers. */
#ifndef P2PNIC_DRIVER_METHOD_H
#define P2PNIC_DRIVER_METHOD_H

#define METHOD_NAMES "wr, rd or bn"

const char *method_name(unsigned method);
unsigned method_of_name(const char *name); /* 0: none is called so */

#define CHECK_NAMES "none, stamp or crc"

const char *check_name(unsigned check);
unsigned check_of_name(const char *name); /* P2PNIC_CHECK_COUNT: none is called so */

#endif
