/*
 * mesh, unprivileged; node bytes are hostile. Trunks: dialling, accepting,
 * and who is at the other end. See trunk.h.
 */
#include <sys/socket.h>

#include <netdb.h>
#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <event2/util.h>

#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "mesh/mesh.h"
#include "mesh/names.h"
#include "mesh/peer.h"
#include "mesh/trunk.h"

#define HANDSHAKE_TIMEOUT (5 * CLOCK_SECOND)
#define KEEPALIVE         (5 * CLOCK_SECOND)
#define MESSAGE_MIN       (4U * 1024 * 1024)
#define MESSAGE_MAX       (16U * 1024 * 1024)
#define MESSAGE_WRAPPING  1024U
#define WINDOW            (4U * 1024 * 1024)
#define KEEP              (512U * 1024)
/* Until the node is known: a Join, and so much of several calls. */
#define UNPROVEN_MESSAGE  (32U * 1024)
#define UNPROVEN_HELD     (64U * 1024)

static TAILQ_HEAD(, trunk) dialled = TAILQ_HEAD_INITIALIZER(dialled);
static int paused;

static void trunk_connect(struct trunk *, const struct sockaddr *);
static void trunk_connect_next(struct trunk *);

void
trunk_limits(struct rpc_limits *limits)
{
	const struct config *config = proc_config();
	uint32_t message = config->limits.message_size;

	rpc_limits_default(limits);
	if (message > MESSAGE_MAX)
		message = MESSAGE_MAX;
	if (message < MESSAGE_MIN)
		message = MESSAGE_MIN;
	limits->max_message = message + MESSAGE_WRAPPING;
	limits->stream_window = WINDOW;
	limits->connection_window = 2 * WINDOW;
	limits->keep = KEEP;
	if (limits->max_connections < 2 * config->limits.members)
		limits->max_connections = 2 * config->limits.members;
	limits->max_unproven = config->limits.unauthenticated;
	limits->max_unproven_source = config->limits.unauthenticated_source;
	limits->max_per_source = config->limits.per_source;
	limits->unproven_message = UNPROVEN_MESSAGE;
	limits->unproven_held = UNPROVEN_HELD;
	limits->handshake_timeout = HANDSHAKE_TIMEOUT;
	limits->slow_timeout = HANDSHAKE_TIMEOUT;
	limits->keepalive = KEEPALIVE;
	limits->idle_timeout = 0;
}

static void
trunk_free(struct trunk *trunk)
{
	if (trunk->up && trunk->peer != NULL)
		peer_trunk_gone(trunk->peer, trunk);
	if (trunk->owner != NULL)
		TAILQ_REMOVE(&dialled, trunk, entry_dialled);
	if (trunk->addresses != NULL)
		evutil_freeaddrinfo(trunk->addresses);
	free(trunk);
}

/* Prove who is there. 0 or -1. */
static int
trunk_identify(struct trunk *trunk)
{
	const uint8_t *der;
	size_t length;

	der = rpc_connection_certificate(trunk->connection, &length);
	if (der == NULL ||
	    binding_from_x509(&trunk->binding, trunk->spki, der, length) == -1)
		return (-1);
	trunk->known = 1;
	return (0);
}

/* A connection resumed shows the certificate of its first handshake; is a
 * later one of the node known, and good? */
static int
trunk_renewed(const struct certificate *certificate)
{
	const struct peer *peer = peer_find(certificate->node_key);

	return (peer != NULL &&
		peer->certificate.serial > certificate->serial &&
		peer->certificate.not_after >= clock_wall());
}

int
trunk_admit(struct trunk *trunk)
{
	const struct certificate *certificate = &trunk->binding.certificate;

	if (!trunk->known || !trunk->binding.has_certificate ||
	    !mesh_is_member())
		goto refused;
	if (mesh_is_self(certificate->node_key) ||
	    peer_is_revoked(certificate->node_key))
		goto refused;
	if (trunk->peer != NULL) {
		/* The signature was checked before, time goes on; so does
		 * the node, with later certificates. */
		if (trunk->peer->certificate.not_after < clock_wall())
			goto refused;
		return (0);
	}
	if (certificate_verify(
		certificate, mesh.identity.authority_key, clock_wall()) == -1 &&
	    (errno != ETIME || !trunk_renewed(certificate)))
		goto refused;
	trunk->peer = peer_certified(certificate);
	if (trunk->peer == NULL) {
		metric_add(METRIC_MESH_REFUSED_LIMIT, 1);
		return (-1);
	}
	trunk->up = 1;
	peer_trunk_came(trunk->peer, trunk);
	return (0);
refused:
	metric_add(METRIC_MESH_REFUSED_MEMBERSHIP, 1);
	return (-1);
}

