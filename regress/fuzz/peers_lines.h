/*
 * Tests only, of fuzz_peers.c. gRPC connections between the mesh process and
 * the nodes that are played, either way. Include once.
 */
#ifndef REGRESS_FUZZ_PEERS_LINES_H
#define REGRESS_FUZZ_PEERS_LINES_H

#include "mesh/gossip.h"
#include "mesh/join.h"
#include "mesh/trunk.h"
#include "mesh/wire_frame.h"
#include "regress/fuzz/fuzz.h"

#define LINES    6
#define SAID_MAX (64 * 1024 * 1024) /* by the mesh, in one input */

enum call { CALL_JOIN, CALL_GOSSIP, CALL_ROUTE, CALLS };

struct rpc_connection {
	void *arg;
	int who; /* of the actors; -1: nobody yet */
	const uint8_t *der;
	size_t der_length;
	const struct rpc_client_callbacks *dialled; /* NULL: accepted */
	int connected;
	int closing;
	uint64_t ping; /* sequence of the last that came */
	struct rpc_stream *streams[CALLS];
};

static struct rpc_connection *lines[LINES];
static const struct rpc_method *methods;
static const struct rpc_server_callbacks *server_callbacks;
static size_t said_bytes;

/* A message that the mesh said, to be looked at. */
static void line_hears(
    struct rpc_connection *line, enum call call, const struct written *written);

/* --- the rest of common/rpc that mesh/ calls ----------------------------- */

struct rpc_tls {
	int dummy;
};

struct rpc_server {
	int dummy;
};

static struct rpc_tls the_tls;
static struct rpc_server the_server;

struct rpc_penalties *
sources_penalties(enum process self)
{
	(void)self;
	return (NULL);
}

void
sources_configured(void)
{
}

int64_t
rpc_certificate_end(const void *pem, size_t length)
{
	(void)pem;
	(void)length;
	return (1);
}

void
rpc_tls_set_signer(rpc_sign sign, void *arg)
{
	(void)sign;
	(void)arg;
}

struct rpc_tls *
rpc_tls_server(const struct rpc_tls_options *options, char *error, size_t size)
{
	(void)options;
	(void)error;
	(void)size;
	return (&the_tls);
}

struct rpc_tls *
rpc_tls_client(const struct rpc_tls_options *options, char *error, size_t size)
{
	return (rpc_tls_server(options, error, size));
}

void
rpc_tls_free(struct rpc_tls *tls)
{
	(void)tls;
}

struct rpc_server *
rpc_server_new(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, const struct rpc_method *list,
    size_t count, const struct rpc_server_callbacks *callbacks, void *arg)
{
	(void)base;
	(void)tls;
	(void)limits;
	(void)arg;
	FUZZ_CHECK(count == CALLS);
	methods = list;
	server_callbacks = callbacks;
	return (&the_server);
}

int
rpc_server_listen(struct rpc_server *server, int fd)
{
	(void)server;
	(void)fd;
	return (0);
}

void
rpc_server_unlisten(struct rpc_server *server)
{
	(void)server;
}

void
rpc_server_set_tls(struct rpc_server *server, struct rpc_tls *tls)
{
	(void)server;
	(void)tls;
}

void
rpc_server_set_limits(
    struct rpc_server *server, const struct rpc_limits *limits)
{
	(void)server;
	(void)limits;
}

void
rpc_server_set_penalties(
    struct rpc_server *server, struct rpc_penalties *penalties)
{
	(void)server;
	(void)penalties;
}

void
rpc_server_pause(struct rpc_server *server, int pause)
{
	(void)server;
	(void)pause;
}

void
rpc_server_drain(struct rpc_server *server)
{
	(void)server;
}

void
rpc_server_free(struct rpc_server *server)
{
	(void)server;
}

void
rpc_server_counters(
    const struct rpc_server *server, struct rpc_counters *counters)
{
	(void)server;
	memset(counters, 0, sizeof(*counters));
}

void
rpc_server_set_health(
    struct rpc_server *server, const char *service, int serving)
{
	(void)server;
	(void)service;
	(void)serving;
}

int
rpc_server_enable_reflection(struct rpc_server *server,
    const struct rpc_descriptor *descriptors, size_t count)
{
	(void)server;
	(void)descriptors;
	(void)count;
	return (0);
}

void
rpc_connection_set_arg(struct rpc_connection *line, void *arg)
{
	line->arg = arg;
}

void *
rpc_connection_arg(const struct rpc_connection *line)
{
	return (line->arg);
}

