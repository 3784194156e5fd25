/* SPDX-License-Identifier: BSD-3-Clause */
#include "metrics/text.h"

#include "router/counters_json.h"
#include "router/histogram.h"

#include <p2pnic/counters.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "p2pnic_"

static const char *const drop_name[] = {
#define NAME(symbol, name, meaning) name,
	P2PNIC_DROP_REASONS(NAME)
#undef NAME
};

static const char *const bound_text[] = {
#define TEXT(ns, text) text,
	HISTOGRAM_BOUNDS(TEXT)
#undef TEXT
};

/* --- A sample --------------------------------------------------------------------------------- */

/* Of a metric, without its own labels. */
static size_t name_length(const char *metric)
{
	return strcspn(metric, "{");
}

static bool same_name(const char *a, const char *b)
{
	return name_length(a) == name_length(b) && !strncmp(a, b, name_length(a));
}

/* As the format wants it in quotes. */
static void put_escaped(FILE *out, const char *text)
{
	for (; *text; text++)
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			putc(*text, out);
}

/* A label; the first opens the braces. */
static void put_label(FILE *out, bool *open, const char *name, const char *value)
{
	fprintf(out, "%s%s=\"", *open ? "," : "{", name);
	put_escaped(out, value);
	putc('"', out);
	*open = true;
}

