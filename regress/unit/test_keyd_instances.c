/*
 * Two chat engines of keyd against each other: chats of one name that an app
 * had one after the other, at nodes that did not hear of all of them, at the
 * same versions. None is taken for another.
 */

#include "common/ipc/codes.h"
#include "common/util/hex.h"
#include "regress/unit/chat_rig.h"

/* A node that b's app is at or will be, as it is while b is another. */
struct place {
	char folder[PATH_MAX];
	uint8_t key[KEY_SIZE], secret[64];
	uint64_t generation;
};

static struct place away;
static uint8_t first[INSTANCE_SIZE], second[INSTANCE_SIZE];

static void
place_swap(void)
{
	struct place here;

	pair_stop(&pair, 1);
	memcpy(here.folder, b->folder, sizeof(here.folder));
	memcpy(here.key, b->key, KEY_SIZE);
	memcpy(here.secret, b->secret, sizeof(here.secret));
	here.generation = b->generation;
	memcpy(b->folder, away.folder, sizeof(b->folder));
	memcpy(b->key, away.key, KEY_SIZE);
	memcpy(b->secret, away.secret, sizeof(b->secret));
	b->generation = away.generation;
	away = here;
	pair.now += INT64_C(1000000000);
	pair_start_node(&pair, 1);
	pair_drop(&pair);
}

