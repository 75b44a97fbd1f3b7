/*
 * Two chat engines of keyd against each other: ratchets that diverge, and
 * stores that are old copies.
 */

#include "common/ipc/codes.h"
#include "common/util/metrics.h"
#include "regress/unit/chat_rig.h"

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
		folder_remove(copies[n]);
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
	folder_remove(copy);
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

/* What a new router hears of the chat of node. */
static uint32_t
unheard(struct node *node)
{
	chats_report(node->chats);
	return (node->last_record.reset);
}

/* A router that dies before it told its app, a node that does: the next one
 * tells it. */
START_TEST(l12_a_reset_is_remembered_until_it_is_seen)
{
	struct ipc_chat_progress progress = { .reset_told = 1 };
	int i;

	pair_ready(&pair);
	ck_assert_uint_eq(unheard(a) + unheard(b), 0);
	ck_assert_int_eq(chat_recover(a->chats, pair_chat(&pair, 0), 1), 0);
	pair_commit(&pair, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->resets + b->resets, 2);
	for (i = 0; i < 2; i++) {
		ck_assert_uint_eq(unheard(&pair.nodes[i]), 1);
		pair_restart(&pair, i);
		ck_assert_uint_eq(unheard(&pair.nodes[i]), 1);
		progress.key = pair_key(&pair, i);
		chats_progress(pair.nodes[i].chats, &progress);
		ck_assert_uint_eq(unheard(&pair.nodes[i]), 0);
		pair_commit(&pair, i);
		pair_restart(&pair, i);
		ck_assert_uint_eq(unheard(&pair.nodes[i]), 0);
	}
	pair_resume(&pair, 0);
	pair_resume(&pair, 1);
	pair_run(&pair);
	assert_works(pair_chat(&pair, 0)->version);
	ck_assert_uint_eq(unheard(a) + unheard(b), 0);
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
	folder_remove(backup);
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, divergence_is_recovered_by_a_rekey);
	tcase_add_test(tcase, divergence_without_end_fails_closed);
	tcase_add_test(
	    tcase, l05_a_ciphertext_opens_once_and_only_where_it_belongs);
	tcase_add_test(
	    tcase, without_a_chat_nothing_is_sealed_and_that_is_said);
	tcase_add_loop_test(
	    tcase, l13_an_offer_in_an_old_copy_makes_no_key_twice, 0, 9);
	tcase_add_test(
	    tcase, after_an_epoch_that_is_not_used_the_next_one_comes);
	tcase_add_test(
	    tcase, l13_a_first_offer_in_an_old_copy_makes_no_key_twice);
	tcase_add_test(tcase, l12_resets_are_signed_and_seen);
	tcase_add_test(tcase, l12_a_reset_is_remembered_until_it_is_seen);
	tcase_add_test(tcase, sequences_have_no_gap);
	tcase_add_loop_test(
	    tcase, l13_a_restored_store_ends_in_a_reset_not_in_old_keys, 0, 6);
}

int
main(void)
{
	return (rig_run("keyd_recovery", add_tests));
}
