/*
 * Any process with a network socket. How much a peer may ask of us: the
 * defaults, and a token bucket for what is allowed now and then.
 */

#include <string.h>

#include "common/rpc/internal.h"
#include "common/util/clock.h"

#define MILLI INT64_C(1000)

void
rpc_limits_default(struct rpc_limits *limits)
{
	memset(limits, 0, sizeof(*limits));
	limits->max_connections = 10000;
	limits->max_unproven = 256;
	limits->max_unproven_source = 256;
	limits->max_per_source = 1000;
	limits->max_streams = 128;
	limits->stream_window = 256 * 1024;
	limits->connection_window = 4 * 1024 * 1024;
	limits->max_message = 4 * 1024 * 1024;
	limits->max_header_bytes = 16 * 1024;
	limits->max_header_fields = 64;
	limits->max_held = 256 * 1024 * 1024;
	limits->max_output = 1024 * 1024;
	limits->handshake_timeout = 10 * CLOCK_SECOND;
	limits->idle_timeout = 300 * CLOCK_SECOND;
	limits->keepalive = 60 * CLOCK_SECOND;
	limits->slow_timeout = 10 * CLOCK_SECOND;
	limits->slow_rate = 1024;
}

int
rpc_bucket_take(
    struct rpc_bucket *bucket, int64_t now, int64_t burst, int64_t per_second)
{
	int64_t elapsed = now - bucket->filled;
	int64_t more;

	if (bucket->filled == 0 || elapsed > 3600 * CLOCK_SECOND)
		more = burst * MILLI;
	else
		more = elapsed / 1000 * per_second / 1000;
	if (more > 0) {
		bucket->tokens += more;
		bucket->filled = now;
	}
	if (bucket->tokens > burst * MILLI)
		bucket->tokens = burst * MILLI;
	if (bucket->tokens < MILLI)
		return (0);
	bucket->tokens -= MILLI;
	return (1);
}
