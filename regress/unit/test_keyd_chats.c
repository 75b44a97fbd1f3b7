/*
 * Two chat engines of keyd against each other: set-up, resume, rekey,
 * recovery, deletion, and what a hostile peer or process may not do.
 */

#include "common/ipc/codes.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/secret.h"
#include "regress/unit/chat_rig.h"
#include "regress/unit/suite.h"

/* --- set-up ------------------------------------------------------------- */

START_TEST(one_starts_the_other_accepts)
{
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

/* --- rekey -------------------------------------------------------------- */

START_TEST(a_rekey_loses_nothing_on_its_way)
{
	int i;

	pair_ready(&pair);
	for (i = 0; i < 3; i++)
		pair_say(&pair, i % 2);
	pair_start(&pair, 0, 2, CHAT_REKEY);
	for (i = 0; i < 6; i++)
		pair_say(&pair, i % 2);
	pair_step(&pair, 1);
	pair_step(&pair, 1);
	for (i = 0; i < 6; i++)
		pair_say(&pair, i % 2);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, a->next - 1);
	ck_assert_uint_eq(a->delivered, b->next - 1);
	ck_assert_uint_eq(a->doubles + b->doubles, 0);
	ck_assert_uint_eq(a->gaps + b->gaps, 0);
	ck_assert_uint_eq(a->last_ready.cause, CAUSE_APP);
	ck_assert_uint_eq(a->last_ready.resumed, 0);
	assert_works(2);
}
END_TEST

START_TEST(l09_both_rekey_at_the_same_instant)
{
	pair_ready(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_say(&pair, 0);
	pair_say(&pair, 1);
	pair_run(&pair);
	assert_works(2);
	ck_assert_int_eq(pair_chat(&pair, 0)->rekeys, 1);
	ck_assert_int_eq(pair_chat(&pair, 1)->rekeys, 1);
	ck_assert_uint_eq(a->doubles + b->doubles, 0);
}
END_TEST

START_TEST(rekey_versions_are_checked)
{
	pair_ready(&pair);
	pair_start(&pair, 0, 1, CHAT_REKEY);
	ck_assert_uint_eq(a->last_error.code, CODE_REPLAYED_KEY);
	ck_assert_uint_eq(a->last_error.expected, 2);
	pair_start(&pair, 0, 3, CHAT_REKEY);
	ck_assert_uint_eq(a->last_error.code, CODE_INVALID_FRAME);
	ck_assert_uint_eq(a->last_error.expected, 2);
	pair_start(&pair, 0, UINT32_MAX, CHAT_REKEY); /* L10 */
	ck_assert_uint_eq(a->last_error.code, CODE_INVALID_FRAME);
	pair_start(&pair, 0, 2, 0);
	ck_assert_uint_eq(a->last_error.code, CODE_INVALID_FRAME);
	ck_assert_int_eq(a->errors, 4);
	pair_start(&pair, 0, 2, CHAT_REKEY);
	pair_run(&pair);
	assert_works(2);
	pair_start(&pair, 0, 1, 0);
	ck_assert_uint_eq(a->last_error.code, CODE_REPLAYED_KEY);
}
END_TEST

START_TEST(rekeys_are_throttled_in_a_sliding_window)
{
	int i;

	pair_ready(&pair);
	for (i = 0; i < 3; i++) {
		pair_start(&pair, 0, 0, CHAT_REKEY);
		pair_run(&pair);
		pair.now += INT64_C(5000000000);
	}
	ck_assert_int_eq(a->errors, 0);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	ck_assert_uint_eq(a->last_error.code, CODE_REKEY_THROTTLED);
	ck_assert_int_eq(a->last_error.retry_after, INT64_C(15000000000));
	/* The other app has a window of its own. */
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_run(&pair);
	ck_assert_int_eq(b->errors, 0);
	pair.now += INT64_C(15000000000);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_run(&pair);
	ck_assert_int_eq(a->errors, 1);
	assert_works(6);
}
END_TEST

START_TEST(app_keys_are_told_apart)
{
	struct ipc_chat_start start;

	pair_start_fill(&pair, 0, &start);
	start.flags = CHAT_HAS_KEY;
	memset(start.app_key, 1, KEY_SIZE);
	pair_start_message(&pair, 0, &start);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_offer.flags, CHAT_HAS_KEY);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	start.app_key[0] = 2;
	start.version = 1;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_KEY_MISMATCH);
	start.app_key[0] = 1;
	pair_start_message(&pair, 0, &start);
	ck_assert_int_eq(a->errors, 1);
	pair_run(&pair);
	/* The same key material again is no rekey. */
	start.flags = CHAT_HAS_KEY | CHAT_REKEY;
	start.version = 2;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_REPLAYED_KEY);
	start.app_key[0] = 2;
	pair_start_message(&pair, 0, &start);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_offer.flags, CHAT_HAS_KEY | CHAT_REKEY);
	assert_works(2);
}
END_TEST

/* The app a rekeys with the key that begins with byte. */
static void
rekey_with(uint8_t byte)
{
	struct ipc_chat_start start;

	pair_start_fill(&pair, 0, &start);
	start.flags = CHAT_HAS_KEY | CHAT_REKEY;
	memset(start.app_key, byte, KEY_SIZE);
	pair_start_message(&pair, 0, &start);
	pair_run(&pair);
	pair.now += INT64_C(60000000000);
}

