/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `p2pnic model figures`: throughput by frame size, latency, CPU, drawn by gnuplot, and the
 * numbers. A line is the model with its own values, a band what lies between 2.5 and 97.5 % of the
 * draws of all uncertain values. Calibration points are drawn in: what the model was fitted to.
 */
#include "cli/command.h"
#include "cli/command_model.h"

#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DRAWS     200u
#define CDF_LOW   0
#define CDF_HIGH  99 /* the last one in a hundred is not drawn */
#define POINT_MAX 256u

/* The table below a throughput figure: of the screen's height. */
#define LIMITS_TOP  0.215
#define LIMITS_STEP 0.032

static const uint32_t frames[] = {64, 128, 256, 512, 1024, 1518};
#define FRAMES 6u

enum figure { FIGURE_ONE, FIGURE_FOUR, FIGURE_LATENCY_1, FIGURE_LATENCY_10, FIGURES };

static const char *const names[FIGURES] = {
	"throughput-1", "throughput-4", "latency-1g", "latency-10g"};

static const struct line {
	const char *program, *colour;
	bool band;
} lines[] = {
	{"paper", "#009e73", true},
	{"fixed", "#cc79a7", false},
	{"rd", "#56b4e9", false},
	{"p2pnic", "#0072b2", true},
	{"bn", "#888888", false},
	{"l3fwd", "#d55e00", true},
};
#define LINES (sizeof(lines) / sizeof(*lines))

/* A point of a throughput figure, or a curve of the latency one. */
struct point {
	enum figure figure;
	const struct line *line;
	uint32_t frame;
	uint64_t bit_per_s;
	struct scenario scenario;
	struct answer base;
	uint64_t low, high;                                           /* of packets a second */
	uint64_t early[ANSWER_PERCENTILES], late[ANSWER_PERCENTILES]; /* of latency */
};

struct figures {
	const struct model_options *options;
	unsigned draws, points;
	struct point *point; /* POINT_MAX */
	char folder[PATH_MAX];
};

/* --- Points ----------------------------------------------------------------------------------- */

static int add(struct figures *f, enum figure figure, const struct line *line, uint32_t frame,
	const char *rate)
{
	struct point *p = &f->point[f->points++];
	char program[32], size[32], pattern[32], speed[32];
	const char *const set[] = {program, size, pattern, speed, "packets=5000", NULL};

	p->figure = figure;
	p->line = line;
	p->frame = frame;
	snprintf(program, sizeof(program), "program=%s", line->program);
	snprintf(size, sizeof(size), "frame=%u", frame);
	snprintf(pattern, sizeof(pattern), "pattern=%s",
		figure == FIGURE_FOUR ? "4in-4out" : "1in-1out");
	snprintf(speed, sizeof(speed), "rate=%s", rate);
	if (model_scenario(f->options, NULL, set, &p->scenario))
		return -EINVAL;
	p->bit_per_s = p->scenario.setup.bit_per_s;
	return 0;
}

static int add_all(struct figures *f)
{
	static const char *const rates[] = {"1 Gb/s", "10 Gb/s"};
	int code = 0;

	for (unsigned l = 0; l < LINES; l++) {
		for (unsigned k = 0; k < FRAMES && !code; k++)
			code = add(f, FIGURE_ONE, &lines[l], frames[k], "line");
		for (unsigned k = 0; k < FRAMES && !code; k++)
			code = add(f, FIGURE_FOUR, &lines[l], frames[k], "line");
		for (unsigned k = 0; k < 2 && !code && lines[l].band; k++)
			code = add(f, FIGURE_LATENCY_1 + k, &lines[l], 64, rates[k]);
	}
	return code;
}

/* --- Runs ------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Both ends of what 95 % of them are. Sorts. */
static void ends(uint64_t *value, unsigned n, uint64_t *low, uint64_t *high)
{
	qsort(value, n, sizeof(*value), compare);
	*low = value[n / 40];
	*high = value[n - 1 - n / 40];
}

static void take_draws(struct point *p, const struct answer *drawn, unsigned n)
{
	uint64_t *value = calloc(n ? n : 1, sizeof(*value));

	if (!value)
		abort();
	for (unsigned k = 0; k < n; k++)
		value[k] = drawn[k].packets;
	ends(value, n, &p->low, &p->high);
	for (unsigned q = 0; q < ANSWER_PERCENTILES; q++) {
		for (unsigned k = 0; k < n; k++)
			value[k] = drawn[k].latency[q];
		ends(value, n, &p->early[q], &p->late[q]);
	}
	free(value);
}

