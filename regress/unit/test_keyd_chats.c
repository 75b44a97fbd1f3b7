/*
 * Two chat engines of keyd against each other: set-up, resume, deletion, and
 * anything in any order.
 */

#include "common/ipc/codes.h"
#include "common/util/metrics.h"
#include "regress/unit/chat_rig.h"

/* --- set-up ------------------------------------------------------------- */

START_TEST(one_starts_the_other_accepts)
{
	int i;

	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->readies, 0);
	ck_assert_int_eq(b->offers, 1);
	ck_assert_uint_eq(b->last_offer.version, 1);
	ck_assert_str_eq(b->last_offer.chat_id, pair.chat_id);
	ck_assert_mem_eq(b->last_offer.peer_app, a->app, KEY_SIZE);
	ck_assert_mem_eq(b->offer_tail, "start of 0", 10);
	pair_start(&pair, 1, 1, 0);
	ck_assert_int_eq(b->readies, 1);
	ck_assert_uint_eq(b->last_ready.first, 1);
	ck_assert_uint_eq(b->last_ready.resumed, 1);
	pair_run(&pair);
	ck_assert_int_eq(a->readies, 1);
	ck_assert_uint_eq(a->last_ready.first, 1);
	/* The peer's StartChat gets to the one who began, too. */
	ck_assert_int_eq(a->offers, 1);
	ck_assert_mem_eq(a->offer_tail, "start of 1", 10);
	assert_works(1);
	ck_assert_int_eq(a->readies + b->readies, 2);
	/* What both did is counted, and that is no rekey. */
	ck_assert_uint_eq(metrics[METRIC_RATCHET_ADVANCES_SEND].value, 2);
	ck_assert_uint_eq(metrics[METRIC_RATCHET_ADVANCES_RECEIVE].value, 2);
	ck_assert_uint_eq(pair_chat(&pair, 0)->sent, 1);
	ck_assert_uint_eq(pair_chat(&pair, 1)->received, 1);
	ck_assert_uint_eq(
	    metrics[METRIC_RATCHET_RECOVERIES_RECOVERED].value, 0);
	for (i = METRIC_REKEYS_ATTEMPT_APP; i < METRIC_REKEYS_STALE_APP; i++)
		ck_assert_msg(metrics[i].value == 0, "metric %d", i);
}
END_TEST

START_TEST(both_start_at_once)
{
	pair_start(&pair, 0, 0, 0);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	ck_assert_int_ge(a->readies, 1);
	ck_assert_int_ge(b->readies, 1);
	assert_works(1);
}
END_TEST

START_TEST(both_sides_on_one_node)
{
	/* The mesh loops everything back: both sides in one engine. */
	struct ipc_chat_start start;
	struct chat_key lo = pair_key(&pair, 0);
	struct chat_key hi = pair_key(&pair, 1);
	struct ipc_setup setup;
	struct ipc_seal seal = { .key = lo, .sequence = 1 };
	struct frame frame;
	int i;

	for (i = 0; i < 2; i++) {
		pair_start_fill(&pair, i, &start);
		memcpy(b->key, a->key, KEY_SIZE);
		pair_attest(a, pair.now, i == 0 ? &start.local : &start.peer);
		pair_attest(b, pair.now, i == 0 ? &start.peer : &start.local);
		chats_set_now(a->chats, pair.now);
		chats_start(a->chats, &start, NULL, 0);
		ck_assert_int_eq(chats_commit(a->chats), 0);
		ck_assert_int_eq(a->errors, 0);
		ck_assert_uint_eq(a->out_count, 1);
		setup = a->out[0].setup;
		a->out_count = 0;
		setup.key.side ^= 1;
		pair_attest(i == 0 ? a : b, pair.now, &setup.peer);
		chats_setup_in(a->chats, &setup, NULL, 0);
		ck_assert_int_eq(chats_commit(a->chats), 0);
	}
	ck_assert_int_eq(a->readies, 2);
	chats_seal(a->chats, &seal, (const uint8_t *)"hello", 5);
	ck_assert_int_eq(chats_commit(a->chats), 0);
	frame = a->out[0];
	frame.sealed.key.side ^= 1;
	ck_assert_mem_eq(&frame.sealed.key, &hi, sizeof(hi));
	chats_open(a->chats, &frame.sealed, frame.tail, frame.tail_length);
	ck_assert_uint_eq(a->opened_length, 5);
	ck_assert_mem_eq(a->opened, "hello", 5);
}
END_TEST

