/*
 * Two chat engines of keyd against each other: rekeys, by whomever, and what
 * a chat keeps between them.
 */

#include <errno.h>

#include "common/ipc/codes.h"
#include "keyd/secret.h"
#include "regress/unit/chat_rig.h"

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

/* Its offer went with the stream, and so did a message. The one who heard
 * nothing of either compares as the other does. */
START_TEST(a_rekey_whose_stream_broke_is_a_resume)
{
	pair_ready(&pair);
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_say(&pair, 1);
	pair_drop(&pair);
	pair_resume(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_ready.resumed, 1);
	ck_assert_uint_eq(b->last_ready.resumed, 1);
	ck_assert_uint_eq(a->delivered, b->next - 1);
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
	/* Said again, of the version that is offered, before it is one. */
	start.version = 1;
	pair_start_message(&pair, 0, &start);
	ck_assert_int_eq(a->errors, 0);
	start.app_key[0] = 2;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_KEY_MISMATCH);
	a->errors = 0;
	pair_run(&pair);
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
	ck_assert_int_eq(chats_rekey_step(a->chats, 1), 0);
	pair_commit(&pair, 0);
	pair_run(&pair);
	assert_works(5);
	key.handle[0] ^= 1;
	ck_assert_uint_eq(chats_rekey(b->chats, &key), 0);
}
END_TEST

/* Who receives so many asks for another key as well, and says why. */
START_TEST(count_of_what_was_received_rekeys)
{
	int i;

	b->config.rekey.after_messages = 4;
	pair_ready(&pair);
	for (i = 0; i < 3; i++)
		pair_say(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, 1);
	pair_say(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->last_ready.cause, CAUSE_COUNT);
	ck_assert_uint_eq(b->last_setup.cause, CAUSE_COUNT);
	assert_works(2);
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

/* 0: its chats, 1: how far they got, is in a format of another version: that is
 * said, and not that the store is damaged. */
START_TEST(another_version_wrote_it)
{
	enum store_table table = _i == 0 ? STORE_COLD : STORE_HOT;
	struct chat_key key = pair_key(&pair, 0);
	uint8_t record[SECRET_MAX];
	size_t length;

	pair_ready(&pair);
	ck_assert_int_eq(store_get(a->store, table, &key, sizeof(key), record,
			     sizeof(record), &length),
	    1);
	record[0]++;
	ck_assert_int_eq(
	    store_put(a->store, table, &key, sizeof(key), record, length), 0);
	ck_assert_int_eq(store_commit(a->store, 0), 0);
	ck_assert_ptr_null(chats_new(
	    &a->chats->io, a->store, &a->config, a->key, 2, pair.now));
	ck_assert_int_eq(store_error_of(errno), STORE_VERSION);
	ck_assert_int_eq(
	    store_put(a->store, table, &key, sizeof(key), "", 0), 0);
	ck_assert_ptr_null(chats_new(
	    &a->chats->io, a->store, &a->config, a->key, 2, pair.now));
	ck_assert_int_eq(store_error_of(errno), STORE_DAMAGED);
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

/* A clock that was ahead for a while, and is right again: what it dated grows
 * old from now on, not in years. */
START_TEST(a_clock_set_back_delays_nothing)
{
	const int64_t second = INT64_C(1000000000), year = 31536000 * second;

	pair.now += year;
	pair_ready(&pair);
	/* An offer that is lost, and an epoch that is still open. */
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_run(&pair);
	ck_assert_uint_eq(pair_chat(&pair, 0)->ratchet.previous_version, 1);
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_drop(&pair);
	pair.now -= year;
	pair_tick(&pair, 0);
	pair_tick(&pair, 1);
	pair.now += a->config.rekey.grace;
	pair_tick(&pair, 0);
	ck_assert_uint_eq(pair_chat(&pair, 0)->ratchet.previous_version, 0);
	pair_tick(&pair, 1);
	pair_run(&pair);
	assert_works(3);
}
END_TEST

/* It rekeys by age; or ends, as nobody uses it. */
START_TEST(a_clock_set_back_makes_nothing_last)
{
	const int64_t second = INT64_C(1000000000), year = 31536000 * second;

	pair.now += year;
	pair_ready(&pair);
	pair.now -= year;
	pair_tick(&pair, 0);
	if (_i == 0)
		a->config.rekey.after_time = 600 * second;
	else
		a->config.keystore.chat_idle = 600 * second;
	pair.now += 601 * second;
	pair_tick(&pair, 0);
	pair_run(&pair);
	if (_i == 0)
		assert_works(2);
	else
		ck_assert_uint_eq(a->last_end.status, STATUS_EXPIRED);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_rekey_loses_nothing_on_its_way);
	tcase_add_test(tcase, a_rekey_whose_stream_broke_is_a_resume);
	tcase_add_test(tcase, l09_both_rekey_at_the_same_instant);
	tcase_add_test(tcase, rekey_versions_are_checked);
	tcase_add_test(tcase, rekeys_are_throttled_in_a_sliding_window);
	tcase_add_test(tcase, app_keys_are_told_apart);
	tcase_add_test(tcase, age_count_and_operators_rekey);
	tcase_add_test(tcase, count_of_what_was_received_rekeys);
	tcase_add_test(tcase, idle_chats_are_small);
	tcase_add_test(tcase, chats_that_cannot_be_read_stay);
	tcase_add_loop_test(tcase, another_version_wrote_it, 0, 2);
	tcase_add_test(tcase, previous_epoch_closes_after_its_grace);
	tcase_add_test(tcase, an_offer_nobody_answered_is_sent_again);
	tcase_add_test(tcase, a_clock_set_back_delays_nothing);
	tcase_add_loop_test(tcase, a_clock_set_back_makes_nothing_last, 0, 2);
	tcase_add_test(tcase, app_keys_of_the_last_versions_are_refused);
	tcase_add_test(tcase, ephemerals_of_the_last_versions_are_refused);
}

int
main(void)
{
	return (rig_run("keyd_rekey", add_tests));
}
