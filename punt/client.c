/* SPDX-License-Identifier: BSD-3-Clause */
#include "punt/punt.h"

#include "ipc/exchange.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define QUIT_PATIENCE_MS 2000

unsigned punt_patience_ms = 500;

/* For requests whose reply brings no descriptors. */
static int ask(int socket, struct punt_message *m, const int *fds, unsigned count)
{
	unsigned got_count;
	int got[PUNT_FDS];
	int result = exchange_ask(
		socket, m, sizeof(*m), fds, count, got, PUNT_FDS, &got_count, punt_patience_ms);

	exchange_close_all(got, got_count);
	return result ? result : m->result;
}

static int named(struct punt_message *m, const char *name)
{
	const size_t length = strlen(name);

	if (length >= sizeof(m->name))
		return -EINVAL;
	memcpy(m->name, name, length + 1);
	return 0;
}

int punt_take(int socket, const char *name, int tap, const struct host_share share[HOST_PARTS])
{
	struct punt_message m = {.operation = PUNT_TAKE};
	int fds[PUNT_FDS] = {tap};
	unsigned count = 1;

	if (named(&m, name))
		return -EINVAL;
	for (unsigned k = 0; share && k < HOST_PARTS; k++) {
		if (share[k].fd < 0)
			continue;
		m.part[k] =
			(struct punt_part){true, share[k].write, share[k].offset, share[k].bytes};
		fds[count++] = share[k].fd;
	}
	return ask(socket, &m, fds, count);
}

int punt_drop(int socket, const char *name)
{
	struct punt_message m = {.operation = PUNT_DROP};

	return named(&m, name) ? -EINVAL : ask(socket, &m, NULL, 0);
}

int punt_get(int socket, unsigned index, struct punt_message *m, int *tap)
{
	unsigned count;
	int result;

	*m = (struct punt_message){.operation = PUNT_GET, .index = index};
	result = exchange_ask(socket, m, sizeof(*m), NULL, 0, tap, 1, &count, punt_patience_ms);
	if (!result)
		result = m->result;
	if (!result && !count)
		result = -EPROTO;
	if (result)
		exchange_close_all(tap, count);
	m->name[sizeof(m->name) - 1] = 0;
	return result;
}

int punt_quit(int socket)
{
	struct punt_message m = {.operation = PUNT_QUIT};
	struct pollfd end = {.fd = socket};
	int error = ask(socket, &m, NULL, 0);

	if (!error)
		poll(&end, 1, QUIT_PATIENCE_MS); /* until it hangs up */
	return error;
}
