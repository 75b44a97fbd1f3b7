/*
 * Any process with a network socket. Output: once a turn of the event loop,
 * what the HTTP/2 session has to say is gathered, encrypted in large records
 * and written with as few system calls as possible.
 */

#include <string.h>

#include "common/rpc/internal.h"

#define GATHER_SIZE  (128 * 1024)    /* plaintext gathered at a time */
#define FRAME_MAX    (16 * 1024 + 9) /* nghttp2 sends no larger one */
#define ROUNDS       8               /* then let others have a turn */
#define FRAME_HEADER 9

/* One connection at a time gathers. */
static _Thread_local struct {
	uint8_t bytes[GATHER_SIZE];
	size_t length;
	int full;
} gather;

/* How much is there to send? The bytes themselves go in rpc_output_data(). */
ssize_t
rpc_output_pull(nghttp2_session *session, int32_t id, uint8_t *to,
    size_t length, uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream;
	size_t have;

	(void)to;
	(void)source;
	stream = nghttp2_session_get_stream_user_data(session, id);
	if (stream == NULL) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		return (0);
	}
	have = buffer_length(&stream->out);
	if (have == 0 && !stream->local_done) {
		stream->deferred = 1;
		return (NGHTTP2_ERR_DEFERRED);
	}
	if (have > 0)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (have > length || !stream->local_done)
		return ((ssize_t)(have > length ? length : have));
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (connection->server != NULL) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (rpc_server_trailers(stream) == -1)
			return (NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
	}
	return ((ssize_t)have);
}

int
rpc_output_data(nghttp2_session *session, nghttp2_frame *frame,
    const uint8_t *header, size_t length, nghttp2_data_source *source,
    void *arg)
{
	struct rpc_connection *connection = arg;
	struct rpc_stream *stream;
	uint8_t *to = gather.bytes + gather.length;

	(void)source;
	stream =
	    nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (stream == NULL || buffer_length(&stream->out) < length)
		return (NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
	if (FRAME_HEADER + length > sizeof(gather.bytes) - gather.length) {
		gather.full = 1;
		return (NGHTTP2_ERR_WOULDBLOCK);
	}
	memcpy(to, header, FRAME_HEADER);
	memcpy(to + FRAME_HEADER, buffer_bytes(&stream->out), length);
	gather.length += FRAME_HEADER + length;
	buffer_consume(&stream->out, length);
	connection->queued -= length;
	connection->sent += length;
	rpc_abuse_earn(connection, length);
	if (buffer_length(&stream->out) == 0 &&
	    stream->out.size > connection->limits.keep)
		buffer_free(&stream->out);
	return (0);
}

/* Fill gather. 1: there may be more; 0: that is all for now; or -1. */
static int
output_gather(struct rpc_connection *connection)
{
	const uint8_t *bytes;
	ssize_t n;

	gather.length = 0;
	gather.full = 0;
	while (
	    !gather.full && sizeof(gather.bytes) - gather.length >= FRAME_MAX) {
		n = nghttp2_session_mem_send(connection->session, &bytes);
		if (connection->state == RPC_DEAD || n < 0)
			return (-1);
		if (n == 0)
			return (gather.full);
		if ((size_t)n > sizeof(gather.bytes) - gather.length)
			return (-1);
		memcpy(gather.bytes + gather.length, bytes, (size_t)n);
		gather.length += (size_t)n;
	}
	return (1);
}

int
rpc_output_flush(struct rpc_connection *connection)
{
	struct rpc_transport *transport = &connection->transport;
	int more = connection->session != NULL, round;

	if (rpc_transport_flush(transport) == -1)
		return (-1);
	for (round = 0; more && buffer_length(&transport->out) == 0; round++) {
		if (round == ROUNDS) {
			rpc_connection_wake(connection);
			break;
		}
		if ((more = output_gather(connection)) == -1 ||
		    rpc_transport_write(
			transport, gather.bytes, gather.length) == -1 ||
		    rpc_transport_flush(transport) == -1)
			return (-1);
	}
	if (connection->unproven &&
	    connection->queued + buffer_length(&transport->out) > 0)
		rpc_abuse_watch(connection);
	return (0);
}
