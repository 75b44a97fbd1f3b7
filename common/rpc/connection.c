/*
 * Any process with a network socket. One TLS connection with an HTTP/2
 * session on it, from its first byte to its end. Owners' callbacks may do
 * anything, also free the server: what is still in use up the stack is freed
 * when the last caller leaves. Trusts no byte.
 */

#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <tls.h>

#include "common/rpc/internal.h"
#include "common/rpc/penalty.h"
#include "common/util/clock.h"

/* Bytes before others have a turn; of a connection of nobody. */
#define READ_BUDGET                (512 * 1024)
#define READ_BUDGET_UNPROVEN       (16 * 1024)
#define READ_RECORD                256 /* a record costs that much more */
#define READ_MESSAGE               256 /* so does a message */
/* NGHTTP2_ERR_TOO_MANY_CONTINUATIONS, which older headers do not have. */
#define ERR_TOO_MANY_CONTINUATIONS (-905)

static void connection_writable(evutil_socket_t, short, void *);
static void connection_readable(evutil_socket_t, short, void *);
static void connection_woken(evutil_socket_t, short, void *);

struct rpc_connection *
rpc_connection_new(struct event_base *base, struct rpc_server *server,
    struct rpc_tls *tls, const struct rpc_limits *limits)
{
	struct rpc_connection *connection;

	if ((connection = calloc(1, sizeof(*connection))) == NULL)
		return (NULL);
	connection->base = base;
	connection->server = server;
	connection->tls = rpc_tls_ref(tls);
	connection->limits = *limits;
	connection->counters =
	    server != NULL ? &server->counters : &connection->own_counters;
	connection->transport.fd = -1;
	connection->transport.keep = limits->keep;
	connection->transport.bytes_read = &connection->counters->bytes_read;
	connection->transport.bytes_written =
	    &connection->counters->bytes_written;
	TAILQ_INIT(&connection->streams);
	TAILQ_INIT(&connection->ending);
	TAILQ_INIT(&connection->graves);
	connection->state = RPC_CONNECTING;
	return (connection);
}

void
rpc_connection_free(struct rpc_connection *connection)
{
	struct rpc_stream *stream;

	while ((stream = TAILQ_FIRST(&connection->graves)) != NULL) {
		TAILQ_REMOVE(&connection->graves, stream, entry);
		rpc_stream_free(stream);
	}
	nghttp2_session_del(connection->session);
	rpc_tls_free(connection->tls);
	if (connection->server != NULL)
		rpc_server_unref(connection->server);
	OPENSSL_free(connection->certificate);
	free(connection->authority);
	free(connection);
}

int
rpc_connection_start(
    struct rpc_connection *connection, int fd, int connecting, const char *name)
{
	int on = 1;

	(void)evtimer_assign(
	    &connection->timer, connection->base, rpc_timer_fired, connection);
	/* Without it nothing would end one that says nothing. */
	if (rpc_timer_start(connection) == -1 ||
	    rpc_transport_open(
		&connection->transport, connection->tls, fd, name) == -1) {
		(void)event_del(&connection->timer);
		rpc_transport_close(&connection->transport);
		(void)close(fd); /* nothing was written */
		errno = ENOMEM;
		return (-1);
	}
	/* Latency only; not every socket is TCP. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	rpc_timer_probe(connection, fd);
	(void)event_assign(&connection->read_event, connection->base, fd,
	    EV_READ | EV_PERSIST, connection_readable, connection);
	(void)event_assign(&connection->write_event, connection->base, fd,
	    EV_WRITE | EV_PERSIST, connection_writable, connection);
	(void)event_assign(&connection->wake_event, connection->base, -1, 0,
	    connection_woken, connection);
	(void)evtimer_assign(&connection->watch, connection->base,
	    rpc_abuse_watched, connection);
	connection->state = connecting ? RPC_CONNECTING : RPC_HANDSHAKE;
	connection->counters->connections_total++;
	connection->counters->connections_open++;
	rpc_connection_update(connection);
	/* A client speaks first. */
	if (!connecting && connection->server == NULL)
		event_active(&connection->read_event, EV_READ, 1);
	return (0);
}

static void
connection_want(struct event *event, int want)
{
	/* Without memory the timer finds a connection that does nothing. */
	if (want)
		(void)event_add(event, NULL);
	else
		(void)event_del(event);
}

static int
connection_reads(const struct rpc_connection *connection)
{
	switch (connection->state) {
	case RPC_HANDSHAKE:
		return (1);
	case RPC_PREFACE:
	case RPC_OPEN:
		return (!connection->paused && !connection->stalled &&
			(!connection->doomed || connection->lingering));
	default:
		return (0);
	}
}

