/*
 * router/ as a whole against played neighbours: connecting, setting up,
 * messages, absence, ends, limits.
 */

#include <malloc.h>
#include <stdio.h>

#include "regress/unit/router_fixture.h"
#include "regress/unit/suite.h"

static void
app_expect_deleted(struct app_player *app, const char *status)
{
	Frame *frame = EXPECT(app, DELETE_CHAT_ACK);

	ck_assert_str_eq(frame->delete_chat_ack->status, status);
	frame_free(frame);
}

/* --- Connect ------------------------------------------------------------- */

START_TEST(test_connect)
{
	Frame *frame;

	world_begin();
	alice.stream = stream_open();
	ck_assert_ptr_null(app_hear(alice.stream));
	play();
	app_connect_stream(&alice, alice.stream, 0, NULL);
	frame = EXPECT(&alice, CONNECT_ACK);
	ck_assert_uint_eq(strlen(frame->connect_ack->assigned_session_id), 32);
	ck_assert_str_eq(frame->connect_ack->node_id, "node-a");
	ck_assert_uint_eq(frame->connect_ack->max_message_size, 1000);
	ck_assert_uint_eq(frame->connect_ack->chat_window, 16);
	frame_free(frame);
	play();
	ck_assert_int_eq(alice.up, 1);
	ck_assert_uint_eq(alice.stream->consumed, alice.stream->sent);
	app_leave(&alice);
	ck_assert_int_eq(alice.up, 0);
}
END_TEST

static void
spoil_signature(Approuter__V1__Connect *connect)
{
	connect->signature.data[5] ^= 1;
}

static void
spoil_nonce(Approuter__V1__Connect *connect)
{
	connect->nonce.data[5] ^= 1;
}

static void
spoil_key(Approuter__V1__Connect *connect)
{
	connect->app_public_key.len = 31;
}

static void
spoil_time(Approuter__V1__Connect *connect)
{
	connect->expires_at += 1;
}

static void
spoil_node(Approuter__V1__Connect *connect)
{
	connect->node_id[0] = 'N';
}

static void
no_nonce(Approuter__V1__Connect *connect)
{
	connect->nonce.len = 0;
}

START_TEST(test_connect_refused)
{
	static const struct {
		void (*change)(Approuter__V1__Connect *);
		enum rpc_status status;
	} cases[] = { { spoil_signature, RPC_UNAUTHENTICATED },
		{ spoil_nonce, RPC_UNAUTHENTICATED },
		{ spoil_key, RPC_UNAUTHENTICATED },
		{ spoil_time, RPC_UNAUTHENTICATED },
		{ no_nonce, RPC_UNAUTHENTICATED },
		{ spoil_node, RPC_PERMISSION_DENIED } };
	struct rpc_stream *stream;
	size_t i;

	world_begin();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stream = stream_open();
		play();
		app_connect_stream(&alice, stream, 0, cases[i].change);
		play();
		ck_assert_int_eq(stream->finished, 1);
		ck_assert_int_eq(stream->status, cases[i].status);
		ck_assert_ptr_null(app_hear(stream));
		stream_close(stream);
	}
	ck_assert_int_eq(alice.up, 0);
	/* Anything else first. */
	stream = stream_open();
	stream->sent = 2;
	session_message(stream, (const uint8_t *)"\x5a\x00", 2, stream->arg);
	ck_assert_int_eq(stream->status, RPC_INVALID_ARGUMENT);
	stream_close(stream);
	ck_assert_uint_eq(session_count(), 0);
}
END_TEST

START_TEST(test_connect_limits)
{
	struct rpc_stream *streams[5], *more;
	int i;

	world_begin();
	more = calloc(1, sizeof(*more));
	for (i = 0; i < 5; i++)
		streams[i] = stream_open();
	/* The oldest that has not said who it is makes room. */
	ck_assert_int_eq(session_opened(more, NULL), RPC_OK);
	ck_assert_int_eq(streams[0]->status, RPC_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(streams[1]->status, RPC_OK);
	for (i = 0; i < 5; i++)
		stream_close(streams[i]);
	session_closed(more, RPC_CANCELLED, NULL, more->arg);
	play();
	world.config.limits.sessions = 1;
	app_connect(&alice, 0);
	streams[0] = stream_open();
	play();
	app_connect_stream(&bob, streams[0], 0, NULL);
	ck_assert_int_eq(streams[0]->status, RPC_RESOURCE_EXHAUSTED);
	stream_close(streams[0]);
	router.identity.unlocked = 0;
	ck_assert_int_eq(session_opened(more, NULL), RPC_UNAVAILABLE);
	free(more);
}
END_TEST

START_TEST(test_replace)
{
	struct rpc_stream *old;
	Frame *frame;

	world_begin();
	chat_begin();
	old = alice.stream;
	app_connect(&alice, 0);
	ck_assert_int_eq(old->finished, 1);
	ck_assert_int_eq(old->status, RPC_ABORTED);
	frame = app_hear(old);
	ck_assert_int_eq(
	    frame->body_case, APPROUTER__V1__APP_FRAME__BODY_GO_AWAY);
	ck_assert_str_eq(frame->go_away->reason, "replaced");
	frame_free(frame);
	stream_close(old);
	play();
	/* It never went away for the others. */
	ck_assert_int_eq(alice.up, 1);
	ck_assert_uint_eq(session_count(), 2);
	app_send(&bob, "c", 1);
	app_start_chat(&alice, &bob, "c", 1);
	frame = EXPECT(&alice, START_CHAT_ACK);
	ck_assert(frame->start_chat_ack->resumed);
	frame_free(frame);
	app_expect_message(&alice, 1);
}
END_TEST

static Frame *
connect_v1(struct app_player *app, struct rpc_stream *stream, int spoil)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Connect connect = APPROUTER__V1__CONNECT__INIT;
	uint8_t signature[SIGNATURE_SIZE];
	char node[] = "node-a";

	(void)crypto_sign_detached(
	    signature, NULL, (uint8_t *)node, 6, app->secret);
	signature[0] ^= (uint8_t)spoil;
	connect.app_public_key.data = app->key;
	connect.app_public_key.len = KEY_SIZE;
	connect.signature.data = signature;
	connect.signature.len = SIGNATURE_SIZE;
	connect.node_id = node;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CONNECT;
	frame.connect = &connect;
	app_say(stream, &frame);
	return (app_hear(stream));
}

