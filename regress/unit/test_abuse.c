/*
 * What a peer may do now and then but not all the time (common/rpc/abuse.c),
 * by itself: how often, and how much of what is not whole is held. Whole
 * connections of such peers: regress/conform/test_abuse.py.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "common/rpc/internal.h"
#include "regress/unit/suite.h"

static struct rpc_server server;
static struct rpc_connection connection;
static struct rpc_stream streams[2];

static void
setup(void)
{
	nghttp2_session_callbacks *callbacks;
	int i;

	memset(&server, 0, sizeof(server));
	memset(&connection, 0, sizeof(connection));
	memset(streams, 0, sizeof(streams));
	connection.server = &server;
	connection.counters = &server.counters;
	connection.state = RPC_OPEN;
	connection.awake = 1; /* nothing is to be written */
	for (i = 0; i < 2; i++) {
		streams[i].connection = &connection;
		buffer_init(&streams[i].hold);
		buffer_init(&streams[i].in.part);
	}
	ck_assert_int_eq(nghttp2_session_callbacks_new(&callbacks), 0);
	ck_assert_int_eq(
	    nghttp2_session_server_new(&connection.session, callbacks, NULL),
	    0);
	nghttp2_session_callbacks_del(callbacks);
}

static void
teardown(void)
{
	int i;

	nghttp2_session_del(connection.session);
	for (i = 0; i < 2; i++) {
		buffer_free(&streams[i].hold);
		buffer_free(&streams[i].in.part);
	}
}

/* Windows are given back once for 64 bytes, and twice for a frame; the rest
 * is among what comes now and then. */
START_TEST(windows_are_earned)
{
	int i;

	rpc_abuse_earn(&connection, 6400);
	ck_assert_uint_eq(connection.earned, 102);
	for (i = 0; i < 102; i++)
		rpc_abuse_window(&connection);
	ck_assert_uint_eq(connection.earned, 0);
	ck_assert_int_eq(connection.glitches_due, 0);
	rpc_abuse_window(&connection);
	ck_assert_int_ne(connection.glitches_due, 0);
	ck_assert_int_eq(connection.glitch, RPC_ABUSE_WINDOW_UPDATE);
	ck_assert_uint_eq(connection.earned, 0);
	for (i = 0; i < 100; i++)
		rpc_abuse_earn(&connection, 1 << 20);
	ck_assert_uint_eq(connection.earned, 65536);
}
END_TEST

/* Those that the limit is for go; at once, and once. */
START_TEST(too_many)
{
	int i, calls = 0, glitches = 0;

	for (i = 0; i < 200; i++)
		rpc_abuse_call(&connection);
	ck_assert_int_eq(connection.doomed, 0);
	for (; !connection.doomed && calls < 100000; calls++)
		rpc_abuse_call(&connection);
	ck_assert_int_lt(calls, 100000);
	ck_assert_uint_eq(server.counters.abuses[RPC_ABUSE_CALL], 1);
	ck_assert_uint_eq(server.counters.abuse, 1);
	rpc_connection_abuse(&connection, RPC_ABUSE_CALL);
	ck_assert_uint_eq(server.counters.abuse, 1);
	connection.doomed = 0;
	for (i = 0; i < 1000; i++)
		rpc_abuse_glitch(&connection, RPC_ABUSE_WINDOW_UPDATE);
	ck_assert_int_eq(connection.doomed, 0);
	for (; !connection.doomed && glitches < 100000; glitches++)
		rpc_abuse_glitch(&connection, RPC_ABUSE_WINDOW_UPDATE);
	ck_assert_int_lt(glitches, 100000);
	ck_assert_uint_eq(server.counters.abuses[RPC_ABUSE_WINDOW_UPDATE], 1);
}
END_TEST

static int
hold(int i, size_t length)
{
	static uint8_t bytes[128 * 1024];

	ck_assert_int_eq(buffer_append(&streams[i].hold, bytes, length), 0);
	return (rpc_abuse_hold(&streams[i]));
}

START_TEST(what_is_held)
{
	server.limits.max_held = 100 * 1024;
	connection.limits.unproven_held = 10 * 1024;
	/* One that is known: all connections together, but for small ones. */
	ck_assert_int_eq(hold(0, 64 * 1024), 0);
	ck_assert_int_eq(hold(1, 64 * 1024), 0);
	ck_assert_uint_eq(server.held, 128 * 1024);
	ck_assert_uint_eq(connection.held, 128 * 1024);
	ck_assert_int_eq(rpc_abuse_hold(&streams[1]), 0);
	ck_assert_uint_eq(server.held, 128 * 1024);
	ck_assert_int_eq(hold(1, 1), -1);
	rpc_abuse_release(&streams[1]);
	ck_assert_uint_eq(server.held, 64 * 1024);
	rpc_abuse_release(&streams[0]);
	ck_assert_uint_eq(server.held + connection.held, 0);
	/* One that is not, has little. */
	buffer_consume(&streams[0].hold, 64 * 1024);
	connection.unproven = 1;
	ck_assert_int_eq(hold(0, 10 * 1024), 0);
	ck_assert_int_eq(hold(0, 1), -1);
	connection.limits.unproven_held = 0; /* no limit */
	ck_assert_int_eq(hold(0, 1), 0);
	/* Parts of messages count once there is a message. */
	ck_assert_int_eq(buffer_append(&streams[0].in.part, "part", 4), 0);
	ck_assert_int_eq(hold(0, 1), 0);
	ck_assert_uint_eq(connection.held, 10 * 1024 + 3);
	streams[0].in.have = 5;
	ck_assert_int_eq(rpc_abuse_hold(&streams[0]), 0);
	ck_assert_uint_eq(connection.held, 10 * 1024 + 7);
	/* Of a call that is over nothing is kept. */
	streams[0].over = 1;
	rpc_abuse_release(&streams[0]);
	ck_assert_uint_eq(buffer_length(&streams[0].in.part), 0);
	ck_assert_uint_eq(streams[0].in.have, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("abuse");
	TCase *tcase = tcase_create("abuse");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, windows_are_earned);
	tcase_add_test(tcase, too_many);
	tcase_add_test(tcase, what_is_held);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
