/*
 * router/ against played neighbours: apps that come back from other nodes,
 * and say where their chats stand. Not all that they say is true.
 */

#include "regress/unit/router_fixture.h"

static void
arrives(Approuter__V1__Connect *connect)
{
	connect->arrived = 1;
}

/* Come from another node; nobody has answered to it. */
static void
app_arrive_only(struct app_player *app, int accept_auto)
{
	app->stream = stream_open();
	play();
	app_connect_stream(app, app->stream, accept_auto, arrives);
	frame_free(EXPECT(app, CONNECT_ACK));
}

static void
app_arrive(struct app_player *app, int accept_auto)
{
	app_arrive_only(app, accept_auto);
	play();
}

static const uint8_t mine[INSTANCE_SIZE] = { 1 }, other[INSTANCE_SIZE] = { 2 };
/* What an app that goes on says it has; NULL: nothing. */
static const uint8_t *instance_said;

/* Go on with "c" of version 3, without letting the neighbours work. */
static void
app_go_on_only(struct app_player *app, struct app_player *peer,
    uint64_t next_send, uint64_t next_receive)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	char chat_id[] = "c";

	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	start.chat_id = chat_id;
	start.target_app_id = peer->id;
	start.key_version = 3;
	start.resume = 1;
	start.next_send_sequence = next_send;
	start.next_receive_sequence = next_receive;
	if (instance_said != NULL) {
		start.instance.data = (uint8_t *)(uintptr_t)instance_said;
		start.instance.len = INSTANCE_SIZE;
	}
	app_say(app->stream, &frame);
}

static void
app_go_on(struct app_player *app, struct app_player *peer, uint64_t next_send,
    uint64_t next_receive)
{
	app_go_on_only(app, peer, next_send, next_receive);
	play();
}

static void
app_expect_at(struct app_player *app, uint64_t next_send, uint64_t next_receive)
{
	Frame *frame = EXPECT(app, START_CHAT_ACK);

	ck_assert_uint_eq(frame->start_chat_ack->next_send_sequence, next_send);
	ck_assert_uint_eq(
	    frame->start_chat_ack->next_receive_sequence, next_receive);
	frame_free(frame);
}

static void
app_hear_all(struct app_player *app)
{
	Frame *frame;

	while ((frame = app_hear(app->stream)) != NULL)
		frame_free(frame);
}

static struct side *
side_of(const struct app_player *app, const struct app_player *peer)
{
	struct chat_key key;

	ck_assert_int_eq(chat_key_make(&key, "c", app->key, peer->key), 0);
	return (side_find(&key));
}

/* One message of each to the other, of these sequences. */
static void
both_say(uint64_t of_alice, uint64_t of_bob)
{
	app_send(&alice, "c", of_alice);
	app_expect_message(&bob, of_alice);
	app_expect_ack(&alice, of_alice, NULL);
	app_send(&bob, "c", of_bob);
	app_expect_message(&alice, of_bob);
	app_expect_ack(&bob, of_bob, NULL);
}

/* What was here is out of date, and what the app says counts. */
START_TEST(test_arrives)
{
	world_begin();
	chat_begin();
	both_say(1, 1);
	app_leave(&alice);
	app_expect_status(&bob, "peer_away");
	app_arrive(&alice, 0);
	app_expect_status(&bob, "peer_back");
	ck_assert_ptr_null(side_of(&alice, &bob));
	ck_assert_ptr_nonnull(side_of(&bob, &alice));
	app_go_on(&alice, &bob, 4, 3);
	app_expect_at(&alice, 4, 3);
	app_expect_status(&bob, "reset");
	both_say(4, 3);
	/* Nobody was told of an end. */
	app_expect_nothing(&alice);
	app_expect_nothing(&bob);
}
END_TEST

/* An offer that came before she was elsewhere is accepted only when keyd says
 * that it still stands. */
START_TEST(test_offered_meanwhile)
{
	world_begin();
	app_connect(&bob, 0);
	app_connect(&alice, 0);
	app_start_chat(&bob, &alice, "c", 0);
	app_leave(&alice);
	ck_assert_ptr_nonnull(side_of(&alice, &bob));
	app_arrive_only(&alice, 1);
	ck_assert_int_eq(side_of(&alice, &bob)->left, 1);
	play();
	app_expect_at(&bob, 1, 1); /* he has offered it again */
}
END_TEST

