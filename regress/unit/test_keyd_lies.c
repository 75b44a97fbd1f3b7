/*
 * The chat engine of keyd, b, against a node of a peer that lies in what it
 * may sign, or hammers. What it breaks is its own chat, for as long as it does
 * so; versions and work of b are bounded, and afterwards all goes on.
 */

#include "common/ipc/codes.h"
#include "common/util/metrics.h"
#include "regress/unit/chat_rig.h"

#define SECOND INT64_C(1000000000)

/* An offer of a for the next version of the chat, which b has not seen. */
static void
next_offer(struct ipc_setup *setup)
{
	pair_start(&pair, 0, 0, CHAT_REKEY);
	pair_drop(&pair);
	*setup = a->last_setup;
	setup->key.side ^= 1;
	memcpy(setup->node, a->key, KEY_SIZE);
	pair_attest(a, pair.now, &setup->peer);
}

/* A message each way, in whatever epoch there is. */
static void
talk(void)
{
	uint64_t to_a = a->delivered, to_b = b->delivered;

	pair_say(&pair, 0);
	pair_say(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(a->delivered, to_a + 1);
	ck_assert_uint_eq(b->delivered, to_b + 1);
}

/* Its own limit is none. Each epoch costs b a transaction and an agreement of
 * keys, and one of the versions. */
START_TEST(who_rekeys_without_end_is_throttled)
{
	uint32_t i, most = 100 + 10 * b->config.rekey.limit;

	pair_ready(&pair);
	a->config.rekey.limit = 1000;
	for (i = 0; a->refusals == 0; i++) {
		ck_assert_uint_le(i, most + 1);
		pair_start(&pair, 0, 0, CHAT_REKEY);
		pair_run(&pair);
	}
	ck_assert_uint_eq(a->last_refused.code, CODE_REKEY_THROTTLED);
	ck_assert_int_gt(a->last_refused.retry_after, 0);
	ck_assert_int_le(a->last_refused.retry_after, b->config.rekey.window);
	ck_assert_uint_ge(metrics[METRIC_REKEYS_THROTTLED_APP].value, 1);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, i);
	ck_assert_int_eq(b->errors + b->ends, 0);
	/* The chat is not worse for it, and in time there is another key. */
	talk();
	pair.now += b->config.rekey.window;
	pair_tick(&pair, 0);
	pair_run(&pair);
	assert_works(i + 1);
}
END_TEST

/* A resume has all that was not acknowledged sealed and sent again. */
START_TEST(who_resumes_without_end_is_throttled)
{
	uint32_t i, most = 100 + 10 * b->config.rekey.limit;
	int readies;

	pair_ready(&pair);
	assert_works(1);
	readies = b->readies;
	for (i = 0; a->refusals == 0; i++) {
		ck_assert_uint_le(i, most + 1);
		pair_resume(&pair, 0);
		pair_run(&pair);
	}
	ck_assert_uint_eq(a->last_refused.code, CODE_REKEY_THROTTLED);
	ck_assert_int_gt(a->last_refused.retry_after, 0);
	ck_assert_int_le(b->readies - readies, (int)most);
	talk();
	pair.now += b->config.rekey.window;
	pair_resume(&pair, 0);
	pair_run(&pair);
	assert_works(1);
}
END_TEST

/* Points of small order: with any key of b they agree on nothing secret. In
 * X25519's bytes, little-endian: 0, 1, the two of order 8, p - 1, p, p + 1. */