START_TEST(test_v1)
{
	struct rpc_stream *stream;
	Frame *frame;

	world_begin();
	stream = stream_open();
	ck_assert_ptr_null(connect_v1(&alice, stream, 0));
	ck_assert_int_eq(stream->status, RPC_UNAUTHENTICATED);
	stream_close(stream);
	play();
	world.config.app_compat_v1 = 1;
	stream = stream_open();
	ck_assert_ptr_null(TAILQ_FIRST(&world.out));
	ck_assert_ptr_null(connect_v1(&alice, stream, 1));
	stream_close(stream);
	stream = stream_open();
	frame = connect_v1(&alice, stream, 0);
	ck_assert_ptr_nonnull(frame);
	ck_assert_int_eq(
	    frame->body_case, APPROUTER__V1__APP_FRAME__BODY_CONNECT_ACK);
	frame_free(frame);
	play();
	ck_assert_int_eq(alice.attestation.kind, ATTESTATION_V1);
	stream_close(stream);
	/* A v2 app waits for its Challenge, and it comes. */
	stream = stream_open();
	ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
	play();
	app_connect_stream(&alice, stream, 0, NULL);
	frame = app_hear(stream);
	ck_assert_int_eq(
	    frame->body_case, APPROUTER__V1__APP_FRAME__BODY_CONNECT_ACK);
	frame_free(frame);
	stream_close(stream);
}
END_TEST

START_TEST(test_connect_timeout)
{
	struct rpc_stream *stream;

	world_begin();
	world.config.limits.connect_timeout = 30 * CLOCK_MS;
	stream = stream_open();
	while (!stream->finished)
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
	ck_assert_int_eq(stream->status, RPC_DEADLINE_EXCEEDED);
	stream_close(stream);
}
END_TEST

/* --- set-up -------------------------------------------------------------- */

START_TEST(test_start)
{
	Frame *frame;

	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	app_start_chat(&alice, &bob, "c", 0);
	app_expect_nothing(&alice);
	frame = EXPECT(&bob, START_CHAT);
	ck_assert_str_eq(frame->start_chat->chat_id, "c");
	ck_assert_str_eq(frame->start_chat->source_app_id, alice.id);
	ck_assert_str_eq(frame->start_chat->target_app_id, bob.id);
	frame_free(frame);
	app_send(&alice, "c", 1);
	app_expect_error(&alice, "CHAT_NOT_READY");
	app_start_chat(&bob, &alice, "c", 0);
	frame = EXPECT(&bob, START_CHAT_ACK);
	ck_assert_str_eq(frame->correlation_id, "start");
	ck_assert_uint_eq(frame->start_chat_ack->key_version, 1);
	ck_assert(!frame->start_chat_ack->resumed);
	ck_assert_uint_eq(frame->start_chat_ack->next_send_sequence, 1);
	ck_assert_str_eq(frame->start_chat_ack->peer_app_id, alice.id);
	frame_free(frame);
	frame_free(EXPECT(&alice, START_CHAT));
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	app_send(&alice, "c", 1);
	app_expect_message(&bob, 1);
	app_expect_ack(&alice, 1, "m1");
	app_send(&bob, "c", 1);
	app_expect_message(&alice, 1);
	app_expect_ack(&bob, 1, "m1");
}
END_TEST

START_TEST(test_start_auto)
{
	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 1);
	app_start_chat(&alice, &bob, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT));
	app_expect_nothing(&bob);
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	app_send(&bob, "c", 1);
	app_expect_message(&alice, 1);
	app_send(&alice, "c", 1);
	app_expect_ack(&bob, 1, "m1");
	app_expect_message(&bob, 1);
}
END_TEST

/* accept=auto and a StartChat besides, as libhermes says it: what keyd and
 * the peer have agreed on once they are not asked for again. */
START_TEST(test_start_auto_and_said)
{
	Frame *frame;

	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 1);
	/* After keyd has answered; a second time both ends compare. */
	app_start_chat(&alice, &bob, "d", 0);
	frame_free(EXPECT(&bob, START_CHAT));
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	app_send(&alice, "d", 1);
	app_expect_message(&bob, 1);
	app_expect_ack(&alice, 1, "m1");
	app_start_chat(&bob, &alice, "d", 1);
	frame = EXPECT(&bob, START_CHAT_ACK);
	ck_assert_str_eq(frame->correlation_id, "start");
	ck_assert(frame->start_chat_ack->resumed);
	ck_assert_uint_eq(frame->start_chat_ack->next_send_sequence, 1);
	ck_assert_uint_eq(frame->start_chat_ack->next_receive_sequence, 2);
	frame_free(frame);
	ck_assert_uint_eq(played.starts, 2);
	app_start_chat(&bob, &alice, "d", 1);
	frame_free(EXPECT(&bob, START_CHAT_ACK));
	ck_assert_uint_eq(played.starts, 3);
	/* Before it has. */
	app_start_only(&alice, &bob, "c", 0);
	play_starts(4);
	frame_free(EXPECT(&bob, START_CHAT));
	app_start_only(&bob, &alice, "c", 1);
	app_expect_nothing(&bob);
	play();
	frame = EXPECT(&bob, START_CHAT_ACK);
	ck_assert_uint_eq(frame->start_chat_ack->key_version, 1);
	ck_assert(!frame->start_chat_ack->resumed);
	frame_free(frame);
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	ck_assert_uint_eq(played.starts, 5);
	app_expect_nothing(&alice);
	app_send(&bob, "d", 1);
	app_expect_message(&alice, 1);
	app_expect_ack(&bob, 1, "m1");
}
END_TEST

START_TEST(test_start_later)
{
	world_begin();
	app_connect(&alice, 0);
	/* Nobody knows bob. */
	app_start_chat(&alice, &bob, "c", 0);
	app_expect_error(&alice, "UNKNOWN_APP");
	ck_assert_uint_eq(side_count(), 0);
	/* Bob is known, takes an offer only when he comes back. */
	app_connect(&bob, 0);
	app_start_chat(&alice, &bob, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT));
	app_leave(&bob);
	app_connect(&bob, 0);
	frame_free(EXPECT(&bob, START_CHAT));
	app_start_chat(&bob, &alice, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT_ACK));
}
END_TEST

