/* SPDX-License-Identifier: BSD-3-Clause */
#include "router/api_client.h"

#include "ipc/unix_address.h"
#include "router/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* All that comes; jansson's own reading of a descriptor takes a system call a byte. NULL: out of
 * memory. */
static char *read_all(int fd, size_t *length)
{
	size_t room = 1 << 16;
	char *text = malloc(room);

	*length = 0;
	for (ssize_t n = 1; text && n > 0; *length += n > 0 ? (size_t)n : 0) {
		if (*length == room) {
			char *larger = realloc(text, room *= 2);

			if (!larger)
				free(text);
			text = larger;
			if (!text)
				break;
		}
		n = read(fd, text + *length, room - *length);
	}
	return text;
}

unsigned api_patience_ms;

static void be_patient(int fd)
{
	const struct timeval limit = {api_patience_ms / 1000, api_patience_ms % 1000 * 1000};

	if (fd < 0 || !api_patience_ms)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* of connect, too */
}

#define NO_ANSWER "the router does not answer"

static json_t *ask(const char *runtime, const json_t *question, struct error *error)
{
	struct sockaddr_un address;
	char path[256];
	json_error_t parse_error;
	json_t *answer = NULL;
	size_t length;
	char *text;
	int fd;

	snprintf(path, sizeof(path), "%s/api.sock", runtime);
	if (unix_address(&address, path)) {
		error_set(error, -ENAMETOOLONG, "%s: %s", path, UNIX_ADDRESS_ERROR);
		return NULL;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	be_patient(fd);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		const char *why = errno == ENOENT || errno == ECONNREFUSED ? "no router runs there"
				  : errno == EAGAIN                        ? NO_ANSWER
									   : strerror(errno);

		error_set(error, -errno, "%s: %s", path, why);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	text = json_dumps(question, JSON_COMPACT);
	if (!text || dprintf(fd, "%s\n", text) < 0) {
		error_set(error, -errno, "%s: %s", path, strerror(errno));
	} else {
		errno = 0;
		char *reply = read_all(fd, &length);
		const bool late = errno == EAGAIN;

		answer = reply ? json_loadb(reply, length, 0, &parse_error) : NULL;
		if (!answer)
			error_set(error, -EPROTO, "%s: %s%s", path,
				late ? "" : "the router's answer: ",
				late    ? NO_ANSWER
				: reply ? parse_error.text
					: strerror(ENOMEM));
		free(reply);
	}
	free(text);
	close(fd);
	if (answer && json_object_get(answer, "error")) {
		error_set(error, -EREMOTEIO, "%s",
			json_string_value(json_object_get(answer, "error")));
		json_decref(answer);
		answer = NULL;
	}
	return answer;
}

static bool is_ours(const char *runtime, struct error *error)
{
	int directory = runtime_directory(runtime, false, error);

	if (directory == -ENOENT)
		error_set(error, -ENOENT, "%s/api.sock: no router runs there", runtime);
	if (directory >= 0)
		close(directory);
	return directory >= 0;
}

json_t *api_ask(const char *runtime, bool own, json_t *question, struct error *error)
{
	json_t *answer = !own || is_ours(runtime, error) ? ask(runtime, question, error) : NULL;

	json_decref(question);
	return answer;
}

json_t *api_show(
	const char *runtime, bool own, const char *what, const char *to, struct error *error)
{
	json_t *answer =
		api_ask(runtime, own, json_pack("{s:s,s:s*}", "show", what, "to", to), error);

	if (!answer || json_object_get(answer, what))
		return answer;
	error_set(error, -EPROTO, "%s/api.sock: the answer there is no router's", runtime);
	json_decref(answer);
	return NULL;
}
