/*
 * Tests only. gRPC streams that are played: what the process under test says
 * on them waits to be read; what happens to them the test tells by calling
 * the callbacks. Include once, after played_doors.h.
 */
#ifndef REGRESS_UNIT_PLAYED_STREAMS_H
#define REGRESS_UNIT_PLAYED_STREAMS_H

#include "common/proc/sources.h"
#include "common/rpc/rpc.h"

struct written {
	TAILQ_ENTRY(written) entry;
	size_t length;
	uint8_t *bytes;
};

struct rpc_stream {
	void *arg;
	struct rpc_connection *connection;
	const struct rpc_stream_callbacks *callbacks; /* the test's */
	int congested;
	int waiting;
	int cancelled;
	int finished;
	enum rpc_status status;
	size_t sent; /* bytes of the other end */
	size_t consumed;
	size_t queued;
	uint8_t *room;
	size_t room_length;
	TAILQ_HEAD(, written) written;
};

void
rpc_stream_set_arg(struct rpc_stream *stream, void *arg)
{
	stream->arg = arg;
}

struct rpc_connection *
rpc_stream_connection(const struct rpc_stream *stream)
{
	return (stream->connection);
}

uint64_t
sources_show(uint64_t id)
{
	(void)id;
	return (0);
}

void
sources_metrics(const struct rpc_counters *counters)
{
	(void)counters;
}

void
rpc_connection_prove(struct rpc_connection *connection)
{
	(void)connection;
}

int
rpc_connection_may_verify(struct rpc_connection *connection)
{
	(void)connection;
	return (1);
}

int
rpc_connection_may_sign(struct rpc_connection *connection)
{
	(void)connection;
	return (1);
}

void
rpc_connection_blame(struct rpc_connection *connection)
{
	(void)connection;
}

const char *
rpc_connection_name(const struct rpc_connection *connection)
{
	(void)connection;
	return ("127.0.0.1 port 1");
}

uint8_t *
rpc_stream_reserve(struct rpc_stream *stream, size_t length)
{
	if (stream->finished || stream->cancelled)
		return (NULL);
	PLAYED_CHECK(stream->room == NULL);
	stream->room = malloc(length + 1);
	stream->room_length = length;
	return (stream->room);
}

void
rpc_stream_commit(struct rpc_stream *stream, size_t length)
{
	struct written *written = calloc(1, sizeof(*written));

	PLAYED_CHECK(written != NULL && stream->room != NULL);
	PLAYED_CHECK(length <= stream->room_length);
	written->bytes = stream->room;
	written->length = length;
	stream->room = NULL;
	TAILQ_INSERT_TAIL(&stream->written, written, entry);
}

int
rpc_stream_send(struct rpc_stream *stream, const void *message, size_t length)
{
	uint8_t *room = rpc_stream_reserve(stream, length);

	if (room == NULL)
		return (-1);
	if (length > 0)
		memcpy(room, message, length);
	rpc_stream_commit(stream, length);
	return (0);
}

/* The oldest message that waits on the stream, or NULL. */
HELPER struct written *
stream_take(struct rpc_stream *stream)
{
	struct written *written = TAILQ_FIRST(&stream->written);

	if (written != NULL)
		TAILQ_REMOVE(&stream->written, written, entry);
	return (written);
}

HELPER void
written_free(struct written *written)
{
	free(written->bytes);
	free(written);
}

HELPER struct rpc_stream *
stream_new(void)
{
	struct rpc_stream *stream = calloc(1, sizeof(*stream));

	PLAYED_CHECK(stream != NULL);
	TAILQ_INIT(&stream->written);
	return (stream);
}

HELPER void
stream_free(struct rpc_stream *stream)
{
	struct written *written;

	PLAYED_CHECK(stream->room == NULL);
	while ((written = stream_take(stream)) != NULL)
		written_free(written);
	free(stream);
}

size_t
rpc_stream_queued(const struct rpc_stream *stream)
{
	return (stream->queued);
}

static unsigned int unsent_looks; /* how often it was asked for */

size_t
rpc_stream_unsent(const struct rpc_stream *stream)
{
	unsent_looks++;
	return (stream->queued);
}

int
rpc_stream_congested(const struct rpc_stream *stream)
{
	if (stream->congested)
		((struct rpc_stream *)(uintptr_t)stream)->waiting = 1;
	return (stream->congested);
}

void
rpc_stream_consume(struct rpc_stream *stream, size_t length)
{
	stream->consumed += length;
	PLAYED_CHECK(stream->consumed <= stream->sent);
}

void
rpc_stream_finish(
    struct rpc_stream *stream, enum rpc_status status, const char *message)
{
	(void)message;
	PLAYED_CHECK(!stream->finished);
	stream->finished = 1;
	stream->status = status;
}

void
rpc_stream_cancel(struct rpc_stream *stream)
{
	stream->cancelled = 1;
}

#endif
