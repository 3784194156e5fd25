/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[?25h\033[?1049l"

static struct termios before;
static char typed[64];
static unsigned typed_bytes;

bool terminal_there(void)
{
	const char *kind = getenv("TERM");

	return isatty(0) && isatty(1) && kind && *kind && strcmp(kind, "dumb") != 0;
}

static void say(const char *text)
{
	ssize_t n = write(1, text, strlen(text));

	(void)n; /* one that is gone needs no more */
}

bool terminal_enter(void)
{
	struct termios keys;

	if (tcgetattr(0, &before))
		return false;
	keys = before;
	keys.c_lflag &= (tcflag_t) ~(ICANON | ECHO); /* ^C and ^Z are signals still */
	keys.c_cc[VMIN] = 0;
	keys.c_cc[VTIME] = 0;
	if (tcsetattr(0, TCSANOW, &keys))
		return false;
	say(ENTER);
	return true;
}

void terminal_leave(void)
{
	say(LEAVE);
	tcsetattr(0, TCSANOW, &before);
}

void terminal_size(unsigned *columns, unsigned *lines)
{
	struct winsize size;

	*columns = 80;
	*lines = 24;
	if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
		*columns = size.ws_col;
		*lines = size.ws_row;
	}
}

/* Takes the first n bytes away. */
static void take(unsigned n)
{
	typed_bytes -= n;
	memmove(typed, typed + n, typed_bytes);
}

/* ESC [ … final, or ESC O final. */
static int sequence(void)
{
	unsigned end = 2;
	int key;

	while (end < typed_bytes && (typed[end] < '@' || typed[end] > '~'))
		end++;
	if (end >= typed_bytes) {
		take(typed_bytes); /* cut short */
		return KEY_NONE;
	}
	key = typed[end] == 'A'                      ? KEY_UP
	      : typed[end] == 'B'                    ? KEY_DOWN
	      : typed[end] == 'C'                    ? KEY_RIGHT
	      : typed[end] == 'D'                    ? KEY_LEFT
	      : typed[end] == 'H'                    ? KEY_HOME
	      : typed[end] == '~' && typed[2] == '5' ? KEY_PAGE_UP
	      : typed[end] == '~' && typed[2] == '6' ? KEY_PAGE_DOWN
	      : typed[end] == '~' && typed[2] == '1' ? KEY_HOME
						     : '\033';
	take(end + 1);
	return key;
}

int terminal_key(void)
{
	struct pollfd in = {.fd = 0, .events = POLLIN};
	ssize_t n = 0;
	int key;

	if (typed_bytes < sizeof(typed) && poll(&in, 1, 0) > 0) {
		n = read(0, typed + typed_bytes, sizeof(typed) - typed_bytes);
		if (n <= 0 && !(n < 0 && errno == EINTR))
			return KEY_END;
		typed_bytes += n > 0 ? (unsigned)n : 0;
	}
	if (!typed_bytes)
		return KEY_NONE;
	if (typed_bytes >= 2 && typed[0] == '\033' && (typed[1] == '[' || typed[1] == 'O'))
		return sequence();
	key = (unsigned char)typed[0];
	take(1);
	return key;
}
