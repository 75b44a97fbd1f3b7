/*
 * router/ as a whole against played neighbours: connecting, what comes with a
 * session, shutdown, and a storm.
 */

#include "regress/unit/router_fixture.h"

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

/* So many apps connect. */
static void
crowd_connect(struct app_player *players, size_t count)
{
	size_t i;

	world.config.limits.sessions = 200;
	crowd = players;
	crowd_count = count;
	for (i = 0; i < count; i++) {
		app_make_keys(&crowd[i], (uint8_t)(10 + i));
		app_connect(&crowd[i], 0);
	}
}

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

/* A crowd is not sent away at once: it would fall upon the other nodes. Some
 * are, and no more than in proportion to a quarter of the grace. */
START_TEST(test_shutdown_is_spread)
{
	static struct app_player many[100];
	const size_t count = sizeof(many) / sizeof(many[0]);
	int64_t spread = CLOCK_SECOND, before;
	size_t told, i;

	world_begin();
	crowd_connect(many, count);
	before = clock_monotonic();
	world.hooks->shutdown(4 * spread);
	for (told = crowd_told();; told += crowd_told()) {
		ck_assert_uint_ge(told, 32);
		ck_assert_uint_le(
		    told, 32 + count * (size_t)(clock_monotonic() - before) /
				   (size_t)spread);
		if (told == count)
			break;
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
	}
	for (i = 0; i < count; i++)
		stream_close(crowd[i].stream);
	while (!world.done)
		ck_assert_int_eq(event_base_loop(world.base, EVLOOP_ONCE), 0);
}
END_TEST

/* An attestation is over when it is so by every clock that may be. */
START_TEST(test_attestation_over)
{
	struct session *session;
	Frame *frame;

	world_begin();
	app_connect(&alice, 0);
	ck_assert_ptr_nonnull(session = session_next(NULL));
	session->attestation.expires_at = clock_wall() - 50 * CLOCK_SECOND;
	session_tick(clock_monotonic());
	ck_assert_int_eq(alice.stream->finished, 0);
	session->attestation.expires_at -= 11 * CLOCK_SECOND;
	session_tick(clock_monotonic());
	frame = EXPECT(&alice, GO_AWAY);
	ck_assert_str_eq(frame->go_away->reason, "expired");
	frame_free(frame);
	ck_assert_int_eq(alice.stream->finished, 1);
	ck_assert_int_eq(alice.stream->status, RPC_UNAUTHENTICATED);
}
END_TEST

/* Of many idle apps those that were looked at longest ago are, and all are. */
START_TEST(test_idle_crowd)
{
	static struct app_player many[100];
	const size_t count = sizeof(many) / sizeof(many[0]);
	const int64_t later = clock_monotonic() + 3600 * CLOCK_SECOND;
	uint32_t left;
	size_t i;

	world_begin();
	crowd_connect(many, count);
	session_tick(later);
	ck_assert_uint_eq(session_count(), count);
	world.config.limits.session_idle = 60 * CLOCK_SECOND;
	session_tick(later);
	left = session_count();
	ck_assert_uint_gt(left, 0);
	ck_assert_uint_lt(left, count);
	session_tick(later);
	ck_assert_uint_eq(session_count(), 0);
	for (i = 0; i < count; i++)
		ck_assert_int_eq(many[i].stream->status, RPC_OK);
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
	ck_assert_uint_eq(app_find(alice.key)->kept, 0);
	ck_assert_uint_eq(app_find(bob.key)->kept, 0);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, test_connect);
	tcase_add_test(tcase, test_connect_refused);
	tcase_add_test(tcase, test_connect_limits);
	tcase_add_test(tcase, test_connect_timeout);
	tcase_add_test(tcase, test_replace);
	tcase_add_test(tcase, test_v1);
	tcase_add_test(tcase, test_find);
	tcase_add_test(tcase, test_frames);
	tcase_add_test(tcase, test_shutdown);
	tcase_add_test(tcase, test_shutdown_is_spread);
	tcase_add_test(tcase, test_attestation_over);
	tcase_add_test(tcase, test_idle_crowd);
	tcase_add_test(tcase, test_L36_moved);
	tcase_add_loop_test(tcase, test_storm, 0, 30);
}

int
main(void)
{
	return (router_run("router", add_tests));
}