/* Not only the last one; also after a restart. */
START_TEST(app_keys_of_the_last_versions_are_refused)
{
	uint8_t i;

	pair_ready(&pair);
	for (i = 1; i <= KEYS_REMEMBERED; i++)
		rekey_with(i);
	ck_assert_int_eq(a->errors, 0);
	assert_works(1 + KEYS_REMEMBERED);
	for (i = 1; i <= KEYS_REMEMBERED; i++) {
		rekey_with(i);
		ck_assert_uint_eq(a->last_error.code, CODE_REPLAYED_KEY);
		ck_assert_int_eq(a->errors, i);
	}
	pair_restart(&pair, 0);
	pair_resume(&pair, 0);
	pair_run(&pair);
	rekey_with(3);
	ck_assert_uint_eq(a->last_error.code, CODE_REPLAYED_KEY);
	ck_assert_int_eq(a->errors, KEYS_REMEMBERED + 1);
	rekey_with(200);
	ck_assert_int_eq(a->errors, KEYS_REMEMBERED + 1);
	assert_works(3 + KEYS_REMEMBERED);
}
END_TEST

/* An offer of the peer with a key that it used for a version long ago, as the
 * next version and as a reset. */
START_TEST(ephemerals_of_the_last_versions_are_refused)
{
	struct ipc_setup used[KEYS_REMEMBERED], again;
	uint32_t i, reset;
	int refusals;

	pair_ready(&pair);
	for (i = 0; i < KEYS_REMEMBERED; i++) {
		pair_start(&pair, 0, 0, CHAT_REKEY);
		used[i] = a->last_setup;
		pair_run(&pair);
		pair.now += INT64_C(60000000000);
	}
	assert_works(1 + KEYS_REMEMBERED);
	pair_restart(&pair, 1);
	pair_resume(&pair, 1);
	pair_run(&pair);
	assert_works(2 + KEYS_REMEMBERED);
	refusals = a->refusals;
	for (i = 1; i < KEYS_REMEMBERED; i++)
		for (reset = 0; reset < 2; reset++) {
			again = used[i];
			again.offer.version = 3 + KEYS_REMEMBERED;
			if (reset)
				again.offer.flags |= OFFER_RESET;
			ratchet_commit_link(
			    pair_chat(&pair, 0)->ratchet.secrets->link,
			    again.offer.link_commitment);
			sign_again(&again, a);
			pair_take_setup(&pair, 1, &again, NULL, 0);
			pair_commit(&pair, 1);
			pair_run(&pair);
			ck_assert_int_eq(a->refusals, ++refusals);
			ck_assert_uint_eq(
			    a->last_refused.code, CODE_REPLAYED_KEY);
		}
	assert_works(2 + KEYS_REMEMBERED);
}
END_TEST

START_TEST(age_count_and_operators_rekey)
{
	struct chat_key key = pair_key(&pair, 1);

	a->config.rekey.after_messages = 4;
	b->config.rekey.after_time = 3600 * INT64_C(1000000000);
	pair_ready(&pair);
	assert_works(1);
	assert_works(1);
	pair_say(&pair, 0);
	pair_say(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_ready.cause, CAUSE_COUNT);
	assert_works(2);
	pair.now += 3600 * INT64_C(1000000000);
	pair_tick(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_ready.cause, CAUSE_AGE);
	assert_works(3);
	ck_assert_uint_eq(chats_rekey(b->chats, &key), 1);
	pair_commit(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_ready.cause, CAUSE_OPERATOR);
	assert_works(4);
	ck_assert_uint_eq(chats_rekey(a->chats, NULL), 1);
	pair_commit(&pair, 0);
	pair_run(&pair);
	assert_works(5);
	key.handle[0] ^= 1;
	ck_assert_uint_eq(chats_rekey(b->chats, &key), 0);
}
END_TEST

/* What an idle chat costs in memory, beside its keys: room for 100,000 of
 * them is bounded by this. */
START_TEST(idle_chats_are_small)
{
	int i;

	ck_assert_uint_le(sizeof(struct chat), 352);
	ck_assert_uint_le(sizeof(struct ratchet_secrets), 160);
	pair_ready(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_run(&pair);
	pair_say(&pair, 0);
	pair_say(&pair, 1);
	pair_run(&pair);
	pair.now += a->config.rekey.window;
	for (i = 0; i < 2; i++) {
		pair_tick(&pair, i);
		ck_assert_ptr_null(pair_chat(&pair, i)->change);
		ck_assert_ptr_null(pair_chat(&pair, i)->tail);
	}
	/* What messages need is there, the rest comes back. */
	pair_say(&pair, 0);
	pair_say(&pair, 1);
	pair_run(&pair);
	ck_assert_ptr_null(pair_chat(&pair, 0)->change);
	ck_assert_ptr_null(pair_chat(&pair, 1)->change);
	pair_take_setup(&pair, 0, &b->last_setup, NULL, 0);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0)->change);
	pair_commit(&pair, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

/* The record of an idle chat cannot be read: nothing changes, it is tried
 * again. */
START_TEST(chats_that_cannot_be_read_stay)
{
	struct chat_key key = pair_key(&pair, 0);
	uint8_t record[SECRET_MAX];
	size_t length;

	pair_ready(&pair);
	pair.now += a->config.rekey.window;
	pair_tick(&pair, 0);
	ck_assert_int_eq(store_get(a->store, STORE_COLD, &key, sizeof(key),
			     record, sizeof(record), &length),
	    1);
	ck_assert_int_eq(
	    store_put(a->store, STORE_COLD, &key, sizeof(key), "short", 5), 0);
	ck_assert_int_eq(store_commit(a->store, 0), 0);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_error.code, CODE_LIMIT_REACHED);
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_refused.code, CODE_LIMIT_REACHED);
	ck_assert_uint_eq(pair_chat(&pair, 0)->version, 1);
	pair_say(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 1);
	ck_assert_int_eq(
	    store_put(a->store, STORE_COLD, &key, sizeof(key), record, length),
	    0);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

