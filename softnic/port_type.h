/* SPDX-License-Identifier: BSD-3-Clause */
/* P2PNIC_PORT, set by the build to one port type, as include and as prefix of its functions. */
#ifndef SOFTNIC_PORT_TYPE_H
#define SOFTNIC_PORT_TYPE_H

#define PORT_PASTE_(a, b)   a##_##b
#define PORT_PASTE(a, b)    PORT_PASTE_(a, b)
#define PORT_NAME(function) PORT_PASTE(P2PNIC_PORT, function)

#include P2PNIC_PORT_HEADER

#endif