START_TEST(versions_of_a_new_chat)
{
	pair_start(&pair, 0, 2, 0);
	ck_assert_uint_eq(a->last_error.code, CODE_INVALID_FRAME);
	ck_assert_uint_eq(a->last_error.expected, 1);
	pair_start(&pair, 0, UINT32_MAX, 0);
	ck_assert_uint_eq(a->last_error.code, CODE_INVALID_FRAME);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	pair_start(&pair, 0, 1, 0);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
}
END_TEST

/* Of whose end nobody here knows: begin above it, but not without end. */
START_TEST(a_peer_that_remembers_more_is_begun_above)
{
	struct ipc_teardown teardown = { .status = STATUS_DELETED };
	uint32_t i;

	pair_start(&pair, 0, 0, 0);
	pair_drop(&pair);
	teardown.key = pair_key(&pair, 0);
	memcpy(teardown.node, b->key, KEY_SIZE);
	for (i = 1; i <= 4; i++) {
		teardown.version = 5 * i;
		chats_teardown_in(a->chats, &teardown);
		pair_commit(&pair, 0);
		ck_assert_uint_eq(
		    chat_offered(pair_chat(&pair, 0)), 5 * (i < 3 ? i : 3) + 1);
	}
	ck_assert_uint_eq(a->last_setup.offer.version, 16);
	ck_assert_int_eq(a->ends, 0);
}
END_TEST

/* Its app is at another node by now: that one is asked. */
START_TEST(an_offer_of_where_the_peer_was_is_not_accepted)
{
	struct ipc_chat_start start;
	struct node third = *b;

	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->offers, 1);
	(void)crypto_sign_keypair(third.key, third.secret);
	pair_start_fill(&pair, 0, &start);
	pair_attest(&third, pair.now, &start.peer);
	pair_start_message(&pair, 0, &start);
	ck_assert_int_eq(a->readies, 0);
	ck_assert_uint_eq(pair_chat(&pair, 0)->version, 0);
	ck_assert_mem_eq(a->last_setup.node, third.key, KEY_SIZE);
	ck_assert_uint_eq(a->last_setup.answer, 0);
	ck_assert_uint_eq(a->chats->waiting.count, 0);
}
END_TEST

/* The router, which asks again, does not repeat the app's StartChat. */
START_TEST(an_offer_lost_comes_with_its_start)
{
	pair_start(&pair, 0, 0, 0);
	pair_drop(&pair);
	pair_resume(&pair, 0);
	pair_run(&pair);
	ck_assert_int_eq(b->offers, 1);
	ck_assert_uint_eq(b->offer_tail_length, 10);
	ck_assert_mem_eq(b->offer_tail, "start of 0", 10);
}
END_TEST

START_TEST(an_answer_lost_is_made_up_for)
{
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	pair_start(&pair, 1, 0, 0);
	pair_drop(&pair); /* b is at 1, a is not */
	pair_resume(&pair, 0);
	pair_resume(&pair, 1);
	pair_run(&pair);
	assert_works(1);
}
END_TEST

