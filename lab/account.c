/* SPDX-License-Identifier: BSD-3-Clause */
#include "lab/account.h"

#include "router/api_client.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define REST_MS          100u /* counters that stand still for so long are at rest */
#define REST_PATIENCE_MS 5000u
#define MATRIX_CELL      24

static long long packets(const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);

	return json_integer_value(
		json_is_object(value) ? json_object_get(value, "packets") : value);
}

static long long dropped(const json_t *counters)
{
	long long sum = 0;
	const char *reason;
	json_t *n;

	json_object_foreach(json_object_get(counters, "dropped"), reason, n) sum +=
		json_integer_value(n);
	return sum;
}

struct totals {
	long long in, injected, sent, dropped, punted, held, missed;
	long long
		unaccounted; /* magnitudes: a surplus of one NIC does not hide a loss of another */
};

static long long magnitude(long long n)
{
	return n < 0 ? -n : n;
}

static struct totals total(const json_t *nics, const json_t *rings)
{
	struct totals t = {0};
	size_t index;
	const json_t *row;

	json_array_foreach(nics, index, row)
	{
		t.in += packets(row, "received") + packets(row, "injected");
		t.injected += packets(row, "injected");
		t.sent += packets(row, "sent");
		t.dropped += dropped(row);
		t.punted += packets(row, "punted");
		t.held += packets(row, "held");
		t.missed += packets(row, "missed");
		t.unaccounted += magnitude(packets(row, "unaccounted"));
	}
	json_array_foreach(rings, index, row) t.unaccounted +=
		magnitude(packets(row, "packets") - packets(row, "taken"));
	return t;
}

static json_t *ask_socket(void *runtime, const char *what, struct error *error)
{
	json_t *answer = api_show(runtime, true, what, NULL, error);
	json_t *rows = json_incref(json_object_get(answer, what));

	json_decref(answer);
	return rows;
}

struct account_source account_of_runtime(const char *runtime)
{
	return (struct account_source){ask_socket, (void *)runtime};
}

static json_t *ask(struct account_source source, const char *what, struct error *error)
{
	return source.show(source.context, what, error);
}

static int sample(struct account_source source, json_t **nics, json_t **rings, struct totals *t,
	struct error *error)
{
	*rings = NULL;
	*nics = ask(source, "counter", error);
	if (*nics)
		*rings = ask(source, "ring", error);
	if (!*rings) {
		json_decref(*nics);
		return -EIO;
	}
	*t = total(*nics, *rings);
	return 0;
}

int account_read(json_t *results, struct account_source source, struct error *error)
{
	struct totals t, before = {.in = -1};
	json_t *nics, *rings;
	int result = sample(source, &nics, &rings, &t, error);

	for (unsigned waited = 0; !result && waited < REST_PATIENCE_MS; waited += REST_MS) {
		if (t.in == before.in && t.sent == before.sent && t.held == 0 && t.unaccounted == 0)
			break;
		before = t;
		json_decref(nics);
		json_decref(rings);
		usleep(REST_MS * 1000);
		result = sample(source, &nics, &rings, &t, error);
	}
	if (result)
		return result;
	json_object_set_new(results, "counter", nics);
	json_object_set_new(results, "ring", rings);
	json_object_set_new(results, "packets",
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "in", t.in, "injected",
			t.injected, "out", t.sent + t.dropped + t.punted, "sent", t.sent, "punted",
			t.punted, "dropped", t.dropped, "held", t.held, "missed", t.missed,
			"unaccounted",
			magnitude(t.in - t.sent - t.dropped - t.punted - t.held) + t.unaccounted));
	static const char *const more[] = {"nic", "port", "drop", "router"};

	for (unsigned k = 0; k < sizeof(more) / sizeof(*more); k++) {
		json_t *rows = ask(source, more[k], error);

		if (!rows)
			return -EIO;
		json_object_set_new(results, more[k], rows);
	}
	return 0;
}

long long account_count(const json_t *results, const char *key)
{
	return packets(json_object_get(results, "packets"), key);
}

static const char *name_of(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static const json_t *ring_of(const json_t *rings, const char *ingress, const char *egress)
{
	size_t index;
	const json_t *row;

	json_array_foreach(
		rings, index, row) if (!strcmp(name_of(row, "ingress"), ingress) &&
				       !strcmp(name_of(row, "egress"), egress)) return row;
	return NULL;
}

static void print_matrix(const json_t *results, FILE *file)
{
	const json_t *nics = json_object_get(results, "nic");
	const json_t *rings = json_object_get(results, "ring");
	size_t i, e;
	const json_t *ingress, *egress;

	fprintf(file,
		"\nmoved by peer DMA, packets / bytes, from ingress NIC (row) to egress NIC "
		"(column)\n%-8s",
		"");
	json_array_foreach(nics, e, egress)
		fprintf(file, "%*s", MATRIX_CELL, name_of(egress, "name"));
	fputc('\n', file);
	json_array_foreach(nics, i, ingress)
	{
		fprintf(file, "%-8s", name_of(ingress, "name"));
		json_array_foreach(nics, e, egress)
		{
			const json_t *ring =
				ring_of(rings, name_of(ingress, "name"), name_of(egress, "name"));
			char cell[48];

			snprintf(cell, sizeof(cell), "%lld / %lld", packets(ring, "packets"),
				json_integer_value(json_object_get(ring, "bytes")));
			fprintf(file, "%*s", MATRIX_CELL, cell);
		}
		fputc('\n', file);
	}
}

static void print_drops(const json_t *results, FILE *file)
{
	size_t index;
	const json_t *row;
	bool any = false;

	fprintf(file, "\ndropped by the NICs, by reason\n");
	json_array_foreach(json_object_get(results, "drop"), index, row)
	{
		if (!packets(row, "packets"))
			continue;
		any = true;
		fprintf(file, "  %-20s %8lld  %s\n", name_of(row, "reason"),
			packets(row, "packets"), name_of(row, "meaning"));
	}
	if (!any)
		fprintf(file, "  nothing\n");
	if (account_count(results, "missed"))
		fprintf(file,
			"  %lld more were lost before a NIC had them (its port's socket was "
			"full)\n",
			account_count(results, "missed"));
}

void account_print(const json_t *results, FILE *file)
{
	const json_t *router = json_object_get(results, "router");
	const json_t *forwarded = json_object_get(results, "forwarded_by_kernel");
	double engines = 0;
	size_t index;
	const json_t *row;

	json_array_foreach(json_object_get(results, "nic"), index, row) engines +=
		json_real_value(json_object_get(row, "engine_cpu_seconds"));
	print_matrix(results, file);
	print_drops(results, file);
	fprintf(file,
		"\nCPU: engines %.2f s (cores of this host in place of the NICs' processors), "
		"driver %.2f s\n",
		engines, json_real_value(json_object_get(router, "driver_cpu_seconds")));
	fprintf(file,
		"packets in: %lld, %lld of them from the kernel; out: %lld sent, %lld to the "
		"kernel, %lld dropped by reason\n",
		account_count(results, "in"), account_count(results, "injected"),
		account_count(results, "sent"), account_count(results, "punted"),
		account_count(results, "dropped"));
	if (forwarded)
		fprintf(file, "forwarded by the kernel: %lld\n", json_integer_value(forwarded));
	else
		fprintf(file, "data packets through the driver: %lld\n",
			json_integer_value(json_object_get(router, "data_packets_through_driver")));
}
