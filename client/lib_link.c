/*
 * libhermes. The way to the node: resolve, connect, open the stream, notice
 * that it broke, wait, connect again.
 */
#include <errno.h>
#include <event2/dns.h>
#include <netdb.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib_internal.h"

static void link_stream_message(
    struct rpc_stream *, const uint8_t *, size_t, void *);
static void link_stream_writable(struct rpc_stream *, void *);
static void link_stream_closed(
    struct rpc_stream *, enum rpc_status, const char *, void *);
static void link_connected(struct rpc_connection *, void *);
static void link_failed(struct rpc_connection *, const char *, void *);
static void link_closed(struct rpc_connection *, void *);
static void link_timer(evutil_socket_t, short, void *);

static const struct rpc_stream_callbacks stream_callbacks = {
	.message = link_stream_message,
	.writable = link_stream_writable,
	.closed = link_stream_closed
};

static const struct rpc_client_callbacks connection_callbacks = {
	.connected = link_connected,
	.failed = link_failed,
	.closed = link_closed
};

/* "host:port" or "[v6]:port". 0, or -1 with errno EINVAL. */
int
link_parse_node(
    const char *node, char host[LIB_HOST_SIZE], char port[LIB_PORT_SIZE])
{
	const char *colon;
	size_t length;

	errno = EINVAL;
	if ((colon = strrchr(node, ':')) == NULL || colon[1] == '\0')
		return (-1);
	length = (size_t)(colon - node);
	if (length >= 2 && node[0] == '[' && node[length - 1] == ']') {
		node++;
		length -= 2;
	} else if (memchr(node, ':', length) != NULL)
		return (-1);
	if (length == 0 || length >= LIB_HOST_SIZE ||
	    strlen(colon + 1) >= LIB_PORT_SIZE)
		return (-1);
	memcpy(host, node, length);
	host[length] = '\0';
	(void)snprintf(port, LIB_PORT_SIZE, "%s", colon + 1);
	return (0);
}

