/*
 * Any process with a network socket. What happens to a connection when
 * nothing happens on it: handshakes end, idle ones go, dead ones are found,
 * drains take their second step.
 */

#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "common/rpc/internal.h"
#include "common/util/clock.h"

#define DRAIN_STEP CLOCK_SECOND       /* at most, to the second GOAWAY */
#define LINGER     (3 * CLOCK_SECOND) /* for the peer to close first */
#define TICK_MIN   (10 * CLOCK_MS)
#define SHARED_MIN (10 * CLOCK_SECOND) /* waits that may end a second later */
#define SILENCES   10                  /* one of so many has a PING anyway */
#define PROBES     4                   /* of the kernel, without an answer */

static int64_t
timer_sooner(int64_t a, int64_t b)
{
	return (b > 0 && b < a ? b : a);
}

int
rpc_timer_add(struct event *timer, int64_t in)
{
	struct timeval tv;

	if (in >= SHARED_MIN)
		in += CLOCK_SECOND - (clock_monotonic() + in) % CLOCK_SECOND;
	tv.tv_sec = (time_t)(in / CLOCK_SECOND);
	tv.tv_usec = (suseconds_t)(in % CLOCK_SECOND / 1000);
	return (evtimer_add(timer, &tv));
}

void
rpc_timer_next_turn(struct event *event)
{
	static const struct timeval now = { 0, 0 };

	if (event_add(event, &now) == -1)
		event_active(event, EV_TIMEOUT, 1);
}

void
rpc_timer_probe(struct rpc_connection *connection, int fd)
{
#ifdef TCP_KEEPIDLE
	int after = (int)(connection->limits.keepalive / CLOCK_SECOND);
	int again = after / PROBES, count = PROBES, on = 1;

	connection->probed =
	    again > 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof(after)) ==
		0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again, sizeof(again)) ==
		0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count)) ==
		0;
#else
	(void)connection;
	(void)fd;
#endif
}

int
rpc_timer_start(struct rpc_connection *connection)
{
	const struct rpc_limits *limits = &connection->limits;
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
	return (rpc_timer_add(&connection->timer, in));
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
		(void)rpc_timer_start(connection); /* it was there */
	}
	rpc_connection_wake(connection);
}

/* Is a silent peer asked? Each PING wakes both ends: where nobody waits for
 * anything it is left to the kernels whether they are there. */
static int
timer_asks(struct rpc_connection *connection)
{
	if (connection->probed && connection->sent == connection->answered &&
	    ++connection->silences < SILENCES)
		return (0);
	connection->silences = 0;
	return (1);
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
	if (silent && timer_asks(connection)) {
		(void)nghttp2_submit_ping(
		    connection->session, NGHTTP2_FLAG_NONE, NULL);
		connection->ping_sent = 1;
		rpc_connection_wake(connection);
	}
	if (connection->heard)
		connection->silences = 0;
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
		(void)rpc_timer_start(connection); /* it was there */
	}
	rpc_connection_leave(connection);
}