START_TEST(previous_epoch_closes_after_its_grace)
{
	pair_ready(&pair);
	assert_works(1);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_run(&pair);
	ck_assert_uint_eq(pair_chat(&pair, 1)->ratchet.previous_version, 1);
	pair_tick(&pair, 1);
	ck_assert_uint_eq(pair_chat(&pair, 1)->ratchet.previous_version, 1);
	pair.now += b->config.rekey.grace;
	pair_tick(&pair, 1);
	ck_assert_uint_eq(pair_chat(&pair, 1)->ratchet.previous_version, 0);
	assert_works(2);
}
END_TEST

START_TEST(an_offer_nobody_answered_is_sent_again)
{
	pair_ready(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_drop(&pair);
	pair.now += INT64_C(11000000000);
	pair_tick(&pair, 0);
	pair_run(&pair);
	assert_works(2);
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

/* --- divergence --------------------------------------------------------- */

static void
spoil(int index)
{
	pair_chat(&pair, index)->ratchet.secrets->send[0] ^= 1;
}

START_TEST(divergence_is_recovered_by_a_rekey)
{
	pair_ready(&pair);
	assert_works(1);
	spoil(0);
	pair_say(&pair, 0);
	pair_say(&pair, 0);
	pair_run(&pair);
	/* Both messages came through, after a rekey, told to both. */
	ck_assert_uint_eq(b->delivered, 3);
	ck_assert_uint_ge(metrics[METRIC_RATCHET_FAILURES_AEAD].value, 1);
	ck_assert_uint_eq(metrics[METRIC_RATCHET_RECOVERIES_ATTEMPT].value, 1);
	ck_assert_uint_ge(
	    metrics[METRIC_RATCHET_RECOVERIES_RECOVERED].value, 1);
	ck_assert_uint_eq(b->last_ready.cause, CAUSE_RECOVERY);
	ck_assert_uint_eq(a->last_ready.resumed, 1);
	assert_works(2);
}
END_TEST

START_TEST(divergence_without_end_fails_closed)
{
	int i;

	pair_ready(&pair);
	for (i = 0; i < 4; i++) {
		spoil(0);
		pair_say_sequence(&pair, 0, 1);
		pair_run(&pair);
	}
	ck_assert_uint_eq(b->last_end.status, STATUS_RATCHET_DESYNC);
	ck_assert_uint_eq(a->last_end.status, STATUS_RATCHET_DESYNC);
	ck_assert_uint_eq(
	    metrics[METRIC_RATCHET_RECOVERIES_THROTTLED].value, 1);
	ck_assert_uint_eq(metrics[METRIC_RATCHET_RECOVERIES_FAILED].value, 1);
	ck_assert_uint_eq(
	    metrics[METRIC_CHAT_ERASURES_RATCHET_DESYNC].value, 2);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	ck_assert_ptr_null(pair_chat(&pair, 1));
}
END_TEST

/* What a and b would seal next with, for each life of the nodes. */
static uint8_t used_chains[32][KEY_SIZE];
static size_t used_chain_count;

/* Both say something; each chain key must be new. */
static void
chains_are_new(void)
{
	size_t i, n;

	for (n = 0; n < 2; n++) {
		const struct chat *chat = pair_chat(&pair, (int)n);
		const uint8_t *chain = chat->ratchet.secrets->send;

		ck_assert(!sodium_is_zero(chain, KEY_SIZE));
		for (i = 0; i < used_chain_count; i++)
			ck_assert_mem_ne(used_chains[i], chain, KEY_SIZE);
		memcpy(used_chains[used_chain_count++], chain, KEY_SIZE);
	}
}

/*
 * The copy has an offer that nobody had answered: put back, it is answered as
 * it was in the life before, and that epoch must not be used again. a (1), b
 * (2) or both (3) go back; a, b or both had an offer out.
 */
START_TEST(l13_an_offer_in_an_old_copy_makes_no_key_twice)
{
	char copies[2][32] = { "/tmp/hermes-copy-XXXXXX",
		"/tmp/hermes-copy-XXXXXX" };
	int back = 1 + _i % 3, out = 1 + _i / 3, n;

	used_chain_count = 0;
	pair_ready(&pair);
	assert_works(1);
	chains_are_new();
	for (n = 0; n < 2; n++)
		if (out & (n + 1))
			pair_start(&pair, n, 0, CHAT_REKEY);
	pair_drop(&pair);
	for (n = 0; n < 2; n++) {
		ck_assert_ptr_nonnull(mkdtemp(copies[n]));
		pair_stop(&pair, n);
		pair_copy_folder(pair.nodes[n].folder, copies[n]);
		pair_start_node(&pair, n);
	}
	for (n = 0; n < 2; n++)
		pair_resume(&pair, n);
	pair_run(&pair);
	chains_are_new();
	assert_works(pair_chat(&pair, 0)->version);
	for (n = 0; n < 2; n++) {
		if (!(back & (n + 1)))
			continue;
		pair_stop(&pair, n);
		pair_copy_folder(copies[n], pair.nodes[n].folder);
		pair_start_node(&pair, n);
	}
	for (n = 0; n < 2; n++)
		pair_resume(&pair, n);
	pair_run(&pair);
	chains_are_new();
	for (n = 0; n < 2; n++)
		pair_remove_folder(copies[n], 1);
}
END_TEST

/* The peer has the epoch that is not used, and the offer after it is lost: it
 * is made again, with no word of an app. */
START_TEST(after_an_epoch_that_is_not_used_the_next_one_comes)
{
	pair_ready(&pair);
	assert_works(1);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_drop(&pair);
	pair_restart(&pair, 0);
	pair_resume(&pair, 0);
	while (pair_chat(&pair, 0)->version == 1)
		ck_assert(pair_step(&pair, 1) + pair_step(&pair, 0) > 0);
	ck_assert_uint_eq(pair_chat(&pair, 0)->ratchet.version, 0);
	ck_assert_uint_eq(pair_chat(&pair, 1)->ratchet.version, 2);
	pair_drop(&pair);
	pair.now += INT64_C(11000000000);
	pair_tick(&pair, 0);
	pair_run(&pair);
	assert_works(3);
}
END_TEST

/* The same with the very first offer. */
START_TEST(l13_a_first_offer_in_an_old_copy_makes_no_key_twice)
{
	char copy[] = "/tmp/hermes-copy-XXXXXX";

	used_chain_count = 0;
	ck_assert_ptr_nonnull(mkdtemp(copy));
	pair_start(&pair, 0, 0, 0);
	pair_drop(&pair);
	pair_stop(&pair, 0);
	pair_copy_folder(a->folder, copy);
	pair_start_node(&pair, 0);
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	chains_are_new();
	assert_works(pair_chat(&pair, 0)->version);
	pair_stop(&pair, 0);
	pair_copy_folder(copy, a->folder);
	pair_start_node(&pair, 0);
	pair_resume(&pair, 0);
	pair_resume(&pair, 1);
	pair_run(&pair);
	chains_are_new();
	pair_remove_folder(copy, 1);
}
END_TEST

START_TEST(l05_a_ciphertext_opens_once_and_only_where_it_belongs)
{
	struct frame frame;

	pair_ready(&pair);
	pair_say(&pair, 0);
	frame = b->wire[b->first];
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 1);
	/* A replay does nothing at all. */
	frame.sealed.key.side ^= 1;
	chats_open(b->chats, &frame.sealed, frame.tail, frame.tail_length);
	ck_assert_uint_eq(b->doubles, 0);
	ck_assert_uint_eq(metrics[METRIC_RATCHET_FAILURES_REPLAY].value, 1);
	ck_assert_uint_eq(chat_offered(pair_chat(&pair, 1)), 0);
	/* Unknown chats are no reason to panic. */
	frame.sealed.key.handle[3] ^= 1;
	chats_open(b->chats, &frame.sealed, frame.tail, frame.tail_length);
	frame.sealed.key.side = 9;
	chats_open(b->chats, &frame.sealed, frame.tail, 3);
	ck_assert_uint_eq(
	    metrics[METRIC_RATCHET_FAILURES_UNKNOWN_CHAT].value, 2);
	assert_works(1);
}
END_TEST

/* The router has a chat that keyd has not: it is told, for each message. */
START_TEST(without_a_chat_nothing_is_sealed_and_that_is_said)
{
	pair_ready(&pair);
	assert_works(1);
	pair_end(&pair, 0, STATUS_DELETED);
	ck_assert_int_eq(a->errors, 0);
	pair_say(&pair, 0);
	ck_assert_int_eq(a->errors, 1);
	ck_assert_uint_eq(a->last_error.code, CODE_RATCHET_FAILED);
	pair_say(&pair, 0);
	ck_assert_int_eq(a->errors, 2);
}
END_TEST

START_TEST(sequences_have_no_gap)
{
	pair_ready(&pair);
	pair_say_sequence(&pair, 0, 2);
	pair_say_sequence(&pair, 0, 0);
	ck_assert_uint_eq(b->count, 0);
	pair_say(&pair, 0);
	pair_say_sequence(&pair, 0, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 1);
	ck_assert_uint_eq(b->doubles, 1);
	ck_assert_uint_eq(pair_chat(&pair, 0)->accepted, 1);
}
END_TEST

/* Whoever has an old store or all of the mesh, but not the node's identity,
 * resets nothing; the node itself does, and both apps hear of it. */
START_TEST(l12_resets_are_signed_and_seen)
{
	uint8_t key[KEY_SIZE], secret[64], own[64];
	struct ipc_setup setup;
	int resets;

	pair_ready(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	setup = a->last_setup;
	pair_run(&pair);
	assert_works(2);
	resets = a->resets + b->resets;
	setup.offer.version = 3;
	setup.offer.flags |= OFFER_RESET;
	setup.offer.ephemeral[0] ^= 1;
	ratchet_commit_link(
	    (const uint8_t[KEY_SIZE]){ 0 }, setup.offer.link_commitment);
	/* As it was signed for something else; by another key. */
	b->refusals = 0;
	pair_take_setup(&pair, 1, &setup, NULL, 0);
	pair_commit(&pair, 1);
	(void)crypto_sign_keypair(key, secret);
	memcpy(own, a->secret, sizeof(own));
	memcpy(a->secret, secret, sizeof(own));
	sign_again(&setup, a);
	memcpy(a->secret, own, sizeof(own));
	pair_take_setup(&pair, 1, &setup, NULL, 0);
	pair_commit(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_refused.code, CODE_AUTH_FAILED);
	ck_assert_int_eq(a->resets + b->resets, resets);
	assert_works(2);
	/* Signed by the node it is taken, and both routers are told. */
	sign_again(&setup, a);
	setup.cause = CAUSE_RECOVERY;
	pair_take_setup(&pair, 1, &setup, NULL, 0);
	pair_commit(&pair, 1);
	ck_assert_uint_eq(b->last_ready.version, 3);
	ck_assert_uint_eq(b->last_ready.reset, 1);
	/* a did not make that offer: it goes on above it. */
	pair_run(&pair);
	ck_assert_uint_eq(a->last_ready.reset, 1);
	ck_assert_uint_gt(a->last_ready.version, 3);
	ck_assert_uint_eq(a->last_ready.version, b->last_ready.version);
	assert_works(a->last_ready.version);
}
END_TEST

/* --- backups ------------------------------------------------------------ */

/* b goes back to what it was rekeys versions ago. */
START_TEST(l13_a_restored_store_ends_in_a_reset_not_in_old_keys)
{
	char backup[] = "/tmp/hermes-backup-XXXXXX";
	int i, rekeys = _i;

	ck_assert_ptr_nonnull(mkdtemp(backup));
	pair_ready(&pair);
	assert_works(1);
	pair_stop(&pair, 1);
	pair_copy_folder(b->folder, backup);
	pair_start_node(&pair, 1);
	pair_resume(&pair, 0);
	pair_resume(&pair, 1);
	pair_run(&pair);
	for (i = 0; i < rekeys; i++) {
		pair.now += INT64_C(20000000000);
		pair_start(&pair, 0, 0, CHAT_REKEY);
		pair_run(&pair);
		assert_works((uint32_t)(3 + i));
	}
	pair_stop(&pair, 1);
	pair_copy_folder(backup, b->folder);
	pair_start_node(&pair, 1);
	if (_i % 2 == 0) {
		pair_resume(&pair, 0);
		pair_run(&pair);
	}
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_int_ge(a->resets, 1);
	ck_assert_int_ge(b->resets, 1);
	ck_assert_uint_eq(a->last_ready.resumed, 1);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
	assert_works(pair_chat(&pair, 0)->version);
	ck_assert_uint_gt(pair_chat(&pair, 0)->version, 2 + (unsigned)rekeys);
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_run(&pair);
	assert_works(pair_chat(&pair, 0)->version);
	pair_remove_folder(backup, 1);
}
END_TEST

/* --- hostile neighbours ------------------------------------------------- */

START_TEST(chat_start_is_not_believed)
{
	struct ipc_chat_start start, good;

	pair_start_fill(&pair, 0, &good);
	start = good;
	start.key.handle[0] ^= 1;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_INVALID_FRAME);
	start = good;
	memset(start.chat_id, 'x', sizeof(start.chat_id));
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_INVALID_FRAME);
	start = good;
	start.local.signature[0] ^= 1;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_AUTH_FAILED);
	start = good;
	start.peer.signature[0] ^= 1;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_AUTH_FAILED);
	/* An app of another node. */
	start = good;
	memcpy(a->key, b->key, KEY_SIZE);
	pair_attest(a, pair.now, &start.local);
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_AUTH_FAILED);
	/* An attestation of yesterday, one of contract v1. */
	start = good;
	pair_attest(b, pair.now - ATTESTATION_MAX_AGE - 2 * ATTESTATION_SKEW,
	    &start.peer);
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_AUTH_FAILED);
	start = good;
	start.peer.kind = ATTESTATION_V1;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_AUTH_FAILED);
	ck_assert_int_eq(a->errors, 7);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	ck_assert_int_eq(a->setups, 0);
}
END_TEST