const uint8_t *
rpc_connection_certificate(const struct rpc_connection *line, size_t *length)
{
	*length = line->der_length;
	return (line->der);
}

void
rpc_connection_allow(struct rpc_connection *line, uint32_t max)
{
	(void)line;
	(void)max;
}

void
rpc_connection_pause(struct rpc_connection *line, int pause)
{
	(void)line;
	(void)pause;
}

void
rpc_connection_close(struct rpc_connection *line)
{
	line->closing = 1;
}

void
rpc_connection_expel(struct rpc_connection *line, enum rpc_abuse kind)
{
	(void)kind;
	rpc_connection_close(line);
}

void
rpc_stream_half_close(struct rpc_stream *stream)
{
	FUZZ_CHECK(stream->connection->dialled != NULL);
}

static struct rpc_connection **
line_free_slot(void)
{
	int i;

	for (i = 0; i < LINES; i++)
		if (lines[i] == NULL)
			return (&lines[i]);
	return (NULL);
}

static struct rpc_connection *
line_new(struct rpc_connection **slot)
{
	FUZZ_CHECK((*slot = calloc(1, sizeof(**slot))) != NULL);
	(*slot)->who = -1;
	return (*slot);
}

struct rpc_connection *
rpc_connect(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, const struct sockaddr *address,
    const char *name, const struct rpc_client_callbacks *callbacks, void *arg)
{
	struct rpc_connection **slot = line_free_slot(), *line;

	(void)base;
	(void)tls;
	(void)limits;
	(void)address;
	(void)name;
	if (slot == NULL)
		return (NULL);
	line = line_new(slot);
	line->dialled = callbacks;
	line->arg = arg;
	return (line);
}

struct rpc_stream *
rpc_call(struct rpc_connection *line, const char *path, int64_t deadline,
    const struct rpc_stream_callbacks *callbacks, void *arg)
{
	struct rpc_stream *stream;
	int call;

	(void)deadline;
	for (call = 0; strcmp(methods[call].path, path) != 0; call++)
		FUZZ_CHECK(call < CALLS - 1);
	if (!line->connected || line->closing || line->streams[call] != NULL)
		return (NULL);
	stream = stream_new();
	stream->connection = line;
	stream->callbacks = callbacks;
	stream->arg = arg;
	line->streams[call] = stream;
	return (stream);
}

/* --- what happens on them ------------------------------------------------ */

static void
line_listen(struct rpc_connection *line)
{
	struct written *written;
	int call;

	for (call = 0; call < CALLS; call++)
		while (line->streams[call] != NULL &&
		       (written = stream_take(line->streams[call])) != NULL) {
			said_bytes += written->length;
			FUZZ_CHECK(said_bytes < SAID_MAX);
			line_hears(line, (enum call)call, written);
			written_free(written);
		}
}

static void
stream_end(struct rpc_connection *line, int call, enum rpc_status status)
{
	struct rpc_stream *stream = line->streams[call];

	line_listen(line);
	stream->cancelled = 1; /* it takes no more */
	stream->callbacks->closed(stream, status, NULL, stream->arg);
	line->streams[call] = NULL;
	stream_free(stream);
}

static void
line_end(struct rpc_connection **slot)
{
	struct rpc_connection *line = *slot;
	int call;

	for (call = 0; call < CALLS; call++)
		if (line->streams[call] != NULL)
			stream_end(line, call, RPC_CANCELLED);
	if (line->dialled == NULL)
		server_callbacks->closed(line, NULL);
	else if (line->connected)
		line->dialled->closed(line, line->arg);
	else
		line->dialled->failed(line, "played", line->arg);
	*slot = NULL;
	free(line);
}

/* What the mesh ended, ends; what it said is heard. 1: something was. */
static int
lines_settle(void)
{
	struct rpc_stream *stream;
	int i, call, changed = 0;

	for (i = 0; i < LINES; i++) {
		for (call = 0; lines[i] != NULL && call < CALLS; call++) {
			line_listen(lines[i]);
			stream = lines[i]->streams[call];
			if (stream == NULL ||
			    (!stream->finished && !stream->cancelled))
				continue;
			stream_end(lines[i], call,
			    stream->cancelled ? RPC_CANCELLED : RPC_OK);
			changed = 1;
		}
		if (lines[i] != NULL && lines[i]->closing) {
			line_end(&lines[i]);
			changed = 1;
		}
	}
	return (changed);
}

#endif
