/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/runs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void server_kind(char kind[SERVER_NAME_BYTES], const char *name)
{
	size_t to = 0;

	for (; *name && to + 1 < SERVER_NAME_BYTES; name++)
		if (*name < '0' || *name > '9')
			kind[to++] = *name;
	kind[to] = 0;
}

/* The busiest server of each kind. */
static void note_servers(struct answer *a, const struct result *r)
{
	char kind[SERVER_NAME_BYTES], other[SERVER_NAME_BYTES];

	for (unsigned k = 0; k < r->servers && a->servers < ANSWER_SERVERS; k++) {
		unsigned known = 0;

		server_kind(kind, r->server[k].name);
		for (; known < a->servers; known++) {
			server_kind(other, a->server[known].name);
			if (!strcmp(kind, other))
				break;
		}
		if (known == a->servers)
			a->server[a->servers++] = r->server[k];
	}
}

static void summarize(struct answer *a, const struct result *r)
{
	a->in = r->in;
	a->sent = r->sent;
	memcpy(a->drop, r->drop, sizeof(a->drop));
	a->held = r->held;
	a->packets = result_packets(r);
	a->bits = result_bits(r);
	a->dma = r->measured_sent ? r->measured_dma * 1000 / r->measured_sent : 0;
	a->samples = r->samples;
	for (unsigned k = 0; k < ANSWER_PERCENTILES; k++)
		a->latency[k] = result_percentile(r, k * 10000);
	note_servers(a, r);
}

void run_one(const struct run *run, struct answer *a)
{
	struct parameters p = {0};
	struct error error = {""};
	struct result *r = calloc(1, sizeof(*r));
	struct parameter *changed;

	*a = (struct answer){0};
	if (!r || parameters_copy(&p, run->parameters) < 0) {
		error_set(&error, -ENOMEM, "out of memory");
		goto out;
	}
	if (run->draw)
		parameters_draw(&p, run->draw);
	changed = run->name ? parameters_find(&p, run->name) : NULL;
	if (changed)
		changed->value = run->value;
	/* Draws are many: what is under way at their end stays there. */
	if (machine_run(&run->setup, &p, !run->draw, r, &error) < 0)
		goto out;
	if (!result_conserved(r)) {
		error_set(&error, -EINVAL, "packets are neither sent nor dropped nor held");
		goto out;
	}
	summarize(a, r);
	a->done = true;
out:
	snprintf(a->error, sizeof(a->error), "%s", error.text);
	parameters_free(&p);
	free(r);
}

/* --- Many ------------------------------------------------------------------------------------- */

static pid_t begin(const struct run *run, struct answer *answer)
{
	const pid_t child = fork();

	if (child)
		return child;
	run_one(run, answer);
	_exit(0);
}

static int failure(const struct answer *a, struct error *error)
{
	return error_set(
		error, -EINVAL, "%s", *a->error ? a->error : "a run ended without an answer");
}

int runs_do(const struct run *run, unsigned n, struct answer *answer,
	void (*progress)(unsigned done, unsigned n), struct error *error)
{
	const long processors = sysconf(_SC_NPROCESSORS_ONLN);
	const size_t bytes = (n ? n : 1) * sizeof(*answer);
	struct answer *shared =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned begun = 0, done = 0;
	int code = 0;

	if (shared == MAP_FAILED)
		return error_set(error, -ENOMEM, "no memory for %u answers", n);
	while (done < begun || (begun < n && !code)) {
		if (begun < n && !code && begun - done < (processors > 0 ? processors : 1)) {
			if (begin(&run[begun], &shared[begun]) < 0)
				code = error_set(
					error, -errno, "no process for a run: %s", strerror(errno));
			else
				begun++;
			continue;
		}
		if (wait(NULL) < 0)
			break;
		done++;
		if (progress)
			progress(done, n);
	}
	for (unsigned k = 0; k < n && !code; k++)
		if (!shared[k].done)
			code = failure(&shared[k], error);
	memcpy(answer, shared, bytes);
	munmap(shared, bytes);
	return code;
}
