/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/top_draw.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const top_view_name[TOP_VIEWS] = {"all", "matrix", "nic", "drop", "punt"};
const char *const top_unit_name[TOP_UNITS] = {"packets", "bits", "both"};
const char *const top_sort_name[TOP_SORTS] = {"rate", "total", "name"};

/* --- Lines ------------------------------------------------------------------------------------ */

/* A number in six characters: three digits that count, and k, M, G, T. */
static const char *number(double n, char text[16])
{
	static const char unit[] = " kMGTPE";
	unsigned k = 0;

	if (isnan(n)) {
		snprintf(text, 16, "-");
		return text;
	}
	while (n >= 999.5 && k < sizeof(unit) - 2) {
		n /= 1000;
		k++;
	}
	snprintf(text, 16, "%.*f%.*s",
		n >= 99.95 || (!k && n == floor(n)) ? 0
		: n >= 9.995                        ? 1
						    : 2,
		n, k ? 1 : 0, unit + k);
	return text;
}

__attribute__((format(printf, 2, 3))) static void put(struct top_screen *s, const char *format, ...)
{
	char *line = s->text[s->lines];
	const size_t used = strlen(line);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line + used, TOP_COLUMNS - used, format, arguments);
	va_end(arguments);
}

static void put_number(struct top_screen *s, int width, double n)
{
	char text[16];

	put(s, "%*s", width, number(n, text));
}

static void end_line(struct top_screen *s, enum top_style style)
{
	s->style[s->lines] = style;
	if (s->lines + 1 < TOP_LINES)
		s->lines++;
	s->text[s->lines][0] = 0;
}

static void heading(struct top_screen *s, enum top_style style, const char *text)
{
	end_line(s, TOP_PLAIN);
	put(s, "%s", text);
	end_line(s, style);
}

/* --- What is compared ------------------------------------------------------------------------- */

struct view {
	struct top_screen *s;
	const struct top_sample *now, *before;
	const struct top_choice *choice;
	double seconds;
	int selected; /* -1: none */
	int name;     /* width of the longest name */
};

static double difference(const struct view *v, uint64_t now, uint64_t before)
{
	return top_rate(now, before, v->seconds);
}

/* What is not known does not count. */
static double plus(double a, double b)
{
	return isnan(a) ? b : isnan(b) ? a : a + b;
}

static double flow(const struct view *v, unsigned i, unsigned e, bool bits)
{
	const struct top_nic *n = &v->now->nic[i], *b = &v->before->nic[i];

	return bits ? difference(v, n->to_bytes[e] * 8, b->to_bytes[e] * 8)
		    : difference(v, n->to[e], b->to[e]);
}

static double lost(const struct view *v, unsigned k)
{
	const struct top_nic *n = &v->now->nic[k], *b = &v->before->nic[k];
	double sum = difference(v, n->missed, b->missed);

	for (unsigned reason = 0; reason < P2PNIC_DROP_COUNT; reason++)
		sum = plus(sum, difference(v, n->dropped[reason], b->dropped[reason]));
	return sum;
}

/* A row of a table that is sorted. */
struct row {
	unsigned index;
	double rate;
	uint64_t total;
};

static enum top_sort sorting;

static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	const double rate_x = isnan(x->rate) ? 0 : x->rate, rate_y = isnan(y->rate) ? 0 : y->rate;

	if (sorting == TOP_BY_RATE && rate_x != rate_y)
		return rate_x < rate_y ? 1 : -1;
	if (sorting != TOP_BY_NAME && x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return (int)x->index - (int)y->index;
}

static void sort(const struct view *v, struct row *row, unsigned n)
{
	sorting = v->choice->sort;
	qsort(row, n, sizeof(*row), compare);
}

/* --- Parts ------------------------------------------------------------------------------------ */

static void draw_matrix(const struct view *v, bool bits)
{
	struct top_screen *s = v->s;
	double sum[P2PNIC_NICS_MAX + 1];
	const int width = v->name < 7 ? 8 : v->name + 1;

	heading(s, TOP_TITLE,
		bits ? "From NIC (row) to NIC (column), bit/s"
		     : "From NIC (row) to NIC (column), packets/s");
	put(s, "%-*s", v->name, "");
	for (unsigned e = 0; e < v->now->n; e++) {
		put(s, "%*s", width, v->now->nic[e].name);
		sum[e] = NAN;
	}
	sum[v->now->n] = NAN;
	put(s, "%*s", width, "total");
	end_line(s, TOP_PLAIN);
	for (unsigned i = 0; i < v->now->n; i++) {
		double all = NAN;

		put(s, "%-*s", v->name, v->now->nic[i].name);
		for (unsigned e = 0; e < v->now->n; e++) {
			const double rate = flow(v, i, e, bits);

			put_number(s, width, rate);
			all = plus(all, rate);
			sum[e] = plus(sum[e], rate);
		}
		put_number(s, width, all);
		sum[v->now->n] = plus(sum[v->now->n], all);
		end_line(s, v->selected == (int)i ? TOP_SELECTED : TOP_PLAIN);
	}
	put(s, "%-*s", v->name, "total");
	for (unsigned e = 0; e <= v->now->n; e++)
		put_number(s, width, sum[e]);
	end_line(s, TOP_PLAIN);
}

