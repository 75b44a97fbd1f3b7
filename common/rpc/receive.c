/*
 * Any process with a network socket. What comes in on a call: messages to
 * its owner, credit to the peer. The connection's window is given back as
 * bytes come, so that no call blocks another; the stream's when its owner
 * has consumed them. Trusts no byte.
 */

#include <string.h>

#include "common/rpc/internal.h"

/* Give credit back in lumps of this part of the window. */
#define CREDIT_PART 8
/* A message larger than this part of the window is credited as it comes. */
#define LARGE_PART  4

/* A server's owner that has finished wants no more. */
static int
receive_ignored(const struct rpc_stream *stream)
{
	return (stream->detached ||
		(stream->connection->server != NULL && stream->local_done));
}

static int
receive_is_unary(const struct rpc_stream *stream)
{
	return (stream->method != NULL && stream->method->unary);
}

void
rpc_stream_credit(struct rpc_stream *stream, size_t length)
{
	struct rpc_connection *connection = stream->connection;

	stream->credit += length;
	if (stream->detached || stream->remote_done ||
	    stream->credit <= connection->limits.stream_window / CREDIT_PART)
		return;
	/* It fails only for a stream that is gone. */
	(void)nghttp2_session_consume_stream(
	    connection->session, stream->id, stream->credit);
	stream->credit = 0;
	rpc_connection_wake(connection);
}

/*
 * A message that does not fit the window would never become whole: credit
 * its bytes as they come, if the owner has none of an earlier such message.
 * So a stream holds at most a window and one message.
 */
static void
receive_credit_large(struct rpc_stream *stream)
{
	struct rpc_frame_reader *in = &stream->in;
	size_t have;

	if (in->have < RPC_FRAME_HEADER ||
	    (size_t)in->length <=
		stream->connection->limits.stream_window / LARGE_PART)
		return;
	if (stream->early == 0 && stream->ahead > 0)
		return;
	have = buffer_length(&in->part);
	if (have <= stream->early)
		return;
	rpc_stream_credit(stream, have - stream->early);
	stream->early = have;
}

void
rpc_stream_consume(struct rpc_stream *stream, size_t length)
{
	size_t n = length < stream->ahead ? length : stream->ahead;

	if (receive_ignored(stream) || receive_is_unary(stream))
		return;
	stream->ahead -= n;
	rpc_stream_credit(stream, length - n);
	receive_credit_large(stream);
}

static void
receive_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length)
{
	if (receive_is_unary(stream)) {
		if (stream->held)
			rpc_stream_fail(
			    stream, RPC_UNIMPLEMENTED, "more than one message");
		else if (buffer_append(&stream->hold, message, length) == -1)
			rpc_stream_fail(
			    stream, RPC_RESOURCE_EXHAUSTED, "out of memory");
		stream->held = 1;
		return;
	}
	stream->messages++;
	stream->connection->delivered++;
	stream->ahead += stream->early;
	stream->early = 0;
	rpc_stream_credit(stream, RPC_FRAME_HEADER);
	if (stream->callbacks->message == NULL)
		rpc_stream_consume(stream, length);
	else
		stream->callbacks->message(
		    stream, message, length, stream->arg);
}

static void
receive_broken(struct rpc_stream *stream, enum rpc_frame why)
{
	switch (why) {
	case RPC_FRAME_COMPRESSED:
		if (stream->encoded)
			rpc_stream_fail(stream, RPC_UNIMPLEMENTED,
			    "compression is not supported");
		else
			rpc_stream_fail(stream, RPC_INTERNAL,
			    "compressed without grpc-encoding");
		break;
	case RPC_FRAME_TOO_LARGE:
		rpc_stream_fail(
		    stream, RPC_RESOURCE_EXHAUSTED, "message too large");
		break;
	case RPC_FRAME_MEMORY:
		rpc_stream_fail(
		    stream, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	default:
		rpc_stream_fail(stream, RPC_INTERNAL, "bad message frame");
		break;
	}
	stream->connection->counters->protocol_errors++;
	stream->connection->counters->abuses[RPC_ABUSE_MESSAGE]++;
	rpc_abuse_call(stream->connection);
}

/* The largest message this peer may send. */
static uint32_t
receive_max(const struct rpc_connection *connection)
{
	const struct rpc_limits *limits = &connection->limits;

	if (connection->unproven && limits->unproven_message > 0 &&
	    limits->unproven_message < limits->max_message)
		return (limits->unproven_message);
	return (limits->max_message);
}

/* It holds part of a message now: that is counted, and has to go on. */
static void
receive_hold(struct rpc_stream *stream)
{
	if (stream->detached)
		return;
	if (rpc_frame_partial(&stream->in))
		rpc_abuse_watch(stream->connection);
	if (rpc_abuse_hold(stream) == 0 || receive_ignored(stream))
		return;
	stream->connection->counters->abuses[RPC_ABUSE_MEMORY]++;
	rpc_stream_fail(
	    stream, RPC_RESOURCE_EXHAUSTED, "too much that is not whole");
	rpc_abuse_release(stream);
}

void
rpc_stream_receive(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length)
{
	const uint8_t *message;
	size_t message_length;
	enum rpc_frame rv;

	if (receive_is_unary(stream))
		rpc_stream_credit(stream, length);
	while (length > 0) {
		if (receive_ignored(stream)) {
			rpc_stream_credit(stream, length);
			return;
		}
		rv = rpc_frame_read(&stream->in, &bytes, &length,
		    receive_max(stream->connection), &message, &message_length);
		if (rv == RPC_FRAME_MESSAGE)
			receive_message(stream, message, message_length);
		else if (rv == RPC_FRAME_MORE) {
			if (!receive_is_unary(stream))
				receive_credit_large(stream);
		} else
			receive_broken(stream, rv);
	}
	if (stream->connection->server != NULL)
		receive_hold(stream);
}

void
rpc_stream_remote_end(struct rpc_stream *stream)
{
	if (stream->remote_done)
		return;
	stream->remote_done = 1;
	if (!receive_ignored(stream) && stream->connection->server != NULL &&
	    rpc_frame_partial(&stream->in)) {
		stream->connection->counters->protocol_errors++;
		rpc_stream_fail(stream, RPC_INTERNAL, "message cut short");
	}
	if (!receive_ignored(stream) && receive_is_unary(stream)) {
		if (!stream->held)
			rpc_stream_fail(
			    stream, RPC_UNIMPLEMENTED, "no message");
		else if (stream->callbacks->message != NULL)
			stream->callbacks->message(stream,
			    buffer_bytes(&stream->hold),
			    buffer_length(&stream->hold), stream->arg);
	}
	if (!receive_ignored(stream) && stream->owned &&
	    stream->callbacks->finished != NULL)
		stream->callbacks->finished(stream, stream->arg);
	if (!stream->detached && stream->connection->server == NULL)
		rpc_client_outcome(stream, NGHTTP2_NO_ERROR);
}