static void
start_bad(struct app_player *app, const char *chat_id, const char *target,
    const char *hint, size_t key_length, int sign, const char *code)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	struct start_chat_fields fields = { 0 };
	uint8_t key[40] = { 9 };
	uint8_t signature[SIGNATURE_SIZE] = { 1 };
	uint8_t bytes[600];
	size_t length;
	Frame *answer;
	char correlation[] = "bad";

	if (sign == 3)
		memset(key, 0, sizeof(key));
	fields.chat_id = chat_id;
	fields.source_app_id = app->id;
	fields.target_app_id = target;
	fields.public_key = key;
	length = start_chat_signed_bytes(&fields, bytes, sizeof(bytes));
	if (sign != 2)
		(void)crypto_sign_detached(
		    signature, NULL, bytes, length, app->secret);
	start.chat_id = (char *)(uintptr_t)chat_id;
	start.target_app_id = (char *)(uintptr_t)target;
	start.target_node_hint = (char *)(uintptr_t)hint;
	start.local_ephemeral_public_key.data = key;
	start.local_ephemeral_public_key.len = key_length;
	start.signature.data = signature;
	start.signature.len = sign ? SIGNATURE_SIZE : 0;
	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	app_say(app->stream, &frame);
	play();
	if (code == NULL)
		return;
	answer = EXPECT(app, ERROR);
	ck_assert_str_eq(answer->error->code, code);
	ck_assert_str_eq(answer->correlation_id, "bad");
	frame_free(answer);
}

START_TEST(test_start_refused)
{
	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	start_bad(&alice, "", bob.id, "", 0, 0, "INVALID_FRAME");
	start_bad(&alice, "a\nb", bob.id, "", 0, 0, "INVALID_FRAME");
	start_bad(&alice, "c", "abcd", "", 0, 0, "INVALID_FRAME");
	start_bad(&alice, "c", alice.id, "", 0, 0, "INVALID_FRAME");
	start_bad(&alice, "c", bob.id, "NODE", 0, 0, "INVALID_FRAME");
	start_bad(&alice, "c", bob.id, "", 0, 1, "INVALID_FRAME");
	start_bad(&alice, "c", bob.id, "", 31, 1, "INVALID_KEY");
	start_bad(&alice, "c", bob.id, "", 32, 3, "INVALID_KEY");
	start_bad(&alice, "c", bob.id, "", 32, 2, "AUTH_FAILED");
	start_bad(&alice, "c", bob.id, "node-b", 0, 0, "TARGET_NOT_FOUND");
	ck_assert_uint_eq(side_count(), 0);
	ck_assert_uint_eq(played.starts, 0);
	/* keyd's word reaches the app. */
	played.refuse = CODE_REKEY_THROTTLED;
	start_bad(&alice, "c", bob.id, "", 0, 0, "REKEY_THROTTLED");
	ck_assert_uint_eq(side_count(), 0);
	played.refuse = CODE_NONE;
	start_bad(&alice, "c", bob.id, "node-a", 32, 1, NULL);
	frame_free(EXPECT(&bob, START_CHAT));
}
END_TEST

START_TEST(test_start_limits)
{
	static const char *const ids[] = { "1", "2", "3", "4", "5" };
	int i;

	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	for (i = 0; i < 4; i++)
		app_start_chat(&alice, &bob, ids[i], 0);
	app_expect_nothing(&alice);
	app_start_chat(&alice, &bob, ids[4], 0);
	app_expect_error(&alice, "LIMIT_REACHED");
	world.config.limits.starts_per_minute = 2;
	app_start_chat(&alice, &bob, ids[0], 0);
	app_start_chat(&alice, &bob, ids[0], 0);
	app_expect_nothing(&alice);
	app_start_chat(&alice, &bob, ids[0], 0);
	app_expect_error(&alice, "RATE_LIMITED");
}
END_TEST

/* While there are none, an app is told when to ask again; what it has goes
 * on. */
START_TEST(test_no_new_chats)
{
	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	app_start_chat(&alice, &bob, "old", 0);
	router.no_new_chats = 1;
	app_start_chat(&alice, &bob, "old", 0);
	app_expect_nothing(&alice);
	app_start_chat(&alice, &bob, "new", 0);
	app_expect_error(&alice, "LIMIT_REACHED");
	router.no_new_chats = 0;
	app_start_chat(&alice, &bob, "new", 0);
	app_expect_nothing(&alice);
}
END_TEST

/* --- messages ------------------------------------------------------------ */

START_TEST(test_sequences)
{
	Frame *frame;

	world_begin();
	chat_begin();
	app_send(&alice, "c", 2);
	frame = EXPECT(&alice, ERROR);
	ck_assert_str_eq(frame->error->code, "OUT_OF_SEQUENCE");
	ck_assert_uint_eq(frame->error->expected_sequence, 1);
	ck_assert_str_eq(frame->error->chat_id, "c");
	ck_assert_str_eq(frame->correlation_id, "m2");
	frame_free(frame);
	app_send(&alice, "c", 1);
	app_expect_message(&bob, 1);
	app_expect_ack(&alice, 1, "m1");
	app_send(&alice, "c", 1);
	app_expect_ack(&alice, 1, "m1");
	app_expect_nothing(&bob);
	app_send(&alice, "d", 1);
	app_expect_error(&alice, "CHAT_NOT_FOUND");
	ck_assert_uint_eq(alice.stream->consumed, alice.stream->sent);
}
END_TEST

START_TEST(test_large)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__ChatMessage message = APPROUTER__V1__CHAT_MESSAGE__INIT;
	static uint8_t payload[1001];
	char id[] = "c";

	world_begin();
	chat_begin();
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE;
	frame.chat_message = &message;
	message.chat_id = id;
	message.sequence = 1;
	message.payload.data = payload;
	message.payload.len = sizeof(payload);
	app_say(alice.stream, &frame);
	app_expect_error(&alice, "MESSAGE_TOO_LARGE");
	message.payload.len--;
	app_say(alice.stream, &frame);
	play();
	app_expect_ack(&alice, 1, "");
}
END_TEST

/*
 * A slow reader stalls its own chat and nobody else: what waits gives its
 * HTTP/2 credit back, or the app's other chats would stall with it, and is
 * bounded by BACKPRESSURE.
 */
START_TEST(test_slow)
{
	uint64_t i;

	world_begin();
	chat_begin();
	app_connect(&carol, 1);
	app_start_chat(&alice, &carol, "d", 0);
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	frame_free(EXPECT(&carol, START_CHAT));
	bob.stream->congested = 1;
	for (i = 1; i <= 16; i++)
		app_send(&alice, "c", i);
	ck_assert_uint_eq(alice.stream->consumed, alice.stream->sent);
	for (; i <= 16 * 5; i++)
		app_send(&alice, "c", i);
	ck_assert_uint_eq(alice.stream->consumed, alice.stream->sent);
	app_expect_nothing(&alice);
	app_send(&alice, "c", i);
	app_expect_error(&alice, "BACKPRESSURE");
	app_send(&alice, "d", 1);
	app_expect_message(&carol, 1);
	app_expect_ack(&alice, 1, "m1");
	/* Bob reads again: everything comes, in order. */
	ck_assert_int_eq(bob.stream->waiting, 1);
	bob.stream->congested = 0;
	session_writable_again(bob.stream, bob.stream->arg);
	play();
	for (i = 1; i <= 16 * 5; i++) {
		app_expect_message(&bob, i);
		app_expect_ack(&alice, i, NULL);
	}
	ck_assert_uint_eq(alice.stream->consumed, alice.stream->sent);
	app_send(&alice, "c", i);
	app_expect_message(&bob, i);
}
END_TEST

