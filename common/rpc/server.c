/*
 * Router and mesh. A gRPC server: takes connections within its limits, hands
 * calls to the methods they name. Trusts no byte.
 */

#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rpc/internal.h"
#include "common/rpc/penalty.h"
#include "common/util/clock.h"

#define ACCEPT_BATCH 64               /* connections taken in one turn */
#define HANDSHAKES   8                /* answered in one turn, 0.4 ms each */
#define ACCEPT_RETRY (100 * CLOCK_MS) /* when descriptors have run out */
/* Who is refused comes again. It costs some 20 us, most of them the kernel's,
 * each time: 64 in 10 ms, or an eighth of a core, must do. */
#define ACCEPT_REST  (10 * CLOCK_MS)

static void server_accept(evutil_socket_t, short, void *);
static void server_retry(evutil_socket_t, short, void *);
static void server_resumed(evutil_socket_t, short, void *);

struct rpc_server *
rpc_server_new(struct event_base *base, struct rpc_tls *tls,
    const struct rpc_limits *limits, const struct rpc_method *methods,
    size_t count, const struct rpc_server_callbacks *callbacks, void *arg)
{
	struct rpc_server *server;

	if ((server = calloc(1, sizeof(*server))) == NULL)
		return (NULL);
	server->base = base;
	server->tls = rpc_tls_ref(tls);
	server->limits = *limits;
	server->methods = methods;
	server->method_count = count;
	if (callbacks != NULL)
		server->callbacks = *callbacks;
	server->arg = arg;
	server->refs = 1;
	TAILQ_INIT(&server->listeners);
	TAILQ_INIT(&server->connections);
	TAILQ_INIT(&server->unproven);
	TAILQ_INIT(&server->stalled);
	(void)evtimer_assign(&server->resume, base, server_resumed, server);
	TAILQ_INIT(&server->health);
	table_init(&server->sources, sizeof(((struct rpc_source *)0)->key));
	rpc_server_set_health(server, "", 1);
	return (server);
}

int
rpc_server_listen(struct rpc_server *server, int fd)
{
	struct rpc_listener *listener;

	if (evutil_make_socket_nonblocking(fd) == -1 ||
	    (listener = calloc(1, sizeof(*listener))) == NULL) {
		(void)close(fd); /* owned; the error is in errno */
		return (-1);
	}
	listener->server = server;
	listener->fd = fd;
	(void)event_assign(&listener->event, server->base, fd,
	    EV_READ | EV_PERSIST, server_accept, listener);
	(void)evtimer_assign(
	    &listener->retry, server->base, server_retry, listener);
	if (event_add(&listener->event, NULL) == -1) {
		(void)close(fd);
		free(listener);
		errno = ENOMEM;
		return (-1);
	}
	TAILQ_INSERT_TAIL(&server->listeners, listener, entry);
	return (0);
}

/* --- connections --------------------------------------------------------- */

static int
server_source_add(struct rpc_server *server, const uint8_t key[17])
{
	struct rpc_source *source = table_get(&server->sources, key);

	if (source == NULL) {
		if ((source = calloc(1, sizeof(*source))) == NULL)
			return (-1);
		memcpy(source->key, key, sizeof(source->key));
		if (table_put(&server->sources, source->key, source) == -1) {
			free(source);
			return (-1);
		}
	}
	if (server->limits.max_per_source > 0 &&
	    source->count >= server->limits.max_per_source)
		return (-1);
	source->count++;
	return (0);
}

static void
server_source_remove(struct rpc_server *server, const uint8_t key[17])
{
	struct rpc_source *source = table_get(&server->sources, key);

	if (source == NULL || --source->count > 0)
		return;
	(void)table_remove(&server->sources, key);
	free(source);
}

/* Owns fd. -1: no. wait: ns until the next should be taken. */
static int
server_take(struct rpc_server *server, int fd, const struct sockaddr *address,
    socklen_t length, int64_t *wait)
{
	struct rpc_connection *connection;
	uint8_t source[RPC_SOURCE_SIZE];
	unsigned exempt;

	if (rpc_penalty_turns_away(server, address, source, &exempt, wait)) {
		(void)close(fd);
		return (-1);
	}
	if ((connection = rpc_connection_new(
		 server->base, server, server->tls, &server->limits)) == NULL) {
		(void)close(fd);
		return (-1);
	}
	server->refs++;
	rpc_peer_set_address(connection, address, length);
	memcpy(connection->source, source, sizeof(connection->source));
	connection->exempt = exempt;
	if (server_source_add(server, connection->source) == -1) {
		(void)close(fd);
		rpc_connection_free(connection);
		return (-1);
	}
	if (rpc_connection_start(connection, fd, 0, NULL) == -1) {
		server_source_remove(server, connection->source);
		rpc_connection_free(connection);
		return (-1);
	}
	TAILQ_INSERT_TAIL(&server->connections, connection, entry);
	rpc_unproven_add(connection);
	return (0);
}

