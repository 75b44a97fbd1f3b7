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

/* What all connections of a source that are not known may send. Calls of apps
 * that were known, and are over, may have so much on its way. */
#define BYTES      (8U * 1024 * 1024)
#define BYTES_IN   (10 * CLOCK_SECOND)
#define BYTES_MOST (64U * 1024) /* counted at a time */

/* Costly for us, whatever comes of it. */
enum signature { SIGNATURE_VERIFIED, SIGNATURE_MADE, SIGNATURES };

struct offender {
	TAILQ_ENTRY(offender) entry;
	uint8_t source[RPC_SOURCE_SIZE];
	int64_t until; /* monotonic ns; the penalty that is left ends */
	uint64_t offences;
	uint64_t refused;
	unsigned out : 1; /* until it has run out */
	int64_t signatures_due[SIGNATURES];
	int64_t handshakes_due;
	int64_t bytes_due;
};

TAILQ_HEAD(offender_list, offender); /* the longest silent one first */

struct rpc_penalties {
	struct rpc_penalty_options options;
	struct table table;
	struct offender_list clean;
	struct offender_list paying;
	int64_t signatures_due[SIGNATURES];
	int64_t handshakes_due;
};

struct rpc_penalties *
rpc_penalties_new(void)
{
	struct rpc_penalties *penalties = calloc(1, sizeof(*penalties));

	if (penalties == NULL)
		return (NULL);
	table_init(&penalties->table, RPC_SOURCE_SIZE);
	TAILQ_INIT(&penalties->clean);
	TAILQ_INIT(&penalties->paying);
	return (penalties);
}

static struct offender_list *
penalties_list(struct rpc_penalties *penalties, const struct offender *offender)
{
	return (offender->until > 0 ? &penalties->paying : &penalties->clean);
}

static void
penalties_forget(struct rpc_penalties *penalties, struct offender *offender)
{
	(void)table_remove(&penalties->table, offender->source);
	TAILQ_REMOVE(penalties_list(penalties, offender), offender, entry);
	free(offender);
}

/* Whose penalty ran out owes nothing. */
static void
penalties_settle(
    struct rpc_penalties *penalties, struct offender *offender, int64_t now)
{
	if (offender == NULL || offender->until == 0 || offender->until > now)
		return;
	TAILQ_REMOVE(&penalties->paying, offender, entry);
	offender->until = 0;
	offender->offences = offender->refused = 0;
	offender->out = 0;
	TAILQ_INSERT_TAIL(&penalties->clean, offender, entry);
}

/* The one to forget first; NULL when there is none. */
static struct offender *
penalties_first(const struct rpc_penalties *penalties)
{
	struct offender *offender = TAILQ_FIRST(&penalties->clean);

	return (offender != NULL ? offender : TAILQ_FIRST(&penalties->paying));
}

void
rpc_penalties_free(struct rpc_penalties *penalties)
{
	struct offender *offender;

	if (penalties == NULL)
		return;
	while ((offender = penalties_first(penalties)) != NULL)
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
		penalties_forget(penalties, penalties_first(penalties));
}

/* The record of source, made if there is none; NULL without memory. */
static struct offender *
penalties_record(
    struct rpc_penalties *penalties, const uint8_t *source, int64_t now)
{
	struct offender *offender = table_get(&penalties->table, source);
	struct offender_list *list;