/* A stream that took no more ends: the app's next one does not wait for it. */
START_TEST(test_slow_and_gone)
{
	world_begin();
	chat_begin();
	bob.stream->congested = 1;
	app_send(&alice, "c", 1);
	ck_assert(!TAILQ_EMPTY(&app_find(bob.key)->blocked));
	app_leave(&bob);
	app_connect(&bob, 1);
	play();
	app_expect_message(&bob, 1);
	ck_assert(TAILQ_EMPTY(&app_find(bob.key)->blocked));
}
END_TEST

/* One acknowledgement and one record a batch, not one a message. */
START_TEST(test_coalesce)
{
	struct ipc_opened opened;
	struct ipc_message message;
	struct side *side;
	uint64_t i;

	world_begin();
	chat_begin();
	side = TAILQ_FIRST(&app_find(bob.key)->sides);
	memset(&opened, 0, sizeof(opened));
	opened.key = side->key;
	message.type = IPC_OPENED;
	message.payload = &opened;
	message.tail = (uint8_t *)&opened.sequence;
	message.tail_length = 8;
	played.relay_acks = played.progresses = 0;
	for (i = 1; i <= 10; i++) {
		opened.sequence = i;
		world.hooks->handlers[IPC_OPENED](NULL, &message);
	}
	world.hooks->batch(PROCESS_KEYD);
	play();
	ck_assert_uint_eq(played.relay_acks, 1);
	ck_assert_uint_eq(played.progresses, 1);
	for (i = 1; i <= 10; i++)
		app_expect_message(&bob, i);
}
END_TEST

/* An app that will say no more still hears what it asked for. */
START_TEST(test_half_close)
{
	world_begin();
	chat_begin();
	bob.stream->congested = 1;
	app_send(&alice, "c", 1);
	session_half_closed(alice.stream, alice.stream->arg);
	ck_assert_int_eq(alice.stream->finished, 0);
	bob.stream->congested = 0;
	session_writable_again(bob.stream, bob.stream->arg);
	play();
	app_expect_ack(&alice, 1, "m1");
	session_tick(clock_monotonic());
	ck_assert_int_eq(alice.stream->finished, 1);
	ck_assert_int_eq(alice.stream->status, RPC_OK);
	session_half_closed(bob.stream, bob.stream->arg);
	ck_assert_int_eq(bob.stream->finished, 1);
}
END_TEST

/* An offer that nobody takes up is forgotten. */
START_TEST(test_offer_expires)
{
	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	app_start_chat(&alice, &bob, "c", 0);
	app_leave(&bob);
	ck_assert_uint_eq(side_count(), 2);
	start_tick(clock_monotonic() + 599 * CLOCK_SECOND);
	ck_assert_uint_eq(side_count(), 2);
	start_tick(clock_monotonic() + 601 * CLOCK_SECOND);
	ck_assert_uint_eq(side_count(), 1);
	ck_assert_ptr_null(app_find(bob.key));
}
END_TEST

START_TEST(test_congested_door)
{
	world_begin();
	chat_begin();
	proc_ipc(PROCESS_KEYD)->congested = 1;
	app_send(&alice, "c", 1);
	ck_assert_int_eq(service_paused, 1);
	proc_ipc(PROCESS_KEYD)->congested = 0;
	world.hooks->uncongested(PROCESS_KEYD);
	ck_assert_int_eq(service_paused, 0);
}
END_TEST

START_TEST(test_rate)
{
	uint64_t i;
	int limited = 0;
	Frame *frame;

	world_begin();
	chat_begin();
	world.config.limits.messages_per_second = 10;
	for (i = 1; i <= 60; i++) {
		app_send(&alice, "c", i);
		while ((frame = app_hear(alice.stream)) != NULL) {
			if (frame->body_case ==
			    APPROUTER__V1__APP_FRAME__BODY_ERROR) {
				ck_assert_str_eq(
				    frame->error->code, "RATE_LIMITED");
				ck_assert_int_gt(
				    frame->error->retry_after_nanos, 0);
				limited++;
			}
			frame_free(frame);
		}
		if (i == 9)
			ck_assert_uint_eq(
			    alice.stream->consumed, alice.stream->sent);
		if (i == 15)
			ck_assert_uint_lt(
			    alice.stream->consumed, alice.stream->sent);
	}
	ck_assert_int_ge(limited, 20);
	/* The window opens again by itself. */
	while (alice.stream->consumed < alice.stream->sent)
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
}
END_TEST

/* --- absence ------------------------------------------------------------- */

START_TEST(test_peer_away)
{
	Frame *frame;

	world_begin();
	chat_begin();
	app_leave(&bob);
	frame = EXPECT(&alice, CHAT_STATUS);
	ck_assert_str_eq(frame->chat_status->status, "peer_away");
	frame_free(frame);
	app_send(&alice, "c", 1);
	app_send(&alice, "c", 2);
	ck_assert_uint_eq(played.seals, 0);
	app_expect_nothing(&alice);
	app_connect(&bob, 0);
	frame = EXPECT(&alice, CHAT_STATUS);
	ck_assert_str_eq(frame->chat_status->status, "peer_back");
	frame_free(frame);
	/* Not before its app has taken the chat up again. */
	app_expect_nothing(&bob);
	app_start_chat(&bob, &alice, "c", 1);
	frame = EXPECT(&bob, START_CHAT_ACK);
	ck_assert(frame->start_chat_ack->resumed);
	frame_free(frame);
	app_expect_message(&bob, 1);
	app_expect_message(&bob, 2);
	app_expect_ack(&alice, 1, "m1");
	app_expect_ack(&alice, 2, "m2");
}
END_TEST

/* The sender leaves; what it said arrives; it hears of it when it is back. */
START_TEST(test_sender_away)
{
	Frame *frame;

	world_begin();
	chat_begin();
	bob.stream->congested = 1;
	app_send(&alice, "c", 1);
	app_leave(&alice);
	frame_free(EXPECT(&bob, CHAT_STATUS));
	bob.stream->congested = 0;
	session_writable_again(bob.stream, bob.stream->arg);
	play();
	app_expect_message(&bob, 1);
	app_connect(&alice, 0);
	app_start_chat(&alice, &bob, "c", 1);
	frame = EXPECT(&alice, START_CHAT_ACK);
	ck_assert_uint_eq(frame->start_chat_ack->next_send_sequence, 2);
	frame_free(frame);
	app_expect_ack(&alice, 1, NULL);
	app_expect_nothing(&alice);
}
END_TEST

