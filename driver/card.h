/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A card whose memory is a file (card/carrier.h): device.h over shared memory. "card:PATH".
 *
 * Registers and windows are requests to the card, one at a time; it answers within a millisecond or
 * two. Nothing interrupts the host: a timer looks for answers that are late, for interrupts that
 * the card has counted, and whether the card has started anew, which ends the device's life.
 *
 * A card reaches the memory of cards and nothing else: there are no windows onto host memory.
 *
 * A lock on the file (flock) is the connection. Its holder is the driver, and any keeper of the
 * descriptor: one is kept. Opened, a card loses the windows of an earlier driver; adopted, it keeps
 * them.
 */
#ifndef DRIVER_CARD_H
#define DRIVER_CARD_H

#include "device.h"

extern const struct device_ops card_device_ops;

#endif