static double load(const struct view *v, unsigned k)
{
	const double now = v->now->nic[k].cpu_seconds, before = v->before->nic[k].cpu_seconds;

	return before >= 0 && now >= before && v->seconds > 0 ? (now - before) / v->seconds : NAN;
}

static void draw_nics(const struct view *v)
{
	struct top_screen *s = v->s;
	struct row row[P2PNIC_NICS_MAX];
	char text[128];

	for (unsigned k = 0; k < v->now->n; k++) {
		const struct top_nic *n = &v->now->nic[k], *b = &v->before->nic[k];

		row[k] = (struct row){k,
			plus(difference(v, n->received, b->received),
				difference(v, n->sent, b->sent)),
			n->received + n->sent};
	}
	sort(v, row, v->now->n);
	snprintf(text, sizeof(text), "%-*s  %-13s %-5s%9s%9s%9s%9s%9s%7s%8s%9s", v->name, "NIC",
		"state", "link", "rx pkt/s", "tx pkt/s", "rx bit/s", "tx bit/s", "lost/s", "held",
		"engine", "restarts");
	heading(s, TOP_HEADING, text);
	for (unsigned k = 0; k < v->now->n; k++) {
		const unsigned at = row[k].index;
		const struct top_nic *n = &v->now->nic[at], *b = &v->before->nic[at];
		const double busy = load(v, at);

		put(s, "%-*s  %-13s %-5s", v->name, n->name, n->state, n->link ? "up" : "down");
		put_number(s, 9, difference(v, n->received, b->received));
		put_number(s, 9, difference(v, n->sent, b->sent));
		put_number(s, 9, difference(v, n->received_bytes * 8, b->received_bytes * 8));
		put_number(s, 9, difference(v, n->sent_bytes * 8, b->sent_bytes * 8));
		put_number(s, 9, lost(v, at));
		put_number(s, 7, (double)n->held);
		if (isnan(busy))
			put(s, "%8s", "-");
		else
			put(s, "%7.0f%%", busy * 100);
		put(s, "%9llu", (unsigned long long)n->restarts);
		end_line(s, v->selected == (int)at ? TOP_SELECTED
			    : n->forwarding        ? TOP_PLAIN
						   : TOP_ALARM);
	}
}

/* Of all NICs, or the one selected. */
static bool counts(const struct view *v, unsigned k)
{
	return v->selected < 0 || v->selected == (int)k;
}

static void draw_drops(const struct view *v)
{
	struct top_screen *s = v->s;
	struct row row[P2PNIC_DROP_COUNT];
	unsigned rows = 0;
	char text[128];

	for (unsigned reason = 0; reason < P2PNIC_DROP_COUNT; reason++) {
		struct row r = {reason, NAN, 0};

		for (unsigned k = 0; k < v->now->n; k++) {
			const uint64_t now = v->now->nic[k].dropped[reason];

			if (!counts(v, k))
				continue;
			r.total += now;
			r.rate =
				plus(r.rate, difference(v, now, v->before->nic[k].dropped[reason]));
		}
		if (r.total)
			row[rows++] = r;
	}
	sort(v, row, rows);
	snprintf(text, sizeof(text), "%-20s %10s %14s", "Drops by reason", "packets/s", "in all");
	heading(s, TOP_HEADING, text);
	for (unsigned k = 0; k < rows; k++) {
		put(s, "%-20s ", top_drop_name(row[k].index));
		put_number(s, 10, row[k].rate);
		put(s, " %14llu", (unsigned long long)row[k].total);
		end_line(s, TOP_PLAIN);
	}
	if (!rows) {
		put(s, "none");
		end_line(s, TOP_PLAIN);
	}
}

