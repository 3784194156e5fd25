/* SPDX-License-Identifier: BSD-3-Clause */
/* The firmware as it is compiled for a soft NIC: with the soft NIC's board inlined. */
#ifndef SOFTNIC_FIRMWARE_H
#define SOFTNIC_FIRMWARE_H

#ifndef P2PNIC_BOARD_HEADER
#define P2PNIC_BOARD_HEADER "softnic/soft_board.h"
#endif
#include "firmware/nic.h"

#endif