/* Of a draw's throughput, ps. By the host: what fills in overload swings for longer, the more bytes
 * there are to fill. */
static uint64_t measured(const struct machine_setup *s)
{
	return (s->program->by_host ? s->in * (50ull + s->frame / 4) : 50) * PS_PER_US;
}

/* Draw d is the same machine at each point. */
static int run_all(struct figures *f)
{
	const unsigned each = 1 + f->draws;
	struct run *runs = calloc((size_t)f->points * each, sizeof(*runs));
	struct answer *answers = calloc((size_t)f->points * each, sizeof(*answers));
	unsigned n = 0;
	int code;

	if (!runs || !answers)
		abort();
	for (unsigned k = 0; k < f->points; k++)
		for (unsigned d = 0; d < (f->point[k].line->band ? each : 1); d++) {
			struct run *r = &runs[n++];

			*r = model_run_of(&f->point[k].scenario);
			r->draw = d;
			if (d && f->point[k].figure <= FIGURE_FOUR)
				r->setup.measure = measured(&r->setup);
			else if (d)
				r->setup.packets = 1000;
		}
	code = model_runs(runs, n, answers);
	n = 0;
	for (unsigned k = 0; k < f->points && !code; k++) {
		struct point *p = &f->point[k];

		p->base = answers[n++];
		if (p->line->band) {
			take_draws(p, &answers[n], f->draws);
			n += f->draws;
		}
	}
	free(runs);
	free(answers);
	return code;
}

/* --- Drawing ---------------------------------------------------------------------------------- */

static FILE *script(const struct figures *f, const char *name)
{
	char path[PATH_MAX + 64];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s.gnuplot", f->folder, name);
	out = fopen(path, "w");
	if (!out) {
		fprintf(stderr, "p2pnic model: %s: %s\n", path, strerror(errno));
		return NULL;
	}
	fprintf(out,
		"set encoding utf8\n"
		"if (ARG1 eq 'svg') set terminal svg size 1150,700 background 'white' noenhanced "
		"font 'sans,11'; else set terminal pngcairo size 1150,700 noenhanced font "
		"'sans,11'\n"
		"set output '%s.'.ARG1\n"
		"set grid\nset style fill transparent solid 0.18 noborder\n"
		"set rmargin at screen 0.98\n"
		"set key tmargin center horizontal maxcols 3 reverse Left\n",
		name);
	return out;
}

/* Closes the script and has it drawn, in both formats. */
static int draw(const struct figures *f, FILE *out, const char *name)
{
	extern char **environ;
	char file[64];
	int status = 0;

	if (fclose(out)) {
		fprintf(stderr, "p2pnic model: %s: %s\n", f->folder, strerror(errno));
		return -EIO;
	}
	snprintf(file, sizeof(file), "%s.gnuplot", name);
	for (unsigned svg = 0; svg < 2; svg++) {
		const char *const argv[] = {"gnuplot", "-c", file, svg ? "svg" : "png", NULL};
		posix_spawn_file_actions_t actions;
		pid_t child;
		int code;

		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_addchdir_np(&actions, f->folder);
		code = posix_spawnp(
			&child, "gnuplot", &actions, NULL, (char *const *)argv, environ);
		posix_spawn_file_actions_destroy(&actions);
		if (code || waitpid(child, &status, 0) < 0 || status) {
			fprintf(stderr, "p2pnic model: gnuplot: %s\n",
				code ? strerror(code) : "failed");
			return -EINVAL;
		}
	}
	return 0;
}

/* Servers in the words of the figures: "ingress core" of "nic0 ingress core". */
static const char *limit_of(const struct answer *a)
{
	const char *name = a->servers ? a->server[0].name : "-";
	const char *space = strchr(name, ' ');

	return !strncmp(name, "nic", 3) && space ? space + 1 : name;
}

/* Of a kind, and short: "host core" of "host port0 queue2 core". */
static void limit_text(const struct answer *a, char *text, size_t room)
{
	char kind[SERVER_NAME_BYTES];

	server_kind(kind, limit_of(a));
	snprintf(text, room, "%s %.0f %%", strncmp(kind, "host port", 9) ? kind : "host core",
		a->servers ? (double)a->server[0].utilisation / 1e4 : 0);
}

static double mpps(uint64_t packets)
{
	return (double)packets / 1e6;
}

static double gbps(uint64_t packets, uint32_t frame)
{
	return (double)packets * frame * 8 / 1e9;
}

