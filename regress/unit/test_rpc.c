/* Tests of common/rpc: calls between our own client and server. */

#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

START_TEST(test_unary)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Unary", 0);
	ck_assert_int_eq(rpc_stream_send(call.stream, "hello", 5), 0);
	rpc_stream_half_close(call.stream);
	ck_assert_int_eq(rpc_stream_send(call.stream, "more", 4), -1);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_int_eq(call.finished, 1);
	ck_assert_uint_eq(call.messages, 1);
	ck_assert_mem_eq(call.last, "hello", 5);
	WAIT(&rig, rig.opened == 0);
	ck_assert_int_eq(rig.server_status, RPC_OK);
	rig_down(&rig);
}
END_TEST

START_TEST(test_unary_cardinality)
{
	struct rig rig;
	struct call none, two;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &none, "/test.Echo/Unary", 0);
	rpc_stream_half_close(none.stream);
	call_start(&rig, &two, "/test.Echo/Unary", 0);
	ck_assert_int_eq(rpc_stream_send(two.stream, "a", 1), 0);
	ck_assert_int_eq(rpc_stream_send(two.stream, "b", 1), 0);
	rpc_stream_half_close(two.stream);
	WAIT(&rig, none.closed && two.closed);
	ck_assert_int_eq(none.status, RPC_UNIMPLEMENTED);
	ck_assert_int_eq(two.status, RPC_UNIMPLEMENTED);
	ck_assert_uint_eq(none.messages + two.messages, 0);
	rig_down(&rig);
}
END_TEST

START_TEST(test_statuses)
{
	struct rig rig;
	struct call call;
	uint8_t status;

	rig_base(&rig);
	rig_up(&rig);
	for (status = 0; status <= RPC_UNAUTHENTICATED; status++) {
		call_start(&rig, &call, "/test.Echo/Status", 0);
		ck_assert_int_eq(rpc_stream_send(call.stream, &status, 1), 0);
		rpc_stream_half_close(call.stream);
		WAIT(&rig, call.closed);
		ck_assert_int_eq(call.status, status);
		ck_assert_str_eq(call.text, "caf\xc3\xa9 100%\n");
	}
	call_start(&rig, &call, "/test.Echo/Refuse", 0);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_PERMISSION_DENIED);
	call_start(&rig, &call, "/test.Echo/Nothing", 0);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_UNIMPLEMENTED);
	rig_down(&rig);
}
END_TEST

START_TEST(test_stream_many)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	call.to_send = 100000;
	call.size = 256;
	call_pump(&call);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_uint_eq(call.messages, 100000);
	ck_assert_uint_eq(call.bytes, 100000 * 256);
	ck_assert_int_eq(call.in_order, 1);
	rig_down(&rig);
}
END_TEST

START_TEST(test_stream_sizes)
{
	static const size_t sizes[] = { 8, 9, 8187, 16370, 16371, 16379, 16384,
		65536, 262144, 1048576, 4194304 };
	struct rig rig;
	struct call call, beside;
	size_t i;

	rig_base(&rig);
	rig_up(&rig);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		call_start(&rig, &call, "/test.Echo/Stream", 0);
		call_start(&rig, &beside, "/test.Echo/Stream", 0);
		call.to_send = beside.to_send = 9;
		call.size = beside.size = sizes[i];
		call_pump(&call);
		call_pump(&beside);
		WAIT(&rig, call.closed && beside.closed);
		ck_assert_int_eq(beside.in_order, 1);
		ck_assert_uint_eq(beside.bytes, 9 * sizes[i]);
		ck_assert_int_eq(call.status, RPC_OK);
		ck_assert_uint_eq(call.messages, 9);
		ck_assert_uint_eq(call.bytes, 9 * sizes[i]);
		ck_assert_int_eq(call.in_order, 1);
	}
	rig_down(&rig);
}
END_TEST

START_TEST(test_empty_message)
{
	struct rig rig;
	struct call call;
	int i;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	for (i = 0; i < 1000; i++)
		ck_assert_int_eq(rpc_stream_send(call.stream, NULL, 0), 0);
	rpc_stream_half_close(call.stream);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_uint_eq(call.messages, 1000);
	rig_down(&rig);
}
END_TEST

