/*
 * Tests of common/rpc: a client that sends TLS records without data, changes
 * of its keys, as fast as it likes. The library reads one after the other
 * without coming back; others must have their turn, and who does it goes.
 */

#include <errno.h>
#include <fcntl.h>

#include <openssl/ssl.h>

#include "common/rpc/internal.h"
#include "regress/unit/rpc_fixture.h"
#include "regress/unit/suite.h"

#define UPDATES       40000 /* some 27 bytes each */
#define PIECES        400
#define HEADER        5 /* of a record */
#define ROOM          (8 * 1024 * 1024)
#define FLOOD         (4 * 1024 * 1024)

/* The most that is taken from a socket at a time, bytes. */
#define BUFFERFUL     (64 * 1024)
/* And the most messages in one turn. */
#define TURN_MESSAGES 8192

/* TLS by hand: what it has to say is sent when a test says so. */
struct raw {
	int fd;
	SSL_CTX *context;
	SSL *ssl;
	BIO *in;
	BIO *out;
	uint64_t most; /* bytes that the server read in a turn of the loop */
};

static struct rpc_counters
counters_of(const struct rig *rig)
{
	struct rpc_counters counters;

	rpc_server_counters(rig->server, &counters);
	return (counters);
}

static void
raw_turn(struct rig *rig, struct raw *raw)
{
	uint64_t before = counters_of(rig).bytes_read, read;

	event_base_loop(rig->base, EVLOOP_ONCE);
	read = counters_of(rig).bytes_read - before;
	if (read > raw->most)
		raw->most = read;
}

static void
raw_write(struct rig *rig, struct raw *raw)
{
	char *bytes;
	long left = BIO_get_mem_data(raw->out, &bytes);
	ssize_t n;

	while (left > 0) {
		n = send(raw->fd, bytes, (size_t)left, MSG_NOSIGNAL);
		if (n == -1 && errno != EAGAIN)
			break; /* it has been cut */
		if (n == -1)
			raw_turn(rig, raw);
		else {
			bytes += n;
			left -= n;
		}
	}
	(void)BIO_reset(raw->out);
}

static void
raw_read(struct raw *raw)
{
	char bytes[4096];
	ssize_t n;

	while ((n = recv(raw->fd, bytes, sizeof(bytes), 0)) > 0)
		ck_assert_int_eq(BIO_write(raw->in, bytes, (int)n), n);
}