static double height(enum figure figure, uint64_t packets, uint32_t frame)
{
	return figure == FIGURE_ONE ? mpps(packets) : gbps(packets, frame);
}

/* Calibration points that are rates; of a ratio, the rate that it gives with another. */
static const struct known {
	enum figure figure;
	unsigned frame; /* index */
	double height;
} known[] = {
	{FIGURE_ONE, 0, 35.85},
	{FIGURE_ONE, 0, 40.37},
	{FIGURE_ONE, 0, 23.9},
	{FIGURE_FOUR, 5, 68.1},
};

static void put_lines(FILE *out, const struct figures *f, enum figure figure)
{
	for (unsigned l = 0; l < LINES; l++) {
		unsigned x = 0;

		fprintf(out, "$d%u << EOD\n", l);
		for (unsigned k = 0; k < f->points; k++) {
			const struct point *p = &f->point[k];

			if (p->figure != figure || p->line != &lines[l])
				continue;
			fprintf(out, "%u %.4f %.4f %.4f\n", x++,
				height(figure, p->base.packets, p->frame),
				height(figure, p->low, p->frame),
				height(figure, p->high, p->frame));
		}
		fprintf(out, "EOD\n");
	}
	fprintf(out, "$known << EOD\n");
	for (unsigned k = 0; k < sizeof(known) / sizeof(*known); k++)
		if (known[k].figure == figure)
			fprintf(out, "%u %.4g\n", known[k].frame, known[k].height);
	fprintf(out, "EOD\n");
}

struct label {
	const char *at; /* coordinates of x: first (the axis) or screen */
	double x, y;    /* y: of the screen */
	const char *align, *colour;
};

static void put_label(FILE *out, const struct label *l, const char *text)
{
	fprintf(out, "set label '%s' at %s %.3f, screen %.3f %s font ',9' tc rgb '%s'\n", text,
		l->at, l->x, l->y, l->align, l->colour);
}

/* A table below the axis, a row a program: beside the points, names would lie on each other. */
static void put_limits(FILE *out, const struct figures *f, enum figure figure)
{
	struct label title = {"screen", 0.01, LIMITS_TOP, "left", "black"};
	struct label cell = {"first", 0, LIMITS_TOP, "center", NULL};

	put_label(out, &title, "busiest:");
	for (unsigned l = 0; l < LINES; l++) {
		title.colour = cell.colour = lines[l].colour;
		title.y = cell.y -= LIMITS_STEP;
		cell.x = 0;
		put_label(out, &title, model_program_label(lines[l].program));
		for (unsigned k = 0; k < f->points; k++) {
			const struct point *p = &f->point[k];
			char limit[64];

			if (p->figure != figure || p->line != &lines[l])
				continue;
			limit_text(&p->base, limit, sizeof(limit));
			put_label(out, &cell, limit);
			cell.x++;
		}
	}
}

static int draw_throughput(const struct figures *f, enum figure figure)
{
	const char *name = names[figure];
	const unsigned ports = figure == FIGURE_ONE ? 1 : 4;
	FILE *out = script(f, name);

	if (!out)
		return -EIO;
	put_lines(out, f, figure);
	put_limits(out, f, figure);
	fprintf(out,
		"set lmargin at screen 0.15\nset bmargin at screen 0.31\n"
		"set title '%s, 40 GbE: model, %s; bands: 95 %% of %u draws of the unknowns'\n"
		"set ylabel '%s'\nset xlabel 'bytes of a frame'\nset yrange [0:*]\nset xrange "
		"[-0.5:5.5]\nset xtics (",
		ports == 1 ? "One port to another" : "Four ports to four", "frames at line rate",
		f->draws, figure == FIGURE_ONE ? "Mpps" : "Gb/s of frames, all ports");
	for (unsigned k = 0; k < FRAMES; k++)
		fprintf(out, "%s'%u' %u", k ? ", " : "", frames[k], k);
	fprintf(out, ")\n$wire << EOD\n");
	for (unsigned k = 0; k < FRAMES; k++)
		fprintf(out, "%u %.3f\n", k,
			height(figure, ports * 40000000000 / 8 / (frames[k] + 20), frames[k]));
	fprintf(out, "EOD\nplot ");
	for (unsigned l = 0; l < LINES; l++)
		if (lines[l].band)
			fprintf(out, "$d%u using 1:3:4 with filledcurves lc rgb '%s' notitle, \\\n",
				l, lines[l].colour);
	fprintf(out, "$wire using 1:2 with lines lc rgb 'black' dt 3 title 'wire', \\\n");
	for (unsigned l = 0; l < LINES; l++)
		fprintf(out,
			"$d%u using 1:2 with linespoints lc rgb '%s' lw 2 dt %s pt %d title "
			"'%s%s', \\\n",
			l, lines[l].colour, lines[l].band ? "1" : "(8,8)", 5 + 2 * (int)(l % 3),
			model_program_label(lines[l].program), lines[l].band ? "" : ", no band");
	fprintf(out,
		"$known using 1:2 with points pt 2 ps 2 lw 2 lc rgb 'black' title 'calibration "
		"point', \\\n"
		"$known using 1:2:2 with labels %s font ',9' notitle\n",
		figure == FIGURE_ONE ? "right offset -1.2,0" : "left offset 1.2,0");
	return draw(f, out, name);
}