static void
place_setup(void)
{
	setup();
	memset(&away, 0, sizeof(away));
	snprintf(away.folder, sizeof(away.folder), "/tmp/hermes-pair-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(away.folder));
	(void)crypto_sign_keypair(away.key, away.secret);
}

static void
place_teardown(void)
{
	folder_remove(away.folder);
	teardown();
}

/* What the router of node has, and what its app says it has. */
static void
stand_at(struct node *node, uint64_t next, uint64_t delivered)
{
	node->next = next;
	node->acked = next - 1;
	node->delivered = delivered;
	node->again = 0;
}

static void
both_stand_at(uint64_t next, uint64_t delivered)
{
	stand_at(a, next, delivered);
	stand_at(b, next, delivered);
}

/* a's node forgets all it knows. */
static void
a_forgets(void)
{
	pair_stop(&pair, 0);
	folder_empty(a->folder);
	pair_start_node(&pair, 0);
	pair_drop(&pair);
}

static void
assert_instance(int index, const uint8_t instance[INSTANCE_SIZE])
{
	ck_assert_ptr_nonnull(pair_chat(&pair, index));
	ck_assert_mem_eq(
	    pair_chat(&pair, index)->instance, instance, INSTANCE_SIZE);
}

/* Both have the same chat, which says so to both apps. */
static void
take_instance(uint8_t instance[INSTANCE_SIZE])
{
	memcpy(instance, pair_chat(&pair, 0)->instance, INSTANCE_SIZE);
	ck_assert_int_eq(instance_is_known(instance), 1);
	assert_instance(1, instance);
	ck_assert_mem_eq(a->last_ready.instance, instance, INSTANCE_SIZE);
	ck_assert_mem_eq(b->last_ready.instance, instance, INSTANCE_SIZE);
}

/* The app of node goes on with the chat that it names. */
static void
go_on_with(int index, uint32_t version, const uint8_t instance[INSTANCE_SIZE])
{
	struct ipc_chat_start start;

	pair_start_fill(&pair, index, &start);
	start.version = version;
	start.flags = CHAT_CONTINUE;
	memcpy(start.instance, instance, INSTANCE_SIZE);
	pair_start_message(&pair, index, &start);
}

/* b's node has the first chat, of five messages each way, and is away; the
 * apps have the second, of two, at the same version; where a's node was it
 * heard of the first what the second needs. */
static void
two_chats(void)
{
	int i;

	pair_ready(&pair);
	for (i = 0; i < 5; i++)
		assert_works(1);
	take_instance(first);
	place_swap();
	a_forgets();
	both_stand_at(1, 0);
	pair_ready(&pair);
	assert_works(1);
	assert_works(1);
	take_instance(second);
	ck_assert_mem_ne(first, second, INSTANCE_SIZE);
	a->ends = b->ends = a->refusals = b->refusals = 0;
	a->errors = b->errors = a->resets = b->resets = 0;
}

/* b's app comes to where the first chat was left, and a hears of that. */
static void
b_comes_back(void)
{
	place_swap();
	assert_instance(1, first);
	ck_assert_uint_eq(pair_chat(&pair, 1)->accepted, 5);
	a->out_count = 0;
}

/* a's router hears that b's app is where it was before; a's keyd offers. */
static void
a_offers(void)
{
	struct ipc_chat_start start;

	pair_start_fill(&pair, 0, &start);
	start.flags = CHAT_RESUME;
	chats_set_now(a->chats, pair.now);
	chats_start(a->chats, &start, NULL, 0);
	pair_commit(&pair, 0);
	pair_run(&pair);
}

/* The same; what b's keyd logs meanwhile. */
static void
a_offers_and_b_logs(char *out, size_t size)
{
	int was = dup(STDERR_FILENO);
	FILE *file = tmpfile();
	size_t length;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ne(dup2(fileno(file), STDERR_FILENO), -1);
	log_set_level(LOG_LEVEL_INFO);
	a_offers();
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_ne(dup2(was, STDERR_FILENO), -1);
	close(was);
	rewind(file);
	length = fread(out, 1, size - 1, file);
	out[length] = '\0';
	fclose(file);
}

/* As the router does when keyd has forgotten what its app left. */
static void
b_asks_again(void)
{
	ck_assert_int_eq(b->ends, 1);
	ck_assert_uint_eq(b->last_end.status, STATUS_NONE);
	ck_assert_mem_eq(b->last_end.instance, first, INSTANCE_SIZE);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	b->ends = 0;
	go_on_with(1, 1, second);
	pair_run(&pair);
}

static void
assert_second_goes_on(void)
{
	ck_assert_int_eq(a->ends + b->ends, 0);
	assert_instance(0, second);
	assert_instance(1, second);
	ck_assert_uint_eq(pair_chat(&pair, 0)->accepted, 2);
	ck_assert_uint_eq(pair_chat(&pair, 0)->delivered, 2);
	ck_assert_uint_eq(pair_chat(&pair, 1)->accepted, 2);
	ck_assert_uint_eq(pair_chat(&pair, 1)->delivered, 2);
	assert_works(pair_chat(&pair, 0)->version);
}

/* Neither takes anything of the other's, while b's app says nothing; when it
 * says which it has, that is the chat. 0: a offers first; 1: b's app comes. */
START_TEST(what_was_left_is_not_what_the_peer_has)
{
	char log[4096], said[128], id[HEX_SHORT_SIZE];

	two_chats();
	b_comes_back();
	stand_at(b, 3, 2);
	if (_i == 0) {
		a_offers_and_b_logs(log, sizeof(log));
		snprintf(said, sizeof(said),
		    "code=CHAT_NOT_READY version=2 "
		    "instance=%s",
		    hex_short(id, second, INSTANCE_SIZE));
		ck_assert_ptr_nonnull(strstr(log, "event=setup_refused"));
		ck_assert_msg(strstr(log, said) != NULL, "%s: %s", said, log);
		ck_assert_int_ge(a->refusals, 1);
		ck_assert_uint_eq(a->last_refused.code, CODE_CHAT_NOT_READY);
		assert_instance(0, second);
		assert_instance(1, first);
		ck_assert_uint_eq(pair_chat(&pair, 1)->version, 1);
		ck_assert_uint_eq(pair_chat(&pair, 1)->acked, 5);
		ck_assert_uint_eq(pair_chat(&pair, 1)->delivered, 5);
		ck_assert_int_eq(a->ends + b->ends, 0);
	}
	go_on_with(1, 1, second);
	b_asks_again();
	assert_second_goes_on();
}
END_TEST

/* b's app says that it has the first chat, or (_i == 1) takes what there is:
 * a's is over, and then so is b's, of which a knows nothing. None of both
 * hears a number of the other. */
START_TEST(what_the_app_has_is_not_what_the_peer_has)
{
	two_chats();
	b_comes_back();
	stand_at(b, 6, 5);
	if (_i == 0)
		go_on_with(1, 1, first);
	else
		pair_start(&pair, 1, 0, 0);
	pair_drop(&pair);
	ck_assert_uint_ne(pair_chat(&pair, 1)->claim, 0);
	a_offers();
	ck_assert_int_eq(a->ends, 1);
	ck_assert_uint_eq(a->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	ck_assert_int_eq(a->resets + b->resets, 0);
	assert_instance(1, first);
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_int_eq(b->ends, 1);
	both_stand_at(1, 0);
	pair_ready(&pair);
	assert_works(pair_chat(&pair, 0)->version);
	ck_assert_uint_eq(a->delivered, 1);
}
END_TEST

/* That it has one it said to a keyd that is no more; or (_i == 1) before it
 * went away, and was elsewhere, and came back. */
START_TEST(an_app_says_it_to_each_keyd)
{
	two_chats();
	b_comes_back();
	go_on_with(1, 1, first);
	pair_drop(&pair);
	if (_i == 0)
		pair_restart(&pair, 1);
	else
		b->attested++;
	assert_instance(1, first);
	a_offers();
	ck_assert_int_eq(a->ends, 0);
	ck_assert_uint_eq(a->last_refused.code, CODE_CHAT_NOT_READY);
}
END_TEST

/* a goes on with the first chat, which ended at b's node before the second
 * began there; a's app has heard of neither. */
START_TEST(what_ended_here_is_over)
{
	pair_ready(&pair);
	assert_works(1);
	take_instance(first);
	pair_end(&pair, 1, STATUS_DELETED);
	pair_drop(&pair);
	both_stand_at(1, 0);
	pair_start(&pair, 1, 0, 0);
	pair_drop(&pair);
	ck_assert_int_eq(tombstone_is(b->chats, &b->last_end.key, first), 1);
	ck_assert_int_eq(tombstone_is(b->chats, &b->last_end.key, second), 0);
	if (_i == 1)
		pair_restart(&pair, 1);
	ck_assert_int_eq(tombstone_is(b->chats, &b->last_end.key, first), 1);
	/* Whatever its version: it was rekeyed at other nodes. */
	ck_assert_int_eq(chat_wake(a->chats, pair_chat(&pair, 0)), 0);
	pair_chat(&pair, 0)->version = 40;
	pair_chat(&pair, 0)->change->own.version = 40;
	ratchet_close(&pair_chat(&pair, 0)->ratchet);
	a->ends = b->ends = 0;
	pair_resume(&pair, 0);
	pair_run(&pair);
	ck_assert_int_eq(a->ends, 1);
	ck_assert_int_eq(b->ends, 0);
	ck_assert_ptr_nonnull(pair_chat(&pair, 1));
	ck_assert_uint_eq(pair_chat(&pair, 1)->accepted, 0);
	ck_assert_uint_eq(pair_chat(&pair, 1)->delivered, 0);
}
END_TEST

/* The second chat is here, and b's app goes on with the first, which ended
 * here: that is so however high its version was. */
START_TEST(an_app_goes_on_with_what_ended_here)
{
	pair_ready(&pair);
	assert_works(1);
	take_instance(first);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	both_stand_at(1, 0);
	if (_i == 0)
		pair_ready(&pair);
	go_on_with(1, 40, first);
	ck_assert_uint_eq(b->last_error.code, CODE_REPLAYED_KEY);
	pair_run(&pair);
	if (_i == 0)
		assert_works(2);
	else
		ck_assert_ptr_null(pair_chat(&pair, 1));
}
END_TEST

/* Another chat of the name ended here, at a higher version. */
START_TEST(an_app_goes_on_with_what_did_not_end_here)
{
	two_chats();
	b_comes_back();
	/* The first had many versions, and its end came late. */
	pair_chat(&pair, 1)->version = 9;
	pair_end(&pair, 1, STATUS_DELETED);
	pair_drop(&pair);
	b->ends = 0;
	stand_at(b, 3, 2);
	go_on_with(1, 1, second);
	pair_run(&pair);
	ck_assert_int_eq(b->errors, 0);
	assert_second_goes_on();
}
END_TEST

/* a goes on with the second of two chats that both nodes have forgotten: its
 * offer waits at b. */
static void
a_waits_with_second(void)
{
	two_chats();
	pair_end(&pair, 0, STATUS_NONE);
	pair_end(&pair, 1, STATUS_NONE);
	pair_run(&pair);
	stand_at(a, 3, 2);
	go_on_with(0, 1, second);
	pair_run(&pair);
}

/* a goes on with the second chat at a node that has forgotten it, and b's app
 * with the first. */
START_TEST(an_offer_of_another_is_not_accepted)
{
	struct chat_key key = pair_key(&pair, 1);

	a_waits_with_second();
	ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
	a->ends = b->ends = 0;
	stand_at(b, 6, 5);
	go_on_with(1, 1, first);
	ck_assert_ptr_null(waiting_find(b->chats, &key));
	ck_assert_uint_eq(b->readies, 2);
	ck_assert_mem_eq(b->last_teardown.instance, second, INSTANCE_SIZE);
	ck_assert_mem_eq(b->last_setup.offer.instance, first, INSTANCE_SIZE);
	pair_run(&pair);
	ck_assert_int_eq(a->ends, 1);
	if (pair_chat(&pair, 0) != NULL)
		assert_instance(0, first);
	ck_assert_uint_eq(b->delivered, 5);
}
END_TEST

/* The end of one chat is none of another, whatever the versions; and it is of
 * that one, whatever they are. */
START_TEST(an_end_names_what_ended)
{
	struct ipc_teardown end = { .key = pair_key(&pair, 1),
		.status = STATUS_DELETED };

	pair_ready(&pair);
	assert_works(1);
	take_instance(second);
	memset(first, 1, sizeof(first));
	memcpy(end.node, a->key, KEY_SIZE);
	memcpy(end.instance, first, INSTANCE_SIZE);
	end.version = 7;
	chats_teardown_in(b->chats, &end);
	pair_commit(&pair, 1);
	ck_assert_int_eq(b->ends, 0);
	assert_works(1);
	memcpy(end.instance, second, INSTANCE_SIZE);
	end.version = 0;
	chats_teardown_in(b->chats, &end);
	pair_commit(&pair, 1);
	ck_assert_int_eq(b->ends, 1);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	ck_assert_int_eq(tombstone_is(b->chats, &end.key, second), 1);
}
END_TEST

/* The same of an offer that waits. */
START_TEST(an_end_names_what_was_offered)
{
	struct ipc_teardown end = { .key = pair_key(&pair, 1),
		.status = STATUS_DELETED };

	a_waits_with_second();
	memcpy(end.node, a->key, KEY_SIZE);
	memcpy(end.instance, first, INSTANCE_SIZE);
	end.version = 7;
	chats_teardown_in(b->chats, &end);
	pair_commit(&pair, 1);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &end.key));
	memcpy(end.instance, second, INSTANCE_SIZE);
	end.version = 0;
	chats_teardown_in(b->chats, &end);
	pair_commit(&pair, 1);
	ck_assert_ptr_null(waiting_find(b->chats, &end.key));
}
END_TEST