/* Who does not consume stalls its own call only, and bounds our memory. */
START_TEST(test_flow_control)
{
	struct rig rig;
	struct call stalled, call;
	uint64_t stuck;

	rig_base(&rig);
	rig.limits.stream_window = 64 * 1024;
	rig.limits.connection_window = 128 * 1024;
	rig_up(&rig);
	call_start(&rig, &stalled, "/test.Echo/Sink", 0);
	stalled.to_send = 100000;
	stalled.size = 256;
	call_pump(&stalled);
	WAIT(&rig, rig.sunk >= 64 * 1024 / 261 - 1);
	rig_settle(&rig);
	stuck = rig.sunk;
	ck_assert_uint_le(stuck, 64 * 1024 / 256 + 1);
	ck_assert_uint_gt(stalled.to_send, 0);
	ck_assert_int_eq(rpc_stream_congested(stalled.stream), 1);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	call.to_send = 10000;
	call.size = 256;
	call_pump(&call);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_uint_eq(call.messages, 10000);
	ck_assert_uint_eq(rig.sunk, stuck);
	/* Consumed at last: it goes on, and the sender is told. */
	rpc_stream_consume(rig.held, stuck * 256);
	WAIT(&rig, rig.sunk > stuck);
	rpc_stream_cancel(stalled.stream);
	WAIT(&rig, stalled.closed && rig.held == NULL);
	ck_assert_int_eq(stalled.status, RPC_CANCELLED);
	ck_assert_int_eq(rig.server_status, RPC_CANCELLED);
	rig_down(&rig);
}
END_TEST

/* A client that does not consume stops the server's echo, not more. */
START_TEST(test_flow_control_client)
{
	struct rig rig;
	struct call stalled, call;

	rig_base(&rig);
	rig.limits.stream_window = 64 * 1024;
	rig_up(&rig);
	call_start(&rig, &stalled, "/test.Echo/Stream", 0);
	stalled.hoard = 1;
	stalled.to_send = 10000;
	stalled.size = 256;
	call_pump(&stalled);
	WAIT(&rig, stalled.messages >= 64 * 1024 / 261 - 1);
	rig_settle(&rig);
	ck_assert_uint_le(stalled.messages, 64 * 1024 / 256 + 1);
	ck_assert_uint_gt(stalled.to_send, 0);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	call.to_send = 1000;
	call.size = 256;
	call_pump(&call);
	WAIT(&rig, call.closed);
	ck_assert_uint_eq(call.messages, 1000);
	stalled.hoard = 0;
	rpc_stream_consume(stalled.stream, stalled.bytes);
	WAIT(&rig, stalled.closed);
	ck_assert_int_eq(stalled.status, RPC_OK);
	ck_assert_uint_eq(stalled.messages, 10000);
	ck_assert_int_eq(stalled.in_order, 1);
	rig_down(&rig);
}
END_TEST

START_TEST(test_too_large)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig.limits.max_message = 1000;
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	call.size = 1000;
	call.to_send = 1;
	call_pump(&call);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	call.size = 1001;
	call.to_send = 2;
	call_pump(&call);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_RESOURCE_EXHAUSTED);
	ck_assert_uint_eq(call.messages, 0);
	rig_down(&rig);
}
END_TEST

START_TEST(test_deadline)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Sink", 50 * CLOCK_MS);
	WAIT(&rig, rig.opened == 1);
	WAIT(&rig, call.closed && rig.opened == 0);
	ck_assert_int_eq(call.status, RPC_DEADLINE_EXCEEDED);
	ck_assert(rig.server_status == RPC_DEADLINE_EXCEEDED ||
		  rig.server_status == RPC_CANCELLED);
	/* One that ends in time is not disturbed. */
	call_start(&rig, &call, "/test.Echo/Unary", WAIT_LIMIT);
	ck_assert_int_eq(rpc_stream_send(call.stream, "x", 1), 0);
	rpc_stream_half_close(call.stream);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	rig_down(&rig);
}
END_TEST

START_TEST(test_cancel_client)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Sink", 0);
	WAIT(&rig, rig.opened == 1);
	rpc_stream_cancel(call.stream);
	ck_assert_int_eq(call.closed, 0);
	ck_assert_int_eq(rpc_stream_send(call.stream, "x", 1), -1);
	rpc_stream_cancel(call.stream);
	WAIT(&rig, call.closed && rig.opened == 0);
	ck_assert_int_eq(call.status, RPC_CANCELLED);
	ck_assert_int_eq(rig.server_status, RPC_CANCELLED);
	/* And one whose request has not even been sent. */
	call_start(&rig, &call, "/test.Echo/Sink", 0);
	rpc_stream_cancel(call.stream);
	WAIT(&rig, call.closed);
	rig_settle(&rig);
	ck_assert_int_eq(rig.opened, 0);
	rig_down(&rig);
}
END_TEST