/* 0: the peer ended the chat; 1: keyd refused something. Either is of before
 * keyd forgot it, and the app goes on when it has. */
START_TEST(test_left_and_ended_at_once)
{
	struct ipc_chat_code code = { .code = CODE_CHAT_NOT_READY };
	struct chat_key key;
	struct side *side;

	world_begin();
	chat_begin();
	app_leave(&alice);
	app_expect_status(&bob, "peer_away");
	app_arrive_only(&alice, 0);
	ck_assert_ptr_nonnull(side = side_of(&alice, &bob));
	ck_assert_int_eq(side->left, 1);
	app_go_on_only(&alice, &bob, 4, 3);
	code.key = key = side->key;
	if (_i == 0)
		play_ended(&key, STATUS_DELETED_BY_PEER);
	else
		ready_error(&code, 1);
	ck_assert_ptr_eq(side_of(&alice, &bob), side);
	ck_assert_int_eq(side->left, 1);
	play();
	app_expect_at(&alice, 4, 3);
	/* That word comes once more, for what was there before. */
	play_ended(&key, STATUS_NONE);
	ck_assert_ptr_eq(side_of(&alice, &bob), side);
	app_expect_nothing(&alice);
	app_expect_status(&bob, "peer_back");
	app_expect_status(&bob, "reset");
	both_say(4, 3);
}
END_TEST

/* Gone again before keyd forgot it, and back; or it deletes what it left. */
START_TEST(test_left_and_left_again)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__DeleteChat delete = APPROUTER__V1__DELETE_CHAT__INIT;
	struct rpc_stream *second;
	char chat_id[] = "c";

	world_begin();
	chat_begin();
	app_leave(&alice);
	second = stream_open();
	app_arrive_only(&alice, 0);
	app_go_on_only(&alice, &bob, 4, 3);
	stream_close(alice.stream);
	alice.stream = second;
	app_connect_stream(&alice, second, 1, arrives);
	frame_free(EXPECT(&alice, CONNECT_ACK));
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT;
	frame.delete_chat = &delete;
	delete.chat_id = chat_id;
	app_say(alice.stream, &frame);
	app_expect_error(&alice, "CHAT_NOT_FOUND");
	app_send_only(&alice, "c", 4);
	app_expect_error(&alice, "CHAT_NOT_READY");
	app_go_on_only(&alice, &bob, 3, 3);
	app_go_on_only(&alice, &bob, 4, 3); /* this one counts */
	play();
	app_expect_at(&alice, 4, 3);
	app_expect_nothing(&alice);
	app_hear_all(&bob);
	both_say(4, 3);
}
END_TEST

/* Until the router has accepted what a StartChat offers, unanswered. */
static void
play_accepted(void)
{
	struct sent *sent;

	play_starts(1);
	while ((sent = take_of(PROCESS_MESH)) != NULL) {
		play_one(sent);
		sent_free(sent);
	}
}

/*
 * The node accepts for alice what bob offers, and only then she says that one
 * more was acknowledged than bob, who moved too, has got. 0: before both ends
 * agreed; 1: after that; 2: it is another chat, as what she sent shows; 3: or
 * what she received.
 */
START_TEST(test_ahead_of_all_nodes)
{
	world_begin();
	app_connect(&bob, 0);
	app_arrive(&alice, 1);
	if (_i >= 2)
		app_start_only(&bob, &alice, "c", 0);
	else
		app_go_on_only(&bob, &alice, 33, 33);
	if (_i == 0)
		play_accepted();
	else
		play();
	frame_free(EXPECT(&alice, START_CHAT));
	app_go_on(&alice, &bob, _i == 3 ? 1 : 34, 33);
	if (_i >= 2) {
		app_expect_at(&bob, 1, 1);
		app_expect_error(&alice, "REPLAYED_KEY");
		both_say(1, 1);
		return;
	}
	app_expect_at(&alice, 34, 33);
	app_expect_at(&bob, 33, 33);
	both_say(34, 33);
	app_expect_nothing(&alice);
}
END_TEST

