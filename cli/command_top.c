/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/top_draw.h"
#include "cli/which_router.h"
#include "ipc/clock.h"
#include "router/api_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct command_option options[] = {
	{"batch", 'b', ARGUMENT_NONE, NULL,
		"plain text, one screen after the other; so where there is no terminal", NULL},
	{"json", 'j', ARGUMENT_NONE, NULL, "an object a line", NULL},
	{"count", 'n', ARGUMENT_NUMBER, "N", "ends after N", NULL},
	{"delay", 'd', ARGUMENT_NUMBER, "SECONDS", "between them, 0.1 to 3600 (1)", NULL},
	{"view", 'v', ARGUMENT_CHOICE, "VIEW", "all, matrix, nic, drop or punt",
		"all matrix nic drop punt"},
	{"unit", 'u', ARGUMENT_CHOICE, "UNIT", "of the matrix: packets, bits or both",
		"packets bits both"},
	{"sort", 's', ARGUMENT_CHOICE, "ORDER", "rate, total or name", "rate total name"},
	{"nic", 'i', ARGUMENT_NIC, "NIC", "drops and punts of this one only", NULL},
	WHICH_ROUTER_OPTIONS, OPTION_HELP};

const struct command_syntax top_syntax = {
	.name = "top",
	.usage = "usage: p2pnic top [-b | -j] [-n N] [-d SECONDS] [-v VIEW] [-u UNIT] [-s ORDER] "
		 "[-i NIC]\n"
		 "                  [--name NAME | --runtime DIR]\n"
		 "\n"
		 "What goes from NIC to NIC of a running router now, what is dropped and why, how "
		 "busy "
		 "engines\n"
		 "are, and what the kernel is given. ? lists the keys, q quits.\n",
	.options = options,
};

#define PATIENCE_MS  1000u /* for an answer */
#define DELAY_LEAST  0.1
#define DELAY_MOST   3600.0
#define BUFFER_BYTES (TOP_LINES * (TOP_COLUMNS + 16))

struct top {
	struct which_router router;
	struct top_choice choice;
	bool batch, json;
	unsigned long count; /* 0: no end */

	/* Twice: of now, and the one before. */
	struct top_sample sample[2], *now, *before;
	char why[512]; /* the router does not answer; "": it does */
	int signals;
	unsigned from_line, from_column; /* what is scrolled to */
	bool sized;                      /* -u or -v was given */
};

/* --- Samples ---------------------------------------------------------------------------------- */

/* The newest sample becomes the one before, unless nothing new is there. */
static void look(struct top *t)
{
	struct error error;
	json_t *answer = api_show(t->router.runtime, t->router.own, "metrics", NULL, &error);

	t->why[0] = 0;
	if (!answer) {
		snprintf(t->why, sizeof(t->why), "%.*s", (int)sizeof(t->why) - 1, error.text);
		return;
	}
	if (top_sample_read(t->before, json_object_get(answer, "metrics"))) {
		struct top_sample *const old = t->now;

		t->now = t->before;
		t->before = old;
	} else {
		t->before->time = 0;
		snprintf(t->why, sizeof(t->why), "the answer is of another version");
	}
	json_decref(answer);
}

/* --- Plain text, JSON ------------------------------------------------------------------------- */

static struct top_screen screen;

static void print_batch(struct top *t)
{
	top_draw(&screen, t->now, t->before, &t->choice, t->why);
	for (unsigned k = 0; k < screen.lines; k++)
		puts(screen.text[k]);
	putchar('\n');
}