struct timeval
link_timeval(int64_t ns)
{
	struct timeval tv;

	if (ns < 0)
		ns = 0;
	tv.tv_sec = (time_t)(ns / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(ns % CLOCK_SECOND / 1000);
	return (tv);
}

int64_t
link_jitter(int64_t delay)
{
	if (delay < 2)
		return (delay);
	return (delay / 2 +
		(int64_t)randombytes_uniform((uint32_t)(delay / CLOCK_MS) + 1) *
		    CLOCK_MS);
}

static void
link_set_timer(struct hermes *hermes, int64_t delay)
{
	struct timeval tv = link_timeval(delay);

	(void)event_del(hermes->timer); /* not pending is fine */
	(void)event_assign(
	    hermes->timer, hermes->base, -1, 0, link_timer, hermes);
	(void)event_add(hermes->timer, &tv); /* a timer takes no memory
						   but a heap slot */
}

/* Give the present attempt up; the link frees itself. */
void
link_abandon(struct hermes *hermes)
{
	struct link *link = hermes->link;

	if (hermes->lookup != NULL) {
		evdns_getaddrinfo_cancel(hermes->lookup);
		hermes->lookup = NULL;
	}
	if (hermes->timer != NULL)
		(void)event_del(hermes->timer);
	if (hermes->beat != NULL)
		(void)event_del(hermes->beat);
	hermes->state = LINK_DOWN;
	if (link == NULL)
		return;
	hermes->link = NULL;
	link->hermes = NULL;
	if (link->connection != NULL)
		rpc_connection_close(link->connection);
	else
		free(link);
}

void
link_break(struct hermes *hermes, const char *why)
{
	char text[512];
	int again;

	(void)snprintf(text, sizeof(text), "%s port %s: %s", hermes->host,
	    hermes->port, why);
	link_abandon(hermes);
	chat_all_down(hermes);
	again = hermes->options.reconnect && !hermes->final;
	if (again) {
		follow_failed(hermes);
		link_set_timer(hermes, link_jitter(hermes->backoff));
		hermes->backoff *= 2;
		if (hermes->backoff > hermes->options.backoff_max)
			hermes->backoff = hermes->options.backoff_max;
	}
	if (hermes->callbacks.disconnected != NULL)
		hermes->callbacks.disconnected(
		    hermes, text, again, hermes->arg);
}

void
link_up(struct hermes *hermes)
{
	struct timeval tv;

	hermes->state = LINK_UP;
	hermes->backoff = hermes->options.backoff_min;
	(void)event_del(hermes->timer);
	if (hermes->options.heartbeat > 0) {
		tv = link_timeval(hermes->options.heartbeat);
		(void)event_add(hermes->beat, &tv);
	}
}

/* The back-off has passed, or the node takes too long. */
static void
link_timer(evutil_socket_t fd, short what, void *arg)
{
	struct hermes *hermes = arg;

	(void)fd;
	(void)what;
	if (hermes->state == LINK_DOWN)
		link_start(hermes);
	else
		link_break(hermes, "the node does not answer");
}

/* --- resolve and connect ------------------------------------------------- */

static void
link_connect(struct hermes *hermes, const struct sockaddr *address)
{
	struct link *link;
	char text[160];

	if ((link = calloc(1, sizeof(*link))) == NULL) {
		link_break(hermes, "out of memory");
		return;
	}
	link->hermes = hermes;
	link->connection =
	    rpc_connect(hermes->base, hermes->tls, &hermes->limits, address,
		hermes->host, &connection_callbacks, link);
	if (link->connection == NULL) {
		(void)snprintf(
		    text, sizeof(text), "connect: %s", strerror(errno));
		free(link);
		link_break(hermes, text);
		return;
	}
	hermes->link = link;
	hermes->state = LINK_CONNECTING;
}

static void
link_resolved(int result, struct evutil_addrinfo *info, void *arg)
{
	struct hermes *hermes = arg;
	char text[LIB_HOST_SIZE + 80];

	if (result == EVUTIL_EAI_CANCEL)
		return;
	hermes->lookup = NULL;
	if (result != 0) {
		(void)snprintf(text, sizeof(text), "%s: %s", hermes->host,
		    evutil_gai_strerror(result));
		link_break(hermes, text);
		return;
	}
	link_connect(hermes, info->ai_addr);
	evutil_freeaddrinfo(info);
}

/* Numeric addresses need no resolver, and no file of its own. */
void
link_start(struct hermes *hermes)
{
	struct evutil_addrinfo hints, *info = NULL;
	struct evdns_getaddrinfo_request *request;

	link_set_timer(hermes, LIB_GREETING_TIMEOUT);
	hermes->state = LINK_RESOLVING;
	memset(&hints, 0, sizeof(hints));
	hints.ai_family = AF_UNSPEC;
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_protocol = IPPROTO_TCP;
	hints.ai_flags = EVUTIL_AI_NUMERICHOST;
	if (evutil_getaddrinfo(hermes->host, hermes->port, &hints, &info) ==
	    0) {
		link_connect(hermes, info->ai_addr);
		evutil_freeaddrinfo(info);
		return;
	}
	if (hermes->dns == NULL)
		hermes->dns = evdns_base_new(
		    hermes->base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
				      EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (hermes->dns == NULL) {
		link_break(hermes, "no resolver");
		return;
	}
	hints.ai_flags = 0;
	/* NULL: link_resolved() was called already. */
	request = evdns_getaddrinfo(hermes->dns, hermes->host, hermes->port,
	    &hints, link_resolved, hermes);
	if (request != NULL)
		hermes->lookup = request;
}

/* --- what the connection says -------------------------------------------- */

static void
link_connected(struct rpc_connection *connection, void *arg)
{
	struct link *link = arg;

	if (link->hermes == NULL)
		return;
	link->stream = rpc_call(connection, "/approuter.v1.AppRouter/Open", 0,
	    &stream_callbacks, link);
	if (link->stream == NULL) {
		link_break(link->hermes, "the node takes no stream");
		return;
	}
	link->hermes->state = LINK_CHALLENGE;
}

static void
link_end(struct link *link, const char *why)
{
	struct hermes *hermes = link->hermes;

	link->connection = NULL;
	if (hermes != NULL) {
		hermes->link = NULL;
		link_break(hermes, link->error[0] != '\0' ? link->error : why);
	}
	free(link);
}

static void
link_failed(struct rpc_connection *connection, const char *error, void *arg)
{
	(void)connection;
	link_end(arg, error);
}

static void
link_closed(struct rpc_connection *connection, void *arg)
{
	(void)connection;
	link_end(arg, "connection closed");
}

static void
link_stream_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	struct link *link = arg;

	rpc_stream_consume(stream, length);
	if (link->hermes == NULL)
		return;
	link->hermes->heard = 1;
	session_frame(link->hermes, bytes, length);
}

static void
link_stream_writable(struct rpc_stream *stream, void *arg)
{
	struct link *link = arg;

	(void)stream;
	if (link->hermes != NULL)
		chat_all_pump(link->hermes);
}

static void
link_stream_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg)
{
	struct link *link = arg;

	(void)stream;
	link->stream = NULL;
	(void)snprintf(link->error, sizeof(link->error),
	    "stream ended: status %d%s%s", (int)status,
	    message == NULL || message[0] == '\0' ? "" : ": ",
	    message == NULL ? "" : message);
	if (link->hermes != NULL)
		link_break(link->hermes, link->error);
}
