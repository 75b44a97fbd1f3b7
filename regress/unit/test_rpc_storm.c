/*
 * Tests of common/rpc: connections and calls that begin, end, break, stall
 * and vanish in any order, many at a time, under load. Nobody may crash (run
 * it under a sanitizer) and every call is told its end exactly once.
 */

#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

#define CLIENTS 6
#define CALLS   8
#define BEGIN   500 /* calls a storm */

struct client {
	struct rig *rig;
	struct rpc_connection *connection;
	struct call calls[CALLS];
	int connected;
	int paused;
};

static uint64_t seed;
static uint64_t begun, ended;

static unsigned
storm_random(unsigned below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return ((unsigned)(seed >> 33) % below);
}

static void
storm_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *text, void *arg)
{
	struct call *call = arg;

	(void)status;
	(void)text;
	ck_assert_ptr_eq(stream, call->stream);
	call->stream = NULL;
	ended++;
}

static void
storm_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	(void)message;
	(void)arg;
	if (storm_random(200) == 0)
		rpc_stream_cancel(stream);
	else if (storm_random(1000) == 0)
		rpc_connection_close(rpc_stream_connection(stream));
	else if (storm_random(20) != 0)
		rpc_stream_consume(stream, length);
}

static void
storm_writable(struct rpc_stream *stream, void *arg)
{
	struct call *call = arg;

	if (storm_random(50) == 0)
		rpc_stream_cancel(stream);
	else
		call_pump(call);
}

static const struct rpc_stream_callbacks storm_callbacks = { storm_message,
	NULL, storm_writable, storm_closed };

static void
storm_connected(struct rpc_connection *connection, void *arg)
{
	struct client *client = arg;

	ck_assert_ptr_eq(connection, client->connection);
	client->connected = 1;
}

static void
storm_gone(struct rpc_connection *connection, void *arg)
{
	struct client *client = arg;
	int i;

	ck_assert_ptr_eq(connection, client->connection);
	for (i = 0; i < CALLS; i++)
		ck_assert_ptr_null(client->calls[i].stream);
	client->connection = NULL;
	client->connected = 0;
	client->paused = 0;
}

static void
storm_failed(struct rpc_connection *connection, const char *error, void *arg)
{
	(void)error;
	storm_gone(connection, arg);
}

static const struct rpc_client_callbacks storm_client_callbacks = {
	storm_connected, storm_failed, NULL, storm_gone
};

static void
storm_call(struct client *client, struct call *call)
{
	static const char *const paths[] = { "/test.Echo/Stream",
		"/test.Echo/Stream", "/test.Echo/Unary", "/test.Echo/Sink",
		"/test.Echo/Refuse", "/test.Echo/Nothing",
		"/test.Echo/Status" };

	memset(call, 0, sizeof(*call));
	call->stream = rpc_call(client->connection, paths[storm_random(7)],
	    storm_random(3) == 0 ? storm_random(50) * CLOCK_MS : 0,
	    &storm_callbacks, call);
	if (call->stream == NULL)
		return;
	begun++;
	call->to_send = storm_random(200);
	call->size = 8 + storm_random(storm_random(10) == 0 ? 300000 : 2000);
	call_pump(call);
}

static void
storm_server(struct rig *rig)
{
	if (rig->server != NULL) {
		if (storm_random(2) == 0) {
			rpc_server_drain(rig->server);
			if (storm_random(2) == 0)
				return;
		}
		rpc_server_free(rig->server);
	}
	rig->held = NULL;
	rig_serve(rig);
}

static void
storm_step(struct rig *rig, struct client *client)
{
	struct call *call = &client->calls[storm_random(CALLS)];

	if (client->connection == NULL) {
		client->connection = rpc_connect(rig->base, rig->client_tls,
		    &rig->limits, (struct sockaddr *)&rig->address, "localhost",
		    &storm_client_callbacks, client);
		return;
	}
	switch (storm_random(40)) {
	case 0:
		rpc_connection_close(client->connection);
		break;
	case 1:
		rpc_connection_drain(client->connection);
		break;
	case 2:
	case 3:
	case 4:
		client->paused = !client->paused;
		rpc_connection_pause(client->connection, client->paused);
		break;
	case 5:
	case 6:
		rpc_server_pause(rig->server, (int)storm_random(2));
		break;
	case 7:
		if (storm_random(10) == 0)
			storm_server(rig);
		break;
	case 8:
		if (rig->held != NULL)
			rpc_stream_finish(rig->held, RPC_ABORTED, "enough");
		break;
	case 9:
		if (rig->held != NULL)
			rpc_stream_cancel(rig->held);
		break;
	case 10:
		if (rig->peer != NULL)
			rpc_connection_close(rig->peer);
		break;
	default:
		if (call->stream == NULL) {
			if (client->connected)
				storm_call(client, call);
		} else if (storm_random(8) == 0)
			rpc_stream_cancel(call->stream);
		else if (storm_random(8) == 0) {
			call->to_send = 0;
			rpc_stream_half_close(call->stream);
		}
		break;
	}
}

START_TEST(test_storm)
{
	struct rig rig;
	struct client clients[CLIENTS];
	int64_t end = clock_monotonic() + 5 * WAIT_LIMIT;
	int i, turns;

	seed = (uint64_t)_i * 7919 + 1;
	begun = ended = 0;
	memset(clients, 0, sizeof(clients));
	rig_base(&rig);
	rig.limits.stream_window = 32 * 1024;
	rig.limits.max_output = 64 * 1024;
	rig.limits.max_streams = CALLS - 1;
	rig_tls(&rig);
	rig_serve(&rig);
	while (begun < BEGIN) {
		ck_assert_int_lt(clock_monotonic(), end);
		storm_step(&rig, &clients[storm_random(CLIENTS)]);
		for (turns = (int)storm_random(3); turns > 0; turns--)
			event_base_loop(rig.base, EVLOOP_NONBLOCK);
	}
	rpc_server_free(rig.server);
	rig.server = NULL;
	for (i = 0; i < CLIENTS; i++) {
		if (clients[i].connection != NULL)
			rpc_connection_close(clients[i].connection);
		WAIT(&rig, clients[i].connection == NULL);
	}
	ck_assert_uint_eq(begun, ended);
	ck_assert_int_eq(rig.opened, 0);
	rig_down(&rig);
}
END_TEST

static Suite *
rpc_suite(void)
{
	Suite *suite = suite_create("rpc_storm");
	TCase *tc = tcase_create("storm");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_storm, 0, 6);
	suite_add_tcase(suite, tc);
	return (suite);
}

int
main(void)
{
	return (suite_run(rpc_suite()));
}
