/*
 * Router and mesh. The standard service grpc.health.v1.Health that generic
 * tools and load balancers ask. Trusts no byte.
 */

#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "common/util/log.h"
#include "proto/health.pb-c.h"

#define NAME_MAX_BYTES 256

#define SERVING        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING                                                            \
	GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN                                                        \
	GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

struct health_watcher {
	TAILQ_ENTRY(health_watcher) entry;
	struct rpc_stream *stream;
};

TAILQ_HEAD(health_watchers, health_watcher);

/* A service: set by the owner, or only asked for by watchers. */
struct rpc_health_entry {
	TAILQ_ENTRY(rpc_health_entry) entry;
	struct health_watchers watchers;
	char *service; /* owned */
	int set;
	int serving;
};

struct health_watch { /* the arg of a Watch stream */
	struct health_watcher watcher;
	struct rpc_health_entry *entry;
};

static enum rpc_status health_watch_opened(struct rpc_stream *, void *);
static void health_check(struct rpc_stream *, const uint8_t *, size_t, void *);
static void health_watch(struct rpc_stream *, const uint8_t *, size_t, void *);
static void health_watch_finished(struct rpc_stream *, void *);
static void health_check_closed(
    struct rpc_stream *, enum rpc_status, const char *, void *);
static void health_watch_closed(
    struct rpc_stream *, enum rpc_status, const char *, void *);

const struct rpc_method rpc_health_methods[2] = {
	{ "/grpc.health.v1.Health/Check", 1, NULL,
	    { health_check, NULL, NULL, health_check_closed } },
	{ "/grpc.health.v1.Health/Watch", 0, health_watch_opened,
	    { health_watch, health_watch_finished, NULL,
		health_watch_closed } },
};

static struct rpc_server *
health_server(const struct rpc_stream *stream)
{
	return (rpc_stream_connection(stream)->server);
}

static struct rpc_health_entry *
health_find(struct rpc_server *server, const char *service)
{
	struct rpc_health_entry *entry;

	TAILQ_FOREACH(entry, &server->health, entry)
	if (strcmp(entry->service, service) == 0)
		return (entry);
	return (NULL);
}

static struct rpc_health_entry *
health_add(struct rpc_server *server, const char *service)
{
	struct rpc_health_entry *entry;

	if ((entry = calloc(1, sizeof(*entry))) == NULL)
		return (NULL);
	if ((entry->service = strdup(service)) == NULL) {
		free(entry);
		return (NULL);
	}
	TAILQ_INIT(&entry->watchers);
	TAILQ_INSERT_TAIL(&server->health, entry, entry);
	return (entry);
}

static void
health_drop(struct rpc_server *server, struct rpc_health_entry *entry)
{
	TAILQ_REMOVE(&server->health, entry, entry);
	free(entry->service);
	free(entry);
}

static int
health_send(struct rpc_stream *stream, const struct rpc_health_entry *entry)
{
	Grpc__Health__V1__HealthCheckResponse response =
	    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	uint8_t room[16];

	response.status = !entry->set      ? SERVICE_UNKNOWN
			  : entry->serving ? SERVING
					   : NOT_SERVING;
	return (rpc_stream_send(stream, room,
	    grpc__health__v1__health_check_response__pack(&response, room)));
}

void
rpc_server_set_health(
    struct rpc_server *server, const char *service, int serving)
{
	struct rpc_health_entry *entry = health_find(server, service);
	struct health_watcher *watcher;

	if (entry == NULL && (entry = health_add(server, service)) == NULL) {
		log_warn("health_failed", "reason=memory");
		return;
	}
	if (entry->set && entry->serving == (serving != 0))
		return;
	entry->set = 1;
	entry->serving = serving != 0;
	/* Who does not listen is cut by its own connection's limits. */
	TAILQ_FOREACH(watcher, &entry->watchers, entry)
	if (!rpc_stream_congested(watcher->stream))
		(void)health_send(watcher->stream, entry);
}

