/*
 * Tests only. The gRPC server after TLS: this file stands in for
 * common/rpc/transport.c and gives the session the input as plaintext, in
 * pieces. Every stream that opened is closed once; memory stays bounded; the
 * server outlives any client.
 */

#include <sys/socket.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/rpc/internal.h"
#include "regress/fuzz/fuzz.h"

#define SAID_MAX (4 * 1024 * 1024)

static struct {
	struct event_base *base;
	struct input input;
	size_t piece; /* bytes of this turn */
	int ended;    /* the peer closed */
	int stuck;    /* the peer does not read */
	size_t said;  /* bytes of ours */
	unsigned opened, closed, messages;
	int echo;
} state;

/* --- transport.c -------------------------------------------------------- */

int
rpc_transport_open(struct rpc_transport *transport, struct rpc_tls *settings,
    int fd, const char *name)
{
	(void)settings;
	(void)name;
	transport->fd = fd;
	return (0);
}

void
rpc_transport_close(struct rpc_transport *transport)
{
	if (transport->fd != -1)
		(void)close(transport->fd);
	transport->fd = -1;
	buffer_free(&transport->in);
	buffer_free(&transport->out);
}

int
rpc_transport_handshake(struct rpc_transport *transport)
{
	(void)transport;
	return (0);
}

void
rpc_transport_begin(struct rpc_transport *transport)
{
	uint8_t byte;

	/* Each byte on the socket stands for a piece. */
	while (recv(transport->fd, &byte, 1, MSG_DONTWAIT) == 1)
		state.piece += 1 + (size_t)byte * 4;
}

ssize_t
rpc_transport_read(struct rpc_transport *transport, const uint8_t **plain)
{
	static uint8_t *room;
	const uint8_t *at;
	size_t n;

	(void)transport;
	n = input_span(&state.input, state.piece, &at);
	state.piece = 0;
	if (n == 0)
		return (state.ended ? -1 : 0);
	/* Of its exact size, so that a read beyond it is seen. */
	free(room);
	FUZZ_CHECK((room = malloc(n)) != NULL);
	memcpy(room, at, n);
	*plain = room;
	return ((ssize_t)n);
}

int
rpc_transport_read_all(const struct rpc_transport *transport)
{
	(void)transport;
	return (!state.ended);
}

int
rpc_transport_end(struct rpc_transport *transport)
{
	(void)transport;
	return (0);
}

int
rpc_transport_write(
    struct rpc_transport *transport, const uint8_t *plain, size_t length)
{
	state.said += length;
	FUZZ_CHECK(state.said < SAID_MAX);
	return (buffer_append(&transport->out, plain, length));
}

void
rpc_transport_shutdown(struct rpc_transport *transport)
{
	(void)transport;
}

int
rpc_transport_discard(struct rpc_transport *transport)
{
	(void)transport;
	return (-1);
}

size_t
rpc_transport_unsent(struct rpc_transport *transport)
{
	return (buffer_length(&transport->out));
}

int
rpc_transport_flush(struct rpc_transport *transport)
{
	struct buffer *out = &transport->out;
	ssize_t n;

	while (buffer_length(out) > 0) {
		n = send(transport->fd, buffer_bytes(out), buffer_length(out),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == -1)
			return (errno == EAGAIN ? 0 : -1);
		buffer_consume(out, (size_t)n);
	}
	return (0);
}

const char *
rpc_peer_check(struct rpc_connection *connection)
{
	(void)connection;
	return (NULL);
}

void
rpc_peer_source(const struct sockaddr *address, uint8_t source[17])
{
	(void)address;
	memset(source, 0, 17);
}

void
rpc_peer_set_address(struct rpc_connection *connection,
    const struct sockaddr *address, socklen_t length)
{
	(void)address;
	(void)length;
	(void)strlcpy(connection->name, "fuzz", sizeof(connection->name));
}

/* Others of peer.c. */
const uint8_t *
rpc_connection_certificate(
    const struct rpc_connection *connection, size_t *length)
{
	(void)connection;
	*length = 0;
	return (NULL);
}

int
rpc_connection_peer_spki(
    const struct rpc_connection *connection, uint8_t hash[32])
{
	(void)connection;
	(void)hash;
	return (-1);
}

/* --- a service ---------------------------------------------------------- */

static enum rpc_status
on_opened(struct rpc_stream *stream, void *arg)
{
	(void)stream;
	(void)arg;
	state.opened++;
	return (RPC_OK);
}

