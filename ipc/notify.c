/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un manager;
static socklen_t manager_bytes; /* 0: nobody is told */
static unsigned watchdog_ms;

/* A path, or with '@' an abstract name, unix(7). */
static void find_manager(const char *name)
{
	const size_t length = name ? strlen(name) : 0;

	manager_bytes = 0;
	if (length < 2 || length >= sizeof(manager.sun_path) || (*name != '/' && *name != '@'))
		return;
	manager = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(manager.sun_path, name, length);
	if (*name == '@')
		manager.sun_path[0] = 0;
	manager_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

void notify_open(void)
{
	const char *pid = getenv("WATCHDOG_PID"), *us = getenv("WATCHDOG_USEC");

	find_manager(getenv("NOTIFY_SOCKET"));
	watchdog_ms = 0;
	if (us && (!pid || atol(pid) == getpid())) {
		const unsigned long long half = strtoull(us, NULL, 10) / 2000;

		watchdog_ms = half > 3600000 ? 3600000 : (unsigned)half;
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
}

bool notify_is_open(void)
{
	return manager_bytes;
}

unsigned notify_watchdog_ms(void)
{
	return manager_bytes ? watchdog_ms : 0;
}

void notify(const char *format, ...)
{
	char text[512];
	va_list arguments;
	int fd, length;

	if (!manager_bytes)
		return;
	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (length < 0 || length >= (int)sizeof(text))
		length = (int)strlen(text);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&manager,
		manager_bytes);
	close(fd);
}
