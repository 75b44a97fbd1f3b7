/*
 * control: the admin HTTP server; see http.h. evhttp reads requests and
 * writes answers. What it has not is here: a cap of connections, a deadline,
 * and an end that does not take the answer away. For these each connection's
 * bufferevent is ours as well as evhttp's.
 */

#include <sys/queue.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#include "control/ask.h"
#include "control/control.h"
#include "control/http.h"

#define HTTP_BACKLOG 64
#define HTTP_METHODS 0xffff /* evhttp passes all, also unknown ones */

struct http {
	TAILQ_ENTRY(http) entry;
	struct bufferevent *stream; /* one reference is evhttp's, one ours */
	struct event *turn;         /* taken, answered or let go by evhttp */
	struct event *deadline;
	struct evhttp_connection *connection; /* NULL: evhttp let it go */
	struct evhttp_request *request;       /* to be answered, or NULL */
	struct ask *ask;                      /* open question, or NULL */
	const char *policy;
	int loopback;
	int gone; /* from evhttp */
};

static struct {
	struct evhttp *evhttp; /* NULL: nobody was listened to yet */
	int closing;
	unsigned int count;
	TAILQ_HEAD(, http) open;
	struct evhttp_bound_socket *listeners[CONFIG_LISTENERS];
} server = { .open = TAILQ_HEAD_INITIALIZER(server.open) };

/* Accept only while there are places. */
static void
http_listeners_set(void)
{
	struct evconnlistener *listener;
	size_t i;

	for (i = 0; i < CONFIG_LISTENERS; i++) {
		if (server.listeners[i] == NULL)
			continue;
		listener =
		    evhttp_bound_socket_get_listener(server.listeners[i]);
		if (server.count < HTTP_CONNECTIONS)
			(void)evconnlistener_enable(listener);
		else
			(void)evconnlistener_disable(listener);
	}
}

/* Let go of it; it closes when evhttp has done so too. */
static void
http_free(struct http *http)
{
	if (http->ask != NULL)
		ask_cancel(http->ask);
	TAILQ_REMOVE(&server.open, http, entry);
	server.count--;
	http_listeners_set();
	event_free(http->turn);
	event_free(http->deadline);
	bufferevent_setcb(http->stream, NULL, NULL, NULL, NULL);
	bufferevent_decref(http->stream);
	free(http);
}

/* --- the answer ---------------------------------------------------------- */

static const char *
http_reason(int status)
{
	switch (status) {
	case 200:
		return ("OK");
	case 400:
		return ("Bad Request");
	case 403:
		return ("Forbidden");
	case 404:
		return ("Not Found");
	case 405:
		return ("Method Not Allowed");
	default:
		return ("Service Unavailable");
	}
}

void
http_policy(struct http *http, const char *policy)
{
	http->policy = policy;
}

/* The answer was written. */
static void
http_answered(struct evhttp_request *request, void *arg)
{
	struct http *http = arg;

	(void)request;
	event_active(http->turn, EV_TIMEOUT, 1);
}

void
http_answer(struct http *http, int status, const char *type, const void *body,
    size_t length)
{
	static const char *const fixed[][2] = {
		{ "Cache-Control", "no-store" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
		{ "Referrer-Policy", "no-referrer" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "X-Frame-Options", "DENY" },
		{ "Connection", "close" },
	};
	struct evhttp_request *request = http->request;
	struct evkeyvalq *headers;
	char digits[24];
	size_t i;

	if (request == NULL)
		return;
	http->request = NULL;
	if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD &&
	    evbuffer_add(evhttp_request_get_output_buffer(request), body,
		length) == -1) {
		status = 503;
		length = 0;
	}
	/* evhttp would say both close and keep-alive to who wants that. */
	(void)evhttp_remove_header(
	    evhttp_request_get_input_headers(request), "Connection");
	headers = evhttp_request_get_output_headers(request);
	(void)snprintf(digits, sizeof(digits), "%zu", length);
	(void)evhttp_add_header(headers, "Content-Type", type);
	(void)evhttp_add_header(headers, "Content-Length", digits);
	if (status == 405)
		(void)evhttp_add_header(headers, "Allow", "GET, HEAD");
	(void)evhttp_add_header(headers, "Content-Security-Policy",
	    http->policy != NULL
		? http->policy
		: "default-src 'none'; frame-ancestors 'none'");
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		(void)evhttp_add_header(headers, fixed[i][0], fixed[i][1]);
	evhttp_request_set_on_complete_cb(request, http_answered, http);
	evhttp_send_reply(request, status, http_reason(status), NULL);
	/* A client that says no more still gets all of it. */
	(void)bufferevent_disable(http->stream, EV_READ);
}

