/*
 * keyd's rules: what an offer means, which versions are allowed, throttles.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "keyd/policy.h"
#include "regress/unit/suite.h"

#define SECOND INT64_C(1000000000)

/* --- offers ------------------------------------------------------------- */

#define RESET  0x1
#define ANSWER 0x2
#define SAME   0x4
#define KEY    0x8
#define ZERO   0x10 /* commits to link 0 */
#define LINKED 0x20
#define RESUME 0x40

static const struct judged {
	struct policy_chat chat; /* version, pending, pending_reset */
	uint32_t version;
	uint32_t bits;
	enum policy_verdict verdict;
} cases[] = {
	/* A chat that was begun here. */
	{ { 0, 1, 0 }, 1, ZERO | LINKED, POLICY_NEXT },
	{ { 0, 1, 0 }, 1, ZERO | LINKED | ANSWER, POLICY_NEXT },
	{ { 0, 1, 0 }, 1, 0, POLICY_UNLINKED },
	{ { 0, 4, 0 }, 1, ZERO | LINKED, POLICY_WAIT },
	{ { 0, 1, 0 }, 4, ZERO | LINKED, POLICY_NEXT },
	{ { 0, 4, 0 }, 12, ZERO | LINKED, POLICY_NEXT },
	/* The peer may remember more. */
	{ { 0, 4, 0 }, 13, ZERO | LINKED, POLICY_NEXT },
	{ { 0, 1, 0 }, 2 + POLICY_RESET_STEP, ZERO | LINKED, POLICY_JUMP },
	{ { 0, 1, 0 }, 51, RESET | ZERO, POLICY_RESET },
	/* The next version, asked for by either. */
	{ { 5, 0, 0 }, 6, LINKED, POLICY_NEXT },
	{ { 5, 6, 0 }, 6, LINKED, POLICY_NEXT },
	{ { 5, 6, 0 }, 6, LINKED | ANSWER, POLICY_NEXT },
	{ { 5, 0, 0 }, 6, LINKED | KEY, POLICY_REPLAY },
	/* An answer to an offer this store does not remember. */
	{ { 5, 0, 0 }, 6, LINKED | ANSWER, POLICY_BEHIND },
	/* The present and the past. */
	{ { 5, 0, 0 }, 5, SAME, POLICY_REPEAT },
	{ { 5, 6, 0 }, 5, SAME | ANSWER, POLICY_REPEAT },
	{ { 5, 0, 0 }, 5, LINKED, POLICY_DIFFERENT },
	{ { 5, 0, 0 }, 5, RESET, POLICY_DIFFERENT },
	{ { 5, 0, 0 }, 4, 0, POLICY_STALE },
	{ { 5, 6, 0 }, 1, RESET, POLICY_STALE },
	/* Links that differ: one of the stores went back. */
	{ { 5, 0, 0 }, 6, 0, POLICY_UNLINKED },
	{ { 5, 6, 0 }, 6, 0, POLICY_UNLINKED },
	{ { 5, 6, 1 }, 6, 0, POLICY_NEXT },
	/* A peer that knows no epoch: it deleted the chat. */
	{ { 5, 0, 0 }, 6, ZERO, POLICY_FRESH },
	{ { 5, 6, 0 }, 7, ZERO, POLICY_FRESH },
	{ { 5, 0, 0 }, 8, ZERO, POLICY_BEHIND },
	{ { 5, 0, 0 }, 6, ZERO | RESUME, POLICY_UNLINKED },
	{ { 5, 0, 0 }, 6, ZERO | ANSWER, POLICY_BEHIND },
	{ { 5, 6, 0 }, 6, ZERO | ANSWER, POLICY_UNLINKED },
	/* Resets: the higher version wins. */
	{ { 5, 0, 0 }, 7, RESET, POLICY_RESET },
	{ { 5, 7, 1 }, 7, RESET, POLICY_RESET },
	{ { 5, 6, 0 }, 7, RESET, POLICY_RESET },
	{ { 5, 6, 0 }, 7, RESET | ANSWER, POLICY_BEHIND },
	{ { 5, 7, 1 }, 7, RESET | ANSWER, POLICY_RESET },
	{ { 5, 8, 1 }, 7, RESET, POLICY_WAIT },
	{ { 5, 8, 1 }, 6, LINKED, POLICY_WAIT },
	{ { 5, 8, 1 }, 8, LINKED, POLICY_BEHIND },
	{ { 5, 0, 0 }, 7, RESET | KEY, POLICY_REPLAY },
	{ { 5, 7, 1 }, 7, RESET | KEY, POLICY_REPLAY },
	/* Too far, with a reset or without (L10). */
	{ { 5, 0, 0 }, 7, LINKED, POLICY_BEHIND },
	{ { 5, 0, 0 }, UINT32_MAX, LINKED, POLICY_JUMP },
	{ { 5, 0, 0 }, UINT32_MAX, RESET, POLICY_JUMP },
	{ { 5, 0, 0 }, 5 + POLICY_RESET_STEP, RESET, POLICY_RESET },
	{ { 5, 0, 0 }, 6 + POLICY_RESET_STEP, RESET, POLICY_JUMP },
	{ { 5, 9, 1 }, 9 + POLICY_RESET_STEP, RESET, POLICY_RESET },
	{ { 5, 9, 1 }, 10 + POLICY_RESET_STEP, RESET, POLICY_JUMP },
	{ { UINT32_MAX, 0, 0 }, UINT32_MAX, SAME, POLICY_REPEAT },
	{ { UINT32_MAX - 1, 0, 0 }, UINT32_MAX, LINKED, POLICY_NEXT },
};

