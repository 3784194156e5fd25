/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of a router's state directory, and a NIC's line at the keeper, which both outlive the
 * router that wrote them: whatever they say, it is an error with a sentence, or what was written.
 */
#include "router/config_state.h"
#include "router/plan.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define APPLIED "applied-000007-20261127T011400Z.yaml"

static char path[] = "/tmp/p2pnic-fuzz-state-XXXXXX";
static int directory = -1;

static void leave(void)
{
	unlinkat(directory, "running", 0);
	unlinkat(directory, APPLIED, 0);
	rmdir(path);
}

static int place(void)
{
	if (directory < 0 && mkdtemp(path)) {
		directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		atexit(leave);
	}
	return directory;
}

static void put(const char *name, const uint8_t *data, size_t size)
{
	const int fd = openat(place(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void try_running(void)
{
	struct state_running is, again;
	struct error error = {""};
	const int result = state_running_read(place(), &is, &error);

	if (result) {
		if (!*error.text)
			abort();
		return;
	}
	if (!is.entry || state_running_write(place(), &is, &error) ||
		state_running_read(place(), &again, &error) || again.entry != is.entry ||
		again.back != is.back || again.deadline_ns != is.deadline_ns ||
		again.digest != is.digest || strcmp(again.file, is.file) != 0)
		abort();
}

static void try_applied(void)
{
	struct state_text text;
	struct error error = {""};

	if (state_read(place(), 7, &text, &error)) {
		if (!*error.text || text.text)
			abort();
		return;
	}
	if (strlen(text.file) >= sizeof(text.file) || text.text[text.bytes])
		abort();
	state_text_free(&text);
}

static void try_spec(const uint8_t *data, size_t size)
{
	char spec[ROUTER_SPEC_BYTES];
	unsigned number = 0, slots, mib;

	snprintf(spec, sizeof(spec), "%.*s", (int)(size < sizeof(spec) ? size : sizeof(spec) - 1),
		(const char *)data);
	if (plan_spec_sizes(spec, &number, &slots, &mib) && number >= P2PNIC_NICS_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (place() < 0)
		return 0;
	put("running", data, size);
	try_running();
	put(APPLIED, data, size);
	try_applied();
	try_spec(data, size);
	return 0;
}