static const uint8_t small_order[][KEY_SIZE] = { { 0 }, { 1 },
	{ 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
	    0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
	    0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
	{ 0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
	    0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
	    0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57 },
	{ 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
	{ 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
	{ 0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f } };

START_TEST(a_key_of_small_order_makes_no_epoch)
{
	struct ipc_setup setup;
	uint64_t failures;

	pair_ready(&pair);
	assert_works(1);
	next_offer(&setup);
	memcpy(setup.offer.ephemeral, small_order[_i], KEY_SIZE);
	sign_again(&setup, a);
	failures = metrics[METRIC_RATCHET_FAILURES_DERIVATION].value;
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_DERIVATION_FAILED);
	ck_assert_uint_eq(b->last_error.code, CODE_DERIVATION_FAILED);
	ck_assert_uint_eq(
	    metrics[METRIC_RATCHET_FAILURES_DERIVATION].value, failures + 1);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, 1);
	ck_assert_uint_eq(pair_chat(&pair, 1)->ratchet.version, 1);
	talk();
	/* A good one for the same version is taken. */
	pair_resume(&pair, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

/* Said again and again as the answer to ours, the app does not hear it each
 * time. */
START_TEST(a_bad_answer_is_told_so_often)
{
	int i, most = 100 + 10 * (int)b->config.rekey.limit;
	struct frame frame;

	pair_ready(&pair);
	assert_works(1);
	pair_start(&pair, 1, 0, CHAT_REKEY);
	pair_step(&pair, 0);
	frame = b->wire[b->first];
	ck_assert_uint_eq(frame.setup.answer, 1);
	pair_drop(&pair);
	memset(frame.setup.offer.ephemeral, 0, KEY_SIZE);
	sign_again(&frame.setup, a);
	for (i = 0; i < 5 * most; i++) {
		pair_take(&pair, 1, &frame);
		pair_drop(&pair);
	}
	ck_assert_uint_eq(b->last_error.code, CODE_DERIVATION_FAILED);
	ck_assert_int_le(b->errors, most);
	/* In time a good one is taken. */
	pair.now += b->config.rekey.window;
	pair_resume(&pair, 0);
	pair_run(&pair);
	assert_works(2);
}
END_TEST

/* The same in the first offer of a chat: there is none then. */
START_TEST(a_key_of_small_order_begins_no_chat)
{
	struct ipc_setup setup;

	pair_start(&pair, 0, 0, 0);
	pair_drop(&pair);
	setup = a->last_setup;
	setup.key.side ^= 1;
	memcpy(setup.node, a->key, KEY_SIZE);
	pair_attest(a, pair.now, &setup.peer);
	memcpy(setup.offer.ephemeral, small_order[_i], KEY_SIZE);
	sign_again(&setup, a);
	setup_arrives(&setup);
	pair_start(&pair, 1, 0, 0);
	ck_assert_uint_eq(b->last_error.code, CODE_DERIVATION_FAILED);
	ck_assert_int_eq(b->readies, 0);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	ck_assert_int_eq(b->unties, 1);
}
END_TEST

/* Less than a tag, and nothing at all, instead of a message. */
START_TEST(a_message_shorter_than_its_tag_is_a_divergence)
{
	struct frame frame;
	uint64_t failures;

	pair_ready(&pair);
	assert_works(1);
	pair_say(&pair, 0);
	frame = b->wire[b->first];
	pair_drop(&pair);
	frame.tail_length = (size_t)_i;
	failures = metrics[METRIC_RATCHET_FAILURES_AEAD].value;
	pair_take(&pair, 1, &frame);
	ck_assert_uint_eq(
	    metrics[METRIC_RATCHET_FAILURES_AEAD].value, failures + 1);
	ck_assert_uint_eq(b->delivered, 1);
	ck_assert_uint_eq(chat_offered(pair_chat(&pair, 1)), 2);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 2);
	assert_works(2);
}
END_TEST

/* The app of a is at another node, which it says itself; that node would use
 * up the versions. */
START_TEST(a_new_node_cannot_burn_the_versions)
{
	static const uint32_t far[] = { UINT32_MAX, UINT32_MAX - 1,
		POLICY_RESET_STEP + 3 };
	struct ipc_setup setup;
	uint32_t version;

	pair_ready(&pair);
	assert_works(1);
	next_offer(&setup);
	pair.now += SECOND;
	(void)crypto_sign_keypair(a->key, a->secret);
	memcpy(setup.node, a->key, KEY_SIZE);
	memcpy(setup.offer.node_lo, a->key, KEY_SIZE);
	pair_attest(a, pair.now, &setup.peer);
	setup.offer.version = far[_i / 2];
	if (_i % 2)
		setup.offer.flags |= OFFER_RESET;
	sign_again(&setup, a);
	setup_arrives(&setup);
	ck_assert_uint_eq(a->last_refused.code, CODE_INVALID_FRAME);
	version = pair_chat(&pair, 1)->version;
	ck_assert_uint_eq(version, 1);
	/* The node as it should be, with nothing of the chat. */
	pair_stop(&pair, 0);
	folder_empty(a->folder);
	pair_start_node(&pair, 0);
	a->next = 1;
	a->acked = a->delivered = 0;
	pair_drop(&pair);
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_uint_le(
	    pair_chat(&pair, 1)->version, version + POLICY_RESET_STEP);
	assert_works(pair_chat(&pair, 0)->version);
}
END_TEST

/* Each try costs as many steps of the chain as the message claims to have been
 * skipped. One is enough to see that they diverged; until there are new keys
 * what is not the next one is not tried. */
START_TEST(who_does_not_recover_costs_nothing)
{
	uint64_t jumps = metrics[METRIC_RATCHET_FAILURES_JUMP].value;
	uint64_t failures = metrics[METRIC_RATCHET_FAILURES_AEAD].value;
	struct frame frame;
	int i;

	pair_ready(&pair);
	assert_works(1);
	for (i = 0; i < 100; i++) {
		memset(&frame, 0, sizeof(frame));
		frame.kind = FRAME_SEALED;
		frame.sealed.key = pair_key(&pair, 0);
		frame.sealed.version = 1;
		frame.sealed.counter = RATCHET_JUMP - 1;
		frame.sealed.sequence = 2;
		frame.tail_length = RATCHET_TAG;
		pair_take(&pair, 1, &frame);
		a->count = 0; /* it hears nothing of it */
	}
	ck_assert_uint_eq(
	    metrics[METRIC_RATCHET_FAILURES_AEAD].value, failures + 1);
	ck_assert_uint_eq(
	    metrics[METRIC_RATCHET_FAILURES_JUMP].value, jumps + 99);
	/* What was under way before is still good. */
	pair_say(&pair, 0);
	pair_say(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 3);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, 1);
	/* A loss on top of it is made up for by the new keys. */
	pair_say(&pair, 0);
	pair_drop(&pair);
	pair_say(&pair, 0);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 3);
	pair_resume(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, 5);
	assert_works(2);
}
END_TEST

