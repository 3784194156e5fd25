/* SPDX-License-Identifier: BSD-3-Clause */
/* page.html, made at build time by embed.py. */
#ifndef METRICS_PAGE_H
#define METRICS_PAGE_H

#include <stddef.h>

extern const unsigned char page[];
extern const size_t page_bytes;
extern const char page_policy[]; /* value of Content-Security-Policy */

#endif
