/* SPDX-License-Identifier: BSD-3-Clause */
#include "metrics/server.h"
#include "metrics/page.h"
#include "metrics/text.h"

#include "ipc/clock.h"
#include "ipc/listen.h"
#include "router/api_client.h"
#include "router/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAILURE_MS 500u /* so long nobody else waits for a router that has not answered */

struct connection {
	int fd; /* -1: none */
	int64_t since_ms;
};

struct server {
	struct unix_listener listener; /* fd also of a TCP socket */
	bool checks_host;
	struct MHD_Daemon *daemon;
	char runtime[256];

	/* Of the server's thread. */
	json_t *answer; /* NULL: none */
	struct error why;
	int64_t asked_ms; /* when it came, or did not */
	bool asked;

	pthread_mutex_t lock; /* of what follows */
	struct connection connection[METRICS_CONNECTIONS];
};

/* --- The router's answer ---------------------------------------------------------------------- */

static const json_t *answer_of_router(struct server *s)
{
	const unsigned age_ms = s->answer ? METRICS_AGE_MS : FAILURE_MS;
	json_t *answer;

	if (s->asked && clock_now_ms() - s->asked_ms < age_ms)
		return json_object_get(s->answer, "metrics");
	answer = api_show(s->runtime, false, "metrics", NULL, &s->why);
	json_decref(s->answer);
	s->answer = answer;
	s->asked = true;
	s->asked_ms = clock_now_ms();
	return json_object_get(s->answer, "metrics");
}

static char *status_json(const json_t *answer, const struct error *why)
{
	json_t *o = answer ? json_pack("{s:O}", "router", answer)
			   : json_pack("{s:s}", "error", why->text);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return text;
}