/* It took its time, and then the last version there is. Of what comes after it
 * there is none: not by age, by count or by an operator. */
START_TEST(after_the_last_version_there_is_none)
{
	struct chat_key key = pair_key(&pair, 1);
	struct ipc_setup setup;
	int setups;

	pair_ready(&pair);
	assert_works(1);
	next_offer(&setup);
	ck_assert_int_eq(chat_wake(b->chats, pair_chat(&pair, 1)), 0);
	pair_chat(&pair, 1)->version = UINT32_MAX - 1;
	setup.offer.version = UINT32_MAX;
	setup.offer.flags |= OFFER_RESET;
	sign_again(&setup, a);
	setup_arrives(&setup);
	pair_drop(&pair);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, UINT32_MAX);
	setups = b->setups;
	b->config.rekey.after_time = b->config.rekey.after_messages = 1;
	pair.now += SECOND;
	pair_tick(&pair, 1);
	pair_say(&pair, 1);
	ck_assert_uint_eq(chats_rekey(b->chats, &key), 0);
	pair_commit(&pair, 1);
	ck_assert_int_eq(b->setups, setups);
	/* Nor after a start: who offers the last one again gets it again. */
	pair_drop(&pair);
	pair_restart(&pair, 1);
	setup_arrives(&setup);
	ck_assert_uint_ne(b->last_setup.offer.version, 0);
	pair_drop(&pair);
	pair_start(&pair, 1, 0, 0);
	ck_assert_ptr_null(pair_chat(&pair, 1));
	ck_assert_uint_eq(b->last_end.status, STATUS_REKEY_REQUIRED);
}
END_TEST