static void
raw_connect(struct rig *rig, struct raw *raw)
{
	static const unsigned char h2[] = { 2, 'h', '2' };
	int room = ROOM, rv;

	raw->most = 0;
	raw->fd = socket(AF_INET, SOCK_STREAM, 0);
	(void)setsockopt(raw->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	ck_assert_int_eq(connect(raw->fd, (struct sockaddr *)&rig->address,
			     sizeof(rig->address)),
	    0);
	ck_assert_int_eq(fcntl(raw->fd, F_SETFL, O_NONBLOCK), 0);
	raw->context = SSL_CTX_new(TLS_client_method());
	raw->ssl = SSL_new(raw->context);
	raw->in = BIO_new(BIO_s_mem());
	raw->out = BIO_new(BIO_s_mem());
	SSL_set_bio(raw->ssl, raw->in, raw->out);
	SSL_set_connect_state(raw->ssl);
	ck_assert_int_eq(SSL_set_alpn_protos(raw->ssl, h2, sizeof(h2)), 0);
	while ((rv = SSL_do_handshake(raw->ssl)) != 1) {
		ck_assert_int_eq(
		    SSL_get_error(raw->ssl, rv), SSL_ERROR_WANT_READ);
		raw_write(rig, raw);
		event_base_loop(rig->base, EVLOOP_ONCE);
		raw_read(raw);
	}
	raw_write(rig, raw);
	WAIT(rig, rig->server_opened == 1);
}

static void
raw_close(struct raw *raw)
{
	SSL_free(raw->ssl);
	SSL_CTX_free(raw->context);
	close(raw->fd);
}

static void
raw_update(struct raw *raw, int count)
{
	for (; count > 0; count--) {
		ck_assert_int_eq(
		    SSL_key_update(raw->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		ck_assert_int_eq(SSL_do_handshake(raw->ssl), 1);
	}
}

static void
raw_preface(struct raw *raw)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				      "\0\0\0\4\0\0\0\0\0";

	ck_assert_int_eq(SSL_write(raw->ssl, preface, sizeof(preface) - 1), 33);
}

/* It is cut long before what it has sent is worked through. */
START_TEST(test_keys_changed_without_end)
{
	struct rig rig;
	struct raw raw;

	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	raw_connect(&rig, &raw);
	if (_i == 1)
		raw_preface(&raw);
	raw_update(&raw, UPDATES);
	raw_write(&rig, &raw);
	WAIT(&rig, rig.server_closed == 1);
	ck_assert_uint_eq(counters_of(&rig).abuses[RPC_ABUSE_OTHER], 1);
	ck_assert_uint_lt(counters_of(&rig).bytes_read, 256 * 1024);
	raw_close(&raw);
	rig_down(&rig);
}
END_TEST

/* It is, too, when each comes with the first bytes of the next only. */
START_TEST(test_keys_changed_in_pieces)
{
	const uint8_t *bytes;
	struct rig rig;
	struct raw raw;
	size_t length, end = 0, sent = 0, piece;
	uint64_t before;
	char *all;

	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	raw_connect(&rig, &raw);
	before = counters_of(&rig).bytes_read;
	raw_update(&raw, PIECES);
	length = (size_t)BIO_get_mem_data(raw.out, &all);
	bytes = (const uint8_t *)all;
	while (end + HEADER < length && rig.server_closed == 0) {
		end += HEADER + (size_t)(bytes[end + 3] << 8 | bytes[end + 4]);
		piece = (end + 3 < length ? end + 3 : length) - sent;
		ck_assert_int_eq(
		    send(raw.fd, bytes + sent, piece, MSG_NOSIGNAL), piece);
		sent += piece;
		WAIT(&rig, rig.server_closed == 1 ||
			       counters_of(&rig).bytes_read - before == sent);
	}
	ck_assert_int_eq(rig.server_closed, 1);
	ck_assert_uint_eq(counters_of(&rig).abuses[RPC_ABUSE_OTHER], 1);
	raw_close(&raw);
	rig_down(&rig);
}
END_TEST

/* With data between, one by one: they are counted as what they are. */
START_TEST(test_keys_changed_between_data)
{
	static const char ping[] = "\0\0\x8\x6\0\0\0\0\0"
				   "abcdefgh";
	struct rig rig;
	struct raw raw;
	int i;

	rig_base(&rig);
	rig_tls(&rig);
	rig_serve(&rig);
	raw_connect(&rig, &raw);
	raw_preface(&raw);
	/* Now and then is what the protocol is for. */
	for (i = 0; i < 10; i++) {
		raw_update(&raw, 2);
		ck_assert_int_eq(
		    SSL_write(raw.ssl, ping, sizeof(ping) - 1), 17);
	}
	raw_write(&rig, &raw);
	rig_settle(&rig);
	ck_assert_int_eq(rig.server_closed, 0);
	/* Ten times what is needed where this takes no time. */
	for (i = 0; i < 1000; i++) {
		raw_update(&raw, 20);
		ck_assert_int_eq(
		    SSL_write(raw.ssl, ping, sizeof(ping) - 1), 17);
	}
	raw_write(&rig, &raw);
	WAIT(&rig, counters_of(&rig).abuses[RPC_ABUSE_OTHER] == 1);
	raw_close(&raw);
	WAIT(&rig, rig.server_closed == 1);
	rig_down(&rig);
}
END_TEST

/*
 * However much of one's has come, others have their turn between: nobody
 * reads more than a bufferful in one turn of the loop.
 */
START_TEST(test_a_flood_leaves_turns_to_others)
{
	/* DATA on a stream that is none any more. */
	static const char frame[9] = "\0\x3f\xf0\0\0\0\0\0\1";
	static const char open_close[] = "\0\0\1\1\4\0\0\0\1\x83"
					 "\0\0\4\3\0\0\0\0\1\0\0\0\x8";
	static char body[0x3ff0];
	struct rig rig;
	struct raw raw;
	uint64_t before;
	size_t length;

	rig_base(&rig);
	rig_tls(&rig);
	rig.limits.unproven_message = 1024;
	rig_serve(&rig);
	raw_connect(&rig, &raw);
	raw_preface(&raw);
	ck_assert_int_eq(
	    SSL_write(raw.ssl, open_close, sizeof(open_close) - 1), 23);
	raw_write(&rig, &raw);
	rig_settle(&rig);
	before = counters_of(&rig).bytes_read;
	for (length = 0; length < FLOOD; length += sizeof(body)) {
		ck_assert_int_gt(SSL_write(raw.ssl, frame, sizeof(frame)), 0);
		ck_assert_int_gt(SSL_write(raw.ssl, body, sizeof(body)), 0);
	}
	raw.most = 0;
	raw_write(&rig, &raw);
	while (counters_of(&rig).bytes_read - before < FLOOD)
		raw_turn(&rig, &raw);
	ck_assert_uint_le(raw.most, 2 * BUFFERFUL);
	raw_close(&raw);
	WAIT(&rig, rig.server_closed == 1);
	rig_down(&rig);
}
END_TEST

/* However small one's messages are: not more are taken in one turn. */
START_TEST(test_small_messages_leave_turns_to_others)
{
	static const char open[] = "\0\0\x3e\1\4\0\0\0\1\x83\x87"
				   "\1\x9localhost\4\xf/test.Echo/Sink"
				   "\xf\x10\x10"
				   "application/grpc"
				   "\0\2te\x8trailers";
	static const char agreed[9] = "\0\0\0\4\1\0\0\0\0"; /* SETTINGS */
	/* DATA: 3276 empty messages. */
	static const char frame[9] = "\0\x3f\xfc\0\0\0\0\0\1";
	static char body[0x3ffc];
	struct rig rig;
	struct raw raw;
	uint64_t before, most = 0;
	size_t length;

	rig_base(&rig);
	rig_tls(&rig);
	rig.limits.stream_window = rig.limits.connection_window = 2 * FLOOD;
	rig_serve(&rig);
	raw_connect(&rig, &raw);
	raw_preface(&raw);
	ck_assert_int_gt(SSL_write(raw.ssl, open, sizeof(open) - 1), 0);
	raw_write(&rig, &raw);
	WAIT(&rig, rig.opened == 1);
	ck_assert_int_gt(SSL_write(raw.ssl, agreed, sizeof(agreed)), 0);
	for (length = 0; length < FLOOD; length += sizeof(body)) {
		ck_assert_int_gt(SSL_write(raw.ssl, frame, sizeof(frame)), 0);
		ck_assert_int_gt(SSL_write(raw.ssl, body, sizeof(body)), 0);
	}
	raw_write(&rig, &raw);
	while (rig.sunk < length / 5) {
		before = rig.sunk;
		raw_turn(&rig, &raw);
		if (rig.sunk - before > most)
			most = rig.sunk - before;
	}
	ck_assert_uint_le(most, TURN_MESSAGES);
	raw_close(&raw);
	WAIT(&rig, rig.server_closed == 1);
	rig_down(&rig);
}
END_TEST

/* A message that is announced takes no room before some of it has come. */
START_TEST(test_room_for_what_is_announced)
{
	static const uint8_t begun[] = { 0, 0, 0, 0x80, 0, 'x' };
	static uint8_t rest[32 * 1024 - 1];
	struct rpc_frame_reader reader = { .have = 0 };
	const uint8_t *bytes = begun, *message;
	size_t length = sizeof(begun), message_length;

	ck_assert_int_eq(rpc_frame_read(&reader, &bytes, &length, 64 * 1024,
			     &message, &message_length),
	    RPC_FRAME_MORE);
	ck_assert_uint_le(reader.part.size, 1024);
	bytes = rest;
	length = sizeof(rest);
	ck_assert_int_eq(rpc_frame_read(&reader, &bytes, &length, 64 * 1024,
			     &message, &message_length),
	    RPC_FRAME_MESSAGE);
	ck_assert_uint_eq(message_length, 32 * 1024);
	ck_assert_int_eq(message[0], 'x');
	/* With half of it there, the rest is not copied again and again. */
	buffer_free(&reader.part);
	memset(&reader, 0, sizeof(reader));
	bytes = begun;
	length = 5;
	ck_assert_int_eq(rpc_frame_read(&reader, &bytes, &length, 64 * 1024,
			     &message, &message_length),
	    RPC_FRAME_MORE);
	bytes = rest;
	length = 16 * 1024;
	ck_assert_int_eq(rpc_frame_read(&reader, &bytes, &length, 64 * 1024,
			     &message, &message_length),
	    RPC_FRAME_MORE);
	ck_assert_uint_ge(reader.part.size, 32 * 1024);
	buffer_free(&reader.part);
}
END_TEST

static Suite *
records_suite(void)
{
	Suite *suite = suite_create("rpc_records");
	TCase *tc = tcase_create("records");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_keys_changed_without_end, 0, 2);
	tcase_add_test(tc, test_keys_changed_in_pieces);
	tcase_add_test(tc, test_keys_changed_between_data);
	tcase_add_test(tc, test_a_flood_leaves_turns_to_others);
	tcase_add_test(tc, test_small_messages_leave_turns_to_others);
	tcase_add_test(tc, test_room_for_what_is_announced);
	suite_add_tcase(suite, tc);
	return (suite);
}

int
main(void)
{
	return (suite_run(records_suite()));
}