/* b's app has gone on with the second chat, and an answer of the first comes,
 * of the version that is offered. */
START_TEST(an_answer_is_of_what_was_offered)
{
	struct ipc_setup setup;

	pair_ready(&pair);
	take_instance(first);
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_run(&pair);
	setup = a->last_setup;
	ck_assert_uint_eq(setup.answer, 1);
	ck_assert_uint_eq(setup.offer.version, 2);
	ck_assert_mem_eq(setup.offer.instance, first, INSTANCE_SIZE);
	pair_end(&pair, 1, STATUS_NONE);
	memset(second, 2, sizeof(second));
	stand_at(b, 8, 7);
	go_on_with(1, 1, second);
	pair_drop(&pair);
	pair_chat(&pair, 1)->change->pending.version = 2;
	ck_assert_mem_eq(b->last_setup.offer.instance, second, INSTANCE_SIZE);
	setup.key.side ^= 1;
	memcpy(setup.node, a->key, KEY_SIZE);
	pair_attest(a, pair.now, &setup.peer);
	setup_arrives(&setup);
	assert_instance(1, second);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, 0);
	ck_assert_uint_eq(pair_chat(&pair, 1)->delivered, 7);
}
END_TEST

/* b's app begins a chat at a node that knows of none; a's resumes the first,
 * which had but one epoch, so that its offer does not name it. */
