/*
 * Any process with a network socket. What a peer may do now and then but not
 * all the time: frames that make us work and carry nothing, calls that are
 * none, messages and header lists that never become whole. Trusts no byte.
 */

#include <string.h>

#include "common/rpc/internal.h"
#include "common/rpc/penalty.h"
#include "common/util/clock.h"
#include "common/util/rate.h"

/* What a well-behaved peer stays below, in PERIOD; see rate_take(). */
#define PERIOD       (10 * CLOCK_SECOND)
#define GLITCHES     1000
#define CALLS        200
/* A peer may give back the window once for so many bytes we sent on it, and
 * for the frame, on the stream and on the connection. */
#define EARNED_BYTES 64
#define EARNED_FRAME 2
#define EARNED_MAX   65536
/* Parts of messages that small are always kept. */
#define HELD_SMALL   (64 * 1024)

void
rpc_connection_abuse(struct rpc_connection *connection, enum rpc_abuse kind)
{
	if (connection->doomed || connection->state == RPC_DEAD)
		return;
	connection->counters->abuse++;
	connection->counters->abuses[kind]++;
	if (!connection->blameless)
		rpc_penalty_offence(connection, RPC_OFFENCE_ABUSE);
	connection->doomed = 1;
	(void)nghttp2_session_terminate_session(
	    connection->session, NGHTTP2_ENHANCE_YOUR_CALM);
	rpc_connection_wake(connection);
}

void
rpc_connection_expel(struct rpc_connection *connection, enum rpc_abuse kind)
{
	/* Not yet, or no longer, one that could be told: it goes all the same. */
	if (connection->session == NULL)
		rpc_connection_close(connection);
	else
		rpc_connection_abuse(connection, kind);
}

void
rpc_abuse_glitch(struct rpc_connection *connection, enum rpc_abuse kind)
{
	connection->glitch = kind;
	if (rate_take(&connection->glitches_due, clock_monotonic(), GLITCHES,
		PERIOD, 0) > 0)
		rpc_connection_abuse(connection, kind);
}

void
rpc_abuse_earn(struct rpc_connection *connection, size_t length)
{
	connection->earned += EARNED_FRAME + length / EARNED_BYTES;
	if (connection->earned > EARNED_MAX)
		connection->earned = EARNED_MAX;
}

void
rpc_abuse_window(struct rpc_connection *connection)
{
	if (connection->earned > 0)
		connection->earned--;
	else
		rpc_abuse_glitch(connection, RPC_ABUSE_WINDOW_UPDATE);
}

void
rpc_abuse_call(struct rpc_connection *connection)
{
	if (rate_take(&connection->calls_due, clock_monotonic(), CALLS, PERIOD,
		0) > 0)
		rpc_connection_abuse(connection, RPC_ABUSE_CALL);
}

/* --- what is not whole --------------------------------------------------- */

static size_t
abuse_part(const struct rpc_stream *stream)
{
	return (
	    stream->in.have > 0 ? buffer_length(&stream->in.part) : (size_t)0);
}

int
rpc_abuse_hold(struct rpc_stream *stream)
{
	struct rpc_connection *connection = stream->connection;
	struct rpc_server *server = connection->server;
	const struct rpc_limits *limits = &connection->limits;
	size_t holds = abuse_part(stream) + buffer_length(&stream->hold);

	if (holds == stream->counted)
		return (0);
	connection->held += holds - stream->counted;
	server->held += holds - stream->counted;
	stream->counted = holds;
	if (connection->unproven && limits->unproven_held > 0 &&
	    connection->held > limits->unproven_held)
		return (-1);
	return (holds > HELD_SMALL && server->held > server->limits.max_held
		    ? -1
		    : 0);
}

void
rpc_abuse_release(struct rpc_stream *stream)
{
	struct rpc_connection *connection = stream->connection;

	if (connection->server == NULL)
		return;
	connection->held -= stream->counted;
	connection->server->held -= stream->counted;
	stream->counted = 0;
	if (stream->over || stream->local_done) {
		buffer_free(&stream->in.part);
		stream->in.have = 0;
	}
}

