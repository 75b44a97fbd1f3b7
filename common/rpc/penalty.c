/* Router and mesh. Penalties of sources; see penalty.h. */

#include <sys/queue.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "common/rpc/penalty.h"
#include "common/util/clock.h"
#include "common/util/rate.h"

struct offender {
	TAILQ_ENTRY(offender) entry;
	uint8_t source[RPC_SOURCE_SIZE];
	int64_t until; /* monotonic ns; the penalty that is left ends */
	uint64_t offences;
	uint64_t refused;
	unsigned out : 1; /* until it has run out */
	int64_t verifications_due;
};

struct rpc_penalties {
	struct rpc_penalty_options options;
	struct table table;
	TAILQ_HEAD(, offender) order; /* the longest silent one first */
	int64_t verifications_due;
};

struct rpc_penalties *
rpc_penalties_new(void)
{
	struct rpc_penalties *penalties = calloc(1, sizeof(*penalties));

	if (penalties == NULL)
		return (NULL);
	table_init(&penalties->table, RPC_SOURCE_SIZE);
	TAILQ_INIT(&penalties->order);
	return (penalties);
}

static void
penalties_forget(struct rpc_penalties *penalties, struct offender *offender)
{
	(void)table_remove(&penalties->table, offender->source);
	TAILQ_REMOVE(&penalties->order, offender, entry);
	free(offender);
}

void
rpc_penalties_free(struct rpc_penalties *penalties)
{
	struct offender *offender;

	if (penalties == NULL)
		return;
	while ((offender = TAILQ_FIRST(&penalties->order)) != NULL)
		penalties_forget(penalties, offender);
	table_free(&penalties->table);
	free(penalties);
}

void
rpc_penalties_configure(
    struct rpc_penalties *penalties, const struct rpc_penalty_options *options)
{
	penalties->options = *options;
	while (penalties->table.count > options->sources)
		penalties_forget(penalties, TAILQ_FIRST(&penalties->order));
}

/* The record of source, made if there is none; NULL without memory. */
static struct offender *
penalties_record(struct rpc_penalties *penalties, const uint8_t *source)
{
	struct offender *offender = table_get(&penalties->table, source);

	if (offender != NULL) {
		TAILQ_REMOVE(&penalties->order, offender, entry);
		TAILQ_INSERT_TAIL(&penalties->order, offender, entry);
		return (offender);
	}
	if (penalties->options.sources == 0)
		return (NULL);
	if (penalties->table.count >= penalties->options.sources)
		penalties_forget(penalties, TAILQ_FIRST(&penalties->order));
	if ((offender = calloc(1, sizeof(*offender))) == NULL)
		return (NULL);
	memcpy(offender->source, source, sizeof(offender->source));
	if (table_put(&penalties->table, offender->source, offender) == -1) {
		free(offender);
		return (NULL);
	}
	TAILQ_INSERT_TAIL(&penalties->order, offender, entry);
	return (offender);
}

static void
penalties_name(const struct offender *offender, char out[RPC_SOURCE_TEXT])
{
	uint8_t address[16] = { 0 };
	char text[INET6_ADDRSTRLEN] = "?";
	int family = offender->source[0];

	memcpy(address, offender->source + 1, family == AF_INET ? 4 : 8);
	(void)inet_ntop(family, address, text, sizeof(text));
	(void)snprintf(
	    out, RPC_SOURCE_TEXT, "%s/%d", text, family == AF_INET ? 32 : 64);
}

void
rpc_penalties_add(struct rpc_penalties *penalties, const uint8_t *source,
    enum rpc_offence offence, int64_t now)
{
	const struct rpc_penalty_options *options = &penalties->options;
	struct offender *offender;
	char name[RPC_SOURCE_TEXT];

	if (options->cost[offence] == 0 || options->threshold == 0 ||
	    (offender = penalties_record(penalties, source)) == NULL)
		return;
	if (offender->until <= now) {
		offender->until = now;
		offender->offences = offender->refused = 0;
		offender->out = 0;
	}
	offender->offences++;
	offender->until += options->cost[offence];
	if (offender->until > now + options->longest)
		offender->until = now + options->longest;
	if (offender->out || offender->until - now < options->threshold)
		return;
	offender->out = 1;
	penalties_name(offender, name);
	if (options->told != NULL)
		options->told(name, offender->until - now);
}