START_TEST(an_offer_means_one_thing)
{
	const struct judged *c = &cases[_i];
	struct policy_offer offer = { .version = c->version };

	offer.reset = (c->bits & RESET) != 0;
	offer.answer = (c->bits & ANSWER) != 0;
	offer.same = (c->bits & SAME) != 0;
	offer.same_key = (c->bits & (SAME | KEY)) != 0;
	offer.unlinked = (c->bits & ZERO) != 0;
	offer.linked = (c->bits & LINKED) != 0;
	offer.resume = (c->bits & RESUME) != 0;
	ck_assert_int_eq(policy_judge(&c->chat, &offer), c->verdict);
}
END_TEST

/* Two sides that both reset get to one version, whatever they offered. */
START_TEST(resets_meet)
{
	struct policy_chat x = { 5, 6, 0 }, y = { 9, 0, 0 };
	struct policy_offer offer = { .reset = 1 };

	x.pending = policy_reset_version(&x, 9);
	ck_assert_uint_eq(x.pending, 10);
	y.pending = policy_reset_version(&y, 6);
	ck_assert_uint_eq(y.pending, 10);
	offer.version = 10;
	x.pending_reset = y.pending_reset = 1;
	ck_assert_int_eq(policy_judge(&x, &offer), POLICY_RESET);
	ck_assert_int_eq(policy_judge(&y, &offer), POLICY_RESET);
	x.pending = 12;
	ck_assert_uint_eq(policy_reset_version(&x, 9), 13);
	y.version = UINT32_MAX;
	ck_assert_uint_eq(policy_reset_version(&y, 3), 0);
}
END_TEST

/* --- versions ----------------------------------------------------------- */

START_TEST(a_new_chat_begins_above_the_floor)
{
	uint32_t version;

	ck_assert_int_eq(policy_start(0, 0, 0, &version), CODE_NONE);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(policy_start(1, 0, 0, &version), CODE_NONE);
	ck_assert_int_eq(policy_start(2, 0, 0, &version), CODE_INVALID_FRAME);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(policy_start(7, 7, 0, &version), CODE_REPLAYED_KEY);
	ck_assert_uint_eq(version, 8);
	ck_assert_int_eq(policy_start(0, 7, 0, &version), CODE_NONE);
	ck_assert_uint_eq(version, 8);
	ck_assert_int_eq(policy_start(0, 7, 7, &version), CODE_NONE);
	ck_assert_uint_eq(version, 8);
	/* The peer offers a version: that one, or the plain next. */
	ck_assert_int_eq(policy_start(0, 7, 9, &version), CODE_NONE);
	ck_assert_uint_eq(version, 9);
	ck_assert_int_eq(policy_start(9, 7, 9, &version), CODE_NONE);
	ck_assert_int_eq(policy_start(8, 7, 9, &version), CODE_NONE);
	ck_assert_uint_eq(version, 8);
	ck_assert_int_eq(policy_start(10, 7, 9, &version), CODE_INVALID_FRAME);
	ck_assert_int_eq(
	    policy_start(0, UINT32_MAX - 1, 0, &version), CODE_NONE);
	ck_assert_uint_eq(version, UINT32_MAX);
	ck_assert_int_eq(
	    policy_start(0, UINT32_MAX, 0, &version), CODE_INVALID_FRAME);
}
END_TEST