/* --- offers that nobody takes up ----------------------------------------- */

/* The node c offers the app local a chat of its own app. */
static void
offer_of(struct node *c, const uint8_t local[KEY_SIZE], const char *chat_id,
    struct ipc_setup *setup)
{
	static const uint8_t none[KEY_SIZE];
	struct offer *offer = &setup->offer;
	int lo;

	memset(setup, 0, sizeof(*setup));
	(void)strlcpy(setup->chat_id, chat_id, sizeof(setup->chat_id));
	ck_assert_int_eq(chat_key_make(&setup->key, chat_id, local, c->app), 0);
	lo = setup->key.side == CHAT_LO;
	memcpy(setup->node, c->key, KEY_SIZE);
	pair_attest(c, pair.now, &setup->peer);
	memcpy(offer->handle, setup->key.handle, KEY_SIZE);
	/* Mesh passes on what may be of a chat that is known here. */
	offer->version = 2;
	offer->side = setup->key.side ^ 1;
	memcpy(offer->app_lo, lo ? local : c->app, KEY_SIZE);
	memcpy(offer->app_hi, lo ? c->app : local, KEY_SIZE);
	memcpy(offer->node_lo, lo ? b->key : c->key, KEY_SIZE);
	memcpy(offer->node_hi, lo ? c->key : b->key, KEY_SIZE);
	ratchet_commit_link(none, offer->link_commitment);
	randombytes_buf(offer->ephemeral, KEY_SIZE);
	sign_again(setup, c);
}

static void
offers_of(struct node *c, const uint8_t local[KEY_SIZE], int from, int to)
{
	struct ipc_setup setup;
	uint8_t app[KEY_SIZE];
	char chat_id[32];

	for (; from < to; from++) {
		snprintf(chat_id, sizeof(chat_id), "chat %d", from);
		if (local == NULL)
			randombytes_buf(app, KEY_SIZE);
		else
			memcpy(app, local, KEY_SIZE);
		offer_of(c, app, chat_id, &setup);
		chats_set_now(b->chats, pair.now);
		chats_setup_in(b->chats, &setup, NULL, 0);
		b->out_count = 0;
		pair.now += 1000;
	}
}

/* Another node, with an app. */
static void
another(struct node *c)
{
	memset(c, 0, sizeof(*c));
	(void)strlcpy(c->node_id, "another", sizeof(c->node_id));
	(void)crypto_sign_keypair(c->key, c->secret);
	(void)crypto_sign_keypair(c->app, c->app_secret);
}

/* Offers for apps that there are not, or that do not answer. */
START_TEST(one_node_does_not_take_the_place_of_all)
{
	struct chat_key key = pair_key(&pair, 1);
	struct node c;
	int count;

	another(&c);
	offers_of(&c, NULL, 0, WAITING_MAX + 10);
	ck_assert_uint_eq(b->chats->waiting.count, WAITING_MAX);
	/* Another node's is taken, in the place of the oldest of c. */
	pair_start(&pair, 0, 0, 0);
	pair_run(&pair);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
	ck_assert_uint_eq(b->chats->waiting.count, WAITING_MAX);
	ck_assert_uint_eq(b->chats->waiting_nodes.count, 2);
	/* c does not get it back. */
	offers_of(&c, NULL, 0, 10);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
	pair_start(&pair, 1, 0, 0);
	pair_run(&pair);
	assert_works(1);
	ck_assert_uint_eq(b->chats->waiting_nodes.count, 1);
	count = (int)b->chats->waiting.count;
	b->unties = 0;
	pair.now += WAITING_LIFETIME + 1;
	pair_tick(&pair, 1);
	ck_assert_uint_eq(b->chats->waiting_nodes.count, 0);
	/* Mesh keeps none of their tielines. */
	ck_assert_int_eq(b->unties, count);
}
END_TEST

