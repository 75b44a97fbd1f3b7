/*
 * router/ as a whole against played neighbours: chats set up, their messages,
 * and their ends.
 */

#include "regress/unit/router_fixture.h"

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
	struct rpc_stream *before;
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
	/* The limit is the app's, however often it connects. */
	for (i = 0; i < 2; i++) {
		before = alice.stream;
		if (i == 1)
			app_leave(&alice);
		app_connect(&alice, 0);
		if (i == 0)
			stream_close(before);
		app_start_chat(&alice, &bob, ids[0], 0);
		app_expect_error(&alice, "RATE_LIMITED");
	}
}
END_TEST

/* What an app is offered by one that offers without end leaves room for what
 * others offer. */
START_TEST(test_room_for_offers)
{
	char id[16];
	Frame *frame;
	int i;

	world_begin();
	world.config.limits.chats_per_app = 1000;
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	app_connect(&carol, 0);
	for (i = 0; i < 70; i++) {
		(void)snprintf(id, sizeof(id), "c%d", i);
		app_start_chat(&carol, &alice, id, 0);
	}
	while ((frame = app_hear(alice.stream)) != NULL)
		frame_free(frame);
	app_start_chat(&bob, &alice, "b", 0);
	frame = EXPECT(&alice, START_CHAT);
	ck_assert_str_eq(frame->start_chat->chat_id, "b");
	frame_free(frame);
	app_start_chat(&alice, &bob, "b", 0);
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	frame_free(EXPECT(&bob, START_CHAT));
	frame_free(EXPECT(&bob, START_CHAT_ACK));
	/* The one that made room is not lost. */
	app_start_chat(&alice, &carol, "c0", 0);
	frame_free(EXPECT(&alice, START_CHAT_ACK));
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
	int64_t before;

	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	before = clock_monotonic();
	app_start_chat(&alice, &bob, "c", 0);
	app_leave(&bob);
	ck_assert_uint_eq(side_count(), 2);
	start_tick(before + 599 * CLOCK_SECOND);
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

/* Where no more is kept, what needs no room is answered as ever. */
START_TEST(test_full)
{
	world_begin();
	chat_begin();
	app_send(&alice, "c", 1);
	app_expect_message(&bob, 1);
	app_expect_ack(&alice, 1, "m1");
	world.config.limits.kept_messages = 0;
	app_send(&alice, "c", 2);
	app_expect_error(&alice, "BACKPRESSURE");
	app_send(&alice, "c", 1);
	app_expect_ack(&alice, 1, "m1");
	app_send(&alice, "c", 3);
	app_expect_error(&alice, "OUT_OF_SEQUENCE");
	app_expect_nothing(&bob);
}
END_TEST

START_TEST(test_rate)
{
	uint64_t sequence = 1;
	int i, refused, limited = 0;
	Frame *frame;

	world_begin();
	chat_begin();
	world.config.limits.messages_per_second = 1;
	for (i = 1; i <= 60; i++) {
		app_send(&alice, "c", sequence);
		refused = 0;
		while ((frame = app_hear(alice.stream)) != NULL) {
			if (frame->body_case ==
			    APPROUTER__V1__APP_FRAME__BODY_ERROR) {
				ck_assert_str_eq(
				    frame->error->code, "RATE_LIMITED");
				ck_assert_int_gt(
				    frame->error->retry_after_nanos, 0);
				refused = 1;
			}
			frame_free(frame);
		}
		/* What was refused is sent again: on a slow machine its time
		 * may have come. */
		limited += refused;
		sequence += !refused;
		if (i == 1)
			ck_assert_uint_eq(
			    alice.stream->consumed, alice.stream->sent);
		if (refused && limited == 1)
			ck_assert_uint_lt(
			    alice.stream->consumed, alice.stream->sent);
	}
	ck_assert_int_ge(limited, 20);
	/* The window opens again by itself. */
	while (alice.stream->consumed < alice.stream->sent)
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
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

/* What bob offered is over while alice accepts it: what keyd then begins for
 * her she has been told is over, and bob is not left alone with it. */
START_TEST(test_over_while_accepted)
{
	struct chat_key key;
	struct sent *sent;
	size_t sides;

	world_begin();
	app_connect(&alice, 0);
	app_connect(&bob, 0);
	sides = side_count();
	app_start_chat(&bob, &alice, "c", 0);
	frame_free(EXPECT(&alice, START_CHAT));
	app_start_only(&alice, &bob, "c", 0);
	while ((sent = take_of(PROCESS_MESH)) != NULL) {
		play_one(sent);
		sent_free(sent);
	}
	ck_assert_int_eq(chat_key_make(&key, "c", alice.key, bob.key), 0);
	play_ended(&key, STATUS_DELETED_BY_PEER);
	app_expect_deleted(&alice, "deleted_by_peer");
	play();
	frame_free(EXPECT(&bob, START_CHAT));
	frame_free(EXPECT(&bob, START_CHAT_ACK));
	app_expect_deleted(&bob, "deleted_by_peer");
	ck_assert_uint_eq(side_count(), sides);
	app_expect_nothing(&alice);
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

static void
add_tests(TCase *tcase)
{
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
	tcase_add_test(tcase, test_full);
	tcase_add_test(tcase, test_rate);
	tcase_add_test(tcase, test_room_for_offers);
	tcase_add_test(tcase, test_delete);
	tcase_add_test(tcase, test_message_after_delete);
	tcase_add_test(tcase, test_over_while_accepted);
	tcase_add_test(tcase, test_ratchet_failed);
	tcase_add_test(tcase, test_ambiguous);
}

int
main(void)
{
	return (router_run("router_chats", add_tests));
}