static void put_curve(FILE *out, const struct point *p, unsigned number)
{
	fprintf(out, "$c%u << EOD\n", number);
	for (int q = CDF_LOW; q <= CDF_HIGH; q++)
		fprintf(out, "%.4f %d\n", (double)p->base.latency[q] / 1e6, q);
	fprintf(out, "EOD\n$b%u << EOD\n", number);
	for (int q = CDF_LOW; q <= CDF_HIGH; q++)
		fprintf(out, "%.4f %d\n", (double)p->early[q] / 1e6, q);
	for (int q = CDF_HIGH; q >= CDF_LOW; q--)
		fprintf(out, "%.4f %d\n", (double)p->late[q] / 1e6, q);
	fprintf(out, "EOD\n");
}

/* Calibration points of latency are ratios: p90 of the published Wr to that of another. */
static const struct known_ratio {
	enum figure figure, other;
	const char *program; /* the other */
	double ratio;
} known_ratios[] = {
	{FIGURE_LATENCY_1, FIGURE_LATENCY_1, "l3fwd", 0.76},
	{FIGURE_LATENCY_10, FIGURE_LATENCY_1, "paper", 0.78},
};

static void put_ratio(FILE *out, const struct figures *f, enum figure figure)
{
	for (unsigned r = 0; r < sizeof(known_ratios) / sizeof(*known_ratios); r++)
		for (unsigned k = 0; k < f->points; k++) {
			const struct known_ratio *one = &known_ratios[r];
			const struct point *p = &f->point[k];

			if (one->figure != figure || p->figure != one->other ||
				strcmp(p->line->program, one->program) != 0)
				continue;
			fprintf(out,
				"'+' using (%.4f):(90) every ::::0 with points pt 2 ps 2 lw 2 lc "
				"rgb 'black' title 'calibration point: p90 of published Wr is %.2f "
				"of that of %s%s'\n",
				one->ratio * (double)p->base.latency[90] / 1e6, one->ratio,
				model_program_label(one->program),
				one->other == figure ? "" : ", 1 Gb/s");
		}
}

static int draw_latency(const struct figures *f, enum figure figure)
{
	FILE *out = script(f, names[figure]);
	unsigned n = 0;

	if (!out)
		return -EIO;
	for (unsigned k = 0; k < f->points; k++)
		if (f->point[k].figure == figure)
			put_curve(out, &f->point[k], n++);
	fprintf(out,
		"set title 'Latency, 64 B at %s Gb/s, one port to another, last bit in to last bit "
		"out; bands: 95 %% of %u draws'\n"
		"set xlabel 'us'\nset ylabel '%% of packets'\nset xrange [0:*]\nset yrange "
		"[0:100]\nplot ",
		figure == FIGURE_LATENCY_1 ? "1" : "10", f->draws);
	n = 0;
	for (unsigned k = 0; k < f->points; k++) {
		const struct line *line = f->point[k].line;

		if (f->point[k].figure != figure)
			continue;
		fprintf(out,
			"$b%u with filledcurves closed lc rgb '%s' notitle, $c%u with lines lw 2 "
			"lc "
			"rgb '%s' title '%s', \\\n",
			n, line->colour, n, line->colour, model_program_label(line->program));
		n++;
	}
	put_ratio(out, f, figure);
	return draw(f, out, names[figure]);
}