static void print_json(struct top *t)
{
	json_t *o =
		*t->why ? json_pack("{s:s}", "error", t->why) : top_sample_json(t->now, t->before);

	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

/* Seconds until that moment; less: a signal that ends it. */
static bool wait_until(const struct top *t, double end)
{
	struct pollfd signals = {.fd = t->signals, .events = POLLIN};
	const double left = end - clock_now_seconds();

	return poll(&signals, 1, left > 0 ? (int)(left * 1000) + 1 : 0) == 0;
}

static int run_batch(struct top *t)
{
	double next = clock_now_seconds();

	look(t);
	if (*t->why && t->count) {
		fprintf(stderr, "p2pnic top: %s\n", t->why);
		return COMMAND_FAILED;
	}
	for (unsigned long k = 0; !t->count || k < t->count; k++) {
		next += t->choice.interval;
		if (!wait_until(t, next))
			return COMMAND_OK;
		look(t);
		if (t->json)
			print_json(t);
		else
			print_batch(t);
		if (fflush(stdout) || ferror(stdout)) {
			fprintf(stderr, "p2pnic top: standard output: %s\n", strerror(errno));
			return COMMAND_FAILED;
		}
	}
	return COMMAND_OK;
}

/* --- A screen --------------------------------------------------------------------------------- */

static char buffer[BUFFER_BYTES];

/* What fits of a line, from the column that is scrolled to; names on the left stay. */
static size_t put_line(char *to, const struct top *t, unsigned line, unsigned columns)
{
	static const char *const style[] = {[TOP_PLAIN] = "",
		[TOP_TITLE] = "\033[1m",
		[TOP_HEADING] = "\033[1m",
		[TOP_SELECTED] = "\033[7m",
		[TOP_ALARM] = "\033[1;31m"};
	const char *text = screen.text[line];
	const size_t length = strlen(text);
	const bool stays = line < TOP_FIXED || screen.style[line] == TOP_TITLE;
	const unsigned left = stays || screen.left > columns ? 0 : screen.left;
	size_t from = stays ? 0 : left + t->from_column;

	from = from > length ? length : from;
	return (size_t)sprintf(to, "%s%.*s%.*s\033[0m\033[K", style[screen.style[line]],
		(int)(from > left ? left : from), text, (int)(columns - left), text + from);
}

/* False: the terminal is gone. */
static bool draw(struct top *t)
{
	unsigned columns, lines, shown, most;
	size_t bytes, sent = 0;

	terminal_size(&columns, &lines);
	if (columns >= TOP_COLUMNS)
		columns = TOP_COLUMNS - 1;
	top_draw(&screen, t->now, t->before, &t->choice, t->why);
	most = screen.lines > lines ? screen.lines - lines : 0;
	t->from_line = t->from_line > most ? most : t->from_line;
	shown = screen.lines < lines ? screen.lines : lines;
	bytes = (size_t)sprintf(buffer, "\033[H");
	for (unsigned k = 0; k < shown; k++) {
		if (k)
			bytes += (size_t)sprintf(buffer + bytes, "\r\n");
		bytes += put_line(buffer + bytes, t, k < TOP_FIXED ? k : k + t->from_line, columns);
	}
	bytes += (size_t)sprintf(buffer + bytes, "\033[J");
	while (sent < bytes) {
		const ssize_t n = write(1, buffer + sent, bytes - sent);

		if (n < 0 && errno != EINTR)
			return false;
		sent += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* The NIC after the one that is selected, or before it; behind the last comes none. */
static void select_nic(struct top *t, int step)
{
	const int places = (int)t->now->n + 1;
	int at = 0;

	for (unsigned k = 0; k < t->now->n; k++)
		if (!strcmp(t->now->nic[k].name, t->choice.nic))
			at = (int)k + 1;
	at = (at + places + step) % places;
	snprintf(t->choice.nic, sizeof(t->choice.nic), "%s", at ? t->now->nic[at - 1].name : "");
}

static void scroll(unsigned *from, int by)
{
	*from = by < 0 && *from < (unsigned)-by ? 0 : *from + (unsigned)by;
}

static void change_interval(struct top_choice *c, double factor)
{
	c->interval *= factor;
	c->interval = c->interval < DELAY_LEAST  ? DELAY_LEAST
		      : c->interval > DELAY_MOST ? DELAY_MOST
						 : c->interval;
}

/* False: it ends. */
static bool on_key(struct top *t, int key)
{
	struct top_choice *c = &t->choice;
	unsigned columns, lines;

	if (c->help && key != 'q' && key != KEY_END) {
		c->help = false;
		return true;
	}
	terminal_size(&columns, &lines);
	switch (key) {
	case 'q':
	case KEY_END:
		return false;
	case '?':
	case 'h':
		c->help = true;
		break;
	case 'v':
		c->view = (c->view + 1) % TOP_VIEWS;
		t->from_line = 0;
		break;
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
		c->view = (enum top_view)(key - '1');
		t->from_line = 0;
		break;
	case 'u':
		c->unit = (c->unit + 1) % TOP_UNITS;
		break;
	case 's':
		c->sort = (c->sort + 1) % TOP_SORTS;
		break;
	case 'n':
		select_nic(t, 1);
		break;
	case 'N':
		select_nic(t, -1);
		break;
	case 'a':
		c->nic[0] = 0;
		break;
	case ' ':
		c->paused = !c->paused;
		break;
	case '+':
		change_interval(c, 2);
		break;
	case '-':
		change_interval(c, 0.5);
		break;
	case KEY_UP:
		scroll(&t->from_line, -1);
		break;
	case KEY_DOWN:
		scroll(&t->from_line, 1);
		break;
	case KEY_PAGE_UP:
		scroll(&t->from_line, -(int)lines / 2);
		break;
	case KEY_PAGE_DOWN:
		scroll(&t->from_line, (int)lines / 2);
		break;
	case KEY_LEFT:
		scroll(&t->from_column, -8);
		break;
	case KEY_RIGHT:
		scroll(&t->from_column, t->from_column + 8 < TOP_COLUMNS ? 8 : 0);
		break;
	case KEY_HOME:
		t->from_line = t->from_column = 0;
		break;
	default:
		break;
	}
	return true;
}

/* False: it ends. */
static bool on_signal(const struct top *t)
{
	struct signalfd_siginfo info;

	while (read(t->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTSTP) {
			terminal_leave();
			raise(SIGSTOP);
			terminal_enter();
		} else if (info.ssi_signo != SIGWINCH && info.ssi_signo != SIGCONT) {
			return false;
		}
	}
	return true;
}

static int run_screen(struct top *t)
{
	struct pollfd event[2] = {
		{.fd = 0, .events = POLLIN}, {.fd = t->signals, .events = POLLIN}};
	unsigned long looks = 0;
	double next = clock_now_seconds();
	bool goes_on = true;

	if (!terminal_enter()) {
		fprintf(stderr, "p2pnic top: the terminal: %s\n", strerror(errno));
		return COMMAND_FAILED;
	}
	while (goes_on) {
		const double left = next - clock_now_seconds();
		int key;

		if (left <= 0) {
			if (t->count && looks++ > t->count)
				break;
			if (!t->choice.paused)
				look(t);
			/* The first rates soon. */
			next = clock_now_seconds() +
			       (t->before->time > 0 || *t->why ? t->choice.interval : DELAY_LEAST);
		}
		goes_on = draw(t);
		const double rest = next - clock_now_seconds();
		poll(event, 2, rest > 0 ? (int)(rest * 1000) + 1 : 0);
		goes_on = goes_on && on_signal(t);
		if (event[0].revents)
			while (goes_on && (key = terminal_key()) != KEY_NONE)
				goes_on = on_key(t, key);
	}
	terminal_leave();
	return COMMAND_OK;
}

/* --- Arguments -------------------------------------------------------------------------------- */

/* The place of a word among names; says so if it is none. */
static bool choose(const char *word, const char *const *name, unsigned names, const char *what,
	unsigned *chosen)
{
	for (*chosen = 0; *chosen < names; ++*chosen)
		if (!strcmp(word, name[*chosen]))
			return true;
	fprintf(stderr, "p2pnic top: '%s': no %s; want", word, what);
	for (unsigned k = 0; k < names; k++)
		fprintf(stderr, "%s %s", k ? "," : "", name[k]);
	fputc('\n', stderr);
	return false;
}

static bool seconds(const char *text, double *value)
{
	char *end;

	errno = 0;
	*value = strtod(text, &end);
	return *text >= '0' && *text <= '9' && !*end && !errno && *value >= DELAY_LEAST &&
	       *value <= DELAY_MOST;
}

/* Of an option that has an argument to be checked; false: it was refused, and said. */
static bool take(struct top *t, int option, const char *argument)
{
	unsigned chosen;

	switch (option) {
	case 'b':
		t->batch = true;
		return true;
	case 'j':
		t->batch = t->json = true;
		return true;
	case 'n':
		if (command_number(argument, 1, 1000000000, &t->count))
			return true;
		fprintf(stderr, "p2pnic top: -n '%s': want 1 or more\n", argument);
		return false;
	case 'd':
		if (seconds(argument, &t->choice.interval))
			return true;
		fprintf(stderr, "p2pnic top: -d '%s': want 0.1 to 3600 seconds\n", argument);
		return false;
	case 'v':
		if (!choose(argument, top_view_name, TOP_VIEWS, "view", &chosen))
			return false;
		t->choice.view = chosen;
		return true;
	case 'u':
		if (!choose(argument, top_unit_name, TOP_UNITS, "unit", &chosen))
			return false;
		t->choice.unit = chosen;
		t->sized = true;
		return true;
	case 's':
		if (!choose(argument, top_sort_name, TOP_SORTS, "order", &chosen))
			return false;
		t->choice.sort = chosen;
		return true;
	case 'i':
		if (snprintf(t->choice.nic, sizeof(t->choice.nic), "%s", argument) <
			(int)sizeof(t->choice.nic))
			return true;
		fprintf(stderr, "p2pnic top: -i '%s': no name of a NIC\n", argument);
		return false;
	default:
		return which_router_option(&t->router, option, argument);
	}
}

static int open_signals(struct top *t)
{
	static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT};
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t k = 0; k < sizeof(taken) / sizeof(*taken); k++)
		if (!t->batch || taken[k] == SIGINT || taken[k] == SIGTERM || taken[k] == SIGHUP)
			sigaddset(&signals, taken[k]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	t->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return t->signals < 0 ? -errno : 0;
}

int command_top(int argc, char **argv)
{
	static struct top top = {.router = {.command = "top"}, .choice = {.interval = 1}};
	struct top *t = &top;
	struct command_line line;
	int option;

	t->now = &t->sample[0];
	t->before = &t->sample[1];
	command_begin(&line, &top_syntax, argc, argv);
	while ((option = command_option(&line)) >= 0)
		if (!take(t, option, optarg))
			return COMMAND_USAGE;
	if (line.status != COMMAND_GO)
		return line.status;
	if (optind != argc)
		return command_refuse(&line);
	which_router_settle(&t->router);
	api_patience_ms = PATIENCE_MS;
	t->batch |= !terminal_there();
	if (t->batch && !t->sized)
		t->choice.unit = TOP_BOTH;
	if (open_signals(t)) {
		fprintf(stderr, "p2pnic top: signals: %s\n", strerror(errno));
		return COMMAND_FAILED;
	}
	return t->batch ? run_batch(t) : run_screen(t);
}