START_TEST(an_answer_lost_and_the_answerer_killed)
{
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	pair_start(&pair, 1, 0, 0);
	pair_drop(&pair);
	pair_restart(&pair, 1);
	pair_resume(&pair, 1);
	pair_resume(&pair, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

/* What was only opened is written with something else, or by and by. */
START_TEST(opening_waits_for_another_commit)
{
	const uint64_t *written = &metrics[METRIC_STORE_TRANSACTIONS].value;
	uint64_t before;

	pair_ready(&pair);
	assert_works(1);
	before = *written;
	pair_say(&pair, 0); /* written before it may leave */
	ck_assert_uint_eq(*written, before + 1);
	ck_assert_int_eq(pair_step(&pair, 1), 1);
	ck_assert_uint_eq(b->delivered, 2);
	ck_assert_uint_eq(*written, before + 1);
	pair_tick(&pair, 1);
	ck_assert_uint_eq(*written, before + 2);
	pair_say(&pair, 0);
	ck_assert_int_eq(pair_step(&pair, 1), 1);
	pair_say(&pair, 1);
	ck_assert_uint_eq(*written, before + 4);
	pair_tick(&pair, 1); /* that took it along */
	ck_assert_uint_eq(*written, before + 4);
}
END_TEST

/* --- resume ------------------------------------------------------------- */

/* What a router resumes the app has not said that it has. */
START_TEST(who_resumes_after_a_restart)
{
	pair_ready(&pair);
	ck_assert_uint_ne(pair_chat(&pair, 0)->claim, 0);
	pair_restart(&pair, 0);
	pair_resume(&pair, 0);
	ck_assert_uint_eq(pair_chat(&pair, 0)->claim, 0);
	ck_assert_uint_eq(a->last_setup.cause, CAUSE_RESUME);
	pair_start(&pair, 0, 0, 0);
	ck_assert_uint_ne(pair_chat(&pair, 0)->claim, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

START_TEST(a_broken_stream_keeps_the_epoch)
{
	pair_ready(&pair);
	assert_works(1);
	pair_say(&pair, 0);
	pair_say(&pair, 0);
	pair_drop(&pair);
	pair_resume(&pair, 0);
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 3);
	assert_works(1);
	ck_assert_uint_eq(a->last_ready.resumed, 1);
	ck_assert_uint_eq(a->last_ready.first, 0);
}
END_TEST

START_TEST(l40_retries_after_a_kill_are_idempotent)
{
	int kill = _i;

	pair_ready(&pair);
	assert_works(1);
	pair_say(&pair, 0); /* accepted, then lost */
	pair_drop(&pair);
	pair_restart(&pair, kill);
	pair_resume(&pair, 0);
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 2);
	assert_works(2);
	ck_assert_int_eq(a->ends + b->ends, 0);
}
END_TEST

START_TEST(after_a_restart_no_old_key_is_there)
{
	struct chat *chat;

	pair_ready(&pair);
	assert_works(1);
	pair_restart(&pair, 0);
	chat = pair_chat(&pair, 0);
	ck_assert_uint_eq(chat->version, 1);
	ck_assert_uint_eq(chat->accepted, 1);
	ck_assert_uint_eq(chat->ratchet.version, 0);
	ck_assert(sodium_is_zero(chat->ratchet.secrets->send, KEY_SIZE));
	ck_assert(sodium_is_zero(chat->ratchet.secrets->receive, KEY_SIZE));
	/* Sealing waits for the next epoch. */
	pair_say_sequence(&pair, 0, 2);
	ck_assert_uint_eq(b->count, 0);
	/* Only the other side resumes: that is enough. */
	pair_resume(&pair, 1);
	pair_run(&pair);
	assert_works(2);
	ck_assert_uint_eq(b->last_ready.cause, CAUSE_RESUME);
	ck_assert_uint_eq(b->last_ready.resumed, 1);
	ck_assert_int_eq(a->last_ready.cause, CAUSE_RESUME);
}
END_TEST

START_TEST(router_restart_gets_every_chat)
{
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	b->offers = 0;
	b->offer_tail_length = 0;
	chats_report(a->chats);
	ck_assert_int_eq(a->records, 1);
	chats_report(b->chats);
	ck_assert_int_eq(b->records, 0);
	ck_assert_int_eq(b->offers, 1);
	ck_assert_uint_eq(b->offer_tail_length, 10);
	chats_show(a->chats, 7);
	ck_assert_int_eq(a->rows, 1);
}
END_TEST

/* --- ends --------------------------------------------------------------- */

START_TEST(l07_a_deleted_chat_leaves_its_floor)
{
	struct ipc_setup old;

	pair_start(&pair, 0, 0, 0);
	old = a->last_setup;
	pair_run(&pair);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_run(&pair);
	assert_works(2);
	pair_end(&pair, 0, STATUS_DELETED);
	ck_assert_uint_eq(a->last_end.status, STATUS_DELETED);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	ck_assert_ptr_null(pair_chat(&pair, 1));
	/* Both remember, also after a restart. */
	pair_restart(&pair, 0);
	pair_restart(&pair, 1);
	pair_start(&pair, 0, 1, 0);
	ck_assert_uint_eq(a->last_error.code, CODE_REPLAYED_KEY);
	ck_assert_uint_eq(a->last_error.expected, 3);
	pair_start(&pair, 1, 2, 0);
	ck_assert_uint_eq(b->last_error.code, CODE_REPLAYED_KEY);
	b->offers = 0;
	pair_take_setup(&pair, 1, &old, NULL, 0);
	pair_commit(&pair, 1);
	ck_assert_int_eq(b->offers, 0);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_refused.code, CODE_REPLAYED_KEY);
	ck_assert_uint_eq(a->last_refused.expected, 3);
	a->next = b->next = 1;
	a->acked = b->acked = a->delivered = b->delivered = 0;
	pair_start(&pair, 0, 3, 0);
	pair_run(&pair);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	assert_works(3);
}
END_TEST

START_TEST(tombstones_end_with_the_key_lifetime)
{
	pair_ready(&pair);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	pair.now += a->config.rekey.key_lifetime + 1;
	pair_tick(&pair, 0);
	ck_assert_uint_eq(a->chats->tombstones.count, 0);
	pair_restart(&pair, 0);
	ck_assert_uint_eq(a->chats->tombstones.count, 0);
	pair_start(&pair, 0, 1, 0);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
}
END_TEST

/* Who deletes chats without end does not keep others from new ones; but what
 * is to be remembered for ever is. */
START_TEST(the_oldest_tombstones_make_room)
{
	struct chat_key key = { .side = CHAT_LO };
	struct tombstone *tombstone;
	size_t i, cursor = 0;

	pair_tick(&pair, 0);
	a->config.rekey.key_lifetime = 0;
	for (i = 0; i < TOMBSTONES_MAX; i++) {
		memcpy(key.handle, &i, sizeof(i));
		tombstone_raise(a->chats, &key, 1, STATUS_DELETED, no_instance);
	}
	pair_start(&pair, 0, 0, 0);
	ck_assert_uint_eq(a->last_error.code, CODE_LIMIT_REACHED);
	ck_assert_uint_eq(a->chats->tombstones.count, TOMBSTONES_MAX);
	for (i = 0; (tombstone = table_next(&a->chats->tombstones, &cursor));)
		tombstone->until = pair.now + (int64_t)++i;
	cursor = 0;
	((struct tombstone *)table_next(&a->chats->tombstones, &cursor))
	    ->until = INT64_MAX;
	pair_start(&pair, 0, 0, 0);
	ck_assert_int_eq(a->errors, 1);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
	/* A small part of them went, those that would have gone first. */
	i = TOMBSTONES_MAX - a->chats->tombstones.count;
	ck_assert_uint_gt(i, 0);
	ck_assert_uint_lt(i, TOMBSTONES_MAX / 16);
	for (cursor = 0;
	     (tombstone = table_next(&a->chats->tombstones, &cursor));)
		ck_assert_int_gt(tombstone->until, pair.now + (int64_t)i);
}
END_TEST

START_TEST(a_deletion_that_was_missed_is_told_on_resume)
{
	pair_ready(&pair);
	assert_works(1);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_drop(&pair);
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	ck_assert_uint_eq(tombstone_floor(b->chats, &a->last_end.key), 0);
}
END_TEST

START_TEST(what_crosses_the_end_begins_no_chat)
{
	static const uint32_t flags[] = { CHAT_RESUME,
		CHAT_RESUME | CHAT_REKEY };
	size_t i;

	pair_ready(&pair);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	/* The router of b asked before it read that. */
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		pair_start(&pair, 1, 0, flags[i]);
		ck_assert_ptr_null(pair_chat(&pair, 1));
		ck_assert_int_eq(b->errors, 0);
		ck_assert_int_eq(a->count, 0);
	}
	/* Nor does it accept the one that a begins. */
	b->offers = b->readies = 0;
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(b->offers, 1);
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	ck_assert_int_eq(b->readies, 0);
	a->next = b->next = 1;
	a->acked = b->acked = a->delivered = b->delivered = 0;
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

START_TEST(an_offer_that_crosses_the_end_is_of_no_new_chat)
{
	pair_ready(&pair);
	a->offers = 0;
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	ck_assert_int_eq(a->offers, 0);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	ck_assert_ptr_null(pair_chat(&pair, 1));
}
END_TEST

START_TEST(a_deletion_that_was_missed_gives_way_to_a_new_chat)
{
	pair_ready(&pair);
	assert_works(1);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_drop(&pair);
	a->next = 1;
	a->acked = a->delivered = 0;
	b->offers = 0;
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_int_eq(b->offers, 1);
	b->next = 1;
	b->acked = b->delivered = 0;
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

/* Its offer for the version that the new chat begins with went nowhere. */
START_TEST(a_deletion_that_was_missed_by_one_who_rekeys)
{
	pair_ready(&pair);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_drop(&pair);
	pair_start(&pair, 1, 0, CHAT_REKEY);
	ck_assert_uint_eq(chat_offered(pair_chat(&pair, 1)), 2);
	pair_drop(&pair);
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

START_TEST(an_app_may_refuse_an_offer)
{
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	pair_end(&pair, 1, STATUS_DELETED);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	/* And the offerer may take it back. */
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->chats->waiting.count, 1);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	ck_assert_uint_eq(b->chats->waiting.count, 0);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
}
END_TEST

START_TEST(l16_only_the_peers_node_tears_down)
{
	struct ipc_teardown teardown = { .status = STATUS_DELETED };

	pair_ready(&pair);
	teardown.key = pair_key(&pair, 0);
	teardown.version = 1;
	memset(teardown.node, 7, KEY_SIZE);
	chats_teardown_in(a->chats, &teardown);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
	/* One of an earlier chat of that name does not count. */
	memcpy(teardown.node, b->key, KEY_SIZE);
	teardown.version = 0;
	chats_teardown_in(a->chats, &teardown);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
	assert_works(1);
}
END_TEST

START_TEST(lifetime_and_idleness_end_chats)
{
	pair_ready(&pair);
	assert_works(1);
	pair.now += a->config.rekey.key_lifetime + 1;
	pair_tick(&pair, 0);
	ck_assert_uint_eq(a->last_end.status, STATUS_REKEY_REQUIRED);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_end.status, STATUS_REKEY_REQUIRED);
	a->config.keystore.chat_idle = 60 * INT64_C(1000000000);
	pair_ready(&pair);
	pair.now += a->config.keystore.chat_idle + 1;
	pair_tick(&pair, 0);
	ck_assert_uint_eq(a->last_end.status, STATUS_EXPIRED);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_end.status, STATUS_EXPIRED);
}
END_TEST

