/*
 * For tests of keyd: the one pair of nodes that a case plays with, and what
 * cases say of it again and again.
 */
#ifndef REGRESS_UNIT_CHAT_RIG_H
#define REGRESS_UNIT_CHAT_RIG_H

#include <string.h>

#include <check.h>
#include <sodium.h>

#include "common/util/log.h"
#include "regress/unit/chat_pair.h"
#include "regress/unit/suite.h"

static struct pair pair;
static struct node *const a = &pair.nodes[0];
static struct node *const b = &pair.nodes[1];

static inline void
setup(void)
{
	pair_setup(&pair);
}

static inline void
teardown(void)
{
	pair_teardown(&pair);
}

/* Both at version, one message each way works. */
static inline void
assert_works(uint32_t version)
{
	uint64_t to_a = a->delivered, to_b = b->delivered;

	ck_assert_ptr_nonnull(pair_chat(&pair, 0));
	ck_assert_ptr_nonnull(pair_chat(&pair, 1));
	ck_assert_uint_eq(pair_chat(&pair, 0)->version, version);
	ck_assert_uint_eq(pair_chat(&pair, 1)->version, version);
	ck_assert_uint_eq(chat_offered(pair_chat(&pair, 0)), 0);
	ck_assert_uint_eq(chat_offered(pair_chat(&pair, 1)), 0);
	pair_say(&pair, 0);
	pair_say(&pair, 1);
	pair_run(&pair);
	ck_assert_uint_eq(b->delivered, to_b + 1);
	ck_assert_uint_eq(a->delivered, to_a + 1);
	ck_assert_uint_eq(a->acked, a->next - 1);
	ck_assert_uint_eq(b->acked, b->next - 1);
	ck_assert_uint_eq(a->gaps + b->gaps, 0);
}

/* Somebody who has by's identity signs what setup offers now. */
static inline void
sign_again(struct ipc_setup *setup, const struct node *by)
{
	uint8_t bytes[OFFER_SIGNED];

	offer_signed_bytes(&setup->offer, bytes);
	(void)crypto_sign_detached(
	    setup->offer.signature, NULL, bytes, sizeof(bytes), by->secret);
}

/* A set-up for b, as its mesh got it from a's node. */
static inline void
setup_arrives(struct ipc_setup *setup)
{
	chats_set_now(b->chats, pair.now);
	chats_setup_in(b->chats, setup, NULL, 0);
	pair_commit(&pair, 1);
	pair_step(&pair, 0);
}

/* Run the suite name, each case that add gives it between before, which calls
 * setup(), and after. What main() returns. */
static inline int
rig_run_with(const char *name, void (*before)(void), void (*after)(void),
    void (*add)(TCase *))
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);

	if (sodium_init() == -1)
		return (1);
	log_set_level(LOG_LEVEL_ERROR);
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, before, after);
	add(tcase);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}

/* The same, each with a pair of its own. */
static inline int
rig_run(const char *name, void (*add)(TCase *))
{
	return (rig_run_with(name, setup, teardown, add));
}

#endif