enum rpc_status
trunk_welcome(struct trunk *trunk)
{
	if (trunk->peer == NULL &&
	    !rpc_connection_may_verify(trunk->connection))
		return (RPC_RESOURCE_EXHAUSTED);
	if (trunk_admit(trunk) == -1) {
		rpc_connection_blame(trunk->connection);
		return (RPC_PERMISSION_DENIED);
	}
	rpc_connection_prove(trunk->connection);
	return (RPC_OK);
}

/* --- dialling ------------------------------------------------------------ */

static void
trunk_failed(struct trunk *trunk, const char *why)
{
	trunk->owner->down(trunk, why);
	trunk_free(trunk);
}

static void
on_connected(struct rpc_connection *connection, void *arg)
{
	struct trunk *trunk = arg;

	(void)connection;
	trunk->used = clock_monotonic();
	if (trunk_identify(trunk) == -1 ||
	    memcmp(trunk->binding.node_key, trunk->expected, KEY_SIZE) != 0) {
		log_warn("trunk_stranger", "address=\"%s\"",
		    rpc_connection_name(trunk->connection));
		metric_add(METRIC_MESH_REFUSED_MEMBERSHIP, 1);
		rpc_connection_close(trunk->connection);
		return;
	}
	trunk_read(trunk);
	trunk->owner->up(trunk);
}

static void
on_failed(struct rpc_connection *connection, const char *error, void *arg)
{
	struct trunk *trunk = arg;

	(void)connection;
	trunk->connection = NULL;
	/* The name has another address, perhaps of the other family. */
	if (!trunk->given_up && trunk->next != NULL)
		trunk_connect_next(trunk);
	else
		trunk_failed(trunk, error);
}

static void
on_draining(struct rpc_connection *connection, void *arg)
{
	struct trunk *trunk = arg;

	(void)connection;
	trunk->draining = 1;
}

static void
on_closed(struct rpc_connection *connection, void *arg)
{
	struct trunk *trunk = arg;

	(void)connection;
	trunk->connection = NULL;
	trunk_failed(trunk, "connection closed");
}

static const struct rpc_client_callbacks client_callbacks = { .connected =
								  on_connected,
	.failed = on_failed,
	.draining = on_draining,
	.closed = on_closed };

static void
on_late_failure(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	trunk_failed(arg, "cannot look up or connect");
}

/* down() must not come from inside trunk_dial(). */
static void
trunk_fail_later(struct trunk *trunk)
{
	const struct timeval now = { 0, 0 };

	if (event_base_once(proc_base(), -1, EV_TIMEOUT, on_late_failure, trunk,
		&now) == -1)
		fatal("event", "error=once");
}

static void
on_name(int result, struct evutil_addrinfo *list, void *arg)
{
	struct trunk *trunk = arg;

	trunk->lookup = NULL;
	if (result != 0 || list == NULL) {
		if (list != NULL)
			evutil_freeaddrinfo(list);
		trunk_fail_later(trunk);
		return;
	}
	trunk->addresses = trunk->next = list;
	trunk_connect_next(trunk);
}

static void
trunk_connect_next(struct trunk *trunk)
{
	struct evutil_addrinfo *address = trunk->next;

	trunk->next = address->ai_next;
	trunk_connect(trunk, address->ai_addr);
}

static void
trunk_connect(struct trunk *trunk, const struct sockaddr *address)
{
	struct rpc_limits limits;

	trunk_limits(&limits);
	if (mesh.client_tls != NULL)
		trunk->connection = rpc_connect(proc_base(), mesh.client_tls,
		    &limits, address, trunk->host, &client_callbacks, trunk);
	if (trunk->connection == NULL)
		trunk_fail_later(trunk);
}

