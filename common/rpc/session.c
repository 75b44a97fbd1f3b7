/*
 * Any process with a network socket. The HTTP/2 session of a connection:
 * nghttp2 reads and writes the frames, this file says what they mean for
 * calls and what a peer may not do. Trusts no byte.
 */

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "common/util/clock.h"
#include "common/util/rate.h"

/* What a well-behaved peer stays below; see rate_take(). */
#define RESETS            200 /* streams we reset as broken, in RESETS_IN */
#define RESETS_IN         (10 * CLOCK_SECOND)
#define PEER_RESET_BURST  2000 /* nghttp2's own; ours comes first */
#define PEER_RESET_RATE   200
/* A header list that many times as large as it may be ends the connection. */
#define HEADERS_FAR       2
#define MAX_CONTINUATIONS 8
#define MAX_SETTINGS      32
#define MAX_ACKS          256   /* PING and SETTINGS answers queued */
#define MAX_CONTROL       10000 /* frames queued of any kind */

/* What nghttp2 callbacks return once the connection is to go. */
static int
session_verdict(const struct rpc_connection *connection)
{
	if (connection->state == RPC_DEAD || connection->doomed)
		return (NGHTTP2_ERR_CALLBACK_FAILURE);
	return (0);
}

static struct rpc_stream *
session_stream(nghttp2_session *session, int32_t id)
{
	if (id == 0)
		return (NULL);
	return (nghttp2_session_get_stream_user_data(session, id));
}

/* A frame that makes us work and carries nothing. */
static void
session_judge(struct rpc_connection *connection, const nghttp2_frame_hd *header)
{
	switch (header->type) {
	case NGHTTP2_DATA:
		if (header->length == 0 &&
		    (header->flags & NGHTTP2_FLAG_END_STREAM) == 0)
			rpc_abuse_glitch(connection, RPC_ABUSE_EMPTY_DATA);
		break;
	case NGHTTP2_PRIORITY:
		rpc_abuse_glitch(connection, RPC_ABUSE_PRIORITY);
		break;
	case NGHTTP2_RST_STREAM:
		rpc_abuse_glitch(connection, RPC_ABUSE_RESET);
		break;
	case NGHTTP2_PING:
		rpc_abuse_glitch(connection, RPC_ABUSE_PING);
		break;
	case NGHTTP2_SETTINGS:
		if ((header->flags & NGHTTP2_FLAG_ACK) == 0)
			rpc_abuse_glitch(connection, RPC_ABUSE_SETTINGS);
		break;
	case NGHTTP2_WINDOW_UPDATE:
		rpc_abuse_window(connection);
		break;
	case NGHTTP2_HEADERS:
	case NGHTTP2_CONTINUATION:
		break;
	default:
		rpc_abuse_glitch(connection, RPC_ABUSE_OTHER);
		break;
	}
}

static int
session_begin_frame(
    nghttp2_session *session, const nghttp2_frame_hd *header, void *arg)
{
	struct rpc_connection *connection = arg;

	session_judge(connection, header);
	if (nghttp2_session_get_outbound_queue_size(session) > MAX_CONTROL)
		rpc_connection_abuse(connection, connection->glitch);
	return (session_verdict(connection));
}

static int
session_invalid_frame(
    nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct rpc_connection *connection = arg;

	(void)session;
	(void)frame;
	(void)error;
	connection->counters->protocol_errors++;
	rpc_abuse_glitch(connection, RPC_ABUSE_PROVOKED);
	return (session_verdict(connection));
}

/* Frames of no known kind are asked for to be counted, and that is all. */
static int
session_unknown_frame(nghttp2_session *session, void **payload,
    const nghttp2_frame_hd *header, void *arg)
{
	(void)session;
	(void)payload;
	(void)header;
	(void)arg;
	return (NGHTTP2_ERR_CANCEL);
}

static int
session_begin_headers(
    nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream;

	if (connection->server == NULL || frame->hd.type != NGHTTP2_HEADERS)
		return (session_verdict(connection));
	rpc_abuse_watch(connection);
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		stream = session_stream(session, frame->hd.stream_id);
		if (stream != NULL)
			stream->heading = 1;
		return (session_verdict(connection));
	}
	if ((stream = rpc_stream_new(connection)) == NULL)
		return (NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
	stream->id = frame->hd.stream_id;
	stream->heading = 1;
	(void)nghttp2_session_set_stream_user_data(session, stream->id, stream);
	return (0);
}

