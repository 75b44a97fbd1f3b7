/* Tests of common/rpc: a client whose server breaks every rule. */

#include <netinet/tcp.h>

#include "common/rpc/internal.h"
#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

#define HEADERS 1
#define DATA    0

/* A server that says what the test tells it. */
struct liar {
	struct rpc_transport transport;
	struct rpc_tls *tls;
	struct rig rig;
	uint64_t read;
	uint64_t written;
	int listening;
	int up;
};

static void
liar_up(struct liar *liar)
{
	struct rig *rig = &liar->rig;

	memset(liar, 0, sizeof(*liar));
	rig_base(rig);
	rig->limits.max_message = 1000;
	rig_tls(rig);
	/* The rig's own server is there only to be torn down. */
	rig_serve(rig);
	liar->listening = rig_socket(rig);
	liar->transport.bytes_read = &liar->read;
	liar->transport.bytes_written = &liar->written;
	rig_connect(rig);
	ck_assert_int_eq(rpc_transport_open(&liar->transport, rig->server_tls,
			     accept(liar->listening, NULL, NULL), NULL),
	    0);
	evutil_make_socket_nonblocking(liar->transport.fd);
	while (!liar->up) {
		rpc_transport_begin(&liar->transport);
		liar->up = rpc_transport_handshake(&liar->transport) == 0;
		rpc_transport_end(&liar->transport);
		rpc_transport_flush(&liar->transport);
		event_base_loop(rig->base, EVLOOP_ONCE);
	}
}

static void
liar_say(struct liar *liar, const void *bytes, size_t length)
{
	ck_assert_int_eq(
	    rpc_transport_write(&liar->transport, bytes, length), 0);
	rpc_transport_flush(&liar->transport);
}

static void
liar_frame(struct liar *liar, uint8_t type, uint8_t flags, uint8_t stream,
    const void *payload, size_t length)
{
	uint8_t frame[9 + 16384];

	memset(frame, 0, 9);
	frame[1] = (uint8_t)(length >> 8);
	frame[2] = (uint8_t)length;
	frame[3] = type;
	frame[4] = flags;
	frame[8] = stream;
	if (length > 0)
		memcpy(frame + 9, payload, length);
	liar_say(liar, frame, 9 + length);
}

static void
liar_connect(struct liar *liar)
{
	liar_up(liar);
	liar_frame(liar, 4, 0, 0, NULL, 0);
	WAIT(&liar->rig, liar->rig.connected);
}

static void
liar_down(struct liar *liar)
{
	rpc_transport_close(&liar->transport);
	close(liar->listening);
	rig_down(&liar->rig);
}

/* HPACK: ":status 200" and friends; literals without indexing. */
#define OK_200    "\x88"
#define STATUS(x) "\x08\x03" x
#define GRPC_TYPE                                                              \
	"\x0f\x10\x10"                                                         \
	"application/grpc"
#define HTML_TYPE                                                              \
	"\x0f\x10\x09"                                                         \
	"text/html"
#define GRPC_OK                                                                \
	"\x10\x0bgrpc-status\x01"                                              \
	"0"
#define GRPC_99                                                                \
	"\x10\x0bgrpc-status\x02"                                              \
	"99"
#define GRPC_ABORTED                                                           \
	"\x10\x0bgrpc-status\x02"                                              \
	"10"
#define GRPC_TEXT                                                              \
	"\x10\x0cgrpc-message\x07"                                             \
	"a%zz%41"

struct said {
	uint8_t type;
	uint8_t flags;
	const char *payload;
	size_t length;
};

#define SAY(type, flags, payload)                                              \
	{                                                                      \
		type, flags, payload, sizeof(payload) - 1                      \
	}

