/* SPDX-License-Identifier: BSD-3-Clause */
/* A kernel_state as text, to compare two of them, or one with what `ip` says. */
#ifndef TESTS_KERNEL_TEXT_H
#define TESTS_KERNEL_TEXT_H

#include <router/kernel_state.h>

struct kernel_text {
	char **line;
	size_t lines, room;
};

void kernel_text_add(struct kernel_text *, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void kernel_text_sort(struct kernel_text *);
void kernel_text_free(struct kernel_text *);

/* Everything, in order; `numbered`: with the place of each route in its key. */
struct kernel_text kernel_text_of(struct kernel_state *, bool numbered);

/* A hop as " 10.0.0.1 dev 3 weight 1 onlink". */
void kernel_text_hop(char *text, size_t room, const struct kernel_hop *);

/* True: equal. Otherwise, if `say`, prints the lines that only one has. */
bool kernel_text_equal(const struct kernel_text *, const struct kernel_text *, bool say);

#endif
