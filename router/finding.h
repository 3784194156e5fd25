/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `p2pnic doctor` finds: a list of objects
 *
 *     {"level": "ok"|"note"|"fault", "kind": KIND, "subject": …, "text": …, "fix": …|null}
 *
 * ok: as it should be. note: it works, or depends on the host. fault: something does not work, or
 * not as the kernel was told. fix: a command that changes it. Nothing is changed here.
 */
#ifndef ROUTER_FINDING_H
#define ROUTER_FINDING_H

#include <jansson.h>
#include <stdbool.h>

enum finding_level { FINDING_OK, FINDING_NOTE, FINDING_FAULT };

/* fix: "" for none. */
void finding_add(json_t *list, enum finding_level, const char *kind, const char *subject,
	const char *fix, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Notes and faults of a kind. */
unsigned finding_count(const json_t *list, const char *kind);
bool finding_any_fault(const json_t *list);

#endif