static int
session_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_length, const uint8_t *value,
    size_t value_length, uint8_t flags, void *arg)
{
	struct rpc_connection *connection = arg;
	const struct rpc_limits *limits = &connection->limits;
	struct rpc_stream *stream;

	(void)flags;
	stream = session_stream(session, frame->hd.stream_id);
	if (stream == NULL || frame->hd.type != NGHTTP2_HEADERS)
		return (session_verdict(connection));
	if (rpc_headers_take(stream, name, name_length, value, value_length) ==
	    0)
		return (0);
	if (connection->server == NULL) {
		connection->counters->abuse++;
		rpc_stream_reset(stream, NGHTTP2_ENHANCE_YOUR_CALM);
		rpc_stream_over(
		    stream, RPC_RESOURCE_EXHAUSTED, "headers too large");
		return (session_verdict(connection) != 0
			    ? session_verdict(connection)
			    : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
	}
	/* Reset once it is whole; what it costs to decode has an end. */
	stream->flooded = 1;
	if (stream->header_bytes / HEADERS_FAR > limits->max_header_bytes ||
	    stream->header_fields / HEADERS_FAR > limits->max_header_fields)
		rpc_connection_abuse(connection, RPC_ABUSE_HEADERS);
	return (session_verdict(connection));
}

static int
session_data(nghttp2_session *session, uint8_t flags, int32_t id,
    const uint8_t *bytes, size_t length, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream = session_stream(session, id);

	(void)flags;
	if (nghttp2_session_consume_connection(session, length) != 0)
		return (NGHTTP2_ERR_CALLBACK_FAILURE);
	if (stream == NULL)
		(void)nghttp2_session_consume_stream(session, id, length);
	else
		rpc_stream_receive(stream, bytes, length);
	return (session_verdict(connection));
}

static void
session_headers_received(struct rpc_stream *stream, const nghttp2_frame *frame)
{
	struct rpc_connection *connection = stream->connection;

	stream->heading = 0;
	if (stream->flooded) {
		connection->counters->abuses[RPC_ABUSE_HEADERS]++;
		connection->counters->abuse++;
		rpc_stream_reset(stream, NGHTTP2_ENHANCE_YOUR_CALM);
		rpc_stream_over(
		    stream, RPC_RESOURCE_EXHAUSTED, "headers too large");
		return;
	}
	if (connection->server != NULL) {
		if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
			rpc_server_request(stream);
		return;
	}
	/* The trailers are a list of their own. */
	stream->header_bytes = 0;
	stream->header_fields = 0;
	if (frame->headers.cat == NGHTTP2_HCAT_RESPONSE &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 &&
	    stream->http_status >= 200 &&
	    (stream->http_status != 200 || !stream->content))
		rpc_stream_fail(stream,
		    stream->http_status == 200
			? RPC_UNKNOWN
			: rpc_status_of_http(stream->http_status),
		    "the answer is not gRPC");
}

static void
session_goaway(struct rpc_connection *connection)
{
	if (connection->server != NULL || connection->peer_draining)
		return;
	connection->peer_draining = 1;
	rpc_connection_wake(connection);
	if (connection->announced && connection->callbacks->draining != NULL)
		connection->callbacks->draining(connection, connection->arg);
}

static int
session_frame_received(
    nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream;

	stream = session_stream(session, frame->hd.stream_id);
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (stream != NULL)
			session_headers_received(stream, frame);
		break;
	case NGHTTP2_SETTINGS:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
			rpc_connection_ready(connection);
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			rpc_timer_pong(connection);
		break;
	case NGHTTP2_GOAWAY:
		session_goaway(connection);
		break;
	default:
		break;
	}
	if (stream != NULL && !stream->detached &&
	    (frame->hd.type == NGHTTP2_HEADERS ||
		frame->hd.type == NGHTTP2_DATA) &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		rpc_stream_remote_end(stream);
	return (session_verdict(connection));
}

/* Why we had to reset one stream too many. */
static enum rpc_abuse
session_provocation(uint32_t code)
{
	switch (code) {
	case NGHTTP2_REFUSED_STREAM:
		return (RPC_ABUSE_STREAMS);
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return (RPC_ABUSE_HEADERS);
	default:
		return (RPC_ABUSE_PROVOKED);
	}
}

static int
session_frame_sent(
    nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream;

	stream = session_stream(session, frame->hd.stream_id);
	if (frame->hd.type == NGHTTP2_RST_STREAM &&
	    frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
	    frame->rst_stream.error_code != NGHTTP2_CANCEL &&
	    rate_take(&connection->resets_due, clock_monotonic(), RESETS,
		RESETS_IN, 0) > 0)
		rpc_connection_abuse(connection,
		    session_provocation(frame->rst_stream.error_code));
	/* nghttp2 gave up on the peer: so do we. */
	if (frame->hd.type == NGHTTP2_GOAWAY && !connection->doomed &&
	    frame->goaway.error_code != NGHTTP2_NO_ERROR) {
		connection->counters->protocol_errors++;
		connection->doomed = 1;
	}
	if (stream == NULL || connection->server == NULL ||
	    frame->hd.type != NGHTTP2_HEADERS ||
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return (0);
	/* A client that still sends is told to stop, RFC 9113, 8.1. */
	if (!stream->remote_done)
		rpc_stream_reset(stream, NGHTTP2_NO_ERROR);
	rpc_stream_over(stream, stream->status, stream->text);
	return (0);
}

static int
session_stream_closed(
    nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream = session_stream(session, id);

	if (stream == NULL)
		return (0);
	if (connection->server != NULL)
		rpc_stream_over(stream, RPC_CANCELLED,
		    error == NGHTTP2_CANCEL ? "cancelled by the client"
					    : "stream reset");
	else
		rpc_client_outcome(stream, error);
	return (0);
}

/*
 * Set an option that only patched or newer libraries have. Without it the
 * token buckets here must do.
 */
static void
session_option_pair(
    nghttp2_option *option, const char *symbol, uint64_t a, uint64_t b)
{
	void (*set)(nghttp2_option *, uint64_t, uint64_t);
	void *address = dlsym(RTLD_DEFAULT, symbol);

	if (address == NULL)
		return;
	memcpy(&set, &address, sizeof(set));
	set(option, a, b);
}

static void
session_option_size(nghttp2_option *option, const char *symbol, size_t value)
{
	void (*set)(nghttp2_option *, size_t);
	void *address = dlsym(RTLD_DEFAULT, symbol);

	if (address == NULL)
		return;
	memcpy(&set, &address, sizeof(set));
	set(option, value);
}

static nghttp2_option *
session_options(void)
{
	nghttp2_option *option;
	unsigned type;

	if (nghttp2_option_new(&option) != 0)
		return (NULL);
	for (type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
		nghttp2_option_set_user_recv_extension_type(
		    option, (uint8_t)type);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_outbound_ack(option, MAX_ACKS);
	nghttp2_option_set_max_settings(option, MAX_SETTINGS);
	session_option_pair(option,
	    "nghttp2_option_set_stream_reset_rate_limit", PEER_RESET_BURST,
	    PEER_RESET_RATE);
	session_option_size(
	    option, "nghttp2_option_set_max_continuations", MAX_CONTINUATIONS);
	return (option);
}

static nghttp2_session_callbacks *
session_callbacks(void)
{
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return (NULL);
	nghttp2_session_callbacks_set_on_begin_frame_callback(
	    callbacks, session_begin_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
	    callbacks, session_invalid_frame);
	nghttp2_session_callbacks_set_unpack_extension_callback(
	    callbacks, session_unknown_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(
	    callbacks, session_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(
	    callbacks, session_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
	    callbacks, session_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(
	    callbacks, session_frame_received);
	nghttp2_session_callbacks_set_on_frame_send_callback(
	    callbacks, session_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(
	    callbacks, session_stream_closed);
	nghttp2_session_callbacks_set_send_data_callback(
	    callbacks, rpc_output_data);
	return (callbacks);
}

static int
session_settings(struct rpc_connection *connection)
{
	const struct rpc_limits *limits = &connection->limits;
	nghttp2_settings_entry entries[3];

	entries[0].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE;
	entries[0].value = limits->stream_window > INT32_MAX
			       ? INT32_MAX
			       : limits->stream_window;
	entries[1].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE;
	entries[1].value = limits->max_header_bytes;
	if (connection->server != NULL) {
		entries[2].settings_id =
		    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS;
		entries[2].value = limits->max_streams;
	} else {
		entries[2].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH;
		entries[2].value = 0;
	}
	if (nghttp2_submit_settings(
		connection->session, NGHTTP2_FLAG_NONE, entries, 3) != 0)
		return (-1);
	if (nghttp2_session_set_local_window_size(connection->session,
		NGHTTP2_FLAG_NONE, 0,
		limits->connection_window > INT32_MAX
		    ? INT32_MAX
		    : (int32_t)limits->connection_window) != 0)
		return (-1);
	return (0);
}

int
rpc_session_open(struct rpc_connection *connection)
{
	nghttp2_option *option = session_options();
	nghttp2_session_callbacks *callbacks = session_callbacks();
	int rv = -1;

	if (option == NULL || callbacks == NULL)
		goto done;
	if (connection->server != NULL)
		rv = nghttp2_session_server_new3(&connection->session,
		    callbacks, connection, option, &rpc_session_memory);
	else
		rv = nghttp2_session_client_new3(&connection->session,
		    callbacks, connection, option, &rpc_session_memory);
	if (rv == 0)
		rv = session_settings(connection);
done:
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return (rv == 0 ? 0 : -1);
}