/* --- anything in any order ---------------------------------------------- */

static uint64_t chaos_state;

static uint32_t
chaos_random(void)
{
	/* xorshift: a seed gives the same run again. */
	chaos_state ^= chaos_state << 13;
	chaos_state ^= chaos_state >> 7;
	chaos_state ^= chaos_state << 17;
	return ((uint32_t)(chaos_state >> 32));
}

/*
 * Rekeys, messages, lost streams, doubled frames, kills, in random order:
 * in the end both are at one version and every message came once.
 */
static void
chaos_event(int step)
{
	int who = (int)(chaos_random() % 2);
	struct node *node = &pair.nodes[who];
	struct frame frame;

	(void)step;
	switch (chaos_random() % 24) {
	case 0:
		pair_start(&pair, who, 0, CHAT_REKEY);
		break;
	case 1:
		pair_drop(&pair);
		pair_resume(&pair, who);
		pair_resume(&pair, 1 - who);
		break;
	case 2:
		pair_restart(&pair, who);
		pair_drop(&pair);
		pair_resume(&pair, who);
		pair_resume(&pair, 1 - who);
		break;
	case 3:
		/* The frame at the head comes again, at the end. */
		if (node->count > 0 && node->count < PAIR_WIRE / 2 &&
		    node->wire[node->first].kind == FRAME_SETUP) {
			frame = node->wire[node->first];
			node->wire[(node->first + node->count++) % PAIR_WIRE] =
			    frame;
		}
		break;
	case 4:
		pair.now += INT64_C(4000000000);
		pair_tick(&pair, who);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		if (node->ready && node->again == 0)
			pair_say(&pair, who);
		break;
	default:
		(void)pair_step(&pair, who);
		(void)pair_say_again(&pair, who);
	}
}