/* It would stay readable: look again in so many ns. */
static void
server_rest(struct rpc_listener *listener, int64_t wait)
{
	struct timeval tv;

	tv.tv_sec = (time_t)(wait / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(wait % CLOCK_SECOND / 1000);
	/* Without memory for it there is no rest: better that than no more. */
	if (evtimer_add(&listener->retry, &tv) == 0)
		(void)event_del(&listener->event);
}

static void
server_accept(evutil_socket_t listening, short what, void *arg)
{
	struct rpc_listener *listener = arg;
	struct rpc_server *server = listener->server;
	struct sockaddr_storage address;
	socklen_t length;
	uint64_t refused = server->counters.refused;
	int64_t wait = 0;
	int fd, i;

	(void)what;
	for (i = 0; i < ACCEPT_BATCH && wait == 0; i++) {
		length = sizeof(address);
		fd = accept4(listening, (struct sockaddr *)&address, &length,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd == -1 && (errno == EMFILE || errno == ENFILE ||
				    errno == ENOBUFS || errno == ENOMEM)) {
			server->counters.refused++;
			server_rest(listener, ACCEPT_RETRY);
			return;
		}
		if (fd == -1)
			break;
		if (server->counters.connections_open >=
		    server->limits.max_connections) {
			(void)close(fd);
			server->counters.refused++;
		} else if (server_take(server, fd, (struct sockaddr *)&address,
			       length, &wait) == -1)
			server->counters.refused++;
	}
	if (server->counters.refused > refused && wait < ACCEPT_REST)
		wait = ACCEPT_REST;
	if (wait > 0)
		server_rest(listener, wait);
}

static void
server_retry(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_listener *listener = arg;

	(void)fd;
	(void)what;
	if (event_add(&listener->event, NULL) == -1)
		server_rest(listener, ACCEPT_RETRY);
}

int
rpc_server_may_shake_hands(struct rpc_server *server)
{
	struct timeval now;

	/* The loop looks at the clock once a turn. */
	(void)event_base_gettimeofday_cached(server->base, &now);
	if (now.tv_sec != server->turn.tv_sec ||
	    now.tv_usec != server->turn.tv_usec) {
		server->turn = now;
		server->handshakes = 0;
	}
	return (server->handshakes < HANDSHAKES);
}

int
rpc_server_admit(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;

	if (server->draining ||
	    (server->callbacks.opened != NULL &&
		server->callbacks.opened(connection, server->arg) == -1)) {
		server->counters.refused++;
		return (-1);
	}
	connection->announced = 1;
	return (0);
}

void
rpc_server_gone(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;

	TAILQ_REMOVE(&server->connections, connection, entry);
	server_source_remove(server, connection->source);
	if (connection->announced && server->callbacks.closed != NULL)
		server->callbacks.closed(connection, server->arg);
}

/* --- its life ------------------------------------------------------------ */

void
rpc_server_set_tls(struct rpc_server *server, struct rpc_tls *tls)
{
	struct rpc_tls *old = server->tls;

	server->tls = rpc_tls_ref(tls);
	rpc_tls_free(old);
}

void
rpc_server_set_limits(
    struct rpc_server *server, const struct rpc_limits *limits)
{
	struct rpc_connection *connection;

	server->limits = *limits;
	TAILQ_FOREACH(connection, &server->connections, entry)
	rpc_connection_allow(connection, limits->max_message);
}

void
rpc_server_set_penalties(
    struct rpc_server *server, struct rpc_penalties *penalties)
{
	server->penalties = penalties;
}

/* Who has waited longest reads first; who has no turn yet waits on. */
static void
server_resumed(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_server *server = arg;
	struct rpc_connection *connection;

	(void)fd;
	(void)what;
	server->refs++;
	server->resuming = 1;
	while (!server->paused &&
	       (connection = TAILQ_FIRST(&server->stalled)) != NULL)
		rpc_connection_resume(connection);
	server->resuming = 0;
	rpc_server_unref(server);
}

void
rpc_server_pause(struct rpc_server *server, int pause)
{
	server->paused = pause != 0;
	/* Not now, as it may pause at once. */
	if (!server->paused && !TAILQ_EMPTY(&server->stalled))
		rpc_timer_next_turn(&server->resume);
}

void
rpc_server_unlisten(struct rpc_server *server)
{
	struct rpc_listener *listener;

	while ((listener = TAILQ_FIRST(&server->listeners)) != NULL) {
		TAILQ_REMOVE(&server->listeners, listener, entry);
		(void)event_del(&listener->event);
		(void)event_del(&listener->retry);
		(void)close(listener->fd); /* nothing to lose on it */
		free(listener);
	}
}

void
rpc_server_drain_connections(struct rpc_server *server)
{
	struct rpc_connection *connection;

	TAILQ_FOREACH(connection, &server->connections, entry)
	rpc_connection_drain(connection);
}

void
rpc_server_drain(struct rpc_server *server)
{
	if (server->draining)
		return;
	server->draining = 1;
	rpc_server_unlisten(server);
	rpc_health_drain(server);
	rpc_server_drain_connections(server);
}

void
rpc_server_free(struct rpc_server *server)
{
	struct rpc_connection *connection;

	if (server == NULL || server->freed)
		return;
	server->freed = 1;
	server->draining = 1;
	(void)event_del(&server->resume);
	rpc_server_unlisten(server);
	while ((connection = TAILQ_FIRST(&server->connections)) != NULL) {
		rpc_connection_enter(connection);
		connection->blameless = 1;
		rpc_connection_cut(connection, "server stopped");
		rpc_connection_leave(connection);
	}
	rpc_server_unref(server);
}

void
rpc_server_unref(struct rpc_server *server)
{
	if (--server->refs > 0)
		return;
	rpc_health_free(server);
	rpc_reflection_free(server);
	table_free(&server->sources);
	rpc_tls_free(server->tls);
	free(server);
}

void
rpc_server_counters(
    const struct rpc_server *server, struct rpc_counters *counters)
{
	*counters = server->counters;
}