/* "host:port", "[v6]:port". 0 or -1. */
static int
endpoint_split(const char *endpoint, char *host, size_t size, uint16_t *port)
{
	const char *colon, *error;
	size_t length;

	if ((colon = strrchr(endpoint, ':')) == NULL)
		return (-1);
	length = (size_t)(colon - endpoint);
	if (length >= 2 && endpoint[0] == '[' && colon[-1] == ']') {
		endpoint++;
		length -= 2;
	}
	if (length == 0 || length >= size)
		return (-1);
	memcpy(host, endpoint, length);
	host[length] = '\0';
	*port = (uint16_t)strtonum(colon + 1, 1, 65535, &error);
	return (error == NULL ? 0 : -1);
}

static void
trunk_resolve(struct trunk *trunk)
{
	struct evutil_addrinfo hints = { 0 }, *list = NULL;
	char port[6];

	(void)snprintf(port, sizeof(port), "%u", trunk->port);
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (getaddrinfo(trunk->host, port, &hints, &list) == 0) {
		trunk_connect(trunk, list->ai_addr);
		freeaddrinfo(list);
		return;
	}
	hints.ai_flags = 0;
	/* May call back at once, and then returns NULL. */
	trunk->lookup = names_lookup(trunk->host, port, &hints, on_name, trunk);
}

struct trunk *
trunk_dial(const char *endpoint, const uint8_t key[KEY_SIZE],
    const struct trunk_owner *owner, void *arg)
{
	struct trunk *trunk;

	if ((trunk = calloc(1, sizeof(*trunk))) == NULL)
		return (NULL);
	if (endpoint_split(endpoint, trunk->host, sizeof(trunk->host),
		&trunk->port) == -1) {
		free(trunk);
		errno = EINVAL;
		return (NULL);
	}
	memcpy(trunk->expected, key, KEY_SIZE);
	trunk->owner = owner;
	trunk->arg = arg;
	TAILQ_INSERT_TAIL(&dialled, trunk, entry_dialled);
	trunk_resolve(trunk);
	return (trunk);
}

void
trunk_close(struct trunk *trunk)
{
	trunk->given_up = 1;
	if (trunk->connection != NULL)
		rpc_connection_close(trunk->connection);
	else if (trunk->lookup != NULL)
		names_cancel(trunk->lookup);
}

void
trunk_expel(struct trunk *trunk)
{
	trunk->given_up = 1;
	if (trunk->connection != NULL)
		rpc_connection_expel(trunk->connection, RPC_ABUSE_SIGNATURE);
}

/* The server pauses accepted ones all together. */
void
trunk_read(struct trunk *trunk)
{
	if (trunk->connection != NULL && trunk->known)
		rpc_connection_pause(trunk->connection,
		    (paused && trunk->owner != NULL) ||
			(trunk->peer != NULL && budget_holds(trunk->peer)));
}

/* --- accepting ----------------------------------------------------------- */

int
trunk_accepted(struct rpc_connection *connection, void *arg)
{
	struct trunk *trunk;

	(void)arg;
	if (!rpc_connection_may_verify(connection) ||
	    (trunk = calloc(1, sizeof(*trunk))) == NULL)
		return (-1);
	trunk->connection = connection;
	trunk->used = clock_monotonic();
	rpc_connection_set_arg(connection, trunk);
	/* Without a binding it may look at health and reflection only. */
	if (trunk_identify(trunk) == 0 && trunk->binding.has_certificate &&
	    trunk_admit(trunk) == 0)
		rpc_connection_prove(connection);
	return (0);
}

void
trunk_accept_closed(struct rpc_connection *connection, void *arg)
{
	struct trunk *trunk = rpc_connection_arg(connection);

	(void)arg;
	if (trunk == NULL)
		return;
	trunk->connection = NULL;
	trunk_free(trunk);
}

void
trunk_configured(void)
{
	struct rpc_limits limits;
	struct trunk *trunk;

	trunk_limits(&limits);
	for (trunk = TAILQ_FIRST(&dialled); trunk != NULL;
	     trunk = TAILQ_NEXT(trunk, entry_dialled))
		if (trunk->connection != NULL)
			rpc_connection_allow(
			    trunk->connection, limits.max_message);
}

void
trunk_pause_all(int pause)
{
	struct trunk *trunk;

	paused = pause;
	for (trunk = TAILQ_FIRST(&dialled); trunk != NULL;
	     trunk = TAILQ_NEXT(trunk, entry_dialled))
		trunk_read(trunk);
}
