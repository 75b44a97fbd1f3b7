/*
 * router/ as a whole against played neighbours: apps and nodes that are away
 * and come back, rekeys.
 */

#include <malloc.h>
#include <stdio.h>

#include "regress/unit/router_fixture.h"

#define STUCK 100 /* chats of an app that does not read */

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
		/* The router before this one died before it told bob. */
		record.reset = (uint32_t)i;
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
	app_expect_status(&bob, "reset");
	ck_assert_uint_eq(played.resets_told, 1);
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

static unsigned int
acks_heard(struct app_player *app)
{
	unsigned int count = 0;
	Frame *frame;

	while ((frame = app_hear(app->stream)) != NULL) {
		count += frame->body_case ==
			 APPROUTER__V1__APP_FRAME__BODY_CHAT_MESSAGE_ACK;
		frame_free(frame);
	}
	return (count);
}

/* An app that reads nothing, of however many chats, costs others' messages
 * nothing; nor is it forgotten. */
START_TEST(test_stuck)
{
	unsigned int i, count = 0;
	char id[16];

	world_begin();
	world.config.limits.chats_per_app = STUCK + 1;
	app_connect(&alice, 0);
	app_connect(&bob, 1);
	app_connect(&carol, 1);
	app_start_chat(&alice, &carol, "c", 0);
	bob.stream->queued = 1 << 20;
	for (i = 0; i < STUCK; i++) {
		(void)snprintf(id, sizeof(id), "b%u", i);
		app_start_chat(&alice, &bob, id, 0);
		app_send(&alice, id, 1);
	}
	event_base_loop(world.base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(acks_heard(&alice), 0);
	unsent_looks = 0;
	carol.stream->queued = 1;
	app_send(&alice, "c", 1);
	carol.stream->queued = 0;
	event_base_loop(world.base, EVLOOP_NONBLOCK);
	play();
	ck_assert_uint_eq(acks_heard(&alice), 1);
	ck_assert_uint_lt(unsent_looks, STUCK / 2);
	bob.stream->queued = 0;
	while (count < STUCK) {
		event_base_loop(world.base, EVLOOP_ONCE);
		play();
		count += acks_heard(&alice);
	}
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, test_peer_away);
	tcase_add_test(tcase, test_sender_away);
	tcase_add_test(tcase, test_reset_while_away);
	tcase_add_test(tcase, test_records);
	tcase_add_test(tcase, test_tieline);
	tcase_add_test(tcase, test_resumes_in_line);
	tcase_add_test(tcase, test_idle_sides_are_small);
	tcase_add_loop_test(tcase, test_revoked, 0, 2);
	tcase_add_test(tcase, test_rekey);
	tcase_add_test(tcase, test_stuck);
}

int
main(void)
{
	return (router_run("router_absence", add_tests));
}
