/*
 * Mesh, libhermes, tests. The client's side: connections that we begin,
 * calls that we make, and what became of them. Trusts no byte.
 */

#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rpc/internal.h"

#define USER_AGENT "grpc-c-hermes/" HERMES_VERSION

/* Owns fd. */
static struct rpc_connection *
client_start(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, int fd, int connecting, const char *name,
    const struct rpc_client_callbacks *callbacks, void *arg)
{
	struct rpc_connection *connection;

	if ((connection = rpc_connection_new(base, NULL, tls, limits)) ==
	    NULL) {
		(void)close(fd); /* errno says ENOMEM */
		errno = ENOMEM;
		return (NULL);
	}
	connection->callbacks = callbacks;
	connection->arg = arg;
	connection->authority = strdup(name != NULL ? name : "localhost");
	if (connection->authority == NULL) {
		(void)close(fd);
		rpc_connection_free(connection);
		errno = ENOMEM;
		return (NULL);
	}
	if (rpc_connection_start(connection, fd, connecting, name) == -1) {
		rpc_connection_free(connection);
		return (NULL);
	}
	return (connection);
}

struct rpc_connection *
rpc_connect(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, const struct sockaddr *address,
    const char *name, const struct rpc_client_callbacks *callbacks, void *arg)
{
	struct rpc_connection *connection;
	socklen_t length;
	int fd, saved, connecting = 0;

	length = address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						: sizeof(struct sockaddr_in);
	if (address->sa_family != AF_INET && address->sa_family != AF_INET6) {
		errno = EAFNOSUPPORT;
		return (NULL);
	}
	fd = socket(
	    address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return (NULL);
	if (connect(fd, address, length) == -1) {
		if (errno != EINPROGRESS && errno != EINTR) {
			saved = errno;
			(void)close(fd);
			errno = saved;
			return (NULL);
		}
		connecting = 1;
	}
	connection = client_start(
	    base, tls, limits, fd, connecting, name, callbacks, arg);
	if (connection != NULL)
		rpc_peer_set_address(connection, address, length);
	return (connection);
}

struct rpc_connection *
rpc_connect_fd(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, int fd, const char *name,
    const struct rpc_client_callbacks *callbacks, void *arg)
{
	struct rpc_connection *connection;
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	if (evutil_make_socket_nonblocking(fd) == -1) {
		(void)close(fd);
		return (NULL);
	}
	/* Whether it is connected shows when it becomes writable. */
	connection =
	    client_start(base, tls, limits, fd, 1, name, callbacks, arg);
	if (connection != NULL &&
	    getpeername(fd, (struct sockaddr *)&address, &length) == 0)
		rpc_peer_set_address(
		    connection, (struct sockaddr *)&address, length);
	return (connection);
}

static int
client_submit(struct rpc_stream *stream, const char *path, int64_t deadline)
{
	struct rpc_connection *connection = stream->connection;
	nghttp2_data_provider provider;
	nghttp2_nv fields[9];
	char timeout[16];
	size_t n = 0;

	fields[n++] = rpc_headers_field(":method", "POST");
	fields[n++] = rpc_headers_field(":scheme", "https");
	fields[n++] = rpc_headers_field(":path", path);
	fields[n++] = rpc_headers_field(":authority", connection->authority);
	if (deadline > 0) {
		rpc_headers_timeout(timeout, deadline);
		fields[n++] = rpc_headers_field("grpc-timeout", timeout);
	}
	fields[n++] = rpc_headers_field("te", "trailers");
	fields[n++] = rpc_headers_field("content-type", "application/grpc");
	fields[n++] = rpc_headers_field("grpc-accept-encoding", "identity");
	fields[n++] = rpc_headers_field("user-agent", USER_AGENT);
	provider.source.ptr = NULL;
	provider.read_callback = rpc_output_pull;
	stream->id = nghttp2_submit_request(
	    connection->session, NULL, fields, n, &provider, stream);
	return (stream->id < 0 ? -1 : 0);
}

struct rpc_stream *
rpc_call(struct rpc_connection *connection, const char *path, int64_t deadline,
    const struct rpc_stream_callbacks *callbacks, void *arg)
{
	struct rpc_stream *stream;

	if (connection->state != RPC_OPEN || connection->draining ||
	    connection->peer_draining || connection->closing ||
	    connection->doomed) {
		errno = ENOTCONN;
		return (NULL);
	}
	if (connection->stream_count >= connection->limits.max_streams ||
	    connection->stream_count >=
		nghttp2_session_get_remote_settings(connection->session,
		    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)) {
		errno = EAGAIN;
		return (NULL);
	}
	if ((stream = rpc_stream_new(connection)) == NULL)
		return (NULL);
	stream->callbacks = callbacks;
	stream->arg = arg;
	if (client_submit(stream, path, deadline) == -1) {
		stream->id = 0;
		/* Not owned yet: nobody is told. */
		rpc_stream_over(stream, RPC_INTERNAL, NULL);
		errno = ENOMEM;
		return (NULL);
	}
	stream->owned = 1;
	if (deadline > 0)
		rpc_stream_set_deadline(stream, deadline);
	rpc_connection_wake(connection);
	return (stream);
}

void
rpc_client_outcome(struct rpc_stream *stream, uint32_t error)
{
	enum rpc_status status;
	const char *text = stream->text;

	if (stream->remote_done && stream->has_status) {
		status = stream->status;
		if (status == RPC_OK && rpc_frame_partial(&stream->in)) {
			status = RPC_INTERNAL;
			text = "message cut short";
		}
	} else if (error != NGHTTP2_NO_ERROR) {
		status = rpc_status_of_error(error);
		text = "stream reset by the server";
	} else if (stream->http_status != 0 && stream->http_status != 200) {
		status = rpc_status_of_http(stream->http_status);
		text = "the answer is not gRPC";
	} else {
		status = stream->remote_done ? RPC_UNKNOWN : RPC_INTERNAL;
		text = "no grpc-status";
	}
	rpc_stream_over(stream, status, text);
}