START_TEST(setup_in_is_not_believed)
{
	struct ipc_setup setup, good;

	pair_start(&pair, 0, 0, 0);
	pair_drop(&pair);
	good = a->last_setup;
	good.key.side ^= 1;
	memcpy(good.node, a->key, KEY_SIZE);
	pair_attest(a, pair.now, &good.peer);

	setup = good;
	setup.offer.signature[3] ^= 1;
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_AUTH_FAILED);
	/* Another node repeats it as its own. */
	setup = good;
	memcpy(setup.node, b->key, KEY_SIZE);
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_AUTH_FAILED);
	/* A node that the app is not at. */
	setup = good;
	memset(setup.peer.signature, 0, SIGNATURE_SIZE);
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_AUTH_FAILED);
	/* Meant for a third node. */
	setup = good;
	memset(setup.offer.node_hi, 9, KEY_SIZE);
	sign_again(&setup, a);
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_ROUTE_UNAVAILABLE);
	/* Another chat's name on it; the wrong side. */
	setup = good;
	setup.chat_id[0] ^= 1;
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_INVALID_FRAME);
	setup = good;
	setup.key.side = CHAT_LO;
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_INVALID_FRAME);
	setup = good;
	setup.offer.version = POLICY_RESET_STEP + 1;
	sign_again(&setup, a);
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_INVALID_FRAME);
	ck_assert_int_eq(a->refusals, 7);
	ck_assert_int_eq(b->offers, 0);
	setup_arrives(&good);
	ck_assert_int_eq(b->offers, 1);
}
END_TEST