START_TEST(a_chat_that_goes_on_is_above_what_it_was)
{
	uint32_t version;

	ck_assert_int_eq(policy_continue(5, 0, 0, &version), CODE_NONE);
	ck_assert_uint_eq(version, 6);
	/* Left here at 9; the peer offers 12, or less. */
	ck_assert_int_eq(policy_continue(5, 9, 0, &version), CODE_NONE);
	ck_assert_uint_eq(version, 10);
	ck_assert_int_eq(policy_continue(5, 9, 12, &version), CODE_NONE);
	ck_assert_uint_eq(version, 12);
	ck_assert_int_eq(policy_continue(5, 9, 7, &version), CODE_NONE);
	ck_assert_uint_eq(version, 10);
	ck_assert_int_eq(
	    policy_continue(UINT32_MAX, 0, 0, &version), CODE_INVALID_FRAME);
}
END_TEST

START_TEST(a_rekey_goes_up_by_one)
{
	struct policy_chat chat = { 5, 0, 0 };
	uint32_t version;

	ck_assert_int_eq(policy_rekey(0, &chat, &version), CODE_NONE);
	ck_assert_uint_eq(version, 6);
	ck_assert_int_eq(policy_rekey(6, &chat, &version), CODE_NONE);
	ck_assert_int_eq(policy_rekey(5, &chat, &version), CODE_REPLAYED_KEY);
	ck_assert_int_eq(policy_rekey(1, &chat, &version), CODE_REPLAYED_KEY);
	ck_assert_int_eq(policy_rekey(7, &chat, &version), CODE_INVALID_FRAME);
	ck_assert_uint_eq(version, 6);
	chat.pending = 6;
	ck_assert_int_eq(policy_rekey(6, &chat, &version), CODE_NONE);
	chat.version = UINT32_MAX;
	chat.pending = 0;
	ck_assert_int_eq(policy_rekey(0, &chat, &version), CODE_INVALID_FRAME);
}
END_TEST

START_TEST(a_resume_takes_what_is_there)
{
	struct policy_chat chat = { 5, 6, 0 };
	uint32_t version;

	ck_assert_int_eq(policy_resume(0, 0, &chat, &version), CODE_NONE);
	ck_assert_uint_eq(version, 5);
	ck_assert_int_eq(policy_resume(5, 0, &chat, &version), CODE_NONE);
	ck_assert_int_eq(policy_resume(6, 0, &chat, &version), CODE_NONE);
	ck_assert_int_eq(
	    policy_resume(4, 0, &chat, &version), CODE_REPLAYED_KEY);
	ck_assert_int_eq(policy_resume(4, 1, &chat, &version), CODE_NONE);
	ck_assert_int_eq(
	    policy_resume(7, 1, &chat, &version), CODE_INVALID_FRAME);
	/* One that has only been offered. */
	chat = (struct policy_chat){ 0, 3, 0 };
	ck_assert_int_eq(policy_resume(0, 0, &chat, &version), CODE_NONE);
	ck_assert_uint_eq(version, 3);
	ck_assert_int_eq(policy_resume(3, 0, &chat, &version), CODE_NONE);
	ck_assert_int_eq(
	    policy_resume(2, 0, &chat, &version), CODE_REPLAYED_KEY);
	ck_assert_int_eq(
	    policy_resume(4, 0, &chat, &version), CODE_INVALID_FRAME);
}
END_TEST

START_TEST(a_first_offer_stays_near_the_floor)
{
	uint32_t expected;

	ck_assert_int_eq(policy_first(1, 0, &expected), CODE_NONE);
	ck_assert_int_eq(
	    policy_first(POLICY_RESET_STEP, 0, &expected), CODE_NONE);
	ck_assert_int_eq(policy_first(POLICY_RESET_STEP + 1, 0, &expected),
	    CODE_INVALID_FRAME);
	ck_assert_int_eq(policy_first(3, 3, &expected), CODE_REPLAYED_KEY);
	ck_assert_uint_eq(expected, 4);
	ck_assert_int_eq(
	    policy_first(3 + POLICY_RESET_STEP, 3, &expected), CODE_NONE);
	ck_assert_int_eq(policy_first(4 + POLICY_RESET_STEP, 3, &expected),
	    CODE_INVALID_FRAME);
	ck_assert_int_eq(
	    policy_first(UINT32_MAX, 3, &expected), CODE_INVALID_FRAME);
	ck_assert_int_eq(
	    policy_first(UINT32_MAX, UINT32_MAX, &expected), CODE_REPLAYED_KEY);
	ck_assert_uint_eq(expected, 0);
}
END_TEST

/* --- throttles ---------------------------------------------------------- */