/* Nor those of answers to nothing. */
START_TEST(an_answer_to_nothing_leaves_nothing)
{
	struct ipc_setup setup;
	struct node c;

	another(&c);
	offer_of(&c, b->app, "never", &setup);
	setup.answer = 1;
	setup_arrives(&setup);
	ck_assert_int_eq(b->unties, 1);
	ck_assert_int_eq(b->refusals, 0);
	ck_assert_uint_eq(b->chats->waiting.count, 0);
}
END_TEST

/* 0: by nodes; 1: by apps of one node. */
START_TEST(one_app_does_not_keep_the_others_from_an_app)
{
	struct chat_key key = pair_key(&pair, 1);
	struct ipc_setup first;
	struct node c;
	int ends;

	another(&c);
	if (_i == 1) {
		memcpy(c.key, a->key, KEY_SIZE);
		memcpy(c.secret, a->secret, sizeof(c.secret));
	}
	offers_of(&c, b->app, 0, WAITING_APP_MAX + 10);
	ck_assert_uint_eq(b->chats->waiting.count, WAITING_APP_MAX);
	offer_of(&c, b->app, "chat 0", &first);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &first.key));
	ends = b->ends;
	pair_start(&pair, 0, 0, 0);
	pair_step(&pair, 1);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
	ck_assert_uint_eq(b->chats->waiting.count, WAITING_APP_MAX);
	ck_assert_ptr_null(waiting_find(b->chats, &first.key));
	/* Who offered that hears so, and the router keeps no more than keyd. */
	ck_assert_uint_eq(b->ends, ends + 1);
	ck_assert_mem_eq(&b->last_end.key, &first.key, sizeof(first.key));
	ck_assert_uint_eq(b->last_end.status, STATUS_DELETED_BY_PEER);
	ck_assert_uint_eq(a->count, 1);
	pair_step(&pair, 0);
	ck_assert_uint_eq(a->last_refused.code, CODE_LIMIT_REACHED);
	ck_assert_mem_eq(&a->last_refused.key, &first.key, sizeof(first.key));
	ck_assert_mem_eq(a->last_refused.node, c.key, KEY_SIZE);
	offers_of(&c, b->app, 0, 10);
	ck_assert_ptr_nonnull(waiting_find(b->chats, &key));
}
END_TEST

static void
add_tests(TCase *tcase)
{
	tcase_add_test(tcase, who_rekeys_without_end_is_throttled);
	tcase_add_test(tcase, who_resumes_without_end_is_throttled);
	tcase_add_test(tcase, a_bad_answer_is_told_so_often);
	tcase_add_loop_test(tcase, a_key_of_small_order_makes_no_epoch, 0,
	    (int)(sizeof(small_order) / KEY_SIZE));
	tcase_add_loop_test(tcase, a_key_of_small_order_begins_no_chat, 0,
	    (int)(sizeof(small_order) / KEY_SIZE));
	tcase_add_loop_test(tcase,
	    a_message_shorter_than_its_tag_is_a_divergence, 0, RATCHET_TAG);
	tcase_add_test(tcase, after_the_last_version_there_is_none);
	tcase_add_test(tcase, who_does_not_recover_costs_nothing);
	tcase_add_test(tcase, one_node_does_not_take_the_place_of_all);
	tcase_add_test(tcase, an_answer_to_nothing_leaves_nothing);
	tcase_add_loop_test(
	    tcase, one_app_does_not_keep_the_others_from_an_app, 0, 2);
	tcase_add_loop_test(tcase, a_new_node_cannot_burn_the_versions, 0, 6);
}

int
main(void)
{
	return (rig_run("keyd_lies", add_tests));
}