START_TEST(test_cancel_server)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Sink", 0);
	WAIT(&rig, rig.held != NULL);
	rpc_stream_cancel(rig.held);
	WAIT(&rig, call.closed && rig.opened == 0);
	ck_assert_int_eq(call.status, RPC_CANCELLED);
	/* A finish while the client still sends. */
	call_start(&rig, &call, "/test.Echo/Sink", 0);
	WAIT(&rig, rig.held != NULL);
	rpc_stream_finish(rig.held, RPC_ABORTED, "enough");
	WAIT(&rig, call.closed && rig.opened == 0);
	ck_assert_int_eq(call.status, RPC_ABORTED);
	ck_assert_str_eq(call.text, "enough");
	rig_down(&rig);
}
END_TEST

/* A drain lets calls end, takes no more, and closes. */
START_TEST(test_drain_server)
{
	struct rig rig;
	struct call call, late;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	WAIT(&rig, rig.opened == 1);
	rpc_server_drain(rig.server);
	WAIT(&rig, rig.draining == 1);
	ck_assert_ptr_null(rpc_call(
	    rig.connection, "/test.Echo/Unary", 0, &call_callbacks, &late));
	rig_settle(&rig);
	ck_assert_int_eq(rig.closed, 0);
	call.to_send = 1000;
	call.size = 256;
	call_pump(&call);
	WAIT(&rig, call.closed && rig.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_uint_eq(call.messages, 1000);
	WAIT(&rig, rig.server_closed == 1);
	ck_assert_int_eq(rig.draining, 1);
	/* The listening socket is gone. */
	rig_connect(&rig);
	WAIT(&rig, rig.failed);
	rig_down(&rig);
}
END_TEST

START_TEST(test_drain_client)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	rpc_connection_drain(rig.connection);
	call.to_send = 100;
	call.size = 256;
	call_pump(&call);
	WAIT(&rig, rig.closed && rig.server_closed == 1);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_uint_eq(call.messages, 100);
	rig_down(&rig);
}
END_TEST

START_TEST(test_connection_lost)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Sink", 0);
	WAIT(&rig, rig.opened == 1);
	rpc_connection_close(rig.peer);
	ck_assert_int_eq(rig.opened, 1);
	WAIT(&rig, rig.closed);
	ck_assert_int_eq(call.closed, 1);
	ck_assert_int_eq(call.status, RPC_UNAVAILABLE);
	ck_assert_int_eq(rig.opened, 0);
	ck_assert_int_eq(rig.server_status, RPC_CANCELLED);
	rig_down(&rig);
}
END_TEST

START_TEST(test_pause)
{
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	call_start(&rig, &call, "/test.Echo/Stream", 0);
	WAIT(&rig, rig.opened == 1);
	rpc_server_pause(rig.server, 1);
	call.to_send = 20000;
	call.size = 256;
	call_pump(&call);
	rig_settle(&rig);
	ck_assert_uint_eq(call.messages, 0);
	rpc_server_pause(rig.server, 0);
	WAIT(&rig, call.messages > 100);
	rpc_connection_pause(rig.connection, 1);
	rig_settle(&rig);
	ck_assert_int_eq(call.closed, 0);
	rpc_connection_pause(rig.connection, 0);
	WAIT(&rig, call.closed);
	ck_assert_int_eq(call.status, RPC_OK);
	ck_assert_uint_eq(call.messages, 20000);
	ck_assert_int_eq(call.in_order, 1);
	rig_down(&rig);
}
END_TEST

/* --- freeing from inside callbacks --------------------------------------- */

static struct rig *killer;
static int killer_way;

static void
killer_strike(struct rpc_stream *stream)
{
	switch (killer_way) {
	case 0:
		rpc_server_free(killer->server);
		killer->server = NULL;
		break;
	case 1:
		rpc_connection_close(rpc_stream_connection(stream));
		break;
	case 2:
		rpc_stream_cancel(stream);
		break;
	default:
		rpc_server_drain(killer->server);
		rpc_stream_finish(stream, RPC_OK, NULL);
		break;
	}
}

static void
killer_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	(void)message;
	(void)arg;
	(void)rpc_stream_send(stream, message, length);
	killer_strike(stream);
}

static void
killer_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *text, void *arg)
{
	(void)stream;
	(void)status;
	(void)text;
	(void)arg;
	killer->finished++;
}

static const struct rpc_method killer_methods[] = {
	{ "/test.Echo/Stream", 0, NULL,
	    { killer_message, NULL, NULL, killer_closed } },
};