START_TEST(l10_a_peer_cannot_burn_the_versions)
{
	struct ipc_setup setup;

	pair_ready(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_drop(&pair);
	setup = a->last_setup;
	setup.key.side ^= 1;
	memcpy(setup.node, a->key, KEY_SIZE);
	pair_attest(a, pair.now, &setup.peer);
	setup.offer.version = UINT32_MAX;
	sign_again(&setup, a);
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_INVALID_FRAME);
	ck_assert_uint_eq(a->last_refused.expected, 2);
	setup.offer.flags |= OFFER_RESET;
	sign_again(&setup, a);
	setup_arrives(&setup);
	ck_assert_int_eq(a->refusals, 2);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, 1);
	pair_resume(&pair, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

START_TEST(stale_and_repeated_offers_change_nothing)
{
	struct ipc_setup first, second;

	pair_start(&pair, 0, 0, 0);
	first = a->last_setup;
	pair_run(&pair);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	second = a->last_setup;
	pair_run(&pair);
	assert_works(2);
	pair_take_setup(&pair, 1, &first, NULL, 0);
	pair_commit(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_refused.code, CODE_REPLAYED_KEY);
	ck_assert_uint_ge(metrics[METRIC_REKEYS_STALE_APP].value +
			      metrics[METRIC_REKEYS_REPLAYED_APP].value,
	    1);
	pair_take_setup(&pair, 1, &second, NULL, 0);
	pair_commit(&pair, 1);
	pair_run(&pair);
	ck_assert_int_eq(a->ends + b->ends, 0);
	assert_works(2);
	/* The same ephemeral under a new version. */
	second.offer.version = 3;
	memcpy(second.offer.link_commitment,
	    pair_chat(&pair, 0)->change->own.link_commitment, KEY_SIZE);
	sign_again(&second, a);
	pair_take_setup(&pair, 1, &second, NULL, 0);
	pair_commit(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_refused.code, CODE_REPLAYED_KEY);
	assert_works(2);
}
END_TEST

/* Told to take no new chats, from its own apps or its peers: what there is,
 * and what waits already, goes on. */
START_TEST(no_new_chats_but_old_ones)
{
	struct ipc_chat_start start;
	int offers;

	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(b->offers, 1);
	chats_no_new(b->chats, 1);
	pair_start(&pair, 1, 0, 0); /* the offer was there before */
	pair_run(&pair);
	assert_works(1);
	pair_start(&pair, 1, 2, CHAT_REKEY);
	pair_run(&pair);
	assert_works(2);
	/* From the peer, and its own. */
	snprintf(pair.chat_id, sizeof(pair.chat_id), "another");
	pair_start_fill(&pair, 0, &start);
	pair_start_message(&pair, 0, &start);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_refused.code, CODE_LIMIT_REACHED);
	ck_assert_int_eq(a->last_refused.retry_after, CHATS_RETRY);
	ck_assert_int_eq(b->offers, 1);
	snprintf(pair.chat_id, sizeof(pair.chat_id), "a third");
	pair_start_fill(&pair, 1, &start);
	pair_start_message(&pair, 1, &start);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_error.code, CODE_LIMIT_REACHED);
	ck_assert_int_eq(b->last_error.retry_after, CHATS_RETRY);
	offers = a->offers;
	chats_no_new(b->chats, 0);
	pair_start_message(&pair, 1, &start);
	pair_run(&pair);
	ck_assert_int_eq(b->errors, 1);
	ck_assert_int_eq(a->offers, offers + 1);
}
END_TEST

