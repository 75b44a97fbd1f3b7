/*
 * Any process with a network socket. What happens to a connection when
 * nothing happens on it: handshakes end, idle ones go, dead ones are found,
 * drains take their second step.
 */

#include "common/rpc/internal.h"
#include "common/util/clock.h"

#define DRAIN_STEP CLOCK_SECOND       /* at most, to the second GOAWAY */
#define LINGER     (3 * CLOCK_SECOND) /* for the peer to close first */
#define TICK_MIN   (10 * CLOCK_MS)

static int64_t
timer_sooner(int64_t a, int64_t b)
{
	return (b > 0 && b < a ? b : a);
}

void
rpc_timer_start(struct rpc_connection *connection)
{
	const struct rpc_limits *limits = &connection->limits;
	struct timeval tv;
	int64_t in = 3600 * CLOCK_SECOND;

	if (connection->state < RPC_OPEN)
		in = timer_sooner(in, limits->handshake_timeout);
	else if (connection->lingering)
		in = LINGER;
	else {
		in = timer_sooner(in, limits->keepalive);
		in = timer_sooner(in, limits->idle_timeout);
		if (connection->draining && !connection->drained)
			in = timer_sooner(in, DRAIN_STEP);
	}
	if (in < TICK_MIN)
		in = TICK_MIN;
	tv.tv_sec = (time_t)(in / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(in % CLOCK_SECOND / 1000);
	/* Without memory for a timer the next one will do. */
	(void)evtimer_add(&connection->timer, &tv);
}

/* RFC 9113, 6.8: after a round trip nothing new can be on its way. */
static void
timer_final_goaway(struct rpc_connection *connection)
{
	nghttp2_session *session = connection->session;

	if (!connection->draining || connection->drained)
		return;
	connection->drained = 1;
	(void)nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
	    nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
	    NULL, 0);
	rpc_connection_wake(connection);
}

void
rpc_timer_pong(struct rpc_connection *connection)
{
	connection->ping_sent = 0;
	timer_final_goaway(connection);
}

void
rpc_connection_drain(struct rpc_connection *connection)
{
	if (connection->state == RPC_DEAD || connection->draining)
		return;
	connection->draining = 1;
	if (connection->state != RPC_OPEN) {
		connection->blameless = 1;
		rpc_connection_close(connection);
		return;
	}
	if (connection->server == NULL) {
		connection->drained = 1;
		(void)nghttp2_submit_goaway(connection->session,
		    NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
	} else {
		connection->drain_since = clock_monotonic();
		(void)nghttp2_submit_shutdown_notice(connection->session);
		(void)nghttp2_submit_ping(
		    connection->session, NGHTTP2_FLAG_NONE, NULL);
		rpc_timer_start(connection);
	}
	rpc_connection_wake(connection);
}

/* 1 when the connection was found dead. */
static int
timer_keepalive(struct rpc_connection *connection, int64_t now)
{
	int silent = !connection->heard && connection->reading;

	if (connection->limits.keepalive == 0 ||
	    now - connection->pinged < connection->limits.keepalive - TICK_MIN)
		return (0);
	if (connection->ping_sent && silent)
		return (1);
	if (silent) {
		(void)nghttp2_submit_ping(
		    connection->session, NGHTTP2_FLAG_NONE, NULL);
		connection->ping_sent = 1;
		rpc_connection_wake(connection);
	}
	connection->heard = 0;
	connection->pinged = now;
	return (0);
}

void
rpc_timer_fired(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_connection *connection = arg;
	const struct rpc_limits *limits = &connection->limits;
	int64_t now = clock_monotonic();

	(void)fd;
	(void)what;
	rpc_connection_enter(connection);
	if (connection->state != RPC_OPEN)
		rpc_connection_cut(connection, "handshake timed out");
	else if (connection->lingering)
		rpc_connection_cut(connection, "drained");
	else if (timer_keepalive(connection, now))
		rpc_connection_cut(connection, "no answer to PING");
	else {
		if (connection->stream_count == 0 && limits->idle_timeout > 0 &&
		    now - connection->idle_since >=
			limits->idle_timeout - TICK_MIN)
			rpc_connection_drain(connection);
		if (now - connection->drain_since >= DRAIN_STEP)
			timer_final_goaway(connection);
		rpc_timer_start(connection);
	}
	rpc_connection_leave(connection);
}