	penalties_settle(penalties, TAILQ_FIRST(&penalties->paying), now);
	penalties_settle(penalties, offender, now);
	if (offender != NULL) {
		list = penalties_list(penalties, offender);
		TAILQ_REMOVE(list, offender, entry);
		TAILQ_INSERT_TAIL(list, offender, entry);
		return (offender);
	}
	if (penalties->options.sources == 0)
		return (NULL);
	if (penalties->table.count >= penalties->options.sources)
		penalties_forget(penalties, penalties_first(penalties));
	if ((offender = calloc(1, sizeof(*offender))) == NULL)
		return (NULL);
	memcpy(offender->source, source, sizeof(offender->source));
	if (table_put(&penalties->table, offender->source, offender) == -1) {
		free(offender);
		return (NULL);
	}
	TAILQ_INSERT_TAIL(&penalties->clean, offender, entry);
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
	    (offender = penalties_record(penalties, source, now)) == NULL)
		return;
	if (offender->until == 0) {
		TAILQ_REMOVE(&penalties->clean, offender, entry);
		TAILQ_INSERT_TAIL(&penalties->paying, offender, entry);
		offender->until = now;
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

/* One more signature, for this source and for all. 1, or 0: too many. */
static int
penalties_take(struct rpc_penalties *penalties, enum signature what,
    const uint8_t *source, int64_t now)
{
	const struct rpc_penalty_options *options = &penalties->options;
	struct offender *offender;

	if (source != NULL && options->verifications_source > 0 &&
	    (offender = penalties_record(penalties, source, now)) != NULL &&
	    rate_take(&offender->signatures_due[what], now,
		options->verifications_source, CLOCK_SECOND, 0) > 0)
		return (0);
	return (rate_take(&penalties->signatures_due[what], now,
		    options->verifications, CLOCK_SECOND, 0) == 0);
}

int
rpc_penalties_may_verify(
    struct rpc_penalties *penalties, const uint8_t *source, int64_t now)
{
	return (penalties_take(penalties, SIGNATURE_VERIFIED, source, now));
}

int
rpc_penalties_may_sign(
    struct rpc_penalties *penalties, const uint8_t *source, int64_t now)
{
	return (penalties_take(penalties, SIGNATURE_MADE, source, now));
}

int
rpc_penalties_handshake(struct rpc_penalties *penalties, const uint8_t *source,
    int64_t now, int64_t *wait)
{
	const struct rpc_penalty_options *options = &penalties->options;
	struct offender *offender;

	*wait = 0;
	if (source != NULL && options->handshakes_source > 0 &&
	    (offender = penalties_record(penalties, source, now)) != NULL &&
	    rate_take(&offender->handshakes_due, now,
		options->handshakes_source, CLOCK_SECOND, 0) > 0)
		return (-1);
	/* This one was taken already: it counts. */
	*wait = rate_take(&penalties->handshakes_due, now, options->handshakes,
	    CLOCK_SECOND, INT64_MAX);
	return (0);
}

int
rpc_penalties_bytes(struct rpc_penalties *penalties, const uint8_t *source,
    size_t length, int64_t now)
{
	struct offender *offender = penalties_record(penalties, source, now);

	if (length > BYTES_MOST)
		length = BYTES_MOST;
	return (
	    offender != NULL && rate_take_many(&offender->bytes_due, now,
				    (uint32_t)length, BYTES, BYTES_IN, 0) > 0
		? -1
		: 0);
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
penalty_exempts(
    const struct rpc_penalty_options *options, const struct sockaddr *address)
{
	const struct sockaddr_in6 *in6 =
	    (const struct sockaddr_in6 *)(const void *)address;
	const uint8_t *bytes;
	int family = address->sa_family;
	size_t i;

	if (family == AF_INET6) {
		bytes = in6->sin6_addr.s6_addr;
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			family = AF_INET;
			bytes += 12;
		}
	} else if (family == AF_INET)
		bytes = (const uint8_t *)&(
		    (const struct sockaddr_in *)(const void *)address)
			    ->sin_addr;
	else
		return (1); /* local */
	for (i = 0; i < options->exempt_count; i++)
		if (rpc_prefix_has(&options->exempt[i], family, bytes))
			return (1);
	return (0);
}

int
rpc_penalty_turns_away(struct rpc_server *server,
    const struct sockaddr *address, uint8_t source[RPC_SOURCE_SIZE],
    unsigned *exempt, int64_t *wait)
{
	struct rpc_penalties *penalties = server->penalties;
	struct offender *offender;
	int64_t now = clock_monotonic();

	rpc_peer_source(address, source);
	*wait = 0;
	*exempt = 0;
	if (penalties == NULL)
		return (0);
	*exempt = (unsigned)penalty_exempts(&penalties->options, address);
	if (!*exempt && rpc_penalties_out(penalties, source, now)) {
		offender = table_get(&penalties->table, source);
		offender->refused++;
		server->counters.abuses[RPC_ABUSE_PENALTY]++;
		return (1);
	}
	if (rpc_penalties_handshake(
		penalties, *exempt ? NULL : source, now, wait) == 0)
		return (0);
	server->counters.abuses[RPC_ABUSE_HANDSHAKES]++;
	return (1);
}

int
rpc_penalty_bytes(struct rpc_connection *connection, size_t length)
{
	struct rpc_server *server = connection->server;

	if (!connection->unproven || connection->exempt ||
	    server->penalties == NULL ||
	    rpc_penalties_bytes(server->penalties, connection->source, length,
		clock_monotonic()) == 0)
		return (0);
	rpc_connection_abuse(connection, RPC_ABUSE_BYTES);
	return (-1);
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

int
rpc_connection_may_sign(struct rpc_connection *connection)
{
	struct rpc_server *server = connection->server;

	if (server == NULL || server->penalties == NULL ||
	    rpc_penalties_may_sign(server->penalties,
		connection->exempt ? NULL : connection->source,
		clock_monotonic()))
		return (1);
	connection->counters->abuses[RPC_ABUSE_VERIFICATION]++;
	rpc_abuse_call(connection);
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