static void draw_punts(const struct view *v)
{
	struct top_screen *s = v->s;
	struct row row[P2PNIC_PUNT_COUNT];
	uint64_t policed[P2PNIC_PUNT_COUNT] = {0};
	double policed_rate[P2PNIC_PUNT_COUNT];
	unsigned rows = 0;
	char text[128];

	for (unsigned class = 0; class < P2PNIC_PUNT_COUNT; class ++) {
		struct row r = {class, NAN, 0};

		policed_rate[class] = NAN;
		for (unsigned k = 0; k < v->now->n; k++) {
			const struct top_nic *n = &v->now->nic[k], *b = &v->before->nic[k];

			if (!counts(v, k))
				continue;
			r.total += n->passed[class];
			r.rate = plus(r.rate, difference(v, n->passed[class], b->passed[class]));
			policed[class] += n->policed[class];
			policed_rate[class] = plus(policed_rate[class],
				difference(v, n->policed[class], b->policed[class]));
		}
		if (r.total || policed[class])
			row[rows++] = r;
	}
	sort(v, row, rows);
	snprintf(text, sizeof(text), "%-20s %10s %14s %10s %14s", "To the kernel", "packets/s",
		"in all", "policed/s", "in all");
	heading(s, TOP_HEADING, text);
	for (unsigned k = 0; k < rows; k++) {
		const unsigned class = row[k].index;

		put(s, "%-20s ", top_class_name(class));
		put_number(s, 10, row[k].rate);
		put(s, " %14llu ", (unsigned long long)row[k].total);
		put_number(s, 10, policed_rate[class]);
		put(s, " %14llu", (unsigned long long)policed[class]);
		end_line(s, policed_rate[class] > 0 ? TOP_ALARM : TOP_PLAIN);
	}
	if (!rows) {
		put(s, v->now->kernel ? "none" : "the router has no kernel to give packets to");
		end_line(s, TOP_PLAIN);
	}
}

static void draw_help(struct top_screen *s)
{
	static const char *const text[] = {"",
		"  v, 1 to 5    view: all, matrix, NICs, drops, punts",
		"  u            unit of the matrix: packets/s, bit/s, both",
		"  s            sort by rate, by total, by name",
		"  n, N         select the next NIC, the one before: its drops and punts only",
		"  a            all NICs", "  arrows       scroll; PgUp, PgDn by a screen, Home",
		"  + -          slower, faster", "  space        pause", "  q            quit",
		"  ?            this; any key goes back"};

	for (size_t k = 0; k < sizeof(text) / sizeof(*text); k++) {
		put(s, "%s", text[k]);
		end_line(s, TOP_PLAIN);
	}
}

/* Two lines: what is in sum, and what is chosen or wrong. */
static void draw_summary(const struct view *v, const char *why)
{
	struct top_screen *s = v->s;
	const struct top_choice *c = v->choice;
	double packets = NAN, bits = NAN, gone = NAN;
	unsigned up = 0;
	char a[16], b[16], d[16];

	for (unsigned i = 0; i < v->now->n; i++) {
		up += v->now->nic[i].forwarding;
		gone = plus(gone, lost(v, i));
		for (unsigned e = 0; e < v->now->n; e++) {
			packets = plus(packets, flow(v, i, e, false));
			bits = plus(bits, flow(v, i, e, true));
		}
	}
	put(s,
		"p2pnic top: %s packets/s, %s bit/s, lost %s/s; %u of %u NICs forward; %llu + %llu "
		"routes",
		number(packets, a), number(bits, b), number(gone, d), up, v->now->n,
		(unsigned long long)v->now->routes4, (unsigned long long)v->now->routes6);
	end_line(s, TOP_TITLE);
	if (*why) {
		put(s, "no answer%s: %s", v->now->n ? ", what is shown is old" : "", why);
		end_line(s, TOP_ALARM);
		return;
	}
	put(s, "%s, every %.3g s, by %s%s%s%s; ? for help", v->now->configuration, c->interval,
		top_sort_name[c->sort], *c->nic ? ", only " : "", c->nic,
		c->paused ? ", paused" : "");
	end_line(s, TOP_PLAIN);
}

void top_draw(struct top_screen *s, const struct top_sample *now, const struct top_sample *before,
	const struct top_choice *choice, const char *why)
{
	struct view v = {s, now, before, choice, top_sample_seconds(now, before), -1, 5};
	const enum top_view view = choice->view;

	s->lines = 0;
	s->text[0][0] = 0;
	for (unsigned k = 0; k < now->n; k++) {
		const int length = (int)strlen(now->nic[k].name);

		v.name = length > v.name ? length : v.name;
		if (!strcmp(now->nic[k].name, choice->nic))
			v.selected = (int)k;
	}
	s->left = (unsigned)v.name;
	draw_summary(&v, why);
	if (choice->help) {
		draw_help(s);
		return;
	}
	if (!now->n)
		return;
	if ((view == TOP_ALL || view == TOP_MATRIX) && choice->unit != TOP_BITS)
		draw_matrix(&v, false);
	if ((view == TOP_ALL || view == TOP_MATRIX) && choice->unit != TOP_PACKETS)
		draw_matrix(&v, true);
	if (view == TOP_ALL || view == TOP_NICS)
		draw_nics(&v);
	if (view == TOP_ALL || view == TOP_DROPS)
		draw_drops(&v);
	if (view == TOP_PUNTS || (view == TOP_ALL && now->kernel))
		draw_punts(&v);
}