/* The chat that alice had is over, and bob has begun another one. */
static void
over_begin(void)
{
	world_begin();
	app_connect(&bob, 0);
	app_arrive(&alice, 0);
	app_start_chat(&bob, &alice, "c", 0);
	frame_free(EXPECT(&alice, START_CHAT));
}

/* She begins that, too: where she stood in hers is not where it begins. */
static void
over_begin_anew(void)
{
	app_start_chat(&alice, &bob, "c", 0);
	app_expect_at(&alice, 1, 1);
	frame_free(EXPECT(&bob, START_CHAT));
	app_expect_at(&bob, 1, 1);
	both_say(1, 1);
	app_expect_nothing(&alice);
	app_expect_nothing(&bob);
}

/* 0: keyd refuses hers; 1: she has begun the other before it does so. */
START_TEST(test_over_and_refused)
{
	over_begin();
	played.refuse = CODE_REPLAYED_KEY;
	app_go_on_only(&alice, &bob, 25, 21);
	if (_i == 1)
		app_start_only(&alice, &bob, "c", 0);
	play_starts(played.starts + 1);
	played.refuse = CODE_NONE;
	play();
	app_expect_error(&alice, "REPLAYED_KEY");
	over_begin_anew();
}
END_TEST

/* She is gone before keyd answers, and back at the same node. */
START_TEST(test_over_and_away)
{
	over_begin();
	played.mute = 1;
	app_go_on(&alice, &bob, 25, 21);
	app_leave(&alice);
	app_hear_all(&bob);
	memset(played.chats, 0, sizeof(played.chats)); /* it never had that */
	played.mute = 0;
	app_connect(&alice, 0);
	frame_free(EXPECT(&alice, START_CHAT));
	app_start_chat(&bob, &alice, "c", 0);
	over_begin_anew();
}
END_TEST

/* Sequences at the end of all numbers are those of nobody else. */
START_TEST(test_absurd_places)
{
	static const uint64_t ends[] = { UINT64_MAX, UINT64_MAX - 1,
		(uint64_t)INT64_MAX + 1, INT64_MAX, INT64_MAX - 1 };
	uint64_t most = ends[_i];

	world_begin();
	chat_begin();
	app_go_on(&alice, &bob, most, most); /* here it is already */
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	app_send(&alice, "c", 1);
	frame_free(app_hear(alice.stream));
	app_leave(&alice);
	app_arrive(&alice, 0);
	app_go_on(&alice, &bob, most, most);
	frame_free(EXPECT(&alice, START_CHAT_ACK));
	app_send(&alice, "c", most);
	app_send(&alice, "c", most + 1);
	app_send(&alice, "c", 0);
	/* Others of bob's are as they were. */
	app_hear_all(&bob);
	app_connect(&carol, 0);
	app_start_chat(&carol, &bob, "c", 0);
	frame_free(EXPECT(&bob, START_CHAT));
	app_start_chat(&bob, &carol, "c", 0);
	app_expect_at(&bob, 1, 1);
	frame_free(EXPECT(&carol, START_CHAT));
	app_expect_at(&carol, 1, 1);
	app_send(&carol, "c", 1);
	app_expect_message(&bob, 1);
	app_expect_ack(&carol, 1, NULL);
}
END_TEST

/* Who arrives time and again costs nobody anything that stays. */
START_TEST(test_arrives_for_ever)
{
	size_t sides, i;

	world_begin();
	chat_begin();
	sides = side_count();
	for (i = 0; i < 200; i++) {
		app_leave(&alice);
		app_arrive(&alice, (int)(i & 1));
		app_go_on(&alice, &bob, i + 2, 1);
		app_hear_all(&alice);
		app_hear_all(&bob);
		ck_assert_uint_le(side_count(), sides);
	}
	both_say(201, 1);
	app_leave(&alice);
	app_arrive(&alice, 0);
	ck_assert_uint_eq(side_count(), sides - 1);
}
END_TEST

/* Which chat it is the app hears, and says to a node that has another: that
 * forgets its own when keyd says so, and goes on where the app stands. */
