/*
 * Router and mesh. Connections of nobody: TLS is not done, or the owner does
 * not know yet who is there. There are so many of a source and so many in
 * all; a new one takes the place of the oldest. Trusts no byte.
 */

#include <string.h>

#include "common/rpc/internal.h"

/* The oldest of all, or of one source; not the connection itself. */
static struct rpc_connection *
unproven_oldest(const struct rpc_connection *newest, int same_source)
{
	struct rpc_connection *old;

	TAILQ_FOREACH(old, &newest->server->unproven, entry_unproven)
	if (old != newest &&
	    (!same_source ||
		memcmp(old->source, newest->source, sizeof(old->source)) == 0))
		return (old);
	return (NULL);
}

static void
unproven_displace(struct rpc_connection *connection)
{
	struct rpc_counters *counters = connection->counters;

	rpc_unproven_remove(connection);
	connection->blameless = 1;
	if (connection->session != NULL) {
		rpc_connection_abuse(connection, RPC_ABUSE_DISPLACED);
		return;
	}
	counters->abuse++;
	counters->abuses[RPC_ABUSE_DISPLACED]++;
	rpc_connection_enter(connection);
	rpc_connection_cut(connection, "displaced by a newer one");
	rpc_connection_leave(connection);
}

void
rpc_unproven_add(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;
	const struct rpc_limits *limits = &server->limits;
	struct rpc_connection *oldest = NULL;
	struct rpc_source *source;

	if (connection->unproven || connection->doomed ||
	    connection->state == RPC_DEAD)
		return;
	source = table_get(&server->sources, connection->source);
	connection->unproven = 1;
	TAILQ_INSERT_TAIL(&server->unproven, connection, entry_unproven);
	server->unproven_count++;
	source->unproven++;
	if (limits->max_unproven_source > 0 && !connection->exempt &&
	    source->unproven > limits->max_unproven_source)
		oldest = unproven_oldest(connection, 1);
	else if (server->unproven_count > limits->max_unproven)
		oldest = unproven_oldest(connection, 0);
	if (oldest != NULL)
		unproven_displace(oldest);
}

void
rpc_unproven_remove(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;
	struct rpc_source *source;

	if (!connection->unproven)
		return;
	source = table_get(&server->sources, connection->source);
	source->unproven--;
	connection->unproven = 0;
	TAILQ_REMOVE(&server->unproven, connection, entry_unproven);
	server->unproven_count--;
}

void
rpc_connection_prove(struct rpc_connection *connection)
{
	rpc_unproven_remove(connection);
}