static void put_value(FILE *out, const struct counter *c, const json_t *value)
{
	const double scale = c->unit == MILLISECONDS ? 1e-3 : c->unit == MICROSECONDS ? 1e-6 : 1;

	if (json_is_boolean(value))
		fprintf(out, " %d\n", json_is_true(value));
	else if (scale == 1 && json_is_integer(value))
		fprintf(out, " %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	else
		fprintf(out, " %.9g\n", json_number_value(value) * scale);
}

static void put_sample(
	FILE *out, const struct counter_set *set, const struct counter *c, const json_t *row)
{
	const json_t *value = counter_get(row, c->key);
	const size_t length = name_length(c->metric);
	const char *text[2] = {NULL, NULL};
	bool open = false;

	for (unsigned k = 0; k < 2 && set->label[k]; k++) {
		text[k] = json_string_value(json_object_get(row, set->label_key[k]));
		if (!text[k])
			return;
	}
	if (!json_is_number(value) && !json_is_boolean(value))
		return;
	fprintf(out, PREFIX "%.*s", (int)length, c->metric);
	for (unsigned k = 0; k < 2 && text[k]; k++)
		put_label(out, &open, set->label[k], text[k]);
	/* Its own are in braces already. */
	if (c->metric[length])
		fprintf(out, "%s%.*s", open ? "," : "{", (int)(strlen(c->metric + length) - 2),
			c->metric + length + 1);
	if (open || c->metric[length])
		putc('}', out);
	put_value(out, c, value);
}

static void put_rows(
	FILE *out, const struct counter_set *set, const struct counter *c, const json_t *answer)
{
	const json_t *place = json_object_get(answer, set->place), *row;
	size_t index;

	if (json_is_object(place)) {
		put_sample(out, set, c, place);
		return;
	}
	json_array_foreach(place, index, row)
	{
		put_sample(out, set, c, row);
	}
}

/* --- All of them ------------------------------------------------------------------------------ */

static void put_head(FILE *out, const char *metric, const char *help, const char *type)
{
	const int length = (int)name_length(metric);

	fprintf(out, "# HELP " PREFIX "%.*s %s\n# TYPE " PREFIX "%.*s %s\n", length, metric, help,
		length, metric, type);
}

/* Of a metric that has several rows in the table the first has the words. */
static bool is_first(const struct counter_set *of, const struct counter *c)
{
	for (const struct counter_set *set = counter_sets; set <= of; set++)
		for (size_t k = 0; k < set->counters; k++) {
			if (&set->counter[k] == c)
				return true;
			if (same_name(set->counter[k].metric, c->metric))
				return false;
		}
	return true;
}

static void put_counters(FILE *out, const json_t *answer)
{
	const struct counter_set *end = counter_sets + counter_sets_count;

	for (const struct counter_set *of = counter_sets; of < end; of++)
		for (const struct counter *c = of->counter; c < of->counter + of->counters; c++) {
			if (!is_first(of, c))
				continue;
			put_head(out, c->metric, c->help, c->type == COUNTER ? "counter" : "gauge");
			/* All samples of a metric stand together. */
			for (const struct counter_set *set = of; set < end; set++)
				for (size_t k = 0; k < set->counters; k++)
					if (same_name(set->counter[k].metric, c->metric))
						put_rows(out, set, &set->counter[k], answer);
		}
}

static void put_times(FILE *out, const json_t *answer)
{
	for (const struct counter_time *t = counter_times; t < counter_times + counter_times_count;
		t++) {
		const json_t *histogram = json_object_get(json_object_get(answer, "times"), t->key);
		const json_t *buckets = json_object_get(histogram, "buckets");
		uint64_t sum = 0;

		if (json_array_size(buckets) != HISTOGRAM_BUCKETS + 1)
			continue;
		put_head(out, t->metric, t->help, "histogram");
		for (unsigned k = 0; k <= HISTOGRAM_BUCKETS; k++) {
			sum += (uint64_t)json_integer_value(json_array_get(buckets, k));
			fprintf(out, PREFIX "%s_bucket{le=\"%s\"} %" PRIu64 "\n", t->metric,
				k < HISTOGRAM_BUCKETS ? bound_text[k] : "+Inf", sum);
		}
		fprintf(out, PREFIX "%s_sum %.9g\n" PREFIX "%s_count %" PRIu64 "\n", t->metric,
			json_number_value(json_object_get(histogram, "sum")), t->metric, sum);
	}
}

static const char *pair_key(
	const json_t *a, const char *name_a, const json_t *b, const char *name_b, char key[128])
{
	const char *first = json_string_value(json_object_get(a, name_a));
	const char *second = json_string_value(json_object_get(b, name_b));

	snprintf(key, 128, "%.60s %.60s", first ? first : "", second ? second : "");
	return key;
}

/* A row for each NIC and reason, zeros too: a series must be there before it grows. */
static json_t *drop_rows(const json_t *answer)
{
	json_t *rows = json_array();
	const json_t *row;
	size_t index;

	json_array_foreach(json_object_get(answer, "counter"), index, row)
	{
		const json_t *nic = json_object_get(row, "nic");
		const json_t *dropped = json_object_get(row, "dropped");

		for (unsigned k = 0; json_is_object(dropped) && k < P2PNIC_DROP_COUNT; k++)
			json_array_append_new(rows, json_pack("{s:O, s:s, s:I}", "nic", nic,
							    "reason", drop_name[k], "packets",
							    json_integer_value(json_object_get(
								    dropped, drop_name[k]))));
	}
	return rows;
}

/* Likewise for each pair of NICs that are up. */
static json_t *ring_rows(const json_t *answer)
{
	const json_t *counter = json_object_get(answer, "counter"), *row, *other;
	json_t *rows = json_array(), *known = json_object();
	char key[128];
	size_t i, e;

	json_array_foreach(json_object_get(answer, "ring"), i, row)
	{
		json_array_append(rows, (json_t *)row);
		json_object_set(known, pair_key(row, "ingress", row, "egress", key), (json_t *)row);
	}
	json_array_foreach(counter, i, row)
	{
		json_array_foreach(counter, e, other)
		{
			if (!json_object_get(row, "received") ||
				!json_object_get(other, "received") ||
				json_object_get(known, pair_key(row, "nic", other, "nic", key)))
				continue;
			json_array_append_new(
				rows, json_pack("{s:O, s:O, s:i, s:i, s:{s:i, s:i}}", "ingress",
					      json_object_get(row, "nic"), "egress",
					      json_object_get(other, "nic"), "packets", 0, "bytes",
					      0, "taken", "packets", 0, "bytes", 0));
		}
	}
	json_decref(known);
	return rows;
}

char *metrics_text(const json_t *answer, size_t *bytes)
{
	const char *version = json_string_value(json_object_get(answer, "version"));
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);
	json_t *whole;

	if (!out)
		return NULL;
	put_head(out, "up", "Whether the router answers.", "gauge");
	fprintf(out, PREFIX "up %d\n", answer != NULL);
	if (version) {
		put_head(out, "build_info", "The router's version.", "gauge");
		fputs(PREFIX "build_info{version=\"", out);
		put_escaped(out, version);
		fputs("\"} 1\n", out);
	}
	if (answer) {
		whole = json_copy((json_t *)answer);
		json_object_set_new(whole, "drop", drop_rows(answer));
		json_object_set_new(whole, "ring", ring_rows(answer));
		put_counters(out, whole);
		put_times(out, answer);
		json_decref(whole);
	}
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

/* --- The manual ------------------------------------------------------------------------------- */

static const char *unit_name(enum counter_unit unit)
{
	static const char *const name[] = {[COUNT] = "",
		[PACKETS] = "packets",
		[BYTES] = "bytes",
		[SECONDS] = "s",
		[MILLISECONDS] = "ms",
		[MICROSECONDS] = "µs",
		[TRUTH] = "true, false"};

	return name[unit];
}

static void put_labels(FILE *out, const struct counter_set *set)
{
	for (unsigned k = 0; k < 2 && set->label[k]; k++)
		fprintf(out, "%s%s", k ? ", " : "; labels: ", set->label[k]);
}

static void manual_set(FILE *out, const struct counter_set *set)
{
	fprintf(out, "\n## %s\n\n", set->place);
	if (*set->shown)
		fprintf(out, "`p2pnic show %s`", set->shown);
	else
		fputs("In metrics only", out);
	put_labels(out, set);
	fputs(".\n\n| JSON | unit | metric | type | what | how to read it "
	      "|\n|---|---|---|---|---|---"
	      "|\n",
		out);
	for (size_t k = 0; k < set->counters; k++) {
		const struct counter *c = &set->counter[k];

		fprintf(out, "| %s | %s | `" PREFIX "%s` | %s | %s | %s |\n", c->key,
			unit_name(c->unit), c->metric, c->type == COUNTER ? "counter" : "gauge",
			*c->help ? c->help : "as above", c->read);
	}
}

void metrics_manual(FILE *out)
{
	fputs("# p2pnic: counters\n"
	      "\n"
	      "Everything that is counted or measured, from the table in router/counters.h. This "
	      "page "
	      "is what\n`p2pnic metrics --manual` prints. JSON: the key in a row of "
	      "`p2pnic show WHAT -j`; a dot leads into\nan object. Metrics are Prometheus'; their "
	      "units are bytes, seconds and packets. A counter begins at\n0 when what it counts "
	      "begins anew: a NIC's with its process, the router's with the router.\n",
		out);
	for (size_t k = 0; k < counter_sets_count; k++)
		manual_set(out, &counter_sets[k]);
	fputs("\n## times\n\nHistograms, in metrics only.\n\n| metric | what | how to read it |\n"
	      "|---|---|---|\n",
		out);
	for (const struct counter_time *t = counter_times; t < counter_times + counter_times_count;
		t++)
		fprintf(out, "| `" PREFIX "%s` | %s | %s |\n", t->metric, t->help, t->read);
	fputs("\nAlso `" PREFIX "up`, 1 if the router answers, and `" PREFIX
	      "build_info`, whose label is the router's\nversion.\n",
		out);
}

json_t *metrics_manual_json(void)
{
	json_t *counters = json_array(), *times = json_array(), *row;

	for (size_t k = 0; k < counter_sets_count; k++) {
		const struct counter_set *set = &counter_sets[k];

		for (const struct counter *c = set->counter; c < set->counter + set->counters;
			c++) {
			row = json_pack("{s:s, s:s, s:[s*, s*], s:s, s:s, s:s+, s:s, s:s, s:s}",
				"set", set->place, "show", set->shown, "labels", set->label[0],
				set->label[1], "key", c->key, "unit", unit_name(c->unit), "metric",
				PREFIX, c->metric, "type", c->type == COUNTER ? "counter" : "gauge",
				"help", c->help, "read", c->read);
			json_array_append_new(counters, row);
		}
	}
	for (const struct counter_time *t = counter_times; t < counter_times + counter_times_count;
		t++)
		json_array_append_new(times, json_pack("{s:s+, s:s, s:s}", "metric", PREFIX,
						     t->metric, "help", t->help, "read", t->read));
	return json_pack("{s:o, s:o}", "counters", counters, "times", times);
}