static void
on_message(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	(void)arg;
	state.messages++;
	FUZZ_CHECK(length <= 4096);
	rpc_stream_consume(stream, length);
	if (state.echo && !rpc_stream_congested(stream))
		(void)rpc_stream_send(stream, bytes, length);
	if (length > 0 && bytes[0] == 0xee)
		rpc_stream_cancel(stream);
}

static void
on_unary(
    struct rpc_stream *stream, const uint8_t *bytes, size_t length, void *arg)
{
	on_message(stream, bytes, length, arg);
	rpc_stream_finish(stream, RPC_NOT_FOUND, "not % here");
}

static void
on_finished(struct rpc_stream *stream, void *arg)
{
	(void)arg;
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static void
on_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg)
{
	(void)stream;
	(void)status;
	(void)message;
	(void)arg;
	state.closed++;
}

static const struct rpc_method methods[] = {
	{ "/t.T/S", 0, on_opened,
	    { on_message, on_finished, NULL, on_closed } },
	{ "/t.T/U", 1, on_opened, { on_unary, NULL, NULL, on_closed } },
};

/* --- connections -------------------------------------------------------- */

static void
turn(int client)
{
	static uint8_t room[65536];
	int i;

	for (i = 0; i < 4; i++) {
		(void)event_base_loop(state.base, EVLOOP_NONBLOCK);
		while (!state.stuck && client != -1 &&
		       recv(client, room, sizeof(room), MSG_DONTWAIT) > 0)
			;
	}
}

static int
listener(struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(address, 0, sizeof(*address));
	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	FUZZ_CHECK(
	    fd != -1 &&
	    bind(fd, (struct sockaddr *)address, sizeof(*address)) == 0 &&
	    listen(fd, 8) == 0 &&
	    getsockname(fd, (struct sockaddr *)address, &length) == 0);
	return (fd);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(9);
	FUZZ_CHECK((state.base = event_base_new()) != NULL);
	return (0);
}

static struct rpc_server *
server_new(struct rpc_tls *tls)
{
	static const uint8_t descriptor[] = { 0x0a, 0x00 };
	static const struct rpc_descriptor set = { descriptor, 2 };
	struct rpc_server *server;
	struct rpc_limits limits;

	rpc_limits_default(&limits);
	limits.max_message = 4096;
	limits.max_streams = 8;
	limits.max_output = 16384;
	server =
	    rpc_server_new(state.base, tls, &limits, methods, 2, NULL, NULL);
	FUZZ_CHECK(server != NULL);
	(void)rpc_server_enable_reflection(server, &set, 1);
	rpc_server_set_health(server, "t.T", 1);
	return (server);
}

/* One connection: the client preface, then the input, in pieces. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				      "\0\0\0\4\0\0\0\0\0";
	struct rpc_tls *tls = calloc(1, sizeof(*tls));
	struct rpc_server *server;
	struct input input = { data, size };
	struct sockaddr_in address;
	uint8_t how = input_u8(&input), cut = input_u8(&input), *whole;
	size_t length = sizeof(preface) - 1;
	int client, rounds = 0;

	FUZZ_CHECK(tls != NULL);
	tls->refs = 1;
	FUZZ_CHECK((whole = malloc(length + input.left)) != NULL);
	memcpy(whole, preface, length);
	if (input.left > 0)
		memcpy(whole + length, input.at, input.left);
	if (how & 1)
		length = 0; /* no preface but what the input has */
	state.input =
	    (struct input){ whole + (how & 1 ? sizeof(preface) - 1 : 0),
		    length + input.left };
	state.piece = state.said = 0;
	state.opened = state.closed = state.messages = 0;
	state.ended = 0;
	state.stuck = how >> 1 & 1;
	state.echo = how >> 2 & 1;
	server = server_new(tls);
	FUZZ_CHECK(rpc_server_listen(server, listener(&address)) == 0);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(client != -1 && connect(client, (struct sockaddr *)&address,
				       sizeof(address)) == 0);
	turn(client);
	while (state.input.left > 0 && rounds++ < 64) {
		uint8_t byte = cut == 0 ? 0xff : (uint8_t)(cut + rounds);

		if (send(client, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
			break;
		turn(client);
	}
	if (how & 8)
		rpc_server_drain(server);
	turn(client);
	state.ended = 1;
	(void)shutdown(client, SHUT_WR);
	turn(client);
	rpc_server_free(server);
	turn(client);
	(void)close(client);
	FUZZ_CHECK(state.opened == state.closed);
	free(whole);
	rpc_tls_free(tls);
	return (0);
}
