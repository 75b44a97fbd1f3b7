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

struct health_watch { /* the arg of a Watch stream */
	TAILQ_ENTRY(health_watch) entry;
	struct rpc_stream *stream;
	struct rpc_health_entry *of; /* NULL: it has not said */
	char *service;               /* owned; of one that is not set */
};

TAILQ_HEAD(health_watches, health_watch);

/*
 * A service that the owner has set. Names that only strangers know are not
 * looked through for each who asks: they are all of one entry, without a name
 * and on no list.
 */
struct rpc_health_entry {
	TAILQ_ENTRY(rpc_health_entry) entry;
	struct health_watches watches;
	char *service; /* owned */
	int set;
	int serving;
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
	if (service != NULL && (entry->service = strdup(service)) == NULL) {
		free(entry);
		return (NULL);
	}
	TAILQ_INIT(&entry->watches);
	if (service != NULL)
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

/* Who watches the service of entry, which is set now. */
static void
health_gather(struct rpc_server *server, struct rpc_health_entry *entry,
    const char *service)
{
	struct health_watch *watch, *next;

	if (server->unknown == NULL)
		return;
	for (watch = TAILQ_FIRST(&server->unknown->watches); watch != NULL;
	     watch = next) {
		next = TAILQ_NEXT(watch, entry);
		if (strcmp(watch->service, service) != 0)
			continue;
		TAILQ_REMOVE(&server->unknown->watches, watch, entry);
		TAILQ_INSERT_TAIL(&entry->watches, watch, entry);
		watch->of = entry;
	}
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
	struct health_watch *watch;

	if (entry == NULL && (entry = health_add(server, service)) == NULL) {
		log_warn("health_failed", "reason=memory");
		return;
	}
	if (!entry->set)
		health_gather(server, entry, service);
	if (entry->set && entry->serving == (serving != 0))
		return;
	entry->set = 1;
	entry->serving = serving != 0;
	/* Who does not listen is cut by its own connection's limits. */
	TAILQ_FOREACH(watch, &entry->watches, entry)
	if (!rpc_stream_congested(watch->stream))
		(void)health_send(watch->stream, entry);
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
	if (entry == NULL)
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
	watch->stream = stream;
	rpc_stream_set_arg(stream, watch);
	return (RPC_OK);
}

/* The entry that watch is of, service being what it has said; NULL without
 * memory. */
static struct rpc_health_entry *
health_enter(
    struct rpc_server *server, struct health_watch *watch, const char *service)
{
	struct rpc_health_entry *entry = health_find(server, service);

	if (entry != NULL)
		return (entry);
	if (server->unknown == NULL)
		server->unknown = health_add(server, NULL);
	if (server->unknown == NULL ||
	    (watch->service = strdup(service)) == NULL)
		return (NULL);
	return (server->unknown);
}

static void
health_watch(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	struct health_watch *watch = arg;
	Grpc__Health__V1__HealthCheckRequest *request;

	rpc_stream_consume(stream, length);
	if (watch->of != NULL) {
		rpc_stream_finish(
		    stream, RPC_UNIMPLEMENTED, "more than one message");
		return;
	}
	if ((request = health_request(stream, message, length)) == NULL)
		return;
	watch->of =
	    health_enter(health_server(stream), watch, request->service);
	if (watch->of == NULL || health_send(stream, watch->of) == -1)
		rpc_stream_finish(
		    stream, RPC_RESOURCE_EXHAUSTED, "out of memory");
	if (watch->of != NULL)
		TAILQ_INSERT_TAIL(&watch->of->watches, watch, entry);
	grpc__health__v1__health_check_request__free_unpacked(request, NULL);
}

static void
health_watch_finished(struct rpc_stream *stream, void *arg)
{
	struct health_watch *watch = arg;

	if (watch->of == NULL)
		rpc_stream_finish(stream, RPC_UNIMPLEMENTED, "no message");
}

static void
health_watch_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg)
{
	struct health_watch *watch = arg;

	(void)stream;
	(void)status;
	(void)message;
	if (watch->of != NULL)
		TAILQ_REMOVE(&watch->of->watches, watch, entry);
	free(watch->service);
	free(watch);
}

static void
health_end(struct rpc_health_entry *entry)
{
	struct health_watch *watch;

	TAILQ_FOREACH(watch, &entry->watches, entry)
	rpc_stream_finish(watch->stream, RPC_UNAVAILABLE, "draining");
}

void
rpc_health_drain(struct rpc_server *server)
{
	struct rpc_health_entry *entry;

	TAILQ_FOREACH(entry, &server->health, entry)
	health_end(entry);
	if (server->unknown != NULL)
		health_end(server->unknown);
}

void
rpc_health_free(struct rpc_server *server)
{
	struct rpc_health_entry *entry;

	/* The analyzer does not see that health_drop() unlinks the entry. */
	while ((entry = TAILQ_FIRST(&server->health)) != NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		health_drop(server, entry);
	free(server->unknown);
}
