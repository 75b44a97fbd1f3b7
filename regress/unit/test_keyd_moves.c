/*
 * Two chat engines of keyd against each other: apps that move between nodes.
 */

#include "common/ipc/codes.h"
#include "regress/unit/chat_rig.h"

/* --- an app that moves -------------------------------------------------- */

/* What the router of node has of its chat, and what its app says it has. */
static void
stand_at(struct node *node, uint64_t next, uint64_t delivered)
{
	node->next = next;
	node->acked = next - 1;
	node->delivered = delivered;
}

/* b's node is a new one now: other identity, empty store. */
static void
another_node(void)
{
	pair_stop(&pair, 1);
	folder_empty(b->folder);
	(void)crypto_sign_keypair(b->key, b->secret);
	pair_start_node(&pair, 1);
	stand_at(b, 1, 0);
	b->offers = 0;
	pair.now += INT64_C(1000000000);
}

START_TEST(an_app_moves_to_another_node)
{
	pair_ready(&pair);
	assert_works(1);
	assert_works(1);
	another_node();
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
	int unties = pair.nodes[index].unties;

	pair_end(&pair, index, STATUS_NONE);
	ck_assert_int_eq(pair.nodes[index].unties, unties + 1);
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
		ck_assert(chats_rekey(a->chats, NULL) == 1 &&
			  chats_rekey_step(a->chats, 1) == 0);
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

/* It had the version after one that was deleted here, and what it offers now
 * got lost: the peer's resume is of no chat that is over. */
START_TEST(a_chat_that_was_left_is_not_the_one_deleted_before)
{
	pair_ready(&pair);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	pair_ready(&pair);
	assert_works(2);
	leave(0);
	go_on(0, 2);
	pair_drop(&pair);
	a->ends = b->ends = 0;
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_int_eq(a->ends + b->ends, 0);
	assert_works(3);
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

/*
 * b's app did not hear of the end of the chat, nor that its node took the next
 * one for it, which a has spoken in: it goes on with the old one at another
 * node, or (_i == 1) has nothing to go on with.
 */
START_TEST(a_chat_that_was_deleted_lends_the_next_no_number)
{
	int i;

	pair_ready(&pair);
	for (i = 0; i < 5; i++)
		assert_works(1);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	stand_at(a, 1, 0);
	stand_at(b, 1, 0);
	pair_ready(&pair);
	pair_say(&pair, 0);
	pair_say(&pair, 0);
	pair_run(&pair);
	a->ends = b->ends = 0;
	another_node();
	if (_i == 0)
		stand_at(b, 6, 5);
	go_on(1, 1);
	pair_run(&pair);
	ck_assert_int_eq(a->ends, 0);
	ck_assert_int_eq(b->ends, 1 - _i);
	if (_i == 0) {
		ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
		stand_at(b, 1, 0);
		pair_start(&pair, 1, 0, 0);
		pair_run(&pair);
	}
	ck_assert_uint_eq(a->next, 3);
	ck_assert_uint_eq(a->delivered, 0);
	ck_assert_uint_eq(b->next, 1);
	ck_assert_uint_eq(b->delivered, 2);
	ck_assert_uint_eq(pair_chat(&pair, 0)->accepted, 2);
	assert_works(pair_chat(&pair, 0)->version);
}
END_TEST

/* An answer of the old chat, from a node that the app has been at. */
START_TEST(what_is_over_moves_no_chat)
{
	struct ipc_setup setup;
	struct node third = *b;

	pair_ready(&pair);
	setup = b->last_setup;
	ck_assert_uint_eq(setup.answer, 1);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	pair_ready(&pair);
	(void)crypto_sign_keypair(third.key, third.secret);
	setup.key.side ^= 1;
	memcpy(setup.node, third.key, KEY_SIZE);
	memcpy(setup.offer.node_hi, third.key, KEY_SIZE);
	sign_again(&setup, &third);
	pair_attest(&third, pair.now + 1, &setup.peer);
	chats_setup_in(a->chats, &setup, NULL, 0);
	pair_commit(&pair, 0);
	ck_assert_mem_eq(pair_chat(&pair, 0)->peer_node, b->key, KEY_SIZE);
	assert_works(2);
}
END_TEST

/*
 * The name had many versions elsewhere since it was deleted, or (_i == 1)
 * left, at b's node. Both apps begin anew, b's first if _i == 2.
 */
START_TEST(a_node_missed_many_versions)
{
	int first = _i / 2;

	pair_ready(&pair);
	if (_i % 2 == 1)
		leave(1);
	pair_end(&pair, 0, STATUS_DELETED);
	if (_i % 2 == 1)
		pair_drop(&pair);
	pair_run(&pair);
	tombstone_raise(
	    a->chats, &a->last_end.key, 40, STATUS_DELETED, no_instance);
	a->ends = b->ends = 0;
	pair_start(&pair, first, 0, 0);
	pair_run(&pair);
	pair_start(&pair, 1 - first, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->ends + b->ends, 0);
	ck_assert_int_eq(a->errors + b->errors, 0);
	ck_assert_int_eq(a->refusals, 0);
	ck_assert_uint_eq(pair_chat(&pair, 0)->version, 41);
	assert_works(41);
}
END_TEST

/*
 * b's app is at another node when a's offers to go on with the chat here,
 * which ends unheard of; and it comes. (_i == 1) What a offers is a new chat.
 */
START_TEST(what_was_offered_to_an_app_elsewhere)
{
	struct chat_key key = pair_key(&pair, 1);

	if (_i == 0) {
		pair_ready(&pair);
		assert_works(1);
		leave(0);
		leave(1);
		b->offers = 0;
		go_on(0, 1);
	} else
		pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(b->offers, 1);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
	if (_i == 0) {
		pair_end(&pair, 0, STATUS_DELETED);
		pair_drop(&pair);
	}
	b->ends = 0;
	pair_end(&pair, 1, STATUS_NONE);
	ck_assert_int_eq(b->ends, 1);
	ck_assert_uint_eq(b->last_end.status, STATUS_NONE);
	ck_assert_int_eq(b->offers, 1 + _i);
	pair_start(&pair, 1, 0, CHAT_AUTO);
	pair_run(&pair);
	if (_i == 0) {
		ck_assert_uint_eq(b->last_error.code, CODE_CHAT_NOT_READY);
		ck_assert_ptr_null(pair_chat(&pair, 1));
	} else
		assert_works(1);
}
END_TEST

/* b's app goes on with the chat that was deleted, and a is elsewhere now. */
START_TEST(what_is_over_goes_on_nowhere)
{
	struct ipc_chat_start start;
	struct node third = *a;

	pair_ready(&pair);
	assert_works(1);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	stand_at(a, 1, 0);
	stand_at(b, 1, 0);
	pair_ready(&pair);
	pair_start_fill(&pair, 1, &start);
	(void)crypto_sign_keypair(third.key, third.secret);
	pair_attest(&third, pair.now + 1, &start.peer);
	start.version = 1;
	start.flags = CHAT_CONTINUE;
	start.acked = start.delivered = 1;
	pair_start_message(&pair, 1, &start);
	ck_assert_uint_eq(b->last_error.code, CODE_REPLAYED_KEY);
	ck_assert_uint_eq(pair_chat(&pair, 1)->accepted, 0);
	ck_assert_uint_eq(pair_chat(&pair, 1)->delivered, 0);
	ck_assert_mem_eq(pair_chat(&pair, 1)->peer_node, a->key, KEY_SIZE);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

/*
 * Where b's app is now it has ended the chat since, and had others of the
 * name; what it begins there is not what a's node remembers.
 */
START_TEST(a_chat_ended_unheard_of_lends_the_next_no_number)
{
	struct chat_key key;

	pair_ready(&pair);
	assert_works(1);
	assert_works(1);
	key = pair_key(&pair, 1);
	another_node();
	tombstone_raise(b->chats, &key, 9, STATUS_DELETED, no_instance);
	a->offers = a->ends = 0;
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->ends, 1);
	ck_assert_uint_eq(a->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_int_eq(a->offers, 1);
	stand_at(a, 1, 0);
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(a->next, 1);
	ck_assert_uint_eq(b->next, 1);
	ck_assert_uint_eq(b->delivered, 0);
	ck_assert_uint_eq(pair_chat(&pair, 0)->version, 10);
	assert_works(10);
}
END_TEST

/* b's app went to a third node, to which a offered, and came back; of that a
 * hears first by an answer that was long under way. */
/* It is a node's as long as the app is there: another's word that is older
 * takes it from nobody. */
START_TEST(an_offer_that_waits_moves_with_its_app)
{
	struct chat_key key = pair_key(&pair, 1);
	struct node third = *a;
	struct ipc_setup setup;
	int i;

	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	setup = a->last_setup;
	setup.key.side ^= 1;
	(void)crypto_sign_keypair(third.key, third.secret);
	memcpy(setup.node, third.key, KEY_SIZE);
	memcpy(setup.offer.node_lo, third.key, KEY_SIZE);
	sign_again(&setup, &third);
	for (i = -1; i <= 1; i += 2) {
		pair_attest(&third, pair.now + i, &setup.peer);
		setup_arrives(&setup);
		ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
		ck_assert_mem_eq(waiting_find(b->chats, &key)->node,
		    i < 0 ? a->key : third.key, KEY_SIZE);
		ck_assert_uint_eq(b->chats->waiting.count, 1);
		ck_assert_uint_eq(b->chats->waiting_nodes.count, 1);
	}
	ck_assert_int_eq(a->refusals, 0);
}
END_TEST

START_TEST(what_was_offered_where_the_app_is_no_more)
{
	struct ipc_chat_start start;
	struct ipc_setup answer;
	struct node third = *b;

	pair_ready(&pair);
	assert_works(1);
	answer = b->last_setup;
	ck_assert_uint_eq(answer.answer, 1);
	(void)crypto_sign_keypair(third.key, third.secret);
	pair_start_fill(&pair, 0, &start);
	pair_attest(&third, pair.now + 1, &start.peer);
	pair_start_message(&pair, 0, &start);
	ck_assert_mem_eq(pair_chat(&pair, 0)->peer_node, third.key, KEY_SIZE);
	pair_drop(&pair);
	pair.now += 2;
	answer.key.side ^= 1;
	memcpy(answer.node, b->key, KEY_SIZE);
	pair_attest(b, pair.now, &answer.peer);
	chats_setup_in(a->chats, &answer, NULL, 0);
	pair_commit(&pair, 0);
	ck_assert_mem_eq(pair_chat(&pair, 0)->peer_node, b->key, KEY_SIZE);
	if (_i == 1)
		pair_drop(&pair);
	leave(1);
	go_on(1, 1);
	pair_run(&pair);
	ck_assert_uint_eq(a->last_ready.reset, 1);
	ck_assert_int_eq(a->ends, 0);
	assert_works(pair_chat(&pair, 0)->version);
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

static void
add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, an_app_moves_to_another_node, 0, 2);
	tcase_add_loop_test(tcase, a_chat_that_was_left_goes_on, 0, 3);
	tcase_add_test(
	    tcase, a_chat_that_was_left_is_not_the_one_deleted_before);
	tcase_add_loop_test(tcase, a_chat_that_both_left_goes_on, 0, 3);
	tcase_add_test(tcase, a_chat_that_was_left_and_deleted_is_over);
	tcase_add_test(tcase, an_app_is_ahead_of_its_node);
	tcase_add_loop_test(
	    tcase, a_chat_that_was_deleted_lends_the_next_no_number, 0, 2);
	tcase_add_test(tcase, what_is_over_moves_no_chat);
	tcase_add_loop_test(tcase, a_node_missed_many_versions, 0, 3);
	tcase_add_loop_test(tcase, what_was_offered_to_an_app_elsewhere, 0, 2);
	tcase_add_test(tcase, what_is_over_goes_on_nowhere);
	tcase_add_test(tcase, a_chat_ended_unheard_of_lends_the_next_no_number);
	tcase_add_test(tcase, an_offer_that_waits_moves_with_its_app);
	tcase_add_loop_test(
	    tcase, what_was_offered_where_the_app_is_no_more, 0, 2);
	tcase_add_test(tcase, an_older_word_does_not_move_a_chat);
}

int
main(void)
{
	return (rig_run("keyd_moves", add_tests));
}
