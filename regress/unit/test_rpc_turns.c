/*
 * Tests of common/rpc: everybody has a turn: after the server has paused,
 * beside many who greet, and when it had no memory for a moment, too.
 */

#include <event2/event_struct.h>
#include <openssl/ssl.h>

#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

#define SPEAKERS 4
#define SERVED   4000 /* messages, of all */
#define GREETERS 64

/* --- after a pause ------------------------------------------------------- */

static struct {
	struct rig rig;
	struct event resume;
	uint64_t served[SPEAKERS];
	int count; /* of calls at the server */
} turns;

static enum rpc_status
turns_opened(struct rpc_stream *stream, void *arg)
{
	(void)arg;
	ck_assert_int_lt(turns.count, SPEAKERS);
	rpc_stream_set_arg(stream, &turns.served[turns.count++]);
	return (RPC_OK);
}

/* What there is to be done with it takes all that others could have. */
static void
turns_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	static const struct timeval soon = { 0, 0 };
	uint64_t *served = arg;

	(void)message;
	(*served)++;
	rpc_stream_consume(stream, length);
	rpc_server_pause(turns.rig.server, 1);
	event_add(&turns.resume, &soon);
}

static void
turns_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *text, void *arg)
{
	(void)stream;
	(void)status;
	(void)text;
	(void)arg;
}

static const struct rpc_method turns_methods[] = { { "/test.Turns/Speak", 0,
    turns_opened, { turns_message, NULL, NULL, turns_closed } } };

static void
turns_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	rpc_server_pause(turns.rig.server, 0);
}

static uint64_t
turns_served(void)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < SPEAKERS; i++)
		sum += turns.served[i];
	return (sum);
}

/* Who was first is not first each time. */
START_TEST(test_all_are_served_after_a_pause)
{
	struct rpc_connection *connections[SPEAKERS];
	struct call calls[SPEAKERS];
	struct rig *rig = &turns.rig;
	int i;

	rig_base(rig);
	rig_tls(rig);
	evtimer_assign(&turns.resume, rig->base, turns_resume, NULL);
	rig->server = rpc_server_new(rig->base, rig->server_tls, &rig->limits,
	    turns_methods, 1, NULL, NULL);
	ck_assert_int_eq(rpc_server_listen(rig->server, rig_socket(rig)), 0);
	for (i = 0; i < SPEAKERS; i++) {
		rig_connect(rig);
		connections[i] = rig->connection;
		WAIT(rig, rig->connected == i + 1);
		call_start(rig, &calls[i], "/test.Turns/Speak", 0);
		WAIT(rig, turns.count == i + 1);
	}
	for (i = 0; i < SPEAKERS; i++) {
		calls[i].to_send = UINT64_MAX;
		calls[i].size = 1000;
		call_pump(&calls[i]);
	}
	WAIT(rig, turns_served() >= SERVED);
	for (i = 0; i < SPEAKERS; i++)
		ck_assert_uint_ge(turns.served[i], SERVED / SPEAKERS / 4);
	event_del(&turns.resume);
	for (i = 0; i < SPEAKERS; i++)
		rpc_connection_close(connections[i]);
	WAIT(rig, rig->closed == SPEAKERS);
	rig_down(rig);
}
END_TEST

/* --- handshakes ---------------------------------------------------------- */

static struct rpc_counters
counters_of(const struct rig *rig)
{
	struct rpc_counters counters;

	rpc_server_counters(rig->server, &counters);
	return (counters);
}

/* What a client says first. */
static size_t
hello_make(uint8_t *to, size_t size)
{
	static const unsigned char h2[] = { 2, 'h', '2' };
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(context);
	BIO *out = BIO_new(BIO_s_mem());
	int length;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	SSL_set_connect_state(ssl);
	ck_assert_int_eq(SSL_set_alpn_protos(ssl, h2, sizeof(h2)), 0);
	ck_assert_int_eq(SSL_do_handshake(ssl), -1);
	length = BIO_read(out, to, (int)size);
	ck_assert_int_gt(length, 0);
	SSL_free(ssl);
	SSL_CTX_free(context);
	return ((size_t)length);
}

/* Bytes that the server wrote in one turn of the loop. */
static uint64_t
turn_written(struct rig *rig)
{
	uint64_t before = counters_of(rig).bytes_written;

	event_base_loop(rig->base, EVLOOP_ONCE);
	return (counters_of(rig).bytes_written - before);
}