START_TEST(l41_anything_in_any_order_converges)
{
	int round, step;

	chaos_state = 88172645463325252u + (uint64_t)_i * 7919;
	for (round = 0; round < 4; round++) {
		pair_ready(&pair);
		for (step = 0; step < 300; step++)
			chaos_event(step);
		pair.now += INT64_C(40000000000);
		pair_drop(&pair);
		pair_resume(&pair, 0);
		pair_resume(&pair, 1);
		pair_run(&pair);
		ck_assert_int_eq(a->ends + b->ends, 0);
		ck_assert_uint_eq(b->delivered, a->next - 1);
		ck_assert_uint_eq(a->delivered, b->next - 1);
		assert_works(pair_chat(&pair, 0)->version);
		ck_assert_uint_eq(
		    metrics[METRIC_RATCHET_RECOVERIES_ATTEMPT].value, 0);
		pair_end(&pair, 0, STATUS_DELETED);
		pair_run(&pair);
		a->ends = b->ends = 0;
		a->next = b->next = 1;
		a->acked = b->acked = a->delivered = b->delivered = 0;
	}
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, one_starts_the_other_accepts);
	tcase_add_test(tcase, both_start_at_once);
	tcase_add_test(tcase, both_sides_on_one_node);
	tcase_add_test(tcase, versions_of_a_new_chat);
	tcase_add_test(tcase, a_peer_that_remembers_more_is_begun_above);
	tcase_add_test(tcase, an_offer_of_where_the_peer_was_is_not_accepted);
	tcase_add_test(tcase, an_offer_lost_comes_with_its_start);
	tcase_add_test(tcase, an_answer_lost_is_made_up_for);
	tcase_add_test(tcase, opening_waits_for_another_commit);
	tcase_add_test(tcase, an_answer_lost_and_the_answerer_killed);
	tcase_add_test(tcase, who_resumes_after_a_restart);
	tcase_add_test(tcase, a_broken_stream_keeps_the_epoch);
	tcase_add_loop_test(
	    tcase, l40_retries_after_a_kill_are_idempotent, 0, 2);
	tcase_add_test(tcase, after_a_restart_no_old_key_is_there);
	tcase_add_test(tcase, router_restart_gets_every_chat);
	tcase_add_test(tcase, l07_a_deleted_chat_leaves_its_floor);
	tcase_add_test(tcase, tombstones_end_with_the_key_lifetime);
	tcase_add_test(tcase, the_oldest_tombstones_make_room);
	tcase_add_test(tcase, a_deletion_that_was_missed_is_told_on_resume);
	tcase_add_test(tcase, what_crosses_the_end_begins_no_chat);
	tcase_add_test(tcase, an_offer_that_crosses_the_end_is_of_no_new_chat);
	tcase_add_test(
	    tcase, a_deletion_that_was_missed_gives_way_to_a_new_chat);
	tcase_add_test(tcase, a_deletion_that_was_missed_by_one_who_rekeys);
	tcase_add_test(tcase, an_app_may_refuse_an_offer);
	tcase_add_test(tcase, l16_only_the_peers_node_tears_down);
	tcase_add_test(tcase, lifetime_and_idleness_end_chats);
	tcase_add_loop_test(tcase, l41_anything_in_any_order_converges, 0, 6);
}

int
main(void)
{
	return (rig_run("keyd_chats", add_tests));
}