/* Keys that begin anew while one is away: it hears of it, once. */
START_TEST(test_reset_while_away)
{
	struct ipc_chat_ready ready = {
		.version = 2, .resumed = 1, .reset = 1
	};
	struct played_chat *chat;
	Frame *frame;
	int i;

	world_begin();
	chat_begin();
	app_leave(&bob);
	frame_free(EXPECT(&alice, CHAT_STATUS));
	ck_assert_int_eq(chat_key_make(&ready.key, "c", alice.key, bob.key), 0);
	chat = play_chat(&ready.key, 0);
	chat->version = 2;
	for (i = 0; i < 2; i++) {
		from(PROCESS_KEYD, IPC_CHAT_READY, &ready, NULL, 0);
		ready.key.side ^= 1;
	}
	app_expect_status(&alice, "reset");
	app_connect(&bob, 0);
	app_expect_status(&alice, "peer_back");
	app_start_chat(&bob, &alice, "c", 1);
	frame = EXPECT(&bob, START_CHAT_ACK);
	ck_assert_uint_eq(frame->start_chat_ack->key_version, 2);
	frame_free(frame);
	app_expect_status(&bob, "reset");
	app_leave(&bob);
	app_expect_status(&alice, "peer_away");
	app_connect(&bob, 0);
	app_expect_status(&alice, "peer_back");
	app_start_chat(&bob, &alice, "c", 1);
	frame_free(EXPECT(&bob, START_CHAT_ACK));
	app_expect_nothing(&bob);
}
END_TEST

/* The first app back finds its peer not there yet (L41). */
START_TEST(test_records)
{
	struct ipc_chat_record record;
	struct chat_key key;
	struct played_chat *chat;
	Frame *frame;
	int i;

	world_begin();
	ck_assert_int_eq(chat_key_make(&key, "c", alice.key, bob.key), 0);
	chat = play_chat(&key, 1);
	chat->version = 3;
	chat->delivered[0] = chat->delivered[1] = 5;
	chat->acked[0] = chat->acked[1] = 5;
	for (i = 0; i < 2; i++) {
		memset(&record, 0, sizeof(record));
		record.key = key;
		memcpy(record.chat_id, "c", 1);
		memcpy(record.local_app, i ? bob.key : alice.key, KEY_SIZE);
		memcpy(record.peer_app, i ? alice.key : bob.key, KEY_SIZE);
		memcpy(record.peer_node, world.node_key, KEY_SIZE);
		if (i == 1)
			record.key.side ^= 1;
		record.version = 3;
		record.accepted = 8;
		record.acked = record.delivered = 5;
		from(PROCESS_KEYD, IPC_CHAT_RECORD, &record, NULL, 0);
	}
	ck_assert_uint_eq(side_count(), 2);
	app_connect(&alice, 0);
	app_start_chat(&alice, &bob, "c", 1);
	frame = EXPECT(&alice, CHAT_STATUS);
	ck_assert_str_eq(frame->chat_status->status, "peer_away");
	frame_free(frame);
	app_send(&alice, "c", 6);
	app_expect_error(&alice, "CHAT_NOT_READY");
	app_connect(&bob, 0);
	frame_free(EXPECT(&alice, CHAT_STATUS));
	frame = EXPECT(&alice, START_CHAT_ACK);
	ck_assert_uint_eq(frame->start_chat_ack->key_version, 3);
	ck_assert_uint_eq(frame->start_chat_ack->next_send_sequence, 6);
	ck_assert_uint_eq(frame->start_chat_ack->next_receive_sequence, 6);
	frame_free(frame);
	app_send(&alice, "c", 6);
	app_start_chat(&bob, &alice, "c", 1);
	frame_free(EXPECT(&bob, START_CHAT_ACK));
	app_expect_message(&bob, 6);
	app_expect_ack(&alice, 6, "m6");
}
END_TEST

START_TEST(test_tieline)
{
	struct ipc_tieline tieline = { .ended = 0 };

	world_begin();
	chat_begin();
	memcpy(tieline.node_key, world.node_key, KEY_SIZE);
	played.cut = 1;
	app_send(&alice, "c", 1);
	from(PROCESS_MESH, IPC_TIELINE_DOWN, &tieline, NULL, 0);
	app_send(&alice, "c", 2);
	ck_assert_uint_eq(played.seals, 1);
	played.cut = 0;
	from(PROCESS_MESH, IPC_TIELINE_UP, &tieline, NULL, 0);
	play();
	app_expect_message(&bob, 1);
	app_expect_message(&bob, 2);
	app_expect_ack(&alice, 1, "m1");
	app_expect_ack(&alice, 2, "m2");
	/* mesh dies and comes back. */
	world.down = PROCESS_MESH;
	world.hooks->door_down(PROCESS_MESH);
	app_send(&alice, "c", 3);
	app_expect_nothing(&bob);
	world.down = 0;
	memset(played.watches, 0, sizeof(played.watches));
	world.hooks->door_up(PROCESS_MESH, proc_ipc(PROCESS_MESH));
	play();
	app_expect_message(&bob, 3);
	app_expect_ack(&alice, 3, "m3");
	/* The node is gone for good. */
	tieline.ended = 1;
	from(PROCESS_MESH, IPC_TIELINE_DOWN, &tieline, NULL, 0);
	play();
	app_expect_deleted(&alice, "route_unavailable");
	ck_assert_uint_eq(side_count(), 0);
}
END_TEST

#define MANY 200

/* The CHAT_STARTs that went out since the last time: how many, and which
 * chats' numbers. Others are played. */
static size_t
starts_taken(int numbers[MANY])
{
	const struct ipc_chat_start *start;
	struct sent *sent;
	size_t count = 0;

	while ((sent = take()) != NULL) {
		if (sent->type == IPC_CHAT_START) {
			start = (const void *)sent->payload;
			ck_assert_uint_lt(count, MANY);
			numbers[count++] = atoi(start->chat_id + 1);
		} else
			play_one(sent);
		sent_free(sent);
	}
	return (count);
}

static void
many_key(int number, struct chat_key *key, char chat_id[16])
{
	(void)snprintf(chat_id, 16, "c%d", number);
	ck_assert_int_eq(chat_key_make(key, chat_id, alice.key, bob.key), 0);
}

static void
many_ready(int number)
{
	struct ipc_chat_ready ready = { .version = 1, .resumed = 1 };
	char chat_id[16];

	many_key(number, &ready.key, chat_id);
	from(PROCESS_KEYD, IPC_CHAT_READY, &ready, NULL, 0);
}

