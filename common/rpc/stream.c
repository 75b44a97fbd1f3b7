/*
 * Any process with a network socket. One gRPC call, on either side: what its
 * owner may do with it, and how it ends. Trusts no byte.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "common/util/clock.h"

struct rpc_stream *
rpc_stream_new(struct rpc_connection *connection)
{
	struct rpc_stream *stream;

	if ((stream = calloc(1, sizeof(*stream))) == NULL)
		return (NULL);
	stream->connection = connection;
	buffer_init(&stream->out);
	buffer_init(&stream->hold);
	buffer_init(&stream->in.part);
	stream->in.keep = connection->limits.keep;
	TAILQ_INSERT_TAIL(&connection->streams, stream, entry);
	connection->stream_count++;
	connection->counters->streams_open++;
	return (stream);
}

void
rpc_stream_free(struct rpc_stream *stream)
{
	buffer_free(&stream->out);
	buffer_free(&stream->hold);
	buffer_free(&stream->in.part);
	free(stream->text);
	free(stream);
}

/* Take it off its list; a walk that stands on it goes on behind it. */
static void
stream_unlink(struct rpc_stream *stream)
{
	struct rpc_connection *connection = stream->connection;

	if (connection->cursor == stream)
		connection->cursor = TAILQ_NEXT(stream, entry);
	TAILQ_REMOVE(
	    stream->ending ? &connection->ending : &connection->streams, stream,
	    entry);
	stream->ending = 0;
}

/* There is more to send, or nothing: have nghttp2 ask again. */
static void
stream_resume(struct rpc_stream *stream)
{
	if (!stream->deferred)
		return;
	stream->deferred = 0;
	(void)nghttp2_session_resume_data(
	    stream->connection->session, stream->id);
}

/* From here on nothing of nghttp2 reaches the stream. */
static void
stream_detach(struct rpc_stream *stream)
{
	struct rpc_connection *connection = stream->connection;

	if (stream->detached)
		return;
	stream->detached = 1;
	stream->local_done = 1;
	rpc_abuse_release(stream);
	connection->queued -= buffer_length(&stream->out);
	buffer_consume(&stream->out, buffer_length(&stream->out));
	if (stream->waiting)
		connection->waiting--;
	stream->waiting = 0;
	if (stream->timed)
		(void)event_del(&stream->timer);
	stream->timed = 0;
	if (connection->session == NULL || stream->id == 0)
		return;
	/* It fails when the stream is gone already. */
	(void)nghttp2_session_set_stream_user_data(
	    connection->session, stream->id, NULL);
	/* A client that was answered still owes its END_STREAM. */
	stream_resume(stream);
}

void
rpc_stream_over(
    struct rpc_stream *stream, enum rpc_status status, const char *text)
{
	struct rpc_connection *connection = stream->connection;

	if (stream->over)
		return;
	stream->over = 1;
	stream_detach(stream);
	stream_unlink(stream);
	TAILQ_INSERT_TAIL(&connection->graves, stream, entry);
	connection->stream_count--;
	connection->counters->streams_open--;
	if (connection->stream_count == 0) {
		connection->idle_since = clock_monotonic();
		if (connection->server != NULL &&
		    connection->limits.unproven_message > 0)
			rpc_unproven_add(connection);
		rpc_connection_wake(connection);
	}
	if (stream->owned)
		stream->callbacks->closed(stream, status, text, stream->arg);
}

void
rpc_stream_reset(struct rpc_stream *stream, uint32_t code)
{
	struct rpc_connection *connection = stream->connection;

	if (stream->detached)
		return;
	/* Without memory for it the connection is cut at the next output. */
	(void)nghttp2_submit_rst_stream(
	    connection->session, NGHTTP2_FLAG_NONE, stream->id, code);
	stream_detach(stream);
	rpc_connection_wake(connection);
}

void
rpc_stream_fail(
    struct rpc_stream *stream, enum rpc_status status, const char *text)
{
	if (stream->connection->server != NULL) {
		rpc_stream_finish(stream, status, text);
		return;
	}
	rpc_stream_reset(stream, NGHTTP2_CANCEL);
	rpc_stream_over(stream, status, text);
}

static void
stream_expired(evutil_socket_t fd, short what, void *arg)
{
	static const char text[] = "deadline exceeded";
	struct rpc_stream *stream = arg;
	struct rpc_connection *connection = stream->connection;

	(void)fd;
	(void)what;
	rpc_connection_enter(connection);
	stream->timed = 0;
	if (connection->server != NULL && !stream->headers_sent)
		rpc_stream_fail(stream, RPC_DEADLINE_EXCEEDED, text);
	else {
		rpc_stream_reset(stream, NGHTTP2_CANCEL);
		rpc_stream_over(stream, RPC_DEADLINE_EXCEEDED, text);
	}
	rpc_connection_leave(connection);
}

