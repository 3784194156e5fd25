/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/show_kernel.h"
#include "router/audit.h"
#include "router/census.h"
#include "router/counters_json.h"
#include "router/doctor.h"
#include "router/kernel.h"
#include "router/router.h"

json_t *show_doctor(const struct router *r, bool routes)
{
	const struct doctor doctor = {.config = r->config,
		.netns = &r->netns,
		.ways = r->kernel ? &r->kernel->routes.ways : NULL,
		.routes = routes,
		.host = routes};

	return doctor_look(&doctor);
}

json_t *show_kernel_counts(const struct router *r)
{
	const struct router_kernel *k = r->kernel;
	const struct kernel_counters *counted = kernel_state_counters(k->reader.state);
	const struct audit_counts *audits = audit_counts(r);
	struct fpm_counts fpm = {0};
	json_t *o = json_object();

	if (k->fpm)
		fpm = *fpm_counts(k->fpm);
	COUNTERS_KERNEL(COUNTER_PUT)
	return o;
}

json_t *show_census_counts(const struct census *census)
{
	json_t *o = json_object();

	COUNTERS_CENSUS(COUNTER_PUT)
	return o;
}

json_t *show_kernel(struct router *r)
{
	struct census census;
	json_t *o, *more;

	if (!r->kernel)
		return json_object();
	census_take(r, &census);
	o = show_kernel_counts(r);
	more = show_census_counts(&census);
	json_object_update(o, more);
	json_decref(more);
	return o;
}