/* As keyd tells after a start, from..to - 1. */
static void
many_records(int number, int to)
{
	struct ipc_chat_record record = { .version = 1 };

	memcpy(record.local_app, alice.key, KEY_SIZE);
	memcpy(record.peer_app, bob.key, KEY_SIZE);
	memcpy(record.peer_node, world.node_key, KEY_SIZE);
	for (; number < to; number++) {
		many_key(number, &record.key, record.chat_id);
		from(PROCESS_KEYD, IPC_CHAT_RECORD, &record, NULL, 0);
	}
}

/* Bytes of memory in use; 0 where the allocator does not say. */
static size_t
memory_used(void)
{
	return (mallinfo2().uordblks);
}

/* What an idle chat costs of memory, its places in tables included. */
START_TEST(test_idle_sides_are_small)
{
	size_t before;

	world_begin();
	many_records(0, 1000);
	before = memory_used();
	many_records(1000, 3000);
	ck_assert_uint_eq(side_count(), 3000);
	ck_assert_uint_le((memory_used() - before) / 2000, 600);
}
END_TEST

/* After a start all chats are due: few are resumed at a time, one that is
 * spoken in comes first, none is forgotten, none asked for twice. */
START_TEST(test_resumes_in_line)
{
	int numbers[MANY], asked[MANY] = { 0 }, waiting[MANY], i;
	size_t count, done = 0;
	char chat_id[16];

	world_begin();
	world.config.limits.chats_per_app = MANY;
	app_connect(&bob, 0);
	many_records(0, MANY);
	alice.stream = stream_open();
	play();
	app_connect_stream(&alice, alice.stream, 1, NULL);
	frame_free(EXPECT(&alice, CONNECT_ACK));
	count = starts_taken(waiting);
	ck_assert_uint_eq(count, RESUMES_AT_ONCE);
	for (i = 0; i < RESUMES_AT_ONCE; i++)
		ck_assert_int_eq(asked[waiting[i]]++, 0);
	/* The last in line is the next that its app speaks in. */
	i = MANY - 1;
	ck_assert_int_eq(asked[i], 0);
	(void)snprintf(chat_id, sizeof(chat_id), "c%d", i);
	app_send_only(&alice, chat_id, 1);
	ck_assert_uint_eq(starts_taken(numbers), 1);
	ck_assert_int_eq(numbers[0], i);
	asked[i]++;
	many_ready(i);
	ck_assert_uint_eq(starts_taken(numbers), 0);
	/* Each answer lets one more go, until all have been. */
	while (done < count) {
		many_ready(waiting[done++]);
		if (count == MANY - 1)
			continue;
		ck_assert_uint_eq(starts_taken(numbers), 1);
		ck_assert_int_eq(asked[numbers[0]]++, 0);
		waiting[count++] = numbers[0];
	}
	for (i = 0; i < MANY; i++)
		ck_assert_int_eq(asked[i], 1);
	ck_assert_uint_eq(starts_taken(numbers), 0);
	stream_close(alice.stream);
}
END_TEST

/* The peer's node is revoked: mesh and keyd say so in either order, and a
 * message in between does not hear another word. */
START_TEST(test_revoked)
{
	struct ipc_tieline tieline = { .ended = 2 };
	struct ipc_chat_end end = { .status = STATUS_REVOKED };
	int keyd_first = _i;

	world_begin();
	chat_begin();
	memcpy(tieline.node_key, world.node_key, KEY_SIZE);
	ck_assert_int_eq(chat_key_make(&end.key, "c", alice.key, bob.key), 0);
	if (keyd_first)
		play_end(&end);
	from(PROCESS_MESH, IPC_TIELINE_DOWN, &tieline, NULL, 0);
	if (!keyd_first) {
		app_send_only(&alice, "c", 1);
		app_expect_error(&alice, "CHAT_NOT_READY");
	}
	play();
	app_expect_deleted(&alice, "revoked");
	app_expect_deleted(&bob, "revoked");
	app_expect_nothing(&alice);
	app_expect_nothing(&bob);
	ck_assert_uint_eq(side_count(), 0);
}
END_TEST

START_TEST(test_rekey)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	Frame *answer;
	char id[] = "c";

	world_begin();
	chat_begin();
	start.chat_id = id;
	start.target_app_id = bob.id;
	start.rekey = 1;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	app_say(alice.stream, &frame);
	/* Under way, messages go on. */
	app_send_only(&alice, "c", 1);
	play();
	answer = EXPECT(&alice, START_CHAT_ACK);
	ck_assert_uint_eq(answer->start_chat_ack->key_version, 2);
	ck_assert(!answer->start_chat_ack->resumed);
	frame_free(answer);
	/* Of a chat that is there: should it end meanwhile, none begins. */
	ck_assert_uint_eq(played.flags, CHAT_REKEY | CHAT_RESUME);
	answer = EXPECT(&bob, START_CHAT);
	ck_assert(answer->start_chat->rekey);
	frame_free(answer);
	answer = EXPECT(&bob, CHAT_STATUS);
	ck_assert_str_eq(answer->chat_status->status, "rekeyed");
	ck_assert_uint_eq(answer->chat_status->key_version, 2);
	frame_free(answer);
	app_expect_message(&bob, 1);
	app_expect_ack(&alice, 1, "m1");
}
END_TEST

/* --- ends ---------------------------------------------------------------- */

static void
app_delete_only(struct app_player *app, const char *chat_id, const char *peer)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__DeleteChat delete_chat =
	    APPROUTER__V1__DELETE_CHAT__INIT;
	char correlation[] = "delete";

	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT;
	frame.delete_chat = &delete_chat;
	delete_chat.chat_id = (char *)(uintptr_t)chat_id;
	delete_chat.peer_app_id = (char *)(uintptr_t)peer;
	app_say(app->stream, &frame);
}

static void
app_delete(struct app_player *app, const char *chat_id, const char *peer)
{
	app_delete_only(app, chat_id, peer);
	play();
}

START_TEST(test_delete)
{
	Frame *frame;

	world_begin();
	chat_begin();
	app_connect(&carol, 0);
	app_delete(&carol, "c", "");
	app_expect_error(&carol, "CHAT_NOT_FOUND");
	app_delete(&alice, "c", "");
	frame = EXPECT(&alice, DELETE_CHAT_ACK);
	ck_assert_str_eq(frame->delete_chat_ack->status, "deleted");
	ck_assert_str_eq(frame->correlation_id, "delete");
	frame_free(frame);
	app_expect_deleted(&bob, "deleted_by_peer");
	ck_assert_uint_eq(side_count(), 0);
	app_send(&alice, "c", 1);
	app_expect_error(&alice, "CHAT_NOT_FOUND");
}
END_TEST