/*
 * Read on after the loop has looked at the others. An event that makes itself
 * active keeps the loop for as long as the peer keeps up with it.
 */
static void
connection_read_later(struct rpc_connection *connection)
{
	connection->unread = 1;
	rpc_connection_wake(connection);
}

/* The server reads nothing now, or others have waited for it before. */
static int
connection_waits(const struct rpc_connection *connection)
{
	const struct rpc_server *server = connection->server;

	return (server != NULL &&
		(server->paused ||
		    (!server->resuming && !TAILQ_EMPTY(&server->stalled))));
}

/* What it has to say waits behind what others had first. */
static void
connection_stall(struct rpc_connection *connection)
{
	if (connection->stalled || !connection_reads(connection))
		return;
	connection->stalled = 1;
	TAILQ_INSERT_TAIL(
	    &connection->server->stalled, connection, entry_stalled);
}

static void
connection_unstall(struct rpc_connection *connection)
{
	if (!connection->stalled)
		return;
	connection->stalled = 0;
	TAILQ_REMOVE(&connection->server->stalled, connection, entry_stalled);
}

void
rpc_connection_update(struct rpc_connection *connection)
{
	unsigned reads = (unsigned)connection_reads(connection);
	unsigned writes;

	if (connection->state == RPC_DEAD)
		return;
	writes = connection->state == RPC_CONNECTING ||
		 (buffer_length(&connection->transport.out) > 0 &&
		     !connection->lingering);
	if (reads != connection->reading) {
		connection->reading = reads;
		connection_want(&connection->read_event, (int)reads);
		if (reads && buffer_length(&connection->transport.in) > 0)
			connection_read_later(connection);
	}
	if (writes != connection->writing) {
		connection->writing = writes;
		connection_want(&connection->write_event, (int)writes);
	}
}

void
rpc_connection_enter(struct rpc_connection *connection)
{
	connection->depth++;
}

void
rpc_connection_leave(struct rpc_connection *connection)
{
	struct rpc_stream *stream;

	if (--connection->depth > 0)
		return;
	if (connection->state == RPC_DEAD) {
		rpc_connection_free(connection);
		return;
	}
	while ((stream = TAILQ_FIRST(&connection->graves)) != NULL) {
		TAILQ_REMOVE(&connection->graves, stream, entry);
		rpc_stream_free(stream);
	}
}

/* After the loop has looked at the others. */
static void
connection_wake_later(struct rpc_connection *connection)
{
	connection->awake = 1;
	rpc_timer_next_turn(&connection->wake_event);
}

void
rpc_connection_wake(struct rpc_connection *connection)
{
	if (connection->awake || connection->state == RPC_DEAD)
		return;
	if (connection->waking) {
		connection_wake_later(connection);
		return;
	}
	connection->awake = 1;
	event_active(&connection->wake_event, EV_WRITE, 1);
}

/* Every call on it ends. */
static void
connection_end_streams(struct rpc_connection *connection, const char *why)
{
	struct rpc_stream *stream;
	enum rpc_status status;

	status = connection->server != NULL ? RPC_CANCELLED : RPC_UNAVAILABLE;
	for (;;) {
		if ((stream = TAILQ_FIRST(&connection->ending)) != NULL)
			rpc_stream_over(stream, RPC_CANCELLED, "cancelled");
		else if ((stream = TAILQ_FIRST(&connection->streams)) != NULL)
			rpc_stream_over(stream, status, why);
		else
			break;
	}
}

void
rpc_connection_cut(struct rpc_connection *connection, const char *why)
{
	if (connection->state == RPC_DEAD)
		return;
	if (connection->state < RPC_OPEN) {
		connection->counters->handshake_failures++;
		if (!connection->blameless)
			rpc_penalty_offence(connection, RPC_OFFENCE_HANDSHAKE);
	}
	rpc_unproven_remove(connection);
	connection->state = RPC_DEAD;
	connection_unstall(connection);
	(void)event_del(&connection->watch);
	(void)event_del(&connection->read_event);
	(void)event_del(&connection->write_event);
	(void)event_del(&connection->wake_event);
	(void)event_del(&connection->timer);
	connection->counters->connections_open--;
	connection_end_streams(connection, why);
	if (connection->server != NULL)
		rpc_server_gone(connection);
	else if (!connection->announced)
		connection->callbacks->failed(connection, why, connection->arg);
	else
		connection->callbacks->closed(connection, connection->arg);
	rpc_transport_close(&connection->transport);
}

void
rpc_connection_close(struct rpc_connection *connection)
{
	connection->closing = 1;
	rpc_connection_wake(connection);
}