/* The service asked for; freed by the caller. NULL: stream was failed. */
static Grpc__Health__V1__HealthCheckRequest *
health_request(struct rpc_stream *stream, const uint8_t *message, size_t length)
{
	Grpc__Health__V1__HealthCheckRequest *request;

	request = grpc__health__v1__health_check_request__unpack(
	    NULL, length, message);
	if (request != NULL && strlen(request->service) <= NAME_MAX_BYTES)
		return (request);
	rpc_stream_finish(stream,
	    request == NULL ? RPC_INTERNAL : RPC_INVALID_ARGUMENT,
	    "bad HealthCheckRequest");
	if (request != NULL)
		grpc__health__v1__health_check_request__free_unpacked(
		    request, NULL);
	return (NULL);
}

static void
health_check(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	Grpc__Health__V1__HealthCheckRequest *request;
	struct rpc_health_entry *entry;

	(void)arg;
	if ((request = health_request(stream, message, length)) == NULL)
		return;
	entry = health_find(health_server(stream), request->service);
	if (entry == NULL || !entry->set)
		rpc_stream_finish(stream, RPC_NOT_FOUND, "unknown service");
	else if (health_send(stream, entry) == -1)
		rpc_stream_finish(
		    stream, RPC_RESOURCE_EXHAUSTED, "out of memory");
	else
		rpc_stream_finish(stream, RPC_OK, NULL);
	grpc__health__v1__health_check_request__free_unpacked(request, NULL);
}

static void
health_check_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg)
{
	(void)stream;
	(void)status;
	(void)message;
	(void)arg;
}

static enum rpc_status
health_watch_opened(struct rpc_stream *stream, void *arg)
{
	struct health_watch *watch;

	(void)arg;
	if ((watch = calloc(1, sizeof(*watch))) == NULL)
		return (RPC_RESOURCE_EXHAUSTED);
	watch->watcher.stream = stream;
	rpc_stream_set_arg(stream, watch);
	return (RPC_OK);
}

static void
health_watch(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	struct health_watch *watch = arg;
	struct rpc_server *server;
	Grpc__Health__V1__HealthCheckRequest *request;

	rpc_stream_consume(stream, length);
	if (watch->entry != NULL) {
		rpc_stream_finish(
		    stream, RPC_UNIMPLEMENTED, "more than one message");
		return;
	}
	if ((request = health_request(stream, message, length)) == NULL)
		return;
	server = health_server(stream);
	watch->entry = health_find(server, request->service);
	if (watch->entry == NULL)
		watch->entry = health_add(server, request->service);
	if (watch->entry == NULL || health_send(stream, watch->entry) == -1)
		rpc_stream_finish(
		    stream, RPC_RESOURCE_EXHAUSTED, "out of memory");
	if (watch->entry != NULL)
		TAILQ_INSERT_TAIL(
		    &watch->entry->watchers, &watch->watcher, entry);
	grpc__health__v1__health_check_request__free_unpacked(request, NULL);
}

static void
health_watch_finished(struct rpc_stream *stream, void *arg)
{
	struct health_watch *watch = arg;

	if (watch->entry == NULL)
		rpc_stream_finish(stream, RPC_UNIMPLEMENTED, "no message");
}

static void
health_watch_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg)
{
	struct health_watch *watch = arg;
	struct rpc_health_entry *entry = watch->entry;

	(void)status;
	(void)message;
	if (entry != NULL) {
		TAILQ_REMOVE(&entry->watchers, &watch->watcher, entry);
		/* Names that only strangers know are not kept for them. */
		if (!entry->set && TAILQ_EMPTY(&entry->watchers))
			health_drop(health_server(stream), entry);
	}
	free(watch);
}

void
rpc_health_drain(struct rpc_server *server)
{
	struct rpc_health_entry *entry;
	struct health_watcher *watcher;

	TAILQ_FOREACH(entry, &server->health, entry)
	TAILQ_FOREACH(watcher, &entry->watchers, entry)
	rpc_stream_finish(watcher->stream, RPC_UNAVAILABLE, "draining");
}

void
rpc_health_free(struct rpc_server *server)
{
	struct rpc_health_entry *entry;

	/* The analyzer does not see that health_drop() unlinks the entry. */
	while ((entry = TAILQ_FIRST(&server->health)) != NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		health_drop(server, entry);
}