/* --- what comes too slowly ----------------------------------------------- */

void
rpc_abuse_watch(struct rpc_connection *connection)
{
	if (connection->watched || connection->server == NULL ||
	    connection->limits.slow_timeout == 0)
		return;
	/* Without memory for it the next frame tries again. */
	connection->watched = rpc_timer_add(&connection->watch,
				  connection->limits.slow_timeout) == 0;
}

static int
abuse_unfinished(const struct rpc_stream *stream)
{
	if (stream->heading)
		return (1);
	if (stream->detached || stream->local_done || stream->remote_done)
		return (0);
	return (rpc_frame_partial(&stream->in) ||
		(stream->method != NULL && stream->method->unary));
}

/* Is it we who keep the peer waiting? */
static int
abuse_waits_for_us(const struct rpc_stream *stream)
{
	const struct rpc_connection *connection = stream->connection;

	return (
	    !connection->reading ||
	    (!stream->heading && nghttp2_session_get_stream_local_window_size(
				     connection->session, stream->id) <= 0));
}

static void
abuse_mark(struct rpc_stream *stream)
{
	stream->marked = 1;
	stream->marked_messages = stream->messages;
	stream->marked_length = abuse_part(stream);
}

/* Look at one call. 1 while it must be looked at again. */
static int
abuse_look(struct rpc_stream *stream)
{
	struct rpc_connection *connection = stream->connection;
	const struct rpc_limits *limits = &connection->limits;
	size_t due = (size_t)(limits->slow_timeout / CLOCK_MS) *
		     limits->slow_rate / 1000;

	if (!abuse_unfinished(stream)) {
		stream->marked = 0;
		return (0);
	}
	if (abuse_waits_for_us(stream)) {
		stream->marked = 0;
		return (1);
	}
	if (!stream->marked || stream->marked_messages != stream->messages ||
	    (!stream->heading && rpc_frame_partial(&stream->in) &&
		abuse_part(stream) >= stream->marked_length + due)) {
		abuse_mark(stream);
		return (1);
	}
	if (stream->heading) {
		rpc_connection_abuse(connection, RPC_ABUSE_SLOW_HEADERS);
		return (0);
	}
	connection->counters->abuses[RPC_ABUSE_SLOW_BODY]++;
	rpc_stream_fail(
	    stream, RPC_DEADLINE_EXCEEDED, "the message comes too slowly");
	rpc_abuse_release(stream);
	return (0);
}

/* Nobody's connection whose output does not leave. 1 while there is some. */
static int
abuse_look_output(struct rpc_connection *connection)
{
	size_t out = buffer_length(&connection->transport.out);

	if (!connection->unproven || connection->queued + out == 0) {
		connection->marked_out = 0;
		return (0);
	}
	if (connection->marked_out == connection->queued + out &&
	    connection->marked_sent == connection->sent) {
		rpc_connection_abuse(connection, RPC_ABUSE_STALLED);
		return (0);
	}
	connection->marked_out = connection->queued + out;
	connection->marked_sent = connection->sent;
	return (1);
}

void
rpc_abuse_watched(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream, *next;
	int again;

	(void)fd;
	(void)what;
	connection->watched = 0;
	if (connection->lingering ||
	    (connection->state != RPC_OPEN && connection->state != RPC_PREFACE))
		return;
	rpc_connection_enter(connection);
	again = abuse_look_output(connection);
	for (stream = TAILQ_FIRST(&connection->streams);
	     stream != NULL && !connection->doomed; stream = next) {
		next = TAILQ_NEXT(stream, entry);
		again |= abuse_look(stream);
	}
	if (again && !connection->doomed)
		rpc_abuse_watch(connection);
	rpc_connection_leave(connection);
}