void
rpc_stream_set_deadline(struct rpc_stream *stream, int64_t timeout)
{
	struct timeval tv;

	tv.tv_sec = (time_t)(timeout / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(timeout % CLOCK_SECOND / 1000);
	/* What cannot be waited for in a year is no deadline. */
	if (tv.tv_sec > 365 * 24 * 3600)
		return;
	(void)evtimer_assign(
	    &stream->timer, stream->connection->base, stream_expired, stream);
	if (evtimer_add(&stream->timer, &tv) == 0)
		stream->timed = 1;
}

/* --- for owners ---------------------------------------------------------- */

void
rpc_stream_set_arg(struct rpc_stream *stream, void *arg)
{
	stream->arg = arg;
}

void *
rpc_stream_arg(const struct rpc_stream *stream)
{
	return (stream->arg);
}

struct rpc_connection *
rpc_stream_connection(const struct rpc_stream *stream)
{
	return (stream->connection);
}

uint8_t *
rpc_stream_reserve(struct rpc_stream *stream, size_t length)
{
	uint8_t *to;

	if (stream->local_done || length > UINT32_MAX) {
		errno = stream->local_done ? EPIPE : EMSGSIZE;
		return (NULL);
	}
	to = buffer_reserve(&stream->out, RPC_FRAME_HEADER + length);
	if (to == NULL)
		return (NULL);
	stream->reserved = length;
	return (to + RPC_FRAME_HEADER);
}

void
rpc_stream_commit(struct rpc_stream *stream, size_t length)
{
	struct rpc_connection *connection = stream->connection;

	if (length > stream->reserved)
		length = stream->reserved;
	stream->reserved = 0;
	rpc_frame_write_header(stream->out.data + stream->out.end, length);
	buffer_commit(&stream->out, RPC_FRAME_HEADER + length);
	connection->queued += RPC_FRAME_HEADER + length;
	if (connection->server != NULL && !stream->headers_sent &&
	    rpc_server_respond(stream) == -1)
		rpc_stream_cancel(stream);
	stream_resume(stream);
	rpc_connection_wake(connection);
}

int
rpc_stream_send(struct rpc_stream *stream, const void *message, size_t length)
{
	uint8_t *to = rpc_stream_reserve(stream, length);

	if (to == NULL)
		return (-1);
	if (length > 0)
		memcpy(to, message, length);
	rpc_stream_commit(stream, length);
	return (0);
}

size_t
rpc_stream_queued(const struct rpc_stream *stream)
{
	return (buffer_length(&stream->out));
}

size_t
rpc_stream_unsent(const struct rpc_stream *stream)
{
	return (buffer_length(&stream->out) +
		rpc_transport_unsent(&stream->connection->transport));
}

/* How much may wait before nothing more is asked for. */
static size_t
stream_output_max(const struct rpc_connection *connection)
{
	const struct rpc_limits *limits = &connection->limits;

	if (connection->unproven && limits->unproven_held > 0)
		return (limits->unproven_held);
	return (limits->max_output);
}

static int
stream_is_congested(const struct rpc_stream *stream)
{
	const struct rpc_connection *connection = stream->connection;
	size_t length;
	int32_t window;

	if (stream->detached)
		return (0);
	if (connection->queued + buffer_length(&connection->transport.out) >
	    stream_output_max(connection))
		return (1);
	length = buffer_length(&stream->out);
	if (length == 0)
		return (0);
	window = nghttp2_session_get_stream_remote_window_size(
	    connection->session, stream->id);
	/* -1: its HEADERS have not left yet. */
	if (window < 0)
		window = (int32_t)nghttp2_session_get_remote_settings(
		    connection->session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
	return (window <= 0 || length > (size_t)window);
}

int
rpc_stream_congested(const struct rpc_stream *stream)
{
	struct rpc_stream *mark;

	if (!stream_is_congested(stream))
		return (0);
	/* Only that somebody waits for writable() is noted. */
	mark = (struct rpc_stream *)(uintptr_t)stream;
	if (!mark->waiting)
		mark->connection->waiting++;
	mark->waiting = 1;
	return (1);
}

void
rpc_stream_tell_writable(struct rpc_connection *connection)
{
	struct rpc_stream *stream;

	if (connection->waiting == 0 ||
	    connection->queued + buffer_length(&connection->transport.out) >
		stream_output_max(connection))
		return;
	stream = TAILQ_FIRST(&connection->streams);
	for (; stream != NULL && connection->waiting > 0;
	     stream = connection->cursor) {
		connection->cursor = TAILQ_NEXT(stream, entry);
		if (!stream->waiting || stream_is_congested(stream))
			continue;
		stream->waiting = 0;
		connection->waiting--;
		if (stream->owned && !stream->local_done &&
		    stream->callbacks->writable != NULL)
			stream->callbacks->writable(stream, stream->arg);
	}
	connection->cursor = NULL;
}

void
rpc_stream_finish(
    struct rpc_stream *stream, enum rpc_status status, const char *message)
{
	struct rpc_connection *connection = stream->connection;

	if (stream->local_done || connection->server == NULL)
		return;
	stream->local_done = 1;
	stream->status = status;
	free(stream->text);
	stream->text = message == NULL ? NULL : strndup(message, RPC_TEXT_MAX);
	if (!stream->headers_sent && rpc_server_trailers(stream) == -1) {
		stream->local_done = 0;
		rpc_stream_cancel(stream);
		return;
	}
	stream_resume(stream);
	rpc_connection_wake(connection);
}

void
rpc_stream_half_close(struct rpc_stream *stream)
{
	struct rpc_connection *connection = stream->connection;

	if (stream->local_done || connection->server != NULL)
		return;
	stream->local_done = 1;
	stream_resume(stream);
	rpc_connection_wake(connection);
}

void
rpc_stream_cancel(struct rpc_stream *stream)
{
	struct rpc_connection *connection = stream->connection;

	if (stream->detached)
		return;
	rpc_stream_reset(stream, NGHTTP2_CANCEL);
	stream_unlink(stream);
	stream->ending = 1;
	TAILQ_INSERT_TAIL(&connection->ending, stream, entry);
}