static void
http_error(struct http *http, int status, const char *text)
{
	char body[128];
	int n = snprintf(body, sizeof(body), "{\"error\":\"%s\"}\n", text);

	http_answer(
	    http, status, "application/json", body, n > 0 ? (size_t)n : 0);
}

void
http_asked(struct http *http)
{
	http->ask = NULL;
}

/* --- the request --------------------------------------------------------- */

/* 1 when the value of a Host header is a loopback address or localhost. */
static int
http_host_local(const char *value)
{
	static const char *const names[] = { "localhost", "127.", "[::1]" };
	size_t i, n;

	value += strspn(value, " \t");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		n = strlen(names[i]);
		if (strncasecmp(value, names[i], n) != 0)
			continue;
		if (i == 1) /* 127.a.b.c */
			n += strspn(value + n, "0123456789.");
		if (value[n] == '\0' || value[n] == ':')
			return (1);
	}
	return (0);
}

/* 1 when no Host header names another host. */
static int
http_headers_local(const struct evkeyvalq *headers)
{
	const struct evkeyval *header;

	TAILQ_FOREACH(header, headers, next)
	if (strcasecmp(header->key, "host") == 0 &&
	    !http_host_local(header->value))
		return (0);
	return (1);
}

static struct http *
http_find(struct evhttp_request *request)
{
	struct evhttp_connection *connection =
	    evhttp_request_get_connection(request);
	struct http *http;

	TAILQ_FOREACH(http, &server.open, entry)
	if (http->connection == connection)
		return (http);
	return (NULL);
}

/* A whole request came. */
static void
http_request(struct evhttp_request *request, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	enum evhttp_cmd_type method = evhttp_request_get_command(request);
	struct http *http = http_find(request);
	const char *path = evhttp_uri_get_path(uri);

	(void)arg;
	if (http == NULL) { /* there was no memory to count it */
		evhttp_send_error(request, 503, NULL);
		return;
	}
	http->request = request;
	if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD)
		http_error(http, 405, "only GET and HEAD");
	else if (evhttp_uri_get_scheme(uri) != NULL ||
		 evhttp_uri_get_host(uri) != NULL || path == NULL ||
		 *path != '/')
		http_error(http, 400, "bad request");
	else if (http->loopback &&
		 !http_headers_local(evhttp_request_get_input_headers(request)))
		http_error(http, 403, "this Host is not served here");
	else
		http->ask = http_page(http, path);
}

/* --- the connection ------------------------------------------------------ */