/* What a server says on stream 1, and what that means to the caller. */
static const struct {
	struct said said[4];
	enum rpc_status status;
	uint64_t messages;
	const char *text;
} lies[] = {
	/* The truth, to begin with. */
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE), SAY(DATA, 0, "\0\0\0\0\2hi"),
	      SAY(HEADERS, 5, GRPC_OK) },
	    RPC_OK, 1, NULL },
	{ { SAY(HEADERS, 5, OK_200 GRPC_TYPE GRPC_ABORTED GRPC_TEXT) },
	    RPC_ABORTED, 0, "a%zzA" },
	/* Proxies. */
	{ { SAY(HEADERS, 5, STATUS("503")) }, RPC_UNAVAILABLE, 0, NULL },
	{ { SAY(HEADERS, 4, STATUS("503")), SAY(DATA, 1, "sorry") },
	    RPC_UNAVAILABLE, 0, NULL },
	{ { SAY(HEADERS, 5, STATUS("404")) }, RPC_UNIMPLEMENTED, 0, NULL },
	{ { SAY(HEADERS, 5, STATUS("403")) }, RPC_PERMISSION_DENIED, 0, NULL },
	{ { SAY(HEADERS, 5, STATUS("302")) }, RPC_UNKNOWN, 0, NULL },
	{ { SAY(HEADERS, 4, OK_200 HTML_TYPE), SAY(DATA, 0, "<html>") },
	    RPC_UNKNOWN, 0, NULL },
	/* An interim answer is none. */
	{ { SAY(HEADERS, 4, STATUS("103")), SAY(HEADERS, 4, OK_200 GRPC_TYPE),
	      SAY(HEADERS, 5, GRPC_OK) },
	    RPC_OK, 0, NULL },
	/* Broken. */
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE), SAY(DATA, 1, "") }, RPC_UNKNOWN,
	    0, NULL },
	{ { SAY(HEADERS, 5, OK_200 GRPC_TYPE) }, RPC_UNKNOWN, 0, NULL },
	{ { SAY(HEADERS, 5, OK_200 GRPC_TYPE GRPC_99) }, RPC_UNKNOWN, 0, NULL },
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE), SAY(DATA, 0, "\0\0\0\0\3hi"),
	      SAY(HEADERS, 5, GRPC_OK) },
	    RPC_INTERNAL, 0, NULL },
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE), SAY(DATA, 0, "\1\0\0\0\2hi") },
	    RPC_INTERNAL, 0, NULL },
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE), SAY(DATA, 0, "\7\0\0\0\2hi") },
	    RPC_INTERNAL, 0, NULL },
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE), SAY(DATA, 0, "\0\0\0\4\0hi") },
	    RPC_RESOURCE_EXHAUSTED, 0, NULL },
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE),
	      SAY(DATA, 0, "\0\377\377\377\377hi") },
	    RPC_RESOURCE_EXHAUSTED, 0, NULL },
	/* RST_STREAM. */
	{ { SAY(3, 0, "\0\0\0\7") }, RPC_UNAVAILABLE, 0, NULL },
	{ { SAY(3, 0, "\0\0\0\10") }, RPC_CANCELLED, 0, NULL },
	{ { SAY(3, 0, "\0\0\0\13") }, RPC_RESOURCE_EXHAUSTED, 0, NULL },
	{ { SAY(3, 0, "\0\0\0\14") }, RPC_PERMISSION_DENIED, 0, NULL },
	{ { SAY(3, 0, "\0\0\0\2") }, RPC_INTERNAL, 0, NULL },
	{ { SAY(HEADERS, 4, OK_200 GRPC_TYPE), SAY(3, 0, "\0\0\0\0") },
	    RPC_INTERNAL, 0, NULL },
};
#define LIES ((int)(sizeof(lies) / sizeof(*lies)))

START_TEST(test_lies)
{
	struct liar liar;
	struct call call;
	size_t i;

	liar_connect(&liar);
	call_start(&liar.rig, &call, "/test.Echo/Stream", 0);
	ck_assert_int_eq(rpc_stream_send(call.stream, "hi", 2), 0);
	rig_settle(&liar.rig);
	for (i = 0; i < 4 && lies[_i].said[i].payload != NULL; i++)
		liar_frame(&liar, lies[_i].said[i].type, lies[_i].said[i].flags,
		    1, lies[_i].said[i].payload, lies[_i].said[i].length);
	WAIT(&liar.rig, call.closed);
	ck_assert_int_eq(call.status, lies[_i].status);
	ck_assert_uint_eq(call.messages, lies[_i].messages);
	if (lies[_i].text != NULL)
		ck_assert_str_eq(call.text, lies[_i].text);
	/* The connection is as good as before. */
	rig_settle(&liar.rig);
	ck_assert_ptr_nonnull(liar.rig.connection);
	liar_down(&liar);
}
END_TEST

START_TEST(test_goaway)
{
	struct liar liar;
	struct call call;

	liar_connect(&liar);
	call_start(&liar.rig, &call, "/test.Echo/Stream", 0);
	rig_settle(&liar.rig);
	/* Nothing was processed. */
	liar_frame(&liar, 7, 0, 0, "\0\0\0\0\0\0\0\0", 8);
	WAIT(&liar.rig, call.closed && liar.rig.closed);
	ck_assert_int_eq(call.status, RPC_UNAVAILABLE);
	ck_assert_int_eq(liar.rig.draining, 1);
	liar_down(&liar);
}
END_TEST

START_TEST(test_garbage)
{
	struct liar liar;

	liar_up(&liar);
	liar_say(&liar, "HTTP/1.1 200 OK\r\n\r\n", 19);
	WAIT(&liar.rig, liar.rig.failed);
	liar_down(&liar);
}
END_TEST

START_TEST(test_hang_up)
{
	struct liar liar;
	struct call call;

	liar_connect(&liar);
	call_start(&liar.rig, &call, "/test.Echo/Stream", 0);
	rig_settle(&liar.rig);
	rpc_transport_close(&liar.transport);
	WAIT(&liar.rig, call.closed && liar.rig.closed);
	ck_assert_int_eq(call.status, RPC_UNAVAILABLE);
	liar_down(&liar);
}
END_TEST

