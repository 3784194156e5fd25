/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes the Nth allocation or system call fail, for each N in turn until the code under test meets
 * none that fails. A test executable links inject.c and is given the linker's --wrap for each call
 * in tests/meson.build, so that calls of the project's own code come here, and calls inside of
 * libraries do not.
 *
 *     static int open_it(void *context)
 *     {
 *             struct thing *thing;
 *             int result;
 *
 *             inject_arm();
 *             result = thing_open(&thing, error);
 *             inject_disarm();
 *             if (result == 0)
 *                     thing_close(thing);
 *             return result;
 *     }
 *     …
 *     inject_each(open_it, context, error);
 *
 * inject_each calls it first without a failure, which must succeed; then with the first call
 * failing, the second, and so on. Each round must end either in success (the call was not vital) or
 * in the errno of the failed call, negative, with a sentence in `error`; and must leave no
 * descriptor, allocation or mapping behind. Only calls of the thread that armed are counted, so
 * other threads do not disturb.
 */
#ifndef TESTS_INJECT_H
#define TESTS_INJECT_H

#include <stdbool.h>

#include "ipc/error.h"

/* From here to inject_disarm calls of this thread count. */
void inject_arm(void);
void inject_disarm(void);

/* What failed in this round: "malloc", …; NULL if nothing did. Its errno, negative. */
const char *inject_failed(void);
int inject_error(void);

/*
 * `error`: where `call` leaves its sentence, emptied before each round; NULL if it says none.
 * Returns the number of calls that were made to fail. A test fails by cmocka's fail_msg, which
 * names the call.
 */
unsigned inject_each(int (*call)(void *context), void *context, struct error *error);

/* The same where results are the code's own: expect() is asked of each round in which a call
 * failed. */
unsigned inject_each_expect(int (*call)(void *context), void *context,
	bool (*expect)(void *context, int result), struct error *error);

/* What is held now a library frees, unseen: no leak. */
void inject_forget(void);

/* Makes the one call of that name ("alloc": any allocation) fail with that errno: the `skip`th next
 * in this thread, once. */
void inject_one(const char *call, unsigned skip, int error);

/* Is this the call that fails? Then errno is set. For what a test wraps besides. */
bool inject_fails(const char *call, int error);

#endif