/* --- A request -------------------------------------------------------------------------------- */

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
	void *body, size_t bytes, enum MHD_ResponseMemoryMode mode)
{
	static const char *const header[][2] = {
		{"Content-Security-Policy", page_policy},
		{"X-Content-Type-Options", "nosniff"},
		{"X-Frame-Options", "DENY"},
		{"Referrer-Policy", "no-referrer"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
		{"Cache-Control", "no-store"},
		/* Connections are short, and counted; so is their time. */
		{"Connection", "close"},
	};
	struct MHD_Response *response = MHD_create_response_from_buffer(bytes, body, mode);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	for (size_t k = 0; k < sizeof(header) / sizeof(*header); k++)
		MHD_add_response_header(response, header[k][0], header[k][1]);
	MHD_add_response_header(response, "Content-Type", type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result refuse(
	struct MHD_Connection *connection, unsigned status, const char *sentence)
{
	return respond(connection, status, "text/plain; charset=utf-8", (void *)sentence,
		strlen(sentence), MHD_RESPMEM_PERSISTENT);
}

/* A page of elsewhere could have its own name lead here (DNS rebinding) and then read what this
 * host's user may: names other than addresses and localhost are refused. */
static bool host_is_known(const char *host)
{
	char name[64];
	unsigned char address[16];
	size_t length;

	if (!host)
		return true; /* HTTP/1.0; no browser */
	length = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");
	if (length >= sizeof(name))
		return false;
	memcpy(name, host + (host[0] == '['), length);
	name[length - (host[0] == '[')] = 0;
	return !strcmp(name, "localhost") || inet_pton(AF_INET, name, address) == 1 ||
	       inet_pton(AF_INET6, name, address) == 1;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload_data, size_t *upload_bytes,
	void **state)
{
	static int seen;
	struct server *s = context;
	const char *type = "application/json";
	char *text = NULL;
	size_t bytes = 0;

	/* First with the head only; what is refused is refused before a body is read. */
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "read-only: GET or HEAD\n");
	if (s->checks_host && !host_is_known(MHD_lookup_connection_value(
				      connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST)))
		return refuse(connection, MHD_HTTP_FORBIDDEN,
			"this server is for its own host: ask by address, or by localhost\n");
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_bytes)
		return MHD_NO;
	if (!strcmp(url, "/"))
		return respond(connection, MHD_HTTP_OK, "text/html; charset=utf-8", (void *)page,
			page_bytes, MHD_RESPMEM_PERSISTENT);
	if (!strcmp(url, "/metrics")) {
		type = "text/plain; version=0.0.4; charset=utf-8";
		text = metrics_text(answer_of_router(s), &bytes);
	} else if (!strcmp(url, "/status.json")) {
		text = status_json(answer_of_router(s), &s->why);
		bytes = text ? strlen(text) : 0;
	} else {
		return refuse(
			connection, MHD_HTTP_NOT_FOUND, "there are /, /metrics and /status.json\n");
	}
	if (!text)
		return refuse(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	return respond(connection, MHD_HTTP_OK, type, text, bytes, MHD_RESPMEM_MUST_FREE);
}

/* --- Connections ------------------------------------------------------------------------------ */

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
	enum MHD_ConnectionNotificationCode code)
{
	struct server *s = context;
	const int fd =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	const int from = code == MHD_CONNECTION_NOTIFY_STARTED ? -1 : fd;
	const int to = code == MHD_CONNECTION_NOTIFY_STARTED ? fd : -1;

	pthread_mutex_lock(&s->lock);
	for (unsigned k = 0; k < METRICS_CONNECTIONS; k++)
		if (s->connection[k].fd == from) {
			s->connection[k] = (struct connection){to, clock_now_ms()};
			break;
		}
	pthread_mutex_unlock(&s->lock);
}

void server_tick(struct server *s)
{
	const int64_t now = clock_now_ms();

	pthread_mutex_lock(&s->lock);
	for (unsigned k = 0; k < METRICS_CONNECTIONS; k++)
		if (s->connection[k].fd >= 0 &&
			now - s->connection[k].since_ms > METRICS_CONNECTION_MS)
			shutdown(s->connection[k].fd, SHUT_RDWR);
	pthread_mutex_unlock(&s->lock);
}

/* --- Life ------------------------------------------------------------------------------------- */

static int listen_tcp(
	struct server *s, const struct endpoint *e, const char *namespace, struct error *error)
{
	const int yes = 1;
	struct netns netns;
	int result = netns_open(&netns, *namespace ? namespace : NULL, error);

	if (result)
		return result;
	s->listener.fd = netns_socket(&netns, e->address.ss_family, SOCK_STREAM, 0);
	netns_close(&netns);
	if (s->listener.fd < 0)
		return error_set(error, s->listener.fd, "socket: %s", strerror(-s->listener.fd));
	setsockopt(s->listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (e->address.ss_family == AF_INET6)
		setsockopt(s->listener.fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(s->listener.fd, (const struct sockaddr *)&e->address, e->bytes) ||
		listen(s->listener.fd, METRICS_CONNECTIONS))
		return error_set(error, -errno, "%s", strerror(errno));
	return 0;
}

int server_open(struct server **server, const struct metrics_order *order, const char *runtime,
	struct error *error)
{
	char text[UNIX_LISTEN_TEXT_BYTES];
	struct endpoint endpoint;
	struct server *s = calloc(1, sizeof(*s));
	int result;

	*server = s;
	if (!s)
		return error_set(error, -ENOMEM, "out of memory");
	s->listener.fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned k = 0; k < METRICS_CONNECTIONS; k++)
		s->connection[k].fd = -1;
	snprintf(s->runtime, sizeof(s->runtime), "%s", runtime);
	if (!endpoint_parse(order->listen, &endpoint)) {
		result = error_set(error, -EINVAL, ENDPOINT_WANTED);
	} else if (!endpoint.loopback && !order->public) {
		result = error_set(
			error, -EPERM, "other hosts could reach it; that must be asked for");
	} else if (endpoint.path) {
		result = unix_listen(
			&s->listener, endpoint.path, SOCK_STREAM, 0660, METRICS_CONNECTIONS);
		if (result)
			error_set(error, result, "%s",
				unix_listen_error(endpoint.path, result, text));
	} else {
		s->checks_host = !order->public;
		result = listen_tcp(s, &endpoint, order->namespace, error);
	}
	if (!result)
		return 0;
	server_close(s);
	*server = NULL;
	return result;
}

int server_start(struct server *s, struct error *error)
{
	api_patience_ms = METRICS_ROUTER_MS;
	s->daemon = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL,
		on_request, s, MHD_OPTION_LISTEN_SOCKET, s->listener.fd,
		MHD_OPTION_CONNECTION_LIMIT, METRICS_CONNECTIONS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)METRICS_REQUEST_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, METRICS_CONNECTION_MS / 1000,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
	return s->daemon ? 0 : error_set(error, -ENOMEM, "the HTTP server does not start");
}

void server_close(struct server *s)
{
	if (!s)
		return;
	if (s->daemon)
		MHD_quiesce_daemon(s->daemon);
	unix_unlisten(&s->listener);
	if (s->daemon)
		MHD_stop_daemon(s->daemon);
	json_decref(s->answer);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