/* By structure: what polls takes its cores whole, what is not on the host none. */
static int draw_cpu(const struct figures *f)
{
	FILE *out = script(f, "cpu");
	const uint64_t queues = parameters_get(&f->point[0].scenario.parameters, "host.queues");

	if (!out)
		return -EIO;
	fprintf(out, "$cpu << EOD\n");
	for (unsigned l = 0; l < LINES; l++) {
		const struct program *program = scenario_program(lines[l].program);

		fprintf(out, "\"%s\" %" PRIu64 " %u %lu\n", model_program_label(lines[l].program),
			program->by_host ? 4 * queues : 0, l,
			strtoul(lines[l].colour + 1, NULL, 16));
	}
	fprintf(out,
		"EOD\nset title 'Cores of the host that are always busy, four ports: by structure, "
		"not simulated'\nset ylabel 'cores'\nset yrange [0:20]\nset xrange "
		"[-0.6:5.6]\nset xtics font ',9'\nset style fill solid 0.8\nunset key\n"
		"plot $cpu using 3:2:(0.6):4:xtic(1) with boxes lc rgb variable, $cpu using 3:2:2 "
		"with labels offset 0,0.7\n");
	return draw(f, out, "cpu");
}

/* --- Numbers ---------------------------------------------------------------------------------- */

static json_t *point_json(const struct point *p)
{
	json_t *json = model_answer_json(&p->base);

	json_object_set_new(json, "figure", json_string(names[p->figure]));
	json_object_set_new(json, "program", json_string(p->line->program));
	json_object_set_new(json, "frame", json_integer(p->frame));
	json_object_set_new(
		json, "bits_per_second_offered", json_integer((json_int_t)p->bit_per_s));
	if (p->line->band) {
		json_object_set_new(json, "packets_per_second_band",
			json_pack("[I, I]", (json_int_t)p->low, (json_int_t)p->high));
		json_object_set_new(json, "latency_ps_p90_band",
			json_pack("[I, I]", (json_int_t)p->early[90], (json_int_t)p->late[90]));
	}
	return json;
}

static int write_numbers(const struct figures *f)
{
	char path[PATH_MAX + 64];
	json_t *points = json_array(), *all;
	int code;

	for (unsigned k = 0; k < f->points; k++)
		json_array_append_new(points, point_json(&f->point[k]));
	all = json_pack("{s:i, s:o}", "draws", (int)f->draws, "points", points);
	snprintf(path, sizeof(path), "%s/figures.json", f->folder);
	code = json_dump_file(all, path, JSON_INDENT(1));
	if (code)
		fprintf(stderr, "p2pnic model: %s: cannot be written\n", path);
	if (!code && f->options->json)
		model_print_json(all);
	else
		json_decref(all);
	return code;
}

static void print(const struct figures *f)
{
	printf("%-24s %-9s %6s %9s %19s  %s\n", "program", "pattern", "frame", "Mpps", "band",
		"busiest");
	for (unsigned k = 0; k < f->points; k++) {
		const struct point *p = &f->point[k];
		char band[32] = "-";

		if (p->line->band)
			snprintf(band, sizeof(band), "%.2f to %.2f", mpps(p->low), mpps(p->high));
		printf("%-24s %-9s %6u %9.2f %19s  %s %.0f %%\n",
			model_program_label(p->line->program), p->scenario.pattern, p->frame,
			mpps(p->base.packets), band, limit_of(&p->base),
			p->base.servers ? (double)p->base.server[0].utilisation / 1e4 : 0);
	}
	printf("drawn in %s: throughput-1, throughput-4, latency-1g, latency-10g, cpu\n",
		f->folder);
}

int model_figures(const struct model_options *o)
{
	struct figures f = {.options = o, .draws = o->sweep ? o->sweep : DRAWS};
	int code;

	snprintf(f.folder, sizeof(f.folder), "%s", o->output);
	if (mkdir(f.folder, 0777) < 0 && errno != EEXIST) {
		fprintf(stderr, "p2pnic model: %s: %s\n", f.folder, strerror(errno));
		return COMMAND_FAILED;
	}
	f.point = calloc(POINT_MAX, sizeof(*f.point));
	if (!f.point)
		abort();
	code = add_all(&f);
	if (!code) /* first: it needs no run, and shows that figures can be drawn there at all */
		code = draw_cpu(&f);
	if (!code)
		code = run_all(&f);
	for (unsigned k = 0; k < FIGURES && !code; k++)
		code = k < FIGURE_LATENCY_1 ? draw_throughput(&f, k) : draw_latency(&f, k);
	if (!code)
		code = write_numbers(&f);
	if (!code && !o->json)
		print(&f);
	for (unsigned k = 0; k < f.points; k++)
		scenario_free(&f.point[k].scenario);
	free(f.point);
	return code ? COMMAND_FAILED : COMMAND_OK;
}