START_TEST(offers_that_wait_are_bounded)
{
	struct ipc_chat_start start;
	int i;

	for (i = 0; i < WAITING_APP_MAX + 3; i++) {
		snprintf(pair.chat_id, sizeof(pair.chat_id), "chat %d", i);
		pair_start_fill(&pair, 0, &start);
		pair_start_message(&pair, 0, &start);
		pair_run(&pair);
	}
	ck_assert_uint_eq(b->chats->waiting.count, WAITING_APP_MAX);
	ck_assert_uint_eq(a->last_refused.code, CODE_LIMIT_REACHED);
	ck_assert_int_eq(a->refusals, 3);
	ck_assert_uint_eq(b->chats->waiting_apps.count, 1);
	/* One that is taken up makes room for another. */
	snprintf(pair.chat_id, sizeof(pair.chat_id), "chat 7");
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->chats->waiting.count, WAITING_APP_MAX - 1);
	for (i = 0; i < 2; i++) {
		snprintf(pair.chat_id, sizeof(pair.chat_id), "more %d", i);
		pair_start_fill(&pair, 0, &start);
		pair_start_message(&pair, 0, &start);
		pair_run(&pair);
	}
	ck_assert_uint_eq(b->chats->waiting.count, WAITING_APP_MAX);
	ck_assert_int_eq(a->refusals, 4);
	pair.now += WAITING_LIFETIME + 1;
	pair_tick(&pair, 1);
	ck_assert_uint_eq(b->chats->waiting.count, 0);
	ck_assert_uint_eq(b->chats->waiting_apps.count, 0);
}
END_TEST

/* --- an app that moves -------------------------------------------------- */