START_TEST(a_resume_names_what_it_resumes)
{
	two_chats();
	pair_resume(&pair, 0);
	ck_assert_int_eq(instance_is_known(a->last_setup.offer.instance), 0);
	ck_assert_mem_eq(a->last_setup.instance, second, INSTANCE_SIZE);
	pair_run(&pair);
	assert_second_goes_on();
	b_comes_back();
	/* Of the same version there are two, and of the first epoch. */
	pair_resume(&pair, 0);
	memcpy(pair_chat(&pair, 0)->peer_node, b->key, KEY_SIZE);
	pair_run(&pair);
	assert_instance(1, first);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, 1);
	ck_assert_int_eq(a->ends + b->ends + b->resets, 0);
}
END_TEST

/* Its router has yet to hear that the first chat ended and another began. */
START_TEST(a_router_resumes_no_other)
{
	struct ipc_chat_start start;
	int errors, ends;

	two_chats();
	pair_start_fill(&pair, 1, &start);
	start.flags = CHAT_RESUME;
	memcpy(start.instance, first, INSTANCE_SIZE);
	errors = b->errors;
	ends = b->ends;
	chats_start(b->chats, &start, NULL, 0);
	pair_commit(&pair, 1);
	ck_assert_int_eq(b->errors, errors);
	ck_assert_int_eq(b->ends, ends);
	assert_instance(1, second);
	/* An app that has it, but not where it stands, has what is over. */
	start.version = 1;
	pair_start_message(&pair, 1, &start);
	ck_assert_uint_eq(b->last_error.code, CODE_REPLAYED_KEY);
	assert_second_goes_on();
}
END_TEST

