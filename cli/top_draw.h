/* SPDX-License-Identifier: BSD-3-Clause */
/* A screen of `p2pnic top` as lines of text; of the terminal it knows nothing. */
#ifndef CLI_TOP_DRAW_H
#define CLI_TOP_DRAW_H

#include "cli/top_sample.h"

#define TOP_LINES   512u
#define TOP_COLUMNS 1024u
#define TOP_FIXED   2u /* lines that stay where they are while others are scrolled */

enum top_view { TOP_ALL, TOP_MATRIX, TOP_NICS, TOP_DROPS, TOP_PUNTS, TOP_VIEWS };
enum top_unit { TOP_PACKETS, TOP_BITS, TOP_BOTH, TOP_UNITS };
enum top_sort { TOP_BY_RATE, TOP_BY_TOTAL, TOP_BY_NAME, TOP_SORTS };

/* As options and keys have them. */
extern const char *const top_view_name[TOP_VIEWS];
extern const char *const top_unit_name[TOP_UNITS];
extern const char *const top_sort_name[TOP_SORTS];

struct top_choice {
	enum top_view view;
	enum top_unit unit;
	enum top_sort sort;
	char nic[TOP_NAME_BYTES]; /* only of this one; "": of all */
	bool help, paused;
	double interval; /* seconds */
};

enum top_style { TOP_PLAIN, TOP_TITLE, TOP_HEADING, TOP_SELECTED, TOP_ALARM };

struct top_screen {
	unsigned lines;
	unsigned left; /* columns of names, which stay while the others are scrolled; not of titles
			*/
	enum top_style style[TOP_LINES];
	char text[TOP_LINES][TOP_COLUMNS];
};

/* now->time 0: there is nothing yet. why: the router does not answer; "": it does. */
void top_draw(struct top_screen *, const struct top_sample *now, const struct top_sample *before,
	const struct top_choice *, const char *why);

#endif