START_TEST(test_has_another_chat)
{
	struct ipc_chat_end end = { .status = STATUS_NONE };
	struct side *side;
	Frame *frame;

	world_begin();
	memcpy(played.instance, other, INSTANCE_SIZE);
	chat_begin();
	both_say(1, 1);
	side = side_of(&alice, &bob);
	ck_assert_mem_eq(side->instance, other, INSTANCE_SIZE);
	instance_said = mine;
	played.mute = 1;
	app_go_on(&alice, &bob, 6, 5);
	ck_assert_mem_eq(played.named, mine, INSTANCE_SIZE);
	/* Of a chat that is not this one it is no word. */
	end.key = side->key;
	memcpy(end.instance, mine, INSTANCE_SIZE);
	from(PROCESS_KEYD, IPC_CHAT_ENDED, &end, NULL, 0);
	ck_assert_uint_eq(side->core.accepted, 1);
	/* Nor is that it is ready an answer. */
	play_ready(play_chat(&side->key, 0), 1, 0, CAUSE_RESUME);
	app_expect_nothing(&alice);
	played.mute = 0;
	memcpy(played.instance, mine, INSTANCE_SIZE);
	memset(played.named, 0, INSTANCE_SIZE);
	play_chat(&side->key, 0)->left[side->key.side] = 1;
	memcpy(end.instance, other, INSTANCE_SIZE);
	from(PROCESS_KEYD, IPC_CHAT_ENDED, &end, NULL, 0);
	play();
	ck_assert_uint_eq(played.flags & CHAT_CONTINUE, CHAT_CONTINUE);
	ck_assert_mem_eq(played.named, mine, INSTANCE_SIZE);
	frame = EXPECT(&alice, START_CHAT_ACK);
	ck_assert_uint_eq(frame->start_chat_ack->next_send_sequence, 6);
	ck_assert_uint_eq(frame->start_chat_ack->next_receive_sequence, 5);
	ck_assert_uint_eq(frame->start_chat_ack->instance.len, INSTANCE_SIZE);
	ck_assert_mem_eq(
	    frame->start_chat_ack->instance.data, mine, INSTANCE_SIZE);
	frame_free(frame);
	instance_said = NULL;
}
END_TEST

/* She goes on with another chat than is here, and that is said to be over
 * (_i == 0), or forgotten, before she is heard. It is not hers that ended; and
 * when she deletes it at once, nothing is begun. */
START_TEST(test_another_chat_ends)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__DeleteChat delete = APPROUTER__V1__DELETE_CHAT__INIT;
	struct ipc_chat_end end = { .status = STATUS_NONE };
	char chat_id[] = "c";
	struct side *side;
	unsigned starts;

	world_begin();
	memcpy(played.instance, other, INSTANCE_SIZE);
	chat_begin();
	side = side_of(&alice, &bob);
	end.key = side->key;
	memcpy(end.instance, other, INSTANCE_SIZE);
	instance_said = mine;
	played.mute = 1;
	app_go_on(&alice, &bob, 6, 5);
	instance_said = NULL;
	played.mute = 0;
	memcpy(played.instance, mine, INSTANCE_SIZE);
	starts = played.starts;
	if (_i == 0) {
		play_chat(&end.key, 0)->left[end.key.side] = 1;
		play_ended(&end.key, STATUS_DELETED_BY_PEER);
		play();
		app_expect_at(&alice, 6, 5);
		return;
	}
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_DELETE_CHAT;
	frame.delete_chat = &delete;
	delete.chat_id = chat_id;
	app_say(alice.stream, &frame);
	from(PROCESS_KEYD, IPC_CHAT_ENDED, &end, NULL, 0);
	play();
	app_expect_deleted(&alice, "deleted");
	ck_assert_uint_eq(played.starts, starts);
	ck_assert_ptr_null(side_of(&alice, &bob));
}
END_TEST

/* What accept=auto has said for her is not what she says, when she names
 * another chat: that is for keyd to judge. */