START_TEST(the_window_slides)
{
	struct throttle t = { 0 };
	int64_t now = 100 * SECOND;

	ck_assert_int_eq(throttle_attempt(&t, 3, 30 * SECOND, now), 0);
	ck_assert_int_eq(
	    throttle_attempt(&t, 3, 30 * SECOND, now + 10 * SECOND), 0);
	ck_assert_int_eq(
	    throttle_attempt(&t, 3, 30 * SECOND, now + 20 * SECOND), 0);
	ck_assert_int_eq(
	    throttle_attempt(&t, 3, 30 * SECOND, now + 21 * SECOND),
	    9 * SECOND);
	/* What was refused does not count. */
	ck_assert_int_eq(
	    throttle_attempt(&t, 3, 30 * SECOND, now + 30 * SECOND), 0);
	ck_assert_int_eq(
	    throttle_attempt(&t, 3, 30 * SECOND, now + 39 * SECOND), SECOND);
	ck_assert_int_eq(
	    throttle_attempt(&t, 3, 30 * SECOND, now + 40 * SECOND), 0);
	/* A clock that was set back. */
	ck_assert_int_eq(throttle_attempt(&t, 3, 30 * SECOND, 0), 0);
	/* Another limit after a reload. */
	ck_assert_int_eq(throttle_attempt(&t, 1, 30 * SECOND, now), 0);
	ck_assert_int_eq(
	    throttle_attempt(&t, 1, 30 * SECOND, now), 30 * SECOND);
	throttle_free(&t);
	ck_assert_int_eq(throttle_wait(&t, 30 * SECOND, now), 0);
}
END_TEST

START_TEST(the_bucket_fills_up)
{
	struct bucket b = { 0 };
	int64_t now = 100 * SECOND;
	int i;

	for (i = 0; i < 10; i++)
		ck_assert_int_eq(bucket_take(&b, 10, 30 * SECOND, now), 0);
	ck_assert_int_eq(bucket_take(&b, 10, 30 * SECOND, now), 3 * SECOND);
	ck_assert_int_eq(
	    bucket_take(&b, 10, 30 * SECOND, now + 2 * SECOND), SECOND);
	ck_assert_int_eq(bucket_take(&b, 10, 30 * SECOND, now + 3 * SECOND), 0);
	ck_assert_int_gt(bucket_take(&b, 10, 30 * SECOND, now + 3 * SECOND), 0);
	now += 60 * SECOND;
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(bucket_take(&b, 10, 30 * SECOND, now), 0);
	ck_assert_int_gt(bucket_take(&b, 10, 30 * SECOND, now), 0);
	ck_assert_int_eq(bucket_take(&b, 10, 30 * SECOND, 0), 0);
}
END_TEST

/* Nothing of them is needed any more: they may be forgotten. */
START_TEST(what_is_idle)
{
	const int64_t window = 30 * SECOND, now = 100 * SECOND;
	struct throttle t = { 0 };
	struct bucket b = { 0 };
	int i;

	ck_assert(throttle_idle(&t, window, now));
	ck_assert(bucket_idle(&b, window, now));
	for (i = 0; i < 3; i++) { /* the last of them is what counts */
		ck_assert_int_eq(
		    throttle_attempt(&t, 3, window, now + i * window / 2), 0);
		ck_assert_int_eq(bucket_take(&b, 3, window, now), 0);
	}
	ck_assert(!throttle_idle(&t, window, now + window));
	ck_assert(!throttle_idle(&t, window, now + 2 * window - 1));
	ck_assert(throttle_idle(&t, window, now + 2 * window));
	ck_assert(throttle_idle(&t, window, now - 1)); /* set back */
	ck_assert(!bucket_idle(&b, window, now));
	ck_assert(!bucket_idle(&b, window, now + window - 1));
	ck_assert(bucket_idle(&b, window, now + window));
	ck_assert(bucket_idle(&b, window, now - 1));
	throttle_free(&t);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tcase = tcase_create("policy");

	tcase_add_loop_test(tcase, an_offer_means_one_thing, 0,
	    sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tcase, resets_meet);
	tcase_add_test(tcase, a_new_chat_begins_above_the_floor);
	tcase_add_test(tcase, a_chat_that_goes_on_is_above_what_it_was);
	tcase_add_test(tcase, a_rekey_goes_up_by_one);
	tcase_add_test(tcase, a_resume_takes_what_is_there);
	tcase_add_test(tcase, a_first_offer_stays_near_the_floor);
	tcase_add_test(tcase, the_window_slides);
	tcase_add_test(tcase, the_bucket_fills_up);
	tcase_add_test(tcase, what_is_idle);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