/* Who deletes a chat has none, from then on. */
START_TEST(test_message_after_delete)
{
	world_begin();
	chat_begin();
	app_delete_only(&alice, "c", "");
	app_send_only(&alice, "c", 1);
	app_expect_error(&alice, "CHAT_NOT_FOUND");
	play();
	app_expect_deleted(&alice, "deleted");
}
END_TEST

/* keyd cannot seal: said once, then the chat is gone; and an answer to a
 * message of a chat before this one means nothing. */
START_TEST(test_ratchet_failed)
{
	struct ipc_chat_code code = { .code = CODE_RATCHET_FAILED };
	struct side *side;
	size_t sides;

	world_begin();
	chat_begin();
	ck_assert_int_eq(chat_key_make(&code.key, "c", alice.key, bob.key), 0);
	ck_assert_ptr_nonnull(side = side_find(&code.key));
	sides = side_count();
	side->core.state = CHAT_STATE_OFFERED;
	ready_error(&code, 1);
	side->core.state = CHAT_STATE_SUSPENDED;
	ready_error(&code, 1);
	side->core.state = CHAT_STATE_READY;
	ready_error(&code, 0); /* not of keyd */
	app_expect_nothing(&alice);
	ck_assert_uint_eq(side_count(), sides);
	ready_error(&code, 1);
	app_expect_error(&alice, "RATCHET_FAILED");
	app_expect_deleted(&alice, "ratchet_desync");
	ck_assert_uint_eq(side_count(), sides - 1);
	app_send(&alice, "c", 1);
	app_expect_error(&alice, "CHAT_NOT_FOUND");
}
END_TEST

START_TEST(test_ambiguous)
{
	world_begin();
	chat_begin();
	/* A stranger's offer of the same name changes nothing (L15) ... */
	app_connect(&carol, 0);
	app_start_chat(&carol, &alice, "c", 0);
	frame_free(EXPECT(&alice, START_CHAT));
	app_send(&alice, "c", 1);
	app_expect_message(&bob, 1);
	app_expect_ack(&alice, 1, "m1");
	/* ... taking it up does. */
	app_start_chat(&alice, &carol, "c", 0);
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	app_send(&alice, "c", 2);
	app_expect_error(&alice, "AMBIGUOUS_CHAT");
	app_delete(&alice, "c", carol.id);
	frame_free(EXPECT(&alice, DELETE_CHAT_ACK));
	app_send(&alice, "c", 2);
	app_expect_ack(&alice, 2, "m2");
}
END_TEST

/* --- the rest ------------------------------------------------------------ */

static void
app_find_app(struct app_player *app, const char *target, const char *status)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__FindApp find = APPROUTER__V1__FIND_APP__INIT;
	Frame *answer;

	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_FIND_APP;
	frame.find_app = &find;
	find.target_app_id = (char *)(uintptr_t)target;
	app_say(app->stream, &frame);
	play();
	if (status == NULL) {
		app_expect_error(app, "INVALID_FRAME");
		return;
	}
	answer = EXPECT(app, FIND_APP_RESULT);
	ck_assert_str_eq(answer->find_app_result->status, status);
	ck_assert_str_eq(answer->find_app_result->target_app_id, target);
	frame_free(answer);
}

START_TEST(test_find)
{
	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	app_find_app(&alice, bob.id, "local");
	app_find_app(&alice, carol.id, "unknown");
	app_find_app(&alice, "xx", NULL);
}
END_TEST

START_TEST(test_frames)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__Heartbeat beat = APPROUTER__V1__HEARTBEAT__INIT;
	Frame *answer;
	char correlation[] = "beat";
	int i;

	world_begin();
	app_connect(&alice, 0);
	beat.timestamp_nanos = 12345;
	frame.correlation_id = correlation;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_HEARTBEAT;
	frame.heartbeat = &beat;
	app_say(alice.stream, &frame);
	answer = EXPECT(&alice, HEARTBEAT);
	ck_assert_int_eq(answer->heartbeat->timestamp_nanos, 12345);
	ck_assert_str_eq(answer->correlation_id, "beat");
	frame_free(answer);
	alice.stream->sent += 1000;
	session_message(alice.stream, (const uint8_t *)"\x9a\x06\x00", 3,
	    alice.stream->arg);
	app_expect_error(&alice, "UNSUPPORTED");
	for (i = 0; i < 17; i++) {
		ck_assert_int_eq(alice.stream->finished, 0);
		session_message(alice.stream, (const uint8_t *)"\xff", 1,
		    alice.stream->arg);
		app_expect_error(&alice, "INVALID_FRAME");
	}
	ck_assert_int_eq(alice.stream->finished, 1);
	ck_assert_int_eq(alice.stream->status, RPC_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_shutdown)
{
	struct rpc_stream *more = calloc(1, sizeof(*more));
	Frame *frame;

	world_begin();
	chat_begin();
	bob.stream->congested = 1;
	app_send(&alice, "c", 1);
	world.hooks->shutdown(4 * CLOCK_SECOND);
	frame = EXPECT(&alice, GO_AWAY);
	ck_assert_str_eq(frame->go_away->reason, "shutdown");
	frame_free(frame);
	ck_assert_int_eq(session_opened(more, NULL), RPC_UNAVAILABLE);
	/* What is under way arrives first. */
	bob.stream->congested = 0;
	session_writable_again(bob.stream, bob.stream->arg);
	play();
	app_expect_ack(&alice, 1, "m1");
	while (!alice.stream->finished)
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
	ck_assert_int_eq(alice.stream->status, RPC_UNAVAILABLE);
	ck_assert_int_eq(bob.stream->status, RPC_UNAVAILABLE);
	ck_assert_int_eq(world.done, 0);
	stream_close(alice.stream);
	stream_close(bob.stream);
	while (!world.done)
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
	free(more);
}
END_TEST

/* Apps told to leave since the last look. */
static unsigned
crowd_told(void)
{
	unsigned told = 0;
	Frame *frame;
	size_t i;

	for (i = 0; i < crowd_count; i++)
		while ((frame = app_hear(crowd[i].stream)) != NULL) {
			ck_assert_int_eq(frame->body_case,
			    APPROUTER__V1__APP_FRAME__BODY_GO_AWAY);
			ck_assert_str_eq(frame->go_away->reason, "shutdown");
			told++;
			frame_free(frame);
		}
	return (told);
}