START_TEST(test_silence)
{
	struct liar liar;

	liar_up(&liar);
	rpc_connection_close(liar.rig.connection);
	WAIT(&liar.rig, liar.rig.failed);
	liar.rig.limits.keepalive = 100 * CLOCK_MS;
	rpc_transport_close(&liar.transport);
	liar.rig.failed = 0;
	rig_connect(&liar.rig);
	liar.up = 0;
	ck_assert_int_eq(
	    rpc_transport_open(&liar.transport, liar.rig.server_tls,
		accept(liar.listening, NULL, NULL), NULL),
	    0);
	evutil_make_socket_nonblocking(liar.transport.fd);
	while (!liar.up) {
		rpc_transport_begin(&liar.transport);
		liar.up = rpc_transport_handshake(&liar.transport) == 0;
		rpc_transport_end(&liar.transport);
		rpc_transport_flush(&liar.transport);
		event_base_loop(liar.rig.base, EVLOOP_ONCE);
	}
	liar_frame(&liar, 4, 0, 0, NULL, 0);
	WAIT(&liar.rig, liar.rig.connected);
	/* PINGs are not answered. */
	WAIT(&liar.rig, liar.rig.closed);
	liar_down(&liar);
}
END_TEST

/* The kernel says whether the peer is there: no PING but now and then. */
START_TEST(test_idle_silence)
{
	struct rpc_connection *connection;
	struct liar liar;

	liar_connect(&liar);
	rig_settle(&liar.rig);
	connection = liar.rig.connection;
	connection->limits.keepalive = 50 * CLOCK_MS;
	rpc_timer_start(connection);
	WAIT(&liar.rig, connection->silences == 9);
	ck_assert_uint_eq(connection->ping_sent, 0);
	WAIT(&liar.rig, connection->silences == 0);
	ck_assert_uint_eq(connection->ping_sent, 1);
	WAIT(&liar.rig, liar.rig.closed);
	liar_down(&liar);
}
END_TEST

/* Who was sent something and says nothing is asked at once. */
START_TEST(test_silence_after_message)
{
	struct rpc_connection *connection;
	struct liar liar;
	struct call call;

	liar_connect(&liar);
	call_start(&liar.rig, &call, "/test.Echo/Stream", 0);
	ck_assert_int_eq(rpc_stream_send(call.stream, "hi", 2), 0);
	rig_settle(&liar.rig);
	connection = liar.rig.connection;
	ck_assert_uint_eq(connection->probed, 1);
	connection->limits.keepalive = 50 * CLOCK_MS;
	rpc_timer_start(connection);
	WAIT(&liar.rig, connection->ping_sent || connection->silences > 0);
	ck_assert_uint_eq(connection->silences, 0);
	WAIT(&liar.rig, liar.rig.closed);
	ck_assert_int_eq(call.status, RPC_UNAVAILABLE);
	liar_down(&liar);
}
END_TEST

/* What the kernel was told, at both ends. */
START_TEST(test_probes)
{
	static const int names[] = { TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT };
	static const int values[] = { 60, 15, 4 };
	const struct rpc_connection *ends[2];
	socklen_t length;
	struct rig rig;
	int i, k, value;

	rig_base(&rig);
	rig_up(&rig);
	ends[0] = rig.connection;
	ends[1] = rig.peer;
	for (i = 0; i < 2; i++) {
		ck_assert_uint_eq(ends[i]->probed, 1);
		length = sizeof(value);
		ck_assert_int_eq(getsockopt(ends[i]->transport.fd, SOL_SOCKET,
				     SO_KEEPALIVE, &value, &length),
		    0);
		ck_assert_int_eq(value, 1);
		for (k = 0; k < 3; k++) {
			ck_assert_int_eq(
			    getsockopt(ends[i]->transport.fd, IPPROTO_TCP,
				names[k], &value, &length),
			    0);
			ck_assert_int_eq(value, values[k]);
		}
	}
	rig_down(&rig);
}
END_TEST

/* Many fields, small on the wire. */
START_TEST(test_header_flood)
{
	struct liar liar;
	struct call call;
	char block[8000];

	liar_connect(&liar);
	call_start(&liar.rig, &call, "/test.Echo/Stream", 0);
	rig_settle(&liar.rig);
	memset(block, 0x90, sizeof(block)); /* accept-encoding */
	memcpy(block, OK_200, 1);
	liar_frame(&liar, HEADERS, 4, 1, block, sizeof(block));
	WAIT(&liar.rig, call.closed);
	ck_assert_int_eq(call.status, RPC_RESOURCE_EXHAUSTED);
	liar_down(&liar);
}
END_TEST

static Suite *
rpc_suite(void)
{
	Suite *suite = suite_create("rpc_server_lies");
	TCase *tc = tcase_create("client");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_lies, 0, LIES);
	tcase_add_test(tc, test_goaway);
	tcase_add_test(tc, test_garbage);
	tcase_add_test(tc, test_hang_up);
	tcase_add_test(tc, test_silence);
	tcase_add_test(tc, test_idle_silence);
	tcase_add_test(tc, test_silence_after_message);
	tcase_add_test(tc, test_probes);
	tcase_add_test(tc, test_header_flood);
	suite_add_tcase(suite, tc);
	return (suite);
}

int
main(void)
{
	return (suite_run(rpc_suite()));
}
