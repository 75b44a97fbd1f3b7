/*
 * Router and mesh. A server's side of one call: is the request gRPC, whose
 * is it, and what headers and trailers does it get. Trusts no byte.
 */

#include <stdio.h>
#include <stdlib.h>

#include "common/rpc/internal.h"

/* Not gRPC: an answer that any HTTP client understands. */
static void
respond_http(struct rpc_stream *stream, const char *status)
{
	nghttp2_nv field = rpc_headers_field(":status", status);

	stream->connection->counters->protocol_errors++;
	rpc_abuse_call(stream->connection);
	stream->headers_sent = 1;
	stream->local_done = 1;
	if (nghttp2_submit_response(
		stream->connection->session, stream->id, &field, 1, NULL) != 0)
		rpc_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
	rpc_connection_wake(stream->connection);
}

static void
respond_open(struct rpc_stream *stream)
{
	struct rpc_server *server = stream->connection->server;
	enum rpc_status rv = RPC_OK;

	stream->callbacks = &stream->method->callbacks;
	if (stream->method->opened != NULL)
		rv = stream->method->opened(stream, server->arg);
	if (rv != RPC_OK) {
		rpc_stream_finish(stream, rv, NULL);
		return;
	}
	stream->owned = 1;
	/* The server may have been freed in opened(). */
	if (stream->over)
		stream->callbacks->closed(
		    stream, RPC_CANCELLED, "server stopped", stream->arg);
}

void
rpc_server_request(struct rpc_stream *stream)
{
	if (!stream->post)
		respond_http(stream, "405");
	else if (!stream->content)
		respond_http(stream, "415");
	else if (!stream->te)
		respond_http(stream, "400");
	else if (stream->method == NULL) {
		rpc_abuse_call(stream->connection);
		rpc_stream_finish(stream, RPC_UNIMPLEMENTED, "unknown method");
	} else if (stream->bad_timeout)
		rpc_stream_finish(stream, RPC_INTERNAL, "bad grpc-timeout");
	else {
		if (stream->timeout > 0)
			rpc_stream_set_deadline(stream, stream->timeout);
		respond_open(stream);
	}
}

int
rpc_server_respond(struct rpc_stream *stream)
{
	nghttp2_data_provider provider;
	nghttp2_nv fields[3];

	fields[0] = rpc_headers_field(":status", "200");
	fields[1] = rpc_headers_field("content-type", "application/grpc");
	fields[2] = rpc_headers_field("grpc-accept-encoding", "identity");
	provider.source.ptr = NULL;
	provider.read_callback = rpc_output_pull;
	stream->headers_sent = 1;
	return (nghttp2_submit_response(stream->connection->session, stream->id,
		    fields, 3, &provider) == 0
		    ? 0
		    : -1);
}

int
rpc_server_trailers(struct rpc_stream *stream)
{
	nghttp2_session *session = stream->connection->session;
	nghttp2_nv fields[5];
	char number[16];
	char *text = NULL;
	size_t n = 0;
	int rv;

	if (stream->trailers_sent)
		return (0);
	if (!stream->headers_sent) {
		fields[n++] = rpc_headers_field(":status", "200");
		fields[n++] =
		    rpc_headers_field("content-type", "application/grpc");
		fields[n++] =
		    rpc_headers_field("grpc-accept-encoding", "identity");
	}
	(void)snprintf(number, sizeof(number), "%d", (int)stream->status);
	fields[n++] = rpc_headers_field("grpc-status", number);
	if (stream->text != NULL &&
	    (text = rpc_headers_encode(stream->text)) != NULL)
		fields[n++] = rpc_headers_field("grpc-message", text);
	if (stream->headers_sent)
		rv = nghttp2_submit_trailer(session, stream->id, fields, n);
	else
		rv = nghttp2_submit_response(
		    session, stream->id, fields, n, NULL);
	free(text);
	stream->headers_sent = 1;
	stream->trailers_sent = 1;
	return (rv == 0 ? 0 : -1);
}