START_TEST(test_another_chat_is_not_known)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	char chat_id[] = "c";
	unsigned starts;

	world_begin();
	memcpy(played.instance, other, INSTANCE_SIZE);
	app_connect(&bob, 0);
	app_connect(&alice, 1);
	app_start_chat(&bob, &alice, "c", 0);
	frame_free(EXPECT(&alice, START_CHAT));
	app_expect_at(&bob, 1, 1);
	starts = played.starts;
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	start.chat_id = chat_id;
	start.target_app_id = bob.id;
	start.instance.data = (uint8_t *)(uintptr_t)mine;
	start.instance.len = INSTANCE_SIZE;
	played.refuse = CODE_REPLAYED_KEY;
	app_say(alice.stream, &frame);
	play();
	ck_assert_uint_eq(played.starts, starts + 1);
	ck_assert_mem_eq(played.named, mine, INSTANCE_SIZE);
	app_expect_error(&alice, "REPLAYED_KEY");
}
END_TEST

/* The node accepts for alice what bob offers, and then she says what she has:
 * that, or (_i == 1) another one, which is over. */
START_TEST(test_what_was_accepted_is_another)
{
	world_begin();
	memcpy(played.instance, other, INSTANCE_SIZE);
	app_connect(&bob, 0);
	app_arrive(&alice, 1);
	app_start_only(&bob, &alice, "c", 0);
	play_accepted();
	frame_free(EXPECT(&alice, START_CHAT));
	instance_said = _i == 0 ? other : mine;
	app_go_on(&alice, &bob, 1, 1);
	if (_i == 0)
		app_expect_at(&alice, 1, 1);
	else
		app_expect_error(&alice, "REPLAYED_KEY");
	instance_said = NULL;
	app_expect_at(&bob, 1, 1);
	both_say(1, 1);
}
END_TEST

/* What the router asks by itself names what it has; an instance has its size,
 * and is not told to the peer. */
START_TEST(test_names_what_it_has)
{
	Frame frame = APPROUTER__V1__APP_FRAME__INIT;
	Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	char chat_id[] = "d";
	uint8_t wrong[INSTANCE_SIZE - 1] = { 1 };
	Frame *offer;

	world_begin();
	memcpy(played.instance, other, INSTANCE_SIZE);
	chat_begin();
	ck_assert_int_eq(instance_is_known(played.named), 0);
	app_leave(&alice);
	app_expect_status(&bob, "peer_away");
	app_connect(&alice, 1);
	play();
	ck_assert_uint_eq(played.flags, CHAT_RESUME);
	ck_assert_mem_eq(played.named, other, INSTANCE_SIZE);
	app_hear_all(&alice);
	app_hear_all(&bob);
	frame.body_case = APPROUTER__V1__APP_FRAME__BODY_START_CHAT;
	frame.start_chat = &start;
	start.chat_id = chat_id;
	start.target_app_id = bob.id;
	start.instance.data = wrong;
	start.instance.len = sizeof(wrong);
	app_say(alice.stream, &frame);
	app_expect_error(&alice, "INVALID_FRAME");
	start.instance.data = (uint8_t *)(uintptr_t)mine;
	start.instance.len = INSTANCE_SIZE;
	app_say(alice.stream, &frame);
	play();
	offer = EXPECT(&bob, START_CHAT);
	ck_assert_uint_eq(offer->start_chat->instance.len, 0);
	frame_free(offer);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, test_arrives);
	tcase_add_test(tcase, test_offered_meanwhile);
	tcase_add_loop_test(tcase, test_left_and_ended_at_once, 0, 2);
	tcase_add_test(tcase, test_left_and_left_again);
	tcase_add_loop_test(tcase, test_ahead_of_all_nodes, 0, 4);
	tcase_add_loop_test(tcase, test_over_and_refused, 0, 2);
	tcase_add_test(tcase, test_over_and_away);
	tcase_add_loop_test(tcase, test_absurd_places, 0, 5);
	tcase_add_test(tcase, test_arrives_for_ever);
	tcase_add_test(tcase, test_has_another_chat);
	tcase_add_loop_test(tcase, test_another_chat_ends, 0, 2);
	tcase_add_test(tcase, test_another_chat_is_not_known);
	tcase_add_loop_test(tcase, test_what_was_accepted_is_another, 0, 2);
	tcase_add_test(tcase, test_names_what_it_has);
}

int
main(void)
{
	return (router_run("router_moves", add_tests));
}