START_TEST(an_app_moves_to_another_node)
{
	pair_ready(&pair);
	assert_works(1);
	assert_works(1);
	/* b's node is a new one now: other identity, empty store. */
	pair_stop(&pair, 1);
	pair_remove_folder(b->folder, 0);
	(void)crypto_sign_keypair(b->key, b->secret);
	pair_start_node(&pair, 1);
	b->next = 1;
	b->acked = b->delivered = 0;
	b->offers = 0;
	pair.now += INT64_C(1000000000);
	if (_i == 0) {
		/* The peer that stayed hears of it first. */
		pair_resume(&pair, 0);
		pair_run(&pair);
		ck_assert_int_eq(b->offers, 1);
		pair_start(&pair, 1, 0, 0);
	} else
		pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_ready.reset, 1);
	ck_assert_uint_eq(b->last_ready.resumed, 1);
	/* It goes on where it was. */
	ck_assert_uint_eq(b->delivered, 2);
	ck_assert_uint_eq(b->next, 3);
	assert_works(pair_chat(&pair, 0)->version);
}
END_TEST

/* The app of node goes on with what it had, which its node forgot. */
static void
go_on(int index, uint32_t version)
{
	pair_start(&pair, index, version, CHAT_CONTINUE);
}

/* The app of node left, for no other node that matters here. */
static void
leave(int index)
{
	const struct ratchet_secrets *secrets =
	    pair_chat(&pair, index)->ratchet.secrets;

	pair_end(&pair, index, STATUS_NONE);
	/* But for where the next slot is, the first word. */
	ck_assert(sodium_is_zero((const uint8_t *)secrets + sizeof(void *),
	    sizeof(*secrets) - sizeof(void *)));
	ck_assert_ptr_null(pair_chat(&pair, index));
	ck_assert_uint_eq(pair.nodes[index].last_end.status, STATUS_NONE);
}

/* 0: it is told of first; 1: the peer rekeys; 2: the peer resumes, before the
 * app says that it goes on. */
START_TEST(a_chat_that_was_left_goes_on)
{
	pair_ready(&pair);
	assert_works(1);
	assert_works(1);
	leave(1);
	ck_assert_uint_eq(tombstone_floor(b->chats, &b->last_end.key), 1);
	ck_assert_uint_eq(tombstone_ended(b->chats, &b->last_end.key), 0);
	if (_i == 1)
		ck_assert_uint_eq(chats_rekey(a->chats, NULL), 1);
	if (_i == 1)
		pair_commit(&pair, 0);
	if (_i == 2)
		pair_resume(&pair, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->ends, 0);
	if (_i > 0)
		ck_assert_uint_eq(a->last_refused.code, CODE_CHAT_NOT_READY);
	b->offers = 0;
	go_on(1, 1);
	pair_run(&pair);
	ck_assert_int_eq(a->ends, 0);
	ck_assert_uint_eq(a->last_ready.reset, 1);
	ck_assert_uint_eq(b->delivered, 2);
	ck_assert_uint_eq(b->next, 3);
	assert_works(pair_chat(&pair, 0)->version);
}
END_TEST