START_TEST(test_free_inside)
{
	struct rig rig;
	struct call calls[4];
	int i;

	killer_way = _i;
	killer = &rig;
	rig_base(&rig);
	rig_tls(&rig);
	rig.server = rpc_server_new(rig.base, rig.server_tls, &rig.limits,
	    killer_methods, 1, &rig_server_callbacks, &rig);
	ck_assert_int_eq(rpc_server_listen(rig.server, rig_socket(&rig)), 0);
	rig_connect(&rig);
	WAIT(&rig, rig.connected);
	for (i = 0; i < 4; i++) {
		call_start(&rig, &calls[i], "/test.Echo/Stream", 0);
		calls[i].to_send = 100;
		calls[i].size = 1000;
		call_pump(&calls[i]);
	}
	for (i = 0; i < 4; i++)
		WAIT(&rig, calls[i].closed);
	WAIT(&rig, rig.finished == 4);
	rig_down(&rig);
}
END_TEST

/* The client's callbacks tear down everything of the client. */
static void
suicide_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	(void)message;
	(void)length;
	(void)arg;
	rpc_stream_cancel(stream);
	rpc_connection_close(rpc_stream_connection(stream));
}

START_TEST(test_close_inside_client)
{
	static const struct rpc_stream_callbacks callbacks = { suicide_message,
		NULL, NULL, call_closed };
	struct rig rig;
	struct call call;

	rig_base(&rig);
	rig_up(&rig);
	memset(&call, 0, sizeof(call));
	call.stream =
	    rpc_call(rig.connection, "/test.Echo/Stream", 0, &callbacks, &call);
	ck_assert_ptr_nonnull(call.stream);
	call.to_send = 1000;
	call.size = 256;
	call_pump(&call);
	WAIT(&rig, call.closed && rig.closed && rig.server_closed);
	rig_down(&rig);
}
END_TEST

/* More calls than the server allows are refused here, not there. */
START_TEST(test_max_streams)
{
	struct rig rig;
	struct call calls[4], more;
	int i;

	rig_base(&rig);
	rig.limits.max_streams = 4;
	rig_up(&rig);
	for (i = 0; i < 4; i++)
		call_start(&rig, &calls[i], "/test.Echo/Sink", 0);
	ck_assert_ptr_null(rpc_call(
	    rig.connection, "/test.Echo/Sink", 0, &call_callbacks, &more));
	WAIT(&rig, rig.opened == 4);
	rpc_stream_cancel(calls[2].stream);
	WAIT(&rig, rig.opened == 3 && calls[2].closed);
	call_start(&rig, &more, "/test.Echo/Unary", 0);
	ck_assert_int_eq(rpc_stream_send(more.stream, "x", 1), 0);
	rpc_stream_half_close(more.stream);
	WAIT(&rig, more.closed);
	ck_assert_int_eq(more.status, RPC_OK);
	rig_down(&rig);
}
END_TEST

START_TEST(test_idle)
{
	struct rig rig;

	rig_base(&rig);
	rig.limits.idle_timeout = 100 * CLOCK_MS;
	rig_tls(&rig);
	rig_serve(&rig);
	rig.limits.idle_timeout = 0;
	rig_connect(&rig);
	WAIT(&rig, rig.connected);
	WAIT(&rig, rig.closed);
	ck_assert_int_eq(rig.draining, 1);
	rig_down(&rig);
}
END_TEST

static Suite *
rpc_suite(void)
{
	Suite *suite = suite_create("rpc");
	TCase *tc = tcase_create("calls");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_unary);
	tcase_add_test(tc, test_unary_cardinality);
	tcase_add_test(tc, test_statuses);
	tcase_add_test(tc, test_stream_many);
	tcase_add_test(tc, test_stream_sizes);
	tcase_add_test(tc, test_empty_message);
	tcase_add_test(tc, test_flow_control);
	tcase_add_test(tc, test_flow_control_client);
	tcase_add_test(tc, test_too_large);
	tcase_add_test(tc, test_deadline);
	tcase_add_test(tc, test_cancel_client);
	tcase_add_test(tc, test_cancel_server);
	tcase_add_test(tc, test_drain_server);
	tcase_add_test(tc, test_drain_client);
	tcase_add_test(tc, test_connection_lost);
	tcase_add_test(tc, test_pause);
	tcase_add_loop_test(tc, test_free_inside, 0, 4);
	tcase_add_test(tc, test_close_inside_client);
	tcase_add_test(tc, test_max_streams);
	tcase_add_test(tc, test_idle);
	suite_add_tcase(suite, tc);
	return (suite);
}

int
main(void)
{
	return (suite_run(rpc_suite()));
}