/* 1 when the connection came to a loopback address. */
static int
http_is_loopback(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;

	memset(&address, 0, sizeof(address));
	if (getsockname(fd, (struct sockaddr *)&address, &length) == -1)
		return (1);
	if (address.ss_family == AF_INET)
		return (ntohl(v4->sin_addr.s_addr) >> 24 == 127);
	return (address.ss_family == AF_INET6 &&
		IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
}

static void
http_expired(evutil_socket_t fd, short events, void *arg)
{
	struct http *http = arg;

	(void)fd;
	(void)events;
	if (http->connection == NULL) {
		http_free(http);
		return;
	}
	/* evhttp frees the request too, and calls http_gone(). */
	http->request = NULL;
	evhttp_connection_free(http->connection);
}

/* evhttp is about to let go of a connection. */
static void
http_gone(struct evhttp_connection *connection, void *arg)
{
	struct http *http = arg;

	(void)connection;
	http->connection = NULL;
	http->gone = 1;
	if (http->ask != NULL)
		ask_cancel(http->ask);
	http->ask = NULL;
	/* Of a request not yet answered evhttp keeps nothing, if the client
	 * went; otherwise it frees it. */
	if (http->request != NULL &&
	    evhttp_request_get_connection(http->request) == NULL)
		evhttp_request_free(http->request);
	http->request = NULL;
	if (server.closing || !evtimer_pending(http->deadline, NULL))
		http_free(http);
	else
		event_active(http->turn, EV_TIMEOUT, 1);
}

static void
http_drain(struct bufferevent *stream, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(stream);

	(void)arg;
	(void)evbuffer_drain(input, evbuffer_get_length(input));
}

static void
http_ended(struct bufferevent *stream, short what, void *arg)
{
	(void)stream;
	(void)what;
	http_free(arg);
}

/* The client closes, or the deadline does: an early close could reset the
 * connection under the answer. */
static void
http_linger(struct http *http)
{
	bufferevent_setcb(http->stream, http_drain, NULL, http_ended, http);
	(void)bufferevent_disable(http->stream, EV_WRITE);
	http_drain(http->stream, NULL);
	if (bufferevent_enable(http->stream, EV_READ) == -1)
		http_free(http);
}

/* Hear of it when evhttp lets go of a connection it just took. It calls
 * nobody before the first request: but the bufferevent calls the connection. */
static void
http_watch(struct http *http)
{
	void *taken = NULL;

	bufferevent_getcb(http->stream, NULL, NULL, NULL, &taken);
	if (taken == NULL) {
		http_free(http);
		return;
	}
	http->connection = taken;
	http->loopback = http_is_loopback(bufferevent_getfd(http->stream));
	evhttp_connection_set_closecb(http->connection, http_gone, http);
}

static void
http_turn(evutil_socket_t fd, short events, void *arg)
{
	struct http *http = arg;

	(void)fd;
	(void)events;
	if (http->gone)
		http_linger(http);
	else if (http->connection == NULL)
		http_watch(http);
	else /* after CONNECT evhttp goes on, whatever the answer was */
		evhttp_connection_free(http->connection);
}

/* evhttp accepted a client, and wants a bufferevent for it. */
static struct bufferevent *
http_accept(struct event_base *base, void *arg)
{
	static const struct timeval limit = { HTTP_SECONDS, 0 };
	struct http *http = calloc(1, sizeof(*http));

	(void)arg;
	if (http == NULL)
		return (NULL);
	http->stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	http->turn = event_new(base, -1, 0, http_turn, http);
	http->deadline = evtimer_new(base, http_expired, http);
	if (http->stream == NULL || http->turn == NULL ||
	    http->deadline == NULL || event_add(http->deadline, &limit) == -1) {
		if (http->stream != NULL)
			bufferevent_free(http->stream);
		if (http->turn != NULL)
			event_free(http->turn);
		if (http->deadline != NULL)
			event_free(http->deadline);
		free(http);
		return (NULL);
	}
	bufferevent_incref(http->stream);
	/* Whatever evhttp waits for, it comes before so many bytes. */
	bufferevent_setwatermark(http->stream, EV_READ, 0, 2 * HTTP_REQUEST);
	TAILQ_INSERT_TAIL(&server.open, http, entry);
	server.count++;
	http_listeners_set();
	event_active(http->turn, EV_TIMEOUT, 1);
	return (http->stream);
}

/* --- listening ----------------------------------------------------------- */

static int
http_start(void)
{
	if (server.evhttp != NULL)
		return (0);
	if ((server.evhttp = evhttp_new(control.base)) == NULL)
		return (-1);
	evhttp_set_allowed_methods(server.evhttp, HTTP_METHODS);
	evhttp_set_max_headers_size(server.evhttp, HTTP_REQUEST - 1);
	evhttp_set_max_body_size(server.evhttp, HTTP_REQUEST);
	evhttp_set_timeout(server.evhttp, HTTP_SECONDS);
	evhttp_set_bevcb(server.evhttp, http_accept, NULL);
	evhttp_set_gencb(server.evhttp, http_request, NULL);
	return (0);
}

int
http_listen(int fd)
{
	struct evconnlistener *listener;
	size_t i;

	for (i = 0; i < CONFIG_LISTENERS; i++)
		if (server.listeners[i] == NULL)
			break;
	if (i == CONFIG_LISTENERS || http_start() == -1 ||
	    evutil_make_socket_nonblocking(fd) == -1 ||
	    (listener = evconnlistener_new(control.base, NULL, NULL,
		 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, HTTP_BACKLOG,
		 fd)) == NULL) {
		close(fd);
		return (-1);
	}
	server.listeners[i] = evhttp_bind_listener(server.evhttp, listener);
	if (server.listeners[i] == NULL) {
		evconnlistener_free(listener);
		return (-1);
	}
	http_listeners_set();
	return (0);
}

void
http_listeners_close(void)
{
	size_t i;

	for (i = 0; i < CONFIG_LISTENERS; i++)
		if (server.listeners[i] != NULL) {
			evhttp_del_accept_socket(
			    server.evhttp, server.listeners[i]);
			server.listeners[i] = NULL;
		}
}

void
http_close_all(void)
{
	struct http *http;

	http_listeners_close();
	server.closing = 1;
	if (server.evhttp != NULL)
		evhttp_free(server.evhttp);
	server.evhttp = NULL;
	while ((http = TAILQ_FIRST(&server.open)) != NULL)
		http_free(http);
	server.closing = 0;
}