/* However many greet at the same instant. */
START_TEST(test_handshakes_leave_turns_to_others)
{
	uint8_t hello[4096];
	size_t length = hello_make(hello, sizeof(hello));
	uint64_t answer = 0, all = 0, most = 0, written;
	struct rig rig;
	int fds[GREETERS], i;

	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	for (i = 0; i < GREETERS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		ck_assert_int_eq(
		    connect(fds[i], (struct sockaddr *)&rig.address,
			sizeof(rig.address)),
		    0);
	}
	WAIT(&rig, counters_of(&rig).connections_open == GREETERS);
	ck_assert_int_eq(send(fds[0], hello, length, 0), length);
	while (answer == 0)
		answer = turn_written(&rig);
	for (i = 1; i < GREETERS; i++)
		ck_assert_int_eq(send(fds[i], hello, length, 0), length);
	/* Signatures differ by a few bytes. */
	while (all < (GREETERS - 1) * (answer - 8)) {
		written = turn_written(&rig);
		all += written;
		if (written > most)
			most = written;
	}
	ck_assert_uint_le(most, 8 * (answer + 8));
	for (i = 0; i < GREETERS; i++)
		close(fds[i]);
	rig_down(&rig);
}
END_TEST

/* --- without memory ------------------------------------------------------ */

static int starving;

static void *
starving_realloc(void *bytes, size_t size)
{
	return (starving ? NULL : realloc(bytes, size));
}

/* Timers until there is no memory for one more. */
static size_t
starve(struct rig *rig, struct event *timers, size_t most)
{
	static const struct timeval late = { 3600, 0 };
	size_t i;

	/* It would give its place to whoever comes as it runs. */
	event_del(rig->alarm);
	starving = 1;
	for (i = 0; i < most; i++) {
		evtimer_assign(&timers[i], rig->base, rig_alarm, NULL);
		if (evtimer_add(&timers[i], &late) == -1)
			return (i);
	}
	ck_abort_msg("there was memory");
}

static void
feed(struct rig *rig, struct event *timers, size_t count)
{
	static const struct timeval tick = { 0, 1000 };

	starving = 0;
	while (count > 0)
		event_del(&timers[--count]);
	event_add(rig->alarm, &tick);
}

/* A server that would rest for a moment, and cannot wait, goes on. */
START_TEST(test_no_memory_for_a_rest)
{
	static struct event timers[4096];
	struct rig rig;
	size_t count;
	int fd;

	event_set_mem_functions(malloc, starving_realloc, free);
	rig_base(&rig);
	rig.limits.max_connections = 1;
	rig_up(&rig);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	count = starve(&rig, timers, sizeof(timers) / sizeof(*timers));
	ck_assert_int_eq(
	    connect(fd, (struct sockaddr *)&rig.address, sizeof(rig.address)),
	    0);
	WAIT(&rig, counters_of(&rig).refused > 0);
	feed(&rig, timers, count);
	close(fd);
	rpc_connection_close(rig.connection);
	WAIT(&rig, rig.closed && rig.server_closed == 1);
	rig_connect(&rig);
	WAIT(&rig, rig.connected == 2);
	rig_down(&rig);
}
END_TEST

/* Nobody is let in for ever: who cannot be timed is not taken. */
START_TEST(test_no_memory_for_a_timer)
{
	static struct event timers[4096];
	struct rig rig;
	size_t count;
	char byte;
	int fd;

	event_set_mem_functions(malloc, starving_realloc, free);
	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	count = starve(&rig, timers, sizeof(timers) / sizeof(*timers));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(
	    connect(fd, (struct sockaddr *)&rig.address, sizeof(rig.address)),
	    0);
	WAIT(&rig,
	    counters_of(&rig).refused + counters_of(&rig).connections_open > 0);
	ck_assert_uint_eq(counters_of(&rig).connections_open, 0);
	ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
	close(fd);
	feed(&rig, timers, count);
	rig_connect(&rig);
	WAIT(&rig, rig.connected == 1);
	rig_down(&rig);
}
END_TEST

static Suite *
turns_suite(void)
{
	Suite *suite = suite_create("rpc_turns");
	TCase *tc = tcase_create("turns");

	tcase_set_timeout(tc, 240);
	tcase_add_test(tc, test_all_are_served_after_a_pause);
	tcase_add_test(tc, test_handshakes_leave_turns_to_others);
	tcase_add_test(tc, test_no_memory_for_a_rest);
	tcase_add_test(tc, test_no_memory_for_a_timer);
	suite_add_tcase(suite, tc);
	return (suite);
}

int
main(void)
{
	return (suite_run(turns_suite()));
}