void
rpc_connection_ready(struct rpc_connection *connection)
{
	if (connection->state != RPC_PREFACE)
		return;
	if (connection->limits.unproven_message == 0)
		rpc_unproven_remove(connection);
	connection->state = RPC_OPEN;
	connection->idle_since = connection->pinged = clock_monotonic();
	(void)rpc_timer_start(connection); /* it was there */
	if (connection->server != NULL)
		return;
	connection->announced = 1;
	if (connection->callbacks->connected != NULL)
		connection->callbacks->connected(connection, connection->arg);
}

static void
connection_handshake(struct rpc_connection *connection)
{
	const char *wrong;
	char text[256];
	int rv;

	rv = rpc_transport_handshake(&connection->transport);
	if (connection->server != NULL &&
	    buffer_length(&connection->transport.out) > 0)
		connection->server->handshakes++;
	/* An alert too is worth sending. */
	if (rpc_transport_flush(&connection->transport) == -1 && rv != -1) {
		rpc_connection_cut(connection, strerror(errno));
		return;
	}
	if (rv == 1)
		return;
	if (rv == -1) {
		wrong = tls_error(connection->transport.tls);
		(void)snprintf(text, sizeof(text), "%s",
		    wrong != NULL ? wrong : "TLS handshake failed");
		rpc_connection_cut(connection, text);
		return;
	}
	if ((wrong = rpc_peer_check(connection)) != NULL) {
		rpc_connection_cut(connection, wrong);
		return;
	}
	if (rpc_session_open(connection) == -1) {
		rpc_connection_cut(connection, "out of memory");
		return;
	}
	connection->state = RPC_PREFACE;
	rpc_connection_wake(connection);
	if (connection->server != NULL && rpc_server_admit(connection) == -1) {
		connection->blameless = 1;
		rpc_connection_cut(connection, "refused");
	}
}

/* Hand plaintext to the session. -1: read no more. */
static int
connection_input(
    struct rpc_connection *connection, const uint8_t *plain, size_t length)
{
	ssize_t n;

	connection->heard = 1;
	connection->delivered = 0;
	connection->answered = connection->sent;
	if (rpc_penalty_bytes(connection, length) == -1)
		return (-1);
	n = nghttp2_session_mem_recv(connection->session, plain, length);
	if (connection->state == RPC_DEAD || connection->doomed)
		return (-1);
	if (n >= 0)
		return (0);
	if (n == NGHTTP2_ERR_FLOODED || n == ERR_TOO_MANY_CONTINUATIONS) {
		rpc_connection_abuse(connection, n == NGHTTP2_ERR_FLOODED
						     ? connection->glitch
						     : RPC_ABUSE_CONTINUATION);
		return (-1);
	}
	connection->counters->protocol_errors++;
	connection->doomed = 1;
	(void)nghttp2_session_terminate_session(
	    connection->session, NGHTTP2_PROTOCOL_ERROR);
	return (-1);
}

/*
 * A server that closes with bytes unread makes the kernel reset the
 * connection, and the client may lose our last words. Let it close first.
 */
static void
connection_end(struct rpc_connection *connection)
{
	if (connection->server == NULL || connection->state != RPC_OPEN) {
		rpc_connection_cut(connection, "drained");
		return;
	}
	if (connection->lingering)
		return;
	connection->lingering = 1;
	connection_end_streams(connection, "protocol broken");
	rpc_transport_shutdown(&connection->transport);
	(void)rpc_timer_start(connection); /* it was there */
}

/* It sends records that carry nothing; there is no more to be read of it. */
static void
connection_flooded(struct rpc_connection *connection)
{
	connection->counters->abuse++;
	connection->counters->abuses[RPC_ABUSE_OTHER]++;
	rpc_penalty_offence(connection, RPC_OFFENCE_ABUSE);
	connection->blameless = 1; /* it has paid */
	rpc_connection_cut(connection, "too many TLS records without data");
}

static void
connection_read(struct rpc_connection *connection)
{
	struct rpc_transport *transport = &connection->transport;
	const uint8_t *plain;
	size_t budget =
	    connection->unproven ? READ_BUDGET_UNPROVEN : READ_BUDGET;
	size_t cost;
	ssize_t n;

	if (connection_waits(connection)) {
		connection_stall(connection);
		return;
	}
	while (connection_reads(connection)) {
		if ((n = rpc_transport_read(transport, &plain)) == 0)
			break;
		if (n == -1) {
			if (transport->flooded)
				connection_flooded(connection);
			else
				rpc_connection_cut(
				    connection, "connection lost");
			return;
		}
		for (; transport->silent > 0; transport->silent--)
			rpc_abuse_glitch(connection, RPC_ABUSE_OTHER);
		if (connection_input(connection, plain, (size_t)n) == -1 ||
		    rpc_transport_read_all(transport))
			break;
		cost = (size_t)n + READ_RECORD +
		       connection->delivered * (size_t)READ_MESSAGE;
		if (connection_waits(connection)) {
			connection_stall(connection);
			break;
		}
		if (cost >= budget) {
			connection_read_later(connection);
			break;
		}
		budget -= cost;
	}
	if (connection->state != RPC_DEAD)
		rpc_connection_wake(connection);
}

