/*
 * Any process with a network socket. How much a peer may ask of us: the
 * defaults.
 */

#include <string.h>

#include "common/rpc/internal.h"
#include "common/util/clock.h"

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
	limits->keep = 64 * 1024;
	limits->handshake_timeout = 10 * CLOCK_SECOND;
	limits->idle_timeout = 300 * CLOCK_SECOND;
	limits->keepalive = 60 * CLOCK_SECOND;
	limits->slow_timeout = 10 * CLOCK_SECOND;
	limits->slow_rate = 1024;
}