/* A crowd is not sent away at once: it would fall upon the other nodes. */
START_TEST(test_shutdown_is_spread)
{
	static struct app_player many[100];
	const size_t count = sizeof(many) / sizeof(many[0]);
	unsigned told, more, steps = 0;
	size_t i;

	world_begin();
	world.config.limits.sessions = 200;
	crowd = many;
	crowd_count = count;
	for (i = 0; i < count; i++) {
		app_make_keys(&crowd[i], (uint8_t)(10 + i));
		app_connect(&crowd[i], 0);
	}
	world.hooks->shutdown(4 * CLOCK_SECOND);
	told = crowd_told();
	ck_assert_uint_eq(told, 32);
	while (told < count) {
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
		more = crowd_told();
		steps += more > 0;
		told += more;
	}
	ck_assert_uint_eq(told, count);
	ck_assert_uint_gt(steps, 1);
	for (i = 0; i < count; i++)
		stream_close(crowd[i].stream);
	while (!world.done)
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
}
END_TEST

/* L36: the newest signature says where an app is; what it left ends, but not
 * a session that is newer than the news. */
START_TEST(test_L36_moved)
{
	struct ipc_app_moved moved = { .issued_at = 0 };
	Frame *frame;

	world_begin();
	app_connect(&alice, 0);
	memcpy(moved.app, alice.key, KEY_SIZE);
	moved.issued_at = clock_wall() - 60 * CLOCK_SECOND;
	from(PROCESS_MESH, IPC_APP_MOVED, &moved, NULL, 0);
	app_expect_nothing(&alice);
	ck_assert_int_eq(alice.stream->finished, 0);
	moved.issued_at = clock_wall() + CLOCK_SECOND;
	from(PROCESS_MESH, IPC_APP_MOVED, &moved, NULL, 0);
	frame = EXPECT(&alice, GO_AWAY);
	ck_assert_str_eq(frame->go_away->reason, "moved");
	frame_free(frame);
	ck_assert_int_eq(alice.stream->finished, 1);
	ck_assert_int_eq(alice.stream->status, RPC_ABORTED);
	/* Of one that is not here. */
	memcpy(moved.app, bob.key, KEY_SIZE);
	from(PROCESS_MESH, IPC_APP_MOVED, &moved, NULL, 0);
	stream_close(alice.stream);
}
END_TEST

/* Apps come, go, talk, stall and are cut at random; none of ours dies, and
 * in the end every message said has come exactly once. */
START_TEST(test_storm)
{
	unsigned int seed = (unsigned int)_i + 1;
	uint64_t said = 0, heard = 0, acked = 0;
	Frame *frame;
	int n, left = 600;

	world_begin();
	chat_begin();
	for (n = 0; n < 20000 && (left > 0 || acked < said); n++) {
		switch ((unsigned int)rand_r(&seed) % (left > 0 ? 40 : 4)) {
		case 0:
			bob.stream->congested =
			    left > 0 && !bob.stream->congested;
			if (!bob.stream->congested)
				session_writable_again(
				    bob.stream, bob.stream->arg);
			break;
		case 1:
			if (left == 0)
				break;
			app_leave(&bob);
			app_connect(&bob, 0);
			app_start_chat(&bob, &alice, "c", 1);
			break;
		case 2:
			if (left == 0)
				break;
			app_leave(&alice);
			app_connect(&alice, 0);
			app_start_chat(&alice, &bob, "c", 1);
			break;
		default:
			if (left == 0)
				break;
			app_send_only(&alice, "c", said + 1);
			said++;
			left--;
		}
		if (rand_r(&seed) % 3 == 0)
			play();
		while ((frame = app_hear(alice.stream)) != NULL) {
			if (frame->body_case ==
			    APPROUTER__V1__APP_FRAME__BODY_ERROR) {
				/* Refused: say it again later. */
				said--;
				left++;
			} else if (
			    frame->body_case ==
			    APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE_ACK) {
				ck_assert_uint_eq(
				    frame->chat_message_ack->sequence,
				    acked + 1);
				acked++;
			}
			frame_free(frame);
		}
		while ((frame = app_hear(bob.stream)) != NULL) {
			if (frame->body_case ==
			    APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE) {
				ck_assert_uint_eq(
				    frame->chat_message->sequence, heard + 1);
				heard++;
			}
			frame_free(frame);
		}
	}
	ck_assert_int_eq(left, 0);
	ck_assert_uint_eq(heard, said);
	ck_assert_uint_eq(acked, said);
	ck_assert_uint_eq(app_find(alice.key)->bytes, 0);
	ck_assert_uint_eq(app_find(bob.key)->bytes, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("router");
	TCase *tcase = tcase_create("router");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_connect);
	tcase_add_test(tcase, test_connect_refused);
	tcase_add_test(tcase, test_connect_limits);
	tcase_add_test(tcase, test_connect_timeout);
	tcase_add_test(tcase, test_replace);
	tcase_add_test(tcase, test_v1);
	tcase_add_test(tcase, test_start);
	tcase_add_test(tcase, test_start_auto);
	tcase_add_test(tcase, test_start_auto_and_said);
	tcase_add_test(tcase, test_start_later);
	tcase_add_test(tcase, test_start_refused);
	tcase_add_test(tcase, test_start_limits);
	tcase_add_test(tcase, test_no_new_chats);
	tcase_add_test(tcase, test_sequences);
	tcase_add_test(tcase, test_large);
	tcase_add_test(tcase, test_slow);
	tcase_add_test(tcase, test_slow_and_gone);
	tcase_add_test(tcase, test_coalesce);
	tcase_add_test(tcase, test_congested_door);
	tcase_add_test(tcase, test_half_close);
	tcase_add_test(tcase, test_offer_expires);
	tcase_add_test(tcase, test_rate);
	tcase_add_test(tcase, test_peer_away);
	tcase_add_test(tcase, test_sender_away);
	tcase_add_test(tcase, test_reset_while_away);
	tcase_add_test(tcase, test_records);
	tcase_add_test(tcase, test_tieline);
	tcase_add_test(tcase, test_resumes_in_line);
	tcase_add_test(tcase, test_idle_sides_are_small);
	tcase_add_loop_test(tcase, test_revoked, 0, 2);
	tcase_add_test(tcase, test_rekey);
	tcase_add_test(tcase, test_delete);
	tcase_add_test(tcase, test_message_after_delete);
	tcase_add_test(tcase, test_ratchet_failed);
	tcase_add_test(tcase, test_ambiguous);
	tcase_add_test(tcase, test_find);
	tcase_add_test(tcase, test_frames);
	tcase_add_test(tcase, test_shutdown);
	tcase_add_test(tcase, test_shutdown_is_spread);
	tcase_add_test(tcase, test_L36_moved);
	tcase_add_loop_test(tcase, test_storm, 0, 30);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
