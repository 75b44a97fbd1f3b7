/*
 * Two chat engines of keyd against each other: what the processes at its doors
 * and the node of a peer may not do.
 */

#include "common/ipc/codes.h"
#include "common/util/metrics.h"
#include "regress/unit/chat_rig.h"

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

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, chat_start_is_not_believed);
	tcase_add_test(tcase, setup_in_is_not_believed);
	tcase_add_test(tcase, l10_a_peer_cannot_burn_the_versions);
	tcase_add_test(tcase, stale_and_repeated_offers_change_nothing);
	tcase_add_test(tcase, no_new_chats_but_old_ones);
	tcase_add_test(tcase, offers_that_wait_are_bounded);
}

int
main(void)
{
	return (rig_run("keyd_doors", add_tests));
}
