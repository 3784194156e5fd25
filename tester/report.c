/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

static const struct {
	const char *key, *name;
	double fraction;
} percentiles[] = {
	{"p50_ns", "50 %", 0.5},
	{"p90_ns", "90 %", 0.9},
	{"p99_ns", "99 %", 0.99},
	{"p999_ns", "99.9 %", 0.999},
	{"p9999_ns", "99.99 %", 0.9999},
};
#define PERCENTILES (sizeof(percentiles) / sizeof(*percentiles))

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

json_t *report_latency_json(const struct histogram *h)
{
	uint64_t seen = 0;

	if (!h->count)
		return NULL;
	json_t *j = json_object(), *cdf = json_array();
	json_object_set_new(j, "count", integer(h->count));
	json_object_set_new(j, "min_ns", integer(h->min));
	json_object_set_new(j, "mean_ns", json_real(histogram_mean(h)));
	for (unsigned i = 0; i < PERCENTILES; i++)
		json_object_set_new(j, percentiles[i].key,
			integer(histogram_percentile(h, percentiles[i].fraction)));
	json_object_set_new(j, "max_ns", integer(h->max));
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (!h->bucket[i])
			continue;
		seen += h->bucket[i];
		uint64_t value = histogram_upper(i) < h->max ? histogram_upper(i) : h->max;
		json_array_append_new(cdf,
			json_pack("[I,f]", (json_int_t)value, (double)seen / (double)h->count));
	}
	json_object_set_new(j, "cdf", cdf);
	return j;
}

static json_t *windows_json(const struct tester_windows *w)
{
	json_t *j = json_pack("{s:i,s:f,s:f}", "windows", (int)w->count, "mpps", w->mpps,
		"best_mpps", w->best_mpps);

	if (w->probed) {
		json_object_set_new(j, "p50_ns", integer(w->p50_ns));
		json_object_set_new(j, "p99_ns", integer(w->p99_ns));
	}
	return j;
}

json_t *report_json(const struct tester_result *r)
{
	json_t *j = json_object(), *errors = json_object();

	json_object_set_new(j, "seconds", json_real(r->seconds));
	json_object_set_new(j, "mpps", json_real(r->mpps));
	json_object_set_new(j, "near", windows_json(&r->near));
	json_object_set_new(j, "busy", windows_json(&r->busy));
	json_object_set_new(j, "far", windows_json(&r->far));
	json_object_set_new(j, "spoilt_windows", integer(r->spoilt));
	json_object_set_new(j, "gbps", json_real(r->gbps));
	json_object_set_new(j, "sent", integer(r->sent));
	json_object_set_new(j, "received", integer(r->received));
	json_object_set_new(j, "lost", integer(r->lost));
	json_object_set_new(j, "refused", integer(r->refused));
	json_object_set_new(j, "reordered", integer(r->reordered));
	json_object_set_new(j, "duplicate", integer(r->duplicate));
	json_object_set_new(j, "checked", integer(r->checked));
	for (unsigned i = 0; i < CHECK_ERRORS; i++)
		json_object_set_new(errors, check_error_name[i], integer(r->error[i]));
	json_object_set_new(j, "errors", errors);
	json_object_set_new(j, "late_ms", json_real(r->late_ms));
	json_t *latency = report_latency_json(&r->latency);
	if (latency)
		json_object_set_new(j, "latency", latency);
	return j;
}

void report_text(FILE *out, const struct tester_result *r)
{
	fprintf(out, "%.3f Mpps  %.3f Gb/s  in %.2f s\n", r->mpps, r->gbps, r->seconds);
	fprintf(out, "sent %llu  received %llu  lost %llu", (unsigned long long)r->sent,
		(unsigned long long)r->received, (unsigned long long)r->lost);
	if (r->refused)
		fprintf(out, "  not taken by the link %llu", (unsigned long long)r->refused);
	fprintf(out, "\nchecked %llu  reordered %llu  duplicate %llu",
		(unsigned long long)r->checked, (unsigned long long)r->reordered,
		(unsigned long long)r->duplicate);
	for (unsigned i = 0; i < CHECK_ERRORS; i++)
		if (r->error[i])
			fprintf(out, "  wrong %s %llu", check_error_name[i],
				(unsigned long long)r->error[i]);
	fprintf(out, "\n");
	if (r->near.count && !r->busy.count && !r->far.count && !r->spoilt)
		fprintf(out, "windows of 10 ms: median %.3f Mpps, best %.3f\n", r->near.mpps,
			r->near.best_mpps);
	else if (r->near.count || r->busy.count || r->far.count)
		fprintf(out,
			"windows of 10 ms: %u near, median %.3f Mpps, best %.3f; %u busy, %.3f; "
			"%u far, %.3f; %u spoilt\n",
			r->near.count, r->near.mpps, r->near.best_mpps, r->busy.count, r->busy.mpps,
			r->far.count, r->far.mpps, r->spoilt);
	if (r->late_ms >= 1)
		fprintf(out, "the tester itself fell behind by %.1f ms in all\n", r->late_ms);
	if (!r->latency.count)
		return;
	fprintf(out, "latency ns: min %llu", (unsigned long long)r->latency.min);
	for (unsigned i = 0; i < PERCENTILES; i++)
		fprintf(out, "  %s %llu", percentiles[i].name,
			(unsigned long long)histogram_percentile(
				&r->latency, percentiles[i].fraction));
	fprintf(out, "  max %llu  (%llu probes)\n", (unsigned long long)r->latency.max,
		(unsigned long long)r->latency.count);
}
