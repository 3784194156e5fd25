/* SPDX-License-Identifier: BSD-3-Clause */
#include "window.h"

#include "median.h"

#include <stdbool.h>

static bool is_near(const struct tester_load *load, struct cores_state s)
{
	return s.round_trip >= load->near_low && s.round_trip <= load->near_high;
}

static bool is_alone(const struct tester_load *load, struct cores_state s)
{
	return !load->step_high || (s.step >= 0 && s.step <= load->step_high);
}

enum window_kind window_kind_of(
	const struct tester_load *load, struct cores_state before, struct cores_state after)
{
	if (!load->cores)
		return WINDOW_NEAR;
	if (is_near(load, before) && is_near(load, after))
		return is_alone(load, before) && is_alone(load, after) ? WINDOW_NEAR : WINDOW_BUSY;
	return before.round_trip > load->near_high && after.round_trip > load->near_high
		       ? WINDOW_FAR
		       : WINDOW_SPOILT;
}

void windows_add(
	struct windows *w, enum window_kind kind, double mpps, const struct histogram *latency)
{
	struct window_class *const classes[] = {&w->near, &w->busy, &w->far};

	if (kind == WINDOW_SPOILT) {
		w->spoilt++;
		return;
	}
	struct window_class *c = classes[kind];
	if (c->count == TESTER_WINDOWS_MAX)
		return;
	c->mpps[c->count++] = mpps;
	if (latency->count < WINDOW_PROBES_MIN)
		return;
	c->p50[c->probed] = (double)histogram_percentile(latency, 0.5);
	c->p99[c->probed++] = (double)histogram_percentile(latency, 0.99);
}

static void report(struct window_class *c, struct tester_windows *out)
{
	out->count = c->count;
	out->mpps = median(c->mpps, c->count);
	out->best_mpps = c->count ? c->mpps[c->count - 1] : 0;
	out->probed = c->probed;
	out->p50_ns = (uint64_t)median(c->p50, c->probed);
	out->p99_ns = (uint64_t)median(c->p99, c->probed);
}

void windows_report(struct windows *w, struct tester_result *r)
{
	report(&w->near, &r->near);
	report(&w->busy, &r->busy);
	report(&w->far, &r->far);
	r->spoilt = w->spoilt;
}