int
rpc_penalties_out(
    const struct rpc_penalties *penalties, const uint8_t *source, int64_t now)
{
	const struct offender *offender = table_get(&penalties->table, source);

	return (offender != NULL && offender->out && offender->until > now &&
		penalties->options.threshold > 0);
}

int
rpc_penalties_may_verify(
    struct rpc_penalties *penalties, const uint8_t *source, int64_t now)
{
	const struct rpc_penalty_options *options = &penalties->options;
	struct offender *offender;

	if (source != NULL && options->verifications_source > 0 &&
	    (offender = penalties_record(penalties, source)) != NULL &&
	    rate_take(&offender->verifications_due, now,
		options->verifications_source, CLOCK_SECOND, 0) > 0)
		return (0);
	return (rate_take(&penalties->verifications_due, now,
		    options->verifications, CLOCK_SECOND, 0) == 0);
}

uint64_t
rpc_penalties_count(const struct rpc_penalties *penalties, int64_t now)
{
	struct rpc_penalty_row row;
	uint64_t count = 0;
	size_t cursor = 0;

	while (rpc_penalties_next(penalties, now, &cursor, &row))
		count += row.out != 0;
	return (count);
}

int
rpc_penalties_next(const struct rpc_penalties *penalties, int64_t now,
    size_t *cursor, struct rpc_penalty_row *row)
{
	const struct offender *offender;

	while ((offender = table_next(&penalties->table, cursor)) != NULL) {
		if (offender->until <= now)
			continue;
		memset(row, 0, sizeof(*row));
		penalties_name(offender, row->source);
		row->left = offender->until - now;
		row->offences = offender->offences;
		row->refused = offender->refused;
		row->out = offender->out;
		return (1);
	}
	return (0);
}

/* --- connections --------------------------------------------------------- */

static int
penalty_exempts(const struct rpc_penalty_options *options,
    const struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const uint8_t *bytes;
	int family = address->ss_family;
	size_t i;

	if (family == AF_INET6) {
		bytes = in6->sin6_addr.s6_addr;
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			family = AF_INET;
			bytes += 12;
		}
	} else if (family == AF_INET)
		bytes = (const uint8_t *)&((const struct sockaddr_in *)address)
			    ->sin_addr;
	else
		return (1); /* local */
	for (i = 0; i < options->exempt_count; i++)
		if (rpc_prefix_has(&options->exempt[i], family, bytes))
			return (1);
	return (0);
}

int
rpc_penalty_keeps_out(struct rpc_connection *connection)
{
	struct rpc_penalties *penalties = connection->server->penalties;
	struct offender *offender;

	if (penalties == NULL)
		return (0);
	connection->exempt = (unsigned)penalty_exempts(
	    &penalties->options, &connection->address);
	if (connection->exempt || !rpc_penalties_out(penalties,
				      connection->source, clock_monotonic()))
		return (0);
	offender = table_get(&penalties->table, connection->source);
	offender->refused++;
	return (1);
}

void
rpc_penalty_offence(struct rpc_connection *connection, enum rpc_offence offence)
{
	struct rpc_server *server = connection->server;

	if (server != NULL && server->penalties != NULL && !connection->exempt)
		rpc_penalties_add(server->penalties, connection->source,
		    offence, clock_monotonic());
}

int
rpc_connection_may_verify(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;

	if (server == NULL || server->penalties == NULL ||
	    rpc_penalties_may_verify(server->penalties,
		connection->exempt ? NULL : connection->source,
		clock_monotonic()))
		return (1);
	connection->counters->abuses[RPC_ABUSE_VERIFICATION]++;
	return (0);
}

void
rpc_connection_blame(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;

	rpc_penalty_offence(connection, RPC_OFFENCE_AUTHENTICATION);
	if (server == NULL || server->penalties == NULL || connection->exempt ||
	    !connection->unproven ||
	    !rpc_penalties_out(
		server->penalties, connection->source, clock_monotonic()))
		return;
	connection->blameless = 1; /* it has paid */
	rpc_connection_abuse(connection, RPC_ABUSE_PENALTY);
}