static void
connection_readable(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_transport *transport = &connection->transport;

	(void)fd;
	(void)what;
	/* It stays readable: it is asked again after the others. */
	if (connection->state == RPC_HANDSHAKE && connection->server != NULL &&
	    !rpc_server_may_shake_hands(connection->server))
		return;
	rpc_connection_enter(connection);
	rpc_transport_begin(transport);
	if (connection->lingering) {
		if (rpc_transport_discard(transport) == -1)
			rpc_connection_cut(connection, "drained");
	} else if (connection->state == RPC_HANDSHAKE)
		connection_handshake(connection);
	if (connection->lingering)
		transport->fresh_length = 0;
	else if (connection->state == RPC_PREFACE ||
		 connection->state == RPC_OPEN)
		connection_read(connection);
	if (connection->state != RPC_DEAD && rpc_transport_end(transport) == -1)
		rpc_connection_cut(connection, "out of memory");
	rpc_connection_update(connection);
	rpc_connection_leave(connection);
}

void
rpc_connection_resume(struct rpc_connection *connection)
{
	connection_unstall(connection);
	connection_readable(connection->transport.fd, 0, connection);
}

static void
connection_writable(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_connection *connection = arg;
	socklen_t length = sizeof(int);
	int error = 0;

	(void)what;
	if (connection->state != RPC_CONNECTING) {
		rpc_connection_wake(connection);
		return;
	}
	rpc_connection_enter(connection);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
		error = errno;
	if (error != 0)
		rpc_connection_cut(connection, strerror(error));
	else {
		/* In this order: an active event cannot be added. */
		connection->state = RPC_HANDSHAKE;
		rpc_connection_update(connection);
		event_active(&connection->read_event, EV_READ, 1);
	}
	rpc_connection_leave(connection);
}

/* Nothing left to do on it? */
static int
connection_is_done(const struct rpc_connection *connection)
{
	if (connection->session == NULL ||
	    buffer_length(&connection->transport.out) > 0 ||
	    nghttp2_session_want_write(connection->session))
		return (0);
	if (!nghttp2_session_want_read(connection->session))
		return (1);
	if (connection->stream_count > 0)
		return (0);
	return (connection->drained || connection->peer_draining);
}

static void
connection_woken(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream;

	(void)fd;
	connection->awake = 0;
	connection->waking = 1;
	rpc_connection_enter(connection);
	while ((stream = TAILQ_FIRST(&connection->ending)) != NULL)
		rpc_stream_over(stream, RPC_CANCELLED, "cancelled");
	if (connection->closing)
		rpc_connection_cut(connection, "closed here");
	else if (connection->lingering)
		;
	else if (connection->state == RPC_PREFACE ||
		 connection->state == RPC_OPEN) {
		if (rpc_output_flush(connection) == -1)
			rpc_connection_cut(connection, "connection lost");
		else if (connection->doomed || connection_is_done(connection))
			connection_end(connection);
		else
			rpc_stream_tell_writable(connection);
	} else if (connection->state == RPC_HANDSHAKE &&
		   rpc_transport_flush(&connection->transport) == -1)
		rpc_connection_cut(connection, "connection lost");
	rpc_connection_update(connection);
	connection->waking = 0;
	if (connection->unread && connection->state != RPC_DEAD) {
		if (what & EV_TIMEOUT) {
			connection->unread = 0;
			event_active(&connection->read_event, EV_READ, 1);
		} else if (!connection->awake)
			connection_wake_later(connection);
	}
	rpc_connection_leave(connection);
}

void
rpc_connection_set_arg(struct rpc_connection *connection, void *arg)
{
	connection->arg = arg;
}

void *
rpc_connection_arg(const struct rpc_connection *connection)
{
	return (connection->arg);
}

void
rpc_connection_pause(struct rpc_connection *connection, int pause)
{
	connection->paused = pause != 0;
	rpc_connection_update(connection);
}

void
rpc_connection_allow(struct rpc_connection *connection, uint32_t max)
{
	if (connection->limits.max_message < max)
		connection->limits.max_message = max;
}

const char *
rpc_connection_name(const struct rpc_connection *connection)
{
	return (connection->name);
}

const struct sockaddr *
rpc_connection_address(const struct rpc_connection *connection)
{
	return ((const struct sockaddr *)&connection->address);
}