/* What ended before it had an instance is over by its version. */
START_TEST(what_ended_without_an_instance_is_over)
{
	struct ipc_chat_start start;

	pair_start(&pair, 0, 0, 0);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_start_fill(&pair, 0, &start);
	start.flags = CHAT_CONTINUE;
	start.version = 1;
	start.instance[0] = 1;
	pair_start_message(&pair, 0, &start);
	ck_assert_uint_eq(a->last_error.code, CODE_REPLAYED_KEY);
	ck_assert_ptr_null(pair_chat(&pair, 0));
	start.version = 2;
	pair_start_message(&pair, 0, &start);
	ck_assert_int_eq(a->errors, 1);
	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
}
END_TEST

/* An app that does not say which chat it has goes on with that of its peer. */
START_TEST(who_does_not_say_has_the_peers)
{
	pair_ready(&pair);
	assert_works(1);
	take_instance(first);
	place_swap();
	stand_at(b, 1, 0);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	take_instance(second);
	ck_assert_mem_eq(first, second, INSTANCE_SIZE);
	ck_assert_uint_eq(b->delivered, 1);
	assert_works(pair_chat(&pair, 0)->version);
	/* It is the same after a restart and in later epochs. */
	pair_restart(&pair, 1);
	assert_instance(1, first);
	pair_start(&pair, 1, 0, CHAT_RESUME);
	pair_run(&pair);
	take_instance(second);
	ck_assert_mem_eq(first, second, INSTANCE_SIZE);
}
END_TEST

/* b's app hears at another node that what it has is over, and has the next
 * chat, whose numbers are those that a's node has. */
START_TEST(who_hears_of_an_end_hears_of_the_next)
{
	pair_ready(&pair);
	assert_works(1);
	take_instance(first);
	pair_end(&pair, 0, STATUS_DELETED);
	pair_run(&pair);
	both_stand_at(1, 0);
	pair_ready(&pair);
	assert_works(2);
	assert_works(2);
	take_instance(second);
	place_swap();
	a->ends = b->ends = b->offers = 0;
	stand_at(b, 2, 1);
	go_on_with(1, 1, first);
	pair_run(&pair);
	ck_assert_int_eq(a->ends, 0);
	ck_assert_int_eq(b->ends, 1);
	ck_assert_int_eq(b->offers, 1);
	stand_at(b, 1, 0);
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->next, 3);
	b->ends = 0;
	assert_second_goes_on();
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_loop_test(
	    tcase, what_was_left_is_not_what_the_peer_has, 0, 2);
	tcase_add_loop_test(
	    tcase, what_the_app_has_is_not_what_the_peer_has, 0, 2);
	tcase_add_loop_test(tcase, an_app_says_it_to_each_keyd, 0, 2);
	tcase_add_loop_test(tcase, what_ended_here_is_over, 0, 2);
	tcase_add_loop_test(tcase, an_app_goes_on_with_what_ended_here, 0, 2);
	tcase_add_test(tcase, an_app_goes_on_with_what_did_not_end_here);
	tcase_add_test(tcase, an_offer_of_another_is_not_accepted);
	tcase_add_test(tcase, an_end_names_what_ended);
	tcase_add_test(tcase, an_end_names_what_was_offered);
	tcase_add_test(tcase, an_answer_is_of_what_was_offered);
	tcase_add_test(tcase, a_resume_names_what_it_resumes);
	tcase_add_test(tcase, a_router_resumes_no_other);
	tcase_add_test(tcase, what_ended_without_an_instance_is_over);
	tcase_add_test(tcase, who_does_not_say_has_the_peers);
	tcase_add_test(tcase, who_hears_of_an_end_hears_of_the_next);
}

int
main(void)
{
	return (rig_run_with(
	    "keyd_instances", place_setup, place_teardown, add_tests));
}