/* The app knows of two more than its node; the peer hears so at once. */
START_TEST(an_app_is_ahead_of_its_node)
{
	struct ipc_chat_start start;

	pair_ready(&pair);
	assert_works(1);
	pair_start_fill(&pair, 0, &start);
	start.version = 1;
	start.flags = CHAT_CONTINUE | CHAT_RESUME;
	start.acked = 4;
	chats_start(a->chats, &start, NULL, 0);
	pair_commit(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(pair_chat(&pair, 0)->acked, 4);
	ck_assert_uint_eq(pair_chat(&pair, 0)->accepted, 4);
	ck_assert_uint_eq(pair_chat(&pair, 1)->delivered, 4);
	/* Who resumes only, and says so, is not believed. */
	start.flags = CHAT_RESUME;
	start.acked = 9;
	chats_start(a->chats, &start, NULL, 0);
	pair_commit(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(pair_chat(&pair, 0)->acked, 4);
	ck_assert_uint_eq(pair_chat(&pair, 1)->delivered, 4);
}
END_TEST

/* Two nodes that know nothing but what the two apps say. */
START_TEST(a_chat_that_both_left_goes_on)
{
	pair_ready(&pair);
	assert_works(1);
	assert_works(1);
	/* It has got one more, and its peer has not heard so. */
	pair_say(&pair, 0);
	(void)pair_step(&pair, 1);
	pair_drop(&pair);
	leave(0);
	leave(1);
	if (_i == 1)
		pair_restart(&pair, 1);
	go_on(0, 1);
	if (_i != 2)
		pair_run(&pair);
	go_on(1, 1);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_ready.peer_delivered, 3);
	ck_assert_uint_eq(b->delivered, 3);
	ck_assert_uint_eq(a->delivered, 2);
	assert_works(pair_chat(&pair, 0)->version);
}
END_TEST

START_TEST(a_chat_that_was_left_and_deleted_is_over)
{
	pair_ready(&pair);
	assert_works(1);
	leave(1);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	a->ends = b->ends = b->errors = 0;
	/* Here, where it was left, and there, where it was deleted. */
	go_on(1, 1);
	pair_run(&pair);
	ck_assert_int_eq(b->ends, 1);
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	/* Now its own node knows as well. */
	go_on(1, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_error.code, CODE_REPLAYED_KEY);
	ck_assert_int_eq(a->ends, 0);
	/* What it remembers survives the node. */
	pair_restart(&pair, 1);
	go_on(1, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_error.code, CODE_REPLAYED_KEY);
	ck_assert_ptr_null(pair_chat(&pair, 1));
}
END_TEST

START_TEST(an_older_word_does_not_move_a_chat)
{
	struct ipc_chat_start start;
	struct ipc_setup setup;
	struct node third = *b;

	pair_ready(&pair);
	pair_start_fill(&pair, 0, &start);
	(void)crypto_sign_keypair(third.key, third.secret);
	pair_attest(&third, pair.now - 1, &start.peer);
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_ROUTE_UNAVAILABLE);
	ck_assert_mem_eq(pair_chat(&pair, 0)->peer_node, b->key, KEY_SIZE);
	setup = b->last_setup;
	setup.key.side ^= 1;
	memcpy(setup.node, third.key, KEY_SIZE);
	memcpy(setup.offer.node_hi, third.key, KEY_SIZE);
	sign_again(&setup, &third);
	pair_attest(&third, pair.now - 1, &setup.peer);
	chats_setup_in(a->chats, &setup, NULL, 0);
	pair_commit(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_refused.code, CODE_ROUTE_UNAVAILABLE);
	assert_works(1);
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
	tcase_add_test(tcase, an_answer_lost_is_made_up_for);
	tcase_add_test(tcase, opening_waits_for_another_commit);
	tcase_add_test(tcase, an_answer_lost_and_the_answerer_killed);
	tcase_add_test(tcase, a_broken_stream_keeps_the_epoch);
	tcase_add_loop_test(
	    tcase, l40_retries_after_a_kill_are_idempotent, 0, 2);
	tcase_add_test(tcase, after_a_restart_no_old_key_is_there);
	tcase_add_test(tcase, router_restart_gets_every_chat);
	tcase_add_test(tcase, a_rekey_loses_nothing_on_its_way);
	tcase_add_test(tcase, l09_both_rekey_at_the_same_instant);
	tcase_add_test(tcase, rekey_versions_are_checked);
	tcase_add_test(tcase, rekeys_are_throttled_in_a_sliding_window);
	tcase_add_test(tcase, app_keys_are_told_apart);
	tcase_add_test(tcase, age_count_and_operators_rekey);
	tcase_add_test(tcase, idle_chats_are_small);
	tcase_add_test(tcase, chats_that_cannot_be_read_stay);
	tcase_add_test(tcase, previous_epoch_closes_after_its_grace);
	tcase_add_test(tcase, an_offer_nobody_answered_is_sent_again);
	tcase_add_test(tcase, l07_a_deleted_chat_leaves_its_floor);
	tcase_add_test(tcase, tombstones_end_with_the_key_lifetime);
	tcase_add_test(tcase, a_deletion_that_was_missed_is_told_on_resume);
	tcase_add_test(tcase, what_crosses_the_end_begins_no_chat);
	tcase_add_test(tcase, an_offer_that_crosses_the_end_is_of_no_new_chat);
	tcase_add_test(
	    tcase, a_deletion_that_was_missed_gives_way_to_a_new_chat);
	tcase_add_test(tcase, an_app_may_refuse_an_offer);
	tcase_add_test(tcase, l16_only_the_peers_node_tears_down);
	tcase_add_test(tcase, lifetime_and_idleness_end_chats);
	tcase_add_test(tcase, divergence_is_recovered_by_a_rekey);
	tcase_add_test(tcase, divergence_without_end_fails_closed);
	tcase_add_test(
	    tcase, l05_a_ciphertext_opens_once_and_only_where_it_belongs);
	tcase_add_test(
	    tcase, without_a_chat_nothing_is_sealed_and_that_is_said);
	tcase_add_test(tcase, app_keys_of_the_last_versions_are_refused);
	tcase_add_test(tcase, ephemerals_of_the_last_versions_are_refused);
	tcase_add_loop_test(
	    tcase, l13_an_offer_in_an_old_copy_makes_no_key_twice, 0, 9);
	tcase_add_test(
	    tcase, after_an_epoch_that_is_not_used_the_next_one_comes);
	tcase_add_test(
	    tcase, l13_a_first_offer_in_an_old_copy_makes_no_key_twice);
	tcase_add_test(tcase, l12_resets_are_signed_and_seen);
	tcase_add_test(tcase, sequences_have_no_gap);
	tcase_add_loop_test(
	    tcase, l13_a_restored_store_ends_in_a_reset_not_in_old_keys, 0, 6);
	tcase_add_test(tcase, chat_start_is_not_believed);
	tcase_add_test(tcase, setup_in_is_not_believed);
	tcase_add_test(tcase, l10_a_peer_cannot_burn_the_versions);
	tcase_add_test(tcase, stale_and_repeated_offers_change_nothing);
	tcase_add_test(tcase, no_new_chats_but_old_ones);
	tcase_add_test(tcase, offers_that_wait_are_bounded);
	tcase_add_loop_test(tcase, an_app_moves_to_another_node, 0, 2);
	tcase_add_loop_test(tcase, a_chat_that_was_left_goes_on, 0, 3);
	tcase_add_loop_test(tcase, a_chat_that_both_left_goes_on, 0, 3);
	tcase_add_test(tcase, a_chat_that_was_left_and_deleted_is_over);
	tcase_add_test(tcase, an_app_is_ahead_of_its_node);
	tcase_add_test(tcase, an_older_word_does_not_move_a_chat);
	tcase_add_loop_test(tcase, l41_anything_in_any_order_converges, 0, 6);
}

int
main(void)
{
	Suite *suite = suite_create("keyd_chats");
	TCase *tcase = tcase_create("keyd_chats");

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	add_tests(tcase);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
