/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A terminal as a full-screen program has it (ECMA-48 sequences, which every terminal but a dumb
 * one knows): its other screen, no cursor, keys as they are pressed. It is as it was after
 * terminal_leave.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>

enum terminal_key {
	KEY_NONE = 0, /* below 128: the character */
	KEY_UP = 256,
	KEY_DOWN,
	KEY_LEFT,
	KEY_RIGHT,
	KEY_PAGE_UP,
	KEY_PAGE_DOWN,
	KEY_HOME,
	KEY_END, /* nobody is there any more */
};

/* Standard input and output are one, and it is not dumb. */
bool terminal_there(void);
bool terminal_enter(void);
void terminal_leave(void);

/* As it is now; 80 × 24 where it does not say. */
void terminal_size(unsigned *columns, unsigned *lines);

/* Of what was typed the next; KEY_NONE: nothing more. Does not wait. */
int terminal_key(void);

#endif
