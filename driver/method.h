/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of transfer methods (P2PNIC_METHOD_*) in configuration, commands and answers. */
#ifndef P2PNIC_DRIVER_METHOD_H
#define P2PNIC_DRIVER_METHOD_H

#define METHOD_NAMES "wr, rd or bn"

const char *method_name(unsigned method);
unsigned method_of_name(const char *name); /* 0: none is called so */

#endif
